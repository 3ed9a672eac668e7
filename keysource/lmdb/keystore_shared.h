/**
 * keystore_shared.h - the memory the service and its reading process share. Private.
 *
 * One exchange at a time: the service fills `batch` and raises `asked`; the process fills the slots
 * and sets `answered` to it. The service believes no length it reads here.
 */
#ifndef HF_KEYSTORE_SHARED_H
#define HF_KEYSTORE_SHARED_H

#include "keystore_service.h"

#include <stdatomic.h>
#include <time.h>

#define HF_KEYSTORE_BATCH_MAX 64
#define HF_KEYSTORE_RETIRED_MAX 4096

enum hf_keystore_outcome {
    HF_KEYSTORE_UNAVAILABLE = 0, /* what a slot says until the process has spoken */
    HF_KEYSTORE_FOUND,
    HF_KEYSTORE_REFUSED,
    HF_KEYSTORE_DAMAGED,
};

struct hf_keystore_slot {
    uint16_t identity_len;
    uint8_t identity[HF_KEYDB_IDENTITY_MAX];
    /* The answer. */
    uint8_t outcome;
    uint8_t entity_kind;
    uint16_t secret_len, entity_len;
    int64_t expires_s;
    uint64_t revision;
    uint8_t secret[HF_PSK_MAX];
    uint8_t entity_id[HF_ENTITY_ID_MAX];
};

struct hf_keystore_shared {
    _Atomic uint32_t asked, answered; /* futexes; 1 is the start */
    bool is_started;                  /* the start went well */
    bool is_poll;
    uint32_t batch_count;
    uint32_t batch[HF_KEYSTORE_BATCH_MAX];
    char error[HF_KEYDB_ERROR_MAX]; /* of a start that failed, of damage met; else empty */
    uint64_t keys, generation, transaction;
    uint64_t cursor; /* in the change log; survives the process */
    bool is_retired_unknown; /* another generation, and the one before could not be compared */
    bool has_more_retired;
    uint32_t retired_count;
    uint64_t retired[HF_KEYSTORE_RETIRED_MAX];
    struct hf_keystore_slot slots[];
};

/** hf_keystore_worker_run is the reading process: it does not return. In: what of the service's
 *  configuration it needs. */
_Noreturn void hf_keystore_worker_run(struct hf_keystore_shared *shared, const char *path,
                                      const char *authority, int parent);

/** hf_keystore_futex_wait waits while `*word` is `value`, for `wait_ms` at most. */
void hf_keystore_futex_wait(_Atomic uint32_t *word, uint32_t value, uint32_t wait_ms);
void hf_keystore_futex_wake(_Atomic uint32_t *word);

#endif
