/**
 * upstream_datagram.c - DTLS: plaintext datagrams to and from an upstream.
 *
 * Each association has an address of its own to send from, made of its handle. What the upstream
 * sends there finds the association without a table, at any time, and no association costs a socket
 * or a byte of memory.
 *
 *     IPv4  127.64.0.0/10: shard, then record. A record's tenants take turns on a few sockets, each
 *           with its own port: so a datagram for a former tenant is recognised, and dropped.
 *     IPv6  a /64 that is routed to this host: the whole handle. No address is ever used twice.
 *
 * Invariant: an upstream's error never ends a receive for good, and never an association.
 */
#include "upstream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ADDRESS_BASE 0x7f400000u /* 127.64.0.0 */
#define ADDRESS_MASK ((1u << HF_UPSTREAM_ADDRESS_BITS) - 1)
#define BUFFER_LEN (4 << 20)
#define PROBE_MS 200

static uint32_t datagram_slot(hf_association_id association)
{
    return (uint32_t)(association >> 32) & 0xffffffu;
}

static uint32_t datagram_turn(hf_association_id association)
{
    return (uint32_t)association & (HF_UPSTREAM_GENERATIONS - 1);
}

struct hf_address hf_upstream_datagram_source(const struct hf_upstream_datagrams *datagrams,
                                              hf_association_id association, bool is_v6)
{
    if (is_v6) {
        uint8_t ip[16];
        memcpy(ip, datagrams->prefix, 8);
        for (size_t i = 0; i < 8; ++i)
            ip[8 + i] = (uint8_t)(association >> (56 - 8 * i));
        return hf_address_v6(ip, 0, 0);
    }
    uint32_t own = datagrams->shard_index << datagrams->slot_bits | datagram_slot(association);
    uint32_t address = ADDRESS_BASE | own;
    const uint8_t ip[4] = {(uint8_t)(address >> 24), (uint8_t)(address >> 16),
                           (uint8_t)(address >> 8), (uint8_t)address};
    return hf_address_v4(ip, 0);
}

/* ---- opening ---- */

static bool datagram_tune(int fd, bool is_v6)
{
    static const int on = 1, len = BUFFER_LEN;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &len, sizeof len) != 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &len, sizeof len);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &len, sizeof len);
    if (is_v6) /* no interface has the addresses: freebind is what lets us send from them */
        return setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0 &&
               setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof on) == 0 &&
               setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on) == 0;
    /* Only loopback speaks to it; where this is refused, what is received is judged all the same.
     */
    (void)setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3);
    return setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on) == 0;
}

