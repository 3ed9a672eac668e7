/**
 * client.c - the steps of the client's handshake, in the order they happen: hello, cookie, the
 * server's flight, key, Finished, identity. Plain PSK (RFC 4279 2) for TLS 1.2 and DTLS 1.2 alike;
 * what certificates have instead is in prove.c.
 */
#include "client.h"

#include "answer.h"
#include "association.h"
#include "authority.h"
#include "cid.h"
#include "datagram.h"
#include "flight.h"
#include "identity.h"
#include "keys.h"
#include "offer.h"
#include "hello.h"
#include "path.h"
#include "prove.h"
#include "recall.h"
#include "steps.h"
#include "stream.h"

#include <handfast/pair.h>

#define HF_VERIFIES_MAX                                                                            \
    8 /* HelloVerifyRequests in one handshake; an honest one takes one or two                      \
       */

/** Writes the ClientHello as a flight of its own: the only message so far. */
static void write_hello(const struct hf_engine *engine, struct hf_association *association,
                        struct hf_handshake *handshake, struct hf_bytes cookie)
{
    hf_flight_begin(handshake);
    hf_sha256_init(&handshake->transcript); /* RFC 6347 4.2.6: without hello and verify before */
    struct hf_flight_message message = hf_flight_open(handshake, HF_MESSAGE_CLIENT_HELLO);
    hf_offer_write(&message.writer, hf_dialer_of(engine, association), handshake,
                   association->client_random, cookie);
    message.tail = handshake->ticket_len > 0 ? HF_TAIL_TICKET : HF_TAIL_NONE;
    hf_flight_close(engine, association, &message);
}

/** What is offered: the same in the hello that returns a cookie. */
static void begin_cid(struct hf_engine *engine, struct hf_association *association,
                      struct hf_handshake *handshake)
{
    const struct hf_dialer *dialer = hf_dialer_of(engine, association);
    struct hf_terms *terms = &handshake->terms;
    if (!hf_is_datagram(association) || dialer->connection_id == HF_CONNECTION_ID_OFF)
        return;
    terms->has_cid = true;
    terms->has_rrc = dialer->return_routability;
    if (dialer->connection_id == HF_CONNECTION_ID_ON)
        hf_cid_begin(engine, association, terms);
}

enum hf_status hf_client_start(struct hf_engine *engine, struct hf_association *association,
                               const struct hf_machine_event *event)
{
    (void)event;
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    hf_random(association->client_random, HF_RANDOM_LEN);
    begin_cid(engine, association, handshake);
    write_hello(engine, association, handshake, (struct hf_bytes){NULL, 0});
    handshake->deadline_us = engine->now_us + engine->config.handshake_us_max;
    hf_flight_await(engine, association);
    hf_association_arm(engine, association);
    return HF_OK;
}

/** RFC 5246 7.4.1.1: ignored while a handshake is under way. */
enum hf_status hf_client_request(struct hf_engine *engine, struct hf_association *association,
                                 const struct hf_machine_event *event)
{
    if (event->body.len != 0)
        return HF_E_DECODE;
    if (!hf_is_datagram(association))
        return ++association->warnings > HF_WARNINGS_MAX ? HF_E_WARNING_FLOOD : HF_OK;
    hf_drop_count(engine, HF_DROP_UNEXPECTED); /* must not take the place of a message */
    return HF_DROPPED;
}

enum hf_status hf_client_verify(struct hf_engine *engine, struct hf_association *association,
                                const struct hf_machine_event *event)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    struct hf_reader reader = hf_reader_of(event->body);
    (void)hf_reader_u16(&reader); /* RFC 6347 4.2.1: says nothing about the version */
    struct hf_bytes cookie = hf_reader_vector(&reader, 1);
    if (!hf_is_datagram(association))
        return HF_E_UNEXPECTED_MESSAGE;
    if (!hf_reader_done(&reader))
        return HF_E_DECODE;
    if (handshake->verify_count == HF_VERIFIES_MAX)
        return HF_E_UNEXPECTED_MESSAGE;
    handshake->verify_count++;
    write_hello(engine, association, handshake, cookie);
    hf_flight_await(engine, association);
    hf_association_arm(engine, association);
    return HF_OK;
}

