/**
 * limits.h - what keeps strangers within bounds: half-open handshakes per source prefix, and
 * failing decryptions per association.
 */
#ifndef HF_LIMITS_H
#define HF_LIMITS_H

#include "core.h"

/** hf_limits_prefix_cell gives the counter of a peer's source prefix. Prefixes share 4,096
 *  counters by keyed hash: a collision makes the limit stricter, never looser. */
uint32_t hf_limits_prefix_cell(const struct hf_engine *engine, const struct hf_path_key *path);

/** hf_limits_prefix_admit refuses only under pressure: a whole mobile network can sit behind one
 *  address. Errors: HF_E_PREFIX_LIMIT. */
HF_MUST_USE enum hf_status hf_limits_prefix_admit(const struct hf_engine *engine, uint32_t cell);

void hf_limits_prefix_count(struct hf_engine *engine, uint32_t cell, int change);

/** hf_limits_trial_allowed tells whether a record may be opened. When half the allowance is gone,
 *  only numbers close to the newest are tried: one who cannot see the traffic does not know them.
 */
HF_MUST_USE bool hf_limits_trial_allowed(struct hf_engine *engine,
                                         struct hf_association *association, uint64_t seq);

/** hf_limits_trial_failed counts a record that did not authenticate. True: the forgery budget is
 *  spent and the association must end. */
HF_MUST_USE bool hf_limits_trial_failed(struct hf_engine *engine,
                                        struct hf_association *association);

/** hf_limits_due gives the tick at which an open association has been idle for too long, or is too
 *  old. False: neither can happen. */
HF_MUST_USE bool hf_limits_due(uint32_t *out, const struct hf_engine *engine,
                               const struct hf_association *association);

/** hf_limits_evict ends the longest silent of the next open associations in turn, if it may go; of
 *  all, or of those of one quota, but never one at the path `beside`, if there is one: the newcomer
 *  there may be about to replace it. No order is kept for it, so nothing is paid for it but here.
 *  False: none may, or there is no room to say so. */
HF_MUST_USE bool hf_limits_evict(struct hf_engine *engine, uint32_t quota_index,
                                 const struct hf_path_key *beside);

/** hf_limits_rearm sets timers by the present limits of idleness and age, a slice of all records a
 *  turn, until it is through. */
void hf_limits_rearm(struct hf_engine *engine);

#endif
