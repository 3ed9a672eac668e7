/**
 * p256_lanes_invert.c - inversion modulo an odd number in eight lanes, in constant time: Bernstein
 * and Yang 2019, "Fast constant-time gcd computation and modular inversion", with the divisions
 * counted from 1/2 as in libsecp256k1, which needs 590 of them for numbers below 2^256. Here they
 * are 12 rounds of 52, a limb's worth each.
 *
 * f and g, from which the divisions start, and d and e, which keep d x = f R^2 and e x = g R^2
 * modulo m, are signed: two's complement of 260 bits, the highest limb sign-extended. A round finds
 * the four numbers (u, v; q, r) of absolute value at most 2^52 by which all of them are
 * transformed.
 */
#include "p256_lanes.h"

#define INVERT_ROUNDS 12

/* What a round does: f' = (u f + v g) / 2^52, g' = (q f + r g) / 2^52. */
struct transform {
    __m512i u;
    __m512i v;
    __m512i q;
    __m512i r;
};

/* mask ? a : b, and (a ^ b) & c: one instruction each, which clang's MemorySanitizer takes for a
 * use of what is secret. For it, the same in several. */
#if defined(__has_feature)
#if __has_feature(memory_sanitizer)
#define INVERT_SELECT(mask, a, b) _mm512_xor_si512(b, INVERT_XOR_AND(a, b, mask))
#define INVERT_XOR_AND(a, b, c) _mm512_and_si512(_mm512_xor_si512(a, b), c)
#endif
#endif
#ifndef INVERT_SELECT
#define INVERT_SELECT(mask, a, b) _mm512_ternarylogic_epi64(mask, a, b, 0xca)
#define INVERT_XOR_AND(a, b, c) _mm512_ternarylogic_epi64(a, b, c, 0x28)
#endif

/* 52 divisions, on the lowest limbs alone: no more is needed to know what they do. */
static __m512i invert_divide(struct transform *out, __m512i zeta, __m512i f, __m512i g)
{
    const __m512i one = hf__splat(1);
    const __m512i zero = _mm512_setzero_si512();
    __m512i u = one;
    __m512i v = zero;
    __m512i q = zero;
    __m512i r = one;

    for (int i = 0; i < HF__LIMB_BITS; i++) {
        // Masks in lanes, not in mask registers: less latency, which is all that counts here. Where
        // `both` is set, (f, g) becomes (g, (g - f) / 2).
        __m512i swap = _mm512_srai_epi64(zeta, 63);
        __m512i odd = _mm512_sub_epi64(zero, _mm512_and_si512(g, one));
        __m512i both = _mm512_and_si512(swap, odd);
        __m512i sum = INVERT_SELECT(swap, _mm512_sub_epi64(g, f), _mm512_add_epi64(g, f));
        __m512i next_q = _mm512_add_epi64(_mm512_sub_epi64(q, both), INVERT_XOR_AND(u, swap, odd));
        __m512i next_r = _mm512_add_epi64(_mm512_sub_epi64(r, both), INVERT_XOR_AND(v, swap, odd));

        u = INVERT_SELECT(both, q, u);
        v = INVERT_SELECT(both, r, v);
        f = INVERT_SELECT(both, g, f);
        g = _mm512_srli_epi64(INVERT_SELECT(odd, sum, g), 1);
        zeta = _mm512_sub_epi64(_mm512_xor_si512(zeta, both), one);
        q = next_q;
        r = next_r;
        u = _mm512_add_epi64(u, u);
        v = _mm512_add_epi64(v, v);
    }
    *out = (struct transform){u, v, q, r};
    return zeta;
}

