/**
 * pool_test.c - the pool against a set of indices: no slot twice, none beyond the count, the last
 * given is the first taken, fresh slots are zero, and used ones keep all but their first four
 * bytes.
 */
#include "pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT 200
#define STRIDE 24

static uint8_t memory[COUNT * STRIDE + STRIDE];
static struct hf_pool pool;

static void begin(void)
{
    memset(memory, 0, sizeof memory);
    memset(memory + COUNT * STRIDE, 0xEE, STRIDE);
    hf_pool_init(&pool, memory, STRIDE, COUNT);
}

static void all_slots_once_then_none(void **state)
{
    (void)state;
    bool is_taken[COUNT] = {false};
    begin();
    for (uint32_t i = 0; i < COUNT; i++) {
        static const uint8_t zero[STRIDE];
        uint32_t index = hf_pool_take(&pool);
        assert_true(index < COUNT && !is_taken[index]);
        is_taken[index] = true;
        assert_ptr_equal(hf_pool_at(&pool, index), memory + index * STRIDE);
        assert_memory_equal(hf_pool_at(&pool, index), zero, STRIDE);
        assert_int_equal(pool.touched, i + 1); /* no slot is touched before it is needed */
    }
    assert_int_equal(hf_pool_take(&pool), UINT32_MAX);
    assert_int_equal(hf_pool_take(&pool), UINT32_MAX);
    assert_int_equal(pool.used, COUNT);
    assert_int_equal(memory[COUNT * STRIDE], 0xEE);
}

static void last_in_first_out(void **state)
{
    (void)state;
    begin();
    for (uint32_t i = 0; i < 10; i++)
        hf_pool_take(&pool);
    hf_pool_give(&pool, 3);
    hf_pool_give(&pool, 7);
    hf_pool_give(&pool, 5);
    assert_int_equal(hf_pool_take(&pool), 5);
    assert_int_equal(hf_pool_take(&pool), 7);
    assert_int_equal(hf_pool_take(&pool), 3);
    assert_int_equal(hf_pool_take(&pool), 10);
}

static void random_takes_and_gives(void **state)
{
    (void)state;
    bool is_taken[COUNT] = {false};
    uint64_t random = 99;
    uint32_t used = 0;
    begin();
    for (int step = 0; step < 100000; step++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        uint32_t pick = (uint32_t)(random >> 40) % COUNT;
        if ((random >> 33) % 2) {
            uint32_t index = hf_pool_take(&pool);
            assert_int_equal(index == UINT32_MAX, used == COUNT);
            if (index == UINT32_MAX)
                continue;
            assert_false(is_taken[index]);
            is_taken[index] = true;
            used++;
            uint8_t *slot = hf_pool_at(&pool, index);
            for (size_t i = 4; i < STRIDE; i++) /* zero, or what its last owner left */
                assert_true(slot[i] == 0 || slot[i] == (uint8_t)index);
            memset(slot, (int)(uint8_t)index, STRIDE);
        } else if (is_taken[pick]) {
            hf_pool_give(&pool, pick);
            is_taken[pick] = false;
            used--;
        }
        assert_int_equal(pool.used, used);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_slots_once_then_none),
        cmocka_unit_test(last_in_first_out),
        cmocka_unit_test(random_takes_and_gives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
