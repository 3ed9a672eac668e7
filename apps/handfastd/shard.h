/**
 * shard.h - one thread with one loop: opens it, serves, logs what happens, and ends.
 */
#ifndef HF_SHARD_H
#define HF_SHARD_H

#include "authority.h"
#include "dialer.h"
#include "maf.h"
#include "sessions.h"

struct hf_shard;
struct hf_takeover;

/** What all shards share. Outlives them. */
struct hf_shard_shared {
    const struct hf_daemon_config *config; /**< as of the start; a reload does not change it */
    struct hf_authority *authorities[HF_AUTHORITIES_MAX];
    struct hf_maf *maf; /**< NULL: none is configured */
    struct hf_sessions sessions;
    struct hf_dialer_pairs pairs;
    struct hf_takeover *takeover; /**< while it starts: whom we take over from; NULL: nobody */
    struct hf_loop_socket sockets[HF_LISTENERS_MAX]; /**< with the ports the kernel chose */
    int keylog_fd;                                   /**< -1: none */
    struct hf_shard *const *shards;                  /**< all that were started, by index */
    int end_fd; /**< an eventfd: counts shards whose loop has ended */
};

/** hf_shard_start starts the thread and waits until its loop is open. On false `error` holds one
 *  line and nothing is left to close. */
HF_MUST_USE bool hf_shard_start(struct hf_shard **out, char error[HF_LOOP_ERROR_MAX],
                                struct hf_shard_shared *shared, uint32_t index);

/** hf_shard_serve lets the loop run, or go on after hf_shard_freeze(). */
void hf_shard_serve(struct hf_shard *shard);

/** hf_shard_stop asks the loop to end; `shared->end_fd` tells when it has. */
void hf_shard_stop(struct hf_shard *shard);

/** hf_shard_freeze has the loop fall silent; hf_shard_is_frozen waits until it has. False: it has
 *  ended instead. While it is silent, its loop and engine are the caller's. */
void hf_shard_freeze(struct hf_shard *shard);
HF_MUST_USE bool hf_shard_is_frozen(struct hf_shard *shard);

/** hf_shard_leave ends one that is frozen; no peer hears of it. */
void hf_shard_leave(struct hf_shard *shard);

/** hf_shard_drain is hf_loop_drain(), soon. Thread: any. */
void hf_shard_drain(struct hf_shard *shard, bool is_draining, bool is_closing);

/** hf_shard_half_open gives how many handshakes are under way now. Thread: any but a shard's. */
uint32_t hf_shard_half_open(struct hf_shard *shard);

/** hf_shard_close ends the thread (of a shard that was stopped or never served) and frees all.
 *  Returns false when the loop had failed; the reason has been logged. */
bool hf_shard_close(struct hf_shard *shard);

/** hf_shard_loop gives the loop, for its counters and addresses. */
struct hf_loop *hf_shard_loop(const struct hf_shard *shard);

/** hf_shard_index gives its number: the top byte of its associations' handles. */
uint32_t hf_shard_index(const struct hf_shard *shard);

/** hf_shard_handshakes gives how many handshakes at a listener ended so, of those with certificates
 *  or of all others. Thread: any. */
uint64_t hf_shard_handshakes(const struct hf_shard *shard, uint32_t listener_index,
                             bool is_certificate, enum hf_status status);

/** hf_shard_dialer_status gives what there is to know of a dialer; false: it is another shard's.
 *  Thread: any. */
HF_MUST_USE bool hf_shard_dialer_status(struct hf_dialer_status *out, const struct hf_shard *shard,
                                        uint32_t dialer_index);

/** hf_shard_wake has the shard take the answers of key stores. Thread: any. */
void hf_shard_wake(struct hf_shard *shard);

/** hf_shard_revoke ends all associations whose `context` this is, those included whose answer is
 *  still on its way. False: no memory, or the shard has ended. Thread: any but a shard's. */
bool hf_shard_revoke(struct hf_shard *shard, uint64_t context);

/** hf_shard_update puts what may change of the listeners into use, and waits until it is. False:
 * the shard has ended. Thread: any but a shard's. */
bool hf_shard_update(struct hf_shard *shard, const struct hf_daemon_config *config);

/** hf_shard_end_keys ends all associations whose `context` is among `contexts` (sorted), a slice of
 *  them a turn. Copies `contexts`. False: no memory, and an error line says so. Thread: any. */
bool hf_shard_end_keys(struct hf_shard *shard, const uint64_t *contexts, size_t count);

/** hf_shard_end_unkept ends those of an authority whose `context` is not above `newest` and not
 *  among `contexts`. Otherwise as above. */
bool hf_shard_end_unkept(struct hf_shard *shard, uint32_t authority_index, uint64_t newest,
                         const uint64_t *contexts, size_t count);

#endif
