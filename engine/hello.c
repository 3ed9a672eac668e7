/**
 * hello.c - see hello.h.
 */
#include "hello.h"

#include "authority.h"
#include "certify.h"

enum {
    SUITE_EMPTY_RENEGOTIATION_INFO_SCSV = 0x00FF, /* RFC 5746 3.3 */
    SUITE_FALLBACK_SCSV = 0x5600,                 /* RFC 7507 */

    EXTENSIONS_FEW = 32, /* so many are looked through one by one; no honest hello has more */
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

/** What only suites with certificates need (RFC 8422 5.1, RFC 5246 7.4.1.4.1, RFC 7250 3): kept as
 *  it is, and not judged where such a suite is not used. */
static void keep_extension(struct hf_hello *hello, uint16_t type, struct hf_bytes body)
{
    const struct hf_offered offered = {true, body};
    switch (type) {
    case HF_EXTENSION_SUPPORTED_GROUPS:
        hello->groups = offered;
        break;
    case HF_EXTENSION_EC_POINT_FORMATS:
        hello->point_formats = offered;
        break;
    case HF_EXTENSION_SIGNATURE_ALGORITHMS:
        hello->signature_algorithms = offered;
        break;
    case HF_EXTENSION_CLIENT_CERTIFICATE_TYPE:
        hello->client_types = offered;
        break;
    case HF_EXTENSION_SERVER_CERTIFICATE_TYPE:
        hello->server_types = offered;
        break;
    default:
        break;
    }
}

static enum hf_status read_extension(struct hf_hello *hello, uint16_t type, struct hf_bytes body)
{
    struct hf_reader reader = hf_reader_of(body);
    switch (type) {
    case HF_EXTENSION_SERVER_NAME:
        return read_server_name(hello, body);
    case HF_EXTENSION_MAX_FRAGMENT_LENGTH:
        hello->max_fragment_code = hf_reader_u8(&reader);
        if (!hf_reader_done(&reader))
            return HF_E_DECODE;
        return hello->max_fragment_code >= 1 && hello->max_fragment_code <= 4
                   ? HF_OK
                   : HF_E_ILLEGAL_PARAMETER;
    case HF_EXTENSION_RECORD_SIZE_LIMIT:
        hello->has_record_size_limit = true;
        hello->record_size_limit = hf_reader_u16(&reader);
        if (!hf_reader_done(&reader))
            return HF_E_DECODE;
        return hello->record_size_limit >= RECORD_SIZE_LIMIT_MIN ? HF_OK : HF_E_ILLEGAL_PARAMETER;
    case HF_EXTENSION_ENCRYPT_THEN_MAC:
        hello->has_encrypt_then_mac = true;
        return body.len == 0 ? HF_OK : HF_E_DECODE;
    case HF_EXTENSION_EXTENDED_MASTER_SECRET:
        hello->has_extended_master_secret = true;
        return body.len == 0 ? HF_OK : HF_E_DECODE;
    case HF_EXTENSION_SESSION_TICKET:
        hello->has_ticket = true;
        hello->ticket = body;
        return HF_OK;
    case HF_EXTENSION_CONNECTION_ID:
        hello->has_connection_id = true;
        hello->connection_id = hf_reader_vector(&reader, 1);
        return hf_reader_done(&reader) ? HF_OK : HF_E_DECODE;
    case HF_EXTENSION_RETURN_ROUTABILITY:
        hello->has_return_routability = true;
        return body.len == 0 ? HF_OK : HF_E_DECODE;
    case HF_EXTENSION_RENEGOTIATION_INFO:
        hello->has_renegotiation_info = true;
        hello->renegotiation_info = hf_reader_vector(&reader, 1);
        return hf_reader_done(&reader) ? HF_OK : HF_E_DECODE;
    default:
        keep_extension(hello, type, body);
        return HF_OK;
    }
}

/** Types of extensions had so far: a short list, and when that is full a bit for each there is. */
struct seen {
    size_t count;
    uint16_t few[EXTENSIONS_FEW];
    uint8_t bits[65536 / 8]; /* not touched before */
};

static void mark(struct seen *seen, uint16_t type)
{
    seen->bits[type / 8] |= (uint8_t)(1 << type % 8);
}

/** Remembers a type. True: it is here for the second time. */
static bool is_repeated(struct seen *seen, uint16_t type)
{
    if (seen->count < EXTENSIONS_FEW) {
        for (size_t i = 0; i < seen->count; i++) {
            if (seen->few[i] == type)
                return true;
        }
        seen->few[seen->count++] = type;
        return false;
    }
    if (seen->count++ == EXTENSIONS_FEW) {
        memset(seen->bits, 0, sizeof seen->bits);
        for (size_t i = 0; i < EXTENSIONS_FEW; i++)
            mark(seen, seen->few[i]);
    }
    if (seen->bits[type / 8] >> type % 8 & 1)
        return true;
    mark(seen, type);
    return false;
}

static enum hf_status read_extensions(struct hf_hello *hello, struct hf_bytes list)
{
    struct seen seen;
    seen.count = 0;
    struct hf_reader reader = hf_reader_of(list);
    while (reader.len > 0) {
        uint16_t type = hf_reader_u16(&reader);
        struct hf_bytes body = hf_reader_vector(&reader, 2);
        if (reader.is_failed)
            return HF_E_DECODE;
        if (is_repeated(&seen, type))
            return HF_E_ILLEGAL_PARAMETER;
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

/** Whatever is newer, of another major version too, is answered with ours (RFC 5246 E.1). DTLS
 *  counts downwards from 0xFEFF, its 1.0, to 0xFEFD, its 1.2; small numbers are TLS's. */
static bool is_version_enough(uint16_t version, enum hf_transport transport)
{
    if (transport == HF_TRANSPORT_DTLS)
        return version >> 15 == 1 && version <= HF_VERSION_DTLS_1_2;
    return version >= HF_VERSION_TLS_1_2;
}

/** The list that is all of an extension: a length of `width` bytes, then elements of `unit`. Empty
 *  where it was not offered. */
static enum hf_status read_list(struct hf_bytes *out, const struct hf_offered *offered,
                                size_t width, size_t unit)
{
    struct hf_reader reader = hf_reader_of(offered->body);
    *out = (struct hf_bytes){NULL, 0};
    if (!offered->is_offered)
        return HF_OK;
    *out = hf_reader_vector(&reader, width);
    return hf_reader_done(&reader) && out->len > 0 && out->len % unit == 0 ? HF_OK : HF_E_DECODE;
}

/** RFC 7250 4.2: the first type of the peer's list that we have a use for. No list: X.509. */
static enum hf_status agree_type(bool *is_raw, const struct hf_offered *offered, bool has_x509,
                                 bool has_raw)
{
    struct hf_bytes list;
    HF_TRY(read_list(&list, offered, 1, 1));
    *is_raw = false;
    if (!offered->is_offered)
        return has_x509 ? HF_OK : HF_E_CERTIFICATE_TYPE;
    for (size_t i = 0; i < list.len; i++) {
        *is_raw = list.data[i] == HF_CERTIFICATE_TYPE_RAW;
        if ((*is_raw && has_raw) || (list.data[i] == HF_CERTIFICATE_TYPE_X509 && has_x509))
            return HF_OK;
    }
    return HF_E_CERTIFICATE_TYPE;
}

/** secp256r1, uncompressed, ECDSA with SHA-256: the profile of TS-0003 10.1.1.1. Without
 *  signature_algorithms it would be SHA-1 (RFC 5246 7.4.1.4.1). */
static enum hf_status agree_curve(const struct hf_hello *hello)
{
    struct hf_bytes groups, formats, algorithms;
    HF_TRY(read_list(&groups, &hello->groups, 2, 2));
    HF_TRY(read_list(&formats, &hello->point_formats, 1, 1));
    HF_TRY(read_list(&algorithms, &hello->signature_algorithms, 2, 2));
    if (groups.len > 0 && !has_u16(groups, HF_GROUP_SECP256R1))
        return HF_E_NO_COMMON_GROUP;
    if (formats.len > 0 && !memchr(formats.data, HF_POINT_FORMAT_UNCOMPRESSED, formats.len))
        return HF_E_ILLEGAL_PARAMETER; /* RFC 8422 5.1.2 */
    return has_u16(algorithms, HF_SIGNATURE_ECDSA_SHA256) ? HF_OK : HF_E_NO_COMMON_SIGNATURE;
}

/** Whether a suite with certificates can be had with this peer. */
static enum hf_status agree_certificate(struct hf_terms *terms, const struct hf_listener *listener,
                                        const struct hf_hello *hello)
{
    if (terms->authority_index >= listener->authority_count)
        return HF_E_NO_COMMON_SUITE;
    const struct hf_listener_authority *authority = &listener->authorities[terms->authority_index];
    if (!authority->trust || (!authority->x509 && !authority->raw))
        return HF_E_NO_COMMON_SUITE;
    uint8_t flavours = hf_trust_flavours(authority->trust);
    HF_TRY(agree_curve(hello));
    HF_TRY(agree_type(&terms->is_server_raw, &hello->server_types, authority->x509 != NULL,
                      authority->raw != NULL));
    HF_TRY(agree_type(&terms->is_client_raw, &hello->client_types, flavours & ~HF_FLAVOUR_RAW,
                      flavours & HF_FLAVOUR_RAW));
    terms->has_server_type = hello->server_types.is_offered;
    terms->has_client_type = hello->client_types.is_offered;
    terms->has_point_formats = hello->point_formats.is_offered;
    return HF_OK;
}

/** The first suite of the listener's list that both can use. A suite that only certificates keep
 *  from being used gives its reason if there is no other. */
static enum hf_status choose_suite(struct hf_terms *terms, const struct hf_listener *listener,
                                   const struct hf_hello *hello)
{
    enum hf_status refusal = HF_E_NO_COMMON_SUITE;
    for (size_t i = 0; i < listener->suite_count; i++) {
        uint16_t suite = listener->suites[i];
        if (!has_u16(hello->suites, suite))
            continue;
        enum hf_status status = hf_hello_key_exchange(suite) == HF_KEY_EXCHANGE_PSK
                                    ? HF_OK
                                    : agree_certificate(terms, listener, hello);
        if (status == HF_OK) {
            terms->suite = suite;
            return HF_OK;
        }
        if (refusal == HF_E_NO_COMMON_SUITE)
            refusal = status;
    }
    return refusal;
}

static bool offers_null_compression(const struct hf_hello *hello)
{
    return memchr(hello->compressions.data, 0, hello->compressions.len) != NULL;
}

/** RFC 9146 3: a peer's CID longer than there is room for is declined, and with it connection IDs
 *  altogether. RFC 9853 3: no checks without them. */
static void agree_cid(struct hf_terms *terms, const struct hf_listener *listener,
                      const struct hf_hello *hello)
{
    if (listener->transport != HF_TRANSPORT_DTLS || !hello->has_connection_id ||
        listener->connection_id == HF_CONNECTION_ID_OFF ||
        hello->connection_id.len > HF_CID_LEN_MAX)
        return;
    terms->has_cid = true;
    terms->has_rrc = hello->has_return_routability && listener->return_routability;
    terms->peer_cid_len = (uint8_t)hello->connection_id.len;
    if (terms->peer_cid_len > 0)
        memcpy(terms->peer_cid, hello->connection_id.data, terms->peer_cid_len);
}

enum hf_status hf_hello_agree(struct hf_terms *out, const struct hf_listener *listener,
                              const struct hf_hello *hello)
{
    if (!is_version_enough(hello->version, listener->transport))
        return has_u16(hello->suites, SUITE_FALLBACK_SCSV) ? HF_E_FALLBACK : HF_E_VERSION;
    if (!offers_null_compression(hello))
        return HF_E_NO_COMPRESSION_NULL;
    if (hello->renegotiation_info.len > 0)
        return HF_E_RENEGOTIATION;
    struct hf_terms terms = {
        .is_ems = hello->has_extended_master_secret,
        .is_secure_renegotiation = hello->has_renegotiation_info ||
                                   has_u16(hello->suites, SUITE_EMPTY_RENEGOTIATION_INFO_SCSV),
        .record_size_limit = hello->record_size_limit,
        /* RFC 8449 5: where both are offered, max_fragment_length is ignored. */
        .max_fragment_code = hello->has_record_size_limit ? 0 : hello->max_fragment_code,
    };
    HF_TRY(hf_authority_find(&terms.authority_index, &terms.is_name_known, listener,
                             hello->server_name));
    HF_TRY(choose_suite(&terms, listener, hello));
    if (listener->extended_master_secret_needed && !terms.is_ems)
        return HF_E_NO_EXTENDED_MASTER_SECRET;
    /* RFC 7366 3: answered only where a block cipher was selected. */
    terms.is_etm = hello->has_encrypt_then_mac && listener->encrypt_then_mac &&
                   hf_hello_cipher(terms.suite, false) == HF_CIPHER_AES_128_CBC_SHA256;
    agree_cid(&terms, listener, hello);
    terms.server_name_len = (uint8_t)hello->server_name.len;
    for (size_t i = 0; i < hello->server_name.len; i++) {
        uint8_t byte = hello->server_name.data[i];
        terms.server_name[i] = byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte | 0x20) : byte;
    }
    *out = terms;
    return HF_OK;
}

/** RFC 7250 3: one type, no list. */
static void write_type(struct hf_writer *writer, uint16_t extension, bool is_raw)
{
    hf_writer_u16(writer, extension);
    hf_writer_u16(writer, 1);
    hf_writer_u8(writer, is_raw ? HF_CERTIFICATE_TYPE_RAW : HF_CERTIFICATE_TYPE_X509);
}

void hf_hello_write_cid(struct hf_writer *writer, const struct hf_terms *terms)
{
    if (!terms->has_cid)
        return;
    hf_writer_u16(writer, HF_EXTENSION_CONNECTION_ID);
    hf_writer_u16(writer, (uint16_t)(1 + terms->own_cid_len));
    hf_writer_u8(writer, terms->own_cid_len);
    hf_writer_bytes(writer, terms->own_cid, terms->own_cid_len);
    if (terms->has_rrc)
        hf_writer_uint(writer, (uint64_t)HF_EXTENSION_RETURN_ROUTABILITY << 16, 4);
}

static void write_extensions(struct hf_writer *writer, const struct hf_terms *terms)
{
    if (terms->is_secure_renegotiation) {
        hf_writer_u16(writer, HF_EXTENSION_RENEGOTIATION_INFO);
        hf_writer_u16(writer, 1);
        hf_writer_u8(writer, 0);
    }
    if (terms->is_ems)
        hf_writer_uint(writer, (uint64_t)HF_EXTENSION_EXTENDED_MASTER_SECRET << 16, 4);
    if (terms->is_etm)
        hf_writer_uint(writer, (uint64_t)HF_EXTENSION_ENCRYPT_THEN_MAC << 16, 4);
    if (terms->is_ticket_following)
        hf_writer_uint(writer, (uint64_t)HF_EXTENSION_SESSION_TICKET << 16, 4);
    if (terms->is_name_known)
        hf_writer_uint(writer, (uint64_t)HF_EXTENSION_SERVER_NAME << 16, 4);
    if (terms->has_point_formats) { /* RFC 8422 5.2 */
        hf_writer_u16(writer, HF_EXTENSION_EC_POINT_FORMATS);
        hf_writer_uint(writer, 2 << 16 | 1 << 8 | HF_POINT_FORMAT_UNCOMPRESSED, 4);
    }
    if (terms->has_client_type)
        write_type(writer, HF_EXTENSION_CLIENT_CERTIFICATE_TYPE, terms->is_client_raw);
    if (terms->has_server_type)
        write_type(writer, HF_EXTENSION_SERVER_CERTIFICATE_TYPE, terms->is_server_raw);
    if (terms->max_fragment_code) {
        hf_writer_u16(writer, HF_EXTENSION_MAX_FRAGMENT_LENGTH);
        hf_writer_u16(writer, 1);
        hf_writer_u8(writer, terms->max_fragment_code);
    }
    hf_hello_write_cid(writer, terms);
    if (terms->record_size_limit) {
        hf_writer_u16(writer, HF_EXTENSION_RECORD_SIZE_LIMIT);
        hf_writer_u16(writer, 2);
        hf_writer_u16(writer, HF_PLAINTEXT_LEN_MAX);
    }
}

void hf_hello_write(struct hf_writer *writer, const struct hf_terms *terms, uint16_t version,
                    const uint8_t server_random[HF_RANDOM_LEN])
{
    hf_writer_u16(writer, version);
    hf_writer_bytes(writer, server_random, HF_RANDOM_LEN);
    hf_writer_u8(writer, terms->session_id_len);
    hf_writer_bytes(writer, terms->session_id, terms->session_id_len);
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

enum hf_key_exchange hf_hello_key_exchange(uint16_t suite)
{
    switch (suite) {
    case HF_SUITE_ECDHE_ECDSA_AES_128_CBC_SHA256:
    case HF_SUITE_ECDHE_ECDSA_AES_128_GCM_SHA256:
    case HF_SUITE_ECDHE_ECDSA_AES_128_CCM:
    case HF_SUITE_ECDHE_ECDSA_AES_128_CCM_8:
        return HF_KEY_EXCHANGE_ECDHE_ECDSA;
    default:
        return HF_KEY_EXCHANGE_PSK;
    }
}

enum hf_cipher hf_hello_cipher(uint16_t suite, bool is_etm)
{
    switch (suite) {
    case HF_SUITE_PSK_AES_128_GCM_SHA256:
    case HF_SUITE_ECDHE_ECDSA_AES_128_GCM_SHA256:
        return HF_CIPHER_AES_128_GCM;
    case HF_SUITE_PSK_AES_128_CCM:
    case HF_SUITE_ECDHE_ECDSA_AES_128_CCM:
        return HF_CIPHER_AES_128_CCM;
    case HF_SUITE_PSK_AES_128_CCM_8:
    case HF_SUITE_ECDHE_ECDSA_AES_128_CCM_8:
        return HF_CIPHER_AES_128_CCM_8;
    case HF_SUITE_PSK_AES_128_CBC_SHA256:
    case HF_SUITE_ECDHE_ECDSA_AES_128_CBC_SHA256:
        return is_etm ? HF_CIPHER_AES_128_CBC_SHA256_ETM : HF_CIPHER_AES_128_CBC_SHA256;
    default:
        return HF_CIPHER_NONE;
    }
}
