/**
 * openssl_client.c - an ordinary client on OpenSSL: what a server costs under clients that are
 * slower than itself, and batch nothing. Mutual certificates; prints one line of JSON.
 *
 * Each handshake has a socket and an SSL of its own, `--in-flight` of them at once; when one is
 * open it is closed in order, and the next begins.
 */
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define IN_FLIGHT_MAX 1024
#define DEVICES_MAX 8192
#define TICK_MS 50
#define CLOSE_US 200000 /* a close_notify may get lost */
#define HANDSHAKE_US 20000000

struct slot {
    SSL *ssl;
    int fd;
    uint64_t begun_us, closing_us;
};

static struct {
    bool is_dtls;
    struct sockaddr_in server;
    const char *folder, *authority, *suite;
    unsigned in_flight;
    uint64_t count, warmup;
    int server_pid;
} options = {.in_flight = 64, .count = 2000, .warmup = 200};

static SSL_CTX *context;
static X509 *certificates[DEVICES_MAX];
static EVP_PKEY *keys[DEVICES_MAX];
static unsigned device_count;
static struct slot slots[IN_FLIGHT_MAX];
static int epoll_fd;
static uint64_t begun_count, open_count, ended_count, failed_count, latency_us_sum;

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

/* The time all threads of a process have had on a CPU. */
static uint64_t cpu_ns(int pid)
{
    char path[300];
    uint64_t sum = 0;
    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;) {
        unsigned long long ns = 0;
        snprintf(path, sizeof(path), "/proc/%d/task/%.16s/schedstat", pid, entry->d_name);
        FILE *file = fopen(path, "r");
        if (file != NULL) {
            sum += fscanf(file, "%llu", &ns) == 1 ? ns : 0;
            fclose(file);
        }
    }
    if (folder != NULL) {
        closedir(folder);
    }
    return sum;
}

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "openssl_client: %s: %s\n", what, strerror(errno));
    ERR_print_errors_fp(stderr);
    exit(1);
}

/* ---- setting up --------------------------------------------------------------------------- */

static void *read_pem(const char *suffix, unsigned number, bool is_key)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%u.%s", options.folder, number, suffix);
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return NULL;
    }
    void *read = is_key ? (void *)PEM_read_PrivateKey(file, NULL, NULL, NULL)
                        : (void *)PEM_read_X509(file, NULL, NULL, NULL);
    fclose(file);
    return read;
}

static void open_context(void)
{
    context = SSL_CTX_new(options.is_dtls ? DTLS_client_method() : TLS_client_method());
    char suites[128];
    snprintf(suites, sizeof(suites), "%s:@SECLEVEL=0", options.suite);
    if (context == NULL || SSL_CTX_set_cipher_list(context, suites) != 1 ||
        SSL_CTX_load_verify_file(context, options.authority) != 1) {
        die("context");
    }
    SSL_CTX_set_max_proto_version(context, options.is_dtls ? DTLS1_2_VERSION : TLS1_2_VERSION);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
    while (device_count < DEVICES_MAX) {
        certificates[device_count] = read_pem("pem", device_count, false);
        keys[device_count] = read_pem("key", device_count, true);
        if (certificates[device_count] == NULL || keys[device_count] == NULL) {
            break;
        }
        device_count++;
    }
    ERR_clear_error();
    if (device_count == 0) {
        die(options.folder);
    }
}

/* From an address of its own, so that neither side runs out of ports. */
static int open_socket(uint64_t number)
{
    int on = 1;
    int fd = socket(AF_INET, (options.is_dtls ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK, 0);
    uint32_t host = 0x7F010001u + ((uint32_t)(number / 250 % 250) << 8) + (uint32_t)(number % 250);
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr = {htonl(host)}};
    if (fd < 0 || bind(fd, (struct sockaddr *)&own, sizeof(own)) != 0) {
        die("socket");
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(fd, (struct sockaddr *)&options.server, sizeof(options.server)) != 0 &&
        errno != EINPROGRESS) {
        die("connect");
    }
    return fd;
}

/* ---- one handshake ------------------------------------------------------------------------ */

static void end_slot(struct slot *slot, bool is_good)
{
    SSL_free(slot->ssl);
    close(slot->fd);
    slot->ssl = NULL;
    ended_count += is_good;
    failed_count += !is_good;
}

static bool is_patient(const struct slot *slot, int result)
{
    int error = SSL_get_error(slot->ssl, result);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

static void advance(struct slot *slot)
{
    if (slot->closing_us == 0) {
        int result = SSL_do_handshake(slot->ssl);
        if (result != 1) {
            if (!is_patient(slot, result)) {
                ERR_clear_error();
                end_slot(slot, false);
            }
            return;
        }
        slot->closing_us = now_us();
        latency_us_sum += slot->closing_us - slot->begun_us;
        open_count++;
        (void)SSL_shutdown(slot->ssl);
    }
    int result = SSL_shutdown(slot->ssl);
    bool is_over = now_us() - slot->closing_us > CLOSE_US;
    if (result == 1 || is_over || !is_patient(slot, result)) {
        ERR_clear_error();
        end_slot(slot, true);
    }
}

static void begin_slot(struct slot *slot)
{
    uint64_t number = begun_count++;
    slot->ssl = SSL_new(context);
    slot->fd = open_socket(number);
    slot->begun_us = now_us();
    slot->closing_us = 0;
    if (slot->ssl == NULL ||
        SSL_use_certificate(slot->ssl, certificates[number % device_count]) != 1 ||
        SSL_use_PrivateKey(slot->ssl, keys[number % device_count]) != 1) {
        die("SSL");
    }
    if (options.is_dtls) {
        BIO *bio = BIO_new_dgram(slot->fd, BIO_NOCLOSE);
        BIO_ctrl(bio, BIO_CTRL_DGRAM_SET_CONNECTED, 0, &options.server);
        SSL_set_bio(slot->ssl, bio, bio);
    } else {
        SSL_set_fd(slot->ssl, slot->fd);
    }
    SSL_set_connect_state(slot->ssl);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data = {.ptr = slot}};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, slot->fd, &event) != 0) {
        die("epoll_ctl");
    }
    advance(slot);
}

