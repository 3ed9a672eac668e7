/**
 * fake_stop_test.c - streams at their limits, and bounded stops: what is refused, what waits, and
 * who gets a goodbye.
 */
#include "fake_engine.h"
#include "loop_fixture.h"
#include "stream_peer.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static void open_on(struct loop_fixture *fixture, const char *ip)
{
    fixture_listen(fixture, HF_TRANSPORT_TLS, ip, 0);
    fixture_open(fixture);
    if (fixture->open_status != HF_OK)
        fail_msg("%s", fixture->error);
}

static void start(struct loop_fixture *fixture, const char *ip)
{
    open_on(fixture, ip);
    fixture_run(fixture);
}

static int client(const struct loop_fixture *fixture)
{
    int fd = fixture_client(SOCK_STREAM, "127.0.0.1", fixture_port(fixture, 0));
    assert_true(fd >= 0);
    return fd;
}

static int setup(void **state)
{
    static struct loop_fixture fixture;
    fake_reset();
    fixture_init(&fixture);
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    fixture_stop(*state);
    return 0;
}

/* ---- limits ---- */

static void beyond_connections_max_is_refused(void **state)
{
    struct loop_fixture *fixture = *state;
    fixture->config.connections_max = 3;
    start(fixture, "127.0.0.1");
    int fds[4];
    for (int i = 0; i < 3; ++i) {
        fds[i] = client(fixture);
        stream_echo(fds[i], 10);
    }
    fds[3] = client(fixture);
    uint8_t byte;
    assert_true(recv(fds[3], &byte, 1, 0) <= 0);
    assert_int_equal(fixture_counters(fixture).connections_full, 1);
    close(fds[3]);
    close(fds[0]);
    for (int i = 0; i < 1000 && fixture_counters(fixture).connections == 3; ++i)
        usleep(1000);
    fds[0] = client(fixture);
    stream_echo(fds[0], 10);
    for (int i = 0; i < 3; ++i)
        close(fds[i]);
}

static void what_the_engine_has_no_room_for_yet_waits(void **state)
{
    struct loop_fixture *fixture = *state;
    fake_script.accepts_refused = 25;
    start(fixture, "127.0.0.1");
    int fds[10];
    for (int i = 0; i < 10; ++i)
        fds[i] = client(fixture);
    for (int i = 0; i < 10; ++i) {
        stream_echo(fds[i], 10);
        close(fds[i]);
    }
    FIXTURE_AWAIT_ZERO(fixture, connections);
    assert_int_equal(FAKE_SEEN(waiting_accepts), 25);
    assert_int_equal(fixture_counters(fixture).connections_refused, 0);
    assert_int_equal(fixture_counters(fixture).accepts, 10);
}

static void what_the_engine_refuses_is_closed(void **state)
{
    struct loop_fixture *fixture = *state;
    fake_script.associations_max = 1;
    start(fixture, "127.0.0.1");
    int fd = client(fixture), other;
    stream_echo(fd, 10);
    other = client(fixture);
    uint8_t byte;
    assert_true(recv(other, &byte, 1, 0) <= 0);
    assert_int_equal(fixture_counters(fixture).connections_refused, 1);
    close(fd);
    close(other);
    FIXTURE_AWAIT_ZERO(fixture, connections);
}

static void no_descriptors_makes_accepting_wait(void **state)
{
    struct loop_fixture *fixture = *state;
    struct rlimit before, none;
    open_on(fixture, "127.0.0.1");
    int first = client(fixture), second = client(fixture), next = dup(first);
    close(next);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = (rlim_t)next + 1; /* one more, not two */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    fixture_run(fixture);
    FIXTURE_AWAIT(fixture, accepts, 1);
    uint64_t turns = fixture_counters(fixture).turns;
    usleep(450000);
    struct hf_loop_counters counters = fixture_counters(fixture);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(counters.accepts, 1);
    assert_in_range(counters.accept_errors, 2, 6); /* every 100 ms */
    assert_true(counters.turns - turns < 50);
    stream_echo(first, 10);
    stream_echo(second, 10);
    close(first);
    close(second);
}

