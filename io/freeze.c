/**
 * freeze.c - falling silent and waking up again: every request to the kernel is called off, what
 * has completed by then is dealt with as ever, and nothing new is asked for.
 */
#include "handover.h"
#include "upstream.h"

#include <errno.h>

/* A cancel may be refused for now, or miss a request that is just being tried by the kernel: so
 * there is a second time, but not in each turn. With thousands of requests the answers to cancels
 * that come too late would be more than a turn takes in, and there would be no end. */
#define AGAIN_US 5000u

static bool call_off(struct hf_loop *loop, bool is_armed, struct hf_target target)
{
    if (is_armed && loop->is_calling_off)
        (void)loop->backend->cancel(loop, target);
    return is_armed;
}

static bool call_off_sockets(struct hf_loop *loop)
{
    bool is_any = false;
    for (uint32_t i = 0; i < loop->socket_count; ++i) {
        const struct hf_socket *socket = &loop->sockets[i];
        enum hf_operation operation =
            socket->transport == HF_TRANSPORT_DTLS ? HF_OPERATION_DATAGRAM : HF_OPERATION_ACCEPT;
        is_any |= call_off(loop, socket->is_armed, (struct hf_target){socket->fd, operation, i, 0});
    }
    return is_any;
}

static bool call_off_connections(struct hf_loop *loop)
{
    bool is_any = false;
    for (uint32_t i = 0; i < loop->connection_count; ++i) {
        const struct hf_connection *connection = &loop->connections[i];
        if (!connection->is_used || connection->fd < 0)
            continue;
        is_any |= call_off(loop, connection->is_receive_armed,
                           hf_connection_target(loop, connection, HF_OPERATION_RECEIVE));
        is_any |= call_off(loop, connection->is_writable_armed,
                           hf_connection_target(loop, connection, HF_OPERATION_WRITABLE));
    }
    return is_any;
}

bool hf_freeze_call_off(struct hf_loop *loop)
{
    loop->is_calling_off = loop->now_us >= loop->call_off_at_us;
    bool is_any = call_off_sockets(loop);
    is_any |= call_off_connections(loop);
    is_any |= hf_upstream_call_off(loop);
    if (loop->is_calling_off)
        loop->call_off_at_us = hf_loop_now_us() + AGAIN_US;
    return is_any;
}

void hf_freeze_thaw(struct hf_loop *loop)
{
    loop->is_freezing = false;
    /* Another process may have had the sockets meanwhile, and a flood. */
    for (uint32_t i = 0; i < loop->socket_count; ++i)
        hf_gate_open(loop, &loop->sockets[i]);
    for (uint32_t i = 0; i < loop->connection_count; ++i) {
        struct hf_connection *connection = &loop->connections[i];
        if (!connection->is_used || connection->fd < 0)
            continue;
        connection->is_more_there = true;
        hf_connection_touch(loop, connection);
    }
    hf_upstream_wake(loop);
    loop->is_turn_due = true;
}

void hf_loop_freeze(struct hf_loop *loop)
{
    __atomic_store_n(&loop->freeze_requested, 1, __ATOMIC_RELEASE);
    hf_post_wake(loop);
}

/* ---- draining ----------------------------------------------------------------------------- */

void hf_loop_drain(struct hf_loop *loop, bool is_draining, bool is_closing)
{
    loop->is_draining = is_draining;
    loop->is_closing_idle = is_draining && is_closing;
    hf_engine_drain(loop->engine, is_draining);
    loop->is_turn_due = true; /* listeners are armed again */
    loop->is_calling_off = true;
    for (uint32_t i = 0; is_draining && i < loop->socket_count; ++i) {
        const struct hf_socket *socket = &loop->sockets[i];
        if (socket->transport == HF_TRANSPORT_TLS)
            (void)call_off(loop, socket->is_armed,
                           (struct hf_target){socket->fd, HF_OPERATION_ACCEPT, i, 0});
    }
}

void hf_freeze_second(struct hf_loop *loop)
{
    for (uint32_t i = 0; loop->is_closing_idle && i < loop->connection_count; ++i) {
        struct hf_connection *connection = &loop->connections[i];
        bool is_idle = connection->is_used && connection->fd >= 0 && !connection->dial &&
                       connection->association != 0 && !connection->is_ending &&
                       hf_connection_backlog(connection) == 0 &&
                       !hf_upstream_is_owed(loop, connection);
        if (is_idle)
            hf_tcp_end(loop, connection, HF_CLOSE_NOTIFY);
    }
}
