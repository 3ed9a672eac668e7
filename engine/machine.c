/**
 * machine.c - see machine.h.
 */
#include "machine.h"

#include "association.h"
#include "record.h"
#include "resume.h"
#include "route.h"
#include "steps.h"

#define ANY HF_STATE_COUNT
#define SAME HF_STATE_FREE

static const struct hf_row rows[] = {
    {HF_STATE_SV_START, HF_MACHINE_START, hf_server_start, HF_STATE_SV_AWAIT_HELLO, "RFC 5246 7.3",
     HF_WAY_ANY},
    {HF_STATE_SV_AWAIT_HELLO, HF_MACHINE_CLIENT_HELLO, hf_server_hello, HF_STATE_SV_AWAIT_EXCHANGE,
     "RFC 5246 7.4.1.2", HF_WAY_PSK},
    {HF_STATE_SV_AWAIT_HELLO, HF_MACHINE_CLIENT_HELLO, hf_server_hello, HF_STATE_SV_AWAIT_OFFER,
     "RFC 5246 7.4.1.2", HF_WAY_CERTIFICATE},
    {HF_STATE_SV_AWAIT_HELLO, HF_MACHINE_CLIENT_HELLO, hf_server_hello, HF_STATE_SV_AWAIT_SESSION,
     "RFC 5246 7.4.1.2", HF_WAY_SESSION},
    {HF_STATE_SV_AWAIT_SESSION, HF_MACHINE_ANSWER, hf_resume_answer, HF_STATE_SV_AWAIT_EXCHANGE,
     "RFC 5077 3.1", HF_WAY_PSK},
    {HF_STATE_SV_AWAIT_SESSION, HF_MACHINE_ANSWER, hf_resume_answer, HF_STATE_SV_AWAIT_OFFER,
     "RFC 5077 3.1", HF_WAY_CERTIFICATE},
    {HF_STATE_SV_AWAIT_SESSION, HF_MACHINE_ANSWER, hf_resume_answer, HF_STATE_SV_RESUMED_AWAIT_CCS,
     "RFC 5077 3.1", HF_WAY_RESUMED},
    {HF_STATE_SV_RESUMED_AWAIT_CCS, HF_MACHINE_CHANGE_CIPHER_SPEC, hf_keys_ccs,
     HF_STATE_SV_AWAIT_FINISHED, "RFC 5246 7.3", HF_WAY_ANY},
    {HF_STATE_SV_AWAIT_EXCHANGE, HF_MACHINE_CLIENT_KEY_EXCHANGE, hf_server_exchange,
     HF_STATE_SV_AWAIT_KEY, "RFC 4279 2", HF_WAY_ANY},
    {HF_STATE_SV_AWAIT_KEY, HF_MACHINE_ANSWER, hf_server_key, HF_STATE_SV_AWAIT_CCS,
     "TS-0003 8.2.2.1", HF_WAY_ANY},
    {HF_STATE_SV_AWAIT_OFFER, HF_MACHINE_JOB, hf_certify_offer, HF_STATE_SV_AWAIT_CERTIFICATE,
     "RFC 8422 5.4", HF_WAY_ANY},
    {HF_STATE_SV_AWAIT_CERTIFICATE, HF_MACHINE_CERTIFICATE, hf_certify_certificate,
     HF_STATE_SV_AWAIT_SHARE, "TS-0003 8.2.2.2", HF_WAY_ANY},
    {HF_STATE_SV_AWAIT_SHARE, HF_MACHINE_CLIENT_KEY_EXCHANGE, hf_certify_share,
     HF_STATE_SV_AWAIT_VERIFY, "RFC 8422 5.7", HF_WAY_ANY},
    {HF_STATE_SV_AWAIT_VERIFY, HF_MACHINE_CERTIFICATE_VERIFY, hf_certify_verify,
     HF_STATE_SV_AWAIT_PROOF, "RFC 5246 7.4.8", HF_WAY_ANY},
    {HF_STATE_SV_AWAIT_PROOF, HF_MACHINE_JOB, hf_certify_proof, HF_STATE_SV_AWAIT_CCS,
     "TS-0003 8.1.2", HF_WAY_ANY},
    {HF_STATE_SV_AWAIT_CCS, HF_MACHINE_CHANGE_CIPHER_SPEC, hf_keys_ccs, HF_STATE_SV_AWAIT_FINISHED,
     "RFC 5246 7.1", HF_WAY_ANY},
    {HF_STATE_SV_AWAIT_FINISHED, HF_MACHINE_FINISHED, hf_server_finished,
     HF_STATE_SV_AWAIT_IDENTITY, "RFC 5246 7.4.9", HF_WAY_ANY},
    {HF_STATE_SV_AWAIT_IDENTITY, HF_MACHINE_ANSWER, hf_server_bind, HF_STATE_OPEN, "TS-0003 8.2.1",
     HF_WAY_ANY},
    {HF_STATE_CL_START, HF_MACHINE_START, hf_client_start, HF_STATE_CL_AWAIT_HELLO,
     "RFC 5246 7.4.1.2", HF_WAY_ANY},
    {HF_STATE_CL_AWAIT_HELLO, HF_MACHINE_HELLO_REQUEST, hf_client_request, SAME, "RFC 5246 7.4.1.1",
     HF_WAY_ANY},
    {HF_STATE_CL_AWAIT_HELLO, HF_MACHINE_HELLO_VERIFY, hf_client_verify, SAME, "RFC 6347 4.2.1",
     HF_WAY_ANY},
    {HF_STATE_CL_AWAIT_HELLO, HF_MACHINE_SERVER_HELLO, hf_client_hello, HF_STATE_CL_AWAIT_EXCHANGE,
     "RFC 5246 7.4.1.3", HF_WAY_PSK},
    {HF_STATE_CL_AWAIT_HELLO, HF_MACHINE_SERVER_HELLO, hf_client_hello,
     HF_STATE_CL_AWAIT_CERTIFICATE, "RFC 5246 7.4.1.3", HF_WAY_CERTIFICATE},
    {HF_STATE_CL_AWAIT_HELLO, HF_MACHINE_SERVER_HELLO, hf_client_hello,
     HF_STATE_CL_RESUMED_AWAIT_CCS, "RFC 5246 7.4.1.3", HF_WAY_RESUMED},
    {HF_STATE_CL_RESUMED_AWAIT_CCS, HF_MACHINE_NEW_SESSION_TICKET, hf_recall_new_ticket, SAME,
     "RFC 5077 3.3", HF_WAY_ANY},
    {HF_STATE_CL_RESUMED_AWAIT_CCS, HF_MACHINE_CHANGE_CIPHER_SPEC, hf_keys_ccs,
     HF_STATE_CL_AWAIT_FINISHED, "RFC 5246 7.1", HF_WAY_ANY},
    {HF_STATE_CL_AWAIT_EXCHANGE, HF_MACHINE_SERVER_KEY_EXCHANGE, hf_client_hint,
     HF_STATE_CL_AWAIT_DONE, "RFC 4279 2", HF_WAY_ANY},
    {HF_STATE_CL_AWAIT_EXCHANGE, HF_MACHINE_SERVER_HELLO_DONE, hf_client_done,
     HF_STATE_CL_AWAIT_KEY, "RFC 5246 7.4.5", HF_WAY_ANY},
    {HF_STATE_CL_AWAIT_CERTIFICATE, HF_MACHINE_CERTIFICATE, hf_prove_certificate,
     HF_STATE_CL_AWAIT_SHARE, "TS-0003 8.2.2.2", HF_WAY_ANY},
    {HF_STATE_CL_AWAIT_SHARE, HF_MACHINE_SERVER_KEY_EXCHANGE, hf_prove_share,
     HF_STATE_CL_AWAIT_REQUEST, "RFC 8422 5.4", HF_WAY_ANY},
    {HF_STATE_CL_AWAIT_REQUEST, HF_MACHINE_CERTIFICATE_REQUEST, hf_prove_request,
     HF_STATE_CL_AWAIT_DONE, "RFC 5246 7.4.4", HF_WAY_ANY},
    {HF_STATE_CL_AWAIT_DONE, HF_MACHINE_SERVER_HELLO_DONE, hf_client_done, HF_STATE_CL_AWAIT_KEY,
     "RFC 5246 7.4.5", HF_WAY_PSK},
    {HF_STATE_CL_AWAIT_DONE, HF_MACHINE_SERVER_HELLO_DONE, hf_client_done, HF_STATE_CL_AWAIT_PROOF,
     "RFC 5246 7.4.5", HF_WAY_CERTIFICATE},
    {HF_STATE_CL_AWAIT_KEY, HF_MACHINE_ANSWER, hf_client_key, HF_STATE_CL_AWAIT_CCS,
     "TS-0003 8.2.2.1", HF_WAY_ANY},
    {HF_STATE_CL_AWAIT_PROOF, HF_MACHINE_JOB, hf_prove_proof, HF_STATE_CL_AWAIT_SIGN,
     "TS-0003 8.1.2", HF_WAY_ANY},
    {HF_STATE_CL_AWAIT_SIGN, HF_MACHINE_JOB, hf_prove_sign, HF_STATE_CL_AWAIT_CCS, "RFC 5246 7.4.8",
     HF_WAY_ANY},
    {HF_STATE_CL_AWAIT_CCS, HF_MACHINE_NEW_SESSION_TICKET, hf_recall_new_ticket, SAME,
     "RFC 5077 3.3", HF_WAY_ANY},
    {HF_STATE_CL_AWAIT_CCS, HF_MACHINE_CHANGE_CIPHER_SPEC, hf_keys_ccs, HF_STATE_CL_AWAIT_FINISHED,
     "RFC 5246 7.1", HF_WAY_ANY},
    {HF_STATE_CL_AWAIT_FINISHED, HF_MACHINE_FINISHED, hf_client_finished,
     HF_STATE_CL_AWAIT_IDENTITY, "RFC 5246 7.4.9", HF_WAY_ANY},
    {HF_STATE_CL_AWAIT_IDENTITY, HF_MACHINE_ANSWER, hf_client_bind, HF_STATE_OPEN, "TS-0003 8.2.1",
     HF_WAY_ANY},
    {HF_STATE_OPEN, HF_MACHINE_DATA, hf_open_data, SAME, "RFC 5246 10", HF_WAY_ANY},
    {HF_STATE_OPEN, HF_MACHINE_ROUTE, hf_route_take, SAME, "RFC 9853 5", HF_WAY_ANY},
    {HF_STATE_OPEN, HF_MACHINE_CLIENT_HELLO, hf_open_hello, SAME, "RFC 5246 7.2.2", HF_WAY_ANY},
    {HF_STATE_OPEN, HF_MACHINE_HELLO_REQUEST, hf_open_hello, SAME, "RFC 5246 7.2.2", HF_WAY_ANY},
    {HF_STATE_OPEN, HF_MACHINE_FINISHED, hf_open_finished, SAME, "RFC 6347 4.2.4", HF_WAY_ANY},
    {ANY, HF_MACHINE_ALERT, hf_open_alert, SAME, "RFC 5246 7.2", HF_WAY_ANY},
    {ANY, HF_MACHINE_TIMEOUT, hf_open_timeout, SAME, "RFC 6347 4.2.4.1", HF_WAY_ANY},
    {ANY, HF_MACHINE_CLOSE, hf_open_close, SAME, "RFC 5246 7.2.1", HF_WAY_ANY},
};

