/**
 * engine_fixture_turn.c - the turns of engine_fixture.h: bytes in, events and bytes out, time.
 */
#include "engine_fixture.h"

#define TURNS_MAX 20000     /* within one moment: more is an endless loop */
#define STEP_US 10000       /* the engine's timers are this coarse */
#define SETTLE_US 150000000 /* longer than any deadline of a default configuration */

/* Hands one item in. False: the engine did not take all of it; the rest stays first in line. */
static bool deliver(struct engine_peer *peer, struct engine_wire_item *item)
{
    struct engine_fixture *fixture = peer->fixture;
    size_t consumed = item->len;
    engine_wire_add(&fixture->spent, item->data, item->len);
    uint8_t *data = fixture->spent.items[fixture->spent.count - 1].data;
    if (!peer->is_tls) {
        struct hf_datagram datagram = {.path = peer->path,
                                       .listener_index = ENGINE_FIXTURE_DTLS,
                                       .data = data,
                                       .len = item->len};
        return hf_engine_receive_datagram(fixture->engine, &datagram) == HF_OK;
    }
    if (peer->is_over)
        return true;
    enum hf_status status =
        hf_engine_receive_stream(fixture->engine, &consumed, peer->id, data, item->len);
    if (status == HF_E_STALE)
        return true;
    memmove(item->data, item->data + consumed, item->len - consumed);
    item->len -= consumed;
    return item->len == 0;
}

static bool deliver_all(struct engine_peer *peer)
{
    size_t done = 0;
    uint64_t before = 0, after = 0;
    for (size_t i = 0; i < peer->outgoing.count; i++)
        before += peer->outgoing.items[i].len + 1;
    while (done < peer->outgoing.count && deliver(peer, &peer->outgoing.items[done]))
        free(peer->outgoing.items[done++].data);
    peer->outgoing.count -= done;
    if (peer->outgoing.count > 0)
        memmove(peer->outgoing.items, peer->outgoing.items + done,
                peer->outgoing.count * sizeof *peer->outgoing.items);
    for (size_t i = 0; i < peer->outgoing.count; i++)
        after += peer->outgoing.items[i].len + 1;
    return after < before;
}

static struct engine_peer *peer_at(struct engine_fixture *fixture, const struct hf_path *path)
{
    for (struct engine_peer *peer = fixture->peers; peer; peer = peer->next) {
        if (!peer->is_tls && memcmp(&peer->path.peer, &path->peer, sizeof path->peer) == 0)
            return peer;
    }
    return NULL;
}

static struct engine_peer *peer_of(struct engine_fixture *fixture, const struct hf_event *event)
{
    for (struct engine_peer *peer = fixture->peers; peer; peer = peer->next) {
        if (peer->is_tls ? event->user == (uint64_t)(uintptr_t)peer
                         : peer->id == event->association)
            return peer;
    }
    return event->user == 0 ? peer_at(fixture, &event->path) : NULL;
}

static void take_end(struct engine_fixture *fixture, struct engine_peer *peer,
                     const struct hf_event *event)
{
    bool is_failed = event->kind == HF_EVENT_HANDSHAKE_FAILED;
    fixture->stray_failed += !peer && is_failed;
    fixture->stray_closed += !peer && !is_failed;
    if (!peer)
        return;
    peer->failure = event->failure;
    peer->is_over = peer->is_tls;
    if (!is_failed) {
        peer->closed_count++;
        return;
    }
    peer->failed_count++;
    peer->failed_identity_len = event->psk_identity_len;
    memcpy(peer->failed_identity, event->psk_identity, event->psk_identity_len);
}

static void take_event(struct engine_fixture *fixture, const struct hf_event *event)
{
    struct engine_peer *peer = peer_of(fixture, event);
    switch (event->kind) {
    case HF_EVENT_ESTABLISHED:
        if (peer) {
            peer->established_count++;
            peer->id = event->association;
        } else { /* the test has let go of it */
            hf_engine_close_association(fixture->engine, event->association, HF_CLOSE_SILENT);
        }
        break;
    case HF_EVENT_DATA:
        if (peer)
            peer->data_in_len += event->data.len;
        if (!fixture->is_silent)
            (void)!hf_engine_send(fixture->engine, event->association, event->data);
        break;
    case HF_EVENT_READABLE:
        if (peer)
            peer->readable_count++;
        break;
    case HF_EVENT_PEER_CLOSED:
        if (peer)
            peer->peer_closed_count++;
        break;
    case HF_EVENT_CLOSED:
    case HF_EVENT_HANDSHAKE_FAILED:
        take_end(fixture, peer, event);
        break;
    case HF_EVENT_KEYLOG:
    case HF_EVENT_MOVED:
    case HF_EVENT_SESSION:
    default:
        break;
    }
}

static void client_hears(const uint8_t *data, size_t len, void *arg)
{
    struct engine_peer *peer = arg;
    size_t room = sizeof peer->echo - peer->echo_len;
    memcpy(peer->echo + peer->echo_len, data, len < room ? len : room);
    peer->echo_len += len < room ? len : room;
}

