/**
 * chain.c - the walk along a peer's chain: RFC 5280 6.1 and 6.3 for the certificates as they were
 * sent, and pins for raw public keys (RFC 7250).
 *
 * A path is the peer's certificate, then each issuer in the order of the message (RFC 5246 7.4.2),
 * up to the first one that an anchor issued. Nothing is searched for, so there is nothing to lead
 * the search astray. Behind the path the message may hold that anchor, and nothing else. Any doubt
 * is a refusal: the walk never accepts what X509_verify_cert would refuse, but for otherName
 * constraints and URIs without a scheme, which it cannot judge (name_constraint.c).
 */
#include "chain.h"

#include "peer.h"
#include "private.h"

#include <openssl/ec.h>
#include <openssl/nid.h>

#include <string.h>

/** A path: certificates without the anchor, the peer's first. */
struct path {
    size_t count;
    struct hf__certificate certificates[HF_CHAIN_DEPTH_MAX];
    const struct hf__anchor *anchor;
};

static const struct hf__certificate *issuer_of(const struct path *path, size_t index)
{
    return index + 1 < path->count ? &path->certificates[index + 1] : &path->anchor->certificate;
}

/* ---- raw public keys ------------------------------------------------------------------------ */

static bool is_expected_pin(const struct hf_expected_peer *expected, const struct hf__pin *pin)
{
    if (!expected)
        return true;
    return expected->flavour == HF_FLAVOUR_RAW &&
           (expected->entity_id.len == 0 ||
            hf__bytes_equal(expected->entity_id,
                            (struct hf_bytes){pin->entity_id, pin->entity_id_len}));
}

static bool is_on_curve(const uint8_t point[HF_P256_POINT_LEN], bool *is_memory_out)
{
    const EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    EC_POINT *read = group ? EC_POINT_new(group) : NULL;
    *is_memory_out = !read;
    bool is_good = read && EC_POINT_oct2point(group, read, point, HF_P256_POINT_LEN, NULL);
    EC_POINT_free(read);
    return is_good;
}

/* The peer's key, for VERIFY. */
static enum hf_status take_key(struct hf_job *job, const uint8_t public_key[HF_P256_POINT_LEN])
{
    bool is_memory_out;
    if (!is_on_curve(public_key, &is_memory_out))
        return is_memory_out ? HF_E_MEMORY : HF_E_CERTIFICATE_POINT;
    memcpy(job->peer.public_key, public_key, HF_P256_POINT_LEN);
    memcpy(job->verify_key, public_key, HF_P256_POINT_LEN);
    return HF_OK;
}

static void write_pinned(struct hf_peer_identity *peer, const struct hf__pin *pin,
                         struct hf_bytes key_info)
{
    peer->flavour = HF_FLAVOUR_RAW;
    peer->entity_kind = pin->entity_kind;
    peer->entity_id_len = pin->entity_id_len;
    memcpy(peer->entity_id, pin->entity_id, pin->entity_id_len);
    peer->credential_id_len = pin->credential_id_len;
    memcpy(peer->credential_id, pin->credential_id, pin->credential_id_len);
    hf__handle_of_bytes(peer->handles[0], HF__HANDLE_RAW, key_info);
    peer->handle_count = 1;
}

/* The body is the SubjectPublicKeyInfo itself with a length of three bytes (RFC 7250 3). */
static enum hf_status open_raw(struct hf_job *job)
{
    CBS body = hf__der_of((struct hf_bytes){job->chain, job->chain_len}), in;
    const uint8_t *public_key;
    uint8_t digest[HF_SHA256_LEN];
    struct hf_sha256 hash;
    if (!CBS_get_u24_length_prefixed(&body, &in) || CBS_len(&body) != 0)
        return HF_E_DECODE;
    if (CBS_len(&in) == 0)
        return HF_E_CERTIFICATE_MISSING;
    struct hf_bytes key_info = hf__der_view(&in);
    HF__TRY(hf__certificate_read_key(&public_key, &in));
    if (CBS_len(&in) != 0)
        return HF_E_BAD_CERTIFICATE;
    hf_sha256_init(&hash);
    hf_sha256_update(&hash, key_info.data, key_info.len);
    hf_sha256_final(digest, &hash);
    const struct hf__pin *pin = hf__trust_find_pin(job->trust, digest, sizeof digest);
    if (!pin)
        return HF_E_RAW_KEY_UNKNOWN;
    if (!is_expected_pin(job->expected, pin))
        return HF_E_PEER_NAME;
    HF__TRY(take_key(job, public_key));
    write_pinned(&job->peer, pin, key_info);
    return HF_OK;
}

