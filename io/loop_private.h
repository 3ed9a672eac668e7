/**
 * loop_private.h - what the files of io/ share: the loop's state, and who does what.
 *
 *     loop.c     open, turn, stop, close
 *     uring.c, epoll.c, buffers.c   behind backend.h: requests, completions, receive buffers
 *     socket.c   opening sockets, addresses  udp.c      datagrams in and out
 *     tcp.c      streams in and out          connection.c  their records, lists and ends
 *     proxy.c    what a balancer says first
 *     backlog.c  bytes that have to wait     counters.c    the view from outside
 *     dial.c     outgoing connections        stray.c   datagrams that are another shard's
 *     freeze.c   falling silent             handover.c  sockets and connections for another process
 *     post.c     tasks from other threads    upstream*.c   forwarding: upstream.h
 *     gate.c     floods kept out
 *
 * Invariant: kernel memory is named by indices and generations, never by pointers that could
 * outlive what they point to; a completion for something gone is ignored.
 */
#ifndef HF_LOOP_PRIVATE_H
#define HF_LOOP_PRIVATE_H

#include <pthread.h>

#include "backend.h"
#include "gate.h"

#define HF_SOCKETS_MAX 256
#define HF_NONE UINT32_MAX

#define HF_DATAGRAM_BUFFER_LEN 2048u /* 1,500-byte networks, plus the kernel's header and cmsgs */
#define HF_STREAM_BUFFER_LEN 16384u  /* most records whole; touched as far as it is used */
#define HF_STREAM_BUFFERS 256u
#define HF_SEND_BATCH 64u

#define HF_ACCEPT_PAUSE_US 100000u
#define HF_LINGER_US 5000000u
#define HF_LINGER_STOP_US 200000u
#define HF_SECOND_US 1000000u
#define HF_SEND_STALL_MS 120000 /* TCP_USER_TIMEOUT: a peer that acknowledges nothing */

/** Receive buffers, in one piece of memory. Those that hold what was received are held until the
 *  events of the turn were taken, then all go back at once. */
struct hf_buffers {
    uint8_t *memory;
    size_t memory_len; /* of what is mapped */
    uint32_t held_count;
    uint32_t count; /* power of two */
    uint32_t buffer_len;
};

struct hf_socket {
    struct hf_address address; /* as bound */
    uint64_t pause_until_us;   /* 0: not paused */
    uint32_t listener_index;
    uint32_t kernel_drops; /* as last read */
    int fd;
    enum hf_transport transport;
    bool is_v6;
    bool is_wildcard;
    bool is_armed;
    bool is_v6_only;
    bool is_client; /* listener_index is a dialer's */
    bool is_plain;  /* likewise, and what comes here is plaintext: entrance.c */
    uint32_t trusted_count;
    struct hf_prefix trusted[HF_LOOP_TRUSTED_MAX];
    struct hf_gate gate;
};

/** Bytes that outlive a turn. */
struct hf_block {
    struct hf_block *next;
    uint32_t len; /* capacity */
    uint32_t start;
    uint32_t end;
    uint8_t data[];
};

