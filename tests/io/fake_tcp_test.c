/**
 * fake_tcp_test.c - streams through a real ring: order and completeness under every kind of
 * fullness, back-pressure, both kinds of end.
 */
#include "fake_engine.h"
#include "loop_fixture.h"
#include "stream_peer.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define STREAM_LEN (3u << 20)
#define HALF_CLOSED_LEN (256u << 10) /* the kernel's buffers hold it */

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

/* ---- what flows ---- */

static void a_long_stream_comes_back_whole(void **state)
{
    struct loop_fixture *fixture = *state;
    start(fixture, "127.0.0.1");
    int fd = client(fixture);
    stream_echo(fd, STREAM_LEN);
    close(fd);
    FIXTURE_AWAIT_ZERO(fixture, connections);
    struct hf_loop_counters counters = fixture_counters(fixture);
    assert_int_equal(counters.accepts, 1);
    assert_int_equal(counters.send_queue_len, 0);
    assert_int_equal(counters.connections_paused, 0);
    assert_int_equal(FAKE_SEEN(stream_len), STREAM_LEN);
}

static void one_byte_at_a_time_comes_back(void **state)
{
    struct loop_fixture *fixture = *state;
    start(fixture, "127.0.0.1");
    int fd = client(fixture);
    for (size_t i = 0; i < 500; ++i) {
        uint8_t byte = stream_byte(i), back;
        assert_true(fixture_write(fd, &byte, 1));
        assert_true(fixture_read(fd, &back, 1));
        assert_int_equal(back, byte);
    }
    close(fd);
}

/* A read ends at urgent data, whatever is behind it. */
static void urgent_data_does_not_stall_a_stream(void **state)
{
    struct loop_fixture *fixture = *state;
    char back[7] = "";
    open_on(fixture, "127.0.0.1");
    int fd = client(fixture);
    assert_true(fixture_write(fd, "abc", 3));
    assert_int_equal(send(fd, "X", 1, MSG_OOB), 1);
    assert_true(fixture_write(fd, "def", 3));
    usleep(50000); /* all of it is there when reading begins */
    fixture_run(fixture);
    assert_true(fixture_read(fd, back, 6));
    assert_string_equal(back, "abcdef");
    close(fd);
}

static void an_engine_that_takes_little_gets_everything(void **state)
{
    struct loop_fixture *fixture = *state;
    fake_script.take_max = 700;
    start(fixture, "127.0.0.1");
    int fd = client(fixture);
    stream_echo(fd, STREAM_LEN / 8);
    close(fd);
    FIXTURE_AWAIT_ZERO(fixture, connections);
    assert_true(FAKE_SEEN(waiting_streams) == 0);
    assert_int_equal(FAKE_SEEN(stream_len), STREAM_LEN / 8);
}

static void an_engine_short_of_output_gets_it_later(void **state)
{
    struct loop_fixture *fixture = *state;
    struct stream_writer writers[3];
    pthread_t threads[3];
    fake_script.output_max = 20000; /* one chunk of one connection, and no more */
    open_on(fixture, "127.0.0.1");
    for (int i = 0; i < 3; ++i) {
        writers[i] = (struct stream_writer){.fd = client(fixture), .len = STREAM_LEN / 8};
        assert_int_equal(pthread_create(&threads[i], NULL, stream_write, &writers[i]), 0);
    }
    usleep(50000); /* all have something to be read in the same turn */
    fixture_run(fixture);
    for (int i = 0; i < 3; ++i)
        stream_expect(writers[i].fd, STREAM_LEN / 8);
    for (int i = 0; i < 3; ++i) {
        pthread_join(threads[i], NULL);
        assert_false(writers[i].has_failed);
        close(writers[i].fd);
    }
    FIXTURE_AWAIT_ZERO(fixture, connections);
    assert_true(FAKE_SEEN(waiting_sends) > 0);
    assert_int_equal(fixture_counters(fixture).send_queue_len, 0);
}

static void a_stalled_engine_is_not_fed_until_readable(void **state)
{
    struct loop_fixture *fixture = *state;
    struct stream_writer writer = {.len = STREAM_LEN};
    pthread_t thread;
    fake_script.is_stalled = true;
    start(fixture, "127.0.0.1");
    writer.fd = client(fixture);
    assert_int_equal(pthread_create(&thread, NULL, stream_write, &writer), 0);
    usleep(300000);
    /* It keeps what had arrived, no more; it asks the engine twice and then waits. */
    struct hf_loop_counters counters = fixture_counters(fixture);
    assert_int_equal(FAKE_SEEN(stream_len), 0);
    assert_true(FAKE_SEEN(waiting_streams) <= 4);
    assert_true(counters.turns < 100);
    __atomic_store_n(&fake_script.is_stalled, false, __ATOMIC_RELEASE);
    stream_expect(writer.fd, STREAM_LEN);
    pthread_join(thread, NULL);
    assert_false(writer.has_failed);
    close(writer.fd);
}

