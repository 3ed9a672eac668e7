/**
 * operate.c - registrations: made, told, changed, ended; keys: handed to their targets alone.
 *
 * A client is who TLS has authenticated. It sees and changes its own registrations; a key's value
 * goes to those its source named as targets, and is never told again to the source.
 */
#include "operate.h"

#include <stdio.h>
#include <string.h>

#define DAY_S ((int64_t)86400)

void hf_operate_policy_init(struct hf_operate_policy *policy)
{
    *policy = (struct hf_operate_policy){.client_life_s_max = 366 * DAY_S,
                                         .key_life_s_max = 30 * DAY_S,
                                         .keys_per_client_max = 1000,
                                         .clients_per_client_max = 16};
}

static void refuse(struct hf_operation *operation, unsigned rsc, const char *why)
{
    operation->rsc = rsc;
    operation->why = why;
}

static void break_down(struct hf_operation *operation)
{
    operation->has_failed = true;
    refuse(operation, HF_MAF_RSC_INTERNAL_SERVER_ERROR, "the store failed");
}

static void copy(char *out, size_t out_max, const char *text)
{
    snprintf(out, out_max, "%s", text);
}

/* The answer tells all of a registration but what only its other side may know. */
static void tell(struct hf_operation *operation, unsigned rsc, uint32_t without)
{
    operation->rsc = rsc;
    operation->has_answer = true;
    operation->answer.has &= ~without;
}

static bool write_answer(struct hf_operation *operation, struct hf_store *store)
{
    if (!hf_store_put(store, &operation->answer)) {
        break_down(operation);
        return false;
    }
    operation->is_changed = true;
    return true;
}

/* A life as asked, but no longer than `life_s_max`; false when it is over already. */
static bool settle_expiry(struct hf_operation *operation, int64_t wall_s, int64_t life_s_max)
{
    struct hf_maf_resource *answer = &operation->answer;
    bool is_asked = (operation->resource.has & HF_MAF_HAS(EXPIRATION_TIME)) != 0;
    int64_t latest_s = wall_s + life_s_max;
    int64_t asked_s = is_asked ? operation->resource.expires_s : latest_s;
    if (asked_s <= wall_s) {
        refuse(operation, HF_MAF_RSC_BAD_REQUEST, "expirationTime is past");
        return false;
    }
    answer->expires_s = asked_s < latest_s ? asked_s : latest_s;
    answer->has |= HF_MAF_HAS(EXPIRATION_TIME);
    return true;
}

/* What a request may give of `names`, into the answer. */
static void take_fields(struct hf_operation *operation, uint32_t names)
{
    const struct hf_maf_resource *from = &operation->resource;
    struct hf_maf_resource *to = &operation->answer;
    uint32_t given = from->has & names;
    if (given & HF_MAF_HAS(ADMIN_FQDN))
        copy(to->admin_fqdn, sizeof(to->admin_fqdn), from->admin_fqdn);
    if (given & HF_MAF_HAS(LABELS))
        to->labels = from->labels;
    if (given & HF_MAF_HAS(TARGET_IDS))
        to->target_ids = from->target_ids;
    if (given & HF_MAF_HAS(SUID))
        to->suid = from->suid;
    to->has |= given;
}

static bool is_over_quota(struct hf_operation *operation, struct hf_store *store, uint64_t max)
{
    uint64_t owned = 0;
    if (!hf_store_owned(&owned, store, operation->resource.kind, operation->client_id))
        break_down(operation);
    else if (owned >= max)
        refuse(operation, HF_MAF_RSC_NO_PRIVILEGE, "too many registrations of this client");
    return operation->rsc != 0;
}

/* ---- creation ----------------------------------------------------------------------------- */

