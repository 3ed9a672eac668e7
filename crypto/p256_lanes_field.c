/**
 * p256_lanes_field.c - what is done modulo p once per operation, and so need not be inlined.
 */
#include "p256_lanes_field.h"

const uint64_t hf__field_p[HF__LIMBS] = {HF__LIMB_MASK, HF__P_LIMB_1, 0, HF__P_LIMB_3,
                                         HF__P_LIMB_4};
const uint64_t hf__field_one[HF__LIMBS] = {0x0000000000010, 0xf000000000000, 0xfffffffffffff,
                                           0xffeffffffffff, 0x00000000fffff};
const uint64_t hf__field_minus_3[HF__LIMBS] = {0xfffffffffffcf, 0x30fffffffffff, 0x0000000000000,
                                               0x0031000000000, 0x0ffffffcf0000};
const uint64_t hf__field_b[HF__LIMBS] = {0xdf6229c4bddfd, 0xca8843090d89c, 0x212ed6acf005c,
                                         0x83415a220abf7, 0x0c30061dd4874};

/* R^2 */
static const uint64_t field_entry[HF__LIMBS] = {0x0000000000300, 0xffffffff00000, 0xffffefffffffb,
                                                0xfdfffffffffff, 0x0000004ffffff};
static const uint64_t field_unit[HF__LIMBS] = {1};

void hf__field_enter(struct hf__number *out, const struct hf__number *a)
{
    *out = hf__tight(hf__field_mul(*a, hf__number_of(field_entry)));
}

void hf__field_canonical(struct hf__number *out, const struct hf__number *a)
{
    const struct hf__number p = hf__number_of(hf__field_p);
    struct hf__number less;
    __mmask8 is_below = hf__number_subtract(&less, a, &p);

    *out = hf__select(is_below, *a, less);
}

void hf__field_leave(struct hf__number *out, const struct hf__number *a)
{
    struct hf__number almost = hf__tight(hf__field_mul(*a, hf__number_of(field_unit)));

    hf__field_canonical(out, &almost); // at most p
}

__mmask8 hf__field_is_zero(const struct hf__number *a)
{
    const struct hf__number zero = {0};
    struct hf__number canonical;

    hf__field_leave(&canonical, a);
    return hf__number_is_equal(&canonical, &zero);
}

void hf__field_invert(struct hf__number *out, const struct hf__number *a)
{
    static const struct hf__modulus modulus = {
        .m = {HF__LIMB_MASK, HF__P_LIMB_1, 0, HF__P_LIMB_3, HF__P_LIMB_4},
        .square = {0x0000000000300, 0xffffffff00000, 0xffffefffffffb, 0xfdfffffffffff,
                   0x0000004ffffff},
        .factor = 1,
    };
    const struct hf__number one = hf__number_of(hf__field_one);
    struct hf__number reduced = hf__tight(hf__field_mul(*a, one));

    hf__field_canonical(&reduced, &reduced);
    hf__number_invert(&reduced, &reduced, &modulus);
    *out = hf__tight(hf__field_mul(reduced, one));
}
