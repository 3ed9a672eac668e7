/**
 * client_test.c - the engine as client against the engine as server: what is negotiated, what is
 * refused, who must answer. psk_client, which shares no code with either,
 * guards against mistakes that both ends make alike; other implementations do in tests/interop.
 */
#include "engine_pair.h"

static struct engine_pair pair;

static void begin(bool is_dtls)
{
    engine_pair_init(&pair, is_dtls);
}

/* ---- what is agreed on ---------------------------------------------------------------------- */

static void every_suite_opens_on_both_transports(void **state)
{
    static const uint16_t suites[] = {HF_SUITE_PSK_AES_128_GCM_SHA256,
                                      HF_SUITE_PSK_AES_128_CBC_SHA256, HF_SUITE_PSK_AES_128_CCM,
                                      HF_SUITE_PSK_AES_128_CCM_8};
    (void)state;
    for (size_t i = 0; i < 16; i++) {
        begin(i & 1);
        pair.dialers[i & 1].suites[0] = suites[i / 4];
        pair.dialers[i & 1].suite_count = 1;
        pair.dialers[i & 1].encrypt_then_mac = i & 2;
        engine_pair_open(&pair);
        engine_pair_meet(&pair);
        struct hf_association_info info = engine_pair_info(&pair.client);
        assert_int_equal(info.suite, suites[i / 4]);
        assert_true(info.extended_master_secret);
        assert_int_equal(info.encrypt_then_mac,
                         (i & 2) && suites[i / 4] == HF_SUITE_PSK_AES_128_CBC_SHA256);
        engine_pair_talk(&pair);
        engine_pair_close(&pair);
    }
}

static void the_mandatory_suite_is_first(void **state)
{
    (void)state;
    for (int is_dtls = 0; is_dtls < 2; is_dtls++) {
        begin(is_dtls);
        engine_pair_open(&pair);
        engine_pair_meet(&pair);
        assert_int_equal(engine_pair_info(&pair.client).suite,
                         is_dtls ? HF_SUITE_PSK_AES_128_CCM_8 : HF_SUITE_PSK_AES_128_CBC_SHA256);
        engine_pair_close(&pair);
    }
}

static void both_ends_know_who_is_who(void **state)
{
    (void)state;
    for (int is_dtls = 0; is_dtls < 2; is_dtls++) {
        begin(is_dtls);
        pair.dialers[is_dtls].reference_point = HF_REFERENCE_POINT_MCC_PRIME;
        pair.connect.server_name = (struct hf_bytes){(const uint8_t *)"IN-CSE.example.org", 18};
        pair.connect.entity_id = (struct hf_bytes){(const uint8_t *)ENGINE_PAIR_SERVER_ENTITY,
                                                   strlen(ENGINE_PAIR_SERVER_ENTITY)};
        engine_pair_open(&pair);
        engine_pair_meet(&pair);
        struct hf_association_info info = engine_pair_info(&pair.client);
        assert_string_equal(info.entity_id, ENGINE_PAIR_SERVER_ENTITY);
        assert_int_equal(info.entity_kind, HF_ENTITY_CSE);
        assert_string_equal(info.server_name, "in-cse.example.org");
        assert_int_equal(info.reference_point, HF_REFERENCE_POINT_MCC_PRIME);
        assert_int_equal(info.context, 4711);
        assert_true(info.is_client && !info.is_sa2);
        assert_int_equal(pair.client.established.user, is_dtls ? 0 : 77);
        assert_true(pair.client.established.is_client);
        assert_string_equal(engine_pair_info(&pair.server).entity_id, ENGINE_PAIR_CLIENT_ENTITY);
        assert_int_equal(pair.client.asked_len, strlen(ENGINE_PAIR_IDENTITY));
        assert_memory_equal(pair.client.asked, ENGINE_PAIR_IDENTITY, pair.client.asked_len);
        engine_pair_close(&pair);
    }
}

static void a_hint_is_passed_over(void **state)
{
    (void)state;
    for (int is_dtls = 0; is_dtls < 2; is_dtls++) {
        begin(is_dtls);
        pair.listeners[is_dtls].psk_hint_len = HF_PSK_HINT_MAX;
        memset(pair.listeners[is_dtls].psk_hint, 'h', HF_PSK_HINT_MAX);
        engine_pair_open(&pair);
        engine_pair_meet(&pair);
        engine_pair_talk(&pair);
        engine_pair_close(&pair);
    }
}

