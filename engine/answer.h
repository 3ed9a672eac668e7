/**
 * answer.h - what a handshake waits for from outside: asking, being answered, and the queue that
 * keeps answers from recursing. The engine's own conclusions go through the same queue, so there is
 * one path whether a key source was asked or not.
 */
#ifndef HF_ANSWER_H
#define HF_ANSWER_H

#include "core.h"

/** hf_answer_expect begins the wait. `is_asked` false: nobody is asked and the engine answers
 * itself, an unaskable key with HF_ANSWER_REFUSED, an identity that came with the key with
 *  HF_ANSWER_IDENTITY. Call last in a step. */
void hf_answer_expect(struct hf_engine *engine, struct hf_association *association,
                      enum hf_pending pending, bool is_asked);

/** hf_answer_taken ends the wait. */
void hf_answer_taken(struct hf_engine *engine, struct hf_handshake *handshake);

/** hf_answer_bound ends the wait for an identity, the last before an association opens. Errors:
 *  HF_E_SOURCE_UNAVAILABLE, HF_E_IDENTITY_REFUSED, HF_E_UNEXPECTED_MESSAGE (more in the record of
 *  Finished). */
HF_MUST_USE enum hf_status hf_answer_bound(struct hf_engine *engine,
                                           struct hf_association *association);

/** hf_answer_queue has a slot looked at by hf_answer_run(), because its answer is here or because
 *  what it has kept found no room. Once is enough: there is a place in the ring for every slot. */
void hf_answer_queue(struct hf_engine *engine, struct hf_handshake *handshake, uint32_t slot);

/** hf_answer_run takes queued answers, oldest first, as long as the outbox has room. */
void hf_answer_run(struct hf_engine *engine);

#endif
