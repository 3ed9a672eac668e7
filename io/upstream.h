/**
 * upstream.h - forwarding: what arrives on an association goes to the upstream of its listener, and
 * what the upstream says goes back, for the life of the association.
 *
 *     upstream.c           which upstream; events of the engine; open and close
 *     upstream_datagram.c  DTLS: a few sockets for all associations, no memory for any
 *     upstream_stream.c    TLS: one connection per association, both ways
 *     upstream_pool.c      the records of these
 *     upstream_handover.c  falling silent, and going on in another process
 *     entrance.c           plaintext that comes to us and goes out on associations we have dialled
 *     upstream_proxy.c     the PROXY protocol's header
 *
 * Invariant: an upstream that is dead, slow or hostile ends at most its own connections. Nothing it
 * sends reaches an association other than the one it was sent to.
 */
#ifndef HF_UPSTREAM_H
#define HF_UPSTREAM_H

#include "loop_private.h"

/** IPv4 sockets per shard: a record's tenants take turns, so that a late datagram for one of the
 *  last three is told from those for the present one; hf_config.reuse_us_min keeps a turn from
 *  coming round too soon. Power of two. */
#define HF_UPSTREAM_GENERATIONS 4u
/** The IPv6 socket's place: one is enough, an address holds the whole handle. */
#define HF_UPSTREAM_SOCKET_V6 HF_UPSTREAM_GENERATIONS
#define HF_UPSTREAM_SOCKETS (HF_UPSTREAM_GENERATIONS + 1u)
/** Bits of an address of 127.64.0.0/10 that tell associations apart: shard, then record. */
#define HF_UPSTREAM_ADDRESS_BITS 22u
#define HF_UPSTREAM_DATAGRAM_BATCH 64u
#define HF_UPSTREAM_TIMEOUT_US 5000000u
#define HF_UPSTREAM_RETRY_US 1000000u
#define HF_UPSTREAM_RETRIES_MAX 1024u  /* of a second and shard */
#define HF_UPSTREAM_ANSWER_US 1000000u /* an end so soon after a word belongs to it */

/** The longest header: 16 bytes, addresses, and every TLV at its longest. */
#define HF_UPSTREAM_PROXY_MAX 2560u

/** Where a listener's plaintext goes; of a dialer: what holds for the plaintext that comes. */
struct hf_upstream {
    struct hf_address address;
    struct sockaddr_in6 peer; /* the same for the kernel, of either family */
    socklen_t peer_len;
    bool is_there;
    bool is_stream;
    bool is_proxied;
    bool is_entity_told;
    uint64_t keep_us_max;
};

#define HF_UPSTREAM_CONTROL_LEN CMSG_SPACE(sizeof(struct in6_pktinfo)) /* the longer of both */

struct hf_upstream_datagrams {
    int fds[HF_UPSTREAM_SOCKETS]; /* -1: not needed */
    bool is_armed[HF_UPSTREAM_SOCKETS];
    uint64_t pause_until_us;
    uint8_t prefix[8]; /* of the associations' IPv6 addresses */
    uint32_t slot_bits;
    uint32_t shard_index;
    uint32_t batch_count;
    uint32_t batch_socket;
    struct mmsghdr messages[HF_UPSTREAM_DATAGRAM_BATCH];
    struct iovec parts[HF_UPSTREAM_DATAGRAM_BATCH][2];
    uint8_t controls[HF_UPSTREAM_DATAGRAM_BATCH][HF_UPSTREAM_CONTROL_LEN];
    uint8_t headers[HF_UPSTREAM_DATAGRAM_BATCH][HF_UPSTREAM_PROXY_MAX];
};

/** One connection to an upstream. */
struct hf_upstream_stream {
    hf_association_id association; /* 0: the device's side has ended */
    uint64_t until_us;             /* while listed */
    uint64_t heard_us;             /* when the upstream last said something; 0: never */
    uint64_t give_up_us;           /* connecting again; 0: it was not refused yet */
    struct hf_block *queue;        /* what the upstream's kernel has not taken yet */
    uint32_t listed_next, listed_prev;
    uint32_t touched_next; /* links the free ones, too */
    uint32_t generation;
    uint32_t connection; /* index of the device's, while there is an association */
    int fd;
    uint8_t upstream; /* hf_upstream_index() */
    bool is_used : 1;
    uint8_t list;           /* enum hf_upstream_list, or 0 */
    bool is_connecting : 1; /* with the kernel; otherwise: connected */
    bool is_waiting : 1;    /* came by an entrance: not read before hf_loop_join() */
    bool is_retrying : 1;   /* not with the kernel: connects again soon. It has no socket */
    bool is_owed : 1;       /* the device has spoken since the upstream last did */
    bool is_receive_armed : 1;
    bool is_writable_armed : 1;
    bool is_more_there : 1;    /* a receive will find bytes at once */
    bool is_device_done : 1;   /* nothing more comes for the upstream: FIN after the queue */
    bool is_shut : 1;          /* that FIN is out */
    bool is_upstream_done : 1; /* its FIN came */
    bool is_doomed : 1;        /* close as soon as the kernel has ended its requests */
    bool is_cancel_sent : 1;
    bool is_touched : 1;
};

