/**
 * keystore_service.h - keys from an LMDB store for running engines: a source for each shard, a
 * thread of its own, a process that alone maps the file, and its keeper, which replaces it.
 *
 *     shard: request -> [ring] -> store thread: batches -> reading process: mdb_get
 *     shard: hf_keystore_service_drain() <- [ring] <- store thread <- reading process
 *
 * Whatever a damaged, truncated or hanging file does to LMDB, it does to the reading process: the
 * requests under way are answered HF_ANSWER_UNAVAILABLE, one line says why, and another process is
 * started, which first checks every page. A secret is copied once out of the store, into memory
 * both processes share, and once more by the engine; that place is then wiped.
 *
 * Nothing here blocks a shard: a request takes a slot and puts its number in a ring.
 */
#ifndef HF_KEYSTORE_SERVICE_H
#define HF_KEYSTORE_SERVICE_H

#include <handfast/engine.h>

#include "keydb.h"

struct hf_keystore_service;

#define HF_KEYSTORE_SHARDS_MAX 256

struct hf_keystore_service_config {
    const char *path;      /**< of the store's directory */
    const char *authority; /**< answer only keys of this one and of none; NULL: of all */
    uint32_t shard_count;
    uint32_t requests_max;   /**< of a shard under way; beyond it: UNAVAILABLE; 1,024 */
    uint32_t poll_ms;        /**< how often changes are looked for; 1,000 */
    uint32_t hang_ms_max;    /**< a reading process silent for so long is ended; 10,000 */
    uint32_t restart_ms_min; /**< before one that died early is replaced, doubling; 500 */
    uint32_t restart_ms_max; /**< up to this; 30,000 */
    int64_t uid, gid;        /**< the processes become this user; -1: as the caller is */
    /** wake tells that answers wait for hf_keystore_service_drain() on the shard's thread. Called
     *  on the store thread, must not block. */
    void (*wake)(uint32_t shard_index, void *arg);
    /** retired names the contexts whose keys were removed or replaced, sorted: their associations
     *  are to end. Called on the store thread. May be NULL. */
    void (*retired)(const uint64_t *contexts, size_t count, void *arg);
    /** kept names, sorted, the contexts of all keys there are, after the store was replaced in a
     *  way that leaves nothing to compare with: a context not among them and not above `newest` is
     *  of a key that is gone. Called on the store thread. May be NULL. */
    void (*kept)(const uint64_t *contexts, size_t count, uint64_t newest, void *arg);
    /** log gives one line, never key material. Called on the store thread. May be NULL. */
    void (*log)(bool is_error, const char *event, const char *text, void *arg);
    void *arg;
};

/** hf_keystore_service_config_init sets the defaults named above. */
void hf_keystore_service_config_init(struct hf_keystore_service_config *config);

/** hf_keystore_service_open starts thread and processes and waits until the store has been checked
 *  as a whole (about a second per million keys). Afterwards the caller may give up its privileges
 *  and the right to fork: the keeper has its own. On false `error` holds one line. Copies `config`
 *  and its strings. */
HF_MUST_USE bool hf_keystore_service_open(struct hf_keystore_service **out,
                                          char error[HF_KEYDB_ERROR_MAX],
                                          const struct hf_keystore_service_config *config);

/** hf_keystore_service_close ends both and wipes. No shard may still use it; NULL is allowed. */
void hf_keystore_service_close(struct hf_keystore_service *service);

/** hf_keystore_service_source gives the source of one shard. */
struct hf_key_source hf_keystore_service_source(struct hf_keystore_service *service,
                                                uint32_t shard_index);

/** hf_keystore_service_drain answers what has come, and says how many. Thread: the shard's. */
size_t hf_keystore_service_drain(struct hf_keystore_service *service, uint32_t shard_index,
                                 struct hf_engine *engine);

/** hf_keystore_service_submit asks without an engine; false: all slots are taken. Thread: the
 *  shard's. */
HF_MUST_USE bool hf_keystore_service_submit(struct hf_keystore_service *service,
                                            uint32_t shard_index, struct hf_ticket ticket,
                                            struct hf_bytes psk_identity);

/** hf_keystore_service_take gives one answer, without an engine. Its views hold until the next call
 *  for this shard, `scratch` holds its Credential-ID. Thread: the shard's. */
HF_MUST_USE bool hf_keystore_service_take(struct hf_ticket *ticket, struct hf_answer *out,
                                          uint8_t scratch[HF_CREDENTIAL_ID_MAX],
                                          struct hf_keystore_service *service,
                                          uint32_t shard_index);

/** hf_keystore_service_poll has it look for changes now. Thread: any. */
void hf_keystore_service_poll(struct hf_keystore_service *service);

struct hf_keystore_service_counters {
    uint64_t requests, found, refused, unavailable;
    uint64_t damaged;   /**< of the unavailable: a record or page that is not as written */
    uint64_t overflows; /**< of the unavailable: all slots of the shard were taken */
    uint64_t batches;
    uint64_t retired;
    uint64_t starts, deaths; /**< of reading processes */
    uint64_t keys;           /**< gauge, as of the last poll */
    uint64_t generation;     /**< gauge: raised by a restore */
    uint64_t transaction;    /**< gauge */
    bool is_serving;
};

/** hf_keystore_service_counters_get copies them out. Thread: any. */
void hf_keystore_service_counters_get(struct hf_keystore_service_counters *out,
                                      const struct hf_keystore_service *service);

/** hf_keystore_service_process gives the reading process's id, 0 if there is none. Thread: any. */
int hf_keystore_service_process(const struct hf_keystore_service *service);

#endif