static void tick(void)
{
    for (unsigned i = 0; i < options.in_flight; i++) {
        struct slot *slot = &slots[i];
        if (slot->ssl == NULL) {
            continue;
        }
        if (slot->closing_us == 0 && now_us() - slot->begun_us > HANDSHAKE_US) {
            end_slot(slot, false);
            continue;
        }
        if (options.is_dtls) {
            (void)DTLSv1_handle_timeout(slot->ssl);
        }
        advance(slot);
    }
}

/* Until so many have ended, with as many in flight as wanted. */
static void run(uint64_t until)
{
    struct epoll_event events[IN_FLIGHT_MAX];
    uint64_t ticked_us = now_us();
    while (ended_count < until && failed_count <= options.count / 10) {
        for (unsigned i = 0; i < options.in_flight; i++) {
            if (slots[i].ssl == NULL) {
                begin_slot(&slots[i]);
            }
        }
        int count = epoll_wait(epoll_fd, events, IN_FLIGHT_MAX, TICK_MS);
        for (int i = 0; i < count; i++) {
            struct slot *slot = events[i].data.ptr;
            if (slot->ssl != NULL) {
                advance(slot);
            }
        }
        if (now_us() - ticked_us > TICK_MS * 1000u) {
            ticked_us = now_us();
            tick();
        }
    }
}

static bool parse_server(char *text)
{
    char *colon = strrchr(text, ':');
    if (colon == NULL) {
        return false;
    }
    *colon = '\0';
    options.server.sin_family = AF_INET;
    options.server.sin_port = htons((uint16_t)atoi(colon + 1));
    return inet_pton(AF_INET, text, &options.server.sin_addr) == 1;
}

static bool take_option(const char *name, char *value)
{
    if (strcmp(name, "--dtls") == 0 || strcmp(name, "--tls") == 0) {
        options.is_dtls = name[2] == 'd';
        return parse_server(value);
    } else if (strcmp(name, "--certs") == 0) {
        options.folder = value;
    } else if (strcmp(name, "--ca") == 0) {
        options.authority = value;
    } else if (strcmp(name, "--suite") == 0) {
        options.suite = value;
    } else if (strcmp(name, "--in-flight") == 0) {
        options.in_flight = (unsigned)atoi(value);
        return options.in_flight >= 1 && options.in_flight <= IN_FLIGHT_MAX;
    } else if (strcmp(name, "--count") == 0) {
        options.count = strtoull(value, NULL, 10);
    } else if (strcmp(name, "--warmup") == 0) {
        options.warmup = strtoull(value, NULL, 10);
    } else if (strcmp(name, "--server-pid") == 0) {
        options.server_pid = atoi(value);
    } else {
        return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    bool is_good = argc % 2 == 1;
    for (int i = 1; is_good && i + 1 < argc; i += 2) {
        is_good = take_option(argv[i], argv[i + 1]);
    }
    if (!is_good || options.folder == NULL || options.authority == NULL || options.suite == NULL ||
        options.server_pid == 0 || options.server.sin_port == 0) {
        fprintf(stderr, "usage: openssl_client --dtls|--tls 127.0.0.1:PORT --certs FOLDER --ca FILE"
                        " --suite NAME\n                      --server-pid PID [--in-flight 64]"
                        " [--count 2000] [--warmup 200]\n");
        return 2;
    }
    open_context();
    epoll_fd = epoll_create1(0);
    run(options.warmup);
    uint64_t first = ended_count;
    uint64_t server_ns = cpu_ns(options.server_pid);
    uint64_t client_ns = cpu_ns(getpid());
    latency_us_sum = 0;
    open_count = 0;
    run(first + options.count);
    uint64_t completed = ended_count - first;
    double count = completed > 0 ? (double)completed : 1;
    server_ns = cpu_ns(options.server_pid) - server_ns;
    client_ns = cpu_ns(getpid()) - client_ns;
    printf("{\"bench\":\"openssl-client\",\"completed\":%llu,\"resumed\":0,\"failed\":%llu,"
           "\"server_us\":%.3f,\"client_us\":%.3f,\"mean_ms\":%.3f}\n",
           (unsigned long long)completed, (unsigned long long)failed_count,
           (double)server_ns / 1000 / count, (double)client_ns / 1000 / count,
           (double)latency_us_sum / 1000 / (double)(open_count + !open_count));
    return completed >= options.count ? 0 : 1;
}
