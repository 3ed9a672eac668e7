/**
 * audit.c - see world.h: counts the engine's structures anew and compares with what it believes.
 */
#include "association.h"
#include "cid.h"
#include "identity.h"
#include "proof.h"
#include "recall.h"
#include "stream.h"
#include "world.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#define FUZZ_FENCED 1
#endif
#endif

#define IDENTITY_CLASS_SHIFT 30 /* of identity.c: which pool a block is of */

struct totals {
    uint32_t live, open, half_open, parked, streams, identities, in_table, timers, queued, spoiled;
    uint32_t proofs; /* of handshakes */
    uint32_t small_identities, mac_keys, cids;
};

static void audit_links(const struct hf_engine *engine, const struct hf_association *association,
                        uint32_t index)
{
    const struct hf_association *next = hf_association_successor(engine, association);
    const struct hf_handshake *handshake = hf_handshake_of(engine, association);
    if (next) {
        FUZZ_CHECK(association->state == HF_STATE_OPEN && next->state != HF_STATE_FREE);
        FUZZ_CHECK(next->handshake != HF_NONE);
        FUZZ_CHECK(hf_handshake_of(engine, next)->predecessor == index);
    }
    if (handshake && handshake->predecessor != HF_NONE) {
        const struct hf_association *former = hf_association_at(engine, handshake->predecessor);
        FUZZ_CHECK(hf_association_successor(engine, former) == association);
    }
}

static void audit_handshake(struct totals *totals, const struct hf_engine *engine,
                            const struct hf_association *association, uint32_t index)
{
    const struct hf_handshake *handshake = hf_handshake_of(engine, association);
    FUZZ_CHECK(association->handshake < engine->handshakes.touched);
    FUZZ_CHECK(handshake->association == index);
    FUZZ_CHECK(handshake->kept_len <= engine->slot.kept_max);
    FUZZ_CHECK(handshake->identity_len <= engine->config.identity_len_max);
    FUZZ_CHECK(handshake->flight_len <= HF_FLIGHT_LEN_MAX);
    FUZZ_CHECK(handshake->assembly.range_count <= HF_RANGES_MAX);
    FUZZ_CHECK(association->timer.prev != 0); /* its end is certain */
    totals->half_open++;
    totals->parked += handshake->pending != HF_PENDING_NONE && handshake->pending != HF_PENDING_JOB;
    totals->spoiled += handshake->is_spoiled;
    if (handshake->proof == HF_NONE)
        return;
    totals->proofs++;
    FUZZ_CHECK(handshake->proof < engine->proofs.touched);
    FUZZ_CHECK(hf_proof_of(engine, handshake)->handshake == association->handshake);
}

/* Those without a handshake have their job away, or in the ring. */
static void audit_proofs(const struct totals *totals, const struct hf_engine *engine)
{
    uint32_t bound = 0, orphans = 0;
    for (uint32_t i = 0; i < engine->proofs.touched; i++) {
        const struct hf_proof *proof = hf_pool_at(&engine->proofs, i);
        if (proof->handshake != HF_NONE)
            bound++;
        else if (proof->is_away || proof->is_queued)
            orphans++;
        else /* given back: wiped */
            FUZZ_CHECK(!proof->credential && !proof->trust && proof->job.parts == 0);
    }
    FUZZ_CHECK(bound == totals->proofs);
    FUZZ_CHECK(bound + orphans == engine->proofs.used);
}

