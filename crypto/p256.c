/**
 * p256.c - which back end: the lanes where there are any and enough operations, else BoringSSL.
 */
#include "p256.h"

const struct hf_p256_backend *hf_p256_lanes(void)
{
    return NULL;
}

const struct hf_p256_backend *hf_p256_best(void)
{
    return hf_p256_portable();
}
