/**
 * loop.h - one shard: its sockets and one engine, on one thread, over io_uring or epoll.
 *
 * The loop is the engine's first embedder and knows only the public headers. Which of the two is
 * behind it makes no difference but in cost.
 *
 * Back-pressure: a TLS connection whose send queue holds more than `send_queue_len_high` bytes is
 * not read from until it has drained, so whoever answers at most what it receives never finds the
 * queue full; no queue ever exceeds `send_queue_len_max`.
 */
#ifndef HF_LOOP_H
#define HF_LOOP_H

#include <handfast/engine.h>

struct hf_loop;

#define HF_LOOP_ERROR_MAX 320

#define HF_LOOP_TRUSTED_MAX 8

/** A socket to open. `listener_index` names the entry of config->engine.listeners it serves, or
 *  with `is_client` or `is_plain` that of config->engine.dialers. */
struct hf_loop_socket {
    struct hf_address address; /**< port 0: the kernel chooses; see hf_loop_address() */
    enum hf_transport transport;
    uint32_t listener_index;
    bool is_v6_only; /**< [::] otherwise takes IPv4 too */
    bool is_client;  /**< DTLS, to dial from only: no stranger is answered here */
    /** An entrance: connections, or on DTLS datagrams, that come here are plaintext for
     *  associations of that dialer. Each TLS connection is told as `entered` and has an association
     *  of its own, which ends with it; datagrams share one, and what comes back goes to whoever
     *  spoke last. At most one a dialer. */
    bool is_plain;
    uint64_t silence_us_max; /**< an entrance for datagrams: an association whose peer says nothing
                                  for so long to what was said ends; 0: never */
    bool is_adopted; /**< `fd` is bound to `address` (and listens) already: another process's */
    int fd;          /**< is_adopted; duplicated */
    /** TLS: balancers. A connection from there must begin with a PROXY protocol header of version
     *  2, and its peer is who that names; from elsewhere there is none. Copied. */
    const struct hf_prefix *trusted_proxies;
    uint32_t trusted_proxy_count; /**< at most HF_LOOP_TRUSTED_MAX */
};

/** Where the plaintext of a listener's associations goes, and what comes back goes to them, for as
 *  long as they live: docs/FORWARDING.md. HF_EVENT_DATA and HF_EVENT_PEER_CLOSED of such a listener
 *  are the loop's own concern and are not passed on. */
struct hf_loop_upstream {
    uint32_t listener_index;
    struct hf_address address; /**< DTLS: datagrams, on 127.0.0.0/8 or IPv6 with a prefix; TLS: a
                                    connection each */
    bool is_proxied; /**< a PROXY protocol header (version 2) on each stream and each datagram */
    bool is_entity_told; /**< in its unique ID, too, for receivers that know no TLVs of ours */
    /** TLS: the association outlives its connection to the upstream. An end of that, or a refusal,
     *  is passed on only while an answer is due or within a second of one; otherwise another
     *  connection is made when the device next speaks, and tried for so long. 0: it does not. */
    uint64_t keep_us_max;
};

/** A flood at a DTLS listener's address: it has begun, or is over. */
struct hf_loop_flood {
    struct hf_address address;
    bool is_over;
    bool is_refused; /**< begun: the kernel does not draw the lots (SO_ATTACH_FILTER), so the loop
                          does, for each datagram that it has received */
    uint64_t offered_per_second; /**< begun: datagrams without protection that came, about */
    uint64_t held_back;          /**< over: datagrams dropped by lot */
    uint64_t duration_us;        /**< over */
};

/** What the embedder is told, on the loop's thread. Any member may be NULL. */
struct hf_loop_handlers {
    /** event passes every engine event on; it may call hf_loop_send() and hf_loop_end(). */
    void (*event)(struct hf_loop *loop, const struct hf_event *event, void *arg);
    /** second is called about once a second. */
    void (*second)(struct hf_loop *loop, void *arg);
    /** refused tells of a TLS connection that the engine did not accept: there is no association,
     *  so no event. */
    void (*refused)(struct hf_loop *loop, uint32_t listener_index, enum hf_status status,
                    void *arg);
    /** dialled tells, once for each hf_loop_connect() that gave HF_OK, what came of it: the
     *  association whose handshake has begun, whose events follow; or 0 and why there is none. May
     *  come before hf_loop_connect() returns. `user` is hf_connect.user. */
    void (*dialled)(struct hf_loop *loop, uint64_t user, hf_association_id association,
                    enum hf_status status, void *arg);
    /** shard gives the loop of another shard, for a datagram whose connection ID names it and that
     *  has come here; NULL: there is none, and the datagram is dropped. It must live, if only
     *  ended, until all loops have ended. */
    struct hf_loop *(*shard)(struct hf_loop *loop, uint32_t shard_index, void *arg);
    /** entered tells of plaintext at an entrance that has no association yet: a connection, once;
     *  or a datagram, each time. hf_loop_join() or hf_loop_dismiss() answers, now or later. */
    void (*entered)(struct hf_loop *loop, uint32_t dialer_index, uint64_t entrance, void *arg);
    /** sign is handed a job that waits for the signature of a remote key. Whoever takes it gives it
     *  back with hf_loop_give_job(), exactly once, in this turn or a later one. False, or without
     *  it: nobody can sign, and the handshake fails. */
    bool (*sign)(struct hf_loop *loop, struct hf_job *job, void *arg);
    /** flood tells of strangers' datagrams that are more than the shard can take. */
    void (*flood)(struct hf_loop *loop, const struct hf_loop_flood *flood, void *arg);
    void *arg;
};

