/**
 * gnutls_server.c - a plain one-thread PSK server on GnuTLS, to compare with.
 */
#include "peer.h"

#include <errno.h>
#include <gnutls/dtls.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct session {
    gnutls_session_t tls;
    int fd;
    bool is_open;
    bool is_closed; /* the peer's end of the stream is shut */
    const struct peer_association *association;
    const uint8_t *data; /* the datagram or piece of stream at hand */
    size_t len;
};

static struct peer_options options;
static gnutls_psk_server_credentials_t credentials;
static gnutls_certificate_credentials_t certificates;
static gnutls_datum_t ticket_key;
static gnutls_priority_t priority;
static gnutls_datum_t cookie_key;

static int find_psk(gnutls_session_t tls, const char *identity, gnutls_datum_t *out)
{
    const struct peer_key *key = peer_key_find(&options.keys, identity);
    (void)tls;
    if (key == NULL) {
        return -1;
    }
    out->size = (unsigned)key->psk_len;
    out->data = gnutls_malloc(key->psk_len);
    memcpy(out->data, key->psk, key->psk_len);
    return 0;
}

static struct session *open_session(unsigned flags)
{
    struct session *session = calloc(1, sizeof(*session));
    flags |= options.is_resumable ? 0 : GNUTLS_NO_TICKETS;
    if (session == NULL ||
        gnutls_init(&session->tls, GNUTLS_SERVER | GNUTLS_NONBLOCK | flags) < 0) {
        abort();
    }
    gnutls_priority_set(session->tls, priority);
    if (certificates == NULL) {
        gnutls_credentials_set(session->tls, GNUTLS_CRD_PSK, credentials);
        return session;
    }
    gnutls_credentials_set(session->tls, GNUTLS_CRD_CERTIFICATE, certificates);
    gnutls_certificate_server_set_request(session->tls, GNUTLS_CERT_REQUIRE);
    gnutls_session_set_verify_cert(session->tls, NULL, 0);
    if (options.is_resumable) {
        gnutls_session_ticket_enable_server(session->tls, &ticket_key);
    }
    return session;
}

static bool close_session(struct session *session)
{
    gnutls_deinit(session->tls);
    free(session);
    return false;
}

/* Goes on as far as the input reaches; false: freed. */
static bool advance(struct session *session)
{
    if (!session->is_open) {
        int status = gnutls_handshake(session->tls);
        if (status < 0) {
            return gnutls_error_is_fatal(status) ? close_session(session) : true;
        }
        session->is_open = true;
    }
    for (;;) {
        uint8_t bytes[4096];
        ssize_t len = gnutls_record_recv(session->tls, bytes, sizeof(bytes));
        if (len > 0) {
            (void)gnutls_record_send(session->tls, bytes, (size_t)len);
        } else if (len == 0) {
            (void)gnutls_bye(session->tls, GNUTLS_SHUT_WR);
            return close_session(session);
        } else {
            return gnutls_error_is_fatal((int)len) ? close_session(session) : true;
        }
    }
}

/* ---- DTLS --------------------------------------------------------------------------------- */

static ssize_t push_datagram(gnutls_transport_ptr_t arg, const void *data, size_t len)
{
    const struct session *session = arg;
    peer_datagram_send(&session->association->address, data, len);
    return (ssize_t)len;
}

static ssize_t push_cookie(gnutls_transport_ptr_t arg, const void *data, size_t len)
{
    peer_datagram_send(arg, data, len);
    return (ssize_t)len;
}

static ssize_t pull_datagram(gnutls_transport_ptr_t arg, void *data, size_t max)
{
    struct session *session = arg;
    size_t len = session->len < max ? session->len : max;
    if (len == 0) {
        errno = EAGAIN;
        return -1;
    }
    memcpy(data, session->data, len);
    session->len = 0;
    return (ssize_t)len;
}

static int pull_timeout(gnutls_transport_ptr_t arg, unsigned ms)
{
    const struct session *session = arg;
    (void)ms;
    return session->len > 0;
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
    gnutls_dtls_prestate_st prestate;
    struct {
        struct in_addr ip;
        in_port_t port;
    } client = {from->sin_addr, from->sin_port};
    memset(&prestate, 0, sizeof(prestate));
    if (gnutls_dtls_cookie_verify(&cookie_key, &client, sizeof(client.ip) + sizeof(client.port),
                                  data, len, &prestate) < 0) {
        struct sockaddr_in to = *from;
        (void)gnutls_dtls_cookie_send(&cookie_key, &client, sizeof(client.ip) + sizeof(client.port),
                                      &prestate, &to, push_cookie);
        return NULL;
    }
    struct session *session = open_session(GNUTLS_DATAGRAM);
    session->association = association;
    gnutls_dtls_prestate_set(session->tls, &prestate);
    gnutls_dtls_set_mtu(session->tls, 1400);
    gnutls_transport_set_ptr(session->tls, session);
    gnutls_transport_set_push_function(session->tls, push_datagram);
    gnutls_transport_set_pull_function(session->tls, pull_datagram);
    gnutls_transport_set_pull_timeout_function(session->tls, pull_timeout);
    return next_datagram(session, data, len) ? session : NULL;
}

