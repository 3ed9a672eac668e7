/**
 * credential.h - the inside of hf_credential, for the scheduler. Private to crypto/.
 */
#ifndef HF_CREDENTIAL_H
#define HF_CREDENTIAL_H

#include "p256.h"

#include <handfast/credential.h>

/** SubjectPublicKeyInfo of an uncompressed P-256 point (RFC 5480 2), up to the point. */
#define HF__SPKI_PREFIX_LEN 26
#define HF__SPKI_LEN (HF__SPKI_PREFIX_LEN + HF_P256_POINT_LEN)
extern const uint8_t hf__spki_prefix[HF__SPKI_PREFIX_LEN];

/** hf__credential_key gives the key to sign with, or NULL where a remote signer has it. */
const struct hf_p256_key *hf__credential_key(const struct hf_credential *credential);

/** hf__credential_prepared gives what the lanes check our own signatures with, or NULL. */
const struct hf_p256_prepared *hf__credential_prepared(const struct hf_credential *credential);

#endif
