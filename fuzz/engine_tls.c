/**
 * engine_tls.c - fuzz target: the whole engine on streams. The input is a configuration and a
 * script over a few connections, whose bytes are queued and delivered in pieces of any size, with
 * limits so small that everything has to wait for everything. world.h says what must hold.
 */
#include "association.h"
#include "craft.h"
#include "script.h"

enum op {
    OP_ACCEPT = FUZZ_OP_OWN, /* u8 connection and path */
    OP_RAW,                  /* u8 connection, u16 length, bytes into its queue */
    OP_HELLO,                /* u8 connection and protection, hello */
    OP_EXCHANGE,             /* u8 connection, u8 identity */
    OP_RECORD,               /* u8 connection and protection, u8 type, u8 length, bytes */
    OP_FINISHED,             /* u8 connection: CCS and Finished */
    OP_DELIVER,              /* u8 connection, u8 length */
    OP_END,                  /* u8 connection: the peer is gone */
    OP_COUNT,
};

#define CONNECTIONS 4
#define QUEUE_MAX 65536

struct connection {
    hf_association_id association;
    bool is_live;
    size_t len;
    uint8_t queue[QUEUE_MAX];
};

struct tls {
    struct fuzz_world world;
    struct fuzz_input input;
    struct connection connections[CONNECTIONS];
};

static void on_event(struct fuzz_world *world, const struct hf_event *event)
{
    struct tls *tls = world->arg;
    if (event->kind != HF_EVENT_CLOSED && event->kind != HF_EVENT_HANDSHAKE_FAILED)
        return;
    for (size_t i = 0; i < CONNECTIONS; i++) {
        if (tls->connections[i].is_live && tls->connections[i].association == event->association)
            tls->connections[i].is_live = false;
    }
}

static void accept_one(struct tls *tls)
{
    uint8_t code = fuzz_u8(&tls->input);
    struct connection *connection = &tls->connections[code % CONNECTIONS];
    struct hf_path path = fuzz_world_path(code >> 2 & 3);
    hf_association_id id;
    if (connection->is_live)
        return;
    enum hf_status status =
        hf_engine_accept(&id, tls->world.engine, FUZZ_LISTENER_TLS, &path, code);
    FUZZ_CHECK((status == HF_OK) == (id != 0));
    if (status != HF_OK)
        return;
    connection->association = id;
    connection->is_live = true;
    connection->len = 0;
}

static void put(struct connection *connection, const struct hf_writer *writer)
{
    if (writer->is_failed || connection->len + writer->len > QUEUE_MAX)
        return;
    memcpy(connection->queue + connection->len, writer->data, writer->len);
    connection->len += writer->len;
}

static void put_message(struct connection *connection, uint8_t type, bool is_protected,
                        struct hf_bytes body)
{
    uint8_t message[2048];
    uint8_t record[2200];
    const struct fuzz_part part = {.type = type};
    struct hf_writer inner = hf_writer_of(message, sizeof message);
    struct hf_writer outer = hf_writer_of(record, sizeof record);
    fuzz_craft_message(&inner, false, &part, body);
    fuzz_craft_stream_record(&outer, HF_TYPE_HANDSHAKE, is_protected,
                             (struct hf_bytes){message, inner.len});
    put(connection, &outer);
}

static void put_hello(struct tls *tls, struct connection *connection, bool is_protected)
{
    uint8_t body[512];
    struct fuzz_hello hello = fuzz_hello_take(&tls->input, false);
    struct hf_writer writer = hf_writer_of(body, sizeof body);
    fuzz_craft_hello(&writer, &hello, false);
    put_message(connection, HF_MESSAGE_CLIENT_HELLO, is_protected,
                (struct hf_bytes){body, writer.len});
}

static void put_exchange(struct tls *tls, struct connection *connection)
{
    static const uint16_t identity_lens[8] = {516, 602, 128, 129, 1024, 1250, 1251, 1500};
    uint8_t body[1600];
    uint8_t code = fuzz_u8(&tls->input);
    struct hf_writer writer = hf_writer_of(body, sizeof body);
    fuzz_craft_exchange(&writer, code < 248 ? code : identity_lens[code - 248]);
    put_message(connection, HF_MESSAGE_CLIENT_KEY_EXCHANGE, false,
                (struct hf_bytes){body, writer.len});
}

