/**
 * server.c - one thread, one poll. What all clients ask for between two polls is signed together.
 *
 * A client that breaks the protocol, or does not read its answers, is hung up on; it costs nobody
 * else anything.
 */
#include "server.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define CLIENTS_MAX 64
#define REQUESTS_PER_CLIENT 16 /* in a row, while others may be waiting */

struct asked {
    size_t client;
    uint32_t id;
};

struct server {
    struct keys *keys;
    const struct server_config *config;
    int listen_fd;
    int signal_fd;
    int fds[CLIENTS_MAX]; /* -1: free */
    size_t first;         /* the client that is read from first: everybody's turn comes */
    struct signing signings[KEYS_SIGNINGS_MAX];
    struct asked asked[KEYS_SIGNINGS_MAX];
    size_t count;
};

/* ---- the socket ---- */

static int server_socket(void)
{
    return socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* What a signer that was killed has left is taken away; one that lives is not. */
static bool server_clear(const struct sockaddr_un *address)
{
    struct stat info;
    int fd;
    bool is_dead;

    if (lstat(address->sun_path, &info) != 0)
        return errno == ENOENT;
    if (!S_ISSOCK(info.st_mode)) {
        errno = EEXIST;
        return false;
    }
    fd = server_socket();
    is_dead = connect(fd, (const struct sockaddr *)address, sizeof *address) != 0 &&
              errno == ECONNREFUSED;
    (void)close(fd);
    errno = EADDRINUSE;
    return is_dead && unlink(address->sun_path) == 0;
}

static bool server_listen(struct server *server, char error[KEYS_ERROR_MAX])
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = server->config->path;
    mode_t mask = umask(0177);
    bool is_good = strlen(path) < sizeof address.sun_path;

    errno = ENAMETOOLONG;
    if (is_good)
        memcpy(address.sun_path, path, strlen(path));
    server->listen_fd = server_socket();
    is_good = is_good && server_clear(&address) &&
              bind(server->listen_fd, (const struct sockaddr *)&address, sizeof address) == 0 &&
              chmod(path, server->config->mode) == 0 && listen(server->listen_fd, CLIENTS_MAX) == 0;
    if (!is_good)
        snprintf(error, KEYS_ERROR_MAX, "%s: %s", path, strerror(errno));
    (void)umask(mask);
    return is_good;
}

static bool server_may_connect(const struct server *server, int fd)
{
    struct ucred peer;
    socklen_t len = sizeof peer;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
        return false;
    if (peer.uid == 0 || peer.uid == geteuid())
        return true;
    for (size_t i = 0; i < server->config->uid_count; i++) {
        if (server->config->uids[i] == peer.uid)
            return true;
    }
    fprintf(stderr, "handfast-signer: uid %lu is not allowed\n", (unsigned long)peer.uid);
    return false;
}

