/**
 * peer.h - what the comparison servers share: sockets, batches, demultiplexing by peer address,
 * keys. One thread, no timers. The library under test is called as few times, and the kernel as
 * seldom, as its interface allows: the point is what the library costs, not what a clumsy embedder
 * would add.
 */
#ifndef HF_BENCH_PEER_H
#define HF_BENCH_PEER_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PEER_DATAGRAM_MAX 2048

struct peer_key {
    const char *identity;
    uint8_t psk[64];
    size_t psk_len;
    struct peer_key *next;
};

struct peer_keys {
    struct peer_key **buckets;
    size_t bucket_mask;
};

struct peer_options {
    bool is_dtls;
    bool is_reading_ahead; /**< TLS: one read for all that is there, if the library lets us */
    bool is_resumable;     /**< with certificates: sessions, by ID and by ticket */
    struct sockaddr_in address;
    struct peer_keys keys;                     /**< or, if `certificate` is set, */
    const char *certificate, *key, *client_ca; /**< PEM files; clients must show a certificate */
};

/** peer_options_parse reads argv and the key file; exits with a message if they are no good. */
void peer_options_parse(struct peer_options *out, int argc, char **argv);

/** peer_key_find gives the key of an identity, or NULL. */
const struct peer_key *peer_key_find(const struct peer_keys *keys, const char *identity);

/** One DTLS association as the demultiplexer knows it. */
struct peer_association {
    struct sockaddr_in address;
    struct peer_association *next;
    void *session;
};

/** What a DTLS server is made of. */
struct peer_datagrams {
    /** begin is given a datagram from an unknown address. It gives a session when that is now
     *  known, else NULL (a cookie was sent, or nothing). */
    void *(*begin)(const struct sockaddr_in *from, uint8_t *data, size_t len,
                   struct peer_association *association);
    /** next is given a datagram of a session, and gives false when the session has been freed. */
    bool (*next)(void *session, uint8_t *data, size_t len);
};

/** peer_datagrams_run never returns. */
void peer_datagrams_run(const struct peer_options *options, const struct peer_datagrams *server);

/** peer_datagram_send queues one datagram; it leaves at the end of the wave. */
void peer_datagram_send(const struct sockaddr_in *to, const uint8_t *data, size_t len);

/** What a TLS server is made of. */
struct peer_streams {
    void *(*begin)(int fd);
    /** next is called when there may be something to read; false: the session has been freed, and
     *  the descriptor is to be closed. */
    bool (*next)(void *session);
};

/** peer_streams_run never returns. */
void peer_streams_run(const struct peer_options *options, const struct peer_streams *server);

#endif