/** Streams that wait for a time, each list in order of it. */
enum hf_upstream_list {
    HF_UPSTREAM_LIST_NONE = 0,
    HF_UPSTREAM_LIST_DEADLINE, /* connecting, or waiting for the upstream's end */
    HF_UPSTREAM_LIST_RETRY,
    HF_UPSTREAM_LIST_COUNT,
};

struct hf_upstreams {
    struct hf_upstream of[HF_LISTENERS_MAX + HF_DIALERS_MAX]; /* by hf_upstream_index() */
    struct hf_upstream_datagrams *datagrams; /* NULL: no DTLS listener has an upstream */
    struct hf_upstream_stream *streams;      /* mapped; NULL: no TLS listener has one */
    uint32_t stream_count, stream_max;
    uint32_t free_head, touched_head;
    struct {
        uint32_t first, last;
    } lists[HF_UPSTREAM_LIST_COUNT];
};

/** hf_upstream_index tells listeners and dialers apart by one number. */
static inline uint32_t hf_upstream_index(uint32_t listener_index, bool is_client)
{
    return is_client ? HF_LISTENERS_MAX + listener_index : listener_index;
}

/* ---- upstream.c ---- */

/** hf_upstream_open checks and prepares what the configuration names; nothing if it names none. */
HF_MUST_USE enum hf_status hf_upstream_open(struct hf_loop *loop, char error[HF_LOOP_ERROR_MAX],
                                            const struct hf_loop_config *config);
/** hf_upstream_close closes everything. Every request must have ended. */
void hf_upstream_close(struct hf_loop *loop);
/** hf_upstream_event forwards. True: it is dealt with and the embedder need not hear of it. */
HF_MUST_USE bool hf_upstream_event(struct hf_loop *loop, const struct hf_event *event);
/** hf_upstream_complete takes a completion of one of the upstream operations. */
void hf_upstream_complete(struct hf_loop *loop, const struct hf_completion *completion);
/** hf_upstream_settle sends, arms, flushes and closes what this turn has touched. */
void hf_upstream_settle(struct hf_loop *loop);
/** hf_upstream_arm arms receives; at the end of the turn, after the buffers went back. */
void hf_upstream_arm(struct hf_loop *loop);
/** hf_upstream_second ends what has taken too long. */
void hf_upstream_second(struct hf_loop *loop);
/** hf_upstream_is_slow: the device must not be read from, its upstream does not keep up. */
bool hf_upstream_is_slow(const struct hf_loop *loop, const struct hf_connection *connection);
/** hf_upstream_settled tells a stream that its device's connection has been looked at. */
void hf_upstream_settled(struct hf_loop *loop, struct hf_connection *connection);
/** hf_upstream_is_over: no connection to an upstream is left. */
bool hf_upstream_is_over(const struct hf_loop *loop);

/* ---- upstream_handover.c ---- */

/** hf_upstream_call_off has every request end; false: there was none. */
bool hf_upstream_call_off(struct hf_loop *loop);
/** hf_upstream_wake has every stream looked at again. */
void hf_upstream_wake(struct hf_loop *loop);
/** hf_upstream_restore has a stream go on that came from another process: one without a socket
 *  connects anew. */
void hf_upstream_restore(struct hf_loop *loop, struct hf_upstream_stream *stream);
/** hf_upstream_is_owed tells whether the upstream owes a device an answer, or is yet to hear it. */
bool hf_upstream_is_owed(const struct hf_loop *loop, const struct hf_connection *connection);

/* ---- upstream_datagram.c ---- */

HF_MUST_USE enum hf_status hf_upstream_datagram_open(struct hf_loop *loop,
                                                     char error[HF_LOOP_ERROR_MAX],
                                                     const struct hf_loop_config *config);
