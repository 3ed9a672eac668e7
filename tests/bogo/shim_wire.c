/**
 * shim_wire.c - the connection to the runner. TLS is bytes. DTLS is commands of one octet: 'P', a
 * packet with a length of 32 bits; 'T', so many nanoseconds pass (64 bits), to be acknowledged with
 * 't'; 'M', the MTU is so much (32 bits); 'E', the next timeout ought to be in so many nanoseconds
 * (64 bits, all ones: there ought to be none). All big-endian.
 */
#include "shim.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static bool write_all(int fd, const void *data, size_t len)
{
    const uint8_t *at = data;
    while (len > 0) {
        ssize_t count = send(fd, at, len, MSG_NOSIGNAL);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return false;
        at += count;
        len -= (size_t)count;
    }
    return true;
}

static bool read_all(int fd, void *data, size_t len)
{
    uint8_t *at = data;
    while (len > 0) {
        ssize_t count = recv(fd, at, len, 0);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return false;
        at += count;
        len -= (size_t)count;
    }
    return true;
}

static bool read_number(uint64_t *out, int fd, size_t width)
{
    uint8_t bytes[8];
    *out = 0;
    if (!read_all(fd, bytes, width))
        return false;
    for (size_t i = 0; i < width; i++)
        *out = *out << 8 | bytes[i];
    return true;
}

bool shim_wire_open(struct shim_wire *out, const struct shim_flags *flags)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(flags->port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(flags->port)};
    uint8_t id[8];
    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    v6.sin6_addr = in6addr_loopback;
    for (size_t i = 0; i < sizeof(id); i++)
        id[i] = (uint8_t)(flags->shim_id >> (8 * i));
    *out = (struct shim_wire){.is_packeted = flags->is_dtls, .now_us = out->now_us};
    out->fd = socket(flags->is_ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr *address =
        flags->is_ipv6 ? (const struct sockaddr *)&v6 : (const struct sockaddr *)&v4;
    socklen_t len = flags->is_ipv6 ? sizeof(v6) : sizeof(v4);
    if (out->fd < 0 || connect(out->fd, address, len) != 0) {
        perror("connect");
        return false;
    }
    (void)setsockopt(out->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    return write_all(out->fd, id, sizeof(id));
}

void shim_wire_close(struct shim_wire *wire)
{
    if (wire->fd >= 0)
        (void)close(wire->fd);
    wire->fd = -1;
}

static enum shim_read end(struct shim_wire *wire, size_t *len)
{
    wire->is_at_end = true;
    *len = 0;
    return SHIM_READ_END;
}

static enum shim_read read_packet(struct shim_wire *wire, uint8_t *data, size_t *len)
{
    uint64_t packet_len;
    if (!read_number(&packet_len, wire->fd, 4) || packet_len > *len ||
        !read_all(wire->fd, data, packet_len))
        return end(wire, len);
    *len = packet_len;
    return SHIM_READ_DATA;
}

static enum shim_read read_command(struct shim_wire *wire, uint8_t *data, size_t *len)
{
    uint8_t opcode;
    uint64_t value;
    if (!read_all(wire->fd, &opcode, 1))
        return end(wire, len);
    switch (opcode) {
    case 'P':
        return read_packet(wire, data, len);
    case 'T':
        if (!read_number(&value, wire->fd, 8) || !write_all(wire->fd, "t", 1))
            return end(wire, len);
        wire->now_us += (value + 999) / 1000; /* never short of what it means */
        return SHIM_READ_CLOCK;
    case 'M':
        if (!read_number(&value, wire->fd, 4))
            return end(wire, len);
        wire->mtu = (uint32_t)value;
        return SHIM_READ_MTU;
    case 'E':
        if (!read_number(&value, wire->fd, 8))
            return end(wire, len);
        wire->expected_us = value == UINT64_MAX ? UINT64_MAX : value / 1000;
        return SHIM_READ_EXPECT;
    default:
        return SHIM_READ_UNKNOWN;
    }
}

enum shim_read shim_wire_read(struct shim_wire *wire, uint8_t *data, size_t *len)
{
    ssize_t count;
    if (wire->is_packeted)
        return read_command(wire, data, len);
    do
        count = recv(wire->fd, data, *len, 0);
    while (count < 0 && errno == EINTR);
    if (count <= 0)
        return end(wire, len);
    *len = (size_t)count;
    return SHIM_READ_DATA;
}

bool shim_wire_write(struct shim_wire *wire, struct hf_bytes data)
{
    const uint8_t head[5] = {'P', (uint8_t)(data.len >> 24), (uint8_t)(data.len >> 16),
                             (uint8_t)(data.len >> 8), (uint8_t)data.len};
    return (!wire->is_packeted || write_all(wire->fd, head, sizeof(head))) &&
           write_all(wire->fd, data.data, data.len);
}
