/**
 * fake_batch_test.c - what is done for fuller batches. A turn after one with jobs takes what comes
 * while it runs. Turns are put off: never unless configured, only after one that was half full, not
 * beyond the configured time, and no longer than until eight have come.
 */
#include "fake_engine.h"
#include "loop_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define WAVE 8
#define LONG_US 300000

static struct loop_fixture fixture;

static int setup(void **state)
{
    (void)state;
    fake_reset();
    fixture_init(&fixture);
    fake_script.is_job_each = true;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_stop(&fixture);
    return 0;
}

/* Clients whose bytes have all come before the loop runs: its first turns are full. */
static void start(int fds[WAVE], enum hf_transport transport, uint64_t linger_us)
{
    fixture.config.batch_linger_us = linger_us;
    fixture_listen(&fixture, transport, "127.0.0.1", 0);
    fixture_open(&fixture);
    assert_int_equal(fixture.open_status, HF_OK);
    for (int i = 0; i < WAVE; ++i) {
        fds[i] = fixture_client(transport == HF_TRANSPORT_TLS ? SOCK_STREAM : SOCK_DGRAM,
                                "127.0.0.1", fixture_port(&fixture, 0));
        assert_true(fds[i] >= 0);
    }
}

static void say(int fd)
{
    static const uint8_t record[32] = {22}; /* passes for DTLS with the kernel's filter */
    assert_true(fixture_write(fd, record, sizeof record));
}

static void hear(int fd)
{
    uint8_t record[32];
    assert_int_equal(recv(fd, record, sizeof record, 0), sizeof record);
}

static void close_all(const int fds[WAVE])
{
    for (int i = 0; i < WAVE; ++i)
        close(fds[i]);
}

static uint64_t lingers(void)
{
    return fixture_counters(&fixture).batch_lingers;
}

static void wave(const int fds[WAVE])
{
    for (int i = 0; i < WAVE; ++i)
        say(fds[i]);
    for (int i = 0; i < WAVE; ++i)
        hear(fds[i]);
}

/* A datagram that comes while another is looked at: is it of the same turn? */
static bool is_same_turn(const int fds[WAVE])
{
    uint64_t seen = FAKE_SEEN(datagrams);
    __atomic_store_n(&fake_script.answer_fd, fds[1], __ATOMIC_RELEASE);
    say(fds[0]);
    hear(fds[0]);
    hear(fds[1]);
    while (FAKE_SEEN(datagrams) < seen + 2)
        usleep(1000);
    return FAKE_SEEN(datagram_turns[0]) == FAKE_SEEN(datagram_turns[1]);
}

static void test_a_turn_takes_what_comes_meanwhile(void **state)
{
    int fds[WAVE];
    (void)state;
    start(fds, HF_TRANSPORT_DTLS, 0);
    fixture_run(&fixture);
    wave(fds); /* jobs, but not of the turn before */
    say(fds[0]);
    hear(fds[0]);
    for (int i = 0; i < 5; ++i)
        assert_true(is_same_turn(fds));
    close_all(fds);
}

static void test_only_where_there_are_jobs(void **state)
{
    int fds[WAVE];
    (void)state;
    fake_script.is_job_each = false;
    start(fds, HF_TRANSPORT_DTLS, 0);
    fixture_run(&fixture);
    wave(fds);
    assert_false(is_same_turn(fds));
    close_all(fds);
}

static void test_never_unless_configured(void **state)
{
    int fds[WAVE];
    (void)state;
    start(fds, HF_TRANSPORT_DTLS, 0);
    for (int i = 0; i < WAVE; ++i)
        say(fds[i]);
    fixture_run(&fixture);
    for (int i = 0; i < WAVE; ++i)
        hear(fds[i]);
    wave(fds);
    assert_int_equal(lingers(), 0);
    close_all(fds);
}

static void test_after_half_a_batch_only(void **state)
{
    int fds[WAVE];
    (void)state;
    start(fds, HF_TRANSPORT_DTLS, 2000);
    for (int i = 0; i < WAVE; ++i)
        say(fds[i]);
    fixture_run(&fixture);
    for (int i = 0; i < WAVE; ++i)
        hear(fds[i]);
    FIXTURE_AWAIT(&fixture, batch_lingers, 1);
    /* One at a time: a batch is never half full. The first may still meet what the wave left. */
    say(fds[0]);
    hear(fds[0]);
    say(fds[0]);
    hear(fds[0]);
    uint64_t before = lingers();
    for (int i = 0; i < 20; ++i) {
        say(fds[i % WAVE]);
        hear(fds[i % WAVE]);
    }
    assert_int_equal(lingers(), before);
    close_all(fds);
}

/* Nothing comes while it lingers: it serves on when the time is over, and sleeps as ever. */
static void test_not_beyond_its_time(void **state)
{
    int fds[WAVE];
    (void)state;
    start(fds, HF_TRANSPORT_DTLS, 50000);
    for (int i = 0; i < WAVE; ++i)
        say(fds[i]);
    fixture_run(&fixture);
    for (int i = 0; i < WAVE; ++i)
        hear(fds[i]);
    FIXTURE_AWAIT(&fixture, batch_lingers, 1);
    say(fds[0]); /* one alone, which has to wait; the socket's own time is 5 s */
    hear(fds[0]);
    uint64_t turns = fixture_counters(&fixture).turns;
    usleep(300000);
    assert_true(fixture_counters(&fixture).turns - turns <= 3); /* it does not spin */
    close_all(fds);
}

/* Completions of connections are counted one by one by both back ends. */
static void test_until_eight_have_come(void **state)
{
    int fds[WAVE];
    (void)state;
    start(fds, HF_TRANSPORT_TLS, LONG_US);
    fixture_run(&fixture);
    FIXTURE_AWAIT(&fixture, connections, WAVE);
    uint64_t begun_us = fixture_now_us();
    while (lingers() == 0 && fixture_now_us() - begun_us < 5000000)
        wave(fds); /* until the eight of a wave happen to meet in one turn */
    assert_true(lingers() > 0);
    /* The loop waits now, or soon. A wave that meets it whole ends the wait; on a busy machine some
     * may be torn, and wait. */
    uint64_t lingers_begun = lingers();
    begun_us = fixture_now_us();
    for (int i = 0; i < 10; ++i)
        wave(fds);
    uint64_t took_us = fixture_now_us() - begun_us;
    assert_true(lingers() > lingers_begun);
    assert_true(took_us < (lingers() - lingers_begun) * LONG_US);
    close_all(fds);
}

static void test_a_second_at_most(void **state)
{
    (void)state;
    fixture_listen(&fixture, HF_TRANSPORT_DTLS, "127.0.0.1", 0);
    fixture.config.batch_linger_us = 1000001;
    fixture_open(&fixture);
    assert_int_equal(fixture.open_status, HF_E_CONFIG);
    assert_non_null(strstr(fixture.error, "batch_linger_us"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_turn_takes_what_comes_meanwhile, setup, teardown),
        cmocka_unit_test_setup_teardown(test_only_where_there_are_jobs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_never_unless_configured, setup, teardown),
        cmocka_unit_test_setup_teardown(test_after_half_a_batch_only, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_beyond_its_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_until_eight_have_come, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_second_at_most, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
