/**
 * example.h - what every example needs and none is about: giving up, the clocks, a key file, a
 * signal to wait for, a socket on loopback.
 */
#ifndef EXAMPLE_H
#define EXAMPLE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* with -std=c17 too; comes before any header of the C library */
#endif

#include <handfast/handfast.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static inline void must(bool is_good, const char *what)
{
    if (!is_good) {
        fprintf(stderr, "%s: %s%s%s\n", program_invocation_short_name, what, errno ? ": " : "",
                errno ? strerror(errno) : "");
        exit(1);
    }
}

/** The monotonic clock an engine lives by. */
static inline uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/** What poll(2) and epoll_wait(2) call it: rounded up, -1 for never. */
static inline int ms_until(uint64_t at_us)
{
    uint64_t now = now_us();
    if (at_us == UINT64_MAX)
        return -1;
    return at_us <= now ? 0 : (int)((at_us - now) / 1000 + 1);
}

static inline struct hf_keyfile *read_keys(const char *name)
{
    static uint8_t text[65536];
    char error[HF_KEYFILE_ERROR_MAX];
    struct hf_keyfile *keyfile;
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof text);
    must(len >= 0 && close(fd) == 0, name);
    if (hf_keyfile_open(&keyfile, error, (struct hf_bytes){text, (size_t)len}) != HF_OK) {
        fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, name, error);
        exit(1);
    }
    explicit_bzero(text, sizeof text); /* the table keeps its own copy, out of core dumps */
    return keyfile;
}

/** A descriptor that becomes readable on SIGTERM. Before any thread is started. */
static inline int open_signal(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    int fd = signalfd(-1, &signals, SFD_CLOEXEC);
    must(fd >= 0, "signalfd");
    return fd;
}

/** A non-blocking socket bound to 127.0.0.1 and `port` ("0": any), which is printed. One of
 *  SOCK_STREAM listens. */
static inline int open_loopback(struct hf_address *local, int type, const char *port)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    socklen_t len = sizeof name;
    int yes = 1, fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    must(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0 &&
             bind(fd, (struct sockaddr *)&name, sizeof name) == 0 &&
             (type != SOCK_STREAM || listen(fd, SOMAXCONN) == 0) &&
             getsockname(fd, (struct sockaddr *)&name, &len) == 0,
         "bind");
    *local = hf_address_v4((const uint8_t *)&name.sin_addr, ntohs(name.sin_port));
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("listening on 127.0.0.1:%u\n", local->port);
    return fd;
}

#endif
