/**
 * ct_crypto.c - runs everything in crypto/ that touches a secret, with the secrets marked as
 * undefined memory. Under memcheck any branch or address that depends on them is an error.
 *
 * Lengths, ciphers, sequence numbers and ciphertext are public, keys and plaintext are not. The
 * library itself declassifies the verdict on a record and the length of an authentic plaintext;
 * what a case here declassifies is stated where it does. Run by run.sh, which also demands that
 * the canaries are caught.
 */
#include "crypto.h"
#include "p256.h"

#include <openssl/aes.h>
#include <valgrind/memcheck.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECORD_LEN_MAX 4096

static const struct hf_record_header header = {.seq = 7, .version = 0x0303, .type = 23};
static unsigned case_count;

static void check(bool good, const char *what)
{
    case_count++;
    if (!good) {
        fprintf(stderr, "ct_crypto: wrong result: %s\n", what);
        exit(1);
    }
}

/* True if every byte carries its mark: a mark lost on the way would make a check say nothing. */
static bool is_marked(const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        uint8_t bits = 0xff;

        if (RUNNING_ON_VALGRIND && (VALGRIND_GET_VBITS(data + i, &bits, 1) != 1 || bits == 0))
            return false;
    }
    return true;
}

/* ---- comparisons and derivation ------------------------------------------------------------ */

static void run_equal(void)
{
    uint8_t a[32];
    uint8_t b[32];

    for (size_t i = 0; i <= sizeof a; i++) {
        hf_random(a, sizeof a);
        memcpy(b, a, sizeof b);
        if (i < sizeof a)
            b[i] ^= 1;
        hf_ct_secret(a, sizeof a);
        hf_ct_secret(b, sizeof b);
        check(hf_ct_equal(a, b, sizeof a) == (i == sizeof a), "hf_ct_equal");
    }
}

static void run_hmac(void)
{
    uint8_t secret[100];
    uint8_t data[300];
    uint8_t marked[HF_SHA256_LEN];
    uint8_t plain[HF_SHA256_LEN];
    const struct hf_bytes parts[] = {{data, 13}, {data + 13, 200}, {data + 213, 87}};

    hf_random(secret, sizeof secret);
    hf_random(data, 150);
    hf_random(data + 150, 150);
    for (size_t len = 0; len <= sizeof secret; len += 20) {
        struct hf_hmac_key key;

        hf_hmac_key_init(&key, (struct hf_bytes){secret, len});
        hf_hmac(plain, &key, parts, 3);
        hf_ct_secret(secret, sizeof secret);
        hf_ct_secret(data, sizeof data);
        hf_hmac_key_init(&key, (struct hf_bytes){secret, len});
        hf_hmac(marked, &key, parts, 3);
        hf_ct_public(secret, sizeof secret);
        hf_ct_public(data, sizeof data);
        hf_ct_public(marked, sizeof marked); // to be judged here
        check(memcmp(plain, marked, sizeof plain) == 0, "hf_hmac");
    }
}

/* From a PSK to the keys of both directions, everything secret on the way. */
static void run_derivation(const uint8_t *session_hash)
{
    uint8_t psk[32];
    uint8_t randoms[2][HF_RANDOM_LEN];
    uint8_t master[HF_MASTER_SECRET_LEN];
    struct hf_secret premaster;
    struct hf_hmac_key key;
    struct hf_record_key client;
    struct hf_record_key server;

    hf_random(psk, sizeof psk);
    hf_random(randoms, sizeof randoms);
    hf_ct_secret(psk, sizeof psk);
    check(hf_psk_premaster(&premaster, (struct hf_bytes){psk, sizeof psk}) == HF_OK, "premaster");
    hf_master_secret(master, &premaster, randoms[0], randoms[1], session_hash);
    hf_hmac_key_init(&key, (struct hf_bytes){master, sizeof master});
    for (enum hf_cipher cipher = HF_CIPHER_AES_128_CCM_8;
         cipher <= HF_CIPHER_AES_128_CBC_SHA256_ETM; cipher++) {
        hf_record_keys_derive(&client, &server, cipher, &key, randoms[0], randoms[1]);
        check(client.cipher == cipher && server.cipher == cipher, "hf_record_keys_derive");
        check(is_marked(client.key, sizeof client.key), "marks arrive in the keys");
        check(is_marked(server.key, sizeof server.key), "marks arrive in the keys");
    }
}

/* ---- records ------------------------------------------------------------------------------- */

