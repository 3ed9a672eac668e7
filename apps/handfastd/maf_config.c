/**
 * maf_config.c - from what was given to what can be used.
 */
#include "endpoint.h"
#include "settings.h"

#include <key_service.h>
#include <stdio.h>
#include <string.h>

static bool refuse(char *error, size_t error_max, const struct hf_daemon_maf *maf, const char *why)
{
    if (maf->line > 0)
        snprintf(error, error_max, "line %u: maf \"%.100s\": %s", maf->line, maf->fqdn, why);
    else
        snprintf(error, error_max, "--maf %.100s: %s", maf->fqdn, why);
    return false;
}

static struct hf_daemon_maf *find(struct hf_daemon_mafs *mafs, const char *fqdn, size_t len)
{
    for (uint32_t i = 0; i < mafs->count; i++)
        if (strlen(mafs->mafs[i].fqdn) == len && strncasecmp(mafs->mafs[i].fqdn, fqdn, len) == 0)
            return &mafs->mafs[i];
    return NULL;
}

static bool add(struct hf_daemon_mafs *mafs, const char **why, const char *value)
{
    const char *equals = strchr(value, '=');
    size_t len = equals != NULL ? (size_t)(equals - value) : 0;
    *why = "FQDN=ADDR:PORT";
    if (!hf_maf_text_is_fqdn((struct hf_bytes){(const uint8_t *)value, len}))
        return false;
    struct hf_daemon_maf *maf = find(mafs, value, len);
    if (maf == NULL && mafs->count == HF_MAF_CONFIG_MAX) {
        *why = "one of at most 16 MAFs";
        return false;
    }
    if (maf == NULL) {
        maf = &mafs->mafs[mafs->count++];
        memset(maf, 0, sizeof(*maf));
        memcpy(maf->fqdn, value, len);
    }
    if (maf->address_count == HF_MAF_CONFIG_ADDRESSES_MAX) {
        *why = "one of at most 8 addresses of a MAF";
        return false;
    }
    struct hf_address *address = &maf->addresses[maf->address_count];
    if (!hf_endpoint_parse(address, equals + 1) || address->port == 0)
        return false;
    maf->address_count++;
    return true;
}

bool hf_maf_config_take(void *base, char *reason, const struct hf_setting *setting,
                        const char *value)
{
    struct hf_daemon_config *config = base;
    const char *why = NULL;
    (void)setting;
    return add(&config->mafs, &why, value) || hf_setting_refuse(reason, value, why);
}

bool hf_maf_config_take_address(void *base, char *reason, const struct hf_setting *setting,
                                const char *value)
{
    struct hf_daemon_maf *maf = base;
    (void)setting;
    if (maf->address_count == HF_MAF_CONFIG_ADDRESSES_MAX)
        return hf_setting_refuse(reason, value, "one of at most 8 addresses");
    struct hf_address *address = &maf->addresses[maf->address_count];
    if (!hf_endpoint_parse(address, value) || address->port == 0)
        return hf_setting_refuse(reason, value, "ADDR:PORT or [ADDR]:PORT");
    maf->address_count++;
    return true;
}

#define NO_MAF "none" /* no FQDN: it has no dot */

bool hf_maf_config_take_name(void *base, char *reason, const struct hf_setting *setting,
                             const char *value)
{
    struct hf_daemon_authority *authority = base;
    size_t len = strlen(value);
    (void)setting;
    if (authority->maf_count == HF_MAF_CONFIG_MAX)
        return hf_setting_refuse(reason, value, "one of at most 16 MAFs");
    if (strcmp(value, NO_MAF) != 0 &&
        (len >= sizeof(authority->mafs[0]) || !hf_maf_text_is_fqdn(hf_maf_text_view(value))))
        return hf_setting_refuse(reason, value, "the FQDN of a MAF, or none");
    memcpy(authority->mafs[authority->maf_count++], value, len + 1);
    return true;
}

bool hf_maf_config_is_none(const struct hf_daemon_authority *authority)
{
    return authority->maf_count == 1 && strcmp(authority->mafs[0], NO_MAF) == 0;
}

