/**
 * fake_tcp_test.c - streams through a real ring: order and completeness under every kind of
 * fullness, back-pressure, both kinds of end, resource exhaustion, bounded stops.
 */
#include "fake_engine.h"
#include "loop_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define STREAM_LEN (3u << 20)
#define HALF_CLOSED_LEN (256u << 10) /* the kernel's buffers hold it */

static uint8_t stream_byte(size_t i)
{
    return (uint8_t)((i * 2654435761u) >> 13);
}

struct writer {
    int fd;
    size_t len;
    bool is_half_closed;
    bool has_failed;
};

static void *write_stream(void *arg)
{
    struct writer *writer = arg;
    uint8_t part[5000];
    for (size_t at = 0; at < writer->len;) {
        size_t len = writer->len - at < sizeof part ? writer->len - at : sizeof part;
        for (size_t i = 0; i < len; ++i)
            part[i] = stream_byte(at + i);
        if (!fixture_write(writer->fd, part, len)) {
            writer->has_failed = true;
            return NULL;
        }
        at += len;
    }
    if (writer->is_half_closed)
        shutdown(writer->fd, SHUT_WR);
    return NULL;
}

static void expect_stream(int fd, size_t len)
{
    static uint8_t part[65536];
    for (size_t at = 0; at < len;) {
        size_t want = len - at < sizeof part ? len - at : sizeof part;
        assert_true(fixture_read(fd, part, want));
        for (size_t i = 0; i < want; ++i)
            if (part[i] != stream_byte(at + i))
                fail_msg("byte %zu differs", at + i);
        at += want;
    }
}

static void echo_stream(int fd, size_t len)
{
    struct writer writer = {.fd = fd, .len = len};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, write_stream, &writer), 0);
    expect_stream(fd, len);
    pthread_join(thread, NULL);
    assert_false(writer.has_failed);
}

static void expect_end(int fd)
{
    uint8_t byte;
    ssize_t count = recv(fd, &byte, 1, 0);
    if (count != 0)
        fail_msg("no end of stream: %zd, errno %d", count, errno);
}

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
    echo_stream(fd, STREAM_LEN);
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

static void an_engine_that_takes_little_gets_everything(void **state)
{
    struct loop_fixture *fixture = *state;
    fake_script.take_max = 700;
    start(fixture, "127.0.0.1");
    int fd = client(fixture);
    echo_stream(fd, STREAM_LEN / 8);
    close(fd);
    FIXTURE_AWAIT_ZERO(fixture, connections);
    assert_true(FAKE_SEEN(waiting_streams) == 0);
    assert_int_equal(FAKE_SEEN(stream_len), STREAM_LEN / 8);
}

static void an_engine_short_of_output_gets_it_later(void **state)
{
    struct loop_fixture *fixture = *state;
    struct writer writers[3];
    pthread_t threads[3];
    fake_script.output_max = 20000; /* one chunk of one connection, and no more */
    open_on(fixture, "127.0.0.1");
    for (int i = 0; i < 3; ++i) {
        writers[i] = (struct writer){.fd = client(fixture), .len = STREAM_LEN / 8};
        assert_int_equal(pthread_create(&threads[i], NULL, write_stream, &writers[i]), 0);
    }
    usleep(50000); /* all have something to be read in the same turn */
    fixture_run(fixture);
    for (int i = 0; i < 3; ++i)
        expect_stream(writers[i].fd, STREAM_LEN / 8);
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
    struct writer writer = {.len = STREAM_LEN};
    pthread_t thread;
    fake_script.is_stalled = true;
    start(fixture, "127.0.0.1");
    writer.fd = client(fixture);
    assert_int_equal(pthread_create(&thread, NULL, write_stream, &writer), 0);
    usleep(300000);
    /* It keeps what had arrived, no more; it asks the engine twice and then waits. */
    struct hf_loop_counters counters = fixture_counters(fixture);
    assert_int_equal(FAKE_SEEN(stream_len), 0);
    assert_true(FAKE_SEEN(waiting_streams) <= 4);
    assert_true(counters.turns < 100);
    __atomic_store_n(&fake_script.is_stalled, false, __ATOMIC_RELEASE);
    expect_stream(writer.fd, STREAM_LEN);
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
    echo_stream(other, 10000);
    close(other);
    fcntl(fd, F_SETFL, 0);
    expect_stream(fd, sent);
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
    echo_stream(fd, 10); /* its record is there to stay */
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
    echo_stream(fd, 1000);
    shutdown(fd, SHUT_WR);
    expect_end(fd);
    FIXTURE_AWAIT_ZERO(fixture, connections);
    assert_int_equal(FAKE_SEEN(ends), 1);
    close(fd);
}

static void a_half_closed_stream_is_answered_to_its_end(void **state)
{
    struct loop_fixture *fixture = *state;
    struct writer writer = {.len = HALF_CLOSED_LEN, .is_half_closed = true};
    uint8_t bye[3];
    fake_script.is_half_close_kept = true;
    start(fixture, "127.0.0.1");
    writer.fd = client(fixture);
    write_stream(&writer); /* its FIN is out before it reads anything */
    assert_false(writer.has_failed);
    expect_stream(writer.fd, HALF_CLOSED_LEN);
    assert_true(fixture_read(writer.fd, bye, sizeof bye));
    assert_memory_equal(bye, "bye", 3);
    expect_end(writer.fd);
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
    expect_end(fd);
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
    expect_end(fd);
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

/* ---- limits ---- */

static void beyond_connections_max_is_refused(void **state)
{
    struct loop_fixture *fixture = *state;
    fixture->config.connections_max = 3;
    start(fixture, "127.0.0.1");
    int fds[4];
    for (int i = 0; i < 3; ++i) {
        fds[i] = client(fixture);
        echo_stream(fds[i], 10);
    }
    fds[3] = client(fixture);
    uint8_t byte;
    assert_true(recv(fds[3], &byte, 1, 0) <= 0);
    assert_int_equal(fixture_counters(fixture).connections_refused, 1);
    close(fds[3]);
    close(fds[0]);
    for (int i = 0; i < 1000 && fixture_counters(fixture).connections == 3; ++i)
        usleep(1000);
    fds[0] = client(fixture);
    echo_stream(fds[0], 10);
    for (int i = 0; i < 3; ++i)
        close(fds[i]);
}

static void what_the_engine_refuses_is_closed(void **state)
{
    struct loop_fixture *fixture = *state;
    fake_script.associations_max = 1;
    start(fixture, "127.0.0.1");
    int fd = client(fixture), other;
    echo_stream(fd, 10);
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
    echo_stream(first, 10);
    echo_stream(second, 10);
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
        echo_stream(fds[i], 10);
    }
    assert_true(fixture_stop(fixture) < 1000000);
    for (int i = 0; i < COUNT; ++i) {
        uint8_t bye[3];
        assert_true(fixture_read(fds[i], bye, sizeof bye));
        assert_memory_equal(bye, "bye", 3);
        expect_end(fds[i]);
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
    struct writer *reader = arg;
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
    struct writer reader = {.len = 0};
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
        TEST(a_long_stream_comes_back_whole),
        TEST(one_byte_at_a_time_comes_back),
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
        TEST(beyond_connections_max_is_refused),
        TEST(what_the_engine_refuses_is_closed),
        TEST(no_descriptors_makes_accepting_wait),
        TEST(stop_says_goodbye_to_all),
        TEST(stop_is_bounded_by_a_peer_that_reads_nothing),
        TEST(stop_gives_a_slow_peer_the_time_there_is),
        TEST(stop_during_a_stampede_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
