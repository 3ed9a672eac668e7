/**
 * keystore_private.h - what the two files of the service share. Private to keysource/lmdb/.
 */
#ifndef HF_KEYSTORE_PRIVATE_H
#define HF_KEYSTORE_PRIVATE_H

#include "keystore_shared.h"

#include <pthread.h>
#include <semaphore.h>

#define NO_SLOT UINT32_MAX

struct hf_keystore_ring {
    _Alignas(64) _Atomic uint32_t head;
    _Alignas(64) _Atomic uint32_t tail;
    uint32_t *slots;
};

struct hf_keystore_shard {
    struct hf_keystore_ring asked, done;
    struct hf_keystore_service *service;
    uint32_t *free;
    uint32_t free_count;
    uint32_t taken; /* its answer is being looked at */
};

/* What the shard remembers of a slot: the other process cannot reach it. */
struct hf_keystore_job {
    struct hf_ticket ticket;
    uint16_t identity_len;
};

struct hf_keystore_counts {
    _Atomic uint64_t requests, found, refused, unavailable, damaged, overflows, batches, retired,
        starts, deaths, keys, generation, transaction;
    _Atomic bool is_serving;
};

struct hf_keystore_service {
    struct hf_keystore_service_config config;
    char *path, *authority;
    uint32_t slots_per_shard; /* a power of two */
    struct hf_keystore_shard *shards;
    struct hf_keystore_shared *shared;
    size_t shared_len;
    struct hf_keystore_job *jobs;
    pthread_t thread;
    sem_t opened, work;
    _Alignas(64) _Atomic bool is_asleep;
    _Atomic bool is_poll_wanted, is_stopping;
    struct hf_keystore_counts counts;
    bool has_failed_to_open;
    char error[HF_KEYDB_ERROR_MAX]; /* of opening; afterwards the last line logged */
    /* The thread's own. */
    int keeper;  /* its process id, or 0 */
    int life_fd; /* the end of a pipe that is closed when the keeper dies */
    enum { PROCESS_NONE, PROCESS_STARTING, PROCESS_SERVING } state;
    uint64_t started_ms, restart_ms, poll_ms;
    uint32_t restart_wait_ms;
    uint32_t shard_next; /* whom to serve first */
    uint64_t *kept;      /* what was told of it so far */
    size_t kept_count, kept_max;
};

void hf_keystore_ring_push(struct hf_keystore_ring *ring, uint32_t mask, uint32_t slot);
bool hf_keystore_ring_pop(uint32_t *out, struct hf_keystore_ring *ring, uint32_t mask);

/** hf_keystore_thread_start starts the store thread; 0 or an errno. It posts `opened` once the
 *  first process has checked the store. */
int hf_keystore_thread_start(struct hf_keystore_service *service);
void hf_keystore_thread_stop(struct hf_keystore_service *service);

#endif
