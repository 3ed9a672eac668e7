/**
 * fake_names.c - what only forwarding asks of the engine. The tests under fake_engine.h forward
 * nothing, so there is nothing to say; upstream_*_test.c have the real engine.
 */
#include <handfast/engine.h>
#include <string.h>

uint32_t hf_engine_association_slots(const struct hf_engine *engine)
{
    (void)engine;
    return 0;
}

bool hf_engine_next_association(struct hf_association_entry *out, uint32_t *cursor,
                                const struct hf_engine *engine, uint32_t cursor_end)
{
    (void)out;
    (void)cursor;
    (void)engine;
    (void)cursor_end;
    return false;
}

bool hf_address_is_v4(const struct hf_address *address)
{
    return address->ip[10] == 0xff;
}

bool hf_prefix_holds(const struct hf_prefix *prefix, const struct hf_address *address)
{
    return memcmp(prefix->ip, address->ip, prefix->bits / 8) == 0; /* whole bytes are enough here */
}

struct hf_address hf_address_v4(const uint8_t ip[4], uint16_t port)
{
    struct hf_address address = {.ip = {[10] = 0xff, [11] = 0xff}, .port = port};
    memcpy(address.ip + 12, ip, 4);
    return address;
}

struct hf_address hf_address_v6(const uint8_t ip[16], uint16_t port, uint32_t scope)
{
    struct hf_address address = {.scope = scope, .port = port};
    memcpy(address.ip, ip, sizeof address.ip);
    return address;
}

const char *hf_suite_name(uint16_t suite)
{
    (void)suite;
    return "fake";
}

const char *hf_framework_name(enum hf_framework framework)
{
    (void)framework;
    return "fake";
}

const char *hf_reference_point_name(enum hf_reference_point reference_point)
{
    (void)reference_point;
    return "fake";
}
