/**
 * chain_bench.c - what judging a peer's certificates costs, signatures aside: our walk, and beside
 * it BoringSSL's X509 doing no more than parse the same certificates and their extensions.
 */
#include "benchmark_c.h"
#include "chain.h"
#include "chain_world.h"

#include <openssl/x509.h>
#include <openssl/x509v3.h>

static const char *const lines[] = {
    "leaf.by=root send=leaf",
    "",
    "root.nc=+DNS:sp.example ca.nc=+DNS:sp.example crl.of=ca crl.of=root trust.crl=required",
    "ca2.by=ca leaf.by=ca2 send=leaf,ca2,ca leaf.eku=client+server root.nc=+DNS:sp.example",
};

static struct chain_world world;

static struct hf_trust *set_up(struct bench_state *state, int64_t line)
{
    const char *why = NULL;
    chain_world_make(&world, lines[line]);
    struct hf_trust *trust = chain_world_trust(&world, &why);
    struct hf_peer_identity peer;
    if (!trust || chain_world_walk(&peer, &world, trust) != HF_OK)
        bench_fail(state, why ? why : "the chain is not good");
    return trust;
}

static void bench_walk(struct bench_state *state, int64_t line)
{
    static struct hf_chain_walk walk;
    static struct hf_job job;
    struct hf_trust *trust = set_up(state, line);
    job = (struct hf_job){.parts = HF_JOB_CHAIN,
                          .trust = trust,
                          .wall_s = world.now_s,
                          .chain = world.message,
                          .chain_len = (uint32_t)world.message_len};
    while (bench_running(state)) {
        if (hf_chain_open(&walk, &job) != HF_OK || hf_chain_finish(&walk, true) != HF_OK)
            bench_fail(state, "the chain is not good");
        bench_keep(&job);
    }
    hf_trust_close(trust);
}

static void bench_x509(struct bench_state *state, int64_t line)
{
    struct hf_trust *trust = set_up(state, line);
    while (bench_running(state)) {
        CBS body, list, entry;
        CBS_init(&body, world.message, world.message_len);
        if (!CBS_get_u24_length_prefixed(&body, &list))
            bench_fail(state, "no list");
        while (CBS_get_u24_length_prefixed(&list, &entry)) {
            const uint8_t *at = CBS_data(&entry);
            X509 *certificate = d2i_X509(NULL, &at, (long)CBS_len(&entry));
            if (!certificate || !X509_check_purpose(certificate, -1, 0))
                bench_fail(state, "not parsed");
            X509_free(certificate);
        }
    }
    hf_trust_close(trust);
}

int main(int argc, char **argv)
{
    chain_world_keys();
    bench_add("walk/leaf", bench_walk, 0);
    bench_add("walk/leaf+ca", bench_walk, 1);
    bench_add("walk/leaf+ca+constraints+crl", bench_walk, 2);
    bench_add("walk/leaf+2ca+constraints", bench_walk, 3);
    bench_add("x509_parse/leaf", bench_x509, 0);
    bench_add("x509_parse/leaf+ca", bench_x509, 1);
    return bench_main(argc, argv);
}
