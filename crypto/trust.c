/**
 * trust.c - what an authority believes of its peers: opened, shared, asked. What it is made of is
 * read by trust_anchor.c, trust_key.c and trust_name.c.
 *
 * Immutable once open; shared by counting.
 */
#include "trust.h"

#include "private.h"

#include <stdlib.h>
#include <string.h>

#define DEPTH_DEFAULT 4
#define CHAIN_LEN_DEFAULT 8192
#define FLAVOURS_X509                                                                              \
    (HF_FLAVOUR_DEVICE | HF_FLAVOUR_CSE_ID | HF_FLAVOUR_AE_ID | HF_FLAVOUR_NODE_ID |               \
     HF_FLAVOUR_FQDN)

void hf_trust_source_init(struct hf_trust_source *source)
{
    memset(source, 0, sizeof *source);
    source->depth_max = DEPTH_DEFAULT;
    source->chain_len_max = CHAIN_LEN_DEFAULT;
}

static const char *check(const struct hf_trust_source *source)
{
    if (source->depth_max < 1 || source->depth_max >= HF_CHAIN_DEPTH_MAX)
        return "depth_max: 1 to 7";
    if ((source->flavours & ~(HF_FLAVOUR_RAW | FLAVOURS_X509)) != 0)
        return "flavours: a bit that stands for none";
    if ((source->flavours & FLAVOURS_X509) && source->anchors_pem.len == 0)
        return "flavours: certificates are accepted, but there is no anchor";
    return NULL;
}

static enum hf_status read_all(struct hf_trust *trust, const char **why,
                               const struct hf_trust_source *source)
{
    HF__TRY(hf__trust_read_anchors(trust, why, source->anchors_pem));
    *why = "flavours: certificates are accepted, but there is no anchor";
    if ((source->flavours & FLAVOURS_X509) && trust->anchor_count == 0)
        return HF_E_CONFIG;
    HF__TRY(hf__trust_read_crls(trust, why, source->crls_pem));
    HF__TRY(hf__trust_read_pins(trust, why, source->raw_keys));
    return hf__trust_read_names(trust, why, source->names);
}

static void digest_policy(struct hf_trust *trust, const struct hf_trust_source *source)
{
    const uint8_t knobs[5] = {trust->flavours, trust->depth_max, trust->crl_expired,
                              trust->crl_required, trust->name_constraints_required};
    uint8_t digest[HF_SHA256_LEN];
    struct hf_sha256 hash;
    hf_sha256_init(&hash);
    hf_sha256_update(&hash, knobs, sizeof knobs);
    hf_sha256_update(&hash, source->names.data, source->names.len);
    hf_sha256_final(digest, &hash);
    memcpy(trust->policy, digest, sizeof trust->policy);
}

enum hf_status hf_trust_open(struct hf_trust **out, const char **why,
                             const struct hf_trust_source *source)
{
    *why = check(source);
    if (*why)
        return HF_E_CONFIG;
    struct hf_trust *trust = calloc(1, sizeof *trust);
    enum hf_status status = HF_E_MEMORY;
    if (trust) {
        trust->references = 1;
        trust->epoch = source->epoch;
        trust->flavours = source->flavours;
        trust->depth_max = source->depth_max;
        trust->chain_len_max = source->chain_len_max;
        trust->crl_expired = (uint8_t)source->crl_expired;
        trust->crl_required = source->crl_required;
        trust->name_constraints_required = source->name_constraints_required;
        digest_policy(trust, source);
        status = read_all(trust, why, source);
    }
    if (status == HF_E_MEMORY)
        *why = "out of memory";
    if (status != HF_OK) {
        hf_trust_close(trust);
        return status;
    }
    *why = NULL;
    *out = trust;
    return HF_OK;
}

struct hf_trust *hf_trust_share(const struct hf_trust *trust)
{
    /* the count is the one thing in it that changes, and what is known of CRLs */
    struct hf_trust *shared = (struct hf_trust *)(uintptr_t)trust;
    __atomic_add_fetch(&shared->references, 1, __ATOMIC_RELAXED);
    return shared;
}

void hf_trust_close(struct hf_trust *trust)
{
    if (!trust || __atomic_sub_fetch(&trust->references, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    hf__trust_free_anchors(trust);
    free(trust->pins);
    free(trust->cses);
    free(trust->names_text);
    free(trust);
}

uint8_t hf_trust_flavours(const struct hf_trust *trust)
{
    return trust->flavours;
}

const uint8_t *hf_trust_policy(const struct hf_trust *trust)
{
    return trust->policy;
}

uint64_t hf_trust_epoch(const struct hf_trust *trust)
{
    return trust->epoch;
}

uint32_t hf_trust_chain_len_max(const struct hf_trust *trust)
{
    return trust->chain_len_max;
}

struct hf_bytes hf_trust_issuer_names(const struct hf_trust *trust)
{
    return (struct hf_bytes){trust->issuer_names, trust->issuer_names_len};
}

void hf_trust_validity(int64_t *anchors_s, int64_t *crls_s, const struct hf_trust *trust)
{
    *anchors_s = *crls_s = 0;
    for (size_t i = 0; i < trust->anchor_count; i++) {
        int64_t end_s = trust->anchors[i].certificate.not_after_s;
        if (*anchors_s == 0 || end_s < *anchors_s)
            *anchors_s = end_s;
    }
    for (size_t i = 0; i < trust->crl_count; i++) {
        int64_t end_s = trust->crls[i].next_update_s;
        if (*crls_s == 0 || end_s < *crls_s)
            *crls_s = end_s;
    }
}

bool hf_trust_is_revoked(const struct hf_trust *trust,
                         const uint8_t handle[HF_REVOCATION_HANDLE_LEN])
{
    switch (handle[0]) {
    case HF__HANDLE_RAW:
        return !hf__trust_find_pin(trust, handle + 1, HF_REVOCATION_HANDLE_LEN - 1);
    case HF__HANDLE_CERTIFICATE:
        return hf__handles_has(&trust->revoked, handle);
    case HF__HANDLE_ANCHOR:
        return !hf__handles_has(&trust->anchor_handles, handle);
    default:
        return true;
    }
}
