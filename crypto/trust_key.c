/**
 * trust_key.c - raw public keys that are pinned by a digest of their SubjectPublicKeyInfo (RFC
 * 6920, TS-0003 10.1.2): the text they come in, and how they are found.
 */
#include "trust.h"

#include "private.h"

#include <openssl/base64.h>

#include <stdlib.h>
#include <string.h>

#define DIGEST_LEN_MIN 15

static const struct {
    const char *name;
    uint8_t len;
} algorithms[] = {{"sha-256", 32}, {"sha-256-128", 16}, {"sha-256-120", 15}};

static bool starts_with(struct hf_bytes text, const char *prefix)
{
    size_t len = strlen(prefix);

    return text.len >= len && hf_bytes_equal_public(text.data, prefix, len);
}

/* base64url without padding (RFC 4648 5), by way of BoringSSL's base64. */
static bool read_base64url(uint8_t *out, size_t out_len, struct hf_bytes text)
{
    uint8_t plain[48];
    uint8_t decoded[36];
    size_t len = 0;

    if (text.len != (out_len * 4 + 2) / 3 || text.len + 3 > sizeof plain)
        return false;
    memset(plain, '=', sizeof plain);
    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = text.data[i];

        if (byte == '+' || byte == '/' || byte == '=')
            return false;
        plain[i] = byte == '-' ? '+' : byte == '_' ? '/' : byte;
    }
    if (!EVP_DecodeBase64(decoded, &len, sizeof decoded, plain, (text.len + 3) / 4 * 4) ||
        len != out_len)
        return false;
    memcpy(out, decoded, out_len);
    return true;
}

static const char *read_digest(struct hf__pin *pin, struct hf_bytes text)
{
    const uint8_t *end;
    struct hf_bytes name;

    if (starts_with(text, "ni:///"))
        text = (struct hf_bytes){text.data + 6, text.len - 6};
    end = memchr(text.data, ';', text.len);
    if (!end)
        return "raw_keys: a digest is not of the form ni:///sha-256;... or sha-256;...";
    name = (struct hf_bytes){text.data, (size_t)(end - text.data)};
    text = (struct hf_bytes){end + 1, text.len - name.len - 1};
    for (size_t i = 0; i < sizeof algorithms / sizeof *algorithms; i++) {
        if (name.len != strlen(algorithms[i].name) || !starts_with(name, algorithms[i].name))
            continue;
        pin->digest_len = algorithms[i].len;
        return read_base64url(pin->digest, pin->digest_len, text)
                   ? NULL
                   : "raw_keys: a digest is not base64url, or not of its algorithm's length";
    }
    return "raw_keys: a digest's algorithm is not sha-256, sha-256-128 or sha-256-120";
}

/* `30-` and the key's identifier (TS-0003 10.4), unless the line has its own. */
static const char *read_credential_id(struct hf__pin *pin, struct hf_bytes digest,
                                      struct hf_bytes word)
{
    size_t skip = starts_with(digest, "ni:///") ? 6 : 0;

    if (word.len > sizeof pin->credential_id || 3 + digest.len > sizeof pin->credential_id)
        return "raw_keys: a credential-id is too long";
    if (word.len > 0) {
        memcpy(pin->credential_id, word.data, word.len);
        pin->credential_id_len = (uint8_t)word.len;
        return NULL;
    }
    memcpy(pin->credential_id, "30-", 3);
    memcpy(pin->credential_id + 3, digest.data + skip, digest.len - skip);
    pin->credential_id_len = (uint8_t)(3 + digest.len - skip);
    // ";" is outside the alphabet of 10.4.
    *(uint8_t *)memchr(pin->credential_id, ';', pin->credential_id_len) = '-';
    return NULL;
}

static const char *read_pin(struct hf__pin *pin, struct hf_bytes line)
{
    struct hf_bytes digest = hf__text_word(&line);
    struct hf_bytes entity_id = hf__text_word(&line);
    struct hf_bytes credential_id = hf__text_word(&line);
    const char *why = read_digest(pin, digest);

    if (why)
        return why;
    if (entity_id.len == 0 || hf__text_word(&line).len > 0)
        return "raw_keys: a line is not: digest entity-id [credential-id]";
    if (entity_id.len == 1 && *entity_id.data == '-')
        entity_id.len = 0;
    if (entity_id.len > sizeof pin->entity_id)
        return "raw_keys: an entity-id is too long";
    pin->entity_kind = (uint8_t)hf_entity_kind_of(entity_id);
    if (entity_id.len > 0 && pin->entity_kind == HF_ENTITY_PENDING)
        return "raw_keys: an entity-id is neither a CSE-ID nor an AE-ID (TS-0001 7.2)";
    memcpy(pin->entity_id, entity_id.data, entity_id.len);
    pin->entity_id_len = (uint8_t)entity_id.len;
    return read_credential_id(pin, digest, credential_id);
}

/* The part all algorithms have, as a number to sort by. */
static uint64_t pin_prefix(const uint8_t *digest)
{
    uint64_t prefix = 0;

    for (size_t i = 0; i < 8; i++)
        prefix = prefix << 8 | digest[i];
    return prefix;
}

static int pin_order(const void *a, const void *b)
{
    uint64_t left = pin_prefix(((const struct hf__pin *)a)->digest);
    uint64_t right = pin_prefix(((const struct hf__pin *)b)->digest);

    return left < right ? -1 : left > right;
}

/* The first 15 bytes, which every algorithm has: one key must not stand for two entities. */
static bool is_same_key(const struct hf__pin *a, const struct hf__pin *b)
{
    return hf_bytes_equal_public(a->digest, b->digest, DIGEST_LEN_MIN);
}

enum hf_status hf__trust_read_pins(struct hf_trust *trust, const char **why, struct hf_bytes text)
{
    size_t count = hf__text_lines(text);

    if (count == 0)
        return HF_OK;
    trust->pins = calloc(count, sizeof *trust->pins);
    if (!trust->pins)
        return HF_E_MEMORY;
    while (text.len > 0) {
        struct hf_bytes line = hf__text_line(&text), first = line;

        if (hf__text_word(&first).len == 0)
            continue;
        *why = read_pin(&trust->pins[trust->pin_count++], line);
        if (*why)
            return HF_E_CONFIG;
    }
    qsort(trust->pins, trust->pin_count, sizeof *trust->pins, pin_order);
    for (size_t i = 1; i < trust->pin_count; i++) {
        if (is_same_key(&trust->pins[i - 1], &trust->pins[i])) {
            *why = "raw_keys: a key is given twice";
            return HF_E_CONFIG;
        }
    }
    return HF_OK;
}

const struct hf__pin *hf__trust_find_pin(const struct hf_trust *trust, const uint8_t *digest,
                                         size_t digest_len)
{
    uint64_t prefix = pin_prefix(digest);
    size_t low = 0;
    size_t high = trust->pin_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (pin_prefix(trust->pins[middle].digest) < prefix)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < trust->pin_count && pin_prefix(trust->pins[low].digest) == prefix; low++) {
        const struct hf__pin *pin = &trust->pins[low];
        size_t len = pin->digest_len < digest_len ? pin->digest_len : digest_len;

        if (hf_bytes_equal_public(pin->digest, digest, len))
            return pin;
    }
    return NULL;
}
