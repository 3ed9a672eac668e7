/**
 * load_tcp.c - TLS clients: a connection per handshake, closed once close_notify has been answered.
 */
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS_MAX 512
#define TICK_MS 50
#define OUT_MAX 4096
#define SOURCES 200 /* addresses the connections come from, each with its ephemeral ports */

struct connection {
    struct psk_client client;
    struct psk_client_work work;
    uint64_t number;
    uint64_t start_us, end_us;
    int fd; /* -1: free */
    size_t out_len;
    uint8_t out[OUT_MAX];
};

struct tcp_run {
    const struct load_options *options;
    const struct load_keys *keys;
    struct load_stats *stats;
    int epoll_fd;
    uint64_t number_next;
    uint64_t now_us;
    struct connection *connections;
};

static void emit(const uint8_t *data, size_t len, void *arg)
{
    struct connection *connection = arg;
    if (len > OUT_MAX - connection->out_len) {
        abort();
    }
    memcpy(connection->out + connection->out_len, data, len);
    connection->out_len += len;
}

static void close_connection(struct tcp_run *run, struct connection *connection, bool is_ended)
{
    run->stats->ended_count += is_ended;
    close(connection->fd);
    connection->fd = -1;
    connection->out_len = 0;
}

static void begin(struct tcp_run *run, struct connection *connection)
{
    int on = 1;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data = {connection}};
    struct sockaddr_in source = {.sin_family = AF_INET};
    source.sin_addr = load_source(run->number_next % SOURCES);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    connection->fd = fd;
    connection->start_us = run->now_us;
    connection->end_us = 0;
    connection->out_len = 0;
    if (fd < 0 || setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)) != 0 ||
        bind(fd, (const struct sockaddr *)&source, sizeof(source)) != 0 ||
        (connect(fd, (const struct sockaddr *)&run->options->server,
                 sizeof(run->options->server)) != 0 &&
         errno != EINPROGRESS) ||
        epoll_ctl(run->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        load_stats_fail(run->stats, strerror(errno));
        if (fd >= 0) {
            close_connection(run, connection, false);
        }
        return;
    }
    connection->number = run->number_next++;
    load_client_init(&connection->client, &connection->work, run->options, run->keys,
                     connection->number);
    psk_client_start(&connection->client, run->now_us, emit, connection);
}

static void send_out(struct tcp_run *run, struct connection *connection)
{
    ssize_t len = send(connection->fd, connection->out, connection->out_len, MSG_NOSIGNAL);
    if (len < 0 && errno == EAGAIN) {
        return; /* not connected yet: EPOLLOUT comes */
    }
    if (len != (ssize_t)connection->out_len) {
        load_stats_fail(run->stats, len < 0 ? strerror(errno) : "short send");
        close_connection(run, connection, false);
        return;
    }
    connection->out_len = 0;
}

static void follow(struct tcp_run *run, struct connection *connection)
{
    struct psk_client *client = &connection->client;
    if (client->state == PSK_CLIENT_OPEN) {
        load_stats_open(run->stats, run->now_us - connection->start_us);
        run->stats->resumed_count += client->is_resumed;
        load_client_open(client, run->options, connection->number);
        connection->end_us = run->now_us;
        psk_client_end(client, emit, connection);
    } else if (client->state == PSK_CLIENT_FAILED) {
        load_stats_client(run->stats, client);
        close_connection(run, connection, false);
    } else if (client->has_received_close) {
        close_connection(run, connection, true);
    } else if (connection->end_us != 0 && run->now_us - connection->end_us > LOAD_CLOSE_US_MAX) {
        run->stats->close_unanswered++;
        close_connection(run, connection, true);
    } else if (connection->end_us == 0 &&
               run->now_us - connection->start_us > LOAD_HANDSHAKE_US_MAX) {
        load_stats_fail(run->stats, "timeout");
        close_connection(run, connection, false);
    }
}

static void receive(struct tcp_run *run, struct connection *connection)
{
    uint8_t bytes[4096];
    ssize_t len = recv(connection->fd, bytes, sizeof(bytes), 0);
    if (len < 0 && errno == EAGAIN) {
        return;
    }
    if (len <= 0) {
        bool is_closing = connection->end_us != 0;
        if (!is_closing) {
            load_stats_fail(run->stats, len < 0 ? strerror(errno) : "connection closed");
        }
        run->stats->close_unanswered += is_closing;
        close_connection(run, connection, is_closing);
        return;
    }
    psk_client_receive(&connection->client, run->now_us, bytes, (size_t)len, emit, NULL,
                       connection);
    follow(run, connection);
}

static void run_wave(struct tcp_run *run)
{
    struct epoll_event events[EVENTS_MAX];
    for (uint32_t i = 0; i < run->options->in_flight; i++) {
        struct connection *connection = &run->connections[i];
        if (connection->fd < 0) {
            begin(run, connection);
        }
        if (connection->fd >= 0 && connection->out_len > 0) {
            send_out(run, connection);
        }
    }
    int count = epoll_wait(run->epoll_fd, events, EVENTS_MAX, TICK_MS);
    run->now_us = load_now_us();
    for (int i = 0; i < count; i++) {
        struct connection *connection = events[i].data.ptr;
        if (connection->fd >= 0 && (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
            receive(run, connection);
        }
    }
}

int load_tcp_run(const struct load_options *options, const struct load_keys *keys,
                 struct load_stats *stats)
{
    struct tcp_run run = {.options = options, .keys = keys, .stats = stats};
    uint64_t tick_us = load_now_us();
    run.now_us = tick_us;
    run.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    run.connections = calloc(options->in_flight, sizeof(*run.connections));
    if (run.epoll_fd < 0 || run.connections == NULL) {
        perror("bench_load");
        return 1;
    }
    for (uint32_t i = 0; i < options->in_flight; i++) {
        run.connections[i].fd = -1;
    }
    while (!load_stats_wave(stats, options)) {
        run_wave(&run);
        if (run.now_us - tick_us > TICK_MS * 1000) {
            tick_us = run.now_us;
            for (uint32_t i = 0; i < options->in_flight; i++) {
                if (run.connections[i].fd >= 0) {
                    follow(&run, &run.connections[i]);
                }
            }
        }
    }
    load_stats_print(stats, options);
    return stats->has_ended ? 0 : 1;
}
