/**
 * association.c - see association.h.
 */
#include "association.h"

#include "cid.h"
#include "hello.h"
#include "identity.h"
#include "limits.h"
#include "machine.h"
#include "proof.h"
#include "quota.h"
#include "record.h"
#include "route.h"
#include "stream.h"

uint32_t hf_association_index(const struct hf_engine *engine,
                              const struct hf_association *association)
{
    return (uint32_t)(((const uint8_t *)association - engine->associations.slots) /
                      (ptrdiff_t)engine->associations.stride);
}

static uint32_t handshake_index(const struct hf_engine *engine,
                                const struct hf_handshake *handshake)
{
    return (uint32_t)(((const uint8_t *)handshake - engine->handshakes.slots) /
                      (ptrdiff_t)engine->handshakes.stride);
}

hf_association_id hf_association_handle(const struct hf_engine *engine,
                                        const struct hf_association *association)
{
    return (uint64_t)engine->config.shard_index << 56 |
           (uint64_t)hf_association_index(engine, association) << 32 | association->generation;
}

struct hf_association *hf_association_find(const struct hf_engine *engine, hf_association_id id)
{
    uint32_t index = (uint32_t)(id >> 32) & 0xFFFFFF;
    if (id >> 56 != engine->config.shard_index || index >= engine->associations.touched)
        return NULL;
    struct hf_association *association = hf_association_at(engine, index);
    bool is_live = association->state != HF_STATE_FREE && association->generation == (uint32_t)id;
    return is_live ? association : NULL;
}

struct hf_path hf_association_path(const struct hf_engine *engine,
                                   const struct hf_association *association)
{
    return hf_association_path_to(engine, association, &association->path);
}

struct hf_path hf_association_path_to(const struct hf_engine *engine,
                                      const struct hf_association *association,
                                      const struct hf_path_key *key)
{
    struct hf_path path = {
        .peer = hf_address_v6(key->peer_ip, key->peer_port, key->scope),
        .local = engine->locals[key->local_index],
    };
    if (hf_is_client(association) && !hf_is_datagram(association))
        path.local.port = association->stream.local_port;
    return path;
}

static void spoiled_unlink(struct hf_engine *engine, struct hf_handshake *handshake)
{
    if (!handshake->is_spoiled)
        return;
    uint32_t next = handshake->spoiled_next, prev = handshake->spoiled_prev;
    if (prev != HF_NONE)
        hf_handshake_at(engine, prev)->spoiled_next = next;
    else
        engine->spoiled_head = next;
    if (next != HF_NONE)
        hf_handshake_at(engine, next)->spoiled_prev = prev;
    else
        engine->spoiled_tail = prev;
    handshake->is_spoiled = false;
}

void hf_handshake_spoil(struct hf_engine *engine, struct hf_handshake *handshake,
                        const struct hf_failure *failure)
{
    if (handshake->is_spoiled)
        return;
    uint32_t index = handshake_index(engine, handshake);
    handshake->failure = *failure;
    handshake->is_spoiled = true;
    handshake->spoiled_next = HF_NONE;
    handshake->spoiled_prev = engine->spoiled_tail;
    if (engine->spoiled_tail != HF_NONE)
        hf_handshake_at(engine, engine->spoiled_tail)->spoiled_next = index;
    else
        engine->spoiled_head = index;
    engine->spoiled_tail = index;
}

