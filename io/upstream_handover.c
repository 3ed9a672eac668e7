/**
 * upstream_handover.c - the connections to upstreams when a loop falls silent, and when they go on
 * in another process. One that is being made is begun anew: nothing was said on it yet.
 */
#include "upstream.h"

static bool call_off(struct hf_loop *loop, bool is_armed, struct hf_target target)
{
    if (is_armed && loop->is_calling_off)
        (void)loop->backend->cancel(loop, target);
    return is_armed;
}

static bool call_off_stream(struct hf_loop *loop, const struct hf_upstream_stream *stream)
{
    struct hf_target target = {stream->fd, HF_OPERATION_UPSTREAM_CONNECT,
                               (uint32_t)(stream - loop->upstreams->streams), stream->generation};
    bool is_any = call_off(loop, stream->is_connecting, target);
    target.operation = HF_OPERATION_UPSTREAM_RECEIVE;
    is_any |= call_off(loop, stream->is_receive_armed, target);
    target.operation = HF_OPERATION_UPSTREAM_WRITABLE;
    is_any |= call_off(loop, stream->is_writable_armed, target);
    return is_any;
}

bool hf_upstream_call_off(struct hf_loop *loop)
{
    const struct hf_upstreams *upstreams = loop->upstreams;
    bool is_any = false;
    if (!upstreams)
        return false;
    for (uint32_t i = 0; upstreams->datagrams && i < HF_UPSTREAM_SOCKETS; ++i) {
        struct hf_target target = {upstreams->datagrams->fds[i], HF_OPERATION_UPSTREAM_DATAGRAM, i,
                                   0};
        is_any |= call_off(loop, upstreams->datagrams->is_armed[i], target);
    }
    for (uint32_t i = 0; i < upstreams->stream_count; ++i)
        if (upstreams->streams[i].is_used)
            is_any |= call_off_stream(loop, &upstreams->streams[i]);
    return is_any;
}

void hf_upstream_wake(struct hf_loop *loop)
{
    for (uint32_t i = 0; loop->upstreams && i < loop->upstreams->stream_count; ++i) {
        struct hf_upstream_stream *stream = &loop->upstreams->streams[i];
        if (!stream->is_used)
            continue;
        stream->is_more_there = true;
        hf_upstream_stream_touch(loop, stream);
    }
}

void hf_upstream_restore(struct hf_loop *loop, struct hf_upstream_stream *stream)
{
    stream->is_retrying = stream->fd < 0;
    if (stream->is_retrying)
        hf_upstream_list_add(loop->upstreams, stream, HF_UPSTREAM_LIST_RETRY, loop->now_us);
    hf_upstream_stream_touch(loop, stream);
}

bool hf_upstream_is_owed(const struct hf_loop *loop, const struct hf_connection *connection)
{
    const struct hf_upstream_stream *stream =
        connection->upstream == 0 ? NULL : &loop->upstreams->streams[connection->upstream - 1];
    return stream && (stream->is_owed || hf_backlog_len(stream->queue) > 0);
}
