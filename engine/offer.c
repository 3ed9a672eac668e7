/**
 * offer.c - see offer.h.
 */
#include "offer.h"

#include "certify.h"
#include "hello.h"

/** What is offered: the dialer's part, and what this handshake has. */
struct offer {
    const struct hf_dialer *dialer;
    bool has_identity;
    bool has_server_x509, has_server_raw; /**< kinds of the server's credential that will do */
    bool has_cid, has_rrc;
};

static struct offer offer_of(const struct hf_dialer *dialer, const struct hf_handshake *handshake)
{
    unsigned flavours = dialer->trust ? hf_trust_flavours(dialer->trust) : HF_FLAVOUR_NONE;
    if (handshake->flavour != HF_FLAVOUR_NONE)
        flavours &= handshake->flavour;
    return (struct offer){
        .dialer = dialer,
        .has_identity = handshake->identity_len > 0,
        .has_server_x509 = (flavours & ~(unsigned)HF_FLAVOUR_RAW) != 0,
        .has_server_raw = (flavours & HF_FLAVOUR_RAW) != 0,
        .has_cid = handshake->terms.has_cid,
        .has_rrc = handshake->terms.has_rrc,
    };
}

/** RFC 6066 4: 2^9 is 1, up to 2^12, which is 4; 0: nothing to ask for. */
static uint8_t fragment_code(const struct hf_dialer *dialer)
{
    uint8_t code = 0;
    for (uint16_t len = dialer->max_fragment_len; len >= 512; len /= 2)
        code++;
    return code;
}

static bool is_possible(const struct hf_dialer *dialer, bool has_identity, uint16_t suite)
{
    if (hf_hello_key_exchange(suite) == HF_KEY_EXCHANGE_PSK)
        return has_identity;
    return dialer->trust && (dialer->x509 || dialer->raw);
}

bool hf_offer_has_suite(const struct hf_dialer *dialer, bool has_identity)
{
    bool is_found = false;
    for (size_t i = 0; i < dialer->suite_count; i++)
        is_found |= is_possible(dialer, has_identity, dialer->suites[i]);
    return is_found;
}

static bool is_offered(const struct offer *offer, uint16_t suite)
{
    bool is_found = false;
    for (size_t i = 0; i < offer->dialer->suite_count; i++)
        is_found |= offer->dialer->suites[i] == suite;
    return is_found && is_possible(offer->dialer, offer->has_identity, suite);
}

bool hf_offer_is_offered(const struct hf_dialer *dialer, const struct hf_handshake *handshake,
                         uint16_t suite)
{
    const struct offer offer = offer_of(dialer, handshake);
    return is_offered(&offer, suite);
}

static bool is_block_cipher(uint16_t suite)
{
    return hf_hello_cipher(suite, false) == HF_CIPHER_AES_128_CBC_SHA256;
}

/** RFC 7366 is for block ciphers only. */
static bool offers_encrypt_then_mac(const struct offer *offer)
{
    bool is_found = false;
    for (size_t i = 0; i < offer->dialer->suite_count; i++) {
        uint16_t suite = offer->dialer->suites[i];
        is_found |= is_block_cipher(suite) && is_offered(offer, suite);
    }
    return is_found && offer->dialer->encrypt_then_mac;
}

static bool offers_certificates(const struct offer *offer)
{
    bool is_found = false;
    for (size_t i = 0; i < offer->dialer->suite_count; i++) {
        uint16_t suite = offer->dialer->suites[i];
        is_found |= hf_hello_key_exchange(suite) != HF_KEY_EXCHANGE_PSK && is_offered(offer, suite);
    }
    return is_found;
}

static void write_server_name(struct hf_writer *writer, const struct hf_terms *terms)
{
    hf_writer_u16(writer, HF_EXTENSION_SERVER_NAME);
    size_t body = hf_writer_open(writer, 2);
    size_t list = hf_writer_open(writer, 2);
    hf_writer_u8(writer, 0); /* host_name */
    hf_writer_u16(writer, terms->server_name_len);
    hf_writer_bytes(writer, terms->server_name, terms->server_name_len);
    hf_writer_close(writer, list, 2);
    hf_writer_close(writer, body, 2);
}

