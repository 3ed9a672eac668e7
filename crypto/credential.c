/**
 * credential.c - our own certificates and keys: parsed, checked and turned into the bytes of a
 * Certificate message once. Not the judgement of peers (chain.c, trust.c).
 *
 * Immutable once open; shared by counting.
 */
#include "credential.h"
#include "credential_chain.h"
#include "private.h"

#include <openssl/bn.h>
#include <openssl/bytestring.h>
#include <openssl/ec_key.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/nid.h>

#include <stdlib.h>
#include <string.h>

const uint8_t hf__spki_prefix[HF__SPKI_PREFIX_LEN] = {
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
    0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00};

struct hf_credential {
    uint32_t references;
    bool is_remote;
    uint64_t remote;
    struct hf_p256_key key; /* remote: the public key only */
    struct hf_p256_prepared *prepared;
    struct hf__credential_chain chain;
    uint8_t raw_message[3 + HF__SPKI_LEN];
    uint8_t key_digest[HF_SHA256_LEN];
};

/* ---- the private key ---------------------------- */

/* An EC_KEY on P-256 gives its scalar. */
static const char *take_scalar(uint8_t scalar[HF_P256_SCALAR_LEN], const EC_KEY *key)
{
    const BIGNUM *number = key ? EC_KEY_get0_private_key(key) : NULL;

    if (!key)
        return "the private key does not parse, or is not on P-256";
    if (EC_GROUP_get_curve_name(EC_KEY_get0_group(key)) != NID_X9_62_prime256v1)
        return "the private key is not on P-256 (TS-0003 10.1.1.1)";
    if (!number || !BN_bn2bin_padded(scalar, HF_P256_SCALAR_LEN, number))
        return "the private key does not parse";
    return NULL;
}

static const char *read_sec1(uint8_t scalar[HF_P256_SCALAR_LEN], const uint8_t *der, size_t len)
{
    CBS cbs;
    EC_KEY *key;
    EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    const char *why;

    CBS_init(&cbs, der, len);
    key = EC_KEY_parse_private_key(&cbs, group);
    why = take_scalar(scalar, CBS_len(&cbs) == 0 ? key : NULL);
    EC_KEY_free(key);
    EC_GROUP_free(group);
    return why;
}

static const char *read_pkcs8(uint8_t scalar[HF_P256_SCALAR_LEN], const uint8_t *der, size_t len)
{
    CBS cbs;
    EVP_PKEY *key;
    const char *why;

    CBS_init(&cbs, der, len);
    key = EVP_parse_private_key(&cbs);
    if (key && EVP_PKEY_id(key) != EVP_PKEY_EC)
        why = "the private key is not an EC key (TS-0003 10.1.1.1)";
    else
        why = take_scalar(scalar, key && CBS_len(&cbs) == 0 ? EVP_PKEY_get0_EC_KEY(key) : NULL);
    EVP_PKEY_free(key);
    return why;
}

/* What one block of the key file gives. NULL and *is_found unset: not a key, go on. */
static const char *read_key_block(uint8_t scalar[HF_P256_SCALAR_LEN], bool *is_found,
                                  const struct hf__pem_block *block)
{
    bool is_sec1 = hf__pem_is(block, "EC PRIVATE KEY");
    bool is_pkcs8 = hf__pem_is(block, "PRIVATE KEY");

    if (hf__pem_is(block, "ENCRYPTED PRIVATE KEY") || *block->header != 0)
        return "the private key is encrypted";
    if (!is_sec1 && !is_pkcs8)
        return NULL;
    if (*is_found)
        return "there is more than one private key";
    *is_found = true;
    return is_sec1 ? read_sec1(scalar, block->data, block->len)
                   : read_pkcs8(scalar, block->data, block->len);
}

