/**
 * pair_test.c - SA2 only after SA1 and registration, and only with who came by SA1: the same entity
 * and the same credential (TS-0003 8.2.1).
 */
#include "engine_pair.h"
#include "pair_credentials.h"

#include <handfast/pair.h>

#define AE_ID "//sp.example.org/S-device"
#define CREDENTIAL_ID "12-Kpsa1@in-cse.example.org"

static struct engine_pair pair;

static struct hf_bytes bytes_of(const char *text)
{
    return (struct hf_bytes){(const uint8_t *)text, strlen(text)};
}

/** SA1 as its server sees it, without having had one. */
static struct hf_association_info sa1(enum hf_entity_kind kind, const char *entity_id)
{
    struct hf_association_info info = {
        .established = true,
        .entity_kind = kind,
        .framework = HF_FRAMEWORK_PROVISIONED_SYMMETRIC_KEY,
        .entity_id_len = (uint16_t)strlen(entity_id),
        .credential_id_len = (uint16_t)strlen(CREDENTIAL_ID),
    };
    memcpy(info.entity_id, entity_id, strlen(entity_id) + 1);
    memcpy(info.credential_id, CREDENTIAL_ID, sizeof CREDENTIAL_ID);
    return info;
}

static void only_a_peer_that_came_to_us_has_a_pair(void **state)
{
    struct hf_pair made;
    struct hf_association_info info = sa1(HF_ENTITY_AE, AE_ID);
    (void)state;
    assert_int_equal(hf_pair_begin(&made, &info), HF_OK);
    assert_false(made.is_registered);
    info.established = false;
    assert_int_equal(hf_pair_begin(&made, &info), HF_E_STATE);
    info = sa1(HF_ENTITY_AE, AE_ID);
    info.is_client = true;
    assert_int_equal(hf_pair_begin(&made, &info), HF_E_STATE);
    info = sa1(HF_ENTITY_PENDING, "");
    info.credential_id_len = 0;
    assert_int_equal(hf_pair_begin(&made, &info), HF_E_ARGUMENT);
}

static void registration_is_as_who_came(void **state)
{
    static const char longest[HF_ENTITY_ID_MAX + 1];
    struct hf_pair made;
    struct hf_association_info info = sa1(HF_ENTITY_AE, AE_ID);
    (void)state;
    assert_int_equal(hf_pair_begin(&made, &info), HF_OK);
    assert_int_equal(hf_pair_register(&made, bytes_of("//sp.example.org/S-other")),
                     HF_E_IDENTITY_REFUSED);
    assert_int_equal(hf_pair_register(&made, bytes_of("")), HF_E_ARGUMENT);
    assert_int_equal(
        hf_pair_register(&made, (struct hf_bytes){(const uint8_t *)longest, HF_ENTITY_ID_MAX + 1}),
        HF_E_ARGUMENT);
    assert_false(made.is_registered);
    assert_int_equal(hf_pair_register(&made, bytes_of(AE_ID)), HF_OK);
    assert_true(made.is_registered);
    /* One of a list, and from then on that one. */
    info = sa1(HF_ENTITY_AE_LIST, "//sp/S1 //sp/S22 //sp/S3");
    assert_int_equal(hf_pair_begin(&made, &info), HF_OK);
    assert_int_equal(hf_pair_register(&made, bytes_of("//sp/S2")), HF_E_IDENTITY_REFUSED);
    assert_int_equal(hf_pair_register(&made, bytes_of("//sp/S22")), HF_OK);
    assert_string_equal(made.entity_id, "//sp/S22");
    assert_int_equal(made.entity_kind, HF_ENTITY_AE);
    assert_int_equal(hf_pair_register(&made, bytes_of("//sp/S1")), HF_E_IDENTITY_REFUSED);
    /* An AE whose AE-ID is settled only now. */
    info = sa1(HF_ENTITY_PENDING, "");
    assert_int_equal(hf_pair_begin(&made, &info), HF_OK);
    assert_int_equal(hf_pair_register(&made, bytes_of(AE_ID)), HF_OK);
    assert_string_equal(made.entity_id, AE_ID);
}

/** Our end dials the device back; the key source knows the device by `entity` and `credential`. */
static void begin(struct hf_pair *made, bool is_dtls, const char *entity, const char *credential)
{
    const struct hf_association_info info = sa1(HF_ENTITY_AE, AE_ID);
    engine_pair_init(&pair, is_dtls);
    assert_int_equal(hf_pair_begin(made, &info), HF_OK);
    assert_int_equal(hf_pair_register(made, bytes_of(AE_ID)), HF_OK);
    pair.client.answer.entity_kind = HF_ENTITY_AE;
    pair.client.answer.entity_id = bytes_of(entity);
    pair.client.answer.credential_id = bytes_of(credential);
    pair.connect.pair = made;
    engine_pair_open(&pair);
}

