/**
 * simulator_check.c - what must be true: of every event, of both ends, and of the engine when all
 * is over.
 */
#include "simulator_parts.h"

#include <stdio.h>

static enum hf_status key_status(const struct sim_plan *plan)
{
    if (plan->key_schedule == SIM_AFTER_CLOSE)
        return HF_E_CLOSED_LOCALLY;
    if (plan->key_schedule == SIM_NEVER)
        return HF_E_SOURCE_TIMEOUT;
    if (plan->key_kind == HF_ANSWER_UNAVAILABLE)
        return HF_E_SOURCE_UNAVAILABLE;
    if (plan->key_kind == HF_ANSWER_REFUSED)
        return HF_E_KEY_UNKNOWN;
    if (plan->expires_s && plan->expires_s <= SIM_WALL_S)
        return HF_E_KEY_EXPIRED;
    return plan->is_key_wrong ? HF_E_KEY_MISMATCH : HF_OK;
}

enum hf_status sim_plan_status(const struct sim_plan *plan, uint16_t suite)
{
    (void)suite;
    if (plan->is_certificate) {
        if (plan->credential_index >= WORLD_CLIENTS)
            return HF_E_NO_CERTIFICATE;
        if (plan->credential_index == WORLD_UNKNOWN)
            return plan->is_x509 ? HF_E_CERTIFICATE_SELF_SIGNED : HF_E_RAW_KEY_UNKNOWN;
    } else {
        enum hf_status status = key_status(plan);
        if (status != HF_OK)
            return status;
    }
    if (!plan->identity_follows)
        return HF_OK;
    if (plan->identity_schedule == SIM_AFTER_CLOSE)
        return HF_E_CLOSED_LOCALLY;
    if (plan->identity_schedule == SIM_NEVER)
        return HF_E_SOURCE_TIMEOUT;
    if (plan->identity_kind == HF_ANSWER_UNAVAILABLE)
        return HF_E_SOURCE_UNAVAILABLE;
    return plan->identity_kind == HF_ANSWER_REFUSED ? HF_E_IDENTITY_REFUSED : HF_OK;
}
/** Whose association it is that is heard of for the first time. */
static struct sim_client *owner_of(struct sim *sim, const struct hf_event *event)
{
    struct sim_client *found = NULL;
    for (uint32_t i = 0; i < sim->client_count; i++) {
        struct sim_client *client = sim->clients[i];
        if (!client->is_started || !client->plan.config.is_dtls)
            continue;
        if (event->kind == HF_EVENT_KEYLOG) {
            if (hf_bytes_equal_public(event->client_random, client->peer.client_random,
                                      HF_RANDOM_LEN))
                return client;
        } else if (hf_bytes_equal_public(&event->path, &client->path, sizeof client->path)) {
            if (!found || !client->is_established)
                found = client;
        }
    }
    return found;
}

static void check_exporter(const struct sim_client *client)
{
    const struct sim *sim = client->sim;
    static const uint8_t label[] = "EXPORTER_oneM2M-test";
    const struct hf_bytes context = {(const uint8_t *)client->identity, strlen(client->identity)};
    const uint8_t context_len[2] = {0, (uint8_t)context.len};
    uint8_t ours[48], theirs[48];
    struct hf_hmac_key master;
    enum hf_status status = hf_engine_export(ours, sizeof ours, sim->engine, client->id,
                                             (struct hf_bytes){label, sizeof label - 1}, &context);
    SIM_CHECK(sim, status == (client->peer.is_ems ? HF_OK : HF_E_STATE));
    if (status != HF_OK)
        return;
    const struct hf_bytes seeds[] = {{client->peer.client_random, HF_RANDOM_LEN},
                                     {client->peer.server_random, HF_RANDOM_LEN},
                                     {context_len, sizeof context_len},
                                     context};
    hf_hmac_key_init(&master, (struct hf_bytes){client->peer.master_secret, HF_MASTER_SECRET_LEN});
    hf_prf(theirs, sizeof theirs, &master, (const char *)label, seeds, 4);
    SIM_CHECK(sim, hf_ct_equal(ours, theirs, sizeof ours));
}

static size_t send_limit(const struct psk_client *peer)
{
    if (peer->max_fragment_length)
        return (size_t)256 << peer->max_fragment_length;
    if (peer->record_size_limit && peer->config.record_size_limit < HF_PLAINTEXT_LEN_MAX)
        return peer->config.record_size_limit;
    bool is_wrapped = peer->has_cid && peer->config.cid.len > 0; /* the type takes a byte */
    return HF_PLAINTEXT_LEN_MAX - (is_wrapped ? 1 : 0);
}

