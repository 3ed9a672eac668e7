/**
 * cid_test.c - connection IDs (RFC 9146) between two engines: who asks for one and who does not,
 * every kind of record protection, what is on the wire, what is discarded; and how ours are made
 * and recognised.
 */
#include "cid.h"
#include "engine_pair.h"

enum { TYPE_CID = 25 };

static struct engine_pair pair;

static void begin(enum hf_connection_id client, enum hf_connection_id server)
{
    engine_pair_init(&pair, true);
    pair.dialers[1].connection_id = client;
    pair.listeners[1].connection_id = server;
}

/* The type and epoch of each record of a direction: counts those with and without a CID. */
struct census {
    size_t plain, named, unnamed;
};

static struct census take_census(bool is_up, size_t cid_len)
{
    struct census census = {0};
    for (size_t i = 0; i < pair.sent_count; i++) {
        const struct engine_pair_item *item = &pair.sent[i];
        for (size_t at = 0; item->is_up == is_up && at < item->len;) {
            const uint8_t *record = item->data + at;
            size_t head = record[0] == TYPE_CID ? 13 + cid_len : 13;
            bool is_protected = record[4] != 0;
            census.plain += !is_protected;
            census.named += is_protected && record[0] == TYPE_CID;
            census.unnamed += is_protected && record[0] != TYPE_CID;
            assert_true(is_protected || record[0] != TYPE_CID);
            at += head + (size_t)(record[head - 2] << 8 | record[head - 1]);
            assert_true(at <= item->len);
        }
    }
    return census;
}

static void check_direction(bool is_up, size_t cid_len)
{
    struct census census = take_census(is_up, cid_len);
    assert_true(census.plain > 0);
    assert_int_equal(cid_len > 0 ? census.unnamed : census.named, 0);
    assert_true((cid_len > 0 ? census.named : census.unnamed) >= 2);
}

static void every_pairing(void **state)
{
    (void)state;
    for (int client = HF_CONNECTION_ID_OFF; client <= HF_CONNECTION_ID_ON; client++) {
        for (int server = HF_CONNECTION_ID_OFF; server <= HF_CONNECTION_ID_ON; server++) {
            bool is_agreed = client != HF_CONNECTION_ID_OFF && server != HF_CONNECTION_ID_OFF;
            begin((enum hf_connection_id)client, (enum hf_connection_id)server);
            engine_pair_open(&pair);
            engine_pair_meet(&pair);
            engine_pair_talk(&pair);
            struct hf_association_info ours = engine_pair_info(&pair.client);
            struct hf_association_info theirs = engine_pair_info(&pair.server);
            size_t up = is_agreed && server == HF_CONNECTION_ID_ON ? HF_CID_BASE_LEN : 0;
            size_t down = is_agreed && client == HF_CONNECTION_ID_ON ? HF_CID_BASE_LEN : 0;
            assert_int_equal(theirs.own_cid_len, up);
            assert_int_equal(ours.peer_cid_len, up);
            assert_memory_equal(theirs.own_cid, ours.peer_cid, HF_CONNECTION_ID_MAX);
            assert_int_equal(ours.own_cid_len, down);
            assert_int_equal(theirs.peer_cid_len, down);
            assert_memory_equal(ours.own_cid, theirs.peer_cid, HF_CONNECTION_ID_MAX);
            assert_int_equal(ours.has_return_routability, is_agreed);
            assert_int_equal(theirs.has_return_routability, is_agreed);
            check_direction(true, up);
            check_direction(false, down);
            assert_int_equal(engine_pair_counters(&pair.server).cids, is_agreed);
            engine_pair_close(&pair);
        }
    }
}

