/**
 * psk_client_message.c - handshake messages of the test client out of record payloads: DTLS
 * fragments in any order, TLS messages across records.
 */
#include "psk_client_parts.h"

#include <string.h>

#define AHEAD_MAX 8 /* messages past the expected one that are kept */

static struct psk_client_slot *find_slot(struct psk_client_work *work, uint16_t epoch, uint16_t seq)
{
    for (size_t i = 0; i < PSK_CLIENT_SLOTS; i++) {
        struct psk_client_slot *slot = &work->slots[i];
        if (slot->is_used && slot->seq == seq && slot->epoch == epoch) {
            return slot;
        }
    }
    return NULL;
}

static struct psk_client_slot *take_slot(struct psk_client_work *work, uint16_t epoch, uint16_t seq,
                                         uint8_t type, uint32_t len)
{
    for (size_t i = 0; i < PSK_CLIENT_SLOTS; i++) {
        struct psk_client_slot *slot = &work->slots[i];
        if (!slot->is_used) {
            slot->is_used = true;
            slot->type = type;
            slot->seq = seq;
            slot->epoch = epoch;
            slot->len = len;
            slot->have_len = 0;
            memset(slot->have, 0, sizeof(slot->have));
            return slot;
        }
    }
    return NULL;
}

/* Hands over whatever has become whole and is next. */
static void deliver(struct psk_client_out *out, uint64_t now_us)
{
    struct psk_client *client = out->client;
    struct psk_client_work *work = client->config.work;
    for (size_t i = 0; i < PSK_CLIENT_SLOTS && client->state != PSK_CLIENT_FAILED; i++) {
        struct psk_client_slot *slot = &work->slots[i];
        if (slot->is_used && slot->seq == client->message_seq_next && slot->have_len == slot->len) {
            slot->is_used = false;
            psk_client_message(out, now_us, slot->epoch, slot->seq, slot->type, slot->body,
                               slot->len);
            i = (size_t)-1;
        }
    }
}

struct fragment {
    uint8_t type;
    uint16_t seq;
    uint32_t len, offset, part_len;
    const uint8_t *part;
};

static void keep_fragment(struct psk_client *client, uint16_t epoch,
                          const struct fragment *fragment)
{
    struct psk_client_work *work = client->config.work;
    struct psk_client_slot *slot = find_slot(work, epoch, fragment->seq);
    if (slot == NULL && fragment->len <= PSK_CLIENT_MESSAGE_MAX) {
        slot = take_slot(work, epoch, fragment->seq, fragment->type, fragment->len);
    }
    if (slot == NULL || slot->type != fragment->type || slot->len != fragment->len) {
        client->counters.drops++;
        return;
    }
    for (uint32_t i = 0; i < fragment->part_len; i++) {
        uint32_t at = fragment->offset + i;
        if ((slot->have[at / 8] >> at % 8 & 1) == 0) {
            slot->have[at / 8] |= (uint8_t)(1u << at % 8);
            slot->have_len++;
        }
    }
    memcpy(slot->body + fragment->offset, fragment->part, fragment->part_len);
}

static void receive_fragment(struct psk_client_out *out, uint64_t now_us, uint16_t epoch,
                             const struct fragment *fragment)
{
    struct psk_client *client = out->client;
    if (!client->has_hello && client->state == PSK_CLIENT_AWAIT_HELLO &&
        (fragment->type == PSK_SERVER_HELLO || fragment->type == PSK_HELLO_VERIFY_REQUEST)) {
        /* Stateless servers differ in how they number around HelloVerifyRequest. */
        client->message_seq_next = fragment->seq;
    }
    uint16_t ahead = (uint16_t)(fragment->seq - client->message_seq_next);
    if (ahead >= 0x8000) {
        client->counters.drops++;
        if (fragment->type == PSK_SERVER_HELLO_DONE && client->state == PSK_CLIENT_AWAIT_FINISHED) {
            psk_client_resend(out); /* the server repeats its flight: ours was lost */
        }
    } else if (ahead >= AHEAD_MAX) {
        client->counters.drops++;
    } else if (ahead == 0 && fragment->part_len == fragment->len) {
        struct psk_client_slot *slot = find_slot(client->config.work, epoch, fragment->seq);
        if (slot != NULL) {
            slot->is_used = false;
        }
        psk_client_message(out, now_us, epoch, fragment->seq, fragment->type, fragment->part,
                           fragment->len);
        deliver(out, now_us);
    } else {
        keep_fragment(client, epoch, fragment);
        deliver(out, now_us);
    }
}

static void receive_fragments(struct psk_client_out *out, uint64_t now_us, uint16_t epoch,
                              const uint8_t *payload, size_t len)
{
    struct psk_client *client = out->client;
    while (len > 0 && client->state != PSK_CLIENT_FAILED) {
        struct psk_reader reader = {payload, len, false};
        struct fragment fragment;
        fragment.type = (uint8_t)psk_get_number(&reader, 1);
        fragment.len = (uint32_t)psk_get_number(&reader, 3);
        fragment.seq = (uint16_t)psk_get_number(&reader, 2);
        fragment.offset = (uint32_t)psk_get_number(&reader, 3);
        fragment.part_len = (uint32_t)psk_get_number(&reader, 3);
        fragment.part = psk_get(&reader, fragment.part_len).data;
        if (reader.is_short || fragment.offset + fragment.part_len > fragment.len) {
            client->counters.drops++;
            return;
        }
        if (client->state == PSK_CLIENT_AWAIT_HELLO || client->state == PSK_CLIENT_AWAIT_FINISHED) {
            receive_fragment(out, now_us, epoch, &fragment);
        } else if (client->is_resumed && fragment.type == PSK_FINISHED) {
            psk_client_resend(out); /* the server repeats its flight: ours was lost */
        } else {
            client->counters.drops++;
        }
        payload = reader.data;
        len = reader.len;
    }
}

/* TLS: slots[0].body gathers header and body. */
static void receive_bytes(struct psk_client_out *out, uint64_t now_us, uint16_t epoch,
                          const uint8_t *payload, size_t len)
{
    struct psk_client *client = out->client;
    struct psk_client_slot *slot = &client->config.work->slots[0];
    while (len > 0 && client->state != PSK_CLIENT_FAILED) {
        uint32_t want = 4;
        if (slot->have_len >= 4) {
            want += (uint32_t)psk_load(slot->body + 1, 3);
        }
        if (want > PSK_CLIENT_MESSAGE_MAX) {
            psk_client_fail(out, PSK_ALERT_ILLEGAL_PARAMETER, "handshake message too long");
            return;
        }
        size_t part = want - slot->have_len < len ? want - slot->have_len : len;
        memcpy(slot->body + slot->have_len, payload, part);
        slot->have_len += (uint32_t)part;
        payload += part;
        len -= part;
        if (slot->have_len >= 4 && slot->have_len == 4 + psk_load(slot->body + 1, 3)) {
            uint32_t body_len = slot->have_len - 4;
            slot->have_len = 0;
            psk_client_message(out, now_us, epoch, 0, slot->body[0], slot->body + 4, body_len);
        }
    }
}

void psk_receive_handshake(struct psk_client_out *out, uint64_t now_us, uint16_t epoch,
                           const uint8_t *payload, size_t len)
{
    if (out->client->config.is_dtls) {
        receive_fragments(out, now_us, epoch, payload, len);
    } else {
        receive_bytes(out, now_us, epoch, payload, len);
    }
}
