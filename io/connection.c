/**
 * connection.c - the records of TLS connections: taking and giving them, the lists they are on, and
 * their end. What flows through them is tcp.c's business.
 *
 * Invariant: a record is given back only when its file descriptor is closed, and that is closed
 * only when the kernel has no request for it: a request keeps its socket alive beyond close().
 */
#include "loop_private.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static uint32_t *connection_head(struct hf_loop *loop, hf_association_id association)
{
    uint64_t mixed = association * 0x9e3779b97f4a7c15u; /* ours, nobody chooses it */
    return &loop->heads[(uint32_t)(mixed >> 32) & loop->heads_mask];
}

enum hf_status hf_connection_open(struct hf_loop *loop)
{
    uint32_t count = loop->config.connections_max;
    uint32_t heads = 64;
    while (heads < count)
        heads <<= 1;
    loop->heads_mask = heads - 1;
    loop->free_head = loop->touched_head = loop->resume_head = HF_NONE;
    loop->view_head = loop->linger_first = loop->linger_last = HF_NONE;
    /* Neither costs anything for records that are never used: zeroed memory is not touched. */
    loop->heads = calloc(heads, sizeof *loop->heads);
    void *memory = mmap(NULL, count * sizeof *loop->connections, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory != MAP_FAILED)
        loop->connections = memory;
    if (!loop->heads || !loop->connections)
        return HF_E_MEMORY;
    HF_COUNT(loop, memory_len, heads * sizeof *loop->heads);
    return HF_OK;
}

static void connection_give(struct hf_loop *loop, struct hf_connection *connection)
{
    connection->is_used = false;
    connection->hash_next = loop->free_head;
    loop->free_head = hf_connection_index(loop, connection);
    HF_COUNT(loop, connections, -1);
}

void hf_connection_unlinger(struct hf_loop *loop, struct hf_connection *connection)
{
    if (!connection->is_lingering)
        return;
    uint32_t next = connection->linger_next, prev = connection->linger_prev;
    if (prev == HF_NONE)
        loop->linger_first = next;
    else
        loop->connections[prev].linger_next = next;
    if (next == HF_NONE)
        loop->linger_last = prev;
    else
        loop->connections[next].linger_prev = prev;
    connection->is_lingering = false;
}

static void connection_drop_bytes(struct hf_loop *loop, struct hf_connection *connection)
{
    HF_COUNT(loop, send_queue_len,
             -(uint64_t)(hf_backlog_len(connection->queue) + hf_backlog_len(connection->plain)));
    hf_backlog_drop(loop, &connection->queue);
    hf_backlog_drop(loop, &connection->plain);
    hf_backlog_drop(loop, &connection->unread);
    connection->view_len = 0;
    if (connection->is_paused)
        HF_COUNT(loop, connections_paused, -1);
    connection->is_paused = false;
}

static void connection_finish(struct hf_loop *loop, struct hf_connection *connection)
{
    connection_drop_bytes(loop, connection);
    hf_connection_unlink(loop, connection);
    hf_connection_unlinger(loop, connection);
    hf_dial_drop(connection);
    loop->backend->forget(loop, connection->fd);
    (void)close(connection->fd);
    connection->fd = -1;
    /* Still on a list: the list's owner gives it back when it comes by. */
    if (!connection->is_touched && !connection->is_resuming && !connection->is_viewed)
        connection_give(loop, connection);
}

void hf_connection_close(struct hf_loop *loop)
{
    for (uint32_t i = 0; i < loop->connection_count; ++i) {
        struct hf_connection *connection = &loop->connections[i];
        if (!connection->is_used)
            continue;
        connection_drop_bytes(loop, connection);
        hf_dial_drop(connection);
        if (connection->fd >= 0)
            (void)close(connection->fd);
        connection->is_used = false;
    }
    hf_backlog_sweep(loop);
    free(loop->heads);
    loop->heads = NULL;
    if (loop->connections)
        (void)munmap(loop->connections, loop->config.connections_max * sizeof *loop->connections);
    loop->connections = NULL;
    loop->connection_count = 0;
}

