/**
 * revocation.c - reading CRLs (RFC 5280 5), and the handles by which revocation is asked for.
 *
 * Taken are complete CRLs by the certificates' own issuer: whatever narrows the scope of a CRL or
 * says that it speaks for somebody else - an issuingDistributionPoint, a delta indicator, a
 * critical extension of an entry - makes it one that is not loaded at all.
 */
#include "revocation.h"

#include "private.h"

#include <stdlib.h>
#include <string.h>

#define HANDLES_FIRST 64

/* ---- handles -------------------------------------------------------------------------------- */

static int handle_order(const void *a, const void *b)
{
    const uint8_t *left = a, *right = b; /* public: serial numbers, hashed */
    for (size_t i = 0; i < HF_REVOCATION_HANDLE_LEN; i++) {
        if (left[i] != right[i])
            return left[i] < right[i] ? -1 : 1;
    }
    return 0;
}

enum hf_status hf__handles_add(struct hf__handles *handles,
                               const uint8_t handle[HF_REVOCATION_HANDLE_LEN])
{
    if (handles->count == handles->max) {
        size_t max = handles->max ? 2 * handles->max : HANDLES_FIRST;
        void *list = realloc(handles->list, max * sizeof *handles->list);
        if (!list)
            return HF_E_MEMORY;
        handles->list = list;
        handles->max = max;
    }
    memcpy(handles->list[handles->count++], handle, HF_REVOCATION_HANDLE_LEN);
    return HF_OK;
}

void hf__handles_sort(struct hf__handles *handles)
{
    if (handles->count > 1)
        qsort(handles->list, handles->count, sizeof *handles->list, handle_order);
}

bool hf__handles_has(const struct hf__handles *handles,
                     const uint8_t handle[HF_REVOCATION_HANDLE_LEN])
{
    return handles->count > 0 && bsearch(handle, handles->list, handles->count,
                                         sizeof *handles->list, handle_order) != NULL;
}

void hf__handle_of_bytes(uint8_t out[HF_REVOCATION_HANDLE_LEN], uint8_t kind, struct hf_bytes bytes)
{
    uint8_t digest[HF_SHA256_LEN];
    struct hf_sha256 hash;
    hf_sha256_init(&hash);
    hf_sha256_update(&hash, bytes.data, bytes.len);
    hf_sha256_final(digest, &hash);
    out[0] = kind;
    memcpy(out + 1, digest, HF_REVOCATION_HANDLE_LEN - 1);
}

void hf__handle_of_certificate(uint8_t out[HF_REVOCATION_HANDLE_LEN], const struct hf__name *issuer,
                               struct hf_bytes serial)
{
    uint8_t text[sizeof issuer->hash + HF__SERIAL_LEN_MAX];
    HF__CRYPTO_ASSERT(serial.len <= HF__SERIAL_LEN_MAX);
    memcpy(text, &issuer->hash, sizeof issuer->hash);
    memcpy(text + sizeof issuer->hash, serial.data, serial.len);
    hf__handle_of_bytes(out, HF__HANDLE_CERTIFICATE,
                        (struct hf_bytes){text, sizeof issuer->hash + serial.len});
}

/* ---- reading -------------------------------------------------------------------------------- */

#define CRL_EXTENSIONS_MAX 16

/* Elements of `in` that differ, with their checks; false for more than we can compare. */
static bool each_extension(CBS in, bool (*check)(void *out, const struct hf__extension *extension),
                           void *out)
{
    struct hf__extension extensions[CRL_EXTENSIONS_MAX];
    for (size_t count = 0; CBS_len(&in) > 0; count++) {
        if (count == CRL_EXTENSIONS_MAX ||
            !hf__certificate_get_extension(&extensions[count], &in) ||
            extensions[count].is_critical || !check(out, &extensions[count]))
            return false;
        for (size_t i = 0; i < count; i++) {
            if (hf__bytes_equal(extensions[i].oid, extensions[count].oid))
                return false;
        }
    }
    return true;
}

/* An extension of an entry may explain (reason, date), not change whose entry it is. */
static bool check_entry_extension(void *out, const struct hf__extension *extension)
{
    CBS value = hf__der_of(extension->value), reason;
    (void)out;
    if (hf__der_is(extension->oid, "\x55\x1d\x1d")) /* certificateIssuer */
        return false;
    if (hf__der_is(extension->oid, "\x55\x1d\x15")) /* reasonCode */
        return CBS_get_asn1(&value, &reason, CBS_ASN1_ENUMERATED) && CBS_len(&value) == 0 &&
               CBS_len(&reason) == 1 && CBS_data(&reason)[0] <= 10;
    return true;
}

