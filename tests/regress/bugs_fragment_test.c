/**
 * bugs_fragment_test.c - bugs other implementations had with DTLS fragments: each test is one line
 * of docs/REGRESSIONS.md and bears its number. And overlaps of every kind.
 */
#include "engine_fixture.h"

enum { HANDSHAKE = 22 };
enum { CLIENT_HELLO = 1, CERTIFICATE = 11, CERTIFICATE_VERIFY = 15, KEY_EXCHANGE = 16 };

struct piece {
    uint8_t type;
    uint16_t seq;
    uint32_t message_len, offset, len;
    const uint8_t *body; /* NULL: zeros */
};

static size_t write_piece(uint8_t *out, const struct piece *piece)
{
    const uint8_t head[12] = {piece->type,
                              (uint8_t)(piece->message_len >> 16),
                              (uint8_t)(piece->message_len >> 8),
                              (uint8_t)piece->message_len,
                              (uint8_t)(piece->seq >> 8),
                              (uint8_t)piece->seq,
                              (uint8_t)(piece->offset >> 16),
                              (uint8_t)(piece->offset >> 8),
                              (uint8_t)piece->offset,
                              (uint8_t)(piece->len >> 16),
                              (uint8_t)(piece->len >> 8),
                              (uint8_t)piece->len};
    memcpy(out, head, sizeof head);
    if (piece->body)
        memcpy(out + sizeof head, piece->body, piece->len);
    else
        memset(out + sizeof head, 0, piece->len);
    return sizeof head + piece->len;
}

/* Sends one record of epoch 0 from the peer's address; what the client sends is not touched. */
static void send_payload(struct engine_peer *peer, const uint8_t *payload, size_t len)
{
    static uint8_t record[13 + 16384];
    static uint32_t seq = 1000;
    const uint8_t head[13] = {HANDSHAKE,
                              0xFE,
                              0xFD,
                              0,
                              0,
                              0,
                              0,
                              (uint8_t)(seq >> 24),
                              (uint8_t)(seq >> 16),
                              (uint8_t)(seq >> 8),
                              (uint8_t)seq,
                              (uint8_t)(len >> 8),
                              (uint8_t)len};
    seq++;
    memcpy(record, head, sizeof head);
    memcpy(record + sizeof head, payload, len);
    engine_peer_send(peer, record, sizeof head + len);
}

static void send_piece(struct engine_peer *peer, const struct piece *piece)
{
    static uint8_t payload[16384];
    send_payload(peer, payload, write_piece(payload, piece));
}

static struct engine_peer *peer_at(struct engine_fixture *fixture, enum engine_stage stage)
{
    struct engine_peer *peer = engine_peer_new(fixture, false);
    engine_peer_to_stage(peer, stage);
    return peer;
}

/* The body of the ClientKeyExchange that the client holds back. */
static struct hf_bytes exchange_of(const struct engine_peer *peer)
{
    const struct engine_wire_item *item = &peer->sent.items[peer->delivered_count];
    assert_int_equal(item->data[13], KEY_EXCHANGE);
    return (struct hf_bytes){item->data + 25, item->len - 25};
}

#define EXCHANGE_SEQ 2 /* after ClientHello 0 and 1 */

/* The exchange, byte by byte, until it is whole; then the rest of the flight. */
static void finish_with_bytes(struct engine_peer *peer, uint32_t from)
{
    struct hf_bytes body = exchange_of(peer);
    for (uint32_t at = from; at < body.len; at++) {
        const struct piece piece = {KEY_EXCHANGE,  EXCHANGE_SEQ, (uint32_t)body.len, at, 1,
                                    body.data + at};
        send_piece(peer, &piece);
    }
    peer->delivered_count++;
    engine_peer_finish(peer);
}

