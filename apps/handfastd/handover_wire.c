/**
 * handover_wire.c - see handover_wire.h. Descriptors travel with a frame's first byte; its data
 * follows in writes of their own.
 */
#include "handover_wire.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEADER_LEN 12u
#define DATA_MAX (64u << 20)

struct descriptors {
    _Alignas(struct cmsghdr) uint8_t space[CMSG_SPACE(HF_HANDOVER_FDS_MAX * sizeof(int))];
};

void hf_handover_patience(int fd, unsigned seconds)
{
    const struct timeval limit = {.tv_sec = seconds};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

bool hf_handover_peer(pid_t *out, int fd, uid_t owner)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
        return false;
    *out = peer.pid;
    return peer.uid == 0 || peer.uid == owner;
}

/* ---- sending ------------------------------------------------------------------------------ */

static bool send_all(int fd, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(fd, data, len, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        data += sent;
        len -= (size_t)sent;
    }
    return true;
}

bool hf_handover_send(int fd, enum hf_handover_kind kind, uint32_t shard, struct hf_bytes data,
                      const int *fds, size_t fd_count)
{
    uint8_t header[HEADER_LEN] = {'H',
                                  'F',
                                  'H',
                                  (uint8_t)kind,
                                  (uint8_t)(shard >> 8),
                                  (uint8_t)shard,
                                  (uint8_t)(fd_count >> 8),
                                  (uint8_t)fd_count};
    struct descriptors descriptors;
    if (fd_count > HF_HANDOVER_FDS_MAX || data.len > DATA_MAX)
        return false;
    for (int i = 0; i < 4; i++)
        header[8 + i] = (uint8_t)(data.len >> (24 - 8 * i));
    struct iovec part = {header, sizeof(header)};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd_count > 0) {
        memset(&descriptors, 0, sizeof(descriptors));
        message.msg_control = descriptors.space;
        message.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
        struct cmsghdr *control = CMSG_FIRSTHDR(&message);
        control->cmsg_level = SOL_SOCKET;
        control->cmsg_type = SCM_RIGHTS;
        control->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
        memcpy(CMSG_DATA(control), fds, fd_count * sizeof(int));
    }
    ssize_t sent = -1;
    do
        sent = sendmsg(fd, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent > 0 && send_all(fd, header + sent, sizeof(header) - (size_t)sent) &&
           send_all(fd, data.data, data.len);
}

bool hf_handover_send_text(int fd, enum hf_handover_kind kind, const char *text)
{
    const struct hf_bytes data = {(const uint8_t *)text, strlen(text)};
    return hf_handover_send(fd, kind, 0, data, NULL, 0);
}

bool hf_handover_fail(char error[HF_HANDOVER_ERROR_MAX], const char *why)
{
    snprintf(error, HF_HANDOVER_ERROR_MAX, "%.300s", why);
    return false;
}

/* ---- receiving ---------------------------------------------------------------------------- */

static bool receive_all(int fd, uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t got = recv(fd, data, len, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        data += got;
        len -= (size_t)got;
    }
    return true;
}

static void take_descriptors(struct hf_handover_frame *out, struct msghdr *message)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd = -1;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
            if (out->fd_count < HF_HANDOVER_FDS_MAX)
                out->fds[out->fd_count++] = fd;
            else
                close(fd);
        }
    }
}

static bool receive_header(struct hf_handover_frame *out, uint8_t header[HEADER_LEN], int fd)
{
    struct descriptors descriptors;
    struct iovec part = {header, HEADER_LEN};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = descriptors.space,
                             .msg_controllen = sizeof(descriptors.space)};
    ssize_t got = -1;
    do
        got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got <= 0)
        return false;
    take_descriptors(out, &message);
    return (message.msg_flags & MSG_CTRUNC) == 0 &&
           receive_all(fd, header + got, HEADER_LEN - (size_t)got);
}

bool hf_handover_receive(struct hf_handover_frame *out, int fd)
{
    uint8_t header[HEADER_LEN];
    memset(out, 0, sizeof(*out));
    bool is_good = receive_header(out, header, fd) && memcmp(header, "HFH", 3) == 0 &&
                   out->fd_count == (size_t)(header[6] << 8 | header[7]);
    if (is_good) {
        out->kind = (enum hf_handover_kind)header[3];
        out->shard = (uint32_t)(header[4] << 8 | header[5]);
        size_t len = (size_t)header[8] << 24 | (size_t)header[9] << 16 | (size_t)header[10] << 8 |
                     header[11];
        out->data = len <= DATA_MAX ? malloc(len + 1) : NULL;
        out->len = out->data == NULL ? 0 : len;
        is_good = out->data != NULL && receive_all(fd, out->data, len);
        if (is_good)
            out->data[len] = '\0';
    }
    if (!is_good)
        hf_handover_wipe(out);
    return is_good;
}

void hf_handover_wipe(struct hf_handover_frame *frame)
{
    if (frame->data != NULL)
        explicit_bzero(frame->data, frame->len);
    free(frame->data);
    for (size_t i = 0; i < frame->fd_count; i++)
        if (frame->fds[i] >= 0)
            close(frame->fds[i]);
    memset(frame, 0, sizeof(*frame));
}