/** One extension that is a list of one number: a length of the list, and the number. */
static void write_list(struct hf_writer *writer, uint16_t type, size_t width, uint64_t value,
                       size_t value_len)
{
    hf_writer_u16(writer, type);
    hf_writer_u16(writer, (uint16_t)(width + value_len));
    hf_writer_uint(writer, value_len, width);
    hf_writer_uint(writer, value, value_len);
}

/** RFC 7250 3; not at all where only certificates will do, as without it. */
static void write_types(struct hf_writer *writer, uint16_t extension, bool has_x509, bool has_raw)
{
    if (!has_raw)
        return;
    if (has_x509)
        write_list(writer, extension, 1, HF_CERTIFICATE_TYPE_X509 << 8 | HF_CERTIFICATE_TYPE_RAW,
                   2);
    else
        write_list(writer, extension, 1, HF_CERTIFICATE_TYPE_RAW, 1);
}

static void write_curve_extensions(struct hf_writer *writer, const struct offer *offer)
{
    write_list(writer, HF_EXTENSION_SUPPORTED_GROUPS, 2, HF_GROUP_SECP256R1, 2);
    write_list(writer, HF_EXTENSION_EC_POINT_FORMATS, 1, HF_POINT_FORMAT_UNCOMPRESSED, 1);
    write_list(writer, HF_EXTENSION_SIGNATURE_ALGORITHMS, 2, HF_SIGNATURE_ECDSA_SHA256, 2);
    write_types(writer, HF_EXTENSION_CLIENT_CERTIFICATE_TYPE, offer->dialer->x509 != NULL,
                offer->dialer->raw != NULL);
    write_types(writer, HF_EXTENSION_SERVER_CERTIFICATE_TYPE, offer->has_server_x509,
                offer->has_server_raw);
}

/** The ticket itself is the message's tail: all lengths count it. */
static void write_ticket(struct hf_writer *writer, size_t mark, uint16_t len)
{
    hf_writer_u16(writer, HF_EXTENSION_SESSION_TICKET);
    hf_writer_u16(writer, len);
    size_t block_len = writer->len - mark + len;
    if (writer->is_failed)
        return;
    writer->data[mark - 2] = (uint8_t)(block_len >> 8);
    writer->data[mark - 1] = (uint8_t)block_len;
}

static void write_extensions(struct hf_writer *writer, const struct offer *offer,
                             const struct hf_handshake *handshake)
{
    const struct hf_terms *terms = &handshake->terms;
    uint8_t code = fragment_code(offer->dialer);
    size_t mark = hf_writer_open(writer, 2);
    if (terms->server_name_len > 0)
        write_server_name(writer, terms);
    hf_writer_uint(writer, (uint64_t)HF_EXTENSION_EXTENDED_MASTER_SECRET << 16, 4);
    if (offers_encrypt_then_mac(offer))
        hf_writer_uint(writer, (uint64_t)HF_EXTENSION_ENCRYPT_THEN_MAC << 16, 4);
    if (offers_certificates(offer))
        write_curve_extensions(writer, offer);
    if (code) {
        hf_writer_u16(writer, HF_EXTENSION_MAX_FRAGMENT_LENGTH);
        hf_writer_u16(writer, 1);
        hf_writer_u8(writer, code);
    }
    hf_hello_write_cid(writer, terms);
    if (offer->dialer->sessions && handshake->ticket_len == 0)
        hf_writer_uint(writer, (uint64_t)HF_EXTENSION_SESSION_TICKET << 16, 4);
    hf_writer_u16(writer, HF_EXTENSION_RENEGOTIATION_INFO); /* last: some choke on an empty end */
    hf_writer_u16(writer, 1);
    hf_writer_u8(writer, 0);
    hf_writer_close(writer, mark, 2);
    if (handshake->ticket_len > 0)
        write_ticket(writer, mark, handshake->ticket_len);
}

