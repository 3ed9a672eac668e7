/**
 * starter.c - see starter.h. It keeps nothing but its end of a socket pair, does nothing unasked,
 * and ends when the daemon does.
 */
#include "starter.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define OPTION "--takeover"
#define WATCH_MS 50

struct hf_starter {
    int fd;
    pid_t pid;   /* its own */
    pid_t child; /* last started */
};

/* What goes over the pair, from the starter. */
struct report {
    pid_t pid; /* of what was started; not above 0: it was not */
    bool is_ended;
};

/* ---- the process -------------------------------------------------------------------------- */

/* The daemon's own, but for a switch at their end. */
static char **successor_arguments(int argc, char **argv)
{
    static char option[] = OPTION;
    char **arguments = calloc((size_t)argc + 2, sizeof(*arguments));
    int count = 0;
    if (arguments == NULL)
        return NULL;
    for (int i = 0; i < argc; i++)
        if (i == 0 || strcmp(argv[i], OPTION) != 0)
            arguments[count++] = argv[i];
    arguments[count] = option;
    return arguments;
}

static pid_t start_successor(int argc, char **argv)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    char **arguments = successor_arguments(argc, argv);
    if (arguments != NULL)
        execvp(argv[0], arguments);
    _exit(127);
}

/* Reports the end of what was started, as soon as it is seen. */
static void watch(int fd, pid_t *child)
{
    int status = 0;
    if (*child <= 0 || waitpid(*child, &status, WNOHANG) != *child)
        return;
    (void)send(fd, &(struct report){*child, true}, sizeof(struct report), MSG_NOSIGNAL);
    *child = 0;
}

static void live(int fd, int argc, char **argv)
{
    pid_t child = 0;
    for (;;) {
        struct pollfd wait = {fd, POLLIN, 0};
        char order = 0;
        int count = poll(&wait, 1, child > 0 ? WATCH_MS : -1);
        if (count < 0 && errno != EINTR)
            return;
        watch(fd, &child);
        if (count <= 0)
            continue;
        if (recv(fd, &order, 1, 0) != 1)
            return; /* the daemon is gone */
        child = start_successor(argc, argv);
        (void)send(fd, &(struct report){child, false}, sizeof(struct report), MSG_NOSIGNAL);
    }
}

/* ---- its handle --------------------------------------------------------------------------- */

struct hf_starter *hf_starter_open(int argc, char **argv)
{
    int pair[2];
    struct hf_starter *starter = calloc(1, sizeof(*starter));
    if (starter == NULL || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        free(starter);
        return NULL;
    }
    starter->pid = fork();
    if (starter->pid == 0) {
        close(pair[0]);
        (void)prctl(PR_SET_NAME, "handfast-start");
        (void)signal(SIGHUP, SIG_IGN); /* a reload's, for the whole group */
        live(pair[1], argc, argv);
        _exit(0);
    }
    close(pair[1]);
    starter->fd = pair[0];
    if (starter->pid > 0)
        return starter;
    close(pair[0]);
    free(starter);
    return NULL;
}

void hf_starter_close(struct hf_starter *starter)
{
    if (starter == NULL)
        return;
    close(starter->fd);
    free(starter);
}

bool hf_starter_start(pid_t *out, struct hf_starter *starter)
{
    struct report report = {.is_ended = true};
    if (starter == NULL || send(starter->fd, "S", 1, MSG_NOSIGNAL) != 1)
        return false;
    while (report.is_ended) /* that of an earlier one may be on its way */
        if (recv(starter->fd, &report, sizeof(report), 0) != (ssize_t)sizeof(report))
            return false;
    *out = starter->child = report.pid;
    return report.pid > 0;
}

bool hf_starter_ended(struct hf_starter *starter)
{
    struct report report;
    ssize_t got = recv(starter->fd, &report, sizeof(report), MSG_DONTWAIT);
    return got == 0 ||
           (got == (ssize_t)sizeof(report) && report.is_ended && report.pid == starter->child);
}
