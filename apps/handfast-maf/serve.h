/**
 * serve.h - the Mmaf interface on the associations of a loop: reads requests, knows who asks, has
 * them done by the store thread, and answers in order.
 */
#ifndef HF_SERVE_H
#define HF_SERVE_H

#include "worker.h"

#include <loop.h>

struct hf_serve;

struct hf_serve_config {
    uint32_t connection_jobs_max; /**< requests of one connection under way; 64 */
    uint32_t request_s_max;       /**< from a request's first byte to its last; 30 */
    bool is_verbose;              /**< a line a request */
    void (*log)(const char *event, const char *text, void *arg);
    void *arg;
};

/** hf_serve_open makes it; NULL without memory. */
struct hf_serve *hf_serve_open(const struct hf_serve_config *config);

/** hf_serve_use tells whom requests are given to. Call once, before the loop runs. */
void hf_serve_use(struct hf_serve *serve, struct hf_worker *worker);

/** hf_serve_close frees it; NULL is allowed. */
void hf_serve_close(struct hf_serve *serve);

/** hf_serve_event takes every event of the loop. */
void hf_serve_event(struct hf_serve *serve, struct hf_loop *loop, const struct hf_event *event);

/** hf_serve_drain answers what the store thread has done. Thread: the loop's. */
void hf_serve_drain(struct hf_serve *serve, struct hf_loop *loop);

/** hf_serve_second is called once a second. */
void hf_serve_second(struct hf_serve *serve, struct hf_loop *loop);

#endif
