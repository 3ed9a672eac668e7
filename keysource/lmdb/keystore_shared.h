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
    /* To and from the keeper. Reading processes are numbered from 1. */
    _Atomic uint32_t orders;       /* futex: raised with every order and every death */
    _Atomic uint32_t start_wanted; /* start number so-and-so, once the one before is dead */
    _Atomic uint32_t kill_wanted;  /* end number so-and-so */
    _Atomic uint32_t deaths;       /* the number of the last that died */
    _Atomic int status;            /* how, as waitpid(2) says */
    _Atomic int process;           /* the living one, or 0 */
    _Atomic bool is_ending;
    /* To and from the reading process. */
    _Atomic uint32_t asked, answered; /* futexes; 1 is the start */
    bool is_started;                  /* the start went well */
    bool is_poll;
    uint32_t batch_count;
    uint32_t batch[HF_KEYSTORE_BATCH_MAX];
    char error[HF_KEYDB_ERROR_MAX]; /* of a start that failed, of damage met; else empty */
    uint64_t keys, generation, transaction;
    uint64_t cursor;         /* in the change log; survives the process */
    bool is_kept_owed;       /* another generation: not all of what it means was told yet */
    bool is_retired_unknown; /* and there was no memory to find out */
    bool is_kept;            /* `retired` holds what is kept, a part of it */
    bool has_more_retired;
    uint32_t retired_count;
    uint64_t newest; /* of what is kept: keys above it came later */
    uint64_t retired[HF_KEYSTORE_RETIRED_MAX];
    struct hf_keystore_slot slots[];
};

/** hf_keystore_worker_run is the reading process: it does not return. In: what of the service's
 *  configuration it needs, and the keeper. */
_Noreturn void hf_keystore_worker_run(struct hf_keystore_shared *shared, const char *path,
                                      const char *authority, int parent);

/** hf_keystore_keeper_run is the keeper: it does not return. In: a user to become, unless -1, and a
 *  descriptor to keep open as long as it lives. */
_Noreturn void hf_keystore_keeper_run(struct hf_keystore_shared *shared,
                                      const struct hf_keystore_service_config *config, int parent,
                                      int life_fd);

/** What a keeper says of a reading process that could not be started, as an exit status. */
#define HF_KEYSTORE_NO_PROCESS 126

/** hf_keystore_futex_wait waits while `*word` is `value`, for `wait_ms` at most. */
void hf_keystore_futex_wait(_Atomic uint32_t *word, uint32_t value, uint32_t wait_ms);
void hf_keystore_futex_wake(_Atomic uint32_t *word);

#endif
