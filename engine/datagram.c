/**
 * datagram.c - see datagram.h. What does not belong is dropped silently and counted; only what
 * authenticates moves the replay window.
 */
#include "datagram.h"

#include "association.h"
#include "cid.h"
#include "flight.h"
#include "greet.h"
#include "limits.h"
#include "machine.h"
#include "path.h"
#include "route.h"

#define HF_AHEAD_MAX 8          /* messages a fragment may be early by and still be kept */
#define HF_SCRATCH_LEN_MAX 2048 /* a record tried on two associations */

static enum hf_status drop(struct hf_engine *engine, enum hf_drop cause)
{
    hf_drop_count(engine, cause);
    return HF_DROPPED;
}

enum hf_status hf_datagram_fragment(struct hf_engine *engine, struct hf_association *association,
                                    const struct hf_fragment *fragment)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    struct hf_machine_event event = {.kind = hf_machine_message(fragment->type),
                                     .message_seq = fragment->message_seq};
    if (fragment->message_seq != handshake->receive_seq)
        return drop(engine, HF_DROP_MESSAGE_SEQ);
    enum hf_status status = hf_fragment_add(&event.body, engine, handshake, fragment);
    if (status == HF_E_MESSAGE_TOO_LONG) {
        const struct hf_failure failure = {status, HF_ALERT_NONE,
                                           hf_machine_state_name((enum hf_state)association->state),
                                           hf_machine_event_name(event.kind), "RFC 6347 4.2.3"};
        hf_handshake_spoil(engine, handshake, &failure);
        return drop(engine, HF_DROP_FRAGMENT);
    }
    HF_TRY(status);
    uint32_t generation = association->generation;
    status = hf_machine_run(engine, association, &event);
    if (association->generation != generation || association->handshake == HF_NONE)
        return status;
    hf_fragment_clear(handshake);
    if (status == HF_OK)
        handshake->receive_seq++;
    return status;
}

/** A protected handshake message on an open association: a repeat, or a wish to renegotiate. */
static enum hf_status take_late_fragment(struct hf_arrival *arrival,
                                         struct hf_association *association,
                                         const struct hf_fragment *fragment)
{
    struct hf_engine *engine = arrival->engine;
    const struct hf_machine_event event = {.kind = hf_machine_message(fragment->type),
                                           .message_seq = fragment->message_seq,
                                           .body = fragment->body};
    if (fragment->offset > 0)
        return drop(engine, HF_DROP_FRAGMENT);
    if (event.kind == HF_MACHINE_FINISHED &&
        event.message_seq != association->datagram.finished_seq)
        return drop(engine, HF_DROP_MESSAGE_SEQ);
    if (arrival->is_answered) /* a datagram earns one answer, however many repeats are in it */
        return drop(engine, HF_DROP_RATE);
    arrival->is_answered = true;
    return hf_machine_run(engine, association, &event);
}

/** Our flight got lost: the server, which has the last message of its own acknowledged by it, says
 *  that message again (RFC 6347 4.2.4). What comes again right after the flight has left is a
 *  duplicate of the network's, or a stranger's. */
static bool is_peer_waiting(const struct hf_engine *engine,
                            const struct hf_association *association,
                            const struct hf_handshake *handshake,
                            const struct hf_fragment *fragment)
{
    uint64_t due_us = handshake->retransmit_us;
    uint64_t patience_us = handshake->retransmit_after * 3 / 4;
    return association->state == HF_STATE_CL_AWAIT_CCS &&
           fragment->type == HF_MESSAGE_SERVER_HELLO_DONE &&
           (uint16_t)(fragment->message_seq + 1) == handshake->receive_seq &&
           engine->now_us + patience_us >= due_us;
}

/** Puts a record aside, as it came. */
static enum hf_status keep(struct hf_engine *engine, struct hf_association *association,
                           const struct hf_record *record)
{
    size_t head_len = hf_record_head_len(record);
    hf_fragment_keep(engine, hf_handshake_of(engine, association), record->body - head_len,
                     head_len + record->len);
    return HF_WAITING;
}

