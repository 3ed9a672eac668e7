/**
 * takeover.c - see takeover.h.
 */
#include "takeover.h"

#include "clock.h"
#include "handover_hello.h"
#include "handover_wire.h"
#include "log.h"

#include <errno.h>
#include <handfast/transfer.h>
#include <handover.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_SECONDS 30
#define KEY_LEN 16

struct authority_key {
    char name[HF_NAME_MAX];
    uint8_t key[KEY_LEN];
};

struct shard_sockets {
    bool is_there;
    int fds[HF_LOOP_DESCRIPTORS_MAX];
    size_t count;
};

struct hf_takeover {
    int fd;
    struct hf_shared_secrets secrets;
    struct authority_key keys[HF_AUTHORITIES_MAX];
    size_t key_count;
    struct shard_sockets shards[HF_SHARDS_MAX];
    uint32_t shard_count;
    int shared[2]; /* control, listener */
    uint16_t metrics_port;
    uint64_t begun_us, frozen_since_us; /* nobody serves */
    struct hf_daemon_taken taken;
};

static bool fail(char *error, const char *why)
{
    snprintf(error, HF_TAKEOVER_ERROR_MAX, "takeover: %.300s", why);
    return false;
}

/* ---- what the predecessor is told, and says of itself ------------------------------------- */

json_t *hf_takeover_describe(const struct hf_daemon_config *config)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < config->socket_count; i++) {
        char address[HF_ADDRESS_TEXT_MAX];
        hf_address_print(address, &config->sockets[i].address);
        json_array_append_new(
            list, json_pack("{s:s,s:s,s:s}", "name", config->details[i].name, "transport",
                            config->details[i].transport == HF_TRANSPORT_TLS ? "tls" : "dtls",
                            "address", address));
    }
    return json_pack("{s:i,s:i,s:I,s:I,s:o,s:o}", "version", HF_HANDOVER_VERSION, "sessions",
                     HF_SESSION_COPY_VERSION, "shards", (json_int_t)config->shard_count,
                     "associations_max", (json_int_t)config->associations_max, "listeners", list,
                     "dialers", hf_handover_hello_dialers(config));
}

bool hf_takeover_read_hex(uint8_t *out, size_t len, const char *hex)
{
    static const char digits[] = "0123456789abcdef";
    if (hex == NULL || strlen(hex) != 2 * len)
        return false;
    for (size_t i = 0; i < len; i++) {
        const char *high = strchr(digits, hex[2 * i]);
        const char *low = strchr(digits, hex[2 * i + 1]);
        if (high == NULL || low == NULL)
            return false;
        out[i] = (uint8_t)((high - digits) << 4 | (low - digits));
    }
    return true;
}

static bool take_state(struct hf_takeover *takeover, json_t *state)
{
    size_t i = 0;
    json_t *item = NULL;
    json_array_foreach(json_object_get(state, "secrets"), i, item)
    {
        struct hf_shared_secret *secret = &takeover->secrets.entries[i];
        if (i == HF_SHARED_SECRETS_MAX ||
            !hf_takeover_read_hex(secret->secret, sizeof(secret->secret),
                                  json_string_value(json_object_get(item, "secret"))))
            return false;
        secret->from_s = json_integer_value(json_object_get(item, "from"));
        takeover->secrets.count = (uint32_t)i + 1;
    }
    json_array_foreach(json_object_get(state, "authorities"), i, item)
    {
        const char *name = json_string_value(json_object_get(item, "name"));
        if (i == HF_AUTHORITIES_MAX || name == NULL ||
            !hf_takeover_read_hex(takeover->keys[i].key, KEY_LEN,
                                  json_string_value(json_object_get(item, "context_key"))))
            return false;
        snprintf(takeover->keys[i].name, HF_NAME_MAX, "%s", name);
        takeover->key_count = i + 1;
    }
    takeover->taken.count = (uint64_t)json_integer_value(json_object_get(state, "takeovers")) + 1;
    takeover->metrics_port = (uint16_t)json_integer_value(json_object_get(state, "metrics_port"));
    return true;
}

/* ---- opening ------------------------------------------------------------------------------ */

