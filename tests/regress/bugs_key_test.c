/**
 * bugs_key_test.c - identities, keys and what they protect: bugs other implementations had with
 * them, and identities of every kind. Tests named after a line are one of docs/REGRESSIONS.md.
 */
#include "core.h"
#include "engine_fixture.h"

#include <time.h>

enum { ALERT = 21, HANDSHAKE = 22, DATA = 23 };

static const uint8_t wrong_key[32] = {1, 2, 3};

static struct engine_peer *failing_peer(struct engine_fixture *fixture, bool is_tls, bool is_known)
{
    struct engine_peer *peer = engine_peer_new(fixture, is_tls);
    if (!is_known)
        peer->config.identity = (struct hf_bytes){(const uint8_t *)"nobody", 6};
    peer->config.psk = (struct hf_bytes){wrong_key, sizeof wrong_key};
    return peer;
}

/* Repeats until the handshake slots and the records would be used up many times over. */
static void many_failures(struct engine_fixture *fixture, bool is_tls, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct engine_peer *peer = failing_peer(fixture, is_tls, i % 2);
        engine_peer_start(peer);
        engine_fixture_run(fixture);
        assert_int_equal(peer->established_count, 0);
        engine_peer_free(peer);
    }
}

static void line_24_cve_2022_39368_failures_leak_on_tls(void **state)
{
    struct engine_fixture *fixture = *state;
    many_failures(fixture, true, 10000);
    struct hf_counters counters = engine_fixture_counters(fixture);
    assert_int_equal(counters.handshakes[HF_E_KEY_UNKNOWN], 5000);
    assert_int_equal(counters.handshakes[HF_E_KEY_MISMATCH], 5000);
    assert_int_equal(counters.handshakes_open, 0);
    assert_int_equal(counters.associations, 2);
    engine_peer_open(engine_peer_new(fixture, true));
    engine_peer_open(engine_peer_new(fixture, false));
}

static void line_24_cve_2022_39368_failures_leak_on_dtls(void **state)
{
    struct engine_fixture *fixture = *state;
    many_failures(fixture, false, 10000); /* each at the expense of the oldest failure */
    struct hf_counters counters = engine_fixture_counters(fixture);
    assert_int_equal(counters.handshakes_open, fixture->config.handshakes_max);
    engine_peer_open(engine_peer_new(fixture, false)); /* good ones find room at once */
    engine_peer_open(engine_peer_new(fixture, true));
    engine_fixture_advance(fixture, 61000000);
    counters = engine_fixture_counters(fixture);
    assert_int_equal(counters.handshakes_open, 0);
    assert_int_equal(counters.handshakes[HF_E_KEY_UNKNOWN], 5000);
    assert_int_equal(counters.handshakes[HF_E_KEY_MISMATCH], 5000);
}

/* One handshake with an identity that is known and no other. */
static void use_identity(struct engine_fixture *fixture, bool is_tls, const uint8_t *data,
                         size_t len)
{
    fixture->identity = (struct hf_bytes){data, len};
    struct engine_peer *peer = engine_peer_new(fixture, is_tls);
    uint32_t asked = fixture->request_count;
    engine_peer_open(peer);
    assert_true(engine_peer_echoes(peer));
    assert_int_equal(fixture->request_count, asked + 1);
    assert_int_equal(fixture->asked_len, len);
    assert_memory_equal(fixture->asked, data, len);
    engine_peer_end(peer);
    engine_peer_free(peer);
}