/** Both ends must think the same of what they have agreed on. */
static void check_agreement(struct sim_client *client)
{
    struct sim *sim = client->sim;
    struct hf_association_info *info = &client->info;
    const struct psk_client *peer = &client->peer;
    const char *name = client->plan.config.server_name;
    enum hf_status status = hf_engine_association_info(info, sim->engine, client->id);
    SIM_CHECK(sim, status == HF_OK && info->established);
    SIM_CHECK(sim, info->suite == peer->suite && peer->suite != 0);
    SIM_CHECK(sim, info->extended_master_secret == peer->is_ems);
    SIM_CHECK(sim, peer->is_ems == peer->config.extended_master_secret);
    SIM_CHECK(sim, info->encrypt_then_mac == peer->is_etm);
    SIM_CHECK(sim, peer->has_keys);
    SIM_CHECK(sim, !sim->options.config.keylog || client->has_keylog);
    if (client->has_keylog)
        SIM_CHECK(sim,
                  hf_ct_equal(client->master_secret, peer->master_secret, HF_MASTER_SECRET_LEN));
    SIM_CHECK(sim, info->plaintext_len_max == send_limit(peer));
    bool is_certificate = client->plan.is_certificate;
    int64_t expires_s = client->plan.is_x509 ? WORLD_EXPIRES_S
                        : is_certificate     ? 0
                                             : client->plan.expires_s;
    SIM_CHECK(sim, info->framework == (is_certificate ? HF_FRAMEWORK_CERTIFICATE
                                                      : HF_FRAMEWORK_PROVISIONED_SYMMETRIC_KEY));
    SIM_CHECK(sim, info->entity_kind == HF_ENTITY_AE);
    uint32_t proven_by = client->peer.is_resumed ? client->plan.resumes - 1 : client->index;
    SIM_CHECK(sim, info->is_resumed == client->peer.is_resumed);
    SIM_CHECK(sim, info->suid == (is_certificate ? 0 : 10 + proven_by));
    SIM_CHECK(sim, strcmp(info->entity_id, client->entity_id) == 0);
    if (is_certificate)
        SIM_CHECK(sim, strncmp(info->credential_id,
                               client->plan.is_x509 ? "33-//m2m.examp" : "30-sha-256-", 11) == 0);
    else
        SIM_CHECK(sim, strcmp(info->credential_id, client->credential_id) == 0);
    SIM_CHECK(sim, info->server_name_len == (name ? strlen(name) : 0));
    SIM_CHECK(sim, info->context == client->context);
    SIM_CHECK(sim, info->expires_s == expires_s);
    SIM_CHECK(sim, info->listener_index == client->plan.listener_index);
    SIM_CHECK(sim, hf_bytes_equal_public(&info->path, &client->path, sizeof client->path));
    check_exporter(client);
}

static void take_established(struct sim_client *client, struct sim_association *association,
                             const struct hf_event *event)
{
    struct sim *sim = client->sim;
    SIM_CHECK(sim, !association->is_established && !association->is_ended);
    SIM_CHECK(sim, event->context == client->context);
    association->is_established = true;
    SIM_CHECK(sim, !client->is_established || client->is_ended);
    client->id = event->association;
    client->is_established = true;
    client->is_ended = false;
    client->established_us = client->heard_us = sim->now_us;
    check_agreement(client);
}

static void take_data(struct sim_client *client, const struct hf_event *event)
{
    struct sim *sim = client->sim;
    SIM_CHECK(sim, event->data.len > 0 && event->context == client->context);
    if (!client->plan.config.is_dtls) {
        sim_bytes_add(&client->up_got, event->data.data, event->data.len);
        SIM_CHECK(sim, client->up_got.len <= client->up.len);
        SIM_CHECK(sim,
                  hf_bytes_equal_public(client->up.data, client->up_got.data, client->up_got.len));
        return;
    }
    const uint8_t *data = event->data.data;
    if (event->data.len < 8 || data[0] != 0xD7) {
        client->extra_up_len += event->data.len;
        return;
    }
    uint32_t number = (uint32_t)(data[4] << 8 | data[5]);
    uint8_t expected[2048];
    SIM_CHECK(sim, number <= client->up_sent && event->data.len <= sizeof expected);
    sim_message_fill(expected, event->data.len, client, true, number);
    SIM_CHECK(sim, hf_bytes_equal_public(expected, data, event->data.len));
    SIM_CHECK(sim, event->ecn == (number & 3));
    SIM_CHECK(sim, client->up_delivered[number]++ == 0);
}

