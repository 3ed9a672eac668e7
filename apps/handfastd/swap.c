/**
 * swap.c - see swap.h.
 */
#include "swap.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

struct hf_swap_reader {
    _Alignas(64) _Atomic(void *) in_use;
};

bool hf_swap_open(struct hf_swap *swap, uint32_t reader_count, void *first)
{
    size_t len = reader_count * sizeof(struct hf_swap_reader);
    swap->readers = aligned_alloc(_Alignof(struct hf_swap_reader), len);
    if (swap->readers == NULL)
        return false;
    memset(swap->readers, 0, len);
    swap->reader_count = reader_count;
    atomic_store(&swap->current, first);
    return true;
}

void *hf_swap_close(struct hf_swap *swap)
{
    free(swap->readers);
    swap->readers = NULL;
    return atomic_exchange(&swap->current, NULL);
}

const void *hf_swap_begin(struct hf_swap *swap, uint32_t reader_index)
{
    struct hf_swap_reader *reader = &swap->readers[reader_index];
    void *current = NULL;
    do {
        current = atomic_load(&swap->current);
        atomic_store(&reader->in_use, current);
    } while (current != atomic_load(&swap->current));
    return current;
}

void hf_swap_end(struct hf_swap *swap, uint32_t reader_index)
{
    atomic_store(&swap->readers[reader_index].in_use, NULL);
}

void *hf_swap_current(const struct hf_swap *swap)
{
    return atomic_load(&swap->current);
}

void *hf_swap_replace(struct hf_swap *swap, void *next)
{
    void *former = atomic_exchange(&swap->current, next);
    for (uint32_t i = 0; former != NULL && i < swap->reader_count; i++)
        while (atomic_load(&swap->readers[i].in_use) == former)
            nanosleep(&(struct timespec){0, 50 * 1000}, NULL);
    return former;
}
