/**
 * resume_test.c - resumption in the server's role, by session ID and by ticket, over TLS and DTLS:
 * what is carried over, what is not resumed and why, and that a repeated flight is the same.
 */
#include "engine_fixture.h"

#include <handfast/transfer.h>

struct world {
    struct engine_fixture fixture;
    struct hf_session_cache *cache;
    bool is_tls, is_ticket;
};

/* Everything below runs for each of these. */
static const struct world kinds[] = {
    {.is_tls = false, .is_ticket = false},
    {.is_tls = false, .is_ticket = true},
    {.is_tls = true, .is_ticket = false},
    {.is_tls = true, .is_ticket = true},
};

#define KINDS (sizeof kinds / sizeof kinds[0])

static struct world *world_open(size_t kind)
{
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    *world = kinds[kind];
    engine_fixture_init(&world->fixture);
    assert_int_equal(hf_session_cache_open(&world->cache, 64), HF_OK);
    world->fixture.config.sessions = world->cache;
    world->fixture.config.tickets = true;
    engine_fixture_open(&world->fixture);
    return world;
}

static void world_close(struct world *world)
{
    engine_fixture_close(&world->fixture);
    hf_session_cache_close(world->cache);
    free(world);
}

static struct engine_peer *new_peer(struct world *world, const struct psk_client_session *session)
{
    struct engine_peer *peer = engine_peer_new(&world->fixture, world->is_tls);
    peer->config.tickets = world->is_ticket;
    peer->config.session = session;
    return peer;
}

static void drop_peer(struct engine_peer *peer)
{
    engine_peer_end(peer);
    engine_peer_free(peer);
}

/* A full handshake, and what it leaves to resume. */
static struct psk_client_session make_session(struct world *world)
{
    struct psk_client_session session;
    struct engine_peer *peer = new_peer(world, NULL);
    engine_peer_open(peer);
    assert_false(peer->client.is_resumed);
    psk_client_keep_session(&session, &peer->client);
    assert_int_equal(session.ticket_len > 0, world->is_ticket);
    assert_int_equal(session.id_len, world->is_ticket ? 0 : 32);
    drop_peer(peer);
    return session;
}

/* Opens with an offered session and tells whether it was resumed. */
static bool is_resumed(struct world *world, const struct psk_client_session *session)
{
    struct engine_peer *peer = new_peer(world, session);
    struct hf_association_info info;
    engine_peer_open(peer);
    bool is = peer->client.is_resumed;
    assert_int_equal(hf_engine_association_info(&info, world->fixture.engine, peer->id), HF_OK);
    assert_int_equal(info.is_resumed, is);
    assert_true(engine_peer_echoes(peer));
    drop_peer(peer);
    return is;
}

/* ---- what is carried over ------------------------------------------------------------------ */

static void test_resumes(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < KINDS; kind++) {
        struct world *world = world_open(kind);
        struct engine_fixture *fixture = &world->fixture;
        fixture->expires_s = fixture->wall_s + 100000;
        struct psk_client_session session = make_session(world);
        uint32_t requests = fixture->request_count;
        struct engine_peer *peer = new_peer(world, &session);
        engine_peer_open(peer);
        struct hf_association_info info;
        assert_true(peer->client.is_resumed);
        assert_true(engine_peer_echoes(peer));
        assert_int_equal(fixture->request_count, requests + 1);
        assert_int_equal(fixture->asked_kind, HF_REQUEST_SESSION);
        assert_int_equal(hf_engine_association_info(&info, fixture->engine, peer->id), HF_OK);
        assert_true(info.is_resumed);
        assert_true(info.extended_master_secret);
        assert_int_equal(info.framework, HF_FRAMEWORK_PROVISIONED_SYMMETRIC_KEY);
        assert_int_equal(info.entity_kind, HF_ENTITY_AE);
        assert_true(info.context == UINT64_C(0xC0FFEE));
        assert_true(info.expires_s == fixture->expires_s);
        assert_memory_equal(info.entity_id, "/cse/Cdev", 9);
        assert_memory_equal(info.credential_id, "12-device", 9);
        drop_peer(peer);
        /* As often as one likes. */
        assert_true(is_resumed(world, &session));
        assert_true(is_resumed(world, &session));
        assert_int_equal(engine_fixture_counters(fixture).resumed, 3);
        world_close(world);
    }
}

