/**
 * dialer.h - the dialers of one shard: whom to dial when, and when again. What is dialled is the
 * loop's business (io/dial.c), and so is the plaintext (io/entrance.c).
 *
 * A dialer belongs to one shard, which has its entrance. TLS: each plaintext connection has an
 * association of its own; `keep` has one more ready. DTLS: all datagrams share one association.
 */
#ifndef HF_DIALER_H
#define HF_DIALER_H

#include "daemon_config.h"

#include <handfast/pair.h>
#include <pthread.h>

struct hf_dialers;

/** Who has come by SA1, of dialers that are the way back: SA1 may come to any shard. */
struct hf_dialer_pairs {
    pthread_mutex_t lock;
    struct hf_pair pairs[HF_DAEMON_DIALERS_MAX]; /**< is_registered: it is there */
};

/** hf_dialers_open makes those of a shard; NULL: no memory. `config` and `pairs` outlive them. */
struct hf_dialers *hf_dialers_open(const struct hf_daemon_config *config, uint32_t shard_index,
                                   struct hf_dialer_pairs *pairs);
void hf_dialers_close(struct hf_dialers *dialers);

/** hf_dialers_sockets adds what the shard's loop has to open for them; returns the new count. */
uint32_t hf_dialers_sockets(struct hf_dialers *dialers, struct hf_loop_socket *sockets,
                            uint32_t count);

/** hf_dialers_opened notes where the entrances are: the loop is open. */
void hf_dialers_opened(struct hf_dialers *dialers, const struct hf_loop *loop);

/** hf_dialers_adopt finds what another process has handed over. Before the loop runs. */
void hf_dialers_adopt(struct hf_dialers *dialers, struct hf_loop *loop);

/** hf_dialers_update takes what a reload may change. Thread: the shard's, as those below. */
void hf_dialers_update(struct hf_dialers *dialers, const struct hf_daemon_config *config);

void hf_dialers_entered(struct hf_dialers *dialers, struct hf_loop *loop, uint32_t dialer_index,
                        uint64_t entrance);
void hf_dialers_dialled(struct hf_dialers *dialers, struct hf_loop *loop, uint64_t user,
                        hf_association_id association, enum hf_status status);
/** hf_dialers_event takes every event of an association we have dialled. */
void hf_dialers_event(struct hf_dialers *dialers, struct hf_loop *loop,
                      const struct hf_event *event);
void hf_dialers_second(struct hf_dialers *dialers, struct hf_loop *loop);

/** hf_dialers_met takes notice of who has come to a listener: SA1 of a pair, perhaps. */
void hf_dialers_met(struct hf_dialers *dialers, const struct hf_association_info *info);

/** What there is to know of one. */
struct hf_dialer_status {
    struct hf_address listen;        /**< the entrance, with the port the kernel chose */
    uint64_t address_index;          /**< of the addresses, where it dials at present */
    uint64_t associations;           /**< established */
    uint64_t waiting;                /**< plaintext that waits for one */
    uint64_t backing_off_s;          /**< until the next try; 0: it is not */
    uint64_t dials[HF_STATUS_COUNT]; /**< ended so; HF_OK: established */
};

/** hf_dialers_status gives it; false: it is another shard's. Thread: any. */
HF_MUST_USE bool hf_dialers_status(struct hf_dialer_status *out, const struct hf_dialers *dialers,
                                   uint32_t dialer_index);

#endif
