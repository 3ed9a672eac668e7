/**
 * handover.c - see handover.h. One thread, one successor at a time.
 *
 * Associations are copied while the shards serve, a slice a turn, until little has changed since;
 * then nobody new is let in for a moment, so that handshakes under way come to their end; then the
 * shards fall silent, and the rest follows.
 *
 * Invariant: a shard that was frozen is run again, unless the successor has said COMMIT.
 */
#include "handover.h"

#include "clock.h"
#include "checkpoint.h"
#include "handover_hello.h"
#include "handover_wire.h"
#include "log.h"
#include "notify.h"
#include "starter.h"

#include <errno.h>
#include <handfast/transfer.h>
#include <handover.h>
#include <poll.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define READY_SECONDS 60 /* a successor reads its keys and opens its shards */
#define PATIENCE_SECONDS 10
#define CHUNK_LEN (256u << 10)
#define SLICE_SLOTS 512u /* of a turn while serving: below 100 us */
#define PASSES_MAX 6
#define FEW 256u /* changed since the last pass: one more would not help */
#define SETTLE_MS 1000
#define SETTLE_STEP_MS 10
#define RESTART_SECONDS 120

struct hf_handover {
    struct hf_daemon *daemon;
    struct sockaddr_un address;
    int listen_fd, end_fd, control_fd;
    uid_t owner;
    pthread_t thread;
    struct hf_transfer *transfers[HF_SHARDS_MAX];
    struct hf_session_copy *sessions; /* NULL: there is no cache, or the successor takes none */
    uint8_t *chunk;
    pid_t successor;
    uint64_t written, connections;
    pthread_mutex_t lock; /* guards the rest */
    int successor_fd;     /* -1: none is here */
    pthread_cond_t changed;
    uint32_t attempts; /* that have ended */
    bool is_done;
    char reason[HF_HANDOVER_ERROR_MAX]; /* of the last that failed */
};

static bool hear(int fd, enum hf_handover_kind kind)
{
    struct hf_handover_frame frame;
    if (!hf_handover_receive(&frame, fd))
        return false;
    bool is_it = frame.kind == kind;
    hf_handover_wipe(&frame);
    return is_it;
}

/* ---- associations ------------------------------------------------------------------------- */

/* A slice of a pass, on the shard's thread. */
struct slice {
    struct hf_handover *handover;
    uint32_t shard;
    size_t len;
    enum hf_status status;
    sem_t done;
};

static void write_slice(struct hf_loop *loop, void *arg)
{
    struct slice *slice = arg;
    slice->status = hf_transfer_write(slice->handover->chunk, &slice->len, CHUNK_LEN,
                                      slice->handover->transfers[slice->shard],
                                      hf_loop_engine(loop), SLICE_SLOTS);
    sem_post(&slice->done);
}

static bool send_chunk(struct hf_handover *handover, int fd, enum hf_handover_kind kind,
                       uint32_t shard, size_t len)
{
    bool is_sent = len == 0 || hf_handover_send(fd, kind, shard,
                                                (struct hf_bytes){handover->chunk, len}, NULL, 0);
    explicit_bzero(handover->chunk, len);
    return is_sent;
}

/* One pass over a shard that serves. */
static bool copy_serving(struct hf_handover *handover, int fd, uint32_t shard)
{
    struct hf_loop *loop = hf_shard_loop(handover->daemon->shards[shard]);
    struct slice slice = {.handover = handover, .shard = shard, .status = HF_WAITING};
    bool is_good = true;
    sem_init(&slice.done, 0, 0);
    while (is_good && slice.status == HF_WAITING) {
        is_good = hf_loop_post(loop, write_slice, &slice);
        while (is_good && sem_wait(&slice.done) != 0)
            continue;
        is_good = is_good && send_chunk(handover, fd, HF_HANDOVER_CHUNK, shard, slice.len);
    }
    sem_destroy(&slice.done);
    return is_good && slice.status == HF_OK;
}

