/**
 * bad_flood_test.c - too much, too slow, too late: half-open handshakes by the thousand, cookies
 * that are wrong or old, bytes one a second, more ends in a turn than there is room for.
 */
#include "engine_fixture.h"
#include "raw_hello.h"
#include "table.h"

#define SECOND UINT64_C(1000000)

enum { DATA = 23 };

static uint8_t wire[RAW_HELLO_LEN_MAX];

/* A larger engine than the fixture's own, with bystanders open. */
static int setup_large(void **state)
{
    struct engine_fixture *fixture = malloc(sizeof *fixture);
    assert_non_null(fixture);
    engine_fixture_init(fixture);
    fixture->config.associations_max = 16384;
    fixture->config.handshakes_max = 4096;
    fixture->config.handshakes_pressure = 3072;
    fixture->config.events_max = 256;
    engine_fixture_open(fixture);
    *state = fixture;
    return 0;
}

/* Takes a cookie from the last answer to a stranger, and sends the hello that bears it. */
static void greet(struct engine_fixture *fixture, const struct hf_path *path,
                  const uint8_t random[32])
{
    struct raw_hello hello = {.is_dtls = true, .random = random};
    uint8_t cookie[32];
    engine_fixture_datagram(fixture, path, wire, raw_hello_record(wire, &hello));
    engine_fixture_run(fixture);
    hello.cookie = raw_cookie(fixture->stray, fixture->stray_last_len);
    assert_in_range(hello.cookie.len, 1, sizeof cookie);
    memcpy(cookie, hello.cookie.data, hello.cookie.len);
    hello.cookie.data = cookie;
    hello.message_seq = 1;
    hello.seq = 1;
    engine_fixture_datagram(fixture, path, wire, raw_hello_record(wire, &hello));
    engine_fixture_run(fixture);
}

static void hellos_without_cookies_cost_nothing(void **state)
{
    struct engine_fixture *fixture = *state;
    struct raw_hello hello = {.is_dtls = true};
    uint64_t sent = 0;
    for (uint32_t i = 0; i < 50000; i++) {
        const struct hf_path path = engine_fixture_path(0x0A000000 + i, 4000);
        size_t len = raw_hello_record(wire, &hello);
        engine_fixture_datagram(fixture, &path, wire, len);
        sent += len;
        if (i % 50 == 0)
            engine_fixture_run(fixture);
    }
    engine_fixture_run(fixture);
    struct hf_counters counters = engine_fixture_counters(fixture);
    assert_int_equal(counters.handshakes_open, 0);
    assert_int_equal(counters.cookies_sent, 50000 + 1); /* and the bystander's */
    assert_int_equal(fixture->stray_count, 50000);
    assert_in_range(fixture->stray_len, 1, sent - 1); /* less came out than went in */
    assert_int_equal(counters.memory_len, hf_config_memory(&fixture->config));
}

/* Each to another address of ours: none that has shown no cookie takes up a place there. */
static void hellos_to_many_addresses_of_ours(void **state)
{
    struct engine_fixture *fixture = *state;
    struct raw_hello hello = {.is_dtls = true};
    for (uint32_t i = 0; i < 1000; i++) {
        struct hf_path path = engine_fixture_path(0x0A000001, 4000);
        path.local.ip[14] = (uint8_t)(i >> 8);
        path.local.ip[15] = (uint8_t)i;
        engine_fixture_datagram(fixture, &path, wire, raw_hello_record(wire, &hello));
        if (i % 50 == 49)
            engine_fixture_run(fixture);
    }
    assert_int_equal(fixture->stray_count, 1000); /* and each has had its cookie */
    struct engine_peer *peer = engine_peer_new(fixture, false);
    peer->path.local.ip[13] ^= 1; /* where nobody has been */
    engine_peer_open(peer);
    assert_true(engine_peer_echoes(peer));
    assert_int_equal(engine_fixture_drops(fixture, HF_DROP_LOCAL_ADDRESS), 0);
}

