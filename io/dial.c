/**
 * dial.c - outgoing connections. TLS: a socket is connected first, which is waited for as any other
 * is for becoming writable; then the engine begins. DTLS: the engine begins at once, on a socket
 * that is there.
 *
 * Invariant: whoever was told HF_OK by hf_loop_connect() is told by `dialled` what came of it,
 * exactly once; only closing the loop forgets.
 */
#include "loop_private.h"

#include <handfast/pair.h>

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/** An order, with what its views show. */
struct hf_dial {
    struct hf_connect connect;
    struct hf_pair pair; /* if connect has one */
    uint8_t text[];
};

static bool is_unset(const struct hf_address *address)
{
    static const uint8_t zero[16];
    return address->port == 0 && memcmp(address->ip, zero, sizeof zero) == 0;
}

static bool is_v4(const struct hf_address *address)
{
    return hf_address_is_v4(address);
}

static void tell(struct hf_loop *loop, uint64_t user, hf_association_id association,
                 enum hf_status status)
{
    if (status == HF_OK)
        HF_COUNT(loop, dials, 1);
    else
        HF_COUNT(loop, dials_failed, 1);
    if (loop->config.handlers.dialled)
        loop->config.handlers.dialled(loop, user, association, status, loop->config.handlers.arg);
}

static struct hf_bytes keep(uint8_t **at, struct hf_bytes view)
{
    struct hf_bytes kept = {*at, view.len};
    if (view.len > 0)
        memcpy(*at, view.data, view.len);
    *at += view.len;
    return kept;
}

static struct hf_dial *copy_order(const struct hf_connect *connect)
{
    struct hf_dial *dial =
        malloc(sizeof *dial + connect->server_name.len + connect->psk_identity.len +
               connect->entity_id.len + connect->session.len);
    if (!dial)
        return NULL;
    uint8_t *at = dial->text;
    dial->connect = *connect;
    dial->connect.server_name = keep(&at, connect->server_name);
    dial->connect.psk_identity = keep(&at, connect->psk_identity);
    dial->connect.entity_id = keep(&at, connect->entity_id);
    dial->connect.session = keep(&at, connect->session);
    if (connect->pair) {
        dial->pair = *connect->pair;
        dial->connect.pair = &dial->pair;
    }
    return dial;
}

void hf_dial_drop(struct hf_connection *connection)
{
    struct hf_dial *dial = connection->dial;
    if (dial && dial->connect.session.len > 0)
        explicit_bzero((void *)(uintptr_t)dial->connect.session.data, dial->connect.session.len);
    free(dial);
    connection->dial = NULL;
}

/* ---- TLS ---- */

void hf_dial_give_up(struct hf_loop *loop, struct hf_connection *connection, enum hf_status status)
{
    uint64_t user = connection->dial->connect.user;
    hf_dial_drop(connection);
    hf_connection_doom(loop, connection);
    tell(loop, user, 0, status);
}

/* The engine may have no room: then again in its next turn. */
static void introduce(struct hf_loop *loop, struct hf_connection *connection)
{
    struct hf_connect connect = connection->dial->connect;
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    hf_association_id association;
    connect.user = (uint64_t)connection->generation << 32 | hf_connection_index(loop, connection);
    if (getsockname(connection->fd, (struct sockaddr *)&address, &len) != 0) {
        hf_dial_give_up(loop, connection, HF_E_UNREACHABLE);
        return;
    }
    hf_socket_address_load(&connect.path.local, &address);
    enum hf_status status = hf_engine_connect(&association, loop->engine, &connect);
    if (status == HF_WAITING) {
        hf_connection_resume(loop, connection);
    } else if (status != HF_OK) {
        hf_dial_give_up(loop, connection, status);
    } else {
        uint64_t user = connection->dial->connect.user;
        hf_dial_drop(connection);
        hf_connection_unlinger(loop, connection);
        hf_connection_link(loop, connection, association);
        hf_connection_touch(loop, connection);
        tell(loop, user, association, HF_OK);
    }
}

void hf_dial_go_on(struct hf_loop *loop, struct hf_connection *connection)
{
    int code = 0;
    socklen_t len = sizeof code;
    struct sockaddr_storage peer;
    socklen_t peer_len = sizeof peer;
    if (getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &code, &len) != 0 || code != 0)
        hf_dial_give_up(loop, connection, HF_E_UNREACHABLE);
    else if (getpeername(connection->fd, (struct sockaddr *)&peer, &peer_len) == 0)
        introduce(loop, connection);
    else /* not yet */
        hf_connection_touch(loop, connection);
}

