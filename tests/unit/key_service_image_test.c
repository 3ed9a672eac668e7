/**
 * key_service_image_test.c - what a key service knows, through its sealed image, into another: keys
 * and revocations; and that nothing but a whole, untouched image opens.
 */
#include "key_image.h"
#include "key_service_fixture.h"

#include "crypto.h"

#define MAF "@maf.example.com"

static const struct hf_shared_secrets secrets = {
    .count = 2,
    .entries = {{.from_s = WALL_S + 100, .secret = {2}}, {.from_s = WALL_S - 100, .secret = {1}}},
};

struct sealed {
    uint8_t *data;
    size_t len;
};

static struct hf_bytes view(const struct sealed *sealed)
{
    return (struct hf_bytes){sealed->data, sealed->len};
}

static struct sealed seal(const struct world *world, const struct hf_shared_secrets *with)
{
    struct sealed sealed = {0};
    struct hf_key_image image;
    assert_true(hf_key_image_gather(&image, world->service));
    assert_true(hf_key_image_seal(&sealed.data, &sealed.len, &image, with, world->wall_s));
    hf_key_image_wipe(&image);
    return sealed;
}

/* A service that has retrieved so many keys: key0, key1, ... */
static void fill(struct world *world, unsigned count)
{
    world_init(world);
    world_open(world);
    for (unsigned i = 0; i < count; i++) {
        char identity[64];
        snprintf(identity, sizeof(identity), "key%u" MAF, i);
        assert_int_equal(ask(world, i, identity), HF_KEY_ASKED);
        serve(world, 0);
        expect(world, i, HF_ANSWER_PSK, HF_MAF_OUTCOME_KEY);
    }
}

/* Opens into a fresh service. */
static struct hf_key_image_report reopen(struct world *world, struct hf_bytes sealed,
                                         const struct hf_shared_secrets *with)
{
    struct hf_key_image_report report;
    world_open(world);
    bool is_good = hf_key_image_open(world->service, &report, sealed, with);
    assert_int_equal(is_good, report.why == NULL);
    return report;
}

static uint32_t keys_of(const struct world *world)
{
    struct hf_key_service_counters counters;
    hf_key_service_counters_get(&counters, world->service);
    return counters.keys;
}

static void test_keys_come_back(void **state)
{
    struct world first, second;
    (void)state;
    fill(&first, 3);
    struct hf_key_reply old;
    assert_int_equal(ask(&first, 9, "key1" MAF), HF_KEY_ASKED);
    old = take(&first, 9);
    struct sealed sealed = seal(&first, &secrets);
    world_init(&second);
    struct hf_key_image_report report = reopen(&second, view(&sealed), &secrets);
    assert_int_equal(report.kept, 3);
    assert_int_equal(report.dropped, 0);
    assert_int_equal(ask(&second, 4, "key1" MAF), HF_KEY_ASKED);
    struct hf_key_reply reply = take(&second, 4);
    assert_int_equal(reply.answer.kind, HF_ANSWER_PSK);
    assert_int_equal(reply.answer.context, old.answer.context);
    assert_int_equal(reply.answer.expires_s, EXPIRES_S);
    assert_int_equal(reply.answer.secret.len, 32);
    assert_memory_equal(reply.answer.secret.data, "key1key1key1key1key1key1key1key1", 32);
    assert_memory_equal(reply.answer.entity_id.data, "//m2msp.example/Sae1",
                        reply.answer.entity_id.len);
    assert_int_equal(second.dials, 0);
    free(sealed.data);
    world_close(&first);
    world_close(&second);
}

/* What is there already, and what was revoked meanwhile, wins over what an image says. */
static void test_what_is_known_wins(void **state)
{
    struct world world;
    struct hf_key_image_report report;
    uint64_t context = 0;
    (void)state;
    fill(&world, 2);
    struct sealed sealed = seal(&world, &secrets);
    assert_true(hf_key_service_revoke(world.service, &context, text("key0" MAF)));
    assert_true(hf_key_image_open(world.service, &report, view(&sealed), &secrets));
    assert_int_equal(report.kept, 0);
    assert_int_equal(report.dropped, 2);
    assert_int_equal(ask(&world, 1, "key0" MAF), HF_KEY_ASKED);
    expect(&world, 1, HF_ANSWER_REFUSED, HF_MAF_OUTCOME_REVOKED);
    free(sealed.data);
    world_close(&world);
}

