/**
 * psk_client_hello.c - the hellos of the test client, and its readers and writers.
 */
#include "psk_client_parts.h"

#include <string.h>

enum {
    EXT_SERVER_NAME = 0,
    EXT_MAX_FRAGMENT_LENGTH = 1,
    EXT_STATUS_REQUEST = 5,
    EXT_SUPPORTED_GROUPS = 10,
    EXT_EC_POINT_FORMATS = 11,
    EXT_SIGNATURE_ALGORITHMS = 13,
    EXT_ALPN = 16,
    EXT_SIGNED_CERTIFICATE_TIMESTAMP = 18,
    EXT_CLIENT_CERTIFICATE_TYPE = 19,
    EXT_SERVER_CERTIFICATE_TYPE = 20,
    EXT_PADDING = 21,
    EXT_ENCRYPT_THEN_MAC = 22,
    EXT_EXTENDED_MASTER_SECRET = 23,
    EXT_COMPRESS_CERTIFICATE = 27,
    EXT_RECORD_SIZE_LIMIT = 28,
    EXT_SESSION_TICKET = 35,
    EXT_SUPPORTED_VERSIONS = 43,
    EXT_PSK_KEY_EXCHANGE_MODES = 45,
    EXT_KEY_SHARE = 51,
    EXT_RENEGOTIATION_INFO = 0xFF01,
};

void psk_put(struct psk_writer *writer, const void *data, size_t len)
{
    if (writer->is_full || len > writer->max - writer->len) {
        writer->is_full = true;
        return;
    }
    if (len > 0) {
        memcpy(writer->data + writer->len, data, len);
    }
    writer->len += len;
}

void psk_store(uint8_t *data, uint64_t value, size_t len)
{
    while (len-- > 0) {
        data[len] = (uint8_t)value;
        value >>= 8;
    }
}

uint64_t psk_load(const uint8_t *data, size_t len)
{
    uint64_t value = 0;
    for (size_t i = 0; i < len; i++) {
        value = value << 8 | data[i];
    }
    return value;
}

void psk_put_number(struct psk_writer *writer, uint64_t value, size_t len)
{
    uint8_t bytes[8];
    psk_store(bytes, value, len);
    psk_put(writer, bytes, len);
}

size_t psk_open(struct psk_writer *writer, size_t prefix_len)
{
    psk_put_number(writer, 0, prefix_len);
    return writer->len;
}

void psk_close(struct psk_writer *writer, size_t mark, size_t prefix_len)
{
    if (!writer->is_full) {
        psk_store(writer->data + mark - prefix_len, writer->len - mark, prefix_len);
    }
}

struct hf_bytes psk_get(struct psk_reader *reader, size_t len)
{
    struct hf_bytes bytes = {NULL, 0};
    if (reader->is_short || len > reader->len) {
        reader->is_short = true;
        return bytes;
    }
    bytes.data = reader->data;
    bytes.len = len;
    reader->data += len;
    reader->len -= len;
    return bytes;
}

uint64_t psk_get_number(struct psk_reader *reader, size_t len)
{
    struct hf_bytes bytes = psk_get(reader, len);
    return psk_load(bytes.data, bytes.len);
}

static void put_empty_extension(struct psk_writer *writer, uint16_t type)
{
    psk_put_number(writer, type, 2);
    psk_put_number(writer, 0, 2);
}

static void put_extension(struct psk_writer *writer, uint16_t type, const void *data, size_t len)
{
    psk_put_number(writer, type, 2);
    psk_put_number(writer, len, 2);
    psk_put(writer, data, len);
}

static void put_server_name(struct psk_writer *writer, const char *name)
{
    psk_put_number(writer, EXT_SERVER_NAME, 2);
    size_t extension = psk_open(writer, 2);
    size_t list = psk_open(writer, 2);
    psk_put_number(writer, 0, 1); /* host_name */
    size_t host = psk_open(writer, 2);
    psk_put(writer, name, strlen(name));
    psk_close(writer, host, 2);
    psk_close(writer, list, 2);
    psk_close(writer, extension, 2);
}

