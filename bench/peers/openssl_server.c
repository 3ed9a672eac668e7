/**
 * openssl_server.c - a plain one-thread PSK server on OpenSSL, to compare with.
 *
 * DTLS: one socket, a BIO of our own that holds the datagram at hand, and DTLSv1_listen() on one
 * waiting SSL for the cookie exchange, so that nothing is kept for a peer before its cookie.
 */
#include "peer.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct session {
    SSL *ssl;
    BIO *bio;
    struct sockaddr_in address;
    const uint8_t *data; /* the datagram at hand */
    size_t len;
    bool is_peeking;
};

static struct peer_options options;
static SSL_CTX *context;
static BIO_METHOD *datagram_method;
static uint8_t cookie_key[32];
static struct session *waiting; /* has an SSL that is nobody's yet */

static unsigned find_psk(SSL *ssl, const char *identity, unsigned char *psk, unsigned max)
{
    const struct peer_key *key = peer_key_find(&options.keys, identity);
    (void)ssl;
    if (key == NULL || key->psk_len > max) {
        return 0;
    }
    memcpy(psk, key->psk, key->psk_len);
    return (unsigned)key->psk_len;
}

static bool close_session(struct session *session)
{
    SSL_free(session->ssl); /* and its BIO */
    free(session);
    return false;
}

/* Goes on as far as the input reaches; false: freed. */
static bool advance(struct session *session)
{
    uint8_t bytes[4096];
    for (;;) {
        int len = SSL_read(session->ssl, bytes, sizeof(bytes)); /* does the handshake too */
        if (len > 0) {
            (void)SSL_write(session->ssl, bytes, len);
            continue;
        }
        switch (SSL_get_error(session->ssl, len)) {
        case SSL_ERROR_WANT_READ:
        case SSL_ERROR_WANT_WRITE:
            return true;
        case SSL_ERROR_ZERO_RETURN:
            (void)SSL_shutdown(session->ssl);
            return close_session(session);
        default:
            ERR_clear_error();
            return close_session(session);
        }
    }
}

/* ---- DTLS --------------------------------------------------------------------------------- */

static int bio_write(BIO *bio, const char *data, int len)
{
    const struct session *session = BIO_get_data(bio);
    peer_datagram_send(&session->address, (const uint8_t *)data, (size_t)len);
    return len;
}

