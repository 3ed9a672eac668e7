/**
 * load.c - bench_load: a load client that costs less than any server, and measures the server.
 *
 *   bench_load --dtls 127.0.0.1:5684 --psk-file keys --suite PSK-AES128-CCM8 --count 50000
 *              --server-pid PID
 *   bench_load --dtls 127.0.0.1:5684 --psk-file keys --hold 100000 --server-pid PID
 *
 * It asks for SCHED_BATCH, so that on a shared core its waves are not torn by wake-up preemption;
 * a server to be measured should be started under `chrt --batch 0` for the same reason.
 */
#include "load.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

struct in_addr load_source(uint64_t number)
{
    struct in_addr address;
    /* The last byte stays within 1..254; 127.0/16 is left to the servers. */
    uint32_t low = (uint32_t)(number % 254) + 1;
    uint32_t high = (uint32_t)(number / 254 % (65536 * 254 / 256));
    address.s_addr = htonl(0x7F000000u + ((high + 256) << 8) + low);
    return address;
}

void load_client_init(struct psk_client *client, struct psk_client_work *work,
                      const struct load_options *options, const struct load_keys *keys,
                      uint64_t number)
{
    static const struct load_key none;
    const struct load_key *key =
        options->credentials == NULL ? load_keys_at(keys, number) : &none;
    struct psk_client_config config = {
        .is_dtls = options->is_dtls,
        .extended_master_secret = options->extended_master_secret,
        .encrypt_then_mac = options->encrypt_then_mac,
        .suite_count = 1,
        .suites = {options->suite},
        .identity = {key->identity, key->identity_len},
        .psk = {key->psk, key->psk_len},
        .work = work,
    };
    if (options->credentials != NULL) {
        load_credentials_use(&config, options->credentials, number, options->is_resuming);
    }
    psk_client_init(client, &config);
}

void load_client_open(const struct psk_client *client, const struct load_options *options,
                      uint64_t number)
{
    if (options->is_resuming) {
        load_credentials_keep(options->credentials, client, number);
    }
}

static uint16_t parse_suite(const char *text)
{
    static const struct {
        const char *name;
        uint16_t suite;
    } names[] = {
        {"PSK-AES128-CBC-SHA256", 0x00AE}, {"TLS_PSK_WITH_AES_128_CBC_SHA256", 0x00AE},
        {"PSK-AES128-GCM-SHA256", 0x00A8}, {"TLS_PSK_WITH_AES_128_GCM_SHA256", 0x00A8},
        {"PSK-AES128-CCM", 0xC0A4},        {"TLS_PSK_WITH_AES_128_CCM", 0xC0A4},
        {"PSK-AES128-CCM8", 0xC0A8},       {"TLS_PSK_WITH_AES_128_CCM_8", 0xC0A8},
        {"ECDHE-ECDSA-AES128-SHA256", 0xC023}, {"ECDHE-ECDSA-AES128-CCM8", 0xC0AE},
        {"ECDHE-ECDSA-AES128-GCM-SHA256", 0xC02B},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(text, names[i].name) == 0) {
            return names[i].suite;
        }
    }
    return (uint16_t)strtoul(text, NULL, 16);
}

static bool parse_server(struct load_options *options, const char *text, bool is_dtls)
{
    char address[64];
    const char *colon = strrchr(text, ':');
    if (colon == NULL || (size_t)(colon - text) >= sizeof(address)) {
        return false;
    }
    memcpy(address, text, (size_t)(colon - text));
    address[colon - text] = '\0';
    options->is_dtls = is_dtls;
    options->server.sin_family = AF_INET;
    options->server.sin_port = htons((uint16_t)atoi(colon + 1));
    /* Source addresses are made up within 127/8: no other target can work. */
    return inet_pton(AF_INET, address, &options->server.sin_addr) == 1 &&
           ntohl(options->server.sin_addr.s_addr) >> 24 == 127;
}

