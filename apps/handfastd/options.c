/**
 * options.c - the table of options, its parser, and what the options mean together.
 */
#include "options.h"

#include "endpoint.h"

#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct row;

/* Takes one value; false with `error` filled in. */
typedef bool take_fn(struct hf_options *options, char *error, const struct row *row,
                     const char *value);

/* `offset`, `min` and `max` are for the takers that fill one field of struct hf_options. */
struct row {
    const char *name;
    const char *argument; /* NULL: a switch */
    take_fn *take;
    size_t offset;
    uint64_t min, max;
    const char *help;
};

static bool refuse(char *error, const struct row *row, const char *value, const char *expected)
{
    snprintf(error, HF_OPTIONS_ERROR_MAX, "--%s: \"%.100s\" is not %s", row->name, value, expected);
    return false;
}

static void *field(struct hf_options *options, const struct row *row)
{
    return (char *)options + row->offset;
}

/* ---- takers ------------------------------------------------------------------------------- */

static bool take_switch(struct hf_options *options, char *error, const struct row *row,
                        const char *value)
{
    (void)error;
    (void)value;
    *(bool *)field(options, row) = true;
    return true;
}

static bool take_action(struct hf_options *options, char *error, const struct row *row,
                        const char *value)
{
    (void)error;
    (void)value;
    options->action = (enum hf_options_action)row->min;
    return true;
}

static bool take_text(struct hf_options *options, char *error, const struct row *row,
                      const char *value)
{
    size_t len = strlen(value);
    if (len == 0 || len > row->max)
        return refuse(error, row, value, "a text of the allowed length");
    *(const char **)field(options, row) = value;
    return true;
}

static bool take_number(struct hf_options *options, char *error, const struct row *row,
                        const char *value)
{
    char expected[80];
    size_t len = strlen(value);
    uint64_t number = strtoull(value, NULL, 10);
    if (len == 0 || len > 12 || strspn(value, "0123456789") != len || number < row->min ||
        number > row->max) {
        snprintf(expected, sizeof(expected), "a number from %llu to %llu",
                 (unsigned long long)row->min, (unsigned long long)row->max);
        return refuse(error, row, value, expected);
    }
    *(uint64_t *)field(options, row) = number;
    return true;
}

/* "90", "90s", "1500ms", "2m". A bare number counts units of `min` microseconds. */
static bool take_duration(struct hf_options *options, char *error, const struct row *row,
                          const char *value)
{
    static const struct {
        const char *suffix;
        uint64_t us;
    } units[] = {{"ms", 1000}, {"s", 1000000}, {"m", 60000000}, {"h", 3600000000}};
    char *end = NULL;
    uint64_t us = value[0] >= '0' && value[0] <= '9' ? row->min : 0;
    uint64_t number = strtoull(value, &end, 10);
    if (us != 0 && *end != '\0') {
        us = 0;
        for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
            if (strcmp(end, units[i].suffix) == 0)
                us = units[i].us;
    }
    if (us == 0 || number > row->max / us)
        return refuse(error, row, value, "a time such as 10s, 1500ms or 2m");
    *(uint64_t *)field(options, row) = number * us;
    return true;
}

static bool take_endpoint(struct hf_options *options, char *error, const struct row *row,
                          const char *value)
{
    struct hf_loop_socket *sock = &options->sockets[options->socket_count];
    if (options->socket_count == HF_LISTENERS_MAX) {
        snprintf(error, HF_OPTIONS_ERROR_MAX, "--%s: more than %d listeners", row->name,
                 HF_LISTENERS_MAX);
        return false;
    }
    memset(sock, 0, sizeof(*sock));
    if (!hf_endpoint_parse(&sock->address, value))
        return refuse(error, row, value,
                      "ADDR:PORT, [ADDR]:PORT or *:PORT (names are not "
                      "resolved)");
    sock->transport = (enum hf_transport)row->min;
    sock->listener_index = options->socket_count++;
    return true;
}

