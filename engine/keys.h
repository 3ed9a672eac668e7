/**
 * keys.h - from the master secret to record keys, the same for every key exchange.
 */
#ifndef HF_KEYS_H
#define HF_KEYS_H

#include "core.h"

/** hf_keys_begin makes both directions' keys from the association's master secret; the peer's
 *  ChangeCipherSpec is due next. Call last in a step. */
void hf_keys_begin(struct hf_engine *engine, struct hf_association *association);

/** hf_keys_session_hash takes the hash of all messages so far (RFC 7627 4). */
void hf_keys_session_hash(struct hf_handshake *handshake);

#endif
