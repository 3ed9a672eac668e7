/**
 * crypto.h - what the engine may know of cryptography: secrets, hashing, the TLS 1.2 PRF, record
 * protection, randomness. No <openssl/...> here, and no knowledge of sessions or state machines.
 *
 * Everything inline and fixed in size: no call here allocates. Constant time wherever a secret is
 * touched; docs/CONVENTIONS.md tells how that is checked.
 */
#ifndef HF_CRYPTO_H
#define HF_CRYPTO_H

#include <handfast/status.h>

/* ---- secrets ---------------------------------------------------------------------------- */

#define HF_SECRET_LEN_MAX 132

/** hf_secret is the only carrier of key material outside pools. Wipe it on the single exit path. */
struct hf_secret {
    uint16_t len;
    uint8_t data[HF_SECRET_LEN_MAX];
};

/** hf_wipe clears memory in a way the compiler keeps. */
void hf_wipe(void *data, size_t len);

/** hf_ct_equal compares without leaking where two values differ. */
HF_MUST_USE bool hf_ct_equal(const void *a, const void *b, size_t len);

/** hf_bytes_equal_public compares values that are no secret; the name carries the claim. */
HF_MUST_USE bool hf_bytes_equal_public(const void *a, const void *b, size_t len);

/** hf_ct_secret and hf_ct_public mark memory for the constant-time checks (memcheck's and MSan's
 *  undefined-value method); they compile to nothing unless HF_CT_CHECK is defined. */
void hf_ct_secret(const void *data, size_t len);
void hf_ct_public(const void *data, size_t len);

/** hf_random fills `out` from BoringSSL's generator, drawing small requests in bulk (per thread;
 *  dropped after fork by MADV_WIPEONFORK). */
void hf_random(void *out, size_t len);

/** hf_crypto_mark_secret_memory keeps a mapped range out of core dumps and forked children. */
void hf_crypto_mark_secret_memory(void *data, size_t len);

/** hf_crypto_is_boringssl tells whether the loader has bound us to BoringSSL, and not to another
 *  libcrypto that the process has loaded as well. */
HF_MUST_USE bool hf_crypto_is_boringssl(void);

/* ---- hashing ---------------------------------------------------------------------------- */

#define HF_SHA256_LEN 32

/** A running SHA-256. May be copied by assignment. */
struct hf_sha256 {
    uint64_t opaque[14];
};

void hf_sha256_init(struct hf_sha256 *hash);
void hf_sha256_update(struct hf_sha256 *hash, const void *data, size_t len);
/** hf_sha256_final writes the digest; `hash` is spent. */
void hf_sha256_final(uint8_t out[HF_SHA256_LEN], struct hf_sha256 *hash);

/** An HMAC-SHA256 key with both pads already hashed (RFC 2104 4). Secret: wipe. */
struct hf_hmac_key {
    uint32_t inner[8];
    uint32_t outer[8];
};

void hf_hmac_key_init(struct hf_hmac_key *key, struct hf_bytes secret);
/** hf_hmac computes over the concatenation of `parts`. */
void hf_hmac(uint8_t out[HF_SHA256_LEN], const struct hf_hmac_key *key,
             const struct hf_bytes *parts, size_t part_count);

/** hf_siphash is SipHash-2-4, for table keys that strangers choose. */
uint64_t hf_siphash(const uint64_t key[2], const void *data, size_t len);

/** hf_xxh3 is XXH3-64, for keys we make ourselves. */
uint64_t hf_xxh3(const void *data, size_t len);

/* ---- TLS 1.2 key derivation (RFC 5246 5, 6.3, 8.1; RFC 7627 4; RFC 5705 4) ---------------- */

#define HF_MASTER_SECRET_LEN 48
#define HF_RANDOM_LEN 32
#define HF_VERIFY_DATA_LEN 12

/** hf_prf is PRF(secret, label, seed) with SHA-256; the seed is the concatenation of `seeds`, at
 *  most 6. */
void hf_prf(uint8_t *out, size_t out_len, const struct hf_hmac_key *secret, const char *label,
            const struct hf_bytes *seeds, size_t seed_count);

/** hf_psk_premaster builds the plain-PSK premaster secret (RFC 4279 2). In: `psk` 1..64 bytes. */
HF_MUST_USE enum hf_status hf_psk_premaster(struct hf_secret *out, struct hf_bytes psk);

/** hf_master_secret derives 48 bytes. `session_hash` NULL: RFC 5246 8.1; else RFC 7627 4. */
void hf_master_secret(uint8_t out[HF_MASTER_SECRET_LEN], const struct hf_secret *premaster,
                      const uint8_t client_random[HF_RANDOM_LEN],
                      const uint8_t server_random[HF_RANDOM_LEN], const uint8_t *session_hash);

/* ---- record protection -------------------------------------------------------------------- */

enum hf_cipher {
    HF_CIPHER_NONE = 0,
    HF_CIPHER_AES_128_CCM_8,          /**< RFC 6655: L = 3, M = 8 */
    HF_CIPHER_AES_128_CCM,            /**< RFC 6655: L = 3, M = 16 */
    HF_CIPHER_AES_128_GCM,            /**< RFC 5288 */
    HF_CIPHER_AES_128_CBC_SHA256,     /**< RFC 5246 6.2.3.2, MAC then encrypt */
    HF_CIPHER_AES_128_CBC_SHA256_ETM, /**< RFC 7366 */
};

