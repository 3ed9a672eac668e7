/**
 * job_thread.h - what a thread that runs jobs keeps between runs: key pairs made ahead, verified
 * signatures, counters, and room to work in. Private to crypto/.
 */
#ifndef HF_JOB_THREAD_H
#define HF_JOB_THREAD_H

#include "chain.h"

#define HF__JOB_CHUNK 64     /**< jobs that share batches */
#define HF__JOB_VERIFIES 128 /**< signatures that wait for a batch */

/** What a signature in the queue is for. */
enum hf__job_purpose { HF__JOB_LINK, HF__JOB_PROOF, HF__JOB_SELF_CHECK };

/** A job at work. The statuses are of its parts; HF_OK where a part is not asked for. */
struct hf__job_item {
    struct hf_job *job;
    struct hf_chain_walk walk;
    bool is_walking; /**< hf_chain_finish() is due */
    bool is_waiting; /**< for a remote signer */
    bool is_signed;
    bool links_ok;
    enum hf_status chain, verify, agree, sign, generate;
    uint8_t signature[HF_P256_SIGNATURE_LEN]; /**< ours: not to leave before it is checked */
    uint8_t proof[HF_P256_SIGNATURE_LEN];     /**< the peer's */
};

struct hf__job_pair {
    uint8_t private_key[HF_P256_SCALAR_LEN];
    uint8_t public_key[HF_P256_POINT_LEN];
};

/** A verified signature of a certificate. All zero: free. */
struct hf__job_cached {
    uint8_t key[HF_SHA256_LEN]; /**< over issuer's key, digest and signature */
    uint64_t epoch;             /**< of the trust it was verified under */
    int64_t not_after_s;
};

/** In memory that a forked child finds zero: no key pair is ever used in two processes. */
struct hf__job_thread {
    bool may_keep_pairs; /**< the kernel does wipe it in a child */
    uint32_t pair_count;
    struct hf__job_pair pairs[HF_JOB_LANES_MAX];
    struct hf_job_counters counters;
    struct hf__job_cached *cache;
    uint32_t cache_max;
    struct hf__job_item items[HF__JOB_CHUNK];
    struct hf_p256_verify verifies[HF__JOB_VERIFIES];
    struct {
        struct hf__job_item *item;
        enum hf__job_purpose purpose;
        const struct hf_chain_link *link;
    } verifying[HF__JOB_VERIFIES];
    size_t verify_count;
};

/** hf__job_thread_view gives the calling thread's, or NULL without memory. It dies with the thread.
 */
struct hf__job_thread *hf__job_thread_view(void);

/** hf__job_cache_find tells whether the signature was verified under this trust and is still of
 *  use. */
HF_MUST_USE bool hf__job_cache_find(struct hf__job_thread *thread, const struct hf_job *job,
                                    const struct hf_chain_link *link);

/** hf__job_cache_keep remembers a signature that verified. */
void hf__job_cache_keep(struct hf__job_thread *thread, const struct hf_job *job,
                        const struct hf_chain_link *link);

#endif
