/**
 * connect.c - the command line of `handfast connect`.
 */
#include "connect.h"

#include "endpoint.h"
#include "tool.h"

#include <getopt.h>
#include <maf_text.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>

/* Options that have no letter to remember them by. */
enum {
    OPTION_MAF = 256,
    OPTION_MAF_PSK_FILE,
    OPTION_MAF_IDENTITY,
    OPTION_MAF_CERT,
    OPTION_MAF_KEY,
    OPTION_MAF_CA,
    OPTION_MAF_CRL,
    OPTION_MAF_ORIGIN,
    OPTION_MAF_ADMIN,
    OPTION_MAF_TARGET,
    OPTION_MAF_KEY_FILE,
    OPTION_MAF_SAVE,
    OPTION_MAF_DAYS,
};

static const struct option long_options[] = {
    {"tls", required_argument, NULL, 't'},
    {"dtls", required_argument, NULL, 'd'},
    {"source", required_argument, NULL, 's'},
    {"psk-file", required_argument, NULL, 'p'},
    {"identity", required_argument, NULL, 'i'},
    {"cert", required_argument, NULL, 'c'},
    {"key", required_argument, NULL, 'k'},
    {"ca", required_argument, NULL, 'a'},
    {"crl", required_argument, NULL, 'r'},
    {"rpk-key", required_argument, NULL, 'R'},
    {"server-rpk", required_argument, NULL, 'S'},
    {"names", required_argument, NULL, 'N'},
    {"expect", required_argument, NULL, 'e'},
    {"flavour", required_argument, NULL, 'f'},
    {"reference-point", required_argument, NULL, 'm'},
    {"sni", required_argument, NULL, 'n'},
    {"suites", required_argument, NULL, 'u'},
    {"max-fragment", required_argument, NULL, 'M'},
    {"datagram", required_argument, NULL, 'D'},
    {"require-ems", no_argument, NULL, 'E'},
    {"no-etm", no_argument, NULL, 'T'},
    {"cid", no_argument, NULL, 'C'},
    {"cid-own", no_argument, NULL, 'O'},
    {"timeout", required_argument, NULL, 'o'},
    {"linger", required_argument, NULL, 'l'},
    {"session", required_argument, NULL, 'x'},
    {"keylog", required_argument, NULL, 'K'},
    {"maf", required_argument, NULL, OPTION_MAF},
    {"maf-psk-file", required_argument, NULL, OPTION_MAF_PSK_FILE},
    {"maf-identity", required_argument, NULL, OPTION_MAF_IDENTITY},
    {"maf-cert", required_argument, NULL, OPTION_MAF_CERT},
    {"maf-key", required_argument, NULL, OPTION_MAF_KEY},
    {"maf-ca", required_argument, NULL, OPTION_MAF_CA},
    {"maf-crl", required_argument, NULL, OPTION_MAF_CRL},
    {"maf-origin", required_argument, NULL, OPTION_MAF_ORIGIN},
    {"maf-admin", required_argument, NULL, OPTION_MAF_ADMIN},
    {"maf-target", required_argument, NULL, OPTION_MAF_TARGET},
    {"maf-key-file", required_argument, NULL, OPTION_MAF_KEY_FILE},
    {"maf-save", required_argument, NULL, OPTION_MAF_SAVE},
    {"maf-days", required_argument, NULL, OPTION_MAF_DAYS},
    {"json", no_argument, NULL, 'j'},
    {"probe", no_argument, NULL, 'P'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static void print_help(FILE *out)
{
    fputs(
        "usage: handfast connect --tls|--dtls ADDR:PORT [OPTION]...\n"
        "Dials a server and pipes standard input and output; what was agreed on and who the\n"
        "peer proved to be is told on standard error. See handfast-connect(1).\n"
        "\n"
        "  --psk-file FILE       keys, one a line as for handfastd\n"
        "  --identity ID         psk_identity to send; #6465 in hexadecimal; the file's only one\n"
        "  --cert FILE --key FILE    our certificate chain and its key\n"
        "  --ca FILE --crl FILE  authorities the server's certificate is judged by; CRLs\n"
        "  --rpk-key FILE        our raw public key, as private key (RFC 7250)\n"
        "  --server-rpk FILE     the server's: PUBLIC KEY, or lines of digest and entity\n"
        "  --expect ID           who must answer: a CSE-ID, an AE-ID or an FQDN\n"
        "  --flavour NAME        of the server's certificate: cse-id, fqdn, ae-id, node-id,\n"
        "                        device, raw; cse-id unless --expect says more\n"
        "  --names FILE          CSE-IDs and their public domain names, where they differ\n"
        "  --sni NAME            server name to ask for\n"
        "  --suites LIST         IANA names or numbers, with commas, in order of preference\n"
        "  --source ADDR:PORT    dial from there\n"
        "  --reference-point mca|mcc|mcc'    mca\n"
        "  --max-fragment BYTES  ask for 512, 1024, 2048 or 4096 (RFC 6066)\n"
        "  --datagram BYTES      DTLS: longest datagram of the handshake; 1200\n"
        "  --require-ems         refuse a server without extended master secret\n"
        "  --no-etm              do not offer encrypt-then-MAC\n"
        "  --cid, --cid-own      DTLS: use the server's connection ID (RFC 9146); and one of ours\n"
        "  --timeout SECONDS     to be established within; 30\n"
        "  --linger SECONDS      to wait for answers at the end of input; TLS 5, DTLS 1\n"
        "  --probe               no data: report on standard output, close\n"
        "  --json                report as JSON\n"
        "  --session FILE        resume the session in it, if there is one; keep a new one there\n"
        "  --keylog FILE         append secrets as NSS does; gives everything away\n"
        "\n"
        "  --maf FQDN=ADDR:PORT  register a key at this MAF first, and use it as psk\n"
        "  --maf-psk-file FILE --maf-identity KMID    our key with the MAF: Km\n"
        "  --maf-cert FILE --maf-key FILE --maf-ca FILE --maf-crl FILE    or certificates\n"
        "  --maf-admin FQDN      who administrates\n"
        "  --maf-target CSE-ID   who may retrieve the key, absolute; --expect unless given\n"
        "  --maf-origin ID       X-M2M-Origin: who we are; checked against TLS\n"
        "  --maf-key-file FILE   this key, 32 bytes, instead of one the session exports\n"
        "  --maf-save FILE       keep it as a key file, for --psk-file\n"
        "  --maf-days N          its life; the MAF may shorten it\n"
        "\n"
        "exit status: 0 established and ended in order, 1 failed, 2 wrong usage\n",
        out);
}

static bool parse_seconds(uint64_t *out_us, const char *text)
{
    char *end = NULL;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= 0 && value <= 86400))
        return false;
    *out_us = (uint64_t)(value * 1e6);
    return true;
}

