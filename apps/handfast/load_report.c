/**
 * load_report.c - the summary, for people or as one line of JSON, and the curve as CSV.
 */
#include "load.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int compare_u32(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a;
    uint32_t right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

static double quantile_ms(const struct hf_load_stats *stats, double share)
{
    if (stats->latency_count == 0)
        return 0;
    size_t at = (size_t)((double)(stats->latency_count - 1) * share);
    return stats->latency_us[at] / 1000.0;
}

static void print_failures(const struct hf_load_stats *stats, bool is_json)
{
    for (size_t i = 0; i < stats->failure_kinds; i++) {
        const struct hf_load_failure *failure = &stats->failures[i];
        if (is_json)
            printf("%s\"%s\":%" PRIu64, i != 0 ? "," : "", failure->reason, failure->count);
        else
            printf("  failed %" PRIu64 ": %s\n", failure->count, failure->reason);
    }
}

/** What both forms of the summary say. */
struct figures {
    uint64_t completed, retransmissions;
    double server_us, client_us, seconds, per_second, each_len;
};

static struct figures figures_of(const struct hf_load *load)
{
    const struct hf_load_stats *stats = &load->stats;
    struct hf_counters counters;
    hf_engine_counters(&counters, load->engine);
    struct figures figures = {
        .completed = load->options.has_devices ? stats->open_count
                                               : stats->ended_at_end - stats->ended_at_begin,
        .retransmissions = counters.retransmissions,
        .seconds = (double)(stats->end_us - stats->begin_us) / 1e6,
    };
    double count = figures.completed != 0 ? (double)figures.completed : 1;
    figures.server_us = (double)(stats->server_end_ns - stats->server_begin_ns) / 1000 / count;
    figures.client_us = (double)(stats->client_end_ns - stats->client_begin_ns) / 1000 / count;
    figures.per_second = figures.seconds > 0 ? (double)figures.completed / figures.seconds : 0;
    figures.each_len = ((double)stats->server_after_len - (double)stats->server_before_len) / count;
    return figures;
}

static void print_exchange(const struct hf_load_stats *stats)
{
    double sent = stats->sent > 0 ? (double)stats->sent : 1;
    printf("\"sent\":%" PRIu64 ",\"answered\":%" PRIu64 ",\"sent_again\":%" PRIu64
           ",\"unanswered\":%" PRIu64 ",\"notified\":%" PRIu64 ",\"misdelivered\":%" PRIu64
           ",\"exchange_seconds\":%.3f,\"exchange_server_us\":%.3f",
           stats->sent, stats->answered, stats->resent, stats->unanswered, stats->notified,
           stats->misdelivered, (double)stats->exchange_us / 1e6,
           (double)stats->exchange_server_ns / 1000 / sent);
}

void hf_load_report_exchange(const struct hf_load *load)
{
    printf("{\"bench\":\"exchange\",");
    print_exchange(&load->stats);
    printf("}\n");
    (void)fflush(stdout);
}

static void print_json(const struct hf_load *load, const struct figures *figures)
{
    const struct hf_load_stats *stats = &load->stats;
    const struct hf_load_options *options = &load->options;
    uint16_t suite = options->psk_weight > 0 ? options->psk_suite : options->certificate_suite;
    printf("{\"bench\":\"%s\",\"transport\":\"%s\",\"suite\":\"0x%04X\",\"in_flight\":%u,"
           "\"begun\":%" PRIu64 ",\"completed\":%" PRIu64 ",\"resumed\":%" PRIu64
           ",\"failed\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"retransmissions\":%" PRIu64
           ",\"server_us\":%.3f,\"client_us\":%.3f,\"seconds\":%.3f,\"per_second\":%.0f,"
           "\"p50_ms\":%.3f,\"p90_ms\":%.3f,\"p99_ms\":%.3f,\"p999_ms\":%.3f,\"max_ms\":%.3f,",
           options->has_devices ? "population" : "load", options->is_dtls ? "dtls" : "tls", suite,
           options->in_flight, stats->begun_count, figures->completed, stats->resumed_count,
           stats->fail_count - stats->lost_count, stats->lost_count, figures->retransmissions,
           figures->server_us, figures->client_us, figures->seconds, figures->per_second,
           quantile_ms(stats, 0.5), quantile_ms(stats, 0.9), quantile_ms(stats, 0.99),
           quantile_ms(stats, 0.999), quantile_ms(stats, 1));
    if (options->has_devices)
        printf("\"held\":%" PRIu64 ",\"pss_before\":%" PRIu64 ",\"pss_after\":%" PRIu64
               ",\"bytes_per_association\":%.1f,",
               stats->open_count - stats->lost_count, stats->server_before_len,
               stats->server_after_len, figures->each_len);
    if (options->is_exchanging) {
        print_exchange(stats);
        printf(",");
    }
    if (options->rebinds > 0)
        printf("\"rebound\":%" PRIu64 ",\"continued\":%" PRIu64 ",\"rebind_handshakes\":%" PRIu64
               ",\"deaf\":%" PRIu64 ",",
               stats->rebound, stats->continued, stats->rebind_handshakes, stats->deaf);
    if (options->spoof != HF_LOAD_SPOOF_NONE)
        printf("\"spoofed\":%" PRIu64 ",\"spoofed_bytes\":%" PRIu64 ",\"diverted\":%" PRIu64
               ",\"diverted_bytes\":%" PRIu64 ",",
               stats->spoofed, stats->spoofed_len, stats->diverted, stats->diverted_len);
    printf("\"close_answered\":%" PRIu64 ",\"close_unanswered\":%" PRIu64 ",\"failures\":{",
           stats->close_answered, stats->close_unanswered);
    print_failures(stats, true);
    printf("}}\n");
}

