/**
 * connect_setup.c - `handfast connect`: keys, certificates and whom to believe, read from files;
 * the engine that goes by them.
 */
#include "connect.h"

#include "keylog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_LEN_MAX (16u << 20)

static bool fail(const char *what, const char *why)
{
    fprintf(stderr, "handfast: connect: %s: %s\n", what, why);
    return false;
}

/* A whole file, to be freed with drop_text(); no file: empty. */
static bool read_text(struct hf_bytes *out, const char *path)
{
    *out = (struct hf_bytes){NULL, 0};
    if (path == NULL)
        return true;
    FILE *file = fopen(path, "re");
    char *text = malloc(FILE_LEN_MAX);
    size_t len = file && text ? fread(text, 1, FILE_LEN_MAX, file) : 0;
    bool is_good = file && text && !ferror(file) && feof(file);
    if (!is_good)
        fail(path, errno ? strerror(errno) : "too long");
    if (file)
        (void)fclose(file);
    if (!is_good) {
        free(text);
        return false;
    }
    *out = (struct hf_bytes){(const uint8_t *)text, len};
    return true;
}

static void drop_text(struct hf_bytes *text)
{
    if (text->data)
        explicit_bzero((void *)(uintptr_t)text->data, text->len);
    free((void *)(uintptr_t)text->data);
    *text = (struct hf_bytes){NULL, 0};
}

/* ---- pre-shared keys ---- */

static void take_request(struct hf_engine *engine, const struct hf_request *request, void *arg)
{
    const struct hf_connect_session *session = arg;
    uint8_t scratch[HF_CREDENTIAL_ID_MAX];
    struct hf_answer answer = {.kind = HF_ANSWER_IDENTITY};
    if (request->kind == HF_REQUEST_KEY) {
        hf_keyfile_answer(&answer, scratch, session->keyfile, request->psk_identity);
        /* A key file names those who come with a key, which here is us. */
        answer.entity_id = (struct hf_bytes){NULL, 0};
        answer.entity_kind = HF_ENTITY_PENDING;
    }
    (void)hf_engine_answer(engine, request->ticket, &answer);
    explicit_bzero(&answer, sizeof(answer));
}

static void take_first(const struct hf_keyfile_difference *difference, void *arg)
{
    struct hf_connect_session *session = arg;
    size_t len = difference->psk_identity.len;
    if (len > sizeof(session->identity_bytes))
        return;
    memcpy(session->identity_bytes, difference->psk_identity.data, len);
    session->identity = (struct hf_bytes){session->identity_bytes, len};
}

static bool decode_hex(struct hf_connect_session *session, const char *text)
{
    size_t len = strlen(text);
    if (len % 2 != 0 || len / 2 > sizeof(session->identity_bytes))
        return false;
    for (size_t i = 0; i < len; i += 2) {
        char digits[3] = {text[i], text[i + 1], '\0'};
        char *end = NULL;
        session->identity_bytes[i / 2] = (uint8_t)strtoul(digits, &end, 16);
        if (*end != '\0')
            return false;
    }
    session->identity = (struct hf_bytes){session->identity_bytes, len / 2};
    return true;
}

static bool choose_identity(struct hf_connect_session *session)
{
    const char *identity = session->options->identity;
    struct hf_keyfile *none = NULL;
    char error[HF_KEYFILE_ERROR_MAX];
    if (identity != NULL && identity[0] == '#')
        return decode_hex(session, identity + 1) || fail("--identity", "not hexadecimal");
    if (identity != NULL) {
        session->identity = (struct hf_bytes){(const uint8_t *)identity, strlen(identity)};
        return identity[0] != '\0' || fail("--identity", "empty");
    }
    if (hf_keyfile_count(session->keyfile) != 1)
        return fail(session->options->psk_file, "not one key: --identity says which");
    if (hf_keyfile_open(&none, error, (struct hf_bytes){NULL, 0}) != HF_OK)
        return fail(session->options->psk_file, error);
    hf_keyfile_compare(none, session->keyfile, take_first, session);
    hf_keyfile_close(none);
    return session->identity.len > 0;
}

