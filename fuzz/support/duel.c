/**
 * duel.c - see duel.h: both engines, and their turns.
 */
#include "duel.h"

#include "association.h"
#include "scarce.h"

static const char psk_identity[] = "client";

/* ---- the peer's side: other randomness, nothing forged --------------------------------------- */

static uint32_t enter_peer(struct fuzz_duel *duel)
{
    duel->peer_random = fuzz_random_swap(duel->peer_random);
    return fuzz_forge(0);
}

static void leave_peer(struct fuzz_duel *duel, uint32_t forge_mask)
{
    duel->peer_random = fuzz_random_swap(duel->peer_random);
    (void)fuzz_forge(forge_mask);
}

/* ---- configuration --------------------------------------------------------------------------- */

static void choose_suite(uint16_t suites[HF_SUITES_MAX], uint8_t *count,
                         const struct fuzz_duel *duel)
{
    if (duel->suite == HF_SUITE_NONE)
        return;
    suites[0] = duel->suite;
    *count = 1;
}

static void fill_authorities(struct hf_listener_authority out[2], const struct fuzz_duel *duel,
                             bool is_stranger)
{
    const struct fuzz_persons *persons = fuzz_persons();
    const struct hf_credential *shown[2] = {persons->server, persons->second};
    if (is_stranger)
        shown[0] = shown[1] = persons->stranger;
    for (size_t i = 0; i < 2; i++) {
        bool is_raw = duel->kind == FUZZ_DUEL_RAW;
        out[i] = (struct hf_listener_authority){
            .server_name = !duel->has_names ? NULL
                           : i              ? "two.example"
                                            : "one.example",
            .x509 = is_raw ? NULL : shown[i],
            .raw = is_raw || duel->kind == FUZZ_DUEL_MIXED ? shown[i] : NULL,
            .trust =
                is_raw || duel->kind == FUZZ_DUEL_MIXED ? persons->raw_only : persons->x509_only,
        };
    }
}

static void fill_listener(struct hf_listener *listener, const struct fuzz_duel *duel,
                          const struct hf_listener_authority *authorities)
{
    struct hf_listener usual;
    hf_listener_init(&usual, listener->transport);
    if (duel->kind != FUZZ_DUEL_PSK) /* a world has those with pre-shared keys only */
        listener->suite_count = usual.suite_count;
    choose_suite(listener->suites, &listener->suite_count, duel);
    if (duel->kind != FUZZ_DUEL_PSK) {
        listener->authorities = authorities;
        listener->authority_count = duel->has_names ? 2 : 1;
    }
}

static void fill_dialer(struct hf_dialer *dialer, const struct fuzz_duel *duel, bool is_stranger)
{
    const struct fuzz_persons *persons = fuzz_persons();
    const struct hf_credential *shown = is_stranger ? persons->stranger : persons->client;
    bool shows_raw = duel->kind == FUZZ_DUEL_RAW || duel->kind == FUZZ_DUEL_MIXED;
    choose_suite(dialer->suites, &dialer->suite_count, duel);
    dialer->sessions = duel->has_sessions;
    if (duel->has_cid)
        dialer->connection_id = HF_CONNECTION_ID_ON;
    if (duel->kind == FUZZ_DUEL_PSK)
        return;
    dialer->x509 = shows_raw ? NULL : shown;
    dialer->raw = shows_raw ? shown : NULL;
    dialer->trust = duel->kind == FUZZ_DUEL_RAW ? persons->raw_only : persons->x509_only;
}

static void configure_peer(struct fuzz_duel *duel)
{
    bool is_stranger = duel->kind == FUZZ_DUEL_STRANGER;
    struct hf_config *config = &duel->peer_config;
    hf_config_init(config);
    config->associations_max = 8;
    config->handshakes_max = config->handshakes_pressure = 8;
    config->events_max = 64;
    config->output_len_max = 65536;
    config->stream_buffers_max = 2;
    config->local_addresses_max = 4;
    config->message_len_max = 65536;
    config->keylog = true;
    fill_authorities(duel->peer_authorities, duel, is_stranger);
    for (size_t i = 0; i < 2; i++) {
        enum hf_transport transport =
            i == FUZZ_LISTENER_DTLS ? HF_TRANSPORT_DTLS : HF_TRANSPORT_TLS;
        hf_listener_init(&duel->peer_listeners[i], transport);
        duel->peer_listeners[i].datagram_len_max = 4096; /* its messages are whole */
        fill_listener(&duel->peer_listeners[i], duel, duel->peer_authorities);
        hf_dialer_init(&duel->peer_dialers[i], transport);
        duel->peer_dialers[i].datagram_len_max = 4096;
        fill_dialer(&duel->peer_dialers[i], duel, is_stranger);
    }
    config->listeners = duel->peer_listeners;
    config->listener_count = duel->is_client ? 2 : 0;
    config->dialers = duel->peer_dialers;
    config->dialer_count = duel->is_client ? 0 : 2;
}

