/**
 * offer.h - our ClientHello, and the server's hello judged against it: nothing is accepted that was
 * not offered.
 */
#ifndef HF_OFFER_H
#define HF_OFFER_H

#include "core.h"

/** hf_offer_is_offered tells whether a suite is among those of this handshake's ClientHello. */
HF_MUST_USE bool hf_offer_is_offered(const struct hf_dialer *dialer,
                                     const struct hf_handshake *handshake, uint16_t suite);

/** hf_offer_write writes the body of a ClientHello (RFC 5246 7.4.1.2; RFC 6347 4.2.1), but for the
 *  ticket it ends with, if the handshake has one. */
void hf_offer_write(struct hf_writer *writer, const struct hf_dialer *dialer,
                    const struct hf_handshake *handshake,
                    const uint8_t client_random[HF_RANDOM_LEN], struct hf_bytes cookie);

/** hf_offer_has_suite tells whether the dialer has a suite to offer, with a psk_identity or
 *  without. */
HF_MUST_USE bool hf_offer_has_suite(const struct hf_dialer *dialer, bool has_identity);

/** hf_offer_accept reads the body of a ServerHello. Out: the handshake's terms, but for the server
 *  name; the server's random. Errors: HF_E_DECODE, HF_E_VERSION, HF_E_ILLEGAL_PARAMETER (a suite or
 *  value not offered, an extension twice), HF_E_UNSUPPORTED_EXTENSION, HF_E_RENEGOTIATION,
 *  HF_E_NO_EXTENDED_MASTER_SECRET, HF_E_CERTIFICATE_TYPE. */
HF_MUST_USE enum hf_status hf_offer_accept(struct hf_handshake *handshake,
                                           uint8_t server_random[HF_RANDOM_LEN],
                                           const struct hf_dialer *dialer, struct hf_bytes body);

#endif
