/**
 * certify_test.c - certificates in the server's role, message by message: what a peer can send that
 * is wrong, on both transports, and what becomes of it; jobs that are late, lost or never done; the
 * limit; whose name and which type are asked for.
 */
#include "core.h"
#include "credential_world.h"
#include "engine_fixture.h"
#include "proof.h"

enum { CERTIFICATE = 11, KEY_EXCHANGE = 16, CERTIFICATE_VERIFY = 15 };

/* Long enough for a DTLS handshake that was spoiled to run out of time. */
#define TIMEOUT_US 61000000

static void use_certificates(struct engine_fixture *fixture,
                             const struct hf_listener_authority *authorities, uint32_t count)
{
    for (size_t i = 0; i < 2; i++) {
        fixture->listeners[i].authorities = authorities;
        fixture->listeners[i].authority_count = count;
    }
}

static int setup(void **state)
{
    struct engine_fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    engine_fixture_init(fixture);
    use_certificates(fixture, &credential_world()->authority, 1);
    engine_fixture_open(fixture);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct engine_fixture *fixture = *state;
    engine_fixture_close(fixture);
    free(fixture);
    return 0;
}

static struct engine_peer *new_peer(struct engine_fixture *fixture, bool is_tls)
{
    const struct credential_world *world = credential_world();
    struct engine_peer *peer = engine_peer_new(fixture, is_tls);
    peer->config.suites[0] =
        is_tls ? HF_SUITE_ECDHE_ECDSA_AES_128_CBC_SHA256 : HF_SUITE_ECDHE_ECDSA_AES_128_CCM_8;
    peer->config.credential = world->clients[0];
    peer->config.server_key = hf_credential_public_key(world->server);
    return peer;
}

/* ---- what is wrong with a message ------------------------------------------------------------ */

struct wrong {
    const char *what;
    uint8_t type;
    enum psk_client_verdict (*change)(uint8_t *body, size_t *len);
    enum hf_status status;
    bool is_gap; /**< a message is missing: DTLS waits for it to the end */
};

static enum psk_client_verdict leave_out(uint8_t *body, size_t *len)
{
    (void)body;
    (void)len;
    return PSK_CLIENT_SKIP;
}

static enum psk_client_verdict add_byte(uint8_t *body, size_t *len)
{
    body[(*len)++] = 0;
    return PSK_CLIENT_SEND;
}

static enum psk_client_verdict cut_byte(uint8_t *body, size_t *len)
{
    (void)body;
    (*len)--;
    return PSK_CLIENT_SEND;
}

static enum psk_client_verdict empty(uint8_t *body, size_t *len)
{
    (void)body;
    *len = 0;
    return PSK_CLIENT_SEND;
}

static enum psk_client_verdict no_certificate(uint8_t *body, size_t *len)
{
    memset(body, 0, 3);
    *len = 3;
    return PSK_CLIENT_SEND;
}

static enum psk_client_verdict garbage(uint8_t *body, size_t *len)
{
    memset(body + 6, 0xA5, *len - 6);
    return PSK_CLIENT_SEND;
}

static enum psk_client_verdict too_long(uint8_t *body, size_t *len)
{
    *len = 4097;
    memset(body, 0, *len);
    body[1] = (uint8_t)((*len - 3) >> 8);
    body[2] = (uint8_t)(*len - 3);
    return PSK_CLIENT_SEND;
}

/* Somebody else's name in our certificate. */
static enum psk_client_verdict renamed(uint8_t *body, size_t *len)
{
    static const char name[] = "m2m.example/S0";
    for (size_t i = 0; i + sizeof name <= *len; i++) {
        if (memcmp(body + i, name, sizeof name - 1) == 0)
            body[i + sizeof name - 2] = '1';
    }
    return PSK_CLIENT_SEND;
}

static enum psk_client_verdict empty_point(uint8_t *body, size_t *len)
{
    body[0] = 0;
    *len = 1;
    return PSK_CLIENT_SEND;
}

static enum psk_client_verdict infinity(uint8_t *body, size_t *len)
{
    body[0] = 1;
    body[1] = 0;
    *len = 2;
    return PSK_CLIENT_SEND;
}

static enum psk_client_verdict compressed(uint8_t *body, size_t *len)
{
    body[0] = 33;
    body[1] = 2;
    *len = 34;
    return PSK_CLIENT_SEND;
}

static enum psk_client_verdict hybrid(uint8_t *body, size_t *len)
{
    (void)len;
    body[1] = 6;
    return PSK_CLIENT_SEND;
}

