/**
 * session_copy_test.c - the sessions of a cache given to another: all of them, then what has
 * changed and what is gone; caches of other sizes; a copy while others write; what is no chunk.
 */
#include "session.h"

#include <handfast/transfer.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>

#define NOW_S 1760000000
#define UNTIL_S (NOW_S + 86400)

struct pair {
    struct hf_session_cache *from, *to;
    struct hf_session_copy *copy;
    struct hf_session_copy_counts counts;
};

static uint8_t chunk[HF_TRANSFER_CHUNK_MIN];

static struct pair pair_open(size_t from, size_t to)
{
    struct pair pair = {0};
    assert_int_equal(hf_session_cache_open(&pair.from, from), HF_OK);
    assert_int_equal(hf_session_cache_open(&pair.to, to), HF_OK);
    assert_int_equal(hf_session_copy_open(&pair.copy, pair.from), HF_OK);
    return pair;
}

static void pair_close(struct pair *pair)
{
    hf_session_copy_close(pair->copy);
    hf_session_cache_close(pair->from);
    hf_session_cache_close(pair->to);
}

/* In a block of its own, so that a sanitizer sees every over-read. */
static enum hf_status take(struct pair *pair, const uint8_t *data, size_t len)
{
    uint8_t *exact = malloc(len ? len : 1);
    assert_non_null(exact);
    memcpy(exact, data, len);
    enum hf_status status =
        hf_session_copy_take(&pair->counts, pair->to, (struct hf_bytes){exact, len}, NOW_S);
    free(exact);
    return status;
}

static uint32_t pass(struct pair *pair)
{
    enum hf_status status = HF_WAITING;
    while (status == HF_WAITING) {
        size_t len = 0;
        status = hf_session_copy_write(chunk, &len, sizeof chunk, pair->copy, NOW_S);
        assert_true(status == HF_OK || status == HF_WAITING);
        if (len > 0)
            assert_int_equal(take(pair, chunk, len), HF_OK);
    }
    return hf_session_copy_written(pair->copy);
}

/* Every session has its own ID, names and secret. */
static void make_id(uint8_t id[HF_SESSION_ID_LEN], const struct hf_session_cache *cache,
                    uint32_t number)
{
    uint8_t randoms[2][HF_RANDOM_LEN] = {{0}};
    memcpy(randoms[0], &number, sizeof number);
    hf_session_cache_name(id, cache, randoms[0], randoms[1]);
}

static size_t make_packed(uint8_t out[HF_SESSION_LEN_MAX], uint32_t number)
{
    static const uint8_t name[200];
    size_t len;
    struct hf_session session = {.suite = 0xC0A8,
                                 .until_s = UNTIL_S,
                                 .context = number,
                                 .entity_id = {name, number % sizeof name}};
    memcpy(session.master_secret, &number, sizeof number);
    assert_int_equal(hf_session_pack(out, &len, &session), HF_OK);
    return len;
}

static bool put(struct hf_session_cache *cache, uint32_t number, uint32_t until_s)
{
    uint8_t id[HF_SESSION_ID_LEN], packed[HF_SESSION_LEN_MAX];
    size_t len = make_packed(packed, number);
    make_id(id, cache, number);
    return hf_session_cache_put(cache, id, (struct hf_bytes){packed, len}, until_s, NOW_S);
}

static bool has(struct hf_session_cache *cache, uint32_t number)
{
    uint8_t id[HF_SESSION_ID_LEN], packed[HF_SESSION_LEN_MAX], expected[HF_SESSION_LEN_MAX];
    size_t len = 0;
    make_id(id, cache, number);
    if (!hf_session_cache_get(packed, &len, cache, id, NOW_S))
        return false;
    assert_int_equal(len, make_packed(expected, number));
    assert_memory_equal(packed, expected, len);
    return true;
}

static void drop(struct hf_session_cache *cache, uint32_t number)
{
    uint8_t id[HF_SESSION_ID_LEN];
    make_id(id, cache, number);
    hf_session_cache_remove(cache, id);
}

/* ---- what goes on ------------------------------------------------------------------------- */

