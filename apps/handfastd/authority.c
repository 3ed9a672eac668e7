/**
 * authority.c - see authority.h.
 */
#include "authority.h"

#include <errno.h>
#include <keystore_service.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

struct hf_authority {
    struct hf_keystore *file; /* one of the two, or none */
    struct hf_keystore_service *store;
    struct hf_credentials credentials, prepared;
    struct hf_entities *entities;
    pthread_mutex_t expiry_lock; /* metrics read it on a thread of their own */
    struct hf_credentials_expiry expiry;
    uint8_t context_key[16];
    struct hf_authority_embedder embedder;
    uint32_t index;
    /* The store's service has one shard more than there are: ours, for questions of people. */
    uint32_t own_shard;
    uint32_t question; /* number of the last */
    sem_t answered;
    struct hf_onward *onward[HF_SHARDS_MAX]; /* with a store only */
};

#define PATIENCE_S 2
#define ONWARD_MAX 1024 /* of a shard: what a store takes by default */

static void log_store(bool is_error, const char *event, const char *text, void *arg)
{
    (void)arg;
    hf_log_message(is_error ? HF_LOG_ERROR : HF_LOG_NOTICE, event, "%s", text);
}

/* ---- a store ------------------------------------------------------------------------------ */

static void wake(uint32_t shard_index, void *arg)
{
    struct hf_authority *authority = arg;
    if (shard_index == authority->own_shard)
        sem_post(&authority->answered);
    else
        authority->embedder.wake(shard_index, authority->embedder.arg);
}

static void retired(const uint64_t *contexts, size_t count, void *arg)
{
    const struct hf_authority *authority = arg;
    authority->embedder.retired(contexts, count, authority->index, authority->embedder.arg);
}

static void kept(const uint64_t *contexts, size_t count, uint64_t newest, void *arg)
{
    const struct hf_authority *authority = arg;
    authority->embedder.kept(contexts, count, newest, authority->index, authority->embedder.arg);
}

static enum hf_authority_knows judge(const struct hf_answer *answer)
{
    if (answer->kind == HF_ANSWER_REFUSED)
        return HF_AUTHORITY_HAS_NOT;
    if (answer->kind != HF_ANSWER_PSK)
        return HF_AUTHORITY_CANNOT_TELL;
    return answer->expires_s != 0 && answer->expires_s <= (int64_t)time(NULL)
               ? HF_AUTHORITY_HAS_EXPIRED
               : HF_AUTHORITY_HAS;
}

/* Answers to questions whose asker had gone are passed over. */
static enum hf_authority_knows ask_store(struct hf_authority *authority,
                                         struct hf_bytes psk_identity)
{
    struct hf_ticket ticket = {.seq = ++authority->question};
    struct hf_ticket got;
    struct hf_answer answer;
    uint8_t scratch[HF_CREDENTIAL_ID_MAX];
    struct timespec until;
    enum hf_authority_knows knows = HF_AUTHORITY_CANNOT_TELL;
    bool is_answered = false;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += PATIENCE_S;
    if (!hf_keystore_service_submit(authority->store, authority->own_shard, ticket, psk_identity))
        return HF_AUTHORITY_CANNOT_TELL;
    while (!is_answered) {
        while (!is_answered && hf_keystore_service_take(&got, &answer, scratch, authority->store,
                                                        authority->own_shard)) {
            is_answered = got.seq == ticket.seq;
            knows = judge(&answer);
        }
        if (!is_answered && sem_clockwait(&authority->answered, CLOCK_MONOTONIC, &until) != 0 &&
            errno != EINTR)
            return HF_AUTHORITY_CANNOT_TELL;
    }
    /* Taking once more wipes the key that came with it. */
    while (hf_keystore_service_take(&got, &answer, scratch, authority->store, authority->own_shard))
        continue;
    return knows;
}

