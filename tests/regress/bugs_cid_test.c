/**
 * bugs_cid_test.c - bugs other implementations had with connection IDs (RFC 9146). Each test is one
 * line of docs/REGRESSIONS.md and bears its number. The client is not the engine's.
 */
#include "engine_fixture.h"

enum { CCS = 20, ALERT = 21, HANDSHAKE = 22, DATA = 23, CID = 25, ROUTABILITY = 27, OWN_LEN = 8 };

static uint8_t cids[256];

static struct engine_peer *new_peer(struct engine_fixture *fixture, size_t cid_len)
{
    struct engine_peer *peer = engine_peer_new(fixture, false);
    peer->config.connection_id = true;
    peer->config.cid = (struct hf_bytes){cids, cid_len};
    return peer;
}

static struct engine_peer *open_peer(struct engine_fixture *fixture, size_t cid_len)
{
    struct engine_peer *peer = new_peer(fixture, cid_len);
    engine_peer_open(peer);
    assert_true(engine_peer_echoes(peer));
    return peer;
}

static void end(struct engine_peer *peer)
{
    engine_peer_end(peer);
    engine_peer_free(peer);
}

static struct hf_association_info info_of(const struct engine_peer *peer)
{
    struct hf_association_info info;
    assert_int_equal(hf_engine_association_info(&info, peer->fixture->engine, peer->id), HF_OK);
    return info;
}

/* Up to 32 bytes are used, longer ones declined; with every cipher. */
static void line_25_cve_2022_46393_every_length(void **state)
{
    static const uint16_t suites[] = {HF_SUITE_PSK_AES_128_CCM_8, HF_SUITE_PSK_AES_128_CCM,
                                      HF_SUITE_PSK_AES_128_GCM_SHA256,
                                      HF_SUITE_PSK_AES_128_CBC_SHA256};
    struct engine_fixture *fixture = *state;
    for (size_t len = 0; len < 256; len++) {
        struct engine_peer *peer = new_peer(fixture, len);
        peer->config.suites[0] = suites[len % 4];
        peer->config.encrypt_then_mac = len % 8 < 4;
        peer->config.cid_padding = (uint8_t)(len % 7);
        engine_peer_open(peer);
        assert_true(engine_peer_echoes(peer));
        assert_int_equal(peer->client.has_cid, len <= HF_CONNECTION_ID_MAX);
        assert_int_equal(peer->client.server_cid_len, len <= HF_CONNECTION_ID_MAX ? OWN_LEN : 0);
        assert_int_equal(info_of(peer).peer_cid_len, len <= HF_CONNECTION_ID_MAX ? len : 0);
        end(peer);
    }
}

/* Records cut off anywhere, the CID included, from a block of exactly their length. */
static void line_25_record_shorter_than_its_cid(void **state)
{
    struct engine_fixture *fixture = *state;
    struct engine_peer *peer = open_peer(fixture, 32);
    struct engine_wire_item last;
    engine_peer_send_sealed(peer, DATA, "x", 1);
    last = peer->sent.items[peer->sent.count - 1];
    uint8_t *copy = malloc(last.len);
    assert_non_null(copy);
    memcpy(copy, last.data, last.len);
    for (size_t len = 0; len < last.len; len++) {
        uint64_t before = engine_fixture_rejected(fixture);
        engine_peer_send(peer, copy, len);
        assert_int_equal(engine_fixture_rejected(fixture), before + 1);
    }
    free(copy);
    assert_true(engine_peer_echoes(peer));
    end(peer);
}

