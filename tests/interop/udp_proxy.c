/**
 * udp_proxy.c - a bad network in a process: a UDP proxy that loses, doubles, delays and reorders
 * packets and moves clients to new source ports, all decided by a seed. It knows nothing of DTLS.
 *
 * Each client (peer address) has an upstream socket of its own, as behind a NAT. Packets keep
 * their order unless the seed says otherwise. Ends on SIGTERM or SIGINT with one line of summary.
 */
#include "impair.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PROXY_CLIENTS_MAX 4096
#define PROXY_PACKETS_MAX 65536
#define PROXY_DATAGRAM_MAX 65536

enum { PROXY_TAG_SIGNAL = UINT32_MAX, PROXY_TAG_LISTEN = UINT32_MAX - 1 };

struct proxy_address {
    struct sockaddr_storage data;
    socklen_t len;
};

struct proxy_options {
    struct proxy_address listen;
    struct proxy_address to;
    struct impair_plan plan;
    uint64_t rebind_us; /* 0: never */
};

struct proxy_client {
    struct proxy_address peer;
    int upstream;
    uint64_t rebind_at_us;
    uint64_t packet_index[2];
    uint64_t due_us_last[2];
};

struct proxy_packet {
    uint64_t due_us;
    uint64_t order; /* ties go out as they came in */
    uint32_t client_index;
    enum impair_direction direction;
    size_t len;
    uint8_t data[];
};

struct proxy_counts {
    uint64_t received[2], sent[2], lost[2];
    uint64_t duplicated, reordered, rebinds, overflowed;
};

struct proxy {
    struct proxy_options options;
    int epoll, listen, signals;
    uint32_t client_count;
    struct proxy_client clients[PROXY_CLIENTS_MAX];
    uint64_t order_next;
    size_t packet_count;
    struct proxy_packet *packets[PROXY_PACKETS_MAX]; /* a heap, the earliest first */
    struct proxy_counts counts;
    uint8_t buffer[PROXY_DATAGRAM_MAX];
};

