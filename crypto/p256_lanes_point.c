/**
 * p256_lanes_point.c - adding and doubling points in eight lanes. Bounds of every intermediate
 * value are in multiples of p, as p256_lanes_field.h explains.
 */
#include "p256_lanes_field.h"

/* "Modified Jacobian" doubling (Cohen, Miyaji, Ono 1998): a'Z^4 is carried along, so that the next
 * doubling can begin before this one's Z is known. */
void hf__point_double(struct hf__point *point, struct hf__number *t)
{
    struct hf__number xx = hf__field_square(point->x);
    struct hf__number alpha = hf__fold(hf__add(hf__add(xx, hf__shift(xx, 1)), *t)); // 3XX + T: 4.7
    struct hf__number gamma = hf__tight(hf__shift(hf__field_square(point->y), 1));  // 2YY: 2.2
    struct hf__number beta = hf__field_mul(point->x, gamma);                        // 2XYY: 1.2
    struct hf__number gg = hf__field_square(gamma);                                 // 4Y^4: 1.3
    struct hf__number z = hf__field_mul(point->y, point->z);                        // YZ: 1.2
    struct hf__number aa = hf__field_square(alpha);                                 // 1.1
    struct hf__number w;

    // w = S - X3 = 3S - alpha^2 with S = 2 beta.
    w = hf__add(hf__shift(beta, 2), hf__shift(beta, 1));
    w = hf__tight(hf__add_p(hf__sub(w, aa), 2)); // 9.2
    point->x = hf__fold(hf__add_p(hf__sub(aa, hf__shift(beta, 2)), 6));
    w = hf__field_mul(alpha, w); // 1.6
    point->y = hf__fold(hf__add_p(hf__sub(w, hf__shift(gg, 1)), 4));
    point->z = hf__tight(hf__shift(z, 1));
    *t = hf__tight(hf__field_mul(hf__tight(hf__shift(gg, 2)), *t)); // 16Y^4 T: 1.5
}

/* The differences that decide: H = X2 Z1^2 - X1, R = Y2 Z1^3 - Y1; both below 3.2. */
HF__INLINE void point_differences(struct hf__number *h, struct hf__number *r,
                                  const struct hf__point *a, const struct hf__affine *b)
{
    struct hf__number zz = hf__tight(hf__field_square(a->z));   // 1.4
    struct hf__number zzz = hf__tight(hf__field_mul(zz, a->z)); // 1.2
    struct hf__number u = hf__field_mul(b->x, zz);              // 1.2
    struct hf__number s = hf__field_mul(b->y, zzz);             // 1.2

    *h = hf__tight(hf__add_p(hf__sub(u, a->x), 2));
    *r = hf__tight(hf__add_p(hf__sub(s, a->y), 2));
}

/* The sum from the differences; x, y are the first point's, scaled as H and R are. */
HF__INLINE void point_finish(struct hf__point *out, struct hf__number x, struct hf__number y,
                             struct hf__number z, struct hf__number h, struct hf__number r)
{
    const struct hf__number zero = {0};
    struct hf__number hh = hf__tight(hf__field_square(h)); // 1.7
    struct hf__number v = hf__field_mul(x, hh);            // 1.2
    // 2p - H^3, so that nothing is subtracted from columns: 2
    struct hf__number minus_hhh = hf__sub(hf__add_p(zero, 2), hf__field_mul(h, hh));
    struct hf__number w = hf__sub(hf__field_square(r), hf__shift(v, 1));

    minus_hhh = hf__tight(minus_hhh);
    out->x = hf__fold(hf__add_p(hf__add(w, minus_hhh), 3));
    w = hf__tight(hf__add_p(hf__sub(v, out->x), 2)); // 3.2
    out->y = hf__fold(hf__field_mul_2(r, w, y, minus_hhh));
    out->z = hf__tight(hf__field_mul(z, h));
}

