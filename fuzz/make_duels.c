/**
 * make_duels.c - seeds of the targets in which two engines meet: what both have, and scripts that
 * interfere with each message once. Also those of credential, shared_secrets and signature.
 */
#include "duel.h"
#include "make_corpus.h"

#include "hello.h"
#include "p256_der.h"

#include <stdio.h>

#define LIMITS_LEN 11 /* bytes that fuzz_world_config() takes: zero is the roomiest */
#define OP(n) (uint8_t)(FUZZ_OP_OWN + (n))

/* Operations of duel_script.c, as they are numbered there. */
enum {
    PASS = 0,
    DROP,
    REPEAT,
    SWAP,
    FLIP,
    SPLICE,
    RETYPE,
    EXTENSION,
    STRIP,
    MESSAGE,
    RECORD,
    RAW,
    FRAGMENT,
    JOBS,
    SCARCE,
    MEET,
    PEER_SEND,
    PEER_CLOSE,
    STATE
};

struct script {
    const char *name;
    uint8_t bits; /* besides those that all have */
    uint8_t len;
    uint8_t bytes[40];
};

#define FROM_SERVER HF_MESSAGE_SERVER_HELLO

static const struct script scripts[] = {
    {"plain", 0, 0, {0}},
    {"loose", 1, 0, {0}},
    {"names", 2, 0, {0}},
    {"named", 16, 0, {0}},
    {"ticket",
     4,
     16,
     {OP(PASS), 15, OP(PASS), 15, OP(MEET), 1, 0, 0, 0, OP(PASS), 15, OP(MEET), 1}},
    {"cache",
     12,
     16,
     {OP(PASS), 15, OP(PASS), 15, OP(MEET), 1, 0, 0, 0, OP(PASS), 15, OP(MEET), 1}},
    {"two-names", 6, 8, {OP(PASS), 15, OP(PASS), 15, OP(MEET), 129, 0, 0}},
    {"broken-ticket", 4, 9, {OP(PASS), 15, OP(PASS), 15, OP(MEET), 1, 0, 60, 1}},
    {"loss", 0, 6, {OP(DROP), OP(PASS), 1, OP(DROP), OP(PASS), 2}},
    {"order", 0, 8, {OP(SWAP), 0, OP(PASS), 3, OP(SWAP), 1, OP(REPEAT), OP(REPEAT)}},
    {"pieces", 0, 4, {OP(FRAGMENT), 20, OP(PASS), 15}},
    {"held", 0, 12, {OP(JOBS), 1, OP(PASS), 15, OP(JOBS), 2 | 4 | 1, OP(PASS), 3, OP(JOBS), 2}},
    {"not-done", 0, 6, {OP(JOBS), 1, OP(PASS), 15, OP(JOBS), 2}},
    {"scarce", 0, 4, {OP(SCARCE), 3, OP(PASS), 15}},
    {"scarce-later", 0, 4, {OP(SCARCE), 40, OP(PASS), 15}},
    {"talk",
     0,
     12,
     {OP(PASS), 15, OP(PASS), 15, OP(PEER_SEND), 9, FUZZ_OP_SEND, 0, 9, OP(PASS), 3,
      OP(PEER_CLOSE)}},
    /* With connection IDs (RFC 9146): our end, and the peer's words come from elsewhere. */
    {"roam",
     5 << 5,
     21,
     {OP(PASS),
      15,
      OP(PASS),
      15,
      OP(PEER_SEND),
      9,
      OP(PASS),
      241,
      OP(PASS),
      3,
      OP(PEER_SEND),
      9,
      OP(PASS),
      3,
      FUZZ_OP_SEND,
      0,
      9,
      OP(PASS),
      15,
      OP(PASS),
      242}},
    {"raw", 0, 12, {OP(RAW), 0, 7, 22, 3, 3, 0, 2, 1, 0}},
    {"record", 0, 8, {OP(RECORD), 2, 0, 2, 1, 0}},
    {"request", 0, 5, {OP(MESSAGE), 0, 8, 0, OP(PASS)}},
    {"extension", 0, 9, {OP(STATE), FROM_SERVER, OP(EXTENSION), 0, 16, 3, 0, 1, 'h'}},
    {"no-ems", 0, 5, {OP(STATE), FROM_SERVER, OP(STRIP), 0, 23}},
    {"no-info", 0, 5, {OP(STATE), FROM_SERVER, OP(STRIP), 0xFF, 1}},
    {"hello-no-ems", 0, 5, {OP(STATE), HF_MESSAGE_CLIENT_HELLO, OP(STRIP), 0, 23}},
    {"hello-no-types", 0, 5, {OP(STATE), HF_MESSAGE_CLIENT_HELLO, OP(STRIP), 0, 19}},
};

