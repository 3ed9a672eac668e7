/**
 * engine_pair.c - see engine_pair.h.
 */
#include "engine_pair.h"

const uint8_t engine_pair_key[32] = {
    0x70, 0x61, 0x69, 0x72, 0x20, 0x6b, 0x65, 0x79, 0x2c, 0x20, 0x33, 0x32, 0x20, 0x62, 0x79, 0x74,
    0x65, 0x73, 0x20, 0x6f, 0x66, 0x20, 0x69, 0x74, 0x20, 0x69, 0x6e, 0x20, 0x61, 0x6c, 0x6c, 0x21};

static struct hf_bytes bytes_of(const char *text)
{
    return (struct hf_bytes){(const uint8_t *)text, strlen(text)};
}

static void add(struct engine_pair_item **items, size_t *count, size_t *max,
                const struct engine_pair_item *item)
{
    if (*count == *max) {
        *max = *max ? 2 * *max : 16;
        *items = realloc(*items, *max * sizeof **items);
        assert_non_null(*items);
    }
    /* Of its exact length: a sanitizer sees over-reads. */
    uint8_t *copy = malloc(item->len ? item->len : 1);
    assert_non_null(copy);
    memcpy(copy, item->data, item->len);
    (*items)[*count] = *item;
    (*items)[(*count)++].data = copy;
}

static void take_request(struct hf_engine *engine, const struct hf_request *request, void *arg)
{
    struct engine_end *end = arg;
    (void)engine;
    end->request = *request;
    end->request_count++;
    assert_in_range(request->psk_identity.len, request->kind == HF_REQUEST_KEY, sizeof end->asked);
    assert_int_equal(request->is_client, end->is_client);
    end->asked_len = request->psk_identity.len;
    if (end->asked_len > 0)
        memcpy(end->asked, request->psk_identity.data, end->asked_len);
    if (end->answers == ENGINE_PAIR_AT_ONCE)
        assert_int_equal(engine_pair_answer(end), HF_OK);
}

static void take_cancel(struct hf_ticket ticket, void *arg)
{
    struct engine_end *end = arg;
    (void)ticket;
    end->cancel_count++;
}

enum hf_status engine_pair_answer(struct engine_end *end)
{
    struct hf_answer answer = end->answer;
    if (end->request.kind != HF_REQUEST_KEY) {
        answer.secret = (struct hf_bytes){NULL, 0};
        if (answer.kind == HF_ANSWER_PSK)
            answer.kind = HF_ANSWER_IDENTITY;
    }
    return hf_engine_answer(end->engine, end->request.ticket, &answer);
}

void engine_pair_init(struct engine_pair *pair, bool is_dtls)
{
    const uint8_t server[4] = {127, 0, 0, 1}, client[4] = {127, 0, 0, 2};
    memset(pair, 0, sizeof *pair);
    pair->is_dtls = is_dtls;
    pair->now_us = UINT64_C(1000000000);
    pair->wall_s = 1760000000;
    hf_config_init(&pair->config);
    pair->config.associations_max = 16;
    pair->config.handshakes_max = 8;
    pair->config.handshakes_pressure = 8;
    pair->config.events_max = 64;
    pair->config.stream_buffers_max = 4;
    pair->config.keylog = true;
    hf_listener_init(&pair->listeners[0], HF_TRANSPORT_TLS);
    hf_listener_init(&pair->listeners[1], HF_TRANSPORT_DTLS);
    hf_dialer_init(&pair->dialers[0], HF_TRANSPORT_TLS);
    hf_dialer_init(&pair->dialers[1], HF_TRANSPORT_DTLS);
    pair->connect = (struct hf_connect){
        .dialer_index = is_dtls,
        .path = {hf_address_v4(server, 5684), hf_address_v4(client, 40000)},
        .user = 77,
        .psk_identity = bytes_of(ENGINE_PAIR_IDENTITY),
    };
    const struct hf_answer answer = {
        .kind = HF_ANSWER_PSK,
        .framework = HF_FRAMEWORK_PROVISIONED_SYMMETRIC_KEY,
        .secret = {engine_pair_key, sizeof engine_pair_key},
        .context = 4711,
    };
    pair->client = (struct engine_end){.pair = pair, .is_client = true, .answer = answer};
    pair->server = (struct engine_end){.pair = pair, .answer = answer};
    pair->client.answer.entity_kind = HF_ENTITY_CSE;
    pair->client.answer.entity_id = bytes_of(ENGINE_PAIR_SERVER_ENTITY);
    pair->server.answer.entity_kind = HF_ENTITY_AE;
    pair->server.answer.entity_id = bytes_of(ENGINE_PAIR_CLIENT_ENTITY);
}

