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
    {"-raw-public-key", SWITCH, AT(is_raw)},     /* ours: -key-file shown as a raw key (RFC 7250) */
    {"-no-cookies", SWITCH, AT(has_no_cookies)}, /* ours: a server that believes addresses */
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
    {"-resume-count", U32, AT(resume_count)},
    {"-resumption-delay", U32, AT(resumption_delay_s)},
    {"-no-ticket", SWITCH, AT(has_no_ticket)},
    {"-expect-session-miss", SWITCH, AT(is_session_miss_expected)},
    {"-expect-no-session", SWITCH, AT(is_no_session_expected)},
    {"-expect-session-id", SWITCH, AT(is_session_id_expected)},
    {"-expect-no-session-id", SWITCH, AT(is_no_session_id_expected)},
    {"-expect-peer-signature-algorithm", U16, AT(expect_signature_algorithm)},
    {"-max-cert-list", U32, AT(chain_len_max)},
    /* What makes no difference here: no other version, always asynchronous, one way to shake
     * hands. */
    {"-no-tls1", IGNORED, 0},
    {"-no-tls11", IGNORED, 0},
    {"-no-tls13", IGNORED, 0},
    {"-async", IGNORED, 0},
    {"-implicit-handshake", IGNORED, 0},
    {"-partial-write", IGNORED, 0},
    {"-no-op-extra-handshake", IGNORED, 0},
    {"-cbc-record-splitting", IGNORED, 0},
    {"-expect-secure-renegotiation", IGNORED, 0},
    {"-expect-cipher-no-aes", IGNORED_VALUE, 0},
    {"-server-preference", IGNORED, 0},
    {"-handshaker-path", IGNORED_VALUE, 0},
    {"-forbid-renegotiation-after-handshake", IGNORED, 0},
    {"-enable-all-curves", IGNORED, 0},
    {"-expect-resume-curve-id", IGNORED_VALUE, 0},
    {"-curves", IGNORED_VALUE, 0},
    {"-expect-curve-id", IGNORED_VALUE, 0},
    {"-expect-no-hrr", IGNORED, 0},
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

/* Whose a flag is: of the first connection (1), of those that resume (2), of all (3), or of one
 * that begins again (0), as none does here. */
static unsigned split_prefix(const char **name)
{
    static const char *const prefixes[] = {"-on-retry-", "-on-initial-", "-on-resume-"};
    for (unsigned i = 0; i < 3; i++) {
        size_t len = strlen(prefixes[i]);
        if (strncmp(*name, prefixes[i], len) == 0) {
            *name += len - 1;
            return i;
        }
    }
    return 3;
}

static int take_one(struct shim_flags out[2], const char *full, const char *value_next, int *used)
{
    const char *name = full;
    unsigned whose = split_prefix(&name);
    const struct flag *flag = find_flag(name);
    if (flag == NULL) {
        fprintf(stderr, "%s: not known here\n", full);
        return SHIM_UNIMPLEMENTED;
    }
    bool has_value = flag->kind != SWITCH && flag->kind != IGNORED;
    if (has_value && value_next == NULL) {
        fprintf(stderr, "%s: its value is missing\n", name);
        return 1;
    }
    *used = 1 + has_value;
    for (unsigned i = 0; i < 2; i++) {
        if ((whose >> i & 1) == 0 || take(&out[i], flag, value_next))
            continue;
        fprintf(stderr, "%s %s: not possible here\n", name, value_next);
        return flag->kind == SUITES ? SHIM_UNIMPLEMENTED : 1;
    }
    return 0;
}

int shim_flags_parse(struct shim_flags out[2], int argc, char **argv)
{
    memset(out, 0, 2 * sizeof(*out));
    for (int i = 1, used = 0; i < argc; i += used) {
        int code = take_one(out, argv[i], argv[i + 1], &used); /* argv ends with NULL */
        if (code != 0)
            return code;
    }
    if (!is_version_possible(&out[0]) || !is_version_possible(&out[1])) {
        fprintf(stderr, "only TLS 1.2 and DTLS 1.2 are spoken here\n");
        return SHIM_UNIMPLEMENTED;
    }
    return 0;
}
