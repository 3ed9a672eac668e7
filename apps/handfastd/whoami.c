/**
 * whoami.c - puts a struct hf_association_info into JSON. Nothing secret is in it.
 */
#include "whoami.h"

#include "json_text.h"

#include <string.h>

char *hf_whoami_json(size_t *out_len, const struct hf_association_info *info)
{
    const char *suite = hf_suite_name(info->suite);
    json_t *object =
        json_pack("{s:o,s:s,s:o,s:s,s:s,s:s,s:s,s:b,s:b,s:b}", "entity_id",
                  hf_json_text_or_null(info->entity_id, info->entity_id_len), "entity_kind",
                  hf_entity_kind_name(info->entity_kind), "credential_id",
                  hf_json_text_or_null(info->credential_id, info->credential_id_len), "framework",
                  hf_framework_name(info->framework), "suite", suite == NULL ? "unknown" : suite,
                  "reference_point", hf_reference_point_name(info->reference_point), "transport",
                  info->transport == HF_TRANSPORT_TLS ? "TLS 1.2" : "DTLS 1.2",
                  "extended_master_secret", (int)info->extended_master_secret, "encrypt_then_mac",
                  (int)info->encrypt_then_mac, "resumed", (int)info->is_resumed);
    if (object == NULL)
        return NULL;
    char *text = json_dumps(object, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(object);
    if (text != NULL)
        *out_len = strlen(text);
    return text;
}