/** Takes a handshake slot, at the expense of the oldest spoiled one if there is none left. */
static enum hf_status handshake_take(uint32_t *out, struct hf_engine *engine, enum hf_role role,
                                     const struct hf_path_key *path)
{
    uint32_t cell = hf_limits_prefix_cell(engine, path);
    if (role == HF_ROLE_SERVER) /* whom we dial is our own choice */
        HF_TRY(hf_limits_prefix_admit(engine, cell));
    uint32_t index = hf_pool_take(&engine->handshakes);
    if (index == HF_NONE && engine->spoiled_head != HF_NONE) {
        struct hf_handshake *oldest = hf_handshake_at(engine, engine->spoiled_head);
        struct hf_failure failure = oldest->failure;
        hf_association_end(engine, hf_association_at(engine, oldest->association), &failure);
        index = hf_pool_take(&engine->handshakes);
    }
    if (index == HF_NONE)
        return HF_E_HANDSHAKE_LIMIT;
    struct hf_handshake *handshake = hf_handshake_at(engine, index);
    uint32_t generation = handshake->generation + 1;
    bool is_queued = handshake->is_queued;
    memset(handshake, 0, offsetof(struct hf_handshake, flight));
    handshake->generation = generation;
    handshake->is_queued = is_queued;
    handshake->prefix_cell = cell;
    handshake->retransmit_us = UINT64_MAX;
    handshake->proof = HF_NONE;
    handshake->failure = (struct hf_failure){HF_OK, HF_ALERT_NONE, "", "", ""};
    hf_sha256_init(&handshake->transcript);
    hf_limits_prefix_count(engine, cell, 1);
    *out = index;
    return HF_OK;
}

/** Gives the slot back, wiped. What was pending outside is cancelled. */
static void handshake_give(struct hf_engine *engine, struct hf_association *association)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    uint32_t index = association->handshake;
    if (handshake->pending != HF_PENDING_NONE && handshake->pending != HF_PENDING_JOB) {
        engine->counters.parked--;
        if (!handshake->is_answered && engine->source.cancel)
            engine->source.cancel((struct hf_ticket){index, handshake->generation, handshake->seq},
                                  engine->source.arg);
    }
    spoiled_unlink(engine, handshake);
    hf_proof_give(engine, handshake);
    hf_credential_close(handshake->own_x509);
    hf_limits_prefix_count(engine, handshake->prefix_cell, -1);
    uint32_t generation = handshake->generation;
    bool is_queued = handshake->is_queued;
    hf_wipe(hf_handshake_identity(engine, handshake), handshake->identity_len);
    hf_wipe(hf_handshake_kept(engine, handshake), handshake->kept_len);
    hf_wipe(handshake, offsetof(struct hf_handshake, flight) + handshake->flight_len);
    handshake->generation = generation;
    handshake->is_queued = is_queued;
    handshake->association = HF_NONE;
    association->handshake = HF_NONE;
    hf_pool_give(&engine->handshakes, index);
}

static void init_record(struct hf_association *association, const struct hf_engine *engine,
                        enum hf_role role, uint32_t index)
{
    bool is_client = role == HF_ROLE_CLIENT;
    enum hf_transport transport =
        is_client ? engine->dialers[index].transport : engine->listeners[index].transport;
    association->state = is_client ? HF_STATE_CL_START : HF_STATE_SV_START;
    if (is_client)
        association->flags |= HF_ASSOCIATION_CLIENT;
    association->listener_index = (uint8_t)index;
    association->identity = HF_NONE;
    association->mac_keys = HF_NONE;
    association->heard_tick = engine->now_tick;
    association->plaintext_len_max = HF_PLAINTEXT_LEN_MAX;
    association->receive_len_max = HF_PLAINTEXT_LEN_MAX;
    if (transport == HF_TRANSPORT_DTLS) {
        association->flags |= HF_ASSOCIATION_DATAGRAM;
        association->datagram.successor = HF_NONE;
        association->datagram.cid = HF_NONE;
        association->datagram.trial_tick = engine->now_tick;
        association->trial_tokens = (uint16_t)(2 * engine->config.trials_per_second);
    } else {
        association->stream.buffer = HF_NONE;
    }
}

enum hf_status hf_association_open(struct hf_association **out, struct hf_engine *engine,
                                   enum hf_role role, uint32_t index,
                                   const struct hf_path_key *path)
{
    uint32_t slot;
    HF_TRY(handshake_take(&slot, engine, role, path));
    hf_quota_wake(engine);
    uint32_t record = hf_pool_take(&engine->associations);
    if (record == HF_NONE && role == HF_ROLE_SERVER && hf_limits_evict(engine, HF_NONE, path))
        record = hf_pool_take(&engine->associations);
    if (record == HF_NONE) {
        hf_limits_prefix_count(engine, hf_handshake_at(engine, slot)->prefix_cell, -1);
        hf_handshake_at(engine, slot)->association = HF_NONE;
        hf_pool_give(&engine->handshakes, slot);
        return HF_E_ASSOCIATION_LIMIT;
    }
    struct hf_association *association = hf_association_at(engine, record);
    uint32_t generation = association->generation + 1;
    uint32_t flags = association->flags & HF_ASSOCIATION_REST_DUE;
    memset(association, 0, sizeof *association);
    association->generation = generation ? generation : 1;
    association->flags = flags;
    association->handshake = slot;
    association->path = *path;
    init_record(association, engine, role, index);
    struct hf_handshake *handshake = hf_handshake_at(engine, slot);
    handshake->association = record;
    handshake->predecessor = HF_NONE;
    handshake->begun_us = engine->now_us;
    hf_quota_begin(engine, association);
    *out = association;
    return HF_OK;
}

