/**
 * engine_dtls.c - fuzz target: the whole engine on datagrams. The input is a configuration and a
 * script: records good and bad from several paths, cookies out of the engine's own mouth, time,
 * answers late or wrong, sending, closing. world.h says what must hold throughout.
 */
#include "association.h"
#include "cid.h"
#include "craft.h"
#include "script.h"

enum op {
    OP_RAW = FUZZ_OP_OWN, /* u8 path, u16 length, bytes: a datagram as it is */
    OP_HELLO,             /* u8 path and cookie, hello, u8 fragment length */
    OP_EXCHANGE,          /* u8 path and message_seq, u8 identity, u8 fragment length */
    OP_RECORD,            /* u8 path and epoch, u8 type, u8 number, u8 length, bytes */
    OP_FINISHED,          /* u8 path and message_seq, u8 length */
    OP_FLIGHT,            /* u8 path: exchange, CCS and Finished as one datagram */
    OP_HOLD,              /* u8: so many records wait, to leave as one datagram */
    OP_REPEAT,            /* u8 which of the last datagrams, u8 path */
    OP_JOIN,              /* u8: so many fragments wait, to stand in one record */
    OP_ROAM,              /* u8 path: from now on it is where those of another path speak from */
    OP_COUNT,
};

#define PACKET_MAX 8192
#define HISTORY 8
#define NAMED_MAX 1900

struct dtls {
    struct fuzz_world world;
    struct fuzz_input input;
    uint64_t next_seq[FUZZ_PATHS][2]; /* per epoch */
    uint8_t shift[FUZZ_PATHS];        /* to the path of those who speak from here */
    uint8_t packet[PACKET_MAX];
    size_t packet_len;
    uint8_t packet_path;
    uint8_t held;
    uint8_t record[PACKET_MAX]; /* fragments that are to stand in one */
    size_t record_len;
    uint8_t joined;
    uint8_t *history[HISTORY];
    size_t history_lens[HISTORY];
    size_t history_next;
};

static void deliver(struct dtls *dtls, uint8_t path, struct hf_bytes bytes)
{
    size_t at = dtls->history_next++ % HISTORY;
    free(dtls->history[at]);
    dtls->history[at] = fuzz_copy(bytes);
    dtls->history_lens[at] = bytes.len;
    fuzz_world_datagram(&dtls->world, path, bytes);
}

static void flush(struct dtls *dtls)
{
    if (dtls->packet_len > 0)
        deliver(dtls, dtls->packet_path, (struct hf_bytes){dtls->packet, dtls->packet_len});
    dtls->packet_len = 0;
    dtls->held = 0;
}

/* Whose words come from a path; NULL: nobody's, or those of somebody without connection IDs. */
static const struct hf_association *speaker(const struct dtls *dtls, uint8_t path)
{
    uint8_t from = (uint8_t)((path + dtls->shift[path]) % FUZZ_PATHS);
    const struct hf_association *association = fuzz_world_association(&dtls->world, from);
    return association && association->flags & HF_ASSOCIATION_CID ? association : NULL;
}

static void craft_record(struct hf_writer *writer, const struct dtls *dtls, uint8_t path,
                         const struct fuzz_named *record, struct hf_bytes plaintext)
{
    const struct hf_association *association = record->epoch > 0 ? speaker(dtls, path) : NULL;
    uint8_t cid[HF_CID_LEN_MAX];
    if (!association || plaintext.len > NAMED_MAX) {
        fuzz_craft_datagram_record(writer, record->type, record->epoch, record->seq, plaintext);
        return;
    }
    size_t cid_len = hf_cid_own(cid, dtls->world.engine, association);
    fuzz_craft_named_record(writer, record, (struct hf_bytes){cid, cid_len}, plaintext);
}

/* Appends a record to the datagram under way; `seq_code` 128 is the number that is due. */
static void put_record(struct dtls *dtls, uint8_t path, uint8_t type, uint16_t epoch,
                       uint8_t seq_code, struct hf_bytes plaintext)
{
    uint64_t *next = &dtls->next_seq[path][epoch != 0];
    const struct hf_association *association = epoch > 0 ? speaker(dtls, path) : NULL;
    if (association && *next <= association->read_seq) /* it has spoken from elsewhere, too */
        *next = association->read_seq + 1;
    uint64_t seq = (*next + seq_code - 128) & HF_DATAGRAM_SEQ_MAX;
    if (seq_code == 255)
        seq = HF_DATAGRAM_SEQ_MAX;
    else if (seq >= *next)
        *next = seq + 1;
    if (dtls->packet_len > 0 && dtls->packet_path != path)
        flush(dtls);
    dtls->packet_path = path;
    struct hf_writer writer =
        hf_writer_of(dtls->packet + dtls->packet_len, PACKET_MAX - dtls->packet_len);
    const struct fuzz_named record = {.epoch = epoch, .seq = seq, .type = type};
    craft_record(&writer, dtls, path, &record, plaintext);
    if (!writer.is_failed)
        dtls->packet_len += writer.len;
    if (dtls->held > 0)
        dtls->held--;
    else
        flush(dtls);
}

