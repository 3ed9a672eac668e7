/**
 * engine_parts.h - an engine for unit tests of its modules: opened small, fed by nobody.
 */
#ifndef HF_TEST_ENGINE_PARTS_H
#define HF_TEST_ENGINE_PARTS_H

#include "core.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static inline void engine_parts_request(struct hf_engine *engine, const struct hf_request *request,
                                        void *arg)
{
    (void)engine;
    (void)request;
    (void)arg; /* never answers */
}

/** engine_parts_open opens an engine with listeners and dialers 0: TLS, 1: DTLS. `config` NULL:
 * small pools. */
static inline struct hf_engine *engine_parts_open(const struct hf_config *config)
{
    struct hf_listener listeners[2];
    struct hf_dialer dialers[2];
    struct hf_config copy;
    struct hf_key_source source = {.request = engine_parts_request};
    struct hf_engine *engine;
    hf_listener_init(&listeners[0], HF_TRANSPORT_TLS);
    hf_listener_init(&listeners[1], HF_TRANSPORT_DTLS);
    hf_dialer_init(&dialers[0], HF_TRANSPORT_TLS);
    hf_dialer_init(&dialers[1], HF_TRANSPORT_DTLS);
    hf_config_init(&copy);
    if (config) {
        copy = *config;
    } else {
        copy.associations_max = 64;
        copy.handshakes_max = 32;
        copy.handshakes_pressure = 16;
        copy.stream_buffers_max = 4;
    }
    copy.listener_count = 2;
    copy.listeners = listeners;
    copy.dialer_count = 2;
    copy.dialers = dialers;
    enum hf_status status = hf_engine_open(&engine, &copy, &source);
    assert_int_equal(status, HF_OK);
    hf_engine_begin_turn(engine, 1000000000, 1750000000);
    return engine;
}

/** A linear congruential generator: `*random` is all there is to a run. */
static inline uint32_t engine_parts_below(uint64_t *random, uint32_t limit)
{
    *random = *random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((*random >> 33) % limit);
}

#endif
