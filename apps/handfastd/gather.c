/**
 * gather.c - see gather.h. A job belongs to both sides until each has let go of it, so that a
 * caller who has waited long enough may leave.
 */
#include "gather.h"

#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SLICE_SLOTS 4096u
#define PATIENCE_S 10

struct job {
    _Atomic int owners;
    sem_t done;
    struct hf_gather_query query;
    struct hf_address peer;
    uint8_t text[HF_CREDENTIAL_ID_MAX]; /* what the query's views point to */
    uint32_t cursor;
    bool is_behind_last;
    hf_association_id association; /* hf_gather_one */
    bool is_closed;
    enum hf_status status;
    size_t count, max;
    struct hf_gather_result results[];
};

static struct job *job_open(size_t max)
{
    struct job *job = calloc(1, sizeof(*job) + max * sizeof(job->results[0]));
    if (job == NULL)
        return NULL;
    job->owners = 2;
    job->max = max;
    job->status = HF_E_STATE;
    sem_init(&job->done, 0, 0);
    return job;
}

static void job_release(struct job *job)
{
    if (atomic_fetch_sub(&job->owners, 1) != 1)
        return;
    sem_destroy(&job->done);
    free(job);
}

static void job_finish(struct job *job)
{
    sem_post(&job->done);
    job_release(job);
}

/* True when the shard is done with it; false: it may still write, so look at nothing. */
static bool job_run(struct job *job, struct hf_shard *shard, hf_loop_task *task)
{
    struct timespec until;
    if (!hf_loop_post(hf_shard_loop(shard), task, job)) {
        job_release(job); /* the shard's part: it never gets it */
        return false;
    }
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    int status = 0;
    do
        status = sem_timedwait(&job->done, &until);
    while (status != 0 && errno == EINTR);
    return status == 0;
}

/* ---- on the shard's thread ---------------------------------------------------------------- */

static bool holds(const char *data, size_t len, struct hf_bytes text)
{
    return memmem(data, len, text.data, text.len) != NULL;
}

static bool is_identity(const struct hf_association_info *info, struct hf_bytes identity)
{
    const char *dash = memchr(info->credential_id, '-', info->credential_id_len);
    size_t prefix = dash == NULL ? 0 : (size_t)(dash - info->credential_id) + 1;
    return info->credential_id_len == prefix + identity.len &&
           memcmp(info->credential_id + prefix, identity.data, identity.len) == 0;
}

static bool is_match(const struct hf_association_info *info, const struct hf_gather_query *query)
{
    const struct hf_address *peer = &info->path.peer;
    if (query->peer != NULL)
        return memcmp(peer->ip, query->peer->ip, sizeof(peer->ip)) == 0 &&
               (query->peer->port == 0 || query->peer->port == peer->port);
    if (query->identity.len > 0)
        return is_identity(info, query->identity);
    return query->text.len == 0 ||
           holds(info->credential_id, info->credential_id_len, query->text) ||
           holds(info->entity_id, info->entity_id_len, query->text);
}

static void list_on(struct hf_loop *loop, void *arg)
{
    struct job *job = arg;
    struct hf_association_entry entry;
    const struct hf_engine *engine = hf_loop_engine(loop);
    uint32_t slots = hf_engine_association_slots(engine);
    uint32_t end = slots - job->cursor > SLICE_SLOTS ? job->cursor + SLICE_SLOTS : slots;
    if (job->cursor > slots)
        end = job->cursor = slots;
    while (job->count < job->max && hf_engine_next_association(&entry, &job->cursor, engine, end)) {
        struct hf_gather_result *result = &job->results[job->count];
        result->association = entry.association;
        if (hf_engine_association_info(&result->info, engine, entry.association) == HF_OK &&
            is_match(&result->info, &job->query))
            job->count++;
    }
    if (job->count < job->max)
        job->cursor = end;
    job->is_behind_last = job->cursor >= slots;
    if (!job->is_behind_last && job->count < job->max && hf_loop_post(loop, list_on, job))
        return;
    job_finish(job);
}

static void look_at_one(struct hf_loop *loop, void *arg)
{
    struct job *job = arg;
    job->status =
        hf_engine_association_info(&job->results[0].info, hf_loop_engine(loop), job->association);
    if (job->status == HF_OK && job->is_closed)
        hf_loop_end(loop, job->association, HF_CLOSE_NOTIFY);
    job_finish(job);
}

/* ---- on the caller's ---------------------------------------------------------------------- */

static struct hf_bytes keep_text(struct job *job, struct hf_bytes text)
{
    if (text.len > sizeof(job->text))
        text.len = sizeof(job->text);
    if (text.len > 0)
        memcpy(job->text, text.data, text.len);
    return (struct hf_bytes){job->text, text.len};
}

static void keep_query(struct job *job, const struct hf_gather_query *query)
{
    if (query->peer != NULL) {
        job->peer = *query->peer;
        job->query.peer = &job->peer;
    }
    if (query->text.len > 0)
        job->query.text = keep_text(job, query->text);
    if (query->identity.len > 0)
        job->query.identity = keep_text(job, query->identity);
}

static bool list_shard(struct hf_gather_result *out, size_t *count, uint32_t *cursor,
                       bool *is_behind_last, struct hf_shard *shard,
                       const struct hf_gather_query *query, size_t out_max)
{
    struct job *job = job_open(out_max - *count);
    if (job == NULL)
        return false;
    keep_query(job, query);
    job->cursor = *cursor;
    bool is_done = job_run(job, shard, list_on);
    if (is_done) {
        memcpy(&out[*count], job->results, job->count * sizeof(*out));
        *count += job->count;
        *cursor = job->cursor;
        *is_behind_last = job->is_behind_last;
    }
    job_release(job);
    return is_done;
}

bool hf_gather_list(struct hf_gather_result *out, size_t *out_count, uint64_t *cursor,
                    struct hf_daemon *daemon, const struct hf_gather_query *query, size_t out_max)
{
    uint32_t shard = (uint32_t)(*cursor >> 32);
    uint32_t slot = (uint32_t)*cursor;
    *out_count = 0;
    while (shard < daemon->shard_count) {
        bool is_behind_last = false;
        if (!list_shard(out, out_count, &slot, &is_behind_last, daemon->shards[shard], query,
                        out_max))
            return false;
        if (is_behind_last) {
            shard++;
            slot = 0;
        }
        *cursor = (uint64_t)shard << 32 | slot;
        if (*out_count == out_max && shard < daemon->shard_count)
            return true;
    }
    *cursor = UINT64_MAX;
    return true;
}

enum hf_status hf_gather_one(struct hf_association_info *out, struct hf_daemon *daemon,
                             hf_association_id association, bool is_closed)
{
    uint32_t shard = (uint32_t)(association >> 56);
    if (shard >= daemon->shard_count)
        return HF_E_STALE;
    struct job *job = job_open(1);
    if (job == NULL)
        return HF_E_STATE;
    job->association = association;
    job->is_closed = is_closed;
    enum hf_status status = HF_E_STATE;
    if (job_run(job, daemon->shards[shard], look_at_one)) {
        status = job->status;
        *out = job->results[0].info;
    }
    job_release(job); /* NOLINT(clang-analyzer-unix.Malloc): ours is the last of two references */
    return status;
}
