/**
 * ct.h - masks instead of branches. Private to crypto/.
 *
 * A mask is all ones (true) or zero (false). Operands of the comparisons are below 2^31, so that
 * the sign of a difference tells the order. A compiler that sees how a mask is made may turn its
 * use back into a branch (gcc -Os does): masks go through a barrier before they are used.
 */
#ifndef HF_CT_H
#define HF_CT_H

#include <stddef.h>
#include <stdint.h>

/** hf__ct_barrier hides where a value comes from. */
static inline uint32_t hf__ct_barrier(uint32_t value)
{
    __asm__("" : "+r"(value));
    return value;
}

/** hf__ct_msb spreads the top bit. */
static inline uint32_t hf__ct_msb(uint32_t value)
{
    return 0u - (value >> 31);
}

/** hf__ct_lt is a mask for a < b. Either may be negative (two's complement, above -2^30). */
static inline uint32_t hf__ct_lt(uint32_t a, uint32_t b)
{
    return hf__ct_barrier(hf__ct_msb(a - b));
}

/** hf__ct_eq is a mask for a == b, for any operands. */
static inline uint32_t hf__ct_eq(uint32_t a, uint32_t b)
{
    uint32_t difference = a ^ b;

    return hf__ct_barrier(hf__ct_msb(~difference & (difference - 1u)));
}

/** hf__ct_select gives `a` where the mask is set, else `b`. */
static inline uint32_t hf__ct_select(uint32_t mask, uint32_t a, uint32_t b)
{
    return (mask & a) | (~mask & b);
}

/** hf__ct_below writes the byte masks of i < end for i in 0..len - 1. `end` may be negative and is
 *  within 2^23 of 0: the top byte of the difference is the mask, and as no compiler knows that,
 * none sees a comparison here. One barrier for all, so that loops over the masks can be vectorised.
 */
static inline void hf__ct_below(uint8_t *mask, size_t len, uint32_t end)
{
    for (uint32_t i = 0; i < len; i++)
        mask[i] = (uint8_t)((i - end) >> 24);
    __asm__("" : : "r"(mask) : "memory");
}

#endif
