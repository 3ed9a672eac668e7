/**
 * stdatomic.h - in place of the compiler's: every operation is a point where another thread may go
 * on, then a plain access. Only one thread runs at a time.
 */
#ifndef HF_TEST_SHADOW_STDATOMIC_H
#define HF_TEST_SHADOW_STDATOMIC_H

#include "explore.h"

#define _Atomic
enum {
    memory_order_relaxed,
    memory_order_acquire,
    memory_order_release,
    memory_order_acq_rel,
    memory_order_seq_cst
};

#define atomic_load(at) (explore_yield(), *(at))
#define atomic_load_explicit(at, order) ((void)(order), atomic_load(at))
#define atomic_store(at, value) (explore_yield(), (void)(*(at) = (value)))
#define atomic_store_explicit(at, value, order) ((void)(order), atomic_store(at, value))
#define atomic_fetch_add(at, value)                                                                \
    ({                                                                                             \
        explore_yield();                                                                           \
        __typeof__(*(at)) before_ = *(at);                                                         \
        *(at) = (__typeof__(*(at)))(before_ + (value));                                            \
        before_;                                                                                   \
    })
#define atomic_fetch_add_explicit(at, value, order) ((void)(order), atomic_fetch_add(at, value))
#define atomic_exchange(at, value)                                                                 \
    ({                                                                                             \
        explore_yield();                                                                           \
        __typeof__(*(at)) before_ = *(at);                                                         \
        *(at) = (value);                                                                           \
        before_;                                                                                   \
    })
#define atomic_compare_exchange_strong_explicit(at, expected, value, order, failure)               \
    ({                                                                                             \
        explore_yield();                                                                           \
        (void)(order), (void)(failure);                                                            \
        bool is_equal_ = *(at) == *(expected);                                                     \
        if (is_equal_)                                                                             \
            *(at) = (value);                                                                       \
        else                                                                                       \
            *(expected) = *(at);                                                                   \
        is_equal_;                                                                                 \
    })

#endif