/* ---- the path ------------------------------------------------------------------------------- */

/* Follows the certificates from the peer's to the first that an anchor issued. */
static enum hf_status read_path(struct path *path, const struct hf_trust *trust, CBS list)
{
    CBS entry;
    path->count = 0;
    path->anchor = NULL;
    while (!path->anchor) {
        if (CBS_len(&list) == 0)
            return HF_E_CERTIFICATE_UNKNOWN_CA;
        if (path->count == trust->depth_max)
            return HF_E_CHAIN_DEPTH;
        if (!CBS_get_u24_length_prefixed(&list, &entry) || CBS_len(&entry) == 0)
            return HF_E_DECODE;
        struct hf__certificate *certificate = &path->certificates[path->count];
        HF__TRY(hf__certificate_read(certificate, hf__der_view(&entry)));
        bool is_self_issued = hf__name_equal(&certificate->issuer, &certificate->subject);
        if (path->count > 0 && !hf__certificate_is_issued_by(certificate - 1, certificate))
            return HF_E_CHAIN_BROKEN;
        if (is_self_issued) /* a root we do not know, or one that changes its key */
            return path->count > 0 ? HF_E_CERTIFICATE_UNKNOWN_CA : HF_E_CERTIFICATE_SELF_SIGNED;
        path->count++;
        path->anchor = hf__trust_find_anchor(trust, certificate);
    }
    if (CBS_len(&list) == 0)
        return HF_OK;
    if (!CBS_get_u24_length_prefixed(&list, &entry) || CBS_len(&list) != 0)
        return HF_E_CHAIN_BROKEN;
    return hf__bytes_equal(hf__der_view(&entry), path->anchor->certificate.der) ? HF_OK
                                                                                : HF_E_CHAIN_BROKEN;
}

static enum hf_status check_validity(const struct hf__certificate *certificate, int64_t wall_s)
{
    if (wall_s < certificate->not_before_s)
        return HF_E_CERTIFICATE_NOT_YET_VALID;
    /* the last second itself no longer: X509_verify_cert has it so */
    return wall_s >= certificate->not_after_s ? HF_E_CERTIFICATE_EXPIRED : HF_OK;
}

/* Extended key usage binds the whole path, as in every verifier, whatever RFC 5280 says of it. */
static enum hf_status check_purpose(const struct hf__certificate *certificate, bool is_server)
{
    bool may = is_server ? certificate->may_be_server : certificate->may_be_client;
    return certificate->has_extended_key_usage && !may ? HF_E_CERTIFICATE_EXTENDED_KEY_USAGE
                                                       : HF_OK;
}

static enum hf_status check_leaf(const struct hf__certificate *leaf)
{
    if (leaf->is_ca)
        return HF_E_CERTIFICATE_IS_CA;
    if (!leaf->has_key_usage || !(leaf->key_usage & HF__KEY_USAGE_DIGITAL_SIGNATURE))
        return HF_E_CERTIFICATE_KEY_USAGE;
    return HF_OK;
}

/* `below`: how many CA certificates stand between this one and the peer's. */
static enum hf_status check_issuer(const struct hf__certificate *issuer, size_t below)
{
    if (!issuer->is_ca)
        return HF_E_CERTIFICATE_NOT_CA;
    if (issuer->has_key_usage && !(issuer->key_usage & HF__KEY_USAGE_KEY_CERT_SIGN))
        return HF_E_CERTIFICATE_ISSUER_USAGE;
    if (issuer->has_path_len && issuer->path_len < below)
        return HF_E_CERTIFICATE_PATH_LENGTH;
    return HF_OK;
}

