/**
 * chain.c - the walk along a peer's chain. So far raw public keys only (RFC 7250), judged by pins
 * (TS-0003 8.1.2.4); a peer with X.509 is told that its kind is not accepted.
 */
#include "chain.h"
#include "credential.h"
#include "trust.h"

#include <string.h>

/* The body is the SubjectPublicKeyInfo itself with a length of three bytes (RFC 7250 3). */
static enum hf_status read_raw(struct hf_bytes *spki, const struct hf_job *job)
{
    size_t len;

    if (job->chain_len < 3)
        return HF_E_DECODE;
    len = (size_t)job->chain[0] << 16 | (size_t)job->chain[1] << 8 | job->chain[2];
    if (len != job->chain_len - 3)
        return HF_E_DECODE;
    *spki = (struct hf_bytes){job->chain + 3, len};
    if (len == 0 || job->chain[3] != 0x30)
        return HF_E_BAD_CERTIFICATE;
    // P-256 uncompressed has exactly one DER form.
    if (len != HF__SPKI_PREFIX_LEN + HF_P256_POINT_LEN ||
        !hf_bytes_equal_public(spki->data, hf__spki_prefix, HF__SPKI_PREFIX_LEN) ||
        spki->data[HF__SPKI_PREFIX_LEN] != 0x04)
        return HF_E_CERTIFICATE_KEY;
    return HF_OK;
}

static void write_identity(struct hf_peer_identity *peer, const struct hf__pin *pin,
                           const uint8_t digest[HF_SHA256_LEN])
{
    peer->flavour = HF_FLAVOUR_RAW;
    peer->entity_kind = pin->entity_kind;
    peer->entity_id_len = pin->entity_id_len;
    memcpy(peer->entity_id, pin->entity_id, pin->entity_id_len);
    peer->credential_id_len = pin->credential_id_len;
    memcpy(peer->credential_id, pin->credential_id, pin->credential_id_len);
    peer->handle_count = 1;
    peer->handles[0][0] = HF__HANDLE_RAW;
    memcpy(peer->handles[0] + 1, digest, HF_REVOCATION_HANDLE_LEN - 1);
}

static bool is_expected(const struct hf_expected_peer *expected, const struct hf__pin *pin)
{
    if (!expected)
        return true;
    return expected->flavour == HF_FLAVOUR_RAW &&
           (expected->entity_id.len == 0 ||
            (expected->entity_id.len == pin->entity_id_len &&
             hf_bytes_equal_public(expected->entity_id.data, pin->entity_id, pin->entity_id_len)));
}

static enum hf_status open_raw(struct hf_job *job)
{
    uint8_t digest[HF_SHA256_LEN];
    struct hf_sha256 hash;
    struct hf_bytes spki;
    const struct hf__pin *pin;
    enum hf_status status = read_raw(&spki, job);

    if (status != HF_OK)
        return status;
    hf_sha256_init(&hash);
    hf_sha256_update(&hash, spki.data, spki.len);
    hf_sha256_final(digest, &hash);
    pin = hf__trust_find_pin(job->trust, digest, sizeof digest);
    if (!pin)
        return HF_E_RAW_KEY_UNKNOWN;
    if (!is_expected(job->expected, pin))
        return HF_E_PEER_NAME;
    write_identity(&job->peer, pin, digest);
    memcpy(job->peer.public_key, spki.data + HF__SPKI_PREFIX_LEN, HF_P256_POINT_LEN);
    memcpy(job->verify_key, job->peer.public_key, HF_P256_POINT_LEN);
    return HF_OK;
}

enum hf_status hf_chain_open(struct hf_chain_walk *walk, struct hf_job *job)
{
    walk->job = job;
    walk->link_count = 0;
    memset(&job->peer, 0, sizeof job->peer);
    if (!job->chain_is_raw || (hf_trust_flavours(job->trust) & HF_FLAVOUR_RAW) == 0)
        return HF_E_CERTIFICATE_TYPE;
    if (job->chain_len > hf_trust_chain_len_max(job->trust))
        return HF_E_MESSAGE_TOO_LONG;
    return open_raw(job);
}

enum hf_status hf_chain_finish(struct hf_chain_walk *walk, bool links_ok)
{
    if (links_ok)
        return HF_OK;
    memset(&walk->job->peer, 0, sizeof walk->job->peer);
    return HF_E_CHAIN_SIGNATURE;
}