static bool open_keys(struct hf_connect_session *session)
{
    const char *path = session->options->psk_file;
    char error[HF_KEYFILE_ERROR_MAX];
    struct hf_bytes text;
    if (session->options->maf.fqdn != NULL)
        return hf_connect_order_key(session) && choose_identity(session);
    if (path == NULL)
        return true;
    if (!read_text(&text, path))
        return false;
    enum hf_status status = hf_keyfile_open(&session->keyfile, error, text);
    drop_text(&text);
    return status == HF_OK ? choose_identity(session) : fail(path, error);
}

/* ---- certificates and raw keys ---- */

static bool open_credential(struct hf_credential **out, const char *chain_path,
                            const char *key_path)
{
    struct hf_credential_source source = {0};
    const char *why = "";
    if (key_path == NULL)
        return true;
    bool is_good = read_text(&source.chain_pem, chain_path) && read_text(&source.key_pem, key_path);
    if (is_good && hf_credential_open(out, &why, &source) != HF_OK)
        is_good = fail(chain_path ? chain_path : key_path, why);
    drop_text(&source.chain_pem);
    drop_text(&source.key_pem);
    return is_good;
}

#define PIN_LEN_MAX (128 + HF_ENTITY_ID_MAX)

/* "sha-256;..." of a key, as hf_trust_source.raw_keys has it. */
static void print_pin(char out[PIN_LEN_MAX], const struct hf_credential *credential,
                      const char *entity_id)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const uint8_t *digest = hf_credential_key_digest(credential);
    char text[44] = {0};
    for (size_t i = 0; i < 43; i++) {
        uint32_t bits = 0;
        for (size_t bit = 6 * i; bit < 6 * i + 6; bit++)
            bits = bits << 1 | (bit < 256 ? (uint32_t)digest[bit / 8] >> (7 - bit % 8) & 1 : 0);
        text[i] = digits[bits];
    }
    snprintf(out, PIN_LEN_MAX, "sha-256;%s %s\n", text, entity_id);
}

/* The server's raw key: lines of digests, or the key itself. */
static bool read_pins(struct hf_bytes *out, const struct hf_connect_options *options)
{
    static const char begin[] = "-----BEGIN PUBLIC KEY-----";
    struct hf_credential *credential = NULL;
    const char *why = "";
    if (!read_text(out, options->server_rpk))
        return false;
    if (out->len < sizeof(begin) || memcmp(out->data, begin, sizeof(begin) - 1) != 0)
        return true;
    const struct hf_credential_source source = {.public_key_pem = *out, .remote = 1};
    enum hf_status status = hf_credential_open(&credential, &why, &source);
    char *pin = malloc(PIN_LEN_MAX);
    drop_text(out);
    if (status != HF_OK || pin == NULL) {
        free(pin);
        return fail(options->server_rpk, why);
    }
    print_pin(pin, credential, options->expect ? options->expect : "-");
    hf_credential_close(credential);
    *out = (struct hf_bytes){(const uint8_t *)pin, strlen(pin)};
    return true;
}

static bool open_trust(struct hf_connect_session *session)
{
    const struct hf_connect_options *options = session->options;
    struct hf_trust_source source;
    const char *why = "";
    if (options->ca == NULL && options->server_rpk == NULL)
        return true;
    hf_trust_source_init(&source);
    source.flavours = (uint8_t)options->flavour;
    bool is_good = read_text(&source.anchors_pem, options->ca) &&
                   read_text(&source.crls_pem, options->crl) &&
                   read_text(&source.names, options->names) && read_pins(&source.raw_keys, options);
    if (is_good && hf_trust_open(&session->trust, &why, &source) != HF_OK)
        is_good = fail(options->ca ? options->ca : options->server_rpk, why);
    drop_text(&source.anchors_pem);
    drop_text(&source.crls_pem);
    drop_text(&source.names);
    drop_text(&source.raw_keys);
    return is_good;
}

/* ---- the engine ---- */

