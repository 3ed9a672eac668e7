/**
 * ending.c - see ending.h. Walks wait in a list under a lock; the one under way belongs to the
 * shard's thread.
 */
#include "ending.h"

#include "contexts.h"
#include "log.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Of a turn: a record costs a cache miss, its context a search among many, an end a record to seal
 * and a line to log. Together they stay well below a millisecond. */
#define SLICE_RECORDS 512u
#define SLICE_ENDS 128u

struct walk {
    struct walk *next;
    bool is_kept; /* `contexts` stay, all others of the authority go */
    uint32_t authority_index;
    uint64_t newest;
    uint32_t cursor;
    uint64_t ended;
    size_t count;
    uint64_t contexts[];
};

struct hf_ending {
    const struct hf_daemon_config *config;
    uint32_t shard_index;
    pthread_mutex_t lock;
    struct walk *first, *last; /* waiting */
    bool is_posted;            /* a task is in the loop's queue, or running */
    bool is_busy;
    struct walk *current; /* the shard's thread's own */
};

struct hf_ending *hf_ending_open(const struct hf_daemon_config *config, uint32_t shard_index)
{
    struct hf_ending *ending = calloc(1, sizeof(*ending));
    if (ending == NULL)
        return NULL;
    ending->config = config;
    ending->shard_index = shard_index;
    pthread_mutex_init(&ending->lock, NULL);
    return ending;
}

void hf_ending_close(struct hf_ending *ending)
{
    if (ending == NULL)
        return;
    while (ending->first != NULL) {
        struct walk *walk = ending->first;
        ending->first = walk->next;
        free(walk);
    }
    free(ending->current);
    pthread_mutex_destroy(&ending->lock);
    free(ending);
}

/* ---- walking ------------------------------------------------------------------------------ */

/* Whether an association's key is of the authority that was asked: whatever else has a context at
 * the same listener is none of a store's business. */
static bool is_of_authority(const struct hf_ending *ending, const struct walk *walk,
                            const struct hf_engine *engine, hf_association_id association)
{
    struct hf_association_info info;
    if (hf_engine_association_info(&info, engine, association) != HF_OK ||
        info.framework != HF_FRAMEWORK_PROVISIONED_SYMMETRIC_KEY)
        return false;
    struct hf_bytes name = {(const uint8_t *)info.server_name, info.server_name_len};
    return hf_daemon_config_authority(ending->config, info.listener_index, info.is_client, name) ==
           walk->authority_index;
}

static bool is_to_end(const struct hf_ending *ending, const struct walk *walk,
                      const struct hf_engine *engine, const struct hf_association_entry *entry)
{
    if (walk->is_kept && (entry->context == 0 || entry->context > walk->newest))
        return false;
    bool is_named = hf_contexts_hold(walk->contexts, walk->count, entry->context);
    return walk->is_kept ? !is_named && is_of_authority(ending, walk, engine, entry->association)
                         : is_named;
}

static void log_walk(const struct hf_ending *ending, const struct walk *walk)
{
    struct hf_log_line line;
    if (walk->ended == 0)
        return;
    hf_log_begin(&line, HF_LOG_NOTICE, HF_LOG_SLOT_UNLIMITED, "associations_ended", "key_gone");
    hf_log_number(&line, "shard", ending->shard_index);
    hf_log_number(&line, "associations", walk->ended);
    hf_log_end(&line);
}

/* True: it is through. */
static bool walk_slice(const struct hf_ending *ending, struct walk *walk, struct hf_loop *loop)
{
    struct hf_association_entry entry;
    struct hf_engine *engine = hf_loop_engine(loop);
    uint32_t slots = hf_engine_association_slots(engine);
    uint32_t end = slots - walk->cursor > SLICE_RECORDS ? walk->cursor + SLICE_RECORDS : slots;
    for (uint32_t ends = 0; ends < SLICE_ENDS && hf_engine_has_event_room(engine);) {
        if (!hf_engine_next_association(&entry, &walk->cursor, engine, end)) {
            walk->cursor = end; /* what is left of the slice are free records */
            break;
        }
        if (!is_to_end(ending, walk, engine, &entry))
            continue;
        hf_loop_end(loop, entry.association, HF_CLOSE_NOTIFY);
        walk->ended++;
        ends++;
    }
    return walk->cursor >= slots;
}

