/**
 * pool.h - fixed-size slots in mapped memory, taken and given back in LIFO order. Slots that were
 * never used are never touched, so a pool costs address space, not memory, until it is needed.
 *
 * The first four bytes of a free slot link to the next one; the rest of the slot is the owner's,
 * which is how a generation number survives in it.
 */
#ifndef HF_POOL_H
#define HF_POOL_H

#include <handfast/base.h>

struct hf_pool {
    uint8_t *slots;
    size_t stride;
    uint32_t count;     /**< slots there are */
    uint32_t touched;   /**< slots ever used */
    uint32_t free_head; /**< UINT32_MAX: none */
    uint32_t used;
};

void hf_pool_init(struct hf_pool *pool, void *slots, size_t stride, uint32_t count);

/** hf_pool_take gives a slot's index, UINT32_MAX when all are taken. A slot used for the first time
 *  is all zero; otherwise it holds what hf_pool_give() left. */
uint32_t hf_pool_take(struct hf_pool *pool);

/** hf_pool_give returns a slot. The caller has wiped what must not stay. */
void hf_pool_give(struct hf_pool *pool, uint32_t index);

static inline void *hf_pool_at(const struct hf_pool *pool, uint32_t index)
{
    return pool->slots + (size_t)index * pool->stride;
}

#endif
