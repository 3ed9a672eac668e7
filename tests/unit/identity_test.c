/**
 * identity_test.c - names kept in a small block or in chained ones: of any length, any bytes, many
 * at once; an exhausted pool keeps nothing by half, and what is given back is wiped.
 */
#include "identity.h"

#include "engine_parts.h"

#include <stdio.h>

#define KEPT_MAX 64

static struct hf_engine *engine;
static uint64_t seed;

static uint32_t below(uint32_t limit)
{
    return engine_parts_below(&seed, limit);
}

struct names {
    bool is_kept;
    uint32_t head;
    size_t entity_len, credential_len, server_len;
    uint8_t entity[HF_ENTITY_ID_MAX];
    uint8_t credential[HF_CREDENTIAL_ID_MAX];
    uint8_t server[255];
};

static struct names kept[KEPT_MAX];

static int setup(void **state)
{
    (void)state;
    memset(kept, 0, sizeof kept);
    engine = engine_parts_open(NULL); /* 64 associations: 128 blocks of 60 bytes */
    seed = 21;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    hf_engine_close(engine);
    return 0;
}

static size_t len_of(const struct names *names)
{
    return 6 + names->entity_len + names->credential_len + names->server_len;
}

/* Of the chained ones. */
static uint32_t blocks_of(const struct names *names)
{
    size_t len = len_of(names);
    if (len <= hf_identity_small_lens[HF_SMALL_IDENTITIES - 1])
        return 0;
    return (uint32_t)((len + HF_IDENTITY_BLOCK_LEN - 5) / (HF_IDENTITY_BLOCK_LEN - 4));
}

/* How many small blocks of the first sizes are in use, by what is kept. */
static uint32_t small_used(size_t size_index)
{
    uint32_t used = 0;
    for (size_t i = 0; i < KEPT_MAX; i++) {
        size_t len = kept[i].is_kept ? len_of(&kept[i]) : SIZE_MAX;
        bool fits_smaller = size_index > 0 && len <= hf_identity_small_lens[size_index - 1];
        used += len <= hf_identity_small_lens[size_index] && !fits_smaller;
    }
    return used;
}

static void draw(struct names *names)
{
    uint32_t kind = below(6);
    memset(names, 0, sizeof *names);
    names->entity_len = below(kind == 0 ? HF_ENTITY_ID_MAX + 1 : 40);
    names->credential_len = below(kind == 1 ? HF_CREDENTIAL_ID_MAX + 1 : 40);
    names->server_len = below(kind == 2 ? 256 : 20);
    for (size_t i = 0; i < names->entity_len; i++)
        names->entity[i] = (uint8_t)below(256);
    for (size_t i = 0; i < names->credential_len; i++)
        names->credential[i] = (uint8_t)below(256);
    for (size_t i = 0; i < names->server_len; i++)
        names->server[i] = (uint8_t)below(256);
}

static enum hf_status keep(struct names *names)
{
    const struct hf_identity identity = {
        .entity_id = {names->entity, names->entity_len},
        .credential_id = {names->credential, names->credential_len},
        .server_name = {names->server, names->server_len},
    };
    return hf_identity_keep(&names->head, engine, &identity);
}

static void check(const struct names *names)
{
    static struct hf_association_info info;
    memset(&info, 0, sizeof info);
    hf_identity_copy(&info, engine, names->head);
    assert_int_equal(info.entity_id_len, names->entity_len);
    assert_int_equal(info.credential_id_len, names->credential_len);
    assert_int_equal(info.server_name_len, names->server_len);
    assert_memory_equal(info.entity_id, names->entity, names->entity_len);
    assert_memory_equal(info.credential_id, names->credential, names->credential_len);
    assert_memory_equal(info.server_name, names->server, names->server_len);
    assert_int_equal(info.entity_id[names->entity_len], 0);
    assert_int_equal(info.credential_id[names->credential_len], 0);
    assert_int_equal(info.server_name[names->server_len], 0);
}

static void many_come_and_go(void **state)
{
    (void)state;
    uint32_t used = 0, refused = 0;
    for (int step = 0; step < 20000; step++) {
        struct names *names = &kept[below(KEPT_MAX)];
        if (names->is_kept) {
            check(names);
            if (below(3))
                continue;
            hf_identity_drop(engine, names->head);
            used -= blocks_of(names);
            names->is_kept = false;
        } else {
            draw(names);
            bool has_room = engine->identities.count - used >= blocks_of(names);
            names->head = 12345;
            enum hf_status status = keep(names);
            assert_int_equal(status, has_room ? HF_OK : HF_E_ASSOCIATION_LIMIT);
            names->is_kept = has_room;
            used += has_room ? blocks_of(names) : 0;
            refused += !has_room;
            assert_true(has_room || names->head == 12345);
        }
        assert_int_equal(engine->identities.used, used); /* nothing is kept by half */
        for (size_t i = 0; i < HF_SMALL_IDENTITIES; i++)
            assert_int_equal(engine->small_identities[i].used, small_used(i));
    }
    assert_true(refused > 0);
    for (size_t i = 0; i < KEPT_MAX; i++) {
        if (kept[i].is_kept)
            hf_identity_drop(engine, kept[i].head);
    }
    assert_int_equal(engine->identities.used, 0);
    for (size_t i = 0; i < HF_SMALL_IDENTITIES; i++)
        assert_int_equal(engine->small_identities[i].used, 0);
}

