/**
 * simulator.c - the world's clock and its heap of things to come; see simulator.h.
 */
#include "simulator_parts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define TURNS_AT_ONCE_MAX 200000 /* turns without time going on: the engine asks for ever more */

static struct sim *current;

static void free_client(struct sim_client *client)
{
    free(client->work);
    free(client->held.data);
    free(client->up.data);
    free(client->up_got.data);
    free(client->down.data);
    free(client->down_got.data);
    free(client);
}

static void free_all(struct sim *sim)
{
    hf_engine_close(sim->engine);
    while (sim->item_count > 0)
        free(sim->items[--sim->item_count].data);
    while (sim->lent_count > 0)
        free(sim->lent[--sim->lent_count]);
    for (uint32_t i = 0; i < sim->client_count; i++)
        free_client(sim->clients[i]);
    free(sim->items);
    free(sim->lent);
    sim_trace_end();
}

void sim_fail(const struct sim *sim, const char *what, const char *file, int line)
{
    sim_trace_print();
    fprintf(stderr, "seed %llu, at %.6f s, turn %llu: %s\n", (unsigned long long)sim->options.seed,
            (double)sim->now_us / 1e6, (unsigned long long)sim->turn_count, what);
    for (uint32_t i = 0; i < sim->client_count; i++) {
        const struct sim_client *client = sim->clients[i];
        fprintf(stderr,
                "  client %u: %s, %s%s, keys %d, kind %d, chunks %d, ending %d, peer %s (%s, alert "
                "%u), established %d, ended %d %s in %s on %s, suite %04x\n",
                i, client->plan.listener_index ? "DTLS" : "TLS",
                client->is_started ? "started" : "", client->is_gone ? ", gone" : "",
                (int)client->plan.key_schedule, (int)client->plan.key_kind,
                (int)client->plan.chunks, (int)client->plan.ending,
                client->is_started ? psk_client_state_name(client->peer.state) : "-",
                client->peer.why ? client->peer.why : "-", client->peer.alert,
                client->is_established, client->is_ended, hf_status_reason(client->failure.status),
                client->failure.state ? client->failure.state : "-",
                client->failure.event ? client->failure.event : "-", client->peer.suite);
    }
    struct hf_counters counters = sim_counters(sim);
    for (int i = 0; i < HF_DROP_COUNT; i++) {
        if (counters.drops[i])
            fprintf(stderr, "  dropped: %s %llu\n", hf_drop_label((enum hf_drop)i),
                    (unsigned long long)counters.drops[i]);
    }
    free_all(current); /* a leak would drown the message */
    _fail(file, line);
    abort(); /* outside of a cmocka test */
}

uint64_t sim_random(struct sim *sim)
{
    uint64_t a = sim->random[0], b = sim->random[1]; /* xoroshiro128+ */
    uint64_t sum = a + b;
    b ^= a;
    sim->random[0] = (a << 24 | a >> 40) ^ b ^ b << 16;
    sim->random[1] = b << 37 | b >> 27;
    return sum;
}

uint64_t sim_below(struct sim *sim, uint64_t limit)
{
    return limit ? (sim_random(sim) >> 11) % limit : 0;
}

bool sim_chance(struct sim *sim, uint32_t ppm)
{
    return sim_below(sim, 1000000) < ppm;
}

void sim_digest(struct sim *sim, uint64_t what, uint64_t which)
{
    uint64_t values[4] = {sim->digest, sim->now_us, what, which};
    sim->digest = hf_xxh3(values, sizeof values);
}

uint8_t *sim_copy(const void *data, size_t len)
{
    uint8_t *copy = malloc(len ? len : 1); /* of the exact size: an over-read is seen by ASan */
    if (!copy)
        abort();
    if (len)
        memcpy(copy, data, len);
    return copy;
}

void sim_bytes_add(struct sim_bytes *bytes, const void *data, size_t len)
{
    if (bytes->len + len > bytes->max) {
        bytes->max = 2 * (bytes->len + len);
        bytes->data = realloc(bytes->data, bytes->max);
        if (!bytes->data)
            abort();
    }
    if (len)
        memcpy(bytes->data + bytes->len, data, len);
    bytes->len += len;
}

