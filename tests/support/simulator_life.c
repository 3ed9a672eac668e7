/**
 * simulator_life.c - what a client and the application behind the engine do over an association's
 * life: begin, talk, end.
 */
#include "simulator_parts.h"

#include <stdio.h>

#define MESSAGE_HEAD_LEN 8 /* 0xD7, way, client (2), number (2), length (2) */

static void one_byte_fragments(struct sim_client *client, uint8_t message_type)
{
    /* The cookie is checked on the front of a hello, which must come in one piece. */
    bool is_hello = message_type == HF_MESSAGE_CLIENT_HELLO;
    if (client->plan.chunks == SIM_BYTES)
        client->peer.config.fragment_len_max = is_hello ? 150 : 1;
    else if (client->plan.chunks == SIM_PIECES)
        client->peer.config.fragment_len_max = is_hello ? 150 : 7;
}

static enum psk_client_verdict tamper(enum psk_client_tamper_kind kind, uint8_t type, uint8_t *data,
                                      size_t *len, size_t max, void *arg)
{
    (void)data;
    (void)len;
    (void)max;
    if (kind == PSK_CLIENT_TAMPER_MESSAGE)
        one_byte_fragments(arg, type);
    return PSK_CLIENT_SEND;
}

static void make_path(struct sim_client *client)
{
    struct sim *sim = client->sim;
    const uint8_t home[4] = {192, 0, 2, 1};
    uint8_t v6[16] = {0x20, 0x01, 0x0D, 0xB8};
    uint8_t v4[4] = {198, 51, 100, (uint8_t)sim_below(sim, 256)};
    uint16_t port = (uint16_t)(10000 + client->index);
    if (client->plan.path.peer.port != 0) {
        client->path = client->plan.path;
        return;
    }
    v6[15] = (uint8_t)sim_below(sim, 256);
    client->path.local = hf_address_v4(home, 5684);
    client->path.peer =
        sim_chance(sim, 500000) ? hf_address_v4(v4, port) : hf_address_v6(v6, port, 0);
}

/** It is the same device again. */
static void take_over(struct sim_client *client, const struct sim_client *earlier)
{
    struct psk_client_work *work = client->work;
    uint32_t resumes = client->plan.resumes;
    bool is_session_refused = client->plan.is_session_refused;
    uint64_t start_us = client->plan.start_us;
    SIM_CHECK(client->sim, earlier != client && earlier->plan.path.peer.port == 0);
    client->plan = earlier->plan;
    client->plan.resumes = resumes;
    client->plan.is_session_refused = is_session_refused;
    client->plan.start_us = start_us;
    client->plan.config.tamper = NULL;
    client->work = work;
    memcpy(client->identity, earlier->identity, sizeof client->identity);
    memcpy(client->entity_id, earlier->entity_id, sizeof client->entity_id);
    memcpy(client->credential_id, earlier->credential_id, sizeof client->credential_id);
    client->context = earlier->context;
}

/** Offers the session of an association that was open, if it was given one. */
static void offer_session(struct sim_client *client)
{
    const struct sim_client *earlier = client->sim->clients[client->plan.resumes - 1];
    if (!earlier->peer.is_complete || !earlier->is_established)
        return;
    psk_client_keep_session(&client->session, &earlier->peer);
    if (client->session.id_len == 0 && client->session.ticket_len == 0)
        return;
    client->plan.config.session = &client->session;
    client->plan.config.suite_count = 1;
    client->plan.config.suites[0] = client->session.suite;
}

