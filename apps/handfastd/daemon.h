/**
 * daemon.h - the running daemon as its own parts see it: what serves, under which configuration,
 * and the one transaction that changes it.
 */
#ifndef HF_DAEMON_H
#define HF_DAEMON_H

#include "shard.h"

#include <pthread.h>

enum hf_daemon_state {
    HF_DAEMON_STARTING = 0,
    HF_DAEMON_SERVING,
    HF_DAEMON_DRAINING, /**< no new associations */
    HF_DAEMON_STOPPING,
};

/** What was taken over from the predecessor. */
struct hf_daemon_taken {
    uint64_t count;     /**< how often, since a process was first started; 0: this one was */
    uint64_t us;        /**< from the first word to the predecessor until we served */
    uint64_t frozen_us; /**< of that, nobody served */
    uint32_t associations, left_out, connections, connections_lost;
    uint32_t sessions, sessions_left_out; /**< of the cache */
};

struct hf_checkpoint;
struct hf_handover;
struct hf_restore;
struct hf_starter;

struct hf_daemon {
    int argc;
    char **argv;
    struct hf_daemon_config started; /* as of the start: what cannot change, names above all */
    struct hf_shard_shared shared;   /* .config is `started` */
    struct hf_shard *shards[HF_SHARDS_MAX];
    uint32_t shard_count;          /* started */
    _Atomic bool are_shards_there; /* all of them */
    int64_t start_s;               /* UTC */
    _Atomic enum hf_daemon_state state;
    uint16_t metrics_port;            /* as bound */
    struct hf_handover *handover;     /* likewise */
    struct hf_starter *starter;       /* NULL: nobody can take over */
    bool is_path_ours;                /* of the Unix sockets: a successor's are not */
    struct hf_checkpoint *checkpoint; /* NULL: none is written */
    struct hf_restore *restore;   /* while it starts: of a process that crashed; NULL: nothing */
    struct hf_daemon_taken taken; /* settled before `state` is HF_DAEMON_SERVING */
    _Atomic uint64_t handovers_failed; /* a successor came, and did not take over */
    _Atomic bool is_handed_over;       /* for good: nothing is served here any more */
    int wake_fd;                       /* an eventfd: has the main thread look again */
    _Atomic uint64_t drain_until_ms;   /* of the monotonic clock */

    pthread_mutex_t reload_lock;    /* one reload at a time; guards the next two */
    struct hf_daemon_config config; /* in force */
    struct hf_daemon_config wanted; /* scratch of a reload */
    _Atomic uint64_t reloads, reloads_failed;
    _Atomic int64_t reloaded_s; /* UTC, of the last good one, the start included */
    _Atomic bool is_reload_good;
};

/** hf_daemon_serve has the listeners of `config` serve what the authorities have now; with
 *  `is_prepared` what is prepared. Valid until the authorities change. */
void hf_daemon_serve(struct hf_daemon_config *config,
                     struct hf_authority *const authorities[HF_AUTHORITIES_MAX], bool is_prepared);

/** hf_daemon_dialer finds what there is to know of a dialer. */
void hf_daemon_dialer(struct hf_dialer_status *out, const struct hf_daemon *daemon,
                      uint32_t dialer_index);

/** hf_daemon_log_dialers says where their entrances are. */
void hf_daemon_log_dialers(const struct hf_daemon *daemon);

/** What a reload did, or would have done. */
struct hf_daemon_reload {
    bool is_forced;
    const char *who; /**< for the audit log: "signal", or the control socket's peer */
    struct hf_keystore_change changes[HF_AUTHORITIES_MAX];  /**< .ended is not kept */
    struct hf_entities_change entities[HF_AUTHORITIES_MAX]; /**< likewise */
    char error[HF_OPTIONS_ERROR_MAX];
};

/** hf_daemon_reload reads configuration and keys again: all of it comes into force, or, on false,
 *  nothing, and `reload->error` says why in one line. Associations whose key is gone are ended; no
 *  other is touched. In: is_forced, who. Thread: any but a shard's. Cost: as long as reading takes.
 */
bool hf_daemon_reload(struct hf_daemon *daemon, struct hf_daemon_reload *reload);

#endif
