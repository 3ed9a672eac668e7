/**
 * fake_udp_test.c - datagrams through a real ring: the ways a multishot receive ends, answers from
 * the address that was asked, and a full engine. Datagrams come back as they went.
 */
#include "fake_engine.h"
#include "loop_fixture.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define RECORD_LEN 64

/* <linux/ipv6.h> has it, but quarrels with <netinet/in.h>. */
struct in6_ifreq {
    struct in6_addr ifr6_addr;
    uint32_t ifr6_prefixlen;
    int ifr6_ifindex;
};

/* Looks like a DTLS record to the kernel's filter. */
static void make_record(uint8_t record[RECORD_LEN], uint32_t number)
{
    memset(record, 0, RECORD_LEN);
    record[0] = 22;
    memcpy(record + 16, &number, sizeof number);
}

static void send_records(int fd, uint32_t count)
{
    uint8_t record[RECORD_LEN];
    for (uint32_t i = 0; i < count; ++i) {
        make_record(record, i);
        assert_int_equal(send(fd, record, sizeof record, 0), sizeof record);
    }
}

/* Every one of them, each once, in order: loopback neither loses nor reorders. */
static void expect_records(int fd, uint32_t count)
{
    uint8_t record[RECORD_LEN], expected[RECORD_LEN];
    for (uint32_t i = 0; i < count; ++i) {
        make_record(expected, i);
        assert_int_equal(recv(fd, record, sizeof record, 0), sizeof record);
        assert_memory_equal(record, expected, sizeof record);
    }
}

static int client(const struct loop_fixture *fixture, const char *ip)
{
    int fd = fixture_client(SOCK_DGRAM, ip, fixture_port(fixture, 0));
    int len = 4 << 20;
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &len, sizeof len);
    return fd;
}