static int datagram_socket(bool is_v6)
{
    struct sockaddr_in6 address = {.sin6_family = is_v6 ? AF_INET6 : AF_INET};
    socklen_t len = is_v6 ? sizeof address : sizeof(struct sockaddr_in);
    int fd = socket(address.sin6_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (datagram_tune(fd, is_v6) &&
        bind(fd, (const struct sockaddr *)(const void *)&address, len) == 0)
        return fd;
    (void)close(fd);
    return -1;
}

/* Upstreams answer to its port: it must be the one they know. */
static int datagram_adopt(const struct hf_loop_config *config, uint32_t index)
{
    int fd = config->upstream_fds ? config->upstream_fds[index] : -1;
    return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

static enum hf_status datagram_refuse(char error[HF_LOOP_ERROR_MAX], enum hf_status status,
                                      const char *why)
{
    snprintf(error, HF_LOOP_ERROR_MAX, "upstream: %s", why);
    return status;
}

/* Whether what is sent to an address of the prefix arrives here: tried, on loopback alone. */
static bool datagram_is_routed(const struct hf_upstream_datagrams *datagrams)
{
    struct sockaddr_in6 target;
    socklen_t len = sizeof target;
    int receiver = datagram_socket(true);
    int sender = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool is_routed = false;
    if (receiver >= 0 && sender >= 0 &&
        setsockopt(sender, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3) == 0 &&
        getsockname(receiver, (struct sockaddr *)&target, &len) == 0) {
        struct pollfd wait = {.fd = receiver, .events = POLLIN};
        struct hf_address address = hf_upstream_datagram_source(datagrams, 1, true);
        memcpy(&target.sin6_addr, address.ip, sizeof address.ip);
        is_routed = sendto(sender, "", 1, 0, (const struct sockaddr *)&target, len) == 1 &&
                    poll(&wait, 1, PROBE_MS) == 1;
    }
    if (sender >= 0)
        (void)close(sender);
    if (receiver >= 0)
        (void)close(receiver);
    return is_routed;
}

static enum hf_status datagram_open_v4(struct hf_upstream_datagrams *datagrams,
                                       char error[HF_LOOP_ERROR_MAX],
                                       const struct hf_loop_config *config)
{
    uint32_t bits = 0;
    while ((1u << bits) < config->engine->associations_max && bits < HF_UPSTREAM_ADDRESS_BITS + 1)
        ++bits;
    if (bits > HF_UPSTREAM_ADDRESS_BITS ||
        config->engine->shard_index >= 1u << (HF_UPSTREAM_ADDRESS_BITS - bits))
        return datagram_refuse(error, HF_E_CONFIG,
                               "shards times associations of a shard (rounded up to a power of "
                               "two) exceed 2^22: the addresses of 127.64.0.0/10");
    datagrams->slot_bits = bits;
    for (uint32_t i = 0; i < HF_UPSTREAM_GENERATIONS; ++i) {
        datagrams->fds[i] = datagram_adopt(config, i);
        if (datagrams->fds[i] < 0)
            datagrams->fds[i] = datagram_socket(false);
        if (datagrams->fds[i] < 0)
            return datagram_refuse(error, HF_E_STATE, strerror(errno));
    }
    return HF_OK;
}

static enum hf_status datagram_open_v6(struct hf_upstream_datagrams *datagrams,
                                       char error[HF_LOOP_ERROR_MAX],
                                       const struct hf_loop_config *config)
{
    char text[INET6_ADDRSTRLEN];
    char why[200];
    memcpy(datagrams->prefix, config->upstream_prefix.ip, sizeof datagrams->prefix);
    if (!datagram_is_routed(datagrams)) {
        (void)inet_ntop(AF_INET6, config->upstream_prefix.ip, text, sizeof text);
        snprintf(why, sizeof why,
                 "nothing sent to %s/64 arrives here: ip -6 route add local %s/64 dev lo", text,
                 text);
        return datagram_refuse(error, HF_E_STATE, why);
    }
    datagrams->fds[HF_UPSTREAM_SOCKET_V6] = datagram_adopt(config, HF_UPSTREAM_SOCKET_V6);
    if (datagrams->fds[HF_UPSTREAM_SOCKET_V6] < 0)
        datagrams->fds[HF_UPSTREAM_SOCKET_V6] = datagram_socket(true);
    if (datagrams->fds[HF_UPSTREAM_SOCKET_V6] < 0)
        return datagram_refuse(error, HF_E_STATE, strerror(errno));
    return HF_OK;
}

enum hf_status hf_upstream_datagram_open(struct hf_loop *loop, char error[HF_LOOP_ERROR_MAX],
                                         const struct hf_loop_config *config)
{
    struct hf_upstream_datagrams *datagrams = calloc(1, sizeof *datagrams);
    bool is_needed[2] = {false, false};
    if (!datagrams)
        return datagram_refuse(error, HF_E_MEMORY, "out of memory");
    loop->upstreams->datagrams = datagrams;
    HF_COUNT(loop, memory_len, sizeof *datagrams);
    datagrams->shard_index = config->engine->shard_index;
    for (uint32_t i = 0; i < HF_UPSTREAM_SOCKETS; ++i)
        datagrams->fds[i] = -1;
    for (uint32_t i = 0; i < HF_LISTENERS_MAX; ++i) {
        const struct hf_upstream *upstream = &loop->upstreams->of[i];
        if (upstream->is_there && !upstream->is_stream)
            is_needed[!hf_address_is_v4(&upstream->address)] = true;
    }
    enum hf_status status = HF_OK;
    if (is_needed[0])
        status = datagram_open_v4(datagrams, error, config);
    if (is_needed[1] && status == HF_OK)
        status = datagram_open_v6(datagrams, error, config);
    return status;
}

void hf_upstream_datagram_close(struct hf_loop *loop)
{
    struct hf_upstream_datagrams *datagrams = loop->upstreams->datagrams;
    if (!datagrams)
        return;
    for (uint32_t i = 0; i < HF_UPSTREAM_SOCKETS; ++i)
        if (datagrams->fds[i] >= 0)
            (void)close(datagrams->fds[i]);
    free(datagrams);
    loop->upstreams->datagrams = NULL;
}

void hf_upstream_datagram_arm(struct hf_loop *loop)
{
    struct hf_upstream_datagrams *datagrams = loop->upstreams->datagrams;
    if (!datagrams || loop->is_freezing || loop->now_us < datagrams->pause_until_us)
        return;
    for (uint32_t i = 0; i < HF_UPSTREAM_SOCKETS; ++i) {
        if (datagrams->is_armed[i] || datagrams->fds[i] < 0)
            continue;
        struct hf_target target = {datagrams->fds[i], HF_OPERATION_UPSTREAM_DATAGRAM, i, 0};
        if (!loop->backend->datagrams(loop, target))
            return;
        datagrams->is_armed[i] = true;
    }
}

/* ---- to the upstream ---- */

static void datagram_put_source(struct msghdr *header, const struct hf_address *source, bool is_v6)
{
    struct in_pktinfo v4 = {0};
    struct in6_pktinfo v6 = {0};
    size_t len = is_v6 ? sizeof v6 : sizeof v4;
    memcpy(&v4.ipi_spec_dst, source->ip + 12, 4);
    memcpy(&v6.ipi6_addr, source->ip, 16);
    header->msg_controllen = CMSG_SPACE(len);
    struct cmsghdr *control = CMSG_FIRSTHDR(header);
    control->cmsg_level = is_v6 ? IPPROTO_IPV6 : IPPROTO_IP;
    control->cmsg_type = is_v6 ? IPV6_PKTINFO : IP_PKTINFO;
    control->cmsg_len = CMSG_LEN(len);
    memcpy(CMSG_DATA(control), is_v6 ? (const void *)&v6 : (const void *)&v4, len);
}

static size_t datagram_put_header(uint8_t out[HF_UPSTREAM_PROXY_MAX], const struct hf_loop *loop,
                                  const struct hf_event *event)
{
    struct hf_association_info info;
    if (hf_engine_association_info(&info, loop->engine, event->association) != HF_OK)
        return 0;
    return hf_upstream_proxy_encode(out, HF_UPSTREAM_PROXY_MAX, event->association, &info,
                                    loop->upstreams->of[event->listener_index].is_entity_told);
}

void hf_upstream_datagram_send(struct hf_loop *loop, const struct hf_event *event)
{
    struct hf_upstream_datagrams *datagrams = loop->upstreams->datagrams;
    struct hf_upstream *upstream = &loop->upstreams->of[event->listener_index];
    bool is_v6 = !hf_address_is_v4(&upstream->address);
    uint32_t turn = is_v6 ? HF_UPSTREAM_SOCKET_V6 : datagram_turn(event->association);
    if (datagrams->batch_count == HF_UPSTREAM_DATAGRAM_BATCH ||
        (datagrams->batch_count > 0 && datagrams->batch_socket != turn))
        hf_upstream_datagram_flush(loop);
    uint32_t i = datagrams->batch_count;
    size_t header_len = 0;
    if (upstream->is_proxied) {
        header_len = datagram_put_header(datagrams->headers[i], loop, event);
        if (header_len == 0) { /* it has ended in this very turn: nobody can vouch for it */
            HF_COUNT(loop, upstream_drops_stale, 1);
            return;
        }
    }
    struct iovec *parts = datagrams->parts[i];
    parts[0] = (struct iovec){datagrams->headers[i], header_len};
    parts[1] = (struct iovec){(void *)(uintptr_t)event->data.data, event->data.len};
    struct msghdr *header = &datagrams->messages[i].msg_hdr;
    *header = (struct msghdr){
        .msg_name = &upstream->peer,
        .msg_namelen = upstream->peer_len,
        .msg_iov = parts,
        .msg_iovlen = 2,
        .msg_control = datagrams->controls[i],
    };
    struct hf_address source = hf_upstream_datagram_source(datagrams, event->association, is_v6);
    datagram_put_source(header, &source, is_v6);
    datagrams->batch_socket = turn;
    datagrams->batch_count = i + 1;
}

void hf_upstream_datagram_flush(struct hf_loop *loop)
{
    struct hf_upstream_datagrams *datagrams = loop->upstreams->datagrams;
    uint32_t sent = 0;
    if (!datagrams)
        return;
    while (sent < datagrams->batch_count) {
        int count = sendmmsg(datagrams->fds[datagrams->batch_socket], &datagrams->messages[sent],
                             datagrams->batch_count - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            HF_COUNT(loop, upstream_drops_unsendable, 1);
        uint32_t end = sent + (count > 0 ? (uint32_t)count : 1);
        for (uint32_t i = sent; i < end && count > 0; ++i)
            HF_COUNT(loop, upstream_out_len, datagrams->parts[i][1].iov_len);
        if (count > 0)
            HF_COUNT(loop, upstream_datagrams_out, count);
        sent = end;
    }
    datagrams->batch_count = 0;
}

/* ---- from the upstream ---- */

static bool datagram_destination(struct hf_address *out, const struct msghdr *controls)
{
    struct msghdr header = *controls; /* CMSG_NXTHDR wants it mutable */
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&header); c; c = CMSG_NXTHDR(&header, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            uint8_t ip[4];
            memcpy(&info, CMSG_DATA(c), sizeof info);
            memcpy(ip, &info.ipi_addr, sizeof ip);
            *out = hf_address_v4(ip, 0);
            return true;
        }
        if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            *out = hf_address_v6(info.ipi6_addr.s6_addr, 0, 0);
            return true;
        }
    }
    return false;
}