struct sim_client *sim_add(struct sim *sim, const struct sim_plan *plan)
{
    struct sim_client *client = calloc(1, sizeof *client);
    SIM_CHECK(sim, client && sim->client_count < SIM_CLIENTS_MAX);
    client->sim = sim;
    client->index = sim->client_count;
    client->plan = *plan;
    client->up_message = -1;
    client->work = malloc(sizeof *client->work);
    SIM_CHECK(sim, client->work != NULL);
    sim->clients[sim->client_count++] = client;
    size_t psk_len = 1 + sim_below(sim, HF_PSK_MAX);
    for (size_t i = 0; i < psk_len; i++)
        client->psk[i] = (uint8_t)sim_random(sim);
    snprintf(client->identity, sizeof client->identity, "device-%u", client->index);
    snprintf(client->entity_id, sizeof client->entity_id, "C%08x",
             (unsigned)sim_below(sim, UINT32_MAX));
    snprintf(client->credential_id, sizeof client->credential_id, "10-%u-%0*d", client->index,
             (int)sim_below(sim, 60), 7);
    client->context = sim_random(sim);
    if (plan->is_certificate) {
        const struct credential_world *world = credential_world();
        if (plan->credential_index < WORLD_CLIENTS && !plan->identity_follows) {
            memcpy(client->entity_id, world->entity_ids[plan->credential_index],
                   sizeof world->entity_ids[0]);
            client->context = 0; /* nobody is asked for it */
        }
    }
    if (plan->resumes)
        take_over(client, sim->clients[plan->resumes - 1]);
    make_path(client);
    struct psk_client_config *config = &client->plan.config;
    config->is_dtls =
        sim->options.listeners[client->plan.listener_index].transport == HF_TRANSPORT_DTLS;
    config->work = client->work;
    if (config->identity.len == 0)
        config->identity =
            (struct hf_bytes){(const uint8_t *)client->identity, strlen(client->identity)};
    if (config->psk.len == 0)
        config->psk = (struct hf_bytes){client->psk, psk_len};
    if (config->is_dtls && !config->tamper && config->fragment_len_max == 0) {
        config->tamper = tamper;
        config->tamper_arg = client;
    }
    struct sim_item item = {.at_us = sim->now_us + plan->start_us,
                            .kind = SIM_ITEM_START,
                            .client_index = client->index,
                            .message = -1};
    sim_push(sim, &item);
    return client;
}

void sim_plan_init(struct sim_plan *plan, uint32_t listener_index)
{
    memset(plan, 0, sizeof *plan);
    plan->listener_index = listener_index;
    plan->config.suite_count = 1;
    plan->config.suites[0] =
        listener_index ? HF_SUITE_PSK_AES_128_CCM_8 : HF_SUITE_PSK_AES_128_CBC_SHA256;
    plan->config.extended_master_secret = true;
    plan->data_len_max = 64;
    plan->ending = SIM_END_NONE;
}

struct sim_client *sim_add_open(struct sim *sim, const struct sim_plan *plan)
{
    struct sim_client *client = sim_add(sim, plan);
    sim_run(sim, sim->now_us + 500000);
    SIM_CHECK(sim, sim_is_open(client));
    return client;
}

void sim_life_start(struct sim_client *client)
{
    struct sim *sim = client->sim;
    client->is_started = true;
    client->begun_us = sim->now_us;
    if (client->plan.resumes)
        offer_session(client);
    psk_client_init(&client->peer, &client->plan.config);
    if (!client->plan.config.is_dtls) {
        enum hf_status status =
            hf_engine_accept(&client->id, sim->engine, client->plan.listener_index, &client->path,
                             client->index + 1);
        if (status == HF_WAITING) { /* no room: the backlog keeps it */
            struct sim_item again = {.at_us = sim->now_us + 1,
                                     .kind = SIM_ITEM_START,
                                     .client_index = client->index,
                                     .message = -1};
            client->is_started = false;
            sim_push(sim, &again);
            return;
        }
        if (status != HF_OK) {
            SIM_CHECK(sim, sim->options.may_fail && client->id == 0);
            client->is_gone = client->is_ended = true;
            client->failure.status = status;
            return;
        }
        sim_association_add(sim, client->id, client->index);
    }
    psk_client_start(&client->peer, sim->now_us, sim_client_emit, client);
}

bool sim_is_open(const struct sim_client *client)
{
    return client->is_established && !client->is_ended && client->is_agreed;
}

void sim_message_fill(uint8_t *out, size_t len, const struct sim_client *client, bool is_up,
                      uint32_t number)
{
    uint64_t word = client->sim->options.seed ^ (uint64_t)client->index << 32 ^ number << 1 ^ is_up;
    for (size_t i = 0; i < len; i++) {
        word = word * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        out[i] = (uint8_t)(word >> 56);
    }
    if (len < MESSAGE_HEAD_LEN)
        return;
    const uint8_t head[MESSAGE_HEAD_LEN] = {
        0xD7,
        is_up,
        (uint8_t)(client->index >> 8),
        (uint8_t)client->index,
        (uint8_t)(number >> 8),
        (uint8_t)number,
        (uint8_t)(len >> 8),
        (uint8_t)len,
    };
    memcpy(out, head, sizeof head);
}

