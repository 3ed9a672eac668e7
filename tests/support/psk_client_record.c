/**
 * psk_client_record.c - records of the test client: gathering them into datagrams, protecting
 * them, and taking apart what arrives.
 */
#include "psk_client_parts.h"

#include <string.h>

#define DATAGRAM_LEN_DEFAULT 1400
#define PLAINTEXT_MAX 16384
#define CIPHERTEXT_MAX (16384 + 2048)

void psk_out_init(struct psk_client_out *out, struct psk_client *client, psk_client_emit *emit,
                  void *arg)
{
    out->client = client;
    out->emit = emit;
    out->arg = arg;
    out->len = 0;
}

void psk_out_flush(struct psk_client_out *out)
{
    if (out->len > 0) {
        out->client->counters.datagrams_out++;
        out->emit(out->data, out->len, out->arg);
        out->len = 0;
    }
}

static size_t header_len(const struct psk_client *client)
{
    return client->config.is_dtls ? 13 : 5;
}

/* How far a datagram may grow. TLS: whatever the buffer holds. */
static size_t gather_max(const struct psk_client_out *out)
{
    const struct psk_client_config *config = &out->client->config;
    if (!config->is_dtls) {
        return sizeof(out->data);
    }
    if (config->is_one_record_per_datagram) {
        return 0;
    }
    return config->datagram_len_max != 0 ? config->datagram_len_max : DATAGRAM_LEN_DEFAULT;
}

static uint16_t record_version(const struct psk_client *client)
{
    if (client->config.is_dtls) {
        return client->has_hello ? 0xFEFD : 0xFEFF;
    }
    return client->has_hello ? 0x0303 : 0x0301;
}

static uint64_t take_seq(struct psk_client *client, const struct psk_client_record *record)
{
    if (record->seq != PSK_CLIENT_SEQ_NEXT) {
        return record->seq;
    }
    return client->send_seq[record->epoch == 0 ? 0 : 1]++;
}

void psk_out_raw(struct psk_client_out *out, const struct psk_client_record *record)
{
    struct psk_client *client = out->client;
    bool is_named = record->is_protected && client->server_cid_len > 0;
    size_t cid_len = is_named ? client->server_cid_len : 0;
    size_t head = header_len(client) + cid_len;
    size_t expansion = record->is_protected ? hf_record_expansion(client->cipher) : 0;
    expansion += is_named ? 1u + client->config.cid_padding : 0;
    PSK_CHECK(record->payload.len <= PLAINTEXT_MAX);
    if (out->len > 0 && out->len + head + record->payload.len + expansion > gather_max(out)) {
        psk_out_flush(out);
    }
    uint8_t *wire = out->data + out->len;
    size_t max = sizeof(out->data) - out->len;
    uint64_t seq = take_seq(client, record);
    uint16_t version = record->version != 0 ? record->version : record_version(client);
    size_t len = record->payload.len;
    if (record->is_protected) {
        struct hf_record_header header = {.seq = seq, .version = version, .type = record->type};
        if (client->config.is_dtls) {
            header.seq |= (uint64_t)record->epoch << 48;
        }
        struct hf_bytes plain = record->payload;
        if (is_named) { /* sealed in place */
            uint8_t *inner = wire + head + hf_record_front(client->cipher);
            header.cid = (struct hf_bytes){client->server_cid, cid_len};
            plain = (struct hf_bytes){inner,
                                      psk_cid_wrap(inner, client, record->type, record->payload)};
        }
        enum hf_status status = hf_record_seal(wire + head, &len, max - head, &client->write_key,
                                               &header, plain.data, plain.len);
        PSK_CHECK(status == HF_OK);
    } else if (len > 0) {
        memcpy(wire + head, record->payload.data, len);
    }
    wire[0] = is_named ? PSK_CONTENT_CID : record->type;
    psk_store(wire + 1, version, 2);
    if (client->config.is_dtls) {
        psk_store(wire + 3, record->epoch, 2);
        psk_store(wire + 5, seq, 6);
        memcpy(wire + 11, client->server_cid, cid_len);
    }
    psk_store(wire + head - 2, len, 2);
    len += head;
    if (client->config.tamper != NULL &&
        client->config.tamper(PSK_CLIENT_TAMPER_RECORD, record->type, wire, &len, max,
                              client->config.tamper_arg) == PSK_CLIENT_SKIP) {
        return;
    }
    PSK_CHECK(len <= max);
    out->len += len;
    client->counters.records_out++;
}

