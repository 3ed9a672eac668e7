/**
 * table.h - associations by path: open addressing, 8-byte slots, the keys in the records, one
 * owner. Hashed with keyed SipHash because strangers choose the keys; probes are bounded.
 *
 * It doubles as it fills, moving a few slots at each insertion, so that no single datagram pays
 * for it; a small population in a large engine touches little memory.
 */
#ifndef HF_TABLE_H
#define HF_TABLE_H

#include <handfast/base.h>

/** What an association is found by: 24 bytes without holes, hashed and compared as bytes. */
struct hf_path_key {
    uint8_t peer_ip[16];
    uint32_t scope;
    uint16_t peer_port;
    uint16_t local_index; /**< which interned local address and listener */
};

_Static_assert(sizeof(struct hf_path_key) == 24, "hashed as bytes");

struct hf_table_slot {
    uint32_t tag;   /**< lower half of the hash: home, and what tells neighbours apart */
    uint32_t index; /**< record index + 1, 0: empty */
};

struct hf_table {
    struct hf_table_slot *slots; /**< region of the size in use */
    uint32_t size;               /**< power of two */
    uint32_t count;
    struct hf_table_slot *old; /**< region being emptied, NULL: none */
    uint32_t old_size;
    uint32_t old_at; /**< slots below this have moved */
    struct hf_table_slot *memory;
    uint32_t size_max;
    const uint8_t *records;
    size_t stride;
    size_t key_offset;
    uint64_t siphash_key[2];
};

/** hf_table_memory gives the bytes needed for `count_max` records. */
size_t hf_table_memory(uint32_t count_max);

void hf_table_init(struct hf_table *table, void *memory, uint32_t count_max, const void *records,
                   size_t stride, size_t key_offset, const uint64_t siphash_key[2]);

/** hf_table_find gives a record index, UINT32_MAX when there is none. */
uint32_t hf_table_find(const struct hf_table *table, const struct hf_path_key *key);

/** hf_table_insert adds a record whose key is not in the table. False: probes are exhausted, which
 *  for a keyed hash means bad luck; the caller drops. */
HF_MUST_USE bool hf_table_insert(struct hf_table *table, uint32_t index);

/** hf_table_replace lets `index` take the place of `former`, which has an equal key. */
void hf_table_replace(struct hf_table *table, uint32_t former, uint32_t index);

/** hf_table_remove removes the record, if it is there. */
void hf_table_remove(struct hf_table *table, uint32_t index);

#endif
