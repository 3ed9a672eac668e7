/**
 * load.c - the command line of `handfast load`.
 */
#include "load.h"

#include "tool.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define SOURCES_DEFAULT (65024u * 254u)
#define PORTS_MAX 16384
#define SERVERS_MAX 250
#define REBINDS_MAX 8

static const struct option long_options[] = {
    {"dtls", required_argument, NULL, 'd'},
    {"tls", required_argument, NULL, 't'},
    {"psk-file", required_argument, NULL, 'k'},
    {"certs", required_argument, NULL, 'c'},
    {"ca", required_argument, NULL, 'a'},
    {"mix", required_argument, NULL, 'M'},
    {"resume", no_argument, NULL, 'r'},
    {"suite", required_argument, NULL, 's'},
    {"etm", no_argument, NULL, 'm'},
    {"devices", required_argument, NULL, 'N'},
    {"count", required_argument, NULL, 'n'},
    {"warmup", required_argument, NULL, 'w'},
    {"waves", no_argument, NULL, 'W'},
    {"in-flight", required_argument, NULL, 'j'},
    {"curve", required_argument, NULL, 'C'},
    {"rate", required_argument, NULL, 'R'},
    {"period", required_argument, NULL, 'P'},
    {"timeout", required_argument, NULL, 'o'},
    {"hold", required_argument, NULL, 'H'},
    {"exchange", no_argument, NULL, 'x'},
    {"messages", required_argument, NULL, 'X'},
    {"notified", no_argument, NULL, 'l'},
    {"loss", required_argument, NULL, 'L'},
    {"rebind", required_argument, NULL, 'b'},
    {"spoof", required_argument, NULL, 'z'},
    {"no-rrc", no_argument, NULL, 'u'},
    {"cid", required_argument, NULL, 'i'},
    {"sources", required_argument, NULL, 'S'},
    {"ports", required_argument, NULL, 'O'},
    {"servers", required_argument, NULL, 'V'},
    {"seed", required_argument, NULL, 'e'},
    {"server-pid", required_argument, NULL, 'p'},
    {"curve-file", required_argument, NULL, 'f'},
    {"json", no_argument, NULL, 'J'},
    {"quiet", no_argument, NULL, 'q'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static void print_help(FILE *out)
{
    fputs(
        "usage: handfast load --dtls|--tls 127.X.X.X:PORT --psk-file FILE|--certs DIR [OPTION]...\n"
        "A population of devices on this machine, to load a server on this machine. See\n"
        "handfast-load(1).\n"
        "\n"
        "  --psk-file FILE       keys, one a line as for handfastd, dealt out in turn\n"
        "  --certs DIR --ca FILE 0.pem and 0.key, 1.pem and 1.key ..., dealt out in turn; whom\n"
        "                        the server's certificate is judged by\n"
        "  --mix P:C             with both: P devices with keys, then C with certificates; 1:1\n"
        "  --resume              each credential once in full, then by its session\n"
        "  --suite NAME          instead of the mandatory one\n"
        "  --etm                 offer encrypt-then-MAC\n"
        "a population:\n"
        "  --devices N           that come, stay, and part in the end\n"
        "  --curve storm|steady|sinus    how they come; storm: as fast as they can\n"
        "  --rate R              arrivals a second, for steady and sinus (its mean)\n"
        "  --period SECONDS      of the sinus; 60\n"
        "  --hold SECONDS|input  stay so long, or until standard input ends; 0\n"
        "  --exchange            each says \"up N\" once and wants it back\n"
        "  --messages N          likewise N times, each time a random one\n"
        "  --notified            and those who spoke wait for \"late N\"\n"
        "  --rebind N            they speak N times, each time a NAT has moved them all before\n"
        "  --spoof replay|forge|race    somebody copies what they send, from other addresses\n"
        "  --cid off|send|on     connection IDs (RFC 9146); send with the two above, else off\n"
        "  --no-rrc              with them: devices cannot be asked for an address (RFC 9853)\n"
        "  --curve-file FILE     CSV of the arrivals\n"
        "a measurement, without --devices:\n"
        "  --count N --warmup N  handshakes, each closed at once; 20000, 2000\n"
        "  --waves               as many as are in flight together, and the next when all ended\n"
        "either:\n"
        "  --in-flight N         handshakes at once; 64\n"
        "  --timeout SECONDS     of a handshake; 20\n"
        "  --loss PERCENT        of datagrams, each way; --seed N makes it another loss\n"
        "  --sources N           source addresses; by default one for each device\n"
        "  --ports N             source ports; 1\n"
        "  --servers N           addresses of the server, from ADDR upwards; 1\n"
        "  --server-pid PID      tell its CPU and memory\n"
        "  --json                the summary as one line of JSON\n"
        "  --quiet               no progress line\n"
        "\n"
        "exit status: 0 all established (and answered), 1 not all, 2 wrong usage\n",
        out);
}

static bool parse_server(struct hf_load_options *options, const char *text, bool is_dtls)
{
    char address[64];
    const char *colon = strrchr(text, ':');
    if (colon == NULL || (size_t)(colon - text) >= sizeof(address))
        return false;
    memcpy(address, text, (size_t)(colon - text));
    address[colon - text] = '\0';
    unsigned long port = strtoul(colon + 1, NULL, 10);
    options->is_dtls = is_dtls;
    options->server.sin_family = AF_INET;
    options->server.sin_port = htons((uint16_t)port);
    /* Source addresses are made up within 127/8: no other target can work, or should. */
    return port > 0 && port <= UINT16_MAX &&
           inet_pton(AF_INET, address, &options->server.sin_addr) == 1 &&
           ntohl(options->server.sin_addr.s_addr) >> 24 == 127;
}

static bool parse_number(uint64_t *out, const char *text, uint64_t min, uint64_t max)
{
    char *end = NULL;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && text[0] != '-' && *out >= min &&
           *out <= max;
}

static bool parse_u32(uint32_t *out, const char *text, uint32_t min, uint32_t max)
{
    uint64_t value;
    bool is_good = parse_number(&value, text, min, max);
    *out = (uint32_t)value;
    return is_good;
}

static bool parse_real(double *out, const char *text, double max)
{
    char *end = NULL;
    *out = strtod(text, &end);
    return end != text && *end == '\0' && isfinite(*out) && *out >= 0 && *out <= max;
}

static bool parse_mix(struct hf_load_options *options, const char *text)
{
    char *end = NULL;
    options->psk_weight = (uint32_t)strtoul(text, &end, 10);
    if (*end != ':')
        return false;
    options->certificate_weight = (uint32_t)strtoul(end + 1, &end, 10);
    return *end == '\0' && options->psk_weight <= 1000 && options->certificate_weight <= 1000 &&
           options->psk_weight + options->certificate_weight > 0;
}

static bool parse_suite(struct hf_load_options *options, const char *text)
{
    uint16_t suite = hf_suite_parse(text);
    bool is_psk = suite == HF_SUITE_PSK_AES_128_GCM_SHA256 ||
                  suite == HF_SUITE_PSK_AES_128_CBC_SHA256 || suite == HF_SUITE_PSK_AES_128_CCM ||
                  suite == HF_SUITE_PSK_AES_128_CCM_8;
    *(is_psk ? &options->psk_suite : &options->certificate_suite) = suite;
    return suite != 0;
}

static bool parse_curve(struct hf_load_options *options, const char *text)
{
    static const char *const names[] = {"storm", "steady", "sinus"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(text, names[i]) == 0) {
            options->curve = (enum hf_load_curve)i;
            return true;
        }
    }
    return false;
}

static bool parse_spoof(struct hf_load_options *options, const char *text)
{
    static const char *const names[] = {"replay", "forge", "race"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(text, names[i]) == 0) {
            options->spoof = (enum hf_load_spoof)(i + 1);
            return true;
        }
    }
    return false;
}

