/**
 * takeover.h - the successor's side: what a process that starts gets from the one that serves.
 *
 * In this order: open (before keys are read: contexts of associations are to stay what they are),
 * the sockets (as shards are opened), run (the associations; when it returns true the predecessor
 * serves no more), close.
 */
#ifndef HF_TAKEOVER_H
#define HF_TAKEOVER_H

#include "daemon.h"

#include <jansson.h>

#define HF_TAKEOVER_ERROR_MAX 400

struct hf_takeover;

/** hf_takeover_open asks the process that serves `config.takeover_socket`. On false `error` holds
 *  one line, which may be the predecessor's. */
HF_MUST_USE bool hf_takeover_open(struct hf_takeover **out, char error[HF_TAKEOVER_ERROR_MAX],
                                  const struct hf_daemon_config *config);

/** hf_takeover_close forgets it; before hf_takeover_run() has returned true the predecessor serves
 *  on. NULL is allowed, here and in all that follows: there is no predecessor. */
void hf_takeover_close(struct hf_takeover *takeover);

/** hf_takeover_describe gives what must be the same in both for associations to go on. */
json_t *hf_takeover_describe(const struct hf_daemon_config *config);

/** hf_takeover_read_hex reads exactly `len` bytes; NULL is none. */
HF_MUST_USE bool hf_takeover_read_hex(uint8_t *out, size_t len, const char *hex);

/** hf_takeover_secrets gives what its cookies and tickets were made of; untouched without one. */
void hf_takeover_secrets(struct hf_shared_secrets *out, const struct hf_takeover *takeover);

/** hf_takeover_context_key gives what the contexts of an authority's keys were made with, NULL if
 * it had no such authority. */
const uint8_t *hf_takeover_context_key(const struct hf_takeover *takeover, const char *name);

/** hf_takeover_sockets puts a shard's descriptors into `sockets`, and gives those towards
 * upstreams; NULL: none. They stay the takeover's. */
const int *hf_takeover_sockets(struct hf_loop_socket *sockets, uint32_t socket_count,
                               const struct hf_takeover *takeover, uint32_t shard_index);

/** hf_takeover_control and _listener give the descriptors of the control socket and of the one that
 *  a successor asks on; -1: none, or at another path. */
int hf_takeover_control(const struct hf_takeover *takeover, const char *path);
int hf_takeover_listener(const struct hf_takeover *takeover, const char *path);

/** hf_takeover_metrics gives the port of its metrics, 0: none. */
uint16_t hf_takeover_metrics(const struct hf_takeover *takeover);

/** hf_takeover_run takes all associations and connections over into shards that do not serve yet.
 *  On false `error` holds one line, and the predecessor serves on. */
HF_MUST_USE bool hf_takeover_run(struct hf_takeover *takeover, char error[HF_TAKEOVER_ERROR_MAX],
                                 struct hf_daemon *daemon);

/** hf_takeover_end_gone ends, of the associations that were taken over or restored, those whose key
 *  is not in the file any more. */
void hf_takeover_end_gone(const struct hf_daemon *daemon);

/** hf_takeover_settle notes in `daemon->taken` what was taken over, now that it serves, and for how
 *  long nobody did; and logs it. */
void hf_takeover_settle(const struct hf_takeover *takeover, struct hf_daemon *daemon);

#endif
