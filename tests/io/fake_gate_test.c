/**
 * fake_gate_test.c - the gate against floods: the program in the kernel, with real datagrams; how
 * much it lets in; and a loop that is slower than the flood.
 */
#include "fake_engine.h"
#include "gate.h"
#include "loop_fixture.h"

#include <arpa/inet.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define RECORD_LEN 80
#define HELD_BACK 2000u

enum { HANDSHAKE = 22, DATA = 23, CID = 25, CLIENT_HELLO = 1, CLIENT_KEY_EXCHANGE = 16 };

static const uint32_t all[HF_GATE_COUNT] = {HF_GATE_ALL, HF_GATE_ALL, HF_GATE_ALL};

/* A record and the beginning of a handshake message, all of it in one datagram. */
static void make(uint8_t out[RECORD_LEN], uint8_t type, uint8_t epoch, uint8_t message,
                 uint8_t cookie_len)
{
    memset(out, 0, RECORD_LEN);
    out[0] = type;
    out[1] = 0xfe;
    out[2] = 0xfd;
    out[4] = epoch;
    out[12] = RECORD_LEN - 13;
    out[13] = message;
    out[59] = 4; /* a session ID */
    out[64] = cookie_len;
}

/* ---- the program -------------------------------------------------------------------------- */

struct pair {
    int from, to;
};

static int setup_pair(void **state)
{
    static struct pair pair;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001)};
    socklen_t len = sizeof address;
    pair.from = socket(AF_INET, SOCK_DGRAM, 0);
    pair.to = socket(AF_INET, SOCK_DGRAM, 0);
    assert_return_code(bind(pair.to, (struct sockaddr *)&address, len), 0);
    assert_return_code(getsockname(pair.to, (struct sockaddr *)&address, &len), 0);
    assert_return_code(connect(pair.from, (struct sockaddr *)&address, len), 0);
    *state = &pair;
    return 0;
}

static int teardown_pair(void **state)
{
    struct pair *pair = *state;
    close(pair->from);
    close(pair->to);
    return 0;
}

/* On loopback a datagram is in the queue, or dropped, when it has been sent. */
static bool passes(const struct pair *pair, const uint8_t *data, size_t len)
{
    uint8_t got[2048];
    assert_int_equal(send(pair->from, data, len, 0), len);
    return recv(pair->to, got, sizeof got, MSG_DONTWAIT) == (ssize_t)len;
}

static void what_each_class_is(void **state)
{
    static const struct {
        uint8_t type, epoch, message, cookie_len;
        enum hf_gate_class class;
    } cases[] = {
        {HANDSHAKE, 0, CLIENT_HELLO, 0, HF_GATE_HELLO},
        {HANDSHAKE, 0, CLIENT_HELLO, 16, HF_GATE_COOKIE},
        {HANDSHAKE, 0, CLIENT_KEY_EXCHANGE, 0, HF_GATE_OTHER},
        {20, 0, 1, 0, HF_GATE_OTHER},
        {21, 0, 2, 0, HF_GATE_OTHER},
        {DATA, 0, 0, 0, HF_GATE_OTHER},
        {HANDSHAKE, 1, 0x5a, 0, HF_GATE_OPEN}, /* Finished */
        {21, 1, 0x5a, 0, HF_GATE_OPEN},
        {DATA, 1, 0x5a, 0, HF_GATE_OPEN},
        {CID, 1, 0x5a, 0, HF_GATE_OPEN},
        {CID, 0, 0x5a, 0, HF_GATE_OPEN},
    };
    const struct pair *pair = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t data[RECORD_LEN];
        make(data, cases[i].type, cases[i].epoch, cases[i].message, cases[i].cookie_len);
        assert_int_equal(hf_gate_class_of(data, sizeof data), cases[i].class);
        for (int class = 0; class < HF_GATE_COUNT; class ++) {
            uint32_t share[HF_GATE_COUNT] = {HF_GATE_ALL, HF_GATE_ALL, HF_GATE_ALL};
            share[class] = 0;
            assert_true(hf_gate_attach(pair->to, share, false));
            assert_int_equal(passes(pair, data, sizeof data), class != (int)cases[i].class);
        }
        assert_true(hf_gate_attach(pair->to, all, false));
        assert_true(passes(pair, data, sizeof data));
        assert_true(hf_gate_attach(pair->to, NULL, false));
        assert_true(passes(pair, data, sizeof data));
    }
    uint8_t fragment[RECORD_LEN]; /* the rest of a hello costs nothing that is not begun */
    make(fragment, HANDSHAKE, 0, CLIENT_HELLO, 0);
    fragment[21] = 7;
    assert_int_equal(hf_gate_class_of(fragment, sizeof fragment), HF_GATE_OTHER);
}

