/**
 * p256_lanes_base.c - multiples of the generator, eight scalars at a time.
 *
 * A scalar is 37 odd digits of 7 bits, each of which picks one of 64 points; no doublings. The
 * choice reads the whole row with the same instructions at the same addresses, and permutes it
 * within registers.
 *
 * Why the additions are safe: before digit k > 0 is added, the sum is odd and less than 2^7k in
 * absolute value, and the digit's point is at least 2^7k, at most 2^(7k+7) times G. So the two are
 * neither equal nor opposite nor infinity, as integers, and modulo n too while 2^(7k+7) < n. Only
 * the last addition (k = 36) may meet 2^256 > n, and is the one that knows all cases.
 */
#include "p256_lanes_field.h"

#include <string.h>

#define BASE_WIDTH 7
#define BASE_DIGITS 37
#define BASE_POINTS 64
#define BASE_WORDS 8 /* of 64 bits: x, y; packed */

/* base_table[k][word][i] belongs to (2i + 1) * 2^7k * G; Montgomery form, canonical. Public. */
static uint64_t base_table[BASE_DIGITS][BASE_WORDS][BASE_POINTS] __attribute__((aligned(64)));

/* One of 64 words for each lane. */
HF__INLINE __m512i base_word(const uint64_t row[BASE_POINTS], __m512i index, __mmask8 bit_4,
                             __mmask8 bit_5)
{
    __m512i quarter[4];

#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
        quarter[i] = _mm512_permutex2var_epi64(_mm512_load_si512(row + 16 * i), index,
                                               _mm512_load_si512(row + 16 * i + 8));
    quarter[0] = _mm512_mask_mov_epi64(quarter[0], bit_4, quarter[1]);
    quarter[2] = _mm512_mask_mov_epi64(quarter[2], bit_4, quarter[3]);
    return _mm512_mask_mov_epi64(quarter[0], bit_5, quarter[2]);
}

HF__INLINE struct hf__number base_unpack(const __m512i word[4])
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
HF__INLINE void base_pick(struct hf__affine *out, const struct hf__number *s, unsigned k)
{
    __m512i index;
    __mmask8 is_negative = hf__digit(&index, s, BASE_WIDTH * k, BASE_WIDTH);
    __mmask8 bit_4;
    __mmask8 bit_5;
    __m512i word[BASE_WORDS];
    struct hf__number negative;

    if (k == BASE_DIGITS - 1) {
        // There is nothing above the highest digit: it is positive.
        is_negative = 0;
        index = _mm512_srli_epi64(s->limb[4], BASE_WIDTH * k % HF__LIMB_BITS + 1);
    }
    bit_4 = _mm512_test_epi64_mask(index, hf__splat(16));
    bit_5 = _mm512_test_epi64_mask(index, hf__splat(32));
#pragma GCC unroll 8
    for (int i = 0; i < BASE_WORDS; i++)
        word[i] = base_word(base_table[k][i], index, bit_4, bit_5);
    out->x = base_unpack(word);
    out->y = base_unpack(word + 4);
    negative = hf__sub(hf__number_of(hf__field_p), out->y);
    out->y = hf__tight(hf__select(is_negative, negative, out->y));
}

void hf__base_multiply(struct hf__point *out, const struct hf__number *s)
{
    __mmask8 is_odd = hf__number_is_odd(s);
    struct hf__number odd;
    struct hf__affine picked;
    struct hf__number negative;

    // n - s is odd where s is even; for 0, too.
    hf__order_negate(&odd, s);
    odd = hf__select(is_odd, *s, odd);
    base_pick(&picked, &odd, 0);
    out->x = picked.x;
    out->y = picked.y;
    out->z = hf__number_of(hf__field_one);
    for (unsigned k = 1; k < BASE_DIGITS - 1; k++) {
        base_pick(&picked, &odd, k);
        hf__point_add_affine(out, &picked);
    }
    base_pick(&picked, &odd, BASE_DIGITS - 1);
    hf__point_add_last(out, &picked);
    negative = hf__sub(hf__add_p(hf__number_of(hf__field_p), 1), out->y);
    out->y = hf__fold(hf__select(is_odd, out->y, negative));
    hf_wipe(&odd, sizeof odd);
    hf_wipe(&picked, sizeof picked);
}

/* ---- the table ------------------------------------------------------------------------------- */

/* Back into Montgomery form, canonical. */
static void base_affine(struct hf__affine *out, const struct hf__point *point)
{
    hf__point_to_affine(out, point);
    hf__field_enter(&out->x, &out->x);
    hf__field_enter(&out->y, &out->y);
    hf__field_canonical(&out->x, &out->x);
    hf__field_canonical(&out->y, &out->y);
}

/* Writes one point of up to eight rows, a row from each lane. */
static void base_put(unsigned first, unsigned index, const struct hf__affine *point)
{
    const struct hf__number *const halves[] = {&point->x, &point->y};
    uint64_t limbs[HF__LIMBS][HF__LANES];

    for (unsigned half = 0; half < 2; half++) {
        for (int i = 0; i < HF__LIMBS; i++)
            _mm512_storeu_si512(limbs[i], halves[half]->limb[i]);
        for (unsigned lane = 0; lane < HF__LANES && first + lane < BASE_DIGITS; lane++)
            for (unsigned i = 0; i < 4; i++)
                base_table[first + lane][4 * half + i][index] =
                    limbs[i][lane] >> 12 * i | limbs[i + 1][lane] << (52 - 12 * i);
    }
}

/* The rows of eight digits, from their first points. */
static void base_rows(unsigned first, const struct hf__point *points)
{
    struct hf__point sum = *points;
    struct hf__point twice = *points;
    struct hf__number t = hf__tight(hf__field_square(hf__tight(hf__field_square(twice.z))));
    struct hf__affine step;
    struct hf__affine affine;

    t = hf__tight(hf__field_mul(t, hf__number_of(hf__field_minus_3)));
    hf__point_double(&twice, &t);
    base_affine(&step, &twice);
    for (unsigned i = 0; i < BASE_POINTS; i++) {
        base_affine(&affine, &sum);
        base_put(first, i, &affine);
        hf__point_add_affine(&sum, &step);
    }
}

void hf__base_open(void)
{
    static const uint64_t x[HF__LIMBS] = {0x30d418a9143c1, 0xc4fedb60179e7, 0x62251075ba95f,
                                          0x5c669fb732b77, 0x08905f76b5375};
    static const uint64_t y[HF__LIMBS] = {0x5357ce95560a8, 0x43a19e45cddf2, 0x21f3258b4ab8e,
                                          0xd8552e88688dd, 0x0571ff18a5885};
    struct hf__point point = {hf__number_of(x), hf__number_of(y), hf__number_of(hf__field_one)};
    struct hf__number t = hf__number_of(hf__field_minus_3);
    struct hf__point rows = point;

    for (unsigned k = 0; k < BASE_DIGITS; k++) {
        __mmask8 lane = (__mmask8)(1u << k % HF__LANES);

        rows.x = hf__select(lane, point.x, rows.x);
        rows.y = hf__select(lane, point.y, rows.y);
        rows.z = hf__select(lane, point.z, rows.z);
        if (k % HF__LANES == HF__LANES - 1 || k == BASE_DIGITS - 1)
            base_rows(k / HF__LANES * HF__LANES, &rows);
        for (int i = 0; i < BASE_WIDTH; i++)
            hf__point_double(&point, &t);
    }
}
