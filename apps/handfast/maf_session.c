/**
 * maf_session.c - a blocking socket, one engine, one reader: a tool has the time to wait.
 */
#include "maf_session.h"

#include "endpoint.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EXPORTER_LABEL "EXPORTER-oneM2M-Connection"
#define REQUEST_LEN_MAX (HF_MAF_BODY_MAX + 2048)

struct hf_maf_session {
    struct hf_maf_dial dial;
    struct hf_connect_options options;
    struct hf_connect_session tls; /* keys, certificates, engine; the loop is ours */
    struct hf_maf_reader *reader;
    uint32_t number; /* of requests */
    bool has_message;
    char request[REQUEST_LEN_MAX];
    char body[HF_MAF_BODY_MAX];
    uint8_t buffer[65536];
};

static bool fail(const struct hf_maf_session *session, const char *what)
{
    fprintf(stderr, "handfast: maf %s: %s\n", session->dial.fqdn, what);
    return false;
}

/* ---- the association ---------------------------------------------------------------------- */

static uint64_t clock_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

static bool open_socket(struct hf_maf_session *session)
{
    struct sockaddr_storage peer;
    const struct timeval patience = {.tv_sec = (time_t)(session->dial.timeout_us / 1000000)};
    socklen_t len = hf_endpoint_sockaddr(&peer, &session->dial.address);
    int fd = socket(peer.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    session->tls.fd = fd;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) != 0 ||
        connect(fd, (const struct sockaddr *)&peer, len) != 0)
        return fail(session, strerror(errno));
    return true;
}

static void begin_turn(struct hf_maf_session *session)
{
    hf_engine_begin_turn(session->tls.engine, clock_us(), (int64_t)time(NULL));
}

/* What follows the first whole response of what is left of `data` is not ours: one at a time. */
static bool take_data(struct hf_maf_session *session, struct hf_bytes data)
{
    size_t consumed = 0;
    if (session->has_message)
        return fail(session, "more than one answer");
    enum hf_maf_read verdict = hf_maf_reader_take(session->reader, &consumed, data);
    session->has_message = verdict == HF_MAF_READ_MESSAGE;
    return (verdict != HF_MAF_READ_BROKEN && consumed == data.len) ||
           fail(session, "what it answers is no HTTP, or over a limit");
}

static bool take_event(struct hf_maf_session *session, const struct hf_event *event)
{
    switch (event->kind) {
    case HF_EVENT_ESTABLISHED:
        session->tls.is_established = true;
        return true;
    case HF_EVENT_DATA:
        return take_data(session, event->data);
    case HF_EVENT_CLOSED:
    case HF_EVENT_HANDSHAKE_FAILED:
        session->tls.is_over = true;
        session->tls.failure = event->failure;
        return true;
    case HF_EVENT_PEER_CLOSED:
    case HF_EVENT_READABLE:
    case HF_EVENT_KEYLOG:
    case HF_EVENT_MOVED:
    case HF_EVENT_SESSION:
    default:
        return true;
    }
}

static bool write_all(struct hf_maf_session *session, struct hf_bytes data)
{
    while (data.len > 0) {
        ssize_t count = send(session->tls.fd, data.data, data.len, MSG_NOSIGNAL);
        if (count < 0 && errno != EINTR)
            return fail(session, strerror(errno));
        data.data += count > 0 ? count : 0;
        data.len -= count > 0 ? (size_t)count : 0;
    }
    return true;
}

static bool end_turn(struct hf_maf_session *session)
{
    struct hf_event event;
    struct hf_output output;
    bool is_good = true;
    hf_engine_end_turn(session->tls.engine);
    hf_engine_run_jobs(session->tls.engine);
    while (hf_engine_take_event(session->tls.engine, &event))
        is_good &= take_event(session, &event);
    while (hf_engine_take_output(session->tls.engine, &output))
        is_good = is_good && write_all(session, output.data);
    return is_good;
}

/* One read, and what follows from it. */
static bool receive(struct hf_maf_session *session)
{
    ssize_t got = recv(session->tls.fd, session->buffer, sizeof(session->buffer), 0);
    if (got < 0 && errno == EINTR)
        return true;
    if (got < 0)
        return fail(session, errno == EAGAIN ? "no answer in time" : strerror(errno));
    begin_turn(session);
    for (size_t done = 0; done < (size_t)got && !session->tls.is_over;) {
        size_t consumed = 0;
        (void)hf_engine_receive_stream(session->tls.engine, &consumed, session->tls.association,
                                       session->buffer + done, (size_t)got - done);
        done += consumed;
        if (done < (size_t)got && !end_turn(session))
            return false;
        if (done < (size_t)got)
            begin_turn(session);
    }
    if (got == 0)
        hf_engine_receive_end(session->tls.engine, session->tls.association);
    if (!end_turn(session))
        return false;
    return !session->tls.is_over || session->has_message ||
           fail(session, hf_status_text(session->tls.failure.status));
}

