/**
 * fragment.h - DTLS handshake fragments: one message is put together at a time, the one whose turn
 * it is; records that come early are kept, whole, in a small bounded store and looked at again when
 * the state has moved (RFC 6347 4.2.2, 4.2.3).
 *
 * Memory per peer is constant whatever arrives; it goes back with the handshake slot.
 */
#ifndef HF_FRAGMENT_H
#define HF_FRAGMENT_H

#include "core.h"

struct hf_fragment {
    uint8_t type;
    uint32_t message_len;
    uint16_t message_seq;
    uint32_t offset;
    struct hf_bytes body;
};

/** hf_fragment_read takes one fragment off the reader. Errors: HF_E_DECODE. */
HF_MUST_USE enum hf_status hf_fragment_read(struct hf_fragment *out, struct hf_reader *reader);

/** hf_fragment_add puts a fragment of the message that is due into place. Out: the whole body once
 *  complete, a view of the fragment itself if it holds all, of the slot otherwise. Errors:
 *  HF_WAITING (more to come), HF_DROPPED (inconsistent, counted), HF_E_MESSAGE_TOO_LONG. */
HF_MUST_USE enum hf_status hf_fragment_add(struct hf_bytes *out, struct hf_engine *engine,
                                           struct hf_handshake *handshake,
                                           const struct hf_fragment *fragment);

/** hf_fragment_clear forgets the message under assembly. */
void hf_fragment_clear(struct hf_handshake *handshake);

/** hf_fragment_keep keeps an early record (header and body) for later; one that is already there is
 *  not kept twice. Counts HF_DROP_DEFERRED_FULL when there is no room. */
void hf_fragment_keep(struct hf_engine *engine, struct hf_handshake *handshake,
                      const uint8_t *record, size_t len);

#endif
