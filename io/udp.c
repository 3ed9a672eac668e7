/**
 * udp.c - datagrams. Received by one request per socket that goes on, opened in place by the
 * engine; sent with sendmmsg in one call per turn and socket.
 *
 * Why not sends through the ring: measured, one sendmmsg of a turn's datagrams costs the same
 * (within 2 %) as that many requests with skipped completions; the outcome of each is known at
 * once, and the engine's output need not live until the next submission.
 *
 * Invariant: whatever a completion says, the receive is armed again by the end of the turn, after
 * the buffers went back; only an unknown error makes it wait for 100 ms.
 */
#include "loop_private.h"

#include <errno.h>
#include <string.h>

void hf_udp_arm(struct hf_loop *loop)
{
    for (uint32_t i = 0; i < loop->socket_count && !loop->is_freezing; ++i) {
        struct hf_socket *socket = &loop->sockets[i];
        if (socket->transport != HF_TRANSPORT_DTLS || socket->is_armed || socket->fd < 0 ||
            loop->now_us < socket->pause_until_us)
            continue;
        socket->pause_until_us = 0;
        struct hf_target target = {socket->fd, HF_OPERATION_DATAGRAM, i, 0};
        if (!loop->backend->datagrams(loop, target))
            return;
        socket->is_armed = true;
    }
}

void hf_udp_ended(struct hf_loop *loop, struct hf_socket *socket,
                  const struct hf_completion *completion)
{
    int result = completion->result;
    if (completion->is_armed)
        return;
    socket->is_armed = false;
    HF_COUNT(loop, receive_rearms, 1);
    if (result == -ENOBUFS)
        HF_COUNT(loop, receive_buffers_empty, 1);
    else if (result < 0 && result != -ECANCELED && result != -ECONNREFUSED)
        socket->pause_until_us = loop->now_us + HF_ACCEPT_PAUSE_US;
}

static void udp_read_controls(struct hf_datagram *datagram, const struct msghdr *controls)
{
    struct msghdr header = *controls; /* CMSG_NXTHDR wants it mutable */
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&header); c; c = CMSG_NXTHDR(&header, c)) {
        struct hf_address *local = &datagram->path.local;
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
            datagram->ecn = *(const uint8_t *)CMSG_DATA(c) & 3;
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
            int value;
            memcpy(&value, CMSG_DATA(c), sizeof value);
            datagram->ecn = (uint8_t)(value & 3);
        } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            memcpy(local->ip + 12, &info.ipi_addr, 4);
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            memcpy(local->ip, &info.ipi6_addr, 16);
            local->scope = IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr) ? info.ipi6_ifindex : 0;
        }
    }
}

enum hf_status hf_udp_receive(struct hf_datagram *datagram, struct hf_loop *loop,
                              const struct hf_completion *completion)
{
    struct hf_socket *socket = &loop->sockets[completion->index];
    hf_udp_ended(loop, socket, completion);
    if (!completion->data)
        return HF_OK;
    HF_COUNT(loop, datagrams_in, 1);
    if (completion->is_truncated) {
        HF_COUNT(loop, datagrams_truncated, 1);
        return HF_OK;
    }
    if (!hf_gate_take(loop, socket, completion->data, completion->len))
        return HF_OK;
    hf_socket_address_load(&datagram->path.peer, completion->name);
    datagram->path.local = socket->address;
    datagram->listener_index = socket->listener_index;
    datagram->is_client = socket->is_client;
    datagram->ecn = 0;
    udp_read_controls(datagram, &completion->controls);
    datagram->data = completion->data;
    datagram->len = completion->len;
    if (hf_stray_pass(loop, datagram))
        return HF_OK;
    return hf_engine_receive_datagram(loop->engine, datagram);
}

