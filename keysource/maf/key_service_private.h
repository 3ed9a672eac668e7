/**
 * key_service_private.h - what the files of the key service share. Private to keysource/maf/.
 */
#ifndef HF_KEY_SERVICE_PRIVATE_H
#define HF_KEY_SERVICE_PRIVATE_H

#include "key_service.h"

#define HF_KEY_NONE UINT32_MAX
#define HF_KEY_PREFIXES 4096u /* counters; power of two */

enum hf_key_state {
    HF_KEY_STATE_FREE = 0,
    HF_KEY_STATE_LOOKUP,
    HF_KEY_STATE_KEY,
    HF_KEY_STATE_REFUSED,
    HF_KEY_STATE_REVOKED,
    HF_KEY_STATE_COUNT,
};

/* Entries by links; the first is the oldest. */
struct hf_key_list {
    uint32_t first, last, count;
};

/* What is known of an identity, or is being asked. Its index is the pool's number of the lookup. */
struct hf_key_entry {
    uint32_t hash_next;
    uint32_t next, prev; /* in the list of its state */
    uint32_t due_next;   /* in its MAF's line of lookups not yet given to the pool */
    uint32_t waiters_first, waiters_last;
    uint32_t ready_count; /* replies that still point here */
    uint16_t prefix;
    uint16_t identity_len;
    uint16_t source_len;
    uint8_t state;
    uint8_t maf_index;
    uint8_t outcome; /* REFUSED */
    uint8_t key_len;
    uint8_t entity_kind;
    bool is_sent; /* LOOKUP: with the pool */
    bool has_prefix;
    uint64_t until_us; /* LOOKUP: deadline. REFUSED, REVOKED: forgotten */
    uint64_t context;
    int64_t expires_s;
    uint8_t identity[HF_MAF_IDENTITY_MAX]; /* folded: hf_key_cache_fold() */
    char source_id[HF_ENTITY_ID_MAX + 1];
    uint8_t key[HF_PSK_MAX];
};

struct hf_key_asker {
    uint32_t next, prev; /* of its entry's waiters, or of the replies */
    uint32_t hash_next;
    uint32_t entry; /* HF_KEY_NONE: `outcome` is all there is to say */
    uint64_t tag;
    struct hf_ticket ticket;
    uint8_t outcome;
    bool is_ready;
};

struct hf_key_maf {
    struct hf_maf_pool *pool;
    char fqdn[HF_MAF_FQDN_MAX + 1];
    uint32_t due_first, due_last; /* lookups that wait for the rate to allow them */
    uint64_t tokens;              /* millionths of a lookup */
    struct hf_key_maf_counters counters;
};

struct hf_key_service {
    struct hf_key_service_config config;
    uint64_t now_us;
    int64_t wall_s;
    uint64_t hash_key[2];
    uint64_t context; /* the last given */
    struct hf_key_maf mafs[HF_KEY_SERVICE_MAFS_MAX];
    struct hf_key_entry *entries;
    uint32_t entries_max, entries_touched, entries_free;
    uint32_t *buckets;
    uint32_t bucket_mask;
    struct hf_key_list lists[HF_KEY_STATE_COUNT];
    struct hf_key_asker *askers;
    uint32_t askers_touched, askers_free;
    uint32_t *asker_buckets;
    uint32_t asker_mask;
    uint32_t ready_first, ready_last;
    uint16_t prefixes[HF_KEY_PREFIXES];
    struct hf_key_service_counters counters;
    const struct hf_key_source *other;
    uint8_t credential[HF_MAF_IDENTITY_MAX + HF_ENTITY_ID_MAX + 4];
};

/* ---- key_cache.c: the table of entries ---- */

enum hf_status hf_key_cache_open(struct hf_key_service *service);
void hf_key_cache_close(struct hf_key_service *service);

/** hf_key_cache_fold writes the form under which an identity is found: the FQDN in lower case, and
 *  a RelativeKeyID of 32 hexadecimal digits too. `out` has HF_MAF_IDENTITY_MAX. */
void hf_key_cache_fold(uint8_t *out, const struct hf_maf_identity *identity);

/** hf_key_cache_find gives the entry of a folded identity, HF_KEY_NONE: there is none. */
uint32_t hf_key_cache_find(const struct hf_key_service *service, struct hf_bytes folded);

/** hf_key_cache_add makes an entry of a state, forgetting the oldest of its kind if there are too
 *  many; HF_KEY_NONE: all lookups are taken. */
uint32_t hf_key_cache_add(struct hf_key_service *service, struct hf_bytes folded,
                          enum hf_key_state state);

/** hf_key_cache_move changes the state of an entry; likewise makes room. */
void hf_key_cache_move(struct hf_key_service *service, uint32_t index, enum hf_key_state state);

/** hf_key_cache_use makes it the youngest of its kind. */
void hf_key_cache_use(struct hf_key_service *service, uint32_t index);

/** hf_key_cache_drop wipes and frees an entry nobody waits for. */
void hf_key_cache_drop(struct hf_key_service *service, uint32_t index);

/* ---- key_service.c ---- */

/** hf_key_service__find_maf gives the index of the MAF an identity is of, HF_KEY_NONE: of none. */
uint32_t hf_key_service__find_maf(struct hf_maf_identity *split,
                                  const struct hf_key_service *service,
                                  struct hf_bytes psk_identity);

/** hf_key_service__fill writes a key into its entry. */
void hf_key_service__fill(struct hf_key_service *service, uint32_t index,
                          const struct hf_key_kept *key);

/* ---- key_service_keep.c ---- */

/** hf_key_service__keep_revoked goes on refusing an identity that was revoked. False: not ours,
 *  over, or known otherwise. */
bool hf_key_service__keep_revoked(struct hf_key_service *service, struct hf_bytes psk_identity,
                                  int64_t until_s);

/* ---- key_askers.c: who waits, and what they are told ---- */

enum hf_status hf_key_askers_open(struct hf_key_service *service);
void hf_key_askers_close(struct hf_key_service *service);

/** hf_key_askers_add gives a new asker, HF_KEY_NONE: none is free. */
uint32_t hf_key_askers_add(struct hf_key_service *service, uint64_t tag, struct hf_ticket ticket);

/** hf_key_askers_wait puts an asker among those that wait for an entry. */
void hf_key_askers_wait(struct hf_key_service *service, uint32_t asker, uint32_t entry);

/** hf_key_askers_ready has an asker told an outcome; `entry` holds the key, or HF_KEY_NONE. */
void hf_key_askers_ready(struct hf_key_service *service, uint32_t asker,
                         enum hf_maf_outcome outcome, uint32_t entry);

/** hf_key_askers_tell has all who wait for an entry told. */
void hf_key_askers_tell(struct hf_key_service *service, uint32_t entry, enum hf_maf_outcome outcome,
                        bool has_key);

/** hf_key_askers_spoil turns the replies not taken that point to an entry into refusals. */
void hf_key_askers_spoil(struct hf_key_service *service, uint32_t entry,
                         enum hf_maf_outcome outcome);

/** hf_key_askers_cancel frees the asker; gives the entry it waited for, or HF_KEY_NONE. */
uint32_t hf_key_askers_cancel(struct hf_key_service *service, uint64_t tag,
                              struct hf_ticket ticket);

/** hf_key_askers_take gives the next reply's asker, and frees it. */
bool hf_key_askers_take(struct hf_key_service *service, struct hf_key_asker *out);

#endif
