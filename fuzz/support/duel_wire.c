/**
 * duel_wire.c - see duel.h: what the peer says, taken apart into messages and records, and put
 * together again on delivery.
 */
#include "craft.h"
#include "duel.h"

#include "association.h"

#define WIRE_MAX 70000

/* ---- taking apart ---------------------------------------------------------------------------- */

static struct fuzz_unit *new_unit(struct fuzz_duel *duel, uint8_t type, struct hf_bytes body)
{
    static struct fuzz_unit spare;
    duel->unit_serial++;
    if (duel->unit_count == FUZZ_UNITS) { /* as if lost */
        duel->is_disturbed = duel->is_disordered = true;
        return &spare;
    }
    struct fuzz_unit *unit = &duel->units[duel->unit_count++];
    *unit = (struct fuzz_unit){
        .serial = duel->unit_serial - 1,
        .type = type,
        .genuine_type = type,
        .genuine = {fuzz_copy(body), body.len},
        .data = fuzz_copy(body),
        .len = body.len,
    };
    return unit;
}

/* Messages of one plain record, all of them whole: the peer's datagrams are large. */
static void hear_fragments(struct fuzz_duel *duel, struct hf_bytes body)
{
    struct hf_reader reader = hf_reader_of(body);
    while (reader.len > 0) {
        uint8_t type = hf_reader_u8(&reader);
        uint32_t len = hf_reader_u24(&reader);
        uint16_t message_seq = hf_reader_u16(&reader);
        uint32_t offset = hf_reader_u24(&reader);
        struct hf_bytes part = hf_reader_vector(&reader, 3);
        FUZZ_CHECK(!reader.is_failed && offset == 0 && part.len == len);
        struct fuzz_unit *unit = new_unit(duel, type, part);
        unit->is_message = true;
        unit->message_seq = message_seq;
    }
}

static void hear_datagram(struct fuzz_duel *duel, struct hf_bytes bytes)
{
    struct hf_reader reader = hf_reader_of(bytes);
    while (reader.len > 0) {
        uint8_t type = hf_reader_u8(&reader);
        (void)hf_reader_u16(&reader);
        uint16_t epoch = hf_reader_u16(&reader);
        uint64_t seq = hf_reader_u48(&reader);
        bool is_named = type == HF_TYPE_TLS12_CID;
        struct hf_bytes cid = hf_reader_take(&reader, is_named ? HF_CID_BASE_LEN : 0);
        struct hf_bytes body = hf_reader_vector(&reader, 2);
        FUZZ_CHECK(!reader.is_failed);
        if (type == HF_TYPE_HANDSHAKE && epoch == 0) {
            hear_fragments(duel, body);
            continue;
        }
        struct fuzz_unit *unit = new_unit(duel, type, body);
        unit->epoch = epoch;
        unit->seq = seq;
        unit->cid_len = (uint8_t)cid.len;
        if (cid.len > 0)
            memcpy(unit->cid, cid.data, cid.len);
    }
}

/* Whole messages out of what is there; a message may lie across records. */
static void hear_messages(struct fuzz_duel *duel, struct hf_bytes body)
{
    FUZZ_CHECK(body.len <= sizeof duel->plain - duel->plain_len);
    memcpy(duel->plain + duel->plain_len, body.data, body.len);
    duel->plain_len += body.len;
    for (;;) {
        struct hf_reader reader = hf_reader_of((struct hf_bytes){duel->plain, duel->plain_len});
        uint8_t type = hf_reader_u8(&reader);
        struct hf_bytes part = hf_reader_vector(&reader, 3);
        if (reader.is_failed)
            return;
        new_unit(duel, type, part)->is_message = true;
        duel->plain_len = reader.len;
        memmove(duel->plain, reader.data, reader.len);
    }
}

