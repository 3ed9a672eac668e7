/**
 * exposition_dialer.c - see exposition_dialer.h.
 */
#include "exposition_dialer.h"

#include <inttypes.h>
#include <string.h>

void hf_daemon_dialer(struct hf_dialer_status *out, const struct hf_daemon *daemon,
                      uint32_t dialer_index)
{
    memset(out, 0, sizeof(*out));
    for (uint32_t i = 0; i < daemon->shard_count; i++)
        if (hf_shard_dialer_status(out, daemon->shards[i], dialer_index))
            return;
}

void hf_daemon_log_dialers(const struct hf_daemon *daemon)
{
    for (uint32_t i = 0; i < daemon->started.dialer_count; i++) {
        const struct hf_daemon_dialer *dialer = &daemon->started.dialers[i];
        struct hf_dialer_status status;
        struct hf_log_line line;
        hf_daemon_dialer(&status, daemon, i);
        hf_log_begin(&line, HF_LOG_NOTICE, HF_LOG_SLOT_UNLIMITED, "listening", NULL);
        hf_log_text(&line, "transport",
                    dialer->transport == HF_TRANSPORT_TLS ? "plain-tcp" : "plain-udp");
        hf_log_address(&line, "address", &status.listen);
        hf_log_text(&line, "dialer", dialer->name);
        hf_log_text(&line, "authority", daemon->started.authorities[dialer->authority_index].name);
        hf_log_text(&line, "entity", dialer->peer);
        hf_log_text(&line, "reference_point",
                    hf_reference_point_name((enum hf_reference_point)dialer->reference_point));
        hf_log_end(&line);
    }
}

/* What can end a dial, and a rate needs the zero of. */
static bool is_outcome(enum hf_status status)
{
    enum hf_status_class class = hf_status_class(status);
    return status == HF_OK || (class != HF_CLASS_NONE && class != HF_CLASS_USAGE);
}

static void write_dials(FILE *out, const char *name, const struct hf_dialer_status *status)
{
    for (int s = 0; s < HF_STATUS_COUNT; s++)
        if (status->dials[s] > 0 || is_outcome((enum hf_status)s))
            fprintf(out,
                    "handfast_dials_total{dialer=\"%s\",outcome=\"%s\",reason=\"%s\"} %" PRIu64
                    "\n",
                    name, s == HF_OK ? "ok" : "failed", hf_status_reason((enum hf_status)s),
                    status->dials[s]);
}

void hf_exposition_write_dialers(FILE *out, const struct hf_daemon *daemon)
{
    struct hf_dialer_status status[HF_DAEMON_DIALERS_MAX];
    const struct hf_daemon_config *config = &daemon->started;
    for (uint32_t i = 0; i < config->dialer_count; i++)
        hf_daemon_dialer(&status[i], daemon, i);
    fputs("# HELP handfast_dials_total Associations dialled.\n"
          "# TYPE handfast_dials_total counter\n",
          out);
    for (uint32_t i = 0; i < config->dialer_count; i++)
        write_dials(out, config->dialers[i].name, &status[i]);
    fputs("# HELP handfast_dialer_associations Established associations we have dialled.\n"
          "# TYPE handfast_dialer_associations gauge\n",
          out);
    for (uint32_t i = 0; i < config->dialer_count; i++)
        fprintf(out, "handfast_dialer_associations{dialer=\"%s\"} %" PRIu64 "\n",
                config->dialers[i].name, status[i].associations);
    fputs("# HELP handfast_dialer_waiting Plaintext that waits for an association.\n"
          "# TYPE handfast_dialer_waiting gauge\n",
          out);
    for (uint32_t i = 0; i < config->dialer_count; i++)
        fprintf(out, "handfast_dialer_waiting{dialer=\"%s\"} %" PRIu64 "\n",
                config->dialers[i].name, status[i].waiting);
}
