/**
 * control.c - the control socket's connections: few, bounded, and judged by who is at the other
 * end.
 *
 * One thread reads lines and runs commands one after the other; a peer that does not read its
 * answer is waited for a second and then dropped, so it cannot keep the others out for long.
 */
#include "control.h"

#include "control_command.h"
#include "takeover.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS_MAX 8
#define IDLE_SECONDS_MAX 60
#define SEND_SECONDS_MAX 1
#define GROUPS_MAX 256
#define STARTING_MS 20

struct client {
    int fd; /* -1: free */
    char who[64];
    time_t heard;
    size_t len;
    char line[HF_CONTROL_LINE_MAX];
};

struct hf_control {
    struct hf_daemon *daemon;
    struct sockaddr_un address;
    int listen_fd, end_fd;
    uid_t owner;
    gid_t group;
    pthread_t thread;
    struct client clients[CLIENTS_MAX];
};

/* ---- who may ------------------------------------------------------------------------------ */

static bool is_in_group(int fd, gid_t main_group, gid_t group)
{
    gid_t groups[GROUPS_MAX];
    socklen_t len = sizeof(groups);
    if (main_group == group)
        return true;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) != 0)
        return false;
    for (size_t i = 0; i < len / sizeof(groups[0]); i++)
        if (groups[i] == group)
            return true;
    return false;
}

static bool is_allowed(const struct hf_control *control, int fd, struct ucred *peer)
{
    socklen_t len = sizeof(*peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, peer, &len) != 0)
        return false;
    return peer->uid == 0 || peer->uid == control->owner ||
           is_in_group(fd, peer->gid, control->group);
}

/* ---- answers ------------------------------------------------------------------------------ */

static void drop(struct client *client)
{
    close(client->fd);
    client->fd = -1;
}