static bool copy_all_serving(struct hf_handover *handover, int fd)
{
    uint32_t written = UINT32_MAX;
    for (int pass = 0; pass < PASSES_MAX && written > FEW; pass++) {
        written = 0;
        for (uint32_t i = 0; i < handover->daemon->shard_count; i++) {
            if (!copy_serving(handover, fd, i))
                return false;
            written += hf_transfer_written(handover->transfers[i]);
        }
        handover->written += written;
    }
    return true;
}

static bool copy_frozen(struct hf_handover *handover, int fd, uint32_t shard)
{
    const struct hf_engine *engine = hf_loop_engine(hf_shard_loop(handover->daemon->shards[shard]));
    enum hf_status status = HF_WAITING;
    while (status == HF_WAITING) {
        size_t len = 0;
        status = hf_transfer_write(handover->chunk, &len, CHUNK_LEN, handover->transfers[shard],
                                   engine, UINT32_MAX);
        if (!send_chunk(handover, fd, HF_HANDOVER_CHUNK, shard, len))
            return false;
    }
    return status == HF_OK;
}

/* One pass over the cache of sessions; shards may be at it. */
static bool copy_sessions(struct hf_handover *handover, int fd)
{
    enum hf_status status = handover->sessions == NULL ? HF_OK : HF_WAITING;
    while (status == HF_WAITING) {
        size_t len = 0;
        status = hf_session_copy_write(handover->chunk, &len, CHUNK_LEN, handover->sessions,
                                       (int64_t)time(NULL));
        if (!send_chunk(handover, fd, HF_HANDOVER_SESSIONS, 0, len))
            return false;
    }
    return status == HF_OK;
}

static bool copy_sessions_serving(struct hf_handover *handover, int fd)
{
    uint32_t written = UINT32_MAX;
    for (int pass = 0; handover->sessions != NULL && pass < PASSES_MAX && written > FEW; pass++) {
        if (!copy_sessions(handover, fd))
            return false;
        written = hf_session_copy_written(handover->sessions);
    }
    return true;
}

static bool send_connections(struct hf_handover *handover, int fd, uint32_t shard)
{
    struct hf_loop_parcel parcel;
    uint64_t cursor = 0;
    bool is_sent = true;
    while (is_sent &&
           hf_loop_give(&parcel, hf_shard_loop(handover->daemon->shards[shard]), &cursor)) {
        is_sent = hf_handover_send(fd, HF_HANDOVER_PARCEL, shard,
                                   (struct hf_bytes){parcel.data, parcel.len}, parcel.fds,
                                   parcel.fd_count);
        hf_loop_parcel_wipe(&parcel);
        handover->connections++;
    }
    return is_sent;
}

/* ---- handing over ------------------------------------------------------------------------- */

static bool open_transfers(struct hf_handover *handover, bool has_sessions)
{
    const struct hf_daemon *daemon = handover->daemon;
    handover->written = handover->connections = 0;
    handover->chunk = malloc(CHUNK_LEN);
    bool is_good = handover->chunk != NULL;
    for (uint32_t i = 0; is_good && i < daemon->shard_count; i++)
        is_good = hf_transfer_open(&handover->transfers[i],
                                   hf_loop_engine(hf_shard_loop(daemon->shards[i]))) == HF_OK;
    if (is_good && has_sessions && daemon->shared.sessions.cache != NULL)
        is_good = hf_session_copy_open(&handover->sessions, daemon->shared.sessions.cache) == HF_OK;
    return is_good;
}

static void close_transfers(struct hf_handover *handover)
{
    for (uint32_t i = 0; i < handover->daemon->shard_count; i++) {
        hf_transfer_close(handover->transfers[i]);
        handover->transfers[i] = NULL;
    }
    hf_session_copy_close(handover->sessions);
    handover->sessions = NULL;
    free(handover->chunk);
    handover->chunk = NULL;
}

