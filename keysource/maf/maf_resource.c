/**
 * maf_resource.c - registrations from JSON, by jansson, and to JSON, into a fixed buffer.
 */
#include "maf_resource.h"

#include "crypto.h"

#include <jansson.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory of the JSON library: keys pass through it -------------------------------------- */

/* What was taken here may be given back by free(), too: not all who print JSON know of us. */
static void give_block(void *data)
{
    if (data != NULL)
        hf_wipe(data, malloc_usable_size(data));
    free(data);
}

void hf_maf_resource_init(void)
{
    json_set_alloc_funcs(malloc, give_block);
}

/* ---- lists -------------------------------------------------------------------------------- */

bool hf_maf_list_add(struct hf_maf_list *list, struct hf_bytes text)
{
    if (text.len == 0 || text.len >= sizeof(list->text) - list->len ||
        memchr(text.data, 0, text.len) != NULL)
        return false;
    memcpy(list->text + list->len, text.data, text.len);
    list->text[list->len + text.len] = '\0';
    list->len = (uint16_t)(list->len + text.len + 1);
    list->count++;
    return true;
}

const char *hf_maf_list_next(const struct hf_maf_list *list, uint16_t *at)
{
    if (*at >= list->len)
        return NULL;
    const char *text = list->text + *at;
    *at = (uint16_t)(*at + strlen(text) + 1);
    return text;
}

bool hf_maf_list_has(const struct hf_maf_list *list, struct hf_bytes text)
{
    uint16_t at = 0;
    const char *next;
    while ((next = hf_maf_list_next(list, &at)) != NULL)
        if (hf_maf_text_is(text, next))
            return true;
    return false;
}

bool hf_maf_list_equal(const struct hf_maf_list *a, const struct hf_maf_list *b)
{
    return hf_maf_text_equal((struct hf_bytes){(const uint8_t *)a->text, a->len},
                             (struct hf_bytes){(const uint8_t *)b->text, b->len});
}

/* ---- reading ------------------------------------------------------------------------------ */

/* Where a resource is being read; `why` is set by whoever refuses. */
struct reading {
    const json_t *root;
    struct hf_maf_resource *out;
    const char *why;
};

static const char *root_name(enum hf_maf_kind kind)
{
    switch (kind) {
    case HF_MAF_KEY_REGISTRATION:
        return hf_maf_name(HF_MAF_NAME_KEY_REGISTRATION);
    case HF_MAF_CLIENT_CONFIGURATION:
        return hf_maf_name(HF_MAF_NAME_CLIENT_CONFIGURATION);
    case HF_MAF_CLIENT_REGISTRATION:
    default:
        return hf_maf_name(HF_MAF_NAME_CLIENT_REGISTRATION);
    }
}

static bool refuse(struct reading *reading, enum hf_maf_name name)
{
    reading->why = hf_maf_name(name);
    return false;
}

/* Absent is good; `*out` is then empty. */
static bool take_string(struct reading *reading, struct hf_bytes *out, enum hf_maf_name name)
{
    const json_t *value = json_object_get(reading->root, hf_maf_name(name));
    *out = (struct hf_bytes){NULL, 0};
    if (value == NULL)
        return true;
    if (!json_is_string(value) || json_string_length(value) == 0)
        return refuse(reading, name);
    *out = (struct hf_bytes){(const uint8_t *)json_string_value(value), json_string_length(value)};
    reading->out->has |= 1U << name;
    return true;
}

/* A public string into an array of its own. */
static bool copy_string(struct reading *reading, char *out, size_t out_max, enum hf_maf_name name,
                        bool (*is_good)(struct hf_bytes))
{
    struct hf_bytes text;
    if (!take_string(reading, &text, name))
        return false;
    if (text.len == 0)
        return true;
    if (text.len >= out_max || !is_good(text))
        return refuse(reading, name);
    memcpy(out, text.data, text.len);
    out[text.len] = '\0';
    return true;
}

static bool is_relative_key_id(struct hf_bytes text)
{
    return hf_maf_text_is_relative_key_id(text, HF_MAF_RELATIVE_ANY);
}

static bool is_key_id(struct hf_bytes text)
{
    struct hf_maf_identity split;
    return hf_maf_text_split(&split, text, HF_MAF_RELATIVE_ANY);
}

/* An entity, or who it is known as by its key (TS-0003 8.2.2.3). */
static bool is_client_id(struct hf_bytes text)
{
    return hf_maf_text_is_identifier(text) || is_key_id(text);
}