/* The kernel's view and ours, on anything: with a class shut, all of it but that class comes in.
 * What is too short to tell is dropped as a hello that nobody could answer. */
static void the_program_and_the_loop_agree(void **state)
{
    const struct pair *pair = *state;
    unsigned seed = (unsigned)time(NULL);
    printf("seed %u\n", seed);
    srand(seed);
    for (int shut = 0; shut < HF_GATE_COUNT; shut++) {
        uint32_t share[HF_GATE_COUNT] = {HF_GATE_ALL, HF_GATE_ALL, HF_GATE_ALL};
        share[shut] = 0;
        assert_true(hf_gate_attach(pair->to, share, false));
        for (int i = 0; i < 3000; i++) {
            uint8_t data[RECORD_LEN];
            make(data, (uint8_t)(20 + rand() % 6), rand() % 4 == 0, rand() % 3 == 0 ? 16 : 1,
                 (uint8_t)(rand() % 2));
            data[21] = rand() % 8 == 0;
            data[59] = (uint8_t)(rand() % 24);
            size_t len = rand() % 4 == 0 ? 13 + (size_t)(rand() % 67) : sizeof data;
            enum hf_gate_class class = hf_gate_class_of(data, len);
            bool is_let_in = passes(pair, data, len);
            bool is_cut = len < sizeof data || 60u + data[59] >= len;
            bool is_short = is_cut && data[0] == HANDSHAKE && data[4] == 0;
            if (class == (enum hf_gate_class)shut)
                assert_false(is_let_in);
            else if (!is_short)
                assert_true(is_let_in);
        }
    }
}

static void what_cannot_be_dtls(void **state)
{
    const struct pair *pair = *state;
    uint8_t data[RECORD_LEN];
    const uint32_t *shares[] = {NULL, all};
    for (int i = 0; i < 2; i++) {
        assert_true(hf_gate_attach(pair->to, shares[i], false));
        make(data, DATA, 1, 0, 0);
        assert_false(passes(pair, data, 12));
        assert_true(passes(pair, data, 13));
        for (int type = 0; type < 256; type++) {
            make(data, (uint8_t)type, 1, 0, 0);
            assert_int_equal(passes(pair, data, sizeof data),
                             (type >= 20 && type <= 25) || type == 27);
        }
        assert_true(hf_gate_attach(pair->to, shares[i], true));
        make(data, 99, 1, 0, 0);
        assert_true(passes(pair, data, sizeof data));
    }
    assert_true(hf_gate_attach(pair->to, NULL, true));
    assert_true(passes(pair, data, 1));
}

static void a_part_comes_in(void **state)
{
    const struct pair *pair = *state;
    const uint32_t share[HF_GATE_COUNT] = {HF_GATE_ALL / 4, HF_GATE_ALL, HF_GATE_ALL};
    uint8_t data[RECORD_LEN];
    uint32_t count = 0;
    make(data, HANDSHAKE, 0, CLIENT_HELLO, 0);
    assert_true(hf_gate_attach(pair->to, share, false));
    for (int i = 0; i < 4000; i++)
        count += passes(pair, data, sizeof data);
    assert_in_range(count, 800, 1200); /* seven deviations */
}