static bool open_store(struct hf_authority *authority, char *error,
                       const struct hf_daemon_authority *config, uint32_t shard_count,
                       const struct hf_sandbox *sandbox)
{
    _Static_assert(HF_KEYDB_ERROR_MAX <= HF_KEYSTORE_ERROR_MAX, "one error fits the other");
    struct hf_keystore_service_config service;
    hf_keystore_service_config_init(&service);
    service.path = config->key_store;
    service.authority = config->name;
    authority->own_shard = shard_count;
    service.shard_count = shard_count + 1;
    for (uint32_t i = 0; i < shard_count; i++) {
        authority->onward[i] = hf_onward_open(ONWARD_MAX);
        if (authority->onward[i] == NULL) {
            snprintf(error, HF_KEYSTORE_ERROR_MAX, "no memory for authority %s", config->name);
            return false;
        }
    }
    if (sandbox->has_user) {
        service.uid = sandbox->uid;
        service.gid = sandbox->gid;
    }
    service.wake = wake;
    service.retired = retired;
    service.kept = kept;
    service.log = log_store;
    service.arg = authority;
    return hf_keystore_service_open(&authority->store, error, &service);
}

/* ---- either ------------------------------------------------------------------------------- */

/* The same key in two authorities is two keys: each has a context key of its own. */
static bool open_file(struct hf_authority *authority, char *error,
                      const struct hf_daemon_authority *config, uint32_t shard_count)
{
    const struct hf_authority_embedder *embedder = &authority->embedder;
    const uint8_t *known =
        embedder->context_key == NULL ? NULL : embedder->context_key(config->name, embedder->arg);
    if (known != NULL) {
        memcpy(authority->context_key, known, sizeof(authority->context_key));
    } else if (getrandom(authority->context_key, sizeof(authority->context_key), 0) !=
               (ssize_t)sizeof(authority->context_key)) {
        snprintf(error, HF_KEYSTORE_ERROR_MAX, "randomness: %s", strerror(errno));
        return false;
    }
    return hf_keystore_open(&authority->file, error, config->psk_file, shard_count,
                            authority->context_key);
}

bool hf_authority_contexts(const struct hf_authority *authority, uint64_t **out, size_t *out_count)
{
    return authority->file != NULL && hf_keystore_contexts(authority->file, out, out_count);
}

const uint8_t *hf_authority_context_key(const struct hf_authority *authority)
{
    return authority->context_key;
}

static void note_expiry(struct hf_authority *authority)
{
    struct hf_credentials_expiry expiry;
    hf_credentials_expiry_get(&expiry, &authority->credentials);
    pthread_mutex_lock(&authority->expiry_lock);
    authority->expiry = expiry;
    pthread_mutex_unlock(&authority->expiry_lock);
}

static bool open_credentials(struct hf_authority *authority, char *error,
                             const struct hf_daemon_authority *config)
{
    _Static_assert(HF_CREDENTIALS_ERROR_MAX <= HF_KEYSTORE_ERROR_MAX, "one error fits the other");
    if (!hf_credentials_load(&authority->credentials, error, config))
        return false;
    note_expiry(authority);
    return true;
}

/* An authority without pre-shared keys knows none. */
static void refuse(struct hf_engine *engine, const struct hf_request *request, void *arg)
{
    static const struct hf_answer refused = {.kind = HF_ANSWER_REFUSED};
    (void)arg;
    (void)hf_engine_answer(engine, request->ticket, &refused);
}