static void line_15_cve_2022_29190_zero_length_fragments(void **state)
{
    struct engine_fixture *fixture = *state;
    static uint8_t payload[16384];
    for (enum engine_stage stage = ENGINE_STAGE_NOTHING; stage < ENGINE_STAGE_COUNT; stage++) {
        struct engine_peer *peer = peer_at(fixture, stage);
        uint64_t before = engine_fixture_rejected(fixture);
        size_t len = 0;
        struct piece piece = {KEY_EXCHANGE, EXCHANGE_SEQ, 100, 0, 0, NULL};
        while (len + 12 <= sizeof payload)
            len += write_piece(payload + len, &piece);
        for (size_t i = 0; i < 1000; i++)
            send_payload(peer, payload, len);
        assert_int_equal(engine_fixture_rejected(fixture), before + 1000);
        for (uint8_t type = 0; type < 25; type++) {
            piece = (struct piece){type, (uint16_t)(type % 5), 50, type, 0, NULL};
            send_piece(peer, &piece);
        }
        assert_int_equal(engine_fixture_rejected(fixture), before + 1025);
        engine_peer_finish(peer);
    }
}

static void line_16_cve_2014_3507_zero_length_fragments_of_a_future_message(void **state)
{
    struct engine_fixture *fixture = *state;
    struct engine_peer *peer = peer_at(fixture, ENGINE_STAGE_HELLO);
    uint64_t before = engine_fixture_rejected(fixture);
    for (uint32_t i = 0; i < 20000; i++) {
        const struct piece piece = {
            KEY_EXCHANGE, (uint16_t)(EXCHANGE_SEQ + 1 + i % 8), 4096, i % 4096, 0, NULL};
        send_piece(peer, &piece);
    }
    assert_int_equal(engine_fixture_drops(fixture, HF_DROP_FRAGMENT), before + 20000);
    /* Of messages that are empty, so that nothing is wrong with them: kept, within bounds. */
    for (uint32_t i = 0; i < 20000; i++) {
        const struct piece piece = {14, (uint16_t)(EXCHANGE_SEQ + 1 + i % 8), 0, 0, 0, NULL};
        send_piece(peer, &piece);
    }
    assert_in_range(engine_fixture_drops(fixture, HF_DROP_DEFERRED_FULL), 19900, 20000);
    assert_int_equal(engine_fixture_counters(fixture).memory_len,
                     hf_config_memory(&fixture->config));
    engine_peer_finish(peer);
}

static void line_17_cve_2014_3506_message_of_16_mib(void **state)
{
    struct engine_fixture *fixture = *state;
    static const uint32_t lens[] = {0xFFFFFF, 0xFFFFFE, 0x800000, 65537, 4097};
    for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
        struct engine_peer *peer = peer_at(fixture, ENGINE_STAGE_HELLO);
        uint64_t before = engine_fixture_drops(fixture, HF_DROP_FRAGMENT);
        const uint32_t offsets[] = {0, 1, lens[i] / 2, lens[i] - 100, lens[i]};
        for (size_t k = 0; k < 4; k++) {
            struct piece piece = {KEY_EXCHANGE, EXCHANGE_SEQ, lens[i], offsets[k], 100, NULL};
            send_piece(peer, &piece);
        }
        assert_int_equal(engine_fixture_drops(fixture, HF_DROP_FRAGMENT), before + 4);
        engine_peer_finish(peer);
        /* A hello with a good cookie that claims as much. */
        peer = peer_at(fixture, ENGINE_STAGE_NOTHING);
        const uint8_t *hello = peer->sent.items[1].data + 25;
        struct piece piece = {CLIENT_HELLO, 1, lens[i], 0, 60, hello};
        send_piece(peer, &piece);
        piece = (struct piece){CLIENT_HELLO, 1, lens[i], lens[i] - 1, 1, hello};
        send_piece(peer, &piece);
        assert_int_equal(peer->received.count, 1); /* the HelloVerifyRequest, from before */
        engine_peer_finish(peer);
    }
    assert_int_equal(engine_fixture_counters(fixture).memory_len,
                     hf_config_memory(&fixture->config));
}

