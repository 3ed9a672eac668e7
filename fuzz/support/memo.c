/**
 * memo.c - P-256 that remembers: in the place of hf_p256_best() (linker --wrap). Handshakes of one
 * target are much alike, and what was computed once need not be computed again: results are those
 * of the portable back end, to the bit. Signatures have nonces that follow from key and digest,
 * and key pairs come from hf_random(), so that an input alone decides what happens.
 *
 * Memory does not run out in here: what fails is decided elsewhere (scarce.h).
 */
#include "memo.h"

#include "fuzz.h"
#include "p256.h"
#include "scarce.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/nid.h>
#include <openssl/sha.h>

#define MEMO_COUNT 8192
#define MEMO_VALUE_MAX 97

struct memo {
    uint8_t name[SHA256_DIGEST_LENGTH]; /* of the operation and all that goes in */
    bool is_set;
    enum hf_status status;
    uint8_t value[MEMO_VALUE_MAX];
};

static struct memo memos[MEMO_COUNT];

const struct hf_p256_backend *__wrap_hf_p256_best(void);

/* The entry of an operation; empty if it is new here. */
static struct memo *find(const char *operation, const uint8_t *a, size_t a_len, const uint8_t *b,
                         size_t b_len, const uint8_t *c, size_t c_len)
{
    SHA256_CTX hash;
    uint8_t name[SHA256_DIGEST_LENGTH];
    SHA256_Init(&hash);
    SHA256_Update(&hash, operation, 1);
    SHA256_Update(&hash, a, a_len);
    SHA256_Update(&hash, b, b_len);
    SHA256_Update(&hash, c, c_len);
    SHA256_Final(name, &hash);
    struct memo *memo = &memos[(name[0] | name[1] << 8) % MEMO_COUNT];
    if (!memo->is_set || memcmp(memo->name, name, sizeof name) != 0) {
        memset(memo, 0, sizeof *memo);
        memcpy(memo->name, name, sizeof name);
    }
    return memo;
}

static void generate_one(struct hf_p256_generate *operation)
{
    uint8_t seed[32];
    hf_random(seed, sizeof seed);
    struct memo *memo = find("g", seed, sizeof seed, NULL, 0, NULL, 0);
    if (!memo->is_set) {
        struct hf_p256_key key;
        seed[0] &= 0x7F; /* below n; and 0 it will not be */
        memo->status = hf_p256_key_open(&key, seed);
        FUZZ_CHECK(memo->status == HF_OK);
        memcpy(memo->value, key.scalar, 32);
        memcpy(memo->value + 32, key.public_key, 65);
        hf_p256_key_close(&key);
        memo->is_set = true;
    }
    memcpy(operation->private_key, memo->value, 32);
    memcpy(operation->public_key, memo->value + 32, 65);
    operation->status = memo->status;
}

static void agree_one(struct hf_p256_agree *operation)
{
    struct memo *memo = find("a", operation->private_key, 32, operation->peer, 65, NULL, 0);
    if (!memo->is_set) {
        hf_p256_portable()->agree(operation, 1);
        memo->status = operation->status;
        memcpy(memo->value, operation->shared, 32);
        memo->is_set = true;
    }
    memcpy(operation->shared, memo->value, 32);
    operation->status = memo->status;
}

/* FIPS 186-4 6.4, with a nonce that nobody should use elsewhere. */
static void sign(uint8_t out[64], const uint8_t scalar[32], const uint8_t digest[32])
{
    EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    const BIGNUM *order = EC_GROUP_get0_order(group);
    BN_CTX *context = BN_CTX_new();
    EC_POINT *point = EC_POINT_new(group);
    uint8_t seed[64], nonce[32];
    memcpy(seed, scalar, 32);
    memcpy(seed + 32, digest, 32);
    SHA256(seed, sizeof seed, nonce);
    nonce[0] &= 0x7F;
    BIGNUM *k = BN_bin2bn(nonce, 32, NULL), *r = BN_new(), *s = BN_new();
    BIGNUM *d = BN_bin2bn(scalar, 32, NULL), *z = BN_bin2bn(digest, 32, NULL);
    bool is_good = EC_POINT_mul(group, point, k, NULL, NULL, context) &&
                   EC_POINT_get_affine_coordinates_GFp(group, point, r, NULL, context) &&
                   BN_nnmod(r, r, order, context) && BN_mod_mul(s, r, d, order, context) &&
                   BN_mod_add(s, s, z, order, context) &&
                   BN_mod_inverse(k, k, order, context) != NULL &&
                   BN_mod_mul(s, s, k, order, context) && BN_bn2bin_padded(out, 32, r) &&
                   BN_bn2bin_padded(out + 32, 32, s);
    FUZZ_CHECK(is_good);
    BN_free(k);
    BN_free(r);
    BN_free(s);
    BN_free(d);
    BN_free(z);
    EC_POINT_free(point);
    BN_CTX_free(context);
}

static void sign_one(struct hf_p256_sign *operation)
{
    struct memo *memo = find("s", operation->key->scalar, 32, operation->digest, 32, NULL, 0);
    if (!memo->is_set)
        sign(memo->value, operation->key->scalar, operation->digest);
    memo->is_set = true;
    memcpy(operation->signature, memo->value, 64);
    operation->status = HF_OK;
}

static void verify_one(struct hf_p256_verify *operation)
{
    struct memo *memo =
        find("v", operation->public_key, 65, operation->digest, 32, operation->signature, 64);
    if (!memo->is_set) {
        hf_p256_portable()->verify(operation, 1);
        memo->status = operation->status;
        memo->is_set = true;
    }
    operation->status = memo->status;
}

#define ALL(operation)                                                                             \
    static void operation##_all(struct hf_p256_##operation *operations, size_t count)              \
    {                                                                                              \
        size_t left = fuzz_scarce_pause();                                                         \
        for (size_t i = 0; i < count; i++)                                                         \
            operation##_one(&operations[i]);                                                       \
        fuzz_scarce_resume(left);                                                                  \
    }

ALL(generate)
ALL(agree)
ALL(sign)
ALL(verify)

const struct hf_p256_backend *__wrap_hf_p256_best(void)
{
    static const struct hf_p256_backend backend = {
        "memo", 8, generate_all, agree_all, sign_all, verify_all,
    };
    return &backend;
}

void fuzz_memo_forget(void)
{
    memset(memos, 0, sizeof memos);
}
