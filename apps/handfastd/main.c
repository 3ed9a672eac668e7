/**
 * main.c - handfastd: starts the shards, waits for signals, stops in bounded time.
 *
 * The main thread serves nobody: it owns signals, the key file and the order in which everything
 * begins and ends. Exit status: 0 done, 1 failure at run time or start, 2 options or key file.
 */
#include "keylog.h"
#include "metrics.h"
#include "notify.h"
#include "respond.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#define EXIT_USAGE 2
#define SIGNAL_ECHO_MS 100

struct daemon {
    struct hf_options options;
    struct hf_shard_shared shared;
    struct hf_metrics *metrics;
    struct hf_shard *shards[HF_SHARDS_MAX];
    uint32_t shard_count; /* started */
    int signal_fd;
};

/* ---- the process -------------------------------------------------------------------------- */

static void raise_limit(__rlimit_resource_t resource)
{
    struct rlimit limit;
    if (getrlimit(resource, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(resource, &limit);
    }
}

/* Keys live in this process: no core file, no ptrace by the same user. */
static void protect_process(void)
{
#ifndef HF_SANITIZED /* the leak check traces its own process */
    (void)prctl(PR_SET_DUMPABLE, 0);
#endif
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    raise_limit(RLIMIT_NOFILE);
    raise_limit(RLIMIT_MEMLOCK);
    (void)signal(SIGPIPE, SIG_IGN);
}

/* Blocked before any thread starts, so that none of them is ever interrupted. */
static int open_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0)
        return -1;
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void print_version(void)
{
    printf("handfastd %s\nliburing %s\nBoringSSL %s\nallocator %s\n", hf_version(),
           HF_LIBURING_VERSION, HF_BORINGSSL_ORIGIN, HF_ALLOCATOR);
}

/* ---- start -------------------------------------------------------------------------------- */

static bool open_keylog(struct daemon *daemon)
{
    const char *path = daemon->options.keylog_file;
    if (path == NULL)
        return true;
    daemon->shared.keylog_fd = hf_keylog_open(path);
    if (daemon->shared.keylog_fd < 0) {
        hf_log_message(HF_LOG_ERROR, "start_failed", "--keylog: %s: %s", path, strerror(errno));
        return false;
    }
    hf_log_message(HF_LOG_WARNING, "keylog_enabled",
                   "KEY LOG IS ON: every association's secrets go to %s; whoever reads it can read "
                   "and forge all traffic. For debugging only.",
                   path);
    return true;
}

/* The first shard settles the ports the kernel chooses; the others share them. */
static bool start_shards(struct daemon *daemon)
{
    struct hf_shard_shared *shared = &daemon->shared;
    char error[HF_LOOP_ERROR_MAX];
    memcpy(shared->sockets, daemon->options.sockets, sizeof(shared->sockets));
    for (uint32_t i = 0; i < daemon->options.shard_count; i++) {
        if (!hf_shard_start(&daemon->shards[i], error, shared, i)) {
            hf_log_message(HF_LOG_ERROR, "start_failed", "%s", error);
            return false;
        }
        daemon->shard_count++;
        if (i > 0)
            continue;
        for (uint32_t s = 0; s < daemon->options.socket_count; s++)
            shared->sockets[s].address = hf_loop_address(hf_shard_loop(daemon->shards[0]), s);
    }
    return true;
}

static void log_listener(const struct hf_listener *listener, const struct hf_address *address)
{
    struct hf_log_line line;
    char suites[HF_SUITES_MAX * 48] = "";
    size_t used = 0;
    for (uint8_t i = 0; i < listener->suite_count && used < sizeof(suites); i++)
        used += (size_t)snprintf(suites + used, sizeof(suites) - used, "%s%s", i > 0 ? "," : "",
                                 hf_suite_name(listener->suites[i]));
    hf_log_begin(&line, HF_LOG_NOTICE, HF_LOG_SLOT_UNLIMITED, "listening", NULL);
    hf_log_text(&line, "transport", listener->transport == HF_TRANSPORT_TLS ? "tls" : "dtls");
    hf_log_address(&line, "address", address);
    hf_log_text(&line, "reference_point", hf_reference_point_name(listener->reference_point));
    hf_log_text(&line, "suites", suites);
    hf_log_end(&line);
}

