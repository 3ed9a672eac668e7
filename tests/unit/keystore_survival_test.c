/**
 * keystore_survival_test.c - whatever happens to the reading process and to the file under it, the
 * service goes on: unavailable and a line that says why, never another key, never a fault of ours.
 */
#include "keystore_fixture.h"

/* A process may serve before its keeper has come to say which it is; and a signal to process 0
 * would be one to ourselves, and to whoever runs us. */
static int process_of(const struct hf_keystore_service *service)
{
    for (int i = 0; i < 500 && hf_keystore_service_process(service) <= 0; i++)
        pause_ms(20);
    int process = hf_keystore_service_process(service);
    assert_true(process > 0);
    return process;
}

static void test_process_is_replaced(void **state)
{
    (void)state;
    fill_store();
    struct hf_keystore_service *service = open_service();
    assert_int_equal(kind_of(service, "device-00001"), HF_ANSWER_PSK);
    for (int i = 0; i < 3; i++) {
        int process = process_of(service);
        assert_true(process > 0);
        assert_int_equal(kill(process, SIGKILL), 0);
        assert_true(await_kind(service, "device-00001", HF_ANSWER_PSK));
        assert_int_not_equal(process_of(service), process);
    }
    struct hf_keystore_service_counters counters;
    hf_keystore_service_counters_get(&counters, service);
    assert_int_equal(counters.deaths, 3);
    assert_int_equal(counters.starts, 4);
    /* What changed meanwhile is not missed. */
    uint64_t context = ask(service, text("device-00002")).context;
    assert_int_equal(kill(process_of(service), SIGKILL), 0);
    drop("device-00002");
    assert_true(await_retired(context));
    hf_keystore_service_close(service);
}

static bool is_kept(uint64_t context)
{
    for (size_t i = 0; i < kept_count; i++)
        if (kept_contexts[i] == context)
            return true;
    return false;
}

static bool await_kept(void)
{
    for (int i = 0; i < 500; i++) {
        pthread_mutex_lock(&lock);
        bool is_told = kept_times > 0;
        pthread_mutex_unlock(&lock);
        if (is_told)
            return true;
        pause_ms(20);
    }
    return false;
}

/* A store that is damaged cannot tell what a restore takes from it: it is told what stays. */
static void test_what_is_kept_after_damage(void **state)
{
    (void)state;
    char file[PATH_LEN + 16];
    char current[PATH_LEN + 16];
    struct hf_keydb *db = NULL;
    struct hf_keydb_report report;
    struct hf_keydb_restore restored;
    snprintf(file, sizeof(file), "%s.backup", store);
    snprintf(current, sizeof(current), "%s/current", store);
    fill_store();
    check(hf_keydb_open(&db, error, store, HF_KEYDB_READ));
    check(hf_keydb_backup(&report, error, db, file, false));
    hf_keydb_close(db);
    struct hf_keydb_key key = key_of("later", 9);
    put(&key);
    struct hf_keystore_service *service = open_service();
    uint64_t later = ask(service, text("later")).context;
    uint64_t lasting = ask(service, text("device-00003")).context;
    assert_int_equal(truncate(current, 8192), 0);
    assert_true(await_kind(service, "device-00003", HF_ANSWER_UNAVAILABLE));
    check(hf_keydb_restore(&restored, error, store, file, 0));
    assert_false(restored.is_comparable);
    assert_true(await_kept());
    pthread_mutex_lock(&lock);
    assert_int_equal(kept_count, KEYS);
    assert_true(is_kept(lasting));
    assert_false(is_kept(later));
    assert_true(kept_newest >= later); /* so that it counts as gone */
    for (size_t i = 1; i < kept_count; i++)
        assert_true(kept_contexts[i - 1] < kept_contexts[i]);
    uint64_t newest = kept_newest;
    pthread_mutex_unlock(&lock);
    assert_true(await_kind(service, "device-00003", HF_ANSWER_PSK));
    key = key_of("newer", 10);
    put(&key);
    assert_true(ask(service, text("newer")).context > newest); /* and this one does not */
    assert_int_equal(retired_count, 0);
    assert_int_equal(kept_times, 1);
    hf_keystore_service_close(service);
}

