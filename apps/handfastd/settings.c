/**
 * settings.c - the table of settings and the readers of their values.
 */
#include "settings.h"

#include "maf_settings.h"
#include "take.h"

#include <handfast/credential.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool hf_setting_refuse(char reason[HF_SETTING_REASON_MAX], const char *value, const char *expected)
{
    snprintf(reason, HF_SETTING_REASON_MAX, "\"%.100s\" is not %s", value, expected);
    return false;
}

void *hf_setting_field(void *base, const struct hf_setting *setting)
{
    return (char *)base + setting->offset;
}

/* ---- takers ------------------------------------------------------------------------------- */

/* A switch, or yes and no. `min` 1: what is stored is the opposite. */
static bool take_bool(void *base, char *reason, const struct hf_setting *setting, const char *value)
{
    static const char *const words[][2] = {
        {"no", "yes"}, {"false", "true"}, {"off", "on"}, {"0", "1"}};
    for (size_t i = 0; value != NULL && i < sizeof(words) / sizeof(words[0]); i++) {
        for (int is_on = 0; is_on < 2; is_on++) {
            if (strcasecmp(value, words[i][is_on]) == 0) {
                *(bool *)hf_setting_field(base, setting) = is_on != (int)setting->min;
                return true;
            }
        }
    }
    if (value != NULL)
        return hf_setting_refuse(reason, value, "yes or no");
    *(bool *)hf_setting_field(base, setting) = true;
    return true;
}

static bool take_action(void *base, char *reason, const struct hf_setting *setting,
                        const char *value)
{
    (void)reason;
    (void)value;
    *(enum hf_options_action *)hf_setting_field(base, setting) =
        (enum hf_options_action)setting->min;
    return true;
}

/* Into an array of `max` bytes, its NUL included. */
static bool take_text(void *base, char *reason, const struct hf_setting *setting, const char *value)
{
    size_t len = strlen(value);
    for (size_t i = 0; i < len; i++) /* these texts appear in messages of one line */
        if ((unsigned char)value[i] < ' ' || value[i] == 0x7f)
            return hf_setting_refuse(reason, "it", "a text without control characters");
    if (len == 0 || len >= setting->max)
        return hf_setting_refuse(reason, value, "a text of the allowed length");
    memcpy(hf_setting_field(base, setting), value, len + 1);
    return true;
}

static bool take_number(void *base, char *reason, const struct hf_setting *setting,
                        const char *value)
{
    char expected[80];
    size_t len = strlen(value);
    uint64_t number = strtoull(value, NULL, 10);
    if (len == 0 || len > 12 || strspn(value, "0123456789") != len || number < setting->min ||
        number > setting->max) {
        snprintf(expected, sizeof(expected), "a number from %llu to %llu",
                 (unsigned long long)setting->min, (unsigned long long)setting->max);
        return hf_setting_refuse(reason, value, expected);
    }
    *(uint64_t *)hf_setting_field(base, setting) = number;
    return true;
}

/* "90", "90s", "1500ms", "2m". A bare number counts units of `min` microseconds. */
static bool take_duration(void *base, char *reason, const struct hf_setting *setting,
                          const char *value)
{
    static const struct {
        const char *suffix;
        uint64_t us;
    } units[] = {{"ms", 1000}, {"s", 1000000}, {"m", 60000000}, {"h", 3600000000}};
    char *end = NULL;
    uint64_t us = value[0] >= '0' && value[0] <= '9' ? setting->min : 0;
    uint64_t number = strtoull(value, &end, 10);
    if (us != 0 && *end != '\0') {
        us = 0;
        for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
            if (strcmp(end, units[i].suffix) == 0)
                us = units[i].us;
    }
    if (us == 0 || number > setting->max / us)
        return hf_setting_refuse(reason, value, "a time such as 10s, 1500ms or 2m");
    *(uint64_t *)hf_setting_field(base, setting) = number * us;
    return true;
}