static const char *const state_names[] = {
    [HF_STATE_FREE] = "FREE",
    [HF_STATE_SV_START] = "SV_START",
    [HF_STATE_SV_AWAIT_HELLO] = "SV_AWAIT_HELLO",
    [HF_STATE_SV_AWAIT_SESSION] = "SV_AWAIT_SESSION",
    [HF_STATE_SV_RESUMED_AWAIT_CCS] = "SV_RESUMED_AWAIT_CCS",
    [HF_STATE_SV_AWAIT_OFFER] = "SV_AWAIT_OFFER",
    [HF_STATE_SV_AWAIT_EXCHANGE] = "SV_AWAIT_EXCHANGE",
    [HF_STATE_SV_AWAIT_KEY] = "SV_AWAIT_KEY",
    [HF_STATE_SV_AWAIT_CERTIFICATE] = "SV_AWAIT_CERTIFICATE",
    [HF_STATE_SV_AWAIT_SHARE] = "SV_AWAIT_SHARE",
    [HF_STATE_SV_AWAIT_VERIFY] = "SV_AWAIT_VERIFY",
    [HF_STATE_SV_AWAIT_PROOF] = "SV_AWAIT_PROOF",
    [HF_STATE_SV_AWAIT_CCS] = "SV_AWAIT_CCS",
    [HF_STATE_SV_AWAIT_FINISHED] = "SV_AWAIT_FINISHED",
    [HF_STATE_SV_AWAIT_IDENTITY] = "SV_AWAIT_IDENTITY",
    [HF_STATE_CL_START] = "CL_START",
    [HF_STATE_CL_AWAIT_HELLO] = "CL_AWAIT_HELLO",
    [HF_STATE_CL_AWAIT_EXCHANGE] = "CL_AWAIT_EXCHANGE",
    [HF_STATE_CL_AWAIT_CERTIFICATE] = "CL_AWAIT_CERTIFICATE",
    [HF_STATE_CL_AWAIT_SHARE] = "CL_AWAIT_SHARE",
    [HF_STATE_CL_AWAIT_REQUEST] = "CL_AWAIT_REQUEST",
    [HF_STATE_CL_AWAIT_DONE] = "CL_AWAIT_DONE",
    [HF_STATE_CL_AWAIT_KEY] = "CL_AWAIT_KEY",
    [HF_STATE_CL_AWAIT_PROOF] = "CL_AWAIT_PROOF",
    [HF_STATE_CL_AWAIT_SIGN] = "CL_AWAIT_SIGN",
    [HF_STATE_CL_RESUMED_AWAIT_CCS] = "CL_RESUMED_AWAIT_CCS",
    [HF_STATE_CL_AWAIT_CCS] = "CL_AWAIT_CCS",
    [HF_STATE_CL_AWAIT_FINISHED] = "CL_AWAIT_FINISHED",
    [HF_STATE_CL_AWAIT_IDENTITY] = "CL_AWAIT_IDENTITY",
    [HF_STATE_OPEN] = "OPEN",
    [HF_STATE_COUNT] = "ANY",
};

