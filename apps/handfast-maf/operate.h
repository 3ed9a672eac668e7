/**
 * operate.h - what a MAF does with a request (TS-0003 8.8.2.3 to 8.8.2.10), within a transaction of
 * its store. No network here and no HTTP: a request that parsed, and its answer.
 */
#ifndef HF_OPERATE_H
#define HF_OPERATE_H

#include "configuration.h"
#include "store.h"

#include <maf_http.h>

/** How a MAF is run. */
struct hf_operate_policy {
    int64_t client_life_s_max; /**< of a client registration */
    int64_t key_life_s_max;    /**< of a key registration */
    uint64_t keys_per_client_max;
    uint64_t clients_per_client_max; /**< registrations of one client, one a stakeholder */
    const struct hf_configuration *configuration; /**< what clients may retrieve, or NULL */
};

/** hf_operate_policy_init sets the defaults: a year, 30 days, 1,000 keys, 16 registrations. */
void hf_operate_policy_init(struct hf_operate_policy *policy);

#define HF_OPERATE_TARGET_MAX (HF_MAF_RELATIVE_KEY_ID_MAX + 64)

/** One request. Secret: `resource` and `answer` may hold a key. */
struct hf_operation {
    enum hf_maf_method method;
    char target[HF_OPERATE_TARGET_MAX];   /**< the path, without its first slash */
    char client_id[HF_ENTITY_ID_MAX + 1]; /**< who, as TLS authenticated */
    bool has_body;
    struct hf_maf_resource resource; /**< the body, if there is one */
    bool is_key_exported;            /**< key and resource_id of it are those of the session */
    uint8_t fresh_id[16];            /**< randomness, for an identifier */
    /* Out. */
    unsigned rsc;
    const char *why; /**< static text for people; NULL when it went well */
    bool has_answer;
    bool is_changed; /**< something was written: not before the commit */
    bool has_failed; /**< the store failed: the whole transaction is to be aborted */
    struct hf_maf_resource answer;
    const char *answer_text; /**< instead of `answer`: JSON that lives as long as the policy */
};

/** hf_operate does it. */
void hf_operate(struct hf_operation *operation, struct hf_store *store,
                const struct hf_operate_policy *policy, int64_t wall_s);

#endif
