/**
 * bugs_state_test.c - messages in the wrong order, in every state of the server, on TLS and DTLS.
 * Tests named after a line are one of docs/REGRESSIONS.md.
 *
 * On TLS whatever is out of order ends the handshake with unexpected_message. On DTLS anyone may
 * have sent what is not protected: it is dropped, and the handshake still completes.
 */
#include "engine_fixture.h"

enum { CCS = 20, ALERT = 21, HANDSHAKE = 22, DATA = 23 };
enum { UNEXPECTED_MESSAGE = 10 };

static struct engine_peer *peer_at(struct engine_fixture *fixture, bool is_tls,
                                   enum engine_stage stage)
{
    struct engine_peer *peer = engine_peer_new(fixture, is_tls);
    engine_peer_to_stage(peer, stage);
    return peer;
}

/* The last alert the engine sent in plain, or -1. */
static int last_alert(const struct engine_peer *peer)
{
    size_t head = peer->is_tls ? 5 : 13;
    for (size_t i = peer->received.count; i-- > 0;) {
        const struct engine_wire_item *item = &peer->received.items[i];
        if (item->len == head + 2 && item->data[0] == ALERT)
            return item->data[head + 1];
    }
    return -1;
}

/* Queues one plain record, or one sealed if the peer's reading side is protected by now. */
static void say(struct engine_peer *peer, enum engine_stage stage, uint8_t type, const void *data,
                size_t len)
{
    const struct psk_client_record record = {
        .type = type,
        .version = peer->is_tls ? 0x0303 : 0xFEFD,
        .epoch = stage >= ENGINE_STAGE_CHANGED,
        /* On TLS the number that is due; on DTLS one the client does not come to. */
        .seq = peer->is_tls ? stage >= ENGINE_STAGE_FINISHED : 40,
        .is_protected = stage >= ENGINE_STAGE_CHANGED,
        .payload = {data, len},
    };
    psk_client_send_record(&peer->client, &record, engine_peer_emit, peer);
    const struct engine_wire_item *item = &peer->sent.items[--peer->sent.count];
    engine_peer_send(peer, item->data, item->len);
    free(item->data);
}

/* A handshake message as it stands in a record. */
static size_t make_message(uint8_t *out, bool is_tls, uint8_t type, uint16_t seq, const void *body,
                           uint8_t body_len)
{
    const uint8_t head[12] = {type, 0, 0, body_len, (uint8_t)(seq >> 8), (uint8_t)seq, 0, 0,
                              0,    0, 0, body_len};
    size_t head_len = is_tls ? 4 : 12;
    memcpy(out, head, head_len);
    if (body_len > 0)
        memcpy(out + head_len, body, body_len);
    return head_len + body_len;
}

/* What the engine must make of something out of order. `stage` says whether it was protected. */
static void check_refused(struct engine_peer *peer, enum engine_stage stage, enum hf_status status)
{
    if (peer->is_tls) {
        assert_int_equal(peer->failed_count, 1);
        assert_int_equal(peer->failure.status, status);
        assert_int_equal(peer->failure.alert, hf_status_alert(status));
        assert_int_equal(last_alert(peer), hf_status_alert(status));
        assert_int_equal(peer->established_count, 0);
        return;
    }
    assert_int_equal(peer->failed_count, 0);
    assert_int_equal(last_alert(peer), -1);
    if (stage < ENGINE_STAGE_OPEN)
        assert_int_equal(peer->established_count, 0);
    engine_peer_finish(peer);
}

