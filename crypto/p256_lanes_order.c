/**
 * p256_lanes_order.c - arithmetic modulo n, the order of the curve, in eight lanes; Montgomery's,
 * with R = 2^260. n has no shape to use.
 */
#include "p256_lanes.h"

const uint64_t hf__order_n[HF__LIMBS] = {0x9cac2fc632551, 0xada7179e84f3b, 0xfffffffbce6fa,
                                         0x0000fffffffff, 0x0ffffffff0000};
/* R^2 and -1/n modulo 2^52. */
static const uint64_t order_entry[HF__LIMBS] = {0x5cc0dea6dc3ba, 0x192a067d8a084, 0xbec59615571bb,
                                                0x1fc245b2392b6, 0x0e12d9559d956};
static const uint64_t order_one[HF__LIMBS] = {0x353d039cdaaf0, 0x258e8617b0c46, 0x0000004319055,
                                              0xfff0000000000, 0x00000000fffff};
#define ORDER_FACTOR 0x1c8aaee00bc4full

void hf__order_mul(struct hf__number *out, const struct hf__number *a, const struct hf__number *b)
{
    const struct hf__number n = hf__number_of(hf__order_n);
    __m512i t[2 * HF__LIMBS];
    __m512i carry = _mm512_setzero_si512();

    for (int i = 0; i < 2 * HF__LIMBS; i++)
        t[i] = _mm512_setzero_si512();
#pragma GCC unroll 5
    for (int i = 0; i < HF__LIMBS; i++) {
#pragma GCC unroll 5
        for (int j = 0; j < HF__LIMBS; j++) {
            t[i + j] = _mm512_madd52lo_epu64(t[i + j], a->limb[i], b->limb[j]);
            t[i + j + 1] = _mm512_madd52hi_epu64(t[i + j + 1], a->limb[i], b->limb[j]);
        }
    }
#pragma GCC unroll 5
    for (int i = 0; i < HF__LIMBS; i++) {
        __m512i digit =
            _mm512_madd52lo_epu64(_mm512_setzero_si512(), t[i], hf__splat(ORDER_FACTOR));

#pragma GCC unroll 5
        for (int j = 0; j < HF__LIMBS; j++) {
            t[i + j] = _mm512_madd52lo_epu64(t[i + j], digit, n.limb[j]);
            t[i + j + 1] = _mm512_madd52hi_epu64(t[i + j + 1], digit, n.limb[j]);
        }
        t[i + 1] = _mm512_add_epi64(t[i + 1], _mm512_srli_epi64(t[i], HF__LIMB_BITS));
    }
#pragma GCC unroll 5
    for (int i = 0; i < HF__LIMBS; i++) {
        carry = _mm512_add_epi64(carry, t[HF__LIMBS + i]);
        out->limb[i] = _mm512_and_si512(carry, hf__splat(HF__LIMB_MASK));
        carry = _mm512_srli_epi64(carry, HF__LIMB_BITS);
    }
}

void hf__order_enter(struct hf__number *out, const struct hf__number *a)
{
    const struct hf__number entry = hf__number_of(order_entry);

    hf__order_mul(out, a, &entry);
}

void hf__order_reduce(struct hf__number *out, const struct hf__number *a)
{
    const struct hf__number n = hf__number_of(hf__order_n);
    struct hf__number less;
    __mmask8 is_below = hf__number_subtract(&less, a, &n);

    *out = hf__select(is_below, *a, less);
}

void hf__order_negate(struct hf__number *out, const struct hf__number *a)
{
    const struct hf__number n = hf__number_of(hf__order_n);

    (void)hf__number_subtract(out, &n, a);
}

__mmask8 hf__order_is_valid(const struct hf__number *a)
{
    const struct hf__number n = hf__number_of(hf__order_n);
    const struct hf__number zero = {0};
    struct hf__number unused;
    __mmask8 is_zero = hf__number_is_equal(a, &zero);

    return (__mmask8)(hf__number_subtract(&unused, a, &n) & ~is_zero);
}

void hf__order_invert(struct hf__number *out, const struct hf__number *a)
{
    static const struct hf__modulus modulus = {
        .m = {0x9cac2fc632551, 0xada7179e84f3b, 0xfffffffbce6fa, 0x0000fffffffff, 0x0ffffffff0000},
        .square = {0x5cc0dea6dc3ba, 0x192a067d8a084, 0xbec59615571bb, 0x1fc245b2392b6,
                   0x0e12d9559d956},
        .factor = ORDER_FACTOR,
    };
    const struct hf__number one = hf__number_of(order_one);
    struct hf__number reduced;

    hf__order_reduce(&reduced, a);
    hf__number_invert(&reduced, &reduced, &modulus);
    hf__order_mul(out, &reduced, &one);
}
