/**
 * loop.c - the turn of a shard: wait, feed the engine, hand out events, send, give buffers back.
 *
 * One system call waits (and, over io_uring, submits), one sends all datagrams, one each sends a
 * connection's bytes. Batches form by themselves: whatever completed while the last turn ran is
 * this turn's work.
 *
 * Invariant: nothing that comes from the network ends the loop; only the ring's own failure does.
 */
#include "upstream.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS_MAX 4
#define JOBS_PER_ROUND 256
#define STOPS_PER_TURN 1024u
#define FREEZE_WAIT_US 1000u

void hf_loop_config_init(struct hf_loop_config *config)
{
    *config = (struct hf_loop_config){
        .receive_buffers = 1024,
        .shard_count = 1,
        .connections_max = 4096,
        .send_queue_len_high = 64u << 10,
        .send_queue_len_max = 256u << 10,
        .socket_receive_len = 4u << 20,
        .flood_hellos_per_second = 20000,
        .stop_us_max = 5000000,
    };
}

uint64_t hf_loop_now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

/* ---- one turn ---- */

static void loop_begin(struct hf_loop *loop)
{
    struct timespec wall;
    (void)clock_gettime(CLOCK_REALTIME_COARSE, &wall);
    loop->now_us = hf_loop_now_us();
    hf_engine_begin_turn(loop->engine, loop->now_us, (int64_t)wall.tv_sec);
    hf_tcp_resume(loop);
}

/* A stop that tells DTLS peers needs their names; stale ones do no harm. */
static void loop_note(struct hf_loop *loop, const struct hf_event *event)
{
    if (!loop->notified || event->kind != HF_EVENT_ESTABLISHED ||
        hf_connection_find(loop, event->association))
        return;
    if (loop->notified_count == loop->notified_max) {
        size_t kept = 0;
        struct hf_association_info info;
        for (size_t i = 0; i < loop->notified_count; ++i)
            if (hf_engine_association_info(&info, loop->engine, loop->notified[i]) == HF_OK)
                loop->notified[kept++] = loop->notified[i];
        loop->notified_count = kept;
    }
    if (loop->notified_count < loop->notified_max)
        loop->notified[loop->notified_count++] = event->association;
}

void hf_loop_note_all(struct hf_loop *loop)
{
    struct hf_event event = {.kind = HF_EVENT_ESTABLISHED};
    struct hf_association_entry entry;
    uint32_t cursor = 0;
    while (loop->notified &&
           hf_engine_next_association(&entry, &cursor, loop->engine, UINT32_MAX)) {
        event.association = entry.association;
        loop_note(loop, &event);
    }
}

static void loop_second(struct hf_loop *loop)
{
    if (loop->now_us < loop->second_us)
        return;
    loop->second_us = loop->now_us + HF_SECOND_US;
    hf_counters_publish(loop);
    hf_upstream_second(loop);
    hf_freeze_second(loop);
    if (loop->config.handlers.second)
        loop->config.handlers.second(loop, loop->config.handlers.arg);
}

static bool loop_sign(struct hf_loop *loop, struct hf_job *job)
{
    const struct hf_loop_handlers *handlers = &loop->config.handlers;
    return handlers->sign && handlers->sign(loop, job, handlers->arg);
}

static void loop_count_wait(struct hf_loop *loop, uint64_t wait_us, size_t job_count)
{
    size_t bucket = 0;
    while (bucket < HF_LOOP_WAIT_BUCKETS - 1 && wait_us > UINT64_C(32) << bucket)
        ++bucket;
    loop->job_waits[bucket] += job_count;
    loop->job_wait_us += wait_us * job_count;
}

/* In rounds within the turn: a handshake that needs two jobs pays for no system call between. A job
 * has waited since the turn or the round began that it arose in. */
static void loop_run_jobs(struct hf_loop *loop)
{
    struct hf_job *jobs[JOBS_PER_ROUND];
    uint64_t begun_us = loop->now_us;
    size_t count;
    while ((count = hf_engine_take_jobs(loop->engine, jobs, JOBS_PER_ROUND)) > 0) {
        hf_job_run(jobs, count);
        loop->jobs_run += count;
        uint64_t done_us = hf_loop_now_us();
        loop_count_wait(loop, done_us - begun_us, count);
        begun_us = done_us;
        for (size_t i = 0; i < count; ++i)
            if (jobs[i]->status != HF_WAITING || !loop_sign(loop, jobs[i]))
                hf_engine_give_job(loop->engine, jobs[i]);
    }
}

