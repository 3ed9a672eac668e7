/**
 * library.c - which libcrypto this process really has.
 *
 * Linked dynamically, BoringSSL's functions go by names that OpenSSL's libcrypto has, too. In a
 * program that loads both, the loader may take some from one and some from the other: contexts of
 * one under functions of the other, AES without constant time. Better not to start.
 */
#include "private.h"

#include <openssl/crypto.h>

#include <string.h>

#ifdef HF_UNSAFE_FUZZING
bool hf__fuzz_accept = true;
#endif

bool hf_crypto_is_boringssl(void)
{
    static const char expected[] = "BoringSSL";
    const char *version = OpenSSL_version(OPENSSL_VERSION);
    return version && strlen(version) >= sizeof expected - 1 &&
           hf_bytes_equal_public(version, expected, sizeof expected - 1);
}
