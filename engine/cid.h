/**
 * cid.h - connection IDs (RFC 9146): ours are computed and never stored, the peer's lie in slots
 * of a pool that only associations with one, or on the move, touch.
 *
 * Ours, 8 bytes and the node's number where that is configured:
 *
 *     shard | slot, generation: 4 bytes, masked | tag: 3 bytes
 *
 * The tag is a keyed MAC of all else, so that a stranger's CID dies before it has touched the
 * memory of an association; the mask hides how many there are. Neither makes a record authentic:
 * its own MAC does.
 */
#ifndef HF_CID_H
#define HF_CID_H

#include "core.h"

#define HF_CID_BASE_LEN 8
#define HF_CID_OWN_LEN_MAX (HF_CID_BASE_LEN + 8)
#define HF_CID_CHALLENGES_MAX 4

/** How far a change of path has come. */
enum hf_route_state {
    HF_ROUTE_NONE = 0,
    HF_ROUTE_OLD,       /**< the peer is asked at its address */
    HF_ROUTE_NEW,       /**< it is asked at the one its records come from now */
    HF_ROUTE_UNCHECKED, /**< moved, and nobody to ask: what is sent is bounded */
};

/** What an association has only with a peer's CID, or while its path changes. */
struct hf_cid_slot {
    uint32_t next_free;
    uint32_t due_tick; /**< OLD, NEW: when the next step is due */
    uint32_t received; /**< bytes from the new address, in authentic records */
    uint32_t sent;     /**< bytes to it */
    struct hf_path_key candidate;
    uint8_t state; /**< enum hf_route_state */
    uint8_t challenge_count;
    uint8_t len; /**< of the peer's CID */
    uint8_t cid[HF_CID_LEN_MAX];
    uint8_t cookies[HF_CID_CHALLENGES_MAX][8]; /**< the first is for the old address */
};

/** hf_cid_adopt has CIDs be made with the secrets in use now; the keys of earlier ones go on being
 *  recognised. */
void hf_cid_adopt(struct hf_engine *engine);

/** hf_cid_len gives the length of every CID of ours. */
static inline size_t hf_cid_len(const struct hf_engine *engine)
{
    return (size_t)HF_CID_BASE_LEN + engine->config.cid_node_len;
}

/** hf_cid_begin computes the association's CID into terms->own_cid and notes its key. */
void hf_cid_begin(struct hf_engine *engine, struct hf_association *association,
                  struct hf_terms *terms);

/** hf_cid_settle has the association keep what both hellos amount to. */
void hf_cid_settle(struct hf_engine *engine, struct hf_association *association,
                   const struct hf_terms *terms);

/** hf_cid_own writes the association's own CID and gives its length, 0 without. */
size_t hf_cid_own(uint8_t out[HF_CID_LEN_MAX], const struct hf_engine *engine,
                  const struct hf_association *association);

/** hf_cid_peer gives the peer's CID, empty without. A view of the slot. */
struct hf_bytes hf_cid_peer(const struct hf_engine *engine,
                            const struct hf_association *association);

/** hf_cid_find gives the live association that a CID of ours names; NULL: there is none. In: `cid`
 *  of hf_cid_len() bytes. Cost: two SipHashes for each key of the ring it was not made with. */
struct hf_association *hf_cid_find(const struct hf_engine *engine, const uint8_t *cid);

/** hf_cid_slot_of gives an association's slot, NULL without. */
struct hf_cid_slot *hf_cid_slot_of(const struct hf_engine *engine,
                                   const struct hf_association *association);

/** hf_cid_slot_take gives the association a slot, if it has none; NULL: there is no more. */
struct hf_cid_slot *hf_cid_slot_take(struct hf_engine *engine, struct hf_association *association);

/** hf_cid_slot_rest gives the slot back when nothing is in it. */
void hf_cid_slot_rest(struct hf_engine *engine, struct hf_association *association);

struct hf_transfer_item;

/** hf_cid_take_apart and hf_cid_put_together move what there is of connection IDs and paths; a
 *  check under way begins anew with the next record. */
void hf_cid_take_apart(struct hf_transfer_item *out, const struct hf_engine *engine,
                       const struct hf_association *association);
void hf_cid_put_together(struct hf_engine *engine, struct hf_association *association,
                         const struct hf_transfer_item *item);

/** hf_cid_drop gives it back whatever is in it. */
void hf_cid_drop(struct hf_engine *engine, struct hf_association *association);

#endif
