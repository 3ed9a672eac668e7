/**
 * p256_edge_test.c - every back end of P-256 at the edges: scalars around 0 and n, the scalars at
 * which a digit sum meets itself, equal and opposite points, infinity, x beyond n, coordinates
 * beyond p, points off the curve, and good and bad operations side by side in every lane.
 *
 * The linker puts this test between the back ends and their randomness (--wrap), so that it chooses
 * private keys and nonces.
 */
#include "p256.h"
#include "p256_reference.h"
#include "p256_scalar.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define LANES 8
#define SCALARS_MAX 600

void __real_hf_random(void *out, size_t len);
void __wrap_hf_random(void *out, size_t len);
void __real_hf__p256_nonce(uint8_t out[32], const uint8_t private_key[32], const uint8_t digest[32],
                           const uint8_t fresh[32]);
void __wrap_hf__p256_nonce(uint8_t out[32], const uint8_t private_key[32], const uint8_t digest[32],
                           const uint8_t fresh[32]);

/* What hf_random and hf__p256_nonce give next, if anything. */
static const uint8_t (*script)[32];
static size_t script_left;

static bool script_take(uint8_t out[32])
{
    if (script_left == 0)
        return false;
    memcpy(out, *script++, 32);
    script_left--;
    return true;
}

void __wrap_hf_random(void *out, size_t len)
{
    if (len != 32 || !script_take(out))
        __real_hf_random(out, len);
}

void __wrap_hf__p256_nonce(uint8_t out[32], const uint8_t private_key[32], const uint8_t digest[32],
                           const uint8_t fresh[32])
{
    if (!script_take(out))
        __real_hf__p256_nonce(out, private_key, digest, fresh);
}

static void script_set(const uint8_t (*scalars)[32], size_t count)
{
    script = scalars;
    script_left = count;
}

/* Every back end; the lanes first. */
static const struct hf_p256_backend *backend_at(size_t index)
{
    const struct hf_p256_backend *const all[] = {hf_p256_portable(), hf_p256_lanes()};

    return index < 2 ? all[index] : NULL;
}

static uint8_t scalars[SCALARS_MAX][32]; /* all in 1..n-1 */
static size_t scalar_count;

static void scalar_add(const uint8_t scalar[32])
{
    assert_true(scalar_count < SCALARS_MAX);
    if (hf__p256_scalar_is_valid(scalar))
        memcpy(scalars[scalar_count++], scalar, 32);
}

/* 1, 2, ...; n - 1, n - 2, ...; powers of two and their neighbours; the exceptions. */
static int scalars_make(void **state)
{
    uint8_t scalar[32];

    (void)state;
    for (long i = 1; i <= 40; i++) {
        reference_number(scalar, "0", i);
        scalar_add(scalar);
        reference_number(scalar, "n", -i);
        scalar_add(scalar);
    }
    for (int bit = 5; bit < 256; bit += bit < 240 ? 5 : 1) {
        char name[8] = "2^";

        name[2] = (char)('0' + bit / 100);
        name[3] = (char)('0' + bit / 10 % 10);
        name[4] = (char)('0' + bit % 10);
        for (long i = -1; i <= 1; i++) {
            reference_number(scalar, name, i);
            scalar_add(scalar);
        }
    }
    reference_exception(scalar);
    scalar_add(scalar);
    assert_true(scalar[31] & 1);
    for (size_t i = 0; i < 32; i++)
        scalar[i] = 0xaa;
    scalar_add(scalar);
    while (scalar_count % LANES != 0) {
        __real_hf_random(scalar, sizeof scalar);
        scalar_add(scalar);
    }
    return 0;
}

static void scalar_range(void **state)
{
    static const struct {
        const char *base;
        long add;
        bool is_valid;
    } cases[] = {{"0", 0, false}, {"0", 1, true},  {"n", -1, true},  {"n", 0, false},
                 {"n", 1, false}, {"p", 0, false}, {"0", -1, false}, {"2^255", 0, true}};
    uint8_t scalar[32];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        reference_number(scalar, cases[i].base, cases[i].add);
        assert_int_equal(hf__p256_scalar_is_valid(scalar), cases[i].is_valid);
    }
}

