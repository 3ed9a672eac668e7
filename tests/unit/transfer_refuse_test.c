/**
 * transfer_refuse_test.c - chunks from versions before and after ours, chunks that do not fit here,
 * and chunks that are none.
 */
#include "codec.h"
#include "engine_fixture.h"

#include <handfast/transfer.h>

#define HEADER_LEN 4u
#define ENTRY_LEN 9u /* kind, record, length */

static size_t write_chunk(uint8_t *out, size_t max, const struct hf_engine *engine)
{
    struct hf_transfer *transfer;
    size_t len;
    assert_int_equal(hf_transfer_open(&transfer, engine), HF_OK);
    assert_int_equal(hf_transfer_write(out, &len, max, transfer, engine, 1000), HF_OK);
    hf_transfer_close(transfer);
    return len;
}

static struct hf_engine *importing(struct engine_fixture *fixture)
{
    struct hf_engine *engine = engine_fixture_second(fixture);
    assert_int_equal(hf_engine_import_begin(engine, fixture->now_us, fixture->wall_s), HF_OK);
    return engine;
}

/* In a block of its own, so that a sanitizer sees every over-read. */
static enum hf_status import(struct hf_engine *engine, const uint8_t *data, size_t len)
{
    uint8_t *exact = malloc(len ? len : 1);
    assert_non_null(exact);
    memcpy(exact, data, len);
    enum hf_status status = hf_engine_import(engine, (struct hf_bytes){exact, len});
    free(exact);
    return status;
}

static struct hf_transfer_counts end(struct hf_engine *engine)
{
    struct hf_transfer_counts counts;
    hf_engine_import_end(&counts, engine);
    return counts;
}