/* 8.8.2.3 */
static void register_client(struct hf_operation *operation, struct hf_store *store,
                            const struct hf_operate_policy *policy, int64_t wall_s)
{
    struct hf_maf_resource *answer = &operation->answer;
    if ((operation->resource.has & HF_MAF_HAS(ADMIN_FQDN)) == 0) {
        refuse(operation, HF_MAF_RSC_BAD_REQUEST, "adminFQDN is missing");
        return;
    }
    if (is_over_quota(operation, store, policy->clients_per_client_max) ||
        !settle_expiry(operation, wall_s, policy->client_life_s_max))
        return;
    answer->kind = HF_MAF_CLIENT_REGISTRATION;
    take_fields(operation, HF_MAF_HAS(ADMIN_FQDN) | HF_MAF_HAS(LABELS));
    copy(answer->client_id, sizeof(answer->client_id), operation->client_id);
    memcpy(answer->resource_id, "mc", 2);
    hf_maf_text_write_hex(answer->resource_id + 2, (struct hf_bytes){operation->fresh_id, 16});
    answer->has |= HF_MAF_HAS(RESOURCE_ID) | HF_MAF_HAS(CLIENT_ID);
    if (write_answer(operation, store))
        tell(operation, HF_MAF_RSC_CREATED, 0);
}

static bool is_single_target(uint16_t suid)
{
    return suid == 32 || suid == 33; /* SAEF, ESPrim */
}

/* Of 8.8.2.7: what a request must be like. */
static bool check_key(struct hf_operation *operation)
{
    const struct hf_maf_resource *asked = &operation->resource;
    const uint32_t needed = HF_MAF_HAS(ADMIN_FQDN) | HF_MAF_HAS(SUID) | HF_MAF_HAS(TARGET_IDS);
    if ((asked->has & needed) != needed)
        refuse(operation, HF_MAF_RSC_BAD_REQUEST, "adminFQDN, SUID or targetIDs is missing");
    else if (asked->suid < 32 || asked->suid > 35)
        refuse(operation, HF_MAF_RSC_BAD_REQUEST, "a MAF distributes keys of SUID 32 to 35");
    else if (asked->target_ids.count == 0 ||
             (is_single_target(asked->suid) && asked->target_ids.count != 1))
        refuse(operation, HF_MAF_RSC_BAD_REQUEST, "exactly one target is allowed");
    else if (asked->key_len < HF_MAF_KEY_MIN)
        refuse(operation, HF_MAF_RSC_BAD_REQUEST, "the key is too short");
    return operation->rsc == 0;
}

/* A session exports one Kc: under its name there must be nothing, neither now nor before expiry. */
static bool is_name_free(struct hf_operation *operation, struct hf_store *store)
{
    struct hf_maf_resource before;
    enum hf_store_found found =
        hf_store_get(&before, store, HF_MAF_KEY_REGISTRATION, operation->answer.resource_id, 0);
    explicit_bzero(&before, sizeof(before));
    if (found == HF_STORE_FAILED)
        break_down(operation);
    else if (found == HF_STORE_FOUND)
        refuse(operation, HF_MAF_RSC_CONFLICT, "this session's key is registered already");
    return operation->rsc == 0;
}

/* 8.8.2.7 */
static void register_key(struct hf_operation *operation, struct hf_store *store,
                         const struct hf_operate_policy *policy, int64_t wall_s)
{
    struct hf_maf_resource *answer = &operation->answer;
    const struct hf_maf_resource *asked = &operation->resource;
    if (!check_key(operation) || is_over_quota(operation, store, policy->keys_per_client_max) ||
        !settle_expiry(operation, wall_s, policy->key_life_s_max))
        return;
    answer->kind = HF_MAF_KEY_REGISTRATION;
    take_fields(operation, HF_MAF_HAS(ADMIN_FQDN) | HF_MAF_HAS(LABELS) | HF_MAF_HAS(SUID) |
                               HF_MAF_HAS(TARGET_IDS));
    copy(answer->client_id, sizeof(answer->client_id), operation->client_id);
    if (operation->is_key_exported)
        copy(answer->resource_id, sizeof(answer->resource_id), asked->resource_id);
    else
        hf_maf_text_write_hex(answer->resource_id, (struct hf_bytes){operation->fresh_id, 16});
    answer->key_len = asked->key_len;
    memcpy(answer->key, asked->key, asked->key_len);
    answer->has |= HF_MAF_HAS(RESOURCE_ID) | HF_MAF_HAS(SOURCE_ID) | HF_MAF_HAS(KEY_VALUE);
    if (is_name_free(operation, store) && write_answer(operation, store))
        tell(operation, HF_MAF_RSC_CREATED, HF_MAF_HAS(KEY_VALUE));
}

