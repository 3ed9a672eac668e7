/**
 * client_session_test.c - resumption by the client: by session ID and by ticket, of keys and of
 * certificates; what does not fit any more is passed over, and there is a full handshake.
 */
#include "engine_pair.h"
#include "pair_credentials.h"

static struct engine_pair pair;

static struct hf_bytes bytes_of(const char *text)
{
    return (struct hf_bytes){(const uint8_t *)text, strlen(text)};
}

enum { BY_ID = 0, BY_TICKET = 1 };

static void begin(bool is_dtls, int kind, bool has_certificates)
{
    static struct hf_listener_authority authority;
    const struct pair_credentials *world = pair_credentials();
    engine_pair_init(&pair, is_dtls);
    pair.dialers[is_dtls].sessions = true;
    pair.has_tickets = kind == BY_TICKET;
    if (kind == BY_ID)
        assert_int_equal(hf_session_cache_open(&pair.sessions, 64), HF_OK);
    if (has_certificates) {
        authority = (struct hf_listener_authority){.x509 = world->server, .trust = world->trust};
        pair.listeners[is_dtls].authorities = &authority;
        pair.listeners[is_dtls].authority_count = 1;
        pair.dialers[is_dtls].x509 = world->client;
        pair.dialers[is_dtls].trust = world->trust;
        pair.connect.psk_identity = (struct hf_bytes){NULL, 0};
        pair.connect.flavour = HF_FLAVOUR_CSE_ID;
        pair.connect.entity_id = bytes_of(PAIR_SERVER_CSE_ID);
    } else {
        pair.connect.entity_id = bytes_of(ENGINE_PAIR_SERVER_ENTITY);
    }
    engine_pair_open(&pair);
}

static void end(void)
{
    engine_pair_close(&pair);
    hf_session_cache_close(pair.sessions);
}

/** Meets once, and has what was kept offered the next time. */
static void meet_first(void)
{
    engine_pair_meet(&pair);
    assert_false(engine_pair_info(&pair.client).is_resumed);
    assert_int_equal(pair.client.session_count, 1);
    engine_pair_part(&pair);
    pair.connect.session = (struct hf_bytes){pair.client.session, pair.client.session_len};
}

static void sessions_are_resumed(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        begin(i & 1, i >> 1 & 1, i & 4);
        meet_first();
        for (int again = 0; again < 3; again++) { /* and not only once */
            engine_pair_meet(&pair);
            const struct hf_association_info info = engine_pair_info(&pair.client);
            assert_true(info.is_resumed && engine_pair_info(&pair.server).is_resumed);
            assert_string_equal(info.entity_id,
                                i & 4 ? PAIR_SERVER_CSE_ID : ENGINE_PAIR_SERVER_ENTITY);
            assert_int_equal(info.framework, i & 4 ? HF_FRAMEWORK_CERTIFICATE
                                                   : HF_FRAMEWORK_PROVISIONED_SYMMETRIC_KEY);
            assert_int_equal(pair.client.request_count, 0); /* no key was asked for */
            engine_pair_talk(&pair);
            engine_pair_part(&pair);
        }
        assert_int_equal(engine_pair_counters(&pair.client).resumed, 3);
        end();
    }
}

/** Dials with the session, and expects a full handshake. */
static void meet_in_full(void)
{
    engine_pair_meet(&pair);
    assert_false(engine_pair_info(&pair.client).is_resumed);
    assert_false(engine_pair_info(&pair.server).is_resumed);
    engine_pair_talk(&pair);
    engine_pair_part(&pair);
}

