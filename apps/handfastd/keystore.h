/**
 * keystore.h - the key file of a running daemon: read from disk, replaced as a whole on SIGHUP.
 *
 * Shards read without locks; a replaced table is wiped as soon as no shard looks at it.
 */
#ifndef HF_KEYSTORE_H
#define HF_KEYSTORE_H

#include <handfast/keyfile.h>

struct hf_keystore;

#define HF_KEYSTORE_ERROR_MAX 512

/** hf_keystore_open reads the key file. On false `error` holds one line that names the file and,
 *  where it is a line's fault, the line. `path` must outlive the store. */
HF_MUST_USE bool hf_keystore_open(struct hf_keystore **out, char error[HF_KEYSTORE_ERROR_MAX],
                                  const char *path, uint32_t shard_count);

/** hf_keystore_reload reads it again: all of it or nothing. Thread: one at a time. */
HF_MUST_USE bool hf_keystore_reload(struct hf_keystore *store, char error[HF_KEYSTORE_ERROR_MAX]);

/** hf_keystore_close wipes and frees. No shard may still run. */
void hf_keystore_close(struct hf_keystore *store);

/** hf_keystore_source gives the source of one shard; it answers at once. */
struct hf_key_source hf_keystore_source(struct hf_keystore *store, uint32_t shard_index);

struct hf_keystore_counters {
    uint64_t keys; /**< gauge */
    uint64_t reloads, reloads_failed;
};

/** hf_keystore_counters_get copies them out. Thread: any. */
void hf_keystore_counters_get(struct hf_keystore_counters *out, const struct hf_keystore *store);

#endif
