/**
 * bugs_hello_test.c - bugs other implementations had with ClientHello and cookies: each test is
 * one line of docs/REGRESSIONS.md and bears its number.
 */
#include "engine_fixture.h"
#include "raw_hello.h"

#define HELLO_VERIFY_LEN 45 /* record and handshake header, version, a cookie of 17 bytes */

static uint8_t wire[RAW_HELLO_LEN_MAX];

static size_t say(struct engine_peer *peer, const struct raw_hello *hello)
{
    size_t len = raw_hello_record(wire, hello);
    engine_peer_forget(peer);
    engine_peer_send(peer, wire, len);
    return len;
}

/* Completes the hello with the cookie that belongs to it. */
static void with_cookie(struct engine_peer *peer, struct raw_hello *hello, uint8_t store[32])
{
    struct raw_hello honest = {.is_dtls = true,
                               .random = hello->random,
                               .version = hello->version,
                               .session_id = hello->session_id};
    say(peer, &honest);
    assert_int_equal(peer->received.count, 1);
    struct hf_bytes cookie = raw_cookie(peer->received.items[0].data, peer->received.items[0].len);
    assert_in_range(cookie.len, 1, 32);
    memcpy(store, cookie.data, cookie.len);
    hello->cookie = (struct hf_bytes){store, cookie.len};
    hello->message_seq = 1;
    hello->seq = 1;
    engine_peer_forget(peer);
}

/* A TLS hello that must end in `status`, its alert on the wire and nothing else. */
static void refused_on_tls(struct engine_fixture *fixture, const struct raw_hello *hello,
                           enum hf_status status)
{
    struct engine_peer *peer = engine_peer_new(fixture, true);
    uint64_t before = engine_fixture_rejected(fixture);
    say(peer, hello);
    assert_int_equal(peer->failed_count, 1);
    assert_int_equal(peer->failure.status, status);
    assert_int_equal(peer->received.total_len, 7);
    const uint8_t *alert = peer->received.items[0].data;
    assert_int_equal(alert[0], 21);
    assert_int_equal(alert[5], 2);
    assert_int_equal(alert[6], hf_status_alert(status));
    assert_int_equal(engine_fixture_rejected(fixture), before + 1);
    engine_peer_free(peer);
}

/* A DTLS hello that must be dropped without a word. */
static void dropped_on_dtls(struct engine_peer *peer, const struct raw_hello *hello,
                            enum hf_drop cause)
{
    uint64_t before = engine_fixture_drops(peer->fixture, cause);
    uint32_t open = engine_fixture_counters(peer->fixture).handshakes_open;
    say(peer, hello);
    assert_int_equal(peer->received.count, 0);
    assert_int_equal(engine_fixture_drops(peer->fixture, cause), before + 1);
    assert_int_equal(engine_fixture_counters(peer->fixture).handshakes_open, open);
}

static void line_01_cve_2021_42143_odd_suite_length(void **state)
{
    struct engine_fixture *fixture = *state;
    static const uint8_t suites[9] = {0xC0, 0xA8, 0x00, 0xAE, 0x00, 0xFF, 0x00, 0xA8, 0xC0};
    struct engine_peer *peer = engine_peer_new(fixture, false);
    uint8_t store[32];
    for (size_t len = 0; len <= sizeof suites; len++) {
        static const uint32_t overlong[] = {100, 0x7FFF, 0xFFFE, 0xFFFF};
        struct raw_hello hello = {.suites = {suites, len}};
        bool is_odd = len % 2 == 1 || len == 0;
        if (is_odd)
            refused_on_tls(fixture, &hello, HF_E_DECODE);
        for (size_t i = 0; i < sizeof overlong / sizeof overlong[0]; i++) {
            hello.suites_claim = RAW_CLAIM(overlong[i]);
            refused_on_tls(fixture, &hello, HF_E_DECODE);
        }
        hello = (struct raw_hello){.is_dtls = true, .suites = {suites, len}};
        for (int has_cookie = 0; has_cookie < 2; has_cookie++) {
            if (has_cookie)
                with_cookie(peer, &hello, store);
            hello.suites_claim = RAW_HONEST;
            if (is_odd)
                dropped_on_dtls(peer, &hello, HF_DROP_HELLO_MALFORMED);
            for (size_t i = 0; i < sizeof overlong / sizeof overlong[0]; i++) {
                hello.suites_claim = RAW_CLAIM(overlong[i]);
                dropped_on_dtls(peer, &hello, HF_DROP_HELLO_MALFORMED);
            }
        }
    }
}