static void configure_sessions(struct fuzz_duel *duel)
{
    struct hf_config *server = duel->is_client ? &duel->peer_config : &duel->world.config;
    if (!duel->has_sessions)
        return;
    server->tickets = !duel->has_cache;
    if (duel->has_cache)
        FUZZ_CHECK(hf_session_cache_open(&duel->cache, 16) == HF_OK);
    server->sessions = duel->cache;
}

static void configure(struct fuzz_duel *duel)
{
    static const uint16_t psk_suites[] = {0, 0x00AE, 0xC0A8, 0x00A8, 0xC0A4};
    static const uint16_t suites[] = {0, 0xC023, 0xC0AE, 0xC02B, 0xC0AC};
    struct fuzz_input *input = &duel->input;
    duel->kind = (enum fuzz_duel_kind)fuzz_below(input, FUZZ_DUEL_KINDS);
    uint8_t bits = fuzz_u8(input);
    duel->is_strict = !(bits & 1);
    duel->has_names = bits & 2;
    duel->has_sessions = bits & 4;
    duel->has_cache = bits & 8;
    duel->is_named = bits & 16;
    duel->has_cid = duel->is_dtls && bits >> 5 >= 5;
    duel->suite =
        duel->kind == FUZZ_DUEL_PSK ? psk_suites[(bits >> 5) % 5] : suites[(bits >> 5) % 5];
    struct hf_bytes limits = {input->data, input->len};
    fuzz_world_config(&duel->world, input);
    limits.len -= input->len;
    duel->is_roomy = true;
    for (size_t i = 0; i < limits.len; i++)
        duel->is_roomy &= limits.data[i] == 0;
    duel->world.is_client = duel->is_client;
    duel->world.config.keylog = true;
    fill_authorities(duel->authorities, duel, false);
    for (size_t i = 0; i < 2; i++) {
        fill_listener(&duel->world.listeners[i], duel, duel->authorities);
        fill_dialer(&duel->world.dialers[i], duel, false);
    }
    configure_peer(duel);
    configure_sessions(duel);
}

/* ---- our end --------------------------------------------------------------------------------- */

static void on_event(struct fuzz_world *world, const struct hf_event *event)
{
    struct fuzz_duel *duel = world->arg;
    if (duel->id == 0 && !duel->is_client)
        duel->id = event->association;
    if (event->association != duel->id)
        return;
    switch (event->kind) {
    case HF_EVENT_KEYLOG:
        memcpy(duel->master_secret[0], event->master_secret, sizeof duel->master_secret[0]);
        duel->has_master_secret[0] = true;
        break;
    case HF_EVENT_ESTABLISHED:
        duel->is_open = true;
        if (hf_engine_association_info(&duel->info, world->engine, duel->id) == HF_OK)
            fuzz_duel_judge_open(duel);
        break;
    case HF_EVENT_HANDSHAKE_FAILED:
        duel->failure = event->failure;
        fuzz_duel_judge_failure(duel);
        /* A stranger's hello makes way for another one, on DTLS. */
        duel->id = duel->is_dtls && !duel->is_client ? 0 : duel->id;
        duel->is_over = true;
        break;
    case HF_EVENT_CLOSED:
        duel->is_over = true;
        break;
    case HF_EVENT_SESSION:
        memcpy(duel->session, event->data.data, event->data.len);
        duel->session_len = event->data.len;
        break;
    case HF_EVENT_DATA:
    case HF_EVENT_MOVED:
    case HF_EVENT_READABLE:
    case HF_EVENT_PEER_CLOSED:
    default:
        break;
    }
}

static void on_output(struct fuzz_world *world, const struct hf_output *output)
{
    struct fuzz_duel *duel = world->arg;
    if (duel->post_count == FUZZ_POST_MAX || output->is_stream == duel->is_dtls)
        return;
    duel->post[duel->post_count++] = (struct fuzz_post){fuzz_copy(output->data), output->data.len};
}

