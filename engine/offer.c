/**
 * offer.c - see offer.h.
 */
#include "offer.h"

#include "hello.h"

enum {
    EXTENSION_SERVER_NAME = 0,
    EXTENSION_MAX_FRAGMENT_LENGTH = 1,
    EXTENSION_ENCRYPT_THEN_MAC = 22,
    EXTENSION_EXTENDED_MASTER_SECRET = 23,
    EXTENSION_RENEGOTIATION_INFO = 0xFF01,
};

/** RFC 6066 4: 2^9 is 1, up to 2^12, which is 4; 0: nothing to ask for. */
static uint8_t fragment_code(const struct hf_dialer *dialer)
{
    uint8_t code = 0;
    for (uint16_t len = dialer->max_fragment_len; len >= 512; len /= 2)
        code++;
    return code;
}

static bool is_offered(const struct hf_dialer *dialer, uint16_t suite)
{
    bool is_found = false;
    for (size_t i = 0; i < dialer->suite_count; i++)
        is_found |= dialer->suites[i] == suite;
    return is_found && hf_hello_key_exchange(suite) == HF_KEY_EXCHANGE_PSK;
}

/** RFC 7366 is for block ciphers only. */
static bool offers_encrypt_then_mac(const struct hf_dialer *dialer)
{
    return dialer->encrypt_then_mac && is_offered(dialer, HF_SUITE_PSK_AES_128_CBC_SHA256);
}

static void write_server_name(struct hf_writer *writer, const struct hf_terms *terms)
{
    hf_writer_u16(writer, EXTENSION_SERVER_NAME);
    size_t body = hf_writer_open(writer, 2);
    size_t list = hf_writer_open(writer, 2);
    hf_writer_u8(writer, 0); /* host_name */
    hf_writer_u16(writer, terms->server_name_len);
    hf_writer_bytes(writer, terms->server_name, terms->server_name_len);
    hf_writer_close(writer, list, 2);
    hf_writer_close(writer, body, 2);
}

static void write_extensions(struct hf_writer *writer, const struct hf_dialer *dialer,
                             const struct hf_terms *terms)
{
    size_t mark = hf_writer_open(writer, 2);
    if (terms->server_name_len > 0)
        write_server_name(writer, terms);
    hf_writer_uint(writer, (uint64_t)EXTENSION_EXTENDED_MASTER_SECRET << 16, 4);
    if (offers_encrypt_then_mac(dialer))
        hf_writer_uint(writer, (uint64_t)EXTENSION_ENCRYPT_THEN_MAC << 16, 4);
    if (fragment_code(dialer)) {
        hf_writer_u16(writer, EXTENSION_MAX_FRAGMENT_LENGTH);
        hf_writer_u16(writer, 1);
        hf_writer_u8(writer, fragment_code(dialer));
    }
    hf_writer_u16(writer, EXTENSION_RENEGOTIATION_INFO); /* last: some choke on an empty end */
    hf_writer_u16(writer, 1);
    hf_writer_u8(writer, 0);
    hf_writer_close(writer, mark, 2);
}

void hf_offer_write(struct hf_writer *writer, const struct hf_dialer *dialer,
                    const struct hf_terms *terms, const uint8_t client_random[HF_RANDOM_LEN],
                    struct hf_bytes cookie)
{
    bool is_datagram = dialer->transport == HF_TRANSPORT_DTLS;
    hf_writer_u16(writer, is_datagram ? HF_VERSION_DTLS_1_2 : HF_VERSION_TLS_1_2);
    hf_writer_bytes(writer, client_random, HF_RANDOM_LEN);
    hf_writer_u8(writer, 0); /* no session to resume */
    if (is_datagram) {
        hf_writer_u8(writer, (uint8_t)cookie.len);
        hf_writer_bytes(writer, cookie.data, cookie.len);
    }
    size_t suites = hf_writer_open(writer, 2);
    for (size_t i = 0; i < dialer->suite_count; i++) {
        if (is_offered(dialer, dialer->suites[i]))
            hf_writer_u16(writer, dialer->suites[i]);
    }
    hf_writer_close(writer, suites, 2);
    hf_writer_u16(writer, 1 << 8); /* one compression method: null */
    write_extensions(writer, dialer, terms);
}