static bool is_before(const struct sim_item *a, const struct sim_item *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

void sim_push(struct sim *sim, const struct sim_item *item)
{
    if (sim->item_count == sim->item_max) {
        sim->item_max = sim->item_max ? 2 * sim->item_max : 64;
        sim->items = realloc(sim->items, sim->item_max * sizeof *sim->items);
        if (!sim->items)
            abort();
    }
    size_t at = sim->item_count++;
    struct sim_item added = *item;
    added.order = sim_random(sim); /* what falls on one time comes in any order */
    while (at > 0 && is_before(&added, &sim->items[(at - 1) / 2])) {
        sim->items[at] = sim->items[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    sim->items[at] = added;
}

static struct sim_item pop(struct sim *sim)
{
    struct sim_item top = sim->items[0];
    struct sim_item last = sim->items[--sim->item_count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= sim->item_count)
            break;
        if (child + 1 < sim->item_count && is_before(&sim->items[child + 1], &sim->items[child]))
            child++;
        if (!is_before(&sim->items[child], &last))
            break;
        sim->items[at] = sim->items[child];
        at = child;
    }
    sim->items[at] = last;
    return top;
}

void sim_lend(struct sim *sim, uint8_t *data)
{
    if (sim->lent_count == sim->lent_max) {
        sim->lent_max = sim->lent_max ? 2 * sim->lent_max : 16;
        sim->lent = realloc(sim->lent, sim->lent_max * sizeof *sim->lent);
        if (!sim->lent)
            abort();
    }
    sim->lent[sim->lent_count++] = data;
}

struct sim_association *sim_association_of(struct sim *sim, hf_association_id id)
{
    for (uint32_t i = sim->association_count; i > 0; i--) {
        if (sim->associations[i - 1].id == id)
            return &sim->associations[i - 1];
    }
    return NULL;
}

struct sim_association *sim_association_add(struct sim *sim, hf_association_id id,
                                            uint32_t client_index)
{
    SIM_CHECK(sim, id != 0 && !sim_association_of(sim, id));
    SIM_CHECK(sim, sim->association_count < SIM_ASSOCIATIONS_MAX);
    struct sim_association *association = &sim->associations[sim->association_count++];
    *association = (struct sim_association){.id = id, .client_index = client_index};
    return association;
}

static void do_item(struct sim *sim, struct sim_item *item)
{
    struct sim_client *client = item->kind == SIM_ITEM_INJECT || item->kind == SIM_ITEM_ANSWER_HELD
                                    ? NULL
                                    : sim->clients[item->client_index];
    switch (item->kind) {
    case SIM_ITEM_START:
        sim_life_start(client);
        break;
    case SIM_ITEM_UP:
        sim_net_up(sim, item);
        break;
    case SIM_ITEM_UP_END:
        sim_net_up_end(client);
        break;
    case SIM_ITEM_DOWN:
        sim_net_down(client, item);
        break;
    case SIM_ITEM_INJECT:
        sim_net_inject(sim, item);
        break;
    case SIM_ITEM_ANSWER:
        sim_answer(client, &client->requests[item->aux]);
        break;
    case SIM_ITEM_ANSWER_HELD:
        sim_keys_answer_held(sim);
        break;
    case SIM_ITEM_CLOSE:
        sim_close_client(client, (enum hf_close)item->aux);
        break;
    case SIM_ITEM_SEND_UP:
        sim_life_send_up(client);
        break;
    case SIM_ITEM_JOB:
        hf_engine_give_job(sim->engine, item->job);
        break;
    case SIM_ITEM_SEND_DOWN:
        sim_life_send_down(client);
        break;
    case SIM_ITEM_RENEGOTIATE:
        sim_life_renegotiate(client);
        break;
    case SIM_ITEM_END:
        sim_life_end(client);
        break;
    }
}

void sim_turn(struct sim *sim, uint64_t now_us)
{
    SIM_CHECK(sim, now_us >= sim->now_us);
    sim->now_us = now_us;
    sim->turn_count++;
    sim->is_blocked = false;
    sim_trace_time(now_us);
    int64_t wall_s = SIM_WALL_S + (int64_t)(now_us / 1000000);
    if (sim->options.is_wall_jumping) /* drawn from elsewhere: the run must stay the same */
        wall_s += (int64_t)(hf_xxh3(&sim->turn_count, 8) % 2000000000) - 1000000000;
    hf_engine_begin_turn(sim->engine, now_us, wall_s);
    for (uint32_t i = 0; i < sim->client_count; i++) {
        if (sim->clients[i]->is_held_for_room)
            sim_net_held(sim->clients[i]);
    }
    while (sim->item_count > 0 && sim->items[0].at_us <= now_us) {
        struct sim_item item = pop(sim);
        do_item(sim, &item);
    }
    hf_engine_end_turn(sim->engine);
    sim_jobs_run(sim);
    sim_check_events(sim);
    for (uint32_t i = 0; i < sim->client_count; i++) {
        struct sim_client *client = sim->clients[i];
        if (client->is_started && !client->is_gone)
            psk_client_tick(&client->peer, now_us, sim_client_emit, client);
        sim_life_go_on(client);
    }
    sim_check_events(sim); /* what was closed just now */
    sim_net_take_output(sim);
    while (sim->lent_count > 0)
        free(sim->lent[--sim->lent_count]);
}

uint64_t sim_next_us(const struct sim *sim)
{
    uint64_t next_us = hf_engine_next_us(sim->engine);
    if (sim->item_count > 0 && sim->items[0].at_us < next_us)
        next_us = sim->items[0].at_us;
    for (uint32_t i = 0; i < sim->client_count; i++) {
        const struct sim_client *client = sim->clients[i];
        uint64_t due_us =
            client->is_started && !client->is_gone ? psk_client_next_us(&client->peer) : UINT64_MAX;
        if (client->is_held_for_room || client->is_up_due || client->is_down_due)
            due_us = sim->now_us + 1;
        next_us = due_us < next_us ? due_us : next_us;
    }
    struct hf_counters counters = sim_counters(sim);
    if (counters.events_pending > 0 || sim->engine->outbox.output_count > 0)
        next_us = sim->now_us + 1; /* an embedder that has not drained it comes back */
    if (next_us < sim->now_us)
        next_us = sim->now_us;
    uint64_t grid_us = sim->options.grid_us;
    if (grid_us && next_us != UINT64_MAX)
        next_us = (next_us + grid_us - 1) / grid_us * grid_us;
    return next_us;
}

void sim_run(struct sim *sim, uint64_t until_us)
{
    uint64_t next_us, turns_at_once = 0;
    while ((next_us = sim_next_us(sim)) <= until_us && next_us != UINT64_MAX) {
        turns_at_once = next_us == sim->now_us ? turns_at_once + 1 : 0;
        SIM_CHECK(sim, turns_at_once < TURNS_AT_ONCE_MAX);
        sim_turn(sim, next_us);
    }
    if (until_us != UINT64_MAX && until_us > sim->now_us)
        sim_turn(sim, until_us);
}

void sim_options_init(struct sim_options *options, uint64_t seed)
{
    memset(options, 0, sizeof *options);
    options->seed = seed;
    options->network.delay_us_min = 10000;
    options->network.delay_us_max = 20000;
    hf_config_init(&options->config);
    options->config.associations_max = 128;
    options->config.handshakes_max = 96;
    options->config.handshakes_pressure = 96;
    options->config.stream_buffers_max = 64;
    options->config.events_max = 256;
    options->config.output_len_max = 256 * 1024;
    options->config.keylog = true;
    options->config.listener_count = 2;
    hf_listener_init(&options->listeners[0], HF_TRANSPORT_TLS);
    hf_listener_init(&options->listeners[1], HF_TRANSPORT_DTLS);
}

void sim_open(struct sim *sim, const struct sim_options *options)
{
    struct hf_key_source source = {sim_keys_request, sim_keys_cancel, sim};
    memset(sim, 0, sizeof *sim);
    current = sim;
    sim->options = *options;
    sim->options.config.listeners = sim->options.listeners;
    sim->random[0] = options->seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
    sim->random[1] = ~sim->random[0] * UINT64_C(0xBF58476D1CE4E5B9);
    for (int i = 0; i < 8; i++)
        sim_random(sim);
    sim_trace_begin(options->seed);
    enum hf_status status = hf_engine_open(&sim->engine, &sim->options.config, &source);
    SIM_CHECK(sim, status == HF_OK);
    sim->now_us = 1 + sim_below(sim, UINT64_C(1) << 40); /* any origin will do */
    sim_turn(sim, sim->now_us);
}

struct hf_counters sim_counters(const struct sim *sim)
{
    struct hf_counters counters;
    hf_engine_counters(&counters, sim->engine);
    return counters;
}

void sim_close(struct sim *sim)
{
    sim->is_closing = true;
    while (sim->item_count > 0)
        free(pop(sim).data);
    for (uint32_t i = 0; i < sim->client_count; i++) {
        sim->clients[i]->is_gone = true;
        sim->clients[i]->is_held_for_room = false;
        sim->clients[i]->is_up_due = sim->clients[i]->is_down_due = false;
    }
    sim_check_over(sim);
    free_all(sim);
}
