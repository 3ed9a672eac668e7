/**
 * handover.c - see handover.h. A parcel is numbered fields, {number (2), length (4), bytes},
 * numbers as 8 bytes: whoever does not know a field passes over it, a missing one has its default.
 */
#include "handover.h"

#include "upstream.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum field {
    FIELD_INDEX = 1,
    FIELD_GENERATION,
    FIELD_ASSOCIATION,
    FIELD_SOCKET,
    FIELD_FLAGS,
    FIELD_END_HOW,
    FIELD_QUEUE,  /* sealed, not sent */
    FIELD_PLAIN,  /* not sealed */
    FIELD_UNREAD, /* not looked at */
    FIELD_STREAM_INDEX = 32,
    FIELD_STREAM_LISTENER,
    FIELD_STREAM_FLAGS,
    FIELD_STREAM_QUEUE,
    FIELD_STREAM_HEARD_US,   /* ago */
    FIELD_STREAM_GIVE_UP_US, /* from now */
};

#define FIELD_HEADER_LEN 6u

/* Numbers on the wire, for ever. */
enum {
    FLAG_NEW = 1 << 0,
    FLAG_BLOCKED = 1 << 1,
    FLAG_PEER_DONE = 1 << 2,
    FLAG_AT_END = 1 << 3,
    FLAG_END_TOLD = 1 << 4,
    FLAG_BROKEN = 1 << 5,
    FLAG_ENDING = 1 << 6,
    FLAG_CLOSING = 1 << 7,
    FLAG_SHUT = 1 << 8,
    FLAG_MASKED = 1 << 9,

    STREAM_RETRYING = 1 << 0,
    STREAM_OWED = 1 << 1,
    STREAM_DEVICE_DONE = 1 << 2,
    STREAM_SHUT = 1 << 3,
    STREAM_UPSTREAM_DONE = 1 << 4,
};

/* ---- sockets ------------------------------------------------------------------------------ */

size_t hf_loop_descriptors(int out[HF_LOOP_DESCRIPTORS_MAX], const struct hf_loop *loop)
{
    size_t count = 0;
    const struct hf_upstream_datagrams *datagrams =
        loop->upstreams ? loop->upstreams->datagrams : NULL;
    for (uint32_t i = 0; i < loop->socket_count; ++i)
        out[count++] = loop->sockets[i].fd;
    for (uint32_t i = 0; i < HF_UPSTREAM_SOCKETS; ++i)
        out[count++] = datagrams ? datagrams->fds[i] : -1;
    return count;
}

/* ---- giving ------------------------------------------------------------------------------- */

static void put_header(uint8_t **at, enum field field, size_t len)
{
    uint8_t *out = *at;
    out[0] = 0;
    out[1] = (uint8_t)field;
    for (int i = 0; i < 4; ++i)
        out[2 + i] = (uint8_t)(len >> (24 - 8 * i));
    *at = out + FIELD_HEADER_LEN;
}

static void put_number(uint8_t **at, enum field field, uint64_t value)
{
    put_header(at, field, 8);
    for (int i = 0; i < 8; ++i)
        *(*at)++ = (uint8_t)(value >> (56 - 8 * i));
}

static void put_block(uint8_t **at, enum field field, const struct hf_block *block)
{
    uint32_t len = hf_backlog_len(block);
    put_header(at, field, len);
    if (len > 0)
        memcpy(*at, block->data + block->start, len);
    *at += len;
}

static uint64_t connection_flags(const struct hf_connection *connection)
{
    return (connection->is_new ? FLAG_NEW : 0u) | (connection->is_blocked ? FLAG_BLOCKED : 0u) |
           (connection->is_peer_done ? FLAG_PEER_DONE : 0u) |
           (connection->is_at_end ? FLAG_AT_END : 0u) |
           (connection->is_end_told ? FLAG_END_TOLD : 0u) |
           (connection->is_broken ? FLAG_BROKEN : 0u) | (connection->is_ending ? FLAG_ENDING : 0u) |
           (connection->is_closing ? FLAG_CLOSING : 0u) | (connection->is_shut ? FLAG_SHUT : 0u) |
           (connection->is_masked ? FLAG_MASKED : 0u);
}

