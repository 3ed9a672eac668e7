/**
 * tcp.c - streams: accepting, receiving into the engine, sending what it has sealed, back-pressure.
 *
 * A receive is armed for one buffer at a time, when the last one has been taken whole and the peer
 * does not let more than send_queue_len_high bytes wait for it: so nothing has to be cancelled to
 * stop reading, and a stranger never makes us keep more than a buffer. (A multishot receive saves
 * the arming, but costs the same again to end, and a walk of the kernel's list of all connections.)
 * Sending is tried at once with send(2); only what the kernel does not take is copied and waits for
 * POLLOUT.
 *
 * Invariant: there are unread bytes only while no receive is armed. The kernel never holds a
 * pointer into a send queue.
 */
#include "proxy.h"
#include "upstream.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* What a record adds at most: header, explicit IV, MAC, padding of CBC-SHA256. */
#define RECORD_OVERHEAD 72u
#define RECORD_LEN_MIN 512u /* the smallest maximum a peer may ask for (RFC 6066 4) */

/* ---- accepting ---- */

void hf_tcp_arm(struct hf_loop *loop)
{
    for (uint32_t i = 0; i < loop->socket_count; ++i) {
        struct hf_socket *socket = &loop->sockets[i];
        if (socket->transport != HF_TRANSPORT_TLS || socket->is_armed || socket->fd < 0 ||
            loop->is_stopping || loop->is_freezing || loop->is_draining ||
            loop->now_us < socket->pause_until_us)
            continue;
        struct hf_target target = {socket->fd, HF_OPERATION_ACCEPT, i, 0};
        if (!loop->backend->accept(loop, target))
            return;
        socket->pause_until_us = 0;
        socket->is_armed = true;
    }
}

static bool tcp_path(struct hf_path *out, const struct hf_socket *socket, int fd)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    if (getpeername(fd, (struct sockaddr *)&address, &len) != 0)
        return false; /* reset before it was accepted */
    hf_socket_address_load(&out->peer, &address);
    out->local = socket->address;
    len = sizeof address;
    if (socket->is_wildcard && getsockname(fd, (struct sockaddr *)&address, &len) == 0)
        hf_socket_address_load(&out->local, &address);
    return true;
}

static bool tcp_is_trusted(const struct hf_socket *socket, const struct hf_address *peer)
{
    bool is_trusted = false;
    for (uint32_t i = 0; i < socket->trusted_count && !is_trusted; ++i)
        is_trusted = hf_prefix_holds(&socket->trusted[i], peer);
    return is_trusted;
}

static void tcp_refuse(struct hf_loop *loop, struct hf_connection *connection,
                       enum hf_status status)
{
    HF_COUNT(loop, connections_refused, 1);
    if (loop->config.handlers.refused && !loop->is_stopping)
        loop->config.handlers.refused(loop, loop->sockets[connection->socket_index].listener_index,
                                      status, loop->config.handlers.arg);
    hf_connection_doom(loop, connection);
}

/* Puts the peer that a balancer names in its own place. HF_WAITING: it has not said all. */
static enum hf_status tcp_unmask(struct hf_path *path, size_t *out_len,
                                 const struct hf_connection *connection)
{
    struct hf_proxy_header header;
    const struct hf_block *unread = connection->unread;
    struct hf_bytes said = {unread ? unread->data + unread->start : NULL, hf_backlog_len(unread)};
    enum hf_status status = hf_proxy_read(&header, said);
    if (status == HF_WAITING && connection->is_at_end)
        return HF_E_TRUNCATED;
    if (status != HF_OK)
        return status;
    if (header.has_peer)
        path->peer = header.peer;
    *out_len = header.len;
    return HF_OK;
}

