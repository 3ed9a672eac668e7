/**
 * certify_test.c - certificates in the server's role: jobs that are late, lost or never done; the
 * limit; whose name and which type are asked for; long flights; what is revoked or expires.
 */
#include "core.h"
#include "credential_world.h"
#include "engine_fixture.h"
#include "proof.h"

/* Long enough for a DTLS handshake to run out of time. */
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

/* RFC 7627 5.4: without extended master secret another association could have the same secrets. */
static void export_wants_extended_master_secret(void **state)
{
    static const struct hf_bytes label = {(const uint8_t *)"EXPORTER-oneM2M-Connection", 26};
    (void)state;
    for (int turn = 0; turn < 4; turn++) {
        struct engine_fixture *fixture = calloc(1, sizeof *fixture);
        uint8_t ours[48], theirs[48];
        bool is_bound = turn & 1, is_allowed = turn & 2;
        engine_fixture_init(fixture);
        use_certificates(fixture, &credential_world()->authority, 1);
        fixture->config.export_without_extended_master_secret = is_allowed;
        engine_fixture_open(fixture);
        struct engine_peer *peer = new_peer(fixture, true);
        peer->config.extended_master_secret = is_bound;
        engine_peer_open(peer);
        enum hf_status status =
            hf_engine_export(ours, sizeof ours, fixture->engine, peer->id, label, NULL);
        assert_int_equal(status, is_bound || is_allowed ? HF_OK : HF_E_STATE);
        if (status == HF_OK) {
            const struct hf_bytes seeds[] = {{peer->client.client_random, HF_RANDOM_LEN},
                                             {peer->client.server_random, HF_RANDOM_LEN}};
            struct hf_hmac_key master;
            hf_hmac_key_init(&master,
                             (struct hf_bytes){peer->client.master_secret, HF_MASTER_SECRET_LEN});
            hf_prf(theirs, sizeof theirs, &master, (const char *)label.data, seeds, 2);
            assert_memory_equal(ours, theirs, sizeof ours);
        }
        engine_fixture_close(fixture);
        free(fixture);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_right_messages_are_taken),
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
        cmocka_unit_test(export_wants_extended_master_secret),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
