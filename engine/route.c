/**
 * route.c - see route.h.
 */
#include "route.h"

#include "association.h"
#include "cid.h"
#include "record.h"

/* RFC 9853 4 */
enum {
    MESSAGE_PATH_CHALLENGE = 0,
    MESSAGE_PATH_RESPONSE,
    MESSAGE_PATH_DROP,

    COOKIE_LEN = 8,
    MESSAGE_LEN = 1 + COOKIE_LEN,
    AMPLIFICATION_MAX = 3,
};

static bool is_same_path(const struct hf_path_key *a, const struct hf_path_key *b)
{
    return hf_bytes_equal_public(a, b, sizeof *a);
}

static uint32_t add(uint32_t sum, size_t len)
{
    return len < UINT32_MAX - sum ? sum + (uint32_t)len : UINT32_MAX;
}

/** Whether so much may go to an address that is not checked yet. */
static bool is_allowed(const struct hf_engine *engine, const struct hf_cid_slot *slot, size_t len)
{
    uint64_t limit = (uint64_t)slot->received * AMPLIFICATION_MAX;
    if (limit > engine->config.path_len_max)
        limit = engine->config.path_len_max;
    return slot->sent + (uint64_t)len <= limit;
}

static bool is_checking(const struct hf_cid_slot *slot)
{
    return slot && (slot->state == HF_ROUTE_OLD || slot->state == HF_ROUTE_NEW);
}

static void send_message(struct hf_engine *engine, struct hf_association *association,
                         const struct hf_path_key *to, uint8_t type,
                         const uint8_t cookie[COOKIE_LEN])
{
    uint8_t body[MESSAGE_LEN] = {type};
    struct hf_cid_slot *slot = hf_cid_slot_of(engine, association);
    struct hf_packet packet =
        hf_packet_open(engine, association, MESSAGE_LEN + hf_packet_expansion(engine, association));
    memcpy(body + 1, cookie, COOKIE_LEN);
    /* No room, or too much for the address: like a datagram that is lost. */
    if (hf_packet_add(&packet, HF_TYPE_RETURN_ROUTABILITY, true,
                      (struct hf_bytes){body, sizeof body}) != HF_OK)
        return;
    if (is_checking(slot) && is_same_path(to, &slot->candidate)) {
        if (!is_allowed(engine, slot, packet.len)) {
            engine->counters.datagrams_withheld++;
            return;
        }
        slot->sent = add(slot->sent, packet.len);
    }
    packet.to = to;
    hf_packet_close(&packet);
}

/** Asks once more, with a cookie of its own: an answer to an earlier one is as good. */
static void challenge(struct hf_engine *engine, struct hf_association *association,
                      struct hf_cid_slot *slot, const struct hf_path_key *to)
{
    uint8_t *cookie = slot->cookies[slot->challenge_count++];
    hf_random(cookie, COOKIE_LEN);
    slot->due_tick = engine->now_tick + (uint32_t)(engine->config.path_us_max / HF_TICK_US) + 1;
    send_message(engine, association, to, MESSAGE_PATH_CHALLENGE, cookie);
    hf_association_arm(engine, association);
}

static void ask_old(struct hf_engine *engine, struct hf_association *association,
                    struct hf_cid_slot *slot)
{
    slot->state = HF_ROUTE_OLD;
    slot->challenge_count = 0;
    challenge(engine, association, slot, &association->path);
}

static void ask_new(struct hf_engine *engine, struct hf_association *association,
                    struct hf_cid_slot *slot)
{
    if (slot->state != HF_ROUTE_OLD) /* that was never asked: what nobody can answer */
        hf_random(slot->cookies[0], COOKIE_LEN);
    slot->state = HF_ROUTE_NEW;
    slot->challenge_count = 1; /* the first cookie is the old address's */
    challenge(engine, association, slot, &slot->candidate);
}

/** Forgets the candidate. */
static void settle(struct hf_engine *engine, struct hf_association *association,
                   struct hf_cid_slot *slot)
{
    slot->state = HF_ROUTE_NONE;
    slot->received = slot->sent = 0;
    hf_cid_slot_rest(engine, association);
    hf_association_arm(engine, association);
}

/** Has the association be found at another path. Where a path leads to somebody already, the one
 *  found there last has it; but only who is found by a connection ID can do without. */
