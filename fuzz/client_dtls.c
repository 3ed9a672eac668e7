/**
 * client_dtls.c - fuzz target: the client's role on the whole engine, over DTLS, against a server
 * whose flights are genuine until the input changes them. duel.h says what must hold.
 *
 * Input: what both have, the limits of fuzz_world_config(), a script (duel_script.c).
 */
#include "duel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    fuzz_duel_run(data, len, true, true);
    return 0;
}
