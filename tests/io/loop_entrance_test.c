/**
 * loop_entrance_test.c - plaintext that comes to a loop and goes out on associations it dials: what
 * waits for its association, and how much; what is dismissed; who may be joined to what. Both ends
 * of the association are one engine; the test is the CSE that brings the plaintext.
 */
#include "loop_fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define KEPT_MAX 8 /* datagrams that wait, as entrance.c has it */
#define KEPT_LEN_MAX 1400

static const uint8_t key[32] = {3, 2, 1};

/* Read by the test while the loop's thread writes: with SEEN(). */
static struct world {
    struct loop_fixture fixture;
    struct hf_dialer dialers[2];
    uint32_t index; /* of the dialer: 0 TLS, 1 DTLS */
    bool is_dismissing;
    bool is_dialling; /* whoever comes, at once */
    bool is_deaf;     /* the peer does not answer */
    uint64_t entrance;
    uint32_t entered, established, closed, joined;
    uint32_t stale; /* joins that were refused */
    hf_association_id association;
} world;

#define SEEN(field) __atomic_load_n(&world.field, __ATOMIC_ACQUIRE)
#define NOTE(field) __atomic_add_fetch(&world.field, 1, __ATOMIC_RELEASE)

static void answer(struct hf_engine *engine, const struct hf_request *request, void *arg)
{
    const struct hf_answer answer = {.kind = HF_ANSWER_PSK, .secret = {key, sizeof key}};
    (void)arg;
    (void)hf_engine_answer(engine, request->ticket, &answer);
}

static void dial(struct hf_loop *loop, void *arg)
{
    static const uint8_t ip[4] = {127, 0, 0, 1};
    const struct hf_connect connect = {
        .dialer_index = world.index,
        .psk_identity = {(const uint8_t *)"dev", 3},
        .path = {.peer = hf_address_v4(ip, hf_loop_address(loop, world.index).port)},
    };
    (void)arg;
    if (hf_loop_connect(loop, &connect) != HF_OK)
        abort();
}

static void join(struct hf_loop *loop, hf_association_id association)
{
    if (hf_loop_join(loop, world.entrance, association) == HF_OK)
        NOTE(joined);
    else
        NOTE(stale);
}

static void take_event(struct hf_loop *loop, const struct hf_event *event, void *arg)
{
    (void)arg;
    if (event->kind == HF_EVENT_ESTABLISHED && !event->is_client) {
        join(loop, event->association); /* one that we have not dialled: refused */
    } else if (event->kind == HF_EVENT_ESTABLISHED) {
        world.association = event->association;
        join(loop, event->association);
        NOTE(established);
    } else if (event->kind == HF_EVENT_DATA && !event->is_client && !SEEN(is_deaf)) {
        if (hf_loop_send(loop, event->association, event->data) != HF_OK)
            abort();
    } else if (event->kind == HF_EVENT_CLOSED && event->is_client) {
        NOTE(closed);
    } else if (event->kind == HF_EVENT_PEER_CLOSED) {
        hf_loop_end(loop, event->association, HF_CLOSE_NOTIFY);
    }
}

static void take_entered(struct hf_loop *loop, uint32_t dialer_index, uint64_t entrance, void *arg)
{
    (void)arg;
    if (dialer_index != world.index)
        abort();
    world.entrance = entrance;
    if (SEEN(is_dismissing))
        hf_loop_dismiss(loop, entrance);
    else if (SEEN(is_dialling))
        dial(loop, NULL);
    NOTE(entered);
}

/* Listeners 0: TLS, 1: DTLS; dialers likewise; socket 2: to dial DTLS from; socket 3: plain. */
static void begin(enum hf_transport transport)
{
    struct loop_fixture *fixture = &world.fixture;
    memset(&world, 0, sizeof world);
    world.index = transport == HF_TRANSPORT_DTLS;
    fixture_init(fixture);
    hf_config_init(&fixture->engine);
    fixture->engine.listeners = fixture->listeners;
    fixture_listen(fixture, HF_TRANSPORT_TLS, "127.0.0.1", 0);
    fixture_listen(fixture, HF_TRANSPORT_DTLS, "127.0.0.1", 0);
    fixture_listen(fixture, HF_TRANSPORT_DTLS, "127.0.0.1", 0);
    fixture_listen(fixture, transport, "127.0.0.1", 0);
    fixture->engine.listener_count = 2;
    fixture->sockets[2].listener_index = 1;
    fixture->sockets[2].is_client = true;
    fixture->sockets[3].listener_index = world.index;
    fixture->sockets[3].is_plain = true;
    for (int i = 0; i < 2; i++) {
        enum hf_transport one = i ? HF_TRANSPORT_DTLS : HF_TRANSPORT_TLS;
        hf_listener_init(&fixture->listeners[i], one);
        hf_dialer_init(&world.dialers[i], one);
    }
    fixture->engine.dialers = world.dialers;
    fixture->engine.dialer_count = 2;
    fixture->source.request = answer;
    fixture->config.handlers.event = take_event;
    fixture->config.handlers.entered = take_entered;
}