static void put_connection(uint8_t **at, const struct hf_loop *loop,
                           const struct hf_connection *connection)
{
    put_number(at, FIELD_INDEX, hf_connection_index(loop, connection));
    put_number(at, FIELD_GENERATION, connection->generation);
    put_number(at, FIELD_ASSOCIATION, connection->association);
    put_number(at, FIELD_SOCKET, connection->socket_index);
    put_number(at, FIELD_FLAGS, connection_flags(connection));
    put_number(at, FIELD_END_HOW, connection->end_how);
    put_block(at, FIELD_QUEUE, connection->queue);
    put_block(at, FIELD_PLAIN, connection->plain);
    put_block(at, FIELD_UNREAD, connection->unread);
}

static void put_stream(uint8_t **at, const struct hf_loop *loop,
                       const struct hf_upstream_stream *stream)
{
    uint64_t flags =
        (stream->is_retrying ? STREAM_RETRYING : 0u) | (stream->is_owed ? STREAM_OWED : 0u) |
        (stream->is_device_done ? STREAM_DEVICE_DONE : 0u) | (stream->is_shut ? STREAM_SHUT : 0u) |
        (stream->is_upstream_done ? STREAM_UPSTREAM_DONE : 0u);
    put_number(at, FIELD_STREAM_INDEX, (uint64_t)(stream - loop->upstreams->streams));
    put_number(at, FIELD_STREAM_LISTENER, stream->upstream);
    put_number(at, FIELD_STREAM_FLAGS, flags);
    put_block(at, FIELD_STREAM_QUEUE, stream->queue);
    if (stream->heard_us != 0)
        put_number(at, FIELD_STREAM_HEARD_US, loop->now_us - stream->heard_us);
    if (stream->give_up_us != 0)
        put_number(at, FIELD_STREAM_GIVE_UP_US,
                   stream->give_up_us > loop->now_us ? stream->give_up_us - loop->now_us : 0);
}

static bool is_established(const struct hf_loop *loop, hf_association_id association)
{
    struct hf_association_entry entry;
    uint32_t slot = (uint32_t)(association >> 32) & 0xffffffu;
    return hf_engine_next_association(&entry, &slot, loop->engine, slot + 1) &&
           entry.association == association && entry.established;
}

static bool can_go(const struct hf_loop *loop, const struct hf_connection *connection)
{
    if (!connection->is_used || connection->fd < 0 || connection->is_doomed || connection->dial)
        return false;
    if (connection->association == 0)
        return connection->is_new || connection->is_masked || connection->is_closing;
    return is_established(loop, connection->association);
}

static const struct hf_upstream_stream *stream_of(const struct hf_loop *loop,
                                                  const struct hf_connection *connection)
{
    const struct hf_upstream_stream *stream =
        connection->upstream == 0 || !loop->upstreams
            ? NULL
            : &loop->upstreams->streams[connection->upstream - 1];
    return stream && !stream->is_doomed ? stream : NULL;
}

static bool make_parcel(struct hf_loop_parcel *out, const struct hf_loop *loop,
                        const struct hf_connection *connection,
                        const struct hf_upstream_stream *stream)
{
    size_t max = 20 * (FIELD_HEADER_LEN + 8);
    if (connection)
        max += (size_t)hf_backlog_len(connection->queue) + hf_backlog_len(connection->plain) +
               hf_backlog_len(connection->unread);
    if (stream)
        max += hf_backlog_len(stream->queue);
    *out = (struct hf_loop_parcel){.data = max <= HF_LOOP_PARCEL_MAX ? malloc(max) : NULL};
    if (!out->data)
        return false;
    uint8_t *at = out->data;
    if (connection) {
        put_connection(&at, loop, connection);
        out->fds[out->fd_count++] = connection->fd;
    }
    if (stream) {
        put_stream(&at, loop, stream);
        if (stream->fd >= 0)
            out->fds[out->fd_count++] = stream->fd;
    }
    out->len = (size_t)(at - out->data);
    return true;
}

/* Streams that only flush what a device has said come behind all connections. */
bool hf_loop_give(struct hf_loop_parcel *out, struct hf_loop *loop, uint64_t *cursor)
{
    uint32_t stream_count = loop->upstreams ? loop->upstreams->stream_count : 0;
    while (*cursor < loop->connection_count) {
        const struct hf_connection *connection = &loop->connections[(*cursor)++];
        if (can_go(loop, connection) &&
            make_parcel(out, loop, connection, stream_of(loop, connection)))
            return true;
    }
    while (*cursor - loop->connection_count < stream_count) {
        const struct hf_upstream_stream *stream =
            &loop->upstreams->streams[(*cursor)++ - loop->connection_count];
        if (stream->is_used && stream->association == 0 && !stream->is_doomed &&
            !stream->is_waiting && stream->fd >= 0 && make_parcel(out, loop, NULL, stream))
            return true;
    }
    return false;
}

