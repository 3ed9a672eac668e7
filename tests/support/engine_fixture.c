/**
 * engine_fixture.c - see engine_fixture.h.
 */
#include "engine_fixture.h"

const uint8_t engine_fixture_key[32] = {
    0x6b, 0x65, 0x79, 0x20, 0x6f, 0x66, 0x20, 0x74, 0x68, 0x65, 0x20, 0x64, 0x65, 0x76, 0x69, 0x63,
    0x65, 0x2c, 0x20, 0x33, 0x32, 0x20, 0x62, 0x79, 0x74, 0x65, 0x73, 0x20, 0x6c, 0x6f, 0x6e, 0x67};

void engine_wire_add(struct engine_wire *wire, const uint8_t *data, size_t len)
{
    if (wire->count == wire->max) {
        wire->max = wire->max ? 2 * wire->max : 16;
        wire->items = realloc(wire->items, wire->max * sizeof *wire->items);
        assert_non_null(wire->items);
    }
    uint8_t *copy = malloc(len);
    assert_true(copy || len == 0);
    if (len > 0)
        memcpy(copy, data, len);
    wire->items[wire->count++] = (struct engine_wire_item){copy, len};
    wire->total_len += len;
}

void engine_wire_clear(struct engine_wire *wire)
{
    for (size_t i = 0; i < wire->count; i++)
        free(wire->items[i].data);
    free(wire->items);
    *wire = (struct engine_wire){0};
}

enum hf_status engine_fixture_answer(struct engine_fixture *fixture, bool is_known)
{
    struct hf_answer answer = {.kind = HF_ANSWER_REFUSED};
    if (is_known && fixture->asked_kind != HF_REQUEST_KEY) {
        answer.kind = HF_ANSWER_IDENTITY;
    } else if (is_known) {
        answer.kind = HF_ANSWER_PSK;
        answer.framework = HF_FRAMEWORK_PROVISIONED_SYMMETRIC_KEY;
        answer.expires_s = fixture->expires_s;
        answer.entity_kind = HF_ENTITY_AE;
        answer.suid = 12;
        answer.context = UINT64_C(0xC0FFEE);
        answer.entity_id = (struct hf_bytes){(const uint8_t *)"/cse/Cdev", 9};
        answer.credential_id = (struct hf_bytes){(const uint8_t *)"12-device", 9};
        answer.secret = (struct hf_bytes){engine_fixture_key, sizeof engine_fixture_key};
        answer.identity_follows = fixture->is_identity_following;
    }
    return hf_engine_answer(fixture->engine, fixture->ticket, &answer);
}

static void take_request(struct hf_engine *engine, const struct hf_request *request, void *arg)
{
    struct engine_fixture *fixture = arg;
    const struct hf_answer unavailable = {.kind = HF_ANSWER_UNAVAILABLE};
    const struct hf_bytes *asked = &request->psk_identity;
    bool is_session = request->kind == HF_REQUEST_SESSION;
    bool is_named = request->kind == HF_REQUEST_KEY; /* a certificate has no psk_identity */
    assert_in_range(asked->len, is_named, sizeof fixture->asked);
    fixture->request_count++;
    fixture->asked_len = asked->len;
    memcpy(fixture->asked, asked->data, asked->len);
    fixture->asked_suite = request->suite;
    fixture->asked_kind = request->kind;
    fixture->asked_listener_index = request->listener_index;
    fixture->ticket = request->ticket;
    fixture->session_count += is_session;
    bool is_known = is_session ? !fixture->is_session_refused
                               : asked->len == fixture->identity.len &&
                                     memcmp(asked->data, fixture->identity.data, asked->len) == 0;
    if (fixture->answers == ENGINE_FIXTURE_AT_ONCE)
        assert_int_equal(engine_fixture_answer(fixture, is_known), HF_OK);
    else if (fixture->answers == ENGINE_FIXTURE_UNAVAILABLE)
        assert_int_equal(hf_engine_answer(engine, request->ticket, &unavailable), HF_OK);
}

static void take_cancel(struct hf_ticket ticket, void *arg)
{
    struct engine_fixture *fixture = arg;
    (void)ticket;
    fixture->cancel_count++;
}

void engine_fixture_init(struct engine_fixture *fixture)
{
    *fixture = (struct engine_fixture){
        .identity = {(const uint8_t *)ENGINE_FIXTURE_IDENTITY, strlen(ENGINE_FIXTURE_IDENTITY)},
        .now_us = UINT64_C(1000000000),
        .wall_s = 1760000000,
        .next_port = 10000,
    };
    hf_config_init(&fixture->config);
    fixture->config.associations_max = 64;
    fixture->config.handshakes_max = 32;
    fixture->config.handshakes_pressure = 24;
    fixture->config.events_max = 256;
    fixture->config.stream_buffers_max = 8;
    fixture->config.listener_count = 2;
    hf_listener_init(&fixture->listeners[ENGINE_FIXTURE_DTLS], HF_TRANSPORT_DTLS);
    hf_listener_init(&fixture->listeners[ENGINE_FIXTURE_TLS], HF_TRANSPORT_TLS);
}

