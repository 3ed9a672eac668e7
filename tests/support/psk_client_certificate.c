/**
 * psk_client_certificate.c - what the test client does where certificates or raw public keys take
 * the place of a pre-shared key: its extensions, the server's Certificate, ServerKeyExchange and
 * CertificateRequest, and its own answer to them. It believes any server whose ServerKeyExchange
 * verifies under the key it was told to expect.
 */
#include "psk_client_parts.h"

#include <string.h>

enum {
    EXT_SUPPORTED_GROUPS = 10,
    EXT_EC_POINT_FORMATS = 11,
    EXT_SIGNATURE_ALGORITHMS = 13,
    EXT_CLIENT_CERTIFICATE_TYPE = 19,
    EXT_SERVER_CERTIFICATE_TYPE = 20,
    TYPE_RAW = 2,
    PARAMETERS_LEN = 4 + HF_P256_POINT_LEN,
};

bool psk_certificate_is_suite(uint16_t suite)
{
    return suite == 0xC023 || suite == 0xC02B || suite == 0xC0AC || suite == 0xC0AE;
}

static void put_types(struct psk_writer *writer, uint16_t extension, struct hf_bytes types)
{
    if (types.len == 0) {
        return;
    }
    psk_put_number(writer, extension, 2);
    psk_put_number(writer, types.len + 1, 2);
    psk_put_number(writer, types.len, 1);
    psk_put(writer, types.data, types.len);
}

void psk_certificate_extensions(struct psk_writer *writer, const struct psk_client *client)
{
    static const uint8_t fixed[] = {
        0, EXT_SUPPORTED_GROUPS,     0, 4, 0, 2, 0, 23, 0, EXT_EC_POINT_FORMATS, 0, 2, 1, 0,
        0, EXT_SIGNATURE_ALGORITHMS, 0, 4, 0, 2, 4, 3};
    bool is_any = false;
    for (size_t i = 0; i < client->config.suite_count; i++) {
        is_any |= psk_certificate_is_suite(client->config.suites[i]);
    }
    if (!is_any) {
        return;
    }
    psk_put(writer, fixed, sizeof(fixed));
    put_types(writer, EXT_CLIENT_CERTIFICATE_TYPE, client->config.client_types);
    put_types(writer, EXT_SERVER_CERTIFICATE_TYPE, client->config.server_types);
}

static bool verify_parameters(const struct psk_client *client, const uint8_t *parameters,
                              struct hf_bytes signature)
{
    struct hf_job job = {.parts = HF_JOB_VERIFY};
    struct hf_job *jobs[1] = {&job};
    struct hf_sha256 hash;
    if (client->config.server_key == NULL) {
        return true;
    }
    if (signature.len > HF_P256_SIGNATURE_MAX) {
        return false;
    }
    hf_sha256_init(&hash);
    hf_sha256_update(&hash, client->client_random, HF_RANDOM_LEN);
    hf_sha256_update(&hash, client->server_random, HF_RANDOM_LEN);
    hf_sha256_update(&hash, parameters, PARAMETERS_LEN);
    hf_sha256_final(job.verify_digest, &hash);
    memcpy(job.verify_key, client->config.server_key, HF_P256_POINT_LEN);
    memcpy(job.verify_signature, signature.data, signature.len);
    job.verify_signature_len = (uint8_t)signature.len;
    hf_job_run(jobs, 1);
    return job.status == HF_OK;
}

static void receive_exchange(struct psk_client_out *out, const uint8_t *body, size_t len)
{
    static const uint8_t head[4] = {3, 0, 23, HF_P256_POINT_LEN};
    struct psk_client *client = out->client;
    struct psk_reader reader = {body, len, false};
    struct hf_bytes given = psk_get(&reader, sizeof(head));
    struct hf_bytes point = psk_get(&reader, HF_P256_POINT_LEN);
    uint64_t algorithm = psk_get_number(&reader, 2);
    struct hf_bytes signature = psk_get(&reader, (size_t)psk_get_number(&reader, 2));
    if (reader.is_short || reader.len != 0 || memcmp(given.data, head, sizeof(head)) != 0 ||
        algorithm != 0x0403) {
        psk_client_fail(out, PSK_ALERT_DECODE_ERROR, "malformed ServerKeyExchange");
    } else if (!verify_parameters(client, body, signature)) {
        psk_client_fail(out, PSK_ALERT_DECRYPT_ERROR, "ServerKeyExchange does not verify");
    } else {
        client->has_key_exchange = true;
        memcpy(client->server_point, point.data, HF_P256_POINT_LEN);
    }
}

static void receive_certificate(struct psk_client_out *out, const uint8_t *body, size_t len)
{
    struct psk_reader reader = {body, len, false};
    struct hf_bytes list = psk_get(&reader, (size_t)psk_get_number(&reader, 3));
    if (reader.is_short || reader.len != 0 || list.len == 0) {
        psk_client_fail(out, PSK_ALERT_DECODE_ERROR, "malformed Certificate");
        return;
    }
    out->client->has_certificate = true;
    out->client->certificate_len = (uint16_t)len;
}

