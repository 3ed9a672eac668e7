/**
 * upstream_pool.c - the records of connections to upstreams: their memory, and lists of those that
 * wait for a time. All in one list wait equally long, so that it is in order.
 */
#include "upstream.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- memory ---- */

enum hf_status hf_upstream_stream_open(struct hf_loop *loop, char error[HF_LOOP_ERROR_MAX],
                                       const struct hf_loop_config *config)
{
    struct hf_upstreams *upstreams = loop->upstreams;
    /* Twice: one that flushes what a device has said outlives the device's connection. */
    upstreams->stream_max = 2 * config->connections_max;
    upstreams->free_head = upstreams->touched_head = HF_NONE;
    hf_upstream_list_init(upstreams);
    void *memory = mmap(NULL, upstreams->stream_max * sizeof *upstreams->streams,
                        PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        snprintf(error, HF_LOOP_ERROR_MAX, "upstream: %s", strerror(errno));
        return HF_E_MEMORY;
    }
    upstreams->streams = memory;
    return HF_OK;
}

void hf_upstream_stream_close(struct hf_loop *loop)
{
    struct hf_upstreams *upstreams = loop->upstreams;
    if (!upstreams->streams)
        return;
    for (uint32_t i = 0; i < upstreams->stream_count; ++i) {
        struct hf_upstream_stream *stream = &upstreams->streams[i];
        if (!stream->is_used)
            continue;
        hf_backlog_drop(loop, &stream->queue);
        if (stream->fd >= 0)
            (void)close(stream->fd);
    }
    hf_backlog_sweep(loop);
    (void)munmap(upstreams->streams, upstreams->stream_max * sizeof *upstreams->streams);
    upstreams->streams = NULL;
}

uint32_t hf_upstream_stream_index(const struct hf_loop *loop,
                                  const struct hf_upstream_stream *stream)
{
    return (uint32_t)(stream - loop->upstreams->streams);
}

void hf_upstream_stream_touch(struct hf_loop *loop, struct hf_upstream_stream *stream)
{
    if (stream->is_touched)
        return;
    stream->is_touched = true;
    stream->touched_next = loop->upstreams->touched_head;
    loop->upstreams->touched_head = hf_upstream_stream_index(loop, stream);
    loop->is_turn_due |= !loop->is_in_turn;
}

struct hf_upstream_stream *hf_upstream_stream_take(struct hf_loop *loop)
{
    struct hf_upstreams *upstreams = loop->upstreams;
    struct hf_upstream_stream *stream;
    if (!upstreams->streams)
        return NULL;
    if (upstreams->free_head != HF_NONE) {
        stream = &upstreams->streams[upstreams->free_head];
        upstreams->free_head = stream->touched_next;
    } else if (upstreams->stream_count < upstreams->stream_max) {
        stream = &upstreams->streams[upstreams->stream_count++];
        HF_COUNT(loop, memory_len, sizeof *stream);
    } else {
        return NULL;
    }
    uint32_t generation = (stream->generation + 1) & 0xffffffu;
    *stream = (struct hf_upstream_stream){.fd = -1, .generation = generation, .is_used = true};
    HF_COUNT(loop, upstream_connections, 1);
    return stream;
}

/* ---- lists ---- */

void hf_upstream_list_init(struct hf_upstreams *upstreams)
{
    for (uint32_t i = 0; i < HF_UPSTREAM_LIST_COUNT; ++i)
        upstreams->lists[i].first = upstreams->lists[i].last = HF_NONE;
}

void hf_upstream_list_add(struct hf_upstreams *upstreams, struct hf_upstream_stream *stream,
                          enum hf_upstream_list list, uint64_t until_us)
{
    uint32_t index = (uint32_t)(stream - upstreams->streams);
    if (stream->list != HF_UPSTREAM_LIST_NONE)
        return;
    stream->list = (uint8_t)list;
    stream->until_us = until_us;
    stream->listed_next = HF_NONE;
    stream->listed_prev = upstreams->lists[list].last;
    if (stream->listed_prev == HF_NONE)
        upstreams->lists[list].first = index;
    else
        upstreams->streams[stream->listed_prev].listed_next = index;
    upstreams->lists[list].last = index;
}

void hf_upstream_list_remove(struct hf_upstreams *upstreams, struct hf_upstream_stream *stream)
{
    uint32_t next = stream->listed_next, prev = stream->listed_prev;
    if (stream->list == HF_UPSTREAM_LIST_NONE)
        return;
    if (prev == HF_NONE)
        upstreams->lists[stream->list].first = next;
    else
        upstreams->streams[prev].listed_next = next;
    if (next == HF_NONE)
        upstreams->lists[stream->list].last = prev;
    else
        upstreams->streams[next].listed_prev = prev;
    stream->list = HF_UPSTREAM_LIST_NONE;
}

struct hf_upstream_stream *hf_upstream_list_due(struct hf_upstreams *upstreams,
                                                enum hf_upstream_list list, uint64_t now_us)
{
    uint32_t first = upstreams->lists[list].first;
    struct hf_upstream_stream *stream = first == HF_NONE ? NULL : &upstreams->streams[first];
    if (!stream || stream->until_us > now_us)
        return NULL;
    hf_upstream_list_remove(upstreams, stream);
    return stream;
}