static bool connect_to(struct hf_takeover *takeover, char *error, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    pid_t pid = 0;
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    takeover->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (takeover->fd < 0 ||
        connect(takeover->fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        snprintf(error, HF_TAKEOVER_ERROR_MAX, "takeover: nobody serves %s (%s)", path,
                 strerror(errno));
        return false;
    }
    hf_handover_patience(takeover->fd, PATIENCE_SECONDS);
    return hf_handover_peer(&pid, takeover->fd, geteuid()) || geteuid() == 0 ||
           fail(error, "whoever serves the socket is neither root nor this user");
}

static bool say_hello(const struct hf_takeover *takeover, const struct hf_daemon_config *config)
{
    json_t *hello = hf_takeover_describe(config);
    char *text = hello == NULL ? NULL : json_dumps(hello, JSON_COMPACT);
    bool is_sent =
        text != NULL && hf_handover_send(takeover->fd, HF_HANDOVER_HELLO, 0,
                                         (struct hf_bytes){(uint8_t *)text, strlen(text)}, NULL, 0);
    free(text);
    json_decref(hello);
    return is_sent;
}

static bool hear_state(struct hf_takeover *takeover, char *error)
{
    struct hf_handover_frame frame;
    json_error_t where;
    if (!hf_handover_receive(&frame, takeover->fd))
        return fail(error, "the predecessor does not answer");
    bool is_good = false;
    if (frame.kind == HF_HANDOVER_STATE) {
        json_t *state = json_loadb((const char *)frame.data, frame.len, 0, &where);
        is_good = take_state(takeover, state) || fail(error, "its state makes no sense");
        json_decref(state);
    } else if (frame.kind == HF_HANDOVER_REFUSED) {
        fail(error, (const char *)frame.data);
    } else {
        fail(error, "the predecessor says something else than agreed");
    }
    hf_handover_wipe(&frame);
    return is_good;
}

/* One byte a descriptor: whether there is one. */
static void take_sockets(struct shard_sockets *out, struct hf_handover_frame *frame)
{
    size_t next = 0;
    for (size_t i = 0; i < frame->len && i < HF_LOOP_DESCRIPTORS_MAX; i++) {
        bool is_one = frame->data[i] != 0 && next < frame->fd_count;
        out->fds[i] = is_one ? frame->fds[next] : -1;
        if (is_one)
            frame->fds[next++] = -1;
        out->count = i + 1;
    }
    out->is_there = true;
}

static bool hear_sockets(struct hf_takeover *takeover, char *error)
{
    struct hf_handover_frame frame;
    bool is_over = false;
    while (!is_over && hf_handover_receive(&frame, takeover->fd)) {
        is_over = frame.kind == HF_HANDOVER_SHARED;
        if (frame.kind == HF_HANDOVER_SOCKETS && frame.shard < takeover->shard_count &&
            !takeover->shards[frame.shard].is_there)
            take_sockets(&takeover->shards[frame.shard], &frame);
        for (size_t i = 0, next = 0; is_over && i < frame.len && i < 2; i++) {
            takeover->shared[i] =
                frame.data[i] != 0 && next < frame.fd_count ? frame.fds[next] : -1;
            if (takeover->shared[i] >= 0)
                frame.fds[next++] = -1;
        }
        hf_handover_wipe(&frame);
    }
    for (uint32_t i = 0; i < takeover->shard_count; i++)
        is_over &= takeover->shards[i].is_there;
    return is_over || fail(error, "the predecessor's sockets did not come");
}

bool hf_takeover_open(struct hf_takeover **out, char error[HF_TAKEOVER_ERROR_MAX],
                      const struct hf_daemon_config *config)
{
    struct hf_takeover *takeover = calloc(1, sizeof(*takeover));
    if (takeover == NULL)
        return fail(error, "no memory");
    takeover->begun_us = hf_clock_us();
    takeover->fd = takeover->shared[0] = takeover->shared[1] = -1;
    takeover->shard_count = (uint32_t)config->shard_count;
    if (connect_to(takeover, error, config->takeover_socket) &&
        (say_hello(takeover, config) || fail(error, "the predecessor does not listen")) &&
        hear_state(takeover, error) && hear_sockets(takeover, error)) {
        *out = takeover;
        return true;
    }
    hf_takeover_close(takeover);
    return false;
}

void hf_takeover_close(struct hf_takeover *takeover)
{
    if (takeover == NULL)
        return;
    for (uint32_t s = 0; s < takeover->shard_count; s++)
        for (size_t i = 0; i < takeover->shards[s].count; i++)
            if (takeover->shards[s].fds[i] >= 0)
                close(takeover->shards[s].fds[i]);
    for (int i = 0; i < 2; i++)
        if (takeover->shared[i] >= 0)
            close(takeover->shared[i]);
    if (takeover->fd >= 0)
        close(takeover->fd);
    explicit_bzero(takeover, sizeof(*takeover));
    free(takeover);
}

/* ---- what was got ------------------------------------------------------------------------- */

void hf_takeover_secrets(struct hf_shared_secrets *out, const struct hf_takeover *takeover)
{
    if (takeover != NULL && takeover->secrets.count > 0)
        *out = takeover->secrets;
}

const uint8_t *hf_takeover_context_key(const struct hf_takeover *takeover, const char *name)
{
    for (size_t i = 0; takeover != NULL && i < takeover->key_count; i++)
        if (strcmp(takeover->keys[i].name, name) == 0)
            return takeover->keys[i].key;
    return NULL;
}

const int *hf_takeover_sockets(struct hf_loop_socket *sockets, uint32_t socket_count,
                               const struct hf_takeover *takeover, uint32_t shard_index)
{
    if (takeover == NULL)
        return NULL;
    const struct shard_sockets *from = &takeover->shards[shard_index];
    for (uint32_t i = 0; i < socket_count && i < from->count; i++) {
        sockets[i].is_adopted = from->fds[i] >= 0;
        sockets[i].fd = from->fds[i];
    }
    return from->count >= socket_count + HF_LOOP_UPSTREAM_SOCKETS ? from->fds + socket_count : NULL;
}

static int shared_at(const struct hf_takeover *takeover, int index, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t len = sizeof(address);
    if (takeover == NULL || takeover->shared[index] < 0 ||
        getsockname(takeover->shared[index], (struct sockaddr *)&address, &len) != 0 ||
        strncmp(address.sun_path, path, sizeof(address.sun_path)) != 0)
        return -1;
    return takeover->shared[index];
}

int hf_takeover_control(const struct hf_takeover *takeover, const char *path)
{
    return shared_at(takeover, 0, path);
}

int hf_takeover_listener(const struct hf_takeover *takeover, const char *path)
{
    return shared_at(takeover, 1, path);
}

uint16_t hf_takeover_metrics(const struct hf_takeover *takeover)
{
    return takeover == NULL ? 0 : takeover->metrics_port;
}

/* ---- associations ------------------------------------------------------------------------- */

static bool take_chunk(const struct hf_daemon *daemon, char *error,
                       const struct hf_handover_frame *frame)
{
    struct hf_engine *engine = hf_loop_engine(hf_shard_loop(daemon->shards[frame->shard]));
    enum hf_status status = hf_engine_import(engine, (struct hf_bytes){frame->data, frame->len});
    if (status != HF_OK)
        snprintf(error, HF_TAKEOVER_ERROR_MAX, "takeover: an association does not fit here: %s",
                 hf_status_text(status));
    return status == HF_OK;
}

/* All of a shard's associations are there before its first connection comes. */
static void end_import(struct hf_takeover *takeover, const struct hf_daemon *daemon,
                       bool is_ended[HF_SHARDS_MAX], uint32_t shard)
{
    struct hf_transfer_counts counts;
    if (is_ended[shard])
        return;
    is_ended[shard] = true;
    hf_engine_import_end(&counts, hf_loop_engine(hf_shard_loop(daemon->shards[shard])));
    takeover->taken.associations += counts.associations;
    takeover->taken.left_out += counts.left_out;
}

static void take_parcel(struct hf_takeover *takeover, const struct hf_daemon *daemon,
                        struct hf_handover_frame *frame)
{
    struct hf_loop *loop = hf_shard_loop(daemon->shards[frame->shard]);
    if (frame->fd_count > 2 || hf_loop_take(loop, (struct hf_bytes){frame->data, frame->len},
                                            frame->fds, frame->fd_count) != HF_OK) {
        takeover->taken.connections_lost++;
        return;
    }
    takeover->taken.connections++;
    for (size_t i = 0; i < frame->fd_count; i++)
        frame->fds[i] = -1;
}

/* What cannot be read costs full handshakes, and no more. */
static void take_sessions(struct hf_takeover *takeover, const struct hf_daemon *daemon,
                          const struct hf_handover_frame *frame)
{
    struct hf_session_copy_counts counts = {0};
    struct hf_session_cache *cache = daemon->shared.sessions.cache;
    if (cache != NULL &&
        hf_session_copy_take(&counts, cache, (struct hf_bytes){frame->data, frame->len},
                             (int64_t)time(NULL)) != HF_OK)
        counts.left_out++;
    takeover->taken.sessions += counts.taken;
    takeover->taken.sessions_left_out += counts.left_out;
}

/* Until FROZEN. */
static bool take_all(struct hf_takeover *takeover, char *error, const struct hf_daemon *daemon,
                     bool is_ended[HF_SHARDS_MAX])
{
    struct hf_handover_frame frame;
    bool is_good = true;
    bool is_frozen = false;
    while (is_good && !is_frozen) {
        if (!hf_handover_receive(&frame, takeover->fd))
            return fail(error, "the predecessor has broken off");
        bool is_shard = frame.shard < daemon->shard_count;
        if (frame.kind == HF_HANDOVER_CHUNK && is_shard && !is_ended[frame.shard]) {
            is_good = take_chunk(daemon, error, &frame);
        } else if (frame.kind == HF_HANDOVER_PARCEL && is_shard) {
            end_import(takeover, daemon, is_ended, frame.shard);
            take_parcel(takeover, daemon, &frame);
        } else if (frame.kind == HF_HANDOVER_SESSIONS) {
            take_sessions(takeover, daemon, &frame);
        } else if (frame.kind == HF_HANDOVER_FROZEN) {
            is_frozen = true;
            takeover->frozen_since_us = strtoull((const char *)frame.data, NULL, 10);
        } else {
            is_good = fail(error, "the predecessor says something else than agreed");
        }
        hf_handover_wipe(&frame);
    }
    return is_good;
}

static bool commit(struct hf_takeover *takeover, char *error)
{
    struct hf_handover_frame frame;
    const struct hf_bytes nothing = {NULL, 0};
    bool is_over = hf_handover_send(takeover->fd, HF_HANDOVER_COMMIT, 0, nothing, NULL, 0) &&
                   hf_handover_receive(&frame, takeover->fd);
    if (!is_over)
        return fail(error, "the predecessor did not let go");
    is_over = frame.kind == HF_HANDOVER_GO;
    hf_handover_wipe(&frame);
    return is_over || fail(error, "the predecessor did not let go");
}

bool hf_takeover_run(struct hf_takeover *takeover, char error[HF_TAKEOVER_ERROR_MAX],
                     struct hf_daemon *daemon)
{
    bool is_ended[HF_SHARDS_MAX] = {false};
    const struct hf_bytes nothing = {NULL, 0};
    if (takeover == NULL)
        return true;
    for (uint32_t i = 0; i < daemon->shard_count; i++)
        if (hf_engine_import_begin(hf_loop_engine(hf_shard_loop(daemon->shards[i])), hf_clock_us(),
                                   (int64_t)time(NULL)) != HF_OK)
            return fail(error, "a shard has associations already");
    bool is_good = hf_handover_send(takeover->fd, HF_HANDOVER_READY, 0, nothing, NULL, 0) ||
                   fail(error, "the predecessor does not listen");
    is_good = is_good && take_all(takeover, error, daemon, is_ended);
    for (uint32_t i = 0; i < daemon->shard_count; i++) {
        end_import(takeover, daemon, is_ended, i);
        hf_loop_take_end(hf_shard_loop(daemon->shards[i]));
    }
    return is_good && commit(takeover, error);
}

void hf_takeover_end_gone(const struct hf_daemon *daemon)
{
    for (uint32_t a = 0; a < daemon->started.authority_count; a++) {
        uint64_t *contexts = NULL;
        size_t count = 0;
        if (!hf_authority_contexts(daemon->shared.authorities[a], &contexts, &count))
            continue;
        for (uint32_t i = 0; i < daemon->shard_count; i++)
            (void)hf_shard_end_unkept(daemon->shards[i], a, UINT64_MAX, contexts, count);
        free(contexts);
    }
}

void hf_takeover_settle(const struct hf_takeover *takeover, struct hf_daemon *daemon)
{
    struct hf_daemon_taken *taken = &daemon->taken;
    struct hf_log_line line;
    if (takeover == NULL)
        return;
    *taken = takeover->taken;
    taken->us = hf_clock_us() - takeover->begun_us;
    taken->frozen_us = hf_clock_us() - takeover->frozen_since_us;
    hf_log_begin(&line, HF_LOG_NOTICE, HF_LOG_SLOT_UNLIMITED, "taken_over", NULL);
    hf_log_number(&line, "associations", taken->associations);
    hf_log_number(&line, "left_out", taken->left_out);
    hf_log_number(&line, "connections", taken->connections);
    hf_log_number(&line, "connections_lost", taken->connections_lost);
    hf_log_number(&line, "sessions", taken->sessions);
    hf_log_number(&line, "sessions_left_out", taken->sessions_left_out);
    hf_log_number(&line, "frozen_us", taken->frozen_us);
    hf_log_number(&line, "us", taken->us);
    hf_log_end(&line);
}