static void test_encrypt_then_mac(void **state)
{
    (void)state;
    for (size_t kind = 2; kind < KINDS; kind++) {
        struct world *world = world_open(kind);
        struct engine_peer *peer = new_peer(world, NULL);
        struct psk_client_session session;
        peer->config.encrypt_then_mac = true;
        engine_peer_open(peer);
        assert_true(peer->client.is_etm);
        psk_client_keep_session(&session, &peer->client);
        drop_peer(peer);
        assert_false(is_resumed(world, &session)); /* not offered now */
        peer = new_peer(world, &session);
        peer->config.encrypt_then_mac = true;
        engine_peer_open(peer);
        assert_true(peer->client.is_resumed && peer->client.is_etm);
        assert_true(engine_peer_echoes(peer));
        drop_peer(peer);
        world_close(world);
    }
}

static void test_fragments_agreed_anew(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < KINDS; kind++) {
        struct world *world = world_open(kind);
        struct psk_client_session session = make_session(world);
        struct engine_peer *peer = new_peer(world, &session);
        peer->config.max_fragment_length = 1;
        engine_peer_open(peer);
        assert_true(peer->client.is_resumed);
        assert_int_equal(peer->client.max_fragment_length, 1);
        assert_true(engine_peer_echoes(peer));
        drop_peer(peer);
        world_close(world);
    }
}

/* ---- what is not resumed ------------------------------------------------------------------- */

static void test_source_refuses(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < KINDS; kind++) {
        struct world *world = world_open(kind);
        struct psk_client_session session = make_session(world);
        world->fixture.is_session_refused = true;
        assert_false(is_resumed(world, &session));
        world->fixture.is_session_refused = false;
        assert_true(is_resumed(world, &session));
        world_close(world);
    }
}

static void test_lives_so_long(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < KINDS; kind++) {
        struct world *world = world_open(kind);
        struct psk_client_session session = make_session(world);
        engine_fixture_advance(&world->fixture, UINT64_C(2500) * 1000000);
        assert_true(is_resumed(world, &session));
        engine_fixture_advance(&world->fixture, UINT64_C(1200) * 1000000);
        assert_false(is_resumed(world, &session));
        world_close(world);
    }
}

static void test_dies_with_its_credential(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < KINDS; kind++) {
        struct world *world = world_open(kind);
        world->fixture.expires_s = world->fixture.wall_s + 2100;
        struct psk_client_session session = make_session(world);
        assert_true(is_resumed(world, &session));
        world->fixture.wall_s += 2100;
        world->fixture.expires_s = 0; /* a new key for the same identity */
        assert_false(is_resumed(world, &session));
        world_close(world);
    }
}

static void test_extended_master_secret(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < KINDS; kind++) {
        struct world *world = world_open(kind);
        struct psk_client_session session = make_session(world);
        struct engine_peer *peer = new_peer(world, &session);
        peer->config.extended_master_secret = false; /* RFC 7627 5.3: abort */
        engine_peer_start(peer);
        engine_fixture_run(&world->fixture);
        if (world->is_tls) {
            assert_int_equal(peer->client.state, PSK_CLIENT_FAILED);
            assert_int_equal(peer->client.alert, 40);
            assert_int_equal(peer->failure.status, HF_E_RESUMED_WITHOUT);
        } else {
            assert_false(engine_peer_is_open(peer));
        }
        engine_peer_free(peer);
        /* Without it in the first place there is nothing to resume. */
        peer = new_peer(world, NULL);
        peer->config.extended_master_secret = false;
        engine_peer_open(peer);
        assert_int_equal(peer->client.session_id_len, 0);
        assert_int_equal(peer->client.ticket_len, 0);
        drop_peer(peer);
        world_close(world);
    }
}

static void test_server_name(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < KINDS; kind++) {
        struct world *world = world_open(kind);
        struct psk_client_session session = make_session(world);
        struct engine_peer *peer = new_peer(world, &session);
        peer->config.server_name = "in-cse.example";
        engine_peer_open(peer);
        assert_false(peer->client.is_resumed);
        psk_client_keep_session(&session, &peer->client);
        drop_peer(peer);
        assert_false(is_resumed(world, &session)); /* nor the other way round */
        peer = new_peer(world, &session);
        peer->config.server_name = "IN-CSE.example";
        engine_peer_open(peer);
        assert_true(peer->client.is_resumed);
        assert_false(peer->client.is_name_acknowledged); /* RFC 6066 3 */
        drop_peer(peer);
        world_close(world);
    }
}

