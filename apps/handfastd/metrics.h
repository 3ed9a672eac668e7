/**
 * metrics.h - Prometheus metrics and health checks by HTTP, on a thread of their own.
 *
 * Counters are summed over the shards, gauges carry the shard. No identity and no address is ever
 * a label.
 */
#ifndef HF_METRICS_H
#define HF_METRICS_H

#include "daemon.h"

struct hf_metrics;

#define HF_METRICS_ERROR_MAX 256

/** hf_metrics_open serves GET /metrics, /healthz and /readyz on the configured address. On false
 *  `error` holds one line. In: `daemon` must outlive it. Out: `*bound` has the port chosen. */
HF_MUST_USE bool hf_metrics_open(struct hf_metrics **out, char error[HF_METRICS_ERROR_MAX],
                                 struct hf_address *bound, const struct hf_daemon *daemon);

/** hf_metrics_close ends it; NULL is allowed. */
void hf_metrics_close(struct hf_metrics *metrics);

#endif