static bool is_plain_entry(CBS extensions)
{
    CBS sequence;
    return CBS_get_asn1(&extensions, &sequence, CBS_ASN1_SEQUENCE) && CBS_len(&extensions) == 0 &&
           each_extension(sequence, check_entry_extension, NULL);
}

static enum hf_status read_entry(struct hf__handles *revoked, const struct hf__name *issuer,
                                 CBS *entries)
{
    CBS entry, serial;
    int64_t when_s;
    int is_negative;
    uint8_t handle[HF_REVOCATION_HANDLE_LEN];
    if (!CBS_get_asn1(entries, &entry, CBS_ASN1_SEQUENCE) ||
        !CBS_get_asn1(&entry, &serial, CBS_ASN1_INTEGER) ||
        !CBS_is_valid_asn1_integer(&serial, &is_negative) || !hf__der_get_time(&when_s, &entry) ||
        (CBS_len(&entry) > 0 && !is_plain_entry(entry)))
        return HF_E_CONFIG;
    if (is_negative || CBS_len(&serial) > HF__SERIAL_LEN_MAX)
        return HF_OK; /* no certificate that is taken has such a number */
    hf__handle_of_certificate(handle, issuer, hf__der_view(&serial));
    return hf__handles_add(revoked, handle);
}

static enum hf_status read_entries(struct hf__handles *revoked, const struct hf__name *issuer,
                                   CBS *tbs)
{
    CBS entries;
    if (!CBS_peek_asn1_tag(tbs, CBS_ASN1_SEQUENCE))
        return HF_OK;
    if (!CBS_get_asn1(tbs, &entries, CBS_ASN1_SEQUENCE))
        return HF_E_CONFIG;
    while (CBS_len(&entries) > 0)
        HF__TRY(read_entry(revoked, issuer, &entries));
    return HF_OK;
}

static bool read_key_id(struct hf__crl *out, struct hf_bytes value)
{
    struct hf__certificate fields = {.key_usage = 0};
    if (!hf__certificate_read_authority_key(&fields, value) ||
        fields.authority_key_id.len > sizeof out->key_id)
        return false;
    if (fields.authority_key_id.len > 0)
        memcpy(out->key_id, fields.authority_key_id.data, fields.authority_key_id.len);
    out->key_id_len = (uint8_t)fields.authority_key_id.len;
    return true;
}

static bool read_crl_extension(void *out, const struct hf__extension *extension)
{
    CBS value = hf__der_of(extension->value), number;
    if (hf__der_is(extension->oid, "\x55\x1d\x1b") || /* deltaCRLIndicator */
        hf__der_is(extension->oid, "\x55\x1d\x1c"))   /* issuingDistributionPoint */
        return false;
    if (hf__der_is(extension->oid, "\x55\x1d\x14")) /* cRLNumber */
        return CBS_get_asn1(&value, &number, CBS_ASN1_INTEGER) && CBS_len(&value) == 0 &&
               CBS_is_unsigned_asn1_integer(&number);
    if (hf__der_is(extension->oid, "\x55\x1d\x23"))
        return read_key_id(out, extension->value);
    return true;
}

static bool read_crl_extensions(struct hf__crl *out, CBS *tbs)
{
    CBS wrapper, sequence;
    if (CBS_len(tbs) == 0)
        return true;
    return CBS_get_asn1(tbs, &wrapper, CBS_ASN1_CONSTRUCTED | CBS_ASN1_CONTEXT_SPECIFIC | 0) &&
           CBS_len(tbs) == 0 && CBS_get_asn1(&wrapper, &sequence, CBS_ASN1_SEQUENCE) &&
           CBS_len(&wrapper) == 0 && each_extension(sequence, read_crl_extension, out);
}

static bool get_algorithm(CBS *in)
{
    struct hf_bytes algorithm;
    return hf__der_get_whole(&algorithm, in, CBS_ASN1_SEQUENCE) &&
           hf__certificate_is_ecdsa_sha256(algorithm);
}

