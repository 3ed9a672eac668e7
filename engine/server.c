/**
 * server.c - the steps of the server's handshake, in the order they happen: hello, key exchange,
 * key, ChangeCipherSpec, Finished, identity. Plain PSK (RFC 4279 2) for TLS 1.2 and DTLS 1.2 alike;
 * what certificates have instead of key exchange and key is in certify.c.
 */
#include "association.h"
#include "answer.h"
#include "certify.h"
#include "cid.h"
#include "datagram.h"
#include "flight.h"
#include "fragment.h"
#include "hello.h"
#include "identity.h"
#include "keys.h"
#include "quota.h"
#include "resume.h"
#include "steps.h"
#include "stream.h"

enum hf_status hf_server_start(struct hf_engine *engine, struct hf_association *association,
                               const struct hf_machine_event *event)
{
    (void)event;
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    uint64_t limit =
        hf_is_datagram(association) ? engine->config.handshake_us_max : engine->config.hello_us_max;
    handshake->deadline_us = engine->now_us + limit;
    hf_association_arm(engine, association);
    return HF_OK;
}

static void apply_terms(struct hf_engine *engine, struct hf_association *association,
                        struct hf_handshake *handshake, const struct hf_terms *terms)
{
    handshake->terms = *terms;
    association->suite = terms->suite;
    if (terms->is_ems)
        association->flags |= HF_ASSOCIATION_EMS;
    if (terms->is_etm)
        association->flags |= HF_ASSOCIATION_ETM;
    if (terms->max_fragment_code) {
        association->plaintext_len_max = (uint16_t)(256u << terms->max_fragment_code);
        association->receive_len_max = association->plaintext_len_max;
    }
    if (terms->record_size_limit && terms->record_size_limit < HF_PLAINTEXT_LEN_MAX)
        association->plaintext_len_max = terms->record_size_limit;
    if (terms->has_cid && hf_listener_of(engine, association)->connection_id == HF_CONNECTION_ID_ON)
        hf_cid_begin(engine, association, &handshake->terms);
    hf_cid_settle(engine, association, &handshake->terms);
}

static void write_hello_flight(struct hf_engine *engine, struct hf_association *association,
                               struct hf_handshake *handshake)
{
    const struct hf_listener *listener = hf_listener_of(engine, association);
    hf_flight_begin(handshake);
    struct hf_flight_message message = hf_flight_open(handshake, HF_MESSAGE_SERVER_HELLO);
    hf_hello_write(&message.writer, &handshake->terms, hf_wire_version(association),
                   association->server_random);
    hf_flight_close(engine, association, &message);
    if (listener->psk_hint_len > 0) { /* RFC 4279 2: no hint, no ServerKeyExchange */
        message = hf_flight_open(handshake, HF_MESSAGE_SERVER_KEY_EXCHANGE);
        hf_writer_u16(&message.writer, listener->psk_hint_len);
        hf_writer_bytes(&message.writer, listener->psk_hint, listener->psk_hint_len);
        hf_flight_close(engine, association, &message);
    }
    message = hf_flight_open(handshake, HF_MESSAGE_SERVER_HELLO_DONE);
    hf_flight_close(engine, association, &message);
}

enum hf_status hf_server_hello(struct hf_engine *engine, struct hf_association *association,
                               const struct hf_machine_event *event)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    struct hf_hello hello;
    struct hf_terms terms;
    HF_TRY(hf_hello_read(&hello, event->body, hf_is_datagram(association)));
    HF_TRY(hf_hello_agree(&terms, hf_listener_of(engine, association), &hello));
    if (hf_listener_of(engine, association)->authority_count > 0)
        HF_TRY(hf_quota_move(
            engine, association,
            hf_listener_of(engine, association)->authorities[terms.authority_index].quota_index));
    memcpy(association->client_random, hello.random.data, HF_RANDOM_LEN);
    hf_random(association->server_random, HF_RANDOM_LEN);
    apply_terms(engine, association, handshake, &terms);
    hf_flight_hash(association, handshake, HF_MESSAGE_CLIENT_HELLO, event->message_seq,
                   event->body);
    handshake->deadline_us = engine->now_us + engine->config.handshake_us_max;
    bool is_session = false;
    hf_resume_prepare(engine, association, &hello);
    HF_TRY(hf_resume_find(&is_session, engine, association, &hello));
    if (!is_session)
        return hf_server_full(engine, association);
    handshake->way = HF_WAY_SESSION;
    hf_answer_expect(engine, association, HF_PENDING_SESSION, true);
    hf_association_arm(engine, association);
    return HF_OK;
}

enum hf_status hf_server_full(struct hf_engine *engine, struct hf_association *association)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    hf_resume_name(engine, association);
    if (hf_hello_key_exchange(association->suite) == HF_KEY_EXCHANGE_PSK) {
        handshake->way = HF_WAY_PSK;
        write_hello_flight(engine, association, handshake);
        hf_flight_await(engine, association);
    } else {
        handshake->way = HF_WAY_CERTIFICATE;
        HF_TRY(hf_certify_begin(engine, association));
    }
    hf_association_arm(engine, association);
    return HF_OK;
}

