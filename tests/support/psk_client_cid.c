/**
 * psk_client_cid.c - connection IDs (RFC 9146) and the responder of return routability checks (RFC
 * 9853) of the test client. Record protection is crypto/'s; what goes into it and around it is
 * written here once more.
 */
#include "psk_client_parts.h"

#include <string.h>

enum {
    EXT_CONNECTION_ID = 54,
    EXT_RETURN_ROUTABILITY = 61,

    ROUTABILITY_MESSAGE_LEN = 9,
    PATH_CHALLENGE = 0,
    PATH_RESPONSE = 1,
};

void psk_cid_extensions(struct psk_writer *writer, const struct psk_client *client)
{
    const struct psk_client_config *config = &client->config;
    if (config->connection_id) {
        psk_put_number(writer, EXT_CONNECTION_ID, 2);
        psk_put_number(writer, 1 + config->cid.len, 2);
        psk_put_number(writer, config->cid.len, 1);
        psk_put(writer, config->cid.data, config->cid.len);
    }
    if (config->return_routability) {
        psk_put_number(writer, EXT_RETURN_ROUTABILITY, 2);
        psk_put_number(writer, 0, 2);
    }
}

bool psk_cid_take_extension(struct psk_client *client, uint16_t type, struct hf_bytes body)
{
    if (type == EXT_RETURN_ROUTABILITY) {
        client->has_rrc = true;
        return client->config.return_routability && client->config.connection_id && body.len == 0;
    }
    if (type != EXT_CONNECTION_ID || !client->config.connection_id || body.len == 0 ||
        body.data[0] != body.len - 1 || body.len - 1 > sizeof(client->server_cid)) {
        return false;
    }
    client->has_cid = true;
    client->server_cid_len = body.data[0];
    memcpy(client->server_cid, body.data + 1, client->server_cid_len);
    return true;
}

size_t psk_cid_wrap(uint8_t *inner, const struct psk_client *client, uint8_t type,
                    struct hf_bytes content)
{
    size_t zeros = client->config.cid_padding;
    if (content.len > 0) {
        memcpy(inner, content.data, content.len);
    }
    inner[content.len] = type;
    memset(inner + content.len + 1, 0, zeros);
    return content.len + 1 + zeros;
}

bool psk_cid_unwrap(uint8_t *type, const uint8_t *inner, size_t *len)
{
    while (*len > 0 && inner[*len - 1] == 0) {
        --*len;
    }
    if (*len == 0) {
        return false;
    }
    *type = inner[--*len];
    return true;
}

size_t psk_cid_own_len(const struct psk_client *client, const uint8_t *wire)
{
    bool is_named = client->has_cid && wire[0] == PSK_CONTENT_CID;
    return is_named ? client->config.cid.len : 0;
}

void psk_cid_receive(struct psk_client_out *out, const uint8_t *payload, size_t len)
{
    struct psk_client *client = out->client;
    uint8_t answer[ROUTABILITY_MESSAGE_LEN];
    if (!client->has_rrc || len != sizeof(answer) || payload[0] != PATH_CHALLENGE) {
        client->counters.drops++;
        return;
    }
    client->counters.challenges++;
    if (client->config.is_unroutable) {
        return;
    }
    memcpy(answer, payload, len);
    answer[0] = PATH_RESPONSE;
    psk_out_record(out, PSK_CONTENT_ROUTABILITY, 1, answer, sizeof(answer));
}
