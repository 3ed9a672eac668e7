/**
 * entitymap.c - parses a text file of credentials and their entities into one immutable table, and
 * answers from it. A record's name is the Credential-ID, its value the entity or, separated by one
 * blank as associations have them, the AE-IDs; so a record is as long as its line, header apart.
 * Not here: reading the file, reloading.
 */
#include <handfast/entitymap.h>

#include "crypto.h"
#include "keytext.h"
#include "texttable.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TYPE_LEN 3 /* "31-" */
#define RECORD_EXCESS 16
/* Key sources that number their answers stay below it. */
#define CONTEXT_BIT (UINT64_C(1) << 63)

enum tag { TAG_ENTITY_KIND = 0 };

struct hf_entitymap {
    struct hf_texttable table;
    uint64_t scope;
};

/* Where the parser stands. `reason` is static text, set once by whoever refuses. */
struct parse {
    struct hf_entitymap *map;
    size_t line;
    size_t line_first; /* of a duplicate: where the credential was given before */
    const char *reason;
};

static enum hf_status refuse(struct parse *parse, const char *reason)
{
    parse->reason = reason;
    return HF_E_DECODE;
}

/* ---- one line ----------------------------------------------------------------------------- */

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}

/* Splits off the next word; empty behind the last one. */
static struct hf_bytes take_word(struct hf_bytes *rest)
{
    size_t begin = 0;
    while (begin < rest->len && is_blank(rest->data[begin]))
        begin++;
    size_t end = begin;
    while (end < rest->len && !is_blank(rest->data[end]))
        end++;
    struct hf_bytes word = {rest->data + begin, end - begin};
    *rest = (struct hf_bytes){rest->data + end, rest->len - end};
    return word;
}

static bool is_type(struct hf_bytes credential_id, const char *type)
{
    return credential_id.len > TYPE_LEN &&
           hf_bytes_equal_public(credential_id.data, type, TYPE_LEN);
}

/* What would never be asked for is refused: a line that does nothing is a mistake. */
static enum hf_status check_credential(struct parse *parse, struct hf_bytes credential_id)
{
    if (credential_id.len > HF_CREDENTIAL_ID_MAX)
        return refuse(parse, "the Credential-ID is longer than 1280 bytes");
    if (!hf_keytext_is_printable(credential_id))
        return refuse(parse, "the Credential-ID has a byte that does not print");
    if (is_type(credential_id, "32-") || is_type(credential_id, "33-"))
        return refuse(parse, "a CSE-ID or AE-ID certificate says itself whose it is");
    if (is_type(credential_id, "11-") || is_type(credential_id, "12-"))
        return refuse(parse, "whose a pre-shared key is stands beside the key");
    if (!is_type(credential_id, "30-") && !is_type(credential_id, "31-") &&
        !is_type(credential_id, "34-"))
        return refuse(parse, "not the Credential-ID of a raw public key (30-), a device (31-) or a "
                             "node (34-)");
    return HF_OK;
}

/* The entity-id up to the next comma, or all. */
static struct hf_bytes take_entity(struct hf_bytes *rest)
{
    const uint8_t *comma = rest->len == 0 ? NULL : memchr(rest->data, ',', rest->len);
    struct hf_bytes entity = {rest->data, comma == NULL ? rest->len : (size_t)(comma - rest->data)};
    size_t taken = entity.len + (comma != NULL);
    *rest = (struct hf_bytes){rest->data + taken, rest->len - taken};
    return entity;
}

static bool is_among(struct hf_bytes list, struct hf_bytes entity)
{
    while (list.len > 0) {
        struct hf_bytes other = take_entity(&list);
        if (other.len == entity.len && hf_bytes_equal_public(other.data, entity.data, entity.len))
            return true;
    }
    return false;
}