static void everything_is_there(void **state)
{
    enum { COUNT = 500 };
    static const size_t sizes[] = {2000, 500, 20000};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct pair pair = pair_open(2000, sizes[i]);
        uint32_t there = 0;
        for (uint32_t number = 0; number < COUNT; number++)
            assert_true(put(pair.from, number, UNTIL_S));
        assert_int_equal(pass(&pair), COUNT);
        assert_int_equal(pair.counts.taken, COUNT);
        assert_int_equal(pair.counts.left_out, 0);
        /* Found under IDs that the other makes: the secret went along. */
        for (uint32_t number = 0; number < COUNT; number++)
            there += has(pair.to, number);
        assert_true(there == COUNT || (sizes[i] == 500 && there > COUNT / 2));
        assert_int_equal(pass(&pair), 0);
        pair_close(&pair);
    }
}

static void a_later_pass_has_what_has_changed(void **state)
{
    (void)state;
    struct pair pair = pair_open(10000, 10000);
    for (uint32_t number = 0; number < 100; number++)
        assert_true(put(pair.from, number, UNTIL_S));
    assert_int_equal(pass(&pair), 100);
    drop(pair.from, 7);
    assert_true(put(pair.from, 200, UNTIL_S));
    assert_true(pass(&pair) < 1 + 2 * HF_SESSION_WAYS);
    assert_true(has(pair.to, 200) && !has(pair.to, 7) && has(pair.to, 8));
    assert_int_equal(pass(&pair), 0);
    pair_close(&pair);
}

/* Its place has another tenant before the next pass looks: it is still taken back. */
static void what_was_ended_stays_ended(void **state)
{
    (void)state;
    struct pair pair = pair_open(1, 1000); /* two buckets: room for six, wherever they go */
    for (uint32_t number = 0; number < 6; number++)
        assert_true(put(pair.from, number, UNTIL_S));
    (void)pass(&pair);
    assert_true(has(pair.to, 3) && has(pair.to, 4));
    drop(pair.from, 3);
    drop(pair.from, 4);
    for (uint32_t number = 100; number < 140; number++) /* all places change hands */
        assert_true(put(pair.from, number, UNTIL_S + number));
    (void)pass(&pair);
    for (uint32_t number = 0; number < 140; number++)
        assert_true(has(pair.from, number) || !has(pair.to, number));
    assert_false(has(pair.to, 3) || has(pair.to, 4));
    pair_close(&pair);
}

static void what_is_over_is_not_given(void **state)
{
    (void)state;
    struct pair pair = pair_open(100, 100);
    assert_true(put(pair.from, 1, NOW_S));
    assert_true(put(pair.from, 2, NOW_S + 1));
    assert_int_equal(pass(&pair), 1);
    assert_true(has(pair.to, 2) && !has(pair.to, 1));
    pair_close(&pair);
}

/* ---- while others are at it --------------------------------------------------------------- */

struct writer {
    struct hf_session_cache *cache;
    uint32_t first;
    _Atomic bool *is_over;
};

static void *write_on(void *arg)
{
    struct writer *writer = arg;
    for (uint32_t i = 0; !atomic_load(writer->is_over); i++) {
        (void)put(writer->cache, writer->first + i % 1000, UNTIL_S);
        if (i % 3 == 0)
            drop(writer->cache, writer->first + (i + 500) % 1000);
    }
    return NULL;
}

static void two_write_meanwhile(void **state)
{
    (void)state;
    struct pair pair = pair_open(3000, 3000);
    _Atomic bool is_over = false;
    struct writer writers[2] = {{pair.from, 0, &is_over}, {pair.from, 1000, &is_over}};
    pthread_t threads[2];
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_on, &writers[i]), 0);
    for (int i = 0; i < 20; i++)
        (void)pass(&pair); /* what is taken has been judged as a whole */
    assert_int_equal(pair.counts.left_out, 0);
    atomic_store(&is_over, true);
    for (size_t i = 0; i < 2; i++)
        (void)pthread_join(threads[i], NULL);
    /* Nobody writes any more: what the last pass leaves is the same on both sides. */
    (void)pass(&pair);
    for (uint32_t number = 0; number < 2000; number++)
        assert_true(has(pair.from, number) || !has(pair.to, number));
    pair_close(&pair);
}

