/**
 * counters.c - what others may see of a loop and ask of it: counters, addresses, sending.
 */
#include "loop_private.h"

#include <string.h>

void hf_counters_publish(struct hf_loop *loop)
{
    for (uint32_t i = 0; i < loop->socket_count; ++i)
        hf_socket_count_drops(loop, &loop->sockets[i]);
    pthread_mutex_lock(&loop->engine_counters_lock);
    hf_engine_counters(&loop->engine_counters, loop->engine);
    hf_job_read_counters(&loop->job_counters.run);
    memcpy(loop->job_counters.waits, loop->job_waits, sizeof loop->job_waits);
    loop->job_counters.wait_us = loop->job_wait_us;
    pthread_mutex_unlock(&loop->engine_counters_lock);
}

void hf_loop_counters_get(struct hf_loop_counters *out, const struct hf_loop *loop)
{
    /* All of its members are uint64_t. */
    _Static_assert(sizeof *out % sizeof(uint64_t) == 0, "counters are whole words");
    const uint64_t *from = (const uint64_t *)(const void *)&loop->counters;
    uint64_t *to = (uint64_t *)(void *)out;
    for (size_t i = 0; i < sizeof *out / sizeof *to; ++i)
        to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}

void hf_loop_engine_counters_get(struct hf_counters *out, struct hf_loop *loop)
{
    pthread_mutex_lock(&loop->engine_counters_lock);
    *out = loop->engine_counters;
    pthread_mutex_unlock(&loop->engine_counters_lock);
}

void hf_loop_job_counters_get(struct hf_loop_job_counters *out, struct hf_loop *loop)
{
    pthread_mutex_lock(&loop->engine_counters_lock);
    *out = loop->job_counters;
    pthread_mutex_unlock(&loop->engine_counters_lock);
}

struct hf_engine *hf_loop_engine(struct hf_loop *loop)
{
    return loop->engine;
}

const char *hf_loop_io_name(const struct hf_loop *loop)
{
    return loop->backend->name;
}

const char *hf_loop_io_reason(const struct hf_loop *loop)
{
    return loop->io_reason;
}

struct hf_address hf_loop_address(const struct hf_loop *loop, uint32_t socket_index)
{
    struct hf_address none = {.port = 0};
    return socket_index < loop->socket_count ? loop->sockets[socket_index].address : none;
}

enum hf_status hf_loop_send(struct hf_loop *loop, hf_association_id association,
                            struct hf_bytes data)
{
    loop->is_turn_due |= !loop->is_in_turn;
    struct hf_connection *connection = hf_connection_find(loop, association);
    return connection ? hf_tcp_send(loop, connection, data)
                      : hf_engine_send(loop->engine, association, data);
}

void hf_loop_end(struct hf_loop *loop, hf_association_id association, enum hf_close how)
{
    loop->is_turn_due |= !loop->is_in_turn;
    struct hf_connection *connection = hf_connection_find(loop, association);
    if (connection)
        hf_tcp_end(loop, connection, how);
    else
        hf_engine_close_association(loop->engine, association, how);
}