static void half_open_dtls_from_one_address(void **state)
{
    struct engine_fixture *fixture = *state;
    uint8_t random[32] = {0};
    for (uint32_t i = 0; i < 10000; i++) {
        const struct hf_path path = engine_fixture_path(0x0A000001, (uint16_t)(1024 + i));
        random[0] = (uint8_t)i;
        random[1] = (uint8_t)(i >> 8);
        greet(fixture, &path, random);
    }
    struct hf_counters counters = engine_fixture_counters(fixture);
    /* Until there is pressure one address may have them all; from then on it gets no more. */
    assert_int_equal(counters.handshakes_open, fixture->config.handshakes_pressure);
    assert_int_equal(counters.drops[HF_DROP_PREFIX_LIMIT],
                     10000 - fixture->config.handshakes_pressure);
    assert_int_equal(counters.drops[HF_DROP_HANDSHAKE_LIMIT], 0);
    engine_fixture_check_undisturbed(fixture);
    for (size_t i = 0; i < 20; i++) { /* other prefixes are served at once */
        struct engine_peer *peer = engine_peer_new(fixture, i % 2);
        engine_peer_open(peer);
        assert_true(engine_peer_echoes(peer));
    }
    engine_fixture_advance(fixture, 61 * SECOND);
    counters = engine_fixture_counters(fixture);
    assert_int_equal(counters.handshakes_open, 0);
    assert_int_equal(counters.handshakes[HF_E_HANDSHAKE_TIMEOUT],
                     fixture->config.handshakes_pressure);
    assert_int_equal(counters.memory_len, hf_config_memory(&fixture->config));
}

static void half_open_dtls_from_many_addresses(void **state)
{
    struct engine_fixture *fixture = *state;
    uint8_t random[32] = {7};
    for (uint32_t i = 0; i < 10000; i++) {
        const struct hf_path path = engine_fixture_path(0x0B000000 + i * 257, 4000);
        greet(fixture, &path, random);
    }
    struct hf_counters counters = engine_fixture_counters(fixture);
    assert_int_equal(counters.handshakes_open, fixture->config.handshakes_max);
    assert_int_equal(counters.drops[HF_DROP_HANDSHAKE_LIMIT] + counters.drops[HF_DROP_PREFIX_LIMIT],
                     10000 - fixture->config.handshakes_max);
    assert_int_equal(counters.memory_len, hf_config_memory(&fixture->config));
    engine_fixture_check_undisturbed(fixture);
    engine_fixture_advance(fixture, 61 * SECOND);
    assert_int_equal(engine_fixture_counters(fixture).handshakes_open, 0);
    engine_peer_open(engine_peer_new(fixture, false));
}

/* Whatever the secret of the hash, no address is refused for want of a place while there is room.
 */
static void every_address_finds_a_place(void **state)
{
    enum { COUNT = 3328 }; /* all that a table of 4,096 slots takes before it grows */
    static struct hf_path_key keys[COUNT];
    void *memory = malloc(hf_table_memory(2 * COUNT));
    (void)state;
    assert_non_null(memory);
    for (uint64_t seed = 0; seed < 300; seed++) {
        const uint64_t siphash_key[2] = {seed, ~seed};
        struct hf_table table;
        memset(memory, 0, hf_table_memory(2 * COUNT));
        hf_table_init(&table, memory, 2 * COUNT, keys, sizeof keys[0], 0, siphash_key);
        for (uint32_t i = 0; i < COUNT; i++) {
            memcpy(keys[i].peer_ip, &i, sizeof i);
            assert_true(hf_table_insert(&table, i));
        }
        for (uint32_t i = 0; i < COUNT; i++)
            assert_int_equal(hf_table_find(&table, &keys[i]), i);
    }
    free(memory);
}

/* An IPv6 site has far more addresses than that: it is one prefix all the same. */
static void half_open_from_one_ipv6_site(void **state)
{
    struct engine_fixture *fixture = *state;
    uint8_t ip[16] = {0x20, 0x01, 0x0d, 0xb8, 1, 2, 3}, random[32] = {9};
    for (uint32_t i = 0; i < 10000; i++) {
        struct hf_path path = engine_fixture_path(1, 1);
        for (size_t at = 0; at < 4; at++)
            ip[15 - 2 * at] = (uint8_t)(i >> 8 * at); /* in the last 64 bits and beyond */
        ip[7] = (uint8_t)i;                           /* and in the subnet, below /56 */
        path.peer = hf_address_v6(ip, 4000, 0);
        greet(fixture, &path, random);
    }
    struct hf_counters counters = engine_fixture_counters(fixture);
    assert_int_equal(counters.handshakes_open, fixture->config.handshakes_pressure);
    ip[6] = 4; /* the next site */
    struct hf_path path = engine_fixture_path(1, 1);
    path.peer = hf_address_v6(ip, 4000, 0);
    greet(fixture, &path, random);
    assert_int_equal(engine_fixture_counters(fixture).handshakes_open,
                     fixture->config.handshakes_pressure + 1);
}

