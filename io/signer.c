/**
 * signer.c - the client's thread: requests in, packets out, answers back by hf_loop_post().
 *
 * Requests are numbered; a slot of `waiting` belongs to one number. What was sent and not answered
 * when the connection broke is sent again on the next: to sign twice harms nobody. All requests
 * have the same time to live, so the oldest expires first.
 */
#include "signer.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define TIMEOUT_DEFAULT_MS 2000u
#define PAUSE_FIRST_MS 20u
#define PAUSE_MAX_MS 1000u
#define OFFER_AGAIN_MS 10u

/* What goes to the loop in the end. */
struct answer {
    struct hf_job *job; /* looked into on the loop's thread only */
    size_t len;
    uint8_t signature[HF_SIGNER_PAYLOAD_MAX];
};

/* Between the asking for a signature and its leaving for the loop. */
struct waiting {
    struct hf_loop *loop;
    struct answer *answer; /* NULL: the place is free */
    uint64_t deadline_ms;
    bool is_ready; /* the loop had no room for it yet */
    uint8_t digest[HF_SIGNER_DIGEST_LEN];
};

struct hf_signer {
    char path[HF_SIGNER_PATH_MAX + 1];
    char label[HF_SIGNER_LABEL_MAX + 1];
    uint32_t timeout_ms;
    pthread_t thread;
    int wake_fd;

    pthread_mutex_t lock; /* of all below up to the line */
    bool is_ending;
    uint32_t first, next; /* numbers of the oldest waiting and of the next request */
    uint32_t ready_count;
    struct waiting waiting[HF_SIGNER_WAITING_MAX];
    struct hf_signer_counters counters;
    /* ---- the thread's own ---- */
    int fd;
    uint32_t sent; /* the next number to send on this connection */
    uint64_t pause_until_ms;
    uint32_t pause_ms;
};

static uint64_t signer_now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

bool hf_signer_parse(struct hf_signer_config *config, char *text)
{
    static const char scheme[] = "signer:";
    char *label;

    if (strncmp(text, scheme, sizeof scheme - 1) != 0)
        return false;
    text += sizeof scheme - 1;
    label = strrchr(text, '#');
    if (!label || label == text || label - text > HF_SIGNER_PATH_MAX || label[1] == '\0' ||
        strlen(label + 1) > HF_SIGNER_LABEL_MAX)
        return false;
    *label = '\0';
    *config = (struct hf_signer_config){
        .path = text, .label = label + 1, .timeout_ms = TIMEOUT_DEFAULT_MS};
    return true;
}

static enum hf_status signer_check(char error[HF_SIGNER_ERROR_MAX],
                                   const struct hf_signer_config *config)
{
    size_t path_len = strlen(config->path);
    size_t label_len = strlen(config->label);

    if (path_len >= 1 && path_len <= HF_SIGNER_PATH_MAX && label_len >= 1 &&
        label_len <= HF_SIGNER_LABEL_MAX)
        return HF_OK;
    snprintf(error, HF_SIGNER_ERROR_MAX, "signer: a path has 1 to %d bytes, a label 1 to %d",
             HF_SIGNER_PATH_MAX, HF_SIGNER_LABEL_MAX);
    return HF_E_CONFIG;
}

/* A connection to a local socket is made at once or not at all. */
static int signer_connect(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    memcpy(address.sun_path, path, strlen(path));
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    int saved = errno;
    (void)close(fd);
    errno = saved;
    return -1;
}

/* ---- one question, blocking ---- */

static const char *signer_result_text(uint8_t result)
{
    switch ((enum hf_signer_result)result) {
    case HF_SIGNER_UNKNOWN:
        return "it has no key of this label";
    case HF_SIGNER_FAILED:
        return "it could not use the key";
    case HF_SIGNER_MALFORMED:
        return "it does not speak this version of the protocol";
    case HF_SIGNER_DONE:
        break;
    }
    return "its answer is not a P-256 key";
}

static const char *signer_ask(uint8_t out[HF_SIGNER_KEY_LEN], int fd,
                              const struct hf_signer_config *config)
{
    uint8_t request[HF_SIGNER_REQUEST_MAX];
    uint8_t answer[HF_SIGNER_ANSWER_MAX];
    size_t request_len = hf_signer_write_request(request, 1, config->label, NULL);
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    ssize_t len;

    if (send(fd, request, request_len, MSG_NOSIGNAL) != (ssize_t)request_len)
        return strerror(errno);
    if (poll(&wait, 1, (int)config->timeout_ms) != 1)
        return "no answer in time";
    len = recv(fd, answer, sizeof answer, 0);
    if (len < HF_SIGNER_ANSWER_MIN || answer[0] != HF_SIGNER_VERSION ||
        answer[1] != HF_SIGNER_KEY || hf_signer_get_id(answer + 2) != 1)
        return len < 0 ? strerror(errno) : "its answer does not parse";
    if (answer[6] != HF_SIGNER_DONE || len != HF_SIGNER_ANSWER_MIN + HF_SIGNER_KEY_LEN)
        return signer_result_text(answer[6]);
    memcpy(out, answer + HF_SIGNER_ANSWER_MIN, HF_SIGNER_KEY_LEN);
    return NULL;
}

