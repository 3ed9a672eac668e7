/**
 * announce.h - what a start says of itself: the log lines io_chosen, listening, ready.
 */
#ifndef HF_ANNOUNCE_H
#define HF_ANNOUNCE_H

#include "daemon.h"

void hf_announce_io(const struct hf_daemon *daemon);
void hf_announce_listener(const struct hf_daemon *daemon, uint32_t index);
void hf_announce_ready(const struct hf_daemon *daemon);

/** hf_announce_keys counts the keys there are, and with `is_warned` warns of authorities that have
 *  none. */
uint64_t hf_announce_keys(const struct hf_daemon *daemon, bool is_warned);

#endif