static void test_suite(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < KINDS; kind++) {
        struct world *world = world_open(kind);
        struct psk_client_session session = make_session(world);
        struct engine_peer *peer = new_peer(world, &session);
        peer->config.suites[0] = HF_SUITE_PSK_AES_128_GCM_SHA256;
        engine_peer_open(peer);
        assert_false(peer->client.is_resumed);
        drop_peer(peer);
        peer = new_peer(world, &session); /* preferred by us is another: the session's counts */
        peer->config.suites[1] = peer->config.suites[0];
        peer->config.suites[0] = HF_SUITE_PSK_AES_128_GCM_SHA256;
        peer->config.suite_count = 2;
        engine_peer_open(peer);
        assert_true(peer->client.is_resumed);
        drop_peer(peer);
        world_close(world);
    }
}

/* A session of one transport is none on the other. */
static void test_transport(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < KINDS; kind++) {
        struct world *world = world_open(kind);
        struct psk_client_session session = make_session(world);
        session.suite =
            world->is_tls ? HF_SUITE_PSK_AES_128_CCM_8 : HF_SUITE_PSK_AES_128_CBC_SHA256;
        world->is_tls = !world->is_tls;
        assert_false(is_resumed(world, &session));
        world_close(world);
    }
}

static void test_forged(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < KINDS; kind++) {
        struct world *world = world_open(kind);
        const struct psk_client_session session = make_session(world);
        struct psk_client_session forged = session;
        uint8_t *data = world->is_ticket ? forged.ticket : forged.id;
        size_t len = world->is_ticket ? forged.ticket_len : forged.id_len;
        for (size_t bit = 0; bit < 8 * len; bit += 37) {
            data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_false(is_resumed(world, &forged));
            data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        for (uint16_t cut = 1; world->is_ticket && cut < session.ticket_len; cut += 13) {
            forged = session;
            forged.ticket_len = (uint16_t)(session.ticket_len - cut);
            assert_false(is_resumed(world, &forged));
        }
        forged = session;
        forged.ticket_len = world->is_ticket ? PSK_CLIENT_TICKET_MAX : 0;
        if (world->is_ticket)
            assert_false(is_resumed(world, &forged));
        assert_true(is_resumed(world, &session));
        world_close(world);
    }
}

/* Who has the session's name but not its key gets nowhere. */
static void test_wrong_master_secret(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < KINDS; kind++) {
        struct world *world = world_open(kind);
        struct psk_client_session session = make_session(world);
        session.master_secret[7] ^= 1;
        struct engine_peer *peer = new_peer(world, &session);
        engine_peer_start(peer);
        engine_fixture_run(&world->fixture);
        assert_false(engine_peer_is_open(peer));
        assert_int_equal(peer->established_count, 0);
        engine_peer_free(peer);
        world_close(world);
    }
}

/* RFC 5246 7.2.2: after a fatal alert the session is not resumed. A ticket we cannot call back. */
static void test_fatal_alert(void **state)
{
    (void)state;
    static const uint8_t fatal[2] = {2, 80};
    for (size_t kind = 0; kind < KINDS; kind++) {
        struct world *world = world_open(kind);
        struct psk_client_session session;
        struct engine_peer *peer = new_peer(world, NULL);
        engine_peer_open(peer);
        psk_client_keep_session(&session, &peer->client);
        engine_peer_send_sealed(peer, 21, fatal, sizeof fatal);
        assert_int_equal(peer->closed_count, 1);
        engine_peer_free(peer);
        assert_int_equal(is_resumed(world, &session), world->is_ticket);
        world_close(world);
    }
}

/* Both engine and cache are relieved by others. */
static void relieve(struct world *world)
{
    static uint8_t chunk[4 * HF_TRANSFER_CHUNK_MIN];
    struct engine_fixture *fixture = &world->fixture;
    struct hf_session_cache *former = world->cache;
    struct hf_session_copy *sessions;
    struct hf_session_copy_counts sessions_taken = {0};
    struct hf_transfer *transfer;
    struct hf_transfer_counts taken;
    size_t len;
    assert_int_equal(hf_session_cache_open(&world->cache, 640), HF_OK);
    assert_int_equal(hf_session_copy_open(&sessions, former), HF_OK);
    assert_int_equal(hf_session_copy_write(chunk, &len, sizeof chunk, sessions, fixture->wall_s),
                     HF_OK);
    assert_int_equal(hf_session_copy_take(&sessions_taken, world->cache,
                                          (struct hf_bytes){chunk, len}, fixture->wall_s),
                     HF_OK);
    assert_int_equal(sessions_taken.left_out, 0);
    fixture->config.sessions = world->cache;
    struct hf_engine *engine = engine_fixture_second(fixture);
    assert_int_equal(hf_engine_import_begin(engine, fixture->now_us, fixture->wall_s), HF_OK);
    assert_int_equal(hf_transfer_open(&transfer, fixture->engine), HF_OK);
    assert_int_equal(hf_transfer_write(chunk, &len, sizeof chunk, transfer, fixture->engine, 1000),
                     HF_OK);
    assert_int_equal(hf_engine_import(engine, (struct hf_bytes){chunk, len}), HF_OK);
    hf_engine_import_end(&taken, engine);
    hf_transfer_close(transfer);
    hf_session_copy_close(sessions);
    hf_engine_close(fixture->engine);
    hf_session_cache_close(former);
    fixture->engine = engine;
}