static bool datagram_is_from(const struct hf_upstream *upstream, const void *name)
{
    struct hf_address source;
    hf_socket_address_load(&source, name);
    return upstream->is_there && source.port == upstream->address.port &&
           memcmp(source.ip, upstream->address.ip, sizeof source.ip) == 0;
}

/* Who lives at the address now, if that is whom the socket is for. */
static enum hf_status datagram_addressee(struct hf_association_entry *out,
                                         const struct hf_loop *loop,
                                         const struct hf_address *destination, uint32_t turn)
{
    const struct hf_upstream_datagrams *datagrams = loop->upstreams->datagrams;
    bool is_v6 = turn == HF_UPSTREAM_SOCKET_V6;
    uint64_t handle = 0;
    for (size_t i = 8; i < 16; ++i)
        handle = handle << 8 | destination->ip[i];
    uint32_t own = (uint32_t)handle & ADDRESS_MASK;
    uint32_t slot = is_v6 ? datagram_slot(handle) : own & ((1u << datagrams->slot_bits) - 1);
    bool is_ours = is_v6 ? memcmp(destination->ip, datagrams->prefix, 8) == 0 &&
                               handle >> 56 == datagrams->shard_index
                         : ((uint32_t)handle & ~ADDRESS_MASK) == ADDRESS_BASE &&
                               own >> datagrams->slot_bits == datagrams->shard_index;
    if (!is_ours)
        return HF_E_ARGUMENT;
    uint32_t slots = hf_engine_association_slots(loop->engine);
    if (slot >= slots || !hf_engine_next_association(out, &slot, loop->engine, slot + 1) ||
        !out->established ||
        (is_v6 ? out->association != handle : datagram_turn(out->association) != turn))
        return HF_E_STALE;
    return HF_OK;
}

