/**
 * duel_script.c - see duel.h: the operations a duel has beyond those of script.h.
 */
#include "duel.h"

/* Numbers are part of the corpus: append only. */
enum op {
    OP_PASS = FUZZ_OP_OWN, /* u8: so many units go through as they are; with connection IDs, from
                              240 on: the peer's datagrams come from another path */
    OP_DROP,               /* the next one is lost */
    OP_REPEAT,             /* it is delivered, and stays in line */
    OP_SWAP,               /* u8: it changes places with one of those behind it */
    OP_FLIP,               /* u16 offset, u8: bits of the next message */
    OP_SPLICE,             /* u16 offset, u8 cut, u8 length, bytes in its place */
    OP_RETYPE,             /* u8: the next message is of another type */
    OP_EXTENSION,          /* u16 type, u8 length, bytes: one more extension in a hello */
    OP_STRIP,              /* u16 type: one less */
    OP_MESSAGE,            /* u8 type, u8 protection and number, u8 length, bytes */
    OP_RECORD,             /* u8 type, u8 epoch, u8 length, bytes */
    OP_RAW,                /* u16 length, bytes of the wire */
    OP_FRAGMENT,           /* u8: messages go in pieces of so many bytes, 0: whole */
    OP_JOBS,               /* u8: jobs are held, or those held come back, done or not */
    OP_SCARCE,             /* u8: so many allocations the next job has */
    OP_MEET,               /* u8: again, with a session or without; u16 offset, u8 bits in it */
    OP_PEER_SEND,          /* u8: the peer sends so many bytes */
    OP_PEER_CLOSE,
    OP_STATE, /* u8: only if the suite has certificates, pass until a message type */
    OP_COUNT,
};

static struct fuzz_unit *next_message(struct fuzz_duel *duel)
{
    return duel->unit_count > 0 && duel->units[0].is_message ? &duel->units[0] : NULL;
}

static void pass(struct fuzz_duel *duel, size_t count)
{
    for (size_t i = 0; i < count && duel->unit_count > 0; i++) {
        fuzz_duel_deliver(duel, 0);
        fuzz_duel_forget(duel, 0);
        fuzz_duel_turn(duel, 0);
    }
}

static void pass_or_move(struct fuzz_duel *duel, uint8_t code)
{
    if (!duel->has_cid || code < 240) {
        pass(duel, 1 + (size_t)(code % 16));
        return;
    }
    duel->where = code % FUZZ_PATHS;
    duel->is_disturbed |= duel->where != 0 && !duel->is_open; /* a stranger's, for as long */
}

static void pass_until(struct fuzz_duel *duel, uint8_t type)
{
    for (int i = 0; i < 40 && duel->unit_count > 0; i++) {
        if (duel->units[0].is_message && duel->units[0].type == type)
            return;
        pass(duel, 1);
    }
}

static void drop(struct fuzz_duel *duel)
{
    if (duel->unit_count == 0)
        return;
    duel->drop_count++;
    if (duel->units[0].serial >= duel->next_serial) /* else it was delivered, and repeated */
        duel->is_disordered |= !duel->is_open;
    fuzz_duel_forget(duel, 0);
}

static void swap(struct fuzz_duel *duel)
{
    size_t other = 1 + (size_t)fuzz_below(&duel->input, 8);
    if (other >= duel->unit_count)
        return;
    struct fuzz_unit unit = duel->units[0];
    duel->units[0] = duel->units[other];
    duel->units[other] = unit;
}

static void flip(struct fuzz_duel *duel)
{
    uint16_t offset = fuzz_u16(&duel->input);
    uint8_t bits = fuzz_u8(&duel->input);
    if (duel->unit_count == 0 || duel->units[0].len == 0)
        return;
    duel->units[0].data[offset % duel->units[0].len] ^= bits;
}

