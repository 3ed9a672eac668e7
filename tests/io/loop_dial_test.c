/**
 * loop_dial_test.c - a loop that dials itself: TLS and DTLS, over a socket of the dialer's and over
 * a listener's; addresses where nobody is; a stop in the middle. Both ends are one engine.
 */
#include "loop_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define DIALS_MAX 256

static const uint8_t key[32] = {1, 2, 3};

/* What a test dials, and what came of it; touched by the loop's thread until it has ended. */
static struct world {
    struct loop_fixture fixture;
    struct hf_dialer dialers[2];
    struct hf_connect connect;
    uint32_t dial_count; /* to be made in one go */
    enum hf_status returned;
    uint32_t told, begun, established, failed, echoed, closed;
    enum hf_status status;
    uint64_t last_user;
    sem_t done;
    uint32_t wait_for; /* of `echoed` + `failed` */
} world;

static void answer(struct hf_engine *engine, const struct hf_request *request, void *arg)
{
    const struct hf_answer answer = {.kind = HF_ANSWER_PSK, .secret = {key, sizeof key}};
    (void)arg;
    (void)hf_engine_answer(engine, request->ticket, &answer);
}

static void count(uint32_t *counter)
{
    ++*counter;
    if (world.echoed + world.failed == world.wait_for && counter != &world.closed)
        sem_post(&world.done);
}

static void take_event(struct hf_loop *loop, const struct hf_event *event, void *arg)
{
    static const uint8_t ping[] = "ping";
    const struct hf_bytes data = {ping, sizeof ping};
    (void)arg;
    switch (event->kind) {
    case HF_EVENT_ESTABLISHED:
        if (event->is_client) {
            world.established++;
            assert_int_equal(hf_loop_send(loop, event->association, data), HF_OK);
        }
        break;
    case HF_EVENT_DATA:
        if (!event->is_client) {
            assert_int_equal(hf_loop_send(loop, event->association, event->data), HF_OK);
        } else {
            assert_memory_equal(event->data.data, ping, sizeof ping);
            hf_loop_end(loop, event->association, HF_CLOSE_NOTIFY);
            count(&world.echoed);
        }
        break;
    case HF_EVENT_PEER_CLOSED:
        hf_loop_end(loop, event->association, HF_CLOSE_NOTIFY);
        break;
    case HF_EVENT_CLOSED:
        world.closed++;
        break;
    case HF_EVENT_HANDSHAKE_FAILED:
        if (event->is_client) {
            world.status = event->failure.status;
            count(&world.failed);
        }
        break;
    case HF_EVENT_READABLE:
    case HF_EVENT_KEYLOG:
    case HF_EVENT_MOVED:
    case HF_EVENT_SESSION:
        break;
    }
}

static void take_dialled(struct hf_loop *loop, uint64_t user, hf_association_id association,
                         enum hf_status status, void *arg)
{
    (void)loop;
    (void)arg;
    world.told++;
    world.last_user = user;
    world.begun += status == HF_OK;
    assert_int_equal(association != 0, status == HF_OK);
    if (status == HF_OK)
        return;
    world.status = status;
    count(&world.failed);
}

static void dial(struct hf_loop *loop, void *arg)
{
    (void)arg;
    for (uint32_t i = 0; i < world.dial_count; i++) {
        struct hf_connect connect = world.connect;
        connect.user = 1000 + i;
        world.returned = hf_loop_connect(loop, &connect);
        if (world.returned != HF_OK) {
            world.status = world.returned;
            count(&world.failed);
        }
    }
}

/* Listeners 0: TLS, 1: DTLS on 127.0.0.1; dialers likewise; socket 2: to dial DTLS from. */
static void begin(const char *client_ip)
{
    struct loop_fixture *fixture = &world.fixture;
    memset(&world, 0, sizeof world);
    sem_init(&world.done, 0, 0);
    fixture_init(fixture);
    hf_config_init(&fixture->engine);
    fixture->engine.associations_max = 2 * DIALS_MAX + 64;
    fixture->engine.handshakes_max = 2 * DIALS_MAX + 64;
    fixture->engine.handshakes_pressure = fixture->engine.handshakes_max;
    fixture->engine.listeners = fixture->listeners;
    fixture_listen(fixture, HF_TRANSPORT_TLS, "127.0.0.1", 0);
    fixture_listen(fixture, HF_TRANSPORT_DTLS, "127.0.0.1", 0);
    fixture_listen(fixture, HF_TRANSPORT_DTLS, client_ip, 0);
    fixture->engine.listener_count = 2;
    fixture->sockets[2].listener_index = 1;
    fixture->sockets[2].is_client = true;
    for (int i = 0; i < 2; i++) {
        enum hf_transport transport = i ? HF_TRANSPORT_DTLS : HF_TRANSPORT_TLS;
        hf_listener_init(&fixture->listeners[i], transport);
        hf_dialer_init(&world.dialers[i], transport);
    }
    fixture->engine.dialers = world.dialers;
    fixture->engine.dialer_count = 2;
    fixture->source.request = answer;
    fixture->config.handlers.event = take_event;
    fixture->config.handlers.dialled = take_dialled;
    fixture_open(fixture);
    if (fixture->open_status != HF_OK)
        fail_msg("%s", fixture->error);
    fixture_run(fixture);
}

