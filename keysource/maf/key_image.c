/**
 * key_image.c - see key_image.h.
 *
 *     image  = head entry...        head  = "HFKEYS1" 0, secret's date (8), ID (16)
 *     entry  = length (2) sealed    sealed: hf_seal() of a record; covers head and place, too
 *     record = kind (1), part (1), until (8), context (8), length of key (1), of identity (2), of
 *              source (2), of administrator (2); then these four. The last is of kind END.
 *
 * Numbers are little endian. In the clear an image is the records, each behind its length.
 */
#include "key_image.h"

#include "crypto.h"
#include "key_service_private.h"

#include <stdlib.h>
#include <string.h>

#define MAGIC "HFKEYS1"
#define MAGIC_LEN 8
#define AAD_LEN (HF_KEY_IMAGE_HEAD_LEN + 4)
#define RECORD_HEAD_LEN 25
#define RECORD_LEN_MAX                                                                             \
    (RECORD_HEAD_LEN + HF_PSK_MAX + HF_MAF_IDENTITY_MAX + HF_ENTITY_ID_MAX + HF_MAF_FQDN_MAX)
#define LABEL "handfast keys of MAFs"

_Static_assert(MAGIC_LEN + 8 + HF_KEY_IMAGE_ID_LEN == HF_KEY_IMAGE_HEAD_LEN, "as it says above");
_Static_assert(RECORD_LEN_MAX + HF_SEAL_EXPANSION <= UINT16_MAX, "lengths of two bytes");

enum record_kind {
    RECORD_KEY = 1,
    RECORD_REVOKED,
    RECORD_END,
};

struct record {
    enum record_kind kind;
    uint8_t part;
    int64_t until_s;
    uint64_t context;
    struct hf_bytes key, identity, source, admin;
};

static void put(uint8_t **out, uint64_t value, size_t len)
{
    for (size_t i = 0; i < len; i++)
        *(*out)++ = (uint8_t)(value >> (8 * i));
}

static uint64_t get(const uint8_t **in, size_t len)
{
    uint64_t value = 0;
    for (size_t i = 0; i < len; i++)
        value |= (uint64_t) * (*in)++ << (8 * i);
    return value;
}

static size_t record_print(uint8_t out[RECORD_LEN_MAX], const struct record *record)
{
    const struct hf_bytes parts[] = {record->key, record->identity, record->source, record->admin};
    uint8_t *at = out;
    put(&at, record->kind, 1);
    put(&at, record->part, 1);
    put(&at, (uint64_t)record->until_s, 8);
    put(&at, record->context, 8);
    put(&at, record->key.len, 1);
    for (size_t i = 1; i < 4; i++)
        put(&at, parts[i].len, 2);
    for (size_t i = 0; i < 4; i++) {
        if (parts[i].len > 0)
            memcpy(at, parts[i].data, parts[i].len);
        at += parts[i].len;
    }
    return (size_t)(at - out);
}

static bool record_parse(struct record *out, struct hf_bytes bytes)
{
    size_t lens[4];
    const uint8_t *at = bytes.data;
    if (bytes.len < RECORD_HEAD_LEN)
        return false;
    out->kind = (enum record_kind)get(&at, 1);
    out->part = (uint8_t)get(&at, 1);
    out->until_s = (int64_t)get(&at, 8);
    out->context = get(&at, 8);
    size_t sum = RECORD_HEAD_LEN;
    for (size_t i = 0; i < 4; i++)
        sum += lens[i] = (size_t)get(&at, i == 0 ? 1 : 2);
    if (sum != bytes.len)
        return false;
    struct hf_bytes *const parts[] = {&out->key, &out->identity, &out->source, &out->admin};
    for (size_t i = 0; i < 4; i++) {
        *parts[i] = (struct hf_bytes){at, lens[i]};
        at += lens[i];
    }
    return true;
}

/* ---- from the service --------------------------------------------------------------------- */

void hf_key_image_wipe(struct hf_key_image *image)
{
    if (image->data != NULL)
        hf_wipe(image->data, image->len);
    free(image->data);
    *image = (struct hf_key_image){0};
}

/* False: no memory. */
static bool append(struct hf_key_image *image, const struct record *record)
{
    if (image->max - image->len < RECORD_LEN_MAX + 2) {
        size_t max = 2 * image->max + 64 * RECORD_LEN_MAX;
        uint8_t *data = malloc(max);
        if (data == NULL)
            return false;
        if (image->len > 0)
            memcpy(data, image->data, image->len);
        if (image->data != NULL)
            hf_wipe(image->data, image->len);
        free(image->data);
        image->data = data;
        image->max = max;
    }
    uint8_t *at = image->data + image->len;
    size_t len = record_print(at + 2, record);
    put(&at, len, 2);
    image->len += len + 2;
    image->count++;
    return true;
}

