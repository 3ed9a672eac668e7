/**
 * shard.c - the life of a shard's thread, and what is said about its associations.
 *
 * The loop is opened, run and closed on the thread itself: an io_uring belongs to its creator.
 */
#include "shard.h"

#include "keylog.h"
#include "respond.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

struct hf_shard {
    uint32_t index;
    struct hf_shard_shared *shared;
    pthread_t thread;
    struct hf_loop *loop;
    struct hf_respond *respond;
    sem_t opened, may_serve, may_close;
    bool is_open;
    bool is_served; /* false: close without having run */
    bool has_failed;
    char error[HF_LOOP_ERROR_MAX];
};

/* ---- what is logged ----------------------------------------------------------------------- */

static void log_established(struct hf_loop *loop, const struct hf_event *event)
{
    struct hf_log_line line;
    struct hf_association_info info;
    hf_log_begin(&line, HF_LOG_INFO, HF_LOG_SLOT_ESTABLISHED, "association_established", NULL);
    if (!line.is_wanted ||
        hf_engine_association_info(&info, hf_loop_engine(loop), event->association) != HF_OK)
        return;
    const char *suite = hf_suite_name(info.suite);
    hf_log_address(&line, "peer", &event->path.peer);
    hf_log_address(&line, "local", &event->path.local);
    hf_log_octets(&line, "credential",
                  (struct hf_bytes){(const uint8_t *)info.credential_id, info.credential_id_len});
    hf_log_text(&line, "entity_kind", hf_entity_kind_name(info.entity_kind));
    if (info.entity_id_len > 0)
        hf_log_octets(&line, "entity",
                      (struct hf_bytes){(const uint8_t *)info.entity_id, info.entity_id_len});
    hf_log_text(&line, "suite", suite == NULL ? "unknown" : suite);
    hf_log_text(&line, "framework", hf_framework_name(info.framework));
    hf_log_end(&line);
}

static void log_failure(struct hf_log_line *line, const struct hf_event *event)
{
    const struct hf_failure *failure = &event->failure;
    hf_log_address(line, "peer", &event->path.peer);
    if (failure->alert != HF_ALERT_NONE)
        hf_log_text(line, "alert", hf_alert_name(failure->alert));
    if (failure->state != NULL)
        hf_log_text(line, "state", failure->state);
    if (failure->event != NULL)
        hf_log_text(line, "input", failure->event);
    if (failure->clause != NULL && failure->clause[0] != '\0')
        hf_log_text(line, "clause", failure->clause);
}

static void log_closed(const struct hf_event *event)
{
    struct hf_log_line line;
    enum hf_status status = event->failure.status;
    hf_log_begin(&line, HF_LOG_DEBUG, HF_LOG_SLOT_CLOSED + (uint32_t)status, "association_closed",
                 hf_status_reason(status));
    log_failure(&line, event);
    hf_log_end(&line);
}

static void log_handshake_failed(const struct hf_event *event)
{
    struct hf_log_line line;
    enum hf_status status = event->failure.status;
    hf_log_begin(&line, HF_LOG_NOTICE, HF_LOG_SLOT_FAILED + (uint32_t)status, "handshake_failed",
                 hf_status_reason(status));
    log_failure(&line, event);
    if (event->psk_identity_len > 0)
        hf_log_octets(&line, "identity",
                      (struct hf_bytes){event->psk_identity, event->psk_identity_len});
    hf_log_end(&line);
}

/* ---- the loop's handlers ------------------------------------------------------------------ */

static void handle_event(struct hf_loop *loop, const struct hf_event *event, void *arg)
{
    struct hf_shard *shard = arg;
    switch (event->kind) {
    case HF_EVENT_ESTABLISHED:
        log_established(loop, event);
        break;
    case HF_EVENT_DATA:
        hf_respond_data(shard->respond, loop, event,
                        shard->shared->options->listeners[event->listener_index].transport);
        break;
    case HF_EVENT_PEER_CLOSED:
        hf_loop_end(loop, event->association, HF_CLOSE_NOTIFY);
        break;
    case HF_EVENT_CLOSED:
        hf_respond_forget(shard->respond, event->association);
        log_closed(event);
        break;
    case HF_EVENT_HANDSHAKE_FAILED:
        log_handshake_failed(event);
        break;
    case HF_EVENT_KEYLOG:
        if (shard->shared->keylog_fd >= 0)
            hf_keylog_write(shard->shared->keylog_fd, event);
        break;
    case HF_EVENT_READABLE: /* the loop's own concern */
        break;
    }
}