/* One HelloVerifyRequest, shorter than what asked for it, and no memory of it. */
static void verified_only(struct engine_peer *peer, const struct raw_hello *hello)
{
    struct engine_fixture *fixture = peer->fixture;
    uint64_t sent = engine_fixture_counters(fixture).cookies_sent;
    uint32_t open = engine_fixture_counters(fixture).handshakes_open;
    size_t asked_len = say(peer, hello);
    assert_int_equal(peer->received.count, 1);
    assert_int_equal(peer->received.items[0].len, HELLO_VERIFY_LEN);
    assert_true(raw_cookie(peer->received.items[0].data, HELLO_VERIFY_LEN).len > 0);
    assert_in_range(peer->received.total_len, 1, asked_len);
    assert_int_equal(engine_fixture_counters(fixture).cookies_sent, sent + 1);
    assert_int_equal(engine_fixture_counters(fixture).handshakes_open, open);
}

static void line_11_cve_2022_34293_cookie_check_skipped(void **state)
{
    struct engine_fixture *fixture = *state;
    struct engine_peer *peer = engine_peer_new(fixture, false);
    static const uint16_t seqs[] = {0, 1, 2, 0x7FFF, 0xFFFF};
    static const uint8_t session_id[32] = {0x53};
    uint8_t cookie[255], good[32];
    struct raw_hello genuine = {.is_dtls = true};
    with_cookie(peer, &genuine, good);
    memset(cookie, 0x43, sizeof cookie);
    memcpy(cookie, good, genuine.cookie.len); /* the right one, and more */
    for (size_t len = 0; len <= sizeof cookie; len++) {
        const struct raw_hello hello = {.is_dtls = true, .cookie = {cookie, len}, .message_seq = 1};
        if (len != genuine.cookie.len)
            verified_only(peer, &hello);
    }
    for (size_t bit = 0; bit < 8 * genuine.cookie.len; bit++) {
        struct raw_hello hello = genuine;
        memcpy(cookie, good, genuine.cookie.len);
        cookie[bit / 8] ^= (uint8_t)(1u << bit % 8);
        hello.cookie.data = cookie;
        verified_only(peer, &hello);
    }
    for (size_t i = 0; i < sizeof seqs / sizeof seqs[0]; i++) {
        struct raw_hello hello = {.is_dtls = true, .message_seq = seqs[i], .seq = seqs[i]};
        verified_only(peer, &hello);
        hello.session_id = (struct hf_bytes){session_id, sizeof session_id};
        verified_only(peer, &hello);
        hello.fragment_len = 80; /* a first fragment that shows the front of the hello */
        verified_only(peer, &hello);
        hello.cookie = (struct hf_bytes){cookie, 17};
        hello.fragment_len = 86;
        verified_only(peer, &hello);
    }
    struct raw_hello stolen = genuine; /* the right cookie from another address or random */
    verified_only(engine_peer_new(fixture, false), &stolen);
    static const uint8_t other_random[32] = {1};
    stolen.random = other_random;
    verified_only(peer, &stolen);
}

static void line_12_cve_2022_2576_unknown_session_skips_cookie(void **state)
{
    struct engine_fixture *fixture = *state;
    uint8_t session_id[32], store[32];
    for (uint8_t len = 1; len <= 32; len++) {
        struct engine_peer *peer = engine_peer_new(fixture, false);
        memset(session_id, len, sizeof session_id);
        struct raw_hello hello = {.is_dtls = true, .session_id = {session_id, len}};
        verified_only(peer, &hello);
        with_cookie(peer, &hello, store);
        size_t asked_len = say(peer, &hello);
        assert_in_range(peer->received.total_len, 1, 2 * asked_len); /* no certificate, no hint */
        assert_int_equal(peer->received.items[0].data[13], 2); /* a full handshake's ServerHello */
        assert_int_equal(peer->received.items[0].data[13 + 12 + 34], 0); /* with no session */
        engine_fixture_advance(fixture, 61000000);
    }
}

