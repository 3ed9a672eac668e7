/**
 * config_test.c - defaults, and the limits of every field: the last value that is taken and the
 * first that is not.
 */
#include "core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct hf_listener listeners[HF_LISTENERS_MAX];

static struct hf_config good_config(void)
{
    struct hf_config config;
    hf_config_init(&config);
    for (size_t i = 0; i < HF_LISTENERS_MAX; i++)
        hf_listener_init(&listeners[i], i % 2 ? HF_TRANSPORT_TLS : HF_TRANSPORT_DTLS);
    config.listeners = listeners;
    config.listener_count = 2;
    return config;
}

static void check_good(const struct hf_config *config)
{
    const char *why = NULL;
    assert_int_equal(hf_config_check(&why, config), HF_OK);
    assert_string_equal(why, "");
    assert_int_equal(hf_config_check(NULL, config), HF_OK);
}

static void request(struct hf_engine *engine, const struct hf_request *asked, void *arg)
{
    (void)engine;
    (void)asked;
    (void)arg;
}

/* Refused, with the field named, and neither measured nor opened. */
static void check_bad(const struct hf_config *config, const char *field)
{
    const struct hf_key_source source = {.request = request};
    struct hf_engine *engine = (void *)&engine;
    const char *why = NULL;
    assert_int_equal(hf_config_check(&why, config), HF_E_CONFIG);
    assert_non_null(strstr(why, field));
    assert_int_equal(hf_config_check(NULL, config), HF_E_CONFIG);
    assert_int_equal(hf_config_memory(config), 0);
    assert_int_equal(hf_engine_open(&engine, config, &source), HF_E_CONFIG);
    assert_null(engine);
}

static void test_defaults_are_good_and_as_documented(void **state)
{
    struct hf_config config = good_config();
    (void)state;
    check_good(&config);
    config.listener_count = 0;
    check_good(&config);
    assert_int_equal(config.associations_max, 16384);
    assert_int_equal(config.handshakes_max, 4096);
    assert_int_equal(config.identity_len_max, 1024);
    assert_int_equal(config.retransmit_us_initial, 1000000);
    hf_config_use_constrained_timers(&config);
    assert_int_equal(config.retransmit_us_initial, 9000000); /* RFC 7925 11 */
    assert_int_equal(config.handshake_us_max, 120000000);
    check_good(&config);
}

static void test_mandatory_suites_come_first(void **state)
{
    struct hf_listener listener;
    (void)state;
    hf_listener_init(&listener, HF_TRANSPORT_TLS);
    assert_int_equal(listener.suites[0], HF_SUITE_PSK_AES_128_CBC_SHA256); /* TS-0003 10.2.2 */
    assert_int_equal(listener.suites[4], HF_SUITE_ECDHE_ECDSA_AES_128_CBC_SHA256); /* 10.2.3 */
    assert_int_equal(listener.suite_count, 8);
    assert_true(listener.encrypt_then_mac);
    assert_int_equal(listener.psk_hint_len, 0);
    hf_listener_init(&listener, HF_TRANSPORT_DTLS);
    assert_int_equal(listener.suites[0], HF_SUITE_PSK_AES_128_CCM_8);
    assert_int_equal(listener.suites[4], HF_SUITE_ECDHE_ECDSA_AES_128_CCM_8);
    assert_int_equal(listener.datagram_len_max, 1200);
}

/* Fields of 32 bits, the values at their ends and those beyond; HF_NONE: there is none beyond. */
#define FIELD(name) #name, offsetof(struct hf_config, name)

static const struct {
    const char *name;
    size_t offset;
    uint32_t min, max, below, above;
} fields[] = {
    {FIELD(shard_index), 0, 255, HF_NONE, 256},
    {FIELD(associations_max), 4096, 1u << 24, 0, (1u << 24) + 1},
    {FIELD(handshakes_max), 1, 16384, 0, 16385},
    {FIELD(identity_len_max), 128, 1250, 127, 1251},
    {FIELD(message_len_max), 512, 65536, 511, 65537},
    {FIELD(deferred_len_max), 0, 16384, HF_NONE, 16385},
    {FIELD(stream_buffers_max), 1, 100000, 0, HF_NONE},
    {FIELD(output_len_max), 65536, 1u << 28, 65535, (1u << 28) + 1},
    {FIELD(events_max), 64, 1u << 20, 63, (1u << 20) + 1},
    {FIELD(local_addresses_max), 1, 65535, 0, 65536},
    {FIELD(handshakes_per_prefix_max), 1, 100000, 0, HF_NONE},
    {FIELD(trials_per_second), 1, 32767, 0, 32768},
    {FIELD(forgeries_max), 1, 1u << 31, 0, HF_NONE},
    {FIELD(listener_count), 0, 64, HF_NONE, 65},
};