static bool start_metrics(struct daemon *daemon)
{
    struct hf_log_line line;
    struct hf_address bound;
    char error[HF_METRICS_ERROR_MAX];
    if (!daemon->options.has_metrics)
        return true;
    if (!hf_metrics_open(&daemon->metrics, error, &bound, &daemon->options.metrics, daemon->shards,
                         daemon->shard_count, daemon->shared.keystore)) {
        hf_log_message(HF_LOG_ERROR, "start_failed", "%s", error);
        return false;
    }
    hf_log_begin(&line, HF_LOG_NOTICE, HF_LOG_SLOT_UNLIMITED, "listening", NULL);
    hf_log_text(&line, "transport", "metrics");
    hf_log_address(&line, "address", &bound);
    hf_log_end(&line);
    return true;
}

static void log_ready(const struct daemon *daemon)
{
    struct hf_log_line line;
    struct hf_keystore_counters keys;
    hf_keystore_counters_get(&keys, daemon->shared.keystore);
    if (keys.keys == 0)
        hf_log_message(HF_LOG_WARNING, "no_keys", "%s holds no key: every handshake will fail",
                       daemon->options.psk_file);
    hf_log_begin(&line, HF_LOG_NOTICE, HF_LOG_SLOT_UNLIMITED, "ready", NULL);
    hf_log_text(&line, "version", hf_version());
    hf_log_number(&line, "shards", daemon->shard_count);
    hf_log_number(&line, "keys", keys.keys);
    hf_log_text(&line, "respond", hf_options_respond_name(daemon->options.respond));
    hf_log_end(&line);
}

static bool start(struct daemon *daemon)
{
    struct hf_shard_shared *shared = &daemon->shared;
    shared->options = &daemon->options;
    shared->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (shared->end_fd < 0 || getrandom(shared->cookie_secret, sizeof(shared->cookie_secret), 0) !=
                                  (ssize_t)sizeof(shared->cookie_secret)) {
        hf_log_message(HF_LOG_ERROR, "start_failed", "%s", strerror(errno));
        return false;
    }
    hf_respond_init();
    if (!open_keylog(daemon) || !start_shards(daemon))
        return false;
    for (uint32_t i = 0; i < daemon->options.socket_count; i++)
        log_listener(&daemon->options.listeners[i], &shared->sockets[i].address);
    if (!start_metrics(daemon))
        return false;
    for (uint32_t i = 0; i < daemon->shard_count; i++)
        hf_shard_serve(daemon->shards[i]);
    return true;
}

/* ---- serve and stop ----------------------------------------------------------------------- */

static void reload_keys(struct daemon *daemon)
{
    char error[HF_KEYSTORE_ERROR_MAX];
    if (!hf_keystore_reload(daemon->shared.keystore, error)) {
        hf_log_message(HF_LOG_ERROR, "reload_failed", "%s; the keys read before stay in use",
                       error);
        return;
    }
    struct hf_log_line line;
    struct hf_keystore_counters keys;
    hf_keystore_counters_get(&keys, daemon->shared.keystore);
    hf_log_begin(&line, HF_LOG_NOTICE, HF_LOG_SLOT_UNLIMITED, "reloaded", NULL);
    hf_log_number(&line, "keys", keys.keys);
    hf_log_end(&line);
}

