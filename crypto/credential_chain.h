/**
 * credential_chain.h - our own certificate chain as bytes to send, and what is odd about it; and
 * the reading of PEM. Private to crypto/.
 */
#ifndef HF_CREDENTIAL_CHAIN_H
#define HF_CREDENTIAL_CHAIN_H

#include "p256.h"

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

/** PEM text, read block by block. */
struct hf__pem {
    void *bio;
    const char *failure;
};

struct hf__pem_block {
    char *name;
    char *header; /**< "" unless there are lines like Proc-Type */
    uint8_t *data;
    size_t len;
};

/** hf__pem_open returns NULL, or what is wrong. Close in any case. */
HF_MUST_USE const char *hf__pem_open(struct hf__pem *out, struct hf_bytes text);
void hf__pem_close(struct hf__pem *pem);

/** hf__pem_next gives the next block, to be wiped; false at the end, or at a failure. */
HF_MUST_USE bool hf__pem_next(struct hf__pem_block *out, struct hf__pem *pem);
void hf__pem_block_wipe(struct hf__pem_block *block);

/** hf__pem_is compares the label of a block. */
bool hf__pem_is(const struct hf__pem_block *block, const char *name);

/** hf__pem_failure returns NULL if everything was read, or what is wrong. */
const char *hf__pem_failure(const struct hf__pem *pem);

#endif