void engine_fixture_open(struct engine_fixture *fixture)
{
    const struct hf_key_source source = {take_request, take_cancel, fixture};
    enum engine_fixture_answers answers = fixture->answers;
    fixture->config.listeners = fixture->listeners;
    assert_int_equal(hf_engine_open(&fixture->engine, &fixture->config, &source), HF_OK);
    fixture->answers = ENGINE_FIXTURE_AT_ONCE;
    for (size_t i = 0; i < 2; i++) {
        fixture->bystanders[i] = engine_peer_new(fixture, i == 1);
        engine_peer_open(fixture->bystanders[i]);
    }
    fixture->answers = answers;
    engine_fixture_check_undisturbed(fixture);
}

struct hf_engine *engine_fixture_second(struct engine_fixture *fixture)
{
    const struct hf_key_source source = {take_request, take_cancel, fixture};
    struct hf_engine *engine = NULL;
    fixture->config.listeners = fixture->listeners;
    assert_int_equal(hf_engine_open(&engine, &fixture->config, &source), HF_OK);
    return engine;
}

struct hf_path engine_fixture_path(uint32_t ip, uint16_t port)
{
    const uint8_t peer[4] = {(uint8_t)(ip >> 24), (uint8_t)(ip >> 16), (uint8_t)(ip >> 8),
                             (uint8_t)ip};
    static const uint8_t local[4] = {192, 0, 2, 1};
    return (struct hf_path){hf_address_v4(peer, port), hf_address_v4(local, 5684)};
}

void engine_peer_emit(const uint8_t *data, size_t len, void *arg)
{
    struct engine_peer *peer = arg;
    engine_wire_add(&peer->sent, data, len);
    if (!peer->is_held && !peer->is_over)
        engine_wire_add(&peer->outgoing, data, len);
}

struct engine_peer *engine_peer_new(struct engine_fixture *fixture, bool is_tls)
{
    struct engine_peer *peer = calloc(1, sizeof *peer);
    assert_non_null(peer);
    peer->fixture = fixture;
    peer->next = fixture->peers;
    fixture->peers = peer;
    peer->is_tls = is_tls;
    peer->path = engine_fixture_path(0xC6336401, fixture->next_port++); /* 198.51.100.1 */
    peer->config = (struct psk_client_config){
        .is_dtls = !is_tls,
        .extended_master_secret = true,
        .suite_count = 1,
        .suites = {is_tls ? HF_SUITE_PSK_AES_128_CBC_SHA256 : HF_SUITE_PSK_AES_128_CCM_8},
        .identity = fixture->identity,
        .psk = {engine_fixture_key, sizeof engine_fixture_key},
        .work = &peer->work,
    };
    if (is_tls) {
        hf_engine_begin_turn(fixture->engine, fixture->now_us, fixture->wall_s);
        assert_int_equal(hf_engine_accept(&peer->id, fixture->engine, ENGINE_FIXTURE_TLS,
                                          &peer->path, (uint64_t)(uintptr_t)peer),
                         HF_OK);
    }
    return peer;
}

void engine_peer_free(struct engine_peer *peer)
{
    struct engine_peer **link = &peer->fixture->peers;
    while (*link != peer)
        link = &(*link)->next;
    *link = peer->next;
    engine_wire_clear(&peer->outgoing);
    engine_wire_clear(&peer->sent);
    engine_wire_clear(&peer->received);
    free(peer);
}

void engine_peer_start(struct engine_peer *peer)
{
    psk_client_init(&peer->client, &peer->config);
    psk_client_start(&peer->client, peer->fixture->now_us, engine_peer_emit, peer);
}

bool engine_peer_is_open(const struct engine_peer *peer)
{
    struct hf_association_info info;
    return peer->client.state == PSK_CLIENT_OPEN && peer->established_count > 0 &&
           peer->closed_count == 0 &&
           hf_engine_association_info(&info, peer->fixture->engine, peer->id) == HF_OK &&
           info.established;
}

void engine_peer_check_open(const struct engine_peer *peer)
{
    if (engine_peer_is_open(peer))
        return;
    print_error("not open: client %s (%s, alert %u), engine: %s in %s\n",
                psk_client_state_name(peer->client.state), peer->client.why ? peer->client.why : "",
                peer->client.alert, hf_status_reason(peer->failure.status),
                peer->failure.state ? peer->failure.state : "-");
    struct hf_counters counters = engine_fixture_counters(peer->fixture);
    for (size_t i = 0; i < HF_DROP_COUNT; i++) {
        if (counters.drops[i] > 0)
            print_error("dropped: %s %llu\n", hf_drop_label((enum hf_drop)i),
                        (unsigned long long)counters.drops[i]);
    }
    fail();
}