static void line_30_cve_2018_9988_identity_of_any_octets(void **state)
{
    struct engine_fixture *fixture = *state;
    static const char *const odd[] = {
        "\0",     "\0\0\0", "a\0b",      "\xff\xfe", "\xc3\x28", "\xed\xa0\x80", "\xf4\x90\x80\x80",
        "a\nb\r", "%s%n",   "../../etc", "\x7f"};
    static const uint8_t odd_lens[] = {1, 3, 3, 2, 2, 3, 4, 4, 4, 9, 1};
    static const uint16_t lens[] = {1, 2, 127, 128, 129, 255, 256, 257, 511, 1023, 1024};
    uint8_t identity[1024];
    for (int is_tls = 0; is_tls < 2; is_tls++) {
        for (size_t i = 0; i < sizeof odd_lens; i++)
            use_identity(fixture, is_tls, (const uint8_t *)odd[i], odd_lens[i]);
        for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
            for (size_t at = 0; at < lens[i]; at++)
                identity[at] = (uint8_t)(at * 7 + i);
            use_identity(fixture, is_tls, identity, lens[i]);
        }
    }
    fixture->identity = (struct hf_bytes){(const uint8_t *)ENGINE_FIXTURE_IDENTITY, 6};
}

/* Not asked for: empty, or longer than configured. The peer sees what a wrong key would show. */
static void identity_out_of_range(void **state)
{
    struct engine_fixture *fixture = *state;
    static uint8_t identity[4000];
    static const uint16_t lens[] = {0, 1025, 2000, 4000};
    memset(identity, 'i', sizeof identity);
    for (size_t i = 0; i < 4; i++) {
        for (int is_tls = 0; is_tls < 2; is_tls++) {
            struct engine_peer *peer = engine_peer_new(fixture, is_tls);
            uint32_t asked = fixture->request_count;
            peer->config.identity = (struct hf_bytes){identity, lens[i]};
            engine_peer_start(peer);
            engine_fixture_run(fixture);
            assert_int_equal(fixture->request_count, asked);
            assert_int_equal(peer->established_count, 0);
            peer->is_gone = true;
            engine_fixture_advance(fixture, 61000000);
            assert_int_equal(peer->failed_count, 1);
            assert_int_equal(peer->failure.status, HF_E_KEY_UNKNOWN);
            assert_int_equal(peer->client.alert, is_tls ? 20 : HF_ALERT_NONE);
            engine_peer_free(peer);
        }
    }
}

static void identity_of_65535_bytes(void **state)
{
    struct engine_fixture *fixture = *state;
    static uint8_t identity[65535];
    static const uint16_t lens[] = {65535, 65534, 16384, 4095};
    memset(identity, 0xC3, sizeof identity);
    for (size_t i = 0; i < 4; i++) {
        for (int is_tls = 0; is_tls < 2; is_tls++) {
            struct engine_peer *peer = engine_peer_new(fixture, is_tls);
            peer->config.identity = (struct hf_bytes){identity, lens[i]};
            engine_peer_start(peer);
            engine_fixture_run(fixture);
            peer->is_gone = true;
            assert_int_equal(peer->established_count, 0);
            assert_int_equal(engine_fixture_counters(fixture).memory_len,
                             hf_config_memory(&fixture->config));
            engine_fixture_advance(fixture, 61000000);
            assert_int_equal(peer->failed_count, 1);
            assert_int_equal(peer->failure.status, HF_E_MESSAGE_TOO_LONG);
            engine_peer_free(peer);
        }
    }
}

/* With a client's ClientKeyExchange whose inner length says something else. */
static enum psk_client_verdict claim_identity(enum psk_client_tamper_kind kind, uint8_t type,
                                              uint8_t *data, size_t *len, size_t max, void *arg)
{
    const uint16_t *claim = arg;
    (void)len;
    (void)max;
    if (kind == PSK_CLIENT_TAMPER_MESSAGE && type == 16) {
        data[4] = (uint8_t)(*claim >> 8);
        data[5] = (uint8_t)*claim;
    }
    return PSK_CLIENT_SEND;
}