static enum hf_status check_entities(uint8_t *kind, struct parse *parse, struct hf_bytes entities,
                                     bool is_raw)
{
    struct hf_bytes rest = entities;
    size_t count = 0;
    bool is_cse = false;
    if (entities.len > HF_ENTITY_ID_MAX)
        return refuse(parse, "the entity-ids are longer than 512 bytes");
    if (entities.data[entities.len - 1] == ',')
        return refuse(parse, "an entity-id is missing behind the last comma");
    while (rest.len > 0) {
        struct hf_bytes before = {entities.data, (size_t)(rest.data - entities.data)};
        struct hf_bytes entity = take_entity(&rest);
        enum hf_entity_kind one = hf_entity_kind_of(entity);
        if (one == HF_ENTITY_PENDING)
            return refuse(parse, "an entity-id is neither a CSE-ID nor an AE-ID (TS-0001 7.2)");
        if (is_among(before, entity))
            return refuse(parse, "an entity-id is given twice");
        *kind = (uint8_t)(count++ == 0 ? one : HF_ENTITY_AE_LIST);
        is_cse |= one == HF_ENTITY_CSE;
        if (count > 1 && is_cse)
            return refuse(parse, "a CSE is the only entity of its credential");
    }
    if (count > 1 && is_raw)
        return refuse(parse, "a raw public key belongs to one entity (TS-0003 8.2.2.2)");
    return HF_OK;
}

static enum hf_status add_record(struct parse *parse, struct hf_bytes credential_id,
                                 struct hf_bytes entities, uint8_t kind)
{
    struct hf_texttable *table = &parse->map->table;
    uint8_t *at = hf_texttable_room(table);
    memcpy(at, credential_id.data, credential_id.len);
    for (size_t i = 0; i < entities.len; i++)
        at[credential_id.len + i] = entities.data[i] == ',' ? ' ' : entities.data[i];
    const struct hf_textrecord header = {
        .line = (uint32_t)parse->line,
        .name_len = (uint16_t)credential_id.len,
        .value_len = (uint16_t)entities.len,
        .tag = {[TAG_ENTITY_KIND] = kind},
    };
    const struct hf_textrecord *former = hf_texttable_add(table, &header);
    if (former == NULL)
        return HF_OK;
    parse->line_first = former->line;
    return refuse(parse, "the Credential-ID was already given");
}

static enum hf_status parse_line(struct hf_bytes line, size_t number, void *arg)
{
    struct parse *parse = arg;
    uint8_t kind = HF_ENTITY_PENDING;
    parse->line = number;
    const char *fault = hf_texttable_line_fault(line);
    if (fault != NULL)
        return refuse(parse, fault);
    struct hf_bytes credential_id = take_word(&line);
    if (credential_id.len == 0 || credential_id.data[0] == '#')
        return HF_OK;
    struct hf_bytes entities = take_word(&line);
    HF_TRY(check_credential(parse, credential_id));
    if (entities.len == 0 || !hf_texttable_is_blank(line))
        return refuse(parse, "expected: CREDENTIAL-ID ENTITY-ID[,ENTITY-ID...]");
    HF_TRY(check_entities(&kind, parse, entities, is_type(credential_id, "30-")));
    return add_record(parse, credential_id, entities, kind);
}

/* ---- the public face ---------------------------------------------------------------------- */

static enum hf_status parse_text(struct parse *parse, struct hf_bytes text, struct hf_bytes scope)
{
    static const uint64_t any_key[2] = {0x656e746974796d61, 0x7073636f70652031};
    parse->map = calloc(1, sizeof(*parse->map));
    if (parse->map == NULL)
        return HF_E_MEMORY;
    parse->map->scope = hf_siphash(any_key, scope.data, scope.len);
    HF_TRY(hf_texttable_open(&parse->map->table, text, RECORD_EXCESS));
    return hf_texttable_each_line(text, parse_line, parse);
}