static const char *read_key(struct hf_p256_key *key, bool *is_memory_out, struct hf_bytes pem)
{
    uint8_t scalar[HF_P256_SCALAR_LEN] = {0};
    struct hf__pem pem_reader;
    struct hf__pem_block block;
    bool is_found = false;
    const char *why = hf__pem_open(&pem_reader, pem);

    while (!why && hf__pem_next(&block, &pem_reader)) {
        why = read_key_block(scalar, &is_found, &block);
        hf__pem_block_wipe(&block);
    }
    if (!why)
        why = hf__pem_failure(&pem_reader);
    hf__pem_close(&pem_reader);
    if (!why && !is_found)
        why = "there is no private key";
    if (!why) {
        enum hf_status status = hf_p256_key_open(key, scalar);

        *is_memory_out = status == HF_E_MEMORY;
        if (status != HF_OK)
            why = "the private key is not in 1..n-1";
    }
    hf_wipe(scalar, sizeof scalar);
    return why;
}

/* ---- the public key of a remote signer ---------------------------- */

/* P-256 uncompressed has exactly one DER form (RFC 5480 2). */
static const char *take_point(uint8_t out[HF_P256_POINT_LEN], const uint8_t *der, size_t len)
{
    if (len != HF__SPKI_LEN || !hf_bytes_equal_public(der, hf__spki_prefix, HF__SPKI_PREFIX_LEN))
        return "the public key is not an uncompressed point of P-256";
    memcpy(out, der + HF__SPKI_PREFIX_LEN, HF_P256_POINT_LEN);
    return NULL;
}

static const char *read_public_key(uint8_t out[HF_P256_POINT_LEN], struct hf_bytes text)
{
    struct hf__pem pem_reader;
    struct hf__pem_block block;
    bool is_found = false;
    const char *why;

    if (text.data[0] == hf__spki_prefix[0])
        return take_point(out, text.data, text.len);
    why = hf__pem_open(&pem_reader, text);
    while (!why && hf__pem_next(&block, &pem_reader)) {
        if (hf__pem_is(&block, "PUBLIC KEY") && !is_found) {
            is_found = true;
            why = take_point(out, block.data, block.len);
        }
        hf__pem_block_wipe(&block);
    }
    if (!why)
        why = hf__pem_failure(&pem_reader);
    hf__pem_close(&pem_reader);
    if (!why && !is_found)
        why = "there is no public key";
    return why;
}

/* A point off the curve agrees with nothing: one ECDH of the scalar 1 tells. */
static bool is_point(const uint8_t point[HF_P256_POINT_LEN])
{
    uint8_t one[HF_P256_SCALAR_LEN] = {[HF_P256_SCALAR_LEN - 1] = 1};
    uint8_t shared[HF_P256_SCALAR_LEN];
    struct hf_p256_agree operation = {one, point, shared, HF_E_MEMORY};

    hf_p256_portable()->agree(&operation, 1);
    return operation.status == HF_OK;
}

/* ---- open and close ---------------------------- */

static void make_raw(struct hf_credential *credential)
{
    uint8_t *out = credential->raw_message;
    struct hf_sha256 hash;

    out[0] = out[1] = 0;
    out[2] = HF__SPKI_LEN;
    memcpy(out + 3, hf__spki_prefix, HF__SPKI_PREFIX_LEN);
    memcpy(out + 3 + HF__SPKI_PREFIX_LEN, credential->key.public_key, HF_P256_POINT_LEN);
    hf_sha256_init(&hash);
    hf_sha256_update(&hash, out + 3, HF__SPKI_LEN);
    hf_sha256_final(credential->key_digest, &hash);
}

static const char *check_remote(struct hf_credential *credential,
                                const struct hf_credential_source *source)
{
    const struct hf__credential_chain *chain = &credential->chain;
    const char *why;

    if (source->public_key_pem.len > 0) {
        why = read_public_key(credential->key.public_key, source->public_key_pem);
        if (why)
            return why;
    } else if (chain->message_len > 0) {
        memcpy(credential->key.public_key, chain->public_key, HF_P256_POINT_LEN);
    } else {
        return "a remote key needs a certificate or a public key beside it";
    }
    credential->is_remote = true;
    credential->remote = source->remote;
    return is_point(credential->key.public_key) ? NULL : "the public key is no point of P-256";
}

