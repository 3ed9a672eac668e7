/**
 * name_constraint.c - name constraints (RFC 5280 4.2.1.10), judged as X509_verify_cert does, and
 * where it cannot: hardware identifiers in otherName (TS-0003 10.1.1.4), and AE-IDs, which are URIs
 * without a scheme (TS-0001 7.2).
 *
 * What is constrained by a form of name that nobody here understands is refused, never waved
 * through. Each name of a form must be within one permitted subtree of that form, if there is any,
 * and within no excluded one.
 */
#include "certificate.h"

#include "private.h"

#include <string.h>

/** How a name stands to a subtree. */
enum relation { OUTSIDE, INSIDE, UNCLEAR };

#define TAG_PERMITTED (CBS_ASN1_CONSTRUCTED | CBS_ASN1_CONTEXT_SPECIFIC | 0)
#define TAG_EXCLUDED (CBS_ASN1_CONSTRUCTED | CBS_ASN1_CONTEXT_SPECIFIC | 1)

static uint8_t folded(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte;
}

/* Ends `text` with `suffix`, whatever the case of letters? */
static bool ends_with(struct hf_bytes text, struct hf_bytes suffix)
{
    if (text.len < suffix.len)
        return false;
    for (size_t i = 0; i < suffix.len; i++) {
        if (folded(text.data[text.len - suffix.len + i]) != folded(suffix.data[i]))
            return false;
    }
    return true;
}

/* Verifiers differ in what a dot at the end means. */
static bool ends_with_dot(struct hf_bytes name)
{
    return name.len > 0 && name.data[name.len - 1] == '.';
}

static enum relation dns_relation(struct hf_bytes name, struct hf_bytes base)
{
    if (base.len == 0)
        return INSIDE;
    if (memchr(name.data, '*', name.len)) /* it stands for names within and without */
        return UNCLEAR;
    if (ends_with_dot(name) || ends_with_dot(base))
        return UNCLEAR;
    if (!ends_with(name, base))
        return OUTSIDE;
    bool is_whole =
        name.len == base.len || base.data[0] == '.' || name.data[name.len - base.len - 1] == '.';
    return is_whole ? INSIDE : OUTSIDE;
}

/* The host of `[scheme:]//host[/path]`. False for what has no plain host. */
static bool host_of(struct hf_bytes *out, struct hf_bytes uri)
{
    const uint8_t *colon = memchr(uri.data, ':', uri.len);
    size_t skip = colon ? (size_t)(colon - uri.data) + 1 : 0;
    struct hf_bytes rest = {uri.data + skip, uri.len - skip};
    /* a second colon is a port, or somebody who wants the host read in two ways */
    if (rest.len < 3 || rest.data[0] != '/' || rest.data[1] != '/' ||
        (colon && (skip == 1 || memchr(rest.data, ':', rest.len))))
        return false;
    rest = (struct hf_bytes){rest.data + 2, rest.len - 2};
    *out = (struct hf_bytes){rest.data, 0};
    for (; out->len < rest.len && rest.data[out->len] != '/'; out->len++) {
        uint8_t byte = folded(rest.data[out->len]);
        bool is_host = (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') ||
                       byte == '-' || byte == '.';
        if (!is_host)
            return false;
    }
    return out->len > 0;
}

/* A base with a leading dot is all hosts below it, any other is one host. */
static enum relation uri_relation(struct hf_bytes uri, struct hf_bytes base)
{
    struct hf_bytes host;
    if (!host_of(&host, uri))
        return UNCLEAR;
    bool is_domain = base.len > 0 && base.data[0] == '.';
    return ends_with(host, base) && (is_domain || host.len == base.len) ? INSIDE : OUTSIDE;
}

static bool starts_with(struct hf_bytes bytes, struct hf_bytes prefix)
{
    return bytes.len >= prefix.len && hf_bytes_equal_public(bytes.data, prefix.data, prefix.len);
}

/* HardwareModuleName (RFC 4108 5): all modules of a type and those of the types below it, or one.
 */
static enum relation module_relation(struct hf_bytes module, struct hf_bytes base)
{
    CBS left = hf__der_of(module), right = hf__der_of(base);
    struct hf_bytes left_type, left_serial, right_type, right_serial;
    if (!hf__der_get_oid(&left_type, &left) ||
        !hf__der_get(&left_serial, &left, CBS_ASN1_OCTETSTRING) || CBS_len(&left) != 0 ||
        !hf__der_get_oid(&right_type, &right) ||
        !hf__der_get(&right_serial, &right, CBS_ASN1_OCTETSTRING) || CBS_len(&right) != 0)
        return UNCLEAR;
    bool is_within = starts_with(left_type, right_type) &&
                     (right_serial.len == 0 || hf__bytes_equal(left_serial, right_serial));
    return is_within ? INSIDE : OUTSIDE;
}

static bool is_dotted(struct hf_bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] != '.' && (text.data[i] < '0' || text.data[i] > '9'))
            return false;
    }
    return true;
}