static void go(uint32_t dialer_index, uint32_t dial_count, uint16_t port)
{
    static const uint8_t ip[4] = {127, 0, 0, 1};
    struct loop_fixture *fixture = &world.fixture;
    struct timespec until;
    world.connect.dialer_index = dialer_index;
    world.connect.psk_identity = (struct hf_bytes){(const uint8_t *)"dev", 3};
    world.connect.path.peer = hf_address_v4(ip, port ? port : fixture_port(fixture, dialer_index));
    world.dial_count = world.wait_for = dial_count;
    assert_true(hf_loop_post(fixture->loop, dial, NULL));
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    if (sem_timedwait(&world.done, &until) != 0)
        fail_msg("%u of %u came back, %u failed: %s", world.echoed, dial_count, world.failed,
                 hf_status_reason(world.status));
}

static void end(void)
{
    fixture_stop(&world.fixture);
    assert_int_equal(world.fixture.run_status, HF_OK);
    sem_destroy(&world.done);
}

static void both_transports_echo(void **state)
{
    (void)state;
    for (uint32_t index = 0; index < 2; index++) {
        begin("127.0.0.1");
        go(index, 1, 0);
        assert_int_equal(world.echoed, 1);
        assert_int_equal(world.told, 1);
        assert_int_equal(world.last_user, 1000);
        assert_int_equal(fixture_counters(&world.fixture).dials, 1);
        end();
        assert_true(world.closed >= 1);
    }
}

static void from_a_wildcard_socket(void **state)
{
    (void)state;
    begin("0.0.0.0");
    go(1, 1, 0);
    assert_int_equal(world.echoed, 1);
    end();
    begin("::");
    go(1, 1, 0);
    assert_int_equal(world.echoed, 1);
    end();
}

static void from_an_address_of_choice(void **state)
{
    static const uint8_t ip[4] = {127, 0, 0, 9};
    (void)state;
    begin("127.0.0.1");
    world.connect.path.local = hf_address_v4(ip, 0);
    go(0, 1, 0);
    assert_int_equal(world.echoed, 1);
    end();
    begin("127.0.0.9"); /* DTLS: from the socket that has it */
    world.connect.path.local = hf_loop_address(world.fixture.loop, 2);
    go(1, 1, 0);
    assert_int_equal(world.echoed, 1);
    end();
}

static void many_at_once(void **state)
{
    (void)state;
    begin("127.0.0.1");
    go(0, DIALS_MAX, 0);
    if (world.echoed != DIALS_MAX)
        fail_msg("%u echoed: %s", world.echoed, hf_status_reason(world.status));
    assert_int_equal(world.established, DIALS_MAX);
    end();
}

static void a_path_is_dialled_once(void **state)
{
    (void)state;
    begin("127.0.0.1"); /* one socket, one server: one path */
    go(1, 2, 0);
    assert_int_equal(world.echoed, 1);
    assert_int_equal(world.failed, 1);
    assert_int_equal(world.status, HF_E_STATE);
    end();
}

static void nobody_there(void **state)
{
    (void)state;
    begin("127.0.0.1");
    int fd = fixture_client(SOCK_STREAM, "127.0.0.1", fixture_port(&world.fixture, 0));
    struct sockaddr_in taken;
    socklen_t len = sizeof taken;
    assert_int_equal(getsockname(fd, (struct sockaddr *)&taken, &len), 0); /* nobody listens */
    go(0, 3, ntohs(taken.sin_port));
    assert_int_equal(world.failed, 3);
    assert_int_equal(world.echoed, 0);
    assert_int_equal(world.status, HF_E_UNREACHABLE);
    close(fd);
    end();
}

static void bad_orders(void **state)
{
    (void)state;
    begin("127.0.0.1");
    world.connect.dialer_index = 7;
    go(7, 1, 1);
    assert_int_equal(world.status, HF_E_ARGUMENT);
    assert_int_equal(world.told, 0);
    end();
}

static void no_socket_to_dial_from(void **state)
{
    static const uint8_t ip[4] = {127, 0, 0, 3};
    (void)state;
    begin("127.0.0.1");
    world.connect.path.local = hf_address_v4(ip, 9);
    go(1, 1, 0);
    assert_int_equal(world.status, HF_E_STATE);
    end();
}

static void a_stop_tells_what_is_left(void **state)
{
    (void)state;
    begin("127.0.0.1");
    world.dial_count = 8;
    world.wait_for = UINT32_MAX;
    world.connect.psk_identity = (struct hf_bytes){(const uint8_t *)"dev", 3};
    /* A full backlog would be needed to stay in between; most of these just begin. */
    static const uint8_t ip[4] = {127, 0, 0, 1};
    world.connect.path.peer = hf_address_v4(ip, fixture_port(&world.fixture, 0));
    assert_true(hf_loop_post(world.fixture.loop, dial, NULL));
    end();
    assert_int_equal(world.told + world.failed - (world.told - world.begun), 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_transports_echo),
        cmocka_unit_test(from_a_wildcard_socket),
        cmocka_unit_test(from_an_address_of_choice),
        cmocka_unit_test(many_at_once),
        cmocka_unit_test(a_path_is_dialled_once),
        cmocka_unit_test(nobody_there),
        cmocka_unit_test(bad_orders),
        cmocka_unit_test(no_socket_to_dial_from),
        cmocka_unit_test(a_stop_tells_what_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
