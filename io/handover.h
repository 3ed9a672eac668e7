/**
 * handover.h - a loop's sockets and connections for another process: what the descriptors are goes
 * over a Unix socket beside them (SCM_RIGHTS). The associations go from engine to engine
 * (<handfast/transfer.h>); here is what a loop knows besides.
 *
 * The giving loop is frozen first, hf_loop_freeze(): hf_loop_run() returns HF_WAITING when the
 * kernel has no request of it any more and nothing waits to be sent. From then on nobody reads:
 * what arrives waits in the sockets, which both processes have. Then either hf_loop_run() again,
 * and it goes on as if nothing had been; or hf_loop_close(), and no peer hears of it.
 *
 * Not handed over: connections whose handshake is under way, those that are being dialled, and
 * plaintext that waits at an entrance.
 */
#ifndef HF_LOOP_HANDOVER_H
#define HF_LOOP_HANDOVER_H

#include "loop.h"

/** hf_loop_freeze has hf_loop_run() return HF_WAITING soon; nothing if it is stopping. Thread: any.
 */
void hf_loop_freeze(struct hf_loop *loop);

/** hf_loop_drain has strangers turned away: their hellos are dropped, connections wait at the
 *  listener. With `is_closing` TLS connections are ended, too, each when nothing of it is under
 * way. Both false: as before. Thread: the loop's. */
void hf_loop_drain(struct hf_loop *loop, bool is_draining, bool is_closing);

/** Upstream sockets of datagrams follow those of hf_loop_config.sockets. */
#define HF_LOOP_UPSTREAM_SOCKETS 5
#define HF_LOOP_DESCRIPTORS_MAX (256 + HF_LOOP_UPSTREAM_SOCKETS)

/** hf_loop_descriptors gives the sockets a loop receives from: as many as were configured, then
 *  HF_LOOP_UPSTREAM_SOCKETS, -1 where there is none. A view: they stay the loop's. */
size_t hf_loop_descriptors(int out[HF_LOOP_DESCRIPTORS_MAX], const struct hf_loop *loop);

/** A connection and the one to its upstream, or either alone. */
struct hf_loop_parcel {
    uint8_t *data; /**< malloc'd; plaintext may be in it: hf_loop_parcel_wipe() */
    size_t len;
    int fds[2]; /**< still the loop's */
    uint32_t fd_count;
};

/** The longest parcel that is made or taken. */
#define HF_LOOP_PARCEL_MAX (64u << 20)

/** hf_loop_give writes the next connection that can go. In: a frozen loop; `*cursor` 0 to begin
 *  with. False: there is none left. */
HF_MUST_USE bool hf_loop_give(struct hf_loop_parcel *out, struct hf_loop *loop, uint64_t *cursor);
void hf_loop_parcel_wipe(struct hf_loop_parcel *parcel);

/** hf_loop_take takes a parcel into a loop that has not run; its associations are there already.
 * In: descriptors, whose owner it becomes on HF_OK. Errors: HF_E_DECODE, HF_E_ARGUMENT (no such
 * socket or upstream here), HF_E_STALE (no such association), HF_E_ASSOCIATION_LIMIT, HF_E_MEMORY.
 */
HF_MUST_USE enum hf_status hf_loop_take(struct hf_loop *loop, struct hf_bytes data, const int *fds,
                                        size_t fd_count);

/** hf_loop_take_end is called once behind all of them. */
void hf_loop_take_end(struct hf_loop *loop);

#endif