void hf_upstream_datagram_close(struct hf_loop *loop);
void hf_upstream_datagram_arm(struct hf_loop *loop);
/** hf_upstream_datagram_send batches an event's data; _flush sends the batch. */
void hf_upstream_datagram_send(struct hf_loop *loop, const struct hf_event *event);
void hf_upstream_datagram_flush(struct hf_loop *loop);
void hf_upstream_datagram_received(struct hf_loop *loop, const struct hf_completion *completion);
/** hf_upstream_datagram_source gives the address an association's datagrams come from, of the
 *  upstream's family; port 0. */
struct hf_address hf_upstream_datagram_source(const struct hf_upstream_datagrams *datagrams,
                                              hf_association_id association, bool is_v6);

/* ---- upstream_stream.c ---- */

/** hf_upstream_stream_event: the device's side of it. */
void hf_upstream_stream_event(struct hf_loop *loop, const struct hf_event *event);
void hf_upstream_stream_complete(struct hf_loop *loop, const struct hf_completion *completion);
void hf_upstream_stream_settle(struct hf_loop *loop);
void hf_upstream_stream_second(struct hf_loop *loop);
/** hf_upstream_stream_touch has the end of the turn look at it. */
void hf_upstream_stream_touch(struct hf_loop *loop, struct hf_upstream_stream *stream);

/* ---- upstream_pool.c ---- */

HF_MUST_USE enum hf_status hf_upstream_stream_open(struct hf_loop *loop,
                                                   char error[HF_LOOP_ERROR_MAX],
                                                   const struct hf_loop_config *config);
void hf_upstream_stream_close(struct hf_loop *loop);
/** hf_upstream_stream_index counts them. */
uint32_t hf_upstream_stream_index(const struct hf_loop *loop,
                                  const struct hf_upstream_stream *stream);
/** hf_upstream_stream_take gives a record without a socket; NULL: all are taken. */
struct hf_upstream_stream *hf_upstream_stream_take(struct hf_loop *loop);

/** hf_upstream_list_init empties them. */
void hf_upstream_list_init(struct hf_upstreams *upstreams);
/** hf_upstream_list_add has a stream wait until `until_us`, not before any that waits already; one
 *  that waits goes on as it is. */
void hf_upstream_list_add(struct hf_upstreams *upstreams, struct hf_upstream_stream *stream,
                          enum hf_upstream_list list, uint64_t until_us);
/** hf_upstream_list_remove takes it out; nothing if it is in none. */
void hf_upstream_list_remove(struct hf_upstreams *upstreams, struct hf_upstream_stream *stream);
/** hf_upstream_list_due takes out the next one whose time has come; NULL: none. */
struct hf_upstream_stream *hf_upstream_list_due(struct hf_upstreams *upstreams,
                                                enum hf_upstream_list list, uint64_t now_us);

/* ---- entrance.c ---- */

/** hf_entrance_open readies what is plain of the configuration. */
HF_MUST_USE enum hf_status hf_entrance_open(struct hf_loop *loop, char error[HF_LOOP_ERROR_MAX],
                                            const struct hf_loop_config *config);
void hf_entrance_close(struct hf_loop *loop);
/** hf_entrance_accepted takes a connection that came to a plain socket. */
void hf_entrance_accepted(struct hf_loop *loop, const struct hf_socket *socket, int fd);
/** hf_entrance_datagram takes a datagram that did. */
void hf_entrance_datagram(struct hf_loop *loop, const struct hf_completion *completion);
/** hf_entrance_event is of a DTLS association that we have dialled. */
void hf_entrance_event(struct hf_loop *loop, const struct hf_event *event);
/** hf_entrance_second looks for peers that have fallen silent. */
void hf_entrance_second(struct hf_loop *loop);
/** hf_entrance_stop lets go of connections that still wait. */
void hf_entrance_stop(struct hf_loop *loop);

/* ---- upstream_proxy.c ---- */

/** hf_upstream_proxy_encode writes the header, version 2, for a stream or one datagram. In: whether
 *  the unique ID is to hold the entity-id behind the handle, where it is short enough. Out: its
 *  length; 0 if `out_max` is too small, which HF_UPSTREAM_PROXY_MAX never is.
 *  Spec: HAProxy's proxy-protocol.txt 2.2. */
size_t hf_upstream_proxy_encode(uint8_t *out, size_t out_max, hf_association_id association,
                                const struct hf_association_info *info, bool is_entity_told);

#endif