/* Nobody new for a moment: who is half in gets in, and is handed over. */
static void settle(const struct hf_daemon *daemon)
{
    for (uint32_t i = 0; i < daemon->shard_count; i++)
        hf_shard_drain(daemon->shards[i], true, false);
    for (int ms = 0; ms < SETTLE_MS; ms += SETTLE_STEP_MS) {
        uint32_t open = 0;
        for (uint32_t i = 0; i < daemon->shard_count; i++)
            open += hf_shard_half_open(daemon->shards[i]);
        if (open == 0)
            return;
        (void)poll(NULL, 0, SETTLE_STEP_MS);
    }
}

static bool freeze(const struct hf_daemon *daemon, uint32_t *frozen)
{
    for (uint32_t i = 0; i < daemon->shard_count; i++)
        hf_shard_freeze(daemon->shards[i]);
    for (*frozen = 0; *frozen < daemon->shard_count; ++*frozen)
        if (!hf_shard_is_frozen(daemon->shards[*frozen]))
            return false; /* it ends */
    return true;
}

static void serve_on(const struct hf_daemon *daemon, uint32_t frozen)
{
    for (uint32_t i = 0; i < frozen; i++)
        hf_shard_serve(daemon->shards[i]);
    for (uint32_t i = 0; i < daemon->shard_count; i++)
        hf_shard_drain(daemon->shards[i], false, false);
}

/* Everything that remains, while nobody serves. */
static bool finish(struct hf_handover *handover, char *error, int fd)
{
    const struct hf_daemon *daemon = handover->daemon;
    char text[32];
    uint32_t frozen = 0;
    if (!hf_checkpoint_retire(daemon->checkpoint))
        return hf_handover_fail(error, "its checkpoint cannot be taken away: see checkpoint");
    settle(daemon);
    uint64_t begun_us = hf_clock_us();
    bool is_sent = freeze(daemon, &frozen);
    for (uint32_t i = 0; is_sent && i < daemon->shard_count; i++)
        is_sent = copy_frozen(handover, fd, i) && send_connections(handover, fd, i);
    is_sent = is_sent && copy_sessions(handover, fd);
    snprintf(text, sizeof(text), "%llu", (unsigned long long)begun_us);
    is_sent = is_sent && hf_handover_send_text(fd, HF_HANDOVER_FROZEN, text);
    if (!is_sent || !hear(fd, HF_HANDOVER_COMMIT)) {
        serve_on(daemon, frozen);
        hf_checkpoint_resume(daemon->checkpoint);
        return hf_handover_fail(error,
                                is_sent ? "the new process did not take over" : "it broke off");
    }
    handover->daemon->is_path_ours = false;
    handover->daemon->is_handed_over = true;
    snprintf(text, sizeof(text), "MAINPID=%d", (int)handover->successor);
    hf_notify_send(text); /* before READY=1 of the other: systemd takes them in order */
    (void)hf_handover_send_text(fd, HF_HANDOVER_GO, "");
    uint64_t frozen_us = hf_clock_us() - begun_us;
    struct hf_log_line line;
    hf_log_begin(&line, HF_LOG_NOTICE, HF_LOG_SLOT_UNLIMITED, "handed_over", NULL);
    hf_log_number(&line, "to_pid", (uint64_t)handover->successor);
    hf_log_number(&line, "copied", handover->written);
    hf_log_number(&line, "connections", handover->connections);
    hf_log_number(&line, "frozen_us", frozen_us);
    hf_log_end(&line);
    for (uint32_t i = 0; i < daemon->shard_count; i++)
        hf_shard_leave(daemon->shards[i]);
    return true;
}

static bool hand_over(struct hf_handover *handover, char *error, int fd)
{
    hf_handover_patience(fd, PATIENCE_SECONDS);
    bool has_sessions = false;
    if (!hf_handover_hello_hear(&has_sessions, error, handover->daemon, fd))
        return false;
    if (!hf_handover_hello_tell(handover->daemon, fd, handover->control_fd, handover->listen_fd))
        return hf_handover_fail(error, "it does not listen");
    hf_handover_patience(fd, READY_SECONDS);
    if (!hear(fd, HF_HANDOVER_READY))
        return hf_handover_fail(error, "the new process did not become ready: its log says why");
    hf_handover_patience(fd, PATIENCE_SECONDS);
    bool is_over = open_transfers(handover, has_sessions) || hf_handover_fail(error, "no memory");
    is_over = is_over && ((copy_sessions_serving(handover, fd) && copy_all_serving(handover, fd)) ||
                          hf_handover_fail(error, "it broke off"));
    is_over = is_over && finish(handover, error, fd);
    close_transfers(handover);
    return is_over;
}

