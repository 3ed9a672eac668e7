/**
 * psk_client.c - the handshake of the test client, from the first hello to close_notify.
 *
 * Flights are not stored: everything sent is a function of config, randoms, cookie and
 * verify_data, so a retransmission builds the messages anew and leaves the transcript alone.
 */
#include "psk_client_parts.h"

#include <string.h>

#define RETRANSMIT_US_DEFAULT 1000000
#define RETRANSMIT_US_MAX 60000000
#define HELLO_VERIFY_REQUESTS_MAX 16

void psk_client_init(struct psk_client *client, const struct psk_client_config *config)
{
    PSK_CHECK(config->work != NULL && config->suite_count <= 8);
    PSK_CHECK(config->identity.len <= 65535 && config->session_id_len <= 32);
    memset(client, 0, sizeof(*client));
    client->config = *config;
    if (config->grease_and_13) {
        client->config.session_id_len = 32;
    }
    client->alert = HF_ALERT_NONE;
    if (config->client_random != NULL) {
        memcpy(client->client_random, config->client_random, HF_RANDOM_LEN);
    } else {
        hf_random(client->client_random, HF_RANDOM_LEN);
    }
    config->work->stream_len = 0;
    config->work->deferred_len = 0;
    config->work->cookie_len = 0;
    for (size_t i = 0; i < PSK_CLIENT_SLOTS; i++) {
        config->work->slots[i].is_used = false;
        config->work->slots[i].have_len = 0;
    }
}

static void arm_timer(struct psk_client *client, uint64_t now_us)
{
    client->is_flight_waiting = client->config.is_dtls;
    client->retransmit_us = client->config.retransmit_us_initial != 0
                                ? client->config.retransmit_us_initial
                                : RETRANSMIT_US_DEFAULT;
    client->due_us = now_us + client->retransmit_us;
}

void psk_client_fail(struct psk_client_out *out, uint8_t alert, const char *why)
{
    struct psk_client *client = out->client;
    if (client->state == PSK_CLIENT_FAILED) {
        return;
    }
    client->state = PSK_CLIENT_FAILED;
    client->why = why;
    client->alert = alert;
    client->is_flight_waiting = false;
    if (!client->config.is_quiet) {
        psk_out_alert(out, 2, alert);
    }
}

static void send_hello(struct psk_client_out *out, bool is_first)
{
    uint8_t message[PSK_MESSAGE_OUT_MAX];
    size_t len = psk_hello_build(out->client, message);
    if (is_first) {
        hf_sha256_init(&out->client->transcript);
    }
    psk_out_message(out, 0, out->client->message_seq, message, len, is_first);
}

void psk_client_master(struct psk_client *client, const struct hf_secret *premaster)
{
    struct hf_sha256 transcript = client->transcript;
    uint8_t session_hash[HF_SHA256_LEN];
    hf_sha256_final(session_hash, &transcript);
    hf_master_secret(client->master_secret, premaster, client->client_random, client->server_random,
                     client->is_ems ? session_hash : NULL);
    psk_client_keys(client);
}

void psk_client_keys(struct psk_client *client)
{
    struct hf_hmac_key master;
    struct hf_bytes secret = {client->master_secret, HF_MASTER_SECRET_LEN};
    hf_hmac_key_init(&master, secret);
    hf_record_keys_derive(&client->write_key, &client->read_key, client->cipher, &master,
                          client->client_random, client->server_random);
    client->has_keys = true;
}

static void derive_keys(struct psk_client *client)
{
    struct hf_secret premaster;
    enum hf_status status = hf_psk_premaster(&premaster, client->config.psk);
    PSK_CHECK(status == HF_OK);
    psk_client_master(client, &premaster);
}

static void make_verify_data(uint8_t out[HF_VERIFY_DATA_LEN], const struct psk_client *client,
                             const char *label)
{
    struct hf_hmac_key master;
    struct hf_bytes secret = {client->master_secret, HF_MASTER_SECRET_LEN};
    struct hf_sha256 transcript = client->transcript;
    uint8_t hash[HF_SHA256_LEN];
    struct hf_bytes seed = {hash, sizeof(hash)};
    hf_sha256_final(hash, &transcript);
    hf_hmac_key_init(&master, secret);
    hf_prf(out, HF_VERIFY_DATA_LEN, &master, label, &seed, 1);
}

