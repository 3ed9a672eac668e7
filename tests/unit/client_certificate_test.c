/**
 * client_certificate_test.c - the engine as client with certificates and raw public keys, against
 * the engine as server: two CSEs over Mcc'. Who must answer, who we are, what of the server's
 * flight is refused, jobs that are late, loss of each flight.
 */
#include "engine_pair.h"
#include "pair_credentials.h"

static struct engine_pair pair;

static const struct pair_credentials *world;
static struct hf_listener_authority authority;

static struct hf_bytes bytes_of(const char *text)
{
    return (struct hf_bytes){(const uint8_t *)text, strlen(text)};
}

/** Both have both kinds of credentials; the client dials the CSE by its certificate. */
static void begin(bool is_dtls)
{
    engine_pair_init(&pair, is_dtls);
    world = pair_credentials();
    authority = (struct hf_listener_authority){
        .x509 = world->server, .raw = world->server, .trust = world->trust};
    pair.listeners[is_dtls].authorities = &authority;
    pair.listeners[is_dtls].authority_count = 1;
    pair.listeners[is_dtls].reference_point = HF_REFERENCE_POINT_MCC_PRIME;
    pair.dialers[is_dtls].reference_point = HF_REFERENCE_POINT_MCC_PRIME;
    pair.dialers[is_dtls].x509 = world->client;
    pair.dialers[is_dtls].trust = world->trust;
    pair.connect.psk_identity = (struct hf_bytes){NULL, 0};
    pair.connect.flavour = HF_FLAVOUR_CSE_ID;
    pair.connect.entity_id = bytes_of(PAIR_SERVER_CSE_ID);
    pair.config.proofs_max = 4;
}

static void every_suite_opens_on_both_transports(void **state)
{
    static const uint16_t suites[] = {
        HF_SUITE_ECDHE_ECDSA_AES_128_CBC_SHA256, HF_SUITE_ECDHE_ECDSA_AES_128_GCM_SHA256,
        HF_SUITE_ECDHE_ECDSA_AES_128_CCM, HF_SUITE_ECDHE_ECDSA_AES_128_CCM_8};
    (void)state;
    for (size_t i = 0; i < 8; i++) {
        begin(i & 1);
        pair.dialers[i & 1].suites[0] = suites[i / 2];
        pair.dialers[i & 1].suite_count = 1;
        engine_pair_open(&pair);
        engine_pair_meet(&pair);
        struct hf_association_info info = engine_pair_info(&pair.client);
        assert_int_equal(info.suite, suites[i / 2]);
        assert_int_equal(info.framework, HF_FRAMEWORK_CERTIFICATE);
        assert_int_equal(info.entity_kind, HF_ENTITY_CSE);
        assert_string_equal(info.entity_id, PAIR_SERVER_CSE_ID);
        assert_string_equal(engine_pair_info(&pair.server).entity_id, PAIR_CLIENT_CSE_ID);
        assert_int_equal(pair.client.request_count, 0);
        engine_pair_talk(&pair);
        engine_pair_close(&pair);
    }
}

/* X.509 or a raw key of either end: all four, and the server's is not what the client's is. */
static void kinds_may_be_mixed(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        bool is_dtls = i & 1, is_client_raw = i & 2, is_server_raw = i & 4;
        begin(is_dtls);
        authority.x509 = is_server_raw ? NULL : world->server;
        authority.raw = is_server_raw ? world->server : NULL;
        pair.dialers[is_dtls].x509 = is_client_raw ? NULL : world->client;
        pair.dialers[is_dtls].raw = is_client_raw ? world->client : NULL;
        pair.connect.flavour = is_server_raw ? HF_FLAVOUR_RAW : HF_FLAVOUR_CSE_ID;
        engine_pair_open(&pair);
        engine_pair_meet(&pair);
        assert_string_equal(engine_pair_info(&pair.client).entity_id, PAIR_SERVER_CSE_ID);
        assert_string_equal(engine_pair_info(&pair.server).entity_id, PAIR_CLIENT_CSE_ID);
        engine_pair_talk(&pair);
        engine_pair_close(&pair);
    }
}