/* A session by ID outlives a restart; and a fatal alert still finds it. */
static void test_restart(void **state)
{
    (void)state;
    static const uint8_t fatal[2] = {2, 80};
    for (size_t kind = 0; kind < KINDS; kind += 2) {
        struct world *world = world_open(kind);
        struct psk_client_session session = make_session(world), other;
        struct engine_peer *peer = new_peer(world, NULL);
        engine_peer_open(peer);
        psk_client_keep_session(&other, &peer->client);
        for (int i = 0; i < 2; i++) {
            relieve(world);
            assert_true(is_resumed(world, &session));
        }
        assert_true(engine_peer_echoes(peer));
        assert_true(is_resumed(world, &other));
        engine_peer_send_sealed(peer, 21, fatal, sizeof fatal);
        assert_int_equal(peer->closed_count, 1);
        engine_peer_free(peer);
        assert_false(is_resumed(world, &other));
        relieve(world);
        assert_false(is_resumed(world, &other));
        assert_true(is_resumed(world, &session));
        world_close(world);
    }
}

static void test_off(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < KINDS; kind++) {
        struct world *world = world_open(kind);
        struct psk_client_session session = make_session(world);
        engine_fixture_close(&world->fixture);
        engine_fixture_init(&world->fixture);
        engine_fixture_open(&world->fixture);
        struct engine_peer *peer = new_peer(world, &session);
        engine_peer_open(peer);
        assert_false(peer->client.is_resumed);
        assert_int_equal(peer->client.session_id_len, 0);
        assert_int_equal(peer->client.ticket_len, 0);
        drop_peer(peer);
        world_close(world);
    }
}

/* ---- waiting, losing ----------------------------------------------------------------------- */

/* Whoever resumes has the last word and goes on talking. All of it may come in one turn, in which
 * nobody has yet said who it is: it is heard when that is known, and its goodbye behind it. */
static void test_talks_behind_its_finished(void **state)
{
    (void)state;
    static const char words[] = "one..two..three";
    static const uint8_t goodbye[2] = {1, 0};
    for (size_t kind = 0; kind < KINDS; kind++) {
        for (int says_goodbye = 0; says_goodbye < 2; says_goodbye++) {
            struct world *world = world_open(kind);
            struct psk_client_session session = make_session(world);
            struct engine_peer *peer = new_peer(world, &session);
            peer->is_held = true;
            engine_peer_start(peer);
            for (int hello = 0; hello < 2 - world->is_tls; hello++) /* once more behind a cookie */
                engine_peer_deliver(peer, (size_t)hello, (size_t)hello + 1);
            size_t from = (size_t)(2 - world->is_tls);
            for (size_t i = 0; i < 15; i += 5)
                engine_peer_send_sealed(peer, 23, words + i, 5);
            if (says_goodbye)
                engine_peer_send_sealed(peer, 21, goodbye, 2);
            assert_int_equal(peer->established_count, 0);
            engine_peer_deliver(peer, from, peer->sent.count);
            assert_true(peer->client.is_resumed);
            assert_int_equal(peer->established_count, 1);
            assert_int_equal(peer->data_in_len, 15);
            assert_int_equal(peer->closed_count + peer->peer_closed_count, says_goodbye);
            if (!says_goodbye) {
                assert_int_equal(peer->echo_len, 15);
                assert_memory_equal(peer->echo, words, 15);
            }
            world_close(world);
        }
    }
}

/* Its first request fills a datagram, and comes right behind its Finished. */
static void test_a_long_word_behind_its_finished(void **state)
{
    (void)state;
    static const uint8_t words[1350];
    for (size_t kind = 0; kind < KINDS; kind++) {
        struct world *world = world_open(kind);
        struct psk_client_session session = make_session(world);
        struct engine_peer *peer = new_peer(world, &session);
        peer->is_held = true;
        engine_peer_start(peer);
        for (int hello = 0; hello < 2 - world->is_tls; hello++)
            engine_peer_deliver(peer, (size_t)hello, (size_t)hello + 1);
        engine_peer_send_sealed(peer, 23, words, sizeof words);
        engine_peer_deliver(peer, (size_t)(2 - world->is_tls), peer->sent.count);
        assert_int_equal(peer->data_in_len, sizeof words);
        world_close(world);
    }
}

