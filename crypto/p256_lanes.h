/**
 * p256_lanes.h - eight numbers side by side: what the files of the 8-lane P-256 share. Included
 * only by files that are compiled for AVX-512 IFMA, and reached only where the processor has it.
 *
 * A number is five limbs of 52 bits; element i of each vector belongs to lane i. "Tight" limbs are
 * in 0..2^52-1; "loose" ones are any signed 64-bit values whose weighted sum is meant.
 * Multiplications take tight numbers below 2^260. No lane ever looks at another, nothing branches
 * on a number and no address comes from one: what is secret in one place and public in another goes
 * the same way through the same code.
 */
#ifndef HF_P256_LANES_H
#define HF_P256_LANES_H

#include "p256_scalar.h"
#include "private.h"

#include <immintrin.h>

/* Numbers are passed by value, 320 bytes each, and must stay in registers. */
#define HF__INLINE static inline __attribute__((always_inline))

#define HF__LANES 8
#define HF__LIMBS 5
#define HF__LIMB_BITS 52
#define HF__LIMB_MASK 0xfffffffffffffull

/** Eight numbers. */
struct hf__number {
    __m512i limb[HF__LIMBS];
};

/** Eight points in Jacobian coordinates, Montgomery form: x = X/Z^2, y = Y/Z^3; Z = 0: infinity.
 *  X and Y are below 1.01p, Z below 2.3p, all tight. */
struct hf__point {
    struct hf__number x;
    struct hf__number y;
    struct hf__number z;
};

/** Eight affine points, Montgomery form, tight, below 2p; never infinity. */
struct hf__affine {
    struct hf__number x;
    struct hf__number y;
};

HF__INLINE __m512i hf__splat(uint64_t value)
{
    return _mm512_set1_epi64((long long)value);
}

HF__INLINE struct hf__number hf__number_of(const uint64_t limbs[HF__LIMBS])
{
    struct hf__number out;

#pragma GCC unroll 5
    for (int i = 0; i < HF__LIMBS; i++)
        out.limb[i] = hf__splat(limbs[i]);
    return out;
}

/** hf__select takes `set` in the lanes of `mask`. */
HF__INLINE struct hf__number hf__select(__mmask8 mask, struct hf__number set,
                                        struct hf__number clear)
{
#pragma GCC unroll 5
    for (int i = 0; i < HF__LIMBS; i++)
        clear.limb[i] = _mm512_mask_mov_epi64(clear.limb[i], mask, set.limb[i]);
    return clear;
}

/* ---- numbers: p256_lanes_number.c ------------------------------------------------------------ */

/** hf__number_load reads eight big-endian numbers of 32 bytes. */
void hf__number_load(struct hf__number *out, const uint8_t *const in[HF__LANES]);

/** hf__number_store writes tight numbers below 2^256 in the lanes of `mask`. */
void hf__number_store(uint8_t *const out[HF__LANES], const struct hf__number *in, __mmask8 mask);

/** hf__number_subtract gives a - b, tight, and the lanes in which a < b (there 2^260 more). */
__mmask8 hf__number_subtract(struct hf__number *out, const struct hf__number *a,
                             const struct hf__number *b);

/** hf__number_is_equal compares tight numbers. */
__mmask8 hf__number_is_equal(const struct hf__number *a, const struct hf__number *b);

/** hf__number_is_odd looks at the lowest bit of a tight number. */
__mmask8 hf__number_is_odd(const struct hf__number *a);

/* ---- inversion: p256_lanes_invert.c ---------------------------------------------------------- */

/** An odd modulus below 2^256. */
struct hf__modulus {
    uint64_t m[HF__LIMBS];
    uint64_t square[HF__LIMBS]; /**< R^2 modulo m, R = 2^260 */
    uint64_t factor;            /**< -1/m modulo 2^52 */
};

/** hf__number_invert gives R^2/a modulo m, tight, below 16m; for 0 a multiple of m. In: 0..m-1. */
void hf__number_invert(struct hf__number *out, const struct hf__number *a,
                       const struct hf__modulus *modulus);

/* ---- modulo p: p256_lanes_field.c ------------------------------------------------------------ */

extern const uint64_t hf__field_p[HF__LIMBS];
extern const uint64_t hf__field_one[HF__LIMBS];     /**< 1 in Montgomery form */
extern const uint64_t hf__field_minus_3[HF__LIMBS]; /**< the curve's a, in Montgomery form */
extern const uint64_t hf__field_b[HF__LIMBS];       /**< the curve's b, in Montgomery form */

/** hf__field_enter goes to Montgomery form; tight, below 2p. In: tight, below 2^256. */
void hf__field_enter(struct hf__number *out, const struct hf__number *a);

/** hf__field_leave goes back from it, to the canonical residue. In: tight, below 2^260. */
void hf__field_leave(struct hf__number *out, const struct hf__number *a);

