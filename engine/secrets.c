/**
 * secrets.c - see secrets.h.
 */
#include "secrets.h"

#include <string.h>

static void derive(uint8_t out[HF_SHA256_LEN], const struct hf_hmac_key *root, const char *label)
{
    const struct hf_bytes part = {(const uint8_t *)label, strlen(label)};
    hf_hmac(out, root, &part, 1);
}

static void make_keys(struct hf_secret_keys *keys, const struct hf_shared_secret *secret)
{
    const struct hf_bytes bytes = {secret->secret, sizeof secret->secret};
    struct hf_hmac_key root;
    uint8_t derived[HF_SHA256_LEN];
    hf_hmac_key_init(&root, bytes);
    keys->from_s = secret->from_s;
    derive(derived, &root, "handfast cookie");
    hf_hmac_key_init(&keys->cookie_key, (struct hf_bytes){derived, sizeof derived});
    derive(keys->cid_key, &root, "handfast connection id");
    derive(derived, &root, "handfast ticket name");
    memcpy(keys->ticket_name, derived, HF_TICKET_NAME_LEN);
    hf_seal_key_init(&keys->ticket_key, bytes, "handfast ticket");
    hf_wipe(derived, sizeof derived);
    hf_wipe(&root, sizeof root);
}

void hf_secrets_init(struct hf_secrets *secrets, const struct hf_shared_secrets *shared)
{
    struct hf_shared_secrets drawn = {.count = 1};
    hf_random(drawn.entries[0].secret, sizeof drawn.entries[0].secret);
    secrets->is_shared = shared->count > 0;
    const struct hf_shared_secrets *source = secrets->is_shared ? shared : &drawn;
    secrets->count = source->count < HF_SHARED_SECRETS_MAX ? source->count : HF_SHARED_SECRETS_MAX;
    for (uint32_t i = 0; i < secrets->count; i++)
        make_keys(&secrets->entries[i], &source->entries[i]);
    hf_wipe(&drawn, sizeof drawn);
}

uint32_t hf_secrets_active(const struct hf_secrets *secrets, int64_t wall_s)
{
    uint32_t at = 0;
    while (at + 1 < secrets->count && secrets->entries[at].from_s > wall_s)
        at++;
    return at; /* the oldest if the time of none has come */
}

const struct hf_secret_keys *hf_secrets_named(const struct hf_secrets *secrets,
                                              const uint8_t name[HF_TICKET_NAME_LEN])
{
    for (uint32_t i = 0; i < secrets->count; i++) {
        if (hf_bytes_equal_public(secrets->entries[i].ticket_name, name, HF_TICKET_NAME_LEN))
            return &secrets->entries[i];
    }
    return NULL;
}
