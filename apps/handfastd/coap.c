/**
 * coap.c - GET /whoami, on libcoap's PDU functions; libcoap's sessions and sockets are not used.
 */
#include "coap.h"

#include "whoami.h"

#include <coap3/coap.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_LEN 4                                  /* RFC 7252 3 */
#define REPLY_LEN_MAX 1152                            /* RFC 7252 4.6 */
#define BLOCK_SZX_MAX 6                               /* 1,024 bytes */
#define OVERHEAD_LEN_MAX (HEADER_LEN + 8 + 2 + 4 + 1) /* token, both options, payload marker */

/* A request, judged: what the answer says and what it must repeat. */
struct judged {
    coap_pdu_code_t code;
    const char *diagnostic; /* the payload of an error (RFC 7252 5.5.2) */
    bool has_block;
    coap_block_t block;
};

void hf_coap_init(void)
{
    coap_set_log_level(LOG_EMERG);
}

static void send_datagram(struct hf_loop *loop, hf_association_id association, const uint8_t *data,
                          size_t len)
{
    /* Whatever stands in the way, the client will ask again: that is CoAP's own reliability. */
    enum hf_status status = hf_loop_send(loop, association, (struct hf_bytes){data, len});
    (void)status;
}

static void send_reset(struct hf_loop *loop, hf_association_id association, const uint8_t *request)
{
    uint8_t reset[HEADER_LEN] = {0x40 | COAP_MESSAGE_RST << 4, 0, request[2], request[3]};
    send_datagram(loop, association, reset, sizeof(reset));
}

/* The bytes of a reply that has a payload: libcoap 4.3 keeps its encoder of headers private. */
static void send_reply(struct hf_loop *loop, hf_association_id association, const coap_pdu_t *pdu)
{
    uint8_t bytes[HEADER_LEN + REPLY_LEN_MAX];
    coap_bin_const_t token = coap_pdu_get_token(pdu);
    const uint8_t *payload = NULL;
    size_t payload_len = 0;
    if (!coap_get_data(pdu, &payload_len, &payload))
        return;
    size_t body_len = (size_t)(payload + payload_len - token.s);
    if (body_len > REPLY_LEN_MAX)
        return;
    coap_mid_t message_id = coap_pdu_get_mid(pdu);
    bytes[0] = (uint8_t)(0x40 | (unsigned)coap_pdu_get_type(pdu) << 4 | token.length);
    bytes[1] = (uint8_t)coap_pdu_get_code(pdu);
    bytes[2] = (uint8_t)(message_id >> 8);
    bytes[3] = (uint8_t)message_id;
    memcpy(bytes + HEADER_LEN, token.s, body_len);
    send_datagram(loop, association, bytes, HEADER_LEN + body_len);
}

/* ---- judging a request -------------------------------------------------------------------- */

static bool is_known_critical(coap_option_num_t number)
{
    return number == COAP_OPTION_URI_HOST || number == COAP_OPTION_URI_PORT ||
           number == COAP_OPTION_URI_PATH || number == COAP_OPTION_URI_QUERY ||
           number == COAP_OPTION_ACCEPT || number == COAP_OPTION_BLOCK2;
}

static struct judged refusal(coap_pdu_code_t code, const char *diagnostic)
{
    return (struct judged){.code = code, .diagnostic = diagnostic};
}

static struct judged judge(const coap_pdu_t *request)
{
    coap_opt_iterator_t iterator;
    coap_opt_t *option = NULL;
    unsigned segments = 0;
    bool is_whoami = false;
    bool has_block = false;
    coap_option_iterator_init(request, &iterator, COAP_OPT_ALL);
    while ((option = coap_option_next(&iterator)) != NULL) {
        const uint8_t *value = coap_opt_value(option);
        size_t len = coap_opt_length(option);
        if ((iterator.number & 1) != 0 && !is_known_critical(iterator.number))
            return refusal(COAP_RESPONSE_CODE_BAD_OPTION, "an option is not understood");
        if (iterator.number == COAP_OPTION_URI_PATH)
            is_whoami = segments++ == 0 && len == 6 && memcmp(value, "whoami", 6) == 0;
        has_block |= iterator.number == COAP_OPTION_BLOCK2;
        if (iterator.number == COAP_OPTION_ACCEPT &&
            coap_decode_var_bytes(value, len) != COAP_MEDIATYPE_APPLICATION_JSON)
            return refusal(COAP_RESPONSE_CODE_NOT_ACCEPTABLE, "only application/json");
    }
    if (!is_whoami)
        return refusal(COAP_RESPONSE_CODE_NOT_FOUND, "there is /whoami only");
    if (coap_pdu_get_code(request) != COAP_REQUEST_CODE_GET)
        return refusal(COAP_RESPONSE_CODE_NOT_ALLOWED, "GET only");
    struct judged judged = {.code = COAP_RESPONSE_CODE_CONTENT, .has_block = has_block};
    if (has_block && coap_get_block(request, COAP_OPTION_BLOCK2, &judged.block) != 1)
        return refusal(COAP_RESPONSE_CODE_BAD_REQUEST, "no such block size");
    return judged;
}