static bool parse_connection_id(struct hf_load_options *options, const char *text)
{
    static const char *const names[] = {"off", "send", "on"};
    static const enum hf_connection_id values[] = {HF_CONNECTION_ID_OFF, HF_CONNECTION_ID_SEND,
                                                   HF_CONNECTION_ID_ON};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(text, names[i]) == 0) {
            options->connection_id = values[i];
            return true;
        }
    }
    return false;
}

static bool take_population(struct hf_load_options *options, int option, const char *text)
{
    double value;
    switch (option) {
    case 'N':
        options->has_devices = true;
        return parse_number(&options->count, text, 1, HF_LOAD_DEVICES_MAX);
    case 'C':
        return parse_curve(options, text);
    case 'R':
        return parse_real(&options->rate, text, 1e7) && options->rate > 0;
    case 'P':
        return parse_real(&options->period_s, text, 1e6) && options->period_s > 0;
    case 'H':
        options->is_held_for_input = strcmp(text, "input") == 0;
        return options->is_held_for_input || parse_real(&options->hold_s, text, 1e7);
    case 'x':
        return options->is_exchanging = true;
    case 'X':
        options->is_exchanging = true;
        return parse_number(&options->messages, text, 1, UINT32_MAX);
    case 'l':
        return options->is_notified = true;
    case 'b':
        return parse_u32(&options->rebinds, text, 1, REBINDS_MAX);
    case 'z':
        return parse_spoof(options, text);
    case 'u':
        return options->is_unasked = true;
    case 'i':
        return parse_connection_id(options, text);
    case 'L':
        if (!parse_real(&value, text, 99))
            return false;
        options->loss_ppm = (uint32_t)(value * 10000);
        return true;
    default:
        return false;
    }
}