enum hf_status hf_server_exchange(struct hf_engine *engine, struct hf_association *association,
                                  const struct hf_machine_event *event)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    struct hf_reader reader = hf_reader_of(event->body);
    struct hf_bytes identity = hf_reader_vector(&reader, 2);
    if (!hf_reader_done(&reader))
        return HF_E_DECODE;
    hf_flight_answered(handshake);
    hf_flight_hash(association, handshake, HF_MESSAGE_CLIENT_KEY_EXCHANGE, event->message_seq,
                   event->body);
    if (association->flags & HF_ASSOCIATION_EMS)
        hf_keys_session_hash(handshake); /* before parking: what comes later is not part of it */
    bool is_askable = identity.len > 0 && identity.len <= engine->config.identity_len_max;
    size_t len = identity.len < engine->config.identity_len_max ? identity.len
                                                                : engine->config.identity_len_max;
    handshake->identity_len = (uint16_t)len;
    if (len > 0)
        memcpy(hf_handshake_identity(engine, handshake), identity.data, len);
    hf_answer_expect(engine, association, HF_PENDING_KEY, is_askable);
    hf_association_arm(engine, association);
    return HF_OK;
}

enum hf_status hf_server_key(struct hf_engine *engine, struct hf_association *association,
                             const struct hf_machine_event *event)
{
    (void)event;
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    hf_answer_taken(engine, handshake);
    if (handshake->answer_kind == HF_ANSWER_UNAVAILABLE)
        return HF_E_SOURCE_UNAVAILABLE;
    if (handshake->answer_kind == HF_ANSWER_REFUSED)
        handshake->refusal = HF_E_KEY_UNKNOWN;
    else if (hf_association_is_expired(engine, association))
        handshake->refusal = HF_E_KEY_EXPIRED;
    HF_TRY(hf_keys_psk(engine, association));
    hf_keys_begin(engine, association);
    return HF_OK;
}

enum hf_status hf_server_finished(struct hf_engine *engine, struct hf_association *association,
                                  const struct hf_machine_event *event)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    HF_TRY(hf_keys_check_finished(handshake, "client finished", event->body));
    if (handshake->refusal != HF_OK && !HF_FUZZ_ACCEPT)
        return handshake->refusal; /* nobody knows a decoy key; and if: it opens nothing */
    hf_flight_answered(handshake);
    hf_flight_hash(association, handshake, HF_MESSAGE_FINISHED, event->message_seq, event->body);
    if (hf_is_datagram(association))
        association->datagram.finished_seq = event->message_seq;
    hf_answer_expect(engine, association, HF_PENDING_IDENTITY, handshake->is_identity_following);
    hf_association_arm(engine, association);
    return HF_OK;
}

/** The last flight of a full handshake: [NewSessionTicket,] ChangeCipherSpec, Finished. */
static void send_last_flight(struct hf_engine *engine, struct hf_association *association,
                             struct hf_handshake *handshake)
{
    uint8_t ticket[HF_TICKET_BODY_MAX];
    hf_resume_date(engine, association);
    if (association->flags & HF_ASSOCIATION_TICKET) {
        size_t len = hf_resume_ticket(ticket, engine, association);
        hf_flight_hash(association, handshake, HF_MESSAGE_NEW_SESSION_TICKET, handshake->send_seq++,
                       (struct hf_bytes){ticket, len});
    }
    hf_keys_verify_data(association->verify_data, handshake, "server finished");
    if (hf_is_datagram(association))
        association->datagram.reply_seq = handshake->send_seq;
    hf_flight_final(engine, association);
    association->flags |= HF_ASSOCIATION_WRITE_PROTECTED | HF_ASSOCIATION_LAST_WORD;
    hf_resume_store(engine, association);
}

enum hf_status hf_server_bind(struct hf_engine *engine, struct hf_association *association,
                              const struct hf_machine_event *event)
{
    (void)event;
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    HF_TRY(hf_answer_bound(engine, association));
    if (!hf_certify_is_admitted(engine, association))
        return HF_E_IDENTITY_REFUSED;
    HF_TRY(hf_stream_keep(engine, association));
    hf_datagram_keep(engine, association);
    if (handshake->way == HF_WAY_RESUMED)
        engine->counters.resumed++;
    else
        send_last_flight(engine, association, handshake);
    hf_association_event(engine, association, HF_EVENT_ESTABLISHED);
    if (handshake->predecessor != HF_NONE) { /* RFC 6347 4.2.8: now, and not before */
        engine->counters.restarts++;
        hf_machine_fail(engine, hf_association_at(engine, handshake->predecessor), HF_E_SUPERSEDED,
                        HF_MACHINE_CLOSE, "RFC 6347 4.2.8");
    }
    hf_association_establish(engine, association);
    return HF_OK;
}
