/**
 * raw_key.c - fuzz target: a peer's raw public key (RFC 7250). Each input is pinned by its own
 * digest; it is taken if and only if BoringSSL reads the same bytes as a P-256 key and would write
 * them so, and is gone with its pin.
 *
 * Input: how many allocations succeed, the body of the message.
 */
#include "fuzz.h"
#include "scarce.h"

#include "chain.h"

#include <openssl/base64.h>
#include <openssl/bytestring.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/sha.h>

#include <stdio.h>
#include <string.h>

/* "sha-256-120;... //sp.example/mn" of the key in the body. */
static struct hf_trust *open_trust(const uint8_t *key, size_t len, size_t algorithm)
{
    static const char *const names[] = {"sha-256", "sha-256-128", "sha-256-120"};
    static const size_t lens[] = {32, 16, 15};
    uint8_t digest[32], text[48];
    char line[160];
    struct hf_trust_source source;
    struct hf_trust *trust = NULL;
    const char *why;
    SHA256(key, len, digest);
    size_t text_len = EVP_EncodeBlock(text, digest, lens[algorithm]);
    while (text_len > 0 && text[text_len - 1] == '=')
        text_len--;
    for (size_t i = 0; i < text_len; i++)
        text[i] = text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i];
    int line_len = snprintf(line, sizeof line, "ni:///%s;%.*s //sp.example/mn\n", names[algorithm],
                            (int)text_len, (const char *)text);
    hf_trust_source_init(&source);
    source.flavours = HF_FLAVOUR_RAW;
    source.raw_keys = (struct hf_bytes){(const uint8_t *)line, (size_t)line_len};
    FUZZ_CHECK(hf_trust_open(&trust, &why, &source) == HF_OK);
    return trust;
}

static bool is_key(const uint8_t *data, size_t len)
{
    CBS in;
    CBB out;
    uint8_t *der = NULL;
    size_t der_len = 0;
    CBS_init(&in, data, len);
    EVP_PKEY *key = EVP_parse_public_key(&in);
    bool is_good = key && CBS_len(&in) == 0 && EVP_PKEY_id(key) == EVP_PKEY_EC &&
                   EC_GROUP_get_curve_name(EC_KEY_get0_group(EVP_PKEY_get0_EC_KEY(key))) ==
                       NID_X9_62_prime256v1;
    if (is_good && CBB_init(&out, 128) && EVP_marshal_public_key(&out, key) &&
        CBB_finish(&out, &der, &der_len))
        is_good = der_len == len && memcmp(der, data, len) == 0;
    OPENSSL_free(der);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return is_good;
}

static enum hf_status walk(struct hf_job *job, const struct hf_trust *trust, const uint8_t *body,
                           size_t len)
{
    struct hf_chain_walk walk;
    *job = (struct hf_job){.parts = HF_JOB_CHAIN,
                           .trust = trust,
                           .chain_is_raw = true,
                           .chain = body,
                           .chain_len = (uint32_t)len};
    enum hf_status status = hf_chain_open(&walk, job);
    FUZZ_CHECK(walk.link_count == 0);
    return status == HF_OK ? hf_chain_finish(&walk, true) : status;
}

static void check_taken(struct hf_peer_identity *peer, const uint8_t *body, size_t len)
{
    static const char entity_id[] = "//sp.example/mn";
    if (fuzz_is_canary())
        peer->entity_id[4] ^= 1;
    FUZZ_CHECK(peer->flavour == HF_FLAVOUR_RAW && peer->entity_kind == HF_ENTITY_CSE);
    FUZZ_CHECK(peer->entity_id_len == sizeof entity_id - 1);
    FUZZ_CHECK(memcmp(peer->entity_id, entity_id, sizeof entity_id - 1) == 0);
    FUZZ_CHECK(memcmp(peer->credential_id, "30-sha-256-", 11) == 0 ||
               memcmp(peer->credential_id, "30-sha-256;", 11) == 0);
    FUZZ_CHECK(memcmp(peer->public_key, body + len - 65, 65) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const struct hf_peer_identity nobody;
    static struct hf_job job, scarce_job;
    struct fuzz_input input = {data, len};
    size_t left = fuzz_u8(&input);
    size_t front = input.len < 3 ? input.len : 3;
    struct hf_trust *trust = open_trust(input.data + front, input.len - front, left % 3);
    uint8_t *body = fuzz_copy((struct hf_bytes){input.data, input.len});
    enum hf_status status = walk(&job, trust, body, input.len);
    bool is_framed =
        input.len >= 3 && (size_t)(body[0] << 16 | body[1] << 8 | body[2]) == input.len - 3;
    bool is_good = is_framed && input.len <= 8192 && is_key(body + 3, input.len - 3);
    FUZZ_CHECK((status == HF_OK) == is_good);
    if (status == HF_OK)
        check_taken(&job.peer, body, input.len);
    else
        FUZZ_CHECK(memcmp(&job.peer, &nobody, sizeof nobody) == 0);
    fuzz_scarce(left / 3);
    enum hf_status scarce = walk(&scarce_job, trust, body, input.len);
    bool is_hit = fuzz_scarce_hit();
    fuzz_scarce(SIZE_MAX);
    FUZZ_CHECK(scarce == status || (is_hit && scarce == HF_E_MEMORY));
    hf_trust_close(trust);
    free(body);
    return 0;
}
