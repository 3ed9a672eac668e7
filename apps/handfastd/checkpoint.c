/**
 * checkpoint.c - see checkpoint.h.
 */
#include "checkpoint.h"

#include "clock.h"
#include "handover_hello.h"
#include "log.h"
#include "takeover.h"

#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CHUNK_LEN (128u << 10)
#define SLICE_SLOTS 128u /* of a turn: below 50 us */
#define FIRST_MS 100     /* after we began to serve */

struct hf_checkpoint {
    struct hf_daemon *daemon;
    char path[HF_PATH_TEXT_MAX];
    uint64_t interval_us;
    pthread_t thread;
    uint8_t *chunk;
    uint64_t serial;               /* of the last that was begun */
    uint64_t bases[HF_SHARDS_MAX]; /* records sent as a shard's copy began */
    bool is_limited;               /* engines are: there is one that may be used */
    pthread_mutex_t lock;          /* guards the rest */
    pthread_cond_t changed;
    struct hf_shared_secrets secrets;
    struct hf_checkpoint_counters counters;
    bool is_begun, is_busy, is_retired, is_ending;
};

/* ---- on a shard's thread ------------------------------------------------------------------ */

struct errand {
    struct hf_checkpoint *checkpoint;
    struct hf_transfer *transfer; /* NULL: it begins */
    uint64_t records_max;
    uint32_t shard;
    size_t len;
    uint64_t us_max; /* of a slice */
    enum hf_status status;
    sem_t done;
};

static void note_base(struct hf_loop *loop, void *arg)
{
    struct hf_counters counters;
    struct errand *errand = arg;
    hf_engine_counters(&counters, hf_loop_engine(loop));
    errand->checkpoint->bases[errand->shard] = counters.records_out;
    sem_post(&errand->done);
}

static void write_slice(struct hf_loop *loop, void *arg)
{
    struct errand *errand = arg;
    uint64_t begun_us = hf_clock_us();
    errand->status = hf_transfer_write(errand->checkpoint->chunk, &errand->len, CHUNK_LEN,
                                       errand->transfer, hf_loop_engine(loop), SLICE_SLOTS);
    uint64_t us = hf_clock_us() - begun_us;
    errand->us_max = us > errand->us_max ? us : errand->us_max;
    sem_post(&errand->done);
}

static void set_limit(struct hf_loop *loop, void *arg)
{
    struct errand *errand = arg;
    hf_engine_limit_records(hf_loop_engine(loop), errand->records_max);
    sem_post(&errand->done);
}

/* False: the shard has ended. */
static bool run_errand(struct errand *errand, hf_loop_task *task)
{
    struct hf_loop *loop = hf_shard_loop(errand->checkpoint->daemon->shards[errand->shard]);
    bool is_taken = hf_loop_post(loop, task, errand);
    while (is_taken && sem_wait(&errand->done) != 0)
        continue;
    return is_taken;
}

/* Of all shards: so many after each one's copy began; or as many as there are. */
static bool limit(struct hf_checkpoint *checkpoint, bool is_limited)
{
    struct errand errand = {.checkpoint = checkpoint};
    bool is_good = true;
    sem_init(&errand.done, 0, 0);
    for (uint32_t i = 0; i < checkpoint->daemon->shard_count; i++) {
        errand.shard = i;
        errand.records_max = is_limited ? checkpoint->bases[i] + HF_CHECKPOINT_RECORDS : UINT64_MAX;
        is_good &= run_errand(&errand, set_limit);
    }
    sem_destroy(&errand.done);
    checkpoint->is_limited = is_limited;
    return is_good;
}

/* ---- one checkpoint ----------------------------------------------------------------------- */

static bool is_wanted(struct hf_checkpoint *checkpoint)
{
    pthread_mutex_lock(&checkpoint->lock);
    bool is = !checkpoint->is_retired && !checkpoint->is_ending;
    pthread_mutex_unlock(&checkpoint->lock);
    return is;
}

static bool add_state(struct hf_checkpoint *checkpoint, struct hf_checkpoint_writer *writer)
{
    const struct hf_daemon *daemon = checkpoint->daemon;
    json_t *state = json_pack("{s:I,s:o,s:o}", "records", (json_int_t)HF_CHECKPOINT_RECORDS,
                              "serves", hf_takeover_describe(&daemon->started), "authorities",
                              hf_handover_hello_authorities(daemon));
    char *text = state == NULL ? NULL : json_dumps(state, JSON_COMPACT);
    if (text != NULL) {
        hf_checkpoint_file_add(writer, HF_CHECKPOINT_STATE, 0,
                               (struct hf_bytes){(const uint8_t *)text, strlen(text)});
        explicit_bzero(text, strlen(text));
    }
    free(text);
    json_decref(state);
    return text != NULL;
}

