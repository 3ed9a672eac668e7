/**
 * mbedtls_server.c - a plain one-thread server on Mbed TLS 2.28, to compare with.
 */
#include "peer.h"

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_cookie.h>
#include <mbedtls/ssl_ticket.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define TICKET_SECONDS 3600

struct session {
    mbedtls_ssl_context ssl;
    struct sockaddr_in address;
    int fd;
    const uint8_t *data; /* the datagram at hand */
    size_t len;
};

static struct peer_options options;
static mbedtls_entropy_context entropy;
static mbedtls_ctr_drbg_context generator;
static mbedtls_ssl_config config;
static mbedtls_ssl_cookie_ctx cookies;
static mbedtls_ssl_ticket_context tickets;
static mbedtls_x509_crt certificate, authority;
static mbedtls_pk_context key;
static struct session *waiting; /* has a context that is nobody's yet */

static int find_psk(void *arg, mbedtls_ssl_context *ssl, const unsigned char *identity, size_t len)
{
    char text[256];
    (void)arg;
    if (len >= sizeof(text)) {
        return -1;
    }
    memcpy(text, identity, len);
    text[len] = '\0';
    const struct peer_key *found = peer_key_find(&options.keys, text);
    return found == NULL ? -1 : mbedtls_ssl_set_hs_psk(ssl, found->psk, found->psk_len);
}

static bool close_session(struct session *session)
{
    mbedtls_ssl_free(&session->ssl);
    free(session);
    return false;
}

static bool is_patient(int status)
{
    return status == MBEDTLS_ERR_SSL_WANT_READ || status == MBEDTLS_ERR_SSL_WANT_WRITE;
}

/* Goes on as far as the input reaches; false: freed. */
static bool advance(struct session *session)
{
    uint8_t bytes[4096];
    int status = 0;
    if (session->ssl.state != MBEDTLS_SSL_HANDSHAKE_OVER) {
        status = mbedtls_ssl_handshake(&session->ssl);
    }
    while (status == 0) {
        int len = mbedtls_ssl_read(&session->ssl, bytes, sizeof(bytes));
        if (len > 0) {
            (void)mbedtls_ssl_write(&session->ssl, bytes, (size_t)len);
        } else {
            status = len == 0 ? MBEDTLS_ERR_SSL_CONN_EOF : len;
        }
    }
    if (status == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY) {
        (void)mbedtls_ssl_close_notify(&session->ssl);
    }
    return is_patient(status) ? true : close_session(session);
}

static struct session *open_session(void)
{
    struct session *session = calloc(1, sizeof(*session));
    if (session == NULL) {
        abort();
    }
    mbedtls_ssl_init(&session->ssl);
    if (mbedtls_ssl_setup(&session->ssl, &config) != 0) {
        abort();
    }
    return session;
}

/* ---- DTLS --------------------------------------------------------------------------------- */

static int send_datagram(void *arg, const unsigned char *data, size_t len)
{
    const struct session *session = arg;
    peer_datagram_send(&session->address, data, len);
    return (int)len;
}

static int receive_datagram(void *arg, unsigned char *data, size_t max)
{
    struct session *session = arg;
    size_t len = session->len < max ? session->len : max;
    if (len == 0) {
        return MBEDTLS_ERR_SSL_WANT_READ;
    }
    memcpy(data, session->data, len);
    session->len = 0;
    return (int)len;
}

/* Nothing is lost here, so nothing is sent again. */
static void set_timer(void *arg, uint32_t intermediate_ms, uint32_t final_ms)
{
    (void)arg;
    (void)intermediate_ms;
    (void)final_ms;
}

static int get_timer(void *arg)
{
    (void)arg;
    return 0;
}

static bool next_datagram(void *arg, uint8_t *data, size_t len)
{
    struct session *session = arg;
    session->data = data;
    session->len = len;
    return advance(session);
}

static void *begin_datagram(const struct sockaddr_in *from, uint8_t *data, size_t len,
                            struct peer_association *association)
{
    uint8_t client[6];
    (void)association;
    if (waiting == NULL) {
        waiting = open_session();
        mbedtls_ssl_set_bio(&waiting->ssl, waiting, send_datagram, receive_datagram, NULL);
        mbedtls_ssl_set_timer_cb(&waiting->ssl, waiting, set_timer, get_timer);
    }
    struct session *session = waiting;
    session->address = *from;
    session->data = data;
    session->len = len;
    memcpy(client, &from->sin_addr, 4);
    memcpy(client + 4, &from->sin_port, 2);
    (void)mbedtls_ssl_set_client_transport_id(&session->ssl, client, sizeof(client));
    int status = mbedtls_ssl_handshake(&session->ssl);
    if (!is_patient(status) || session->ssl.state <= MBEDTLS_SSL_CLIENT_HELLO) {
        (void)mbedtls_ssl_session_reset(&session->ssl); /* a cookie was sent, or it was noise */
        return NULL;
    }
    waiting = NULL;
    return session;
}

