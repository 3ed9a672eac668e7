/**
 * trust_anchor.c - anchors and CRLs of an hf_trust: read, verified as far as their issuers are
 * known, indexed by name.
 */
#include "trust.h"

#include "p256.h"
#include "pem.h"
#include "private.h"

#include <stdlib.h>
#include <string.h>

/* An unlimited list would burden each CertificateRequest: beyond this it is left empty, which says
 * the same (RFC 5246 7.4.4). */
#define ISSUER_NAMES_LEN_MAX 4096

/* What a status says of an anchor. */
static const char *anchor_why(enum hf_status status)
{
    static const char *const whys[] = {
#define WHY(name, class_, alert, reason, text) [HF_##name] = "an anchor: " text,
        HF_STATUS_MAP(WHY)
#undef WHY
    };
    return whys[status];
}

static bool is_signature(const uint8_t *public_key, const uint8_t *digest, const uint8_t *signature)
{
    struct hf_p256_verify operation = {public_key, digest, signature, HF_OK, NULL};
    hf_p256_best()->verify(&operation, 1);
    return HF_FUZZ_ACCEPT || operation.status == HF_OK;
}

static enum hf_status check_anchor(const struct hf__certificate *certificate)
{
    uint8_t digest[HF_SHA256_LEN];
    struct hf_sha256 hash;
    if (!hf__certificate_is_issued_by(certificate, certificate))
        return HF_E_CERTIFICATE_UNKNOWN_CA;
    if (!certificate->is_ca)
        return HF_E_CERTIFICATE_NOT_CA;
    if (certificate->has_key_usage && !(certificate->key_usage & HF__KEY_USAGE_KEY_CERT_SIGN))
        return HF_E_CERTIFICATE_ISSUER_USAGE;
    hf_sha256_init(&hash);
    hf_sha256_update(&hash, certificate->tbs.data, certificate->tbs.len);
    hf_sha256_final(digest, &hash);
    return is_signature(certificate->public_key, digest, certificate->signature)
               ? HF_OK
               : HF_E_CHAIN_SIGNATURE;
}

static enum hf_status read_anchor(struct hf__anchor *out, const char **why, struct hf_bytes der)
{
    enum hf_status status = hf__certificate_read(&out->certificate, der);
    if (status == HF_OK)
        status = check_anchor(&out->certificate);
    if (status != HF_OK) {
        *why = anchor_why(status);
        return HF_E_CONFIG;
    }
    /* by its key: a renewed certificate is the same anchor */
    hf__handle_of_bytes(out->handle, HF__HANDLE_ANCHOR, out->certificate.key_info);
    return HF_OK;
}

static int anchor_order(const void *a, const void *b)
{
    uint64_t left = ((const struct hf__anchor *)a)->certificate.subject.hash;
    uint64_t right = ((const struct hf__anchor *)b)->certificate.subject.hash;
    return left < right ? -1 : left > right;
}

/** What is done with the bytes of a block. */
typedef enum hf_status take_block(struct hf_trust *trust, const char **why, struct hf_bytes der);

/* Counts blocks, or with `take` takes them. All must have the label. */
static enum hf_status each_block(size_t *count, struct hf_trust *trust, const char **why,
                                 struct hf_bytes pem, const char *label, take_block *take)
{
    struct hf__pem reader;
    struct hf__pem_block block;
    enum hf_status status = HF_OK;
    *count = 0;
    *why = hf__pem_open(&reader, pem);
    while (!*why && status == HF_OK && hf__pem_next(&block, &reader)) {
        ++*count;
        if (!hf__pem_is(&block, label) || block.header[0] != 0) {
            *why = "a PEM block is of another kind";
            status = HF_E_CONFIG;
        } else if (take) {
            status = take(trust, why, (struct hf_bytes){block.data, block.len});
        }
        hf__pem_block_wipe(&block);
    }
    if (!*why)
        *why = hf__pem_failure(&reader);
    hf__pem_close(&reader);
    return status == HF_OK && *why ? HF_E_CONFIG : status;
}

