/**
 * certificate.c - the fields of a certificate (RFC 5280 4.1), and its key.
 */
#include "certificate.h"

#include "p256.h"
#include "private.h"

static const uint8_t oid_ec_public_key[] = {0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01};
static const uint8_t oid_p256[] = {0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};

bool hf__certificate_is_ecdsa_sha256(struct hf_bytes algorithm)
{
    static const uint8_t expected[] = {0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86,
                                       0x48, 0xce, 0x3d, 0x04, 0x03, 0x02};
    return hf__bytes_equal(algorithm, (struct hf_bytes){expected, sizeof expected});
}

enum hf_status hf__certificate_read_key(const uint8_t **out, CBS *in)
{
    CBS info, algorithm, bits;
    struct hf_bytes oid, parameters;
    uint8_t unused_bits;
    if (!CBS_get_asn1(in, &info, CBS_ASN1_SEQUENCE) ||
        !CBS_get_asn1(&info, &algorithm, CBS_ASN1_SEQUENCE) || !hf__der_get_oid(&oid, &algorithm) ||
        !CBS_get_asn1(&info, &bits, CBS_ASN1_BITSTRING) || CBS_len(&info) != 0 ||
        !CBS_get_u8(&bits, &unused_bits))
        return HF_E_BAD_CERTIFICATE;
    if (!hf__bytes_equal(oid, (struct hf_bytes){oid_ec_public_key, sizeof oid_ec_public_key}))
        return HF_E_CERTIFICATE_KEY;
    /* explicit parameters would be a SEQUENCE (CVE-2022-0778): never looked into */
    if (!hf__der_get(&parameters, &algorithm, CBS_ASN1_OBJECT) || CBS_len(&algorithm) != 0 ||
        !hf__bytes_equal(parameters, (struct hf_bytes){oid_p256, sizeof oid_p256}))
        return HF_E_CERTIFICATE_CURVE;
    if (unused_bits != 0 || CBS_len(&bits) == 0)
        return HF_E_BAD_CERTIFICATE;
    if (CBS_data(&bits)[0] != 0x04)
        return HF_E_CERTIFICATE_POINT_FORMAT;
    if (CBS_len(&bits) != HF_P256_POINT_LEN)
        return HF_E_CERTIFICATE_POINT;
    *out = CBS_data(&bits);
    return HF_OK;
}

/* Positive, at most 20 octets (RFC 5280 4.1.2.2). */
static enum hf_status read_serial(struct hf_bytes *out, CBS *tbs)
{
    CBS serial;
    int is_negative;
    if (!CBS_get_asn1(tbs, &serial, CBS_ASN1_INTEGER) ||
        !CBS_is_valid_asn1_integer(&serial, &is_negative))
        return HF_E_BAD_CERTIFICATE;
    *out = hf__der_view(&serial);
    bool is_zero = out->len == 1 && out->data[0] == 0;
    if (is_negative || is_zero || out->len > HF__SERIAL_LEN_MAX)
        return HF_E_CERTIFICATE_SERIAL;
    return HF_OK;
}

static enum hf_status read_version(CBS *tbs)
{
    CBS wrapper;
    uint64_t version;
    if (!CBS_peek_asn1_tag(tbs, CBS_ASN1_CONSTRUCTED | CBS_ASN1_CONTEXT_SPECIFIC | 0))
        return HF_E_CERTIFICATE_VERSION; /* v1 */
    if (!CBS_get_asn1(tbs, &wrapper, CBS_ASN1_CONSTRUCTED | CBS_ASN1_CONTEXT_SPECIFIC | 0) ||
        !CBS_get_asn1_uint64(&wrapper, &version) || CBS_len(&wrapper) != 0)
        return HF_E_BAD_CERTIFICATE;
    return version == 2 ? HF_OK : HF_E_CERTIFICATE_VERSION;
}

static enum hf_status read_algorithm(CBS *in)
{
    struct hf_bytes algorithm;
    if (!hf__der_get_whole(&algorithm, in, CBS_ASN1_SEQUENCE))
        return HF_E_BAD_CERTIFICATE;
    return hf__certificate_is_ecdsa_sha256(algorithm) ? HF_OK : HF_E_CERTIFICATE_ALGORITHM;
}

static bool read_validity(struct hf__certificate *out, CBS *tbs)
{
    CBS validity;
    return CBS_get_asn1(tbs, &validity, CBS_ASN1_SEQUENCE) &&
           hf__der_get_time(&out->not_before_s, &validity) &&
           hf__der_get_time(&out->not_after_s, &validity) && CBS_len(&validity) == 0;
}

/* The deprecated unique identifiers ([1], [2]) are refused like any other surprise. */
static enum hf_status read_tbs(struct hf__certificate *out)
{
    CBS tbs = hf__der_of(out->tbs), key_info, wrapper;
    if (!CBS_get_asn1(&tbs, &tbs, CBS_ASN1_SEQUENCE))
        return HF_E_BAD_CERTIFICATE;
    HF__TRY(read_version(&tbs));
    HF__TRY(read_serial(&out->serial, &tbs));
    HF__TRY(read_algorithm(&tbs));
    if (!hf__name_get(&out->issuer, &tbs) || hf__name_is_empty(&out->issuer) ||
        !read_validity(out, &tbs) || !hf__name_get(&out->subject, &tbs) ||
        !hf__der_get_whole(&out->key_info, &tbs, CBS_ASN1_SEQUENCE))
        return HF_E_BAD_CERTIFICATE;
    key_info = hf__der_of(out->key_info);
    HF__TRY(hf__certificate_read_key(&out->public_key, &key_info));
    if (CBS_len(&tbs) == 0)
        return HF_OK;
    if (!CBS_get_asn1(&tbs, &wrapper, CBS_ASN1_CONSTRUCTED | CBS_ASN1_CONTEXT_SPECIFIC | 3) ||
        CBS_len(&tbs) != 0)
        return HF_E_BAD_CERTIFICATE;
    HF__TRY(hf__certificate_read_extensions(out, &wrapper));
    return CBS_len(&wrapper) == 0 ? HF_OK : HF_E_BAD_CERTIFICATE;
}

enum hf_status hf__certificate_read(struct hf__certificate *out, struct hf_bytes der)
{
    CBS in = hf__der_of(der), certificate;
    *out = (struct hf__certificate){.der = der};
    if (!CBS_get_asn1(&in, &certificate, CBS_ASN1_SEQUENCE) || CBS_len(&in) != 0 ||
        !hf__der_get_whole(&out->tbs, &certificate, CBS_ASN1_SEQUENCE))
        return HF_E_BAD_CERTIFICATE;
    HF__TRY(read_tbs(out));
    HF__TRY(read_algorithm(&certificate));
    if (!hf__der_get_signature(out->signature, &certificate) || CBS_len(&certificate) != 0)
        return HF_E_BAD_CERTIFICATE;
    return HF_OK;
}

bool hf__certificate_is_issued_by(const struct hf__certificate *certificate,
                                  const struct hf__certificate *issuer)
{
    if (!hf__name_equal(&certificate->issuer, &issuer->subject))
        return false;
    if (certificate->authority_key_id.len > 0 && issuer->subject_key_id.len > 0 &&
        !hf__bytes_equal(certificate->authority_key_id, issuer->subject_key_id))
        return false;
    if (certificate->authority_serial.len > 0 &&
        !hf__bytes_equal(certificate->authority_serial, issuer->serial))
        return false;
    return hf__name_is_empty(&certificate->authority_issuer) ||
           hf__name_equal(&certificate->authority_issuer, &issuer->issuer);
}