/* What was recorded, or is late, comes from another address: the peer stays where it is. */
static void line_26_wolfssl_10609_replay_from_elsewhere(void **state)
{
    struct engine_fixture *fixture = *state;
    for (int has_check = 0; has_check < 2; has_check++) {
        struct engine_peer *peer = new_peer(fixture, 0);
        peer->config.return_routability = has_check;
        engine_peer_open(peer);
        for (int i = 0; i < 5; i++)
            assert_true(engine_peer_echoes(peer));
        const struct hf_path elsewhere = engine_fixture_path(0xCB007142, 4242);
        const struct hf_path home = peer->path;
        uint64_t strays = fixture->stray_count;
        for (size_t i = 0; i < peer->sent.count; i++) {
            engine_fixture_datagram(fixture, &elsewhere, peer->sent.items[i].data,
                                    peer->sent.items[i].len);
            engine_fixture_run(fixture);
        }
        const struct hf_association_info info = info_of(peer);
        assert_memory_equal(&info.path, &home, sizeof home);
        assert_false(info.is_path_checking);
        assert_true(fixture->stray_count - strays <= peer->sent.count); /* hellos: a cookie each */
        assert_int_equal(engine_fixture_counters(fixture).paths_moved, 0);
        assert_int_equal(engine_fixture_counters(fixture).paths_checked, 0);
        assert_true(engine_peer_echoes(peer));
        end(peer);
    }
}

struct toggle {
    struct engine_peer *peer;
    int hellos;
    bool first;
};

/* Offers it in one of the two hellos only. */
static enum psk_client_verdict toggle(enum psk_client_tamper_kind kind, uint8_t type, uint8_t *data,
                                      size_t *len, size_t max, void *arg)
{
    struct toggle *toggle = arg;
    (void)data;
    (void)len;
    (void)max;
    if (kind == PSK_CLIENT_TAMPER_MESSAGE && type == 1 && toggle->hellos++ == 0)
        toggle->peer->client.config.connection_id = !toggle->first;
    return PSK_CLIENT_SEND;
}

static void line_27_only_the_second_hello_counts(void **state)
{
    struct engine_fixture *fixture = *state;
    for (int is_first = 0; is_first < 2; is_first++) {
        struct engine_peer *peer = new_peer(fixture, 4);
        struct toggle context = {peer, 0, is_first};
        peer->config.connection_id = is_first;
        peer->config.tamper = toggle;
        peer->config.tamper_arg = &context;
        engine_peer_open(peer);
        assert_true(context.hellos >= 2);
        assert_int_equal(peer->client.has_cid, !is_first);
        assert_int_equal(info_of(peer).own_cid_len, is_first ? 0 : OWN_LEN);
        assert_true(engine_peer_echoes(peer));
        end(peer);
    }
}

static void line_27_unknown_ids_are_dropped_in_silence(void **state)
{
    struct engine_fixture *fixture = *state;
    struct engine_peer *peer = open_peer(fixture, 0);
    uint64_t unauthentic = engine_fixture_drops(fixture, HF_DROP_UNAUTHENTIC);
    engine_peer_send_sealed(peer, DATA, "x", 1);
    const struct engine_wire_item last = peer->sent.items[peer->sent.count - 1];
    uint8_t copy[128];
    uint32_t random = 1;
    engine_peer_forget(peer);
    for (int i = 0; i < 2000; i++) {
        uint64_t before = engine_fixture_drops(fixture, HF_DROP_CID);
        memset(copy, 0, sizeof copy);
        copy[0] = CID;
        copy[1] = 0xFE;
        copy[2] = 0xFD;
        copy[4] = (uint8_t)(1 + i % 3);
        for (size_t at = 11; at < 11 + OWN_LEN; at++) {
            random = random * 1103515245u + 12345u;
            copy[at] = (uint8_t)(random >> 16);
        }
        copy[11] = 0; /* the shard is ours */
        copy[20] = 40;
        engine_peer_send(peer, copy, 61);
        assert_int_equal(engine_fixture_drops(fixture, HF_DROP_CID), before + 1);
    }
    (void)last;
    assert_int_equal(peer->received.count, 0);
    assert_int_equal(engine_fixture_drops(fixture, HF_DROP_UNAUTHENTIC), unauthentic);
    assert_true(engine_peer_echoes(peer));
    end(peer);
}

