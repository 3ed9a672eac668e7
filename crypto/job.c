/**
 * job.c - the scheduler: what all jobs of a loop turn ask for, done kind by kind in full batches.
 *
 * The parts of a job depend on each other only forwards: generate, then agree and sign, then every
 * signature there is to verify - the peer's proof, its certificates' and our own - in one queue. A
 * job that fails early costs nothing more. Knows no sessions and no clock.
 */
#include "credential.h"
#include "job_thread.h"
#include "p256_der.h"
#include "private.h"

#include <string.h>

/* ServerECDHParams: named_curve, secp256r1, 65 bytes of point (RFC 8422 5.4). */
static const uint8_t share_params[] = {0x03, 0x00, 0x17, HF_P256_POINT_LEN};

static bool asks(const struct hf__job_item *item, enum hf_job_part part)
{
    return (item->job->parts & part) != 0;
}

/* Whether anything is known to be wrong already: then no more work is put into it. */
static bool is_failed(const struct hf__job_item *item)
{
    return item->chain != HF_OK || item->verify != HF_OK || item->agree != HF_OK ||
           item->sign != HF_OK || item->generate != HF_OK;
}

static void count_batches(struct hf__job_thread *thread, enum hf_job_kind kind, size_t count)
{
    size_t lanes = hf_p256_best()->lanes;
    uint64_t *batches = thread->counters.batches[kind];

    if (lanes > HF_JOB_LANES_MAX)
        lanes = HF_JOB_LANES_MAX;
    batches[lanes - 1] += count / lanes;
    if (count % lanes > 0)
        batches[count % lanes - 1]++;
    thread->counters.operations[kind] += count;
}

/* ---- verification: one queue for every signature ---------------------------- */

/* A peer's key that is no point of the curve is its certificate's fault, if it came in one. */
static enum hf_status proof_status(const struct hf__job_item *item, enum hf_status status)
{
    if (HF_FUZZ_ACCEPT && status == HF_E_BAD_SIGNATURE)
        return HF_OK;
    if (status == HF_E_ILLEGAL_PARAMETER && asks(item, HF_JOB_CHAIN))
        return HF_E_CERTIFICATE_KEY;
    return status;
}

/* Keys that are prepared have rounds of their own, after they have filled the others' last. */
static void count_verifies(struct hf__job_thread *thread, size_t count)
{
    size_t lanes = hf_p256_best()->lanes;
    size_t others = 0;

    for (size_t i = 0; i < count; i++)
        others += thread->verifies[i].prepared == NULL;
    others = (others + lanes - 1) / lanes * lanes;
    if (others > count)
        others = count;
    count_batches(thread, HF_JOB_KIND_VERIFY, others);
    count_batches(thread, HF_JOB_KIND_VERIFY, count - others);
}

static void verify_all(struct hf__job_thread *thread)
{
    size_t count = thread->verify_count;

    if (count == 0)
        return;
    hf_p256_best()->verify(thread->verifies, count);
    count_verifies(thread, count);
    thread->verify_count = 0;
    for (size_t i = 0; i < count; i++) {
        struct hf__job_item *item = thread->verifying[i].item;
        enum hf_status status = thread->verifies[i].status;

        switch (thread->verifying[i].purpose) {
        case HF__JOB_LINK:
            if (status == HF_OK)
                hf__job_cache_keep(thread, item->job, thread->verifying[i].link);
            else if (!HF_FUZZ_ACCEPT)
                item->links_ok = false;
            break;
        case HF__JOB_PROOF:
            item->verify = proof_status(item, status);
            break;
        case HF__JOB_SELF_CHECK:
            item->is_signed = status == HF_OK;
            if (status != HF_OK)
                item->sign = HF_E_SIGNATURE;
            break;
        }
    }
}