static void half_open_tls(void **state)
{
    struct engine_fixture *fixture = *state;
    uint32_t accepted = 0, refused_prefix = 0, refused_all = 0;
    for (uint32_t i = 0; i < 12000; i++) { /* 10,000 from one address, then from all over */
        const struct hf_path path = engine_fixture_path(
            i < 10000 ? 0x0A000001 : 0x0C000000 + i * 257, (uint16_t)(1024 + i));
        hf_association_id id;
        enum hf_status status =
            hf_engine_accept(&id, fixture->engine, ENGINE_FIXTURE_TLS, &path, 0);
        accepted += status == HF_OK;
        refused_prefix += status == HF_E_PREFIX_LIMIT;
        refused_all += status == HF_E_HANDSHAKE_LIMIT;
        if (i == 9999)
            assert_int_equal(accepted, fixture->config.handshakes_pressure);
    }
    assert_int_equal(accepted, fixture->config.handshakes_max);
    assert_int_equal(accepted + refused_prefix + refused_all, 12000);
    struct hf_counters counters = engine_fixture_counters(fixture);
    assert_int_equal(counters.handshakes[HF_E_PREFIX_LIMIT], refused_prefix);
    assert_int_equal(counters.handshakes[HF_E_HANDSHAKE_LIMIT], refused_all);
    engine_fixture_check_undisturbed(fixture);
    engine_fixture_advance(fixture, 11 * SECOND);
    counters = engine_fixture_counters(fixture);
    assert_int_equal(counters.handshakes_open, 0);
    assert_int_equal(counters.handshakes[HF_E_HELLO_TIMEOUT], accepted);
    engine_peer_open(engine_peer_new(fixture, true));
}

static void associations_all_taken(void **state)
{
    struct engine_fixture *fixture = *state;
    struct engine_peer *last = NULL;
    for (size_t i = 2; i < fixture->config.associations_max; i++) {
        last = engine_peer_new(fixture, i % 2);
        engine_peer_open(last);
    }
    hf_association_id id;
    assert_int_equal(hf_engine_accept(&id, fixture->engine, ENGINE_FIXTURE_TLS, &last->path, 0),
                     HF_E_ASSOCIATION_LIMIT);
    struct engine_peer *late = engine_peer_new(fixture, false);
    engine_peer_start(late);
    engine_fixture_run(fixture);
    assert_int_equal(engine_fixture_drops(fixture, HF_DROP_ASSOCIATION_LIMIT), 1);
    assert_int_equal(engine_fixture_counters(fixture).handshakes_open, 0);
    engine_fixture_check_undisturbed(fixture);
    engine_peer_end(last);
    engine_fixture_advance(fixture, 2 * SECOND); /* its client tries again */
    engine_peer_check_open(late);
}

