/**
 * handshake_bench.c - the symmetric side of one certificate handshake of a server: everything but
 * P-256 and the walk along the chain, with the lengths of an ordinary one. Its bound is 4 us.
 *
 * It is a list of calls, in the engine's order, with no state machine between: what the engine adds
 * to them is measured end to end (bench/peers).
 */
#include "benchmark_c.h"
#include "crypto.h"

#include <string.h>

#define HELLO_LEN 150         /* ClientHello, as the cookie and the transcript see it */
#define SERVER_FLIGHT_LEN 900 /* ServerHello to ServerHelloDone, one certificate of 450 bytes */
#define CLIENT_FLIGHT_LEN 650 /* Certificate, ClientKeyExchange, CertificateVerify */
#define FINISHED_LEN 24       /* with a DTLS handshake header */
#define ALERT_LEN 2

#define RECORD_LEN_MAX (FINISHED_LEN + HF_RECORD_EXPANSION_MAX)

static const struct hf_record_header header = {.seq = 1ull << 48, .version = 0xfefd, .type = 22};
static uint8_t data[2048];
static struct hf_hmac_key cookie_key;
static struct hf_secret premaster;

struct side {
    struct hf_sha256 transcript;
    struct hf_hmac_key master;
    struct hf_record_key client, server;
    uint8_t randoms[2][HF_RANDOM_LEN];
};

/* The first hello is answered from nothing but a key, the second one compared. */
static void check_cookie(struct bench_state *state)
{
    const struct hf_bytes parts[2] = {{data, 18}, {data + 18, HELLO_LEN - 18}};
    uint8_t cookies[2][HF_SHA256_LEN];

    hf_hmac(cookies[0], &cookie_key, parts, 2);
    hf_hmac(cookies[1], &cookie_key, parts, 2);
    if (!hf_ct_equal(cookies[0], cookies[1], HF_SHA256_LEN))
        bench_fail(state, "cookie");
}

/* A hash of the transcript so far; it goes on. */
static void hash_transcript(uint8_t out[HF_SHA256_LEN], const struct side *side)
{
    struct hf_sha256 copy = side->transcript;

    hf_sha256_final(out, &copy);
}

static void verify_data(uint8_t out[HF_VERIFY_DATA_LEN], const struct side *side, const char *label)
{
    uint8_t digest[HF_SHA256_LEN];
    const struct hf_bytes seed = {digest, sizeof digest};

    hash_transcript(digest, side);
    hf_prf(out, HF_VERIFY_DATA_LEN, &side->master, label, &seed, 1);
}

static void derive(struct side *side, enum hf_cipher cipher)
{
    uint8_t master[HF_MASTER_SECRET_LEN];
    uint8_t digest[HF_SHA256_LEN];

    hash_transcript(digest, side); /* extended master secret */
    hf_master_secret(master, &premaster, side->randoms[0], side->randoms[1], digest);
    hf_hmac_key_init(&side->master, (struct hf_bytes){master, sizeof master});
    hf_record_keys_derive(&side->client, &side->server, cipher, &side->master, side->randoms[0],
                          side->randoms[1]);
    hf_wipe(master, sizeof master);
}

/* What both sides hash before Finished, and the keys that follow from it: always the same, so that
 * a client's records can be sealed beforehand. */
static void agree(struct side *side, enum hf_cipher cipher)
{
    uint8_t digest[HF_SHA256_LEN];
    struct hf_sha256 share;

    hf_sha256_init(&side->transcript);
    hf_sha256_update(&side->transcript, data, HELLO_LEN);
    hf_sha256_update(&side->transcript, data, SERVER_FLIGHT_LEN);
    hf_sha256_init(&share); /* what ServerKeyExchange is signed over */
    hf_sha256_update(&share, data, 2 * HF_RANDOM_LEN + 69);
    hf_sha256_final(digest, &share);
    hf_sha256_update(&side->transcript, data, CLIENT_FLIGHT_LEN);
    hash_transcript(digest, side); /* CertificateVerify */
    derive(side, cipher);
}

static void bench_handshake(struct bench_state *state, int64_t cipher)
{
    static const size_t lens[2] = {FINISHED_LEN, ALERT_LEN};
    struct side side;
    uint8_t sealed[2][RECORD_LEN_MAX], opened[RECORD_LEN_MAX], fresh[2 * HF_RANDOM_LEN];
    size_t sealed_len[2], out_len, offset;
    uint8_t finished[2][HF_VERIFY_DATA_LEN];

    memset(&side, 0, sizeof side);
    agree(&side, (enum hf_cipher)cipher);
    for (int i = 0; i < 2; i++) {
        if (hf_record_seal(sealed[i], &sealed_len[i], RECORD_LEN_MAX, &side.client, &header, data,
                           lens[i]) != HF_OK)
            bench_fail(state, "seal");
    }
    while (bench_running(state)) {
        if (cipher == HF_CIPHER_AES_128_CCM_8)
            check_cookie(state);
        hf_random(fresh, sizeof fresh); /* random, session ID */
        agree(&side, (enum hf_cipher)cipher);
        verify_data(finished[0], &side, "client finished");
        hf_sha256_update(&side.transcript, data, FINISHED_LEN);
        verify_data(finished[1], &side, "server finished");
        for (int i = 0; i < 2; i++) { /* Finished, then close_notify: one opened, one sealed */
            memcpy(opened, sealed[i], sealed_len[i]);
            if (hf_record_open(&offset, &out_len, &side.client, &header, opened, sealed_len[i]) !=
                    HF_OK ||
                hf_record_seal(opened, &out_len, sizeof opened, &side.server, &header, data,
                               lens[i]) != HF_OK)
                bench_fail(state, "record");
        }
        bench_keep(finished);
        bench_keep(fresh);
    }
}

int main(int argc, char **argv)
{
    memset(data, 0x17, sizeof data);
    hf_hmac_key_init(&cookie_key, (struct hf_bytes){data, HF_SHA256_LEN});
    premaster.len = 32;
    memset(premaster.data, 0x3a, premaster.len);
    bench_add("symmetric_side/dtls_ccm_8", bench_handshake, HF_CIPHER_AES_128_CCM_8);
    bench_add("symmetric_side/tls_cbc_sha256", bench_handshake, HF_CIPHER_AES_128_CBC_SHA256);
    return bench_main(argc, argv);
}