/* The message_seq the engine waits for, give or take. */
static uint16_t seq_due(const struct dtls *dtls, uint8_t path, int off)
{
    const struct hf_association *association = fuzz_world_association(&dtls->world, path);
    const struct hf_handshake *handshake =
        association ? hf_handshake_of(dtls->world.engine, association) : NULL;
    int due = handshake ? handshake->receive_seq : 0;
    if (association && !handshake)
        due = association->datagram.finished_seq;
    return (uint16_t)(due + off);
}

/* A record of its own, unless it is to share one with those that follow. */
static void put_fragment(struct dtls *dtls, uint8_t path, uint16_t epoch, struct hf_bytes fragment)
{
    if (fragment.len <= sizeof dtls->record - dtls->record_len) {
        memcpy(dtls->record + dtls->record_len, fragment.data, fragment.len);
        dtls->record_len += fragment.len;
    }
    if (dtls->joined > 0) {
        dtls->joined--;
        return;
    }
    put_record(dtls, path, HF_TYPE_HANDSHAKE, epoch, 128,
               (struct hf_bytes){dtls->record, dtls->record_len});
    dtls->record_len = 0;
}

/* Sends a message in fragments of at most `part_max` bytes, 0: whole. */
static void put_message(struct dtls *dtls, uint8_t path, uint16_t epoch, uint8_t type,
                        uint16_t message_seq, struct hf_bytes body, uint8_t part_max)
{
    uint8_t buffer[2048];
    struct fuzz_part part = {type, message_seq, (uint32_t)body.len, 0};
    size_t step = part_max ? part_max : body.len;
    if (body.len / (step ? step : 1) > 40)
        step = body.len / 40;
    do {
        size_t len = body.len - part.offset < step ? body.len - part.offset : step;
        struct hf_writer writer = hf_writer_of(buffer, sizeof buffer);
        fuzz_craft_message(&writer, true, &part, (struct hf_bytes){body.data + part.offset, len});
        if (!writer.is_failed)
            put_fragment(dtls, path, epoch, (struct hf_bytes){buffer, writer.len});
        part.offset += (uint32_t)len;
    } while (part.offset < body.len);
}

static void put_hello(struct dtls *dtls)
{
    static const uint8_t wrong[17] = "no such cookie...";
    uint8_t body[512];
    uint8_t code = fuzz_u8(&dtls->input);
    uint8_t path = code % FUZZ_PATHS;
    struct fuzz_hello hello = fuzz_hello_take(&dtls->input, true);
    uint8_t part_max = fuzz_u8(&dtls->input);
    if (!(code & 4)) /* what the last HelloVerifyRequest at this path said */
        hello.cookie = (struct hf_bytes){dtls->world.cookies[path], dtls->world.cookie_lens[path]};
    else if (code & 8)
        hello.cookie = (struct hf_bytes){wrong, sizeof wrong};
    struct hf_writer writer = hf_writer_of(body, sizeof body);
    fuzz_craft_hello(&writer, &hello, true);
    uint32_t before = dtls->world.engine->associations.used;
    bool is_alone = dtls->packet_len == 0 && dtls->record_len == 0;
    put_message(dtls, path, code & 128 ? 1 : 0, HF_MESSAGE_CLIENT_HELLO,
                hello.cookie.len > 0 ? 1 : 0, (struct hf_bytes){body, writer.len}, part_max);
    /* Nobody gets a slot without a good cookie. */
    FUZZ_CHECK(!(code & 4) || !is_alone || dtls->world.engine->associations.used <= before);
}

static void put_exchange(struct dtls *dtls)
{
    static const uint16_t identity_lens[8] = {516, 602, 128, 129, 1024, 1250, 1251, 1500};
    uint8_t body[1600];
    uint8_t code = fuzz_u8(&dtls->input);
    uint8_t len_code = fuzz_u8(&dtls->input);
    uint8_t part_max = fuzz_u8(&dtls->input);
    uint8_t path = code % FUZZ_PATHS;
    struct hf_writer writer = hf_writer_of(body, sizeof body);
    fuzz_craft_exchange(&writer, len_code < 248 ? len_code : identity_lens[len_code - 248]);
    put_message(dtls, path, code & 128 ? 1 : 0, HF_MESSAGE_CLIENT_KEY_EXCHANGE,
                seq_due(dtls, path, (code >> 2 & 15) == 15 ? -1 : code >> 2 & 15),
                (struct hf_bytes){body, writer.len}, part_max);
}

