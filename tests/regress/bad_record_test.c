/**
 * bad_record_test.c - records that break the rules of the record layer: sizes, types, versions,
 * replays, empty ones, alerts without end.
 */
#include "engine_fixture.h"
#include "private.h"

enum { CCS = 20, ALERT = 21, HANDSHAKE = 22, DATA = 23 };
enum { PLAINTEXT_MAX = 16384, CIPHERTEXT_MAX = 16384 + 2048 };

static const uint16_t suites[] = {0x00A8, 0x00AE, 0xC0A4, 0xC0A8};
static uint8_t big[65535];

static struct engine_peer *open_peer(struct engine_fixture *fixture, bool is_tls, uint16_t suite)
{
    struct engine_peer *peer = engine_peer_new(fixture, is_tls);
    peer->config.suites[0] = suite;
    engine_peer_open(peer);
    return peer;
}

/* The last record in `sent`, cut out of the list. */
static size_t take_sent(uint8_t *out, struct engine_peer *peer)
{
    struct engine_wire_item *item = &peer->sent.items[--peer->sent.count];
    size_t len = item->len;
    memcpy(out, item->data, len);
    free(item->data);
    return len;
}

static void every_record_replayed(void **state)
{
    struct engine_fixture *fixture = *state;
    for (size_t i = 0; i < 4; i++) {
        struct engine_peer *peer = engine_peer_new(fixture, false);
        peer->config.suites[0] = suites[i];
        peer->config.is_one_record_per_datagram = true;
        engine_peer_open(peer);
        for (size_t k = 0; k < 20; k++)
            assert_true(engine_peer_echoes(peer));
        size_t count = peer->sent.count;
        assert_int_equal(count, 2 + 3 + 20);
        uint64_t had = peer->data_in_len;
        for (size_t round = 0; round < 3; round++) {
            for (size_t at = 0; at < count; at++) {
                uint64_t before = engine_fixture_rejected(fixture);
                uint64_t answers = engine_fixture_counters(fixture).cookies_sent;
                engine_peer_deliver(peer, at, at + 1);
                /* The first hello earns a HelloVerifyRequest: the server remembers none. */
                answers = engine_fixture_counters(fixture).cookies_sent - answers;
                assert_int_equal(answers, at == 0);
                assert_int_equal(engine_fixture_rejected(fixture) - before, at != 0);
            }
        }
        assert_int_equal(peer->data_in_len, had);
        assert_int_equal(engine_fixture_drops(fixture, HF_DROP_REPLAY), (i + 1) * 3 * 21);
        assert_true(engine_peer_echoes(peer));
    }
}

/* TLS numbers records implicitly: one that is repeated, or missing, does not authenticate. */
static void record_replayed_or_lost_on_tls(void **state)
{
    struct engine_fixture *fixture = *state;
    for (size_t i = 0; i < 8; i++) {
        struct engine_peer *peer = open_peer(fixture, true, suites[i % 4]);
        assert_true(engine_peer_echoes(peer));
        if (i < 4) {
            engine_peer_deliver(peer, peer->sent.count - 1, peer->sent.count);
        } else {
            peer->is_held = true; /* one goes missing */
            psk_client_send(&peer->client, big, 10, engine_peer_emit, peer);
            peer->is_held = false;
            psk_client_send(&peer->client, big, 10, engine_peer_emit, peer);
            engine_fixture_run(fixture);
        }
        assert_int_equal(peer->data_in_len, 24);
        assert_int_equal(peer->failure.status, HF_E_BAD_RECORD_MAC);
        assert_int_equal(peer->client.alert, 20);
    }
}

static void longest_records_are_taken(void **state)
{
    struct engine_fixture *fixture = *state;
    for (size_t i = 0; i < 8; i++) {
        struct engine_peer *peer = open_peer(fixture, i % 2, suites[i / 2]);
        fixture->is_silent = true;
        engine_peer_send_sealed(peer, DATA, big, PLAINTEXT_MAX);
        fixture->is_silent = false;
        assert_int_equal(peer->data_in_len, PLAINTEXT_MAX);
        assert_true(engine_peer_echoes(peer));
        engine_peer_end(peer);
    }
}

