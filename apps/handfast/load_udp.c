/**
 * load_udp.c - many DTLS devices on few sockets. Every device has a source address of its own
 * within 127/8, chosen per datagram with IP_PKTINFO, so that it costs no socket. With fewer
 * addresses (--sources) devices differ by port too, and if need be by the server's address.
 *
 * Between devices and server stands a NAT (--rebind), of which the engine knows nothing: a device
 * has one address at a time, and what comes to another that it had is lost. And somebody on the way
 * (--spoof), who sees what devices send and has an address beside each of theirs.
 */
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BATCH_MAX 512
#define DATAGRAM_MAX 2048
#define READY_MAX 1024
#define RECORD_ALERT 21
#define RECORD_CID 25
#define NUMBER_LAST_AT 10 /* the last byte of a record's number */
#define BUFFER_LEN (4 << 20)

struct datagram {
    struct iovec iov;
    struct sockaddr_in peer;
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(struct in_pktinfo))];
    uint8_t bytes[DATAGRAM_MAX];
};

struct wire {
    int epoll_fd;
    int *fds; /* ports, as many again for each rebinding, and as many for the spoofer */
    uint32_t fd_count;
    uint32_t home_count;  /* without the spoofer's */
    uint64_t place_count; /* combinations of source, port and server */
    uint32_t out_count;
    bool is_error_told;
    int out_fds[BATCH_MAX];
    struct mmsghdr in_messages[BATCH_MAX], out_messages[BATCH_MAX];
    struct datagram in[BATCH_MAX], out[BATCH_MAX];
};

/* The last byte stays within 1..254; 127.0/16 is left to the servers. */
static struct in_addr source_of(uint32_t source)
{
    uint32_t low = source % 254 + 1;
    uint32_t high = source / 254 + 256;
    return (struct in_addr){htonl(0x7F000000u + (high << 8) + low)};
}

static uint32_t source_from(struct in_addr address)
{
    uint32_t bits = ntohl(address.s_addr) - 0x7F000000u;
    return ((bits >> 8) - 256) * 254 + (bits & 255) - 1;
}

/* ---- out --------------------------------------------------------------------------------- */

static void flush(struct hf_load *load)
{
    struct wire *wire = load->wire;
    uint32_t sent = 0;
    while (sent < wire->out_count) {
        uint32_t end = sent + 1;
        while (end < wire->out_count && wire->out_fds[end] == wire->out_fds[sent])
            end++;
        int count = sendmmsg(wire->out_fds[sent], wire->out_messages + sent, end - sent, 0);
        if (count < 0 && errno != EINTR) {
            if (!wire->is_error_told)
                perror("handfast: load: sendmmsg");
            wire->is_error_told = true;
            count = 1; /* that one is lost, as on a network */
        }
        sent += count > 0 ? (uint32_t)count : 0;
    }
    wire->out_count = 0;
}

static bool is_lost(struct hf_load *load)
{
    return load->options.loss_ppm > 0 && hf_load_random(load) % 1000000 < load->options.loss_ppm;
}

/* Queues a datagram from a place, by the socket of one of its ports. */
static struct datagram *queue(struct hf_load *load, uint32_t place, uint32_t port,
                              struct hf_bytes data)
{
    struct wire *wire = load->wire;
    const struct hf_load_options *options = &load->options;
    if (wire->out_count == BATCH_MAX)
        flush(load);
    struct datagram *datagram = &wire->out[wire->out_count];
    memcpy(datagram->bytes, data.data, data.len);
    datagram->iov.iov_len = data.len;
    datagram->peer = options->server;
    datagram->peer.sin_addr.s_addr =
        htonl(ntohl(options->server.sin_addr.s_addr) + place / options->sources / options->ports);
    struct in_pktinfo info = {.ipi_spec_dst = source_of(place % options->sources)};
    memcpy(datagram->control + CMSG_LEN(0), &info, sizeof(info));
    wire->out_fds[wire->out_count++] = wire->fds[port];
    return datagram;
}

/* What the one on the way makes of a datagram he has seen. */
static void spoof(struct hf_load *load, uint32_t place, uint32_t port, struct hf_bytes data)
{
    const struct wire *wire = load->wire;
    struct datagram *datagram =
        queue(load, place, wire->home_count + port % load->options.ports, data);
    if (load->options.spoof == HF_LOAD_SPOOF_FORGE)
        datagram->bytes[NUMBER_LAST_AT]++;
    load->stats.spoofed++;
    load->stats.spoofed_len += data.len;
}

