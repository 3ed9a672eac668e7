/**
 * main.c - handfast-maf: a M2M Authentication Function for small deployments (docs/MAF.md).
 *
 * The main thread owns signals; one thread has the loop, one the store. Exit status: 0 done,
 * 1 failure, 2 options, keys or store.
 */
#include "keys.h"
#include "options.h"
#include "serve.h"

#include <certificates.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>

#define EXIT_USAGE 2
#define JOBS_MAX 16384

struct process {
    struct hf_options options;
    struct hf_store *store;
    struct hf_configuration *configuration;
    struct hf_worker *worker;
    struct hf_serve *serve;
    struct hf_keys keys;
    struct hf_certificates certificates;
    struct hf_loop *loop;
    pthread_t thread;
    sem_t opened;
    bool is_open;
    char error[HF_LOOP_ERROR_MAX];
    _Atomic bool is_waking;
    _Atomic bool has_loop;
};

/* ---- the log ------------------------------------------------------------------------------ */

/* One line, one write. What may come from a client is printed as it is only where it prints. */
static void log_line(const char *event, const char *text, void *arg)
{
    (void)arg;
    char line[1024];
    struct timespec now;
    struct tm utc;
    char at[32];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(at, sizeof(at), "%Y-%m-%dT%H:%M:%SZ", &utc);
    int len = snprintf(line, sizeof(line), "%s event=%s %.900s", at, event, text);
    for (int i = 0; i < len && i < (int)sizeof(line); i++)
        if ((unsigned char)line[i] < ' ' || (unsigned char)line[i] >= 0x7F)
            line[i] = '?';
    fprintf(stderr, "%s\n", line);
}

/* ---- the loop ----------------------------------------------------------------------------- */

static void drain(struct hf_loop *loop, void *arg)
{
    struct process *process = arg;
    atomic_store(&process->is_waking, false);
    hf_serve_drain(process->serve, loop);
}

/* On the store thread. A task that finds no room is made up for by the look each second. */
static void wake(void *arg)
{
    struct process *process = arg;
    if (atomic_load(&process->has_loop) && !atomic_exchange(&process->is_waking, true) &&
        !hf_loop_post(process->loop, drain, process))
        atomic_store(&process->is_waking, false);
}

static void handle_event(struct hf_loop *loop, const struct hf_event *event, void *arg)
{
    struct process *process = arg;
    hf_serve_event(process->serve, loop, event);
}

static void handle_second(struct hf_loop *loop, void *arg)
{
    struct process *process = arg;
    hf_serve_second(process->serve, loop);
    drain(loop, process);
}

static bool open_loop(struct process *process)
{
    const struct hf_options *options = &process->options;
    struct hf_loop_socket sockets[HF_LISTENS_MAX] = {0};
    struct hf_listener listener;
    struct hf_config engine;
    struct hf_loop_config config;
    struct hf_key_source source = hf_keys_source(&process->keys);
    hf_listener_init(&listener, HF_TRANSPORT_TLS);
    listener.extended_master_secret_needed = true; /* keys are exported: RFC 7627 5.4 */
    const struct hf_listener_authority authority = {.x509 = process->certificates.x509,
                                                    .trust = process->certificates.trust};
    listener.authorities = &authority;
    listener.authority_count = authority.x509 != NULL;
    hf_config_init(&engine);
    engine.associations_max = (uint32_t)options->associations_max;
    if (engine.handshakes_max > engine.associations_max)
        engine.handshakes_max = engine.associations_max;
    if (engine.handshakes_pressure > engine.handshakes_max)
        engine.handshakes_pressure = engine.handshakes_max;
    engine.listeners = &listener;
    engine.listener_count = 1;
    hf_loop_config_init(&config);
    for (uint32_t i = 0; i < options->listen_count; i++)
        sockets[i] = (struct hf_loop_socket){
            .address = options->listens[i], .transport = HF_TRANSPORT_TLS, .is_v6_only = true};
    config.engine = &engine;
    config.source = &source;
    config.sockets = sockets;
    config.socket_count = options->listen_count;
    config.connections_max = (uint32_t)options->associations_max;
    config.handlers =
        (struct hf_loop_handlers){.event = handle_event, .second = handle_second, .arg = process};
    return hf_loop_open(&process->loop, process->error, &config) == HF_OK;
}

