/**
 * memory_test.c - what hf_config promises about memory: it is known before the engine opens, mapped
 * once, touched as it is used, given back at the end; and serving allocates nothing.
 *
 * malloc and its kin are replaced in this program by versions that count, for the shared libraries
 * it uses too (BoringSSL's among them).
 */
#include "psk_client.h"

#include <handfast/handfast.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define HANDSHAKES 1000
#define QUEUE_LEN_MAX 65536

/* ---- counting ------------------------------------------------------------------------------- */

#ifndef HF_SANITIZED
/* Shared libraries call these as well. */
#define EVERYWHERE __attribute__((visibility("default")))

extern void *__libc_malloc(size_t len);
extern void *__libc_calloc(size_t count, size_t len);
extern void *__libc_realloc(void *data, size_t len);
extern void __libc_free(void *data);

static uint64_t allocations; /* this program has one thread */

EVERYWHERE void *malloc(size_t len)
{
    allocations++;
    return __libc_malloc(len);
}

EVERYWHERE void *calloc(size_t count, size_t len)
{
    allocations++;
    return __libc_calloc(count, len);
}

EVERYWHERE void *realloc(void *data, size_t len)
{
    allocations++;
    return __libc_realloc(data, len);
}

EVERYWHERE void free(void *data)
{
    __libc_free(data);
}
#else
static uint64_t allocations; /* a sanitizer's malloc is its own */
#endif

/** Pages of address space, and pages resident. */
static void pages(uint64_t *mapped, uint64_t *resident)
{
    static char text[128];
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long a = 0, b = 0;
    assert_non_null(file);
    assert_non_null(fgets(text, sizeof text, file));
    assert_int_equal(sscanf(text, "%lu %lu", &a, &b), 2);
    (void)fclose(file);
    *mapped = a;
    *resident = b;
}

/* ---- an engine and its clients -------------------------------------------------------------- */

