/**
 * simulator_net.c - the network of the simulator: datagrams are lost, repeated and overtaken,
 * streams are cut into pieces but keep their order, and what the engine will not take waits.
 */
#include "simulator_parts.h"

static uint64_t delay_us(struct sim *sim)
{
    const struct sim_network *network = &sim->options.network;
    uint64_t range_us = network->delay_us_max - network->delay_us_min;
    uint64_t us = network->delay_us_min + sim_below(sim, range_us + 1);
    if (sim_chance(sim, network->reorder_ppm))
        us += sim_below(sim, network->reorder_us);
    return us;
}

static void send_datagram(struct sim_client *client, bool is_up, const uint8_t *data, size_t len)
{
    struct sim *sim = client->sim;
    const struct sim_network *network = &sim->options.network;
    uint32_t copies = 1;
    if (sim_chance(sim, network->loss_ppm))
        return;
    copies += sim_chance(sim, network->duplicate_ppm);
    while (copies-- > 0) {
        struct sim_item item = {
            .at_us = sim->now_us + delay_us(sim),
            .kind = is_up ? SIM_ITEM_UP : SIM_ITEM_DOWN,
            .client_index = client->index,
            .message = is_up ? client->up_message : -1,
            .data = sim_copy(data, len),
            .len = len,
        };
        sim_push(sim, &item);
    }
}

static void send_stream(struct sim_client *client, bool is_up, const uint8_t *data, size_t len)
{
    struct sim *sim = client->sim;
    uint64_t at_us = sim->now_us + delay_us(sim);
    while (len > 0) {
        size_t part = len;
        if (client->plan.chunks == SIM_PIECES)
            part = 1 + (size_t)sim_below(sim, len);
        else if (client->plan.chunks == SIM_BYTES)
            part = 1;
        if (at_us <= client->stream_us[is_up])
            at_us = client->stream_us[is_up] + 1;
        client->stream_us[is_up] = at_us;
        struct sim_item item = {
            .at_us = at_us,
            .kind = is_up ? SIM_ITEM_UP : SIM_ITEM_DOWN,
            .client_index = client->index,
            .message = -1,
            .data = sim_copy(data, part),
            .len = part,
        };
        sim_push(sim, &item);
        data += part;
        len -= part;
        if (client->plan.chunks == SIM_PIECES)
            at_us += sim_below(sim, 3000);
    }
}

void sim_net_send(struct sim_client *client, bool is_up, const uint8_t *data, size_t len)
{
    struct sim *sim = client->sim;
    if (client->is_gone || client->is_reset)
        return;
    if (sim->options.filter &&
        sim->options.filter(client, is_up, data, len, sim->options.filter_arg))
        return;
    if (client->plan.config.is_dtls)
        send_datagram(client, is_up, data, len);
    else
        send_stream(client, is_up, data, len);
}

void sim_client_emit(const uint8_t *data, size_t len, void *arg)
{
    sim_net_send(arg, true, data, len);
}

void sim_bytes_up(struct sim_client *client, const void *data, size_t len)
{
    sim_net_send(client, true, data, len);
}

static bool is_server_open(const struct sim_client *client)
{
    struct hf_association_info info;
    return client->id &&
           hf_engine_association_info(&info, client->sim->engine, client->id) == HF_OK &&
           info.established;
}

static void up_datagram(struct sim *sim, struct sim_item *item)
{
    struct sim_client *client = sim->clients[item->client_index];
    bool was_open = is_server_open(client);
    struct hf_datagram datagram = {
        .path = client->path,
        .listener_index = client->plan.listener_index,
        .ecn = item->message >= 0 ? (uint8_t)(item->message & 3) : 0,
        .data = item->data,
        .len = item->len,
    };
    enum hf_status status =
        sim->is_blocked ? HF_WAITING : hf_engine_receive_datagram(sim->engine, &datagram);
    if (status == HF_WAITING) {
        sim->is_blocked = true;
        item->at_us = sim->now_us + 1;
        sim_push(sim, item);
        return;
    }
    SIM_CHECK(sim, status == HF_OK);
    if (was_open)
        client->heard_us = sim->now_us;
    if (item->message >= 0 && was_open)
        client->up_arrived[item->message]++;
    sim_lend(sim, item->data);
}

