/**
 * keytext.h - the characters of a key file: hexadecimal digits and what prints. Private.
 */
#ifndef HF_KEYTEXT_H
#define HF_KEYTEXT_H

#include <handfast/status.h>

/** Returns what is not HF_OK to the caller. */
#define HF_TRY(call)                                                                               \
    do {                                                                                           \
        enum hf_status try_status = (call);                                                        \
        if (try_status != HF_OK)                                                                   \
            return try_status;                                                                     \
    } while (0)

/** hf_keytext_is_hex tells whether all of `text` is hexadecimal digits, in constant time. */
HF_MUST_USE bool hf_keytext_is_hex(struct hf_bytes text);

/** hf_keytext_decode_hex writes digits.len / 2 bytes. In: an even number of digits, known to be
 *  hexadecimal. Constant time in their values. */
void hf_keytext_decode_hex(uint8_t *out, struct hf_bytes digits);

/** hf_keytext_is_printable tells whether `text` is valid UTF-8 without control characters. */
HF_MUST_USE bool hf_keytext_is_printable(struct hf_bytes text);

#endif