static void create(struct hf_operation *operation, struct hf_store *store,
                   const struct hf_operate_policy *policy, int64_t wall_s)
{
    if (strcmp(operation->target, hf_maf_name(HF_MAF_NAME_BASE)) != 0)
        refuse(operation, HF_MAF_RSC_NOT_FOUND, "registrations are created below the base");
    else if (!operation->has_body)
        refuse(operation, HF_MAF_RSC_BAD_REQUEST, "the body is missing");
    else if (operation->resource.kind == HF_MAF_KEY_REGISTRATION)
        register_key(operation, store, policy, wall_s);
    else
        register_client(operation, store, policy, wall_s);
}

/* ---- what is there ------------------------------------------------------------------------ */

static bool is_self(const struct hf_operation *operation)
{
    return strcmp(operation->answer.client_id, operation->client_id) == 0;
}

/* The registration the path names, into the answer. */
static bool find(struct hf_operation *operation, struct hf_store *store, const char *resource_id,
                 int64_t wall_s)
{
    enum hf_store_found found =
        hf_store_get(&operation->answer, store, HF_MAF_KEY_REGISTRATION, resource_id, wall_s);
    if (found == HF_STORE_ABSENT)
        found = hf_store_get(&operation->answer, store, HF_MAF_CLIENT_REGISTRATION, resource_id,
                             wall_s);
    if (found == HF_STORE_FAILED)
        break_down(operation);
    else if (found == HF_STORE_ABSENT)
        refuse(operation, HF_MAF_RSC_NOT_FOUND, "no such registration");
    return found == HF_STORE_FOUND;
}

/* 8.8.2.4: `slash` is where the name of the registration ends. */
static void retrieve_configuration(struct hf_operation *operation, struct hf_store *store,
                                   const struct hf_operate_policy *policy, int64_t wall_s,
                                   char *slash)
{
    if (strcmp(slash + 1, hf_maf_name(HF_MAF_NAME_CLIENT_CONFIGURATION)) != 0) {
        refuse(operation, HF_MAF_RSC_NOT_FOUND, "no such resource");
        return;
    }
    *slash = '\0';
    if (!find(operation, store, operation->target, wall_s))
        return;
    if (operation->answer.kind != HF_MAF_CLIENT_REGISTRATION || !is_self(operation)) {
        refuse(operation, HF_MAF_RSC_NO_PRIVILEGE, "not a client registration of this client");
        return;
    }
    operation->answer_text = hf_configuration_find(policy->configuration, operation->client_id);
    if (operation->answer_text == NULL)
        refuse(operation, HF_MAF_RSC_NOT_FOUND, "there is no configuration for this client");
    else
        operation->rsc = HF_MAF_RSC_OK;
}

/* 8.8.2.8: a key; and, for its owner, a client registration. */
static void retrieve(struct hf_operation *operation, struct hf_store *store,
                     const struct hf_operate_policy *policy, int64_t wall_s)
{
    struct hf_maf_resource *answer = &operation->answer;
    char *slash = strchr(operation->target, '/');
    if (slash != NULL) {
        retrieve_configuration(operation, store, policy, wall_s, slash);
        return;
    }
    if (!find(operation, store, operation->target, wall_s))
        return;
    bool is_key = answer->kind == HF_MAF_KEY_REGISTRATION;
    bool is_allowed =
        is_key ? hf_maf_list_has(&answer->target_ids, hf_maf_text_view(operation->client_id))
               : is_self(operation);
    if (is_allowed)
        tell(operation, HF_MAF_RSC_OK, HF_MAF_HAS(TARGET_IDS));
    else
        refuse(operation, HF_MAF_RSC_NO_PRIVILEGE, "only a target may retrieve a key");
}

