/**
 * maf_link.c - what the service wants of connections becomes wishes for sockets; what sockets bring
 * goes through the engine to the service.
 *
 * Invariant: a socket's number is used again only after its CLOSE was taken; the number's count of
 * uses, in the engine's `user`, keeps what comes late from the next user.
 */
#include "maf_link.h"

#include "crypto.h"

#include <stdlib.h>
#include <string.h>

#define TRIES_MAX 64 /* of input that finds the queues full, within one call */

enum socket_state {
    SOCKET_FREE = 0,
    SOCKET_CONNECTING,
    SOCKET_OPEN, /* there is an association, or was */
};

struct link_socket {
    uint8_t state;
    bool is_connect_due, is_close_due;
    uint32_t uses;
    hf_association_id association; /* 0: gone */
    struct hf_address address;
};

struct login {
    char fqdn[HF_MAF_FQDN_MAX + 1];
    struct hf_bytes psk_identity; /* ours */
    bool has_certificate;
    enum hf_status failure;
};

struct hf_maf_link {
    struct hf_key_service *service;
    struct hf_engine *engine;
    uint32_t login_count, connections_max, socket_count;
    struct login logins[HF_KEY_SERVICE_MAFS_MAX];
    struct link_socket *sockets;
};

/* ---- open and close ----------------------------------------------------------------------- */

static enum hf_status copy_login(struct login *out, const struct hf_maf_login *login)
{
    out->has_certificate = login->x509 != NULL && login->trust != NULL;
    if (login->fqdn.len > HF_MAF_FQDN_MAX ||
        (login->psk_identity.len == 0 && !out->has_certificate))
        return HF_E_CONFIG;
    memcpy(out->fqdn, login->fqdn.data, login->fqdn.len);
    if (login->psk_identity.len == 0)
        return HF_OK;
    uint8_t *copy = malloc(login->psk_identity.len);
    if (copy == NULL)
        return HF_E_MEMORY;
    memcpy(copy, login->psk_identity.data, login->psk_identity.len);
    out->psk_identity = (struct hf_bytes){copy, login->psk_identity.len};
    return HF_OK;
}

static void fill_dialer(struct hf_dialer *dialer, const struct login *copy,
                        const struct hf_maf_login *login)
{
    hf_dialer_init(dialer, HF_TRANSPORT_TLS);
    dialer->extended_master_secret_needed = true;
    if (copy->has_certificate) {
        dialer->x509 = login->x509;
        dialer->trust = login->trust;
    }
}

/* A dialer for each MAF: what we show, and what we believe, may differ. */
static enum hf_status open_engine(struct hf_maf_link *link, const struct hf_maf_link_config *wanted)
{
    struct hf_config config;
    struct hf_dialer dialers[HF_KEY_SERVICE_MAFS_MAX];
    hf_config_init(&config);
    for (uint32_t i = 0; i < wanted->login_count; i++)
        fill_dialer(&dialers[i], &link->logins[i], &wanted->logins[i]);
    config.associations_max = 4 * link->socket_count + 32; /* some close; room for long names */
    config.handshakes_max = config.associations_max;
    config.handshakes_pressure = config.handshakes_max;
    config.handshakes_per_prefix_max = config.handshakes_max;
    config.stream_buffers_max = config.associations_max;
    config.events_max = 4 * config.associations_max + 64;
    config.dialers = dialers;
    config.dialer_count = wanted->login_count;
    return hf_engine_open(&link->engine, &config, wanted->keys);
}

enum hf_status hf_maf_link_open(struct hf_maf_link **out, const struct hf_maf_link_config *config)
{
    *out = NULL;
    if (config->login_count == 0 || config->login_count > HF_KEY_SERVICE_MAFS_MAX ||
        config->connections_max == 0 || config->connections_max > HF_MAF_CONNECTIONS_MAX)
        return HF_E_CONFIG;
    struct hf_maf_link *link = calloc(1, sizeof(*link));
    if (link == NULL)
        return HF_E_MEMORY;
    link->service = config->service;
    link->connections_max = config->connections_max;
    link->socket_count = config->login_count * config->connections_max;
    link->sockets = calloc(link->socket_count, sizeof(*link->sockets));
    enum hf_status status = link->sockets == NULL ? HF_E_MEMORY : HF_OK;
    for (uint32_t i = 0; status == HF_OK && i < config->login_count; i++) {
        status = copy_login(&link->logins[i], &config->logins[i]);
        link->login_count++;
    }
    if (status == HF_OK)
        status = open_engine(link, config);
    if (status != HF_OK) {
        hf_maf_link_close(link);
        return status;
    }
    *out = link;
    return HF_OK;
}

void hf_maf_link_close(struct hf_maf_link *link)
{
    if (link == NULL)
        return;
    hf_engine_close(link->engine);
    for (uint32_t i = 0; i < link->login_count; i++)
        free((void *)link->logins[i].psk_identity.data);
    free(link->sockets);
    free(link);
}

