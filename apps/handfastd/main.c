/**
 * main.c - handfastd: starts the shards, waits for signals, stops in bounded time.
 *
 * The main thread serves nobody: it owns signals, the key file and the order in which everything
 * begins and ends. Exit status: 0 done, 1 failure at run time or start, 2 options or key file.
 */
#include "announce.h"
#include "audit.h"
#include "checkpoint.h"
#include "clock.h"
#include "control.h"
#include "daemon.h"
#include "drain.h"
#include "expiry.h"
#include "handover.h"
#include "keylog.h"
#include "metrics.h"
#include "notify.h"
#include "options.h"
#include "pseudonym.h"
#include "respond.h"
#include "restore.h"
#include "sandbox.h"
#include "signers.h"
#include "starter.h"
#include "takeover.h"

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
#define DRAIN_LOOK_MS 200

/* The daemon, and what nobody but the main thread deals with. */
struct process {
    struct hf_daemon daemon;
    struct hf_metrics *metrics;
    struct hf_control *control;
    struct hf_sandbox sandbox;
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
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); /* every thread is still to come */
    (void)signal(SIGPIPE, SIG_IGN);
}

/* Blocked before any thread starts, so that none of them is ever interrupted. */
static int open_signals(void)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        sigaddset(&set, signals[i]);
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

