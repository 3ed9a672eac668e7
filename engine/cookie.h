/**
 * cookie.h - the stateless exchange before a DTLS association (RFC 6347 4.2.1): nothing is
 * allocated and nothing is remembered for a peer until it has shown that it receives what is sent
 * to its address.
 *
 * A cookie is HMAC(secret, period || path || client_version || random), 16 bytes of it, behind the
 * low byte of the period. It covers fields that stand in front of the cookie in a ClientHello, so
 * that a hello whose first fragment holds them needs no reassembly to be judged; not the session
 * ID, because Mbed TLS with a ticket draws another one for the hello that brings the cookie.
 */
#ifndef HF_COOKIE_H
#define HF_COOKIE_H

#include "core.h"

#define HF_COOKIE_LEN 17

/** The beginning of a ClientHello, up to the cookie. */
struct hf_hello_front {
    uint16_t version;
    struct hf_bytes random;
    struct hf_bytes session_id;
    struct hf_bytes cookie;
};

/** hf_cookie_front reads it. Errors: HF_E_DECODE. */
HF_MUST_USE enum hf_status hf_cookie_front(struct hf_hello_front *out, struct hf_bytes body);

void hf_cookie_make(uint8_t out[HF_COOKIE_LEN], const struct hf_engine *engine,
                    const struct hf_path_key *path, const struct hf_hello_front *front);

/** hf_cookie_check accepts a cookie of the current period or the one before. */
HF_MUST_USE bool hf_cookie_check(const struct hf_engine *engine, const struct hf_path_key *path,
                                 const struct hf_hello_front *front);

#endif