static void audit_association(struct totals *totals, const struct hf_engine *engine, uint32_t index)
{
    struct hf_association *association = hf_association_at(engine, index);
    struct hf_association_info info;
    if (association->state == HF_STATE_FREE)
        return;
    totals->live++;
    FUZZ_CHECK((association->state == HF_STATE_OPEN) == (association->handshake == HF_NONE));
    if (association->state == HF_STATE_OPEN)
        totals->open++;
    else
        audit_handshake(totals, engine, association, index);
    audit_links(engine, association, index);
    totals->timers += association->timer.prev != 0;
    totals->queued += (association->flags & HF_ASSOCIATION_READ_QUEUED) != 0;
    if (!hf_is_datagram(association) && association->stream.buffer != HF_NONE) {
        FUZZ_CHECK(association->timer.prev != 0); /* a partial record has a deadline */
        totals->streams++;
    }
    totals->mac_keys += association->mac_keys != HF_NONE;
    const struct hf_cid_slot *slot = hf_cid_slot_of(engine, association);
    if (slot) { /* for as long as there is something to remember */
        FUZZ_CHECK(slot->len > 0 || slot->state != HF_ROUTE_NONE);
        FUZZ_CHECK(slot->len <= HF_CID_LEN_MAX);
        FUZZ_CHECK(slot->challenge_count <= HF_CID_CHALLENGES_MAX);
        totals->cids++;
    }
    uint32_t at = association->identity;
    if (at != HF_NONE && at >> IDENTITY_CLASS_SHIFT != 0)
        totals->small_identities++;
    else
        for (; at != HF_NONE; totals->identities++)
            memcpy(&at, hf_pool_at(&engine->identities, at), sizeof at);
    hf_identity_copy(&info, engine, association->identity);
    const struct hf_handshake *handshake = hf_handshake_of(engine, association);
    if (!hf_is_datagram(association) || (handshake && handshake->predecessor != HF_NONE))
        return;
    /* Two that have moved may have one address: then one is found by its connection ID alone. */
    bool is_found = hf_table_find(&engine->table, &association->path) == index;
    FUZZ_CHECK(is_found ||
               (association->state == HF_STATE_OPEN && association->flags & HF_ASSOCIATION_CID));
    totals->in_table += is_found;
}

/* Thousands of cells each turn: not worth a sanitizer's look at each. */
__attribute__((no_sanitize("address", "undefined"))) static void
audit_tables(const struct totals *totals, const struct hf_engine *engine)
{
    uint32_t prefixes = 0, slots = 0;
    for (size_t i = 0; i < HF_PREFIX_CELLS; i++)
        prefixes += engine->prefix_cells[i];
    for (size_t i = 0; i < engine->table.size; i++)
        slots += engine->table.slots[i].index != 0;
    FUZZ_CHECK(prefixes == totals->half_open);
    FUZZ_CHECK(slots == totals->in_table && engine->table.count == totals->in_table);
}

static void audit_lists(const struct totals *totals, const struct hf_engine *engine)
{
    uint32_t queued = 0, spoiled = 0;
    for (uint32_t at = engine->waiting_head; at != HF_NONE; queued++) {
        FUZZ_CHECK(queued <= totals->queued);
        at = hf_association_at(engine, at)->stream.waiting_next;
    }
    for (uint32_t at = engine->spoiled_head; at != HF_NONE; spoiled++) {
        FUZZ_CHECK(spoiled <= totals->spoiled);
        at = hf_handshake_at(engine, at)->spoiled_next;
    }
    FUZZ_CHECK(queued == totals->queued && spoiled == totals->spoiled);
}

void fuzz_audit(const struct fuzz_world *world)
{
    const struct hf_engine *engine = world->engine;
    struct totals totals = {0};
    struct hf_counters counters;
    hf_engine_counters(&counters, engine);
    for (uint32_t i = 0; i < engine->associations.touched; i++)
        audit_association(&totals, engine, i);
    audit_lists(&totals, engine);
    audit_proofs(&totals, engine);
    audit_tables(&totals, engine);
    FUZZ_CHECK(totals.live == engine->associations.used);
    FUZZ_CHECK(totals.open == counters.associations);
    FUZZ_CHECK(totals.half_open == counters.handshakes_open);
    FUZZ_CHECK(totals.parked == counters.parked);
    uint32_t small_used = 0;
    for (size_t i = 0; i < HF_SMALL_IDENTITIES; i++)
        small_used += engine->small_identities[i].used;
    FUZZ_CHECK(totals.identities == engine->identities.used);
    FUZZ_CHECK(totals.small_identities == small_used);
    FUZZ_CHECK(totals.mac_keys == engine->mac_keys.used);
    FUZZ_CHECK(totals.cids == engine->cids.used);
    FUZZ_CHECK(totals.streams + engine->streams_spent_count == counters.stream_buffers);
    FUZZ_CHECK(totals.timers == engine->wheel.armed);
    FUZZ_CHECK(engine->answers_count <= engine->answers_max);
    FUZZ_CHECK(engine->outbox.data_len <= engine->outbox.data_max);
    FUZZ_CHECK(world->question_count <= totals.parked);
}

