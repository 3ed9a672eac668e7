/**
 * bad_truncation_test.c - every message and record a client sends, cut off at each length and made
 * longer, on TLS and DTLS; and the same bytes in any chunks. Nothing is over-read, nothing but the
 * whole handshake opens an association, and every refusal is counted.
 */
#include "engine_fixture.h"

enum { EXTENSIONS_LEN = 2 + 4 }; /* the client offers but one */

/* What is done to which thing the client sends. */
struct change {
    enum psk_client_tamper_kind kind;
    uint8_t type; /* message type, or content type of a record */
    size_t len;   /* what is left of it, header included; or bytes added */
    bool is_longer;
    bool is_stated;    /* the length in the header says so too */
    size_t skip_count; /* so many of the kind are left alone first */
    bool was_applied;
    bool is_dtls;
    size_t whole_len; /* out: how long it was */
};

static void state_length(const struct change *change, uint8_t *data, size_t len)
{
    if (change->kind == PSK_CLIENT_TAMPER_MESSAGE && len >= 4) {
        data[1] = (uint8_t)((len - 4) >> 16);
        data[2] = (uint8_t)((len - 4) >> 8);
        data[3] = (uint8_t)(len - 4);
        return;
    }
    size_t head = change->is_dtls ? 13 : 5;
    if (change->kind == PSK_CLIENT_TAMPER_RECORD && len >= head) {
        data[head - 2] = (uint8_t)((len - head) >> 8);
        data[head - 1] = (uint8_t)(len - head);
    }
}

static enum psk_client_verdict apply(enum psk_client_tamper_kind kind, uint8_t type, uint8_t *data,
                                     size_t *len, size_t max, void *arg)
{
    struct change *change = arg;
    if (kind != change->kind || type != change->type || change->was_applied)
        return PSK_CLIENT_SEND;
    if (change->skip_count > 0) {
        change->skip_count--;
        return PSK_CLIENT_SEND;
    }
    change->was_applied = true;
    change->whole_len = *len;
    if (!change->is_longer && change->len >= *len)
        return PSK_CLIENT_SEND;
    size_t changed = change->is_longer ? *len + change->len : change->len;
    assert_in_range(changed, 0, max);
    if (changed > *len)
        memset(data + *len, 0, changed - *len);
    *len = changed;
    if (change->is_stated)
        state_length(change, data, changed);
    return PSK_CLIENT_SEND;
}

/* One handshake with one thing changed. Returns how long the thing was, 0 if it never came. */
static size_t try_change(struct engine_fixture *fixture, bool is_tls, struct change change,
                         bool is_fatal)
{
    struct engine_peer *peer = engine_peer_new(fixture, is_tls);
    uint64_t before = engine_fixture_rejected(fixture);
    change.is_dtls = !is_tls;
    peer->config.tamper = apply;
    peer->config.tamper_arg = &change;
    peer->config.is_one_record_per_datagram = true;
    engine_peer_start(peer);
    engine_fixture_run(fixture);
    bool was_changed = change.was_applied && (change.is_longer || change.len < change.whole_len);
    if (change.kind == PSK_CLIENT_TAMPER_MESSAGE && change.type == 1 && change.is_stated &&
        !change.is_longer && change.len + EXTENSIONS_LEN == change.whole_len)
        was_changed = false; /* a hello without extensions is a good one */
    peer->is_gone = true;
    if (was_changed) {
        assert_int_equal(peer->established_count, 0);
        if (is_tls && peer->failed_count == 0) { /* it waits for bytes that never come */
            hf_engine_receive_end(fixture->engine, peer->id);
            engine_fixture_run(fixture);
            assert_int_equal(peer->failure.status, HF_E_TRUNCATED);
        } else {
            assert_in_range(engine_fixture_rejected(fixture), before + 1, before + 64);
        }
        assert_true(!is_fatal || peer->failed_count == 1);
    }
    if (!is_tls)
        engine_fixture_advance(fixture, 61000000);
    engine_fixture_check_undisturbed(fixture);
    engine_peer_end(peer);
    engine_peer_free(peer);
    return change.was_applied ? change.whole_len : 0;
}

static void truncate_each(struct engine_fixture *fixture, bool is_tls, struct change change)
{
    bool is_fatal = is_tls && change.kind == PSK_CLIENT_TAMPER_MESSAGE && change.is_stated;
    size_t whole_len = change.kind == PSK_CLIENT_TAMPER_MESSAGE ? 4 : 1;
    for (change.len = whole_len;; change.len++) {
        whole_len = try_change(fixture, is_tls, change, is_fatal);
        assert_int_not_equal(whole_len, 0); /* it was sent, and cut */
        if (change.len + 1 >= whole_len)
            return;
    }
}

static const uint8_t message_types[] = {1, 16, 20};

static void every_message_truncated(void **state)
{
    for (size_t i = 0; i < sizeof message_types; i++) {
        for (int is_tls = 0; is_tls < 2; is_tls++) {
            struct change change = {
                .kind = PSK_CLIENT_TAMPER_MESSAGE, .type = message_types[i], .is_stated = true};
            truncate_each(*state, is_tls, change);
            change.skip_count = !is_tls && message_types[i] == 1; /* the hello with its cookie */
            if (change.skip_count)
                truncate_each(*state, is_tls, change);
        }
    }
}

/* The header says more than there is, or the record ends before the message does. */
static void every_message_shorter_than_stated(void **state)
{
    for (size_t i = 0; i < sizeof message_types; i++) {
        struct change change = {.kind = PSK_CLIENT_TAMPER_MESSAGE, .type = message_types[i]};
        truncate_each(*state, true, change);
    }
}

