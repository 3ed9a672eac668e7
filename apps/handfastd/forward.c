/**
 * forward.c - what may be an upstream, and the loop's list of them.
 */
#include "forward.h"

#include <string.h>

#define ADDRESS_BITS 22 /* of 127.64.0.0/10: they tell associations apart */

static uint32_t bits_of(uint64_t count)
{
    uint32_t bits = 0;
    while (bits < 32 && (1ULL << bits) < count)
        bits++;
    return bits;
}

const char *hf_forward_fault(const struct hf_daemon_config *config,
                             const struct hf_address *address)
{
    struct hf_config engine;
    struct hf_quota quotas[HF_QUOTAS_MAX];
    const struct hf_address *prefix = &config->upstream_prefix;
    if (!hf_address_is_v4(address)) {
        if (prefix->port == 0)
            return "an IPv6 udp upstream needs upstream-prefix, where associations have their "
                   "addresses";
        return memcmp(address->ip, prefix->ip, 8) == 0
                   ? "upstream-prefix is for the associations' own addresses: no upstream can be "
                     "there"
                   : NULL;
    }
    if (address->ip[12] != 127)
        return "an IPv4 udp upstream must be on this machine, in 127.0.0.0/8";
    if ((address->ip[13] & 0xc0) == 0x40)
        return "127.64.0.0/10 is for the associations' own addresses: no upstream can be there";
    hf_daemon_config_engine(&engine, quotas, config, 0);
    if (bits_of(engine.associations_max) + bits_of(config->shard_count) > ADDRESS_BITS)
        return "a udp upstream allows 2^22 associations: shards times associations of a shard, "
               "each "
               "rounded up to a power of two";
    return NULL;
}

void hf_forward_loop(struct hf_loop_upstream out[HF_LISTENERS_MAX], struct hf_loop_config *loop,
                     const struct hf_daemon_config *config)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < config->socket_count; i++) {
        const struct hf_daemon_listener *listener = &config->details[i];
        if (listener->upstream_kind == HF_UPSTREAM_NONE)
            continue;
        out[count++] = (struct hf_loop_upstream){.listener_index = i,
                                                 .address = listener->upstream,
                                                 .is_proxied = listener->is_proxy_protocol,
                                                 .is_entity_told = listener->is_entity_told != 0,
                                                 .keep_us_max = listener->keep_us};
    }
    loop->upstreams = out;
    loop->upstream_prefix = config->upstream_prefix;
    loop->upstream_count = count;
}

bool hf_forward_has_streams(const struct hf_daemon_config *config)
{
    for (uint32_t i = 0; i < config->socket_count; i++)
        if (config->details[i].upstream_kind == HF_UPSTREAM_TCP)
            return true;
    for (uint32_t i = 0; i < config->dialer_count; i++)
        if (config->dialers[i].transport == HF_TRANSPORT_TLS)
            return true;
    return false;
}
