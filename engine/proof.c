/**
 * proof.c - see proof.h.
 */
#include "proof.h"

#include "answer.h"
#include "association.h"

static struct hf_proof *proof_at(const struct hf_engine *engine, uint32_t index)
{
    return hf_pool_at(&engine->proofs, index);
}

struct hf_proof *hf_proof_of(const struct hf_engine *engine, const struct hf_handshake *handshake)
{
    HF_ASSERT(handshake->proof != HF_NONE);
    return proof_at(engine, handshake->proof);
}

uint8_t *hf_proof_chain(const struct hf_engine *engine, struct hf_proof *proof)
{
    return (uint8_t *)proof + engine->proofs.stride - engine->config.message_len_max;
}

enum hf_status hf_proof_take(struct hf_engine *engine, struct hf_association *association,
                             const struct hf_credential *credential, const struct hf_trust *trust)
{
    uint32_t index = hf_pool_take(&engine->proofs);
    if (index == HF_NONE)
        return HF_E_PROOF_LIMIT;
    struct hf_proof *proof = proof_at(engine, index);
    memset(proof, 0, sizeof *proof);
    proof->handshake = association->handshake;
    proof->credential = credential ? hf_credential_share(credential) : NULL;
    proof->trust = trust ? hf_trust_share(trust) : NULL;
    hf_handshake_of(engine, association)->proof = index;
    return HF_OK;
}

/** Wipes the slot and gives it back: nobody has the job any more. */
static void release(struct hf_engine *engine, struct hf_proof *proof, uint32_t index)
{
    hf_credential_close((struct hf_credential *)(uintptr_t)proof->credential);
    hf_trust_close((struct hf_trust *)(uintptr_t)proof->trust);
    hf_wipe(proof, sizeof *proof);
    proof->handshake = HF_NONE;
    hf_pool_give(&engine->proofs, index);
}

void hf_proof_give(struct hf_engine *engine, struct hf_handshake *handshake)
{
    uint32_t index = handshake->proof;
    if (index == HF_NONE)
        return;
    struct hf_proof *proof = proof_at(engine, index);
    handshake->proof = HF_NONE;
    proof->handshake = HF_NONE;
    if (!proof->is_away && !proof->is_queued)
        release(engine, proof, index);
}

void hf_proof_ask(struct hf_engine *engine, struct hf_association *association, uint8_t parts)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    struct hf_proof *proof = hf_proof_of(engine, handshake);
    handshake->pending = HF_PENDING_JOB;
    handshake->is_answered = false;
    handshake->seq++;
    handshake->answer_deadline_us = engine->now_us + engine->config.answer_us_max;
    proof->job.ticket =
        (struct hf_ticket){association->handshake, handshake->generation, handshake->seq};
    proof->job.parts = parts;
    proof->job.status = HF_WAITING;
    proof->job.wall_s = engine->wall_s;
    HF_ASSERT(!proof->is_queued && !proof->is_away);
    uint32_t at = (engine->jobs_head + engine->jobs_count++) % engine->proofs.count;
    engine->jobs[at] = handshake->proof;
    proof->is_queued = true;
}

enum hf_status hf_proof_answered(struct hf_engine *engine, struct hf_handshake *handshake)
{
    handshake->pending = HF_PENDING_NONE;
    return hf_proof_of(engine, handshake)->job.status;
}

size_t hf_engine_take_jobs(struct hf_engine *engine, struct hf_job **jobs, size_t jobs_max)
{
    size_t count = 0;
    hf_answer_run(engine);
    while (engine->jobs_count > 0 && count < jobs_max) {
        uint32_t index = engine->jobs[engine->jobs_head];
        engine->jobs_head = (engine->jobs_head + 1) % engine->proofs.count;
        engine->jobs_count--;
        struct hf_proof *proof = proof_at(engine, index);
        proof->is_queued = false;
        if (proof->handshake == HF_NONE) {
            release(engine, proof, index);
            continue;
        }
        proof->is_away = true;
        jobs[count++] = &proof->job;
    }
    engine->counters.jobs += count;
    return count;
}

void hf_engine_give_job(struct hf_engine *engine, struct hf_job *job)
{
    struct hf_proof *proof =
        (struct hf_proof *)(void *)((uint8_t *)job - offsetof(struct hf_proof, job));
    uint32_t index =
        (uint32_t)(((uint8_t *)proof - engine->proofs.slots) / (ptrdiff_t)engine->proofs.stride);
    HF_ASSERT(index < engine->proofs.touched && proof == proof_at(engine, index) &&
              proof->is_away); /* the caller's bug: not one of ours, or given twice */
    proof->is_away = false;
    if (proof->handshake == HF_NONE) {
        engine->counters.jobs_stale++;
        release(engine, proof, index);
        return;
    }
    /* While the slot has a handshake, that waits for this very job. */
    struct hf_handshake *handshake = hf_handshake_at(engine, proof->handshake);
    HF_ASSERT(handshake->pending == HF_PENDING_JOB && handshake->seq == job->ticket.seq);
    if (job->status == HF_WAITING) /* nobody could sign it */
        job->status = HF_E_SIGNER;
    handshake->is_answered = true;
    hf_answer_queue(engine, handshake, proof->handshake);
}

void hf_engine_run_jobs(struct hf_engine *engine)
{
    enum { BATCH = 64 };
    struct hf_job *jobs[BATCH];
    size_t count;
    while ((count = hf_engine_take_jobs(engine, jobs, BATCH)) > 0) {
        hf_job_run(jobs, count);
        for (size_t i = 0; i < count; i++)
            hf_engine_give_job(engine, jobs[i]);
    }
}

void hf_proof_close(struct hf_engine *engine)
{
    for (uint32_t i = 0; i < engine->proofs.touched; i++) {
        const struct hf_proof *proof = proof_at(engine, i);
        hf_credential_close((struct hf_credential *)(uintptr_t)proof->credential);
        hf_trust_close((struct hf_trust *)(uintptr_t)proof->trust);
    }
}
