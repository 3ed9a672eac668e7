/**
 * upstream_forward_test.c - forwarding by the loop with the real engine: long silence, many
 * associations, half-closed streams, devices that do not read.
 *
 * The clock is ours: the loop's reads of it are moved ahead by what a test says.
 */
#include "loop_fixture.h"
#include "psk_client.h"

#include <arpa/inet.h>
#include <handfast/keyfile.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static const char key_text[] = "dev-1:000102030405060708090a0b0c0d0e0f\n";
static const uint8_t key[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

struct peer {
    struct psk_client client;
    struct psk_client_work *work;
    int fd;
    uint8_t *got;
    size_t got_len, got_max;
    bool is_at_end;
};

static struct hf_keyfile *keyfile;
static struct loop_fixture fixture;
static struct hf_loop_upstream upstream;
static struct psk_client_work work;
static int upstream_fd;
static uint64_t ahead_s;

int __real_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = __real_clock_gettime(clock, now);
    now->tv_sec += (time_t)__atomic_load_n(&ahead_s, __ATOMIC_RELAXED);
    return result;
}

static void start(enum hf_transport transport, int type)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    struct timeval limit = {.tv_sec = 5};
    upstream_fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    setsockopt(upstream_fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    assert_int_equal(bind(upstream_fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(upstream_fd, (struct sockaddr *)&address, &len), 0);
    if (type == SOCK_STREAM)
        assert_int_equal(listen(upstream_fd, 16), 0);
    upstream.address = hf_address_v4((const uint8_t[4]){127, 0, 0, 1}, ntohs(address.sin_port));
    fixture.config.upstreams = &upstream;
    fixture.config.upstream_count = 1;
    fixture_listen(&fixture, transport, "127.0.0.1", 0);
    hf_listener_init(&fixture.listeners[0], transport);
    fixture_open(&fixture);
    if (fixture.open_status != HF_OK)
        fail_msg("%s", fixture.error);
    fixture_run(&fixture);
}

static int setup(void **state)
{
    char error[HF_KEYFILE_ERROR_MAX];
    struct hf_bytes text = {(const uint8_t *)key_text, sizeof key_text - 1};
    (void)state;
    if (hf_keyfile_open(&keyfile, error, text) != HF_OK)
        return -1;
    ahead_s = 0;
    upstream_fd = -1;
    memset(&upstream, 0, sizeof upstream);
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
    if (upstream_fd >= 0)
        close(upstream_fd);
    return 0;
}

/* ---- the device ---- */

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

static void peer_read(struct peer *peer)
{
    static uint8_t part[20000];
    ssize_t len = recv(peer->fd, part, sizeof part, 0);
    if (len > 0)
        psk_client_receive(&peer->client, fixture_now_us(), part, (size_t)len, emit, got, peer);
    else
        peer->is_at_end = true;
}

static void peer_open(struct peer *peer, enum hf_transport transport, uint8_t *room, size_t max)
{
    bool is_dtls = transport == HF_TRANSPORT_DTLS;
    struct psk_client_config config = {
        .is_dtls = is_dtls,
        .is_quiet = true,
        .extended_master_secret = true,
        .suite_count = 1,
        .suites = {is_dtls ? HF_SUITE_PSK_AES_128_CCM_8 : HF_SUITE_PSK_AES_128_CBC_SHA256},
        .identity = {(const uint8_t *)"dev-1", 5},
        .psk = {key, sizeof key},
        .work = &work,
    };
    *peer = (struct peer){.got = room, .got_max = max};
    peer->fd =
        fixture_client(is_dtls ? SOCK_DGRAM : SOCK_STREAM, "127.0.0.1", fixture_port(&fixture, 0));
    assert_true(peer->fd >= 0);
    psk_client_init(&peer->client, &config);
    psk_client_start(&peer->client, fixture_now_us(), emit, peer);
    while (!peer->is_at_end && peer->client.state != PSK_CLIENT_OPEN)
        peer_read(peer);
    assert_int_equal(peer->client.state, PSK_CLIENT_OPEN);
}

static void peer_say(struct peer *peer, const char *text)
{
    psk_client_send(&peer->client, (const uint8_t *)text, strlen(text), emit, peer);
}

static void peer_hear(struct peer *peer, const char *text)
{
    peer->got_len = 0;
    while (!peer->is_at_end && peer->got_len < strlen(text))
        peer_read(peer);
    assert_int_equal(peer->got_len, strlen(text));
    assert_memory_equal(peer->got, text, strlen(text));
}

/* close_notify, and goes on listening, which psk_client_end() would not. */
static void peer_half_close(struct peer *peer)
{
    struct psk_client_record record = {
        .type = 21,
        .epoch = 1,
        .seq = PSK_CLIENT_SEQ_NEXT,
        .is_protected = true,
        .payload = {(const uint8_t *)"\x01\0", 2},
    };
    psk_client_send_record(&peer->client, &record, emit, peer);
}

/* ---- the upstream ---- */

static struct sockaddr_in upstream_hear(const char *text)
{
    char heard[2048];
    struct sockaddr_in source;
    socklen_t len = sizeof source;
    ssize_t count = recvfrom(upstream_fd, heard, sizeof heard, 0, (struct sockaddr *)&source, &len);
    assert_int_equal(count, strlen(text));
    assert_memory_equal(heard, text, strlen(text));
    return source;
}

static void upstream_say(const struct sockaddr_in *to, const char *text)
{
    assert_int_equal(
        sendto(upstream_fd, text, strlen(text), 0, (const struct sockaddr *)to, sizeof *to),
        strlen(text));
}

static int upstream_accept(void)
{
    struct timeval limit = {.tv_sec = 5};
    int fd = accept(upstream_fd, NULL, NULL);
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    return fd;
}

/* ---- tests ---- */

static void a_notification_after_hours_arrives(void **state)
{
    static uint8_t room[100];
    struct peer peer;
    (void)state;
    start(HF_TRANSPORT_DTLS, SOCK_DGRAM);
    peer_open(&peer, HF_TRANSPORT_DTLS, room, sizeof room);
    peer_say(&peer, "observe");
    struct sockaddr_in source = upstream_hear("observe");
    static const uint64_t silences_s[] = {600, 7200, 40 * 86400};
    for (size_t i = 0; i < sizeof silences_s / sizeof silences_s[0]; ++i) {
        uint64_t turns = fixture_counters(&fixture).turns;
        __atomic_add_fetch(&ahead_s, silences_s[i], __ATOMIC_RELAXED);
        FIXTURE_AWAIT(&fixture, turns, turns + 2);
        upstream_say(&source, "late");
        peer_hear(&peer, "late");
    }
    peer_say(&peer, "still me");
    struct sockaddr_in again = upstream_hear("still me");
    assert_memory_equal(&again, &source, sizeof source);
    close(peer.fd);
}

/* Each its own address; no memory of the loop for any of them. */
static void a_thousand_associations_cost_the_loop_nothing(void **state)
{
    enum { COUNT = 1000 };
    static uint8_t room[100];
    static struct sockaddr_in sources[COUNT];
    struct peer *peers = calloc(COUNT, sizeof *peers);
    char text[32];
    (void)state;
    start(HF_TRANSPORT_DTLS, SOCK_DGRAM);
    uint64_t before = fixture_counters(&fixture).memory_len;
    for (int i = 0; i < COUNT; ++i) {
        snprintf(text, sizeof text, "from %d", i);
        peer_open(&peers[i], HF_TRANSPORT_DTLS, room, sizeof room);
        peer_say(&peers[i], text);
        sources[i] = upstream_hear(text);
        for (int other = 0; other < i; ++other)
            assert_true(sources[i].sin_addr.s_addr != sources[other].sin_addr.s_addr);
    }
    assert_int_equal(fixture_counters(&fixture).memory_len, before);
    for (int i = COUNT - 1; i >= 0; --i) {
        snprintf(text, sizeof text, "to %d", i);
        upstream_say(&sources[i], text);
        peer_hear(&peers[i], text);
        close(peers[i].fd);
    }
    free(peers);
}

static void each_half_ends_on_its_own(void **state)
{
    static uint8_t room[300000], sent[300000];
    struct peer peer;
    uint8_t byte;
    (void)state;
    start(HF_TRANSPORT_TLS, SOCK_STREAM);
    for (size_t i = 0; i < sizeof sent; ++i)
        sent[i] = (uint8_t)(i * 11 + (i >> 9));
    peer_open(&peer, HF_TRANSPORT_TLS, room, sizeof room);
    peer_say(&peer, "all of it");
    peer_half_close(&peer);
    int fd = upstream_accept();
    assert_true(fixture_read(fd, room, 9));
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
    assert_true(fixture_write(fd, sent, sizeof sent));
    close(fd);
    while (!peer.is_at_end && peer.client.state == PSK_CLIENT_OPEN)
        peer_read(&peer);
    assert_int_equal(peer.client.state, PSK_CLIENT_CLOSED);
    assert_int_equal(peer.got_len, sizeof sent);
    assert_memory_equal(peer.got, sent, sizeof sent);
    close(peer.fd);
    FIXTURE_AWAIT_ZERO(&fixture, upstream_connections);
    FIXTURE_AWAIT_ZERO(&fixture, connections);
}

static void the_upstreams_end_leaves_the_devices_half(void **state)
{
    static uint8_t room[100];
    struct peer peer;
    uint8_t byte;
    (void)state;
    start(HF_TRANSPORT_TLS, SOCK_STREAM);
    peer_open(&peer, HF_TRANSPORT_TLS, room, sizeof room);
    int fd = upstream_accept();
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    while (!peer.client.has_received_close && !peer.is_at_end)
        peer_read(&peer);
    assert_true(peer.client.has_received_close);
    struct psk_client_record record = {
        .type = 23,
        .epoch = 1,
        .seq = PSK_CLIENT_SEQ_NEXT,
        .is_protected = true,
        .payload = {(const uint8_t *)"more", 4},
    };
    psk_client_send_record(&peer.client, &record, emit, &peer);
    assert_true(fixture_read(fd, room, 4));
    assert_memory_equal(room, "more", 4);
    peer_half_close(&peer);
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
    close(fd);
    close(peer.fd);
    FIXTURE_AWAIT_ZERO(&fixture, upstream_connections);
    FIXTURE_AWAIT_ZERO(&fixture, connections);
}

struct talker {
    int fd;
    size_t len;
    bool is_good;
};

static void *talk(void *arg)
{
    struct talker *talker = arg;
    uint8_t *data = calloc(1, talker->len);
    talker->is_good = fixture_write(talker->fd, data, talker->len);
    free(data);
    return NULL;
}

static void a_device_that_does_not_read_stops_the_upstream(void **state)
{
    enum { LEN = 30000000 };
    struct peer peer;
    pthread_t thread;
    (void)state;
    start(HF_TRANSPORT_TLS, SOCK_STREAM);
    peer_open(&peer, HF_TRANSPORT_TLS, calloc(1, LEN), LEN);
    struct talker talker = {.fd = upstream_accept(), .len = LEN};
    assert_int_equal(pthread_create(&thread, NULL, talk, &talker), 0);
    FIXTURE_AWAIT(&fixture, upstream_in_len, 1000000);
    usleep(500000);
    struct hf_loop_counters now = fixture_counters(&fixture);
    assert_true(now.upstream_in_len < LEN);
    assert_true(now.send_queue_len <= fixture.config.send_queue_len_max);
    while (!peer.is_at_end && peer.got_len < LEN)
        peer_read(&peer);
    assert_int_equal(peer.got_len, LEN);
    pthread_join(thread, NULL);
    assert_true(talker.is_good);
    close(talker.fd);
    close(peer.fd);
    free(peer.got);
    FIXTURE_AWAIT_ZERO(&fixture, upstream_connections);
}

static void too_many_for_the_addresses_are_refused(void **state)
{
    (void)state;
    upstream.address = hf_address_v4((const uint8_t[4]){127, 0, 0, 1}, 5683);
    fixture.config.upstreams = &upstream;
    fixture.config.upstream_count = 1;
    fixture.engine.associations_max = 1u << 20;
    fixture.engine.shard_index = 4;
    fixture_listen(&fixture, HF_TRANSPORT_DTLS, "127.0.0.1", 0);
    hf_listener_init(&fixture.listeners[0], HF_TRANSPORT_DTLS);
    fixture_open(&fixture);
    assert_int_equal(fixture.open_status, HF_E_CONFIG);
    assert_non_null(strstr(fixture.error, "2^22"));
    fixture.engine.shard_index = 3;
    fixture_open(&fixture);
    assert_int_equal(fixture.open_status, HF_OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_notification_after_hours_arrives),
        TEST(a_thousand_associations_cost_the_loop_nothing),
        TEST(each_half_ends_on_its_own),
        TEST(the_upstreams_end_leaves_the_devices_half),
        TEST(a_device_that_does_not_read_stops_the_upstream),
        TEST(too_many_for_the_addresses_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
