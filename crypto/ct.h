/**
 * ct.h - masks instead of branches. Private to crypto/.
 *
 * A mask is all ones (true) or zero (false). Operands of the comparisons are below 2^31, so that
 * the sign of a difference tells the order.
 */
#ifndef HF_CT_H
#define HF_CT_H

#include <stdint.h>

/** hf__ct_barrier hides where a value comes from, lest the compiler turn masks into branches. */
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
    return hf__ct_msb(a - b);
}

/** hf__ct_eq is a mask for a == b, for any operands. */
static inline uint32_t hf__ct_eq(uint32_t a, uint32_t b)
{
    uint32_t difference = a ^ b;

    return hf__ct_msb(~difference & (difference - 1u));
}

/** hf__ct_select gives `a` where the mask is set, else `b`. */
static inline uint32_t hf__ct_select(uint32_t mask, uint32_t a, uint32_t b)
{
    return (mask & a) | (~mask & b);
}

#endif
