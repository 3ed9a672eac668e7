/**
 * cid.c - fuzz target: open associations with connection IDs (RFC 9146), whose records come from
 * any address, in any order, right, wrong, forged and repeated, with return routability checks (RFC
 * 9853) answered rightly, wrongly, from elsewhere or not at all.
 *
 * A model that knows the wire alone says what must hold: what is not a good record of an
 * association does nothing and is answered by nothing; one that is does what it says, from wherever
 * it comes; the address changes with the newest record or the right answer, never otherwise; and
 * what an address that is not known to be the peer's is sent stays within its bounds.
 *
 * Input: three bytes of settings, a script.
 */
#include "cid.h"

#include "association.h"
#include "cid_model.h"
#include "craft.h"

enum op {
    OP_SAY,    /* u8 device and path, u8 number, u8 what, u8 length or cookie, u8 how */
    OP_WRONG,  /* u8 device and path, u8 number, u8 bit: in a connection ID that is not one */
    OP_PLAIN,  /* u8 device and path, u8 number, u8 type: without one */
    OP_RAW,    /* u8 path, u8 length, bytes: nothing in it is authentic */
    OP_REPEAT, /* u8 which of the last, u8 path */
    OP_SEND,   /* u8 device, u8 length: our turn to speak */
    OP_TIME,   /* u8: 10 ms each; 0: 30 s */
    OP_CLOSE,  /* u8 device */
    OP_COUNT,
};

enum { HISTORY = 8 };

struct past {
    struct fuzz_cid_device *device; /* NULL: nothing yet */
    struct fuzz_cid_saying saying;
    bool is_right;
    uint8_t bytes[FUZZ_CID_RECORD_MAX];
    size_t len;
};

static struct {
    struct fuzz_cid model;
    struct fuzz_input input;
    struct past history[HISTORY];
    size_t history_next;
} run;

/* ---- what devices say ---------------------------------------------------------------------- */

static struct fuzz_cid_device *take_device(uint8_t *path, uint64_t *seq)
{
    uint8_t code = fuzz_u8(&run.input), number = fuzz_u8(&run.input);
    struct fuzz_cid_device *device = &run.model.devices[code / FUZZ_PATHS % run.model.device_count];
    *path = code % FUZZ_PATHS;
    *seq = device->next_seq + number - 128; /* 128: the one that is due */
    if (number < 128 && device->next_seq < 128u - number)
        *seq = 0;
    if (*seq >= device->next_seq)
        device->next_seq = *seq + 1;
    return device;
}

/* An answer to one of our questions, and which end of it is bent. */
static void fill_answer(struct fuzz_cid_saying *saying, const struct fuzz_cid_device *device,
                        uint8_t code)
{
    saying->type = HF_TYPE_RETURN_ROUTABILITY;
    saying->len = 1 + FUZZ_CID_COOKIE_LEN;
    if (device->question_count > 0)
        memcpy(saying->body + 1, device->questions[(code & 15) % device->question_count].cookie,
               FUZZ_CID_COOKIE_LEN);
    if (code & 16)
        saying->body[1 + (code >> 5)] ^= 1;
}

static void fill(struct fuzz_cid_saying *saying, const struct fuzz_cid_device *device, uint8_t what,
                 uint8_t code)
{
    switch (what % 8) {
    case 0: /* data */
        saying->type = HF_TYPE_APPLICATION_DATA;
        saying->len = code;
        break;
    case 1:
    case 2: /* path_response, path_drop */
        saying->body[0] = what % 8;
        fill_answer(saying, device, code);
        break;
    case 3: /* a question of its own */
        saying->type = HF_TYPE_RETURN_ROUTABILITY;
        saying->len = 1 + FUZZ_CID_COOKIE_LEN;
        memset(saying->body + 1, code, FUZZ_CID_COOKIE_LEN);
        break;
    case 4: /* of no length or type that is known */
        saying->type = HF_TYPE_RETURN_ROUTABILITY;
        saying->len = code % 16;
        saying->body[0] = code >> 4;
        break;
    case 5: /* alerts that end nothing, and close_notify */
        saying->type = HF_TYPE_ALERT;
        saying->len = 2;
        saying->body[0] = HF_ALERT_LEVEL_WARNING;
        saying->body[1] = code > 250 ? HF_ALERT_CLOSE_NOTIFY : 90;
        break;
    case 6: /* any type, 0 included: then all of it is padding */
        saying->type = code;
        saying->len = code % 4;
        break;
    case 7:
    default: /* whatever the input says */
        saying->type = (uint8_t)(20 + code % 8);
        const struct hf_bytes bytes = fuzz_take(&run.input, code);
        saying->len = bytes.len;
        if (bytes.len > 0)
            memcpy(saying->body, bytes.data, bytes.len);
    }
}

