/**
 * keystore_db_test.c - the store on disk: what is put is got, transactions, revisions, backup and
 * restore. Damage has a test of its own.
 */
#include "keydb.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
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

static char directory[] = "/tmp/keystore_db_test.XXXXXX";
static char store[PATH_LEN];
static char error[HF_KEYDB_ERROR_MAX];

static int make_store(void **state)
{
    static int number;
    (void)state;
    snprintf(store, sizeof(store), "%s/%d", directory, ++number);
    error[0] = '\0';
    return 0;
}

static int make_directory(void **state)
{
    (void)state;
    return mkdtemp(directory) == NULL;
}

static int remove_directory(void **state)
{
    (void)state;
    char command[PATH_LEN];
    snprintf(command, sizeof(command), "rm -rf %s", directory);
    return system(command);
}

static struct hf_bytes text(const char *string)
{
    return (struct hf_bytes){(const uint8_t *)string, strlen(string)};
}

static void check(bool is_good)
{
    if (!is_good)
        print_error("%s\n", error);
    assert_true(is_good);
}

static struct hf_keydb *open_store(enum hf_keydb_access access)
{
    struct hf_keydb *db = NULL;
    check(hf_keydb_open(&db, error, store, access));
    return db;
}

static struct hf_keydb_key key_of(const char *identity, uint8_t fill)
{
    static uint8_t secrets[256][32];
    memset(secrets[fill], fill, sizeof(secrets[fill]));
    return (struct hf_keydb_key){
        .identity = text(identity),
        .secret = {secrets[fill], sizeof(secrets[fill])},
    };
}

static void put(struct hf_keydb *db, const struct hf_keydb_key *key, enum hf_keydb_put expected)
{
    check(hf_keydb_begin(db, error));
    enum hf_keydb_put got = hf_keydb_put(db, error, key, true);
    if (got == HF_KEYDB_FAILED)
        print_error("%s\n", error);
    assert_int_equal(got, expected);
    check(hf_keydb_commit(db, error));
}

/* The revision of what is there; 0: nothing. */
static uint64_t revision_of(struct hf_keydb *db, const char *identity, uint8_t fill)
{
    struct hf_keydb_key key;
    check(hf_keydb_begin_read(db, error));
    enum hf_keydb_found found = hf_keydb_get(&key, error, db, text(identity));
    assert_int_not_equal(found, HF_KEYDB_DAMAGED);
    if (found == HF_KEYDB_FOUND) {
        assert_int_equal(key.secret.len, 32);
        assert_int_equal(key.secret.data[0], fill);
        assert_int_equal(key.identity.len, strlen(identity));
        assert_memory_equal(key.identity.data, identity, key.identity.len);
    }
    hf_keydb_end_read(db);
    return found == HF_KEYDB_FOUND ? key.revision : 0;
}

static void check_whole(struct hf_keydb *db, uint64_t keys)
{
    struct hf_keydb_report report;
    check(hf_keydb_check(&report, error, db));
    assert_int_equal(report.keys, keys);
    assert_int_equal(hf_keydb_count(db), keys);
}

static void test_keeps_every_field(void **state)
{
    (void)state;
    struct hf_keydb *db = open_store(HF_KEYDB_CREATE);
    struct hf_keydb_key key = key_of("dev@in-cse.example", 7);
    key.entity_id = text("/cse1/Cae7");
    key.entity_kind = HF_ENTITY_AE;
    key.authority = text("factory-7");
    key.not_before_s = 1000;
    key.not_after_s = UINT32_MAX;
    put(db, &key, HF_KEYDB_ADDED);
    hf_keydb_close(db);

    db = open_store(HF_KEYDB_READ);
    struct hf_keydb_key got;
    check(hf_keydb_begin_read(db, error));
    assert_int_equal(hf_keydb_get(&got, error, db, key.identity), HF_KEYDB_FOUND);
    assert_int_equal(got.secret.len, key.secret.len);
    assert_memory_equal(got.secret.data, key.secret.data, key.secret.len);
    assert_int_equal(got.entity_id.len, 10);
    assert_memory_equal(got.entity_id.data, "/cse1/Cae7", 10);
    assert_int_equal(got.authority.len, 9);
    assert_memory_equal(got.authority.data, "factory-7", 9);
    assert_int_equal(got.entity_kind, HF_ENTITY_AE);
    assert_int_equal(got.not_before_s, 1000);
    assert_int_equal(got.not_after_s, UINT32_MAX);
    assert_true(got.created_s <= time(NULL) && got.created_s > time(NULL) - 60);
    assert_true(got.revision > 0);
    assert_int_equal(hf_keydb_get(&got, error, db, text("dev@in-cse.exampl")), HF_KEYDB_ABSENT);
    hf_keydb_end_read(db);
    hf_keydb_close(db);
}

