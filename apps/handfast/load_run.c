/**
 * load_run.c - the phases of a run: arrivals, what devices say, rest, goodbye; or a measurement.
 */
#include "load.h"

#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#define WAVE_US 50000

/* How many devices have come by now, if none had to wait for another. */
static uint64_t due_count(const struct hf_load *load)
{
    const struct hf_load_options *options = &load->options;
    double seconds = (double)(load->now_us - load->arrivals_us) / 1e6;
    double turn = 2 * M_PI / options->period_s;
    switch (options->curve) {
    case HF_LOAD_STEADY:
        return (uint64_t)(options->rate * seconds) + 1;
    case HF_LOAD_SINUS: /* the rate goes from 0 to twice `rate` and back */
        return (uint64_t)(options->rate * (seconds - sin(turn * seconds) / turn)) + 1;
    case HF_LOAD_STORM:
        break;
    }
    return UINT64_MAX;
}

/* True: devices have to be waited for, so a wave must not sleep long. */
static bool begin_due(struct hf_load *load, uint64_t count_max)
{
    hf_load_turn_begin(load);
    uint64_t due = due_count(load);
    bool is_waiting = due < count_max;
    if (load->options.is_in_waves && load->busy_count > 0)
        due = 0;
    while (load->busy_count < load->options.in_flight && load->stats.begun_count < due &&
           load->stats.begun_count < count_max && hf_load_dial(load)) {
    }
    hf_load_turn_end(load);
    return is_waiting;
}

static void mark(struct hf_load *load, bool is_end)
{
    struct hf_load_stats *stats = &load->stats;
    int pid = load->options.server_pid;
    uint64_t server_ns = pid != 0 ? hf_load_cpu_ns(pid) : 0;
    *(is_end ? &stats->server_end_ns : &stats->server_begin_ns) = server_ns;
    *(is_end ? &stats->client_end_ns : &stats->client_begin_ns) = hf_load_cpu_ns(0);
    *(is_end ? &stats->end_us : &stats->begin_us) = hf_load_clock_us();
}

static void arrive(struct hf_load *load)
{
    const struct hf_load_options *options = &load->options;
    if (options->server_pid != 0)
        load->stats.server_before_len = hf_load_pss_len(options->server_pid);
    mark(load, false);
    while (!load->is_interrupted &&
           (load->stats.begun_count < options->count || load->busy_count > 0)) {
        bool is_waiting = begin_due(load, options->count);
        hf_load_wave(load, is_waiting ? 1000 : WAVE_US);
        hf_load_stats_tell(load, "arriving");
    }
    mark(load, true);
    hf_load_stats_row(load, true);
    if (options->server_pid != 0)
        load->stats.server_after_len = hf_load_pss_len(options->server_pid);
}

/* The end of input ends the hold; with --messages, what is entered has them said once more. */
static bool is_input_over(struct hf_load *load)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    char bytes[256];
    if (poll(&input, 1, 0) <= 0)
        return false;
    if (read(STDIN_FILENO, bytes, sizeof(bytes)) <= 0)
        return true;
    if (load->options.messages > 0) {
        load->is_any_lost |= !hf_load_exchange(load);
        hf_load_report_exchange(load);
    }
    return false;
}

/* Everybody sleeps; what the server has to say is still heard. */
static void hold(struct hf_load *load)
{
    const struct hf_load_options *options = &load->options;
    uint64_t end_us = hf_load_clock_us() + (uint64_t)(options->hold_s * 1e6);
    if (!options->is_held_for_input && options->hold_s <= 0)
        return;
    printf("holding %llu associations\n",
           (unsigned long long)(load->stats.open_count - load->stats.lost_count));
    (void)fflush(stdout);
    while (!load->is_interrupted &&
           (options->is_held_for_input ? !is_input_over(load) : hf_load_clock_us() < end_us)) {
        hf_load_wave(load, WAVE_US);
        hf_load_stats_tell(load, "holding");
    }
}

/* Ends what is open, in_flight at a time. */
static void part(struct hf_load *load)
{
    load->is_ending = true;
    for (uint32_t i = 0; i < load->device_count || load->busy_count > 0;) {
        hf_load_turn_begin(load);
        for (; i < load->device_count && load->busy_count < load->options.in_flight; i++) {
            if (!hf_engine_has_event_room(load->engine))
                break;
            if (load->devices[i].state == HF_LOAD_OPEN)
                hf_load_hang_up(load, &load->devices[i]);
        }
        hf_load_turn_end(load);
        hf_load_wave(load, WAVE_US);
        hf_load_stats_tell(load, "parting");
    }
}

static bool run_population(struct hf_load *load)
{
    struct hf_load_stats *stats = &load->stats;
    arrive(load);
    bool is_good = stats->open_count == load->options.count;
    if (load->options.is_exchanging && !load->is_interrupted)
        is_good &= hf_load_exchange(load);
    hold(load);
    uint64_t held = stats->open_count - stats->lost_count;
    part(load);
    return is_good && stats->lost_count == 0 && stats->close_answered == held &&
           !load->is_any_lost && !load->is_interrupted;
}

static bool run_measurement(struct hf_load *load)
{
    while (!load->is_interrupted && !hf_load_stats_measure(load)) {
        bool is_waiting = begin_due(load, UINT32_MAX);
        hf_load_wave(load, is_waiting && load->options.curve != HF_LOAD_STORM ? 1000 : WAVE_US);
        hf_load_stats_tell(load, "measuring");
    }
    return load->stats.has_ended;
}

bool hf_load_run(struct hf_load *load)
{
    hf_load_turn_begin(load);
    load->begin_us = load->arrivals_us = load->now_us;
    hf_load_turn_end(load);
    bool is_good = load->options.has_devices ? run_population(load) : run_measurement(load);
    if (!load->options.is_quiet && isatty(STDERR_FILENO) == 1)
        fputs("\n", stderr);
    return is_good;
}
