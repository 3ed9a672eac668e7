/**
 * backlog.c - bytes that have to wait beyond a turn: unsent, unsealed or unread. Memory exists only
 * while there are such bytes; the limits are the callers'.
 */
#include "loop_private.h"

#include <stdlib.h>
#include <string.h>

static struct hf_block *backlog_alloc(struct hf_loop *loop, uint32_t len)
{
    struct hf_block *block = malloc(sizeof *block + len);
    if (!block)
        return NULL;
    block->next = NULL;
    block->len = len;
    block->start = 0;
    block->end = 0;
    HF_COUNT(loop, memory_len, sizeof *block + len);
    return block;
}

bool hf_backlog_append(struct hf_loop *loop, struct hf_block **block, struct hf_bytes data)
{
    struct hf_block *old = *block;
    uint32_t have = hf_backlog_len(old);
    if (data.len > UINT32_MAX / 4 - have)
        return false;
    uint32_t add = (uint32_t)data.len;
    if (!old || add > old->len - old->end) {
        uint32_t len = have + add;
        len += len / 2 < 1024 ? 1024 : len / 2;
        struct hf_block *grown = backlog_alloc(loop, len);
        if (!grown)
            return false;
        if (old) {
            memcpy(grown->data, old->data + old->start, have);
            hf_backlog_drop(loop, block);
        }
        grown->end = have;
        *block = grown;
    }
    if (add > 0)
        memcpy((*block)->data + (*block)->end, data.data, add);
    (*block)->end += add;
    return true;
}

void hf_backlog_drop(struct hf_loop *loop, struct hf_block **block)
{
    if (!*block)
        return;
    (*block)->next = loop->spent;
    loop->spent = *block;
    *block = NULL;
}

void hf_backlog_sweep(struct hf_loop *loop)
{
    while (loop->spent) {
        struct hf_block *block = loop->spent;
        loop->spent = block->next;
        HF_COUNT(loop, memory_len, -(sizeof *block + block->len));
        explicit_bzero(block->data, block->len); /* may hold plaintext */
        free(block);
    }
}
