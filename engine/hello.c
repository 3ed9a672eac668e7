/**
 * hello.c - see hello.h.
 */
#include "hello.h"

enum {
    EXTENSION_SERVER_NAME = 0,
    EXTENSION_MAX_FRAGMENT_LENGTH = 1,
    EXTENSION_ENCRYPT_THEN_MAC = 22,
    EXTENSION_EXTENDED_MASTER_SECRET = 23,
    EXTENSION_RECORD_SIZE_LIMIT = 28,
    EXTENSION_RENEGOTIATION_INFO = 0xFF01,

    SUITE_EMPTY_RENEGOTIATION_INFO_SCSV = 0x00FF, /* RFC 5746 3.3 */
    SUITE_FALLBACK_SCSV = 0x5600,                 /* RFC 7507 */

    EXTENSIONS_MAX = 64, /* a hello with more is hostile */
    RECORD_SIZE_LIMIT_MIN = 64,
};

static bool has_u16(struct hf_bytes list, uint16_t wanted)
{
    for (size_t i = 0; i + 1 < list.len; i += 2) {
        if ((list.data[i] << 8 | list.data[i + 1]) == wanted)
            return true;
    }
    return false;
}

/** RFC 6066 3: one host_name; other name types are passed over. */
static enum hf_status read_server_name(struct hf_hello *hello, struct hf_bytes body)
{
    struct hf_reader reader = hf_reader_of(body);
    struct hf_bytes list = hf_reader_vector(&reader, 2);
    if (!hf_reader_done(&reader) || list.len == 0)
        return HF_E_DECODE;
    reader = hf_reader_of(list);
    while (reader.len > 0) {
        uint8_t type = hf_reader_u8(&reader);
        struct hf_bytes name = hf_reader_vector(&reader, 2);
        if (reader.is_failed || name.len == 0)
            return HF_E_DECODE;
        if (type != 0)
            continue;
        if (hello->server_name.len > 0 || name.len > 255)
            return HF_E_ILLEGAL_PARAMETER;
        for (size_t i = 0; i < name.len; i++) {
            if (name.data[i] <= ' ' || name.data[i] > '~')
                return HF_E_ILLEGAL_PARAMETER;
        }
        hello->server_name = name;
    }
    return HF_OK;
}

static enum hf_status read_extension(struct hf_hello *hello, uint16_t type, struct hf_bytes body)
{
    struct hf_reader reader = hf_reader_of(body);
    switch (type) {
    case EXTENSION_SERVER_NAME:
        return read_server_name(hello, body);
    case EXTENSION_MAX_FRAGMENT_LENGTH:
        hello->max_fragment_code = hf_reader_u8(&reader);
        if (!hf_reader_done(&reader))
            return HF_E_DECODE;
        return hello->max_fragment_code >= 1 && hello->max_fragment_code <= 4
                   ? HF_OK
                   : HF_E_ILLEGAL_PARAMETER;
    case EXTENSION_RECORD_SIZE_LIMIT:
        hello->has_record_size_limit = true;
        hello->record_size_limit = hf_reader_u16(&reader);
        if (!hf_reader_done(&reader))
            return HF_E_DECODE;
        return hello->record_size_limit >= RECORD_SIZE_LIMIT_MIN ? HF_OK : HF_E_ILLEGAL_PARAMETER;
    case EXTENSION_ENCRYPT_THEN_MAC:
        hello->has_encrypt_then_mac = true;
        return body.len == 0 ? HF_OK : HF_E_DECODE;
    case EXTENSION_EXTENDED_MASTER_SECRET:
        hello->has_extended_master_secret = true;
        return body.len == 0 ? HF_OK : HF_E_DECODE;
    case EXTENSION_RENEGOTIATION_INFO:
        hello->has_renegotiation_info = true;
        hello->renegotiation_info = hf_reader_vector(&reader, 1);
        return hf_reader_done(&reader) ? HF_OK : HF_E_DECODE;
    default:
        return HF_OK;
    }
}

static enum hf_status read_extensions(struct hf_hello *hello, struct hf_bytes list)
{
    uint16_t types[EXTENSIONS_MAX];
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
        if (count == EXTENSIONS_MAX)
            return HF_E_ILLEGAL_PARAMETER;
        types[count++] = type;
        HF_TRY(read_extension(hello, type, body));
    }
    return HF_OK;
}

enum hf_status hf_hello_read(struct hf_hello *out, struct hf_bytes body, bool is_datagram)
{
    struct hf_reader reader = hf_reader_of(body);
    struct hf_hello hello = {
        .version = hf_reader_u16(&reader),
        .random = hf_reader_take(&reader, HF_RANDOM_LEN),
        .session_id = hf_reader_vector(&reader, 1),
    };
    if (is_datagram)
        hello.cookie = hf_reader_vector(&reader, 1);
    hello.suites = hf_reader_vector(&reader, 2);
    hello.compressions = hf_reader_vector(&reader, 1);
    struct hf_bytes extensions = {NULL, 0};
    if (!reader.is_failed && reader.len > 0)
        extensions = hf_reader_vector(&reader, 2);
    if (!hf_reader_done(&reader) || hello.session_id.len > 32 || hello.suites.len == 0 ||
        hello.suites.len % 2 != 0 || hello.compressions.len == 0)
        return HF_E_DECODE;
    HF_TRY(read_extensions(&hello, extensions));
    *out = hello;
    return HF_OK;
}

