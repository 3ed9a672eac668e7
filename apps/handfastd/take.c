/**
 * take.c - see take.h.
 */
#include "take.h"

#include "endpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --dtls and --tls: one more listener. */
bool hf_take_endpoint(void *base, char *reason, const struct hf_setting *setting, const char *value)
{
    struct hf_daemon_config *config = base;
    if (config->socket_count == HF_LISTENERS_MAX) {
        snprintf(reason, HF_SETTING_REASON_MAX, "more than %d listeners", HF_LISTENERS_MAX);
        return false;
    }
    struct hf_daemon_listener *listener = &config->details[config->socket_count];
    hf_daemon_listener_init(listener);
    if (!hf_endpoint_parse(&listener->address, value))
        return hf_setting_refuse(reason, value,
                                 "ADDR:PORT, [ADDR]:PORT or *:PORT (names are not "
                                 "resolved)");
    listener->transport = (enum hf_transport)setting->min;
    listener->has_transport = listener->has_address = true;
    snprintf(listener->name, sizeof(listener->name), "%s-%u", setting->option,
             config->socket_count);
    config->socket_count++;
    return true;
}

bool hf_take_listener_address(void *base, char *reason, const struct hf_setting *setting,
                              const char *value)
{
    struct hf_daemon_listener *listener = base;
    (void)setting;
    listener->has_address = hf_endpoint_parse(&listener->address, value);
    return listener->has_address ||
           hf_setting_refuse(reason, value,
                             "ADDR:PORT, [ADDR]:PORT or *:PORT (names are not resolved)");
}

bool hf_take_metrics(void *base, char *reason, const struct hf_setting *setting, const char *value)
{
    struct hf_daemon_config *config = base;
    (void)setting;
    config->has_metrics = hf_endpoint_parse(&config->metrics, value);
    return config->has_metrics || hf_setting_refuse(reason, value, "ADDR:PORT or [ADDR]:PORT");
}

/* The command line's --upstream-udp and --upstream-tcp. */
bool hf_take_upstream_address(void *base, char *reason, const struct hf_setting *setting,
                              const char *value)
{
    struct hf_address *out = hf_setting_field(base, setting);
    return (hf_endpoint_parse(out, value) && out->port != 0) ||
           hf_setting_refuse(reason, value, "ADDR:PORT or [ADDR]:PORT");
}

/* The file's "udp:ADDR:PORT" or "tcp:ADDR:PORT". */
bool hf_take_upstream(void *base, char *reason, const struct hf_setting *setting, const char *value)
{
    struct hf_daemon_listener *listener = base;
    bool is_udp = strncasecmp(value, "udp:", 4) == 0;
    struct hf_address *out = is_udp ? &listener->upstream_udp : &listener->upstream_tcp;
    (void)setting;
    return ((is_udp || strncasecmp(value, "tcp:", 4) == 0) && hf_endpoint_parse(out, value + 4) &&
            out->port != 0) ||
           hf_setting_refuse(reason, value, "udp:ADDR:PORT or tcp:ADDR:PORT");
}

/* "fd00:1:2:3::/64": kept as its first address. */
bool hf_take_prefix(void *base, char *reason, const struct hf_setting *setting, const char *value)
{
    struct hf_address *out = hf_setting_field(base, setting);
    char text[64];
    size_t len = strlen(value);
    static const uint8_t zero[8];
    if (len < 4 || len > 48 || strcmp(value + len - 3, "/64") != 0)
        return hf_setting_refuse(reason, value,
                                 "an IPv6 prefix of 64 bits, such as fd00:1:2:3::/64");
    snprintf(text, sizeof(text), "[%.*s]:1", (int)(len - 3), value);
    return (hf_endpoint_parse(out, text) && !hf_address_is_v4(out) && (out->ip[0] & 0xe0) != 0 &&
            out->ip[0] < 0xfe && memcmp(out->ip + 8, zero, sizeof(zero)) == 0) ||
           hf_setting_refuse(reason, value, "an IPv6 prefix of 64 bits, such as fd00:1:2:3::/64");
}

/* Names as OpenSSL's ciphers(1) has them, besides those hf_suite_parse() knows. */
static uint16_t parse_suite(const char *name)
{
    static const struct {
        const char *name;
        uint16_t suite;
    } others[] = {
        {"PSK-AES128-GCM-SHA256", HF_SUITE_PSK_AES_128_GCM_SHA256},
        {"PSK-AES128-CBC-SHA256", HF_SUITE_PSK_AES_128_CBC_SHA256},
        {"PSK-AES128-CCM", HF_SUITE_PSK_AES_128_CCM},
        {"PSK-AES128-CCM8", HF_SUITE_PSK_AES_128_CCM_8},
    };
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (strcasecmp(name, others[i].name) == 0)
            return others[i].suite;
    return hf_suite_parse(name);
}

