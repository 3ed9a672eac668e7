/**
 * chain.h - the walk along a peer's certificate chain, in two steps with the signatures between:
 * everything that needs no signature first, then, when the lanes have verified the links, the
 * verdict. Private to crypto/. Knows jobs, not batches. Allocates nothing of its own.
 */
#ifndef HF_CHAIN_H
#define HF_CHAIN_H

#include "p256.h"

#include <handfast/job.h>

/** A signature for each certificate, and for each CRL that nobody has verified yet. */
#define HF_CHAIN_LINKS_MAX (2 * HF_CHAIN_DEPTH_MAX)

/** One certificate's or CRL's signature: `public_key` is the issuer's, `digest` SHA-256 over the
 *  TBSCertificate or TBSCertList. */
struct hf_chain_link {
    uint8_t public_key[HF_P256_POINT_LEN];
    uint8_t digest[HF_SHA256_LEN];
    uint8_t signature[HF_P256_SIGNATURE_LEN]; /**< r || s */
    const struct hf_p256_prepared *prepared;  /**< the issuer's, if it is an anchor that has one */
    bool is_leaf;        /**< the peer's own: never cached, a device comes once */
    int64_t not_after_s; /**< of what is signed: what a cache may keep it for */
};

struct hf__crl;

/** A walk under way. Holds nothing that must be released. */
struct hf_chain_walk {
    struct hf_job *job;
    uint8_t link_count;
    uint8_t crl_count;
    struct hf_chain_link links[HF_CHAIN_LINKS_MAX];
    struct {
        const struct hf__crl *crl;
        uint8_t link_index;
    } crls[HF_CHAIN_DEPTH_MAX]; /**< whose signatures are among the links */
};

/** hf_chain_open parses job->chain and applies every rule that needs no signature. Out: the links
 *  to verify (none for a raw public key), job->verify_key, and job->peer as it will be if they
 *  verify. Errors: what is wrong with the chain; the caller puts it into job->status, and job->peer
 *  is zero. Spec: RFC 5280 6.1, 6.3; RFC 7250 3; TS-0003 8.1.2, 10.1. */
HF_MUST_USE enum hf_status hf_chain_open(struct hf_chain_walk *walk, struct hf_job *job);

/** hf_chain_finish gives the verdict: HF_OK, or HF_E_CHAIN_SIGNATURE with job->peer zero again. */
HF_MUST_USE enum hf_status hf_chain_finish(struct hf_chain_walk *walk, bool links_ok);

#endif
