/**
 * p256_lanes_field.h - arithmetic modulo p = 2^256 - 2^224 + 2^192 + 2^96 - 1 in eight lanes, to be
 * inlined into the formulas that use it.
 *
 * Bounds are in multiples of p. Montgomery's R is 2^260 and p is just below R/16, so that for tight
 * a below x*p and b below y*p, both below 16p, a product is below (1 + x*y/16) p, about. Sums and
 * differences are loose; hf__tight carries them, hf__fold also brings them below 1.01p. As limbs
 * are signed until they are carried, only the value of a sum must not be negative, not its limbs.
 */
#ifndef HF_P256_LANES_FIELD_H
#define HF_P256_LANES_FIELD_H

#include "p256_lanes.h"

#define HF__P_LIMB_1 0x00fffffffffffull
#define HF__P_LIMB_3 0x01000000000ull
#define HF__P_LIMB_4 0x0ffffffff0000ull

/* p + 1: what is left of p when Montgomery's quotient has cancelled the lowest limb. */
#define HF__P_PLUS_1_LIMB_1 0x100000000000ull

/** hf__tight carries. In: a value in 0..2^260-1, however its limbs are spread. */
HF__INLINE struct hf__number hf__tight(struct hf__number a)
{
    const __m512i mask = hf__splat(HF__LIMB_MASK);

#pragma GCC unroll 4
    for (int i = 0; i < HF__LIMBS - 1; i++) {
        a.limb[i + 1] = _mm512_add_epi64(a.limb[i + 1], _mm512_srai_epi64(a.limb[i], 52));
        a.limb[i] = _mm512_and_si512(a.limb[i], mask);
    }
    return a;
}

/** hf__fold carries and takes away multiples of p: 2^256 is 2^224 - 2^192 - 2^96 + 1 modulo p. In:
 * a value in 0..64p, limbs of less than 2^58. Out: tight, below 1.01p. */
HF__INLINE struct hf__number hf__fold(struct hf__number a)
{
    __m512i top = _mm512_srai_epi64(a.limb[4], 48);

    a.limb[4] = _mm512_and_si512(a.limb[4], hf__splat(0xffffffffffffull));
    a.limb[0] = _mm512_add_epi64(a.limb[0], top);
    a.limb[1] = _mm512_sub_epi64(a.limb[1], _mm512_slli_epi64(top, 44));
    a.limb[3] = _mm512_sub_epi64(a.limb[3], _mm512_slli_epi64(top, 36));
    a.limb[4] = _mm512_add_epi64(a.limb[4], _mm512_slli_epi64(top, 16));
    return hf__tight(a);
}

HF__INLINE struct hf__number hf__add(struct hf__number a, struct hf__number b)
{
#pragma GCC unroll 5
    for (int i = 0; i < HF__LIMBS; i++)
        a.limb[i] = _mm512_add_epi64(a.limb[i], b.limb[i]);
    return a;
}

HF__INLINE struct hf__number hf__sub(struct hf__number a, struct hf__number b)
{
#pragma GCC unroll 5
    for (int i = 0; i < HF__LIMBS; i++)
        a.limb[i] = _mm512_sub_epi64(a.limb[i], b.limb[i]);
    return a;
}

HF__INLINE struct hf__number hf__shift(struct hf__number a, unsigned bits)
{
#pragma GCC unroll 5
    for (int i = 0; i < HF__LIMBS; i++)
        a.limb[i] = _mm512_slli_epi64(a.limb[i], bits);
    return a;
}

/** hf__add_p adds `times` p, so that what a difference takes away is there. */
HF__INLINE struct hf__number hf__add_p(struct hf__number a, uint64_t times)
{
    a.limb[0] = _mm512_sub_epi64(a.limb[0], hf__splat(times));
    a.limb[1] = _mm512_add_epi64(a.limb[1], hf__splat(times * HF__P_PLUS_1_LIMB_1));
    a.limb[3] = _mm512_add_epi64(a.limb[3], hf__splat(times * HF__P_LIMB_3));
    a.limb[4] = _mm512_add_epi64(a.limb[4], hf__splat(times * HF__P_LIMB_4));
    return a;
}

/* Montgomery's reduction, a limb at a time. p is -1 modulo 2^52: the quotient digit is the limb
 * itself, and subtracting it leaves its carry. */
