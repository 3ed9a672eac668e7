/**
 * load_stats.c - what a run cost: CPU of the server and of ourselves, latency, failures by reason,
 * memory; the progress line and the curve.
 */
#include "load.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ROW_US 100000
#define TELL_US 1000000
#define LATENCY_MAX 4000000

uint64_t hf_load_cpu_ns(int pid)
{
    char path[64];
    uint64_t sum_ns = 0;
    if (pid == 0) {
        struct timespec used;
        (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
        return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
    }
    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    if (tasks == NULL)
        return 0;
    for (struct dirent *task = readdir(tasks); task != NULL; task = readdir(tasks)) {
        uint64_t run_ns = 0;
        char stat_path[400];
        snprintf(stat_path, sizeof(stat_path), "%s/%s/schedstat", path, task->d_name);
        FILE *file = task->d_name[0] != '.' ? fopen(stat_path, "re") : NULL;
        if (file == NULL)
            continue;
        if (fscanf(file, "%" SCNu64, &run_ns) == 1)
            sum_ns += run_ns;
        (void)fclose(file);
    }
    (void)closedir(tasks);
    return sum_ns;
}

bool hf_load_is_asleep(int pid)
{
    char path[64];
    bool is_asleep = true;
    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    for (struct dirent *task = NULL; tasks != NULL && (task = readdir(tasks)) != NULL;) {
        char stat_path[400];
        char state = 'S';
        snprintf(stat_path, sizeof(stat_path), "%s/%s/stat", path, task->d_name);
        FILE *file = task->d_name[0] != '.' ? fopen(stat_path, "re") : NULL;
        if (file == NULL)
            continue;
        if (fscanf(file, "%*d (%*[^)]) %c", &state) == 1)
            is_asleep &= state != 'R';
        (void)fclose(file);
    }
    if (tasks != NULL)
        (void)closedir(tasks);
    return is_asleep;
}

uint64_t hf_load_pss_len(int pid)
{
    char path[64];
    char line[256];
    uint64_t kib = 0;
    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "Pss: %" SCNu64, &kib) == 1)
            break;
    }
    if (file != NULL)
        (void)fclose(file);
    return kib * 1024;
}

bool hf_load_stats_open(struct hf_load *load)
{
    struct hf_load_stats *stats = &load->stats;
    stats->latency_max = load->options.count < LATENCY_MAX ? load->options.count : LATENCY_MAX;
    stats->latency_us = calloc(stats->latency_max, sizeof(*stats->latency_us));
    stats->rows = calloc(HF_LOAD_ROWS_MAX, sizeof(*stats->rows));
    return stats->latency_us != NULL && stats->rows != NULL;
}

void hf_load_stats_close(struct hf_load *load)
{
    free(load->stats.latency_us);
    free(load->stats.rows);
}

void hf_load_stats_established(struct hf_load *load, const struct hf_load_device *device)
{
    struct hf_load_stats *stats = &load->stats;
    struct hf_association_info info;
    stats->open_count++;
    if (load->options.is_resuming &&
        hf_engine_association_info(&info, load->engine, device->association) == HF_OK)
        stats->resumed_count += info.is_resumed;
    bool is_counted = load->options.has_devices || (stats->has_begun && !stats->has_ended);
    if (is_counted && stats->latency_count < stats->latency_max)
        stats->latency_us[stats->latency_count++] = (uint32_t)(load->now_us - device->begun_us);
}

void hf_load_stats_fail(struct hf_load *load, const char *reason)
{
    struct hf_load_stats *stats = &load->stats;
    stats->fail_count++;
    for (size_t i = 0; i < stats->failure_kinds; i++) {
        if (strcmp(stats->failures[i].reason, reason) == 0) {
            stats->failures[i].count++;
            return;
        }
    }
    if (stats->failure_kinds < HF_LOAD_FAILURES_MAX) {
        struct hf_load_failure *failure = &stats->failures[stats->failure_kinds++];
        snprintf(failure->reason, sizeof(failure->reason), "%s", reason);
        failure->count = 1;
    }
}

/* From the wave after the warm-up to the one that reaches `count`, both in steady state, so that
 * handshakes cut by one are made up for by the other. */
bool hf_load_stats_measure(struct hf_load *load)
{
    struct hf_load_stats *stats = &load->stats;
    const struct hf_load_options *options = &load->options;
    int pid = options->server_pid;
    if (!stats->has_begun && stats->ended_count >= options->warmup) {
        stats->has_begun = true;
        stats->ended_at_begin = stats->ended_count;
        stats->client_begin_ns = hf_load_cpu_ns(0);
        stats->server_begin_ns = pid != 0 ? hf_load_cpu_ns(pid) : 0;
        stats->begin_us = hf_load_clock_us();
    }
    if (stats->has_begun && !stats->has_ended &&
        stats->ended_count - stats->ended_at_begin >= options->count) {
        stats->has_ended = true;
        stats->end_us = hf_load_clock_us();
        stats->server_end_ns = pid != 0 ? hf_load_cpu_ns(pid) : 0;
        stats->client_end_ns = hf_load_cpu_ns(0);
        stats->ended_at_end = stats->ended_count;
    }
    return stats->has_ended || stats->fail_count > options->count / 10 + 1000;
}

void hf_load_stats_row(struct hf_load *load, bool is_last)
{
    struct hf_load_stats *stats = &load->stats;
    int pid = load->options.server_pid;
    if (!load->options.has_devices || load->options.curve_file == NULL || load->begin_us == 0 ||
        (!is_last && load->now_us - load->row_us < ROW_US) || stats->row_count == HF_LOAD_ROWS_MAX)
        return;
    load->row_us = load->now_us;
    stats->rows[stats->row_count++] = (struct hf_load_row){
        .at_s = (double)(load->now_us - load->begin_us) / 1e6,
        .begun = stats->begun_count,
        .open = stats->open_count,
        .failed = stats->fail_count,
        .server_ns = pid != 0 ? hf_load_cpu_ns(pid) : 0,
        .server_len =
            pid != 0 && (is_last || stats->row_count % 10 == 0) ? hf_load_pss_len(pid) : 0,
    };
}

void hf_load_stats_tell(struct hf_load *load, const char *what)
{
    const struct hf_load_stats *stats = &load->stats;
    static uint64_t told_open;
    if (load->options.is_quiet || load->now_us - load->told_us < TELL_US)
        return;
    double seconds = (double)(load->now_us - load->told_us) / 1e6;
    double rate = load->told_us != 0 ? (double)(stats->open_count - told_open) / seconds : 0;
    bool is_terminal = isatty(STDERR_FILENO) == 1;
    fprintf(stderr,
            "%s%7.1f s  %s: %" PRIu64 " begun, %" PRIu64 " established (%.0f/s), %u in "
            "flight, %" PRIu64 " failed, %" PRIu64 " answered%s",
            is_terminal ? "\r" : "", (double)(load->now_us - load->begin_us) / 1e6, what,
            stats->begun_count, stats->open_count, rate, load->busy_count, stats->fail_count,
            stats->answered, is_terminal ? "\033[K" : "\n");
    load->told_us = load->now_us;
    told_open = stats->open_count;
}