/* Seals more than hf_record_seal() would. Returns the length of what follows the header. */
static size_t seal(uint8_t *out, const struct hf_record_key *key,
                   const struct hf_record_header *header, const uint8_t *in, size_t in_len)
{
    uint8_t nonce[12], aad[HF__RECORD_AAD_MAX];
    if (key->cipher == HF_CIPHER_AES_128_CBC_SHA256)
        return hf__cbc_seal(out, key, header, in, in_len);
    const struct hf__aead aead = {
        .key = key->key,
        .nonce = nonce,
        .aad = {aad, HF__RECORD_AAD_LEN},
        .tag_len = key->cipher == HF_CIPHER_AES_128_CCM_8 ? 8 : 16,
    };
    for (size_t i = 0; i < 8; i++)
        out[i] = (uint8_t)(header->seq >> (56 - 8 * i));
    memcpy(nonce, key->fixed_iv, 4);
    memcpy(nonce + 4, out, 8);
    (void)hf__record_aad(aad, header, (uint32_t)in_len);
    if (key->cipher == HF_CIPHER_AES_128_GCM)
        assert_true(hf__gcm_seal(out + 8, out + 8 + in_len, &aead, in, in_len));
    else
        hf__ccm_seal(out + 8, out + 8 + in_len, &aead, in, in_len);
    return 8 + in_len + aead.tag_len;
}

static size_t seal_record(uint8_t *out, struct engine_peer *peer, size_t plain_len)
{
    size_t head = peer->is_tls ? 5 : 13;
    uint64_t seq = peer->client.send_seq[1]++;
    const struct hf_record_header header = {.seq = peer->is_tls ? seq : UINT64_C(1) << 48 | seq,
                                            .version = peer->is_tls ? 0x0303 : 0xFEFD,
                                            .type = DATA};
    size_t len = seal(out + head, &peer->client.write_key, &header, big, plain_len);
    out[0] = DATA;
    out[1] = (uint8_t)(header.version >> 8);
    out[2] = (uint8_t)header.version;
    for (size_t i = 0; i < 8 && !peer->is_tls; i++)
        out[3 + i] = (uint8_t)(header.seq >> (56 - 8 * i));
    out[head - 2] = (uint8_t)(len >> 8);
    out[head - 1] = (uint8_t)len;
    return head + len;
}

static void plaintext_beyond_16384(void **state)
{
    struct engine_fixture *fixture = *state;
    static uint8_t record[sizeof big];
    static const uint16_t lens[] = {PLAINTEXT_MAX + 1, PLAINTEXT_MAX + 16, PLAINTEXT_MAX + 1024};
    for (size_t i = 0; i < 8; i++) { /* the sealing of this test itself is right */
        struct engine_peer *peer = open_peer(fixture, i % 2, suites[i / 2 % 4]);
        engine_peer_send(peer, record, seal_record(record, peer, 1000));
        assert_int_equal(peer->data_in_len, 1000);
        engine_peer_end(peer);
    }
    for (size_t i = 0; i < 8 * 3; i++) {
        struct engine_peer *peer = open_peer(fixture, i % 2, suites[i / 2 % 4]);
        uint64_t before = engine_fixture_rejected(fixture);
        size_t len = seal_record(record, peer, lens[i / 8]);
        assert_in_range(len, 0, CIPHERTEXT_MAX + 13);
        engine_peer_send(peer, record, len);
        assert_int_equal(peer->data_in_len, 0);
        assert_int_equal(engine_fixture_rejected(fixture), before + 1);
        if (i % 2) {
            assert_int_equal(peer->failure.status, HF_E_RECORD_OVERFLOW);
            assert_int_equal(peer->client.alert, 22);
        } else {
            assert_true(engine_peer_echoes(peer));
        }
        engine_peer_end(peer);
    }
}

