/**
 * options_test.c - the command line of handfastd: what it means, and every way it is refused.
 */
#include "endpoint.h"
#include "options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

static struct hf_daemon_config options;
static struct hf_quota quotas[HF_QUOTAS_MAX];
static char error[HF_OPTIONS_ERROR_MAX];

/* The loop's defaults, as its header gives them: this test has no loop. */
void hf_loop_config_init(struct hf_loop_config *config)
{
    *config = (struct hf_loop_config){.connections_max = 4096};
}

/* Cuts `line` at blanks. */
static bool parse(const char *line)
{
    static char copy[1024];
    char *argv[64] = {(char *)"handfastd"};
    char *rest = NULL;
    int argc = 1;
    snprintf(copy, sizeof(copy), "%s", line);
    for (char *word = strtok_r(copy, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest))
        argv[argc++] = word;
    error[0] = '\0';
    return hf_options_parse(&options, error, argc, argv);
}

static void expect_good(const char *line)
{
    bool is_good = parse(line);
    if (!is_good)
        print_error("%s: %s\n", line, error);
    assert_true(is_good);
}

static void expect_refused(const char *line, const char *needle)
{
    assert_false(parse(line));
    if (strstr(error, needle) == NULL)
        print_error("%s: %s\n", line, error);
    assert_non_null(strstr(error, needle));
    assert_null(strchr(error, '\n'));
}

#define BASE "--psk-file f --dtls 127.0.0.1:0 "

static void test_defaults(void **state)
{
    (void)state;
    struct hf_config engine;
    struct hf_config untouched;
    expect_good(BASE);
    hf_daemon_config_engine(&engine, quotas, &options, 3);
    hf_config_init(&untouched);
    assert_int_equal(engine.shard_index, 3);
    assert_int_equal(engine.associations_max * options.shard_count, 1 << 20);
    assert_int_equal(engine.handshakes_max, untouched.handshakes_max);
    assert_int_equal(engine.handshakes_pressure, untouched.handshakes_pressure);
    assert_int_equal(engine.handshake_us_max, untouched.handshake_us_max);
    assert_int_equal(engine.idle_us_max, 0);
    assert_false(engine.keylog);
    assert_int_equal(engine.listener_count, 1);
    assert_int_equal(options.details[0].respond, HF_RESPOND_WHOAMI);
    assert_int_equal(options.log_level, HF_LOG_INFO);
    assert_true(options.shard_count >= 1 && options.shard_count <= HF_SHARDS_MAX);
    assert_true(options.listeners[0].encrypt_then_mac);
    assert_int_equal(options.listeners[0].suites[0], HF_SUITE_PSK_AES_128_CCM_8);
}

static void test_listeners(void **state)
{
    (void)state;
    expect_good("--tls [::1]:8443 --reference-point mcc' --dtls=127.0.0.2:5684 --psk-file f "
                "--psk-hint h1 --mtu 512 --require-ems --no-etm --tls 127.0.0.1:1");
    assert_int_equal(options.socket_count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(options.sockets[i].listener_index, i);
        assert_int_equal(options.sockets[i].transport, options.listeners[i].transport);
        assert_int_equal(options.listeners[i].reference_point, HF_REFERENCE_POINT_MCC_PRIME);
        assert_int_equal(options.listeners[i].datagram_len_max, 512);
        assert_true(options.listeners[i].extended_master_secret_needed);
        assert_false(options.listeners[i].encrypt_then_mac);
        assert_int_equal(options.listeners[i].psk_hint_len, 2);
        assert_memory_equal(options.listeners[i].psk_hint, "h1", 2);
    }
    assert_int_equal(options.sockets[0].transport, HF_TRANSPORT_TLS);
    assert_int_equal(options.sockets[0].address.port, 8443);
    assert_int_equal(options.sockets[1].transport, HF_TRANSPORT_DTLS);
    assert_int_equal(options.listeners[0].suites[0], HF_SUITE_PSK_AES_128_CBC_SHA256);
    assert_int_equal(options.listeners[1].suites[0], HF_SUITE_PSK_AES_128_CCM_8);
}

static void test_listener_count_is_bounded(void **state)
{
    (void)state;
    char *argv[2 * HF_LISTENERS_MAX + 8];
    int argc = 0;
    argv[argc++] = (char *)"handfastd";
    argv[argc++] = (char *)"--psk-file=f";
    for (int i = 0; i < HF_LISTENERS_MAX; i++)
        argv[argc++] = (char *)"--tls=127.0.0.1:0";
    assert_true(hf_options_parse(&options, error, argc, argv));
    argv[argc++] = (char *)"--dtls=127.0.0.1:0";
    assert_false(hf_options_parse(&options, error, argc, argv));
    assert_non_null(strstr(error, "more than 64 listeners"));
}