void hf_association_establish(struct hf_engine *engine, struct hf_association *association)
{
    engine->counters.cids += hf_handshake_of(engine, association)->terms.has_cid;
    handshake_give(engine, association);
    hf_quota_establish(engine, association);
    if (engine->config.reuse_us_min)
        association->flags |= HF_ASSOCIATION_REST_DUE;
    engine->counters.associations++;
    engine->counters.handshakes[HF_OK]++;
    association->heard_tick = engine->now_tick; /* a slow key source is not the peer's silence */
    association->opened_tick = engine->now_tick;
    hf_association_arm(engine, association);
}

struct hf_association *hf_association_successor(const struct hf_engine *engine,
                                                const struct hf_association *association)
{
    bool has_one = hf_is_datagram(association) && association->datagram.successor != HF_NONE;
    return has_one ? hf_association_at(engine, association->datagram.successor) : NULL;
}

/** The path table and the links between an association and a rebooted client's next one. */
static void unlink_path(struct hf_engine *engine, struct hf_association *association)
{
    struct hf_association *successor = hf_association_successor(engine, association);
    const struct hf_handshake *handshake = hf_handshake_of(engine, association);
    uint32_t index = hf_association_index(engine, association);
    if (!hf_is_datagram(association))
        return;
    if (successor) {
        hf_table_replace(&engine->table, index, association->datagram.successor);
        if (successor->handshake != HF_NONE)
            hf_handshake_of(engine, successor)->predecessor = HF_NONE;
    } else if (handshake && handshake->predecessor != HF_NONE) {
        hf_association_at(engine, handshake->predecessor)->datagram.successor = HF_NONE;
    } else {
        hf_table_remove(&engine->table, index);
    }
}

/** What it is, or before anybody has proven anything what it will be. */
static enum hf_framework framework_of(const struct hf_association *association)
{
    if (association->framework != HF_FRAMEWORK_NONE || association->suite == HF_SUITE_NONE)
        return (enum hf_framework)association->framework;
    return hf_hello_key_exchange(association->suite) == HF_KEY_EXCHANGE_PSK
               ? HF_FRAMEWORK_PROVISIONED_SYMMETRIC_KEY
               : HF_FRAMEWORK_CERTIFICATE;
}

struct hf_event *hf_association_event(struct hf_engine *engine,
                                      const struct hf_association *association,
                                      enum hf_event_kind kind)
{
    struct hf_event *event =
        hf_outbox_event(&engine->outbox, kind, hf_association_handle(engine, association));
    event->user = hf_is_datagram(association) ? 0 : association->stream.user;
    event->context = association->context;
    event->listener_index = association->listener_index;
    event->framework = framework_of(association);
    event->is_client = hf_is_client(association);
    event->path = hf_association_path(engine, association);
    return event;
}

static void queue_end(struct hf_engine *engine, const struct hf_association *association,
                      struct hf_handshake *handshake, const struct hf_failure *failure)
{
    struct hf_event *event = hf_association_event(
        engine, association, handshake ? HF_EVENT_HANDSHAKE_FAILED : HF_EVENT_CLOSED);
    event->failure = *failure;
    if (handshake) {
        size_t len = handshake->identity_len;
        event->psk_identity_len =
            (uint16_t)(len < HF_EVENT_IDENTITY_MAX ? len : HF_EVENT_IDENTITY_MAX);
        memcpy(event->psk_identity, hf_handshake_identity(engine, handshake),
               event->psk_identity_len);
    }
}

