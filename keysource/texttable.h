/**
 * texttable.h - what a text file of one record a line becomes: one mapping with the records one
 * after the other, found by name through an open-addressed array of hashes keyed afresh for every
 * table (peers choose the names that are looked up). Immutable once it is full. Private.
 */
#ifndef HF_TEXTTABLE_H
#define HF_TEXTTABLE_H

#include <handfast/status.h>

/** Followed by name and value. */
struct hf_textrecord {
    uint32_t line;
    uint16_t name_len;
    uint16_t value_len;
    uint8_t tag[4]; /**< the owner's own */
};

/** `offset` is 0 in an empty slot: records begin behind it. */
struct hf_textslot {
    uint32_t offset;
    uint32_t hash;
};

struct hf_texttable {
    uint64_t hash_key[2];
    uint8_t *arena;
    size_t arena_len; /* mapped */
    size_t used;
    struct hf_textslot *slots;
    size_t slots_len; /* mapped */
    size_t slot_mask;
    size_t count;
};

/** hf_texttable_open makes an empty table with room for a record of each line of `text`, of which
 *  none may be longer than its line by more than `excess` bytes. Secret: kept out of core dumps,
 *  wiped when it closes. Errors: HF_E_MEMORY, HF_E_DECODE (longer than
 *  4 GiB). */
HF_MUST_USE enum hf_status hf_texttable_open(struct hf_texttable *table, struct hf_bytes text,
                                             size_t excess);

/** hf_texttable_close wipes and frees; an all-zero table is allowed. */
void hf_texttable_close(struct hf_texttable *table);

/** hf_texttable_room gives the place where the next record's name, then its value are to be put. */
uint8_t *hf_texttable_room(struct hf_texttable *table);

/** hf_texttable_add makes what lies at the room a record, under this header. NULL: done; otherwise
 *  the record that has the name already, and nothing was added. */
HF_MUST_USE const struct hf_textrecord *hf_texttable_add(struct hf_texttable *table,
                                                         const struct hf_textrecord *header);

/** hf_texttable_find gives the record of that name, or NULL. Thread: any, once it is full. */
const struct hf_textrecord *hf_texttable_find(const struct hf_texttable *table,
                                              struct hf_bytes name);

/** hf_texttable_next gives the record behind `record` (NULL: the first), or NULL, in the order of
 *  the text. */
const struct hf_textrecord *hf_texttable_next(const struct hf_texttable *table,
                                              const struct hf_textrecord *record);

/** hf_texttable_name gives its first byte; the value follows the name. */
static inline const uint8_t *hf_texttable_name(const struct hf_textrecord *record)
{
    return (const uint8_t *)(record + 1);
}

/** Takes one line, without its end; what is not HF_OK ends the reading. */
typedef enum hf_status hf_texttable_take(struct hf_bytes line, size_t number, void *arg);

/** hf_texttable_each_line gives each line to `take`, from 1, without LF or CR LF. */
HF_MUST_USE enum hf_status hf_texttable_each_line(struct hf_bytes text, hf_texttable_take *take,
                                                  void *arg);

/** hf_texttable_line_fault tells why a line cannot be of a text file at all; NULL: it can. */
const char *hf_texttable_line_fault(struct hf_bytes line);

/** hf_texttable_is_blank tells whether nothing but blanks and tabs is there. */
bool hf_texttable_is_blank(struct hf_bytes line);

#endif
