/**
 * memory_handshake.c - a handshake in memory: no socket, no thread, no clock. handfast is the
 * server; the client is Mbed TLS, because a handshake with oneself proves little. Two byte pipes
 * join them.
 *
 * What it shows: the turn, a key source that answers at once, events, the exporter, an orderly
 * close. It takes no arguments, prints what happens, and exits with 0 only if all of it did.
 */
#include <handfast/handfast.h>

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/ssl.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIPE_LEN_MAX 32768
#define TURNS_MAX 100
#define EXPORT_LEN 32

static const char IDENTITY[] = "sensor-7@in-cse.example";
static const char ENTITY[] = "/in-cse/Csensor7";
static const char LABEL[] = "EXPORTER-handfast-example";
static const uint8_t KEY[16] = {0x3a, 0x91, 0x5c, 0x07, 0xee, 0x42, 0x18, 0xbd,
                                0x60, 0xf3, 0x29, 0x8e, 0xd4, 0x15, 0x77, 0xca};

struct pipe {
    uint8_t data[PIPE_LEN_MAX];
    size_t len;
};

struct memory {
    struct pipe to_server, to_client;
    struct hf_engine *engine;
    hf_association_id association;
    uint64_t now_us; /* the engine has no clock: this one moves 1 ms a turn */
    bool is_established, is_closed;
    uint8_t exported[EXPORT_LEN]; /* by the engine */

    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context random;
    mbedtls_ssl_config config;
    mbedtls_ssl_context ssl;
    uint8_t client_exported[EXPORT_LEN]; /* by Mbed TLS */
};

static void must(bool is_good, const char *what)
{
    if (!is_good) {
        fprintf(stderr, "memory_handshake: failed: %s\n", what);
        exit(1);
    }
}

static struct hf_bytes bytes_of(const char *text)
{
    return (struct hf_bytes){(const uint8_t *)text, strlen(text)};
}

/* ---- the server: handfast ------------------------------------------------------------------- */

/* Called by the engine when a peer has named itself. We know the answer already, so we give it here
 * and now; it is queued and taken in the same turn. poll_udp_server.c shows the other way. */
static void request_key(struct hf_engine *engine, const struct hf_request *request, void *arg)
{
    (void)arg;
    struct hf_bytes known = bytes_of(IDENTITY);
    struct hf_answer answer = {.kind = HF_ANSWER_REFUSED};
    if (request->kind == HF_REQUEST_KEY && request->psk_identity.len == known.len &&
        memcmp(request->psk_identity.data, known.data, known.len) == 0) {
        answer.kind = HF_ANSWER_PSK;
        answer.framework = HF_FRAMEWORK_PROVISIONED_SYMMETRIC_KEY;
        answer.entity_kind = HF_ENTITY_AE;
        answer.secret = (struct hf_bytes){KEY, sizeof KEY};
        answer.entity_id = bytes_of(ENTITY);
        answer.context = 42; /* whatever we like: it comes back in every event */
    }
    (void)hf_engine_answer(engine, request->ticket, &answer);
}

static void server_open(struct memory *memory)
{
    struct hf_listener listener;
    struct hf_config config;
    const struct hf_key_source source = {.request = request_key};
    hf_listener_init(&listener, HF_TRANSPORT_TLS);
    hf_config_init(&config);
    config.associations_max = 1;
    config.handshakes_max = 1;
    config.stream_buffers_max = 1;
    config.events_max = 64;
    config.output_len_max = 65536;
    config.listeners = &listener;
    config.listener_count = 1;
    printf("engine: %zu KiB of address space\n", hf_config_memory(&config) / 1024);
    must(hf_engine_open(&memory->engine, &config, &source) == HF_OK, "hf_engine_open");

    /* A path is only a name here; over a network it is what getpeername() says. */
    const struct hf_path path = {{{0}, 0, 0, 0}, {{0}, 0, 0, 0}};
    hf_engine_begin_turn(memory->engine, memory->now_us, 0);
    must(hf_engine_accept(&memory->association, memory->engine, 0, &path, 0) == HF_OK,
         "hf_engine_accept");
    hf_engine_end_turn(memory->engine);
    hf_engine_run_jobs(memory->engine);
}

