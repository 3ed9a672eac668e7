/**
 * whoami.c - puts a struct hf_association_info into JSON. Nothing secret is in it.
 */
#include "whoami.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A JSON string of any octets: an identity need not be UTF-8. */
static json_t *octets(const char *data, size_t len)
{
    json_t *text = json_stringn(data, len);
    if (text != NULL)
        return text;
    char *escaped = malloc(4 * len + 1);
    if (escaped == NULL)
        return NULL;
    size_t used = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)data[i];
        if (c >= 0x20 && c < 0x7F)
            escaped[used++] = (char)c;
        else
            used += (size_t)snprintf(escaped + used, 5, "\\x%02X", c);
    }
    text = json_stringn(escaped, used);
    free(escaped);
    return text;
}

/* An identity that is not known yet is null, not an empty name. */
static json_t *optional_octets(const char *data, size_t len)
{
    return len == 0 ? json_null() : octets(data, len);
}

char *hf_whoami_json(size_t *out_len, const struct hf_association_info *info)
{
    const char *suite = hf_suite_name(info->suite);
    json_t *object = json_pack(
        "{s:o,s:s,s:o,s:s,s:s,s:s,s:s,s:b,s:b}", "entity_id",
        optional_octets(info->entity_id, info->entity_id_len), "entity_kind",
        hf_entity_kind_name(info->entity_kind), "credential_id",
        optional_octets(info->credential_id, info->credential_id_len), "framework",
        hf_framework_name(info->framework), "suite", suite == NULL ? "unknown" : suite,
        "reference_point", hf_reference_point_name(info->reference_point), "transport",
        info->transport == HF_TRANSPORT_TLS ? "TLS 1.2" : "DTLS 1.2", "extended_master_secret",
        (int)info->extended_master_secret, "encrypt_then_mac", (int)info->encrypt_then_mac);
    if (object == NULL)
        return NULL;
    char *text = json_dumps(object, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(object);
    if (text != NULL)
        *out_len = strlen(text);
    return text;
}
