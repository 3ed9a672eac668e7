/**
 * store.h - the registrations and keys of a MAF in LMDB: a directory with one file, maf.mdb.
 *
 * Every operation happens in a transaction of many; nothing of it may be acknowledged before
 * hf_store_commit() has returned true: then it is on the disk (fdatasync) and a crash, of this
 * process or of the machine, does not lose it. One thread at a time.
 */
#ifndef HF_STORE_H
#define HF_STORE_H

#include <maf_resource.h>

struct hf_store;

#define HF_STORE_ERROR_MAX 512

enum hf_store_found {
    HF_STORE_FOUND = 0,
    HF_STORE_ABSENT,
    HF_STORE_FAILED, /**< disk full, damage ...: abort the transaction; hf_store_error() says why */
};

/** hf_store_open opens or makes the store; the directory must be its owner's alone. On false
 *  `error` holds one line. */
HF_MUST_USE bool hf_store_open(struct hf_store **out, char error[HF_STORE_ERROR_MAX],
                               const char *directory);

/** hf_store_close gives up an open transaction; NULL is allowed. */
void hf_store_close(struct hf_store *store);

/** hf_store_error tells of the last failure. */
const char *hf_store_error(const struct hf_store *store);

/** hf_store_begin begins a transaction that may write. */
HF_MUST_USE bool hf_store_begin(struct hf_store *store);

/** hf_store_commit makes it durable. On false nothing of it is there. */
HF_MUST_USE bool hf_store_commit(struct hf_store *store);
void hf_store_abort(struct hf_store *store);

/** hf_store_get reads a registration by its kind and identifier (that of a key: without regard to
 *  case). One that has expired at `wall_s` is absent. */
HF_MUST_USE enum hf_store_found hf_store_get(struct hf_maf_resource *out, struct hf_store *store,
                                             enum hf_maf_kind kind, const char *resource_id,
                                             int64_t wall_s);

/** hf_store_put writes one, replacing what had its identifier. */
HF_MUST_USE bool hf_store_put(struct hf_store *store, const struct hf_maf_resource *resource);

/** hf_store_remove removes one, expired or not. */
HF_MUST_USE enum hf_store_found hf_store_remove(struct hf_store *store, enum hf_maf_kind kind,
                                                const char *resource_id);

/** hf_store_owned gives how many registrations of a kind a client has. */
HF_MUST_USE bool hf_store_owned(uint64_t *out, struct hf_store *store, enum hf_maf_kind kind,
                                const char *client_id);

/** hf_store_expire removes at most `max` registrations that have expired and says how many. */
HF_MUST_USE bool hf_store_expire(size_t *out, struct hf_store *store, int64_t wall_s, size_t max);

/** hf_store_count gives how many registrations of a kind there are. */
HF_MUST_USE bool hf_store_count(uint64_t *out, struct hf_store *store, enum hf_maf_kind kind);

#endif