/** A handshake record, plain or opened; it may hold several fragments. */
static enum hf_status take_handshake(struct hf_arrival *arrival, struct hf_association *association,
                                     const struct hf_record *record, bool is_protected)
{
    struct hf_engine *engine = arrival->engine;
    struct hf_reader reader = hf_reader_of((struct hf_bytes){record->body, record->len});
    if (record->len == 0)
        return drop(engine, HF_DROP_FRAGMENT);
    while (reader.len > 0) {
        struct hf_fragment fragment;
        if (hf_fragment_read(&fragment, &reader) != HF_OK)
            return drop(engine, HF_DROP_FRAGMENT);
        if (fragment.type == HF_MESSAGE_CLIENT_HELLO && !is_protected) {
            /* Behind another message it would be taken for one of the handshake under way. */
            if (fragment.body.data != record->body + HF_FRAGMENT_HEADER_LEN)
                return drop(engine, HF_DROP_FRAGMENT);
            hf_greet_hello(arrival, association, record, &fragment);
            return HF_OK;
        }
        if (!association)
            return drop(engine, HF_DROP_NO_ASSOCIATION);
        const struct hf_handshake *handshake = hf_handshake_of(engine, association);
        if (!handshake)
            return is_protected ? take_late_fragment(arrival, association, &fragment)
                                : drop(engine, HF_DROP_MESSAGE_SEQ);
        if (!arrival->is_answered && is_peer_waiting(engine, association, handshake, &fragment)) {
            arrival->is_answered = true;
            hf_flight_again(engine, association, false);
            hf_association_arm(engine, association);
        }
        uint16_t ahead = (uint16_t)(fragment.message_seq - handshake->receive_seq);
        if (ahead > 0 && ahead <= HF_AHEAD_MAX && !is_protected) {
            return keep(engine, association, record);
        }
        uint32_t generation = association->generation;
        enum hf_status status = hf_datagram_fragment(engine, association, &fragment);
        if (association->generation != generation || association->state == HF_STATE_FREE)
            return status;
    }
    return HF_OK;
}

/** A record that did not authenticate. Whoever sent it, it costs a token. */
static enum hf_status take_forgery(struct hf_engine *engine, struct hf_association *association)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    if (handshake) {
        const struct hf_failure failure = {
            handshake->refusal != HF_OK ? handshake->refusal : HF_E_KEY_MISMATCH, HF_ALERT_NONE,
            hf_machine_state_name((enum hf_state)association->state),
            hf_machine_event_name(HF_MACHINE_FINISHED), "RFC 6347 4.1.2.7"};
        hf_handshake_spoil(engine, handshake, &failure);
    }
    if (hf_limits_trial_failed(engine, association))
        return hf_machine_fail(engine, association, HF_E_FORGERY_LIMIT, HF_MACHINE_DATA,
                               "RFC 6347 4.1.2.7");
    return drop(engine, HF_DROP_UNAUTHENTIC);
}

/** Number, allowance, then the key - in this order (RFC 6347 4.1.2.6). */
static enum hf_status open_record(struct hf_arrival *arrival, struct hf_association *association,
                                  struct hf_record *record)
{
    struct hf_engine *engine = arrival->engine;
    size_t len = hf_record_head_len(record) + record->len;
    enum hf_cipher cipher = (enum hf_cipher)association->cipher;
    if (hf_record_replayed(association, record->seq))
        return drop(engine, HF_DROP_REPLAY);
    if (record->len < hf_record_len_min(cipher))
        return drop(engine, HF_DROP_RECORD_LENGTH);
    if (!hf_limits_trial_allowed(engine, association, record->seq))
        return drop(engine, HF_DROP_TRIAL_RATE);
    enum hf_status status = hf_record_unprotect(record, engine, association);
    if (status == HF_E_BAD_RECORD_MAC)
        return take_forgery(engine, association);
    bool is_newest = record->seq > association->read_seq;
    hf_record_received(association, record->seq);
    if (arrival->path.local_index == HF_PATH_LOCAL_NONE && /* by its connection ID */
        !hf_path_key(&arrival->path, engine, &arrival->datagram->path))
        return drop(engine, HF_DROP_LOCAL_ADDRESS);
    if (record->cid.len > 0 && association->state == HF_STATE_OPEN)
        hf_route_heard(engine, association, &arrival->path, is_newest, len);
    association->heard_tick = engine->now_tick;
    engine->counters.records_in++;
    return status == HF_OK ? HF_OK : drop(engine, HF_DROP_MALFORMED);
}