/** Takes the server's hello, unless it fits neither what was offered nor the session: then nothing
 *  has changed, for the one it was made to look like may still come. */
static enum hf_status accept_hello(struct hf_engine *engine, struct hf_association *association,
                                   struct hf_bytes body)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    const struct hf_terms offered = handshake->terms;
    uint16_t ticket_len = handshake->ticket_len;
    HF_TRY(hf_offer_accept(handshake, association->server_random, hf_dialer_of(engine, association),
                           body));
    bool is_psk = hf_hello_key_exchange(handshake->terms.suite) == HF_KEY_EXCHANGE_PSK;
    handshake->way = handshake->is_recalled ? HF_WAY_RESUMED
                     : is_psk               ? HF_WAY_PSK
                                            : HF_WAY_CERTIFICATE;
    enum hf_status status = HF_OK;
    if (handshake->is_recalled)
        status = hf_recall_accept(engine, association);
    if (handshake->way == HF_WAY_CERTIFICATE)
        status = hf_prove_begin(engine, association);
    if (status != HF_OK) {
        handshake->terms = offered;
        handshake->ticket_len = ticket_len;
        handshake->is_recalled = false;
    }
    return status;
}

enum hf_status hf_client_hello(struct hf_engine *engine, struct hf_association *association,
                               const struct hf_machine_event *event)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    const struct hf_terms *terms = &handshake->terms;
    HF_TRY(accept_hello(engine, association, event->body));
    association->suite = terms->suite;
    if (terms->is_ems)
        association->flags |= HF_ASSOCIATION_EMS;
    if (terms->is_etm)
        association->flags |= HF_ASSOCIATION_ETM;
    if (terms->max_fragment_code) {
        association->plaintext_len_max = (uint16_t)(256u << terms->max_fragment_code);
        association->receive_len_max = association->plaintext_len_max;
    }
    hf_cid_settle(engine, association, terms);
    hf_flight_hash(association, handshake, HF_MESSAGE_SERVER_HELLO, event->message_seq,
                   event->body);
    if (handshake->is_recalled)
        hf_keys_begin(engine, association);
    return HF_OK;
}

/** ServerKeyExchange holds nothing but a hint for somebody who has several keys (RFC 4279 5.2). */
enum hf_status hf_client_hint(struct hf_engine *engine, struct hf_association *association,
                              const struct hf_machine_event *event)
{
    struct hf_reader reader = hf_reader_of(event->body);
    (void)hf_reader_vector(&reader, 2);
    if (!hf_reader_done(&reader))
        return HF_E_DECODE;
    hf_flight_hash(association, hf_handshake_of(engine, association),
                   HF_MESSAGE_SERVER_KEY_EXCHANGE, event->message_seq, event->body);
    return HF_OK;
}

/** The server's flight is whole. With a pre-shared key ours begins with ClientKeyExchange, which
 * the session hash ends with; then the key is asked for. */
enum hf_status hf_client_done(struct hf_engine *engine, struct hf_association *association,
                              const struct hf_machine_event *event)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    if (event->body.len != 0)
        return HF_E_DECODE;
    hf_flight_answered(handshake);
    hf_flight_hash(association, handshake, HF_MESSAGE_SERVER_HELLO_DONE, event->message_seq,
                   event->body);
    if (handshake->way == HF_WAY_CERTIFICATE) {
        hf_prove_ask(engine, association);
        hf_association_arm(engine, association);
        return HF_OK;
    }
    hf_flight_begin(handshake);
    struct hf_flight_message message = hf_flight_open(handshake, HF_MESSAGE_CLIENT_KEY_EXCHANGE);
    hf_writer_u16(&message.writer, handshake->identity_len);
    message.tail = HF_TAIL_IDENTITY;
    hf_flight_close(engine, association, &message);
    if (association->flags & HF_ASSOCIATION_EMS)
        hf_keys_session_hash(handshake);
    hf_answer_expect(engine, association, HF_PENDING_KEY, true);
    hf_association_arm(engine, association);
    return HF_OK;
}