struct hf_connection *hf_connection_take(struct hf_loop *loop, int fd, uint32_t socket_index)
{
    struct hf_connection *connection;
    if (loop->free_head != HF_NONE) {
        connection = &loop->connections[loop->free_head];
        loop->free_head = connection->hash_next;
    } else if (loop->connection_count < loop->config.connections_max) {
        connection = &loop->connections[loop->connection_count++];
        HF_COUNT(loop, memory_len, sizeof *connection);
    } else {
        return NULL;
    }
    uint32_t generation = connection->generation + 1;
    *connection = (struct hf_connection){
        .fd = fd,
        .generation = generation & 0xffffffu,
        .socket_index = (uint8_t)socket_index,
        .is_used = true,
    };
    HF_COUNT(loop, connections, 1);
    return connection;
}

void hf_connection_link(struct hf_loop *loop, struct hf_connection *connection,
                        hf_association_id association)
{
    uint32_t *head = connection_head(loop, association);
    connection->association = association;
    connection->hash_next = *head;
    *head = hf_connection_index(loop, connection) + 1;
}

void hf_connection_unlink(struct hf_loop *loop, struct hf_connection *connection)
{
    if (connection->association == 0)
        return;
    uint32_t *at = connection_head(loop, connection->association);
    while (*at != hf_connection_index(loop, connection) + 1)
        at = &loop->connections[*at - 1].hash_next;
    *at = connection->hash_next;
    connection->association = 0;
}

struct hf_connection *hf_connection_find(struct hf_loop *loop, hf_association_id association)
{
    if (loop->connection_count == 0 || association == 0)
        return NULL;
    uint32_t place = *connection_head(loop, association);
    while (place != 0 && loop->connections[place - 1].association != association)
        place = loop->connections[place - 1].hash_next;
    return place == 0 ? NULL : &loop->connections[place - 1];
}

struct hf_connection *hf_connection_at(struct hf_loop *loop, uint32_t index, uint32_t generation)
{
    if (index >= loop->connection_count)
        return NULL;
    struct hf_connection *connection = &loop->connections[index];
    return connection->is_used && connection->fd >= 0 &&
                   connection->generation == (generation & 0xffffffu)
               ? connection
               : NULL;
}

uint32_t hf_connection_index(const struct hf_loop *loop, const struct hf_connection *connection)
{
    return (uint32_t)(connection - loop->connections);
}

struct hf_target hf_connection_target(const struct hf_loop *loop,
                                      const struct hf_connection *connection,
                                      enum hf_operation operation)
{
    return (struct hf_target){connection->fd, operation, hf_connection_index(loop, connection),
                              connection->generation};
}

void hf_connection_touch(struct hf_loop *loop, struct hf_connection *connection)
{
    if (connection->is_touched)
        return;
    connection->is_touched = true;
    connection->touched_next = loop->touched_head;
    loop->touched_head = hf_connection_index(loop, connection);
}

void hf_connection_resume(struct hf_loop *loop, struct hf_connection *connection)
{
    if (connection->is_resuming)
        return;
    connection->is_resuming = true;
    connection->resume_next = loop->resume_head;
    loop->resume_head = hf_connection_index(loop, connection);
}

void hf_connection_view(struct hf_loop *loop, struct hf_connection *connection)
{
    if (connection->is_viewed)
        return;
    connection->is_viewed = true;
    connection->view_next = loop->view_head;
    loop->view_head = hf_connection_index(loop, connection);
}

/* The takers: the next one that is still alive, off its list; NULL at the end. */
static bool connection_is_alive(struct hf_loop *loop, struct hf_connection *connection)
{
    if (connection->fd >= 0)
        return true;
    if (!connection->is_touched && !connection->is_resuming && !connection->is_viewed)
        connection_give(loop, connection);
    return false;
}

