/**
 * simulator_keys.c - the key source of the simulator: asked by the engine, it answers when the
 * plan of the client says so, and checks what it is asked and told.
 */
#include "simulator_parts.h"

/** Whose identity it is: at that path if it is one of several who have it. */
static struct sim_client *client_of(struct sim *sim, struct hf_bytes identity,
                                    const struct hf_path *path)
{
    struct sim_client *found = NULL;
    for (uint32_t i = 0; i < sim->client_count; i++) {
        struct sim_client *client = sim->clients[i];
        const struct psk_client_config *config = &client->plan.config;
        if (config->identity.len != identity.len ||
            !hf_bytes_equal_public(config->identity.data, identity.data, identity.len))
            continue;
        if (!found || hf_bytes_equal_public(&client->path, path, sizeof *path))
            found = client;
    }
    return found;
}

/** A certificate has no identity to be found by: the path will do. */
static struct sim_client *client_at(struct sim *sim, const struct hf_path *path)
{
    for (uint32_t i = 0; i < sim->client_count; i++) {
        if (hf_bytes_equal_public(&sim->clients[i]->path, path, sizeof *path))
            return sim->clients[i];
    }
    return NULL;
}

static bool is_lower_of(struct hf_bytes name, const char *text)
{
    size_t len = text ? strlen(text) : 0;
    for (size_t i = 0; i < name.len && i < len; i++) {
        char lower = text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] | 0x20) : text[i];
        if (name.data[i] != (uint8_t)lower)
            return false;
    }
    return name.len == len;
}

static void check_request(const struct sim_client *client, const struct hf_request *request)
{
    const struct sim *sim = client->sim;
    const struct psk_client *peer = &client->peer;
    bool is_key = request->kind == HF_REQUEST_KEY;
    SIM_CHECK(sim, request->suite == peer->suite);
    SIM_CHECK(sim, request->listener_index == client->plan.listener_index);
    SIM_CHECK(sim, is_lower_of(request->server_name, client->plan.config.server_name));
    SIM_CHECK(sim, request->deadline_us == sim->now_us + sim->options.config.answer_us_max);
    SIM_CHECK(sim, hf_bytes_equal_public(request->path, &client->path, sizeof client->path));
    SIM_CHECK(sim, hf_bytes_equal_public(request->client_random, peer->client_random, 32));
    SIM_CHECK(sim, hf_bytes_equal_public(request->server_random, peer->server_random, 32));
    SIM_CHECK(sim, request->session_hash.len == (peer->is_ems ? 32 : 0));
    if (client->plan.is_certificate) {
        SIM_CHECK(sim, !is_key && request->context == 0);
        SIM_CHECK(sim, request->credential_id.len > 11 &&
                           hf_bytes_equal_public(request->credential_id.data, "30-sha-256-", 11));
        return;
    }
    SIM_CHECK(sim, request->context == (is_key ? 0 : client->context));
    size_t credential_len = is_key ? 0 : strlen(client->credential_id);
    SIM_CHECK(sim, request->credential_id.len == credential_len &&
                       hf_bytes_equal_public(request->credential_id.data, client->credential_id,
                                             credential_len));
}

static void schedule(struct sim_client *client, uint32_t index, enum sim_schedule schedule)
{
    struct sim *sim = client->sim;
    struct sim_item item = {.at_us = sim->now_us + 1,
                            .kind = SIM_ITEM_ANSWER,
                            .client_index = client->index,
                            .aux = index,
                            .message = -1};
    switch (schedule) {
    case SIM_NOW:
        sim_answer(client, &client->requests[index]);
        return;
    case SIM_NEXT_TURN:
        break;
    case SIM_LATE:
        item.at_us += sim_chance(sim, 500000) ? sim_below(sim, 50000) : sim_below(sim, 8000000);
        break;
    case SIM_LAST_FIRST:
        client->requests[index].is_held = true;
        item.kind = SIM_ITEM_ANSWER_HELD;
        item.at_us += 40000;
        break;
    case SIM_AFTER_CLOSE:
        item.at_us += 1000 + sim_below(sim, 2000000);
        sim_push(sim, &item);
        item.at_us -= 1 + sim_below(sim, 999);
        item.kind = SIM_ITEM_CLOSE;
        item.aux = (uint32_t)sim_below(sim, 3);
        break;
    case SIM_NEVER:
    case SIM_BY_HAND:
        return;
    }
    sim_push(sim, &item);
}

