/**
 * keystore_thread.c - the store thread: takes what the shards ask, a batch at a time, to the
 * reading process and brings the answers back; has that process started, watched, replaced.
 */
#include "keystore_private.h"

#include "crypto.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SLICE_MS 20    /* between looks whether the process is still there */
#define EARLY_MS 60000 /* one that dies before this died early */
#define FIRST 1
#define POLL_PATIENCE 10 /* a poll may compare two generations of a large store */

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void say(const struct hf_keystore_service *service, bool is_error, const char *event,
                const char *text)
{
    if (service->config.log != NULL)
        service->config.log(is_error, event, text, service->config.arg);
}

/* Said once as long as it stays the same: a damaged store is asked again and again. */
static void say_error(struct hf_keystore_service *service, const char *text)
{
    size_t len = strnlen(text, sizeof(service->error) - 1);
    if (strlen(service->error) == len && hf_bytes_equal_public(service->error, text, len))
        return;
    snprintf(service->error, sizeof(service->error), "%s", text);
    say(service, true, "keystore_damaged", service->error);
}

/* What the other process wrote, as a line that ends. */
static void say_shared_error(struct hf_keystore_service *service)
{
    char text[HF_KEYDB_ERROR_MAX];
    memcpy(text, service->shared->error, sizeof(text));
    text[sizeof(text) - 1] = '\0';
    if (text[0] != '\0')
        say_error(service, text);
}

/* ---- the process -------------------------------------------------------------------------- */

/* Raised with every order: the keeper sleeps on it. */
static void order(struct hf_keystore_service *service)
{
    atomic_fetch_add(&service->shared->orders, 1);
    hf_keystore_futex_wake(&service->shared->orders);
}

static void start_keeper(struct hf_keystore_service *service)
{
    int ends[2];
    int parent = getpid();
    if (pipe2(ends, O_CLOEXEC) != 0)
        return;
    pid_t keeper = fork();
    if (keeper == 0)
        hf_keystore_keeper_run(service->shared, &service->config, parent, ends[1]);
    close(ends[1]);
    service->life_fd = ends[0];
    service->keeper = keeper > 0 ? (int)keeper : 0;
    if (keeper < 0)
        close(ends[0]);
}

static bool has_keeper(struct hf_keystore_service *service)
{
    struct pollfd life = {.fd = service->life_fd, .events = POLLIN};
    if (service->keeper == 0 || poll(&life, 1, 0) == 0)
        return service->keeper != 0;
    (void)waitpid(service->keeper, NULL, WNOHANG);
    close(service->life_fd);
    service->keeper = 0;
    return false;
}

static void start_process(struct hf_keystore_service *service)
{
    struct hf_keystore_shared *shared = service->shared;
    if (!has_keeper(service))
        start_keeper(service);
    service->started_ms = now_ms();
    if (service->keeper == 0) {
        char text[HF_KEYDB_ERROR_MAX];
        snprintf(text, sizeof(text), "%.200s: cannot start a process to read it: %s", service->path,
                 strerror(errno));
        say_error(service, text);
        service->restart_ms = now_ms() + service->config.restart_ms_max;
        return;
    }
    shared->is_started = false;
    shared->error[0] = '\0';
    atomic_store(&shared->asked, FIRST);
    atomic_store(&shared->answered, 0);
    atomic_fetch_add(&shared->start_wanted, 1);
    order(service);
    atomic_fetch_add(&service->counts.starts, 1);
    service->state = PROCESS_STARTING;
}

static void say_death(struct hf_keystore_service *service, int status)
{
    char text[HF_KEYDB_ERROR_MAX];
    if (WIFSIGNALED(status))
        snprintf(text, sizeof(text),
                 "%.200s: the key store is damaged, or its reading process was ended: %s",
                 service->path, strsignal(WTERMSIG(status)));
    else
        snprintf(text, sizeof(text), "%.200s: the process that reads it %s", service->path,
                 WEXITSTATUS(status) == HF_KEYSTORE_NO_PROCESS ? "could not be started"
                                                               : "ended by itself");
    say_error(service, text);
}

