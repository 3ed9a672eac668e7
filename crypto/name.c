/**
 * name.c - distinguished and general names, read and compared in place.
 *
 * Only strings of ASCII and UTF-8 are taken. So the canonical form that names are compared in needs
 * no conversion: letters folded, blanks collapsed, and it is never written down.
 */
#include "name.h"

static const uint8_t oid_email_address[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x01};

/* The length of the UTF-8 sequence at `text`, 0 if it is none; no noncharacters. */
static size_t utf8_sequence(struct hf_bytes text)
{
    uint8_t first = text.data[0];
    size_t len = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t point = first & (0x7fu >> len);
    if (first < 0xc2 || first > 0xf4 || text.len < len)
        return 0;
    for (size_t i = 1; i < len; i++) {
        if ((text.data[i] & 0xc0) != 0x80)
            return 0;
        point = point << 6 | (text.data[i] & 0x3f);
    }
    bool is_surrogate = point >= 0xd800 && point <= 0xdfff;
    bool is_nothing = (point >= 0xfdd0 && point <= 0xfdef) || (point & 0xfffe) == 0xfffe;
    if (point < least[len] || point > 0x10ffff || is_surrogate || is_nothing)
        return 0;
    return len;
}

static bool is_text(struct hf_bytes text, bool is_utf8)
{
    while (text.len > 0) {
        size_t len = text.data[0] < 0x80 ? text.data[0] >= 0x20 && text.data[0] < 0x7f
                                         : (is_utf8 ? utf8_sequence(text) : 0);
        if (len == 0)
            return false;
        text = (struct hf_bytes){text.data + len, text.len - len};
    }
    return true;
}

/* One attribute of a name. */
struct attribute {
    struct hf_bytes oid;
    struct hf_bytes value;
};

static bool get_attribute(struct attribute *out, CBS *set)
{
    CBS pair, value;
    unsigned tag;
    if (!CBS_get_asn1(set, &pair, CBS_ASN1_SEQUENCE) || !hf__der_get_oid(&out->oid, &pair) ||
        !CBS_get_any_asn1(&pair, &value, &tag) || CBS_len(&pair) != 0)
        return false;
    out->value = hf__der_view(&value);
    return (tag == CBS_ASN1_UTF8STRING && is_text(out->value, true)) ||
           ((tag == CBS_ASN1_PRINTABLESTRING || tag == CBS_ASN1_IA5STRING) &&
            is_text(out->value, false));
}

/* The canonical form of a value, a byte at a time. */
struct folded {
    struct hf_bytes rest;
};

static struct hf_bytes trimmed(struct hf_bytes text)
{
    while (text.len > 0 && text.data[0] == ' ')
        text = (struct hf_bytes){text.data + 1, text.len - 1};
    while (text.len > 0 && text.data[text.len - 1] == ' ')
        text.len--;
    return text;
}

/* The next byte, or -1 at the end. */
static int folded_next(struct folded *value)
{
    if (value->rest.len == 0)
        return -1;
    uint8_t byte = value->rest.data[0];
    do {
        value->rest = (struct hf_bytes){value->rest.data + 1, value->rest.len - 1};
    } while (byte == ' ' && value->rest.data[0] == ' '); /* trimmed: something follows a blank */
    return byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte;
}

static bool is_same_value(struct hf_bytes a, struct hf_bytes b)
{
    struct folded left = {trimmed(a)}, right = {trimmed(b)};
    int byte;
    do {
        byte = folded_next(&left);
        if (byte != folded_next(&right))
            return false;
    } while (byte >= 0);
    return true;
}

/* FNV-1a; the step to the next attribute counts. */
static uint64_t hash_attribute(uint64_t hash, const struct attribute *attribute)
{
    struct folded value = {trimmed(attribute->value)};
    for (int byte = folded_next(&value); byte >= 0; byte = folded_next(&value))
        hash = (hash ^ (uint64_t)byte) * 0x100000001b3u;
    return (hash ^ 0x1ff) * 0x100000001b3u;
}

bool hf__name_get(struct hf__name *out, CBS *in)
{
    CBS sets, set;
    struct attribute attribute;
    *out = (struct hf__name){.hash = 0xcbf29ce484222325u};
    if (!hf__der_get_whole(&out->der, in, CBS_ASN1_SEQUENCE))
        return false;
    sets = hf__der_of(out->der);
    if (!CBS_get_asn1(&sets, &sets, CBS_ASN1_SEQUENCE))
        return false;
    while (CBS_len(&sets) > 0) {
        if (!CBS_get_asn1(&sets, &set, CBS_ASN1_SET) || CBS_len(&set) == 0)
            return false;
        while (CBS_len(&set) > 0) {
            if (!get_attribute(&attribute, &set))
                return false;
            out->hash = hash_attribute(out->hash, &attribute);
            out->has_email |= hf__bytes_equal(
                attribute.oid, (struct hf_bytes){oid_email_address, sizeof oid_email_address});
        }
    }
    return true;
}

