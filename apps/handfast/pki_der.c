/**
 * pki_der.c - the contents of extensions, written and read. RFC 5280 4.2.
 *
 * Written with libcrypto's CBB instead of its structures for names: those differ between versions,
 * and know no RELATIVE-OID.
 */
#include "pki.h"

#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/sha.h>

#include <stdlib.h>
#include <string.h>

#define TAG_OTHER (CBS_ASN1_CONTEXT_SPECIFIC | CBS_ASN1_CONSTRUCTED | 0)
#define TAG_DNS (CBS_ASN1_CONTEXT_SPECIFIC | 2)
#define TAG_URI (CBS_ASN1_CONTEXT_SPECIFIC | 6)
#define TAG_REGISTERED_ID (CBS_ASN1_CONTEXT_SPECIFIC | 8)
#define TAG_VALUE (CBS_ASN1_CONTEXT_SPECIFIC | CBS_ASN1_CONSTRUCTED | 0)
#define TAG_PERMITTED (CBS_ASN1_CONTEXT_SPECIFIC | CBS_ASN1_CONSTRUCTED | 0)
#define TAG_EXCLUDED (CBS_ASN1_CONTEXT_SPECIFIC | CBS_ASN1_CONSTRUCTED | 1)
#define TAG_KEY_ID (CBS_ASN1_CONTEXT_SPECIFIC | 0)
#define TAG_RELATIVE_OID 0xdu

/* ---- names -------------------------------------------------------------------------------- */

static bool add_arc(CBB *out, uint64_t arc)
{
    int shift = 63;
    while (shift > 0 && arc >> shift == 0)
        shift -= 7;
    for (; shift >= 0; shift -= 7)
        if (!CBB_add_u8(out, (uint8_t)((arc >> shift & 0x7f) | (shift > 0 ? 0x80 : 0))))
            return false;
    return true;
}

/* X.690 8.20: like an OID, but the first two arcs are not joined. None at all is a constraint's
 * way to say "all below the arc". */
static bool add_relative_oid(CBB *out, const char *text)
{
    CBB body;
    if (!CBB_add_asn1(out, &body, TAG_RELATIVE_OID))
        return false;
    for (const char *at = text; *at != '\0';) {
        char *end;
        if (!add_arc(&body, strtoull(at, &end, 10)))
            return false;
        at = *end == '.' ? end + 1 : end;
    }
    return CBB_flush(out);
}

static bool add_oid(CBB *out, unsigned tag, const char *text)
{
    CBB body;
    return CBB_add_asn1(out, &body, tag) && CBB_add_asn1_oid_from_text(&body, text, strlen(text)) &&
           CBB_flush(out);
}

static bool add_text(CBB *out, unsigned tag, const char *text)
{
    CBB body;
    return CBB_add_asn1(out, &body, tag) &&
           CBB_add_bytes(&body, (const uint8_t *)text, strlen(text)) && CBB_flush(out);
}

bool hf_pki_der_add_name(CBB *out, const struct hf_pki_name *name)
{
    CBB other, value;
    switch (name->kind) {
    case HF_PKI_DNS:
        return add_text(out, TAG_DNS, name->text);
    case HF_PKI_URI:
        return add_text(out, TAG_URI, name->text);
    case HF_PKI_REGISTERED_ID:
        return add_oid(out, TAG_REGISTERED_ID, name->text);
    case HF_PKI_OTHER:
        return CBB_add_asn1(out, &other, TAG_OTHER) &&
               add_oid(&other, CBS_ASN1_OBJECT, name->arc) &&
               CBB_add_asn1(&other, &value, TAG_VALUE) && add_relative_oid(&value, name->text) &&
               CBB_flush(out);
    }
    return false;
}

/* ---- extensions --------------------------------------------------------------------------- */

/* Ends the writing, whatever has become of it. */
static X509_EXTENSION *finish(int nid, bool is_critical, CBB *content, bool is_good)
{
    X509_EXTENSION *extension = NULL;
    ASN1_OCTET_STRING *value = NULL;
    uint8_t *data = NULL;
    size_t len = 0;
    if (is_good && CBB_finish(content, &data, &len) && (value = ASN1_OCTET_STRING_new()) != NULL &&
        ASN1_OCTET_STRING_set(value, data, (int)len))
        extension = X509_EXTENSION_create_by_NID(NULL, nid, is_critical, value);
    CBB_cleanup(content);
    ASN1_OCTET_STRING_free(value);
    OPENSSL_free(data);
    return extension;
}