/* 510 bytes is the last that LMDB takes as it is; two long ones differ at their end only. */
static void test_identities_of_every_length(void **state)
{
    (void)state;
    char identity[HF_KEYDB_IDENTITY_MAX + 2];
    struct hf_keydb *db = open_store(HF_KEYDB_CREATE);
    static const size_t lengths[] = {1, 2, 479, 480, 509, 510, 511, 512, 1023, 1024};
    memset(identity, 'x', sizeof(identity));
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        identity[lengths[i]] = '\0';
        struct hf_keydb_key key = key_of(identity, (uint8_t)i);
        put(db, &key, HF_KEYDB_ADDED);
        identity[lengths[i]] = 'x';
    }
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        identity[lengths[i]] = '\0';
        assert_int_not_equal(revision_of(db, identity, (uint8_t)i), 0);
        identity[lengths[i] - 1] = 'y';
        assert_int_equal(revision_of(db, identity, 0), 0);
        identity[lengths[i] - 1] = 'x';
        identity[lengths[i]] = 'x';
    }
    identity[1025] = '\0';
    struct hf_keydb_key key = key_of(identity, 1);
    check(hf_keydb_begin(db, error));
    assert_int_equal(hf_keydb_put(db, error, &key, true), HF_KEYDB_FAILED);
    hf_keydb_abort(db);
    check_whole(db, 10);
    hf_keydb_close(db);
}

static void test_refuses_what_breaks_limits(void **state)
{
    (void)state;
    struct hf_keydb *db = open_store(HF_KEYDB_CREATE);
    struct hf_keydb_key good = key_of("a", 1);
    uint8_t longer[600] = {0};
    for (int i = 0; i < 6; i++) {
        struct hf_keydb_key key = good;
        if (i == 0)
            key.secret.len = 15;
        if (i == 1)
            key.secret = (struct hf_bytes){longer, 65};
        if (i == 2)
            key.entity_id = (struct hf_bytes){longer, 513};
        if (i == 3)
            key.authority = (struct hf_bytes){longer, 65};
        if (i == 4)
            key.not_after_s = (int64_t)UINT32_MAX + 1;
        if (i == 5)
            key.not_before_s = -1;
        check(hf_keydb_begin(db, error));
        assert_int_equal(hf_keydb_put(db, error, &key, true), HF_KEYDB_FAILED);
        hf_keydb_abort(db);
    }
    check_whole(db, 0);
    hf_keydb_close(db);
}

static void test_revisions_and_what_is_retired(void **state)
{
    (void)state;
    struct hf_keydb *db = open_store(HF_KEYDB_CREATE);
    struct hf_keydb_key key = key_of("a", 1);
    put(db, &key, HF_KEYDB_ADDED);
    uint64_t first = revision_of(db, "a", 1);
    put(db, &key, HF_KEYDB_UNCHANGED);
    assert_int_equal(revision_of(db, "a", 1), first);

    check(hf_keydb_begin_read(db, error));
    uint64_t cursor = hf_keydb_cursor(db);
    hf_keydb_end_read(db);
    key = key_of("a", 2);
    check(hf_keydb_begin(db, error));
    assert_int_equal(hf_keydb_put(db, error, &key, false), HF_KEYDB_EXISTS);
    hf_keydb_abort(db);
    put(db, &key, HF_KEYDB_REPLACED);
    uint64_t second = revision_of(db, "a", 2);
    assert_true(second > first);
    check(hf_keydb_begin(db, error));
    assert_int_equal(hf_keydb_remove(db, error, text("a")), HF_KEYDB_FOUND);
    assert_int_equal(hf_keydb_remove(db, error, text("a")), HF_KEYDB_ABSENT);
    check(hf_keydb_commit(db, error));
    assert_int_equal(revision_of(db, "a", 0), 0);

    uint64_t retired[4];
    check(hf_keydb_begin_read(db, error));
    assert_int_equal(hf_keydb_retired(retired, 1, &cursor, db), 1);
    assert_int_equal(retired[0], first);
    assert_int_equal(hf_keydb_retired(retired, 4, &cursor, db), 1);
    assert_int_equal(retired[0], second);
    assert_int_equal(hf_keydb_retired(retired, 4, &cursor, db), 0);
    hf_keydb_end_read(db);
    check_whole(db, 0);
    hf_keydb_close(db);
}

