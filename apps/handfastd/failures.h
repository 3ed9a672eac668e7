/**
 * failures.h - the last handshakes and associations that failed, for "why is this device offline".
 *
 * A bounded ring in memory, shared by all shards: a flood of strangers pushes old ones out, so
 * repeats of the same failure by the same peer and identity take one place and are counted.
 */
#ifndef HF_FAILURES_H
#define HF_FAILURES_H

#include <handfast/engine.h>

#define HF_FAILURES_MAX 2048

struct hf_failure_record {
    int64_t first_s, last_s; /**< UTC */
    uint64_t times;
    uint32_t listener_index; /**< `is_client`: the dialer's */
    bool is_client;
    bool is_handshake;      /**< false: an established association ended with it */
    struct hf_address peer; /**< the last one's */
    struct hf_failure failure;
    uint8_t identity[HF_EVENT_IDENTITY_MAX]; /**< the first octets, if it got so far */
    uint16_t identity_len;
};

/** hf_failures_add takes notice of HF_EVENT_HANDSHAKE_FAILED or HF_EVENT_CLOSED; orderly ends are
 *  passed over. Thread: any. Cost: a short lock. */
void hf_failures_add(const struct hf_event *event);

/** What is looked for: one of them. */
struct hf_failures_query {
    struct hf_bytes identity;         /**< len 0: any */
    const struct hf_address *address; /**< NULL: any; port 0: any port */
};

/** hf_failures_find copies out what matches, newest first, and gives how many. Thread: any. */
size_t hf_failures_find(struct hf_failure_record *out, size_t out_max,
                        const struct hf_failures_query *query);

#endif
