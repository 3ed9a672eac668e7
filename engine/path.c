/**
 * path.c - see path.h; and the public helpers for addresses.
 */
#include "path.h"

#include <stdio.h>

static const uint8_t v4_mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};

struct hf_address hf_address_v4(const uint8_t ip[4], uint16_t port)
{
    struct hf_address address = {.port = port};
    memcpy(address.ip, v4_mapped, sizeof v4_mapped);
    memcpy(address.ip + sizeof v4_mapped, ip, 4);
    return address;
}

struct hf_address hf_address_v6(const uint8_t ip[16], uint16_t port, uint32_t scope)
{
    struct hf_address address = {.scope = scope, .port = port};
    memcpy(address.ip, ip, sizeof address.ip);
    return address;
}

bool hf_address_is_v4(const struct hf_address *address)
{
    return hf_bytes_equal_public(address->ip, v4_mapped, sizeof v4_mapped);
}

bool hf_prefix_holds(const struct hf_prefix *prefix, const struct hf_address *address)
{
    size_t whole = prefix->bits / 8, rest = prefix->bits % 8;
    uint8_t differing = 0;
    if (prefix->bits > 128 || !hf_bytes_equal_public(prefix->ip, address->ip, whole))
        return false;
    if (rest > 0)
        differing = (uint8_t)((prefix->ip[whole] ^ address->ip[whole]) >> (8 - rest));
    return differing == 0;
}

/** The longest run of zero groups, of at least two (RFC 5952 4.2). */
static size_t longest_zeros(const uint8_t ip[16], size_t *count)
{
    size_t best = 8, best_count = 1;
    for (size_t i = 0; i < 8; i++) {
        size_t run = 0;
        while (i + run < 8 && ip[2 * (i + run)] == 0 && ip[2 * (i + run) + 1] == 0)
            run++;
        if (run > best_count) {
            best = i;
            best_count = run;
        }
    }
    *count = best < 8 ? best_count : 0;
    return best;
}

char *hf_address_print(char out[HF_ADDRESS_TEXT_MAX], const struct hf_address *address)
{
    const uint8_t *ip = address->ip;
    size_t at = 0, zeros;
    if (hf_address_is_v4(address)) {
        snprintf(out, HF_ADDRESS_TEXT_MAX, "%u.%u.%u.%u:%u", ip[12], ip[13], ip[14], ip[15],
                 address->port);
        return out;
    }
    size_t zero_at = longest_zeros(ip, &zeros);
    out[at++] = '[';
    for (size_t i = 0; i < 8; i++) {
        if (zeros && i == zero_at) {
            at += (size_t)snprintf(out + at, HF_ADDRESS_TEXT_MAX - at, "::");
            i += zeros - 1;
            continue;
        }
        const char *colon = i > 0 && out[at - 1] != ':' ? ":" : "";
        at += (size_t)snprintf(out + at, HF_ADDRESS_TEXT_MAX - at, "%s%x", colon,
                               ip[2 * i] << 8 | ip[2 * i + 1]);
    }
    if (address->scope)
        at += (size_t)snprintf(out + at, HF_ADDRESS_TEXT_MAX - at, "%%%u", address->scope);
    snprintf(out + at, HF_ADDRESS_TEXT_MAX - at, "]:%u", address->port);
    return out;
}

static uint16_t find_local(const struct hf_engine *engine, const struct hf_address *local)
{
    for (uint32_t i = 0; i < engine->local_count; i++) {
        if (hf_bytes_equal_public(&engine->locals[i], local, sizeof *local))
            return (uint16_t)i;
    }
    return HF_PATH_LOCAL_NONE;
}

void hf_path_seek(struct hf_path_key *out, const struct hf_engine *engine,
                  const struct hf_path *path)
{
    *out = (struct hf_path_key){.scope = path->peer.scope,
                                .peer_port = path->peer.port,
                                .local_index = find_local(engine, &path->local)};
    memcpy(out->peer_ip, path->peer.ip, sizeof out->peer_ip);
}

bool hf_path_key(struct hf_path_key *out, struct hf_engine *engine, const struct hf_path *path)
{
    struct hf_path_key key;
    hf_path_seek(&key, engine, path);
    if (key.local_index == HF_PATH_LOCAL_NONE) {
        if (engine->local_count == engine->config.local_addresses_max)
            return false;
        key.local_index = (uint16_t)engine->local_count;
        engine->locals[engine->local_count++] = path->local;
    }
    *out = key;
    return true;
}