void hf_offer_write(struct hf_writer *writer, const struct hf_dialer *dialer,
                    const struct hf_handshake *handshake,
                    const uint8_t client_random[HF_RANDOM_LEN], struct hf_bytes cookie)
{
    const struct offer offer = offer_of(dialer, handshake);
    bool is_datagram = dialer->transport == HF_TRANSPORT_DTLS;
    hf_writer_u16(writer, is_datagram ? HF_VERSION_DTLS_1_2 : HF_VERSION_TLS_1_2);
    hf_writer_bytes(writer, client_random, HF_RANDOM_LEN);
    hf_writer_u8(writer, handshake->terms.session_id_len);
    hf_writer_bytes(writer, handshake->terms.session_id, handshake->terms.session_id_len);
    if (is_datagram) {
        hf_writer_u8(writer, (uint8_t)cookie.len);
        hf_writer_bytes(writer, cookie.data, cookie.len);
    }
    size_t suites = hf_writer_open(writer, 2);
    for (size_t i = 0; i < dialer->suite_count; i++) {
        if (is_offered(&offer, dialer->suites[i]))
            hf_writer_u16(writer, dialer->suites[i]);
    }
    hf_writer_close(writer, suites, 2);
    hf_writer_u16(writer, 1 << 8); /* one compression method: null */
    write_extensions(writer, &offer, handshake);
}

static enum hf_status take_type(bool *has_type, bool *is_raw, struct hf_bytes body, bool has_x509,
                                bool has_raw)
{
    if (!has_raw)
        return HF_E_UNSUPPORTED_EXTENSION;
    if (body.len != 1)
        return HF_E_DECODE;
    *has_type = true;
    *is_raw = body.data[0] == HF_CERTIFICATE_TYPE_RAW;
    return *is_raw || (body.data[0] == HF_CERTIFICATE_TYPE_X509 && has_x509)
               ? HF_OK
               : HF_E_ILLEGAL_PARAMETER;
}

/** RFC 8422 5.1.2: uncompressed points are always among them. */
static enum hf_status take_point_formats(struct hf_terms *terms, struct hf_bytes body)
{
    struct hf_reader reader = hf_reader_of(body);
    struct hf_bytes formats = hf_reader_vector(&reader, 1);
    bool is_found = false;
    if (!hf_reader_done(&reader) || formats.len == 0)
        return HF_E_DECODE;
    for (size_t i = 0; i < formats.len; i++)
        is_found |= formats.data[i] == HF_POINT_FORMAT_UNCOMPRESSED;
    terms->has_point_formats = true;
    return is_found ? HF_OK : HF_E_ILLEGAL_PARAMETER;
}

static enum hf_status take_curve_extension(struct hf_terms *terms, const struct offer *offer,
                                           uint16_t type, struct hf_bytes body)
{
    if (!offers_certificates(offer))
        return HF_E_UNSUPPORTED_EXTENSION;
    switch (type) {
    case HF_EXTENSION_EC_POINT_FORMATS:
        return take_point_formats(terms, body);
    case HF_EXTENSION_CLIENT_CERTIFICATE_TYPE:
        return take_type(&terms->has_client_type, &terms->is_client_raw, body,
                         offer->dialer->x509 != NULL, offer->dialer->raw != NULL);
    case HF_EXTENSION_SERVER_CERTIFICATE_TYPE:
        return take_type(&terms->has_server_type, &terms->is_server_raw, body,
                         offer->has_server_x509, offer->has_server_raw);
    default:
        return HF_E_UNSUPPORTED_EXTENSION;
    }
}

/** RFC 9146 3. A CID that we could not send back would be the end of it. */
static enum hf_status take_connection_id(struct hf_terms *terms, struct hf_bytes body)
{
    struct hf_reader reader = hf_reader_of(body);
    struct hf_bytes cid = hf_reader_vector(&reader, 1);
    if (!hf_reader_done(&reader))
        return HF_E_DECODE;
    if (cid.len > HF_CID_LEN_MAX)
        return HF_E_ILLEGAL_PARAMETER;
    terms->has_cid = true;
    terms->peer_cid_len = (uint8_t)cid.len;
    if (cid.len > 0)
        memcpy(terms->peer_cid, cid.data, cid.len);
    return HF_OK;
}