static enum psk_client_verdict off_curve(uint8_t *body, size_t *len)
{
    body[*len - 1] ^= 1;
    return PSK_CLIENT_SEND;
}

static enum psk_client_verdict too_big(uint8_t *body, size_t *len)
{
    memset(body + 2, 0xFF, *len - 2); /* no coordinate is above the prime */
    return PSK_CLIENT_SEND;
}

static enum psk_client_verdict another_hash(uint8_t *body, size_t *len)
{
    (void)len;
    body[0] = 5; /* SHA-384 */
    return PSK_CLIENT_SEND;
}

static enum psk_client_verdict rsa(uint8_t *body, size_t *len)
{
    (void)len;
    body[1] = 1;
    return PSK_CLIENT_SEND;
}

static enum psk_client_verdict empty_signature(uint8_t *body, size_t *len)
{
    body[2] = body[3] = 0;
    *len = 4;
    return PSK_CLIENT_SEND;
}

static enum psk_client_verdict long_signature(uint8_t *body, size_t *len)
{
    body[3] = 73;
    *len = 4 + 73;
    return PSK_CLIENT_SEND;
}

static enum psk_client_verdict zero_signature(uint8_t *body, size_t *len)
{
    static const uint8_t zero[] = {0x30, 6, 2, 1, 0, 2, 1, 0}; /* r = s = 0 */
    body[2] = 0;
    body[3] = sizeof zero;
    memcpy(body + 4, zero, sizeof zero);
    *len = 4 + sizeof zero;
    return PSK_CLIENT_SEND;
}

static enum psk_client_verdict wrong_signature(uint8_t *body, size_t *len)
{
    body[*len - 1] ^= 1;
    return PSK_CLIENT_SEND;
}

static const struct wrong wrongs[] = {
    {"no Certificate message", CERTIFICATE, leave_out, HF_E_UNEXPECTED_MESSAGE, true},
    {"Certificate: an empty body", CERTIFICATE, empty, HF_E_DECODE, false},
    {"Certificate: a byte too much", CERTIFICATE, add_byte, HF_E_DECODE, false},
    {"Certificate: cut short", CERTIFICATE, cut_byte, HF_E_DECODE, false},
    {"Certificate: an empty list", CERTIFICATE, no_certificate, HF_E_NO_CERTIFICATE, false},
    {"Certificate: garbage", CERTIFICATE, garbage, HF_E_BAD_CERTIFICATE, false},
    {"Certificate: longer than allowed", CERTIFICATE, too_long, HF_E_MESSAGE_TOO_LONG, false},
    {"Certificate: altered", CERTIFICATE, renamed, HF_E_CHAIN_SIGNATURE, false},
    {"no ClientKeyExchange", KEY_EXCHANGE, leave_out, HF_E_UNEXPECTED_MESSAGE, true},
    {"ClientKeyExchange: an empty body", KEY_EXCHANGE, empty, HF_E_DECODE, false},
    {"ClientKeyExchange: a byte too much", KEY_EXCHANGE, add_byte, HF_E_DECODE, false},
    {"ClientKeyExchange: cut short", KEY_EXCHANGE, cut_byte, HF_E_DECODE, false},
    {"ClientKeyExchange: no point", KEY_EXCHANGE, empty_point, HF_E_DECODE, false},
    {"ClientKeyExchange: infinity", KEY_EXCHANGE, infinity, HF_E_ILLEGAL_PARAMETER, false},
    {"ClientKeyExchange: compressed", KEY_EXCHANGE, compressed, HF_E_ILLEGAL_PARAMETER, false},
    {"ClientKeyExchange: hybrid", KEY_EXCHANGE, hybrid, HF_E_ILLEGAL_PARAMETER, false},
    {"ClientKeyExchange: off the curve", KEY_EXCHANGE, off_curve, HF_E_ILLEGAL_PARAMETER, false},
    {"ClientKeyExchange: above the prime", KEY_EXCHANGE, too_big, HF_E_ILLEGAL_PARAMETER, false},
    {"no CertificateVerify", CERTIFICATE_VERIFY, leave_out, HF_E_UNEXPECTED_MESSAGE, true},
    {"CertificateVerify: an empty body", CERTIFICATE_VERIFY, empty, HF_E_DECODE, false},
    {"CertificateVerify: a byte too much", CERTIFICATE_VERIFY, add_byte, HF_E_DECODE, false},
    {"CertificateVerify: cut short", CERTIFICATE_VERIFY, cut_byte, HF_E_DECODE, false},
    {"CertificateVerify: SHA-384", CERTIFICATE_VERIFY, another_hash, HF_E_ILLEGAL_PARAMETER, false},
    {"CertificateVerify: RSA", CERTIFICATE_VERIFY, rsa, HF_E_ILLEGAL_PARAMETER, false},
    {"CertificateVerify: no signature", CERTIFICATE_VERIFY, empty_signature, HF_E_DECODE, false},
    {"CertificateVerify: too long", CERTIFICATE_VERIFY, long_signature, HF_E_BAD_SIGNATURE, false},
    {"CertificateVerify: zeros", CERTIFICATE_VERIFY, zero_signature, HF_E_BAD_SIGNATURE, false},
    {"CertificateVerify: wrong", CERTIFICATE_VERIFY, wrong_signature, HF_E_BAD_SIGNATURE, false},
};

