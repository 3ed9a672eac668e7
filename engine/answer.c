/**
 * answer.c - see answer.h.
 */
#include "answer.h"

#include "association.h"
#include "datagram.h"
#include "identity.h"
#include "machine.h"
#include "stream.h"

void hf_answer_queue(struct hf_engine *engine, struct hf_handshake *handshake, uint32_t slot)
{
    if (handshake->is_queued)
        return;
    handshake->is_queued = true;
    uint32_t at = (engine->answers_head + engine->answers_count) % engine->answers_max;
    HF_ASSERT(engine->answers_count < engine->answers_max);
    engine->answers[at] = slot;
    engine->answers_count++;
}

static void ask(struct hf_engine *engine, struct hf_association *association,
                struct hf_handshake *handshake)
{
    static const enum hf_request_kind kinds[] = {
        [HF_PENDING_KEY] = HF_REQUEST_KEY,
        [HF_PENDING_SESSION] = HF_REQUEST_SESSION,
        [HF_PENDING_IDENTITY] = HF_REQUEST_IDENTITY,
    };
    bool is_key = handshake->pending == HF_PENDING_KEY;
    bool is_ems = association->flags & HF_ASSOCIATION_EMS;
    struct hf_association_info info = {0};
    if (!is_key)
        hf_identity_copy(&info, engine, association->identity);
    const struct hf_path path = hf_association_path(engine, association);
    const struct hf_request request = {
        .ticket = {association->handshake, handshake->generation, handshake->seq},
        .kind = kinds[handshake->pending],
        .listener_index = association->listener_index,
        .is_client = hf_is_client(association),
        .suite = association->suite,
        .psk_identity = {hf_handshake_identity(engine, handshake), handshake->identity_len},
        .server_name = {handshake->terms.server_name, handshake->terms.server_name_len},
        .credential_id = {(const uint8_t *)info.credential_id, info.credential_id_len},
        .context = association->context,
        .path = &path,
        .client_random = association->client_random,
        .server_random = association->server_random,
        .session_hash = {handshake->session_hash, is_ems ? HF_SHA256_LEN : 0},
        .deadline_us = handshake->answer_deadline_us,
    };
    engine->counters.requests++;
    engine->source.request(engine, &request, engine->source.arg);
}

void hf_answer_expect(struct hf_engine *engine, struct hf_association *association,
                      enum hf_pending pending, bool is_asked)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    handshake->pending = (uint8_t)pending;
    handshake->is_answered = false;
    handshake->seq++;
    handshake->answer_deadline_us = engine->now_us + engine->config.answer_us_max;
    engine->counters.parked++;
    if (is_asked) {
        ask(engine, association, handshake);
    } else {
        handshake->answer_kind = pending == HF_PENDING_KEY ? HF_ANSWER_REFUSED : HF_ANSWER_IDENTITY;
        handshake->is_answered = true;
        hf_answer_queue(engine, handshake, association->handshake);
    }
}

void hf_answer_taken(struct hf_engine *engine, struct hf_handshake *handshake)
{
    handshake->pending = HF_PENDING_NONE;
    engine->counters.parked--;
}

enum hf_status hf_answer_bound(struct hf_engine *engine, struct hf_association *association)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    hf_answer_taken(engine, handshake);
    if (handshake->answer_kind == HF_ANSWER_UNAVAILABLE)
        return HF_E_SOURCE_UNAVAILABLE;
    if (!hf_is_datagram(association) && handshake->assembly.received > 0)
        return HF_E_UNEXPECTED_MESSAGE; /* bytes behind Finished, in its record */
    return handshake->answer_kind == HF_ANSWER_IDENTITY ? HF_OK : HF_E_IDENTITY_REFUSED;
}

static bool is_secret_len_valid(enum hf_answer_kind kind, size_t len)
{
    switch (kind) {
    case HF_ANSWER_PSK:
        return len >= 1 && len <= HF_PSK_MAX;
    case HF_ANSWER_PREMASTER:
        return len >= 1 && len <= HF_SECRET_MAX;
    case HF_ANSWER_MASTER_SECRET:
        return len == HF_MASTER_SECRET_LEN;
    case HF_ANSWER_IDENTITY:
    case HF_ANSWER_REFUSED:
    case HF_ANSWER_UNAVAILABLE:
    default:
        return len == 0;
    }
}

static bool is_answer_valid(const struct hf_handshake *handshake, const struct hf_answer *answer)
{
    bool is_negative = answer->kind == HF_ANSWER_REFUSED || answer->kind == HF_ANSWER_UNAVAILABLE;
    bool is_identity = answer->kind == HF_ANSWER_IDENTITY;
    bool is_asked = handshake->pending != HF_PENDING_KEY; /* nothing but yes or no */
    return (is_negative || is_identity == is_asked) &&
           (unsigned)answer->kind <= HF_ANSWER_UNAVAILABLE &&
           is_secret_len_valid(answer->kind, answer->secret.len) &&
           answer->entity_id.len <= HF_ENTITY_ID_MAX &&
           answer->credential_id.len <= HF_CREDENTIAL_ID_MAX && answer->expires_s >= 0 &&
           answer->expires_s <= UINT32_MAX;
}

