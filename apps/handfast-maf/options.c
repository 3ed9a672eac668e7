/**
 * options.c - see options.h.
 */
#include "options.h"

#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_S 86400

void hf_options_help(void)
{
    printf(
        "usage: handfast-maf --listen ADDRESS:PORT --store DIR --psk-file FILE [option]...\n"
        "       handfast-maf --listen ADDRESS:PORT --store DIR --cert FILE --key FILE\n"
        "                    --client-ca FILE [option]...\n"
        "\n"
        "A M2M Authentication Function (oneM2M TS-0003 8.8): clients register keys for each other\n"
        "over TLS 1.2 and retrieve those that were registered for them.\n"
        "\n"
        "  --listen ADDRESS:PORT    TCP, numeric; [ADDRESS]:PORT for IPv6; may be repeated\n"
        "  --psk-file FILE          clients' keys, one a line: KmID:hexkey[:identifier]; SIGHUP\n"
        "                           reads it again\n"
        "  --cert FILE --key FILE   our certificate, for the MAF's FQDN, and its key: for clients\n"
        "                           with certificates; together with --client-ca\n"
        "  --client-ca FILE         authorities of clients' certificates\n"
        "  --client-crl FILE        their CRLs\n"
        "  --store DIR              registrations and keys; made if it is not there\n"
        "  --client-config FILE     JSON: what clients may retrieve as their configuration\n"
        "  --key-days N             the longest life of a key registration (30)\n"
        "  --client-days N          the longest life of a client registration (366)\n"
        "  --keys-per-client N      registered at a time (1000)\n"
        "  --associations N         TLS connections at a time (4096)\n"
        "  --verbose                a line for each request; never a key\n"
        "  --help, --version\n");
}

static bool refuse(char *error, const char *option, const char *value, const char *reason)
{
    snprintf(error, HF_OPTIONS_ERROR_MAX, "--%s %.100s: %s", option, value, reason);
    return false;
}

static bool read_number(uint64_t *out, const char *text, uint64_t max)
{
    char *end = NULL;
    if (*text < '0' || *text > '9')
        return false;
    *out = strtoull(text, &end, 10);
    return *end == '\0' && *out >= 1 && *out <= max;
}

/* "127.0.0.1:8444" or "[::1]:8444": numbers only. */
static bool read_address(struct hf_address *out, const char *text)
{
    char host[64];
    uint64_t port = 0;
    const char *colon = strrchr(text, ':');
    size_t len = colon != NULL ? (size_t)(colon - text) : 0;
    if (len == 0 || len >= sizeof(host) ||
        (strcmp(colon + 1, "0") != 0 && !read_number(&port, colon + 1, UINT16_MAX)))
        return false;
    bool is_bracketed = text[0] == '[' && text[len - 1] == ']' && len > 2;
    snprintf(host, sizeof(host), "%.*s", (int)(is_bracketed ? len - 2 : len),
             is_bracketed ? text + 1 : text);
    struct addrinfo hints = {.ai_family = is_bracketed ? AF_INET6 : AF_INET,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICHOST};
    struct addrinfo *found = NULL;
    if (getaddrinfo(host, NULL, &hints, &found) != 0)
        return false;
    if (is_bracketed) {
        const struct sockaddr_in6 *v6 = (const void *)found->ai_addr;
        *out = hf_address_v6(v6->sin6_addr.s6_addr, (uint16_t)port, v6->sin6_scope_id);
    } else {
        const struct sockaddr_in *v4 = (const void *)found->ai_addr;
        *out = hf_address_v4((const uint8_t *)&v4->sin_addr, (uint16_t)port);
    }
    freeaddrinfo(found);
    return true;
}

static bool take(struct hf_options *out, char *error, const char *name, const char *value)
{
    uint64_t number = 0;
    if (strcmp(name, "listen") == 0) {
        if (out->listen_count == HF_LISTENS_MAX)
            return refuse(error, name, value, "too many");
        return read_address(&out->listens[out->listen_count++], value) ||
               refuse(error, name, value, "not ADDRESS:PORT in numbers");
    }
    if (strcmp(name, "psk-file") == 0)
        out->psk_file = value;
    else if (strcmp(name, "store") == 0)
        out->store = value;
    else if (strcmp(name, "cert") == 0)
        out->cert = value;
    else if (strcmp(name, "key") == 0)
        out->key = value;
    else if (strcmp(name, "client-ca") == 0)
        out->client_ca = value;
    else if (strcmp(name, "client-crl") == 0)
        out->client_crl = value;
    else if (strcmp(name, "client-config") == 0)
        out->client_config = value;
    else if (!read_number(&number, value, 1000000))
        return refuse(error, name, value, "not a number from 1 to 1000000");
    else if (strcmp(name, "key-days") == 0)
        out->policy.key_life_s_max = (int64_t)number * DAY_S;
    else if (strcmp(name, "client-days") == 0)
        out->policy.client_life_s_max = (int64_t)number * DAY_S;
    else if (strcmp(name, "keys-per-client") == 0)
        out->policy.keys_per_client_max = number;
    else
        out->associations_max = number;
    return true;
}

static bool settle(const struct hf_options *out, char *error)
{
    const char *missing = NULL;
    if (out->listen_count == 0)
        missing = "--listen";
    else if ((out->cert == NULL) != (out->key == NULL) ||
             (out->cert == NULL) != (out->client_ca == NULL))
        missing = "all of --cert, --key and --client-ca";
    else if (out->psk_file == NULL && out->cert == NULL)
        missing = "--psk-file, or --cert,";
    else if (out->store == NULL)
        missing = "--store";
    if (missing != NULL)
        snprintf(error, HF_OPTIONS_ERROR_MAX, "%s is needed", missing);
    return missing == NULL;
}

bool hf_options_parse(struct hf_options *out, char error[HF_OPTIONS_ERROR_MAX], int argc,
                      char **argv)
{
    static const struct option names[] = {
        {"listen", required_argument, NULL, 'o'},
        {"psk-file", required_argument, NULL, 'o'},
        {"store", required_argument, NULL, 'o'},
        {"cert", required_argument, NULL, 'o'},
        {"key", required_argument, NULL, 'o'},
        {"client-ca", required_argument, NULL, 'o'},
        {"client-crl", required_argument, NULL, 'o'},
        {"client-config", required_argument, NULL, 'o'},
        {"key-days", required_argument, NULL, 'o'},
        {"client-days", required_argument, NULL, 'o'},
        {"keys-per-client", required_argument, NULL, 'o'},
        {"associations", required_argument, NULL, 'o'},
        {"verbose", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {NULL, 0, NULL, 0},
    };
    memset(out, 0, sizeof(*out));
    hf_operate_policy_init(&out->policy);
    out->associations_max = 4096;
    opterr = 0;
    for (;;) {
        int index = 0;
        int got = getopt_long(argc, argv, ":", names, &index);
        if (got == -1)
            break;
        out->is_help |= got == 'h';
        out->is_version |= got == 'V';
        out->is_verbose |= got == 'v';
        if (got == ':' || got == '?') {
            snprintf(error, HF_OPTIONS_ERROR_MAX, "%.100s: %s", argv[optind - 1],
                     got == ':' ? "needs a value" : "no such option");
            return false;
        }
        if (got == 'o' && !take(out, error, names[index].name, optarg))
            return false;
    }
    if (out->is_help || out->is_version)
        return true;
    if (optind < argc)
        return refuse(error, "", argv[optind], "only options are expected");
    return settle(out, error);
}
