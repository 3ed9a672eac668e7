/**
 * keyfile.c - parses a text file of provisioned keys into one immutable table, and answers from it.
 *
 * A record is never longer than its line: hexadecimal digits become half as many bytes.
 * Invariant: no error text ever holds a byte of the file. Not here: reading the file, reloading.
 */
#include <handfast/keyfile.h>

#include "crypto.h"
#include "keytext.h"
#include "texttable.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_LEN_MIN 16
#define IDENTITY_LEN_MAX 1024
#define SUID_PROVISIONED_KEY_FOR_SAEF 12 /* TS-0004 6.3.4.2.39 */
#define CREDENTIAL_PREFIX "12-"          /* TS-0003 10.4: a provisioned key for SAEF */

/* A record's name is the identity; its value the key, then the entity-id. */
enum tag { TAG_KEY_LEN = 0, TAG_ENTITY_KIND };

struct hf_keyfile {
    struct hf_texttable table;
    uint64_t context_key[2];
    bool has_context;
};

/* Where the parser stands. `reason` is static text, set once by whoever refuses. */
struct parse {
    struct hf_keyfile *keyfile;
    size_t line;
    size_t line_first; /* of a duplicate: where the identity was given before */
    const char *reason;
};

/* The three fields of a line, undecoded. */
struct fields {
    struct hf_bytes identity;
    struct hf_bytes key;
    struct hf_bytes entity_id;
    bool has_entity_id;
};

static size_t key_len_of(const struct hf_textrecord *record)
{
    return record->tag[TAG_KEY_LEN];
}

void hf_keyfile_close(struct hf_keyfile *keyfile)
{
    if (keyfile == NULL)
        return;
    hf_texttable_close(&keyfile->table);
    hf_wipe(keyfile, sizeof(*keyfile));
    free(keyfile);
}

/* ---- one line ----------------------------------------------------------------------------- */

static enum hf_status refuse(struct parse *parse, const char *reason)
{
    parse->reason = reason;
    return HF_E_DECODE;
}

/* Takes the text up to the next colon, or all; false when there was no colon. */
static bool split_field(struct hf_bytes *field, struct hf_bytes *rest)
{
    const uint8_t *colon = rest->len == 0 ? NULL : memchr(rest->data, ':', rest->len);
    field->data = rest->data;
    field->len = colon == NULL ? rest->len : (size_t)(colon - rest->data);
    size_t taken = colon == NULL ? rest->len : field->len + 1;
    rest->data += taken;
    rest->len -= taken;
    return colon != NULL;
}

static enum hf_status split_line(struct fields *fields, struct parse *parse, struct hf_bytes line)
{
    memset(fields, 0, sizeof(*fields));
    if (!split_field(&fields->identity, &line))
        return refuse(parse, fields->identity.data[0] == '#'
                                 ? "no colon: a comment starts with \"# \", a hexadecimal identity "
                                   "with '#' and is followed by a colon and the key"
                                 : "no colon: expected identity:hexkey[:entity-id]");
    fields->has_entity_id = split_field(&fields->key, &line);
    fields->entity_id = line;
    return HF_OK;
}

static enum hf_status decode_identity(uint8_t *out, size_t *out_len, struct parse *parse,
                                      struct hf_bytes text)
{
    if (text.len == 0)
        return refuse(parse, "the identity is empty");
    if (text.data[0] != '#') {
        if (text.len > IDENTITY_LEN_MAX)
            return refuse(parse, "the identity is longer than 1024 bytes");
        if (!hf_keytext_is_printable(text))
            return refuse(parse, "the identity has a byte that does not print: write it as '#' and "
                                 "hexadecimal digits");
        memcpy(out, text.data, text.len);
        *out_len = text.len;
        return HF_OK;
    }
    struct hf_bytes digits = {text.data + 1, text.len - 1};
    if (digits.len == 0)
        return refuse(parse, "the hexadecimal identity is empty");
    if (!hf_keytext_is_hex(digits))
        return refuse(parse, "an identity that starts with '#' must be hexadecimal (a comment "
                             "starts with \"# \")");
    if (digits.len % 2 != 0)
        return refuse(parse, "the hexadecimal identity has an odd number of digits");
    if (digits.len / 2 > IDENTITY_LEN_MAX)
        return refuse(parse, "the identity is longer than 1024 bytes");
    hf_keytext_decode_hex(out, digits);
    *out_len = digits.len / 2;
    return HF_OK;
}

