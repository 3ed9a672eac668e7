/**
 * pool.c - see pool.h.
 */
#include "pool.h"

#include <string.h>

void hf_pool_init(struct hf_pool *pool, void *slots, size_t stride, uint32_t count)
{
    *pool =
        (struct hf_pool){.slots = slots, .stride = stride, .count = count, .free_head = UINT32_MAX};
}

uint32_t hf_pool_take(struct hf_pool *pool)
{
    uint32_t index = pool->free_head;
    if (index != UINT32_MAX) {
        memcpy(&pool->free_head, hf_pool_at(pool, index), sizeof pool->free_head);
    } else if (pool->touched < pool->count) {
        index = pool->touched++;
    } else {
        return UINT32_MAX;
    }
    pool->used++;
    return index;
}

void hf_pool_give(struct hf_pool *pool, uint32_t index)
{
    memcpy(hf_pool_at(pool, index), &pool->free_head, sizeof pool->free_head);
    pool->free_head = index;
    pool->used--;
}
