/**
 * secrets.h - the keys that follow from the secrets which nodes share (<handfast/session.h>): of
 * cookies, and of tickets. Without shared secrets, one drawn at random when the engine opens.
 */
#ifndef HF_SECRETS_H
#define HF_SECRETS_H

#include "crypto.h"

#include <handfast/session.h>

#define HF_TICKET_NAME_LEN 8

struct hf_secret_keys {
    int64_t from_s;
    uint8_t ticket_name[HF_TICKET_NAME_LEN]; /**< public: says which key sealed a ticket */
    uint8_t cid_key[HF_SHA256_LEN];          /**< of connection IDs */
    struct hf_hmac_key cookie_key;
    struct hf_seal_key ticket_key;
};

/** What a connection ID is made and told with: cid.h. Kept longer than its secret: associations
 *  outlive the day's keys. */
struct hf_cid_key {
    uint8_t name[HF_TICKET_NAME_LEN]; /**< of the secret it follows from */
    uint64_t tag_key[2], mask_key[2];
};

#define HF_CID_KEYS_MAX 16

struct hf_cid_keys {
    uint32_t count; /**< ever adopted: the newest is ring[(count - 1) % HF_CID_KEYS_MAX] */
    struct hf_cid_key ring[HF_CID_KEYS_MAX];
};

struct hf_secrets {
    bool is_shared; /**< with other nodes: their clocks are the wall clock */
    uint32_t count;
    struct hf_secret_keys entries[HF_SHARED_SECRETS_MAX]; /**< newest first */
};

/** hf_secrets_init derives the keys; of a random secret if `shared` has none. Secret: wipe. */
void hf_secrets_init(struct hf_secrets *secrets, const struct hf_shared_secrets *shared);

/** hf_secrets_active gives the index of the entry to make things with. */
uint32_t hf_secrets_active(const struct hf_secrets *secrets, int64_t wall_s);

/** hf_secrets_named gives the entry that a ticket was sealed with, NULL if it is not ours. */
const struct hf_secret_keys *hf_secrets_named(const struct hf_secrets *secrets,
                                              const uint8_t name[HF_TICKET_NAME_LEN]);

#endif