static void generate_at_the_edges(void **state)
{
    uint8_t private_keys[LANES][32];
    uint8_t public_keys[LANES][65];
    uint8_t wanted[65];
    struct hf_p256_generate operations[LANES];

    (void)state;
    for (size_t b = 0; backend_at(b); b++) {
        for (size_t first = 0; first < scalar_count; first += LANES) {
            for (size_t i = 0; i < LANES; i++)
                operations[i] = (struct hf_p256_generate){private_keys[i], public_keys[i], 99};
            script_set(scalars + first, LANES);
            backend_at(b)->generate(operations, LANES);
            for (size_t i = 0; i < LANES; i++) {
                assert_int_equal(operations[i].status, HF_OK);
                assert_memory_equal(private_keys[i], scalars[first + i], 32);
                assert_true(reference_multiply(wanted, scalars[first + i], NULL));
                assert_memory_equal(public_keys[i], wanted, 65);
            }
        }
    }
}

/* 0, n and what is above are drawn again. */
static void generate_draws_again(void **state)
{
    uint8_t drawn[5][32];
    uint8_t private_key[32];
    uint8_t public_key[65];
    struct hf_p256_generate operation = {private_key, public_key, 99};

    (void)state;
    reference_number(drawn[0], "0", 0);
    reference_number(drawn[1], "n", 0);
    reference_number(drawn[2], "n", 1);
    reference_number(drawn[3], "0", -1);
    reference_number(drawn[4], "n", -1);
    for (size_t b = 0; backend_at(b); b++) {
        script_set(drawn, 5);
        backend_at(b)->generate(&operation, 1);
        assert_memory_equal(private_key, drawn[4], 32);
    }
}

static void agree_at_the_edges(void **state)
{
    uint8_t peers[LANES][65];
    uint8_t shared[LANES][32];
    uint8_t wanted[65];
    struct hf_p256_agree operations[LANES];

    (void)state;
    for (size_t b = 0; backend_at(b); b++) {
        for (size_t first = 0; first < scalar_count; first += LANES) {
            for (size_t i = 0; i < LANES; i++) {
                // Multiples of the generator that are small, large, and the scalar's own.
                assert_true(reference_multiply(peers[i], scalars[(first * 7 + i * 3) % 97], NULL));
                operations[i] = (struct hf_p256_agree){scalars[first + i], peers[i], shared[i], 99};
            }
            backend_at(b)->agree(operations, LANES);
            for (size_t i = 0; i < LANES; i++) {
                assert_int_equal(operations[i].status, HF_OK);
                assert_true(reference_multiply(wanted, scalars[first + i], peers[i]));
                assert_memory_equal(shared[i], wanted + 1, 32);
            }
        }
    }
}

#define BAD_AGREEMENTS 14

/* A scalar and a peer of which one is bad. */
static void agree_bad(uint8_t scalar[32], uint8_t peer[65], size_t which)
{
    static const struct {
        const char *base;
        long add;
    } bad[] = {{"0", 0}, {"n", 0}, {"n", 1}, {"p", 0}, {"0", -1}};
    uint8_t small[32];

    memcpy(scalar, scalars[which % scalar_count], 32);
    reference_number(small, "0", 5);
    reference_point_from(peer, small);
    if (which < 5)
        reference_number(scalar, bad[which].base, bad[which].add);
    else if (which == 5)
        peer[64] ^= 1;
    else if (which == 6)
        peer[32] ^= 0x40;
    else if (which == 7) // x + p: the same point to who does not look
        reference_number(peer + 1, "p", peer[32]);
    else if (which == 8) // y + p, modulo 2^256: another number altogether
        memset(peer + 33, 0xff, 32);
    else if (which == 9)
        memset(peer + 1, 0, 64);
    else if (which == 10)
        memset(peer + 1, 0xff, 32);
    else
        peer[0] = (uint8_t)(which == 11 ? 0 : which == 12 ? 2 : 6);
}

