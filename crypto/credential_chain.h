/**
 * credential_chain.h - our own certificate chain as bytes to send, and what is odd about it.
 * Private to crypto/.
 */
#ifndef HF_CREDENTIAL_CHAIN_H
#define HF_CREDENTIAL_CHAIN_H

#include "p256.h"
#include "pem.h"

#include <handfast/credential.h>

struct hf__credential_chain {
    uint8_t *message; /**< body of the Certificate message (RFC 5246 7.4.2), or NULL */
    uint32_t message_len;
    uint32_t warnings;
    int64_t not_before_s;
    int64_t not_after_s;
    uint8_t public_key[HF_P256_POINT_LEN];
};

/** hf__credential_chain_open reads the chain. Returns NULL, or what is wrong; then
 *  *is_memory_out tells whether only memory was missing, and there is nothing to close. */
HF_MUST_USE const char *hf__credential_chain_open(struct hf__credential_chain *out,
                                                  bool *is_memory_out, struct hf_bytes pem);
void hf__credential_chain_close(struct hf__credential_chain *chain);

#endif
