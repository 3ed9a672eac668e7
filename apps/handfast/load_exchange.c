/**
 * load_exchange.c - devices speak with what is behind the server: "up N", N the device's number,
 * wants itself back; "late N" comes when nothing was sent for a while. A datagram for another
 * device than its own shows here.
 */
#include "load.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AGAIN_US 1000000
#define TRIES_MAX 40 /* loopback may lose, too */
#define PATIENCE_US 20000000
#define WAIT_US 20000

/** A device that waits for its answer. */
struct waiting {
    struct hf_load_device *device; /* NULL: free */
    uint64_t sent_us;
    uint32_t tries;
};

static bool is_text(struct hf_bytes data, const char *word, uint32_t number)
{
    char expected[32];
    int len = snprintf(expected, sizeof(expected), "%s %" PRIu32, word, number);
    return data.len == (size_t)len && memcmp(data.data, expected, data.len) == 0;
}

void hf_load_hear(struct hf_load *load, struct hf_load_device *device, struct hf_bytes data)
{
    struct hf_load_stats *stats = &load->stats;
    if (is_text(data, "up", device->number)) {
        stats->answered += (device->heard & HF_LOAD_HEARD_UP) == 0;
        device->heard |= HF_LOAD_HEARD_UP | HF_LOAD_CONTINUED;
    } else if (is_text(data, "late", device->number)) {
        stats->notified += (device->heard & HF_LOAD_HEARD_LATE) == 0;
        device->heard |= HF_LOAD_HEARD_LATE;
    } else {
        stats->misdelivered++;
    }
}

/* False: no room now. */
static bool say(struct hf_load *load, struct waiting *waiting)
{
    char text[32];
    int len = snprintf(text, sizeof(text), "up %" PRIu32, waiting->device->number);
    const struct hf_bytes data = {(const uint8_t *)text, (size_t)len};
    waiting->sent_us = load->now_us;
    return hf_engine_send(load->engine, waiting->device->association, data) != HF_WAITING;
}

/* The next in turn, or at random with --messages; NULL: none is left. */
static struct hf_load_device *choose(struct hf_load *load, uint64_t *at)
{
    const struct hf_load_options *options = &load->options;
    while (*at < (options->messages > 0 ? options->messages : load->device_count)) {
        uint32_t index = options->messages > 0
                             ? (uint32_t)((uint64_t)hf_load_random(load) * load->device_count >> 32)
                             : (uint32_t)*at;
        struct hf_load_device *device = &load->devices[index];
        bool is_waiting = (device->heard & (HF_LOAD_SPOKE | HF_LOAD_HEARD_UP)) == HF_LOAD_SPOKE;
        if (options->messages > 0 && (is_waiting || device->state != HF_LOAD_OPEN)) {
            if (load->stats.open_count > HF_LOAD_WINDOW + load->stats.lost_count)
                continue; /* another one */
            return NULL;  /* when these are answered */
        }
        (*at)++;
        if (device->state != HF_LOAD_OPEN)
            continue;
        device->heard = (uint8_t)((device->heard | HF_LOAD_SPOKE) & ~HF_LOAD_HEARD_UP);
        return device;
    }
    return NULL;
}

/* Looks after one place: answered, to be said again, or free for the next. True: it is in use. */
static bool attend(struct hf_load *load, struct waiting *waiting, uint64_t *at)
{
    struct hf_load_stats *stats = &load->stats;
    if (waiting->device != NULL) {
        bool is_open = waiting->device->state == HF_LOAD_OPEN;
        bool is_over = (waiting->device->heard & HF_LOAD_HEARD_UP) != 0;
        bool is_late = load->now_us - waiting->sent_us > AGAIN_US;
        if (!is_over && !is_late && is_open)
            return true;
        if (!is_over && is_open && waiting->tries < TRIES_MAX) {
            waiting->tries++;
            stats->resent++;
            (void)say(load, waiting);
            return true;
        }
        stats->unanswered += !is_over;
    }
    *waiting = (struct waiting){.device = choose(load, at), .tries = 1};
    if (waiting->device == NULL)
        return false;
    stats->sent++;
    if (!say(load, waiting))
        waiting->sent_us = 0; /* at once, next time */
    return true;
}

static void listen_late(struct hf_load *load)
{
    struct hf_load_stats *stats = &load->stats;
    uint64_t expected = 0;
    for (uint32_t i = 0; i < load->device_count; i++)
        expected +=
            load->devices[i].state == HF_LOAD_OPEN && (load->devices[i].heard & HF_LOAD_SPOKE) != 0;
    uint64_t until_us = load->now_us + PATIENCE_US;
    while (!load->is_interrupted && stats->notified < expected && load->now_us < until_us) {
        uint64_t before = stats->notified;
        hf_load_wave(load, WAIT_US);
        hf_load_stats_tell(load, "listening");
        if (stats->notified > before)
            until_us = load->now_us + PATIENCE_US;
    }
    stats->unanswered += expected - stats->notified;
}

static void speak(struct hf_load *load)
{
    struct waiting window[HF_LOAD_WINDOW] = {{0}};
    uint64_t at = 0;
    bool is_busy = true;
    while (is_busy && !load->is_interrupted) {
        is_busy = false;
        hf_load_turn_begin(load);
        for (size_t i = 0; i < HF_LOAD_WINDOW; i++)
            is_busy |= attend(load, &window[i], &at);
        hf_load_turn_end(load);
        hf_load_wave(load, WAIT_US);
        hf_load_stats_tell(load, "speaking");
    }
}

/* The NAT has forgotten everybody: to the server each speaks from another address from now on. */
static void rebind(struct hf_load *load)
{
    for (uint32_t i = 0; i < load->device_count; i++) {
        struct hf_load_device *device = &load->devices[i];
        if (device->state != HF_LOAD_OPEN)
            continue;
        device->place = (uint8_t)((device->place + 1) % (load->options.rebinds + 1));
        device->heard &= (uint8_t)~HF_LOAD_CONTINUED;
        load->stats.rebound++;
    }
}

static uint64_t handshake_count(const struct hf_load *load)
{
    struct hf_counters counters;
    uint64_t count = 0;
    hf_engine_counters(&counters, load->engine);
    for (size_t i = 0; i < sizeof(counters.handshakes) / sizeof(counters.handshakes[0]); i++)
        count += counters.handshakes[i];
    return count;
}

static void speak_rebound(struct hf_load *load)
{
    uint64_t before = handshake_count(load);
    for (uint32_t i = 0; i < load->options.rebinds && !load->is_interrupted; i++) {
        rebind(load);
        speak(load);
        for (uint32_t k = 0; k < load->device_count; k++)
            load->stats.continued += load->devices[k].state == HF_LOAD_OPEN &&
                                     (load->devices[k].heard & HF_LOAD_CONTINUED) != 0;
    }
    load->stats.rebind_handshakes += handshake_count(load) - before;
}

bool hf_load_exchange(struct hf_load *load)
{
    struct hf_load_stats *stats = &load->stats;
    stats->sent = stats->answered = stats->resent = 0;
    uint64_t begin_us = hf_load_clock_us();
    uint64_t begin_ns = load->options.server_pid ? hf_load_cpu_ns(load->options.server_pid) : 0;
    if (load->options.rebinds > 0)
        speak_rebound(load);
    else
        speak(load);
    stats->exchange_us = hf_load_clock_us() - begin_us;
    if (load->options.server_pid)
        stats->exchange_server_ns = hf_load_cpu_ns(load->options.server_pid) - begin_ns;
    if (load->options.is_notified)
        listen_late(load);
    return stats->unanswered == 0 && stats->misdelivered == 0;
}
