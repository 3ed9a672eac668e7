/**
 * loop_psk_test.c - the loop with the real engine, against the test client over real sockets:
 * handshakes, data, ends, stops, and what an idle association costs.
 */
#include "loop_fixture.h"
#include "psk_client.h"

#include <errno.h>
#include <fcntl.h>
#include <handfast/keyfile.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static const char key_text[] = "dev-1:000102030405060708090a0b0c0d0e0f\n";
static const uint8_t key[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

struct peer {
    struct psk_client client;
    struct psk_client_work work;
    int fd;
    uint8_t *got; /* application data received */
    size_t got_len, got_max;
    bool is_at_end;
};

static struct hf_keyfile *keyfile;
static struct loop_fixture fixture;

static int setup(void **state)
{
    char error[HF_KEYFILE_ERROR_MAX];
    (void)state;
    struct hf_bytes text = {(const uint8_t *)key_text, sizeof key_text - 1};
    if (hf_keyfile_open(&keyfile, error, text) != HF_OK)
        return -1;
    fixture_init(&fixture);
    hf_config_init(&fixture.engine);
    fixture.engine.listeners = fixture.listeners;
    fixture.source = hf_keyfile_source(keyfile);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_stop(&fixture);
    hf_keyfile_close(keyfile);
    return 0;
}

static void start(enum hf_transport transport, const char *ip)
{
    fixture_listen(&fixture, transport, ip, 0);
    hf_listener_init(&fixture.listeners[0], transport);
    fixture_open(&fixture);
    if (fixture.open_status != HF_OK)
        fail_msg("%s", fixture.error);
    fixture_run(&fixture);
}

/* ---- the other end ---- */

static void emit(const uint8_t *data, size_t len, void *arg)
{
    struct peer *peer = arg;
    if (!fixture_write(peer->fd, data, len))
        peer->is_at_end = true;
}

static void got(const uint8_t *data, size_t len, void *arg)
{
    struct peer *peer = arg;
    if (len > peer->got_max - peer->got_len)
        len = peer->got_max - peer->got_len;
    memcpy(peer->got + peer->got_len, data, len);
    peer->got_len += len;
}

static void peer_open(struct peer *peer, enum hf_transport transport, const char *ip)
{
    bool is_dtls = transport == HF_TRANSPORT_DTLS;
    struct psk_client_config config = {
        .is_dtls = is_dtls,
        .extended_master_secret = true,
        .suite_count = 1,
        .suites = {is_dtls ? HF_SUITE_PSK_AES_128_CCM_8 : HF_SUITE_PSK_AES_128_CBC_SHA256},
        .identity = {(const uint8_t *)"dev-1", 5},
        .psk = {key, sizeof key},
        .work = &peer->work,
    };
    memset(peer, 0, sizeof *peer);
    peer->fd = fixture_client(is_dtls ? SOCK_DGRAM : SOCK_STREAM, ip, fixture_port(&fixture, 0));
    assert_true(peer->fd >= 0);
    psk_client_init(&peer->client, &config);
    psk_client_start(&peer->client, fixture_now_us(), emit, peer);
}

static void peer_read(struct peer *peer, size_t max)
{
    static uint8_t part[20000];
    ssize_t len = recv(peer->fd, part, max, 0);
    if (len <= 0) {
        peer->is_at_end = true;
        return;
    }
    psk_client_receive(&peer->client, fixture_now_us(), part, (size_t)len, emit, got, peer);
}

static void peer_finish(struct peer *peer)
{
    while (!peer->is_at_end && peer->client.state != PSK_CLIENT_OPEN &&
           peer->client.state != PSK_CLIENT_FAILED)
        peer_read(peer, 20000);
    if (peer->client.state != PSK_CLIENT_OPEN)
        fail_msg("%s: %s", psk_client_state_name(peer->client.state),
                 peer->client.why ? peer->client.why : "");
}

static void peer_echo(struct peer *peer, size_t len)
{
    uint8_t *sent = malloc(len);
    peer->got = malloc(len);
    peer->got_max = len;
    peer->got_len = 0;
    for (size_t i = 0; i < len; ++i)
        sent[i] = (uint8_t)(i * 7 + (i >> 8));
    psk_client_send(&peer->client, sent, len, emit, peer);
    while (!peer->is_at_end && peer->got_len < len)
        peer_read(peer, 20000);
    assert_int_equal(peer->got_len, len);
    assert_memory_equal(peer->got, sent, len);
    free(sent);
    free(peer->got);
    peer->got = NULL;
    peer->got_len = peer->got_max = 0;
}

/* Both close_notify and, on TLS, the end of the stream. */
static void peer_expect_close(struct peer *peer)
{
    while (!peer->is_at_end && peer->client.state == PSK_CLIENT_OPEN)
        peer_read(peer, 20000);
    assert_int_equal(peer->client.state, PSK_CLIENT_CLOSED);
    uint8_t byte;
    if (!peer->client.config.is_dtls)
        assert_int_equal(recv(peer->fd, &byte, 1, 0), 0);
    close(peer->fd);
}

/* ---- tests ---- */

static void both_transports_on_all_addresses(void **state)
{
    static const struct {
        const char *listen, *ask;
    } rows[] = {{"127.0.0.1", "127.0.0.1"},
                {"0.0.0.0", "127.0.0.2"},
                {"::", "127.0.0.3"},
                {"::", "::1"},
                {"::1", "::1"}};
    static struct peer peer;
    for (size_t i = 0; i < 2 * sizeof rows / sizeof rows[0]; ++i) {
        enum hf_transport transport = (enum hf_transport)(i % 2);
        start(transport, rows[i / 2].listen);
        peer_open(&peer, transport, rows[i / 2].ask);
        peer_finish(&peer);
        peer_echo(&peer, 900);
        psk_client_end(&peer.client, emit, &peer);
        close(peer.fd);
        FIXTURE_AWAIT_ZERO(&fixture, connections);
        assert_int_equal(teardown(state), 0);
        assert_int_equal(setup(state), 0);
    }
}

static void a_long_tls_stream_comes_back_whole(void **state)
{
    static struct peer peer;
    (void)state;
    start(HF_TRANSPORT_TLS, "127.0.0.1");
    peer_open(&peer, HF_TRANSPORT_TLS, "127.0.0.1");
    peer_finish(&peer);
    for (size_t len = 1; len < 60000; len = len * 3 + 5)
        peer_echo(&peer, len);
    psk_client_end(&peer.client, emit, &peer);
    close(peer.fd);
    FIXTURE_AWAIT_ZERO(&fixture, connections);
}

static void emit_bytewise(const uint8_t *data, size_t len, void *arg)
{
    for (size_t i = 0; i < len; ++i)
        emit(data + i, 1, arg);
}

static void one_byte_at_a_time_makes_a_handshake(void **state)
{
    static struct peer peer;
    static uint8_t part[1];
    (void)state;
    start(HF_TRANSPORT_TLS, "127.0.0.1");
    struct psk_client_config config = {
        .suite_count = 1,
        .suites = {HF_SUITE_PSK_AES_128_CBC_SHA256},
        .identity = {(const uint8_t *)"dev-1", 5},
        .psk = {key, sizeof key},
        .work = &peer.work,
    };
    peer.fd = fixture_client(SOCK_STREAM, "127.0.0.1", fixture_port(&fixture, 0));
    psk_client_init(&peer.client, &config);
    psk_client_start(&peer.client, fixture_now_us(), emit_bytewise, &peer);
    while (peer.client.state != PSK_CLIENT_OPEN) {
        assert_int_equal(recv(peer.fd, part, 1, 0), 1);
        psk_client_receive(&peer.client, fixture_now_us(), part, 1, emit_bytewise, NULL, &peer);
        assert_int_not_equal(peer.client.state, PSK_CLIENT_FAILED);
    }
    peer_echo(&peer, 300);
    close(peer.fd);
}

static void many_at_once(void **state)
{
    enum { COUNT = 300 };
    struct peer *peers = calloc(COUNT, sizeof *peers);
    (void)state;
    for (int transport = 0; transport < 2; ++transport) {
        start((enum hf_transport)transport, "127.0.0.1");
        for (int i = 0; i < COUNT; ++i)
            peer_open(&peers[i], (enum hf_transport)transport, "127.0.0.1");
        for (int i = 0; i < COUNT; ++i)
            peer_finish(&peers[i]);
        for (int i = 0; i < COUNT; ++i)
            peer_echo(&peers[i], 100);
        for (int i = 0; i < COUNT; ++i) {
            psk_client_end(&peers[i].client, emit, &peers[i]);
            close(peers[i].fd);
        }
        FIXTURE_AWAIT_ZERO(&fixture, connections);
        teardown(state);
        setup(state);
    }
    free(peers);
}

static void a_tls_peer_that_does_not_read_is_not_read_from(void **state)
{
    static struct peer peer;
    static uint8_t part[16000];
    size_t sent = 0;
    (void)state;
    start(HF_TRANSPORT_TLS, "127.0.0.1");
    peer_open(&peer, HF_TRANSPORT_TLS, "127.0.0.1");
    peer_finish(&peer);
    for (struct pollfd fd = {peer.fd, POLLOUT, 0};
         fixture_counters(&fixture).connections_paused == 0 || poll(&fd, 1, 300) > 0;) {
        if (poll(&fd, 1, 0) == 1 && sent < 64u << 20) {
            memset(part, (int)(sent / sizeof part), sizeof part);
            psk_client_send(&peer.client, part, sizeof part, emit, &peer);
            sent += sizeof part;
        }
    }
    struct hf_loop_counters counters = fixture_counters(&fixture);
    assert_true(counters.send_queue_len <= fixture.config.send_queue_len_max);
    peer.got_max = sent;
    peer.got = malloc(sent);
    while (!peer.is_at_end && peer.got_len < sent)
        peer_read(&peer, 20000);
    assert_int_equal(peer.got_len, sent);
    for (size_t i = 0; i < sent; ++i)
        assert_int_equal(peer.got[i], (uint8_t)(i / sizeof part));
    free(peer.got);
    close(peer.fd);
    FIXTURE_AWAIT_ZERO(&fixture, connections);
    assert_int_equal(fixture_counters(&fixture).connections_paused, 0);
}

static void our_answer_to_close_notify_arrives(void **state)
{
    static struct peer peer;
    (void)state;
    for (int transport = 0; transport < 2; ++transport) {
        start((enum hf_transport)transport, "127.0.0.1");
        peer_open(&peer, (enum hf_transport)transport, "127.0.0.1");
        peer_finish(&peer);
        psk_client_end(&peer.client, emit, &peer);
        uint8_t alert[256];
        assert_true(recv(peer.fd, alert, sizeof alert, 0) > 0);
        assert_int_equal(alert[0], 21);
        if (transport == HF_TRANSPORT_TLS) /* and the end, not a reset */
            assert_int_equal(recv(peer.fd, alert, sizeof alert, 0), 0);
        close(peer.fd);
        teardown(state);
        setup(state);
    }
}

static void stop_tells_tls_peers_and_lets_devices_sleep(void **state)
{
    static struct peer tls[20], dtls;
    for (int is_notified = 0; is_notified < 2; ++is_notified) {
        fixture.config.is_dtls_notified_on_stop = is_notified == 1;
        fixture_listen(&fixture, HF_TRANSPORT_DTLS, "127.0.0.1", 0);
        hf_listener_init(&fixture.listeners[0], HF_TRANSPORT_DTLS);
        fixture_listen(&fixture, HF_TRANSPORT_TLS, "127.0.0.1", 0);
        hf_listener_init(&fixture.listeners[1], HF_TRANSPORT_TLS);
        fixture_open(&fixture);
        assert_int_equal(fixture.open_status, HF_OK);
        fixture_run(&fixture);
        peer_open(&dtls, HF_TRANSPORT_DTLS, "127.0.0.1");
        peer_finish(&dtls);
        for (int i = 0; i < 20; ++i) {
            struct psk_client_config config = dtls.client.config;
            config.is_dtls = false;
            config.suites[0] = HF_SUITE_PSK_AES_128_CBC_SHA256;
            config.work = &tls[i].work;
            tls[i].is_at_end = false;
            tls[i].fd = fixture_client(SOCK_STREAM, "127.0.0.1", fixture_port(&fixture, 1));
            psk_client_init(&tls[i].client, &config);
            psk_client_start(&tls[i].client, fixture_now_us(), emit, &tls[i]);
            peer_finish(&tls[i]);
        }
        assert_true(fixture_stop(&fixture) < 1500000);
        for (int i = 0; i < 20; ++i)
            peer_expect_close(&tls[i]);
        if (is_notified) {
            peer_expect_close(&dtls);
        } else {
            uint8_t byte;
            assert_int_equal(recv(dtls.fd, &byte, 1, MSG_DONTWAIT), -1);
            close(dtls.fd);
        }
        teardown(state);
        setup(state);
    }
}

static void no_hello_in_time_closes_the_connection(void **state)
{
    (void)state;
    fixture.engine.hello_us_max = 300000;
    start(HF_TRANSPORT_TLS, "127.0.0.1");
    int fd = fixture_client(SOCK_STREAM, "127.0.0.1", fixture_port(&fixture, 0));
    uint8_t byte;
    uint64_t start_us = fixture_now_us();
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
    assert_in_range(fixture_now_us() - start_us, 250000, 800000);
    close(fd);
    FIXTURE_AWAIT_ZERO(&fixture, connections);
}

static size_t resident_len(void)
{
    char line[256];
    size_t len = 0;
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "Pss: %zu", &len) == 1)
            break;
    if (file)
        fclose(file);
    return len * 1024;
}

