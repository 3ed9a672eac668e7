/**
 * keystore_service_test.c - the store thread and its reading process: answers, limits, changes
 * while it serves, many shards at once. What damage does to it has a test of its own.
 */
#include "keystore_fixture.h"

/* ---- answers ------------------------------------------------------------------------------ */

static void test_answers(void **state)
{
    (void)state;
    struct hf_keydb_key key = key_of("dev", 7);
    key.entity_id = text("/cse1/Cae7");
    key.entity_kind = HF_ENTITY_AE;
    key.not_after_s = 4000000000;
    put(&key);
    key = key_of("tomorrow", 8);
    key.not_before_s = time(NULL) + 86400;
    put(&key);
    struct hf_keystore_service *service = open_service();
    struct hf_answer answer = ask(service, text("dev"));
    assert_int_equal(answer.kind, HF_ANSWER_PSK);
    assert_int_equal(answer.framework, HF_FRAMEWORK_PROVISIONED_SYMMETRIC_KEY);
    assert_int_equal(answer.entity_kind, HF_ENTITY_AE);
    assert_int_equal(answer.suid, 12);
    assert_int_equal(answer.expires_s, 4000000000);
    assert_int_equal(answer.secret.len, 32);
    assert_int_equal(answer.secret.data[31], 7);
    assert_int_equal(answer.entity_id.len, 10);
    assert_memory_equal(answer.entity_id.data, "/cse1/Cae7", 10);
    assert_int_equal(answer.credential_id.len, 6);
    assert_memory_equal(answer.credential_id.data, "12-dev", 6);
    assert_true(answer.context != 0);
    assert_int_equal(kind_of(service, "tomorrow"), HF_ANSWER_REFUSED);
    assert_int_equal(kind_of(service, "nobody"), HF_ANSWER_REFUSED);
    assert_int_equal(kind_of(service, ""), HF_ANSWER_REFUSED);
    assert_true(atomic_load(&wakes) >= 4);
    struct hf_keystore_service_counters counters;
    hf_keystore_service_counters_get(&counters, service);
    assert_int_equal(counters.requests, 4);
    assert_int_equal(counters.found, 1);
    assert_int_equal(counters.refused, 3);
    assert_int_equal(counters.keys, 2);
    assert_true(counters.is_serving);
    hf_keystore_service_close(service);
}

static void test_authority_divides_a_store(void **state)
{
    (void)state;
    static const char *const names[] = {"one", "two", ""};
    for (int i = 0; i < 3; i++) {
        struct hf_keydb_key key = key_of(i == 0 ? "a" : i == 1 ? "b" : "c", 1);
        key.authority = text(names[i]);
        put(&key);
    }
    struct hf_keystore_service *service = NULL;
    struct hf_keystore_service_config config = config_of();
    config.authority = "one";
    check(hf_keystore_service_open(&service, error, &config));
    assert_int_equal(kind_of(service, "a"), HF_ANSWER_PSK);
    assert_int_equal(kind_of(service, "b"), HF_ANSWER_REFUSED);
    assert_int_equal(kind_of(service, "c"), HF_ANSWER_PSK);
    hf_keystore_service_close(service);
}

static void test_slots_are_bounded(void **state)
{
    (void)state;
    struct hf_keydb_key key = key_of("a", 1);
    put(&key);
    struct hf_keystore_service *service = NULL;
    struct hf_keystore_service_config config = config_of();
    config.requests_max = 5;
    check(hf_keystore_service_open(&service, error, &config));
    struct hf_ticket ticket = {0};
    struct hf_answer answer;
    for (uint32_t i = 0; i < 5; i++) {
        ticket.seq = i;
        assert_true(hf_keystore_service_submit(service, 0, ticket, text("a")));
    }
    assert_false(hf_keystore_service_submit(service, 0, ticket, text("a")));
    /* In order, and each slot comes back. */
    for (uint32_t i = 0; i < 5;) {
        if (!hf_keystore_service_take(&ticket, &answer, scratch, service, 0))
            continue;
        assert_int_equal(ticket.seq, i);
        assert_int_equal(answer.kind, HF_ANSWER_PSK);
        i++;
    }
    assert_false(hf_keystore_service_take(&ticket, &answer, scratch, service, 0));
    for (int i = 0; i < 20; i++)
        assert_int_equal(kind_of(service, "a"), HF_ANSWER_PSK);
    struct hf_keystore_service_counters counters;
    hf_keystore_service_counters_get(&counters, service);
    assert_int_equal(counters.overflows, 1);
    hf_keystore_service_close(service);
}

/* ---- changes ------------------------------------------------------------------------------ */

static void test_changes_while_it_serves(void **state)
{
    (void)state;
    struct hf_keydb_key key = key_of("a", 1);
    put(&key);
    struct hf_keystore_service *service = open_service();
    uint64_t first = ask(service, text("a")).context;
    key = key_of("b", 2);
    put(&key);
    assert_int_equal(kind_of(service, "b"), HF_ANSWER_PSK); /* at once */
    key = key_of("a", 3);
    put(&key);
    struct hf_answer answer = ask(service, text("a"));
    assert_int_equal(answer.secret.data[0], 3);
    uint64_t second = answer.context;
    assert_true(second > first);
    assert_true(await_retired(first));
    drop("a");
    assert_int_equal(kind_of(service, "a"), HF_ANSWER_REFUSED);
    assert_true(await_retired(second));
    assert_int_equal(retired_count, 2);
    hf_keystore_service_close(service);
}