static enum psk_client_verdict tamper(enum psk_client_tamper_kind kind, uint8_t type, uint8_t *data,
                                      size_t *len, size_t max, void *arg)
{
    const struct wrong *wrong = arg;
    (void)max;
    if (kind != PSK_CLIENT_TAMPER_MESSAGE || type != wrong->type)
        return PSK_CLIENT_SEND;
    size_t body_len = *len - 4;
    enum psk_client_verdict verdict = wrong->change(data + 4, &body_len);
    data[1] = 0;
    data[2] = (uint8_t)(body_len >> 8);
    data[3] = (uint8_t)body_len;
    *len = 4 + body_len;
    return verdict;
}

static void every_wrong_message_is_refused(void **state)
{
    struct engine_fixture *fixture = *state;
    for (size_t i = 0; i < 2 * (sizeof wrongs / sizeof wrongs[0]); i++) {
        const struct wrong *wrong = &wrongs[i / 2];
        bool is_tls = i % 2;
        struct engine_peer *peer = new_peer(fixture, is_tls);
        peer->config.tamper = tamper;
        peer->config.tamper_arg = (void *)(uintptr_t)wrong;
        enum hf_status status = wrong->status;
        if (!is_tls && wrong->is_gap)
            status = HF_E_HANDSHAKE_TIMEOUT;
        engine_peer_start(peer);
        engine_fixture_run(fixture);
        peer->is_gone = true; /* repeats would change nothing */
        engine_fixture_advance(fixture, TIMEOUT_US);
        if (peer->failed_count != 1 || peer->failure.status != status)
            print_error("%s on %s: %s in %s\n", wrong->what, is_tls ? "TLS" : "DTLS",
                        hf_status_reason(peer->failure.status), peer->failure.state);
        assert_int_equal(peer->failed_count, 1);
        assert_int_equal(peer->failure.status, status);
        assert_int_equal(peer->established_count, 0);
        if (is_tls) {
            assert_int_equal(peer->client.state, PSK_CLIENT_FAILED);
            assert_int_equal(peer->client.alert, hf_status_alert(status));
        }
        engine_peer_free(peer);
    }
    engine_fixture_check_undisturbed(fixture);
}

static void the_right_messages_are_taken(void **state)
{
    for (int is_tls = 0; is_tls < 2; is_tls++) {
        struct engine_peer *peer = new_peer(*state, is_tls);
        struct hf_association_info info;
        engine_peer_open(peer);
        assert_true(engine_peer_echoes(peer));
        assert_int_equal(hf_engine_association_info(&info, peer->fixture->engine, peer->id), HF_OK);
        assert_int_equal(info.framework, HF_FRAMEWORK_CERTIFICATE);
        assert_int_equal(info.entity_kind, HF_ENTITY_AE);
        assert_string_equal(info.entity_id, "//m2m.example/S0");
        assert_string_equal(info.credential_id, "33-//m2m.example/S0");
        assert_int_equal(info.expires_s, WORLD_EXPIRES_S);
        assert_int_equal(engine_fixture_counters(peer->fixture).proofs_open, 0);
    }
}

/* ---- jobs ------------------------------------------------------------------------------------ */