static void test_limits_of_each_field(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        struct hf_config config = good_config();
        uint8_t *field = (uint8_t *)&config + fields[i].offset;
        memcpy(field, &fields[i].min, sizeof fields[i].min);
        check_good(&config);
        memcpy(field, &fields[i].max, sizeof fields[i].max);
        check_good(&config);
        memcpy(field, &fields[i].below, sizeof fields[i].below);
        if (fields[i].below != HF_NONE)
            check_bad(&config, fields[i].name);
        memcpy(field, &fields[i].above, sizeof fields[i].above);
        if (fields[i].above != HF_NONE)
            check_bad(&config, fields[i].name);
    }
    struct hf_config config = good_config();
    config.associations_max = config.handshakes_max - 1;
    check_bad(&config, "handshakes_max");
}

static void test_times(void **state)
{
    static const size_t offsets[] = {
        offsetof(struct hf_config, hello_us_max), offsetof(struct hf_config, handshake_us_max),
        offsetof(struct hf_config, answer_us_max), offsetof(struct hf_config, record_us_max),
        offsetof(struct hf_config, retransmit_us_initial)};
    const uint64_t zero = 0;
    struct hf_config config;
    (void)state;
    for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
        config = good_config();
        memcpy((uint8_t *)&config + offsets[i], &zero, sizeof zero);
        check_bad(&config, "_us_");
    }
    config = good_config();
    config.idle_us_max = 1;
    check_good(&config);
    config.retransmit_us_max = config.retransmit_us_initial;
    check_good(&config);
    config.retransmit_us_max--;
    check_bad(&config, "retransmit_us_initial");
    config = good_config();
    config.cookie_us_max = 1000000;
    check_good(&config);
    config.cookie_us_max--;
    check_bad(&config, "cookie_us_max");
    config = good_config();
    config.prefix_bits_v4 = 33;
    check_bad(&config, "prefix_bits_v4");
    config.prefix_bits_v4 = 0;
    config.prefix_bits_v6 = 129;
    check_bad(&config, "prefix_bits_v6");
    config.prefix_bits_v6 = 128;
    check_good(&config);
}

static void test_listeners(void **state)
{
    struct hf_config config = good_config();
    struct hf_listener *last = &listeners[1];
    (void)state;
    last->suite_count = 0;
    check_bad(&config, "suites");
    last->suite_count = HF_SUITES_MAX + 1;
    check_bad(&config, "suites");
    last->suite_count = 1;
    last->suites[0] = 0x002F;
    check_bad(&config, "suite");
    last->suites[0] = 0;
    check_bad(&config, "suite");
    config = good_config();
    last->transport = (enum hf_transport)2;
    check_bad(&config, "transport");
    config = good_config();
    last->datagram_len_max = 255;
    check_bad(&config, "datagram_len_max");
    last->datagram_len_max = 256;
    check_good(&config);
    last->datagram_len_max = 4097;
    check_bad(&config, "datagram_len_max");
    config = good_config();
    last->psk_hint_len = HF_PSK_HINT_MAX;
    check_good(&config);
    last->psk_hint_len = HF_PSK_HINT_MAX + 1;
    check_bad(&config, "psk_hint_len");
}

static void test_memory_grows_with_each_limit(void **state)
{
    static const size_t offsets[] = {
        offsetof(struct hf_config, associations_max), offsetof(struct hf_config, handshakes_max),
        offsetof(struct hf_config, stream_buffers_max), offsetof(struct hf_config, output_len_max),
        offsetof(struct hf_config, events_max)};
    const struct hf_config config = good_config();
    size_t before = hf_config_memory(&config);
    (void)state;
    assert_int_not_equal(before, 0);
    for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
        struct hf_config larger = config;
        uint32_t *field = (uint32_t *)(void *)((uint8_t *)&larger + offsets[i]);
        *field += *field / 2;
        assert_true(hf_config_memory(&larger) > before);
    }
    assert_int_equal(hf_config_memory(&config), before); /* and says the same each time */
}

static void test_open_needs_a_source(void **state)
{
    const struct hf_key_source none = {0};
    const struct hf_config config = good_config();
    struct hf_engine *engine;
    (void)state;
    assert_int_equal(hf_engine_open(&engine, &config, NULL), HF_E_ARGUMENT);
    assert_null(engine);
    assert_int_equal(hf_engine_open(&engine, &config, &none), HF_E_ARGUMENT);
    assert_null(engine);
    hf_engine_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_are_good_and_as_documented),
        cmocka_unit_test(test_mandatory_suites_come_first),
        cmocka_unit_test(test_limits_of_each_field),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_listeners),
        cmocka_unit_test(test_memory_grows_with_each_limit),
        cmocka_unit_test(test_open_needs_a_source),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