static void server_event(struct memory *memory, const struct hf_event *event)
{
    struct hf_association_info info;
    switch (event->kind) {
    case HF_EVENT_ESTABLISHED:
        must(hf_engine_association_info(&info, memory->engine, event->association) == HF_OK,
             "hf_engine_association_info");
        printf("server: established: %s, %s, context %" PRIu64 "\n", info.entity_id,
               hf_suite_name(info.suite), info.context);
        must(hf_engine_export(memory->exported, EXPORT_LEN, memory->engine, event->association,
                              bytes_of(LABEL), NULL) == HF_OK,
             "hf_engine_export");
        memory->is_established = true;
        return;
    case HF_EVENT_DATA:
        printf("server: received \"%.*s\"\n", (int)event->data.len, (const char *)event->data.data);
        must(hf_engine_send(memory->engine, event->association, bytes_of("pong")) == HF_OK,
             "hf_engine_send");
        return;
    case HF_EVENT_PEER_CLOSED: /* we have nothing more to say either */
        hf_engine_close_association(memory->engine, event->association, HF_CLOSE_NOTIFY);
        return;
    case HF_EVENT_CLOSED:
        printf("server: closed: %s\n", hf_status_text(event->failure.status));
        memory->is_closed = true;
        return;
    case HF_EVENT_HANDSHAKE_FAILED:
        must(false, hf_status_text(event->failure.status));
        return;
    case HF_EVENT_READABLE:
    case HF_EVENT_KEYLOG:
    case HF_EVENT_MOVED:
    case HF_EVENT_SESSION:
    default:
        return;
    }
}

/* One turn: input, answers, events, output - in this order. */
static void server_turn(struct memory *memory)
{
    struct hf_event event;
    struct hf_output output;
    size_t consumed = 0;
    struct pipe *in = &memory->to_server, *out = &memory->to_client;
    memory->now_us += 1000;
    hf_engine_begin_turn(memory->engine, memory->now_us, 0);
    if (in->len > 0)
        (void)hf_engine_receive_stream(memory->engine, &consumed, memory->association, in->data,
                                       in->len);
    hf_engine_end_turn(memory->engine);
    hf_engine_run_jobs(memory->engine);
    while (hf_engine_take_event(memory->engine, &event)) /* views into in->data: */
        server_event(memory, &event);
    memmove(in->data, in->data + consumed, in->len - consumed); /* only now it may change */
    in->len -= consumed;
    while (hf_engine_take_output(memory->engine, &output)) {
        must(out->len + output.data.len <= PIPE_LEN_MAX, "the pipe holds an answer");
        memcpy(out->data + out->len, output.data.data, output.data.len);
        out->len += output.data.len;
    }
}

/* ---- the client: Mbed TLS ------------------------------------------------------------------- */

static int client_send(void *arg, const unsigned char *data, size_t len)
{
    struct pipe *pipe = &((struct memory *)arg)->to_server;
    size_t part = PIPE_LEN_MAX - pipe->len < len ? PIPE_LEN_MAX - pipe->len : len;
    memcpy(pipe->data + pipe->len, data, part);
    pipe->len += part;
    return part > 0 ? (int)part : MBEDTLS_ERR_SSL_WANT_WRITE;
}

static int client_receive(void *arg, unsigned char *data, size_t len)
{
    struct pipe *pipe = &((struct memory *)arg)->to_client;
    size_t part = pipe->len < len ? pipe->len : len;
    if (part == 0)
        return MBEDTLS_ERR_SSL_WANT_READ;
    memcpy(data, pipe->data, part);
    memmove(pipe->data, pipe->data + part, pipe->len - part);
    pipe->len -= part;
    return (int)part;
}