static bool take_option(struct hf_load_options *options, int option, const char *text)
{
    uint32_t pid;
    switch (option) {
    case 'd':
    case 't':
        return parse_server(options, text, option == 'd');
    case 'k':
        options->psk_file = text;
        return true;
    case 'c':
        options->certs = text;
        return true;
    case 'a':
        options->ca = text;
        return true;
    case 'M':
        return parse_mix(options, text);
    case 'r':
        return options->is_resuming = true;
    case 's':
        return parse_suite(options, text);
    case 'm':
        return options->encrypt_then_mac = true;
    case 'n':
        return parse_number(&options->count, text, 1, UINT32_MAX);
    case 'w':
        return parse_number(&options->warmup, text, 0, UINT32_MAX);
    case 'W':
        return options->is_in_waves = true;
    case 'j':
        return parse_u32(&options->in_flight, text, 1, HF_LOAD_IN_FLIGHT_MAX);
    case 'o':
        return parse_real(&options->timeout_s, text, 3600) && options->timeout_s >= 1;
    case 'S':
        return parse_u32(&options->sources, text, 1, SOURCES_DEFAULT);
    case 'O':
        return parse_u32(&options->ports, text, 1, PORTS_MAX);
    case 'V':
        return parse_u32(&options->servers, text, 1, SERVERS_MAX);
    case 'e':
        return parse_number(&options->seed, text, 0, UINT64_MAX);
    case 'p':
        options->server_pid = parse_u32(&pid, text, 1, INT32_MAX) ? (int)pid : 0;
        return options->server_pid > 0;
    case 'f':
        options->curve_file = text;
        return true;
    case 'J':
        return options->is_json = true;
    case 'q':
        return options->is_quiet = true;
    default:
        return take_population(options, option, text);
    }
}

