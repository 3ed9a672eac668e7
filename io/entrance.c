/**
 * entrance.c - the other way round: plaintext comes to us, from a CSE on this machine, and goes out
 * on associations that we dial. Whom to dial, and when again, is for the embedder to say, who is
 * told what `entered` and joins an association to it.
 *
 * A connection that has come is a stream as those to upstreams are, and once it is joined
 * upstream_stream.c moves its bytes. Until then it is not read from: what it says waits in the
 * kernel. Datagrams of one dialer share one association; the first few wait here for it.
 *
 * Invariant: what waits is bounded, and plaintext leaves by nothing but a joined association.
 */
#include "upstream.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define NAME_STREAM (UINT64_C(1) << 63) /* | generation << 32 | index */
#define KEPT_MAX 8u
#define KEPT_LEN_MAX 1400u

/** Of one dialer whose plaintext is datagrams. */
struct hf_entrance {
    bool is_there;
    bool has_cse;
    hf_association_id association; /* 0: none */
    struct hf_address local, cse;  /* whoever spoke last */
    uint64_t silence_us_max;
    uint64_t owed_us; /* since when the peer has not answered; 0: it has */
    uint32_t kept_count;
    uint16_t kept_lens[KEPT_MAX];
    uint8_t kept[KEPT_MAX][KEPT_LEN_MAX];
};

/* ---- opening and closing ---- */

enum hf_status hf_entrance_open(struct hf_loop *loop, char error[HF_LOOP_ERROR_MAX],
                                const struct hf_loop_config *config)
{
    loop->entrances = calloc(HF_DIALERS_MAX, sizeof *loop->entrances);
    if (!loop->entrances) {
        memcpy(error, "entrance: out of memory", sizeof "entrance: out of memory");
        return HF_E_MEMORY;
    }
    HF_COUNT(loop, memory_len, HF_DIALERS_MAX * sizeof *loop->entrances);
    for (uint32_t i = 0; i < config->socket_count; ++i) {
        const struct hf_loop_socket *socket = &config->sockets[i];
        if (!socket->is_plain)
            continue;
        bool is_stream = socket->transport == HF_TRANSPORT_TLS;
        loop->upstreams->of[hf_upstream_index(socket->listener_index, true)] =
            (struct hf_upstream){.is_there = true, .is_stream = is_stream};
        loop->entrances[socket->listener_index] = (struct hf_entrance){
            .is_there = !is_stream,
            .local = loop->sockets[i].address,
            .silence_us_max = socket->silence_us_max,
        };
    }
    return HF_OK;
}

void hf_entrance_close(struct hf_loop *loop)
{
    free(loop->entrances);
    loop->entrances = NULL;
}

static void tell(struct hf_loop *loop, uint32_t dialer_index, uint64_t name)
{
    if (loop->config.handlers.entered)
        loop->config.handlers.entered(loop, dialer_index, name, loop->config.handlers.arg);
    else
        hf_loop_dismiss(loop, name);
}

/* ---- connections ---- */

static struct hf_upstream_stream *find_stream(const struct hf_loop *loop, uint64_t name)
{
    uint32_t index = (uint32_t)name;
    if (!(name & NAME_STREAM) || !loop->upstreams || index >= loop->upstreams->stream_count)
        return NULL;
    struct hf_upstream_stream *stream = &loop->upstreams->streams[index];
    bool is_same = stream->is_used && stream->is_waiting && !stream->is_doomed &&
                   stream->generation == (uint32_t)(name >> 32 & 0xffffffu);
    return is_same ? stream : NULL;
}

void hf_entrance_accepted(struct hf_loop *loop, const struct hf_socket *socket, int fd)
{
    struct hf_upstream_stream *stream = loop->is_stopping ? NULL : hf_upstream_stream_take(loop);
    if (!stream) {
        HF_COUNT(loop, connections_full, !loop->is_stopping);
        HF_COUNT(loop, connections_refused, loop->is_stopping);
        (void)close(fd);
        return;
    }
    HF_COUNT(loop, entrance_connections, 1);
    stream->fd = fd;
    stream->upstream = (uint8_t)hf_upstream_index(socket->listener_index, true);
    stream->is_waiting = true;
    stream->is_more_there = true; /* most begin to speak at once */
    tell(loop, socket->listener_index,
         NAME_STREAM | (uint64_t)stream->generation << 32 | hf_upstream_stream_index(loop, stream));
}

static enum hf_status join_stream(struct hf_loop *loop, struct hf_upstream_stream *stream,
                                  hf_association_id association)
{
    struct hf_connection *connection = hf_connection_find(loop, association);
    struct hf_association_info info;
    if (!stream || !connection || connection->upstream != 0 || loop->is_stopping ||
        hf_engine_association_info(&info, loop->engine, association) != HF_OK ||
        hf_upstream_index(info.listener_index, info.is_client) != stream->upstream)
        return HF_E_STALE;
    stream->is_waiting = false;
    stream->association = association;
    stream->connection = hf_connection_index(loop, connection);
    connection->upstream = hf_upstream_stream_index(loop, stream) + 1;
    hf_upstream_stream_touch(loop, stream);
    return HF_OK;
}