static void agree_refuses_in_every_lane(void **state)
{
    (void)state;
    for (size_t b = 0; backend_at(b); b++) {
        for (size_t which = 0; which < BAD_AGREEMENTS; which++) {
            for (unsigned bad_lanes = 1; bad_lanes < 256; bad_lanes = bad_lanes * 2 + 1) {
                uint8_t inputs[LANES][32];
                uint8_t peers[LANES][65];
                uint8_t shared[LANES][32];
                uint8_t wanted[65];
                struct hf_p256_agree operations[LANES];
                // Ends of the batch, and between: rotated by what is tested.
                unsigned bad = (bad_lanes << which % 8 | bad_lanes >> (8 - which % 8)) & 0xff;

                memset(shared, 0xee, sizeof shared);
                for (size_t i = 0; i < LANES; i++) {
                    memcpy(inputs[i], scalars[(which + i) % scalar_count], 32);
                    assert_true(reference_multiply(peers[i], scalars[3 * i], NULL));
                    if (bad >> i & 1)
                        agree_bad(inputs[i], peers[i], which);
                    operations[i] = (struct hf_p256_agree){inputs[i], peers[i], shared[i], 99};
                }
                backend_at(b)->agree(operations, LANES);
                for (size_t i = 0; i < LANES; i++) {
                    memset(wanted, 0, sizeof wanted);
                    if (!(bad >> i & 1))
                        assert_true(reference_multiply(wanted, inputs[i], peers[i]));
                    assert_memory_equal(shared[i], wanted + 1, 32);
                    assert_int_equal(operations[i].status,
                                     bad >> i & 1 ? HF_E_ILLEGAL_PARAMETER : HF_OK);
                }
            }
        }
    }
}

/* Only the lanes let the nonce be chosen. */
static void sign_with_nonces_at_the_edges(void **state)
{
    struct hf_p256_key keys[LANES];
    struct hf_p256_sign operations[LANES];
    uint8_t digests[LANES][32];
    uint8_t signatures[LANES][64];
    uint8_t wanted[64];

    (void)state;
    if (!hf_p256_lanes())
        skip();
    for (size_t first = 0; first < scalar_count; first += LANES) {
        __real_hf_random(digests, sizeof digests);
        reference_number(digests[0], "0", 0);
        reference_number(digests[1], "n", first % 3 == 0 ? 0 : -1);
        reference_number(digests[2], "0", -1);
        for (size_t i = 0; i < LANES; i++) {
            assert_int_equal(hf_p256_key_open(&keys[i], scalars[(first * 5 + i) % scalar_count]),
                             HF_OK);
            operations[i] = (struct hf_p256_sign){&keys[i], digests[i], signatures[i], 99};
        }
        script_set(scalars + first, LANES);
        hf_p256_lanes()->sign(operations, LANES);
        for (size_t i = 0; i < LANES; i++) {
            assert_int_equal(operations[i].status, HF_OK);
            reference_sign(wanted, keys[i].scalar, digests[i], scalars[first + i]);
            assert_memory_equal(signatures[i], wanted, 64);
            assert_true(reference_verify(keys[i].public_key, digests[i], signatures[i]));
            hf_p256_key_close(&keys[i]);
        }
    }
}

/* With digest = 0 and s d = -e there is no signature: s would be 0, and another nonce is taken. */
static void sign_takes_another_nonce_for_zero(void **state)
{
    static const uint8_t one[32] = {[31] = 1};
    struct hf_p256_key key;
    uint8_t nonces[2][32];
    uint8_t point[65];
    uint8_t digest[32];
    uint8_t signature[64];
    uint8_t wanted[64];
    struct hf_p256_sign operation = {&key, digest, signature, 99};

    (void)state;
    if (!hf_p256_lanes())
        skip();
    memcpy(nonces[0], scalars[11], 32);
    memcpy(nonces[1], scalars[12], 32);
    assert_int_equal(hf_p256_key_open(&key, one), HF_OK);
    // e = -r, d = 1: s = (e + r d) / k = 0.
    assert_true(reference_multiply(point, nonces[0], NULL));
    reference_ratio(digest, point + 1, one, true);
    script_set(nonces, 2);
    hf_p256_lanes()->sign(&operation, 1);
    assert_int_equal(script_left, 0);
    reference_sign(wanted, one, digest, nonces[1]);
    assert_memory_equal(signature, wanted, 64);
    hf_p256_key_close(&key);
}

