/**
 * ending.h - ends the associations of a shard whose key is gone: a walk over all of its records, a
 * slice a turn, however many there are and however many keys went.
 *
 * One walk at a time. What is asked for while one is under way waits, and what waits is put
 * together into one walk where it can be.
 */
#ifndef HF_ENDING_H
#define HF_ENDING_H

#include "daemon_config.h"

struct hf_ending;

/** hf_ending_open gives NULL without memory. Outlives the loop. */
struct hf_ending *hf_ending_open(const struct hf_daemon_config *config, uint32_t shard_index);

/** hf_ending_close forgets what was not done; NULL is allowed. No loop may still run. */
void hf_ending_close(struct hf_ending *ending);

/** hf_ending_gone ends associations whose `context` is among `contexts` (sorted). Copies it. False:
 *  no memory. Thread: any. */
HF_MUST_USE bool hf_ending_gone(struct hf_ending *ending, struct hf_loop *loop,
                                const uint64_t *contexts, size_t count);

/** hf_ending_unkept ends associations of an authority's listeners whose context is not above
 *  `newest` and not among `contexts` (sorted): a store was replaced unseen. Likewise. */
HF_MUST_USE bool hf_ending_unkept(struct hf_ending *ending, struct hf_loop *loop,
                                  uint32_t authority_index, uint64_t newest,
                                  const uint64_t *contexts, size_t count);

/** hf_ending_second goes on with what found the loop's queue full. Thread: the shard's. */
void hf_ending_second(struct hf_ending *ending, struct hf_loop *loop);

/** hf_ending_is_idle tells whether nothing is left to do. Thread: any. */
bool hf_ending_is_idle(struct hf_ending *ending);

#endif
