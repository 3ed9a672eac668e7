/**
 * revocation.h - certificate revocation lists (RFC 5280 5): whole, direct ones, read once. Who is
 * revoked ends up in one sorted list of handles for all CRLs of an hf_trust.
 */
#ifndef HF_REVOCATION_H
#define HF_REVOCATION_H

#include "certificate.h"

#include <handfast/credential.h>

/** The first byte of a revocation handle says what it is a handle of. */
#define HF__HANDLE_RAW 1         /**< SHA-256 of a SubjectPublicKeyInfo */
#define HF__HANDLE_CERTIFICATE 2 /**< of issuer and serial number */
#define HF__HANDLE_ANCHOR 3      /**< SHA-256 of an anchor's SubjectPublicKeyInfo */

#define HF__KEY_ID_MAX 64

/** A growing list of handles, sorted when it is complete. */
struct hf__handles {
    uint8_t (*list)[HF_REVOCATION_HANDLE_LEN];
    size_t count;
    size_t max;
};

/** hf__handles_add appends. Errors: HF_E_MEMORY. */
HF_MUST_USE enum hf_status hf__handles_add(struct hf__handles *handles,
                                           const uint8_t handle[HF_REVOCATION_HANDLE_LEN]);

void hf__handles_sort(struct hf__handles *handles);

/** hf__handles_has looks one up in a sorted list. */
HF_MUST_USE bool hf__handles_has(const struct hf__handles *handles,
                                 const uint8_t handle[HF_REVOCATION_HANDLE_LEN]);

/** hf__handle_of_certificate makes the handle of a serial number under an issuer. Issuers that
 *  compare equal give equal handles. */
void hf__handle_of_certificate(uint8_t out[HF_REVOCATION_HANDLE_LEN], const struct hf__name *issuer,
                               struct hf_bytes serial);

/** hf__handle_of_bytes makes the handle of a key or an anchor. */
void hf__handle_of_bytes(uint8_t out[HF_REVOCATION_HANDLE_LEN], uint8_t kind,
                         struct hf_bytes bytes);

/** A CRL that has been read. Immutable but for `is_verified`. */
struct hf__crl {
    uint8_t *issuer_der; /**< owned; `issuer` looks into it */
    struct hf__name issuer;
    uint8_t key_id[HF__KEY_ID_MAX]; /**< authorityKeyIdentifier */
    uint8_t key_id_len;
    int64_t this_update_s;
    int64_t next_update_s;
    uint8_t digest[32];
    uint8_t signature[64];
    uint32_t is_verified; /**< atomic: 0 no, 1 being written, 2 under `public_key` */
    uint8_t public_key[65];
};

/** hf__crl_read reads a CRL that fills `der` and adds its entries to `revoked`. Errors:
 * HF_E_CONFIG, with `*why`, HF_E_MEMORY. Whatever the outcome hf__crl_wipe() releases `out`. */
HF_MUST_USE enum hf_status hf__crl_read(struct hf__crl *out, struct hf__handles *revoked,
                                        const char **why, struct hf_bytes der);

void hf__crl_wipe(struct hf__crl *crl);

/** hf__crl_is_of tells whether the CRL answers for what `issuer` signed. */
HF_MUST_USE bool hf__crl_is_of(const struct hf__crl *crl, const struct hf__certificate *issuer);

/** hf__crl_is_verified tells whether the signature is known to be good under the key. Thread: any.
 */
HF_MUST_USE bool hf__crl_is_verified(const struct hf__crl *crl, const uint8_t public_key[65]);

/** hf__crl_remember notes that it is; only the first key is kept. Thread: any. */
void hf__crl_remember(const struct hf__crl *crl, const uint8_t public_key[65]);

#endif
