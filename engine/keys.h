/**
 * keys.h - from what is shared with the peer to record keys and Finished, the same for both roles
 * and, but for the premaster secret, for every key exchange.
 */
#ifndef HF_KEYS_H
#define HF_KEYS_H

#include "core.h"

/** hf_keys_psk makes the master secret from what the key source has answered, from a decoy where it
 *  refused. */
HF_MUST_USE enum hf_status hf_keys_psk(struct hf_engine *engine,
                                       struct hf_association *association);

/** hf_keys_begin makes both directions' keys from the association's master secret. Server: the
 *  peer's ChangeCipherSpec is due next; call last in a step. */
void hf_keys_begin(struct hf_engine *engine, struct hf_association *association);

/** hf_keys_session_hash takes the hash of all messages so far (RFC 7627 4). */
void hf_keys_session_hash(struct hf_handshake *handshake);

/** hf_keys_verify_data computes what a Finished says of all messages so far (RFC 5246 7.4.9). */
void hf_keys_verify_data(uint8_t out[HF_VERIFY_DATA_LEN], const struct hf_handshake *handshake,
                         const char *label);

/** hf_keys_check_finished judges the peer's Finished. Errors: HF_E_DECODE, HF_E_FINISHED. */
HF_MUST_USE enum hf_status hf_keys_check_finished(const struct hf_handshake *handshake,
                                                  const char *label, struct hf_bytes body);

#endif