/* Two that share a name must be told apart by their key identifiers. */
static enum hf_status check_names(const struct hf_trust *trust, const char **why)
{
    for (size_t i = 0; i < trust->anchor_count; i++) {
        const struct hf__certificate *a = &trust->anchors[i].certificate;
        for (size_t j = i + 1; j < trust->anchor_count; j++) {
            const struct hf__certificate *b = &trust->anchors[j].certificate;
            if (a->subject.hash != b->subject.hash)
                break;
            if (a->subject_key_id.len > 0 && b->subject_key_id.len > 0 &&
                !hf__bytes_equal(a->subject_key_id, b->subject_key_id))
                continue;
            *why = "two anchors have one name and no different subject key identifiers";
            return HF_E_CONFIG;
        }
    }
    return HF_OK;
}

static enum hf_status write_issuer_names(struct hf_trust *trust)
{
    size_t len = 0;
    for (size_t i = 0; i < trust->anchor_count; i++)
        len += 2 + trust->anchors[i].certificate.subject.der.len;
    if (len == 0 || len > ISSUER_NAMES_LEN_MAX)
        return HF_OK;
    trust->issuer_names = malloc(len);
    if (!trust->issuer_names)
        return HF_E_MEMORY;
    for (size_t i = 0; i < trust->anchor_count; i++) {
        struct hf_bytes name = trust->anchors[i].certificate.subject.der;
        uint8_t *out = trust->issuer_names + trust->issuer_names_len;
        out[0] = (uint8_t)(name.len >> 8);
        out[1] = (uint8_t)name.len;
        memcpy(out + 2, name.data, name.len);
        trust->issuer_names_len += 2 + name.len;
    }
    return HF_OK;
}

static enum hf_status take_anchor(struct hf_trust *trust, const char **why, struct hf_bytes der)
{
    if (hf__trust_is_anchor(trust, der))
        return HF_OK; /* given twice */
    struct hf__anchor *anchor = &trust->anchors[trust->anchor_count];
    anchor->der = malloc(der.len);
    if (!anchor->der)
        return HF_E_MEMORY;
    trust->anchor_count++;
    memcpy(anchor->der, der.data, der.len);
    HF__TRY(read_anchor(anchor, why, (struct hf_bytes){anchor->der, der.len}));
    if (trust->anchor_count <= HF__TRUST_PREPARED_MAX)
        anchor->prepared = hf_p256_prepare(anchor->certificate.public_key);
    return hf__handles_add(&trust->anchor_handles, anchor->handle);
}

enum hf_status hf__trust_read_anchors(struct hf_trust *trust, const char **why, struct hf_bytes pem)
{
    size_t count;
    HF__TRY(each_block(&count, trust, why, pem, "CERTIFICATE", NULL));
    if (count == 0)
        return HF_OK;
    trust->anchors = calloc(count, sizeof *trust->anchors);
    if (!trust->anchors)
        return HF_E_MEMORY;
    HF__TRY(each_block(&count, trust, why, pem, "CERTIFICATE", take_anchor));
    qsort(trust->anchors, trust->anchor_count, sizeof *trust->anchors, anchor_order);
    hf__handles_sort(&trust->anchor_handles);
    HF__TRY(check_names(trust, why));
    return write_issuer_names(trust);
}

/* A CRL of an anchor is verified at once, others when their issuer comes along. */
static enum hf_status verify_crl(const struct hf_trust *trust, const char **why,
                                 const struct hf__crl *crl)
{
    for (size_t i = 0; i < trust->anchor_count; i++) {
        const struct hf__certificate *issuer = &trust->anchors[i].certificate;
        if (!hf__crl_is_of(crl, issuer))
            continue;
        if (!is_signature(issuer->public_key, crl->digest, crl->signature)) {
            *why = "a CRL's signature is wrong";
            return HF_E_CONFIG;
        }
        hf__crl_remember(crl, issuer->public_key);
        break;
    }
    return HF_OK;
}

