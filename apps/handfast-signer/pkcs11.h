/**
 * pkcs11.h - EC keys behind a PKCS#11 module: one token, one session, P-256 alone.
 */
#ifndef HF_SIGNER_PKCS11_H
#define HF_SIGNER_PKCS11_H

#include "keys.h"

/** How to get at the token. */
struct pkcs11_config {
    const char *module; /**< path of the shared object */
    const char *token;  /**< label; NULL: the only one there is */
    const char *pin;    /**< NULL: no login */
};

/** pkcs11_open loads the module and logs in. False: `error` says why. */
HF_MUST_USE bool pkcs11_open(struct pkcs11 **out, char error[KEYS_ERROR_MAX],
                             const struct pkcs11_config *config);
void pkcs11_close(struct pkcs11 *module);

/** pkcs11_find gives the handle of the private key called `object`, and the point of the public
 *  key of that name. */
HF_MUST_USE bool pkcs11_find(uint64_t *handle, uint8_t point[HF_P256_POINT_LEN],
                             char error[KEYS_ERROR_MAX], struct pkcs11 *module, const char *object);

/** pkcs11_sign makes r || s. A session that has been lost is opened again once, and the key looked
 *  for again. */
HF_MUST_USE bool pkcs11_sign(uint8_t out[64], struct pkcs11 *module, struct key *key,
                             const uint8_t digest[HF_SIGNER_DIGEST_LEN]);

#endif