enum hf_status hf_entitymap_open(struct hf_entitymap **out, char error[HF_ENTITYMAP_ERROR_MAX],
                                 struct hf_bytes text, struct hf_bytes scope)
{
    struct parse parse = {0};
    *out = NULL;
    error[0] = '\0';
    enum hf_status status = parse_text(&parse, text, scope);
    if (status == HF_OK) {
        *out = parse.map;
        return HF_OK;
    }
    hf_entitymap_close(parse.map);
    if (parse.reason == NULL)
        snprintf(error, HF_ENTITYMAP_ERROR_MAX, "%s",
                 status == HF_E_DECODE ? "the text is longer than 4 GiB" : hf_status_text(status));
    else if (parse.line_first != 0)
        snprintf(error, HF_ENTITYMAP_ERROR_MAX, "line %zu: %s in line %zu", parse.line,
                 parse.reason, parse.line_first);
    else
        snprintf(error, HF_ENTITYMAP_ERROR_MAX, "line %zu: %s", parse.line, parse.reason);
    return status;
}

void hf_entitymap_close(struct hf_entitymap *map)
{
    if (map == NULL)
        return;
    hf_texttable_close(&map->table);
    free(map);
}

size_t hf_entitymap_count(const struct hf_entitymap *map)
{
    return map == NULL ? 0 : map->table.count;
}

/* No secret in it: what stands in the line is hashed so that it fits, not to hide it. */
static uint64_t context_of(const struct hf_entitymap *map, const struct hf_textrecord *record)
{
    const uint64_t key[2] = {map->scope, (uint64_t)record->name_len << 16 | record->value_len};
    return hf_siphash(key, hf_texttable_name(record),
                      (size_t)record->name_len + record->value_len) |
           CONTEXT_BIT;
}

static const struct hf_textrecord *find(const struct hf_entitymap *map,
                                        struct hf_bytes credential_id)
{
    return map == NULL || credential_id.len == 0 ? NULL
                                                 : hf_texttable_find(&map->table, credential_id);
}

void hf_entitymap_answer(struct hf_answer *out, const struct hf_entitymap *map,
                         struct hf_bytes credential_id)
{
    const struct hf_textrecord *record = find(map, credential_id);
    *out = (struct hf_answer){.kind = HF_ANSWER_IDENTITY, .entity_kind = HF_ENTITY_PENDING};
    if (record == NULL)
        return;
    out->entity_kind = (enum hf_entity_kind)record->tag[TAG_ENTITY_KIND];
    out->entity_id =
        (struct hf_bytes){hf_texttable_name(record) + record->name_len, record->value_len};
    out->context = context_of(map, record);
}

bool hf_entitymap_is_standing(const struct hf_entitymap *map, struct hf_bytes credential_id,
                              uint64_t context)
{
    const struct hf_textrecord *record = find(map, credential_id);
    return context == (record == NULL ? 0 : context_of(map, record));
}

static bool is_same_record(const struct hf_textrecord *a, const struct hf_textrecord *b)
{
    return a->name_len == b->name_len && a->value_len == b->value_len &&
           hf_bytes_equal_public(hf_texttable_name(a), hf_texttable_name(b),
                                 (size_t)a->name_len + a->value_len);
}

/* The lines of `from` that are not in `to`; of these, ones changed there only if asked. */
static void compare_one_way(const struct hf_entitymap *from, const struct hf_entitymap *to,
                            bool is_backward, hf_entitymap_differ *differ, void *arg)
{
    const struct hf_textrecord *record = NULL;
    while (from != NULL && (record = hf_texttable_next(&from->table, record)) != NULL) {
        struct hf_bytes credential_id = {hf_texttable_name(record), record->name_len};
        const struct hf_textrecord *other = find(to, credential_id);
        struct hf_entitymap_difference difference = {
            .change = is_backward ? HF_KEYFILE_ADDED : HF_KEYFILE_REMOVED,
            .credential_id = credential_id,
            .context = is_backward ? 0 : context_of(from, record),
        };
        if (other != NULL)
            difference.change = HF_KEYFILE_CHANGED;
        if (other == NULL || (!is_backward && !is_same_record(record, other)))
            differ(&difference, arg);
    }
}

void hf_entitymap_compare(const struct hf_entitymap *from, const struct hf_entitymap *to,
                          hf_entitymap_differ *differ, void *arg)
{
    compare_one_way(from, to, false, differ, arg);
    compare_one_way(to, from, true, differ, arg);
}
