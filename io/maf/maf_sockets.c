/**
 * maf_sockets.c - non-blocking TCP: connect, read, write; what the kernel does not take waits in a
 * bounded buffer.
 */
#include "maf_sockets.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define READ_LEN 65536
#define QUEUE_LEN_MAX ((size_t)256 << 10)

struct tcp {
    int fd; /* -1: none */
    bool is_connecting;
    bool is_broken; /* told at the next read */
    uint8_t *queue;
    size_t queue_len;
};

struct hf_maf_sockets {
    struct hf_maf_link *link;
    uint32_t count;
    struct tcp *sockets;
    struct pollfd *polls; /* one more: wake_fd */
    uint8_t buffer[READ_LEN];
};

struct hf_maf_sockets *hf_maf_sockets_open(struct hf_maf_link *link)
{
    struct hf_maf_sockets *sockets = calloc(1, sizeof(*sockets));
    if (sockets == NULL)
        return NULL;
    sockets->link = link;
    sockets->count = hf_maf_link_sockets(link);
    sockets->sockets = calloc(sockets->count, sizeof(*sockets->sockets));
    sockets->polls = calloc(sockets->count + 1, sizeof(*sockets->polls));
    if (sockets->sockets == NULL || sockets->polls == NULL) {
        free(sockets->sockets);
        free(sockets->polls);
        free(sockets);
        return NULL;
    }
    for (uint32_t i = 0; i < sockets->count; i++)
        sockets->sockets[i].fd = -1;
    return sockets;
}

static void drop(struct tcp *tcp)
{
    if (tcp->fd >= 0)
        close(tcp->fd);
    free(tcp->queue);
    *tcp = (struct tcp){.fd = -1};
}

void hf_maf_sockets_close(struct hf_maf_sockets *sockets)
{
    if (sockets == NULL)
        return;
    for (uint32_t i = 0; i < sockets->count; i++)
        drop(&sockets->sockets[i]);
    free(sockets->sockets);
    free(sockets->polls);
    free(sockets);
}

uint64_t hf_maf_sockets_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* ---- waiting and reading ------------------------------------------------------------------ */

static int timeout_ms(uint64_t until_us)
{
    uint64_t now_us = hf_maf_sockets_now_us();
    if (until_us <= now_us)
        return 0;
    uint64_t ms = (until_us - now_us + 999) / 1000;
    return ms > 60000 ? 60000 : (int)ms;
}

void hf_maf_sockets_wait(struct hf_maf_sockets *sockets, int wake_fd, uint64_t until_us)
{
    bool is_broken = false;
    for (uint32_t i = 0; i < sockets->count; i++) {
        const struct tcp *tcp = &sockets->sockets[i];
        bool is_writing = tcp->is_connecting || tcp->queue_len > 0;
        is_broken |= tcp->is_broken;
        sockets->polls[i] =
            (struct pollfd){.fd = tcp->fd, .events = (short)(POLLIN | (is_writing ? POLLOUT : 0))};
    }
    sockets->polls[sockets->count] = (struct pollfd){.fd = wake_fd, .events = POLLIN};
    (void)poll(sockets->polls, sockets->count + 1, is_broken ? 0 : timeout_ms(until_us));
}

static void flush(struct tcp *tcp)
{
    while (tcp->queue_len > 0 && !tcp->is_broken) {
        ssize_t sent = send(tcp->fd, tcp->queue, tcp->queue_len, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == EAGAIN)
            return;
        tcp->is_broken = sent < 0;
        if (sent > 0) {
            tcp->queue_len -= (size_t)sent;
            memmove(tcp->queue, tcp->queue + sent, tcp->queue_len);
        }
    }
}

static void finish_connect(struct hf_maf_sockets *sockets, uint32_t number)
{
    struct tcp *tcp = &sockets->sockets[number];
    int error = 0;
    socklen_t len = sizeof(error);
    tcp->is_connecting = false;
    if (getsockopt(tcp->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0)
        tcp->is_broken = true;
    else
        hf_maf_link_connected(sockets->link, number);
}

static void read_some(struct hf_maf_sockets *sockets, uint32_t number)
{
    struct tcp *tcp = &sockets->sockets[number];
    ssize_t got = recv(tcp->fd, sockets->buffer, sizeof(sockets->buffer), 0);
    if (got > 0)
        hf_maf_link_received(sockets->link, number, sockets->buffer, (size_t)got);
    else if (got == 0 || (errno != EAGAIN && errno != EINTR))
        tcp->is_broken = true;
}

void hf_maf_sockets_read(struct hf_maf_sockets *sockets)
{
    for (uint32_t i = 0; i < sockets->count; i++) {
        struct tcp *tcp = &sockets->sockets[i];
        short events = sockets->polls[i].revents;
        if (tcp->fd >= 0 && sockets->polls[i].fd == tcp->fd) {
            if (tcp->is_connecting && (events & (POLLOUT | POLLERR | POLLHUP)) != 0)
                finish_connect(sockets, i);
            else if ((events & POLLOUT) != 0)
                flush(tcp);
            if (!tcp->is_connecting && !tcp->is_broken && (events & (POLLIN | POLLHUP)) != 0)
                read_some(sockets, i);
        }
        if (tcp->is_broken) {
            drop(tcp);
            hf_maf_link_ended(sockets->link, i);
        }
    }
}

/* ---- wishes ------------------------------------------------------------------------------- */

static int begin_connect(const struct hf_address *address)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(address->port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6,
                              .sin6_port = htons(address->port),
                              .sin6_scope_id = address->scope};
    bool is_v4 = hf_address_is_v4(address);
    memcpy(&v4.sin_addr, address->ip + 12, 4);
    memcpy(&v6.sin6_addr, address->ip, 16);
    int one = 1;
    int fd = socket(is_v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    int code = is_v4 ? connect(fd, (const struct sockaddr *)&v4, sizeof(v4))
                     : connect(fd, (const struct sockaddr *)&v6, sizeof(v6));
    if (code == 0 || errno == EINPROGRESS)
        return fd;
    close(fd);
    return -1;
}

static void write_some(struct tcp *tcp, struct hf_bytes bytes)
{
    if (tcp->fd < 0 || tcp->is_broken)
        return;
    if (bytes.len > QUEUE_LEN_MAX - tcp->queue_len) {
        tcp->is_broken = true;
        return;
    }
    if (tcp->queue == NULL)
        tcp->queue = malloc(QUEUE_LEN_MAX);
    if (tcp->queue == NULL) {
        tcp->is_broken = true;
        return;
    }
    memcpy(tcp->queue + tcp->queue_len, bytes.data, bytes.len);
    tcp->queue_len += bytes.len;
}

void hf_maf_sockets_write(struct hf_maf_sockets *sockets)
{
    struct hf_maf_wish wish;
    while (hf_maf_link_take_wish(sockets->link, &wish)) {
        struct tcp *tcp = &sockets->sockets[wish.socket_index];
        switch (wish.kind) {
        case HF_MAF_WISH_CONNECT:
            drop(tcp);
            tcp->fd = begin_connect(&wish.address);
            tcp->is_connecting = tcp->fd >= 0;
            tcp->is_broken = tcp->fd < 0;
            break;
        case HF_MAF_WISH_WRITE:
            write_some(tcp, wish.bytes);
            break;
        case HF_MAF_WISH_CLOSE:
            flush(tcp);
            drop(tcp);
            break;
        default:
            break;
        }
    }
    for (uint32_t i = 0; i < sockets->count; i++)
        if (sockets->sockets[i].fd >= 0 && !sockets->sockets[i].is_connecting)
            flush(&sockets->sockets[i]);
}
