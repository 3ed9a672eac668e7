/**
 * contexts.c - see contexts.h.
 */
#include "contexts.h"

#include <stdlib.h>

static int compare(const void *a, const void *b)
{
    const uint64_t *left = a;
    const uint64_t *right = b;
    return (*left > *right) - (*left < *right);
}

void hf_contexts_sort(uint64_t *contexts, size_t count)
{
    qsort(contexts, count, sizeof(*contexts), compare);
}

bool hf_contexts_hold(const uint64_t *contexts, size_t count, uint64_t context)
{
    return bsearch(&context, contexts, count, sizeof(context), compare) != NULL;
}