static bool parse_number(uint16_t *out, const char *text)
{
    char *end = NULL;
    unsigned long value = strtoul(text, &end, 10);
    if (end == text || *end != '\0' || value > UINT16_MAX)
        return false;
    *out = (uint16_t)value;
    return true;
}

static bool parse_suites(struct hf_connect_options *options, const char *text)
{
    while (*text != '\0') {
        char name[80];
        size_t len = strcspn(text, ",");
        if (len == 0 || len >= sizeof(name) || options->suite_count == HF_SUITES_MAX)
            return false;
        memcpy(name, text, len);
        name[len] = '\0';
        uint16_t suite = hf_suite_parse(name);
        if (suite == HF_SUITE_NONE)
            return false;
        options->suites[options->suite_count++] = suite;
        text += len + (text[len] == ',');
    }
    return options->suite_count > 0;
}

static bool parse_flavour(enum hf_flavour *out, const char *text)
{
    for (unsigned bit = HF_FLAVOUR_RAW; bit <= HF_FLAVOUR_FQDN; bit <<= 1) {
        if (strcmp(text, hf_flavour_name((enum hf_flavour)bit)) == 0) {
            *out = (enum hf_flavour)bit;
            return true;
        }
    }
    return false;
}

static bool parse_reference_point(enum hf_reference_point *out, const char *text)
{
    for (int point = 0; point <= HF_REFERENCE_POINT_MCC_PRIME; point++) {
        if (strcasecmp(text, hf_reference_point_name((enum hf_reference_point)point)) == 0) {
            *out = (enum hf_reference_point)point;
            return true;
        }
    }
    return false;
}