bool hf_maf_config_settle_authority(struct hf_daemon_authority *authority,
                                    const struct hf_daemon_mafs *mafs, char *error,
                                    size_t error_max)
{
    _Static_assert(HF_MAF_CONFIG_MAX <= 32, "a bit each");
    authority->maf_set = authority->maf_count == 0 ? UINT32_MAX : 0;
    for (uint32_t i = 0; i < authority->maf_count; i++) {
        uint32_t index = 0;
        const char *name = authority->mafs[i];
        if (strcmp(name, NO_MAF) == 0)
            continue;
        while (index < mafs->count && strcasecmp(mafs->mafs[index].fqdn, name) != 0)
            index++;
        if (index == mafs->count) {
            snprintf(error, error_max, "authority \"%.60s\": there is no maf \"%.100s\"",
                     authority->name, name);
            return false;
        }
        authority->maf_set |= UINT32_C(1) << index;
    }
    return true;
}

static void inherit(char *out, const char *common)
{
    if (out[0] == '\0')
        memcpy(out, common, HF_MAF_CONFIG_TEXT_MAX);
}

static const char *fault_of(const struct hf_daemon_maf *maf)
{
    if (maf->address_count == 0)
        return "no address";
    bool has_certificate = maf->certificate[0] != '\0';
    if (has_certificate != (maf->private_key[0] != '\0') || has_certificate != (maf->ca[0] != '\0'))
        return "certificate, private-key and ca go together";
    if (maf->identity[0] == '\0' && !has_certificate)
        return "no identity: the KmID we have with this MAF; and no certificate";
    if ((maf->identity[0] == '\0') != (maf->psk_file[0] == '\0'))
        return "identity and psk-file, where its Km stands, go together";
    if (maf->origin[0] != '\0' && !hf_maf_text_is_identifier(hf_maf_text_view(maf->origin)))
        return "origin is no CSE-ID such as //m2msp.example/in-cse";
    if (maf->admin_fqdn[0] != '\0' && !hf_maf_text_is_fqdn(hf_maf_text_view(maf->admin_fqdn)))
        return "admin-fqdn is no FQDN";
    return NULL;
}

bool hf_maf_config_settle(struct hf_daemon_mafs *mafs, char *error, size_t error_max,
                          const char *shared_secrets)
{
    if (mafs->cache_key[0] == '\0')
        snprintf(mafs->cache_key, sizeof(mafs->cache_key), "%s", shared_secrets);
    if (mafs->cache[0] != '\0' && mafs->cache_key[0] == '\0') {
        snprintf(error, error_max,
                 "maf-cache: no secret to seal it with: maf-cache-key, or "
                 "shared-secrets");
        return false;
    }
    for (uint32_t i = 0; i < mafs->count; i++) {
        struct hf_daemon_maf *maf = &mafs->mafs[i];
        inherit(maf->identity, mafs->common.identity);
        inherit(maf->psk_file, mafs->common.psk_file);
        inherit(maf->origin, mafs->common.origin);
        const char *fault = fault_of(maf);
        if (fault != NULL)
            return refuse(error, error_max, maf, fault);
        if (find(mafs, maf->fqdn, strlen(maf->fqdn)) != maf)
            return refuse(error, error_max, maf, "given twice");
        if (maf->part != mafs->mafs[0].part || maf->syntax != mafs->mafs[0].syntax)
            return refuse(error, error_max, maf,
                          "psk-part and key-id-syntax must be the same for "
                          "all MAFs");
    }
    return true;
}

static bool is_same(const struct hf_daemon_maf *a, const struct hf_daemon_maf *b)
{
    return strcmp(a->fqdn, b->fqdn) == 0 && strcmp(a->origin, b->origin) == 0 &&
           strcmp(a->admin_fqdn, b->admin_fqdn) == 0 && a->address_count == b->address_count &&
           memcmp(a->addresses, b->addresses, sizeof(a->addresses)) == 0 &&
           a->connections == b->connections && a->pipeline == b->pipeline &&
           a->lookup_us == b->lookup_us && a->part == b->part && a->syntax == b->syntax;
}

bool hf_maf_config_is_same(const struct hf_daemon_mafs *a, const struct hf_daemon_mafs *b)
{
    bool is_all_same = a->count == b->count && strcmp(a->cache, b->cache) == 0;
    for (uint32_t i = 0; i < a->count && is_all_same; i++)
        is_all_same = is_same(&a->mafs[i], &b->mafs[i]);
    return is_all_same;
}
