/**
 * table.c - see table.h. The region for size S lies at memory[S .. 2S), so every size that is ever
 * used has a place of its own and growing needs no allocation.
 */
#include "table.h"

#include "crypto.h"

#include <string.h>
#include <sys/mman.h>

#define HF_TABLE_SIZE_MIN 1024
#define HF_TABLE_PROBES_MAX 192
#define HF_TABLE_MOVES 16 /* old slots emptied at each insertion */
#define HF_PAGE_LEN 4096

/** How many records a region takes before it grows. */
static uint32_t full_at(uint32_t size)
{
    return size / 16 * 13;
}

static uint32_t size_for(uint32_t count_max)
{
    uint32_t size = HF_TABLE_SIZE_MIN;
    while (full_at(size) < count_max)
        size *= 2;
    return size;
}

size_t hf_table_memory(uint32_t count_max)
{
    return 2 * (size_t)size_for(count_max) * sizeof(struct hf_table_slot);
}

void hf_table_init(struct hf_table *table, void *memory, uint32_t count_max, const void *records,
                   size_t stride, size_t key_offset, const uint64_t siphash_key[2])
{
    *table = (struct hf_table){
        .memory = memory,
        .size = HF_TABLE_SIZE_MIN,
        .size_max = size_for(count_max),
        .records = records,
        .stride = stride,
        .key_offset = key_offset,
        .siphash_key = {siphash_key[0], siphash_key[1]},
    };
    table->slots = table->memory + table->size;
}

static const struct hf_path_key *key_at(const struct hf_table *table, uint32_t index)
{
    const uint8_t *record = table->records + (size_t)index * table->stride;
    return (const struct hf_path_key *)(const void *)(record + table->key_offset);
}

static uint32_t tag_of(const struct hf_table *table, const struct hf_path_key *key)
{
    return (uint32_t)hf_siphash(table->siphash_key, key, sizeof *key);
}

/** From the tag alone, so that nothing that is moved costs a look at its record. */
static uint32_t home_of(uint32_t tag, uint32_t size)
{
    return tag & (size - 1);
}

/** The slot of `key` within one region, NULL when it is not there. */
static struct hf_table_slot *slot_in(const struct hf_table *table, struct hf_table_slot *slots,
                                     uint32_t size, uint32_t tag, const struct hf_path_key *key)
{
    uint32_t at = home_of(tag, size);
    for (uint32_t probe = 0; probe < HF_TABLE_PROBES_MAX; probe++, at = (at + 1) & (size - 1)) {
        struct hf_table_slot *slot = &slots[at];
        if (slot->index == 0)
            return NULL;
        if (slot->tag == tag &&
            hf_bytes_equal_public(key_at(table, slot->index - 1), key, sizeof *key))
            return slot;
    }
    return NULL;
}

static struct hf_table_slot *slot_of(const struct hf_table *table, const struct hf_path_key *key)
{
    uint32_t tag = tag_of(table, key);
    struct hf_table_slot *slot = slot_in(table, table->slots, table->size, tag, key);
    if (!slot && table->old)
        slot = slot_in(table, table->old, table->old_size, tag, key);
    return slot;
}

uint32_t hf_table_find(const struct hf_table *table, const struct hf_path_key *key)
{
    const struct hf_table_slot *slot = slot_of(table, key);
    return slot ? slot->index - 1 : UINT32_MAX;
}

static bool put(struct hf_table *table, uint32_t tag, uint32_t index)
{
    uint32_t at = home_of(tag, table->size);
    for (uint32_t probe = 0; probe < HF_TABLE_PROBES_MAX; probe++) {
        if (table->slots[at].index == 0) {
            table->slots[at] = (struct hf_table_slot){tag, index + 1};
            return true;
        }
        at = (at + 1) & (table->size - 1);
    }
    return false;
}

/** Empties slot `at` of a region and closes the gap behind it (backward shift). */
static void take_out(struct hf_table_slot *slots, uint32_t size, uint32_t at)
{
    uint32_t gap = at;
    for (uint32_t next = (at + 1) & (size - 1); slots[next].index; next = (next + 1) & (size - 1)) {
        uint32_t home = home_of(slots[next].tag, size);
        if (((next - home) & (size - 1)) >= ((next - gap) & (size - 1))) {
            slots[gap] = slots[next];
            gap = next;
        }
    }
    slots[gap] = (struct hf_table_slot){0, 0};
}

/**
 * Moves a few slots of the old region. Slots are emptied by backward shift, never left as holes,
 * so that a probe in the old region still finds what has not moved.
 */
static void move_some(struct hf_table *table, uint32_t moves)
{
    while (table->old && moves-- > 0) {
        if (table->old_at == table->old_size) {
            size_t len = (size_t)table->old_size * sizeof *table->old;
            if (len >= HF_PAGE_LEN)
                (void)madvise(table->old, len, MADV_DONTNEED);
            table->old = NULL;
            return;
        }
        struct hf_table_slot slot = table->old[table->old_at];
        if (slot.index == 0) {
            table->old_at++;
            continue;
        }
        if (!put(table, slot.tag, slot.index - 1))
            return; /* looked up in the old region for as long as it takes */
        take_out(table->old, table->old_size, table->old_at);
    }
}

/** Begins a region of twice the size. False: the last move is not over, or there is none larger. */
static bool grow(struct hf_table *table)
{
    if (table->old || table->size == table->size_max)
        return false;
    table->old = table->slots;
    table->old_size = table->size;
    table->old_at = 0;
    table->size *= 2;
    table->slots = table->memory + table->size;
    return true;
}

bool hf_table_insert(struct hf_table *table, uint32_t index)
{
    uint32_t tag = tag_of(table, key_at(table, index));
    move_some(table, HF_TABLE_MOVES);
    if (table->count >= full_at(table->size))
        (void)grow(table);
    /* A cluster as long as all probes comes up before the region is full, now and then. */
    if (!put(table, tag, index) && !(grow(table) && put(table, tag, index)))
        return false;
    table->count++;
    return true;
}

void hf_table_replace(struct hf_table *table, uint32_t former, uint32_t index)
{
    struct hf_table_slot *slot = slot_of(table, key_at(table, former));
    if (slot && slot->index == former + 1)
        slot->index = index + 1;
}

void hf_table_remove(struct hf_table *table, uint32_t index)
{
    struct hf_table_slot *slot = slot_of(table, key_at(table, index));
    if (!slot || slot->index != index + 1)
        return;
    bool is_old = table->old && slot >= table->old && slot < table->old + table->old_size;
    if (is_old)
        take_out(table->old, table->old_size, (uint32_t)(slot - table->old));
    else
        take_out(table->slots, table->size, (uint32_t)(slot - table->slots));
    table->count--;
}