static enum hf_status read_tbs(struct hf__crl *out, struct hf__handles *revoked, const char **why,
                               struct hf_bytes whole)
{
    CBS tbs = hf__der_of(whole);
    struct hf__name issuer;
    uint64_t version;
    *why = "a CRL is not well-formed";
    if (!CBS_get_asn1(&tbs, &tbs, CBS_ASN1_SEQUENCE) ||
        (CBS_peek_asn1_tag(&tbs, CBS_ASN1_INTEGER) &&
         (!CBS_get_asn1_uint64(&tbs, &version) || version != 1)))
        return HF_E_CONFIG;
    *why = "a CRL is not signed with ECDSA and SHA-256 (TS-0003 10.1.1.1)";
    if (!get_algorithm(&tbs))
        return HF_E_CONFIG;
    *why = "a CRL has no issuer or no nextUpdate, or is not well-formed";
    if (!hf__name_get(&issuer, &tbs) || hf__name_is_empty(&issuer) ||
        !hf__der_get_time(&out->this_update_s, &tbs) ||
        !hf__der_get_time(&out->next_update_s, &tbs))
        return HF_E_CONFIG;
    out->issuer_der = malloc(issuer.der.len);
    if (!out->issuer_der)
        return HF_E_MEMORY;
    memcpy(out->issuer_der, issuer.der.data, issuer.der.len);
    out->issuer = issuer;
    out->issuer.der.data = out->issuer_der;
    *why = "an entry of a CRL is not well-formed, or has a critical extension";
    HF__TRY(read_entries(revoked, &out->issuer, &tbs));
    *why = "a CRL is indirect, partial or a delta, or has a critical extension";
    return read_crl_extensions(out, &tbs) ? HF_OK : HF_E_CONFIG;
}

enum hf_status hf__crl_read(struct hf__crl *out, struct hf__handles *revoked, const char **why,
                            struct hf_bytes der)
{
    CBS in = hf__der_of(der), crl;
    struct hf_bytes tbs;
    struct hf_sha256 hash;
    *out = (struct hf__crl){.issuer_der = NULL};
    *why = "a CRL is not well-formed";
    if (!CBS_get_asn1(&in, &crl, CBS_ASN1_SEQUENCE) || CBS_len(&in) != 0 ||
        !hf__der_get_whole(&tbs, &crl, CBS_ASN1_SEQUENCE))
        return HF_E_CONFIG;
    HF__TRY(read_tbs(out, revoked, why, tbs));
    *why = "a CRL's signature is not well-formed";
    if (!get_algorithm(&crl) || !hf__der_get_signature(out->signature, &crl) || CBS_len(&crl) != 0)
        return HF_E_CONFIG;
    hf_sha256_init(&hash);
    hf_sha256_update(&hash, tbs.data, tbs.len);
    hf_sha256_final(out->digest, &hash);
    *why = NULL;
    return HF_OK;
}

void hf__crl_wipe(struct hf__crl *crl)
{
    free(crl->issuer_der);
    *crl = (struct hf__crl){.issuer_der = NULL};
}

/* ---- using ---------------------------------------------------------------------------------- */

bool hf__crl_is_of(const struct hf__crl *crl, const struct hf__certificate *issuer)
{
    if (!hf__name_equal(&crl->issuer, &issuer->subject))
        return false;
    return crl->key_id_len == 0 || issuer->subject_key_id.len == 0 ||
           hf__bytes_equal((struct hf_bytes){crl->key_id, crl->key_id_len}, issuer->subject_key_id);
}

bool hf__crl_is_verified(const struct hf__crl *crl, const uint8_t public_key[65])
{
    return __atomic_load_n(&crl->is_verified, __ATOMIC_ACQUIRE) == 2 &&
           hf_bytes_equal_public(crl->public_key, public_key, sizeof crl->public_key);
}

void hf__crl_remember(const struct hf__crl *crl, const uint8_t public_key[65])
{
    struct hf__crl *kept = (struct hf__crl *)(uintptr_t)crl; /* a cache: seen whole or not at all */
    uint32_t expected = 0;
    if (!__atomic_compare_exchange_n(&kept->is_verified, &expected, 1, false, __ATOMIC_ACQUIRE,
                                     __ATOMIC_RELAXED))
        return;
    memcpy(kept->public_key, public_key, sizeof kept->public_key);
    __atomic_store_n(&kept->is_verified, 2, __ATOMIC_RELEASE);
}