static void a_job_that_never_comes_back_holds_its_slot_alone(void **state)
{
    struct engine_fixture *fixture = *state;
    for (int is_tls = 0; is_tls < 2; is_tls++) {
        struct engine_peer *peer = new_peer(fixture, is_tls);
        uint64_t stale = engine_fixture_counters(fixture).jobs_stale;
        fixture->are_jobs_held = true;
        engine_peer_start(peer);
        engine_fixture_run(fixture);
        assert_int_equal(fixture->job_count, 1);
        peer->is_gone = true;
        engine_fixture_advance(fixture, fixture->config.answer_us_max + 20000);
        assert_int_equal(peer->failure.status, HF_E_JOB_TIMEOUT);
        struct hf_counters counters = engine_fixture_counters(fixture);
        assert_int_equal(counters.proofs_open, 1);
        assert_int_equal(counters.handshakes_open, 0);
        hf_job_run(fixture->jobs, 1);
        hf_engine_give_job(fixture->engine, fixture->jobs[0]);
        counters = engine_fixture_counters(fixture);
        assert_int_equal(counters.proofs_open, 0);
        assert_int_equal(counters.jobs_stale, stale + 1);
        fixture->are_jobs_held = false;
        fixture->job_count = 0;
        engine_peer_free(peer);
    }
}

static void an_association_may_end_while_its_job_is_away(void **state)
{
    struct engine_fixture *fixture = *state;
    struct engine_peer *peer = new_peer(fixture, true);
    fixture->are_jobs_held = true;
    engine_peer_start(peer);
    engine_fixture_run(fixture);
    hf_engine_close_association(fixture->engine, peer->id, HF_CLOSE_SILENT);
    engine_fixture_run(fixture);
    assert_int_equal(peer->failed_count, 1);
    hf_engine_give_job(fixture->engine, fixture->jobs[0]);
    engine_fixture_run(fixture);
    assert_int_equal(engine_fixture_counters(fixture).proofs_open, 0);
    fixture->are_jobs_held = false;
    fixture->job_count = 0;
}

static void a_job_nobody_could_sign_fails(void **state)
{
    struct engine_fixture *fixture = *state;
    struct engine_peer *peer = new_peer(fixture, true);
    fixture->are_jobs_held = true;
    engine_peer_start(peer);
    engine_fixture_run(fixture);
    assert_int_equal(fixture->jobs[0]->status, HF_WAITING);
    hf_engine_give_job(fixture->engine, fixture->jobs[0]);
    fixture->are_jobs_held = false;
    fixture->job_count = 0;
    engine_fixture_run(fixture);
    assert_int_equal(peer->failure.status, HF_E_SIGNER);
    assert_int_equal(peer->client.alert, 80);
}

/* Retransmissions meet a handshake that waits: nothing is asked for twice. */
static void repeats_while_parked_ask_for_nothing(void **state)
{
    struct engine_fixture *fixture = *state;
    struct engine_peer *peer = new_peer(fixture, false);
    engine_peer_start(peer);
    fixture->are_jobs_held = true;
    engine_fixture_run(fixture);
    assert_int_equal(fixture->job_count, 1); /* the offer */
    engine_fixture_advance(fixture, 7000000);
    assert_int_equal(fixture->job_count, 1);
    hf_job_run(fixture->jobs, 1);
    hf_engine_give_job(fixture->engine, fixture->jobs[0]);
    fixture->job_count = 0;
    engine_fixture_run(fixture);
    assert_int_equal(fixture->job_count, 1); /* the proof */
    engine_fixture_advance(fixture, 7000000);
    assert_int_equal(fixture->job_count, 1);
    hf_job_run(fixture->jobs, 1);
    hf_engine_give_job(fixture->engine, fixture->jobs[0]);
    fixture->are_jobs_held = false;
    fixture->job_count = 0;
    engine_fixture_run(fixture);
    engine_peer_check_open(peer);
    assert_true(engine_peer_is_open(peer));
}

static void nothing_secret_stays_in_a_slot(void **state)
{
    struct engine_fixture *fixture = *state;
    static const uint8_t zero[sizeof(struct hf_job)];
    struct engine_peer *peer = new_peer(fixture, true);
    engine_peer_open(peer);
    const struct hf_pool *proofs = &fixture->engine->proofs;
    assert_true(proofs->touched > 0);
    for (uint32_t i = 0; i < proofs->touched; i++) {
        const struct hf_proof *proof = hf_pool_at(proofs, i);
        assert_memory_equal(&proof->job, zero, sizeof zero);
        assert_null(proof->credential);
        assert_null(proof->trust);
    }
}

