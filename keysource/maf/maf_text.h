/**
 * maf_text.h - identifiers, timestamps and key encodings as a MAF and its clients write them.
 */
#ifndef HF_MAF_TEXT_H
#define HF_MAF_TEXT_H

#include <handfast/keysource.h>

#define HF_MAF_FQDN_MAX 253
#define HF_MAF_RELATIVE_KEY_ID_MAX 128
#define HF_MAF_IDENTITY_MAX (HF_MAF_RELATIVE_KEY_ID_MAX + 1 + HF_MAF_FQDN_MAX)
#define HF_MAF_TIMESTAMP_LEN 15 /* YYYYMMDDThhmmss */

/** What a RelativeKeyID may look like: TS-0003 10.3.5 makes it hexadecimal, 8.8.2.7 lets the MAF
 *  choose it, and 12.2 gives the alphabet. */
enum hf_maf_relative_syntax {
    HF_MAF_RELATIVE_ANY = 0, /**< sec:relKeyID: letters, digits, ". _ -" (the default) */
    HF_MAF_RELATIVE_HEX,     /**< 32 hexadecimal digits and nothing else */
};

/** A Key Identifier, RelativeKeyID@MAF-FQDN (TS-0003 10.3.5). */
struct hf_maf_identity {
    struct hf_bytes relative_key_id;
    struct hf_bytes fqdn;
};

/** hf_maf_text_view gives the bytes of a string. */
struct hf_bytes hf_maf_text_view(const char *text);

/** hf_maf_text_is compares with a string, byte by byte; no secrets. */
HF_MUST_USE bool hf_maf_text_is(struct hf_bytes bytes, const char *text);

/** hf_maf_text_equal and hf_maf_text_equal_folded compare public bytes, the second as ASCII without
 *  regard to case. */
HF_MUST_USE bool hf_maf_text_equal(struct hf_bytes a, struct hf_bytes b);
HF_MUST_USE bool hf_maf_text_equal_folded(struct hf_bytes a, struct hf_bytes b);

/** hf_maf_text_fold copies with ASCII letters in lower case. In: `out` has bytes.len. */
void hf_maf_text_fold(uint8_t *out, struct hf_bytes bytes);

/** hf_maf_text_split splits at the only "@" and checks both halves. Views into `identity`. */
HF_MUST_USE bool hf_maf_text_split(struct hf_maf_identity *out, struct hf_bytes identity,
                                   enum hf_maf_relative_syntax syntax);

/** hf_maf_text_is_relative_key_id, _is_hex_id (32 digits), _is_fqdn (two labels at least, no
 *  trailing dot) and _is_identifier (an absolute or SP-relative CSE-ID or AE-ID, or an AE-ID-Stem:
 *  TS-0001 7.2) judge the grammar. */
HF_MUST_USE bool hf_maf_text_is_relative_key_id(struct hf_bytes text,
                                                enum hf_maf_relative_syntax syntax);
HF_MUST_USE bool hf_maf_text_is_hex_id(struct hf_bytes text);
HF_MUST_USE bool hf_maf_text_is_fqdn(struct hf_bytes text);
HF_MUST_USE bool hf_maf_text_is_identifier(struct hf_bytes text);
/** hf_maf_text_is_absolute: "//FQDN/..." (TS-0001 7.2). */
HF_MUST_USE bool hf_maf_text_is_absolute(struct hf_bytes text);

/** hf_maf_text_read_time reads m2m:timestamp, YYYYMMDDThhmmss[,f{1,6}], UTC (TS-0004 6.3.3). The
 *  fraction is dropped. False: not one, or before 1970. */
HF_MUST_USE bool hf_maf_text_read_time(int64_t *out_s, struct hf_bytes text);

/** hf_maf_text_write_time writes one without fraction, and a NUL. In: 0 <= s < year 10000. */
void hf_maf_text_write_time(char out[HF_MAF_TIMESTAMP_LEN + 1], int64_t s);

/** hf_maf_text_read_key decodes base64 (RFC 4648 4 or 5, with or without padding) or hexadecimal:
 *  text of hexadecimal digits alone whose length is twice that of a key of 16, 24, 32, 48 or 64
 *  bytes is hexadecimal. Secret: in, out and time. False: neither, or over `out_max` bytes. */
HF_MUST_USE bool hf_maf_text_read_key(uint8_t *out, size_t *out_len, size_t out_max,
                                      struct hf_bytes text);

/** hf_maf_text_write_key writes base64 with padding and a NUL. In: `out` has 4 * (len + 2) / 3 + 1
 *  bytes and more. Secret: constant time. */
void hf_maf_text_write_key(char *out, struct hf_bytes key);

/** hf_maf_text_write_hex writes lower-case digits and a NUL; no secrets. */
void hf_maf_text_write_hex(char *out, struct hf_bytes bytes);

#endif