static void move(struct hf_engine *engine, struct hf_association *association,
                 const struct hf_path_key *path)
{
    uint32_t index = hf_association_index(engine, association);
    const struct hf_path_key target = *path; /* may lie in a slot that goes */
    hf_table_remove(&engine->table, index);
    association->path = target;
    engine->counters.paths_moved++;
    uint32_t occupant = hf_table_find(&engine->table, &target);
    if (occupant != HF_NONE) {
        const struct hf_association *other = hf_association_at(engine, occupant);
        if (other->state == HF_STATE_OPEN && other->flags & HF_ASSOCIATION_CID &&
            other->datagram.successor == HF_NONE) {
            hf_table_remove(&engine->table, occupant);
            engine->counters.paths_displaced++;
            occupant = HF_NONE;
        }
    }
    /* Where there is no place for it, its connection ID leads to it all the same. */
    bool is_placed = occupant == HF_NONE && hf_table_insert(&engine->table, index);
    engine->counters.paths_aside += !is_placed;
    (void)hf_association_event(engine, association, HF_EVENT_MOVED);
}

static void begin(struct hf_engine *engine, struct hf_association *association,
                  const struct hf_path_key *path, size_t len)
{
    bool is_asking = association->flags & HF_ASSOCIATION_RRC;
    enum hf_path_policy policy = engine->config.path_policy;
    bool is_refused = association->datagram.successor != HF_NONE || /* a hello came from here */
                      (!is_asking && policy == HF_PATH_FIXED);
    struct hf_cid_slot *slot = NULL;
    if (!is_refused && (is_asking || policy == HF_PATH_BOUNDED))
        slot = hf_cid_slot_take(engine, association);
    if (is_refused || (!slot && (is_asking || policy != HF_PATH_FOLLOW))) {
        engine->counters.paths_refused++;
        return;
    }
    if (slot) {
        slot->candidate = *path;
        slot->received = add(0, len);
        slot->sent = 0;
    }
    if (!is_asking) {
        if (slot)
            slot->state = HF_ROUTE_UNCHECKED;
        move(engine, association, path);
        return;
    }
    engine->counters.paths_checked++;
    if (engine->config.path_check == HF_PATH_CHECK_BASIC)
        ask_new(engine, association, slot);
    else
        ask_old(engine, association, slot);
}

void hf_route_heard(struct hf_engine *engine, struct hf_association *association,
                    const struct hf_path_key *path, bool is_newest, size_t len)
{
    struct hf_cid_slot *slot = hf_cid_slot_of(engine, association);
    if (is_same_path(path, &association->path)) {
        if (slot && slot->state == HF_ROUTE_UNCHECKED)
            slot->received = add(slot->received, len);
        if (is_newest && is_checking(slot)) { /* it is where it was: somebody played a trick */
            engine->counters.paths_kept++;
            settle(engine, association, slot);
        }
        return;
    }
    if (is_checking(slot) && is_same_path(path, &slot->candidate)) {
        slot->received = add(slot->received, len);
        return;
    }
    if (!is_newest) {
        engine->counters.paths_refused++;
        return;
    }
    engine->counters.paths_seen++;
    begin(engine, association, path, len); /* in place of a check that is under way */
}

bool hf_route_send(const struct hf_path_key **out, const struct hf_path_key **also,
                   struct hf_engine *engine, struct hf_association *association, size_t len)
{
    struct hf_cid_slot *slot = hf_cid_slot_of(engine, association);
    *out = &association->path;
    *also = NULL;
    if (!slot || slot->state == HF_ROUTE_NONE)
        return true;
    if (!is_allowed(engine, slot, len))
        return slot->state != HF_ROUTE_UNCHECKED; /* the old address is still the peer's */
    slot->sent = add(slot->sent, len);
    if (slot->state != HF_ROUTE_UNCHECKED)
        *also = &slot->candidate;
    return true;
}

bool hf_route_due(uint32_t *due, const struct hf_engine *engine,
                  const struct hf_association *association)
{
    const struct hf_cid_slot *slot = hf_cid_slot_of(engine, association);
    if (!is_checking(slot))
        return false;
    *due = slot->due_tick;
    return true;
}