bool hf_authority_open(struct hf_authority **out, char error[HF_KEYSTORE_ERROR_MAX],
                       const struct hf_daemon_authority *config, uint32_t authority_index,
                       uint32_t shard_count, const struct hf_sandbox *sandbox,
                       const struct hf_authority_embedder *embedder)
{
    struct hf_authority *authority = calloc(1, sizeof(*authority));
    if (authority == NULL) {
        snprintf(error, HF_KEYSTORE_ERROR_MAX, "no memory for authority %s", config->name);
        return false;
    }
    authority->embedder = *embedder;
    pthread_mutex_init(&authority->expiry_lock, NULL);
    sem_init(&authority->answered, 0, 0);
    authority->index = authority_index;
    _Static_assert(HF_ENTITIES_ERROR_MAX <= HF_KEYSTORE_ERROR_MAX, "one error fits the other");
    bool is_open = open_credentials(authority, error, config) &&
                   hf_entities_open(&authority->entities, error, config->entity_map, config->name,
                                    shard_count);
    if (is_open && config->key_store[0] != '\0')
        is_open = open_store(authority, error, config, shard_count, sandbox);
    else if (is_open && config->psk_file[0] != '\0')
        is_open = open_file(authority, error, config, shard_count);
    if (is_open)
        *out = authority;
    else
        hf_authority_close(authority);
    return is_open;
}

void hf_authority_close(struct hf_authority *authority)
{
    if (authority == NULL)
        return;
    hf_keystore_service_close(authority->store);
    for (uint32_t i = 0; i < HF_SHARDS_MAX; i++)
        hf_onward_close(authority->onward[i]);
    hf_keystore_close(authority->file);
    hf_credentials_free(&authority->credentials);
    hf_credentials_free(&authority->prepared);
    hf_entities_close(authority->entities);
    pthread_mutex_destroy(&authority->expiry_lock);
    sem_destroy(&authority->answered);
    free(authority);
}

struct hf_key_source hf_authority_source(struct hf_authority *authority, uint32_t shard_index)
{
    if (authority->store != NULL)
        return hf_keystore_service_source(authority->store, shard_index);
    if (authority->file != NULL)
        return hf_keystore_source(authority->file, shard_index);
    return (struct hf_key_source){.request = refuse};
}

bool hf_authority_try(struct hf_authority *authority, uint32_t shard_index,
                      struct hf_engine *engine, const struct hf_request *request)
{
    struct hf_ticket ticket;
    struct hf_onward_question question;
    bool is_wanted = false;
    if (authority->file != NULL)
        return hf_keystore_try(authority->file, shard_index, engine, request);
    if (authority->store == NULL ||
        !hf_onward_put(authority->onward[shard_index], &ticket, request))
        return false;
    if (hf_keystore_service_submit(authority->store, shard_index, ticket, request->psk_identity))
        return true;
    return !hf_onward_take(authority->onward[shard_index], &question, &is_wanted, ticket);
}

void hf_authority_cancel(struct hf_authority *authority, uint32_t shard_index,
                         struct hf_ticket ticket)
{
    hf_onward_cancel(authority->onward[shard_index], ticket);
}

static void serve(struct hf_listener_authority *out, const struct hf_credentials *credentials)
{
    *out = (struct hf_listener_authority){
        .server_name = credentials->server_name[0] != '\0' ? credentials->server_name : NULL,
        .x509 = credentials->x509,
        .raw = credentials->raw,
        .trust = credentials->trust,
    };
}

void hf_authority_serve(struct hf_listener_authority *out, const struct hf_authority *authority)
{
    serve(out, &authority->credentials);
}

void hf_authority_serve_prepared(struct hf_listener_authority *out,
                                 const struct hf_authority *authority)
{
    serve(out, &authority->prepared);
}

void hf_authority_expiry(struct hf_credentials_expiry *out, struct hf_authority *authority)
{
    pthread_mutex_lock(&authority->expiry_lock);
    *out = authority->expiry;
    pthread_mutex_unlock(&authority->expiry_lock);
}