struct signed_case {
    uint8_t key[65];
    uint8_t digest[32];
    uint8_t signature[64];
    enum hf_status wanted;
};

#define CASES_MAX 2048
static struct signed_case cases[CASES_MAX];
static size_t case_count;

static struct signed_case *case_next(enum hf_status wanted)
{
    assert_true(case_count < CASES_MAX);
    cases[case_count].wanted = wanted;
    return &cases[case_count++];
}

static void case_craft(const uint8_t u1[32], const uint8_t u2[32], const uint8_t t[32])
{
    struct signed_case *made = case_next(HF_OK);

    if (!reference_craft(made->key, made->digest, made->signature, u1, u2, t))
        made->wanted = HF_E_BAD_SIGNATURE;
}

static void cases_of_points(void)
{
    uint8_t t[32];
    uint8_t zero[32];

    reference_number(zero, "0", 0);
    for (size_t i = 0; i < scalar_count; i++) {
        const uint8_t *u1 = scalars[i];
        const uint8_t *u2 = scalars[(i * 3 + 1) % scalar_count];

        case_craft(u1, u2, scalars[(i + 5) % scalar_count]);
        case_craft(zero, u2, scalars[i]);
        reference_ratio(t, u1, u2, false); // equal points
        case_craft(u1, u2, t);
        reference_ratio(t, u1, u2, true); // opposite ones: infinity
        case_craft(u1, u2, t);
    }
}

/* x of the sum in n..p-1, so that r is x - n; and the other way round, r without such an x. */
static void cases_beyond_n(void)
{
    uint8_t x[32];
    uint8_t point[65];

    for (long i = 0; i < 10; i++) {
        struct signed_case *made = case_next(HF_OK);
        struct signed_case *bad = case_next(HF_E_BAD_SIGNATURE);

        reference_number(x, "n", 1 + 50 * i);
        reference_point_from(point, x);
        reference_craft_at(made->key, made->digest, made->signature, scalars[20 + i],
                           scalars[60 + i], point);
        *bad = *made;
        bad->wanted = HF_E_BAD_SIGNATURE;
        reference_number(bad->signature, "n", 1 + i);
        reference_number(x, "0", 1 + 50 * i);
        reference_point_from(point, x);
        made = case_next(HF_OK);
        reference_craft_at(made->key, made->digest, made->signature, scalars[30 + i],
                           scalars[70 + i], point);
    }
}

static void cases_out_of_range(void)
{
    static const struct {
        const char *base;
        long add;
    } bad[] = {{"0", 0}, {"n", 0}, {"n", 1}, {"p", 0}, {"0", -1}};

    for (size_t i = 0; i < 2 * sizeof bad / sizeof bad[0]; i++) {
        struct signed_case *made = case_next(HF_E_BAD_SIGNATURE);

        assert_true(reference_craft(made->key, made->digest, made->signature, scalars[i],
                                    scalars[i + 9], scalars[i + 20]));
        reference_number(made->signature + 32 * (i % 2), bad[i / 2].base, bad[i / 2].add);
    }
    for (size_t i = 5; i < BAD_AGREEMENTS; i++) {
        struct signed_case *made = case_next(HF_E_ILLEGAL_PARAMETER);
        uint8_t unused[32];

        assert_true(reference_craft(made->key, made->digest, made->signature, scalars[i],
                                    scalars[i + 9], scalars[i + 20]));
        agree_bad(unused, made->key, i);
    }
}

