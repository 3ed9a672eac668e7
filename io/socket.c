/**
 * socket.c - opening the sockets of a shard, with an error that names the remedy, and addresses to
 * and from the kernel's form.
 *
 * Receive errors (IP_RECVERR) stay off: anybody could spoof the ICMP message that ends a multishot
 * receive. For the same reason datagrams go out with DF set and no path MTU is believed.
 */
#include "loop_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sock_diag.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BACKLOG 4096
#define SEND_BUFFER_LEN (1 << 20)

static const uint8_t v4_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static bool socket_is_v4(const struct hf_address *address)
{
    return memcmp(address->ip, v4_prefix, sizeof v4_prefix) == 0;
}

static bool socket_is_wildcard(const struct hf_address *address)
{
    static const uint8_t zero[16];
    return memcmp(address->ip, zero, 16) == 0 ||
           (socket_is_v4(address) && memcmp(address->ip + 12, zero, 4) == 0);
}

void hf_socket_address_load(struct hf_address *out, const void *sockaddr)
{
    sa_family_t family;
    memcpy(&family, sockaddr, sizeof family);
    memset(out, 0, sizeof *out);
    if (family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, sockaddr, sizeof v4);
        memcpy(out->ip, v4_prefix, sizeof v4_prefix);
        memcpy(out->ip + 12, &v4.sin_addr, 4);
        out->port = ntohs(v4.sin_port);
    } else if (family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, sockaddr, sizeof v6);
        memcpy(out->ip, &v6.sin6_addr, 16);
        out->port = ntohs(v6.sin6_port);
        out->scope = v6.sin6_scope_id;
    }
}

socklen_t hf_socket_address_store(struct sockaddr_in6 *out, const struct hf_address *address,
                                  bool is_v6)
{
    if (is_v6) {
        out->sin6_family = AF_INET6;
        out->sin6_port = htons(address->port);
        out->sin6_flowinfo = 0;
        memcpy(&out->sin6_addr, address->ip, 16);
        out->sin6_scope_id = address->scope;
        return sizeof *out;
    }
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(address->port)};
    memcpy(&v4.sin_addr, address->ip + 12, 4);
    memcpy(out, &v4, sizeof v4);
    return sizeof v4;
}

void hf_socket_address_print(char out[HF_ADDRESS_TEXT_MAX], const struct hf_address *address)
{
    char text[40] = "?"; /* eight groups: what ends in a dotted quad is shorter */
    if (socket_is_v4(address)) {
        inet_ntop(AF_INET, address->ip + 12, text, sizeof text);
        snprintf(out, HF_ADDRESS_TEXT_MAX, "%s:%u", text, (unsigned)address->port);
    } else {
        inet_ntop(AF_INET6, address->ip, text, sizeof text);
        if (address->scope != 0)
            snprintf(out, HF_ADDRESS_TEXT_MAX, "[%s%%%u]:%u", text, (unsigned)address->scope,
                     (unsigned)address->port);
        else
            snprintf(out, HF_ADDRESS_TEXT_MAX, "[%s]:%u", text, (unsigned)address->port);
    }
}

static enum hf_status socket_refused(char error[HF_LOOP_ERROR_MAX],
                                     const struct hf_loop_socket *what, const char *step, int code)
{
    char text[HF_ADDRESS_TEXT_MAX];
    hf_socket_address_print(text, &what->address);
    const char *remedy = "";
    switch (code) {
    case EADDRINUSE:
        remedy = what->transport == HF_TRANSPORT_DTLS
                     ? ": another program has the port (ss -ulpn shows which)"
                     : ": another program has the port (ss -tlpn shows which)";
        break;
    case EACCES:
    case EPERM:
        remedy = ": a port below 1024 needs CAP_NET_BIND_SERVICE "
                 "(AmbientCapabilities= in a unit, or setcap), or choose a port above";
        break;
    case EADDRNOTAVAIL:
        remedy = ": no interface has this address (ip address shows them)";
        break;
    case EAFNOSUPPORT:
        remedy = ": IPv6 is off here (sysctl net.ipv6.conf.all.disable_ipv6), listen on IPv4";
        break;
    case EMFILE:
    case ENFILE:
        remedy = ": out of file descriptors: raise LimitNOFILE= (ulimit -n)";
        break;
    default:
        break;
    }
    snprintf(error, HF_LOOP_ERROR_MAX, "%s on %s %s: %s%s", step,
             what->transport == HF_TRANSPORT_DTLS ? "udp" : "tcp", text, strerror(code), remedy);
    return HF_E_STATE;
}