static uint32_t number_at(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* Rewrites each live entry field by field. `keep` returns the new length of a field's value, or -1
 * to leave it out; it may change it in place. */
typedef int keep_fn(uint32_t number, uint8_t *value, size_t len, void *arg);

static size_t rewrite(uint8_t *out, const uint8_t *chunk, size_t chunk_len, keep_fn *keep,
                      void *arg, const uint8_t *added, size_t added_len)
{
    size_t at = HEADER_LEN, len = HEADER_LEN;
    memcpy(out, chunk, HEADER_LEN);
    while (at < chunk_len) {
        size_t body_len = number_at(chunk + at + 5), begin = len;
        const uint8_t *body = chunk + at + ENTRY_LEN;
        memcpy(out + len, chunk + at, ENTRY_LEN);
        len += ENTRY_LEN;
        for (size_t i = 0; i < body_len;) {
            uint32_t number = (uint32_t)(body[i] << 8 | body[i + 1]);
            size_t value_len = (size_t)(body[i + 2] << 8 | body[i + 3]);
            memcpy(out + len, body + i, 4 + value_len);
            int kept = keep(number, out + len + 4, value_len, arg);
            if (kept >= 0)
                len += 4 + (size_t)kept;
            i += 4 + value_len;
        }
        if (added_len > 0)
            memcpy(out + len, added, added_len);
        len += added_len;
        size_t new_len = len - begin - ENTRY_LEN;
        for (size_t i = 0; i < 4; i++)
            out[begin + 5 + i] = (uint8_t)(new_len >> (24 - 8 * i));
        at += ENTRY_LEN + body_len;
    }
    return len;
}

static int keep_all(uint32_t number, uint8_t *value, size_t len, void *arg)
{
    (void)number;
    (void)value;
    (void)arg;
    return (int)len;
}

struct change {
    uint32_t number;
    int len; /* -1: left out */
    uint64_t value;
};

static int change_one(uint32_t number, uint8_t *value, size_t len, void *arg)
{
    const struct change *change = arg;
    if (number != change->number)
        return (int)len;
    for (int i = 0; i < change->len && (size_t)i < len; i++)
        value[i] = (uint8_t)(change->value >> (8 * (change->len - 1 - i)));
    return change->len;
}

/* ---- versions ----------------------------------------------------------------------------- */

/* What a later version adds is passed over; the association goes on. */
static void a_later_version_is_read(void **state)
{
    static const uint8_t added[] = {0x70, 0, 0, 3, 'n', 'e', 'w', 0x70, 1, 0, 0};
    struct engine_fixture *fixture = *state;
    uint8_t chunk[HF_TRANSFER_CHUNK_MIN], other[HF_TRANSFER_CHUNK_MIN];
    size_t len = write_chunk(chunk, sizeof chunk, fixture->engine);
    struct hf_engine *engine = importing(fixture);
    len = rewrite(other, chunk, len, keep_all, NULL, added, sizeof added);
    assert_int_equal(import(engine, other, len), HF_OK);
    struct hf_transfer_counts counts = end(engine);
    assert_int_equal(counts.associations, 2);
    assert_int_equal(counts.left_out, 0);
    hf_engine_close(fixture->engine);
    fixture->engine = engine;
    engine_fixture_check_undisturbed(fixture);
}

/* ... unless it says that the association makes no sense without. */
static void what_needs_a_later_version_is_left_out(void **state)
{
    static const uint8_t added[] = {0xF0, 0, 0, 3, 'n', 'e', 'w'};
    struct engine_fixture *fixture = *state;
    uint8_t chunk[HF_TRANSFER_CHUNK_MIN], other[HF_TRANSFER_CHUNK_MIN];
    size_t len = write_chunk(chunk, sizeof chunk, fixture->engine);
    struct hf_engine *engine = importing(fixture);
    len = rewrite(other, chunk, len, keep_all, NULL, added, sizeof added);
    assert_int_equal(import(engine, other, len), HF_OK);
    struct hf_transfer_counts counts = end(engine);
    assert_int_equal(counts.associations, 0);
    assert_int_equal(counts.left_out, 2);
    hf_engine_close(engine);
}

static void so_is_one_with_a_flag_of_a_later_version(void **state)
{
    struct engine_fixture *fixture = *state;
    uint8_t chunk[HF_TRANSFER_CHUNK_MIN], other[HF_TRANSFER_CHUNK_MIN];
    struct change flags = {2, 4, UINT64_C(0x8000000F)};
    size_t len = write_chunk(chunk, sizeof chunk, fixture->engine);
    struct hf_engine *engine = importing(fixture);
    len = rewrite(other, chunk, len, change_one, &flags, NULL, 0);
    assert_int_equal(import(engine, other, len), HF_OK);
    assert_int_equal(end(engine).left_out, 2);
    hf_engine_close(engine);
}

/* What an earlier version did not write has its default: associations of it go on. */
static void an_earlier_version_is_read(void **state)
{
    static const uint32_t optional[] = {7,  10, 11, 12, 13, 14, 15, 18, 57,
                                        58, 59, 65, 66, 67, 68, 69, 81, 82};
    struct engine_fixture *fixture = *state;
    for (size_t i = 0; i < sizeof optional / sizeof optional[0]; i++) {
        uint8_t chunk[HF_TRANSFER_CHUNK_MIN], other[HF_TRANSFER_CHUNK_MIN];
        struct change gone = {optional[i], -1, 0};
        size_t len = write_chunk(chunk, sizeof chunk, fixture->engine);
        struct hf_engine *engine = importing(fixture);
        size_t other_len = rewrite(other, chunk, len, change_one, &gone, NULL, 0);
        assert_true(other_len < len);
        assert_int_equal(import(engine, other, other_len), HF_OK);
        assert_int_equal(end(engine).associations, 2);
        hf_engine_close(fixture->engine);
        fixture->engine = engine;
        engine_fixture_check_undisturbed(fixture);
    }
}

/* ---- what does not fit -------------------------------------------------------------------- */

static void nonsense_is_refused(void **state)
{
    static const struct change changes[] = {
        {1, 4, 0},           {2, 4, 0},           {3, 1, 7},     {3, 1, 0xFF}, {4, 2, 0},
        {4, 2, 0xC02B},      {5, 1, 9},           {6, 1, 9},     {8, 2, 0},    {8, 2, 62},
        {8, 2, 16385},       {9, 2, 0},           {9, 2, 20000}, {10, 1, 200}, {13, 1, 77},
        {16, 8, UINT64_MAX}, {17, 8, UINT64_MAX}, {32, 1, 0},    {32, 1, 9},   {40, 1, 0},
        {40, 1, 77},         {4, -1, 0},          {16, -1, 0},   {32, -1, 0},  {2, -1, 0},
        {3, 0, 0},           {34, 3, 0},          {48, 0, 0},
    };
    struct engine_fixture *fixture = *state;
    uint8_t chunk[HF_TRANSFER_CHUNK_MIN], other[HF_TRANSFER_CHUNK_MIN];
    size_t len = write_chunk(chunk, sizeof chunk, fixture->engine);
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        struct change change = changes[i];
        struct hf_engine *engine = importing(fixture);
        size_t other_len = rewrite(other, chunk, len, change_one, &change, NULL, 0);
        enum hf_status status = import(engine, other, other_len);
        if (status != HF_E_ARGUMENT && status != HF_E_DECODE)
            print_error("change %zu: %s\n", i, hf_status_reason(status));
        assert_true(status == HF_E_ARGUMENT || status == HF_E_DECODE);
        assert_int_equal(end(engine).associations, 0);
        hf_engine_close(engine);
    }
}

