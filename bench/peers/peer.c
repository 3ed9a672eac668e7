/**
 * peer.c - the part of the comparison servers that has nothing to do with their libraries.
 */
#include "peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BATCH_MAX 256
#define BUCKETS (1u << 16)
#define EVENTS_MAX 256

static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* ---- keys --------------------------------------------------------------------------------- */

static uint64_t hash_text(const char *text)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    while (*text != '\0') {
        hash = (hash ^ (uint8_t)*text++) * UINT64_C(1099511628211);
    }
    return hash ^ hash >> 32;
}

const struct peer_key *peer_key_find(const struct peer_keys *keys, const char *identity)
{
    const struct peer_key *key = keys->buckets[hash_text(identity) & keys->bucket_mask];
    while (key != NULL && strcmp(key->identity, identity) != 0) {
        key = key->next;
    }
    return key;
}

static void add_key(struct peer_keys *keys, char *line)
{
    char *colon = strchr(line, ':');
    struct peer_key *key = calloc(1, sizeof(*key));
    if (colon == NULL || key == NULL) {
        fprintf(stderr, "bad line in the key file\n");
        exit(1);
    }
    *colon = '\0';
    key->identity = strdup(line);
    size_t hex_len = strcspn(colon + 1, ":\r\n");
    for (size_t i = 0; i < hex_len / 2 && i < sizeof(key->psk); i++) {
        unsigned byte = 0;
        if (sscanf(colon + 1 + 2 * i, "%2x", &byte) != 1) {
            fprintf(stderr, "bad key in the key file\n");
            exit(1);
        }
        key->psk[key->psk_len++] = (uint8_t)byte;
    }
    struct peer_key **bucket = &keys->buckets[hash_text(key->identity) & keys->bucket_mask];
    key->next = *bucket;
    *bucket = key;
}

static void read_keys(struct peer_keys *keys, const char *path)
{
    FILE *file = fopen(path, "r");
    char line[4096];
    keys->bucket_mask = (1u << 17) - 1;
    keys->buckets = calloc(keys->bucket_mask + 1, sizeof(struct peer_key *));
    if (file == NULL || keys->buckets == NULL) {
        die(path);
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        if (line[0] != '\n' && line[0] != '#') {
            add_key(keys, line);
        }
    }
    fclose(file);
}

/* ---- options ------------------------------------------------------------------------------ */

static void parse_address(struct peer_options *options, char *text)
{
    char *colon = strrchr(text, ':');
    options->address.sin_family = AF_INET;
    if (colon != NULL) {
        *colon = '\0';
        options->address.sin_port = htons((uint16_t)atoi(colon + 1));
    }
    if (inet_pton(AF_INET, text, &options->address.sin_addr) != 1 ||
        options->address.sin_port == 0) {
        fprintf(stderr, "bad address\n");
        exit(2);
    }
}

void peer_options_parse(struct peer_options *out, int argc, char **argv)
{
    const char *keys_path = NULL;
    memset(out, 0, sizeof(*out));
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--dtls") == 0 || strcmp(argv[i], "--tls") == 0) {
            out->is_dtls = argv[i][2] == 'd';
            parse_address(out, argv[i + 1]);
        } else if (strcmp(argv[i], "--psk-file") == 0) {
            keys_path = argv[i + 1];
        } else if (strcmp(argv[i], "--read-ahead") == 0) {
            out->is_reading_ahead = strcmp(argv[i + 1], "yes") == 0;
        } else if (strcmp(argv[i], "--resume") == 0) {
            out->is_resumable = strcmp(argv[i + 1], "yes") == 0;
        } else if (strcmp(argv[i], "--cert") == 0) {
            out->certificate = argv[i + 1];
        } else if (strcmp(argv[i], "--key") == 0) {
            out->key = argv[i + 1];
        } else if (strcmp(argv[i], "--client-ca") == 0) {
            out->client_ca = argv[i + 1];
        }
    }
    bool has_certificate = out->certificate != NULL && out->key != NULL && out->client_ca != NULL;
    if ((keys_path == NULL && !has_certificate) || out->address.sin_port == 0) {
        fprintf(stderr,
                "usage: %s --dtls|--tls ADDR:PORT --psk-file FILE [--read-ahead yes]\n"
                "       %s --dtls|--tls ADDR:PORT --cert FILE --key FILE --client-ca FILE "
                "[--resume yes]\n",
                argv[0], argv[0]);
        exit(2);
    }
    if (keys_path != NULL) {
        read_keys(&out->keys, keys_path);
    }
    signal(SIGPIPE, SIG_IGN);
}

/* ---- datagrams ---------------------------------------------------------------------------- */

struct datagram {
    struct iovec iov;
    struct sockaddr_in address;
    uint8_t bytes[PEER_DATAGRAM_MAX];
};

static struct {
    int fd;
    unsigned out_count;
    struct mmsghdr in_messages[BATCH_MAX], out_messages[BATCH_MAX];
    struct datagram in[BATCH_MAX], out[BATCH_MAX];
    struct peer_association *buckets[BUCKETS];
} udp;