/* Its own CID, or none, on an association that agreed on something else. */
static void line_27_type_25_without_agreement(void **state)
{
    struct engine_fixture *fixture = *state;
    struct engine_peer *named = open_peer(fixture, 0);
    struct engine_peer *plain = engine_peer_new(fixture, false);
    engine_peer_open(plain);
    /* A record of the plain peer, sealed with its keys, under the other's CID. */
    plain->client.send_seq[1] = 100; /* new to the other, too */
    plain->client.server_cid_len = named->client.server_cid_len;
    memcpy(plain->client.server_cid, named->client.server_cid, named->client.server_cid_len);
    uint64_t before = engine_fixture_drops(fixture, HF_DROP_UNAUTHENTIC);
    uint64_t data_len = plain->data_in_len + named->data_in_len;
    engine_peer_send_sealed(plain, DATA, "x", 1);
    assert_int_equal(engine_fixture_drops(fixture, HF_DROP_UNAUTHENTIC), before + 1);
    assert_int_equal(plain->data_in_len + named->data_in_len, data_len);
    plain->client.server_cid_len = 0;
    /* And the named one's without. */
    uint8_t len = named->client.server_cid_len;
    named->client.server_cid_len = 0;
    before = engine_fixture_drops(fixture, HF_DROP_CID_MISSING);
    engine_peer_send_sealed(named, DATA, "x", 1);
    assert_int_equal(engine_fixture_drops(fixture, HF_DROP_CID_MISSING), before + 1);
    named->client.server_cid_len = len;
    assert_true(engine_peer_echoes(plain) && engine_peer_echoes(named));
    end(plain);
    end(named);
}

static void line_28_inner_types(void **state)
{
    struct engine_fixture *fixture = *state;
    struct engine_peer *peer = open_peer(fixture, 3);
    peer->client.config.cid_padding = 9;
    for (unsigned type = 0; type < 256; type++) {
        uint64_t before = engine_fixture_rejected(fixture);
        if (type >= ALERT && type <= DATA)
            continue;
        engine_peer_send_sealed(peer, (uint8_t)type, "", 0);
        engine_peer_send_sealed(peer, (uint8_t)type, "\1", 1);
        assert_int_equal(engine_fixture_rejected(fixture), before + 2);
        assert_int_equal(engine_fixture_counters(fixture).handshakes_open, 0);
    }
    assert_true(engine_peer_echoes(peer));
    end(peer);
}

static void line_28_inner_plaintext_too_long(void **state)
{
    static uint8_t big[16384];
    struct engine_fixture *fixture = *state;
    struct engine_peer *peer = new_peer(fixture, 0);
    peer->config.max_fragment_length = 1; /* 512 bytes of content */
    engine_peer_open(peer);
    fixture->is_silent = true;
    for (size_t len = 510; len < 516; len++) {
        uint64_t before = peer->data_in_len;
        const struct psk_client_record record = {.type = DATA,
                                                 .epoch = 1,
                                                 .seq = PSK_CLIENT_SEQ_NEXT,
                                                 .is_protected = true,
                                                 .payload = {big, len}};
        engine_peer_send_record(peer, &record);
        assert_int_equal(peer->data_in_len - before, len <= 512 ? len : 0);
    }
    fixture->is_silent = false;
    assert_true(engine_peer_echoes(peer));
    end(peer);
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, engine_fixture_setup, engine_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(line_25_cve_2022_46393_every_length),
        TEST(line_25_record_shorter_than_its_cid),
        TEST(line_26_wolfssl_10609_replay_from_elsewhere),
        TEST(line_27_only_the_second_hello_counts),
        TEST(line_27_unknown_ids_are_dropped_in_silence),
        TEST(line_27_type_25_without_agreement),
        TEST(line_28_inner_types),
        TEST(line_28_inner_plaintext_too_long),
    };
    for (size_t i = 0; i < sizeof cids; i++)
        cids[i] = (uint8_t)(7 * i + 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