static bool shake_hands(struct hf_maf_session *session)
{
    bool has_trust = session->tls.trust != NULL;
    const struct hf_connect connect = {
        .path = {.peer = session->dial.address},
        .server_name = hf_maf_text_view(session->dial.fqdn),
        .psk_identity = session->tls.identity,
        .flavour = has_trust ? HF_FLAVOUR_FQDN : HF_FLAVOUR_NONE,
        .entity_id = has_trust ? hf_maf_text_view(session->dial.fqdn) : (struct hf_bytes){NULL, 0},
    };
    begin_turn(session);
    enum hf_status status =
        hf_engine_connect(&session->tls.association, session->tls.engine, &connect);
    if (status != HF_OK)
        return fail(session, hf_status_text(status));
    if (!end_turn(session))
        return false;
    while (!session->tls.is_established)
        if (!receive(session))
            return false;
    return true;
}

bool hf_maf_session_open(struct hf_maf_session **out, const struct hf_maf_dial *dial)
{
    struct hf_maf_session *session = calloc(1, sizeof(*session));
    if (session == NULL)
        return false;
    session->dial = *dial;
    session->options = (struct hf_connect_options){
        .transport = HF_TRANSPORT_TLS,
        .peer = dial->address,
        .psk_file = dial->psk_file,
        .identity = dial->identity,
        .cert = dial->cert,
        .key = dial->key,
        .ca = dial->ca,
        .crl = dial->crl,
        .server_name = dial->fqdn,
        .flavour = dial->ca != NULL ? HF_FLAVOUR_FQDN : HF_FLAVOUR_NONE,
        .is_ems_needed = true, /* the session exports keys */
        .timeout_us = dial->timeout_us,
    };
    bool is_good = hf_connect_open(&session->tls, &session->options) &&
                   hf_maf_reader_open(&session->reader, HF_MAF_CLIENT) == HF_OK &&
                   open_socket(session) && shake_hands(session);
    if (!is_good) {
        hf_maf_session_close(session);
        return false;
    }
    *out = session;
    return true;
}

void hf_maf_session_close(struct hf_maf_session *session)
{
    if (session == NULL)
        return;
    if (session->tls.is_established && !session->tls.is_over) {
        begin_turn(session);
        hf_engine_close_association(session->tls.engine, session->tls.association, HF_CLOSE_NOTIFY);
        (void)end_turn(session);
    }
    hf_maf_reader_close(session->reader);
    hf_connect_close(&session->tls); /* the socket, too */
    explicit_bzero(session, sizeof(*session));
    free(session);
}

/* ---- requests ----------------------------------------------------------------------------- */

bool hf_maf_session_ask(struct hf_maf_session *session, const struct hf_maf_message **message,
                        const struct hf_maf_request *request)
{
    struct hf_maf_request whole = *request;
    char number[16];
    snprintf(number, sizeof(number), "t%u", ++session->number);
    whole.host = hf_maf_text_view(session->dial.fqdn);
    whole.request_id = hf_maf_text_view(number);
    if (session->dial.origin != NULL)
        whole.origin = hf_maf_text_view(session->dial.origin);
    size_t len = hf_maf_http_write_request(session->request, sizeof(session->request), &whole);
    if (len == 0)
        return fail(session, "this request cannot be written");
    session->has_message = false;
    begin_turn(session);
    struct hf_bytes bytes = {(const uint8_t *)session->request, len};
    enum hf_status status = hf_engine_send(session->tls.engine, session->tls.association, bytes);
    explicit_bzero(session->request, len);
    if (status != HF_OK)
        return fail(session, hf_status_text(status));
    if (!end_turn(session))
        return false;
    while (!session->has_message)
        if (!receive(session))
            return false;
    *message = hf_maf_reader_message(session->reader);
    return true;
}