static void shorter_fragments_are_asked_for(void **state)
{
    static const uint16_t lens[] = {512, 1024, 2048, 4096};
    (void)state;
    for (int i = 0; i < 8; i++) {
        begin(i & 1);
        pair.dialers[i & 1].max_fragment_len = lens[i / 2];
        engine_pair_open(&pair);
        engine_pair_meet(&pair);
        assert_int_equal(engine_pair_info(&pair.client).plaintext_len_max, lens[i / 2]);
        engine_pair_talk(&pair);
        engine_pair_close(&pair);
    }
}

static void the_longest_identity_goes_out_in_fragments(void **state)
{
    static uint8_t identity[1250];
    (void)state;
    memset(identity, 'x', sizeof identity);
    for (int is_dtls = 0; is_dtls < 2; is_dtls++) {
        begin(is_dtls);
        pair.config.identity_len_max = sizeof identity;
        pair.dialers[1].datagram_len_max = 256;
        pair.connect.psk_identity = (struct hf_bytes){identity, sizeof identity};
        engine_pair_open(&pair);
        engine_pair_meet(&pair);
        assert_int_equal(pair.server.asked_len, sizeof identity);
        assert_memory_equal(pair.server.asked, identity, sizeof identity);
        for (size_t i = 0; is_dtls && i < pair.sent_count; i++)
            assert_true(!pair.sent[i].is_up || pair.sent[i].len <= 256);
        engine_pair_talk(&pair);
        engine_pair_close(&pair);
    }
}

static void secrets_may_come_ready_made(void **state)
{
    static const uint8_t master[48] = {1, 2, 3};
    (void)state;
    begin(true);
    pair.client.answer.kind = pair.server.answer.kind = HF_ANSWER_MASTER_SECRET;
    pair.client.answer.secret = pair.server.answer.secret =
        (struct hf_bytes){master, sizeof master};
    engine_pair_open(&pair);
    engine_pair_meet(&pair);
    engine_pair_talk(&pair);
    engine_pair_close(&pair);
}

/* ---- keys and identities --------------------------------------------------------------------- */

static uint64_t took_us;

/** Dials, runs into the handshake's end, and gives how it ended for the client. */
static enum hf_status outcome(void)
{
    uint64_t begun_us = pair.now_us;
    engine_pair_open(&pair);
    assert_int_equal(engine_pair_dial(&pair), HF_OK);
    engine_pair_run(&pair);
    if (pair.client.failed_count == 0)
        engine_pair_advance(&pair, pair.config.handshake_us_max + 1000000);
    assert_int_equal(pair.client.established_count, 0);
    assert_int_equal(pair.client.failed_count, 1);
    enum hf_status status = pair.client.failure.status;
    took_us = pair.now_us - begun_us;
    engine_pair_close(&pair);
    return status;
}

static void the_answer_of_the_key_source_decides(void **state)
{
    (void)state;
    for (int is_dtls = 0; is_dtls < 2; is_dtls++) {
        begin(is_dtls);
        pair.client.answer = (struct hf_answer){.kind = HF_ANSWER_REFUSED};
        assert_int_equal(outcome(), HF_E_NO_CREDENTIAL);
        begin(is_dtls);
        pair.client.answer = (struct hf_answer){.kind = HF_ANSWER_UNAVAILABLE};
        assert_int_equal(outcome(), HF_E_SOURCE_UNAVAILABLE);
        begin(is_dtls);
        pair.client.answer.expires_s = pair.wall_s;
        assert_int_equal(outcome(), HF_E_CREDENTIAL_EXPIRED);
        begin(is_dtls);
        pair.client.answers = ENGINE_PAIR_HELD;
        pair.config.answer_us_max = 5000000;
        assert_int_equal(outcome(), HF_E_SOURCE_TIMEOUT);
        begin(is_dtls);
        pair.client.answer.identity_follows = true;
        pair.client.answer.kind = HF_ANSWER_PSK;
        engine_pair_open(&pair);
        engine_pair_meet(&pair);
        assert_int_equal(pair.client.request_count, 2);
        engine_pair_close(&pair);
    }
}