static void remember(struct fuzz_cid_device *device, const struct fuzz_cid_saying *saying,
                     bool is_right, struct hf_bytes bytes)
{
    struct past *past = &run.history[run.history_next++ % HISTORY];
    past->device = device;
    past->saying = *saying;
    past->saying.is_forged = false; /* a copy that nobody touched */
    past->is_right = is_right;
    memcpy(past->bytes, bytes.data, bytes.len);
    past->len = bytes.len;
}

/* `how`: bits 0 to 5 padding, 6 forged, 7 of another epoch. */
static void say(void)
{
    uint8_t bytes[FUZZ_CID_RECORD_MAX];
    struct fuzz_cid_saying saying = {0};
    struct fuzz_cid_device *device = take_device(&saying.path, &saying.seq);
    uint8_t what = fuzz_u8(&run.input), code = fuzz_u8(&run.input), how = fuzz_u8(&run.input);
    fill(&saying, device, what, code);
    saying.is_forged = how & 64;
    const struct fuzz_named record = {.epoch = how & 128 ? 2 : 1,
                                      .seq = saying.seq,
                                      .type = saying.type,
                                      .padding_len = how & 63};
    struct hf_writer writer = hf_writer_of(bytes, sizeof bytes);
    fuzz_craft_named_record(&writer, &record, (struct hf_bytes){device->cid, device->cid_len},
                            (struct hf_bytes){saying.body, saying.len});
    FUZZ_CHECK(!writer.is_failed);
    if (saying.type == 0) { /* then the last byte that is none says what it is */
        while (saying.len > 0 && saying.body[saying.len - 1] == 0)
            saying.len--;
        saying.type = saying.len > 0 ? saying.body[--saying.len] : 0;
    }
    const struct hf_bytes whole = {bytes, writer.len};
    remember(device, &saying, !(how & 128), whole);
    fuzz_cid_deliver(&run.model, device, &saying, whole, !(how & 128));
}

static void say_wrong(void)
{
    uint8_t bytes[FUZZ_CID_RECORD_MAX], cid[HF_CID_LEN_MAX];
    struct fuzz_cid_saying saying = {.type = HF_TYPE_APPLICATION_DATA, .len = 4};
    struct fuzz_cid_device *device = take_device(&saying.path, &saying.seq);
    uint8_t bit = fuzz_u8(&run.input);
    const struct fuzz_named record = {.epoch = 1, .seq = saying.seq, .type = saying.type};
    struct hf_writer writer = hf_writer_of(bytes, sizeof bytes);
    memcpy(cid, device->cid, sizeof cid);
    cid[bit / 8 % device->cid_len] ^= (uint8_t)(1u << bit % 8);
    fuzz_craft_named_record(&writer, &record, (struct hf_bytes){cid, device->cid_len},
                            (struct hf_bytes){saying.body, saying.len});
    fuzz_cid_deliver(&run.model, device, &saying, (struct hf_bytes){bytes, writer.len}, false);
}

static void say_plain(void)
{
    uint8_t bytes[FUZZ_CID_RECORD_MAX];
    struct fuzz_cid_saying saying = {.len = 9};
    struct fuzz_cid_device *device = take_device(&saying.path, &saying.seq);
    saying.type = (uint8_t)(20 + fuzz_u8(&run.input) % 8);
    struct hf_writer writer = hf_writer_of(bytes, sizeof bytes);
    fuzz_craft_datagram_record(&writer, saying.type, 1, saying.seq,
                               (struct hf_bytes){saying.body, saying.len});
    fuzz_cid_deliver(&run.model, device, &saying, (struct hf_bytes){bytes, writer.len}, false);
}

static void say_raw(void)
{
    struct fuzz_cid_saying saying = {.path = fuzz_below(&run.input, FUZZ_PATHS), .is_forged = true};
    struct hf_bytes bytes = fuzz_take(&run.input, fuzz_u8(&run.input));
    run.model.has_forged = true;
    /* A hello may be answered; it is the one thing that is. */
    if (bytes.len > HF_DATAGRAM_HEADER_LEN && bytes.data[0] == HF_TYPE_TLS12_CID)
        fuzz_cid_deliver(&run.model, &run.model.devices[0], &saying, bytes, false);
}