bool hf_maf_session_export(struct hf_maf_session *session, uint8_t kc_id[16], uint8_t kc[32])
{
    uint8_t material[48];
    enum hf_status status =
        hf_engine_export(material, sizeof(material), session->tls.engine, session->tls.association,
                         hf_maf_text_view(EXPORTER_LABEL), NULL);
    if (status != HF_OK)
        return fail(session, hf_status_text(status));
    memcpy(kc_id, material, 16);
    memcpy(kc, material + 16, 32);
    explicit_bzero(material, sizeof(material));
    return true;
}

/* ---- a key -------------------------------------------------------------------------------- */

/* TS-0003 8.3.9.9.5: what comes back must be what was asked for. */
static bool check_key(const struct hf_maf_session *session, const struct hf_maf_key_order *order,
                      const struct hf_maf_resource *asked)
{
    const struct hf_maf_resource *given = &order->given;
    const uint32_t needed = HF_MAF_HAS(RESOURCE_ID) | HF_MAF_HAS(EXPIRATION_TIME) |
                            HF_MAF_HAS(SOURCE_ID) | HF_MAF_HAS(ADMIN_FQDN) | HF_MAF_HAS(SUID) |
                            HF_MAF_HAS(TARGET_IDS);
    if ((given->has & needed) != needed)
        return fail(session, "its answer lacks something");
    if (given->expires_s <= (int64_t)time(NULL))
        return fail(session, "the key it registered has expired already");
    if (session->dial.origin != NULL && strcmp(given->client_id, session->dial.origin) != 0)
        return fail(session, "it registered the key for somebody else");
    if (strcmp(given->admin_fqdn, asked->admin_fqdn) != 0 || given->suid != asked->suid ||
        !hf_maf_list_equal(&given->target_ids, &asked->target_ids))
        return fail(session, "it registered something else than was asked for");
    return true;
}

static bool order_key(struct hf_maf_session *session, struct hf_maf_key_order *order,
                      struct hf_maf_resource *asked)
{
    const struct hf_maf_message *message = NULL;
    const char *why = NULL;
    char path[64];
    size_t len = hf_maf_resource_write(session->body, sizeof(session->body), asked);
    snprintf(path, sizeof(path), "/%s", hf_maf_name(HF_MAF_NAME_BASE));
    const struct hf_maf_request request = {.method = HF_MAF_CREATE,
                                           .target = hf_maf_text_view(path),
                                           .type = HF_MAF_TYPE_KEY_REGISTRATION,
                                           .body = {(const uint8_t *)session->body, len}};
    bool is_answered = len > 0 && hf_maf_session_ask(session, &message, &request);
    explicit_bzero(session->body, len);
    if (!is_answered)
        return len > 0 || fail(session, "this request cannot be written");
    if (message->rsc != HF_MAF_RSC_CREATED) {
        fprintf(stderr, "handfast: maf %s: refused with %u\n", session->dial.fqdn, message->rsc);
        return false;
    }
    return hf_maf_resource_read(&order->given, &why, HF_MAF_KEY_REGISTRATION, message->body)
               ? check_key(session, order, asked)
               : fail(session, why);
}

bool hf_maf_session_register_key(struct hf_maf_session *session, struct hf_maf_key_order *order,
                                 const uint8_t *key)
{
    static struct hf_maf_resource asked; /* large */
    uint8_t kc_id[16];
    asked = (struct hf_maf_resource){.kind = HF_MAF_KEY_REGISTRATION,
                                     .has = HF_MAF_HAS(ADMIN_FQDN) | HF_MAF_HAS(SUID) |
                                            HF_MAF_HAS(TARGET_IDS),
                                     .suid = HF_MAF_SUID_SAEF,
                                     .expires_s = order->expires_s};
    snprintf(asked.admin_fqdn, sizeof(asked.admin_fqdn), "%s", order->admin_fqdn);
    if (order->expires_s > 0)
        asked.has |= HF_MAF_HAS(EXPIRATION_TIME);
    bool is_good = hf_maf_list_add(&asked.target_ids, hf_maf_text_view(order->target)) ||
                   fail(session, "the target is too long");
    if (key != NULL) {
        asked.has |= HF_MAF_HAS(KEY_VALUE);
        asked.key_len = HF_MAF_KEY_MIN * 2;
        memcpy(asked.key, key, asked.key_len);
    }
    is_good = is_good && order_key(session, order, &asked);
    order->given.key_len = HF_MAF_KEY_MIN * 2;
    if (is_good && key == NULL)
        is_good = hf_maf_session_export(session, kc_id, order->given.key);
    else if (is_good)
        memcpy(order->given.key, key, order->given.key_len);
    hf_maf_resource_wipe(&asked);
    return is_good;
}
