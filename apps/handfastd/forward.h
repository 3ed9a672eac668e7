/**
 * forward.h - from the listeners' upstreams to what the loop is to forward. docs/FORWARDING.md.
 */
#ifndef HF_FORWARD_H
#define HF_FORWARD_H

#include "daemon_config.h"

/** hf_forward_fault gives what forbids `address` as an upstream for datagrams, or NULL. */
const char *hf_forward_fault(const struct hf_daemon_config *config,
                             const struct hf_address *address);

/** hf_forward_loop has the loop forward; `out` must live until hf_loop_open() has returned. */
void hf_forward_loop(struct hf_loop_upstream out[HF_LISTENERS_MAX], struct hf_loop_config *loop,
                     const struct hf_daemon_config *config);

/** hf_forward_has_streams tells whether connections to an upstream will be made. */
bool hf_forward_has_streams(const struct hf_daemon_config *config);

#endif
