/**
 * psk_client_test.c - the test client's own timers, reassembly and ways to misbehave: tests that
 * use them to prove something about the engine must be able to rely on them.
 * Handshakes with it are tried elsewhere, against servers that are not ours.
 */
#include "psk_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

struct wire {
    struct psk_client_config config;
    struct psk_client_work work;
    struct psk_client client;
    size_t count; /* datagrams */
    size_t len[64];
    uint8_t bytes[64][2048];
};

static void emit(const uint8_t *data, size_t len, void *arg)
{
    struct wire *wire = arg;
    assert_true(wire->count < 64 && len <= 2048);
    memcpy(wire->bytes[wire->count], data, len);
    wire->len[wire->count++] = len;
}

static struct wire *wire_open(void)
{
    static const uint8_t random[32] = {1, 2, 3};
    static struct wire wire;
    memset(&wire, 0, sizeof(wire));
    wire.config.is_dtls = true;
    wire.config.suite_count = 1;
    wire.config.suites[0] = 0xC0A8;
    wire.config.identity = (struct hf_bytes){(const uint8_t *)"dev", 3};
    wire.config.psk = (struct hf_bytes){random, 16};
    wire.config.client_random = random;
    wire.config.work = &wire.work;
    return &wire;
}

static void start(struct wire *wire)
{
    psk_client_init(&wire->client, &wire->config);
    psk_client_start(&wire->client, 1000, emit, wire);
}

static void test_hello_leaves_as_one_record(void **state)
{
    struct wire *wire = wire_open();
    (void)state;
    start(wire);
    static const uint8_t head[] = {22, 0xFE, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0};
    assert_int_equal(wire->count, 1);
    assert_memory_equal(wire->bytes[0], head, sizeof(head));
    assert_int_equal(wire->len[0], 13 + 12 + 2 + 32 + 1 + 1 + 2 + 4 + 2);
    assert_int_equal(wire->client.state, PSK_CLIENT_AWAIT_HELLO);
}

static void test_timer_doubles_up_to_a_minute(void **state)
{
    struct wire *wire = wire_open();
    (void)state;
    start(wire);
    uint64_t due_us = psk_client_next_us(&wire->client);
    uint64_t wait_us = 1000000;
    assert_int_equal(due_us, 1000 + wait_us);
    psk_client_tick(&wire->client, due_us - 1, emit, wire);
    assert_int_equal(wire->count, 1);
    for (size_t i = 1; i < 9; i++) {
        psk_client_tick(&wire->client, due_us, emit, wire);
        assert_int_equal(wire->count, i + 1);
        /* The same message under a new record number. */
        assert_memory_equal(wire->bytes[i] + 13, wire->bytes[0] + 13, wire->len[0] - 13);
        assert_int_equal(wire->bytes[i][10], i);
        wait_us = wait_us * 2 < 60000000 ? wait_us * 2 : 60000000;
        assert_int_equal(psk_client_next_us(&wire->client), due_us + wait_us);
        due_us += wait_us;
    }
    assert_int_equal(wire->client.counters.retransmissions, 8);
}

/* HelloVerifyRequest with a cookie of 4 bytes: the fragment [offset, offset + len) of its body. */
static size_t verify_request(uint8_t *out, uint8_t number, uint8_t offset, uint8_t len)
{
    static const uint8_t body[] = {0xFE, 0xFF, 4, 9, 8, 7, 6};
    uint8_t head[25] = {22, 0xFE, 0xFF};
    head[10] = number;
    head[12] = (uint8_t)(12 + len);
    head[13] = 3;
    head[16] = sizeof(body);
    head[21] = offset;
    head[24] = len;
    memcpy(out, head, sizeof(head));
    memcpy(out + sizeof(head), body + offset, len);
    return sizeof(head) + len;
}

static void feed(struct wire *wire, uint8_t number, uint8_t offset, uint8_t len)
{
    uint8_t bytes[64];
    size_t bytes_len = verify_request(bytes, number, offset, len);
    psk_client_receive(&wire->client, 2000, bytes, bytes_len, emit, NULL, wire);
}

static void test_cookie_is_returned_once(void **state)
{
    struct wire *wire = wire_open();
    static const uint8_t cookie[] = {4, 9, 8, 7, 6};
    (void)state;
    start(wire);
    feed(wire, 0, 0, 7);
    assert_int_equal(wire->count, 2);
    assert_memory_equal(wire->bytes[1] + 25 + 2 + 32 + 1, cookie, sizeof(cookie));
    assert_int_equal(wire->bytes[1][18], 1); /* message_seq */
    feed(wire, 1, 0, 7);
    assert_int_equal(wire->count, 2);
}

static void test_fragments_in_any_order_with_overlap(void **state)
{
    struct wire *wire = wire_open();
    (void)state;
    start(wire);
    feed(wire, 0, 4, 3);
    feed(wire, 1, 0, 2);
    feed(wire, 2, 0, 2);
    feed(wire, 3, 6, 1);
    assert_int_equal(wire->count, 1);
    feed(wire, 4, 1, 4);
    assert_int_equal(wire->count, 2);
    assert_int_equal(wire->client.counters.hello_verify_requests, 1);
}