/* Makes it known to the engine, which may be full: then again in its next turn. */
static void tcp_introduce(struct hf_loop *loop, struct hf_connection *connection)
{
    const struct hf_socket *socket = &loop->sockets[connection->socket_index];
    struct hf_path path;
    size_t header_len = 0;
    hf_association_id association;
    enum hf_status status = HF_E_STATE;
    uint64_t user = (uint64_t)connection->generation << 32 | hf_connection_index(loop, connection);
    if (tcp_path(&path, socket, connection->fd) && !loop->is_stopping)
        status = connection->is_masked ? tcp_unmask(&path, &header_len, connection) : HF_OK;
    if (status == HF_WAITING) { /* for the rest of its header, so long at most */
        hf_connection_linger(loop, connection);
        hf_connection_touch(loop, connection);
        return;
    }
    if (status == HF_OK)
        status = hf_engine_accept(&association, loop->engine, socket->listener_index, &path, user);
    connection->is_new = status == HF_WAITING;
    if (status == HF_OK) {
        if (connection->is_masked) {
            hf_connection_unlinger(loop, connection);
            connection->unread->start += (uint32_t)header_len;
            if (hf_backlog_len(connection->unread) == 0)
                hf_backlog_drop(loop, &connection->unread);
            connection->is_masked = false;
            HF_COUNT(loop, proxy_headers, 1);
        }
        HF_COUNT(loop, accepts, 1);
        hf_connection_link(loop, connection, association);
        connection->is_more_there = true; /* most begin to speak at once */
        hf_connection_touch(loop, connection);
    } else if (status == HF_WAITING) {
        hf_connection_resume(loop, connection);
    } else {
        tcp_refuse(loop, connection, status);
    }
}

/* A new connection, from a peer or from a balancer that first says for whom it speaks. */
static void tcp_begin(struct hf_loop *loop, struct hf_connection *connection)
{
    const struct hf_socket *socket = &loop->sockets[connection->socket_index];
    struct hf_path path;
    connection->is_masked = socket->trusted_count > 0 && tcp_path(&path, socket, connection->fd) &&
                            tcp_is_trusted(socket, &path.peer);
    tcp_introduce(loop, connection);
}

void hf_tcp_accepted(struct hf_loop *loop, const struct hf_completion *completion)
{
    int result = completion->result;
    struct hf_socket *socket = &loop->sockets[completion->index];
    if (!completion->is_armed)
        socket->is_armed = false;
    if (result >= 0 && socket->is_plain) {
        hf_entrance_accepted(loop, socket, result);
        return;
    }
    if (result >= 0) {
        struct hf_connection *connection =
            loop->is_stopping ? NULL : hf_connection_take(loop, result, completion->index);
        if (connection) {
            tcp_begin(loop, connection);
        } else {
            HF_COUNT(loop, connections_full, !loop->is_stopping);
            HF_COUNT(loop, connections_refused, loop->is_stopping);
            (void)close(result);
        }
        return;
    }
    if (result == -ECANCELED || loop->is_stopping)
        return;
    HF_COUNT(loop, accept_errors, 1);
    /* A connection that died while it waited is no reason to wait; no descriptors, no memory are:
     * the next try would fail at once, and so on. */
    if (result != -ECONNABORTED && result != -EPROTO && result != -EINTR)
        socket->pause_until_us = loop->now_us + HF_ACCEPT_PAUSE_US;
}

/* ---- receiving ---- */

static bool tcp_is_slow(const struct hf_loop *loop, const struct hf_connection *connection)
{
    uint32_t high = loop->config.send_queue_len_high;
    uint32_t limit = connection->is_paused ? high / 2 : high;
    return hf_connection_backlog(connection) >= limit || hf_upstream_is_slow(loop, connection);
}

static uint32_t tcp_feed(struct hf_loop *loop, struct hf_connection *connection, uint8_t *data,
                         uint32_t len)
{
    size_t consumed = 0;
    enum hf_status status =
        hf_engine_receive_stream(loop->engine, &consumed, connection->association, data, len);
    if (status != HF_OK && status != HF_WAITING)
        return len; /* the association is gone: HF_EVENT_CLOSED is on its way */
    /* If it is not merely full, it will tell when to try again. */
    connection->is_blocked = status == HF_WAITING && hf_engine_has_event_room(loop->engine);
    return (uint32_t)consumed;
}