static const char **text_of_maf(struct hf_connect_options *options, int letter)
{
    switch (letter) {
    case OPTION_MAF_PSK_FILE:
        return &options->maf.psk_file;
    case OPTION_MAF_IDENTITY:
        return &options->maf.identity;
    case OPTION_MAF_CERT:
        return &options->maf.cert;
    case OPTION_MAF_KEY:
        return &options->maf.key;
    case OPTION_MAF_CA:
        return &options->maf.ca;
    case OPTION_MAF_CRL:
        return &options->maf.crl;
    case OPTION_MAF_ORIGIN:
        return &options->maf.origin;
    case OPTION_MAF_ADMIN:
        return &options->maf_admin;
    case OPTION_MAF_TARGET:
        return &options->maf_target;
    case OPTION_MAF_KEY_FILE:
        return &options->maf_key_file;
    case OPTION_MAF_SAVE:
        return &options->maf_save;
    default:
        return NULL;
    }
}

/* Options that are taken as they are. */
static const char **text_of(struct hf_connect_options *options, int letter)
{
    switch (letter) {
    case 'p':
        return &options->psk_file;
    case 'i':
        return &options->identity;
    case 'c':
        return &options->cert;
    case 'k':
        return &options->key;
    case 'a':
        return &options->ca;
    case 'r':
        return &options->crl;
    case 'R':
        return &options->rpk_key;
    case 'S':
        return &options->server_rpk;
    case 'N':
        return &options->names;
    case 'e':
        return &options->expect;
    case 'n':
        return &options->server_name;
    case 'K':
        return &options->keylog;
    case 'x':
        return &options->session_file;
    default:
        return text_of_maf(options, letter);
    }
}

static bool take_switch(struct hf_connect_options *options, int letter)
{
    switch (letter) {
    case 'E':
        return options->is_ems_needed = true;
    case 'T':
        return options->is_etm_off = true;
    case 'C':
        options->connection_id = HF_CONNECTION_ID_SEND;
        return true;
    case 'O':
        options->connection_id = HF_CONNECTION_ID_ON;
        return true;
    case 'j':
        return options->is_json = true;
    default:
        return options->is_probe = true;
    }
}

/* False: the value is wrong. */
static bool take_option(struct hf_connect_options *options, int letter, char *value)
{
    const char **text = text_of(options, letter);
    if (text != NULL) {
        *text = value;
        return true;
    }
    switch (letter) {
    case 't':
    case 'd':
        options->transport = letter == 't' ? HF_TRANSPORT_TLS : HF_TRANSPORT_DTLS;
        return hf_endpoint_parse(&options->peer, value) && options->peer.port != 0;
    case 's':
        options->has_source = true;
        return hf_endpoint_parse(&options->source, value);
    case 'f':
        return parse_flavour(&options->flavour, value);
    case 'm':
        return parse_reference_point(&options->reference_point, value);
    case 'u':
        return parse_suites(options, value);
    case 'M':
        return parse_number(&options->max_fragment_len, value);
    case 'D':
        return parse_number(&options->datagram_len_max, value);
    case 'o':
        return parse_seconds(&options->timeout_us, value) && options->timeout_us > 0;
    case 'l':
        return parse_seconds(&options->linger_us, value);
    case OPTION_MAF:
        return hf_maf_dial_parse(&options->maf, value);
    case OPTION_MAF_DAYS:
        return parse_number(&options->maf_days, value) && options->maf_days > 0;
    default:
        return take_switch(options, letter);
    }
}