static _Noreturn void proxy_fail(const char *what)
{
    fprintf(stderr, "udp_proxy: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t proxy_now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

/* ---- packets under way ---------------------------------------------------------------------- */

static bool proxy_packet_before(const struct proxy_packet *a, const struct proxy_packet *b)
{
    return a->due_us != b->due_us ? a->due_us < b->due_us : a->order < b->order;
}

static void proxy_packet_push(struct proxy *proxy, struct proxy_packet *packet)
{
    size_t at = proxy->packet_count++;

    while (at > 0 && proxy_packet_before(packet, proxy->packets[(at - 1) / 2])) {
        proxy->packets[at] = proxy->packets[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    proxy->packets[at] = packet;
}

static struct proxy_packet *proxy_packet_pop(struct proxy *proxy)
{
    struct proxy_packet *first = proxy->packets[0];
    struct proxy_packet *last = proxy->packets[--proxy->packet_count];
    size_t at = 0;

    for (;;) {
        size_t child = 2 * at + 1;

        if (child >= proxy->packet_count) {
            break;
        }
        if (child + 1 < proxy->packet_count &&
            proxy_packet_before(proxy->packets[child + 1], proxy->packets[child])) {
            child++;
        }
        if (!proxy_packet_before(proxy->packets[child], last)) {
            break;
        }
        proxy->packets[at] = proxy->packets[child];
        at = child;
    }
    proxy->packets[at] = last;
    return first;
}

static void proxy_packet_schedule(struct proxy *proxy, uint32_t client_index,
                                  enum impair_direction direction, const struct impair_copy *copy,
                                  size_t len)
{
    struct proxy_client *client = &proxy->clients[client_index];
    struct proxy_packet *packet = NULL;
    uint64_t due_us = proxy_now_us() + copy->delay_us;

    if (proxy->packet_count < PROXY_PACKETS_MAX) {
        packet = malloc(sizeof(*packet) + len);
    }
    if (packet == NULL) {
        proxy->counts.overflowed++;
        return;
    }
    if (copy->is_reordered) {
        proxy->counts.reordered++;
    } else {
        /* A shorter delay alone lets nobody overtake. */
        if (due_us < client->due_us_last[direction]) {
            due_us = client->due_us_last[direction];
        }
        client->due_us_last[direction] = due_us;
    }
    packet->due_us = due_us;
    packet->order = proxy->order_next++;
    packet->client_index = client_index;
    packet->direction = direction;
    packet->len = len;
    memcpy(packet->data, proxy->buffer, len);
    proxy_packet_push(proxy, packet);
}

static void proxy_packet_take(struct proxy *proxy, uint32_t client_index,
                              enum impair_direction direction, size_t len)
{
    struct proxy_client *client = &proxy->clients[client_index];
    struct impair_fate fate;

    impair_decide(&fate, &proxy->options.plan, client_index, direction,
                  client->packet_index[direction]++);
    proxy->counts.received[direction]++;
    if (fate.copy_count == 0) {
        proxy->counts.lost[direction]++;
    }
    if (fate.copy_count > 1) {
        proxy->counts.duplicated++;
    }
    for (size_t i = 0; i < fate.copy_count; i++) {
        proxy_packet_schedule(proxy, client_index, direction, &fate.copies[i], len);
    }
}

/* Sends what is due; errors (a closed port, a full buffer) are one more way to lose a packet. */
static void proxy_packets_send(struct proxy *proxy)
{
    uint64_t now_us = proxy_now_us();

    while (proxy->packet_count > 0 && proxy->packets[0]->due_us <= now_us) {
        struct proxy_packet *packet = proxy_packet_pop(proxy);
        struct proxy_client *client = &proxy->clients[packet->client_index];
        ssize_t sent;

        if (packet->direction == IMPAIR_UP) {
            sent = send(client->upstream, packet->data, packet->len, 0);
        } else {
            sent = sendto(proxy->listen, packet->data, packet->len, 0,
                          (const struct sockaddr *)&client->peer.data, client->peer.len);
        }
        if (sent >= 0) {
            proxy->counts.sent[packet->direction]++;
        }
        free(packet);
    }
}

/* ---- clients -------------------------------------------------------------------------------- */

static void proxy_watch(struct proxy *proxy, int fd, uint32_t tag)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = tag};

    if (epoll_ctl(proxy->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        proxy_fail("epoll_ctl");
    }
}

static void proxy_client_open_upstream(struct proxy *proxy, uint32_t client_index)
{
    struct proxy_client *client = &proxy->clients[client_index];
    const struct proxy_address *to = &proxy->options.to;

    client->upstream = socket(to->data.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (client->upstream < 0 ||
        connect(client->upstream, (const struct sockaddr *)&to->data, to->len) != 0) {
        proxy_fail("upstream socket");
    }
    proxy_watch(proxy, client->upstream, client_index);
}

/* A NAT that forgot its binding: what still comes to the old port is lost. */
static void proxy_client_rebind_if_due(struct proxy *proxy, uint32_t client_index)
{
    struct proxy_client *client = &proxy->clients[client_index];
    uint64_t now_us = proxy_now_us();
    int old = client->upstream;

    if (proxy->options.rebind_us == 0 || now_us < client->rebind_at_us) {
        return;
    }
    /* Opened before the old one is closed, so that the port cannot be the same. */
    proxy_client_open_upstream(proxy, client_index);
    close(old);
    client->rebind_at_us = now_us + proxy->options.rebind_us;
    proxy->counts.rebinds++;
}

/* Gives the index of the client at `peer`, a new one if need be; -1 when there are too many. */
static int64_t proxy_client_find(struct proxy *proxy, const struct proxy_address *peer)
{
    struct proxy_client *client;

    for (uint32_t i = 0; i < proxy->client_count; i++) {
        client = &proxy->clients[i];
        if (client->peer.len == peer->len &&
            memcmp(&client->peer.data, &peer->data, peer->len) == 0) {
            return i;
        }
    }
    if (proxy->client_count == PROXY_CLIENTS_MAX) {
        proxy->counts.overflowed++;
        return -1;
    }
    client = &proxy->clients[proxy->client_count];
    client->peer = *peer;
    client->rebind_at_us = proxy_now_us() + proxy->options.rebind_us;
    proxy_client_open_upstream(proxy, proxy->client_count);
    return proxy->client_count++;
}

static void proxy_receive_up(struct proxy *proxy)
{
    for (;;) {
        struct proxy_address peer = {.len = sizeof(peer.data)};
        ssize_t len = recvfrom(proxy->listen, proxy->buffer, sizeof(proxy->buffer), MSG_DONTWAIT,
                               (struct sockaddr *)&peer.data, &peer.len);
        int64_t client_index;

        if (len < 0) {
            return;
        }
        client_index = proxy_client_find(proxy, &peer);
        if (client_index >= 0) {
            proxy_client_rebind_if_due(proxy, (uint32_t)client_index);
            proxy_packet_take(proxy, (uint32_t)client_index, IMPAIR_UP, (size_t)len);
        }
    }
}

static void proxy_receive_down(struct proxy *proxy, uint32_t client_index)
{
    proxy_client_rebind_if_due(proxy, client_index);
    for (;;) {
        ssize_t len = recv(proxy->clients[client_index].upstream, proxy->buffer,
                           sizeof(proxy->buffer), MSG_DONTWAIT);

        if (len < 0 && errno == ECONNREFUSED) {
            continue;
        }
        if (len < 0) {
            return;
        }
        proxy_packet_take(proxy, client_index, IMPAIR_DOWN, (size_t)len);
    }
}

/* ---- start, loop, end ----------------------------------------------------------------------- */

static bool proxy_parse_address(struct proxy_address *out, const char *text)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)&out->data;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&out->data;
    const char *colon = strrchr(text, ':');
    char host[INET6_ADDRSTRLEN + 2];
    size_t host_len;
    unsigned long port;
    char *end;

    if (colon == NULL || (size_t)(colon - text) >= sizeof(host)) {
        return false;
    }
    port = strtoul(colon + 1, &end, 10);
    if (colon[1] == '\0' || *end != '\0' || port > UINT16_MAX) {
        return false;
    }
    memset(out, 0, sizeof(*out));
    host_len = (size_t)(colon - text);
    memcpy(host, text, host_len);
    host[host_len] = '\0';
    if (host[0] == '[' && host[host_len - 1] == ']') {
        host[host_len - 1] = '\0';
        out->len = sizeof(*v6);
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        return inet_pton(AF_INET6, host + 1, &v6->sin6_addr) == 1;
    }
    out->len = sizeof(*v4);
    v4->sin_family = AF_INET;
    v4->sin_port = htons((uint16_t)port);
    return inet_pton(AF_INET, host, &v4->sin_addr) == 1;
}

static bool proxy_parse_delay(struct impair_plan *plan, const char *text)
{
    unsigned min_ms;
    unsigned max_ms;
    char rest;

    if (sscanf(text, "%u,%u%c", &min_ms, &max_ms, &rest) != 2 || min_ms > max_ms ||
        max_ms > 60000) {
        return false;
    }
    plan->delay_us_min = min_ms * 1000;
    plan->delay_us_max = max_ms * 1000;
    return true;
}

static bool proxy_parse_option(struct proxy_options *options, int option, const char *text)
{
    switch (option) {
    case 'l':
        return proxy_parse_address(&options->listen, text);
    case 't':
        return proxy_parse_address(&options->to, text);
    case 's':
        options->plan.seed = strtoull(text, NULL, 0);
        return true;
    case 'L':
        return impair_parse_probability(&options->plan.loss_ppm, text);
    case 'D':
        return impair_parse_probability(&options->plan.duplicate_ppm, text);
    case 'R':
        return impair_parse_probability(&options->plan.reorder_ppm, text);
    case 'd':
        return proxy_parse_delay(&options->plan, text);
    case 'b':
        options->rebind_us = strtoull(text, NULL, 10) * 1000;
        return options->rebind_us > 0;
    default:
        return false;
    }
}

static void proxy_parse_options(struct proxy_options *options, int argc, char **argv)
{
    static const struct option known[] = {
        {"listen", required_argument, NULL, 'l'},
        {"to", required_argument, NULL, 't'},
        {"seed", required_argument, NULL, 's'},
        {"loss", required_argument, NULL, 'L'},
        {"dup", required_argument, NULL, 'D'},
        {"reorder", required_argument, NULL, 'R'},
        {"delay-ms", required_argument, NULL, 'd'},
        {"rebind-after-ms", required_argument, NULL, 'b'},
        {NULL, 0, NULL, 0},
    };
    bool is_good = true;
    int option;

    while (is_good && (option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        is_good = proxy_parse_option(options, option, optarg);
    }
    if (!is_good || optind != argc || options->listen.len == 0 || options->to.len == 0) {
        fprintf(stderr, "usage: udp_proxy --listen ADDR:PORT --to ADDR:PORT [--seed N] [--loss P] "
                        "[--dup P] [--reorder P] [--delay-ms MIN,MAX] [--rebind-after-ms N]\n");
        exit(2);
    }
}

static void proxy_print_listening(const struct proxy *proxy)
{
    struct proxy_address at = {.len = sizeof(at.data)};
    char host[INET6_ADDRSTRLEN] = "";
    bool is_v6;

    if (getsockname(proxy->listen, (struct sockaddr *)&at.data, &at.len) != 0) {
        proxy_fail("getsockname");
    }
    is_v6 = at.data.ss_family == AF_INET6;
    if (is_v6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&at.data;
        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
        printf("listening [%s]:%u\n", host, ntohs(v6->sin6_port));
    } else {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)&at.data;
        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
        printf("listening %s:%u\n", host, ntohs(v4->sin_port));
    }
    fflush(stdout);
}

static void proxy_open(struct proxy *proxy)
{
    const struct proxy_address *at = &proxy->options.listen;
    int buffer_len = 4 << 20;
    sigset_t mask;

    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGINT);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    proxy->signals = signalfd(-1, &mask, SFD_CLOEXEC);
    proxy->epoll = epoll_create1(EPOLL_CLOEXEC);
    proxy->listen = socket(at->data.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (proxy->signals < 0 || proxy->epoll < 0 || proxy->listen < 0) {
        proxy_fail("opening");
    }
    setsockopt(proxy->listen, SOL_SOCKET, SO_RCVBUF, &buffer_len, sizeof(buffer_len));
    if (bind(proxy->listen, (const struct sockaddr *)&at->data, at->len) != 0) {
        proxy_fail("bind");
    }
    proxy_watch(proxy, proxy->signals, PROXY_TAG_SIGNAL);
    proxy_watch(proxy, proxy->listen, PROXY_TAG_LISTEN);
}

static int proxy_wait_ms(const struct proxy *proxy)
{
    uint64_t now_us = proxy_now_us();

    if (proxy->packet_count == 0) {
        return -1;
    }
    if (proxy->packets[0]->due_us <= now_us) {
        return 0;
    }
    return (int)((proxy->packets[0]->due_us - now_us + 999) / 1000);
}

static void proxy_run(struct proxy *proxy)
{
    for (;;) {
        struct epoll_event events[64];
        int count = epoll_wait(proxy->epoll, events, 64, proxy_wait_ms(proxy));

        for (int i = 0; i < count; i++) {
            uint32_t tag = events[i].data.u32;

            if (tag == PROXY_TAG_SIGNAL) {
                return;
            }
            if (tag == PROXY_TAG_LISTEN) {
                proxy_receive_up(proxy);
            } else {
                proxy_receive_down(proxy, tag);
            }
        }
        proxy_packets_send(proxy);
    }
}

static void proxy_close(struct proxy *proxy)
{
    const struct proxy_counts *counts = &proxy->counts;

    printf("clients %" PRIu32 " up %" PRIu64 "/%" PRIu64 " down %" PRIu64 "/%" PRIu64
           " lost %" PRIu64 "+%" PRIu64 " duplicated %" PRIu64 " reordered %" PRIu64
           " rebinds %" PRIu64 " overflowed %" PRIu64 "\n",
           proxy->client_count, counts->sent[IMPAIR_UP], counts->received[IMPAIR_UP],
           counts->sent[IMPAIR_DOWN], counts->received[IMPAIR_DOWN], counts->lost[IMPAIR_UP],
           counts->lost[IMPAIR_DOWN], counts->duplicated, counts->reordered, counts->rebinds,
           counts->overflowed);
    while (proxy->packet_count > 0) {
        free(proxy_packet_pop(proxy));
    }
    for (uint32_t i = 0; i < proxy->client_count; i++) {
        close(proxy->clients[i].upstream);
    }
    close(proxy->listen);
    close(proxy->epoll);
    close(proxy->signals);
}

int main(int argc, char **argv)
{
    static struct proxy proxy;

    proxy_parse_options(&proxy.options, argc, argv);
    proxy_open(&proxy);
    proxy_print_listening(&proxy);
    proxy_run(&proxy);
    proxy_close(&proxy);
    return 0;
}