static void tcp_break(struct hf_loop *loop, struct hf_connection *connection)
{
    connection->is_broken = true;
    connection->is_at_end = true;
    hf_connection_touch(loop, connection);
}

static void tcp_take(struct hf_loop *loop, struct hf_connection *connection, uint8_t *data,
                     uint32_t len)
{
    if (connection->is_closing || connection->is_doomed || connection->is_broken)
        return;
    if (connection->is_masked) {
        if (hf_backlog_append(loop, &connection->unread, (struct hf_bytes){data, len}))
            tcp_introduce(loop, connection);
        else
            tcp_break(loop, connection);
        return;
    }
    uint32_t consumed = tcp_feed(loop, connection, data, len);
    if (consumed == len)
        return;
    connection->view = data + consumed;
    connection->view_len = len - consumed;
    hf_connection_view(loop, connection);
}

static uint32_t tcp_unread_len(const struct hf_connection *connection)
{
    return connection->view_len + hf_backlog_len(connection->unread);
}

static void tcp_tell_end(struct hf_loop *loop, struct hf_connection *connection)
{
    if (connection->is_end_told || connection->association == 0)
        return;
    connection->is_end_told = true;
    hf_engine_receive_end(loop->engine, connection->association);
    /* Nobody is there to send to: no half-open association stays behind. */
    if (connection->is_broken)
        hf_engine_close_association(loop->engine, connection->association, HF_CLOSE_SILENT);
}

void hf_tcp_received(struct hf_loop *loop, const struct hf_completion *completion)
{
    int result = completion->result;
    struct hf_connection *connection =
        hf_connection_at(loop, completion->index, completion->generation);
    if (!connection)
        return;
    hf_connection_touch(loop, connection);
    connection->is_receive_armed = false;
    connection->is_more_there = result == -ENOBUFS || completion->is_more_there;
    if (completion->data) {
        tcp_take(loop, connection, completion->data, completion->len);
    } else if (result == 0) {
        connection->is_at_end = true;
        if (tcp_unread_len(connection) == 0)
            tcp_tell_end(loop, connection);
    } else if (result == -ENOBUFS) {
        HF_COUNT(loop, receive_buffers_empty, 1);
    } else if (result < 0 && result != -ECANCELED && result != -EINTR && result != -EAGAIN) {
        tcp_break(loop, connection);
    }
}

static void tcp_resume_unread(struct hf_loop *loop, struct hf_connection *connection)
{
    if (connection->is_blocked || tcp_unread_len(connection) == 0)
        return;
    uint32_t consumed;
    if (connection->view_len > 0) {
        consumed = tcp_feed(loop, connection, connection->view, connection->view_len);
        connection->view += consumed;
        connection->view_len -= consumed;
    } else {
        struct hf_block *unread = connection->unread;
        consumed =
            tcp_feed(loop, connection, unread->data + unread->start, unread->end - unread->start);
        unread->start += consumed;
        if (unread->start == unread->end)
            hf_backlog_drop(loop, &connection->unread);
    }
}

/* ---- sending ---- */

static uint32_t tcp_sealed_len(size_t len)
{
    return (uint32_t)(len + RECORD_OVERHEAD * (1 + len / RECORD_LEN_MIN));
}

/* Takes as much as the engine has room for. */
static enum hf_status tcp_seal(size_t *taken, struct hf_loop *loop,
                               struct hf_connection *connection, struct hf_bytes data)
{
    *taken = 0;
    while (*taken < data.len) {
        struct hf_bytes part = {data.data + *taken, data.len - *taken};
        if (part.len > HF_STREAM_CHUNK_MAX)
            part.len = HF_STREAM_CHUNK_MAX;
        enum hf_status status = hf_engine_send(loop->engine, connection->association, part);
        if (status != HF_OK)
            return status;
        connection->turn_out_len += tcp_sealed_len(part.len);
        *taken += part.len;
    }
    return HF_OK;
}