static const uint8_t KEY[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

static void request(struct hf_engine *engine, const struct hf_request *asked, void *arg)
{
    (void)arg;
    const struct hf_answer answer = {
        .kind = HF_ANSWER_PSK,
        .framework = HF_FRAMEWORK_PROVISIONED_SYMMETRIC_KEY,
        .secret = {KEY, sizeof KEY},
        .entity_id = {(const uint8_t *)"/in-cse/Cmemory", 15},
        .credential_id = asked->psk_identity,
    };
    assert_int_equal(hf_engine_answer(engine, asked->ticket, &answer), HF_OK);
}

static const struct hf_key_source source = {.request = request};

static void small_config(struct hf_config *config, struct hf_listener listeners[2])
{
    hf_listener_init(&listeners[0], HF_TRANSPORT_DTLS);
    hf_listener_init(&listeners[1], HF_TRANSPORT_TLS);
    hf_config_init(config);
    config->listeners = listeners;
    config->listener_count = 2;
}

/** What goes one way, each datagram or stretch of stream behind its length. */
struct queue {
    size_t len;
    uint8_t data[QUEUE_LEN_MAX];
};

static void put(const uint8_t *data, size_t len, void *arg)
{
    struct queue *queue = arg;
    uint32_t head = (uint32_t)len;
    assert_true(queue->len + sizeof head + len <= QUEUE_LEN_MAX);
    memcpy(queue->data + queue->len, &head, sizeof head);
    memcpy(queue->data + queue->len + sizeof head, data, len);
    queue->len += sizeof head + len;
}

/** One client, its wires, its path. */
struct peer {
    struct hf_engine *engine;
    struct psk_client client;
    struct psk_client_work work;
    struct hf_path path;
    hf_association_id association;
    bool is_dtls, is_closed;
    uint32_t echoes;
    struct queue to_engine, to_client;
};

static void got_echo(const uint8_t *data, size_t len, void *arg)
{
    (void)arg;
    assert_int_equal(len, 5);
    assert_memory_equal(data, "hello", 5);
}

static void give(struct peer *peer)
{
    struct queue *queue = &peer->to_engine;
    for (size_t at = 0; at < queue->len;) {
        uint32_t len;
        size_t consumed = 0;
        memcpy(&len, queue->data + at, sizeof len);
        at += sizeof len;
        struct hf_datagram datagram = {.path = peer->path, .data = queue->data + at, .len = len};
        if (peer->is_dtls)
            assert_int_equal(hf_engine_receive_datagram(peer->engine, &datagram), HF_OK);
        else
            assert_int_equal(hf_engine_receive_stream(peer->engine, &consumed, peer->association,
                                                      queue->data + at, len),
                             HF_OK);
        at += len;
    }
}

static void take(struct peer *peer)
{
    struct hf_event event;
    struct hf_output output;
    while (hf_engine_take_event(peer->engine, &event)) {
        if (event.kind == HF_EVENT_DATA) {
            peer->echoes++;
            assert_int_equal(hf_engine_send(peer->engine, event.association, event.data), HF_OK);
        } else if (event.kind == HF_EVENT_PEER_CLOSED) {
            hf_engine_close_association(peer->engine, event.association, HF_CLOSE_NOTIFY);
        } else if (event.kind == HF_EVENT_CLOSED) {
            peer->is_closed = true;
        }
    }
    while (hf_engine_take_output(peer->engine, &output))
        put(output.data.data, output.data.len, &peer->to_client);
}

static void turn(struct peer *peer, uint64_t now_us)
{
    hf_engine_begin_turn(peer->engine, now_us, 1000000);
    give(peer);
    hf_engine_end_turn(peer->engine);
    take(peer);
    take(peer); /* what closing in answer to an event has caused */
    peer->to_engine.len = 0;
    struct queue *queue = &peer->to_client;
    for (size_t at = 0; at < queue->len;) {
        uint32_t len;
        memcpy(&len, queue->data + at, sizeof len);
        at += sizeof len;
        psk_client_receive(&peer->client, now_us, queue->data + at, len, put, got_echo,
                           &peer->to_engine);
        at += len;
    }
    queue->len = 0;
}

/** One association from hello to close_notify, with an echo in between. */
static void serve_one(struct peer *peer, struct hf_engine *engine, uint32_t number,
                      uint64_t *now_us)
{
    const uint8_t ip[4] = {192, 0, 2, 1};
    struct psk_client_config config = {
        .is_dtls = number % 2 == 0,
        .extended_master_secret = true,
        .suite_count = 1,
        .suites = {number % 2 == 0 ? HF_SUITE_PSK_AES_128_CCM_8 : HF_SUITE_PSK_AES_128_CBC_SHA256},
        .identity = {(const uint8_t *)"memory", 6},
        .psk = {KEY, sizeof KEY},
        .work = &peer->work,
    };
    peer->engine = engine;
    peer->is_dtls = config.is_dtls;
    peer->is_closed = false;
    peer->echoes = 0;
    peer->path =
        (struct hf_path){hf_address_v4(ip, (uint16_t)(1024 + number)), hf_address_v4(ip, 5684)};
    psk_client_init(&peer->client, &config);
    *now_us += 1000;
    if (!peer->is_dtls) {
        hf_engine_begin_turn(engine, *now_us, 1000000);
        assert_int_equal(hf_engine_accept(&peer->association, engine, 1, &peer->path, number),
                         HF_OK);
        hf_engine_end_turn(engine);
    }
    psk_client_start(&peer->client, *now_us, put, &peer->to_engine);
    for (int i = 0; i < 10 && peer->client.state != PSK_CLIENT_OPEN; i++)
        turn(peer, *now_us += 1000);
    assert_int_equal(peer->client.state, PSK_CLIENT_OPEN);
    psk_client_send(&peer->client, (const uint8_t *)"hello", 5, put, &peer->to_engine);
    turn(peer, *now_us += 1000);
    assert_int_equal(peer->echoes, 1);
    assert_int_equal(peer->client.counters.data_in_len, 5);
    psk_client_end(&peer->client, put, &peer->to_engine);
    turn(peer, *now_us += 1000);
    assert_true(peer->is_closed);
}

/* ---- the tests ------------------------------------------------------------------------------ */

static void test_memory_is_what_the_config_says(void **state)
{
    (void)state;
    static const struct {
        uint32_t associations, handshakes, streams;
    } sizes[] = {{1, 1, 1}, {1000, 100, 8}, {16384, 4096, 256}, {1u << 20, 65536, 1024}};
    struct hf_config config;
    struct hf_listener listeners[2];
    struct hf_engine *engine;
    small_config(&config, listeners);
    /* What a library maps once, for itself, is not the engine's. */
    assert_int_equal(hf_engine_open(&engine, &config, &source), HF_OK);
    hf_engine_close(engine);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint64_t mapped[3], resident[3];
        struct hf_counters counters;
        size_t page_len = (size_t)sysconf(_SC_PAGESIZE);
        config.associations_max = sizes[i].associations;
        config.handshakes_max = sizes[i].handshakes;
        config.stream_buffers_max = sizes[i].streams;
        size_t promised = hf_config_memory(&config);
        pages(&mapped[0], &resident[0]);
        assert_int_equal(hf_engine_open(&engine, &config, &source), HF_OK);
        pages(&mapped[1], &resident[1]);
        hf_engine_counters(&counters, engine);
        hf_engine_close(engine);
        pages(&mapped[2], &resident[2]);
        assert_int_equal(counters.memory_len, promised);
        assert_int_equal((mapped[1] - mapped[0]) * page_len, promised);
        assert_int_equal(mapped[2], mapped[0]);
#ifndef HF_SANITIZED
        assert_true((resident[1] - resident[0]) * page_len < 256 * 1024);
        print_message("%8u associations: %7zu KiB mapped, %zu KiB touched\n",
                      config.associations_max, promised / 1024,
                      (size_t)(resident[1] - resident[0]) * page_len / 1024);
#endif
    }
}