static void fill(struct hf_keydb *db, uint32_t from, uint32_t until, uint8_t secret)
{
    char identity[40];
    check(hf_keydb_begin(db, error));
    for (uint32_t i = from; i < until; i++) {
        snprintf(identity, sizeof(identity), "device-%08u@example", i);
        struct hf_keydb_key key = key_of(identity, secret);
        enum hf_keydb_put got = hf_keydb_put(db, error, &key, true);
        assert_true(got == HF_KEYDB_ADDED || got == HF_KEYDB_REPLACED);
    }
    check(hf_keydb_commit(db, error));
}

static void test_grows_past_its_first_map(void **state)
{
    (void)state;
    struct hf_keydb *db = open_store(HF_KEYDB_CREATE);
    char identity[600];
    memset(identity, 'i', sizeof(identity) - 1);
    identity[599] = '\0';
    char entity[513];
    memset(entity, 'e', 512);
    for (int batch = 0; batch < 4; batch++) {
        check(hf_keydb_begin(db, error));
        for (int i = 0; i < HF_KEYDB_PUTS_MAX; i++) {
            int len = snprintf(identity, 12, "%d-%07d", batch, i);
            identity[len] = 'i';
            struct hf_keydb_key key = key_of(identity, 3);
            key.entity_id = (struct hf_bytes){(uint8_t *)entity, 512};
            enum hf_keydb_put got = hf_keydb_put(db, error, &key, false);
            if (got != HF_KEYDB_ADDED)
                print_error("%s\n", error);
            assert_int_equal(got, HF_KEYDB_ADDED);
        }
        check(hf_keydb_commit(db, error));
    }
    check_whole(db, 4 * HF_KEYDB_PUTS_MAX);
    hf_keydb_close(db);
}

/* A reader that was there before the map grew, in a process of its own. */
static void test_reader_follows_a_growing_map(void **state)
{
    (void)state;
    hf_keydb_close(open_store(HF_KEYDB_CREATE));
    int to_child[2];
    int to_parent[2];
    assert_int_equal(pipe(to_child) | pipe(to_parent), 0);
    pid_t child = fork();
    if (child == 0) {
        char byte = 'r';
        struct hf_keydb *reader = NULL;
        bool is_good = hf_keydb_open(&reader, error, store, HF_KEYDB_READ) &&
                       hf_keydb_begin_read(reader, error);
        if (is_good)
            hf_keydb_end_read(reader);
        is_good = is_good && write(to_parent[1], &byte, 1) == 1 && read(to_child[0], &byte, 1) == 1;
        struct hf_keydb_key key;
        is_good =
            is_good && hf_keydb_begin_read(reader, error) &&
            hf_keydb_get(&key, error, reader, text("device-00019999@example")) == HF_KEYDB_FOUND;
        _exit(is_good ? 0 : 1);
    }
    char byte = 0;
    assert_int_equal(read(to_parent[0], &byte, 1), 1);
    struct hf_keydb *db = open_store(HF_KEYDB_WRITE);
    for (uint32_t i = 0; i < 2; i++)
        fill(db, i * 10000, (i + 1) * 10000, 1);
    assert_int_equal(write(to_child[1], &byte, 1), 1);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    hf_keydb_close(db);
}

static void test_modes_are_checked(void **state)
{
    (void)state;
    struct hf_keydb *db = open_store(HF_KEYDB_CREATE);
    hf_keydb_close(db);
    char file[PATH_LEN + 16];
    snprintf(file, sizeof(file), "%s/keys-1.mdb", store);
    struct stat st;
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(chmod(file, 0640), 0);
    assert_false(hf_keydb_open(&db, error, store, HF_KEYDB_READ));
    assert_non_null(strstr(error, "chmod 600"));
    assert_int_equal(chmod(file, 0600) | chmod(store, 0750), 0);
    assert_false(hf_keydb_open(&db, error, store, HF_KEYDB_READ));
    assert_non_null(strstr(error, "chmod 700"));
    assert_int_equal(chmod(store, 0700), 0);
    hf_keydb_close(open_store(HF_KEYDB_READ));
}

static void test_absent_store_is_named(void **state)
{
    (void)state;
    struct hf_keydb *db = NULL;
    assert_false(hf_keydb_open(&db, error, store, HF_KEYDB_WRITE));
    assert_non_null(strstr(error, store));
    assert_non_null(strstr(error, "no key store"));
}

