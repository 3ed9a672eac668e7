/**
 * fake_open_test.c - what opening a loop says when it is refused: one line, with the remedy. Each
 * refusal is a real one, in a child process that has given up the privilege.
 */
#include "fake_engine.h"
#include "loop_fixture.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct loop_fixture fixture;

static int setup(void **state)
{
    (void)state;
    fake_reset();
    fixture_init(&fixture);
    return 0;
}

static void expect_refusal(const char *what, const char *remedy)
{
    fixture_open(&fixture);
    bool is_open = fixture.open_status == HF_OK;
    fixture_stop(&fixture);
    if (is_open || !strstr(fixture.error, what) || !strstr(fixture.error, remedy) ||
        strchr(fixture.error, '\n'))
        fail_msg("open %d, error: %s", is_open, fixture.error);
}

/* Runs in a child that `hobble` has made poor; the child's verdict is its exit status. */
static void expect_refusal_in_child(bool (*hobble)(void), const char *what, const char *remedy)
{
    enum { REFUSED_WELL = 0, REFUSED_BADLY, OPENED, NOT_HOBBLED };
    int pipe_fds[2];
    char text[HF_LOOP_ERROR_MAX] = "";
    assert_int_equal(pipe(pipe_fds), 0);
    pid_t child = fork();
    if (child == 0) {
        if (!hobble())
            _exit(NOT_HOBBLED);
        enum hf_status status = hf_loop_open(&fixture.loop, fixture.error, &fixture.config);
        ssize_t written = write(pipe_fds[1], fixture.error, strlen(fixture.error));
        if (status == HF_OK || written < 0)
            _exit(OPENED);
        _exit(strstr(fixture.error, what) && strstr(fixture.error, remedy) ? REFUSED_WELL
                                                                           : REFUSED_BADLY);
    }
    close(pipe_fds[1]);
    ssize_t len = read(pipe_fds[0], text, sizeof text - 1);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    close(pipe_fds[0]);
    assert_true(len >= 0 && WIFEXITED(status));
    if (WEXITSTATUS(status) == NOT_HOBBLED)
        skip(); /* not root: the limit cannot be set up */
    if (WEXITSTATUS(status) != REFUSED_WELL)
        fail_msg("%d: %s", WEXITSTATUS(status), text);
}

static void a_port_in_use_is_named(void **state)
{
    static const struct {
        enum hf_transport transport;
        int type;
        const char *remedy;
    } rows[] = {{HF_TRANSPORT_DTLS, SOCK_DGRAM, "ss -ulpn"},
                {HF_TRANSPORT_TLS, SOCK_STREAM, "ss -tlpn"}};
    (void)state;
    for (size_t i = 0; i < 2; ++i) {
        struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof address;
        int fd = socket(AF_INET, rows[i].type, 0), one = 1;
        /* Even one that would share it. */
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
        assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
        if (rows[i].type == SOCK_STREAM)
            listen(fd, 1);
        getsockname(fd, (struct sockaddr *)&address, &len);
        fixture_init(&fixture);
        fixture_listen(&fixture, rows[i].transport, "127.0.0.1", ntohs(address.sin_port));
        expect_refusal("Address already in use", rows[i].remedy);
        close(fd);
    }
}

static void shards_share_a_port(void **state)
{
    (void)state;
    static struct loop_fixture second;
    for (int transport = 0; transport < 2; ++transport) {
        fixture_init(&fixture);
        fixture_listen(&fixture, (enum hf_transport)transport, "127.0.0.1", 0);
        fixture_open(&fixture);
        assert_int_equal(fixture.open_status, HF_OK);
        fixture_init(&second);
        second.engine.shard_index = 1;
        fixture_listen(&second, (enum hf_transport)transport, "127.0.0.1",
                       fixture_port(&fixture, 0));
        fixture_open(&second);
        assert_int_equal(second.open_status, HF_OK);
        fixture_run(&fixture);
        fixture_run(&second);
        fixture_stop(&fixture);
        fixture_stop(&second);
    }
}

