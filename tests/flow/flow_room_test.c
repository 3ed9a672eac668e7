/**
 * flow_room_test.c - too little room: of events, output, stream buffers, handshakes. What cannot be
 * taken now waits and is neither lost nor forgotten; nothing that a peer or an embedder does fills
 * a queue of the engine's own.
 */
#include "simulator.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct sim sim;
static struct sim_options options;

static struct sim_plan plan_of(uint32_t listener_index)
{
    struct sim_plan plan;
    sim_plan_init(&plan, listener_index);
    return plan;
}

static void small(void)
{
    sim_options_init(&options, 7);
    options.config.events_max = 64;
    options.config.output_len_max = 65536;
    options.config.keylog = false;
}

struct collected {
    uint8_t data[4096];
    size_t len;
};

static void take(const uint8_t *data, size_t len, void *arg)
{
    struct collected *collected = arg;
    assert_true(collected->len + len <= sizeof collected->data);
    memcpy(collected->data + collected->len, data, len);
    collected->len += len;
}

/** A TLS client that does not wait: its hello and, unasked, its key exchange. */
static size_t collect(uint8_t *out, const struct psk_client_config *config)
{
    static const uint8_t exchange[] = {22, 3, 3, 0, 9, 16, 0, 0, 5, 0, 3, 'f', 'o', 'e'};
    static struct psk_client_work work;
    struct psk_client client;
    struct collected collected = {.len = 0};
    struct psk_client_config copy = *config;
    copy.work = &work;
    psk_client_init(&client, &copy);
    psk_client_start(&client, 0, take, &collected);
    take(exchange, sizeof exchange, &collected);
    memcpy(out, collected.data, collected.len);
    return collected.len;
}

/* Each of these was answered at once and then ended, in one turn; the slot served the next. */
static void answers_to_handshakes_that_ended_do_not_pile_up(void **state)
{
    (void)state;
    small();
    options.config.handshakes_max = 2;
    options.config.events_max = 1024;
    options.may_fail = true;
    sim_open(&sim, &options);
    struct sim_plan plan = plan_of(0);
    struct hf_path path = {.peer = {.port = 9}, .local = {.port = 5684}};
    uint8_t bytes[4096];
    hf_engine_begin_turn(sim.engine, sim.now_us, SIM_WALL_S);
    for (int i = 0; i < 100; i++) {
        hf_association_id id;
        size_t consumed, len = collect(bytes, &plan.config);
        enum hf_status status = hf_engine_accept(&id, sim.engine, 0, &path, 77);
        assert_int_equal(status, HF_OK);
        status = hf_engine_receive_stream(sim.engine, &consumed, id, bytes, len);
        assert_int_equal(status, HF_OK);
        hf_engine_receive_end(sim.engine, id);
    }
    hf_engine_end_turn(sim.engine);
    struct hf_event event;
    uint32_t failed = 0;
    while (hf_engine_take_event(sim.engine, &event))
        failed += event.kind == HF_EVENT_HANDSHAKE_FAILED;
    assert_int_equal(failed, 100);
    struct hf_output output;
    while (hf_engine_take_output(sim.engine, &output))
        continue;
    sim_close(&sim);
}

/** Fills the engine's events: an open association says more than there is room to hear. */
static size_t fill_events(struct sim_client *client, uint8_t *records, size_t *len)
{
    size_t consumed = 0;
    enum hf_status status =
        hf_engine_receive_stream(sim.engine, &consumed, client->id, records, *len);
    assert_int_equal(status, HF_WAITING);
    assert_false(hf_engine_has_event_room(sim.engine));
    return consumed;
}

/** So many protected records of one byte, as one stretch of stream. */
static uint8_t *many_records(struct sim_client *client, size_t count, size_t *len)
{
    struct sim_bytes stream = {0};
    struct collected collected = {.len = 0};
    for (size_t i = 0; i < count; i++) {
        const uint8_t byte = (uint8_t)i;
        collected.len = 0;
        psk_client_send(&client->peer, &byte, 1, take, &collected);
        sim_bytes_add(&client->up, &byte, 1);
        sim_bytes_add(&stream, collected.data, collected.len);
    }
    *len = stream.len;
    return stream.data;
}

static void drain(void)
{
    struct hf_event event;
    struct hf_output output;
    while (hf_engine_take_event(sim.engine, &event))
        continue;
    while (hf_engine_take_output(sim.engine, &output))
        continue;
}