enum hf_status hf_maf_link_set_login(struct hf_maf_link *link, uint32_t maf_index,
                                     const struct hf_maf_login *login)
{
    struct login *old = &link->logins[maf_index];
    struct login copy = {.failure = old->failure};
    struct hf_dialer dialer;
    enum hf_status status = copy_login(&copy, login);
    if (status != HF_OK)
        return status;
    fill_dialer(&dialer, &copy, login);
    status = hf_engine_update_dialer(link->engine, maf_index, &dialer);
    if (status != HF_OK) {
        free((void *)copy.psk_identity.data);
        return status;
    }
    free((void *)old->psk_identity.data);
    *old = copy;
    hf_key_service_renew(link->service, maf_index);
    return HF_OK;
}

uint32_t hf_maf_link_sockets(const struct hf_maf_link *link)
{
    return link->socket_count;
}

enum hf_status hf_maf_link_failure(const struct hf_maf_link *link, uint32_t maf_index)
{
    return link->logins[maf_index].failure;
}

/* ---- what the engine says ----------------------------------------------------------------- */

static uint32_t maf_of(const struct hf_maf_link *link, uint32_t slot)
{
    return slot / link->connections_max;
}

static uint32_t connection_of(const struct hf_maf_link *link, uint32_t slot)
{
    return slot % link->connections_max;
}

static struct link_socket *socket_of(struct hf_maf_link *link, uint64_t user)
{
    struct link_socket *slot = &link->sockets[(uint32_t)user];
    return slot->uses == (uint32_t)(user >> 32) ? slot : NULL;
}

/* The service hears of it unless it closed the connection itself. */
static void lose(struct hf_maf_link *link, uint32_t number, enum hf_maf_outcome outcome)
{
    struct link_socket *slot = &link->sockets[number];
    slot->association = 0;
    if (slot->is_close_due || slot->state == SOCKET_FREE)
        return;
    slot->is_close_due = true;
    hf_key_service_ended(link->service, maf_of(link, number), connection_of(link, number), outcome);
}

static void take_event(struct hf_maf_link *link, const struct hf_event *event)
{
    uint32_t number = (uint32_t)event->user;
    uint32_t maf_index = maf_of(link, number);
    struct link_socket *slot = socket_of(link, event->user);
    if (slot == NULL)
        return;
    switch (event->kind) {
    case HF_EVENT_ESTABLISHED:
        if (!slot->is_close_due)
            hf_key_service_opened(link->service, maf_index, connection_of(link, number));
        break;
    case HF_EVENT_DATA:
        if (!slot->is_close_due)
            hf_key_service_received(link->service, maf_index, connection_of(link, number),
                                    event->data);
        break;
    case HF_EVENT_PEER_CLOSED:
        hf_engine_close_association(link->engine, event->association, HF_CLOSE_NOTIFY);
        break;
    case HF_EVENT_CLOSED:
        lose(link, number, HF_MAF_OUTCOME_BROKEN);
        break;
    case HF_EVENT_HANDSHAKE_FAILED:
        link->logins[maf_index].failure = event->failure.status;
        lose(link, number,
             event->failure.status == HF_E_TRUNCATED ? HF_MAF_OUTCOME_CONNECT
                                                     : HF_MAF_OUTCOME_AUTHENTICATION);
        break;
    case HF_EVENT_READABLE:
    case HF_EVENT_KEYLOG:
    case HF_EVENT_MOVED:
    case HF_EVENT_SESSION:
    default:
        break;
    }
}

static void take_events(struct hf_maf_link *link)
{
    struct hf_event event;
    while (hf_engine_take_event(link->engine, &event))
        take_event(link, &event);
}

/* ---- what the service wants --------------------------------------------------------------- */

static void send_bytes(struct hf_maf_link *link, uint32_t number, struct hf_bytes bytes)
{
    struct link_socket *slot = &link->sockets[number];
    /* No room: a turn's output is much more than all connections' requests; something hangs. */
    if (slot->association == 0 || hf_engine_send(link->engine, slot->association, bytes) != HF_OK) {
        hf_engine_close_association(link->engine, slot->association, HF_CLOSE_NOTIFY);
        lose(link, number, HF_MAF_OUTCOME_BROKEN);
    }
}

/* Its CLOSE, if one is due, comes first: see hf_maf_link_take_wish(). */
static void connect_to(struct hf_maf_link *link, uint32_t number, const struct hf_address *address)
{
    struct link_socket *slot = &link->sockets[number];
    slot->uses++;
    slot->state = SOCKET_CONNECTING;
    slot->association = 0;
    slot->address = *address;
    slot->is_connect_due = true;
}