static void an_address_that_is_not_ours_is_named(void **state)
{
    (void)state;
    fixture_listen(&fixture, HF_TRANSPORT_DTLS, "203.0.113.1", 5684);
    expect_refusal("203.0.113.1:5684", "no interface has this address");
}

static void a_wrong_configuration_is_named(void **state)
{
    (void)state;
    fixture_listen(&fixture, HF_TRANSPORT_DTLS, "127.0.0.1", 0);
    fixture.config.receive_buffers = 1000;
    expect_refusal("receive_buffers", "power of two");
    fixture.config.receive_buffers = 1024;
    fixture.config.send_queue_len_max = fixture.config.send_queue_len_high;
    expect_refusal("send_queue_len_high", "quarter");
    fixture.config.send_queue_len_max = 4 * fixture.config.send_queue_len_high;
    fixture.sockets[0].listener_index = 7;
    expect_refusal("listener", "does not exist");
    fixture.sockets[0].listener_index = 0;
    fixture.sockets[0].transport = HF_TRANSPORT_TLS;
    expect_refusal("listener", "transport");
}

static bool become_nobody(void)
{
    return setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0;
}

static bool without_privileged_ports(void)
{
    FILE *file = fopen("/proc/sys/net/ipv4/ip_unprivileged_port_start", "r");
    int start = 0;
    if (file && fscanf(file, "%d", &start) != 1)
        start = 0;
    if (file)
        fclose(file);
    return start > 1 && become_nobody();
}

static void a_privileged_port_names_the_capability(void **state)
{
    (void)state;
    fixture_listen(&fixture, HF_TRANSPORT_TLS, "127.0.0.1", 1);
    expect_refusal_in_child(without_privileged_ports, "127.0.0.1:1", "CAP_NET_BIND_SERVICE");
}

static bool without_locked_memory(void)
{
    struct rlimit none = {0, 0};
    return setrlimit(RLIMIT_MEMLOCK, &none) == 0 && become_nobody();
}

static void no_locked_memory_names_the_limit(void **state)
{
    (void)state;
    fixture.config.io = HF_LOOP_IO_URING;
    fixture_listen(&fixture, HF_TRANSPORT_DTLS, "127.0.0.1", 0);
    expect_refusal_in_child(without_locked_memory, "io_uring", "LimitMEMLOCK=");
}

static bool forbid(unsigned call, unsigned code)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | code),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = 4, .filter = filter};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static bool as_in_docker(void)
{
    return forbid(SYS_io_uring_setup, EPERM);
}

static bool as_in_gvisor(void)
{
    return forbid(SYS_io_uring_setup, ENOSYS);
}

static void a_seccomp_profile_names_the_remedy(void **state)
{
    (void)state;
    fixture.config.io = HF_LOOP_IO_URING;
    fixture_listen(&fixture, HF_TRANSPORT_DTLS, "127.0.0.1", 0);
    expect_refusal_in_child(as_in_docker, "io_uring", "seccomp");
    expect_refusal_in_child(as_in_docker, "io_uring", "kernel.io_uring_disabled");
    expect_refusal_in_child(as_in_gvisor, "io_uring", "Linux 6.1");
}

/* ---- what it stands on -------------------------------------------------------------------- */