static void line_13_matrixssl_31_one_datagram_many_answers(void **state)
{
    struct engine_fixture *fixture = *state;
    struct engine_peer *peer = engine_peer_new(fixture, false);
    static uint8_t datagram[65000];
    struct raw_hello hello = {.is_dtls = true, .has_no_extensions = true};
    for (size_t copies = 2; copies <= 600; copies += copies < 10 ? 1 : 118) {
        size_t len = 0;
        for (size_t i = 0; i < copies; i++) {
            hello.seq = i;
            size_t part = raw_hello_record(wire, &hello);
            memcpy(datagram + len, wire, part);
            len += part;
        }
        uint64_t rated = engine_fixture_drops(fixture, HF_DROP_RATE);
        engine_peer_forget(peer);
        engine_peer_send(peer, datagram, len);
        assert_int_equal(peer->received.count, 1);
        assert_int_equal(peer->received.total_len, HELLO_VERIFY_LEN);
        assert_int_equal(engine_fixture_drops(fixture, HF_DROP_RATE), rated + copies - 1);
    }
    /* What is no hello gets no answer at all: no alert to one who was not verified. */
    static const uint8_t junk[63] = {22, 0xFE, 0xFD};
    engine_peer_forget(peer);
    for (size_t len = 0; len <= sizeof junk; len++)
        engine_peer_send(peer, junk, len);
    assert_int_equal(peer->received.count, 0);
}

static void line_14_cve_2022_35409_cookie_length_past_the_end(void **state)
{
    struct engine_fixture *fixture = *state;
    struct engine_peer *peer = engine_peer_new(fixture, false);
    uint8_t bytes[255] = {0};
    struct raw_hello probe = {.is_dtls = true, .has_no_extensions = true};
    size_t left = raw_hello_body(wire, &probe) - 2 - 32 - 1; /* after the session id's length */
    for (uint32_t claim = 0; claim < 256; claim++) {
        struct raw_hello hello = {.is_dtls = true, .has_no_extensions = true};
        if (claim > left) {
            hello.session_id_claim = RAW_CLAIM(claim);
            dropped_on_dtls(peer, &hello, HF_DROP_HELLO_MALFORMED);
            hello.session_id_claim = RAW_HONEST;
            hello.cookie_claim = RAW_CLAIM(claim);
            dropped_on_dtls(peer, &hello, HF_DROP_HELLO_MALFORMED);
        }
        if (claim > 32) { /* whole, but longer than a session id may be */
            hello = (struct raw_hello){.is_dtls = true, .session_id = {bytes, claim}};
            dropped_on_dtls(peer, &hello, HF_DROP_HELLO_MALFORMED);
            hello.is_dtls = false;
            refused_on_tls(fixture, &hello, HF_E_DECODE);
        }
    }
    /* A first fragment that ends within any of the fields before the suites. */
    for (uint32_t len = 1; len < 2 + 32 + 1 + 1; len++) {
        const struct raw_hello hello = {.is_dtls = true, .fragment_len = len};
        dropped_on_dtls(peer, &hello, HF_DROP_HELLO_MALFORMED);
    }
}

/* Appends an extension to `block`. */
static void add_extension(uint8_t *block, size_t *len, uint16_t type, size_t body_len)
{
    const uint8_t head[4] = {(uint8_t)(type >> 8), (uint8_t)type, (uint8_t)(body_len >> 8),
                             (uint8_t)body_len};
    memcpy(block + *len, head, sizeof head);
    memset(block + *len + sizeof head, 0, body_len);
    *len += sizeof head + body_len;
}

static void line_37_cve_2022_39173_duplicate_extensions(void **state)
{
    struct engine_fixture *fixture = *state;
    static const uint16_t types[] = {0, 1, 10, 13, 16, 22, 23, 28, 35, 43, 51, 0x1A1A, 0xFF01};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        struct engine_peer *peer = engine_peer_new(fixture, false);
        uint8_t block[64], store[32];
        size_t len = 0;
        static const uint8_t body_lens[] = {6, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1};
        for (size_t copy = 0; copy < 2; copy++) {
            add_extension(block, &len, types[i], body_lens[i]);
            uint8_t *body = block + len - body_lens[i];
            if (types[i] == 0)
                memcpy(body, "\x00\x04\x00\x00\x01x", 6);
            else if (types[i] == 1 || types[i] == 28)
                body[0] = 1;
            add_extension(block, &len, (uint16_t)(0x2A2A + copy), 0);
        }
        struct raw_hello hello = {.extensions = {block, len}};
        refused_on_tls(fixture, &hello, HF_E_ILLEGAL_PARAMETER);
        hello.is_dtls = true;
        verified_only(peer, &hello); /* the first hello is not judged, the second is */
        with_cookie(peer, &hello, store);
        say(peer, &hello);
        assert_int_equal(peer->failure.status, HF_E_ILLEGAL_PARAMETER);
        assert_int_equal(peer->received.total_len, 15); /* now verified: it may have an alert */
        assert_int_equal(peer->received.items[0].data[14], 47);
    }
}

