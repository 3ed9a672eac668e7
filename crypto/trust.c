/**
 * trust.c - what an authority believes of its peers: raw keys pinned by RFC 6920 digest. Anchors
 * and CRLs are not read yet: an hf_trust with any is refused, so that nobody relies on them.
 *
 * Immutable once open; shared by counting.
 */
#include "trust.h"
#include "private.h"

#include <openssl/base64.h>

#include <stdlib.h>
#include <string.h>

#define DEPTH_DEFAULT 4
#define CHAIN_LEN_DEFAULT 8192

static const struct {
    const char *name;
    uint8_t len;
} algorithms[] = {{"sha-256", 32}, {"sha-256-128", 16}, {"sha-256-120", 15}};

void hf_trust_source_init(struct hf_trust_source *source)
{
    memset(source, 0, sizeof *source);
    source->depth_max = DEPTH_DEFAULT;
    source->chain_len_max = CHAIN_LEN_DEFAULT;
}

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r';
}

/* The next word of a line, and what is left of the line. */
static struct hf_bytes next_word(struct hf_bytes *line)
{
    struct hf_bytes word;

    while (line->len > 0 && is_blank(*line->data))
        *line = (struct hf_bytes){line->data + 1, line->len - 1};
    word = (struct hf_bytes){line->data, 0};
    while (word.len < line->len && !is_blank(word.data[word.len]))
        word.len++;
    *line = (struct hf_bytes){line->data + word.len, line->len - word.len};
    return word;
}

static struct hf_bytes next_line(struct hf_bytes *text)
{
    const uint8_t *end = memchr(text->data, '\n', text->len);
    struct hf_bytes line = {text->data, end ? (size_t)(end - text->data) : text->len};
    size_t skip = line.len + (end ? 1 : 0);

    *text = (struct hf_bytes){text->data + skip, text->len - skip};
    return line;
}

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
    struct hf_bytes digest = next_word(&line);
    struct hf_bytes entity_id = next_word(&line);
    struct hf_bytes credential_id = next_word(&line);
    const char *why = read_digest(pin, digest);

    if (why)
        return why;
    if (entity_id.len == 0 || next_word(&line).len > 0)
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

static struct hf_bytes without_comment(struct hf_bytes line)
{
    const uint8_t *hash = line.len > 0 ? memchr(line.data, '#', line.len) : NULL;

    return (struct hf_bytes){line.data, hash ? (size_t)(hash - line.data) : line.len};
}

static bool is_empty(struct hf_bytes line)
{
    return next_word(&line).len == 0;
}

/* Two passes: count, then fill. */
static const char *read_pins(struct hf_trust *trust, struct hf_bytes text, bool *is_memory_out)
{
    struct hf_bytes rest = text;
    size_t count = 0;

    while (rest.len > 0)
        count += !is_empty(without_comment(next_line(&rest)));
    if (count == 0)
        return NULL;
    trust->pins = calloc(count, sizeof *trust->pins);
    *is_memory_out = !trust->pins;
    if (!trust->pins)
        return "out of memory";
    while (text.len > 0) {
        struct hf_bytes line = without_comment(next_line(&text));
        const char *why;

        if (is_empty(line))
            continue;
        why = read_pin(&trust->pins[trust->pin_count++], line);
        if (why)
            return why;
    }
    qsort(trust->pins, trust->pin_count, sizeof *trust->pins, pin_order);
    return NULL;
}

static const char *check(const struct hf_trust_source *source)
{
    if (source->depth_max < 1 || source->depth_max > HF_CHAIN_DEPTH_MAX)
        return "depth_max: 1 to 8";
    if (source->anchors_pem.len > 0 || source->crls_pem.len > 0 || source->names.len > 0)
        return "anchors, crls, names: X.509 is not supported yet";
    if ((source->flavours & ~HF_FLAVOUR_RAW) != 0)
        return "flavours: X.509 is not supported yet";
    return NULL;
}

enum hf_status hf_trust_open(struct hf_trust **out, const char **why,
                             const struct hf_trust_source *source)
{
    struct hf_trust *trust;
    bool is_memory_out = false;

    *why = check(source);
    if (*why)
        return HF_E_CONFIG;
    trust = calloc(1, sizeof *trust);
    *why = "out of memory";
    if (!trust)
        return HF_E_MEMORY;
    trust->references = 1;
    trust->epoch = source->epoch;
    trust->flavours = source->flavours;
    trust->depth_max = source->depth_max;
    trust->chain_len_max = source->chain_len_max;
    *why = read_pins(trust, source->raw_keys, &is_memory_out);
    if (*why) {
        hf_trust_close(trust);
        return is_memory_out ? HF_E_MEMORY : HF_E_CONFIG;
    }
    *out = trust;
    return HF_OK;
}

struct hf_trust *hf_trust_share(const struct hf_trust *trust)
{
    // The count is the one thing in it that changes.
    struct hf_trust *shared = (struct hf_trust *)(uintptr_t)trust;

    __atomic_add_fetch(&shared->references, 1, __ATOMIC_RELAXED);
    return shared;
}

void hf_trust_close(struct hf_trust *trust)
{
    if (!trust || __atomic_sub_fetch(&trust->references, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    free(trust->pins);
    free(trust);
}

uint8_t hf_trust_flavours(const struct hf_trust *trust)
{
    return trust->flavours;
}

uint64_t hf_trust_epoch(const struct hf_trust *trust)
{
    return trust->epoch;
}

uint32_t hf_trust_chain_len_max(const struct hf_trust *trust)
{
    return trust->chain_len_max;
}

struct hf_bytes hf_trust_issuer_names(const struct hf_trust *trust)
{
    (void)trust;
    return (struct hf_bytes){NULL, 0};
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

bool hf_trust_is_revoked(const struct hf_trust *trust,
                         const uint8_t handle[HF_REVOCATION_HANDLE_LEN])
{
    return !hf__trust_find_pin(trust, handle + 1, HF_REVOCATION_HANDLE_LEN - 1);
}