/* Mbed TLS shows the master secret here: enough to compute what an exporter gives (RFC 5705 4). */
static int client_keys(void *arg, const unsigned char *master_secret, const unsigned char *keys,
                       size_t mac_len, size_t key_len, size_t iv_len,
                       const unsigned char client_random[32], const unsigned char server_random[32],
                       mbedtls_tls_prf_types prf)
{
    struct memory *memory = arg;
    uint8_t seed[64];
    (void)keys, (void)mac_len, (void)key_len, (void)iv_len;
    memcpy(seed, client_random, 32);
    memcpy(seed + 32, server_random, 32);
    return mbedtls_ssl_tls_prf(prf, master_secret, 48, LABEL, seed, sizeof seed,
                               memory->client_exported, EXPORT_LEN);
}

static void client_open(struct memory *memory)
{
    static const int suites[] = {MBEDTLS_TLS_PSK_WITH_AES_128_CBC_SHA256, 0};
    mbedtls_ssl_config *config = &memory->config;
    mbedtls_entropy_init(&memory->entropy);
    mbedtls_ctr_drbg_init(&memory->random);
    mbedtls_ssl_config_init(config);
    mbedtls_ssl_init(&memory->ssl);
    must(mbedtls_ctr_drbg_seed(&memory->random, mbedtls_entropy_func, &memory->entropy, NULL, 0) ==
                 0 &&
             mbedtls_ssl_config_defaults(config, MBEDTLS_SSL_IS_CLIENT,
                                         MBEDTLS_SSL_TRANSPORT_STREAM,
                                         MBEDTLS_SSL_PRESET_DEFAULT) == 0,
         "Mbed TLS starts");
    mbedtls_ssl_conf_rng(config, mbedtls_ctr_drbg_random, &memory->random);
    mbedtls_ssl_conf_ciphersuites(config, suites);
    mbedtls_ssl_conf_export_keys_ext_cb(config, client_keys, memory);
    must(mbedtls_ssl_conf_psk(config, KEY, sizeof KEY, (const unsigned char *)IDENTITY,
                              strlen(IDENTITY)) == 0 &&
             mbedtls_ssl_setup(&memory->ssl, config) == 0,
         "Mbed TLS takes its settings");
    mbedtls_ssl_set_bio(&memory->ssl, memory, client_send, client_receive, NULL);
}

static int client_read(mbedtls_ssl_context *ssl)
{
    unsigned char text[64];
    int result = mbedtls_ssl_read(ssl, text, sizeof text);
    if (result > 0)
        printf("client: received \"%.*s\"\n", result, (const char *)text);
    return result;
}

/* Does one step of the client; as long as that waits for the server, gives the server a turn. */
static int client_run(struct memory *memory, int (*step)(mbedtls_ssl_context *ssl))
{
    int result = step(&memory->ssl);
    for (int turn = 0; result == MBEDTLS_ERR_SSL_WANT_READ && turn < TURNS_MAX; turn++) {
        server_turn(memory);
        result = step(&memory->ssl);
    }
    return result;
}

static void client_close(struct memory *memory)
{
    mbedtls_ssl_free(&memory->ssl);
    mbedtls_ssl_config_free(&memory->config);
    mbedtls_ctr_drbg_free(&memory->random);
    mbedtls_entropy_free(&memory->entropy);
}

int main(void)
{
    static struct memory memory;
    server_open(&memory);
    client_open(&memory);

    must(client_run(&memory, mbedtls_ssl_handshake) == 0, "the handshake");
    printf("client: established: %s\n", mbedtls_ssl_get_ciphersuite(&memory.ssl));
    must(memory.is_established, "both ends agree that it is established");
    must(memcmp(memory.exported, memory.client_exported, EXPORT_LEN) == 0,
         "both ends export the same keying material");
    printf("both export the same %d bytes\n", EXPORT_LEN);

    must(mbedtls_ssl_write(&memory.ssl, (const unsigned char *)"ping", 4) == 4, "sending");
    must(client_run(&memory, client_read) == 4, "the answer");
    must(mbedtls_ssl_close_notify(&memory.ssl) == 0, "close_notify");
    must(client_run(&memory, client_read) == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY,
         "the server's close_notify");
    must(memory.is_closed, "the server's association is gone");

    client_close(&memory);
    hf_engine_close(memory.engine);
    return 0;
}