/* ---- how much ----------------------------------------------------------------------------- */

static void shares_fit_allowances(void **state)
{
    (void)state;
    assert_int_equal(hf_gate_share(0, 20000), HF_GATE_ALL);
    assert_int_equal(hf_gate_share(20000, 20000), HF_GATE_ALL);
    assert_int_equal(hf_gate_share(80000, 20000), HF_GATE_ALL / 4);
    assert_int_equal(hf_gate_share(300000, 0), HF_GATE_MIN);
    assert_int_equal(hf_gate_share(UINT32_MAX, 1), HF_GATE_MIN);
    /* Handshakes that end well make room for more, each for more than itself. */
    for (int i = 0; i < HF_GATE_COUNT; i++) {
        enum hf_gate_class class = (enum hf_gate_class)i;
        assert_true(hf_gate_allowance(class, 1000, 0) > 0);
        assert_true(hf_gate_allowance(class, 1000, 5000) >=
                    hf_gate_allowance(class, 1000, 0) + 2 * 5000);
    }
    assert_int_equal(hf_gate_allowance(HF_GATE_HELLO, 1000, 0), 1000);
}

/* Devices that come back: whatever the share at the beginning, soon all of them get in. */
static void honest_devices_are_not_held_back(void **state)
{
    (void)state;
    uint64_t offered = 200000, established = 0;
    uint32_t share = 0;
    int rounds = 0;
    for (; share < HF_GATE_ALL && rounds < 20; rounds++) {
        share = hf_gate_share(offered, hf_gate_allowance(HF_GATE_HELLO, 20000, established));
        established = offered * share / HF_GATE_ALL;
    }
    assert_in_range(rounds, 2, 6);
    /* And strangers, of whom none ever ends a handshake, stay where they are. */
    for (rounds = 0; rounds < 20; rounds++)
        share = hf_gate_share(offered, hf_gate_allowance(HF_GATE_HELLO, 20000, 0));
    assert_int_equal(share, HF_GATE_ALL / 10);
}

static void averages_follow(void **state)
{
    (void)state;
    uint64_t average = 0;
    for (int i = 0; i < 40; i++)
        average = hf_gate_smooth(average, 100000, HF_GATE_LOOK_US);
    assert_in_range(average, 95000, 100000);
    assert_int_equal(hf_gate_smooth(5, 7, 1000000), 7); /* after a pause nothing of it counts */
    assert_in_range(hf_gate_smooth(100000, 0, HF_GATE_LOOK_US), 80000, 95000);
}

/* ---- a loop under a flood ------------------------------------------------------------------ */

static uint32_t begun, over, refused; /* written on the loop's thread */
#define SEEN(count) __atomic_load_n(&(count), __ATOMIC_RELAXED)

static void note_flood(struct hf_loop *loop, const struct hf_loop_flood *flood, void *arg)
{
    (void)loop;
    (void)arg;
    __atomic_fetch_add(flood->is_over ? &over : &begun, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&refused, flood->is_refused && !flood->is_over, __ATOMIC_RELAXED);
}

static int setup_loop(void **state)
{
    static struct loop_fixture fixture;
    fake_reset();
    fixture_init(&fixture);
    begun = over = refused = 0;
    fixture.config.handlers.flood = note_flood;
    fixture.config.flood_hellos_per_second = 200;
    fixture.config.receive_buffers = 16;
    fixture.config.socket_receive_len = 32768;
    fake_script.datagram_us = 100;
    fixture_listen(&fixture, HF_TRANSPORT_DTLS, "127.0.0.1", 0);
    *state = &fixture;
    return 0;
}

static int teardown_loop(void **state)
{
    fixture_stop(*state);
    return 0;
}