static void line_18_cve_2022_29189_flood_of_future_messages(void **state)
{
    struct engine_fixture *fixture = *state;
    static const uint8_t body[200] = {1, 2, 3};
    struct engine_peer *peer = peer_at(fixture, ENGINE_STAGE_HELLO);
    for (uint32_t seq = EXCHANGE_SEQ + 1; seq < 65536; seq++) {
        const struct piece piece = {KEY_EXCHANGE, (uint16_t)seq, 3000, seq % 2800, 200, body};
        send_piece(peer, &piece);
    }
    struct hf_counters counters = engine_fixture_counters(fixture);
    assert_int_equal(counters.memory_len, hf_config_memory(&fixture->config));
    /* A few wait for their turn; the rest is gone, and counted. */
    assert_in_range(counters.drops[HF_DROP_MESSAGE_SEQ] + counters.drops[HF_DROP_DEFERRED_FULL],
                    65536 - EXCHANGE_SEQ - 1 - 8, 65536 - EXCHANGE_SEQ - 1);
    engine_peer_finish(peer);
    counters = engine_fixture_counters(fixture);
    assert_int_equal(counters.handshakes_open, 0); /* and so is what was kept */
    struct engine_peer *next = engine_peer_new(fixture, false);
    engine_peer_open(next);
}

static void line_19_gnutls_1839_slot_chosen_by_type(void **state)
{
    struct engine_fixture *fixture = *state;
    static const uint8_t types[] = {KEY_EXCHANGE, CERTIFICATE, CERTIFICATE_VERIFY, 20, 0, 99};
    for (size_t i = 0; i < sizeof types; i++) {
        struct engine_peer *peer = peer_at(fixture, ENGINE_STAGE_HELLO);
        struct hf_bytes genuine = exchange_of(peer);
        uint32_t len = (uint32_t)genuine.len;
        uint64_t before = engine_fixture_drops(fixture, HF_DROP_FRAGMENT);
        struct piece piece = {KEY_EXCHANGE, EXCHANGE_SEQ, len, 0, 5, genuine.data};
        send_piece(peer, &piece);
        /* The next message, of the same type or another: kept apart. */
        piece = (struct piece){types[i], EXCHANGE_SEQ + 1, 200, 50, 150, NULL};
        send_piece(peer, &piece);
        piece = (struct piece){types[i], EXCHANGE_SEQ + 1, 4096, 4000, 96, NULL};
        send_piece(peer, &piece);
        assert_int_equal(engine_fixture_drops(fixture, HF_DROP_FRAGMENT), before);
        /* The same message with another length, or type. */
        piece = (struct piece){KEY_EXCHANGE, EXCHANGE_SEQ, len + 100, 5, 50, NULL};
        send_piece(peer, &piece);
        piece = (struct piece){KEY_EXCHANGE, EXCHANGE_SEQ, len - 1, 5, 1, genuine.data + 5};
        send_piece(peer, &piece);
        piece = (struct piece){CERTIFICATE, EXCHANGE_SEQ, len, 5, 1, genuine.data + 5};
        send_piece(peer, &piece);
        assert_int_equal(engine_fixture_drops(fixture, HF_DROP_FRAGMENT), before + 3);
        finish_with_bytes(peer, 5);
    }
}

static void line_20_cve_2014_0195_later_fragment_with_larger_length(void **state)
{
    struct engine_fixture *fixture = *state;
    static const uint32_t lens[] = {9, 100, 1000, 4096, 4097, 65536, 0xFFFFFF};
    for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
        struct engine_peer *peer = peer_at(fixture, ENGINE_STAGE_HELLO);
        struct hf_bytes genuine = exchange_of(peer);
        uint64_t before = engine_fixture_drops(fixture, HF_DROP_FRAGMENT);
        struct piece piece = {KEY_EXCHANGE, EXCHANGE_SEQ, (uint32_t)genuine.len, 0, 2,
                              genuine.data};
        send_piece(peer, &piece);
        uint32_t len = lens[i] - 2 < 1000 ? lens[i] - 2 : 1000;
        piece = (struct piece){KEY_EXCHANGE, EXCHANGE_SEQ, lens[i], lens[i] - len, len, NULL};
        send_piece(peer, &piece);
        assert_int_equal(engine_fixture_drops(fixture, HF_DROP_FRAGMENT), before + 1);
        finish_with_bytes(peer, 2);
    }
}

