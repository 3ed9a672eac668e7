/**
 * keystore_fixture.h - a store in a directory of its own and a service on it, for the tests of the
 * service: what its callbacks said is kept here.
 */
#ifndef HF_KEYSTORE_FIXTURE_H
#define HF_KEYSTORE_FIXTURE_H

#include "keystore_service.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define PATH_LEN 1024
#define SECOND_MS 1000
#define KEYS 2000

static char directory[] = "/tmp/keystore_test.XXXXXX";
static char store[PATH_LEN];
static char error[HF_KEYDB_ERROR_MAX];

/* What the service's callbacks have said. */
static _Atomic uint32_t wakes;
static _Atomic uint32_t errors;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t retired[8192];
static size_t retired_count;
static uint64_t kept_contexts[8192]; /* the last time */
static size_t kept_count;
static uint64_t kept_newest;
static int kept_times;
static char last_line[HF_KEYDB_ERROR_MAX];

static inline void handle_wake(uint32_t shard_index, void *arg)
{
    (void)shard_index;
    (void)arg;
    atomic_fetch_add(&wakes, 1);
}

static inline void handle_retired(const uint64_t *contexts, size_t count, void *arg)
{
    (void)arg;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < count && retired_count < 8192; i++)
        retired[retired_count++] = contexts[i];
    pthread_mutex_unlock(&lock);
}

static inline void handle_log(bool is_error, const char *event, const char *line, void *arg)
{
    (void)arg;
    pthread_mutex_lock(&lock);
    snprintf(last_line, sizeof(last_line), "%s %.400s", event, line);
    pthread_mutex_unlock(&lock);
    atomic_fetch_add(&errors, is_error);
}

static inline void pause_ms(uint32_t ms)
{
    nanosleep(&(struct timespec){ms / 1000, (long)(ms % 1000) * 1000000}, NULL);
}

static inline struct hf_bytes text(const char *string)
{
    return (struct hf_bytes){(const uint8_t *)string, strlen(string)};
}

static inline void check(bool is_good)
{
    if (!is_good)
        print_error("%s\n", error);
    assert_true(is_good);
}

static uint8_t secret[32];

static inline struct hf_keydb_key key_of(const char *identity, uint8_t fill)
{
    memset(secret, fill, sizeof(secret));
    return (struct hf_keydb_key){.identity = text(identity), .secret = {secret, sizeof(secret)}};
}

static inline void put(const struct hf_keydb_key *key)
{
    struct hf_keydb *db = NULL;
    check(hf_keydb_open(&db, error, store, HF_KEYDB_CREATE) && hf_keydb_begin(db, error));
    assert_int_not_equal(hf_keydb_put(db, error, key, true), HF_KEYDB_FAILED);
    check(hf_keydb_commit(db, error));
    hf_keydb_close(db);
}

static inline void drop(const char *identity)
{
    struct hf_keydb *db = NULL;
    check(hf_keydb_open(&db, error, store, HF_KEYDB_WRITE) && hf_keydb_begin(db, error));
    assert_int_equal(hf_keydb_remove(db, error, text(identity)), HF_KEYDB_FOUND);
    check(hf_keydb_commit(db, error));
    hf_keydb_close(db);
}

static inline void fill_store(void)
{
    struct hf_keydb *db = NULL;
    char identity[40];
    check(hf_keydb_open(&db, error, store, HF_KEYDB_CREATE) && hf_keydb_begin(db, error));
    for (int i = 0; i < KEYS; i++) {
        snprintf(identity, sizeof(identity), "device-%05d", i);
        struct hf_keydb_key key = key_of(identity, (uint8_t)(i % 251));
        assert_int_equal(hf_keydb_put(db, error, &key, false), HF_KEYDB_ADDED);
    }
    check(hf_keydb_commit(db, error));
    hf_keydb_close(db);
}

static inline void handle_kept(const uint64_t *contexts, size_t count, uint64_t newest, void *arg)
{
    (void)arg;
    pthread_mutex_lock(&lock);
    kept_count = count < 8192 ? count : 8192;
    memcpy(kept_contexts, contexts, kept_count * sizeof(*contexts));
    kept_newest = newest;
    kept_times++;
    pthread_mutex_unlock(&lock);
}

static inline struct hf_keystore_service_config config_of(void)
{
    struct hf_keystore_service_config config;
    hf_keystore_service_config_init(&config);
    config.path = store;
    config.poll_ms = 20;
    config.restart_ms_min = 20;
    config.restart_ms_max = 50;
    config.wake = handle_wake;
    config.retired = handle_retired;
    config.kept = handle_kept;
    config.log = handle_log;
    return config;
}

static inline struct hf_keystore_service *open_service(void)
{
    struct hf_keystore_service *service = NULL;
    struct hf_keystore_service_config config = config_of();
    check(hf_keystore_service_open(&service, error, &config));
    return service;
}

static inline int make_store(void **state)
{
    static int number;
    (void)state;
    snprintf(store, sizeof(store), "%s/%d", directory, ++number);
    atomic_store(&wakes, 0);
    atomic_store(&errors, 0);
    retired_count = 0;
    kept_count = 0;
    kept_times = 0;
    last_line[0] = '\0';
    return 0;
}

static inline int make_directory(void **state)
{
    (void)state;
    return mkdtemp(directory) == NULL;
}

static inline int remove_directory(void **state)
{
    (void)state;
    char command[PATH_LEN];
    snprintf(command, sizeof(command), "rm -rf %s", directory);
    return system(command);
}

static uint8_t scratch[HF_CREDENTIAL_ID_MAX];

/* Asks and waits for the answer, which must come, whatever it is. */
static inline struct hf_answer ask(struct hf_keystore_service *service, struct hf_bytes identity)
{
    static uint32_t number;
    struct hf_ticket ticket = {1, 2, ++number};
    struct hf_ticket got = {0};
    struct hf_answer answer;
    assert_true(hf_keystore_service_submit(service, 0, ticket, identity));
    for (int i = 0; i < 20000; i++) {
        if (hf_keystore_service_take(&got, &answer, scratch, service, 0)) {
            assert_memory_equal(&got, &ticket, sizeof(ticket));
            return answer;
        }
        pause_ms(1);
    }
    fail_msg("no answer");
    return answer;
}

static inline enum hf_answer_kind kind_of(struct hf_keystore_service *service, const char *identity)
{
    return ask(service, text(identity)).kind;
}

static inline bool await_kind(struct hf_keystore_service *service, const char *identity,
                              enum hf_answer_kind kind)
{
    for (int i = 0; i < 500; i++) {
        if (kind_of(service, identity) == kind)
            return true;
        pause_ms(20);
    }
    return false;
}

static inline bool await_retired(uint64_t context)
{
    for (int i = 0; i < 250; i++) {
        bool is_there = false;
        pthread_mutex_lock(&lock);
        for (size_t j = 0; j < retired_count; j++)
            is_there |= retired[j] == context;
        pthread_mutex_unlock(&lock);
        if (is_there)
            return true;
        pause_ms(20);
    }
    return false;
}

#endif