/* More than the loop can take, for a moment. */
static void flood(int fd, uint8_t message, uint8_t cookie_len)
{
    uint8_t data[RECORD_LEN];
    make(data, HANDSHAKE, 0, message, cookie_len);
    for (int i = 0; i < 100; i++)
        assert_int_equal(send(fd, data, sizeof data, 0), sizeof data);
    usleep(1000);
}

/* Whether a protected record is echoed although the flood goes on. */
static bool is_answered(int fd, int flood_fd, uint8_t number)
{
    uint8_t data[RECORD_LEN], got[RECORD_LEN];
    uint64_t until_us = fixture_now_us() + 2000000;
    make(data, DATA, 1, 0, 0);
    data[RECORD_LEN - 1] = number;
    assert_int_equal(send(fd, data, sizeof data, 0), sizeof data);
    while (fixture_now_us() < until_us) {
        flood(flood_fd, CLIENT_HELLO, 0);
        while (recv(fd, got, sizeof got, MSG_DONTWAIT) == (ssize_t)sizeof got)
            if (got[RECORD_LEN - 1] == number)
                return true;
    }
    return false;
}

static bool is_hello_answered(int fd, int seconds)
{
    uint8_t hello[RECORD_LEN], got[RECORD_LEN] = {0};
    struct pollfd poll_fd = {fd, POLLIN, 0};
    make(hello, HANDSHAKE, 0, CLIENT_HELLO, 0);
    assert_int_equal(send(fd, hello, sizeof hello, 0), sizeof hello);
    while (got[0] != HANDSHAKE && poll(&poll_fd, 1, seconds * 1000) == 1)
        assert_int_equal(recv(fd, got, sizeof got, 0), sizeof got);
    return got[0] == HANDSHAKE;
}

static bool flood_until_held(const struct loop_fixture *fixture, int fd, uint8_t message,
                             uint8_t cookie_len)
{
    uint64_t until_us = fixture_now_us() + 20000000;
    while (fixture_counters(fixture).flood_drops < HELD_BACK && fixture_now_us() < until_us)
        flood(fd, message, cookie_len);
    return fixture_counters(fixture).flood_drops >= HELD_BACK;
}

static void live_through_a_flood(struct loop_fixture *fixture)
{
    fixture_run(fixture);
    int flood_fd = fixture_client(SOCK_DGRAM, "127.0.0.1", fixture_port(fixture, 0));
    int fd = fixture_client(SOCK_DGRAM, "127.0.0.1", fixture_port(fixture, 0));
    assert_true(flood_until_held(fixture, flood_fd, CLIENT_HELLO, 0));
    assert_int_equal(fixture_counters(fixture).floods_now, 1);
    uint32_t answered = 0;
    for (uint8_t i = 1; i <= 20; i++)
        answered += is_answered(fd, flood_fd, i);
    assert_in_range(answered, 15, 20); /* the queue is a small one, and this machine may pause */
    /* It may have been over once before, while this thread did not run. */
    do
        assert_true(fixture_await_zero(fixture, offsetof(struct hf_loop_counters, floods_now)));
    while (!is_hello_answered(fd, 1));
    assert_int_equal(SEEN(begun), fixture_counters(fixture).floods);
    assert_int_equal(SEEN(over), SEEN(begun));
    /* Nothing is held back any more. */
    uint64_t before = fixture_counters(fixture).flood_drops;
    for (int i = 0; i < 10; i++)
        assert_true(is_hello_answered(fd, 5));
    assert_int_equal(fixture_counters(fixture).flood_drops, before);
    close(fd);
    close(flood_fd);
}

static void what_is_protected_comes_in(void **state)
{
    struct loop_fixture *fixture = *state;
    fixture_open(fixture);
    assert_int_equal(fixture->open_status, HF_OK);
    live_through_a_flood(fixture);
    assert_int_equal(SEEN(refused), 0);
}