static void repeat(void)
{
    struct past *past = &run.history[fuzz_below(&run.input, HISTORY)];
    past->saying.path = fuzz_below(&run.input, FUZZ_PATHS);
    if (past->device)
        fuzz_cid_deliver(&run.model, past->device, &past->saying,
                         (struct hf_bytes){past->bytes, past->len}, past->is_right);
}

static void send_some(void)
{
    static const uint8_t data[255];
    struct fuzz_cid_device *device =
        &run.model.devices[fuzz_below(&run.input, run.model.device_count)];
    size_t len = fuzz_u8(&run.input);
    if (fuzz_cid_find(&run.model, device))
        FUZZ_CHECK(hf_engine_send(run.model.world.engine, device->id,
                                  (struct hf_bytes){data, len}) == HF_OK);
    fuzz_cid_look(&run.model);
}

/* Time answers nothing, so it moves nothing; but a check comes to its end. */
static void pass_time(void)
{
    uint8_t code = fuzz_u8(&run.input);
    uint64_t left_us = code > 0 ? code * UINT64_C(10000) : 30000000;
    while (left_us > 0) {
        uint64_t step_us = left_us < 500000 ? left_us : 500000;
        fuzz_world_turn(&run.model.world, step_us);
        left_us -= step_us;
    }
    fuzz_world_turn(&run.model.world, 0);
    fuzz_cid_waited(&run.model, code == 0);
}

static void close_one(void)
{
    struct fuzz_cid_device *device =
        &run.model.devices[fuzz_below(&run.input, run.model.device_count)];
    hf_engine_close_association(run.model.world.engine, device->id, HF_CLOSE_SILENT);
    device->is_over = true;
    fuzz_cid_look(&run.model);
}

/* ---- life ---------------------------------------------------------------------------------- */

static void configure(struct fuzz_hello *hello)
{
    static const uint8_t cid_lens[4] = {0, 8, 32, 1};
    static const uint32_t path_lens[4] = {16384, 300, 80, 1000};
    struct fuzz_input none = {NULL, 0};
    uint8_t first = fuzz_u8(&run.input), second = fuzz_u8(&run.input);
    struct hf_config *config = &run.model.world.config;
    fuzz_world_config(&run.model.world, &none);
    run.model.device_count = (uint8_t)(1 + fuzz_below(&run.input, FUZZ_CID_DEVICES));
    run.model.has_rrc = first & 1;
    config->path_check = first & 2 ? HF_PATH_CHECK_BASIC : HF_PATH_CHECK_ENHANCED;
    config->path_policy = (enum hf_path_policy)((first >> 2 & 3) % 3);
    config->path_len_max = path_lens[first >> 4 & 3];
    config->trials_per_second = first & 64 ? 1 : 32;
    config->handshakes_per_prefix_max = FUZZ_CID_DEVICES;
    config->cid_node_len = second & 7;
    config->cid_node_offset = second >> 3 & 7;
    memset(config->cid_node, 0xA5, sizeof config->cid_node);
    *hello = (struct fuzz_hello){.version = HF_VERSION_DTLS_1_2,
                                 .random = 7,
                                 .suites = 0x1F,
                                 .has_cid = true,
                                 .has_rrc = run.model.has_rrc,
                                 .cid_len = cid_lens[second >> 6]};
    if (first & 128) /* CBC instead of CCM */
        hello->suites = 1;
}

static void put(uint8_t path, uint8_t type, uint16_t epoch, uint64_t seq, struct hf_bytes body)
{
    uint8_t bytes[FUZZ_CID_RECORD_MAX];
    struct hf_writer writer = hf_writer_of(bytes, sizeof bytes);
    fuzz_craft_datagram_record(&writer, type, epoch, seq, body);
    FUZZ_CHECK(!writer.is_failed);
    fuzz_world_datagram(&run.model.world, path, (struct hf_bytes){bytes, writer.len});
    fuzz_world_quiesce(&run.model.world);
}

