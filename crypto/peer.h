/**
 * peer.h - who a certificate's holder is: the subjectAltName of each flavour (TS-0003 10.1.1) as an
 * entity or a Credential-ID. Private to crypto/.
 */
#ifndef HF_PEER_H
#define HF_PEER_H

#include "trust.h"

#include <handfast/job.h>

/** hf__peer_identify finds the one name in `leaf` that the configuration asks for and writes
 *  flavour, entity and Credential-ID into `out`. In: `flavours`: those that may be; `expected`:
 *  whom we dialled, or NULL. Errors: HF_E_CERTIFICATE_TYPE, HF_E_CERTIFICATE_IDENTITY,
 *  HF_E_CERTIFICATE_AMBIGUOUS, HF_E_CERTIFICATE_WILDCARD, HF_E_PEER_NAME. Spec:
 * TS-0003 8.1.2, 8.2.1, 10.1.1, 10.4. */
HF_MUST_USE enum hf_status hf__peer_identify(struct hf_peer_identity *out,
                                             const struct hf_trust *trust,
                                             const struct hf__certificate *leaf, uint8_t flavours,
                                             const struct hf_expected_peer *expected);

#endif
