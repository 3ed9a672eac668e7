/**
 * raw_hello.c - see raw_hello.h.
 */
#include "raw_hello.h"

#include <string.h>

struct output {
    uint8_t *data;
    size_t len;
};

static void put_number(struct output *out, uint64_t value, size_t width)
{
    for (size_t i = 0; i < width; i++)
        out->data[out->len++] = (uint8_t)(value >> 8 * (width - 1 - i));
}

static void put(struct output *out, struct hf_bytes bytes)
{
    if (bytes.len > 0)
        memcpy(out->data + out->len, bytes.data, bytes.len);
    out->len += bytes.len;
}

static uint64_t stated(uint32_t claim, size_t len)
{
    return claim == RAW_HONEST ? len : claim - 1;
}

static void put_vector(struct output *out, struct hf_bytes bytes, uint32_t claim, size_t width)
{
    put_number(out, stated(claim, bytes.len), width);
    put(out, bytes);
}

size_t raw_hello_body(uint8_t out[RAW_HELLO_LEN_MAX], const struct raw_hello *hello)
{
    static const uint8_t tls_suites[] = {0x00, 0xAE, 0x00, 0xFF};
    static const uint8_t dtls_suites[] = {0xC0, 0xA8, 0x00, 0xFF};
    static const uint8_t null_compression[] = {0};
    static const uint8_t extended_master_secret[] = {0, 23, 0, 0};
    struct output body = {out, 0};
    struct hf_bytes suites = hello->suites;
    struct hf_bytes compressions = hello->compressions;
    struct hf_bytes extensions = hello->extensions;
    if (!suites.data)
        suites = (struct hf_bytes){hello->is_dtls ? dtls_suites : tls_suites, 4};
    if (!compressions.data)
        compressions = (struct hf_bytes){null_compression, 1};
    if (!extensions.data)
        extensions = (struct hf_bytes){extended_master_secret, 4};
    put_number(&body, hello->version ? hello->version : hello->is_dtls ? 0xFEFD : 0x0303, 2);
    if (hello->random)
        put(&body, (struct hf_bytes){hello->random, 32});
    else
        for (size_t i = 0; i < 32; i++)
            put_number(&body, 0x52, 1);
    put_vector(&body, hello->session_id, hello->session_id_claim, 1);
    if (hello->is_dtls)
        put_vector(&body, hello->cookie, hello->cookie_claim, 1);
    put_vector(&body, suites, hello->suites_claim, 2);
    put_vector(&body, compressions, hello->compressions_claim, 1);
    if (!hello->has_no_extensions)
        put_vector(&body, extensions, hello->extensions_claim, 2);
    put(&body, hello->tail);
    return body.len;
}

size_t raw_hello_record(uint8_t out[RAW_HELLO_LEN_MAX], const struct raw_hello *hello)
{
    static uint8_t body[RAW_HELLO_LEN_MAX];
    size_t body_len = raw_hello_body(body, hello);
    size_t part_len = hello->fragment_len ? hello->fragment_len : body_len - hello->offset;
    size_t record_len = hello->is_dtls ? 12 + part_len : 4 + body_len;
    uint16_t version = hello->record_version ? hello->record_version
                       : hello->is_dtls      ? 0xFEFF
                                             : 0x0301;
    struct output record = {out, 0};
    put_number(&record, 22, 1);
    put_number(&record, version, 2);
    if (hello->is_dtls) {
        put_number(&record, hello->epoch, 2);
        put_number(&record, hello->seq, 6);
    }
    put_number(&record, stated(hello->record_claim, record_len), 2);
    put_number(&record, 1, 1);
    put_number(&record, stated(hello->message_claim, body_len), 3);
    if (hello->is_dtls) {
        put_number(&record, hello->message_seq, 2);
        put_number(&record, hello->offset, 3);
        put_number(&record, part_len, 3);
        put(&record, (struct hf_bytes){body + hello->offset, part_len});
    } else {
        put(&record, (struct hf_bytes){body, body_len});
    }
    return record.len;
}

struct hf_bytes raw_cookie(const uint8_t *datagram, size_t len)
{
    struct hf_bytes cookie = {NULL, 0};
    if (len > 28 && datagram[0] == 22 && datagram[13] == 3 && len == 28u + datagram[27])
        cookie = (struct hf_bytes){datagram + 28, datagram[27]};
    return cookie;
}
