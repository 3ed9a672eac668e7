/**
 * maf_pool_private.h - what the files of the pool share. Private to keysource/maf/.
 */
#ifndef HF_MAF_POOL_PRIVATE_H
#define HF_MAF_POOL_PRIVATE_H

#include "maf_pool.h"

#define HF_MAF_NONE UINT32_MAX
#define HF_MAF_SEND_MAX 8192 /* bytes of requests in one go */

enum hf_maf_request_state {
    HF_MAF_REQUEST_FREE = 0,
    HF_MAF_REQUEST_WAITING,
    HF_MAF_REQUEST_SENT,
    HF_MAF_REQUEST_DONE,
};

struct hf_maf_pending {
    uint32_t next, prev;
    uint8_t state;
    uint8_t attempts;
    uint8_t outcome;
    uint8_t id_len;
    const char *why;
    uint64_t asked_us;
    uint8_t id[HF_MAF_RELATIVE_KEY_ID_MAX];
};

struct hf_maf_line {
    uint32_t first, last, count;
};

enum hf_maf_connection_state {
    HF_MAF_CONNECTION_FREE = 0,
    HF_MAF_CONNECTION_DIALING,
    HF_MAF_CONNECTION_OPEN,
};

/* The answers that are awaited on a connection, in order: a ring of lookups; HF_MAF_NONE where the
 * lookup was cancelled. */
struct hf_maf_flight {
    uint32_t lookup;
    uint64_t sent_us;
};

struct hf_maf_connection {
    uint8_t state;
    bool is_close_due; /* an action */
    bool has_served;   /* at least one answer came */
    bool is_retiring;  /* takes no more requests, and ends with its last answer */
    uint32_t address_index;
    uint64_t since_us; /* of dialing; of idling */
    struct hf_maf_reader *reader;
    uint32_t head, count; /* of flights */
    struct hf_maf_flight *flights;
};

struct hf_maf_address_health {
    uint32_t failures; /* in a row */
    uint64_t rest_until_us;
};

struct hf_maf_pool {
    struct hf_maf_pool_config config;
    char fqdn[HF_MAF_FQDN_MAX + 1];
    char origin[HF_ENTITY_ID_MAX + 1];
    char admin_fqdn[HF_MAF_FQDN_MAX + 1];
    uint64_t now_us;
    int64_t wall_s;
    uint64_t number; /* of requests: X-M2M-RI */
    uint64_t random;
    struct hf_maf_address_health addresses[HF_MAF_ADDRESSES_MAX];
    uint32_t rounds; /* failed, in a row */
    uint32_t errors; /* of the server, in a row */
    bool is_circuit_open;
    uint64_t retry_us; /* no connection before */
    enum hf_maf_outcome last_failure;
    struct hf_maf_pending *pending; /* lookups_max */
    struct hf_maf_line waiting, done;
    struct hf_maf_connection connections[HF_MAF_CONNECTIONS_MAX];
    struct hf_maf_resource found; /* the key of the result that is next */
    uint32_t found_lookup;
    struct hf_maf_health health;
    char text[HF_MAF_SEND_MAX];
};

/* ---- maf_pool.c ---- */

/** hf_maf_pool__finish makes a result. */
void hf_maf_pool__finish(struct hf_maf_pool *pool, uint32_t lookup, enum hf_maf_outcome outcome,
                         const char *why);

/** hf_maf_pool__fail_waiting ends all that were not sent. */
void hf_maf_pool__fail_waiting(struct hf_maf_pool *pool, enum hf_maf_outcome outcome);

/** hf_maf_pool__drop frees a connection; what it had under way is sent again on another, once. */
void hf_maf_pool__drop(struct hf_maf_pool *pool, struct hf_maf_connection *connection,
                       enum hf_maf_outcome outcome, const char *why, bool is_first_failed);

/* ---- maf_pool_health.c ---- */

/** hf_maf_pool__address gives the address to dial now, HF_MAF_NONE: all rest. `is_probe`: only one
 *  that is better than the one in use and has rested. */
uint32_t hf_maf_pool__address(const struct hf_maf_pool *pool, bool is_probe);

/** hf_maf_pool__address_failed and _succeeded tell of a dial or of a connection that broke. */
void hf_maf_pool__address_failed(struct hf_maf_pool *pool, uint32_t address_index,
                                 enum hf_maf_outcome outcome);
void hf_maf_pool__address_succeeded(struct hf_maf_pool *pool, uint32_t address_index);

/** hf_maf_pool__answered tells that the MAF answered, and whether with an error of its own. */
void hf_maf_pool__answered(struct hf_maf_pool *pool, bool is_server_error);

/** hf_maf_pool__recover lets a circuit that was opened by errors try again. */
void hf_maf_pool__recover(struct hf_maf_pool *pool);

#endif