void hf_authority_drain(struct hf_authority *authority, uint32_t shard_index,
                        struct hf_engine *engine, struct hf_maf *maf)
{
    struct hf_ticket ticket;
    struct hf_answer answer;
    uint8_t scratch[HF_CREDENTIAL_ID_MAX];
    while (authority->store != NULL &&
           hf_keystore_service_take(&ticket, &answer, scratch, authority->store, shard_index)) {
        struct hf_onward_question question;
        bool is_wanted = true;
        /* A stale ticket is no error: nobody waits any more. */
        if (!hf_onward_take(authority->onward[shard_index], &question, &is_wanted, ticket))
            (void)hf_engine_answer(engine, ticket, &answer);
        else if (is_wanted && answer.kind == HF_ANSWER_PSK)
            (void)hf_engine_answer(engine, question.ticket, &answer);
        else if (is_wanted)
            hf_maf_ask(maf, shard_index, engine, &question);
    }
}

void hf_authority_identify(struct hf_authority *authority, uint32_t shard_index,
                           struct hf_engine *engine, const struct hf_request *request)
{
    hf_entities_answer(authority->entities, shard_index, engine, request);
}

bool hf_authority_prepare(struct hf_authority *authority, struct hf_keystore_change *out,
                          struct hf_entities_change *out_entities,
                          char error[HF_KEYSTORE_ERROR_MAX],
                          const struct hf_daemon_authority *config)
{
    struct hf_keystore_service_counters counters;
    memset(out, 0, sizeof(*out));
    if (!hf_entities_prepare(authority->entities, out_entities, error, config->entity_map))
        return false;
    hf_credentials_free(&authority->prepared);
    if (!hf_credentials_load(&authority->prepared, error, config))
        return false;
    if (authority->file != NULL)
        return hf_keystore_prepare(authority->file, out, error, config->psk_file);
    if (authority->store == NULL)
        return true;
    hf_keystore_service_counters_get(&counters, authority->store);
    out->keys_before = out->keys_after = counters.keys;
    return true;
}

void hf_authority_each(const struct hf_authority *authority, hf_keyfile_differ *differ, void *arg)
{
    if (authority->file != NULL)
        hf_keystore_each(authority->file, differ, arg);
}

void hf_authority_commit(struct hf_authority *authority)
{
    hf_credentials_free(&authority->credentials);
    authority->credentials = authority->prepared;
    memset(&authority->prepared, 0, sizeof(authority->prepared));
    note_expiry(authority);
    hf_entities_commit(authority->entities);
    if (authority->file != NULL)
        hf_keystore_commit(authority->file);
    else if (authority->store != NULL)
        hf_keystore_service_poll(authority->store);
}

void hf_authority_abandon(struct hf_authority *authority)
{
    hf_credentials_free(&authority->prepared);
    hf_entities_abandon(authority->entities);
    if (authority->file != NULL)
        hf_keystore_abandon(authority->file);
}

enum hf_authority_knows hf_authority_knows(struct hf_authority *authority,
                                           struct hf_bytes psk_identity)
{
    if (authority->file == NULL)
        return authority->store != NULL ? ask_store(authority, psk_identity) : HF_AUTHORITY_HAS_NOT;
    return hf_keystore_has(authority->file, psk_identity) ? HF_AUTHORITY_HAS : HF_AUTHORITY_HAS_NOT;
}

void hf_authority_counters_get(struct hf_authority_counters *out,
                               const struct hf_authority *authority)
{
    struct hf_keystore_counters file;
    struct hf_keystore_service_counters store;
    memset(out, 0, sizeof(*out));
    out->entities = hf_entities_count(authority->entities);
    if (authority->file != NULL) {
        hf_keystore_counters_get(&file, authority->file);
        out->keys = file.keys;
        out->reloads = file.reloads;
        out->reloads_failed = file.reloads_failed;
    }
    if (authority->store == NULL)
        return;
    hf_keystore_service_counters_get(&store, authority->store);
    out->is_store = true;
    out->keys = store.keys;
    out->is_serving = store.is_serving;
    out->found = store.found;
    out->refused = store.refused;
    out->unavailable = store.unavailable;
    out->damaged = store.damaged;
    out->deaths = store.deaths;
    out->retired = store.retired;
}