static void test_suites(void **state)
{
    (void)state;
    expect_good(BASE "--suites 0xC0A4,PSK-AES128-GCM-SHA256,TLS_PSK_WITH_AES_128_CCM_8");
    assert_int_equal(options.listeners[0].suite_count, 3);
    assert_int_equal(options.listeners[0].suites[0], HF_SUITE_PSK_AES_128_CCM);
    assert_int_equal(options.listeners[0].suites[1], HF_SUITE_PSK_AES_128_GCM_SHA256);
    assert_int_equal(options.listeners[0].suites[2], HF_SUITE_PSK_AES_128_CCM_8);
    expect_good(BASE "--suites psk-aes128-ccm8,PSK-AES128-CCM,PSK-AES128-CBC-SHA256");
    assert_int_equal(options.listeners[0].suites[0], HF_SUITE_PSK_AES_128_CCM_8);
    assert_int_equal(options.listeners[0].suites[1], HF_SUITE_PSK_AES_128_CCM);
    assert_int_equal(options.listeners[0].suites[2], HF_SUITE_PSK_AES_128_CBC_SHA256);
    expect_refused(BASE "--suites 0x002F", "not a suite this program speaks");
    expect_refused(BASE "--suites AES128-SHA", "not a suite this program speaks");
    expect_refused(BASE "--suites 0xC0A4,0xc0a4", "named once only");
    expect_refused(BASE "--suites ,", "not a list of suites");
}

static void test_limits_are_shared_by_shards(void **state)
{
    (void)state;
    struct hf_config engine;
    struct hf_loop_config loop;
    expect_good(BASE "--shards 4 --associations-max 100001 --handshakes-max 1000 "
                     "--handshakes-per-prefix 7");
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &(struct rlimit){4512, 4512}), 0);
    hf_daemon_config_engine(&engine, quotas, &options, 0);
    hf_daemon_config_loop(&loop, &options);
    assert_int_equal(engine.associations_max, 25001);
    assert_int_equal(engine.handshakes_max, 250);
    assert_true(engine.handshakes_pressure <= 250 && engine.handshakes_pressure >= 125);
    assert_int_equal(engine.handshakes_per_prefix_max, 7);
    assert_int_equal(loop.connections_max, 1000); /* 512 for the rest */
    expect_good(BASE "--shards 1 --associations-max 10");
    hf_daemon_config_loop(&loop, &options);
    assert_int_equal(loop.connections_max, 10);
    expect_good(BASE "--tls 127.0.0.1:0 --shards 4 --upstream-tcp 127.0.0.1:9");
    hf_daemon_config_loop(&loop, &options);
    assert_int_equal(loop.connections_max, 500); /* each with another to the upstream */
    expect_good(BASE "--shards 1 --associations-max 10");
    hf_daemon_config_engine(&engine, quotas, &options, 0);
    assert_int_equal(engine.handshakes_max, 10);
    expect_refused(BASE "--shards 1 --associations-max 10 --handshakes-max 11", "handshakes_max");
}

static void test_times(void **state)
{
    (void)state;
    struct hf_config engine;
    expect_good(BASE "--handshake-timeout 90 --hello-timeout 2500ms --idle-timeout 24h "
                     "--retransmit-initial 250");
    hf_daemon_config_engine(&engine, quotas, &options, 0);
    assert_int_equal(engine.handshake_us_max, 90000000);
    assert_int_equal(engine.hello_us_max, 2500000);
    assert_int_equal(engine.idle_us_max, 86400000000);
    assert_int_equal(engine.retransmit_us_initial, 250000);
    expect_good(BASE "--handshake-timeout 2m --constrained");
    hf_daemon_config_engine(&engine, quotas, &options, 0);
    assert_int_equal(engine.handshake_us_max, 120000000);
    assert_int_equal(engine.retransmit_us_initial, 9000000);
    expect_good(BASE "--retransmit-initial 2s --constrained");
    hf_daemon_config_engine(&engine, quotas, &options, 0);
    assert_int_equal(engine.retransmit_us_initial, 2000000);
    static const char *const bad[] = {"-1", "1x", "s", "", "99999999999999999999", "1 s", "25h"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char line[128];
        snprintf(line, sizeof(line), BASE "--handshake-timeout=%s", bad[i]);
        assert_false(parse(line));
    }
}