static bool refuse_choice(char *reason, const char *value, const struct hf_setting *setting)
{
    char expected[HF_SETTING_REASON_MAX / 2] = "";
    size_t used = 0;
    for (const struct hf_setting_choice *choice = setting->choices; choice->name != NULL;
         choice++) {
        const char *glue = used == 0 ? "" : choice[1].name == NULL ? " or " : ", ";
        if (used < sizeof(expected))
            used += (size_t)snprintf(expected + used, sizeof(expected) - used, "%s%s", glue,
                                     choice->name);
    }
    return hf_setting_refuse(reason, value, expected);
}

static bool take_choice(void *base, char *reason, const struct hf_setting *setting,
                        const char *value)
{
    for (const struct hf_setting_choice *choice = setting->choices; choice->name != NULL;
         choice++) {
        if (strcasecmp(value, choice->name) == 0) {
            *(int *)hf_setting_field(base, setting) = choice->value;
            return true;
        }
    }
    return refuse_choice(reason, value, setting);
}

static bool take_transport(void *base, char *reason, const struct hf_setting *setting,
                           const char *value)
{
    struct hf_daemon_listener *listener = base;
    listener->has_transport = take_choice(base, reason, setting, value);
    return listener->has_transport;
}

/* A list of choices, each a bit: the file gives its elements one by one, the command line with
 * commas. */
static bool take_set(void *base, char *reason, const struct hf_setting *setting, const char *value)
{
    char list[128];
    char *rest = NULL;
    uint64_t *set = hf_setting_field(base, setting);
    if (snprintf(list, sizeof(list), "%s", value) >= (int)sizeof(list))
        return hf_setting_refuse(reason, value, "a list of that kind: it is too long");
    for (char *name = strtok_r(list, ",", &rest); name != NULL; name = strtok_r(NULL, ",", &rest)) {
        const struct hf_setting_choice *choice = setting->choices;
        while (choice->name != NULL && strcasecmp(choice->name, name) != 0)
            choice++;
        if (choice->name == NULL)
            return refuse_choice(reason, name, setting);
        *set |= (uint64_t)choice->value;
    }
    return *set != 0 || hf_setting_refuse(reason, value, "a list");
}

/* ---- the table ---------------------------------------------------------------------------- */

static const struct hf_setting_choice transports[] = {
    {"dtls", HF_TRANSPORT_DTLS}, {"tls", HF_TRANSPORT_TLS}, {NULL, 0}};
static const struct hf_setting_choice reference_points[] = {
    {"mca", HF_REFERENCE_POINT_MCA},
    {"mcc", HF_REFERENCE_POINT_MCC},
    {"mcc'", HF_REFERENCE_POINT_MCC_PRIME},
    {"mcc-prime", HF_REFERENCE_POINT_MCC_PRIME},
    {NULL, 0}};
static const struct hf_setting_choice responds[] = {
    {"none", HF_RESPOND_NONE}, {"whoami", HF_RESPOND_WHOAMI}, {"echo", HF_RESPOND_ECHO}, {NULL, 0}};
static const struct hf_setting_choice unique_ids[] = {
    {"association", 0}, {"association-and-entity", 1}, {NULL, 0}};
static const struct hf_setting_choice formats[] = {{"auto", HF_LOG_AUTO},
                                                   {"text", HF_LOG_TEXT},
                                                   {"logfmt", HF_LOG_LOGFMT},
                                                   {"json", HF_LOG_JSON},
                                                   {NULL, 0}};
static const struct hf_setting_choice ios[] = {
    {"auto", HF_LOOP_IO_AUTO}, {"uring", HF_LOOP_IO_URING}, {"epoll", HF_LOOP_IO_EPOLL}, {NULL, 0}};
static const struct hf_setting_choice levels[] = {
    {"error", HF_LOG_ERROR}, {"warning", HF_LOG_WARNING}, {"notice", HF_LOG_NOTICE},
    {"info", HF_LOG_INFO},   {"debug", HF_LOG_DEBUG},     {NULL, 0}};
