/**
 * exposition_takeover.c - see exposition_takeover.h.
 */
#include "exposition_takeover.h"

#include "checkpoint.h"

#include <inttypes.h>

static void head(FILE *out, const char *name, const char *type, const char *help)
{
    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void write_pair(FILE *out, const char *name, const char *help, uint32_t taken,
                       const char *otherwise, uint32_t count)
{
    head(out, name, "gauge", help);
    fprintf(out, "%s{outcome=\"taken\"} %" PRIu32 "\n%s{outcome=\"%s\"} %" PRIu32 "\n", name, taken,
            name, otherwise, count);
}

void hf_exposition_write_takeovers(FILE *out, const struct hf_daemon *daemon)
{
    static const struct hf_daemon_taken nothing;
    const struct hf_daemon_taken *taken =
        daemon->state == HF_DAEMON_STARTING ? &nothing : &daemon->taken;
    head(out, "handfast_takeovers_total", "counter",
         "Processes that took over from the one before.");
    fprintf(out, "handfast_takeovers_total %" PRIu64 "\n", taken->count);
    head(out, "handfast_takeover_failures_total", "counter",
         "Processes that came to take over from this one, and did not.");
    fprintf(out, "handfast_takeover_failures_total %" PRIu64 "\n",
            (uint64_t)daemon->handovers_failed);
    head(out, "handfast_takeover_seconds", "gauge", "How long the last takeover took.");
    fprintf(out, "handfast_takeover_seconds{phase=\"all\"} %.6f\n", (double)taken->us / 1e6);
    fprintf(out, "handfast_takeover_seconds{phase=\"silent\"} %.6f\n",
            (double)taken->frozen_us / 1e6);
    write_pair(out, "handfast_takeover_associations", "Associations at the last takeover.",
               taken->associations, "left_out", taken->left_out);
    write_pair(out, "handfast_takeover_connections", "TCP connections at the last takeover.",
               taken->connections, "lost", taken->connections_lost);
    write_pair(out, "handfast_takeover_sessions", "Sessions of the cache at the last takeover.",
               taken->sessions, "left_out", taken->sessions_left_out);
}

void hf_exposition_write_checkpoints(FILE *out, const struct hf_daemon *daemon)
{
    struct hf_checkpoint_counters counters;
    hf_checkpoint_counters_get(&counters,
                               daemon->state == HF_DAEMON_STARTING ? NULL : daemon->checkpoint);
    head(out, "handfast_checkpoints_total", "counter", "Checkpoints for the start after a crash.");
    fprintf(out,
            "handfast_checkpoints_total{outcome=\"written\"} %" PRIu64
            "\nhandfast_checkpoints_total{outcome=\"failed\"} %" PRIu64 "\n",
            counters.written, counters.failed);
    head(out, "handfast_checkpoint_seconds", "gauge", "How long the last checkpoint took.");
    fprintf(out, "handfast_checkpoint_seconds %.6f\n", (double)counters.us / 1e6);
    head(out, "handfast_checkpoint_slice_seconds", "gauge",
         "The longest that the last checkpoint kept a shard at a time.");
    fprintf(out, "handfast_checkpoint_slice_seconds %.6f\n", (double)counters.slice_us_max / 1e6);
    head(out, "handfast_checkpoint_bytes", "gauge", "Length of the last checkpoint.");
    fprintf(out, "handfast_checkpoint_bytes %" PRIu64 "\n", counters.len);
    head(out, "handfast_checkpoint_associations", "gauge", "Associations in the last checkpoint.");
    fprintf(out, "handfast_checkpoint_associations %" PRIu64 "\n", counters.associations);
}
