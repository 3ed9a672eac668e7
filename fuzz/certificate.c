/**
 * certificate.c - fuzz target: a server with client certificates and raw public keys, against a
 * client whose messages are genuine until the input changes them: Certificate, ClientKeyExchange,
 * CertificateVerify and all that is before and between. duel.h says what must hold.
 *
 * Input: which transport, what both have, the limits of fuzz_world_config(), a script.
 */
#include "duel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 1)
        return 0;
    fuzz_duel_run(data + 1, len - 1, data[0] & 1, false);
    return 0;
}