/* A cookie lives one to two periods, of the engine's clock and not of the wall's. */
static void cookie_expires(void **state)
{
    struct engine_fixture *fixture = *state;
    const uint64_t period = fixture->config.cookie_us_max;
    for (uint64_t age = 0; age <= 3 * period; age += period / 4) {
        struct engine_peer *peer = engine_peer_new(fixture, false);
        struct raw_hello hello = {.is_dtls = true};
        uint8_t cookie[32];
        engine_peer_send(peer, wire, raw_hello_record(wire, &hello));
        hello.cookie = raw_cookie(peer->received.items[0].data, peer->received.items[0].len);
        memcpy(cookie, hello.cookie.data, hello.cookie.len);
        hello.cookie.data = cookie;
        hello.message_seq = 1;
        fixture->wall_s += 1000000000;
        engine_fixture_advance(fixture, age);
        uint64_t wrong = engine_fixture_drops(fixture, HF_DROP_COOKIE);
        uint32_t open = engine_fixture_counters(fixture).handshakes_open;
        engine_peer_forget(peer);
        engine_peer_send(peer, wire, raw_hello_record(wire, &hello));
        bool is_taken = engine_fixture_counters(fixture).handshakes_open > open;
        assert_int_equal(engine_fixture_drops(fixture, HF_DROP_COOKIE), wrong + !is_taken);
        assert_int_equal(peer->received.count, 1); /* a flight, or a fresh cookie */
        assert_true(age > period || is_taken);
        assert_true(age < 2 * period || !is_taken);
        fixture->wall_s -= 1000000000;
    }
}

/* A wrong cookie is answered with a right one: a client whose address changed is not lost. */
static void wrong_cookie_is_replaced(void **state)
{
    struct engine_fixture *fixture = *state;
    struct engine_peer *peer = engine_peer_new(fixture, false);
    engine_peer_to_stage(peer, ENGINE_STAGE_NOTHING);
    peer->sent.items[1].data[13 + 12 + 2 + 32 + 1 + 1 + 5] ^= 1;
    engine_peer_deliver(peer, 1, 2);
    assert_int_equal(engine_fixture_drops(fixture, HF_DROP_COOKIE), 1);
    assert_int_equal(peer->received.count, 2);
    peer->is_held = false;
    engine_fixture_advance(fixture, 2 * SECOND);
    engine_peer_check_open(peer);
}

static void one_byte_a_second(void **state)
{
    struct engine_fixture *fixture = *state;
    struct engine_peer *peer = engine_peer_new(fixture, true);
    engine_peer_to_stage(peer, ENGINE_STAGE_NOTHING);
    for (size_t at = 0; at < 60 && peer->failed_count == 0; at++) {
        engine_peer_send(peer, peer->sent.items[0].data + at, 1);
        engine_fixture_advance(fixture, SECOND);
    }
    assert_int_equal(peer->failure.status, HF_E_HELLO_TIMEOUT);
    peer = engine_peer_new(fixture, true); /* after the hello */
    engine_peer_to_stage(peer, ENGINE_STAGE_HELLO);
    uint64_t begun_us = fixture->now_us;
    for (size_t at = 0; at < 150 && peer->failed_count == 0; at++) {
        const struct engine_wire_item *exchange = &peer->sent.items[1];
        if (at < exchange->len - 1)
            engine_peer_send(peer, exchange->data + at, 1);
        engine_fixture_advance(fixture, SECOND);
    }
    assert_int_equal(peer->failure.status, HF_E_HANDSHAKE_TIMEOUT);
    assert_in_range(fixture->now_us - begun_us, 60 * SECOND, 62 * SECOND);
    /* When it is open: the record has to end within its time. Whole ones may come slowly. */
    peer = engine_peer_new(fixture, true);
    engine_peer_open(peer);
    peer->is_held = true;
    uint8_t text[64] = {0};
    psk_client_send(&peer->client, text, sizeof text, engine_peer_emit, peer);
    const struct engine_wire_item *record = &peer->sent.items[peer->sent.count - 1];
    begun_us = fixture->now_us;
    for (size_t at = 0; at < 100 && peer->closed_count == 0; at++) {
        engine_peer_send(peer, record->data + at, 1);
        engine_fixture_advance(fixture, SECOND);
    }
    assert_int_equal(peer->failure.status, HF_E_RECORD_TIMEOUT);
    assert_in_range(fixture->now_us - begun_us, 30 * SECOND, 32 * SECOND);
    assert_int_equal(peer->data_in_len, 0);
}