static void handle_second(struct hf_loop *loop, void *arg)
{
    struct hf_shard *shard = arg;
    hf_respond_second(shard->respond, loop);
}

/* ---- the thread --------------------------------------------------------------------------- */

static bool open_loop(struct hf_shard *shard)
{
    const struct hf_shard_shared *shared = shard->shared;
    struct hf_config engine;
    struct hf_loop_config config;
    hf_options_engine(&engine, shared->options, shard->index);
    hf_options_loop(&config, shared->options);
    memcpy(engine.cookie_secret, shared->cookie_secret, sizeof(engine.cookie_secret));
    struct hf_key_source source = hf_keystore_source(shared->keystore, shard->index);
    config.engine = &engine;
    config.source = &source;
    config.sockets = shared->sockets;
    config.handlers =
        (struct hf_loop_handlers){.event = handle_event, .second = handle_second, .arg = shard};
    enum hf_status status = hf_loop_open(&shard->loop, shard->error, &config);
    explicit_bzero(&engine, sizeof(engine));
    return status == HF_OK;
}

static void *live(void *arg)
{
    struct hf_shard *shard = arg;
    shard->is_open = open_loop(shard);
    sem_post(&shard->opened);
    if (!shard->is_open)
        return NULL;
    while (sem_wait(&shard->may_serve) != 0)
        continue;
    if (shard->is_served) {
        shard->has_failed = hf_loop_run(shard->loop, shard->error) != HF_OK;
        if (shard->has_failed)
            hf_log_message(HF_LOG_ERROR, "shard_failed", "shard %u: %s", shard->index,
                           shard->error);
        (void)eventfd_write(shard->shared->end_fd, 1);
    }
    while (sem_wait(&shard->may_close) != 0)
        continue;
    hf_loop_close(shard->loop);
    return NULL;
}

static void free_shard(struct hf_shard *shard)
{
    hf_respond_close(shard->respond);
    sem_destroy(&shard->opened);
    sem_destroy(&shard->may_serve);
    sem_destroy(&shard->may_close);
    free(shard);
}

bool hf_shard_start(struct hf_shard **out, char error[HF_LOOP_ERROR_MAX],
                    struct hf_shard_shared *shared, uint32_t index)
{
    struct hf_shard *shard = calloc(1, sizeof(*shard));
    if (shard == NULL) {
        snprintf(error, HF_LOOP_ERROR_MAX, "no memory for shard %u", index);
        return false;
    }
    shard->index = index;
    shard->shared = shared;
    sem_init(&shard->opened, 0, 0);
    sem_init(&shard->may_serve, 0, 0);
    sem_init(&shard->may_close, 0, 0);
    shard->respond = hf_respond_open(shared->options->respond);
    snprintf(shard->error, sizeof(shard->error), "no memory or thread for shard %u", index);
    if (shard->respond != NULL && pthread_create(&shard->thread, NULL, live, shard) == 0) {
        while (sem_wait(&shard->opened) != 0)
            continue;
        if (!shard->is_open)
            pthread_join(shard->thread, NULL);
    }
    if (!shard->is_open) {
        memcpy(error, shard->error, HF_LOOP_ERROR_MAX);
        free_shard(shard);
        return false;
    }
    *out = shard;
    return true;
}

void hf_shard_serve(struct hf_shard *shard)
{
    shard->is_served = true;
    sem_post(&shard->may_serve);
}

void hf_shard_stop(struct hf_shard *shard)
{
    hf_loop_stop(shard->loop);
}

bool hf_shard_close(struct hf_shard *shard)
{
    if (!shard->is_served)
        sem_post(&shard->may_serve);
    sem_post(&shard->may_close);
    pthread_join(shard->thread, NULL);
    bool has_failed = shard->has_failed;
    free_shard(shard);
    return !has_failed;
}

struct hf_loop *hf_shard_loop(const struct hf_shard *shard)
{
    return shard->loop;
}
