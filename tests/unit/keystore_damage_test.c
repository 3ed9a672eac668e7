/**
 * keystore_damage_test.c - a store with any one bit turned, cut short anywhere, or full of noise:
 * found, or without effect. Never a fault, never another answer.
 *
 * First the bits of a small store in turn against the check, which reads without mapping. What it
 * lets pass (room that no page uses) is opened for good, in a child: every key must be the same.
 */
#include "keydb.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define PATH_LEN 1024
#define KEYS 60
#define PAGE_LEN 4096
#define LONG_EVERY 10
#ifdef HF_SANITIZED
#define SPARSE 6U /* a child costs tens of milliseconds there */
#else
#define SPARSE 1U
#endif

static char directory[] = "/tmp/keystore_damage_test.XXXXXX";
static char store[PATH_LEN];
static char file[PATH_LEN + 16];
static char error[HF_KEYDB_ERROR_MAX];
static uint8_t *good;
static size_t good_len;
static uint64_t seed;

static uint64_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* Every tenth has a record too long for a page: overflow pages are damaged too. */
static struct hf_keydb_key key_of(uint32_t i)
{
    static char identity[HF_KEYDB_IDENTITY_MAX + 1];
    static char entity[HF_ENTITY_ID_MAX + 1];
    static uint8_t secret[HF_PSK_MAX];
    bool is_long = i % LONG_EVERY == 0;
    int len = snprintf(identity, sizeof(identity), "device-%05u@example", i);
    memset(entity, 'e', sizeof(entity));
    memset(secret, (int)i, sizeof(secret));
    if (is_long)
        memset(identity + len, 'i', sizeof(identity) - (size_t)len);
    return (struct hf_keydb_key){
        .identity = {(uint8_t *)identity, is_long ? HF_KEYDB_IDENTITY_MAX : (size_t)len},
        .secret = {secret, sizeof(secret)},
        .entity_id = {(uint8_t *)entity, is_long ? HF_ENTITY_ID_MAX : 0},
    };
}

static bool fill(struct hf_keydb *db, uint32_t from, uint32_t until)
{
    bool is_good = hf_keydb_begin(db, error);
    for (uint32_t i = from; i < until && is_good; i++) {
        struct hf_keydb_key key = key_of(i);
        is_good = hf_keydb_put(db, error, &key, true) != HF_KEYDB_FAILED;
    }
    return is_good && hf_keydb_commit(db, error);
}

static int make_store(void **state)
{
    (void)state;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    const char *given = getenv("SEED");
    seed = given == NULL ? (uint64_t)now.tv_nsec + 1 : strtoull(given, NULL, 0);
    print_message("SEED=%llu\n", (unsigned long long)seed);
    if (mkdtemp(directory) == NULL)
        return 1;
    snprintf(store, sizeof(store), "%s/store", directory);
    snprintf(file, sizeof(file), "%s/keys-1.mdb", store);
    struct hf_keydb *db = NULL;
    /* Several transactions: the free list and the change log are not empty. */
    bool is_good = hf_keydb_open(&db, error, store, HF_KEYDB_CREATE) && fill(db, 0, KEYS / 2) &&
                   fill(db, KEYS / 2, KEYS + 5);
    is_good = is_good && hf_keydb_begin(db, error);
    for (uint32_t i = KEYS; i < KEYS + 5 && is_good; i++) {
        struct hf_keydb_key key = key_of(i);
        is_good = hf_keydb_remove(db, error, key.identity) == HF_KEYDB_FOUND;
    }
    is_good = is_good && hf_keydb_commit(db, error);
    hf_keydb_close(db);
    struct stat st;
    int fd = open(file, O_RDONLY);
    is_good = is_good && fd >= 0 && fstat(fd, &st) == 0;
    if (!is_good) {
        print_error("%s\n", error);
        return 1;
    }
    good_len = (size_t)st.st_size;
    good = malloc(good_len);
    bool is_read = good != NULL && read(fd, good, good_len) == st.st_size;
    close(fd);
    return !is_read;
}

static int remove_store(void **state)
{
    (void)state;
    char command[PATH_LEN + 16];
    free(good);
    snprintf(command, sizeof(command), "rm -rf %s", directory);
    return system(command);
}

static void write_file(const uint8_t *data, size_t len)
{
    int fd = open(file, O_WRONLY | O_TRUNC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), (ssize_t)len);
    close(fd);
}

static void write_byte(size_t offset, uint8_t byte)
{
    static int fd = -1;
    if (fd < 0)
        fd = open(file, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)offset), 1);
}