static const struct hf_setting_choice identities[] = {
    {"plain", HF_LOG_IDENTITIES_PLAIN}, {"hashed", HF_LOG_IDENTITIES_HASHED}, {NULL, 0}};

static const struct hf_setting_choice frameworks[] = {
    {"psk", HF_DAEMON_FRAMEWORK_PSK}, {"certificate", HF_DAEMON_FRAMEWORK_CERTIFICATE}, {NULL, 0}};
static const struct hf_setting_choice flavours[] = {{"device", HF_FLAVOUR_DEVICE},
                                                    {"cse-id", HF_FLAVOUR_CSE_ID},
                                                    {"ae-id", HF_FLAVOUR_AE_ID},
                                                    {"node-id", HF_FLAVOUR_NODE_ID},
                                                    {NULL, 0}};
static const struct hf_setting_choice crl_policies[] = {
    {"warn", HF_CRL_EXPIRED_WARN}, {"refuse", HF_CRL_EXPIRED_REFUSE}, {NULL, 0}};

static const struct hf_setting_choice connection_ids[] = {{"on", HF_CONNECTION_ID_ON},
                                                          {"send", HF_CONNECTION_ID_SEND},
                                                          {"off", HF_CONNECTION_ID_OFF},
                                                          {NULL, 0}};
static const struct hf_setting_choice path_checks[] = {
    {"enhanced", HF_PATH_CHECK_ENHANCED}, {"basic", HF_PATH_CHECK_BASIC}, {NULL, 0}};
static const struct hf_setting_choice path_policies[] = {
    {"bounded", HF_PATH_BOUNDED}, {"fixed", HF_PATH_FIXED}, {"follow", HF_PATH_FOLLOW}, {NULL, 0}};

#define CONFIG(name) offsetof(struct hf_daemon_config, name)
#define LISTENER(name) offsetof(struct hf_daemon_listener, name)
#define AUTHORITY(name) offsetof(struct hf_daemon_authority, name)
#define SECOND 1000000ULL
#define DAY (86400 * SECOND)

#include "dialer_settings.h" /* needs the takers above */