static const char *const event_names[] = {
    [HF_MACHINE_START] = "START",
    [HF_MACHINE_CLIENT_HELLO] = "ClientHello",
    [HF_MACHINE_HELLO_REQUEST] = "HelloRequest",
    [HF_MACHINE_HELLO_VERIFY] = "HelloVerifyRequest",
    [HF_MACHINE_SERVER_HELLO] = "ServerHello",
    [HF_MACHINE_CERTIFICATE] = "Certificate",
    [HF_MACHINE_SERVER_KEY_EXCHANGE] = "ServerKeyExchange",
    [HF_MACHINE_CERTIFICATE_REQUEST] = "CertificateRequest",
    [HF_MACHINE_SERVER_HELLO_DONE] = "ServerHelloDone",
    [HF_MACHINE_NEW_SESSION_TICKET] = "NewSessionTicket",
    [HF_MACHINE_CLIENT_KEY_EXCHANGE] = "ClientKeyExchange",
    [HF_MACHINE_CERTIFICATE_VERIFY] = "CertificateVerify",
    [HF_MACHINE_CHANGE_CIPHER_SPEC] = "ChangeCipherSpec",
    [HF_MACHINE_FINISHED] = "Finished",
    [HF_MACHINE_OTHER_MESSAGE] = "other message",
    [HF_MACHINE_DATA] = "application data",
    [HF_MACHINE_ROUTE] = "return_routability_check",
    [HF_MACHINE_JOB] = "JOB",
    [HF_MACHINE_ANSWER] = "ANSWER",
    [HF_MACHINE_TIMEOUT] = "TIMEOUT",
    [HF_MACHINE_CLOSE] = "CLOSE",
    [HF_MACHINE_ALERT] = "ALERT",
};