static void print_text(const struct hf_load *load, const struct figures *figures)
{
    const struct hf_load_stats *stats = &load->stats;
    const struct hf_load_options *options = &load->options;
    printf("%s: %" PRIu64 " handshakes in %.2f s, %.0f/s, %u in flight; %" PRIu64
           " resumed, %" PRIu64 " failed, %" PRIu64 " lost, %" PRIu64 " retransmissions\n",
           options->is_dtls ? "DTLS" : "TLS", figures->completed, figures->seconds,
           figures->per_second, options->in_flight, stats->resumed_count,
           stats->fail_count - stats->lost_count, stats->lost_count, figures->retransmissions);
    print_failures(stats, false);
    if (options->server_pid != 0)
        printf("  server CPU %.2f us a handshake\n", figures->server_us);
    printf("  client CPU %.2f us a handshake; latency ms: p50 %.2f, p90 %.2f, p99 %.2f, p99.9 "
           "%.2f, max %.2f\n",
           figures->client_us, quantile_ms(stats, 0.5), quantile_ms(stats, 0.9),
           quantile_ms(stats, 0.99), quantile_ms(stats, 0.999), quantile_ms(stats, 1));
    if (options->has_devices && options->server_pid != 0)
        printf("  server PSS %" PRIu64 " -> %" PRIu64 " bytes, %.1f an association\n",
               stats->server_before_len, stats->server_after_len, figures->each_len);
    if (options->is_exchanging)
        printf("  %" PRIu64 " sent, %" PRIu64 " answered, %" PRIu64 " sent again, %" PRIu64
               " never answered, %" PRIu64 " notified, %" PRIu64 " misdelivered\n",
               stats->sent, stats->answered, stats->resent, stats->unanswered, stats->notified,
               stats->misdelivered);
    if (options->rebinds > 0)
        printf("  rebound %" PRIu64 ", of them continued %" PRIu64 ", handshakes since %" PRIu64
               "; %" PRIu64 " datagrams to addresses left\n",
               stats->rebound, stats->continued, stats->rebind_handshakes, stats->deaf);
    if (options->spoof != HF_LOAD_SPOOF_NONE)
        printf("  spoofed %" PRIu64 " datagrams, %" PRIu64 " bytes; diverted %" PRIu64 ", %" PRIu64
               " bytes\n",
               stats->spoofed, stats->spoofed_len, stats->diverted, stats->diverted_len);
    printf("  closing: %" PRIu64 " answered, %" PRIu64 " not\n", stats->close_answered,
           stats->close_unanswered);
}

void hf_load_report(struct hf_load *load)
{
    struct hf_load_stats *stats = &load->stats;
    const struct figures figures = figures_of(load);
    qsort(stats->latency_us, stats->latency_count, sizeof(*stats->latency_us), compare_u32);
    if (load->options.is_json)
        print_json(load, &figures);
    else
        print_text(load, &figures);
    (void)fflush(stdout);
}

bool hf_load_write_curve(const struct hf_load *load)
{
    const struct hf_load_stats *stats = &load->stats;
    const char *path = load->options.curve_file;
    if (path == NULL)
        return true;
    FILE *file = fopen(path, "we");
    if (file != NULL) {
        fprintf(file, "seconds,begun,established,failed,server_cpu_us,server_pss_bytes\n");
        for (size_t i = 0; i < stats->row_count; i++) {
            const struct hf_load_row *row = &stats->rows[i];
            fprintf(file, "%.3f,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 "\n",
                    row->at_s, row->begun, row->open, row->failed, row->server_ns / 1000,
                    row->server_len);
        }
    }
    if (file == NULL || fclose(file) != 0) {
        fprintf(stderr, "handfast: load: %s: %s\n", path, strerror(errno));
        return false;
    }
    return true;
}
