/**
 * p256_lanes_number.c - between bytes and limbs, and comparisons of numbers; no modulus here.
 */
#include "p256_lanes.h"

#include <string.h>

void hf__number_load(struct hf__number *out, const uint8_t *const in[HF__LANES])
{
    const __m512i mask = hf__splat(HF__LIMB_MASK);
    uint64_t words[4][HF__LANES];
    __m512i w[4];

    for (int lane = 0; lane < HF__LANES; lane++) {
        for (int i = 0; i < 4; i++) {
            uint64_t word;

            memcpy(&word, in[lane] + 8 * (3 - i), sizeof word);
            words[i][lane] = __builtin_bswap64(word);
        }
    }
    for (int i = 0; i < 4; i++)
        w[i] = _mm512_loadu_si512(words[i]);
    out->limb[0] = _mm512_and_si512(w[0], mask);
    for (int i = 1; i < 4; i++)
        out->limb[i] = _mm512_and_si512(
            mask, _mm512_or_si512(_mm512_srli_epi64(w[i - 1], (unsigned)(64 - 12 * i)),
                                  _mm512_slli_epi64(w[i], (unsigned)(12 * i))));
    out->limb[4] = _mm512_srli_epi64(w[3], 16);
    hf_wipe(words, sizeof words);
}

void hf__number_store(uint8_t *const out[HF__LANES], const struct hf__number *in, __mmask8 mask)
{
    uint64_t words[4][HF__LANES];

    for (int i = 0; i < 4; i++)
        _mm512_storeu_si512(
            words[i], _mm512_or_si512(_mm512_srli_epi64(in->limb[i], (unsigned)(12 * i)),
                                      _mm512_slli_epi64(in->limb[i + 1], (unsigned)(52 - 12 * i))));
    for (int lane = 0; lane < HF__LANES; lane++) {
        for (int i = 0; i < 4 && (mask >> lane & 1); i++) {
            uint64_t word = __builtin_bswap64(words[i][lane]);

            memcpy(out[lane] + 8 * (3 - i), &word, sizeof word);
        }
    }
    hf_wipe(words, sizeof words);
}

__mmask8 hf__number_subtract(struct hf__number *out, const struct hf__number *a,
                             const struct hf__number *b)
{
    __m512i carry = _mm512_setzero_si512();

    for (int i = 0; i < HF__LIMBS; i++) {
        __m512i limb = _mm512_add_epi64(_mm512_sub_epi64(a->limb[i], b->limb[i]), carry);

        carry = _mm512_srai_epi64(limb, HF__LIMB_BITS);
        out->limb[i] = _mm512_and_si512(limb, hf__splat(HF__LIMB_MASK));
    }
    return _mm512_test_epi64_mask(carry, carry);
}

__mmask8 hf__number_is_equal(const struct hf__number *a, const struct hf__number *b)
{
    __m512i difference = _mm512_setzero_si512();

    for (int i = 0; i < HF__LIMBS; i++)
        difference = _mm512_or_si512(difference, _mm512_xor_si512(a->limb[i], b->limb[i]));
    return _mm512_testn_epi64_mask(difference, difference);
}

__mmask8 hf__number_is_odd(const struct hf__number *a)
{
    return _mm512_test_epi64_mask(a->limb[0], hf__splat(1));
}
