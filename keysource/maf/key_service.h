/**
 * key_service.h - keys of MAF-based associations (TS-0003 8.2.2.3): from the Key Identifier a
 * client presents to the key its MAF gives, for any number of engines, nobody waiting for another.
 *
 * Identical lookups are one; keys are kept until they expire, refusals for a moment; handshakes
 * parked, lookups under way, lookups a second and lookups of a peer's prefix are bounded. An
 * identity whose FQDN is not configured is not ours, and nothing happens.
 *
 * Sans-I/O: times come in with hf_key_service_begin(); connections to MAFs are the embedder's, who
 * is told what to do with them (hf_key_service_take_action) and tells what became of it, as in
 * maf_pool.h. One thread. Askers in other threads are reached by messages: `tag` tells them apart.
 */
#ifndef HF_KEY_SERVICE_H
#define HF_KEY_SERVICE_H

#include "maf_pool.h"

#include <handfast/engine.h>

struct hf_key_service;

#define HF_KEY_SERVICE_MAFS_MAX 16

/** Which part of a distributed key is the psk: TS-0003 8.2.2.3 says the whole, 8.8.1 the half. */
enum hf_key_part {
    HF_KEY_WHOLE = 0,
    HF_KEY_FIRST_HALF,
};

struct hf_key_service_config {
    const struct hf_maf_pool_config *mafs; /**< copied; their lookups_max is set by the service */
    uint32_t maf_count;
    uint32_t keys_max;               /**< kept; 16,384 */
    uint32_t refusals_max;           /**< remembered; 4,096 */
    uint32_t lookups_max;            /**< under way; 16,384 */
    uint32_t askers_max;             /**< parked handshakes; 65,536 */
    uint32_t revoked_max;            /**< remembered; 1,024 */
    uint64_t refusal_us_max;         /**< 2 s */
    uint64_t lookup_us_max;          /**< from the first asker to the last answer; 25 s */
    uint64_t revoked_us_max;         /**< a revoked identity is refused so long; 24 h */
    uint32_t lookups_per_second;     /**< of each MAF, burst a second's worth; 0: no limit; 5,000 */
    uint32_t lookups_pressure;       /**< from so many under way on, the next limit bites; 8,192 */
    uint32_t lookups_per_prefix_max; /**< under way for one source prefix; 64 */
    uint8_t prefix_bits_v4, prefix_bits_v6; /**< 32 and 56 */
    enum hf_key_part part;                  /**< whole */
    enum hf_maf_relative_syntax syntax;     /**< any */
};

/** hf_key_service_config_init sets the defaults named above; no MAF. */
void hf_key_service_config_init(struct hf_key_service_config *config);

/** hf_key_service_open checks and copies. Errors: HF_E_CONFIG, HF_E_MEMORY. */
HF_MUST_USE enum hf_status hf_key_service_open(struct hf_key_service **out,
                                               const struct hf_key_service_config *config);

/** hf_key_service_close wipes and frees; NULL is allowed. */
void hf_key_service_close(struct hf_key_service *service);

/** hf_key_service_begin sets the times and ends what has taken too long. */
void hf_key_service_begin(struct hf_key_service *service, uint64_t now_us, int64_t wall_s);

/** hf_key_service_next_us gives the time by which the next begin is due; UINT64_MAX: none. */
uint64_t hf_key_service_next_us(const struct hf_key_service *service);

/* ---- askers ------------------------------------------------------------------------------- */

/** hf_key_service_is_ours tells whether an identity is of a configured MAF. Thread: any. */
HF_MUST_USE bool hf_key_service_is_ours(const struct hf_key_service *service,
                                        struct hf_bytes psk_identity);

/** hf_key_service_maf_of gives the index of the MAF an identity is of, UINT32_MAX: of none.
 *  Thread: any. */
HF_MUST_USE uint32_t hf_key_service_maf_of(const struct hf_key_service *service,
                                           struct hf_bytes psk_identity);

struct hf_key_question {
    uint64_t tag;            /**< the asker's; comes back */
    struct hf_ticket ticket; /**< likewise */
    struct hf_bytes psk_identity;
    const struct hf_address *peer; /**< NULL: no limit by prefix */
};

enum hf_key_asked {
    HF_KEY_ASKED = 0, /**< there will be one answer, unless it is cancelled */
    HF_KEY_NOT_OURS,
    HF_KEY_FULL, /**< askers_max: answer that it is unavailable */
};

/** hf_key_service_ask asks. */
HF_MUST_USE enum hf_key_asked hf_key_service_ask(struct hf_key_service *service,
                                                 const struct hf_key_question *question);

