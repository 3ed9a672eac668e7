/**
 * entitymap_test.c - the entity map: what it accepts, every way a line is refused, its answers, and
 * the difference between two of them.
 */
#include <handfast/entitymap.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static struct hf_bytes bytes(const char *text)
{
    return (struct hf_bytes){(const uint8_t *)text, strlen(text)};
}

static struct hf_entitymap *open_in(const char *text, const char *scope)
{
    struct hf_entitymap *map = NULL;
    char error[HF_ENTITYMAP_ERROR_MAX] = "untouched";
    enum hf_status status = hf_entitymap_open(&map, error, bytes(text), bytes(scope));
    if (status != HF_OK)
        print_error("refused: %s\n", error);
    assert_int_equal(status, HF_OK);
    assert_string_equal(error, "");
    return map;
}

static void expect_error(const char *text, const char *expected)
{
    struct hf_entitymap *map = (struct hf_entitymap *)&map;
    char error[HF_ENTITYMAP_ERROR_MAX];
    memset(error, 'x', sizeof(error));
    assert_int_equal(hf_entitymap_open(&map, error, bytes(text), bytes("a")), HF_E_DECODE);
    assert_null(map);
    assert_string_equal(error, expected);
}

static struct hf_answer ask(const struct hf_entitymap *map, const char *credential_id)
{
    struct hf_answer answer;
    memset(&answer, 0xA5, sizeof(answer));
    hf_entitymap_answer(&answer, map, bytes(credential_id));
    assert_int_equal(answer.kind, HF_ANSWER_IDENTITY);
    assert_int_equal(answer.secret.len, 0);
    assert_int_equal(answer.credential_id.len, 0); /* stays as it was proven */
    return answer;
}

static void expect(const struct hf_entitymap *map, const char *credential_id,
                   enum hf_entity_kind kind, const char *entity_id)
{
    struct hf_answer answer = ask(map, credential_id);
    assert_int_equal(answer.entity_kind, kind);
    assert_int_equal(answer.entity_id.len, strlen(entity_id));
    if (answer.entity_id.len > 0)
        assert_memory_equal(answer.entity_id.data, entity_id, answer.entity_id.len);
    assert_int_equal(answer.context != 0, kind != HF_ENTITY_PENDING);
}

static void test_answers_what_the_lines_say(void **state)
{
    (void)state;
    struct hf_entitymap *map =
        open_in("# whose they are\n"
                "31-0.2.481.1.100.3030.10011 //sp.example/S1,//sp.example/S2,/in-cse/C3\r\n"
                "\n \t\n"
                "31-1.2.3-00ff\t/mn-cse  \n"
                "  34-urn:gsma:imei:90420156-025763-0   //sp.example/in-cse\n"
                "30-sha-256-128-AAAAAAAAAAAAAAAAAAAAAA //sp.example/S7",
                "a");
    assert_int_equal(hf_entitymap_count(map), 4);
    expect(map, "31-0.2.481.1.100.3030.10011", HF_ENTITY_AE_LIST,
           "//sp.example/S1 //sp.example/S2 /in-cse/C3");
    expect(map, "31-1.2.3-00ff", HF_ENTITY_CSE, "/mn-cse");
    expect(map, "34-urn:gsma:imei:90420156-025763-0", HF_ENTITY_CSE, "//sp.example/in-cse");
    expect(map, "30-sha-256-128-AAAAAAAAAAAAAAAAAAAAAA", HF_ENTITY_AE, "//sp.example/S7");
    static const char *const unknown[] = {"31-1.2.3-00FF", "31-1.2.3-00f", "", "31-", "# whose"};
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
        expect(map, unknown[i], HF_ENTITY_PENDING, "");
    hf_entitymap_close(map);
    expect(NULL, "31-1.2.3-00ff", HF_ENTITY_PENDING, "");
    assert_int_equal(hf_entitymap_count(NULL), 0);
    hf_entitymap_close(NULL);
}