/* SO_SNDTIMEO bounds it. */
static bool send_answer(int fd, json_t *answer)
{
    char *text = answer == NULL ? NULL : json_dumps(answer, JSON_COMPACT | JSON_PRESERVE_ORDER);
    size_t len = text == NULL ? 0 : strlen(text);
    bool is_sent = text != NULL;
    if (is_sent)
        text[len++] = '\n'; /* instead of the NUL */
    for (size_t at = 0; is_sent && at < len;) {
        ssize_t sent = send(fd, text + at, len - at, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        is_sent = sent > 0;
        at += is_sent ? (size_t)sent : 0;
    }
    free(text);
    json_decref(answer);
    return is_sent;
}

static bool serve_line(struct hf_control *control, struct client *client, const char *line,
                       size_t len)
{
    struct hf_control_request request;
    char reason[HF_CONTROL_REASON_MAX];
    if (!hf_control_request_parse(&request, reason, line, len))
        return send_answer(client->fd, hf_control_error(reason));
    return send_answer(client->fd, hf_control_command_run(control->daemon, &request, client->who));
}

/* False: it is to be dropped. */
static bool receive(struct hf_control *control, struct client *client)
{
    ssize_t got = recv(client->fd, client->line + client->len, sizeof(client->line) - client->len,
                       MSG_DONTWAIT);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR;
    if (got == 0)
        return false;
    client->heard = time(NULL);
    client->len += (size_t)got;
    char *end = NULL;
    while ((end = memchr(client->line, '\n', client->len)) != NULL) {
        size_t len = (size_t)(end - client->line);
        if (!serve_line(control, client, client->line, len))
            return false;
        client->len -= len + 1;
        memmove(client->line, end + 1, client->len);
    }
    if (client->len < sizeof(client->line))
        return true;
    (void)send_answer(client->fd, hf_control_error("the line is too long"));
    return false;
}

/* ---- connections -------------------------------------------------------------------------- */

static void refuse(int fd, const char *why)
{
    (void)send_answer(fd, hf_control_error(why));
    close(fd);
}

static void accept_one(struct hf_control *control)
{
    struct ucred peer;
    struct client *free_client = NULL;
    int fd = accept4(control->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &(struct timeval){SEND_SECONDS_MAX, 0},
                     sizeof(struct timeval));
    if (!is_allowed(control, fd, &peer)) {
        hf_log_message(HF_LOG_WARNING, "control_refused", "uid %u, pid %d: not allowed",
                       (unsigned)peer.uid, (int)peer.pid);
        refuse(fd, "not allowed: root, the daemon's user, or a member of the socket's group");
        return;
    }
    for (int i = 0; i < CLIENTS_MAX && free_client == NULL; i++)
        if (control->clients[i].fd < 0)
            free_client = &control->clients[i];
    if (free_client == NULL) {
        refuse(fd, "too many connections");
        return;
    }
    free_client->fd = fd;
    free_client->len = 0;
    free_client->heard = time(NULL);
    snprintf(free_client->who, sizeof(free_client->who), "uid=%u pid=%d", (unsigned)peer.uid,
             (int)peer.pid);
}

static void *live(void *arg)
{
    struct hf_control *control = arg;
    for (;;) {
        /* Where one takes over from another both have the socket: who serves answers. */
        bool is_starting = control->daemon->state == HF_DAEMON_STARTING;
        bool is_silent = is_starting || control->daemon->is_handed_over;
        struct pollfd fds[2 + CLIENTS_MAX] = {{control->end_fd, POLLIN, 0},
                                              {is_silent ? -1 : control->listen_fd, POLLIN, 0}};
        for (int i = 0; i < CLIENTS_MAX; i++)
            fds[2 + i] = (struct pollfd){control->clients[i].fd, POLLIN, 0};
        int timeout_ms = is_starting ? STARTING_MS : 1000 * IDLE_SECONDS_MAX / 4;
        if (poll(fds, 2 + CLIENTS_MAX, timeout_ms) < 0 && errno != EINTR)
            return NULL;
        if (fds[0].revents != 0)
            return NULL;
        time_t now = time(NULL);
        for (int i = 0; i < CLIENTS_MAX; i++) {
            struct client *client = &control->clients[i];
            if (client->fd < 0)
                continue;
            bool is_kept = fds[2 + i].revents == 0 ? now - client->heard < IDLE_SECONDS_MAX
                                                   : receive(control, client);
            if (!is_kept)
                drop(client);
        }
        if (fds[1].revents != 0 && !control->daemon->is_handed_over)
            accept_one(control);
    }
}

/* ---- the socket --------------------------------------------------------------------------- */

static bool fail(struct hf_control *control, char *error, const char *why)
{
    snprintf(error, HF_CONTROL_ERROR_MAX, "control socket: %s: %s", control->address.sun_path, why);
    return false;
}

/* Takes away what a killed daemon left behind. */
static bool clear_path(struct hf_control *control, char *error)
{
    struct stat st;
    const char *path = control->address.sun_path;
    if (lstat(path, &st) != 0)
        return errno == ENOENT || fail(control, error, strerror(errno));
    if (!S_ISSOCK(st.st_mode))
        return fail(control, error, "something that is no socket is there");
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is_served =
        fd >= 0 && connect(fd, (struct sockaddr *)&control->address, sizeof(control->address)) == 0;
    if (fd >= 0)
        close(fd);
    if (is_served)
        return fail(control, error, "another process serves it");
    return unlink(path) == 0 || fail(control, error, strerror(errno));
}

static void set_owner(struct hf_control *control, const struct hf_sandbox *sandbox)
{
    control->owner = sandbox->has_user ? sandbox->uid : geteuid();
    control->group = sandbox->control_gid;
    if (control->group == (gid_t)-1)
        control->group = sandbox->has_user ? sandbox->gid : getegid();
}

static bool bind_socket(struct hf_control *control, char *error, const struct hf_sandbox *sandbox,
                        bool is_adopted)
{
    const char *path = control->address.sun_path;
    control->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (control->listen_fd < 0)
        control->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (control->end_fd < 0 || control->listen_fd < 0)
        return fail(control, error, strerror(errno));
    set_owner(control, sandbox);
    if (is_adopted)
        return true;
    mode_t mask = umask(0117); /* the shards wait, the log makes no files: nobody else sees it */
    int status =
        bind(control->listen_fd, (struct sockaddr *)&control->address, sizeof(control->address));
    umask(mask);
    if (status != 0 || chown(path, control->owner, control->group) != 0 || chmod(path, 0660) != 0 ||
        listen(control->listen_fd, CLIENTS_MAX) != 0)
        return fail(control, error, strerror(errno));
    return true;
}

bool hf_control_open(struct hf_control **out, char error[HF_CONTROL_ERROR_MAX],
                     struct hf_daemon *daemon, const struct hf_sandbox *sandbox)
{
    struct hf_control *control = calloc(1, sizeof(*control));
    if (control == NULL) {
        snprintf(error, HF_CONTROL_ERROR_MAX, "no memory for the control socket");
        return false;
    }
    control->daemon = daemon;
    control->listen_fd = control->end_fd = -1;
    for (int i = 0; i < CLIENTS_MAX; i++)
        control->clients[i].fd = -1;
    control->address.sun_family = AF_UNIX;
    snprintf(control->address.sun_path, sizeof(control->address.sun_path), "%s",
             daemon->started.control_socket);
    int adopted = hf_takeover_control(daemon->shared.takeover, control->address.sun_path);
    if (adopted >= 0)
        control->listen_fd = fcntl(adopted, F_DUPFD_CLOEXEC, 0);
    bool is_adopted = control->listen_fd >= 0;
    bool is_good = (is_adopted || clear_path(control, error)) &&
                   bind_socket(control, error, sandbox, is_adopted);
    if (is_good && pthread_create(&control->thread, NULL, live, control) == 0) {
        *out = control;
        return true;
    }
    if (is_good)
        (void)fail(control, error, "no thread for it");
    if (control->listen_fd >= 0)
        close(control->listen_fd);
    if (control->end_fd >= 0)
        close(control->end_fd);
    free(control);
    return false;
}

int hf_control_descriptor(const struct hf_control *control)
{
    return control == NULL ? -1 : control->listen_fd;
}

void hf_control_close(struct hf_control *control)
{
    if (control == NULL)
        return;
    (void)eventfd_write(control->end_fd, 1);
    pthread_join(control->thread, NULL);
    for (int i = 0; i < CLIENTS_MAX; i++)
        if (control->clients[i].fd >= 0)
            drop(&control->clients[i]);
    if (control->daemon->is_path_ours) /* after a drop of privilege it may not go: harmless */
        (void)unlink(control->address.sun_path);
    close(control->listen_fd);
    close(control->end_fd);
    free(control);
}