static void take_output(struct engine_fixture *fixture, const struct hf_output *output)
{
    struct engine_peer *peer = output->is_stream ? (struct engine_peer *)(uintptr_t)output->user
                                                 : peer_at(fixture, &output->path);
    if (!peer) {
        fixture->stray_count++;
        fixture->stray_len += output->data.len;
        fixture->stray_last_len =
            output->data.len < sizeof fixture->stray ? output->data.len : sizeof fixture->stray;
        memcpy(fixture->stray, output->data.data, fixture->stray_last_len);
        return;
    }
    engine_wire_add(&peer->received, output->data.data, output->data.len);
    if (peer->is_deaf)
        return;
    uint8_t *copy = malloc(output->data.len);
    assert_non_null(copy);
    memcpy(copy, output->data.data, output->data.len);
    psk_client_receive(&peer->client, fixture->now_us, copy, output->data.len, engine_peer_emit,
                       client_hears, peer);
    free(copy);
}

/* One turn. False: nothing happened. */
static bool turn(struct engine_fixture *fixture)
{
    bool is_busy = false;
    struct hf_event event;
    struct hf_output output;
    hf_engine_begin_turn(fixture->engine, fixture->now_us, fixture->wall_s);
    for (struct engine_peer *peer = fixture->peers; peer; peer = peer->next)
        is_busy |= deliver_all(peer);
    hf_engine_end_turn(fixture->engine);
    if (fixture->are_jobs_held) {
        size_t room = sizeof fixture->jobs / sizeof fixture->jobs[0] - fixture->job_count;
        fixture->job_count +=
            hf_engine_take_jobs(fixture->engine, fixture->jobs + fixture->job_count, room);
    } else {
        hf_engine_run_jobs(fixture->engine);
    }
    while (hf_engine_take_event(fixture->engine, &event)) {
        is_busy = true;
        take_event(fixture, &event);
    }
    while (hf_engine_take_output(fixture->engine, &output)) {
        is_busy = true;
        take_output(fixture, &output);
    }
    engine_wire_clear(&fixture->spent);
    return is_busy;
}

void engine_fixture_run(struct engine_fixture *fixture)
{
    size_t turns = 0;
    while (turn(fixture))
        assert_in_range(turns++, 0, TURNS_MAX);
}

static uint64_t next_us(const struct engine_fixture *fixture)
{
    uint64_t due = hf_engine_next_us(fixture->engine);
    for (const struct engine_peer *peer = fixture->peers; peer; peer = peer->next) {
        uint64_t client_due = peer->is_gone ? UINT64_MAX : psk_client_next_us(&peer->client);
        due = client_due < due ? client_due : due;
    }
    return due;
}

void engine_fixture_advance(struct engine_fixture *fixture, uint64_t us)
{
    uint64_t end_us = fixture->now_us + us;
    engine_fixture_run(fixture);
    while (fixture->now_us < end_us) {
        uint64_t due = next_us(fixture);
        if (due < fixture->now_us + STEP_US)
            due = fixture->now_us + STEP_US;
        uint64_t passed_us = (due < end_us ? due : end_us) - fixture->now_us;
        fixture->wall_s += (int64_t)((fixture->now_us % 1000000 + passed_us) / 1000000);
        fixture->now_us += passed_us;
        for (struct engine_peer *peer = fixture->peers; peer; peer = peer->next) {
            if (!peer->is_gone && peer->client.config.work)
                psk_client_tick(&peer->client, fixture->now_us, engine_peer_emit, peer);
        }
        engine_fixture_run(fixture);
    }
}

void engine_fixture_check_undisturbed(struct engine_fixture *fixture)
{
    for (size_t i = 0; i < 2; i++) {
        struct engine_peer *peer = fixture->bystanders[i];
        assert_int_equal(peer->established_count, 1);
        assert_true(engine_peer_is_open(peer));
        assert_true(engine_peer_echoes(peer));
        engine_peer_forget(peer);
    }
}

void engine_fixture_close(struct engine_fixture *fixture)
{
    engine_fixture_run(fixture);
    engine_fixture_check_undisturbed(fixture);
    for (struct engine_peer *peer = fixture->peers; peer; peer = peer->next) {
        peer->is_gone = peer != fixture->bystanders[0] && peer != fixture->bystanders[1];
        peer->is_deaf |= peer->is_gone;
    }
    engine_fixture_advance(fixture, SETTLE_US);
    engine_fixture_check_undisturbed(fixture);
    for (struct engine_peer *peer = fixture->peers; peer; peer = peer->next) {
        hf_engine_close_association(fixture->engine, peer->id, HF_CLOSE_SILENT);
        engine_fixture_run(fixture);
    }
    struct hf_counters counters = engine_fixture_counters(fixture);
    assert_int_equal(counters.associations, 0);
    assert_int_equal(counters.handshakes_open, 0);
    assert_int_equal(counters.parked, 0);
    assert_int_equal(counters.events_pending, 0);
    hf_engine_begin_turn(fixture->engine, fixture->now_us, fixture->wall_s);
    counters = engine_fixture_counters(fixture);
    assert_int_equal(counters.stream_buffers, 0);
    assert_int_equal(counters.memory_len, hf_config_memory(&fixture->config));
    hf_engine_close(fixture->engine);
    while (fixture->peers)
        engine_peer_free(fixture->peers);
    engine_wire_clear(&fixture->spent);
}
