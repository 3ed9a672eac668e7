/**
 * p256_portable.c - P-256 by BoringSSL, one operation after another: what every processor can do,
 * and what the lanes are measured against. Holds no arithmetic of its own.
 */
#include "p256_scalar.h"
#include "private.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/ec_key.h>
#include <openssl/ecdh.h>
#include <openssl/ecdsa.h>
#include <openssl/nid.h>

#include <string.h>

/* BoringSSL's groups of named curves are static and shared. */
static EC_GROUP *portable_group(void)
{
    EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);

    HF__CRYPTO_ASSERT(group);
    return group;
}

/* A private key in 1..n-1 with its public point, or NULL: out of memory. */
static EC_KEY *portable_key_new(const uint8_t scalar[HF_P256_SCALAR_LEN])
{
    EC_GROUP *group = portable_group();
    EC_KEY *key = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1);
    EC_POINT *point = EC_POINT_new(group);
    BIGNUM *number = BN_bin2bn(scalar, HF_P256_SCALAR_LEN, NULL);
    bool is_good = key && point && number && EC_KEY_set_private_key(key, number) &&
                   EC_POINT_mul(group, point, number, NULL, NULL, NULL) &&
                   EC_KEY_set_public_key(key, point);

    BN_clear_free(number);
    EC_POINT_free(point);
    if (is_good)
        return key;
    EC_KEY_free(key);
    return NULL;
}

static EC_POINT *portable_point_new(const EC_GROUP *group, const uint8_t point[HF_P256_POINT_LEN])
{
    EC_POINT *made = EC_POINT_new(group);

    // Any length starts with another byte; 0x04 with 65 bytes is the uncompressed form alone.
    if (made && point[0] == 4 && EC_POINT_oct2point(group, made, point, HF_P256_POINT_LEN, NULL))
        return made;
    EC_POINT_free(made);
    return NULL;
}

enum hf_status hf_p256_key_open(struct hf_p256_key *out, const uint8_t scalar[HF_P256_SCALAR_LEN])
{
    EC_KEY *native;

    memset(out, 0, sizeof *out);
    if (!hf__p256_scalar_is_valid(scalar))
        return HF_E_ILLEGAL_PARAMETER;
    native = portable_key_new(scalar);
    if (!native)
        return HF_E_MEMORY;
    if (EC_POINT_point2oct(EC_KEY_get0_group(native), EC_KEY_get0_public_key(native),
                           POINT_CONVERSION_UNCOMPRESSED, out->public_key, HF_P256_POINT_LEN,
                           NULL) != HF_P256_POINT_LEN) {
        EC_KEY_free(native);
        return HF_E_MEMORY;
    }
    hf_ct_public(out->public_key, sizeof out->public_key);
    memcpy(out->scalar, scalar, sizeof out->scalar);
    out->native = native;
    return HF_OK;
}

void hf_p256_key_close(struct hf_p256_key *key)
{
    EC_KEY_free(key->native);
    hf_wipe(key, sizeof *key);
}

static void portable_generate(struct hf_p256_generate *operations, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct hf_p256_key key;

        hf__p256_scalar_draw(operations[i].private_key);
        if (hf_p256_key_open(&key, operations[i].private_key) != HF_OK) {
            hf_wipe(operations[i].private_key, HF_P256_SCALAR_LEN);
            operations[i].status = HF_E_MEMORY;
            continue;
        }
        memcpy(operations[i].public_key, key.public_key, sizeof key.public_key);
        hf_p256_key_close(&key);
        operations[i].status = HF_OK;
    }
}

static enum hf_status portable_agree_one(const struct hf_p256_agree *operation)
{
    EC_GROUP *group = portable_group();
    EC_KEY *key = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1);
    BIGNUM *number = BN_bin2bn(operation->private_key, HF_P256_SCALAR_LEN, NULL);
    EC_POINT *peer = portable_point_new(group, operation->peer);
    enum hf_status status = HF_E_ILLEGAL_PARAMETER;

    if (key && number && peer && hf__p256_scalar_is_valid(operation->private_key) &&
        EC_KEY_set_private_key(key, number) &&
        ECDH_compute_key(operation->shared, HF_P256_SCALAR_LEN, peer, key, NULL) ==
            HF_P256_SCALAR_LEN)
        status = HF_OK;
    else
        memset(operation->shared, 0, HF_P256_SCALAR_LEN);
    EC_POINT_free(peer);
    BN_clear_free(number);
    EC_KEY_free(key);
    return status;
}

static void portable_agree(struct hf_p256_agree *operations, size_t count)
{
    for (size_t i = 0; i < count; i++)
        operations[i].status = portable_agree_one(&operations[i]);
}

/* BoringSSL's nonce is fresh randomness with a hash of key and digest mixed in. */
static enum hf_status portable_sign_one(const struct hf_p256_sign *operation)
{
    ECDSA_SIG *made = ECDSA_do_sign(operation->digest, HF_SHA256_LEN, operation->key->native);
    bool is_good = made && BN_bn2bin_padded(operation->signature, 32, ECDSA_SIG_get0_r(made)) &&
                   BN_bn2bin_padded(operation->signature + 32, 32, ECDSA_SIG_get0_s(made));

    ECDSA_SIG_free(made);
    hf_ct_public(operation->signature, HF_P256_SIGNATURE_LEN);
    return is_good ? HF_OK : HF_E_MEMORY;
}

static void portable_sign(struct hf_p256_sign *operations, size_t count)
{
    for (size_t i = 0; i < count; i++)
        operations[i].status = portable_sign_one(&operations[i]);
}

static enum hf_status portable_verify_one(const struct hf_p256_verify *operation)
{
    EC_GROUP *group = portable_group();
    EC_KEY *key = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1);
    EC_POINT *point = portable_point_new(group, operation->public_key);
    ECDSA_SIG *signature = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(operation->signature, 32, NULL);
    BIGNUM *s = BN_bin2bn(operation->signature + 32, 32, NULL);
    enum hf_status status = HF_E_ILLEGAL_PARAMETER;

    if (key && point && EC_KEY_set_public_key(key, point)) {
        status = HF_E_BAD_SIGNATURE;
        if (signature && r && s && ECDSA_SIG_set0(signature, r, s)) {
            r = s = NULL; // the signature's now
            if (ECDSA_do_verify(operation->digest, HF_SHA256_LEN, signature, key) == 1)
                status = HF_OK;
        }
    }
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(signature);
    EC_POINT_free(point);
    EC_KEY_free(key);
    return status;
}

static void portable_verify(struct hf_p256_verify *operations, size_t count)
{
    for (size_t i = 0; i < count; i++)
        operations[i].status = portable_verify_one(&operations[i]);
}

const struct hf_p256_backend *hf_p256_portable(void)
{
    static const struct hf_p256_backend backend = {
        .name = "portable",
        .lanes = 1,
        .generate = portable_generate,
        .agree = portable_agree,
        .sign = portable_sign,
        .verify = portable_verify,
    };

    return &backend;
}