static void without_expectations_the_certificate_tells(void **state)
{
    (void)state;
    for (int is_dtls = 0; is_dtls < 2; is_dtls++) {
        begin(is_dtls);
        pair.dialers[is_dtls].raw = world->client;
        pair.connect.flavour = HF_FLAVOUR_NONE;
        pair.connect.entity_id = (struct hf_bytes){NULL, 0};
        engine_pair_open(&pair);
        engine_pair_meet(&pair);
        assert_string_equal(engine_pair_info(&pair.client).entity_id, PAIR_SERVER_CSE_ID);
        engine_pair_close(&pair);
    }
}

static void a_key_or_a_certificate_the_server_chooses(void **state)
{
    (void)state;
    for (int is_dtls = 0; is_dtls < 2; is_dtls++) {
        begin(is_dtls);
        pair.connect.psk_identity = bytes_of(ENGINE_PAIR_IDENTITY);
        pair.connect.entity_id = bytes_of(PAIR_SERVER_CSE_ID);
        pair.client.answer.entity_id = bytes_of(PAIR_SERVER_CSE_ID);
        engine_pair_open(&pair);
        engine_pair_meet(&pair); /* the listener's order: pre-shared keys first */
        assert_int_equal(engine_pair_info(&pair.client).framework,
                         HF_FRAMEWORK_PROVISIONED_SYMMETRIC_KEY);
        assert_int_equal(engine_pair_counters(&pair.client).proofs_open, 0);
        engine_pair_close(&pair);
    }
}

/** Dials, runs into the handshake's end, and gives how it ended for the client. */
static enum hf_status outcome(void)
{
    engine_pair_open(&pair);
    assert_int_equal(engine_pair_dial(&pair), HF_OK);
    engine_pair_run(&pair);
    if (pair.client.failed_count == 0)
        engine_pair_advance(&pair, pair.config.handshake_us_max + 1000000);
    assert_int_equal(pair.client.established_count + pair.server.established_count, 0);
    assert_int_equal(pair.client.failed_count, 1);
    enum hf_status status = pair.client.failure.status;
    engine_pair_close(&pair);
    return status;
}

static void the_wrong_server_is_refused(void **state)
{
    (void)state;
    for (int is_dtls = 0; is_dtls < 2; is_dtls++) {
        begin(is_dtls);
        pair.connect.entity_id = bytes_of("//b.example/other-cse");
        assert_int_equal(outcome(), HF_E_PEER_NAME);
        begin(is_dtls); /* a self-made certificate with the right name */
        authority.x509 = world->stranger;
        pair.connect.entity_id = bytes_of("//c.example/in-cse");
        enum hf_status status = outcome();
        assert_true(status == HF_E_CERTIFICATE_UNKNOWN_CA ||
                    status == HF_E_CERTIFICATE_SELF_SIGNED);
        begin(is_dtls); /* an unpinned raw key */
        authority.x509 = NULL;
        authority.raw = world->stranger;
        pair.connect.flavour = HF_FLAVOUR_RAW;
        assert_int_equal(outcome(), HF_E_RAW_KEY_UNKNOWN);
        begin(is_dtls); /* pinned, but somebody else's */
        authority.x509 = NULL;
        authority.raw = world->client;
        pair.connect.flavour = HF_FLAVOUR_RAW;
        assert_int_equal(outcome(), HF_E_PEER_NAME);
        begin(is_dtls); /* too late for the certificate */
        pair.wall_s = INT64_C(1900000001);
        assert_int_equal(outcome(), HF_E_CERTIFICATE_EXPIRED);
    }
}

static void the_wrong_client_is_refused(void **state)
{
    (void)state;
    for (int is_dtls = 0; is_dtls < 2; is_dtls++) {
        begin(is_dtls);
        pair.dialers[is_dtls].x509 = world->stranger;
        assert_int_equal(outcome(), HF_E_PEER_ALERT); /* DTLS: in the end */
        begin(is_dtls); /* raw keys only, and the client has a certificate only */
        authority.trust = world->raw_only;
        authority.raw = NULL;
        assert_int_equal(outcome(), HF_E_PEER_ALERT);
    }
}

/* Many dial alike, each as himself: what the order says counts, not what the dialer would show. */
static void an_order_may_bring_its_own_certificate(void **state)
{
    (void)state;
    for (int is_dtls = 0; is_dtls < 2; is_dtls++) {
        begin(is_dtls);
        pair.dialers[is_dtls].x509 = world->stranger;
        pair.connect.x509 = world->client;
        engine_pair_open(&pair);
        engine_pair_meet(&pair);
        assert_string_equal(engine_pair_info(&pair.server).entity_id, PAIR_CLIENT_CSE_ID);
        engine_pair_talk(&pair);
        engine_pair_close(&pair);
        begin(is_dtls);
        pair.connect.x509 = world->stranger;
        assert_int_equal(outcome(), HF_E_PEER_ALERT);
    }
}