static const char *missing_for_maf(const struct hf_connect_options *options)
{
    if (options->psk_file || options->identity || options->cert || options->rpk_key)
        return "--maf gives the key: no --psk-file, --identity, --cert or --rpk-key beside it";
    if (options->maf_admin == NULL)
        return "--maf-admin FQDN is needed: who administrates the key";
    if (options->maf_target == NULL ||
        !hf_maf_text_is_absolute(hf_maf_text_view(options->maf_target)))
        return "--maf-target or --expect is needed: the server's CSE-ID, absolute";
    return hf_maf_dial_missing(&options->maf);
}

static const char *missing(const struct hf_connect_options *options)
{
    bool has_certificate = options->cert != NULL || options->rpk_key != NULL;
    if (options->peer.port == 0)
        return "one of --tls and --dtls is needed";
    if (options->maf.fqdn != NULL)
        return missing_for_maf(options);
    if (!options->psk_file && !has_certificate)
        return "--psk-file, --cert, --rpk-key or --maf is needed: both ends prove who they are";
    if ((options->cert != NULL) != (options->key != NULL))
        return "--cert and --key go together";
    if (has_certificate && !options->ca && !options->server_rpk)
        return "--ca or --server-rpk is needed to know the server by";
    if (options->identity && !options->psk_file)
        return "--identity needs --psk-file";
    return NULL;
}

/* Who is expected tells what kind of certificate shows it, unless the command line does. */
static void settle_flavour(struct hf_connect_options *options)
{
    if (options->flavour != HF_FLAVOUR_NONE)
        return;
    if (options->ca == NULL)
        options->flavour = HF_FLAVOUR_RAW;
    else if (options->expect != NULL && options->expect[0] != '/')
        options->flavour = HF_FLAVOUR_FQDN;
    else
        options->flavour = HF_FLAVOUR_CSE_ID;
}

/* An exit code, or -1: go on. */
/* What an option takes whose value was refused. */
static const char *takes(int letter)
{
    switch (letter) {
    case 't':
    case 'd':
    case 's':
        return "ADDR:PORT or [ADDR]:PORT (names are not resolved)";
    case 'f':
        return "cse-id, fqdn, ae-id, node-id, device or raw";
    case 'm':
        return "mca, mcc or mcc'";
    case 'u':
        return "a list of suites: IANA names or numbers, with commas";
    case OPTION_MAF:
        return "FQDN=ADDR:PORT";
    default:
        return "a number in range";
    }
}

static int parse(struct hf_connect_options *options, int argc, char **argv)
{
    int letter = 0;
    int index = 0;
    *options = (struct hf_connect_options){.timeout_us = 30000000, .linger_us = UINT64_MAX};
    optind = 0;
    while ((letter = getopt_long(argc, argv, "", long_options, &index)) != -1) {
        if (letter == 'h') {
            print_help(stdout);
            return fflush(stdout) == 0 ? HF_TOOL_DONE : HF_TOOL_FAILED;
        }
        if (letter != '?' && take_option(options, letter, optarg))
            continue;
        if (letter != '?')
            fprintf(stderr, "handfast: connect: --%s: \"%s\" is not %s\n", long_options[index].name,
                    optarg, takes(letter));
        return HF_TOOL_USAGE;
    }
    options->maf.timeout_us = options->timeout_us;
    if (options->maf_target == NULL)
        options->maf_target = options->expect;
    const char *what = optind < argc ? "too many arguments" : missing(options);
    if (what != NULL) {
        fprintf(stderr, "handfast: connect: %s\n", what);
        return HF_TOOL_USAGE;
    }
    if (options->linger_us == UINT64_MAX)
        options->linger_us = options->transport == HF_TRANSPORT_DTLS ? 1000000 : 5000000;
    settle_flavour(options);
    return -1;
}

int hf_connect_main(int argc, char **argv)
{
    static struct hf_connect_session session; /* its buffers are large */
    struct hf_connect_options options;
    int status = parse(&options, argc, argv);
    if (status >= 0)
        return status;
    /* Keys pass through: no core files. */
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    status = hf_connect_open(&session, &options) ? hf_connect_run(&session) : HF_TOOL_FAILED;
    hf_connect_close(&session);
    return status;
}