static void test_refuses_lines_with_their_number(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"31-1 /a\n#\n31-1 /b\n", "line 3: the Credential-ID was already given in line 1"},
        {"31-1 /a\n31-2\n", "line 2: expected: CREDENTIAL-ID ENTITY-ID[,ENTITY-ID...]"},
        {"31-1 S1, S2\n", "line 1: expected: CREDENTIAL-ID ENTITY-ID[,ENTITY-ID...]"},
        {"31-1 S1,\n", "line 1: an entity-id is missing behind the last comma"},
        {"31-1 ,S1\n", "line 1: an entity-id is neither a CSE-ID nor an AE-ID (TS-0001 7.2)"},
        {"31-1 x9\n", "line 1: an entity-id is neither a CSE-ID nor an AE-ID (TS-0001 7.2)"},
        {"31-1 S1,S2,S1\n", "line 1: an entity-id is given twice"},
        {"31-1 S1,/cse\n", "line 1: a CSE is the only entity of its credential"},
        {"31-1 /cse,S1\n", "line 1: a CSE is the only entity of its credential"},
        {"31-1 /cse,/cse2\n", "line 1: a CSE is the only entity of its credential"},
        {"30-sha-256-x S1,S2\n",
         "line 1: a raw public key belongs to one entity (TS-0003 8.2.2.2)"},
        {"32-in-cse.sp.example /a\n",
         "line 1: a CSE-ID or AE-ID certificate says itself whose it is"},
        {"33-//sp/S1 S1\n", "line 1: a CSE-ID or AE-ID certificate says itself whose it is"},
        {"12-dev@sp S1\n", "line 1: whose a pre-shared key is stands beside the key"},
        {"31- S1\n", "line 1: not the Credential-ID of a raw public key (30-), a device (31-) or a "
                     "node (34-)"},
        {"dev S1\n", "line 1: not the Credential-ID of a raw public key (30-), a device (31-) or a "
                     "node (34-)"},
        {"\xEF\xBB\xBF"
         "31-1 S1\n",
         "line 1: a byte order mark: save the file without it"},
        {"31-\x01 S1\n", "line 1: the Credential-ID has a byte that does not print"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        expect_error(cases[i][0], cases[i][1]);
    struct hf_entitymap *map = NULL;
    char error[HF_ENTITYMAP_ERROR_MAX];
    static const uint8_t nul[] = "31-1 S\0001\n";
    assert_int_equal(
        hf_entitymap_open(&map, error, (struct hf_bytes){nul, sizeof(nul) - 1}, bytes("a")),
        HF_E_DECODE);
    assert_string_equal(error, "line 1: a NUL byte: this is not a text file");
}

static void test_lengths(void **state)
{
    (void)state;
    char text[2048];
    char fill[HF_CREDENTIAL_ID_MAX + 1];
    memset(fill, '1', sizeof(fill));
    snprintf(text, sizeof(text), "31-%.*s S1", HF_CREDENTIAL_ID_MAX - 3, fill);
    hf_entitymap_close(open_in(text, "a"));
    snprintf(text, sizeof(text), "31-%.*s S1", HF_CREDENTIAL_ID_MAX - 2, fill);
    expect_error(text, "line 1: the Credential-ID is longer than 1280 bytes");
    snprintf(text, sizeof(text), "31-1 S%.*s", HF_ENTITY_ID_MAX - 1, fill);
    hf_entitymap_close(open_in(text, "a"));
    snprintf(text, sizeof(text), "31-1 S%.*s", HF_ENTITY_ID_MAX, fill);
    expect_error(text, "line 1: the entity-ids are longer than 512 bytes");
}

