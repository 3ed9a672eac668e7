/**
 * world.c - see world.h.
 */
#include "world.h"

#include "association.h"
#include "path.h"

#define SECRET_MAX (HF_SECRET_MAX + 2)

static const uint8_t filler[HF_CREDENTIAL_ID_MAX + 64] = "0123456789abcdef filler";

const uint8_t *fuzz_world_psk(void)
{
    return filler;
}

/* ---- the key source ----------------------------------------------------------------------- */

static bool is_same_ticket(struct hf_ticket a, struct hf_ticket b)
{
    return a.slot == b.slot && a.generation == b.generation && a.seq == b.seq;
}

static void forget_question(struct fuzz_world *world, size_t index)
{
    size_t at = world->stale_count++ % FUZZ_STALE;
    world->stale[at] = world->questions[index].ticket;
    world->questions[index] = world->questions[--world->question_count];
}

void fuzz_world_answer(struct fuzz_world *world, size_t index, const struct fuzz_reply *reply)
{
    size_t stale = world->stale_count < FUZZ_STALE ? world->stale_count : FUZZ_STALE;
    if (world->question_count + stale == 0)
        return;
    index %= world->question_count + stale;
    bool is_open = index < world->question_count;
    const struct fuzz_question *question = is_open ? &world->questions[index] : NULL;
    struct hf_ticket ticket =
        is_open ? question->ticket : world->stale[index - world->question_count];
    /* Buffers of exact length: whoever reads on is found out. */
    uint8_t *secret = fuzz_copy((struct hf_bytes){filler, reply->secret_len % (SECRET_MAX + 1)});
    uint8_t *entity_id = fuzz_copy((struct hf_bytes){filler, reply->entity_id_len % 600});
    uint8_t *credential_id =
        fuzz_copy((struct hf_bytes){filler, reply->credential_id_len % sizeof filler});
    const struct hf_answer answer = {
        .kind = reply->kind,
        .framework = HF_FRAMEWORK_PROVISIONED_SYMMETRIC_KEY,
        .entity_kind = HF_ENTITY_AE,
        .identity_follows = reply->identity_follows,
        .suid = 12,
        .secret = {secret, reply->secret_len % (SECRET_MAX + 1)},
        .entity_id = {entity_id, reply->entity_id_len % 600},
        .credential_id = {credential_id, reply->credential_id_len % sizeof filler},
        .expires_s = reply->expires_s,
        .context = UINT64_C(0x1122334455667788),
    };
    enum hf_status status = hf_engine_answer(world->engine, ticket, &answer);
    free(secret);
    free(entity_id);
    free(credential_id);
    bool is_late = !is_open || world->now_us > question->deadline_us;
    FUZZ_CHECK(is_late == (status == HF_E_STALE));
    FUZZ_CHECK(status == HF_OK || status == HF_E_STALE || status == HF_E_ARGUMENT);
    if (status == HF_OK)
        forget_question(world, index);
}

static void on_request(struct hf_engine *engine, const struct hf_request *request, void *arg)
{
    struct fuzz_world *world = arg;
    FUZZ_CHECK(engine == world->engine);
    FUZZ_CHECK(world->question_count < FUZZ_TICKETS);
    FUZZ_CHECK(request->psk_identity.len <= world->config.identity_len_max);
    FUZZ_CHECK(request->psk_identity.len > 0 || request->kind != HF_REQUEST_KEY);
    FUZZ_CHECK(request->is_client == world->is_client);
    FUZZ_CHECK(request->session_hash.len == 0 || request->session_hash.len == HF_SHA256_LEN);
    FUZZ_CHECK(hf_suite_name(request->suite) != NULL);
    fuzz_touch(request->psk_identity);
    fuzz_touch(request->server_name);
    fuzz_touch(request->credential_id);
    fuzz_touch(request->session_hash);
    fuzz_touch((struct hf_bytes){request->client_random, HF_RANDOM_LEN});
    fuzz_touch((struct hf_bytes){request->server_random, HF_RANDOM_LEN});
    FUZZ_CHECK(request->deadline_us == world->now_us + world->config.answer_us_max);
    for (size_t i = 0; i < world->question_count; i++)
        FUZZ_CHECK(!is_same_ticket(world->questions[i].ticket, request->ticket));
    world->questions[world->question_count++] =
        (struct fuzz_question){request->ticket, request->kind, request->deadline_us};
    if (world->see_request)
        world->see_request(world, request);
    if (!world->is_prompt)
        return;
    struct fuzz_reply reply = world->reply;
    if (request->kind != HF_REQUEST_KEY) {
        reply.secret_len = 0;
        if (reply.kind < HF_ANSWER_REFUSED)
            reply.kind = HF_ANSWER_IDENTITY;
    }
    if (request->kind == HF_REQUEST_SESSION && world->is_session_refused)
        reply.kind = HF_ANSWER_REFUSED;
    fuzz_world_answer(world, world->question_count - 1, &reply);
}