enum hf_status hf_signer_fetch_key(uint8_t out[HF_SIGNER_KEY_LEN], char error[HF_SIGNER_ERROR_MAX],
                                   const struct hf_signer_config *config)
{
    const char *why;
    int fd;

    if (signer_check(error, config) != HF_OK)
        return HF_E_CONFIG;
    fd = signer_connect(config->path);
    why = fd < 0 ? strerror(errno) : signer_ask(out, fd, config);
    if (fd >= 0)
        (void)close(fd);
    if (!why)
        return HF_OK;
    snprintf(error, HF_SIGNER_ERROR_MAX, "signer %s: key %s: %s", config->path, config->label, why);
    return HF_E_SIGNER;
}

/* ---- answers to the loops ---- */

/* On the loop's thread. */
static void signer_arrive(struct hf_loop *loop, void *arg)
{
    struct answer *answer = arg;

    (void)hf_job_complete_signature(answer->job, (struct hf_bytes){answer->signature, answer->len});
    hf_loop_give_job(loop, answer->job);
    free(answer);
}

/* With the lock held. A loop that takes nothing is full, or has ended: the answer stays, to be
 * offered again or to be dropped in the end. */
static void signer_deliver(struct waiting *waiting, struct hf_signer *signer)
{
    if (!hf_loop_post(waiting->loop, signer_arrive, waiting->answer)) {
        signer->ready_count += !waiting->is_ready;
        waiting->is_ready = true;
        return;
    }
    signer->ready_count -= waiting->is_ready;
    waiting->is_ready = false;
    waiting->answer = NULL;
    signer->counters.waiting--;
}

/* With the lock held. `signature` empty: there will be none. */
static void signer_finish(struct waiting *waiting, struct hf_signer *signer,
                          struct hf_bytes signature)
{
    waiting->answer->len = signature.len;
    if (signature.len > 0)
        memcpy(waiting->answer->signature, signature.data, signature.len);
    signer_deliver(waiting, signer);
}

/* With the lock held: what was answered out of order makes way. */
static void signer_advance(struct hf_signer *signer)
{
    while (signer->first != signer->next &&
           !signer->waiting[signer->first % HF_SIGNER_WAITING_MAX].answer)
        signer->first++;
    if ((int32_t)(signer->sent - signer->first) < 0)
        signer->sent = signer->first;
}

static void signer_expire(struct hf_signer *signer, uint64_t now_ms)
{
    pthread_mutex_lock(&signer->lock);
    signer_advance(signer);
    for (uint32_t id = signer->first; id != signer->next; id++) {
        struct waiting *waiting = &signer->waiting[id % HF_SIGNER_WAITING_MAX];

        if (!waiting->answer)
            continue;
        if (waiting->is_ready) {
            signer_deliver(waiting, signer);
        } else if (waiting->deadline_ms <= now_ms) {
            signer->counters.timeouts++;
            signer_finish(waiting, signer, (struct hf_bytes){NULL, 0});
        } else if (signer->ready_count == 0) {
            break;
        }
    }
    signer_advance(signer);
    pthread_mutex_unlock(&signer->lock);
}

/* False: what came is no answer of this protocol. One for a request that has expired is ignored. */
static bool signer_take(struct hf_signer *signer, const uint8_t *packet, size_t len)
{
    uint32_t id;

    if (len < HF_SIGNER_ANSWER_MIN || packet[0] != HF_SIGNER_VERSION || packet[1] != HF_SIGNER_SIGN)
        return false;
    id = hf_signer_get_id(packet + 2);
    pthread_mutex_lock(&signer->lock);
    struct waiting *waiting = &signer->waiting[id % HF_SIGNER_WAITING_MAX];
    if (id - signer->first < signer->next - signer->first && waiting->answer &&
        !waiting->is_ready) {
        bool is_signed = packet[6] == HF_SIGNER_DONE && len > HF_SIGNER_ANSWER_MIN;

        signer->counters.signatures += is_signed;
        signer->counters.refusals += !is_signed;
        signer_finish(waiting, signer,
                      (struct hf_bytes){packet + HF_SIGNER_ANSWER_MIN,
                                        is_signed ? len - HF_SIGNER_ANSWER_MIN : 0});
        signer_advance(signer);
    }
    pthread_mutex_unlock(&signer->lock);
    return true;
}