static bool add_subtrees(CBB *out, unsigned tag, const struct hf_pki_constraint *constraints,
                         uint32_t count, bool is_excluded)
{
    CBB list, subtree;
    bool is_begun = false;
    for (uint32_t i = 0; i < count; i++) {
        if (constraints[i].is_excluded != is_excluded)
            continue;
        if (!is_begun && !CBB_add_asn1(out, &list, tag))
            return false;
        is_begun = true;
        if (!CBB_add_asn1(&list, &subtree, CBS_ASN1_SEQUENCE) ||
            !hf_pki_der_add_name(&subtree, &constraints[i].base) || !CBB_flush(&list))
            return false;
    }
    return CBB_flush(out);
}

X509_EXTENSION *hf_pki_der_constraints(const struct hf_pki_constraint *constraints, uint32_t count)
{
    CBB content, all;
    bool is_good = CBB_init(&content, 256) && CBB_add_asn1(&content, &all, CBS_ASN1_SEQUENCE) &&
                   add_subtrees(&all, TAG_PERMITTED, constraints, count, false) &&
                   add_subtrees(&all, TAG_EXCLUDED, constraints, count, true);
    return finish(NID_name_constraints, true, &content, is_good);
}

X509_EXTENSION *hf_pki_der_san(const struct hf_pki_name *name, bool is_critical)
{
    CBB content, names;
    bool is_good = CBB_init(&content, 256) && CBB_add_asn1(&content, &names, CBS_ASN1_SEQUENCE) &&
                   hf_pki_der_add_name(&names, name);
    return finish(NID_subject_alt_name, is_critical, &content, is_good);
}

X509_EXTENSION *hf_pki_der_basic(int path_len_max)
{
    CBB content, basic;
    bool is_good = CBB_init(&content, 16) && CBB_add_asn1(&content, &basic, CBS_ASN1_SEQUENCE) &&
                   CBB_add_asn1_bool(&basic, 1) &&
                   (path_len_max < 0 || CBB_add_asn1_uint64(&basic, (uint64_t)path_len_max));
    return finish(NID_basic_constraints, true, &content, is_good);
}

/* A named bit list without trailing zeros: keyCertSign and cRLSign, or digitalSignature. */
X509_EXTENSION *hf_pki_der_key_usage(bool is_ca)
{
    static const uint8_t of_ca[2] = {1, 0x06};
    static const uint8_t of_entity[2] = {7, 0x80};
    CBB content, bits;
    bool is_good = CBB_init(&content, 16) && CBB_add_asn1(&content, &bits, CBS_ASN1_BITSTRING) &&
                   CBB_add_bytes(&bits, is_ca ? of_ca : of_entity, 2);
    return finish(NID_key_usage, true, &content, is_good);
}

X509_EXTENSION *hf_pki_der_usage(bool is_server, bool is_client)
{
    CBB content, list;
    bool is_good = CBB_init(&content, 32) && CBB_add_asn1(&content, &list, CBS_ASN1_SEQUENCE) &&
                   (!is_server || add_oid(&list, CBS_ASN1_OBJECT, "1.3.6.1.5.5.7.3.1")) &&
                   (!is_client || add_oid(&list, CBS_ASN1_OBJECT, "1.3.6.1.5.5.7.3.2"));
    return finish(NID_ext_key_usage, false, &content, is_good);
}

bool hf_pki_der_key_id(uint8_t out[HF_PKI_KEY_ID_LEN], const EVP_PKEY *key)
{
    const EC_KEY *ec = EVP_PKEY_get0_EC_KEY(key);
    uint8_t point[65];
    uint8_t digest[SHA256_DIGEST_LENGTH];
    if (ec == NULL || EC_POINT_point2oct(EC_KEY_get0_group(ec), EC_KEY_get0_public_key(ec),
                                         POINT_CONVERSION_UNCOMPRESSED, point, sizeof(point),
                                         NULL) != sizeof(point))
        return false;
    SHA256(point, sizeof(point), digest);
    memcpy(out, digest, HF_PKI_KEY_ID_LEN);
    return true;
}

X509_EXTENSION *hf_pki_der_subject_key(const EVP_PKEY *key)
{
    CBB content, id;
    uint8_t bytes[HF_PKI_KEY_ID_LEN];
    bool is_good = CBB_init(&content, 32) && hf_pki_der_key_id(bytes, key) &&
                   CBB_add_asn1(&content, &id, CBS_ASN1_OCTETSTRING) &&
                   CBB_add_bytes(&id, bytes, sizeof(bytes));
    return finish(NID_subject_key_identifier, false, &content, is_good);
}