static void line_06_cve_2014_0224_early_change_cipher_spec(void **state)
{
    struct engine_fixture *fixture = *state;
    static const uint8_t ccs[] = {1};
    for (int is_tls = 0; is_tls < 2; is_tls++) {
        for (enum engine_stage stage = ENGINE_STAGE_NOTHING; stage <= ENGINE_STAGE_HELLO; stage++) {
            struct engine_peer *peer = peer_at(fixture, is_tls, stage);
            uint32_t asked = fixture->request_count;
            say(peer, stage, CCS, ccs, 1);
            say(peer, stage, CCS, ccs, 1);
            assert_int_equal(fixture->request_count, asked);
            /* A Finished under keys from an empty master secret must find no one. */
            peer->client.has_keys = true;
            struct hf_hmac_key master;
            uint8_t empty[HF_MASTER_SECRET_LEN] = {0};
            hf_hmac_key_init(&master, (struct hf_bytes){empty, sizeof empty});
            struct psk_client saved = peer->client;
            hf_record_keys_derive(&peer->client.write_key, &peer->client.read_key,
                                  is_tls ? HF_CIPHER_AES_128_CBC_SHA256 : HF_CIPHER_AES_128_CCM_8,
                                  &master, peer->client.client_random, peer->client.server_random);
            peer->client.cipher = (enum hf_cipher)peer->client.write_key.cipher;
            uint8_t finished[24];
            size_t len = make_message(finished, is_tls, 20, 3, empty, 12);
            say(peer, ENGINE_STAGE_CHANGED, HANDSHAKE, finished, len);
            peer->client = saved;
            assert_int_equal(peer->established_count, 0);
            check_refused(peer, stage, HF_E_UNEXPECTED_MESSAGE);
        }
    }
}

static void line_06_change_cipher_spec_twice_or_late(void **state)
{
    struct engine_fixture *fixture = *state;
    static const uint8_t ccs[] = {1};
    for (enum engine_stage stage = ENGINE_STAGE_CHANGED; stage < ENGINE_STAGE_FINISHED; stage++) {
        for (int is_tls = 0; is_tls < 2; is_tls++) {
            struct engine_peer *peer = peer_at(fixture, is_tls, stage);
            say(peer, ENGINE_STAGE_HELLO, CCS, ccs, 1); /* in plain */
            check_refused(peer, stage, HF_E_KEY_MISMATCH);
            peer = peer_at(fixture, is_tls, stage);
            say(peer, stage, CCS, ccs, 1); /* sealed */
            check_refused(peer, stage, HF_E_UNEXPECTED_MESSAGE);
        }
    }
    for (int is_tls = 0; is_tls < 2; is_tls++) {
        struct engine_peer *peer = peer_at(fixture, is_tls, ENGINE_STAGE_OPEN);
        uint64_t before = engine_fixture_rejected(fixture);
        engine_peer_send_sealed(peer, CCS, ccs, 1);
        assert_int_equal(engine_fixture_rejected(fixture), before + 1);
        assert_int_equal(peer->closed_count, is_tls);
        assert_true(is_tls || engine_peer_echoes(peer));
    }
}

static void change_cipher_spec_with_bad_body(void **state)
{
    struct engine_fixture *fixture = *state;
    static const uint8_t bodies[][3] = {{0}, {2}, {255}, {1, 1}, {1, 1, 1}, {1, 0}};
    static const uint8_t lens[] = {1, 1, 1, 2, 3, 2};
    for (size_t i = 0; i < sizeof lens; i++) {
        for (int is_tls = 0; is_tls < 2; is_tls++) {
            struct engine_peer *peer = peer_at(fixture, is_tls, ENGINE_STAGE_KEYED);
            say(peer, ENGINE_STAGE_KEYED, CCS, bodies[i], lens[i]);
            check_refused(peer, ENGINE_STAGE_KEYED, HF_E_DECODE);
            peer = peer_at(fixture, is_tls, ENGINE_STAGE_KEYED);
            say(peer, ENGINE_STAGE_KEYED, CCS, bodies[i], 0);
            check_refused(peer, ENGINE_STAGE_KEYED, HF_E_DECODE);
        }
    }
}

