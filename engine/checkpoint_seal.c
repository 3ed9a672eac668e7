/**
 * checkpoint_seal.c - the seal of what is kept of associations on a disk: see
 * <handfast/transfer.h>.
 */
#include "core.h"

#include <handfast/transfer.h>

#define LABEL "handfast checkpoint"

_Static_assert(HF_CHECKPOINT_EXPANSION == HF_SEAL_EXPANSION, "the header's is the cipher's");

void hf_checkpoint_seal(uint8_t *out, const struct hf_shared_secret *secret, struct hf_bytes place,
                        struct hf_bytes in)
{
    struct hf_seal_key key;
    hf_seal_key_init(&key, (struct hf_bytes){secret->secret, sizeof secret->secret}, LABEL);
    hf_seal(out, &key, place, in.data, in.len);
    hf_wipe(&key, sizeof key);
}

bool hf_checkpoint_unseal(uint8_t *out, const struct hf_shared_secret *secret,
                          struct hf_bytes place, struct hf_bytes in)
{
    struct hf_seal_key key;
    if (in.len < HF_SEAL_EXPANSION)
        return false;
    hf_seal_key_init(&key, (struct hf_bytes){secret->secret, sizeof secret->secret}, LABEL);
    bool is_good = hf_unseal(out, &key, place, in.data, in.len);
    hf_wipe(&key, sizeof key);
    return is_good;
}