static void bury_process(struct hf_keystore_service *service, int status)
{
    const struct hf_keystore_service_config *config = &service->config;
    bool is_early = now_ms() - service->started_ms < EARLY_MS;
    atomic_store(&service->counts.is_serving, false);
    atomic_fetch_add(&service->counts.deaths, 1);
    service->state = PROCESS_NONE;
    if (service->shared->error[0] != '\0' && !WIFSIGNALED(status))
        say_shared_error(service);
    else
        say_death(service, status);
    uint32_t wait_ms = 2 * service->restart_wait_ms;
    if (!is_early || wait_ms < config->restart_ms_min)
        wait_ms = config->restart_ms_min;
    service->restart_wait_ms = wait_ms < config->restart_ms_max ? wait_ms : config->restart_ms_max;
    service->restart_ms = now_ms() + service->restart_wait_ms;
}

/* False: it is gone, as far as its keeper, or the keeper's own end, tells. */
static bool is_alive(struct hf_keystore_service *service)
{
    struct hf_keystore_shared *shared = service->shared;
    if (service->state == PROCESS_NONE)
        return false;
    uint32_t number = atomic_load(&shared->start_wanted);
    if (atomic_load(&shared->deaths) == number) {
        bury_process(service, atomic_load(&shared->status));
        return false;
    }
    if (has_keeper(service))
        return true;
    /* The reading process has died with it. */
    atomic_store(&shared->deaths, number);
    atomic_store(&shared->process, 0);
    bury_process(service, SIGKILL);
    return false;
}

static void end_process(struct hf_keystore_service *service)
{
    struct hf_keystore_shared *shared = service->shared;
    atomic_store(&shared->kill_wanted, atomic_load(&shared->start_wanted));
    order(service);
    while (is_alive(service))
        hf_keystore_futex_wait(&shared->answered, atomic_load(&shared->answered), SLICE_MS);
}

static void end_keeper(struct hf_keystore_service *service)
{
    if (service->keeper == 0)
        return;
    atomic_store(&service->shared->is_ending, true);
    order(service);
    /* Its end of the pipe closes with it; waiting for it may be forbidden to us by now. */
    struct pollfd life = {.fd = service->life_fd, .events = POLLIN};
    while (poll(&life, 1, -1) < 0 && errno == EINTR)
        continue;
    while (waitpid(service->keeper, NULL, 0) < 0 && errno == EINTR)
        continue;
    close(service->life_fd);
    service->keeper = 0;
}

/* One exchange, from `asked` raised to `answered`. False: no process any more. */
static bool exchange(struct hf_keystore_service *service, uint32_t wait_ms_max)
{
    struct hf_keystore_shared *shared = service->shared;
    uint32_t number = atomic_load(&shared->asked) + 1;
    uint64_t give_up_ms = now_ms() + wait_ms_max;
    atomic_store(&shared->asked, number);
    hf_keystore_futex_wake(&shared->asked);
    for (;;) {
        uint32_t answered = atomic_load(&shared->answered);
        if (answered == number)
            return true;
        hf_keystore_futex_wait(&shared->answered, answered, SLICE_MS);
        if (atomic_load(&shared->answered) == number)
            return true;
        if (!is_alive(service))
            return false;
        if (now_ms() >= give_up_ms) {
            say(service, true, "keystore_hangs", service->path);
            end_process(service);
            return false;
        }
    }
}

/* ---- changes ------------------------------------------------------------------------------ */

static int compare_revisions(const void *a, const void *b)
{
    uint64_t first = *(const uint64_t *)a;
    uint64_t second = *(const uint64_t *)b;
    return (first > second) - (first < second);
}

static void say_uncompared(struct hf_keystore_service *service)
{
    if (service->shared->is_retired_unknown)
        say(service, true, "keystore_uncompared",
            "which keys a restore removed cannot be told: their associations stay until they end");
    service->shared->is_retired_unknown = false;
}

static void forget_kept(struct hf_keystore_service *service)
{
    free(service->kept);
    service->kept = NULL;
    service->kept_count = service->kept_max = 0;
}

/* A part of what is kept; with the last part all of it is handed on. */
static void tell_kept(struct hf_keystore_service *service, size_t count)
{
    struct hf_keystore_shared *shared = service->shared;
    if (service->kept_max - service->kept_count < count) {
        size_t max = 2 * service->kept_max + HF_KEYSTORE_RETIRED_MAX;
        uint64_t *larger = realloc(service->kept, max * sizeof(*larger));
        if (larger == NULL) {
            forget_kept(service);
            shared->is_retired_unknown = true;
            return;
        }
        service->kept = larger;
        service->kept_max = max;
    }
    memcpy(service->kept + service->kept_count, shared->retired, count * sizeof(uint64_t));
    service->kept_count += count;
    if (shared->has_more_retired)
        return;
    /* The other process has sorted it, or says so. */
    qsort(service->kept, service->kept_count, sizeof(uint64_t), compare_revisions);
    if (service->config.kept != NULL)
        service->config.kept(service->kept, service->kept_count, shared->newest,
                             service->config.arg);
    forget_kept(service);
}