static void line_30_identity_length_beyond_the_message(void **state)
{
    struct engine_fixture *fixture = *state;
    static const uint16_t claims[] = {0, 1, 5, 7, 8, 128, 1024, 16384, 65534, 65535};
    for (size_t i = 0; i < sizeof claims / sizeof claims[0]; i++) {
        for (int is_tls = 0; is_tls < 2; is_tls++) {
            struct engine_peer *peer = engine_peer_new(fixture, is_tls);
            uint16_t claim = claims[i];
            uint32_t asked = fixture->request_count;
            peer->config.tamper = claim_identity;
            peer->config.tamper_arg = &claim;
            engine_peer_start(peer);
            engine_fixture_run(fixture);
            assert_int_equal(fixture->request_count, asked);
            peer->is_gone = true;
            engine_fixture_advance(fixture, 61000000);
            assert_int_equal(peer->established_count, 0);
            assert_int_equal(peer->failure.status, HF_E_DECODE);
            assert_int_equal(peer->client.alert, is_tls ? 50 : HF_ALERT_NONE);
            engine_peer_free(peer);
        }
    }
}

/* Kinds and lengths of what the engine sent, one letter and number a record. */
static void describe(char out[512], const struct engine_peer *peer)
{
    size_t at = 0, head = peer->is_tls ? 5 : 13;
    out[0] = 0;
    for (size_t i = 0; i < peer->received.count; i++) {
        const uint8_t *data = peer->received.items[i].data;
        for (size_t left = peer->received.items[i].len; left > 0;) {
            size_t len = (size_t)(data[head - 2] << 8 | data[head - 1]);
            bool is_plain_alert = data[0] == ALERT && len == 2;
            int written = snprintf(out + at, 512 - at, "%u:%zu:%d ", data[0], len,
                                   is_plain_alert ? data[head + 1] : -1);
            at += (size_t)written;
            assert_in_range(at, 0, 500);
            data += head + len;
            left -= head + len;
        }
    }
}

static void unknown_identity_looks_like_a_wrong_key(void **state)
{
    struct engine_fixture *fixture = *state;
    static const uint16_t suites[] = {0x00A8, 0x00AE, 0xC0A4, 0xC0A8};
    for (size_t i = 0; i < 16; i++) {
        char seen[2][512];
        uint64_t times[2];
        bool is_tls = i / 4 % 2;
        for (int is_known = 0; is_known < 2; is_known++) {
            struct engine_peer *peer = failing_peer(fixture, is_tls, is_known);
            peer->config.suites[0] = suites[i % 4];
            peer->config.extended_master_secret = i < 8;
            uint64_t begun_us = fixture->now_us;
            engine_peer_start(peer);
            engine_fixture_advance(fixture, 70000000);
            times[is_known] = fixture->now_us - begun_us;
            assert_int_equal(peer->failed_count, 1);
            assert_int_equal(peer->failure.status, is_known ? HF_E_KEY_MISMATCH : HF_E_KEY_UNKNOWN);
            describe(seen[is_known], peer);
            engine_peer_free(peer);
        }
        assert_string_equal(seen[0], seen[1]);
        assert_true(strlen(seen[0]) > 0);
        assert_int_equal(times[0], times[1]);
        if (is_tls)
            assert_non_null(strstr(seen[0], "21:2:20 "));
        else
            assert_null(strstr(seen[0], "21:"));
    }
}

