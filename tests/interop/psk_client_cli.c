/**
 * psk_client_cli.c - the test client on a socket, so that it can be tried against servers that are
 * not ours. One association: handshake, optionally one line there and one answer back, close.
 * Prints one line of what was agreed; exit 0 when all that was asked for happened.
 */
#include "psk_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct cli {
    struct psk_client_config config;
    struct psk_client_work work;
    struct psk_client client;
    const char *address;
    uint16_t port;
    const char *line;
    uint8_t psk[64];
    int fd;
    uint32_t seed, loss_percent; /* of the handshake, both ways */
    uint32_t chunk_len;          /* TLS: receive that many bytes at once */
    size_t answer_len;
    uint8_t answer[4096];
};

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static bool is_lost(struct cli *cli)
{
    if (cli->client.is_complete) {
        return false; /* nobody repeats application data */
    }
    cli->seed = cli->seed * 1103515245u + 12345u;
    return (cli->seed >> 16) % 100 < cli->loss_percent;
}

static void emit(const uint8_t *data, size_t len, void *arg)
{
    struct cli *cli = arg;
    if (!is_lost(cli) && send(cli->fd, data, len, MSG_NOSIGNAL) < 0) {
        perror("send");
    }
}

static void take(const uint8_t *data, size_t len, void *arg)
{
    struct cli *cli = arg;
    size_t room = sizeof(cli->answer) - cli->answer_len;
    memcpy(cli->answer + cli->answer_len, data, len < room ? len : room);
    cli->answer_len += len < room ? len : room;
}

static bool parse_hex(struct cli *cli, const char *text)
{
    size_t len = strlen(text) / 2;
    for (size_t i = 0; i < len && i < sizeof(cli->psk); i++) {
        unsigned byte;
        if (sscanf(text + 2 * i, "%2x", &byte) != 1) {
            return false;
        }
        cli->psk[i] = (uint8_t)byte;
    }
    cli->config.psk.data = cli->psk;
    cli->config.psk.len = len;
    return len >= 1 && len <= sizeof(cli->psk);
}

static bool parse_place(struct cli *cli, char *text, bool is_dtls)
{
    char *colon = strrchr(text, ':');
    if (colon == NULL) {
        return false;
    }
    *colon = '\0';
    cli->address = text;
    cli->port = (uint16_t)atoi(colon + 1);
    cli->config.is_dtls = is_dtls;
    return cli->port != 0;
}

static const struct option options[] = {
    {"dtls", 1, NULL, 'd'},          {"tls", 1, NULL, 't'},           {"suite", 1, NULL, 's'},
    {"identity", 1, NULL, 'i'},      {"psk", 1, NULL, 'k'},           {"line", 1, NULL, 'l'},
    {"ems", 0, NULL, 'e'},           {"etm", 0, NULL, 'm'},           {"grease", 0, NULL, 'g'},
    {"no-extensions", 0, NULL, 'n'}, {"fallback", 0, NULL, 'f'},      {"mfl", 1, NULL, 'M'},
    {"rsl", 1, NULL, 'R'},           {"fragment", 1, NULL, 'F'},      {"padding", 1, NULL, 'P'},
    {"sni", 1, NULL, 'S'},           {"renegotiation", 1, NULL, 'r'}, {"loss", 1, NULL, 'L'},
    {"chunk", 1, NULL, 'c'},         {"seed", 1, NULL, 'x'},          {NULL, 0, NULL, 0},
};

static bool take_option(struct cli *cli, int option)
{
    struct psk_client_config *config = &cli->config;
    switch (option) {
    case 'd':
        return parse_place(cli, optarg, true);
    case 't':
        return parse_place(cli, optarg, false);
    case 's':
        config->suites[config->suite_count++] = (uint16_t)strtoul(optarg, NULL, 16);
        return config->suite_count < 8;
    case 'i':
        config->identity.data = (const uint8_t *)optarg;
        config->identity.len = strlen(optarg);
        return true;
    case 'k':
        return parse_hex(cli, optarg);
    case 'l':
        cli->line = optarg;
        return true;
    case 'e':
        return config->extended_master_secret = true;
    case 'm':
        return config->encrypt_then_mac = true;
    case 'g':
        return config->grease_and_13 = true;
    case 'n':
        return config->no_extensions = true;
    case 'f':
        return config->fallback_scsv = true;
    case 'M':
        config->max_fragment_length = (uint8_t)atoi(optarg);
        return true;
    case 'R':
        config->record_size_limit = (uint16_t)atoi(optarg);
        return true;
    case 'F':
        config->fragment_len_max = (uint16_t)atoi(optarg);
        return true;
    case 'P':
        config->padding_len = (uint16_t)atoi(optarg);
        return true;
    case 'S':
        config->server_name = optarg;
        return true;
    case 'r':
        config->renegotiation = (uint8_t)atoi(optarg);
        return true;
    case 'L':
        cli->loss_percent = (uint32_t)atoi(optarg);
        return true;
    case 'c':
        cli->chunk_len = (uint32_t)atoi(optarg);
        return true;
    case 'x':
        cli->seed = (uint32_t)atoi(optarg);
        return true;
    default:
        return false;
    }
}

