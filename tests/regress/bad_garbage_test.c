/**
 * bad_garbage_test.c - bytes without sense, seeded: pure noise, noise behind good headers, good
 * records with a few bytes changed, and the records of a good client in any order. By the hundred
 * thousand; HF_GARBAGE_SEED repeats a run, HF_GARBAGE_COUNT makes it longer.
 */
#include "engine_fixture.h"

enum { CCS = 20, ALERT = 21, HANDSHAKE = 22, DATA = 23 };

static uint64_t random_state;
static size_t rounds;

static uint32_t next_random(void)
{
    random_state += UINT64_C(0x9E3779B97F4A7C15); /* SplitMix64 */
    uint64_t z = random_state;
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return (uint32_t)(z >> 32);
}

static void seed(uint64_t test)
{
    const char *text = getenv("HF_GARBAGE_SEED");
    const char *count = getenv("HF_GARBAGE_COUNT");
    uint64_t base = text ? strtoull(text, NULL, 0) : 20260;
    rounds = count ? strtoull(count, NULL, 0) : 100000;
    random_state = base * 1000 + test;
    print_message("HF_GARBAGE_SEED=%llu HF_GARBAGE_COUNT=%zu\n", (unsigned long long)base, rounds);
}

static size_t fill(uint8_t *out, size_t max)
{
    size_t len = next_random() % 3 ? next_random() % 100 : next_random() % max;
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)next_random();
    return len;
}

/* Noise behind a header that says something plausible. */
static size_t fill_framed(uint8_t *out, size_t max, bool is_tls)
{
    size_t head = is_tls ? 5 : 13;
    size_t len = fill(out, max);
    if (len < head || next_random() % 8 == 0)
        return len;
    out[0] = (uint8_t)(CCS + next_random() % 4);
    out[1] = is_tls ? 3 : 0xFE;
    out[2] = (uint8_t)(is_tls ? next_random() % 4 : 0xFD + next_random() % 3);
    for (size_t i = 3; i < 10 && !is_tls; i++)
        out[i] = 0;
    if (!is_tls)
        out[4] = (uint8_t)(next_random() % 3);
    out[head - 2] = (uint8_t)((len - head) >> 8);
    out[head - 1] = (uint8_t)(len - head);
    if (out[0] != HANDSHAKE || len < head + 12)
        return len;
    static const uint8_t types[] = {0, 1, 1, 1, 2, 11, 14, 15, 16, 16, 16, 20, 20, 255};
    uint8_t *message = out + head;
    message[0] = types[next_random() % sizeof types];
    memset(message + 1, 0, is_tls ? 2 : 10);
    message[3] = (uint8_t)(next_random() % 120);
    if (!is_tls) {
        message[5] = (uint8_t)(next_random() % 5);
        message[8] = (uint8_t)(next_random() % 4 ? 0 : next_random() % 60);
        message[11] = (uint8_t)(next_random() % 4 ? message[3] : next_random() % 60);
    }
    return len;
}

static void check_now_and_then(struct engine_fixture *fixture, size_t round)
{
    if (round % 5000 == 4999)
        engine_fixture_check_undisturbed(fixture);
    if (round % 100 == 99)
        engine_fixture_advance(fixture, 500000 + next_random() % 1000000);
}

static void garbage_datagrams_from_strangers(void **state)
{
    struct engine_fixture *fixture = *state;
    static uint8_t datagram[2000];
    seed(1);
    for (size_t i = 0; i < rounds; i++) {
        const struct hf_path path =
            engine_fixture_path(0x0A000000 + next_random() % 50, (uint16_t)(1 + i % 7));
        uint64_t before = engine_fixture_rejected(fixture);
        uint64_t cookies = engine_fixture_counters(fixture).cookies_sent;
        size_t len = next_random() % 2 ? fill(datagram, sizeof datagram)
                                       : fill_framed(datagram, sizeof datagram, false);
        engine_fixture_datagram(fixture, &path, datagram, len);
        engine_fixture_run(fixture);
        cookies = engine_fixture_counters(fixture).cookies_sent - cookies;
        assert_true(engine_fixture_rejected(fixture) > before || cookies == 1);
        check_now_and_then(fixture, i);
    }
    assert_int_equal(engine_fixture_counters(fixture).associations, 2);
}

static void garbage_datagrams_from_a_peer(void **state)
{
    struct engine_fixture *fixture = *state;
    static uint8_t datagram[2000];
    seed(2);
    for (size_t i = 0; i < rounds / 200; i++) {
        struct engine_peer *peer = engine_peer_new(fixture, false);
        enum engine_stage stage = next_random() % ENGINE_STAGE_COUNT;
        engine_peer_to_stage(peer, stage);
        peer->is_deaf = true;
        for (size_t k = 0; k < 200; k++) {
            engine_peer_send(peer, datagram, fill_framed(datagram, sizeof datagram, false));
            if (k % 16 == 0)
                engine_fixture_advance(fixture, next_random() % 3000000);
        }
        if (stage == ENGINE_STAGE_OPEN) {
            peer->is_deaf = false;
            assert_true(engine_peer_echoes(peer));
        }
        hf_engine_close_association(fixture->engine, peer->id, HF_CLOSE_SILENT);
        engine_peer_free(peer);
        check_now_and_then(fixture, i * 200);
    }
}

