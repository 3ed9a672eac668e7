/**
 * pem.h - PEM blocks (RFC 7468) in a text: found, named and decoded one by one.
 */
#ifndef HF_PEM_H
#define HF_PEM_H

#include "crypto.h"

struct hf__pem {
    struct hf_bytes label; /**< between "BEGIN " and the dashes */
    struct hf_bytes body;  /**< base64, with its white space */
};

/** hf__pem_next gives the next block of `text` and moves on. Text between blocks is skipped. Returns
 *  false at the end; then `*is_bad` tells whether a block was begun and not ended. */
HF_MUST_USE bool hf__pem_next(struct hf__pem *out, bool *is_bad, struct hf_bytes *text);

/** hf__pem_label_is compares a label. */
HF_MUST_USE bool hf__pem_label_is(const struct hf__pem *pem, const char *label);

/** hf__pem_decode gives the bytes of a block. Owns: the caller frees out->data. Errors: HF_E_CONFIG:
 *  no base64; HF_E_MEMORY. */
HF_MUST_USE enum hf_status hf__pem_decode(struct hf_bytes *out, const struct hf__pem *pem);

#endif
