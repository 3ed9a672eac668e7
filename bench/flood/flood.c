/**
 * flood.c - a stranger's traffic against a DTLS server on loopback, as fast as one core sends it.
 *
 *     flood hello|half-open|cid|record|message|replay|corrupt ADDR PORT SECONDS [aside]
 *
 * hello: ClientHellos without a cookie, each from an address of its own that nobody has. half-open:
 * from 1,000 addresses that do receive, with the cookie the server gave, and nothing after. cid:
 * records with random connection IDs from anywhere. record: protected records without one.
 * message: unprotected messages that would go on with a handshake, if there were one. replay,
 * corrupt: the records that devices are
 * sending to the server right now, taken off the interface and sent again from their own addresses,
 * as they were or with a bit turned over. Needs CAP_NET_RAW: addresses are forged. Prints how many
 * datagrams were sent, and the CPU time that took in microseconds. Only addresses in 127.0.0.0/8
 * are taken.
 *
 * aside: the same, but to a socket of its own where all of it is dropped. So it can be told what
 * the flood costs whoever shares the core it comes from, from what it does to the server.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH 64u
#define PACKET_MAX 2048u
#define SOURCES 1000u
#define CID_HEADER_LEN 21 /* with a CID of 8 bytes, as handfastd's are */
#define CID_RECORD_LEN 64
#define RECORD_HEADER_LEN 13
#define KEPT 4096u /* records taken off the interface */

static struct sockaddr_in server; /* where the flood goes */
static in_port_t listened_port;   /* where devices send to */
static bool is_aside;
static uint64_t state = 0x9e3779b97f4a7c15u;
static uint64_t sent;

struct packet {
    uint16_t len; /* of all of it */
    uint8_t data[PACKET_MAX];
};