/* Each message with a bit changed, a byte cut out, and as another. */
static const uint8_t messages[] = {
    HF_MESSAGE_CLIENT_HELLO,        HF_MESSAGE_SERVER_HELLO,      HF_MESSAGE_HELLO_VERIFY_REQUEST,
    HF_MESSAGE_NEW_SESSION_TICKET,  HF_MESSAGE_CERTIFICATE,       HF_MESSAGE_SERVER_KEY_EXCHANGE,
    HF_MESSAGE_CERTIFICATE_REQUEST, HF_MESSAGE_SERVER_HELLO_DONE, HF_MESSAGE_CERTIFICATE_VERIFY,
    HF_MESSAGE_CLIENT_KEY_EXCHANGE,
};

static void save(const char *target, const char *name, uint8_t front, uint8_t kind,
                 const struct script *script)
{
    uint8_t seed[3 + LIMITS_LEN + sizeof script->bytes] = {0};
    size_t at = 0;
    char full[64];
    if (front < 2) /* the transport, where it is not the target's */
        seed[at++] = front;
    seed[at] = kind;
    seed[at + 1] = script->bits;
    at += FUZZ_DUEL_CONFIG_LEN + LIMITS_LEN;
    memcpy(seed + at, script->bytes, script->len);
    snprintf(full, sizeof full, "%s-%u-%u", name, kind, front);
    fuzz_corpus_save(target, full, (struct hf_bytes){seed, at + script->len});
}

static void save_kind(const char *target, uint8_t front, uint8_t kind)
{
    static const uint8_t changes[][5] = {
        {OP(FLIP), 0, 40, 1}, {OP(FLIP), 0, 3, 0x10}, {OP(SPLICE), 0, 9, 1, 0}, {OP(RETYPE), 11}};
    char name[32];
    for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++)
        save(target, scripts[i].name, front, kind, &scripts[i]);
    for (uint8_t suite = 1; suite < 5; suite++) {
        snprintf(name, sizeof name, "suite-%u", suite);
        save(target, name, front, kind, &(struct script){"", (uint8_t)(suite << 5), 0, {0}});
    }
    for (size_t i = 0; i < sizeof messages; i++) {
        for (size_t change = 0; change < 4; change++) {
            struct script script = {"", 4, 9, {OP(STATE), messages[i]}};
            memcpy(script.bytes + 2, changes[change], 5);
            snprintf(name, sizeof name, "change-%u-%zu", messages[i], change);
            save(target, name, front, kind, &script);
        }
    }
}

/* fuzz/ticket.c: transport and kind, circumstances, change, wait, offset, bits, bytes. */
static void save_tickets(void)
{
    static const uint8_t circumstances[] = {0, 1 | 32, 2, 4, 6, 8, 16, 32, 64, 128};
    static const uint8_t changes[][6] = {{0, 0, 0, 0, 9, 1}, {1, 0, 0, 0, 5, 0},
                                         {2, 0, 0, 0, 0, 0}, {3, 0, 0, 0, 0, 0},
                                         {0, 4, 0, 0, 0, 0}, {0, 14, 16, 0, 0, 0}};
    static const uint8_t packed[90] = {1, 1, 0xC0, 0xAE, 0, 12, 1, 1, 0x70, 0, 0, 0, [88] = 0};
    uint8_t seed[8 + sizeof packed];
    char name[32];
    for (uint8_t code = 0; code < 16; code++) {
        for (size_t i = 0; i < sizeof circumstances; i++) {
            const uint8_t bytes[8] = {code, circumstances[i]};
            snprintf(name, sizeof name, "like-%u-%zu", code, i);
            fuzz_corpus_save("ticket", name, (struct hf_bytes){bytes, sizeof bytes});
        }
        for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
            memset(seed, 0, 8);
            seed[0] = code;
            memcpy(seed + 2, changes[i], 6);
            memcpy(seed + 8, packed, sizeof packed);
            snprintf(name, sizeof name, "changed-%u-%zu", code, i);
            fuzz_corpus_save("ticket", name, (struct hf_bytes){seed, sizeof seed});
        }
    }
    seed[0] = 0x80;
    fuzz_corpus_save("ticket", "packed", (struct hf_bytes){seed, sizeof seed});
}

