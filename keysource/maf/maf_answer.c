/**
 * maf_answer.c - from status code and body to an outcome.
 */
#include "maf_answer.h"

enum hf_maf_class hf_maf_outcome_class(enum hf_maf_outcome outcome)
{
    static const uint8_t classes[] = {
#define HF_MAF_OUTCOME_CLASS(name, class_, label, text) HF_MAF_CLASS_##class_,
        HF_MAF_OUTCOME_MAP(HF_MAF_OUTCOME_CLASS)
#undef HF_MAF_OUTCOME_CLASS
    };
    return (enum hf_maf_class)classes[outcome];
}

const char *hf_maf_outcome_label(enum hf_maf_outcome outcome)
{
    static const char *const labels[] = {
#define HF_MAF_OUTCOME_LABEL(name, class_, label, text) label,
        HF_MAF_OUTCOME_MAP(HF_MAF_OUTCOME_LABEL)
#undef HF_MAF_OUTCOME_LABEL
    };
    return labels[outcome];
}

const char *hf_maf_outcome_text(enum hf_maf_outcome outcome)
{
    static const char *const texts[] = {
#define HF_MAF_OUTCOME_TEXT(name, class_, label, text) text,
        HF_MAF_OUTCOME_MAP(HF_MAF_OUTCOME_TEXT)
#undef HF_MAF_OUTCOME_TEXT
    };
    return texts[outcome];
}

/* Without X-M2M-RSC: a code that says as much as HTTP's does. */
static unsigned code_of(const struct hf_maf_message *message)
{
    if (message->rsc != 0)
        return message->rsc;
    switch (message->status) {
    case 200:
        return HF_MAF_RSC_OK;
    case 403:
        return HF_MAF_RSC_NO_PRIVILEGE;
    case 404:
        return HF_MAF_RSC_NOT_FOUND;
    default:
        return message->status >= 400 && message->status < 500 && message->status != 408 &&
                       message->status != 429
                   ? HF_MAF_RSC_BAD_REQUEST
                   : HF_MAF_RSC_INTERNAL_SERVER_ERROR;
    }
}

static enum hf_maf_outcome judge_code(unsigned code)
{
    switch (code) {
    case HF_MAF_RSC_OK:
        return HF_MAF_OUTCOME_KEY;
    case HF_MAF_RSC_NOT_FOUND:
        return HF_MAF_OUTCOME_NOT_FOUND;
    case HF_MAF_RSC_NO_PRIVILEGE:
    case HF_MAF_RSC_ORIGINATOR_NOT_AUTHENTICATED:
    case 4107:
        return HF_MAF_OUTCOME_NOT_AUTHORIZED;
    case HF_MAF_RSC_REQUEST_TIMEOUT:
        return HF_MAF_OUTCOME_SERVER_ERROR;
    default:
        return code >= 4000 && code < 5000 ? HF_MAF_OUTCOME_BAD_REQUEST
                                           : HF_MAF_OUTCOME_SERVER_ERROR;
    }
}

/* Expiry last: what has only expired may be told from what is wrong. */
static enum hf_maf_outcome judge_key(const char **why, const struct hf_maf_resource *key,
                                     const struct hf_maf_expectation *expectation)
{
    const uint32_t needed = HF_MAF_HAS(EXPIRATION_TIME) | HF_MAF_HAS(SUID) | HF_MAF_HAS(KEY_VALUE);
    struct hf_bytes id = hf_maf_text_view(key->resource_id);
    struct hf_bytes admin = hf_maf_text_view(key->admin_fqdn);
    bool is_id_there = (key->has & HF_MAF_HAS(RESOURCE_ID)) != 0;
    if ((key->has & needed) != needed) {
        *why = "expirationTime, SUID or key is missing";
        return HF_MAF_OUTCOME_MALFORMED;
    }
    if (is_id_there && !hf_maf_text_equal_folded(id, expectation->relative_key_id))
        return HF_MAF_OUTCOME_RESOURCE_ID;
    if (key->suid != HF_MAF_SUID_SAEF)
        return HF_MAF_OUTCOME_SUID;
    if (key->key_len < expectation->key_len_min || key->key_len > expectation->key_len_max)
        return HF_MAF_OUTCOME_KEY_LENGTH;
    if ((key->has & HF_MAF_HAS(SOURCE_ID)) == 0)
        return HF_MAF_OUTCOME_SOURCE_ID;
    if (expectation->admin_fqdn.len > 0 &&
        !hf_maf_text_equal_folded(admin, expectation->admin_fqdn))
        return HF_MAF_OUTCOME_ADMIN_FQDN;
    if (key->expires_s > UINT32_MAX) {
        *why = "expirationTime is out of range";
        return HF_MAF_OUTCOME_MALFORMED;
    }
    return key->expires_s > expectation->wall_s ? HF_MAF_OUTCOME_KEY : HF_MAF_OUTCOME_EXPIRED;
}

/* A member that does not parse: some have an outcome of their own. */
static enum hf_maf_outcome judge_refusal(const char *why)
{
    struct hf_bytes text = hf_maf_text_view(why);
    if (hf_maf_text_is(text, hf_maf_name(HF_MAF_NAME_SOURCE_ID)))
        return HF_MAF_OUTCOME_SOURCE_ID;
    if (hf_maf_text_is(text, hf_maf_name(HF_MAF_NAME_ADMIN_FQDN)))
        return HF_MAF_OUTCOME_ADMIN_FQDN;
    if (hf_maf_text_is(text, hf_maf_name(HF_MAF_NAME_SUID)))
        return HF_MAF_OUTCOME_SUID;
    return HF_MAF_OUTCOME_MALFORMED;
}

enum hf_maf_outcome hf_maf_answer_judge(struct hf_maf_resource *out, const char **why,
                                        const struct hf_maf_message *message,
                                        const struct hf_maf_expectation *expectation)
{
    enum hf_maf_outcome outcome = judge_code(code_of(message));
    *why = NULL;
    out->has = 0;
    if (outcome != HF_MAF_OUTCOME_KEY) {
        hf_maf_resource_wipe(out);
        return outcome;
    }
    if (!message->is_json) {
        *why = "not JSON by its Content-Type";
        hf_maf_resource_wipe(out);
        return HF_MAF_OUTCOME_MALFORMED;
    }
    if (!hf_maf_resource_read(out, why, HF_MAF_KEY_REGISTRATION, message->body))
        return judge_refusal(*why);
    outcome = judge_key(why, out, expectation);
    if (outcome != HF_MAF_OUTCOME_KEY && outcome != HF_MAF_OUTCOME_EXPIRED)
        hf_maf_resource_wipe(out);
    return outcome;
}
