/**
 * exposition.h - everything the daemon counts, as Prometheus reads it.
 */
#ifndef HF_EXPOSITION_H
#define HF_EXPOSITION_H

#include "shard.h"

#include <stdio.h>

struct hf_exposition_input {
    struct hf_shard *const *shards;
    uint32_t shard_count;
    const struct hf_keystore *keystore;
    double start_s; /**< UTC */
};

/** hf_exposition_write writes the text format, version 0.0.4. False without memory. */
HF_MUST_USE bool hf_exposition_write(FILE *out, const struct hf_exposition_input *input);

#endif