static const struct hf_setting settings[] = {
    {.option = "config",
     .argument = "FILE",
     .take = take_text,
     .offset = CONFIG(config_file),
     .max = HF_PATH_TEXT_MAX,
     .help = "read handfastd.conf(5); other options win over the file"},
    {.option = "dtls",
     .argument = "ADDR:PORT",
     .take = hf_take_endpoint,
     .min = HF_TRANSPORT_DTLS,
     .help = "serve DTLS 1.2 here; repeatable; *:PORT is every address, port 0 any free one"},
    {.option = "tls",
     .argument = "ADDR:PORT",
     .take = hf_take_endpoint,
     .min = HF_TRANSPORT_TLS,
     .help = "serve TLS 1.2 here; repeatable"},

    {HF_SECTION_AUTHORITY, "psk-file", "psk-file", "FILE", take_text, AUTHORITY(psk_file), 0,
     HF_PATH_TEXT_MAX, NULL, false, false,
     "keys, one a line: identity:hexkey[:entity-id]; for its owner's eyes only"},
    {HF_SECTION_AUTHORITY, "key-store", "key-store", "DIR", take_text, AUTHORITY(key_store), 0,
     HF_PATH_TEXT_MAX, NULL, false, false, "keys in an LMDB store, see handfastctl(8)"},
    {HF_SECTION_AUTHORITY, "remove-max", "remove-max", "PERCENT", take_number,
     AUTHORITY(remove_percent_max), 0, 100, NULL, false, false,
     "a reload that removes more of the keys must be forced; default 10"},
    {HF_SECTION_AUTHORITY, "associations-max", NULL, NULL, take_number, AUTHORITY(associations_max),
     1, 1U << 24, NULL, false, false, ""},
    {HF_SECTION_AUTHORITY, "handshakes-max", NULL, NULL, take_number, AUTHORITY(handshakes_max), 1,
     1U << 24, NULL, false, false, ""},
    {HF_SECTION_AUTHORITY, "handshakes-per-second", NULL, NULL, take_number,
     AUTHORITY(handshakes_per_second), 1, 1U << 24, NULL, false, false, ""},

    {HF_SECTION_AUTHORITY, "server-name", "server-name", "NAME", hf_take_server_name,
     AUTHORITY(server_name), 0, 0, NULL, false, false,
     "the name peers ask for (SNI); another one is refused"},
    {HF_SECTION_AUTHORITY, "certificate", "cert", "FILE", take_text, AUTHORITY(certificate), 0,
     HF_PATH_TEXT_MAX, NULL, false, false, "our certificate and its issuers, PEM"},
    {HF_SECTION_AUTHORITY, "key", "key", "FILE", take_text, AUTHORITY(key), 0, HF_PATH_TEXT_MAX,
     NULL, false, false,
     "its private key, PEM, for its owner's eyes only; or signer:PATH#LABEL (docs/SIGNER.md)"},
    {HF_SECTION_AUTHORITY, "rpk-key", "rpk-key", "FILE", take_text, AUTHORITY(rpk_key), 0,
     HF_PATH_TEXT_MAX, NULL, false, false,
     "private key shown as raw public key (RFC 7250); default: that of --key"},
    {HF_SECTION_AUTHORITY, "client-ca", "client-ca", "FILE", take_text, AUTHORITY(client_ca), 0,
     HF_PATH_TEXT_MAX, NULL, false, false, "authorities that issue peers' certificates, PEM"},
    {HF_SECTION_AUTHORITY, "client-flavours", "client-flavours", "LIST", take_set,
     AUTHORITY(flavours), 0, 0, flavours, true, false,
     "what peers' certificates may be: device, cse-id, ae-id, node-id; default cse-id,ae-id"},
    {HF_SECTION_AUTHORITY, "crl", "crl", "FILE", take_text, AUTHORITY(crl), 0, HF_PATH_TEXT_MAX,
     NULL, false, false, "revoked certificates: CRLs, PEM"},
    {HF_SECTION_AUTHORITY, "crl-expired", "crl-expired", "HOW", take_choice, AUTHORITY(crl_expired),
     0, 0, crl_policies, false, false, "warn (default) or refuse when a CRL is out of date"},
    {HF_SECTION_AUTHORITY, "crl-required", "crl-required", NULL, take_bool,
     AUTHORITY(is_crl_required), 0, 0, NULL, false, false,
     "refuse a certificate that no CRL answers for"},
    {HF_SECTION_AUTHORITY, "name-constraints-required", "name-constraints-required", NULL,
     take_bool, AUTHORITY(is_name_constraint_required), 0, 0, NULL, false, false,
     "refuse a chain whose issuers constrain no name"},
    {HF_SECTION_AUTHORITY, "client-rpk", "client-rpk", "FILE", take_text, AUTHORITY(client_rpk), 0,
     HF_PATH_TEXT_MAX, NULL, false, false,
     "raw public keys of peers, one a line: digest (RFC 6920), entity-id or -"},
    {HF_SECTION_AUTHORITY, "names", "names", "FILE", take_text, AUTHORITY(names), 0,
     HF_PATH_TEXT_MAX, NULL, false, false, "CSE-IDs and their domain names, one pair a line"},
    {HF_SECTION_AUTHORITY, "entity-map", "entity-map", "FILE", take_text, AUTHORITY(entity_map), 0,
     HF_PATH_TEXT_MAX, NULL, false, false,
     "whose devices, nodes and raw keys are: Credential-ID and entity-ids, one a line"},

    {HF_SECTION_LISTENER, "transport", NULL, NULL, take_transport, LISTENER(transport), 0, 0,
     transports, false, false, ""},
    {HF_SECTION_LISTENER, "address", NULL, NULL, hf_take_listener_address, 0, 0, 0, NULL, false,
     false, ""},
    {HF_SECTION_LISTENER, "authority", NULL, NULL, hf_take_authority, 0, 0, 0, NULL, true, false,
     ""},
    {HF_SECTION_LISTENER, "frameworks", NULL, NULL, take_set, LISTENER(frameworks), 0, 0,
     frameworks, true, false, ""},
    {HF_SECTION_LISTENER, "upstream", NULL, NULL, hf_take_upstream, 0, 0, 0, NULL, false, false,
     ""},
    {HF_SECTION_LISTENER, "psk-hint", "psk-hint", "TEXT", take_text, LISTENER(psk_hint), 0,
     HF_PSK_HINT_MAX + 1, NULL, false, false, "send this PSK identity hint (none by default)"},
    {HF_SECTION_LISTENER, "suites", "suites", "LIST", hf_take_suites, 0, 0, 0, NULL, true, false,
     "suites in order of preference: IANA names, OpenSSL names or 0x numbers"},
    {HF_SECTION_LISTENER, "reference-point", "reference-point", "NAME", take_choice,
     LISTENER(reference_point), 0, 0, reference_points, false, false, "mca (default), mcc or mcc'"},
    {HF_SECTION_LISTENER, "respond", "respond", "HOW", take_choice, LISTENER(respond), 0, 0,
     responds, false, true,
     "none, whoami or echo; default: whoami if all listeners are on loopback"},
    {HF_SECTION_LISTENER, "respond-anywhere", "respond-anywhere", NULL, take_bool,
     LISTENER(is_respond_anywhere), 0, 0, NULL, false, true,
     "allow --respond on addresses other machines can reach"},
    {HF_SECTION_LISTENER, "mtu", "mtu", "BYTES", take_number, LISTENER(datagram_len), 256, 4096,
     NULL, false, false, "largest DTLS handshake datagram (UDP payload); default 1200"},
    {HF_SECTION_LISTENER, "cookies-above", "cookies-above", "N", take_number,
     LISTENER(cookies_above), 0, 1U << 24, NULL, false, false,
     "DTLS: ask for cookies only while so many handshakes are half-open; default 0: always"},
    {HF_SECTION_LISTENER, "cookies-off-for", "cookies-off-for", "LIST", hf_take_cookie_free, 0, 0,
     0, NULL, true, false, "DTLS: networks where addresses cannot be forged, for no cookies"},
    {HF_SECTION_LISTENER, "trusted-proxy", "trusted-proxy", "LIST", hf_take_trusted_proxy, 0, 0, 0,
     NULL, true, false, "TLS: balancers whose PROXY protocol v2 header names the peer"},
    {HF_SECTION_LISTENER, "require-ems", "require-ems", NULL, take_bool,
     LISTENER(is_extended_master_secret_needed), 0, 0, NULL, false, false,
     "refuse peers without extended master secret (RFC 7627)"},
    {HF_SECTION_LISTENER, "encrypt-then-mac", NULL, NULL, take_bool,
     LISTENER(is_encrypt_then_mac_off), 1, 0, NULL, false, false, ""},
    {HF_SECTION_LISTENER, NULL, "no-etm", NULL, take_bool, LISTENER(is_encrypt_then_mac_off), 0, 0,
     NULL, false, false, "do not accept encrypt-then-MAC (RFC 7366)"},
    {HF_SECTION_LISTENER, "connection-id", "connection-id", "HOW", take_choice,
     LISTENER(connection_id), 0, 0, connection_ids, false, false,
     "DTLS: on (default), send (the peer's only) or off (RFC 9146)"},
    {HF_SECTION_LISTENER, "return-routability", NULL, NULL, take_bool,
     LISTENER(is_return_routability_off), 1, 0, NULL, false, false, ""},
    {HF_SECTION_LISTENER, "proxy-protocol", "proxy-protocol", NULL, take_bool,
     LISTENER(is_proxy_protocol), 0, 0, NULL, false, false,
     "tell the upstream who the peer is, in PROXY protocol v2"},
    {HF_SECTION_LISTENER, "upstream-keep", "upstream-keep", "TIME", take_duration,
     LISTENER(keep_us), SECOND, DAY, NULL, false, false,
     "TLS: outlive the connection to the upstream, try another so long; 0 = never; default 30s"},
    {HF_SECTION_LISTENER, "proxy-unique-id", "proxy-unique-id", "WHAT", take_choice,
     LISTENER(is_entity_told), 0, 0, unique_ids, false, false,
     "its unique ID: association (default), or association-and-entity"},
    {HF_SECTION_LISTENER, NULL, "upstream-udp", "ADDR:PORT", hf_take_upstream_address,
     LISTENER(upstream_udp), 0, 0, NULL, false, false, "forward plaintext of DTLS listeners there"},
    {HF_SECTION_LISTENER, NULL, "upstream-tcp", "ADDR:PORT", hf_take_upstream_address,
     LISTENER(upstream_tcp), 0, 0, NULL, false, false, "forward plaintext of TLS listeners there"},

    HF_MAF_SETTINGS HF_DIALER_SETTINGS{HF_SECTION_PROCESS, "shards", "shards", "N", take_number,
                                       CONFIG(shard_count), 1, HF_SHARDS_MAX, NULL, false, false,
                                       "threads that serve; default: one a CPU"},
    {HF_SECTION_PROCESS, "io", "io", "HOW", take_choice, CONFIG(io), 0, 0, ios, false, false,
     "uring, epoll, or auto (default): io_uring unless it is refused"},
    {HF_SECTION_PROCESS, "connection-id-node", "connection-id-node", "OFFSET:HEX", hf_take_node, 0,
     0, 0, NULL, false, false, "this node's number in connection IDs, for balancers in front"},
    {HF_SECTION_PROCESS, "address-check", "address-check", "HOW", take_choice, CONFIG(path_check),
     0, 0, path_checks, false, false,
     "a peer's new address: enhanced (default: ask the old one first) or basic (RFC 9853)"},
    {HF_SECTION_PROCESS, "address-unchecked", "address-unchecked", "HOW", take_choice,
     CONFIG(path_policy), 0, 0, path_policies, false, false,
     "of peers that cannot be asked: bounded (default), fixed or follow"},
    {HF_SECTION_PROCESS, "linger", "linger", "US", take_number, CONFIG(linger_us), 0, 200, NULL,
     false, false, "microseconds to wait for fuller batches, under load only; default 0"},
    {HF_SECTION_PROCESS, "flood-hellos", "flood-hellos", "N", take_number, CONFIG(flood_hellos), 0,
     10000000, NULL, false, false,
     "under a flood, hellos a second and shard that may lead to nothing; default 20000; 0: all"},
    {HF_SECTION_PROCESS, "user", "user", "NAME", take_text, CONFIG(user), 0, HF_NAME_MAX, NULL,
     false, false, "become this user once every address is bound"},
    {HF_SECTION_PROCESS, "seccomp", "seccomp", NULL, take_bool, CONFIG(is_seccomp), 0, 0, NULL,
     false, false, "after the start, allow only the system calls that serving needs"},
    {HF_SECTION_PROCESS, "keylog", "keylog", "FILE", take_text, CONFIG(keylog_file), 0,
     HF_PATH_TEXT_MAX, NULL, false, false,
     "append every association's secrets to FILE (NSS key log): for debugging only"},
    {HF_SECTION_PROCESS, "checkpoint", "checkpoint", "FILE", take_text, CONFIG(checkpoint), 0,
     HF_PATH_TEXT_MAX - 16, NULL, false, false,
     "keep DTLS associations in FILE, sealed, for the start after a crash"},
    {HF_SECTION_PROCESS, "checkpoint-interval", "checkpoint-interval", "TIME", take_duration,
     CONFIG(checkpoint_us), SECOND, 3600 * SECOND, NULL, false, false, "how often; default 60s"},
    {HF_SECTION_PROCESS, "dtls-notify-on-stop", "dtls-notify-on-stop", NULL, take_bool,
     CONFIG(is_dtls_notified_on_stop), 0, 0, NULL, false, false,
     "send close_notify to DTLS peers at the end too: wakes every device"},
    {HF_SECTION_PROCESS, "upstream-prefix", "upstream-prefix", "PREFIX", hf_take_prefix,
     CONFIG(upstream_prefix), 0, 0, NULL, false, false,
     "associations' own addresses towards IPv6 upstreams of datagrams: a /64 routed to this host"},
    {HF_SECTION_SESSIONS, "tickets", "session-tickets", NULL, take_bool, CONFIG(is_session_tickets),
     0, 0, NULL, false, false, "let peers resume by ticket (RFC 5077)"},
    {HF_SECTION_SESSIONS, "cache", "session-cache", "N", take_number, CONFIG(session_cache), 0,
     1U << 24, NULL, false, false,
     "let peers resume by session ID: so many sessions, all shards together; default 0"},
    {HF_SECTION_SESSIONS, "lifetime", "session-lifetime", "TIME", take_duration, CONFIG(session_us),
     SECOND, 7 * DAY, NULL, false, false,
     "of a session, at least 2048s; default 1h; never beyond its credential's"},
    {HF_SECTION_SESSIONS, "shared-secrets", "shared-secrets", "FILE", take_text,
     CONFIG(shared_secrets), 0, HF_PATH_TEXT_MAX, NULL, false, false,
     "cookie and ticket keys shared by nodes behind a balancer: handfastctl secrets"},
    {HF_SECTION_METRICS, "address", "metrics", "ADDR:PORT", hf_take_metrics, 0, 0, 0, NULL, false,
     false, "serve /metrics, /healthz and /readyz by HTTP here"},
    {HF_SECTION_CONTROL, "socket", "control", "PATH", take_text, CONFIG(control_socket), 0,
     HF_SOCKET_TEXT_MAX, NULL, false, false, "serve handfastctl(8) on this Unix socket"},
    {HF_SECTION_CONTROL, "group", "control-group", "NAME", take_text, CONFIG(control_group), 0,
     HF_NAME_MAX, NULL, false, false, "group that may use the control socket"},
    {HF_SECTION_CONTROL, "takeover", "takeover-socket", "PATH", take_text, CONFIG(takeover_socket),
     0, HF_SOCKET_TEXT_MAX, NULL, false, false,
     "where a new process may take everything over: handfastctl restart"},
    {HF_SECTION_NONE, NULL, "takeover", NULL, take_bool, CONFIG(is_takeover), 0, 0, NULL, false,
     false, "be that process, and take over from the one that serves"},
    {HF_SECTION_LOG, "level", "log-level", "LEVEL", take_choice, CONFIG(log_level), 0, 0, levels,
     false, false, "error, warning, notice, info (default), debug"},
    {HF_SECTION_LOG, "format", "log-format", "FORMAT", take_choice, CONFIG(log_format), 0, 0,
     formats, false, false, "text, logfmt, json or auto (default)"},
    {HF_SECTION_LOG, "rate", "log-rate", "N", take_number, CONFIG(log_rate), 0, 1000000, NULL,
     false, false, "lines a second of one reason; 0 = no limit; default 10"},
    {HF_SECTION_LOG, "identities", "log-identities", "HOW", take_choice, CONFIG(log_identities), 0,
     0, identities, false, false, "plain (default), or hashed: see handfastctl hash"},
    {HF_SECTION_LOG, "salt", NULL, NULL, take_text, CONFIG(log_salt), 0, HF_NAME_MAX, NULL, false,
     false, ""},
    {HF_SECTION_LOG, "audit", "audit-log", "FILE", take_text, CONFIG(audit_file), 0,
     HF_PATH_TEXT_MAX, NULL, false, false,
     "append key changes, reloads and control commands to FILE"},
    {HF_SECTION_LIMITS, "handshakes-max", "handshakes-max", "N", take_number,
     CONFIG(handshakes_max), 1, 1U << 24, NULL, false, false,
     "half-open handshakes, all shards; default 4096 a shard"},
    {HF_SECTION_LIMITS, "certificate-handshakes-max", "certificate-handshakes-max", "N",
     take_number, CONFIG(proofs_max), 1, 1U << 24, NULL, false, false,
     "those of them with certificates, all shards; default 1024 a shard"},
    {HF_SECTION_LIMITS, "chain-cache-max", "chain-cache-max", "N", take_number,
     CONFIG(chain_cache_max), 0, 65536, NULL, false, false,
     "verified signatures of CA certificates a shard remembers; default 0"},
    {HF_SECTION_LIMITS, "associations-max", "associations-max", "N", take_number,
     CONFIG(associations_max), 1, 1U << 24, NULL, false, false,
     "associations, all shards; default 1048576"},
    {HF_SECTION_LIMITS, "handshakes-per-prefix", "handshakes-per-prefix", "N", take_number,
     CONFIG(handshakes_per_prefix), 1, 1U << 24, NULL, false, false,
     "half-open handshakes a source prefix and shard may hold under pressure; default 64"},
    {HF_SECTION_LIMITS, "handshake-timeout", "handshake-timeout", "TIME", take_duration,
     CONFIG(handshake_us), SECOND, DAY, NULL, false, false,
     "from ClientHello to Finished; default 60s"},
    {HF_SECTION_LIMITS, "hello-timeout", "hello-timeout", "TIME", take_duration, CONFIG(hello_us),
     SECOND, DAY, NULL, false, false, "TLS: from accept to ClientHello; default 10s"},
    {HF_SECTION_LIMITS, "idle-timeout", "idle-timeout", "TIME", take_duration, CONFIG(idle_us),
     SECOND, 365 * DAY, NULL, false, false,
     "end associations that are silent so long; default 0: never"},
    {HF_SECTION_LIMITS, "max-age", "max-age", "TIME", take_duration, CONFIG(age_us), SECOND,
     200 * DAY, NULL, false, false, "end associations that are so old; default 0: never"},
    {HF_SECTION_LIMITS, "evict-idle", "evict-idle", "TIME", take_duration, CONFIG(evict_us), SECOND,
     200 * DAY, NULL, false, false,
     "when full, end the longest silent if it has been silent so long; default 0: never"},
    {HF_SECTION_LIMITS, "retransmit-initial", "retransmit-initial", "MS", take_duration,
     CONFIG(retransmit_us), 1000, 60 * SECOND, NULL, false, false,
     "first DTLS retransmission, milliseconds; default 1000"},
    {HF_SECTION_LIMITS, "upstream-quarantine", "upstream-quarantine", "TIME", take_duration,
     CONFIG(quarantine_us), SECOND, DAY, NULL, false, false,
     "before an association's IPv4 address towards the upstream is another's; default 250s"},
    {HF_SECTION_LIMITS, "constrained", "constrained", NULL, take_bool, CONFIG(is_constrained), 0, 0,
     NULL, false, false, "timers for constrained devices: 9 s (RFC 7925), deadline 120 s"},

    {.option = "check",
     .take = take_action,
     .min = HF_OPTIONS_CHECK,
     .help = "check options, configuration and keys, then exit"},
    {.option = "check-config", .take = take_action, .min = HF_OPTIONS_CHECK, .help = "the same"},
    {.option = "warn-expiry",
     .argument = "DAYS",
     .take = take_number,
     .offset = CONFIG(warn_expiry_days),
     .min = 1,
     .max = 3650,
     .help = "with --check: fail if a certificate or CRL expires within so many days"},
    {.option = "help", .take = take_action, .min = HF_OPTIONS_HELP, .help = "this text"},
    {.option = "version",
     .take = take_action,
     .min = HF_OPTIONS_VERSION,
     .help = "versions of program and libraries"},
};

const struct hf_setting *hf_settings(size_t *out_count)
{
    *out_count = sizeof(settings) / sizeof(settings[0]);
    return settings;
}

const char *hf_settings_section_name(enum hf_settings_section section)
{
    static const char *const names[HF_SECTION_COUNT] = {
        NULL,     "process",  "sessions",  "metrics", "control", "log",
        "limits", "listener", "authority", "maf",     "dialer"};
    return names[section];
}
