/**
 * exposition_jobs.c - the metrics of crypto jobs: how full batches are, how long jobs wait, and
 * what remote signers do.
 */
#include "exposition.h"
#include "signers.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

static void head(FILE *out, const char *name, const char *type, const char *help)
{
    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* All members are uint64_t. */
static void sum_up(struct hf_loop_job_counters *out, const struct hf_daemon *daemon)
{
    _Static_assert(sizeof(*out) % sizeof(uint64_t) == 0, "counters are whole words");
    memset(out, 0, sizeof(*out));
    for (uint32_t i = 0; i < daemon->shard_count; i++) {
        struct hf_loop_job_counters one;
        const uint64_t *from = (const uint64_t *)(const void *)&one;
        uint64_t *to = (uint64_t *)(void *)out;
        hf_loop_job_counters_get(&one, hf_shard_loop(daemon->shards[i]));
        for (size_t word = 0; word < sizeof(one) / sizeof(*to); word++)
            to[word] += from[word];
    }
}

static void write_batches(FILE *out, const struct hf_job_counters *run)
{
    static const char name[] = "handfast_crypto_batch_operations";
    head(out, name, "histogram", "P-256 operations done together; lanes hold 8.");
    for (int kind = 0; kind < HF_JOB_KIND_COUNT; kind++) {
        const char *label = hf_job_kind_name((enum hf_job_kind)kind);
        uint64_t count = 0;
        for (int n = 0; n < HF_JOB_LANES_MAX; n++) {
            count += run->batches[kind][n];
            fprintf(out, "%s_bucket{kind=\"%s\",le=\"%d\"} %" PRIu64 "\n", name, label, n + 1,
                    count);
        }
        fprintf(out,
                "%s_bucket{kind=\"%s\",le=\"+Inf\"} %" PRIu64 "\n"
                "%s_sum{kind=\"%s\"} %" PRIu64 "\n%s_count{kind=\"%s\"} %" PRIu64 "\n",
                name, label, count, name, label, run->operations[kind], name, label, count);
    }
}

static void write_runs(FILE *out, const struct hf_job_counters *run)
{
    static const char name[] = "handfast_crypto_run_jobs";
    uint64_t count = 0;
    head(out, name, "histogram", "Crypto jobs of one loop turn.");
    for (int i = 0; i < HF_JOB_RUN_BUCKETS - 1; i++) {
        count += run->runs_by_jobs[i];
        fprintf(out, "%s_bucket{le=\"%u\"} %" PRIu64 "\n", name, 1u << i, count);
    }
    fprintf(out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum %" PRIu64 "\n%s_count %" PRIu64 "\n",
            name, run->runs, name, run->jobs, name, run->runs);
}

static void write_waits(FILE *out, const struct hf_loop_job_counters *jobs)
{
    static const char name[] = "handfast_crypto_wait_seconds";
    uint64_t count = 0;
    head(out, name, "histogram",
         "Crypto jobs, from the beginning of their turn to their end; without remote signers.");
    for (int i = 0; i < HF_LOOP_WAIT_BUCKETS; i++) {
        count += jobs->waits[i];
        if (i < HF_LOOP_WAIT_BUCKETS - 1)
            fprintf(out, "%s_bucket{le=\"%.6f\"} %" PRIu64 "\n", name, 32e-6 * (1 << i), count);
    }
    fprintf(out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum %.6f\n%s_count %" PRIu64 "\n", name,
            count, name, (double)jobs->wait_us / 1e6, name, count);
}

static void write_number(FILE *out, const char *name, const char *help, uint64_t value)
{
    head(out, name, "counter", help);
    fprintf(out, "%s %" PRIu64 "\n", name, value);
}

/* Samples only where there are any. */
static void write_signers(FILE *out)
{
    struct hf_signer_counters signers;
    bool is_any = hf_signers_counters_get(&signers) > 0;
    const struct {
        const char *name, *type, *help, *labels;
        uint64_t value;
    } rows[] = {
        {"handfast_signer_answers_total", "counter", "Signatures asked of remote signers.",
         "{outcome=\"signed\"}", signers.signatures},
        {"handfast_signer_answers_total", NULL, NULL, "{outcome=\"refused\"}", signers.refusals},
        {"handfast_signer_answers_total", NULL, NULL, "{outcome=\"timeout\"}", signers.timeouts},
        {"handfast_signer_answers_total", NULL, NULL, "{outcome=\"overload\"}", signers.rejected},
        {"handfast_signer_connects_total", "counter", "Connections to remote signers made.", "",
         signers.connects},
        {"handfast_signer_disconnects_total", "counter", "Connections to remote signers lost.", "",
         signers.disconnects},
        {"handfast_signer_waiting", "gauge", "Signatures that remote signers owe.", "",
         signers.waiting},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].help != NULL)
            head(out, rows[i].name, rows[i].type, rows[i].help);
        if (is_any)
            fprintf(out, "%s%s %" PRIu64 "\n", rows[i].name, rows[i].labels, rows[i].value);
    }
}

void hf_exposition_jobs(FILE *out, const struct hf_daemon *daemon)
{
    struct hf_loop_job_counters jobs;
    sum_up(&jobs, daemon);
    write_batches(out, &jobs.run);
    write_runs(out, &jobs.run);
    write_waits(out, &jobs);
    write_number(out, "handfast_crypto_pairs_ahead_total",
                 "Ephemeral key pairs that had been made ahead.", jobs.run.pairs_ahead);
    write_number(out, "handfast_crypto_links_cached_total",
                 "Signatures of CA certificates that were known from before.",
                 jobs.run.links_cached);
    write_number(out, "handfast_crypto_signatures_bad_total",
                 "Signatures of ours that did not verify, and so did not leave.",
                 jobs.run.signatures_bad);
    write_signers(out);
}
