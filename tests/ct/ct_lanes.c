/**
 * ct_lanes.c - the 8-lane P-256 with its secrets poisoned, under clang's MemorySanitizer, which
 * reports every branch and every address that depends on one. (Valgrind knows no AVX-512.)
 *
 * Secret are private keys, nonces, shared secrets, and everything computed from them on the way to
 * a public key, to a signature's r and s, and to the verdicts that the library itself declares
 * public: whether a scalar is in 1..n-1, and whether r or s is 0. Run by lanes.sh, which also
 * demands that the canaries are caught.
 */
#include "p256.h"
#include "p256_scalar.h"

#include <sanitizer/msan_interface.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT_MAX 11

static unsigned case_count;

static void check(bool good, const char *what)
{
    case_count++;
    if (!good) {
        fprintf(stderr, "ct_lanes: wrong result: %s\n", what);
        exit(1);
    }
}

/* True if some byte carries its mark: a mark lost on the way would make a check say nothing. */
static bool is_marked(const void *data, size_t len)
{
    return __msan_test_shadow(data, len) >= 0;
}

struct keys {
    uint8_t scalar[COUNT_MAX][32];
    uint8_t point[COUNT_MAX][65];
};

static void make(struct keys *keys, size_t count)
{
    struct hf_p256_generate operations[COUNT_MAX];

    for (size_t i = 0; i < count; i++)
        operations[i] = (struct hf_p256_generate){keys->scalar[i], keys->point[i], HF_WAITING};
    hf_p256_lanes()->generate(operations, count);
    for (size_t i = 0; i < count; i++) {
        check(operations[i].status == HF_OK, "generate");
        check(is_marked(keys->scalar[i], 32), "a new private key is secret");
        check(!is_marked(keys->point[i], 65), "a public key is public");
    }
}

static void run_agree(size_t count)
{
    static struct keys ours;
    static struct keys theirs;
    struct hf_p256_agree operations[2][COUNT_MAX];
    uint8_t shared[2][COUNT_MAX][32];

    make(&ours, count);
    make(&theirs, count);
    theirs.point[0][64] ^= 1; // a bad peer beside the good ones
    for (size_t i = 0; i < count; i++) {
        operations[0][i] =
            (struct hf_p256_agree){ours.scalar[i], theirs.point[i], shared[0][i], HF_WAITING};
        operations[1][i] =
            (struct hf_p256_agree){theirs.scalar[i], ours.point[i], shared[1][i], HF_WAITING};
    }
    hf_p256_lanes()->agree(operations[0], count);
    hf_p256_lanes()->agree(operations[1], count);
    check(operations[0][0].status == HF_E_ILLEGAL_PARAMETER, "agree refuses");
    for (size_t i = 1; i < count; i++) {
        check(operations[0][i].status == HF_OK, "agree");
        check(is_marked(shared[0][i], 32), "a shared secret is secret");
        hf_ct_public(shared[0][i], 32); // to be judged here
        hf_ct_public(shared[1][i], 32);
        check(memcmp(shared[0][i], shared[1][i], 32) == 0, "both sides agree");
    }
}

static void run_sign(size_t count)
{
    static struct keys pairs;
    struct hf_p256_key keys[COUNT_MAX];
    struct hf_p256_sign sign[COUNT_MAX];
    struct hf_p256_verify verify[COUNT_MAX];
    uint8_t digests[COUNT_MAX][32];
    uint8_t signatures[COUNT_MAX][64];

    make(&pairs, count);
    memset(keys, 0, sizeof keys);
    for (size_t i = 0; i < count; i++) {
        hf_random(digests[i], 32);
        memcpy(keys[i].scalar, pairs.scalar[i], 32);
        check(is_marked(keys[i].scalar, 32), "a key to sign with is secret");
        sign[i] = (struct hf_p256_sign){&keys[i], digests[i], signatures[i], HF_WAITING};
        verify[i] =
            (struct hf_p256_verify){pairs.point[i], digests[i], signatures[i], HF_WAITING, NULL};
    }
    hf_p256_lanes()->sign(sign, count);
    hf_p256_lanes()->verify(verify, count);
    for (size_t i = 0; i < count; i++) {
        check(sign[i].status == HF_OK, "sign");
        check(!is_marked(signatures[i], 64), "a signature is public");
        check(verify[i].status == HF_OK, "a signature verifies");
    }
}

static void run_nonce(void)
{
    uint8_t key[32];
    uint8_t digest[32];
    uint8_t fresh[32];
    uint8_t nonce[32];

    hf__p256_scalar_draw(key);
    hf_random(digest, sizeof digest);
    hf_random(fresh, sizeof fresh);
    hf_ct_secret(fresh, sizeof fresh);
    hf__p256_nonce(nonce, key, digest, fresh);
    check(is_marked(nonce, sizeof nonce), "a nonce is secret");
}

/* ---- canaries: MemorySanitizer must object ------------------------------------------------- */

static volatile unsigned sink;

static void run_canary(const char *name)
{
    static const uint8_t table[256] = {1, 2, 3};
    uint8_t secret[32];

    hf__p256_scalar_draw(secret);
    if (strcmp(name, "branch") == 0) {
        if (secret[31] & 1)
            sink = 1;
    } else if (strcmp(name, "index") == 0) {
        sink = ((const volatile uint8_t *)table)[secret[3]];
    } else {
        // A shared secret that is compared with an early end.
        struct keys keys;
        uint8_t shared[32];
        struct hf_p256_agree operation = {secret, keys.point[0], shared, HF_WAITING};

        make(&keys, 1);
        hf_p256_lanes()->agree(&operation, 1);
        for (size_t i = 0; i < 32 && shared[i] == keys.point[0][i]; i++)
            sink++;
    }
}

int main(int argc, char **argv)
{
    if (!hf_p256_lanes()) {
        puts("SKIPPED: this processor has no AVX-512 IFMA");
        return 0;
    }
    if (argc >= 3) {
        run_canary(argv[2]);
        return 0;
    }
    for (size_t count = 1; count <= COUNT_MAX; count += 5) {
        run_agree(count);
        run_sign(count);
    }
    run_nonce();
    printf("%u checks\n", case_count);
    return 0;
}