/* The next walk, if there is one. */
static struct walk *take_next(struct hf_ending *ending)
{
    pthread_mutex_lock(&ending->lock);
    struct walk *walk = ending->first;
    if (walk != NULL)
        ending->first = walk->next;
    if (ending->first == NULL)
        ending->last = NULL;
    ending->is_busy = walk != NULL;
    ending->is_posted = walk != NULL;
    pthread_mutex_unlock(&ending->lock);
    return walk;
}

static void run(struct hf_loop *loop, void *arg)
{
    struct hf_ending *ending = arg;
    if (ending->current == NULL)
        ending->current = take_next(ending);
    if (ending->current == NULL)
        return;
    if (walk_slice(ending, ending->current, loop)) {
        log_walk(ending, ending->current);
        free(ending->current);
        ending->current = take_next(ending);
        if (ending->current == NULL)
            return;
    }
    if (hf_loop_post(loop, run, ending))
        return;
    pthread_mutex_lock(&ending->lock);
    ending->is_posted = false; /* hf_ending_second() goes on */
    pthread_mutex_unlock(&ending->lock);
}

/* ---- asking for it ------------------------------------------------------------------------ */

/* Under the lock, unless it is already. The queue full: hf_ending_second() finds it. */
static void post(struct hf_ending *ending, struct hf_loop *loop)
{
    if (!ending->is_posted)
        ending->is_posted = hf_loop_post(loop, run, ending);
}

static size_t merge(uint64_t *out, const uint64_t *a, size_t a_count, const uint64_t *b,
                    size_t b_count)
{
    size_t count = 0;
    while (a_count > 0 && b_count > 0) {
        bool is_a = *a <= *b;
        out[count++] = is_a ? *a++ : *b++;
        a_count -= is_a;
        b_count -= !is_a;
    }
    if (a_count > 0)
        memcpy(out + count, a, a_count * sizeof(*a));
    if (b_count > 0)
        memcpy(out + count, b, b_count * sizeof(*b));
    return count + a_count + b_count;
}

/* A walk for these and, if they may go together, for what waits last. NULL: no memory. */
static struct walk *make_walk(const struct walk *with, const uint64_t *contexts, size_t count)
{
    size_t before = with == NULL ? 0 : with->count;
    struct walk *walk = calloc(1, sizeof(*walk) + (before + count) * sizeof(*contexts));
    if (walk != NULL)
        walk->count =
            merge(walk->contexts, before == 0 ? NULL : with->contexts, before, contexts, count);
    return walk;
}

static void append(struct hf_ending *ending, struct walk *walk)
{
    if (ending->last != NULL)
        ending->last->next = walk;
    else
        ending->first = walk;
    ending->last = walk;
}

/* The walk that waits last is replaced by one for both. */
static void replace_last(struct hf_ending *ending, struct walk *walk)
{
    struct walk **link = &ending->first;
    while (*link != ending->last)
        link = &(*link)->next;
    free(*link);
    *link = walk;
    ending->last = walk;
}

bool hf_ending_gone(struct hf_ending *ending, struct hf_loop *loop, const uint64_t *contexts,
                    size_t count)
{
    if (count == 0)
        return true;
    pthread_mutex_lock(&ending->lock);
    bool is_joined = ending->last != NULL && !ending->last->is_kept;
    struct walk *walk = make_walk(is_joined ? ending->last : NULL, contexts, count);
    if (walk != NULL && is_joined)
        replace_last(ending, walk);
    else if (walk != NULL)
        append(ending, walk);
    post(ending, loop);
    pthread_mutex_unlock(&ending->lock);
    return walk != NULL;
}

bool hf_ending_unkept(struct hf_ending *ending, struct hf_loop *loop, uint32_t authority_index,
                      uint64_t newest, const uint64_t *contexts, size_t count)
{
    struct walk *walk = make_walk(NULL, contexts, count);
    if (walk == NULL)
        return false;
    walk->is_kept = true;
    walk->authority_index = authority_index;
    walk->newest = newest;
    pthread_mutex_lock(&ending->lock);
    append(ending, walk);
    post(ending, loop);
    pthread_mutex_unlock(&ending->lock);
    return true;
}

void hf_ending_second(struct hf_ending *ending, struct hf_loop *loop)
{
    pthread_mutex_lock(&ending->lock);
    if (ending->first != NULL || ending->current != NULL)
        post(ending, loop);
    pthread_mutex_unlock(&ending->lock);
}

bool hf_ending_is_idle(struct hf_ending *ending)
{
    pthread_mutex_lock(&ending->lock);
    bool is_idle = ending->first == NULL && !ending->is_busy;
    pthread_mutex_unlock(&ending->lock);
    return is_idle;
}