void hf_loop_give_job(struct hf_loop *loop, struct hf_job *job)
{
    hf_engine_give_job(loop->engine, job);
}

static void loop_finish(struct hf_loop *loop)
{
    const struct hf_loop_handlers *handlers = &loop->config.handlers;
    struct hf_event event;
    struct hf_output output;
    hf_engine_end_turn(loop->engine);
    loop_run_jobs(loop);
    while (hf_engine_take_event(loop->engine, &event)) {
        hf_tcp_event(loop, &event);
        if (event.kind == HF_EVENT_ESTABLISHED && !event.is_client)
            hf_gate_established(loop, event.listener_index);
        loop_note(loop, &event);
        if (!hf_upstream_event(loop, &event) && handlers->event)
            handlers->event(loop, &event, handlers->arg);
    }
    loop_second(loop);
    while (hf_engine_take_output(loop->engine, &output)) {
        if (output.is_stream)
            hf_tcp_output(loop, &output);
        else
            hf_udp_send(loop, &output);
    }
    hf_udp_flush(loop);
    hf_tcp_settle(loop);
    hf_upstream_settle(loop);
}

/* Gives the buffers back. What the engine has not taken by now is copied out of them first. */
static void loop_recycle(struct hf_loop *loop)
{
    hf_tcp_own(loop);
    hf_backlog_sweep(loop);
    loop->backend->recycle(loop);
    hf_stray_free(loop);
}

static void loop_datagram(struct hf_loop *loop, const struct hf_completion *completion)
{
    struct hf_datagram datagram;
    if (loop->sockets[completion->index].is_plain) {
        hf_entrance_datagram(loop, completion);
        return;
    }
    if (hf_udp_receive(&datagram, loop, completion) != HF_WAITING)
        return;
    /* The engine is full: empty it and try once more. The buffer is held, so it stays. */
    loop_finish(loop);
    loop_begin(loop);
    (void)hf_engine_receive_datagram(loop->engine, &datagram);
}

static void loop_dispatch(struct hf_loop *loop, const struct hf_completion *completion)
{
    switch (completion->operation) {
    case HF_OPERATION_DATAGRAM:
        loop_datagram(loop, completion);
        break;
    case HF_OPERATION_RECEIVE:
        hf_tcp_received(loop, completion);
        break;
    case HF_OPERATION_ACCEPT:
        hf_tcp_accepted(loop, completion);
        break;
    case HF_OPERATION_WRITABLE:
        hf_tcp_writable(loop, completion);
        break;
    case HF_OPERATION_UPSTREAM_DATAGRAM:
    case HF_OPERATION_UPSTREAM_CONNECT:
    case HF_OPERATION_UPSTREAM_RECEIVE:
    case HF_OPERATION_UPSTREAM_WRITABLE:
        hf_upstream_complete(loop, completion);
        break;
    case HF_OPERATION_WAKE:
        loop->is_wake_armed = false;
        break;
    case HF_OPERATION_NONE:
        break;
    }
}

static bool loop_is_full(const struct hf_loop *loop)
{
    return !hf_engine_has_event_room(loop->engine) ||
           loop->datagrams.held_count > loop->datagrams.count / 2 ||
           loop->streams.held_count > loop->streams.count / 2;
}

static void loop_drain(struct hf_loop *loop)
{
    struct hf_completion completion;
    uint32_t budget = loop->datagrams.count + loop->streams.count + 1024;
    for (; budget > 0 && hf_batch_next(&completion, loop); --budget) {
        loop_dispatch(loop, &completion);
        if (!loop_is_full(loop))
            continue;
        loop_finish(loop);
        loop_recycle(loop);
        loop_begin(loop);
    }
}

static void loop_arm(struct hf_loop *loop)
{
    if (!loop->is_wake_armed)
        loop->is_wake_armed = loop->backend->wake(loop);
    hf_udp_arm(loop);
    hf_tcp_arm(loop);
    hf_upstream_arm(loop);
}

/* Tells some peers each turn, so that it never fills the engine's output. */
static void loop_tell_peers(struct hf_loop *loop)
{
    uint32_t budget = STOPS_PER_TURN;
    for (; loop->stop_cursor < loop->connection_count && budget > 0; ++loop->stop_cursor) {
        struct hf_connection *connection = &loop->connections[loop->stop_cursor];
        if (!connection->is_used)
            continue;
        hf_connection_touch(loop, connection); /* it may be lingering already */
        if (connection->association == 0)
            continue;
        hf_tcp_end(loop, connection, HF_CLOSE_NOTIFY);
        --budget;
    }
    for (; loop->notified_cursor < loop->notified_count && budget > 0; ++loop->notified_cursor) {
        hf_engine_close_association(loop->engine, loop->notified[loop->notified_cursor],
                                    HF_CLOSE_NOTIFY);
        --budget;
    }
}