/* Adds factor * a to six columns, modulo 2^312. A factor is in -2^52..2^52. */
HF__INLINE void invert_columns(__m512i t[6], __m512i factor, const struct hf__number *a)
{
    const __m512i zero = _mm512_setzero_si512();
    __m512i high = _mm512_srai_epi64(factor, HF__LIMB_BITS);
    __m512i low = _mm512_and_si512(factor, hf__splat(HF__LIMB_MASK));
    __mmask8 is_negative = _mm512_movepi64_mask(high);
    __mmask8 is_whole = _mm512_cmpgt_epi64_mask(high, zero);

#pragma GCC unroll 5
    for (int i = 0; i < HF__LIMBS; i++) {
        t[i] = _mm512_madd52lo_epu64(t[i], low, a->limb[i]);
        t[i + 1] = _mm512_madd52hi_epu64(t[i + 1], low, a->limb[i]);
        t[i + 1] = _mm512_mask_sub_epi64(t[i + 1], is_negative, t[i + 1], a->limb[i]);
        t[i + 1] = _mm512_mask_add_epi64(t[i + 1], is_whole, t[i + 1], a->limb[i]);
    }
    t[5] = _mm512_mask_sub_epi64(t[5], _mm512_movepi64_mask(a->limb[4]), t[5], low);
}

/* The columns divided by 2^52, of which they are a multiple. */
HF__INLINE void invert_carry(struct hf__number *out, __m512i t[6])
{
#pragma GCC unroll 5
    for (int i = 0; i < HF__LIMBS; i++) {
        t[i + 1] = _mm512_add_epi64(t[i + 1], _mm512_srai_epi64(t[i], HF__LIMB_BITS));
        out->limb[i] = _mm512_and_si512(t[i + 1], hf__splat(HF__LIMB_MASK));
    }
    out->limb[4] = _mm512_srai_epi64(_mm512_slli_epi64(t[5], 12), 12);
}

/* (a x + b y) / 2^52; modulo m where that is given, by adding a multiple of m, at most 2^51 m in
 * absolute value: so d and e grow by m/2 a round, and stay below 7m. */
static void invert_apply(struct hf__number *out, __m512i a, const struct hf__number *x, __m512i b,
                         const struct hf__number *y, const struct hf__modulus *modulus)
{
    __m512i t[6] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(),
                    _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};

    invert_columns(t, a, x);
    invert_columns(t, b, y);
    if (modulus) {
        const struct hf__number m = hf__number_of(modulus->m);
        __m512i digit =
            _mm512_madd52lo_epu64(_mm512_setzero_si512(), t[0], hf__splat(modulus->factor));

        // Signed: a digit of 2^51 or more is that much less than 2^52.
        digit = _mm512_srai_epi64(_mm512_slli_epi64(digit, 12), 12);
        invert_columns(t, digit, &m);
    }
    invert_carry(out, t);
}

void hf__number_invert(struct hf__number *out, const struct hf__number *a,
                       const struct hf__modulus *modulus)
{
    const struct hf__number m = hf__number_of(modulus->m);
    const struct hf__number zero = {0};
    struct hf__number f = m;
    struct hf__number g = *a;
    struct hf__number d = zero;
    struct hf__number e = hf__number_of(modulus->square);
    __m512i zeta = hf__splat(~0ull);
    __m512i carry = _mm512_setzero_si512();
    __mmask8 is_negative;

    for (int round = 0; round < INVERT_ROUNDS; round++) {
        struct transform by;
        struct hf__number next;

        zeta = invert_divide(&by, zeta, f.limb[0], g.limb[0]);
        invert_apply(&next, by.u, &f, by.v, &g, NULL);
        invert_apply(&g, by.q, &f, by.r, &g, NULL);
        f = next;
        invert_apply(&next, by.u, &d, by.v, &e, modulus);
        invert_apply(&e, by.q, &d, by.r, &e, modulus);
        d = next;
    }
    // f is 1 or -1, and d as much too large: 8m + d or 8m - d, which is above 0 and below 16m.
    is_negative = _mm512_movepi64_mask(f.limb[4]);
    for (int i = 0; i < HF__LIMBS; i++) {
        __m512i limb = _mm512_mask_sub_epi64(d.limb[i], is_negative, zero.limb[i], d.limb[i]);

        carry = _mm512_add_epi64(carry, _mm512_add_epi64(limb, _mm512_slli_epi64(m.limb[i], 3)));
        out->limb[i] = _mm512_and_si512(carry, hf__splat(HF__LIMB_MASK));
        carry = _mm512_srai_epi64(carry, HF__LIMB_BITS);
    }
    hf_wipe(&d, sizeof d);
    hf_wipe(&e, sizeof e);
    hf_wipe(&g, sizeof g);
}