/** Raw keys of one direction, as kept in a cold record. Secret: wipe. */
struct hf_record_key {
    uint8_t cipher; /**< enum hf_cipher */
    uint8_t zero[3];
    uint8_t fixed_iv[4]; /**< AEAD: the implicit part of the nonce */
    uint8_t key[16];
    uint8_t mac_key[32]; /**< CBC only */
};

/** hf_record_keys_derive expands the key block (RFC 5246 6.3) for both directions. */
void hf_record_keys_derive(struct hf_record_key *client_write, struct hf_record_key *server_write,
                           enum hf_cipher cipher, const struct hf_hmac_key *master,
                           const uint8_t client_random[HF_RANDOM_LEN],
                           const uint8_t server_random[HF_RANDOM_LEN]);

/** The most bytes any cipher adds to a record: explicit IV, padding and MAC. */
#define HF_RECORD_EXPANSION_MAX 80

/** hf_record_expansion gives the most bytes `cipher` adds to a plaintext of any length. */
size_t hf_record_expansion(enum hf_cipher cipher);

/** hf_record_len_min gives the length of the shortest fragment that can be valid. */
size_t hf_record_len_min(enum hf_cipher cipher);

/** The longest connection ID of ours or of a peer (RFC 9146 allows 255). */
#define HF_CID_LEN_MAX 32

/** What the MAC or the AEAD covers besides the data (RFC 5246 6.2.3; RFC 6347 4.1.2.1). With a
 *  connection ID it is the form of RFC 9146 5, and `type` on the wire is 25 whatever is here. */
struct hf_record_header {
    uint64_t seq;     /**< TLS: the implicit number. DTLS: epoch << 48 | sequence number */
    uint16_t version; /**< as on the wire */
    uint8_t type;
    struct hf_bytes cid; /**< of a tls12_cid record, at most HF_CID_LEN_MAX; empty: none */
};

/** hf_record_front gives the length of what a record begins with: explicit nonce or IV. */
size_t hf_record_front(enum hf_cipher cipher);

/** hf_record_seal protects `in` into `out`: explicit nonce or IV, ciphertext, MAC. They must not
 *  overlap, unless `in` is out + hf_record_front(): then it is sealed in place. In: `in_len` at
 *  most 2^14; `out_max` at least in_len + hf_record_expansion(). The AEAD's explicit nonce is
 *  `header->seq`; the CBC IV is fresh randomness, never repeated. Errors: HF_E_TOO_LONG;
 *  HF_E_ARGUMENT for HF_CIPHER_NONE: a wiped key protects nothing. */
HF_MUST_USE enum hf_status hf_record_seal(uint8_t *out, size_t *out_len, size_t out_max,
                                          const struct hf_record_key *key,
                                          const struct hf_record_header *header, const uint8_t *in,
                                          size_t in_len);

/** hf_record_open checks and decrypts `data` in place. Out: the plaintext is
 *  data[*plain_offset .. + *plain_len). On HF_E_BAD_RECORD_MAC - the one answer to bad padding, a
 *  bad MAC and a record that is too short - the outputs and `data` are zero. Constant time in the
 *  content, for MAC-then-encrypt in the padding length too (RFC 5246 6.2.3.2; CVE-2013-0169). In:
 *  `len` at most 2^14 + 2048. Errors: HF_E_ARGUMENT also for HF_CIPHER_NONE or a longer record. */
HF_MUST_USE enum hf_status hf_record_open(size_t *plain_offset, size_t *plain_len,
                                          const struct hf_record_key *key,
                                          const struct hf_record_header *header, uint8_t *data,
                                          size_t len);

/* ---- what we seal for ourselves ------------------------------------------------------------ */

/** A synthetic nonce in front, a tag behind. */
#define HF_SEAL_EXPANSION 32

/** A key that seals what a peer keeps for us (RFC 5077 4). Secret: wipe. */
struct hf_seal_key {
    struct hf_hmac_key nonce_key;
    struct hf_hmac_key cipher_key;
};

/** hf_seal_key_init derives it from `secret`, any length; `label` keeps uses apart. */
void hf_seal_key_init(struct hf_seal_key *key, struct hf_bytes secret, const char *label);

/** hf_seal writes in_len + HF_SEAL_EXPANSION bytes to `out`, not overlapping. Deterministic: equal
 *  input gives equal output, so a sealed thing can be made again; otherwise nothing shows. Each
 *  nonce has a cipher key of its own, so that no number of seals brings two under one nonce. */
void hf_seal(uint8_t *out, const struct hf_seal_key *key, struct hf_bytes aad, const uint8_t *in,
             size_t in_len);

/** hf_unseal writes in_len - HF_SEAL_EXPANSION bytes to `out`; false, and zero, for anything that
 *  hf_seal() with this key and `aad` did not make. */
HF_MUST_USE bool hf_unseal(uint8_t *out, const struct hf_seal_key *key, struct hf_bytes aad,
                           const uint8_t *in, size_t in_len);

#ifdef HF_UNSAFE_FUZZING
/** Fuzzing only: MACs, signatures and verify_data always match, unless the target says otherwise.
 *  CMake refuses it in a release build. */
extern bool hf__fuzz_accept;
#define HF_FUZZ_ACCEPT hf__fuzz_accept
#else
#define HF_FUZZ_ACCEPT 0
#endif

#endif