static void ciphertext_beyond_its_limit(void **state)
{
    struct engine_fixture *fixture = *state;
    static uint8_t record[13 + 65535];
    static const uint16_t lens[] = {CIPHERTEXT_MAX + 1, CIPHERTEXT_MAX + 2, 32767, 40000, 65535};
    for (enum engine_stage stage = ENGINE_STAGE_NOTHING; stage < ENGINE_STAGE_COUNT; stage++) {
        for (size_t i = 0; i < 2 * sizeof lens / sizeof lens[0]; i++) {
            bool is_tls = i % 2;
            uint16_t len = lens[i / 2];
            struct engine_peer *peer = engine_peer_new(fixture, is_tls);
            engine_peer_to_stage(peer, stage);
            const uint8_t tls[] = {DATA, 3, 3, (uint8_t)(len >> 8), (uint8_t)len};
            const uint8_t dtls[] = {
                DATA, 0xFE, 0xFD, 0, stage >= ENGINE_STAGE_CHANGED, 0,           0,
                0,    0,    0,    9, (uint8_t)(len >> 8),           (uint8_t)len};
            memcpy(record, is_tls ? tls : dtls, is_tls ? sizeof tls : sizeof dtls);
            uint64_t before = engine_fixture_rejected(fixture);
            /* The header alone is enough on TLS; on DTLS nothing that fits IP is so long. */
            engine_peer_send(peer, record, is_tls ? sizeof tls : 13u + len);
            if (is_tls && (stage == ENGINE_STAGE_PARKED || stage == ENGINE_STAGE_FINISHED)) {
                assert_int_equal(engine_fixture_answer(fixture, true), HF_OK);
                engine_fixture_run(fixture);
            }
            assert_int_equal(engine_fixture_rejected(fixture), before + 1);
            if (is_tls)
                assert_int_equal(peer->failure.status, HF_E_RECORD_OVERFLOW);
            else
                engine_peer_finish(peer);
        }
        engine_fixture_advance(fixture, 61000000);
    }
}

/* A plain record may hold 2^14 bytes, though a sealed one may be longer on the wire. */
static void plain_record_beyond_16384(void **state)
{
    struct engine_fixture *fixture = *state;
    static uint8_t record[13 + CIPHERTEXT_MAX];
    for (uint32_t len = PLAINTEXT_MAX + 1; len <= CIPHERTEXT_MAX; len += 409) {
        struct engine_peer *peer = engine_peer_new(fixture, false);
        engine_peer_to_stage(peer, ENGINE_STAGE_HELLO);
        const uint8_t head[] = {HANDSHAKE,           0xFE,        0xFD, 0, 0, 0, 0, 0, 0, 0, 9,
                                (uint8_t)(len >> 8), (uint8_t)len};
        uint64_t before = engine_fixture_drops(fixture, HF_DROP_RECORD_LENGTH);
        memcpy(record, head, sizeof head);
        engine_peer_send(peer, record, sizeof head + len);
        assert_int_equal(engine_fixture_drops(fixture, HF_DROP_RECORD_LENGTH), before + 1);
        engine_peer_finish(peer);
        struct engine_peer *tls = engine_peer_new(fixture, true);
        const uint8_t tls_head[] = {HANDSHAKE, 3, 3, (uint8_t)(len >> 8), (uint8_t)len};
        memcpy(record, tls_head, sizeof tls_head);
        engine_peer_send(tls, record, sizeof tls_head + len);
        assert_int_equal(tls->failed_count, 1);
    }
}

static void max_fragment_length_violated(void **state)
{
    struct engine_fixture *fixture = *state;
    for (size_t i = 0; i < 4 * 8; i++) {
        bool is_tls = i % 2;
        struct engine_peer *peer = engine_peer_new(fixture, is_tls);
        uint8_t code = (uint8_t)(1 + i / 8);
        size_t limit = (size_t)256 << code;
        peer->config.max_fragment_length = code;
        peer->config.suites[0] = suites[i / 2 % 4];
        engine_peer_open(peer);
        assert_int_equal(peer->client.max_fragment_length, code);
        fixture->is_silent = true;
        engine_peer_send_sealed(peer, DATA, big, limit);
        assert_int_equal(peer->data_in_len, limit);
        uint64_t before = engine_fixture_rejected(fixture);
        engine_peer_send_sealed(peer, DATA, big, limit + 1);
        fixture->is_silent = false;
        assert_int_equal(peer->data_in_len, limit);
        assert_int_equal(engine_fixture_rejected(fixture), before + 1);
        if (is_tls)
            assert_int_equal(peer->failure.status, HF_E_RECORD_OVERFLOW);
        else
            assert_true(engine_peer_echoes(peer));
        engine_peer_end(peer);
    }
}

