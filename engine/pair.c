/**
 * pair.c - see handfast/pair.h. What an SA2 is bound to is enforced where the peer's identity
 * becomes known: answer.c, prove.c.
 */
#include "core.h"

#include <handfast/pair.h>

enum hf_status hf_pair_begin(struct hf_pair *out, const struct hf_association_info *sa1)
{
    if (!sa1->established || sa1->is_client)
        return HF_E_STATE;
    if (sa1->entity_id_len == 0 && sa1->credential_id_len == 0)
        return HF_E_ARGUMENT;
    *out = (struct hf_pair){
        .reference_point = sa1->reference_point,
        .entity_kind = sa1->entity_kind,
        .framework = sa1->framework,
        .expires_s = sa1->expires_s,
        .entity_id_len = sa1->entity_id_len,
        .credential_id_len = sa1->credential_id_len,
    };
    memcpy(out->entity_id, sa1->entity_id, sa1->entity_id_len);
    memcpy(out->credential_id, sa1->credential_id, sa1->credential_id_len);
    return HF_OK;
}

static bool is_equal(struct hf_bytes a, struct hf_bytes b)
{
    return a.len == b.len && (a.len == 0 || hf_bytes_equal_public(a.data, b.data, a.len));
}

/** Tells whether `wanted` is one of the AE-IDs, which one space each separates. */
static bool is_in_list(struct hf_bytes list, struct hf_bytes wanted)
{
    for (size_t at = 0; at < list.len;) {
        size_t len = 0;
        while (at + len < list.len && list.data[at + len] != ' ')
            len++;
        if (is_equal((struct hf_bytes){list.data + at, len}, wanted))
            return true;
        at += len + 1;
    }
    return false;
}

enum hf_status hf_pair_register(struct hf_pair *pair, struct hf_bytes entity_id)
{
    const struct hf_bytes proved = {(const uint8_t *)pair->entity_id, pair->entity_id_len};
    if (entity_id.len == 0 || entity_id.len > HF_ENTITY_ID_MAX)
        return HF_E_ARGUMENT;
    bool is_list = pair->entity_kind == HF_ENTITY_AE_LIST && !pair->is_registered;
    if (proved.len > 0 && !(is_list ? is_in_list(proved, entity_id) : is_equal(proved, entity_id)))
        return HF_E_IDENTITY_REFUSED;
    char text[HF_ENTITY_ID_MAX + 1] = {0};
    memcpy(text, entity_id.data, entity_id.len); /* it may lie in the list itself */
    memcpy(pair->entity_id, text, sizeof text);
    pair->entity_id_len = (uint16_t)entity_id.len;
    if (pair->entity_kind == HF_ENTITY_AE_LIST || pair->entity_kind == HF_ENTITY_PENDING)
        pair->entity_kind = HF_ENTITY_AE;
    pair->is_registered = true;
    return HF_OK;
}

void hf_pair_deregister(struct hf_pair *pair)
{
    pair->is_registered = false;
}