static void on_cancel(struct hf_ticket ticket, void *arg)
{
    struct fuzz_world *world = arg;
    for (size_t i = 0; i < world->question_count; i++) {
        if (is_same_ticket(world->questions[i].ticket, ticket)) {
            forget_question(world, i);
            return;
        }
    }
    FUZZ_FAIL("cancelled what was not asked, or is answered");
}

/* ---- opening ------------------------------------------------------------------------------ */

static uint32_t choose(struct fuzz_input *input, const uint32_t options[4])
{
    return options[fuzz_u8(input) & 3];
}

static void configure_listeners(struct fuzz_world *world, struct fuzz_input *input)
{
    uint8_t bits = fuzz_u8(input);
    for (int i = 0; i < 2; i++) {
        struct hf_listener *listener = &world->listeners[i];
        hf_listener_init(listener, i == FUZZ_LISTENER_DTLS ? HF_TRANSPORT_DTLS : HF_TRANSPORT_TLS);
        listener->encrypt_then_mac = !(bits & 1);
        listener->extended_master_secret_needed = bits & 2;
        listener->psk_hint_len = bits & 4 ? (bits & 8 ? HF_PSK_HINT_MAX : 7) : 0;
        memset(listener->psk_hint, 'h', listener->psk_hint_len);
        listener->datagram_len_max = bits & 16 ? 256 : (bits & 32 ? 4096 : 1200);
        listener->suite_count = bits & 64 ? 1 : 4;
    }
    for (int i = 0; i < 2; i++) {
        struct hf_dialer *dialer = &world->dialers[i];
        hf_dialer_init(dialer, world->listeners[i].transport);
        dialer->encrypt_then_mac = !(bits & 1);
        dialer->extended_master_secret_needed = bits & 2;
        dialer->max_fragment_len = bits & 4 ? (bits & 8 ? 512 : 4096) : 0;
        dialer->datagram_len_max = world->listeners[i].datagram_len_max;
    }
    world->config.listeners = world->listeners;
    world->config.listener_count = 2;
    world->config.keylog = bits & 128;
}

void fuzz_world_config(struct fuzz_world *world, struct fuzz_input *input)
{
    static const uint32_t associations[4] = {8, 4, 2, 1};
    static const uint32_t handshakes[4] = {8, 3, 2, 1};
    static const uint32_t identities[4] = {129, 1025, 128, 1250};
    static const uint32_t messages[4] = {4097, 513, 600, 65536};
    static const uint32_t deferred[4] = {1025, 300, 100, 0};
    static const uint32_t forgeries[4] = {1u << 20, 3, 1, 64};
    static const uint32_t trials[4] = {32, 1, 2, 32767};
    static const uint32_t idle[4] = {0, 5000000, 60000000, 10000};
    static const uint32_t retransmit[4] = {1000000, 9000000, 10000, 1};
    struct hf_config *config = &world->config;
    memset(world, 0, sizeof *world);
    hf_config_init(config);
    configure_listeners(world, input);
    config->shard_index = 5;
    uint8_t code = fuzz_u8(input);
    config->associations_max = associations[code & 3];
    world->is_patient = code & 128;
    config->handshakes_max = choose(input, handshakes);
    if (config->handshakes_max > config->associations_max)
        config->handshakes_max = config->associations_max;
    config->identity_len_max = choose(input, identities);
    config->message_len_max = choose(input, messages);
    config->deferred_len_max = choose(input, deferred);
    config->forgeries_max = choose(input, forgeries);
    config->trials_per_second = choose(input, trials);
    config->idle_us_max = choose(input, idle);
    config->retransmit_us_initial = choose(input, retransmit);
    uint8_t bits = fuzz_u8(input);
    config->stream_buffers_max = bits & 1 ? 1 : 2;
    config->handshakes_pressure = bits & 2 ? 1 : 4;
    config->handshakes_per_prefix_max = bits & 4 ? 1 : 3;
    config->local_addresses_max = bits & 8 ? 1 : 2;
    config->output_len_max = 65536;
    config->events_max = 64;
    config->answer_us_max = bits & 16 ? 1 : 5000000;
    world->event_max = bits & 32 ? HF_OUTBOX_RESERVE_EVENTS + 1 + (bits >> 6) : 64;
    config->secrets.count = 1;
    memset(config->secrets.entries[0].secret, 0x5C, HF_SHARED_SECRET_LEN);
    world->is_prompt = true;
    world->reply = (struct fuzz_reply){
        .kind = HF_ANSWER_PSK, .secret_len = 16, .entity_id_len = 12, .credential_id_len = 15};
}