/** How long message `number` is: known to both ends. */
static size_t message_len(struct sim_client *client, size_t limit)
{
    size_t max = client->plan.data_len_max < limit ? client->plan.data_len_max : limit;
    return MESSAGE_HEAD_LEN + (size_t)sim_below(client->sim, max - MESSAGE_HEAD_LEN + 1);
}

void sim_send(struct sim_client *client, const void *data, size_t len)
{
    if (!client->plan.config.is_dtls)
        sim_bytes_add(&client->up, data, len);
    psk_client_send(&client->peer, data, len, sim_client_emit, client);
}

void sim_send_record(struct sim_client *client, const struct psk_client_record *record)
{
    psk_client_send_record(&client->peer, record, sim_client_emit, client);
}

void sim_life_send_up(struct sim_client *client)
{
    struct sim *sim = client->sim;
    uint8_t *data = malloc(UINT16_MAX);
    SIM_CHECK(sim, data != NULL);
    if (client->peer.state == PSK_CLIENT_OPEN && !client->is_gone) {
        bool is_dtls = client->plan.config.is_dtls;
        size_t record_max = client->peer.max_fragment_length
                                ? (size_t)256 << client->peer.max_fragment_length
                                : 1200;
        size_t len = message_len(client, is_dtls ? record_max : UINT16_MAX);
        sim_message_fill(data, len, client, true, client->up_sent);
        client->up_message = (int)client->up_sent;
        sim_send(client, data, len);
        client->up_message = -1;
    }
    client->up_sent++;
    free(data);
}

void sim_life_send_down(struct sim_client *client)
{
    struct sim *sim = client->sim;
    bool is_dtls = client->plan.config.is_dtls;
    uint8_t data[HF_STREAM_CHUNK_MAX];
    size_t limit = is_dtls ? client->info.plaintext_len_max : sizeof data;
    if (limit > 1200 && is_dtls)
        limit = 1200;
    if (!client->is_established || client->is_ended) {
        client->down_sent++;
        return;
    }
    size_t len = message_len(client, limit);
    sim_message_fill(data, len, client, false, client->down_sent);
    enum hf_status status = hf_engine_send(sim->engine, client->id, (struct hf_bytes){data, len});
    if (status == HF_WAITING) {
        client->is_down_due = true;
        return;
    }
    SIM_CHECK(sim, status == HF_OK);
    client->down_sent++;
    if (!is_dtls)
        sim_bytes_add(&client->down, data, len);
}

/** Application bytes that reached the client. */
void sim_life_take_data(struct sim_client *client, const uint8_t *data, size_t len)
{
    struct sim *sim = client->sim;
    if (!client->plan.config.is_dtls) {
        sim_bytes_add(&client->down_got, data, len);
        SIM_CHECK(sim, client->down_got.len <= client->down.len);
        SIM_CHECK(sim, hf_bytes_equal_public(client->down.data, client->down_got.data,
                                             client->down_got.len));
        return;
    }
    if (len < MESSAGE_HEAD_LEN || data[0] != 0xD7)
        return; /* sent by hand */
    uint32_t number = (uint32_t)(data[4] << 8 | data[5]);
    uint8_t expected[2048];
    SIM_CHECK(sim, number < client->down_sent && len <= sizeof expected);
    sim_message_fill(expected, len, client, false, number);
    SIM_CHECK(sim, hf_bytes_equal_public(expected, data, len));
    SIM_CHECK(sim, client->down_delivered[number]++ == 0);
}

void sim_life_renegotiate(struct sim_client *client)
{
    uint8_t message[HF_FRAGMENT_HEADER_LEN + 40] = {HF_MESSAGE_CLIENT_HELLO};
    bool is_dtls = client->plan.config.is_dtls;
    size_t head_len = is_dtls ? HF_FRAGMENT_HEADER_LEN : 4;
    if (client->peer.state != PSK_CLIENT_OPEN || client->is_gone)
        return;
    message[3] = 40;
    if (is_dtls) {
        message[5] = 9; /* message_seq: anything */
        message[11] = 40;
    }
    struct psk_client_record record = {
        .type = HF_TYPE_HANDSHAKE,
        .epoch = 1,
        .seq = PSK_CLIENT_SEQ_NEXT,
        .is_protected = true,
        .payload = {message, head_len + 40},
    };
    sim_send_record(client, &record);
    client->is_renegotiated = true;
}