/* 8.8.2.5 and 8.8.2.9 */
static void update(struct hf_operation *operation, struct hf_store *store,
                   const struct hf_operate_policy *policy, int64_t wall_s)
{
    struct hf_maf_resource *answer = &operation->answer;
    uint32_t changeable = HF_MAF_HAS(EXPIRATION_TIME) | HF_MAF_HAS(LABELS);
    if (!find(operation, store, operation->target, wall_s))
        return;
    bool is_key = answer->kind == HF_MAF_KEY_REGISTRATION;
    if (is_key)
        changeable |= HF_MAF_HAS(TARGET_IDS);
    uint32_t given = operation->resource.has;
    uint16_t targets = operation->resource.target_ids.count;
    if (!is_self(operation))
        refuse(operation, HF_MAF_RSC_NO_PRIVILEGE, "only who registered may change it");
    else if (!operation->has_body || answer->kind != operation->resource.kind)
        refuse(operation, HF_MAF_RSC_BAD_REQUEST, "the body is missing or of another kind");
    else if (given == 0 || (given & ~changeable) != 0)
        refuse(operation, HF_MAF_RSC_BAD_REQUEST, "nothing to change, or what cannot change");
    else if ((given & HF_MAF_HAS(TARGET_IDS)) != 0 &&
             (targets == 0 || (is_single_target(answer->suid) && targets != 1)))
        refuse(operation, HF_MAF_RSC_BAD_REQUEST, "exactly one target is allowed");
    if (operation->rsc != 0)
        return;
    take_fields(operation, changeable & ~HF_MAF_HAS(EXPIRATION_TIME));
    if ((given & HF_MAF_HAS(EXPIRATION_TIME)) != 0 &&
        !settle_expiry(operation, wall_s,
                       is_key ? policy->key_life_s_max : policy->client_life_s_max))
        return;
    if (write_answer(operation, store))
        tell(operation, HF_MAF_RSC_UPDATED, ~given);
}

/* 8.8.2.6 and 8.8.2.10 */
static void end(struct hf_operation *operation, struct hf_store *store, int64_t wall_s)
{
    if (!find(operation, store, operation->target, wall_s))
        return;
    if (!is_self(operation)) {
        refuse(operation, HF_MAF_RSC_NO_PRIVILEGE, "only who registered may end it");
        return;
    }
    enum hf_store_found found =
        hf_store_remove(store, operation->answer.kind, operation->answer.resource_id);
    if (found != HF_STORE_FOUND) {
        break_down(operation);
        return;
    }
    operation->is_changed = true;
    operation->rsc = HF_MAF_RSC_DELETED;
}

void hf_operate(struct hf_operation *operation, struct hf_store *store,
                const struct hf_operate_policy *policy, int64_t wall_s)
{
    switch (operation->method) {
    case HF_MAF_CREATE:
        create(operation, store, policy, wall_s);
        break;
    case HF_MAF_RETRIEVE:
        retrieve(operation, store, policy, wall_s);
        break;
    case HF_MAF_UPDATE:
        update(operation, store, policy, wall_s);
        break;
    case HF_MAF_DELETE:
        end(operation, store, wall_s);
        break;
    case HF_MAF_OTHER:
    default:
        refuse(operation, HF_MAF_RSC_OPERATION_NOT_ALLOWED, "not a method of this interface");
        break;
    }
    if (!operation->has_answer)
        explicit_bzero(&operation->answer, sizeof(operation->answer));
}