static void *live(void *arg)
{
    struct process *process = arg;
    process->is_open = open_loop(process);
    sem_post(&process->opened);
    if (!process->is_open)
        return NULL;
    if (hf_loop_run(process->loop, process->error) != HF_OK) {
        log_line("loop_failed", process->error, NULL);
        kill(getpid(), SIGTERM);
    }
    return NULL;
}

static bool start_loop(struct process *process)
{
    sem_init(&process->opened, 0, 0);
    snprintf(process->error, sizeof(process->error), "no thread");
    if (pthread_create(&process->thread, NULL, live, process) == 0) {
        while (sem_wait(&process->opened) != 0)
            continue;
        if (!process->is_open)
            pthread_join(process->thread, NULL);
    }
    if (!process->is_open) {
        log_line("start_failed", process->error, NULL);
        return false;
    }
    atomic_store(&process->has_loop, true);
    for (uint32_t i = 0; i < process->options.listen_count; i++) {
        char text[100];
        char address[HF_ADDRESS_TEXT_MAX];
        struct hf_address bound = hf_loop_address(process->loop, i);
        snprintf(text, sizeof(text), "address=%s", hf_address_print(address, &bound));
        log_line("listening", text, NULL);
    }
    return true;
}

/* ---- keys again --------------------------------------------------------------------------- */

struct swap {
    struct process *process;
    struct hf_keyfile *keyfile;
    sem_t done;
};

static void swap_keys(struct hf_loop *loop, void *arg)
{
    (void)loop;
    struct swap *swap = arg;
    struct hf_keyfile *before = swap->process->keys.current;
    swap->process->keys.current = swap->keyfile;
    swap->keyfile = before;
    sem_post(&swap->done);
}

static void reload(struct process *process)
{
    char error[HF_KEYS_ERROR_MAX];
    struct swap swap = {.process = process};
    if (process->options.psk_file == NULL)
        return;
    if (!hf_keys_load(&swap.keyfile, error, process->options.psk_file)) {
        log_line("reload_failed", error, NULL);
        return;
    }
    sem_init(&swap.done, 0, 0);
    size_t count = hf_keyfile_count(swap.keyfile);
    if (hf_loop_post(process->loop, swap_keys, &swap))
        while (sem_wait(&swap.done) != 0)
            continue;
    hf_keyfile_close(swap.keyfile);
    sem_destroy(&swap.done);
    snprintf(error, sizeof(error), "keys=%zu", count);
    log_line("reloaded", error, NULL);
}

/* ---- the process -------------------------------------------------------------------------- */

static void protect_process(void)
{
    struct rlimit limit;
#ifndef HF_SANITIZED /* the leak check traces its own process */
    (void)prctl(PR_SET_DUMPABLE, 0);
#endif
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    (void)signal(SIGPIPE, SIG_IGN);
}

static void log_ready(struct process *process)
{
    char text[200];
    uint64_t clients = 0;
    uint64_t keys = 0;
    if (hf_store_begin(process->store)) {
        (void)!hf_store_count(&clients, process->store, HF_MAF_CLIENT_REGISTRATION);
        (void)!hf_store_count(&keys, process->store, HF_MAF_KEY_REGISTRATION);
        hf_store_abort(process->store);
    }
    snprintf(text, sizeof(text), "version=%s clients=%zu registrations=%llu keys=%llu",
             hf_version(),
             process->keys.current == NULL ? 0 : hf_keyfile_count(process->keys.current),
             (unsigned long long)clients, (unsigned long long)keys);
    log_line("ready", text, NULL);
}

