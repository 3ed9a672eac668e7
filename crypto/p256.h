/**
 * p256.h - P-256 by the batch: key pairs, ECDH, ECDSA. Two back ends, one contract.
 *
 * A call takes any number of operations of one kind; each has its own status, and one that fails
 * disturbs no other. Scalars, coordinates and signatures are big-endian, of fixed length. Knows no
 * jobs, no encodings but the uncompressed point, no certificates.
 *
 * Thread: any. What the calls work on is the caller's.
 */
#ifndef HF_P256_H
#define HF_P256_H

#include "crypto.h"

#define HF_P256_SCALAR_LEN 32
#define HF_P256_POINT_LEN 65     /**< 0x04, x, y (SEC 1 2.3.3) */
#define HF_P256_SIGNATURE_LEN 64 /**< r, s */

/** A key to sign with. `native` is BoringSSL's form of it, made once, by hf_p256_key_open().
 * Secret: the scalar. */
struct hf_p256_key {
    uint8_t scalar[HF_P256_SCALAR_LEN];
    uint8_t public_key[HF_P256_POINT_LEN];
    void *native;
};

/** hf_p256_key_open makes a key ready to sign with. Owns: the caller closes. Errors:
 *  HF_E_ILLEGAL_PARAMETER unless the scalar is in 1..n-1; HF_E_MEMORY. */
HF_MUST_USE enum hf_status hf_p256_key_open(struct hf_p256_key *out,
                                            const uint8_t scalar[HF_P256_SCALAR_LEN]);

/** hf_p256_key_close wipes it. A zeroed key may be closed. */
void hf_p256_key_close(struct hf_p256_key *key);

/** A new key pair. Out: 32 and 65 bytes; the scalar is uniform in 1..n-1. */
struct hf_p256_generate {
    uint8_t *private_key;
    uint8_t *public_key;
    enum hf_status status;
};

/** ECDH (SEC 1 3.3.1). In: 32 and 65 bytes. Out: the x-coordinate, 32 bytes, zero on failure.
 *  Errors: HF_E_ILLEGAL_PARAMETER: `peer` is no point of the curve in uncompressed form, or
 *  `private_key` is not in 1..n-1 (whether it is, becomes public). */
struct hf_p256_agree {
    const uint8_t *private_key;
    const uint8_t *peer;
    uint8_t *shared;
    enum hf_status status;
};

/** An ECDSA signature over a SHA-256 digest (FIPS 186-4 6.4). In: 32 bytes. Out: r || s, 64 bytes.
 *  The nonce is fresh randomness hedged with the key and the digest, and is never kept. What is
 *  made here is not verified here. */
struct hf_p256_sign {
    const struct hf_p256_key *key;
    const uint8_t *digest;
    uint8_t *signature;
    enum hf_status status;
};

/** Multiples of a key that is known beforehand - a CA's, our own -, with which the lanes verify
 * more than twice as fast. About 86 KiB. Public; may be shared by threads. */
struct hf_p256_prepared;

/** hf_p256_prepare makes them. Gives NULL where they are of no use (no lanes), or there is no
 *  memory, or the key is no point of the curve: what cannot be prepared is verified without. Owns:
 *  the caller closes. Cost: 0.5 ms. */
HF_MUST_USE struct hf_p256_prepared *hf_p256_prepare(const uint8_t public_key[HF_P256_POINT_LEN]);

/** hf_p256_prepared_close releases them; NULL is allowed. */
void hf_p256_prepared_close(struct hf_p256_prepared *prepared);

/** Verification; everything is public. `prepared` is made from `public_key`, or NULL. In: 65, 32
 * and 64 bytes. Errors: HF_E_ILLEGAL_PARAMETER for a key that is no point of the curve,
 * HF_E_BAD_SIGNATURE for any other mismatch. */
struct hf_p256_verify {
    const uint8_t *public_key;
    const uint8_t *digest;
    const uint8_t *signature;
    enum hf_status status;
    const struct hf_p256_prepared *prepared;
};

/** One way of doing it. `lanes` is how many operations at a time cost as much as one. */
struct hf_p256_backend {
    const char *name;
    size_t lanes;
    void (*generate)(struct hf_p256_generate *operations, size_t count);
    void (*agree)(struct hf_p256_agree *operations, size_t count);
    void (*sign)(struct hf_p256_sign *operations, size_t count);
    void (*verify)(struct hf_p256_verify *operations, size_t count);
};

/** hf_p256_portable is BoringSSL, one by one. */
const struct hf_p256_backend *hf_p256_portable(void);

/** hf_p256_lanes is the 8-lane back end; NULL where this processor or this build (HF_LANES) lacks
 *  it, or where the environment says HANDFAST_LANES=off. The first call decides for the process. */
const struct hf_p256_backend *hf_p256_lanes(void);

/** From how many operations on a round of the lanes, which always costs the same, is cheaper than
 *  BoringSSL one by one. Measured: docs/BATCHING.md. */
#define HF_P256_BREAK_EVEN_GENERATE 1
#ifdef HF_BORINGSSL_UPSTREAM
#define HF_P256_BREAK_EVEN_AGREE 2
#else
#define HF_P256_BREAK_EVEN_AGREE 1 /* Debian's is built small */
#endif
#define HF_P256_BREAK_EVEN_SIGN 1
#define HF_P256_BREAK_EVEN_VERIFY 1

struct hf_p256_break_even {
    size_t generate;
    size_t agree;
    size_t sign;
    size_t verify;
};

/** hf_p256_set_break_even changes these counts for the process. A count above 7 leaves only whole
 *  rounds to the lanes. Thread: before others use hf_p256_best(). */
void hf_p256_set_break_even(const struct hf_p256_break_even *counts);

/** hf_p256_best takes the lanes for whole rounds, and for the rest from the break-even count on;
 *  BoringSSL otherwise. */
const struct hf_p256_backend *hf_p256_best(void);

#endif
