/**
 * job_thread.c - memory of a thread that runs jobs, and the cache of verified certificate
 * signatures in it. Mapped at the first run, unmapped at the thread's end.
 */
#include "job_thread.h"
#include "private.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#define CACHE_LINKS_MAX 65536u
#define CACHE_WAYS 4u

static pthread_once_t thread_once = PTHREAD_ONCE_INIT;
static pthread_key_t thread_key;
static bool thread_key_made;
static _Thread_local struct hf__job_thread *thread_mine;
static _Thread_local bool thread_is_wiped_on_fork;
static uint32_t cache_wanted; /* atomic */

static void cache_close(struct hf__job_thread *thread)
{
    if (thread->cache)
        (void)munmap(thread->cache, thread->cache_max * sizeof *thread->cache);
    thread->cache = NULL;
    thread->cache_max = 0;
}

static void thread_close(void *memory)
{
    thread_mine = NULL;
    cache_close(memory);
    hf_wipe(memory, sizeof(struct hf__job_thread));
    (void)munmap(memory, sizeof(struct hf__job_thread));
}

static void thread_key_make(void)
{
    thread_key_made = pthread_key_create(&thread_key, thread_close) == 0;
}

/* An embedder may unload the library while its threads live on: they must not call into it. */
__attribute__((destructor)) static void thread_key_drop(void)
{
    if (thread_key_made) {
        thread_key_made = false;
        (void)pthread_key_delete(thread_key);
    }
}

static void *map_zero(size_t len)
{
    void *memory = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return memory == MAP_FAILED ? NULL : memory;
}

static struct hf__job_thread *thread_open(void)
{
    struct hf__job_thread *thread;

    (void)pthread_once(&thread_once, thread_key_make);
    if (!thread_key_made)
        return NULL;
    thread = map_zero(sizeof *thread);
    if (!thread)
        return NULL;
    if (pthread_setspecific(thread_key, thread) != 0) {
        (void)munmap(thread, sizeof *thread);
        return NULL;
    }
    (void)madvise(thread, sizeof *thread, MADV_DONTDUMP);
    thread_is_wiped_on_fork = madvise(thread, sizeof *thread, MADV_WIPEONFORK) == 0;
    thread_mine = thread;
    return thread;
}

/* A child starts with zeros, and so with the knob's default; what its parent's cache was mapped
 * with is lost to it, not shared. */
static void cache_resize(struct hf__job_thread *thread, uint32_t links_max)
{
    cache_close(thread);
    thread->cache = map_zero(links_max * sizeof *thread->cache);
    thread->cache_max = thread->cache ? links_max : 0;
}

struct hf__job_thread *hf__job_thread_view(void)
{
    struct hf__job_thread *thread = thread_mine ? thread_mine : thread_open();
    uint32_t wanted = __atomic_load_n(&cache_wanted, __ATOMIC_RELAXED);

    if (!thread)
        return NULL;
    thread->may_keep_pairs = thread_is_wiped_on_fork;
    if (wanted != thread->cache_max) {
        if (wanted == 0)
            cache_close(thread);
        else
            cache_resize(thread, wanted);
    }
    return thread;
}

void hf_job_cache(uint32_t links_max)
{
    uint32_t whole = CACHE_WAYS;

    // A power of two, so that a set is picked by bits of the key.
    if (links_max > CACHE_LINKS_MAX)
        links_max = CACHE_LINKS_MAX;
    while (whole * 2 <= links_max)
        whole *= 2;
    __atomic_store_n(&cache_wanted, links_max == 0 ? 0 : whole, __ATOMIC_RELAXED);
}

void hf_job_read_counters(struct hf_job_counters *out)
{
    struct hf__job_thread *thread = hf__job_thread_view();

    if (thread)
        *out = thread->counters;
    else
        memset(out, 0, sizeof *out);
}

/* ---- the cache ---------------------------------------------------------------------------- */

static struct hf__job_cached *cache_set(uint8_t key[HF_SHA256_LEN],
                                        const struct hf__job_thread *thread,
                                        const struct hf_chain_link *link)
{
    struct hf_sha256 hash;
    uint32_t index;

    hf_sha256_init(&hash);
    hf_sha256_update(&hash, link->public_key, sizeof link->public_key);
    hf_sha256_update(&hash, link->digest, sizeof link->digest);
    hf_sha256_update(&hash, link->signature, sizeof link->signature);
    hf_sha256_final(key, &hash);
    index = (uint32_t)key[0] | (uint32_t)key[1] << 8 | (uint32_t)key[2] << 16;
    return &thread->cache[(index * CACHE_WAYS) & (thread->cache_max - 1)];
}

static bool cache_is_useful(const struct hf__job_cached *entry, const struct hf_job *job)
{
    return entry->not_after_s >= job->wall_s && entry->epoch == hf_trust_epoch(job->trust);
}

bool hf__job_cache_find(struct hf__job_thread *thread, const struct hf_job *job,
                        const struct hf_chain_link *link)
{
    uint8_t key[HF_SHA256_LEN];
    const struct hf__job_cached *set;

    if (!thread->cache || link->is_leaf)
        return false;
    set = cache_set(key, thread, link);
    for (size_t i = 0; i < CACHE_WAYS; i++) {
        if (cache_is_useful(&set[i], job) && hf_bytes_equal_public(set[i].key, key, sizeof key)) {
            thread->counters.links_cached++;
            return true;
        }
    }
    return false;
}

void hf__job_cache_keep(struct hf__job_thread *thread, const struct hf_job *job,
                        const struct hf_chain_link *link)
{
    uint8_t key[HF_SHA256_LEN];
    struct hf__job_cached *set;
    struct hf__job_cached *entry;

    if (!thread->cache || link->is_leaf)
        return;
    set = cache_set(key, thread, link);
    entry = &set[key[HF_SHA256_LEN - 1] % CACHE_WAYS];
    for (size_t i = 0; i < CACHE_WAYS; i++) {
        if (hf_bytes_equal_public(set[i].key, key, sizeof key)) {
            entry = &set[i];
            break;
        }
        if (!cache_is_useful(&set[i], job))
            entry = &set[i];
    }
    memcpy(entry->key, key, sizeof key);
    entry->epoch = hf_trust_epoch(job->trust);
    entry->not_after_s = link->not_after_s;
}