static bool add_shard(struct hf_checkpoint *checkpoint, struct hf_checkpoint_writer *writer,
                      uint32_t shard, struct hf_checkpoint_counters *out)
{
    struct errand errand = {.checkpoint = checkpoint, .shard = shard, .status = HF_WAITING};
    struct hf_loop *loop = hf_shard_loop(checkpoint->daemon->shards[shard]);
    if (hf_transfer_open(&errand.transfer, hf_loop_engine(loop)) != HF_OK)
        return false;
    hf_transfer_leave_streams(errand.transfer);
    sem_init(&errand.done, 0, 0);
    bool is_good = run_errand(&errand, note_base);
    while (is_good && errand.status == HF_WAITING) {
        errand.len = 0;
        is_good = is_wanted(checkpoint) && run_errand(&errand, write_slice) && !writer->is_failed;
        if (is_good && errand.len > 0)
            hf_checkpoint_file_add(writer, HF_CHECKPOINT_CHUNK, shard,
                                   (struct hf_bytes){checkpoint->chunk, errand.len});
        explicit_bzero(checkpoint->chunk, errand.len);
    }
    out->associations += hf_transfer_written(errand.transfer);
    out->slice_us_max = errand.us_max > out->slice_us_max ? errand.us_max : out->slice_us_max;
    sem_destroy(&errand.done);
    hf_transfer_close(errand.transfer);
    return is_good && errand.status == HF_OK;
}

/* The limit holds from before the first gets its name; it is moved on once the next has it. */
static bool put_in_place(struct hf_checkpoint *checkpoint, struct hf_checkpoint_writer *writer)
{
    if (!hf_checkpoint_file_finish(writer))
        return false;
    if (!checkpoint->is_limited && !limit(checkpoint, true)) {
        hf_checkpoint_file_abandon(writer);
        return false;
    }
    return hf_checkpoint_file_place(writer) && limit(checkpoint, true);
}

static bool write_one(struct hf_checkpoint *checkpoint, struct hf_checkpoint_counters *out)
{
    struct hf_checkpoint_writer writer;
    struct hf_shared_secrets secrets;
    uint64_t begun_us = hf_clock_us();
    pthread_mutex_lock(&checkpoint->lock);
    secrets = checkpoint->secrets;
    pthread_mutex_unlock(&checkpoint->lock);
    bool is_good = hf_checkpoint_file_begin(&writer, checkpoint->path, ++checkpoint->serial,
                                            &secrets, (int64_t)time(NULL));
    explicit_bzero(&secrets, sizeof(secrets));
    if (!is_good)
        return false;
    is_good = add_state(checkpoint, &writer);
    for (uint32_t i = 0; is_good && i < checkpoint->daemon->shard_count; i++)
        is_good = add_shard(checkpoint, &writer, i, out);
    out->len = writer.len;
    if (is_good)
        is_good = put_in_place(checkpoint, &writer);
    else
        hf_checkpoint_file_abandon(&writer);
    out->us = hf_clock_us() - begun_us;
    return is_good;
}

/* None may be used from now on: nobody has to count any more. */
static bool invalidate(struct hf_checkpoint *checkpoint)
{
    bool is_marked = hf_checkpoint_file_mark(checkpoint->path, ++checkpoint->serial);
    bool is_removed = hf_checkpoint_file_remove(checkpoint->path);
    if (!is_marked && !is_removed && checkpoint->is_limited)
        return false;
    (void)!limit(checkpoint, false); /* a shard that has ended sends nothing */
    return true;
}

static void take_turn(struct hf_checkpoint *checkpoint)
{
    struct hf_checkpoint_counters now = {0};
    errno = 0;
    bool is_good = write_one(checkpoint, &now);
    int code = errno;
    bool is_failed =
        !is_good && is_wanted(checkpoint) && checkpoint->daemon->state != HF_DAEMON_STOPPING;
    if (is_failed) {
        bool is_gone = invalidate(checkpoint);
        hf_log_message(HF_LOG_ERROR, "checkpoint_failed", "%.300s: %s%s", checkpoint->path,
                       code != 0 ? strerror(code) : "not written",
                       is_gone ? "; there is none until the next" : "; the one before stays");
    }
    pthread_mutex_lock(&checkpoint->lock);
    now.written = checkpoint->counters.written + is_good;
    now.failed = checkpoint->counters.failed + is_failed;
    if (is_good)
        checkpoint->counters = now;
    else
        checkpoint->counters.failed = now.failed;
    pthread_mutex_unlock(&checkpoint->lock);
}

/* ---- the thread --------------------------------------------------------------------------- */

/* Under the lock. */
static void wait_us(struct hf_checkpoint *checkpoint, uint64_t us)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t ns = (uint64_t)until.tv_nsec + us % 1000000 * 1000;
    until.tv_sec += (time_t)(us / 1000000 + ns / 1000000000);
    until.tv_nsec = (long)(ns % 1000000000);
    while (!checkpoint->is_ending &&
           pthread_cond_timedwait(&checkpoint->changed, &checkpoint->lock, &until) != ETIMEDOUT)
        continue;
}