static void stop_shards(struct daemon *daemon)
{
    hf_notify_send("STOPPING=1");
    for (uint32_t i = 0; i < daemon->shard_count; i++)
        hf_shard_stop(daemon->shards[i]);
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* One who is told to stop: the first time, stops; the second time, at once. The same signal within
 * SIGNAL_ECHO_MS is one request: timeout(1) and shells send it to the process and to its group. */
struct stop {
    bool is_begun;
    uint32_t signal;
    uint64_t begun_ms;
};

static void take_stop_signal(struct daemon *daemon, struct stop *stop, uint32_t number)
{
    if (!stop->is_begun) {
        *stop = (struct stop){true, number, now_ms()};
        hf_log_message(HF_LOG_NOTICE, "stopping", "%s: closing associations",
                       strsignal((int)number));
        stop_shards(daemon);
    } else if (number != stop->signal || now_ms() - stop->begun_ms > SIGNAL_ECHO_MS) {
        hf_log_message(HF_LOG_WARNING, "killed", "second signal: ending at once");
        hf_log_close();
        _exit(EXIT_FAILURE);
    }
}

/* Returns when every loop has ended: because of a signal, or because one failed. */
static void serve(struct daemon *daemon)
{
    uint32_t ended = 0;
    struct stop stop = {0};
    while (ended < daemon->shard_count) {
        struct pollfd fds[2] = {{daemon->signal_fd, POLLIN, 0}, {daemon->shared.end_fd, POLLIN, 0}};
        struct signalfd_siginfo info;
        eventfd_t count = 0;
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            abort();
        if (eventfd_read(daemon->shared.end_fd, &count) == 0) {
            ended += (uint32_t)count;
            if (!stop.is_begun)
                stop_shards(daemon);
            stop.is_begun = true;
        }
        if (read(daemon->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
            continue;
        if (info.ssi_signo == SIGHUP)
            reload_keys(daemon);
        else
            take_stop_signal(daemon, &stop, info.ssi_signo);
    }
}

/* In the opposite order of start; what was not started is NULL or none. False if a shard failed. */
static bool finish(struct daemon *daemon)
{
    bool is_good = true;
    hf_metrics_close(daemon->metrics);
    for (uint32_t i = 0; i < daemon->shard_count; i++)
        is_good &= hf_shard_close(daemon->shards[i]);
    if (daemon->shared.keylog_fd >= 0)
        close(daemon->shared.keylog_fd);
    if (daemon->shared.end_fd >= 0)
        close(daemon->shared.end_fd);
    explicit_bzero(daemon->shared.cookie_secret, sizeof(daemon->shared.cookie_secret));
    return is_good;
}

static int run(struct daemon *daemon)
{
    char error[HF_KEYSTORE_ERROR_MAX];
    const struct hf_options *options = &daemon->options;
    if (!hf_keystore_open(&daemon->shared.keystore, error, options->psk_file,
                          (uint32_t)options->shard_count)) {
        hf_log_message(HF_LOG_ERROR, "start_failed", "%s", error);
        return EXIT_USAGE;
    }
    if (options->action == HF_OPTIONS_CHECK) {
        struct hf_keystore_counters keys;
        hf_keystore_counters_get(&keys, daemon->shared.keystore);
        hf_log_message(HF_LOG_NOTICE, "checked", "options and key file are good: %zu keys",
                       (size_t)keys.keys);
        hf_keystore_close(daemon->shared.keystore);
        return EXIT_SUCCESS;
    }
    bool is_good = start(daemon);
    if (is_good) {
        log_ready(daemon);
        hf_notify_send("READY=1");
        serve(daemon);
    }
    is_good &= finish(daemon);
    hf_keystore_close(daemon->shared.keystore);
    if (is_good)
        hf_log_message(HF_LOG_NOTICE, "stopped", "all associations are closed");
    return is_good ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    static struct daemon daemon;
    char error[HF_OPTIONS_ERROR_MAX];
    daemon.shared.keylog_fd = -1;
    daemon.shared.end_fd = -1;
    if (!hf_options_parse(&daemon.options, error, argc, argv)) {
        fprintf(stderr, "handfastd: %s\nTry: handfastd --help\n", error);
        return EXIT_USAGE;
    }
    if (daemon.options.action == HF_OPTIONS_HELP) {
        hf_options_help();
        return EXIT_SUCCESS;
    }
    if (daemon.options.action == HF_OPTIONS_VERSION) {
        print_version();
        return EXIT_SUCCESS;
    }
    protect_process();
    daemon.signal_fd = open_signals();
    if (daemon.signal_fd < 0 || !hf_log_open(daemon.options.log_level, daemon.options.log_format,
                                             (uint32_t)daemon.options.log_rate)) {
        fprintf(stderr, "handfastd: cannot start: %s\n", strerror(errno));
        return EXIT_FAILURE;
    }
    int status = run(&daemon);
    hf_log_close();
    return status;
}
