/**
 * signer_wire.h - the protocol between a daemon and a remote signer: docs/SIGNER.md in constants.
 * For both ends; knows no sockets.
 *
 * Each message is one packet of a SOCK_SEQPACKET socket. Numbers are big-endian.
 *     request:  version, kind, id (4), label length, label, digest (32; HF_SIGNER_SIGN only)
 *     answer:   version, kind, id (4), result, payload (the rest)
 */
#ifndef HF_SIGNER_WIRE_H
#define HF_SIGNER_WIRE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HF_SIGNER_VERSION 1

enum hf_signer_kind {
    HF_SIGNER_SIGN = 1, /**< payload of the answer: an ECDSA-Sig-Value in DER */
    HF_SIGNER_KEY = 2,  /**< payload of the answer: the SubjectPublicKeyInfo in DER */
};

enum hf_signer_result {
    HF_SIGNER_DONE = 0,
    HF_SIGNER_UNKNOWN = 1,   /**< no key has this label */
    HF_SIGNER_FAILED = 2,    /**< the key is there and could not be used */
    HF_SIGNER_MALFORMED = 3, /**< the request is not one of this version */
};

#define HF_SIGNER_LABEL_MAX 64
#define HF_SIGNER_DIGEST_LEN 32
#define HF_SIGNER_REQUEST_MAX (7 + HF_SIGNER_LABEL_MAX + HF_SIGNER_DIGEST_LEN)
#define HF_SIGNER_PAYLOAD_MAX 128
#define HF_SIGNER_ANSWER_MIN 7
#define HF_SIGNER_ANSWER_MAX (HF_SIGNER_ANSWER_MIN + HF_SIGNER_PAYLOAD_MAX)

static inline void hf_signer_put_id(uint8_t *out, uint32_t id)
{
    out[0] = (uint8_t)(id >> 24);
    out[1] = (uint8_t)(id >> 16);
    out[2] = (uint8_t)(id >> 8);
    out[3] = (uint8_t)id;
}

static inline uint32_t hf_signer_get_id(const uint8_t *in)
{
    return (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 | (uint32_t)in[2] << 8 | in[3];
}

/** hf_signer_write_request gives the length. `digest` NULL: HF_SIGNER_KEY. */
static inline size_t hf_signer_write_request(uint8_t out[HF_SIGNER_REQUEST_MAX], uint32_t id,
                                             const char *label, const uint8_t *digest)
{
    size_t label_len = strnlen(label, HF_SIGNER_LABEL_MAX);

    out[0] = HF_SIGNER_VERSION;
    out[1] = digest ? HF_SIGNER_SIGN : HF_SIGNER_KEY;
    hf_signer_put_id(out + 2, id);
    out[6] = (uint8_t)label_len;
    memcpy(out + 7, label, label_len);
    if (!digest)
        return 7 + label_len;
    memcpy(out + 7 + label_len, digest, HF_SIGNER_DIGEST_LEN);
    return 7 + label_len + HF_SIGNER_DIGEST_LEN;
}

#endif
