/**
 * wheel_test.c - the timing wheel against a list of due times: random arming, disarming and time
 * that goes on by one tick, by hours, or from just before its counter wraps.
 */
#include "crypto.h"
#include "wheel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RECORDS 300

struct record {
    uint32_t before[3]; /* the wheel must leave its neighbours alone */
    struct hf_timer timer;
    uint32_t after;
};

static struct {
    struct hf_wheel wheel;
    struct record records[RECORDS];
    bool is_armed[RECORDS];
    uint32_t due[RECORDS];
    uint32_t now;
    uint64_t random;
} world;

static uint32_t below(uint32_t limit)
{
    world.random = world.random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((world.random >> 33) % limit);
}

static void begin(uint64_t seed, uint32_t now)
{
    memset(&world, 0, sizeof world);
    memset(world.records, 0, sizeof world.records);
    world.random = seed;
    world.now = now;
    for (size_t i = 0; i < RECORDS; i++)
        world.records[i].after = 0xA5A5A5A5;
    hf_wheel_init(&world.wheel, world.records, sizeof(struct record),
                  offsetof(struct record, timer), now);
}

static void arm(uint32_t index, uint32_t due)
{
    hf_wheel_arm(&world.wheel, index, due);
    bool is_past = (int32_t)(due - world.now) < 1;
    world.is_armed[index] = true;
    world.due[index] = is_past ? world.now + 1 : due;
}

static void disarm(uint32_t index)
{
    hf_wheel_disarm(&world.wheel, index);
    world.is_armed[index] = false;
}

static void check_count(void)
{
    uint32_t armed = 0;
    for (uint32_t i = 0; i < RECORDS; i++) {
        armed += world.is_armed[i];
        assert_int_equal(world.records[i].timer.prev != 0, world.is_armed[i]);
        assert_int_equal(world.records[i].after, 0xA5A5A5A5);
    }
    assert_int_equal(world.wheel.armed, armed);
}

/** Fires all that is due; every one of them, none other, none twice. */
static void go_on_to(uint32_t now)
{
    uint32_t index;
    world.now = now;
    while ((index = hf_wheel_fire(&world.wheel, now)) != UINT32_MAX) {
        assert_true(index < RECORDS && world.is_armed[index]);
        assert_true((int32_t)(world.due[index] - now) <= 0);
        world.is_armed[index] = false;
        if (below(8) == 0) /* a timer may set itself again while others fire */
            arm(index, now + 1 + below(100));
    }
    for (uint32_t i = 0; i < RECORDS; i++)
        assert_true(!world.is_armed[i] || (int32_t)(world.due[i] - now) > 0);
    check_count();
}

static void check_next(void)
{
    uint32_t next, soonest = 0;
    bool is_any = false;
    for (uint32_t i = 0; i < RECORDS; i++) {
        if (world.is_armed[i] && (!is_any || (int32_t)(world.due[i] - soonest) < 0)) {
            soonest = world.due[i];
            is_any = true;
        }
    }
    assert_int_equal(hf_wheel_next(&next, &world.wheel), is_any);
    if (!is_any)
        return;
    assert_true((int32_t)(soonest - next) >= 0); /* never late */
    assert_true((int32_t)(next - world.now) >= 0);
    if (soonest / 64 == world.now / 64)
        assert_int_equal(next, soonest); /* exact within the lowest level's turn */
}

static uint32_t some_distance(void)
{
    switch (below(6)) {
    case 0:
        return below(4);
    case 1:
        return below(64);
    case 2:
        return below(5000);
    case 3:
        return below(300000);
    case 4:
        return below(20) == 0 ? below(20000000) : below(60000);
    default:
        return 63 + 64 * below(70) + below(3); /* around the borders of the levels */
    }
}

static void random_walk(uint64_t seed, uint32_t now)
{
    begin(seed, now);
    for (int step = 0; step < 2000; step++) {
        switch (below(8)) {
        case 0:
        case 1:
        case 2:
            arm(below(RECORDS), world.now + some_distance());
            break;
        case 3:
            arm(below(RECORDS), world.now - below(1000));
            break;
        case 4:
            disarm(below(RECORDS));
            break;
        case 5:
            go_on_to(world.now + 1);
            break;
        default:
            go_on_to(world.now + some_distance());
            break;
        }
        check_next();
    }
    go_on_to(world.now + 100000000);
}

static void random_walks_agree_with_a_list(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        uint32_t now = seed % 4 == 0 ? UINT32_MAX - (uint32_t)seed * 1000 : (uint32_t)seed * 777;
        random_walk(seed, now);
    }
}

/* What an event loop does: sleep until next(), fire, and so on. Nothing fires late. */
static void following_next_is_never_late(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        begin(seed, 1000);
        for (uint32_t i = 0; i < RECORDS; i++)
            arm(i, world.now + 1 + some_distance());
        uint32_t next, index, turns = 0;
        while (hf_wheel_next(&next, &world.wheel)) {
            world.now = next;
            while ((index = hf_wheel_fire(&world.wheel, next)) != UINT32_MAX) {
                assert_int_equal(world.due[index], next);
                world.is_armed[index] = false;
            }
            turns++;
        }
        for (uint32_t i = 0; i < RECORDS; i++)
            assert_false(world.is_armed[i]);
        assert_true(turns < 20000000 / 64 + 5000); /* early, but not idle all the time */
    }
}

static void rearming_moves(void **state)
{
    (void)state;
    begin(1, 50);
    arm(7, 60);
    arm(7, 90);
    assert_int_equal(world.wheel.armed, 1);
    assert_int_equal(hf_wheel_fire(&world.wheel, 89), UINT32_MAX);
    assert_int_equal(hf_wheel_fire(&world.wheel, 90), 7);
    assert_int_equal(hf_wheel_fire(&world.wheel, 90), UINT32_MAX);
    hf_wheel_disarm(&world.wheel, 7); /* twice is once */
    assert_int_equal(world.wheel.armed, 0);
    uint32_t next;
    assert_false(hf_wheel_next(&next, &world.wheel));
}

static void farther_than_the_wheel_reaches(void **state)
{
    (void)state;
    begin(1, 12345);
    arm(1, world.now + (1u << 24) + 5);
    arm(2, world.now + (1u << 30));
    arm(3, world.now + (1u << 24) - 1);
    assert_int_equal(hf_wheel_fire(&world.wheel, 12345 + (1u << 24) - 2), UINT32_MAX);
    assert_int_equal(hf_wheel_fire(&world.wheel, 12345 + (1u << 24) - 1), 3);
    assert_int_equal(hf_wheel_fire(&world.wheel, 12345 + (1u << 24) + 4), UINT32_MAX);
    assert_int_equal(hf_wheel_fire(&world.wheel, 12345 + (1u << 24) + 5), 1);
    assert_int_equal(hf_wheel_fire(&world.wheel, 12345 + (1u << 30) - 1), UINT32_MAX);
    assert_int_equal(hf_wheel_fire(&world.wheel, 12345 + (1u << 30)), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_walks_agree_with_a_list),
        cmocka_unit_test(following_next_is_never_late),
        cmocka_unit_test(rearming_moves),
        cmocka_unit_test(farther_than_the_wheel_reaches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