static void test_restore_while_it_serves(void **state)
{
    (void)state;
    char file[PATH_LEN + 16];
    struct hf_keydb *db = NULL;
    struct hf_keydb_report report;
    struct hf_keydb_restore restored;
    snprintf(file, sizeof(file), "%s.backup", store);
    fill_store();
    check(hf_keydb_open(&db, error, store, HF_KEYDB_READ));
    check(hf_keydb_backup(&report, error, db, file, false));
    hf_keydb_close(db);
    struct hf_keydb_key key = key_of("device-00007", 250);
    put(&key);
    struct hf_keystore_service *service = open_service();
    uint64_t replaced = ask(service, text("device-00007")).context;
    uint64_t kept = ask(service, text("device-00008")).context;
    check(hf_keydb_restore(&restored, error, store, file, 10));
    assert_int_equal(restored.keys_retired, 1);
    assert_true(await_retired(replaced));
    struct hf_answer answer = ask(service, text("device-00007"));
    assert_int_equal(answer.kind, HF_ANSWER_PSK);
    assert_int_equal(answer.secret.data[0], 7);
    assert_int_equal(ask(service, text("device-00008")).context, kept);
    assert_int_equal(retired_count, 1);
    struct hf_keystore_service_counters counters;
    hf_keystore_service_counters_get(&counters, service);
    assert_int_equal(counters.generation, 2);
    assert_int_equal(counters.deaths, 0);
    hf_keystore_service_close(service);
}

static void test_many_are_retired(void **state)
{
    (void)state;
    fill_store();
    struct hf_keystore_service *service = open_service();
    struct hf_keydb *db = NULL;
    char identity[40];
    check(hf_keydb_open(&db, error, store, HF_KEYDB_WRITE));
    for (int round = 0; round < 3; round++) {
        check(hf_keydb_begin(db, error));
        for (int i = 0; i < KEYS; i++) {
            snprintf(identity, sizeof(identity), "device-%05d", i);
            struct hf_keydb_key key = key_of(identity, (uint8_t)(251 + round));
            assert_int_equal(hf_keydb_put(db, error, &key, true), HF_KEYDB_REPLACED);
        }
        check(hf_keydb_commit(db, error));
    }
    hf_keydb_close(db);
    size_t count = 0;
    for (int i = 0; i < 250 && count < 3 * KEYS; i++) {
        pause_ms(20);
        pthread_mutex_lock(&lock);
        count = retired_count;
        pthread_mutex_unlock(&lock);
    }
    assert_int_equal(count, 3 * KEYS);
    hf_keystore_service_close(service);
}

/* ---- threads ------------------------------------------------------------------------------ */

struct shard {
    struct hf_keystore_service *service;
    uint32_t index;
    uint32_t wrong;
};

static void *live(void *arg)
{
    struct shard *shard = arg;
    uint8_t own_scratch[HF_CREDENTIAL_ID_MAX];
    uint32_t asked = 0;
    uint32_t taken = 0;
    while (taken < 20000) {
        char identity[40];
        struct hf_ticket ticket = {shard->index, 0, asked % KEYS};
        struct hf_answer answer;
        snprintf(identity, sizeof(identity), "device-%05u", ticket.seq);
        if (asked < 20000 &&
            hf_keystore_service_submit(shard->service, shard->index, ticket, text(identity)))
            asked++;
        if (!hf_keystore_service_take(&ticket, &answer, own_scratch, shard->service, shard->index))
            continue;
        taken++;
        shard->wrong += answer.kind != HF_ANSWER_PSK || ticket.slot != shard->index ||
                        answer.secret.data[3] != ticket.seq % 251;
    }
    return NULL;
}

static void test_shards_at_once(void **state)
{
    (void)state;
    struct hf_keystore_service *service = NULL;
    struct hf_keystore_service_config config = config_of();
    config.shard_count = 3;
    config.requests_max = 50;
    fill_store();
    check(hf_keystore_service_open(&service, error, &config));
    struct shard shards[3];
    pthread_t threads[3];
    for (uint32_t i = 0; i < 3; i++) {
        shards[i] = (struct shard){service, i, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, live, &shards[i]), 0);
    }
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(shards[i].wrong, 0);
    }
    hf_keystore_service_close(service);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_answers, make_store),
        cmocka_unit_test_setup(test_authority_divides_a_store, make_store),
        cmocka_unit_test_setup(test_slots_are_bounded, make_store),
        cmocka_unit_test_setup(test_changes_while_it_serves, make_store),
        cmocka_unit_test_setup(test_restore_while_it_serves, make_store),
        cmocka_unit_test_setup(test_many_are_retired, make_store),
        cmocka_unit_test_setup(test_shards_at_once, make_store),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