/* Bytes of the input, or a long record of nothing: 400 bytes for each step above 200. */
static void put_record(struct tls *tls, struct connection *connection, bool is_protected)
{
    static const uint8_t nothing[55 * 400];
    uint8_t type = fuzz_u8(&tls->input);
    uint8_t code = fuzz_u8(&tls->input);
    struct hf_bytes body = code <= 200 ? fuzz_take(&tls->input, code)
                                       : (struct hf_bytes){nothing, (code - 200) * 400u};
    size_t max = body.len + FUZZ_PLAIN_FRONT_LEN + HF_STREAM_HEADER_LEN;
    uint8_t *record = malloc(max);
    FUZZ_CHECK(record != NULL);
    struct hf_writer writer = hf_writer_of(record, max);
    fuzz_craft_stream_record(&writer, type < 8 ? (uint8_t)(19 + type) : type, is_protected, body);
    put(connection, &writer);
    free(record);
}

static void put_finished(struct connection *connection)
{
    static const uint8_t ccs[6] = {HF_TYPE_CHANGE_CIPHER_SPEC, 3, 3, 0, 1, 1};
    static const uint8_t verify_data[HF_VERIFY_DATA_LEN];
    uint8_t copy[sizeof ccs];
    memcpy(copy, ccs, sizeof ccs);
    struct hf_writer writer = hf_writer_of(copy, sizeof copy);
    writer.len = sizeof copy;
    put(connection, &writer);
    put_message(connection, HF_MESSAGE_FINISHED, true,
                (struct hf_bytes){verify_data, sizeof verify_data});
}

static void deliver(struct tls *tls, struct connection *connection)
{
    uint8_t code = fuzz_u8(&tls->input);
    size_t len = code < 128 ? code : (code == 255 ? QUEUE_MAX : (code - 127u) * 256);
    if (len > connection->len)
        len = connection->len;
    if (!connection->is_live)
        return;
    size_t taken = fuzz_world_stream(&tls->world, connection->association,
                                     (struct hf_bytes){connection->queue, len});
    connection->len -= taken;
    memmove(connection->queue, connection->queue + taken, connection->len);
}

static void run(struct tls *tls, enum op op)
{
    if (op < (enum op)FUZZ_OP_OWN) {
        fuzz_script_common(&tls->world, (enum fuzz_op)op, &tls->input);
        return;
    }
    if (op == OP_ACCEPT) {
        accept_one(tls);
        return;
    }
    uint8_t code = fuzz_u8(&tls->input);
    struct connection *connection = &tls->connections[code % CONNECTIONS];
    struct hf_bytes bytes;
    switch ((int)op) {
    case OP_RAW:
        bytes = fuzz_take(&tls->input, fuzz_u16(&tls->input));
        if (connection->len + bytes.len <= QUEUE_MAX && bytes.len > 0) {
            memcpy(connection->queue + connection->len, bytes.data, bytes.len);
            connection->len += bytes.len;
        }
        break;
    case OP_HELLO:
        put_hello(tls, connection, code & 4);
        break;
    case OP_EXCHANGE:
        put_exchange(tls, connection);
        break;
    case OP_RECORD:
        put_record(tls, connection, code & 4);
        break;
    case OP_FINISHED:
        put_finished(connection);
        break;
    case OP_DELIVER:
        deliver(tls, connection);
        break;
    default: /* OP_END */
        if (connection->is_live)
            hf_engine_receive_end(tls->world.engine, connection->association);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct tls tls; /* queues are not cleared: what is behind their length is not read */
    tls.input = (struct fuzz_input){data, len};
    fuzz_world_config(&tls.world, &tls.input);
    for (size_t i = 0; i < CONNECTIONS; i++) {
        tls.connections[i].is_live = false;
        tls.connections[i].len = 0;
    }
    tls.world.see_event = on_event;
    tls.world.arg = &tls;
    fuzz_world_open(&tls.world);
    for (int i = 0; i < 400 && tls.input.len > 0; i++)
        run(&tls, (enum op)fuzz_below(&tls.input, OP_COUNT));
    fuzz_world_close(&tls.world);
    return 0;
}