static void a_listener_that_is_gone(void **state)
{
    struct engine_fixture *fixture = *state;
    uint8_t chunk[HF_TRANSFER_CHUNK_MIN];
    size_t len = write_chunk(chunk, sizeof chunk, fixture->engine);
    fixture->config.listener_count = 1;
    struct hf_engine *engine = importing(fixture);
    fixture->config.listener_count = 2;
    assert_int_equal(import(engine, chunk, len), HF_E_ARGUMENT);
    assert_int_equal(end(engine).associations, 1);
    hf_engine_close(engine);
}

static void too_many(void **state)
{
    enum { PEERS = 8 };
    struct engine_fixture *fixture = *state;
    uint8_t chunk[HF_TRANSFER_CHUNK_MIN];
    struct engine_peer *peers[PEERS];
    for (size_t i = 0; i < PEERS; i++) {
        peers[i] = engine_peer_new(fixture, false);
        engine_peer_open(peers[i]);
    }
    size_t len = write_chunk(chunk, sizeof chunk, fixture->engine);
    struct hf_config config = fixture->config;
    fixture->config.associations_max = fixture->config.handshakes_max = 4;
    fixture->config.handshakes_pressure = 4;
    struct hf_engine *engine = importing(fixture);
    fixture->config = config;
    assert_int_equal(import(engine, chunk, len), HF_E_ASSOCIATION_LIMIT);
    assert_int_equal(end(engine).associations, 4);
    hf_engine_close(engine);
    for (size_t i = 0; i < PEERS; i++) {
        engine_peer_end(peers[i]);
        engine_peer_free(peers[i]);
    }
}

static void only_into_a_new_engine(void **state)
{
    struct engine_fixture *fixture = *state;
    uint8_t chunk[HF_TRANSFER_CHUNK_MIN];
    size_t len = write_chunk(chunk, sizeof chunk, fixture->engine);
    assert_int_equal(hf_engine_import_begin(fixture->engine, fixture->now_us, fixture->wall_s),
                     HF_E_STATE);
    struct hf_engine *engine = engine_fixture_second(fixture);
    assert_int_equal(import(engine, chunk, len), HF_E_STATE);
    assert_int_equal(hf_engine_import_begin(engine, fixture->now_us, fixture->wall_s), HF_OK);
    assert_int_equal(hf_engine_import_begin(engine, fixture->now_us, fixture->wall_s), HF_E_STATE);
    assert_int_equal(import(engine, chunk, len), HF_OK);
    assert_int_equal(end(engine).associations, 2);
    assert_int_equal(import(engine, chunk, len), HF_E_STATE);
    assert_int_equal(hf_engine_import_begin(engine, fixture->now_us, fixture->wall_s), HF_E_STATE);
    hf_engine_close(engine);
}

