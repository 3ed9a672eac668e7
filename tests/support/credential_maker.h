/**
 * credential_maker.h - makes keys and certificates for tests, good and odd ones, as PEM. By
 * BoringSSL, in memory: nothing is read from or written to a file.
 */
#ifndef HF_TEST_CREDENTIAL_MAKER_H
#define HF_TEST_CREDENTIAL_MAKER_H

#include <handfast/credential.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#define MAKER_TEXT_MAX 16384

/** PEM text that grows; no NUL needed. */
struct maker_text {
    size_t len;
    char data[MAKER_TEXT_MAX];
};

/** What a certificate shall be. Zero: a good one of the profile, self-signed, P-256. */
struct maker_options {
    const char *subject;   /**< common name; "peer" */
    const char *key_usage; /**< "" for none; "digitalSignature", or for a CA "keyCertSign" */
    const char *extended;  /**< NULL: none */
    const char *names;     /**< NULL: "DNS:peer.example"; "" for none */
    const EVP_MD *hash;    /**< SHA-256 */
    bool is_ca;
    bool is_compressed;   /**< the point in the certificate */
    int version;          /**< as encoded: 2 is version 3; -1 for version 1 */
    int64_t not_before_s; /**< 1,700,000,000 */
    int64_t not_after_s;  /**< 1,900,000,000 */
};

/** maker_key makes a key on a curve (NID_X9_62_prime256v1, ...), or RSA for NID_rsaEncryption. */
EVP_PKEY *maker_key(int nid);

/** maker_certificate makes a certificate. `issuer` NULL: self-signed with `issuer_key`. */
X509 *maker_certificate(const struct maker_options *options, EVP_PKEY *key, X509 *issuer,
                        EVP_PKEY *issuer_key);

/** These append PEM blocks. */
void maker_add_certificate(struct maker_text *text, X509 *certificate);
void maker_add_key(struct maker_text *text, EVP_PKEY *key);       /**< PRIVATE KEY */
void maker_add_sec1(struct maker_text *text, EVP_PKEY *key);      /**< EC PRIVATE KEY */
void maker_add_public(struct maker_text *text, EVP_PKEY *key);    /**< PUBLIC KEY */
void maker_add_encrypted(struct maker_text *text, EVP_PKEY *key); /**< Proc-Type: 4,ENCRYPTED */

/** maker_view gives the text as bytes. */
struct hf_bytes maker_view(const struct maker_text *text);

#endif
