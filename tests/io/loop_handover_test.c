/**
 * loop_handover_test.c - one loop takes over from another, with real sockets and the real engine:
 * associations of both transports go on, with what was under way at that moment; a loop that was
 * frozen and is not relieved goes on itself.
 */
#include "handover.h"
#include "loop_fixture.h"
#include "psk_client.h"

#include <arpa/inet.h>
#include <handfast/keyfile.h>
#include <handfast/transfer.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define DTLS 0
#define TLS 1
#define DTLS_FORWARDED 2
#define TLS_FORWARDED 3
#define LISTENERS 4

static const char key_text[] = "dev-1:000102030405060708090a0b0c0d0e0f\n";
static const uint8_t key[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

struct peer {
    struct psk_client client;
    struct psk_client_work work;
    int fd;
    uint8_t got[70000];
    size_t got_len;
    size_t held_len; /* of what it says next, so much is sent; the rest is kept */
    uint8_t held[70000];
    bool is_holding, is_at_end;
};

static struct hf_keyfile *keyfile;
static struct loop_fixture fixtures[2];
static int now_serving;
static struct hf_loop_upstream upstreams[2];
static int upstream_fds[2];

static struct loop_fixture *serving(void)
{
    return &fixtures[now_serving];
}

static int listen_upstream(int type, struct hf_loop_upstream *upstream, uint32_t listener_index)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    struct timeval limit = {.tv_sec = 5};
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    if (type == SOCK_STREAM)
        assert_int_equal(listen(fd, 16), 0);
    *upstream = (struct hf_loop_upstream){
        .listener_index = listener_index,
        .address = hf_address_v4((const uint8_t[4]){127, 0, 0, 1}, ntohs(address.sin_port)),
    };
    return fd;
}

static void prepare(struct loop_fixture *fixture)
{
    fixture_init(fixture);
    hf_config_init(&fixture->engine);
    fixture->engine.listeners = fixture->listeners;
    fixture->source = hf_keyfile_source(keyfile);
    fixture->config.upstreams = upstreams;
    fixture->config.upstream_count = 2;
    for (uint32_t i = 0; i < LISTENERS; ++i) {
        enum hf_transport transport = i % 2 ? HF_TRANSPORT_TLS : HF_TRANSPORT_DTLS;
        fixture_listen(fixture, transport, "127.0.0.1", 0);
        hf_listener_init(&fixture->listeners[i], transport);
    }
}

static int setup(void **state)
{
    char error[HF_KEYFILE_ERROR_MAX];
    struct hf_bytes text = {(const uint8_t *)key_text, sizeof key_text - 1};
    (void)state;
    if (hf_keyfile_open(&keyfile, error, text) != HF_OK)
        return -1;
    now_serving = 0;
    upstream_fds[0] = listen_upstream(SOCK_DGRAM, &upstreams[0], DTLS_FORWARDED);
    upstream_fds[1] = listen_upstream(SOCK_STREAM, &upstreams[1], TLS_FORWARDED);
    prepare(&fixtures[0]);
    fixture_open(&fixtures[0]);
    if (fixtures[0].open_status != HF_OK)
        fail_msg("%s", fixtures[0].error);
    fixture_run(&fixtures[0]);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_stop(serving());
    hf_keyfile_close(keyfile);
    close(upstream_fds[0]);
    close(upstream_fds[1]);
    return 0;
}

/* ---- devices ------------------------------------------------------------------------------ */

static void emit(const uint8_t *data, size_t len, void *arg)
{
    struct peer *peer = arg;
    if (peer->is_holding) {
        memcpy(peer->held + peer->held_len, data, len);
        peer->held_len += len;
    } else if (!fixture_write(peer->fd, data, len)) {
        peer->is_at_end = true;
    }
}