/* A hello that comes while the events are full is not swallowed: the caller keeps it. */
static void a_handshake_waits_for_event_room(void **state)
{
    (void)state;
    small();
    options.may_fail = true;
    sim_open(&sim, &options);
    struct sim_plan plan = plan_of(0);
    struct sim_client *talker = sim_add_open(&sim, &plan);
    size_t len, hello_len, consumed;
    uint8_t *records = many_records(talker, 200, &len);
    uint8_t hello[4096];
    struct hf_path path = {.peer = {.port = 9}, .local = {.port = 5684}};
    hf_association_id id;
    hf_engine_begin_turn(sim.engine, sim.now_us, SIM_WALL_S);
    enum hf_status status = hf_engine_accept(&id, sim.engine, 0, &path, 77);
    assert_int_equal(status, HF_OK);
    hello_len = collect(hello, &plan.config);
    size_t talked = fill_events(talker, records, &len);
    status = hf_engine_receive_stream(sim.engine, &consumed, id, hello, hello_len);
    assert_int_equal(status, HF_WAITING);
    assert_int_equal(consumed, 0);
    /* In part: the hello is whole only with bytes that come when there is no room. */
    drain();
    status = hf_engine_receive_stream(sim.engine, &consumed, id, hello, 40);
    assert_int_equal(status, HF_OK);
    assert_int_equal(consumed, 40);
    len -= talked;
    talked += fill_events(talker, records + talked, &len);
    status = hf_engine_receive_stream(sim.engine, &consumed, id, hello + 40, hello_len - 40);
    assert_int_equal(status, HF_WAITING);
    assert_int_equal(consumed, 0);
    hf_engine_end_turn(sim.engine);
    drain();
    hf_engine_begin_turn(sim.engine, sim.now_us, SIM_WALL_S);
    status = hf_engine_receive_stream(sim.engine, &consumed, id, hello + 40, hello_len - 40);
    assert_int_equal(status, HF_OK);
    struct hf_output output;
    assert_true(hf_engine_take_output(sim.engine, &output)); /* the ServerHello */
    assert_int_equal(output.association, id);
    hf_engine_receive_end(sim.engine, id);
    hf_engine_end_turn(sim.engine);
    drain();
    free(records);
    sim.is_closing = true;
    talker->up_got.len = talker->up.len; /* drained by hand */
    sim_close(&sim);
}

/* Two messages in a stretch of stream, and room for what the first causes only. */
static void what_follows_a_message_waits_for_output_room(void **state)
{
    (void)state;
    small();
    options.may_fail = true;
    sim_open(&sim, &options);
    struct sim_plan plan = plan_of(0);
    struct sim_client *talker = sim_add_open(&sim, &plan);
    struct hf_path path = {.peer = {.port = 9}, .local = {.port = 5684}};
    uint8_t bytes[4096], filler[4096] = {0};
    hf_association_id id;
    size_t consumed, len = collect(bytes, &plan.config), hello_len = len - 14;
    hf_engine_begin_turn(sim.engine, sim.now_us, SIM_WALL_S);
    enum hf_status status = hf_engine_accept(&id, sim.engine, 0, &path, 77);
    assert_int_equal(status, HF_OK);
    status = hf_engine_receive_stream(sim.engine, &consumed, id, bytes, 40);
    assert_int_equal(status, HF_OK);
    size_t part = sizeof filler;
    while (part > 0) { /* until there is room for one step, hardly more */
        status = hf_engine_send(sim.engine, talker->id, (struct hf_bytes){filler, part});
        part = status == HF_OK ? part : part / 2;
    }
    uint64_t requests = sim_counters(&sim).requests;
    status = hf_engine_receive_stream(sim.engine, &consumed, id, bytes + 40, len - 40);
    assert_int_equal(status, HF_WAITING);
    assert_int_equal(consumed, hello_len - 40); /* the hello was taken, the exchange was not */
    hf_engine_end_turn(sim.engine);
    assert_int_equal(sim_counters(&sim).requests, requests);
    drain();
    hf_engine_begin_turn(sim.engine, sim.now_us, SIM_WALL_S);
    status = hf_engine_receive_stream(sim.engine, &consumed, id, bytes + hello_len, 14);
    assert_int_equal(status, HF_OK);
    assert_int_equal(sim_counters(&sim).requests, requests + 1);
    hf_engine_receive_end(sim.engine, id);
    hf_engine_end_turn(sim.engine);
    drain();
    sim_close(&sim);
}