/** One extension of the answer, which must be one of ours (RFC 5246 7.4.1.4). */
static enum hf_status take_extension(struct hf_terms *terms, const struct offer *offer,
                                     uint16_t type, struct hf_bytes body)
{
    uint8_t code = fragment_code(offer->dialer);
    switch (type) {
    case HF_EXTENSION_SERVER_NAME:
        if (terms->server_name_len == 0)
            return HF_E_UNSUPPORTED_EXTENSION;
        return body.len == 0 ? HF_OK : HF_E_DECODE;
    case HF_EXTENSION_EXTENDED_MASTER_SECRET:
        terms->is_ems = true;
        return body.len == 0 ? HF_OK : HF_E_DECODE;
    case HF_EXTENSION_ENCRYPT_THEN_MAC:
        if (!offers_encrypt_then_mac(offer))
            return HF_E_UNSUPPORTED_EXTENSION;
        terms->is_etm = true;
        return body.len == 0 ? HF_OK : HF_E_DECODE;
    case HF_EXTENSION_MAX_FRAGMENT_LENGTH:
        if (!code)
            return HF_E_UNSUPPORTED_EXTENSION;
        if (body.len != 1)
            return HF_E_DECODE;
        terms->max_fragment_code = body.data[0];
        return body.data[0] == code ? HF_OK : HF_E_ILLEGAL_PARAMETER;
    case HF_EXTENSION_SESSION_TICKET:
        if (!offer->dialer->sessions)
            return HF_E_UNSUPPORTED_EXTENSION;
        terms->is_ticket_following = true;
        return body.len == 0 ? HF_OK : HF_E_DECODE;
    case HF_EXTENSION_CONNECTION_ID:
        return offer->has_cid ? take_connection_id(terms, body) : HF_E_UNSUPPORTED_EXTENSION;
    case HF_EXTENSION_RETURN_ROUTABILITY:
        if (!offer->has_rrc)
            return HF_E_UNSUPPORTED_EXTENSION;
        terms->has_rrc = true;
        return body.len == 0 ? HF_OK : HF_E_DECODE;
    case HF_EXTENSION_RENEGOTIATION_INFO: /* RFC 5746 3.4: empty, or not our first handshake */
        terms->is_secure_renegotiation = true;
        return body.len == 1 && body.data[0] == 0 ? HF_OK : HF_E_RENEGOTIATION;
    default:
        return take_curve_extension(terms, offer, type, body);
    }
}

static enum hf_status take_extensions(struct hf_terms *terms, const struct offer *offer,
                                      struct hf_bytes list)
{
    enum { TYPES_MAX = 14 }; /* more than we offer */
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
        HF_TRY(take_extension(terms, offer, type, body));
    }
    return HF_OK;
}

/** What the extensions must amount to, now that the suite is known. */
static enum hf_status judge(const struct hf_terms *terms, const struct offer *offer,
                            bool is_recalled)
{
    bool is_psk = hf_hello_key_exchange(terms->suite) == HF_KEY_EXCHANGE_PSK;
    if (terms->has_rrc && !terms->has_cid)
        return HF_E_ILLEGAL_PARAMETER; /* RFC 9853 3 */
    if (terms->is_etm && !is_block_cipher(terms->suite))
        return HF_E_ILLEGAL_PARAMETER; /* RFC 7366 3 */
    if (offer->dialer->extended_master_secret_needed && !terms->is_ems)
        return HF_E_NO_EXTENDED_MASTER_SECRET;
    if (is_psk || is_recalled)
        return HF_OK;
    /* Not a word of it means X.509 (RFC 7250 4.2). */
    if ((!terms->is_server_raw && !offer->has_server_x509) ||
        (!terms->is_client_raw && !offer->dialer->x509))
        return HF_E_CERTIFICATE_TYPE;
    return HF_OK;
}

enum hf_status hf_offer_accept(struct hf_handshake *handshake, uint8_t server_random[HF_RANDOM_LEN],
                               const struct hf_dialer *dialer, struct hf_bytes body)
{
    const struct offer offer = offer_of(dialer, handshake);
    struct hf_reader reader = hf_reader_of(body);
    struct hf_terms settled = handshake->terms;
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
    if (!is_offered(&offer, settled.suite) || compression != 0)
        return HF_E_ILLEGAL_PARAMETER;
    settled.has_cid = settled.has_rrc = false; /* until the server says so, too */
    HF_TRY(take_extensions(&settled, &offer, extensions));
    bool is_recalled = handshake->session_len > 0 && session_id.len > 0 &&
                       session_id.len == settled.session_id_len &&
                       hf_bytes_equal_public(session_id.data, settled.session_id, session_id.len);
    HF_TRY(judge(&settled, &offer, is_recalled));
    settled.session_id_len = (uint8_t)session_id.len;
    if (session_id.len > 0)
        memcpy(settled.session_id, session_id.data, session_id.len);
    memcpy(server_random, random.data, HF_RANDOM_LEN);
    handshake->is_recalled = is_recalled;
    handshake->ticket_len = 0; /* the next is the server's */
    handshake->terms = settled;
    return HF_OK;
}