static void take_end(struct sim_client *client, struct sim_association *association,
                     const struct hf_event *event)
{
    struct sim *sim = client->sim;
    struct hf_association_info info;
    bool is_closed = event->kind == HF_EVENT_CLOSED;
    SIM_CHECK(sim, !association->is_ended && association->is_established == is_closed);
    association->is_ended = true;
    enum hf_status status = hf_engine_association_info(&info, sim->engine, event->association);
    SIM_CHECK(sim, status == HF_E_STALE);
    SIM_CHECK(sim, event->failure.status != HF_OK && event->failure.state && event->failure.event);
    if (client->id != event->association)
        return; /* a second handshake of the same client, or its former association */
    if (event->failure.status == HF_E_SUPERSEDED && !is_closed && client->peer.message_seq > 1) {
        client->id = 0; /* by its own hello with another cookie */
        return;
    }
    client->is_ended = true;
    client->is_held_for_room = false;
    client->ended_us = sim->now_us;
    client->end_kind = event->kind;
    client->failure = event->failure;
    if (client->plan.config.is_dtls && !client->peer.is_complete)
        client->is_gone = true; /* nobody is there for it to talk to */
}

static void take_event(struct sim *sim, const struct hf_event *event)
{
    struct sim_association *association = sim_association_of(sim, event->association);
    if (!association) {
        struct sim_client *owner = owner_of(sim, event);
        SIM_CHECK(sim, owner != NULL);
        association = sim_association_add(sim, event->association, owner->index);
        if (owner->id == 0) /* not if a late hello began a second one that leads nowhere */
            owner->id = event->association;
    }
    struct sim_client *client = sim->clients[association->client_index];
    sim_digest(sim, (uint64_t)event->kind << 32 | event->data.len, event->association);
    SIM_CHECK(sim, !association->is_ended);
    SIM_CHECK(sim, event->user == (client->plan.config.is_dtls ? 0 : client->index + 1));
    switch (event->kind) {
    case HF_EVENT_ESTABLISHED:
        take_established(client, association, event);
        break;
    case HF_EVENT_DATA:
        SIM_CHECK(sim, association->is_established && !client->is_peer_closed);
        take_data(client, event);
        break;
    case HF_EVENT_READABLE:
        client->readable_count++;
        client->is_held_for_room = true;
        break;
    case HF_EVENT_PEER_CLOSED:
        SIM_CHECK(sim, association->is_established && !client->plan.config.is_dtls);
        SIM_CHECK(sim, client->up_got.len == client->up.len);
        client->is_peer_closed = true;
        struct sim_item item = {.at_us = sim->now_us + 1 + sim_below(sim, 100000),
                                .kind = SIM_ITEM_END,
                                .client_index = client->index,
                                .message = -1};
        sim_push(sim, &item);
        break;
    case HF_EVENT_CLOSED:
    case HF_EVENT_HANDSHAKE_FAILED:
        take_end(client, association, event);
        break;
    case HF_EVENT_MOVED:
    case HF_EVENT_SESSION: /* a client's: nobody dials here */
        break;
    case HF_EVENT_KEYLOG:
        client->has_keylog = true;
        memcpy(client->master_secret, event->master_secret, HF_MASTER_SECRET_LEN);
        break;
    }
}

void sim_check_events(struct sim *sim)
{
    struct hf_event event;
    while (hf_engine_take_event(sim->engine, &event))
        take_event(sim, &event);
}

