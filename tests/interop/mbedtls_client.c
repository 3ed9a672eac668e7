/**
 * mbedtls_client.c - a TLS/DTLS 1.2 client on Mbed TLS 2.28, with a key or a certificate: one
 * handshake, one request, its answer, an orderly close. A peer for the interop matrix, not a
 * library of anything.
 *
 * Prints "connected VERSION SUITE full|resumed", "answer HEX" for each answer and "closed"; exits 0
 * only if all three came about. On DTLS a request without an answer is sent again once a second.
 * With --resume all of it once more, by the session of the first time.
 */
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/error.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_ciphersuites.h>
#include <mbedtls/timing.h>

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CLIENT_REQUEST_MAX 65536
#define CLIENT_KEY_MAX 64

struct client_options {
    bool is_dtls;
    const char *host;
    const char *port;
    const char *identity;
    uint8_t key[CLIENT_KEY_MAX];
    size_t key_len;
    int suites[2]; /* ends with 0 */
    bool is_without_ems;
    bool is_without_etm;
    uint8_t max_fragment_code; /* RFC 6066 4; 0: none */
    uint16_t mtu;
    const char *cert, *key_file, *ca, *name; /* instead of identity and key; whom we expect */
    uint32_t timeout_ms;
    uint32_t count; /* of requests, one after the other */
    uint8_t request[CLIENT_REQUEST_MAX];
    size_t request_len;
    bool is_answer_any; /* the answer is whatever comes; otherwise the request, echoed */
    bool is_lossy;      /* a close_notify may go unanswered */
    bool is_half_close; /* say close_notify right after the request, then read the answer */
    bool is_resuming;   /* shake hands twice */
    bool is_without_tickets;
};

struct client {
    const struct client_options *options;
    uint64_t deadline_ms;
    mbedtls_net_context net;
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context random;
    mbedtls_ssl_config config;
    mbedtls_ssl_context ssl;
    mbedtls_timing_delay_context timer;
    mbedtls_x509_crt cert, ca;
    mbedtls_pk_context key;
    mbedtls_ssl_session session;
    bool has_session;
};

static _Noreturn void client_fail(const char *what, int error)
{
    char text[160] = "";

    mbedtls_strerror(error, text, sizeof(text));
    printf("failed %s: -0x%04x %s\n", what, (unsigned)-error, text);
    exit(1);
}

static void client_must(const char *what, int result)
{
    if (result != 0) {
        client_fail(what, result);
    }
}

static uint64_t client_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

/* ---- options -------------------------------------------------------------------------------- */

static bool client_parse_hex(uint8_t *out, size_t *out_len, size_t out_max, const char *text)
{
    size_t text_len = strlen(text);

    if (text_len % 2 != 0 || text_len / 2 > out_max) {
        return false;
    }
    for (size_t i = 0; i < text_len / 2; i++) {
        unsigned byte;

        if (sscanf(text + 2 * i, "%2x", &byte) != 1) {
            return false;
        }
        out[i] = (uint8_t)byte;
    }
    *out_len = text_len / 2;
    return true;
}

static bool client_parse_max_fragment(struct client_options *options, const char *text)
{
    static const char *const lengths[] = {"512", "1024", "2048", "4096"};

    for (uint8_t i = 0; i < 4; i++) {
        if (strcmp(text, lengths[i]) == 0) {
            options->max_fragment_code = (uint8_t)(i + 1);
            return true;
        }
    }
    return false;
}

static bool client_take_switch(struct client_options *options, int option)
{
    switch (option) {
    case 'd':
        return options->is_dtls = true;
    case 'M':
        return options->is_without_ems = true;
    case 'E':
        return options->is_without_etm = true;
    case 'a':
        return options->is_answer_any = true;
    case 'l':
        return options->is_lossy = true;
    case 'H':
        return options->is_half_close = true;
    case 'R':
        return options->is_resuming = true;
    case 'T':
        return options->is_without_tickets = true;
    default:
        return false;
    }
}