static void slots_run_out_for_certificates_alone(void **state)
{
    struct engine_fixture *fixture = calloc(1, sizeof *fixture);
    (void)state;
    engine_fixture_init(fixture);
    use_certificates(fixture, &credential_world()->authority, 1);
    fixture->config.proofs_max = 1;
    engine_fixture_open(fixture);
    struct engine_peer *first = new_peer(fixture, true);
    first->is_deaf = true; /* it never answers our flight */
    engine_peer_start(first);
    engine_fixture_run(fixture);
    struct engine_peer *second = new_peer(fixture, true);
    engine_peer_start(second);
    engine_fixture_run(fixture);
    assert_int_equal(second->failure.status, HF_E_PROOF_LIMIT);
    struct engine_peer *with_key = engine_peer_new(fixture, true);
    engine_peer_open(with_key);
    engine_fixture_advance(fixture, TIMEOUT_US);
    assert_int_equal(first->failure.status, HF_E_HANDSHAKE_TIMEOUT);
    struct engine_peer *third = new_peer(fixture, true);
    engine_peer_open(third);
    engine_fixture_close(fixture);
    free(fixture);
}

/* ---- names and types ------------------------------------------------------------------------- */

static void an_unknown_name_is_refused_where_names_are_known(void **state)
{
    struct engine_fixture *fixture = calloc(1, sizeof *fixture);
    struct hf_listener_authority authorities[2] = {credential_world()->authority,
                                                   credential_world()->authority};
    static const struct {
        const char *asked;
        enum hf_status status;
        bool is_acknowledged;
    } names[] = {
        {NULL, HF_OK, false},
        {"one.example", HF_OK, true},
        {"TWO.Example", HF_OK, true},
        {"three.example", HF_E_UNRECOGNIZED_NAME, false},
        {"one.example.", HF_E_UNRECOGNIZED_NAME, false},
        {"one.exampl", HF_E_UNRECOGNIZED_NAME, false},
    };
    (void)state;
    authorities[0].server_name = "one.example";
    authorities[1].server_name = "two.example";
    engine_fixture_init(fixture);
    use_certificates(fixture, authorities, 2);
    engine_fixture_open(fixture);
    for (size_t i = 0; i < 4 * (sizeof names / sizeof names[0]); i++) {
        bool is_tls = i & 1;
        struct engine_peer *peer =
            i & 2 ? engine_peer_new(fixture, is_tls) : new_peer(fixture, is_tls);
        peer->config.server_name = names[i / 4].asked;
        engine_peer_start(peer);
        engine_fixture_run(fixture);
        assert_int_equal(peer->failure.status, names[i / 4].status);
        assert_int_equal(engine_peer_is_open(peer), names[i / 4].status == HF_OK);
        assert_int_equal(peer->client.is_name_acknowledged, names[i / 4].is_acknowledged);
    }
    engine_fixture_close(fixture);
    free(fixture);
}

/* Types by RFC 7250: what is asked for in each direction, what comes of it, and the alert. */
static void every_mix_of_types(void **state)
{
    struct engine_fixture *fixture = *state;
    static const struct {
        const char *server, *client;
        uint8_t server_len, client_len;
        enum hf_status status;
        uint8_t server_type, client_type;
    } mixes[] = {
        {"\0", "\0", 1, 1, HF_OK, 0, 0},
        {"\2", "\2", 1, 1, HF_OK, 2, 2},
        {"\2", "\0", 1, 1, HF_OK, 2, 0},
        {"\0", "\2", 1, 1, HF_OK, 0, 2},
        {"\2\0", "\0\2", 2, 2, HF_OK, 2, 0},
        {"\0\2", "\2\0", 2, 2, HF_OK, 0, 2},
        {"\1\3\2", "\1\0", 3, 2, HF_OK, 2, 0},
        {"\2", NULL, 1, 0, HF_OK, 2, 0},
        {NULL, "\2", 0, 1, HF_OK, 0, 2},
        {"\1", NULL, 1, 0, HF_E_CERTIFICATE_TYPE, 0, 0},
        {NULL, "\1\3", 0, 2, HF_E_CERTIFICATE_TYPE, 0, 0},
    };
    for (size_t i = 0; i < 2 * (sizeof mixes / sizeof mixes[0]); i++) {
        struct engine_peer *peer = new_peer(fixture, i % 2);
        peer->config.server_types =
            (struct hf_bytes){(const uint8_t *)mixes[i / 2].server, mixes[i / 2].server_len};
        peer->config.client_types =
            (struct hf_bytes){(const uint8_t *)mixes[i / 2].client, mixes[i / 2].client_len};
        engine_peer_start(peer);
        engine_fixture_run(fixture);
        assert_int_equal(peer->failure.status, mixes[i / 2].status);
        if (mixes[i / 2].status != HF_OK)
            continue;
        engine_peer_check_open(peer);
        assert_int_equal(peer->client.has_server_type, mixes[i / 2].server_len > 0);
        assert_int_equal(peer->client.has_client_type, mixes[i / 2].client_len > 0);
        assert_int_equal(peer->client.server_type, mixes[i / 2].server_type);
        assert_int_equal(peer->client.client_type, mixes[i / 2].client_type);
        engine_peer_end(peer);
    }
}