static void verify_at_the_edges(void **state)
{
    (void)state;
    cases_of_points();
    cases_beyond_n();
    cases_out_of_range();
    for (size_t i = 0; i < case_count; i++)
        assert_int_equal(reference_verify(cases[i].key, cases[i].digest, cases[i].signature),
                         cases[i].wanted == HF_OK);
    // Every window of eight: each case is in every lane, beside other neighbours each time.
    for (size_t b = 0; backend_at(b); b++) {
        for (size_t first = 0; first + LANES <= case_count; first++) {
            struct hf_p256_verify operations[LANES];

            for (size_t i = 0; i < LANES; i++)
                operations[i] =
                    (struct hf_p256_verify){cases[first + i].key, cases[first + i].digest,
                                            cases[first + i].signature, 99, NULL};
            backend_at(b)->verify(operations, LANES);
            for (size_t i = 0; i < LANES; i++)
                assert_int_equal(operations[i].status, cases[first + i].wanted);
            if (backend_at(b)->lanes == 1)
                first += LANES - 1;
        }
    }
}

/* With tables of the keys: all of a batch, and every second. What cannot be prepared is NULL. */
static void verify_with_prepared_keys(void **state)
{
    struct hf_p256_prepared *ring[LANES] = {NULL};

    (void)state;
    if (!hf_p256_lanes())
        skip();
    for (size_t first = 0; first + LANES <= case_count; first++) {
        struct hf_p256_verify operations[LANES];

        for (size_t i = first == 0 ? 0 : LANES - 1; i < LANES; i++) {
            size_t slot = (first + i) % LANES;

            hf_p256_prepared_close(ring[slot]);
            ring[slot] = hf_p256_prepare(cases[first + i].key);
            assert_int_equal(ring[slot] == NULL, cases[first + i].wanted == HF_E_ILLEGAL_PARAMETER);
        }
        for (size_t i = 0; i < LANES; i++)
            operations[i] = (struct hf_p256_verify){
                cases[first + i].key, cases[first + i].digest, cases[first + i].signature, 99,
                first % 2 || i % 2 ? ring[(first + i) % LANES] : NULL};
        hf_p256_lanes()->verify(operations, LANES);
        for (size_t i = 0; i < LANES; i++)
            assert_int_equal(operations[i].status, cases[first + i].wanted);
    }
    for (size_t i = 0; i < LANES; i++)
        hf_p256_prepared_close(ring[i]);
}

/* Any number with and without tables in one call: each gets its own answer, in its own place. */
static void verify_mixed_counts(void **state)
{
    struct hf_p256_prepared *prepared = hf_p256_prepare(cases[0].key);

    (void)state;
    for (size_t b = 0; backend_at(b); b++) {
        for (size_t count = 0; count <= 40; count++) {
            struct hf_p256_verify operations[40];

            for (size_t i = 0; i < count; i++) {
                const struct signed_case *with = &cases[i * i % 7 == 1 ? 0 : i];

                operations[i] = (struct hf_p256_verify){with->key, with->digest, with->signature,
                                                        99, with == cases ? prepared : NULL};
            }
            backend_at(b)->verify(operations, count);
            for (size_t i = 0; i < count; i++)
                assert_int_equal(operations[i].status, cases[i * i % 7 == 1 ? 0 : i].wanted);
        }
    }
    hf_p256_prepared_close(prepared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalar_range),
        cmocka_unit_test(generate_at_the_edges),
        cmocka_unit_test(generate_draws_again),
        cmocka_unit_test(agree_at_the_edges),
        cmocka_unit_test(agree_refuses_in_every_lane),
        cmocka_unit_test(sign_with_nonces_at_the_edges),
        cmocka_unit_test(sign_takes_another_nonce_for_zero),
        cmocka_unit_test(verify_at_the_edges),
        cmocka_unit_test(verify_with_prepared_keys),
        cmocka_unit_test(verify_mixed_counts),
    };

    return cmocka_run_group_tests(tests, scalars_make, NULL);
}