/** How an association that was open must have ended, on a network that loses nothing. */
static void check_ending(const struct sim_client *client)
{
    const struct sim *sim = client->sim;
    enum hf_status status = client->failure.status;
    bool is_dtls = client->plan.config.is_dtls;
    switch (client->plan.ending) {
    case SIM_END_CLIENT:
        SIM_CHECK(sim, status == (is_dtls ? HF_E_CLOSED_BY_PEER : HF_E_CLOSED_LOCALLY));
        break;
    case SIM_END_SERVER_NOTIFY:
    case SIM_END_SERVER_SILENT:
        SIM_CHECK(sim, status == HF_E_CLOSED_LOCALLY);
        break;
    case SIM_END_SERVER_WRITE:
        SIM_CHECK(sim, status == (is_dtls ? HF_E_CLOSED_LOCALLY : HF_E_CLOSED_BY_PEER));
        break;
    case SIM_END_RESET:
        SIM_CHECK(sim, status == (is_dtls ? HF_E_CLOSED_LOCALLY : HF_E_TRUNCATED));
        break;
    case SIM_END_NONE:
        SIM_CHECK(sim, status == (sim->options.config.idle_us_max ? HF_E_IDLE_TIMEOUT
                                                                  : HF_E_CLOSED_LOCALLY));
        break;
    }
}

static void check_client(const struct sim_client *client)
{
    const struct sim *sim = client->sim;
    bool is_exact = !sim->options.is_lossy && !sim->options.may_fail;
    SIM_CHECK(sim, client->is_ended || client->id == 0);
    sim_keys_check_over(client);
    for (uint32_t i = 0; client->plan.config.is_dtls && i < SIM_MESSAGES_MAX; i++)
        SIM_CHECK(sim, client->up_delivered[i] == (client->up_arrived[i] > 0));
    if (!is_exact || !client->is_started)
        return;
    enum hf_status expected =
        client->peer.is_resumed ? HF_OK : sim_plan_status(&client->plan, client->peer.suite);
    if (expected != HF_OK) {
        SIM_CHECK(sim, !client->is_established && client->failure.status == expected);
        SIM_CHECK(sim, !client->peer.is_complete);
        return;
    }
    SIM_CHECK(sim, client->is_established && client->is_agreed);
    check_ending(client);
    SIM_CHECK(sim, client->up_got.len == client->up.len);
    if (client->plan.ending != SIM_END_RESET)
        SIM_CHECK(sim, client->down_got.len == client->down.len);
}

/** Ends what is left, one turn at a time so that the events find room. */
static void end_all(struct sim *sim)
{
    struct hf_engine *engine = sim->engine;
    for (uint32_t i = 0; i < engine->associations.touched; i++) {
        const struct hf_association *association = hf_association_at(engine, i);
        if (association->state == HF_STATE_FREE)
            continue;
        hf_engine_close_association(engine, (uint64_t)i << 32 | association->generation,
                                    HF_CLOSE_SILENT);
        if (!hf_engine_has_event_room(engine))
            sim_turn(sim, sim->now_us);
    }
}

void sim_check_over(struct sim *sim)
{
    struct hf_engine *engine = sim->engine;
    end_all(sim);
    for (int i = 0; i < 3; i++) {
        sim_turn(sim, sim->now_us);
        while (sim->item_count > 0) { /* what a last turn put on the way goes nowhere */
            struct sim_item *item = &sim->items[--sim->item_count];
            if (item->kind == SIM_ITEM_JOB)
                hf_engine_give_job(engine, item->job);
            free(item->data);
        }
    }
    struct hf_counters counters = sim_counters(sim);
    SIM_CHECK(sim, counters.handshakes_open == 0 && counters.associations == 0);
    SIM_CHECK(sim, counters.parked == 0 && counters.stream_buffers == 0);
    SIM_CHECK(sim, counters.events_pending == 0);
    SIM_CHECK(sim, engine->proofs.used == 0 && engine->jobs_count == 0);
    SIM_CHECK(sim, engine->associations.used == 0 && engine->handshakes.used == 0);
    SIM_CHECK(sim, engine->identities.used == 0 && engine->streams.used == 0);
    SIM_CHECK(sim, engine->table.count == 0 && engine->wheel.armed == 0);
    SIM_CHECK(sim, engine->waiting_head == HF_NONE && engine->spoiled_head == HF_NONE);
    SIM_CHECK(sim, engine->answers_count == 0 && engine->streams_spent_count == 0);
    for (uint32_t i = 0; i < HF_PREFIX_CELLS; i++)
        SIM_CHECK(sim, engine->prefix_cells[i] == 0);
    SIM_CHECK(sim, hf_engine_next_us(engine) == UINT64_MAX);
    SIM_CHECK(sim, counters.memory_len == hf_config_memory(&sim->options.config));
    for (uint32_t i = 0; i < sim->association_count; i++)
        SIM_CHECK(sim, sim->associations[i].is_ended);
    for (uint32_t i = 0; i < sim->client_count; i++)
        check_client(sim->clients[i]);
}