static enum hf_status take_protected(struct hf_arrival *arrival, struct hf_association *association,
                                     struct hf_record *record)
{
    struct hf_engine *engine = arrival->engine;
    struct hf_machine_event event = {.ecn = arrival->datagram->ecn, .path = &arrival->path};
    HF_TRY(open_record(arrival, association, record));
    if (hf_association_is_expired(engine, association))
        return hf_machine_fail(engine, association, HF_E_CREDENTIAL_EXPIRED, HF_MACHINE_DATA,
                               "TS-0001 11.3.2");
    event.body = (struct hf_bytes){record->body, record->len};
    switch (record->type) {
    case HF_TYPE_HANDSHAKE:
        return take_handshake(arrival, association, record, true);
    case HF_TYPE_ALERT:
        if (record->len != 2)
            return drop(engine, HF_DROP_MALFORMED);
        event.kind = HF_MACHINE_ALERT;
        return hf_machine_run(engine, association, &event);
    case HF_TYPE_APPLICATION_DATA:
        event.kind = HF_MACHINE_DATA;
        return hf_machine_run(engine, association, &event);
    case HF_TYPE_RETURN_ROUTABILITY:
        event.kind = HF_MACHINE_ROUTE;
        return hf_machine_run(engine, association, &event);
    default:
        return drop(engine, HF_DROP_RECORD_TYPE);
    }
}

static bool is_before_keys(const struct hf_association *association)
{
    return association->state == HF_STATE_CL_AWAIT_CCS ||
           association->state == HF_STATE_CL_RESUMED_AWAIT_CCS ||
           (association->state > HF_STATE_SV_AWAIT_HELLO &&
            association->state <= HF_STATE_SV_AWAIT_CCS);
}

/** Tells whether ChangeCipherSpec is what comes next. For a client not before the ticket it was
 *  promised: what is plain finds nobody any more once the keys have changed. */
static bool is_before_change(const struct hf_engine *engine,
                             const struct hf_association *association)
{
    if (association->state == HF_STATE_SV_AWAIT_CCS ||
        association->state == HF_STATE_SV_RESUMED_AWAIT_CCS)
        return true;
    return (association->state == HF_STATE_CL_AWAIT_CCS ||
            association->state == HF_STATE_CL_RESUMED_AWAIT_CCS) &&
           !hf_handshake_of(engine, association)->terms.is_ticket_following;
}

/** The peer may talk from its Finished on; who it is, is not known at once. Its words wait for
 * that, and its goodbye behind them (TS-0003 8.2.1). */
static bool is_before_open(const struct hf_association *association, const struct hf_record *record)
{
    bool is_waiting = association->state == HF_STATE_SV_AWAIT_IDENTITY ||
                      association->state == HF_STATE_CL_AWAIT_IDENTITY;
    /* What a tls12_cid record holds shows when it is opened. */
    return is_waiting && (record->type == HF_TYPE_APPLICATION_DATA ||
                          record->type == HF_TYPE_ALERT || record->cid.len > 0);
}

/** Epoch 1: to the association itself, or to the handshake a rebooted client has under way. One
 *  that has given a connection ID out is found by it alone (RFC 9146 3). */
static enum hf_status take_epoch1(struct hf_arrival *arrival, struct hf_association *association,
                                  struct hf_record *record)
{
    struct hf_engine *engine = arrival->engine;
    bool is_named = record->cid.len > 0;
    struct hf_association *successor =
        is_named ? NULL : hf_association_successor(engine, association);
    if (successor && association->flags & HF_ASSOCIATION_CID) {
        association = successor;
    } else if (successor) {
        uint8_t scratch[HF_SCRATCH_LEN_MAX];
        bool is_copied = record->len <= sizeof scratch;
        if (!hf_record_replayed(association, record->seq) &&
            hf_limits_trial_allowed(engine, association, record->seq)) {
            if (is_copied)
                memcpy(scratch, record->body, record->len);
            uint8_t *body = record->body;
            size_t len = record->len;
            uint32_t forgeries = association->datagram.forgeries;
            enum hf_status status = take_protected(arrival, association, record);
            if (status != HF_DROPPED || association->datagram.forgeries == forgeries || !is_copied)
                return status;
            memcpy(body, scratch, len);
            record->body = body;
            record->len = len;
        }
        association = successor;
    }
    if (!is_named && association->flags & HF_ASSOCIATION_CID)
        return drop(engine, HF_DROP_CID_MISSING);
    if (association->flags & HF_ASSOCIATION_READ_PROTECTED) {
        bool is_kept =
            is_before_open(association, record) &&
            (record->type != HF_TYPE_ALERT || hf_handshake_of(engine, association)->kept_len > 0);
        return is_kept ? keep(engine, association, record)
                       : take_protected(arrival, association, record);
    }
    return is_before_keys(association) ? keep(engine, association, record)
                                       : drop(engine, HF_DROP_EPOCH);
}