static void every_protection(void **state)
{
    static const uint16_t suites[] = {HF_SUITE_PSK_AES_128_CCM_8, HF_SUITE_PSK_AES_128_CCM,
                                      HF_SUITE_PSK_AES_128_GCM_SHA256,
                                      HF_SUITE_PSK_AES_128_CBC_SHA256};
    (void)state;
    for (size_t i = 0; i < 8; i++) {
        begin(HF_CONNECTION_ID_ON, HF_CONNECTION_ID_ON);
        pair.dialers[1].suites[0] = suites[i / 2];
        pair.dialers[1].suite_count = 1;
        pair.dialers[1].encrypt_then_mac = i % 2;
        pair.config.cid_node_len = i % 2 ? 8 : 0; /* sixteen bytes */
        pair.config.cid_node_offset = 8;
        engine_pair_open(&pair);
        engine_pair_meet(&pair);
        engine_pair_talk(&pair);
        assert_int_equal(engine_pair_info(&pair.server).own_cid_len, i % 2 ? 16 : 8);
        /* The longest record there can be: the type counts. */
        static const uint8_t big[HF_STREAM_CHUNK_MAX];
        struct hf_bytes most = {big, HF_STREAM_CHUNK_MAX - 1};
        size_t before = pair.server.data_len;
        assert_int_equal(engine_pair_info(&pair.client).plaintext_len_max, most.len);
        assert_int_equal(hf_engine_send(pair.client.engine, pair.client.id, most), HF_OK);
        engine_pair_run(&pair);
        assert_int_equal(pair.server.data_len - before, most.len);
        most.len++;
        assert_int_equal(hf_engine_send(pair.client.engine, pair.client.id, most), HF_E_TOO_LONG);
        engine_pair_close(&pair);
    }
}

static void checks_only_where_both_want_them(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        begin(HF_CONNECTION_ID_SEND, HF_CONNECTION_ID_ON);
        pair.dialers[1].return_routability = i & 1;
        pair.listeners[1].return_routability = i & 2;
        engine_pair_open(&pair);
        engine_pair_meet(&pair);
        assert_int_equal(engine_pair_info(&pair.client).has_return_routability, i == 3);
        assert_int_equal(engine_pair_info(&pair.server).has_return_routability, i == 3);
        engine_pair_close(&pair);
    }
}

/* Takes the CID out of a record, which makes an ordinary one of it. */
static bool strip(struct engine_pair_item *item, void *arg)
{
    const int *is_on = arg;
    if (!*is_on || !item->is_up || item->data[0] != TYPE_CID)
        return false;
    item->data[0] = 23;
    memmove(item->data + 11, item->data + 11 + HF_CID_BASE_LEN, item->len - 11 - HF_CID_BASE_LEN);
    item->len -= HF_CID_BASE_LEN;
    return false;
}

static uint64_t server_drops(enum hf_drop drop)
{
    return engine_pair_counters(&pair.server).drops[drop];
}

static void send_up(void)
{
    static const uint8_t text[] = "text";
    const struct hf_bytes data = {text, sizeof text};
    assert_int_equal(hf_engine_send(pair.client.engine, pair.client.id, data), HF_OK);
    engine_pair_run(&pair);
}

static void a_record_without_is_discarded(void **state)
{
    int is_on = 0;
    (void)state;
    begin(HF_CONNECTION_ID_SEND, HF_CONNECTION_ID_ON);
    pair.filter = strip;
    pair.filter_arg = &is_on;
    engine_pair_open(&pair);
    engine_pair_meet(&pair);
    is_on = 1;
    send_up();
    assert_int_equal(pair.server.data_len, 0);
    assert_int_equal(server_drops(HF_DROP_CID_MISSING), 1);
    assert_int_equal(server_drops(HF_DROP_UNAUTHENTIC), 0); /* and costs no decryption */
    is_on = 0;
    engine_pair_talk(&pair);
    engine_pair_close(&pair);
}