static void the_same_peer_is_dialled_back(void **state)
{
    struct hf_pair made;
    (void)state;
    for (int is_dtls = 0; is_dtls < 2; is_dtls++) {
        begin(&made, is_dtls, AE_ID, CREDENTIAL_ID);
        engine_pair_meet(&pair);
        const struct hf_association_info info = engine_pair_info(&pair.client);
        assert_true(info.is_sa2 && info.is_client);
        assert_string_equal(info.entity_id, AE_ID);
        assert_string_equal(info.credential_id, CREDENTIAL_ID);
        assert_int_equal(info.entity_kind, HF_ENTITY_AE);
        assert_false(engine_pair_info(&pair.server).is_sa2);
        engine_pair_talk(&pair);
        engine_pair_close(&pair);
    }
}

static void another_peer_is_refused(void **state)
{
    static const char *const wrong[][2] = {{"//sp.example.org/S-other", CREDENTIAL_ID},
                                           {AE_ID, "12-Kpsa2@in-cse.example.org"}};
    struct hf_pair made;
    (void)state;
    for (int i = 0; i < 4; i++) {
        begin(&made, i & 1, wrong[i / 2][0], wrong[i / 2][1]);
        assert_int_equal(engine_pair_dial(&pair), HF_OK);
        engine_pair_run(&pair);
        assert_int_equal(pair.client.established_count, 0);
        assert_int_equal(pair.client.failure.status, HF_E_IDENTITY_REFUSED);
        engine_pair_close(&pair);
    }
}

static void no_way_back_without_registration(void **state)
{
    hf_association_id id;
    struct hf_pair made;
    (void)state;
    begin(&made, true, AE_ID, CREDENTIAL_ID);
    struct hf_engine *engine = pair.client.engine;
    struct hf_connect connect = pair.connect;
    hf_pair_deregister(&made);
    assert_int_equal(hf_engine_connect(&id, engine, &connect), HF_E_STATE);
    assert_int_equal(hf_pair_register(&made, bytes_of(AE_ID)), HF_OK);
    connect.entity_id = bytes_of("//sp.example.org/S-other");
    assert_int_equal(hf_engine_connect(&id, engine, &connect), HF_E_IDENTITY_REFUSED);
    connect = pair.connect;
    made.expires_s = pair.wall_s;
    assert_int_equal(hf_engine_connect(&id, engine, &connect), HF_E_CREDENTIAL_EXPIRED);
    made.expires_s = 0;
    made.reference_point = HF_REFERENCE_POINT_MCC_PRIME;
    assert_int_equal(hf_engine_connect(&id, engine, &connect), HF_E_ARGUMENT);
    assert_int_equal(id, 0);
    engine_pair_close(&pair);
}

/* With certificates each end shows its own again, in the other role. */
static void begin_certificates(struct hf_pair *made, const char *credential)
{
    static struct hf_listener_authority authority;
    const struct pair_credentials *world = pair_credentials();
    struct hf_association_info info = sa1(HF_ENTITY_CSE, PAIR_SERVER_CSE_ID);
    info.framework = HF_FRAMEWORK_CERTIFICATE;
    info.credential_id_len = (uint16_t)strlen(credential);
    memcpy(info.credential_id, credential, strlen(credential) + 1);
    engine_pair_init(&pair, true);
    authority = (struct hf_listener_authority){.x509 = world->server, .trust = world->trust};
    pair.listeners[1].authorities = &authority;
    pair.listeners[1].authority_count = 1;
    pair.dialers[1].x509 = world->client;
    pair.dialers[1].trust = world->trust;
    pair.connect.psk_identity = (struct hf_bytes){NULL, 0};
    pair.connect.flavour = HF_FLAVOUR_CSE_ID;
    assert_int_equal(hf_pair_begin(made, &info), HF_OK);
    assert_int_equal(hf_pair_register(made, bytes_of(PAIR_SERVER_CSE_ID)), HF_OK);
    pair.connect.pair = made;
    engine_pair_open(&pair);
}

static void certificates_bind_both_ways(void **state)
{
    struct hf_pair made;
    (void)state;
    begin_certificates(&made, "32-in-cse.b.example");
    engine_pair_meet(&pair);
    assert_true(engine_pair_info(&pair.client).is_sa2);
    engine_pair_talk(&pair);
    engine_pair_close(&pair);
    begin_certificates(&made, "30-sha-256-another");
    assert_int_equal(engine_pair_dial(&pair), HF_OK);
    engine_pair_run(&pair);
    assert_int_equal(pair.client.failure.status, HF_E_PEER_NAME);
    engine_pair_close(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_a_peer_that_came_to_us_has_a_pair),
        cmocka_unit_test(registration_is_as_who_came),
        cmocka_unit_test(the_same_peer_is_dialled_back),
        cmocka_unit_test(another_peer_is_refused),
        cmocka_unit_test(no_way_back_without_registration),
        cmocka_unit_test(certificates_bind_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
