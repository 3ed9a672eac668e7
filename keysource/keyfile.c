/**
 * keyfile.c - parses a text file of provisioned keys into one immutable table, and answers from it.
 *
 * The table is one mapping: records {header, identity, key, entity-id} one after the other, found
 * through an open-addressed array of hashes keyed afresh for every file (peers choose identities).
 * A record is never longer than the line it came from, so the length of the text bounds it all.
 * Invariant: no error text ever holds a byte of the file. Not here: reading the file, reloading.
 */
#include <handfast/keyfile.h>

#include "crypto.h"
#include "keytext.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define KEY_LEN_MIN 16
#define IDENTITY_LEN_MAX 1024
#define SUID_PROVISIONED_KEY_FOR_SAEF 12 /* TS-0004 6.3.4.2.39 */
#define RECORD_ALIGN 4
#define CREDENTIAL_PREFIX "12-" /* TS-0003 10.4: a provisioned key for SAEF */

/* Followed by identity, key and entity-id. */
struct record {
    uint32_t line;
    uint16_t identity_len;
    uint16_t entity_len;
    uint8_t key_len;
    uint8_t entity_kind;
    uint16_t zero;
};

/* `offset` is 0 in an empty slot: records begin at RECORD_ALIGN. */
struct slot {
    uint32_t offset;
    uint32_t hash;
};

