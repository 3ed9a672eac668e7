/**
 * wolfssl_server.c - a plain one-thread server on wolfSSL 5.5, to compare with. Certificates only:
 * Debian's has no suites with static pre-shared keys. It keeps a session from the first hello on.
 */
#include <wolfssl/options.h>

#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/hmac.h>
#include <wolfssl/wolfcrypt/random.h>

#include "peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct session {
    WOLFSSL *ssl;
    struct sockaddr_in address;
    const uint8_t *data; /* the datagram at hand */
    size_t len;
    bool is_open;
};

static struct peer_options options;
static WOLFSSL_CTX *context;
static uint8_t cookie_key[32];

static bool close_session(struct session *session)
{
    wolfSSL_free(session->ssl);
    free(session);
    return false;
}

/* Goes on as far as the input reaches; false: freed. */
static bool advance(struct session *session)
{
    uint8_t bytes[4096];
    for (;;) {
        int len;
        if (!session->is_open) {
            len = wolfSSL_accept(session->ssl);
            session->is_open = len == WOLFSSL_SUCCESS;
        } else {
            len = wolfSSL_read(session->ssl, bytes, sizeof(bytes));
            if (len > 0) {
                (void)wolfSSL_write(session->ssl, bytes, len);
            }
        }
        if (len > 0) {
            continue;
        }
        switch (wolfSSL_get_error(session->ssl, len)) {
        case WOLFSSL_ERROR_WANT_READ:
        case WOLFSSL_ERROR_WANT_WRITE:
            return true;
        case WOLFSSL_ERROR_ZERO_RETURN:
            (void)wolfSSL_shutdown(session->ssl);
            return close_session(session);
        default:
            return close_session(session);
        }
    }
}

static struct session *open_session(void)
{
    struct session *session = calloc(1, sizeof(*session));
    if (session == NULL || (session->ssl = wolfSSL_new(context)) == NULL) {
        abort();
    }
    return session;
}

/* ---- DTLS --------------------------------------------------------------------------------- */

static int send_datagram(WOLFSSL *ssl, char *data, int len, void *arg)
{
    const struct session *session = arg;
    (void)ssl;
    peer_datagram_send(&session->address, (const uint8_t *)data, (size_t)len);
    return len;
}

static int receive_datagram(WOLFSSL *ssl, char *data, int max, void *arg)
{
    struct session *session = arg;
    size_t len = session->len < (size_t)max ? session->len : (size_t)max;
    (void)ssl;
    if (len == 0) {
        return WOLFSSL_CBIO_ERR_WANT_READ;
    }
    memcpy(data, session->data, len);
    session->len = 0;
    return (int)len;
}

static int make_cookie(WOLFSSL *ssl, unsigned char *out, int max, void *arg)
{
    const struct session *session = arg;
    uint8_t digest[WC_SHA256_DIGEST_SIZE];
    int len = max < (int)sizeof(digest) ? max : (int)sizeof(digest);
    Hmac hmac;
    (void)ssl;
    if (wc_HmacInit(&hmac, NULL, INVALID_DEVID) != 0 ||
        wc_HmacSetKey(&hmac, WC_SHA256, cookie_key, sizeof(cookie_key)) != 0 ||
        wc_HmacUpdate(&hmac, (const uint8_t *)&session->address.sin_addr, 4) != 0 ||
        wc_HmacUpdate(&hmac, (const uint8_t *)&session->address.sin_port, 2) != 0 ||
        wc_HmacFinal(&hmac, digest) != 0) {
        return -1;
    }
    wc_HmacFree(&hmac);
    memcpy(out, digest, (size_t)len);
    return len;
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
    (void)association;
    if (len < 14 || data[0] != 22 || data[13] != 1) {
        return NULL; /* no ClientHello: the last words of one that is gone */
    }
    struct session *session = open_session();
    session->address = *from;
    wolfSSL_SetIOReadCtx(session->ssl, session);
    wolfSSL_SetIOWriteCtx(session->ssl, session);
    wolfSSL_SetCookieCtx(session->ssl, session);
    wolfSSL_dtls_set_using_nonblock(session->ssl, 1);
    return next_datagram(session, data, len) ? session : NULL;
}

/* ---- TLS ---------------------------------------------------------------------------------- */

static void *begin_stream(int fd)
{
    struct session *session = open_session();
    (void)wolfSSL_set_fd(session->ssl, fd);
    wolfSSL_set_using_nonblock(session->ssl, 1);
    return session;
}

static bool next_stream(void *session)
{
    return advance(session);
}

static bool open_context(void)
{
    WC_RNG generator;
    context = wolfSSL_CTX_new(options.is_dtls ? wolfDTLSv1_2_server_method()
                                              : wolfTLSv1_2_server_method());
    if (context == NULL || wc_InitRng(&generator) != 0 ||
        wc_RNG_GenerateBlock(&generator, cookie_key, sizeof(cookie_key)) != 0 ||
        wolfSSL_CTX_set_cipher_list(context, "ECDHE-ECDSA-AES128-CCM-8:"
                                             "ECDHE-ECDSA-AES128-SHA256") != WOLFSSL_SUCCESS) {
        return false;
    }
    wc_FreeRng(&generator);
    wolfSSL_CTX_set_verify(context, WOLFSSL_VERIFY_PEER | WOLFSSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                           NULL);
    if (options.is_dtls) {
        wolfSSL_CTX_SetIORecv(context, receive_datagram);
        wolfSSL_CTX_SetIOSend(context, send_datagram);
        wolfSSL_CTX_SetGenCookie(context, make_cookie);
    }
    if (!options.is_resumable) {
        (void)wolfSSL_CTX_set_session_cache_mode(context, WOLFSSL_SESS_CACHE_OFF);
    }
    return wolfSSL_CTX_use_certificate_chain_file(context, options.certificate) ==
               WOLFSSL_SUCCESS &&
           wolfSSL_CTX_use_PrivateKey_file(context, options.key, WOLFSSL_FILETYPE_PEM) ==
               WOLFSSL_SUCCESS &&
           wolfSSL_CTX_load_verify_locations(context, options.client_ca, NULL) == WOLFSSL_SUCCESS;
}

int main(int argc, char **argv)
{
    static const struct peer_datagrams datagrams = {begin_datagram, next_datagram};
    static const struct peer_streams streams = {begin_stream, next_stream};
    peer_options_parse(&options, argc, argv);
    if (options.certificate == NULL || wolfSSL_Init() != WOLFSSL_SUCCESS || !open_context()) {
        fprintf(stderr, "wolfSSL does not start\n");
        return 1;
    }
    if (options.is_dtls) {
        peer_datagrams_run(&options, &datagrams);
    } else {
        peer_streams_run(&options, &streams);
    }
    return 0;
}