static void verify_later(struct hf__job_thread *thread, struct hf__job_item *item,
                         enum hf__job_purpose purpose, const struct hf_p256_verify *operation,
                         const struct hf_chain_link *link)
{
    size_t i = thread->verify_count++;

    thread->verifies[i] = *operation;
    thread->verifying[i].item = item;
    thread->verifying[i].purpose = purpose;
    thread->verifying[i].link = link;
    if (thread->verify_count == HF__JOB_VERIFIES)
        verify_all(thread);
}

static void verify_job(struct hf__job_thread *thread, struct hf__job_item *item)
{
    struct hf_job *job = item->job;

    if (asks(item, HF_JOB_VERIFY))
        verify_later(
            thread, item, HF__JOB_PROOF,
            &(struct hf_p256_verify){job->verify_key, job->verify_digest, item->proof, HF_OK, NULL},
            NULL);
    for (size_t i = 0; item->is_walking && i < item->walk.link_count; i++) {
        const struct hf_chain_link *link = &item->walk.links[i];

        if (!hf__job_cache_find(thread, job, link))
            verify_later(thread, item, HF__JOB_LINK,
                         &(struct hf_p256_verify){link->public_key, link->digest, link->signature,
                                                  HF_OK, link->prepared},
                         link);
    }
    if (asks(item, HF_JOB_SIGN) && !item->is_waiting)
        verify_later(thread, item, HF__JOB_SELF_CHECK,
                     &(struct hf_p256_verify){hf_credential_public_key(job->credential),
                                              job->sign_digest, item->signature, HF_OK,
                                              hf__credential_prepared(job->credential)},
                     NULL);
}

/* ---- the other kinds ---------------------------- */

/* What can be judged without a multiplication, cheapest first. */
static void begin(struct hf__job_item *item, struct hf_job *job)
{
    struct hf_bytes proof = {job->verify_signature, job->verify_signature_len};

    item->job = job;
    item->walk.link_count = 0;
    item->is_walking = item->is_waiting = item->is_signed = false;
    item->links_ok = true;
    item->chain = item->verify = item->agree = item->sign = item->generate = HF_OK;
    if ((asks(item, HF_JOB_CHAIN) && !job->trust) || (asks(item, HF_JOB_SIGN) && !job->credential))
        item->sign = HF_E_ARGUMENT;
    else if (asks(item, HF_JOB_VERIFY) &&
             (proof.len > HF_P256_SIGNATURE_MAX || !hf_p256_der_read(item->proof, proof)))
        item->verify = HF_E_BAD_SIGNATURE;
    if (!is_failed(item) && asks(item, HF_JOB_CHAIN)) {
        item->chain = hf_chain_open(&item->walk, job);
        item->is_walking = item->chain == HF_OK;
    }
}

/* Gives a pair made ahead, at most once. */
static bool take_pair(struct hf__job_thread *thread, struct hf_job *job)
{
    struct hf__job_pair *pair;

    if (thread->pair_count == 0)
        return false;
    pair = &thread->pairs[--thread->pair_count];
    memcpy(job->private_key, pair->private_key, sizeof job->private_key);
    memcpy(job->public_key, pair->public_key, sizeof job->public_key);
    hf_wipe(pair, sizeof *pair);
    thread->counters.pairs_ahead++;
    return true;
}