/** One TLS connection. Idle, this is all the loop keeps for it. */
struct hf_connection {
    hf_association_id association; /* 0 once the engine has let go of it */
    struct hf_block *queue;        /* sealed bytes the kernel has not taken yet */
    struct hf_block *plain;        /* application bytes the engine had no room to seal yet */
    struct hf_block *unread;       /* received bytes the engine has not taken yet, owned ... */
    uint8_t *view;                 /* ... or still in a receive buffer of this turn */
    uint32_t view_len;
    uint32_t turn_out_len; /* given to the engine to seal in this turn, sealed */
    uint64_t linger_until_us;
    uint32_t linger_next, linger_prev;
    uint32_t touched_next, resume_next;
    uint32_t view_next; /* those with a view */
    uint32_t hash_next; /* links the free ones, too */
    uint32_t generation;
    uint32_t upstream;    /* its connection to the upstream, counted from 1; 0: none */
    struct hf_dial *dial; /* what is to be dialled once it is connected, otherwise NULL */
    int fd;
    uint8_t socket_index;
    uint8_t end_how; /* enum hf_close, when is_ending */
    bool is_used : 1;
    bool is_masked : 1; /* a balancer's, and its PROXY header has yet to come */
    bool is_new : 1;    /* the engine has not had room for it yet */
    bool is_receive_armed : 1;
    bool is_more_there : 1; /* a receive will find bytes at once */
    bool is_writable_armed : 1;
    bool is_paused : 1;    /* not read from because its peer does not read */
    bool is_blocked : 1;   /* the engine takes nothing until HF_EVENT_READABLE */
    bool is_peer_done : 1; /* close_notify came */
    bool is_at_end : 1;    /* the peer sends no more */
    bool is_end_told : 1;  /* and the engine knows */
    bool is_broken : 1;    /* reset: nothing can be sent */
    bool is_ending : 1;    /* hf_loop_end() waits for `plain` */
    bool is_closing : 1;   /* the engine has let go; flush, linger, close */
    bool is_lingering : 1;
    bool is_shut : 1;   /* our FIN is out */
    bool is_doomed : 1; /* close as soon as the kernel has ended its requests */
    bool is_cancel_sent : 1;
    bool is_touched : 1;
    bool is_resuming : 1;
    bool is_viewed : 1;
};
_Static_assert(sizeof(struct hf_connection) <= 160, "an idle TLS association costs little");

struct hf_send_batch {
    struct mmsghdr messages[HF_SEND_BATCH];
    struct iovec parts[HF_SEND_BATCH];
    struct sockaddr_in6 peers[HF_SEND_BATCH];
    uint8_t controls[HF_SEND_BATCH]
                    [CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(int))];
    struct hf_socket *socket;
    uint32_t count;
};

/** Tasks from other threads: one lock, held for the copy of one entry. */
struct hf_tasks {
    pthread_mutex_t lock;
    uint32_t head, tail; /* free-running */
    bool is_ended;
    struct hf_task {
        hf_loop_task *task;
        void *arg;
    } ring[HF_LOOP_TASKS_MAX];
};

struct hf_uring;
struct hf_epoll;

struct hf_loop {
    const struct hf_backend *backend;
    struct hf_uring *uring; /* the back end's own; one of both */
    struct hf_epoll *epoll;
    char io_reason[HF_LOOP_ERROR_MAX]; /* why this back end */
    struct hf_engine *engine;
    struct hf_loop_config config;   /* `engine`, `sockets`, `upstreams` are not kept */
    struct hf_upstreams *upstreams; /* NULL: nothing is forwarded */
    struct hf_entrance *entrances;  /* by dialer; NULL: nobody brings datagrams for one */
    struct hf_buffers datagrams;
    struct hf_buffers streams;
    uint64_t now_us;
    uint64_t second_us;      /* the next */
    uint64_t batches_filled; /* half or more, ever */
    uint64_t jobs_noted;     /* of jobs_run, at the end of the last turn */
    uint64_t jobs_run;
    uint32_t batching_turns; /* so many more count as busy with jobs */
    bool is_linger_due;
    bool is_turn_due; /* something waits for nothing but the next turn */
    bool is_in_turn;
    bool is_wake_armed;
    bool is_stopping;
    bool is_freezing;        /* nothing is asked of the kernel any more */
    bool is_calling_off;     /* and what was asked is called off in this turn, not just counted */
    uint64_t call_off_at_us; /* when that is due again */
    bool is_draining;        /* nobody is accepted */
    bool is_closing_idle;    /* and TLS connections end one by one */
    int freeze_requested;    /* atomic */
    uint64_t stop_until_us;
    uint32_t stop_cursor; /* connections below have been told */
    int wake_fd;
    int stop_requested; /* atomic */

    uint32_t dialer_count;
    bool dialers_are_dtls[HF_DIALERS_MAX];
    uint32_t socket_count;
    struct hf_socket *sockets;
    struct hf_socket *last_sender;