HF__INLINE struct hf__number hf__field_reduce(__m512i t[2 * HF__LIMBS])
{
    const __m512i p1 = hf__splat(HF__P_PLUS_1_LIMB_1);
    const __m512i p3 = hf__splat(HF__P_LIMB_3);
    const __m512i p4 = hf__splat(HF__P_LIMB_4);
    struct hf__number out;

#pragma GCC unroll 5
    for (int i = 0; i < HF__LIMBS; i++) {
        t[i + 1] = _mm512_add_epi64(t[i + 1], _mm512_srli_epi64(t[i], 52));
        t[i + 1] = _mm512_madd52lo_epu64(t[i + 1], t[i], p1);
        t[i + 2] = _mm512_madd52hi_epu64(t[i + 2], t[i], p1);
        t[i + 3] = _mm512_madd52lo_epu64(t[i + 3], t[i], p3);
        t[i + 4] = _mm512_madd52hi_epu64(t[i + 4], t[i], p3);
        t[i + 4] = _mm512_madd52lo_epu64(t[i + 4], t[i], p4);
        t[i + 5] = _mm512_madd52hi_epu64(t[i + 5], t[i], p4);
    }
#pragma GCC unroll 5
    for (int i = 0; i < HF__LIMBS; i++)
        out.limb[i] = t[i + HF__LIMBS];
    return out;
}

/* Adds the product of two numbers to ten columns. */
HF__INLINE void hf__columns_add(__m512i t[2 * HF__LIMBS], struct hf__number a, struct hf__number b)
{
#pragma GCC unroll 5
    for (int i = 0; i < HF__LIMBS; i++) {
#pragma GCC unroll 5
        for (int j = 0; j < HF__LIMBS; j++) {
            t[i + j] = _mm512_madd52lo_epu64(t[i + j], a.limb[i], b.limb[j]);
            t[i + j + 1] = _mm512_madd52hi_epu64(t[i + j + 1], a.limb[i], b.limb[j]);
        }
    }
}

HF__INLINE void hf__columns_clear(__m512i t[2 * HF__LIMBS])
{
#pragma GCC unroll 10
    for (int i = 0; i < 2 * HF__LIMBS; i++)
        t[i] = _mm512_setzero_si512();
}

/** hf__field_mul gives a * b / R, loose. */
HF__INLINE struct hf__number hf__field_mul(struct hf__number a, struct hf__number b)
{
    __m512i t[2 * HF__LIMBS];

    hf__columns_clear(t);
    hf__columns_add(t, a, b);
    return hf__field_reduce(t);
}

/** hf__field_mul_2 gives (a * b + c * d) / R, loose, with one reduction. */
HF__INLINE struct hf__number hf__field_mul_2(struct hf__number a, struct hf__number b,
                                             struct hf__number c, struct hf__number d)
{
    __m512i t[2 * HF__LIMBS];

    hf__columns_clear(t);
    hf__columns_add(t, a, b);
    hf__columns_add(t, c, d);
    return hf__field_reduce(t);
}

/** hf__field_square gives a * a / R, loose. */
HF__INLINE struct hf__number hf__field_square(struct hf__number a)
{
    __m512i t[2 * HF__LIMBS];

    hf__columns_clear(t);
#pragma GCC unroll 5
    for (int i = 0; i < HF__LIMBS; i++) {
#pragma GCC unroll 5
        for (int j = i + 1; j < HF__LIMBS; j++) {
            t[i + j] = _mm512_madd52lo_epu64(t[i + j], a.limb[i], a.limb[j]);
            t[i + j + 1] = _mm512_madd52hi_epu64(t[i + j + 1], a.limb[i], a.limb[j]);
        }
    }
#pragma GCC unroll 8
    for (int i = 1; i < 2 * HF__LIMBS - 1; i++)
        t[i] = _mm512_add_epi64(t[i], t[i]);
#pragma GCC unroll 5
    for (int i = 0; i < HF__LIMBS; i++) {
        t[2 * i] = _mm512_madd52lo_epu64(t[2 * i], a.limb[i], a.limb[i]);
        t[2 * i + 1] = _mm512_madd52hi_epu64(t[2 * i + 1], a.limb[i], a.limb[i]);
    }
    return hf__field_reduce(t);
}

#endif