static void got(const uint8_t *data, size_t len, void *arg)
{
    struct peer *peer = arg;
    assert_true(len <= sizeof peer->got - peer->got_len);
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

static struct peer *peer_new(uint32_t listener_index)
{
    bool is_dtls = listener_index % 2 == 0;
    struct peer *peer = calloc(1, sizeof *peer);
    assert_non_null(peer);
    struct psk_client_config config = {
        .is_dtls = is_dtls,
        .is_quiet = true,
        .extended_master_secret = true,
        .suite_count = 1,
        .suites = {is_dtls ? HF_SUITE_PSK_AES_128_CCM_8 : HF_SUITE_PSK_AES_128_CBC_SHA256},
        .identity = {(const uint8_t *)"dev-1", 5},
        .psk = {key, sizeof key},
        .work = &peer->work,
    };
    peer->fd = fixture_client(is_dtls ? SOCK_DGRAM : SOCK_STREAM, "127.0.0.1",
                              fixture_port(serving(), listener_index));
    assert_true(peer->fd >= 0);
    psk_client_init(&peer->client, &config);
    psk_client_start(&peer->client, fixture_now_us(), emit, peer);
    while (!peer->is_at_end && peer->client.state != PSK_CLIENT_OPEN)
        peer_read(peer);
    assert_int_equal(peer->client.state, PSK_CLIENT_OPEN);
    return peer;
}

static void peer_free(struct peer *peer)
{
    close(peer->fd);
    free(peer);
}

static void peer_say(struct peer *peer, const char *text)
{
    psk_client_send(&peer->client, (const uint8_t *)text, strlen(text), emit, peer);
}

static void peer_hear(struct peer *peer, const char *text)
{
    while (!peer->is_at_end && peer->got_len < strlen(text))
        peer_read(peer);
    assert_int_equal(peer->got_len, strlen(text));
    assert_memory_equal(peer->got, text, strlen(text));
    peer->got_len = 0;
}

static void peer_echo(struct peer *peer, const char *text)
{
    peer_say(peer, text);
    peer_hear(peer, text);
}

/* ---- handing over ------------------------------------------------------------------------- */

static void move_engine(struct loop_fixture *to, const struct loop_fixture *from)
{
    static uint8_t chunk[1 << 20];
    struct hf_transfer *transfer;
    struct hf_transfer_counts counts;
    enum hf_status status = HF_WAITING;
    assert_int_equal(hf_transfer_open(&transfer, hf_loop_engine(from->loop)), HF_OK);
    assert_int_equal(hf_engine_import_begin(hf_loop_engine(to->loop), fixture_now_us(), 1760000000),
                     HF_OK);
    while (status == HF_WAITING) {
        size_t len;
        status = hf_transfer_write(chunk, &len, sizeof chunk, transfer, hf_loop_engine(from->loop),
                                   1000);
        if (len > 0)
            assert_int_equal(
                hf_engine_import(hf_loop_engine(to->loop), (struct hf_bytes){chunk, len}), HF_OK);
    }
    assert_int_equal(status, HF_OK);
    hf_engine_import_end(&counts, hf_loop_engine(to->loop));
    assert_int_equal(counts.left_out, 0);
    hf_transfer_close(transfer);
}

static uint32_t move_connections(struct loop_fixture *to, struct loop_fixture *from)
{
    struct hf_loop_parcel parcel;
    uint64_t cursor = 0;
    uint32_t count = 0;
    while (hf_loop_give(&parcel, from->loop, &cursor)) {
        int fds[2];
        for (uint32_t i = 0; i < parcel.fd_count; ++i)
            fds[i] = dup(parcel.fds[i]);
        assert_int_equal(hf_loop_take(to->loop, (struct hf_bytes){parcel.data, parcel.len}, fds,
                                      parcel.fd_count),
                         HF_OK);
        hf_loop_parcel_wipe(&parcel);
        ++count;
    }
    hf_loop_take_end(to->loop);
    return count;
}

/* Frozen: what is said now waits. */
static void freeze(void)
{
    fixture_freeze(serving());
}

static void relieve(uint32_t connections)
{
    int fds[HF_LOOP_DESCRIPTORS_MAX];
    struct loop_fixture *from = serving(), *to = &fixtures[!now_serving];
    assert_int_equal(hf_loop_descriptors(fds, from->loop), LISTENERS + HF_LOOP_UPSTREAM_SOCKETS);
    prepare(to);
    for (uint32_t i = 0; i < LISTENERS; ++i) {
        to->sockets[i].is_adopted = true;
        to->sockets[i].fd = fds[i];
    }
    to->config.upstream_fds = fds + LISTENERS;
    fixture_open(to);
    if (to->open_status != HF_OK)
        fail_msg("%s", to->error);
    move_engine(to, from);
    assert_int_equal(move_connections(to, from), connections);
    fixture_give_up(from);
    now_serving = !now_serving;
    fixture_run(to);
}

/* ---- tests -------------------------------------------------------------------------------- */

static void both_transports_go_on(void **state)
{
    (void)state;
    struct peer *dtls = peer_new(DTLS), *tls = peer_new(TLS);
    for (int i = 0; i < 5; ++i) {
        peer_echo(dtls, "before");
        peer_echo(tls, "before");
        freeze();
        peer_say(dtls, "meanwhile");
        peer_say(tls, "meanwhile");
        relieve(1);
        peer_hear(dtls, "meanwhile");
        peer_hear(tls, "meanwhile");
    }
    struct peer *later = peer_new(TLS); /* the listener goes on, too */
    peer_echo(later, "later");
    peer_free(later);
    peer_free(dtls);
    peer_free(tls);
}

static void a_record_may_be_cut_anywhere(void **state)
{
    (void)state;
    struct peer *peer = peer_new(TLS);
    for (size_t cut = 1; cut < 66; cut += 13) {
        peer->is_holding = true;
        peer->held_len = 0;
        peer_say(peer, "two halves");
        peer->is_holding = false;
        assert_true(cut < peer->held_len);
        uint64_t before = fixture_counters(serving()).turns;
        assert_true(fixture_write(peer->fd, peer->held, cut));
        FIXTURE_AWAIT(serving(), turns, before + 1);
        freeze();
        assert_true(fixture_write(peer->fd, peer->held + cut, peer->held_len - cut));
        relieve(1);
        peer_hear(peer, "two halves");
    }
    peer_free(peer);
}

static void upstreams_notice_nothing(void **state)
{
    char heard[64];
    struct sockaddr_in source, again;
    socklen_t len = sizeof source;
    (void)state;
    struct peer *dtls = peer_new(DTLS_FORWARDED), *tls = peer_new(TLS_FORWARDED);
    int fd = accept(upstream_fds[1], NULL, NULL);
    assert_true(fd >= 0);
    peer_say(dtls, "one");
    assert_int_equal(recvfrom(upstream_fds[0], heard, sizeof heard, 0, (void *)&source, &len), 3);
    peer_say(tls, "one");
    assert_true(fixture_read(fd, heard, 3));
    for (int i = 0; i < 3; ++i) {
        freeze();
        assert_int_equal(sendto(upstream_fds[0], "reply", 5, 0, (void *)&source, len), 5);
        assert_true(fixture_write(fd, "reply", 5));
        peer_say(dtls, "two");
        peer_say(tls, "two");
        relieve(1);
        peer_hear(dtls, "reply");
        peer_hear(tls, "reply");
        assert_int_equal(recvfrom(upstream_fds[0], heard, sizeof heard, 0, (void *)&again, &len),
                         3);
        assert_memory_equal(&source, &again, sizeof source);
        assert_true(fixture_read(fd, heard, 3));
    }
    close(fd);
    while (!tls->client.has_received_close && !tls->is_at_end)
        peer_read(tls);
    assert_true(tls->client.has_received_close);
    peer_free(dtls);
    peer_free(tls);
}

/* A device that does not read: all that waits for it moves, in order. */
static void what_waits_is_moved(void **state)
{
    enum { LEN = 60000, TIMES = 1000 };
    static uint8_t sent[LEN];
    (void)state;
    for (size_t i = 0; i < LEN; ++i)
        sent[i] = (uint8_t)(i * 7 + (i >> 8));
    struct peer *peer = peer_new(TLS_FORWARDED);
    int fd = accept(upstream_fds[1], NULL, NULL);
    assert_true(fd >= 0);
    size_t written = 0;
    while (written < (size_t)LEN * TIMES) { /* until everything is full */
        ssize_t count = send(fd, sent + written % LEN, LEN - written % LEN, MSG_DONTWAIT);
        if (count < 0 && fixture_counters(serving()).connections_paused +
                                 fixture_counters(serving()).send_queue_len >
                             60000)
            break;
        written += count > 0 ? (size_t)count : 0;
    }
    freeze();
    assert_true(fixture_counters(serving()).send_queue_len > 0);
    relieve(1);
    shutdown(fd, SHUT_WR);
    size_t heard = 0;
    while (heard < written && !peer->is_at_end) {
        peer->got_len = 0;
        peer_read(peer);
        for (size_t i = 0; i < peer->got_len; ++i)
            assert_int_equal(peer->got[i], sent[(heard + i) % LEN]);
        heard += peer->got_len;
    }
    assert_int_equal(heard, written);
    close(fd);
    peer_free(peer);
}

static void not_relieved_it_goes_on(void **state)
{
    (void)state;
    struct peer *dtls = peer_new(DTLS), *tls = peer_new(TLS), *far = peer_new(TLS_FORWARDED);
    int fd = accept(upstream_fds[1], NULL, NULL);
    char heard[8];
    for (int i = 0; i < 5; ++i) {
        freeze();
        peer_say(dtls, "meanwhile");
        peer_say(tls, "meanwhile");
        peer_say(far, "far");
        fixture_run(serving());
        peer_hear(dtls, "meanwhile");
        peer_hear(tls, "meanwhile");
        assert_true(fixture_read(fd, heard, 3));
        assert_true(fixture_write(fd, "back", 4));
        peer_hear(far, "back");
    }
    freeze();
    fixture_stop(serving());
    prepare(serving());
    fixture_open(serving());
    assert_int_equal(serving()->open_status, HF_OK);
    close(fd);
    peer_free(dtls);
    peer_free(tls);
    peer_free(far);
}

static void nonsense_is_refused(void **state)
{
    static const uint8_t number[] = {0, 1, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0};
    (void)state;
    struct peer *peer = peer_new(TLS);
    freeze();
    struct hf_loop_parcel parcel;
    uint64_t cursor = 0;
    assert_true(hf_loop_give(&parcel, serving()->loop, &cursor));
    struct loop_fixture *to = &fixtures[1];
    prepare(to);
    fixture_open(to);
    assert_int_equal(to->open_status, HF_OK);
    int fds[2] = {-1, -1};
    struct hf_bytes whole = {parcel.data, parcel.len};
    assert_int_equal(hf_loop_take(to->loop, whole, fds, 0), HF_E_DECODE);
    assert_int_equal(hf_loop_take(to->loop, whole, fds, 2), HF_E_DECODE);
    assert_int_equal(hf_loop_take(to->loop, whole, fds, 1), HF_E_STALE); /* nobody knows it */
    for (size_t cut = 0; cut < parcel.len; ++cut) {
        enum hf_status status = hf_loop_take(to->loop, (struct hf_bytes){parcel.data, cut}, fds, 1);
        assert_true(status != HF_OK);
    }
    assert_int_equal(hf_loop_take(to->loop, (struct hf_bytes){number, sizeof number}, fds, 1),
                     HF_E_ARGUMENT);
    hf_loop_parcel_wipe(&parcel);
    assert_false(hf_loop_give(&parcel, serving()->loop, &cursor));
    fixture_stop(to);
    fixture_run(serving());
    peer_echo(peer, "still here");
    peer_free(peer);
}

/* An adopted descriptor must be what it is said to be. */
static void another_socket_is_refused(void **state)
{
    int fds[HF_LOOP_DESCRIPTORS_MAX];
    struct loop_fixture *to = &fixtures[1];
    (void)state;
    (void)hf_loop_descriptors(fds, fixtures[0].loop);
    for (int i = 0; i < 3; ++i) {
        prepare(to);
        to->sockets[0].is_adopted = true;
        to->sockets[0].fd = i == 0 ? fds[TLS] : i == 1 ? upstream_fds[0] : -1;
        if (i == 1)
            to->sockets[0].address.port = 1;
        fixture_open(to);
        assert_int_equal(to->open_status, HF_E_STATE);
        assert_non_null(strstr(to->error, "cannot take over"));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(both_transports_go_on),     TEST(a_record_may_be_cut_anywhere),
        TEST(upstreams_notice_nothing),  TEST(what_waits_is_moved),
        TEST(not_relieved_it_goes_on),   TEST(nonsense_is_refused),
        TEST(another_socket_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
