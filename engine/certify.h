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

enum {
    HF_CURVE_TYPE_NAMED = 3, /* RFC 8422 5.4 */
    HF_GROUP_SECP256R1 = 23,
    HF_POINT_UNCOMPRESSED_TAG = 4,
    HF_CERTIFICATE_TYPE_ECDSA_SIGN = 64, /* RFC 8422 5.5 */
    HF_SIGNATURE_ECDSA_SHA256 = 0x0403,
};

/** What both roles do with the peer's messages and the job's answers: */

/** hf_certify_keep_chain keeps the body of a Certificate message for the job. Errors: HF_E_DECODE,
 *  HF_E_MESSAGE_TOO_LONG, HF_E_NO_CERTIFICATE. */
HF_MUST_USE enum hf_status hf_certify_keep_chain(struct hf_engine *engine,
                                                 struct hf_handshake *handshake,
                                                 struct hf_bytes body);

/** hf_certify_read_signature reads algorithm and signature, which are all that is left. Errors:
 *  HF_E_DECODE (and the reader has failed), HF_E_ILLEGAL_PARAMETER, HF_E_BAD_SIGNATURE. */
HF_MUST_USE enum hf_status hf_certify_read_signature(struct hf_bytes *out,
                                                     struct hf_reader *reader);

/** hf_certify_bind_peer keeps who the peer is, as far as its certificate tells. Errors:
 *  HF_E_ASSOCIATION_LIMIT. */
HF_MUST_USE enum hf_status hf_certify_bind_peer(struct hf_engine *engine,
                                                struct hf_association *association,
                                                struct hf_handshake *handshake,
                                                const struct hf_peer_identity *peer);

/** hf_certify_master makes the master secret of the job's shared secret, and wipes that. */
void hf_certify_master(struct hf_association *association, const struct hf_handshake *handshake,
                       struct hf_job *job);

/** hf_certify_is_admitted tells whether a peer with a certificate has shown to be what belongs at
 *  the reference point: on Mcc and Mcc' a CSE whose CSE-ID is known (TS-0003 8.2.1). */
HF_MUST_USE bool hf_certify_is_admitted(const struct hf_engine *engine,
                                        const struct hf_association *association);

#endif