/* Handshake messages that have no place in `stage`, each in a handshake of its own. */
static void refuse_message(struct engine_fixture *fixture, bool is_tls, enum engine_stage stage,
                           uint8_t type)
{
    static const uint8_t body[20] = {0, 6, 'd', 'e', 'v', 'i', 'c', 'e'};
    static const uint16_t seqs[ENGINE_STAGE_COUNT] = {0, 2, 3, 3, 3, 4, 4};
    uint8_t message[32];
    struct engine_peer *peer = peer_at(fixture, is_tls, stage);
    uint64_t before = engine_fixture_rejected(fixture);
    uint32_t asked = fixture->request_count;
    size_t len = make_message(message, is_tls, type, seqs[stage], body, 8);
    say(peer, stage, HANDSHAKE, message, len);
    if (is_tls && stage == ENGINE_STAGE_PARKED) {
        assert_int_equal(peer->failed_count, 0); /* looked at when the answer is there */
        assert_int_equal(engine_fixture_answer(fixture, true), HF_OK);
        engine_fixture_run(fixture);
    } else if (is_tls && stage == ENGINE_STAGE_FINISHED) {
        assert_int_equal(engine_fixture_answer(fixture, true), HF_OK);
        engine_fixture_run(fixture);
        assert_int_equal(peer->established_count, 1);
        assert_int_equal(peer->closed_count, 1);
        assert_int_equal(peer->failure.status, HF_E_UNEXPECTED_MESSAGE);
        return;
    }
    assert_int_equal(engine_fixture_rejected(fixture), before + 1);
    assert_int_equal(fixture->request_count, asked);
    if (is_tls && stage == ENGINE_STAGE_PARKED)
        assert_int_equal(peer->failure.status, HF_E_UNEXPECTED_MESSAGE);
    else
        check_refused(peer, stage, HF_E_UNEXPECTED_MESSAGE);
}

static void line_07_cve_2026_2645_message_out_of_order(void **state)
{
    struct engine_fixture *fixture = *state;
    /* Where each type has its place: ENGINE_STAGE_COUNT is nowhere. */
    static const struct {
        uint8_t type;
        enum engine_stage place;
    } messages[] = {
        {0, ENGINE_STAGE_COUNT},  {2, ENGINE_STAGE_COUNT},    {3, ENGINE_STAGE_COUNT},
        {4, ENGINE_STAGE_COUNT},  {11, ENGINE_STAGE_COUNT},   {12, ENGINE_STAGE_COUNT},
        {13, ENGINE_STAGE_COUNT}, {14, ENGINE_STAGE_COUNT},   {15, ENGINE_STAGE_COUNT},
        {16, ENGINE_STAGE_HELLO}, {20, ENGINE_STAGE_CHANGED}, {22, ENGINE_STAGE_COUNT},
        {24, ENGINE_STAGE_COUNT}, {99, ENGINE_STAGE_COUNT},   {255, ENGINE_STAGE_COUNT}};
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        for (enum engine_stage stage = ENGINE_STAGE_NOTHING; stage < ENGINE_STAGE_OPEN; stage++) {
            if (stage == messages[i].place)
                continue;
            refuse_message(fixture, true, stage, messages[i].type);
            if (stage != ENGINE_STAGE_NOTHING && stage != ENGINE_STAGE_PARKED)
                refuse_message(fixture, false, stage, messages[i].type);
        }
        engine_fixture_advance(fixture, 61000000);
    }
}

static void line_07_message_out_of_order_when_open(void **state)
{
    struct engine_fixture *fixture = *state;
    static const uint8_t types[] = {0, 2, 3, 4, 11, 12, 13, 14, 15, 16, 22, 99, 255};
    uint8_t message[32];
    for (size_t i = 0; i < sizeof types; i++) {
        for (int is_tls = 0; is_tls < 2; is_tls++) {
            struct engine_peer *peer = peer_at(fixture, is_tls, ENGINE_STAGE_OPEN);
            uint64_t before = engine_fixture_rejected(fixture);
            size_t len = make_message(message, is_tls, types[i], 4, "\0\0\0\0\0\0\0", 8);
            engine_peer_send_sealed(peer, HANDSHAKE, message, len);
            assert_int_equal(engine_fixture_rejected(fixture), before + 1);
            if (is_tls)
                assert_int_equal(peer->failure.status, HF_E_UNEXPECTED_MESSAGE);
            else
                assert_true(engine_peer_echoes(peer));
            engine_peer_end(peer);
        }
    }
}