void engine_pair_open(struct engine_pair *pair)
{
    struct engine_end *ends[2] = {&pair->client, &pair->server};
    for (size_t i = 0; i < 2; i++) {
        const struct hf_key_source source = {take_request, take_cancel, ends[i]};
        struct hf_config config = pair->config;
        config.listeners = pair->listeners;
        config.listener_count = i == 1 ? 2 : 0;
        config.dialers = pair->dialers;
        config.dialer_count = i == 0 ? 2 : 0;
        config.sessions = i == 1 ? pair->sessions : NULL;
        config.tickets = i == 1 && pair->has_tickets;
        assert_int_equal(hf_engine_open(&ends[i]->engine, &config, &source), HF_OK);
        hf_engine_begin_turn(ends[i]->engine, pair->now_us, pair->wall_s);
    }
}

static void free_lent(struct engine_pair *pair)
{
    while (pair->lent_count > 0)
        free(pair->lent[--pair->lent_count]);
}

struct hf_path engine_pair_server_path(const struct engine_pair *pair)
{
    return (struct hf_path){pair->nat.port ? pair->nat : pair->connect.path.local,
                            pair->connect.path.peer};
}

static bool is_same_address(const struct hf_address *a, const struct hf_address *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/** Hands one item in. The memory stays until the events of the turn were taken. */
static void deliver(struct engine_pair *pair, struct engine_pair_item item)
{
    struct engine_end *to = item.is_up ? &pair->server : &pair->client;
    assert_true(pair->lent_count < sizeof pair->lent / sizeof pair->lent[0]);
    pair->lent[pair->lent_count++] = item.data;
    if (pair->is_dtls) {
        struct hf_datagram datagram = {
            .path = item.is_up ? item.path : pair->connect.path,
            .listener_index = 1,
            .is_client = !item.is_up,
            .data = item.data,
            .len = item.len,
        };
        assert_int_equal(hf_engine_receive_datagram(to->engine, &datagram), HF_OK);
        return;
    }
    size_t chunk = pair->chunk_max ? pair->chunk_max : item.len;
    for (size_t at = 0; at < item.len && !pair->is_cut; at += chunk) {
        size_t consumed, len = item.len - at < chunk ? item.len - at : chunk;
        enum hf_status status =
            hf_engine_receive_stream(to->engine, &consumed, to->id, item.data + at, len);
        assert_true(status == HF_E_STALE || (status == HF_OK && consumed == len));
    }
}

static void take_event(struct engine_end *end, const struct hf_event *event)
{
    assert_int_equal(event->is_client, end->is_client);
    assert_int_equal(event->listener_index, end->pair->is_dtls);
    bool is_anew = !end->is_client && end->failed_count > 0; /* a hello said again, on DTLS */
    if (end->id == 0 || is_anew)
        end->id = event->association;
    assert_true(event->association == end->id);
    switch (event->kind) {
    case HF_EVENT_ESTABLISHED:
        end->established_count++;
        end->established = *event;
        break;
    case HF_EVENT_DATA:
        assert_true(end->data_len + event->data.len <= sizeof end->data);
        memcpy(end->data + end->data_len, event->data.data, event->data.len);
        end->data_len += event->data.len;
        break;
    case HF_EVENT_PEER_CLOSED:
        end->peer_closed_count++;
        break;
    case HF_EVENT_CLOSED:
    case HF_EVENT_HANDSHAKE_FAILED:
        end->closed_count += event->kind == HF_EVENT_CLOSED;
        end->failed_count += event->kind == HF_EVENT_HANDSHAKE_FAILED;
        end->failure = event->failure;
        break;
    case HF_EVENT_KEYLOG:
        end->keylog_count++;
        memcpy(end->master_secret, event->master_secret, sizeof end->master_secret);
        break;
    case HF_EVENT_SESSION:
        assert_true(end->is_client && end->established_count == 1);
        assert_true(event->data.len > 0 && event->data.len <= sizeof end->session);
        memcpy(end->session, event->data.data, event->data.len);
        end->session_len = event->data.len;
        end->session_count++;
        break;
    case HF_EVENT_MOVED:
        end->moved_count++;
        end->path = event->path;
        break;
    case HF_EVENT_READABLE:
        break;
    }
}

static void pull(struct engine_end *end)
{
    struct engine_pair *pair = end->pair;
    struct hf_event event;
    struct hf_output output;
    while (hf_engine_take_event(end->engine, &event))
        take_event(end, &event);
    while (hf_engine_take_output(end->engine, &output)) {
        assert_int_equal(output.is_client, end->is_client);
        assert_int_equal(output.is_stream, !pair->is_dtls);
        const struct hf_path server = engine_pair_server_path(pair);
        struct engine_pair_item seen = {(uint8_t *)(uintptr_t)output.data.data, output.data.len,
                                        end->is_client, end->is_client ? server : output.path};
        add(&pair->sent, &pair->sent_count, &pair->sent_max, &seen);
        bool is_arriving = end->is_client || !pair->is_dtls || pair->is_old_nat_alive ||
                           is_same_address(&output.path.peer, &server.peer);
        if (is_arriving)
            add(&pair->wire, &pair->wire_count, &pair->wire_max, &seen);
    }
}

/** When an end is due next; one that does not do its jobs looks at the clock now and then. */
static uint64_t next_us(const struct engine_end *end)
{
    return end->is_idle ? end->pair->now_us + 100000 : hf_engine_next_us(end->engine);
}

/** One turn of both ends. True: something is on its way. */
static bool turn(struct engine_pair *pair)
{
    struct engine_pair_item *wire = pair->wire;
    size_t count = pair->wire_count;
    pair->wire = NULL;
    pair->wire_count = pair->wire_max = 0;
    hf_engine_begin_turn(pair->client.engine, pair->now_us, pair->wall_s);
    hf_engine_begin_turn(pair->server.engine, pair->now_us, pair->wall_s);
    for (size_t i = 0; i < count; i++) {
        if (pair->filter && pair->filter(&wire[i], pair->filter_arg))
            free(wire[i].data);
        else
            deliver(pair, wire[i]);
    }
    free(wire);
    hf_engine_end_turn(pair->client.engine);
    hf_engine_end_turn(pair->server.engine);
    if (!pair->client.is_idle)
        hf_engine_run_jobs(pair->client.engine);
    if (!pair->server.is_idle)
        hf_engine_run_jobs(pair->server.engine);
    pull(&pair->client);
    pull(&pair->server);
    free_lent(pair);
    return pair->wire_count > 0 || next_us(&pair->client) <= pair->now_us ||
           next_us(&pair->server) <= pair->now_us;
}

void engine_pair_run(struct engine_pair *pair)
{
    for (int i = 0; i < 1000; i++) {
        if (!turn(pair))
            return;
    }
    fail_msg("the two engines do not come to rest");
}

void engine_pair_advance(struct engine_pair *pair, uint64_t us)
{
    uint64_t end_us = pair->now_us + us;
    for (;;) {
        engine_pair_run(pair);
        uint64_t due_us = next_us(&pair->client);
        uint64_t server_us = next_us(&pair->server);
        due_us = server_us < due_us ? server_us : due_us;
        if (due_us > end_us)
            break;
        pair->now_us = due_us > pair->now_us ? due_us : pair->now_us + 1;
    }
    pair->now_us = end_us;
    engine_pair_run(pair);
}

enum hf_status engine_pair_dial(struct engine_pair *pair)
{
    if (!pair->is_dtls) {
        const struct hf_path path = engine_pair_server_path(pair);
        assert_int_equal(hf_engine_accept(&pair->server.id, pair->server.engine, 0, &path, 7),
                         HF_OK);
    }
    return hf_engine_connect(&pair->client.id, pair->client.engine, &pair->connect);
}

struct hf_association_info engine_pair_info(const struct engine_end *end)
{
    struct hf_association_info info;
    assert_int_equal(hf_engine_association_info(&info, end->engine, end->id), HF_OK);
    return info;
}

bool engine_pair_is_open(const struct engine_pair *pair)
{
    const struct engine_end *ends[2] = {&pair->client, &pair->server};
    bool is_open = true;
    for (size_t i = 0; i < 2; i++)
        is_open &= ends[i]->established_count == 1 && ends[i]->failed_count == 0 &&
                   ends[i]->closed_count == 0;
    return is_open;
}

void engine_pair_check_agreement(const struct engine_pair *pair)
{
    const struct hf_association_info ours = engine_pair_info(&pair->client);
    const struct hf_association_info theirs = engine_pair_info(&pair->server);
    uint8_t exported[2][32];
    const struct hf_bytes label = bytes_of("EXPORTER_test");
    assert_true(ours.established && theirs.established && ours.is_client && !theirs.is_client);
    assert_int_equal(ours.suite, theirs.suite);
    assert_int_equal(ours.transport, theirs.transport);
    assert_int_equal(ours.extended_master_secret, theirs.extended_master_secret);
    assert_int_equal(ours.encrypt_then_mac, theirs.encrypt_then_mac);
    if (!ours.peer_cid_len == !theirs.peer_cid_len) /* the type of the content takes a byte */
        assert_int_equal(ours.plaintext_len_max, theirs.plaintext_len_max);
    assert_string_equal(ours.server_name, theirs.server_name);
    if (pair->config.keylog)
        assert_memory_equal(pair->client.master_secret, pair->server.master_secret, 48);
    for (size_t i = 0; i < 2 && ours.extended_master_secret; i++) {
        const struct engine_end *end = i ? &pair->server : &pair->client;
        assert_int_equal(hf_engine_export(exported[i], 32, end->engine, end->id, label, NULL),
                         HF_OK);
    }
    if (ours.extended_master_secret)
        assert_memory_equal(exported[0], exported[1], 32);
}

void engine_pair_meet(struct engine_pair *pair)
{
    assert_int_equal(engine_pair_dial(pair), HF_OK);
    engine_pair_run(pair);
    assert_true(engine_pair_is_open(pair));
    engine_pair_check_agreement(pair);
}

void engine_pair_talk(struct engine_pair *pair)
{
    static const char *const texts[2] = {"from the client to the server", "and back again"};
    for (size_t i = 0; i < 2; i++) {
        struct engine_end *from = i ? &pair->server : &pair->client;
        struct engine_end *to = i ? &pair->client : &pair->server;
        size_t before = to->data_len;
        assert_int_equal(hf_engine_send(from->engine, from->id, bytes_of(texts[i])), HF_OK);
        engine_pair_run(pair);
        assert_int_equal(to->data_len - before, strlen(texts[i]));
        assert_memory_equal(to->data + before, texts[i], strlen(texts[i]));
    }
}

void engine_pair_inject(struct engine_pair *pair, bool is_up, const uint8_t *data, size_t len)
{
    const struct engine_pair_item item = {(uint8_t *)(uintptr_t)data, len, is_up,
                                          is_up ? engine_pair_server_path(pair)
                                                : pair->connect.path};
    add(&pair->wire, &pair->wire_count, &pair->wire_max, &item);
}

void engine_pair_inject_from(struct engine_pair *pair, const struct hf_path *path,
                             const uint8_t *data, size_t len)
{
    const struct engine_pair_item item = {(uint8_t *)(uintptr_t)data, len, true, *path};
    add(&pair->wire, &pair->wire_count, &pair->wire_max, &item);
}

void engine_pair_part(struct engine_pair *pair)
{
    struct engine_end *ends[2] = {&pair->client, &pair->server};
    for (size_t i = 0; i < 2; i++)
        hf_engine_close_association(ends[i]->engine, ends[i]->id, HF_CLOSE_SILENT);
    pair->is_cut = true;
    engine_pair_run(pair);
    pair->is_cut = false;
    for (size_t i = 0; i < 2; i++) {
        ends[i]->id = 0;
        ends[i]->established_count = ends[i]->failed_count = ends[i]->closed_count = 0;
        ends[i]->request_count = 0;
    }
    pair->connect.path.local.port++;
}

struct hf_counters engine_pair_counters(const struct engine_end *end)
{
    struct hf_counters counters;
    hf_engine_counters(&counters, end->engine);
    return counters;
}

void engine_pair_close(struct engine_pair *pair)
{
    struct engine_end *ends[2] = {&pair->client, &pair->server};
    for (size_t i = 0; i < 2; i++)
        hf_engine_close_association(ends[i]->engine, ends[i]->id, HF_CLOSE_SILENT);
    pair->filter = NULL;
    pair->is_cut = true;
    pair->client.is_idle = pair->server.is_idle = false;
    engine_pair_advance(pair, pair->config.handshake_us_max + 1000000);
    for (size_t i = 0; i < 2; i++) {
        struct hf_counters counters = engine_pair_counters(ends[i]);
        assert_int_equal(counters.associations + counters.handshakes_open + counters.parked, 0);
        assert_int_equal(counters.stream_buffers + counters.proofs_open, 0);
        hf_engine_close(ends[i]->engine);
    }
    for (size_t i = 0; i < pair->wire_count; i++)
        free(pair->wire[i].data);
    for (size_t i = 0; i < pair->sent_count; i++)
        free(pair->sent[i].data);
    free(pair->wire);
    free(pair->sent);
}