static bool take_metrics(struct hf_options *options, char *error, const struct row *row,
                         const char *value)
{
    options->has_metrics = hf_endpoint_parse(&options->metrics, value);
    return options->has_metrics || refuse(error, row, value, "ADDR:PORT or [ADDR]:PORT");
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

static bool take_suites(struct hf_options *options, char *error, const struct row *row,
                        const char *value)
{
    char list[512];
    char *rest = NULL;
    options->suite_count = 0;
    if (snprintf(list, sizeof(list), "%s", value) >= (int)sizeof(list))
        return refuse(error, row, value, "a list of suites: it is too long");
    for (char *name = strtok_r(list, ",", &rest); name != NULL; name = strtok_r(NULL, ",", &rest)) {
        uint16_t suite = parse_suite(name);
        if (suite == HF_SUITE_NONE || hf_suite_name(suite) == NULL)
            return refuse(error, row, name, "a suite this program speaks (see --help)");
        for (uint8_t i = 0; i < options->suite_count; i++)
            if (options->suites[i] == suite)
                return refuse(error, row, name, "named once only");
        if (options->suite_count == HF_SUITES_MAX)
            return refuse(error, row, value, "a list of suites: it is too long");
        options->suites[options->suite_count++] = suite;
    }
    return options->suite_count > 0 || refuse(error, row, value, "a list of suites");
}

struct choice {
    const char *name;
    int value;
};

static bool choose(int *out, const struct choice *choices, const char *value)
{
    for (; choices->name != NULL; choices++) {
        if (strcasecmp(value, choices->name) == 0) {
            *out = choices->value;
            return true;
        }
    }
    return false;
}

static bool take_reference_point(struct hf_options *options, char *error, const struct row *row,
                                 const char *value)
{
    static const struct choice choices[] = {{"mca", HF_REFERENCE_POINT_MCA},
                                            {"mcc", HF_REFERENCE_POINT_MCC},
                                            {"mcc'", HF_REFERENCE_POINT_MCC_PRIME},
                                            {"mcc-prime", HF_REFERENCE_POINT_MCC_PRIME},
                                            {NULL, 0}};
    int chosen = 0;
    if (!choose(&chosen, choices, value))
        return refuse(error, row, value, "mca, mcc, mcc' or mcc-prime");
    options->reference_point = (enum hf_reference_point)chosen;
    return true;
}

static bool take_respond(struct hf_options *options, char *error, const struct row *row,
                         const char *value)
{
    static const struct choice choices[] = {{"none", HF_RESPOND_NONE},
                                            {"whoami", HF_RESPOND_WHOAMI},
                                            {"echo", HF_RESPOND_ECHO},
                                            {NULL, 0}};
    int chosen = 0;
    if (!choose(&chosen, choices, value))
        return refuse(error, row, value, "none, whoami or echo");
    options->respond = (enum hf_respond_mode)chosen;
    return true;
}

static bool take_log_level(struct hf_options *options, char *error, const struct row *row,
                           const char *value)
{
    static const struct choice choices[] = {{"error", HF_LOG_ERROR},     {"notice", HF_LOG_NOTICE},
                                            {"warning", HF_LOG_WARNING}, {"info", HF_LOG_INFO},
                                            {"debug", HF_LOG_DEBUG},     {NULL, 0}};
    int chosen = 0;
    if (!choose(&chosen, choices, value))
        return refuse(error, row, value, "error, warning, notice, info or debug");
    options->log_level = (enum hf_log_level)chosen;
    return true;
}

static bool take_log_format(struct hf_options *options, char *error, const struct row *row,
                            const char *value)
{
    static const struct choice choices[] = {
        {"auto", HF_LOG_AUTO}, {"text", HF_LOG_TEXT}, {"logfmt", HF_LOG_LOGFMT}, {NULL, 0}};
    int chosen = 0;
    if (!choose(&chosen, choices, value))
        return refuse(error, row, value, "auto, text or logfmt");
    options->log_format = (enum hf_log_format)chosen;
    return true;
}

/* ---- the table ---------------------------------------------------------------------------- */

#define FIELD(name) offsetof(struct hf_options, name)
#define SECOND 1000000ULL
#define DAY (86400 * SECOND)

static const struct row rows[] = {
    {"dtls", "ADDR:PORT", take_endpoint, 0, HF_TRANSPORT_DTLS, 0,
     "serve DTLS 1.2 here; repeatable; *:PORT is every address, port 0 any free one"},
    {"tls", "ADDR:PORT", take_endpoint, 0, HF_TRANSPORT_TLS, 0, "serve TLS 1.2 here; repeatable"},
    {"psk-file", "FILE", take_text, FIELD(psk_file), 0, 4096,
     "keys, one a line: identity:hexkey[:entity-id]; for its owner's eyes only"},
    {"psk-hint", "TEXT", take_text, FIELD(psk_hint), 0, HF_PSK_HINT_MAX,
     "send this PSK identity hint (none by default)"},
    {"suites", "LIST", take_suites, 0, 0, 0,
     "suites in order of preference: IANA names, OpenSSL names or 0x numbers"},
    {"reference-point", "NAME", take_reference_point, 0, 0, 0, "mca (default), mcc or mcc'"},
    {"shards", "N", take_number, FIELD(shard_count), 1, HF_SHARDS_MAX,
     "threads that serve; default: one a CPU"},
    {"respond", "HOW", take_respond, 0, 0, 0,
     "none, whoami or echo; default: whoami if all listeners are on loopback"},
    {"respond-anywhere", NULL, take_switch, FIELD(is_respond_anywhere), 0, 0,
     "allow --respond on addresses other machines can reach"},
    {"metrics", "ADDR:PORT", take_metrics, 0, 0, 0, "serve /metrics and /healthz by HTTP here"},
    {"keylog", "FILE", take_text, FIELD(keylog_file), 0, 4096,
     "append every association's secrets to FILE (NSS key log): for debugging only"},
    {"log-level", "LEVEL", take_log_level, 0, 0, 0,
     "error, warning, notice, info (default), debug"},
    {"log-format", "FORMAT", take_log_format, 0, 0, 0, "text, logfmt or auto (default)"},
    {"log-rate", "N", take_number, FIELD(log_rate), 0, 1000000,
     "lines a second of one reason; 0 = no limit; default 10"},
    {"handshakes-max", "N", take_number, FIELD(handshakes_max), 1, 1U << 24,
     "half-open handshakes, all shards; default 4096 a shard"},
    {"associations-max", "N", take_number, FIELD(associations_max), 1, 1U << 24,
     "associations, all shards; default 16384 a shard"},
    {"handshakes-per-prefix", "N", take_number, FIELD(handshakes_per_prefix), 1, 1U << 24,
     "half-open handshakes a source prefix and shard may hold under pressure; default 64"},
    {"handshake-timeout", "TIME", take_duration, FIELD(handshake_us), SECOND, DAY,
     "from ClientHello to Finished; default 60s"},
    {"hello-timeout", "TIME", take_duration, FIELD(hello_us), SECOND, DAY,
     "TLS: from accept to ClientHello; default 10s"},
    {"idle-timeout", "TIME", take_duration, FIELD(idle_us), SECOND, 365 * DAY,
     "end associations that are silent so long; default 0: never"},
    {"retransmit-initial", "MS", take_duration, FIELD(retransmit_us), 1000, 60 * SECOND,
     "first DTLS retransmission, milliseconds; default 1000"},
    {"constrained", NULL, take_switch, FIELD(is_constrained), 0, 0,
     "timers for constrained devices: 9 s (RFC 7925), deadline 120 s"},
    {"mtu", "BYTES", take_number, FIELD(datagram_len), 256, 16384,
     "largest DTLS handshake datagram (UDP payload); default 1200"},
    {"require-ems", NULL, take_switch, FIELD(is_extended_master_secret_needed), 0, 0,
     "refuse peers without extended master secret (RFC 7627)"},
    {"no-etm", NULL, take_switch, FIELD(is_encrypt_then_mac_off), 0, 0,
     "do not accept encrypt-then-MAC (RFC 7366)"},
    {"dtls-notify-on-stop", NULL, take_switch, FIELD(is_dtls_notified_on_stop), 0, 0,
     "send close_notify to DTLS peers at the end too: wakes every device"},
    {"check", NULL, take_action, 0, HF_OPTIONS_CHECK, 0, "check options and key file, then exit"},
    {"help", NULL, take_action, 0, HF_OPTIONS_HELP, 0, "this text"},
    {"version", NULL, take_action, 0, HF_OPTIONS_VERSION, 0, "versions of program and libraries"},
};

#define ROW_COUNT (sizeof(rows) / sizeof(rows[0]))

void hf_options_help(void)
{
    printf(
        "usage: handfastd --psk-file FILE [--dtls ADDR:PORT]... [--tls ADDR:PORT]... [option]...\n"
        "TLS 1.2 / DTLS 1.2 front end for a oneM2M IN-CSE. See handfastd(8).\n\n");
    for (size_t i = 0; i < ROW_COUNT; i++) {
        char left[48];
        snprintf(left, sizeof(left), "--%s%s%s", rows[i].name, rows[i].argument ? " " : "",
                 rows[i].argument ? rows[i].argument : "");
        printf("  %-27s %s\n", left, rows[i].help);
    }
    printf("\nsuites:\n");
    for (uint32_t suite = 1; suite <= UINT16_MAX; suite++) {
        const char *name = hf_suite_name((uint16_t)suite);
        if (name != NULL)
            printf("  0x%04X  %s\n", suite, name);
    }
    printf(
        "\nSIGHUP reads the key file again; SIGTERM stops, a second one at once.\n"
        "exit status: 0 done, 1 failed while running or starting, 2 wrong options or key file\n");
}

/* ---- parsing ------------------------------------------------------------------------------ */

static uint64_t cpu_count(void)
{
    cpu_set_t cpus;
    if (sched_getaffinity(0, sizeof(cpus), &cpus) != 0)
        return 1;
    int count = CPU_COUNT(&cpus);
    return count > HF_SHARDS_MAX ? HF_SHARDS_MAX : (uint64_t)count;
}

static void set_defaults(struct hf_options *options)
{
    memset(options, 0, sizeof(*options));
    options->log_level = HF_LOG_INFO;
    options->log_rate = 10;
    options->shard_count = cpu_count();
    options->handshakes_max = HF_OPTIONS_UNSET;
    options->associations_max = HF_OPTIONS_UNSET;
    options->handshakes_per_prefix = HF_OPTIONS_UNSET;
    options->handshake_us = HF_OPTIONS_UNSET;
    options->hello_us = HF_OPTIONS_UNSET;
    options->idle_us = HF_OPTIONS_UNSET;
    options->retransmit_us = HF_OPTIONS_UNSET;
    options->datagram_len = HF_OPTIONS_UNSET;
}

static void fill_listener(struct hf_options *options, uint32_t index)
{
    struct hf_listener *listener = &options->listeners[index];
    hf_listener_init(listener, options->sockets[index].transport);
    listener->reference_point = options->reference_point;
    if (options->suite_count > 0) {
        listener->suite_count = options->suite_count;
        memcpy(listener->suites, options->suites, sizeof(listener->suites));
    }
    if (options->psk_hint != NULL) {
        listener->psk_hint_len = (uint16_t)strlen(options->psk_hint);
        memcpy(listener->psk_hint, options->psk_hint, listener->psk_hint_len);
    }
    if (options->datagram_len != HF_OPTIONS_UNSET)
        listener->datagram_len_max = (uint16_t)options->datagram_len;
    listener->extended_master_secret_needed = options->is_extended_master_secret_needed;
    if (options->is_encrypt_then_mac_off)
        listener->encrypt_then_mac = false;
}

/* The responders tell anybody who holds a key what we think of them, and give back what they send:
 * fine for a demonstration, not for the Internet. */
static bool settle_respond(struct hf_options *options, char *error)
{
    const struct hf_loop_socket *public_socket = NULL;
    for (uint32_t i = 0; i < options->socket_count; i++)
        if (!hf_endpoint_is_loopback(&options->sockets[i].address))
            public_socket = &options->sockets[i];
    if (options->respond == HF_RESPOND_DEFAULT)
        options->respond = public_socket == NULL ? HF_RESPOND_WHOAMI : HF_RESPOND_NONE;
    if (options->respond == HF_RESPOND_NONE || public_socket == NULL ||
        options->is_respond_anywhere)
        return true;
    char address[HF_ADDRESS_TEXT_MAX];
    snprintf(error, HF_OPTIONS_ERROR_MAX,
             "--respond %s: %s is not on loopback: add --respond-anywhere if that is meant",
             hf_options_respond_name(options->respond),
             hf_address_print(address, &public_socket->address));
    return false;
}

/* What only all options together can tell. */
static bool settle(struct hf_options *options, char *error)
{
    if (options->socket_count == 0) {
        snprintf(error, HF_OPTIONS_ERROR_MAX, "nothing to serve: give --dtls or --tls ADDR:PORT");
        return false;
    }
    if (options->psk_file == NULL) {
        snprintf(error, HF_OPTIONS_ERROR_MAX, "no keys: give --psk-file FILE");
        return false;
    }
    if (!settle_respond(options, error))
        return false;
    for (uint32_t i = 0; i < options->socket_count; i++)
        fill_listener(options, i);
    struct hf_config config;
    const char *why = "";
    hf_options_engine(&config, options, 0);
    if (hf_config_check(&why, &config) != HF_OK) {
        snprintf(error, HF_OPTIONS_ERROR_MAX, "these options do not go together: %s", why);
        return false;
    }
    return true;
}

static bool take_all(struct hf_options *options, char *error, int argc, char **argv)
{
    struct option names[ROW_COUNT + 1];
    memset(names, 0, sizeof(names));
    for (size_t i = 0; i < ROW_COUNT; i++) {
        names[i].name = rows[i].name;
        names[i].has_arg = rows[i].argument != NULL ? required_argument : no_argument;
    }
    opterr = 0;
    for (;;) {
        int index = -1;
        int got = getopt_long(argc, argv, ":", names, &index);
        if (got == -1)
            break;
        if (got == ':' || got == '?') {
            snprintf(error, HF_OPTIONS_ERROR_MAX, "%.100s: %s", argv[optind - 1],
                     got == ':' ? "needs a value" : "no such option");
            return false;
        }
        if (!rows[index].take(options, error, &rows[index], optarg))
            return false;
        if (options->action == HF_OPTIONS_HELP || options->action == HF_OPTIONS_VERSION)
            return true;
    }
    if (optind < argc) {
        snprintf(error, HF_OPTIONS_ERROR_MAX, "\"%.100s\": only options are expected",
                 argv[optind]);
        return false;
    }
    return true;
}

bool hf_options_parse(struct hf_options *out, char error[HF_OPTIONS_ERROR_MAX], int argc,
                      char **argv)
{
    set_defaults(out);
    if (!take_all(out, error, argc, argv))
        return false;
    if (out->action == HF_OPTIONS_HELP || out->action == HF_OPTIONS_VERSION)
        return true;
    return settle(out, error);
}

/* ---- what follows from them --------------------------------------------------------------- */

static void override_u64(uint64_t *field_value, uint64_t given)
{
    if (given != HF_OPTIONS_UNSET)
        *field_value = given;
}

/* A shard's part of a total, rounded up. */
static uint32_t share(uint64_t total, uint64_t shard_count)
{
    return (uint32_t)((total + shard_count - 1) / shard_count);
}

void hf_options_engine(struct hf_config *out, const struct hf_options *options,
                       uint32_t shard_index)
{
    hf_config_init(out);
    out->shard_index = shard_index;
    if (options->is_constrained)
        hf_config_use_constrained_timers(out);
    override_u64(&out->handshake_us_max, options->handshake_us);
    override_u64(&out->hello_us_max, options->hello_us);
    override_u64(&out->idle_us_max, options->idle_us);
    override_u64(&out->retransmit_us_initial, options->retransmit_us);
    if (options->associations_max != HF_OPTIONS_UNSET)
        out->associations_max = share(options->associations_max, options->shard_count);
    if (options->handshakes_max != HF_OPTIONS_UNSET)
        out->handshakes_max = share(options->handshakes_max, options->shard_count);
    else if (out->handshakes_max > out->associations_max)
        out->handshakes_max = out->associations_max;
    uint32_t pressure = out->handshakes_max - out->handshakes_max / 4;
    if (out->handshakes_pressure > pressure)
        out->handshakes_pressure = pressure;
    if (options->handshakes_per_prefix != HF_OPTIONS_UNSET)
        out->handshakes_per_prefix_max = (uint32_t)options->handshakes_per_prefix;
    out->keylog = options->keylog_file != NULL;
    out->listeners = options->listeners;
    out->listener_count = options->socket_count;
}

void hf_options_loop(struct hf_loop_config *out, const struct hf_options *options)
{
    hf_loop_config_init(out);
    out->sockets = options->sockets;
    out->socket_count = options->socket_count;
    out->is_dtls_notified_on_stop = options->is_dtls_notified_on_stop;
    if (options->associations_max != HF_OPTIONS_UNSET)
        out->connections_max = share(options->associations_max, options->shard_count);
}

const char *hf_options_respond_name(enum hf_respond_mode mode)
{
    static const char *const names[] = {"default", "none", "whoami", "echo"};
    return names[mode];
}
