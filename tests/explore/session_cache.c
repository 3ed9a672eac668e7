/**
 * session_cache.c - the bucket of the session cache, all shards at it at once: what is read is
 * whole, and what one writer put, or nothing; no bucket stays locked.
 */
#include SOURCE

#include <stdlib.h>

#define LEN 24 /* three words: as torn as any can be */
#define NOW_S 1000
#define UNTIL_S 2000

static struct hf_session_cache *cache;
static uint8_t ids[3][HF_SESSION_ID_LEN];

/* All in the same pair of buckets; the first two share the tag, too. */
static void begin(void)
{
    if (hf_session_cache_open(&cache, 1) != HF_OK)
        abort();
    memset(ids, 0, sizeof ids);
    for (size_t i = 0; i < 3; i++) {
        ids[i][0] = i == 2 ? 0x41 : 0x21; /* the tag */
        ids[i][8] = 0;                    /* the first bucket */
        ids[i][16] = 1;                   /* the second */
        ids[i][31] = (uint8_t)i;
    }
}

static void put(size_t id, uint8_t value)
{
    uint8_t data[LEN];
    memset(data, value, sizeof data);
    (void)hf_session_cache_put(cache, ids[id], (struct hf_bytes){data, sizeof data}, UNTIL_S,
                               NOW_S);
}

/* The values that may be read, as characters; nothing is always allowed. */
static void get(size_t id, const char *allowed)
{
    uint8_t data[HF_SESSION_LEN_MAX];
    size_t len = 0;
    if (!hf_session_cache_get(data, &len, cache, ids[id], NOW_S))
        return;
    explore_check(len == LEN);
    for (size_t i = 1; i < len; i++)
        explore_check(data[i] == data[0]);
    explore_check(strchr(allowed, data[0]) != NULL && data[0] != 0);
}

static void end(void)
{
    for (size_t i = 0; i < cache->bucket_count; i++)
        explore_check((cache->buckets[i].version & 1) == 0);
    for (size_t i = 0; i < 3; i++) /* what is left can be read, and only that */
        get(i, i == 0 ? "abA" : i == 1 ? "c" : "d");
    hf_session_cache_close(cache);
}

static void puts_a(void)
{
    put(0, 'a');
}
static void puts_b(void)
{
    put(0, 'b');
}
static void puts_c(void)
{
    put(1, 'c');
}
static void removes(void)
{
    hf_session_cache_remove(cache, ids[0]);
}
static void looks(void)
{
    get(0, "abA");
}

/* As who copies the cache does: what is believed is whole. */
static void copies(void)
{
    static struct hf_session_bucket bucket;
    for (size_t i = 0; i < 2; i++) {
        if (!hf_session_cache_look(&bucket, cache, i))
            continue;
        for (size_t way = 0; way < HF_SESSION_WAYS; way++) {
            const struct hf_session_way *at = &bucket.ways[way];
            explore_check(at->len == 0 || at->len == LEN);
            for (size_t j = 1; j < at->len; j++)
                explore_check(at->packed[j] == at->packed[0]);
            explore_check(at->len == 0 || at->packed[0] == 'c' ||
                          memcmp(at->id, ids[0], sizeof at->id) == 0);
        }
    }
}

static void begin_with_one(void)
{
    begin();
    put(0, 'A');
}

int main(void)
{
    static const struct explore_scenario scenarios[] = {
        {"put beside get", begin_with_one, {puts_a, looks}, end, 3},
        {"put beside put of the same", begin, {puts_a, puts_b}, end, 2},
        {"put, put and get of the same", begin_with_one, {puts_a, puts_b, looks}, end, 2},
        {"put of another beside get", begin_with_one, {puts_c, looks}, end, 3},
        {"put and put of another, and get", begin_with_one, {puts_b, puts_c, looks}, end, 2},
        {"put beside a copy of the bucket", begin_with_one, {puts_a, copies}, end, 2},
        {"put of another beside a copy", begin_with_one, {puts_c, copies}, end, 2},
        {"remove beside a copy", begin_with_one, {removes, copies}, end, 2},
        {"remove beside get", begin_with_one, {removes, looks}, end, 3},
        {"remove beside put", begin_with_one, {removes, puts_a}, end, 2},
        {"remove beside get and put", begin_with_one, {removes, looks, puts_a}, end, 1},
    };
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++)
        explore_run(&scenarios[i]);
    return 0;
}