/* Our part of line 8: a client that shows a certificate nobody asked for, and proves nothing. */
static void line_08_cve_2022_29222_certificate_without_proof(void **state)
{
    struct engine_fixture *fixture = *state;
    refuse_message(fixture, true, ENGINE_STAGE_HELLO, 11);
    refuse_message(fixture, false, ENGINE_STAGE_HELLO, 11);
}

static void line_09_cve_2015_1787_empty_key_exchange(void **state)
{
    struct engine_fixture *fixture = *state;
    static const uint8_t body[8] = {0, 6, 'd', 'e', 'v', 'i', 'c', 'e'};
    uint8_t message[32];
    for (uint8_t len = 0; len < 8; len++) { /* empty, and cut off anywhere */
        for (int is_tls = 0; is_tls < 2; is_tls++) {
            struct engine_peer *peer = peer_at(fixture, is_tls, ENGINE_STAGE_HELLO);
            uint64_t before = engine_fixture_rejected(fixture);
            uint32_t asked = fixture->request_count;
            size_t whole = make_message(message, is_tls, 16, 2, body, len);
            say(peer, ENGINE_STAGE_HELLO, HANDSHAKE, message, whole);
            assert_int_equal(fixture->request_count, asked);
            assert_int_equal(engine_fixture_rejected(fixture), before + 1);
            check_refused(peer, ENGINE_STAGE_HELLO, HF_E_DECODE);
        }
    }
}

static void line_10_cve_2020_2655_finished_in_plain(void **state)
{
    struct engine_fixture *fixture = *state;
    uint8_t finished[32];
    for (enum engine_stage stage = ENGINE_STAGE_HELLO; stage <= ENGINE_STAGE_CHANGED; stage++) {
        for (int is_tls = 0; is_tls < 2; is_tls++) {
            struct engine_peer *peer = peer_at(fixture, is_tls, stage);
            for (uint16_t seq = 2; seq < 5; seq++) { /* with the right verify_data */
                size_t len =
                    make_message(finished, is_tls, 20, seq, peer->client.client_verify_data, 12);
                say(peer, ENGINE_STAGE_HELLO, HANDSHAKE, finished, len);
            }
            if (is_tls && stage == ENGINE_STAGE_PARKED) {
                assert_int_equal(engine_fixture_answer(fixture, true), HF_OK);
                engine_fixture_run(fixture);
            }
            assert_int_equal(peer->established_count, 0);
            check_refused(peer, stage,
                          stage == ENGINE_STAGE_CHANGED ? HF_E_KEY_MISMATCH
                                                        : HF_E_UNEXPECTED_MESSAGE);
        }
    }
}

static void finished_wrong(void **state)
{
    struct engine_fixture *fixture = *state;
    uint8_t finished[32], verify_data[16] = {0};
    for (int is_tls = 0; is_tls < 2; is_tls++) {
        for (uint8_t variant = 0; variant < 12 * 8 + 17; variant++) {
            struct engine_peer *peer = peer_at(fixture, is_tls, ENGINE_STAGE_CHANGED);
            uint8_t len = 12;
            memcpy(verify_data, peer->client.client_verify_data, 12);
            if (variant < 12 * 8)
                verify_data[variant / 8] ^= (uint8_t)(1u << variant % 8);
            else
                len = (uint8_t)(variant - 12 * 8);
            if (len == 12 && variant >= 12 * 8)
                continue;
            size_t whole = make_message(finished, is_tls, 20, 3, verify_data, len);
            say(peer, ENGINE_STAGE_CHANGED, HANDSHAKE, finished, whole);
            enum hf_status status = len == 12 ? HF_E_FINISHED : HF_E_DECODE;
            assert_int_equal(peer->established_count, 0);
            assert_int_equal(peer->failed_count, 1);
            assert_int_equal(peer->failure.status, status);
            assert_int_equal(last_alert(peer), hf_status_alert(status));
            engine_peer_free(peer);
        }
    }
}