void hf_client_finish(struct hf_engine *engine, struct hf_association *association)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    hf_keys_verify_data(association->verify_data, handshake, "client finished");
    if (hf_is_datagram(association))
        association->datagram.reply_seq = handshake->send_seq;
    hf_flight_change(handshake);
    struct hf_flight_message message = hf_flight_open(handshake, HF_MESSAGE_FINISHED);
    hf_writer_bytes(&message.writer, association->verify_data, HF_VERIFY_DATA_LEN);
    hf_flight_close(engine, association, &message);
    hf_flight_await(engine, association);
    association->flags |= HF_ASSOCIATION_WRITE_PROTECTED;
    hf_association_arm(engine, association);
}

enum hf_status hf_client_key(struct hf_engine *engine, struct hf_association *association,
                             const struct hf_machine_event *event)
{
    (void)event;
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    hf_answer_taken(engine, handshake);
    if (handshake->answer_kind == HF_ANSWER_UNAVAILABLE)
        return HF_E_SOURCE_UNAVAILABLE;
    if (handshake->answer_kind == HF_ANSWER_REFUSED)
        return HF_E_NO_CREDENTIAL;
    if (hf_association_is_expired(engine, association))
        return HF_E_CREDENTIAL_EXPIRED;
    if (handshake->is_misnamed)
        return HF_E_IDENTITY_REFUSED;
    HF_TRY(hf_keys_psk(engine, association));
    hf_keys_begin(engine, association);
    hf_client_finish(engine, association);
    return HF_OK;
}

enum hf_status hf_client_finished(struct hf_engine *engine, struct hf_association *association,
                                  const struct hf_machine_event *event)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    HF_TRY(hf_keys_check_finished(handshake, "server finished", event->body));
    hf_flight_answered(handshake);
    if (hf_is_datagram(association)) {
        association->datagram.finished_seq = event->message_seq;
        if (handshake->is_recalled)
            association->datagram.reply_seq = handshake->send_seq;
    }
    if (handshake->is_recalled) { /* RFC 5246 7.3, figure 2: ours is the last word */
        hf_flight_hash(association, handshake, HF_MESSAGE_FINISHED, event->message_seq,
                       event->body);
        hf_keys_verify_data(association->verify_data, handshake, "client finished");
        handshake->is_identity_following = false;
    }
    hf_answer_expect(engine, association, HF_PENDING_IDENTITY, handshake->is_identity_following);
    hf_association_arm(engine, association);
    return HF_OK;
}

enum hf_status hf_client_bind(struct hf_engine *engine, struct hf_association *association,
                              const struct hf_machine_event *event)
{
    (void)event;
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    HF_TRY(hf_answer_bound(engine, association));
    if (handshake->is_misnamed)
        return HF_E_IDENTITY_REFUSED;
    HF_TRY(hf_stream_keep(engine, association));
    hf_datagram_keep(engine, association);
    if (handshake->is_recalled) {
        hf_flight_final(engine, association);
        association->flags |= HF_ASSOCIATION_WRITE_PROTECTED | HF_ASSOCIATION_LAST_WORD;
        engine->counters.resumed++;
    }
    hf_association_event(engine, association, HF_EVENT_ESTABLISHED);
    hf_recall_emit(engine, association);
    hf_association_establish(engine, association);
    return HF_OK;
}

/** At most one: a set would be a guess (TS-0003 8.1.2). */
static bool is_one_flavour(enum hf_flavour flavour)
{
    unsigned bits = flavour;
    return bits <= HF_FLAVOUR_FQDN && (bits & (bits - 1)) == 0;
}

static bool is_valid(const struct hf_engine *engine, const struct hf_connect *connect)
{
    return connect->dialer_index < engine->config.dialer_count &&
           connect->server_name.len <= sizeof((struct hf_terms *)0)->server_name &&
           connect->psk_identity.len <= engine->config.identity_len_max &&
           connect->entity_id.len <= HF_ENTITY_ID_MAX && is_one_flavour(connect->flavour) &&
           hf_authority_is_shown(&engine->dialers[connect->dialer_index], connect->x509) &&
           hf_offer_has_suite(&engine->dialers[connect->dialer_index],
                              connect->psk_identity.len > 0);
}

