/**
 * finish.h - what both roles need to end a handshake: secrets, ChangeCipherSpec, verify_data.
 */
#ifndef HF_FINISH_H
#define HF_FINISH_H

#include "core.h"

/** hf_finish_session_hash takes the hash of all messages so far: the last is ClientKeyExchange
 *  (RFC 7627 4). */
void hf_finish_session_hash(struct hf_handshake *handshake);

/** hf_finish_secrets makes the master secret and the keys of both directions from what the key
 *  source has answered, a decoy where it refused. */
HF_MUST_USE enum hf_status hf_finish_secrets(struct hf_engine *engine,
                                             struct hf_association *association);

/** hf_finish_verify_data computes what a Finished says of all messages so far (RFC 5246 7.4.9). */
void hf_finish_verify_data(uint8_t out[HF_VERIFY_DATA_LEN], const struct hf_handshake *handshake,
                           const char *label);

#endif