/* A hello that is odd but right: the server answers with its flight. */
static void answered(struct engine_fixture *fixture, struct raw_hello hello)
{
    for (int is_dtls = 0; is_dtls < 2; is_dtls++) {
        struct engine_peer *peer = engine_peer_new(fixture, !is_dtls);
        uint8_t store[32];
        hello.is_dtls = is_dtls;
        if (is_dtls)
            with_cookie(peer, &hello, store);
        say(peer, &hello);
        assert_int_equal(peer->failed_count, 0);
        assert_true(peer->received.count > 0);
        assert_int_equal(peer->received.items[0].data[is_dtls ? 13 : 5], 2);
        engine_fixture_advance(fixture, 61000000);
    }
}

static void line_37_cve_2022_39173_duplicate_and_many_suites(void **state)
{
    static uint8_t suites[2000];
    for (size_t i = 0; i < sizeof suites; i += 2) {
        suites[i] = (uint8_t)(i / 2 % 3 == 0 ? 0xC0 : 0x00);
        suites[i + 1] = (uint8_t)(i / 2 % 3 == 0 ? 0xA8 : 0xAE);
    }
    answered(*state, (struct raw_hello){.suites = {suites, 2}});
    answered(*state, (struct raw_hello){.suites = {suites, 12}});
    answered(*state, (struct raw_hello){.suites = {suites, sizeof suites}});
    for (size_t i = 0; i + 2 < sizeof suites; i++)
        suites[i] = 0x0A; /* GREASE, and the only usable one last */
    answered(*state, (struct raw_hello){.suites = {suites, sizeof suites}});
}

static void line_37_many_extensions(void **state)
{
    struct engine_fixture *fixture = *state;
    static uint8_t block[4000];
    size_t len = 0;
    for (uint16_t i = 0; i < 64; i++)
        add_extension(block, &len, (uint16_t)(0x4000 + i), i % 5);
    answered(fixture, (struct raw_hello){.extensions = {block, len}});
    for (uint16_t i = 64; i < 800; i++)
        add_extension(block, &len, (uint16_t)(0x4000 + i), 0);
    answered(fixture, (struct raw_hello){.extensions = {block, len}});
    /* One of them twice, wherever the first was. */
    for (uint16_t i = 0; i < 800; i++) {
        size_t with_repeat = len;
        add_extension(block, &with_repeat, (uint16_t)(0x4000 + i), 0);
        const struct raw_hello hello = {.extensions = {block, with_repeat}};
        refused_on_tls(fixture, &hello, HF_E_ILLEGAL_PARAMETER);
    }
}

static void line_38_no_signature_algorithms(void **state)
{
    static const uint8_t empty_list[] = {0, 13, 0, 2, 0, 0};
    static const uint8_t empty_body[] = {0, 13, 0, 0};
    static const uint8_t nothing_in_common[] = {0, 13, 0, 4, 0, 2, 0x2A, 0x2A};
    answered(*state, (struct raw_hello){.extensions = {empty_list, sizeof empty_list}});
    answered(*state, (struct raw_hello){.extensions = {empty_body, sizeof empty_body}});
    answered(*state, (struct raw_hello){.extensions = {nothing_in_common, 8}});
    /* Only suites that would need them. */
    struct raw_hello hello = {.suites = {(const uint8_t *)"\xC0\x23\xC0\xAE", 4}};
    refused_on_tls(*state, &hello, HF_E_NO_COMMON_SUITE);
    hello.extensions = (struct hf_bytes){empty_list, sizeof empty_list};
    refused_on_tls(*state, &hello, HF_E_NO_COMMON_SUITE);
}