static enum hf_status decode_key(uint8_t *out, uint8_t *out_len, struct parse *parse,
                                 struct hf_bytes digits)
{
    if (digits.len == 0)
        return refuse(parse, "the key is empty");
    if (!hf_keytext_is_hex(digits))
        return refuse(parse, "the key holds a character that is no hexadecimal digit");
    if (digits.len % 2 != 0)
        return refuse(parse, "the key has an odd number of hexadecimal digits");
    if (digits.len < 2 * KEY_LEN_MIN)
        return refuse(parse, "the key is shorter than 16 bytes (32 hexadecimal digits)");
    if (digits.len > 2 * HF_PSK_MAX)
        return refuse(parse, "the key is longer than 64 bytes (128 hexadecimal digits)");
    hf_keytext_decode_hex(out, digits);
    *out_len = (uint8_t)(digits.len / 2);
    return HF_OK;
}

static enum hf_status check_entity(uint8_t *kind, struct parse *parse, const struct fields *fields)
{
    *kind = HF_ENTITY_PENDING;
    if (!fields->has_entity_id)
        return HF_OK;
    struct hf_bytes entity_id = fields->entity_id;
    if (entity_id.len == 0)
        return refuse(parse, "the entity-id is empty: leave out its colon too");
    if (entity_id.len > HF_ENTITY_ID_MAX)
        return refuse(parse, "the entity-id is longer than 512 bytes");
    if (!hf_keytext_is_printable(entity_id))
        return refuse(parse, "the entity-id has a byte that does not print");
    *kind = (uint8_t)hf_entity_kind_of(entity_id);
    if (*kind == HF_ENTITY_PENDING)
        return refuse(parse, "the entity-id is neither a CSE-ID nor an AE-ID (TS-0001 7.2)");
    return HF_OK;
}

/* Decodes into the free end of the table; only the last lines here make the record exist. */
static enum hf_status add_record(struct parse *parse, const struct fields *fields)
{
    struct hf_texttable *table = &parse->keyfile->table;
    uint8_t identity[IDENTITY_LEN_MAX];
    size_t identity_len = 0;
    uint8_t kind = HF_ENTITY_PENDING;
    uint8_t key_len = 0;
    HF_TRY(decode_identity(identity, &identity_len, parse, fields->identity));
    HF_TRY(check_entity(&kind, parse, fields));
    uint8_t *at = hf_texttable_room(table);
    HF_TRY(decode_key(at + identity_len, &key_len, parse, fields->key));
    memcpy(at, identity, identity_len);
    if (fields->entity_id.len > 0)
        memcpy(at + identity_len + key_len, fields->entity_id.data, fields->entity_id.len);
    const struct hf_textrecord header = {
        .line = (uint32_t)parse->line,
        .name_len = (uint16_t)identity_len,
        .value_len = (uint16_t)(key_len + fields->entity_id.len),
        .tag = {[TAG_KEY_LEN] = key_len, [TAG_ENTITY_KIND] = kind},
    };
    const struct hf_textrecord *former = hf_texttable_add(table, &header);
    if (former == NULL)
        return HF_OK;
    parse->line_first = former->line;
    return refuse(parse, "the identity was already given");
}

static bool is_comment(struct hf_bytes line)
{
    return hf_texttable_is_blank(line) ||
           (line.data[0] == '#' && (line.len == 1 || line.data[1] == ' ' || line.data[1] == '\t'));
}

