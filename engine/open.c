/**
 * open.c - the steps of an established association, and the common ones of every state: alerts,
 * timeouts, closing.
 */
#include "association.h"
#include "flight.h"
#include "record.h"
#include "resume.h"
#include "route.h"
#include "steps.h"
#include "stream.h"

enum hf_status hf_open_data(struct hf_engine *engine, struct hf_association *association,
                            const struct hf_machine_event *event)
{
    if (association->flags & HF_ASSOCIATION_PEER_CLOSED)
        return HF_E_UNEXPECTED_MESSAGE; /* RFC 5246 7.2.1: nothing follows close_notify */
    if (event->body.len == 0)           /* legal, and the cheapest way to keep us busy */
        return ++association->warnings > HF_WARNINGS_MAX ? HF_E_WARNING_FLOOD : HF_OK;
    association->warnings = 0;
    struct hf_event *data = hf_association_event(engine, association, HF_EVENT_DATA);
    data->ecn = event->ecn;
    data->data = event->body;
    engine->counters.data_in_len += event->body.len;
    return HF_OK;
}

/** What only a peer in the other role may say: a row for it would be the wrong one. */
static enum hf_status refuse(struct hf_engine *engine, const struct hf_association *association)
{
    if (!hf_is_datagram(association))
        return HF_E_UNEXPECTED_MESSAGE;
    hf_drop_count(engine, HF_DROP_UNEXPECTED);
    return HF_DROPPED;
}

/** Renegotiation is always refused, and the association goes on (RFC 5246 7.2.2). */
enum hf_status hf_open_hello(struct hf_engine *engine, struct hf_association *association,
                             const struct hf_machine_event *event)
{
    if ((event->kind == HF_MACHINE_HELLO_REQUEST) != hf_is_client(association))
        return refuse(engine, association);
    if (++association->warnings > HF_WARNINGS_MAX)
        return HF_E_WARNING_FLOOD;
    hf_record_alert(engine, association, HF_ALERT_LEVEL_WARNING, HF_ALERT_NO_RENEGOTIATION);
    return HF_OK;
}

/** The peer has not heard our last flight: it is made again from the cold record. */
enum hf_status hf_open_finished(struct hf_engine *engine, struct hf_association *association,
                                const struct hf_machine_event *event)
{
    if (!hf_is_datagram(association) || event->message_seq != association->datagram.finished_seq)
        return HF_E_UNEXPECTED_MESSAGE;
    if (!(association->flags & HF_ASSOCIATION_LAST_WORD)) { /* it answers ours: let it rest */
        hf_drop_count(engine, HF_DROP_MESSAGE_SEQ);
        return HF_DROPPED;
    }
    engine->counters.final_flights_again++;
    hf_flight_final(engine, association);
    return HF_OK;
}

static enum hf_status take_close_notify(struct hf_engine *engine,
                                        struct hf_association *association)
{
    if (association->state != HF_STATE_OPEN || hf_is_datagram(association) ||
        association->flags & HF_ASSOCIATION_WRITE_CLOSED) {
        /* No half of a datagram association stays open: answer and end (RFC 5246 7.2.1). */
        if (!(association->flags & HF_ASSOCIATION_WRITE_CLOSED))
            hf_record_alert(engine, association, HF_ALERT_LEVEL_WARNING, HF_ALERT_CLOSE_NOTIFY);
        return HF_E_CLOSED_BY_PEER;
    }
    if (association->flags & HF_ASSOCIATION_PEER_CLOSED)
        return HF_OK;
    association->flags |= HF_ASSOCIATION_PEER_CLOSED;
    hf_association_event(engine, association, HF_EVENT_PEER_CLOSED);
    return HF_OK;
}

enum hf_status hf_open_alert(struct hf_engine *engine, struct hf_association *association,
                             const struct hf_machine_event *event)
{
    if (event->body.len != 2)
        return HF_E_DECODE;
    uint8_t level = event->body.data[0];
    uint8_t description = event->body.data[1];
    if (level != HF_ALERT_LEVEL_WARNING && level != HF_ALERT_LEVEL_FATAL)
        return HF_E_ILLEGAL_PARAMETER;
    if (description == HF_ALERT_CLOSE_NOTIFY)
        return take_close_notify(engine, association);
    if (level == HF_ALERT_LEVEL_WARNING)
        return ++association->warnings > HF_WARNINGS_MAX ? HF_E_WARNING_FLOOD : HF_OK;
    const struct hf_failure failure = {
        .status = HF_E_PEER_ALERT,
        .alert = description,
        .state = hf_machine_state_name((enum hf_state)association->state),
        .event = hf_machine_event_name(HF_MACHINE_ALERT),
        .clause = "RFC 5246 7.2.2",
    };
    hf_resume_forget(engine, association);
    hf_association_end(engine, association, &failure);
    return HF_E_PEER_ALERT;
}

static enum hf_status time_handshake(struct hf_engine *engine, struct hf_association *association,
                                     struct hf_handshake *handshake)
{
    if (engine->now_us >= handshake->deadline_us) {
        if (handshake->is_spoiled)
            return handshake->failure.status;
        return association->state == HF_STATE_SV_AWAIT_HELLO ? HF_E_HELLO_TIMEOUT
                                                             : HF_E_HANDSHAKE_TIMEOUT;
    }
    if (handshake->pending != HF_PENDING_NONE && !handshake->is_answered &&
        engine->now_us >= handshake->answer_deadline_us)
        return handshake->pending == HF_PENDING_JOB ? HF_E_JOB_TIMEOUT : HF_E_SOURCE_TIMEOUT;
    if (engine->now_us >= handshake->retransmit_us)
        hf_flight_again(engine, association, true);
    return HF_OK;
}

enum hf_status hf_open_timeout(struct hf_engine *engine, struct hf_association *association,
                               const struct hf_machine_event *event)
{
    (void)event;
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    uint32_t due;
    if (handshake)
        HF_TRY(time_handshake(engine, association, handshake));
    if (hf_stream_due(&due, engine, association) && (int32_t)(engine->now_tick - due) >= 0)
        return HF_E_RECORD_TIMEOUT;
    hf_route_time(engine, association);
    uint64_t idle_ticks = engine->config.idle_us_max / HF_TICK_US;
    uint64_t age_ticks = engine->config.age_us_max / HF_TICK_US;
    if (!handshake && idle_ticks && engine->now_tick - association->heard_tick > idle_ticks)
        return HF_E_IDLE_TIMEOUT;
    if (!handshake && age_ticks && engine->now_tick - association->opened_tick > age_ticks)
        return HF_E_AGE_LIMIT;
    hf_association_arm(engine, association);
    return HF_OK;
}

enum hf_status hf_open_close(struct hf_engine *engine, struct hf_association *association,
                             const struct hf_machine_event *event)
{
    bool is_half = event->how == HF_CLOSE_WRITE && !hf_is_datagram(association) &&
                   association->state == HF_STATE_OPEN &&
                   !(association->flags & HF_ASSOCIATION_PEER_CLOSED);
    if (!is_half) {
        if (event->how == HF_CLOSE_SILENT)
            association->flags |= HF_ASSOCIATION_WRITE_CLOSED; /* so that nothing is said */
        return event->reason;
    }
    if (!(association->flags & HF_ASSOCIATION_WRITE_CLOSED))
        hf_record_alert(engine, association, HF_ALERT_LEVEL_WARNING, HF_ALERT_CLOSE_NOTIFY);
    association->flags |= HF_ASSOCIATION_WRITE_CLOSED;
    return HF_OK;
}
