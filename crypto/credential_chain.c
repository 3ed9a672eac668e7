/**
 * credential_chain.c - our own certificate chain: read, checked for what would never work (a key
 * that is not ours to use, a chain in disorder), and looked at for what peers may refuse.
 */
#include "credential_chain.h"
#include "private.h"

#include <openssl/asn1.h>
#include <openssl/ec_key.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <stdlib.h>
#include <string.h>

#define MESSAGE_LEN_MAX 16384u
#define MESSAGE_LEN_MODEST 4096u

struct reading {
    struct hf__credential_chain *out;
    X509 *certificates[HF_CHAIN_DEPTH_MAX];
    size_t count;
    bool is_memory_out;
};

static void put_u24(uint8_t *out, size_t value)
{
    out[0] = (uint8_t)(value >> 16);
    out[1] = (uint8_t)(value >> 8);
    out[2] = (uint8_t)value;
}

/* The message grows by one certificate with its length. */
static const char *append(struct reading *reading, const struct hf__pem_block *block)
{
    struct hf__credential_chain *out = reading->out;
    const uint8_t *next = block->data;
    X509 *certificate;

    if (reading->count == HF_CHAIN_DEPTH_MAX)
        return "the chain has more than 8 certificates";
    if (out->message_len + 3 + block->len > MESSAGE_LEN_MAX)
        return "the chain is longer than 16,384 bytes";
    certificate = d2i_X509(NULL, &next, (long)block->len);
    if (!certificate)
        return "a certificate does not parse";
    reading->certificates[reading->count++] = certificate;
    if (next != block->data + block->len)
        return "a certificate has something behind it";
    put_u24(out->message + out->message_len, block->len);
    memcpy(out->message + out->message_len + 3, block->data, block->len);
    out->message_len += (uint32_t)(3 + block->len);
    return NULL;
}

static const char *read_all(struct reading *reading, struct hf_bytes pem)
{
    struct hf__pem pem_reader;
    struct hf__pem_block block;
    const char *why = hf__pem_open(&pem_reader, pem);

    reading->out->message_len = 3;
    while (!why && hf__pem_next(&block, &pem_reader)) {
        if (hf__pem_is(&block, "CERTIFICATE"))
            why = append(reading, &block);
        hf__pem_block_wipe(&block);
    }
    if (!why)
        why = hf__pem_failure(&pem_reader);
    hf__pem_close(&pem_reader);
    if (!why && reading->count == 0)
        why = "there is no certificate";
    put_u24(reading->out->message, reading->out->message_len - 3);
    return why;
}

/* ---- what must be so ---------------------------- */

static bool is_p256(EVP_PKEY *key)
{
    const EC_KEY *ec = key && EVP_PKEY_id(key) == EVP_PKEY_EC ? EVP_PKEY_get0_EC_KEY(key) : NULL;

    return ec && EC_GROUP_get_curve_name(EC_KEY_get0_group(ec)) == NID_X9_62_prime256v1;
}

static const char *check_own_key(struct hf__credential_chain *out, X509 *own)
{
    EVP_PKEY *key = X509_get_pubkey(own);
    const ASN1_BIT_STRING *bits = X509_get0_pubkey_bitstr(own);
    bool is_good = is_p256(key);

    EVP_PKEY_free(key);
    if (!is_good)
        return "the certificate's key is not on P-256 (TS-0003 10.1.1.1)";
    if (ASN1_STRING_length(bits) != HF_P256_POINT_LEN || ASN1_STRING_get0_data(bits)[0] != 0x04)
        return "the certificate's key is not an uncompressed point (TS-0003 10.1.1.1)";
    memcpy(out->public_key, ASN1_STRING_get0_data(bits), HF_P256_POINT_LEN);
    return NULL;
}

/* RFC 5246 7.4.2: each certificate directly certifies the one before it. */
static const char *check_order(const struct reading *reading)
{
    for (size_t i = 0; i + 1 < reading->count; i++) {
        X509 *subject = reading->certificates[i];
        X509 *issuer = reading->certificates[i + 1];
        EVP_PKEY *key;
        bool is_signed;

        if (X509_NAME_cmp(X509_get_issuer_name(subject), X509_get_subject_name(issuer)) != 0)
            return "a certificate of the chain is not followed by its issuer's";
        key = X509_get_pubkey(issuer);
        is_signed = key && X509_verify(subject, key) == 1;
        EVP_PKEY_free(key);
        if (!is_signed)
            return "a certificate of the chain is not signed by the next";
    }
    return NULL;
}

/* X509 times in seconds since 1970, by functions every BoringSSL has. */
static bool time_seconds(int64_t *out, const ASN1_TIME *when)
{
    ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
    int days = 0;
    int seconds = 0;
    bool is_read = epoch && ASN1_TIME_diff(&days, &seconds, epoch, when);

    ASN1_TIME_free(epoch);
    *out = (int64_t)days * 86400 + seconds;
    return is_read;
}

