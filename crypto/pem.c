/**
 * pem.c - PEM block by block, by BoringSSL's parser. It frees with a wipe, so keys may pass here.
 */
#include "pem.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/mem.h>
#include <openssl/pem.h>

#include <limits.h>
#include <string.h>

const char *hf__pem_open(struct hf__pem *out, struct hf_bytes text)
{
    out->bio = NULL;
    out->failure = NULL;
    ERR_clear_error();
    if (text.len > INT_MAX)
        out->failure = "a PEM file is too long";
    else
        out->bio = BIO_new_mem_buf(text.data, (int)text.len);
    if (!out->bio && !out->failure)
        out->failure = "out of memory";
    return out->failure;
}

void hf__pem_close(struct hf__pem *pem)
{
    BIO_free(pem->bio);
}

bool hf__pem_next(struct hf__pem_block *out, struct hf__pem *pem)
{
    long len = 0;

    if (PEM_read_bio(pem->bio, &out->name, &out->header, &out->data, &len)) {
        out->len = (size_t)len;
        return true;
    }
    if (ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE)
        ERR_clear_error();
    else
        pem->failure = "a PEM block does not parse";
    return false;
}

void hf__pem_block_wipe(struct hf__pem_block *block)
{
    OPENSSL_free(block->name);
    OPENSSL_free(block->header);
    OPENSSL_free(block->data);
}

bool hf__pem_is(const struct hf__pem_block *block, const char *name)
{
    size_t len = strlen(name);

    return strlen(block->name) == len && hf_bytes_equal_public(block->name, name, len);
}

const char *hf__pem_failure(const struct hf__pem *pem)
{
    return pem->failure;
}