static int compare_us(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Printed, never judged: a loaded machine says nothing about time. */
static void unknown_identity_takes_as_long(void **state)
{
    enum { ROUNDS = 400 };
    struct engine_fixture *fixture = *state;
    static double us[2][ROUNDS];
    for (size_t i = 0; i < 2 * ROUNDS; i++) {
        bool is_known = i % 2;
        struct timespec begun, ended;
        struct engine_peer *peer = failing_peer(fixture, true, is_known);
        engine_peer_start(peer);
        clock_gettime(CLOCK_MONOTONIC, &begun);
        engine_fixture_run(fixture);
        clock_gettime(CLOCK_MONOTONIC, &ended);
        us[is_known][i / 2] = (double)(ended.tv_sec - begun.tv_sec) * 1e6 +
                              (double)(ended.tv_nsec - begun.tv_nsec) / 1e3;
        assert_int_equal(peer->failed_count, 1);
        engine_peer_free(peer);
    }
    for (size_t i = 0; i < 2; i++)
        qsort(us[i], ROUNDS, sizeof us[i][0], compare_us);
    print_message("whole failed handshake, median: unknown identity %.1f us, wrong key %.1f us\n",
                  us[0][ROUNDS / 2], us[1][ROUNDS / 2]);
}

/* Notes the explicit nonce or IV of every protected record the engine sent. */
static size_t gather_nonces(uint8_t (*out)[16], size_t max, const struct engine_peer *peer,
                            size_t nonce_len)
{
    size_t count = 0, head = peer->is_tls ? 5 : 13;
    bool is_protected = false;
    for (size_t i = 0; i < peer->received.count; i++) {
        const uint8_t *data = peer->received.items[i].data;
        for (size_t left = peer->received.items[i].len; left > 0;) {
            size_t len = (size_t)(data[head - 2] << 8 | data[head - 1]);
            bool is_epoch1 = peer->is_tls ? is_protected : data[4] == 1;
            is_protected |= data[0] == 20;
            if (is_epoch1) {
                assert_in_range(count, 0, max - 1);
                memset(out[count], 0, 16);
                memcpy(out[count++], data + head, nonce_len);
            }
            data += head + len;
            left -= head + len;
        }
    }
    return count;
}

static void line_34_cve_2022_23408_nonces_never_repeat(void **state)
{
    struct engine_fixture *fixture = *state;
    static const uint16_t suites[] = {0x00A8, 0x00AE, 0xC0A4, 0xC0A8};
    static uint8_t nonces[400][16];
    for (size_t i = 0; i < 16; i++) {
        struct engine_peer *peer = engine_peer_new(fixture, i / 4 % 2);
        bool is_cbc = suites[i % 4] == 0x00AE;
        size_t nonce_len = is_cbc ? 16 : 8;
        peer->config.suites[0] = suites[i % 4];
        peer->config.encrypt_then_mac = i >= 8;
        engine_peer_to_stage(peer, ENGINE_STAGE_CHANGED);
        peer->is_deaf = true;
        engine_peer_deliver(peer, peer->delivered_count, peer->sent.count);
        for (size_t k = 0; k < 30 && !peer->is_tls; k++) { /* the flight is sent again, and anew */
            engine_peer_forget(peer);
            engine_fixture_advance(fixture, 1000);
            psk_client_tick(&peer->client, peer->client.due_us, engine_peer_emit, peer);
            engine_peer_deliver(peer, 0, peer->sent.count);
            size_t again = gather_nonces(nonces + 370 + k, 1, peer, nonce_len);
            assert_int_equal(again, 1);
        }
        size_t held = peer->is_tls ? 0 : 30;
        memmove(nonces, nonces + 370, held * sizeof nonces[0]);
        if (held)
            engine_peer_forget(peer);
        for (size_t k = 0; k < 300; k++)
            assert_int_equal(
                hf_engine_send(fixture->engine, peer->id, (struct hf_bytes){wrong_key, k % 2}),
                HF_OK);
        hf_engine_close_association(fixture->engine, peer->id, HF_CLOSE_NOTIFY); /* an alert too */
        engine_fixture_run(fixture);
        size_t count = held + gather_nonces(nonces + held, 400 - held, peer, nonce_len);
        assert_in_range(count, 301, 340);
        for (size_t a = 0; a < count; a++) {
            for (size_t b = 0; b < a; b++)
                assert_memory_not_equal(nonces[a], nonces[b], nonce_len);
        }
        for (size_t a = 1; is_cbc && a < count; a++) /* nor is the next one the last plus one */
            assert_memory_not_equal(nonces[a], nonces[a - 1], 8);
    }
}

/* Line 35: whatever is wrong inside a CBC record, the peer learns no more than that it was. */
static void line_35_cve_2013_0169_bad_padding_or_bad_mac(void **state)
{
    struct engine_fixture *fixture = *state;
    static const uint8_t text[40] = "forty bytes of text, and then padding";
    for (size_t i = 0; i < 4; i++) {
        bool is_tls = i % 2;
        for (size_t at = 0; at < 16 + 40 + 32 + 8; at++) {
            struct engine_peer *peer = engine_peer_new(fixture, is_tls);
            size_t head = is_tls ? 5 : 13;
            peer->config.suites[0] = 0x00AE;
            peer->config.encrypt_then_mac = i / 2;
            engine_peer_open(peer);
            peer->is_held = true;
            psk_client_send(&peer->client, text, sizeof text, engine_peer_emit, peer);
            struct engine_wire_item *item = &peer->sent.items[peer->sent.count - 1];
            item->data[head + at % (item->len - head)] ^= 0x41; /* IV, text, MAC, padding */
            uint64_t before = engine_fixture_rejected(fixture);
            size_t received = peer->received.count;
            engine_peer_deliver(peer, peer->sent.count - 1, peer->sent.count);
            assert_int_equal(peer->data_in_len, 0);
            assert_int_equal(engine_fixture_rejected(fixture), before + 1);
            if (is_tls) {
                assert_int_equal(peer->failure.status, HF_E_BAD_RECORD_MAC);
                assert_int_equal(peer->client.alert, 20);
            } else {
                assert_int_equal(peer->received.count, received);
            }
            engine_peer_end(peer);
            engine_peer_free(peer);
        }
    }
}

static void line_35_record_too_short_for_its_mac(void **state)
{
    struct engine_fixture *fixture = *state;
    static const uint8_t junk[16 + 16 + 32 + 16] = {9};
    for (size_t i = 0; i < 4; i++) {
        for (uint8_t len = 0; len < sizeof junk; len++) {
            struct engine_peer *peer = engine_peer_new(fixture, i % 2);
            peer->config.suites[0] = 0x00AE;
            peer->config.encrypt_then_mac = i / 2;
            engine_peer_open(peer);
            const struct psk_client_record record = {
                .type = DATA, .epoch = 1, .seq = 5, .payload = {junk, len}};
            uint64_t before = engine_fixture_rejected(fixture);
            engine_peer_send_record(peer, &record);
            assert_int_equal(engine_fixture_rejected(fixture), before + 1);
            if (i % 2) {
                assert_int_equal(peer->failure.status, HF_E_BAD_RECORD_MAC);
                assert_int_equal(peer->client.alert, 20);
            } else {
                assert_true(engine_peer_echoes(peer));
            }
            engine_peer_end(peer);
            engine_peer_free(peer);
        }
    }
}

static struct hf_association *inside(const struct engine_peer *peer)
{
    return hf_pool_at(&peer->fixture->engine->associations, (uint32_t)(peer->id >> 32) & 0xFFFFFF);
}

static void line_46_sequence_numbers_never_wrap(void **state)
{
    struct engine_fixture *fixture = *state;
    const uint64_t limit = HF_RECORDS_PER_KEY_MAX;
    for (int is_tls = 0; is_tls < 2; is_tls++) {
        struct engine_peer *peer = engine_peer_new(fixture, is_tls);
        engine_peer_open(peer);
        uint64_t epoch = is_tls ? 0 : UINT64_C(1) << 48;
        inside(peer)->write_seq = epoch | (limit - 2); /* as if so many had been sent */
        peer->client.receive_seq = limit - 2;
        assert_true(engine_peer_echoes(peer));
        peer->is_deaf = true;
        const struct hf_bytes data = {wrong_key, 4};
        (void)!hf_engine_send(fixture->engine, peer->id, data);
        assert_int_not_equal(hf_engine_send(fixture->engine, peer->id, data), HF_OK);
        for (size_t i = 0; i < 100; i++)
            (void)!hf_engine_send(fixture->engine, peer->id, data);
        engine_fixture_run(fixture);
        assert_int_equal(peer->closed_count, 1);
        assert_int_equal(peer->failure.status, HF_E_SEQUENCE_LIMIT);
        uint64_t top = 0; /* no record after the last one, and none that begins anew */
        for (size_t i = 0; i < peer->received.count && !is_tls; i++) {
            uint64_t seq = 0;
            for (size_t at = 5; at < 11; at++)
                seq = seq << 8 | peer->received.items[i].data[at];
            assert_true(peer->received.items[i].data[4] == 0 || seq <= limit);
            top = seq > top ? seq : top;
        }
        assert_in_range(top, 0, limit);
    }
}

/* Not even a last word is said under a number that is used up. */
static void line_46_no_alert_beyond_the_last_number(void **state)
{
    struct engine_fixture *fixture = *state;
    for (size_t i = 0; i < 4; i++) {
        bool is_tls = i % 2, is_used_up = i / 2;
        struct engine_peer *peer = engine_peer_new(fixture, is_tls);
        engine_peer_open(peer);
        uint64_t epoch = is_tls ? 0 : UINT64_C(1) << 48;
        inside(peer)->write_seq = epoch | (HF_RECORDS_PER_KEY_MAX - !is_used_up);
        size_t received = peer->received.count;
        peer->is_deaf = true;
        hf_engine_close_association(fixture->engine, peer->id, HF_CLOSE_NOTIFY);
        engine_fixture_run(fixture);
        assert_int_equal(peer->closed_count, 1);
        assert_int_equal(peer->received.count, received + !is_used_up);
    }
}

static void line_46_sequence_numbers_received(void **state)
{
    struct engine_fixture *fixture = *state;
    struct engine_peer *peer = engine_peer_new(fixture, true);
    engine_peer_open(peer);
    inside(peer)->read_seq = HF_RECORDS_PER_KEY_MAX - 1;
    peer->client.send_seq[1] = HF_RECORDS_PER_KEY_MAX - 1;
    assert_true(engine_peer_echoes(peer));
    assert_false(engine_peer_echoes(peer));
    assert_int_equal(peer->failure.status, HF_E_SEQUENCE_LIMIT);
    /* DTLS: the number is in the record, and the last of all of them is no special case. */
    peer = engine_peer_new(fixture, false);
    engine_peer_open(peer);
    struct psk_client_record record = {.type = DATA,
                                       .epoch = 1,
                                       .is_protected = true,
                                       .seq = HF_DATAGRAM_SEQ_MAX,
                                       .payload = {wrong_key, 4}};
    engine_peer_send_record(peer, &record);
    assert_int_equal(peer->data_in_len, 4);
    uint64_t before = engine_fixture_drops(fixture, HF_DROP_REPLAY);
    engine_peer_send_record(peer, &record); /* again */
    record.seq = 0;                         /* wrapped */
    engine_peer_send_record(peer, &record);
    record.seq = HF_DATAGRAM_SEQ_MAX - 64; /* left of the window */
    engine_peer_send_record(peer, &record);
    assert_int_equal(engine_fixture_drops(fixture, HF_DROP_REPLAY), before + 3);
    assert_int_equal(peer->data_in_len, 4);
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, engine_fixture_setup, engine_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(line_24_cve_2022_39368_failures_leak_on_tls),
        TEST(line_24_cve_2022_39368_failures_leak_on_dtls),
        TEST(line_30_cve_2018_9988_identity_of_any_octets),
        TEST(line_30_identity_length_beyond_the_message),
        TEST(identity_out_of_range),
        TEST(identity_of_65535_bytes),
        TEST(unknown_identity_looks_like_a_wrong_key),
        TEST(unknown_identity_takes_as_long),
        TEST(line_34_cve_2022_23408_nonces_never_repeat),
        TEST(line_35_cve_2013_0169_bad_padding_or_bad_mac),
        TEST(line_35_record_too_short_for_its_mac),
        TEST(line_46_sequence_numbers_never_wrap),
        TEST(line_46_no_alert_beyond_the_last_number),
        TEST(line_46_sequence_numbers_received),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