static void garbage_streams(void **state)
{
    struct engine_fixture *fixture = *state;
    static uint8_t bytes[20000];
    seed(3);
    for (size_t i = 0; i < rounds / 5; i++) {
        struct engine_peer *peer = engine_peer_new(fixture, true);
        enum engine_stage stage = next_random() % ENGINE_STAGE_COUNT;
        engine_peer_to_stage(peer, stage);
        for (size_t k = 0; k < 5 && !peer->is_over; k++) {
            size_t max = next_random() % 10 ? 300 : sizeof bytes;
            engine_peer_send(peer, bytes, fill_framed(bytes, max, true));
        }
        if (!peer->is_over) {
            hf_engine_receive_end(fixture->engine, peer->id);
            engine_fixture_run(fixture);
        }
        assert_int_equal(peer->failed_count + peer->closed_count, 1);
        assert_int_equal(peer->data_in_len, 0);
        engine_peer_free(peer);
        check_now_and_then(fixture, i);
    }
    assert_int_equal(engine_fixture_counters(fixture).associations, 2);
}

/* Changes what a good client sends: some bytes of some records. */
static enum psk_client_verdict mutate(enum psk_client_tamper_kind kind, uint8_t type, uint8_t *data,
                                      size_t *len, size_t max, void *arg)
{
    uint32_t *changes = arg;
    (void)type;
    if (next_random() % 3 || (kind == PSK_CLIENT_TAMPER_MESSAGE) != (*changes % 2 == 0))
        return PSK_CLIENT_SEND;
    for (uint32_t i = 1 + next_random() % 3; i > 0; i--) {
        size_t at = next_random() % *len;
        switch (next_random() % 6) {
        case 0:
            data[at] = (uint8_t)next_random();
            break;
        case 1:
            data[at] ^= (uint8_t)(1u << next_random() % 8);
            break;
        case 2:
            data[at] = (uint8_t)(next_random() % 2 ? 0 : 0xFF);
            break;
        case 3:
            if (*len > 5)
                *len -= 1 + next_random() % (*len - 4);
            break;
        case 4: {
            size_t more = next_random() % 40;
            if (*len + more <= max) {
                memset(data + *len, (int)next_random() & 0xFF, more);
                *len += more;
            }
            break;
        }
        default:
            memmove(data + at, data + at / 2, *len - at);
            break;
        }
    }
    *changes += 2;
    return next_random() % 50 ? PSK_CLIENT_SEND : PSK_CLIENT_SKIP;
}

static void mutated_handshakes(void **state)
{
    struct engine_fixture *fixture = *state;
    static const uint16_t suites[] = {0x00A8, 0x00AE, 0xC0A4, 0xC0A8};
    size_t opened = 0;
    seed(4);
    for (size_t i = 0; i < rounds / 5; i++) {
        struct engine_peer *peer = engine_peer_new(fixture, next_random() % 2);
        uint32_t changes = next_random() % 2;
        peer->config.tamper = mutate;
        peer->config.tamper_arg = &changes;
        peer->config.suites[0] = suites[next_random() % 4];
        peer->config.encrypt_then_mac = next_random() % 2;
        peer->config.grease_and_13 = next_random() % 4 == 0;
        peer->config.is_one_record_per_datagram = next_random() % 2;
        peer->config.fragment_len_max = (uint16_t)(next_random() % 4 ? 0 : 60 + next_random() % 60);
        engine_peer_start(peer);
        engine_fixture_run(fixture);
        if (!peer->is_tls && peer->established_count == 0)
            engine_fixture_advance(fixture, next_random() % 8 ? 0 : 3000000);
        opened += peer->established_count;
        if (peer->established_count > 0 && !peer->is_over)
            (void)engine_peer_echoes(peer);
        if (peer->is_tls && !peer->is_over)
            hf_engine_receive_end(fixture->engine, peer->id);
        hf_engine_close_association(fixture->engine, peer->id, HF_CLOSE_SILENT);
        engine_fixture_run(fixture);
        engine_peer_free(peer);
        if (i % 16 == 15)
            engine_fixture_advance(fixture, 61000000); /* what is left half-open goes away */
        check_now_and_then(fixture, i);
    }
    print_message("%zu of %zu handshakes opened in spite of it\n", opened, rounds / 5);
    assert_in_range(opened, rounds / 5 / 100, rounds / 5); /* the mutations are not all fatal */
}

/* The records of a good client, in any order, repeated and left out. */
static void records_in_any_order(void **state)
{
    struct engine_fixture *fixture = *state;
    size_t opened = 0;
    seed(5);
    for (size_t i = 0; i < rounds / 50; i++) {
        struct engine_peer *peer = engine_peer_new(fixture, next_random() % 4 == 0);
        engine_peer_to_stage(peer, next_random() % ENGINE_STAGE_OPEN);
        fixture->answers = next_random() % 3;
        for (size_t k = 0; k < 30; k++) {
            size_t at = next_random() % peer->sent.count;
            size_t to = at + 1 + next_random() % (peer->sent.count - at);
            engine_peer_deliver(peer, at, to);
            if (next_random() % 8 == 0)
                (void)engine_fixture_answer(fixture, next_random() % 2);
            if (next_random() % 8 == 0)
                engine_fixture_advance(fixture, next_random() % 2000000);
        }
        engine_fixture_run(fixture);
        opened += peer->established_count;
        peer->is_gone = true;
        hf_engine_close_association(fixture->engine, peer->id, HF_CLOSE_SILENT);
        engine_fixture_run(fixture);
        engine_peer_free(peer);
        fixture->answers = ENGINE_FIXTURE_AT_ONCE;
        check_now_and_then(fixture, i);
    }
    print_message("%zu of %zu handshakes opened in spite of it\n", opened, rounds / 50);
    assert_in_range(opened, rounds / 50 / 10, rounds / 50);
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, engine_fixture_setup, engine_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(garbage_datagrams_from_strangers),
        TEST(garbage_datagrams_from_a_peer),
        TEST(garbage_streams),
        TEST(mutated_handshakes),
        TEST(records_in_any_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