static void *live(void *arg)
{
    struct hf_checkpoint *checkpoint = arg;
    (void)pthread_setname_np(pthread_self(), "hf-checkpoint");
    pthread_mutex_lock(&checkpoint->lock);
    while (!checkpoint->is_begun && !checkpoint->is_ending)
        (void)pthread_cond_wait(&checkpoint->changed, &checkpoint->lock);
    wait_us(checkpoint, (uint64_t)FIRST_MS * 1000);
    while (!checkpoint->is_ending) {
        checkpoint->is_busy = !checkpoint->is_retired;
        if (checkpoint->is_busy) {
            pthread_mutex_unlock(&checkpoint->lock);
            take_turn(checkpoint);
            pthread_mutex_lock(&checkpoint->lock);
            checkpoint->is_busy = false;
            pthread_cond_broadcast(&checkpoint->changed);
        }
        wait_us(checkpoint, checkpoint->interval_us);
    }
    pthread_mutex_unlock(&checkpoint->lock);
    return NULL;
}

bool hf_checkpoint_open(struct hf_checkpoint **out, struct hf_daemon *daemon)
{
    pthread_condattr_t attributes;
    *out = NULL;
    if (daemon->started.checkpoint[0] == '\0')
        return true;
    struct hf_checkpoint *checkpoint = calloc(1, sizeof(*checkpoint));
    uint8_t *chunk = malloc(CHUNK_LEN);
    if (checkpoint != NULL && chunk != NULL) {
        checkpoint->daemon = daemon;
        checkpoint->chunk = chunk;
        snprintf(checkpoint->path, sizeof(checkpoint->path), "%s", daemon->started.checkpoint);
        checkpoint->interval_us = daemon->started.checkpoint_us;
        checkpoint->is_retired = true;
        pthread_mutex_init(&checkpoint->lock, NULL);
        pthread_condattr_init(&attributes);
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        pthread_cond_init(&checkpoint->changed, &attributes);
        pthread_condattr_destroy(&attributes);
        if (pthread_create(&checkpoint->thread, NULL, live, checkpoint) == 0) {
            *out = checkpoint;
            return true;
        }
    }
    free(checkpoint);
    free(chunk);
    hf_log_message(HF_LOG_ERROR, "start_failed", "checkpoint: no memory or thread");
    return false;
}

void hf_checkpoint_begin(struct hf_checkpoint *checkpoint)
{
    if (checkpoint == NULL)
        return;
    pthread_mutex_lock(&checkpoint->lock);
    checkpoint->serial = hf_checkpoint_file_marked(checkpoint->path);
    checkpoint->secrets = checkpoint->daemon->shared.sessions.secrets;
    checkpoint->is_retired = false;
    checkpoint->is_begun = true;
    pthread_cond_broadcast(&checkpoint->changed);
    pthread_mutex_unlock(&checkpoint->lock);
}

void hf_checkpoint_secrets(struct hf_checkpoint *checkpoint,
                           const struct hf_shared_secrets *secrets)
{
    if (checkpoint == NULL)
        return;
    pthread_mutex_lock(&checkpoint->lock);
    checkpoint->secrets = *secrets;
    pthread_mutex_unlock(&checkpoint->lock);
}

bool hf_checkpoint_retire(struct hf_checkpoint *checkpoint)
{
    if (checkpoint == NULL)
        return true;
    pthread_mutex_lock(&checkpoint->lock);
    checkpoint->is_retired = true;
    while (checkpoint->is_busy)
        (void)pthread_cond_wait(&checkpoint->changed, &checkpoint->lock);
    pthread_mutex_unlock(&checkpoint->lock);
    return invalidate(checkpoint);
}

void hf_checkpoint_resume(struct hf_checkpoint *checkpoint)
{
    if (checkpoint == NULL)
        return;
    pthread_mutex_lock(&checkpoint->lock);
    checkpoint->is_retired = false;
    pthread_mutex_unlock(&checkpoint->lock);
}

void hf_checkpoint_close(struct hf_checkpoint *checkpoint)
{
    if (checkpoint == NULL)
        return;
    pthread_mutex_lock(&checkpoint->lock);
    bool was_retired = checkpoint->is_retired; /* not begun, or a successor writes there now */
    checkpoint->is_ending = true;
    pthread_cond_broadcast(&checkpoint->changed);
    pthread_mutex_unlock(&checkpoint->lock);
    pthread_join(checkpoint->thread, NULL);
    if (!was_retired && !invalidate(checkpoint))
        hf_log_message(HF_LOG_ERROR, "checkpoint_failed", "%.300s: it stays, and must not",
                       checkpoint->path);
    pthread_cond_destroy(&checkpoint->changed);
    pthread_mutex_destroy(&checkpoint->lock);
    free(checkpoint->chunk);
    explicit_bzero(checkpoint, sizeof(*checkpoint));
    free(checkpoint);
}

void hf_checkpoint_counters_get(struct hf_checkpoint_counters *out,
                                struct hf_checkpoint *checkpoint)
{
    *out = (struct hf_checkpoint_counters){0};
    if (checkpoint == NULL)
        return;
    pthread_mutex_lock(&checkpoint->lock);
    *out = checkpoint->counters;
    pthread_mutex_unlock(&checkpoint->lock);
}
