/**
 * identity.h - who the peer is: short names in a block of 32 or 48 bytes, others in a chain of
 * 64-byte blocks, so that an idle association pays for what its names need and no more.
 */
#ifndef HF_IDENTITY_H
#define HF_IDENTITY_H

#include "core.h"

#define HF_IDENTITY_BLOCK_LEN 64

/** Blocks that hold a whole identity, smallest first. */
static const size_t hf_identity_small_lens[HF_SMALL_IDENTITIES] = {32, 48};

/** The names of an association, and by what its credential can be revoked. */
struct hf_identity {
    struct hf_bytes entity_id;
    struct hf_bytes credential_id;
    struct hf_bytes server_name;
    struct hf_bytes handles; /**< one behind the other, HF_REVOCATION_HANDLE_LEN each */
};

/** hf_identity_keep stores the names and gives the head block. Errors: HF_E_ASSOCIATION_LIMIT when
 *  the pool is exhausted, nothing kept. */
HF_MUST_USE enum hf_status hf_identity_keep(uint32_t *out, struct hf_engine *engine,
                                            const struct hf_identity *identity);

/** hf_identity_copy writes the names into `info`; empty for HF_NONE. */
void hf_identity_copy(struct hf_association_info *info, const struct hf_engine *engine,
                      uint32_t head);

/** hf_identity_handles copies the revocation handles out and gives their number; 0 for HF_NONE. */
size_t hf_identity_handles(uint8_t out[HF_CHAIN_DEPTH_MAX * HF_REVOCATION_HANDLE_LEN],
                           const struct hf_engine *engine, uint32_t head);

/** hf_identity_drop gives the chain back; HF_NONE is allowed. */
void hf_identity_drop(struct hf_engine *engine, uint32_t head);

#endif