static enum hf_status parse_line(struct hf_bytes line, size_t number, void *arg)
{
    struct parse *parse = arg;
    struct fields fields;
    parse->line = number;
    const char *fault = hf_texttable_line_fault(line);
    if (fault != NULL)
        return refuse(parse, fault);
    if (is_comment(line))
        return HF_OK;
    HF_TRY(split_line(&fields, parse, line));
    return add_record(parse, &fields);
}

static enum hf_status parse_text(struct parse *parse, struct hf_bytes text)
{
    parse->keyfile = calloc(1, sizeof(*parse->keyfile));
    if (parse->keyfile == NULL)
        return HF_E_MEMORY;
    HF_TRY(hf_texttable_open(&parse->keyfile->table, text, 0));
    return hf_texttable_each_line(text, parse_line, parse);
}

/* ---- the public face ---------------------------------------------------------------------- */

enum hf_status hf_keyfile_open(struct hf_keyfile **out, char error[HF_KEYFILE_ERROR_MAX],
                               struct hf_bytes text)
{
    *out = NULL;
    error[0] = '\0';
    struct parse parse = {0};
    enum hf_status status = parse_text(&parse, text);
    if (status == HF_OK) {
        *out = parse.keyfile;
        return HF_OK;
    }
    hf_keyfile_close(parse.keyfile);
    if (parse.reason == NULL)
        snprintf(error, HF_KEYFILE_ERROR_MAX, "%s",
                 status == HF_E_DECODE ? "the text is longer than 4 GiB" : hf_status_text(status));
    else if (parse.line_first != 0)
        snprintf(error, HF_KEYFILE_ERROR_MAX, "line %zu: %s in line %zu", parse.line, parse.reason,
                 parse.line_first);
    else
        snprintf(error, HF_KEYFILE_ERROR_MAX, "line %zu: %s", parse.line, parse.reason);
    return status;
}

size_t hf_keyfile_count(const struct hf_keyfile *keyfile)
{
    return keyfile->table.count;
}

/* ---- which key it was --------------------------------------------------------------------- */

void hf_keyfile_use_context(struct hf_keyfile *keyfile, const uint8_t key[16])
{
    memcpy(keyfile->context_key, key, sizeof(keyfile->context_key));
    keyfile->has_context = true;
}

static uint64_t context_of(const struct hf_keyfile *keyfile, const struct hf_textrecord *record)
{
    const uint16_t lens[4] = {record->name_len, (uint16_t)key_len_of(record), record->value_len,
                              record->tag[TAG_ENTITY_KIND]};
    if (!keyfile->has_context)
        return 0;
    const uint64_t key[2] = {keyfile->context_key[0],
                             hf_siphash(keyfile->context_key, lens, sizeof(lens))};
    uint64_t context =
        hf_siphash(key, hf_texttable_name(record), (size_t)record->name_len + record->value_len);
    return context != 0 ? context : 1;
}

static bool is_same_record(const struct hf_textrecord *a, const struct hf_textrecord *b)
{
    return a->name_len == b->name_len && a->value_len == b->value_len &&
           hf_bytes_equal_public(a->tag, b->tag, sizeof(a->tag)) &&
           hf_ct_equal(hf_texttable_name(a), hf_texttable_name(b),
                       (size_t)a->name_len + a->value_len);
}