static void loop_turn(struct hf_loop *loop)
{
    HF_COUNT(loop, turns, 1);
    loop->is_turn_due = false;
    loop->is_in_turn = true;
    loop_begin(loop);
    hf_post_run(loop);
    hf_connection_expire(loop);
    if (loop->is_stopping)
        loop_tell_peers(loop);
    loop_drain(loop);
    loop_finish(loop);
    /* What the engine could not take before an answer came goes on while it lies in its buffer. */
    for (int round = 1; round < ROUNDS_MAX && loop->resume_head != HF_NONE; ++round) {
        loop_begin(loop);
        loop_finish(loop);
    }
    hf_batch_note(loop, loop->jobs_run != loop->jobs_noted);
    loop->jobs_noted = loop->jobs_run;
    loop_recycle(loop);
    hf_gate_look(loop);
    loop_arm(loop);
    loop->is_in_turn = false;
    loop->is_turn_due |= loop->resume_head != HF_NONE || loop->touched_head != HF_NONE ||
                         loop->backend->is_pending(loop);
}

/* ---- waiting ---- */

static uint64_t loop_sooner(uint64_t a_us, uint64_t b_us)
{
    return a_us < b_us ? a_us : b_us;
}

static uint64_t loop_timeout_us(const struct hf_loop *loop)
{
    if (loop->is_turn_due)
        return 0;
    uint64_t next_us = loop_sooner(hf_engine_next_us(loop->engine), loop->second_us);
    next_us = loop_sooner(next_us, hf_gate_next_us(loop));
    for (uint32_t i = 0; i < loop->socket_count; ++i)
        if (!loop->sockets[i].is_armed && loop->sockets[i].pause_until_us != 0)
            next_us = loop_sooner(next_us, loop->sockets[i].pause_until_us);
    if (loop->is_stopping && loop->linger_first != HF_NONE)
        next_us = loop_sooner(next_us, loop->now_us + HF_LINGER_STOP_US / 4);
    else if (loop->linger_first != HF_NONE)
        next_us = loop_sooner(next_us, loop->connections[loop->linger_first].linger_until_us);
    if (loop->is_stopping)
        next_us = loop_sooner(next_us, loop->stop_until_us);
    return next_us <= loop->now_us ? 0 : next_us - loop->now_us;
}

/* ---- stopping ---- */

static void loop_begin_stop(struct hf_loop *loop)
{
    loop->is_stopping = true;
    loop->stop_until_us = loop->now_us + loop->config.stop_us_max;
    loop->is_turn_due = true;
    hf_entrance_stop(loop);
    for (uint32_t i = 0; i < loop->socket_count; ++i) {
        struct hf_socket *socket = &loop->sockets[i];
        if (socket->transport != HF_TRANSPORT_TLS)
            continue;
        socket->pause_until_us = 0;
        struct hf_target target = {socket->fd, HF_OPERATION_ACCEPT, i, 0};
        if (socket->is_armed) /* if that is refused, what arrives is closed at once */
            (void)loop->backend->cancel(loop, target);
    }
}

static bool loop_is_stopped(const struct hf_loop *loop)
{
    if (!loop->is_stopping)
        return false;
    if (loop->now_us >= loop->stop_until_us)
        return true;
    return loop->stop_cursor >= loop->connection_count &&
           loop->notified_cursor >= loop->notified_count && loop->counters.connections == 0 &&
           hf_upstream_is_over(loop) && !loop->is_turn_due;
}

void hf_loop_stop(struct hf_loop *loop)
{
    __atomic_store_n(&loop->stop_requested, 1, __ATOMIC_RELEASE);
    hf_post_wake(loop);
}

/* After this no request is left, and closing may happen on any thread. */
static void loop_shut_sockets(struct hf_loop *loop)
{
    if (loop->backend)
        loop->backend->cancel_all(loop);
    for (uint32_t i = 0; i < loop->socket_count; ++i)
        hf_socket_close(&loop->sockets[i]);
    hf_connection_close(loop);
    hf_upstream_close(loop);
}

/* Turns as ever, but for new requests, until the last of the old ones has ended: what had been
 * received by then is dealt with, and nothing waits to be sent but what peers do not take. */
