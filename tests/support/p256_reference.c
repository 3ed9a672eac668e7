/**
 * p256_reference.c - see p256_reference.h.
 */
#include "p256_reference.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/ec_key.h>
#include <openssl/ecdsa.h>
#include <openssl/nid.h>

#include <stdlib.h>
#include <string.h>

static void must(int is_good)
{
    if (!is_good)
        abort();
}

static const EC_GROUP *group(void)
{
    const EC_GROUP *made = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);

    must(made != NULL);
    return made;
}

static const BIGNUM *order(void)
{
    return EC_GROUP_get0_order(group());
}

static BIGNUM *number(const uint8_t in[32])
{
    BIGNUM *made = BN_bin2bn(in, 32, NULL);

    must(made != NULL);
    return made;
}

/* Writes and frees. */
static void write_number(uint8_t out[32], BIGNUM *value)
{
    must(BN_bn2bin_padded(out, 32, value));
    BN_free(value);
}

static EC_POINT *point_of(const uint8_t in[65])
{
    EC_POINT *made = EC_POINT_new(group());

    must(made && EC_POINT_oct2point(group(), made, in, 65, NULL));
    return made;
}

/* Writes and frees. */
static bool write_point(uint8_t out[65], EC_POINT *point)
{
    bool is_finite = !EC_POINT_is_at_infinity(group(), point);

    memset(out, 0, 65);
    if (is_finite)
        must(EC_POINT_point2oct(group(), point, POINT_CONVERSION_UNCOMPRESSED, out, 65, NULL) ==
             65);
    EC_POINT_free(point);
    return is_finite;
}

/* u1 G + u2 Q; `q` may be NULL. Frees q. */
static EC_POINT *combine(const uint8_t u1[32], const uint8_t u2[32], EC_POINT *q)
{
    BIGNUM *a = number(u1);
    BIGNUM *b = q ? number(u2) : NULL;
    EC_POINT *base = EC_POINT_new(group());
    EC_POINT *sum = EC_POINT_new(group());

    must(base && sum && EC_POINT_mul(group(), base, a, NULL, NULL, NULL));
    if (q)
        must(EC_POINT_mul(group(), sum, NULL, q, b, NULL) &&
             EC_POINT_add(group(), sum, sum, base, NULL));
    else
        must(EC_POINT_copy(sum, base));
    BN_free(a);
    BN_free(b);
    EC_POINT_free(base);
    EC_POINT_free(q);
    return sum;
}

/* a * b or a / b modulo n. */
static BIGNUM *product(const BIGNUM *a, const BIGNUM *b, bool is_ratio)
{
    BN_CTX *context = BN_CTX_new();
    BIGNUM *factor = BN_dup(b);
    BIGNUM *made = BN_new();

    must(context && factor && made);
    if (is_ratio)
        must(BN_mod_inverse(factor, b, order(), context) != NULL);
    must(BN_mod_mul(made, a, factor, order(), context));
    BN_free(factor);
    BN_CTX_free(context);
    return made;
}

void reference_number(uint8_t out[32], const char *base, long add)
{
    BIGNUM *value = BN_new();

    must(value != NULL && BN_set_word(value, 0));
    if (strcmp(base, "n") == 0)
        must(BN_copy(value, order()) != NULL);
    else if (strcmp(base, "p") == 0)
        must(EC_GROUP_get_curve_GFp(group(), value, NULL, NULL, NULL));
    else if (strncmp(base, "2^", 2) == 0)
        must(BN_set_bit(value, atoi(base + 2)));
    if (add < 0 && BN_is_zero(value))
        must(BN_set_bit(value, 256));
    must(add < 0 ? BN_sub_word(value, (BN_ULONG)-add) : BN_add_word(value, (BN_ULONG)add));
    BN_mask_bits(value, 256);
    write_number(out, value);
}

void reference_exception(uint8_t out[32])
{
    BIGNUM *value = BN_new();

    must(value && BN_set_word(value, 15) && BN_lshift(value, value, 253) &&
         BN_sub(value, value, order()));
    write_number(out, value);
}

bool reference_multiply(uint8_t out[65], const uint8_t scalar[32], const uint8_t *point)
{
    static const uint8_t zero[32];

    if (point)
        return write_point(out, combine(zero, scalar, point_of(point)));
    return write_point(out, combine(scalar, NULL, NULL));
}