    struct hf_connection *connections;
    uint32_t connection_count; /* records ever used */
    uint32_t *heads; /* by association, power of two: index plus one, so that zeros are none */
    uint32_t heads_mask;
    uint32_t free_head;
    uint32_t touched_head, resume_head, view_head;
    uint32_t linger_first, linger_last;
    struct hf_block *spent; /* freed once the turn's events were taken */

    hf_association_id *notified; /* DTLS associations, if they are told of a stop */
    size_t notified_count, notified_max, notified_cursor;

    uint32_t shard_index;
    uint32_t stray_count;    /* on their way here; atomic */
    struct hf_stray *strays; /* taken in this turn, freed once its events were */
    struct hf_tasks tasks;
    struct hf_send_batch batch;
    struct hf_loop_counters counters;
    pthread_mutex_t engine_counters_lock;
    struct hf_counters engine_counters;
    struct hf_loop_job_counters job_counters; /* published */
    uint64_t job_waits[HF_LOOP_WAIT_BUCKETS];
    uint64_t job_wait_us;
    char *error; /* hf_loop_run()'s, while it runs */
};

/* One writer, any readers: no lock prefix needed. */
#define HF_COUNT(loop, field, n)                                                                   \
    __atomic_store_n(&(loop)->counters.field, (loop)->counters.field + (uint64_t)(n),              \
                     __ATOMIC_RELAXED)

/* ---- loop.c ---- */

uint64_t hf_loop_now_us(void);

/* ---- batch.c ---- */

/** hf_batch_next gives a completion as the back end does; where there are jobs now and then it
 *  looks once more before it says that there is none. */
HF_MUST_USE bool hf_batch_next(struct hf_completion *out, struct hf_loop *loop);
/** hf_batch_note is told at the end of a turn whether it had jobs. */
void hf_batch_note(struct hf_loop *loop, bool has_jobs);
/** hf_batch_wait waits for completions as the back end does, at most `timeout_us`, and first for a
 *  batch of them if it is to linger. */
HF_MUST_USE enum hf_status hf_batch_wait(struct hf_loop *loop, uint64_t timeout_us);

/* ---- buffers.c ---- */

/** hf_buffers_map maps `extra_len` bytes, page aligned, and the buffers behind them. Gives where it
 *  begins, or NULL. */
void *hf_buffers_map(struct hf_buffers *buffers, struct hf_loop *loop, uint32_t count,
                     uint32_t buffer_len, size_t extra_len);
void hf_buffers_unmap(struct hf_buffers *buffers);
static inline uint8_t *hf_buffers_at(const struct hf_buffers *buffers, uint32_t index)
{
    return buffers->memory + (size_t)index * buffers->buffer_len;
}

/* ---- socket.c ---- */

HF_MUST_USE enum hf_status hf_socket_open(struct hf_socket *out, char error[HF_LOOP_ERROR_MAX],
                                          const struct hf_loop_socket *what,
                                          const struct hf_loop_config *config);
void hf_socket_close(struct hf_socket *socket);
/** hf_socket_fault tells what is wrong with a socket of the configuration; NULL: nothing. */
const char *hf_socket_fault(const struct hf_loop_socket *socket, const struct hf_config *engine);
/** hf_socket_address_load reads what the kernel wrote. */
void hf_socket_address_load(struct hf_address *out, const void *sockaddr);
/** hf_socket_address_store writes for the kernel; returns the length. */
socklen_t hf_socket_address_store(struct sockaddr_in6 *out, const struct hf_address *address,
                                  bool is_v6);
/** hf_socket_address_print writes "192.0.2.1:5684" or "[2001:db8::1%2]:5684". */
void hf_socket_address_print(char out[HF_ADDRESS_TEXT_MAX], const struct hf_address *address);
/** hf_socket_count_drops adds what the kernel dropped since the last call. */
void hf_socket_count_drops(struct hf_loop *loop, struct hf_socket *socket);

/* ---- udp.c ---- */

/** hf_udp_arm arms the receive of every socket that has none and is not paused. */
void hf_udp_arm(struct hf_loop *loop);
/** hf_udp_receive takes one completion. HF_WAITING: end the turn and give `datagram` again. */
enum hf_status hf_udp_receive(struct hf_datagram *datagram, struct hf_loop *loop,
                              const struct hf_completion *completion);