static enum hf_status loop_freeze(struct hf_loop *loop)
{
    enum hf_status status = HF_OK;
    loop->is_freezing = true;
    loop->call_off_at_us = 0;
    while (status == HF_OK && (hf_freeze_call_off(loop) || loop->backend->is_pending(loop))) {
        status = loop->backend->wait(loop, FREEZE_WAIT_US, 1);
        loop_turn(loop);
    }
    hf_counters_publish(loop);
    return status == HF_OK ? HF_WAITING : status;
}

enum hf_status hf_loop_run(struct hf_loop *loop, char error[HF_LOOP_ERROR_MAX])
{
    enum hf_status status = HF_OK;
    loop->error = error;
    loop->now_us = hf_loop_now_us();
    loop->second_us = loop->now_us + HF_SECOND_US;
    hf_freeze_thaw(loop);
    hf_counters_publish(loop); /* of what was taken over, too */
    loop_arm(loop);
    while (status == HF_OK && !loop_is_stopped(loop)) {
        if (!loop->is_stopping && __atomic_exchange_n(&loop->freeze_requested, 0, __ATOMIC_ACQ_REL))
            status = loop_freeze(loop);
        if (status == HF_WAITING)
            return status;
        if (status == HF_OK)
            status = hf_batch_wait(loop, loop_timeout_us(loop));
        if (status != HF_OK)
            break;
        if (!loop->is_stopping && __atomic_load_n(&loop->stop_requested, __ATOMIC_ACQUIRE)) {
            loop->now_us = hf_loop_now_us();
            loop_begin_stop(loop);
        }
        loop_turn(loop);
    }
    hf_post_end(loop);
    hf_counters_publish(loop);
    loop_shut_sockets(loop);
    return status;
}

/* ---- opening and closing ---- */

static enum hf_status loop_check(char error[HF_LOOP_ERROR_MAX], const struct hf_loop_config *config)
{
    const char *why = NULL;
    uint32_t buffers = config->receive_buffers;
    if (!config->engine || !config->source)
        why = "engine and source are needed";
    else if (config->socket_count > HF_SOCKETS_MAX)
        why = "more than 256 sockets";
    else if (buffers < 2 || buffers > 32768 || (buffers & (buffers - 1)) != 0)
        why = "receive_buffers: a power of two from 2 to 32768";
    else if (config->batch_linger_us > HF_SECOND_US)
        why = "batch_linger_us: at most a second";
    else if (config->connections_max == 0 || config->connections_max > 1u << 24)
        why = "connections_max: 1 to 2^24";
    else if (config->send_queue_len_high < 4096 || config->send_queue_len_max > 1u << 30 ||
             config->send_queue_len_max / 4 < config->send_queue_len_high)
        why = "send_queue_len_high: from 4096 to a quarter of send_queue_len_max";
    for (uint32_t i = 0; !why && i < config->socket_count; ++i)
        why = hf_socket_fault(&config->sockets[i], config->engine);
    if (!why)
        return HF_OK;
    snprintf(error, HF_LOOP_ERROR_MAX, "configuration: %s", why);
    return HF_E_CONFIG;
}

static enum hf_status loop_open_engine(struct hf_loop *loop, char error[HF_LOOP_ERROR_MAX],
                                       const struct hf_loop_config *config)
{
    const char *why;
    enum hf_status status = hf_config_check(&why, config->engine);
    if (status != HF_OK) {
        snprintf(error, HF_LOOP_ERROR_MAX, "configuration: %s", why);
        return status;
    }
    status = hf_engine_open(&loop->engine, config->engine, config->source);
    if (status == HF_E_MEMORY)
        snprintf(error, HF_LOOP_ERROR_MAX, "engine: %s: %zu bytes are needed",
                 hf_status_text(status), hf_config_memory(config->engine));
    else if (status != HF_OK)
        snprintf(error, HF_LOOP_ERROR_MAX, "engine: %s", hf_status_text(status));
    if (status == HF_OK && config->is_dtls_notified_on_stop) {
        loop->notified_max = 2 * (size_t)config->engine->associations_max;
        loop->notified = malloc(loop->notified_max * sizeof *loop->notified);
        HF_COUNT(loop, memory_len, loop->notified_max * sizeof *loop->notified);
        if (!loop->notified) {
            snprintf(error, HF_LOOP_ERROR_MAX, "loop: out of memory");
            return HF_E_MEMORY;
        }
    }
    return status;
}