static void push(struct sim_client *client, enum sim_item_kind kind, uint64_t after_us)
{
    struct sim_item item = {.at_us = client->sim->now_us + after_us,
                            .kind = kind,
                            .client_index = client->index,
                            .message = -1};
    sim_push(client->sim, &item);
}

/** Everything there was to say has been said, and on TLS heard. */
static bool is_all_said(const struct sim_client *client)
{
    return client->up_sent >= client->plan.up_count &&
           client->down_sent >= client->plan.down_count && !client->is_down_due &&
           (client->plan.config.is_dtls ||
            (client->up_got.len == client->up.len && client->down_got.len == client->down.len));
}

/** What a client does at the end of each turn. */
void sim_life_go_on(struct sim_client *client)
{
    struct sim *sim = client->sim;
    const struct sim_plan *plan = &client->plan;
    if (client->is_down_due) {
        client->is_down_due = false;
        sim_life_send_down(client);
    }
    if (!client->is_agreed && client->is_established && client->peer.is_complete) {
        client->is_agreed = true;
        client->open_us = sim->now_us;
        for (uint32_t i = 0; i < plan->up_count; i++)
            push(client, SIM_ITEM_SEND_UP, sim_below(sim, 300000));
        for (uint32_t i = 0; i < plan->down_count; i++)
            push(client, SIM_ITEM_SEND_DOWN, sim_below(sim, 300000));
        if (plan->is_renegotiating)
            push(client, SIM_ITEM_RENEGOTIATE, sim_below(sim, 300000));
    }
    if (sim_is_open(client) && !client->is_ending && is_all_said(client) &&
        client->is_renegotiated == plan->is_renegotiating) {
        client->is_ending = true;
        if (plan->ending != SIM_END_NONE)
            push(client, SIM_ITEM_END, 200000 + sim_below(sim, 500000));
    }
}

void sim_close_client(struct sim_client *client, enum hf_close how)
{
    struct sim *sim = client->sim;
    hf_association_id id = client->id;
    client->is_ending = true;
    for (uint32_t i = 0; !id && i < client->request_count; i++) {
        /* A datagram peer whose association has not been heard of yet: by its ticket. */
        const struct hf_handshake *handshake =
            hf_handshake_at(sim->engine, client->requests[i].ticket.slot);
        if (handshake->generation != client->requests[i].ticket.generation)
            continue;
        const struct hf_association *association =
            hf_association_at(sim->engine, handshake->association);
        id = (uint64_t)handshake->association << 32 | association->generation;
    }
    if (id)
        hf_engine_close_association(sim->engine, id, how);
}

void sim_reset(struct sim_client *client)
{
    client->is_reset = client->is_gone = client->is_ending = true;
    hf_engine_receive_end(client->sim->engine, client->id);
}

void sim_life_end(struct sim_client *client)
{
    struct sim *sim = client->sim;
    client->is_ending = true;
    if (client->is_ended || client->is_gone)
        return;
    if (client->is_peer_closed) { /* the answer to its close_notify */
        sim_close_client(client, HF_CLOSE_NOTIFY);
        return;
    }
    switch (client->plan.ending) {
    case SIM_END_CLIENT:
        psk_client_end(&client->peer, sim_client_emit, client);
        if (!client->plan.config.is_dtls && sim_chance(sim, 500000)) {
            struct sim_item item = {.at_us = client->stream_us[1] + 1,
                                    .kind = SIM_ITEM_UP_END,
                                    .client_index = client->index,
                                    .message = -1};
            sim_push(sim, &item);
        }
        break;
    case SIM_END_SERVER_NOTIFY:
        sim_close_client(client, HF_CLOSE_NOTIFY);
        break;
    case SIM_END_SERVER_SILENT:
        sim_close_client(client, HF_CLOSE_SILENT);
        break;
    case SIM_END_SERVER_WRITE:
        sim_close_client(client, HF_CLOSE_WRITE);
        break;
    case SIM_END_RESET:
        if (client->plan.config.is_dtls)
            sim_close_client(client, HF_CLOSE_SILENT);
        else
            sim_reset(client);
        break;
    case SIM_END_NONE:
        break;
    }
}