/* What a browser of 2025 would say besides: everything here must be passed over by the server. */
static void put_modern(struct psk_writer *writer, const struct psk_client *client)
{
    static const uint8_t groups[] = {0, 6, 0x2A, 0x2A, 0, 0x1D, 0, 0x17};
    static const uint8_t points[] = {1, 0};
    static const uint8_t algorithms[] = {0, 6, 0x04, 0x03, 0x08, 0x04, 0x04, 0x01};
    static const uint8_t alpn[] = {0, 12, 2, 'h', '2', 8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
    static const uint8_t status[] = {1, 0, 0, 0, 0};
    static const uint8_t compress[] = {2, 0, 2};
    static const uint8_t modes[] = {1, 1};
    static const uint8_t tls_versions[] = {6, 0x4A, 0x4A, 0x03, 0x04, 0x03, 0x03};
    static const uint8_t dtls_versions[] = {6, 0x4A, 0x4A, 0xFE, 0xFC, 0xFE, 0xFD};
    put_empty_extension(writer, 0x1A1A);
    put_extension(writer, EXT_SUPPORTED_GROUPS, groups, sizeof(groups));
    put_extension(writer, EXT_EC_POINT_FORMATS, points, sizeof(points));
    put_extension(writer, EXT_SIGNATURE_ALGORITHMS, algorithms, sizeof(algorithms));
    put_extension(writer, EXT_ALPN, alpn, sizeof(alpn));
    put_extension(writer, EXT_STATUS_REQUEST, status, sizeof(status));
    put_empty_extension(writer, EXT_SIGNED_CERTIFICATE_TIMESTAMP);
    put_extension(writer, EXT_COMPRESS_CERTIFICATE, compress, sizeof(compress));
    put_empty_extension(writer, EXT_SESSION_TICKET);
    put_extension(writer, EXT_PSK_KEY_EXCHANGE_MODES, modes, sizeof(modes));
    put_extension(writer, EXT_SUPPORTED_VERSIONS,
                  client->config.is_dtls ? dtls_versions : tls_versions, sizeof(tls_versions));
    psk_put_number(writer, EXT_KEY_SHARE, 2);
    size_t share = psk_open(writer, 2);
    size_t list = psk_open(writer, 2);
    static const uint8_t grease[] = {0x2A, 0x2A, 0, 1, 0, 0, 0x1D, 0, 32};
    psk_put(writer, grease, sizeof(grease));
    psk_put(writer, client->client_random, 32); /* any 32 bytes are an X25519 share */
    psk_close(writer, list, 2);
    psk_close(writer, share, 2);
    static const uint8_t zero[] = {0};
    put_extension(writer, 0x3A3A, zero, 1);
}

static void put_padding(struct psk_writer *writer, uint16_t len)
{
    psk_put_number(writer, EXT_PADDING, 2);
    size_t mark = psk_open(writer, 2);
    for (uint16_t i = 0; i < len; i++) {
        psk_put_number(writer, 0, 1);
    }
    psk_close(writer, mark, 2);
}

static void put_extensions(struct psk_writer *writer, const struct psk_client *client)
{
    const struct psk_client_config *config = &client->config;
    size_t before = writer->len;
    size_t block = psk_open(writer, 2);
    if (config->server_name != NULL) {
        put_server_name(writer, config->server_name);
    }
    if (config->max_fragment_length != 0) {
        put_extension(writer, EXT_MAX_FRAGMENT_LENGTH, &config->max_fragment_length, 1);
    }
    if (config->record_size_limit != 0) {
        uint8_t limit[2];
        psk_store(limit, config->record_size_limit, 2);
        put_extension(writer, EXT_RECORD_SIZE_LIMIT, limit, 2);
    }
    if (config->renegotiation == PSK_CLIENT_RENEGOTIATION_EXTENSION) {
        static const uint8_t empty[] = {0};
        put_extension(writer, EXT_RENEGOTIATION_INFO, empty, 1);
    }
    if (config->extended_master_secret) {
        put_empty_extension(writer, EXT_EXTENDED_MASTER_SECRET);
    }
    if (config->encrypt_then_mac) {
        put_empty_extension(writer, EXT_ENCRYPT_THEN_MAC);
    }
    if (config->grease_and_13) {
        put_modern(writer, client);
    } else {
        psk_certificate_extensions(writer, client);
    }
    psk_cid_extensions(writer, client);
    psk_session_extension(writer, client);
    psk_put(writer, config->extensions.data, config->extensions.len);
    if (config->padding_len != 0) {
        put_padding(writer, config->padding_len);
    }
    psk_close(writer, block, 2);
    if (writer->len == block) {
        writer->len = before; /* nothing to say: no block */
    }
}

static void put_suites(struct psk_writer *writer, const struct psk_client_config *config)
{
    size_t list = psk_open(writer, 2);
    if (config->grease_and_13) {
        static const uint8_t modern[] = {0x0A, 0x0A, 0x13, 0x01, 0x13, 0x03};
        psk_put(writer, modern, sizeof(modern));
    }
    for (size_t i = 0; i < config->suite_count; i++) {
        psk_put_number(writer, config->suites[i], 2);
    }
    bool has_extension =
        config->renegotiation == PSK_CLIENT_RENEGOTIATION_EXTENSION && !config->no_extensions;
    if (config->renegotiation != PSK_CLIENT_RENEGOTIATION_NONE && !has_extension) {
        psk_put_number(writer, 0x00FF, 2);
    }
    if (config->fallback_scsv) {
        psk_put_number(writer, 0x5600, 2);
    }
    psk_close(writer, list, 2);
}

size_t psk_hello_build(const struct psk_client *client, uint8_t *message)
{
    const struct psk_client_config *config = &client->config;
    struct psk_writer writer = {message, 0, PSK_MESSAGE_OUT_MAX, false};
    psk_put_number(&writer, PSK_CLIENT_HELLO, 1);
    size_t body = psk_open(&writer, 3);
    uint16_t version = config->is_dtls ? 0xFEFD : 0x0303;
    psk_put_number(&writer, config->client_version != 0 ? config->client_version : version, 2);
    psk_put(&writer, client->client_random, HF_RANDOM_LEN);
    psk_session_offer(&writer, client);
    if (config->is_dtls) {
        psk_put_number(&writer, config->work->cookie_len, 1);
        psk_put(&writer, config->work->cookie, config->work->cookie_len);
    }
    put_suites(&writer, config);
    static const uint8_t null_compression[] = {1, 0};
    psk_put(&writer, null_compression, 2);
    if (!config->no_extensions) {
        put_extensions(&writer, client);
    }
    psk_close(&writer, body, 3);
    PSK_CHECK(!writer.is_full);
    return writer.len;
}

static bool is_in(struct hf_bytes list, uint8_t value)
{
    return list.len > 0 && memchr(list.data, value, list.len) != NULL;
}

/* One extension of a ServerHello: gives false when it was not asked for or makes no sense. */
static bool take_extension(struct psk_client *client, uint16_t type, struct hf_bytes body)
{
    const struct psk_client_config *config = &client->config;
    switch (type) {
    case EXT_SERVER_NAME:
        client->is_name_acknowledged = true;
        return config->server_name != NULL && body.len == 0;
    case EXT_MAX_FRAGMENT_LENGTH:
        if (body.len != 1 || body.data[0] != config->max_fragment_length) {
            return false;
        }
        client->max_fragment_length = body.data[0];
        return body.data[0] != 0;
    case EXT_RECORD_SIZE_LIMIT:
        if (body.len != 2 || config->record_size_limit == 0) {
            return false;
        }
        client->record_size_limit = (uint16_t)psk_load(body.data, 2);
        return client->record_size_limit >= 64;
    case EXT_ENCRYPT_THEN_MAC:
        client->is_etm = true;
        return config->encrypt_then_mac && body.len == 0;
    case EXT_EXTENDED_MASTER_SECRET:
        client->is_ems = true;
        return config->extended_master_secret && body.len == 0;
    case EXT_RENEGOTIATION_INFO:
        client->is_renegotiation_info = true;
        return config->renegotiation != PSK_CLIENT_RENEGOTIATION_NONE && body.len == 1 &&
               body.data[0] == 0;
    case EXT_SESSION_TICKET:
        client->is_ticket_promised = true;
        return (config->grease_and_13 || config->tickets) && body.len == 0;
    case EXT_EC_POINT_FORMATS:
        return config->grease_and_13 || psk_certificate_is_suite(config->suites[0]);
    case EXT_CLIENT_CERTIFICATE_TYPE:
        client->has_client_type = true;
        client->client_type = body.len == 1 ? body.data[0] : 255;
        return is_in(config->client_types, client->client_type);
    case EXT_SERVER_CERTIFICATE_TYPE:
        client->has_server_type = true;
        client->server_type = body.len == 1 ? body.data[0] : 255;
        return is_in(config->server_types, client->server_type);
    default:
        return psk_cid_take_extension(client, type, body);
    }
}

static enum hf_cipher cipher_of(uint16_t suite, bool is_etm)
{
    switch (suite) {
    case 0x00A8:
    case 0xC02B:
        return HF_CIPHER_AES_128_GCM;
    case 0x00AE:
    case 0xC023:
        return is_etm ? HF_CIPHER_AES_128_CBC_SHA256_ETM : HF_CIPHER_AES_128_CBC_SHA256;
    case 0xC0A4:
    case 0xC0AC:
        return HF_CIPHER_AES_128_CCM;
    case 0xC0A8:
    case 0xC0AE:
        return HF_CIPHER_AES_128_CCM_8;
    default:
        return HF_CIPHER_NONE;
    }
}

static bool is_offered(const struct psk_client_config *config, uint16_t suite)
{
    for (size_t i = 0; i < config->suite_count; i++) {
        if (config->suites[i] == suite) {
            return true;
        }
    }
    return false;
}

static bool parse_extensions(struct psk_client_out *out, struct psk_reader *reader)
{
    struct psk_reader block = {NULL, 0, false};
    block.len = (size_t)psk_get_number(reader, 2);
    block.data = psk_get(reader, block.len).data;
    if (reader->is_short || reader->len != 0) {
        psk_client_fail(out, PSK_ALERT_DECODE_ERROR, "malformed ServerHello extensions");
        return false;
    }
    while (block.len > 0) {
        uint16_t type = (uint16_t)psk_get_number(&block, 2);
        struct hf_bytes body = psk_get(&block, (size_t)psk_get_number(&block, 2));
        if (block.is_short) {
            psk_client_fail(out, PSK_ALERT_DECODE_ERROR, "malformed ServerHello extension");
            return false;
        }
        if (!take_extension(out->client, type, body)) {
            psk_client_fail(out, PSK_ALERT_UNSUPPORTED_EXTENSION,
                            "ServerHello extension that was not asked for or is malformed");
            return false;
        }
    }
    return true;
}

bool psk_hello_parse(struct psk_client_out *out, const uint8_t *body, size_t len)
{
    struct psk_client *client = out->client;
    struct psk_reader reader = {body, len, false};
    client->version = (uint16_t)psk_get_number(&reader, 2);
    struct hf_bytes random = psk_get(&reader, HF_RANDOM_LEN);
    client->session_id_len = (uint8_t)psk_get_number(&reader, 1);
    struct hf_bytes session_id = psk_get(&reader, client->session_id_len);
    client->suite = (uint16_t)psk_get_number(&reader, 2);
    uint64_t compression = psk_get_number(&reader, 1);
    if (reader.is_short || client->session_id_len > 32) {
        psk_client_fail(out, PSK_ALERT_DECODE_ERROR, "malformed ServerHello");
        return false;
    }
    memcpy(client->server_random, random.data, HF_RANDOM_LEN);
    memcpy(client->session_id, session_id.data, session_id.len);
    if (client->version != (client->config.is_dtls ? 0xFEFD : 0x0303)) {
        psk_client_fail(out, PSK_ALERT_PROTOCOL_VERSION, "ServerHello chose another version");
        return false;
    }
    if (!is_offered(&client->config, client->suite) || compression != 0) {
        psk_client_fail(out, PSK_ALERT_ILLEGAL_PARAMETER, "ServerHello chose what was not offered");
        return false;
    }
    if (reader.len > 0 && !parse_extensions(out, &reader)) {
        return false;
    }
    client->is_certificate = psk_certificate_is_suite(client->suite);
    client->cipher = cipher_of(client->suite, client->is_etm);
    if (client->cipher == HF_CIPHER_NONE ||
        (client->is_etm && client->cipher != HF_CIPHER_AES_128_CBC_SHA256_ETM)) {
        psk_client_fail(out, PSK_ALERT_ILLEGAL_PARAMETER, "suite and encrypt-then-MAC disagree");
        return false;
    }
    if (client->max_fragment_length != 0 && client->record_size_limit != 0) {
        psk_client_fail(out, PSK_ALERT_ILLEGAL_PARAMETER, "both record size extensions answered");
        return false;
    }
    return true;
}
