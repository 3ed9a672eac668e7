/**
 * transfer_item.h - what is moved of an association, and its fields: <handfast/transfer.h>.
 *
 *     chunk   "HFT", version, entries
 *     entry   kind, record index (4), length (4), fields: codec.h
 */
#ifndef HF_TRANSFER_ITEM_H
#define HF_TRANSFER_ITEM_H

#include "codec.h"
#include "identity.h"

#include <handfast/transfer.h>

#define HF_TRANSFER_HEADER_LEN 4u
#define HF_TRANSFER_HEADER (0x48465400u | HF_TRANSFER_VERSION) /* "HFT", version */

enum hf_transfer_kind {
    HF_TRANSFER_FREE = 1,
    HF_TRANSFER_LIVE = 2,
};

/** What is moved of an association: a copy, taken apart, before it is put into an engine. */
struct hf_transfer_item {
    struct hf_association record; /* numbers only; all indices are worthless elsewhere */
    struct hf_record_key write_key, read_key;
    uint32_t flags; /* as on the wire */
    struct hf_path path;
    struct hf_identity identity;
    struct hf_bytes partial; /* TLS: a record under way, or what has not been looked at yet */
    struct hf_bytes peer_cid;
    struct hf_cid_key cid_key;         /* ours was made with it */
    uint8_t is_aside;                  /* its path leads to another: found by its CID alone */
    uint8_t is_unchecked;              /* route.h: what is sent is bounded, */
    uint32_t path_received, path_sent; /* by this */
    uint64_t silent_us;                /* since the peer was last heard */
    uint64_t age_us;                   /* since it was established */
    uint64_t partial_us;               /* since the partial record began */
};

/** hf_transfer_item_live writes or reads all fields of an association, _free those of a free
 * record: its generation, and whether it has to rest. */
void hf_transfer_item_live(struct hf_codec *codec, struct hf_transfer_item *item);
void hf_transfer_item_free(struct hf_codec *codec, struct hf_transfer_item *item);

/** hf_transfer_item_wire_flags gives flags as they are written; _own_flags as they are here. False:
 *  there is one that we do not know. */
uint32_t hf_transfer_item_wire_flags(uint32_t flags);
bool hf_transfer_item_own_flags(uint32_t *out, uint32_t bits);

#endif