void fuzz_world_open(struct fuzz_world *world)
{
    const struct hf_key_source source = {on_request, on_cancel, world};
    world->config.listener_count = world->is_client ? 0 : 2;
    world->config.dialers = world->dialers;
    world->config.dialer_count = world->is_client ? 2 : 0;
    fuzz_random_restart(1);
    fuzz_forge(0);
    world->now_us = 1000000;
    world->wall_s = 1700000000;
    FUZZ_CHECK(hf_engine_open(&world->engine, &world->config, &source) == HF_OK);
    world->engine->outbox.event_max = world->event_max; /* fewer than a configuration may have */
    fuzz_audit_fence(world, true);
    hf_engine_begin_turn(world->engine, world->now_us, world->wall_s);
}

/* ---- input -------------------------------------------------------------------------------- */

struct hf_path fuzz_world_path(uint8_t index)
{
    static const uint8_t client[4] = {192, 0, 2, 7};
    static const uint8_t server[4] = {198, 51, 100, 1};
    static const uint8_t other_server[4] = {198, 51, 100, 2};
    static const uint8_t client_v6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 9};
    struct hf_path path = {
        .peer = hf_address_v4(client, (uint16_t)(40000 + index)),
        .local = hf_address_v4(index == 3 ? other_server : server, 5684),
    };
    if (index == 2)
        path.peer = hf_address_v6(client_v6, 40002, 3);
    return path;
}

struct hf_association *fuzz_world_association(const struct fuzz_world *world, uint8_t path)
{
    struct hf_path_key key;
    struct hf_path full = fuzz_world_path(path);
    if (!hf_path_key(&key, world->engine, &full))
        return NULL;
    uint32_t index = hf_table_find(&world->engine->table, &key);
    if (index == HF_NONE)
        return NULL;
    struct hf_association *association = hf_association_at(world->engine, index);
    struct hf_association *successor = hf_association_successor(world->engine, association);
    return successor ? successor : association;
}

static uint8_t *lend(struct fuzz_world *world, struct hf_bytes bytes)
{
    if (world->loan_count == FUZZ_LOANS)
        fuzz_world_turn(world, 0);
    return world->loans[world->loan_count++] = fuzz_copy(bytes);
}

void fuzz_world_datagram(struct fuzz_world *world, uint8_t path, struct hf_bytes bytes)
{
    struct hf_datagram datagram = {
        .path = fuzz_world_path(path % FUZZ_PATHS),
        .listener_index = FUZZ_LISTENER_DTLS,
        .is_client = world->is_client,
        .ecn = path & 3,
        .data = lend(world, bytes),
        .len = bytes.len,
    };
    enum hf_status status = hf_engine_receive_datagram(world->engine, &datagram);
    FUZZ_CHECK(status == HF_OK || status == HF_WAITING);
    FUZZ_CHECK(status == HF_OK || !hf_engine_has_event_room(world->engine));
    world->datagrams_in_len += bytes.len;
}

size_t fuzz_world_stream(struct fuzz_world *world, hf_association_id association,
                         struct hf_bytes bytes)
{
    size_t consumed = 0;
    uint8_t *data = lend(world, bytes);
    bool is_live = hf_association_find(world->engine, association) != NULL;
    enum hf_status status =
        hf_engine_receive_stream(world->engine, &consumed, association, data, bytes.len);
    FUZZ_CHECK(is_live == (status != HF_E_STALE));
    FUZZ_CHECK(consumed <= bytes.len);
    FUZZ_CHECK(status != HF_OK || consumed == bytes.len);
    FUZZ_CHECK(status != HF_WAITING || consumed < bytes.len);
    return is_live ? consumed : bytes.len;
}