/* Replaces data[at .. at + cut) by `bytes`. */
static void splice(struct fuzz_unit *unit, size_t at, size_t cut, struct hf_bytes bytes)
{
    if (at > unit->len || cut > unit->len - at || unit->len - cut + bytes.len > 60000)
        return;
    uint8_t *data = malloc(unit->len - cut + bytes.len + 1);
    FUZZ_CHECK(data != NULL);
    memcpy(data, unit->data, at);
    if (bytes.len > 0)
        memcpy(data + at, bytes.data, bytes.len);
    memcpy(data + at + bytes.len, unit->data + at + cut, unit->len - at - cut);
    unit->len = unit->len - cut + bytes.len;
    free(unit->data);
    unit->data = fuzz_copy((struct hf_bytes){data, unit->len}); /* of exactly its length */
    free(data);
}

static void splice_one(struct fuzz_duel *duel)
{
    uint16_t offset = fuzz_u16(&duel->input);
    uint8_t cut = fuzz_u8(&duel->input);
    struct hf_bytes bytes = fuzz_take(&duel->input, fuzz_u8(&duel->input));
    struct fuzz_unit *unit = next_message(duel);
    if (!unit)
        return;
    size_t at = offset % (unit->len + 1);
    splice(unit, at, cut < unit->len - at ? cut : unit->len - at, bytes);
}

