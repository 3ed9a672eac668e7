/**
 * worker.h - the thread that owns the store: takes what the loop has queued, does all of it in one
 * transaction, makes that durable, and only then hands the answers back, in order.
 *
 * So one fdatasync serves as many requests as came while the one before was under way, and the loop
 * never waits for a disk.
 */
#ifndef HF_WORKER_H
#define HF_WORKER_H

#include "operate.h"

#include <handfast/engine.h>

struct hf_worker;

/** A request on its way to the store and back. From hf_errand_open(); secret. */
struct hf_errand {
    struct hf_errand *next;
    hf_association_id association;
    bool is_settled; /**< answered already: only its turn is waited for */
    bool is_kept;    /**< the connection stays open */
    unsigned status; /**< HTTP's, when it is not that of `operation.rsc` */
    char request_id[HF_MAF_VALUE_MAX + 1];
    struct hf_operation operation;
};

/** hf_errand_open gives an empty job, NULL without memory; hf_errand_close wipes and frees it. */
struct hf_errand *hf_errand_open(void);
void hf_errand_close(struct hf_errand *job);

struct hf_worker_config {
    struct hf_store *store;
    struct hf_operate_policy policy;
    uint32_t jobs_max; /**< queued, not yet begun */
    /** wake tells that jobs are done. Called on the store thread, must not block. */
    void (*wake)(void *arg);
    /** log gives one line. Called on the store thread. */
    void (*log)(const char *event, const char *text, void *arg);
    void *arg;
};

/** hf_worker_open starts the thread. NULL: no memory or thread. */
struct hf_worker *hf_worker_open(const struct hf_worker_config *config);

/** hf_worker_close does what is queued, and ends the thread. */
void hf_worker_close(struct hf_worker *worker);

/** hf_worker_queue gives a job over; false: too many wait. */
HF_MUST_USE bool hf_worker_queue(struct hf_worker *worker, struct hf_errand *job);

/** hf_worker_take gives one that is done, in the order of queueing; NULL: none. */
struct hf_errand *hf_worker_take(struct hf_worker *worker);

struct hf_worker_counters {
    uint64_t jobs, transactions, changes, failures, expired;
};

/** hf_worker_counters_get copies them out. Thread: any. */
void hf_worker_counters_get(struct hf_worker_counters *out, struct hf_worker *worker);

#endif