static void hear_stream(struct fuzz_duel *duel, struct hf_bytes bytes)
{
    struct hf_reader reader = hf_reader_of(bytes);
    while (reader.len > 0) {
        uint8_t type = hf_reader_u8(&reader);
        (void)hf_reader_u16(&reader);
        struct hf_bytes body = hf_reader_vector(&reader, 2);
        FUZZ_CHECK(!reader.is_failed);
        if (type == HF_TYPE_HANDSHAKE && !duel->is_peer_protected)
            hear_messages(duel, body);
        else
            new_unit(duel, type, body)->epoch = duel->is_peer_protected;
        duel->is_peer_protected |= type == HF_TYPE_CHANGE_CIPHER_SPEC;
    }
}

void fuzz_duel_hear(struct fuzz_duel *duel, struct hf_bytes bytes)
{
    if (duel->is_dtls)
        hear_datagram(duel, bytes);
    else
        hear_stream(duel, bytes);
}

void fuzz_duel_forget(struct fuzz_duel *duel, size_t index)
{
    struct fuzz_unit *unit = &duel->units[index];
    free((void *)(uintptr_t)unit->genuine.data);
    free(unit->data);
    duel->unit_count--;
    memmove(unit, unit + 1, (duel->unit_count - index) * sizeof *unit);
}

/* ---- putting together ------------------------------------------------------------------------ */

void fuzz_duel_bytes(struct fuzz_duel *duel, struct hf_bytes bytes)
{
    if (duel->is_dtls) {
        fuzz_world_datagram(&duel->world, duel->where, bytes);
        return;
    }
    for (int i = 0; i < 8 && bytes.len > 0; i++) {
        size_t consumed = fuzz_world_stream(&duel->world, duel->id, bytes);
        bytes = (struct hf_bytes){bytes.data + consumed, bytes.len - consumed};
        if (bytes.len > 0)
            fuzz_world_turn(&duel->world, 0);
    }
    if (bytes.len > 0) /* it does not take it: lost */
        duel->is_disturbed = duel->is_unsure = true;
}

void fuzz_duel_record(struct fuzz_duel *duel, uint8_t type, uint16_t epoch, struct hf_bytes body)
{
    static uint8_t wire[WIRE_MAX];
    struct hf_writer writer = hf_writer_of(wire, sizeof wire);
    if (duel->is_dtls)
        fuzz_craft_datagram_record(&writer, type, epoch, duel->next_seq++, body);
    else
        fuzz_craft_stream_record(&writer, type, epoch != 0, body);
    if (!writer.is_failed && body.len <= HF_CIPHERTEXT_LEN_MAX)
        fuzz_duel_bytes(duel, (struct hf_bytes){wire, writer.len});
}

/* In fragments, or in records, of at most fragment_len bytes. */
static void put_message(struct fuzz_duel *duel, uint8_t type, uint16_t message_seq,
                        bool is_protected, struct hf_bytes body)
{
    static uint8_t message[WIRE_MAX];
    struct fuzz_part part = {type, message_seq, (uint32_t)body.len, 0};
    struct hf_writer writer = hf_writer_of(message, sizeof message);
    size_t step = duel->fragment_len ? duel->fragment_len : 16000;
    if (body.len / step > 40)
        step = body.len / 40;
    if (!duel->is_dtls) {
        fuzz_craft_message(&writer, false, &part, body);
        for (size_t at = 0; at < writer.len; at += step) {
            size_t len = writer.len - at < step ? writer.len - at : step;
            fuzz_duel_record(duel, HF_TYPE_HANDSHAKE, is_protected,
                             (struct hf_bytes){message + at, len});
        }
        return;
    }
    do {
        size_t len = body.len - part.offset < step ? body.len - part.offset : step;
        writer = hf_writer_of(message, sizeof message);
        fuzz_craft_message(&writer, true, &part, (struct hf_bytes){body.data + part.offset, len});
        fuzz_duel_record(duel, HF_TYPE_HANDSHAKE, is_protected,
                         (struct hf_bytes){message, writer.len});
        part.offset += (uint32_t)len;
    } while (part.offset < body.len);
}

