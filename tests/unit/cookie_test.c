/**
 * cookie_test.c - cookies: what they are bound to, how long they live, and that engines which share
 * a secret share them.
 */
#include "cookie.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void request(struct hf_engine *engine, const struct hf_request *asked, void *arg)
{
    (void)engine;
    (void)asked;
    (void)arg;
}

/* A shared secret's periods are those of the wall clock. */
static void turn(struct hf_engine *engine, uint64_t at_us)
{
    hf_engine_begin_turn(engine, at_us, (int64_t)(at_us / 1000000));
}

static struct hf_engine *open_engine(uint8_t secret_byte)
{
    const struct hf_key_source source = {.request = request};
    struct hf_engine *engine;
    struct hf_config config;
    hf_config_init(&config);
    config.associations_max = config.handshakes_max = 4;
    config.secrets.count = secret_byte ? 1 : 0; /* 0: drawn */
    memset(config.secrets.entries[0].secret, secret_byte, HF_SHARED_SECRET_LEN);
    assert_int_equal(hf_engine_open(&engine, &config, &source), HF_OK);
    turn(engine, 10 * config.cookie_us_max);
    return engine;
}

/* Where a hello begins, and from where it comes. */
struct subject {
    struct hf_path_key path;
    uint8_t body[2 + 32 + 1 + 32 + 1 + HF_COOKIE_LEN];
    size_t body_len;
};

static struct hf_hello_front front_of(struct subject *subject)
{
    struct hf_hello_front front;
    assert_int_equal(hf_cookie_front(&front, (struct hf_bytes){subject->body, subject->body_len}),
                     HF_OK);
    return front;
}

static struct subject make_subject(struct hf_engine *engine, uint8_t session_id_len)
{
    struct subject subject = {
        .path = {.peer_ip = {[10] = 0xFF, 0xFF, 192, 0, 2, 7}, .peer_port = 5000}};
    uint8_t *cookie = subject.body + 2 + 32 + 1 + session_id_len;
    subject.body[0] = 0xFE;
    subject.body[1] = 0xFD;
    subject.body[34] = session_id_len;
    cookie[0] = 0;
    subject.body_len = (size_t)(cookie - subject.body) + 1;
    struct hf_hello_front front = front_of(&subject);
    assert_false(hf_cookie_check(engine, &subject.path, &front));
    hf_cookie_make(cookie + 1, engine, &subject.path, &front);
    cookie[0] = HF_COOKIE_LEN;
    subject.body_len += HF_COOKIE_LEN;
    return subject;
}

static bool is_good(struct hf_engine *engine, struct subject *subject)
{
    struct hf_hello_front front = front_of(subject);
    return hf_cookie_check(engine, &subject->path, &front);
}

static void test_a_cookie_is_bound_to_what_stands_before_it(void **state)
{
    struct hf_engine *engine = open_engine(1);
    (void)state;
    for (uint8_t id_len = 0; id_len <= 32; id_len++) {
        struct subject subject = make_subject(engine, id_len);
        assert_true(is_good(engine, &subject));
        for (size_t bit = 0; bit < 8 * subject.body_len; bit++) {
            struct subject changed = subject;
            if (bit / 8 == 34 || bit / 8 == 35u + id_len)
                continue; /* the lengths themselves: another shape altogether */
            changed.body[bit / 8] ^= (uint8_t)(1u << bit % 8);
            /* Some clients draw another session ID for the hello that brings the cookie. */
            bool is_id = bit / 8 > 34 && bit / 8 < 35u + id_len;
            assert_int_equal(is_good(engine, &changed), is_id);
        }
    }
    hf_engine_close(engine);
}

