/**
 * cid.c - see cid.h.
 */
#include "cid.h"

#include "association.h"
#include "transfer_item.h"

#define HF_CID_TAG_LEN 3
#define HF_CID_PLACE_LEN 4 /* slot and generation */
#define HF_CID_KEY_SHIFT 24

_Static_assert(HF_CID_KEYS_MAX == 16, "the flags name a key with four bits");
_Static_assert(HF_CID_OWN_LEN_MAX <= HF_CID_LEN_MAX, "ours fit where any does");

static void key_init(struct hf_cid_key *key, const struct hf_secret_keys *secret)
{
    memcpy(key->name, secret->ticket_name, sizeof key->name);
    memcpy(key->tag_key, secret->cid_key, sizeof key->tag_key);
    memcpy(key->mask_key, secret->cid_key + sizeof key->tag_key, sizeof key->mask_key);
}

/** How many keys of the ring are filled. */
static uint32_t key_count(const struct hf_cid_keys *keys)
{
    return keys->count < HF_CID_KEYS_MAX ? keys->count : HF_CID_KEYS_MAX;
}

/** Which key of the ring has a name; HF_CID_KEYS_MAX: none. */
static uint32_t key_index(const struct hf_cid_keys *keys, const uint8_t name[HF_TICKET_NAME_LEN])
{
    for (uint32_t i = 0; i < key_count(keys); i++) {
        if (hf_bytes_equal_public(keys->ring[i].name, name, HF_TICKET_NAME_LEN))
            return i;
    }
    return HF_CID_KEYS_MAX;
}

/** Puts a key into the ring, unless it is there, and gives its place. */
static uint32_t key_take(struct hf_cid_keys *keys, const struct hf_cid_key *key)
{
    uint32_t index = key_index(keys, key->name);
    if (index == HF_CID_KEYS_MAX) {
        index = keys->count++ % HF_CID_KEYS_MAX;
        keys->ring[index] = *key;
    }
    return index;
}

void hf_cid_adopt(struct hf_engine *engine)
{
    struct hf_cid_keys *keys = &engine->cid_keys;
    for (uint32_t i = engine->secrets.count; i-- > 0;) { /* the newest last */
        struct hf_cid_key key;
        key_init(&key, &engine->secrets.entries[i]);
        (void)key_take(keys, &key);
        hf_wipe(&key, sizeof key);
    }
}

/** A CID without its node: 1 byte shard, 4 of place, 3 of tag. */
struct base {
    uint8_t shard;
    uint8_t place[HF_CID_PLACE_LEN];
    uint8_t tag[HF_CID_TAG_LEN];
};

_Static_assert(sizeof(struct base) == HF_CID_BASE_LEN, "written as bytes");

static void make_tag(uint8_t out[HF_CID_TAG_LEN], const struct hf_engine *engine,
                     const struct hf_cid_key *key, const struct base *base)
{
    uint8_t input[1 + HF_CID_PLACE_LEN + sizeof engine->config.cid_node];
    size_t node_len = engine->config.cid_node_len;
    input[0] = base->shard;
    memcpy(input + 1, base->place, HF_CID_PLACE_LEN);
    memcpy(input + 1 + HF_CID_PLACE_LEN, engine->config.cid_node, node_len);
    uint64_t mac = hf_siphash(key->tag_key, input, 1 + HF_CID_PLACE_LEN + node_len);
    memcpy(out, &mac, HF_CID_TAG_LEN);
}

/** Its own inverse. */
static void mask_place(struct base *base, const struct hf_cid_key *key)
{
    uint64_t mask = hf_siphash(key->mask_key, base->tag, sizeof base->tag);
    for (size_t i = 0; i < HF_CID_PLACE_LEN; i++)
        base->place[i] ^= (uint8_t)(mask >> (8 * i));
}

static struct base base_of(const struct hf_engine *engine, const struct hf_association *association,
                           const struct hf_cid_key *key)
{
    uint32_t index = hf_association_index(engine, association);
    struct base base = {
        .shard = (uint8_t)engine->config.shard_index,
        .place = {(uint8_t)(index >> 16), (uint8_t)(index >> 8), (uint8_t)index,
                  (uint8_t)association->generation},
    };
    make_tag(base.tag, engine, key, &base);
    mask_place(&base, key);
    return base;
}

