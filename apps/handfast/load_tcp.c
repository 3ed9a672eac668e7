/**
 * load_tcp.c - TLS devices: a connection each, from a few hundred addresses of 127/8 and their
 * ephemeral ports. What a socket does not take at once waits for it to become writable.
 */
#include "load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define READY_MAX 512
#define SOURCES 200
#define INPUT_MAX 4096

struct connection {
    int fd; /* -1: none */
    size_t waiting_len, waiting_max;
    uint8_t *waiting; /* NULL: nothing waits */
};

struct wire {
    int epoll_fd;
    struct connection *connections; /* by device */
    uint8_t input[READY_MAX][INPUT_MAX];
};

static struct in_addr source_of(uint32_t number)
{
    return (struct in_addr){htonl(0x7F010001u + number % SOURCES)};
}

static struct connection *connection_of(const struct hf_load *load,
                                        const struct hf_load_device *device)
{
    struct wire *wire = load->wire;
    return &wire->connections[device - load->devices];
}

static void end(struct hf_load *load, struct hf_load_device *device)
{
    struct connection *connection = connection_of(load, device);
    if (connection->fd >= 0)
        (void)close(connection->fd);
    connection->fd = -1;
    connection->waiting_len = 0;
    free(connection->waiting);
    connection->waiting = NULL;
}

static bool begin(struct hf_load *load, struct hf_load_device *device, struct hf_path *path)
{
    struct wire *wire = load->wire;
    struct connection *connection = connection_of(load, device);
    int on = 1;
    uint32_t index = (uint32_t)(device - load->devices);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data = {.u32 = index}};
    struct sockaddr_in source = {.sin_family = AF_INET, .sin_addr = source_of(device->number)};
    const struct sockaddr_in *server = &load->options.server;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    (void)path;
    connection->fd = fd;
    if (fd >= 0 && setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)) == 0 &&
        bind(fd, (const struct sockaddr *)&source, sizeof(source)) == 0 &&
        (connect(fd, (const struct sockaddr *)server, sizeof(*server)) == 0 ||
         errno == EINPROGRESS) &&
        epoll_ctl(wire->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0)
        return true;
    hf_load_stats_fail(load, strerror(errno));
    device->state = HF_LOAD_DONE;
    end(load, device);
    return false;
}

static bool wait_for_room(struct connection *connection, const uint8_t *data, size_t len)
{
    size_t needed = connection->waiting_len + len;
    if (connection->waiting == NULL || needed > connection->waiting_max) {
        uint8_t *grown = realloc(connection->waiting, needed + 4096);
        if (grown == NULL)
            return false;
        connection->waiting = grown;
        connection->waiting_max = needed + 4096;
    }
    memcpy(connection->waiting + connection->waiting_len, data, len);
    connection->waiting_len = needed;
    return true;
}

/* What is not sent waits; a broken connection shows when it is read. */
static void output(struct hf_load *load, const struct hf_output *output)
{
    struct wire *wire = load->wire;
    struct connection *connection = &wire->connections[output->user];
    const struct hf_load_device *device = &load->devices[output->user];
    size_t sent = 0;
    if (connection->fd < 0 || device->association != output->association)
        return;
    if (connection->waiting_len == 0) {
        ssize_t count = send(connection->fd, output->data.data, output->data.len, MSG_NOSIGNAL);
        sent = count > 0 ? (size_t)count : 0;
    }
    if (sent < output->data.len)
        (void)wait_for_room(connection, output->data.data + sent, output->data.len - sent);
}

static void push(struct connection *connection)
{
    if (connection->fd < 0 || connection->waiting_len == 0)
        return;
    ssize_t count =
        send(connection->fd, connection->waiting, connection->waiting_len, MSG_NOSIGNAL);
    if (count <= 0)
        return;
    connection->waiting_len -= (size_t)count;
    memmove(connection->waiting, connection->waiting + count, connection->waiting_len);
}

static void feed(struct hf_load *load, const struct hf_load_device *device, uint8_t *data,
                 size_t len)
{
    hf_association_id association = device->association;
    size_t done = 0;
    for (unsigned tries = 0; done < len && tries < 1000; tries++) {
        size_t consumed = 0;
        if (hf_engine_receive_stream(load->engine, &consumed, association, data + done,
                                     len - done) == HF_E_STALE)
            return;
        done += consumed;
        if (done < len) { /* events or output full, or parked: go on */
            hf_load_turn_end(load);
            hf_load_turn_begin(load);
        }
    }
}

/* True: there may be more. */
static bool receive_one(struct hf_load *load, struct hf_load_device *device,
                        uint8_t input[INPUT_MAX])
{
    const struct connection *connection = connection_of(load, device);
    if (connection->fd < 0)
        return false;
    ssize_t count = recv(connection->fd, input, INPUT_MAX, 0);
    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        return errno == EINTR;
    if (count <= 0)
        hf_engine_receive_end(load->engine, device->association);
    else
        feed(load, device, input, (size_t)count);
    return count == (ssize_t)INPUT_MAX;
}

/* One turn for all that are ready, so that their jobs are done together. */
static void receive(struct hf_load *load, uint64_t wait_us)
{
    struct wire *wire = load->wire;
    struct epoll_event ready[READY_MAX];
    bool is_more = true;
    int count = epoll_wait(wire->epoll_fd, ready, READY_MAX, (int)((wait_us + 999) / 1000));
    for (int i = 0; i < count; i++) {
        if (ready[i].events & EPOLLOUT)
            push(connection_of(load, &load->devices[ready[i].data.u32]));
        if ((ready[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0)
            ready[i].events = 0;
    }
    while (count > 0 && is_more) {
        is_more = false;
        hf_load_turn_begin(load);
        for (int i = 0; i < count; i++) {
            struct hf_load_device *device = &load->devices[ready[i].data.u32];
            if (ready[i].events != 0 && !receive_one(load, device, wire->input[i]))
                ready[i].events = 0;
            is_more |= ready[i].events != 0;
        }
        hf_load_turn_end(load);
    }
}

static void flush(struct hf_load *load)
{
    (void)load; /* streams are sent as they come */
}

static bool open_wire(struct hf_load *load)
{
    struct wire *wire = calloc(1, sizeof(*wire));
    load->wire = wire;
    if (wire == NULL)
        return false;
    wire->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    wire->connections = calloc(load->device_count, sizeof(*wire->connections));
    for (uint32_t i = 0; wire->connections != NULL && i < load->device_count; i++)
        wire->connections[i].fd = -1;
    return wire->epoll_fd >= 0 && wire->connections != NULL;
}

static void close_wire(struct hf_load *load)
{
    struct wire *wire = load->wire;
    if (wire == NULL)
        return;
    for (uint32_t i = 0; wire->connections != NULL && i < load->device_count; i++)
        end(load, &load->devices[i]);
    (void)close(wire->epoll_fd);
    free(wire->connections);
    free(wire);
    load->wire = NULL;
}

const struct hf_load_io hf_load_tcp = {open_wire, close_wire, begin, output, flush, receive, end};
