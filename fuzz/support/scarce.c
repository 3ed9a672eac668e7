/**
 * scarce.c - allocators that fail on request. BoringSSL looks for its own in the program.
 */
#include "scarce.h"

#include <stdint.h>
#include <stdlib.h>

#define EXPORTED __attribute__((visibility("default")))

EXPORTED void *OPENSSL_memory_alloc(size_t size);
EXPORTED void OPENSSL_memory_free(void *block);
EXPORTED size_t OPENSSL_memory_get_size(void *block);
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__wrap_realloc(void *block, size_t size);

static size_t left_count = SIZE_MAX;
static bool is_hit;

void fuzz_scarce(size_t left)
{
    left_count = left;
    is_hit = false;
}

bool fuzz_scarce_hit(void)
{
    return is_hit;
}

size_t fuzz_scarce_pause(void)
{
    size_t left = left_count;
    left_count = SIZE_MAX;
    return left;
}

void fuzz_scarce_resume(size_t left)
{
    left_count = left;
}

static bool may_allocate(void)
{
    if (left_count == SIZE_MAX || left_count-- > 0)
        return true;
    left_count = SIZE_MAX;
    is_hit = true;
    return false;
}

struct header {
    size_t size;
    size_t zero; /* keeps what follows aligned */
};

void *OPENSSL_memory_alloc(size_t size)
{
    struct header *header = may_allocate() ? __real_malloc(sizeof *header + size) : NULL;
    if (!header)
        return NULL;
    header->size = size;
    return header + 1;
}

void OPENSSL_memory_free(void *block)
{
    if (block)
        free((struct header *)block - 1);
}

size_t OPENSSL_memory_get_size(void *block)
{
    return block ? ((struct header *)block - 1)->size : 0;
}

void *__wrap_malloc(size_t size)
{
    return may_allocate() ? __real_malloc(size) : NULL;
}

void *__wrap_calloc(size_t count, size_t size)
{
    return may_allocate() ? __real_calloc(count, size) : NULL;
}

void *__wrap_realloc(void *block, size_t size)
{
    return may_allocate() ? __real_realloc(block, size) : NULL;
}
