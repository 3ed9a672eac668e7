/**
 * pki_name.c - identifiers as text: which are well formed, and what stands for them in a
 * certificate. Knows no certificate.
 */
#include "pki.h"

#include <ctype.h>
#include <string.h>

#define LABEL_LEN_MAX 63
#define FQDN_LEN_MAX 253
#define OID_ARC_LEN_MAX 18 /* decimal digits: fits 63 bits with room */

/* ---- what is well formed ------------------------------------------------------------------ */

static bool is_ldh(char c)
{
    return isalnum((unsigned char)c) || c == '-';
}

static bool is_unreserved(char c)
{
    return isalnum((unsigned char)c) || c == '-' || c == '.' || c == '_' || c == '~';
}

/* How long the label at `text` is; 0: it is none. */
static size_t label_len(const char *text)
{
    size_t len = 0;
    while (is_ldh(text[len]))
        len++;
    if (len == 0 || len > LABEL_LEN_MAX || text[0] == '-' || text[len - 1] == '-')
        return 0;
    return len;
}

bool hf_pki_name_is_fqdn(const char *text)
{
    const char *last = text;
    int labels = 0;
    if (strlen(text) > FQDN_LEN_MAX)
        return false;
    for (const char *at = text;; at++) {
        size_t len = label_len(at);
        if (len == 0)
            return false;
        last = at;
        labels++;
        at += len;
        if (*at == '\0')
            break;
        if (*at != '.')
            return false;
    }
    /* A last label of digits alone would be an IPv4 address. */
    return labels >= 2 && strspn(last, "0123456789") != strlen(last);
}

/* Splits "//sp.example/rest"; NULL: it is not of that form. */
static const char *after_provider(char provider[HF_PKI_TEXT_MAX], const char *text)
{
    const char *slash = strncmp(text, "//", 2) == 0 ? strchr(text + 2, '/') : NULL;
    if (slash == NULL || (size_t)(slash - text) - 2 >= HF_PKI_TEXT_MAX)
        return NULL;
    size_t len = (size_t)(slash - text) - 2;
    memcpy(provider, text + 2, len);
    provider[len] = '\0';
    return hf_pki_name_is_fqdn(provider) ? slash + 1 : NULL;
}

static size_t segment_len(const char *text)
{
    size_t len = 0;
    while (is_unreserved(text[len]))
        len++;
    return len;
}

bool hf_pki_name_is_cse_id(const char *text)
{
    char provider[HF_PKI_TEXT_MAX];
    const char *cse = after_provider(provider, text);
    return cse != NULL && strlen(text) < HF_PKI_TEXT_MAX && segment_len(cse) > 0 &&
           cse[segment_len(cse)] == '\0';
}

bool hf_pki_name_is_ae_id(const char *text)
{
    char provider[HF_PKI_TEXT_MAX];
    const char *at = after_provider(provider, text);
    char kind = 'S'; /* the provider assigned the stem; behind a CSE, its registrar did */
    if (at == NULL || strlen(text) >= HF_PKI_TEXT_MAX)
        return false;
    if (segment_len(at) > 0 && at[segment_len(at)] == '/') {
        at += segment_len(at) + 1;
        kind = 'C';
    }
    return at[0] == kind && segment_len(at) > 1 && at[segment_len(at)] == '\0';
}

bool hf_pki_name_is_oid(const char *text)
{
    int arcs = 0;
    if (strlen(text) >= HF_PKI_TEXT_MAX || text[0] < '0' || text[0] > '2' || text[1] != '.')
        return false;
    for (const char *at = text;; at++) {
        size_t len = strspn(at, "0123456789");
        if (len == 0 || len > OID_ARC_LEN_MAX || (len > 1 && at[0] == '0'))
            return false;
        /* X.660: below the first two roots there are forty arcs. */
        if (arcs == 1 && text[0] < '2' && (len > 2 || (len == 2 && at[0] > '3')))
            return false;
        arcs++;
        at += len;
        if (*at == '\0')
            return arcs >= 2;
        if (*at != '.')
            return false;
    }
}

bool hf_pki_name_has_scheme(const char *text)
{
    size_t len = 0;
    while (isalnum((unsigned char)text[len]) ||
           (len > 0 && strchr("+-.", text[len]) != NULL && text[len] != '\0'))
        len++;
    return len > 0 && isalpha((unsigned char)text[0]) && text[len] == ':';
}

/* What a URI of ours may be made of: RFC 3986 2, without a blank or a control. */
static bool is_uri(const char *text)
{
    for (const char *at = text; *at != '\0'; at++)
        if (!is_unreserved(*at) && strchr(":/?#[]@!$&'()*+,;=%", *at) == NULL)
            return false;
    return hf_pki_name_has_scheme(text) && strlen(text) < HF_PKI_TEXT_MAX;
}