/* ---- the connection ---- */

static void signer_disconnect(struct hf_signer *signer, uint64_t now_ms)
{
    if (signer->fd >= 0) {
        (void)close(signer->fd);
        pthread_mutex_lock(&signer->lock);
        signer->counters.disconnects++;
        signer->sent = signer->first;
        pthread_mutex_unlock(&signer->lock);
    }
    signer->fd = -1;
    signer->pause_until_ms = now_ms + signer->pause_ms;
    signer->pause_ms = signer->pause_ms * 2 < PAUSE_MAX_MS ? signer->pause_ms * 2 : PAUSE_MAX_MS;
}

static void signer_reconnect(struct hf_signer *signer, uint64_t now_ms)
{
    if (now_ms < signer->pause_until_ms)
        return;
    signer->fd = signer_connect(signer->path);
    if (signer->fd < 0) {
        signer_disconnect(signer, now_ms);
        return;
    }
    pthread_mutex_lock(&signer->lock);
    signer->counters.connects++;
    signer->sent = signer->first;
    pthread_mutex_unlock(&signer->lock);
}

/* The next request that is to be sent; false: none. */
static bool signer_next(uint8_t digest[HF_SIGNER_DIGEST_LEN], uint32_t *id,
                        struct hf_signer *signer)
{
    bool is_there = false;

    pthread_mutex_lock(&signer->lock);
    for (; !is_there && signer->sent != signer->next; signer->sent++) {
        const struct waiting *waiting = &signer->waiting[signer->sent % HF_SIGNER_WAITING_MAX];

        if (!waiting->answer || waiting->is_ready)
            continue;
        is_there = true;
        *id = signer->sent;
        memcpy(digest, waiting->digest, HF_SIGNER_DIGEST_LEN);
    }
    pthread_mutex_unlock(&signer->lock);
    return is_there;
}

/* True: the socket is full, and something waits. */
static bool signer_send_all(struct hf_signer *signer, uint64_t now_ms)
{
    uint8_t request[HF_SIGNER_REQUEST_MAX];
    uint8_t digest[HF_SIGNER_DIGEST_LEN];
    uint32_t id;

    while (signer->fd >= 0 && signer_next(digest, &id, signer)) {
        size_t len = hf_signer_write_request(request, id, signer->label, digest);

        if (send(signer->fd, request, len, MSG_NOSIGNAL) == (ssize_t)len)
            continue;
        if (errno == EAGAIN) {
            pthread_mutex_lock(&signer->lock);
            signer->sent = id;
            pthread_mutex_unlock(&signer->lock);
            return true;
        }
        signer_disconnect(signer, now_ms);
    }
    return false;
}

