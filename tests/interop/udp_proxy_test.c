/**
 * udp_proxy_test.c - the bad network itself is tested: its decisions alone, then the program with
 * plain datagrams on both sides of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "impair.h"

#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- decisions ------------------------------------------------------------------------------ */

static void decide_is_deterministic(void **state)
{
    struct impair_plan plan = {.seed = 7,
                               .loss_ppm = 300000,
                               .duplicate_ppm = 200000,
                               .reorder_ppm = 200000,
                               .delay_us_min = 10,
                               .delay_us_max = 5000};
    size_t different = 0;

    (void)state;
    for (uint64_t i = 0; i < 1000; i++) {
        struct impair_fate one = {0};
        struct impair_fate two = {0};
        struct impair_fate other = {0};

        impair_decide(&one, &plan, 3, IMPAIR_UP, i);
        impair_decide(&two, &plan, 3, IMPAIR_UP, i);
        assert_memory_equal(&one, &two, sizeof(one));
        impair_decide(&other, &plan, 3, IMPAIR_DOWN, i);
        different += memcmp(&one, &other, sizeof(one)) != 0;
    }
    /* Directions draw from streams of their own. */
    assert_true(different > 500);
}

static void decide_depends_on_seed_and_client(void **state)
{
    struct impair_plan plan = {.seed = 1, .loss_ppm = 500000};
    struct impair_plan other_plan = {.seed = 2, .loss_ppm = 500000};
    size_t by_seed = 0;
    size_t by_client = 0;

    (void)state;
    for (uint64_t i = 0; i < 1000; i++) {
        struct impair_fate fate;
        struct impair_fate by_other_seed;
        struct impair_fate by_other_client;

        impair_decide(&fate, &plan, 0, IMPAIR_UP, i);
        impair_decide(&by_other_seed, &other_plan, 0, IMPAIR_UP, i);
        impair_decide(&by_other_client, &plan, 1, IMPAIR_UP, i);
        by_seed += fate.copy_count != by_other_seed.copy_count;
        by_client += fate.copy_count != by_other_client.copy_count;
    }
    assert_in_range(by_seed, 400, 600);
    assert_in_range(by_client, 400, 600);
}

static void decide_keeps_the_rates(void **state)
{
    struct impair_plan plan = {.seed = 42,
                               .loss_ppm = 100000,
                               .duplicate_ppm = 200000,
                               .reorder_ppm = 300000,
                               .delay_us_min = 1000,
                               .delay_us_max = 3000};
    size_t lost = 0;
    size_t doubled = 0;
    size_t copies = 0;
    size_t reordered = 0;

    (void)state;
    for (uint64_t i = 0; i < 100000; i++) {
        struct impair_fate fate;

        impair_decide(&fate, &plan, 0, IMPAIR_UP, i);
        lost += fate.copy_count == 0;
        doubled += fate.copy_count == 2;
        for (size_t copy = 0; copy < fate.copy_count; copy++) {
            copies++;
            reordered += fate.copies[copy].is_reordered;
            assert_true(fate.copies[copy].delay_us >= 1000);
            assert_true(fate.copies[copy].is_reordered || fate.copies[copy].delay_us <= 3000);
        }
    }
    assert_in_range(lost, 9500, 10500);
    assert_in_range(doubled, 17500, 18500); /* 20 % of those that are not lost */
    assert_in_range(reordered * 1000 / copies, 290, 310);
}

static void decide_extremes(void **state)
{
    struct impair_plan all_lost = {.seed = 5, .loss_ppm = 1000000};
    struct impair_plan perfect = {.seed = 5};
    struct impair_fate fate;

    (void)state;
    for (uint64_t i = 0; i < 10000; i++) {
        impair_decide(&fate, &all_lost, 0, IMPAIR_UP, i);
        assert_int_equal(fate.copy_count, 0);
        impair_decide(&fate, &perfect, 0, IMPAIR_UP, i);
        assert_int_equal(fate.copy_count, 1);
        assert_int_equal(fate.copies[0].delay_us, 0);
        assert_false(fate.copies[0].is_reordered);
    }
}

static void parse_probability(void **state)
{
    static const char *const bad[] = {"", "x", "1.5", "-0.1", "0.5x", "nan", "inf"};
    uint32_t ppm = 1;

    (void)state;
    assert_true(impair_parse_probability(&ppm, "0"));
    assert_int_equal(ppm, 0);
    assert_true(impair_parse_probability(&ppm, "0.25"));
    assert_int_equal(ppm, 250000);
    assert_true(impair_parse_probability(&ppm, "1"));
    assert_int_equal(ppm, 1000000);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(impair_parse_probability(&ppm, bad[i]));
    }
}