static int bio_read(BIO *bio, char *data, int max)
{
    struct session *session = BIO_get_data(bio);
    size_t len = session->len < (size_t)max ? session->len : (size_t)max;
    BIO_clear_retry_flags(bio);
    if (len == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    memcpy(data, session->data, len);
    if (!session->is_peeking) {
        session->len = 0;
    }
    return (int)len;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    struct session *session = BIO_get_data(bio);
    (void)pointer;
    switch (command) {
    case BIO_CTRL_FLUSH:
        return 1;
    case BIO_CTRL_DGRAM_SET_PEEK_MODE:
        session->is_peeking = number != 0;
        return 1;
    case BIO_CTRL_DGRAM_QUERY_MTU:
    case BIO_CTRL_DGRAM_GET_FALLBACK_MTU:
        return 1400;
    case BIO_CTRL_DGRAM_GET_MTU_OVERHEAD:
        return 28;
    default:
        return 0;
    }
}

static unsigned make_cookie(unsigned char *out, const struct sockaddr_in *address)
{
    uint8_t client[6];
    unsigned len = 0;
    memcpy(client, &address->sin_addr, 4);
    memcpy(client + 4, &address->sin_port, 2);
    HMAC(EVP_sha256(), cookie_key, sizeof(cookie_key), client, sizeof(client), out, &len);
    return len;
}

static int generate_cookie(SSL *ssl, unsigned char *cookie, unsigned *len)
{
    const struct session *session = SSL_get_app_data(ssl);
    *len = make_cookie(cookie, &session->address);
    return 1;
}

static int verify_cookie(SSL *ssl, const unsigned char *cookie, unsigned len)
{
    const struct session *session = SSL_get_app_data(ssl);
    unsigned char expected[EVP_MAX_MD_SIZE];
    return make_cookie(expected, &session->address) == len &&
           CRYPTO_memcmp(expected, cookie, len) == 0;
}

static struct session *open_waiting(void)
{
    struct session *session = calloc(1, sizeof(*session));
    if (session == NULL) {
        abort();
    }
    session->ssl = SSL_new(context);
    session->bio = BIO_new(datagram_method);
    if (session->ssl == NULL || session->bio == NULL) {
        abort();
    }
    BIO_set_data(session->bio, session);
    BIO_set_init(session->bio, 1);
    SSL_set_bio(session->ssl, session->bio, session->bio);
    SSL_set_app_data(session->ssl, session);
    SSL_set_accept_state(session->ssl);
    SSL_set_options(session->ssl, SSL_OP_COOKIE_EXCHANGE | SSL_OP_NO_QUERY_MTU);
    SSL_set_mtu(session->ssl, 1400);
    return session;
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
    static BIO_ADDR *ignored;
    (void)association;
    if (waiting == NULL) {
        waiting = open_waiting();
    }
    if (ignored == NULL) {
        ignored = BIO_ADDR_new();
    }
    struct session *session = waiting;
    session->address = *from;
    session->data = data;
    session->len = len;
    int status = DTLSv1_listen(session->ssl, ignored);
    if (status < 0) {
        ERR_clear_error();
    }
    if (status <= 0) {
        return NULL;
    }
    waiting = NULL;
    return advance(session) ? session : NULL; /* the hello is read again: it was peeked at */
}

/* ---- TLS ---------------------------------------------------------------------------------- */

static void *begin_stream(int fd)
{
    struct session *session = calloc(1, sizeof(*session));
    if (session == NULL || (session->ssl = SSL_new(context)) == NULL) {
        abort();
    }
    SSL_set_fd(session->ssl, fd);
    SSL_set_accept_state(session->ssl);
    return session;
}

static bool next_stream(void *session)
{
    return advance(session);
}

static bool open_certificates(void)
{
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_session_id_context(context, (const uint8_t *)"peer", 4);
    if (options.is_resumable) {
        SSL_CTX_clear_options(context, SSL_OP_NO_TICKET);
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_SERVER);
    }
    return SSL_CTX_use_certificate_chain_file(context, options.certificate) == 1 &&
           SSL_CTX_use_PrivateKey_file(context, options.key, SSL_FILETYPE_PEM) == 1 &&
           SSL_CTX_load_verify_file(context, options.client_ca) == 1;
}

static bool open_context(void)
{
    context = SSL_CTX_new(options.is_dtls ? DTLS_server_method() : TLS_server_method());
    datagram_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "datagram");
    if (context == NULL || datagram_method == NULL ||
        SSL_CTX_set_cipher_list(context, "ECDHE-ECDSA-AES128-CCM8:ECDHE-ECDSA-AES128-SHA256:"
                                         "PSK-AES128-CCM8:PSK-AES128-CBC-SHA256:"
                                         "PSK-AES128-GCM-SHA256:PSK-AES128-CCM:@SECLEVEL=0") != 1 ||
        RAND_bytes(cookie_key, sizeof(cookie_key)) != 1) {
        return false;
    }
    BIO_meth_set_write(datagram_method, bio_write);
    BIO_meth_set_read(datagram_method, bio_read);
    BIO_meth_set_ctrl(datagram_method, bio_ctrl);
    SSL_CTX_set_max_proto_version(context, options.is_dtls ? DTLS1_2_VERSION : TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(context, options.is_reading_ahead);
    SSL_CTX_set_psk_server_callback(context, find_psk);
    SSL_CTX_set_cookie_generate_cb(context, generate_cookie);
    SSL_CTX_set_cookie_verify_cb(context, verify_cookie);
    return options.certificate == NULL || open_certificates();
}

int main(int argc, char **argv)
{
    static const struct peer_datagrams datagrams = {begin_datagram, next_datagram};
    static const struct peer_streams streams = {begin_stream, next_stream};
    peer_options_parse(&options, argc, argv);
    if (!open_context()) {
        ERR_print_errors_fp(stderr);
        return 1;
    }
    if (options.is_dtls) {
        peer_datagrams_run(&options, &datagrams);
    } else {
        peer_streams_run(&options, &streams);
    }
    return 0;
}