/* The limit is in force as soon as it is agreed, for what is not protected yet as well. */
static void max_fragment_length_violated_in_plain(void **state)
{
    struct engine_fixture *fixture = *state;
    for (uint8_t code = 1; code <= 3; code++) {
        size_t limit = (size_t)256 << code;
        for (size_t over = 0; over < 2; over++) {
            struct engine_peer *peer = engine_peer_new(fixture, true);
            uint8_t message[2049] = {16, 0, 0x0F, 0xA0}; /* the beginning of a longer one */
            peer->config.max_fragment_length = code;
            engine_peer_to_stage(peer, ENGINE_STAGE_HELLO);
            engine_peer_send_plain(peer, HANDSHAKE, message, limit + over);
            const struct engine_wire_item *item = &peer->sent.items[peer->sent.count - 1];
            engine_peer_send(peer, item->data, item->len);
            assert_int_equal(peer->failed_count, over);
            if (over)
                assert_int_equal(peer->failure.status, HF_E_RECORD_OVERFLOW);
        }
    }
}

static void unknown_content_types(void **state)
{
    struct engine_fixture *fixture = *state;
    for (unsigned type = 0; type < 256; type++) {
        enum engine_stage stage = type % ENGINE_STAGE_COUNT;
        if (type >= CCS && type <= DATA)
            continue;
        for (int is_tls = 0; is_tls < 2; is_tls++) {
            struct engine_peer *peer = engine_peer_new(fixture, is_tls);
            engine_peer_to_stage(peer, stage);
            uint64_t before = engine_fixture_rejected(fixture);
            uint8_t record[14] = {(uint8_t)type, is_tls ? 3 : 0xFE, is_tls ? 3 : 0xFD};
            record[is_tls ? 4 : 12] = 1;
            engine_peer_send(peer, record, is_tls ? 6 : 14);
            if (is_tls && (stage == ENGINE_STAGE_PARKED || stage == ENGINE_STAGE_FINISHED)) {
                assert_int_equal(engine_fixture_answer(fixture, true), HF_OK);
                engine_fixture_run(fixture);
            }
            assert_int_equal(engine_fixture_rejected(fixture), before + 1);
            if (is_tls)
                assert_int_equal(peer->failure.status, HF_E_UNEXPECTED_MESSAGE);
            else
                engine_peer_finish(peer);
            engine_peer_end(peer);
            engine_peer_free(peer);
        }
    }
    assert_in_range(engine_fixture_drops(fixture, HF_DROP_RECORD_TYPE), 252, 252);
}

static void unknown_record_versions(void **state)
{
    struct engine_fixture *fixture = *state;
    static const uint16_t versions[] = {0x0000, 0x0002, 0x0100, 0x0200, 0x0304, 0x0400,
                                        0xFEFC, 0xFEFE, 0xFE00, 0xFFFF, 0x0303, 0xFEFD};
    for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++) {
        for (int is_tls = 0; is_tls < 2; is_tls++) {
            struct engine_peer *peer = engine_peer_new(fixture, is_tls);
            engine_peer_to_stage(peer, ENGINE_STAGE_KEYED);
            uint64_t before = engine_fixture_rejected(fixture);
            const struct psk_client_record record = {
                .type = CCS,
                .version = versions[i] ? versions[i] : 1,
                .seq = 50,
                .payload = {(const uint8_t *)"\2", 1}}; /* no good, whatever its version */
            engine_peer_send_record(peer, &record);
            const struct engine_wire_item *item = &peer->sent.items[peer->sent.count - 1];
            engine_peer_send(peer, item->data, item->len);
            assert_int_equal(engine_fixture_rejected(fixture), before + 1);
            if (is_tls)
                assert_int_equal(peer->failure.status,
                                 versions[i] == 0x0303 ? HF_E_DECODE : HF_E_VERSION);
            free(peer->sent.items[--peer->sent.count].data);
            if (!is_tls)
                engine_peer_finish(peer);
        }
    }
}

