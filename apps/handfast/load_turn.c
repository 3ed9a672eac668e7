/**
 * load_turn.c - the turns of the engine that all devices share, and what becomes of each device.
 */
#include "load.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define CLOSING_MAX 65536 /* of the ring */
#define AWAIT_US_MAX 1000000

uint64_t hf_load_clock_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

/* xorshift64*: the same losses for the same seed. */
uint32_t hf_load_random(struct hf_load *load)
{
    load->random_state ^= load->random_state >> 12;
    load->random_state ^= load->random_state << 25;
    load->random_state ^= load->random_state >> 27;
    return (uint32_t)(load->random_state * 0x2545F4914F6CDD1Du >> 32);
}

struct hf_load_device *hf_load_device_of(const struct hf_load *load, uint32_t number)
{
    return &load->devices[number % load->device_count];
}

/* ---- events ------------------------------------------------------------------------------ */

/* The path that a device was given is its number. */
static struct hf_load_device *device_of_path(const struct hf_load *load, const struct hf_path *path)
{
    const uint8_t *ip = path->peer.ip + 12;
    uint32_t number = (uint32_t)ip[0] << 24 | (uint32_t)ip[1] << 16 | (uint32_t)ip[2] << 8 | ip[3];
    struct hf_load_device *device = hf_load_device_of(load, number);
    return device->number == number ? device : NULL;
}

static void finish(struct hf_load *load, struct hf_load_device *device)
{
    device->state = HF_LOAD_DONE;
    load->io->end(load, device);
}

static void take_failure(struct hf_load *load, struct hf_load_device *device,
                         const struct hf_event *event)
{
    char reason[64];
    bool is_alert = event->failure.status == HF_E_PEER_ALERT;
    snprintf(reason, sizeof(reason), "%s%s%s", hf_status_reason(event->failure.status),
             is_alert ? ":" : "", is_alert ? hf_alert_name(event->failure.alert) : "");
    if (device->state == HF_LOAD_SHAKING)
        load->busy_count--;
    else
        load->stats.lost_count++;
    hf_load_stats_fail(load, reason);
    finish(load, device);
}

static void take_established(struct hf_load *load, struct hf_load_device *device)
{
    hf_load_stats_established(load, device);
    device->state = HF_LOAD_OPEN;
    load->busy_count--;
    if (load->options.has_devices)
        return;
    hf_load_hang_up(load, device);
}

static void keep_session(struct hf_load *load, const struct hf_load_device *device,
                         struct hf_bytes session)
{
    struct hf_bytes *kept = hf_load_session_of(load, device->number);
    if (kept != NULL && kept->len == 0 && session.len <= HF_SESSION_MAX) {
        memcpy((void *)(uintptr_t)kept->data, session.data, session.len);
        kept->len = session.len;
    }
}

static void take_closed(struct hf_load *load, struct hf_load_device *device,
                        const struct hf_event *event)
{
    if (device->state == HF_LOAD_CLOSING) {
        if (!load->options.is_dtls) /* DTLS forgets at once: the answer is seen on the wire */
            hf_load_answered(load, device, event->failure.status != HF_E_CLOSED_BY_PEER);
    } else if (device->state == HF_LOAD_OPEN) {
        take_failure(load, device, event);
    }
}

static void take_event(struct hf_load *load, const struct hf_event *event)
{
    struct hf_load_device *device = device_of_path(load, &event->path);
    if (device == NULL || device->association != event->association)
        return;
    switch (event->kind) {
    case HF_EVENT_ESTABLISHED:
        take_established(load, device);
        break;
    case HF_EVENT_MOVED:
    case HF_EVENT_SESSION:
        keep_session(load, device, event->data);
        break;
    case HF_EVENT_DATA:
        hf_load_hear(load, device, event->data);
        break;
    case HF_EVENT_HANDSHAKE_FAILED:
        take_failure(load, device, event);
        break;
    case HF_EVENT_PEER_CLOSED:
        hf_engine_close_association(load->engine, device->association, HF_CLOSE_NOTIFY);
        break;
    case HF_EVENT_CLOSED:
        take_closed(load, device, event);
        break;
    case HF_EVENT_READABLE:
    case HF_EVENT_KEYLOG:
        break;
    }
}

/* ---- turns ------------------------------------------------------------------------------- */

void hf_load_turn_begin(struct hf_load *load)
{
    load->now_us = hf_load_clock_us();
    hf_engine_begin_turn(load->engine, load->now_us, (int64_t)time(NULL));
}

void hf_load_turn_end(struct hf_load *load)
{
    struct hf_event event;
    struct hf_output output;
    hf_engine_end_turn(load->engine);
    hf_engine_run_jobs(load->engine);
    while (hf_engine_take_event(load->engine, &event))
        take_event(load, &event);
    while (hf_engine_take_output(load->engine, &output))
        load->io->output(load, &output);
}