static enum hf_status check_path(const struct path *path, const struct hf_job *job)
{
    for (size_t i = 0; i < path->count; i++) {
        const struct hf__certificate *issuer = issuer_of(path, i);
        if (i == 0) {
            HF__TRY(check_validity(&path->certificates[0], job->wall_s));
            HF__TRY(check_leaf(&path->certificates[0]));
            HF__TRY(check_purpose(&path->certificates[0], job->peer_is_server));
        }
        HF__TRY(check_validity(issuer, job->wall_s));
        HF__TRY(check_issuer(issuer, i));
        HF__TRY(check_purpose(issuer, job->peer_is_server));
    }
    return HF_OK;
}

static enum hf_status check_constraints(const struct path *path, bool is_required)
{
    bool is_constrained = false;
    for (size_t j = 0; j < path->count; j++) {
        const struct hf__certificate *issuer = issuer_of(path, j);
        is_constrained |= issuer->constraints.len > 0;
        for (size_t i = 0; i <= j; i++)
            HF__TRY(hf__constraint_check(&path->certificates[i], issuer));
    }
    return is_required && !is_constrained ? HF_E_CERTIFICATE_CONSTRAINT_MISSING : HF_OK;
}

/* ---- revocation ----------------------------------------------------------------------------- */

static void add_link(struct hf_chain_walk *walk, const uint8_t *public_key, const uint8_t *digest,
                     const uint8_t *signature)
{
    struct hf_chain_link *link = &walk->links[walk->link_count++];
    memcpy(link->public_key, public_key, sizeof link->public_key);
    memcpy(link->digest, digest, sizeof link->digest);
    memcpy(link->signature, signature, sizeof link->signature);
    link->prepared = NULL;
    link->is_leaf = false;
}

static enum hf_status check_crl(struct hf_chain_walk *walk, const struct hf__crl *crl,
                                const struct hf__certificate *issuer)
{
    const struct hf_job *job = walk->job;
    if (issuer->has_key_usage && !(issuer->key_usage & HF__KEY_USAGE_CRL_SIGN))
        return HF_E_CERTIFICATE_ISSUER_USAGE;
    if (job->wall_s < crl->this_update_s)
        return HF_E_CRL_NOT_YET_VALID;
    if (job->wall_s >= crl->next_update_s && job->trust->crl_expired == HF_CRL_EXPIRED_REFUSE)
        return HF_E_CRL_EXPIRED;
    if (hf__crl_is_verified(crl, issuer->public_key))
        return HF_OK;
    walk->crls[walk->crl_count].crl = crl;
    walk->crls[walk->crl_count].link_index = walk->link_count;
    walk->crl_count++;
    add_link(walk, issuer->public_key, crl->digest, crl->signature);
    walk->links[walk->link_count - 1].not_after_s = crl->next_update_s;
    return HF_OK;
}

/* Every certificate but the anchor: is its issuer's CRL good, and what does it say? */
static enum hf_status check_revocation(struct hf_chain_walk *walk, const struct path *path)
{
    const struct hf_trust *trust = walk->job->trust;
    struct hf_peer_identity *peer = &walk->job->peer;
    for (size_t i = 0; i < path->count; i++) {
        const struct hf__certificate *certificate = &path->certificates[i];
        const struct hf__certificate *issuer = issuer_of(path, i);
        uint8_t *handle = peer->handles[peer->handle_count++];
        hf__handle_of_certificate(handle, &certificate->issuer, certificate->serial);
        if (hf__handles_has(&trust->revoked, handle))
            return HF_E_CERTIFICATE_REVOKED;
        const struct hf__crl *crl = hf__trust_find_crl(trust, issuer, walk->job->wall_s);
        if (!crl && trust->crl_required)
            return HF_E_CRL_MISSING;
        if (crl)
            HF__TRY(check_crl(walk, crl, issuer));
    }
    memcpy(peer->handles[peer->handle_count++], path->anchor->handle, HF_REVOCATION_HANDLE_LEN);
    return HF_OK;
}

/* ---- the verdict ---------------------------------------------------------------------------- */