const struct hf_row *hf_machine_rows(size_t *count)
{
    *count = sizeof rows / sizeof rows[0];
    return rows;
}

const char *hf_machine_state_name(enum hf_state state)
{
    return state_names[state];
}

const char *hf_machine_event_name(enum hf_machine_event_kind event)
{
    return event_names[event];
}

enum hf_machine_event_kind hf_machine_message(uint8_t message_type)
{
    switch (message_type) {
    case HF_MESSAGE_CLIENT_HELLO:
        return HF_MACHINE_CLIENT_HELLO;
    case HF_MESSAGE_HELLO_REQUEST:
        return HF_MACHINE_HELLO_REQUEST;
    case HF_MESSAGE_HELLO_VERIFY_REQUEST:
        return HF_MACHINE_HELLO_VERIFY;
    case HF_MESSAGE_SERVER_HELLO:
        return HF_MACHINE_SERVER_HELLO;
    case HF_MESSAGE_CERTIFICATE:
        return HF_MACHINE_CERTIFICATE;
    case HF_MESSAGE_SERVER_KEY_EXCHANGE:
        return HF_MACHINE_SERVER_KEY_EXCHANGE;
    case HF_MESSAGE_CERTIFICATE_REQUEST:
        return HF_MACHINE_CERTIFICATE_REQUEST;
    case HF_MESSAGE_NEW_SESSION_TICKET:
        return HF_MACHINE_NEW_SESSION_TICKET;
    case HF_MESSAGE_SERVER_HELLO_DONE:
        return HF_MACHINE_SERVER_HELLO_DONE;
    case HF_MESSAGE_CLIENT_KEY_EXCHANGE:
        return HF_MACHINE_CLIENT_KEY_EXCHANGE;
    case HF_MESSAGE_CERTIFICATE_VERIFY:
        return HF_MACHINE_CERTIFICATE_VERIFY;
    case HF_MESSAGE_FINISHED:
        return HF_MACHINE_FINISHED;
    default:
        return HF_MACHINE_OTHER_MESSAGE;
    }
}