/* ---- fences: the engine's memory is one mapping, in which a sanitizer sees no borders -------- */

#ifdef FUZZ_FENCED
static void fence(const uint8_t *begin, const uint8_t *end, bool is_up)
{
    if (begin >= end)
        return;
    if (is_up)
        ASAN_POISON_MEMORY_REGION(begin, (size_t)(end - begin));
    else
        ASAN_UNPOISON_MEMORY_REGION(begin, (size_t)(end - begin));
}

/* From the end of an area to the end of its page. */
static void fence_tail(const void *area, size_t len, bool is_up)
{
    const uint8_t *end = (const uint8_t *)area + len;
    fence(end, (const uint8_t *)area + (len + 4095) / 4096 * 4096, is_up);
}

static void fence_slot(const struct hf_engine *engine, const uint8_t *slot, bool is_up)
{
    const struct hf_slot_layout *layout = &engine->slot;
    fence(slot + sizeof(struct hf_handshake), slot + layout->identity, is_up);
    fence(slot + layout->identity + engine->config.identity_len_max, slot + layout->kept, is_up);
    fence(slot + layout->kept + layout->kept_max, slot + layout->message, is_up);
    size_t session_len = engine->config.dialer_count > 0 ? HF_RECALL_LEN : 0;
    fence(slot + layout->message + engine->config.message_len_max + 4, slot + layout->session,
          is_up);
    fence(slot + layout->session + session_len, slot + layout->stride, is_up);
}

static void fence_proof(const struct hf_engine *engine, const uint8_t *slot, bool is_up)
{
    fence(slot + sizeof(struct hf_proof),
          slot + engine->proofs.stride - engine->config.message_len_max, is_up);
}
#endif

void fuzz_audit_fence(const struct fuzz_world *world, bool is_up)
{
#ifdef FUZZ_FENCED
    const struct hf_engine *engine = world->engine;
    const struct hf_outbox *outbox = &engine->outbox;
    const struct hf_pool *pools[] = {&engine->associations, &engine->handshakes, &engine->proofs,
                                     &engine->identities, &engine->streams};
    for (uint32_t i = 0; i < engine->handshakes.count; i++)
        fence_slot(engine, (const uint8_t *)hf_handshake_at(engine, i), is_up);
    for (uint32_t i = 0; i < engine->proofs.count; i++)
        fence_proof(engine, hf_pool_at(&engine->proofs, i), is_up);
    for (size_t i = 0; i < sizeof pools / sizeof pools[0]; i++)
        fence_tail(pools[i]->slots, pools[i]->stride * pools[i]->count, is_up);
    fence_tail(engine, sizeof *engine, is_up);
    fence_tail(outbox->data, outbox->data_max, is_up);
    fence_tail(outbox->outputs, outbox->output_max * sizeof *outbox->outputs, is_up);
    fence_tail(engine->answers, engine->answers_max * sizeof *engine->answers, is_up);
    fence_tail(engine->streams_spent, engine->streams.count * sizeof(uint32_t), is_up);
    fence_tail(engine->locals, engine->config.local_addresses_max * sizeof *engine->locals, is_up);
#else
    (void)world;
    (void)is_up;
#endif
}