/* ---- answering ---------------------------------------------------------------------------- */

static bool add_uint_option(coap_pdu_t *reply, coap_option_num_t number, unsigned value)
{
    uint8_t bytes[4];
    size_t len = coap_encode_var_safe(bytes, sizeof(bytes), value);
    return coap_add_option(reply, number, len, bytes) > 0;
}

/* The block that was asked for (RFC 7959 2.2), in smaller ones if `room` is too small for it. */
static bool add_block(coap_pdu_t *reply, coap_block_t block, struct hf_bytes body, size_t room)
{
    while (block.szx > 0 && (16U << block.szx) > room) {
        block.szx--;
        block.num *= 2;
    }
    size_t len = 16U << block.szx;
    size_t offset = (size_t)block.num * len;
    if (offset >= body.len)
        return false;
    bool has_more = body.len - offset > len;
    if (!has_more)
        len = body.len - offset;
    return add_uint_option(reply, COAP_OPTION_BLOCK2,
                           block.num << 4 | (unsigned)has_more << 3 | block.szx) &&
           coap_add_data(reply, len, body.data + offset) == 1;
}

static bool add_body(coap_pdu_t *reply, const struct judged *judged, struct hf_bytes body,
                     size_t room)
{
    if (!add_uint_option(reply, COAP_OPTION_CONTENT_FORMAT, COAP_MEDIATYPE_APPLICATION_JSON))
        return false;
    if (judged->has_block)
        return add_block(reply, judged->block, body, room);
    if (body.len > room)
        return add_block(reply, (coap_block_t){.szx = BLOCK_SZX_MAX}, body, room);
    return coap_add_data(reply, body.len, body.data) == 1;
}

static bool fill_reply(coap_pdu_t *reply, const struct judged *judged, size_t reply_len_max,
                       const struct hf_association_info *info)
{
    if (judged->diagnostic != NULL)
        return coap_add_data(reply, strlen(judged->diagnostic),
                             (const uint8_t *)judged->diagnostic) == 1;
    size_t body_len = 0;
    char *body = hf_whoami_json(&body_len, info);
    bool is_filled =
        body != NULL && add_body(reply, judged, (struct hf_bytes){(const uint8_t *)body, body_len},
                                 reply_len_max - OVERHEAD_LEN_MAX);
    free(body);
    return is_filled;
}

static void answer(struct hf_loop *loop, hf_association_id association, const coap_pdu_t *request,
                   uint16_t *message_id)
{
    struct hf_association_info info;
    if (hf_engine_association_info(&info, hf_loop_engine(loop), association) != HF_OK)
        return;
    size_t reply_len_max =
        info.plaintext_len_max < REPLY_LEN_MAX ? info.plaintext_len_max : REPLY_LEN_MAX;
    if (reply_len_max < 64) /* RFC 8449 4: no peer may ask for less */
        return;
    bool is_confirmable = coap_pdu_get_type(request) == COAP_MESSAGE_CON;
    coap_mid_t id = is_confirmable ? coap_pdu_get_mid(request) : (coap_mid_t)++ * message_id;
    coap_bin_const_t token = coap_pdu_get_token(request);
    struct judged judged = judge(request);
    for (int attempt = 0; attempt < 2; attempt++) {
        coap_pdu_t *reply = coap_pdu_init(is_confirmable ? COAP_MESSAGE_ACK : COAP_MESSAGE_NON,
                                          judged.code, id, reply_len_max - HEADER_LEN);
        if (reply == NULL)
            return;
        bool is_filled = (token.length == 0 || coap_add_token(reply, token.length, token.s)) &&
                         fill_reply(reply, &judged, reply_len_max, &info);
        if (is_filled)
            send_reply(loop, association, reply);
        coap_delete_pdu(reply);
        if (is_filled)
            return;
        judged = refusal(COAP_RESPONSE_CODE_BAD_REQUEST, "no such block");
    }
}

void hf_coap_receive(struct hf_loop *loop, hf_association_id association, struct hf_bytes data,
                     uint16_t *message_id)
{
    if (data.len < HEADER_LEN || data.len > REPLY_LEN_MAX * 2 || data.data[0] >> 6 != 1)
        return;
    bool is_confirmable = (data.data[0] >> 4 & 3) == COAP_MESSAGE_CON;
    bool is_message = is_confirmable || (data.data[0] >> 4 & 3) == COAP_MESSAGE_NON;
    uint8_t code = data.data[1];
    if (!is_message) /* an ACK or RST: we never ask */
        return;
    bool is_request = code != 0 && code >> 5 == 0;
    coap_pdu_t *request = coap_pdu_init(COAP_MESSAGE_CON, 0, 0, data.len);
    if (request == NULL)
        return;
    bool is_parsed = is_request && coap_pdu_parse(COAP_PROTO_DTLS, data.data, data.len, request);
    if (is_parsed)
        answer(loop, association, request, message_id);
    else if (is_confirmable) /* a ping, nonsense, or an answer to nothing (RFC 7252 4.2) */
        send_reset(loop, association, data.data);
    coap_delete_pdu(request);
}