static bool client_parse_option(struct client_options *options, int option, const char *text)
{
    switch (option) {
    case 'h':
        options->host = text;
        return true;
    case 'p':
        options->port = text;
        return true;
    case 'i':
        options->identity = text;
        return true;
    case 'k':
        return client_parse_hex(options->key, &options->key_len, CLIENT_KEY_MAX, text);
    case 's':
        options->suites[0] = mbedtls_ssl_get_ciphersuite_id(text);
        return options->suites[0] != 0;
    case 'C':
        options->cert = text;
        return true;
    case 'K':
        options->key_file = text;
        return true;
    case 'A':
        options->ca = text;
        return true;
    case 'N':
        options->name = text;
        return true;
    case 'f':
        return client_parse_max_fragment(options, text);
    case 'm':
        options->mtu = (uint16_t)atoi(text);
        return options->mtu > 0;
    case 't':
        options->timeout_ms = (uint32_t)atoi(text);
        return options->timeout_ms > 0;
    case 'c':
        options->count = (uint32_t)atoi(text);
        return options->count > 0;
    case 'r':
        return client_parse_hex(options->request, &options->request_len, CLIENT_REQUEST_MAX, text);
    default:
        return client_take_switch(options, option);
    }
}

static void client_parse_options(struct client_options *options, int argc, char **argv)
{
    static const struct option known[] = {
        {"dtls", no_argument, NULL, 'd'},
        {"host", required_argument, NULL, 'h'},
        {"port", required_argument, NULL, 'p'},
        {"identity", required_argument, NULL, 'i'},
        {"key", required_argument, NULL, 'k'},
        {"suite", required_argument, NULL, 's'},
        {"no-ems", no_argument, NULL, 'M'},
        {"no-etm", no_argument, NULL, 'E'},
        {"maxfrag", required_argument, NULL, 'f'},
        {"mtu", required_argument, NULL, 'm'},
        {"timeout-ms", required_argument, NULL, 't'},
        {"count", required_argument, NULL, 'c'},
        {"request-hex", required_argument, NULL, 'r'},
        {"any-answer", no_argument, NULL, 'a'},
        {"lossy", no_argument, NULL, 'l'},
        {"half-close", no_argument, NULL, 'H'},
        {"cert", required_argument, NULL, 'C'},
        {"key-file", required_argument, NULL, 'K'},
        {"ca", required_argument, NULL, 'A'},
        {"name", required_argument, NULL, 'N'},
        {"resume", no_argument, NULL, 'R'},
        {"no-tickets", no_argument, NULL, 'T'},
        {NULL, 0, NULL, 0},
    };
    bool is_good = true;
    int option;

    options->timeout_ms = 10000;
    options->count = 1;
    while (is_good && (option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        is_good = client_parse_option(options, option, optarg);
    }
    bool has_key = options->identity != NULL && options->key_len > 0;
    bool has_certificate = options->cert != NULL && options->key_file != NULL &&
                           options->ca != NULL && options->name != NULL;
    if (!is_good || optind != argc || options->host == NULL || options->port == NULL ||
        has_key == has_certificate || options->suites[0] == 0 || options->request_len == 0) {
        fprintf(stderr, "usage: mbedtls_client [--dtls] --host ADDR --port PORT --identity TEXT "
                        "--key HEX | --cert FILE --key-file FILE --ca FILE --name NAME "
                        "--suite TLS-PSK-WITH-... --request-hex HEX [--any-answer] "
                        "[--count N] [--lossy] [--half-close] [--no-ems] [--no-etm] "
                        "[--maxfrag 512|1024|2048|4096] [--mtu BYTES] [--timeout-ms N] "
                        "[--resume] [--no-tickets]\n");
        exit(2);
    }
}

/* ---- the association ------------------------------------------------------------------------ */

/* Both ends show a certificate, and the server's has to be of the name we expect. */
static void client_use_certificate(struct client *client)
{
    const struct client_options *options = client->options;

    mbedtls_x509_crt_init(&client->cert);
    mbedtls_x509_crt_init(&client->ca);
    mbedtls_pk_init(&client->key);
    client_must("cert", mbedtls_x509_crt_parse_file(&client->cert, options->cert));
    client_must("ca", mbedtls_x509_crt_parse_file(&client->ca, options->ca));
    client_must("key", mbedtls_pk_parse_keyfile(&client->key, options->key_file, NULL));
    client_must("own cert",
                mbedtls_ssl_conf_own_cert(&client->config, &client->cert, &client->key));
    mbedtls_ssl_conf_ca_chain(&client->config, &client->ca, NULL);
    mbedtls_ssl_conf_authmode(&client->config, MBEDTLS_SSL_VERIFY_REQUIRED);
}

static void client_configure(struct client *client)
{
    const struct client_options *options = client->options;
    mbedtls_ssl_config *config = &client->config;
    int transport =
        options->is_dtls ? MBEDTLS_SSL_TRANSPORT_DATAGRAM : MBEDTLS_SSL_TRANSPORT_STREAM;

    client_must("config", mbedtls_ssl_config_defaults(config, MBEDTLS_SSL_IS_CLIENT, transport,
                                                      MBEDTLS_SSL_PRESET_DEFAULT));
    mbedtls_ssl_conf_min_version(config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_max_version(config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_rng(config, mbedtls_ctr_drbg_random, &client->random);
    mbedtls_ssl_conf_ciphersuites(config, options->suites);
    mbedtls_ssl_conf_extended_master_secret(config, options->is_without_ems
                                                        ? MBEDTLS_SSL_EXTENDED_MS_DISABLED
                                                        : MBEDTLS_SSL_EXTENDED_MS_ENABLED);
    mbedtls_ssl_conf_encrypt_then_mac(config, options->is_without_etm ? MBEDTLS_SSL_ETM_DISABLED
                                                                      : MBEDTLS_SSL_ETM_ENABLED);
    mbedtls_ssl_conf_session_tickets(config, options->is_without_tickets
                                                 ? MBEDTLS_SSL_SESSION_TICKETS_DISABLED
                                                 : MBEDTLS_SSL_SESSION_TICKETS_ENABLED);
    mbedtls_ssl_conf_read_timeout(config, 1000);
    mbedtls_ssl_conf_handshake_timeout(config, 500, 8000);
    if (options->cert != NULL) {
        client_use_certificate(client);
    } else {
        client_must("key", mbedtls_ssl_conf_psk(config, options->key, options->key_len,
                                                (const unsigned char *)options->identity,
                                                strlen(options->identity)));
    }
    if (options->max_fragment_code != 0) {
        client_must("max_fragment_length",
                    mbedtls_ssl_conf_max_frag_len(config, options->max_fragment_code));
    }
}

static void client_open(struct client *client)
{
    const struct client_options *options = client->options;

    client->deadline_ms = client_now_ms() + options->timeout_ms;
    mbedtls_net_init(&client->net);
    mbedtls_entropy_init(&client->entropy);
    mbedtls_ctr_drbg_init(&client->random);
    mbedtls_ssl_config_init(&client->config);
    mbedtls_ssl_init(&client->ssl);
    client_must("random", mbedtls_ctr_drbg_seed(&client->random, mbedtls_entropy_func,
                                                &client->entropy, NULL, 0));
    client_configure(client);
    client_must("setup", mbedtls_ssl_setup(&client->ssl, &client->config));
    if (options->name != NULL) {
        client_must("name", mbedtls_ssl_set_hostname(&client->ssl, options->name));
    }
    if (options->mtu != 0) {
        mbedtls_ssl_set_mtu(&client->ssl, options->mtu);
    }
    if (client->has_session) {
        client_must("session", mbedtls_ssl_set_session(&client->ssl, &client->session));
    }
    client_must("connect", mbedtls_net_connect(&client->net, options->host, options->port,
                                               options->is_dtls ? MBEDTLS_NET_PROTO_UDP
                                                                : MBEDTLS_NET_PROTO_TCP));
    mbedtls_ssl_set_bio(&client->ssl, &client->net, mbedtls_net_send, mbedtls_net_recv,
                        mbedtls_net_recv_timeout);
    mbedtls_ssl_set_timer_cb(&client->ssl, &client->timer, mbedtls_timing_set_delay,
                             mbedtls_timing_get_delay);
}

static bool client_is_transient(int result)
{
    return result == MBEDTLS_ERR_SSL_WANT_READ || result == MBEDTLS_ERR_SSL_WANT_WRITE ||
           result == MBEDTLS_ERR_SSL_TIMEOUT;
}

static void client_handshake(struct client *client)
{
    bool is_resumed = true; /* unless keys are exchanged */
    int result = 0;

    while (client->ssl.state != MBEDTLS_SSL_HANDSHAKE_OVER) {
        if (client->ssl.state == MBEDTLS_SSL_CLIENT_KEY_EXCHANGE) {
            is_resumed = false;
        }
        result = mbedtls_ssl_handshake_step(&client->ssl);
        bool is_early = client_now_ms() < client->deadline_ms;
        if (result != 0 && !(client_is_transient(result) && is_early)) {
            client_fail("handshake", result);
        }
    }
    printf("connected %s %s %s\n", mbedtls_ssl_get_version(&client->ssl),
           mbedtls_ssl_get_ciphersuite(&client->ssl), is_resumed ? "resumed" : "full");
    fflush(stdout);
}

/* For the second time; before it is closed, which in 2.28 is the end of it. */
static void client_keep_session(struct client *client)
{
    mbedtls_ssl_session_init(&client->session);
    client_must("session", mbedtls_ssl_get_session(&client->ssl, &client->session));
    client->has_session = true;
}

static void client_send(struct client *client)
{
    const struct client_options *options = client->options;
    size_t sent = 0;

    while (sent < options->request_len) {
        int result =
            mbedtls_ssl_write(&client->ssl, options->request + sent, options->request_len - sent);

        if (client_is_transient(result) && client_now_ms() < client->deadline_ms) {
            continue;
        }
        if (result < 0) {
            client_fail("write", result);
        }
        sent += (size_t)result;
    }
}

/* Reads one answer. Gives its length, or 0 when a second passed without anything. */
static size_t client_receive(struct client *client, uint8_t *answer, size_t answer_max)
{
    const struct client_options *options = client->options;
    size_t want_len = options->is_answer_any ? 1 : options->request_len;
    size_t received = 0;

    while (received < want_len) {
        int result = mbedtls_ssl_read(&client->ssl, answer + received, answer_max - received);

        if (result == MBEDTLS_ERR_SSL_TIMEOUT && options->is_dtls) {
            return 0;
        }
        if (client_is_transient(result) && client_now_ms() < client->deadline_ms) {
            continue;
        }
        if (result <= 0) {
            client_fail("read", result);
        }
        received += (size_t)result;
        if (options->is_dtls) {
            break;
        }
    }
    return received;
}

static bool client_answer_is_right(const struct client_options *options, const uint8_t *answer,
                                   size_t answer_len)
{
    return options->is_answer_any || (answer_len == options->request_len &&
                                      memcmp(answer, options->request, answer_len) == 0);
}

static void client_exchange(struct client *client)
{
    static uint8_t answer[CLIENT_REQUEST_MAX];
    size_t answer_len = 0;

    while (answer_len == 0) {
        if (client_now_ms() >= client->deadline_ms) {
            client_fail("answer", MBEDTLS_ERR_SSL_TIMEOUT);
        }
        client_send(client);
        if (client->options->is_half_close) {
            client_must("close_notify", mbedtls_ssl_close_notify(&client->ssl));
        }
        answer_len = client_receive(client, answer, sizeof(answer));
    }
    if (!client_answer_is_right(client->options, answer, answer_len)) {
        client_fail("answer: not what was sent", 0);
    }
    printf("answer ");
    for (size_t i = 0; i < answer_len; i++) {
        printf("%02x", answer[i]);
    }
    printf("\n");
    fflush(stdout);
}

/* Says close_notify and waits for the server's. Either may be lost on a lossy path, and the server
 * forgets the association with the first that arrives: so it is not insisted on there. */
static void client_close(struct client *client)
{
    uint8_t rest[1024];
    int result;

    if (!client->options->is_half_close) {
        client_must("close_notify", mbedtls_ssl_close_notify(&client->ssl));
    }
    do {
        result = mbedtls_ssl_read(&client->ssl, rest, sizeof(rest));
    } while (result > 0);
    if (result != MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY && !client->options->is_lossy) {
        client_fail("no close_notify came back", result);
    }
    printf("closed\n");
    mbedtls_ssl_free(&client->ssl);
    mbedtls_ssl_config_free(&client->config);
    mbedtls_ctr_drbg_free(&client->random);
    mbedtls_entropy_free(&client->entropy);
    mbedtls_net_free(&client->net);
    if (client->options->cert != NULL) {
        mbedtls_x509_crt_free(&client->cert);
        mbedtls_x509_crt_free(&client->ca);
        mbedtls_pk_free(&client->key);
    }
}

int main(int argc, char **argv)
{
    static struct client_options options;
    static struct client client;

    client_parse_options(&options, argc, argv);
    client.options = &options;
    for (int round = 0; round < 1 + options.is_resuming; round++) {
        client_open(&client);
        client_handshake(&client);
        for (uint32_t i = 0; i < options.count; i++) {
            client_exchange(&client);
        }
        if (round < options.is_resuming) {
            client_keep_session(&client);
        }
        client_close(&client);
    }
    if (client.has_session) {
        mbedtls_ssl_session_free(&client.session);
    }
    return 0;
}
