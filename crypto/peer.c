/**
 * peer.c - who a certificate's holder is.
 *
 * The flavour comes from configuration: the accepted set, or the one that was dialled. Each form of
 * name stands for one flavour - a dNSName for a CSE-ID or an FQDN, a URI with an authority for an
 * AE-ID, other URIs and registered identifiers for a Node-ID, otherName for a device - and exactly
 * one name of the accepted flavours may be there. The common name is never looked at.
 */
#include "peer.h"

#include "private.h"

#include <string.h>

/** A name that may be the peer's. */
struct candidate {
    enum hf_flavour flavour;
    struct hf__general_name name;
};

/** Text under construction; sticky. */
struct text {
    uint8_t *data;
    size_t len;
    size_t max;
    bool is_full;
};

static void add(struct text *text, const void *data, size_t len)
{
    text->is_full |= text->max - text->len < len;
    if (text->is_full)
        return;
    if (len > 0)
        memcpy(text->data + text->len, data, len);
    text->len += len;
}

static void add_number(struct text *text, uint64_t number)
{
    uint8_t digits[20];
    size_t first = sizeof digits;
    do {
        digits[--first] = (uint8_t)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    add(text, digits + first, sizeof digits - first);
}

/* Arcs with dots; of an object identifier the first two share a number (X.690 8.19.4). */
static void add_arcs(struct text *text, struct hf_bytes arcs, bool is_oid)
{
    uint64_t number = 0;
    for (size_t i = 0; i < arcs.len; i++) {
        text->is_full |= number >> 57 != 0;
        number = number << 7 | (arcs.data[i] & 0x7f);
        if (arcs.data[i] & 0x80)
            continue;
        if (is_oid) {
            uint64_t root = number < 80 ? number / 40 : 2;
            add_number(text, root);
            add(text, ".", 1);
            number -= 40 * root;
            is_oid = false;
        }
        add_number(text, number);
        if (i + 1 < arcs.len)
            add(text, ".", 1);
        number = 0;
    }
}

static void add_hex(struct text *text, struct hf_bytes bytes)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes.len; i++) {
        add(text, &digits[bytes.data[i] >> 4], 1);
        add(text, &digits[bytes.data[i] & 15], 1);
    }
}

static uint8_t folded(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte;
}

static void add_folded(struct text *text, struct hf_bytes bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        uint8_t byte = folded(bytes.data[i]);
        add(text, &byte, 1);
    }
}

/* ---- what a name is ------------------------------------------------------------------------- */

/* The part behind "scheme:"; the whole where there is no scheme. */
static struct hf_bytes hierarchical_part(struct hf_bytes uri)
{
    const uint8_t *colon = memchr(uri.data, ':', uri.len);
    if (!colon || uri.data[0] == '/')
        return uri;
    return (struct hf_bytes){colon + 1, uri.len - (size_t)(colon - uri.data) - 1};
}

static bool has_authority(struct hf_bytes uri)
{
    struct hf_bytes rest = hierarchical_part(uri);
    return rest.len >= 2 && rest.data[0] == '/' && rest.data[1] == '/';
}

static bool is_hardware_module(const struct hf__general_name *name)
{
    return hf__der_is(name->oid, "\x2b\x06\x01\x05\x05\x07\x08\x04") &&
           name->tag == (CBS_ASN1_SEQUENCE & 0x1f);
}

/* Digits and single dots within: the arcs of a device below its type-id. */
static bool is_dotted(struct hf_bytes text)
{
    bool was_digit = false;
    for (size_t i = 0; i < text.len; i++) {
        bool is_digit = text.data[i] >= '0' && text.data[i] <= '9';
        if (!is_digit && (text.data[i] != '.' || !was_digit))
            return false;
        was_digit = is_digit;
    }
    return was_digit;
}

static bool is_device(const struct hf__general_name *name)
{
    bool is_text = name->tag == CBS_ASN1_UTF8STRING || name->tag == CBS_ASN1_IA5STRING ||
                   name->tag == CBS_ASN1_PRINTABLESTRING;
    return is_hardware_module(name) || name->tag == HF__TAG_RELATIVE_OID ||
           (is_text && is_dotted(name->value));
}

/* The flavours a name of this form can belong to. */
static uint8_t flavours_of(const struct hf__general_name *name)
{
    switch (name->type) {
    case HF__NAME_DNS:
        return HF_FLAVOUR_CSE_ID | HF_FLAVOUR_FQDN;
    case HF__NAME_URI:
        return has_authority(name->value) ? HF_FLAVOUR_AE_ID : HF_FLAVOUR_NODE_ID;
    case HF__NAME_REGISTERED_ID:
        return HF_FLAVOUR_NODE_ID;
    case HF__NAME_OTHER:
        return is_device(name) ? HF_FLAVOUR_DEVICE : HF_FLAVOUR_NONE;
    default:
        return HF_FLAVOUR_NONE;
    }
}

