/**
 * upstream_datagram.c - DTLS: plaintext datagrams to and from an upstream on this machine.
 *
 * Each association has an address of its own in 127.64.0.0/10 to send from, made of its handle:
 * shard, then record. What the upstream sends there finds the association without a table, at any
 * time, and no association costs a socket or a byte of memory. A record's tenants take turns on a
 * few sockets, each with its own port: so a datagram for a former tenant is recognised, and
 * dropped.
 *
 * Invariant: an upstream's error never ends a receive for good, and never an association.
 */
#include "upstream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ADDRESS_BASE 0x7f400000u /* 127.64.0.0 */
#define ADDRESS_MASK ((1u << HF_UPSTREAM_ADDRESS_BITS) - 1)
#define BUFFER_LEN (4 << 20)

static uint32_t datagram_slot(hf_association_id association)
{
    return (uint32_t)(association >> 32) & 0xffffffu;
}

static uint32_t datagram_turn(hf_association_id association)
{
    return (uint32_t)association & (HF_UPSTREAM_GENERATIONS - 1);
}

struct in_addr hf_upstream_datagram_source(const struct hf_upstream_datagrams *datagrams,
                                           hf_association_id association)
{
    uint32_t own = datagrams->shard_index << datagrams->slot_bits | datagram_slot(association);
    return (struct in_addr){.s_addr = htonl(ADDRESS_BASE | own)};
}

/* ---- opening ---- */

static int datagram_socket(void)
{
    static const int on = 1, len = BUFFER_LEN;
    struct sockaddr_in address = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    /* Only loopback speaks to it; where this is refused, what is received is judged all the same.
     */
    (void)setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3);
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &len, sizeof len) != 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &len, sizeof len);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &len, sizeof len);
    if (setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on) == 0 &&
        bind(fd, (const struct sockaddr *)(const void *)&address, sizeof address) == 0)
        return fd;
    (void)close(fd);
    return -1;
}

static enum hf_status datagram_refuse(char error[HF_LOOP_ERROR_MAX], enum hf_status status,
                                      const char *why)
{
    snprintf(error, HF_LOOP_ERROR_MAX, "upstream: %s", why);
    return status;
}

enum hf_status hf_upstream_datagram_open(struct hf_loop *loop, char error[HF_LOOP_ERROR_MAX],
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
    struct hf_upstream_datagrams *datagrams = calloc(1, sizeof *datagrams);
    if (!datagrams)
        return datagram_refuse(error, HF_E_MEMORY, "out of memory");
    loop->upstreams->datagrams = datagrams;
    HF_COUNT(loop, memory_len, sizeof *datagrams);
    datagrams->slot_bits = bits;
    datagrams->shard_index = config->engine->shard_index;
    for (uint32_t i = 0; i < HF_UPSTREAM_GENERATIONS; ++i)
        datagrams->fds[i] = -1;
    for (uint32_t i = 0; i < HF_UPSTREAM_GENERATIONS; ++i) {
        datagrams->fds[i] = datagram_socket();
        if (datagrams->fds[i] < 0)
            return datagram_refuse(error, HF_E_STATE, strerror(errno));
    }
    return HF_OK;
}

void hf_upstream_datagram_close(struct hf_loop *loop)
{
    struct hf_upstream_datagrams *datagrams = loop->upstreams->datagrams;
    if (!datagrams)
        return;
    for (uint32_t i = 0; i < HF_UPSTREAM_GENERATIONS; ++i)
        if (datagrams->fds[i] >= 0)
            (void)close(datagrams->fds[i]);
    free(datagrams);
    loop->upstreams->datagrams = NULL;
}

void hf_upstream_datagram_arm(struct hf_loop *loop)
{
    struct hf_upstream_datagrams *datagrams = loop->upstreams->datagrams;
    if (!datagrams || loop->now_us < datagrams->pause_until_us)
        return;
    for (uint32_t i = 0; i < HF_UPSTREAM_GENERATIONS; ++i) {
        if (datagrams->is_armed[i])
            continue;
        struct hf_target target = {datagrams->fds[i], HF_OPERATION_UPSTREAM_DATAGRAM, i, 0};
        if (!loop->backend->datagrams(loop, target))
            return;
        datagrams->is_armed[i] = true;
    }
}

/* ---- to the upstream ---- */

static void datagram_put_source(struct msghdr *header, struct in_addr source)
{
    struct in_pktinfo info = {.ipi_spec_dst = source};
    header->msg_controllen = CMSG_SPACE(sizeof info);
    struct cmsghdr *control = CMSG_FIRSTHDR(header);
    control->cmsg_level = IPPROTO_IP;
    control->cmsg_type = IP_PKTINFO;
    control->cmsg_len = CMSG_LEN(sizeof info);
    memcpy(CMSG_DATA(control), &info, sizeof info);
}

static size_t datagram_put_header(uint8_t out[HF_UPSTREAM_PROXY_MAX], const struct hf_loop *loop,
                                  const struct hf_event *event)
{
    struct hf_association_info info;
    if (hf_engine_association_info(&info, loop->engine, event->association) != HF_OK)
        return 0;
    return hf_upstream_proxy_encode(out, HF_UPSTREAM_PROXY_MAX, event->association, &info);
}

void hf_upstream_datagram_send(struct hf_loop *loop, const struct hf_event *event)
{
    struct hf_upstream_datagrams *datagrams = loop->upstreams->datagrams;
    struct hf_upstream *upstream = &loop->upstreams->of_listener[event->listener_index];
    uint32_t turn = datagram_turn(event->association);
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
    datagram_put_source(header, hf_upstream_datagram_source(datagrams, event->association));
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

static bool datagram_destination(uint32_t *out, const struct msghdr *controls)
{
    struct msghdr header = *controls; /* CMSG_NXTHDR wants it mutable */
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&header); c; c = CMSG_NXTHDR(&header, c)) {
        struct in_pktinfo info;
        if (c->cmsg_level != IPPROTO_IP || c->cmsg_type != IP_PKTINFO)
            continue;
        memcpy(&info, CMSG_DATA(c), sizeof info);
        *out = ntohl(info.ipi_addr.s_addr);
        return true;
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
                                         const struct hf_loop *loop, uint32_t destination,
                                         uint32_t turn)
{
    const struct hf_upstream_datagrams *datagrams = loop->upstreams->datagrams;
    uint32_t own = destination & ADDRESS_MASK;
    uint32_t slot = own & ((1u << datagrams->slot_bits) - 1);
    if ((destination & ~ADDRESS_MASK) != ADDRESS_BASE ||
        own >> datagrams->slot_bits != datagrams->shard_index)
        return HF_E_ARGUMENT;
    uint32_t slots = hf_engine_association_slots(loop->engine);
    if (slot >= slots || !hf_engine_next_association(out, &slot, loop->engine, slot + 1) ||
        !out->established || datagram_turn(out->association) != turn)
        return HF_E_STALE;
    return HF_OK;
}

static void datagram_forward(struct hf_loop *loop, const struct hf_completion *completion)
{
    struct hf_bytes data = {completion->data, completion->len};
    struct hf_association_entry entry;
    uint32_t destination = 0;
    enum hf_status status = HF_E_ARGUMENT;
    if (datagram_destination(&destination, &completion->controls))
        status = datagram_addressee(&entry, loop, destination, completion->index);
    if (status == HF_OK &&
        !datagram_is_from(&loop->upstreams->of_listener[entry.listener_index], completion->name))
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
