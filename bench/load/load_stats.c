/**
 * load_stats.c - what a run cost: CPU of the server and of ourselves in nanoseconds, latency,
 * failures by reason, memory.
 */
#include "load.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

uint64_t load_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t load_cpu_ns(int pid)
{
    char path[64];
    uint64_t sum_ns = 0;
    if (pid == 0) {
        struct timespec used;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
        return (uint64_t)used.tv_sec * 1000000000 + (uint64_t)used.tv_nsec;
    }
    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    if (tasks == NULL) {
        return 0;
    }
    for (struct dirent *task = readdir(tasks); task != NULL; task = readdir(tasks)) {
        uint64_t run_ns = 0;
        char stat_path[400];
        snprintf(stat_path, sizeof(stat_path), "%s/%s/schedstat", path, task->d_name);
        FILE *file = task->d_name[0] != '.' ? fopen(stat_path, "r") : NULL;
        if (file != NULL) {
            if (fscanf(file, "%" SCNu64, &run_ns) == 1) {
                sum_ns += run_ns;
            }
            fclose(file);
        }
    }
    closedir(tasks);
    return sum_ns;
}

uint64_t load_pss_len(int pid)
{
    char path[64];
    char line[256];
    uint64_t kib = 0;
    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
    FILE *file = fopen(path, "r");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "Pss: %" SCNu64, &kib) == 1) {
            break;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return kib * 1024;
}

void load_stats_init(struct load_stats *stats, const struct load_options *options)
{
    memset(stats, 0, sizeof(*stats));
    stats->latency_max = options->count;
    stats->latency_us = calloc(stats->latency_max, sizeof(*stats->latency_us));
    if (stats->latency_us == NULL) {
        abort();
    }
}

void load_stats_open(struct load_stats *stats, uint64_t latency_us)
{
    stats->open_count++;
    if (stats->has_begun && !stats->has_ended && stats->latency_count < stats->latency_max) {
        stats->latency_us[stats->latency_count++] = (uint32_t)latency_us;
    }
}

void load_stats_fail(struct load_stats *stats, const char *text)
{
    stats->fail_count++;
    for (size_t i = 0; i < stats->failure_kinds; i++) {
        if (strcmp(stats->failures[i].text, text) == 0) {
            stats->failures[i].count++;
            return;
        }
    }
    if (stats->failure_kinds < LOAD_FAILURE_KINDS_MAX) {
        struct load_failure *failure = &stats->failures[stats->failure_kinds++];
        snprintf(failure->text, sizeof(failure->text), "%s", text);
        failure->count = 1;
    }
}

void load_stats_client(struct load_stats *stats, const struct psk_client *client)
{
    char text[96];
    if (client->why != NULL) {
        snprintf(text, sizeof(text), "%s", client->why);
    } else {
        snprintf(text, sizeof(text), "alert %u from the server", client->alert);
    }
    load_stats_fail(stats, text);
}

bool load_stats_wave(struct load_stats *stats, const struct load_options *options)
{
    if (!stats->has_begun && stats->ended_count >= options->warmup) {
        stats->has_begun = true;
        stats->ended_at_begin = stats->ended_count;
        stats->client_begin_ns = load_cpu_ns(0);
        stats->server_begin_ns = options->server_pid != 0 ? load_cpu_ns(options->server_pid) : 0;
        stats->begin_us = load_now_us();
    }
    if (stats->has_begun && !stats->has_ended &&
        stats->ended_count - stats->ended_at_begin >= options->count) {
        stats->has_ended = true;
        stats->end_us = load_now_us();
        stats->server_end_ns = options->server_pid != 0 ? load_cpu_ns(options->server_pid) : 0;
        stats->client_end_ns = load_cpu_ns(0);
        stats->ended_at_end = stats->ended_count;
    }
    return stats->has_ended || stats->fail_count > options->count / 10 + 1000;
}

static int compare_u32(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a;
    uint32_t right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

static double quantile_ms(const struct load_stats *stats, unsigned per_cent)
{
    if (stats->latency_count == 0) {
        return 0;
    }
    return stats->latency_us[(stats->latency_count - 1) * per_cent / 100] / 1000.0;
}

static void print_failures(const struct load_stats *stats, bool is_json)
{
    for (size_t i = 0; i < stats->failure_kinds; i++) {
        const struct load_failure *failure = &stats->failures[i];
        if (is_json) {
            printf("%s\"%s\":%" PRIu64, i != 0 ? "," : "", failure->text, failure->count);
        } else {
            printf("  failed %" PRIu64 ": %s\n", failure->count, failure->text);
        }
    }
}

void load_stats_print(struct load_stats *stats, const struct load_options *options)
{
    uint64_t completed = stats->ended_at_end - stats->ended_at_begin;
    double count = completed != 0 ? (double)completed : 1;
    double server_us = (double)(stats->server_end_ns - stats->server_begin_ns) / 1000 / count;
    double client_us = (double)(stats->client_end_ns - stats->client_begin_ns) / 1000 / count;
    double seconds = (double)(stats->end_us - stats->begin_us) / 1e6;
    double rate = seconds > 0 ? (double)completed / seconds : 0;
    qsort(stats->latency_us, stats->latency_count, sizeof(*stats->latency_us), compare_u32);
    if (options->is_json) {
        printf("{\"bench\":\"load\",\"transport\":\"%s\",\"suite\":\"0x%04X\",\"in_flight\":%u,"
               "\"completed\":%" PRIu64 ",\"resumed\":%" PRIu64
               ",\"failed\":%" PRIu64 ",\"retransmissions\":%" PRIu64
               ",\"close_unanswered\":%" PRIu64 ",\"server_us\":%.3f,\"client_us\":%.3f,"
               "\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"per_second\":%.0f,\"failures\":{",
               options->is_dtls ? "dtls" : "tls", options->suite, options->in_flight, completed,
               stats->resumed_count, stats->fail_count, stats->retransmissions,
               stats->close_unanswered, server_us,
               client_us, quantile_ms(stats, 50), quantile_ms(stats, 99), rate);
        print_failures(stats, true);
        printf("}}\n");
    } else {
        printf("%s 0x%04X, %u in flight: %" PRIu64 " handshakes, %" PRIu64 " failed, %" PRIu64
               " retransmissions, %" PRIu64 " closes unanswered\n",
               options->is_dtls ? "DTLS" : "TLS", options->suite, options->in_flight, completed,
               stats->fail_count, stats->retransmissions, stats->close_unanswered);
        print_failures(stats, false);
        if (options->server_pid != 0) {
            printf("  server CPU %.2f us per handshake\n", server_us);
        }
        printf("  client CPU %.2f us per handshake; latency p50 %.3f ms, p99 %.3f ms; %.0f/s\n",
               client_us, quantile_ms(stats, 50), quantile_ms(stats, 99), rate);
    }
    fflush(stdout);
}
