/**
 * p256_differential_test.c - random operations on every back end of P-256 against BoringSSL, called
 * directly: batches of random size, one operation in four spoilt in some way, scalars of every
 * shape. Usage: p256_differential_test [--cases N] [--seed N]; prints its seed.
 */
#include "p256.h"
#include "p256_reference.h"
#include "p256_scalar.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_MAX 17

static uint64_t seed;
static uint64_t drawn;

static void random_bytes(void *out, size_t len)
{
    uint8_t *bytes = out;

    while (len > 0) {
        const uint64_t key[2] = {seed, 0x70323536};
        uint64_t word = hf_siphash(key, &drawn, sizeof drawn);
        size_t take = len < sizeof word ? len : sizeof word;

        drawn++;
        memcpy(bytes, &word, take);
        bytes += take;
        len -= take;
    }
}

static unsigned random_below(unsigned limit)
{
    uint32_t value;

    random_bytes(&value, sizeof value);
    return value % limit;
}

/* Uniform, short, long runs of equal bits, or near n. */
static void random_scalar(uint8_t out[32])
{
    do {
        random_bytes(out, 32);
        switch (random_below(6)) {
        case 0:
            memset(out, 0, random_below(32));
            break;
        case 1:
            for (unsigned i = random_below(32), end = random_below(33); i < end; i++)
                out[i] = 0xff;
            break;
        case 2:
            for (unsigned i = random_below(32), end = random_below(33); i < end; i++)
                out[i] = 0;
            break;
        case 3:
            if (random_below(4) == 0)
                reference_number(out, "n", -1 - (long)random_below(300));
            break;
        default:
            break;
        }
    } while (!hf__p256_scalar_is_valid(out));
}

/* A flipped bit, or a number that is out of range. */
static void spoil(uint8_t *number, size_t len)
{
    if (random_below(2))
        number[random_below((unsigned)len)] ^= (uint8_t)(1u << random_below(8));
    else
        memset(number, random_below(2) ? 0xff : 0, len);
}

static bool spoils(void)
{
    return random_below(4) == 0;
}

static void complain(const char *what, const struct hf_p256_backend *backend, size_t index)
{
    printf("FAIL %s, %s, operation %zu; seed %" PRIu64 "\n", what, backend->name, index, seed);
    exit(1);
}

struct batch {
    uint8_t scalars[BATCH_MAX][32];
    uint8_t points[BATCH_MAX][65];
    uint8_t digests[BATCH_MAX][32];
    uint8_t signatures[BATCH_MAX][64];
    uint8_t shared[BATCH_MAX][32];
};

static struct batch batch;

static void check_generate(const struct hf_p256_backend *backend, size_t count)
{
    struct hf_p256_generate operations[BATCH_MAX];
    uint8_t wanted[65];

    for (size_t i = 0; i < count; i++)
        operations[i] = (struct hf_p256_generate){batch.scalars[i], batch.points[i], 99};
    backend->generate(operations, count);
    for (size_t i = 0; i < count; i++)
        if (operations[i].status != HF_OK || !hf__p256_scalar_is_valid(batch.scalars[i]) ||
            !reference_multiply(wanted, batch.scalars[i], NULL) ||
            memcmp(wanted, batch.points[i], 65) != 0)
            complain("generate", backend, i);
}

/* The portable back end is BoringSSL with nothing around it. */
static bool agree_reference(uint8_t wanted[65], const uint8_t scalar[32], const uint8_t peer[65])
{
    struct hf_p256_agree operation = {scalar, peer, wanted + 1, 99};

    hf_p256_portable()->agree(&operation, 1);
    return operation.status == HF_OK;
}

static void check_agree(const struct hf_p256_backend *backend, size_t count)
{
    struct hf_p256_agree operations[BATCH_MAX];
    uint8_t wanted[65];

    for (size_t i = 0; i < count; i++) {
        random_scalar(batch.scalars[i]);
        if (spoils())
            spoil(random_below(8) ? batch.points[i] : batch.scalars[i], 32);
        operations[i] =
            (struct hf_p256_agree){batch.scalars[i], batch.points[i], batch.shared[i], 99};
    }
    backend->agree(operations, count);
    for (size_t i = 0; i < count; i++) {
        bool is_good = agree_reference(wanted, batch.scalars[i], batch.points[i]);

        if ((operations[i].status == HF_OK) != is_good ||
            memcmp(batch.shared[i], wanted + 1, 32) != 0)
            complain("agree", backend, i);
    }
}