static void signer_receive_all(struct hf_signer *signer, uint64_t now_ms)
{
    uint8_t packet[HF_SIGNER_ANSWER_MAX];

    while (signer->fd >= 0) {
        // The length of the whole packet: one that was cut is no answer.
        ssize_t len = recv(signer->fd, packet, sizeof packet, MSG_TRUNC);

        if (len < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (len <= 0 || len > (ssize_t)sizeof packet || !signer_take(signer, packet, (size_t)len)) {
            signer_disconnect(signer, now_ms);
            return;
        }
        signer->pause_ms = PAUSE_FIRST_MS;
    }
}

/* ---- the thread ---- */

/* Milliseconds until something is due; -1: never. */
static int signer_patience(struct hf_signer *signer, uint64_t now_ms)
{
    uint64_t next_ms = UINT64_MAX;

    pthread_mutex_lock(&signer->lock);
    if (signer->first != signer->next) {
        next_ms = signer->waiting[signer->first % HF_SIGNER_WAITING_MAX].deadline_ms;
        if (signer->fd < 0 && signer->pause_until_ms < next_ms)
            next_ms = signer->pause_until_ms;
        if (signer->ready_count > 0 && now_ms + OFFER_AGAIN_MS < next_ms)
            next_ms = now_ms + OFFER_AGAIN_MS;
    }
    pthread_mutex_unlock(&signer->lock);
    if (next_ms == UINT64_MAX)
        return -1;
    return next_ms <= now_ms ? 0 : (int)(next_ms - now_ms);
}

static bool signer_has_work(struct hf_signer *signer, bool *is_ending)
{
    pthread_mutex_lock(&signer->lock);
    bool has_work = signer->first != signer->next;
    *is_ending = signer->is_ending;
    pthread_mutex_unlock(&signer->lock);
    return has_work;
}

static void *signer_run(void *arg)
{
    struct hf_signer *signer = arg;
    uint64_t spent;
    bool is_ending;

    for (;;) {
        uint64_t now_ms = signer_now_ms();
        bool is_full = false;

        signer_expire(signer, now_ms);
        bool has_work = signer_has_work(signer, &is_ending);
        if (is_ending)
            break;
        // Connected when there is something to ask, and then for as long as it lasts.
        if (signer->fd < 0 && has_work)
            signer_reconnect(signer, now_ms);
        if (signer->fd >= 0)
            is_full = signer_send_all(signer, now_ms);
        struct pollfd waits[2] = {
            {.fd = signer->wake_fd, .events = POLLIN},
            {.fd = signer->fd, .events = is_full ? POLLIN | POLLOUT : POLLIN}};
        (void)poll(waits, 2, signer_patience(signer, now_ms));
        if (waits[0].revents != 0)
            (void)!read(signer->wake_fd, &spent, sizeof spent);
        if (signer->fd >= 0 && (waits[1].revents & (POLLIN | POLLHUP | POLLERR)) != 0)
            signer_receive_all(signer, signer_now_ms());
    }
    if (signer->fd >= 0)
        (void)close(signer->fd);
    return NULL;
}

static void signer_wake(struct hf_signer *signer)
{
    uint64_t one = 1;

    (void)!write(signer->wake_fd, &one, sizeof one);
}

bool hf_signer_sign(struct hf_signer *signer, struct hf_loop *loop, struct hf_job *job)
{
    struct answer *answer = malloc(sizeof *answer);
    bool is_taken;

    pthread_mutex_lock(&signer->lock);
    is_taken = answer && signer->next - signer->first < HF_SIGNER_WAITING_MAX;
    if (is_taken) {
        struct waiting *waiting = &signer->waiting[signer->next++ % HF_SIGNER_WAITING_MAX];

        answer->job = job;
        *waiting = (struct waiting){
            .loop = loop, .answer = answer, .deadline_ms = signer_now_ms() + signer->timeout_ms};
        memcpy(waiting->digest, job->sign_digest, sizeof waiting->digest);
        signer->counters.requests++;
        signer->counters.waiting++;
    } else {
        signer->counters.rejected++;
    }
    pthread_mutex_unlock(&signer->lock);
    if (is_taken)
        signer_wake(signer);
    else
        free(answer);
    return is_taken;
}

void hf_signer_counters_get(struct hf_signer_counters *out, struct hf_signer *signer)
{
    pthread_mutex_lock(&signer->lock);
    *out = signer->counters;
    pthread_mutex_unlock(&signer->lock);
}

/* Signals are for the embedder's threads. */
static int signer_start(struct hf_signer *signer)
{
    sigset_t all;
    sigset_t before;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&signer->thread, NULL, signer_run, signer);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code;
}

enum hf_status hf_signer_open(struct hf_signer **out, char error[HF_SIGNER_ERROR_MAX],
                              const struct hf_signer_config *config)
{
    struct hf_signer *signer;

    *out = NULL;
    if (signer_check(error, config) != HF_OK)
        return HF_E_CONFIG;
    signer = calloc(1, sizeof *signer);
    if (signer)
        signer->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!signer || signer->wake_fd < 0) {
        snprintf(error, HF_SIGNER_ERROR_MAX, "signer %s: %s", config->path, strerror(errno));
        free(signer);
        return HF_E_MEMORY;
    }
    memcpy(signer->path, config->path, strlen(config->path));
    memcpy(signer->label, config->label, strlen(config->label));
    signer->timeout_ms = config->timeout_ms ? config->timeout_ms : TIMEOUT_DEFAULT_MS;
    signer->pause_ms = PAUSE_FIRST_MS;
    signer->fd = -1;
    (void)pthread_mutex_init(&signer->lock, NULL);
    int code = signer_start(signer);
    if (code != 0) {
        snprintf(error, HF_SIGNER_ERROR_MAX, "signer %s: %s", config->path, strerror(code));
        (void)close(signer->wake_fd);
        (void)pthread_mutex_destroy(&signer->lock);
        free(signer);
        return HF_E_MEMORY;
    }
    *out = signer;
    return HF_OK;
}

void hf_signer_close(struct hf_signer *signer)
{
    if (!signer)
        return;
    pthread_mutex_lock(&signer->lock);
    signer->is_ending = true;
    pthread_mutex_unlock(&signer->lock);
    signer_wake(signer);
    (void)pthread_join(signer->thread, NULL);
    for (size_t i = 0; i < HF_SIGNER_WAITING_MAX; i++)
        free(signer->waiting[i].answer);
    (void)close(signer->wake_fd);
    (void)pthread_mutex_destroy(&signer->lock);
    free(signer);
}