/* A flight of several kilobytes in the smallest datagrams, and again when it is lost. */
static void a_long_flight_is_cut_and_repeated(void **state)
{
    struct engine_fixture *fixture = calloc(1, sizeof *fixture);
    (void)state;
    engine_fixture_init(fixture);
    use_certificates(fixture, &credential_world()->authority, 1);
    fixture->listeners[ENGINE_FIXTURE_DTLS].datagram_len_max = 256;
    engine_fixture_open(fixture);
    struct engine_peer *peer = new_peer(fixture, false);
    peer->is_deaf = true;
    peer->is_gone = true;
    engine_peer_start(peer);
    engine_fixture_run(fixture); /* the cookie does not get through: it is asked for again below */
    peer->is_deaf = peer->is_gone = false;
    engine_fixture_advance(fixture, 1000000);
    engine_peer_check_open(peer);
    for (size_t i = 0; i < peer->received.count; i++)
        assert_in_range(peer->received.items[i].len, 13, 256);
    assert_true(peer->received.count >= 4);
    engine_fixture_close(fixture);
    free(fixture);
}

static void what_is_revoked_or_expired_ends(void **state)
{
    struct engine_fixture *fixture = *state;
    struct engine_peer *stays = new_peer(fixture, true), *goes = new_peer(fixture, false);
    static const uint8_t raw[] = {2};
    struct hf_trust_source source;
    struct hf_trust *nobody;
    const char *why;
    uint32_t cursor = 0, slots;
    goes->config.client_types = (struct hf_bytes){raw, 1};
    engine_peer_open(stays);
    engine_peer_open(goes);
    slots = hf_engine_association_slots(fixture->engine);
    assert_int_equal(hf_engine_end_unfit(fixture->engine, &cursor, slots, 8), 0);
    assert_int_equal(cursor, slots);
    hf_trust_source_init(&source); /* no raw key is pinned any more */
    source.flavours = HF_FLAVOUR_RAW;
    source.raw_keys = (struct hf_bytes){(const uint8_t *)"#\n", 2};
    assert_int_equal(hf_trust_open(&nobody, &why, &source), HF_OK);
    struct hf_listener_authority authority = credential_world()->authority;
    authority.trust = nobody;
    struct hf_listener listener = fixture->listeners[ENGINE_FIXTURE_DTLS];
    listener.authorities = &authority;
    assert_int_equal(hf_engine_update_listener(fixture->engine, ENGINE_FIXTURE_DTLS, &listener),
                     HF_OK);
    hf_trust_close(nobody); /* the engine has its own reference */
    cursor = 0;
    assert_int_equal(hf_engine_end_unfit(fixture->engine, &cursor, slots, 8), 1);
    engine_fixture_run(fixture);
    assert_int_equal(goes->failure.status, HF_E_CREDENTIAL_REVOKED);
    assert_true(engine_peer_echoes(stays));
    fixture->wall_s = WORLD_EXPIRES_S;
    engine_fixture_run(fixture);
    cursor = 0;
    assert_int_equal(hf_engine_end_unfit(fixture->engine, &cursor, slots, 0), 0);
    assert_int_equal(cursor, 0); /* the limit is kept */
    assert_int_equal(hf_engine_end_unfit(fixture->engine, &cursor, slots, 8), 1);
    engine_fixture_run(fixture);
    assert_int_equal(stays->failure.status, HF_E_CREDENTIAL_EXPIRED);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_right_messages_are_taken),
        TEST(every_wrong_message_is_refused),
        TEST(a_job_that_never_comes_back_holds_its_slot_alone),
        TEST(an_association_may_end_while_its_job_is_away),
        TEST(a_job_nobody_could_sign_fails),
        TEST(repeats_while_parked_ask_for_nothing),
        TEST(nothing_secret_stays_in_a_slot),
        cmocka_unit_test(slots_run_out_for_certificates_alone),
        cmocka_unit_test(an_unknown_name_is_refused_where_names_are_known),
        TEST(every_mix_of_types),
        cmocka_unit_test(a_long_flight_is_cut_and_repeated),
        TEST(what_is_revoked_or_expired_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