static void dismiss_stream(struct hf_loop *loop, struct hf_upstream_stream *stream)
{
    static const struct linger now = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(stream->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    stream->is_doomed = true;
    hf_upstream_stream_touch(loop, stream);
}

void hf_entrance_stop(struct hf_loop *loop)
{
    for (uint32_t i = 0; loop->entrances && i < loop->upstreams->stream_count; ++i) {
        struct hf_upstream_stream *stream = &loop->upstreams->streams[i];
        if (stream->is_used && stream->is_waiting && !stream->is_doomed)
            dismiss_stream(loop, stream);
    }
}

/* ---- datagrams ---- */

static struct hf_entrance *find_entrance(const struct hf_loop *loop, uint64_t name)
{
    uint32_t index = (uint32_t)name;
    if (name != hf_loop_datagram_entrance(index) || !loop->entrances || index >= HF_DIALERS_MAX)
        return NULL;
    return loop->entrances[index].is_there ? &loop->entrances[index] : NULL;
}

static void send_on(struct hf_loop *loop, struct hf_entrance *entrance, struct hf_bytes data)
{
    if (hf_loop_send(loop, entrance->association, data) != HF_OK) {
        HF_COUNT(loop, entrance_drops, 1);
    } else if (entrance->owed_us == 0) {
        entrance->owed_us = loop->now_us;
    }
}

static void keep(struct hf_loop *loop, struct hf_entrance *entrance, struct hf_bytes data)
{
    if (entrance->kept_count == KEPT_MAX || data.len > KEPT_LEN_MAX) {
        HF_COUNT(loop, entrance_drops, 1);
        return;
    }
    memcpy(entrance->kept[entrance->kept_count], data.data, data.len);
    entrance->kept_lens[entrance->kept_count++] = (uint16_t)data.len;
}

void hf_entrance_datagram(struct hf_loop *loop, const struct hf_completion *completion)
{
    struct hf_socket *socket = &loop->sockets[completion->index];
    struct hf_entrance *entrance = &loop->entrances[socket->listener_index];
    hf_udp_ended(loop, socket, completion);
    if (!completion->data || loop->is_stopping)
        return;
    HF_COUNT(loop, entrance_datagrams_in, 1);
    if (completion->is_truncated) {
        HF_COUNT(loop, entrance_drops, 1);
        return;
    }
    if (completion->len == 0) /* says nothing to anybody */
        return;
    struct hf_bytes data = {completion->data, completion->len};
    hf_socket_address_load(&entrance->cse, completion->name);
    entrance->has_cse = true;
    if (entrance->association != 0) {
        send_on(loop, entrance, data);
        return;
    }
    keep(loop, entrance, data);
    tell(loop, socket->listener_index, hf_loop_datagram_entrance(socket->listener_index));
}

static enum hf_status join_datagrams(struct hf_loop *loop, struct hf_entrance *entrance,
                                     hf_association_id association)
{
    struct hf_association_info info;
    uint32_t index = (uint32_t)(entrance - loop->entrances);
    if (entrance->association != 0 ||
        hf_engine_association_info(&info, loop->engine, association) != HF_OK || !info.is_client ||
        info.listener_index != index)
        return HF_E_STALE;
    entrance->association = association;
    entrance->owed_us = 0;
    for (uint32_t i = 0; i < entrance->kept_count; ++i)
        send_on(loop, entrance, (struct hf_bytes){entrance->kept[i], entrance->kept_lens[i]});
    entrance->kept_count = 0;
    return HF_OK;
}

void hf_entrance_event(struct hf_loop *loop, const struct hf_event *event)
{
    struct hf_entrance *entrance = &loop->entrances[event->listener_index];
    bool is_ended = event->kind == HF_EVENT_CLOSED || event->kind == HF_EVENT_HANDSHAKE_FAILED;
    if (entrance->association == 0 || event->association != entrance->association)
        return;
    if (is_ended)
        entrance->association = 0;
    if (event->kind != HF_EVENT_DATA)
        return;
    entrance->owed_us = 0;
    if (!entrance->has_cse) {
        HF_COUNT(loop, entrance_drops, 1);
        return;
    }
    HF_COUNT(loop, entrance_datagrams_out, 1);
    const struct hf_output output = {.path = {.peer = entrance->cse, .local = entrance->local},
                                     .data = event->data};
    hf_udp_send(loop, &output);
}

void hf_entrance_second(struct hf_loop *loop)
{
    for (uint32_t i = 0; loop->entrances && i < loop->dialer_count; ++i) {
        struct hf_entrance *entrance = &loop->entrances[i];
        if (entrance->association == 0 || entrance->silence_us_max == 0 || entrance->owed_us == 0 ||
            loop->now_us - entrance->owed_us < entrance->silence_us_max)
            continue;
        hf_association_id association = entrance->association;
        entrance->association = 0;
        hf_loop_end(loop, association, HF_CLOSE_SILENT);
    }
}

/* ---- either ---- */

enum hf_status hf_loop_join(struct hf_loop *loop, uint64_t entrance, hf_association_id association)
{
    struct hf_entrance *datagrams = find_entrance(loop, entrance);
    if (datagrams)
        return join_datagrams(loop, datagrams, association);
    return join_stream(loop, find_stream(loop, entrance), association);
}

bool hf_loop_is_joined(struct hf_loop *loop, hf_association_id association)
{
    const struct hf_connection *connection = hf_connection_find(loop, association);
    return connection && connection->upstream != 0;
}

void hf_loop_dismiss(struct hf_loop *loop, uint64_t entrance)
{
    struct hf_entrance *datagrams = find_entrance(loop, entrance);
    struct hf_upstream_stream *stream = find_stream(loop, entrance);
    if (datagrams) {
        HF_COUNT(loop, entrance_drops, datagrams->kept_count);
        datagrams->kept_count = 0;
    } else if (stream) {
        dismiss_stream(loop, stream);
    }
}