static void application_data_before_finished(void **state)
{
    struct engine_fixture *fixture = *state;
    static const uint8_t text[] = "too early";
    for (enum engine_stage stage = ENGINE_STAGE_NOTHING; stage < ENGINE_STAGE_FINISHED; stage++) {
        for (int is_tls = 0; is_tls < 2; is_tls++) {
            struct engine_peer *peer = peer_at(fixture, is_tls, stage);
            uint64_t before = engine_fixture_rejected(fixture);
            say(peer, stage, DATA, text, sizeof text);
            if (is_tls && stage == ENGINE_STAGE_PARKED) {
                assert_int_equal(engine_fixture_answer(fixture, true), HF_OK);
                engine_fixture_run(fixture);
            }
            assert_int_equal(peer->data_in_len, 0);
            assert_int_equal(engine_fixture_rejected(fixture), before + 1);
            check_refused(peer, stage, HF_E_UNEXPECTED_MESSAGE);
            assert_int_equal(peer->data_in_len, is_tls ? 0 : 24); /* what finishing echoed */
        }
    }
}

static void alert_in_every_state(void **state)
{
    struct engine_fixture *fixture = *state;
    static const uint8_t descriptions[] = {10, 20, 40, 47, 51, 80, 90, 255};
    for (enum engine_stage stage = ENGINE_STAGE_NOTHING; stage <= ENGINE_STAGE_OPEN; stage++) {
        for (size_t i = 0; i < sizeof descriptions; i++) {
            const uint8_t fatal[2] = {2, descriptions[i]};
            struct engine_peer *peer = peer_at(fixture, true, stage);
            if (stage == ENGINE_STAGE_OPEN)
                engine_peer_send_sealed(peer, ALERT, fatal, 2);
            else
                say(peer, stage, ALERT, fatal, 2);
            if (stage == ENGINE_STAGE_PARKED || stage == ENGINE_STAGE_FINISHED) {
                assert_int_equal(engine_fixture_answer(fixture, true), HF_OK);
                engine_fixture_run(fixture);
            }
            assert_int_equal(peer->failed_count + peer->closed_count, 1);
            assert_int_equal(peer->failure.status, HF_E_PEER_ALERT);
            assert_int_equal(peer->failure.alert, descriptions[i]);
            assert_int_equal(last_alert(peer), -1); /* no answer to an alert */
            engine_peer_free(peer);
        }
    }
}

static void malformed_alert(void **state)
{
    struct engine_fixture *fixture = *state;
    static const uint8_t alerts[][4] = {{2},     {2, 40, 0}, {0, 40},
                                        {3, 40}, {255, 0},   {2, 40, 2, 40}};
    static const uint8_t lens[] = {1, 3, 2, 2, 2, 4};
    for (size_t i = 0; i < sizeof lens; i++) {
        struct engine_peer *peer = peer_at(fixture, true, ENGINE_STAGE_HELLO);
        enum hf_status status = lens[i] == 2 ? HF_E_ILLEGAL_PARAMETER : HF_E_DECODE;
        say(peer, ENGINE_STAGE_HELLO, ALERT, alerts[i], lens[i]);
        assert_int_equal(peer->failure.status, status);
        peer = peer_at(fixture, true, ENGINE_STAGE_HELLO);
        say(peer, ENGINE_STAGE_HELLO, ALERT, alerts[i], 0);
        assert_int_equal(peer->failure.status, HF_E_DECODE);
        peer = peer_at(fixture, true, ENGINE_STAGE_OPEN);
        engine_peer_send_sealed(peer, ALERT, alerts[i], lens[i]);
        assert_int_equal(peer->closed_count, 1);
        assert_int_equal(peer->failure.status, status);
        engine_peer_free(peer);
        peer = peer_at(fixture, false, ENGINE_STAGE_OPEN);
        uint64_t before = engine_fixture_rejected(fixture);
        engine_peer_send_sealed(peer, ALERT, alerts[i], lens[i]);
        assert_int_equal(engine_fixture_rejected(fixture), before + 1);
    }
}