/* NULL: they fit together. */
static const char *judge(struct hf_load_options *options)
{
    bool has_mix = options->psk_weight + options->certificate_weight > 0;
    if (options->server.sin_port == 0)
        return "--dtls or --tls says whom to load";
    if (options->psk_file == NULL && options->certs == NULL)
        return "--psk-file or --certs says as whom";
    if ((options->certs == NULL) != (options->ca == NULL))
        return "--certs and --ca go together";
    if (has_mix && (options->psk_file == NULL || options->certs == NULL))
        return "--mix needs --psk-file and --certs";
    if (!has_mix) {
        options->psk_weight = options->psk_file != NULL;
        options->certificate_weight = options->certs != NULL;
    }
    if (options->curve != HF_LOAD_STORM && options->rate <= 0)
        return "--curve steady and sinus need --rate";
    if (!options->has_devices && (options->is_exchanging || options->is_held_for_input ||
                                  options->hold_s > 0 || options->curve_file != NULL))
        return "--hold, --exchange, --messages and --curve-file need --devices";
    if ((options->rebinds > 0 || options->spoof != HF_LOAD_SPOOF_NONE) &&
        (!options->is_exchanging || !options->is_dtls))
        return "--rebind and --spoof need --dtls, and --exchange or --messages";
    if ((options->rebinds > 0 || options->spoof != HF_LOAD_SPOOF_NONE) &&
        options->connection_id == HF_CONNECTION_ID_OFF)
        options->connection_id = HF_CONNECTION_ID_SEND;
    if (options->is_notified && !options->is_exchanging)
        return "--notified needs --exchange or --messages";
    if (options->messages > 0 && options->count < 2)
        return "--messages needs more than one device";
    if (options->psk_suite == 0)
        options->psk_suite =
            options->is_dtls ? HF_SUITE_PSK_AES_128_CCM_8 : HF_SUITE_PSK_AES_128_CBC_SHA256;
    if (options->certificate_suite == 0)
        options->certificate_suite = options->is_dtls ? HF_SUITE_ECDHE_ECDSA_AES_128_CCM_8
                                                      : HF_SUITE_ECDHE_ECDSA_AES_128_CBC_SHA256;
    return NULL;
}

/* SCHED_BATCH: on a shared core waves are not torn by wake-up preemption; a server to be measured
 * should run under `chrt --batch 0` for the same reason. */
static void settle_in(void)
{
    struct sched_param param = {0};
    struct rlimit files;
    (void)sched_setscheduler(0, SCHED_BATCH, &param);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
}

static struct hf_load load;

static void interrupt(int number)
{
    (void)number;
    load.is_interrupted = true;
}

int hf_load_main(int argc, char **argv)
{
    struct hf_load_options *options = &load.options;
    int option;
    int index = 0;
    *options = (struct hf_load_options){.in_flight = 64,
                                        .count = 20000,
                                        .warmup = 2000,
                                        .period_s = 60,
                                        .timeout_s = 20,
                                        .sources = SOURCES_DEFAULT,
                                        .ports = 1,
                                        .servers = 1};
    optind = 1;
    while ((option = getopt_long(argc, argv, "", long_options, &index)) != -1) {
        if (option == 'h') {
            print_help(stdout);
            return fflush(stdout) == 0 ? HF_TOOL_DONE : HF_TOOL_FAILED;
        }
        if (option == '?')
            return HF_TOOL_USAGE;
        if (!take_option(options, option, optarg)) {
            fprintf(stderr, "handfast: load: --%s: \"%s\" is not %s\n", long_options[index].name,
                    optarg ? optarg : "",
                    option == 'd' || option == 't' ? "ADDR:PORT within 127.0.0.0/8"
                                                   : "a value it takes: see --help");
            return HF_TOOL_USAGE;
        }
    }
    const char *why = optind < argc ? "too many arguments" : judge(options);
    if (why != NULL) {
        fprintf(stderr, "handfast: load: %s\n", why);
        return HF_TOOL_USAGE;
    }
    settle_in();
    (void)signal(SIGINT, interrupt);
    bool is_open = hf_load_open(&load);
    bool is_good = is_open && hf_load_run(&load);
    if (is_open) {
        hf_load_report(&load);
        is_good &= hf_load_write_curve(&load);
    }
    hf_load_close(&load);
    return is_good ? HF_TOOL_DONE : HF_TOOL_FAILED;
}
