/**
 * pki_inspect.c - what a certificate says of itself: names, flavour, and where it deviates from
 * the profiles of TS-0003 10.1.1. Judges no signature.
 *
 * A flavour is told from the name here because a tool shows what is there; a daemon never does, it
 * is configured (TS-0003 8.1.2.4).
 */
#include "pki.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>

#include <string.h>
#include <time.h>

#define TAG_PERMITTED (CBS_ASN1_CONTEXT_SPECIFIC | CBS_ASN1_CONSTRUCTED | 0)
#define TAG_EXCLUDED (CBS_ASN1_CONTEXT_SPECIFIC | CBS_ASN1_CONSTRUCTED | 1)

static void fault(struct hf_pki_facts *facts, const char *text)
{
    if (facts->fault_count < (int)(sizeof(facts->faults) / sizeof(facts->faults[0])))
        facts->faults[facts->fault_count++] = text;
}

/* ---- times, digests ----------------------------------------------------------------------- */

int64_t hf_pki_time_s(const ASN1_TIME *time)
{
    int days, seconds;
    ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
    bool is_good = time != NULL && epoch != NULL && ASN1_TIME_diff(&days, &seconds, epoch, time);
    ASN1_TIME_free(epoch);
    ERR_clear_error();
    return is_good ? (int64_t)days * 86400 + seconds : INT64_MIN;
}

/* RFC 4648 5, without padding. */
static void base64url(char *out, const uint8_t *data, size_t len)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint32_t bits = 0;
    int held = 0;
    for (size_t i = 0; i < len; i++) {
        bits = bits << 8 | data[i];
        for (held += 8; held >= 6; held -= 6)
            *out++ = alphabet[bits >> (held - 6) & 63];
    }
    if (held > 0)
        *out++ = alphabet[bits << (6 - held) & 63];
    *out = '\0';
}

bool hf_pki_digest_name(char out[HF_PKI_DIGEST_TEXT_MAX], size_t len, const EVP_PKEY *key)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    char text[48];
    CBB spki;
    uint8_t *data = NULL;
    size_t data_len = 0;
    if (!CBB_init(&spki, 128) || !EVP_marshal_public_key(&spki, key) ||
        !CBB_finish(&spki, &data, &data_len)) {
        CBB_cleanup(&spki);
        return hf_pki_crypto_fail("a digest");
    }
    SHA256(data, data_len, digest);
    OPENSSL_free(data);
    base64url(text, digest, len);
    snprintf(out, HF_PKI_DIGEST_TEXT_MAX, "%s;%s",
             len == 32   ? "sha-256"
             : len == 16 ? "sha-256-128"
                         : "sha-256-120",
             text);
    return true;
}

bool hf_pki_print_digests(FILE *out, const char *indent, const EVP_PKEY *key)
{
    static const size_t lengths[] = {32, 16, 15};
    for (int i = 0; i < 3; i++) {
        char text[HF_PKI_DIGEST_TEXT_MAX];
        if (!hf_pki_digest_name(text, lengths[i], key))
            return false;
        fprintf(out, "%sni:///%s\n", indent, text);
    }
    return fflush(out) == 0;
}

/* ---- extensions --------------------------------------------------------------------------- */

/* Its contents; false: not there, or there twice. */
static bool extension_of(CBS *out, X509 *certificate, int nid)
{
    int index = X509_get_ext_by_NID(certificate, nid, -1);
    if (index < 0 || X509_get_ext_by_NID(certificate, nid, index) >= 0)
        return false;
    X509_EXTENSION *extension = (X509_EXTENSION *)(uintptr_t)X509_get_ext(certificate, index);
    const ASN1_OCTET_STRING *value = X509_EXTENSION_get_data(extension);
    CBS_init(out, ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value));
    return true;
}

static void read_san(struct hf_pki_facts *facts, X509 *certificate)
{
    CBS content, names;
    int strange = 0;
    if (!extension_of(&content, certificate, NID_subject_alt_name))
        return;
    if (CBS_get_asn1(&content, &names, CBS_ASN1_SEQUENCE) && CBS_len(&content) == 0)
        facts->name_count = hf_pki_der_read_names(facts->names, 16, &strange, names);
    if (facts->name_count <= 0)
        fault(facts, "its subjectAltName holds no name that counts");
    else if (strange > 0)
        fault(facts, "its subjectAltName holds other names, too");
    facts->name_count = facts->name_count < 0 ? 0 : facts->name_count;
}

static bool read_subtrees(struct hf_pki_facts *facts, CBS list, bool is_excluded)
{
    while (CBS_len(&list) > 0) {
        CBS subtree;
        int strange;
        struct hf_pki_name base;
        if (!CBS_get_asn1(&list, &subtree, CBS_ASN1_SEQUENCE))
            return false;
        if (hf_pki_der_read_names(&base, 1, &strange, subtree) != 1 || strange > 0 ||
            facts->constraint_count == HF_PKI_CONSTRAINTS_MAX)
            return false;
        facts->constraints[facts->constraint_count++] =
            (struct hf_pki_constraint){.base = base, .is_excluded = is_excluded};
    }
    return true;
}

static void read_constraints(struct hf_pki_facts *facts, X509 *certificate)
{
    CBS content, all, permitted, excluded;
    int has_permitted, has_excluded;
    if (!extension_of(&content, certificate, NID_name_constraints))
        return;
    if (!CBS_get_asn1(&content, &all, CBS_ASN1_SEQUENCE) ||
        !CBS_get_optional_asn1(&all, &permitted, &has_permitted, TAG_PERMITTED) ||
        !CBS_get_optional_asn1(&all, &excluded, &has_excluded, TAG_EXCLUDED) ||
        (has_permitted && !read_subtrees(facts, permitted, false)) ||
        (has_excluded && !read_subtrees(facts, excluded, true)))
        fault(facts, "some of its name constraints are not shown");
}

