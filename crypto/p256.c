/**
 * p256.c - which back end: the lanes where there are any and enough operations, else BoringSSL.
 */
#include "p256.h"
#include "p256_scalar.h"

#include <pthread.h>
#include <stdlib.h>

#ifdef HF_LANES

static const struct hf_p256_backend *lanes_found;

static void lanes_find(void)
{
    const char *wish = secure_getenv("HANDFAST_LANES");

    __builtin_cpu_init();
    if (wish && hf_bytes_equal_public(wish, "off", 4))
        return;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512dq") ||
        !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512vl") ||
        !__builtin_cpu_supports("avx512ifma"))
        return;
    hf__base_open();
    lanes_found = &hf__lanes_backend;
}

const struct hf_p256_backend *hf_p256_lanes(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, lanes_find);
    return lanes_found;
}

struct hf_p256_prepared *hf_p256_prepare(const uint8_t public_key[HF_P256_POINT_LEN])
{
    return hf_p256_lanes() ? hf__lanes_prepare(public_key) : NULL;
}

void hf_p256_prepared_close(struct hf_p256_prepared *prepared)
{
    if (prepared)
        hf__lanes_prepared_close(prepared);
}

#else

struct hf_p256_prepared *hf_p256_prepare(const uint8_t public_key[HF_P256_POINT_LEN])
{
    (void)public_key;
    return NULL;
}

void hf_p256_prepared_close(struct hf_p256_prepared *prepared)
{
    (void)prepared;
}

const struct hf_p256_backend *hf_p256_lanes(void)
{
    return NULL;
}

#endif

static struct hf_p256_break_even break_even = {
    .generate = HF_P256_BREAK_EVEN_GENERATE,
    .agree = HF_P256_BREAK_EVEN_AGREE,
    .sign = HF_P256_BREAK_EVEN_SIGN,
    .verify = HF_P256_BREAK_EVEN_VERIFY,
};

void hf_p256_set_break_even(const struct hf_p256_break_even *counts)
{
    break_even = *counts;
}

/* How many of `count` go through the lanes: whole rounds, and a last one that is worth it. */
static size_t best_count(size_t count, size_t least)
{
    const struct hf_p256_backend *lanes = hf_p256_lanes();
    size_t rest;

    if (!lanes)
        return 0;
    rest = count % lanes->lanes;
    return rest >= least ? count : count - rest;
}

#define BEST(operation)                                                                            \
    static void best_##operation(struct hf_p256_##operation *operations, size_t count)             \
    {                                                                                              \
        size_t lanes_count = best_count(count, break_even.operation);                              \
                                                                                                   \
        if (lanes_count > 0)                                                                       \
            hf_p256_lanes()->operation(operations, lanes_count);                                   \
        if (lanes_count < count)                                                                   \
            hf_p256_portable()->operation(operations + lanes_count, count - lanes_count);          \
    }

BEST(generate)
BEST(agree)
BEST(sign)
BEST(verify)

const struct hf_p256_backend *hf_p256_best(void)
{
    static const struct hf_p256_backend best = {
        .name = "best",
        .lanes = 8,
        .generate = best_generate,
        .agree = best_agree,
        .sign = best_sign,
        .verify = best_verify,
    };

    return hf_p256_lanes() ? &best : hf_p256_portable();
}
