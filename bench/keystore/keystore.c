/**
 * keystore.c - bench_keystore [--keys N] [--lookups N] [--store DIR]: what keys in LMDB cost.
 * Prints one JSON line: import, file, check, look-ups in order, at random and with a cold page
 * cache, and the way through the service: one at a time, and 64 under way.
 *
 * The store is made in a temporary directory (under DIR or /tmp) and removed. The answers are
 * compared with what was put: a bench that finds a wrong key fails.
 */
#include "keystore_service.h"

#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define COLD_LOOKUPS 2000
#define ALONE_LOOKUPS 20000
#define IN_FLIGHT 64
#define PATH_LEN 512

static char directory[PATH_LEN];
static char store[PATH_LEN + 16];
static char error[HF_KEYDB_ERROR_MAX];
static sem_t woken;
static uint64_t random_state = 0x9E3779B97F4A7C15;

static void check(bool is_good)
{
    char command[PATH_LEN + 32];
    if (is_good)
        return;
    fprintf(stderr, "bench_keystore: %s\n", error[0] == '\0' ? "a wrong answer" : error);
    snprintf(command, sizeof(command), "rm -rf %s", directory);
    _exit(system(command) == 0 ? 1 : 2);
}

static double now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static struct hf_bytes identity_of(char out[48], uint64_t number)
{
    int len = snprintf(out, 48, "device-%010llu@in-cse.example", (unsigned long long)number);
    return (struct hf_bytes){(const uint8_t *)out, (size_t)len};
}

static void secret_of(uint8_t out[16], uint64_t number)
{
    for (size_t i = 0; i < 16; i++)
        out[i] = (uint8_t)(number >> (i % 8 * 8) ^ i * 37);
}

static bool is_right(struct hf_bytes secret, uint64_t number)
{
    uint8_t expected[16];
    secret_of(expected, number);
    return secret.len == sizeof(expected) && memcmp(secret.data, expected, sizeof(expected)) == 0;
}

/* ---- the store ---------------------------------------------------------------------------- */

/* In an order that has nothing to do with the names': the worst for a tree. */
static double import_keys(uint64_t key_count)
{
    struct hf_keydb *db = NULL;
    double begin = now_us();
    check(hf_keydb_open(&db, error, store, HF_KEYDB_CREATE));
    for (uint64_t i = 0; i < key_count; i++) {
        char name[48];
        uint8_t secret[16];
        uint64_t number = i * 7919 % key_count; /* a prime: each once, if it divides nothing */
        secret_of(secret, number);
        struct hf_keydb_key key = {.identity = identity_of(name, number),
                                   .secret = {secret, sizeof(secret)},
                                   .entity_id = {(const uint8_t *)"/in-cse/Cdevice", 15},
                                   .entity_kind = HF_ENTITY_AE};
        if (i % HF_KEYDB_PUTS_MAX == 0)
            check(hf_keydb_begin(db, error));
        check(hf_keydb_put(db, error, &key, false) == HF_KEYDB_ADDED);
        if ((i + 1) % HF_KEYDB_PUTS_MAX == 0 || i + 1 == key_count)
            check(hf_keydb_commit(db, error));
    }
    check(hf_keydb_count(db) == key_count);
    hf_keydb_close(db);
    return (now_us() - begin) / 1e6;
}

static double check_all(void)
{
    struct hf_keydb *db = NULL;
    struct hf_keydb_report report;
    double begin = now_us();
    check(hf_keydb_open_checked(&db, &report, error, store, HF_KEYDB_READ));
    hf_keydb_close(db);
    return (now_us() - begin) / 1e6;
}

/* Returns nanoseconds a look-up, its short snapshot included. */
static double look_up(uint64_t key_count, uint64_t lookup_count, bool is_random)
{
    struct hf_keydb *db = NULL;
    check(hf_keydb_open(&db, error, store, HF_KEYDB_READ));
    double begin = now_us();
    for (uint64_t i = 0; i < lookup_count; i++) {
        char name[48];
        struct hf_keydb_key key;
        uint64_t number = (is_random ? next_random() : i) % key_count;
        check(hf_keydb_begin_read(db, error));
        check(hf_keydb_get(&key, error, db, identity_of(name, number)) == HF_KEYDB_FOUND &&
              is_right(key.secret, number));
        hf_keydb_end_read(db);
    }
    double took = now_us() - begin;
    hf_keydb_close(db);
    return took * 1e3 / (double)lookup_count;
}