static void add_certificate_links(struct hf_chain_walk *walk, const struct path *path)
{
    uint8_t digest[HF_SHA256_LEN];
    struct hf_sha256 hash;
    for (size_t i = 0; i < path->count; i++) {
        const struct hf__certificate *certificate = &path->certificates[i];
        hf_sha256_init(&hash);
        hf_sha256_update(&hash, certificate->tbs.data, certificate->tbs.len);
        hf_sha256_final(digest, &hash);
        add_link(walk, issuer_of(path, i)->public_key, digest, certificate->signature);
        if (i + 1 == path->count)
            walk->links[walk->link_count - 1].prepared = path->anchor->prepared;
        walk->links[walk->link_count - 1].is_leaf = i == 0;
        walk->links[walk->link_count - 1].not_after_s = certificate->not_after_s;
    }
}

/* The last second in which the whole path is valid, as far as the engine can count. */
static int64_t expiry_of(const struct path *path)
{
    int64_t end_s = path->anchor->certificate.not_after_s;
    for (size_t i = 0; i < path->count; i++) {
        if (path->certificates[i].not_after_s < end_s)
            end_s = path->certificates[i].not_after_s;
    }
    return end_s - 1 > UINT32_MAX ? UINT32_MAX : end_s - 1;
}

/* What may identify this peer. An FQDN is a MAF's or MEF's, which never dial us. */
static enum hf_status accepted_flavours(uint8_t *out, const struct hf_job *job)
{
    *out = job->trust->flavours & (uint8_t)~HF_FLAVOUR_RAW;
    if (!job->peer_is_server)
        *out &= (uint8_t)~HF_FLAVOUR_FQDN;
    if (job->expected)
        *out &= job->expected->flavour;
    return *out != 0 ? HF_OK : HF_E_CERTIFICATE_TYPE;
}

static enum hf_status open_x509(struct hf_chain_walk *walk)
{
    struct hf_job *job = walk->job;
    CBS body = hf__der_of((struct hf_bytes){job->chain, job->chain_len}), list;
    struct path path;
    uint8_t flavours;
    if (!CBS_get_u24_length_prefixed(&body, &list) || CBS_len(&body) != 0)
        return HF_E_DECODE;
    if (CBS_len(&list) == 0)
        return HF_E_CERTIFICATE_MISSING;
    HF__TRY(accepted_flavours(&flavours, job));
    HF__TRY(read_path(&path, job->trust, list));
    HF__TRY(check_path(&path, job));
    HF__TRY(check_constraints(&path, job->trust->name_constraints_required));
    HF__TRY(check_revocation(walk, &path));
    HF__TRY(
        hf__peer_identify(&job->peer, job->trust, &path.certificates[0], flavours, job->expected));
    HF__TRY(take_key(job, path.certificates[0].public_key));
    job->peer.expires_s = expiry_of(&path);
    add_certificate_links(walk, &path);
    return HF_OK;
}

enum hf_status hf_chain_open(struct hf_chain_walk *walk, struct hf_job *job)
{
    enum hf_status status;
    walk->job = job;
    walk->link_count = 0;
    walk->crl_count = 0;
    memset(&job->peer, 0, sizeof job->peer);
    if (job->chain_len > job->trust->chain_len_max)
        status = HF_E_CHAIN_LENGTH;
    else if (!job->chain_is_raw)
        status = open_x509(walk);
    else if (job->trust->flavours & HF_FLAVOUR_RAW)
        status = open_raw(job);
    else
        status = HF_E_CERTIFICATE_TYPE;
    if (status == HF_OK)
        return HF_OK;
    walk->link_count = 0;
    memset(&job->peer, 0, sizeof job->peer);
    return status;
}

enum hf_status hf_chain_finish(struct hf_chain_walk *walk, bool links_ok)
{
    if (!links_ok) {
        memset(&walk->job->peer, 0, sizeof walk->job->peer);
        return HF_E_CHAIN_SIGNATURE;
    }
    for (size_t i = 0; i < walk->crl_count; i++)
        hf__crl_remember(walk->crls[i].crl, walk->links[walk->crls[i].link_index].public_key);
    return HF_OK;
}