static void a_key_of_somebody_else_is_refused(void **state)
{
    (void)state;
    for (int is_dtls = 0; is_dtls < 2; is_dtls++) {
        begin(is_dtls);
        pair.connect.entity_id = (struct hf_bytes){(const uint8_t *)"//sp.example.org/other", 22};
        assert_int_equal(outcome(), HF_E_IDENTITY_REFUSED);
        begin(is_dtls); /* nobody says who the key's owner is: then it is as we were told */
        pair.connect.entity_id = (struct hf_bytes){(const uint8_t *)"/in-cse", 7};
        pair.client.answer.entity_id = (struct hf_bytes){NULL, 0};
        pair.client.answer.entity_kind = HF_ENTITY_PENDING;
        engine_pair_open(&pair);
        engine_pair_meet(&pair);
        assert_string_equal(engine_pair_info(&pair.client).entity_id, "/in-cse");
        assert_int_equal(engine_pair_info(&pair.client).entity_kind, HF_ENTITY_CSE);
        engine_pair_close(&pair);
    }
}

static void a_wrong_key_never_opens(void **state)
{
    static const uint8_t other[32] = {1};
    (void)state;
    for (int is_dtls = 0; is_dtls < 2; is_dtls++) {
        begin(is_dtls);
        pair.client.answer.secret = (struct hf_bytes){other, sizeof other};
        /* TLS: the server says bad_record_mac; DTLS: silence until time is up. */
        assert_int_equal(outcome(), is_dtls ? HF_E_HANDSHAKE_TIMEOUT : HF_E_PEER_ALERT);
        begin(is_dtls);
        pair.server.answer = (struct hf_answer){.kind = HF_ANSWER_REFUSED};
        assert_int_equal(outcome(), is_dtls ? HF_E_HANDSHAKE_TIMEOUT : HF_E_PEER_ALERT);
    }
}

static void a_parked_client_goes_on_when_the_answer_is_there(void **state)
{
    (void)state;
    for (int is_dtls = 0; is_dtls < 2; is_dtls++) {
        begin(is_dtls);
        pair.client.answers = ENGINE_PAIR_HELD;
        engine_pair_open(&pair);
        assert_int_equal(engine_pair_dial(&pair), HF_OK);
        engine_pair_advance(&pair, 20000000); /* the server says its flight again meanwhile */
        assert_int_equal(pair.client.request_count, 1);
        assert_int_equal(pair.client.established_count, 0);
        assert_int_equal(engine_pair_answer(&pair.client), HF_OK);
        engine_pair_run(&pair);
        assert_true(engine_pair_is_open(&pair));
        engine_pair_talk(&pair);
        assert_int_equal(engine_pair_answer(&pair.client), HF_E_STALE);
        engine_pair_close(&pair);
    }
}

/* ---- what is wrong with the server's flight -------------------------------------------------- */

/* A change of the ServerHello on its way: `at` counts from the end of its random. */
struct change {
    const char *what;
    size_t at;
    uint8_t with[8];
    size_t with_len;
    enum hf_status status;
};

/** Puts other bytes in place of the server's hello, message lengths set right. */
static bool change_hello(struct engine_pair_item *item, void *arg)
{
    const struct change *change = arg;
    size_t front = pair.is_dtls ? 13 + 12 : 5 + 4;
    if (item->is_up || item->len < front + 36 || item->data[front - (pair.is_dtls ? 12 : 4)] != 2)
        return false;
    uint8_t bytes[256];
    size_t body_len = 2 + 32 + change->at + change->with_len;
    memset(bytes, 0, sizeof bytes);
    memcpy(bytes, item->data, front + 2 + 32);
    bytes[front + 34] = 0; /* session id */
    uint16_t suite = pair.listeners[pair.is_dtls].suites[0];
    bytes[front + 35] = (uint8_t)(suite >> 8);
    bytes[front + 36] = (uint8_t)suite;
    bytes[front + 37] = 0; /* compression */
    memcpy(bytes + front + 34 + change->at, change->with, change->with_len);
    size_t head = front - (pair.is_dtls ? 12 : 4);
    bytes[head - 1] = (uint8_t)(front - head + body_len);
    bytes[head + 3] = (uint8_t)body_len;
    if (pair.is_dtls)
        bytes[front - 1] = (uint8_t)body_len;
    size_t record_len = (size_t)(item->data[head - 2] << 8 | item->data[head - 1]);
    size_t rest = item->len - head - record_len;
    memcpy(bytes + front + body_len, item->data + head + record_len, rest);
    free(item->data);
    item->len = front + body_len + rest;
    item->data = malloc(item->len);
    memcpy(item->data, bytes, item->len);
    return false;
}