static void put_finished(struct dtls *dtls, uint8_t path, int seq_off, uint8_t len)
{
    static const uint8_t verify_data[256];
    put_message(dtls, path, 1, HF_MESSAGE_FINISHED, seq_due(dtls, path, seq_off),
                (struct hf_bytes){verify_data, len}, 0);
}

static void put_flight(struct dtls *dtls)
{
    static const uint8_t ccs[1] = {1};
    static const uint8_t verify_data[HF_VERIFY_DATA_LEN];
    uint8_t body[64];
    uint8_t path = fuzz_below(&dtls->input, FUZZ_PATHS);
    struct hf_writer writer = hf_writer_of(body, sizeof body);
    uint16_t seq = seq_due(dtls, path, 0);
    fuzz_craft_exchange(&writer, 20);
    dtls->held = 2;
    put_message(dtls, path, 0, HF_MESSAGE_CLIENT_KEY_EXCHANGE, seq,
                (struct hf_bytes){body, writer.len}, 0);
    put_record(dtls, path, HF_TYPE_CHANGE_CIPHER_SPEC, 0, 128, (struct hf_bytes){ccs, sizeof ccs});
    put_message(dtls, path, 1, HF_MESSAGE_FINISHED, (uint16_t)(seq + 1),
                (struct hf_bytes){verify_data, sizeof verify_data}, 0);
}

static void put_any_record(struct dtls *dtls)
{
    uint8_t code = fuzz_u8(&dtls->input);
    uint8_t type = fuzz_u8(&dtls->input);
    uint8_t seq_code = fuzz_u8(&dtls->input);
    struct hf_bytes body = fuzz_take(&dtls->input, fuzz_u8(&dtls->input));
    put_record(dtls, code % FUZZ_PATHS, type < 8 ? (uint8_t)(19 + type) : type,
               (uint16_t)(code >> 2 & 3), seq_code, body);
}

static void repeat(struct dtls *dtls)
{
    size_t at = fuzz_below(&dtls->input, HISTORY);
    uint8_t code = fuzz_u8(&dtls->input);
    if (!dtls->history[at])
        return;
    struct hf_bytes bytes = {dtls->history[at], dtls->history_lens[at]};
    fuzz_world_datagram(&dtls->world, code, bytes);
}

static void run(struct dtls *dtls, enum op op)
{
    struct fuzz_input *input = &dtls->input;
    uint8_t code;
    switch (op) {
    case OP_RAW:
        flush(dtls);
        code = fuzz_u8(input);
        deliver(dtls, code % FUZZ_PATHS, fuzz_take(input, fuzz_u16(input)));
        break;
    case OP_HELLO:
        put_hello(dtls);
        break;
    case OP_EXCHANGE:
        put_exchange(dtls);
        break;
    case OP_RECORD:
        put_any_record(dtls);
        break;
    case OP_FINISHED:
        code = fuzz_u8(input);
        put_finished(dtls, code % FUZZ_PATHS, (code >> 2 & 3) - (code >> 4 & 1),
                     code & 128 ? fuzz_u8(input) : HF_VERIFY_DATA_LEN);
        break;
    case OP_FLIGHT:
        put_flight(dtls);
        break;
    case OP_HOLD:
        dtls->held = fuzz_below(input, 16);
        break;
    case OP_REPEAT:
        repeat(dtls);
        break;
    case OP_JOIN:
        dtls->joined = fuzz_below(input, 8);
        break;
    case OP_ROAM:
        code = fuzz_u8(input);
        dtls->shift[code % FUZZ_PATHS] = code >> 2 & 3;
        break;
    case OP_COUNT:
    default:
        fuzz_script_common(&dtls->world, (enum fuzz_op)op, input);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct dtls *dtls = calloc(1, sizeof *dtls);
    FUZZ_CHECK(dtls != NULL);
    dtls->input = (struct fuzz_input){data, len};
    fuzz_world_config(&dtls->world, &dtls->input);
    fuzz_world_open(&dtls->world);
    for (int i = 0; i < 400 && dtls->input.len > 0; i++)
        run(dtls, (enum op)fuzz_below(&dtls->input, OP_COUNT));
    flush(dtls);
    fuzz_world_close(&dtls->world);
    for (size_t i = 0; i < HISTORY; i++)
        free(dtls->history[i]);
    free(dtls);
    return 0;
}
