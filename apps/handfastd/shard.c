/**
 * shard.c - the life of a shard's thread. What is said about its associations: shard_log.c.
 *
 * The loop is opened, run and closed on the thread itself: an io_uring belongs to its creator.
 */
#include "shard.h"

#include "ending.h"
#include "failures.h"
#include "forward.h"
#include "keylog.h"
#include "respond.h"
#include "shard_log.h"
#include "shortage.h"
#include "signers.h"
#include "takeover.h"

#include <handover.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#define UNFIT_SLOTS_PER_SECOND 65536u /* about half a millisecond */
#define UNFIT_ENDS_PER_SECOND 256u    /* they all come back at once */

struct hf_shard {
    uint32_t index;
    struct hf_shard_shared *shared;
    struct hf_key_source sources[HF_AUTHORITIES_MAX];
    _Atomic uint64_t handshakes[HF_LISTENERS_MAX][2][HF_STATUS_COUNT]; /* one writer */
    uint32_t unfit_cursor;  /* of the endless walk that ends what has expired or was revoked */
    _Atomic bool is_waking; /* a task to drain the key stores is under way */
    struct hf_ending *ending;
    struct hf_shortage shortage;
    pthread_t thread;
    struct hf_loop *loop;
    struct hf_respond *respond;
    struct hf_dialers *dialers;
    sem_t opened, may_serve, frozen, may_close;
    bool is_open;
    bool is_served; /* false: close without having run */
    bool is_left;   /* handed over */
    bool has_failed;
    _Atomic bool has_ended;
    char error[HF_LOOP_ERROR_MAX];
};

/* ---- ending associations whose key is gone ------------------------------------------------ */

static bool report_ending(bool is_taken)
{
    if (!is_taken)
        hf_log_message(HF_LOG_ERROR, "ending_failed",
                       "no memory to find the associations of keys that are gone: they stay");
    return is_taken;
}

bool hf_shard_end_keys(struct hf_shard *shard, const uint64_t *contexts, size_t count)
{
    return report_ending(hf_ending_gone(shard->ending, shard->loop, contexts, count));
}

bool hf_shard_end_unkept(struct hf_shard *shard, uint32_t authority_index, uint64_t newest,
                         const uint64_t *contexts, size_t count)
{
    return report_ending(
        hf_ending_unkept(shard->ending, shard->loop, authority_index, newest, contexts, count));
}

/* ---- key stores answer later -------------------------------------------------------------- */

static void drain(struct hf_loop *loop, void *arg)
{
    struct hf_shard *shard = arg;
    atomic_store(&shard->is_waking, false);
    for (uint32_t i = 0; i < shard->shared->config->authority_count; i++)
        hf_authority_drain(shard->shared->authorities[i], shard->index, hf_loop_engine(loop),
                           shard->shared->maf);
    hf_maf_drain(shard->shared->maf, shard->index, hf_loop_engine(loop));
}

/* One task at a time; what comes while it runs posts the next. If the queue is full the look each
 * second finds the answers. */
void hf_shard_wake(struct hf_shard *shard)
{
    if (!atomic_exchange(&shard->is_waking, true) && !hf_loop_post(shard->loop, drain, shard))
        atomic_store(&shard->is_waking, false);
}

/* Answers with the revoked key that are on their way come first: then they are found, too. */
struct revoke {
    struct hf_shard *shard;
    uint64_t context;
};

static void revoke(struct hf_loop *loop, void *arg)
{
    struct revoke *task = arg;
    drain(loop, task->shard);
    (void)hf_shard_end_keys(task->shard, &task->context, 1);
    free(task);
}

bool hf_shard_revoke(struct hf_shard *shard, uint64_t context)
{
    struct revoke *task = malloc(sizeof(*task));
    if (task == NULL)
        return report_ending(false);
    *task = (struct revoke){shard, context};
    if (hf_loop_post(shard->loop, revoke, task))
        return true;
    free(task);
    return false;
}

/* ---- what a reload changes ---------------------------------------------------------------- */

struct update {
    struct hf_shard *shard;
    const struct hf_daemon_config *config;
    sem_t done;
};