/* False: there was nothing to do. */
static bool take_actions(struct hf_maf_link *link)
{
    struct hf_maf_action action;
    uint32_t maf_index = 0;
    bool is_any = false;
    while (hf_key_service_take_action(link->service, &maf_index, &action)) {
        uint32_t number = maf_index * link->connections_max + action.connection;
        struct link_socket *slot = &link->sockets[number];
        is_any = true;
        switch (action.kind) {
        case HF_MAF_ACTION_CONNECT:
            connect_to(link, number, &action.address);
            break;
        case HF_MAF_ACTION_SEND:
            send_bytes(link, number, action.bytes);
            break;
        case HF_MAF_ACTION_CLOSE:
            slot->is_close_due = true;
            hf_engine_close_association(link->engine, slot->association, HF_CLOSE_NOTIFY);
            break;
        default:
            break;
        }
    }
    return is_any;
}

/* ---- a turn ------------------------------------------------------------------------------- */

void hf_maf_link_begin(struct hf_maf_link *link, uint64_t now_us, int64_t wall_s)
{
    hf_engine_begin_turn(link->engine, now_us, wall_s);
    hf_key_service_begin(link->service, now_us, wall_s);
}

void hf_maf_link_connected(struct hf_maf_link *link, uint32_t number)
{
    struct link_socket *slot = &link->sockets[number];
    const struct login *login = &link->logins[maf_of(link, number)];
    if (slot->state != SOCKET_CONNECTING || slot->is_close_due)
        return;
    slot->state = SOCKET_OPEN;
    const struct hf_connect connect = {
        .dialer_index = maf_of(link, number),
        .flavour = login->has_certificate ? HF_FLAVOUR_FQDN : HF_FLAVOUR_NONE,
        .entity_id = hf_maf_text_view(login->has_certificate ? login->fqdn : ""),
        .path = {.peer = slot->address},
        .user = (uint64_t)slot->uses << 32 | number,
        .server_name = hf_maf_text_view(login->fqdn),
        .psk_identity = login->psk_identity,
    };
    if (hf_engine_connect(&slot->association, link->engine, &connect) != HF_OK)
        lose(link, number, HF_MAF_OUTCOME_CONNECT);
}

void hf_maf_link_received(struct hf_maf_link *link, uint32_t number, uint8_t *data, size_t len)
{
    struct link_socket *slot = &link->sockets[number];
    for (int tries = 0; len > 0 && slot->association != 0 && tries < TRIES_MAX; tries++) {
        size_t consumed = 0;
        enum hf_status status =
            hf_engine_receive_stream(link->engine, &consumed, slot->association, data, len);
        data += consumed;
        len -= consumed;
        if (status == HF_E_STALE)
            break;
        hf_engine_end_turn(link->engine); /* keys are answered at once: nothing stays parked */
        hf_engine_run_jobs(link->engine);
        take_events(link);
    }
    if (len > 0 && slot->association != 0) {
        hf_engine_close_association(link->engine, slot->association, HF_CLOSE_NOTIFY);
        lose(link, number, HF_MAF_OUTCOME_BROKEN);
    }
}

void hf_maf_link_ended(struct hf_maf_link *link, uint32_t number)
{
    struct link_socket *slot = &link->sockets[number];
    if (slot->association != 0) {
        hf_engine_receive_end(link->engine, slot->association);
        take_events(link);
    }
    lose(link, number,
         slot->state == SOCKET_CONNECTING ? HF_MAF_OUTCOME_CONNECT : HF_MAF_OUTCOME_BROKEN);
}

void hf_maf_link_end(struct hf_maf_link *link)
{
    hf_engine_end_turn(link->engine);
    hf_engine_run_jobs(link->engine);
    do
        take_events(link);
    while (take_actions(link));
}

uint64_t hf_maf_link_next_us(const struct hf_maf_link *link)
{
    uint64_t engine_us = hf_engine_next_us(link->engine);
    uint64_t service_us = hf_key_service_next_us(link->service);
    return engine_us < service_us ? engine_us : service_us;
}

/* Output first: what a closing association says last is still said. */
bool hf_maf_link_take_wish(struct hf_maf_link *link, struct hf_maf_wish *out)
{
    struct hf_output output;
    while (hf_engine_take_output(link->engine, &output)) {
        const struct link_socket *slot = socket_of(link, output.user);
        if (slot == NULL || slot->state != SOCKET_OPEN)
            continue;
        *out = (struct hf_maf_wish){
            .kind = HF_MAF_WISH_WRITE, .socket_index = (uint32_t)output.user, .bytes = output.data};
        return true;
    }
    for (uint32_t i = 0; i < link->socket_count; i++) {
        struct link_socket *slot = &link->sockets[i];
        if (slot->is_close_due) {
            slot->is_close_due = false;
            if (!slot->is_connect_due) {
                slot->state = SOCKET_FREE;
                slot->uses++;
            }
            *out = (struct hf_maf_wish){.kind = HF_MAF_WISH_CLOSE, .socket_index = i};
            return true;
        }
        if (slot->is_connect_due) {
            slot->is_connect_due = false;
            *out = (struct hf_maf_wish){
                .kind = HF_MAF_WISH_CONNECT, .socket_index = i, .address = slot->address};
            return true;
        }
    }
    return false;
}