static void run(void)
{
    fixture_open(&world.fixture);
    if (world.fixture.open_status != HF_OK)
        fail_msg("%s", world.fixture.error);
    fixture_run(&world.fixture);
}

static void end(void)
{
    fixture_stop(&world.fixture);
    assert_int_equal(world.fixture.run_status, HF_OK);
}

static int come(void)
{
    return fixture_client(world.index ? SOCK_DGRAM : SOCK_STREAM, "127.0.0.1",
                          fixture_port(&world.fixture, 3));
}

static void await(const uint32_t *counter, uint32_t value)
{
    uint64_t until_us = fixture_now_us() + 20000000;
    while (__atomic_load_n(counter, __ATOMIC_ACQUIRE) < value) {
        if (fixture_now_us() > until_us)
            fail_msg("%u, not %u", *counter, value);
        usleep(1000);
    }
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), 0), (ssize_t)strlen(text));
}

static void expect(int fd, const char *text)
{
    char heard[64] = "";
    ssize_t len = world.index ? recv(fd, heard, sizeof heard, 0)
                              : (ssize_t)(strlen(text) * fixture_read(fd, heard, strlen(text)));
    assert_int_equal(len, (ssize_t)strlen(text));
    assert_string_equal(heard, text);
}

static void the_first_datagrams_wait(void **state)
{
    char text[16];
    static const uint8_t long_one[KEPT_LEN_MAX + 1];
    (void)state;
    begin(HF_TRANSPORT_DTLS);
    run();
    int fd = come();
    assert_int_equal(send(fd, long_one, sizeof long_one, 0), sizeof long_one);
    for (int i = 0; i < KEPT_MAX + 2; i++) {
        snprintf(text, sizeof text, "%d", i);
        say(fd, text);
    }
    assert_int_equal(send(fd, "", 0, 0), 0); /* says nothing to anybody */
    FIXTURE_AWAIT(&world.fixture, entrance_datagrams_in, KEPT_MAX + 4);
    await(&world.entered, KEPT_MAX + 3);
    assert_int_equal(fixture_counters(&world.fixture).entrance_drops, 3);
    assert_true(hf_loop_post(world.fixture.loop, dial, NULL));
    for (int i = 0; i < KEPT_MAX; i++) {
        snprintf(text, sizeof text, "%d", i);
        expect(fd, text);
    }
    say(fd, "more");
    expect(fd, "more");
    assert_int_equal(SEEN(entered), KEPT_MAX + 3); /* nobody was asked again */
    assert_int_equal(SEEN(joined), 1);
    assert_int_equal(SEEN(stale), 1);
    assert_int_equal(fixture_counters(&world.fixture).entrance_drops, 3);
    assert_int_equal(fixture_counters(&world.fixture).entrance_datagrams_out, KEPT_MAX + 1);
    close(fd);
    end();
}

static void an_answer_is_for_who_spoke_last(void **state)
{
    (void)state;
    begin(HF_TRANSPORT_DTLS);
    world.is_dialling = true;
    run();
    int first = come(), second = come();
    say(first, "one");
    expect(first, "one");
    say(second, "two");
    expect(second, "two");
    say(first, "three");
    expect(first, "three");
    assert_int_equal(recv(second, (char[4]){0}, 4, MSG_DONTWAIT), -1);
    assert_int_equal(SEEN(established), 1); /* all share it */
    close(first);
    close(second);
    end();
}

static void what_is_dismissed_is_gone(void **state)
{
    (void)state;
    begin(HF_TRANSPORT_DTLS);
    world.is_dismissing = true;
    run();
    int fd = come();
    say(fd, "lost");
    await(&world.entered, 1);
    FIXTURE_AWAIT(&world.fixture, entrance_drops, 1);
    __atomic_store_n(&world.is_dismissing, false, __ATOMIC_RELEASE);
    __atomic_store_n(&world.is_dialling, true, __ATOMIC_RELEASE);
    say(fd, "kept");
    expect(fd, "kept");
    close(fd);
    end();
}

static void hang_up(struct hf_loop *loop, void *arg)
{
    (void)arg;
    hf_loop_end(loop, world.association, HF_CLOSE_NOTIFY);
}

