/**
 * loop_stray_test.c - two shards on one address, and a device with a connection ID that comes from
 * another port each time: the kernel finds its shard, or the shards hand it over; nobody answers
 * for somebody else.
 */
#include "loop_fixture.h"
#include "psk_client.h"

#include <handfast/keyfile.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define SHARDS 2
#define DEVICES 6
#define MOVES 20

static const char key_text[] = "dev-1:000102030405060708090a0b0c0d0e0f\n";
static const uint8_t key[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static struct hf_keyfile *keyfile;
static struct loop_fixture shards[SHARDS];

struct device {
    struct psk_client client;
    struct psk_client_work work;
    int fd;
    size_t got_len;
};

static struct hf_loop *find_shard(struct hf_loop *loop, uint32_t index, void *arg)
{
    (void)loop;
    (void)arg;
    return shards[index].loop;
}

static void start(bool is_unsteered)
{
    char error[HF_KEYFILE_ERROR_MAX];
    struct hf_bytes text = {(const uint8_t *)key_text, sizeof key_text - 1};
    assert_int_equal(hf_keyfile_open(&keyfile, error, text), HF_OK);
    for (uint32_t i = 0; i < SHARDS; i++) {
        struct loop_fixture *shard = &shards[i];
        fixture_init(shard);
        hf_config_init(&shard->engine);
        shard->engine.shard_index = i;
        shard->engine.listeners = shard->listeners;
        shard->source = hf_keyfile_source(keyfile);
        shard->config.shard_count = SHARDS;
        shard->config.is_unsteered = is_unsteered;
        shard->config.handlers.shard = find_shard;
        fixture_listen(shard, HF_TRANSPORT_DTLS, "127.0.0.1",
                       i == 0 ? 0 : fixture_port(&shards[0], 0));
        hf_listener_init(&shard->listeners[0], HF_TRANSPORT_DTLS);
        fixture_open(shard);
        if (shard->open_status != HF_OK)
            fail_msg("%s", shard->error);
    }
    for (uint32_t i = 0; i < SHARDS; i++)
        fixture_run(&shards[i]);
}

static uint64_t sum(size_t offset)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < SHARDS; i++) {
        struct hf_loop_counters counters = fixture_counters(&shards[i]);
        uint64_t value;
        memcpy(&value, (const uint8_t *)&counters + offset, sizeof value);
        total += value;
    }
    return total;
}

/* The first to stop may still be handed something by the other: all end before one is closed. */
static void stop(void)
{
    for (uint32_t i = 0; i < SHARDS; i++)
        hf_loop_stop(shards[i].loop);
    for (uint32_t i = 0; i < SHARDS; i++)
        pthread_join(shards[i].thread, NULL);
    for (uint32_t i = 0; i < SHARDS; i++) {
        assert_int_equal(shards[i].run_status, HF_OK);
        hf_loop_close(shards[i].loop);
    }
    hf_keyfile_close(keyfile);
}

static void emit(const uint8_t *data, size_t len, void *arg)
{
    const struct device *device = arg;
    assert_true(fixture_write(device->fd, data, len));
}

static void got(const uint8_t *data, size_t len, void *arg)
{
    struct device *device = arg;
    (void)data;
    device->got_len += len;
}

static void hear(struct device *device)
{
    uint8_t datagram[2048];
    ssize_t len = recv(device->fd, datagram, sizeof datagram, 0);
    if (len <= 0)
        fail_msg("nothing for five seconds");
    psk_client_receive(&device->client, fixture_now_us(), datagram, (size_t)len, emit, got, device);
}

static void open_device(struct device *device)
{
    const struct psk_client_config config = {
        .is_dtls = true,
        .extended_master_secret = true,
        .connection_id = true,
        .return_routability = true,
        .suite_count = 1,
        .suites = {HF_SUITE_PSK_AES_128_CCM_8},
        .identity = {(const uint8_t *)"dev-1", 5},
        .psk = {key, sizeof key},
        .work = &device->work,
    };
    memset(device, 0, sizeof *device);
    device->fd = fixture_client(SOCK_DGRAM, "127.0.0.1", fixture_port(&shards[0], 0));
    assert_true(device->fd >= 0);
    psk_client_init(&device->client, &config);
    psk_client_start(&device->client, fixture_now_us(), emit, device);
    while (device->client.state != PSK_CLIENT_OPEN) {
        hear(device);
        assert_int_not_equal(device->client.state, PSK_CLIENT_FAILED);
    }
    assert_int_equal(device->client.server_cid_len, 8);
}

static void move(struct device *device)
{
    close(device->fd);
    device->fd = fixture_client(SOCK_DGRAM, "127.0.0.1", fixture_port(&shards[0], 0));
    assert_true(device->fd >= 0);
}

static void echo_once(struct device *device)
{
    static const uint8_t text[] = "still me";
    device->got_len = 0;
    psk_client_send(&device->client, text, sizeof text, emit, device);
    while (device->got_len < sizeof text)
        hear(device);
}

static void devices_move(bool is_unsteered)
{
    static struct device devices[DEVICES];
    bool is_shard_used[SHARDS] = {false};
    start(is_unsteered);
    for (size_t i = 0; i < DEVICES; i++) {
        open_device(&devices[i]);
        is_shard_used[devices[i].client.server_cid[0] % SHARDS] = true;
    }
    for (size_t move_count = 0; move_count < MOVES; move_count++) {
        for (size_t i = 0; i < DEVICES; i++) {
            move(&devices[i]);
            echo_once(&devices[i]);
        }
    }
    for (size_t i = 0; i < DEVICES; i++)
        close(devices[i].fd);
    uint64_t out = sum(offsetof(struct hf_loop_counters, strays_out));
    assert_int_equal(sum(offsetof(struct hf_loop_counters, strays_in)), out);
    assert_int_equal(sum(offsetof(struct hf_loop_counters, strays_dropped)), 0);
    printf("%s: %llu of %u datagrams handed over; shards used: %d %d\n",
           is_unsteered ? "by addresses" : "by connection IDs", (unsigned long long)out,
           MOVES * DEVICES, is_shard_used[0], is_shard_used[1]);
    assert_true(is_unsteered ? out > 0 : out == 0);
    stop();
}

static void the_kernel_finds_the_shard(void **state)
{
    (void)state;
    devices_move(false);
}

static void shards_hand_over(void **state)
{
    (void)state;
    devices_move(true);
}

/* A shard that does not exist, and noise under every shard's number. */
static void nobody_there(void **state)
{
    uint8_t record[64] = {25, 0xfe, 0xfd, 0, 1};
    (void)state;
    start(true);
    int fd = fixture_client(SOCK_DGRAM, "127.0.0.1", fixture_port(&shards[0], 0));
    record[20] = 43;
    for (unsigned shard = 0; shard < 256; shard++) {
        record[11] = (uint8_t)shard;
        assert_true(fixture_write(fd, record, sizeof record));
    }
    for (int i = 0; i < 5000 && sum(offsetof(struct hf_loop_counters, strays_dropped)) < 254; i++)
        usleep(1000);
    assert_int_equal(sum(offsetof(struct hf_loop_counters, strays_dropped)), 254);
    close(fd);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_kernel_finds_the_shard),
        cmocka_unit_test(shards_hand_over),
        cmocka_unit_test(nobody_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
