/**
 * session_cache.c - sessions by ID, shared by all shards without a lock (see <handfast/session.h>).
 *
 * A bucket is one cache line: a version and the tags of its ways; the entries lie elsewhere and are
 * touched only on a match. A session ID, which we make from randomness, names two buckets and a
 * tag. The version is odd while a writer is inside; a reader copies an entry between two looks at
 * the version and believes the copy only if it has not moved. All shared words are atomic, so the
 * copy is never undefined, merely wrong, and then not believed. Entry words are stored with
 * release, after the odd version, and loaded with acquire, before the second look: no fences.
 */
#include "session.h"

#include <stdatomic.h>
#include <sys/mman.h>

#define WAYS HF_SESSION_WAYS
#define COUNT_MAX ((size_t)1 << 24)
#define ID_WORDS (HF_SESSION_ID_LEN / 8)
#define DATA_WORDS (HF_SESSION_LEN_MAX / 8)

struct bucket {
    _Alignas(64) _Atomic uint64_t version;
    _Atomic uint64_t tags[WAYS]; /**< 0: empty */
};

_Static_assert(sizeof(struct bucket) == 64, "one cache line");

struct entry {
    _Atomic uint64_t head; /**< until_s << 32 | length */
    _Atomic uint64_t id[ID_WORDS];
    _Atomic uint64_t data[DATA_WORDS];
};

struct hf_session_cache {
    size_t bucket_count; /**< power of two */
    size_t memory_len;
    struct bucket *buckets;
    struct entry *entries;
    struct hf_hmac_key name_key; /**< of IDs */
    uint8_t secret[HF_SESSION_SECRET_LEN];
    _Atomic uint64_t stored, found, missed, busy, evicted, removed;
};

/** An ID taken apart, and where it may be. */
struct place {
    uint64_t id[ID_WORDS];
    uint64_t tag;
    size_t buckets[2];
};

static size_t buckets_for(size_t count)
{
    size_t buckets = 2;
    while (buckets * WAYS < count)
        buckets *= 2;
    return buckets;
}

static size_t memory_for(size_t buckets)
{
    return sizeof(struct hf_session_cache) + 64 + buckets * sizeof(struct bucket) +
           buckets * WAYS * sizeof(struct entry);
}

size_t hf_session_cache_memory(size_t count)
{
    return count == 0 || count > COUNT_MAX ? 0 : memory_for(buckets_for(count));
}

enum hf_status hf_session_cache_open(struct hf_session_cache **out, size_t count)
{
    if (count == 0 || count > COUNT_MAX)
        return HF_E_ARGUMENT;
    size_t buckets = buckets_for(count);
    size_t len = memory_for(buckets);
    uint8_t *memory =
        mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return HF_E_MEMORY;
    hf_crypto_mark_secret_memory(memory, len);
    struct hf_session_cache *cache = (struct hf_session_cache *)(void *)memory;
    size_t at = (sizeof *cache + 63) & ~(size_t)63;
    cache->bucket_count = buckets;
    cache->memory_len = len;
    cache->buckets = (struct bucket *)(void *)(memory + at);
    cache->entries = (struct entry *)(void *)(cache->buckets + buckets);
    uint8_t secret[HF_SESSION_SECRET_LEN];
    hf_random(secret, sizeof secret);
    hf_session_cache_set_secret(cache, secret);
    hf_wipe(secret, sizeof secret);
    *out = cache;
    return HF_OK;
}

void hf_session_cache_close(struct hf_session_cache *cache)
{
    if (!cache)
        return;
    for (size_t i = 0; i < cache->bucket_count * WAYS; i++) {
        /* Pages nobody wrote to stay untouched. */
        if (atomic_load_explicit(&cache->buckets[i / WAYS].tags[i % WAYS], memory_order_relaxed))
            hf_wipe(&cache->entries[i], sizeof cache->entries[i]);
    }
    hf_wipe(cache->secret, sizeof cache->secret);
    hf_wipe(&cache->name_key, sizeof cache->name_key);
    munmap(cache, cache->memory_len);
}

void hf_session_cache_set_secret(struct hf_session_cache *cache,
                                 const uint8_t secret[HF_SESSION_SECRET_LEN])
{
    memcpy(cache->secret, secret, sizeof cache->secret);
    hf_hmac_key_init(&cache->name_key, (struct hf_bytes){secret, HF_SESSION_SECRET_LEN});
}

void hf_session_cache_secret(uint8_t out[HF_SESSION_SECRET_LEN],
                             const struct hf_session_cache *cache)
{
    memcpy(out, cache->secret, sizeof cache->secret);
}

void hf_session_cache_name(uint8_t id[HF_SESSION_ID_LEN], const struct hf_session_cache *cache,
                           const uint8_t client_random[HF_RANDOM_LEN],
                           const uint8_t server_random[HF_RANDOM_LEN])
{
    const struct hf_bytes parts[] = {{client_random, HF_RANDOM_LEN},
                                     {server_random, HF_RANDOM_LEN}};
    hf_hmac(id, &cache->name_key, parts, 2);
}

