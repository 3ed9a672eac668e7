/**
 * certificate_extension.c - the extensions of a certificate (RFC 5280 4.2).
 *
 * What RFC 5280 has us understand is read strictly, critical or not; what restricts a path in ways
 * that are not judged here (policy constraints, Netscape's certificate type, proxy certificates) is
 * refused wherever it stands. The rest is ignored unless it is critical.
 */
#include "certificate.h"

/** What is understood. */
enum extension_kind {
    EXTENSION_OTHER = 0,
    EXTENSION_REFUSED,
    EXTENSION_SUBJECT_KEY_ID,
    EXTENSION_KEY_USAGE,
    EXTENSION_SUBJECT_ALT_NAME,
    EXTENSION_BASIC_CONSTRAINTS,
    EXTENSION_NAME_CONSTRAINTS,
    EXTENSION_DISTRIBUTION_POINTS,
    EXTENSION_POLICIES,
    EXTENSION_AUTHORITY_KEY_ID,
    EXTENSION_EXTENDED_KEY_USAGE,
};

/* id-ce (2.5.29) and the last arc */
static enum extension_kind kind_of_ce(uint8_t arc)
{
    switch (arc) {
    case 14:
        return EXTENSION_SUBJECT_KEY_ID;
    case 15:
        return EXTENSION_KEY_USAGE;
    case 17:
        return EXTENSION_SUBJECT_ALT_NAME;
    case 19:
        return EXTENSION_BASIC_CONSTRAINTS;
    case 30:
        return EXTENSION_NAME_CONSTRAINTS;
    case 31:
        return EXTENSION_DISTRIBUTION_POINTS;
    case 32:
        return EXTENSION_POLICIES;
    case 35:
        return EXTENSION_AUTHORITY_KEY_ID;
    case 37:
        return EXTENSION_EXTENDED_KEY_USAGE;
    case 33: /* policyMappings */
    case 36: /* policyConstraints */
    case 54: /* inhibitAnyPolicy */
        return EXTENSION_REFUSED;
    default:
        return EXTENSION_OTHER;
    }
}

static enum extension_kind kind_of(struct hf_bytes oid)
{
    static const uint8_t netscape[] = {0x60, 0x86, 0x48, 0x01, 0x86, 0xf8, 0x42, 0x01, 0x01};
    static const uint8_t proxy[] = {0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x0e};
    if (oid.len == 3 && oid.data[0] == 0x55 && oid.data[1] == 0x1d)
        return kind_of_ce(oid.data[2]);
    if (hf__bytes_equal(oid, (struct hf_bytes){netscape, sizeof netscape}) ||
        hf__bytes_equal(oid, (struct hf_bytes){proxy, sizeof proxy}))
        return EXTENSION_REFUSED;
    return EXTENSION_OTHER;
}

/* A SEQUENCE that fills `value`; not empty, as all of ours are SIZE (1..MAX) or have a member. */
static bool get_sequence(CBS *out, struct hf_bytes value)
{
    CBS in = hf__der_of(value);
    return CBS_get_asn1(&in, out, CBS_ASN1_SEQUENCE) && CBS_len(&in) == 0 && CBS_len(out) > 0;
}

static bool read_key_usage(struct hf__certificate *out, struct hf_bytes value)
{
    CBS in = hf__der_of(value);
    struct hf_bytes bits;
    if (!hf__der_get(&bits, &in, CBS_ASN1_BITSTRING) || CBS_len(&in) != 0 ||
        !hf__der_is_bits(bits) || bits.len < 2 || bits.len > 3)
        return false;
    out->has_key_usage = true;
    out->key_usage = bits.data[1];
    return true;
}

static bool read_basic_constraints(struct hf__certificate *out, struct hf_bytes value)
{
    CBS in = hf__der_of(value), sequence;
    int is_ca = 0;
    uint64_t path_len;
    if (!CBS_get_asn1(&in, &sequence, CBS_ASN1_SEQUENCE) || CBS_len(&in) != 0)
        return false;
    if (CBS_peek_asn1_tag(&sequence, CBS_ASN1_BOOLEAN) &&
        (!CBS_get_asn1_bool(&sequence, &is_ca) || !is_ca)) /* DER leaves the default out */
        return false;
    out->is_ca = is_ca;
    if (CBS_len(&sequence) == 0)
        return true;
    if (!is_ca || !CBS_get_asn1_uint64(&sequence, &path_len) || path_len > 255 ||
        CBS_len(&sequence) != 0)
        return false;
    out->has_path_len = true;
    out->path_len = (uint8_t)path_len;
    return true;
}