void hf_route_time(struct hf_engine *engine, struct hf_association *association)
{
    struct hf_cid_slot *slot = hf_cid_slot_of(engine, association);
    if (!is_checking(slot) || (int32_t)(engine->now_tick - slot->due_tick) < 0)
        return;
    if (slot->state == HF_ROUTE_OLD) {
        ask_new(engine, association, slot);
    } else if (slot->challenge_count < HF_CID_CHALLENGES_MAX) {
        challenge(engine, association, slot, &slot->candidate);
    } else {
        engine->counters.paths_failed++;
        settle(engine, association, slot);
    }
}

/** Which of our challenges a cookie is of: 0 for the old address, above for the new one; none:
 *  HF_CID_CHALLENGES_MAX. */
static size_t challenge_of(const struct hf_cid_slot *slot, const uint8_t cookie[COOKIE_LEN])
{
    size_t found = HF_CID_CHALLENGES_MAX;
    for (size_t i = 0; i < slot->challenge_count; i++) {
        if (hf_ct_equal(slot->cookies[i], cookie, COOKIE_LEN))
            found = i;
    }
    return found;
}

/** An answer to a challenge; whatever it is not, is passed over (RFC 9853 5.4). That the new
 *  address is the peer's only an answer from there can say: one from elsewhere shows no more than
 *  that our question was handed on. */
static enum hf_status take_answer(struct hf_engine *engine, struct hf_association *association,
                                  const struct hf_machine_event *event, uint8_t type,
                                  const uint8_t cookie[COOKIE_LEN])
{
    struct hf_cid_slot *slot = hf_cid_slot_of(engine, association);
    bool is_drop = type == MESSAGE_PATH_DROP;
    if (!is_checking(slot)) /* late: the record it came in has settled it, or one before */
        return HF_OK;
    size_t asked = challenge_of(slot, cookie);
    if (asked > 0 && !is_same_path(event->path, &slot->candidate))
        asked = HF_CID_CHALLENGES_MAX;
    if (asked == HF_CID_CHALLENGES_MAX || (is_drop && slot->state != HF_ROUTE_OLD)) {
        hf_drop_count(engine, HF_DROP_UNEXPECTED);
        return HF_DROPPED;
    }
    if (is_drop) {
        ask_new(engine, association, slot);
        return HF_OK;
    }
    if (asked == 0 || association->datagram.successor != HF_NONE) {
        engine->counters.paths_kept++;
    } else {
        const struct hf_path_key path = slot->candidate;
        move(engine, association, &path);
    }
    settle(engine, association, slot);
    return HF_OK;
}

enum hf_status hf_route_take(struct hf_engine *engine, struct hf_association *association,
                             const struct hf_machine_event *event)
{
    struct hf_reader reader = hf_reader_of(event->body);
    uint8_t type = hf_reader_u8(&reader);
    struct hf_bytes cookie = hf_reader_take(&reader, COOKIE_LEN);
    if (!(association->flags & HF_ASSOCIATION_RRC)) {
        hf_drop_count(engine, HF_DROP_UNEXPECTED);
        return HF_DROPPED;
    }
    if (type > MESSAGE_PATH_DROP) /* RFC 9853 4: of a later version */
        return HF_OK;
    if (!hf_reader_done(&reader)) {
        hf_drop_count(engine, HF_DROP_MALFORMED);
        return HF_DROPPED;
    }
    if (type != MESSAGE_PATH_CHALLENGE)
        return take_answer(engine, association, event, type, cookie.data);
    /* The address of ours that it came to is the one we use, unless we have left it. */
    bool is_ours = event->path->local_index == association->path.local_index;
    send_message(engine, association, event->path,
                 is_ours ? MESSAGE_PATH_RESPONSE : MESSAGE_PATH_DROP, cookie.data);
    return HF_OK;
}

void hf_route_info(struct hf_association_info *info, const struct hf_engine *engine,
                   const struct hf_association *association)
{
    const struct hf_cid_slot *slot = hf_cid_slot_of(engine, association);
    const struct hf_bytes peer = hf_cid_peer(engine, association);
    info->is_path_checked = !slot || slot->state != HF_ROUTE_UNCHECKED;
    info->is_path_checking = is_checking(slot);
    info->has_return_routability = association->flags & HF_ASSOCIATION_RRC;
    info->own_cid_len = (uint8_t)hf_cid_own(info->own_cid, engine, association);
    info->peer_cid_len = (uint8_t)peer.len;
    if (peer.len > 0)
        memcpy(info->peer_cid, peer.data, peer.len);
}
