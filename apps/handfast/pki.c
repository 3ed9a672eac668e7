/**
 * pki.c - `handfast pki`: the command line, and which subcommand takes which part of it.
 */
#include "pki.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#define DAYS_MAX 36500
#define COUNT_MAX 1000000
#define COUNTED_ARC_MAX 2000000000

/* Letters name options in the table below only; there are no short options. */
static const struct option long_options[] = {
    {"name", required_argument, NULL, 'n'},
    {"issuer", required_argument, NULL, 'i'},
    {"fqdn", required_argument, NULL, 'q'},
    {"in-cse", required_argument, NULL, 'c'},
    {"scheme", required_argument, NULL, 's'},
    {"arc", required_argument, NULL, 'a'},
    {"key", required_argument, NULL, 'k'},
    {"public-key", required_argument, NULL, 'p'},
    {"usage", required_argument, NULL, 'u'},
    {"reason", required_argument, NULL, 'r'},
    {"serial", required_argument, NULL, 'S'},
    {"path-length", required_argument, NULL, 'l'},
    {"permit-sp", required_argument, NULL, '1'},
    {"permit-dns", required_argument, NULL, '2'},
    {"permit-uri", required_argument, NULL, '3'},
    {"permit-device", required_argument, NULL, '4'},
    {"exclude-dns", required_argument, NULL, '5'},
    {"exclude-uri", required_argument, NULL, '6'},
    {"exclude-device", required_argument, NULL, '7'},
    {"unconstrained", no_argument, NULL, 'U'},
    {"unchecked", no_argument, NULL, 'x'},
    {"days", required_argument, NULL, 'd'},
    {"not-before", required_argument, NULL, 'b'},
    {"not-after", required_argument, NULL, 'e'},
    {"count", required_argument, NULL, 'C'},
    {"force", no_argument, NULL, 'f'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

#define TIMES "dbe"
#define KEYS "kpf"
#define ENTITY "iux" TIMES KEYS

struct subcommand {
    const char *name, *arguments, *help;
    const char *takes;
    int arguments_min, arguments_max;
    bool needs_issuer;
    int (*run)(const struct hf_pki_options *options);
};

static const struct subcommand subcommands[] = {
    {"ca", "OUT", "an authority; with --issuer an intermediate one", "niax1234567Ul" TIMES KEYS, 1,
     1, false, hf_pki_make_ca},
    {"cse-id", "OUT CSE-ID", "a CSE: //sp.example/in-cse", "qc" ENTITY, 2, 2, true,
     hf_pki_make_cse_id},
    {"ae-id", "OUT AE-ID", "an AE: //sp.example/S42 or //sp.example/cse/C42", "s" ENTITY, 2, 2,
     true, hf_pki_make_ae_id},
    {"node-id", "OUT NODE-ID", "a node: a URI, or an OID", ENTITY, 2, 2, true, hf_pki_make_node_id},
    {"device", "OUT OID", "a device: " HF_PKI_DEVICE_ARC ".100.3030.10011", "aC" ENTITY, 2, 2, true,
     hf_pki_make_device},
    {"fqdn", "OUT FQDN", "a MAF or MEF", ENTITY, 2, 2, true, hf_pki_make_fqdn},
    {"raw-key", "OUT", "a raw public key; prints its RFC 6920 names", "kf", 1, 1, false,
     hf_pki_make_raw_key},
    {"revoke", "CA [CERT]...", "put certificates on CA.crl", "rS" TIMES, 1, 4096, false,
     hf_pki_revoke},
    {"crl", "CA", "make or renew CA.crl", TIMES, 1, 1, false, hf_pki_renew_crl},
    {"digest", "FILE", "the RFC 6920 names of a key or a certificate's key", "", 1, 1, false,
     hf_pki_digest},
    {"show", "FILE...", "what is in a file", "", 1, 4096, false, hf_pki_show},
};

#define SUBCOMMAND_COUNT (sizeof(subcommands) / sizeof(subcommands[0]))

/* ---- help --------------------------------------------------------------------------------- */

static void print_help(FILE *out)
{
    fputs("usage: handfast pki COMMAND [OPTION]... ARGUMENT...\n"
          "Authorities, certificates and raw keys in the profiles of TS-0003 10.1; for labs and\n"
          "tests. See handfast-pki(1).\n\n",
          out);
    for (size_t i = 0; i < SUBCOMMAND_COUNT; i++) {
        char left[40];
        snprintf(left, sizeof(left), "%s %s", subcommands[i].name, subcommands[i].arguments);
        fprintf(out, "  %-22s %s\n", left, subcommands[i].help);
    }
    fputs("\nOUT and CA are prefixes: OUT.pem is the certificate and its chain, OUT.key the key\n"
          "(mode 0600), OUT.pub a raw public key, CA.crl the list.\n\n"
          "  --issuer CA           who certifies it\n"
          "  --force               overwrite what is there\n"
          "  --days N              validity; ca 3650, others 365 or as long as the issuer, CRL 30\n"
          "  --not-before TIME     UTC: 2027-01-31 or 2027-01-31T12:00:00Z; also --not-after\n"
          "  --key FILE            certify this private key; --public-key FILE a public one\n"
          "  --usage WHICH         extended key usage: server, client or both; none by default\n"
          "  --unchecked           make what the issuer may not certify\n"
          "  ca: --name TEXT, --path-length N, --permit-sp DOMAIN (dNSName and URI), --permit-dns\n"
          "      DOMAIN, --permit-uri HOST, --permit-device OID, --exclude-dns, --exclude-uri,\n"
          "      --exclude-device, --arc OID, --unconstrained\n"
          "  cse-id: --in-cse NAME for a CSE behind an IN-CSE, --fqdn FQDN for another name\n"
          "  ae-id: --scheme SCHEME of its URI, \"none\" for none; " HF_PKI_SCHEME " by default\n"
          "  device: --arc OID, " HF_PKI_DEVICE_ARC " by default; --count N makes OUT0, OUT1 ...\n"
          "      of OIDs whose last arc counts up\n"
          "  revoke: --reason REASON, --serial HEX\n\n"
          "exit status: 0 done, 1 failed, 2 wrong usage\n",
          out);
}

/* ---- values ------------------------------------------------------------------------------- */

static bool parse_number(int64_t *out, const char *text, int64_t min, int64_t max)
{
    size_t len = strspn(text, "0123456789");
    *out = len > 0 && len < 12 && text[len] == '\0' ? strtoll(text, NULL, 10) : -1;
    return (*out >= min && *out <= max) ||
           hf_pki_fail("%.40s: a number from %lld to %lld is needed", text, (long long)min,
                       (long long)max);
}

static bool parse_time(int64_t *out, const char *text)
{
    struct tm parts = {.tm_isdst = 0};
    const char *end = strptime(text, "%Y-%m-%d", &parts);
    if (end != NULL && *end == 'T')
        end = strptime(end, "T%H:%M:%SZ", &parts);
    if (end == NULL || *end != '\0' || parts.tm_year < 70)
        return hf_pki_fail("%.40s: a time is 2027-01-31 or 2027-01-31T12:00:00Z", text);
    *out = (int64_t)timegm(&parts);
    return true;
}

static bool add_constraint(struct hf_pki_options *options, enum hf_pki_name_kind kind,
                           const char *text, bool is_excluded)
{
    struct hf_pki_constraint *constraint = &options->constraints[options->constraint_count];
    if (options->constraint_count == HF_PKI_CONSTRAINTS_MAX)
        return hf_pki_fail("more than %d name constraints", HF_PKI_CONSTRAINTS_MAX);
    constraint->is_excluded = is_excluded;
    options->constraint_count++;
    return hf_pki_name_of_constraint(&constraint->base, kind, text, options->arc);
}

static bool is_usage(const char *text)
{
    return strcmp(text, "server") == 0 || strcmp(text, "client") == 0 ||
           strcmp(text, "both") == 0 || hf_pki_fail("%.40s: server, client or both", text);
}

/* What constrains; false in `*is_mine`: not an option of this kind. */
static bool take_constraint(bool *is_mine, struct hf_pki_options *options, int letter,
                            const char *value)
{
    *is_mine = letter >= '1' && letter <= '7';
    switch (letter) {
    case '1':
        return add_constraint(options, HF_PKI_DNS, value, false) &&
               add_constraint(options, HF_PKI_URI, value, false);
    case '2':
        return add_constraint(options, HF_PKI_DNS, value, false);
    case '3':
        return add_constraint(options, HF_PKI_URI, value, false);
    case '4':
        return add_constraint(options, HF_PKI_OTHER, value, false);
    case '5':
        return add_constraint(options, HF_PKI_DNS, value, true);
    case '6':
        return add_constraint(options, HF_PKI_URI, value, true);
    case '7':
        return add_constraint(options, HF_PKI_OTHER, value, true);
    default:
        return true;
    }
}

static bool take_text(const char **out, const char *value)
{
    *out = value;
    return true;
}

static bool take_number(struct hf_pki_options *options, int letter, const char *value)
{
    int64_t number;
    bool is_path_len = letter != 'd' && letter != 'C';
    if (!parse_number(&number, value, is_path_len ? 0 : 1,
                      letter == 'd'   ? DAYS_MAX
                      : letter == 'C' ? COUNT_MAX
                                      : 16))
        return false;
    if (letter == 'd')
        options->days = number;
    else if (letter == 'C')
        options->count = number;
    else
        options->path_len_max = (int)number;
    return true;
}

static bool take_option(struct hf_pki_options *options, int letter, const char *value)
{
    bool is_mine;
    bool is_good = take_constraint(&is_mine, options, letter, value);
    if (is_mine)
        return is_good;
    switch (letter) {
    case 'n':
        return take_text(&options->name, value);
    case 'i':
        return take_text(&options->issuer, value);
    case 'q':
        return take_text(&options->fqdn, value);
    case 'c':
        return take_text(&options->in_cse, value);
    case 's':
        return take_text(&options->scheme, value);
    case 'a':
        return take_text(&options->arc, value);
    case 'k':
        return take_text(&options->key_file, value);
    case 'p':
        return take_text(&options->public_key_file, value);
    case 'u':
        return is_usage(value) && take_text(&options->usage, value);
    case 'r':
        return take_text(&options->reason, value);
    case 'S':
        return take_text(&options->serial, value);
    case 'b':
        return parse_time(&options->not_before_s, value);
    case 'e':
        return parse_time(&options->not_after_s, value);
    case 'U':
        return options->is_unconstrained = true;
    case 'x':
        return options->is_unchecked = true;
    case 'f':
        return options->is_forced = true;
    default:
        return take_number(options, letter, value);
    }
}

/* ---- the command line --------------------------------------------------------------------- */

static bool check(const struct hf_pki_options *options, const struct subcommand *subcommand)
{
    if (options->argument_count < subcommand->arguments_min ||
        options->argument_count > subcommand->arguments_max) {
        fprintf(stderr, "usage: handfast pki %s [OPTION]... %s\n", subcommand->name,
                subcommand->arguments);
        return false;
    }
    if (options->argument_count == 0 || options->arguments[0][0] == '\0')
        return hf_pki_fail("an empty name");
    if (subcommand->needs_issuer && options->issuer == NULL)
        return hf_pki_fail("%s: --issuer CA is needed", subcommand->name);
    if (options->count != 0 && (options->key_file != NULL || options->public_key_file != NULL))
        return hf_pki_fail("--count makes a key for each: no --key, no --public-key");
    if (options->days != 0 && options->not_after_s != 0)
        return hf_pki_fail("--days or --not-after, not both");
    if (options->key_file != NULL && options->public_key_file != NULL)
        return hf_pki_fail("--key or --public-key, not both");
    if (options->public_key_file != NULL && subcommand->run == hf_pki_make_ca &&
        options->issuer == NULL)
        return hf_pki_fail("a root signs itself: it needs its private key");
    return true;
}

/* 1: go on; 0: help was asked for; -1: wrong. */
static int parse(struct hf_pki_options *options, const struct subcommand *subcommand, int argc,
                 char **argv)
{
    int letter;
    int index = 0;
    *options = (struct hf_pki_options){.path_len_max = -1};
    /* --arc first: constraints that stand before it mean it, too. */
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], "--arc") == 0)
            options->arc = argv[i + 1];
    optind = 0;
    while ((letter = getopt_long(argc, argv, "", long_options, &index)) != -1) {
        if (letter == 'h')
            return 0;
        if (letter == '?')
            return -1;
        if (strchr(subcommand->takes, letter) == NULL) {
            (void)hf_pki_fail("%s takes no --%s", subcommand->name, long_options[index].name);
            return -1;
        }
        if (!take_option(options, letter, optarg))
            return -1;
    }
    options->arguments = argv + optind;
    options->argument_count = argc - optind;
    return check(options, subcommand) ? 1 : -1;
}