static void a_small_buffer_is_refused(void **state)
{
    struct engine_fixture *fixture = *state;
    uint8_t chunk[HF_TRANSFER_CHUNK_MIN];
    struct hf_transfer *transfer;
    size_t len;
    assert_int_equal(hf_transfer_open(&transfer, fixture->engine), HF_OK);
    assert_int_equal(hf_transfer_write(chunk, &len, sizeof chunk - 1, transfer, fixture->engine, 9),
                     HF_E_ARGUMENT);
    hf_transfer_close(transfer);
    hf_transfer_close(NULL);
}

/* ---- what is no chunk --------------------------------------------------------------------- */

/* Whatever came of it: an engine that serves, and ends. */
static void use(struct engine_fixture *fixture, struct hf_engine *engine)
{
    static const uint8_t junk[] = {23, 0xFE, 0xFD, 0, 1, 0, 0, 0, 0, 0, 9, 0, 3, 1, 2, 3};
    uint8_t data[sizeof junk];
    struct hf_event event;
    struct hf_output output;
    (void)end(engine);
    hf_engine_begin_turn(engine, fixture->now_us, fixture->wall_s);
    memcpy(data, junk, sizeof junk);
    struct hf_datagram datagram = {
        .path = fixture->bystanders[0]->path, .data = data, .len = sizeof data};
    (void)hf_engine_receive_datagram(engine, &datagram);
    hf_engine_end_turn(engine);
    for (uint32_t at = 0; at < hf_engine_association_slots(engine);) {
        struct hf_association_entry entry;
        if (hf_engine_next_association(&entry, &at, engine, UINT32_MAX))
            hf_engine_close_association(engine, entry.association, HF_CLOSE_NOTIFY);
    }
    while (hf_engine_take_event(engine, &event) || hf_engine_take_output(engine, &output))
        continue;
    hf_engine_close(engine);
}

static void every_cut_is_refused(void **state)
{
    struct engine_fixture *fixture = *state;
    uint8_t chunk[HF_TRANSFER_CHUNK_MIN];
    size_t len = write_chunk(chunk, sizeof chunk, fixture->engine), taken = 0;
    for (size_t cut = 0; cut < len; cut++) {
        struct hf_engine *engine = importing(fixture);
        taken += import(engine, chunk, cut) == HF_OK;
        use(fixture, engine);
    }
    assert_int_equal(taken, 2); /* no entries, and the first alone */
}

static void every_byte_may_be_wrong(void **state)
{
    struct engine_fixture *fixture = *state;
    uint8_t chunk[HF_TRANSFER_CHUNK_MIN];
    size_t len = write_chunk(chunk, sizeof chunk, fixture->engine);
    for (size_t i = 0; i < len; i++) {
        static const uint8_t wrong[] = {0x01, 0x80, 0xFF};
        for (size_t k = 0; k < sizeof wrong; k++) {
            struct hf_engine *engine = importing(fixture);
            chunk[i] ^= wrong[k];
            enum hf_status status = import(engine, chunk, len);
            assert_true(i >= HEADER_LEN || status == HF_E_DECODE);
            use(fixture, engine);
            chunk[i] ^= wrong[k];
        }
    }
    engine_fixture_check_undisturbed(fixture);
}

int main(void)
{
#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, engine_fixture_setup, engine_fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_later_version_is_read),
        TEST(what_needs_a_later_version_is_left_out),
        TEST(so_is_one_with_a_flag_of_a_later_version),
        TEST(an_earlier_version_is_read),
        TEST(nonsense_is_refused),
        TEST(a_listener_that_is_gone),
        TEST(too_many),
        TEST(only_into_a_new_engine),
        TEST(a_small_buffer_is_refused),
        TEST(every_cut_is_refused),
        TEST(every_byte_may_be_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