static int socket_set(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value);
}

static void socket_tune_udp(const struct hf_socket *opened, const struct hf_loop_config *config)
{
    int fd = opened->fd;
    int len = config->socket_receive_len > INT32_MAX / 2 ? INT32_MAX / 2
                                                         : (int)config->socket_receive_len;
    /* FORCE needs CAP_NET_ADMIN and goes beyond net.core.rmem_max. */
    if (socket_set(fd, SOL_SOCKET, SO_RCVBUFFORCE, len) != 0)
        (void)socket_set(fd, SOL_SOCKET, SO_RCVBUF, len);
    (void)socket_set(fd, SOL_SOCKET, SO_SNDBUF, SEND_BUFFER_LEN);
    /* A dual-stack socket obeys both families' options. */
    (void)socket_set(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
    if (config->is_ecn_read)
        (void)socket_set(fd, IPPROTO_IP, IP_RECVTOS, 1);
    if (opened->is_v6) {
        (void)socket_set(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
        if (config->is_ecn_read)
            (void)socket_set(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
        if (opened->is_wildcard)
            (void)socket_set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    } else if (opened->is_wildcard) {
        (void)socket_set(fd, IPPROTO_IP, IP_PKTINFO, 1);
    }
}

/* Accepted connections inherit all of these. */
static void socket_tune_tcp(int fd)
{
    (void)socket_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    (void)socket_set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    (void)socket_set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, HF_SEND_STALL_MS);
}

static int socket_new(const struct hf_loop_socket *what, bool is_v6)
{
    int type = what->transport == HF_TRANSPORT_DTLS ? SOCK_DGRAM : SOCK_STREAM;
    int fd = socket(is_v6 ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC, 0);
    if (fd >= 0 && is_v6)
        (void)socket_set(fd, IPPROTO_IPV6, IPV6_V6ONLY, what->is_v6_only);
    if (fd >= 0 && type == SOCK_STREAM)
        (void)socket_set(fd, SOL_SOCKET, SO_REUSEADDR, 1); /* beside TIME_WAIT */
    return fd;
}

/* SO_REUSEPORT would let two programs of one user share the port unnoticed. */
static int socket_probe(const struct hf_loop_socket *what, bool is_v6,
                        const struct sockaddr_in6 *address, socklen_t len)
{
    int fd = socket_new(what, is_v6);
    if (fd < 0)
        return errno;
    int code = bind(fd, (const struct sockaddr *)(const void *)address, len) == 0 ? 0 : errno;
    (void)close(fd);
    return code;
}

/* Another process's, which has it still: bound, and listening. */
static int socket_adopt(struct hf_socket *out, const struct hf_loop_socket *what,
                        const struct hf_loop_config *config)
{
    struct sockaddr_in6 address;
    socklen_t len = sizeof address;
    int type = 0;
    socklen_t type_len = sizeof type;
    memset(&address, 0, sizeof address);
    out->fd = fcntl(what->fd, F_DUPFD_CLOEXEC, 0);
    if (out->fd < 0 || getsockopt(out->fd, SOL_SOCKET, SO_TYPE, &type, &type_len) != 0 ||
        getsockname(out->fd, (struct sockaddr *)(void *)&address, &len) != 0)
        return errno;
    hf_socket_address_load(&out->address, &address);
    bool is_it = type == (what->transport == HF_TRANSPORT_DTLS ? SOCK_DGRAM : SOCK_STREAM) &&
                 (address.sin6_family == AF_INET6) == out->is_v6 &&
                 memcmp(out->address.ip, what->address.ip, sizeof out->address.ip) == 0 &&
                 (what->address.port == 0 || out->address.port == what->address.port);
    if (!is_it)
        return EINVAL;
    if (what->transport == HF_TRANSPORT_DTLS)
        socket_tune_udp(out, config);
    return 0;
}

static int socket_bind(struct hf_socket *out, const struct hf_loop_socket *what,
                       const struct hf_loop_config *config)
{
    struct sockaddr_in6 address;
    memset(&address, 0, sizeof address);
    socklen_t len = hf_socket_address_store(&address, &what->address, out->is_v6);
    if ((config->engine->shard_index == 0 || what->is_plain) && what->address.port != 0) {
        int code = socket_probe(what, out->is_v6, &address, len);
        if (code != 0)
            return code;
    }
    out->fd = socket_new(what, out->is_v6);
    if (out->fd < 0)
        return errno;
    if (socket_set(out->fd, SOL_SOCKET, SO_REUSEPORT, 1) != 0)
        return errno;
    if (what->transport == HF_TRANSPORT_DTLS)
        socket_tune_udp(out, config);
    else
        socket_tune_tcp(out->fd);
    if (bind(out->fd, (const struct sockaddr *)(const void *)&address, len) != 0)
        return errno;
    len = sizeof address;
    if (getsockname(out->fd, (struct sockaddr *)(void *)&address, &len) != 0)
        return errno;
    hf_socket_address_load(&out->address, &address);
    if (what->transport == HF_TRANSPORT_DTLS)
        hf_stray_steer(out, config);
    return 0;
}

static const char *check_socket(const struct hf_loop_socket *socket, const struct hf_config *engine)
{
    if (socket->listener_index >= engine->listener_count)
        return "a socket names a listener that does not exist";
    if (engine->listeners[socket->listener_index].transport != socket->transport)
        return "a socket and its listener differ in transport";
    if (socket->trusted_proxy_count > HF_LOOP_TRUSTED_MAX)
        return "a socket trusts too many proxies";
    return NULL;
}

static const char *check_client_socket(const struct hf_loop_socket *socket,
                                       const struct hf_config *engine)
{
    if (socket->listener_index >= engine->dialer_count)
        return "a socket names a dialer that does not exist";
    if (socket->transport != HF_TRANSPORT_DTLS ||
        engine->dialers[socket->listener_index].transport != HF_TRANSPORT_DTLS)
        return "a socket to dial from is for DTLS: TLS takes one for each connection";
    return NULL;
}

static const char *check_plain_socket(const struct hf_loop_socket *socket,
                                      const struct hf_config *engine)
{
    if (socket->listener_index >= engine->dialer_count)
        return "a plain socket names a dialer that does not exist";
    bool is_fit = engine->dialers[socket->listener_index].transport == socket->transport;
    return is_fit ? NULL : "a plain socket and its dialer differ in transport";
}

const char *hf_socket_fault(const struct hf_loop_socket *socket, const struct hf_config *engine)
{
    if (socket->is_plain)
        return check_plain_socket(socket, engine);
    return socket->is_client ? check_client_socket(socket, engine) : check_socket(socket, engine);
}

enum hf_status hf_socket_open(struct hf_socket *out, char error[HF_LOOP_ERROR_MAX],
                              const struct hf_loop_socket *what,
                              const struct hf_loop_config *config)
{
    *out = (struct hf_socket){
        .listener_index = what->listener_index,
        .is_v6_only = what->is_v6_only,
        .is_client = what->is_client,
        .is_plain = what->is_plain,
        .fd = -1,
        .transport = what->transport,
        .is_v6 = !socket_is_v4(&what->address),
        .is_wildcard = socket_is_wildcard(&what->address),
        .trusted_count = what->trusted_proxy_count,
    };
    for (uint32_t i = 0; i < what->trusted_proxy_count; ++i)
        out->trusted[i] = what->trusted_proxies[i];
    int code = what->is_adopted ? socket_adopt(out, what, config) : socket_bind(out, what, config);
    const char *step = what->is_adopted ? "cannot take over" : "cannot bind";
    if (code == 0 && !what->is_adopted && what->transport == HF_TRANSPORT_TLS &&
        listen(out->fd, BACKLOG) != 0) {
        code = errno;
        step = "cannot listen";
    }
    if (code == 0)
        return HF_OK;
    hf_socket_close(out);
    return socket_refused(error, what, step, code);
}

void hf_socket_close(struct hf_socket *socket)
{
    if (socket->fd >= 0)
        (void)close(socket->fd);
    socket->fd = -1;
}

void hf_socket_count_drops(struct hf_loop *loop, struct hf_socket *socket)
{
    uint32_t info[SK_MEMINFO_VARS];
    socklen_t len = sizeof info;
    if (socket->fd < 0 || socket->transport != HF_TRANSPORT_DTLS ||
        getsockopt(socket->fd, SOL_SOCKET, SO_MEMINFO, info, &len) != 0 || len < sizeof info)
        return;
    uint32_t dropped = info[SK_MEMINFO_DROPS] - socket->kernel_drops;
    socket->kernel_drops = info[SK_MEMINFO_DROPS];
    if (hf_gate_is_drawing(&socket->gate)) { /* the kernel does not count them apart */
        socket->gate.held_back += dropped;
        HF_COUNT(loop, flood_drops, dropped);
    } else {
        HF_COUNT(loop, receive_queue_drops, dropped);
    }
}
