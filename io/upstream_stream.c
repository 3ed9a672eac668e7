/**
 * upstream_stream.c - TLS: one connection to the upstream per association, bytes both ways.
 *
 * The slow side stops the other: the device is not read from while send_queue_len_high bytes wait
 * for the upstream, the upstream is not read from while as many wait for the device. An end of one
 * direction is passed through; a stream that was cut short is not made to look whole.
 *
 * Invariant: a record's socket is closed only when the kernel has no request for it.
 */
#include "upstream.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct hf_upstream_stream *stream_of(const struct hf_loop *loop,
                                            const struct hf_connection *connection)
{
    return connection->upstream == 0 ? NULL : &loop->upstreams->streams[connection->upstream - 1];
}

static struct hf_connection *stream_device(struct hf_loop *loop,
                                           const struct hf_upstream_stream *stream)
{
    return stream->association == 0 ? NULL : &loop->connections[stream->connection];
}

static void stream_time(struct hf_loop *loop, struct hf_upstream_stream *stream)
{
    hf_upstream_list_add(loop->upstreams, stream, HF_UPSTREAM_LIST_DEADLINE,
                         loop->now_us + HF_UPSTREAM_TIMEOUT_US);
}

/* ---- the end ---- */

static void stream_hang_up(struct hf_loop *loop, struct hf_upstream_stream *stream)
{
    if (stream->fd < 0)
        return;
    loop->backend->forget(loop, stream->fd);
    (void)close(stream->fd);
    stream->fd = -1;
}

static void stream_finish(struct hf_loop *loop, struct hf_upstream_stream *stream)
{
    hf_upstream_list_remove(loop->upstreams, stream);
    hf_backlog_drop(loop, &stream->queue);
    stream_hang_up(loop, stream);
    stream->is_used = false;
    stream->touched_next = loop->upstreams->free_head;
    loop->upstreams->free_head = hf_upstream_stream_index(loop, stream);
    HF_COUNT(loop, upstream_connections, -1);
}

static struct hf_target stream_target(const struct hf_loop *loop,
                                      const struct hf_upstream_stream *stream,
                                      enum hf_operation operation)
{
    return (struct hf_target){stream->fd, operation, hf_upstream_stream_index(loop, stream),
                              stream->generation};
}

static bool stream_cancel(struct hf_loop *loop, const struct hf_upstream_stream *stream,
                          enum hf_operation operation, bool is_under_way)
{
    return !is_under_way || loop->backend->cancel(loop, stream_target(loop, stream, operation));
}

static void stream_settle_doomed(struct hf_loop *loop, struct hf_upstream_stream *stream)
{
    if (!stream->is_connecting && !stream->is_receive_armed && !stream->is_writable_armed) {
        stream_finish(loop, stream);
        return;
    }
    if (stream->is_cancel_sent)
        return;
    stream->is_cancel_sent =
        stream_cancel(loop, stream, HF_OPERATION_UPSTREAM_CONNECT, stream->is_connecting) &&
        stream_cancel(loop, stream, HF_OPERATION_UPSTREAM_RECEIVE, stream->is_receive_armed) &&
        stream_cancel(loop, stream, HF_OPERATION_UPSTREAM_WRITABLE, stream->is_writable_armed);
    if (!stream->is_cancel_sent)
        hf_upstream_stream_touch(loop, stream);
}

static void stream_detach(struct hf_loop *loop, struct hf_upstream_stream *stream)
{
    struct hf_connection *connection = stream_device(loop, stream);
    if (connection)
        connection->upstream = 0;
    stream->association = 0;
}

/* The upstream is of no use any more; `how` tells the device. */
static void stream_break(struct hf_loop *loop, struct hf_upstream_stream *stream, enum hf_close how)
{
    hf_association_id association = stream->association;
    if (stream->is_doomed)
        return;
    stream->is_doomed = true;
    stream_detach(loop, stream);
    hf_upstream_stream_touch(loop, stream);
    if (association != 0)
        hf_loop_end(loop, association, how);
}

/* Whether the device need not know: no answer is due, and none was given just now that this may be
 * the end of. */