static void open_on(struct loop_fixture *fixture, const char *ip)
{
    fixture_listen(fixture, HF_TRANSPORT_DTLS, ip, 0);
    fixture_open(fixture);
    if (fixture->open_status != HF_OK)
        fail_msg("%s", fixture->error);
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

static void echo_works_and_is_counted(void **state)
{
    struct loop_fixture *fixture = *state;
    open_on(fixture, "127.0.0.1");
    fixture_run(fixture);
    int fd = client(fixture, "127.0.0.1");
    send_records(fd, 100);
    expect_records(fd, 100);
    FIXTURE_AWAIT(fixture, datagrams_out, 100);
    struct hf_loop_counters counters = fixture_counters(fixture);
    assert_int_equal(counters.datagrams_in, 100);
    assert_int_equal(counters.datagrams_out, 100);
    assert_int_equal(counters.receive_rearms, 0);
    assert_true(counters.memory_len > 1024 * 2048);
    uint16_t port = fixture_port(fixture, 0);
    fixture_stop(fixture);
    assert_int_equal(fake_seen.last_path.local.port, port);
    close(fd);
}

static void an_empty_datagram_does_not_end_receiving(void **state)
{
    struct loop_fixture *fixture = *state;
    fixture->config.is_unfiltered = true;
    open_on(fixture, "127.0.0.1");
    fixture_run(fixture);
    int fd = client(fixture, "127.0.0.1");
    for (int i = 0; i < 50; ++i) {
        uint8_t byte;
        assert_int_equal(send(fd, "", 0, 0), 0);
        assert_int_equal(recv(fd, &byte, 1, 0), 0); /* the fake echoes it */
        send_records(fd, 1);
        expect_records(fd, 1);
    }
    if (!fixture_is_epoll()) /* there a receive goes on */
        assert_true(fixture_counters(fixture).receive_rearms >= 50);
    close(fd);
}

static void the_filter_keeps_what_cannot_be_dtls_away(void **state)
{
    struct loop_fixture *fixture = *state;
    uint8_t junk[RECORD_LEN] = {22};
    open_on(fixture, "127.0.0.1");
    fixture_run(fixture);
    int fd = client(fixture, "127.0.0.1");
    send(fd, "", 0, 0);
    send(fd, junk, 12, 0);
    for (unsigned type = 0; type < 256; ++type) {
        junk[0] = (uint8_t)type;
        if (type < 20 || (type > 25 && type != 27))
            send(fd, junk, sizeof junk, 0);
    }
    send_records(fd, 1);
    expect_records(fd, 1);
    junk[0] = 25;
    send(fd, junk, 13, 0);
    assert_int_equal(recv(fd, junk, sizeof junk, 0), 13);
    FIXTURE_AWAIT(fixture, receive_queue_drops, 251); /* read once a second */
    struct hf_loop_counters counters = fixture_counters(fixture);
    assert_int_equal(counters.datagrams_in, 2);
    assert_int_equal(counters.receive_rearms, 0);
    assert_int_equal(counters.receive_queue_drops, 251);
    close(fd);
}

static void a_burst_beyond_all_buffers_is_served(void **state)
{
    struct loop_fixture *fixture = *state;
    fixture->config.receive_buffers = 4;
    open_on(fixture, "127.0.0.1");
    int fd = client(fixture, "127.0.0.1");
    send_records(fd, 500); /* queued in the kernel: nobody reads yet */
    fixture_run(fixture);
    expect_records(fd, 500);
    struct hf_loop_counters counters = fixture_counters(fixture);
    if (!fixture_is_epoll()) /* it takes no more than it has room for */
        assert_true(counters.receive_buffers_empty > 0);
    assert_true(counters.receive_rearms >= counters.receive_buffers_empty);
    send_records(fd, 3);
    expect_records(fd, 3);
    close(fd);
}

static void an_overflown_completion_queue_loses_nothing(void **state)
{
    struct loop_fixture *fixture = *state;
    fixture->config.completions_max = 64;
    fixture->config.receive_buffers = 1024;
    open_on(fixture, "127.0.0.1");
    int fd = client(fixture, "127.0.0.1");
    send_records(fd, 1000);
    fixture_run(fixture);
    expect_records(fd, 1000);
    if (!fixture_is_epoll()) /* it has no such queue */
        assert_true(fixture_counters(fixture).completions_overflowed > 0);
    send_records(fd, 3);
    expect_records(fd, 3);
    close(fd);
}

static void a_full_engine_gets_each_datagram_again(void **state)
{
    struct loop_fixture *fixture = *state;
    fake_script.output_max = 10 * RECORD_LEN;
    open_on(fixture, "127.0.0.1");
    int fd = client(fixture, "127.0.0.1");
    send_records(fd, 300);
    fixture_run(fixture);
    expect_records(fd, 300);
    assert_true(FAKE_SEEN(waiting_datagrams) > 0);
    close(fd);
}

static void an_oversize_datagram_is_dropped_and_counted(void **state)
{
    struct loop_fixture *fixture = *state;
    static uint8_t large[4000] = {22};
    open_on(fixture, "127.0.0.1");
    fixture_run(fixture);
    int fd = client(fixture, "127.0.0.1");
    assert_int_equal(send(fd, large, sizeof large, 0), sizeof large);
    send_records(fd, 1);
    expect_records(fd, 1);
    /* 1,500-byte networks fit. */
    assert_int_equal(send(fd, large, 1472, 0), 1472);
    assert_int_equal(recv(fd, large, sizeof large, 0), 1472);
    assert_int_equal(fixture_counters(fixture).datagrams_truncated, 1);
    close(fd);
}

static void answers_leave_from_the_address_asked(void **state)
{
    static const struct {
        const char *listen, *ask;
    } rows[] = {
        {"127.0.0.1", "127.0.0.1"},
        {"0.0.0.0", "127.0.0.1"},
        {"0.0.0.0", "127.0.0.2"},
        {"::1", "::1"},
        {"::", "::1"},
        {"::", "127.0.0.1"},
        {"::", "127.0.0.3"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; ++i) {
        struct loop_fixture fixture;
        fixture_init(&fixture);
        open_on(&fixture, rows[i].listen);
        fixture_run(&fixture);
        int fd = client(&fixture, rows[i].ask); /* connected: hears that address only */
        send_records(fd, 3);
        expect_records(fd, 3);
        close(fd);
        fixture_stop(&fixture);
        bool is_v4 = strchr(rows[i].ask, '.') != NULL;
        assert_int_equal(fake_seen.last_path.peer.ip[10], is_v4 ? 0xff : 0);
        assert_int_equal(fake_seen.last_path.local.ip[15],
                         rows[i].ask[strlen(rows[i].ask) - 1] - '0');
        assert_int_equal(fake_seen.last_path.local.scope, 0);
    }
}

/* A network of our own, where the loopback interface has more IPv6 addresses than ::1. */
static bool enter_network(void)
{
    static const uint8_t prefix[15] = {0xfd, 0x00};
    struct ifreq flags = {.ifr_name = "lo"};
    if (unshare(CLONE_NEWNET) != 0)
        return false;
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool is_done = fd >= 0 && ioctl(fd, SIOCGIFFLAGS, &flags) == 0;
    flags.ifr_flags |= IFF_UP;
    is_done = is_done && ioctl(fd, SIOCSIFFLAGS, &flags) == 0;
    for (uint8_t last = 1; is_done && last < 4; ++last) {
        struct in6_ifreq address = {.ifr6_prefixlen = 128, .ifr6_ifindex = 1};
        memcpy(&address.ifr6_addr, prefix, sizeof prefix);
        address.ifr6_addr.s6_addr[15] = last;
        is_done = ioctl(fd, SIOCSIFADDR, &address) == 0;
    }
    close(fd);
    return is_done;
}

/* Bound to fd00::1, so that fd00::1 is what the kernel would answer from by itself. */
static int bound_client(const char *ip, uint16_t port)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6};
    struct timeval limit = {.tv_sec = 5};
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    inet_pton(AF_INET6, "fd00::1", &address.sin6_addr);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0)
        return -1;
    inet_pton(AF_INET6, ip, &address.sin6_addr);
    address.sin6_port = htons(port);
    return connect(fd, (struct sockaddr *)&address, sizeof address) == 0 ? fd : -1;
}