struct hf_connection *hf_connection_next_touched(struct hf_loop *loop, uint32_t *list)
{
    while (*list != HF_NONE) {
        struct hf_connection *connection = &loop->connections[*list];
        *list = connection->touched_next;
        connection->is_touched = false;
        if (connection_is_alive(loop, connection))
            return connection;
    }
    return NULL;
}

struct hf_connection *hf_connection_next_resuming(struct hf_loop *loop, uint32_t *list)
{
    while (*list != HF_NONE) {
        struct hf_connection *connection = &loop->connections[*list];
        *list = connection->resume_next;
        connection->is_resuming = false;
        if (connection_is_alive(loop, connection))
            return connection;
    }
    return NULL;
}

struct hf_connection *hf_connection_next_viewed(struct hf_loop *loop, uint32_t *list)
{
    while (*list != HF_NONE) {
        struct hf_connection *connection = &loop->connections[*list];
        *list = connection->view_next;
        connection->is_viewed = false;
        if (connection_is_alive(loop, connection))
            return connection;
    }
    return NULL;
}

static bool connection_cancel(struct hf_loop *loop, struct hf_connection *connection,
                              enum hf_operation operation)
{
    return loop->backend->cancel(loop, hf_connection_target(loop, connection, operation));
}

void hf_connection_doom(struct hf_loop *loop, struct hf_connection *connection)
{
    connection->is_doomed = true;
    if (!connection->is_receive_armed && !connection->is_writable_armed) {
        connection_finish(loop, connection);
        return;
    }
    if (connection->is_cancel_sent)
        return;
    connection->is_cancel_sent = (!connection->is_receive_armed ||
                                  connection_cancel(loop, connection, HF_OPERATION_RECEIVE)) &&
                                 (!connection->is_writable_armed ||
                                  connection_cancel(loop, connection, HF_OPERATION_WRITABLE));
    if (!connection->is_cancel_sent)
        hf_connection_touch(loop, connection);
}

void hf_connection_linger(struct hf_loop *loop, struct hf_connection *connection)
{
    if (connection->is_lingering)
        return;
    uint32_t index = hf_connection_index(loop, connection);
    connection->is_lingering = true;
    connection->linger_until_us = loop->now_us + HF_LINGER_US;
    connection->linger_next = HF_NONE;
    connection->linger_prev = loop->linger_last;
    if (loop->linger_last == HF_NONE)
        loop->linger_first = index;
    else
        loop->connections[loop->linger_last].linger_next = index;
    loop->linger_last = index;
}

void hf_connection_expire(struct hf_loop *loop)
{
    uint32_t next;
    for (uint32_t i = loop->linger_first; i != HF_NONE; i = next) {
        struct hf_connection *connection = &loop->connections[i];
        next = connection->linger_next;
        if (connection->linger_until_us <= loop->now_us) {
            hf_connection_unlinger(loop, connection);
            if (connection->is_masked)
                HF_COUNT(loop, connections_refused, 1);
            if (connection->dial)
                hf_dial_give_up(loop, connection, HF_E_UNREACHABLE);
            else
                hf_connection_doom(loop, connection);
        } else if (!loop->is_stopping) {
            return; /* in order of time, but for those a stop has hurried */
        } else if (connection->is_masked) {
            hf_connection_touch(loop, connection);
        }
    }
}

void hf_connection_hurry(struct hf_loop *loop, struct hf_connection *connection)
{
    uint64_t until_us = loop->now_us + HF_LINGER_STOP_US;
    if (connection->linger_until_us > until_us)
        connection->linger_until_us = until_us;
}

uint32_t hf_connection_backlog(const struct hf_connection *connection)
{
    return hf_backlog_len(connection->queue) + hf_backlog_len(connection->plain) +
           connection->turn_out_len;
}