static struct record describe(const struct hf_key_service *service,
                              const struct hf_key_entry *entry)
{
    struct record record = {
        .kind = entry->state == HF_KEY_STATE_KEY ? RECORD_KEY : RECORD_REVOKED,
        .part = (uint8_t)service->config.part,
        .until_s = entry->expires_s,
        .context = entry->context,
        .identity = {entry->identity, entry->identity_len},
    };
    if (record.kind == RECORD_KEY) {
        record.key = (struct hf_bytes){entry->key, entry->key_len};
        record.source = (struct hf_bytes){(const uint8_t *)entry->source_id, entry->source_len};
        record.admin = hf_maf_pool_admin_fqdn(service->mafs[entry->maf_index].pool);
    } else { /* on the clock that goes on while we do not */
        uint64_t left_us =
            entry->until_us > service->now_us ? entry->until_us - service->now_us : 0;
        record.until_s = service->wall_s + (int64_t)(left_us / 1000000);
    }
    return record;
}

bool hf_key_image_gather(struct hf_key_image *out, const struct hf_key_service *service)
{
    static const enum hf_key_state states[] = {HF_KEY_STATE_REVOKED, HF_KEY_STATE_KEY};
    *out = (struct hf_key_image){0};
    for (size_t i = 0; i < 2; i++) {
        const struct hf_key_list *list = &service->lists[states[i]];
        uint32_t index = list->count > 0 ? list->first : HF_KEY_NONE;
        for (; index != HF_KEY_NONE; index = service->entries[index].next) {
            struct record record = describe(service, &service->entries[index]);
            if (record.until_s > service->wall_s && !append(out, &record)) {
                hf_key_image_wipe(out);
                return false;
            }
        }
    }
    const struct record end = {.kind = RECORD_END};
    if (append(out, &end))
        return true;
    hf_key_image_wipe(out);
    return false;
}

/* ---- sealing ------------------------------------------------------------------------------ */

static void init_key(struct hf_seal_key *key, const struct hf_shared_secret *secret)
{
    hf_seal_key_init(key, (struct hf_bytes){secret->secret, sizeof(secret->secret)}, LABEL);
}

static struct hf_bytes place_of(uint8_t aad[AAD_LEN], uint32_t index)
{
    uint8_t *at = aad + HF_KEY_IMAGE_HEAD_LEN;
    put(&at, index, 4);
    return (struct hf_bytes){aad, AAD_LEN};
}

bool hf_key_image_seal(uint8_t **data, size_t *len, const struct hf_key_image *image,
                       const struct hf_shared_secrets *secrets, int64_t wall_s)
{
    struct hf_seal_key key;
    uint8_t aad[AAD_LEN] = MAGIC;
    size_t max = HF_KEY_IMAGE_HEAD_LEN + image->len + (size_t)image->count * HF_SEAL_EXPANSION;
    uint8_t *out = malloc(max);
    if (out == NULL)
        return false;
    const struct hf_shared_secret *secret = hf_shared_secrets_active(secrets, wall_s);
    uint8_t *at = aad + MAGIC_LEN;
    put(&at, (uint64_t)secret->from_s, 8);
    hf_random(at, HF_KEY_IMAGE_ID_LEN);
    memcpy(out, aad, HF_KEY_IMAGE_HEAD_LEN);
    init_key(&key, secret);
    const uint8_t *from = image->data;
    at = out + HF_KEY_IMAGE_HEAD_LEN;
    for (uint32_t i = 0; i < image->count; i++) {
        size_t record_len = (size_t)get(&from, 2);
        put(&at, record_len + HF_SEAL_EXPANSION, 2);
        hf_seal(at, &key, place_of(aad, i), from, record_len);
        from += record_len;
        at += record_len + HF_SEAL_EXPANSION;
    }
    hf_wipe(&key, sizeof(key));
    *data = out;
    *len = max;
    return true;
}

struct hf_bytes hf_key_image_id(struct hf_bytes sealed)
{
    if (sealed.len < HF_KEY_IMAGE_HEAD_LEN)
        return (struct hf_bytes){NULL, 0};
    return (struct hf_bytes){sealed.data + HF_KEY_IMAGE_HEAD_LEN - HF_KEY_IMAGE_ID_LEN,
                             HF_KEY_IMAGE_ID_LEN};
}

