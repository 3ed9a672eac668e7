/**
 * quota.h - the shares of authorities: how many associations and half-open handshakes the peers of
 * one may hold, how many they may begin - what we dial ourselves is nobody's -; and records that
 * rest before they are used again.
 */
#ifndef HF_QUOTA_H
#define HF_QUOTA_H

#include "core.h"

/** hf_quota_init fills the buckets. */
void hf_quota_init(struct hf_engine *engine, const struct hf_config *config);

/** hf_quota_admit tells whether one more handshake may begin at the listener, and takes it from the
 *  rate. In: whether it is to replace an association that is there.
 *  Errors: HF_E_AUTHORITY_LIMIT. */
HF_MUST_USE enum hf_status hf_quota_admit(struct hf_engine *engine, uint32_t listener_index,
                                          bool is_restart);

/** hf_quota_move makes a half-open association another authority's, whose limits it must find
 *  room in. Errors: HF_E_AUTHORITY_LIMIT. */
HF_MUST_USE enum hf_status hf_quota_move(struct hf_engine *engine,
                                         struct hf_association *association, uint32_t index);

/** hf_quota_begin, _establish and _end count what an association holds. */
void hf_quota_begin(struct hf_engine *engine, struct hf_association *association);
void hf_quota_establish(struct hf_engine *engine, const struct hf_association *association);
void hf_quota_end(struct hf_engine *engine, const struct hf_association *association,
                  bool is_half_open);

/** hf_quota_update takes new limits; as many as before. */
void hf_quota_update(struct hf_engine *engine, const struct hf_config *config);

/** hf_quota_rest takes a record that has been wiped but for its generation and flags, and gives it
 *  back to the pool, now or once it has rested. */
void hf_quota_rest(struct hf_engine *engine, struct hf_association *association);

/** hf_quota_wake gives back what has rested long enough, two records at most: as many calls as
 *  records are taken keep up with any number. */
void hf_quota_wake(struct hf_engine *engine);

#endif
