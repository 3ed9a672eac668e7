/**
 * mbedtls_server.c - a TLS/DTLS 1.2 server on Mbed TLS 2.28, with a key or a certificate, on a port
 * of 127.0.0.1 that it chooses: serves one association after another, gives back what it hears. A
 * peer for the interop matrix, not a library of anything.
 *
 * Prints "listening PORT", then for each association "connected VERSION SUITE full|resumed", and
 * "closed" once both have said close_notify; "failed ..." ends an association, not the program.
 * Datagrams are answered only behind a cookie. Runs until it is killed.
 */
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/error.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_cache.h>
#include <mbedtls/ssl_ciphersuites.h>
#include <mbedtls/ssl_cookie.h>
#include <mbedtls/ssl_ticket.h>
#include <mbedtls/timing.h>

#include <arpa/inet.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define SERVER_KEY_MAX 64
#define SERVER_PATIENCE_MS 20000 /* for an association, from its first byte to its last */

struct server_options {
    bool is_dtls;
    const char *identity;
    uint8_t key[SERVER_KEY_MAX];
    size_t key_len;
    int suites[2];                    /* ends with 0; none: all */
    const char *cert, *key_file, *ca; /* instead of identity and key */
    bool has_tickets, has_cache;
};

struct server {
    const struct server_options *options;
    uint64_t deadline_ms;
    mbedtls_net_context listener, net;
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context random;
    mbedtls_ssl_config config;
    mbedtls_ssl_context ssl;
    mbedtls_timing_delay_context timer;
    mbedtls_x509_crt cert, ca;
    mbedtls_pk_context key;
    mbedtls_ssl_cookie_ctx cookie;
    mbedtls_ssl_cache_context cache;
    mbedtls_ssl_ticket_context ticket;
};

static void server_tell(const char *what, int error)
{
    char text[160] = "";

    mbedtls_strerror(error, text, sizeof(text));
    printf("failed %s: -0x%04x %s\n", what, (unsigned)-error, text);
}

static void server_must(const char *what, int result)
{
    if (result != 0) {
        server_tell(what, result);
        exit(1);
    }
}

static uint64_t server_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

/* ---- options -------------------------------------------------------------------------------- */

static bool server_parse_key(struct server_options *options, const char *text)
{
    size_t text_len = strlen(text);

    if (text_len % 2 != 0 || text_len / 2 > SERVER_KEY_MAX) {
        return false;
    }
    for (size_t i = 0; i < text_len / 2; i++) {
        unsigned byte;

        if (sscanf(text + 2 * i, "%2x", &byte) != 1) {
            return false;
        }
        options->key[i] = (uint8_t)byte;
    }
    options->key_len = text_len / 2;
    return options->key_len > 0;
}

static bool server_parse_option(struct server_options *options, int option, const char *text)
{
    switch (option) {
    case 'd':
        return options->is_dtls = true;
    case 'i':
        options->identity = text;
        return true;
    case 'k':
        return server_parse_key(options, text);
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
    case 'T':
        return options->has_tickets = true;
    case 'S':
        return options->has_cache = true;
    default:
        return false;
    }
}