/* Each length around the sizes of blocks, in the block it should have. */
static void every_length_finds_its_block(void **state)
{
    (void)state;
    for (size_t len = 0; len < 140; len++) {
        struct names *names = &kept[0];
        draw(names);
        names->entity_len = len / 2;
        names->credential_len = len - len / 2;
        names->server_len = 0;
        assert_int_equal(keep(names), HF_OK);
        check(names);
        assert_int_equal(engine->small_identities[0].used, 6 + len <= 32);
        assert_int_equal(engine->small_identities[1].used, 6 + len > 32 && 6 + len <= 48);
        assert_int_equal(engine->identities.used, 6 + len <= 48 ? 0 : (6 + len + 59) / 60);
        hf_identity_drop(engine, names->head);
    }
}

/* More short names than small blocks: the others are chained. */
static void small_blocks_run_out(void **state)
{
    (void)state;
    uint32_t heads[80];
    struct names *names = &kept[0];
    names->entity_len = 3;
    for (uint32_t i = 0; i < 80; i++) {
        memcpy(names->entity, &i, 3);
        assert_int_equal(keep(names), HF_OK);
        heads[i] = names->head;
    }
    assert_true(engine->small_identities[0].used == 64 && engine->small_identities[1].used == 16);
    for (uint32_t i = 0; i < 80; i++) {
        names->head = heads[i];
        memcpy(names->entity, &i, 3);
        check(names);
        hf_identity_drop(engine, heads[i]);
    }
}

static void the_longest_and_none(void **state)
{
    (void)state;
    struct names *names = &kept[0];
    draw(names);
    names->entity_len = HF_ENTITY_ID_MAX;
    names->credential_len = HF_CREDENTIAL_ID_MAX;
    names->server_len = 255;
    memset(names->entity, 0, HF_ENTITY_ID_MAX);
    memset(names->credential, 0xFF, HF_CREDENTIAL_ID_MAX);
    memset(names->server, 's', 255);
    assert_int_equal(keep(names), HF_OK);
    check(names);
    hf_identity_drop(engine, names->head);
    memset(names, 0, sizeof *names);
    assert_int_equal(keep(names), HF_OK);
    assert_int_equal(engine->small_identities[0].used, 1);
    check(names);
    hf_identity_drop(engine, names->head);
    struct hf_association_info info = {.entity_id_len = 0};
    hf_identity_copy(&info, engine, HF_NONE); /* nobody */
    assert_int_equal(info.entity_id_len + info.credential_id_len + info.server_name_len, 0);
    hf_identity_drop(engine, HF_NONE);
    assert_int_equal(engine->identities.used, 0);
}

static void names_that_left_are_wiped(void **state)
{
    (void)state;
    static const char text[] = "C0123456789abcdef-somebody";
    struct names *names = &kept[0];
    names->entity_len = sizeof text;
    memcpy(names->entity, text, sizeof text);
    assert_int_equal(keep(names), HF_OK);
    const struct hf_pool *pool = &engine->small_identities[1];
    size_t len = (size_t)pool->touched * pool->stride;
    assert_non_null(memmem(pool->slots, len, text, sizeof text));
    hf_identity_drop(engine, names->head);
    assert_null(memmem(pool->slots, len, text, sizeof text));
    names->credential_len = 40;
    assert_int_equal(keep(names), HF_OK);
    len = (size_t)engine->identities.touched * engine->identities.stride;
    assert_non_null(memmem(engine->identities.slots, len, text, sizeof text));
    hf_identity_drop(engine, names->head);
    assert_null(memmem(engine->identities.slots, len, text, sizeof text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(many_come_and_go, setup, teardown),
        cmocka_unit_test_setup_teardown(every_length_finds_its_block, setup, teardown),
        cmocka_unit_test_setup_teardown(small_blocks_run_out, setup, teardown),
        cmocka_unit_test_setup_teardown(the_longest_and_none, setup, teardown),
        cmocka_unit_test_setup_teardown(names_that_left_are_wiped, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