static const char *fill(struct hf_credential *credential, bool *is_memory_out,
                        const struct hf_credential_source *source)
{
    const struct hf__credential_chain *chain = &credential->chain;
    const char *why = NULL;

    if (source->chain_pem.len > 0)
        why = hf__credential_chain_open(&credential->chain, is_memory_out, source->chain_pem);
    if (why)
        return why;
    why = source->key_pem.len > 0 ? read_key(&credential->key, is_memory_out, source->key_pem)
                                  : check_remote(credential, source);
    if (why)
        return why;
    if (chain->message_len > 0 &&
        !hf_bytes_equal_public(chain->public_key, credential->key.public_key, HF_P256_POINT_LEN))
        return "the key is not that of the certificate";
    make_raw(credential);
    if (!source->is_rare)
        credential->prepared = hf_p256_prepare(credential->key.public_key);
    return NULL;
}

enum hf_status hf_credential_open(struct hf_credential **out, const char **why,
                                  const struct hf_credential_source *source)
{
    struct hf_credential *credential = calloc(1, sizeof *credential);
    bool is_memory_out = false;

    *why = "out of memory";
    if (!credential)
        return HF_E_MEMORY;
    credential->references = 1;
    *why = fill(credential, &is_memory_out, source);
    // BoringSSL says in its queue why an allocation failed, and nowhere else.
    if (*why && ERR_GET_REASON(ERR_peek_error()) == ERR_R_MALLOC_FAILURE)
        is_memory_out = true;
    ERR_clear_error();
    if (!*why) {
        *out = credential;
        return HF_OK;
    }
    hf_credential_close(credential);
    if (is_memory_out)
        *why = "out of memory";
    return is_memory_out ? HF_E_MEMORY : HF_E_CONFIG;
}

struct hf_credential *hf_credential_share(const struct hf_credential *credential)
{
    // The count is the one thing in it that changes.
    struct hf_credential *shared = (struct hf_credential *)(uintptr_t)credential;

    __atomic_add_fetch(&shared->references, 1, __ATOMIC_RELAXED);
    return shared;
}

void hf_credential_close(struct hf_credential *credential)
{
    if (!credential || __atomic_sub_fetch(&credential->references, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    hf_p256_key_close(&credential->key);
    hf_p256_prepared_close(credential->prepared);
    hf__credential_chain_close(&credential->chain);
    hf_wipe(credential, sizeof *credential);
    free(credential);
}

/* ---- looking ---------------------------- */

struct hf_bytes hf_credential_message(const struct hf_credential *credential, bool is_raw)
{
    if (is_raw)
        return (struct hf_bytes){credential->raw_message, sizeof credential->raw_message};
    return (struct hf_bytes){credential->chain.message, credential->chain.message_len};
}

const uint8_t *hf_credential_public_key(const struct hf_credential *credential)
{
    return credential->key.public_key;
}

const uint8_t *hf_credential_key_digest(const struct hf_credential *credential)
{
    return credential->key_digest;
}

bool hf_credential_is_remote(uint64_t *remote, const struct hf_credential *credential)
{
    *remote = credential->remote;
    return credential->is_remote;
}

uint32_t hf_credential_warnings(const struct hf_credential *credential)
{
    return credential->chain.warnings;
}

const char *hf_credential_warning_text(uint32_t warning)
{
    static const char *const texts[] = {
#define TEXT(name, text) text,
        HF_CREDENTIAL_WARNING_MAP(TEXT)
#undef TEXT
    };

    for (size_t i = 0; i < HF_CREDENTIAL_WARNING_COUNT; i++) {
        if (warning == (uint32_t)1 << i)
            return texts[i];
    }
    return "unknown";
}

void hf_credential_validity(int64_t *not_before_s, int64_t *not_after_s,
                            const struct hf_credential *credential)
{
    *not_before_s = credential->chain.not_before_s;
    *not_after_s = credential->chain.not_after_s;
}

const struct hf_p256_key *hf__credential_key(const struct hf_credential *credential)
{
    return credential->is_remote ? NULL : &credential->key;
}

const struct hf_p256_prepared *hf__credential_prepared(const struct hf_credential *credential)
{
    return credential->prepared;
}

const char *hf_flavour_name(enum hf_flavour flavour)
{
    static const char *const names[] = {"none",  "raw",     "device", "cse-id",
                                        "ae-id", "node-id", "fqdn"};

    for (size_t i = 1; i < sizeof names / sizeof *names; i++) {
        if ((unsigned)flavour == 1u << (i - 1))
            return names[i];
    }
    return names[0];
}
