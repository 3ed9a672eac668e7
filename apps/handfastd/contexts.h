/**
 * contexts.h - sets of contexts: what keys and entities give their associations to be found by.
 */
#ifndef HF_CONTEXTS_H
#define HF_CONTEXTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** hf_contexts_sort makes a set of a list, for hf_contexts_hold(). */
void hf_contexts_sort(uint64_t *contexts, size_t count);

/** hf_contexts_hold tells whether one is in a set. */
bool hf_contexts_hold(const uint64_t *contexts, size_t count, uint64_t context);

#endif