/* ---- stopping ---- */

static void stop_says_goodbye_to_all(void **state)
{
    enum { COUNT = 100 };
    struct loop_fixture *fixture = *state;
    int fds[COUNT];
    start(fixture, "127.0.0.1");
    for (int i = 0; i < COUNT; ++i) {
        fds[i] = client(fixture);
        stream_echo(fds[i], 10);
    }
    assert_true(fixture_stop(fixture) < 1000000);
    for (int i = 0; i < COUNT; ++i) {
        uint8_t bye[3];
        assert_true(fixture_read(fds[i], bye, sizeof bye));
        assert_memory_equal(bye, "bye", 3);
        stream_expect_end(fds[i]);
        close(fds[i]);
    }
}

static void stop_is_bounded_by_a_peer_that_reads_nothing(void **state)
{
    struct loop_fixture *fixture = *state;
    static uint8_t part[65536];
    fixture->config.stop_us_max = 600000;
    start(fixture, "127.0.0.1");
    int fd = client(fixture);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    while (fixture_counters(fixture).connections_paused == 0)
        if (send(fd, part, sizeof part, MSG_NOSIGNAL) < 0)
            usleep(1000);
    assert_true(fixture_stop(fixture) < 900000);
    close(fd);
}

static void *read_late(void *arg)
{
    struct stream_writer *reader = arg;
    uint8_t part[4096], bye[3] = {0};
    usleep(500000);
    for (ssize_t count; (count = recv(reader->fd, part, sizeof part, 0)) > 0;) {
        reader->len += (size_t)count;
        memcpy(bye, part + (count < 3 ? 0 : count - 3), 3);
    }
    reader->has_failed = memcmp(bye, "bye", 3) != 0;
    return NULL;
}

static void stop_gives_a_slow_peer_the_time_there_is(void **state)
{
    struct loop_fixture *fixture = *state;
    static uint8_t part[65536];
    struct stream_writer reader = {.len = 0};
    pthread_t thread;
    start(fixture, "127.0.0.1");
    reader.fd = client(fixture);
    fcntl(reader.fd, F_SETFL, O_NONBLOCK);
    while (fixture_counters(fixture).connections_paused == 0)
        if (send(reader.fd, part, sizeof part, MSG_NOSIGNAL) < 0)
            usleep(1000);
    fcntl(reader.fd, F_SETFL, 0);
    assert_int_equal(pthread_create(&thread, NULL, read_late, &reader), 0);
    uint64_t took_us = fixture_stop(fixture);
    pthread_join(thread, NULL);
    close(reader.fd);
    assert_in_range(took_us, 400000, 2500000);
    assert_true(reader.len > 100000); /* all that was sealed, and the goodbye at its end */
    assert_false(reader.has_failed);
}

static void stop_during_a_stampede_is_bounded(void **state)
{
    struct loop_fixture *fixture = *state;
    fixture->config.stop_us_max = 1000000;
    start(fixture, "127.0.0.1");
    int fds[64];
    for (int i = 0; i < 64; ++i)
        fds[i] = client(fixture);
    assert_true(fixture_stop(fixture) < 1200000);
    for (int i = 0; i < 64; ++i)
        close(fds[i]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(beyond_connections_max_is_refused),
        TEST(what_the_engine_has_no_room_for_yet_waits),
        TEST(what_the_engine_refuses_is_closed),
        TEST(no_descriptors_makes_accepting_wait),
        TEST(stop_says_goodbye_to_all),
        TEST(stop_is_bounded_by_a_peer_that_reads_nothing),
        TEST(stop_gives_a_slow_peer_the_time_there_is),
        TEST(stop_during_a_stampede_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