/* Its reference is the handshake's: the caller may let go of his at once. */
static void an_orders_certificate_is_held_and_let_go(void **state)
{
    (void)state;
    begin(false);
    struct hf_credential *lent = hf_credential_share(world->client);
    pair.dialers[0].x509 = world->stranger;
    pair.connect.x509 = lent;
    pair.client.is_idle = true;
    engine_pair_open(&pair);
    assert_int_equal(engine_pair_dial(&pair), HF_OK);
    hf_credential_close(lent);
    engine_pair_run(&pair);
    pair.client.is_idle = false;
    engine_pair_run(&pair);
    assert_true(engine_pair_is_open(&pair));
    engine_pair_close(&pair);
    begin(true); /* the engine ends before its handshake does: LeakSanitizer looks on */
    pair.connect.x509 = world->client;
    engine_pair_open(&pair);
    assert_int_equal(engine_pair_dial(&pair), HF_OK);
    hf_engine_close(pair.client.engine);
    pair.client.engine = NULL;
    hf_engine_close(pair.server.engine);
    pair.server.engine = NULL;
}

static void a_kind_that_was_not_agreed_on_is_refused(void **state)
{
    (void)state;
    begin(false); /* the server knows no RFC 7250, the client wants nothing else */
    authority.raw = NULL;
    pair.connect.flavour = HF_FLAVOUR_RAW;
    enum hf_status status = outcome();
    assert_true(status == HF_E_PEER_ALERT || status == HF_E_CERTIFICATE_TYPE);
}

/* ---- bytes changed on their way: nothing but a refusal may come of it ----------------------- */

struct damage {
    size_t number, at; /* which byte of which item from the server */
    size_t seen;
    bool is_done;
};

static bool damage_byte(struct engine_pair_item *item, void *arg)
{
    struct damage *damage = arg;
    if (item->is_up || damage->seen++ != damage->number || damage->at >= item->len)
        return false;
    item->data[damage->at] ^= 0x40;
    damage->is_done = true;
    return false;
}

static void no_byte_of_the_servers_flight_may_change(void **state)
{
    (void)state;
    for (size_t at = 0;; at += 7) {
        struct damage damage = {.number = 0, .at = at};
        begin(false);
        pair.filter = damage_byte;
        pair.filter_arg = &damage;
        engine_pair_open(&pair);
        assert_int_equal(engine_pair_dial(&pair), HF_OK);
        engine_pair_run(&pair);
        bool is_open = pair.client.established_count > 0;
        engine_pair_close(&pair);
        if (!damage.is_done)
            break;
        if (is_open)
            fail_msg("byte %zu changed, and still open", at);
    }
}

static void small_datagrams_are_enough(void **state)
{
    (void)state;
    begin(true);
    pair.listeners[1].datagram_len_max = 256; /* everything in fragments */
    pair.dialers[1].datagram_len_max = 256;
    engine_pair_open(&pair);
    engine_pair_meet(&pair);
    for (size_t i = 0; i < pair.sent_count; i++)
        assert_true(pair.sent[i].len <= 256);
    engine_pair_talk(&pair);
    engine_pair_close(&pair);
}

/* ---- jobs ------------------------------------------------------------------------------------ */

static void jobs_may_be_late(void **state)
{
    (void)state;
    for (int is_dtls = 0; is_dtls < 2; is_dtls++) {
        begin(is_dtls);
        pair.client.is_idle = true;
        engine_pair_open(&pair);
        assert_int_equal(engine_pair_dial(&pair), HF_OK);
        engine_pair_advance(&pair, 9000000); /* the server repeats its flight meanwhile */
        assert_int_equal(pair.client.failed_count, 0);
        pair.client.is_idle = false;
        engine_pair_run(&pair);
        assert_true(engine_pair_is_open(&pair));
        engine_pair_talk(&pair);
        engine_pair_close(&pair);
        begin(is_dtls);
        pair.client.is_idle = true;
        pair.config.answer_us_max = 5000000;
        assert_int_equal(outcome(), HF_E_JOB_TIMEOUT);
    }
}