static void ipv6_answers_leave_from_the_address_asked(void **state)
{
    enum { WELL, BADLY, NOT_HERE };
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        static struct loop_fixture fixture;
        char text[] = "fd00::1";
        uint8_t record[RECORD_LEN];
        if (!enter_network())
            _exit(NOT_HERE);
        usleep(100000);
        fixture_init(&fixture);
        fixture_listen(&fixture, HF_TRANSPORT_DTLS, "::", 0);
        fixture_open(&fixture);
        if (fixture.open_status != HF_OK)
            _exit(BADLY);
        fixture_run(&fixture);
        for (char last = '1'; last < '4'; ++last) {
            text[6] = last;
            int fd = bound_client(text, fixture_port(&fixture, 0));
            make_record(record, 0);
            if (fd < 0 || send(fd, record, sizeof record, 0) < 0 ||
                recv(fd, record, sizeof record, 0) != RECORD_LEN)
                _exit(BADLY);
        }
        fixture_stop(&fixture);
        _exit(WELL);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == NOT_HERE)
        skip(); /* not root */
    assert_int_equal(WEXITSTATUS(status), WELL);
}

static void one_listener_may_have_several_sockets(void **state)
{
    struct loop_fixture *fixture = *state;
    fixture_listen(fixture, HF_TRANSPORT_DTLS, "127.0.0.4", 0);
    open_on(fixture, "127.0.0.1");
    fixture_run(fixture);
    for (uint32_t i = 0; i < 2; ++i) {
        int fd = fixture_client(SOCK_DGRAM, i == 0 ? "127.0.0.4" : "127.0.0.1",
                                fixture_port(fixture, i));
        send_records(fd, 3);
        expect_records(fd, 3);
        close(fd);
    }
}

