/**
 * der.h - a thin layer over libcrypto's DER reader (CBS): views, object identifiers, times. Strict:
 * what is not DER is refused.
 */
#ifndef HF_DER_H
#define HF_DER_H

#include "crypto.h"

#include <openssl/bytestring.h>

#define HF__TAG_RELATIVE_OID 13u

static inline CBS hf__der_of(struct hf_bytes bytes)
{
    CBS cbs;
    CBS_init(&cbs, bytes.data, bytes.len);
    return cbs;
}

static inline struct hf_bytes hf__der_view(const CBS *cbs)
{
    return (struct hf_bytes){CBS_data(cbs), CBS_len(cbs)};
}

static inline bool hf__bytes_equal(struct hf_bytes a, struct hf_bytes b)
{
    return a.len == b.len && hf_bytes_equal_public(a.data, b.data, a.len);
}

/** hf__der_is tells whether `bytes` are the literal `data`. */
#define hf__der_is(bytes, literal)                                                                 \
    hf__bytes_equal(bytes, (struct hf_bytes){(const uint8_t *)(literal), sizeof(literal) - 1})

/** hf__der_get reads an element of `tag` and gives its contents. */
HF_MUST_USE static inline bool hf__der_get(struct hf_bytes *out, CBS *in, unsigned tag)
{
    CBS contents;
    if (!CBS_get_asn1(in, &contents, tag))
        return false;
    *out = hf__der_view(&contents);
    return true;
}

/** hf__der_get_whole reads an element of `tag` and gives it with its header. */
HF_MUST_USE static inline bool hf__der_get_whole(struct hf_bytes *out, CBS *in, unsigned tag)
{
    CBS element;
    if (!CBS_get_asn1_element(in, &element, tag))
        return false;
    *out = hf__der_view(&element);
    return true;
}

/** hf__der_is_arcs checks a run of base-128 arcs: none empty, none padded, the last one ended. */
static inline bool hf__der_is_arcs(struct hf_bytes arcs)
{
    bool is_first = true; /* of an arc */
    for (size_t i = 0; i < arcs.len; i++) {
        if (is_first && arcs.data[i] == 0x80)
            return false;
        is_first = !(arcs.data[i] & 0x80);
    }
    return arcs.len > 0 && is_first;
}

/** hf__der_get_oid reads an OBJECT IDENTIFIER and gives its contents. */
HF_MUST_USE static inline bool hf__der_get_oid(struct hf_bytes *out, CBS *in)
{
    return hf__der_get(out, in, CBS_ASN1_OBJECT) && hf__der_is_arcs(*out);
}

/** hf__der_is_bits checks the contents of a BIT STRING of named bits: padding is zero. */
static inline bool hf__der_is_bits(struct hf_bytes bits)
{
    CBS cbs = hf__der_of(bits);
    return CBS_is_valid_asn1_bitstring(&cbs);
}

/** hf__der_get_time reads a UTCTime or GeneralizedTime of RFC 5280 4.1.2.5, in UTC seconds. */
HF_MUST_USE bool hf__der_get_time(int64_t *out_s, CBS *in);

/** hf__der_get_signature reads an ECDSA-Sig-Value (RFC 3279 2.2.3) within a BIT STRING as 64 bytes
 *  r || s. Range is not judged but by length. */
HF_MUST_USE bool hf__der_get_signature(uint8_t out[64], CBS *in);

#endif