void fuzz_world_squeeze(struct fuzz_world *world, uint32_t left)
{
    struct hf_outbox *outbox = &world->engine->outbox;
    fuzz_watch_outputs(world, SIZE_MAX); /* what comes next is not joined to what was before */
    left += HF_OUTBOX_RESERVE_LEN;
    if (outbox->data_max - outbox->data_len > left)
        outbox->data_len = outbox->data_max - left;
}

/* ---- turns -------------------------------------------------------------------------------- */

void fuzz_world_turn(struct fuzz_world *world, uint64_t ahead_us)
{
    hf_engine_end_turn(world->engine);
    if (world->run_jobs)
        world->run_jobs(world);
    else
        hf_engine_run_jobs(world->engine);
    fuzz_watch_events(world, SIZE_MAX);
    fuzz_watch_outputs(world, SIZE_MAX);
    fuzz_audit(world);
    while (world->loan_count > 0)
        free(world->loans[--world->loan_count]);
    world->now_us += ahead_us;
    hf_engine_begin_turn(world->engine, world->now_us, world->wall_s);
}

void fuzz_world_quiesce(struct fuzz_world *world)
{
    for (int i = 0; i < 64; i++) {
        fuzz_world_turn(world, 0);
        if (world->engine->answers_count == 0 && world->engine->outbox.event_count == 0)
            return;
    }
    FUZZ_FAIL("turns go on for ever");
}

/* Turns only when the engine asks for one. Every handshake must end by its deadline. */
static void wait_out(struct fuzz_world *world)
{
    const struct hf_config *config = &world->config;
    uint64_t end_us = world->now_us + config->handshake_us_max + config->hello_us_max;
    for (int i = 0; i < 2000; i++) {
        uint64_t next_us = hf_engine_next_us(world->engine);
        FUZZ_CHECK(next_us >= world->now_us);
        if (next_us > end_us)
            break;
        fuzz_world_turn(world, next_us - world->now_us);
    }
    FUZZ_CHECK(hf_engine_next_us(world->engine) > end_us);
    FUZZ_CHECK(world->engine->handshakes.used == 0);
}

static void close_each(struct fuzz_world *world)
{
    const struct hf_engine *engine = world->engine;
    for (uint32_t i = 0; i < engine->associations.touched; i++) {
        const struct hf_association *association = hf_association_at(engine, i);
        if (association->state != HF_STATE_FREE)
            hf_engine_close_association(world->engine, hf_association_handle(engine, association),
                                        i & 1 ? HF_CLOSE_NOTIFY : HF_CLOSE_SILENT);
    }
}

void fuzz_world_end_all(struct fuzz_world *world)
{
    close_each(world);
    /* Where events are few, an end waits for room; stream buffers go back with the next turn. */
    fuzz_world_turn(world, 0);
    fuzz_world_turn(world, 0);
    for (int i = 0; i < 32 && world->engine->associations.used > 0; i++)
        fuzz_world_turn(world, HF_TICK_US);
}

void fuzz_world_close(struct fuzz_world *world)
{
    struct hf_counters counters;
    fuzz_world_quiesce(world);
    if (world->is_patient)
        wait_out(world);
    fuzz_world_end_all(world);
    fuzz_world_turn(world, 0);
    if (fuzz_is_canary() && world->established_count > 0)
        (void)hf_pool_take(&world->engine->handshakes); /* a leak, which has to be found */
    hf_engine_counters(&counters, world->engine);
    FUZZ_CHECK(counters.associations == 0 && counters.handshakes_open == 0);
    FUZZ_CHECK(counters.parked == 0 && counters.stream_buffers == 0);
    FUZZ_CHECK(counters.proofs_open == 0);
    FUZZ_CHECK(counters.events_pending == 0);
    FUZZ_CHECK(world->engine->associations.used == 0);
    FUZZ_CHECK(world->engine->identities.used == 0);
    FUZZ_CHECK(world->engine->table.count == 0);
    FUZZ_CHECK(world->engine->wheel.armed == 0);
    FUZZ_CHECK(world->question_count == 0);
    FUZZ_CHECK(hf_engine_next_us(world->engine) == UINT64_MAX);
    fuzz_audit_fence(world, false);
    hf_engine_close(world->engine);
    world->engine = NULL;
}