static void datagram_forward(struct hf_loop *loop, const struct hf_completion *completion)
{
    struct hf_bytes data = {completion->data, completion->len};
    struct hf_association_entry entry;
    struct hf_address destination;
    enum hf_status status = HF_E_ARGUMENT;
    if (datagram_destination(&destination, &completion->controls))
        status = datagram_addressee(&entry, loop, &destination, completion->index);
    if (status == HF_OK &&
        (entry.is_client ||
         !datagram_is_from(&loop->upstreams->of[entry.listener_index], completion->name)))
        status = HF_E_ARGUMENT;
    if (status == HF_OK)
        status = hf_loop_send(loop, entry.association, data);
    if (status == HF_OK) {
        HF_COUNT(loop, upstream_datagrams_in, 1);
        HF_COUNT(loop, upstream_in_len, data.len);
    } else if (status == HF_E_ARGUMENT) {
        HF_COUNT(loop, upstream_drops_stranger, 1);
    } else if (status == HF_E_TOO_LONG) {
        HF_COUNT(loop, upstream_drops_too_long, 1);
    } else if (status == HF_WAITING) {
        HF_COUNT(loop, upstream_drops_full, 1);
    } else {
        HF_COUNT(loop, upstream_drops_stale, 1);
    }
}

void hf_upstream_datagram_received(struct hf_loop *loop, const struct hf_completion *completion)
{
    struct hf_upstream_datagrams *datagrams = loop->upstreams->datagrams;
    int result = completion->result;
    if (!completion->is_armed) {
        datagrams->is_armed[completion->index] = false;
        if (result == -ENOBUFS)
            HF_COUNT(loop, receive_buffers_empty, 1);
        else if (result < 0 && result != -ECANCELED && result != -ECONNREFUSED)
            datagrams->pause_until_us = loop->now_us + HF_ACCEPT_PAUSE_US;
    }
    if (!completion->data)
        return;
    if (completion->is_truncated)
        HF_COUNT(loop, upstream_drops_too_long, 1);
    else if (completion->len > 0) /* an empty one says nothing to a device */
        datagram_forward(loop, completion);
}