/** The row of the same state and event that fits the way the step has settled on. */
static const struct hf_row *row_of_way(const struct hf_row *row, enum hf_way way)
{
    const struct hf_row *end = rows + sizeof rows / sizeof rows[0];
    for (const struct hf_row *other = row; other < end; other++) {
        if (other->state == row->state && other->event == row->event && other->way == way)
            return other;
    }
    HF_ASSERT(false);
    return row;
}

void hf_machine_index(uint8_t first_rows[HF_STATE_COUNT + 1])
{
    size_t count = sizeof rows / sizeof rows[0];
    memset(first_rows, (int)count, HF_STATE_COUNT + 1);
    for (size_t i = count; i-- > 0;) {
        bool is_together = first_rows[rows[i].state] == count || rows[i + 1].state == rows[i].state;
        HF_ASSERT(is_together);
        first_rows[rows[i].state] = (uint8_t)i;
    }
}

/** Among the rows of one state, which lie together. */
static const struct hf_row *row_among(const struct hf_engine *engine, enum hf_state state,
                                      enum hf_machine_event_kind event)
{
    const struct hf_row *end = rows + sizeof rows / sizeof rows[0];
    for (const struct hf_row *row = rows + engine->first_rows[state];
         row < end && row->state == state; row++) {
        if (row->event == event)
            return row;
    }
    return NULL;
}

static const struct hf_row *row_for(const struct hf_engine *engine, enum hf_state state,
                                    enum hf_machine_event_kind event)
{
    const struct hf_row *row = row_among(engine, state, event);
    return row ? row : row_among(engine, ANY, event);
}

/** Anyone who knows a DTLS peer's address could have sent it: a hello has shown its cookie, and
 *  what came protected has shown its key; the rest of the handshake is plain. */