static void many_connections_at_once(void **state)
{
    enum { COUNT = 200 };
    struct loop_fixture *fixture = *state;
    int fds[COUNT];
    start(fixture, "::");
    for (int i = 0; i < COUNT; ++i)
        fds[i] =
            i % 2 ? client(fixture) : fixture_client(SOCK_STREAM, "::1", fixture_port(fixture, 0));
    for (int round = 0; round < 5; ++round) {
        for (int i = 0; i < COUNT; ++i)
            assert_true(fixture_write(fds[i], &i, sizeof i));
        for (int i = 0; i < COUNT; ++i) {
            int back = -1;
            assert_true(fixture_read(fds[i], &back, sizeof back));
            assert_int_equal(back, i);
        }
    }
    assert_int_equal(fixture_counters(fixture).connections, COUNT);
    for (int i = 0; i < COUNT; ++i)
        close(fds[i]);
    FIXTURE_AWAIT_ZERO(fixture, connections);
    uint16_t port = fixture_port(fixture, 0);
    fixture_stop(fixture);
    assert_int_equal(fake_seen.last_path.local.port, port);
    assert_int_equal(fake_seen.last_path.local.ip[15], 1);
}

/* ---- back-pressure ---- */

static void a_slow_reader_is_not_read_from(void **state)
{
    struct loop_fixture *fixture = *state;
    static uint8_t part[65536];
    size_t sent = 0;
    start(fixture, "127.0.0.1");
    int fd = client(fixture);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    /* Until nothing moves for half a second: all buffers on the way are full. */
    for (int quiet = 0; quiet < 50;) {
        for (size_t i = 0; i < sizeof part; ++i)
            part[i] = stream_byte(sent + i);
        ssize_t count = send(fd, part, sizeof part, MSG_NOSIGNAL);
        if (count > 0) {
            sent += (size_t)count;
            quiet = 0;
        } else {
            ++quiet;
            usleep(10000);
        }
        assert_true(sent < 200u << 20);
    }
    struct hf_loop_counters counters = fixture_counters(fixture);
    assert_int_equal(counters.connections_paused, 1);
    assert_true(counters.send_queue_len >= fixture->config.send_queue_len_high);
    assert_true(counters.send_queue_len <= fixture->config.send_queue_len_max);
    /* Another is served meanwhile. */
    int other = client(fixture);
    stream_echo(other, 10000);
    close(other);
    fcntl(fd, F_SETFL, 0);
    stream_expect(fd, sent);
    FIXTURE_AWAIT_ZERO(fixture, connections_paused);
    assert_int_equal(fixture_counters(fixture).send_queue_len, 0);
    close(fd);
}

static void a_reset_under_back_pressure_frees_all(void **state)
{
    struct loop_fixture *fixture = *state;
    static uint8_t part[65536];
    struct linger reset = {.l_onoff = 1};
    start(fixture, "127.0.0.1");
    int fd = client(fixture);
    stream_echo(fd, 10); /* its record is there to stay */
    uint64_t before = fixture_counters(fixture).memory_len;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    while (fixture_counters(fixture).connections_paused == 0)
        if (send(fd, part, sizeof part, MSG_NOSIGNAL) < 0)
            usleep(1000);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(fd);
    FIXTURE_AWAIT_ZERO(fixture, connections);
    struct hf_loop_counters counters = fixture_counters(fixture);
    assert_int_equal(counters.send_queue_len, 0);
    assert_int_equal(counters.connections_paused, 0);
    for (int i = 0; i < 2000 && fixture_counters(fixture).memory_len != before; ++i)
        usleep(1000);
    assert_int_equal(fixture_counters(fixture).memory_len, before);
}

/* ---- ends ---- */

static void the_end_of_a_stream_closes_it(void **state)
{
    struct loop_fixture *fixture = *state;
    start(fixture, "127.0.0.1");
    int fd = client(fixture);
    stream_echo(fd, 1000);
    shutdown(fd, SHUT_WR);
    stream_expect_end(fd);
    FIXTURE_AWAIT_ZERO(fixture, connections);
    assert_int_equal(FAKE_SEEN(ends), 1);
    close(fd);
}