static int keeper_of(int process)
{
    char name[64];
    char line[256];
    int keeper = 0;
    snprintf(name, sizeof(name), "/proc/%d/status", process);
    FILE *file = fopen(name, "r");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, "PPid:", 5) == 0)
            keeper = (int)strtol(line + 5, NULL, 10);
    fclose(file);
    return keeper;
}

static void test_keeper_is_replaced(void **state)
{
    (void)state;
    fill_store();
    struct hf_keystore_service *service = open_service();
    int keeper = keeper_of(process_of(service));
    assert_true(keeper > 0 && keeper != getpid());
    assert_int_equal(kill(keeper, SIGKILL), 0);
    assert_true(await_kind(service, "device-00001", HF_ANSWER_UNAVAILABLE));
    assert_true(await_kind(service, "device-00001", HF_ANSWER_PSK));
    assert_int_not_equal(keeper_of(process_of(service)), keeper);
    hf_keystore_service_close(service);
}

/* Neither of the two may outlive who uses it. */
static void test_nobody_is_left(void **state)
{
    (void)state;
    fill_store();
    struct hf_keystore_service *service = open_service();
    int process = process_of(service);
    int keeper = keeper_of(process);
    hf_keystore_service_close(service);
    assert_int_equal(kill(process, 0), -1);
    assert_int_equal(kill(keeper, 0), -1);
}

static void test_hanging_process_is_ended(void **state)
{
    (void)state;
    fill_store();
    struct hf_keystore_service *service = NULL;
    struct hf_keystore_service_config config = config_of();
    config.hang_ms_max = 200;
    config.poll_ms = 60 * SECOND_MS;
    check(hf_keystore_service_open(&service, error, &config));
    int process = process_of(service);
    assert_int_equal(kill(process, SIGSTOP), 0);
    assert_int_equal(kind_of(service, "device-00001"), HF_ANSWER_UNAVAILABLE);
    assert_true(await_kind(service, "device-00001", HF_ANSWER_PSK));
    assert_int_not_equal(process_of(service), process);
    hf_keystore_service_close(service);
}

static void backup_to(char file[PATH_LEN + 16])
{
    struct hf_keydb *db = NULL;
    struct hf_keydb_report report;
    snprintf(file, PATH_LEN + 16, "%s.backup", store);
    check(hf_keydb_open(&db, error, store, HF_KEYDB_READ));
    check(hf_keydb_backup(&report, error, db, file, false));
    hf_keydb_close(db);
}

static void test_file_cut_short_under_it(void **state)
{
    (void)state;
    char file[PATH_LEN + 16];
    char backup[PATH_LEN + 16];
    struct hf_keydb_restore restored;
    fill_store();
    backup_to(backup);
    struct hf_keystore_service *service = open_service();
    assert_int_equal(kind_of(service, "device-00001"), HF_ANSWER_PSK);
    snprintf(file, sizeof(file), "%s/keys-1.mdb", store);
    assert_int_equal(truncate(file, 8192), 0);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(kind_of(service, "device-00001"), HF_ANSWER_UNAVAILABLE);
        pause_ms(5);
    }
    pthread_mutex_lock(&lock);
    assert_non_null(strstr(last_line, "damaged"));
    assert_non_null(strstr(last_line, store));
    pthread_mutex_unlock(&lock);
    assert_true(atomic_load(&errors) >= 1);
    assert_true(atomic_load(&errors) <= 4); /* bounded: the same line once */
    check(hf_keydb_restore(&restored, error, store, backup, 10));
    assert_false(restored.is_comparable);
    assert_true(await_kind(service, "device-00001", HF_ANSWER_PSK));
    hf_keystore_service_close(service);
}