/* Whole batches: what nobody asked for yet is kept for the next jobs of this thread. */
static void generate_all(struct hf__job_thread *thread, size_t item_count)
{
    struct hf_p256_generate operations[HF__JOB_CHUNK + HF_JOB_LANES_MAX];
    struct hf__job_item *items[HF__JOB_CHUNK];
    size_t lanes = hf_p256_best()->lanes;
    size_t asked = 0;
    size_t count;

    for (size_t i = 0; i < item_count; i++) {
        struct hf__job_item *item = &thread->items[i];

        if (!asks(item, HF_JOB_GENERATE) || is_failed(item) || take_pair(thread, item->job))
            continue;
        items[asked] = item;
        operations[asked++] =
            (struct hf_p256_generate){item->job->private_key, item->job->public_key, HF_OK};
    }
    if (asked == 0)
        return;
    count = asked;
    // pair_count is 0 here, or every job would have had one.
    while (thread->may_keep_pairs && lanes <= HF_JOB_LANES_MAX && count % lanes > 0) {
        struct hf__job_pair *pair = &thread->pairs[count - asked];

        operations[count++] = (struct hf_p256_generate){pair->private_key, pair->public_key, HF_OK};
    }
    hf_p256_best()->generate(operations, count);
    count_batches(thread, HF_JOB_KIND_GENERATE, count);
    for (size_t i = 0; i < asked; i++)
        items[i]->generate = operations[i].status;
    for (size_t i = asked; i < count && operations[i].status == HF_OK; i++)
        thread->pair_count++;
}

static void agree_all(struct hf__job_thread *thread, size_t item_count)
{
    struct hf_p256_agree operations[HF__JOB_CHUNK];
    struct hf__job_item *items[HF__JOB_CHUNK];
    size_t count = 0;

    for (size_t i = 0; i < item_count; i++) {
        struct hf__job_item *item = &thread->items[i];

        if (!asks(item, HF_JOB_AGREE) || is_failed(item))
            continue;
        items[count] = item;
        operations[count++] = (struct hf_p256_agree){item->job->private_key, item->job->peer_share,
                                                     item->job->shared_secret, HF_OK};
    }
    if (count == 0)
        return;
    hf_p256_best()->agree(operations, count);
    count_batches(thread, HF_JOB_KIND_AGREE, count);
    for (size_t i = 0; i < count; i++)
        items[i]->agree = operations[i].status;
}

static void digest_share(struct hf_job *job)
{
    struct hf_sha256 hash;

    hf_sha256_init(&hash);
    hf_sha256_update(&hash, job->client_random, sizeof job->client_random);
    hf_sha256_update(&hash, job->server_random, sizeof job->server_random);
    hf_sha256_update(&hash, share_params, sizeof share_params);
    hf_sha256_update(&hash, job->public_key, sizeof job->public_key);
    hf_sha256_final(job->sign_digest, &hash);
}

static void sign_all(struct hf__job_thread *thread, size_t item_count)
{
    struct hf_p256_sign operations[HF__JOB_CHUNK];
    struct hf__job_item *items[HF__JOB_CHUNK];
    size_t count = 0;

    for (size_t i = 0; i < item_count; i++) {
        struct hf__job_item *item = &thread->items[i];

        if (!asks(item, HF_JOB_SIGN) || is_failed(item))
            continue;
        if (item->job->sign_is_share)
            digest_share(item->job);
        item->is_waiting = hf__credential_key(item->job->credential) == NULL;
        if (item->is_waiting)
            continue;
        items[count] = item;
        operations[count++] = (struct hf_p256_sign){hf__credential_key(item->job->credential),
                                                    item->job->sign_digest, item->signature, HF_OK};
    }
    if (count == 0)
        return;
    hf_p256_best()->sign(operations, count);
    count_batches(thread, HF_JOB_KIND_SIGN, count);
    for (size_t i = 0; i < count; i++)
        items[i]->sign = operations[i].status;
}

/* ---- the verdict ---------------------------- */

static enum hf_status first_failure(const struct hf__job_item *item)
{
    const enum hf_status statuses[] = {item->chain, item->verify, item->agree, item->sign,
                                       item->generate};

    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        if (statuses[i] != HF_OK)
            return statuses[i];
    }
    return item->is_waiting ? HF_WAITING : HF_OK;
}

/* Nothing that was made on the way to a failure is left for anyone to use. */
static void wipe_results(struct hf_job *job)
{
    if ((job->parts & (HF_JOB_GENERATE | HF_JOB_AGREE)) != 0)
        hf_wipe(job->private_key, sizeof job->private_key);
    if ((job->parts & HF_JOB_AGREE) != 0)
        hf_wipe(job->shared_secret, sizeof job->shared_secret);
    if ((job->parts & HF_JOB_SIGN) != 0) {
        hf_wipe(job->signature, sizeof job->signature);
        job->signature_len = 0;
    }
    if ((job->parts & HF_JOB_CHAIN) != 0)
        memset(&job->peer, 0, sizeof job->peer);
}

