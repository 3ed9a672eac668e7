/**
 * respond.h - what the daemon does with application bytes while no CSE stands behind it.
 */
#ifndef HF_RESPOND_H
#define HF_RESPOND_H

#include "daemon_config.h"

struct hf_respond;

/** hf_respond_init prepares the libraries behind it. Call once, before any thread. */
void hf_respond_init(void);

/** hf_respond_open makes the state of one shard; `mode` is that of all listeners until
 *  hf_respond_set(). NULL without memory. */
struct hf_respond *hf_respond_open(enum hf_respond_mode mode);

/** hf_respond_set changes what one listener answers, from the next data on. */
void hf_respond_set(struct hf_respond *respond, uint32_t listener_index, enum hf_respond_mode mode);

/** hf_respond_close frees it; NULL is allowed. */
void hf_respond_close(struct hf_respond *respond);

/** hf_respond_data answers application bytes, or lets them go in mode none. */
void hf_respond_data(struct hf_respond *respond, struct hf_loop *loop, const struct hf_event *event,
                     enum hf_transport transport);

/** hf_respond_forget drops what is kept for an association that is gone. */
void hf_respond_forget(struct hf_respond *respond, hf_association_id association);

/** hf_respond_second is called once a second. */
void hf_respond_second(struct hf_respond *respond, struct hf_loop *loop);

#endif