void hf__point_add_affine(struct hf__point *point, const struct hf__affine *b)
{
    struct hf__number h;
    struct hf__number r;

    point_differences(&h, &r, point, b);
    point_finish(point, point->x, point->y, point->z, h, r);
}

static void point_select(struct hf__point *out, __mmask8 mask, const struct hf__point *set)
{
    out->x = hf__select(mask, set->x, out->x);
    out->y = hf__select(mask, set->y, out->y);
    out->z = hf__select(mask, set->z, out->z);
}

void hf__point_add_last(struct hf__point *point, const struct hf__affine *b)
{
    const struct hf__number one = hf__number_of(hf__field_one);
    struct hf__point twice = {hf__fold(b->x), hf__fold(b->y), one};
    struct hf__number t = hf__number_of(hf__field_minus_3);
    struct hf__number h;
    struct hf__number r;
    __mmask8 is_equal;

    point_differences(&h, &r, point, b);
    is_equal = hf__field_is_zero(&h) & hf__field_is_zero(&r);
    hf__point_double(&twice, &t);
    point_finish(point, point->x, point->y, point->z, h, r);
    point_select(point, is_equal, &twice);
}

void hf__point_add(struct hf__point *out, const struct hf__point *a, const struct hf__point *b)
{
    struct hf__number zz_a = hf__tight(hf__field_square(a->z));
    struct hf__number zz_b = hf__tight(hf__field_square(b->z));
    struct hf__number zzz_a = hf__tight(hf__field_mul(zz_a, a->z));
    struct hf__number zzz_b = hf__tight(hf__field_mul(zz_b, b->z));
    struct hf__number x = hf__tight(hf__field_mul(a->x, zz_b));  // 1.2
    struct hf__number y = hf__tight(hf__field_mul(a->y, zzz_b)); // 1.2
    struct hf__number h = hf__sub(hf__field_mul(b->x, zz_a), x);
    struct hf__number r = hf__sub(hf__field_mul(b->y, zzz_a), y);
    struct hf__number z = hf__tight(hf__field_mul(a->z, b->z)); // 1.4
    struct hf__point twice = *a;
    struct hf__number t = hf__tight(hf__field_square(zz_a));
    __mmask8 a_is_infinity = hf__field_is_zero(&a->z);
    __mmask8 b_is_infinity = hf__field_is_zero(&b->z);
    struct hf__point sum;

    h = hf__tight(hf__add_p(h, 2));
    r = hf__tight(hf__add_p(r, 2));
    t = hf__tight(hf__field_mul(t, hf__number_of(hf__field_minus_3)));
    hf__point_double(&twice, &t);
    point_finish(&sum, x, y, z, h, r);
    point_select(&sum, hf__field_is_zero(&h) & hf__field_is_zero(&r), &twice);
    point_select(&sum, a_is_infinity, b);
    point_select(&sum, b_is_infinity, a);
    *out = sum;
}

void hf__point_to_affine(struct hf__affine *out, const struct hf__point *point)
{
    struct hf__number inverse;
    struct hf__number square;

    hf__field_invert(&inverse, &point->z);
    square = hf__tight(hf__field_square(inverse));
    inverse = hf__tight(hf__field_mul(inverse, square));
    out->x = hf__tight(hf__field_mul(point->x, square));
    out->y = hf__tight(hf__field_mul(point->y, inverse));
    hf__field_leave(&out->x, &out->x);
    hf__field_leave(&out->y, &out->y);
}

__mmask8 hf__point_is_on_curve(const struct hf__affine *point)
{
    struct hf__number xx = hf__field_square(point->x);
    struct hf__number yy = hf__field_square(point->y);
    struct hf__number right;

    xx = hf__tight(hf__add(xx, hf__number_of(hf__field_minus_3)));
    right = hf__add(hf__field_mul(xx, point->x), hf__number_of(hf__field_b));
    right = hf__tight(hf__add_p(hf__sub(right, yy), 2));
    return hf__field_is_zero(&right);
}
