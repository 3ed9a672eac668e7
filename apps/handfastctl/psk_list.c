/**
 * psk_list.c - `psk list` and `psk rm`. A list tells everything about a key but the key.
 */
#include "psk_private.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- list --------------------------------------------------------------------------------- */

struct listing {
    const struct hf_psk_options *options;
    uint64_t shown;
    int64_t now_s;
};

static const char *validity_of(const struct hf_keydb_key *key, int64_t now_s)
{
    if (key->not_before_s > now_s)
        return "not-yet";
    return key->not_after_s != 0 && key->not_after_s <= now_s ? "expired" : "valid";
}

static void set_text(json_t *object, const char *name, struct hf_bytes bytes)
{
    json_t *text = json_stringn((const char *)bytes.data, bytes.len);
    /* Not UTF-8: left out, the identity's own notation takes care of itself. */
    if (text != NULL)
        (void)json_object_set_new(object, name, text);
}

static void print_json(const struct listing *listing, const struct hf_keydb_key *key)
{
    char identity[HF_PSK_IDENTITY_TEXT_MAX];
    json_t *object = json_object();
    (void)json_object_set_new(object, "identity",
                              json_string(hf_psk_print_identity(identity, key->identity)));
    if (key->entity_id.len > 0)
        set_text(object, "entity", key->entity_id);
    (void)json_object_set_new(object, "entity_kind",
                              json_string(hf_entity_kind_name(key->entity_kind)));
    if (key->authority.len > 0)
        set_text(object, "authority", key->authority);
    (void)json_object_set_new(object, "created", json_integer(key->created_s));
    if (key->not_before_s != 0)
        (void)json_object_set_new(object, "not_before", json_integer(key->not_before_s));
    if (key->not_after_s != 0)
        (void)json_object_set_new(object, "not_after", json_integer(key->not_after_s));
    (void)json_object_set_new(object, "validity", json_string(validity_of(key, listing->now_s)));
    (void)json_object_set_new(object, "revision", json_integer((json_int_t)key->revision));
    printf("%s", listing->shown == 0 ? "" : ",\n");
    (void)json_dumpf(object, stdout, JSON_COMPACT);
    json_decref(object);
}

/* Control characters of an entity-id do not reach the terminal. */
static void print_safe(struct hf_bytes text)
{
    putchar(' ');
    if (text.len == 0)
        putchar('-');
    for (size_t i = 0; i < text.len; i++)
        putchar(text.data[i] > ' ' && text.data[i] != 0x7F ? text.data[i] : '?');
}

static void print_line(const struct listing *listing, const struct hf_keydb_key *key)
{
    char identity[HF_PSK_IDENTITY_TEXT_MAX];
    char from[HF_PSK_TIME_TEXT_MAX];
    char until[HF_PSK_TIME_TEXT_MAX];
    char created[HF_PSK_TIME_TEXT_MAX];
    printf("%s", hf_psk_print_identity(identity, key->identity));
    print_safe(key->entity_id);
    print_safe(key->authority);
    printf(" %s %s %s %s\n", hf_psk_print_time(created, key->created_s),
           hf_psk_print_time(from, key->not_before_s), hf_psk_print_time(until, key->not_after_s),
           validity_of(key, listing->now_s));
}

static bool show(const struct hf_keydb_key *key, void *arg)
{
    struct listing *listing = arg;
    const struct hf_psk_options *options = listing->options;
    if (options->match != NULL &&
        (key->identity.len < strlen(options->match) ||
         memcmp(key->identity.data, options->match, strlen(options->match)) != 0))
        return true;
    if (options->is_json)
        print_json(listing, key);
    else
        print_line(listing, key);
    listing->shown++;
    return (options->limit == 0 || listing->shown < options->limit) && ferror(stdout) == 0;
}

int hf_psk_list(const struct hf_psk_options *options)
{
    struct hf_keydb *db = NULL;
    char error[HF_KEYDB_ERROR_MAX];
    struct listing listing = {.options = options, .now_s = time(NULL)};
    if (!hf_keydb_open(&db, error, options->store, HF_KEYDB_READ))
        return hf_psk_fail(error);
    if (options->is_json)
        printf("{\"keys\":[");
    else
        printf("# identity entity authority created not-before not-after validity\n");
    bool is_done = hf_keydb_each(db, error, show, &listing);
    if (options->is_json)
        printf("],\"total\":%" PRIu64 "}\n", hf_keydb_count(db));
    hf_keydb_close(db);
    return is_done ? 0 : hf_psk_fail(error);
}

/* ---- rm ----------------------------------------------------------------------------------- */

struct removal {
    struct hf_keydb *db;
    struct hf_psk_audit *audit;
    uint64_t removed, absent, pending;
    uint64_t batch_removed;
    char error[HF_KEYDB_ERROR_MAX];
};

