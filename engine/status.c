/**
 * status.c - names: of statuses and their alerts, drops, suites, entities.
 */
#include "core.h"

#include <string.h>
#include <strings.h>

static const struct {
    const char *reason;
    const char *text;
    uint8_t class_;
    uint8_t alert;
} statuses[HF_STATUS_COUNT] = {
#define ROW(name, class_name, alert_, reason_, text_)                                              \
    [HF_##name] = {                                                                                \
        .reason = reason_, .text = text_, .class_ = HF_CLASS_##class_name, .alert = alert_},
    HF_STATUS_MAP(ROW)
#undef ROW
};

static const char *const drops[HF_DROP_COUNT] = {
#define ROW(name, label, text) [HF_DROP_##name] = label,
    HF_DROP_MAP(ROW)
#undef ROW
};

const char *hf_version(void)
{
    return HF_VERSION_STRING;
}

static enum hf_status known(enum hf_status status)
{
    return (unsigned)status < HF_STATUS_COUNT ? status : HF_E_ARGUMENT;
}

const char *hf_status_text(enum hf_status status)
{
    return statuses[known(status)].text;
}

const char *hf_status_reason(enum hf_status status)
{
    return statuses[known(status)].reason;
}

enum hf_status_class hf_status_class(enum hf_status status)
{
    return (enum hf_status_class)statuses[known(status)].class_;
}

uint8_t hf_status_alert(enum hf_status status)
{
    return statuses[known(status)].alert;
}

const char *hf_drop_label(enum hf_drop drop)
{
    return (unsigned)drop < HF_DROP_COUNT ? drops[drop] : "unknown";
}

const char *hf_alert_name(uint8_t alert)
{
    static const struct {
        uint8_t alert;
        const char *name;
    } names[] = {
        {0, "close_notify"},
        {10, "unexpected_message"},
        {20, "bad_record_mac"},
        {22, "record_overflow"},
        {40, "handshake_failure"},
        {42, "bad_certificate"},
        {43, "unsupported_certificate"},
        {44, "certificate_revoked"},
        {45, "certificate_expired"},
        {46, "certificate_unknown"},
        {47, "illegal_parameter"},
        {48, "unknown_ca"},
        {49, "access_denied"},
        {50, "decode_error"},
        {51, "decrypt_error"},
        {70, "protocol_version"},
        {71, "insufficient_security"},
        {80, "internal_error"},
        {86, "inappropriate_fallback"},
        {90, "user_canceled"},
        {100, "no_renegotiation"},
        {110, "unsupported_extension"},
        {112, "unrecognized_name"},
        {115, "unknown_psk_identity"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (names[i].alert == alert)
            return names[i].name;
    }
    return "alert";
}

const char *hf_reference_point_name(enum hf_reference_point reference_point)
{
    static const char *const names[] = {"Mca", "Mcc", "Mcc'"};
    return (unsigned)reference_point < 3 ? names[reference_point] : "unknown";
}

const char *hf_framework_name(enum hf_framework framework)
{
    static const char *const names[] = {"none", "provisioned-symmetric-key", "certificate", "maf"};
    return (unsigned)framework < 4 ? names[framework] : "unknown";
}

const char *hf_entity_kind_name(enum hf_entity_kind kind)
{
    static const char *const names[] = {"pending", "cse", "ae", "ae-list"};
    return (unsigned)kind < 4 ? names[kind] : "unknown";
}

static const struct {
    uint16_t suite;
    const char *name;
    const char *short_name; /* as OpenSSL has it */
} suites[] = {
    {HF_SUITE_PSK_AES_128_GCM_SHA256, "TLS_PSK_WITH_AES_128_GCM_SHA256", "PSK-AES128-GCM-SHA256"},
    {HF_SUITE_PSK_AES_128_CBC_SHA256, "TLS_PSK_WITH_AES_128_CBC_SHA256", "PSK-AES128-CBC-SHA256"},
    {HF_SUITE_PSK_AES_128_CCM, "TLS_PSK_WITH_AES_128_CCM", "PSK-AES128-CCM"},
    {HF_SUITE_PSK_AES_128_CCM_8, "TLS_PSK_WITH_AES_128_CCM_8", "PSK-AES128-CCM8"},
    {HF_SUITE_ECDHE_ECDSA_AES_128_CBC_SHA256, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
     "ECDHE-ECDSA-AES128-SHA256"},
    {HF_SUITE_ECDHE_ECDSA_AES_128_GCM_SHA256, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
     "ECDHE-ECDSA-AES128-GCM-SHA256"},
    {HF_SUITE_ECDHE_ECDSA_AES_128_CCM, "TLS_ECDHE_ECDSA_WITH_AES_128_CCM",
     "ECDHE-ECDSA-AES128-CCM"},
    {HF_SUITE_ECDHE_ECDSA_AES_128_CCM_8, "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8",
     "ECDHE-ECDSA-AES128-CCM8"},
};

const char *hf_suite_name(uint16_t suite)
{
    for (size_t i = 0; i < sizeof suites / sizeof suites[0]; i++) {
        if (suites[i].suite == suite)
            return suites[i].name;
    }
    return NULL;
}

/** Compares with an IANA name of which TLS_ in front and WITH_ in the middle may be left out. */
static bool is_suite_name(const char *text, const char *name)
{
    const char *rest = strstr(name, "WITH_") + 5;
    size_t key_len = (size_t)(rest - 5 - (name + 4)); /* "PSK_" */
    if (strncasecmp(text, "TLS_", 4) == 0)
        text += 4;
    if (strncasecmp(text, name + 4, key_len) != 0)
        return false;
    text += key_len;
    if (strncasecmp(text, "WITH_", 5) == 0)
        text += 5;
    return strcasecmp(text, rest) == 0;
}

uint16_t hf_suite_parse(const char *text)
{
    char *end;
    unsigned long number = strtoul(text, &end, 16);
    for (size_t i = 0; i < sizeof suites / sizeof suites[0]; i++) {
        bool is_number = strncasecmp(text, "0x", 2) == 0 && *end == 0 && number == suites[i].suite;
        if (is_number || is_suite_name(text, suites[i].name) ||
            strcasecmp(text, suites[i].short_name) == 0)
            return suites[i].suite;
    }
    return HF_SUITE_NONE;
}