/* An idle TLS association: at most 1 KiB in loop and engine together. */
static void an_idle_tls_association_is_cheap(void **state)
{
    enum { WARM = 1000, COUNT = 3000 };
    static struct peer peer;
    static int fds[WARM + COUNT];
    size_t before = 0;
    struct rlimit files;
    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = files.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    if (files.rlim_max < 2 * (WARM + COUNT) + 100)
        skip();
    start(HF_TRANSPORT_TLS, "127.0.0.1");
    for (int i = 0; i < WARM + COUNT; ++i) {
        peer_open(&peer, HF_TRANSPORT_TLS, "127.0.0.1");
        peer_finish(&peer);
        fds[i] = peer.fd;
        if (i == WARM - 1)
            before = resident_len();
    }
    size_t each = (resident_len() - before) / COUNT;
    print_message("an idle TLS association: %zu bytes\n", each);
#ifndef HF_SANITIZED
    assert_in_range(each, 1, 1024);
#endif
    assert_int_equal(fixture_counters(&fixture).connections, WARM + COUNT);
    for (int i = 0; i < WARM + COUNT; ++i)
        close(fds[i]);
    FIXTURE_AWAIT_ZERO(&fixture, connections);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(both_transports_on_all_addresses),
        TEST(a_long_tls_stream_comes_back_whole),
        TEST(one_byte_at_a_time_makes_a_handshake),
        TEST(many_at_once),
        TEST(a_tls_peer_that_does_not_read_is_not_read_from),
        TEST(our_answer_to_close_notify_arrives),
        TEST(stop_tells_tls_peers_and_lets_devices_sleep),
        TEST(no_hello_in_time_closes_the_connection),
        TEST(an_idle_tls_association_is_cheap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