void reference_sign(uint8_t signature[64], const uint8_t private_key[32], const uint8_t digest[32],
                    const uint8_t nonce[32])
{
    uint8_t point[65];
    BIGNUM *k = number(nonce);
    BIGNUM *key = number(private_key);
    BIGNUM *e = number(digest);
    BIGNUM *r;
    BIGNUM *sum;
    BN_CTX *context = BN_CTX_new();

    must(reference_multiply(point, nonce, NULL));
    r = number(point + 1);
    must(BN_nnmod(r, r, order(), context));
    sum = product(r, key, false);
    must(BN_mod_add(sum, sum, e, order(), context));
    write_number(signature, r);
    write_number(signature + 32, product(sum, k, true));
    BN_free(sum);
    BN_free(e);
    BN_free(key);
    BN_free(k);
    BN_CTX_free(context);
}

bool reference_verify(const uint8_t key[65], const uint8_t digest[32], const uint8_t signature[64])
{
    EC_KEY *made = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1);
    EC_POINT *point = EC_POINT_new(group());
    ECDSA_SIG *parsed = ECDSA_SIG_new();
    bool is_valid = false;

    must(made && point && parsed);
    must(ECDSA_SIG_set0(parsed, number(signature), number(signature + 32)));
    if (key[0] == 4 && EC_POINT_oct2point(group(), point, key, 65, NULL)) {
        must(EC_KEY_set_public_key(made, point));
        is_valid = ECDSA_do_verify(digest, 32, parsed, made) == 1;
    }
    ECDSA_SIG_free(parsed);
    EC_POINT_free(point);
    EC_KEY_free(made);
    return is_valid;
}

/* The digest and signature for which a verifier computes u1 and u2, and arrives at x. */
static void craft_signature(uint8_t digest[32], uint8_t signature[64], const uint8_t u1[32],
                            const uint8_t u2[32], const uint8_t x[32])
{
    BIGNUM *r = number(x);
    BIGNUM *a = number(u1);
    BIGNUM *b = number(u2);
    BIGNUM *s;
    BN_CTX *context = BN_CTX_new();

    must(BN_nnmod(r, r, order(), context));
    s = product(r, b, true);
    write_number(digest, product(a, s, false));
    write_number(signature, r);
    write_number(signature + 32, s);
    BN_free(a);
    BN_free(b);
    BN_CTX_free(context);
}

bool reference_craft(uint8_t key[65], uint8_t digest[32], uint8_t signature[64],
                     const uint8_t u1[32], const uint8_t u2[32], const uint8_t t[32])
{
    uint8_t point[65];
    bool is_finite;

    must(reference_multiply(key, t, NULL));
    is_finite = write_point(point, combine(u1, u2, point_of(key)));
    if (!is_finite)
        memset(point, 0x11, sizeof point); // any r must be refused
    craft_signature(digest, signature, u1, u2, point + 1);
    return is_finite;
}

void reference_craft_at(uint8_t key[65], uint8_t digest[32], uint8_t signature[64],
                        const uint8_t u1[32], const uint8_t u2[32], const uint8_t point[65])
{
    static const uint8_t one[32] = {[31] = 1};
    EC_POINT *target = point_of(point);
    EC_POINT *base = combine(u1, NULL, NULL);
    uint8_t inverse[32];

    // Q = (R - u1 G) / u2
    reference_ratio(inverse, one, u2, false);
    must(EC_POINT_invert(group(), base, NULL) && EC_POINT_add(group(), target, target, base, NULL));
    must(write_point(key, target) && reference_multiply(key, inverse, key));
    EC_POINT_free(base);
    craft_signature(digest, signature, u1, u2, point + 1);
}

void reference_point_from(uint8_t out[65], const uint8_t x[32])
{
    BIGNUM *value = number(x);
    EC_POINT *point = EC_POINT_new(group());

    must(point != NULL);
    while (!EC_POINT_set_compressed_coordinates_GFp(group(), point, value, 0, NULL))
        must(BN_add_word(value, 1));
    must(write_point(out, point));
    BN_free(value);
}

void reference_ratio(uint8_t out[32], const uint8_t a[32], const uint8_t b[32], bool is_negative)
{
    BIGNUM *dividend = number(a);
    BIGNUM *divisor = number(b);
    BIGNUM *made = product(dividend, divisor, true);

    if (is_negative)
        must(BN_sub(made, order(), made));
    write_number(out, made);
    BN_free(dividend);
    BN_free(divisor);
}