static void an_association_that_ended_is_dialled_again(void **state)
{
    (void)state;
    begin(HF_TRANSPORT_DTLS);
    world.is_dialling = true;
    run();
    int fd = come();
    say(fd, "before");
    expect(fd, "before");
    assert_true(hf_loop_post(world.fixture.loop, hang_up, NULL));
    await(&world.closed, 1);
    say(fd, "after");
    expect(fd, "after");
    assert_int_equal(SEEN(entered), 2);
    assert_int_equal(SEEN(established), 2);
    close(fd);
    end();
}

static void silence_ends_it(void **state)
{
    (void)state;
    begin(HF_TRANSPORT_DTLS);
    world.fixture.sockets[3].silence_us_max = 200000;
    world.is_dialling = world.is_deaf = true;
    run();
    int fd = come();
    say(fd, "hello?");
    await(&world.closed, 1);
    assert_int_equal(SEEN(established), 1);
    close(fd);
    end();
}

static void a_connection_waits_unread(void **state)
{
    (void)state;
    begin(HF_TRANSPORT_TLS);
    run();
    int fd = come();
    say(fd, "early");
    await(&world.entered, 1);
    FIXTURE_AWAIT(&world.fixture, entrance_connections, 1);
    assert_true(hf_loop_post(world.fixture.loop, dial, NULL));
    expect(fd, "early");
    say(fd, "late");
    expect(fd, "late");
    assert_int_equal(SEEN(joined), 1);
    assert_int_equal(SEEN(stale), 1); /* the peer's end of it is not one that we have dialled */
    close(fd);
    await(&world.closed, 1); /* it ends with its connection */
    end();
}

static void join_again(struct hf_loop *loop, void *arg)
{
    (void)arg;
    join(loop, world.association);
    NOTE(entered);
}

static void a_name_is_good_once(void **state)
{
    (void)state;
    begin(HF_TRANSPORT_TLS);
    world.is_dialling = true;
    run();
    int fd = come();
    say(fd, "mine");
    expect(fd, "mine");
    assert_true(hf_loop_post(world.fixture.loop, join_again, NULL));
    await(&world.entered, 2);
    assert_int_equal(SEEN(stale), 2);
    assert_int_equal(SEEN(joined), 1);
    close(fd);
    end();
}

static void a_connection_dismissed_is_reset(void **state)
{
    char byte;
    (void)state;
    begin(HF_TRANSPORT_TLS);
    world.is_dismissing = true;
    run();
    int fd = come();
    await(&world.entered, 1);
    assert_int_equal(recv(fd, &byte, 1, 0), -1);
    assert_int_equal(errno, ECONNRESET);
    close(fd);
    FIXTURE_AWAIT_ZERO(&world.fixture, upstream_connections);
    assert_true(hf_loop_post(world.fixture.loop, dial, NULL));
    await(&world.established, 1);
    assert_int_equal(SEEN(joined), 0); /* there is nothing any more under that name */
    end();
}

static void a_stop_waits_for_nobody(void **state)
{
    char byte;
    (void)state;
    begin(HF_TRANSPORT_TLS);
    run();
    int fd = come();
    say(fd, "too late");
    await(&world.entered, 1);
    end();
    assert_int_equal(recv(fd, &byte, 1, 0), -1);
    assert_int_equal(errno, ECONNRESET);
    close(fd);
}

/* Without anybody to tell, plaintext is turned away. */
static void nobody_at_the_door(void **state)
{
    char byte;
    (void)state;
    for (int i = 0; i < 2; i++) {
        begin(i ? HF_TRANSPORT_DTLS : HF_TRANSPORT_TLS);
        world.fixture.config.handlers.entered = NULL;
        run();
        int fd = come();
        if (i) {
            say(fd, "anybody?");
            FIXTURE_AWAIT(&world.fixture, entrance_drops, 1);
        } else {
            assert_int_equal(recv(fd, &byte, 1, 0), -1);
            assert_int_equal(errno, ECONNRESET);
        }
        close(fd);
        end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_datagrams_wait),
        cmocka_unit_test(an_answer_is_for_who_spoke_last),
        cmocka_unit_test(what_is_dismissed_is_gone),
        cmocka_unit_test(an_association_that_ended_is_dialled_again),
        cmocka_unit_test(silence_ends_it),
        cmocka_unit_test(a_connection_waits_unread),
        cmocka_unit_test(a_name_is_good_once),
        cmocka_unit_test(a_connection_dismissed_is_reset),
        cmocka_unit_test(a_stop_waits_for_nobody),
        cmocka_unit_test(nobody_at_the_door),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