/** What a loop stands on. */
enum hf_loop_io {
    HF_LOOP_IO_AUTO = 0, /**< io_uring, or epoll where that is refused */
    HF_LOOP_IO_URING,
    HF_LOOP_IO_EPOLL,
};

struct hf_loop_config {
    enum hf_loop_io io;
    const struct hf_config *engine; /**< shard_index included */
    const struct hf_key_source *source;
    const struct hf_loop_socket *sockets;
    uint32_t socket_count;
    const struct hf_loop_upstream *upstreams; /**< at most one per listener; copied */
    uint32_t upstream_count;
    struct hf_address upstream_prefix; /**< /64 of the associations' addresses towards IPv6
                                            upstreams of datagrams, a local route; port 0: none */
    /** Sockets to adopt towards upstreams of datagrams, as hf_loop_descriptors() gives them;
     *  duplicated; NULL: none. */
    const int *upstream_fds;
    struct hf_loop_handlers handlers;
    uint32_t receive_buffers;     /**< datagram buffers, 2 KiB each; power of two; 1,024 */
    uint32_t connections_max;     /**< TLS connections; 4,096 */
    uint32_t send_queue_len_high; /**< stop reading above this; 64 KiB */
    uint32_t send_queue_len_max;  /**< per connection; at least 4 times the above; 256 KiB */
    uint32_t socket_receive_len;  /**< SO_RCVBUF asked for; 4 MiB */
    /** While a DTLS socket's queue fills, so many ClientHellos a second come in that lead to
     *  nothing, half as many with a cookie, and four times as many others without protection; what
     *  handshakes need that end well comes in beside. The rest is dropped by lot, in the kernel;
     *  what is protected never is. 0: never; 20,000 */
    uint32_t flood_hellos_per_second;
    uint64_t batch_linger_us; /**< after a turn with half a batch of crypto jobs: wait so long for 8
                                   completions; at most a second; 0, off */
    uint64_t stop_us_max;     /**< from hf_loop_stop() to the return of hf_loop_run(); 5 s */
    bool is_ecn_read;         /**< ECN bits of datagrams for HF_EVENT_DATA: 0.1 us each; off */
    bool is_dtls_notified_on_stop; /**< close_notify to DTLS peers too: wakes every device */
    bool is_unfiltered;   /**< let the engine see, and count by cause, datagrams that cannot be
                               DTLS; otherwise the kernel drops them (receive_queue_drops) */
    uint32_t shard_count; /**< loops that share the sockets, opened in the order of their shards:
                               datagrams with a connection ID go to the one it names; 1 */
    bool is_unsteered; /**< leave that to the loops alone: they hand over what the kernel gives to
                            the wrong one */
    uint32_t completions_max; /**< completion queue entries of io_uring; 0: cannot overflow */
};

/** hf_loop_config_init sets the defaults named above. */
void hf_loop_config_init(struct hf_loop_config *config);

/** hf_loop_open opens ring, sockets and engine. Call on the thread that will run it (an io_uring
 *  belongs to its creator). Sockets use SO_REUSEPORT so that shards share an address; the
 *  shard with index 0 probes without it, so that a port another program holds is an error: open
 *  that one first. On failure `error` holds one line with the remedy (privilege, port, MEMLOCK,
 *  io_uring refused ...). Errors: HF_E_CONFIG, HF_E_MEMORY, HF_E_STATE. */
HF_MUST_USE enum hf_status hf_loop_open(struct hf_loop **out, char error[HF_LOOP_ERROR_MAX],
                                        const struct hf_loop_config *config);

/** hf_loop_run serves until hf_loop_stop(); then closes associations and returns, in bounded time.
 *  HF_WAITING: hf_loop_freeze() has stopped it for now (handover.h).
 *  Errors: HF_E_STATE with `error` filled if the ring itself fails. */