/* One listener may have several sockets; the answer leaves from the address that was asked. */
static struct hf_socket *udp_sender(struct hf_loop *loop, const struct hf_output *output)
{
    const struct hf_address *local = &output->path.local;
    struct hf_socket *last = loop->last_sender;
    if (last && !last->is_wildcard && memcmp(&last->address, local, sizeof *local) == 0)
        return last;
    static const uint8_t v4_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    bool is_v4 = memcmp(local->ip, v4_prefix, sizeof v4_prefix) == 0;
    struct hf_socket *found = NULL;
    for (uint32_t i = 0; i < loop->socket_count; ++i) {
        struct hf_socket *socket = &loop->sockets[i];
        if (socket->transport != HF_TRANSPORT_DTLS || socket->address.port != local->port)
            continue;
        if (!socket->is_wildcard && memcmp(socket->address.ip, local->ip, 16) == 0) {
            found = socket;
            break;
        }
        /* 0.0.0.0 sends IPv4 only; [::] both; the own family is the better one. */
        if (socket->is_wildcard && (socket->is_v6 || is_v4) && (!found || socket->is_v6 != is_v4))
            found = socket;
    }
    return loop->last_sender = found;
}

static void udp_put_control(struct msghdr *header, int level, int type, const void *data,
                            size_t len)
{
    struct cmsghdr *c =
        (struct cmsghdr *)(void *)((uint8_t *)header->msg_control + header->msg_controllen);
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(len);
    memcpy(CMSG_DATA(c), data, len);
    header->msg_controllen += CMSG_SPACE(len);
}

static void udp_put_controls(struct msghdr *header, const struct hf_socket *socket,
                             const struct hf_output *output, bool is_v4)
{
    const struct hf_address *local = &output->path.local;
    if (socket->is_wildcard && socket->is_v6) {
        struct in6_pktinfo info = {.ipi6_ifindex = local->scope};
        memcpy(&info.ipi6_addr, local->ip, 16);
        udp_put_control(header, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info);
    } else if (socket->is_wildcard) {
        struct in_pktinfo info = {.ipi_ifindex = 0};
        memcpy(&info.ipi_spec_dst, local->ip + 12, 4);
        udp_put_control(header, IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
    }
    if (output->ecn != 0) {
        int value = output->ecn;
        if (is_v4)
            udp_put_control(header, IPPROTO_IP, IP_TOS, &value, sizeof value);
        else
            udp_put_control(header, IPPROTO_IPV6, IPV6_TCLASS, &value, sizeof value);
    }
}

void hf_udp_send(struct hf_loop *loop, const struct hf_output *output)
{
    struct hf_send_batch *batch = &loop->batch;
    struct hf_socket *socket = udp_sender(loop, output);
    if (!socket || socket->fd < 0) {
        HF_COUNT(loop, datagrams_unsendable, 1);
        return;
    }
    if (batch->count == HF_SEND_BATCH || (batch->count > 0 && batch->socket != socket))
        hf_udp_flush(loop);
    uint32_t i = batch->count++;
    batch->socket = socket;
    struct msghdr *header = &batch->messages[i].msg_hdr;
    batch->parts[i] = (struct iovec){.iov_base = (void *)(uintptr_t)output->data.data,
                                     .iov_len = output->data.len};
    *header = (struct msghdr){
        .msg_name = &batch->peers[i],
        .msg_iov = &batch->parts[i],
        .msg_iovlen = 1,
    };
    header->msg_namelen =
        hf_socket_address_store(&batch->peers[i], &output->path.peer, socket->is_v6);
    if (socket->is_wildcard || output->ecn != 0) {
        static const uint8_t v4_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
        bool is_v4 = memcmp(output->path.peer.ip, v4_prefix, sizeof v4_prefix) == 0;
        header->msg_control = batch->controls[i];
        udp_put_controls(header, socket, output, is_v4);
    }
}

void hf_udp_flush(struct hf_loop *loop)
{
    struct hf_send_batch *batch = &loop->batch;
    uint32_t sent = 0;
    while (sent < batch->count) {
        int count = sendmmsg(batch->socket->fd, &batch->messages[sent], batch->count - sent,
                             MSG_DONTWAIT | MSG_NOSIGNAL);
        if (count > 0) {
            HF_COUNT(loop, datagrams_out, count);
            sent += (uint32_t)count;
        } else if (count < 0 && errno == EINTR) {
            continue;
        } else { /* this one cannot be sent; DTLS repeats what matters */
            HF_COUNT(loop, datagrams_unsendable, 1);
            ++sent;
        }
    }
    batch->count = 0;
}