/* Empty records of application data are legal, and an endless row of them is not. */
static void empty_record_flood(void **state)
{
    struct engine_fixture *fixture = *state;
    for (size_t i = 0; i < 8; i++) {
        struct engine_peer *peer = open_peer(fixture, i % 2, suites[i / 2]);
        size_t sent = 0;
        for (size_t k = 0; k < 10; k++) /* a few, with data between */
            engine_peer_send_sealed(peer, DATA, big, k % 5 == 4);
        assert_int_equal(peer->closed_count, 0);
        while (peer->closed_count == 0 && sent < 1000) {
            engine_peer_send_sealed(peer, DATA, big, 0);
            sent++;
        }
        assert_in_range(sent, 8, 100);
        assert_int_equal(peer->failure.status, HF_E_WARNING_FLOOD);
        engine_peer_free(peer);
    }
}

static void warning_alert_flood(void **state)
{
    struct engine_fixture *fixture = *state;
    static const uint8_t warning[] = {1, 90};
    for (size_t i = 0; i < 8; i++) {
        struct engine_peer *peer = open_peer(fixture, i % 2, suites[i / 2]);
        size_t sent = 0, received = peer->received.count;
        while (peer->closed_count == 0 && sent < 1000) {
            engine_peer_send_sealed(peer, ALERT, warning, 2);
            sent++;
        }
        assert_in_range(sent, 8, 100);
        assert_int_equal(peer->failure.status, HF_E_WARNING_FLOOD);
        assert_int_equal(peer->received.count, received + 1); /* only the last word */
        engine_peer_free(peer);
    }
    struct engine_peer *peer = engine_peer_new(fixture, true); /* before anything is protected */
    engine_peer_to_stage(peer, ENGINE_STAGE_HELLO);
    for (size_t sent = 0; sent < 100 && peer->failed_count == 0; sent++) {
        const uint8_t record[] = {ALERT, 3, 3, 0, 2, 1, 90};
        engine_peer_send(peer, record, sizeof record);
    }
    assert_int_equal(peer->failure.status, HF_E_WARNING_FLOOD);
}

/* Empty handshake records are never legal (RFC 5246 6.2.1). */
static void empty_handshake_record(void **state)
{
    struct engine_fixture *fixture = *state;
    for (enum engine_stage stage = ENGINE_STAGE_NOTHING; stage < ENGINE_STAGE_COUNT; stage++) {
        for (int is_tls = 0; is_tls < 2; is_tls++) {
            struct engine_peer *peer = engine_peer_new(fixture, is_tls);
            engine_peer_to_stage(peer, stage);
            uint64_t before = engine_fixture_rejected(fixture);
            if (stage == ENGINE_STAGE_OPEN)
                engine_peer_send_sealed(peer, HANDSHAKE, big, 0);
            else if (stage < ENGINE_STAGE_CHANGED && stage != ENGINE_STAGE_PARKED)
                engine_peer_send(peer,
                                 is_tls ? (const uint8_t *)"\x16\x03\x03\0\0"
                                        : (const uint8_t *)"\x16\xFE\xFD\0\0\0\0\0\0\0\7\0\0",
                                 is_tls ? 5 : 13);
            else
                continue;
            assert_int_equal(engine_fixture_rejected(fixture), before + 1);
            if (is_tls)
                assert_int_equal(peer->failure.status, HF_E_DECODE);
            else
                engine_peer_finish(peer);
        }
        engine_fixture_advance(fixture, 61000000);
    }
}