/* Adds to the list: the file gives its elements one by one, the command line with commas. */
bool hf_take_suites(void *base, char *reason, const struct hf_setting *setting, const char *value)
{
    struct hf_daemon_listener *listener = base;
    char list[512];
    char *rest = NULL;
    uint8_t count = 0;
    (void)setting;
    if (snprintf(list, sizeof(list), "%s", value) >= (int)sizeof(list))
        return hf_setting_refuse(reason, value, "a list of suites: it is too long");
    for (char *name = strtok_r(list, ",", &rest); name != NULL; name = strtok_r(NULL, ",", &rest)) {
        uint16_t suite = parse_suite(name);
        if (suite == HF_SUITE_NONE || hf_suite_name(suite) == NULL)
            return hf_setting_refuse(reason, name, "a suite this program speaks (see --help)");
        for (uint8_t i = 0; i < listener->suite_count; i++)
            if (listener->suites[i] == suite)
                return hf_setting_refuse(reason, name, "named once only");
        if (listener->suite_count == HF_SUITES_MAX)
            return hf_setting_refuse(reason, value, "a list of suites: it is too long");
        listener->suites[listener->suite_count++] = suite;
        count++;
    }
    return count > 0 || hf_setting_refuse(reason, value, "a list of suites");
}

/* The file's authority: one name, or several told apart by server name. */
bool hf_take_authority(void *base, char *reason, const struct hf_setting *setting,
                       const char *value)
{
    struct hf_daemon_listener *listener = base;
    size_t len = strlen(value);
    (void)setting;
    if (len == 0 || len >= HF_NAME_MAX || listener->authority_count == HF_AUTHORITIES_MAX)
        return hf_setting_refuse(reason, value, "the name of an authority");
    memcpy(listener->authorities[listener->authority_count++], value, len + 1);
    return true;
}

/* A host name as RFC 6066 3 has it. */
bool hf_take_server_name(void *base, char *reason, const struct hf_setting *setting,
                         const char *value)
{
    static const char good[] = "abcdefghijklmnopqrstuvwxyz0123456789-._";
    char *out = hf_setting_field(base, setting);
    size_t len = strlen(value);
    if (len == 0 || len >= HF_SERVER_NAME_TEXT_MAX || value[len - 1] == '.')
        return hf_setting_refuse(reason, value, "a host name without a dot at its end");
    for (size_t i = 0; i <= len; i++)
        out[i] = value[i] >= 'A' && value[i] <= 'Z' ? (char)(value[i] | 0x20) : value[i];
    return strspn(out, good) == len || hf_setting_refuse(reason, value, "a host name");
}

/* A list of prefixes: the file gives its elements one by one, the command line with commas. */
static bool take_prefixes(struct hf_prefix *out, uint32_t *count, uint32_t count_max, char *reason,
                          const char *value)
{
    char list[1024];
    char *rest = NULL;
    if (snprintf(list, sizeof(list), "%s", value) >= (int)sizeof(list))
        return hf_setting_refuse(reason, value, "a list of networks: it is too long");
    for (char *text = strtok_r(list, ",", &rest); text != NULL; text = strtok_r(NULL, ",", &rest)) {
        if (*count == count_max)
            return hf_setting_refuse(reason, text, "one of so few networks as there may be");
        if (!hf_endpoint_parse_prefix(&out[*count], text))
            return hf_setting_refuse(reason, text, "a network such as 192.0.2.0/24");
        (*count)++;
    }
    return *count > 0 || hf_setting_refuse(reason, value, "a list of networks");
}

bool hf_take_cookie_free(void *base, char *reason, const struct hf_setting *setting,
                         const char *value)
{
    struct hf_daemon_listener *listener = base;
    (void)setting;
    return take_prefixes(listener->cookie_free, &listener->cookie_free_count, HF_COOKIE_FREE_MAX,
                         reason, value);
}

bool hf_take_trusted_proxy(void *base, char *reason, const struct hf_setting *setting,
                           const char *value)
{
    struct hf_daemon_listener *listener = base;
    (void)setting;
    return take_prefixes(listener->trusted, &listener->trusted_count, HF_LOOP_TRUSTED_MAX, reason,
                         value);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* "0:2a": one to eight bytes at an offset of zero to eight. */
bool hf_take_node(void *base, char *reason, const struct hf_setting *setting, const char *value)
{
    struct hf_daemon_config *config = base;
    size_t digits = strlen(value) > 2 ? strlen(value) - 2 : 0;
    (void)setting;
    bool is_good = digits > 0 && digits <= 2 * sizeof(config->cid_node) && digits % 2 == 0 &&
                   value[0] >= '0' && value[0] <= '8' && value[1] == ':';
    for (size_t i = 0; is_good && i < digits; i += 2) {
        int high = hex_digit(value[2 + i]), low = hex_digit(value[3 + i]);
        is_good = high >= 0 && low >= 0;
        if (is_good)
            config->cid_node[i / 2] = (uint8_t)(high << 4 | low);
    }
    config->cid_node_len = (uint8_t)(digits / 2);
    config->cid_node_offset = is_good ? (uint8_t)(value[0] - '0') : 0;
    return is_good || hf_setting_refuse(reason, value,
                                        "an offset from 0 to 8, a colon and one to eight bytes in "
                                        "hexadecimal, such as 0:2a");
}
