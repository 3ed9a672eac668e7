/**
 * dialer_private.h - what dialer.c keeps.
 */
#ifndef HF_DIALER_PRIVATE_H
#define HF_DIALER_PRIVATE_H

#include "dialer.h"

#include <stdatomic.h>

#define TRIES_MAX 256u /* of a dialer: plaintext that waits */
#define NEVER_US UINT64_MAX

enum stage {
    STAGE_NONE = 0, /* unused */
    STAGE_WAITING,  /* for its next try */
    STAGE_DIALLING,
    STAGE_OPEN, /* established: TLS only if kept and not yet needed; DTLS as long as it lasts */
};

/* An association that is wanted. */
struct
try {
    enum stage stage;
    bool is_kept;      /* wanted by nobody but the configuration */
    bool is_wanted;    /* DTLS: by more plaintext, once this association is over */
    uint64_t entrance; /* 0: no plaintext yet */
    uint64_t until_us; /* plaintext waits no longer */
    hf_association_id association;
    uint32_t address_index, address_count; /* tried now; tried in all */
    uint32_t generation;
};

struct dialer {
    struct hf_daemon_dialer config;
    uint32_t index;
    bool is_ours;
    uint32_t address_first; /* that has worked last */
    uint32_t failures;      /* in a row, of all addresses */
    uint64_t not_before_us;
    uint8_t session[HF_SESSION_MAX]; /* to resume; secret */
    size_t session_len;
    struct try tries[TRIES_MAX];
    struct hf_address listen; /* written before the shard serves */
    uint32_t socket_index;
    /* For other threads; one writer. */
    _Atomic uint64_t associations, waiting, address_index, next_us;
    _Atomic uint64_t dials[HF_STATUS_COUNT];
};

struct hf_dialers {
    struct hf_dialer_pairs *pairs;
    uint32_t count;
    struct dialer dialers[];
};

#endif