static bool commit(struct removal *removal)
{
    if (removal->pending == 0)
        return true;
    removal->pending = 0;
    if (!hf_keydb_commit(removal->db, removal->error)) {
        hf_psk_audit_forget(removal->audit);
        return false;
    }
    (void)hf_psk_audit_write(removal->audit);
    removal->removed += removal->batch_removed;
    removal->batch_removed = 0;
    return true;
}

static bool remove_one(struct removal *removal, const char *text, size_t len)
{
    uint8_t identity[HF_KEYDB_IDENTITY_MAX];
    size_t identity_len = 0;
    if (!hf_psk_parse_identity(identity, &identity_len, text, len)) {
        snprintf(removal->error, sizeof(removal->error),
                 "an identity is 1 to 1024 bytes, or '#' and hexadecimal digits");
        return false;
    }
    if (removal->pending == 0 && !hf_keydb_begin(removal->db, removal->error))
        return false;
    removal->pending++;
    enum hf_keydb_found found =
        hf_keydb_remove(removal->db, removal->error, (struct hf_bytes){identity, identity_len});
    removal->absent += found == HF_KEYDB_ABSENT;
    removal->batch_removed += found == HF_KEYDB_FOUND;
    if (found == HF_KEYDB_FOUND)
        hf_psk_audit_key(removal->audit, "key_removed", (struct hf_bytes){identity, identity_len});
    if (found == HF_KEYDB_DAMAGED)
        return false;
    return removal->pending < HF_KEYDB_PUTS_MAX || commit(removal);
}

/* One identity a line, the rest of a line behind its first colon ignored: a key file will do. */
static bool remove_lines(struct removal *removal, const struct hf_psk_content *content)
{
    const char *at = (const char *)content->data;
    const char *end = at + content->len;
    while (at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        size_t line_len = (size_t)((line_end == NULL ? end : line_end) - at);
        const char *colon = memchr(at, ':', line_len);
        size_t len = colon == NULL ? line_len : (size_t)(colon - at);
        while (len > 0 && (at[len - 1] == '\r' || at[len - 1] == ' '))
            len--;
        bool is_comment = len == 0 || (at[0] == '#' && (len == 1 || at[1] == ' '));
        if (!is_comment && !remove_one(removal, at, len))
            return false;
        at += line_len + 1;
    }
    return true;
}

static uint64_t count_lines(const struct hf_psk_content *content)
{
    uint64_t count = content->len > 0;
    for (size_t i = 0; i + 1 < content->len; i++)
        count += content->data[i] == '\n';
    return count;
}

static bool remove_from(struct removal *removal, const struct hf_psk_options *options)
{
    struct hf_psk_content content;
    if (!hf_psk_content_read(&content, removal->error, options->from))
        return false;
    uint64_t keys = hf_keydb_count(removal->db);
    uint64_t lines = count_lines(&content);
    bool is_good = options->is_forced || lines * 100 <= keys * HF_PSK_REMOVE_PERCENT_MAX;
    if (!is_good)
        snprintf(removal->error, sizeof(removal->error),
                 "%.200s: would remove up to %" PRIu64 " of %" PRIu64
                 " keys, more than 10 %%: --force does it",
                 options->store, lines, keys);
    is_good = is_good && remove_lines(removal, &content);
    hf_psk_content_close(&content);
    return is_good;
}

int hf_psk_remove(const struct hf_psk_options *options)
{
    struct removal removal = {0};
    struct hf_keydb_report report;
    bool is_done = hf_keydb_open_checked(&removal.db, &report, removal.error, options->store,
                                         HF_KEYDB_WRITE) &&
                   hf_psk_audit_open(&removal.audit, removal.error, options);
    for (int i = 0; i < options->name_count && is_done; i++)
        is_done = remove_one(&removal, options->names[i], strlen(options->names[i]));
    if (is_done && options->from != NULL)
        is_done = remove_from(&removal, options);
    is_done = is_done && commit(&removal);
    if (removal.audit != NULL) {
        hf_psk_audit_forget(removal.audit); /* what was not committed */
        hf_psk_audit_command(removal.audit, "keys_changed", "removed=%" PRIu64 " complete=%s",
                             removal.removed, is_done ? "yes" : "no");
        (void)hf_psk_audit_write(removal.audit);
        hf_psk_audit_close(removal.audit);
    }
    hf_keydb_close(removal.db);
    if (options->is_json)
        printf("{\"removed\":%" PRIu64 ",\"absent\":%" PRIu64 ",\"complete\":%s}\n",
               removal.removed, removal.absent, is_done ? "true" : "false");
    else if (is_done || removal.removed > 0)
        printf("%" PRIu64 " removed, %" PRIu64 " not there\n", removal.removed, removal.absent);
    if (!is_done)
        return hf_psk_fail(removal.error);
    if (removal.removed == 0 && removal.absent > 0)
        return hf_psk_fail("none of these keys is in the store");
    return 0;
}
