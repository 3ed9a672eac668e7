/**
 * keys.h - the keys a signer has, by label, wherever they are.
 */
#ifndef HF_SIGNER_KEYS_H
#define HF_SIGNER_KEYS_H

#include "signer_wire.h"

#include <handfast/job.h>

#define KEYS_MAX 64
#define KEYS_ERROR_MAX 256
#define KEYS_SIGNINGS_MAX 64

struct pkcs11;

/** One key. */
struct key {
    char label[HF_SIGNER_LABEL_MAX + 1];
    struct hf_credential *credential; /**< from a PEM file; or the public key of a PKCS#11 one */
    bool is_object;                   /**< behind PKCS#11 */
    uint64_t handle;                  /**< PKCS#11: of the private key, in this session */
    char object[HF_SIGNER_LABEL_MAX + 1]; /**< PKCS#11: CKA_LABEL */
};

struct keys {
    struct key keys[KEYS_MAX];
    size_t count;
    struct pkcs11 *module; /**< NULL: PEM files only */
};

/** A signature that is asked for. */
struct signing {
    struct key *key;
    uint8_t digest[HF_SIGNER_DIGEST_LEN];
    uint8_t signature[HF_P256_SIGNATURE_MAX]; /**< out, DER */
    size_t signature_len;                     /**< out; 0: it failed */
};

/** keys_add_file reads a PEM private key. False: `error` says why. */
HF_MUST_USE bool keys_add_file(struct keys *keys, char error[KEYS_ERROR_MAX], const char *label,
                               const char *path);

/** keys_add_object looks for the key pair called `object` in the module's token. */
HF_MUST_USE bool keys_add_object(struct keys *keys, char error[KEYS_ERROR_MAX], const char *label,
                                 const char *object);

/** keys_find gives the key of a label, or NULL. */
struct key *keys_find(struct keys *keys, const uint8_t *label, size_t label_len);

/** keys_sign signs all, at most KEYS_SIGNINGS_MAX; those of PEM files share batches. Each signature
 *  has been verified. */
void keys_sign(struct keys *keys, struct signing *signings, size_t count);

void keys_close(struct keys *keys);

#endif
