/**
 * upstream.c - which listener has which upstream, and who takes what happens.
 */
#include "upstream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- opening and closing ---- */

static const char *upstream_fault(const struct hf_loop_upstream *upstream,
                                  const struct hf_loop_config *config)
{
    const struct hf_address *address = &upstream->address;
    if (upstream->listener_index >= config->engine->listener_count)
        return "it names a listener that does not exist";
    if (address->port == 0)
        return "its address has no port";
    if (config->engine->listeners[upstream->listener_index].transport == HF_TRANSPORT_TLS)
        return NULL;
    if (!hf_address_is_v4(address)) {
        if (config->upstream_prefix.port == 0)
            return "IPv6 upstreams of datagrams need a prefix for the associations' own addresses";
        return memcmp(address->ip, config->upstream_prefix.ip, 8) == 0
                   ? "the prefix is for the associations' own addresses"
                   : NULL;
    }
    if (address->ip[12] != 127)
        return "for IPv4 datagrams it must be on 127.0.0.0/8: plaintext stays on this machine, and "
               "each association has an address there";
    if ((address->ip[13] & 0xc0) == 0x40)
        return "127.64.0.0/10 is for the associations' own addresses";
    return NULL;
}

static void upstream_set(struct hf_upstream *out, const struct hf_loop_upstream *from,
                         enum hf_transport transport)
{
    *out = (struct hf_upstream){
        .address = from->address,
        .is_there = true,
        .is_stream = transport == HF_TRANSPORT_TLS,
        .is_proxied = from->is_proxied,
        .is_entity_told = from->is_entity_told,
        .keep_us_max = from->keep_us_max,
    };
    memset(&out->peer, 0, sizeof out->peer);
    out->peer_len =
        hf_socket_address_store(&out->peer, &from->address, !hf_address_is_v4(&from->address));
}

enum hf_status hf_upstream_open(struct hf_loop *loop, char error[HF_LOOP_ERROR_MAX],
                                const struct hf_loop_config *config)
{
    bool is_needed[2] = {false, false}; /* by transport */
    bool has_entrance = false;
    for (uint32_t i = 0; i < config->socket_count; ++i)
        has_entrance |= config->sockets[i].is_plain;
    if (config->upstream_count == 0 && !has_entrance)
        return HF_OK;
    loop->upstreams = calloc(1, sizeof *loop->upstreams);
    if (!loop->upstreams) {
        snprintf(error, HF_LOOP_ERROR_MAX, "upstream: out of memory");
        return HF_E_MEMORY;
    }
    HF_COUNT(loop, memory_len, sizeof *loop->upstreams);
    for (uint32_t i = 0; i < config->upstream_count; ++i) {
        const struct hf_loop_upstream *upstream = &config->upstreams[i];
        const char *fault = upstream_fault(upstream, config);
        if (fault) {
            char text[HF_ADDRESS_TEXT_MAX];
            hf_socket_address_print(text, &upstream->address);
            snprintf(error, HF_LOOP_ERROR_MAX, "upstream %s: %s", text, fault);
            return HF_E_CONFIG;
        }
        enum hf_transport transport = config->engine->listeners[upstream->listener_index].transport;
        upstream_set(&loop->upstreams->of[upstream->listener_index], upstream, transport);
        is_needed[transport] = true;
    }
    enum hf_status status = HF_OK;
    if (is_needed[HF_TRANSPORT_DTLS])
        status = hf_upstream_datagram_open(loop, error, config);
    if (status == HF_OK && (is_needed[HF_TRANSPORT_TLS] || has_entrance))
        status = hf_upstream_stream_open(loop, error, config);
    return status == HF_OK && has_entrance ? hf_entrance_open(loop, error, config) : status;
}

void hf_upstream_close(struct hf_loop *loop)
{
    if (!loop->upstreams)
        return;
    hf_upstream_datagram_close(loop);
    hf_upstream_stream_close(loop);
    hf_entrance_close(loop);
    free(loop->upstreams);
    loop->upstreams = NULL;
}

/* ---- who takes what ---- */

bool hf_upstream_event(struct hf_loop *loop, const struct hf_event *event)
{
    const struct hf_upstream *upstream =
        loop->upstreams
            ? &loop->upstreams->of[hf_upstream_index(event->listener_index, event->is_client)]
            : NULL;
    if (!upstream || !upstream->is_there)
        return false;
    if (upstream->is_stream)
        hf_upstream_stream_event(loop, event);
    else if (event->is_client)
        hf_entrance_event(loop, event);
    else if (event->kind == HF_EVENT_DATA)
        hf_upstream_datagram_send(loop, event);
    return event->kind == HF_EVENT_DATA || event->kind == HF_EVENT_PEER_CLOSED;
}

void hf_upstream_complete(struct hf_loop *loop, const struct hf_completion *completion)
{
    if (completion->operation == HF_OPERATION_UPSTREAM_DATAGRAM)
        hf_upstream_datagram_received(loop, completion);
    else
        hf_upstream_stream_complete(loop, completion);
}

void hf_upstream_settle(struct hf_loop *loop)
{
    if (!loop->upstreams)
        return;
    hf_upstream_datagram_flush(loop);
    if (loop->upstreams->streams)
        hf_upstream_stream_settle(loop);
}

void hf_upstream_arm(struct hf_loop *loop)
{
    if (loop->upstreams)
        hf_upstream_datagram_arm(loop);
}

void hf_upstream_second(struct hf_loop *loop)
{
    if (!loop->upstreams)
        return;
    if (loop->upstreams->streams)
        hf_upstream_stream_second(loop);
    hf_entrance_second(loop);
}

bool hf_upstream_is_over(const struct hf_loop *loop)
{
    return loop->counters.upstream_connections == 0;
}