static bool is_spoofable(const struct hf_association *association, enum hf_machine_event_kind event)
{
    return hf_is_datagram(association) && association->handshake != HF_NONE &&
           !(association->flags & HF_ASSOCIATION_READ_PROTECTED) &&
           event > HF_MACHINE_CLIENT_HELLO && event <= HF_MACHINE_OTHER_MESSAGE;
}

/** Notes the failure, so that the reason is known when the handshake runs out of time. */
static enum hf_status forgive(struct hf_engine *engine, struct hf_association *association,
                              enum hf_status status, enum hf_machine_event_kind event,
                              const char *clause)
{
    const struct hf_failure failure = {
        .status = status,
        .alert = HF_ALERT_NONE,
        .state = state_names[association->state],
        .event = event_names[event],
        .clause = clause,
    };
    hf_handshake_spoil(engine, hf_handshake_of(engine, association), &failure);
    return HF_DROPPED;
}

enum hf_status hf_machine_fail(struct hf_engine *engine, struct hf_association *association,
                               enum hf_status status, enum hf_machine_event_kind event,
                               const char *clause)
{
    struct hf_failure failure = {
        .status = status,
        .alert = hf_status_alert(status),
        .state = state_names[association->state],
        .event = event_names[event],
        .clause = clause,
    };
    bool is_timeout = event == HF_MACHINE_TIMEOUT;
    bool is_record = hf_status_class(status) == HF_CLASS_CRYPTO && event != HF_MACHINE_JOB;
    bool is_silent = hf_is_datagram(association) && (is_timeout || is_record);
    if (failure.alert != HF_ALERT_NONE && !is_silent &&
        !(association->flags & HF_ASSOCIATION_WRITE_CLOSED))
        hf_record_alert(engine, association,
                        failure.alert == HF_ALERT_CLOSE_NOTIFY ? HF_ALERT_LEVEL_WARNING
                                                               : HF_ALERT_LEVEL_FATAL,
                        failure.alert);
    if (failure.alert != HF_ALERT_CLOSE_NOTIFY && failure.alert != HF_ALERT_NONE)
        hf_resume_forget(engine, association);
    if (status == HF_E_PEER_ALERT && association->handshake != HF_NONE)
        failure.alert = hf_handshake_of(engine, association)->failure.alert; /* the one received */
    hf_association_end(engine, association, &failure);
    return status;
}

enum hf_status hf_machine_run(struct hf_engine *engine, struct hf_association *association,
                              const struct hf_machine_event *event)
{
    const struct hf_row *row = row_for(engine, (enum hf_state)association->state, event->kind);
    enum hf_status status = row ? row->step(engine, association, event) : HF_E_UNEXPECTED_MESSAGE;
    const char *clause = row ? row->clause : "";
    if (status == HF_OK) {
        if (row->way != HF_WAY_ANY)
            row = row_of_way(row, (enum hf_way)hf_handshake_of(engine, association)->way);
        if (row->next != SAME)
            association->state = (uint8_t)row->next;
        return HF_OK;
    }
    if (status == HF_WAITING || status == HF_DROPPED || association->state == HF_STATE_FREE)
        return status;
    bool is_from_wire = event->kind != HF_MACHINE_ANSWER && event->kind != HF_MACHINE_JOB;
    if (!row && hf_is_datagram(association) && is_from_wire) {
        hf_drop_count(engine, HF_DROP_UNEXPECTED);
        return is_spoofable(association, event->kind)
                   ? forgive(engine, association, status, event->kind, clause)
                   : HF_DROPPED;
    }
    /* A message that is well formed and says something unwelcome has entered the transcript in the
     * peer's place, whoever sent it: there is nothing left to wait for. */
    if (is_spoofable(association, event->kind) && hf_status_class(status) != HF_CLASS_AUTH) {
        hf_drop_count(engine, HF_DROP_MALFORMED);
        return forgive(engine, association, status, event->kind, clause);
    }
    return hf_machine_fail(engine, association, status, event->kind, clause);
}