X509_EXTENSION *hf_pki_der_authority_key(const uint8_t *id, size_t id_len)
{
    CBB content, authority, bytes;
    bool is_good =
        CBB_init(&content, 32) && CBB_add_asn1(&content, &authority, CBS_ASN1_SEQUENCE) &&
        CBB_add_asn1(&authority, &bytes, TAG_KEY_ID) && CBB_add_bytes(&bytes, id, id_len);
    return finish(NID_authority_key_identifier, false, &content, is_good);
}

X509_EXTENSION *hf_pki_der_crl_number(uint64_t number)
{
    CBB content;
    bool is_good = CBB_init(&content, 16) && CBB_add_asn1_uint64(&content, number);
    return finish(NID_crl_number, false, &content, is_good);
}

X509_EXTENSION *hf_pki_der_reason(int reason)
{
    CBB content, value;
    bool is_good = CBB_init(&content, 16) && CBB_add_asn1(&content, &value, CBS_ASN1_ENUMERATED) &&
                   CBB_add_u8(&value, (uint8_t)reason);
    return finish(NID_crl_reason, false, &content, is_good);
}

/* ---- reading ------------------------------------------------------------------------------ */

static bool read_text(char out[HF_PKI_TEXT_MAX], const CBS *in)
{
    size_t len = CBS_len(in);
    if (len >= HF_PKI_TEXT_MAX)
        return false;
    for (size_t i = 0; i < len; i++) /* an end or a control inside would make it look shorter */
        if (CBS_data(in)[i] <= 0x20 || CBS_data(in)[i] >= 0x7f)
            return false;
    memcpy(out, CBS_data(in), len);
    out[len] = '\0';
    return true;
}

static bool read_oid(char out[HF_PKI_TEXT_MAX], const CBS *in)
{
    char *text = CBS_asn1_oid_to_text(in);
    bool is_good = text != NULL && strlen(text) < HF_PKI_TEXT_MAX;
    if (is_good)
        snprintf(out, HF_PKI_TEXT_MAX, "%s", text);
    OPENSSL_free(text);
    return is_good;
}

static bool read_relative_oid(char out[HF_PKI_TEXT_MAX], CBS in)
{
    size_t used = 0;
    uint8_t byte;
    out[0] = '\0';
    while (CBS_len(&in) > 0) {
        uint64_t arc = 0;
        do {
            bool is_first = arc == 0;
            if (!CBS_get_u8(&in, &byte) || arc >> 57 != 0 || (is_first && byte == 0x80))
                return false;
            arc = arc << 7 | (byte & 0x7f);
        } while (byte & 0x80);
        int len = snprintf(out + used, HF_PKI_TEXT_MAX - used, "%s%llu", used > 0 ? "." : "",
                           (unsigned long long)arc);
        used += (size_t)len;
        if (used >= HF_PKI_TEXT_MAX)
            return false;
    }
    return true;
}

static bool read_other(struct hf_pki_name *out, CBS in)
{
    CBS arc, value, arcs;
    return CBS_get_asn1(&in, &arc, CBS_ASN1_OBJECT) && read_oid(out->arc, &arc) &&
           CBS_get_asn1(&in, &value, TAG_VALUE) && CBS_len(&in) == 0 &&
           CBS_get_asn1(&value, &arcs, TAG_RELATIVE_OID) && CBS_len(&value) == 0 &&
           read_relative_oid(out->text, arcs);
}

static bool read_name(struct hf_pki_name *out, unsigned tag, const CBS *in)
{
    memset(out, 0, sizeof(*out));
    switch (tag) {
    case TAG_DNS:
        out->kind = HF_PKI_DNS;
        return read_text(out->text, in);
    case TAG_URI:
        out->kind = HF_PKI_URI;
        return read_text(out->text, in);
    case TAG_REGISTERED_ID:
        out->kind = HF_PKI_REGISTERED_ID;
        return read_oid(out->text, in);
    case TAG_OTHER:
        out->kind = HF_PKI_OTHER;
        return read_other(out, *in);
    default:
        return false;
    }
}

int hf_pki_der_read_names(struct hf_pki_name *out, int out_max, int *strange, CBS names)
{
    int count = 0;
    *strange = 0;
    while (CBS_len(&names) > 0) {
        CBS content;
        unsigned tag;
        if (!CBS_get_any_asn1(&names, &content, &tag))
            return -1;
        if (count < out_max && read_name(&out[count], tag, &content))
            count++;
        else
            ++*strange;
    }
    return count;
}