static void test_sent_fragments_make_up_the_message(void **state)
{
    struct wire *wire = wire_open();
    uint8_t body[256];
    size_t len = 0;
    (void)state;
    wire->config.fragment_len_max = 10;
    wire->config.is_one_record_per_datagram = true;
    start(wire);
    for (size_t i = 0; i < wire->count; i++) {
        assert_int_equal(wire->bytes[i][21], len); /* fragment_offset */
        memcpy(body + len, wire->bytes[i] + 25, wire->len[i] - 25);
        len += wire->len[i] - 25;
    }
    size_t fragment_count = wire->count;
    assert_true(fragment_count == (len + 9) / 10);
    wire->config.fragment_len_max = 0;
    start(wire);
    assert_int_equal(len, wire->len[fragment_count] - 25);
    assert_memory_equal(body, wire->bytes[fragment_count] + 25, len);
}

static enum psk_client_verdict tamper(enum psk_client_tamper_kind kind, uint8_t type, uint8_t *data,
                                      size_t *len, size_t max, void *arg)
{
    const enum psk_client_tamper_kind *wanted = arg;
    assert_true(*len < max);
    if (kind == *wanted) {
        assert_int_equal(type, kind == PSK_CLIENT_TAMPER_MESSAGE ? 1 : 22);
        data[(*len)++] = 0x55;
    }
    return PSK_CLIENT_SEND;
}

static void test_tampering_reaches_the_wire(void **state)
{
    struct wire *wire = wire_open();
    enum psk_client_tamper_kind kind = PSK_CLIENT_TAMPER_MESSAGE;
    (void)state;
    start(wire);
    wire->config.tamper = tamper;
    wire->config.tamper_arg = &kind;
    start(wire);
    kind = PSK_CLIENT_TAMPER_RECORD;
    start(wire);
    /* In the message: the record grows with it, the length the message claims does not. */
    assert_int_equal(wire->len[1], wire->len[0] + 1);
    assert_int_equal(wire->bytes[1][12], wire->bytes[0][12] + 1);
    assert_int_equal(wire->bytes[1][16], wire->bytes[0][16]);
    assert_int_equal(wire->bytes[1][wire->len[1] - 1], 0x55);
    /* In the record: only the datagram grows. */
    assert_int_equal(wire->len[2], wire->len[0] + 1);
    assert_memory_equal(wire->bytes[2], wire->bytes[0], wire->len[0]);
}

static enum psk_client_verdict drop(enum psk_client_tamper_kind kind, uint8_t type, uint8_t *data,
                                    size_t *len, size_t max, void *arg)
{
    (void)kind, (void)type, (void)data, (void)len, (void)max, (void)arg;
    return PSK_CLIENT_SKIP;
}

static void test_skipped_messages_do_not_leave(void **state)
{
    struct wire *wire = wire_open();
    (void)state;
    wire->config.tamper = drop;
    start(wire);
    assert_int_equal(wire->count, 0);
}

static void test_raw_record_is_sent_as_told(void **state)
{
    struct wire *wire = wire_open();
    static const uint8_t payload[] = {1, 2, 3};
    static const uint8_t expected[] = {23, 0xFE, 0xFC, 0, 5, 0, 0, 0, 0, 1, 2, 0, 3, 1, 2, 3};
    struct psk_client_record record = {
        .type = 23, .version = 0xFEFC, .epoch = 5, .seq = 0x102, .payload = {payload, 3}};
    (void)state;
    start(wire);
    psk_client_send_record(&wire->client, &record, emit, wire);
    assert_int_equal(wire->len[1], sizeof(expected));
    assert_memory_equal(wire->bytes[1], expected, sizeof(expected));
}

static void test_plain_fatal_alert_ends_a_handshake(void **state)
{
    struct wire *wire = wire_open();
    uint8_t alert[] = {21, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 40};
    (void)state;
    start(wire);
    psk_client_receive(&wire->client, 2000, alert, sizeof(alert), emit, NULL, wire);
    assert_int_equal(wire->client.state, PSK_CLIENT_FAILED);
    assert_int_equal(wire->client.alert, 40);
    assert_true(psk_client_next_us(&wire->client) == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hello_leaves_as_one_record),
        cmocka_unit_test(test_timer_doubles_up_to_a_minute),
        cmocka_unit_test(test_cookie_is_returned_once),
        cmocka_unit_test(test_fragments_in_any_order_with_overlap),
        cmocka_unit_test(test_sent_fragments_make_up_the_message),
        cmocka_unit_test(test_tampering_reaches_the_wire),
        cmocka_unit_test(test_skipped_messages_do_not_leave),
        cmocka_unit_test(test_raw_record_is_sent_as_told),
        cmocka_unit_test(test_plain_fatal_alert_ends_a_handshake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