static int crl_order(const void *a, const void *b)
{
    uint64_t left = ((const struct hf__crl *)a)->issuer.hash;
    uint64_t right = ((const struct hf__crl *)b)->issuer.hash;
    return left < right ? -1 : left > right;
}

static enum hf_status take_crl(struct hf_trust *trust, const char **why, struct hf_bytes der)
{
    struct hf__crl *crl = &trust->crls[trust->crl_count++];
    HF__TRY(hf__crl_read(crl, &trust->revoked, why, der));
    return verify_crl(trust, why, crl);
}

enum hf_status hf__trust_read_crls(struct hf_trust *trust, const char **why, struct hf_bytes pem)
{
    size_t count;
    HF__TRY(each_block(&count, trust, why, pem, "X509 CRL", NULL));
    if (count == 0)
        return HF_OK;
    trust->crls = calloc(count, sizeof *trust->crls);
    if (!trust->crls)
        return HF_E_MEMORY;
    HF__TRY(each_block(&count, trust, why, pem, "X509 CRL", take_crl));
    qsort(trust->crls, trust->crl_count, sizeof *trust->crls, crl_order);
    hf__handles_sort(&trust->revoked);
    return HF_OK;
}

void hf__trust_free_anchors(struct hf_trust *trust)
{
    for (size_t i = 0; i < trust->anchor_count; i++) {
        hf_p256_prepared_close(trust->anchors[i].prepared);
        free(trust->anchors[i].der);
    }
    for (size_t i = 0; i < trust->crl_count; i++)
        hf__crl_wipe(&trust->crls[i]);
    free(trust->anchors);
    free(trust->crls);
    free(trust->revoked.list);
    free(trust->anchor_handles.list);
    free(trust->issuer_names);
}

/* ---- finding -------------------------------------------------------------------------------- */

static size_t first_anchor(const struct hf_trust *trust, uint64_t hash)
{
    size_t low = 0, high = trust->anchor_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (trust->anchors[middle].certificate.subject.hash < hash)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct hf__anchor *hf__trust_find_anchor(const struct hf_trust *trust,
                                               const struct hf__certificate *certificate)
{
    const struct hf__anchor *found = NULL;
    uint64_t hash = certificate->issuer.hash;
    for (size_t i = first_anchor(trust, hash); i < trust->anchor_count; i++) {
        const struct hf__anchor *anchor = &trust->anchors[i];
        if (anchor->certificate.subject.hash != hash)
            break;
        if (!hf__certificate_is_issued_by(certificate, &anchor->certificate))
            continue;
        if (found)
            return NULL;
        found = anchor;
    }
    return found;
}

bool hf__trust_is_anchor(const struct hf_trust *trust, struct hf_bytes der)
{
    for (size_t i = 0; i < trust->anchor_count; i++) {
        if (hf__bytes_equal(trust->anchors[i].certificate.der, der))
            return true;
    }
    return false;
}

static bool is_in_force(const struct hf__crl *crl, int64_t wall_s)
{
    return crl->this_update_s <= wall_s && wall_s < crl->next_update_s;
}

const struct hf__crl *hf__trust_find_crl(const struct hf_trust *trust,
                                         const struct hf__certificate *issuer, int64_t wall_s)
{
    const struct hf__crl *found = NULL;
    size_t low = 0, high = trust->crl_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (trust->crls[middle].issuer.hash < issuer->subject.hash)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < trust->crl_count && trust->crls[low].issuer.hash == issuer->subject.hash; low++) {
        const struct hf__crl *crl = &trust->crls[low];
        if (!hf__crl_is_of(crl, issuer))
            continue;
        bool is_better = !found || is_in_force(crl, wall_s) > is_in_force(found, wall_s) ||
                         (is_in_force(crl, wall_s) == is_in_force(found, wall_s) &&
                          crl->this_update_s > found->this_update_s);
        if (is_better)
            found = crl;
    }
    return found;
}
