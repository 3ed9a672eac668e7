/**
 * prove.h - the client's handshake with certificates and raw public keys (RFC 8422, RFC 7250,
 * TS-0003 8.2.2.2). It is parked twice, each time for one compound job: the server's chain and
 * signature judged, and our key share made and agreed on; then our signature.
 */
#ifndef HF_PROVE_H
#define HF_PROVE_H

#include "core.h"

/** hf_prove_begin takes a proof slot: the server's hello has agreed on certificates. Errors:
 *  HF_E_PROOF_LIMIT. */
HF_MUST_USE enum hf_status hf_prove_begin(struct hf_engine *engine,
                                          struct hf_association *association);

/** hf_prove_ask has the server's flight, which is whole, judged. Call last in a step. */
void hf_prove_ask(struct hf_engine *engine, struct hf_association *association);

#endif