/* ---- TLS ---------------------------------------------------------------------------------- */

static int send_stream(void *arg, const unsigned char *data, size_t len)
{
    const struct session *session = arg;
    ssize_t sent = send(session->fd, data, len, MSG_NOSIGNAL);
    return sent >= 0 ? (int)sent : -1;
}

static int receive_stream(void *arg, unsigned char *data, size_t max)
{
    const struct session *session = arg;
    ssize_t len = recv(session->fd, data, max, 0);
    if (len >= 0) {
        return (int)len;
    }
    return errno == EAGAIN ? MBEDTLS_ERR_SSL_WANT_READ : MBEDTLS_ERR_SSL_CONN_EOF;
}

static void *begin_stream(int fd)
{
    struct session *session = open_session();
    session->fd = fd;
    mbedtls_ssl_set_bio(&session->ssl, session, send_stream, receive_stream, NULL);
    return session;
}

static bool next_stream(void *session)
{
    return advance(session);
}

static bool open_certificates(void)
{
    mbedtls_ssl_conf_authmode(&config, MBEDTLS_SSL_VERIFY_REQUIRED);
    if (options.is_resumable) {
        if (mbedtls_ssl_ticket_setup(&tickets, mbedtls_ctr_drbg_random, &generator,
                                     MBEDTLS_CIPHER_AES_128_GCM, TICKET_SECONDS) != 0) {
            return false;
        }
        mbedtls_ssl_conf_session_tickets_cb(&config, mbedtls_ssl_ticket_write,
                                            mbedtls_ssl_ticket_parse, &tickets);
    }
    if (mbedtls_x509_crt_parse_file(&certificate, options.certificate) != 0 ||
        mbedtls_pk_parse_keyfile(&key, options.key, NULL) != 0 ||
        mbedtls_x509_crt_parse_file(&authority, options.client_ca) != 0) {
        return false;
    }
    mbedtls_ssl_conf_ca_chain(&config, &authority, NULL);
    return mbedtls_ssl_conf_own_cert(&config, &certificate, &key) == 0;
}

static bool open_config(void)
{
    static const int suites[] = {
        MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8, MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256,
        MBEDTLS_TLS_PSK_WITH_AES_128_CCM_8, MBEDTLS_TLS_PSK_WITH_AES_128_CBC_SHA256, 0};
    mbedtls_entropy_init(&entropy);
    mbedtls_ctr_drbg_init(&generator);
    mbedtls_ssl_config_init(&config);
    mbedtls_ssl_cookie_init(&cookies);
    mbedtls_ssl_ticket_init(&tickets);
    mbedtls_x509_crt_init(&certificate);
    mbedtls_x509_crt_init(&authority);
    mbedtls_pk_init(&key);
    if (mbedtls_ctr_drbg_seed(&generator, mbedtls_entropy_func, &entropy, NULL, 0) != 0 ||
        mbedtls_ssl_config_defaults(&config, MBEDTLS_SSL_IS_SERVER,
                                    options.is_dtls ? MBEDTLS_SSL_TRANSPORT_DATAGRAM
                                                    : MBEDTLS_SSL_TRANSPORT_STREAM,
                                    MBEDTLS_SSL_PRESET_DEFAULT) != 0 ||
        mbedtls_ssl_cookie_setup(&cookies, mbedtls_ctr_drbg_random, &generator) != 0) {
        return false;
    }
    mbedtls_ssl_conf_rng(&config, mbedtls_ctr_drbg_random, &generator);
    mbedtls_ssl_conf_ciphersuites(&config, suites);
    mbedtls_ssl_conf_dtls_cookies(&config, mbedtls_ssl_cookie_write, mbedtls_ssl_cookie_check,
                                  &cookies);
    if (options.certificate != NULL) {
        return open_certificates();
    }
    mbedtls_ssl_conf_psk_cb(&config, find_psk, NULL);
    return true;
}

int main(int argc, char **argv)
{
    static const struct peer_datagrams datagrams = {begin_datagram, next_datagram};
    static const struct peer_streams streams = {begin_stream, next_stream};
    peer_options_parse(&options, argc, argv);
    if (!open_config()) {
        fprintf(stderr, "Mbed TLS does not start\n");
        return 1;
    }
    if (options.is_dtls) {
        peer_datagrams_run(&options, &datagrams);
    } else {
        peer_streams_run(&options, &streams);
    }
    return 0;
}