static void update_limits(struct hf_loop *loop, const struct update *update)
{
    struct hf_config engine;
    struct hf_quota quotas[HF_QUOTAS_MAX];
    hf_daemon_config_engine(&engine, quotas, update->config, update->shard->index);
    enum hf_status status = hf_engine_update_limits(hf_loop_engine(loop), &engine);
    hf_loop_set_flood_hellos(loop, (uint32_t)update->config->flood_hellos);
    if (status != HF_OK)
        hf_log_message(HF_LOG_ERROR, "reload_failed", "limits: %s", hf_status_text(status));
}

/* All of it was checked before it came here. */
static void update_all(struct hf_loop *loop, void *arg)
{
    struct update *update = arg;
    update_limits(loop, update);
    hf_engine_set_secrets(hf_loop_engine(loop), &update->shard->shared->sessions.secrets);
    for (uint32_t i = 0; i < update->config->socket_count; i++) {
        enum hf_status status =
            hf_engine_update_listener(hf_loop_engine(loop), i, &update->config->listeners[i]);
        if (status != HF_OK)
            hf_log_message(HF_LOG_ERROR, "reload_failed", "listener %s: %s",
                           update->config->details[i].name, hf_status_text(status));
        hf_respond_set(update->shard->respond, i, update->config->details[i].respond);
    }
    for (uint32_t i = 0; i < update->config->dialer_count; i++) {
        enum hf_status status =
            hf_engine_update_dialer(hf_loop_engine(loop), i, &update->config->dialled[i]);
        if (status != HF_OK)
            hf_log_message(HF_LOG_ERROR, "reload_failed", "dialer %s: %s",
                           update->config->dialers[i].name, hf_status_text(status));
    }
    hf_dialers_update(update->shard->dialers, update->config);
    update->shard->unfit_cursor = 0; /* what was revoked just now is looked for first */
    sem_post(&update->done);
}

bool hf_shard_update(struct hf_shard *shard, const struct hf_daemon_config *config)
{
    struct update update = {.shard = shard, .config = config};
    sem_init(&update.done, 0, 0);
    bool is_taken = hf_loop_post(shard->loop, update_all, &update);
    while (is_taken && sem_wait(&update.done) != 0)
        continue;
    sem_destroy(&update.done);
    return is_taken;
}

/* ---- the loop's handlers ------------------------------------------------------------------ */