static void every_record_truncated(void **state)
{
    static const uint8_t types[] = {22, 22, 22, 20};
    static const uint8_t skips[] = {0, 1, 2, 0};
    for (size_t i = 0; i < sizeof types; i++) {
        for (int is_tls = 0; is_tls < 2; is_tls++) {
            for (int is_stated = 0; is_stated < 2; is_stated++) {
                struct change change = {.kind = PSK_CLIENT_TAMPER_RECORD,
                                        .type = types[i],
                                        .is_stated = is_stated,
                                        .skip_count = skips[i]};
                truncate_each(*state, is_tls, change);
            }
        }
    }
}

static void every_message_longer(void **state)
{
    static const size_t extras[] = {1, 2, 3, 4, 100, 1000, 4096, 16384, 65000};
    for (size_t i = 0; i < sizeof message_types; i++) {
        for (size_t k = 0; k < sizeof extras / sizeof extras[0]; k++) {
            for (int is_tls = 0; is_tls < 2; is_tls++) {
                struct change change = {.kind = PSK_CLIENT_TAMPER_MESSAGE,
                                        .type = message_types[i],
                                        .is_longer = true,
                                        .is_stated = true,
                                        .len = extras[k],
                                        .skip_count = !is_tls && message_types[i] == 1};
                assert_int_not_equal(try_change(*state, is_tls, change, is_tls), 0);
            }
        }
    }
}

/* Cut anywhere, TLS is the same stream: one byte at a time, and in chunks of every small size. */
static void stream_in_any_chunks(void **state)
{
    struct engine_fixture *fixture = *state;
    for (size_t chunk = 1; chunk <= 80; chunk++) {
        struct engine_peer *peer = engine_peer_new(fixture, true);
        uint8_t text[300];
        memset(text, (int)chunk, sizeof text);
        peer->is_held = true;
        engine_peer_start(peer);
        psk_client_tick(&peer->client, 0, engine_peer_emit, peer);
        for (size_t item = 0; item < peer->sent.count; item++) {
            for (size_t at = 0; at < peer->sent.items[item].len; at += chunk) {
                size_t left = peer->sent.items[item].len - at;
                engine_peer_send(peer, peer->sent.items[item].data + at,
                                 left < chunk ? left : chunk);
            }
            if (item == 1) {
                assert_true(engine_peer_is_open(peer));
                psk_client_send(&peer->client, text, sizeof text, engine_peer_emit, peer);
            }
        }
        assert_int_equal(peer->data_in_len, sizeof text);
        peer->is_held = false;
        assert_true(engine_peer_echoes(peer));
        engine_peer_end(peer);
        engine_peer_free(peer);
    }
}

/* Messages split over records, several messages in a record. */
static void messages_split_over_records(void **state)
{
    struct engine_fixture *fixture = *state;
    for (uint16_t len = 1; len <= 64; len++) {
        for (int is_tls = 0; is_tls < 2; is_tls++) {
            struct engine_peer *peer = engine_peer_new(fixture, is_tls);
            peer->config.fragment_len_max = is_tls ? len : (uint16_t)(len + 53);
            engine_peer_open(peer);
            assert_true(engine_peer_echoes(peer));
            engine_peer_end(peer);
            engine_peer_free(peer);
        }
    }
}

/* A datagram with less than a header, or with a record that says it is longer. */
static void short_datagrams(void **state)
{
    struct engine_fixture *fixture = *state;
    for (enum engine_stage stage = ENGINE_STAGE_NOTHING; stage <= ENGINE_STAGE_OPEN; stage++) {
        struct engine_peer *peer = engine_peer_new(fixture, false);
        engine_peer_to_stage(peer, stage);
        for (uint8_t type = 18; type < 28; type++) {
            uint8_t record[64] = {type, 0xFE, 0xFD, 0, stage >= ENGINE_STAGE_CHANGED};
            record[12] = 60;
            for (size_t len = 0; len < sizeof record; len++) {
                uint64_t before = engine_fixture_rejected(fixture);
                engine_peer_send(peer, record, len);
                assert_int_equal(engine_fixture_rejected(fixture), before + 1);
            }
        }
        engine_peer_finish(peer);
    }
}

/* Genuine first, then junk in the same datagram: what is genuine counts. */
static void junk_behind_a_record(void **state)
{
    struct engine_fixture *fixture = *state;
    struct engine_peer *peer = engine_peer_new(fixture, false);
    engine_peer_open(peer);
    static const uint8_t text[] = "genuine";
    for (size_t junk = 1; junk < 40; junk++) {
        uint8_t datagram[128] = {0};
        peer->is_held = true;
        psk_client_send(&peer->client, text, sizeof text, engine_peer_emit, peer);
        peer->is_held = false;
        const struct engine_wire_item *item = &peer->sent.items[peer->sent.count - 1];
        memcpy(datagram, item->data, item->len);
        memset(datagram + item->len, 0xFF, junk);
        uint64_t had = peer->data_in_len;
        engine_peer_send(peer, datagram, item->len + junk);
        assert_int_equal(peer->data_in_len, had + sizeof text);
    }
    assert_true(engine_peer_echoes(peer));
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, engine_fixture_setup, engine_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_message_truncated), TEST(every_message_shorter_than_stated),
        TEST(every_record_truncated),  TEST(every_message_longer),
        TEST(stream_in_any_chunks),    TEST(messages_split_over_records),
        TEST(short_datagrams),         TEST(junk_behind_a_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
