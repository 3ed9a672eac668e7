/**
 * bad_cookieless_test.c - hellos that need no cookie: who gets in, what it costs others, and that
 * it is never more than the hello itself.
 */
#include "engine_fixture.h"
#include "raw_hello.h"

static uint8_t wire[RAW_HELLO_LEN_MAX];
/* An unknown extension, so that a hello is as long as a test wants it. */
static const uint8_t padding[260] = {0xfa, 0xfa, 0x01, 0x00};

static int setup(void **state, uint32_t above, const char *network, uint8_t bits)
{
    struct engine_fixture *fixture = calloc(1, sizeof *fixture);
    struct hf_listener *listener = &fixture->listeners[ENGINE_FIXTURE_DTLS];
    engine_fixture_init(fixture);
    listener->cookies_above = above;
    if (network) {
        memcpy(listener->cookie_free[0].ip, network, 16);
        listener->cookie_free[0].bits = bits;
        listener->cookie_free_count = 1;
    }
    engine_fixture_open(fixture);
    *state = fixture;
    return 0;
}

static int setup_above(void **state)
{
    return setup(state, 8, NULL, 0);
}

static int setup_free(void **state)
{
    return setup(state, 0, "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\2\0", 96 + 24);
}

static int teardown(void **state)
{
    struct engine_fixture *fixture = *state;
    engine_fixture_close(fixture);
    free(fixture);
    return 0;
}

static size_t say(struct engine_fixture *fixture, const struct hf_path *path,
                  const struct raw_hello *hello)
{
    size_t len = raw_hello_record(wire, hello);
    fixture->stray_count = fixture->stray_len = 0;
    engine_fixture_datagram(fixture, path, wire, len);
    engine_fixture_run(fixture);
    return len;
}

static bool is_verify(const struct engine_fixture *fixture)
{
    return fixture->stray_count == 1 && raw_cookie(fixture->stray, fixture->stray_last_len).len > 0;
}

static struct raw_hello long_hello(void)
{
    return (struct raw_hello){.is_dtls = true, .extensions = {padding, sizeof padding}};
}

/* A client that is let in at once, from its first flight to the last. */
static void goes_on_at_once(void **state)
{
    struct engine_fixture *fixture = *state;
    struct engine_peer *peer = engine_peer_new(fixture, false);
    uint64_t sent = engine_fixture_counters(fixture).cookies_sent;
    struct hf_path path = engine_fixture_path(0xC0000207, 700);
    struct raw_hello hello = long_hello();
    say(fixture, &path, &hello);
    assert_int_equal(engine_fixture_counters(fixture).handshakes_open, 1);
    assert_int_equal(engine_fixture_counters(fixture).cookies_sent, sent);
    assert_true(engine_fixture_counters(fixture).cookies_waived > 0);
    peer->path = engine_fixture_path(0xC0000208, 701);
    engine_peer_open(peer);
    assert_true(engine_peer_echoes(peer));
    engine_peer_end(peer);
}

/* The answer is never longer than what came, whatever comes, and nothing comes by itself. */
static void answers_no_more_than_came(void **state)
{
    struct engine_fixture *fixture = *state;
    for (size_t len = 4; len <= sizeof padding; len += 4) {
        uint8_t extension[sizeof padding] = {0xfa, 0xfa, (uint8_t)((len - 4) >> 8),
                                             (uint8_t)(len - 4)};
        uint8_t random[32];
        struct hf_path path = engine_fixture_path(0xC6336401 + (uint32_t)len, 900);
        memset(random, (int)len, sizeof random);
        struct raw_hello hello = {
            .is_dtls = true, .random = random, .extensions = {extension, len}};
        size_t came = say(fixture, &path, &hello);
        assert_in_range(fixture->stray_len, 1, came);
        if (is_verify(fixture)) /* too short a hello */
            continue;
        for (int again = 0; again < 3; again++) { /* repeated, it is answered as often */
            hello.seq++;
            came = say(fixture, &path, &hello);
            assert_in_range(fixture->stray_len, 1, came);
        }
        hello.extensions.len = 4; /* a short one of the same name is not */
        extension[2] = extension[3] = 0;
        came = say(fixture, &path, &hello);
        assert_in_range(fixture->stray_len, 0, came);
        fixture->stray_len = 0;
        engine_fixture_advance(fixture, 300000000); /* all its timers; then it is given up */
        assert_int_equal(fixture->stray_len, 0);
    }
    assert_true(engine_fixture_counters(fixture).cookies_waived > 0);
}