/* ClientKeyExchange of a pre-shared key; gives the number of the message that follows. */
static uint16_t send_identity(struct psk_client_out *out, uint16_t seq, bool is_first)
{
    struct psk_client *client = out->client;
    uint8_t message[PSK_MESSAGE_OUT_MAX];
    struct psk_writer writer = {message, 0, sizeof(message), false};
    psk_put_number(&writer, PSK_CLIENT_KEY_EXCHANGE, 1);
    size_t body = psk_open(&writer, 3);
    psk_put_number(&writer, client->config.identity.len, 2);
    psk_put(&writer, client->config.identity.data, client->config.identity.len);
    psk_close(&writer, body, 3);
    psk_out_message(out, 0, seq, message, writer.len, is_first);
    if (is_first) {
        derive_keys(client);
    }
    return (uint16_t)(seq + 1);
}

/* ChangeCipherSpec and Finished. */
static void send_finished(struct psk_client_out *out, uint16_t seq, bool is_first)
{
    struct psk_client *client = out->client;
    uint8_t message[PSK_MESSAGE_OUT_MAX];
    static const uint8_t change[] = {1};
    if (is_first) {
        make_verify_data(client->client_verify_data, client, "client finished");
    }
    psk_out_record(out, PSK_CONTENT_CCS, 0, change, sizeof(change));
    client->is_send_protected = true;
    message[0] = PSK_FINISHED;
    psk_store(message + 1, HF_VERIFY_DATA_LEN, 3);
    memcpy(message + 4, client->client_verify_data, HF_VERIFY_DATA_LEN);
    psk_out_message(out, 1, seq, message, 4 + HF_VERIFY_DATA_LEN, is_first);
}

static void send_final_flight(struct psk_client_out *out, bool is_first)
{
    struct psk_client *client = out->client;
    uint16_t seq = (uint16_t)(client->message_seq + 1);
    seq = client->is_certificate ? psk_certificate_send(out, seq, is_first)
                                 : send_identity(out, seq, is_first);
    if (client->state != PSK_CLIENT_FAILED) {
        send_finished(out, seq, is_first);
    }
}

void psk_client_resend(struct psk_client_out *out)
{
    out->client->counters.retransmissions++;
    struct psk_client *client = out->client;
    if (client->state == PSK_CLIENT_AWAIT_HELLO ||
        (client->is_resumed && client->state == PSK_CLIENT_AWAIT_FINISHED)) {
        send_hello(out, false);
    } else if (client->is_resumed) {
        send_finished(out, (uint16_t)(client->message_seq + 1), false);
    } else {
        send_final_flight(out, false);
    }
}

static void receive_hello_verify_request(struct psk_client_out *out, uint64_t now_us,
                                         const uint8_t *body, size_t len)
{
    struct psk_client *client = out->client;
    struct psk_client_work *work = client->config.work;
    struct psk_reader reader = {body, len, false};
    (void)psk_get_number(&reader, 2); /* a version that says nothing (RFC 6347 4.2.1) */
    struct hf_bytes cookie = psk_get(&reader, (size_t)psk_get_number(&reader, 1));
    if (reader.is_short || reader.len != 0) {
        psk_client_fail(out, PSK_ALERT_DECODE_ERROR, "malformed HelloVerifyRequest");
        return;
    }
    if (client->has_hello) {
        client->counters.drops++;
        return;
    }
    if (client->counters.hello_verify_requests > 0 && cookie.len == work->cookie_len &&
        memcmp(work->cookie, cookie.data, cookie.len) == 0) {
        client->counters.drops++; /* a duplicate: its hello is already under way */
        return;
    }
    if (++client->counters.hello_verify_requests > HELLO_VERIFY_REQUESTS_MAX) {
        psk_client_fail(out, PSK_ALERT_UNEXPECTED_MESSAGE, "too many HelloVerifyRequests");
        return;
    }
    work->cookie_len = (uint8_t)cookie.len;
    memcpy(work->cookie, cookie.data, cookie.len);
    client->message_seq++;
    send_hello(out, true);
    arm_timer(client, now_us);
}

static void receive_server_key_exchange(struct psk_client_out *out, const uint8_t *body, size_t len)
{
    struct psk_client *client = out->client;
    struct psk_reader reader = {body, len, false};
    struct hf_bytes hint = psk_get(&reader, (size_t)psk_get_number(&reader, 2));
    if (reader.is_short || reader.len != 0) {
        psk_client_fail(out, PSK_ALERT_DECODE_ERROR, "malformed ServerKeyExchange");
        return;
    }
    client->has_key_exchange = true;
    client->hint_len = (uint16_t)hint.len;
    if (hint.len > 0) {
        memcpy(client->hint, hint.data,
               hint.len < sizeof(client->hint) ? hint.len : sizeof(client->hint));
    }
}