static void mark_key(const struct hf_record_key *key)
{
    hf_ct_secret(key->fixed_iv, sizeof key->fixed_iv);
    hf_ct_secret(key->key, sizeof key->key);
    hf_ct_secret(key->mac_key, sizeof key->mac_key);
}

/* Opens a copy of a record under the marked key. */
static void open_record(const struct hf_record_key *key, const uint8_t *record, size_t len,
                        enum hf_status wanted, size_t wanted_len)
{
    static uint8_t data[RECORD_LEN_MAX];
    size_t offset;
    size_t plain_len;

    memcpy(data, record, len);
    check(hf_record_open(&offset, &plain_len, key, &header, data, len) == wanted, "verdict");
    check(plain_len == wanted_len, "length");
    check(wanted != HF_OK || is_marked(data + offset, plain_len), "the plaintext stays secret");
    hf_ct_public(data, sizeof data);
}

static void run_seal_and_open(enum hf_cipher cipher, size_t len)
{
    static uint8_t plain[RECORD_LEN_MAX];
    static uint8_t record[RECORD_LEN_MAX];
    struct hf_record_key key;
    size_t record_len;

    hf_random(&key, sizeof key);
    key.cipher = (uint8_t)cipher;
    hf_random(plain, len);
    mark_key(&key);
    hf_ct_secret(plain, len);
    check(hf_record_seal(record, &record_len, sizeof record, &key, &header, plain, len) == HF_OK,
          "hf_record_seal");
    hf_ct_public(record, record_len); // on the wire everybody sees it
    open_record(&key, record, record_len, HF_OK, len);
    for (size_t at = 0; at < record_len; at += 1 + record_len / 16) {
        record[at] ^= 0x40;
        open_record(&key, record, record_len, HF_E_BAD_RECORD_MAC, 0);
        record[at] ^= 0x40;
    }
    record[record_len - 1] ^= 1;
    open_record(&key, record, record_len, HF_E_BAD_RECORD_MAC, 0);
    hf_ct_public(plain, sizeof plain);
}

/* Data, MAC and padding as told, encrypted with a key that is not marked yet. */
static size_t pad_record(uint8_t *record, const struct hf_record_key *key, size_t len, size_t pad,
                         int harm)
{
    uint8_t aad[13] = {0, 0, 0, 0, 0, 0, 0, 7, 23, 3, 3, (uint8_t)(len >> 8), (uint8_t)len};
    uint8_t iv[16] = {0};
    uint8_t *body = record + sizeof iv;
    const struct hf_bytes parts[] = {{aad, sizeof aad}, {body, len}};
    size_t body_len = len + 32 + pad + 1;
    struct hf_hmac_key mac;
    AES_KEY schedule;

    memset(record, 0x61, sizeof iv + len);
    hf_hmac_key_init(&mac, (struct hf_bytes){key->mac_key, sizeof key->mac_key});
    hf_hmac(body + len, &mac, parts, 2);
    memset(body + len + 32, (int)pad, pad + 1);
    if (harm >= 0)
        body[(size_t)harm % body_len] ^= 0x80;
    memcpy(iv, record, sizeof iv);
    AES_set_encrypt_key(key->key, 128, &schedule);
    AES_cbc_encrypt(body, body, body_len, &schedule, iv, AES_ENCRYPT);
    return sizeof iv + body_len;
}

/* Every padding length; intact, with a wrong MAC, with wrong padding at either end. */
static void run_cbc_paddings(size_t least)
{
    static uint8_t record[RECORD_LEN_MAX];

    for (size_t pad = 0; pad < 256; pad++) {
        size_t len = least;

        while ((len + 32 + pad + 1) % 16 != 0)
            len++;
        const int harms[] = {-1, (int)len, (int)(len + 31), (int)(len + 32), (int)(len + 32 + pad)};
        for (size_t i = 0; i < sizeof harms / sizeof harms[0]; i++) {
            struct hf_record_key key;
            size_t record_len;
            bool good = harms[i] < 0;

            hf_random(&key, sizeof key);
            key.cipher = HF_CIPHER_AES_128_CBC_SHA256;
            record_len = pad_record(record, &key, len, pad, harms[i]);
            mark_key(&key);
            open_record(&key, record, record_len, good ? HF_OK : HF_E_BAD_RECORD_MAC,
                        good ? len : 0);
        }
    }
}

/* ---- P-256 by BoringSSL -------------------------------------------------------------------- */