/* Forged data with a live association's address: rate-limited, and harmless. */
static void forgeries_are_rationed(void **state)
{
    struct engine_fixture *fixture = *state;
    for (size_t i = 0; i < 4; i++) {
        struct engine_peer *peer = open_peer(fixture, false, suites[i]);
        for (size_t k = 0; k < 200; k++) /* numbers that a stranger cannot know are near */
            assert_true(engine_peer_echoes(peer));
        uint8_t record[13 + 64] = {DATA, 0xFE, 0xFD, 0, 1, 0, 0, 1};
        record[12] = 64;
        uint64_t tried = engine_fixture_drops(fixture, HF_DROP_UNAUTHENTIC);
        for (size_t k = 0; k < 5000; k++) {
            record[8] = (uint8_t)(k >> 8);
            record[9] = (uint8_t)k;
            engine_peer_send(peer, record, sizeof record);
        }
        tried = engine_fixture_drops(fixture, HF_DROP_UNAUTHENTIC) - tried;
        assert_in_range(tried, 1, 2 * fixture->config.trials_per_second);
        assert_true(engine_peer_echoes(peer)); /* its own numbers are near the newest */
        for (size_t k = 0; k < 100; k++) {
            engine_fixture_advance(fixture, 100000);
            record[7] = 1;
            for (size_t n = 0; n < 100; n++) {
                record[8]++;
                engine_peer_send(peer, record, sizeof record);
            }
            assert_true(engine_peer_echoes(peer));
        }
        engine_peer_end(peer);
    }
}

/* What another key sealed is no use, even from the right address and with the right number. */
static void record_of_another_association(void **state)
{
    struct engine_fixture *fixture = *state;
    for (size_t i = 0; i < 8; i++) {
        struct engine_peer *peer = open_peer(fixture, i % 2, suites[i / 2]);
        struct engine_peer *other = open_peer(fixture, i % 2, suites[i / 2]);
        uint8_t record[256];
        other->is_held = true;
        psk_client_send(&other->client, big, 50, engine_peer_emit, other);
        size_t len = take_sent(record, other);
        uint64_t before = engine_fixture_rejected(fixture);
        engine_peer_send(peer, record, len);
        assert_int_equal(engine_fixture_rejected(fixture), before + 1);
        assert_int_equal(peer->data_in_len, 0);
        assert_true(i % 2 ? peer->closed_count == 1 : engine_peer_echoes(peer));
    }
}

/* Every bit of a sealed record counts. */
static void every_bit_of_a_record_flipped(void **state)
{
    struct engine_fixture *fixture = *state;
    for (size_t i = 0; i < 4; i++) {
        struct engine_peer *peer = open_peer(fixture, false, suites[i]);
        uint8_t record[256], copy[256];
        peer->is_held = true;
        psk_client_send(&peer->client, big, 20, engine_peer_emit, peer);
        peer->is_held = false;
        size_t len = take_sent(record, peer);
        for (size_t bit = 0; bit < 8 * len; bit++) {
            uint64_t before = engine_fixture_rejected(fixture);
            memcpy(copy, record, len);
            copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
            engine_peer_send(peer, copy, len);
            assert_in_range(engine_fixture_rejected(fixture) - before, 1, 3);
            assert_int_equal(peer->data_in_len, 0);
            engine_fixture_advance(fixture, 50000); /* within what may be tried a second */
        }
        engine_peer_send(peer, record, len);
        assert_int_equal(peer->data_in_len, 20);
        engine_peer_end(peer);
    }
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, engine_fixture_setup, engine_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_record_replayed),
        TEST(record_replayed_or_lost_on_tls),
        TEST(longest_records_are_taken),
        TEST(plaintext_beyond_16384),
        TEST(ciphertext_beyond_its_limit),
        TEST(plain_record_beyond_16384),
        TEST(max_fragment_length_violated),
        TEST(max_fragment_length_violated_in_plain),
        TEST(unknown_content_types),
        TEST(unknown_record_versions),
        TEST(empty_record_flood),
        TEST(warning_alert_flood),
        TEST(empty_handshake_record),
        TEST(forgeries_are_rationed),
        TEST(record_of_another_association),
        TEST(every_bit_of_a_record_flipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