HF_MUST_USE enum hf_status hf_loop_run(struct hf_loop *loop, char error[HF_LOOP_ERROR_MAX]);

/** hf_loop_stop asks the loop to end. Thread: any; safe in a signal handler (one eventfd write). */
void hf_loop_stop(struct hf_loop *loop);

/** hf_loop_close frees everything. Not while hf_loop_run() is under way. */
void hf_loop_close(struct hf_loop *loop);

/** hf_loop_engine gives the engine, for handlers on the loop's thread. */
struct hf_engine *hf_loop_engine(struct hf_loop *loop);

/** hf_loop_io_name gives "io_uring" or "epoll"; hf_loop_io_reason why it is that one: one line,
 *  with the remedy where io_uring was refused. Views: as long as the loop. Thread: any. */
const char *hf_loop_io_name(const struct hf_loop *loop);
const char *hf_loop_io_reason(const struct hf_loop *loop);

/** hf_loop_address gives the address socket `socket_index` is bound to. */
struct hf_address hf_loop_address(const struct hf_loop *loop, uint32_t socket_index);

/** hf_loop_send sends application bytes of any length (TLS: split; DTLS: one record, so at most
 *  the record limit). Errors: as hf_engine_send(); HF_WAITING, and nothing is sent, when the send
 *  queue is full (DTLS: the engine's output of this turn). Thread: the loop's. */
HF_MUST_USE enum hf_status hf_loop_send(struct hf_loop *loop, hf_association_id association,
                                        struct hf_bytes data);

/** hf_loop_connect dials, as hf_engine_connect() does: opens the connection first, within 5 s, on
 *  TLS; on DTLS sends from a socket of the dialer's. In: path.local with port 0 and no address:
 *  the kernel's choice; otherwise TLS is bound to it, and DTLS leaves from the socket that has it,
 *  a listener's too. Views are copied. Errors: HF_E_STATE (not within a turn of the loop: call it
 *  from a handler or a task; or there is no socket to dial from, or the loop stops); HF_E_ARGUMENT;
 *  HF_E_ASSOCIATION_LIMIT (connections_max), HF_E_MEMORY, HF_E_UNREACHABLE (refused at once).
 *  Thread: the loop's. */
HF_MUST_USE enum hf_status hf_loop_connect(struct hf_loop *loop, const struct hf_connect *connect);

/** hf_loop_datagram_entrance names a dialer's entrance for datagrams. */
static inline uint64_t hf_loop_datagram_entrance(uint32_t dialer_index)
{
    return UINT64_C(1) << 62 | dialer_index;
}

/** hf_loop_join gives an association that was dialled and is established to what `entered` told of:
 *  from now on bytes go both ways, for as long as both last. Of datagrams the first few that came
 *  before go first. HF_EVENT_DATA and HF_EVENT_PEER_CLOSED of dialers with an entrance are the
 *  loop's own concern. Errors: HF_E_STALE (one of both is gone, or not for the other). */
HF_MUST_USE enum hf_status hf_loop_join(struct hf_loop *loop, uint64_t entrance,
                                        hf_association_id association);

/** hf_loop_is_joined tells whether an association has a plaintext connection, of an entrance or of
 *  an upstream. */
bool hf_loop_is_joined(struct hf_loop *loop, hf_association_id association);

/** hf_loop_dismiss resets the connection, or forgets the datagrams. A stale name does nothing. */
void hf_loop_dismiss(struct hf_loop *loop, uint64_t entrance);

/** hf_loop_set_flood_hellos changes flood_hellos_per_second. Thread: the loop's. */
void hf_loop_set_flood_hellos(struct hf_loop *loop, uint32_t per_second);

/** hf_loop_end closes an association as hf_engine_close_association() does; a TLS connection is
 *  closed once what is queued has been sent. */
void hf_loop_end(struct hf_loop *loop, hf_association_id association, enum hf_close how);

/** hf_loop_give_job gives back a job that `sign` took, answered or not. Thread: the loop's. */
void hf_loop_give_job(struct hf_loop *loop, struct hf_job *job);

/** Something to do on the loop's thread. */
typedef void hf_loop_task(struct hf_loop *loop, void *arg);

/** The most tasks that wait at once. */
#define HF_LOOP_TASKS_MAX 1024

/** hf_loop_post has task(loop, arg) called on the loop's thread, in its next turn and in the order
 *  of posting; there it may use the engine, hf_loop_send() and hf_loop_end(), and post again (for
 *  the turn after). False, and never called: too many wait, or the loop has ended. True: called
 *  exactly once; if the loop ends before, then as it ends. Thread: any. Cost: one short lock, and
 *  an eventfd write when nothing was waiting. */