void hf_association_end(struct hf_engine *engine, struct hf_association *association,
                        const struct hf_failure *failure)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    if (failure)
        queue_end(engine, association, handshake, failure);
    hf_quota_end(engine, association, handshake != NULL);
    unlink_path(engine, association);
    if (handshake) {
        engine->counters.handshakes[failure ? failure->status : HF_E_ASSOCIATION_LIMIT]++;
        handshake_give(engine, association);
    } else {
        engine->counters.associations--;
        engine->counters.closes[failure->status]++;
    }
    hf_stream_abandon(engine, association);
    hf_identity_drop(engine, association->identity);
    hf_record_keys_drop(engine, association);
    hf_cid_drop(engine, association);
    uint32_t index = hf_association_index(engine, association);
    hf_wheel_disarm(&engine->wheel, index);
    uint32_t generation = association->generation;
    uint32_t flags = association->flags & HF_ASSOCIATION_REST_DUE;
    hf_wipe(association, sizeof *association);
    association->generation = generation;
    association->flags = flags;
    association->handshake = HF_NONE; /* callers up the stack look whether it still has one */
    hf_quota_rest(engine, association);
}

void hf_association_leave(struct hf_engine *engine, struct hf_association *association,
                          enum hf_leave leave)
{
    uint32_t generation = association->generation;
    bool is_replaceable = !association->leaving || association->leaving == HF_LEAVE_WRITE;
    if (!hf_outbox_has_room(&engine->outbox)) {
        if (is_replaceable)
            association->leaving = (uint8_t)leave;
        hf_association_arm(engine, association);
        return;
    }
    association->leaving = 0;
    if (leave == HF_LEAVE_TRUNCATED) {
        hf_machine_fail(engine, association, HF_E_TRUNCATED, HF_MACHINE_CLOSE, "RFC 5246 7.2.1");
        return;
    }
    const struct hf_machine_event event = {.kind = HF_MACHINE_CLOSE,
                                           .how = (enum hf_close)(leave - HF_LEAVE_SILENT),
                                           .reason = HF_E_CLOSED_LOCALLY};
    hf_machine_run(engine, association, &event);
    if (association->generation == generation && association->state != HF_STATE_FREE)
        hf_association_arm(engine, association);
}

/** Rounds up: a timer never fires before its time. */
static uint32_t tick_of(const struct hf_engine *engine, uint64_t at_us)
{
    uint64_t ahead = at_us > engine->now_us ? at_us - engine->now_us : 0;
    uint64_t ticks = (ahead + engine->now_us % HF_TICK_US + HF_TICK_US - 1) / HF_TICK_US;
    return engine->now_tick + (uint32_t)(ticks < INT32_MAX ? ticks : INT32_MAX);
}

void hf_association_arm(struct hf_engine *engine, struct hf_association *association)
{
    const struct hf_handshake *handshake = hf_handshake_of(engine, association);
    uint32_t index = hf_association_index(engine, association);
    uint32_t due = 0;
    bool is_due = false;
    if (handshake) {
        uint64_t at_us = handshake->deadline_us;
        if (handshake->retransmit_us < at_us)
            at_us = handshake->retransmit_us;
        if (handshake->pending != HF_PENDING_NONE && handshake->answer_deadline_us < at_us)
            at_us = handshake->answer_deadline_us;
        due = tick_of(engine, at_us);
        is_due = true;
    } else {
        is_due = hf_limits_due(&due, engine, association);
    }
    uint32_t record_due;
    if (hf_stream_due(&record_due, engine, association) &&
        (!is_due || (int32_t)(record_due - due) < 0)) {
        due = record_due;
        is_due = true;
    }
    uint32_t route_due;
    if (hf_route_due(&route_due, engine, association) &&
        (!is_due || (int32_t)(route_due - due) < 0)) {
        due = route_due;
        is_due = true;
    }
    if (association->leaving) {
        due = engine->now_tick;
        is_due = true;
    }
    if (!is_due)
        hf_wheel_disarm(&engine->wheel, index);
    else if (association->timer.prev == 0 || association->timer.due != due)
        hf_wheel_arm(&engine->wheel, index, due);
}
