/**
 * maf_settings.h - the rows of the table of settings that are about MAFs. For settings.c alone.
 */
#ifndef HF_MAF_SETTINGS_H
#define HF_MAF_SETTINGS_H

#include "settings.h"

#include <key_service.h>

static const struct hf_setting_choice key_parts[] = {
    {"whole", HF_KEY_WHOLE}, {"first-half", HF_KEY_FIRST_HALF}, {NULL, 0}};
static const struct hf_setting_choice key_id_syntaxes[] = {
    {"any", HF_MAF_RELATIVE_ANY}, {"hex", HF_MAF_RELATIVE_HEX}, {NULL, 0}};

#define MAF(name) offsetof(struct hf_daemon_maf, name)

/* clang-format off */
#define HF_MAF_SETTINGS                                                                           \
    {HF_SECTION_NONE, NULL, "maf", "FQDN=ADDR:PORT", hf_maf_config_take, 0, 0, 0, NULL, false,    \
     false, "fetch keys of identities ...@FQDN from this MAF; repeatable, for more addresses"}, \
    {HF_SECTION_NONE, NULL, "maf-identity", "KMID", take_text, CONFIG(mafs.common.identity), 0,   \
     HF_MAF_CONFIG_TEXT_MAX, NULL, false, false, "who we are to MAFs: a KmID"},                   \
    {HF_SECTION_NONE, NULL, "maf-psk-file", "FILE", take_text, CONFIG(mafs.common.psk_file), 0,   \
     HF_MAF_CONFIG_TEXT_MAX, NULL, false, false, "where its Km stands, as in --psk-file"},        \
    {HF_SECTION_NONE, NULL, "maf-origin", "CSE-ID", take_text, CONFIG(mafs.common.origin), 0,     \
     HF_MAF_CONFIG_TEXT_MAX, NULL, false, false, "our CSE-ID, X-M2M-Origin towards MAFs"},        \
    {HF_SECTION_PROCESS, "maf-cache", "maf-cache", "FILE", take_text, CONFIG(mafs.cache), 0,      \
     HF_MAF_CONFIG_TEXT_MAX, NULL, false, false, "keep keys of MAFs here over a restart, sealed"},\
    {HF_SECTION_PROCESS, "maf-cache-key", "maf-cache-key", "FILE", take_text,                      \
     CONFIG(mafs.cache_key), 0, HF_MAF_CONFIG_TEXT_MAX, NULL, false, false,                        \
     "secrets that seal it: handfastctl secrets; default: those of --shared-secrets"},             \
    {HF_SECTION_AUTHORITY, "maf", NULL, NULL, hf_maf_config_take_name, 0, 0, 0, NULL, true, false, \
     ""},                                                                                         \
    {HF_SECTION_MAF, "address", NULL, NULL, hf_maf_config_take_address, 0, 0, 0, NULL, true, false,\
     ""},                                                                                         \
    {HF_SECTION_MAF, "identity", NULL, NULL, take_text, MAF(identity), 0, HF_MAF_CONFIG_TEXT_MAX, \
     NULL, false, false, ""},                                                                     \
    {HF_SECTION_MAF, "psk-file", NULL, NULL, take_text, MAF(psk_file), 0, HF_MAF_CONFIG_TEXT_MAX, \
     NULL, false, false, ""},                                                                     \
    {HF_SECTION_MAF, "certificate", NULL, NULL, take_text, MAF(certificate), 0,                   \
     HF_MAF_CONFIG_TEXT_MAX, NULL, false, false, ""},                                             \
    {HF_SECTION_MAF, "private-key", NULL, NULL, take_text, MAF(private_key), 0,                   \
     HF_MAF_CONFIG_TEXT_MAX, NULL, false, false, ""},                                             \
    {HF_SECTION_MAF, "ca", NULL, NULL, take_text, MAF(ca), 0, HF_MAF_CONFIG_TEXT_MAX, NULL,       \
     false, false, ""},                                                                           \
    {HF_SECTION_MAF, "crl", NULL, NULL, take_text, MAF(crl), 0, HF_MAF_CONFIG_TEXT_MAX, NULL,     \
     false, false, ""},                                                                           \
    {HF_SECTION_MAF, "origin", NULL, NULL, take_text, MAF(origin), 0, HF_MAF_CONFIG_TEXT_MAX, NULL,\
     false, false, ""},                                                                           \
    {HF_SECTION_MAF, "admin-fqdn", NULL, NULL, take_text, MAF(admin_fqdn), 0,                     \
     HF_MAF_CONFIG_TEXT_MAX, NULL, false, false, ""},                                             \
    {HF_SECTION_MAF, "connections", NULL, NULL, take_number, MAF(connections), 1, 64, NULL, false,\
     false, ""},                                                                                  \
    {HF_SECTION_MAF, "pipeline", NULL, NULL, take_number, MAF(pipeline), 1, 1024, NULL, false,    \
     false, ""},                                                                                  \
    {HF_SECTION_MAF, "timeout", NULL, NULL, take_duration, MAF(lookup_us), SECOND, 60 * SECOND,   \
     NULL, false, false, ""},                                                                     \
    {HF_SECTION_MAF, "psk-part", NULL, NULL, take_choice, MAF(part), 0, 0, key_parts, false, false,\
     ""},                                                                                         \
    {HF_SECTION_MAF, "key-id-syntax", NULL, NULL, take_choice, MAF(syntax), 0, 0, key_id_syntaxes,\
     false, false, ""},

/* clang-format on */

#endif