/* ---- TLS ---------------------------------------------------------------------------------- */

static ssize_t push_stream(gnutls_transport_ptr_t arg, const giovec_t *parts, int count)
{
    const struct session *session = arg;
    struct msghdr message = {.msg_iov = (struct iovec *)parts, .msg_iovlen = (size_t)count};
    return sendmsg(session->fd, &message, MSG_NOSIGNAL);
}

static ssize_t pull_stream(gnutls_transport_ptr_t arg, void *data, size_t max)
{
    struct session *session = arg;
    size_t len = session->len < max ? session->len : max;
    if (len == 0) {
        if (session->is_closed) {
            return 0;
        }
        errno = EAGAIN;
        return -1;
    }
    memcpy(data, session->data, len);
    session->data += len;
    session->len -= len;
    return (ssize_t)len;
}

static void *begin_stream(int fd)
{
    struct session *session = open_session(0);
    session->fd = fd;
    if (!options.is_reading_ahead) {
        gnutls_transport_set_int(session->tls, fd);
        return session;
    }
    gnutls_transport_set_ptr(session->tls, session);
    gnutls_transport_set_vec_push_function(session->tls, push_stream);
    gnutls_transport_set_pull_function(session->tls, pull_stream);
    gnutls_transport_set_pull_timeout_function(session->tls, pull_timeout);
    return session;
}

/* GnuTLS left to itself reads record headers and bodies one by one: ten calls per handshake. Read
 * ahead, it takes all it is offered, so one buffer serves every session. */
static bool next_stream(void *arg)
{
    static uint8_t bytes[17000];
    struct session *session = arg;
    ssize_t len;
    if (!options.is_reading_ahead) {
        return advance(session);
    }
    do {
        len = recv(session->fd, bytes, sizeof(bytes), 0);
        if (len < 0 && errno == EAGAIN) {
            return true;
        }
        session->is_closed = len <= 0;
        session->data = bytes;
        session->len = len > 0 ? (size_t)len : 0;
        if (!advance(session)) {
            return false;
        }
    } while (len == sizeof(bytes));
    return true;
}

static bool open_certificates(void)
{
    return gnutls_certificate_allocate_credentials(&certificates) >= 0 &&
           gnutls_certificate_set_x509_trust_file(certificates, options.client_ca,
                                                  GNUTLS_X509_FMT_PEM) > 0 &&
           gnutls_certificate_set_x509_key_file(certificates, options.certificate, options.key,
                                                GNUTLS_X509_FMT_PEM) >= 0 &&
           gnutls_session_ticket_key_generate(&ticket_key) >= 0;
}

int main(int argc, char **argv)
{
    static const struct peer_datagrams datagrams = {begin_datagram, next_datagram};
    static const struct peer_streams streams = {begin_stream, next_stream};
    static const char ciphers[] = "+PSK:+ECDHE-ECDSA:+GROUP-SECP256R1:"
                                  "+AES-128-CCM-8:+AES-128-CBC:+AES-128-GCM:+AES-128-CCM:"
                                  "+AEAD:+SHA256:+SIGN-ALL:+COMP-NULL";
    char text[256];
    peer_options_parse(&options, argc, argv);
    snprintf(text, sizeof(text), "NONE:%s:%s", options.is_dtls ? "+VERS-DTLS1.2" : "+VERS-TLS1.2",
             ciphers);
    if (gnutls_global_init() < 0 || gnutls_psk_allocate_server_credentials(&credentials) < 0 ||
        gnutls_priority_init(&priority, text, NULL) < 0 ||
        gnutls_key_generate(&cookie_key, GNUTLS_COOKIE_KEY_SIZE) < 0 ||
        (options.certificate != NULL && !open_certificates())) {
        fprintf(stderr, "GnuTLS does not start\n");
        return 1;
    }
    gnutls_psk_set_server_credentials_function(credentials, find_psk);
    if (options.is_dtls) {
        peer_datagrams_run(&options, &datagrams);
    } else {
        peer_streams_run(&options, &streams);
    }
    return 0;
}