static void run_jobs(struct fuzz_world *world)
{
    struct fuzz_duel *duel = world->arg;
    struct hf_job *jobs[FUZZ_JOBS_HELD];
    size_t count;
    do {
        size_t room = FUZZ_JOBS_HELD - duel->held_count;
        count = hf_engine_take_jobs(world->engine, jobs, duel->holds_jobs ? room : FUZZ_JOBS_HELD);
        if (duel->holds_jobs) {
            memcpy(duel->held + duel->held_count, jobs, count * sizeof jobs[0]);
            duel->held_count += count;
            return;
        }
        fuzz_scarce(duel->scarce);
        hf_job_run(jobs, count);
        duel->scarce = fuzz_scarce_pause();
        for (size_t i = 0; i < count; i++)
            hf_engine_give_job(world->engine, jobs[i]);
    } while (count > 0);
}

void fuzz_duel_give_jobs(struct fuzz_duel *duel, bool is_done, bool is_reversed)
{
    if (is_done)
        hf_job_run(duel->held, duel->held_count);
    for (size_t i = 0; i < duel->held_count; i++)
        hf_engine_give_job(duel->world.engine,
                           duel->held[is_reversed ? duel->held_count - 1 - i : i]);
    duel->held_count = 0;
}

/* ---- the peer -------------------------------------------------------------------------------- */

static void peer_request(struct hf_engine *engine, const struct hf_request *request, void *arg)
{
    (void)arg;
    struct hf_answer answer = {
        .kind = HF_ANSWER_IDENTITY,
        .framework = HF_FRAMEWORK_PROVISIONED_SYMMETRIC_KEY,
        .entity_kind = HF_ENTITY_AE,
    };
    if (request->kind == HF_REQUEST_KEY) {
        answer.kind = HF_ANSWER_PSK;
        answer.secret = (struct hf_bytes){fuzz_world_psk(), 16};
    }
    FUZZ_CHECK(hf_engine_answer(engine, request->ticket, &answer) == HF_OK);
}

static void take_peer_event(struct fuzz_duel *duel, const struct hf_event *event)
{
    bool is_ours = event->association == duel->peer_id;
    if (duel->is_client && duel->is_dtls && event->kind != HF_EVENT_CLOSED &&
        event->kind != HF_EVENT_HANDSHAKE_FAILED) {
        duel->peer_id = event->association; /* the newest */
        is_ours = true;
    }
    if (!is_ours)
        return;
    if (event->kind == HF_EVENT_KEYLOG) {
        memcpy(duel->master_secret[1], event->master_secret, sizeof duel->master_secret[1]);
        duel->has_master_secret[1] = true;
    } else if (event->kind == HF_EVENT_ESTABLISHED) {
        duel->is_peer_open = true;
    } else if (event->kind == HF_EVENT_SESSION) {
        memcpy(duel->session, event->data.data, event->data.len);
        duel->session_len = event->data.len;
    } else if (event->kind == HF_EVENT_CLOSED || event->kind == HF_EVENT_HANDSHAKE_FAILED) {
        duel->is_peer_over = true;
    }
}

static void feed_peer(struct fuzz_duel *duel, const struct fuzz_post *post)
{
    if (duel->is_dtls) {
        struct hf_datagram datagram = {
            .path = {duel->connect.path.local, duel->connect.path.peer},
            .listener_index = FUZZ_LISTENER_DTLS,
            .is_client = !duel->is_client,
            .data = post->data,
            .len = post->len,
        };
        (void)hf_engine_receive_datagram(duel->peer, &datagram);
        return;
    }
    size_t consumed;
    (void)hf_engine_receive_stream(duel->peer, &consumed, duel->peer_id, post->data, post->len);
}

static void turn_peer(struct fuzz_duel *duel)
{
    struct hf_event event;
    struct hf_output output;
    struct fuzz_post post[FUZZ_POST_MAX];
    size_t post_count = duel->post_count;
    memcpy(post, duel->post, post_count * sizeof post[0]);
    duel->post_count = 0;
    uint32_t forge_mask = enter_peer(duel);
    hf_engine_begin_turn(duel->peer, duel->world.now_us, duel->world.wall_s);
    for (size_t i = 0; i < post_count; i++)
        feed_peer(duel, &post[i]);
    hf_engine_end_turn(duel->peer);
    hf_engine_run_jobs(duel->peer);
    while (hf_engine_take_event(duel->peer, &event))
        take_peer_event(duel, &event);
    while (hf_engine_take_output(duel->peer, &output))
        fuzz_duel_hear(duel, output.data);
    for (size_t i = 0; i < post_count; i++)
        free(post[i].data);
    leave_peer(duel, forge_mask);
}

