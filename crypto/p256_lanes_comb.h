/**
 * p256_lanes_comb.h - multiples of points for which there are tables: the generator, and keys that
 * are known beforehand. No doublings: a table has a row for each digit of the scalar.
 *
 * A digit of w bits is odd and picks one of 2^(w-1) points: row k, index i belongs to
 * (2i + 1) * 2^wk times the point.
 *
 * Why the additions are safe: before digit k > 0 is added, the sum is odd and less than 2^wk in
 * absolute value, and the digit's point is at least 2^wk, at most 2^(wk+w) times the point. So the
 * two are neither equal nor opposite nor infinity, as integers, and modulo n too while
 * 2^(wk+w) < n. Only the last addition may meet more, and is the one that knows all cases.
 */
#ifndef HF_P256_LANES_COMB_H
#define HF_P256_LANES_COMB_H

#include "p256_lanes_field.h"

#define HF__COMB_WORDS 8 /* of 64 bits: x, y; packed, Montgomery form, canonical */

/** Digits for which `width` divides 252: the last one has no more than 4 bits, and is positive. */
#define HF__COMB_DIGITS(width) (252 / (width) + 1)
#define HF__COMB_POINTS(width) (1u << ((width)-1))

/** Gives the words of the points in row k that the lanes' indices choose. */
typedef void hf__comb_pick(__m512i word[HF__COMB_WORDS], const void *table, __m512i index,
                           unsigned k);

/** hf__comb_build computes all points of a table. In: any point on the curve in each lane; the
 * table is lane 0's. `put` stores a point of row k. */
typedef void hf__comb_put(void *table, unsigned k, unsigned index,
                          const uint64_t word[HF__COMB_WORDS]);
void hf__comb_build(void *table, hf__comb_put *put, const struct hf__affine *point, unsigned width);

HF__INLINE struct hf__number hf__comb_unpack(const __m512i word[4])
{
    const __m512i mask = hf__splat(HF__LIMB_MASK);
    struct hf__number out;

    out.limb[0] = _mm512_and_si512(word[0], mask);
#pragma GCC unroll 3
    for (unsigned i = 1; i < 4; i++)
        out.limb[i] =
            _mm512_and_si512(mask, _mm512_or_si512(_mm512_srli_epi64(word[i - 1], 64 - 12 * i),
                                                   _mm512_slli_epi64(word[i], 12 * i)));
    out.limb[4] = _mm512_srli_epi64(word[3], 16);
    return out;
}

/* The point of digit k. */
HF__INLINE void hf__comb_digit(struct hf__affine *out, const struct hf__number *s, unsigned k,
                               unsigned width, hf__comb_pick *pick, const void *table)
{
    __m512i index;
    __mmask8 is_negative = hf__digit(&index, s, width * k, width);
    __m512i word[HF__COMB_WORDS];
    struct hf__number negative;

    if (k == HF__COMB_DIGITS(width) - 1) {
        // There is nothing above the highest digit: it is positive.
        is_negative = 0;
        index = _mm512_srli_epi64(s->limb[4], width * k % HF__LIMB_BITS + 1);
    }
    pick(word, table, index, k);
    out->x = hf__comb_unpack(word);
    out->y = hf__comb_unpack(word + 4);
    negative = hf__sub(hf__number_of(hf__field_p), out->y);
    out->y = hf__tight(hf__select(is_negative, negative, out->y));
}

/** hf__comb_multiply gives s times the table's point; for s = 0, infinity. In: tight, 0..n-1. */
HF__INLINE void hf__comb_multiply(struct hf__point *out, const struct hf__number *s, unsigned width,
                                  hf__comb_pick *pick, const void *table)
{
    __mmask8 is_odd = hf__number_is_odd(s);
    struct hf__number odd;
    struct hf__affine picked;
    struct hf__number negative;

    // n - s is odd where s is even; for 0, too.
    hf__order_negate(&odd, s);
    odd = hf__select(is_odd, *s, odd);
    hf__comb_digit(&picked, &odd, 0, width, pick, table);
    out->x = picked.x;
    out->y = picked.y;
    out->z = hf__number_of(hf__field_one);
    for (unsigned k = 1; k < HF__COMB_DIGITS(width) - 1; k++) {
        hf__comb_digit(&picked, &odd, k, width, pick, table);
        hf__point_add_affine(out, &picked);
    }
    hf__comb_digit(&picked, &odd, HF__COMB_DIGITS(width) - 1, width, pick, table);
    hf__point_add_last(out, &picked);
    negative = hf__sub(hf__add_p(hf__number_of(hf__field_p), 1), out->y);
    out->y = hf__fold(hf__select(is_odd, out->y, negative));
    hf_wipe(&odd, sizeof odd);
    hf_wipe(&picked, sizeof picked);
}

#endif