static void tell_retired(struct hf_keystore_service *service)
{
    struct hf_keystore_shared *shared = service->shared;
    size_t count = shared->retired_count;
    count = count < HF_KEYSTORE_RETIRED_MAX ? count : HF_KEYSTORE_RETIRED_MAX;
    if (count == 0)
        return;
    if (shared->is_kept) {
        tell_kept(service, count);
        return;
    }
    qsort(shared->retired, count, sizeof(uint64_t), compare_revisions);
    atomic_fetch_add(&service->counts.retired, count);
    if (service->config.retired != NULL)
        service->config.retired(shared->retired, count, service->config.arg);
}

static void poll_changes(struct hf_keystore_service *service)
{
    struct hf_keystore_shared *shared = service->shared;
    struct hf_keystore_counts *counts = &service->counts;
    atomic_store(&service->is_poll_wanted, false);
    service->poll_ms = now_ms() + service->config.poll_ms;
    shared->is_poll = true;
    bool is_answered = exchange(service, POLL_PATIENCE * service->config.hang_ms_max);
    shared->is_poll = false;
    if (!is_answered)
        return;
    say_shared_error(service);
    tell_retired(service);
    say_uncompared(service);
    if (atomic_load(&counts->generation) != shared->generation)
        say(service, false, "keystore_restored", service->path);
    atomic_store(&counts->keys, shared->keys);
    atomic_store(&counts->generation, shared->generation);
    atomic_store(&counts->transaction, shared->transaction);
    if (shared->has_more_retired)
        atomic_store(&service->is_poll_wanted, true);
}

/* ---- look-ups ----------------------------------------------------------------------------- */

static uint32_t gather(struct hf_keystore_service *service)
{
    struct hf_keystore_shared *shared = service->shared;
    uint32_t shard_count = service->config.shard_count;
    uint32_t count = 0;
    if (shard_count == 0)
        return 0;
    for (uint32_t i = 0; i < shard_count && count < HF_KEYSTORE_BATCH_MAX; i++) {
        struct hf_keystore_shard *shard = &service->shards[(service->shard_next + i) % shard_count];
        uint32_t slot = 0;
        while (count < HF_KEYSTORE_BATCH_MAX &&
               hf_keystore_ring_pop(&slot, &shard->asked, service->slots_per_shard - 1))
            shared->batch[count++] = slot;
    }
    service->shard_next = (service->shard_next + 1) % shard_count;
    return count;
}

static void count_outcome(struct hf_keystore_service *service, uint8_t outcome)
{
    struct hf_keystore_counts *counts = &service->counts;
    if (outcome == HF_KEYSTORE_FOUND)
        atomic_fetch_add(&counts->found, 1);
    else if (outcome == HF_KEYSTORE_REFUSED)
        atomic_fetch_add(&counts->refused, 1);
    else
        atomic_fetch_add(&counts->unavailable, 1);
    if (outcome == HF_KEYSTORE_DAMAGED)
        atomic_fetch_add(&counts->damaged, 1);
}

static void serve(struct hf_keystore_service *service, uint32_t count)
{
    struct hf_keystore_shared *shared = service->shared;
    uint32_t slots[HF_KEYSTORE_BATCH_MAX]; /* ours: the other process may write to `batch` */
    bool is_woken[HF_KEYSTORE_SHARDS_MAX] = {false};
    memcpy(slots, shared->batch, count * sizeof(slots[0]));
    shared->batch_count = count;
    atomic_fetch_add(&service->counts.requests, count);
    atomic_fetch_add(&service->counts.batches, 1);
    bool is_answered =
        service->state == PROCESS_SERVING && exchange(service, service->config.hang_ms_max);
    if (is_answered)
        say_shared_error(service);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t shard_index = slots[i] / service->slots_per_shard;
        struct hf_keystore_slot *slot = &shared->slots[slots[i]];
        if (!is_answered)
            slot->outcome = HF_KEYSTORE_UNAVAILABLE;
        count_outcome(service, slot->outcome);
        hf_keystore_ring_push(&service->shards[shard_index].done, service->slots_per_shard - 1,
                              slots[i]);
        is_woken[shard_index] = true;
    }
    for (uint32_t i = 0; i < service->config.shard_count; i++)
        if (is_woken[i] && service->config.wake != NULL)
            service->config.wake(i, service->config.arg);
}

