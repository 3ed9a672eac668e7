/**
 * keystore_test.c - the key file on disk: permissions, errors that name it, and replacing it while
 * other threads look keys up.
 */
#include "keystore.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define KEY_A "000102030405060708090a0b0c0d0e0f"
#define KEY_B "ffeeddccbbaa99887766554433221100"

static char directory[] = "/tmp/keystore_test.XXXXXX";
static char path[64];
static char error[HF_KEYSTORE_ERROR_MAX];

static const uint8_t context_key[16] = {1, 2, 3};
static struct hf_keystore_change change;

/* All or nothing, as the daemon does it. */
static bool reload(struct hf_keystore *store)
{
    bool is_good = hf_keystore_prepare(store, &change, error, path);
    free(change.ended);
    if (is_good)
        hf_keystore_commit(store);
    return is_good;
}

static int set_up(void **state)
{
    (void)state;
    if (mkdtemp(directory) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/keys", directory);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(directory);
}

static void write_keys(const char *text, mode_t mode)
{
    unlink(path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_int_equal(chmod(path, mode), 0);
}

static void expect_error(const char *file, const char *needle)
{
    struct hf_keystore *store = NULL;
    assert_false(hf_keystore_open(&store, error, file, 1, context_key));
    if (strstr(error, needle) == NULL || strstr(error, file) != error)
        print_error("%s\n", error);
    assert_ptr_equal(strstr(error, file), error);
    assert_non_null(strstr(error, needle));
    assert_null(strchr(error, '\n'));
}

/* The answers come here instead of to an engine. */
static _Thread_local struct hf_answer answered;
static _Thread_local uint8_t answered_key[HF_PSK_MAX];
static _Thread_local bool is_slow;

enum hf_status hf_engine_answer(struct hf_engine *engine, struct hf_ticket ticket,
                                const struct hf_answer *answer)
{
    (void)engine;
    (void)ticket;
    answered = *answer;
    if (is_slow)
        usleep(100);
    if (answer->secret.len > 0)
        memcpy(answered_key, answer->secret.data, answer->secret.len);
    return HF_OK;
}

static enum hf_answer_kind ask(const struct hf_key_source *source, const char *identity)
{
    struct hf_request request = {.kind = HF_REQUEST_KEY,
                                 .psk_identity = {(const uint8_t *)identity, strlen(identity)}};
    source->request(NULL, &request, source->arg);
    return answered.kind;
}

static void test_permissions(void **state)
{
    (void)state;
    static const mode_t refused[] = {0640, 0604, 0660, 0666, 0644, 0620, 0610, 0601, 0602, 0777};
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        write_keys("a:" KEY_A "\n", refused[i]);
        expect_error(path, "chmod 600");
    }
    static const mode_t good[] = {0600, 0400, 0700};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct hf_keystore *store = NULL;
        write_keys("a:" KEY_A "\n", good[i]);
        assert_true(hf_keystore_open(&store, error, path, 1, context_key));
        hf_keystore_close(store);
    }
}

static void test_files_that_cannot_be_read(void **state)
{
    (void)state;
    expect_error("/nonexistent/keys", "No such file or directory");
    chmod(directory, 0700);
    struct hf_keystore *store = NULL;
    assert_false(hf_keystore_open(&store, error, directory, 1, context_key));
    assert_non_null(strstr(error, "not a regular file"));
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    expect_error(path, "not a regular file");
    hf_keystore_close(NULL);
}

static void test_errors_name_file_and_line(void **state)
{
    (void)state;
    write_keys("# keys\na:" KEY_A "\nb:" KEY_B "0\n", 0600);
    expect_error(path, ": line 3: the key has an odd number");
    assert_null(strstr(error, "ffeedd"));
}

static void test_reload_is_all_or_nothing(void **state)
{
    (void)state;
    struct hf_keystore *store = NULL;
    struct hf_keystore_counters counters;
    write_keys("a:" KEY_A "\n", 0600);
    assert_true(hf_keystore_open(&store, error, path, 2, context_key));
    struct hf_key_source source = hf_keystore_source(store, 1);
    assert_int_equal(ask(&source, "a"), HF_ANSWER_PSK);

    write_keys("b:" KEY_B "\nnonsense\n", 0600);
    assert_false(reload(store));
    assert_non_null(strstr(error, "line 2"));
    assert_int_equal(ask(&source, "a"), HF_ANSWER_PSK);
    assert_int_equal(ask(&source, "b"), HF_ANSWER_REFUSED);

    write_keys("b:" KEY_B "\nc:" KEY_A "\n", 0600);
    assert_true(reload(store));
    assert_int_equal(ask(&source, "a"), HF_ANSWER_REFUSED);
    assert_int_equal(ask(&source, "b"), HF_ANSWER_PSK);
    hf_keystore_counters_get(&counters, store);
    assert_int_equal(counters.keys, 2);
    assert_int_equal(counters.reloads, 1);
    assert_int_equal(counters.reloads_failed, 1);
    hf_keystore_close(store);
}

struct looker {
    struct hf_key_source source;
    atomic_bool *is_over;
    uint64_t looked;
    bool is_wrong;
};

/* Both files hold "a", with different keys: an answer is one of them, never a wiped one. */
static void *look_up(void *arg)
{
    static const uint8_t key_a[4] = {0, 1, 2, 3};
    static const uint8_t key_b[4] = {0xff, 0xee, 0xdd, 0xcc};
    struct looker *looker = arg;
    is_slow = true;
    while (!atomic_load(looker->is_over)) {
        if (ask(&looker->source, "a") != HF_ANSWER_PSK ||
            (memcmp(answered_key, key_a, 4) != 0 && memcmp(answered_key, key_b, 4) != 0))
            looker->is_wrong = true;
        looker->looked++;
    }
    return NULL;
}

static void test_reload_under_lookups(void **state)
{
    (void)state;
    enum { LOOKERS = 3 };
    struct hf_keystore *store = NULL;
    atomic_bool is_over = false;
    pthread_t threads[LOOKERS];
    struct looker lookers[LOOKERS] = {0};
    write_keys("a:" KEY_A "\n", 0600);
    assert_true(hf_keystore_open(&store, error, path, LOOKERS, context_key));
    for (uint32_t i = 0; i < LOOKERS; i++) {
        lookers[i] = (struct looker){hf_keystore_source(store, i), &is_over, 0, false};
        assert_int_equal(pthread_create(&threads[i], NULL, look_up, &lookers[i]), 0);
    }
    for (int i = 0; i < 300; i++) {
        write_keys(i % 2 ? "a:" KEY_A "\n" : "a:" KEY_B "\n", 0600);
        assert_true(reload(store));
    }
    atomic_store(&is_over, true);
    for (int i = 0; i < LOOKERS; i++) {
        pthread_join(threads[i], NULL);
        assert_false(lookers[i].is_wrong);
        assert_true(lookers[i].looked > 10);
    }
    hf_keystore_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_permissions),
        cmocka_unit_test(test_files_that_cannot_be_read),
        cmocka_unit_test(test_errors_name_file_and_line),
        cmocka_unit_test(test_reload_is_all_or_nothing),
        cmocka_unit_test(test_reload_under_lookups),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