enum hf_status hf_tcp_send(struct hf_loop *loop, struct hf_connection *connection,
                           struct hf_bytes data)
{
    if (connection->is_ending)
        return HF_E_STATE;
    if (data.len > loop->config.send_queue_len_max ||
        tcp_sealed_len(data.len) > loop->config.send_queue_len_max)
        return HF_E_TOO_LONG;
    if (hf_connection_backlog(connection) + tcp_sealed_len(data.len) >
        loop->config.send_queue_len_max)
        return HF_WAITING;
    hf_connection_touch(loop, connection);
    size_t taken = 0;
    if (hf_backlog_len(connection->plain) == 0) {
        enum hf_status status = tcp_seal(&taken, loop, connection, data);
        if (status != HF_WAITING)
            return status;
    }
    struct hf_bytes rest = {data.data + taken, data.len - taken};
    if (!hf_backlog_append(loop, &connection->plain, rest)) {
        if (taken > 0) /* half of it is on its way: the stream cannot be saved */
            tcp_break(loop, connection);
        return taken > 0 ? HF_E_MEMORY : HF_WAITING;
    }
    HF_COUNT(loop, send_queue_len, rest.len);
    return HF_OK;
}

void hf_tcp_end(struct hf_loop *loop, struct hf_connection *connection, enum hf_close how)
{
    hf_connection_touch(loop, connection);
    if (how != HF_CLOSE_SILENT && hf_backlog_len(connection->plain) > 0) {
        connection->is_ending = true;
        connection->end_how = (uint8_t)how;
        return;
    }
    hf_engine_close_association(loop->engine, connection->association, how);
}

static void tcp_resume_plain(struct hf_loop *loop, struct hf_connection *connection)
{
    struct hf_block *plain = connection->plain;
    if (!plain)
        return;
    size_t taken = 0;
    struct hf_bytes data = {plain->data + plain->start, plain->end - plain->start};
    enum hf_status status = tcp_seal(&taken, loop, connection, data);
    plain->start += (uint32_t)taken;
    if (status != HF_OK && status != HF_WAITING)
        plain->start = plain->end; /* it can never be sent */
    HF_COUNT(loop, send_queue_len, -(uint64_t)(data.len - hf_backlog_len(plain)));
    if (plain->start < plain->end)
        return;
    hf_backlog_drop(loop, &connection->plain);
    if (connection->is_ending)
        hf_engine_close_association(loop->engine, connection->association,
                                    (enum hf_close)connection->end_how);
}

/* How much the kernel took; breaks the connection if it never will take more. */
static size_t tcp_push(struct hf_loop *loop, struct hf_connection *connection, struct hf_bytes data)
{
    ssize_t count;
    /* The last words wait for the FIN, which follows at once: one packet instead of two. */
    int more = connection->is_closing ? MSG_MORE : 0;
    do
        count = send(connection->fd, data.data, data.len, MSG_DONTWAIT | MSG_NOSIGNAL | more);
    while (count < 0 && errno == EINTR);
    if (count >= 0)
        return (size_t)count;
    if (errno != EAGAIN && errno != EWOULDBLOCK && errno != ENOBUFS && errno != ENOMEM)
        tcp_break(loop, connection);
    return 0;
}

void hf_tcp_output(struct hf_loop *loop, const struct hf_output *output)
{
    struct hf_connection *connection =
        hf_connection_at(loop, (uint32_t)output->user, (uint32_t)(output->user >> 32));
    if (!connection || connection->is_broken || connection->is_doomed)
        return;
    hf_connection_touch(loop, connection);
    struct hf_bytes data = output->data;
    if (hf_backlog_len(connection->queue) == 0) {
        size_t pushed = tcp_push(loop, connection, data);
        data.data += pushed;
        data.len -= pushed;
    }
    if (data.len == 0 || connection->is_broken)
        return;
    if (hf_backlog_append(loop, &connection->queue, data))
        HF_COUNT(loop, send_queue_len, data.len);
    else
        tcp_break(loop, connection);
}

