/**
 * buffers.c - the memory of receive buffers, touched as far as it is used. Which of them are free
 * is the back end's business.
 */
#include "loop_private.h"

#include <sys/mman.h>

#define ALIGNMENT 64u

void *hf_buffers_map(struct hf_buffers *buffers, struct hf_loop *loop, uint32_t count,
                     uint32_t buffer_len, size_t extra_len)
{
    size_t offset = (extra_len + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    size_t len = offset + (size_t)count * buffer_len;
    void *memory = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    (void)madvise(memory, len, MADV_DONTDUMP); /* opened in place: it holds plaintext */
    *buffers = (struct hf_buffers){
        .memory = (uint8_t *)memory + offset,
        .memory_len = len,
        .count = count,
        .buffer_len = buffer_len,
    };
    HF_COUNT(loop, memory_len, len);
    return memory;
}

void hf_buffers_unmap(struct hf_buffers *buffers)
{
    if (buffers->memory)
        (void)munmap(buffers->memory -
                         (buffers->memory_len - (size_t)buffers->count * buffers->buffer_len),
                     buffers->memory_len);
    buffers->memory = NULL;
}