/** Copies into the slot what the handshake needs. */
static enum hf_status take_order(struct hf_engine *engine, struct hf_association *association,
                                 const struct hf_connect *connect)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    struct hf_terms *terms = &handshake->terms;
    const struct hf_pair *pair = connect->pair;
    struct hf_identity names = {.entity_id = connect->entity_id};
    if (pair) {
        names.entity_id = (struct hf_bytes){(const uint8_t *)pair->entity_id, pair->entity_id_len};
        names.credential_id =
            (struct hf_bytes){(const uint8_t *)pair->credential_id, pair->credential_id_len};
        association->flags |= HF_ASSOCIATION_SA2;
    }
    if (!hf_is_datagram(association)) {
        association->stream.user = connect->user;
        association->stream.local_port = connect->path.local.port;
    }
    terms->server_name_len = (uint8_t)connect->server_name.len;
    for (size_t i = 0; i < connect->server_name.len; i++) {
        uint8_t byte = connect->server_name.data[i];
        terms->server_name[i] = byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte | 0x20) : byte;
    }
    handshake->identity_len = (uint16_t)connect->psk_identity.len;
    if (connect->psk_identity.len > 0)
        memcpy(hf_handshake_identity(engine, handshake), connect->psk_identity.data,
               connect->psk_identity.len);
    handshake->own_x509 = connect->x509 ? hf_credential_share(connect->x509) : NULL;
    handshake->flavour = (uint8_t)connect->flavour;
    handshake->is_named = names.entity_id.len > 0;
    association->entity_kind =
        (uint8_t)(pair ? pair->entity_kind : hf_entity_kind_of(connect->entity_id));
    if (handshake->is_named)
        HF_TRY(hf_identity_keep(&association->identity, engine, &names));
    hf_recall_take(engine, association, connect);
    return HF_OK;
}

/** SA2 only after SA1 and registration, and as the same peer (TS-0003 8.2.1). */
static enum hf_status check_pair(const struct hf_engine *engine, const struct hf_connect *connect)
{
    const struct hf_pair *pair = connect->pair;
    if (!pair)
        return HF_OK;
    if (!pair->is_registered)
        return HF_E_STATE;
    if (engine->dialers[connect->dialer_index].reference_point != pair->reference_point)
        return HF_E_ARGUMENT;
    if (pair->expires_s && engine->wall_s >= pair->expires_s)
        return HF_E_CREDENTIAL_EXPIRED;
    if (connect->entity_id.len > 0 &&
        (connect->entity_id.len != pair->entity_id_len ||
         !hf_bytes_equal_public(connect->entity_id.data, pair->entity_id, pair->entity_id_len)))
        return HF_E_IDENTITY_REFUSED;
    return HF_OK;
}

enum hf_status hf_engine_connect(hf_association_id *out, struct hf_engine *engine,
                                 const struct hf_connect *connect)
{
    struct hf_path_key key;
    struct hf_association *association;
    *out = 0;
    if (!is_valid(engine, connect))
        return HF_E_ARGUMENT;
    HF_TRY(check_pair(engine, connect));
    if (!hf_outbox_has_room(&engine->outbox))
        return HF_WAITING;
    struct hf_path path = connect->path;
    bool is_datagram = engine->dialers[connect->dialer_index].transport == HF_TRANSPORT_DTLS;
    if (!is_datagram) /* each connection has a port of its own */
        path.local.port = 0;
    if (!hf_path_key(&key, engine, &path)) {
        hf_drop_count(engine, HF_DROP_LOCAL_ADDRESS);
        return HF_E_ASSOCIATION_LIMIT;
    }
    if (is_datagram && hf_table_find(&engine->table, &key) != HF_NONE)
        return HF_E_STATE;
    enum hf_status status =
        hf_association_open(&association, engine, HF_ROLE_CLIENT, connect->dialer_index, &key);
    if (status != HF_OK) {
        engine->counters.handshakes[status]++;
        return status;
    }
    uint32_t index = hf_association_index(engine, association);
    if (take_order(engine, association, connect) != HF_OK ||
        (is_datagram && !hf_table_insert(&engine->table, index))) {
        hf_association_end(engine, association, NULL);
        return HF_E_ASSOCIATION_LIMIT;
    }
    *out = hf_association_handle(engine, association);
    const struct hf_machine_event event = {.kind = HF_MACHINE_START};
    return hf_machine_run(engine, association, &event);
}