/* What a session of another node, or of before a restart, is compared by. */
static void test_contexts(void **state)
{
    (void)state;
    struct hf_entitymap *one = open_in("31-1 S1\n31-2 S1\n", "a");
    struct hf_entitymap *same = open_in("31-9 S9\n31-1   S1\n", "a");
    struct hf_entitymap *changed = open_in("31-1 S2\n", "a");
    struct hf_entitymap *elsewhere = open_in("31-1 S1\n", "b");
    uint64_t context = ask(one, "31-1").context;
    assert_int_equal(ask(same, "31-1").context, context);
    assert_int_not_equal(ask(one, "31-2").context, context);
    assert_int_not_equal(ask(changed, "31-1").context, context);
    assert_int_not_equal(ask(elsewhere, "31-1").context, context);
    assert_true(context >> 63); /* no key store's number */
    assert_true(hf_entitymap_is_standing(same, bytes("31-1"), context));
    assert_false(hf_entitymap_is_standing(changed, bytes("31-1"), context));
    assert_false(hf_entitymap_is_standing(NULL, bytes("31-1"), context));
    /* Nobody's then and now; somebody's now: who he is has to be asked for anew. */
    assert_true(hf_entitymap_is_standing(same, bytes("31-3"), 0));
    assert_true(hf_entitymap_is_standing(NULL, bytes("31-1"), 0));
    assert_false(hf_entitymap_is_standing(same, bytes("31-1"), 0));
    hf_entitymap_close(one);
    hf_entitymap_close(same);
    hf_entitymap_close(changed);
    hf_entitymap_close(elsewhere);
}

struct seen {
    char text[256];
    uint64_t contexts[8];
    size_t count;
};

static void note(const struct hf_entitymap_difference *difference, void *arg)
{
    struct seen *seen = arg;
    size_t len = strlen(seen->text);
    snprintf(seen->text + len, sizeof(seen->text) - len, "%c%.*s ", "+-!"[difference->change],
             (int)difference -> credential_id.len, (const char *)difference->credential_id.data);
    assert_true(seen->count < 8);
    seen->contexts[seen->count++] = difference->context;
}

static void test_the_difference(void **state)
{
    (void)state;
    struct hf_entitymap *before = open_in("31-1 S1\n31-2 S2\n31-3 S3\n", "a");
    struct hf_entitymap *after = open_in("31-4 S4\n31-3 S9\n31-1 S1\n", "a");
    struct seen seen = {0};
    hf_entitymap_compare(before, after, note, &seen);
    assert_string_equal(seen.text, "-31-2 !31-3 +31-4 ");
    assert_int_equal(seen.contexts[0], ask(before, "31-2").context);
    assert_int_equal(seen.contexts[1], ask(before, "31-3").context);
    assert_int_equal(seen.contexts[2], 0);
    seen = (struct seen){0};
    hf_entitymap_compare(before, NULL, note, &seen);
    assert_string_equal(seen.text, "-31-1 -31-2 -31-3 ");
    seen = (struct seen){0};
    hf_entitymap_compare(NULL, after, note, &seen);
    assert_string_equal(seen.text, "+31-4 +31-3 +31-1 ");
    seen = (struct seen){0};
    hf_entitymap_compare(before, before, note, &seen);
    hf_entitymap_compare(NULL, NULL, note, &seen);
    assert_int_equal(seen.count, 0);
    hf_entitymap_close(before);
    hf_entitymap_close(after);
}

/* Read and asked for by the hundred thousand. The bound is for a slow machine. */
static void test_many(void **state)
{
    (void)state;
    enum { COUNT = 200000 };
    size_t used = 0, max = COUNT * (size_t)48;
    char *text = malloc(max);
    assert_non_null(text);
    for (unsigned i = 0; i < COUNT; i++)
        used += (size_t)snprintf(text + used, max - used, "31-1.2.%u /mn-%u\n", i, i);
    clock_t begun = clock();
    struct hf_entitymap *map = open_in(text, "a");
    for (unsigned i = 0; i < COUNT; i++) {
        char id[32], entity[32];
        snprintf(id, sizeof(id), "31-1.2.%u", i);
        snprintf(entity, sizeof(entity), "/mn-%u", i);
        struct hf_answer answer = ask(map, id);
        assert_int_equal(answer.entity_id.len, strlen(entity));
        assert_memory_equal(answer.entity_id.data, entity, answer.entity_id.len);
    }
    double seconds = (double)(clock() - begun) / CLOCKS_PER_SEC;
    print_message("%d credentials: %.0f ms of CPU\n", COUNT, seconds * 1e3);
    assert_true(seconds < 10);
    hf_entitymap_close(map);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_what_the_lines_say),
        cmocka_unit_test(test_refuses_lines_with_their_number),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_contexts),
        cmocka_unit_test(test_the_difference),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