/* A device for each number, of OIDs that follow on the one given. */
static int run_many(const struct subcommand *subcommand, const struct hf_pki_options *options)
{
    char prefix[HF_PKI_PATH_LEN_MAX], oid[HF_PKI_TEXT_MAX];
    char *arguments[] = {prefix, oid};
    struct hf_pki_options one = *options;
    const char *given = options->arguments[1];
    const char *dot = strrchr(given, '.');
    int64_t first;
    int status = HF_TOOL_DONE;
    if (dot == NULL || strlen(given) + 20 > sizeof(oid) ||
        strlen(options->arguments[0]) + 20 > sizeof(prefix) ||
        !parse_number(&first, dot + 1, 0, COUNTED_ARC_MAX)) {
        (void)hf_pki_fail("--count: an OID whose last arc is not too large, and no long path");
        return HF_TOOL_USAGE;
    }
    one.arguments = arguments;
    hf_pki_file_hurry();
    for (int64_t i = 0; status == HF_TOOL_DONE && i < options->count; i++) {
        snprintf(prefix, sizeof(prefix), "%s%lld", options->arguments[0], (long long)i);
        snprintf(oid, sizeof(oid), "%.*s.%lld", (int)(dot - given), given, (long long)(first + i));
        status = subcommand->run(&one);
    }
    return status;
}

int hf_pki_main(int argc, char **argv)
{
    static struct hf_pki_options options;
    const struct subcommand *subcommand = NULL;
    const char *name = argc > 1 ? argv[1] : "";
    for (size_t i = 0; i < SUBCOMMAND_COUNT; i++)
        if (strcmp(name, subcommands[i].name) == 0)
            subcommand = &subcommands[i];
    if (argc > 1)
        argv[1] = argv[0]; /* what getopt(3) begins its complaints with */
    int go = subcommand != NULL            ? parse(&options, subcommand, argc - 1, argv + 1)
             : strcmp(name, "--help") == 0 ? 0
                                           : -1;
    if (go == 0) {
        print_help(stdout);
        return fflush(stdout) == 0 ? HF_TOOL_DONE : HF_TOOL_FAILED;
    }
    if (go < 0) {
        if (subcommand == NULL && argc > 1)
            (void)hf_pki_fail("%s: no such command", name);
        else if (subcommand == NULL)
            print_help(stderr);
        return HF_TOOL_USAGE;
    }
    /* Private keys pass through: no core files. */
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    return options.count != 0 ? run_many(subcommand, &options) : subcommand->run(&options);
}
