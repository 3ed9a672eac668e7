/**
 * table_test.c - the path table against a plain array: growth from the smallest size to the
 * largest, look-ups and removals while a region is being emptied, replacement, and keys chosen to
 * collide.
 */
#include "crypto.h"
#include "table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#define COUNT_MAX 20000

struct record {
    uint64_t other;
    struct hf_path_key key;
};

static struct {
    struct hf_table table;
    struct record records[COUNT_MAX];
    bool is_in[COUNT_MAX];
    uint32_t count;
    void *memory;
    size_t memory_len;
    uint64_t random;
} world;

static uint64_t draw(void)
{
    world.random = world.random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return world.random >> 31;
}

static uint32_t below(uint32_t limit)
{
    return (uint32_t)(draw() % limit);
}

static void begin(uint64_t seed)
{
    const uint64_t siphash_key[2] = {seed, ~seed};
    memset(&world, 0, sizeof world);
    world.random = seed;
    world.memory_len = hf_table_memory(COUNT_MAX);
    world.memory =
        mmap(NULL, world.memory_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(world.memory != MAP_FAILED);
    hf_table_init(&world.table, world.memory, COUNT_MAX, world.records, sizeof(struct record),
                  offsetof(struct record, key), siphash_key);
    for (uint32_t i = 0; i < COUNT_MAX; i++) { /* all distinct */
        struct hf_path_key *key = &world.records[i].key;
        uint64_t bits = draw();
        memcpy(key->peer_ip, &bits, 8);
        memcpy(key->peer_ip + 12, &i, 4);
        key->peer_port = (uint16_t)below(65536);
        key->local_index = (uint16_t)below(4);
    }
}

static void end(void)
{
    (void)munmap(world.memory, world.memory_len);
}

static void insert(uint32_t index)
{
    bool is_added = hf_table_insert(&world.table, index);
    assert_true(is_added);
    world.is_in[index] = true;
    world.count++;
}

static void drop(uint32_t index)
{
    hf_table_remove(&world.table, index);
    world.count -= world.is_in[index];
    world.is_in[index] = false;
}

static void check(uint32_t index)
{
    uint32_t found = hf_table_find(&world.table, &world.records[index].key);
    assert_int_equal(found, world.is_in[index] ? index : UINT32_MAX);
}

static void check_all(void)
{
    assert_int_equal(world.table.count, world.count);
    for (uint32_t i = 0; i < COUNT_MAX; i++)
        check(i);
}

/** Slots that hold something, in both regions. */
static uint32_t occupied(void)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < world.table.size; i++)
        count += world.table.slots[i].index != 0;
    for (uint32_t i = 0; world.table.old && i < world.table.old_size; i++)
        count += world.table.old[i].index != 0;
    return count;
}

static void it_grows_to_its_limit_and_back(void **state)
{
    (void)state;
    begin(1);
    uint32_t sizes = 1, size = world.table.size;
    for (uint32_t i = 0; i < COUNT_MAX; i++) {
        insert(i);
        check(below(i + 1)); /* found wherever it lies, moved or not */
        sizes += world.table.size != size;
        size = world.table.size;
        if (i % 1000 == 0)
            check_all();
    }
    assert_true(sizes >= 5);
    assert_true(world.table.size <= world.table.size_max);
    check_all();
    for (uint32_t i = 0; i < COUNT_MAX; i++)
        drop((i * 7919) % COUNT_MAX);
    check_all();
    assert_int_equal(world.table.count, 0);
    assert_int_equal(occupied(), 0);
    end();
}

/* Removing while a region is emptied must leave no hole a probe would stop at. */
static void removals_during_migration(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        begin(seed);
        bool has_migrated = false;
        uint32_t target = 2000 + below(2000);
        for (int step = 0; step < 12000; step++) {
            uint32_t index = below(world.table.old ? 4000 : target);
            if (world.is_in[index] && below(100) < 30)
                drop(index);
            else if (!world.is_in[index])
                insert(index);
            has_migrated |= world.table.old != NULL;
            check(index);
            check(below(4000));
            if (step % 500 == 0 || (world.table.old && step % 50 == 0))
                check_all();
        }
        assert_true(has_migrated);
        assert_int_equal(occupied(), world.count);
        end();
    }
}

/* The one record that lies at the seam: removed the moment migration reaches it. */
static void each_record_removed_at_each_stage_of_a_migration(void **state)
{
    (void)state;
    begin(5);
    uint32_t next = 0;
    while (!world.table.old)
        insert(next++);
    while (world.table.old) {
        uint32_t at = world.table.old_at;
        for (uint32_t i = 0; i < 8 && at + i < world.table.old_size; i++) {
            uint32_t index = world.table.old[at + i].index;
            if (index && i % 2)
                drop(index - 1);
        }
        for (uint32_t i = 0; i < next; i++)
            check(i);
        insert(next++);
    }
    check_all();
    assert_int_equal(occupied(), world.count);
    end();
}

static void a_replacement_keeps_the_place(void **state)
{
    (void)state;
    begin(3);
    uint32_t count = 0;
    while (!world.table.old) /* both regions are to be in use */
        insert(count++);
    for (int i = 0; i < 5; i++)
        insert(count++);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t successor = 10000 + i;
        world.records[successor].key = world.records[i].key;
        hf_table_replace(&world.table, i, successor);
        assert_int_equal(hf_table_find(&world.table, &world.records[i].key), successor);
    }
    hf_table_remove(&world.table, 5); /* no longer there: its successor must stay */
    assert_int_equal(hf_table_find(&world.table, &world.records[5].key), 10005);
    hf_table_replace(&world.table, 5, 6); /* likewise */
    assert_int_equal(hf_table_find(&world.table, &world.records[5].key), 10005);
    assert_int_equal(world.table.count, count);
    end();
}

static void keys_differ_in_every_field(void **state)
{
    (void)state;
    begin(9);
    struct hf_path_key key = world.records[0].key;
    insert(0);
    for (size_t bit = 0; bit < 8 * sizeof key; bit++) {
        struct hf_path_key other = key;
        ((uint8_t *)&other)[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(hf_table_find(&world.table, &other), UINT32_MAX);
    }
    assert_int_equal(hf_table_find(&world.table, &key), 0);
    end();
}

/* Somebody who knew the hash key could make any number of records share a home slot: probes stay
 * bounded, insertion says no, and what is in is still found. */
static void colliding_keys_are_refused_not_searched_for_ever(void **state)
{
    (void)state;
    begin(4);
    uint32_t home = 0, in = 0, refused = 0;
    for (uint32_t i = 0; i < 400; i++) {
        struct hf_path_key *key = &world.records[i].key;
        uint64_t hash;
        do {
            uint64_t bits = draw();
            memcpy(key->peer_ip, &bits, 8);
            hash = hf_siphash(world.table.siphash_key, key, sizeof *key);
        } while ((hash & (world.table.size - 1)) != home);
        bool is_added = hf_table_insert(&world.table, i);
        in += is_added;
        refused += !is_added;
        world.is_in[i] = is_added;
        world.count += is_added;
    }
    assert_true(in >= 100 && refused > 0);
    for (uint32_t i = 0; i < 400; i++)
        check(i);
    assert_int_equal(world.table.count, in);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_grows_to_its_limit_and_back),
        cmocka_unit_test(removals_during_migration),
        cmocka_unit_test(each_record_removed_at_each_stage_of_a_migration),
        cmocka_unit_test(a_replacement_keeps_the_place),
        cmocka_unit_test(keys_differ_in_every_field),
        cmocka_unit_test(colliding_keys_are_refused_not_searched_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