static void what_does_not_fit_is_passed_over(void **state)
{
    static uint8_t kept[HF_SESSION_MAX];
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        begin(true, kind, false);
        meet_first();
        size_t len = pair.client.session_len;
        memcpy(kept, pair.client.session, len);
        pair.connect.session = (struct hf_bytes){kept, len};
        pair.connect.server_name = bytes_of("other.example");
        meet_in_full();
        pair.connect.server_name.len = 0;
        pair.connect.entity_id.len = 0; /* nobody in particular: that is fine */
        engine_pair_meet(&pair);
        assert_true(engine_pair_info(&pair.client).is_resumed);
        engine_pair_part(&pair);
        pair.connect.session.len = len - 1; /* cut short */
        meet_in_full();
        pair.connect.session.len = 3;
        meet_in_full();
        pair.connect.session.len = len;
        pair.wall_s += 700000; /* too old */
        meet_in_full();
        end();
    }
}

static void a_session_with_another_is_no_good(void **state)
{
    (void)state;
    begin(true, BY_TICKET, false);
    meet_first();
    pair.connect.entity_id = bytes_of("/other-cse");
    pair.client.answer.entity_id = bytes_of("/other-cse");
    meet_in_full();
    end();
}

/* Two listeners of one kind under one CA, or one before and after a reload: what is nobody's name
 * here is nobody's session. */
static void a_session_is_for_what_is_asked_of_peers(void **state)
{
    const struct pair_credentials *world = pair_credentials();
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        begin(true, kind, true);
        meet_first();
        struct hf_listener_authority authority = {.x509 = world->server, .trust = world->devices};
        struct hf_listener listener = pair.listeners[1];
        listener.authorities = &authority;
        assert_int_equal(hf_engine_update_listener(pair.server.engine, 1, &listener), HF_OK);
        assert_int_equal(engine_pair_dial(&pair), HF_OK);
        engine_pair_run(&pair);
        assert_int_equal(pair.server.established_count, 0);
        assert_int_equal(pair.server.failure.status, HF_E_CERTIFICATE_TYPE);
        engine_pair_part(&pair);
        assert_int_equal(hf_engine_update_listener(pair.server.engine, 1, &pair.listeners[1]),
                         HF_OK);
        engine_pair_meet(&pair);
        assert_true(engine_pair_info(&pair.server).is_resumed);
        end();
    }
}

static void a_session_is_for_who_we_were(void **state)
{
    const struct pair_credentials *world = pair_credentials();
    (void)state;
    for (int other = 0; other < 3; other++) {
        begin(false, BY_TICKET, true);
        meet_first();
        struct hf_dialer dialer = pair.dialers[0];
        if (other == 0)
            dialer.trust = world->devices;
        else if (other == 1)
            dialer.x509 = world->stranger;
        else
            pair.connect.x509 = world->stranger; /* of this order alone */
        assert_int_equal(hf_engine_update_dialer(pair.client.engine, 0, &dialer), HF_OK);
        assert_int_equal(engine_pair_dial(&pair), HF_OK);
        engine_pair_run(&pair);
        assert_int_equal(pair.client.established_count, 0);
        assert_int_equal(pair.server.established_count, 0);
        engine_pair_part(&pair);
        pair.connect.x509 = NULL;
        assert_int_equal(hf_engine_update_dialer(pair.client.engine, 0, &pair.dialers[0]), HF_OK);
        engine_pair_meet(&pair);
        assert_true(engine_pair_info(&pair.client).is_resumed);
        end();
    }
}

/* While the server asks about the session, its authorities are replaced: none, one without a
 * certificate, one that trusts nobody. */