static void test_respond_only_where_it_is_safe(void **state)
{
    (void)state;
    expect_good("--psk-file f --tls 127.0.0.1:1 --dtls [::1]:1");
    assert_int_equal(options.details[0].respond, HF_RESPOND_WHOAMI);
    expect_good("--psk-file f --tls 127.0.0.1:1 --dtls *:1");
    assert_int_equal(options.details[0].respond, HF_RESPOND_NONE);
    expect_good("--psk-file f --dtls 127.0.0.1:1 --respond none");
    assert_int_equal(options.details[0].respond, HF_RESPOND_NONE);
    static const char *const everywhere[] = {"*:1", "0.0.0.0:1", "[::]:1", "192.0.2.1:1",
                                             "[2001:db8::1]:1"};
    for (size_t i = 0; i < sizeof(everywhere) / sizeof(everywhere[0]); i++) {
        char line[160];
        snprintf(line, sizeof(line), BASE "--tls %s --respond echo", everywhere[i]);
        expect_refused(line, "--respond-anywhere");
        snprintf(line, sizeof(line), BASE "--tls %s --respond whoami --respond-anywhere",
                 everywhere[i]);
        expect_good(line);
        assert_int_equal(options.details[0].respond, HF_RESPOND_WHOAMI);
        assert_int_equal(options.details[1].respond, HF_RESPOND_WHOAMI);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    expect_refused("", "nothing to serve");
    expect_refused("--dtls 127.0.0.1:1", "no keys");
    expect_refused(BASE "--nonsense", "--nonsense: no such option");
    expect_refused(BASE "--shards", "--shards: needs a value");
    expect_refused(BASE "extra", "\"extra\": only options are expected");
    expect_refused(BASE "--shards 0", "a number from 1 to 64");
    expect_refused(BASE "--shards 65", "a number from 1 to 64");
    expect_refused(BASE "--io kqueue", "auto, uring or epoll");
    expect_refused(BASE "--shards 2x", "a number from 1 to 64");
    expect_refused(BASE "--mtu 255", "a number from 256 to 4096");
    expect_refused(BASE "--reference-point mcx", "mca, mcc");
    expect_refused(BASE "--respond loudly", "none, whoami or echo");
    expect_refused(BASE "--log-level loud", "error, warning");
    expect_refused(BASE "--log-format xml", "auto, text, logfmt or json");
    expect_refused(BASE "--metrics 9464", "ADDR:PORT");
    expect_refused(BASE "--psk-hint=", "text of the allowed length");
}

static void test_actions(void **state)
{
    (void)state;
    expect_good(BASE "--check");
    assert_int_equal(options.action, HF_OPTIONS_CHECK);
    expect_good("--version");
    assert_int_equal(options.action, HF_OPTIONS_VERSION);
    expect_good("--help --nonsense");
    assert_int_equal(options.action, HF_OPTIONS_HELP);
    expect_refused("--check", "nothing to serve");
}

static void expect_endpoint(const char *text, const char *printed, bool is_loopback)
{
    struct hf_address address;
    char out[HF_ADDRESS_TEXT_MAX];
    assert_true(hf_endpoint_parse(&address, text));
    assert_string_equal(hf_address_print(out, &address), printed);
    assert_int_equal(hf_endpoint_is_loopback(&address), is_loopback);
}

static void test_endpoints(void **state)
{
    (void)state;
    expect_endpoint("127.0.0.1:5684", "127.0.0.1:5684", true);
    expect_endpoint("127.255.0.3:1", "127.255.0.3:1", true);
    expect_endpoint("[::1]:65535", "[::1]:65535", true);
    expect_endpoint("192.0.2.1:0", "192.0.2.1:0", false);
    expect_endpoint("[2001:db8::1]:443", "[2001:db8::1]:443", false);
    expect_endpoint("*:5684", "[::]:5684", false);
    expect_endpoint("[::ffff:127.0.0.1]:1", "127.0.0.1:1", true);
    static const char *const bad[] = {
        "",
        ":",
        "5684",
        ":5684",
        "127.0.0.1",
        "127.0.0.1:",
        "[::1]",
        "::1:5684",
        "[::1:5684",
        "[]:1",
        "[::1]5684",
        "127.0.0.1:65536",
        "1.2.3:4",
        "a.b.c.d:1",
        "localhost:1",
        "127.0.0.1:+1",
        "127.0.0.1: 1",
        "127.0.0.1:0x1",
        "[fe80::1%nosuchinterface]:1",
        "[fe80::1%2x]:1",
        "[fe80::1%-2]:1",
        "[fe80::1%]:1",
        "[::ffff:1.2.3.4%2]:1",
        "127.0.0.1:123456",
        "**:1",
        "[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0001]:1",
    };
    struct hf_address address;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (hf_endpoint_parse(&address, bad[i]))
            fail_msg("\"%s\" was accepted", bad[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_listeners),
        cmocka_unit_test(test_listener_count_is_bounded),
        cmocka_unit_test(test_suites),
        cmocka_unit_test(test_limits_are_shared_by_shards),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_respond_only_where_it_is_safe),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_actions),
        cmocka_unit_test(test_endpoints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