void sim_keys_request(struct hf_engine *engine, const struct hf_request *request, void *arg)
{
    struct sim *sim = arg;
    struct sim_client *client = request->psk_identity.len > 0
                                    ? client_of(sim, request->psk_identity, request->path)
                                    : client_at(sim, request->path);
    bool is_key = request->kind == HF_REQUEST_KEY;
    sim_digest(sim, 100 + request->kind, client ? client->index : 0);
    if (!client || client->is_gone) { /* or a late repeat of one that has given up */
        struct hf_answer unknown = {.kind = HF_ANSWER_REFUSED};
        enum hf_status status = hf_engine_answer(engine, request->ticket, &unknown);
        SIM_CHECK(sim, status == HF_OK);
        return;
    }
    if (request->kind == HF_REQUEST_SESSION) {
        SIM_CHECK(sim, client->plan.config.session != NULL);
        const struct hf_answer stands = {
            .kind = client->plan.is_session_refused ? HF_ANSWER_REFUSED : HF_ANSWER_IDENTITY};
        enum hf_status status = hf_engine_answer(engine, request->ticket, &stands);
        SIM_CHECK(sim, status == HF_OK);
        return;
    }
    check_request(client, request);
    SIM_CHECK(sim, client->request_count < SIM_REQUESTS_MAX);
    uint32_t index = client->request_count++;
    struct sim_request *asked = &client->requests[index];
    *asked = (struct sim_request){
        .ticket = request->ticket,
        .kind = request->kind,
        .state = SIM_ASKED,
        .asked_us = sim->now_us,
        .deadline_us = request->deadline_us,
        .has_session_hash = request->session_hash.len > 0,
    };
    memcpy(asked->client_random, request->client_random, HF_RANDOM_LEN);
    memcpy(asked->server_random, request->server_random, HF_RANDOM_LEN);
    if (asked->has_session_hash)
        memcpy(asked->session_hash, request->session_hash.data, HF_SHA256_LEN);
    schedule(client, index, is_key ? client->plan.key_schedule : client->plan.identity_schedule);
}

static bool is_same_ticket(struct hf_ticket a, struct hf_ticket b)
{
    return a.slot == b.slot && a.generation == b.generation && a.seq == b.seq;
}

void sim_keys_cancel(struct hf_ticket ticket, void *arg)
{
    struct sim *sim = arg;
    for (uint32_t i = 0; i < sim->client_count; i++) {
        struct sim_client *client = sim->clients[i];
        for (uint32_t j = 0; j < client->request_count; j++) {
            struct sim_request *request = &client->requests[j];
            if (!is_same_ticket(request->ticket, ticket))
                continue;
            SIM_CHECK(sim, request->state == SIM_ASKED); /* once, and not after an answer */
            request->state = SIM_CANCELLED;
            request->ended_us = sim->now_us;
            sim_digest(sim, 200, client->index);
            return;
        }
    }
    sim_fail(sim, "cancel of a ticket that was never given out", __FILE__, __LINE__);
}

/** What a source that makes master secrets would do (RFC 5246 8.1, RFC 7627 4). */
static void make_secret(struct hf_secret *out, const struct sim_client *client,
                        const struct sim_request *request, enum hf_answer_kind kind)
{
    struct hf_bytes psk = client->plan.config.psk;
    struct hf_secret premaster;
    uint8_t wrong[HF_PSK_MAX];
    if (client->plan.is_key_wrong) {
        memcpy(wrong, psk.data, psk.len);
        wrong[psk.len - 1] ^= 1;
        psk.data = wrong;
    }
    out->len = (uint16_t)psk.len;
    memcpy(out->data, psk.data, psk.len);
    if (kind == HF_ANSWER_PSK)
        return;
    enum hf_status status = hf_psk_premaster(&premaster, psk);
    SIM_CHECK(client->sim, status == HF_OK);
    *out = premaster;
    if (kind == HF_ANSWER_PREMASTER)
        return;
    out->len = HF_MASTER_SECRET_LEN;
    hf_master_secret(out->data, &premaster, request->client_random, request->server_random,
                     request->has_session_hash ? request->session_hash : NULL);
}