static void note(struct hf_handover *handover, bool is_done, const char *reason)
{
    pthread_mutex_lock(&handover->lock);
    handover->attempts++;
    handover->is_done = is_done;
    snprintf(handover->reason, sizeof(handover->reason), "%s", reason);
    pthread_cond_broadcast(&handover->changed);
    pthread_mutex_unlock(&handover->lock);
}

static void set_successor(struct hf_handover *handover, int fd)
{
    pthread_mutex_lock(&handover->lock);
    handover->successor_fd = fd;
    pthread_mutex_unlock(&handover->lock);
}

static void accept_one(struct hf_handover *handover)
{
    char error[HF_HANDOVER_ERROR_MAX] = "";
    int fd = accept4(handover->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    bool is_done = false;
    set_successor(handover, fd);
    if (!hf_handover_peer(&handover->successor, fd, handover->owner))
        (void)hf_handover_fail(error, "not allowed: only root and the daemon's user");
    else
        is_done = hand_over(handover, error, fd);
    handover->daemon->handovers_failed += !is_done;
    if (!is_done)
        hf_log_message(HF_LOG_WARNING, "handover_failed", "pid %d: %s; serving on",
                       (int)handover->successor, error);
    set_successor(handover, -1);
    note(handover, is_done, error);
    close(fd);
}

static void *live(void *arg)
{
    struct hf_handover *handover = arg;
    while (!handover->daemon->is_handed_over) {
        bool is_starting = handover->daemon->state == HF_DAEMON_STARTING;
        struct pollfd fds[2] = {{handover->end_fd, POLLIN, 0},
                                {is_starting ? -1 : handover->listen_fd, POLLIN, 0}};
        if (poll(fds, 2, is_starting ? 20 : -1) < 0 && errno != EINTR)
            return NULL;
        if (fds[0].revents != 0)
            return NULL;
        if (fds[1].revents != 0)
            accept_one(handover);
    }
    return NULL;
}

/* ---- the socket --------------------------------------------------------------------------- */

static bool refuse(char *error, const char *path, const char *why)
{
    snprintf(error, HF_HANDOVER_ERROR_MAX, "takeover socket: %s: %s", path, why);
    return false;
}

/* What a killed daemon left behind goes; what another serves stays. */
static bool clear_path(const struct hf_handover *handover, char *error)
{
    struct stat st;
    const char *path = handover->address.sun_path;
    const struct sockaddr *address = (const struct sockaddr *)&handover->address;
    if (lstat(path, &st) != 0)
        return errno == ENOENT || refuse(error, path, strerror(errno));
    if (!S_ISSOCK(st.st_mode))
        return refuse(error, path, "something that is no socket is there");
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is_served = fd >= 0 && connect(fd, address, sizeof(handover->address)) == 0;
    if (fd >= 0)
        close(fd);
    if (is_served)
        return refuse(error, path, "another process serves it: handfastctl restart takes over");
    return unlink(path) == 0 || refuse(error, path, strerror(errno));
}

static bool bind_socket(struct hf_handover *handover, char *error)
{
    const char *path = handover->address.sun_path;
    const struct sockaddr *address = (const struct sockaddr *)&handover->address;
    if (!clear_path(handover, error))
        return false;
    handover->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t mask = umask(0177);
    bool is_bound = handover->listen_fd >= 0 &&
                    bind(handover->listen_fd, address, sizeof(handover->address)) == 0;
    umask(mask);
    return (is_bound && chown(path, handover->owner, (gid_t)-1) == 0 && chmod(path, 0600) == 0 &&
            listen(handover->listen_fd, 1) == 0) ||
           refuse(error, path, strerror(errno));
}

bool hf_handover_open(struct hf_handover **out, char error[HF_HANDOVER_ERROR_MAX],
                      struct hf_daemon *daemon, const struct hf_sandbox *sandbox,
                      struct hf_takeover *from, int control_fd)
{
    const char *path = daemon->started.takeover_socket;
    struct hf_handover *handover = calloc(1, sizeof(*handover));
    if (handover == NULL)
        return refuse(error, path, "no memory");
    handover->daemon = daemon;
    handover->control_fd = control_fd;
    handover->successor_fd = -1;
    handover->owner = sandbox->has_user ? sandbox->uid : geteuid();
    handover->address.sun_family = AF_UNIX;
    snprintf(handover->address.sun_path, sizeof(handover->address.sun_path), "%s", path);
    pthread_mutex_init(&handover->lock, NULL);
    pthread_cond_init(&handover->changed, NULL);
    int adopted = hf_takeover_listener(from, path);
    handover->listen_fd = adopted < 0 ? -1 : dup(adopted);
    handover->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bool is_good = handover->end_fd >= 0 || refuse(error, path, strerror(errno));
    is_good = is_good && (handover->listen_fd >= 0 || bind_socket(handover, error));
    if (is_good && pthread_create(&handover->thread, NULL, live, handover) == 0) {
        *out = handover;
        return true;
    }
    if (is_good)
        (void)refuse(error, path, "no thread for it");
    if (handover->listen_fd >= 0)
        close(handover->listen_fd);
    if (handover->end_fd >= 0)
        close(handover->end_fd);
    free(handover);
    return false;
}

void hf_handover_stop(struct hf_handover *handover)
{
    if (handover == NULL)
        return;
    (void)eventfd_write(handover->end_fd, 1);
    pthread_mutex_lock(&handover->lock);
    if (handover->successor_fd >= 0 && !handover->daemon->is_handed_over)
        (void)shutdown(handover->successor_fd, SHUT_RDWR);
    pthread_mutex_unlock(&handover->lock);
    pthread_join(handover->thread, NULL);
    note(handover, handover->daemon->is_handed_over, "it stops");
}

void hf_handover_close(struct hf_handover *handover)
{
    if (handover == NULL)
        return;
    if (handover->daemon->is_path_ours)
        (void)unlink(handover->address.sun_path);
    close(handover->listen_fd);
    close(handover->end_fd);
    pthread_cond_destroy(&handover->changed);
    pthread_mutex_destroy(&handover->lock);
    free(handover);
}

/* ---- on demand ---------------------------------------------------------------------------- */

/* Under the lock. */
static bool await(struct hf_handover *handover, char *error, uint32_t attempts)
{
    struct hf_starter *starter = handover->daemon->starter;
    for (int i = 0; i < RESTART_SECONDS * 10 && handover->attempts == attempts; i++) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 100000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        (void)pthread_cond_timedwait(&handover->changed, &handover->lock, &until);
        if (handover->attempts == attempts && hf_starter_ended(starter))
            return hf_handover_fail(error,
                                    "the new process has ended: its log says why; serving on");
    }
    if (handover->attempts == attempts)
        return hf_handover_fail(error, "the new process did not come in time; serving on");
    return handover->is_done || hf_handover_fail(error, handover->reason);
}

bool hf_handover_restart(struct hf_handover *handover, pid_t *out,
                         char error[HF_HANDOVER_ERROR_MAX])
{
    if (handover == NULL)
        return hf_handover_fail(error, "there is no takeover socket: control { takeover = ... }");
    pthread_mutex_lock(&handover->lock);
    uint32_t attempts = handover->attempts;
    bool is_done = hf_starter_start(out, handover->daemon->starter) ||
                   hf_handover_fail(error, "the new process could not be started");
    is_done = is_done && await(handover, error, attempts);
    pthread_mutex_unlock(&handover->lock);
    return is_done;
}
