/**
 * expiry.h - what has expired, at each start, check and reload; what will soon, for --warn-expiry.
 */
#ifndef HF_EXPIRY_H
#define HF_EXPIRY_H

#include "daemon.h"

/** hf_expiry_warn tells whether something expires within so many days, 0: has expired; a log line
 * names each. */
bool hf_expiry_warn(const struct hf_daemon *daemon, uint64_t days);

#endif