static struct hf_answer make_answer(struct hf_secret *secret, const struct sim_client *client,
                                    const struct sim_request *request)
{
    const struct sim_plan *plan = &client->plan;
    bool is_key = request->kind == HF_REQUEST_KEY;
    struct hf_answer answer = {.kind = is_key ? plan->key_kind : plan->identity_kind};
    if (!is_key && answer.kind == HF_ANSWER_PSK)
        answer.kind = HF_ANSWER_IDENTITY;
    if (answer.kind == HF_ANSWER_REFUSED || answer.kind == HF_ANSWER_UNAVAILABLE)
        return answer;
    answer.context = client->context;
    answer.entity_kind = HF_ENTITY_AE;
    if (!is_key || !plan->identity_follows)
        answer.entity_id =
            (struct hf_bytes){(const uint8_t *)client->entity_id, strlen(client->entity_id)};
    if (!is_key)
        return answer; /* the rest stays as the key answer said */
    make_secret(secret, client, request, answer.kind);
    answer.secret = (struct hf_bytes){secret->data, secret->len};
    answer.framework = HF_FRAMEWORK_PROVISIONED_SYMMETRIC_KEY;
    answer.identity_follows = plan->identity_follows;
    answer.suid = (uint16_t)(10 + client->index);
    answer.credential_id =
        (struct hf_bytes){(const uint8_t *)client->credential_id, strlen(client->credential_id)};
    answer.expires_s = plan->expires_s;
    return answer;
}

enum hf_status sim_answer(struct sim_client *client, struct sim_request *request)
{
    struct sim *sim = client->sim;
    struct hf_secret secret = {0};
    struct hf_answer answer = make_answer(&secret, client, request);
    bool is_waited_for = request->state == SIM_ASKED && sim->now_us <= request->deadline_us;
    if (is_waited_for && sim_chance(sim, 50000)) { /* an impossible one leaves it waiting */
        struct hf_answer bad = answer;
        static const uint8_t zeros[HF_SECRET_MAX + 1];
        bad.secret = (struct hf_bytes){zeros, sizeof zeros};
        enum hf_status refused = hf_engine_answer(sim->engine, request->ticket, &bad);
        SIM_CHECK(sim, refused == HF_E_ARGUMENT);
    }
    enum hf_status status = hf_engine_answer(sim->engine, request->ticket, &answer);
    SIM_CHECK(sim, status == (is_waited_for ? HF_OK : HF_E_STALE));
    if (is_waited_for) {
        request->state = SIM_ANSWERED;
        request->ended_us = sim->now_us;
    }
    if (client->plan.is_answered_twice) {
        struct hf_answer other = {.kind = HF_ANSWER_REFUSED};
        status = hf_engine_answer(sim->engine, request->ticket, &other);
        SIM_CHECK(sim, status == HF_E_STALE);
    }
    return is_waited_for ? HF_OK : HF_E_STALE;
}

void sim_answer_later(struct sim_client *client, uint32_t request_index, uint64_t after_us)
{
    struct sim_item item = {.at_us = client->sim->now_us + after_us,
                            .kind = SIM_ITEM_ANSWER,
                            .client_index = client->index,
                            .aux = request_index,
                            .message = -1};
    sim_push(client->sim, &item);
}

void sim_keys_answer_held(struct sim *sim)
{
    for (;;) { /* the newest of all first */
        struct sim_client *newest = NULL;
        struct sim_request *request = NULL;
        for (uint32_t i = 0; i < sim->client_count; i++) {
            for (uint32_t j = 0; j < sim->clients[i]->request_count; j++) {
                struct sim_request *held = &sim->clients[i]->requests[j];
                if (held->is_held && (!request || held->asked_us > request->asked_us)) {
                    newest = sim->clients[i];
                    request = held;
                }
            }
        }
        if (!request)
            return;
        request->is_held = false;
        sim_answer(newest, request);
    }
}

/** Every request was answered or cancelled, and cancelled neither early nor late. */
void sim_keys_check_over(const struct sim_client *client)
{
    const struct sim *sim = client->sim;
    uint64_t slack_us = HF_TICK_US + sim->options.grid_us + 1000;
    for (uint32_t i = 0; i < client->request_count; i++) {
        const struct sim_request *request = &client->requests[i];
        bool is_key = request->kind == HF_REQUEST_KEY;
        enum sim_schedule schedule =
            is_key ? client->plan.key_schedule : client->plan.identity_schedule;
        SIM_CHECK(sim, request->state != SIM_ASKED);
        if (request->state == SIM_ANSWERED || sim->options.may_fail || sim->options.is_lossy)
            continue;
        SIM_CHECK(sim, schedule == SIM_NEVER || schedule == SIM_AFTER_CLOSE ||
                           schedule == SIM_BY_HAND || sim->is_closing);
        if (schedule == SIM_NEVER && request->ended_us != sim->now_us) {
            SIM_CHECK(sim, request->ended_us >= request->deadline_us);
            SIM_CHECK(sim, request->ended_us <= request->deadline_us + slack_us);
        }
    }
}