/* The length of one fragment stays within its record, and the fragment within its message. */
static void line_21_cve_2026_9267_fragment_longer_than_its_record(void **state)
{
    struct engine_fixture *fixture = *state;
    static const uint8_t types[] = {KEY_EXCHANGE, CERTIFICATE, CERTIFICATE_VERIFY, CLIENT_HELLO};
    uint8_t payload[64];
    for (enum engine_stage stage = ENGINE_STAGE_HELLO; stage < ENGINE_STAGE_COUNT; stage++) {
        struct engine_peer *peer = peer_at(fixture, stage);
        for (size_t i = 0; i < 4 * 50; i++) {
            struct piece piece = {types[i % 4], EXCHANGE_SEQ, 1000, 0, 40, NULL};
            uint64_t before = engine_fixture_rejected(fixture);
            write_piece(payload, &piece);
            payload[11] = (uint8_t)(41 + i); /* more than is there */
            payload[10] = (uint8_t)(i / 4);
            send_payload(peer, payload, 12 + 40);
            piece = (struct piece){types[i % 4], EXCHANGE_SEQ, 39, (uint32_t)i, 40, NULL};
            send_payload(peer, payload, write_piece(payload, &piece)); /* past its message */
            assert_int_equal(engine_fixture_rejected(fixture), before + 2);
        }
        engine_peer_finish(peer);
    }
}

/* A whole Certificate nobody asked for, with inner lengths of every wrong kind. */
static void line_21_certificate_unasked(void **state)
{
    struct engine_fixture *fixture = *state;
    static const uint8_t bodies[4][9] = {
        {0, 0, 0}, {0xFF, 0xFF, 0xFF}, {0, 0, 6, 0xFF, 0xFF, 0xFF}, {0, 0, 6, 0, 0, 3, 1, 2, 3}};
    for (size_t i = 0; i < 4; i++) {
        struct engine_peer *peer = peer_at(fixture, ENGINE_STAGE_HELLO);
        uint64_t before = engine_fixture_drops(fixture, HF_DROP_UNEXPECTED);
        const struct piece piece = {CERTIFICATE, EXCHANGE_SEQ, 9, 0, 9, bodies[i]};
        send_piece(peer, &piece);
        assert_int_equal(engine_fixture_drops(fixture, HF_DROP_UNEXPECTED), before + 1);
        engine_peer_finish(peer); /* anyone could have sent it: it cost nothing */
        struct engine_peer *tls = engine_peer_new(fixture, true);
        engine_peer_to_stage(tls, ENGINE_STAGE_HELLO);
        uint8_t message[4 + 9] = {CERTIFICATE, 0, 0, 9};
        memcpy(message + 4, bodies[i], 9);
        engine_peer_send_plain(tls, HANDSHAKE, message, sizeof message);
        engine_peer_deliver(tls, tls->sent.count - 1, tls->sent.count);
        assert_int_equal(tls->failure.status, HF_E_UNEXPECTED_MESSAGE);
    }
}

/* Overlaps that say the same are welcome, others are dropped, in any order of arrival. */
static void overlapping_fragments(void **state)
{
    struct engine_fixture *fixture = *state;
    for (uint32_t seed = 1; seed <= 300; seed++) {
        struct engine_peer *peer = peer_at(fixture, ENGINE_STAGE_HELLO);
        struct hf_bytes body = exchange_of(peer);
        uint32_t len = (uint32_t)body.len, random = seed * 2654435761u;
        uint8_t wrong[256];
        struct piece piece = {KEY_EXCHANGE, EXCHANGE_SEQ, len, 2, 3, body.data + 2};
        send_piece(peer, &piece); /* [2, 5) is right, and settled */
        for (size_t i = 0; i < 20; i++) {
            random = random * 1664525 + 1013904223;
            uint32_t begin = (random >> 8) % len;
            uint32_t end = begin + 1 + (random >> 20) % (len - begin);
            uint64_t before = engine_fixture_drops(fixture, HF_DROP_FRAGMENT);
            bool is_wrong = begin < 5 && end > 2;
            memcpy(wrong, body.data, len);
            if (begin == 0 && end == len)
                continue;
            for (uint32_t at = 2; at < 5; at++)
                wrong[at] ^= (uint8_t)(is_wrong ? 1 + at : 0);
            piece =
                (struct piece){KEY_EXCHANGE, EXCHANGE_SEQ, len, begin, end - begin, wrong + begin};
            if (is_wrong) {
                send_piece(peer, &piece);
                assert_int_equal(engine_fixture_drops(fixture, HF_DROP_FRAGMENT), before + 1);
            }
        }
        assert_int_equal(peer->failed_count, 0);
        finish_with_bytes(peer, 0); /* all of it once more, byte by byte, [2, 5) twice */
        engine_peer_end(peer);
        engine_peer_free(peer);
    }
}