/* Every bit of the CID: strangers' die before they reach an association. */
static bool bend(struct engine_pair_item *item, void *arg)
{
    const size_t *bit = arg;
    if (*bit < 8 * HF_CID_BASE_LEN && item->is_up && item->data[0] == TYPE_CID)
        item->data[11 + *bit / 8] ^= (uint8_t)(1u << *bit % 8);
    return false;
}

static void a_wrong_one_is_discarded(void **state)
{
    size_t bit = SIZE_MAX;
    (void)state;
    begin(HF_CONNECTION_ID_SEND, HF_CONNECTION_ID_ON);
    pair.filter = bend;
    pair.filter_arg = &bit;
    engine_pair_open(&pair);
    engine_pair_meet(&pair);
    for (bit = 0; bit < 8 * HF_CID_BASE_LEN; bit++)
        send_up();
    assert_int_equal(pair.server.data_len, 0);
    assert_int_equal(server_drops(HF_DROP_CID), bit);
    assert_int_equal(server_drops(HF_DROP_UNAUTHENTIC), 0);
    engine_pair_talk(&pair);
    engine_pair_close(&pair);
}

static void the_other_end_of_a_life_is_told_apart(void **state)
{
    (void)state;
    begin(HF_CONNECTION_ID_SEND, HF_CONNECTION_ID_ON);
    engine_pair_open(&pair);
    engine_pair_meet(&pair);
    const struct hf_association_info former = engine_pair_info(&pair.server);
    send_up();
    const struct engine_pair_item last = pair.sent[pair.sent_count - 1];
    engine_pair_part(&pair);
    engine_pair_meet(&pair); /* on the same record, a generation later */
    const struct hf_association_info now = engine_pair_info(&pair.server);
    assert_memory_not_equal(former.own_cid, now.own_cid, HF_CID_BASE_LEN);
    uint64_t before = server_drops(HF_DROP_CID);
    engine_pair_inject(&pair, true, last.data, last.len);
    engine_pair_run(&pair);
    assert_int_equal(server_drops(HF_DROP_CID), before + 1);
    engine_pair_talk(&pair);
    engine_pair_close(&pair);
}

static void secrets(struct hf_shared_secrets *out, uint8_t first, uint32_t count, int64_t wall_s)
{
    *out = (struct hf_shared_secrets){.count = count};
    for (uint32_t i = 0; i < count; i++) {
        out->entries[i].from_s = wall_s - i;
        memset(out->entries[i].secret, first + (int)(count - 1 - i), HF_SHARED_SECRET_LEN);
    }
}

/* An association outlives the secret its CID was made with; sixteen are remembered. */
static void secrets_change_under_associations(void **state)
{
    struct hf_shared_secrets shared;
    (void)state;
    begin(HF_CONNECTION_ID_SEND, HF_CONNECTION_ID_ON);
    secrets(&pair.config.secrets, 1, 1, pair.wall_s);
    engine_pair_open(&pair);
    engine_pair_meet(&pair);
    const struct hf_association_info info = engine_pair_info(&pair.server);
    for (uint8_t first = 2; first < 17; first++) {
        secrets(&shared, first, 1, pair.wall_s);
        hf_engine_set_secrets(pair.server.engine, &shared);
        engine_pair_talk(&pair);
        assert_memory_equal(engine_pair_info(&pair.server).own_cid, info.own_cid, HF_CID_BASE_LEN);
    }
    secrets(&shared, 17, 1, pair.wall_s);
    hf_engine_set_secrets(pair.server.engine, &shared);
    send_up();
    assert_int_equal(server_drops(HF_DROP_CID), 1);
    engine_pair_close(&pair);
}

