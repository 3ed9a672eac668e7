/**
 * p256_bench.c - key generation, ECDH, signing and verification, so many at a time, by each back
 * end: <operation>/<back end>/<count>. bench/p256/run puts OpenSSL beside it.
 */
#include "benchmark_c.h"
#include "p256.h"

#include <stdio.h>
#include <string.h>

#define COUNT_MAX 64

struct work {
    uint8_t private_keys[COUNT_MAX][HF_P256_SCALAR_LEN];
    uint8_t public_keys[COUNT_MAX][HF_P256_POINT_LEN];
    uint8_t digests[COUNT_MAX][HF_SHA256_LEN];
    uint8_t shared[COUNT_MAX][HF_P256_SCALAR_LEN];
    uint8_t signatures[COUNT_MAX][HF_P256_SIGNATURE_LEN];
    struct hf_p256_key keys[COUNT_MAX];
    struct hf_p256_generate generate[COUNT_MAX];
    struct hf_p256_agree agree[COUNT_MAX];
    struct hf_p256_sign sign[COUNT_MAX];
    struct hf_p256_verify verify[COUNT_MAX];
};

static struct work work;

static const struct hf_p256_backend *backend_of(int64_t arg)
{
    return arg >> 32 ? hf_p256_lanes() : hf_p256_portable();
}

static bool work_init(void)
{
    for (size_t i = 0; i < COUNT_MAX; i++)
        work.generate[i] = (struct hf_p256_generate){.private_key = work.private_keys[i],
                                                     .public_key = work.public_keys[i]};
    hf_p256_portable()->generate(work.generate, COUNT_MAX);
    hf_random(work.digests, sizeof work.digests);
    for (size_t i = 0; i < COUNT_MAX; i++) {
        if (hf_p256_key_open(&work.keys[i], work.private_keys[i]) != HF_OK)
            return false;
        work.agree[i] = (struct hf_p256_agree){.private_key = work.private_keys[i],
                                               .peer = work.public_keys[(i + 1) % COUNT_MAX],
                                               .shared = work.shared[i]};
        work.sign[i] = (struct hf_p256_sign){
            .key = &work.keys[i], .digest = work.digests[i], .signature = work.signatures[i]};
        work.verify[i] = (struct hf_p256_verify){.public_key = work.public_keys[i],
                                                 .digest = work.digests[i],
                                                 .signature = work.signatures[i]};
    }
    hf_p256_portable()->sign(work.sign, COUNT_MAX);
    return true;
}

static void bench_generate(struct bench_state *state, int64_t arg)
{
    static uint8_t private_keys[COUNT_MAX][HF_P256_SCALAR_LEN];
    static uint8_t public_keys[COUNT_MAX][HF_P256_POINT_LEN];
    struct hf_p256_generate operations[COUNT_MAX];
    size_t count = (uint32_t)arg;

    for (size_t i = 0; i < count; i++)
        operations[i] =
            (struct hf_p256_generate){.private_key = private_keys[i], .public_key = public_keys[i]};
    while (bench_running(state))
        backend_of(arg)->generate(operations, count);
    bench_items(state, count);
}

static void bench_agree(struct bench_state *state, int64_t arg)
{
    size_t count = (uint32_t)arg;

    while (bench_running(state))
        backend_of(arg)->agree(work.agree, count);
    for (size_t i = 0; i < count; i++)
        if (work.agree[i].status != HF_OK)
            bench_fail(state, "agree");
    bench_items(state, count);
}

static void bench_sign(struct bench_state *state, int64_t arg)
{
    size_t count = (uint32_t)arg;

    while (bench_running(state))
        backend_of(arg)->sign(work.sign, count);
    for (size_t i = 0; i < count; i++)
        if (work.sign[i].status != HF_OK)
            bench_fail(state, "sign");
    bench_items(state, count);
}

static void bench_verify(struct bench_state *state, int64_t arg)
{
    size_t count = (uint32_t)arg;

    while (bench_running(state))
        backend_of(arg)->verify(work.verify, count);
    for (size_t i = 0; i < count; i++)
        if (work.verify[i].status != HF_OK)
            bench_fail(state, "verify");
    bench_items(state, count);
}

/* Under keys that are known beforehand, all different: more than a server has. */
static void bench_verify_known(struct bench_state *state, int64_t arg)
{
    size_t count = (uint32_t)arg;
    struct hf_p256_prepared *prepared[COUNT_MAX];

    for (size_t i = 0; i < count; i++)
        work.verify[i].prepared = prepared[i] = hf_p256_prepare(work.public_keys[i]);
    bench_verify(state, arg);
    for (size_t i = 0; i < count; i++) {
        work.verify[i].prepared = NULL;
        hf_p256_prepared_close(prepared[i]);
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        bench_fn *run;
    } operations[] = {{"generate", bench_generate},
                      {"agree", bench_agree},
                      {"sign", bench_sign},
                      {"verify", bench_verify},
                      {"verify_known", bench_verify_known}};
    static const int64_t counts[] = {1, 2, 4, 8, 64};
    char name[64];

    if (!work_init())
        return 1;
    if (!hf_p256_lanes())
        puts("no lanes: this processor, this build or HANDFAST_LANES is without them");
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        snprintf(name, sizeof name, "%s/portable/1", operations[i].name);
        bench_add(name, operations[i].run, 1);
        for (size_t j = 0; j < sizeof counts / sizeof counts[0] && hf_p256_lanes(); j++) {
            snprintf(name, sizeof name, "%s/lanes/%d", operations[i].name, (int)counts[j]);
            bench_add(name, operations[i].run, (int64_t)1 << 32 | counts[j]);
        }
    }
    return bench_main(argc, argv);
}