static enum hf_status loop_open_backend(struct hf_loop *loop, const struct hf_backend *backend,
                                        char error[HF_LOOP_ERROR_MAX])
{
    uint64_t memory_len = loop->counters.memory_len;
    loop->backend = backend;
    enum hf_status status = backend->open(loop, error);
    if (status == HF_OK)
        return HF_OK;
    backend->close(loop);
    loop->backend = NULL;
    HF_COUNT(loop, memory_len, memory_len - loop->counters.memory_len);
    return status;
}

/* Whatever io_uring is refused for - a container's filter, a sysctl, an old kernel, a limit -,
 * epoll does. */
static enum hf_status loop_choose(struct hf_loop *loop, char error[HF_LOOP_ERROR_MAX])
{
    enum hf_loop_io io = loop->config.io;
    snprintf(loop->io_reason, sizeof loop->io_reason, "configured");
    if (io == HF_LOOP_IO_EPOLL)
        return loop_open_backend(loop, &hf_backend_epoll, error);
    enum hf_status status = loop_open_backend(loop, &hf_backend_uring, error);
    if (io == HF_LOOP_IO_URING)
        return status;
    if (status == HF_OK) {
        snprintf(loop->io_reason, sizeof loop->io_reason, "it is there");
        return HF_OK;
    }
    snprintf(loop->io_reason, sizeof loop->io_reason, "%s", error);
    error[0] = '\0';
    return loop_open_backend(loop, &hf_backend_epoll, error);
}

static enum hf_status loop_open_all(struct hf_loop *loop, char error[HF_LOOP_ERROR_MAX],
                                    const struct hf_loop_config *config)
{
    loop->wake_fd = eventfd(0, EFD_CLOEXEC);
    loop->sockets = calloc(config->socket_count + 1, sizeof *loop->sockets);
    if (loop->wake_fd < 0 || !loop->sockets || hf_connection_open(loop) != HF_OK) {
        snprintf(error, HF_LOOP_ERROR_MAX, "loop: %s", strerror(errno));
        return HF_E_MEMORY;
    }
    enum hf_status status = loop_choose(loop, error);
    if (status != HF_OK)
        return status;
    for (uint32_t i = 0; i < config->socket_count; ++i) {
        status = hf_socket_open(&loop->sockets[i], error, &config->sockets[i], config);
        if (status != HF_OK)
            return status;
        hf_gate_open(loop, &loop->sockets[i]);
        loop->socket_count = i + 1;
    }
    status = loop_open_engine(loop, error, config);
    return status == HF_OK ? hf_upstream_open(loop, error, config) : status;
}

enum hf_status hf_loop_open(struct hf_loop **out, char error[HF_LOOP_ERROR_MAX],
                            const struct hf_loop_config *config)
{
    *out = NULL;
    error[0] = '\0';
    enum hf_status status = loop_check(error, config);
    if (status != HF_OK)
        return status;
    struct hf_loop *loop = calloc(1, sizeof *loop);
    if (!loop) {
        snprintf(error, HF_LOOP_ERROR_MAX, "loop: out of memory");
        return HF_E_MEMORY;
    }
    loop->config = *config;
    loop->shard_index = config->engine->shard_index;
    loop->wake_fd = -1;
    loop->dialer_count = config->engine->dialer_count;
    for (uint32_t i = 0; i < loop->dialer_count && i < HF_DIALERS_MAX; i++)
        loop->dialers_are_dtls[i] = config->engine->dialers[i].transport == HF_TRANSPORT_DTLS;
    (void)pthread_mutex_init(&loop->engine_counters_lock, NULL);
    hf_post_open(loop);
    HF_COUNT(loop, memory_len, sizeof *loop);
    status = loop_open_all(loop, error, config);
    loop->config.engine = NULL; /* the caller's; not kept */
    loop->config.sockets = NULL;
    loop->config.upstreams = NULL;
    loop->config.upstream_fds = NULL;
    if (status != HF_OK) {
        hf_loop_close(loop);
        return status;
    }
    loop->now_us = hf_loop_now_us();
    hf_counters_publish(loop); /* whoever asks before the first second sees what there is */
    *out = loop;
    return HF_OK;
}

void hf_loop_close(struct hf_loop *loop)
{
    if (!loop)
        return;
    hf_post_end(loop); /* it may never have run */
    loop_shut_sockets(loop);
    if (loop->backend)
        loop->backend->close(loop);
    hf_engine_close(loop->engine);
    hf_stray_free(loop);
    if (loop->wake_fd >= 0)
        (void)close(loop->wake_fd);
    free(loop->notified);
    free(loop->sockets);
    (void)pthread_mutex_destroy(&loop->engine_counters_lock);
    hf_post_close(loop);
    free(loop);
}