void psk_out_record(struct psk_client_out *out, uint8_t type, uint16_t epoch,
                    const uint8_t *payload, size_t len)
{
    struct psk_client_record record = {
        .type = type,
        .epoch = epoch,
        .seq = PSK_CLIENT_SEQ_NEXT,
        .is_protected = epoch != 0,
        .payload = {payload, len},
    };
    psk_out_raw(out, &record);
}

void psk_out_alert(struct psk_client_out *out, uint8_t level, uint8_t description)
{
    uint8_t alert[2] = {level, description};
    psk_out_record(out, PSK_CONTENT_ALERT, out->client->is_send_protected, alert, sizeof(alert));
}

/* The most plaintext a record to the server may hold. */
size_t psk_client_payload_max(const struct psk_client *client)
{
    if (client->max_fragment_length != 0) {
        return (size_t)256 << client->max_fragment_length;
    }
    if (client->record_size_limit != 0 && client->record_size_limit < PLAINTEXT_MAX) {
        return client->record_size_limit;
    }
    return PLAINTEXT_MAX;
}

void psk_out_message(struct psk_client_out *out, uint16_t epoch, uint16_t seq, uint8_t *message,
                     size_t len, bool is_first)
{
    struct psk_client *client = out->client;
    const struct psk_client_config *config = &client->config;
    if (config->tamper != NULL &&
        config->tamper(PSK_CLIENT_TAMPER_MESSAGE, message[0], message, &len, PSK_MESSAGE_OUT_MAX,
                       config->tamper_arg) == PSK_CLIENT_SKIP) {
        return;
    }
    PSK_CHECK(len >= 4 && len <= PSK_MESSAGE_OUT_MAX);
    size_t fragment_max = config->is_dtls ? 1200 : PLAINTEXT_MAX;
    size_t head = config->is_dtls ? 12 : 0;
    if (config->fragment_len_max != 0) {
        fragment_max = config->fragment_len_max;
    }
    if (fragment_max + head > psk_client_payload_max(client)) {
        fragment_max = psk_client_payload_max(client) - head;
    }
    uint8_t fragment[12 + PLAINTEXT_MAX];
    const uint8_t *body = message + (config->is_dtls ? 4 : 0);
    size_t body_len = len - (config->is_dtls ? 4 : 0);
    memcpy(fragment, message, 4);
    psk_store(fragment + 4, seq, 2);
    psk_store(fragment + 6, 0, 3);
    memcpy(fragment + 9, message + 1, 3);
    if (is_first) {
        hf_sha256_update(&client->transcript, fragment, head);
        hf_sha256_update(&client->transcript, body, body_len);
    }
    size_t offset = 0;
    do {
        size_t part = body_len - offset < fragment_max ? body_len - offset : fragment_max;
        psk_store(fragment + 6, offset, 3);
        psk_store(fragment + 9, part, 3);
        memcpy(fragment + head, body + offset, part);
        psk_out_record(out, PSK_CONTENT_HANDSHAKE, epoch, fragment, head + part);
        offset += part;
    } while (offset < body_len);
}

static void receive_alert(struct psk_client_out *out, const uint8_t *payload, size_t len)
{
    struct psk_client *client = out->client;
    if (len != 2) {
        psk_client_fail(out, PSK_ALERT_DECODE_ERROR, "malformed alert");
    } else if (payload[1] == PSK_ALERT_CLOSE_NOTIFY) {
        client->has_received_close = true;
        if (!client->config.is_quiet && !client->has_sent_close) {
            client->has_sent_close = true;
            psk_out_alert(out, 1, PSK_ALERT_CLOSE_NOTIFY);
        }
        client->state = client->is_complete ? PSK_CLIENT_CLOSED : PSK_CLIENT_FAILED;
        client->alert = client->is_complete ? HF_ALERT_NONE : PSK_ALERT_CLOSE_NOTIFY;
        client->is_flight_waiting = false;
    } else if (payload[0] == 2) {
        client->state = PSK_CLIENT_FAILED;
        client->alert = payload[1];
        client->is_flight_waiting = false;
    } else {
        client->counters.warnings++;
    }
}

static void receive_ccs(struct psk_client_out *out, uint64_t now_us, const uint8_t *payload,
                        size_t len, psk_client_emit *data)
{
    struct psk_client *client = out->client;
    bool is_expected = client->state == PSK_CLIENT_AWAIT_FINISHED &&
                       !client->is_receive_protected && len == 1 && payload[0] == 1;
    if (!client->config.is_dtls && is_expected && client->config.work->slots[0].have_len != 0) {
        is_expected = false;
    }
    if (is_expected) {
        client->is_receive_protected = true;
        psk_receive_deferred(out, now_us, data);
    } else if (client->config.is_dtls) {
        client->counters.drops++;
    } else {
        psk_client_fail(out, PSK_ALERT_UNEXPECTED_MESSAGE, "unexpected ChangeCipherSpec");
    }
}