/* Private keys are secret. (The lanes, which valgrind cannot run: ct_lanes.c.) */
static void run_p256(void)
{
    uint8_t scalars[2][HF_P256_SCALAR_LEN];
    uint8_t points[2][HF_P256_POINT_LEN];
    uint8_t shared[2][HF_P256_SCALAR_LEN];
    uint8_t digest[HF_SHA256_LEN];
    uint8_t signature[HF_P256_SIGNATURE_LEN];
    struct hf_p256_generate generate[2] = {{scalars[0], points[0], HF_WAITING},
                                           {scalars[1], points[1], HF_WAITING}};
    struct hf_p256_agree agree[2] = {{scalars[0], points[1], shared[0], HF_WAITING},
                                     {scalars[1], points[0], shared[1], HF_WAITING}};
    struct hf_p256_key key;
    struct hf_p256_sign sign = {&key, digest, signature, HF_WAITING};
    struct hf_p256_verify verify = {points[0], digest, signature, HF_WAITING, NULL};

    hf_p256_portable()->generate(generate, 2);
    check(generate[0].status == HF_OK && generate[1].status == HF_OK, "generate");
    check(is_marked(scalars[0], sizeof scalars[0]), "a private key is secret");
    hf_p256_portable()->agree(agree, 2);
    check(agree[0].status == HF_OK && agree[1].status == HF_OK, "agree");
    check(is_marked(shared[0], sizeof shared[0]), "a shared secret is secret");
    hf_ct_public(shared, sizeof shared); // to be judged here
    check(memcmp(shared[0], shared[1], sizeof shared[0]) == 0, "both sides agree");
    hf_random(digest, sizeof digest);
    check(hf_p256_key_open(&key, scalars[0]) == HF_OK, "hf_p256_key_open");
    hf_p256_portable()->sign(&sign, 1);
    check(sign.status == HF_OK, "sign");
    hf_p256_portable()->verify(&verify, 1);
    check(verify.status == HF_OK, "verify");
    hf_p256_key_close(&key);
}

/* ---- canaries: memcheck must object -------------------------------------------------------- */

static volatile unsigned sink;

static void run_canary_branch(void)
{
    uint8_t secret[16];

    hf_random(secret, sizeof secret);
    hf_ct_secret(secret, sizeof secret);
    if (secret[3] & 1)
        sink = 1;
}

static void run_canary_index(void)
{
    static const uint8_t table[256] = {1, 2, 3};
    uint8_t secret[16];

    hf_random(secret, sizeof secret);
    hf_ct_secret(secret, sizeof secret);
    sink = ((const volatile uint8_t *)table)[secret[3]];
}

/* What the library did before it was careful: the C library's comparison on a MAC. */
static void run_canary_compare(void)
{
    uint8_t a[32];
    uint8_t b[32];

    hf_random(a, sizeof a);
    memcpy(b, a, sizeof b);
    hf_ct_secret(a, sizeof a);
    check(hf_bytes_equal_public(a, b, sizeof a), "hf_bytes_equal_public");
}

static int run_canary(const char *name)
{
    if (strcmp(name, "branch") == 0)
        run_canary_branch();
    else if (strcmp(name, "index") == 0)
        run_canary_index();
    else if (strcmp(name, "compare") == 0)
        run_canary_compare();
    else
        return 2;
    return 0;
}

int main(int argc, char **argv)
{
    static const size_t lens[] = {0, 1, 15, 16, 64, 300, 600};
    uint8_t session_hash[HF_SHA256_LEN];

    if (argc >= 2 && strcmp(argv[1], "--canary") == 0)
        return run_canary(argc >= 3 ? argv[2] : "branch");
    if (!RUNNING_ON_VALGRIND)
        puts("not under valgrind: results are checked, timing is not");
    run_equal();
    run_p256();
    run_hmac();
    hf_random(session_hash, sizeof session_hash);
    run_derivation(NULL);
    run_derivation(session_hash);
    for (enum hf_cipher cipher = HF_CIPHER_AES_128_CCM_8;
         cipher <= HF_CIPHER_AES_128_CBC_SHA256_ETM; cipher++)
        for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++)
            run_seal_and_open(cipher, lens[i]);
    run_cbc_paddings(0);
    run_cbc_paddings(40);
    run_cbc_paddings(256);
    run_cbc_paddings(700);
    printf("%u checks\n", case_count);
    return 0;
}