static void expire_closing(struct hf_load *load)
{
    uint64_t wait_us = load->is_ending ? HF_LOAD_PART_US_MAX : HF_LOAD_CLOSE_US_MAX;
    while (load->closing_count > 0) {
        struct hf_load_device *device = &load->devices[load->closing[load->closing_head]];
        bool is_late = load->now_us - device->begun_us > wait_us;
        if (device->state == HF_LOAD_CLOSING && !is_late && load->closing_count < CLOSING_MAX / 2)
            return;
        load->closing_head = (load->closing_head + 1) % CLOSING_MAX;
        load->closing_count--;
        if (device->state == HF_LOAD_CLOSING)
            hf_load_answered(load, device, true);
    }
}

/* On a busy machine one of both sides is interrupted in the middle of a wave, and were its first
 * half answered, they would soon be at different steps. */
static void await_server(const struct hf_load *load)
{
    const struct hf_load_options *options = &load->options;
    const struct timespec moment = {.tv_nsec = 100000};
    uint64_t until_us = hf_load_clock_us() + AWAIT_US_MAX;
    if (!options->is_in_waves || options->server_pid == 0)
        return;
    do
        (void)nanosleep(&moment, NULL);
    while (!hf_load_is_asleep(options->server_pid) && hf_load_clock_us() < until_us);
}

void hf_load_wave(struct hf_load *load, uint64_t wait_us)
{
    uint64_t due_us = hf_engine_next_us(load->engine);
    uint64_t left_us = due_us > load->now_us ? due_us - load->now_us : 0;
    load->io->flush(load);
    await_server(load);
    load->io->receive(load, left_us < wait_us ? left_us : wait_us);
    hf_load_turn_begin(load); /* timers, when nothing has come */
    hf_load_turn_end(load);
    expire_closing(load);
    hf_load_stats_row(load, false);
}

/* ---- devices ----------------------------------------------------------------------------- */

static enum hf_status connect_device(struct hf_load *load, struct hf_load_device *device,
                                     const struct hf_path *path)
{
    size_t credential = hf_load_credential_of(load, device->number);
    const struct hf_bytes *session = hf_load_session_of(load, device->number);
    struct hf_connect connect = {
        .path = *path,
        .user = device->number % load->device_count,
        .session = session ? *session : (struct hf_bytes){NULL, 0},
    };
    if (credential != SIZE_MAX) {
        connect.dialer_index = 1;
        connect.x509 = load->credentials[credential];
    } else {
        const struct hf_load_key *key = &load->keys.keys[device->number % load->keys.count];
        connect.psk_identity = (struct hf_bytes){key->bytes, key->identity_len};
    }
    return hf_engine_connect(&device->association, load->engine, &connect);
}

bool hf_load_dial(struct hf_load *load)
{
    uint32_t number = (uint32_t)load->stats.begun_count;
    struct hf_load_device *device = hf_load_device_of(load, number);
    struct hf_path path = {.local = hf_address_v4((const uint8_t *)&load->options.server.sin_addr,
                                                  ntohs(load->options.server.sin_port))};
    uint32_t bits = htonl(number);
    path.peer = hf_address_v4((const uint8_t *)&bits, 1);
    if (!hf_engine_has_event_room(load->engine))
        return false;
    *device = (struct hf_load_device){.number = number, .begun_us = load->now_us};
    load->stats.begun_count++;
    if (!load->io->begin(load, device, &path))
        return true;
    enum hf_status status = connect_device(load, device, &path);
    if (status != HF_OK) {
        hf_load_stats_fail(load, hf_status_reason(status));
        finish(load, device);
        return true;
    }
    device->state = HF_LOAD_SHAKING;
    load->busy_count++;
    return true;
}

void hf_load_hang_up(struct hf_load *load, struct hf_load_device *device)
{
    uint32_t at = (load->closing_head + load->closing_count) % CLOSING_MAX;
    device->state = HF_LOAD_CLOSING;
    device->begun_us = load->now_us;
    load->closing[at] = device->number % load->device_count;
    load->closing_count++;
    load->busy_count++;
    hf_engine_close_association(load->engine, device->association,
                                load->options.is_dtls ? HF_CLOSE_NOTIFY : HF_CLOSE_WRITE);
}

void hf_load_answered(struct hf_load *load, struct hf_load_device *device, bool is_given_up)
{
    load->busy_count--;
    load->stats.ended_count++;
    if (is_given_up)
        load->stats.close_unanswered++;
    else
        load->stats.close_answered++;
    finish(load, device);
    if (is_given_up && !load->options.is_dtls)
        hf_engine_close_association(load->engine, device->association, HF_CLOSE_SILENT);
}