static void set_u16(uint8_t *at, size_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static void add_extension(struct fuzz_duel *duel)
{
    uint8_t extension[4 + 255];
    size_t at;
    set_u16(extension, fuzz_u16(&duel->input));
    struct hf_bytes body = fuzz_take(&duel->input, fuzz_u8(&duel->input));
    struct fuzz_unit *unit = next_message(duel);
    if (!unit || !fuzz_duel_extensions(&at, duel, unit))
        return;
    set_u16(extension + 2, body.len);
    if (body.len > 0)
        memcpy(extension + 4, body.data, body.len);
    splice(unit, unit->len, 0, (struct hf_bytes){extension, 4 + body.len});
    set_u16(unit->data + at, unit->len - at - 2);
}

void fuzz_duel_strip(const struct fuzz_duel *duel, struct fuzz_unit *unit, uint16_t type)
{
    size_t at;
    if (!fuzz_duel_extensions(&at, duel, unit))
        return;
    struct hf_reader reader =
        hf_reader_of((struct hf_bytes){unit->data + at + 2, unit->len - at - 2});
    while (reader.len > 0) {
        size_t begin = unit->len - reader.len;
        uint16_t found = hf_reader_u16(&reader);
        (void)hf_reader_vector(&reader, 2);
        if (reader.is_failed)
            return;
        if (found != type)
            continue;
        splice(unit, begin, unit->len - reader.len - begin, (struct hf_bytes){NULL, 0});
        set_u16(unit->data + at, unit->len - at - 2);
        return;
    }
}

static void strip_extension(struct fuzz_duel *duel)
{
    uint16_t type = fuzz_u16(&duel->input);
    struct fuzz_unit *unit = next_message(duel);
    if (unit)
        fuzz_duel_strip(duel, unit, type);
}

static void say(struct fuzz_duel *duel)
{
    uint8_t type = fuzz_u8(&duel->input);
    uint8_t code = fuzz_u8(&duel->input);
    struct hf_bytes body = fuzz_take(&duel->input, fuzz_u8(&duel->input));
    fuzz_duel_message(duel, type, code & 1, (code >> 1 & 3) - 1 + (code & 8 ? 0 : 1), body);
    fuzz_duel_turn(duel, 0);
}

static void say_record(struct fuzz_duel *duel)
{
    uint8_t type = fuzz_u8(&duel->input);
    uint8_t epoch = fuzz_u8(&duel->input);
    struct hf_bytes body = fuzz_take(&duel->input, fuzz_u8(&duel->input));
    duel->is_disturbed = duel->is_unsure = true;
    fuzz_duel_record(duel, type < 8 ? (uint8_t)(19 + type) : type, epoch & 3, body);
    fuzz_duel_turn(duel, 0);
}

static void jobs(struct fuzz_duel *duel)
{
    uint8_t code = fuzz_u8(&duel->input);
    duel->is_disturbed = duel->is_meddled = true;
    duel->holds_jobs = code & 1;
    if (code & 2)
        fuzz_duel_give_jobs(duel, code & 4, code & 8);
}

/* Ends both and begins again. The session offered is the client's newest; or one that is not as it
 * was. */
static void meet(struct fuzz_duel *duel)
{
    static uint8_t session[HF_SESSION_MAX];
    uint8_t code = fuzz_u8(&duel->input);
    uint16_t offset = fuzz_u16(&duel->input);
    uint8_t bits = fuzz_u8(&duel->input);
    size_t len = code & 1 ? duel->session_len : 0;
    memcpy(session, duel->session, len);
    if (len > 0)
        session[offset % len] ^= bits;
    if (code & 2 && duel->world.now_us < UINT64_C(1) << 40)
        fuzz_duel_turn(duel, UINT64_C(60000000) * (code >> 2 & 31));
    duel->is_second = code & 128;
    (void)fuzz_duel_dial(duel, (struct hf_bytes){session, len});
    if (len > 0 && bits != 0) /* the embedder's own fault, for a client */
        duel->is_disturbed = duel->is_unsure = true;
}

static void use_peer(struct fuzz_duel *duel, bool is_end)
{
    static const uint8_t data[255];
    uint8_t len = is_end ? 0 : fuzz_u8(&duel->input);
    if (!duel->is_peer_open || duel->is_peer_over)
        return;
    duel->peer_random = fuzz_random_swap(duel->peer_random);
    if (is_end)
        hf_engine_close_association(duel->peer, duel->peer_id, HF_CLOSE_NOTIFY);
    else
        (void)hf_engine_send(duel->peer, duel->peer_id, (struct hf_bytes){data, len});
    duel->peer_random = fuzz_random_swap(duel->peer_random);
    fuzz_duel_turn(duel, 0);
}

static void change(struct fuzz_duel *duel, enum op op)
{
    switch ((int)op) {
    case OP_FLIP:
        flip(duel);
        break;
    case OP_SPLICE:
        splice_one(duel);
        break;
    case OP_RETYPE:
        if (next_message(duel))
            duel->units[0].type = fuzz_u8(&duel->input);
        break;
    case OP_EXTENSION:
        add_extension(duel);
        break;
    case OP_STRIP:
        strip_extension(duel);
        break;
    case OP_MESSAGE:
        say(duel);
        break;
    case OP_RECORD:
        say_record(duel);
        break;
    case OP_RAW:
        duel->is_disturbed = duel->is_unsure = true;
        fuzz_duel_bytes(duel, fuzz_take(&duel->input, fuzz_u16(&duel->input)));
        fuzz_duel_turn(duel, 0);
        break;
    default: /* the scripts' own: time, answers, sending ... */
        duel->is_disturbed = duel->is_meddled = true;
        fuzz_script_common(&duel->world, (enum fuzz_op)op, &duel->input);
    }
}

static void run(struct fuzz_duel *duel, enum op op)
{
    switch ((int)op) {
    case OP_PASS:
        pass_or_move(duel, fuzz_u8(&duel->input));
        break;
    case OP_DROP:
        drop(duel);
        break;
    case OP_REPEAT:
        if (duel->unit_count > 0)
            fuzz_duel_deliver(duel, 0);
        fuzz_duel_turn(duel, 0);
        break;
    case OP_SWAP:
        swap(duel);
        break;
    case OP_FRAGMENT:
        duel->fragment_len = fuzz_u8(&duel->input);
        break;
    case OP_JOBS:
        jobs(duel);
        break;
    case OP_SCARCE:
        duel->scarce = fuzz_u8(&duel->input);
        duel->is_disturbed = duel->is_meddled = true;
        break;
    case OP_MEET:
        meet(duel);
        break;
    case OP_PEER_SEND:
    case OP_PEER_CLOSE:
        use_peer(duel, op == OP_PEER_CLOSE);
        duel->is_disturbed = true;
        break;
    case OP_STATE:
        pass_until(duel, fuzz_u8(&duel->input));
        break;
    default:
        change(duel, op);
    }
}

void fuzz_duel_script(struct fuzz_duel *duel)
{
    for (int i = 0; i < 200 && duel->input.len > 0; i++)
        run(duel, (enum op)fuzz_below(&duel->input, OP_COUNT));
}