static uint64_t file_len(void)
{
    char file[PATH_LEN + 32];
    struct stat st;
    snprintf(file, sizeof(file), "%s/current", store);
    return stat(file, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static void forget_pages(void)
{
    char file[PATH_LEN + 32];
    snprintf(file, sizeof(file), "%s/current", store);
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    check(fd >= 0 && fsync(fd) == 0 && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
    close(fd);
}

/* ---- the service -------------------------------------------------------------------------- */

static void handle_wake(uint32_t shard_index, void *arg)
{
    (void)shard_index;
    (void)arg;
    sem_post(&woken);
}

static struct hf_keystore_service *open_service(void)
{
    struct hf_keystore_service *service = NULL;
    struct hf_keystore_service_config config;
    hf_keystore_service_config_init(&config);
    config.path = store;
    config.wake = handle_wake;
    check(hf_keystore_service_open(&service, error, &config));
    return service;
}

static int compare(const void *a, const void *b)
{
    double first = *(const double *)a;
    double second = *(const double *)b;
    return (first > second) - (first < second);
}

static bool take(struct hf_keystore_service *service)
{
    struct hf_ticket ticket;
    struct hf_answer answer;
    uint8_t scratch[HF_CREDENTIAL_ID_MAX];
    if (!hf_keystore_service_take(&ticket, &answer, scratch, service, 0))
        return false;
    check(answer.kind == HF_ANSWER_PSK &&
          is_right(answer.secret, (uint64_t)ticket.slot << 32 | ticket.seq));
    return true;
}

static void submit(struct hf_keystore_service *service, uint64_t number)
{
    char name[48];
    struct hf_ticket ticket = {(uint32_t)(number >> 32), 0, (uint32_t)number};
    check(hf_keystore_service_submit(service, 0, ticket, identity_of(name, number)));
}

/* One at a time: `out` gets microseconds at the median, at 99 % and at most. */
static void serve_alone(double out[3], uint64_t key_count, uint64_t lookup_count)
{
    double *took = malloc(lookup_count * sizeof(*took));
    struct hf_keystore_service *service = open_service();
    check(took != NULL);
    for (uint64_t i = 0; i < lookup_count; i++) {
        double begin = now_us();
        submit(service, next_random() % key_count);
        while (!take(service))
            (void)sem_wait(&woken);
        took[i] = now_us() - begin;
    }
    hf_keystore_service_close(service);
    qsort(took, lookup_count, sizeof(*took), compare);
    out[0] = took[lookup_count / 2];
    out[1] = took[lookup_count * 99 / 100];
    out[2] = took[lookup_count - 1];
    free(took);
}

/* With 64 under way: microseconds a look-up. */
static double serve_many(uint64_t key_count, uint64_t lookup_count)
{
    struct hf_keystore_service *service = open_service();
    uint64_t asked = 0;
    uint64_t taken = 0;
    double begin = now_us();
    while (taken < lookup_count) {
        for (; asked < lookup_count && asked - taken < IN_FLIGHT; asked++)
            submit(service, next_random() % key_count);
        if (take(service))
            taken++;
        else
            (void)sem_wait(&woken);
    }
    double took = now_us() - begin;
    hf_keystore_service_close(service);
    return took / (double)lookup_count;
}

static uint64_t number_of(int argc, char **argv, const char *name, uint64_t otherwise)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return strtoull(argv[i + 1], NULL, 10);
    return otherwise;
}

int main(int argc, char **argv)
{
    uint64_t key_count = number_of(argc, argv, "--keys", 1000000);
    uint64_t lookup_count = number_of(argc, argv, "--lookups", 1000000);
    const char *parent = "/tmp";
    for (int i = 1; i + 1 < argc; i++)
        parent = strcmp(argv[i], "--store") == 0 ? argv[i + 1] : parent;
    snprintf(directory, sizeof(directory), "%.400s/bench_keystore.XXXXXX", parent);
    if (mkdtemp(directory) == NULL || key_count == 0 || lookup_count == 0)
        return 2;
    snprintf(store, sizeof(store), "%s/store", directory);
    (void)sem_init(&woken, 0, 0);
    double import_s = import_keys(key_count);
    uint64_t len = file_len();
    double check_s = check_all();
    double in_order_ns = look_up(key_count, lookup_count, false);
    double random_ns = look_up(key_count, lookup_count, true);
    forget_pages();
    uint64_t cold_count = lookup_count < COLD_LOOKUPS ? lookup_count : COLD_LOOKUPS;
    double cold_ns = look_up(key_count, cold_count, true);
    double alone[3];
    serve_alone(alone, key_count, lookup_count < ALONE_LOOKUPS ? lookup_count : ALONE_LOOKUPS);
    double many_us = serve_many(key_count, lookup_count);
    printf("{\"bench\":\"keystore\",\"keys\":%llu,\"import_s\":%.2f,\"file_mb\":%.1f,"
           "\"check_s\":%.2f,\"get_in_order_ns\":%.0f,\"get_random_ns\":%.0f,"
           "\"get_cold_us\":%.1f,\"service_alone_us_p50\":%.1f,\"service_alone_us_p99\":%.1f,"
           "\"service_alone_us_max\":%.0f,\"service_64_us\":%.2f}\n",
           (unsigned long long)key_count, import_s, (double)len / 1e6, check_s, in_order_ns,
           random_ns, cold_ns / 1e3, alone[0], alone[1], alone[2], many_us);
    char command[PATH_LEN + 32];
    snprintf(command, sizeof(command), "rm -rf %s", directory);
    return system(command);
}