/* ---- a name as text ------------------------------------------------------------------------- */

static bool write_device(struct text *out, const struct hf__general_name *name)
{
    if (!is_hardware_module(name)) {
        add_arcs(out, name->oid, true);
        add(out, ".", 1);
        if (name->tag == HF__TAG_RELATIVE_OID)
            add_arcs(out, name->value, false);
        else
            add(out, name->value.data, name->value.len);
        return !out->is_full;
    }
    CBS module = hf__der_of(name->value);
    struct hf_bytes type, serial;
    if (!hf__der_get_oid(&type, &module) || !hf__der_get(&serial, &module, CBS_ASN1_OCTETSTRING) ||
        CBS_len(&module) != 0 || serial.len == 0)
        return false;
    add_arcs(out, type, true);
    add(out, "-", 1);
    add_hex(out, serial);
    return !out->is_full;
}

/* The identifier as the standard's own terms have it; false if it is not one of the flavour. */
static bool write_identifier(struct text *out, const struct candidate *candidate)
{
    struct hf_bytes value = candidate->name.value;
    switch (candidate->flavour) {
    case HF_FLAVOUR_CSE_ID:
    case HF_FLAVOUR_FQDN:
        add_folded(out, value);
        return hf__host_is_valid(value) && !out->is_full;
    case HF_FLAVOUR_AE_ID:
        value = hierarchical_part(value);
        add(out, value.data, value.len);
        return value.len > 2 && hf_entity_kind_of(value) == HF_ENTITY_AE && !out->is_full;
    case HF_FLAVOUR_NODE_ID:
        if (candidate->name.type == HF__NAME_REGISTERED_ID)
            add_arcs(out, value, true);
        else
            add(out, value.data, value.len);
        return !out->is_full;
    case HF_FLAVOUR_DEVICE:
        return write_device(out, &candidate->name);
    case HF_FLAVOUR_NONE:
    case HF_FLAVOUR_RAW:
        break;
    }
    return false;
}

static uint8_t credential_type(enum hf_flavour flavour)
{
    switch (flavour) {
    case HF_FLAVOUR_DEVICE:
        return 31;
    case HF_FLAVOUR_CSE_ID:
        return 32;
    case HF_FLAVOUR_AE_ID:
        return 33;
    case HF_FLAVOUR_NODE_ID:
        return 34;
    case HF_FLAVOUR_NONE:
    case HF_FLAVOUR_RAW:
    case HF_FLAVOUR_FQDN:
        break;
    }
    return 0; /* an FQDN belongs to a MAF or MEF: no Credential-ID (TS-0003 10.4) */
}

/* Flavour, entity and Credential-ID of a candidate. */
static bool write_identity(struct hf_peer_identity *out, const struct hf_trust *trust,
                           const struct candidate *candidate)
{
    uint8_t identifier[HF_ENTITY_ID_MAX];
    struct text text = {identifier, 0, sizeof identifier, false};
    struct text credential_id = {out->credential_id, 0, sizeof out->credential_id, false};
    uint8_t type = credential_type(candidate->flavour);
    if (!write_identifier(&text, candidate))
        return false;
    struct hf_bytes value = {identifier, text.len};
    out->flavour = (uint8_t)candidate->flavour;
    out->entity_kind = HF_ENTITY_PENDING;
    out->entity_id_len = 0;
    if (candidate->flavour == HF_FLAVOUR_CSE_ID) {
        out->entity_kind = HF_ENTITY_CSE;
        out->entity_id_len = (uint16_t)hf__trust_cse_id(out->entity_id, trust, value);
        if (out->entity_id_len == 0)
            return false; /* a CSE whose CSE-ID cannot be told is nobody (TS-0003 8.2.1) */
    } else if (candidate->flavour == HF_FLAVOUR_AE_ID || candidate->flavour == HF_FLAVOUR_FQDN) {
        bool is_ae = candidate->flavour == HF_FLAVOUR_AE_ID;
        out->entity_kind = is_ae ? HF_ENTITY_AE : HF_ENTITY_PENDING;
        memcpy(out->entity_id, value.data, value.len);
        out->entity_id_len = (uint16_t)value.len;
    }
    if (type != 0) {
        add_number(&credential_id, type);
        add(&credential_id, "-", 1);
        add(&credential_id, value.data, value.len);
    }
    out->credential_id_len = (uint16_t)credential_id.len;
    return !credential_id.is_full;
}

/* ---- whom we dialled ------------------------------------------------------------------------ */