static void every_class_is_held_back(void **state)
{
    static const struct {
        uint8_t message, cookie_len;
    } kinds[] = {{CLIENT_HELLO, 8}, {CLIENT_KEY_EXCHANGE, 0}};
    struct loop_fixture *fixture = *state;
    fixture_open(fixture);
    assert_int_equal(fixture->open_status, HF_OK);
    fixture_run(fixture);
    int fd = fixture_client(SOCK_DGRAM, "127.0.0.1", fixture_port(fixture, 0));
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        uint64_t wanted = fixture_counters(fixture).flood_drops + HELD_BACK;
        uint64_t until_us = fixture_now_us() + 20000000;
        while (fixture_counters(fixture).flood_drops < wanted && fixture_now_us() < until_us)
            flood(fd, kinds[i].message, kinds[i].cookie_len);
        assert_true(fixture_counters(fixture).flood_drops >= wanted);
    }
    assert_true(fixture_counters(fixture).floods >= 1);
    close(fd);
}

/* A kernel that takes no program: one that has been told so. */
static void the_loop_draws_where_the_kernel_does_not(void **state)
{
    struct loop_fixture *fixture = *state;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_DGRAM, 0), on = 1;
    assert_return_code(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_return_code(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    assert_return_code(setsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &on, sizeof on), 0);
    fixture->sockets[0].address.port = ntohs(address.sin_port);
    fixture->sockets[0].is_adopted = true;
    fixture->sockets[0].fd = fd;
    fixture_open(fixture);
    assert_int_equal(fixture->open_status, HF_OK);
    close(fd);
    live_through_a_flood(fixture);
    assert_int_equal(SEEN(refused), SEEN(begun));
}

/* The budget is more than it can take. */
static void a_slow_loop_has_a_smaller_budget(void **state)
{
    struct loop_fixture *fixture = *state;
    fixture->config.flood_hellos_per_second = 5000;
    fake_script.datagram_us = 200;
    fixture_open(fixture);
    assert_int_equal(fixture->open_status, HF_OK);
    live_through_a_flood(fixture);
}

static void zero_is_never(void **state)
{
    struct loop_fixture *fixture = *state;
    fixture->config.flood_hellos_per_second = 0;
    fixture_open(fixture);
    assert_int_equal(fixture->open_status, HF_OK);
    fixture_run(fixture);
    int fd = fixture_client(SOCK_DGRAM, "127.0.0.1", fixture_port(fixture, 0));
    uint64_t until_us = fixture_now_us() + 200000;
    while (fixture_now_us() < until_us)
        flood(fd, CLIENT_HELLO, 0);
    FIXTURE_AWAIT(fixture, datagrams_in, 100);
    assert_int_equal(fixture_counters(fixture).floods, 0);
    assert_int_equal(fixture_counters(fixture).flood_drops, 0);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_each_class_is, setup_pair, teardown_pair),
        cmocka_unit_test_setup_teardown(the_program_and_the_loop_agree, setup_pair, teardown_pair),
        cmocka_unit_test_setup_teardown(what_cannot_be_dtls, setup_pair, teardown_pair),
        cmocka_unit_test_setup_teardown(a_part_comes_in, setup_pair, teardown_pair),
        cmocka_unit_test(shares_fit_allowances),
        cmocka_unit_test(honest_devices_are_not_held_back),
        cmocka_unit_test(averages_follow),
        cmocka_unit_test_setup_teardown(what_is_protected_comes_in, setup_loop, teardown_loop),
        cmocka_unit_test_setup_teardown(every_class_is_held_back, setup_loop, teardown_loop),
        cmocka_unit_test_setup_teardown(the_loop_draws_where_the_kernel_does_not, setup_loop,
                                        teardown_loop),
        cmocka_unit_test_setup_teardown(a_slow_loop_has_a_smaller_budget, setup_loop,
                                        teardown_loop),
        cmocka_unit_test_setup_teardown(zero_is_never, setup_loop, teardown_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