static void finish(struct hf__job_thread *thread, struct hf__job_item *item)
{
    struct hf_job *job = item->job;

    if (item->is_walking)
        item->chain = hf_chain_finish(&item->walk, item->links_ok);
    if (item->sign == HF_E_SIGNATURE)
        thread->counters.signatures_bad++;
    job->status = first_failure(item);
    if (job->status != HF_OK && job->status != HF_WAITING)
        wipe_results(job);
    else if (item->is_signed)
        job->signature_len = hf_p256_der_write(job->signature, item->signature);
    hf_wipe(item->signature, sizeof item->signature);
}

static void run_chunk(struct hf__job_thread *thread, struct hf_job *const *jobs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        begin(&thread->items[i], jobs[i]);
    generate_all(thread, count);
    agree_all(thread, count);
    sign_all(thread, count);
    for (size_t i = 0; i < count; i++) {
        if (!is_failed(&thread->items[i]))
            verify_job(thread, &thread->items[i]);
    }
    verify_all(thread);
    for (size_t i = 0; i < count; i++)
        finish(thread, &thread->items[i]);
}

static void count_run(struct hf_job_counters *counters, size_t job_count)
{
    size_t bucket = 0;

    while (bucket < HF_JOB_RUN_BUCKETS - 1 && job_count > (size_t)1 << bucket)
        bucket++;
    counters->runs++;
    counters->jobs += job_count;
    counters->runs_by_jobs[bucket]++;
}

void hf_job_run(struct hf_job *const *jobs, size_t job_count)
{
    struct hf__job_thread *thread = hf__job_thread_view();

    if (job_count == 0)
        return;
    if (!thread) {
        for (size_t i = 0; i < job_count; i++) {
            wipe_results(jobs[i]);
            jobs[i]->status = HF_E_MEMORY;
        }
        return;
    }
    count_run(&thread->counters, job_count);
    for (size_t done = 0; done < job_count; done += HF__JOB_CHUNK) {
        size_t left = job_count - done;

        run_chunk(thread, jobs + done, left < HF__JOB_CHUNK ? left : HF__JOB_CHUNK);
    }
}

enum hf_status hf_job_complete_signature(struct hf_job *job, struct hf_bytes signature)
{
    uint8_t plain[HF_P256_SIGNATURE_LEN];
    struct hf_p256_verify operation = {NULL, job->sign_digest, plain, HF_E_SIGNER, NULL};

    if (job->status != HF_WAITING || (job->parts & HF_JOB_SIGN) == 0)
        return HF_E_STATE;
    if (signature.len > 0) {
        operation.public_key = hf_credential_public_key(job->credential);
        operation.prepared = hf__credential_prepared(job->credential);
        operation.status = HF_E_SIGNATURE;
        if (signature.len <= HF_P256_SIGNATURE_MAX && hf_p256_der_read(plain, signature))
            hf_p256_best()->verify(&operation, 1);
        if (operation.status == HF_E_BAD_SIGNATURE)
            operation.status = HF_E_SIGNATURE;
    }
    job->status = operation.status;
    if (job->status == HF_OK)
        job->signature_len = hf_p256_der_write(job->signature, plain);
    else
        wipe_results(job);
    return job->status;
}

void hf_job_wipe(struct hf_job *job)
{
    hf_wipe(job, sizeof *job);
}

const char *hf_job_kind_name(enum hf_job_kind kind)
{
    static const char *const names[] = {"generate", "agree", "sign", "verify"};

    return (unsigned)kind < HF_JOB_KIND_COUNT ? names[kind] : "unknown";
}