void hf_tcp_writable(struct hf_loop *loop, const struct hf_completion *completion)
{
    struct hf_connection *connection =
        hf_connection_at(loop, completion->index, completion->generation);
    if (!connection)
        return;
    connection->is_writable_armed = false;
    hf_connection_touch(loop, connection);
    if (connection->dial && !connection->is_doomed) {
        hf_dial_go_on(loop, connection);
        return;
    }
    struct hf_block *queue = connection->queue;
    if (!queue || connection->is_broken || connection->is_doomed)
        return;
    struct hf_bytes data = {queue->data + queue->start, queue->end - queue->start};
    size_t pushed = tcp_push(loop, connection, data);
    queue->start += (uint32_t)pushed;
    HF_COUNT(loop, send_queue_len, -(uint64_t)pushed);
    if (queue->start == queue->end)
        hf_backlog_drop(loop, &connection->queue);
}

/* ---- between the turns ---- */

void hf_tcp_resume(struct hf_loop *loop)
{
    uint32_t list = loop->resume_head;
    loop->resume_head = HF_NONE;
    struct hf_connection *connection;
    while ((connection = hf_connection_next_resuming(loop, &list)) != NULL) {
        if (connection->dial) {
            hf_dial_go_on(loop, connection);
            continue;
        }
        if (connection->is_new) {
            tcp_introduce(loop, connection);
            continue;
        }
        hf_connection_touch(loop, connection);
        if (connection->association == 0)
            continue;
        if (connection->is_broken) {
            tcp_tell_end(loop, connection);
            continue;
        }
        tcp_resume_plain(loop, connection);
        tcp_resume_unread(loop, connection);
        if (connection->is_at_end && tcp_unread_len(connection) == 0)
            tcp_tell_end(loop, connection);
    }
}

void hf_tcp_event(struct hf_loop *loop, const struct hf_event *event)
{
    struct hf_connection *connection = hf_connection_find(loop, event->association);
    if (!connection)
        return;
    hf_connection_touch(loop, connection);
    switch (event->kind) {
    case HF_EVENT_READABLE:
        connection->is_blocked = false;
        break;
    case HF_EVENT_CLOSED:
    case HF_EVENT_HANDSHAKE_FAILED:
        hf_connection_unlink(loop, connection);
        connection->is_closing = true;
        connection->is_peer_done |= event->failure.status == HF_E_CLOSED_BY_PEER;
        connection->view_len = 0;
        HF_COUNT(loop, send_queue_len, -(uint64_t)hf_backlog_len(connection->plain));
        hf_backlog_drop(loop, &connection->plain);
        hf_backlog_drop(loop, &connection->unread);
        break;
    case HF_EVENT_PEER_CLOSED:
        connection->is_peer_done = true;
        break;
    case HF_EVENT_ESTABLISHED:
    case HF_EVENT_DATA:
    case HF_EVENT_KEYLOG:
    case HF_EVENT_MOVED:
    case HF_EVENT_SESSION:
        break;
    }
}

static void tcp_arm_writable(struct hf_loop *loop, struct hf_connection *connection)
{
    if (connection->is_writable_armed || connection->is_broken || loop->is_freezing)
        return;
    connection->is_writable_armed = loop->backend->writable(
        loop, hf_connection_target(loop, connection, HF_OPERATION_WRITABLE));
    if (!connection->is_writable_armed)
        hf_connection_touch(loop, connection);
}