/* ---- flavours ----------------------------------------------------------------------------- */

static void set_identity(struct hf_pki_facts *facts, enum hf_pki_flavour flavour,
                         const char *number, const char *arc, const char *text)
{
    facts->flavour = flavour;
    facts->has_flavour = true;
    int len =
        snprintf(facts->identity, HF_PKI_TEXT_MAX, "%s%s%s", arc, arc[0] != '\0' ? "." : "", text);
    if (len >= HF_PKI_TEXT_MAX || snprintf(facts->credential_id, HF_PKI_TEXT_MAX, "%s-%s", number,
                                           facts->identity) >= HF_PKI_TEXT_MAX)
        fault(facts, "its identifier is too long to be shown whole");
}

static const char *after_scheme(const char *uri)
{
    return hf_pki_name_has_scheme(uri) ? strchr(uri, ':') + 1 : uri;
}

static void find_flavour(struct hf_pki_facts *facts)
{
    const struct hf_pki_name *name = &facts->names[0];
    if (facts->name_count == 0)
        return;
    if (facts->name_count > 1 && name->kind != HF_PKI_OTHER)
        fault(facts, "it has several names: which is its identity is for the configuration to say");
    switch (name->kind) {
    case HF_PKI_DNS:
        set_identity(facts, HF_PKI_CSE_ID, "32", "", name->text);
        if (!hf_pki_name_is_fqdn(name->text))
            fault(facts, "its dNSName is no FQDN");
        break;
    case HF_PKI_URI:
        if (hf_pki_name_is_ae_id(after_scheme(name->text)))
            set_identity(facts, HF_PKI_AE_ID, "33", "", after_scheme(name->text));
        else
            set_identity(facts, HF_PKI_NODE_ID, "34", "", name->text);
        break;
    case HF_PKI_REGISTERED_ID:
        set_identity(facts, HF_PKI_NODE_ID, "34", "", name->text);
        break;
    case HF_PKI_OTHER:
        set_identity(facts, HF_PKI_DEVICE, "31", name->arc, name->text);
        break;
    }
}

/* ---- the profile -------------------------------------------------------------------------- */

static void check_key(struct hf_pki_facts *facts, X509 *certificate)
{
    EVP_PKEY *key = X509_get_pubkey(certificate);
    const ASN1_BIT_STRING *bits = X509_get0_pubkey_bitstr(certificate);
    if (!hf_pki_key_is_p256(key))
        fault(facts, "its key is not on P-256");
    else if (ASN1_STRING_length(bits) != 65)
        fault(facts, "its key is not an uncompressed point");
    if (X509_get_signature_nid(certificate) != NID_ecdsa_with_SHA256)
        fault(facts, "it is not signed with ECDSA and SHA-256");
    EVP_PKEY_free(key);
    ERR_clear_error();
}

static void check_usage(struct hf_pki_facts *facts, X509 *certificate, bool is_ca)
{
    uint32_t usage = X509_get_key_usage(certificate);
    uint32_t flags = X509_get_extension_flags(certificate);
    if (usage == UINT32_MAX)
        fault(facts, "it has no keyUsage");
    else if ((usage & (is_ca ? KU_KEY_CERT_SIGN : KU_DIGITAL_SIGNATURE)) == 0)
        fault(facts, is_ca ? "its keyUsage does not allow certificates to be signed"
                           : "its keyUsage does not allow digital signatures");
    if (X509_get_version(certificate) != X509_VERSION_3)
        fault(facts, "it is not of version 3");
    if (flags & EXFLAG_INVALID)
        fault(facts, "an extension is malformed");
    if (flags & EXFLAG_CRITICAL)
        fault(facts, "it has a critical extension nobody here knows");
}

static int path_len_of(X509 *certificate)
{
    int critical;
    BASIC_CONSTRAINTS *basic =
        X509_get_ext_d2i(certificate, NID_basic_constraints, &critical, NULL);
    int len = basic != NULL && basic->pathlen != NULL ? (int)ASN1_INTEGER_get(basic->pathlen) : -1;
    BASIC_CONSTRAINTS_free(basic);
    return len;
}

void hf_pki_inspect(struct hf_pki_facts *out, X509 *certificate)
{
    memset(out, 0, sizeof(*out));
    out->path_len_max = path_len_of(certificate);
    bool is_ca = X509_check_ca(certificate) != 0;
    read_constraints(out, certificate);
    if (is_ca) {
        out->flavour = HF_PKI_CA;
        out->has_flavour = true;
    } else {
        read_san(out, certificate);
        find_flavour(out);
        if (!out->has_flavour)
            fault(out, "it has no name of any flavour");
    }
    for (int i = 0; i < out->name_count; i++)
        if (out->names[i].kind != HF_PKI_OTHER && strchr(out->names[i].text, '*') != NULL)
            fault(out, "a wildcard");
    check_key(out, certificate);
    check_usage(out, certificate, is_ca);
    ERR_clear_error();
}

void hf_pki_name_print(char out[2 * HF_PKI_TEXT_MAX], const struct hf_pki_name *name)
{
    static const char *const kinds[] = {
        [HF_PKI_DNS] = "dNSName",
        [HF_PKI_URI] = "URI",
        [HF_PKI_REGISTERED_ID] = "registeredID",
        [HF_PKI_OTHER] = "otherName",
    };
    bool has_both = name->kind == HF_PKI_OTHER && name->text[0] != '\0';
    snprintf(out, 2 * (size_t)HF_PKI_TEXT_MAX, "%s %.500s%s%.500s", kinds[name->kind], name->arc,
             has_both ? "." : "", name->text);
}