static void test_an_unusable_config_needs_no_memory(void **state)
{
    (void)state;
    struct hf_config config;
    struct hf_listener listeners[2];
    struct hf_engine *engine = (struct hf_engine *)&config;
    const char *why = NULL;
    small_config(&config, listeners);
    config.handshakes_max = config.associations_max + 1;
    assert_int_equal(hf_config_memory(&config), 0);
    assert_int_equal(hf_config_check(&why, &config), HF_E_CONFIG);
    assert_true(strncmp(why, "handshakes_max:", 15) == 0);
    assert_int_equal(hf_engine_open(&engine, &config, &source), HF_E_CONFIG);
    assert_null(engine);
    small_config(&config, listeners);
    assert_int_equal(hf_engine_open(&engine, &config, NULL), HF_E_ARGUMENT);
    assert_null(engine);
}

static void test_serving_allocates_nothing(void **state)
{
    (void)state;
    struct hf_config config;
    struct hf_listener listeners[2];
    struct hf_engine *engine;
    struct hf_counters counters;
    static struct peer peer;
    uint64_t mapped[2], resident, now_us = 0;
    small_config(&config, listeners);
    assert_int_equal(hf_engine_open(&engine, &config, &source), HF_OK);
    pages(&mapped[0], &resident);
    uint64_t before = allocations;
    for (uint32_t i = 0; i < HANDSHAKES; i++)
        serve_one(&peer, engine, i, &now_us);
    uint64_t after = allocations;
    pages(&mapped[1], &resident);
    hf_engine_counters(&counters, engine);
    assert_int_equal(counters.handshakes[HF_OK], HANDSHAKES);
    assert_int_equal(counters.associations, 0);
    assert_int_equal(counters.handshakes_open, 0);
    hf_engine_close(engine);
#ifndef HF_SANITIZED
    assert_int_equal(after - before, 0);
    assert_int_equal(mapped[1], mapped[0]);
#else
    (void)before, (void)after;
#endif
}

/* The counter itself must be able to count. */
static void test_the_counter_sees_an_allocation(void **state)
{
    (void)state;
#ifndef HF_SANITIZED
    uint64_t before = allocations;
    void *volatile block = malloc(100);
    free(block);
    assert_int_equal(allocations - before, 1);
    char *volatile copy = strdup("a shared library's malloc is this one too");
    free(copy);
    assert_int_equal(allocations - before, 2);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_counter_sees_an_allocation),
        cmocka_unit_test(test_memory_is_what_the_config_says),
        cmocka_unit_test(test_an_unusable_config_needs_no_memory),
        cmocka_unit_test(test_serving_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