/** hf_udp_ended takes notice of a receive that goes on no more. */
void hf_udp_ended(struct hf_loop *loop, struct hf_socket *socket,
                  const struct hf_completion *completion);
/** hf_udp_send puts a datagram into the batch; hf_udp_flush sends it. */
void hf_udp_send(struct hf_loop *loop, const struct hf_output *output);
void hf_udp_flush(struct hf_loop *loop);

/* ---- stray.c ---- */

/** hf_stray_steer has the kernel give datagrams to the shard that their connection ID names. */
void hf_stray_steer(const struct hf_socket *socket, const struct hf_loop_config *config);
/** hf_stray_pass hands a datagram over to the shard it is for; false: it is for this one. */
HF_MUST_USE bool hf_stray_pass(struct hf_loop *loop, const struct hf_datagram *datagram);
/** hf_stray_free frees those that were taken. */
void hf_stray_free(struct hf_loop *loop);

/* ---- connection.c ---- */

HF_MUST_USE enum hf_status hf_connection_open(struct hf_loop *loop);
/** hf_connection_close closes every connection, at once. Every request must have ended. */
void hf_connection_close(struct hf_loop *loop);
/** hf_connection_take gives an unused record for `fd`, or NULL: all are taken. */
struct hf_connection *hf_connection_take(struct hf_loop *loop, int fd, uint32_t socket_index);
/** hf_connection_link makes it known to the engine's name; _unlink forgets that. */
void hf_connection_link(struct hf_loop *loop, struct hf_connection *connection,
                        hf_association_id association);
void hf_connection_unlink(struct hf_loop *loop, struct hf_connection *connection);
struct hf_connection *hf_connection_find(struct hf_loop *loop, hf_association_id association);
/** hf_connection_at gives the record if it is still the same connection, otherwise NULL. */
struct hf_connection *hf_connection_at(struct hf_loop *loop, uint32_t index, uint32_t generation);
uint32_t hf_connection_index(const struct hf_loop *loop, const struct hf_connection *connection);
/** hf_connection_target names a request for it. */
struct hf_target hf_connection_target(const struct hf_loop *loop,
                                      const struct hf_connection *connection,
                                      enum hf_operation operation);
/** hf_connection_touch has hf_tcp_settle() look at it. */
void hf_connection_touch(struct hf_loop *loop, struct hf_connection *connection);
/** hf_connection_resume has the next engine turn begin with it. */
void hf_connection_resume(struct hf_loop *loop, struct hf_connection *connection);
/** hf_connection_view notes that it has bytes in a receive buffer of this turn. */
void hf_connection_view(struct hf_loop *loop, struct hf_connection *connection);
/** hf_connection_next_... take the next one off the list; NULL at its end. */
struct hf_connection *hf_connection_next_touched(struct hf_loop *loop, uint32_t *list);
struct hf_connection *hf_connection_next_resuming(struct hf_loop *loop, uint32_t *list);
struct hf_connection *hf_connection_next_viewed(struct hf_loop *loop, uint32_t *list);
/** hf_connection_doom closes it as soon as the kernel has no request for it any more. */
void hf_connection_doom(struct hf_loop *loop, struct hf_connection *connection);
/** hf_connection_unlinger takes that back. */
void hf_connection_unlinger(struct hf_loop *loop, struct hf_connection *connection);
/** hf_connection_linger closes it in a while if nothing else does. */
void hf_connection_linger(struct hf_loop *loop, struct hf_connection *connection);
/** hf_connection_expire closes those that have lingered long enough. */
void hf_connection_expire(struct hf_loop *loop);
/** hf_connection_hurry cuts a linger short: we stop, and all it waits for is the peer's end. */
void hf_connection_hurry(struct hf_loop *loop, struct hf_connection *connection);
/** hf_connection_backlog gives the bytes on their way to this peer, this turn's included. */
uint32_t hf_connection_backlog(const struct hf_connection *connection);

/* ---- dial.c ---- */