/** Keeps the names; what an identity answer leaves out stays as the key answer said. */
static enum hf_status keep_names(struct hf_engine *engine, struct hf_association *association,
                                 struct hf_handshake *handshake, const struct hf_answer *answer)
{
    struct hf_association_info former = {0};
    hf_identity_copy(&former, engine, association->identity);
    uint8_t handles[HF_CHAIN_DEPTH_MAX * HF_REVOCATION_HANDLE_LEN];
    size_t handle_count = hf_identity_handles(handles, engine, association->identity);
    struct hf_identity identity = {
        .handles = {handles, handle_count * HF_REVOCATION_HANDLE_LEN},
        .entity_id = answer->entity_id,
        .credential_id = answer->credential_id,
        .server_name = {handshake->terms.server_name, handshake->terms.server_name_len},
    };
    if (identity.credential_id.len == 0)
        identity.credential_id =
            (struct hf_bytes){(const uint8_t *)former.credential_id, former.credential_id_len};
    bool is_other = identity.credential_id.len != former.credential_id_len ||
                    (former.credential_id_len > 0 &&
                     !hf_bytes_equal_public(identity.credential_id.data, former.credential_id,
                                            former.credential_id_len));
    if (association->flags & HF_ASSOCIATION_SA2 && is_other)
        handshake->is_misnamed = true;
    if (handshake->is_named) {
        const struct hf_bytes expected = {(const uint8_t *)former.entity_id, former.entity_id_len};
        if (identity.entity_id.len == 0)
            identity.entity_id = expected;
        else if (identity.entity_id.len != expected.len ||
                 !hf_bytes_equal_public(identity.entity_id.data, expected.data, expected.len))
            handshake->is_misnamed = true;
    }
    uint32_t head;
    HF_TRY(hf_identity_keep(&head, engine, &identity));
    hf_identity_drop(engine, association->identity);
    association->identity = head;
    return HF_OK;
}

static void keep_answer(struct hf_engine *engine, struct hf_association *association,
                        struct hf_handshake *handshake, const struct hf_answer *answer)
{
    uint8_t former_kind = association->entity_kind;
    handshake->answer_kind = (uint8_t)answer->kind;
    if (answer->kind == HF_ANSWER_REFUSED || answer->kind == HF_ANSWER_UNAVAILABLE ||
        handshake->pending == HF_PENDING_SESSION)
        return;
    if (keep_names(engine, association, handshake, answer) != HF_OK) {
        handshake->answer_kind = HF_ANSWER_UNAVAILABLE;
        return;
    }
    handshake->is_identity_following = answer->identity_follows;
    handshake->secret.len = (uint16_t)answer->secret.len;
    if (answer->secret.len > 0)
        memcpy(handshake->secret.data, answer->secret.data, answer->secret.len);
    association->entity_kind = (uint8_t)answer->entity_kind;
    if (handshake->is_named && answer->entity_id.len == 0)
        association->entity_kind = former_kind;
    association->context = answer->context;
    if (answer->kind == HF_ANSWER_IDENTITY)
        return;
    association->framework = (uint8_t)answer->framework;
    association->suid = answer->suid;
    association->expires_s = (uint32_t)answer->expires_s;
}

enum hf_status hf_engine_answer(struct hf_engine *engine, struct hf_ticket ticket,
                                const struct hf_answer *answer)
{
    struct hf_handshake *handshake =
        ticket.slot < engine->handshakes.touched ? hf_handshake_at(engine, ticket.slot) : NULL;
    if (!handshake || handshake->generation != ticket.generation || handshake->seq != ticket.seq ||
        handshake->association == HF_NONE || handshake->pending == HF_PENDING_NONE ||
        handshake->pending == HF_PENDING_JOB || handshake->is_answered ||
        engine->now_us > handshake->answer_deadline_us) {
        engine->counters.answers_stale++;
        return HF_E_STALE;
    }
    if (!is_answer_valid(handshake, answer))
        return HF_E_ARGUMENT;
    struct hf_association *association = hf_association_at(engine, handshake->association);
    keep_answer(engine, association, handshake, answer);
    handshake->is_answered = true;
    hf_answer_queue(engine, handshake, ticket.slot);
    engine->counters.answers++;
    return HF_OK;
}

/** Takes up what was held back. What finds no room even now is looked at again next turn. */
static void resume(struct hf_engine *engine, struct hf_association *association)
{
    uint32_t slot = association->handshake;
    if (hf_is_datagram(association))
        hf_datagram_resume(engine, association);
    else
        hf_stream_resume(engine, association);
    struct hf_handshake *handshake = slot == HF_NONE ? NULL : hf_handshake_at(engine, slot);
    if (handshake && handshake->association != HF_NONE && handshake->kept_len > 0 &&
        !hf_outbox_has_room(&engine->outbox))
        hf_answer_queue(engine, handshake, slot);
}

void hf_answer_run(struct hf_engine *engine)
{
    while (engine->answers_count > 0 && hf_outbox_has_room(&engine->outbox)) {
        uint32_t slot = engine->answers[engine->answers_head];
        engine->answers_head = (engine->answers_head + 1) % engine->answers_max;
        engine->answers_count--;
        struct hf_handshake *handshake = hf_handshake_at(engine, slot);
        handshake->is_queued = false;
        if (handshake->association == HF_NONE)
            continue; /* the handshake ended meanwhile */
        struct hf_association *association = hf_association_at(engine, handshake->association);
        uint32_t generation = association->generation;
        const struct hf_machine_event event = {
            .kind = handshake->pending == HF_PENDING_JOB ? HF_MACHINE_JOB : HF_MACHINE_ANSWER};
        if (handshake->is_answered && handshake->pending != HF_PENDING_NONE) {
            handshake->is_answered = false;
            engine->early_len = 0;
            hf_machine_run(engine, association, &event);
        }
        if (association->generation != generation || association->state == HF_STATE_FREE)
            continue;
        resume(engine, association);
    }
}
