/**
 * p256_lanes_prepared.c - multiples of keys that are known beforehand, for verification: 43 digits
 * of 6 bits, each lane from the table of its own key. All of it is public, so each lane reads just
 * the point it wants, a cache line.
 */
#include "p256_lanes_comb.h"

#include <sys/mman.h>

#define PREPARED_WIDTH 6
#define PREPARED_POINTS HF__COMB_POINTS(PREPARED_WIDTH)

struct hf_p256_prepared {
    uint64_t point[HF__COMB_DIGITS(PREPARED_WIDTH)][PREPARED_POINTS][HF__COMB_WORDS];
};

static void prepared_put(void *table, unsigned k, unsigned index,
                         const uint64_t word[HF__COMB_WORDS])
{
    struct hf_p256_prepared *prepared = table;

    for (int w = 0; w < HF__COMB_WORDS; w++)
        prepared->point[k][index][w] = word[w];
}

struct hf_p256_prepared *hf__prepared_open(const struct hf__affine *key)
{
    struct hf_p256_prepared *made =
        mmap(NULL, sizeof *made, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (made == MAP_FAILED)
        return NULL;
    hf__comb_build(made, prepared_put, key, PREPARED_WIDTH);
    return made;
}

void hf__lanes_prepared_close(struct hf_p256_prepared *prepared)
{
    (void)munmap(prepared, sizeof *prepared);
}

/* Eight points, a register each, to eight words, a register each. */
HF__INLINE void prepared_transpose(__m512i row[8])
{
    __m512i pair[8];
    __m512i four[8];

#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) {
        pair[i] = _mm512_unpacklo_epi64(row[i], row[i + 1]);
        pair[i + 1] = _mm512_unpackhi_epi64(row[i], row[i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 8; i += 4) {
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++) {
            four[i + j] = _mm512_shuffle_i64x2(pair[i + j], pair[i + j + 2], 0x88);
            four[i + j + 2] = _mm512_shuffle_i64x2(pair[i + j], pair[i + j + 2], 0xdd);
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        row[i] = _mm512_shuffle_i64x2(four[i], four[i + 4], 0x88);
        row[i + 4] = _mm512_shuffle_i64x2(four[i], four[i + 4], 0xdd);
    }
}

HF__INLINE void prepared_pick(__m512i word[HF__COMB_WORDS], const void *table, __m512i index,
                              unsigned k)
{
    const struct hf_p256_prepared *const *keys = table;
    uint64_t chosen[HF__LANES];

    _mm512_storeu_si512(chosen, index);
#pragma GCC unroll 8
    for (int lane = 0; lane < HF__LANES; lane++)
        word[lane] = _mm512_load_si512(keys[lane]->point[k][chosen[lane]]);
    prepared_transpose(word);
}

void hf__prepared_multiply(struct hf__point *out, const struct hf__number *s,
                           const struct hf_p256_prepared *const keys[HF__LANES])
{
    hf__comb_multiply(out, s, PREPARED_WIDTH, prepared_pick, keys);
}