HF_MUST_USE bool hf_loop_post(struct hf_loop *loop, hf_loop_task *task, void *arg);

/** Counters of the I/O side, written by the loop and readable from any thread at any time. */
struct hf_loop_counters {
    uint64_t turns;
    uint64_t batch_lingers; /**< turns that waited for a fuller batch */
    uint64_t datagrams_in, datagrams_out;
    uint64_t datagrams_truncated;    /**< longer than a receive buffer: dropped */
    uint64_t datagrams_unsendable;   /**< the kernel refused (no route, full buffer ...) */
    uint64_t strays_out, strays_in;  /**< handed over to, or by, the shard they are for */
    uint64_t strays_dropped;         /**< no such shard, or it has no room */
    uint64_t receive_rearms;         /**< receives that ended and were armed again */
    uint64_t receive_buffers_empty;  /**< times all receive buffers were in use */
    uint64_t receive_queue_drops;    /**< dropped by the kernel: queue full, or cannot be DTLS */
    uint64_t floods;                 /**< begun */
    uint64_t floods_now;             /**< gauge: sockets under one */
    uint64_t flood_drops;            /**< datagrams dropped by lot */
    uint64_t completions_overflowed; /**< turns that found the completion queue overflown */
    uint64_t dials, dials_failed;    /**< hf_loop_connect(): handshakes begun; connections failed */
    uint64_t accepts, accept_errors; /**< EMFILE and the like; accepting pauses for 100 ms */
    uint64_t connections_full;       /**< closed at once: over connections_max */
    uint64_t connections_refused;    /**< by the engine; a balancer's without its header */
    uint64_t proxy_headers;          /**< peers that balancers have named */
    uint64_t connections;            /**< gauge: open now */
    uint64_t connections_paused;     /**< gauge: not read from, their peer does not read */
    uint64_t send_queue_len;         /**< gauge: bytes queued on all connections */
    uint64_t memory_len;             /**< gauge: bytes of buffers and queues */
    uint64_t upstream_datagrams_out, upstream_datagrams_in; /**< to and from upstreams */
    uint64_t upstream_out_len, upstream_in_len; /**< their bytes and streams', headers excluded */
    uint64_t upstream_drops_unsendable;         /**< the kernel refused */
    uint64_t upstream_drops_stranger; /**< not from the upstream, or to no address of ours */
    uint64_t upstream_drops_stale;    /**< for an association that has ended */
    uint64_t upstream_drops_too_long; /**< longer than a record or a receive buffer */
    uint64_t upstream_drops_full;     /**< more than a turn's output holds */
    uint64_t entrance_connections;    /**< plaintext connections that came to dialers */
    uint64_t entrance_datagrams_in, entrance_datagrams_out; /**< from and to who brings them */
    uint64_t entrance_drops;    /**< datagrams that found no association, or did not fit a record */
    uint64_t upstream_connects; /**< connections to upstreams made */
    uint64_t upstream_kept;     /**< ends and refusals that the association outlived */
    uint64_t upstream_retries;  /**< connecting again, for what a device has said */
    uint64_t upstream_refusals; /**< refused, or no descriptor: the association ended */
    uint64_t upstream_timeouts; /**< not connected in 5 s: the association ended */
    uint64_t upstream_resets;   /**< broken by the upstream: the association ended */
    uint64_t upstream_connections; /**< gauge: open or opening now, entrances' too */
};

/** hf_loop_counters_get copies them out with relaxed atomic loads. Thread: any. */
void hf_loop_counters_get(struct hf_loop_counters *out, const struct hf_loop *loop);

#define HF_LOOP_WAIT_BUCKETS 14

/** What became of crypto jobs: how they were batched, and how long they were away. */
struct hf_loop_job_counters {
    struct hf_job_counters run;
    /** Jobs by the time they waited, from the beginning of the turn to their end here: bucket i
     *  counts those of at most 32 us * 2^i, the last all others. Not cumulative. What a remote
     *  signer takes comes on top. */
    uint64_t waits[HF_LOOP_WAIT_BUCKETS];
    uint64_t wait_us; /**< the sum */
};

/** hf_loop_job_counters_get gives them as of the last second. Thread: any, as the next. */
void hf_loop_job_counters_get(struct hf_loop_job_counters *out, struct hf_loop *loop);

/** hf_loop_engine_counters_get gives the engine's counters as of the last second or turn end.
 *  Thread: any (copied under a short lock by the loop about once a second). */
void hf_loop_engine_counters_get(struct hf_counters *out, struct hf_loop *loop);

#endif