static void hash_message(struct psk_client *client, uint16_t seq, uint8_t type, const uint8_t *body,
                         size_t len)
{
    uint8_t header[12];
    header[0] = type;
    psk_store(header + 1, len, 3);
    psk_store(header + 4, seq, 2);
    psk_store(header + 6, 0, 3);
    psk_store(header + 9, len, 3);
    hf_sha256_update(&client->transcript, header, client->config.is_dtls ? 12 : 4);
    hf_sha256_update(&client->transcript, body, len);
}

static void receive_finished(struct psk_client_out *out, uint16_t seq, const uint8_t *body,
                             size_t len)
{
    struct psk_client *client = out->client;
    make_verify_data(client->server_verify_data, client, "server finished");
    if (len != HF_VERIFY_DATA_LEN) {
        psk_client_fail(out, PSK_ALERT_DECODE_ERROR, "malformed Finished");
    } else if (!hf_ct_equal(client->server_verify_data, body, HF_VERIFY_DATA_LEN)) {
        psk_client_fail(out, PSK_ALERT_DECRYPT_ERROR, "the server's Finished does not verify");
    } else {
        if (client->is_resumed) { /* the last word is ours */
            hash_message(client, seq, PSK_FINISHED, body, len);
            send_finished(out, (uint16_t)(client->message_seq + 1), true);
        }
        client->state = PSK_CLIENT_OPEN;
        client->is_complete = true;
        client->is_flight_waiting = false;
    }
}

/* Whether a message of this type may come now. */
static bool is_in_order(const struct psk_client *client, uint16_t epoch, uint8_t type)
{
    bool awaits_hello = client->state == PSK_CLIENT_AWAIT_HELLO;
    bool awaits_finished = client->state == PSK_CLIENT_AWAIT_FINISHED;
    switch (type) {
    case PSK_HELLO_REQUEST:
        return true;
    case PSK_HELLO_VERIFY_REQUEST:
        return client->config.is_dtls && awaits_hello;
    case PSK_SERVER_HELLO:
        return awaits_hello && !client->has_hello && epoch == 0;
    case PSK_SERVER_KEY_EXCHANGE:
        return awaits_hello && client->has_hello && !client->has_key_exchange && epoch == 0 &&
               client->is_certificate == client->has_certificate;
    case PSK_CERTIFICATE:
        return awaits_hello && client->is_certificate && !client->has_certificate && epoch == 0;
    case PSK_CERTIFICATE_REQUEST:
        return awaits_hello && client->has_certificate && client->has_key_exchange &&
               !client->has_request && epoch == 0;
    case PSK_SERVER_HELLO_DONE:
        return awaits_hello && client->has_hello && epoch == 0 &&
               (!client->is_certificate || client->has_key_exchange);
    case PSK_NEW_SESSION_TICKET:
        return awaits_finished && client->is_ticket_promised && epoch == 0;
    case PSK_FINISHED:
        return awaits_finished && client->is_receive_protected && epoch == 1;
    default:
        return false;
    }
}

void psk_client_message(struct psk_client_out *out, uint64_t now_us, uint16_t epoch, uint16_t seq,
                        uint8_t type, const uint8_t *body, size_t len)
{
    struct psk_client *client = out->client;
    if (!is_in_order(client, epoch, type)) {
        psk_client_fail(out, PSK_ALERT_UNEXPECTED_MESSAGE, "handshake message out of order");
        return;
    }
    client->message_seq_next = (uint16_t)(seq + 1);
    if (type == PSK_FINISHED) {
        receive_finished(out, seq, body, len);
        return;
    }
    if (type != PSK_HELLO_REQUEST && type != PSK_HELLO_VERIFY_REQUEST) {
        hash_message(client, seq, type, body, len);
    }
    switch (type) {
    case PSK_HELLO_VERIFY_REQUEST:
        receive_hello_verify_request(out, now_us, body, len);
        break;
    case PSK_SERVER_HELLO:
        client->has_hello = psk_hello_parse(out, body, len);
        if (client->has_hello) {
            psk_session_judge(out);
        }
        break;
    case PSK_NEW_SESSION_TICKET:
        psk_session_ticket(out, body, len);
        break;
    case PSK_SERVER_KEY_EXCHANGE:
        if (client->is_certificate) {
            psk_certificate_receive(out, type, body, len);
        } else {
            receive_server_key_exchange(out, body, len);
        }
        break;
    case PSK_CERTIFICATE:
    case PSK_CERTIFICATE_REQUEST:
        psk_certificate_receive(out, type, body, len);
        break;
    case PSK_SERVER_HELLO_DONE:
        if (len != 0) {
            psk_client_fail(out, PSK_ALERT_DECODE_ERROR, "malformed ServerHelloDone");
            break;
        }
        client->state = PSK_CLIENT_AWAIT_FINISHED;
        send_final_flight(out, true);
        arm_timer(client, now_us);
        break;
    default: /* HelloRequest asks for nothing */
        break;
    }
}