/** Hands stream bytes in; what is left is kept, and why decides when to try again. */
static void up_stream(struct sim_client *client, uint8_t *data, size_t len)
{
    struct sim *sim = client->sim;
    size_t consumed = 0;
    enum hf_status status = HF_WAITING;
    if (!sim->is_blocked)
        status = hf_engine_receive_stream(sim->engine, &consumed, client->id, data, len);
    if (!sim->is_blocked && status == HF_WAITING && hf_engine_has_event_room(sim->engine)) {
        client->is_held_for_room = false; /* HF_EVENT_READABLE is owed */
    } else if (status == HF_WAITING) {
        sim->is_blocked = true;
        client->is_held_for_room = true;
    } else {
        SIM_CHECK(sim, status == HF_OK || status == HF_E_STALE);
        SIM_CHECK(sim, status == HF_E_STALE || consumed == len);
        if (status == HF_E_STALE)
            consumed = len;
    }
    SIM_CHECK(sim, consumed <= len);
    if (consumed > 0 && status != HF_E_STALE)
        client->heard_us = sim->now_us;
    sim_bytes_add(&client->held, data + consumed, len - consumed);
}

void sim_net_held(struct sim_client *client)
{
    struct sim_bytes held = client->held;
    client->is_held_for_room = false;
    client->held = (struct sim_bytes){0};
    if (held.len == 0) {
        free(held.data);
        return;
    }
    uint8_t *data = sim_copy(held.data, held.len);
    free(held.data);
    sim_lend(client->sim, data);
    up_stream(client, data, held.len);
}

void sim_net_up(struct sim *sim, struct sim_item *item)
{
    struct sim_client *client = sim->clients[item->client_index];
    if (client->plan.config.is_dtls) {
        up_datagram(sim, item);
        return;
    }
    sim_lend(sim, item->data);
    if (client->is_reset)
        return;
    if (client->held.len > 0)
        sim_bytes_add(&client->held, item->data, item->len);
    else
        up_stream(client, item->data, item->len);
}

void sim_net_up_end(struct sim_client *client)
{
    if (client->held.len > 0) { /* what came before the end goes first */
        struct sim_item again = {.at_us = client->sim->now_us + 1000,
                                 .kind = SIM_ITEM_UP_END,
                                 .client_index = client->index,
                                 .message = -1};
        sim_push(client->sim, &again);
        return;
    }
    client->is_pipe_closed = true;
    hf_engine_receive_end(client->sim->engine, client->id);
}

void sim_net_inject(struct sim *sim, struct sim_item *item)
{
    struct hf_datagram datagram = {
        .path = item->path,
        .listener_index = item->aux,
        .data = item->data,
        .len = item->len,
    };
    enum hf_status status = hf_engine_receive_datagram(sim->engine, &datagram);
    SIM_CHECK(sim, status == HF_OK || status == HF_WAITING);
    sim_lend(sim, item->data);
}

void sim_inject(struct sim *sim, uint32_t listener_index, const struct hf_path *path,
                const uint8_t *data, size_t len, uint64_t after_us)
{
    struct sim_item item = {
        .at_us = sim->now_us + after_us,
        .kind = SIM_ITEM_INJECT,
        .aux = listener_index,
        .message = -1,
        .data = sim_copy(data, len),
        .len = len,
        .path = *path,
    };
    sim_push(sim, &item);
}

static void client_data(const uint8_t *data, size_t len, void *arg)
{
    sim_life_take_data(arg, data, len);
}

void sim_net_down(struct sim_client *client, struct sim_item *item)
{
    if (!client->is_gone && client->is_started && !client->is_reset)
        psk_client_receive(&client->peer, client->sim->now_us, item->data, item->len,
                           sim_client_emit, client_data, client);
    free(item->data);
}

static bool is_same_path(const struct hf_path *a, const struct hf_path *b)
{
    return hf_bytes_equal_public(a, b, sizeof *a);
}

void sim_net_take_output(struct sim *sim)
{
    struct hf_output output;
    if (sim->options.is_slow_to_drain && !sim->is_closing && sim_chance(sim, 700000))
        return;
    while (hf_engine_take_output(sim->engine, &output)) {
        SIM_CHECK(sim, output.data.len > 0);
        if (output.is_stream) {
            SIM_CHECK(sim, output.user >= 1 && output.user <= sim->client_count);
            struct sim_client *client = sim->clients[output.user - 1];
            SIM_CHECK(sim, client->id == output.association);
            sim_net_send(client, false, output.data.data, output.data.len);
            continue;
        }
        const struct hf_listener *listener = &sim->options.listeners[output.listener_index];
        bool is_handshake = output.data.data[0] != HF_TYPE_APPLICATION_DATA;
        SIM_CHECK(sim, !is_handshake || output.data.len <= listener->datagram_len_max);
        for (uint32_t i = 0; i < sim->client_count; i++) {
            struct sim_client *client = sim->clients[i];
            if (client->plan.config.is_dtls && is_same_path(&client->path, &output.path))
                sim_net_send(client, false, output.data.data, output.data.len);
        }
    }
}