/** hf__field_canonical gives the canonical residue, in the same form. In: tight, below 2p. */
void hf__field_canonical(struct hf__number *out, const struct hf__number *a);

/** hf__field_is_zero tells where a tight number below 2^260 is a multiple of p. */
__mmask8 hf__field_is_zero(const struct hf__number *a);

/** hf__field_invert gives 1/a, and 0 for 0, both in Montgomery form. */
void hf__field_invert(struct hf__number *out, const struct hf__number *a);

/* ---- modulo n, the order: p256_lanes_order.c ------------------------------------------------- */

extern const uint64_t hf__order_n[HF__LIMBS];

/** hf__order_mul is a * b / 2^260, tight, below 2n. In: tight, below 4n. */
void hf__order_mul(struct hf__number *out, const struct hf__number *a, const struct hf__number *b);

/** hf__order_enter goes to Montgomery form; tight, below 2n. In: tight, below 2^256. */
void hf__order_enter(struct hf__number *out, const struct hf__number *a);

/** hf__order_reduce gives the canonical residue. In: tight, below 2n. */
void hf__order_reduce(struct hf__number *out, const struct hf__number *a);

/** hf__order_negate gives n - a for a in 0..n. */
void hf__order_negate(struct hf__number *out, const struct hf__number *a);

/** hf__order_is_valid tells where a tight number is in 1..n-1. */
__mmask8 hf__order_is_valid(const struct hf__number *a);

/** hf__order_invert gives 1/a in Montgomery form. */
void hf__order_invert(struct hf__number *out, const struct hf__number *a);

/* ---- points: p256_lanes_point.c -------------------------------------------------------------- */

/** hf__point_double doubles on y^2 = x^3 + a'x + b'; `t` is a'Z^4 and goes along (it is below 1.5p,
 *  tight). Right for every point, infinity included. */
void hf__point_double(struct hf__point *point, struct hf__number *t);

/** hf__point_add_affine adds two points of which it is known that they are neither equal nor
 *  infinity. Opposite ones give infinity. */
void hf__point_add_affine(struct hf__point *point, const struct hf__affine *b);

/** hf__point_add_last adds two points of the curve itself, which may be equal or opposite, but not
 *  infinity. */
void hf__point_add_last(struct hf__point *point, const struct hf__affine *b);

/** hf__point_add adds any two points. */
void hf__point_add(struct hf__point *out, const struct hf__point *a, const struct hf__point *b);

/** hf__point_to_affine gives canonical coordinates, out of Montgomery form. */
void hf__point_to_affine(struct hf__affine *out, const struct hf__point *point);

/** hf__point_is_on_curve tells where canonical coordinates in Montgomery form are a point's. */
__mmask8 hf__point_is_on_curve(const struct hf__affine *point);

/* ---- multiples: p256_lanes_base.c, p256_lanes_ladder.c, p256_lanes_prepared.c ---------------- */

/** hf__digit cuts a digit out of an odd number. Every digit of `width` bits is odd and may be
 *  negative: floor(s / 2^position) with its lowest bit set is d + 2^width * the same at position +
 *  width. Out: (|d| - 1) / 2 and where d < 0. */
HF__INLINE __mmask8 hf__digit(__m512i *out, const struct hf__number *s, unsigned position,
                              unsigned width)
{
    unsigned limb = position / HF__LIMB_BITS;
    unsigned shift = position % HF__LIMB_BITS;
    __m512i bits = _mm512_srli_epi64(s->limb[limb], shift);
    __mmask8 is_positive;

    if (limb + 1 < HF__LIMBS)
        bits = _mm512_or_si512(bits, _mm512_slli_epi64(s->limb[limb + 1], HF__LIMB_BITS - shift));
    is_positive = _mm512_test_epi64_mask(bits, hf__splat(1ull << width));
    bits = _mm512_srli_epi64(bits, 1);
    bits = _mm512_mask_xor_epi64(bits, (__mmask8)~is_positive, bits, hf__splat(~0ull));
    *out = _mm512_and_si512(bits, hf__splat((1ull << (width - 1)) - 1));
    return (__mmask8)~is_positive;
}

/** hf__base_multiply gives s * G. In: tight, 0..n-1. Secret: s. */
void hf__base_multiply(struct hf__point *out, const struct hf__number *s);

/** hf__ladder_multiply gives s * b. In: `s` tight, 1..n-1; `b` on the curve. Secret: s, b. */
void hf__ladder_multiply(struct hf__point *out, const struct hf__number *s,
                         const struct hf__affine *b);

/** hf__prepared_open computes the table of lane 0's key; NULL: no memory. */
struct hf_p256_prepared *hf__prepared_open(const struct hf__affine *key);

/** hf__prepared_multiply gives s times each lane's key. In: tight, 0..n-1. Not for secrets. */
void hf__prepared_multiply(struct hf__point *out, const struct hf__number *s,
                           const struct hf_p256_prepared *const keys[HF__LANES]);

#endif