static void server_parse_options(struct server_options *options, int argc, char **argv)
{
    static const struct option known[] = {
        {"dtls", no_argument, NULL, 'd'},       {"identity", required_argument, NULL, 'i'},
        {"key", required_argument, NULL, 'k'},  {"suite", required_argument, NULL, 's'},
        {"cert", required_argument, NULL, 'C'}, {"key-file", required_argument, NULL, 'K'},
        {"ca", required_argument, NULL, 'A'},   {"tickets", no_argument, NULL, 'T'},
        {"cache", no_argument, NULL, 'S'},      {NULL, 0, NULL, 0},
    };
    bool is_good = true;
    int option;

    while (is_good && (option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        is_good = server_parse_option(options, option, optarg);
    }
    bool has_key = options->identity != NULL && options->key_len > 0;
    bool has_certificate =
        options->cert != NULL && options->key_file != NULL && options->ca != NULL;
    if (!is_good || optind != argc || has_key == has_certificate) {
        fprintf(stderr, "usage: mbedtls_server [--dtls] --identity TEXT --key HEX | --cert FILE "
                        "--key-file FILE --ca FILE [--suite TLS-...] [--tickets] [--cache]\n");
        exit(2);
    }
}

/* ---- what all associations share ------------------------------------------------------------ */

/* Both ends show a certificate. */
static void server_use_certificate(struct server *server)
{
    const struct server_options *options = server->options;

    mbedtls_x509_crt_init(&server->cert);
    mbedtls_x509_crt_init(&server->ca);
    mbedtls_pk_init(&server->key);
    server_must("cert", mbedtls_x509_crt_parse_file(&server->cert, options->cert));
    server_must("ca", mbedtls_x509_crt_parse_file(&server->ca, options->ca));
    server_must("key", mbedtls_pk_parse_keyfile(&server->key, options->key_file, NULL));
    server_must("own cert",
                mbedtls_ssl_conf_own_cert(&server->config, &server->cert, &server->key));
    mbedtls_ssl_conf_ca_chain(&server->config, &server->ca, NULL);
    mbedtls_ssl_conf_authmode(&server->config, MBEDTLS_SSL_VERIFY_REQUIRED);
}

static void server_use_sessions(struct server *server)
{
    if (server->options->has_cache) {
        mbedtls_ssl_cache_init(&server->cache);
        mbedtls_ssl_conf_session_cache(&server->config, &server->cache, mbedtls_ssl_cache_get,
                                       mbedtls_ssl_cache_set);
    }
    if (server->options->has_tickets) {
        mbedtls_ssl_ticket_init(&server->ticket);
        server_must("ticket",
                    mbedtls_ssl_ticket_setup(&server->ticket, mbedtls_ctr_drbg_random,
                                             &server->random, MBEDTLS_CIPHER_AES_256_GCM, 3600));
        mbedtls_ssl_conf_session_tickets_cb(&server->config, mbedtls_ssl_ticket_write,
                                            mbedtls_ssl_ticket_parse, &server->ticket);
    }
}

static void server_configure(struct server *server)
{
    const struct server_options *options = server->options;
    mbedtls_ssl_config *config = &server->config;
    int transport =
        options->is_dtls ? MBEDTLS_SSL_TRANSPORT_DATAGRAM : MBEDTLS_SSL_TRANSPORT_STREAM;

    mbedtls_ssl_config_init(config);
    server_must("config", mbedtls_ssl_config_defaults(config, MBEDTLS_SSL_IS_SERVER, transport,
                                                      MBEDTLS_SSL_PRESET_DEFAULT));
    mbedtls_ssl_conf_min_version(config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_rng(config, mbedtls_ctr_drbg_random, &server->random);
    mbedtls_ssl_conf_read_timeout(config, 1000);
    if (options->suites[0] != 0) {
        mbedtls_ssl_conf_ciphersuites(config, options->suites);
    }
    if (options->cert != NULL) {
        server_use_certificate(server);
    } else {
        server_must("key", mbedtls_ssl_conf_psk(config, options->key, options->key_len,
                                                (const unsigned char *)options->identity,
                                                strlen(options->identity)));
    }
    server_use_sessions(server);
    mbedtls_ssl_cookie_init(&server->cookie);
    server_must("cookie", mbedtls_ssl_cookie_setup(&server->cookie, mbedtls_ctr_drbg_random,
                                                   &server->random));
    mbedtls_ssl_conf_dtls_cookies(config, mbedtls_ssl_cookie_write, mbedtls_ssl_cookie_check,
                                  &server->cookie);
}

static void server_open(struct server *server)
{
    struct sockaddr_in address;
    socklen_t address_len = sizeof(address);

    mbedtls_entropy_init(&server->entropy);
    mbedtls_ctr_drbg_init(&server->random);
    server_must("random", mbedtls_ctr_drbg_seed(&server->random, mbedtls_entropy_func,
                                                &server->entropy, NULL, 0));
    server_configure(server);
    mbedtls_ssl_init(&server->ssl);
    server_must("setup", mbedtls_ssl_setup(&server->ssl, &server->config));
    mbedtls_ssl_set_timer_cb(&server->ssl, &server->timer, mbedtls_timing_set_delay,
                             mbedtls_timing_get_delay);
    mbedtls_net_init(&server->listener);
    server_must("bind", mbedtls_net_bind(&server->listener, "127.0.0.1", "0",
                                         server->options->is_dtls ? MBEDTLS_NET_PROTO_UDP
                                                                  : MBEDTLS_NET_PROTO_TCP));
    server_must("port",
                getsockname(server->listener.fd, (struct sockaddr *)&address, &address_len));
    printf("listening %u\n", ntohs(address.sin_port));
}

/* ---- an association ------------------------------------------------------------------------- */

static bool server_goes_on(const struct server *server, int result)
{
    bool is_transient = result == MBEDTLS_ERR_SSL_WANT_READ ||
                        result == MBEDTLS_ERR_SSL_WANT_WRITE || result == MBEDTLS_ERR_SSL_TIMEOUT;

    return result == 0 || (is_transient && server_now_ms() < server->deadline_ms);
}

/* Gives what mbedtls_ssl_handshake() does. */
static int server_handshake(struct server *server, bool *is_resumed)
{
    int result = 0;

    *is_resumed = true; /* unless keys are exchanged */
    while (server->ssl.state != MBEDTLS_SSL_HANDSHAKE_OVER && server_goes_on(server, result)) {
        if (server->ssl.state == MBEDTLS_SSL_CLIENT_KEY_EXCHANGE) {
            *is_resumed = false;
        }
        result = mbedtls_ssl_handshake_step(&server->ssl);
    }
    return server->ssl.state == MBEDTLS_SSL_HANDSHAKE_OVER ? 0 : result;
}

/* Gives back what comes until close_notify does. */
static void server_echo(struct server *server)
{
    static uint8_t data[16384];
    int result = 0;

    while (result >= 0 || server_goes_on(server, result)) {
        result = mbedtls_ssl_read(&server->ssl, data, sizeof(data));
        for (int done = 0, count = result; count >= 0 && done < count && result >= 0;) {
            result = mbedtls_ssl_write(&server->ssl, data + done, (size_t)(count - done));
            done += result;
        }
        if (result == 0) {
            break;
        }
    }
    if (result != MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY) {
        server_tell("echo", result);
        return;
    }
    result = mbedtls_ssl_close_notify(&server->ssl);
    if (result != 0) {
        server_tell("close_notify", result);
        return;
    }
    printf("closed\n");
}

static void server_serve(struct server *server)
{
    unsigned char peer[16];
    size_t peer_len = 0;
    bool is_resumed = false;
    int result;

    mbedtls_net_init(&server->net);
    server_must("accept",
                mbedtls_net_accept(&server->listener, &server->net, peer, sizeof(peer), &peer_len));
    server->deadline_ms = server_now_ms() + SERVER_PATIENCE_MS;
    mbedtls_ssl_set_bio(&server->ssl, &server->net, mbedtls_net_send, mbedtls_net_recv,
                        mbedtls_net_recv_timeout);
    do { /* once more behind each cookie */
        server_must("reset", mbedtls_ssl_session_reset(&server->ssl));
        if (server->options->is_dtls) {
            server_must("peer", mbedtls_ssl_set_client_transport_id(&server->ssl, peer, peer_len));
        }
        result = server_handshake(server, &is_resumed);
    } while (result == MBEDTLS_ERR_SSL_HELLO_VERIFY_REQUIRED);
    if (result == 0) {
        printf("connected %s %s %s\n", mbedtls_ssl_get_version(&server->ssl),
               mbedtls_ssl_get_ciphersuite(&server->ssl), is_resumed ? "resumed" : "full");
        server_echo(server);
    } else {
        server_tell("handshake", result);
    }
    mbedtls_net_free(&server->net);
}

int main(int argc, char **argv)
{
    static struct server_options options;
    static struct server server;

    setvbuf(stdout, NULL, _IOLBF, 0);
    server_parse_options(&options, argc, argv);
    server.options = &options;
    server_open(&server);
    for (;;) {
        server_serve(&server);
    }
}
