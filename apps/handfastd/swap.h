/**
 * swap.h - one thing that all shards read without locks, and one writer replaces as a whole.
 *
 * A reader publishes what it is about to read in its own slot, then looks whether that is still
 * the current one (a hazard pointer). The writer replaces it first, then waits until no slot names
 * the old one: microseconds, since a reader never blocks.
 */
#ifndef HF_SWAP_H
#define HF_SWAP_H

#include <handfast/base.h>
#include <stdatomic.h>

struct hf_swap_reader;

struct hf_swap {
    uint32_t reader_count;
    _Atomic(void *) current;
    struct hf_swap_reader *readers;
};

/** hf_swap_open begins with `first`, which may be NULL. False: no memory. */
HF_MUST_USE bool hf_swap_open(struct hf_swap *swap, uint32_t reader_count, void *first);

/** hf_swap_close frees what is its own and gives the last one. No reader may still read. */
void *hf_swap_close(struct hf_swap *swap);

/** hf_swap_begin gives the current one, which stays until hf_swap_end(). Thread: the reader's. */
const void *hf_swap_begin(struct hf_swap *swap, uint32_t reader_index);
void hf_swap_end(struct hf_swap *swap, uint32_t reader_index);

/** hf_swap_current is for the writer's thread alone. */
void *hf_swap_current(const struct hf_swap *swap);

/** hf_swap_replace puts `next` in its place, and gives the former when nobody reads it. */
HF_MUST_USE void *hf_swap_replace(struct hf_swap *swap, void *next);

#endif
