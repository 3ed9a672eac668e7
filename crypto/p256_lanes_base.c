/**
 * p256_lanes_base.c - multiples of the generator, eight scalars at a time: 37 digits of 7 bits. The
 * choice of a point reads the whole row with the same instructions at the same addresses, and
 * permutes it within registers.
 */
#include "p256_lanes_comb.h"

#define BASE_WIDTH 7
#define BASE_POINTS HF__COMB_POINTS(BASE_WIDTH)

/* By word before index, so that a register holds the same word of eight points. Public. */
typedef uint64_t base_row[HF__COMB_WORDS][BASE_POINTS];
static base_row base_table[HF__COMB_DIGITS(BASE_WIDTH)] __attribute__((aligned(64)));

HF__INLINE void base_pick(__m512i word[HF__COMB_WORDS], const void *table, __m512i index,
                          unsigned k)
{
    const base_row *row = (const base_row *)table + k;
    __mmask8 bit_4 = _mm512_test_epi64_mask(index, hf__splat(16));
    __mmask8 bit_5 = _mm512_test_epi64_mask(index, hf__splat(32));

#pragma GCC unroll 8
    for (int w = 0; w < HF__COMB_WORDS; w++) {
        __m512i quarter[4];

#pragma GCC unroll 4
        for (int i = 0; i < 4; i++)
            quarter[i] = _mm512_permutex2var_epi64(_mm512_load_si512((*row)[w] + 16 * i), index,
                                                   _mm512_load_si512((*row)[w] + 16 * i + 8));
        quarter[0] = _mm512_mask_mov_epi64(quarter[0], bit_4, quarter[1]);
        quarter[2] = _mm512_mask_mov_epi64(quarter[2], bit_4, quarter[3]);
        word[w] = _mm512_mask_mov_epi64(quarter[0], bit_5, quarter[2]);
    }
}

void hf__base_multiply(struct hf__point *out, const struct hf__number *s)
{
    hf__comb_multiply(out, s, BASE_WIDTH, base_pick, base_table);
}

static void base_put(void *table, unsigned k, unsigned index, const uint64_t word[HF__COMB_WORDS])
{
    base_row *row = (base_row *)table + k;

    for (int w = 0; w < HF__COMB_WORDS; w++)
        (*row)[w][index] = word[w];
}

void hf__base_open(void)
{
    static const uint64_t x[HF__LIMBS] = {0x30d418a9143c1, 0xc4fedb60179e7, 0x62251075ba95f,
                                          0x5c669fb732b77, 0x08905f76b5375};
    static const uint64_t y[HF__LIMBS] = {0x5357ce95560a8, 0x43a19e45cddf2, 0x21f3258b4ab8e,
                                          0xd8552e88688dd, 0x0571ff18a5885};
    const struct hf__affine generator = {hf__number_of(x), hf__number_of(y)};

    hf__comb_build(base_table, base_put, &generator, BASE_WIDTH);
}