/* From the limit on cookies are asked for, and those who have one get in. */
static void asks_above_the_limit(void **state)
{
    struct engine_fixture *fixture = *state;
    struct raw_hello hello = long_hello();
    for (uint32_t i = 0; i < 20; i++) {
        struct hf_path path = engine_fixture_path(0xCB007101 + i, 800);
        say(fixture, &path, &hello);
        assert_int_equal(is_verify(fixture), i >= 8);
        assert_int_equal(engine_fixture_counters(fixture).handshakes_open, i < 8 ? i + 1 : 8);
    }
    struct engine_peer *peer = engine_peer_new(fixture, false);
    engine_peer_open(peer);
    assert_true(engine_peer_echoes(peer));
    engine_peer_end(peer);
}

/* Sessions, tickets, fragments: whatever could cost more than a look has to show a cookie. */
static void asks_where_it_could_cost(void **state)
{
    static const uint8_t id[32] = {1};
    struct engine_fixture *fixture = *state;
    struct hf_path path = engine_fixture_path(0xCB007101, 800);
    struct raw_hello hello = long_hello();
    hello.session_id = (struct hf_bytes){id, sizeof id};
    say(fixture, &path, &hello);
    assert_true(is_verify(fixture));
    hello = long_hello();
    hello.fragment_len = 200;
    say(fixture, &path, &hello);
    assert_true(is_verify(fixture));
    hello = long_hello();
    hello.suites = (struct hf_bytes){(const uint8_t *)"\xC0\xAE", 2}; /* nobody has it here */
    say(fixture, &path, &hello);
    assert_true(is_verify(fixture));
    assert_int_equal(engine_fixture_counters(fixture).handshakes_open, 0);
}

/* Who has an association at the address keeps it: a stranger's hello there asks for a cookie. */
static void asks_beside_an_association(void **state)
{
    struct engine_fixture *fixture = *state;
    struct engine_peer *peer = engine_peer_new(fixture, false);
    struct raw_hello hello = long_hello();
    peer->path = engine_fixture_path(0xC0000209, 702);
    engine_peer_open(peer);
    uint32_t open = engine_fixture_counters(fixture).handshakes_open;
    size_t len = raw_hello_record(wire, &hello);
    engine_peer_forget(peer);
    peer->is_deaf = true;
    engine_peer_send(peer, wire, len);
    peer->is_deaf = false;
    assert_int_equal(peer->received.count, 1);
    assert_true(raw_cookie(peer->received.items[0].data, peer->received.items[0].len).len > 0);
    assert_int_equal(engine_fixture_counters(fixture).handshakes_open, open);
    assert_true(engine_peer_echoes(peer));
    engine_peer_end(peer);
}

/* Fragments too are let in from a network where nobody forges; from anywhere else none is. */
static void free_network_alone(void **state)
{
    struct engine_fixture *fixture = *state;
    struct hf_path inside = engine_fixture_path(0xC00002FE, 703);
    struct hf_path outside = engine_fixture_path(0xC0000301, 703);
    struct raw_hello hello = long_hello();
    say(fixture, &outside, &hello);
    assert_true(is_verify(fixture));
    assert_int_equal(engine_fixture_counters(fixture).handshakes_open, 0);
    hello.fragment_len = 100;
    say(fixture, &inside, &hello);
    assert_int_equal(fixture->stray_count, 0);
    hello.offset = 100;
    hello.fragment_len = 0;
    hello.seq = 1;
    say(fixture, &inside, &hello);
    assert_true(fixture->stray_count > 0 && !is_verify(fixture));
    assert_int_equal(engine_fixture_counters(fixture).handshakes_open, 1);
}

int main(void)
{
#define TEST(name, setup) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(goes_on_at_once, setup_above),           TEST(goes_on_at_once, setup_free),
        TEST(answers_no_more_than_came, setup_above), TEST(asks_above_the_limit, setup_above),
        TEST(asks_where_it_could_cost, setup_above),  TEST(asks_beside_an_association, setup_above),
        TEST(asks_beside_an_association, setup_free), TEST(free_network_alone, setup_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