static void what_was_not_offered_is_refused(void **state)
{
    static const struct change changes[] = {
        {"a suite not offered", 1, {0x00, 0x9C, 0}, 3, HF_E_ILLEGAL_PARAMETER},
        {"NULL encryption", 1, {0x00, 0x2C, 0}, 3, HF_E_ILLEGAL_PARAMETER},
        {"compression", 3, {1}, 1, HF_E_ILLEGAL_PARAMETER},
        {"a session id too long", 0, {33}, 1, HF_E_DECODE},
        {"no end", 0, {0}, 1, HF_E_DECODE},
        {"bytes behind the end", 4, {0, 0, 0}, 3, HF_E_DECODE},
        {"half an extension", 4, {0, 3, 0, 23, 0}, 5, HF_E_DECODE},
        {"heartbeat", 4, {0, 5, 0, 15, 0, 1, 1}, 7, HF_E_UNSUPPORTED_EXTENSION},
        {"a session ticket", 4, {0, 4, 0, 35, 0, 0}, 6, HF_E_UNSUPPORTED_EXTENSION},
        {"server name without one", 4, {0, 4, 0, 0, 0, 0}, 6, HF_E_UNSUPPORTED_EXTENSION},
        {"fragment length unasked", 4, {0, 5, 0, 1, 0, 1, 1}, 7, HF_E_UNSUPPORTED_EXTENSION},
        {"renegotiation data", 4, {0, 6, 0xFF, 1, 0, 2, 1}, 8, HF_E_RENEGOTIATION},
        {"extended master secret, not empty", 4, {0, 5, 0, 23, 0, 1, 0}, 7, HF_E_DECODE},
    };
    (void)state;
    for (size_t i = 0; i < 2 * sizeof changes / sizeof changes[0]; i++) {
        bool is_dtls = i & 1;
        begin(is_dtls);
        pair.dialers[1].suites[0] = HF_SUITE_PSK_AES_128_CCM_8;
        pair.filter = change_hello;
        pair.filter_arg = (void *)(uintptr_t)&changes[i / 2];
        enum hf_status status = outcome();
        if (status != changes[i / 2].status)
            fail_msg("%s: %s, not %s", changes[i / 2].what, hf_status_reason(status),
                     hf_status_reason(changes[i / 2].status));
        assert_int_equal(pair.client.failure.alert, hf_status_alert(status));
        /* DTLS: anyone could have sent it, so it ended nothing until time was up. */
        assert_string_equal(pair.client.failure.state, "CL_AWAIT_HELLO");
        assert_int_equal(took_us >= pair.config.handshake_us_max, is_dtls);
    }
}

static void an_extension_twice_is_refused(void **state)
{
    static const struct change change = {
        "extended master secret twice", 4, {0, 8, 0, 23, 0, 0, 0, 23}, 8, HF_E_DECODE};
    (void)state;
    begin(false); /* cut short as well: whichever is seen first, it is refused */
    pair.filter = change_hello;
    pair.filter_arg = (void *)(uintptr_t)&change;
    enum hf_status status = outcome();
    assert_true(status == HF_E_DECODE || status == HF_E_ILLEGAL_PARAMETER);
}

static void encrypt_then_mac_goes_with_block_ciphers_only(void **state)
{
    static const struct change change = {
        "encrypt_then_mac with CCM_8", 4, {0, 4, 0, 22, 0, 0}, 6, HF_E_ILLEGAL_PARAMETER};
    (void)state;
    begin(true);
    pair.filter = change_hello;
    pair.filter_arg = (void *)(uintptr_t)&change;
    assert_int_equal(outcome(), HF_E_ILLEGAL_PARAMETER);
    begin(true); /* without the offer it is not even known */
    pair.dialers[1].encrypt_then_mac = false;
    pair.filter = change_hello;
    pair.filter_arg = (void *)(uintptr_t)&change;
    assert_int_equal(outcome(), HF_E_UNSUPPORTED_EXTENSION);
}