static void test_revocations_come_back(void **state)
{
    struct world first, second;
    uint64_t context = 0;
    (void)state;
    fill(&first, 2);
    assert_true(hf_key_service_revoke(first.service, &context, text("key1" MAF)));
    assert_true(hf_key_service_revoke(first.service, &context, text("never seen" MAF)) == false);
    assert_true(hf_key_service_revoke(first.service, &context, text("unseen" MAF)));
    struct sealed sealed = seal(&first, &secrets);
    world_init(&second);
    second.wall_s += 3600;
    assert_int_equal(reopen(&second, view(&sealed), &secrets).kept, 3);
    assert_int_equal(ask(&second, 4, "key1" MAF), HF_KEY_ASKED);
    expect(&second, 4, HF_ANSWER_REFUSED, HF_MAF_OUTCOME_REVOKED);
    assert_int_equal(ask(&second, 5, "unseen" MAF), HF_KEY_ASKED);
    expect(&second, 5, HF_ANSWER_REFUSED, HF_MAF_OUTCOME_REVOKED);
    /* The rest of the day goes on where it was. */
    pass(&second, second.config.revoked_us_max - 3601U * 1000000U);
    assert_int_equal(ask(&second, 6, "key1" MAF), HF_KEY_ASKED);
    expect(&second, 6, HF_ANSWER_REFUSED, HF_MAF_OUTCOME_REVOKED);
    pass(&second, 3U * 1000000U);
    assert_int_equal(ask(&second, 7, "key1" MAF), HF_KEY_ASKED);
    assert_int_equal(second.dials, 1);
    free(sealed.data);
    world_close(&first);
    world_close(&second);
}

static void test_expired_is_dropped(void **state)
{
    struct world first, second;
    (void)state;
    fill(&first, 3);
    struct sealed sealed = seal(&first, &secrets);
    world_init(&second);
    second.wall_s = EXPIRES_S;
    struct hf_key_image_report report = reopen(&second, view(&sealed), &secrets);
    assert_int_equal(report.kept, 0);
    assert_int_equal(report.dropped, 3);
    first.wall_s = EXPIRES_S; /* nor is it written */
    pass(&first, 1);
    struct hf_key_image image;
    assert_true(hf_key_image_gather(&image, first.service));
    assert_int_equal(image.count, 1);
    hf_key_image_wipe(&image);
    free(sealed.data);
    world_close(&first);
    world_close(&second);
}

/* A key counts for the configuration it was checked against. */
static void test_other_configuration(void **state)
{
    struct world first, second;
    (void)state;
    fill(&first, 1);
    struct sealed sealed = seal(&first, &secrets);
    for (unsigned which = 0; which < 4; which++) {
        world_init(&second);
        if (which == 0)
            second.mafs[0].admin_fqdn = text("m2msp.example");
        else if (which == 1)
            second.config.part = HF_KEY_FIRST_HALF;
        else if (which == 2)
            second.mafs[0].fqdn = text("third.example.com");
        struct hf_key_image_report report = reopen(&second, view(&sealed), &secrets);
        assert_null(report.why);
        assert_int_equal(report.kept, which == 3);
        assert_int_equal(keys_of(&second), which == 3);
        world_close(&second);
    }
    free(sealed.data);
    world_close(&first);
}

static void test_secrets(void **state)
{
    struct world first, second;
    (void)state;
    fill(&first, 1);
    struct sealed sealed = seal(&first, &secrets);
    struct hf_shared_secrets others = secrets;
    others.count = 1; /* the active one has been rotated out */
    world_init(&second);
    assert_non_null(reopen(&second, view(&sealed), &others).why);
    world_close(&second);
    others = secrets;
    others.entries[1].secret[31] = 1; /* another one of the same date */
    world_init(&second);
    assert_non_null(reopen(&second, view(&sealed), &others).why);
    assert_int_equal(keys_of(&second), 0);
    world_close(&second);
    /* Before its time a secret seals nothing; afterwards it does, and the older opens on. */
    assert_int_equal(sealed.data[8], (uint8_t)(WALL_S - 100));
    free(sealed.data);
    first.wall_s += 100;
    sealed = seal(&first, &secrets);
    assert_int_equal(sealed.data[8], (uint8_t)(WALL_S + 100));
    free(sealed.data);
    world_close(&first);
}

