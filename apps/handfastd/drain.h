/**
 * drain.h - ending without haste: no new associations, TLS connections end as they become idle, and
 * the daemon when none is left or the time is up.
 */
#ifndef HF_DRAIN_H
#define HF_DRAIN_H

#include "daemon.h"

/** hf_drain_begin begins it, for at most `ms`. False: the daemon does not serve. Thread: any but a
 *  shard's. */
bool hf_drain_begin(struct hf_daemon *daemon, uint64_t ms);

/** hf_drain_is_over tells whether nobody is left, or the time is up. */
bool hf_drain_is_over(const struct hf_daemon *daemon);

#endif
