/**
 * gather.h - looking at associations from another thread: the shard copies them out, a slice of its
 * records a turn, and the caller waits.
 */
#ifndef HF_GATHER_H
#define HF_GATHER_H

#include "daemon.h"

/** What is looked for; everything if nothing is set. */
struct hf_gather_query {
    const struct hf_address *peer; /**< port 0: any port */
    struct hf_bytes text;          /**< part of the Credential-ID or of the entity's identifier */
    struct hf_bytes identity;      /**< all of the psk_identity */
};

struct hf_gather_result {
    hf_association_id association;
    struct hf_association_info info;
};

/** hf_gather_list copies out up to `out_max` associations and moves `*cursor`, which is 0 to begin
 *  with and UINT64_MAX behind the last. False: a shard does not answer. Thread: any but a shard's.
 */
HF_MUST_USE bool hf_gather_list(struct hf_gather_result *out, size_t *out_count, uint64_t *cursor,
                                struct hf_daemon *daemon, const struct hf_gather_query *query,
                                size_t out_max);

/** hf_gather_one copies out one association, and ends it if so asked. Errors: HF_E_STALE: there is
 *  none; HF_E_STATE: its shard does not answer. */
HF_MUST_USE enum hf_status hf_gather_one(struct hf_association_info *out, struct hf_daemon *daemon,
                                         hf_association_id association, bool is_closed);

#endif
