/**
 * keydb_record.c - writes and reads the store's records. Nothing here trusts what it reads.
 */
#include "keydb_record.h"

#include "crypto.h"

#include <string.h>

#define VERSION 1
#define HEADER_LEN 40
#define CHECKSUM_LEN 8
#define SHORT_IDENTITY_MAX (HF_KEYDB_NAME_MAX - 1)
#define LONG_PREFIX_LEN (HF_KEYDB_NAME_MAX - HF_SHA256_LEN)
#define CHECKSUM_KEY UINT64_C(0x68666b6579646201)

uint64_t hf_keydb_load(const uint8_t *data, size_t len)
{
    uint64_t value = 0;
    for (size_t i = 0; i < len; i++)
        value |= (uint64_t)data[i] << (8 * i);
    return value;
}

void hf_keydb_save(uint8_t *data, uint64_t value, size_t len)
{
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t checksum(struct hf_bytes name, const uint8_t *data, size_t len)
{
    uint64_t key[2] = {hf_xxh3(name.data, name.len), CHECKSUM_KEY};
    return hf_siphash(key, data, len);
}

size_t hf_keydb_record_name(uint8_t out[HF_KEYDB_NAME_MAX], struct hf_bytes identity)
{
    if (identity.len == 0 || identity.len > HF_KEYDB_IDENTITY_MAX)
        return 0;
    if (identity.len <= SHORT_IDENTITY_MAX) {
        memcpy(out, identity.data, identity.len);
        return identity.len;
    }
    struct hf_sha256 hash;
    hf_sha256_init(&hash);
    hf_sha256_update(&hash, identity.data, identity.len);
    memcpy(out, identity.data, LONG_PREFIX_LEN);
    hf_sha256_final(out + LONG_PREFIX_LEN, &hash);
    return HF_KEYDB_NAME_MAX;
}

/* What a record must fulfil, written or read. */
static bool is_key_valid(const struct hf_keydb_key *key)
{
    return key->identity.len >= 1 && key->identity.len <= HF_KEYDB_IDENTITY_MAX &&
           key->secret.len >= HF_KEYDB_SECRET_MIN && key->secret.len <= HF_PSK_MAX &&
           key->entity_id.len <= HF_ENTITY_ID_MAX && key->authority.len <= HF_KEYDB_AUTHORITY_MAX &&
           (unsigned)key->entity_kind <= HF_ENTITY_AE_LIST && key->not_before_s >= 0 &&
           key->not_after_s >= 0 && key->not_after_s <= UINT32_MAX && key->created_s >= 0;
}

static uint8_t *append(uint8_t *at, struct hf_bytes bytes)
{
    if (bytes.len > 0)
        memcpy(at, bytes.data, bytes.len);
    return at + bytes.len;
}

size_t hf_keydb_record_write(uint8_t out[HF_KEYDB_RECORD_MAX], const struct hf_keydb_key *key)
{
    uint8_t name[HF_KEYDB_NAME_MAX];
    if (!is_key_valid(key))
        return 0;
    size_t name_len = hf_keydb_record_name(name, key->identity);
    bool is_long = key->identity.len > SHORT_IDENTITY_MAX;
    out[0] = VERSION;
    out[1] = (uint8_t)key->secret.len;
    out[2] = (uint8_t)key->entity_kind;
    out[3] = (uint8_t)key->authority.len;
    hf_keydb_save(out + 4, key->entity_id.len, 2);
    hf_keydb_save(out + 6, is_long ? key->identity.len : 0, 2);
    hf_keydb_save(out + 8, (uint64_t)key->created_s, 8);
    hf_keydb_save(out + 16, (uint64_t)key->not_before_s, 8);
    hf_keydb_save(out + 24, (uint64_t)key->not_after_s, 8);
    hf_keydb_save(out + 32, key->revision, 8);
    uint8_t *at = append(out + HEADER_LEN, key->secret);
    at = append(at, key->entity_id);
    at = append(at, key->authority);
    if (is_long)
        at = append(at, key->identity);
    size_t len = (size_t)(at - out);
    hf_keydb_save(at, checksum((struct hf_bytes){name, name_len}, out, len), CHECKSUM_LEN);
    return len + CHECKSUM_LEN;
}

static struct hf_bytes cut(const uint8_t **at, size_t len)
{
    struct hf_bytes bytes = {*at, len};
    *at += len;
    return bytes;
}

static bool is_named(const struct hf_keydb_key *key, struct hf_bytes name)
{
    uint8_t expected[HF_KEYDB_NAME_MAX];
    size_t len = hf_keydb_record_name(expected, key->identity);
    return len == name.len && hf_bytes_equal_public(expected, name.data, len);
}

bool hf_keydb_record_read(struct hf_keydb_key *out, struct hf_bytes name, struct hf_bytes record)
{
    const uint8_t *data = record.data;
    memset(out, 0, sizeof(*out));
    if (record.len < HEADER_LEN + CHECKSUM_LEN || record.len > HF_KEYDB_RECORD_MAX ||
        data[0] != VERSION)
        return false;
    size_t body_len = record.len - CHECKSUM_LEN;
    if (checksum(name, data, body_len) != hf_keydb_load(data + body_len, CHECKSUM_LEN))
        return false;
    size_t entity_len = (size_t)hf_keydb_load(data + 4, 2);
    size_t identity_len = (size_t)hf_keydb_load(data + 6, 2);
    if (HEADER_LEN + data[1] + entity_len + data[3] + identity_len != body_len)
        return false;
    struct hf_keydb_key key = {
        .entity_kind = (enum hf_entity_kind)data[2],
        .created_s = (int64_t)hf_keydb_load(data + 8, 8),
        .not_before_s = (int64_t)hf_keydb_load(data + 16, 8),
        .not_after_s = (int64_t)hf_keydb_load(data + 24, 8),
        .revision = hf_keydb_load(data + 32, 8),
    };
    const uint8_t *at = data + HEADER_LEN;
    key.secret = cut(&at, data[1]);
    key.entity_id = cut(&at, entity_len);
    key.authority = cut(&at, data[3]);
    key.identity = identity_len > 0 ? cut(&at, identity_len) : name;
    if (!is_key_valid(&key) || !is_named(&key, name))
        return false;
    *out = key;
    return true;
}

void hf_keydb_number_write(uint8_t out[HF_KEYDB_NUMBER_LEN], struct hf_bytes name, uint64_t first,
                           uint64_t second)
{
    hf_keydb_save(out, first, 8);
    hf_keydb_save(out + 8, second, 8);
    hf_keydb_save(out + 16, checksum(name, out, 16), CHECKSUM_LEN);
}

bool hf_keydb_number_read(uint64_t *first, uint64_t *second, struct hf_bytes name,
                          struct hf_bytes number)
{
    if (number.len != HF_KEYDB_NUMBER_LEN ||
        checksum(name, number.data, 16) != hf_keydb_load(number.data + 16, CHECKSUM_LEN))
        return false;
    *first = hf_keydb_load(number.data, 8);
    *second = hf_keydb_load(number.data + 8, 8);
    return true;
}