/* Arcs below a type-id (TS-0001 Annex H): a shorter run holds all that begin with it. */
static enum relation other_relation(const struct hf__general_name *name,
                                    const struct hf__general_name *base)
{
    if (!hf__bytes_equal(name->oid, base->oid))
        return OUTSIDE;
    if (name->tag != base->tag)
        return UNCLEAR;
    switch (name->tag) {
    case CBS_ASN1_SEQUENCE & 0x1f:
        return module_relation(name->value, base->value);
    case HF__TAG_RELATIVE_OID:
        return starts_with(name->value, base->value) ? INSIDE : OUTSIDE;
    case CBS_ASN1_UTF8STRING:
    case CBS_ASN1_IA5STRING:
    case CBS_ASN1_PRINTABLESTRING:
        if (!is_dotted(name->value) || !is_dotted(base->value))
            return UNCLEAR;
        if (!starts_with(name->value, base->value))
            return OUTSIDE;
        return base->value.len == 0 || name->value.len == base->value.len ||
                       name->value.data[base->value.len] == '.'
                   ? INSIDE
                   : OUTSIDE;
    default:
        return UNCLEAR;
    }
}

static enum relation relation_of(const struct hf__general_name *name,
                                 const struct hf__general_name *base)
{
    switch (name->type) {
    case HF__NAME_DNS:
        return dns_relation(name->value, base->value);
    case HF__NAME_URI:
        return uri_relation(name->value, base->value);
    case HF__NAME_DIRECTORY:
        return hf__name_is_within(name->value, base->value) ? INSIDE : OUTSIDE;
    case HF__NAME_OTHER:
        return other_relation(name, base);
    default:
        return UNCLEAR;
    }
}

/* GeneralSubtree: minimum and maximum have no use and no support (RFC 5280 4.2.1.10). */
static bool get_subtree(struct hf__general_name *out, CBS *in)
{
    CBS subtree;
    return CBS_get_asn1(in, &subtree, CBS_ASN1_SEQUENCE) &&
           hf__name_get_general(out, &subtree, HF__NAME_IN_CONSTRAINT) && CBS_len(&subtree) == 0;
}

/* Goes through subtrees; says what they are to `name` together. */
static enum relation relation_to_all(const struct hf__general_name *name, CBS subtrees,
                                     bool *has_form)
{
    enum relation result = OUTSIDE;
    struct hf__general_name base;
    *has_form = false;
    while (CBS_len(&subtrees) > 0) {
        if (!get_subtree(&base, &subtrees))
            return UNCLEAR;
        if (base.type != name->type)
            continue;
        *has_form = true;
        enum relation relation = relation_of(name, &base);
        if (relation == UNCLEAR)
            return UNCLEAR;
        if (relation == INSIDE)
            result = INSIDE;
    }
    return result;
}

struct constraints {
    CBS permitted, excluded;
};

static bool split(struct constraints *out, struct hf_bytes contents)
{
    CBS in = hf__der_of(contents);
    int is_present;
    *out = (struct constraints){.permitted = {0}};
    return CBS_get_optional_asn1(&in, &out->permitted, &is_present, TAG_PERMITTED) &&
           CBS_get_optional_asn1(&in, &out->excluded, &is_present, TAG_EXCLUDED) &&
           CBS_len(&in) == 0;
}

static enum hf_status check_name(const struct hf__general_name *name,
                                 const struct constraints *constraints)
{
    bool has_form;
    enum relation relation = relation_to_all(name, constraints->permitted, &has_form);
    if (relation == UNCLEAR)
        return HF_E_CERTIFICATE_CONSTRAINT_UNKNOWN;
    if (has_form && relation == OUTSIDE)
        return HF_E_CERTIFICATE_CONSTRAINT;
    relation = relation_to_all(name, constraints->excluded, &has_form);
    if (relation == UNCLEAR)
        return HF_E_CERTIFICATE_CONSTRAINT_UNKNOWN;
    return relation == INSIDE ? HF_E_CERTIFICATE_CONSTRAINT : HF_OK;
}

enum hf_status hf__constraint_check(const struct hf__certificate *certificate,
                                    const struct hf__certificate *issuer)
{
    struct constraints constraints;
    struct hf__general_name name = {.type = HF__NAME_DIRECTORY, .value = certificate->subject.der};
    CBS names = hf__der_of(certificate->names);
    if (issuer->constraints.len == 0)
        return HF_OK;
    if (!split(&constraints, issuer->constraints))
        return HF_E_BAD_CERTIFICATE;
    if (certificate->subject.has_email)
        return HF_E_CERTIFICATE_CONSTRAINT_UNKNOWN; /* would have to be judged as an rfc822Name */
    if (!hf__name_is_empty(&certificate->subject))
        HF__TRY(check_name(&name, &constraints));
    while (CBS_len(&names) > 0) {
        if (!hf__name_get_general(&name, &names, HF__NAME_IN_CERTIFICATE))
            return HF_E_BAD_CERTIFICATE;
        HF__TRY(check_name(&name, &constraints));
    }
    return HF_OK;
}

/* Subtrees, one or more if the field is there at all. */
static bool is_subtrees(CBS subtrees, size_t *count)
{
    struct hf__general_name base;
    while (CBS_len(&subtrees) > 0) {
        if (++*count > HF__SUBTREES_MAX || !get_subtree(&base, &subtrees))
            return false;
    }
    return true;
}

bool hf__constraint_is_valid(struct hf_bytes contents)
{
    struct constraints constraints;
    size_t count = 0;
    return split(&constraints, contents) && is_subtrees(constraints.permitted, &count) &&
           is_subtrees(constraints.excluded, &count) && count > 0;
}