void hf_session_cache_counters(struct hf_session_cache_counters *out,
                               const struct hf_session_cache *cache)
{
    *out = (struct hf_session_cache_counters){
        .stored = atomic_load_explicit(&cache->stored, memory_order_relaxed),
        .found = atomic_load_explicit(&cache->found, memory_order_relaxed),
        .missed = atomic_load_explicit(&cache->missed, memory_order_relaxed),
        .busy = atomic_load_explicit(&cache->busy, memory_order_relaxed),
        .evicted = atomic_load_explicit(&cache->evicted, memory_order_relaxed),
        .removed = atomic_load_explicit(&cache->removed, memory_order_relaxed),
    };
}

static void count(_Atomic uint64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static struct place place_of(const struct hf_session_cache *cache,
                             const uint8_t id[HF_SESSION_ID_LEN])
{
    struct place place;
    memcpy(place.id, id, sizeof place.id);
    place.tag = place.id[0] | 1; /* never empty */
    place.buckets[0] = place.id[1] & (cache->bucket_count - 1);
    place.buckets[1] = place.id[2] & (cache->bucket_count - 1);
    return place;
}

static struct entry *entry_at(const struct hf_session_cache *cache, size_t bucket, size_t way)
{
    return &cache->entries[bucket * WAYS + way];
}

static bool has_id(const struct entry *entry, const struct place *place)
{
    bool is_equal = true;
    for (size_t i = 0; i < ID_WORDS; i++)
        is_equal &= atomic_load_explicit(&entry->id[i], memory_order_acquire) == place->id[i];
    return is_equal;
}

/** The way that holds the ID, or WAYS. */
static size_t way_of(const struct hf_session_cache *cache, size_t bucket, const struct place *place)
{
    for (size_t way = 0; way < WAYS; way++) {
        uint64_t tag =
            atomic_load_explicit(&cache->buckets[bucket].tags[way], memory_order_relaxed);
        if (tag == place->tag && has_id(entry_at(cache, bucket, way), place))
            return way;
    }
    return WAYS;
}

/* ---- reading ------------------------------------------------------------------------------ */

/** Copies what the bucket holds for the ID. False: nothing, or a writer was at it. */
static bool copy_out(uint64_t out[DATA_WORDS], uint64_t *head, const struct hf_session_cache *cache,
                     size_t bucket, const struct place *place)
{
    const struct bucket *line = &cache->buckets[bucket];
    uint64_t version = atomic_load_explicit(&line->version, memory_order_acquire);
    size_t way = way_of(cache, bucket, place);
    if (version & 1 || way == WAYS)
        return false;
    const struct entry *entry = entry_at(cache, bucket, way);
    *head = atomic_load_explicit(&entry->head, memory_order_acquire);
    size_t words = ((uint32_t)*head + 7) / 8;
    for (size_t i = 0; i < words && i < DATA_WORDS; i++)
        out[i] = atomic_load_explicit(&entry->data[i], memory_order_acquire);
    return atomic_load_explicit(&line->version, memory_order_relaxed) == version;
}

bool hf_session_cache_get(uint8_t out[HF_SESSION_LEN_MAX], size_t *out_len,
                          struct hf_session_cache *cache, const uint8_t id[HF_SESSION_ID_LEN],
                          uint32_t now_s)
{
    struct place place = place_of(cache, id);
    uint64_t words[DATA_WORDS];
    uint64_t head = 0;
    bool is_found = copy_out(words, &head, cache, place.buckets[0], &place) ||
                    copy_out(words, &head, cache, place.buckets[1], &place);
    size_t len = (uint32_t)head;
    is_found = is_found && len <= HF_SESSION_LEN_MAX && now_s < head >> 32;
    if (is_found) {
        memcpy(out, words, len);
        *out_len = len;
    }
    hf_wipe(words, sizeof words);
    count(is_found ? &cache->found : &cache->missed);
    return is_found;
}

size_t hf_session_cache_buckets(const struct hf_session_cache *cache)
{
    return cache->bucket_count;
}

uint64_t hf_session_cache_version(const struct hf_session_cache *cache, size_t bucket)
{
    return atomic_load_explicit(&cache->buckets[bucket].version, memory_order_acquire);
}

static void look_at(struct hf_session_way *out, const struct entry *entry)
{
    uint64_t words[DATA_WORDS];
    uint64_t head = atomic_load_explicit(&entry->head, memory_order_acquire);
    out->until_s = (uint32_t)(head >> 32);
    out->len = (uint32_t)head <= HF_SESSION_LEN_MAX ? (uint32_t)head : 0;
    for (size_t i = 0; i < ID_WORDS; i++)
        words[i] = atomic_load_explicit(&entry->id[i], memory_order_acquire);
    memcpy(out->id, words, HF_SESSION_ID_LEN);
    for (size_t i = 0; i < (out->len + 7) / 8; i++)
        words[i] = atomic_load_explicit(&entry->data[i], memory_order_acquire);
    memcpy(out->packed, words, out->len);
    hf_wipe(words, sizeof words);
}

bool hf_session_cache_look(struct hf_session_bucket *out, const struct hf_session_cache *cache,
                           size_t bucket)
{
    const struct bucket *line = &cache->buckets[bucket];
    out->version = hf_session_cache_version(cache, bucket);
    for (size_t way = 0; way < WAYS; way++) {
        out->ways[way].len = 0;
        if (atomic_load_explicit(&line->tags[way], memory_order_acquire))
            look_at(&out->ways[way], entry_at(cache, bucket, way));
    }
    return !(out->version & 1) &&
           atomic_load_explicit(&line->version, memory_order_relaxed) == out->version;
}

/* ---- writing ------------------------------------------------------------------------------ */

static bool enter(struct bucket *line)
{
    uint64_t version = atomic_load_explicit(&line->version, memory_order_relaxed);
    return !(version & 1) &&
           atomic_compare_exchange_strong_explicit(&line->version, &version, version + 1,
                                                   memory_order_acquire, memory_order_relaxed);
}

static void leave(struct bucket *line)
{
    atomic_fetch_add_explicit(&line->version, 1, memory_order_release);
}

/** Its own place if it has one, else an empty one, else the one that ends soonest. */
static size_t way_for(struct hf_session_cache *cache, size_t bucket, const struct place *place,
                      uint32_t now_s)
{
    size_t way = way_of(cache, bucket, place);
    if (way < WAYS)
        return way;
    uint64_t soonest = UINT64_MAX;
    for (size_t i = 0; i < WAYS; i++) {
        if (!atomic_load_explicit(&cache->buckets[bucket].tags[i], memory_order_relaxed))
            return i;
        uint64_t until =
            atomic_load_explicit(&entry_at(cache, bucket, i)->head, memory_order_relaxed) >> 32;
        if (until < soonest) {
            soonest = until;
            way = i;
        }
    }
    if (soonest > now_s)
        count(&cache->evicted);
    return way;
}

static size_t used_ways(const struct hf_session_cache *cache, size_t bucket)
{
    size_t used = 0;
    for (size_t way = 0; way < WAYS; way++)
        used += atomic_load_explicit(&cache->buckets[bucket].tags[way], memory_order_relaxed) != 0;
    return used;
}

static void fill(struct bucket *line, struct entry *entry, size_t way, const struct place *place,
                 struct hf_bytes packed, uint32_t until_s)
{
    uint64_t words[DATA_WORDS] = {0};
    memcpy(words, packed.data, packed.len);
    atomic_store_explicit(&line->tags[way], place->tag, memory_order_release);
    uint64_t head = (uint64_t)until_s << 32 | packed.len;
    atomic_store_explicit(&entry->head, head, memory_order_release);
    for (size_t i = 0; i < ID_WORDS; i++)
        atomic_store_explicit(&entry->id[i], place->id[i], memory_order_release);
    for (size_t i = 0; i < (packed.len + 7) / 8; i++)
        atomic_store_explicit(&entry->data[i], words[i], memory_order_release);
    hf_wipe(words, sizeof words);
}

bool hf_session_cache_put(struct hf_session_cache *cache, const uint8_t id[HF_SESSION_ID_LEN],
                          struct hf_bytes packed, uint32_t until_s, uint32_t now_s)
{
    struct place place = place_of(cache, id);
    if (packed.len > HF_SESSION_LEN_MAX)
        return false;
    /* Where it is already, else the emptier of the two; the other when somebody is at it. */
    size_t first = way_of(cache, place.buckets[1], &place) < WAYS ||
                   (way_of(cache, place.buckets[0], &place) == WAYS &&
                    used_ways(cache, place.buckets[0]) > used_ways(cache, place.buckets[1]));
    for (size_t i = 0; i < 2; i++) {
        size_t bucket = place.buckets[first ^ i];
        struct bucket *line = &cache->buckets[bucket];
        if (!enter(line))
            continue;
        size_t way = way_for(cache, bucket, &place, now_s);
        fill(line, entry_at(cache, bucket, way), way, &place, packed, until_s);
        leave(line);
        count(&cache->stored);
        return true;
    }
    count(&cache->busy);
    return false;
}

void hf_session_cache_remove(struct hf_session_cache *cache, const uint8_t id[HF_SESSION_ID_LEN])
{
    struct place place = place_of(cache, id);
    for (size_t i = 0; i < 2; i++) {
        size_t bucket = place.buckets[i];
        struct bucket *line = &cache->buckets[bucket];
        if (!enter(line))
            continue;
        size_t way = way_of(cache, bucket, &place);
        if (way < WAYS) {
            struct entry *entry = entry_at(cache, bucket, way);
            atomic_store_explicit(&line->tags[way], 0, memory_order_release);
            for (size_t j = 0; j < DATA_WORDS; j++)
                atomic_store_explicit(&entry->data[j], 0, memory_order_release);
            count(&cache->removed);
        }
        leave(line);
    }
}