/* A record as the peer made it: its number is part of what protects it. */
static void put_record(struct fuzz_duel *duel, const struct fuzz_unit *unit)
{
    static uint8_t wire[WIRE_MAX];
    struct hf_writer writer = hf_writer_of(wire, sizeof wire);
    hf_writer_u8(&writer, unit->type);
    hf_writer_u16(&writer, duel->is_dtls ? HF_VERSION_DTLS_1_2 : HF_VERSION_TLS_1_2);
    if (duel->is_dtls) {
        hf_writer_u16(&writer, unit->epoch);
        hf_writer_uint(&writer, unit->epoch ? unit->seq : duel->next_seq++, 6);
    }
    hf_writer_bytes(&writer, unit->cid, unit->cid_len);
    hf_writer_u16(&writer, (uint16_t)unit->len);
    hf_writer_bytes(&writer, unit->data, unit->len);
    FUZZ_CHECK(!writer.is_failed);
    fuzz_duel_bytes(duel, (struct hf_bytes){wire, writer.len});
}

static bool is_genuine(const struct fuzz_unit *unit)
{
    return unit->type == unit->genuine_type && unit->len == unit->genuine.len &&
           (unit->len == 0 || memcmp(unit->data, unit->genuine.data, unit->len) == 0);
}

void fuzz_duel_deliver(struct fuzz_duel *duel, size_t index)
{
    const struct fuzz_unit *unit = &duel->units[index];
    bool is_same = is_genuine(unit);
    duel->is_disturbed |= !is_same;
    /* Later records are for the record layer to judge. */
    if (unit->serial == duel->next_serial)
        duel->next_serial++;
    else if (!duel->is_open)
        duel->is_disordered = true;
    if (!unit->is_message) {
        duel->is_unsure |= !is_same;
        put_record(duel, unit);
        return;
    }
    if (is_same)
        duel->delivered |= 1u << (unit->type & 31);
    else
        duel->tampered |= 1u << (unit->genuine_type & 31);
    put_message(duel, unit->type, unit->message_seq, false,
                (struct hf_bytes){unit->data, unit->len});
}

void fuzz_duel_message(struct fuzz_duel *duel, uint8_t type, bool is_protected, int seq_off,
                       struct hf_bytes body)
{
    const struct hf_association *association = hf_association_find(duel->world.engine, duel->id);
    const struct hf_handshake *handshake =
        association ? hf_handshake_of(duel->world.engine, association) : NULL;
    int due = handshake ? handshake->receive_seq : 0;
    duel->is_disturbed = true;
    duel->is_unsure |= is_protected;
    if (type != HF_MESSAGE_HELLO_REQUEST) /* which a client takes and forgets */
        duel->tampered |= 1u << (type & 31);
    put_message(duel, type, (uint16_t)(due + seq_off), is_protected, body);
}

/* ---- hellos ---------------------------------------------------------------------------------- */

bool fuzz_duel_extensions(size_t *at, const struct fuzz_duel *duel, const struct fuzz_unit *unit)
{
    struct hf_reader reader = hf_reader_of((struct hf_bytes){unit->data, unit->len});
    bool is_client_hello = unit->type == HF_MESSAGE_CLIENT_HELLO;
    if (!unit->is_message || (!is_client_hello && unit->type != HF_MESSAGE_SERVER_HELLO))
        return false;
    (void)hf_reader_u16(&reader);
    (void)hf_reader_take(&reader, HF_RANDOM_LEN);
    (void)hf_reader_vector(&reader, 1);
    if (is_client_hello && duel->is_dtls)
        (void)hf_reader_vector(&reader, 1);
    if (is_client_hello) {
        (void)hf_reader_vector(&reader, 2);
        (void)hf_reader_vector(&reader, 1);
    } else {
        (void)hf_reader_take(&reader, 3);
    }
    *at = unit->len - reader.len;
    struct hf_bytes list = hf_reader_vector(&reader, 2);
    (void)list;
    return hf_reader_done(&reader);
}