void hf_loop_parcel_wipe(struct hf_loop_parcel *parcel)
{
    if (parcel->data)
        explicit_bzero(parcel->data, parcel->len);
    free(parcel->data);
    parcel->data = NULL;
}

/* ---- taking ------------------------------------------------------------------------------- */

static bool find(struct hf_bytes *out, struct hf_bytes parcel, enum field field)
{
    size_t at = 0;
    while (parcel.len - at >= FIELD_HEADER_LEN) {
        const uint8_t *head = parcel.data + at;
        size_t len = (size_t)head[2] << 24 | (size_t)head[3] << 16 | (size_t)head[4] << 8 | head[5];
        at += FIELD_HEADER_LEN;
        if (len > parcel.len - at)
            return false;
        if (head[0] == 0 && head[1] == field) {
            *out = (struct hf_bytes){parcel.data + at, len};
            return true;
        }
        at += len;
    }
    return false;
}

static uint64_t number(struct hf_bytes parcel, enum field field, uint64_t fallback)
{
    struct hf_bytes value;
    uint64_t sum = 0;
    if (!find(&value, parcel, field) || value.len != 8)
        return fallback;
    for (int i = 0; i < 8; ++i)
        sum = sum << 8 | value.data[i];
    return sum;
}

static bool restore(struct hf_loop *loop, struct hf_block **block, struct hf_bytes parcel,
                    enum field field)
{
    struct hf_bytes value;
    return !find(&value, parcel, field) || value.len == 0 || hf_backlog_append(loop, block, value);
}

static void set_flags(struct hf_connection *connection, uint64_t flags)
{
    connection->is_new = (flags & FLAG_NEW) != 0;
    connection->is_blocked = (flags & FLAG_BLOCKED) != 0;
    connection->is_peer_done = (flags & FLAG_PEER_DONE) != 0;
    connection->is_at_end = (flags & FLAG_AT_END) != 0;
    connection->is_end_told = (flags & FLAG_END_TOLD) != 0;
    connection->is_broken = (flags & FLAG_BROKEN) != 0;
    connection->is_ending = (flags & FLAG_ENDING) != 0;
    connection->is_closing = (flags & FLAG_CLOSING) != 0;
    connection->is_shut = (flags & FLAG_SHUT) != 0;
    connection->is_masked = (flags & FLAG_MASKED) != 0;
}

static enum hf_status take_connection(struct hf_connection **out, struct hf_loop *loop,
                                      struct hf_bytes parcel, int fd)
{
    uint64_t index = number(parcel, FIELD_INDEX, UINT64_MAX);
    uint64_t socket_index = number(parcel, FIELD_SOCKET, UINT64_MAX);
    hf_association_id association = number(parcel, FIELD_ASSOCIATION, 0);
    if (index >= loop->config.connections_max)
        return HF_E_ASSOCIATION_LIMIT;
    if (socket_index >= loop->socket_count || loop->connections[index].is_used)
        return HF_E_ARGUMENT;
    if (association != 0 && !is_established(loop, association))
        return HF_E_STALE;
    struct hf_connection *connection = &loop->connections[index];
    *connection = (struct hf_connection){
        .fd = fd,
        .generation = (uint32_t)number(parcel, FIELD_GENERATION, 0) & 0xffffffu,
        .socket_index = (uint8_t)socket_index,
        .end_how = (uint8_t)number(parcel, FIELD_END_HOW, 0),
        .is_used = true,
        .is_more_there = true,
    };
    set_flags(connection, number(parcel, FIELD_FLAGS, 0));
    if (index >= loop->connection_count) {
        HF_COUNT(loop, memory_len, (index + 1 - loop->connection_count) * sizeof *connection);
        loop->connection_count = (uint32_t)index + 1;
    }
    HF_COUNT(loop, connections, 1);
    if (association != 0)
        hf_connection_link(loop, connection, association);
    *out = connection;
    bool is_whole = restore(loop, &connection->queue, parcel, FIELD_QUEUE) &&
                    restore(loop, &connection->plain, parcel, FIELD_PLAIN) &&
                    restore(loop, &connection->unread, parcel, FIELD_UNREAD);
    HF_COUNT(loop, send_queue_len,
             hf_backlog_len(connection->queue) + hf_backlog_len(connection->plain));
    /* With a hole in it the stream cannot be saved. */
    connection->is_broken |= !is_whole;
    connection->is_at_end |= !is_whole;
    hf_connection_touch(loop, connection);
    if (connection->is_new || connection->is_masked)
        hf_connection_resume(loop, connection);
    return HF_OK;
}

