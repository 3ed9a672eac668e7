/**
 * pem.h - PEM block by block. Private to crypto/.
 */
#ifndef HF_PEM_H
#define HF_PEM_H

#include "crypto.h"

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