/** Anyone may have sent it, so it ends nothing; but if a handshake that we began comes to nothing,
 *  it may be why. */
static enum hf_status take_plain_alert(struct hf_engine *engine,
                                       const struct hf_association *association,
                                       const struct hf_record *record)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    if (handshake && hf_is_client(association) && record->len == 2 &&
        record->body[0] == HF_ALERT_LEVEL_FATAL) {
        const struct hf_failure failure = {HF_E_PEER_ALERT, record->body[1],
                                           hf_machine_state_name((enum hf_state)association->state),
                                           hf_machine_event_name(HF_MACHINE_ALERT),
                                           "RFC 5246 7.2.2"};
        hf_handshake_spoil(engine, handshake, &failure);
    }
    return drop(engine, HF_DROP_ALERT_UNPROTECTED);
}

/** Epoch 0: nothing here is authentic. */
static enum hf_status take_epoch0(struct hf_arrival *arrival, struct hf_association *association,
                                  const struct hf_record *record)
{
    struct hf_engine *engine = arrival->engine;
    struct hf_association *target =
        association ? hf_association_successor(engine, association) : NULL;
    if (!target)
        target = association;
    bool is_hello = record->type == HF_TYPE_HANDSHAKE && record->len > 0 &&
                    record->body[0] == HF_MESSAGE_CLIENT_HELLO;
    if (is_hello)
        return take_handshake(arrival, association, record, false);
    if (!target)
        return drop(engine, HF_DROP_NO_ASSOCIATION);
    if (record->type == HF_TYPE_ALERT)
        return take_plain_alert(engine, target, record);
    if (target->flags & HF_ASSOCIATION_READ_PROTECTED)
        return drop(engine, HF_DROP_EPOCH);
    if (record->type == HF_TYPE_HANDSHAKE)
        return take_handshake(arrival, target, record, false);
    if (record->type != HF_TYPE_CHANGE_CIPHER_SPEC)
        return drop(engine, HF_DROP_RECORD_TYPE);
    if (record->len != 1 || record->body[0] != 1) /* must not take the place of the real one */
        return drop(engine, HF_DROP_MALFORMED);
    if (is_before_keys(target) && !is_before_change(engine, target))
        return keep(engine, target, record);
    const struct hf_machine_event event = {.kind = HF_MACHINE_CHANGE_CIPHER_SPEC,
                                           .body = {record->body, record->len}};
    return hf_machine_run(engine, target, &event);
}

static enum hf_status take_record(struct hf_arrival *arrival, struct hf_association *association,
                                  struct hf_record *record)
{
    struct hf_engine *engine = arrival->engine;
    bool is_plain_handshake = record->type == HF_TYPE_HANDSHAKE && record->epoch == 0;
    bool is_known =
        (record->type >= HF_TYPE_CHANGE_CIPHER_SPEC && record->type <= HF_TYPE_APPLICATION_DATA) ||
        (record->type == HF_TYPE_RETURN_ROUTABILITY && record->epoch > 0);
    if (!is_known && record->cid.len == 0)
        return drop(engine, HF_DROP_RECORD_TYPE);
    if (record->version != HF_VERSION_DTLS_1_2 &&
        !(record->version == HF_VERSION_DTLS_1_0 && is_plain_handshake))
        return drop(engine, HF_DROP_RECORD_VERSION);
    if (record->len > (record->epoch == 0 ? HF_PLAINTEXT_LEN_MAX : HF_CIPHERTEXT_LEN_MAX))
        return drop(engine, HF_DROP_RECORD_LENGTH);
    if (record->epoch == 0)
        return take_epoch0(arrival, association, record);
    if (!association)
        return drop(engine, HF_DROP_NO_ASSOCIATION);
    if (record->epoch != 1)
        return drop(engine, HF_DROP_EPOCH);
    if (record->type == HF_TYPE_CHANGE_CIPHER_SPEC) /* there is no third epoch */
        return drop(engine, HF_DROP_RECORD_TYPE);
    return take_epoch1(arrival, association, record);
}