static bool is_found(void)
{
    struct hf_keydb_report report;
    return !hf_keydb_check_file(&report, error, file);
}

enum outcome { SAME = 0, REFUSED = 1, DIFFERENT = 2 };

/* In a child: opens, checks and reads as a daemon does. */
static int use(void)
{
    struct hf_keydb *db = NULL;
    struct hf_keydb_report report;
    if (!hf_keydb_open(&db, error, store, HF_KEYDB_READ) || !hf_keydb_check(&report, error, db))
        return REFUSED;
    if (report.keys != KEYS || hf_keydb_count(db) != KEYS || !hf_keydb_begin_read(db, error))
        return DIFFERENT;
    for (uint32_t i = 0; i < KEYS; i++) {
        struct hf_keydb_key got;
        struct hf_keydb_key key = key_of(i);
        if (hf_keydb_get(&got, error, db, key.identity) != HF_KEYDB_FOUND ||
            got.secret.len != key.secret.len ||
            memcmp(got.secret.data, key.secret.data, key.secret.len) != 0 ||
            got.entity_id.len != key.entity_id.len)
            return DIFFERENT;
    }
    struct hf_keydb_key gone = key_of(KEYS);
    return hf_keydb_get(&gone, error, db, gone.identity) == HF_KEYDB_ABSENT ? SAME : DIFFERENT;
}

static void expect_harmless(size_t bit)
{
    pid_t child = fork();
    if (child == 0)
        _exit(use());
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) >= DIFFERENT) {
        print_error("bit %zu (page %zu, byte %zu): status %#x\n", bit, bit / 8 / PAGE_LEN,
                    bit / 8 % PAGE_LEN, (unsigned)status);
        fail();
    }
}

static void test_untouched_is_sound(void **state)
{
    (void)state;
    assert_false(is_found());
    expect_harmless(0);
}

static void test_every_bit(void **state)
{
    (void)state;
    size_t found = 0;
    size_t used = 0;
    size_t tried = 0;
    for (size_t bit = 0; bit < good_len * 8; bit++) {
        size_t offset = bit / 8;
        /* Every bit of meta pages and of where pages and runs begin; of the rest some, of zeros,
         * which are mostly room to spare, few. */
        if (offset >= 2 * PAGE_LEN && offset % PAGE_LEN >= 64 &&
            next_random() % (SPARSE * (good[offset] == 0 ? 32U : 6U)) != 0)
            continue;
        if (offset < 2 * PAGE_LEN && offset % PAGE_LEN >= 160)
            continue; /* behind what a meta page says */
        tried++;
        write_byte(offset, (uint8_t)(good[offset] ^ 1U << bit % 8));
        if (is_found()) {
            found++;
            assert_true(strstr(error, "damaged") != NULL);
        } else if (bit < (size_t)2 * 8 * PAGE_LEN ? next_random() % SPARSE == 0
                                                  : next_random() % (500 * SPARSE) == 0) {
            used++;
            expect_harmless(bit);
        }
        write_byte(offset, good[offset]);
    }
    print_message("%zu of %zu bits found out, %zu of the others used\n", found, tried, used);
    assert_true(found > tried / 8);
    assert_false(is_found());
}

/* Every secret's every bit: none may be turned unseen. */
static void test_no_secret_changes(void **state)
{
    (void)state;
    size_t seen = 0;
    for (uint32_t i = 1; i < KEYS; i++) {
        uint8_t secret[HF_PSK_MAX];
        memset(secret, (int)i, sizeof(secret));
        for (size_t at = 2 * PAGE_LEN; at + sizeof(secret) <= good_len; at++) {
            if (memcmp(good + at, secret, sizeof(secret)) != 0)
                continue;
            write_byte(at + i % HF_PSK_MAX, (uint8_t)(i ^ 1U << i % 8));
            pid_t child = fork();
            if (child == 0) {
                struct hf_keydb *db = NULL;
                struct hf_keydb_key got;
                struct hf_keydb_key key = key_of(i);
                bool is_open = hf_keydb_open(&db, error, store, HF_KEYDB_READ) &&
                               hf_keydb_begin_read(db, error);
                enum hf_keydb_found result =
                    is_open ? hf_keydb_get(&got, error, db, key.identity) : HF_KEYDB_ABSENT;
                /* An older copy of it, in a page no longer used, may be the one turned. */
                _exit(result == HF_KEYDB_DAMAGED ||
                              (result == HF_KEYDB_FOUND &&
                               memcmp(got.secret.data, secret, sizeof(secret)) == 0)
                          ? result == HF_KEYDB_DAMAGED
                          : 2);
            }
            int status = 0;
            assert_int_equal(waitpid(child, &status, 0), child);
            assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 2);
            seen += (size_t)WEXITSTATUS(status);
            write_byte(at + i % HF_PSK_MAX, (uint8_t)i);
            at += sizeof(secret);
        }
    }
    assert_true(seen >= KEYS - 1);
}