/* ---- what stands for them ----------------------------------------------------------------- */

static bool put(char out[HF_PKI_TEXT_MAX], const char *a, const char *b, const char *c)
{
    int len = snprintf(out, HF_PKI_TEXT_MAX, "%s%s%s", a, b, c);
    return (len >= 0 && len < HF_PKI_TEXT_MAX) || hf_pki_fail("an identifier is too long");
}

/* TS-0001 6.5.1: the public domain name is that of the provider below the CSE's own label; behind
 * an IN-CSE, below its name in turn. */
bool hf_pki_name_of_cse(struct hf_pki_name *out, const char *cse_id,
                        const struct hf_pki_options *options)
{
    char provider[HF_PKI_TEXT_MAX];
    char domain[HF_PKI_TEXT_MAX];
    const char *cse = after_provider(provider, cse_id);
    *out = (struct hf_pki_name){.kind = HF_PKI_DNS};
    if (cse == NULL || !hf_pki_name_is_cse_id(cse_id))
        return hf_pki_fail("%.100s: not an absolute CSE-ID, //{provider}/{CSE}", cse_id);
    if (options->fqdn != NULL) {
        if (!hf_pki_name_is_fqdn(options->fqdn))
            return hf_pki_fail("%.100s: not an FQDN", options->fqdn);
        return put(out->text, options->fqdn, "", "");
    }
    if (!put(domain, options->in_cse == NULL ? "" : options->in_cse,
             options->in_cse == NULL ? "" : ".", provider) ||
        !put(out->text, cse, ".", domain))
        return false;
    return hf_pki_name_is_fqdn(out->text) ||
           hf_pki_fail("%.100s: \"%.100s\" is no domain name; name one with --fqdn", cse_id,
                       out->text);
}

bool hf_pki_name_of_ae(struct hf_pki_name *out, const char *ae_id,
                       const struct hf_pki_options *options)
{
    const char *scheme = options->scheme == NULL ? HF_PKI_SCHEME : options->scheme;
    *out = (struct hf_pki_name){.kind = HF_PKI_URI};
    if (!hf_pki_name_is_ae_id(ae_id))
        return hf_pki_fail("%.100s: not an absolute AE-ID, //{provider}/S... or "
                           "//{provider}/{CSE}/C...",
                           ae_id);
    if (strcmp(scheme, "none") == 0)
        return put(out->text, ae_id, "", "");
    return put(out->text, scheme, ":", ae_id) &&
           (is_uri(out->text) || hf_pki_fail("%.100s: not a URI's scheme", scheme));
}

bool hf_pki_name_of_node(struct hf_pki_name *out, const char *node_id)
{
    *out = (struct hf_pki_name){.kind = HF_PKI_URI};
    if (hf_pki_name_is_oid(node_id))
        out->kind = HF_PKI_REGISTERED_ID;
    else if (!is_uri(node_id))
        return hf_pki_fail("%.100s: a Node-ID is a URI, as urn:gsma:imei:..., or an OID", node_id);
    return put(out->text, node_id, "", "");
}

bool hf_pki_name_of_device(struct hf_pki_name *out, const char *oid, const char *arc)
{
    const char *prefix = arc == NULL ? HF_PKI_DEVICE_ARC : arc;
    size_t len = strlen(prefix);
    *out = (struct hf_pki_name){.kind = HF_PKI_OTHER};
    if (!hf_pki_name_is_oid(oid) || !hf_pki_name_is_oid(prefix))
        return hf_pki_fail("%.100s: not an OID", hf_pki_name_is_oid(oid) ? prefix : oid);
    if (strncmp(oid, prefix, len) != 0 || (oid[len] != '.' && oid[len] != '\0'))
        return hf_pki_fail("%.100s: not below the arc %.100s; name another with --arc", oid,
                           prefix);
    return put(out->arc, prefix, "", "") &&
           put(out->text, oid[len] == '.' ? oid + len + 1 : "", "", "");
}

bool hf_pki_name_of_constraint(struct hf_pki_name *out, enum hf_pki_name_kind kind,
                               const char *text, const char *arc)
{
    /* ".example.com" is for URIs: hosts below; for dNSNames, "example.com" covers them anyway. */
    bool is_below = kind == HF_PKI_URI && text[0] == '.';
    if (kind == HF_PKI_OTHER)
        return hf_pki_name_of_device(out, text, arc);
    *out = (struct hf_pki_name){.kind = kind};
    if (!hf_pki_name_is_fqdn(text + is_below))
        return hf_pki_fail("%.100s: not a domain", text);
    return put(out->text, text, "", "");
}
