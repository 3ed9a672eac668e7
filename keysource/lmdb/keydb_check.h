/**
 * keydb_check.h - reads an LMDB file without LMDB, believing nothing in it. Private.
 *
 * Every byte is got with pread(2), every number is compared with what bounds it, so a damaged file
 * gives a reason and never a fault. What is checked: both meta pages; every page reachable from
 * the newest (or a pinned) transaction - its own number, kind, the packing of its nodes, the order
 * of its keys, the depth of its tree; that no page has two owners, the free list included; the
 * counts LMDB keeps; and each record, by the caller.
 */
#ifndef HF_KEYDB_CHECK_H
#define HF_KEYDB_CHECK_H

#include "keydb.h"

#define HF_KEYDB_REASON_MAX 200

/** One record of a named table: false if it is damaged. */
typedef bool hf_keydb_check_record(struct hf_bytes table, struct hf_bytes name,
                                   struct hf_bytes value, void *arg);

enum hf_keydb_verdict {
    HF_KEYDB_SOUND = 0,
    HF_KEYDB_BROKEN, /**< `reason` says where and how */
    HF_KEYDB_MOVED,  /**< writers overtook: the transaction is not in a meta page any more */
};

/** hf_keydb_check_meta checks the meta pages and the file's length alone. Out: the newest
 *  transaction. */
HF_MUST_USE bool hf_keydb_check_meta(uint64_t *transaction, char reason[HF_KEYDB_REASON_MAX],
                                     int fd);

/** hf_keydb_check_pages walks the file. In: a transaction that a reader pins, or 0 for the newest
 *  of a file that nobody writes. `out->keys` is left to the caller. */
HF_MUST_USE enum hf_keydb_verdict hf_keydb_check_pages(struct hf_keydb_report *out,
                                                       char reason[HF_KEYDB_REASON_MAX], int fd,
                                                       uint64_t transaction,
                                                       hf_keydb_check_record *check, void *arg);

#endif