static void a_session_refused_when_the_authority_is_gone(void **state)
{
    const struct pair_credentials *world = pair_credentials();
    (void)state;
    for (int i = 0; i < 6; i++) {
        begin(i & 1, BY_TICKET, true);
        meet_first();
        pair.server.answers = ENGINE_PAIR_HELD;
        assert_int_equal(engine_pair_dial(&pair), HF_OK);
        engine_pair_run(&pair);
        assert_int_equal(pair.server.request.kind, HF_REQUEST_SESSION);
        struct hf_listener_authority authority = {.x509 = i < 4 ? NULL : world->server,
                                                  .trust = i < 4 ? world->trust : NULL};
        struct hf_listener listener = pair.listeners[i & 1];
        listener.authorities = &authority;
        listener.authority_count = i < 2 ? 0 : 1;
        assert_int_equal(hf_engine_update_listener(pair.server.engine, i & 1, &listener), HF_OK);
        pair.server.answer.kind = HF_ANSWER_REFUSED;
        assert_int_equal(engine_pair_answer(&pair.server), HF_OK);
        engine_pair_run(&pair);
        assert_int_equal(pair.server.established_count, 0);
        assert_int_equal(pair.server.failure.status, HF_E_NO_COMMON_SUITE);
        engine_pair_advance(&pair, 61000000);
        end();
    }
}

static void a_server_that_has_forgotten_shakes_hands(void **state)
{
    (void)state;
    begin(true, BY_ID, false);
    meet_first();
    pair.client.session[5] ^= 1; /* of the ID */
    meet_in_full();
    end();
    begin(false, BY_TICKET, true);
    meet_first();
    pair.client.session[60] ^= 1; /* of the ticket */
    meet_in_full();
    end();
}

static void sessions_are_not_asked_for_unless_told(void **state)
{
    (void)state;
    begin(true, BY_TICKET, false);
    struct hf_dialer dialer = pair.dialers[1];
    dialer.sessions = false;
    assert_int_equal(hf_engine_update_dialer(pair.client.engine, 1, &dialer), HF_OK);
    engine_pair_meet(&pair);
    assert_int_equal(pair.client.session_count, 0);
    end();
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
    for (size_t i = 0; i < 6; i++) {
        struct loss loss = {.number = i / 2, .is_up = i & 1};
        begin(true, BY_TICKET, false);
        meet_first();
        pair.filter = lose;
        pair.filter_arg = &loss;
        assert_int_equal(engine_pair_dial(&pair), HF_OK);
        engine_pair_advance(&pair, 1500000);
        if (!engine_pair_is_open(&pair))
            fail_msg("datagram %zu %s lost: not open", i / 2, i & 1 ? "up" : "down");
        assert_true(engine_pair_info(&pair.client).is_resumed);
        pair.filter = NULL;
        engine_pair_talk(&pair);
        end();
    }
}

struct withheld {
    int count;
    size_t len;
    uint8_t data[512];
};

/* Takes the first record with a NewSessionTicket off the wire. */
static bool withhold_ticket(struct engine_pair_item *item, void *arg)
{
    struct withheld *withheld = arg;
    size_t head_len = pair.is_dtls ? 13 : 5;
    for (size_t at = 0; !item->is_up && at + head_len < item->len;) {
        uint8_t *record = item->data + at;
        size_t len = head_len + (size_t)(record[head_len - 2] << 8 | record[head_len - 1]);
        if (withheld->count == 0 && record[0] == 22 && record[head_len] == 4) {
            assert_in_range(len, head_len, sizeof withheld->data);
            memcpy(withheld->data, record, len);
            withheld->len = len;
            withheld->count++;
            memmove(record, record + len, item->len - at - len);
            item->len -= len;
            continue;
        }
        at += len;
    }
    return false;
}

static void a_ticket_may_come_behind_what_follows_it(void **state)
{
    (void)state;
    for (int is_late = 0; is_late < 2; is_late++) { /* or be lost, and be sent again */
        struct withheld withheld = {0};
        begin(true, BY_TICKET, false);
        pair.filter = withhold_ticket;
        pair.filter_arg = &withheld;
        assert_int_equal(engine_pair_dial(&pair), HF_OK);
        engine_pair_run(&pair);
        assert_int_equal(withheld.count, 1);
        assert_int_equal(pair.client.established_count, 0);
        if (is_late) {
            engine_pair_inject(&pair, false, withheld.data, withheld.len);
            engine_pair_run(&pair);
        } else {
            engine_pair_advance(&pair, 1500000);
        }
        assert_true(engine_pair_is_open(&pair));
        assert_int_equal(pair.client.session_count, 1);
        engine_pair_talk(&pair);
        end();
    }
}

