/**
 * p256_lanes_comb.c - computes the tables of p256_lanes_comb.h, eight rows at a time. Public points
 * only.
 */
#include "p256_lanes_comb.h"

/* Where points go. */
struct comb_target {
    void *table;
    hf__comb_put *put;
    unsigned width;
};

/* Into Montgomery form, canonical. */
static void comb_affine(struct hf__affine *out, const struct hf__point *point)
{
    hf__point_to_affine(out, point);
    hf__field_enter(&out->x, &out->x);
    hf__field_enter(&out->y, &out->y);
    hf__field_canonical(&out->x, &out->x);
    hf__field_canonical(&out->y, &out->y);
}

/* One point of up to eight rows, a row from each lane. */
static void comb_put(const struct comb_target *target, unsigned first, unsigned index,
                     const struct hf__affine *point)
{
    uint64_t limbs[2][HF__LIMBS][HF__LANES];

    for (int i = 0; i < HF__LIMBS; i++) {
        _mm512_storeu_si512(limbs[0][i], point->x.limb[i]);
        _mm512_storeu_si512(limbs[1][i], point->y.limb[i]);
    }
    for (unsigned lane = 0; lane < HF__LANES && first + lane < HF__COMB_DIGITS(target->width);
         lane++) {
        uint64_t word[HF__COMB_WORDS];

        for (unsigned i = 0; i < HF__COMB_WORDS; i++) {
            unsigned j = i % 4;

            word[i] = limbs[i / 4][j][lane] >> 12 * j | limbs[i / 4][j + 1][lane] << (52 - 12 * j);
        }
        target->put(target->table, first + lane, index, word);
    }
}

/* The rows of eight digits, from their first points. */
static void comb_rows(const struct comb_target *target, unsigned first,
                      const struct hf__point *points)
{
    struct hf__point sum = *points;
    struct hf__point twice = *points;
    struct hf__number t = hf__tight(hf__field_square(hf__tight(hf__field_square(twice.z))));
    struct hf__affine step;
    struct hf__affine affine;

    t = hf__tight(hf__field_mul(t, hf__number_of(hf__field_minus_3)));
    hf__point_double(&twice, &t);
    comb_affine(&step, &twice);
    for (unsigned i = 0; i < HF__COMB_POINTS(target->width); i++) {
        comb_affine(&affine, &sum);
        comb_put(target, first, i, &affine);
        hf__point_add_affine(&sum, &step);
    }
}

void hf__comb_build(void *table, hf__comb_put *put, const struct hf__affine *point, unsigned width)
{
    const struct comb_target target = {table, put, width};
    struct hf__point next = {hf__fold(point->x), hf__fold(point->y), hf__number_of(hf__field_one)};
    struct hf__number t = hf__number_of(hf__field_minus_3);
    struct hf__point rows = next;

    for (unsigned k = 0; k < HF__COMB_DIGITS(width); k++) {
        __mmask8 lane = (__mmask8)(1u << k % HF__LANES);

        rows.x = hf__select(lane, next.x, rows.x);
        rows.y = hf__select(lane, next.y, rows.y);
        rows.z = hf__select(lane, next.z, rows.z);
        if (k % HF__LANES == HF__LANES - 1 || k == HF__COMB_DIGITS(width) - 1)
            comb_rows(&target, k / HF__LANES * HF__LANES, &rows);
        for (unsigned i = 0; i < width; i++)
            hf__point_double(&next, &t);
    }
}