static void renegotiation_on_tls(void **state)
{
    struct engine_fixture *fixture = *state;
    struct engine_peer *peer = peer_at(fixture, true, ENGINE_STAGE_OPEN);
    const struct engine_wire_item *hello = &peer->sent.items[0];
    for (uint32_t i = 1; i <= 10; i++) {
        engine_peer_send_sealed(peer, HANDSHAKE, hello->data + 5, hello->len - 5);
        assert_int_equal(peer->client.counters.warnings, i); /* no_renegotiation, each time */
        hello = &peer->sent.items[0];
    }
    assert_true(engine_peer_echoes(peer)); /* and the count begins anew */
    for (uint32_t i = 0; i < 40; i++)
        engine_peer_send_sealed(peer, HANDSHAKE, peer->sent.items[0].data + 5,
                                peer->sent.items[0].len - 5);
    assert_int_equal(peer->closed_count, 0);
    engine_peer_send_sealed(peer, HANDSHAKE, peer->sent.items[0].data + 5,
                            peer->sent.items[0].len - 5);
    assert_int_equal(peer->closed_count, 1);
    assert_int_equal(peer->failure.status, HF_E_WARNING_FLOOD);
    assert_int_equal(peer->client.alert, UNEXPECTED_MESSAGE);
}

/* Bytes of a message before ChangeCipherSpec and the rest after it: never joined. */
static void message_across_change_cipher_spec(void **state)
{
    struct engine_fixture *fixture = *state;
    static const uint8_t ccs[] = {1};
    for (uint8_t len = 1; len < 16; len++) {
        struct engine_peer *peer = peer_at(fixture, true, ENGINE_STAGE_KEYED);
        uint8_t finished[16];
        make_message(finished, true, 20, 0, peer->client.client_verify_data, 12);
        say(peer, ENGINE_STAGE_KEYED, HANDSHAKE, finished, len);
        say(peer, ENGINE_STAGE_KEYED, CCS, ccs, 1);
        check_refused(peer, ENGINE_STAGE_KEYED, HF_E_UNEXPECTED_MESSAGE);
    }
}

/* Bytes behind Finished in its record: the beginning of a message that can never come. */
static void bytes_behind_finished(void **state)
{
    struct engine_fixture *fixture = *state;
    for (uint8_t extra = 1; extra <= 8; extra++) {
        struct engine_peer *peer = peer_at(fixture, true, ENGINE_STAGE_CHANGED);
        uint8_t finished[32] = {0};
        size_t len = make_message(finished, true, 20, 0, peer->client.client_verify_data, 12);
        finished[len] = 1; /* a ClientHello of 100 bytes */
        finished[len + 3] = 100;
        say(peer, ENGINE_STAGE_CHANGED, HANDSHAKE, finished, len + extra);
        assert_int_equal(peer->established_count, 0);
        assert_int_equal(peer->failure.status, HF_E_UNEXPECTED_MESSAGE);
    }
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, engine_fixture_setup, engine_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(line_06_cve_2014_0224_early_change_cipher_spec),
        TEST(line_06_change_cipher_spec_twice_or_late),
        TEST(line_07_cve_2026_2645_message_out_of_order),
        TEST(line_07_message_out_of_order_when_open),
        TEST(line_08_cve_2022_29222_certificate_without_proof),
        TEST(line_09_cve_2015_1787_empty_key_exchange),
        TEST(line_10_cve_2020_2655_finished_in_plain),
        TEST(change_cipher_spec_with_bad_body),
        TEST(finished_wrong),
        TEST(application_data_before_finished),
        TEST(alert_in_every_state),
        TEST(malformed_alert),
        TEST(renegotiation_on_tls),
        TEST(message_across_change_cipher_spec),
        TEST(bytes_behind_finished),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