static void collect(uint64_t revision, void *arg)
{
    uint64_t **at = arg;
    *(*at)++ = revision;
}

static void test_backup_and_restore(void **state)
{
    (void)state;
    char file[PATH_LEN + 16];
    struct hf_keydb_report report;
    struct hf_keydb_restore restored;
    snprintf(file, sizeof(file), "%s.backup", store);
    struct hf_keydb *db = open_store(HF_KEYDB_CREATE);
    fill(db, 0, 100, 1);
    check(hf_keydb_backup(&report, error, db, file, false));
    assert_int_equal(report.keys, 100);
    assert_false(hf_keydb_backup(&report, error, db, file, false));
    assert_non_null(strstr(error, "--force"));
    uint64_t kept = revision_of(db, "device-00000050@example", 1);
    fill(db, 0, 10, 2);    /* replaced: the restore ends them */
    fill(db, 100, 111, 1); /* added: likewise */
    hf_keydb_close(db);

    assert_false(hf_keydb_restore(&restored, error, store, file, 10));
    assert_non_null(strstr(error, "21 of 111"));
    db = open_store(HF_KEYDB_READ);
    assert_int_equal(hf_keydb_generation(db), 1);
    check(hf_keydb_restore(&restored, error, store, file, 20));
    assert_true(restored.is_comparable);
    assert_int_equal(restored.keys_before, 111);
    assert_int_equal(restored.keys_retired, 21);
    /* Who had it open reads on, and is told. */
    assert_int_equal(revision_of(db, "device-00000000@example", 2) > kept, true);
    assert_false(hf_keydb_is_current(db));
    struct hf_keydb *after = open_store(HF_KEYDB_READ);
    uint64_t revisions[32];
    uint64_t *at = revisions;
    uint64_t count = 0;
    check(hf_keydb_difference(&count, error, db, after, collect, &at));
    assert_int_equal(count, 21);
    assert_ptr_equal(at, revisions + 21);
    assert_int_equal(revision_of(after, "device-00000050@example", 1), kept);
    assert_int_equal(revision_of(after, "device-00000110@example", 1), 0);
    check_whole(after, 100);
    hf_keydb_close(after);
    hf_keydb_close(db);

    /* A revision is never given twice. */
    db = open_store(HF_KEYDB_WRITE);
    fill(db, 0, 1, 9);
    uint64_t fresh = revision_of(db, "device-00000000@example", 9);
    for (int i = 0; i < 21; i++)
        assert_true(fresh > revisions[i]);
    hf_keydb_close(db);
}

static void test_restore_waits_for_no_writer(void **state)
{
    (void)state;
    char file[PATH_LEN + 16];
    struct hf_keydb_report report;
    struct hf_keydb_restore restored;
    snprintf(file, sizeof(file), "%s.backup", store);
    struct hf_keydb *db = open_store(HF_KEYDB_CREATE);
    check(hf_keydb_backup(&report, error, db, file, false));
    assert_false(hf_keydb_restore(&restored, error, store, file, 100));
    assert_non_null(strstr(error, "somebody writes"));
    hf_keydb_close(db);
    check(hf_keydb_restore(&restored, error, store, file, 100));
}

static int die(void *arg)
{
    const int *signal_number = arg;
    (void)raise(*signal_number);
    return 0;
}

static int return_seven(void *arg)
{
    (void)arg;
    return 7;
}

static void test_guard_outlives_its_work(void **state)
{
    (void)state;
    int number = SIGBUS;
    assert_int_equal(hf_keydb_guard(return_seven, NULL), 7);
    assert_int_equal(hf_keydb_guard(die, &number), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_keeps_every_field, make_store),
        cmocka_unit_test_setup(test_identities_of_every_length, make_store),
        cmocka_unit_test_setup(test_refuses_what_breaks_limits, make_store),
        cmocka_unit_test_setup(test_revisions_and_what_is_retired, make_store),
        cmocka_unit_test_setup(test_grows_past_its_first_map, make_store),
        cmocka_unit_test_setup(test_reader_follows_a_growing_map, make_store),
        cmocka_unit_test_setup(test_modes_are_checked, make_store),
        cmocka_unit_test_setup(test_absent_store_is_named, make_store),
        cmocka_unit_test_setup(test_backup_and_restore, make_store),
        cmocka_unit_test_setup(test_restore_waits_for_no_writer, make_store),
        cmocka_unit_test_setup(test_guard_outlives_its_work, make_store),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