static void save_credential(const char *name, uint16_t left, struct hf_bytes chain,
                            struct hf_bytes more, struct hf_bytes key, struct hf_bytes public_key)
{
    static uint8_t seed[8192];
    struct hf_writer writer = hf_writer_of(seed, sizeof seed);
    hf_writer_u16(&writer, left);
    hf_writer_bytes(&writer, chain.data, chain.len);
    hf_writer_bytes(&writer, more.data, more.len);
    hf_writer_u8(&writer, 0xff);
    hf_writer_bytes(&writer, key.data, key.len);
    hf_writer_u8(&writer, 0xff);
    hf_writer_bytes(&writer, public_key.data, public_key.len);
    FUZZ_CHECK(!writer.is_failed);
    fuzz_corpus_save("credential", name, (struct hf_bytes){seed, writer.len});
}

static void save_credentials(void)
{
    const struct hf_bytes none = {(const uint8_t *)"", 0};
    struct hf_bytes chain = fuzz_persons_pem(FUZZ_PERSON_SERVER, false);
    struct hf_bytes ca = fuzz_persons_pem(FUZZ_PERSON_CA, false);
    struct hf_bytes key = fuzz_persons_pem(FUZZ_PERSON_SERVER, true);
    struct hf_bytes other = fuzz_persons_pem(FUZZ_PERSON_CLIENT, true);
    struct hf_bytes raw = hf_credential_message(fuzz_persons()->server, true);
    struct hf_bytes public_key = {raw.data + 3, raw.len - 3};
    for (uint16_t left = 0; left < 40; left = (uint16_t)(left + 7)) {
        char name[32];
        snprintf(name, sizeof name, "scarce-%u", left);
        save_credential(name, left, chain, ca, key, none);
    }
    save_credential("whole", 0xffff, chain, ca, key, none);
    save_credential("short", 0xffff, chain, none, key, none);
    save_credential("order", 0xffff, ca, chain, key, none);
    save_credential("other-key", 0xffff, chain, none, other, none);
    save_credential("two-keys", 0xffff, chain, none, (struct hf_bytes){key.data, key.len}, key);
    save_credential("raw", 0xffff, none, none, key, none);
    save_credential("remote", 0xffff, chain, ca, none, none);
    save_credential("remote-raw", 0xffff, none, none, none, public_key);
    save_credential("stranger", 0xffff, fuzz_persons_pem(FUZZ_PERSON_STRANGER, false), none,
                    fuzz_persons_pem(FUZZ_PERSON_STRANGER, true), none);
}

static void save_signatures(void)
{
    uint8_t numbers[HF_P256_SIGNATURE_LEN], der[HF_P256_SIGNATURE_MAX];
    char name[32];
    for (uint8_t i = 0; i < 6; i++) {
        memset(numbers, 0, sizeof numbers);
        for (size_t at = i * 8; at < 32; at++)
            numbers[at] = numbers[32 + at] = (uint8_t)(at * 37 + i);
        if (i & 1)
            numbers[0] = numbers[32] = 0xff;
        size_t len = hf_p256_der_write(der, numbers);
        snprintf(name, sizeof name, "seed-%u", i);
        fuzz_corpus_save("signature", name, (struct hf_bytes){der, len});
    }
    fuzz_corpus_save("signature", "numbers", (struct hf_bytes){numbers, sizeof numbers});
}

static void save_secrets(void)
{
#define SECRET "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F\n"
    static const char *const texts[] = {
        "20261122T000000Z " SECRET,
        "# made by hand\n\n20261122T000000Z " SECRET "20271122T000000Z " SECRET
        "20240229T235959Z " SECRET,
        "20261122T000000Z " SECRET "20261122T000000Z " SECRET,
        "20261322T000000Z " SECRET,
        "20261122T000000Z 00\n",
        "#\n",
        "20200101T000000Z " SECRET "20210101T000000Z " SECRET "20220101T000000Z " SECRET
        "20230101T000000Z " SECRET "20240101T000000Z " SECRET "20250101T000000Z " SECRET
        "20260101T000000Z " SECRET "20270101T000000Z " SECRET,
    };
    char name[32];
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        snprintf(name, sizeof name, "seed-%zu", i);
        fuzz_corpus_save("shared_secrets", name,
                         (struct hf_bytes){(const uint8_t *)texts[i], strlen(texts[i])});
    }
}

void fuzz_corpus_duels(void)
{
    for (uint8_t kind = 0; kind < FUZZ_DUEL_KINDS; kind++) {
        save_kind("client_dtls", 2, kind);
        save_kind("client_tls", 2, kind);
        save_kind("certificate", 0, kind);
        save_kind("certificate", 1, kind);
    }
    save_tickets();
    save_credentials();
    save_signatures();
    save_secrets();
}
