/**
 * fake_post_test.c - tasks handed to a loop: in order, exactly once, on its thread, also when the
 * loop ends; refused when too many wait or it has ended.
 */
#include "fake_engine.h"
#include "loop_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define POSTERS 4
#define POSTS 20000u

static struct loop_fixture fixture;
static _Atomic uint64_t called, wrong_thread, out_of_order;

struct poster {
    pthread_t thread;
    uint64_t taken;
    uint64_t last_seen; /* by the loop */
};

struct numbered {
    struct poster *poster;
    uint64_t number;
};

static struct poster posters[POSTERS];
static struct numbered numbers[POSTERS][POSTS];

static int setup(void **state)
{
    (void)state;
    fake_reset();
    fixture_init(&fixture);
    fixture_listen(&fixture, HF_TRANSPORT_DTLS, "127.0.0.1", 0);
    called = wrong_thread = out_of_order = 0;
    memset(posters, 0, sizeof posters);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_stop(&fixture);
    return 0;
}

static void count(struct hf_loop *loop, void *arg)
{
    struct numbered *numbered = arg;
    (void)loop;
    called++;
    if (!pthread_equal(pthread_self(), fixture.thread))
        wrong_thread++;
    if (numbered == NULL)
        return;
    if (numbered->number <= numbered->poster->last_seen)
        out_of_order++;
    numbered->poster->last_seen = numbered->number;
}

static void *post_all(void *arg)
{
    struct poster *poster = arg;
    for (uint64_t i = 0; i < POSTS; i++) {
        struct numbered *numbered = &numbers[poster - posters][i];
        *numbered = (struct numbered){poster, i + 1};
        if (hf_loop_post(fixture.loop, count, numbered))
            poster->taken++;
    }
    return NULL;
}

static void await_called(uint64_t expected)
{
    uint64_t until = fixture_now_us() + 10000000;
    while (called < expected && fixture_now_us() < until)
        sched_yield();
    assert_int_equal(called, expected);
}

static void many_threads(void **state)
{
    uint64_t taken = 0;
    (void)state;
    fixture_open(&fixture);
    if (fixture.open_status != HF_OK)
        fail_msg("%s", fixture.error);
    fixture_run(&fixture);
    for (int i = 0; i < POSTERS; i++)
        assert_int_equal(pthread_create(&posters[i].thread, NULL, post_all, &posters[i]), 0);
    for (int i = 0; i < POSTERS; i++) {
        pthread_join(posters[i].thread, NULL);
        taken += posters[i].taken;
    }
    assert_true(taken > 0);
    await_called(taken);
    assert_int_equal(wrong_thread, 0);
    assert_int_equal(out_of_order, 0);
}

static void a_full_queue_refuses(void **state)
{
    (void)state;
    fixture_open(&fixture); /* nobody runs it yet */
    for (uint32_t i = 0; i < HF_LOOP_TASKS_MAX; i++)
        assert_true(hf_loop_post(fixture.loop, count, NULL));
    assert_false(hf_loop_post(fixture.loop, count, NULL));
    fixture_run(&fixture);
    await_called(HF_LOOP_TASKS_MAX);
    assert_true(hf_loop_post(fixture.loop, count, NULL));
    await_called(HF_LOOP_TASKS_MAX + 1);
}

static void post_again(struct hf_loop *loop, void *arg)
{
    uint32_t *left = arg;
    called++;
    if (--*left > 0)
        assert_true(hf_loop_post(loop, post_again, left));
}

static void a_task_posts_the_next(void **state)
{
    uint32_t left = 100;
    (void)state;
    fixture_open(&fixture);
    fixture_run(&fixture);
    assert_true(hf_loop_post(fixture.loop, post_again, &left));
    await_called(100);
}

/* What was taken before the end is called, even by a loop stopped before it ran. */
static void the_end(void **state)
{
    (void)state;
    fixture_open(&fixture);
    fixture_run(&fixture);
    hf_loop_stop(fixture.loop);
    uint64_t taken = 0;
    while (hf_loop_post(fixture.loop, count, NULL)) /* until it has ended, or is full */
        taken++;
    uint64_t until = fixture_now_us() + 5000000;
    while (called < taken && fixture_now_us() < until)
        sched_yield();
    assert_int_equal(called, taken);
}

static void stopped_before_it_ran(void **state)
{
    (void)state;
    fixture_open(&fixture);
    for (int i = 0; i < 3; i++)
        assert_true(hf_loop_post(fixture.loop, count, NULL));
    fixture_stop(&fixture);
    assert_int_equal(called, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(many_threads, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_queue_refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(a_task_posts_the_next, setup, teardown),
        cmocka_unit_test_setup_teardown(the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(stopped_before_it_ran, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