/* Slow peers hold all stream buffers: others wait in line, and are served as these run out. */
static void slow_peers_hold_all_buffers(void **state)
{
    struct engine_fixture *fixture = *state;
    struct engine_peer *slow[12];
    for (size_t i = 0; i < 12; i++) {
        slow[i] = engine_peer_new(fixture, true);
        engine_peer_open(slow[i]);
    }
    for (size_t i = 0; i < 12; i++) {
        static const uint8_t beginning[] = {DATA, 3, 3, 0, 64, 1, 2, 3};
        engine_peer_send(slow[i], beginning, sizeof beginning);
    }
    struct hf_counters counters = engine_fixture_counters(fixture);
    assert_int_equal(counters.stream_buffers, fixture->config.stream_buffers_max);
    engine_fixture_check_undisturbed(fixture); /* whole records need no buffer */
    engine_fixture_advance(fixture, 32 * SECOND);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(slow[i]->failure.status, HF_E_RECORD_TIMEOUT);
    for (size_t i = 8; i < 12; i++) {
        assert_int_equal(slow[i]->closed_count, 0);
        assert_int_equal(slow[i]->readable_count, 1);
    }
    engine_fixture_advance(fixture, 32 * SECOND);
    counters = engine_fixture_counters(fixture);
    assert_int_equal(counters.closes[HF_E_RECORD_TIMEOUT], 12);
    assert_int_equal(counters.stream_buffers, 0);
}

/* More ends in one turn than the event queue holds: none is lost, and nothing breaks. */
static void more_ends_than_events(void **state)
{
    struct engine_fixture *fixture = *state;
    static hf_association_id ids[6000];
    for (size_t round = 0; round < 4; round++) {
        uint64_t failed = fixture->stray_failed;
        size_t count = 0;
        hf_engine_begin_turn(fixture->engine, fixture->now_us, fixture->wall_s);
        for (uint32_t i = 0; i < 6000; i++) {
            const struct hf_path path = engine_fixture_path(0x0D000000 + i * 257, 1000);
            if (hf_engine_accept(&ids[count], fixture->engine, ENGINE_FIXTURE_TLS, &path, 0) ==
                HF_OK)
                count++;
        }
        assert_int_equal(count, fixture->config.handshakes_max);
        for (size_t i = 0; i < count; i++) {
            if (round == 0)
                hf_engine_receive_end(fixture->engine, ids[i]);
            else
                hf_engine_close_association(fixture->engine, ids[i], (enum hf_close)(round - 1));
        }
        engine_fixture_advance(fixture, SECOND / 2);
        assert_int_equal(fixture->stray_failed, failed + count);
        assert_int_equal(engine_fixture_counters(fixture).handshakes_open, 0);
        engine_fixture_check_undisturbed(fixture);
    }
    struct hf_counters counters = engine_fixture_counters(fixture);
    assert_int_equal(counters.handshakes[HF_E_TRUNCATED], fixture->config.handshakes_max);
    assert_int_equal(counters.handshakes[HF_E_CLOSED_LOCALLY], 3 * fixture->config.handshakes_max);
}

/* Data without end in one turn: what does not fit the events waits, and comes in order. */
static void more_data_than_events(void **state)
{
    struct engine_fixture *fixture = *state;
    struct engine_peer *peer = engine_peer_new(fixture, true);
    engine_peer_open(peer);
    fixture->is_silent = true;
    for (size_t i = 0; i < 20000; i++) {
        const uint8_t byte = (uint8_t)i;
        psk_client_send(&peer->client, &byte, 1, engine_peer_emit, peer);
    }
    engine_fixture_run(fixture);
    fixture->is_silent = false;
    assert_int_equal(peer->data_in_len, 20000);
    assert_true(engine_peer_echoes(peer));
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, engine_fixture_setup, engine_fixture_teardown)
#define LARGE_TEST(name) cmocka_unit_test_setup_teardown(name, setup_large, engine_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(hellos_without_cookies_cost_nothing),
        TEST(hellos_to_many_addresses_of_ours),
        LARGE_TEST(half_open_dtls_from_one_address),
        LARGE_TEST(half_open_dtls_from_many_addresses),
        cmocka_unit_test(every_address_finds_a_place),
        LARGE_TEST(half_open_from_one_ipv6_site),
        LARGE_TEST(half_open_tls),
        TEST(associations_all_taken),
        TEST(cookie_expires),
        TEST(wrong_cookie_is_replaced),
        TEST(one_byte_a_second),
        TEST(slow_peers_hold_all_buffers),
        LARGE_TEST(more_ends_than_events),
        TEST(more_data_than_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
