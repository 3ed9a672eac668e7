/**
 * name.h - distinguished names (X.501) and general names (RFC 5280 4.2.1.6) as they lie in a
 * certificate: checked once, then compared in place. Nothing is copied.
 */
#ifndef HF_NAME_H
#define HF_NAME_H

#include "der.h"

/** The tags of a GeneralName. */
enum hf__name_type {
    HF__NAME_OTHER = 0,
    HF__NAME_RFC822 = 1,
    HF__NAME_DNS = 2,
    HF__NAME_X400 = 3,
    HF__NAME_DIRECTORY = 4,
    HF__NAME_EDI = 5,
    HF__NAME_URI = 6,
    HF__NAME_IP = 7,
    HF__NAME_REGISTERED_ID = 8,
};

/** A GeneralName, in place. */
struct hf__general_name {
    uint8_t type;          /**< enum hf__name_type */
    uint8_t tag;           /**< HF__NAME_OTHER: of the value, always universal */
    struct hf_bytes oid;   /**< HF__NAME_OTHER: the type-id */
    struct hf_bytes value; /**< text, octets, arcs; HF__NAME_OTHER: contents of the value;
                                HF__NAME_DIRECTORY: the Name with its header */
};

/** Where a name stands: a constraint may be an empty text, and has masks with its addresses. */
enum hf__name_place { HF__NAME_IN_CERTIFICATE, HF__NAME_IN_CONSTRAINT };

/** hf__name_get_general reads one. False also for x400Address and ediPartyName. */
HF_MUST_USE bool hf__name_get_general(struct hf__general_name *out, CBS *in,
                                      enum hf__name_place place);

/** A checked distinguished name. */
struct hf__name {
    struct hf_bytes der; /**< with its header; at least 2 bytes */
    uint64_t hash;       /**< of what hf__name_equal() compares */
    bool has_email;      /**< an emailAddress among the attributes */
};

/** hf__name_get reads a Name. Attributes are UTF8String, PrintableString or IA5String of
 *  printing characters: anything else is refused. */
HF_MUST_USE bool hf__name_get(struct hf__name *out, CBS *in);

/** hf__name_is_empty tells whether there is no attribute in it. */
static inline bool hf__name_is_empty(const struct hf__name *name)
{
    return name->der.len <= 2;
}

/** hf__name_equal compares as RFC 5280 7.1 and X509_NAME_cmp do: string types, case of ASCII
 *  letters and runs of blanks do not count. */
HF_MUST_USE bool hf__name_equal(const struct hf__name *a, const struct hf__name *b);

/** hf__name_is_within tells whether `name` begins with all of `base`, compared likewise. Both are
 *  Names with header that hf__name_get() or hf__name_get_general() has taken. */
HF_MUST_USE bool hf__name_is_within(struct hf_bytes name, struct hf_bytes base);

#endif
