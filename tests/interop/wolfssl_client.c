/**
 * wolfssl_client.c - a TLS/DTLS 1.2 client on wolfSSL 5.5 with a certificate: one handshake, one
 * request, its answer, an orderly close. A peer for the interop matrix. Debian's wolfSSL has no
 * suites with static pre-shared keys.
 *
 *     wolfssl_client tls|dtls HOST PORT SUITE CERT KEY CA NAME TEXT [whatever|id|ticket]
 *
 * Prints "connected VERSION SUITE full|resumed", "answer TEXT" and "closed"; exits 0 only if all
 * three came about and the answer was TEXT again, unless whatever comes will do. With "id" or
 * "ticket" whatever comes will do, and all of it is done twice, by such a session the second time.
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

enum { TRANSPORT = 1, HOST, PORT, SUITE, CERT, KEY, CA, NAME, TEXT, HOW };

static _Noreturn void client_fail(const char *what, int error)
{
    char text[WOLFSSL_MAX_ERROR_SZ] = "";

    wolfSSL_ERR_error_string((unsigned long)error, text);
    printf("failed %s: %d %s\n", what, error, text);
    exit(1);
}

static void client_must(const char *what, bool is_good)
{
    if (!is_good) {
        client_fail(what, 0);
    }
}

static int client_connect(char **argv, bool is_dtls, struct sockaddr_in *peer)
{
    const struct timeval patience = {20, 0};
    int fd = socket(AF_INET, is_dtls ? SOCK_DGRAM : SOCK_STREAM, 0);

    memset(peer, 0, sizeof(*peer));
    peer->sin_family = AF_INET;
    peer->sin_port = htons((uint16_t)atoi(argv[PORT]));
    client_must("address", inet_pton(AF_INET, argv[HOST], &peer->sin_addr) == 1);
    client_must("connect", connect(fd, (struct sockaddr *)peer, sizeof(*peer)) == 0);
    client_must("timeout",
                setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0);
    return fd;
}

static WOLFSSL_CTX *client_context(char **argv, bool is_dtls)
{
    WOLFSSL_METHOD *method = is_dtls ? wolfDTLSv1_2_client_method() : wolfTLSv1_2_client_method();
    WOLFSSL_CTX *context = wolfSSL_CTX_new(method);

    client_must("context", context != NULL);
    client_must("suite", wolfSSL_CTX_set_cipher_list(context, argv[SUITE]) == WOLFSSL_SUCCESS);
    client_must("cert",
                wolfSSL_CTX_use_certificate_chain_file(context, argv[CERT]) == WOLFSSL_SUCCESS);
    client_must("key", wolfSSL_CTX_use_PrivateKey_file(context, argv[KEY], WOLFSSL_FILETYPE_PEM) ==
                           WOLFSSL_SUCCESS);
    client_must("ca",
                wolfSSL_CTX_load_verify_locations(context, argv[CA], NULL) == WOLFSSL_SUCCESS);
    wolfSSL_CTX_set_verify(context, WOLFSSL_VERIFY_PEER, NULL);
    return context;
}

static void client_exchange(WOLFSSL *ssl, const char *text, bool is_any)
{
    char answer[4096];
    int text_len = (int)strlen(text);

    if (wolfSSL_write(ssl, text, text_len) != text_len) {
        client_fail("write", wolfSSL_get_error(ssl, 0));
    }
    int len = wolfSSL_read(ssl, answer, sizeof(answer) - 1);
    if (len <= 0) {
        client_fail("read", wolfSSL_get_error(ssl, len));
    }
    answer[len] = '\0';
    printf("answer %s\n", answer);
    client_must("answer: not what was sent", is_any || strcmp(answer, text) == 0);
}

/* One association. `session`: to resume, or NULL. Gives its own. */
static WOLFSSL_SESSION *client_run(WOLFSSL_CTX *context, char **argv, const char *how,
                                   WOLFSSL_SESSION *session)
{
    struct sockaddr_in peer;
    bool is_dtls = strcmp(argv[TRANSPORT], "dtls") == 0;
    WOLFSSL *ssl = wolfSSL_new(context);

    client_must("new", ssl != NULL);
    int fd = client_connect(argv, is_dtls, &peer);
    if (is_dtls) {
        client_must("peer", wolfSSL_dtls_set_peer(ssl, &peer, sizeof(peer)) == WOLFSSL_SUCCESS);
    }
    client_must("name", wolfSSL_check_domain_name(ssl, argv[NAME]) == WOLFSSL_SUCCESS);
    client_must("fd", wolfSSL_set_fd(ssl, fd) == WOLFSSL_SUCCESS);
    client_must("ticket",
                strcmp(how, "ticket") != 0 || wolfSSL_UseSessionTicket(ssl) == WOLFSSL_SUCCESS);
    client_must("session", session == NULL || wolfSSL_set_session(ssl, session) == WOLFSSL_SUCCESS);
    int result = wolfSSL_connect(ssl);
    if (result != WOLFSSL_SUCCESS) {
        client_fail("handshake", wolfSSL_get_error(ssl, result));
    }
    printf("connected %s %s %s\n", wolfSSL_get_version(ssl), wolfSSL_get_cipher(ssl),
           wolfSSL_session_reused(ssl) ? "resumed" : "full");
    client_exchange(ssl, argv[TEXT], how[0] != '\0');
    WOLFSSL_SESSION *mine = wolfSSL_get1_session(ssl);
    (void)wolfSSL_shutdown(ssl);
    printf("closed\n");
    wolfSSL_free(ssl);
    close(fd);
    return mine;
}

int main(int argc, char **argv)
{
    WOLFSSL_SESSION *session = NULL;

    if (argc != TEXT + 1 && argc != HOW + 1) {
        fprintf(stderr, "usage: wolfssl_client tls|dtls HOST PORT SUITE CERT KEY CA NAME TEXT "
                        "[whatever|id|ticket]\n");
        return 2;
    }
    const char *how = argc == HOW + 1 ? argv[HOW] : "";
    bool is_twice = strcmp(how, "id") == 0 || strcmp(how, "ticket") == 0;
    wolfSSL_Init();
    WOLFSSL_CTX *context = client_context(argv, strcmp(argv[TRANSPORT], "dtls") == 0);
    session = client_run(context, argv, how, NULL);
    if (is_twice) {
        wolfSSL_SESSION_free(client_run(context, argv, how, session));
    }
    wolfSSL_SESSION_free(session);
    wolfSSL_CTX_free(context);
    return 0;
}