static void count_handshake(struct hf_shard *shard, uint32_t listener_index, bool is_certificate,
                            enum hf_status status)
{
    _Atomic uint64_t *counter = &shard->handshakes[listener_index][is_certificate][status];
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

/* Of an association we have dialled. */
static void handle_dialled_event(struct hf_shard *shard, struct hf_loop *loop,
                                 const struct hf_event *event)
{
    if (event->kind == HF_EVENT_ESTABLISHED)
        hf_shard_log_established(shard->shared->config, loop, event);
    if (event->kind == HF_EVENT_CLOSED)
        hf_shard_log_closed(shard->shared->config, event);
    if (event->kind == HF_EVENT_CLOSED || event->kind == HF_EVENT_HANDSHAKE_FAILED)
        hf_failures_add(event);
    if (event->kind == HF_EVENT_KEYLOG && shard->shared->keylog_fd >= 0)
        hf_keylog_write(shard->shared->keylog_fd, event);
    hf_dialers_event(shard->dialers, loop, event);
}

/* Somebody we are to dial back may have come. */
static void note_met(struct hf_shard *shard, struct hf_loop *loop, const struct hf_event *event)
{
    struct hf_association_info info;
    if (shard->shared->config->dialer_count > 0 &&
        hf_engine_association_info(&info, hf_loop_engine(loop), event->association) == HF_OK)
        hf_dialers_met(shard->dialers, &info);
}

static void handle_event(struct hf_loop *loop, const struct hf_event *event, void *arg)
{
    struct hf_shard *shard = arg;
    if (event->is_client) {
        handle_dialled_event(shard, loop, event);
        return;
    }
    switch (event->kind) {
    case HF_EVENT_ESTABLISHED:
        count_handshake(shard, event->listener_index, event->framework == HF_FRAMEWORK_CERTIFICATE,
                        HF_OK);
        note_met(shard, loop, event);
        hf_shard_log_established(shard->shared->config, loop, event);
        break;
    case HF_EVENT_DATA:
        hf_respond_data(shard->respond, loop, event,
                        shard->shared->config->listeners[event->listener_index].transport);
        break;
    case HF_EVENT_PEER_CLOSED:
        hf_loop_end(loop, event->association, HF_CLOSE_NOTIFY);
        break;
    case HF_EVENT_CLOSED:
        hf_respond_forget(shard->respond, event->association);
        hf_failures_add(event);
        hf_shard_log_closed(shard->shared->config, event);
        break;
    case HF_EVENT_HANDSHAKE_FAILED:
        count_handshake(shard, event->listener_index, event->framework == HF_FRAMEWORK_CERTIFICATE,
                        event->failure.status);
        hf_failures_add(event);
        hf_shard_log_handshake_failed(shard->shared->config, event);
        break;
    case HF_EVENT_KEYLOG:
        if (shard->shared->keylog_fd >= 0)
            hf_keylog_write(shard->shared->keylog_fd, event);
        break;
    case HF_EVENT_MOVED:
        hf_shard_log_moved(shard->shared->config, event);
        break;
    case HF_EVENT_SESSION:  /* a client's */
    case HF_EVENT_READABLE: /* the loop's own concern */
        break;
    }
}

/* Of a shard that has ended, the loop is still there: none is closed before all have. */
static struct hf_loop *find_loop(struct hf_loop *loop, uint32_t shard_index, void *arg)
{
    const struct hf_shard *shard = arg;
    (void)loop;
    return shard->shared->shards[shard_index]->loop;
}

static void handle_entered(struct hf_loop *loop, uint32_t dialer_index, uint64_t entrance,
                           void *arg)
{
    const struct hf_shard *shard = arg;
    hf_dialers_entered(shard->dialers, loop, dialer_index, entrance);
}

static void handle_dialled(struct hf_loop *loop, uint64_t user, hf_association_id association,
                           enum hf_status status, void *arg)
{
    const struct hf_shard *shard = arg;
    hf_dialers_dialled(shard->dialers, loop, user, association, status);
}

static void handle_refused(struct hf_loop *loop, uint32_t listener_index, enum hf_status status,
                           void *arg)
{
    (void)loop;
    count_handshake(arg, listener_index, false, status);
}

/* A slice a second of an endless walk: what a reload has revoked, or time, ends in its turn. */
static void end_unfit(struct hf_shard *shard, struct hf_loop *loop)
{
    struct hf_engine *engine = hf_loop_engine(loop);
    uint32_t slots = hf_engine_association_slots(engine);
    uint32_t end = shard->unfit_cursor + UNFIT_SLOTS_PER_SECOND;
    struct hf_log_line line;
    uint32_t ended = hf_engine_end_unfit(engine, &shard->unfit_cursor, end < slots ? end : slots,
                                         UNFIT_ENDS_PER_SECOND);
    if (shard->unfit_cursor >= slots)
        shard->unfit_cursor = 0;
    if (ended == 0)
        return;
    hf_log_begin(&line, HF_LOG_NOTICE, HF_LOG_SLOT_UNLIMITED, "associations_ended", "unfit");
    hf_log_number(&line, "shard", shard->index);
    hf_log_number(&line, "associations", ended);
    hf_log_end(&line);
}

static void handle_second(struct hf_loop *loop, void *arg)
{
    struct hf_shard *shard = arg;
    end_unfit(shard, loop);
    hf_respond_second(shard->respond, loop);
    drain(loop, shard);
    hf_dialers_second(shard->dialers, loop);
    hf_ending_second(shard->ending, loop);
    hf_shortage_second(&shard->shortage, loop, shard->index);
}

/* Each authority of a listener has its own keys; the engine has seen to it that the name is known.
 * A certificate that does not say whose it is, and that the entity map does not know, leaves that
 * to the CSE, at registration: on Mca, that is; the engine refuses a CSE nobody knows. */
static void request_key(struct hf_engine *engine, const struct hf_request *request, void *arg)
{
    const struct hf_shard *shard = arg;
    const struct hf_daemon_config *config = shard->shared->config;
    uint32_t authority = hf_daemon_config_authority(config, request->listener_index,
                                                    request->is_client, request->server_name);
    /* Of a certificate's session the engine has seen to it that nothing of it is revoked. */
    bool is_kind = request->credential_id.len > 0 && request->credential_id.data[0] == '3';
    bool is_certificate = request->kind == HF_REQUEST_IDENTITY
                              ? is_kind || request->psk_identity.len == 0
                              : is_kind && request->kind == HF_REQUEST_SESSION;
    if (is_certificate) {
        hf_authority_identify(shard->shared->authorities[authority], shard->index, engine, request);
        return;
    }
    if (request->kind == HF_REQUEST_KEY &&
        hf_maf_is_for(shard->shared->maf, config->authorities[authority].maf_set,
                      request->psk_identity)) {
        const struct hf_onward_question question = {request->ticket, request->psk_identity,
                                                    request->path->peer};
        if (!hf_authority_try(shard->shared->authorities[authority], shard->index, engine, request))
            hf_maf_ask(shard->shared->maf, shard->index, engine, &question);
        return;
    }
    const struct hf_key_source *source = &shard->sources[authority];
    source->request(engine, request, source->arg);
}

/* Only what goes to a MAF can be called off; for a ticket that did not, nothing happens. */
static void cancel_key(struct hf_ticket ticket, void *arg)
{
    const struct hf_shard *shard = arg;
    if (shard->shared->maf == NULL)
        return;
    for (uint32_t i = 0; i < shard->shared->config->authority_count; i++)
        hf_authority_cancel(shard->shared->authorities[i], shard->index, ticket);
    hf_maf_cancel(shard->shared->maf, shard->index, ticket);
}

/* ---- the thread --------------------------------------------------------------------------- */

static bool open_loop(struct hf_shard *shard)
{
    const struct hf_shard_shared *shared = shard->shared;
    struct hf_config engine;
    struct hf_quota quotas[HF_QUOTAS_MAX];
    struct hf_loop_config config;
    struct hf_loop_upstream upstreams[HF_LISTENERS_MAX];
    struct hf_loop_socket sockets[HF_LISTENERS_MAX + 2 * HF_DAEMON_DIALERS_MAX];
    hf_daemon_config_engine(&engine, quotas, shared->config, shard->index);
    hf_daemon_config_loop(&config, shared->config);
    hf_forward_loop(upstreams, &config, shared->config);
    engine.secrets = shared->sessions.secrets;
    engine.sessions = shared->sessions.cache;
    for (uint32_t i = 0; i < shared->config->authority_count; i++)
        shard->sources[i] = hf_authority_source(shared->authorities[i], shard->index);
    struct hf_key_source source = {.request = request_key, .cancel = cancel_key, .arg = shard};
    config.engine = &engine;
    config.source = &source;
    memcpy(sockets, shared->sockets, sizeof(shared->sockets));
    config.sockets = sockets;
    config.socket_count = hf_dialers_sockets(shard->dialers, sockets, config.socket_count);
    config.upstream_fds =
        hf_takeover_sockets(sockets, config.socket_count, shared->takeover, shard->index);
    config.handlers = (struct hf_loop_handlers){
        .event = handle_event,
        .second = handle_second,
        .refused = handle_refused,
        .shard = find_loop,
        .entered = handle_entered,
        .dialled = handle_dialled,
        .sign = hf_signers_sign,
        .flood = hf_shard_log_flood,
        .arg = shard,
    };
    enum hf_status status = hf_loop_open(&shard->loop, shard->error, &config);
    explicit_bzero(&engine, sizeof(engine));
    if (status == HF_OK)
        hf_dialers_opened(shard->dialers, shard->loop);
    return status == HF_OK;
}

/* Until it stops; or, frozen, until it is said how it goes on. */
static bool run(struct hf_shard *shard)
{
    enum hf_status status = HF_WAITING;
    while ((status = hf_loop_run(shard->loop, shard->error)) == HF_WAITING) {
        sem_post(&shard->frozen);
        while (sem_wait(&shard->may_serve) != 0)
            continue;
        if (shard->is_left)
            return true;
    }
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
        hf_dialers_adopt(shard->dialers, shard->loop);
        shard->has_failed = !run(shard);
        if (shard->has_failed)
            hf_log_message(HF_LOG_ERROR, "shard_failed", "shard %u: %s", shard->index,
                           shard->error);
        shard->has_ended = true;
        sem_post(&shard->frozen);
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
    hf_ending_close(shard->ending);
    hf_dialers_close(shard->dialers);
    sem_destroy(&shard->opened);
    sem_destroy(&shard->may_serve);
    sem_destroy(&shard->frozen);
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
    if (index == 0) /* the first one to start */
        pthread_mutex_init(&shared->pairs.lock, NULL);
    shard->index = index;
    shard->shared = shared;
    sem_init(&shard->opened, 0, 0);
    sem_init(&shard->may_serve, 0, 0);
    sem_init(&shard->frozen, 0, 0);
    sem_init(&shard->may_close, 0, 0);
    shard->respond = hf_respond_open(HF_RESPOND_NONE);
    shard->ending = hf_ending_open(shared->config, index);
    shard->dialers = hf_dialers_open(shared->config, index, &shared->pairs);
    for (uint32_t i = 0; shard->respond != NULL && i < shared->config->socket_count; i++)
        hf_respond_set(shard->respond, i, shared->config->details[i].respond);
    snprintf(shard->error, sizeof(shard->error), "no memory or thread for shard %u", index);
    if (shard->respond != NULL && shard->ending != NULL && shard->dialers != NULL &&
        pthread_create(&shard->thread, NULL, live, shard) == 0) {
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

/* ---- handing over ------------------------------------------------------------------------- */

void hf_shard_freeze(struct hf_shard *shard)
{
    hf_loop_freeze(shard->loop);
}

bool hf_shard_is_frozen(struct hf_shard *shard)
{
    while (sem_wait(&shard->frozen) != 0)
        continue;
    return !shard->has_ended;
}

void hf_shard_leave(struct hf_shard *shard)
{
    shard->is_left = true;
    sem_post(&shard->may_serve);
}

enum { IS_DRAINING = 1, IS_CLOSING = 2 };

/* What to do is in the pointer itself. */
static void set_drain(struct hf_loop *loop, void *arg)
{
    uintptr_t what = (uintptr_t)arg;
    hf_loop_drain(loop, what & IS_DRAINING, what & IS_CLOSING);
}

void hf_shard_drain(struct hf_shard *shard, bool is_draining, bool is_closing)
{
    uintptr_t what = is_draining ? IS_DRAINING | (is_closing ? IS_CLOSING : 0) : 0;
    (void)!hf_loop_post(shard->loop, set_drain, (void *)what);
}

struct count {
    uint32_t half_open;
    sem_t done;
};

static void count_half_open(struct hf_loop *loop, void *arg)
{
    struct hf_counters counters;
    struct count *count = arg;
    hf_engine_counters(&counters, hf_loop_engine(loop));
    count->half_open = counters.handshakes_open;
    sem_post(&count->done);
}

uint32_t hf_shard_half_open(struct hf_shard *shard)
{
    struct count count = {0};
    sem_init(&count.done, 0, 0);
    if (hf_loop_post(shard->loop, count_half_open, &count))
        while (sem_wait(&count.done) != 0)
            continue;
    sem_destroy(&count.done);
    return count.half_open;
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

uint32_t hf_shard_index(const struct hf_shard *shard)
{
    return shard->index;
}

bool hf_shard_dialer_status(struct hf_dialer_status *out, const struct hf_shard *shard,
                            uint32_t dialer_index)
{
    return hf_dialers_status(out, shard->dialers, dialer_index);
}

uint64_t hf_shard_handshakes(const struct hf_shard *shard, uint32_t listener_index,
                             bool is_certificate, enum hf_status status)
{
    return atomic_load_explicit(&shard->handshakes[listener_index][is_certificate][status],
                                memory_order_relaxed);
}
