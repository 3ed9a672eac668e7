/**
 * proof.h - what a certificate handshake needs beyond its slot: the compound job that asks for all
 * the public-key cryptography of one step (include/handfast/job.h), the peer's chain, and whose
 * keys and whose trust it goes by. One for each certificate handshake, from a bounded pool of its
 * own: handshakes with pre-shared keys pay nothing for it.
 *
 * Invariant: a slot whose job is away is not reused before the job is given back, whatever becomes
 * of the handshake meanwhile.
 */
#ifndef HF_PROOF_H
#define HF_PROOF_H

#include "core.h"

struct hf_proof {
    uint32_t next_free;
    uint32_t handshake;                     /**< HF_NONE: it has ended */
    bool is_queued;                         /**< in the ring of jobs to be taken */
    bool is_away;                           /**< taken, not yet given back */
    const struct hf_credential *credential; /**< ours, NULL: none; a reference */
    const struct hf_trust *trust;           /**< judges the peer; a reference */
    struct hf_expected_peer expected;       /**< client: who must answer */
    uint8_t expected_id[HF_ENTITY_ID_MAX];
    struct hf_job job;
};

/** hf_proof_take gives the handshake a slot, with references to what it goes by. Errors:
 *  HF_E_PROOF_LIMIT. */
HF_MUST_USE enum hf_status hf_proof_take(struct hf_engine *engine,
                                         struct hf_association *association,
                                         const struct hf_credential *credential,
                                         const struct hf_trust *trust);

/** hf_proof_give ends the handshake's use of its slot, if it has one. */
void hf_proof_give(struct hf_engine *engine, struct hf_handshake *handshake);

/** hf_proof_of gives the slot. The handshake has one. */
struct hf_proof *hf_proof_of(const struct hf_engine *engine, const struct hf_handshake *handshake);

/** hf_proof_chain gives the room for the peer's chain: message_len_max bytes. */
uint8_t *hf_proof_chain(const struct hf_engine *engine, struct hf_proof *proof);

/** hf_proof_ask has `parts` of the job done: the handshake waits for event JOB. Call last in a
 *  step. */
void hf_proof_ask(struct hf_engine *engine, struct hf_association *association, uint8_t parts);

/** hf_proof_answered ends the wait and tells how it went. */
enum hf_status hf_proof_answered(struct hf_engine *engine, struct hf_handshake *handshake);

/** hf_proof_close lets go of every reference. */
void hf_proof_close(struct hf_engine *engine);

#endif