/* ---- the thread --------------------------------------------------------------------------- */

static bool has_work(const struct hf_keystore_service *service)
{
    for (uint32_t i = 0; i < service->config.shard_count; i++) {
        const struct hf_keystore_ring *ring = &service->shards[i].asked;
        if (atomic_load(&ring->head) != atomic_load(&ring->tail))
            return true;
    }
    return atomic_load(&service->is_stopping) ||
           (atomic_load(&service->is_poll_wanted) && service->state == PROCESS_SERVING);
}

static void sleep_until(struct hf_keystore_service *service, uint64_t until_ms)
{
    struct timespec until;
    uint64_t now = now_ms();
    uint64_t wait_ms = until_ms > now ? until_ms - now : 0;
    atomic_store(&service->is_asleep, true);
    if (wait_ms == 0 || has_work(service)) {
        atomic_store(&service->is_asleep, false);
        return;
    }
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t nsec = (uint64_t)until.tv_nsec + wait_ms % 1000 * 1000000;
    until.tv_sec += (time_t)(wait_ms / 1000 + nsec / 1000000000);
    until.tv_nsec = (long)(nsec % 1000000000);
    (void)sem_clockwait(&service->work, CLOCK_MONOTONIC, &until);
    atomic_store(&service->is_asleep, false);
}

/* The process says that it serves, or dies, or neither yet. */
static void await_start(struct hf_keystore_service *service)
{
    struct hf_keystore_shared *shared = service->shared;
    if (atomic_load(&shared->answered) != FIRST || !shared->is_started) {
        (void)is_alive(service);
        return;
    }
    service->state = PROCESS_SERVING;
    atomic_store(&service->counts.keys, shared->keys);
    atomic_store(&service->counts.generation, shared->generation);
    atomic_store(&service->counts.transaction, shared->transaction);
    atomic_store(&service->counts.is_serving, true);
    forget_kept(service);
    atomic_store(&service->is_poll_wanted, true);
    if (atomic_load(&service->counts.starts) > 1)
        say(service, false, "keystore_serves_again", service->path);
    say_uncompared(service);
    service->error[0] = '\0';
    service->poll_ms = now_ms() + service->config.poll_ms;
}

static uint64_t tend(struct hf_keystore_service *service)
{
    uint64_t now = now_ms();
    if (service->state == PROCESS_NONE && now >= service->restart_ms)
        start_process(service);
    if (service->state == PROCESS_STARTING)
        await_start(service);
    if (service->state == PROCESS_SERVING &&
        (now >= service->poll_ms || atomic_load(&service->is_poll_wanted)))
        poll_changes(service);
    switch (service->state) {
    case PROCESS_STARTING:
        return now + SLICE_MS;
    case PROCESS_SERVING:
        return service->poll_ms;
    case PROCESS_NONE:
    default:
        return service->restart_ms > now ? service->restart_ms : now + 1;
    }
}

/* Until the first process serves or has failed; the rest of its life it is replaced. */
static bool open_store(struct hf_keystore_service *service)
{
    start_process(service);
    while (service->state == PROCESS_STARTING) {
        await_start(service);
        if (service->state == PROCESS_STARTING)
            hf_keystore_futex_wait(&service->shared->answered, 0, SLICE_MS);
    }
    return service->state == PROCESS_SERVING;
}

static void *live(void *arg)
{
    struct hf_keystore_service *service = arg;
    void (*log)(bool, const char *, const char *, void *) = service->config.log;
    service->config.log = NULL; /* whoever opens it gets the line */
    service->has_failed_to_open = !open_store(service);
    service->config.log = log;
    bool has_failed = service->has_failed_to_open;
    sem_post(&service->opened);
    while (!has_failed && !atomic_load(&service->is_stopping)) {
        uint64_t until_ms = tend(service);
        uint32_t count = gather(service);
        if (count > 0)
            serve(service, count);
        else
            sleep_until(service, until_ms);
    }
    service->config.log = NULL;
    forget_kept(service);
    end_keeper(service);
    return NULL;
}

int hf_keystore_thread_start(struct hf_keystore_service *service)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&service->thread, NULL, live, service);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code;
}

void hf_keystore_thread_stop(struct hf_keystore_service *service)
{
    atomic_store(&service->is_stopping, true);
    sem_post(&service->work);
    (void)pthread_join(service->thread, NULL);
}