/* ---- both ------------------------------------------------------------------------------------ */

void fuzz_duel_turn(struct fuzz_duel *duel, uint64_t ahead_us)
{
    fuzz_world_turn(&duel->world, ahead_us);
    turn_peer(duel);
}

void fuzz_duel_open(struct fuzz_duel *duel, bool is_dtls, bool is_client)
{
    const struct hf_key_source source = {peer_request, NULL, duel};
    duel->is_dtls = is_dtls;
    duel->is_client = is_client;
    duel->scarce = SIZE_MAX;
    configure(duel);
    hf__fuzz_accept = !duel->is_strict;
    duel->world.arg = duel;
    duel->world.see_event = on_event;
    duel->world.see_output = on_output;
    duel->world.run_jobs = run_jobs;
    fuzz_world_open(&duel->world);
    duel->world.wall_s = FUZZ_PERSONS_WALL_S;
    duel->peer_random = UINT64_C(7) << 32;
    uint32_t forge_mask = enter_peer(duel);
    FUZZ_CHECK(hf_engine_open(&duel->peer, &duel->peer_config, &source) == HF_OK);
    leave_peer(duel, forge_mask);
    fuzz_duel_turn(duel, 0);
}

static void part(struct fuzz_duel *duel)
{
    uint32_t forge_mask = enter_peer(duel);
    hf_engine_close_association(duel->peer, duel->peer_id, HF_CLOSE_SILENT);
    leave_peer(duel, forge_mask);
    fuzz_world_end_all(&duel->world); /* also one that has said nothing yet */
    fuzz_duel_turn(duel, 0);
    while (duel->unit_count > 0)
        fuzz_duel_forget(duel, 0);
    while (duel->post_count > 0)
        free(duel->post[--duel->post_count].data);
    duel->id = duel->peer_id = 0;
    duel->is_peer_open = duel->is_peer_over = duel->is_peer_protected = false;
    duel->is_open = duel->is_over = duel->is_disordered = duel->is_unsure = false;
    duel->has_master_secret[0] = duel->has_master_secret[1] = false;
    duel->is_disturbed = duel->meetings > 0 && duel->is_disturbed;
    duel->delivered = duel->tampered = 0;
    duel->plain_len = 0;
    duel->next_serial = duel->unit_serial;
    duel->next_seq = 0;
    duel->where = 0;
}

static void fill_connect(struct fuzz_duel *duel, struct hf_bytes session)
{
    static const char *const ids[] = {FUZZ_SERVER_CSE_ID, FUZZ_SECOND_CSE_ID};
    struct hf_connect *connect = &duel->connect;
    bool is_second = duel->has_names && duel->is_second;
    const char *name = !duel->has_names ? "" : is_second ? "two.example" : "one.example";
    bool has_psk = duel->kind == FUZZ_DUEL_PSK || duel->kind == FUZZ_DUEL_BOTH;
    *connect = (struct hf_connect){
        .dialer_index = duel->is_dtls ? FUZZ_LISTENER_DTLS : FUZZ_LISTENER_TLS,
        .path = fuzz_world_path(0),
        .server_name = {(const uint8_t *)name, strlen(name)},
        .psk_identity = {(const uint8_t *)psk_identity, has_psk ? sizeof psk_identity - 1 : 0},
        .session = session,
    };
    if (duel->is_named && !has_psk) {
        connect->flavour = duel->kind == FUZZ_DUEL_RAW ? HF_FLAVOUR_RAW : HF_FLAVOUR_CSE_ID;
        connect->entity_id =
            (struct hf_bytes){(const uint8_t *)ids[is_second], strlen(ids[is_second])};
    }
}

