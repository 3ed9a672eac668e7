/**
 * keydb_record.h - how a key is written in the store. Private to keysource/lmdb/.
 *
 * The name under which LMDB finds it is the identity, or for one too long for LMDB its first
 * 479 bytes and its SHA-256. The record:
 *     0 version  1 secret_len  2 entity_kind  3 authority_len  4 entity_len  6 identity_len
 *     8 created_s  16 not_before_s  24 not_after_s  32 revision
 *     40 secret, entity_id, authority, identity (only a long one), checksum (8)
 * Little-endian. The checksum covers name and record: it finds damage, not forgery - whoever can
 * write the file can write keys.
 */
#ifndef HF_KEYDB_RECORD_H
#define HF_KEYDB_RECORD_H

#include "keydb.h"

#define HF_KEYDB_NAME_MAX 511 /* LMDB's limit */
#define HF_KEYDB_RECORD_MAX                                                                        \
    (40 + HF_PSK_MAX + HF_ENTITY_ID_MAX + HF_KEYDB_AUTHORITY_MAX + HF_KEYDB_IDENTITY_MAX + 8)

/** hf_keydb_record_name writes the name and returns its length; 0: the identity has no valid
 *  length. */
size_t hf_keydb_record_name(uint8_t out[HF_KEYDB_NAME_MAX], struct hf_bytes identity);

/** hf_keydb_record_write returns the length; 0: `key` breaks a limit. Secret: wipe `out`. */
size_t hf_keydb_record_write(uint8_t out[HF_KEYDB_RECORD_MAX], const struct hf_keydb_key *key);

/** hf_keydb_record_read checks everything; views point into `name` and `record`. */
HF_MUST_USE bool hf_keydb_record_read(struct hf_keydb_key *out, struct hf_bytes name,
                                      struct hf_bytes record);

/* A number with its checksum: what else the store writes. */
#define HF_KEYDB_NUMBER_LEN 24

/** hf_keydb_number_write writes two numbers under a name. */
void hf_keydb_number_write(uint8_t out[HF_KEYDB_NUMBER_LEN], struct hf_bytes name, uint64_t first,
                           uint64_t second);
HF_MUST_USE bool hf_keydb_number_read(uint64_t *first, uint64_t *second, struct hf_bytes name,
                                      struct hf_bytes number);

/** hf_keydb_load and hf_keydb_save read and write little-endian numbers of `len` bytes. */
uint64_t hf_keydb_load(const uint8_t *data, size_t len);
void hf_keydb_save(uint8_t *data, uint64_t value, size_t len);

#endif