/* One record, authenticated if its epoch is 1. */
static void receive_content(struct psk_client_out *out, uint64_t now_us, uint16_t epoch,
                            uint8_t type, const uint8_t *payload, size_t len, psk_client_emit *data)
{
    struct psk_client *client = out->client;
    bool is_dtls = client->config.is_dtls;
    bool is_stale = is_dtls && epoch == 0 && client->is_complete;
    client->counters.records_in++;
    if (is_stale) {
        client->counters.drops++;
    } else if (type == PSK_CONTENT_ALERT) {
        receive_alert(out, payload, len);
    } else if (type == PSK_CONTENT_CCS && epoch == 0) {
        receive_ccs(out, now_us, payload, len, data);
    } else if (type == PSK_CONTENT_HANDSHAKE && len > 0) {
        psk_receive_handshake(out, now_us, epoch, payload, len);
    } else if (type == PSK_CONTENT_DATA && epoch == 1 && client->is_complete) {
        client->counters.data_in_len += len;
        if (data != NULL) {
            data(payload, len, out->arg);
        }
    } else if (type == PSK_CONTENT_ROUTABILITY && epoch == 1 && client->is_complete) {
        psk_cid_receive(out, payload, len);
    } else if (is_dtls) {
        client->counters.drops++;
    } else {
        psk_client_fail(out, PSK_ALERT_UNEXPECTED_MESSAGE, "unexpected record");
    }
}

/* Whether the record is new; `is_seen` notes it as had. */
static bool window_check(struct psk_client *client, uint64_t seq, bool is_seen)
{
    if (seq > client->window_top) {
        if (is_seen) {
            uint64_t shift = seq - client->window_top;
            client->window = shift < 64 ? client->window << shift : 0;
            client->window |= 1;
            client->window_top = seq;
        }
        return true;
    }
    uint64_t back = client->window_top - seq;
    if (back >= 64 || (client->window >> back & 1) != 0) {
        return false;
    }
    if (is_seen) {
        client->window |= UINT64_C(1) << back;
    }
    return true;
}

static bool is_within_limit(const struct psk_client *client, size_t plain_len, bool is_protected)
{
    const struct psk_client_config *config = &client->config;
    size_t max = PLAINTEXT_MAX;
    if (client->max_fragment_length != 0) {
        max = (size_t)256 << client->max_fragment_length;
    } else if (client->record_size_limit != 0 && is_protected && config->record_size_limit < max) {
        max = config->record_size_limit;
    }
    return plain_len <= max;
}

/* One protected DTLS record; `wire` is the whole of it. */
static void receive_protected(struct psk_client_out *out, uint64_t now_us, uint8_t *wire,
                              size_t len, psk_client_emit *data)
{
    struct psk_client *client = out->client;
    struct hf_record_header header = {
        .seq = psk_load(wire + 3, 8), .version = (uint16_t)psk_load(wire + 1, 2), .type = wire[0]};
    size_t cid_len = psk_cid_own_len(client, wire);
    size_t head = 13 + cid_len;
    header.cid = (struct hf_bytes){wire + 11, cid_len};
    uint64_t seq = header.seq & UINT64_C(0xFFFFFFFFFFFF);
    size_t offset = 0;
    size_t plain_len = 0;
    if (!window_check(client, seq, false)) {
        client->counters.drops++;
        return;
    }
    if (client->config.cid.len > 0 && client->has_cid &&
        (cid_len == 0 || memcmp(wire + 11, client->config.cid.data, cid_len) != 0)) {
        client->counters.drops++;
        return;
    }
    if (hf_record_open(&offset, &plain_len, &client->read_key, &header, wire + head, len - head) !=
        HF_OK) {
        client->counters.drops++;
        client->counters.bad_records++;
        return;
    }
    (void)window_check(client, seq, true);
    if (cid_len > 0 && !psk_cid_unwrap(&header.type, wire + head + offset, &plain_len)) {
        client->counters.drops++;
        return;
    }
    if (!is_within_limit(client, plain_len, true)) {
        psk_client_fail(out, PSK_ALERT_RECORD_OVERFLOW, "record longer than agreed");
        return;
    }
    receive_content(out, now_us, 1, header.type, wire + head + offset, plain_len, data);
}

static void defer(struct psk_client *client, const uint8_t *wire, size_t len)
{
    struct psk_client_work *work = client->config.work;
    client->counters.drops++;
    if (client->is_complete || client->state != PSK_CLIENT_AWAIT_FINISHED ||
        work->deferred_len + len > sizeof(work->deferred)) {
        return;
    }
    client->counters.drops--;
    memcpy(work->deferred + work->deferred_len, wire, len);
    work->deferred_len = (uint16_t)(work->deferred_len + len);
}