static const char *read_validity(struct reading *reading)
{
    for (size_t i = 0; i < reading->count; i++) {
        int64_t from;
        int64_t to;

        if (!time_seconds(&from, X509_get0_notBefore(reading->certificates[i])) ||
            !time_seconds(&to, X509_get0_notAfter(reading->certificates[i])))
            return "a certificate's validity does not parse";
        if (i == 0 || from > reading->out->not_before_s)
            reading->out->not_before_s = from;
        if (i == 0 || to < reading->out->not_after_s)
            reading->out->not_after_s = to;
    }
    return NULL;
}

/* ---- what peers may refuse ---------------------------- */

static uint32_t look_at_names(X509 *own, bool *is_memory_out)
{
    GENERAL_NAMES *names;
    uint32_t warnings = 0;
    int critical = 0;

    names = X509_get_ext_d2i(own, NID_subject_alt_name, &critical, NULL);
    *is_memory_out = !names && critical >= 0;
    if (!names)
        return HF_CREDENTIAL_WARNING_NO_NAME;
    for (size_t i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

        if (name->type == GEN_DNS && ASN1_STRING_length(name->d.dNSName) > 0 &&
            memchr(ASN1_STRING_get0_data(name->d.dNSName), '*',
                   (size_t)ASN1_STRING_length(name->d.dNSName)))
            warnings |= HF_CREDENTIAL_WARNING_WILDCARD;
    }
    GENERAL_NAMES_free(names);
    return warnings;
}

static uint32_t look_at_usage(X509 *own)
{
    uint32_t flags = X509_get_extension_flags(own);
    uint32_t extended = X509_get_extended_key_usage(own);
    uint32_t warnings = 0;

    if ((flags & EXFLAG_KUSAGE) == 0)
        warnings |= HF_CREDENTIAL_WARNING_KEY_USAGE_MISSING;
    else if ((X509_get_key_usage(own) & KU_DIGITAL_SIGNATURE) == 0)
        warnings |= HF_CREDENTIAL_WARNING_KEY_USAGE;
    if ((flags & EXFLAG_XKUSAGE) != 0 && (extended & (XKU_SSL_SERVER | XKU_ANYEKU)) == 0)
        warnings |= HF_CREDENTIAL_WARNING_SERVER_AUTH;
    if ((flags & EXFLAG_XKUSAGE) != 0 && (extended & (XKU_SSL_CLIENT | XKU_ANYEKU)) == 0)
        warnings |= HF_CREDENTIAL_WARNING_CLIENT_AUTH;
    if ((flags & EXFLAG_CA) != 0)
        warnings |= HF_CREDENTIAL_WARNING_IS_CA;
    return warnings;
}

static uint32_t look_at_issuers(const struct reading *reading)
{
    uint32_t warnings = 0;

    for (size_t i = 0; i < reading->count; i++) {
        X509 *certificate = reading->certificates[i];
        EVP_PKEY *key = X509_get_pubkey(certificate);

        if (X509_get_signature_nid(certificate) != NID_ecdsa_with_SHA256)
            warnings |= HF_CREDENTIAL_WARNING_SIGNATURE;
        if (i > 0 && !is_p256(key))
            warnings |= HF_CREDENTIAL_WARNING_ISSUER_KEY;
        if (i > 0 && !X509_check_ca(certificate))
            warnings |= HF_CREDENTIAL_WARNING_ISSUER_NOT_CA;
        if (i > 0 && X509_NAME_cmp(X509_get_subject_name(certificate),
                                   X509_get_issuer_name(certificate)) == 0)
            warnings |= HF_CREDENTIAL_WARNING_ROOT_SENT;
        EVP_PKEY_free(key);
    }
    return warnings;
}

static const char *look(struct reading *reading)
{
    X509 *own = reading->certificates[0];
    uint32_t *warnings = &reading->out->warnings;

    // Parses the extensions, once for all that follows.
    if ((X509_get_extension_flags(own) & EXFLAG_INVALID) != 0)
        return "the certificate's extensions do not parse";
    if (X509_get_version(own) != 2)
        *warnings |= HF_CREDENTIAL_WARNING_VERSION;
    *warnings |=
        look_at_usage(own) | look_at_issuers(reading) | look_at_names(own, &reading->is_memory_out);
    if (reading->out->message_len > MESSAGE_LEN_MODEST)
        *warnings |= HF_CREDENTIAL_WARNING_LONG;
    return reading->is_memory_out ? "the certificate's names do not parse" : NULL;
}

const char *hf__credential_chain_open(struct hf__credential_chain *out, bool *is_memory_out,
                                      struct hf_bytes pem)
{
    struct reading reading = {.out = out};
    const char *why = NULL;

    memset(out, 0, sizeof *out);
    out->message = malloc(MESSAGE_LEN_MAX);
    if (!out->message) {
        *is_memory_out = true;
        return "out of memory";
    }
    why = read_all(&reading, pem);
    if (!why)
        why = check_own_key(out, reading.certificates[0]);
    if (!why)
        why = check_order(&reading);
    if (!why)
        why = read_validity(&reading);
    if (!why)
        why = look(&reading);
    for (size_t i = 0; i < reading.count; i++)
        X509_free(reading.certificates[i]);
    if (why)
        hf__credential_chain_close(out);
    return why;
}

void hf__credential_chain_close(struct hf__credential_chain *chain)
{
    free(chain->message);
    memset(chain, 0, sizeof *chain);
}
