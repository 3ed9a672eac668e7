/**
 * chain_maker.h - certificates, CRLs and Certificate messages of any shape, right or wrong, put
 * together from their DER parts. By BoringSSL's writer; nothing is read from a file.
 */
#ifndef HF_TEST_CHAIN_MAKER_H
#define HF_TEST_CHAIN_MAKER_H

#include <handfast/base.h>

#include <openssl/bytestring.h>
#include <openssl/evp.h>

#define CHAIN_DER_MAX 16384
#define CHAIN_EXTENSIONS_MAX 40

/** What an extended key usage names. */
enum chain_eku {
    CHAIN_EKU_SERVER = 1,
    CHAIN_EKU_CLIENT = 2,
    CHAIN_EKU_ANY = 4,
    CHAIN_EKU_CODE = 8
};

/** How the subject's key is written. */
enum chain_key_form {
    CHAIN_KEY_PLAIN = 0,
    CHAIN_KEY_COMPRESSED,
    CHAIN_KEY_HYBRID,
    CHAIN_KEY_OFF_CURVE, /**< one bit of y is wrong */
    CHAIN_KEY_EXPLICIT,  /**< explicit curve parameters */
    CHAIN_KEY_SHORT,     /**< a point of too few bytes */
};

/** A certificate to be made. Texts of names: chain_maker_add_names(). */
struct chain_certificate {
    const char *subject; /**< attributes by commas, "CN=x,O=y"; "" for an empty name */
    const char *issuer;
    EVP_PKEY *key, *signer;
    enum chain_key_form key_form;
    const EVP_MD *hash;
    const char *serial; /**< hexadecimal digits of the INTEGER's contents */
    int version;        /**< 1..3 */
    int64_t not_before_s, not_after_s;
    const char *names, *constraints;   /**< NULL: none */
    int key_usage;                     /**< bits of the first octet; -1: none */
    int eku;                           /**< set of enum chain_eku; 0: none */
    int ca;                            /**< 1 and 0 as in basicConstraints; -1: none */
    int path_len;                      /**< -1: none */
    const char *key_id, *authority_id; /**< NULL: none */
    const char *extra;  /**< more extensions by commas: OID[!][:value in hexadecimal], "!" critical;
                             "=KU" and "=SAN" stand for those of the certificate once more */
    const char *damage; /**< "tail", "short", "tag", "indefinite", "length", "unused-bits",
                             "no-validity", "outer-algorithm", "unique-id" */
};

/** A CRL to be made. */
struct chain_crl {
    const char *issuer;
    EVP_PKEY *signer;
    const EVP_MD *hash;
    int64_t this_update_s, next_update_s; /**< the latter 0: none */
    const char *serials;                  /**< hexadecimal, by commas; "!" behind one: its entry has
                                               a critical extension */
    const char *authority_id;
    const char *extra; /**< extensions, as above */
};

/** chain_maker_key makes a key: on a curve by its NID, or RSA for NID_rsaEncryption. */
EVP_PKEY *chain_maker_key(int nid);

/** chain_maker_certificate gives the length of the DER in `out`. */
size_t chain_maker_certificate(uint8_t out[CHAIN_DER_MAX], const struct chain_certificate *what);

/** chain_maker_crl likewise. */
size_t chain_maker_crl(uint8_t out[CHAIN_DER_MAX], const struct chain_crl *what);

/** chain_maker_sign makes SEQUENCE{tbs, ecdsa-with-hash, signature}. */
size_t chain_maker_sign(uint8_t out[CHAIN_DER_MAX], struct hf_bytes tbs, EVP_PKEY *signer,
                        const EVP_MD *hash);

/** chain_maker_key_info writes a SubjectPublicKeyInfo. */
void chain_maker_key_info(CBB *out, EVP_PKEY *key, enum chain_key_form form);

/** chain_maker_add_names writes GeneralNames by commas: DNS:x URI:x MAIL:x IP:hex RID:1.2.3
 * DIR:CN=x HWM:1.2.3/hex (hardwareModuleName) DEV:1.2.3/4.5 (type-id and RELATIVE-OID)
 * UTF:1.2.3/text X400:; the text "_" is empty */
void chain_maker_add_names(CBB *out, const char *text);

/** chain_maker_add_name writes a Name. */
void chain_maker_add_name(CBB *out, const char *text);

/** chain_maker_pem appends a PEM block and gives the new length. */
size_t chain_maker_pem(char *out, size_t len, size_t out_max, const char *label,
                       struct hf_bytes der);

#endif