/** hf_dial_go_on looks whether the connection has come about, and begins the handshake. */
void hf_dial_go_on(struct hf_loop *loop, struct hf_connection *connection);
/** hf_dial_settle waits for that, or gives up when the loop stops. */
void hf_dial_settle(struct hf_loop *loop, struct hf_connection *connection);
/** hf_dial_give_up tells that it has failed, and closes. */
void hf_dial_give_up(struct hf_loop *loop, struct hf_connection *connection, enum hf_status status);
/** hf_dial_drop forgets the order; nobody is told. */
void hf_dial_drop(struct hf_connection *connection);

/* ---- tcp.c ---- */

/** hf_tcp_arm arms the accept of every listener that has none and is not paused. */
void hf_tcp_arm(struct hf_loop *loop);
void hf_tcp_accepted(struct hf_loop *loop, const struct hf_completion *completion);
void hf_tcp_received(struct hf_loop *loop, const struct hf_completion *completion);
void hf_tcp_writable(struct hf_loop *loop, const struct hf_completion *completion);
/** hf_tcp_resume goes on with the connections that wait for a new turn. */
void hf_tcp_resume(struct hf_loop *loop);
/** hf_tcp_event takes notice of an event of a TLS association. */
void hf_tcp_event(struct hf_loop *loop, const struct hf_event *event);
/** hf_tcp_output sends what the engine has sealed, or queues it. */
void hf_tcp_output(struct hf_loop *loop, const struct hf_output *output);
/** hf_tcp_send seals application bytes, or keeps them until the engine has room. */
HF_MUST_USE enum hf_status hf_tcp_send(struct hf_loop *loop, struct hf_connection *connection,
                                       struct hf_bytes data);
void hf_tcp_end(struct hf_loop *loop, struct hf_connection *connection, enum hf_close how);
/** hf_tcp_settle arms, pauses, flushes and closes what this turn has touched. */
void hf_tcp_settle(struct hf_loop *loop);
/** hf_tcp_own copies unread bytes out of the receive buffers, which then can go back. */
void hf_tcp_own(struct hf_loop *loop);

/* ---- freeze.c ---- */

/** hf_freeze_call_off has every request end, now and then; false: there was none. */
bool hf_freeze_call_off(struct hf_loop *loop);
/** hf_freeze_thaw has everything looked at again. */
void hf_freeze_thaw(struct hf_loop *loop);
/** hf_freeze_second ends TLS connections that are idle, if that is wanted. */
void hf_freeze_second(struct hf_loop *loop);

/* ---- loop.c ---- */

/** hf_loop_note_all notes every DTLS association, for a stop that tells them. */
void hf_loop_note_all(struct hf_loop *loop);

/* ---- post.c ---- */

/** hf_post_open makes the queue; hf_post_close frees it. */
void hf_post_open(struct hf_loop *loop);
void hf_post_close(struct hf_loop *loop);
/** hf_post_wake has the loop begin a turn. Thread: any; safe in a signal handler. */
void hf_post_wake(struct hf_loop *loop);
/** hf_post_run calls what was posted before this turn. */
void hf_post_run(struct hf_loop *loop);
/** hf_post_end calls what is left; from now on nothing more is taken. */
void hf_post_end(struct hf_loop *loop);

/* ---- counters.c ---- */

/** hf_counters_publish copies the engine's and the kernel's counters for other threads. */
void hf_counters_publish(struct hf_loop *loop);

/* ---- backlog.c ---- */

/** hf_backlog_append grows `*block` as needed. false: no memory, nothing changed. A block that the
 *  engine may hold views into is never moved: the old one is kept until the turn is over. */
HF_MUST_USE bool hf_backlog_append(struct hf_loop *loop, struct hf_block **block,
                                   struct hf_bytes data);
/** hf_backlog_drop gives the block up, at the end of the turn. */
void hf_backlog_drop(struct hf_loop *loop, struct hf_block **block);
/** hf_backlog_sweep frees what was given up. */
void hf_backlog_sweep(struct hf_loop *loop);
static inline uint32_t hf_backlog_len(const struct hf_block *block)
{
    return block ? block->end - block->start : 0;
}

#endif