static void fail(const char *what)
{
    fprintf(stderr, "flood: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static uint32_t draw(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32);
}

static void put(uint8_t *out, size_t *len, const void *data, size_t data_len)
{
    memcpy(out + *len, data, data_len);
    *len += data_len;
}

/* A DTLS 1.2 ClientHello of a device: PSK with CCM_8, extended master secret. */
static size_t make_hello(uint8_t *out, const uint8_t *cookie, size_t cookie_len,
                         const uint8_t random[32])
{
    static const uint8_t tail[] = {0, 4, 0xC0, 0xA8, 0, 0xFF, 1, 0, 0, 4, 0, 0x17, 0, 0};
    size_t body = 2 + 32 + 1 + 1 + cookie_len + sizeof tail, len = 0;
    uint8_t seq = cookie_len > 0;
    const uint8_t record[] = {22,
                              0xFE,
                              0xFD,
                              0,
                              0,
                              0,
                              0,
                              0,
                              0,
                              0,
                              seq,
                              (uint8_t)((body + 12) >> 8),
                              (uint8_t)(body + 12)};
    const uint8_t message[] = {1, 0, (uint8_t)(body >> 8), (uint8_t)body, 0, seq, 0, 0,
                               0, 0, (uint8_t)(body >> 8), (uint8_t)body};
    put(out, &len, record, sizeof record);
    put(out, &len, message, sizeof message);
    put(out, &len, "\xFE\xFD", 2);
    put(out, &len, random, 32);
    out[len++] = 0;
    out[len++] = (uint8_t)cookie_len;
    if (cookie_len > 0)
        put(out, &len, cookie, cookie_len);
    put(out, &len, tail, sizeof tail);
    return len;
}

/* ---- forged sources ---- */

static void forge(struct packet *packet, uint32_t source, uint16_t port, size_t len)
{
    struct iphdr *ip = (struct iphdr *)(void *)packet->data;
    struct udphdr *udp = (struct udphdr *)(void *)(packet->data + sizeof *ip);
    memset(ip, 0, sizeof *ip + sizeof *udp);
    packet->len = (uint16_t)(sizeof *ip + sizeof *udp + len);
    ip->version = 4;
    ip->ihl = 5;
    ip->tot_len = htons(packet->len);
    ip->ttl = 64;
    ip->protocol = IPPROTO_UDP;
    ip->saddr = source;
    ip->daddr = server.sin_addr.s_addr;
    udp->source = port;
    udp->dest = server.sin_port;
    udp->len = htons((uint16_t)(sizeof *udp + len));
}

static uint8_t *payload_of(struct packet *packet)
{
    return packet->data + sizeof(struct iphdr) + sizeof(struct udphdr);
}

static size_t fill_hello(struct packet *packet)
{
    uint8_t random[32];
    for (size_t i = 0; i < sizeof random; i += 4) {
        uint32_t word = draw();
        memcpy(random + i, &word, 4);
    }
    return make_hello(payload_of(packet), NULL, 0, random);
}

/* Of epoch 1, and random but for what a header must be. */
static size_t fill_protected(struct packet *packet, uint8_t type, size_t header_len)
{
    uint8_t *out = payload_of(packet);
    out[0] = type;
    out[1] = 0xFE;
    out[2] = 0xFD;
    for (size_t i = 3; i < CID_RECORD_LEN; i++)
        out[i] = (uint8_t)draw();
    out[3] = 0;
    out[4] = 1; /* epoch */
    out[header_len - 2] = 0;
    out[header_len - 1] = (uint8_t)(CID_RECORD_LEN - header_len);
    return CID_RECORD_LEN;
}

static size_t fill_cid(struct packet *packet)
{
    return fill_protected(packet, 25, CID_HEADER_LEN);
}

static size_t fill_record(struct packet *packet)
{
    return fill_protected(packet, 23, RECORD_HEADER_LEN);
}

static size_t fill_message(struct packet *packet)
{
    static const uint8_t head[] = {22, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 2,  0, 12 + 10, 16,
                                   0,  0,    10,   0, 2, 0, 0, 0, 0, 0, 10, 0, 8};
    uint8_t *out = payload_of(packet);
    memcpy(out, head, sizeof head);
    for (size_t i = 0; i < 8; i++)
        out[sizeof head + i] = (uint8_t)draw();
    return sizeof head + 8;
}

static void send_batch(int fd, struct packet *packets, unsigned count)
{
    struct mmsghdr messages[BATCH];
    struct iovec parts[BATCH];
    memset(messages, 0, sizeof messages);
    for (unsigned i = 0; i < count; i++) {
        parts[i] = (struct iovec){packets[i].data, packets[i].len};
        messages[i].msg_hdr = (struct msghdr){.msg_name = &server,
                                              .msg_namelen = sizeof server,
                                              .msg_iov = &parts[i],
                                              .msg_iovlen = 1};
    }
    int done = sendmmsg(fd, messages, count, 0);
    if (done > 0)
        sent += (unsigned)done;
    else if (errno != ENOBUFS && errno != EAGAIN && errno != EPERM)
        fail("sendmmsg");
}

static int raw_socket(void)
{
    int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
    if (fd < 0)
        fail("raw socket");
    return fd;
}

static void forged(uint64_t until_us, size_t (*fill)(struct packet *packet))
{
    static struct packet packets[BATCH];
    int fd = raw_socket();
    while (now_us() < until_us) {
        for (unsigned i = 0; i < BATCH; i++) {
            uint32_t source = htonl(0x7F800000u | (draw() & 0x7FFFFFu)); /* 127.128.0.0/9 */
            forge(&packets[i], source, (uint16_t)(draw() | 0x0400u), fill(&packets[i]));
        }
        send_batch(fd, packets, BATCH);
    }
    close(fd);
}

/* ---- half-open handshakes ---- */

struct source {
    int fd;
    uint8_t random[32];
};

static void renew(struct source *source)
{
    uint8_t data[PACKET_MAX];
    for (size_t i = 0; i < sizeof source->random; i++)
        source->random[i] = (uint8_t)draw();
    size_t len = make_hello(data, NULL, 0, source->random);
    sent += send(source->fd, data, len, MSG_DONTWAIT) > 0;
}

/* What came may be the cookie; then the hello with it, and never a word more. */
static void go_on(struct source *source)
{
    uint8_t data[PACKET_MAX], hello[PACKET_MAX];
    ssize_t len;
    while ((len = recv(source->fd, data, sizeof data, MSG_DONTWAIT)) > 0) {
        if (len < 28 || data[0] != 22 || data[13] != 3)
            continue;
        size_t cookie_len = data[27];
        if (28 + cookie_len > (size_t)len)
            continue;
        size_t hello_len = make_hello(hello, data + 28, cookie_len, source->random);
        sent += send(source->fd, hello, hello_len, MSG_DONTWAIT) > 0;
    }
}

/* Nobody gives a cookie, but it costs as much. */
static void guess(struct source *source)
{
    static const uint8_t cookie[16];
    uint8_t hello[PACKET_MAX];
    size_t len = make_hello(hello, cookie, sizeof cookie, source->random);
    sent += send(source->fd, hello, len, MSG_DONTWAIT) > 0;
}

static void half_open(uint64_t until_us)
{
    static struct source sources[SOURCES];
    static struct pollfd polls[SOURCES];
    for (unsigned i = 0; i < SOURCES; i++) {
        struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7F800001u + i)};
        sources[i].fd = socket(AF_INET, SOCK_DGRAM, 0);
        if (sources[i].fd < 0 || bind(sources[i].fd, (struct sockaddr *)&own, sizeof own) != 0 ||
            connect(sources[i].fd, (struct sockaddr *)&server, sizeof server) != 0)
            fail("socket");
        polls[i] = (struct pollfd){sources[i].fd, POLLIN, 0};
    }
    while (now_us() < until_us) {
        for (unsigned i = 0; i < SOURCES; i++)
            renew(&sources[i]);
        for (unsigned i = 0; i < SOURCES && is_aside; i++)
            guess(&sources[i]);
        if (poll(polls, SOURCES, is_aside ? 0 : 1) <= 0)
            continue;
        for (unsigned i = 0; i < SOURCES; i++)
            if (polls[i].revents & POLLIN)
                go_on(&sources[i]);
    }
}

/* ---- records of others ---- */