static void test_source_takes_its_time(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < KINDS; kind++) {
        struct world *world = world_open(kind);
        struct engine_fixture *fixture = &world->fixture;
        struct psk_client_session session = make_session(world);
        fixture->answers = ENGINE_FIXTURE_HELD;
        for (int is_granted = 0; is_granted < 2; is_granted++) {
            struct engine_peer *peer = new_peer(world, &session);
            uint32_t asked = fixture->session_count;
            engine_peer_start(peer);
            engine_fixture_run(fixture);
            engine_fixture_advance(fixture, 3000000); /* the hello is repeated meanwhile */
            assert_int_equal(fixture->session_count, asked + 1);
            assert_int_equal(engine_fixture_counters(fixture).parked, 1);
            assert_int_equal(engine_fixture_answer(fixture, is_granted), HF_OK);
            fixture->answers = ENGINE_FIXTURE_AT_ONCE;
            engine_fixture_run(fixture);
            engine_fixture_advance(fixture, 10000000);
            engine_peer_check_open(peer);
            assert_int_equal(peer->client.is_resumed, is_granted);
            drop_peer(peer);
            fixture->answers = ENGINE_FIXTURE_HELD;
        }
        /* And one that gives up while we wait. */
        struct engine_peer *peer = new_peer(world, &session);
        uint32_t cancelled = fixture->cancel_count;
        engine_peer_start(peer);
        engine_fixture_run(fixture);
        peer->is_gone = true;
        engine_fixture_advance(fixture, 90000000);
        assert_int_equal(fixture->cancel_count, cancelled + 1);
        assert_int_equal(engine_fixture_answer(fixture, true), HF_E_STALE);
        fixture->answers = ENGINE_FIXTURE_AT_ONCE;
        engine_peer_free(peer);
        world_close(world);
    }
}

/* ---- shared secrets ------------------------------------------------------------------------ */

static void test_shared_secrets(void **state)
{
    (void)state;
    struct hf_shared_secrets secrets = {0};
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    *world = kinds[1];
    engine_fixture_init(&world->fixture);
    assert_int_equal(hf_shared_secrets_rotate(&secrets, 1, 0), HF_OK);
    world->fixture.config.tickets = true;
    world->fixture.config.secrets = secrets;
    engine_fixture_open(&world->fixture);
    struct psk_client_session session = make_session(world);
    engine_fixture_close(&world->fixture);

    /* Another node, which knows a newer secret already. */
    engine_fixture_init(&world->fixture);
    assert_int_equal(hf_shared_secrets_rotate(&secrets, world->fixture.wall_s - 2000, 0), HF_OK);
    world->fixture.config.tickets = true;
    world->fixture.config.secrets = secrets;
    engine_fixture_open(&world->fixture);
    assert_true(is_resumed(world, &session));
    struct psk_client_session newer = make_session(world);
    assert_memory_not_equal(session.ticket, newer.ticket, 8); /* another key's name */
    /* The old secret is withdrawn: its tickets with it, the new one's not. */
    secrets.count = 1;
    hf_engine_set_secrets(world->fixture.engine, &secrets);
    assert_false(is_resumed(world, &session));
    assert_true(is_resumed(world, &newer));
    engine_fixture_close(&world->fixture);
    free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resumes),
        cmocka_unit_test(test_talks_behind_its_finished),
        cmocka_unit_test(test_a_long_word_behind_its_finished),
        cmocka_unit_test(test_encrypt_then_mac),
        cmocka_unit_test(test_fragments_agreed_anew),
        cmocka_unit_test(test_source_refuses),
        cmocka_unit_test(test_lives_so_long),
        cmocka_unit_test(test_dies_with_its_credential),
        cmocka_unit_test(test_extended_master_secret),
        cmocka_unit_test(test_server_name),
        cmocka_unit_test(test_suite),
        cmocka_unit_test(test_transport),
        cmocka_unit_test(test_forged),
        cmocka_unit_test(test_wrong_master_secret),
        cmocka_unit_test(test_fatal_alert),
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_off),
        cmocka_unit_test(test_source_takes_its_time),
        cmocka_unit_test(test_shared_secrets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