static void extended_master_secret_can_be_insisted_on(void **state)
{
    static const struct change change = {
        "no extensions", 4, {0}, 0, HF_E_NO_EXTENDED_MASTER_SECRET};
    (void)state;
    begin(false);
    pair.dialers[0].extended_master_secret_needed = true;
    pair.filter = change_hello;
    pair.filter_arg = (void *)(uintptr_t)&change;
    assert_int_equal(outcome(), HF_E_NO_EXTENDED_MASTER_SECRET);
}

static bool change_version(struct engine_pair_item *item, void *arg)
{
    size_t front = pair.is_dtls ? 13 + 12 : 5 + 4;
    (void)arg;
    if (!item->is_up && item->len > front + 36 && item->data[front - (pair.is_dtls ? 12 : 4)] == 2)
        item->data[front + 1] ^= 2;
    return false;
}

static void no_other_version_is_spoken(void **state)
{
    (void)state;
    for (int is_dtls = 0; is_dtls < 2; is_dtls++) {
        begin(is_dtls);
        pair.filter = change_version;
        assert_int_equal(outcome(), HF_E_VERSION);
    }
}

/* ---- afterwards ------------------------------------------------------------------------------ */

static void both_may_close(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct engine_end *first = i & 1 ? &pair.client : &pair.server;
        struct engine_end *other = i & 1 ? &pair.server : &pair.client;
        begin(i >> 1);
        engine_pair_open(&pair);
        engine_pair_meet(&pair);
        hf_engine_close_association(first->engine, first->id, HF_CLOSE_NOTIFY);
        engine_pair_run(&pair);
        assert_int_equal(first->failure.status, HF_E_CLOSED_LOCALLY);
        if (pair.is_dtls)
            assert_int_equal(other->failure.status, HF_E_CLOSED_BY_PEER);
        else
            assert_int_equal(other->peer_closed_count, 1);
        engine_pair_close(&pair);
    }
}

static void bad_orders_are_refused(void **state)
{
    static uint8_t long_text[1400];
    hf_association_id id;
    (void)state;
    begin(true);
    engine_pair_open(&pair);
    struct hf_connect connect = pair.connect;
    connect.dialer_index = 2;
    assert_int_equal(hf_engine_connect(&id, pair.client.engine, &connect), HF_E_ARGUMENT);
    connect = pair.connect;
    connect.psk_identity.len = 0;
    assert_int_equal(hf_engine_connect(&id, pair.client.engine, &connect), HF_E_ARGUMENT);
    connect.psk_identity = (struct hf_bytes){long_text, pair.config.identity_len_max + 1};
    assert_int_equal(hf_engine_connect(&id, pair.client.engine, &connect), HF_E_ARGUMENT);
    connect = pair.connect;
    connect.server_name = (struct hf_bytes){long_text, 256};
    assert_int_equal(hf_engine_connect(&id, pair.client.engine, &connect), HF_E_ARGUMENT);
    connect = pair.connect;
    connect.entity_id = (struct hf_bytes){long_text, HF_ENTITY_ID_MAX + 1};
    assert_int_equal(hf_engine_connect(&id, pair.client.engine, &connect), HF_E_ARGUMENT);
    engine_pair_close(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_suite_opens_on_both_transports),
        cmocka_unit_test(the_mandatory_suite_is_first),
        cmocka_unit_test(both_ends_know_who_is_who),
        cmocka_unit_test(a_hint_is_passed_over),
        cmocka_unit_test(shorter_fragments_are_asked_for),
        cmocka_unit_test(the_longest_identity_goes_out_in_fragments),
        cmocka_unit_test(secrets_may_come_ready_made),
        cmocka_unit_test(the_answer_of_the_key_source_decides),
        cmocka_unit_test(a_key_of_somebody_else_is_refused),
        cmocka_unit_test(a_wrong_key_never_opens),
        cmocka_unit_test(a_parked_client_goes_on_when_the_answer_is_there),
        cmocka_unit_test(what_was_not_offered_is_refused),
        cmocka_unit_test(an_extension_twice_is_refused),
        cmocka_unit_test(encrypt_then_mac_goes_with_block_ciphers_only),
        cmocka_unit_test(extended_master_secret_can_be_insisted_on),
        cmocka_unit_test(no_other_version_is_spoken),
        cmocka_unit_test(both_may_close),
        cmocka_unit_test(bad_orders_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
