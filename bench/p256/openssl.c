/**
 * openssl.c - what P-256 costs in OpenSSL, by the functions that do nothing around it (its EVP
 * interface is slower): microseconds of CPU for each operation, one line each. A program of its
 * own, as OpenSSL and BoringSSL share their names. Usage: p256_openssl [SECONDS]
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/ec.h>
#include <openssl/ecdh.h>
#include <openssl/ecdsa.h>
#include <openssl/obj_mac.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ROUNDS 5

static EC_KEY *ours;
static EC_KEY *theirs;
static ECDSA_SIG *signature;
static const unsigned char digest[32] = {1, 2, 3};

static void must(int is_good)
{
    if (!is_good) {
        fprintf(stderr, "p256_openssl: OpenSSL refuses\n");
        exit(1);
    }
}

static EC_KEY *key_new(void)
{
    EC_KEY *key = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1);

    must(key && EC_KEY_generate_key(key));
    return key;
}

static void run_generate(void)
{
    must(EC_KEY_generate_key(theirs));
}

static void run_agree(void)
{
    unsigned char shared[32];

    must(ECDH_compute_key(shared, sizeof shared, EC_KEY_get0_public_key(theirs), ours, NULL) == 32);
}

static void run_sign(void)
{
    ECDSA_SIG *made = ECDSA_do_sign(digest, sizeof digest, ours);

    must(made != NULL);
    ECDSA_SIG_free(made);
}

static void run_verify(void)
{
    must(ECDSA_do_verify(digest, sizeof digest, signature, ours) == 1);
}

static double cpu_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

/* The best of some rounds: whatever else the machine does only adds. */
static double measure(void (*run)(void), double seconds)
{
    double best = 0;

    for (int round = 0; round < ROUNDS; round++) {
        double begun = cpu_us();
        unsigned count = 0;
        double mean;

        do {
            for (int i = 0; i < 8; i++)
                run();
            count += 8;
        } while (cpu_us() - begun < seconds * 1e6 / ROUNDS);
        mean = (cpu_us() - begun) / count;
        if (round == 0 || mean < best)
            best = mean;
    }
    return best;
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 1;

    ours = key_new();
    theirs = key_new();
    signature = ECDSA_do_sign(digest, sizeof digest, ours);
    must(signature != NULL);
    printf("generate %.3f\n", measure(run_generate, seconds));
    printf("agree %.3f\n", measure(run_agree, seconds));
    printf("sign %.3f\n", measure(run_sign, seconds));
    printf("verify %.3f\n", measure(run_verify, seconds));
    ECDSA_SIG_free(signature);
    EC_KEY_free(theirs);
    EC_KEY_free(ours);
    return 0;
}