static void test_every_page_boundary_and_some_between(void **state)
{
    (void)state;
    for (size_t len = 0; len < good_len; len += len % PAGE_LEN == 0 ? 100 : PAGE_LEN - 100) {
        assert_int_equal(truncate(file, (off_t)len), 0);
        assert_true(is_found());
        pid_t child = fork();
        if (child == 0)
            _exit(use());
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == REFUSED);
        write_file(good, good_len);
    }
}

/* Noise over the whole of a page: whatever LMDB would do with it, the check ends it. */
static void test_noise(void **state)
{
    (void)state;
    for (int round = 0; round < 2000; round++) {
        size_t at = next_random() % good_len;
        size_t len = 1 + next_random() % PAGE_LEN;
        len = len < good_len - at ? len : good_len - at;
        uint8_t *noise = malloc(len);
        assert_non_null(noise);
        for (size_t i = 0; i < len; i++)
            noise[i] = (uint8_t)next_random();
        int fd = open(file, O_WRONLY);
        assert_int_equal(pwrite(fd, noise, len, (off_t)at), (ssize_t)len);
        if (!is_found() && round % 20 == 0)
            expect_harmless(at * 8);
        assert_int_equal(pwrite(fd, good + at, len, (off_t)at), (ssize_t)len);
        close(fd);
        free(noise);
    }
    assert_false(is_found());
}

/* Pages exchanged, repeated, replaced by older ones: each is whole, together they lie. */
static void test_pages_out_of_place(void **state)
{
    (void)state;
    size_t pages = good_len / PAGE_LEN;
    size_t found = 0;
    for (size_t a = 0; a < pages; a++) {
        for (size_t b = 0; b < pages; b++) {
            if (a == b || memcmp(good + a * PAGE_LEN, good + b * PAGE_LEN, PAGE_LEN) == 0)
                continue;
            int fd = open(file, O_WRONLY);
            assert_int_equal(pwrite(fd, good + a * PAGE_LEN, PAGE_LEN, (off_t)(b * PAGE_LEN)),
                             PAGE_LEN);
            if (is_found())
                found++;
            else
                expect_harmless(b * PAGE_LEN * 8);
            assert_int_equal(pwrite(fd, good + b * PAGE_LEN, PAGE_LEN, (off_t)(b * PAGE_LEN)),
                             PAGE_LEN);
            close(fd);
        }
    }
    assert_true(found > 0);
}

static void test_committed_is_not_behind(void **state)
{
    (void)state;
    char committed[PATH_LEN + 16];
    snprintf(committed, sizeof(committed), "%s/committed", store);
    /* The newer meta page lost: LMDB alone would silently go back a transaction. */
    uint8_t *older = malloc(good_len);
    assert_non_null(older);
    memcpy(older, good, good_len);
    size_t newest = older[PAGE_LEN + 144] > older[144] ? PAGE_LEN : 0;
    older[newest + 144] = (uint8_t)(older[newest + 144] - 2);
    write_file(older, good_len);
    assert_false(is_found()); /* by itself it looks sound */
    struct hf_keydb *db = NULL;
    assert_false(hf_keydb_open(&db, error, store, HF_KEYDB_READ));
    assert_non_null(strstr(error, "acknowledged are lost"));
    free(older);
    write_file(good, good_len);
    assert_int_equal(truncate(committed, 11), 0);
    assert_false(hf_keydb_open(&db, error, store, HF_KEYDB_READ));
    assert_non_null(strstr(error, "committed"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_untouched_is_sound),
        cmocka_unit_test(test_every_bit),
        cmocka_unit_test(test_no_secret_changes),
        cmocka_unit_test(test_every_page_boundary_and_some_between),
        cmocka_unit_test(test_noise),
        cmocka_unit_test(test_pages_out_of_place),
        cmocka_unit_test(test_committed_is_not_behind),
    };
    return cmocka_run_group_tests(tests, make_store, remove_store);
}