/* ---- the program ---------------------------------------------------------------------------- */

struct running {
    pid_t pid;
    FILE *output;
    int server; /* where the proxy sends to */
    int client; /* connected to the proxy */
};

static int udp_loopback(uint16_t port, struct sockaddr_in *address)
{
    socklen_t len = sizeof(*address);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    assert_true(fd >= 0);
    memset(address, 0, sizeof(*address));
    address->sin_family = AF_INET;
    address->sin_port = htons(port);
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (port == 0) {
        assert_int_equal(bind(fd, (struct sockaddr *)address, len), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *)address, &len), 0);
    } else {
        assert_int_equal(connect(fd, (struct sockaddr *)address, len), 0);
    }
    return fd;
}

/* Starts the proxy with the options given, a NULL-terminated list of at most 10. */
static void proxy_start(struct running *out, const char *const *options)
{
    struct sockaddr_in address;
    char to[32];
    char line[64];
    const char *argv[16] = {UDP_PROXY_PATH, "--listen", "127.0.0.1:0", "--to", to};
    unsigned port = 0;
    int pipe_ends[2];

    out->server = udp_loopback(0, &address);
    snprintf(to, sizeof(to), "127.0.0.1:%u", ntohs(address.sin_port));
    for (size_t i = 0; options[i] != NULL; i++) {
        argv[5 + i] = options[i];
    }
    assert_int_equal(pipe(pipe_ends), 0);
    out->pid = fork();
    assert_true(out->pid >= 0);
    if (out->pid == 0) {
        dup2(pipe_ends[1], STDOUT_FILENO);
        close(pipe_ends[0]);
        execv(UDP_PROXY_PATH, (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    close(pipe_ends[1]);
    out->output = fdopen(pipe_ends[0], "r");
    assert_non_null(out->output);
    assert_non_null(fgets(line, sizeof(line), out->output));
    assert_int_equal(sscanf(line, "listening 127.0.0.1:%u", &port), 1);
    out->client = udp_loopback((uint16_t)port, &address);
}

/* Ends the proxy and gives its summary. */
static void proxy_stop(char *summary, size_t summary_max, struct running *running)
{
    int status = -1;

    kill(running->pid, SIGTERM);
    assert_non_null(fgets(summary, (int)summary_max, running->output));
    assert_int_equal(waitpid(running->pid, &status, 0), running->pid);
    assert_int_equal(status, 0);
    fclose(running->output);
    close(running->client);
    close(running->server);
}

/* Receives one 4-byte number within `wait_ms`; -1 if none comes. */
static int64_t number_receive(int fd, int wait_ms, struct sockaddr_in *from)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    struct sockaddr_in ignored;
    socklen_t len = sizeof(ignored);
    uint32_t number;

    if (poll(&wait, 1, wait_ms) != 1) {
        return -1;
    }
    assert_int_equal(recvfrom(fd, &number, sizeof(number), 0,
                              (struct sockaddr *)(from != NULL ? from : &ignored), &len),
                     sizeof(number));
    return number;
}

static void number_send(int fd, uint32_t number)
{
    assert_int_equal(send(fd, &number, sizeof(number), 0), sizeof(number));
}

static void proxy_passes_everything_in_order(void **state)
{
    const char *const options[] = {"--delay-ms", "1,20", NULL};
    struct running running;
    struct sockaddr_in from = {0};
    char summary[256];

    (void)state;
    proxy_start(&running, options);
    for (uint32_t i = 0; i < 100; i++) {
        number_send(running.client, i);
    }
    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(number_receive(running.server, 2000, &from), i);
    }
    for (uint32_t i = 0; i < 10; i++) {
        assert_int_equal(
            sendto(running.server, &i, sizeof(i), 0, (struct sockaddr *)&from, sizeof(from)),
            sizeof(i));
        assert_int_equal(number_receive(running.client, 2000, NULL), i);
    }
    proxy_stop(summary, sizeof(summary), &running);
    assert_string_equal(summary, "clients 1 up 100/100 down 10/10 lost 0+0 duplicated 0 "
                                 "reordered 0 rebinds 0 overflowed 0\n");
}

/* Sends 400 numbers through a bad network; gives what arrived, in order of arrival. */
static size_t bad_network_run(int64_t *arrived, size_t arrived_max, const char *seed)
{
    const char *const options[] = {"--seed", seed,        "--loss", "0.2", "--dup",
                                   "0.1",    "--reorder", "0.2",    NULL};
    struct running running;
    char summary[256];
    size_t count = 0;
    int64_t number;

    proxy_start(&running, options);
    for (uint32_t i = 0; i < 400; i++) {
        number_send(running.client, i);
        usleep(200);
        /* Taken as they come: a socket buffer does not hold them all. */
        while (count < arrived_max && (number = number_receive(running.server, 0, NULL)) >= 0) {
            arrived[count++] = number;
        }
    }
    while (count < arrived_max && (number = number_receive(running.server, 300, NULL)) >= 0) {
        arrived[count++] = number;
    }
    proxy_stop(summary, sizeof(summary), &running);
    return count;
}

static size_t count_of(const int64_t *numbers, size_t count, int64_t number)
{
    size_t found = 0;

    for (size_t i = 0; i < count; i++) {
        found += numbers[i] == number;
    }
    return found;
}

static void proxy_does_what_the_seed_says(void **state)
{
    struct impair_plan plan = {
        .seed = 99, .loss_ppm = 200000, .duplicate_ppm = 100000, .reorder_ppm = 200000};
    int64_t arrived[900];
    size_t count = bad_network_run(arrived, 900, "99");
    size_t out_of_order = 0;

    (void)state;
    for (uint32_t i = 0; i < 400; i++) {
        struct impair_fate fate;

        impair_decide(&fate, &plan, 0, IMPAIR_UP, i);
        assert_int_equal(count_of(arrived, count, i), fate.copy_count);
    }
    for (size_t i = 1; i < count; i++) {
        out_of_order += arrived[i] < arrived[i - 1];
    }
    assert_true(out_of_order > 20);
}

static void proxy_rebinds_on_schedule(void **state)
{
    const char *const options[] = {"--rebind-after-ms", "100", NULL};
    struct running running;
    struct sockaddr_in first = {0};
    struct sockaddr_in second = {0};
    uint32_t late = 77;
    char summary[256];

    (void)state;
    proxy_start(&running, options);
    number_send(running.client, 1);
    assert_int_equal(number_receive(running.server, 2000, &first), 1);
    usleep(150 * 1000);
    number_send(running.client, 2);
    assert_int_equal(number_receive(running.server, 2000, &second), 2);
    assert_int_not_equal(first.sin_port, second.sin_port);
    /* The old binding is gone, the new one works. */
    sendto(running.server, &late, sizeof(late), 0, (struct sockaddr *)&first, sizeof(first));
    assert_int_equal(number_receive(running.client, 50, NULL), -1);
    proxy_stop(summary, sizeof(summary), &running);
    assert_non_null(strstr(summary, " rebinds 1 "));
}

static void proxy_keeps_clients_apart(void **state)
{
    const char *const options[] = {NULL};
    struct sockaddr_in address = {0};
    socklen_t len = sizeof(address);
    struct running running;
    char summary[256];

    (void)state;
    proxy_start(&running, options);
    assert_int_equal(getpeername(running.client, (struct sockaddr *)&address, &len), 0);
    for (uint32_t i = 0; i < 50; i++) {
        struct sockaddr_in from = {0};
        struct sockaddr_in unused;
        int client = udp_loopback(ntohs(address.sin_port), &unused);

        number_send(client, i);
        assert_int_equal(number_receive(running.server, 2000, &from), i);
        sendto(running.server, &i, sizeof(i), 0, (struct sockaddr *)&from, sizeof(from));
        assert_int_equal(number_receive(client, 2000, NULL), i);
        close(client);
    }
    proxy_stop(summary, sizeof(summary), &running);
    assert_non_null(strstr(summary, " up 50/50 down 50/50 "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decide_is_deterministic),
        cmocka_unit_test(decide_depends_on_seed_and_client),
        cmocka_unit_test(decide_keeps_the_rates),
        cmocka_unit_test(decide_extremes),
        cmocka_unit_test(parse_probability),
        cmocka_unit_test(proxy_passes_everything_in_order),
        cmocka_unit_test(proxy_does_what_the_seed_says),
        cmocka_unit_test(proxy_rebinds_on_schedule),
        cmocka_unit_test(proxy_keeps_clients_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
