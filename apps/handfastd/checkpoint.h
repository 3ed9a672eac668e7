/**
 * checkpoint.h - every so often all DTLS associations go to a file, sealed, so that they outlive a
 * crash: a thread of its own, a slice of a shard's turn at a time. Off unless configured.
 *
 * Invariants: an engine sends no more records than HF_CHECKPOINT_RECORDS after the checkpoint that
 * may be used was begun, so that one that is restored, so many numbers further on, uses none twice;
 * and no checkpoint may be used once this process does not watch over its numbers any more.
 */
#ifndef HF_CHECKPOINT_H
#define HF_CHECKPOINT_H

#include "checkpoint_file.h"
#include "daemon.h"

struct hf_checkpoint;

/** hf_checkpoint_open starts the thread, if that is configured. On false the log says why. */
HF_MUST_USE bool hf_checkpoint_open(struct hf_checkpoint **out, struct hf_daemon *daemon);

/** hf_checkpoint_begin has it write, now that shards serve. */
void hf_checkpoint_begin(struct hf_checkpoint *checkpoint);

/** hf_checkpoint_secrets has later ones sealed with others. Thread: any. NULL is allowed, here and
 *  below. */
void hf_checkpoint_secrets(struct hf_checkpoint *checkpoint,
                           const struct hf_shared_secrets *secrets);

/** hf_checkpoint_retire ends what is being written and sees to it that none may be used any more;
 *  hf_checkpoint_resume begins anew. False: neither number nor file could be changed. Thread: any
 *  but a shard's. */
HF_MUST_USE bool hf_checkpoint_retire(struct hf_checkpoint *checkpoint);
void hf_checkpoint_resume(struct hf_checkpoint *checkpoint);

/** hf_checkpoint_close retires and ends the thread; while shards are still there. */
void hf_checkpoint_close(struct hf_checkpoint *checkpoint);

/** What it has done. */
struct hf_checkpoint_counters {
    uint64_t written, failed;
    uint64_t us, len, associations; /**< of the last that was written */
    uint64_t slice_us_max;          /**< the longest that a shard was kept at a time */
};

/** hf_checkpoint_counters_get tells. Thread: any. */
void hf_checkpoint_counters_get(struct hf_checkpoint_counters *out,
                                struct hf_checkpoint *checkpoint);

#endif