/* Both sets have passed get_attribute() before. */
static bool is_same_set(CBS a, CBS b)
{
    struct attribute left, right;
    while (CBS_len(&a) > 0 && CBS_len(&b) > 0) {
        if (!get_attribute(&left, &a) || !get_attribute(&right, &b) ||
            !hf__bytes_equal(left.oid, right.oid) || !is_same_value(left.value, right.value))
            return false;
    }
    return CBS_len(&a) == 0 && CBS_len(&b) == 0;
}

bool hf__name_is_within(struct hf_bytes name, struct hf_bytes base)
{
    CBS name_sets = hf__der_of(name), base_sets = hf__der_of(base), name_set, base_set;
    if (!CBS_get_asn1(&name_sets, &name_sets, CBS_ASN1_SEQUENCE) ||
        !CBS_get_asn1(&base_sets, &base_sets, CBS_ASN1_SEQUENCE))
        return false;
    while (CBS_len(&base_sets) > 0) {
        if (!CBS_get_asn1(&base_sets, &base_set, CBS_ASN1_SET) ||
            !CBS_get_asn1(&name_sets, &name_set, CBS_ASN1_SET) || !is_same_set(name_set, base_set))
            return false;
    }
    return true;
}

bool hf__name_equal(const struct hf__name *a, const struct hf__name *b)
{
    if (hf__bytes_equal(a->der, b->der))
        return true;
    return a->hash == b->hash && hf__name_is_within(a->der, b->der) &&
           hf__name_is_within(b->der, a->der);
}

/* ---- general names -------------------------------------------------------------------------- */

/* An IA5String of printing characters; a blank has no place in a host or URI. */
static bool is_printing(struct hf_bytes text, bool may_be_empty)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] <= 0x20 || text.data[i] >= 0x7f)
            return false;
    }
    return may_be_empty || text.len > 0;
}

/* [0] EXPLICIT ANY, of those types whose contents we know how to check. */
static bool get_other(struct hf__general_name *out, CBS *in)
{
    CBS wrapper, value;
    unsigned tag;
    if (!hf__der_get_oid(&out->oid, in) ||
        !CBS_get_asn1(in, &wrapper, CBS_ASN1_CONSTRUCTED | CBS_ASN1_CONTEXT_SPECIFIC | 0) ||
        CBS_len(in) != 0 || !CBS_get_any_asn1(&wrapper, &value, &tag) || CBS_len(&wrapper) != 0)
        return false;
    out->value = hf__der_view(&value);
    out->tag = (uint8_t)(tag & 0x1f);
    switch (tag) {
    case CBS_ASN1_UTF8STRING:
        return is_text(out->value, true);
    case CBS_ASN1_IA5STRING:
    case CBS_ASN1_PRINTABLESTRING:
        return is_text(out->value, false);
    case CBS_ASN1_OBJECT:
    case HF__TAG_RELATIVE_OID:
        return hf__der_is_arcs(out->value);
    case CBS_ASN1_OCTETSTRING:
    case CBS_ASN1_SEQUENCE:
        return true;
    default:
        return false;
    }
}

static bool is_address_len(size_t len, enum hf__name_place place)
{
    return place == HF__NAME_IN_CERTIFICATE ? len == 4 || len == 16 : len == 8 || len == 32;
}

bool hf__name_get_general(struct hf__general_name *out, CBS *in, enum hf__name_place place)
{
    CBS contents;
    unsigned tag;
    struct hf__name name;
    bool may_be_empty = place == HF__NAME_IN_CONSTRAINT;
    if (!CBS_get_any_asn1(in, &contents, &tag))
        return false;
    *out = (struct hf__general_name){.value = hf__der_view(&contents)};
    out->type = (uint8_t)(tag & 0x1f);
    switch (tag) {
    case CBS_ASN1_CONSTRUCTED | CBS_ASN1_CONTEXT_SPECIFIC | HF__NAME_OTHER:
        return get_other(out, &contents);
    case CBS_ASN1_CONTEXT_SPECIFIC | HF__NAME_RFC822:
    case CBS_ASN1_CONTEXT_SPECIFIC | HF__NAME_DNS:
    case CBS_ASN1_CONTEXT_SPECIFIC | HF__NAME_URI:
        return is_printing(out->value, may_be_empty);
    case CBS_ASN1_CONSTRUCTED | CBS_ASN1_CONTEXT_SPECIFIC | HF__NAME_DIRECTORY:
        if (!hf__name_get(&name, &contents) || CBS_len(&contents) != 0)
            return false;
        out->value = name.der;
        return true;
    case CBS_ASN1_CONTEXT_SPECIFIC | HF__NAME_IP:
        return is_address_len(out->value.len, place);
    case CBS_ASN1_CONTEXT_SPECIFIC | HF__NAME_REGISTERED_ID:
        return hf__der_is_arcs(out->value);
    default:
        return false;
    }
}