void psk_client_start(struct psk_client *client, uint64_t now_us, psk_client_emit *emit, void *arg)
{
    struct psk_client_out out;
    PSK_CHECK(client->state == PSK_CLIENT_NEW);
    psk_out_init(&out, client, emit, arg);
    client->state = PSK_CLIENT_AWAIT_HELLO;
    send_hello(&out, true);
    arm_timer(client, now_us);
    psk_out_flush(&out);
}

void psk_client_receive(struct psk_client *client, uint64_t now_us, uint8_t *bytes, size_t len,
                        psk_client_emit *emit, psk_client_emit *data, void *arg)
{
    struct psk_client_out out;
    if (client->state == PSK_CLIENT_NEW || client->state == PSK_CLIENT_FAILED) {
        return;
    }
    psk_out_init(&out, client, emit, arg);
    client->counters.datagrams_in++;
    if (client->config.is_dtls) {
        psk_receive_datagram(&out, now_us, bytes, len, data);
    } else {
        psk_receive_stream(&out, now_us, bytes, len, data);
    }
    psk_out_flush(&out);
}

uint64_t psk_client_next_us(const struct psk_client *client)
{
    return client->is_flight_waiting ? client->due_us : UINT64_MAX;
}

void psk_client_tick(struct psk_client *client, uint64_t now_us, psk_client_emit *emit, void *arg)
{
    struct psk_client_out out;
    if (!client->is_flight_waiting || now_us < client->due_us) {
        return;
    }
    psk_out_init(&out, client, emit, arg);
    psk_client_resend(&out);
    client->retransmit_us *= 2;
    if (client->retransmit_us > RETRANSMIT_US_MAX) {
        client->retransmit_us = RETRANSMIT_US_MAX;
    }
    client->due_us = now_us + client->retransmit_us;
    psk_out_flush(&out);
}

void psk_client_send(struct psk_client *client, const uint8_t *data, size_t len,
                     psk_client_emit *emit, void *arg)
{
    struct psk_client_out out;
    size_t max = psk_client_payload_max(client);
    if (client->state != PSK_CLIENT_OPEN) {
        return;
    }
    psk_out_init(&out, client, emit, arg);
    do {
        size_t part = len < max ? len : max;
        psk_out_record(&out, PSK_CONTENT_DATA, 1, data, part);
        client->counters.data_out_len += part;
        data += part;
        len -= part;
    } while (len > 0);
    psk_out_flush(&out);
}

void psk_client_end(struct psk_client *client, psk_client_emit *emit, void *arg)
{
    struct psk_client_out out;
    if (client->has_sent_close || client->state == PSK_CLIENT_FAILED) {
        return;
    }
    psk_out_init(&out, client, emit, arg);
    client->has_sent_close = true;
    psk_out_alert(&out, 1, PSK_ALERT_CLOSE_NOTIFY);
    client->state = PSK_CLIENT_CLOSED;
    client->is_flight_waiting = false;
    psk_out_flush(&out);
}

void psk_client_send_record(struct psk_client *client, const struct psk_client_record *record,
                            psk_client_emit *emit, void *arg)
{
    struct psk_client_out out;
    PSK_CHECK(!record->is_protected || client->has_keys);
    psk_out_init(&out, client, emit, arg);
    psk_out_raw(&out, record);
    psk_out_flush(&out);
}

const char *psk_client_state_name(enum psk_client_state state)
{
    static const char *const names[] = {"new",  "await_hello", "await_finished",
                                        "open", "closed",      "failed"};
    return names[state];
}