/* The timer could not fire for want of room: the answer is late all the same. */
static void an_answer_after_its_time_is_stale_even_unnoticed(void **state)
{
    (void)state;
    small();
    options.may_fail = true;
    sim_open(&sim, &options);
    struct sim_plan plan = plan_of(0);
    struct sim_client *talker = sim_add_open(&sim, &plan);
    plan.key_schedule = SIM_BY_HAND;
    struct sim_client *parked = sim_add(&sim, &plan);
    sim_run(&sim, sim.now_us + 500000);
    assert_int_equal(parked->request_count, 1);
    size_t len;
    uint8_t *records = many_records(talker, 200, &len);
    hf_engine_begin_turn(sim.engine, sim.now_us, SIM_WALL_S);
    fill_events(talker, records, &len);
    hf_engine_end_turn(sim.engine);
    sim.now_us = parked->requests[0].deadline_us + 1;
    hf_engine_begin_turn(sim.engine, sim.now_us, SIM_WALL_S);
    assert_int_equal(parked->requests[0].state, SIM_ASKED);
    struct hf_answer answer = {.kind = HF_ANSWER_REFUSED};
    enum hf_status status = hf_engine_answer(sim.engine, parked->requests[0].ticket, &answer);
    assert_int_equal(status, HF_E_STALE);
    drain();
    talker->up_got.len = talker->up.len;
    sim_run(&sim, sim.now_us + 100000);
    assert_int_equal(parked->requests[0].state, SIM_CANCELLED);
    assert_int_equal(parked->failure.status, HF_E_SOURCE_TIMEOUT);
    free(records);
    sim_close(&sim);
}

/* What a client says right behind its Finished, before it can know that ours is right, in an
 * engine where the events are full at that moment: all of it arrives, in order. */
static void early_data_waits_for_event_room(void **state)
{
    (void)state;
    small();
    options.may_fail = true;
    options.config.stream_buffers_max = 3;
    sim_open(&sim, &options);
    struct sim_plan plan = plan_of(0);
    plan.key_schedule = SIM_BY_HAND;
    struct sim_client *client = sim_add(&sim, &plan);
    sim_run(&sim, sim.now_us + 1000000);
    assert_int_equal(client->request_count, 1);
    assert_int_equal(client->peer.state, PSK_CLIENT_AWAIT_FINISHED);
    for (int i = 0; i < 100; i++) {
        uint8_t byte = (uint8_t)i;
        struct psk_client_record record = {.type = HF_TYPE_APPLICATION_DATA,
                                           .epoch = 1,
                                           .seq = PSK_CLIENT_SEQ_NEXT,
                                           .is_protected = true,
                                           .payload = {&byte, 1}};
        sim_bytes_add(&client->up, &byte, 1);
        sim_send_record(client, &record);
    }
    sim_run(&sim, sim.now_us + 100000); /* kept: the key is not here */
    assert_int_equal(client->up_got.len, 0);
    sim_answer_later(client, 0, 1);
    sim_run(&sim, sim.now_us + 100000);
    SIM_CHECK(&sim, client->is_established && !client->is_ended);
    SIM_CHECK(&sim, client->up_got.len == client->up.len);
    struct sim_plan more = plan_of(0); /* and the stream goes on as if nothing had been */
    struct sim_client *other = sim_add_open(&sim, &more);
    SIM_CHECK(&sim, other != NULL);
    sim_send(client, "more", 4);
    sim_run(&sim, sim.now_us + 100000);
    SIM_CHECK(&sim, client->up_got.len == client->up.len);
    sim_close(&sim);
}

/* More ends at once than there are events: each has its event all the same, a turn later. */
static void every_end_has_its_event(void **state)
{
    (void)state;
    small();
    options.config.associations_max = 256;
    options.config.handshakes_max = 200;
    options.config.handshakes_pressure = 200;
    options.config.associations_max = 200;
    options.may_fail = true;
    sim_open(&sim, &options);
    hf_association_id ids[150];
    struct hf_path path = {.peer = {.port = 9}, .local = {.port = 5684}};
    hf_engine_begin_turn(sim.engine, sim.now_us, SIM_WALL_S);
    for (size_t i = 0; i < 150; i++) {
        enum hf_status status = hf_engine_accept(&ids[i], sim.engine, 0, &path, i);
        assert_int_equal(status, HF_OK);
    }
    for (size_t i = 0; i < 150; i++) {
        if (i % 2)
            hf_engine_receive_end(sim.engine, ids[i]);
        else
            hf_engine_close_association(sim.engine, ids[i], HF_CLOSE_SILENT);
    }
    hf_engine_end_turn(sim.engine);
    uint32_t ended[150] = {0}, turns = 0, count = 0;
    for (; count < 150 && turns < 20; turns++) {
        struct hf_event event;
        while (hf_engine_take_event(sim.engine, &event)) {
            size_t i = (size_t)event.user;
            assert_int_equal(event.kind, HF_EVENT_HANDSHAKE_FAILED);
            assert_int_equal(event.failure.status, i % 2 ? HF_E_TRUNCATED : HF_E_CLOSED_LOCALLY);
            assert_int_equal(ended[i]++, 0);
            count++;
        }
        uint64_t next_us = hf_engine_next_us(sim.engine);
        if (count == 150)
            break;
        assert_true(next_us <= sim.now_us + 2 * HF_TICK_US); /* nothing is put off for long */
        sim.now_us = next_us;
        hf_engine_begin_turn(sim.engine, sim.now_us, SIM_WALL_S);
        hf_engine_end_turn(sim.engine);
    }
    assert_int_equal(count, 150);
    sim_close(&sim);
}