/* In a child that `hobble` has made poor: it opens all the same, on epoll, and says why. */
static void expect_epoll_in_child(bool (*hobble)(void), const char *reason)
{
    fixture_init(&fixture);
    fixture.config.io = HF_LOOP_IO_AUTO;
    fixture_listen(&fixture, HF_TRANSPORT_DTLS, "127.0.0.1", 0);
    fixture_listen(&fixture, HF_TRANSPORT_TLS, "127.0.0.1", 0);
    pid_t child = fork();
    if (child == 0) {
        if (!hobble())
            _exit(2);
        if (hf_loop_open(&fixture.loop, fixture.error, &fixture.config) != HF_OK)
            _exit(1);
        bool is_good = strcmp(hf_loop_io_name(fixture.loop), "epoll") == 0 &&
                       strstr(hf_loop_io_reason(fixture.loop), reason) != NULL &&
                       strchr(hf_loop_io_reason(fixture.loop), '\n') == NULL;
        hf_loop_stop(fixture.loop);
        is_good &= hf_loop_run(fixture.loop, fixture.error) == HF_OK;
        hf_loop_close(fixture.loop);
        _exit(is_good ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 2)
        skip(); /* not root: the limit cannot be set up */
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void what_it_stands_on_is_chosen(void **state)
{
    (void)state;
    static const struct {
        enum hf_loop_io io;
        const char *name, *reason;
    } rows[] = {{HF_LOOP_IO_AUTO, "io_uring", "it is there"},
                {HF_LOOP_IO_URING, "io_uring", "configured"},
                {HF_LOOP_IO_EPOLL, "epoll", "configured"}};
    for (size_t i = 0; i < 3; ++i) {
        fixture_init(&fixture);
        fixture.config.io = rows[i].io;
        fixture_listen(&fixture, HF_TRANSPORT_DTLS, "127.0.0.1", 0);
        fixture_open(&fixture);
        assert_int_equal(fixture.open_status, HF_OK);
        assert_string_equal(hf_loop_io_name(fixture.loop), rows[i].name);
        assert_string_equal(hf_loop_io_reason(fixture.loop), rows[i].reason);
        fixture_stop(&fixture);
    }
    expect_epoll_in_child(as_in_docker, "seccomp");
    expect_epoll_in_child(as_in_gvisor, "Linux 6.1");
    expect_epoll_in_child(without_locked_memory, "LimitMEMLOCK=");
}

static void stop_at_the_second(struct hf_loop *loop, void *arg)
{
    (void)arg;
    hf_loop_stop(loop);
}

/* Before Linux 5.11, and under filters older than it. */
static void epoll_keeps_time_without_its_newest_call(void **state)
{
    static const unsigned codes[] = {ENOSYS, EPERM};
    (void)state;
    for (size_t i = 0; i < 2; ++i) {
        fixture_init(&fixture);
        fixture.config.io = HF_LOOP_IO_EPOLL;
        fixture.config.handlers.second = stop_at_the_second;
        fixture_listen(&fixture, HF_TRANSPORT_DTLS, "127.0.0.1", 0);
        pid_t child = fork();
        if (child == 0) {
            if (!forbid(SYS_epoll_pwait2, codes[i]) ||
                hf_loop_open(&fixture.loop, fixture.error, &fixture.config) != HF_OK)
                _exit(1);
            uint64_t begun_us = fixture_now_us();
            if (hf_loop_run(fixture.loop, fixture.error) != HF_OK)
                _exit(1);
            uint64_t us = fixture_now_us() - begun_us;
            struct hf_loop_counters counters;
            hf_loop_counters_get(&counters, fixture.loop);
            hf_loop_close(fixture.loop);
            _exit(us >= 1000000 && us < 10000000 && counters.turns < 100 ? 0 : 2);
        }
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_port_in_use_is_named, setup),
        cmocka_unit_test_setup(shards_share_a_port, setup),
        cmocka_unit_test_setup(an_address_that_is_not_ours_is_named, setup),
        cmocka_unit_test_setup(a_wrong_configuration_is_named, setup),
        cmocka_unit_test_setup(a_privileged_port_names_the_capability, setup),
        cmocka_unit_test_setup(no_locked_memory_names_the_limit, setup),
        cmocka_unit_test_setup(a_seccomp_profile_names_the_remedy, setup),
        cmocka_unit_test_setup(what_it_stands_on_is_chosen, setup),
        cmocka_unit_test_setup(epoll_keeps_time_without_its_newest_call, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
