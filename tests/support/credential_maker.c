/**
 * credential_maker.c - makes keys and certificates for tests. A call that fails aborts: the test is
 * wrong then, not what it tests.
 */
#include "credential_maker.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/ec_key.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include <stdlib.h>
#include <string.h>

#define NOT_BEFORE_DEFAULT 1700000000
#define NOT_AFTER_DEFAULT 1900000000

static void need(bool is_done)
{
    if (!is_done)
        abort();
}

EVP_PKEY *maker_key(int nid)
{
    EVP_PKEY *key = EVP_PKEY_new();

    if (nid == NID_rsaEncryption) {
        RSA *rsa = RSA_new();
        BIGNUM *e = BN_new();

        need(BN_set_word(e, RSA_F4) && RSA_generate_key_ex(rsa, 2048, e, NULL));
        need(EVP_PKEY_assign_RSA(key, rsa));
        BN_free(e);
    } else {
        EC_KEY *ec = EC_KEY_new_by_curve_name(nid);

        need(ec && EC_KEY_generate_key(ec) && EVP_PKEY_assign_EC_KEY(key, ec));
    }
    return key;
}

static void add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509_EXTENSION *extension;

    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    extension = X509V3_EXT_nconf_nid(NULL, &context, nid, value);
    need(extension && X509_add_ext(certificate, extension, -1));
    X509_EXTENSION_free(extension);
}

static void set_subject(X509 *certificate, const char *subject)
{
    X509_NAME *name = X509_NAME_new();

    need(
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *)subject, -1, -1, 0) &&
        X509_set_subject_name(certificate, name));
    X509_NAME_free(name);
}

static void set_validity(X509 *certificate, const struct maker_options *options)
{
    ASN1_TIME *moment = ASN1_TIME_new();

    need(
        ASN1_TIME_set(moment, options->not_before_s ? options->not_before_s : NOT_BEFORE_DEFAULT) &&
        X509_set1_notBefore(certificate, moment));
    need(ASN1_TIME_set(moment, options->not_after_s ? options->not_after_s : NOT_AFTER_DEFAULT) &&
         X509_set1_notAfter(certificate, moment));
    ASN1_TIME_free(moment);
}

/* BoringSSL writes no compressed points: the string is exchanged. */
static void compress_key(X509 *certificate)
{
    ASN1_BIT_STRING *bits = X509_get0_pubkey_bitstr(certificate);
    uint8_t compressed[33];

    memcpy(compressed, ASN1_STRING_get0_data(bits), sizeof compressed);
    compressed[0] = 2 | (ASN1_STRING_get0_data(bits)[64] & 1);
    need(ASN1_STRING_set(bits, compressed, sizeof compressed));
}

X509 *maker_certificate(const struct maker_options *options, EVP_PKEY *key, X509 *issuer,
                        EVP_PKEY *issuer_key)
{
    static long serial;
    X509 *certificate = X509_new();
    const char *usage = options->key_usage;
    const char *names = options->names ? options->names : "DNS:peer.example";

    if (!usage)
        usage = options->is_ca ? "critical,keyCertSign" : "critical,digitalSignature";
    need(X509_set_version(certificate, options->version == -1  ? 0
                                       : options->version == 0 ? 2
                                                               : options->version));
    need(ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++serial));
    set_subject(certificate, options->subject ? options->subject : "peer");
    need(X509_set_issuer_name(certificate, X509_get_subject_name(issuer ? issuer : certificate)));
    set_validity(certificate, options);
    need(X509_set_pubkey(certificate, key));
    if (options->is_compressed)
        compress_key(certificate);
    if (options->version != -1) {
        if (options->is_ca)
            add_extension(certificate, issuer, NID_basic_constraints, "critical,CA:TRUE");
        if (*usage)
            add_extension(certificate, issuer, NID_key_usage, usage);
        if (options->extended)
            add_extension(certificate, issuer, NID_ext_key_usage, options->extended);
        if (*names && !options->is_ca)
            add_extension(certificate, issuer, NID_subject_alt_name, names);
    }
    need(X509_sign(certificate, issuer_key, options->hash ? options->hash : EVP_sha256()) > 0);
    return certificate;
}

/* ---- PEM ---------------------------------------------------------------------------------- */

static void take(struct maker_text *text, BIO *bio)
{
    const uint8_t *data;
    size_t len;

    need(BIO_mem_contents(bio, &data, &len) && text->len + len <= sizeof text->data);
    memcpy(text->data + text->len, data, len);
    text->len += len;
    BIO_free(bio);
}

void maker_add_certificate(struct maker_text *text, X509 *certificate)
{
    BIO *bio = BIO_new(BIO_s_mem());

    need(PEM_write_bio_X509(bio, certificate));
    take(text, bio);
}

void maker_add_key(struct maker_text *text, EVP_PKEY *key)
{
    BIO *bio = BIO_new(BIO_s_mem());

    need(PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL));
    take(text, bio);
}

void maker_add_sec1(struct maker_text *text, EVP_PKEY *key)
{
    BIO *bio = BIO_new(BIO_s_mem());

    need(PEM_write_bio_ECPrivateKey(bio, EVP_PKEY_get0_EC_KEY(key), NULL, NULL, 0, NULL, NULL));
    take(text, bio);
}

void maker_add_public(struct maker_text *text, EVP_PKEY *key)
{
    BIO *bio = BIO_new(BIO_s_mem());

    need(PEM_write_bio_PUBKEY(bio, key));
    take(text, bio);
}

void maker_add_encrypted(struct maker_text *text, EVP_PKEY *key)
{
    BIO *bio = BIO_new(BIO_s_mem());
    uint8_t password[] = "secret";

    need(PEM_write_bio_ECPrivateKey(bio, EVP_PKEY_get0_EC_KEY(key), EVP_aes_128_cbc(), password,
                                    (int)sizeof password - 1, NULL, NULL));
    take(text, bio);
}

struct hf_bytes maker_view(const struct maker_text *text)
{
    return (struct hf_bytes){(const uint8_t *)text->data, text->len};
}
