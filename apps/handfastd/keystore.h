/**
 * keystore.h - the key file of a running daemon: read from disk, replaced as a whole on a reload.
 *
 * Shards read without locks; a replaced table is wiped as soon as no shard looks at it.
 */
#ifndef HF_KEYSTORE_H
#define HF_KEYSTORE_H

#include <handfast/keyfile.h>

struct hf_keystore;

#define HF_KEYSTORE_ERROR_MAX 512

/** hf_keystore_open reads the key file. On false `error` holds one line that names the file and,
 *  where it is a line's fault, the line. In: 16 bytes of `context_key`, see
 *  hf_keyfile_use_context(). */
HF_MUST_USE bool hf_keystore_open(struct hf_keystore **out, char error[HF_KEYSTORE_ERROR_MAX],
                                  const char *path, uint32_t shard_count,
                                  const uint8_t context_key[16]);

/** What a reload would do. */
struct hf_keystore_change {
    uint64_t keys_before, keys_after;
    uint64_t added, removed, changed;
    uint64_t
        *ended; /**< contexts of the answers that no longer hold, sorted; the caller frees it */
    size_t ended_count;
};

/** hf_keystore_prepare reads `path`, keeps what it read beside the keys in use, and counts
 *  the difference. hf_keystore_commit or hf_keystore_abandon must follow. Thread: one at a time. */
HF_MUST_USE bool hf_keystore_prepare(struct hf_keystore *store, struct hf_keystore_change *out,
                                     char error[HF_KEYSTORE_ERROR_MAX], const char *path);

/** hf_keystore_contexts gives the contexts of all answers it can give now, sorted; the caller frees
 *  them. False: no memory. Thread: the one of prepare. */
HF_MUST_USE bool hf_keystore_contexts(const struct hf_keystore *store, uint64_t **out,
                                      size_t *out_count);

/** hf_keystore_each tells the difference that hf_keystore_prepare() found, key by key. */
void hf_keystore_each(const struct hf_keystore *store, hf_keyfile_differ *differ, void *arg);

/** hf_keystore_commit puts it into use: when it returns, no lookup sees the old keys. */
void hf_keystore_commit(struct hf_keystore *store);

/** hf_keystore_abandon forgets it, and counts a reload that failed. */
void hf_keystore_abandon(struct hf_keystore *store);

/** hf_keystore_has tells whether the identity has a key. Thread: the one of prepare. */
bool hf_keystore_has(const struct hf_keystore *store, struct hf_bytes psk_identity);

/** hf_keystore_close wipes and frees. No shard may still run. */
void hf_keystore_close(struct hf_keystore *store);

/** hf_keystore_source gives the source of one shard; it answers at once. */
struct hf_key_source hf_keystore_source(struct hf_keystore *store, uint32_t shard_index);

/** hf_keystore_try answers as that source would if the identity has a key, and otherwise returns
 *  false. Thread: the shard's. */
HF_MUST_USE bool hf_keystore_try(struct hf_keystore *store, uint32_t shard_index,
                                 struct hf_engine *engine, const struct hf_request *request);

/** hf_keystore_load reads a key file for a caller of its own. */
HF_MUST_USE bool hf_keystore_load(struct hf_keyfile **out, char error[HF_KEYSTORE_ERROR_MAX],
                                  const char *path);

struct hf_keystore_counters {
    uint64_t keys; /**< gauge */
    uint64_t reloads, reloads_failed;
};

/** hf_keystore_counters_get copies them out. Thread: any. */
void hf_keystore_counters_get(struct hf_keystore_counters *out, const struct hf_keystore *store);

#endif