static void output(struct hf_load *load, const struct hf_output *output)
{
    const struct wire *wire = load->wire;
    const struct hf_load_options *options = &load->options;
    const uint8_t *ip = output->path.peer.ip + 12;
    uint32_t number = (uint32_t)ip[0] << 24 | (uint32_t)ip[1] << 16 | (uint32_t)ip[2] << 8 | ip[3];
    bool is_seen = options->spoof != HF_LOAD_SPOOF_NONE && !load->is_ending &&
                   output->data.data[0] == RECORD_CID;
    bool is_raced = options->spoof == HF_LOAD_SPOOF_RACE;
    if (is_lost(load) || output->data.len > DATAGRAM_MAX)
        return;
    uint32_t place = (uint32_t)(number % wire->place_count);
    uint32_t port = place / options->sources % options->ports +
                    options->ports * hf_load_device_of(load, number)->place;
    if (is_seen && is_raced && hf_load_random(load) % 2 == 0)
        spoof(load, place, port, output->data);
    (void)queue(load, place, port, output->data);
    if (is_seen && !is_raced)
        spoof(load, place, port, output->data);
}

/* ---- in ---------------------------------------------------------------------------------- */

static struct hf_load_device *find(const struct hf_load *load, const struct msghdr *message,
                                   uint32_t port)
{
    const struct wire *wire = load->wire;
    const struct hf_load_options *options = &load->options;
    const struct cmsghdr *control = CMSG_FIRSTHDR(message);
    struct in_pktinfo info;
    struct sockaddr_in peer;
    if (control == NULL || control->cmsg_type != IP_PKTINFO)
        return NULL;
    memcpy(&info, CMSG_DATA(control), sizeof(info));
    memcpy(&peer, message->msg_name, sizeof(peer));
    uint32_t source = source_from(info.ipi_addr);
    uint32_t server = ntohl(peer.sin_addr.s_addr) - ntohl(options->server.sin_addr.s_addr);
    if (source >= options->sources || server >= options->servers)
        return NULL;
    uint64_t place =
        source + (uint64_t)options->sources * (port % options->ports + options->ports * server);
    struct hf_load_device *device = &load->devices[place % load->device_count];
    bool is_it = device->state != HF_LOAD_IDLE && device->number % wire->place_count == place;
    return is_it ? device : NULL;
}

static void receive_one(struct hf_load *load, struct mmsghdr *message, uint32_t port)
{
    struct hf_load_device *device = find(load, &message->msg_hdr, port);
    uint8_t *data = message->msg_hdr.msg_iov->iov_base;
    if (device == NULL || is_lost(load))
        return;
    if (port / load->options.ports != device->place) {
        load->stats.deaf++;
        return;
    }
    bool is_alert = message->msg_len > 0 && (data[0] == RECORD_ALERT || data[0] == RECORD_CID);
    if (device->state == HF_LOAD_CLOSING && is_alert) { /* a CID hides the type */
        hf_load_answered(load, device, false); /* only who still has the keys can have known */
        return;
    }
    uint32_t bits = htonl(device->number);
    struct hf_datagram datagram = {
        .path = {.peer = hf_address_v4((const uint8_t *)&bits, 1),
                 .local = hf_address_v4((const uint8_t *)&load->options.server.sin_addr,
                                        ntohs(load->options.server.sin_port))},
        .is_client = true,
        .data = data,
        .len = message->msg_len,
    };
    if (hf_engine_receive_datagram(load->engine, &datagram) != HF_WAITING)
        return;
    hf_load_turn_end(load);
    hf_load_turn_begin(load);
    (void)hf_engine_receive_datagram(load->engine, &datagram);
}