static void server_accept(struct server *server)
{
    int fd;

    while ((fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
        size_t i = 0;

        while (i < CLIENTS_MAX && server->fds[i] >= 0)
            i++;
        if (i < CLIENTS_MAX && server_may_connect(server, fd))
            server->fds[i] = fd;
        else
            (void)close(fd);
    }
}

static void server_hang_up(struct server *server, size_t client)
{
    (void)close(server->fds[client]);
    server->fds[client] = -1;
}

/* ---- requests and answers ---- */

static void server_answer(struct server *server, size_t client, enum hf_signer_kind kind,
                          uint32_t id, enum hf_signer_result result, struct hf_bytes payload)
{
    uint8_t packet[HF_SIGNER_ANSWER_MAX] = {HF_SIGNER_VERSION, (uint8_t)kind};
    size_t len = HF_SIGNER_ANSWER_MIN + payload.len;

    if (server->fds[client] < 0)
        return;
    hf_signer_put_id(packet + 2, id);
    packet[6] = (uint8_t)result;
    if (payload.len > 0)
        memcpy(packet + HF_SIGNER_ANSWER_MIN, payload.data, payload.len);
    if (send(server->fds[client], packet, len, MSG_NOSIGNAL) != (ssize_t)len)
        server_hang_up(server, client);
}

/* False: not a request of this version. */
static bool server_take(struct server *server, size_t client, const uint8_t *packet, size_t len)
{
    static const struct hf_bytes nothing = {NULL, 0};

    if (len < 7 || packet[0] != HF_SIGNER_VERSION || packet[6] > HF_SIGNER_LABEL_MAX)
        return false;
    uint32_t id = hf_signer_get_id(packet + 2);
    size_t digest_at = 7u + packet[6];
    size_t digest_len = packet[1] == HF_SIGNER_SIGN ? HF_SIGNER_DIGEST_LEN : 0;
    if ((packet[1] != HF_SIGNER_SIGN && packet[1] != HF_SIGNER_KEY) ||
        len != digest_at + digest_len)
        return false;
    enum hf_signer_kind kind = (enum hf_signer_kind)packet[1];
    struct key *key = keys_find(server->keys, packet + 7, packet[6]);
    if (!key) {
        server_answer(server, client, kind, id, HF_SIGNER_UNKNOWN, nothing);
    } else if (kind == HF_SIGNER_KEY) {
        struct hf_bytes message = hf_credential_message(key->credential, true);
        server_answer(server, client, kind, id, HF_SIGNER_DONE,
                      (struct hf_bytes){message.data + 3, message.len - 3});
    } else {
        server->signings[server->count].key = key;
        memcpy(server->signings[server->count].digest, packet + digest_at, HF_SIGNER_DIGEST_LEN);
        server->asked[server->count++] = (struct asked){client, id};
    }
    return true;
}

static void server_read(struct server *server, size_t client)
{
    uint8_t packet[HF_SIGNER_REQUEST_MAX];

    for (int i = 0; i < REQUESTS_PER_CLIENT && server->count < KEYS_SIGNINGS_MAX; i++) {
        int fd = server->fds[client];
        // The length of the whole packet: one that was cut is no request.
        ssize_t len = fd < 0 ? 0 : recv(fd, packet, sizeof packet, MSG_TRUNC);

        if (fd < 0 || (len < 0 && (errno == EAGAIN || errno == EINTR)))
            return;
        if (len > 0 && len <= (ssize_t)sizeof packet &&
            server_take(server, client, packet, (size_t)len))
            continue;
        if (len > 0)
            server_answer(server, client, HF_SIGNER_SIGN, 0, HF_SIGNER_MALFORMED,
                          (struct hf_bytes){NULL, 0});
        if (server->fds[client] >= 0)
            server_hang_up(server, client);
        return;
    }
}

static void server_sign(struct server *server)
{
    keys_sign(server->keys, server->signings, server->count);
    for (size_t i = 0; i < server->count; i++) {
        const struct signing *signing = &server->signings[i];

        server_answer(server, server->asked[i].client, HF_SIGNER_SIGN, server->asked[i].id,
                      signing->signature_len > 0 ? HF_SIGNER_DONE : HF_SIGNER_FAILED,
                      (struct hf_bytes){signing->signature, signing->signature_len});
    }
    server->count = 0;
}

/* ---- the loop ---- */

/* False: it is to end. */
static bool server_turn(struct server *server)
{
    struct pollfd waits[2 + CLIENTS_MAX];

    waits[0] = (struct pollfd){.fd = server->signal_fd, .events = POLLIN};
    waits[1] = (struct pollfd){.fd = server->listen_fd, .events = POLLIN};
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        waits[2 + i] = (struct pollfd){.fd = server->fds[i], .events = POLLIN};
    if (poll(waits, 2 + CLIENTS_MAX, -1) < 0)
        return errno == EINTR;
    if (waits[0].revents != 0)
        return false;
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        size_t client = (server->first + i) % CLIENTS_MAX;

        if (server->fds[client] >= 0 && waits[2 + client].revents != 0)
            server_read(server, client);
    }
    server->first = (server->first + 1) % CLIENTS_MAX;
    server_sign(server);
    // Last: a number that was closed above may come back here.
    if (waits[1].revents != 0)
        server_accept(server);
    return true;
}

bool server_run(char error[KEYS_ERROR_MAX], struct keys *keys, const struct server_config *config)
{
    static struct server server;
    sigset_t signals;

    server.keys = keys;
    server.config = config;
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        server.fds[i] = -1;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &signals, NULL);
    server.signal_fd = signalfd(-1, &signals, SFD_CLOEXEC);
    if (server.signal_fd < 0 || !server_listen(&server, error)) {
        if (server.signal_fd < 0)
            snprintf(error, KEYS_ERROR_MAX, "signalfd: %s", strerror(errno));
        return false;
    }
    fprintf(stderr, "handfast-signer: %zu keys on %s\n", keys->count, config->path);
    while (server_turn(&server))
        continue;
    (void)unlink(config->path);
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        if (server.fds[i] >= 0)
            server_hang_up(&server, i);
    }
    (void)close(server.listen_fd);
    (void)close(server.signal_fd);
    return true;
}
