/**
 * shortage.h - says which limit turns peers away: one line of the log, with the remedy.
 */
#ifndef HF_SHORTAGE_H
#define HF_SHORTAGE_H

#include <loop.h>

enum hf_shortage_kind {
    HF_SHORTAGE_CONNECTIONS = 0,
    HF_SHORTAGE_DESCRIPTORS,
    HF_SHORTAGE_HANDSHAKES,
    HF_SHORTAGE_ASSOCIATIONS,
    HF_SHORTAGE_COUNT,
};

/** Of one shard; all zeros at first. */
struct hf_shortage {
    uint64_t told[HF_SHORTAGE_COUNT];    /**< turned away, as the last line had it */
    uint64_t told_us[HF_SHORTAGE_COUNT]; /**< when; 0: never */
};

/** hf_shortage_second logs "limit_reached" for each limit that has turned peers away since its last
 *  line: at once, then once a minute. Thread: the loop's. */
void hf_shortage_second(struct hf_shortage *shortage, struct hf_loop *loop, uint32_t shard_index);

#endif
