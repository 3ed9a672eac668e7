/**
 * p256_lanes_ladder.c - multiples of any point, eight scalars and eight points at a time.
 *
 * A scalar is 52 odd digits of 5 bits, highest first; between two digits the sum is doubled five
 * times. The 16 odd multiples of the point are brought to one common Z, without any inversion: as
 * points of an isomorphic curve, y^2 = x^3 + a Z^4 x + b Z^6, they are affine. Formulas for
 * addition do not care about the curve's coefficients, doubling carries a' along anyway, and the
 * common Z comes back in at the end.
 *
 * Why the additions are safe: the sum before digit d is 32 m times the point, m odd and at least 1,
 * and |d| < 32, so that as integers the two are neither equal nor opposite. Modulo n they could be
 * only for the last digit, as 32 m + |d| < n before. Opposite: the scalar would be 0. Equal:
 * 32 m - d = n, and as 32 m + d < n, d is negative and |d| = n mod 32 = 17; but then m is even, n -
 * 17 being a multiple of 64.
 */
#include "p256_lanes_field.h"

#define LADDER_WIDTH 5
#define LADDER_DIGITS 52
#define LADDER_POINTS 16

struct ladder {
    struct hf__affine points[LADDER_POINTS]; /* 1, 3, 5, ... times the point */
    struct hf__number steps[LADDER_POINTS];  /* Z of a point by Z of the one before */
    struct hf__number odd;                   /* the scalar, or n minus it */
    struct hf__number a;                     /* a' of the isomorphic curve */
    struct hf__number z;                     /* the common Z */
};

/* Adds 2P, whose Z is the same, to the point before; 2P is brought to the sum's Z (Meloni 2007). */
static void ladder_next(struct ladder *ladder, unsigned i, struct hf__affine *twice)
{
    const struct hf__affine *before = &ladder->points[i - 1];
    struct hf__affine *sum = &ladder->points[i];
    struct hf__number h = hf__tight(hf__add_p(hf__sub(twice->x, before->x), 2));
    struct hf__number r = hf__tight(hf__add_p(hf__sub(twice->y, before->y), 2));
    struct hf__number hh = hf__tight(hf__field_square(h));
    struct hf__number hhh = hf__tight(hf__field_mul(h, hh));
    struct hf__number v = hf__field_mul(before->x, hh);
    struct hf__number w = hf__tight(hf__field_mul(twice->x, hh));

    sum->x = hf__sub(hf__sub(hf__field_square(r), w), v);
    sum->x = hf__fold(hf__add_p(sum->x, 4));
    twice->x = w;
    twice->y = hf__tight(hf__field_mul(twice->y, hhh));
    w = hf__tight(hf__add_p(hf__sub(w, sum->x), 2));
    sum->y = hf__fold(hf__add_p(hf__sub(hf__field_mul(r, w), twice->y), 2));
    ladder->steps[i] = h;
}

/* All points to the Z of the last. */
static void ladder_level(struct ladder *ladder)
{
    struct hf__number scale = ladder->steps[LADDER_POINTS - 1];

    for (unsigned i = LADDER_POINTS - 1; i-- > 0;) {
        struct hf__number square = hf__tight(hf__field_square(scale));
        struct hf__number cube = hf__tight(hf__field_mul(square, scale));

        ladder->points[i].x = hf__tight(hf__field_mul(ladder->points[i].x, square));
        ladder->points[i].y = hf__tight(hf__field_mul(ladder->points[i].y, cube));
        if (i > 0)
            scale = hf__tight(hf__field_mul(scale, ladder->steps[i]));
    }
    ladder->z = hf__tight(hf__field_mul(ladder->z, scale));
}

static void ladder_open(struct ladder *ladder, const struct hf__affine *b)
{
    struct hf__point point = {hf__fold(b->x), hf__fold(b->y), hf__number_of(hf__field_one)};
    struct hf__number t = hf__number_of(hf__field_minus_3);
    struct hf__number scale;
    struct hf__affine twice;

    hf__point_double(&point, &t);
    twice.x = point.x;
    twice.y = point.y;
    ladder->z = point.z;
    scale = hf__tight(hf__field_square(point.z));
    ladder->points[0].x = hf__tight(hf__field_mul(b->x, scale));
    scale = hf__tight(hf__field_mul(scale, point.z));
    ladder->points[0].y = hf__tight(hf__field_mul(b->y, scale));
    for (unsigned i = 1; i < LADDER_POINTS; i++)
        ladder_next(ladder, i, &twice);
    ladder_level(ladder);
    scale = hf__tight(hf__field_square(hf__tight(hf__field_square(ladder->z))));
    ladder->a = hf__tight(hf__field_mul(scale, hf__number_of(hf__field_minus_3)));
    hf_wipe(&point, sizeof point);
    hf_wipe(&twice, sizeof twice);
}

/* The point of a digit: every point is read, whatever the digit. */
static void ladder_pick(struct hf__affine *out, const struct ladder *ladder, unsigned digit)
{
    __m512i index;
    __mmask8 is_negative = hf__digit(&index, &ladder->odd, LADDER_WIDTH * digit, LADDER_WIDTH);
    struct hf__number negative;

    *out = ladder->points[0];
    for (unsigned i = 1; i < LADDER_POINTS; i++) {
        __mmask8 is_this = _mm512_cmpeq_epi64_mask(index, hf__splat(i));

        out->x = hf__select(is_this, ladder->points[i].x, out->x);
        out->y = hf__select(is_this, ladder->points[i].y, out->y);
    }
    negative = hf__sub(hf__add_p(hf__number_of(hf__field_p), 1), out->y);
    out->y = hf__tight(hf__select(is_negative, negative, out->y));
}

/* a' Z^4, which an addition has lost. */
static struct hf__number ladder_t(const struct ladder *ladder, const struct hf__point *point)
{
    struct hf__number zz = hf__tight(hf__field_square(point->z));

    zz = hf__tight(hf__field_square(zz));
    return hf__tight(hf__field_mul(zz, ladder->a));
}

void hf__ladder_multiply(struct hf__point *out, const struct hf__number *s,
                         const struct hf__affine *b)
{
    __mmask8 is_odd = hf__number_is_odd(s);
    struct ladder ladder;
    struct hf__affine picked;
    struct hf__number t;
    struct hf__number negative;

    hf__order_negate(&ladder.odd, s);
    ladder.odd = hf__select(is_odd, *s, ladder.odd);
    ladder_open(&ladder, b);
    // The highest digit is bit 255 with the lowest bit set: always 1.
    out->x = hf__fold(ladder.points[0].x);
    out->y = hf__fold(ladder.points[0].y);
    out->z = hf__number_of(hf__field_one);
    t = ladder.a;
    for (unsigned digit = LADDER_DIGITS - 1; digit-- > 0;) {
        for (int i = 0; i < LADDER_WIDTH; i++)
            hf__point_double(out, &t);
        ladder_pick(&picked, &ladder, digit);
        hf__point_add_affine(out, &picked);
        t = ladder_t(&ladder, out);
    }
    out->z = hf__tight(hf__field_mul(out->z, ladder.z));
    negative = hf__sub(hf__add_p(hf__number_of(hf__field_p), 1), out->y);
    out->y = hf__fold(hf__select(is_odd, out->y, negative));
    hf_wipe(&ladder, sizeof ladder);
    hf_wipe(&picked, sizeof picked);
}