static void flush_datagrams(void)
{
    unsigned sent = 0;
    while (sent < udp.out_count) {
        int count = sendmmsg(udp.fd, udp.out_messages + sent, udp.out_count - sent, 0);
        if (count < 0 && errno != EINTR) {
            break; /* lost, as on a network */
        }
        sent += count > 0 ? (unsigned)count : 0;
    }
    udp.out_count = 0;
}

void peer_datagram_send(const struct sockaddr_in *to, const uint8_t *data, size_t len)
{
    if (udp.out_count == BATCH_MAX) {
        flush_datagrams();
    }
    struct datagram *datagram = &udp.out[udp.out_count++];
    datagram->address = *to;
    datagram->iov.iov_len = len < PEER_DATAGRAM_MAX ? len : PEER_DATAGRAM_MAX;
    memcpy(datagram->bytes, data, datagram->iov.iov_len);
}

static struct peer_association **find_bucket(const struct sockaddr_in *address)
{
    uint64_t hash = (uint64_t)address->sin_addr.s_addr << 16 | address->sin_port;
    hash *= UINT64_C(0x9E3779B97F4A7C15);
    return &udp.buckets[hash >> 48 & (BUCKETS - 1)];
}

static void receive_datagram(const struct peer_datagrams *server, const struct sockaddr_in *from,
                             uint8_t *data, size_t len)
{
    struct peer_association **link = find_bucket(from);
    struct peer_association *found = NULL;
    static struct peer_association *spare;
    for (; *link != NULL; link = &(*link)->next) {
        if ((*link)->address.sin_port == from->sin_port &&
            (*link)->address.sin_addr.s_addr == from->sin_addr.s_addr) {
            found = *link;
            break;
        }
    }
    if (found != NULL) {
        if (!server->next(found->session, data, len)) {
            *link = found->next;
            free(found);
        }
        return;
    }
    if (spare == NULL) {
        spare = malloc(sizeof(*spare));
    }
    spare->address = *from;
    spare->next = NULL;
    spare->session = server->begin(from, data, len, spare);
    if (spare->session != NULL) {
        *link = spare;
        spare = NULL;
    }
}

static void init_message(struct mmsghdr *message, struct datagram *datagram)
{
    datagram->iov.iov_base = datagram->bytes;
    datagram->iov.iov_len = PEER_DATAGRAM_MAX;
    message->msg_hdr.msg_iov = &datagram->iov;
    message->msg_hdr.msg_iovlen = 1;
    message->msg_hdr.msg_name = &datagram->address;
    message->msg_hdr.msg_namelen = sizeof(datagram->address);
}

void peer_datagrams_run(const struct peer_options *options, const struct peer_datagrams *server)
{
    int buffer_len = 4 << 20;
    udp.fd = socket(AF_INET, SOCK_DGRAM, 0);
    (void)setsockopt(udp.fd, SOL_SOCKET, SO_RCVBUF, &buffer_len, sizeof(buffer_len));
    (void)setsockopt(udp.fd, SOL_SOCKET, SO_SNDBUF, &buffer_len, sizeof(buffer_len));
    if (udp.fd < 0 ||
        bind(udp.fd, (const struct sockaddr *)&options->address, sizeof(options->address)) != 0) {
        die("bind");
    }
    for (int i = 0; i < BATCH_MAX; i++) {
        init_message(&udp.in_messages[i], &udp.in[i]);
        init_message(&udp.out_messages[i], &udp.out[i]);
    }
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        int count = recvmmsg(udp.fd, udp.in_messages, BATCH_MAX, MSG_WAITFORONE, NULL);
        for (int i = 0; i < count; i++) {
            receive_datagram(server, &udp.in[i].address, udp.in[i].bytes,
                             udp.in_messages[i].msg_len);
        }
        flush_datagrams();
    }
}

/* ---- streams ------------------------------------------------------------------------------ */

struct stream {
    int fd;
    void *session;
};

static void accept_streams(int epoll_fd, int listen_fd, const struct peer_streams *server)
{
    for (;;) {
        int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK);
        if (fd < 0) {
            return;
        }
        struct stream *stream = malloc(sizeof(*stream));
        stream->fd = fd;
        stream->session = server->begin(fd);
        /* Edge-triggered: what came before this call is reported as well. */
        struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data = {stream}};
        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
            die("epoll_ctl");
        }
    }
}

void peer_streams_run(const struct peer_options *options, const struct peer_streams *server)
{
    int on = 1;
    struct epoll_event events[EVENTS_MAX];
    struct epoll_event listening = {.events = EPOLLIN};
    int listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int epoll_fd = epoll_create1(0);
    (void)setsockopt(listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    (void)setsockopt(listen_fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* is inherited */
    if (bind(listen_fd, (const struct sockaddr *)&options->address, sizeof(options->address)) !=
            0 ||
        listen(listen_fd, 4096) != 0 ||
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &listening) != 0) {
        die("bind");
    }
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        int count = epoll_wait(epoll_fd, events, EVENTS_MAX, -1);
        for (int i = 0; i < count; i++) {
            struct stream *stream = events[i].data.ptr;
            if (stream == NULL) {
                accept_streams(epoll_fd, listen_fd, server);
            } else if (!server->next(stream->session)) {
                close(stream->fd);
                free(stream);
            }
        }
    }
}
