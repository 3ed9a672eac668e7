/**
 * onward.h - questions that a key store is asked first, and a MAF if the store has no such key: our
 * own keys come before those of others (TS-0003 8.2.2). One for each shard of an authority; all
 * calls on the shard's thread.
 */
#ifndef HF_ONWARD_H
#define HF_ONWARD_H

#include <handfast/engine.h>
#include <maf_text.h>

struct hf_onward;

/** A question under way. Views hold until the next call. */
struct hf_onward_question {
    struct hf_ticket ticket; /**< the engine's */
    struct hf_bytes psk_identity;
    struct hf_address peer;
};

/** hf_onward_open makes room for so many; NULL: no memory. */
struct hf_onward *hf_onward_open(uint32_t questions_max);

/** hf_onward_close frees; NULL is allowed. */
void hf_onward_close(struct hf_onward *onward);

/** hf_onward_put keeps a question. Out: the ticket to ask the store with, never an engine's. False:
 *  no room, or the identity is too long. */
HF_MUST_USE bool hf_onward_put(struct hf_onward *onward, struct hf_ticket *out,
                               const struct hf_request *request);

/** hf_onward_take gives the question of a ticket, and forgets it. False: the ticket is an engine's.
 *  Out: `*is_wanted` false: it was cancelled. */
HF_MUST_USE bool hf_onward_take(struct hf_onward *onward, struct hf_onward_question *out,
                                bool *is_wanted, struct hf_ticket ticket);

/** hf_onward_cancel: nobody waits for this ticket of the engine any more. */
void hf_onward_cancel(struct hf_onward *onward, struct hf_ticket ticket);

#endif