/* ---- opening ------------------------------------------------------------------------------ */

static bool take_record(struct hf_key_service *service, const struct record *record)
{
    struct hf_maf_identity split;
    uint32_t maf = hf_key_service__find_maf(&split, service, record->identity);
    if (maf == HF_KEY_NONE)
        return false;
    if (record->kind == RECORD_REVOKED)
        return hf_key_service__keep_revoked(service, record->identity, record->until_s);
    const struct hf_key_kept key = {.psk_identity = record->identity,
                                    .secret = record->key,
                                    .source_id = record->source,
                                    .expires_s = record->until_s,
                                    .context = record->context};
    return record->part == (uint8_t)service->config.part &&
           hf_maf_text_equal(record->admin, hf_maf_pool_admin_fqdn(service->mafs[maf].pool)) &&
           hf_key_service_keep(service, &key);
}

/* Opens entry by entry into `image`; NULL, or what is wrong. */
static const char *unseal_all(struct hf_key_image *image, struct hf_bytes sealed,
                              const struct hf_shared_secret *secret)
{
    struct hf_seal_key key;
    uint8_t aad[AAD_LEN];
    const uint8_t *at = sealed.data + HF_KEY_IMAGE_HEAD_LEN;
    const uint8_t *end = sealed.data + sealed.len;
    const char *why = NULL;
    bool is_ended = false;
    memcpy(aad, sealed.data, HF_KEY_IMAGE_HEAD_LEN);
    init_key(&key, secret);
    while (why == NULL && !is_ended) {
        size_t len = end - at >= 2 ? (size_t)get(&at, 2) : 0;
        uint8_t *out = image->data + image->len;
        struct record record;
        if (len < HF_SEAL_EXPANSION || len > (size_t)(end - at)) {
            why = "it is cut short, or damaged";
            break;
        }
        size_t record_len = len - HF_SEAL_EXPANSION;
        if (!hf_unseal(out + 2, &key, place_of(aad, image->count), at, len) ||
            !record_parse(&record, (struct hf_bytes){out + 2, record_len}))
            why = "it is damaged, or not sealed with this secret";
        put(&out, record_len, 2);
        image->len += record_len + 2;
        image->count++;
        at += len;
        is_ended = why == NULL && record.kind == RECORD_END;
    }
    hf_wipe(&key, sizeof(key));
    return why == NULL && at != end ? "something follows its end" : why;
}

static const struct hf_shared_secret *secret_of(struct hf_bytes sealed,
                                                const struct hf_shared_secrets *secrets)
{
    const uint8_t *at = sealed.data + MAGIC_LEN;
    int64_t from_s = (int64_t)get(&at, 8);
    for (uint32_t i = 0; i < secrets->count; i++)
        if (secrets->entries[i].from_s == from_s)
            return &secrets->entries[i];
    return NULL;
}

static void take_all(struct hf_key_service *service, struct hf_key_image_report *report,
                     const struct hf_key_image *image)
{
    const uint8_t *at = image->data;
    for (uint32_t i = 0; i + 1 < image->count; i++) {
        struct record record;
        size_t len = (size_t)get(&at, 2);
        bool is_kept =
            record_parse(&record, (struct hf_bytes){at, len}) && take_record(service, &record);
        *(is_kept ? &report->kept : &report->dropped) += 1;
        at += len;
    }
}

bool hf_key_image_open(struct hf_key_service *service, struct hf_key_image_report *report,
                       struct hf_bytes sealed, const struct hf_shared_secrets *secrets)
{
    struct hf_key_image image = {0};
    *report = (struct hf_key_image_report){0};
    if (sealed.len < HF_KEY_IMAGE_HEAD_LEN ||
        !hf_bytes_equal_public(sealed.data, MAGIC, MAGIC_LEN)) {
        report->why = "it is no image of keys";
        return false;
    }
    const struct hf_shared_secret *secret = secret_of(sealed, secrets);
    if (secret == NULL) {
        report->why = "the secret it was sealed with is not there any more";
        return false;
    }
    image.data = malloc(sealed.len);
    image.max = image.data != NULL ? sealed.len : 0;
    report->why = image.data != NULL ? unseal_all(&image, sealed, secret) : "no memory for it";
    if (report->why == NULL)
        take_all(service, report, &image);
    image.len = image.max; /* what did not open is wiped, too */
    hf_key_image_wipe(&image);
    return report->why == NULL;
}