/** DTLS counts versions downwards: 0xFEFD is 1.2, 0xFEFF is 1.0. */
static bool is_version_enough(uint16_t version, enum hf_transport transport)
{
    if (transport == HF_TRANSPORT_DTLS)
        return version >> 8 == 0xFE && version <= HF_VERSION_DTLS_1_2;
    return version >= HF_VERSION_TLS_1_2 && version >> 8 == 3;
}

static uint16_t choose_suite(const struct hf_listener *listener, const struct hf_hello *hello)
{
    for (size_t i = 0; i < listener->suite_count; i++) {
        if (has_u16(hello->suites, listener->suites[i]))
            return listener->suites[i];
    }
    return HF_SUITE_NONE;
}

enum hf_status hf_hello_agree(struct hf_terms *out, const struct hf_listener *listener,
                              const struct hf_hello *hello)
{
    if (!is_version_enough(hello->version, listener->transport))
        return has_u16(hello->suites, SUITE_FALLBACK_SCSV) ? HF_E_FALLBACK : HF_E_VERSION;
    bool has_null = false;
    for (size_t i = 0; i < hello->compressions.len; i++)
        has_null |= hello->compressions.data[i] == 0;
    if (!has_null)
        return HF_E_NO_COMPRESSION_NULL;
    if (hello->renegotiation_info.len > 0)
        return HF_E_RENEGOTIATION;
    struct hf_terms terms = {
        .suite = choose_suite(listener, hello),
        .is_ems = hello->has_extended_master_secret,
        .is_secure_renegotiation = hello->has_renegotiation_info ||
                                   has_u16(hello->suites, SUITE_EMPTY_RENEGOTIATION_INFO_SCSV),
        .record_size_limit = hello->record_size_limit,
        /* RFC 8449 5: where both are offered, max_fragment_length is ignored. */
        .max_fragment_code = hello->has_record_size_limit ? 0 : hello->max_fragment_code,
    };
    if (terms.suite == HF_SUITE_NONE)
        return HF_E_NO_COMMON_SUITE;
    if (listener->extended_master_secret_needed && !terms.is_ems)
        return HF_E_NO_EXTENDED_MASTER_SECRET;
    /* RFC 7366 3: answered only where a block cipher was selected. */
    terms.is_etm = hello->has_encrypt_then_mac && listener->encrypt_then_mac &&
                   terms.suite == HF_SUITE_PSK_AES_128_CBC_SHA256;
    terms.server_name_len = (uint8_t)hello->server_name.len;
    for (size_t i = 0; i < hello->server_name.len; i++) {
        uint8_t byte = hello->server_name.data[i];
        terms.server_name[i] = byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte | 0x20) : byte;
    }
    *out = terms;
    return HF_OK;
}

static void write_extensions(struct hf_writer *writer, const struct hf_terms *terms)
{
    if (terms->is_secure_renegotiation) {
        hf_writer_u16(writer, EXTENSION_RENEGOTIATION_INFO);
        hf_writer_u16(writer, 1);
        hf_writer_u8(writer, 0);
    }
    if (terms->is_ems)
        hf_writer_uint(writer, (uint64_t)EXTENSION_EXTENDED_MASTER_SECRET << 16, 4);
    if (terms->is_etm)
        hf_writer_uint(writer, (uint64_t)EXTENSION_ENCRYPT_THEN_MAC << 16, 4);
    if (terms->max_fragment_code) {
        hf_writer_u16(writer, EXTENSION_MAX_FRAGMENT_LENGTH);
        hf_writer_u16(writer, 1);
        hf_writer_u8(writer, terms->max_fragment_code);
    }
    if (terms->record_size_limit) {
        hf_writer_u16(writer, EXTENSION_RECORD_SIZE_LIMIT);
        hf_writer_u16(writer, 2);
        hf_writer_u16(writer, HF_PLAINTEXT_LEN_MAX);
    }
}

void hf_hello_write(struct hf_writer *writer, const struct hf_terms *terms, uint16_t version,
                    const uint8_t server_random[HF_RANDOM_LEN])
{
    hf_writer_u16(writer, version);
    hf_writer_bytes(writer, server_random, HF_RANDOM_LEN);
    hf_writer_u8(writer, 0); /* no session to resume */
    hf_writer_u16(writer, terms->suite);
    hf_writer_u8(writer, 0); /* null compression */
    size_t before = writer->len;
    size_t mark = hf_writer_open(writer, 2);
    write_extensions(writer, terms);
    if (writer->len == mark && !writer->is_failed)
        writer->len = before; /* RFC 5246 7.4.1.4: no block rather than an empty one */
    else
        hf_writer_close(writer, mark, 2);
}

enum hf_cipher hf_hello_cipher(uint16_t suite, bool is_etm)
{
    switch (suite) {
    case HF_SUITE_PSK_AES_128_GCM_SHA256:
        return HF_CIPHER_AES_128_GCM;
    case HF_SUITE_PSK_AES_128_CCM:
        return HF_CIPHER_AES_128_CCM;
    case HF_SUITE_PSK_AES_128_CCM_8:
        return HF_CIPHER_AES_128_CCM_8;
    case HF_SUITE_PSK_AES_128_CBC_SHA256:
        return is_etm ? HF_CIPHER_AES_128_CBC_SHA256_ETM : HF_CIPHER_AES_128_CBC_SHA256;
    default:
        return HF_CIPHER_NONE;
    }
}
