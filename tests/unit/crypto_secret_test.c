/**
 * crypto_secret_test.c - wiping, comparing, randomness across requests, threads and forks, and
 * memory a child must not see.
 */
#include "crypto.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void wipe_clears_exactly_the_range(void **state)
{
    uint8_t data[64];

    (void)state;
    memset(data, 0xa5, sizeof data);
    hf_wipe(data + 8, 48);
    for (size_t i = 0; i < sizeof data; i++)
        assert_int_equal(data[i], i < 8 || i >= 56 ? 0xa5 : 0);
    hf_wipe(data, 0);
    assert_int_equal(data[0], 0xa5);
}

static void equal_sees_every_bit(void **state)
{
    uint8_t a[48];
    uint8_t b[48];

    (void)state;
    hf_random(a, sizeof a);
    memcpy(b, a, sizeof b);
    assert_true(hf_ct_equal(a, b, sizeof a));
    assert_true(hf_bytes_equal_public(a, b, sizeof a));
    for (size_t bit = 0; bit < 8 * sizeof a; bit++) {
        b[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(hf_ct_equal(a, b, sizeof a));
        assert_false(hf_bytes_equal_public(a, b, sizeof a));
        // A difference past the end does not count.
        assert_true(hf_ct_equal(a, b, bit / 8));
        assert_true(hf_bytes_equal_public(a, b, bit / 8));
        b[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(hf_ct_equal(NULL, NULL, 0));
    assert_true(hf_bytes_equal_public(NULL, NULL, 0));
}

#define DRAWS 4096
static uint64_t drawn[2 * DRAWS + 2];

static int u64_order(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void assert_all_differ(size_t count)
{
    qsort(drawn, count, sizeof drawn[0], u64_order);
    for (size_t i = 1; i < count; i++)
        assert_true(drawn[i - 1] != drawn[i]);
}

static void *draw_into(void *arg)
{
    uint64_t *out = arg;

    for (size_t i = 0; i < DRAWS; i++)
        hf_random(&out[i], sizeof out[i]);
    return NULL;
}

static void random_never_repeats_across_threads(void **state)
{
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, draw_into, drawn + DRAWS), 0);
    draw_into(drawn);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_all_differ(2 * DRAWS);
}

static void random_fills_every_length(void **state)
{
    uint8_t out[600];

    (void)state;
    for (size_t len = 0; len <= 520; len++) {
        bool touched = len < 16;

        memset(out, 0, sizeof out);
        // 16 bytes are all zero once in 2^128 tries.
        hf_random(out, len);
        for (size_t i = len < 16 ? 0 : len - 16; i < len; i++)
            touched = touched || out[i] != 0;
        assert_true(touched);
        for (size_t i = len; i < sizeof out; i++)
            assert_int_equal(out[i], 0);
    }
}

static void random_has_no_dead_bits(void **state)
{
    uint32_t ones[64] = {0};

    (void)state;
    for (size_t i = 0; i < DRAWS; i++) {
        uint64_t value;

        hf_random(&value, sizeof value);
        for (size_t bit = 0; bit < 64; bit++)
            ones[bit] += (uint32_t)(value >> bit & 1);
    }
    // Twelve standard deviations around the half.
    for (size_t bit = 0; bit < 64; bit++)
        assert_in_range(ones[bit], DRAWS / 2 - 12 * 32, DRAWS / 2 + 12 * 32);
}

static void random_differs_after_fork(void **state)
{
    uint64_t theirs[DRAWS];
    uint64_t first;
    int ends[2];
    int status;
    pid_t child;

    (void)state;
    hf_random(&first, sizeof first); // there is a pool, and it is not empty
    assert_int_equal(pipe(ends), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        draw_into(theirs);
        for (size_t done = 0; done < sizeof theirs;) {
            ssize_t wrote = write(ends[1], (const char *)theirs + done, sizeof theirs - done);

            if (wrote <= 0)
                _exit(1);
            done += (size_t)wrote;
        }
        _exit(0);
    }
    draw_into(drawn);
    for (size_t done = 0; done < sizeof theirs;) {
        ssize_t got = read(ends[0], (char *)(drawn + DRAWS) + done, sizeof theirs - done);

        assert_true(got > 0);
        done += (size_t)got;
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    close(ends[0]);
    close(ends[1]);
    drawn[2 * DRAWS] = first;
    assert_all_differ(2 * DRAWS + 1);
}

static void marked_memory_is_empty_in_a_child(void **state)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *memory =
        mmap(NULL, 4 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int status;
    pid_t child;

    (void)state;
    assert_true(memory != MAP_FAILED);
    memset(memory, 0x5a, 4 * page);
    // Not aligned: whole pages inside are marked, the neighbours stay as they are.
    hf_crypto_mark_secret_memory(memory + 1, 3 * page);
    hf_crypto_mark_secret_memory(memory, 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        bool good = memory[0] == 0x5a && memory[page - 1] == 0x5a && memory[3 * page] == 0x5a;

        for (size_t i = page; i < 3 * page; i++)
            good = good && memory[i] == 0;
        _exit(good ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(memory[page], 0x5a);
    munmap(memory, 4 * page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wipe_clears_exactly_the_range),
        cmocka_unit_test(equal_sees_every_bit),
        cmocka_unit_test(random_never_repeats_across_threads),
        cmocka_unit_test(random_fills_every_length),
        cmocka_unit_test(random_has_no_dead_bits),
        cmocka_unit_test(random_differs_after_fork),
        cmocka_unit_test(marked_memory_is_empty_in_a_child),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
