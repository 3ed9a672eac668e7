/**
 * certify.h - the server's handshake with certificates and raw public keys (RFC 8422, RFC 7250,
 * TS-0003 8.2.2.2): what it has instead of a psk_identity. It is parked twice, each time for one
 * compound job: our key share made and signed; the peer's chain, signature and key share judged.
 */
#ifndef HF_CERTIFY_H
#define HF_CERTIFY_H

#include "core.h"

/** hf_certify_begin takes a proof slot and asks for our key share. The terms are settled. Errors:
 *  HF_E_PROOF_LIMIT. */
HF_MUST_USE enum hf_status hf_certify_begin(struct hf_engine *engine,
                                            struct hf_association *association);

/** hf_certify_is_admitted tells whether a peer with a certificate has shown to be what belongs at
 *  the reference point: on Mcc and Mcc' a CSE whose CSE-ID is known (TS-0003 8.2.1). */
HF_MUST_USE bool hf_certify_is_admitted(const struct hf_engine *engine,
                                        const struct hf_association *association);

#endif