/* No byte of a key is to be seen in it, and no two images are alike. */
static void test_sealed(void **state)
{
    struct world world;
    (void)state;
    fill(&world, 2);
    struct sealed a = seal(&world, &secrets);
    struct sealed b = seal(&world, &secrets);
    assert_int_equal(a.len, b.len);
    assert_null(memmem(a.data, a.len, "key1", 4));
    assert_null(memmem(a.data, a.len, "m2msp", 5));
    assert_int_not_equal(memcmp(a.data + 34, b.data + 34, 16), 0);
    struct hf_bytes id = hf_key_image_id(view(&a));
    assert_int_equal(id.len, HF_KEY_IMAGE_ID_LEN);
    assert_memory_not_equal(id.data, hf_key_image_id(view(&b)).data, HF_KEY_IMAGE_ID_LEN);
    assert_int_equal(hf_key_image_id((struct hf_bytes){a.data, 31}).len, 0);
    free(a.data);
    free(b.data);
    world_close(&world);
}

static void expect_refused(struct world *world, struct hf_bytes sealed)
{
    struct hf_key_image_report report;
    assert_false(hf_key_image_open(world->service, &report, sealed, &secrets));
    assert_non_null(report.why);
    assert_int_equal(keys_of(world), 0);
}

/* Cut anywhere, any bit turned, entries exchanged or taken from another image. */
static void test_damage(void **state)
{
    struct world first, second;
    (void)state;
    fill(&first, 3);
    struct sealed sealed = seal(&first, &secrets);
    struct sealed other = seal(&first, &secrets);
    world_init(&second);
    world_open(&second);
    for (size_t len = 0; len < sealed.len; len++)
        expect_refused(&second, (struct hf_bytes){sealed.data, len});
    for (size_t at = 0; at < sealed.len; at++) {
        sealed.data[at] ^= (uint8_t)(1U << (at % 8));
        expect_refused(&second, view(&sealed));
        sealed.data[at] ^= (uint8_t)(1U << (at % 8));
    }
    size_t entry = 2 + (size_t)(sealed.data[32] | sealed.data[33] << 8);
    uint8_t *copy = malloc(sealed.len + 1);
    memcpy(copy, sealed.data, sealed.len);
    memcpy(copy + 32, sealed.data + 32 + entry, entry); /* all are of one length */
    memcpy(copy + 32 + entry, sealed.data + 32, entry);
    expect_refused(&second, (struct hf_bytes){copy, sealed.len});
    memcpy(copy, sealed.data, sealed.len);
    memcpy(copy + 32, other.data + 32, entry);
    expect_refused(&second, (struct hf_bytes){copy, sealed.len});
    memcpy(copy, sealed.data, sealed.len); /* without the first; with something behind */
    memmove(copy + 32, copy + 32 + entry, sealed.len - 32 - entry);
    expect_refused(&second, (struct hf_bytes){copy, sealed.len - entry});
    memcpy(copy, sealed.data, sealed.len);
    copy[sealed.len] = 0;
    expect_refused(&second, (struct hf_bytes){copy, sealed.len + 1});
    struct hf_key_image_report report;
    assert_true(hf_key_image_open(second.service, &report, view(&sealed), &secrets));
    assert_int_equal(keys_of(&second), 3);
    free(copy);
    free(sealed.data);
    free(other.data);
    world_close(&first);
    world_close(&second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_come_back),
        cmocka_unit_test(test_what_is_known_wins),
        cmocka_unit_test(test_revocations_come_back),
        cmocka_unit_test(test_expired_is_dropped),
        cmocka_unit_test(test_other_configuration),
        cmocka_unit_test(test_secrets),
        cmocka_unit_test(test_sealed),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