/* A peer that says close_notify and an embedder that half-closes, without room for anything. */
static void a_half_close_waits_too(void **state)
{
    (void)state;
    small();
    options.may_fail = true;
    sim_open(&sim, &options);
    struct sim_plan plan = plan_of(0);
    struct sim_client *talker = sim_add_open(&sim, &plan);
    plan.config.is_quiet = true;
    struct sim_client *client = sim_add_open(&sim, &plan);
    size_t len;
    uint8_t *records = many_records(talker, 200, &len);
    uint8_t byte = 1;
    hf_engine_begin_turn(sim.engine, sim.now_us, SIM_WALL_S);
    fill_events(talker, records, &len);
    hf_engine_close_association(sim.engine, client->id, HF_CLOSE_WRITE);
    enum hf_status status = hf_engine_send(sim.engine, client->id, (struct hf_bytes){&byte, 1});
    assert_int_equal(status, HF_E_STATE);
    hf_engine_end_turn(sim.engine);
    drain();
    talker->up_got.len = talker->up.len;
    sim_run(&sim, sim.now_us + 200000);
    SIM_CHECK(&sim, client->peer.has_received_close && !client->is_ended);
    sim_send(client, "still here", 10); /* its own half is open */
    client->peer.state = PSK_CLIENT_OPEN;
    sim_send(client, "still here", 10);
    client->up.len -= 10; /* the first was not sent: the client held itself for closed */
    sim_run(&sim, sim.now_us + 200000);
    SIM_CHECK(&sim, client->up_got.len == 10);
    free(records);
    sim_close(&sim);
}

/* One stream buffer, and three connections that stop in the middle of a record. */
static void stream_buffers_go_round(void **state)
{
    (void)state;
    small();
    options.may_fail = true;
    options.config.stream_buffers_max = 1;
    sim_open(&sim, &options);
    struct sim_plan plan = plan_of(0);
    struct sim_client *clients[3];
    struct collected records[3];
    for (size_t i = 0; i < 3; i++) {
        clients[i] = sim_add_open(&sim, &plan);
        records[i].len = 0;
        const uint8_t text[] = "in two parts";
        psk_client_send(&clients[i]->peer, text, sizeof text, take, &records[i]);
        sim_bytes_add(&clients[i]->up, text, sizeof text);
        sim_bytes_up(clients[i], records[i].data, 10);
        sim_run(&sim, sim.now_us + 50000);
    }
    assert_int_equal(sim_counters(&sim).stream_buffers, 1);
    assert_int_equal(clients[1]->held.len + clients[2]->held.len, 20);
    for (size_t i = 0; i < 3; i++) { /* the next gets the buffer when the one before is whole */
        assert_int_equal(clients[i]->up_got.len, 0);
        sim_bytes_up(clients[i], records[i].data + 10, records[i].len - 10);
        sim_run(&sim, sim.now_us + 50000);
        assert_int_equal(clients[i]->up_got.len, clients[i]->up.len);
        assert_int_equal(clients[i]->readable_count > 0, i > 0);
    }
    assert_int_equal(sim_counters(&sim).stream_buffers, 0);
    sim_close(&sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_to_handshakes_that_ended_do_not_pile_up),
        cmocka_unit_test(a_handshake_waits_for_event_room),
        cmocka_unit_test(what_follows_a_message_waits_for_output_room),
        cmocka_unit_test(an_answer_after_its_time_is_stale_even_unnoticed),
        cmocka_unit_test(early_data_waits_for_event_room),
        cmocka_unit_test(every_end_has_its_event),
        cmocka_unit_test(a_half_close_waits_too),
        cmocka_unit_test(stream_buffers_go_round),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