static bool read_extended_key_usage(struct hf__certificate *out, struct hf_bytes value)
{
    static const uint8_t id_kp[] = {0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03};
    CBS sequence;
    struct hf_bytes oid;
    if (!get_sequence(&sequence, value))
        return false;
    while (CBS_len(&sequence) > 0) {
        if (!hf__der_get_oid(&oid, &sequence))
            return false;
        if (oid.len != sizeof id_kp + 1 || !hf_bytes_equal_public(oid.data, id_kp, sizeof id_kp))
            continue;
        out->may_be_server |= oid.data[sizeof id_kp] == 1;
        out->may_be_client |= oid.data[sizeof id_kp] == 2;
    }
    out->has_extended_key_usage = true;
    return true;
}

/* One or more GeneralNames that fill `in`. */
static bool is_general_names(CBS in, size_t names_max)
{
    struct hf__general_name name;
    size_t count = 0;
    while (CBS_len(&in) > 0) {
        if (++count > names_max || !hf__name_get_general(&name, &in, HF__NAME_IN_CERTIFICATE))
            return false;
    }
    return count > 0;
}

static bool read_names(struct hf__certificate *out, struct hf_bytes value)
{
    CBS sequence;
    if (!get_sequence(&sequence, value) || !is_general_names(sequence, HF__NAMES_MAX))
        return false;
    out->names = hf__der_view(&sequence);
    return true;
}

static bool read_constraints(struct hf__certificate *out, struct hf_bytes value)
{
    CBS sequence;
    if (!get_sequence(&sequence, value) || !hf__constraint_is_valid(hf__der_view(&sequence)))
        return false;
    out->constraints = hf__der_view(&sequence);
    return true;
}

static bool read_subject_key_id(struct hf__certificate *out, struct hf_bytes value)
{
    CBS in = hf__der_of(value);
    return hf__der_get(&out->subject_key_id, &in, CBS_ASN1_OCTETSTRING) && CBS_len(&in) == 0 &&
           out->subject_key_id.len > 0;
}

/* GeneralNames of one directoryName: all that an issuer can be compared with. */
static bool read_authority_issuer(struct hf__certificate *out, CBS names)
{
    struct hf__general_name name;
    if (!hf__name_get_general(&name, &names, HF__NAME_IN_CERTIFICATE) || CBS_len(&names) != 0 ||
        name.type != HF__NAME_DIRECTORY)
        return false;
    CBS in = hf__der_of(name.value);
    return hf__name_get(&out->authority_issuer, &in) && !hf__name_is_empty(&out->authority_issuer);
}

bool hf__certificate_read_authority_key(struct hf__certificate *out, struct hf_bytes value)
{
    CBS in = hf__der_of(value), sequence, part;
    int is_present, is_negative;
    if (!CBS_get_asn1(&in, &sequence, CBS_ASN1_SEQUENCE) || CBS_len(&in) != 0 ||
        !CBS_get_optional_asn1(&sequence, &part, &is_present, CBS_ASN1_CONTEXT_SPECIFIC | 0))
        return false;
    if (is_present) {
        out->authority_key_id = hf__der_view(&part);
        if (CBS_len(&part) == 0)
            return false;
    }
    if (!CBS_get_optional_asn1(&sequence, &part, &is_present,
                               CBS_ASN1_CONSTRUCTED | CBS_ASN1_CONTEXT_SPECIFIC | 1) ||
        (is_present && !read_authority_issuer(out, part)) ||
        !CBS_get_optional_asn1(&sequence, &part, &is_present, CBS_ASN1_CONTEXT_SPECIFIC | 2))
        return false;
    if (is_present) {
        out->authority_serial = hf__der_view(&part);
        if (!CBS_is_valid_asn1_integer(&part, &is_negative))
            return false;
    }
    return CBS_len(&sequence) == 0;
}

/* DistributionPoints of full names only: scopes of reasons and indirect CRLs are not judged. */
static bool is_distribution_points(struct hf_bytes value)
{
    CBS sequence, point, wrapper, names;
    if (!get_sequence(&sequence, value))
        return false;
    while (CBS_len(&sequence) > 0) {
        if (!CBS_get_asn1(&sequence, &point, CBS_ASN1_SEQUENCE) ||
            !CBS_get_asn1(&point, &wrapper, CBS_ASN1_CONSTRUCTED | CBS_ASN1_CONTEXT_SPECIFIC | 0) ||
            CBS_len(&point) != 0 ||
            !CBS_get_asn1(&wrapper, &names, CBS_ASN1_CONSTRUCTED | CBS_ASN1_CONTEXT_SPECIFIC | 0) ||
            CBS_len(&wrapper) != 0 || !is_general_names(names, HF__NAMES_MAX))
            return false;
    }
    return true;
}