static void nodes_and_shards_stand_where_balancers_look(void **state)
{
    (void)state;
    for (uint8_t offset = 0; offset <= 8; offset++) {
        begin(HF_CONNECTION_ID_SEND, HF_CONNECTION_ID_ON);
        pair.config.cid_node_len = 3;
        pair.config.cid_node_offset = offset;
        memcpy(pair.config.cid_node, "\x11\x22\x33", 3);
        pair.config.shard_index = 5;
        engine_pair_open(&pair);
        engine_pair_meet(&pair);
        engine_pair_talk(&pair);
        const struct hf_association_info info = engine_pair_info(&pair.server);
        assert_int_equal(info.own_cid_len, 11);
        assert_memory_equal(info.own_cid + offset, "\x11\x22\x33", 3);
        assert_int_equal(info.own_cid[offset == 0 ? 3 : 0], 5);
        send_up();
        struct engine_pair_item last = pair.sent[pair.sent_count - 1];
        struct hf_engine *engine = pair.server.engine;
        assert_int_equal(hf_engine_datagram_shard(engine, last.data, last.len), 5);
        last.data[11 + (offset == 0 ? 3 : 0)] = 9;
        assert_int_equal(hf_engine_datagram_shard(engine, last.data, last.len), 9);
        for (size_t len = 0; len < 22; len++)
            assert_int_equal(hf_engine_datagram_shard(engine, last.data, len), 5);
        last.data[11 + offset]++; /* another node's */
        assert_int_equal(hf_engine_datagram_shard(engine, last.data, last.len), 5);
        engine_pair_close(&pair);
    }
}

static void resumption_agrees_anew(void **state)
{
    (void)state;
    begin(HF_CONNECTION_ID_ON, HF_CONNECTION_ID_ON);
    pair.dialers[1].sessions = true;
    pair.has_tickets = true;
    engine_pair_open(&pair);
    engine_pair_meet(&pair);
    const struct hf_association_info former = engine_pair_info(&pair.server);
    assert_true(pair.client.session_count == 1);
    pair.connect.session = (struct hf_bytes){pair.client.session, pair.client.session_len};
    engine_pair_part(&pair);
    engine_pair_meet(&pair);
    const struct hf_association_info now = engine_pair_info(&pair.server);
    assert_true(now.is_resumed);
    assert_int_equal(now.own_cid_len, HF_CID_BASE_LEN);
    assert_memory_not_equal(now.own_cid, former.own_cid, HF_CID_BASE_LEN);
    assert_memory_not_equal(now.peer_cid, former.peer_cid, HF_CID_BASE_LEN);
    engine_pair_talk(&pair);
    engine_pair_close(&pair);
}

static bool lose_a_third(struct engine_pair_item *item, void *arg)
{
    uint32_t *random = arg;
    (void)item;
    *random = *random * 1103515245u + 12345u;
    return (*random >> 16) % 3 == 0;
}

/* Early records, repeats and the last flight made again all have their CIDs. */
static void a_lossy_handshake(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 20; seed++) {
        uint32_t random = seed;
        begin(HF_CONNECTION_ID_ON, HF_CONNECTION_ID_ON);
        pair.listeners[1].datagram_len_max = pair.dialers[1].datagram_len_max = 256;
        pair.config.retransmit_us_max = 1000000;
        pair.filter = lose_a_third;
        pair.filter_arg = &random;
        engine_pair_open(&pair);
        assert_int_equal(engine_pair_dial(&pair), HF_OK);
        engine_pair_advance(&pair, 40000000);
        assert_true(engine_pair_is_open(&pair));
        pair.filter = NULL;
        engine_pair_talk(&pair);
        engine_pair_close(&pair);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pairing),
        cmocka_unit_test(every_protection),
        cmocka_unit_test(checks_only_where_both_want_them),
        cmocka_unit_test(a_record_without_is_discarded),
        cmocka_unit_test(a_wrong_one_is_discarded),
        cmocka_unit_test(the_other_end_of_a_life_is_told_apart),
        cmocka_unit_test(secrets_change_under_associations),
        cmocka_unit_test(nodes_and_shards_stand_where_balancers_look),
        cmocka_unit_test(resumption_agrees_anew),
        cmocka_unit_test(a_lossy_handshake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
