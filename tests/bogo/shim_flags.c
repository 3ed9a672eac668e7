/**
 * shim_flags.c - the runner's flags. What handfast has not - other versions, other key exchanges,
 * ALPN, OCSP and the like - is not known here, and answered with SHIM_UNIMPLEMENTED.
 */
#include "shim.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { SWITCH, TEXT, U16, U32, U64, SUITES, IGNORED, IGNORED_VALUE };

struct flag {
    const char *name;
    enum kind kind;
    size_t offset;
};

#define AT(field) offsetof(struct shim_flags, field)

static const struct flag flags[] = {
    {"-port", U16, AT(port)},
    {"-ipv6", SWITCH, AT(is_ipv6)},
    {"-shim-id", U64, AT(shim_id)},
    {"-server", SWITCH, AT(is_server)},
    {"-dtls", SWITCH, AT(is_dtls)},
    {"-psk", TEXT, AT(psk)},
    {"-psk-identity", TEXT, AT(psk_identity)},
    {"-cert-file", TEXT, AT(cert_file)},
    {"-key-file", TEXT, AT(key_file)},
    {"-trust-cert", TEXT, AT(trust_cert)},
    {"-require-any-client-certificate", SWITCH, AT(is_client_certificate_required)},
    {"-verify-peer", SWITCH, AT(is_peer_verified)},
    {"-raw-public-key", SWITCH, AT(is_raw)}, /* ours: -key-file shown as a raw key (RFC 7250) */
    {"-host-name", TEXT, AT(host_name)},
    {"-expect-server-name", TEXT, AT(expect_server_name)},
    {"-expect-no-server-name", SWITCH, AT(is_no_server_name_expected)},
    {"-shim-writes-first", SWITCH, AT(writes_first)},
    {"-shim-shuts-down", SWITCH, AT(shuts_down)},
    {"-check-close-notify", SWITCH, AT(checks_close_notify)},
    {"-expect-extended-master-secret", SWITCH, AT(is_ems_expected)},
    {"-min-version", U16, AT(min_version)},
    {"-max-version", U16, AT(max_version)},
    {"-expect-version", U16, AT(expect_version)},
    {"-expect-cipher", U16, AT(expect_suite)},
    {"-expect-cipher-aes", U16, AT(expect_suite)},
    {"-cipher", SUITES, AT(suites)},
    {"-mtu", U32, AT(mtu)},
    {"-max-send-fragment", U32, AT(max_fragment_len)},
    {"-read-size", U32, AT(read_len)},
    {"-initial-timeout-duration-ms", U32, AT(initial_timeout_ms)},
    {"-export-keying-material", U32, AT(export_len)},
    {"-export-label", TEXT, AT(export_label)},
    {"-export-context", TEXT, AT(export_context)},
    {"-use-export-context", SWITCH, AT(has_export_context)},
    {"-is-handshaker-supported", SWITCH, AT(is_handshaker_asked)},
    /* What makes no difference here: no other version, no tickets by default, always asynchronous,
     * one way to shake hands. */
    {"-no-tls1", IGNORED, 0},
    {"-no-tls11", IGNORED, 0},
    {"-no-tls13", IGNORED, 0},
    {"-no-ticket", IGNORED, 0},
    {"-async", IGNORED, 0},
    {"-implicit-handshake", IGNORED, 0},
    {"-partial-write", IGNORED, 0},
    {"-no-op-extra-handshake", IGNORED, 0},
    {"-cbc-record-splitting", IGNORED, 0},
    {"-expect-no-session", IGNORED, 0},
    {"-expect-secure-renegotiation", IGNORED, 0},
    {"-expect-cipher-no-aes", IGNORED_VALUE, 0},
    {"-server-preference", IGNORED, 0},
    {"-handshaker-path", IGNORED_VALUE, 0},
    {"-curves", IGNORED_VALUE, 0},
    {"-expect-curve-id", IGNORED_VALUE, 0},
};

static const struct flag *find_flag(const char *name)
{
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        if (strcmp(name, flags[i].name) == 0)
            return &flags[i];
    return NULL;
}

static bool parse_number(uint64_t *out, const char *text, uint64_t max)
{
    char *end = NULL;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && text[0] != '-' && *out <= max;
}

/* Names with colons between, as OpenSSL lists them; those that we have not are passed over. */
static bool parse_suites(struct shim_flags *out, const char *text)
{
    while (*text != '\0') {
        char name[96] = {0};
        size_t len = strcspn(text, ":,");
        if (len < sizeof(name) && out->suite_count < SHIM_SUITES_MAX) {
            memcpy(name, text, len);
            uint16_t suite = hf_suite_parse(name);
            if (suite != HF_SUITE_NONE)
                out->suites[out->suite_count++] = suite;
        }
        text += len + (text[len] != '\0');
    }
    return out->suite_count > 0;
}

static bool take(struct shim_flags *out, const struct flag *flag, const char *value)
{
    uint8_t *at = (uint8_t *)out + flag->offset;
    uint64_t number = 0;
    switch (flag->kind) {
    case SWITCH:
        memcpy(at, &(bool){true}, sizeof(bool));
        return true;
    case TEXT:
        memcpy(at, &value, sizeof(value));
        return true;
    case U16:
        return parse_number(&number, value, UINT16_MAX) &&
               memcpy(at, &(uint16_t){(uint16_t)number}, sizeof(uint16_t));
    case U32:
        return parse_number(&number, value, UINT32_MAX) &&
               memcpy(at, &(uint32_t){(uint32_t)number}, sizeof(uint32_t));
    case U64:
        return parse_number(&number, value, UINT64_MAX) && memcpy(at, &number, sizeof(number));
    case SUITES:
        return parse_suites(out, value);
    case IGNORED:
    case IGNORED_VALUE:
    default:
        return true;
    }
}

/* Only 1.2 is spoken. The runner names versions as TLS has them, for DTLS too. */
static bool is_version_possible(const struct shim_flags *out)
{
    return out->min_version <= 0x0303 && (out->max_version == 0 || out->max_version >= 0x0303) &&
           (out->expect_version == 0 || out->expect_version == 0x0303 ||
            out->expect_version == 0xFEFD);
}

/* A flag for the first connection of several is a flag; for a later one it is not ours to know. */
static const char *without_prefix(const char *name)
{
    static const char prefix[] = "-on-initial-";
    return strncmp(name, prefix, sizeof(prefix) - 1) == 0 ? name + sizeof(prefix) - 2 : name;
}

int shim_flags_parse(struct shim_flags *out, int argc, char **argv)
{
    memset(out, 0, sizeof(*out));
    for (int i = 1; i < argc; i++) {
        const char *name = without_prefix(argv[i]);
        const struct flag *flag = find_flag(name);
        if (flag == NULL) {
            fprintf(stderr, "%s: not known here\n", argv[i]);
            return SHIM_UNIMPLEMENTED;
        }
        bool has_value = flag->kind != SWITCH && flag->kind != IGNORED;
        const char *value = has_value ? argv[++i] : NULL; /* argv ends with NULL */
        if (has_value && value == NULL) {
            fprintf(stderr, "%s: its value is missing\n", name);
            return 1;
        }
        if (!take(out, flag, value)) {
            fprintf(stderr, "%s %s: not possible here\n", name, value);
            return flag->kind == SUITES ? SHIM_UNIMPLEMENTED : 1;
        }
    }
    if (!is_version_possible(out)) {
        fprintf(stderr, "only TLS 1.2 and DTLS 1.2 are spoken here\n");
        return SHIM_UNIMPLEMENTED;
    }
    return 0;
}