/* Whatever else the server would take, ECDSA with SHA-256 must be among it. */
static void receive_request(struct psk_client_out *out, const uint8_t *body, size_t len)
{
    struct psk_reader reader = {body, len, false};
    struct hf_bytes types = psk_get(&reader, (size_t)psk_get_number(&reader, 1));
    struct hf_bytes algorithms = psk_get(&reader, (size_t)psk_get_number(&reader, 2));
    (void)psk_get(&reader, (size_t)psk_get_number(&reader, 2)); /* names */
    bool has_type = types.len > 0 && memchr(types.data, 64, types.len) != NULL;
    bool has_algorithm = false;
    for (size_t i = 0; i + 1 < algorithms.len; i += 2) {
        has_algorithm |= psk_load(algorithms.data + i, 2) == 0x0403;
    }
    if (reader.is_short || reader.len != 0 || !has_type || !has_algorithm) {
        psk_client_fail(out, PSK_ALERT_DECODE_ERROR, "malformed CertificateRequest");
        return;
    }
    out->client->has_request = true;
}

void psk_certificate_receive(struct psk_client_out *out, uint8_t type, const uint8_t *body,
                             size_t len)
{
    if (type == PSK_CERTIFICATE) {
        receive_certificate(out, body, len);
    } else if (type == PSK_CERTIFICATE_REQUEST) {
        receive_request(out, body, len);
    } else {
        receive_exchange(out, body, len);
    }
}

static void make_share(struct psk_client_out *out)
{
    struct psk_client *client = out->client;
    struct hf_job job = {.parts = HF_JOB_GENERATE | HF_JOB_AGREE};
    struct hf_job *jobs[1] = {&job};
    memcpy(job.peer_share, client->server_point, HF_P256_POINT_LEN);
    hf_job_run(jobs, 1);
    if (job.status != HF_OK) {
        psk_client_fail(out, PSK_ALERT_ILLEGAL_PARAMETER, "the server's key share is no point");
        return;
    }
    memcpy(client->own_point, job.public_key, HF_P256_POINT_LEN);
    memcpy(client->shared_secret, job.shared_secret, HF_P256_SCALAR_LEN);
}

static void make_signature(struct psk_client *client)
{
    struct hf_job job = {.parts = HF_JOB_SIGN, .credential = client->config.credential};
    struct hf_job *jobs[1] = {&job};
    struct hf_sha256 hash = client->transcript;
    hf_sha256_final(job.sign_digest, &hash);
    hf_job_run(jobs, 1);
    PSK_CHECK(job.status == HF_OK);
    memcpy(client->signature, job.signature, job.signature_len);
    client->signature_len = job.signature_len;
}

static uint16_t send_certificate(struct psk_client_out *out, uint16_t seq, bool is_first)
{
    static const uint8_t empty[3] = {0, 0, 0};
    const struct psk_client_config *config = &out->client->config;
    uint8_t message[PSK_MESSAGE_OUT_MAX];
    struct psk_writer writer = {message, 0, sizeof(message), false};
    bool is_raw = out->client->has_client_type ? out->client->client_type == TYPE_RAW
                                               : config->is_credential_raw;
    struct hf_bytes chain = {empty, sizeof(empty)};
    if (config->credential != NULL) {
        chain = hf_credential_message(config->credential, is_raw);
    }
    psk_put_number(&writer, PSK_CERTIFICATE, 1);
    psk_put_number(&writer, chain.len, 3);
    psk_put(&writer, chain.data, chain.len);
    psk_out_message(out, 0, seq, message, writer.len, is_first);
    return (uint16_t)(seq + 1);
}

static uint16_t send_verify(struct psk_client_out *out, uint16_t seq, bool is_first)
{
    struct psk_client *client = out->client;
    uint8_t message[PSK_MESSAGE_OUT_MAX];
    struct psk_writer writer = {message, 0, sizeof(message), false};
    psk_put_number(&writer, PSK_CERTIFICATE_VERIFY, 1);
    size_t body = psk_open(&writer, 3);
    psk_put_number(&writer, 0x0403, 2);
    psk_put_number(&writer, client->signature_len, 2);
    psk_put(&writer, client->signature, client->signature_len);
    psk_close(&writer, body, 3);
    psk_out_message(out, 0, seq, message, writer.len, is_first);
    return (uint16_t)(seq + 1);
}

static uint16_t send_share(struct psk_client_out *out, uint16_t seq, bool is_first)
{
    struct psk_client *client = out->client;
    uint8_t message[PSK_MESSAGE_OUT_MAX];
    struct psk_writer writer = {message, 0, sizeof(message), false};
    psk_put_number(&writer, PSK_CLIENT_KEY_EXCHANGE, 1);
    size_t body = psk_open(&writer, 3);
    psk_put_number(&writer, HF_P256_POINT_LEN, 1);
    psk_put(&writer, client->own_point, HF_P256_POINT_LEN);
    psk_close(&writer, body, 3);
    psk_out_message(out, 0, seq, message, writer.len, is_first);
    if (is_first) {
        struct hf_secret premaster = {.len = HF_P256_SCALAR_LEN};
        memcpy(premaster.data, client->shared_secret, HF_P256_SCALAR_LEN);
        psk_client_master(client, &premaster);
    }
    return (uint16_t)(seq + 1);
}

uint16_t psk_certificate_send(struct psk_client_out *out, uint16_t seq, bool is_first)
{
    struct psk_client *client = out->client;
    if (is_first) {
        make_share(out);
        if (client->state == PSK_CLIENT_FAILED) {
            return seq;
        }
    }
    if (client->has_request) {
        seq = send_certificate(out, seq, is_first);
    }
    seq = send_share(out, seq, is_first);
    if (!client->has_request || client->config.credential == NULL) {
        return seq;
    }
    if (is_first) {
        make_signature(client);
    }
    return send_verify(out, seq, is_first);
}