static void test_a_cookie_is_bound_to_the_peers_address(void **state)
{
    struct hf_engine *engine = open_engine(1);
    struct subject subject = make_subject(engine, 0), changed;
    (void)state;
    for (size_t bit = 0; bit < 8 * 16; bit++) {
        changed = subject;
        changed.path.peer_ip[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(is_good(engine, &changed));
    }
    changed = subject;
    changed.path.peer_port++;
    assert_false(is_good(engine, &changed));
    changed = subject;
    changed.path.scope = 2;
    assert_false(is_good(engine, &changed));
    changed = subject;
    changed.path.local_index = 1; /* interned by each engine for itself: not part of it */
    assert_true(is_good(engine, &changed));
    hf_engine_close(engine);
}

static void test_a_cookie_lives_one_to_two_periods(void **state)
{
    (void)state;
    for (uint64_t begun = 0; begun < 60; begun += 7) {
        for (uint64_t age = 0; age < 200; age += 5) {
            struct hf_engine *engine = open_engine(1);
            uint64_t period = engine->config.cookie_us_max;
            uint64_t at = 10 * period + begun * 1000000;
            turn(engine, at);
            struct subject subject = make_subject(engine, 3);
            turn(engine, at + age * 1000000);
            uint64_t periods = (at + age * 1000000) / period - at / period;
            assert_int_equal(is_good(engine, &subject), periods <= 1);
            hf_engine_close(engine);
        }
    }
}

/* The period is told by its low byte: one that is 256 periods old looks like today's. */
static void test_an_old_cookie_does_not_come_back(void **state)
{
    struct hf_engine *engine = open_engine(1);
    struct subject subject = make_subject(engine, 3);
    uint64_t period = engine->config.cookie_us_max, now_us = engine->now_us;
    (void)state;
    for (uint64_t periods = 2; periods < 600; periods++) {
        turn(engine, now_us + periods * period);
        assert_false(is_good(engine, &subject));
    }
    hf_engine_close(engine);
}

static void test_engines_share_cookies_with_their_secret(void **state)
{
    struct hf_engine *one = open_engine(1), *same = open_engine(1), *other = open_engine(2);
    struct hf_engine *drawn = open_engine(0), *drawn_too = open_engine(0);
    struct subject subject = make_subject(one, 0);
    (void)state;
    assert_true(is_good(same, &subject));
    assert_false(is_good(other, &subject));
    subject = make_subject(drawn, 0); /* all zero: each draws its own */
    assert_true(is_good(drawn, &subject));
    assert_false(is_good(drawn_too, &subject));
    struct hf_engine *engines[] = {one, same, other, drawn, drawn_too};
    for (size_t i = 0; i < 5; i++)
        hf_engine_close(engines[i]);
}

static void test_the_front_of_a_hello(void **state)
{
    struct hf_engine *engine = open_engine(1);
    struct hf_hello_front front;
    (void)state;
    for (uint8_t id_len = 0; id_len <= 32; id_len += 8) {
        struct subject subject = make_subject(engine, id_len);
        for (size_t len = 0; len < subject.body_len; len++) {
            uint8_t *copy = malloc(len);
            assert_true(copy || len == 0);
            if (len > 0)
                memcpy(copy, subject.body, len);
            assert_int_equal(hf_cookie_front(&front, (struct hf_bytes){copy, len}), HF_E_DECODE);
            free(copy);
        }
        front = front_of(&subject);
        assert_int_equal(front.version, 0xFEFD);
        assert_int_equal(front.session_id.len, id_len);
        assert_int_equal(front.cookie.len, HF_COOKIE_LEN);
    }
    uint8_t body[100] = {0xFE, 0xFD};
    body[34] = 33; /* longer than a session id may be */
    assert_int_equal(hf_cookie_front(&front, (struct hf_bytes){body, sizeof body}), HF_E_DECODE);
    body[34] = 32;
    assert_int_equal(hf_cookie_front(&front, (struct hf_bytes){body, sizeof body}), HF_OK);
    hf_engine_close(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_cookie_is_bound_to_what_stands_before_it),
        cmocka_unit_test(test_a_cookie_is_bound_to_the_peers_address),
        cmocka_unit_test(test_a_cookie_lives_one_to_two_periods),
        cmocka_unit_test(test_an_old_cookie_does_not_come_back),
        cmocka_unit_test(test_engines_share_cookies_with_their_secret),
        cmocka_unit_test(test_the_front_of_a_hello),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