static void tcp_arm_receive(struct hf_loop *loop, struct hf_connection *connection)
{
    if (connection->is_receive_armed || loop->is_freezing)
        return;
    connection->is_receive_armed =
        loop->backend->receive(loop, hf_connection_target(loop, connection, HF_OPERATION_RECEIVE),
                               HF_STREAM_BUFFER_LEN, connection->is_more_there);
    if (!connection->is_receive_armed)
        hf_connection_touch(loop, connection);
}

/* Its header is still on its way. */
static void tcp_settle_masked(struct hf_loop *loop, struct hf_connection *connection)
{
    if (connection->is_broken || connection->is_at_end || loop->is_stopping)
        tcp_refuse(loop, connection, HF_E_TRUNCATED);
    else if (!connection->is_new)
        tcp_arm_receive(loop, connection);
}

/* The engine has let go: send what is left, say FIN, wait for theirs, close. Who has said
 * close_notify says nothing more: then there is nothing to wait for (RFC 5246 7.2.1). */
static void tcp_settle_closing(struct hf_loop *loop, struct hf_connection *connection)
{
    bool is_sent = hf_backlog_len(connection->queue) == 0;
    bool is_ended =
        connection->is_at_end || (connection->is_peer_done && !connection->is_receive_armed);
    if (connection->is_broken || (is_sent && is_ended)) {
        hf_connection_doom(loop, connection);
        return;
    }
    hf_connection_linger(loop, connection);
    if (!is_sent) {
        tcp_arm_writable(loop, connection);
    } else if (!connection->is_shut) {
        connection->is_shut = true;
        (void)shutdown(connection->fd, SHUT_WR);
    }
    if (is_sent && loop->is_stopping)
        hf_connection_hurry(loop, connection);
    /* Bytes left unread would make close() a reset, and take from the peer what it has yet to
     * read: so they are read, and forgotten, until the end comes or the time is up. */
    if (is_sent && !connection->is_at_end)
        tcp_arm_receive(loop, connection);
}

static void tcp_settle_open(struct hf_loop *loop, struct hf_connection *connection)
{
    bool is_slow = tcp_is_slow(loop, connection);
    if (is_slow != connection->is_paused)
        HF_COUNT(loop, connections_paused, is_slow ? 1 : -1);
    connection->is_paused = is_slow;
    if (hf_backlog_len(connection->queue) > 0)
        tcp_arm_writable(loop, connection);
    uint32_t unread = tcp_unread_len(connection);
    if (!connection->is_at_end && unread == 0 && !is_slow)
        tcp_arm_receive(loop, connection);
    bool is_end_due =
        connection->is_at_end && !connection->is_end_told && (unread == 0 || connection->is_broken);
    if (connection->plain || is_end_due || (unread > 0 && !connection->is_blocked && !is_slow))
        hf_connection_resume(loop, connection);
    hf_upstream_settled(loop, connection);
}

void hf_tcp_settle(struct hf_loop *loop)
{
    uint32_t list = loop->touched_head;
    loop->touched_head = HF_NONE;
    struct hf_connection *connection;
    while ((connection = hf_connection_next_touched(loop, &list)) != NULL) {
        connection->turn_out_len = 0;
        if (connection->is_doomed)
            hf_connection_doom(loop, connection);
        else if (connection->dial)
            hf_dial_settle(loop, connection);
        else if (connection->is_masked)
            tcp_settle_masked(loop, connection);
        else if (connection->is_closing)
            tcp_settle_closing(loop, connection);
        else
            tcp_settle_open(loop, connection);
    }
}

void hf_tcp_own(struct hf_loop *loop)
{
    uint32_t list = loop->view_head;
    loop->view_head = HF_NONE;
    struct hf_connection *connection;
    while ((connection = hf_connection_next_viewed(loop, &list)) != NULL) {
        struct hf_bytes view = {connection->view, connection->view_len};
        connection->view_len = 0;
        if (view.len > 0 && !connection->is_closing && !connection->is_doomed &&
            !hf_backlog_append(loop, &connection->unread, view))
            tcp_break(loop, connection);
    }
}