static bool open_socket(struct cli *cli)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(cli->port)};
    if (inet_pton(AF_INET, cli->address, &address.sin_addr) != 1) {
        return false;
    }
    cli->fd = socket(AF_INET, cli->config.is_dtls ? SOCK_DGRAM : SOCK_STREAM, 0);
    return cli->fd >= 0 &&
           connect(cli->fd, (const struct sockaddr *)&address, sizeof(address)) == 0;
}

/* Runs until nothing more is wanted, or `until_us`. Gives whether the answer came. */
static bool run(struct cli *cli, uint64_t until_us)
{
    static uint8_t bytes[65536];
    bool has_sent = false;
    struct psk_client *client = &cli->client;
    psk_client_start(client, now_us(), emit, cli);
    while (client->state != PSK_CLIENT_FAILED && client->state != PSK_CLIENT_CLOSED &&
           now_us() < until_us) {
        if (client->state == PSK_CLIENT_OPEN && !has_sent && cli->line != NULL) {
            has_sent = true;
            char text[1024];
            int len = snprintf(text, sizeof(text), "%s\n", cli->line);
            psk_client_send(client, (const uint8_t *)text, (size_t)len, emit, cli);
        }
        if (client->state == PSK_CLIENT_OPEN && (cli->line == NULL || cli->answer_len > 0)) {
            psk_client_end(client, emit, cli);
            return true;
        }
        uint64_t due_us = psk_client_next_us(client);
        uint64_t wait_us = due_us == UINT64_MAX || due_us > until_us ? until_us : due_us;
        wait_us = wait_us > now_us() ? wait_us - now_us() : 0;
        struct pollfd poller = {cli->fd, POLLIN, 0};
        if (poll(&poller, 1, (int)(wait_us / 1000) + 1) > 0) {
            size_t max = cli->chunk_len != 0 ? cli->chunk_len : sizeof(bytes);
            ssize_t len = recv(cli->fd, bytes, max, 0);
            if (len <= 0) {
                return false;
            }
            if (!is_lost(cli)) {
                psk_client_receive(client, now_us(), bytes, (size_t)len, emit, take, cli);
            }
        }
        psk_client_tick(client, now_us(), emit, cli);
    }
    return false;
}

int main(int argc, char **argv)
{
    static struct cli cli;
    int option;
    cli.seed = 1;
    cli.config.work = &cli.work;
    cli.config.retransmit_us_initial = 200000;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (!take_option(&cli, option)) {
            fprintf(stderr, "psk_client_cli: bad option\n");
            return 2;
        }
    }
    if (cli.address == NULL || cli.config.psk.len == 0 || cli.config.suite_count == 0) {
        fprintf(stderr, "psk_client_cli: needs --dtls|--tls ADDR:PORT, --suite HEX, --psk HEX\n");
        return 2;
    }
    if (!open_socket(&cli)) {
        perror("psk_client_cli: connect");
        return 1;
    }
    psk_client_init(&cli.client, &cli.config);
    bool is_done = run(&cli, now_us() + 10000000);
    const struct psk_client *client = &cli.client;
    printf("%s state=%s suite=%04X ems=%d etm=%d renegotiation=%d mfl=%u rsl=%u hint=%u "
           "cookies=%u retransmissions=%u drops=%u alert=%u why=%s answer=%.*s\n",
           is_done ? "ok" : "failed", psk_client_state_name(client->state), client->suite,
           client->is_ems, client->is_etm, client->is_renegotiation_info,
           client->max_fragment_length, client->record_size_limit, client->hint_len,
           client->counters.hello_verify_requests, client->counters.retransmissions,
           client->counters.drops, client->alert, client->why != NULL ? client->why : "-",
           (int)strcspn((const char *)cli.answer, "\n"), (const char *)cli.answer);
    return is_done ? 0 : 1;
}