/** One extension of the answer, which must be one of ours (RFC 5246 7.4.1.4). */
static enum hf_status take_extension(struct hf_terms *terms, const struct hf_dialer *dialer,
                                     uint16_t type, struct hf_bytes body)
{
    switch (type) {
    case EXTENSION_SERVER_NAME:
        if (terms->server_name_len == 0)
            return HF_E_UNSUPPORTED_EXTENSION;
        return body.len == 0 ? HF_OK : HF_E_DECODE;
    case EXTENSION_EXTENDED_MASTER_SECRET:
        terms->is_ems = true;
        return body.len == 0 ? HF_OK : HF_E_DECODE;
    case EXTENSION_ENCRYPT_THEN_MAC:
        if (!offers_encrypt_then_mac(dialer))
            return HF_E_UNSUPPORTED_EXTENSION;
        terms->is_etm = true;
        return body.len == 0 ? HF_OK : HF_E_DECODE;
    case EXTENSION_MAX_FRAGMENT_LENGTH:
        if (!fragment_code(dialer))
            return HF_E_UNSUPPORTED_EXTENSION;
        if (body.len != 1)
            return HF_E_DECODE;
        terms->max_fragment_code = body.data[0];
        return body.data[0] == fragment_code(dialer) ? HF_OK : HF_E_ILLEGAL_PARAMETER;
    case EXTENSION_RENEGOTIATION_INFO: /* RFC 5746 3.4: empty, or it is not our first handshake */
        terms->is_secure_renegotiation = true;
        return body.len == 1 && body.data[0] == 0 ? HF_OK : HF_E_RENEGOTIATION;
    default:
        return HF_E_UNSUPPORTED_EXTENSION;
    }
}

static enum hf_status take_extensions(struct hf_terms *terms, const struct hf_dialer *dialer,
                                      struct hf_bytes list)
{
    enum { TYPES_MAX = 8 }; /* more than we offer */
    uint16_t types[TYPES_MAX];
    size_t count = 0;
    struct hf_reader reader = hf_reader_of(list);
    while (reader.len > 0) {
        uint16_t type = hf_reader_u16(&reader);
        struct hf_bytes body = hf_reader_vector(&reader, 2);
        if (reader.is_failed)
            return HF_E_DECODE;
        for (size_t i = 0; i < count; i++) {
            if (types[i] == type)
                return HF_E_ILLEGAL_PARAMETER;
        }
        if (count == TYPES_MAX)
            return HF_E_ILLEGAL_PARAMETER;
        types[count++] = type;
        HF_TRY(take_extension(terms, dialer, type, body));
    }
    return HF_OK;
}

enum hf_status hf_offer_accept(struct hf_terms *terms, uint8_t server_random[HF_RANDOM_LEN],
                               const struct hf_dialer *dialer, struct hf_bytes body)
{
    struct hf_reader reader = hf_reader_of(body);
    struct hf_terms settled = *terms;
    uint16_t version = hf_reader_u16(&reader);
    struct hf_bytes random = hf_reader_take(&reader, HF_RANDOM_LEN);
    struct hf_bytes session_id = hf_reader_vector(&reader, 1);
    settled.suite = hf_reader_u16(&reader);
    uint8_t compression = hf_reader_u8(&reader);
    struct hf_bytes extensions = {NULL, 0};
    if (!reader.is_failed && reader.len > 0)
        extensions = hf_reader_vector(&reader, 2);
    bool is_datagram = dialer->transport == HF_TRANSPORT_DTLS;
    if (!reader.is_failed && version != (is_datagram ? HF_VERSION_DTLS_1_2 : HF_VERSION_TLS_1_2))
        return HF_E_VERSION;
    if (!hf_reader_done(&reader) || session_id.len > 32)
        return HF_E_DECODE;
    if (!is_offered(dialer, settled.suite) || compression != 0)
        return HF_E_ILLEGAL_PARAMETER;
    HF_TRY(take_extensions(&settled, dialer, extensions));
    if (settled.is_etm && settled.suite != HF_SUITE_PSK_AES_128_CBC_SHA256)
        return HF_E_ILLEGAL_PARAMETER; /* RFC 7366 3 */
    if (dialer->extended_master_secret_needed && !settled.is_ems)
        return HF_E_NO_EXTENDED_MASTER_SECRET;
    memcpy(server_random, random.data, HF_RANDOM_LEN);
    *terms = settled;
    return HF_OK;
}
