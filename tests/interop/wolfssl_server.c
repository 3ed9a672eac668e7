/**
 * wolfssl_server.c - a TLS/DTLS 1.2 server on wolfSSL 5.5 with a certificate, on a port of
 * 127.0.0.1 that it chooses: serves one association after another, gives back what it hears. A peer
 * for the interop matrix. Debian's wolfSSL has no suites with static pre-shared keys.
 *
 *     wolfssl_server tls|dtls SUITE CERT KEY CA none|id|ticket
 *
 * Prints "listening PORT", then for each association "connected VERSION SUITE full|resumed", and
 * "closed" once the client has said close_notify; "failed ..." ends an association, not the
 * program. Sessions are resumed by what the last argument says and no other way. Runs until it is
 * killed.
 */
#include <wolfssl/options.h>

#include <wolfssl/ssl.h>

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { TRANSPORT = 1, SUITE, CERT, KEY, CA, SESSIONS, ARGUMENT_COUNT };

static void server_tell(const char *what, int error)
{
    char text[WOLFSSL_MAX_ERROR_SZ] = "";

    wolfSSL_ERR_error_string((unsigned long)error, text);
    printf("failed %s: %d %s\n", what, error, text);
}

static void server_must(const char *what, bool is_good)
{
    if (!is_good) {
        server_tell(what, 0);
        exit(1);
    }
}

static WOLFSSL_CTX *server_context(char **argv, bool is_dtls)
{
    WOLFSSL_METHOD *method = is_dtls ? wolfDTLSv1_2_server_method() : wolfTLSv1_2_server_method();
    WOLFSSL_CTX *context = wolfSSL_CTX_new(method);

    server_must("context", context != NULL);
    server_must("suite", wolfSSL_CTX_set_cipher_list(context, argv[SUITE]) == WOLFSSL_SUCCESS);
    server_must("cert",
                wolfSSL_CTX_use_certificate_chain_file(context, argv[CERT]) == WOLFSSL_SUCCESS);
    server_must("key", wolfSSL_CTX_use_PrivateKey_file(context, argv[KEY], WOLFSSL_FILETYPE_PEM) ==
                           WOLFSSL_SUCCESS);
    server_must("ca",
                wolfSSL_CTX_load_verify_locations(context, argv[CA], NULL) == WOLFSSL_SUCCESS);
    wolfSSL_CTX_set_verify(context, WOLFSSL_VERIFY_PEER | WOLFSSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                           NULL);
    if (strcmp(argv[SESSIONS], "ticket") != 0) {
        server_must("tickets", wolfSSL_CTX_NoTicketTLSv12(context) == WOLFSSL_SUCCESS);
    }
    if (strcmp(argv[SESSIONS], "id") != 0) {
        (void)wolfSSL_CTX_set_session_cache_mode(context, WOLFSSL_SESS_CACHE_OFF);
    }
    return context;
}

/* A socket at `port` of 127.0.0.1; 0: any. The next one is bound before the last is closed. */
static int server_bind(uint16_t *port, bool is_dtls)
{
    const int on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(*port)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, is_dtls ? SOCK_DGRAM : SOCK_STREAM, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server_must("reuse", setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0);
    server_must("bind", bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
    server_must("listen", is_dtls || listen(fd, 8) == 0);
    server_must("port", getsockname(fd, (struct sockaddr *)&address, &len) == 0);
    *port = ntohs(address.sin_port);
    return fd;
}

/* Waits for whoever comes next; a datagram socket is his from then on. */
static int server_accept(int *listener, struct sockaddr_in *peer, uint16_t port, bool is_dtls)
{
    const struct timeval patience = {20, 0};
    socklen_t len = sizeof(*peer);
    char first;
    int fd;

    if (is_dtls) {
        server_must("peek",
                    recvfrom(*listener, &first, 1, MSG_PEEK, (struct sockaddr *)peer, &len) >= 0);
        fd = *listener;
        server_must("connect", connect(fd, (struct sockaddr *)peer, len) == 0);
        *listener = server_bind(&port, true);
    } else {
        fd = accept(*listener, (struct sockaddr *)peer, &len);
        server_must("accept", fd >= 0);
    }
    server_must("timeout",
                setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0);
    return fd;
}

static void server_echo(WOLFSSL *ssl)
{
    char data[16384];
    int len;

    while ((len = wolfSSL_read(ssl, data, sizeof(data))) > 0) {
        if (wolfSSL_write(ssl, data, len) != len) {
            server_tell("write", wolfSSL_get_error(ssl, 0));
            return;
        }
    }
    if (wolfSSL_get_error(ssl, len) != WOLFSSL_ERROR_ZERO_RETURN) {
        server_tell("read", wolfSSL_get_error(ssl, len));
        return;
    }
    (void)wolfSSL_shutdown(ssl);
    printf("closed\n");
}

int main(int argc, char **argv)
{
    uint16_t port = 0;

    if (argc != ARGUMENT_COUNT) {
        fprintf(stderr, "usage: wolfssl_server tls|dtls SUITE CERT KEY CA none|id|ticket\n");
        return 2;
    }
    bool is_dtls = strcmp(argv[TRANSPORT], "dtls") == 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    wolfSSL_Init();
    WOLFSSL_CTX *context = server_context(argv, is_dtls);
    int listener = server_bind(&port, is_dtls);
    printf("listening %u\n", port);
    for (;;) {
        struct sockaddr_in peer;
        WOLFSSL *ssl = wolfSSL_new(context);
        int fd = server_accept(&listener, &peer, port, is_dtls);

        server_must("new", ssl != NULL);
        server_must("fd", wolfSSL_set_fd(ssl, fd) == WOLFSSL_SUCCESS);
        server_must("peer",
                    !is_dtls || wolfSSL_dtls_set_peer(ssl, &peer, sizeof(peer)) == WOLFSSL_SUCCESS);
        int result = wolfSSL_accept(ssl);
        if (result == WOLFSSL_SUCCESS) {
            printf("connected %s %s %s\n", wolfSSL_get_version(ssl), wolfSSL_get_cipher(ssl),
                   wolfSSL_session_reused(ssl) ? "resumed" : "full");
            server_echo(ssl);
        } else {
            server_tell("handshake", wolfSSL_get_error(ssl, result));
        }
        wolfSSL_free(ssl);
        close(fd);
    }
}