static size_t write_own(uint8_t out[HF_CID_LEN_MAX], const struct hf_engine *engine,
                        const struct hf_association *association, uint32_t index)
{
    const struct hf_config *config = &engine->config;
    const struct base base = base_of(engine, association, &engine->cid_keys.ring[index]);
    size_t offset = config->cid_node_offset;
    const uint8_t *bytes = (const uint8_t *)&base;
    memcpy(out, bytes, offset);
    memcpy(out + offset, config->cid_node, config->cid_node_len);
    memcpy(out + offset + config->cid_node_len, bytes + offset, HF_CID_BASE_LEN - offset);
    return hf_cid_len(engine);
}

void hf_cid_begin(struct hf_engine *engine, struct hf_association *association,
                  struct hf_terms *terms)
{
    const struct hf_secrets *secrets = &engine->secrets;
    uint32_t active = hf_secrets_active(secrets, engine->wall_s);
    uint32_t index = key_index(&engine->cid_keys, secrets->entries[active].ticket_name);
    if (index == HF_CID_KEYS_MAX) /* sixteen others have come since */
        index = (engine->cid_keys.count - 1) % HF_CID_KEYS_MAX;
    association->flags &= ~(uint32_t)HF_ASSOCIATION_CID_KEY;
    association->flags |= index << HF_CID_KEY_SHIFT;
    terms->own_cid_len = (uint8_t)write_own(terms->own_cid, engine, association, index);
}

void hf_cid_settle(struct hf_engine *engine, struct hf_association *association,
                   const struct hf_terms *terms)
{
    if (!terms->has_cid)
        return;
    if (terms->own_cid_len > 0)
        association->flags |= HF_ASSOCIATION_CID;
    if (terms->has_rrc)
        association->flags |= HF_ASSOCIATION_RRC;
    if (terms->peer_cid_len == 0)
        return;
    struct hf_cid_slot *slot = hf_cid_slot_take(engine, association);
    HF_ASSERT(slot); /* there are as many as associations */
    slot->len = terms->peer_cid_len;
    memcpy(slot->cid, terms->peer_cid, terms->peer_cid_len);
    /* RFC 9146 5, RFC 8449 4: the type of the content is encrypted with it, and counts. */
    bool is_limited = terms->record_size_limit && terms->record_size_limit < HF_PLAINTEXT_LEN_MAX;
    uint16_t limit = is_limited ? terms->record_size_limit : HF_PLAINTEXT_LEN_MAX;
    if (association->plaintext_len_max > limit - 1)
        association->plaintext_len_max = (uint16_t)(limit - 1);
}

/** Which key of the ring its own CID is made with. */
static uint32_t key_of(const struct hf_association *association)
{
    return (association->flags & (uint32_t)HF_ASSOCIATION_CID_KEY) >> HF_CID_KEY_SHIFT;
}

size_t hf_cid_own(uint8_t out[HF_CID_LEN_MAX], const struct hf_engine *engine,
                  const struct hf_association *association)
{
    if (!(association->flags & HF_ASSOCIATION_CID))
        return 0;
    return write_own(out, engine, association, key_of(association));
}

struct hf_bytes hf_cid_peer(const struct hf_engine *engine,
                            const struct hf_association *association)
{
    const struct hf_cid_slot *slot = hf_cid_slot_of(engine, association);
    return slot ? (struct hf_bytes){slot->cid, slot->len} : (struct hf_bytes){NULL, 0};
}

/** The association a CID names if it was made with this key. */
static struct hf_association *find_with(const struct hf_engine *engine, struct base base,
                                        uint32_t key)
{
    uint8_t tag[HF_CID_TAG_LEN];
    mask_place(&base, &engine->cid_keys.ring[key]);
    make_tag(tag, engine, &engine->cid_keys.ring[key], &base);
    if (!hf_ct_equal(tag, base.tag, HF_CID_TAG_LEN))
        return NULL;
    uint32_t index = (uint32_t)base.place[0] << 16 | (uint32_t)base.place[1] << 8 | base.place[2];
    if (index >= engine->associations.touched)
        return NULL;
    struct hf_association *association = hf_association_at(engine, index);
    bool is_it = association->state != HF_STATE_FREE && hf_is_datagram(association) &&
                 association->flags & HF_ASSOCIATION_CID &&
                 (uint8_t)association->generation == base.place[3];
    return is_it ? association : NULL;
}