/* ---- what does not fit -------------------------------------------------------------------- */

static size_t one_chunk(struct pair *pair)
{
    size_t len;
    for (uint32_t number = 0; number < 5; number++)
        assert_true(put(pair->from, number, UNTIL_S));
    assert_int_equal(hf_session_copy_write(chunk, &len, sizeof chunk, pair->copy, NOW_S), HF_OK);
    return len;
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    struct pair pair = pair_open(100, 100);
    size_t len = one_chunk(&pair);
    assert_int_equal(hf_session_copy_write(chunk, &len, 100, pair.copy, NOW_S), HF_E_ARGUMENT);
    len = one_chunk(&pair);
    static const uint8_t later[4] = {'H', 'F', 'S', HF_SESSION_COPY_VERSION + 1};
    assert_int_equal(take(&pair, (const uint8_t *)"", 0), HF_E_DECODE);
    assert_int_equal(take(&pair, later, 4), HF_E_DECODE);
    assert_int_equal(take(&pair, (const uint8_t *)"HFT\1", 4), HF_E_DECODE);
    pair_close(&pair);
}

static void every_cut_and_every_byte(void **state)
{
    (void)state;
    struct pair pair = pair_open(100, 100);
    size_t len = one_chunk(&pair), whole = 0;
    for (size_t cut = 0; cut < len; cut++)
        whole += take(&pair, chunk, cut) == HF_OK;
    assert_int_equal(whole, 1 + 1 + 4); /* between entries: header, secret, all sessions but one */
    for (size_t i = 0; i < len; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            chunk[i] ^= (uint8_t)(1u << bit);
            enum hf_status status = take(&pair, chunk, len);
            assert_true(status == HF_OK || status == HF_E_DECODE);
            assert_true(i >= 4 || status == HF_E_DECODE);
            chunk[i] ^= (uint8_t)(1u << bit);
        }
    }
    hf_session_cache_close(pair.to); /* it is full of what was wrong */
    assert_int_equal(hf_session_cache_open(&pair.to, 100), HF_OK);
    assert_int_equal(take(&pair, chunk, len), HF_OK);
    for (uint32_t number = 0; number < 5; number++)
        assert_true(has(pair.to, number));
    pair_close(&pair);
}

/* A later version's: a kind and a field we do not know, and one without which it makes no sense. */
static void a_later_version_is_read(void **state)
{
    (void)state;
    struct pair pair = pair_open(100, 100);
    size_t len = one_chunk(&pair);
    uint8_t *entry = chunk + 4 + 5 + 4 + 32; /* behind the secret */
    size_t rest = len - (size_t)(entry - chunk);
    memmove(entry + 7, entry, rest);
    memcpy(entry, "\x77\0\0\0\2??", 7); /* a kind */
    entry += 7;
    for (int is_needed = 0; is_needed < 2; is_needed++) {
        size_t body = (size_t)entry[3] << 8 | entry[4];
        memmove(entry + 5 + body + 5, entry + 5 + body, rest - 5 - body);
        memcpy(entry + 5 + body, is_needed ? "\x81\x02\0\1!" : "\x01\x01\0\1!", 5);
        body += 5;
        rest += 5;
        entry[3] = (uint8_t)(body >> 8);
        entry[4] = (uint8_t)body;
        pair.counts = (struct hf_session_copy_counts){0};
        assert_int_equal(take(&pair, chunk, (size_t)(entry - chunk) + rest), HF_OK);
        assert_int_equal(pair.counts.taken, 5 - is_needed);
        assert_int_equal(pair.counts.left_out, is_needed);
    }
    pair_close(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_there),
        cmocka_unit_test(a_later_pass_has_what_has_changed),
        cmocka_unit_test(what_was_ended_stays_ended),
        cmocka_unit_test(what_is_over_is_not_given),
        cmocka_unit_test(two_write_meanwhile),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(every_cut_and_every_byte),
        cmocka_unit_test(a_later_version_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