/* Noise over the file's pages while it serves: any answer but another key. */
static void test_noise_under_it(void **state)
{
    (void)state;
    char file[PATH_LEN + 16];
    char backup[PATH_LEN + 16];
    struct hf_keydb_restore restored;
    struct stat st;
    fill_store();
    backup_to(backup);
    struct hf_keystore_service *service = open_service();
    for (uint32_t round = 0; round < 12; round++) {
        snprintf(file, sizeof(file), "%s/current", store);
        int fd = open(file, O_RDWR);
        assert_true(fd >= 0 && fstat(fd, &st) == 0);
        srandom(round);
        uint8_t noise[4096];
        for (off_t at = 8192; at < st.st_size; at += 4096) {
            for (size_t i = 0; i < sizeof(noise); i++)
                noise[i] = (uint8_t)random();
            size_t len = round % 2 == 0 ? sizeof(noise) : 8;
            off_t from = round % 2 == 0 ? at : at + random() % 4000;
            assert_int_equal(pwrite(fd, noise, len, from), (ssize_t)len);
        }
        close(fd);
        for (int i = 0; i < 100; i++) {
            char identity[40];
            int number = (int)(random() % KEYS);
            snprintf(identity, sizeof(identity), "device-%05d", number);
            struct hf_answer answer = ask(service, text(identity));
            if (answer.kind == HF_ANSWER_PSK)
                assert_int_equal(answer.secret.data[5], number % 251);
        }
        check(hf_keydb_restore(&restored, error, store, backup, 10));
        assert_true(await_kind(service, "device-00001", HF_ANSWER_PSK));
    }
    hf_keystore_service_close(service);
}

static void test_flipped_record_is_no_other_key(void **state)
{
    (void)state;
    char file[PATH_LEN + 16];
    struct hf_keydb_key key = key_of("a", 0x5A);
    put(&key);
    struct hf_keystore_service *service = open_service();
    snprintf(file, sizeof(file), "%s/keys-1.mdb", store);
    int fd = open(file, O_RDWR);
    uint8_t page[65536];
    ssize_t len = pread(fd, page, sizeof(page), 0);
    for (ssize_t at = 0; at + 32 <= len; at++)
        if (memcmp(page + at, secret, sizeof(secret)) == 0)
            assert_int_equal(pwrite(fd, "\x5B", 1, at + 9), 1);
    close(fd);
    assert_int_equal(kind_of(service, "a"), HF_ANSWER_UNAVAILABLE);
    struct hf_keystore_service_counters counters;
    hf_keystore_service_counters_get(&counters, service);
    assert_int_equal(counters.damaged, 1);
    assert_int_equal(counters.deaths, 0);
    pthread_mutex_lock(&lock);
    assert_non_null(strstr(last_line, "checksum"));
    pthread_mutex_unlock(&lock);
    hf_keystore_service_close(service);
}

static void test_damaged_store_is_not_opened(void **state)
{
    (void)state;
    char file[PATH_LEN + 16];
    struct hf_keystore_service *service = NULL;
    struct hf_keystore_service_config config = config_of();
    fill_store();
    snprintf(file, sizeof(file), "%s/keys-1.mdb", store);
    struct stat st;
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(truncate(file, st.st_size / 2), 0);
    assert_false(hf_keystore_service_open(&service, error, &config));
    assert_null(service);
    assert_non_null(strstr(error, "cut short"));
    config.path = "/nowhere/at/all";
    assert_false(hf_keystore_service_open(&service, error, &config));
    assert_non_null(strstr(error, "no key store"));
    config.requests_max = 0;
    assert_false(hf_keystore_service_open(&service, error, &config));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_process_is_replaced, make_store),
        cmocka_unit_test_setup(test_keeper_is_replaced, make_store),
        cmocka_unit_test_setup(test_what_is_kept_after_damage, make_store),
        cmocka_unit_test_setup(test_nobody_is_left, make_store),
        cmocka_unit_test_setup(test_hanging_process_is_ended, make_store),
        cmocka_unit_test_setup(test_file_cut_short_under_it, make_store),
        cmocka_unit_test_setup(test_noise_under_it, make_store),
        cmocka_unit_test_setup(test_flipped_record_is_no_other_key, make_store),
        cmocka_unit_test_setup(test_damaged_store_is_not_opened, make_store),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