struct hf_keyfile {
    uint64_t hash_key[2];
    uint64_t context_key[2];
    bool has_context;
    uint8_t *arena;
    size_t arena_len; /* mapped */
    size_t used;
    struct slot *slots;
    size_t slots_len; /* mapped */
    size_t slot_mask;
    size_t count;
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

/* ---- the table ---------------------------------------------------------------------------- */

static const struct record *record_at(const struct hf_keyfile *keyfile, uint32_t offset)
{
    return (const struct record *)(const void *)(keyfile->arena + offset);
}

/* To the next record. */
static size_t record_stride(const struct record *record)
{
    size_t len =
        sizeof(*record) + record->identity_len + record->key_len + record->entity_len;
    return (len + RECORD_ALIGN - 1) / RECORD_ALIGN * RECORD_ALIGN;
}

static const uint8_t *record_identity(const struct record *record)
{
    return (const uint8_t *)(record + 1);
}

static uint64_t identity_hash(const struct hf_keyfile *keyfile, struct hf_bytes identity)
{
    return hf_siphash(keyfile->hash_key, identity.data, identity.len);
}

/* The slot that holds the identity, or the empty one where it belongs. */
static struct slot *find_slot(const struct hf_keyfile *keyfile, struct hf_bytes identity,
                              uint64_t hash)
{
    for (size_t i = (size_t)hash & keyfile->slot_mask;; i = (i + 1) & keyfile->slot_mask) {
        struct slot *slot = &keyfile->slots[i];
        if (slot->offset == 0)
            return slot;
        if (slot->hash != (uint32_t)(hash >> 32))
            continue;
        const struct record *record = record_at(keyfile, slot->offset);
        if (record->identity_len == identity.len &&
            hf_bytes_equal_public(record_identity(record), identity.data, identity.len))
            return slot;
    }
}

static void *map(size_t len)
{
    void *data =
        mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return data == MAP_FAILED ? NULL : data;
}

/* The table is sized by the lines of the text: at most two thirds of it fill up. */
static enum hf_status table_open(struct hf_keyfile **out, struct hf_bytes text)
{
    size_t line_count = 1;
    for (size_t i = 0; i < text.len; i++)
        line_count += text.data[i] == '\n';
    size_t slot_count = 8;
    while (slot_count / 3 * 2 < line_count)
        slot_count *= 2;
    struct hf_keyfile *keyfile = calloc(1, sizeof(*keyfile));
    if (keyfile == NULL)
        return HF_E_MEMORY;
    keyfile->arena_len = text.len + 64;
    keyfile->slots_len = slot_count * sizeof(struct slot);
    keyfile->slot_mask = slot_count - 1;
    keyfile->arena = map(keyfile->arena_len);
    keyfile->slots = map(keyfile->slots_len);
    if (keyfile->arena == NULL || keyfile->slots == NULL) {
        hf_keyfile_close(keyfile);
        return HF_E_MEMORY;
    }
    hf_crypto_mark_secret_memory(keyfile->arena, keyfile->arena_len);
    keyfile->used = RECORD_ALIGN;
    hf_random(keyfile->hash_key, sizeof(keyfile->hash_key));
    *out = keyfile;
    return HF_OK;
}

void hf_keyfile_close(struct hf_keyfile *keyfile)
{
    if (keyfile == NULL)
        return;
    if (keyfile->arena != NULL) {
        /* A refused line may have left key bytes behind `used`: never more than one record's. */
        size_t dirty = keyfile->used + sizeof(struct record) + IDENTITY_LEN_MAX + HF_PSK_MAX +
                       HF_ENTITY_ID_MAX;
        hf_wipe(keyfile->arena, dirty < keyfile->arena_len ? dirty : keyfile->arena_len);
        munmap(keyfile->arena, keyfile->arena_len);
    }
    if (keyfile->slots != NULL)
        munmap(keyfile->slots, keyfile->slots_len);
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
    if (memchr(line.data, '\0', line.len) != NULL)
        return refuse(parse, "a NUL byte: this is not a text file");
    if (line.len >= 3 && line.data[0] == 0xEF && line.data[1] == 0xBB && line.data[2] == 0xBF)
        return refuse(parse, "a byte order mark: save the file without it");
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

/* Decodes into the free end of the arena; only the last lines here make the record exist. */
static enum hf_status add_record(struct parse *parse, const struct fields *fields)
{
    struct hf_keyfile *keyfile = parse->keyfile;
    uint8_t identity[IDENTITY_LEN_MAX];
    size_t identity_len = 0;
    struct record record = {.line = (uint32_t)parse->line};
    HF_TRY(decode_identity(identity, &identity_len, parse, fields->identity));
    HF_TRY(check_entity(&record.entity_kind, parse, fields));
    uint8_t *at = keyfile->arena + keyfile->used + sizeof(record);
    HF_TRY(decode_key(at + identity_len, &record.key_len, parse, fields->key));

    struct hf_bytes view = {identity, identity_len};
    uint64_t hash = identity_hash(keyfile, view);
    struct slot *slot = find_slot(keyfile, view, hash);
    if (slot->offset != 0) {
        parse->line_first = record_at(keyfile, slot->offset)->line;
        return refuse(parse, "the identity was already given");
    }
    record.identity_len = (uint16_t)identity_len;
    record.entity_len = (uint16_t)fields->entity_id.len;
    memcpy(keyfile->arena + keyfile->used, &record, sizeof(record));
    memcpy(at, identity, identity_len);
    if (record.entity_len > 0)
        memcpy(at + identity_len + record.key_len, fields->entity_id.data, record.entity_len);
    slot->offset = (uint32_t)keyfile->used;
    slot->hash = (uint32_t)(hash >> 32);
    keyfile->used += record_stride(&record);
    keyfile->count++;
    return HF_OK;
}

static bool is_comment(struct hf_bytes line)
{
    size_t i = 0;
    while (i < line.len && (line.data[i] == ' ' || line.data[i] == '\t'))
        i++;
    if (i == line.len)
        return true;
    return line.data[0] == '#' && (line.len == 1 || line.data[1] == ' ' || line.data[1] == '\t');
}

static enum hf_status parse_line(struct parse *parse, struct hf_bytes line)
{
    if (line.len > 0 && line.data[line.len - 1] == '\r')
        line.len--;
    if (is_comment(line))
        return memchr(line.data, '\0', line.len) == NULL
                   ? HF_OK
                   : refuse(parse, "a NUL byte: this is not a text file");
    struct fields fields;
    HF_TRY(split_line(&fields, parse, line));
    return add_record(parse, &fields);
}

static enum hf_status parse_text(struct parse *parse, struct hf_bytes text)
{
    while (text.len > 0) {
        const uint8_t *end = memchr(text.data, '\n', text.len);
        struct hf_bytes line = {text.data, end == NULL ? text.len : (size_t)(end - text.data)};
        parse->line++;
        HF_TRY(parse_line(parse, line));
        size_t taken = line.len + (end != NULL);
        text.data += taken;
        text.len -= taken;
    }
    return HF_OK;
}

/* ---- the public face ---------------------------------------------------------------------- */

enum hf_status hf_keyfile_open(struct hf_keyfile **out, char error[HF_KEYFILE_ERROR_MAX],
                               struct hf_bytes text)
{
    *out = NULL;
    error[0] = '\0';
    if (text.len > UINT32_MAX - 64) {
        snprintf(error, HF_KEYFILE_ERROR_MAX, "the text is longer than 4 GiB");
        return HF_E_DECODE;
    }
    struct parse parse = {0};
    enum hf_status status = table_open(&parse.keyfile, text);
    if (status != HF_OK) {
        snprintf(error, HF_KEYFILE_ERROR_MAX, "%s", hf_status_text(status));
        return status;
    }
    status = parse_text(&parse, text);
    if (status == HF_OK) {
        *out = parse.keyfile;
        return HF_OK;
    }
    hf_keyfile_close(parse.keyfile);
    if (parse.line_first != 0)
        snprintf(error, HF_KEYFILE_ERROR_MAX, "line %zu: %s in line %zu", parse.line, parse.reason,
                 parse.line_first);
    else
        snprintf(error, HF_KEYFILE_ERROR_MAX, "line %zu: %s", parse.line, parse.reason);
    return status;
}

size_t hf_keyfile_count(const struct hf_keyfile *keyfile)
{
    return keyfile->count;
}

/* ---- which key it was --------------------------------------------------------------------- */

void hf_keyfile_use_context(struct hf_keyfile *keyfile, const uint8_t key[16])
{
    memcpy(keyfile->context_key, key, sizeof(keyfile->context_key));
    keyfile->has_context = true;
}

static uint64_t context_of(const struct hf_keyfile *keyfile, const struct record *record)
{
    const uint16_t lens[4] = {record->identity_len, record->key_len, record->entity_len,
                              record->entity_kind};
    if (!keyfile->has_context)
        return 0;
    const uint64_t key[2] = {keyfile->context_key[0],
                             hf_siphash(keyfile->context_key, lens, sizeof(lens))};
    uint64_t context =
        hf_siphash(key, record_identity(record),
                   (size_t)record->identity_len + record->key_len + record->entity_len);
    return context != 0 ? context : 1;
}

static bool is_same_record(const struct record *a, const struct record *b)
{
    size_t len = (size_t)a->identity_len + a->key_len + a->entity_len;
    return a->identity_len == b->identity_len && a->key_len == b->key_len &&
           a->entity_len == b->entity_len && a->entity_kind == b->entity_kind &&
           hf_ct_equal(record_identity(a), record_identity(b), len);
}

/* The keys of `from` that are not in `to`; of these, ones there under another key only if asked. */
static void compare_one_way(const struct hf_keyfile *from, const struct hf_keyfile *to,
                            bool is_backward, hf_keyfile_differ *differ, void *arg)
{
    for (size_t at = RECORD_ALIGN; at < from->used;) {
        const struct record *record = record_at(from, (uint32_t)at);
        struct hf_bytes identity = {record_identity(record), record->identity_len};
        const struct slot *slot = find_slot(to, identity, identity_hash(to, identity));
        struct hf_keyfile_difference difference = {
            .change = is_backward ? HF_KEYFILE_ADDED : HF_KEYFILE_REMOVED,
            .psk_identity = identity,
            .context = is_backward ? 0 : context_of(from, record),
        };
        if (slot->offset != 0)
            difference.change = HF_KEYFILE_CHANGED;
        bool is_told = slot->offset == 0 ||
                       (!is_backward && !is_same_record(record, record_at(to, slot->offset)));
        if (is_told)
            differ(&difference, arg);
        at += record_stride(record);
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
    const struct slot *slot =
        find_slot(keyfile, psk_identity, identity_hash(keyfile, psk_identity));
    if (slot->offset == 0)
        return;
    const struct record *record = record_at(keyfile, slot->offset);
    const uint8_t *identity = record_identity(record);
    const uint8_t *key = identity + record->identity_len;
    out->kind = HF_ANSWER_PSK;
    out->framework = HF_FRAMEWORK_PROVISIONED_SYMMETRIC_KEY;
    out->entity_kind = (enum hf_entity_kind)record->entity_kind;
    out->suid = SUID_PROVISIONED_KEY_FOR_SAEF;
    out->context = context_of(keyfile, record);
    out->secret = (struct hf_bytes){key, record->key_len};
    out->entity_id = (struct hf_bytes){key + record->key_len, record->entity_len};
    size_t prefix_len = sizeof(CREDENTIAL_PREFIX) - 1;
    memcpy(scratch, CREDENTIAL_PREFIX, prefix_len);
    memcpy(scratch + prefix_len, identity, record->identity_len);
    out->credential_id = (struct hf_bytes){scratch, prefix_len + record->identity_len};
}

/* A session goes on as long as its key is here, and the same. */
static bool is_standing(const struct hf_keyfile *keyfile, const struct hf_request *request)
{
    size_t prefix_len = sizeof(CREDENTIAL_PREFIX) - 1;
    struct hf_bytes id = request->credential_id;
    if (id.len <= prefix_len || !hf_bytes_equal_public(id.data, CREDENTIAL_PREFIX, prefix_len))
        return false;
    struct hf_bytes identity = {id.data + prefix_len, id.len - prefix_len};
    const struct slot *slot = find_slot(keyfile, identity, identity_hash(keyfile, identity));
    return slot->offset != 0 &&
           context_of(keyfile, record_at(keyfile, slot->offset)) == request->context;
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
