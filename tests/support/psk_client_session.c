/**
 * psk_client_session.c - resumption in the test client: by session ID (RFC 5246 7.3, figure 2) and
 * by ticket (RFC 5077).
 */
#include "psk_client_parts.h"

#include <string.h>

#define EXT_SESSION_TICKET 35

/* A ticket comes with an ID made up by the client, which the server echoes if it resumes. */
static uint8_t offered_id(uint8_t id[32], const struct psk_client *client)
{
    const struct psk_client_session *session = client->config.session;
    if (session != NULL && session->ticket_len == 0) {
        memcpy(id, session->id, session->id_len);
        return session->id_len;
    }
    size_t len = session != NULL ? 32 : client->config.session_id_len;
    for (size_t i = 0; i < len; i++) {
        id[i] = (uint8_t)(0xA0 + i);
    }
    return (uint8_t)len;
}

void psk_session_offer(struct psk_writer *writer, const struct psk_client *client)
{
    uint8_t id[32];
    uint8_t len = offered_id(id, client);
    psk_put_number(writer, len, 1);
    psk_put(writer, id, len);
}

void psk_session_extension(struct psk_writer *writer, const struct psk_client *client)
{
    const struct psk_client_session *session = client->config.session;
    if (!client->config.tickets) {
        return;
    }
    psk_put_number(writer, EXT_SESSION_TICKET, 2);
    size_t body = psk_open(writer, 2);
    if (session != NULL) {
        psk_put(writer, session->ticket, session->ticket_len);
    }
    psk_close(writer, body, 2);
}

void psk_session_judge(struct psk_client_out *out)
{
    struct psk_client *client = out->client;
    const struct psk_client_session *session = client->config.session;
    uint8_t id[32];
    uint8_t len = offered_id(id, client);
    if (session == NULL || client->session_id_len == 0 || client->session_id_len != len ||
        memcmp(id, client->session_id, len) != 0) {
        return;
    }
    if (client->suite != session->suite || client->is_etm != session->is_etm) {
        psk_client_fail(out, PSK_ALERT_ILLEGAL_PARAMETER, "resumed on other terms");
        return;
    }
    client->is_resumed = true;
    memcpy(client->master_secret, session->master_secret, HF_MASTER_SECRET_LEN);
    psk_client_keys(client);
    client->state = PSK_CLIENT_AWAIT_FINISHED;
}

void psk_session_ticket(struct psk_client_out *out, const uint8_t *body, size_t len)
{
    struct psk_client *client = out->client;
    struct psk_reader reader = {body, len, false};
    client->ticket_lifetime_s = (uint32_t)psk_get_number(&reader, 4);
    struct hf_bytes ticket = psk_get(&reader, (size_t)psk_get_number(&reader, 2));
    if (reader.is_short || reader.len != 0 || ticket.len > PSK_CLIENT_TICKET_MAX) {
        psk_client_fail(out, PSK_ALERT_DECODE_ERROR, "malformed NewSessionTicket");
        return;
    }
    client->ticket_len = (uint16_t)ticket.len;
    if (ticket.len > 0) {
        memcpy(client->ticket, ticket.data, ticket.len);
    }
}

void psk_client_keep_session(struct psk_client_session *out, const struct psk_client *client)
{
    PSK_CHECK(client->is_complete);
    *out = (struct psk_client_session){
        .suite = client->suite,
        .is_etm = client->is_etm,
        .id_len = client->session_id_len,
        .ticket_len = client->ticket_len,
    };
    memcpy(out->master_secret, client->master_secret, HF_MASTER_SECRET_LEN);
    memcpy(out->id, client->session_id, client->session_id_len);
    memcpy(out->ticket, client->ticket, client->ticket_len);
}
