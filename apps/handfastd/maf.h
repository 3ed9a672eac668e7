/**
 * maf.h - the thread that fetches keys from MAFs for all shards: it alone holds the key service, so
 * that identical questions of all shards are one, and its connections.
 *
 *     shard: hf_maf_ask() -> [list] -> thread: key service, TLS to MAFs
 *     shard: hf_maf_drain() <- [list] <- thread
 *
 * Nothing here blocks a shard. docs/MAF.md.
 */
#ifndef HF_MAF_H
#define HF_MAF_H

#include "maf_config.h"
#include "onward.h"

#include <key_service.h>

struct hf_maf;

#define HF_MAF_ERROR_MAX 640

struct hf_maf_config {
    const struct hf_daemon_mafs *mafs;
    uint32_t shard_count;
    uint32_t questions_max; /**< parked on MAFs, all shards */
    /** wake has hf_maf_drain() called on the shard's thread. Thread: the MAF's. */
    void (*wake)(uint32_t shard_index, void *arg);
    /** log gives one line, never key material. Thread: the MAF's. */
    void (*log)(bool is_error, const char *event, const char *text, void *arg);
    void *arg;
};

/** hf_maf_open reads the keys we have with the MAFs, and prepares all but the thread. On false
 *  `error` holds one line. */
HF_MUST_USE bool hf_maf_open(struct hf_maf **out, char error[HF_MAF_ERROR_MAX],
                             const struct hf_maf_config *config);

/** hf_maf_start starts the threads. NULL is allowed. False: said why, to the log. */
HF_MUST_USE bool hf_maf_start(struct hf_maf *maf);

/** hf_maf_serve takes the keys that were kept, and has ours kept from now on: when nobody else
 *  serves any more, and before anybody asks. NULL is allowed. */
void hf_maf_serve(struct hf_maf *maf);

/** hf_maf_close ends the thread and wipes; NULL is allowed. No shard may still use it. */
void hf_maf_close(struct hf_maf *maf);

/** hf_maf_is_ours tells whether an identity is of a configured MAF; `maf` may be NULL. Thread:
 *  any. */
HF_MUST_USE bool hf_maf_is_ours(const struct hf_maf *maf, struct hf_bytes psk_identity);

/** hf_maf_is_for is that of an authority's MAFs: a set of bits, as hf_maf_config_settle() makes. */
HF_MUST_USE bool hf_maf_is_for(const struct hf_maf *maf, uint32_t maf_set,
                               struct hf_bytes psk_identity);

/** hf_maf_ask has a key fetched; there will be one answer, perhaps at once. Thread: the shard's. */
void hf_maf_ask(struct hf_maf *maf, uint32_t shard_index, struct hf_engine *engine,
                const struct hf_onward_question *question);

/** hf_maf_cancel says that nobody waits any more. Thread: the shard's. */
void hf_maf_cancel(struct hf_maf *maf, uint32_t shard_index, struct hf_ticket ticket);

/** hf_maf_drain answers what has come. Thread: the shard's. */
void hf_maf_drain(struct hf_maf *maf, uint32_t shard_index, struct hf_engine *engine);

/** hf_maf_revoke revokes an identity and waits until it is: no key of it is handed out afterwards.
 *  What was handed out before has `*context` (0: nothing was), and stands in the lists that
 *  hf_maf_drain() takes: drain, then end by context. Out: `*is_kept` false: keys are kept across a
 *  restart, but this could not be written to their file. False: not ours. Thread: any but a
 *  shard's. */
HF_MUST_USE bool hf_maf_revoke(struct hf_maf *maf, uint64_t *context, bool *is_kept,
                               struct hf_bytes psk_identity);

/** hf_maf_prepare reads anew how we authenticate to MAFs, and the secrets of the kept keys, for
 *  hf_maf_commit() to take into use or hf_maf_abandon() to forget. On false `error` holds one line.
 *  Connections that stand stay. `maf` may be NULL. Thread: that of reloads. */
HF_MUST_USE bool hf_maf_prepare(struct hf_maf *maf, char error[HF_MAF_ERROR_MAX],
                                const struct hf_daemon_mafs *mafs);
void hf_maf_commit(struct hf_maf *maf);
void hf_maf_abandon(struct hf_maf *maf);

struct hf_maf_counters {
    struct hf_key_service_counters service;
    uint64_t overflows; /**< over questions_max: answered unavailable */
    uint32_t maf_count;
    struct {
        char fqdn[HF_MAF_FQDN_MAX + 1];
        enum hf_status failure; /**< of the last handshake with it that failed */
        struct hf_key_maf_counters counters;
    } mafs[HF_MAF_CONFIG_MAX];
};

/** hf_maf_counters_get copies them out, as of the last turn. Thread: any. */
void hf_maf_counters_get(struct hf_maf_counters *out, struct hf_maf *maf);

#endif