/** Tells whether a kept record's time has come. */
static bool is_ready(const struct hf_engine *engine, const struct hf_association *association,
                     const struct hf_record *record)
{
    const struct hf_handshake *handshake = hf_handshake_of(engine, association);
    if (record->epoch > 0)
        return association->flags & HF_ASSOCIATION_READ_PROTECTED &&
               !is_before_open(association, record);
    if (record->type == HF_TYPE_CHANGE_CIPHER_SPEC)
        return is_before_change(engine, association);
    struct hf_reader reader = hf_reader_of((struct hf_bytes){record->body, record->len});
    struct hf_fragment fragment;
    return hf_fragment_read(&fragment, &reader) != HF_OK ||
           (int16_t)(fragment.message_seq - handshake->receive_seq) <= 0;
}

/** Takes the first kept record that is ready. False: none is, or the association is gone. */
static bool resume_one(struct hf_arrival *arrival, struct hf_association *association)
{
    struct hf_engine *engine = arrival->engine;
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    uint8_t *kept = hf_handshake_kept(engine, handshake);
    for (size_t at = 0; at < handshake->kept_len;) {
        size_t len = (size_t)(kept[at] << 8 | kept[at + 1]);
        struct hf_record record;
        bool is_read = hf_record_datagram_read(&record, kept + at + 2, len, hf_cid_len(engine));
        HF_ASSERT(is_read);
        if (!is_ready(engine, association, &record)) {
            at += 2 + len;
            continue;
        }
        uint32_t generation = association->generation;
        take_record(arrival, association, &record);
        if (association->generation != generation || association->handshake == HF_NONE)
            return false;
        memmove(kept + at, kept + at + 2 + len, handshake->kept_len - at - 2 - len);
        handshake->kept_len -= (uint32_t)(2 + len);
        return true;
    }
    return false;
}

void hf_datagram_keep(struct hf_engine *engine, struct hf_association *association)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    size_t len = handshake->kept_len;
    if (!hf_is_datagram(association) || len == 0)
        return;
    engine->early = hf_outbox_room(&engine->outbox, len);
    if (!engine->early)
        return;
    memcpy(engine->early, hf_handshake_kept(engine, handshake), len);
    hf_outbox_keep(&engine->outbox, len);
    engine->early_len = (uint32_t)len;
}

/** What came before the association was open. What finds no room is lost, as datagrams are. */
static void take_early(struct hf_arrival *arrival, struct hf_association *association)
{
    struct hf_engine *engine = arrival->engine;
    uint8_t *early = engine->early;
    uint32_t generation = association->generation;
    for (size_t at = 0, left = engine->early_len; left > 0;) {
        size_t len = (size_t)(early[at] << 8 | early[at + 1]);
        struct hf_record record;
        bool is_read = hf_record_datagram_read(&record, early + at + 2, len, hf_cid_len(engine));
        HF_ASSERT(is_read);
        at += 2 + len;
        left -= 2 + len;
        if (association->generation != generation || association->state != HF_STATE_OPEN)
            break;
        if (hf_outbox_has_room(&engine->outbox))
            take_record(arrival, association, &record);
        else
            hf_drop_count(engine, HF_DROP_NO_ROOM);
    }
    engine->early_len = 0;
}

void hf_datagram_resume(struct hf_engine *engine, struct hf_association *association)
{
    const struct hf_datagram none = {.listener_index = association->listener_index};
    struct hf_arrival arrival = {engine, &none, association->path, true};
    if (association->handshake == HF_NONE) {
        take_early(&arrival, association);
        return;
    }
    while (hf_outbox_has_room(&engine->outbox) && resume_one(&arrival, association))
        continue;
}

/** The association a path leads to now. */
static struct hf_association *lookup(const struct hf_engine *engine, const struct hf_path_key *path)
{
    uint32_t index = hf_table_find(&engine->table, path);
    return index == HF_NONE ? NULL : hf_association_at(engine, index);
}