static void ecn_comes_in_and_goes_out(void **state)
{
    static const char *const addresses[] = {"127.0.0.1", "::1"};
    (void)state;
    for (size_t i = 0; i < 2; ++i) {
        struct loop_fixture fixture;
        fixture_init(&fixture);
        fixture.config.is_ecn_read = true;
        open_on(&fixture, "::");
        fixture_run(&fixture);
        int fd = client(&fixture, addresses[i]), ect1 = 1, on = 1;
        setsockopt(fd, IPPROTO_IP, i == 0 ? IP_TOS : IPV6_TCLASS, &ect1, sizeof ect1);
        if (i == 0) {
            setsockopt(fd, IPPROTO_IP, IP_RECVTOS, &on, sizeof on);
        } else {
            setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &ect1, sizeof ect1);
            setsockopt(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, &on, sizeof on);
        }
        send_records(fd, 1);
        uint8_t data[RECORD_LEN];
        _Alignas(struct cmsghdr) uint8_t control[64];
        struct iovec part = {data, sizeof data};
        struct msghdr header = {.msg_iov = &part,
                                .msg_iovlen = 1,
                                .msg_control = control,
                                .msg_controllen = sizeof control};
        assert_int_equal(recvmsg(fd, &header, 0), sizeof data);
        assert_non_null(CMSG_FIRSTHDR(&header));
        assert_int_equal(*CMSG_DATA(CMSG_FIRSTHDR(&header)) & 3, 1);
        close(fd);
        fixture_stop(&fixture);
    }
}

static void stop_ends_an_idle_loop_at_once(void **state)
{
    struct loop_fixture *fixture = *state;
    open_on(fixture, "127.0.0.1");
    fixture_run(fixture);
    uint16_t port = fixture_port(fixture, 0);
    usleep(20000);
    assert_true(fixture_stop(fixture) < 500000);
    assert_int_equal(fixture->run_status, HF_OK);
    /* No request keeps the socket alive: the port is free again. */
    struct loop_fixture again;
    fixture_init(&again);
    fixture_listen(&again, HF_TRANSPORT_DTLS, "127.0.0.1", port);
    fixture_open(&again);
    assert_int_equal(again.open_status, HF_OK);
    fixture_stop(&again);
}

static void engine_counters_are_published(void **state)
{
    struct loop_fixture *fixture = *state;
    struct hf_counters counters;
    open_on(fixture, "127.0.0.1");
    fixture_run(fixture);
    int fd = client(fixture, "127.0.0.1");
    send_records(fd, 7);
    expect_records(fd, 7);
    for (int i = 0; i < 3000; ++i) {
        hf_loop_engine_counters_get(&counters, fixture->loop);
        if (counters.datagrams_in == 7)
            break;
        usleep(1000);
    }
    assert_int_equal(counters.datagrams_in, 7);
    close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(echo_works_and_is_counted),
        TEST(an_empty_datagram_does_not_end_receiving),
        TEST(the_filter_keeps_what_cannot_be_dtls_away),
        TEST(a_burst_beyond_all_buffers_is_served),
        TEST(an_overflown_completion_queue_loses_nothing),
        TEST(a_full_engine_gets_each_datagram_again),
        TEST(an_oversize_datagram_is_dropped_and_counted),
        TEST(answers_leave_from_the_address_asked),
        cmocka_unit_test(ipv6_answers_leave_from_the_address_asked),
        TEST(one_listener_may_have_several_sockets),
        TEST(ecn_comes_in_and_goes_out),
        TEST(stop_ends_an_idle_loop_at_once),
        TEST(engine_counters_are_published),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