static void receive_socket(struct hf_load *load, uint32_t port)
{
    struct wire *wire = load->wire;
    int count;
    do {
        for (size_t i = 0; i < BATCH_MAX; i++)
            wire->in_messages[i].msg_hdr.msg_controllen = sizeof(wire->in[i].control);
        count = recvmmsg(wire->fds[port], wire->in_messages, BATCH_MAX, MSG_DONTWAIT, NULL);
        if (count <= 0)
            return;
        hf_load_turn_begin(load);
        for (int i = 0; i < count; i++) {
            if (port < wire->home_count) {
                receive_one(load, &wire->in_messages[i], port);
            } else {
                load->stats.diverted++;
                load->stats.diverted_len += wire->in_messages[i].msg_len;
            }
        }
        hf_load_turn_end(load);
    } while (count == BATCH_MAX);
}

static void receive(struct hf_load *load, uint64_t wait_us)
{
    struct wire *wire = load->wire;
    struct epoll_event ready[READY_MAX];
    int count = epoll_wait(wire->epoll_fd, ready, READY_MAX, (int)((wait_us + 999) / 1000));
    for (int i = 0; i < count; i++)
        receive_socket(load, ready[i].data.u32);
}

/* ---- life -------------------------------------------------------------------------------- */

static bool open_socket(struct wire *wire, uint32_t index)
{
    int on = 1;
    int buffer_len = BUFFER_LEN;
    struct sockaddr_in any = {.sin_family = AF_INET};
    struct epoll_event event = {.events = EPOLLIN, .data = {.u32 = index}};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    wire->fds[index] = fd;
    wire->fd_count++;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer_len, sizeof(buffer_len));
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer_len, sizeof(buffer_len));
    return bind(fd, (const struct sockaddr *)&any, sizeof(any)) == 0 &&
           setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)) == 0 &&
           epoll_ctl(wire->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static void init_message(struct mmsghdr *message, struct datagram *datagram, bool is_out)
{
    struct msghdr *header = &message->msg_hdr;
    datagram->iov.iov_base = datagram->bytes;
    datagram->iov.iov_len = DATAGRAM_MAX;
    header->msg_iov = &datagram->iov;
    header->msg_iovlen = 1;
    header->msg_name = &datagram->peer;
    header->msg_namelen = sizeof(datagram->peer);
    header->msg_control = datagram->control;
    header->msg_controllen = sizeof(datagram->control);
    if (is_out) {
        struct cmsghdr *control = CMSG_FIRSTHDR(header);
        control->cmsg_level = IPPROTO_IP;
        control->cmsg_type = IP_PKTINFO;
        control->cmsg_len = CMSG_LEN(sizeof(struct in_pktinfo));
    }
}

static bool open_wire(struct hf_load *load)
{
    const struct hf_load_options *options = &load->options;
    uint32_t home_count = options->ports * (1 + options->rebinds);
    uint32_t fd_count = home_count + (options->spoof != HF_LOAD_SPOOF_NONE ? options->ports : 0);
    struct wire *wire = calloc(1, sizeof(*wire));
    load->wire = wire;
    if (wire == NULL || (wire->fds = calloc(fd_count, sizeof(*wire->fds))) == NULL)
        return false;
    wire->home_count = home_count;
    wire->place_count = (uint64_t)options->sources * options->ports * options->servers;
    if (wire->place_count > load->device_count) /* so that a place tells the device */
        wire->place_count -= wire->place_count % load->device_count;
    for (size_t i = 0; i < BATCH_MAX; i++) {
        init_message(&wire->in_messages[i], &wire->in[i], false);
        init_message(&wire->out_messages[i], &wire->out[i], true);
    }
    wire->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (uint32_t i = 0; i < fd_count; i++) {
        if (wire->epoll_fd < 0 || !open_socket(wire, i)) {
            perror("handfast: load: socket");
            return false;
        }
    }
    return true;
}

static void close_wire(struct hf_load *load)
{
    struct wire *wire = load->wire;
    if (wire == NULL)
        return;
    for (uint32_t i = 0; i < wire->fd_count; i++)
        (void)close(wire->fds[i]);
    if (wire->epoll_fd >= 0)
        (void)close(wire->epoll_fd);
    free(wire->fds);
    free(wire);
    load->wire = NULL;
}

static bool begin(struct hf_load *load, struct hf_load_device *device, struct hf_path *path)
{
    (void)load;
    (void)device;
    (void)path;
    return true;
}

static void end(struct hf_load *load, struct hf_load_device *device)
{
    (void)load;
    (void)device;
}

const struct hf_load_io hf_load_udp = {open_wire, close_wire, begin, output, flush, receive, end};