void hf_dial_settle(struct hf_loop *loop, struct hf_connection *connection)
{
    struct hf_target target = {connection->fd, HF_OPERATION_WRITABLE,
                               hf_connection_index(loop, connection), connection->generation};
    if (loop->is_stopping) {
        hf_dial_give_up(loop, connection, HF_E_CLOSED_LOCALLY);
        return;
    }
    if (connection->is_resuming || connection->is_writable_armed || loop->is_freezing)
        return;
    connection->is_writable_armed = loop->backend->writable(loop, target);
    if (!connection->is_writable_armed)
        hf_connection_touch(loop, connection);
}

/* A descriptor that is being connected, or -1 with errno. */
static int begin_connect(const struct hf_path *path)
{
    struct sockaddr_in6 address = {0};
    bool is_v6 = !is_v4(&path->peer);
    int fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &(int){1}, sizeof(int));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &(int){HF_SEND_STALL_MS}, sizeof(int));
    socklen_t len;
    bool is_bound = true;
    if (!is_unset(&path->local)) {
        len = hf_socket_address_store(&address, &path->local, is_v6);
        is_bound = bind(fd, (const struct sockaddr *)(const void *)&address, len) == 0;
    }
    memset(&address, 0, sizeof address);
    len = hf_socket_address_store(&address, &path->peer, is_v6);
    if (is_bound && (connect(fd, (const struct sockaddr *)(const void *)&address, len) == 0 ||
                     errno == EINPROGRESS))
        return fd;
    int code = errno;
    (void)close(fd);
    errno = code;
    return -1;
}

static enum hf_status dial_stream(struct hf_loop *loop, const struct hf_connect *connect)
{
    int fd = begin_connect(&connect->path);
    if (fd < 0)
        return HF_E_UNREACHABLE;
    struct hf_dial *dial = copy_order(connect);
    struct hf_connection *connection = dial ? hf_connection_take(loop, fd, 0) : NULL;
    if (!connection) {
        (void)close(fd);
        enum hf_status status = dial ? HF_E_ASSOCIATION_LIMIT : HF_E_MEMORY;
        free(dial);
        return status;
    }
    connection->dial = dial;
    hf_connection_linger(loop, connection); /* so long it may take */
    hf_connection_touch(loop, connection);
    return HF_OK;
}

/* ---- DTLS ---- */

static bool is_socket_for(const struct hf_socket *socket, const struct hf_connect *connect)
{
    const struct hf_address *local = &connect->path.local;
    bool is_family = socket->is_v6 != is_v4(&connect->path.peer) ||
                     (socket->is_v6 && socket->is_wildcard && !socket->is_v6_only);
    if (socket->transport != HF_TRANSPORT_DTLS || socket->fd < 0 || !is_family)
        return false;
    if (is_unset(local))
        return socket->is_client && socket->listener_index == connect->dialer_index;
    return socket->address.port == local->port &&
           (socket->is_wildcard || memcmp(socket->address.ip, local->ip, sizeof local->ip) == 0);
}

/* Which address of ours the kernel would speak from: no packet leaves. */
static bool find_local(struct hf_address *out, const struct hf_address *peer)
{
    struct sockaddr_in6 address = {0};
    bool is_v6 = !is_v4(peer);
    socklen_t len = hf_socket_address_store(&address, peer, is_v6);
    int fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool is_found = connect(fd, (const struct sockaddr *)(const void *)&address, len) == 0;
    len = sizeof address;
    is_found &= getsockname(fd, (struct sockaddr *)(void *)&address, &len) == 0;
    (void)close(fd);
    if (is_found)
        hf_socket_address_load(out, &address);
    return is_found;
}

static enum hf_status dial_datagram(struct hf_loop *loop, const struct hf_connect *connect)
{
    struct hf_connect order = *connect;
    const struct hf_socket *socket = NULL;
    hf_association_id association;
    for (uint32_t i = 0; !socket && i < loop->socket_count; ++i)
        socket = is_socket_for(&loop->sockets[i], connect) ? &loop->sockets[i] : NULL;
    if (!socket)
        return HF_E_STATE;
    if (is_unset(&connect->path.local)) {
        order.path.local = socket->address;
        if (socket->is_wildcard && !find_local(&order.path.local, &connect->path.peer))
            return HF_E_UNREACHABLE;
        order.path.local.port = socket->address.port;
    }
    enum hf_status status = hf_engine_connect(&association, loop->engine, &order);
    if (status == HF_OK)
        tell(loop, connect->user, association, HF_OK);
    return status;
}

enum hf_status hf_loop_connect(struct hf_loop *loop, const struct hf_connect *connect)
{
    if (!loop->is_in_turn || loop->is_stopping)
        return HF_E_STATE;
    if (connect->dialer_index >= loop->dialer_count)
        return HF_E_ARGUMENT;
    loop->is_turn_due = true; /* from a handler at the end of this one, in the next */
    return loop->dialers_are_dtls[connect->dialer_index] ? dial_datagram(loop, connect)
                                                         : dial_stream(loop, connect);
}
