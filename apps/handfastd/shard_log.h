/**
 * shard_log.h - what is said of associations: lines of the log.
 */
#ifndef HF_SHARD_LOG_H
#define HF_SHARD_LOG_H

#include "daemon_config.h"

/** Each writes the line of an event of that kind. */
void hf_shard_log_established(const struct hf_daemon_config *config, struct hf_loop *loop,
                              const struct hf_event *event);
void hf_shard_log_closed(const struct hf_daemon_config *config, const struct hf_event *event);
void hf_shard_log_moved(const struct hf_daemon_config *config, const struct hf_event *event);
void hf_shard_log_handshake_failed(const struct hf_daemon_config *config,
                                   const struct hf_event *event);

/** hf_shard_log_flood is a loop's handler: it uses no `arg`. */
void hf_shard_log_flood(struct hf_loop *loop, const struct hf_loop_flood *flood, void *arg);

#endif