static bool open_all(struct process *process)
{
    const struct hf_options *options = &process->options;
    char error[HF_STORE_ERROR_MAX + 64];
    _Static_assert(HF_CONFIGURATION_ERROR_MAX <= HF_STORE_ERROR_MAX, "one error fits the other");
    _Static_assert(HF_KEYS_ERROR_MAX <= HF_STORE_ERROR_MAX, "one error fits the other");
    const struct hf_certificate_files files = {
        .cert = options->cert,
        .key = options->key,
        .ca = options->client_ca,
        .crl = options->client_crl,
        .flavours = HF_FLAVOUR_DEVICE | HF_FLAVOUR_CSE_ID | HF_FLAVOUR_AE_ID | HF_FLAVOUR_NODE_ID,
    };
    _Static_assert(HF_CERTIFICATES_ERROR_MAX <= HF_STORE_ERROR_MAX, "one error fits the other");
    if ((options->psk_file != NULL &&
         !hf_keys_load(&process->keys.current, error, options->psk_file)) ||
        !hf_certificates_open(&process->certificates, error, &files) ||
        (options->client_config != NULL &&
         !hf_configuration_open(&process->configuration, error, options->client_config)) ||
        !hf_store_open(&process->store, error, options->store)) {
        log_line("start_failed", error, NULL);
        return false;
    }
    const struct hf_serve_config serve = {.connection_jobs_max = 1024,
                                          .request_s_max = 30,
                                          .is_verbose = options->is_verbose,
                                          .log = log_line};
    process->serve = hf_serve_open(&serve);
    log_ready(process);
    struct hf_worker_config worker = {.store = process->store,
                                      .policy = options->policy,
                                      .jobs_max = JOBS_MAX,
                                      .wake = wake,
                                      .log = log_line,
                                      .arg = process};
    worker.policy.configuration = process->configuration;
    process->worker = hf_worker_open(&worker);
    if (process->serve == NULL || process->worker == NULL) {
        log_line("start_failed", "no memory or thread", NULL);
        return false;
    }
    hf_serve_use(process->serve, process->worker);
    return true;
}

static void close_all(struct process *process)
{
    atomic_store(&process->has_loop, false);
    hf_worker_close(process->worker);
    hf_loop_close(process->loop);
    hf_serve_close(process->serve);
    hf_store_close(process->store);
    hf_configuration_close(process->configuration);
    hf_keyfile_close(process->keys.current);
    hf_certificates_close(&process->certificates);
}

static void serve(struct process *process, const sigset_t *signals)
{
    int number = 0;
    while (sigwait(signals, &number) != 0 || number == SIGHUP)
        reload(process);
    log_line("stopping", strsignal(number), NULL);
    hf_loop_stop(process->loop);
    pthread_join(process->thread, NULL);
    atomic_store(&process->has_loop, false);
}

int main(int argc, char **argv)
{
    static struct process process;
    char error[HF_OPTIONS_ERROR_MAX];
    sigset_t signals;
    if (!hf_options_parse(&process.options, error, argc, argv)) {
        fprintf(stderr, "handfast-maf: %s\nTry: handfast-maf --help\n", error);
        return EXIT_USAGE;
    }
    if (process.options.is_help)
        hf_options_help();
    if (process.options.is_version)
        printf("handfast-maf %s\n", hf_version());
    if (process.options.is_help || process.options.is_version)
        return EXIT_SUCCESS;
    protect_process();
    hf_maf_resource_init();
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    int status = EXIT_USAGE;
    if (open_all(&process)) {
        status = start_loop(&process) ? EXIT_SUCCESS : EXIT_FAILURE;
        if (status == EXIT_SUCCESS)
            serve(&process, &signals);
    }
    close_all(&process);
    if (status == EXIT_SUCCESS)
        log_line("stopped", "all is written", NULL);
    return status;
}
