/**
 * identity.c - see identity.h. The bytes kept are two-byte lengths of entity and credential, one of
 * the server name, the number of revocation handles, then all of them. What fits one of the small
 * blocks has one; the rest is a chain of {next index, 60 bytes}. Which pool an index is for, its
 * two uppermost bits tell.
 */
#include "identity.h"

#define HF_IDENTITY_DATA_LEN (HF_IDENTITY_BLOCK_LEN - 4)
#define HF_IDENTITY_HEAD_LEN 6
#define HF_IDENTITY_CLASS_SHIFT 30
#define HF_IDENTITY_INDEX_MASK ((UINT32_C(1) << HF_IDENTITY_CLASS_SHIFT) - 1)

struct block {
    uint32_t next; /* the pool's link when free, the chain's when used */
    uint8_t data[HF_IDENTITY_DATA_LEN];
};

_Static_assert(sizeof(struct block) == HF_IDENTITY_BLOCK_LEN, "block size");

static struct block *block_at(const struct hf_engine *engine, uint32_t index)
{
    return hf_pool_at(&engine->identities, index);
}

/** Where in an identity we stand. */
struct cursor {
    const struct hf_engine *engine;
    uint8_t *data; /* of the block at hand */
    size_t room, at;
    uint32_t next; /* the block behind it */
};

static struct cursor cursor_open(const struct hf_engine *engine, uint32_t index)
{
    uint32_t small = index >> HF_IDENTITY_CLASS_SHIFT;
    if (small == 0) {
        struct block *block = block_at(engine, index);
        return (struct cursor){engine, block->data, sizeof block->data, 0, block->next};
    }
    const struct hf_pool *pool = &engine->small_identities[small - 1];
    return (struct cursor){engine, hf_pool_at(pool, index & HF_IDENTITY_INDEX_MASK), pool->stride,
                           0, HF_NONE};
}

static void cursor_move(struct cursor *cursor, void *out, const void *in, size_t len)
{
    size_t done = 0;
    while (done < len) {
        if (cursor->at == cursor->room)
            *cursor = cursor_open(cursor->engine, cursor->next);
        size_t part = cursor->room - cursor->at;
        if (part > len - done)
            part = len - done;
        if (out)
            memcpy((uint8_t *)out + done, cursor->data + cursor->at, part);
        else if (in)
            memcpy(cursor->data + cursor->at, (const uint8_t *)in + done, part);
        cursor->at += part;
        done += part;
    }
}

static void cursor_skip(struct cursor *cursor, size_t len)
{
    while (len > cursor->room - cursor->at) {
        len -= cursor->room - cursor->at;
        *cursor = cursor_open(cursor->engine, cursor->next);
    }
    cursor->at += len;
}

/** A block, or a chain of them, for `len` bytes; HF_NONE: there is none left. */
static uint32_t take(struct hf_engine *engine, size_t len)
{
    for (uint32_t small = 0; small < HF_SMALL_IDENTITIES; small++) {
        struct hf_pool *pool = &engine->small_identities[small];
        uint32_t index = len <= pool->stride ? hf_pool_take(pool) : HF_NONE;
        if (index != HF_NONE)
            return (small + 1) << HF_IDENTITY_CLASS_SHIFT | index;
    }
    size_t blocks = (len + HF_IDENTITY_DATA_LEN - 1) / HF_IDENTITY_DATA_LEN;
    uint32_t head = HF_NONE;
    if (engine->identities.count - engine->identities.used < blocks)
        return HF_NONE;
    for (size_t i = 0; i < blocks; i++) {
        uint32_t index = hf_pool_take(&engine->identities);
        block_at(engine, index)->next = head;
        head = index;
    }
    return head;
}

enum hf_status hf_identity_keep(uint32_t *out, struct hf_engine *engine,
                                const struct hf_identity *identity)
{
    size_t len = HF_IDENTITY_HEAD_LEN + identity->entity_id.len + identity->credential_id.len +
                 identity->server_name.len + identity->handles.len;
    uint32_t head = take(engine, len);
    if (head == HF_NONE)
        return HF_E_ASSOCIATION_LIMIT;
    uint8_t lens[HF_IDENTITY_HEAD_LEN] = {
        (uint8_t)(identity->entity_id.len >> 8),
        (uint8_t)identity->entity_id.len,
        (uint8_t)(identity->credential_id.len >> 8),
        (uint8_t)identity->credential_id.len,
        (uint8_t)identity->server_name.len,
        (uint8_t)(identity->handles.len / HF_REVOCATION_HANDLE_LEN),
    };
    struct cursor cursor = cursor_open(engine, head);
    cursor_move(&cursor, NULL, lens, sizeof lens);
    cursor_move(&cursor, NULL, identity->entity_id.data, identity->entity_id.len);
    cursor_move(&cursor, NULL, identity->credential_id.data, identity->credential_id.len);
    cursor_move(&cursor, NULL, identity->server_name.data, identity->server_name.len);
    cursor_move(&cursor, NULL, identity->handles.data, identity->handles.len);
    *out = head;
    return HF_OK;
}

void hf_identity_copy(struct hf_association_info *info, const struct hf_engine *engine,
                      uint32_t head)
{
    if (head == HF_NONE)
        return;
    uint8_t lens[HF_IDENTITY_HEAD_LEN];
    struct cursor cursor = cursor_open(engine, head);
    cursor_move(&cursor, lens, NULL, sizeof lens);
    info->entity_id_len = (uint16_t)(lens[0] << 8 | lens[1]);
    info->credential_id_len = (uint16_t)(lens[2] << 8 | lens[3]);
    info->server_name_len = lens[4];
    cursor_move(&cursor, info->entity_id, NULL, info->entity_id_len);
    cursor_move(&cursor, info->credential_id, NULL, info->credential_id_len);
    cursor_move(&cursor, info->server_name, NULL, info->server_name_len);
}

size_t hf_identity_handles(uint8_t out[HF_CHAIN_DEPTH_MAX * HF_REVOCATION_HANDLE_LEN],
                           const struct hf_engine *engine, uint32_t head)
{
    uint8_t lens[HF_IDENTITY_HEAD_LEN];
    if (head == HF_NONE)
        return 0;
    struct cursor cursor = cursor_open(engine, head);
    cursor_move(&cursor, lens, NULL, sizeof lens);
    cursor_skip(&cursor,
                (size_t)(lens[0] << 8 | lens[1]) + (size_t)(lens[2] << 8 | lens[3]) + lens[4]);
    cursor_move(&cursor, out, NULL, (size_t)lens[5] * HF_REVOCATION_HANDLE_LEN);
    return lens[5];
}

void hf_identity_drop(struct hf_engine *engine, uint32_t head)
{
    uint32_t small = head == HF_NONE ? 0 : head >> HF_IDENTITY_CLASS_SHIFT;
    if (small != 0) {
        struct hf_pool *pool = &engine->small_identities[small - 1];
        hf_wipe(hf_pool_at(pool, head & HF_IDENTITY_INDEX_MASK), pool->stride);
        hf_pool_give(pool, head & HF_IDENTITY_INDEX_MASK);
        return;
    }
    while (head != HF_NONE) {
        struct block *block = block_at(engine, head);
        uint32_t next = block->next;
        hf_wipe(block->data, sizeof block->data);
        hf_pool_give(&engine->identities, head);
        head = next;
    }
}