static bool stream_is_kept(const struct hf_loop *loop, const struct hf_upstream_stream *stream)
{
    bool is_answer =
        stream->heard_us != 0 && loop->now_us - stream->heard_us < HF_UPSTREAM_ANSWER_US;
    return loop->upstreams->of[stream->upstream].keep_us_max > 0 && stream->association != 0 &&
           !stream->is_doomed && !stream->is_device_done && !stream->is_owed && !is_answer &&
           !loop->is_stopping;
}

/* The association goes on without a connection until the device speaks. */
static void stream_let_go(struct hf_loop *loop, struct hf_upstream_stream *stream)
{
    HF_COUNT(loop, upstream_kept, 1);
    stream->is_doomed = true;
    stream_detach(loop, stream);
    hf_upstream_stream_touch(loop, stream);
}

static void stream_broken(struct hf_loop *loop, struct hf_upstream_stream *stream)
{
    if (stream_is_kept(loop, stream)) {
        stream_let_go(loop, stream);
        return;
    }
    HF_COUNT(loop, upstream_resets, 1);
    stream_break(loop, stream, HF_CLOSE_NOTIFY);
}

/* Cut short: the upstream must see a reset, not an end. */
static void stream_reset(struct hf_loop *loop, struct hf_upstream_stream *stream)
{
    static const struct linger now = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(stream->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    stream_break(loop, stream, HF_CLOSE_SILENT);
}

/* ---- to the upstream ---- */

static size_t stream_push(struct hf_loop *loop, struct hf_upstream_stream *stream,
                          struct hf_bytes data)
{
    ssize_t count;
    do
        count = send(stream->fd, data.data, data.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (count < 0 && errno == EINTR);
    if (count >= 0)
        return (size_t)count;
    if (errno != EAGAIN && errno != EWOULDBLOCK && errno != ENOBUFS && errno != ENOMEM)
        stream_broken(loop, stream);
    return 0;
}

static void stream_send(struct hf_loop *loop, struct hf_upstream_stream *stream,
                        struct hf_bytes data)
{
    if (stream->is_doomed || stream->is_shut)
        return;
    if (!stream->is_connecting && !stream->is_retrying && hf_backlog_len(stream->queue) == 0) {
        size_t pushed = stream_push(loop, stream, data);
        data.data += pushed;
        data.len -= pushed;
    }
    if (data.len == 0 || stream->is_doomed)
        return;
    if (!hf_backlog_append(loop, &stream->queue, data))
        stream_reset(loop, stream);
    hf_upstream_stream_touch(loop, stream);
}

static void stream_drain(struct hf_loop *loop, struct hf_upstream_stream *stream)
{
    struct hf_block *queue = stream->queue;
    if (!queue || stream->is_doomed || stream->is_retrying)
        return;
    struct hf_bytes data = {queue->data + queue->start, queue->end - queue->start};
    queue->start += (uint32_t)stream_push(loop, stream, data);
    if (queue->start == queue->end)
        hf_backlog_drop(loop, &stream->queue);
    struct hf_connection *connection = stream_device(loop, stream);
    if (connection && connection->is_paused)
        hf_connection_touch(loop, connection); /* it may be read from again */
}

bool hf_upstream_is_slow(const struct hf_loop *loop, const struct hf_connection *connection)
{
    const struct hf_upstream_stream *stream = stream_of(loop, connection);
    uint32_t high = loop->config.send_queue_len_high;
    return stream && hf_backlog_len(stream->queue) >= (connection->is_paused ? high / 2 : high);
}

/* ---- connecting ---- */

static int stream_socket(const struct hf_upstream *upstream)
{
    static const int on = 1, stall_ms = HF_SEND_STALL_MS;
    int fd = socket(upstream->peer.sin6_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &stall_ms, sizeof stall_ms);
    return fd;
}

static void stream_introduce(struct hf_loop *loop, struct hf_upstream_stream *stream)
{
    uint8_t header[HF_UPSTREAM_PROXY_MAX];
    struct hf_association_info info;
    if (hf_engine_association_info(&info, loop->engine, stream->association) != HF_OK)
        return; /* its end is on its way */
    size_t len = hf_upstream_proxy_encode(header, sizeof header, stream->association, &info,
                                          loop->upstreams->of[info.listener_index].is_entity_told);
    stream_send(loop, stream, (struct hf_bytes){header, len});
}

static bool stream_connect(struct hf_loop *loop, struct hf_upstream_stream *stream)
{
    struct hf_upstream *upstream = &loop->upstreams->of[stream->upstream];
    stream->fd = stream_socket(upstream);
    stream->is_connecting =
        stream->fd >= 0 &&
        loop->backend->connect(loop, stream_target(loop, stream, HF_OPERATION_UPSTREAM_CONNECT),
                               (const struct sockaddr *)(const void *)&upstream->peer,
                               upstream->peer_len);
    if (stream->is_connecting)
        stream_time(loop, stream);
    else
        stream_hang_up(loop, stream);
    return stream->is_connecting;
}

static void stream_begin(struct hf_loop *loop, struct hf_connection *connection,
                         const struct hf_event *event)
{
    struct hf_upstream_stream *stream = hf_upstream_stream_take(loop);
    if (stream) {
        stream->association = event->association;
        stream->connection = hf_connection_index(loop, connection);
        stream->upstream = (uint8_t)event->listener_index;
    }
    if (!stream || !stream_connect(loop, stream)) {
        HF_COUNT(loop, upstream_refusals, 1);
        if (stream)
            stream_finish(loop, stream);
        hf_loop_end(loop, event->association, HF_CLOSE_NOTIFY);
        return;
    }
    connection->upstream = hf_upstream_stream_index(loop, stream) + 1;
    if (loop->upstreams->of[event->listener_index].is_proxied)
        stream_introduce(loop, stream);
}

/* True: it is tried again, for the sake of what the device has said. */
static bool stream_retry(struct hf_loop *loop, struct hf_upstream_stream *stream)
{
    uint64_t keep_us_max = loop->upstreams->of[stream->upstream].keep_us_max;
    if (keep_us_max == 0 || stream->association == 0 || loop->is_stopping)
        return false;
    if (stream->give_up_us == 0)
        stream->give_up_us = loop->now_us + keep_us_max;
    if (loop->now_us >= stream->give_up_us)
        return false;
    HF_COUNT(loop, upstream_retries, 1);
    stream_hang_up(loop, stream);
    stream->is_retrying = true;
    stream->is_cancel_sent = false;
    hf_upstream_list_add(loop->upstreams, stream, HF_UPSTREAM_LIST_RETRY,
                         loop->now_us + HF_UPSTREAM_RETRY_US);
    return true;
}

static void stream_refused(struct hf_loop *loop, struct hf_upstream_stream *stream)
{
    if (stream_is_kept(loop, stream)) {
        stream_let_go(loop, stream);
    } else if (!stream_retry(loop, stream)) {
        HF_COUNT(loop, upstream_refusals, 1);
        stream_break(loop, stream, HF_CLOSE_NOTIFY);
    }
}

static void stream_connected(struct hf_loop *loop, struct hf_upstream_stream *stream, int result)
{
    stream->is_connecting = false;
    hf_upstream_list_remove(loop->upstreams, stream);
    if (stream->is_doomed)
        return;
    if (result < 0 && loop->is_freezing) { /* called off: again when we go on */
        stream_hang_up(loop, stream);
        stream->is_cancel_sent = false;
        hf_upstream_restore(loop, stream);
    } else if (result == -ECONNRESET) { /* taken, and broken before we knew */
        stream_broken(loop, stream);
    } else if (result < 0) {
        stream_refused(loop, stream);
    } else {
        HF_COUNT(loop, upstream_connects, 1);
        stream->give_up_us = 0;
        stream_drain(loop, stream);
    }
}

/* ---- from the upstream ---- */

static void stream_ended(struct hf_loop *loop, struct hf_upstream_stream *stream)
{
    if (stream_is_kept(loop, stream)) {
        stream_let_go(loop, stream);
        return;
    }
    stream->is_upstream_done = true;
    /* The half that is left, if it is left, goes on. */
    if (stream->association != 0)
        hf_loop_end(loop, stream->association,
                    stream->is_device_done ? HF_CLOSE_NOTIFY : HF_CLOSE_WRITE);
}

static void stream_received(struct hf_loop *loop, struct hf_upstream_stream *stream,
                            const struct hf_completion *completion)
{
    int result = completion->result;
    stream->is_receive_armed = false;
    stream->is_more_there = result == -ENOBUFS || completion->is_more_there;
    if (stream->is_doomed)
        return;
    if (completion->data) {
        struct hf_bytes data = {completion->data, completion->len};
        HF_COUNT(loop, upstream_in_len, data.len);
        stream->heard_us = loop->now_us;
        stream->is_owed = false;
        if (stream->association == 0)
            return; /* nobody is there to read it */
        enum hf_status status = hf_loop_send(loop, stream->association, data);
        /* A hole in a stream would be a lie. A stale one's end is on its way. */
        if (status != HF_OK && status != HF_E_STALE)
            stream_break(loop, stream, HF_CLOSE_SILENT);
    } else if (result == 0) {
        stream_ended(loop, stream);
    } else if (result == -ENOBUFS) {
        HF_COUNT(loop, receive_buffers_empty, 1);
    } else if (result < 0 && result != -ECANCELED && result != -EINTR && result != -EAGAIN) {
        stream_broken(loop, stream);
    }
}

/* Never more than fits what hf_loop_send() takes when less than the high mark waits. */
static void stream_arm_receive(struct hf_loop *loop, struct hf_upstream_stream *stream)
{
    const struct hf_connection *connection = stream_device(loop, stream);
    uint32_t high = loop->config.send_queue_len_high;
    if (stream->is_receive_armed || stream->is_upstream_done || loop->is_freezing ||
        (connection && hf_connection_backlog(connection) >= high))
        return;
    uint32_t len = high < HF_STREAM_BUFFER_LEN ? high : HF_STREAM_BUFFER_LEN;
    stream->is_receive_armed =
        loop->backend->receive(loop, stream_target(loop, stream, HF_OPERATION_UPSTREAM_RECEIVE),
                               len, stream->is_more_there);
    if (!stream->is_receive_armed)
        hf_upstream_stream_touch(loop, stream);
}

static void stream_arm_writable(struct hf_loop *loop, struct hf_upstream_stream *stream)
{
    if (stream->is_writable_armed || loop->is_freezing)
        return;
    stream->is_writable_armed =
        loop->backend->writable(loop, stream_target(loop, stream, HF_OPERATION_UPSTREAM_WRITABLE));
    if (!stream->is_writable_armed)
        hf_upstream_stream_touch(loop, stream);
}

/* ---- what happens to it ---- */

void hf_upstream_stream_complete(struct hf_loop *loop, const struct hf_completion *completion)
{
    struct hf_upstreams *upstreams = loop->upstreams;
    uint32_t index = completion->index;
    if (!upstreams->streams || index >= upstreams->stream_count)
        return;
    struct hf_upstream_stream *stream = &upstreams->streams[index];
    if (!stream->is_used || stream->generation != completion->generation)
        return;
    hf_upstream_stream_touch(loop, stream);
    if (completion->operation == HF_OPERATION_UPSTREAM_CONNECT) {
        stream_connected(loop, stream, completion->result);
    } else if (completion->operation == HF_OPERATION_UPSTREAM_RECEIVE) {
        stream_received(loop, stream, completion);
    } else {
        stream->is_writable_armed = false;
        stream_drain(loop, stream);
    }
}

void hf_upstream_stream_event(struct hf_loop *loop, const struct hf_event *event)
{
    struct hf_connection *connection =
        hf_connection_at(loop, (uint32_t)event->user, (uint32_t)(event->user >> 32));
    struct hf_upstream_stream *stream = connection ? stream_of(loop, connection) : NULL;
    switch (event->kind) {
    case HF_EVENT_ESTABLISHED:
        if (connection && !stream && !loop->is_stopping && !event->is_client)
            stream_begin(loop, connection, event);
        break;
    case HF_EVENT_DATA:
        HF_COUNT(loop, upstream_out_len, event->data.len);
        /* One that was let go is followed by another. */
        if (connection && !stream && !loop->is_stopping && !event->is_client &&
            loop->upstreams->of[event->listener_index].keep_us_max > 0) {
            stream_begin(loop, connection, event);
            stream = stream_of(loop, connection);
        }
        if (!stream) {
            if (event->is_client) /* nobody has asked for anything */
                hf_loop_end(loop, event->association, HF_CLOSE_NOTIFY);
            break;
        }
        stream->is_owed = true;
        stream_send(loop, stream, event->data);
        break;
    case HF_EVENT_PEER_CLOSED:
        if (!stream || stream->is_upstream_done)
            hf_loop_end(loop, event->association, HF_CLOSE_NOTIFY);
        if (stream) {
            stream->is_device_done = true;
            hf_upstream_stream_touch(loop, stream);
        }
        break;
    case HF_EVENT_CLOSED:
        if (!stream)
            break;
        stream_detach(loop, stream);
        connection->upstream = 0;
        /* What the device said is whole if it said so, or if nobody listened any more. */
        stream->is_device_done |=
            event->failure.status == HF_E_CLOSED_BY_PEER || stream->is_upstream_done;
        if (!stream->is_device_done)
            stream_reset(loop, stream);
        hf_upstream_stream_touch(loop, stream);
        break;
    case HF_EVENT_HANDSHAKE_FAILED:
    case HF_EVENT_READABLE:
    case HF_EVENT_KEYLOG:
    case HF_EVENT_MOVED:
    case HF_EVENT_SESSION:
        break;
    }
}

void hf_upstream_settled(struct hf_loop *loop, struct hf_connection *connection)
{
    struct hf_upstream_stream *stream = stream_of(loop, connection);
    if (!stream)
        return;
    /* Nobody reads what the upstream still says, and the engine, told of the end, waits for ours.
     */
    if (connection->is_broken && connection->is_end_told)
        hf_loop_end(loop, connection->association, HF_CLOSE_SILENT);
    if (!stream->is_receive_armed && !stream->is_connecting && !stream->is_retrying)
        hf_upstream_stream_touch(loop, stream);
}

static void stream_settle_open(struct hf_loop *loop, struct hf_upstream_stream *stream)
{
    if (stream->is_connecting || stream->is_retrying || stream->is_waiting)
        return;
    if (hf_backlog_len(stream->queue) > 0) {
        stream_arm_writable(loop, stream);
    } else if (stream->is_device_done && !stream->is_shut) {
        stream->is_shut = true;
        (void)shutdown(stream->fd, SHUT_WR);
    }
    if (stream->association == 0 && stream->is_shut) {
        if (stream->is_upstream_done || loop->is_stopping) {
            stream->is_doomed = true;
            stream_settle_doomed(loop, stream);
            return;
        }
        stream_time(loop, stream); /* what it still says is read: a reset would lose our words */
    }
    stream_arm_receive(loop, stream);
}

void hf_upstream_stream_settle(struct hf_loop *loop)
{
    uint32_t next = loop->upstreams->touched_head;
    loop->upstreams->touched_head = HF_NONE;
    while (next != HF_NONE) {
        struct hf_upstream_stream *stream = &loop->upstreams->streams[next];
        next = stream->touched_next;
        stream->is_touched = false;
        if (stream->is_doomed)
            stream_settle_doomed(loop, stream);
        else
            stream_settle_open(loop, stream);
    }
    loop->is_turn_due |= loop->upstreams->touched_head != HF_NONE;
}

/* Its time is over: connecting, or waiting for the upstream's end. */
static void stream_late(struct hf_loop *loop, struct hf_upstream_stream *stream)
{
    bool is_worth_it = stream->is_connecting &&
                       loop->upstreams->of[stream->upstream].keep_us_max > 0 &&
                       stream->association != 0;
    if (is_worth_it) { /* its completion says that it was refused */
        stream->is_cancel_sent = stream_cancel(loop, stream, HF_OPERATION_UPSTREAM_CONNECT, true);
        if (!stream->is_cancel_sent)
            stream_time(loop, stream);
        return;
    }
    if (stream->is_connecting)
        HF_COUNT(loop, upstream_timeouts, 1);
    stream_break(loop, stream, HF_CLOSE_NOTIFY);
}

void hf_upstream_stream_second(struct hf_loop *loop)
{
    struct hf_upstreams *upstreams = loop->upstreams;
    struct hf_upstream_stream *stream;
    while ((stream = hf_upstream_list_due(upstreams, HF_UPSTREAM_LIST_DEADLINE, loop->now_us)))
        stream_late(loop, stream);
    for (uint32_t i = 0; i < HF_UPSTREAM_RETRIES_MAX; ++i) {
        stream = hf_upstream_list_due(upstreams, HF_UPSTREAM_LIST_RETRY, loop->now_us);
        if (!stream)
            return;
        stream->is_retrying = false;
        if (!stream->is_doomed && !stream_connect(loop, stream))
            stream_refused(loop, stream);
    }
}