/* Every other byte, so that the pieces cannot be joined: bounded, and no way to be stuck. */
static void scattered_fragments(void **state)
{
    struct engine_fixture *fixture = *state;
    struct engine_peer *peer = engine_peer_new(fixture, false);
    peer->config.padding_len = 200;
    engine_peer_to_stage(peer, ENGINE_STAGE_NOTHING);
    const uint8_t *hello = peer->sent.items[1].data;
    const uint8_t *body = hello + 25;
    uint32_t len = (uint32_t)(peer->sent.items[1].len - 25);
    struct piece piece = {CLIENT_HELLO, 1, len, 0, 54, body};
    send_piece(peer, &piece);
    uint64_t before = engine_fixture_drops(fixture, HF_DROP_FRAGMENT);
    for (uint32_t at = 55; at < len; at += 2) {
        piece = (struct piece){CLIENT_HELLO, 1, len, at, 1, body + at};
        send_piece(peer, &piece);
    }
    assert_in_range(engine_fixture_drops(fixture, HF_DROP_FRAGMENT), before + 1, before + len);
    assert_int_equal(peer->received.count, 1);
    engine_peer_finish(peer); /* the whole hello comes */
}

/* A good message under a number that is past, or not yet due, is not the one that is due. */
static void message_under_another_number(void **state)
{
    struct engine_fixture *fixture = *state;
    static const uint16_t seqs[] = {0, 1, EXCHANGE_SEQ + 9, 0x7FFF, 0x8002, 0xFFFF};
    struct engine_peer *peer = peer_at(fixture, ENGINE_STAGE_HELLO);
    struct hf_bytes body = exchange_of(peer);
    uint32_t asked = fixture->request_count;
    for (size_t i = 0; i < sizeof seqs / sizeof seqs[0]; i++) {
        uint64_t before = engine_fixture_drops(fixture, HF_DROP_MESSAGE_SEQ);
        const struct piece piece = {KEY_EXCHANGE,       seqs[i],  (uint32_t)body.len, 0,
                                    (uint32_t)body.len, body.data};
        send_piece(peer, &piece);
        assert_int_equal(engine_fixture_drops(fixture, HF_DROP_MESSAGE_SEQ), before + 1);
        assert_int_equal(fixture->request_count, asked);
    }
    engine_peer_finish(peer);
}

/* A record with several fragments, the last of which is broken. */
static void broken_after_good(void **state)
{
    struct engine_fixture *fixture = *state;
    struct engine_peer *peer = peer_at(fixture, ENGINE_STAGE_HELLO);
    struct hf_bytes body = exchange_of(peer);
    uint8_t payload[128];
    struct piece piece = {KEY_EXCHANGE, EXCHANGE_SEQ, (uint32_t)body.len, 0, 3, body.data};
    size_t len = write_piece(payload, &piece);
    piece = (struct piece){KEY_EXCHANGE, EXCHANGE_SEQ, (uint32_t)body.len, 3, 2, body.data + 3};
    len += write_piece(payload + len, &piece);
    for (size_t cut = 1; cut < 14; cut++) {
        uint64_t before = engine_fixture_drops(fixture, HF_DROP_FRAGMENT);
        send_payload(peer, payload, len - cut);
        assert_int_equal(engine_fixture_drops(fixture, HF_DROP_FRAGMENT), before + 1);
    }
    finish_with_bytes(peer, 3);
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, engine_fixture_setup, engine_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(line_15_cve_2022_29190_zero_length_fragments),
        TEST(line_16_cve_2014_3507_zero_length_fragments_of_a_future_message),
        TEST(line_17_cve_2014_3506_message_of_16_mib),
        TEST(line_18_cve_2022_29189_flood_of_future_messages),
        TEST(line_19_gnutls_1839_slot_chosen_by_type),
        TEST(line_20_cve_2014_0195_later_fragment_with_larger_length),
        TEST(line_21_cve_2026_9267_fragment_longer_than_its_record),
        TEST(line_21_certificate_unasked),
        TEST(overlapping_fragments),
        TEST(scattered_fragments),
        TEST(message_under_another_number),
        TEST(broken_after_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