static bool is_label(struct hf_bytes text)
{
    return text.len > 0 && text.len <= HF_MAF_LABEL_MAX;
}

static bool take_list(struct reading *reading, struct hf_maf_list *list, enum hf_maf_name name,
                      bool (*is_good)(struct hf_bytes))
{
    const json_t *value = json_object_get(reading->root, hf_maf_name(name));
    size_t index;
    const json_t *item;
    if (value == NULL)
        return true;
    if (!json_is_array(value))
        return refuse(reading, name);
    json_array_foreach(value, index, item)
    {
        struct hf_bytes text = {(const uint8_t *)json_string_value(item), json_string_length(item)};
        if (!json_is_string(item) || !is_good(text) || !hf_maf_list_add(list, text))
            return refuse(reading, name);
    }
    reading->out->has |= 1U << name;
    return true;
}

static bool take_suid(struct reading *reading)
{
    const json_t *value = json_object_get(reading->root, hf_maf_name(HF_MAF_NAME_SUID));
    if (value == NULL)
        return true;
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        json_integer_value(value) > UINT16_MAX)
        return refuse(reading, HF_MAF_NAME_SUID);
    reading->out->suid = (uint16_t)json_integer_value(value);
    reading->out->has |= HF_MAF_HAS(SUID);
    return true;
}

static bool take_time(struct reading *reading)
{
    struct hf_bytes text;
    if (!take_string(reading, &text, HF_MAF_NAME_EXPIRATION_TIME))
        return false;
    return text.len == 0 || hf_maf_text_read_time(&reading->out->expires_s, text) ||
           refuse(reading, HF_MAF_NAME_EXPIRATION_TIME);
}

static bool take_key(struct reading *reading)
{
    struct hf_bytes text;
    size_t len = 0;
    if (!take_string(reading, &text, HF_MAF_NAME_KEY_VALUE))
        return false;
    if (text.len == 0)
        return true;
    if (!hf_maf_text_read_key(reading->out->key, &len, HF_PSK_MAX, text))
        return refuse(reading, HF_MAF_NAME_KEY_VALUE);
    reading->out->key_len = (uint8_t)len;
    return true;
}

static bool take_all(struct reading *reading)
{
    struct hf_maf_resource *out = reading->out;
    enum hf_maf_name client =
        out->kind == HF_MAF_KEY_REGISTRATION ? HF_MAF_NAME_SOURCE_ID : HF_MAF_NAME_CLIENT_ID;
    return copy_string(reading, out->resource_id, sizeof(out->resource_id), HF_MAF_NAME_RESOURCE_ID,
                       is_relative_key_id) &&
           copy_string(reading, out->client_id, sizeof(out->client_id), client, is_client_id) &&
           copy_string(reading, out->admin_fqdn, sizeof(out->admin_fqdn), HF_MAF_NAME_ADMIN_FQDN,
                       hf_maf_text_is_fqdn) &&
           copy_string(reading, out->assigned_key_id, sizeof(out->assigned_key_id),
                       HF_MAF_NAME_ASSIGNED_KEY_ID, is_key_id) &&
           take_time(reading) && take_suid(reading) &&
           take_list(reading, &out->labels, HF_MAF_NAME_LABELS, is_label) &&
           take_list(reading, &out->target_ids, HF_MAF_NAME_TARGET_IDS, hf_maf_text_is_absolute) &&
           take_key(reading);
}

bool hf_maf_resource_read(struct hf_maf_resource *out, const char **why, enum hf_maf_kind kind,
                          struct hf_bytes json)
{
    memset(out, 0, sizeof(*out));
    out->kind = kind;
    json_t *text = json_loadb((const char *)json.data, json.len, JSON_REJECT_DUPLICATES, NULL);
    struct reading reading = {.root = json_object_get(text, root_name(kind)), .out = out};
    if (text == NULL)
        reading.why = "no JSON";
    else if (!json_is_object(reading.root))
        reading.why = "not the root that was expected";
    else
        (void)take_all(&reading);
    json_decref(text);
    *why = reading.why;
    if (reading.why != NULL)
        hf_maf_resource_wipe(out);
    return reading.why == NULL;
}

void hf_maf_resource_wipe(struct hf_maf_resource *resource)
{
    hf_wipe(resource, sizeof(*resource));
}

/* ---- writing ------------------------------------------------------------------------------ */

struct writing {
    char *out;
    size_t len, max;
    bool is_bad;
    bool is_next; /* a comma is due */
};