static void a_half_closed_stream_is_answered_to_its_end(void **state)
{
    struct loop_fixture *fixture = *state;
    struct stream_writer writer = {.len = HALF_CLOSED_LEN, .is_half_closed = true};
    uint8_t bye[3];
    fake_script.is_half_close_kept = true;
    start(fixture, "127.0.0.1");
    writer.fd = client(fixture);
    stream_write(&writer); /* its FIN is out before it reads anything */
    assert_false(writer.has_failed);
    stream_expect(writer.fd, HALF_CLOSED_LEN);
    assert_true(fixture_read(writer.fd, bye, sizeof bye));
    assert_memory_equal(bye, "bye", 3);
    stream_expect_end(writer.fd);
    FIXTURE_AWAIT_ZERO(fixture, connections);
    close(writer.fd);
}

static void ending_handler(struct hf_loop *loop, const struct hf_event *event, void *arg)
{
    (void)arg;
    if (event->kind != HF_EVENT_DATA)
        return;
    (void)!hf_loop_send(loop, event->association, (struct hf_bytes){event->data.data, 5});
    hf_loop_end(loop, event->association, HF_CLOSE_NOTIFY);
}

static void our_end_flushes_first_and_waits_for_theirs(void **state)
{
    struct loop_fixture *fixture = *state;
    uint8_t back[8];
    fixture->config.handlers.event = ending_handler;
    start(fixture, "127.0.0.1");
    int fd = client(fixture);
    assert_true(fixture_write(fd, "hello", 5));
    assert_true(fixture_read(fd, back, 8));
    assert_memory_equal(back, "hellobye", 8);
    stream_expect_end(fd);
    usleep(100000);
    assert_int_equal(fixture_counters(fixture).connections, 1); /* lingers */
    close(fd);
    uint64_t closed_us = fixture_now_us();
    FIXTURE_AWAIT_ZERO(fixture, connections);
    assert_true(fixture_now_us() - closed_us < 1000000); /* for no longer than it must */
}

/* What it goes on sending must not make our close a reset: its last bytes would be lost to it. */
static void our_end_reaches_a_peer_that_still_talks(void **state)
{
    struct loop_fixture *fixture = *state;
    static uint8_t part[65536];
    uint8_t back[8];
    fixture->config.handlers.event = ending_handler;
    start(fixture, "127.0.0.1");
    int fd = client(fixture);
    assert_true(fixture_write(fd, "hello", 5));
    for (int i = 0; i < 100; ++i)
        assert_true(fixture_write(fd, part, sizeof part));
    assert_true(fixture_read(fd, back, 8));
    assert_memory_equal(back, "hellobye", 8);
    stream_expect_end(fd);
    close(fd);
    FIXTURE_AWAIT_ZERO(fixture, connections);
}

static void a_reset_ends_a_half_closed_stream(void **state)
{
    struct loop_fixture *fixture = *state;
    struct linger reset = {.l_onoff = 1};
    fake_script.is_half_close_kept = true;
    fixture->config.handlers.event = NULL; /* nobody would end it */
    start(fixture, "127.0.0.1");
    int fd = client(fixture);
    FIXTURE_AWAIT(fixture, connections, 1);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(fd);
    FIXTURE_AWAIT_ZERO(fixture, connections);
}

static void a_peer_that_never_ends_is_closed_in_five_seconds(void **state)
{
    struct loop_fixture *fixture = *state;
    uint8_t back[8];
    fixture->config.handlers.event = ending_handler;
    start(fixture, "127.0.0.1");
    int fd = client(fixture);
    assert_true(fixture_write(fd, "hello", 5));
    assert_true(fixture_read(fd, back, 8));
    uint64_t start_us = fixture_now_us();
    for (int i = 0; i < 700 && fixture_counters(fixture).connections > 0; ++i)
        usleep(10000);
    uint64_t took_us = fixture_now_us() - start_us;
    assert_in_range(took_us, 4500000, 6000000);
    close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_long_stream_comes_back_whole),
        TEST(one_byte_at_a_time_comes_back),
        TEST(urgent_data_does_not_stall_a_stream),
        TEST(an_engine_that_takes_little_gets_everything),
        TEST(an_engine_short_of_output_gets_it_later),
        TEST(a_stalled_engine_is_not_fed_until_readable),
        TEST(many_connections_at_once),
        TEST(a_slow_reader_is_not_read_from),
        TEST(a_reset_under_back_pressure_frees_all),
        TEST(the_end_of_a_stream_closes_it),
        TEST(a_half_closed_stream_is_answered_to_its_end),
        TEST(our_end_flushes_first_and_waits_for_theirs),
        TEST(our_end_reaches_a_peer_that_still_talks),
        TEST(a_reset_ends_a_half_closed_stream),
        TEST(a_peer_that_never_ends_is_closed_in_five_seconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