static const struct option long_options[] = {
    {"dtls", 1, NULL, 'd'},       {"tls", 1, NULL, 't'},     {"psk-file", 1, NULL, 'k'},
    {"suite", 1, NULL, 's'},      {"in-flight", 1, NULL, 'j'}, {"count", 1, NULL, 'n'},
    {"warmup", 1, NULL, 'w'},     {"hold", 1, NULL, 'H'},    {"hold-seconds", 1, NULL, 'S'},
    {"server-pid", 1, NULL, 'p'}, {"json", 0, NULL, 'J'},    {"ems", 0, NULL, 'e'},
    {"certs", 1, NULL, 'c'},      {"resume", 0, NULL, 'r'},
    {"etm", 0, NULL, 'm'},        {"help", 0, NULL, 'h'},    {"exchange", 0, NULL, 'x'},
    {NULL, 0, NULL, 0},
};

static const char usage[] =
    "usage: bench_load --dtls|--tls 127.X.X.X:PORT --psk-file FILE [--suite NAME|HEX]\n"
    "                  [--in-flight 64] [--count 20000] [--warmup 2000] [--server-pid PID]\n"
    "                  [--hold N [--hold-seconds S] [--exchange]] [--ems] [--etm] [--json]\n"
    "                  [--certs FOLDER [--resume]]\n"
    "FOLDER has 0.pem, 0.key, 1.pem, 1.key and so on, dealt out in turn, for suites that want\n"
    "certificates; --resume: each once in full, then by its session.\n"
    "FILE has lines identity:hexkey[:entity-id], dealt out to handshakes in turn.\n"
    "--exchange: each held association sends \"up N\", N its number, wants it back, and waits for\n"
    "\"late N\", which comes when nothing was sent for a while.\n";

static struct load_credentials credentials;

static bool take_option(struct load_options *options, int option)
{
    switch (option) {
    case 'd':
        return parse_server(options, optarg, true);
    case 't':
        return parse_server(options, optarg, false);
    case 'k':
        options->keys_path = optarg;
        return true;
    case 's':
        options->suite = parse_suite(optarg);
        return options->suite != 0;
    case 'j':
        options->in_flight = (uint32_t)atoi(optarg);
        return options->in_flight >= 1 && options->in_flight <= LOAD_IN_FLIGHT_MAX;
    case 'n':
        options->count = strtoull(optarg, NULL, 10);
        return options->count > 0;
    case 'w':
        options->warmup = strtoull(optarg, NULL, 10);
        return true;
    case 'H':
        options->hold = strtoull(optarg, NULL, 10);
        return options->hold > 0;
    case 'S':
        options->hold_seconds = (uint32_t)atoi(optarg);
        return true;
    case 'p':
        options->server_pid = atoi(optarg);
        return options->server_pid > 0;
    case 'J':
        return options->is_json = true;
    case 'c':
        options->credentials = &credentials;
        return load_credentials_open(&credentials, optarg);
    case 'r':
        return options->is_resuming = options->extended_master_secret = true;
    case 'x':
        return options->is_exchanging = true;
    case 'e':
        return options->extended_master_secret = true;
    case 'm':
        return options->encrypt_then_mac = true;
    default:
        return false;
    }
}

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

int main(int argc, char **argv)
{
    struct load_options options = {.in_flight = 64, .count = 20000, .warmup = 2000};
    struct load_keys keys = {0};
    struct load_stats stats;
    int option;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (!take_option(&options, option)) {
            fputs(usage, option == 'h' ? stdout : stderr);
            return option == 'h' ? 0 : 2;
        }
    }
    bool has_keys = options.keys_path != NULL;
    if (options.server.sin_port == 0 || has_keys == (options.credentials != NULL) ||
        (options.is_resuming && options.credentials == NULL) ||
        (options.hold > 0 && !options.is_dtls)) {
        fputs(usage, stderr);
        return 2;
    }
    if (options.suite == 0) {
        options.suite = options.is_dtls ? 0xC0A8 : 0x00AE;
    }
    if (options.keys_path != NULL && !load_keys_open(&keys, options.keys_path)) {
        fprintf(stderr, "bench_load: no keys in %s\n", options.keys_path);
        return 1;
    }
    settle_in();
    load_stats_init(&stats, &options);
    return options.is_dtls ? load_udp_run(&options, &keys, &stats)
                           : load_tcp_run(&options, &keys, &stats);
}