static void resume_after(struct hf_engine *engine, struct hf_association *association)
{
    struct hf_association *successor = hf_association_successor(engine, association);
    if (successor)
        association = successor;
    const struct hf_handshake *handshake = hf_handshake_of(engine, association);
    if (handshake && handshake->kept_len > 0)
        hf_datagram_resume(engine, association);
}

/** The association that a record's connection ID names. Until its handshake is over its peer has
 *  one address; later any, but not at another listener. */
static struct hf_association *named(const struct hf_arrival *arrival,
                                    const struct hf_record *record)
{
    const struct hf_datagram *datagram = arrival->datagram;
    struct hf_association *association = hf_cid_find(arrival->engine, record->cid.data);
    if (!association || association->listener_index != datagram->listener_index ||
        hf_is_client(association) != datagram->is_client)
        return NULL;
    bool is_at_home =
        hf_bytes_equal_public(&association->path, &arrival->path, sizeof arrival->path);
    return association->state == HF_STATE_OPEN || is_at_home ? association : NULL;
}

/** Takes a record for the association its connection ID names. False: it is not there, and what
 *  follows in the datagram is nobody's either. */
static bool take_named(struct hf_arrival *arrival, struct hf_record *record)
{
    struct hf_engine *engine = arrival->engine;
    struct hf_association *association = named(arrival, record);
    if (!association) {
        hf_drop_count(engine, HF_DROP_CID);
        return false;
    }
    uint32_t generation = association->generation;
    take_record(arrival, association, record);
    if (association->generation == generation && association->state != HF_STATE_FREE)
        resume_after(engine, association);
    return true;
}

/** Takes the records of a datagram one by one. The path is looked up again only when what it led to
 *  has ended or nothing was there, and behind a record with a connection ID, which may have moved
 *  somebody there. */
static void take_records(struct hf_arrival *arrival, uint8_t *data, size_t len)
{
    struct hf_engine *engine = arrival->engine;
    struct hf_association *association = NULL;
    bool is_looked_up = false;
    while (len >= HF_DATAGRAM_HEADER_LEN) {
        struct hf_record record;
        if (!hf_outbox_has_room(&engine->outbox)) {
            hf_drop_count(engine, HF_DROP_NO_ROOM);
            return;
        }
        if (!hf_record_datagram_read(&record, data, len, hf_cid_len(engine))) {
            hf_drop_count(engine, HF_DROP_TRUNCATED);
            return;
        }
        size_t record_len = hf_record_head_len(&record) + record.len;
        data += record_len;
        len -= record_len;
        if (record.cid.len > 0) {
            if (!take_named(arrival, &record))
                return;
            is_looked_up = false;
            continue;
        }
        if (!is_looked_up)
            association = lookup(engine, &arrival->path);
        is_looked_up = true;
        uint32_t generation = association ? association->generation : 0;
        take_record(arrival, association, &record);
        if (!association || association->generation != generation ||
            association->state == HF_STATE_FREE)
            association = lookup(engine, &arrival->path);
        if (association)
            resume_after(engine, association);
    }
}

static bool is_place(const struct hf_engine *engine, const struct hf_datagram *datagram)
{
    uint32_t index = datagram->listener_index;
    if (datagram->is_client)
        return index < engine->config.dialer_count &&
               engine->dialers[index].transport == HF_TRANSPORT_DTLS;
    return index < engine->config.listener_count &&
           engine->listeners[index].transport == HF_TRANSPORT_DTLS;
}

enum hf_status hf_engine_receive_datagram(struct hf_engine *engine, struct hf_datagram *datagram)
{
    struct hf_arrival arrival = {.engine = engine, .datagram = datagram};
    if (!is_place(engine, datagram))
        return HF_E_ARGUMENT;
    if (!hf_outbox_has_room(&engine->outbox))
        return HF_WAITING;
    engine->counters.datagrams_in++;
    hf_path_seek(&arrival.path, engine, &datagram->path);
    if (datagram->len < HF_DATAGRAM_HEADER_LEN)
        hf_drop_count(engine, HF_DROP_EMPTY);
    take_records(&arrival, datagram->data, datagram->len);
    return HF_OK;
}
