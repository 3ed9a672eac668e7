/**
 * worker.c - group commit. Invariant: a job with a change is handed back as done only after the
 * transaction that holds it has been committed; if that fails, as failed.
 */
#include "worker.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BATCH_MAX 1000   /* jobs of one transaction */
#define EXPIRED_MAX 1000 /* registrations that a second ends */

struct queue {
    struct hf_errand *first;
    struct hf_errand **last;
    uint32_t count;
};

struct hf_worker {
    struct hf_worker_config config;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t arrival;
    struct queue waiting, done;
    bool is_ending;
    time_t expired_at_s;
    struct hf_worker_counters counters;
};

/* ---- jobs and queues ---------------------------------------------------------------------- */

struct hf_errand *hf_errand_open(void)
{
    return calloc(1, sizeof(struct hf_errand));
}

void hf_errand_close(struct hf_errand *job)
{
    if (job == NULL)
        return;
    explicit_bzero(job, sizeof(*job));
    free(job);
}

static void queue_init(struct queue *queue)
{
    *queue = (struct queue){.last = &queue->first};
}

static void queue_put(struct queue *queue, struct hf_errand *job)
{
    job->next = NULL;
    *queue->last = job;
    queue->last = &job->next;
    queue->count++;
}

static struct hf_errand *queue_take(struct queue *queue)
{
    struct hf_errand *job = queue->first;
    if (job == NULL)
        return NULL;
    queue->first = job->next;
    queue->count--;
    if (queue->first == NULL)
        queue->last = &queue->first;
    return job;
}

/* ---- one transaction ---------------------------------------------------------------------- */

static void fail_all(struct queue *batch)
{
    for (struct hf_errand *job = batch->first; job != NULL; job = job->next) {
        struct hf_operation *operation = &job->operation;
        if (job->is_settled)
            continue;
        operation->rsc = HF_MAF_RSC_INTERNAL_SERVER_ERROR;
        operation->has_answer = false;
        operation->answer_text = NULL;
        explicit_bzero(&operation->answer, sizeof(operation->answer));
    }
}

/* False: the store failed, and nothing of it is there. */
static bool do_batch(struct hf_worker *worker, struct queue *batch, uint64_t *changes)
{
    struct hf_store *store = worker->config.store;
    int64_t wall_s = time(NULL);
    *changes = 0;
    if (!hf_store_begin(store))
        return false;
    for (struct hf_errand *job = batch->first; job != NULL; job = job->next) {
        if (job->is_settled)
            continue;
        hf_operate(&job->operation, store, &worker->config.policy, wall_s);
        if (job->operation.has_failed) {
            hf_store_abort(store);
            return false;
        }
        *changes += job->operation.is_changed;
    }
    if (*changes > 0)
        return hf_store_commit(store);
    hf_store_abort(store); /* nothing to write: nothing to wait for */
    return true;
}

/* Once a second, so that what nobody asks for any more does not stay. */
static void expire(struct hf_worker *worker)
{
    size_t count = 0;
    struct hf_store *store = worker->config.store;
    time_t now_s = time(NULL);
    if (now_s == worker->expired_at_s)
        return;
    worker->expired_at_s = now_s;
    bool is_done = hf_store_begin(store) && hf_store_expire(&count, store, now_s, EXPIRED_MAX);
    if (is_done && count > 0)
        is_done = hf_store_commit(store);
    hf_store_abort(store);
    if (!is_done)
        worker->config.log("store_failed", hf_store_error(store), worker->config.arg);
    pthread_mutex_lock(&worker->lock);
    worker->counters.expired += is_done ? count : 0;
    pthread_mutex_unlock(&worker->lock);
}

static void finish_batch(struct hf_worker *worker, struct queue *batch)
{
    uint64_t changes = 0;
    bool is_done = do_batch(worker, batch, &changes);
    if (!is_done) {
        worker->config.log("store_failed", hf_store_error(worker->config.store),
                           worker->config.arg);
        fail_all(batch);
    }
    pthread_mutex_lock(&worker->lock);
    bool was_empty = worker->done.count == 0;
    worker->counters.jobs += batch->count;
    worker->counters.transactions += is_done && changes > 0;
    worker->counters.changes += is_done ? changes : 0;
    worker->counters.failures += !is_done;
    for (struct hf_errand *job = queue_take(batch); job != NULL; job = queue_take(batch))
        queue_put(&worker->done, job);
    pthread_mutex_unlock(&worker->lock);
    if (was_empty)
        worker->config.wake(worker->config.arg);
}

/* Waits for work, a second at most. False: there is none and none will come. */
static bool take_batch(struct hf_worker *worker, struct queue *batch)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec++;
    queue_init(batch);
    pthread_mutex_lock(&worker->lock);
    while (worker->waiting.count == 0 && !worker->is_ending)
        if (pthread_cond_timedwait(&worker->arrival, &worker->lock, &until) != 0)
            break;
    bool is_over = worker->is_ending && worker->waiting.count == 0;
    while (batch->count < BATCH_MAX && worker->waiting.count > 0)
        queue_put(batch, queue_take(&worker->waiting));
    pthread_mutex_unlock(&worker->lock);
    return !is_over;
}

static void *live(void *arg)
{
    struct hf_worker *worker = arg;
    struct queue batch;
    while (take_batch(worker, &batch)) {
        if (batch.count > 0)
            finish_batch(worker, &batch);
        expire(worker);
    }
    return NULL;
}

/* ---- the other side ----------------------------------------------------------------------- */

struct hf_worker *hf_worker_open(const struct hf_worker_config *config)
{
    pthread_condattr_t attributes;
    struct hf_worker *worker = calloc(1, sizeof(*worker));
    if (worker == NULL)
        return NULL;
    worker->config = *config;
    queue_init(&worker->waiting);
    queue_init(&worker->done);
    pthread_mutex_init(&worker->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&worker->arrival, &attributes);
    pthread_condattr_destroy(&attributes);
    if (pthread_create(&worker->thread, NULL, live, worker) == 0)
        return worker;
    pthread_cond_destroy(&worker->arrival);
    pthread_mutex_destroy(&worker->lock);
    free(worker);
    return NULL;
}

void hf_worker_close(struct hf_worker *worker)
{
    if (worker == NULL)
        return;
    pthread_mutex_lock(&worker->lock);
    worker->is_ending = true;
    pthread_cond_signal(&worker->arrival);
    pthread_mutex_unlock(&worker->lock);
    pthread_join(worker->thread, NULL);
    for (struct hf_errand *job = hf_worker_take(worker); job != NULL; job = hf_worker_take(worker))
        hf_errand_close(job);
    pthread_cond_destroy(&worker->arrival);
    pthread_mutex_destroy(&worker->lock);
    free(worker);
}

bool hf_worker_queue(struct hf_worker *worker, struct hf_errand *job)
{
    pthread_mutex_lock(&worker->lock);
    bool has_room = worker->waiting.count < worker->config.jobs_max;
    if (has_room) {
        queue_put(&worker->waiting, job);
        pthread_cond_signal(&worker->arrival);
    }
    pthread_mutex_unlock(&worker->lock);
    return has_room;
}

struct hf_errand *hf_worker_take(struct hf_worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    struct hf_errand *job = queue_take(&worker->done);
    pthread_mutex_unlock(&worker->lock);
    return job;
}

void hf_worker_counters_get(struct hf_worker_counters *out, struct hf_worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    *out = worker->counters;
    pthread_mutex_unlock(&worker->lock);
}