/* Without regard to case if `found` was derived from a host name, which has none. */
static bool is_same_id(struct hf_bytes found, struct hf_bytes wanted)
{
    if (found.len != wanted.len)
        return false;
    bool is_same = true, is_exact = true, is_lower = true;
    for (size_t i = 0; i < found.len; i++) {
        is_exact &= found.data[i] == wanted.data[i];
        is_same &= found.data[i] == folded(wanted.data[i]);
        is_lower &= found.data[i] == folded(found.data[i]);
    }
    return is_exact || (is_same && is_lower);
}

/* `out` is the candidate's identity. */
static bool is_expected(const struct hf_peer_identity *out, const struct hf_expected_peer *expected)
{
    struct hf_bytes entity_id = {out->entity_id, out->entity_id_len};
    struct hf_bytes value = {out->credential_id, out->credential_id_len};
    struct hf_bytes wanted = expected->entity_id;
    if (value.len >= 3) /* behind the type */
        value = (struct hf_bytes){value.data + 3, value.len - 3};
    switch ((enum hf_flavour)out->flavour) {
    case HF_FLAVOUR_CSE_ID:
        return wanted.len > 0 && is_same_id(wanted.data[0] == '/' ? entity_id : value, wanted);
    case HF_FLAVOUR_FQDN:
        return is_same_id(entity_id, wanted);
    case HF_FLAVOUR_AE_ID:
        return hf__bytes_equal(entity_id, wanted);
    case HF_FLAVOUR_NODE_ID:
    case HF_FLAVOUR_DEVICE:
        return hf__bytes_equal(value, wanted);
    case HF_FLAVOUR_NONE:
    case HF_FLAVOUR_RAW:
        break;
    }
    return false;
}

/* ---- the search ----------------------------------------------------------------------------- */

struct search {
    size_t found_count;
    size_t bad_count;  /**< of the right form, but no identifier */
    size_t else_count; /**< of flavours that are not accepted */
    bool is_mismatch;  /**< somebody, but not the one we dialled */
};

static bool has_wildcard(const struct hf__general_name *name)
{
    return (name->type == HF__NAME_DNS || name->type == HF__NAME_URI) &&
           memchr(name->value.data, '*', name->value.len);
}

/* One name: keeps it in `out` if it is the first that fits. */
static void consider(struct search *search, struct hf_peer_identity *out,
                     const struct hf_trust *trust, const struct candidate *candidate,
                     const struct hf_expected_peer *expected)
{
    struct hf_peer_identity identity = *out;
    if (!write_identity(&identity, trust, candidate)) {
        search->bad_count++;
        return;
    }
    if (expected && !is_expected(&identity, expected)) {
        search->is_mismatch = true;
        return;
    }
    if (expected && search->found_count > 0)
        return; /* the one we dialled, again */
    search->found_count++;
    *out = identity;
    return;
}

static enum hf_status verdict(const struct search *search)
{
    if (search->found_count == 1)
        return HF_OK;
    if (search->found_count > 1)
        return HF_E_CERTIFICATE_AMBIGUOUS;
    if (search->is_mismatch)
        return HF_E_PEER_NAME;
    if (search->bad_count == 0 && search->else_count > 0)
        return HF_E_CERTIFICATE_TYPE;
    return HF_E_CERTIFICATE_IDENTITY;
}

enum hf_status hf__peer_identify(struct hf_peer_identity *out, const struct hf_trust *trust,
                                 const struct hf__certificate *leaf, uint8_t flavours,
                                 const struct hf_expected_peer *expected)
{
    CBS names = hf__der_of(leaf->names);
    struct search search = {0};
    struct candidate candidate;
    while (CBS_len(&names) > 0) {
        if (!hf__name_get_general(&candidate.name, &names, HF__NAME_IN_CERTIFICATE))
            return HF_E_BAD_CERTIFICATE;
        if (has_wildcard(&candidate.name))
            return HF_E_CERTIFICATE_WILDCARD;
        uint8_t all = flavours_of(&candidate.name), wanted = all & flavours;
        search.else_count += all != 0 && wanted == 0;
        if (wanted == (HF_FLAVOUR_CSE_ID | HF_FLAVOUR_FQDN))
            return HF_E_CERTIFICATE_AMBIGUOUS; /* nobody said which */
        candidate.flavour = (enum hf_flavour)wanted;
        if (wanted != 0)
            consider(&search, out, trust, &candidate, expected);
    }
    HF__TRY(verdict(&search));
    if (expected && expected->flavour == HF_FLAVOUR_CSE_ID && expected->entity_id.data[0] == '/')
        memcpy(out->entity_id, expected->entity_id.data, out->entity_id_len); /* our spelling */
    return HF_OK;
}