/* Qualifiers are for people: the address of a statement (RFC 5280 4.2.1.4), no notices. */
static bool is_qualifiers(CBS policy)
{
    static const uint8_t id_qt_cps[] = {0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x02, 0x01};
    CBS qualifiers, qualifier, address;
    struct hf_bytes oid;
    if (CBS_len(&policy) == 0)
        return true;
    if (!CBS_get_asn1(&policy, &qualifiers, CBS_ASN1_SEQUENCE) || CBS_len(&policy) != 0 ||
        CBS_len(&qualifiers) == 0)
        return false;
    while (CBS_len(&qualifiers) > 0) {
        if (!CBS_get_asn1(&qualifiers, &qualifier, CBS_ASN1_SEQUENCE) ||
            !hf__der_get_oid(&oid, &qualifier) ||
            !hf__bytes_equal(oid, (struct hf_bytes){id_qt_cps, sizeof id_qt_cps}) ||
            !CBS_get_asn1(&qualifier, &address, CBS_ASN1_IA5STRING) || CBS_len(&qualifier) != 0)
            return false;
    }
    return true;
}

/* Policies are not judged (none is asked for), but have to be well-formed and distinct. */
static bool is_policies(struct hf_bytes value)
{
    CBS sequence, policy;
    struct hf_bytes oids[HF__NAMES_MAX];
    size_t count = 0;
    if (!get_sequence(&sequence, value))
        return false;
    while (CBS_len(&sequence) > 0) {
        if (count == HF__NAMES_MAX || !CBS_get_asn1(&sequence, &policy, CBS_ASN1_SEQUENCE) ||
            !hf__der_get_oid(&oids[count], &policy) || !is_qualifiers(policy))
            return false;
        for (size_t i = 0; i < count; i++) {
            if (hf__bytes_equal(oids[i], oids[count]))
                return false;
        }
        count++;
    }
    return true;
}

/* May the extension be critical? For the others RFC 5280 says it must not be. */
static bool may_be_critical(enum extension_kind kind)
{
    return kind == EXTENSION_KEY_USAGE || kind == EXTENSION_SUBJECT_ALT_NAME ||
           kind == EXTENSION_BASIC_CONSTRAINTS || kind == EXTENSION_NAME_CONSTRAINTS ||
           kind == EXTENSION_POLICIES || kind == EXTENSION_EXTENDED_KEY_USAGE;
}

static bool read_extension(struct hf__certificate *out, enum extension_kind kind,
                           struct hf_bytes value)
{
    switch (kind) {
    case EXTENSION_SUBJECT_KEY_ID:
        return read_subject_key_id(out, value);
    case EXTENSION_KEY_USAGE:
        return read_key_usage(out, value);
    case EXTENSION_SUBJECT_ALT_NAME:
        return read_names(out, value);
    case EXTENSION_BASIC_CONSTRAINTS:
        return read_basic_constraints(out, value);
    case EXTENSION_NAME_CONSTRAINTS:
        return read_constraints(out, value);
    case EXTENSION_DISTRIBUTION_POINTS:
        return is_distribution_points(value);
    case EXTENSION_POLICIES:
        return is_policies(value);
    case EXTENSION_AUTHORITY_KEY_ID:
        return hf__certificate_read_authority_key(out, value);
    case EXTENSION_EXTENDED_KEY_USAGE:
        return read_extended_key_usage(out, value);
    case EXTENSION_OTHER:
    case EXTENSION_REFUSED:
        break;
    }
    return true;
}

bool hf__certificate_get_extension(struct hf__extension *out, CBS *in)
{
    CBS extension;
    int is_critical = 0;
    if (!CBS_get_asn1(in, &extension, CBS_ASN1_SEQUENCE) || !hf__der_get_oid(&out->oid, &extension))
        return false;
    if (CBS_peek_asn1_tag(&extension, CBS_ASN1_BOOLEAN) &&
        (!CBS_get_asn1_bool(&extension, &is_critical) || !is_critical))
        return false;
    out->is_critical = is_critical;
    return hf__der_get(&out->value, &extension, CBS_ASN1_OCTETSTRING) && CBS_len(&extension) == 0;
}

enum hf_status hf__certificate_read_extensions(struct hf__certificate *out, CBS *in)
{
    CBS sequence;
    struct hf__extension extension;
    struct hf_bytes oids[HF__EXTENSIONS_MAX];
    size_t count = 0;
    bool is_surprising = false;
    if (!CBS_get_asn1(in, &sequence, CBS_ASN1_SEQUENCE) || CBS_len(&sequence) == 0)
        return HF_E_BAD_CERTIFICATE;
    while (CBS_len(&sequence) > 0) {
        if (count == HF__EXTENSIONS_MAX || !hf__certificate_get_extension(&extension, &sequence))
            return HF_E_BAD_CERTIFICATE;
        for (size_t i = 0; i < count; i++) {
            if (hf__bytes_equal(oids[i], extension.oid))
                return HF_E_CERTIFICATE_DUPLICATE_EXTENSION;
        }
        oids[count++] = extension.oid;
        enum extension_kind kind = kind_of(extension.oid);
        is_surprising |=
            kind == EXTENSION_REFUSED || (extension.is_critical && !may_be_critical(kind));
        if (!read_extension(out, kind, extension.value))
            return HF_E_BAD_CERTIFICATE;
    }
    return is_surprising ? HF_E_CERTIFICATE_CRITICAL_EXTENSION : HF_OK;
}
