/**
 * pem.c - PEM blocks. The base64 is BoringSSL's, a line at a time.
 */
#include "pem.h"

#include "private.h"

#include <openssl/base64.h>

#include <stdlib.h>
#include <string.h>

#define LINE_CHARS 64
#define LINE_BYTES (LINE_CHARS / 4 * 3)

/* Moves `text` behind the next `mark` and gives what was before it. */
static bool skip_behind(struct hf_bytes *before, struct hf_bytes *text, const char *mark)
{
    size_t len = strlen(mark);
    const uint8_t *found = text->len ? memmem(text->data, text->len, mark, len) : NULL;
    if (!found)
        return false;
    *before = (struct hf_bytes){text->data, (size_t)(found - text->data)};
    *text = (struct hf_bytes){found + len, text->len - before->len - len};
    return true;
}

bool hf__pem_next(struct hf__pem *out, bool *is_bad, struct hf_bytes *text)
{
    struct hf_bytes ignored, end;
    *is_bad = false;
    if (!skip_behind(&ignored, text, "-----BEGIN "))
        return false;
    *is_bad = true;
    if (!skip_behind(&out->label, text, "-----") || !skip_behind(&out->body, text, "-----END ") ||
        !skip_behind(&end, text, "-----"))
        return false;
    *is_bad = false;
    return true;
}

bool hf__pem_label_is(const struct hf__pem *pem, const char *label)
{
    return pem->label.len == strlen(label) &&
           hf_bytes_equal_public(pem->label.data, label, pem->label.len);
}

/* Takes up to a line's worth of characters that are not white space. */
static size_t take_chars(uint8_t out[LINE_CHARS], struct hf_bytes *body)
{
    size_t len = 0;
    while (len < LINE_CHARS && body->len > 0) {
        uint8_t byte = body->data[0];
        *body = (struct hf_bytes){body->data + 1, body->len - 1};
        if (byte != '\n' && byte != '\r' && byte != ' ' && byte != '\t')
            out[len++] = byte;
    }
    return len;
}

enum hf_status hf__pem_decode(struct hf_bytes *out, const struct hf__pem *pem)
{
    struct hf_bytes body = pem->body;
    uint8_t line[LINE_CHARS];
    size_t len = 0, line_len;
    bool is_ended = false; /* by a line that is not full, or padded */
    uint8_t *data = malloc(body.len + LINE_BYTES);
    if (!data)
        return HF_E_MEMORY;
    while ((line_len = take_chars(line, &body)) > 0) {
        size_t decoded;
        if (is_ended || line_len % 4 != 0 ||
            !EVP_DecodeBase64(data + len, &decoded, LINE_BYTES, line, line_len)) {
            free(data);
            return HF_E_CONFIG;
        }
        is_ended = decoded < LINE_BYTES;
        len += decoded;
    }
    *out = (struct hf_bytes){data, len};
    return HF_OK;
}