static void put_char(struct writing *writing, char c)
{
    writing->is_bad |= writing->len + 1 >= writing->max;
    if (!writing->is_bad)
        writing->out[writing->len++] = c;
}

static void put_text(struct writing *writing, const char *text)
{
    while (*text != '\0')
        put_char(writing, *text++);
}

static void put_string(struct writing *writing, const char *text)
{
    put_char(writing, '"');
    for (; *text != '\0'; text++) {
        char escape[8];
        if (*text == '"' || *text == '\\')
            put_char(writing, '\\');
        if ((unsigned char)*text >= ' ') {
            put_char(writing, *text);
            continue;
        }
        snprintf(escape, sizeof(escape), "\\u%04x", (unsigned)(unsigned char)*text);
        put_text(writing, escape);
    }
    put_char(writing, '"');
}

static void put_name(struct writing *writing, enum hf_maf_name name)
{
    if (writing->is_next)
        put_char(writing, ',');
    writing->is_next = true;
    put_string(writing, hf_maf_name(name));
    put_char(writing, ':');
}

static void put_list(struct writing *writing, enum hf_maf_name name, const struct hf_maf_list *list)
{
    uint16_t at = 0;
    const char *text;
    bool is_first = true;
    put_name(writing, name);
    put_char(writing, '[');
    while ((text = hf_maf_list_next(list, &at)) != NULL) {
        if (!is_first)
            put_char(writing, ',');
        is_first = false;
        put_string(writing, text);
    }
    put_char(writing, ']');
}

static void put_member(struct writing *writing, enum hf_maf_name name, const char *text)
{
    put_name(writing, name);
    put_string(writing, text);
}

static void put_key(struct writing *writing, const struct hf_maf_resource *resource)
{
    char text[4 * (HF_PSK_MAX + 2) / 3 + 4];
    hf_maf_text_write_key(text, (struct hf_bytes){resource->key, resource->key_len});
    put_member(writing, HF_MAF_NAME_KEY_VALUE, text);
    hf_wipe(text, sizeof(text));
}

static void put_numbers(struct writing *writing, const struct hf_maf_resource *resource)
{
    char text[HF_MAF_TIMESTAMP_LEN + 1];
    if (resource->has & HF_MAF_HAS(EXPIRATION_TIME)) {
        hf_maf_text_write_time(text, resource->expires_s);
        put_member(writing, HF_MAF_NAME_EXPIRATION_TIME, text);
    }
    if (resource->has & HF_MAF_HAS(SUID)) {
        snprintf(text, sizeof(text), "%u", resource->suid);
        put_name(writing, HF_MAF_NAME_SUID);
        put_text(writing, text);
    }
}

size_t hf_maf_resource_write(char *out, size_t out_max, const struct hf_maf_resource *resource)
{
    struct writing writing = {.out = out, .max = out_max, .is_bad = out_max == 0};
    put_char(&writing, '{');
    put_string(&writing, root_name(resource->kind));
    put_text(&writing, ":{");
    if (resource->has & HF_MAF_HAS(RESOURCE_ID))
        put_member(&writing, HF_MAF_NAME_RESOURCE_ID, resource->resource_id);
    if (resource->has & HF_MAF_HAS(CLIENT_ID))
        put_member(&writing, HF_MAF_NAME_CLIENT_ID, resource->client_id);
    if (resource->has & HF_MAF_HAS(SOURCE_ID))
        put_member(&writing, HF_MAF_NAME_SOURCE_ID, resource->client_id);
    if (resource->has & HF_MAF_HAS(ADMIN_FQDN))
        put_member(&writing, HF_MAF_NAME_ADMIN_FQDN, resource->admin_fqdn);
    if (resource->has & HF_MAF_HAS(ASSIGNED_KEY_ID))
        put_member(&writing, HF_MAF_NAME_ASSIGNED_KEY_ID, resource->assigned_key_id);
    put_numbers(&writing, resource);
    if (resource->has & HF_MAF_HAS(LABELS))
        put_list(&writing, HF_MAF_NAME_LABELS, &resource->labels);
    if (resource->has & HF_MAF_HAS(TARGET_IDS))
        put_list(&writing, HF_MAF_NAME_TARGET_IDS, &resource->target_ids);
    if (resource->has & HF_MAF_HAS(KEY_VALUE))
        put_key(&writing, resource);
    put_text(&writing, "}}");
    if (writing.is_bad) {
        hf_wipe(out, writing.len);
        return 0;
    }
    out[writing.len] = '\0';
    return writing.len;
}
