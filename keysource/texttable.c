/**
 * texttable.c - see texttable.h. Invariant: a record's length is bounded by that of its line, so
 * the length of the text bounds the mapping, and nothing is moved once it is in place.
 */
#include "texttable.h"

#include "crypto.h"

#include <string.h>
#include <sys/mman.h>

#define RECORD_ALIGN 4
#define SLACK_LEN 64

static const struct hf_textrecord *record_at(const struct hf_texttable *table, size_t offset)
{
    return (const struct hf_textrecord *)(const void *)(table->arena + offset);
}

/* To the next record. */
static size_t record_stride(const struct hf_textrecord *record)
{
    size_t len = sizeof(*record) + record->name_len + record->value_len;
    return (len + RECORD_ALIGN - 1) / RECORD_ALIGN * RECORD_ALIGN;
}

/* The slot that holds the name, or the empty one where it belongs. */
static struct hf_textslot *find_slot(const struct hf_texttable *table, struct hf_bytes name,
                                     uint64_t hash)
{
    for (size_t i = (size_t)hash & table->slot_mask;; i = (i + 1) & table->slot_mask) {
        struct hf_textslot *slot = &table->slots[i];
        if (slot->offset == 0)
            return slot;
        if (slot->hash != (uint32_t)(hash >> 32))
            continue;
        const struct hf_textrecord *record = record_at(table, slot->offset);
        if (record->name_len == name.len &&
            hf_bytes_equal_public(hf_texttable_name(record), name.data, name.len))
            return slot;
    }
}

static void *map(size_t len)
{
    void *data =
        mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return data == MAP_FAILED ? NULL : data;
}

/* Sized by the lines of the text: at most two thirds of the slots fill up. */
enum hf_status hf_texttable_open(struct hf_texttable *table, struct hf_bytes text, size_t excess)
{
    size_t line_count = 1;
    for (size_t i = 0; i < text.len; i++)
        line_count += text.data[i] == '\n';
    size_t slot_count = 8;
    while (slot_count / 3 * 2 < line_count)
        slot_count *= 2;
    memset(table, 0, sizeof(*table));
    table->arena_len = text.len + line_count * excess + SLACK_LEN;
    if (table->arena_len > UINT32_MAX)
        return HF_E_DECODE;
    table->slots_len = slot_count * sizeof(struct hf_textslot);
    table->slot_mask = slot_count - 1;
    table->arena = map(table->arena_len);
    table->slots = map(table->slots_len);
    if (table->arena == NULL || table->slots == NULL) {
        hf_texttable_close(table);
        return HF_E_MEMORY;
    }
    hf_crypto_mark_secret_memory(table->arena, table->arena_len);
    table->used = RECORD_ALIGN;
    hf_random(table->hash_key, sizeof(table->hash_key));
    return HF_OK;
}

void hf_texttable_close(struct hf_texttable *table)
{
    /* A refused line may have left its bytes behind `used`: never more than a record's. */
    size_t dirty = table->used + sizeof(struct hf_textrecord) + 2 * (size_t)UINT16_MAX;
    if (table->arena != NULL) {
        hf_wipe(table->arena, dirty < table->arena_len ? dirty : table->arena_len);
        munmap(table->arena, table->arena_len);
    }
    if (table->slots != NULL)
        munmap(table->slots, table->slots_len);
    hf_wipe(table, sizeof(*table));
}

uint8_t *hf_texttable_room(struct hf_texttable *table)
{
    return table->arena + table->used + sizeof(struct hf_textrecord);
}

const struct hf_textrecord *hf_texttable_add(struct hf_texttable *table,
                                             const struct hf_textrecord *header)
{
    struct hf_bytes name = {hf_texttable_room(table), header->name_len};
    uint64_t hash = hf_siphash(table->hash_key, name.data, name.len);
    struct hf_textslot *slot = find_slot(table, name, hash);
    if (slot->offset != 0)
        return record_at(table, slot->offset);
    memcpy(table->arena + table->used, header, sizeof(*header));
    slot->offset = (uint32_t)table->used;
    slot->hash = (uint32_t)(hash >> 32);
    table->used += record_stride(header);
    table->count++;
    return NULL;
}

const struct hf_textrecord *hf_texttable_find(const struct hf_texttable *table,
                                              struct hf_bytes name)
{
    const struct hf_textslot *slot =
        find_slot(table, name, hf_siphash(table->hash_key, name.data, name.len));
    return slot->offset == 0 ? NULL : record_at(table, slot->offset);
}

const struct hf_textrecord *hf_texttable_next(const struct hf_texttable *table,
                                              const struct hf_textrecord *record)
{
    size_t at = record == NULL
                    ? RECORD_ALIGN
                    : (size_t)((const uint8_t *)record - table->arena) + record_stride(record);
    return at < table->used ? record_at(table, at) : NULL;
}

/* ---- lines -------------------------------------------------------------------------------- */

enum hf_status hf_texttable_each_line(struct hf_bytes text, hf_texttable_take *take, void *arg)
{
    for (size_t number = 1; text.len > 0; number++) {
        const uint8_t *end = memchr(text.data, '\n', text.len);
        struct hf_bytes line = {text.data, end == NULL ? text.len : (size_t)(end - text.data)};
        size_t taken = line.len + (end != NULL);
        if (line.len > 0 && line.data[line.len - 1] == '\r')
            line.len--;
        enum hf_status status = take(line, number, arg);
        if (status != HF_OK)
            return status;
        text.data += taken;
        text.len -= taken;
    }
    return HF_OK;
}

const char *hf_texttable_line_fault(struct hf_bytes line)
{
    if (line.len > 0 && memchr(line.data, '\0', line.len) != NULL)
        return "a NUL byte: this is not a text file";
    if (line.len >= 3 && line.data[0] == 0xEF && line.data[1] == 0xBB && line.data[2] == 0xBF)
        return "a byte order mark: save the file without it";
    return NULL;
}

bool hf_texttable_is_blank(struct hf_bytes line)
{
    size_t i = 0;
    while (i < line.len && (line.data[i] == ' ' || line.data[i] == '\t'))
        i++;
    return i == line.len;
}