static bool is_theirs(const uint8_t *data, ssize_t len)
{
    struct iphdr ip;
    struct udphdr udp;
    if (len < (ssize_t)(sizeof ip + sizeof udp + 13) || len > (ssize_t)PACKET_MAX)
        return false;
    memcpy(&ip, data, sizeof ip);
    memcpy(&udp, data + sizeof ip, sizeof udp);
    uint8_t type = data[sizeof ip + sizeof udp];
    return ip.ihl == 5 && ip.protocol == IPPROTO_UDP && udp.dest == listened_port &&
           (type == 23 || type == 25);
}

/* Takes what devices send; true once there is anything to send again. */
static bool listen_in(int fd, struct packet *kept, unsigned *count)
{
    uint8_t data[65536];
    struct sockaddr_ll from = {0};
    socklen_t from_len = sizeof from;
    ssize_t len;
    for (unsigned i = 0; i < BATCH; i++) {
        len = recvfrom(fd, data, sizeof data, MSG_DONTWAIT, (struct sockaddr *)&from, &from_len);
        if (len <= 0)
            break;
        if (from.sll_pkttype == PACKET_OUTGOING || !is_theirs(data, len))
            continue;
        struct packet *packet = &kept[*count < KEPT ? *count : draw() % KEPT];
        memcpy(packet->data, data, (size_t)len);
        packet->len = (uint16_t)len;
        struct udphdr *udp = (struct udphdr *)(void *)(packet->data + sizeof(struct iphdr));
        udp->check = 0;
        udp->dest = server.sin_port;
        *count += *count < KEPT;
    }
    return *count > 0;
}

/* For a while, then those that were kept again and again: fresh ones are our own by then. */
static void again(uint64_t until_us, bool is_corrupt)
{
    static struct packet kept[KEPT];
    static struct packet packets[BATCH];
    unsigned count = 0;
    int raw = raw_socket();
    int fd = socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_IP));
    struct sockaddr_ll interface = {.sll_family = AF_PACKET,
                                    .sll_protocol = htons(ETH_P_IP),
                                    .sll_ifindex = (int)if_nametoindex("lo")};
    if (fd < 0 || bind(fd, (struct sockaddr *)&interface, sizeof interface) != 0)
        fail("packet socket");
    uint64_t listening_us = now_us() + 500000;
    while (now_us() < listening_us || count == 0) {
        if (now_us() >= until_us)
            return;
        struct pollfd poll_fd = {fd, POLLIN, 0};
        (void)poll(&poll_fd, 1, 10);
        (void)listen_in(fd, kept, &count);
    }
    close(fd);
    while (now_us() < until_us) {
        for (unsigned i = 0; i < BATCH; i++) {
            packets[i] = kept[draw() % count];
            if (is_corrupt) { /* a number the window has not seen, so that it has to be opened */
                uint8_t *record = payload_of(&packets[i]);
                record[8] = (uint8_t)(record[8] + 1 + draw() % 4);
                packets[i].data[packets[i].len - 1] ^= 1;
            }
        }
        send_batch(raw, packets, BATCH);
    }
}

/* Turns the flood to a socket of our own that takes nothing. */
static void step_aside(void)
{
    struct sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
    struct sock_fprog program = {.len = 1, .filter = code};
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr = server.sin_addr};
    socklen_t len = sizeof own;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0 ||
        bind(fd, (struct sockaddr *)&own, sizeof own) != 0 ||
        getsockname(fd, (struct sockaddr *)&own, &len) != 0)
        fail("a socket aside");
    is_aside = true;
    server.sin_port = own.sin_port;
}

static uint64_t cpu_us(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

int main(int argc, char **argv)
{
    if (argc != 5 && (argc != 6 || strcmp(argv[5], "aside") != 0)) {
        fprintf(stderr,
                "usage: flood hello|half-open|cid|record|message|replay|corrupt ADDR PORT SECONDS "
                "[aside]\n");
        return 2;
    }
    server.sin_family = AF_INET;
    server.sin_port = htons((uint16_t)atoi(argv[3]));
    if (inet_pton(AF_INET, argv[2], &server.sin_addr) != 1 ||
        ntohl(server.sin_addr.s_addr) >> 24 != 127) {
        fprintf(stderr, "flood: %s: not in 127.0.0.0/8\n", argv[2]);
        return 2;
    }
    listened_port = server.sin_port;
    if (argc == 6)
        step_aside();
    uint64_t until_us = now_us() + (uint64_t)(atof(argv[4]) * 1e6);
    if (strcmp(argv[1], "hello") == 0)
        forged(until_us, fill_hello);
    else if (strcmp(argv[1], "cid") == 0)
        forged(until_us, fill_cid);
    else if (strcmp(argv[1], "record") == 0)
        forged(until_us, fill_record);
    else if (strcmp(argv[1], "message") == 0)
        forged(until_us, fill_message);
    else if (strcmp(argv[1], "half-open") == 0)
        half_open(until_us);
    else if (strcmp(argv[1], "replay") == 0)
        again(until_us, false);
    else if (strcmp(argv[1], "corrupt") == 0)
        again(until_us, true);
    else
        return 2;
    printf("%llu %llu\n", (unsigned long long)sent, (unsigned long long)cpu_us());
    return 0;
}