static enum hf_status take_stream(struct hf_loop *loop, struct hf_connection *connection,
                                  struct hf_bytes parcel, int fd)
{
    uint64_t listener = number(parcel, FIELD_STREAM_LISTENER, UINT64_MAX);
    uint64_t flags = number(parcel, FIELD_STREAM_FLAGS, 0);
    if (!loop->upstreams || !loop->upstreams->streams ||
        listener >= HF_LISTENERS_MAX + HF_DIALERS_MAX || !loop->upstreams->of[listener].is_there ||
        !loop->upstreams->of[listener].is_stream)
        return HF_E_ARGUMENT;
    struct hf_upstream_stream *stream = hf_upstream_stream_take(loop);
    if (!stream)
        return HF_E_ASSOCIATION_LIMIT;
    uint64_t give_up_us = number(parcel, FIELD_STREAM_GIVE_UP_US, UINT64_MAX);
    uint64_t heard_us = number(parcel, FIELD_STREAM_HEARD_US, UINT64_MAX);
    stream->fd = fd;
    stream->upstream = (uint8_t)listener;
    stream->is_owed = (flags & STREAM_OWED) != 0;
    stream->is_device_done = (flags & STREAM_DEVICE_DONE) != 0;
    stream->is_shut = (flags & STREAM_SHUT) != 0;
    stream->is_upstream_done = (flags & STREAM_UPSTREAM_DONE) != 0;
    stream->is_more_there = true;
    stream->give_up_us = give_up_us == UINT64_MAX ? 0 : loop->now_us + give_up_us;
    stream->heard_us = heard_us < loop->now_us ? loop->now_us - heard_us : 0;
    if (connection) {
        stream->association = connection->association;
        stream->connection = hf_connection_index(loop, connection);
        connection->upstream = hf_upstream_stream_index(loop, stream) + 1;
    }
    if (!restore(loop, &stream->queue, parcel, FIELD_STREAM_QUEUE) && connection)
        connection->is_broken = connection->is_at_end = true;
    hf_upstream_restore(loop, stream);
    return HF_OK;
}

enum hf_status hf_loop_take(struct hf_loop *loop, struct hf_bytes data, const int *fds,
                            size_t fd_count)
{
    struct hf_bytes value;
    struct hf_connection *connection = NULL;
    bool has_connection = find(&value, data, FIELD_INDEX);
    bool has_stream = find(&value, data, FIELD_STREAM_INDEX);
    bool is_retrying = (number(data, FIELD_STREAM_FLAGS, 0) & STREAM_RETRYING) != 0;
    size_t expected = (has_connection ? 1u : 0u) + (has_stream && !is_retrying ? 1u : 0u);
    if ((!has_connection && !has_stream) || fd_count != expected)
        return HF_E_DECODE;
    enum hf_status status = HF_OK;
    if (has_connection)
        status = take_connection(&connection, loop, data, fds[0]);
    if (status != HF_OK || !has_stream)
        return status;
    int fd = is_retrying ? -1 : fds[fd_count - 1];
    status = take_stream(loop, connection, data, fd);
    if (status == HF_OK || !connection)
        return status;
    /* The device is here, its upstream is not: it ends, as if the upstream had broken. */
    if (fd >= 0)
        (void)close(fd);
    connection->is_broken = connection->is_at_end = true;
    return HF_OK;
}

void hf_loop_take_end(struct hf_loop *loop)
{
    for (uint32_t i = loop->connection_count; i > 0; --i) {
        struct hf_connection *connection = &loop->connections[i - 1];
        if (connection->is_used)
            continue;
        connection->hash_next = loop->free_head;
        loop->free_head = i - 1;
    }
    hf_loop_note_all(loop);
    loop->is_turn_due = true;
}
