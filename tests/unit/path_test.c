/**
 * path_test.c - the key an association is found by: one form for each address, and our own
 * addresses interned within their limit.
 */
#include "path.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LOCALS_MAX 5

static void request(struct hf_engine *engine, const struct hf_request *asked, void *arg)
{
    (void)engine;
    (void)asked;
    (void)arg;
}

static int open_engine(void **state)
{
    const struct hf_key_source source = {.request = request};
    struct hf_engine *engine;
    struct hf_config config;
    hf_config_init(&config);
    config.associations_max = config.handshakes_max = 4;
    config.local_addresses_max = LOCALS_MAX;
    assert_int_equal(hf_engine_open(&engine, &config, &source), HF_OK);
    *state = engine;
    return 0;
}

static int close_engine(void **state)
{
    hf_engine_close(*state);
    return 0;
}

static struct hf_path path_to(uint8_t local_last, uint16_t local_port)
{
    const uint8_t peer[4] = {198, 51, 100, 9}, local[4] = {192, 0, 2, local_last};
    return (struct hf_path){hf_address_v4(peer, 40000), hf_address_v4(local, local_port)};
}

static struct hf_path_key key_of(struct hf_engine *engine, const struct hf_path *path)
{
    struct hf_path_key key;
    memset(&key, 0xA5, sizeof key);
    assert_true(hf_path_key(&key, engine, path));
    return key;
}

static void test_equal_paths_have_equal_bytes(void **state)
{
    struct hf_path path = path_to(1, 5684);
    struct hf_path_key one = key_of(*state, &path), two = key_of(*state, &path);
    assert_memory_equal(&one, &two, sizeof one);
    /* An IPv4 peer seen through an IPv6 socket is the same peer. */
    const uint8_t mapped[16] = {[10] = 0xFF, [11] = 0xFF, 198, 51, 100, 9};
    path.peer = hf_address_v6(mapped, 40000, 0);
    assert_true(hf_address_is_v4(&path.peer));
    two = key_of(*state, &path);
    assert_memory_equal(&one, &two, sizeof one);
}

static void test_every_part_counts(void **state)
{
    struct hf_path path = path_to(1, 5684);
    struct hf_path_key one = key_of(*state, &path), two;
    for (size_t bit = 0; bit < 8 * 16; bit++) {
        struct hf_path changed = path;
        changed.peer.ip[bit / 8] ^= (uint8_t)(1u << bit % 8);
        two = key_of(*state, &changed);
        assert_memory_not_equal(&one, &two, sizeof one);
    }
    struct hf_path changed = path;
    changed.peer.port++;
    two = key_of(*state, &changed);
    assert_memory_not_equal(&one, &two, sizeof one);
    changed = path;
    changed.peer.scope = 3; /* the same link-local address on another link */
    two = key_of(*state, &changed);
    assert_memory_not_equal(&one, &two, sizeof one);
    changed = path_to(2, 5684);
    two = key_of(*state, &changed);
    assert_memory_not_equal(&one, &two, sizeof one);
    changed = path_to(1, 5685);
    two = key_of(*state, &changed);
    assert_memory_not_equal(&one, &two, sizeof one);
}

static void test_local_addresses_are_bounded(void **state)
{
    struct hf_path_key keys[LOCALS_MAX], key;
    for (uint8_t i = 0; i < LOCALS_MAX; i++) {
        struct hf_path path = path_to(i, 5684);
        keys[i] = key_of(*state, &path);
        for (uint8_t k = 0; k < i; k++)
            assert_int_not_equal(keys[i].local_index, keys[k].local_index);
    }
    memset(&key, 0x5A, sizeof key);
    struct hf_path_key untouched = key;
    struct hf_path further = path_to(LOCALS_MAX, 5684);
    assert_false(hf_path_key(&key, *state, &further));
    assert_memory_equal(&key, &untouched, sizeof key);
    for (uint8_t i = 0; i < LOCALS_MAX; i++) { /* those that are known stay known */
        struct hf_path path = path_to(i, 5684);
        key = key_of(*state, &path);
        assert_memory_equal(&key, &keys[i], sizeof key);
    }
}

/* Whoever is not an association's peer yet takes up no place: there is no drop for want of one. */
static void test_strangers_take_no_place(void **state)
{
    struct hf_engine *engine;
    struct hf_config config;
    struct hf_listener listener;
    const struct hf_key_source source = {.request = request};
    struct hf_counters counters;
    uint8_t bytes[13] = {22, 0xFE, 0xFD};
    (void)state;
    hf_config_init(&config);
    hf_listener_init(&listener, HF_TRANSPORT_DTLS);
    config.associations_max = config.handshakes_max = 4;
    config.local_addresses_max = 1;
    config.listeners = &listener;
    config.listener_count = 1;
    assert_int_equal(hf_engine_open(&engine, &config, &source), HF_OK);
    hf_engine_begin_turn(engine, 1, 0);
    struct hf_path_key key;
    struct hf_path path = path_to(7, 5684);
    for (uint8_t i = 0; i < 3; i++) {
        struct hf_datagram datagram = {
            .path = path_to(i, 5684), .data = bytes, .len = sizeof bytes};
        assert_int_equal(hf_engine_receive_datagram(engine, &datagram), HF_OK);
        hf_path_seek(&key, engine, &datagram.path);
        assert_int_equal(key.local_index, HF_PATH_LOCAL_NONE);
    }
    assert_true(hf_path_key(&key, engine, &path));
    assert_int_equal(key.local_index, 0);
    hf_path_seek(&key, engine, &path);
    assert_int_equal(key.local_index, 0);
    hf_engine_counters(&counters, engine);
    assert_int_equal(counters.drops[HF_DROP_LOCAL_ADDRESS], 0);
    assert_int_equal(counters.datagrams_out, 0);
    hf_engine_close(engine);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_engine, close_engine)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_equal_paths_have_equal_bytes),
        TEST(test_every_part_counts),
        TEST(test_local_addresses_are_bounded),
        cmocka_unit_test(test_strangers_take_no_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
