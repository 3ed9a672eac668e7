/**
 * transfer.c - fuzz target: chunks of associations or sessions from another engine. Whatever is
 * taken over can be used, ended, and given on: another that takes it has the same.
 */
#include "core.h"
#include "fuzz.h"

#include <handfast/transfer.h>

static void take_request(struct hf_engine *engine, const struct hf_request *request, void *arg)
{
    (void)engine;
    (void)request;
    (void)arg;
}

static struct hf_engine *open_engine(void)
{
    static struct hf_listener listeners[2];
    static struct hf_config config;
    const struct hf_key_source source = {take_request, NULL, NULL};
    struct hf_engine *engine;
    hf_config_init(&config);
    config.associations_max = config.handshakes_max = config.handshakes_pressure = 8;
    config.events_max = 64;
    config.stream_buffers_max = 3;
    config.output_len_max = 65536;
    config.local_addresses_max = 3;
    hf_listener_init(&listeners[0], HF_TRANSPORT_DTLS);
    hf_listener_init(&listeners[1], HF_TRANSPORT_TLS);
    config.listener_count = 2;
    config.listeners = listeners;
    FUZZ_CHECK(hf_engine_open(&engine, &config, &source) == HF_OK);
    FUZZ_CHECK(hf_engine_import_begin(engine, 50000000000, 1760000000) == HF_OK);
    return engine;
}

static uint32_t end(struct hf_engine *engine)
{
    struct hf_transfer_counts counts;
    struct hf_counters counters;
    hf_engine_import_end(&counts, engine);
    hf_engine_counters(&counters, engine);
    FUZZ_CHECK(counts.associations == counters.associations);
    FUZZ_CHECK(counts.associations <= 8);
    return counts.associations;
}

/* What was taken over goes on to a third engine, which has the same. */
static void give_on(const struct hf_engine *engine, uint32_t count)
{
    static uint8_t chunk[4 * HF_TRANSFER_CHUNK_MIN];
    struct hf_transfer *transfer;
    struct hf_association_entry mine, theirs;
    struct hf_association_info info, other;
    uint32_t cursor = 0, cursor_there = 0;
    size_t len;
    struct hf_engine *third = open_engine();
    FUZZ_CHECK(hf_transfer_open(&transfer, engine) == HF_OK);
    FUZZ_CHECK(hf_transfer_write(chunk, &len, sizeof chunk, transfer, engine, 100) == HF_OK);
    FUZZ_CHECK(len == 0 || hf_engine_import(third, (struct hf_bytes){chunk, len}) == HF_OK);
    FUZZ_CHECK(hf_transfer_write(chunk, &len, sizeof chunk, transfer, engine, 100) == HF_OK);
    hf_transfer_close(transfer);
    FUZZ_CHECK(end(third) == (fuzz_is_canary() ? 0 : count));
    while (hf_engine_next_association(&mine, &cursor, engine, UINT32_MAX)) {
        FUZZ_CHECK(hf_engine_next_association(&theirs, &cursor_there, third, UINT32_MAX));
        FUZZ_CHECK(mine.association == theirs.association);
        FUZZ_CHECK(hf_engine_association_info(&info, engine, mine.association) == HF_OK);
        FUZZ_CHECK(hf_engine_association_info(&other, third, mine.association) == HF_OK);
        FUZZ_CHECK(memcmp(&info, &other, sizeof info) == 0);
    }
    hf_engine_close(third);
}

/* Some of the input again, as what a peer says. */
static void use(struct hf_engine *engine, struct hf_bytes rest)
{
    struct hf_association_entry entry;
    struct hf_association_info info;
    struct hf_event event;
    struct hf_output output;
    uint32_t cursor = 0;
    uint64_t now_us = 50000000000;
    while (hf_engine_next_association(&entry, &cursor, engine, UINT32_MAX)) {
        uint8_t *copy = fuzz_copy(rest);
        size_t consumed;
        hf_engine_begin_turn(engine, now_us += 20000, 1760000000);
        if (hf_engine_association_info(&info, engine, entry.association) == HF_OK) {
            struct hf_datagram datagram = {.path = info.path, .data = copy, .len = rest.len};
            (void)hf_engine_send(engine, entry.association, (struct hf_bytes){copy, rest.len});
            if (info.transport == HF_TRANSPORT_DTLS)
                (void)hf_engine_receive_datagram(engine, &datagram);
            else
                (void)hf_engine_receive_stream(engine, &consumed, entry.association, copy,
                                               rest.len);
        }
        hf_engine_end_turn(engine);
        while (hf_engine_take_event(engine, &event) || hf_engine_take_output(engine, &output))
            continue;
        free(copy);
    }
    hf_engine_begin_turn(engine, now_us + 3600000000, 1760003600);
    hf_engine_end_turn(engine);
}

static struct hf_session_cache *open_cache(void)
{
    struct hf_session_cache *cache;
    FUZZ_CHECK(hf_session_cache_open(&cache, 32) == HF_OK);
    return cache;
}

/* Sessions of a cache: what is taken is given on, and another takes all of that. */
static void take_sessions(struct hf_bytes input)
{
    static uint8_t chunk[HF_TRANSFER_CHUNK_MIN];
    struct hf_session_cache *second = open_cache(), *third = open_cache();
    struct hf_session_copy_counts taken = {0}, given = {0};
    struct hf_session_copy *copy;
    enum hf_status status = HF_WAITING;
    uint8_t *exact = fuzz_copy(input);
    (void)hf_session_copy_take(&taken, second, (struct hf_bytes){exact, input.len}, 1760000000);
    free(exact);
    FUZZ_CHECK(hf_session_copy_open(&copy, second) == HF_OK);
    while (status == HF_WAITING) {
        size_t len;
        status = hf_session_copy_write(chunk, &len, sizeof chunk, copy, 1760000000);
        FUZZ_CHECK(len == 0 || hf_session_copy_take(&given, third, (struct hf_bytes){chunk, len},
                                                    1760000000) == HF_OK);
    }
    FUZZ_CHECK(status == HF_OK && given.left_out == 0);
    FUZZ_CHECK(given.taken == hf_session_copy_written(copy) && given.taken <= taken.taken);
    hf_session_copy_close(copy);
    hf_session_cache_close(second);
    hf_session_cache_close(third);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    fuzz_random_restart(3);
    fuzz_forge(0);
    struct hf_engine *engine = open_engine();
    struct hf_bytes input = {data, len};
    take_sessions(input);
    uint8_t *copy = fuzz_copy(input);
    (void)hf_engine_import(engine, (struct hf_bytes){copy, len});
    free(copy);
    uint32_t count = end(engine);
    give_on(engine, count);
    size_t rest = len < 300 ? len : 300;
    use(engine, (struct hf_bytes){data + len - rest, rest});
    hf_engine_close(engine);
    return 0;
}