static void line_39_cve_2024_23744_no_extensions_block(void **state)
{
    struct engine_fixture *fixture = *state;
    static const uint8_t nothing[1];
    answered(fixture, (struct raw_hello){.has_no_extensions = true});
    answered(fixture, (struct raw_hello){.extensions = {nothing, 0}}); /* a block, but empty */
    for (int is_tls = 0; is_tls < 2; is_tls++) {
        struct engine_peer *peer = engine_peer_new(fixture, is_tls);
        peer->config.no_extensions = true;
        engine_peer_open(peer);
        assert_true(engine_peer_echoes(peer));
        struct engine_peer *next = engine_peer_new(fixture, is_tls);
        engine_peer_open(next);
        assert_true(engine_peer_echoes(next));
    }
}

static void line_42_encrypt_then_mac_only_with_cbc(void **state)
{
    struct engine_fixture *fixture = *state;
    static const uint16_t suites[] = {0x00A8, 0x00AE, 0xC0A4, 0xC0A8};
    for (size_t i = 0; i < 16; i++) {
        struct engine_peer *peer = engine_peer_new(fixture, i / 4 % 2);
        bool is_offered = i >= 8;
        peer->config.suites[0] = suites[i % 4];
        peer->config.encrypt_then_mac = is_offered;
        engine_peer_open(peer);
        struct hf_association_info info;
        assert_int_equal(hf_engine_association_info(&info, fixture->engine, peer->id), HF_OK);
        assert_int_equal(info.suite, suites[i % 4]);
        assert_int_equal(info.encrypt_then_mac, is_offered && suites[i % 4] == 0x00AE);
        assert_int_equal(peer->client.is_etm, info.encrypt_then_mac);
        assert_true(engine_peer_echoes(peer));
    }
}

/* Nothing is ever resumed here: a session id that names a live association gives nothing away. */
static void line_43_session_id_of_another_association(void **state)
{
    struct engine_fixture *fixture = *state;
    for (int is_tls = 0; is_tls < 2; is_tls++) {
        struct engine_peer *peer = engine_peer_new(fixture, is_tls);
        uint32_t asked = fixture->request_count;
        peer->config.session_id_len = 32;
        engine_peer_open(peer);
        assert_int_equal(fixture->request_count, asked + 1);
        assert_int_equal(fixture->asked_listener_index, is_tls);
        assert_int_equal(peer->client.session_id_len, 0);
        struct engine_peer *thief = engine_peer_new(fixture, is_tls);
        thief->config.session_id_len = 32;
        thief->config.identity = (struct hf_bytes){(const uint8_t *)"somebody", 8};
        thief->config.psk.len = 16;
        engine_peer_start(thief);
        engine_fixture_run(fixture);
        assert_int_equal(fixture->request_count, asked + 2);
        assert_int_equal(thief->established_count, 0);
        assert_true(engine_peer_echoes(peer));
    }
}

/* It must not (RFC 6347 4.2.1), but otherwise no ticket of its would ever resume. */
static void line_47_mbedtls_another_session_id_behind_the_cookie(void **state)
{
    struct engine_fixture *fixture = *state;
    static const uint8_t other[32] = {2};
    uint8_t session_id[32] = {1}, store[32];
    for (uint8_t len = 0; len <= 32; len += 8) {
        struct engine_peer *peer = engine_peer_new(fixture, false);
        struct raw_hello hello = {.is_dtls = true, .session_id = {session_id, sizeof session_id}};
        verified_only(peer, &hello);
        with_cookie(peer, &hello, store);
        hello.session_id = (struct hf_bytes){other, len};
        say(peer, &hello);
        assert_int_equal(peer->received.items[0].data[13], 2); /* ServerHello */
        engine_fixture_advance(fixture, 61000000);
    }
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, engine_fixture_setup, engine_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(line_01_cve_2021_42143_odd_suite_length),
        TEST(line_11_cve_2022_34293_cookie_check_skipped),
        TEST(line_12_cve_2022_2576_unknown_session_skips_cookie),
        TEST(line_13_matrixssl_31_one_datagram_many_answers),
        TEST(line_14_cve_2022_35409_cookie_length_past_the_end),
        TEST(line_37_cve_2022_39173_duplicate_extensions),
        TEST(line_37_cve_2022_39173_duplicate_and_many_suites),
        TEST(line_37_many_extensions),
        TEST(line_38_no_signature_algorithms),
        TEST(line_39_cve_2024_23744_no_extensions_block),
        TEST(line_42_encrypt_then_mac_only_with_cbc),
        TEST(line_43_session_id_of_another_association),
        TEST(line_47_mbedtls_another_session_id_behind_the_cookie),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