static bool open_keylog(struct hf_daemon *daemon)
{
    const char *path = daemon->started.keylog_file;
    if (path[0] == '\0')
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
static bool start_shards(struct hf_daemon *daemon)
{
    struct hf_shard_shared *shared = &daemon->shared;
    char error[HF_LOOP_ERROR_MAX];
    memcpy(shared->sockets, daemon->started.sockets, sizeof(shared->sockets));
    shared->shards = daemon->shards;
    for (uint32_t i = 0; i < daemon->started.shard_count; i++) {
        if (!hf_shard_start(&daemon->shards[i], error, shared, i)) {
            hf_log_message(HF_LOG_ERROR, "start_failed", "%s", error);
            return false;
        }
        daemon->shard_count++;
        for (uint32_t s = 0; i == 0 && s < daemon->started.socket_count; s++)
            shared->sockets[s].address = hf_loop_address(hf_shard_loop(daemon->shards[0]), s);
    }
    return true;
}

static bool start_metrics(struct process *process)
{
    struct hf_log_line line;
    struct hf_address bound;
    char error[HF_METRICS_ERROR_MAX];
    if (!process->daemon.started.has_metrics)
        return true;
    if (process->daemon.started.metrics.port == 0)
        process->daemon.started.metrics.port = hf_takeover_metrics(process->daemon.shared.takeover);
    if (!hf_metrics_open(&process->metrics, error, &bound, &process->daemon)) {
        hf_log_message(HF_LOG_ERROR, "start_failed", "%s", error);
        return false;
    }
    hf_log_begin(&line, HF_LOG_NOTICE, HF_LOG_SLOT_UNLIMITED, "listening", NULL);
    process->daemon.metrics_port = bound.port;
    hf_log_text(&line, "transport", "metrics");
    hf_log_address(&line, "address", &bound);
    hf_log_end(&line);
    return true;
}

static bool start_control(struct process *process)
{
    char error[HF_CONTROL_ERROR_MAX];
    struct hf_log_line line;
    const char *path = process->daemon.started.control_socket;
    if (path[0] == '\0')
        return true;
    if (!hf_control_open(&process->control, error, &process->daemon, &process->sandbox)) {
        hf_log_message(HF_LOG_ERROR, "start_failed", "%s", error);
        return false;
    }
    hf_log_begin(&line, HF_LOG_NOTICE, HF_LOG_SLOT_UNLIMITED, "listening", NULL);
    hf_log_text(&line, "transport", "control");
    hf_log_text(&line, "address", path);
    hf_log_end(&line);
    return true;
}

static bool start_handover(struct process *process)
{
    char error[HF_HANDOVER_ERROR_MAX];
    struct hf_daemon *daemon = &process->daemon;
    if (daemon->started.takeover_socket[0] == '\0' ||
        hf_handover_open(&daemon->handover, error, daemon, &process->sandbox,
                         daemon->shared.takeover, hf_control_descriptor(process->control)))
        return true;
    hf_log_message(HF_LOG_ERROR, "start_failed", "%s", error);
    return false;
}

/* From here on nobody else serves. */
static bool take_over(struct hf_daemon *daemon)
{
    char error[HF_TAKEOVER_ERROR_MAX];
    if (!hf_takeover_run(daemon->shared.takeover, error, daemon)) {
        hf_log_message(HF_LOG_ERROR, "start_failed", "%s", error);
        return false;
    }
    hf_restore_run(daemon->restore, daemon);
    if (daemon->shared.takeover != NULL || daemon->restore != NULL)
        hf_takeover_end_gone(daemon);
    hf_restore_close(daemon->restore);
    daemon->restore = NULL;
    daemon->is_path_ours = true;
    return true;
}

/* Everything that needs a privilege comes before hf_sandbox_drop(). */
static bool start(struct process *process)
{
    struct hf_daemon *daemon = &process->daemon;
    struct hf_shard_shared *shared = &daemon->shared;
    char error[HF_SANDBOX_ERROR_MAX];
    shared->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    daemon->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (shared->end_fd < 0 || daemon->wake_fd < 0) {
        hf_log_message(HF_LOG_ERROR, "start_failed", "%s", strerror(errno));
        return false;
    }
    hf_respond_init();
    if (!hf_maf_start(shared->maf))
        return false;
    hf_job_cache((uint32_t)daemon->started.chain_cache_max);
    if (!open_keylog(daemon) || !start_shards(daemon))
        return false;
    daemon->are_shards_there = true;
    hf_announce_io(daemon);
    for (uint32_t i = 0; i < daemon->started.socket_count; i++)
        hf_announce_listener(daemon, i);
    hf_daemon_log_dialers(daemon);
    if (!hf_checkpoint_open(&daemon->checkpoint, daemon) || !start_metrics(process) ||
        !start_control(process) || !start_handover(process))
        return false;
    if (!hf_sandbox_drop(&process->sandbox, error, &daemon->started) ||
        !hf_sandbox_seccomp(error, &daemon->started)) {
        hf_log_message(HF_LOG_ERROR, "start_failed", "%s", error);
        return false;
    }
    if (!take_over(daemon))
        return false;
    hf_maf_serve(shared->maf);
    for (uint32_t i = 0; i < daemon->shard_count; i++)
        hf_shard_serve(daemon->shards[i]);
    hf_takeover_settle(shared->takeover, daemon);
    hf_takeover_close(shared->takeover);
    shared->takeover = NULL;
    hf_checkpoint_begin(daemon->checkpoint);
    daemon->state = HF_DAEMON_SERVING;
    return true;
}

/* ---- serve and stop ----------------------------------------------------------------------- */

static void reload_on_signal(struct hf_daemon *daemon)
{
    static struct hf_daemon_reload reload;
    reload.is_forced = false;
    reload.who = "signal";
    (void)hf_daemon_reload(daemon, &reload);
}

static void stop_shards(struct hf_daemon *daemon)
{
    daemon->state = HF_DAEMON_STOPPING;
    if (daemon->is_handed_over)
        return; /* the loops are at rest already */
    hf_notify_send("STOPPING=1");
    for (uint32_t i = 0; i < daemon->shard_count; i++)
        hf_shard_stop(daemon->shards[i]);
}

/* One who is told to stop: the first time, stops; the second time, at once. The same signal within
 * SIGNAL_ECHO_MS is one request: timeout(1) and shells send it to the process and to its group. */
struct stop {
    bool is_begun;
    uint32_t signal;
    uint64_t begun_ms;
};

static void take_stop_signal(struct hf_daemon *daemon, struct stop *stop, uint32_t number)
{
    if (!stop->is_begun) {
        *stop = (struct stop){true, number, hf_clock_us() / 1000};
        hf_log_message(HF_LOG_NOTICE, "stopping", "%s: closing associations",
                       strsignal((int)number));
        stop_shards(daemon);
    } else if (number != stop->signal || hf_clock_us() / 1000 - stop->begun_ms > SIGNAL_ECHO_MS) {
        hf_log_message(HF_LOG_WARNING, "killed", "second signal: ending at once");
        hf_log_close();
        _exit(EXIT_FAILURE);
    }
}

/* Returns when every loop has ended: because of a signal, or because one failed. */
static void serve(struct process *process)
{
    struct hf_daemon *daemon = &process->daemon;
    uint32_t ended = 0;
    struct stop stop = {0};
    while (ended < daemon->shard_count) {
        struct pollfd fds[3] = {{process->signal_fd, POLLIN, 0},
                                {daemon->shared.end_fd, POLLIN, 0},
                                {daemon->wake_fd, POLLIN, 0}};
        struct signalfd_siginfo info;
        eventfd_t count = 0;
        bool is_draining = daemon->state == HF_DAEMON_DRAINING;
        if (poll(fds, 3, is_draining ? DRAIN_LOOK_MS : -1) < 0 && errno != EINTR)
            abort();
        (void)eventfd_read(daemon->wake_fd, &count);
        if (is_draining && !stop.is_begun && hf_drain_is_over(daemon)) {
            hf_log_message(HF_LOG_NOTICE, "stopping", "drained: closing associations");
            stop.is_begun = true;
            stop_shards(daemon);
        }
        if (eventfd_read(daemon->shared.end_fd, &count) == 0) {
            ended += (uint32_t)count;
            if (!stop.is_begun)
                stop_shards(daemon);
            stop.is_begun = true;
        }
        if (read(process->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
            continue;
        if (info.ssi_signo == SIGHUP)
            reload_on_signal(daemon);
        else if (info.ssi_signo == SIGUSR1 || info.ssi_signo == SIGUSR2)
            hf_log_message(HF_LOG_NOTICE, "signal_ignored", "no meaning here; SIGHUP reloads");
        else
            take_stop_signal(daemon, &stop, info.ssi_signo);
    }
}

static void close_keys(struct hf_daemon *daemon)
{
    hf_maf_close(daemon->shared.maf);
    daemon->shared.maf = NULL;
    hf_signers_close(); /* they answer to loops that are still there */
    for (uint32_t i = 0; i < daemon->started.authority_count; i++)
        hf_authority_close(daemon->shared.authorities[i]);
    memset(daemon->shared.authorities, 0, sizeof(daemon->shared.authorities));
}

/* In the opposite order of start; what was not started is NULL or none. False if a shard failed. */
static bool finish(struct process *process)
{
    struct hf_daemon *daemon = &process->daemon;
    bool is_good = true;
    hf_handover_stop(daemon->handover); /* nothing of it goes on behind its back */
    hf_control_close(process->control);
    hf_handover_close(daemon->handover);
    hf_metrics_close(process->metrics);
    hf_checkpoint_close(daemon->checkpoint);
    close_keys(daemon); /* no loop runs any more, but a store's thread still knows the shards */
    for (uint32_t i = 0; i < daemon->shard_count; i++)
        is_good &= hf_shard_close(daemon->shards[i]);
    if (daemon->shared.keylog_fd >= 0)
        close(daemon->shared.keylog_fd);
    if (daemon->shared.end_fd >= 0)
        close(daemon->shared.end_fd);
    if (daemon->wake_fd >= 0)
        close(daemon->wake_fd);
    hf_sessions_close(&daemon->shared.sessions);
    return is_good;
}

/* Called by a key store's thread; before we serve nobody waits for an answer. */
static void wake_shard(uint32_t shard_index, void *arg)
{
    struct hf_daemon *daemon = arg;
    if (daemon->state != HF_DAEMON_STARTING)
        hf_shard_wake(daemon->shards[shard_index]);
}

/* Whoever did it wrote who it was beside the store: handfastctl psk. */
static void audit_store(const struct hf_daemon *daemon, const char *what, uint32_t authority_index,
                        uint64_t count)
{
    struct hf_log_line line;
    hf_audit_begin(&line, "keys_changed");
    hf_log_text(&line, "by", "key-store");
    hf_log_text(&line, "authority", daemon->started.authorities[authority_index].name);
    hf_log_number(&line, what, count);
    hf_audit_end(&line);
}

/* Also while we take over: what goes then is found among those that have come. */
static bool can_end(const struct hf_daemon *daemon)
{
    return daemon->are_shards_there && daemon->state != HF_DAEMON_STOPPING;
}

static void end_retired(const uint64_t *contexts, size_t count, uint32_t authority_index, void *arg)
{
    struct hf_daemon *daemon = arg;
    audit_store(daemon, "removed_or_changed", authority_index, count);
    for (uint32_t i = 0; can_end(daemon) && i < daemon->shard_count; i++)
        (void)hf_shard_end_keys(daemon->shards[i], contexts, count);
}

static void end_unkept(const uint64_t *contexts, size_t count, uint64_t newest,
                       uint32_t authority_index, void *arg)
{
    struct hf_daemon *daemon = arg;
    audit_store(daemon, "replaced_by", authority_index, count);
    for (uint32_t i = 0; can_end(daemon) && i < daemon->shard_count; i++)
        (void)hf_shard_end_unkept(daemon->shards[i], authority_index, newest, contexts, count);
}

static const uint8_t *context_key(const char *name, void *arg)
{
    const struct hf_daemon *daemon = arg;
    return daemon->restore != NULL ? hf_restore_context_key(daemon->restore, name)
                                   : hf_takeover_context_key(daemon->shared.takeover, name);
}

static void log_maf(bool is_error, const char *event, const char *text, void *arg)
{
    (void)arg;
    hf_log_message(is_error ? HF_LOG_ERROR : HF_LOG_NOTICE, event, "%s", text);
}

static bool open_maf(struct hf_daemon *daemon)
{
    char error[HF_MAF_ERROR_MAX];
    const struct hf_maf_config config = {
        .mafs = &daemon->started.mafs,
        .shard_count = (uint32_t)daemon->started.shard_count,
        .questions_max = 65536,
        .wake = wake_shard,
        .log = log_maf,
        .arg = daemon,
    };
    if (daemon->started.mafs.count == 0 || hf_maf_open(&daemon->shared.maf, error, &config))
        return true;
    hf_log_message(HF_LOG_ERROR, "start_failed", "%s", error);
    return false;
}

static bool open_keys(struct process *process)
{
    struct hf_daemon *daemon = &process->daemon;
    const struct hf_authority_embedder embedder = {wake_shard, end_retired, end_unkept, context_key,
                                                   daemon};
    for (uint32_t i = 0; i < daemon->started.authority_count; i++) {
        char error[HF_KEYSTORE_ERROR_MAX];
        if (!hf_authority_open(
                &daemon->shared.authorities[i], error, &daemon->started.authorities[i], i,
                (uint32_t)daemon->started.shard_count, &process->sandbox, &embedder)) {
            hf_log_message(HF_LOG_ERROR, "start_failed", "%s", error);
            return false;
        }
    }
    if (!open_maf(daemon))
        return false;
    hf_daemon_serve(&daemon->started, daemon->shared.authorities, false);
    daemon->config = daemon->started;
    return true;
}

/* Before keys: the contexts that associations know them by are to stay what they are. */
static bool find_predecessor(struct hf_daemon *daemon)
{
    char error[HF_TAKEOVER_ERROR_MAX];
    const struct hf_daemon_config *config = &daemon->started;
    daemon->is_path_ours = !config->is_takeover;
    daemon->restore = hf_restore_open(config);
    if (!config->is_takeover || config->action != HF_OPTIONS_RUN ||
        hf_takeover_open(&daemon->shared.takeover, error, config))
        return true;
    hf_log_message(HF_LOG_ERROR, "start_failed", "%s", error);
    return false;
}

static bool open_sessions(struct hf_daemon *daemon)
{
    char error[HF_SESSIONS_ERROR_MAX];
    if (hf_sessions_open(&daemon->shared.sessions, error, &daemon->started)) {
        if (daemon->started.shared_secrets[0] == '\0') /* a file's are right anyway */
            hf_takeover_secrets(&daemon->shared.sessions.secrets, daemon->shared.takeover);
        return true;
    }
    hf_log_message(HF_LOG_ERROR, "start_failed", "%s", error);
    return false;
}

/* What only the credentials themselves can tell: the engine's own judgement. */
static bool check_served(const struct hf_daemon *daemon)
{
    struct hf_config engine;
    struct hf_quota quotas[HF_QUOTAS_MAX];
    const char *why = "";
    hf_daemon_config_engine(&engine, quotas, &daemon->started, 0);
    if (hf_config_check(&why, &engine) == HF_OK)
        return true;
    hf_log_message(HF_LOG_ERROR, "start_failed", "certificates: %s", why);
    return false;
}

static int check(const struct hf_daemon *daemon)
{
    uint64_t days = daemon->started.warn_expiry_days;
    hf_log_message(HF_LOG_NOTICE, "checked", "options, configuration and keys are good: %zu keys",
                   (size_t)hf_announce_keys(daemon, false));
    return hf_expiry_warn(daemon, days) && days > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int serve_to_the_end(struct process *process)
{
    bool is_good = start(process);
    if (is_good) {
        hf_announce_ready(&process->daemon);
        hf_notify_send("READY=1");
        serve(process);
    }
    is_good &= finish(process);
    if (is_good && process->daemon.is_handed_over)
        hf_log_message(HF_LOG_NOTICE, "stopped", "all associations go on in the new process");
    else if (is_good)
        hf_log_message(HF_LOG_NOTICE, "stopped", "all associations are closed");
    return is_good ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int run(struct process *process)
{
    struct hf_daemon *daemon = &process->daemon;
    char error[HF_SANDBOX_ERROR_MAX];
    int status = EXIT_USAGE;
    if (!hf_sandbox_find(&process->sandbox, error, &daemon->started)) {
        hf_log_message(HF_LOG_ERROR, "start_failed", "%s", error);
        return EXIT_USAGE;
    }
    if (find_predecessor(daemon) && open_keys(process) && open_sessions(daemon) &&
        check_served(daemon)) {
        if (daemon->started.action == HF_OPTIONS_CHECK) {
            status = check(daemon);
        } else if (!hf_audit_open(daemon->started.audit_file)) {
            hf_log_message(HF_LOG_ERROR, "start_failed", "audit log: %s: %s",
                           daemon->started.audit_file, strerror(errno));
            status = EXIT_FAILURE;
        } else {
            status = serve_to_the_end(process);
        }
    }
    hf_takeover_close(daemon->shared.takeover);
    hf_restore_close(daemon->restore);
    hf_starter_close(daemon->starter);
    close_keys(daemon);
    hf_sessions_close(&daemon->shared.sessions);
    hf_audit_close();
    return status;
}

int main(int argc, char **argv)
{
    static struct process process;
    struct hf_daemon *daemon = &process.daemon;
    struct hf_daemon_config *config = &daemon->started;
    char error[HF_OPTIONS_ERROR_MAX];
    hf_maf_resource_init(); /* keys pass through JSON */
    daemon->argc = argc;
    daemon->argv = argv;
    daemon->shared.keylog_fd = -1;
    daemon->shared.end_fd = -1;
    daemon->wake_fd = -1;
    daemon->shared.config = &daemon->started;
    daemon->reloaded_s = daemon->start_s = (int64_t)time(NULL);
    daemon->is_reload_good = true;
    pthread_mutex_init(&daemon->reload_lock, NULL);
    if (!hf_options_parse(config, error, argc, argv)) {
        const char *file = config->config_file;
        bool is_of_file = file[0] != '\0' && strncmp(error, file, strlen(file)) == 0;
        fprintf(stderr, "handfastd: %s\n%s", error, is_of_file ? "" : "Try: handfastd --help\n");
        return EXIT_USAGE;
    }
    if (config->action == HF_OPTIONS_HELP) {
        hf_options_help();
        return EXIT_SUCCESS;
    }
    if (config->action == HF_OPTIONS_VERSION) {
        print_version();
        return EXIT_SUCCESS;
    }
    daemon->config = *config;
    if (config->action == HF_OPTIONS_RUN && config->takeover_socket[0] != '\0')
        daemon->starter = hf_starter_open(argc, argv); /* it keeps what we give up now */
    protect_process();
    process.signal_fd = open_signals();
    if (process.signal_fd < 0 || !hf_pseudonym_salt(config->log_salt) ||
        !hf_log_open(config->log_level, config->log_format, (uint32_t)config->log_rate)) {
        fprintf(stderr, "handfastd: cannot start: %s\n", strerror(errno));
        return EXIT_FAILURE;
    }
    hf_log_tune(config->log_level, (uint32_t)config->log_rate, config->log_identities);
    int status = run(&process);
    hf_log_close();
    return status;
}