void psk_receive_datagram(struct psk_client_out *out, uint64_t now_us, uint8_t *bytes, size_t len,
                          psk_client_emit *data)
{
    struct psk_client *client = out->client;
    while (len >= 13 && client->state != PSK_CLIENT_FAILED) {
        size_t head = 13 + psk_cid_own_len(client, bytes);
        size_t record_len = head <= len ? head + (size_t)psk_load(bytes + head - 2, 2) : SIZE_MAX;
        uint64_t epoch = psk_load(bytes + 3, 2);
        if (record_len > len || bytes[1] != 0xFE || record_len > head + CIPHERTEXT_MAX) {
            break;
        }
        if (epoch == 0 && is_within_limit(client, record_len - 13, false)) {
            receive_content(out, now_us, 0, bytes[0], bytes + 13, record_len - 13, data);
        } else if (epoch == 1 && client->is_receive_protected) {
            receive_protected(out, now_us, bytes, record_len, data);
        } else if (epoch == 1) {
            defer(client, bytes, record_len);
        } else {
            client->counters.drops++;
        }
        bytes += record_len;
        len -= record_len;
    }
    if (len > 0 && client->state != PSK_CLIENT_FAILED) {
        client->counters.drops++;
    }
}

void psk_receive_deferred(struct psk_client_out *out, uint64_t now_us, psk_client_emit *data)
{
    if (out->client->config.is_dtls) {
        struct psk_client_work *work = out->client->config.work;
        size_t len = work->deferred_len;
        work->deferred_len = 0;
        psk_receive_datagram(out, now_us, work->deferred, len, data);
    }
}

/* One whole TLS record. */
static void receive_record(struct psk_client_out *out, uint64_t now_us, uint8_t *wire, size_t len,
                           psk_client_emit *data)
{
    struct psk_client *client = out->client;
    size_t offset = 0;
    size_t plain_len = len - 5;
    bool is_protected = client->is_receive_protected;
    if (wire[1] != 3) {
        psk_client_fail(out, PSK_ALERT_PROTOCOL_VERSION, "record of another protocol");
        return;
    }
    if (is_protected) {
        struct hf_record_header header = {.seq = client->receive_seq++,
                                          .version = (uint16_t)psk_load(wire + 1, 2),
                                          .type = wire[0]};
        if (hf_record_open(&offset, &plain_len, &client->read_key, &header, wire + 5, len - 5) !=
            HF_OK) {
            client->counters.bad_records++;
            psk_client_fail(out, PSK_ALERT_BAD_RECORD_MAC, "record does not authenticate");
            return;
        }
    }
    if (!is_within_limit(client, plain_len, is_protected)) {
        psk_client_fail(out, PSK_ALERT_RECORD_OVERFLOW, "record longer than agreed");
        return;
    }
    receive_content(out, now_us, is_protected, wire[0], wire + 5 + offset, plain_len, data);
}

void psk_receive_stream(struct psk_client_out *out, uint64_t now_us, uint8_t *bytes, size_t len,
                        psk_client_emit *data)
{
    struct psk_client *client = out->client;
    struct psk_client_work *work = client->config.work;
    while (len > 0 && client->state != PSK_CLIENT_FAILED && !client->has_received_close) {
        if (work->stream_len == 0 && len >= 5 && len - 5 >= psk_load(bytes + 3, 2)) {
            size_t whole = 5 + (size_t)psk_load(bytes + 3, 2);
            receive_record(out, now_us, bytes, whole, data);
            bytes += whole;
            len -= whole;
            continue;
        }
        size_t want = 5;
        if (work->stream_len >= 5) {
            want += (size_t)psk_load(work->stream + 3, 2);
        }
        if (want > 5 + CIPHERTEXT_MAX) {
            psk_client_fail(out, PSK_ALERT_RECORD_OVERFLOW, "record too long");
            return;
        }
        size_t part = want - work->stream_len < len ? want - work->stream_len : len;
        memcpy(work->stream + work->stream_len, bytes, part);
        work->stream_len += (uint32_t)part;
        bytes += part;
        len -= part;
        if (work->stream_len == want && want > 5) {
            work->stream_len = 0;
            receive_record(out, now_us, work->stream, want, data);
        } else if (work->stream_len == 5 && psk_load(work->stream + 3, 2) == 0) {
            work->stream_len = 0;
            receive_record(out, now_us, work->stream, 5, data);
        }
    }
}