static void fill_dialer(struct hf_dialer *dialer, const struct hf_connect_session *session)
{
    const struct hf_connect_options *options = session->options;
    hf_dialer_init(dialer, options->transport);
    dialer->reference_point = options->reference_point;
    dialer->x509 = session->x509;
    dialer->raw = session->raw;
    dialer->trust = session->trust;
    dialer->encrypt_then_mac = !options->is_etm_off;
    dialer->connection_id = options->connection_id;
    dialer->sessions = options->session_file != NULL;
    dialer->extended_master_secret_needed = options->is_ems_needed;
    dialer->max_fragment_len = options->max_fragment_len;
    if (options->datagram_len_max != 0)
        dialer->datagram_len_max = options->datagram_len_max;
    if (options->suite_count > 0) {
        memcpy(dialer->suites, options->suites, sizeof(dialer->suites));
        dialer->suite_count = options->suite_count;
    }
}

static bool open_engine(struct hf_connect_session *session)
{
    const struct hf_connect_options *options = session->options;
    const struct hf_key_source source = {.request = take_request, .arg = session};
    struct hf_dialer dialer;
    struct hf_config config;
    const char *why = "";
    fill_dialer(&dialer, session);
    hf_config_init(&config);
    config.associations_max = 32; /* one, and room for the longest of its names */
    config.handshakes_max = config.handshakes_pressure = 1;
    config.stream_buffers_max = 2;
    config.local_addresses_max = 1;
    config.identity_len_max = 1250;
    config.message_len_max = 16384;
    config.handshake_us_max = options->timeout_us;
    config.keylog = options->keylog != NULL;
    config.dialers = &dialer;
    config.dialer_count = 1;
    if (hf_config_check(&why, &config) != HF_OK)
        return fail("options", why);
    enum hf_status status = hf_engine_open(&session->engine, &config, &source);
    return status == HF_OK || fail("engine", hf_status_text(status));
}

/* No file is no session. What is in it is the engine's to judge. */
static bool read_session(struct hf_connect_session *session)
{
    const char *path = session->options->session_file;
    FILE *file = path ? fopen(path, "re") : NULL;
    if (file == NULL)
        return path == NULL || errno == ENOENT || fail(path, strerror(errno));
    session->session_len = fread(session->session, 1, sizeof(session->session), file);
    (void)fclose(file);
    return true;
}

void hf_connect_keep_session(const struct hf_connect_session *session, struct hf_bytes data)
{
    const char *path = session->options->session_file;
    int fd = path ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
    if (fd < 0 || write(fd, data.data, data.len) != (ssize_t)data.len)
        (void)fail(path ? path : "session", strerror(errno));
    if (fd >= 0)
        (void)close(fd);
}

void hf_connect_forget_session(const struct hf_connect_session *session)
{
    const char *path = session->options->session_file;
    if (path != NULL && unlink(path) != 0 && errno != ENOENT)
        (void)fail(path, strerror(errno));
}

bool hf_connect_open(struct hf_connect_session *session, const struct hf_connect_options *options)
{
    session->options = options;
    session->fd = session->keylog_fd = -1;
    if (options->keylog != NULL) {
        session->keylog_fd = hf_keylog_open(options->keylog);
        if (session->keylog_fd < 0)
            return fail(options->keylog, strerror(errno));
    }
    return read_session(session) && open_keys(session) &&
           open_credential(&session->x509, options->cert, options->key) &&
           open_credential(&session->raw, NULL, options->rpk_key) && open_trust(session) &&
           open_engine(session);
}

void hf_connect_close(struct hf_connect_session *session)
{
    hf_engine_close(session->engine);
    hf_keyfile_close(session->keyfile);
    hf_credential_close(session->x509);
    hf_credential_close(session->raw);
    hf_trust_close(session->trust);
    if (session->fd >= 0)
        (void)close(session->fd);
    if (session->keylog_fd >= 0)
        (void)close(session->keylog_fd);
    explicit_bzero(session->input, sizeof(session->input));
    explicit_bzero(session->session, sizeof(session->session));
}
