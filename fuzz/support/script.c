/**
 * script.c - see script.h.
 */
#include "script.h"

#include "association.h"

hf_association_id fuzz_script_association(const struct fuzz_world *world, uint8_t which)
{
    const struct hf_engine *engine = world->engine;
    uint32_t touched = engine->associations.touched;
    if (touched == 0 || which == 255)
        return (hf_association_id)which << 56;
    hf_association_id id =
        hf_association_handle(engine, hf_association_at(engine, which % touched));
    return which & 128 ? id - 1 : id; /* its predecessor in the slot */
}

/* The lower bits are the amount, the upper two the unit: 1 us, 10 ms, 1 s, 60 s. */
static uint64_t time_of(uint16_t code)
{
    static const uint64_t units[4] = {1, 10000, 1000000, 60000000};
    return units[code >> 14] * (code & 0xFF);
}

static struct fuzz_reply take_reply(const struct fuzz_world *world, struct fuzz_input *input)
{
    static const uint16_t secret_lens[8] = {16, 48, 64, 132, 0, 1, 65, 133};
    static const uint16_t name_lens[4] = {12, 0, 512, 513};
    static const uint16_t credential_lens[4] = {15, 0, 1280, 1281};
    uint8_t kind = fuzz_u8(input);
    uint8_t lens = fuzz_u8(input);
    struct fuzz_reply reply = {
        .kind = (enum hf_answer_kind)(kind & 7),
        .secret_len = secret_lens[lens & 7],
        .entity_id_len = name_lens[lens >> 3 & 3],
        .credential_id_len = credential_lens[lens >> 5 & 3],
        .identity_follows = kind & 8,
    };
    if (reply.kind == HF_ANSWER_IDENTITY || reply.kind >= HF_ANSWER_REFUSED)
        reply.secret_len = lens & 128 ? reply.secret_len : 0;
    const int64_t expiries[4] = {0, world->wall_s + 86400, world->wall_s - 1, INT64_C(1) << 40};
    reply.expires_s = expiries[kind >> 4 & 3];
    return reply;
}

static void send_some(struct fuzz_world *world, struct fuzz_input *input)
{
    static const size_t big[8] = {1024, 4096, 16383, 16384, 16385, 2000, 1399, 70000};
    hf_association_id id = fuzz_script_association(world, fuzz_u8(input));
    uint8_t code = fuzz_u8(input);
    size_t len = code < 248 ? code : big[code - 248];
    const struct hf_association *association = hf_association_find(world->engine, id);
    bool is_live = association != NULL;
    bool is_open = is_live && association->state == HF_STATE_OPEN;
    uint64_t former = world->engine->counters.data_out_len;
    uint8_t *data = calloc(1, len + 1);
    FUZZ_CHECK(data != NULL);
    enum hf_status status = hf_engine_send(world->engine, id, (struct hf_bytes){data, len});
    free(data);
    FUZZ_CHECK(is_live == (status != HF_E_STALE));
    FUZZ_CHECK(is_open || status == HF_E_STALE || status == HF_E_STATE);
    bool has_ended = status == HF_E_SEQUENCE_LIMIT || status == HF_E_CREDENTIAL_EXPIRED;
    FUZZ_CHECK(!has_ended || !hf_association_find(world->engine, id));
    size_t sent = status == HF_OK ? len : 0; /* all or nothing */
    FUZZ_CHECK(world->engine->counters.data_out_len - former == sent);
}

static void close_one(struct fuzz_world *world, struct fuzz_input *input)
{
    hf_association_id id = fuzz_script_association(world, fuzz_u8(input));
    enum hf_close how = (enum hf_close)fuzz_below(input, 3);
    bool has_room = hf_engine_has_event_room(world->engine);
    hf_engine_close_association(world->engine, id, how);
    if (how != HF_CLOSE_WRITE && has_room) /* without, it ends when there is */
        FUZZ_CHECK(!hf_association_find(world->engine, id));
}

static void ask(const struct fuzz_world *world, struct fuzz_input *input)
{
    static const uint8_t text[300] = "EXPORTER-fuzz";
    struct hf_association_info info;
    uint8_t exported[257];
    uint8_t code = fuzz_u8(input);
    hf_association_id id = fuzz_script_association(world, code);
    bool is_live = hf_association_find(world->engine, id) != NULL;
    enum hf_status status = hf_engine_association_info(&info, world->engine, id);
    FUZZ_CHECK(is_live == (status == HF_OK));
    const struct hf_bytes label = {text, code % 67};
    const struct hf_bytes context = {text, code * 2u % 260};
    status = hf_engine_export(exported, code, world->engine, id, label, code & 1 ? &context : NULL);
    FUZZ_CHECK(is_live == (status != HF_E_STALE));
    FUZZ_CHECK(hf_engine_next_us(world->engine) >= world->now_us);
}

/* As if it had sent and received for years. */
static void age(const struct fuzz_world *world, struct fuzz_input *input)
{
    struct hf_association *association =
        hf_association_find(world->engine, fuzz_script_association(world, fuzz_u8(input)));
    uint64_t seq = HF_RECORDS_PER_KEY_MAX - fuzz_below(input, 4);
    if (!association || !(association->flags & HF_ASSOCIATION_WRITE_PROTECTED))
        return;
    uint64_t epoch = association->write_seq & ~HF_DATAGRAM_SEQ_MAX;
    if (association->write_seq < (epoch | seq))
        association->write_seq = epoch | seq;
    if (!hf_is_datagram(association) && association->read_seq < seq)
        association->read_seq = seq;
}

void fuzz_script_common(struct fuzz_world *world, enum fuzz_op op, struct fuzz_input *input)
{
    struct fuzz_reply reply;
    uint8_t code;
    switch (op) {
    case FUZZ_OP_TURN:
        fuzz_world_turn(world, time_of(fuzz_u16(input)));
        break;
    case FUZZ_OP_WALL:
        code = fuzz_u8(input);
        world->wall_s = code == 255 ? INT64_MAX : world->wall_s + 86400 * ((int64_t)code - 64);
        if (world->wall_s > INT64_MAX / 2) /* the next jump must not be our own overflow */
            world->wall_s = code == 255 ? INT64_MAX / 2 : 1700000000;
        break;
    case FUZZ_OP_ANSWER:
        code = fuzz_u8(input);
        reply = take_reply(world, input);
        fuzz_world_answer(world, code, &reply);
        break;
    case FUZZ_OP_SOURCE:
        world->is_prompt = fuzz_u8(input) & 1;
        world->reply = take_reply(world, input);
        break;
    case FUZZ_OP_SEND:
        send_some(world, input);
        break;
    case FUZZ_OP_CLOSE:
        close_one(world, input);
        break;
    case FUZZ_OP_TAKE:
        code = fuzz_u8(input);
        fuzz_watch_events(world, code & 15);
        fuzz_watch_outputs(world, code >> 4);
        break;
    case FUZZ_OP_FORGE:
        fuzz_forge(fuzz_u8(input));
        break;
    case FUZZ_OP_ASK:
        ask(world, input);
        break;
    case FUZZ_OP_SQUEEZE:
        code = fuzz_u8(input);
        fuzz_world_squeeze(world, code * code);
        break;
    case FUZZ_OP_AGE:
        age(world, input);
        break;
    case FUZZ_OP_OWN:
    default:
        FUZZ_FAIL("no such operation");
    }
}