bool fuzz_duel_dial(struct fuzz_duel *duel, struct hf_bytes session)
{
    uint8_t *offered = fuzz_copy(session);
    part(duel);
    fill_connect(duel, (struct hf_bytes){offered, session.len});
    duel->meetings++;
    struct hf_path ours = duel->connect.path, theirs = {ours.local, ours.peer};
    struct hf_connect connect = duel->connect;
    connect.path = duel->is_client ? ours : theirs;
    enum hf_status status = HF_OK, peer_status = HF_OK;
    if (duel->is_client)
        status = hf_engine_connect(&duel->id, duel->world.engine, &connect);
    else if (!duel->is_dtls)
        status = hf_engine_accept(&duel->id, duel->world.engine, FUZZ_LISTENER_TLS, &ours, 1);
    uint32_t forge_mask = enter_peer(duel);
    if (!duel->is_client)
        peer_status = hf_engine_connect(&duel->peer_id, duel->peer, &connect);
    else if (!duel->is_dtls)
        peer_status = hf_engine_accept(&duel->peer_id, duel->peer, FUZZ_LISTENER_TLS, &theirs, 1);
    leave_peer(duel, forge_mask);
    /* What is too much for small limits is refused; a suite there is no key for, too. */
    duel->is_over = status != HF_OK || peer_status != HF_OK;
    FUZZ_CHECK(!duel->is_over || !duel->is_roomy || duel->is_disturbed || status == HF_E_ARGUMENT ||
               peer_status == HF_E_ARGUMENT);
    duel->is_disturbed |= duel->is_over;
    fuzz_duel_turn(duel, 0);
    free(offered);
    return !duel->is_over;
}

void fuzz_duel_settle(struct fuzz_duel *duel)
{
    duel->holds_jobs = false;
    duel->fragment_len = 0;
    fuzz_duel_give_jobs(duel, true, false);
    unsigned idle = 0;
    for (int i = 0; i < 600 && idle < 50; i++) {
        bool is_done = duel->is_over || (duel->is_open && duel->is_peer_open);
        if (is_done && duel->unit_count == 0 && duel->post_count == 0)
            break;
        bool is_moving = duel->unit_count > 0 || duel->post_count > 0;
        while (duel->unit_count > 0) {
            fuzz_duel_deliver(duel, 0);
            fuzz_duel_forget(duel, 0);
        }
        /* On TLS nothing comes again. */
        bool waits = !is_moving && duel->is_dtls && idle > 0;
        fuzz_duel_turn(duel, waits ? 1000000 : 0);
        idle = is_moving ? 0 : idle + 1;
        if (!duel->is_dtls && idle > 2)
            break;
    }
}

void fuzz_duel_close(struct fuzz_duel *duel)
{
    struct hf_counters counters;
    duel->holds_jobs = false;
    duel->scarce = SIZE_MAX;
    fuzz_duel_give_jobs(duel, true, false);
    duel->world.see_event = NULL;
    duel->world.see_output = NULL;
    if (fuzz_is_canary())
        duel->world.established_count = 0; /* a duel's canaries are in duel_judge.c */
    fuzz_world_close(&duel->world);
    uint32_t forge_mask = enter_peer(duel);
    hf_engine_close_association(duel->peer, duel->peer_id, HF_CLOSE_SILENT);
    hf_engine_begin_turn(duel->peer, duel->world.now_us + 200000000, duel->world.wall_s);
    hf_engine_end_turn(duel->peer);
    hf_engine_run_jobs(duel->peer);
    hf_engine_counters(&counters, duel->peer);
    FUZZ_CHECK(counters.proofs_open == 0 && counters.handshakes_open == 0);
    hf_engine_close(duel->peer);
    leave_peer(duel, forge_mask);
    hf_session_cache_close(duel->cache);
    while (duel->unit_count > 0)
        fuzz_duel_forget(duel, 0);
    while (duel->post_count > 0)
        free(duel->post[--duel->post_count].data);
    hf__fuzz_accept = true;
}

void fuzz_duel_run(const uint8_t *data, size_t len, bool is_dtls, bool is_client)
{
    struct fuzz_duel *duel = calloc(1, sizeof *duel);
    FUZZ_CHECK(duel != NULL);
    duel->input = (struct fuzz_input){data, len};
    fuzz_duel_open(duel, is_dtls, is_client);
    (void)fuzz_duel_dial(duel, (struct hf_bytes){NULL, 0});
    fuzz_duel_script(duel);
    fuzz_duel_settle(duel);
    fuzz_duel_judge_end(duel);
    fuzz_duel_close(duel);
    free(duel);
}
