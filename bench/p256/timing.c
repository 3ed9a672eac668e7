/**
 * timing.c - does the time of an operation depend on its secret? Welch's t-test between one fixed
 * secret and random ones, taken in random order (Reparaz, Balasch, Verbauwhede 2016: "dudect").
 * Prints t for each operation and back end: below 4.5 nothing was found, above 10 something
 * certainly was. A statistic for people, not a test that passes or fails: on a shared machine the
 * tails belong to others, and are cut off at several percentiles, of which the worst is printed.
 * Usage: p256_timing [--samples N]
 */
#include "p256.h"
#include "p256_scalar.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <x86intrin.h>

#define LANES 8

void __real_hf_random(void *out, size_t len);
void __wrap_hf_random(void *out, size_t len);

/* What the generator draws as private keys: hf_random is wrapped, so that it can be told. */
static const uint8_t *told;

void __wrap_hf_random(void *out, size_t len)
{
    if (told && len == HF_P256_SCALAR_LEN)
        memcpy(out, told, len);
    else
        __real_hf_random(out, len);
}

struct setting {
    const struct hf_p256_backend *backend;
    uint8_t scalars[LANES][HF_P256_SCALAR_LEN];
    uint8_t points[LANES][HF_P256_POINT_LEN];
    uint8_t digest[HF_SHA256_LEN];
    uint8_t out[LANES][HF_P256_POINT_LEN];
    struct hf_p256_key keys[LANES];
};

static struct setting setting;

/* A secret for all lanes: the fixed one has long runs of ones and zeros. */
static void choose(bool is_fixed)
{
    for (size_t i = 0; i < LANES; i++) {
        hf__p256_scalar_draw(setting.scalars[i]);
        if (is_fixed) {
            memset(setting.scalars[i], 0, 16);
            memset(setting.scalars[i] + 16, 0xff, 16);
        }
        memcpy(setting.keys[i].scalar, setting.scalars[i], HF_P256_SCALAR_LEN);
    }
}

static void run_generate(size_t count)
{
    static uint8_t made[LANES][HF_P256_SCALAR_LEN];
    struct hf_p256_generate operations[LANES];

    for (size_t i = 0; i < count; i++)
        operations[i] = (struct hf_p256_generate){made[i], setting.out[i], HF_OK};
    told = setting.scalars[0];
    setting.backend->generate(operations, count);
    told = NULL;
}

static void run_agree(size_t count)
{
    struct hf_p256_agree operations[LANES];

    for (size_t i = 0; i < count; i++)
        operations[i] =
            (struct hf_p256_agree){setting.scalars[i], setting.points[i], setting.out[i], HF_OK};
    setting.backend->agree(operations, count);
}

static void run_sign(size_t count)
{
    struct hf_p256_sign operations[LANES];

    for (size_t i = 0; i < count; i++)
        operations[i] =
            (struct hf_p256_sign){&setting.keys[i], setting.digest, setting.out[i], HF_OK};
    setting.backend->sign(operations, count);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* |t| of what lies below `limit`. */
static double welch(const double *times, const bool *is_fixed, size_t count, double limit)
{
    double mean[2] = {0, 0};
    double square[2] = {0, 0};
    double n[2] = {0, 0};
    double variance = 0;

    for (size_t i = 0; i < count; i++) {
        double delta = times[i] - mean[is_fixed[i]];

        if (times[i] > limit)
            continue;
        n[is_fixed[i]]++;
        mean[is_fixed[i]] += delta / n[is_fixed[i]];
        square[is_fixed[i]] += delta * (times[i] - mean[is_fixed[i]]);
    }
    for (int i = 0; i < 2; i++)
        variance += n[i] > 1 ? square[i] / (n[i] - 1) / n[i] : 0;
    return variance > 0 ? fabs(mean[0] - mean[1]) / sqrt(variance) : 0;
}

static void test(const char *name, void (*run)(size_t), size_t sample_count)
{
    static const double percentiles[] = {0.5, 0.75, 0.9, 0.95, 0.99, 1};
    size_t lanes = setting.backend->lanes;
    double *times = calloc(sample_count, sizeof *times);
    double *sorted = calloc(sample_count, sizeof *sorted);
    bool *is_fixed = calloc(sample_count, sizeof *is_fixed);
    double worst = 0;

    if (!times || !sorted || !is_fixed)
        abort();
    for (size_t i = 0; i < sample_count; i++) {
        uint8_t coin;
        unsigned long long begun;

        hf_random(&coin, sizeof coin);
        is_fixed[i] = coin & 1;
        choose(is_fixed[i]);
        begun = __rdtsc();
        run(lanes);
        times[i] = sorted[i] = (double)(__rdtsc() - begun);
    }
    qsort(sorted, sample_count, sizeof *sorted, compare);
    for (size_t i = 0; i < sizeof percentiles / sizeof percentiles[0]; i++) {
        size_t at = (size_t)((double)(sample_count - 1) * percentiles[i]);
        double t = welch(times, is_fixed, sample_count, sorted[at]);

        if (t > worst)
            worst = t;
    }
    printf("%-9s %-9s %8zu samples, median %7.0f cycles, worst |t| %5.2f%s\n",
           setting.backend->name, name, sample_count, sorted[sample_count / 2], worst,
           worst > 10    ? "  depends on the secret"
           : worst > 4.5 ? "  look closer"
                         : "");
    free(times);
    free(sorted);
    free(is_fixed);
}

int main(int argc, char **argv)
{
    const struct hf_p256_backend *const backends[] = {hf_p256_portable(), hf_p256_lanes()};
    size_t sample_count = 100000;

    if (argc == 3 && strcmp(argv[1], "--samples") == 0)
        sample_count = strtoul(argv[2], NULL, 10);
    for (size_t b = 0; b < 2 && backends[b]; b++) {
        setting.backend = backends[b];
        hf_random(setting.digest, sizeof setting.digest);
        for (size_t i = 0; i < LANES; i++) {
            hf__p256_scalar_draw(setting.scalars[i]);
            if (hf_p256_key_open(&setting.keys[i], setting.scalars[i]) != HF_OK)
                return 1;
            memcpy(setting.points[i], setting.keys[i].public_key, HF_P256_POINT_LEN);
        }
        test("generate", run_generate, sample_count);
        test("agree", run_agree, sample_count);
        // BoringSSL's form of a key is made once: for it, the key cannot change at every turn.
        if (setting.backend == hf_p256_lanes())
            test("sign", run_sign, sample_count);
        for (size_t i = 0; i < LANES; i++)
            hf_p256_key_close(&setting.keys[i]);
    }
    return 0;
}