static void put_message(uint8_t path, uint8_t type, uint16_t seq, struct hf_bytes body)
{
    uint8_t bytes[FUZZ_CID_RECORD_MAX];
    struct hf_writer writer = hf_writer_of(bytes, sizeof bytes);
    const struct fuzz_part part = {type, seq, (uint32_t)body.len, 0};
    fuzz_craft_message(&writer, true, &part, body);
    put(path, HF_TYPE_HANDSHAKE, 0, seq, (struct hf_bytes){bytes, writer.len});
}

static void meet(struct fuzz_cid_device *device, uint8_t path, struct fuzz_hello hello)
{
    static const uint8_t ccs[1] = {1};
    static const uint8_t finished[12 + HF_VERIFY_DATA_LEN] = {
        HF_MESSAGE_FINISHED, 0, 0, 12, 0, 3, 0, 0, 0, 0, 0, 12};
    static const uint8_t exchange[] = {0, 6, 'c', 'l', 'i', 'e', 'n', 't'};
    uint8_t body[512], bytes[FUZZ_CID_RECORD_MAX];
    for (uint16_t i = 0; i < 2; i++) { /* without the cookie, with it */
        hello.cookie =
            (struct hf_bytes){run.model.world.cookies[path], run.model.world.cookie_lens[path]};
        struct hf_writer writer = hf_writer_of(body, sizeof body);
        fuzz_craft_hello(&writer, &hello, true);
        put_message(path, HF_MESSAGE_CLIENT_HELLO, i, (struct hf_bytes){body, writer.len});
    }
    const struct hf_association *association = fuzz_world_association(&run.model.world, path);
    FUZZ_CHECK(association != NULL);
    *device =
        (struct fuzz_cid_device){.id = hf_association_handle(run.model.world.engine, association),
                                 .home = path,
                                 .candidate = FUZZ_CID_NOWHERE,
                                 .next_seq = 1,
                                 .window = 1};
    device->is_checked[path] = true;
    device->cid_len = hf_cid_own(device->cid, run.model.world.engine, association);
    FUZZ_CHECK(device->cid_len == hf_cid_len(run.model.world.engine));
    put_message(path, HF_MESSAGE_CLIENT_KEY_EXCHANGE, 2,
                (struct hf_bytes){exchange, sizeof exchange});
    put(path, HF_TYPE_CHANGE_CIPHER_SPEC, 0, 3, (struct hf_bytes){ccs, sizeof ccs});
    const struct fuzz_named record = {.epoch = 1, .type = HF_TYPE_HANDSHAKE};
    struct hf_writer writer = hf_writer_of(bytes, sizeof bytes);
    fuzz_craft_named_record(&writer, &record, (struct hf_bytes){device->cid, device->cid_len},
                            (struct hf_bytes){finished, sizeof finished});
    fuzz_world_datagram(&run.model.world, path, (struct hf_bytes){bytes, writer.len});
    fuzz_world_quiesce(&run.model.world);
    FUZZ_CHECK(association->state == HF_STATE_OPEN);
}

static void step(void)
{
    switch ((enum op)fuzz_below(&run.input, OP_COUNT)) {
    case OP_SAY:
        say();
        break;
    case OP_WRONG:
        say_wrong();
        break;
    case OP_PLAIN:
        say_plain();
        break;
    case OP_RAW:
        say_raw();
        break;
    case OP_REPEAT:
        repeat();
        break;
    case OP_SEND:
        send_some();
        break;
    case OP_TIME:
        pass_time();
        break;
    case OP_CLOSE:
        close_one();
        break;
    case OP_COUNT:
    default:
        FUZZ_FAIL("no such operation");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct fuzz_hello hello;
    memset(&run, 0, sizeof run);
    run.input = (struct fuzz_input){data, len};
    configure(&hello);
    uint8_t device_count = run.model.device_count;
    run.model.device_count = 0;
    fuzz_world_open(&run.model.world);
    for (uint8_t i = 0; i < device_count; i++)
        meet(&run.model.devices[i], i, hello);
    run.model.device_count = device_count;
    fuzz_cid_begin(&run.model);
    for (int i = 0; i < 300 && run.input.len > 0; i++) {
        step();
        if (i % 16 == 15)
            fuzz_world_turn(&run.model.world, 0);
    }
    run.model.device_count = 0;
    if (fuzz_is_canary())
        run.model.world.established_count = 0; /* ours is in deliver() */
    fuzz_world_close(&run.model.world);
    return 0;
}