static void check_sign_and_verify(const struct hf_p256_backend *backend, size_t count)
{
    struct hf_p256_key keys[BATCH_MAX];
    struct hf_p256_sign sign[BATCH_MAX];
    struct hf_p256_verify verify[BATCH_MAX];

    random_bytes(batch.digests, sizeof batch.digests);
    for (size_t i = 0; i < count; i++) {
        random_scalar(batch.scalars[i]);
        if (hf_p256_key_open(&keys[i], batch.scalars[i]) != HF_OK)
            complain("hf_p256_key_open", backend, i);
        sign[i] = (struct hf_p256_sign){&keys[i], batch.digests[i], batch.signatures[i], 99};
        verify[i] = (struct hf_p256_verify){keys[i].public_key, batch.digests[i],
                                            batch.signatures[i], 99, NULL};
    }
    backend->sign(sign, count);
    for (size_t i = 0; i < count; i++) {
        uint8_t *const parts[] = {batch.digests[i], batch.signatures[i], batch.signatures[i] + 32,
                                  keys[i].public_key + 1};

        if (sign[i].status != HF_OK)
            complain("sign", backend, i);
        if (!spoils())
            verify[i].status = HF_WAITING; // what was signed must verify
        else
            spoil(parts[random_below(4)], 32);
    }
    for (size_t i = 0; i < count; i++) {
        bool is_valid = reference_verify(keys[i].public_key, batch.digests[i], batch.signatures[i]);

        if (verify[i].status == HF_WAITING && !is_valid)
            complain("sign: BoringSSL does not verify it", backend, i);
        batch.shared[i][0] = is_valid;
    }
    backend->verify(verify, count);
    for (size_t i = 0; i < count; i++) {
        if ((verify[i].status == HF_OK) != batch.shared[i][0])
            complain("verify", backend, i);
        memcpy(batch.points[i], keys[i].public_key, 65);
        hf_p256_key_close(&keys[i]);
    }
}

/* Signatures that make the verifier go through chosen scalars. */
static void check_verify_crafted(const struct hf_p256_backend *backend, size_t count)
{
    struct hf_p256_verify verify[BATCH_MAX];
    struct hf_p256_prepared *prepared[BATCH_MAX];
    uint8_t u[3][32];
    bool is_valid[BATCH_MAX];

    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < 3; j++)
            random_scalar(u[j]);
        if (random_below(4) == 0)
            reference_ratio(u[2], u[0], u[1], random_below(2));
        is_valid[i] = reference_craft(batch.points[i], batch.digests[i], batch.signatures[i], u[0],
                                      u[1], u[2]);
        prepared[i] = random_below(3) ? hf_p256_prepare(batch.points[i]) : NULL;
        verify[i] = (struct hf_p256_verify){batch.points[i], batch.digests[i], batch.signatures[i],
                                            99, prepared[i]};
    }
    backend->verify(verify, count);
    for (size_t i = 0; i < count; i++)
        hf_p256_prepared_close(prepared[i]);
    for (size_t i = 0; i < count; i++)
        if ((verify[i].status == HF_OK) != is_valid[i])
            complain("verify, crafted", backend, i);
}

int main(int argc, char **argv)
{
    uint64_t case_max = 10000;
    uint64_t case_count = 0;
    const struct hf_p256_backend *const backends[] = {
        hf_p256_lanes() ? hf_p256_lanes() : hf_p256_portable(), hf_p256_best()};

    hf_random(&seed, sizeof seed);
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--cases") == 0)
            case_max = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--seed") == 0)
            seed = strtoull(argv[i + 1], NULL, 10);
    }
    for (uint64_t round = 0; case_count < case_max; round++) {
        const struct hf_p256_backend *backend = backends[round % 16 == 15];
        size_t count = round % 4 ? 8 : 1 + random_below(BATCH_MAX);

        check_generate(backend, count);
        check_agree(backend, count);
        check_sign_and_verify(backend, count);
        case_count += 4 * count;
        if (round % 16 == 0) {
            check_verify_crafted(backend, count);
            case_count += count;
        }
    }
    printf("PASS %" PRIu64 " random cases on %s agree with BoringSSL; seed %" PRIu64 "\n",
           case_count, backends[0]->name, seed);
    return 0;
}
