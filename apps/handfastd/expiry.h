/**
 * expiry.h - what expires soon, for --check-config --warn-expiry.
 */
#ifndef HF_EXPIRY_H
#define HF_EXPIRY_H

#include "daemon.h"

/** hf_expiry_warn tells whether something expires within so many days; a log line names each. */
HF_MUST_USE bool hf_expiry_warn(const struct hf_daemon *daemon, uint64_t days);

#endif
