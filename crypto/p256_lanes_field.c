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

/* a^(2^count) * b */
static struct hf__number field_power(struct hf__number a, unsigned count, struct hf__number b)
{
    for (unsigned i = 0; i < count; i++)
        a = hf__tight(hf__field_square(a));
    return hf__tight(hf__field_mul(a, b));
}

/* Fermat: a^(p-2), with p - 2 = 2^256 - 2^224 + 2^192 + 2^96 - 3. */
void hf__field_invert(struct hf__number *out, const struct hf__number *a)
{
    // ones_k is a^(2^k - 1).
    struct hf__number ones_2 = field_power(*a, 1, *a);
    struct hf__number ones_4 = field_power(ones_2, 2, ones_2);
    struct hf__number ones_8 = field_power(ones_4, 4, ones_4);
    struct hf__number ones_16 = field_power(ones_8, 8, ones_8);
    struct hf__number ones_32 = field_power(ones_16, 16, ones_16);
    struct hf__number power = field_power(ones_32, 32, *a);

    power = field_power(power, 128, ones_32);
    power = field_power(power, 32, ones_32);
    power = field_power(power, 16, ones_16);
    power = field_power(power, 8, ones_8);
    power = field_power(power, 4, ones_4);
    power = field_power(power, 2, ones_2);
    *out = field_power(power, 2, *a);
}