/* A ServerHello by somebody who has seen ours: the session, but another suite. */
static size_t forge_hello(uint8_t out[256], const struct engine_pair_item *hello)
{
    static const uint8_t head[25] = {22, 0xFE, 0xFD, [10] = 1, [13] = 2, [18] = 1};
    static const uint8_t tail[] = {0xC0, 0xA4, 0, 0, 9, 0, 23, 0, 0, 0xFF, 1, 0, 1, 0};
    const uint8_t *session_id = hello->data + 13 + 12 + 2 + 32; /* and its length */
    size_t len = sizeof head;
    memcpy(out, head, sizeof head);
    out[len++] = 0xFE;
    out[len++] = 0xFD;
    memset(out + len, 0x33, 32);
    len += 32;
    memcpy(out + len, session_id, 1u + *session_id);
    len += 1u + *session_id;
    memcpy(out + len, tail, sizeof tail);
    len += sizeof tail;
    out[12] = (uint8_t)(len - 13);
    out[16] = out[24] = (uint8_t)(len - 25);
    return len;
}

static void a_hello_that_does_not_fit_changes_nothing(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        struct loss loss = {.number = 1, .is_up = true}; /* the hello with the cookie */
        uint8_t forged[256];
        begin(true, kind, false);
        meet_first();
        size_t sent = pair.sent_count;
        pair.filter = lose;
        pair.filter_arg = &loss;
        assert_int_equal(engine_pair_dial(&pair), HF_OK);
        engine_pair_run(&pair);
        assert_int_equal(pair.sent_count, sent + 3);
        size_t len = forge_hello(forged, &pair.sent[sent + 2]);
        engine_pair_inject(&pair, false, forged, len);
        engine_pair_run(&pair);
        assert_int_equal(pair.client.failed_count, 0);
        engine_pair_advance(&pair, 1500000);
        assert_true(engine_pair_is_open(&pair));
        assert_true(engine_pair_info(&pair.client).is_resumed);
        assert_memory_equal(pair.sent[sent + 3].data + 13, pair.sent[sent + 2].data + 13,
                            pair.sent[sent + 2].len - 13);
        assert_int_equal(pair.sent[sent + 3].len, pair.sent[sent + 2].len);
        end();
    }
}

static void a_ticket_that_was_promised_must_come(void **state)
{
    struct withheld withheld = {0};
    (void)state;
    begin(false, BY_TICKET, false);
    pair.filter = withhold_ticket;
    pair.filter_arg = &withheld;
    assert_int_equal(engine_pair_dial(&pair), HF_OK);
    engine_pair_run(&pair);
    assert_int_equal(withheld.count, 1);
    assert_int_equal(pair.client.established_count, 0);
    assert_int_equal(pair.client.failure.status, HF_E_UNEXPECTED_MESSAGE);
    assert_string_equal(pair.client.failure.event, "ChangeCipherSpec");
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sessions_are_resumed),
        cmocka_unit_test(what_does_not_fit_is_passed_over),
        cmocka_unit_test(a_session_with_another_is_no_good),
        cmocka_unit_test(a_session_is_for_what_is_asked_of_peers),
        cmocka_unit_test(a_session_is_for_who_we_were),
        cmocka_unit_test(a_session_refused_when_the_authority_is_gone),
        cmocka_unit_test(a_server_that_has_forgotten_shakes_hands),
        cmocka_unit_test(sessions_are_not_asked_for_unless_told),
        cmocka_unit_test(each_datagram_may_be_lost_once),
        cmocka_unit_test(a_ticket_may_come_behind_what_follows_it),
        cmocka_unit_test(a_hello_that_does_not_fit_changes_nothing),
        cmocka_unit_test(a_ticket_that_was_promised_must_come),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