static void no_slot_no_handshake(void **state)
{
    (void)state;
    begin(false);
    pair.config.proofs_max = 1;
    pair.client.is_idle = true;
    engine_pair_open(&pair);
    assert_int_equal(engine_pair_dial(&pair), HF_OK);
    engine_pair_run(&pair);
    assert_int_equal(engine_pair_counters(&pair.client).proofs_open, 1);
    hf_engine_close_association(pair.client.engine, pair.client.id, HF_CLOSE_SILENT);
    pair.client.is_idle = false; /* the job was queued for nobody */
    engine_pair_run(&pair);
    assert_int_equal(engine_pair_counters(&pair.client).proofs_open, 0);
    engine_pair_close(&pair);
}

struct loss {
    size_t number;
    bool is_up;
    size_t seen[2];
};

static bool lose(struct engine_pair_item *item, void *arg)
{
    struct loss *loss = arg;
    size_t number = loss->seen[item->is_up]++;
    return item->is_up == loss->is_up && number == loss->number;
}

static void each_datagram_may_be_lost_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < 12; i++) {
        struct loss loss = {.number = i / 2, .is_up = i & 1};
        begin(true);
        pair.filter = lose;
        pair.filter_arg = &loss;
        engine_pair_open(&pair);
        assert_int_equal(engine_pair_dial(&pair), HF_OK);
        engine_pair_advance(&pair, 1500000);
        if (!engine_pair_is_open(&pair))
            fail_msg("datagram %zu %s lost: not open", i / 2, i & 1 ? "up" : "down");
        pair.filter = NULL;
        engine_pair_talk(&pair);
        engine_pair_close(&pair);
    }
}

static void bad_orders_are_refused(void **state)
{
    hf_association_id id;
    (void)state;
    begin(true);
    engine_pair_open(&pair);
    struct hf_connect connect = pair.connect;
    connect.flavour = (enum hf_flavour)(HF_FLAVOUR_RAW | HF_FLAVOUR_CSE_ID);
    assert_int_equal(hf_engine_connect(&id, pair.client.engine, &connect), HF_E_ARGUMENT);
    connect = pair.connect;
    connect.dialer_index = 0; /* has neither key nor certificate */
    assert_int_equal(hf_engine_connect(&id, pair.client.engine, &connect), HF_E_ARGUMENT);
    engine_pair_close(&pair);
    begin(true); /* a certificate of its own where the dialer shows raw keys only */
    pair.dialers[1].raw = world->client;
    pair.dialers[1].x509 = NULL;
    engine_pair_open(&pair);
    connect = pair.connect;
    connect.x509 = world->client;
    assert_int_equal(hf_engine_connect(&id, pair.client.engine, &connect), HF_E_ARGUMENT);
    engine_pair_close(&pair);
}

static void a_dialer_may_change_under_way(void **state)
{
    (void)state;
    begin(false);
    pair.client.is_idle = true;
    engine_pair_open(&pair);
    assert_int_equal(engine_pair_dial(&pair), HF_OK);
    engine_pair_run(&pair);
    struct hf_dialer dialer = pair.dialers[0];
    dialer.x509 = world->stranger; /* the handshake holds on to what it began with */
    assert_int_equal(hf_engine_update_dialer(pair.client.engine, 0, &dialer), HF_OK);
    pair.client.is_idle = false;
    engine_pair_run(&pair);
    assert_true(engine_pair_is_open(&pair));
    engine_pair_close(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_suite_opens_on_both_transports),
        cmocka_unit_test(kinds_may_be_mixed),
        cmocka_unit_test(without_expectations_the_certificate_tells),
        cmocka_unit_test(a_key_or_a_certificate_the_server_chooses),
        cmocka_unit_test(the_wrong_server_is_refused),
        cmocka_unit_test(the_wrong_client_is_refused),
        cmocka_unit_test(an_order_may_bring_its_own_certificate),
        cmocka_unit_test(an_orders_certificate_is_held_and_let_go),
        cmocka_unit_test(a_kind_that_was_not_agreed_on_is_refused),
        cmocka_unit_test(no_byte_of_the_servers_flight_may_change),
        cmocka_unit_test(small_datagrams_are_enough),
        cmocka_unit_test(jobs_may_be_late),
        cmocka_unit_test(no_slot_no_handshake),
        cmocka_unit_test(each_datagram_may_be_lost_once),
        cmocka_unit_test(bad_orders_are_refused),
        cmocka_unit_test(a_dialer_may_change_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