/** hf_key_service_cancel: nobody waits any more. A lookup that was not sent yet and that nobody
 *  else waits for is given up; one that was sent fills the cache. */
void hf_key_service_cancel(struct hf_key_service *service, uint64_t tag, struct hf_ticket ticket);

/** An answer for hf_engine_answer(). Views hold until the next call. */
struct hf_key_reply {
    uint64_t tag;
    struct hf_ticket ticket;
    enum hf_maf_outcome outcome;
    struct hf_answer answer;
};

/** hf_key_service_take_reply gives the next answer; false: none. */
HF_MUST_USE bool hf_key_service_take_reply(struct hf_key_service *service,
                                           struct hf_key_reply *out);

/** hf_key_service_source gives a key source for one engine that runs on the service's thread (tag
 *  0): what is not ours goes to `other`, which must outlive it, or is refused if that is NULL.
 *  hf_key_service_deliver() hands the replies to the engine. */
struct hf_key_source hf_key_service_source(struct hf_key_service *service,
                                           const struct hf_key_source *other);
void hf_key_service_deliver(struct hf_key_service *service, struct hf_engine *engine);

/** hf_key_service_revoke forgets a key, ends its lookup, refuses all who wait, and goes on refusing
 *  the identity. Out: `*context` of associations made with it, 0 if there was no key. Replies that
 *  were not taken yet are refusals from here on; what was taken before must be ended by `*context`
 *  after it has been answered. False: not ours. */
HF_MUST_USE bool hf_key_service_revoke(struct hf_key_service *service, uint64_t *context,
                                       struct hf_bytes psk_identity);

/* ---- connections to MAFs ------------------------------------------------------------------ */

/** hf_key_service_take_action, _opened, _received and _ended: as in maf_pool.h, with a MAF's index;
 *  _received takes all bytes. */
HF_MUST_USE bool hf_key_service_take_action(struct hf_key_service *service, uint32_t *maf_index,
                                            struct hf_maf_action *out);
void hf_key_service_opened(struct hf_key_service *service, uint32_t maf_index, uint32_t connection);
void hf_key_service_received(struct hf_key_service *service, uint32_t maf_index,
                             uint32_t connection, struct hf_bytes bytes);
/** hf_key_service_renew: hf_maf_pool_renew() of one MAF. */
void hf_key_service_renew(struct hf_key_service *service, uint32_t maf_index);
void hf_key_service_ended(struct hf_key_service *service, uint32_t maf_index, uint32_t connection,
                          enum hf_maf_outcome outcome);

/* ---- keys kept across a restart ----------------------------------------------------------- */

/** A key as it is kept. Views hold during the call. Secret. */
struct hf_key_kept {
    struct hf_bytes psk_identity;
    struct hf_bytes secret;
    struct hf_bytes source_id;
    int64_t expires_s;
    uint64_t context;
};

typedef void hf_key_service_visit(const struct hf_key_kept *key, void *arg);

/** hf_key_service_each calls `visit` for each key that is kept and has not expired. */
void hf_key_service_each(const struct hf_key_service *service, hf_key_service_visit *visit,
                         void *arg);

/** hf_key_service_keep puts a key in as if it had been retrieved. False: not ours, expired, of no
 *  good length, or there already. */
HF_MUST_USE bool hf_key_service_keep(struct hf_key_service *service, const struct hf_key_kept *key);

/* ---- counters ----------------------------------------------------------------------------- */

#define HF_KEY_BUCKETS 12

/** hf_key_service_bucket_us gives the upper bound of a bucket of the latency histogram; the last is
 *  UINT64_MAX. */
uint64_t hf_key_service_bucket_us(size_t bucket);

struct hf_key_maf_counters {
    uint64_t outcomes[HF_MAF_OUTCOME_COUNT]; /**< of lookups */
    uint64_t latencies[HF_KEY_BUCKETS];      /**< of lookups that were sent, each in one bucket */
    uint64_t latency_us;                     /**< their sum */
    uint64_t asked, coalesced, hits, refusal_hits;
    struct hf_maf_health health;
};

struct hf_key_service_counters {
    uint64_t replies[HF_MAF_OUTCOME_COUNT]; /**< to askers */
    uint64_t cancelled, full, revoked, evicted;
    uint64_t changes; /**< keys retrieved and revocations: there is something new to keep */
    uint32_t parked, lookups, keys, refusals; /**< gauges */
};

void hf_key_service_counters_get(struct hf_key_service_counters *out,
                                 const struct hf_key_service *service);
void hf_key_service_maf_counters_get(struct hf_key_maf_counters *out,
                                     const struct hf_key_service *service, uint32_t maf_index);

#endif