struct hf_association *hf_cid_find(const struct hf_engine *engine, const uint8_t *cid)
{
    const struct hf_config *config = &engine->config;
    const struct hf_cid_keys *keys = &engine->cid_keys;
    size_t offset = config->cid_node_offset;
    struct base base;
    memcpy(&base, cid, offset);
    memcpy((uint8_t *)&base + offset, cid + offset + config->cid_node_len,
           HF_CID_BASE_LEN - offset);
    if (base.shard != config->shard_index ||
        !hf_bytes_equal_public(cid + offset, config->cid_node, config->cid_node_len))
        return NULL;
    for (uint32_t i = 0; i < key_count(keys); i++) { /* the newest first */
        struct hf_association *association =
            find_with(engine, base, (keys->count - 1 - i) % HF_CID_KEYS_MAX);
        if (association)
            return association;
    }
    return NULL;
}

uint32_t hf_engine_datagram_shard(const struct hf_engine *engine, const uint8_t *data, size_t len)
{
    const struct hf_config *config = &engine->config;
    enum { CID_AT = HF_DATAGRAM_HEADER_LEN - 2 };
    if (len < CID_AT + hf_cid_len(engine) || data[0] != HF_TYPE_TLS12_CID ||
        !hf_bytes_equal_public(data + CID_AT + config->cid_node_offset, config->cid_node,
                               config->cid_node_len))
        return config->shard_index;
    return data[CID_AT + (config->cid_node_offset == 0 ? config->cid_node_len : 0)];
}

struct hf_cid_slot *hf_cid_slot_of(const struct hf_engine *engine,
                                   const struct hf_association *association)
{
    bool has_one = hf_is_datagram(association) && association->datagram.cid != HF_NONE;
    return has_one ? hf_pool_at(&engine->cids, association->datagram.cid) : NULL;
}

struct hf_cid_slot *hf_cid_slot_take(struct hf_engine *engine, struct hf_association *association)
{
    struct hf_cid_slot *slot = hf_cid_slot_of(engine, association);
    if (slot)
        return slot;
    uint32_t index = hf_pool_take(&engine->cids);
    if (index == HF_NONE)
        return NULL;
    slot = hf_pool_at(&engine->cids, index);
    memset(slot, 0, sizeof *slot);
    association->datagram.cid = index;
    return slot;
}

void hf_cid_slot_rest(struct hf_engine *engine, struct hf_association *association)
{
    const struct hf_cid_slot *slot = hf_cid_slot_of(engine, association);
    if (slot && slot->len == 0 && slot->state == HF_ROUTE_NONE)
        hf_cid_drop(engine, association);
}

void hf_cid_drop(struct hf_engine *engine, struct hf_association *association)
{
    struct hf_cid_slot *slot = hf_cid_slot_of(engine, association);
    if (!slot)
        return;
    hf_wipe(slot, sizeof *slot);
    hf_pool_give(&engine->cids, association->datagram.cid);
    association->datagram.cid = HF_NONE;
}

void hf_cid_take_apart(struct hf_transfer_item *out, const struct hf_engine *engine,
                       const struct hf_association *association)
{
    const struct hf_cid_slot *slot = hf_cid_slot_of(engine, association);
    out->peer_cid = hf_cid_peer(engine, association);
    if (association->flags & HF_ASSOCIATION_CID) {
        out->cid_key = engine->cid_keys.ring[key_of(association)];
        out->is_aside = hf_table_find(&engine->table, &association->path) !=
                        hf_association_index(engine, association);
    }
    if (slot && slot->state == HF_ROUTE_UNCHECKED) {
        out->is_unchecked = true;
        out->path_received = slot->received;
        out->path_sent = slot->sent;
    }
}

void hf_cid_put_together(struct hf_engine *engine, struct hf_association *association,
                         const struct hf_transfer_item *item)
{
    if (association->flags & HF_ASSOCIATION_CID) {
        uint32_t index = key_take(&engine->cid_keys, &item->cid_key);
        association->flags |= index << HF_CID_KEY_SHIFT;
    }
    if (!hf_is_datagram(association) || (item->peer_cid.len == 0 && !item->is_unchecked))
        return;
    struct hf_cid_slot *slot = hf_cid_slot_take(engine, association);
    HF_ASSERT(slot); /* there are as many as associations */
    slot->len = (uint8_t)item->peer_cid.len;
    if (slot->len > 0)
        memcpy(slot->cid, item->peer_cid.data, slot->len);
    if (item->is_unchecked) {
        slot->state = HF_ROUTE_UNCHECKED;
        slot->received = item->path_received;
        slot->sent = item->path_sent;
    }
}