void engine_peer_open(struct engine_peer *peer)
{
    engine_peer_start(peer);
    engine_fixture_run(peer->fixture);
    engine_peer_check_open(peer);
}

bool engine_peer_echoes(struct engine_peer *peer)
{
    uint8_t said[24];
    uint32_t serial = peer->fixture->echo_serial++;
    for (size_t i = 0; i < sizeof said; i++)
        said[i] = (uint8_t)(serial * 31 + i * 7);
    peer->echo_len = 0;
    psk_client_send(&peer->client, said, sizeof said, engine_peer_emit, peer);
    engine_fixture_run(peer->fixture);
    return peer->echo_len == sizeof said && memcmp(peer->echo, said, sizeof said) == 0;
}

void engine_peer_send(struct engine_peer *peer, const uint8_t *data, size_t len)
{
    engine_wire_add(&peer->outgoing, data, len);
    engine_fixture_run(peer->fixture);
}

void engine_peer_send_record(struct engine_peer *peer, const struct psk_client_record *record)
{
    psk_client_send_record(&peer->client, record, engine_peer_emit, peer);
    engine_fixture_run(peer->fixture);
}

void engine_peer_send_plain(struct engine_peer *peer, uint8_t type, const void *data, size_t len)
{
    const struct psk_client_record record = {
        .type = type, .seq = PSK_CLIENT_SEQ_NEXT, .payload = {data, len}};
    engine_peer_send_record(peer, &record);
}

void engine_peer_send_sealed(struct engine_peer *peer, uint8_t type, const void *data, size_t len)
{
    const struct psk_client_record record = {.type = type,
                                             .epoch = 1,
                                             .seq = PSK_CLIENT_SEQ_NEXT,
                                             .is_protected = true,
                                             .payload = {data, len}};
    engine_peer_send_record(peer, &record);
}

void engine_peer_forget(struct engine_peer *peer)
{
    engine_wire_clear(&peer->sent);
    engine_wire_clear(&peer->received);
}

void engine_peer_deliver(struct engine_peer *peer, size_t from, size_t to)
{
    assert_true(from <= to && to <= peer->sent.count);
    for (size_t i = from; i < to; i++)
        engine_wire_add(&peer->outgoing, peer->sent.items[i].data, peer->sent.items[i].len);
    engine_fixture_run(peer->fixture);
}

void engine_peer_end(struct engine_peer *peer)
{
    struct hf_association_info info;
    if (peer->is_tls)
        psk_client_end(&peer->client, engine_peer_emit, peer);
    engine_fixture_run(peer->fixture);
    hf_engine_close_association(peer->fixture->engine, peer->id, HF_CLOSE_SILENT);
    engine_fixture_run(peer->fixture);
    assert_int_equal(hf_engine_association_info(&info, peer->fixture->engine, peer->id),
                     HF_E_STALE);
}

struct hf_counters engine_fixture_counters(const struct engine_fixture *fixture)
{
    struct hf_counters counters;
    hf_engine_counters(&counters, fixture->engine);
    return counters;
}

uint64_t engine_fixture_drops(const struct engine_fixture *fixture, enum hf_drop drop)
{
    return engine_fixture_counters(fixture).drops[drop];
}

uint64_t engine_fixture_rejected(const struct engine_fixture *fixture)
{
    struct hf_counters counters = engine_fixture_counters(fixture);
    uint64_t sum = 0;
    for (size_t i = 0; i < HF_DROP_COUNT; i++)
        sum += counters.drops[i];
    for (size_t i = 0; i < HF_STATUS_COUNT; i++) {
        if (i != HF_OK && hf_status_class((enum hf_status)i) != HF_CLASS_CLOSED)
            sum += counters.handshakes[i] + counters.closes[i];
    }
    return sum;
}

void engine_fixture_datagram(struct engine_fixture *fixture, const struct hf_path *path,
                             const uint8_t *data, size_t len)
{
    engine_wire_add(&fixture->spent, data, len);
    struct hf_datagram datagram = {
        .path = *path,
        .listener_index = ENGINE_FIXTURE_DTLS,
        .data = fixture->spent.items[fixture->spent.count - 1].data,
        .len = len,
    };
    if (hf_engine_receive_datagram(fixture->engine, &datagram) == HF_WAITING) {
        engine_fixture_run(fixture); /* events or output were full */
        engine_wire_add(&fixture->spent, data, len);
        datagram.data = fixture->spent.items[fixture->spent.count - 1].data;
        assert_int_equal(hf_engine_receive_datagram(fixture->engine, &datagram), HF_OK);
    }
}

int engine_fixture_setup(void **state)
{
    struct engine_fixture *fixture = malloc(sizeof *fixture);
    assert_non_null(fixture);
    engine_fixture_init(fixture);
    engine_fixture_open(fixture);
    *state = fixture;
    return 0;
}

int engine_fixture_teardown(void **state)
{
    engine_fixture_close(*state);
    free(*state);
    return 0;
}