/* The keys of `from` that are not in `to`; of these, ones there under another key only if asked. */
static void compare_one_way(const struct hf_keyfile *from, const struct hf_keyfile *to,
                            bool is_backward, hf_keyfile_differ *differ, void *arg)
{
    const struct hf_textrecord *record = NULL;
    while ((record = hf_texttable_next(&from->table, record)) != NULL) {
        struct hf_bytes identity = {hf_texttable_name(record), record->name_len};
        const struct hf_textrecord *other = hf_texttable_find(&to->table, identity);
        struct hf_keyfile_difference difference = {
            .change = is_backward ? HF_KEYFILE_ADDED : HF_KEYFILE_REMOVED,
            .psk_identity = identity,
            .context = is_backward ? 0 : context_of(from, record),
        };
        if (other != NULL)
            difference.change = HF_KEYFILE_CHANGED;
        if (other == NULL || (!is_backward && !is_same_record(record, other)))
            differ(&difference, arg);
    }
}

void hf_keyfile_compare(const struct hf_keyfile *from, const struct hf_keyfile *to,
                        hf_keyfile_differ *differ, void *arg)
{
    compare_one_way(from, to, false, differ, arg);
    compare_one_way(to, from, true, differ, arg);
}

void hf_keyfile_answer(struct hf_answer *out, uint8_t scratch[HF_CREDENTIAL_ID_MAX],
                       const struct hf_keyfile *keyfile, struct hf_bytes psk_identity)
{
    memset(out, 0, sizeof(*out));
    out->kind = HF_ANSWER_REFUSED;
    if (psk_identity.len == 0 || psk_identity.len > IDENTITY_LEN_MAX)
        return;
    const struct hf_textrecord *record = hf_texttable_find(&keyfile->table, psk_identity);
    if (record == NULL)
        return;
    const uint8_t *identity = hf_texttable_name(record);
    const uint8_t *key = identity + record->name_len;
    size_t key_len = key_len_of(record);
    out->kind = HF_ANSWER_PSK;
    out->framework = HF_FRAMEWORK_PROVISIONED_SYMMETRIC_KEY;
    out->entity_kind = (enum hf_entity_kind)record->tag[TAG_ENTITY_KIND];
    out->suid = SUID_PROVISIONED_KEY_FOR_SAEF;
    out->context = context_of(keyfile, record);
    out->secret = (struct hf_bytes){key, key_len};
    out->entity_id = (struct hf_bytes){key + key_len, record->value_len - key_len};
    size_t prefix_len = sizeof(CREDENTIAL_PREFIX) - 1;
    memcpy(scratch, CREDENTIAL_PREFIX, prefix_len);
    memcpy(scratch + prefix_len, identity, record->name_len);
    out->credential_id = (struct hf_bytes){scratch, prefix_len + record->name_len};
}

/* A session goes on as long as its key is here, and the same. */
static bool is_standing(const struct hf_keyfile *keyfile, const struct hf_request *request)
{
    size_t prefix_len = sizeof(CREDENTIAL_PREFIX) - 1;
    struct hf_bytes id = request->credential_id;
    if (id.len <= prefix_len || !hf_bytes_equal_public(id.data, CREDENTIAL_PREFIX, prefix_len))
        return false;
    struct hf_bytes identity = {id.data + prefix_len, id.len - prefix_len};
    const struct hf_textrecord *record = hf_texttable_find(&keyfile->table, identity);
    return record != NULL && context_of(keyfile, record) == request->context;
}

static void answer_request(struct hf_engine *engine, const struct hf_request *request, void *arg)
{
    struct hf_answer answer = {.kind = HF_ANSWER_REFUSED};
    uint8_t scratch[HF_CREDENTIAL_ID_MAX];
    /* This source never says identity_follows, so HF_REQUEST_IDENTITY is not ours to grant. */
    if (request->kind == HF_REQUEST_KEY)
        hf_keyfile_answer(&answer, scratch, arg, request->psk_identity);
    if (request->kind == HF_REQUEST_SESSION && is_standing(arg, request))
        answer.kind = HF_ANSWER_IDENTITY;
    (void)hf_engine_answer(engine, request->ticket, &answer);
}

struct hf_key_source hf_keyfile_source(const struct hf_keyfile *keyfile)
{
    return (struct hf_key_source){.request = answer_request, .arg = (void *)keyfile};
}
