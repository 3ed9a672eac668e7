/**
 * make_scripts.c - seeds out of real handshakes: the tests' client against the engine, each with a
 * stream of randomness of its own. Played back, the engine draws the same numbers again, so every
 * recorded byte - cookie, Finished, protected record - is right again.
 */
#include "association.h"
#include "craft.h"
#include "make_corpus.h"
#include "psk_client.h"
#include "script.h"

#include <stdio.h>

/* Numbers of engine_dtls.c and engine_tls.c. */
enum {
    OP_DTLS_RAW = FUZZ_OP_OWN,
    OP_DTLS_HELLO,
    OP_DTLS_EXCHANGE,
    OP_DTLS_RECORD,
    OP_DTLS_FINISHED,
    OP_DTLS_FLIGHT,
    OP_DTLS_HOLD,
    OP_DTLS_REPEAT,
    OP_DTLS_JOIN,
    OP_DTLS_ROAM,
    OP_TLS_ACCEPT = FUZZ_OP_OWN,
    OP_TLS_RAW,
    OP_TLS_HELLO,
    OP_TLS_EXCHANGE,
    OP_TLS_RECORD,
    OP_TLS_FINISHED,
    OP_TLS_DELIVER,
    OP_TLS_END,
};

enum { FRONT_LEN = 11, BYTES_MAX = 1 << 16 };

static const uint16_t suites[4] = {0x00AE, 0x00A8, 0xC0A4, 0xC0A8};

struct text {
    size_t len;
    uint8_t data[BYTES_MAX];
};

struct play {
    struct fuzz_world world;
    struct psk_client client;
    struct psk_client_config config;
    struct psk_client_work work;
    uint64_t client_random_state;
    bool is_late; /* the source answers when asked a second time */
    hf_association_id association;
    struct text script;   /* engine_dtls, engine_tls */
    struct text wire;     /* what the client sent: record, stream */
    struct text outgoing; /* two-byte length and bytes of each sending not yet delivered */
    const char *name;
    unsigned hello_count, exchange_count;
};

static void add(struct text *text, const void *data, size_t len)
{
    FUZZ_CHECK(len <= BYTES_MAX - text->len);
    memcpy(text->data + text->len, data, len);
    text->len += len;
}

static void add_u8(struct text *text, uint8_t value)
{
    add(text, &value, 1);
}

static void add_u16(struct text *text, size_t value)
{
    add_u8(text, (uint8_t)(value >> 8));
    add_u8(text, (uint8_t)value);
}

/* ---- messages, as they pass --------------------------------------------------------------- */

static void save_message(const struct play *play, const char *target, unsigned number,
                         uint8_t flags, struct hf_bytes body)
{
    char name[64];
    uint8_t seed[4096];
    struct hf_writer writer = hf_writer_of(seed, sizeof seed);
    if (strcmp(target, "extensions") != 0)
        hf_writer_u8(&writer, flags);
    hf_writer_bytes(&writer, body.data, body.len);
    FUZZ_CHECK(!writer.is_failed);
    snprintf(name, sizeof name, "%s-%u", play->name, number);
    fuzz_corpus_save(target, name, (struct hf_bytes){seed, writer.len});
}

static void save_hello(struct play *play, struct hf_bytes body)
{
    unsigned number = play->hello_count++;
    struct hf_reader reader = hf_reader_of(body);
    save_message(play, "hello", number, play->config.is_dtls, body);
    if (play->config.is_dtls)
        save_message(play, "cookie", number, 0, body);
    (void)hf_reader_take(&reader, 2 + HF_RANDOM_LEN);
    for (int i = 0; i < 2 + play->config.is_dtls; i++)
        (void)hf_reader_vector(&reader, i == 1 + play->config.is_dtls ? 2 : 1);
    (void)hf_reader_vector(&reader, 1);
    if (reader.len > 0)
        save_message(play, "extensions", number, 0, hf_reader_vector(&reader, 2));
}

/* The hello in fragments, the last first; and as records to keep. */
static void save_fragments(const struct play *play, struct hf_bytes body)
{
    static const uint8_t front[FRONT_LEN + 1];
    struct text seed = {0};
    uint8_t buffer[512];
    add(&seed, front, sizeof front);
    for (size_t i = 4; i-- > 0;) {
        size_t offset = body.len * i / 4;
        const struct fuzz_part part = {HF_MESSAGE_CLIENT_HELLO, 0, (uint32_t)body.len,
                                       (uint32_t)offset};
        struct hf_writer writer = hf_writer_of(buffer, sizeof buffer);
        fuzz_craft_message(&writer, true, &part,
                           (struct hf_bytes){body.data + offset, body.len * (i + 1) / 4 - offset});
        FUZZ_CHECK(!writer.is_failed);
        add(&seed, buffer, writer.len);
    }
    save_message(play, "fragment", 0, 0, (struct hf_bytes){seed.data + 1, seed.len - 1});
}

static enum psk_client_verdict on_message(enum psk_client_tamper_kind kind, uint8_t type,
                                          uint8_t *data, size_t *len, size_t max, void *arg)
{
    struct play *play = arg;
    (void)max;
    if (kind != PSK_CLIENT_TAMPER_MESSAGE || *len < 4)
        return PSK_CLIENT_SEND;
    const struct hf_bytes body = {data + 4, *len - 4};
    if (type == HF_MESSAGE_CLIENT_HELLO) {
        if (play->config.is_dtls && play->hello_count == 0 && body.len < 400)
            save_fragments(play, body);
        save_hello(play, body);
    } else if (type == HF_MESSAGE_CLIENT_KEY_EXCHANGE) {
        save_message(play, "exchange", play->exchange_count++, play->config.is_dtls, body);
    }
    return PSK_CLIENT_SEND;
}

/* ---- the play ------------------------------------------------------------------------------ */

static uint64_t swap(struct play *play)
{
    return play->client_random_state = fuzz_random_swap(play->client_random_state);
}

static void on_client(const uint8_t *data, size_t len, void *arg)
{
    struct play *play = arg;
    add_u16(&play->outgoing, len);
    add(&play->outgoing, data, len);
}

static void on_output(struct fuzz_world *world, const struct hf_output *output)
{
    struct play *play = world->arg;
    uint8_t *copy = fuzz_copy(output->data);
    swap(play);
    psk_client_receive(&play->client, world->now_us, copy, output->data.len, on_client, NULL, play);
    swap(play);
    free(copy);
}

static void turn(struct play *play)
{
    add_u8(&play->script, FUZZ_OP_TURN);
    add_u16(&play->script, 1);
    fuzz_world_turn(&play->world, 1);
}

/* Hands one sending in and writes it down. */
static void deliver_one(struct play *play, struct hf_bytes bytes)
{
    add(&play->wire, bytes.data, bytes.len);
    if (play->config.is_dtls) {
        add_u8(&play->script, OP_DTLS_RAW);
        add_u8(&play->script, 0);
        add_u16(&play->script, bytes.len);
        add(&play->script, bytes.data, bytes.len);
        fuzz_world_datagram(&play->world, 0, bytes);
        return;
    }
    add_u8(&play->script, OP_TLS_RAW);
    add_u8(&play->script, 0);
    add_u16(&play->script, bytes.len);
    add(&play->script, bytes.data, bytes.len);
    add_u8(&play->script, OP_TLS_DELIVER);
    add_u8(&play->script, 0);
    add_u8(&play->script, 255);
    FUZZ_CHECK(fuzz_world_stream(&play->world, play->association, bytes) == bytes.len);
}

static void deliver(struct play *play)
{
    const struct fuzz_reply reply = play->world.reply;
    for (int i = 0; i < 8 && play->outgoing.len > 0; i++) {
        struct text *outgoing = malloc(sizeof *outgoing);
        FUZZ_CHECK(outgoing != NULL);
        *outgoing = play->outgoing;
        play->outgoing.len = 0;
        struct hf_reader reader = hf_reader_of((struct hf_bytes){outgoing->data, outgoing->len});
        while (reader.len > 0)
            deliver_one(play, hf_reader_vector(&reader, 2));
        if (play->is_late && play->world.question_count > 0) {
            turn(play);
            const uint8_t answer[4] = {FUZZ_OP_ANSWER, 0, HF_ANSWER_PSK, 0};
            add(&play->script, answer, sizeof answer);
            fuzz_world_answer(&play->world, 0, &reply);
        }
        turn(play);
        free(outgoing);
    }
}

static void converse(struct play *play)
{
    static const uint8_t data[200] = "data from the client";
    const uint8_t send[3] = {FUZZ_OP_SEND, 0, 32};
    static const uint8_t zeros[32];
    swap(play);
    psk_client_start(&play->client, play->world.now_us, on_client, play);
    swap(play);
    deliver(play);
    FUZZ_CHECK(play->client.state == PSK_CLIENT_OPEN && play->world.established_count == 1);
    swap(play);
    psk_client_send(&play->client, data, sizeof data, on_client, play);
    swap(play);
    deliver(play);
    add(&play->script, send, sizeof send);
    FUZZ_CHECK(hf_engine_send(play->world.engine, fuzz_script_association(&play->world, 0),
                              (struct hf_bytes){zeros, sizeof zeros}) == HF_OK);
    turn(play);
    FUZZ_CHECK(play->client.counters.data_in_len == sizeof zeros);
    swap(play);
    psk_client_end(&play->client, on_client, play);
    swap(play);
    deliver(play);
    FUZZ_CHECK(play->world.data_count > 0);
}

/* The configuration that the scripts begin with, and for TLS the connection. */
static void open_world(struct play *play, const uint8_t front[FRONT_LEN])
{
    struct fuzz_input input = {front, FRONT_LEN};
    fuzz_world_config(&play->world, &input);
    FUZZ_CHECK(input.len == 0);
    play->world.see_output = on_output;
    play->world.arg = play;
    fuzz_world_open(&play->world);
    add(&play->script, front, FRONT_LEN);
    if (play->is_late) {
        const uint8_t source[4] = {FUZZ_OP_SOURCE, 0};
        add(&play->script, source, 4);
        play->world.is_prompt = false;
    }
    if (!play->config.is_dtls) {
        struct hf_path path = fuzz_world_path(0);
        add_u8(&play->script, OP_TLS_ACCEPT);
        add_u8(&play->script, 0);
        FUZZ_CHECK(hf_engine_accept(&play->association, play->world.engine, FUZZ_LISTENER_TLS,
                                    &path, 0) == HF_OK);
    }
}

static void save_play(const struct play *play, const uint8_t front[FRONT_LEN])
{
    bool is_dtls = play->config.is_dtls;
    fuzz_corpus_save(is_dtls ? "engine_dtls" : "engine_tls", play->name,
                     (struct hf_bytes){play->script.data, play->script.len});
    struct text *seed = calloc(1, sizeof *seed);
    FUZZ_CHECK(seed != NULL);
    if (is_dtls) {
        add_u8(seed, 0);
    } else {
        add(seed, front, FRONT_LEN);
        add(seed, "\0\x40\x07", 3);
    }
    add(seed, play->wire.data, play->wire.len);
    if (is_dtls || !play->is_late)
        fuzz_corpus_save(is_dtls ? "record" : "stream", play->name,
                         (struct hf_bytes){seed->data, seed->len});
    free(seed);
}

static void play_one(const char *name, const struct psk_client_config *config,
                     const uint8_t front[FRONT_LEN], bool is_late)
{
    struct play *play = calloc(1, sizeof *play);
    FUZZ_CHECK(play != NULL);
    play->name = name;
    play->config = *config;
    play->is_late = is_late;
    play->client_random_state = UINT64_C(99) << 32;
    play->config.identity = (struct hf_bytes){(const uint8_t *)"client", 6};
    play->config.psk = (struct hf_bytes){fuzz_world_psk(), 16};
    play->config.work = &play->work;
    play->config.tamper = on_message;
    play->config.tamper_arg = play;
    psk_client_init(&play->client, &play->config);
    open_world(play, front);
    converse(play);
    save_play(play, front);
    fuzz_world_close(&play->world);
    free(play);
}

/* ---- scripts by hand, for what no client does -------------------------------------------- */

/* clang-format off */
#define FRONT 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
#define TURN FUZZ_OP_TURN, 0, 0
#define LATER FUZZ_OP_TURN, 0x80, 2 /* 2 s */
/* The first time for the cookie, the second with it. */
#define HELLO(random) OP_DTLS_HELLO, 0, random, 1, 0, TURN
#define OPEN HELLO(0), HELLO(0), OP_DTLS_FLIGHT, 0, TURN
#define RESTART OPEN, LATER, HELLO(1), HELLO(1)

#define ALL 255
#define HANDSHAKE(c) OP_TLS_ACCEPT, c, OP_TLS_HELLO, c, 0, 1, OP_TLS_EXCHANGE, c, 9, \
                     OP_TLS_FINISHED, c, OP_TLS_DELIVER, c, ALL, TURN
#define PARTIAL(c) OP_TLS_RECORD, (c) + 4, 4, 220, OP_TLS_DELIVER, c, 40

/* From path `code` % 4. */
#define WORD(code) OP_DTLS_RECORD, code, 4, 128, 4, 'w', 'o', 'r', 'd', TURN
/* Path 1 is where those of path 0 are, and path 2 too. */
#define ROAM OP_DTLS_ROAM, 13, OP_DTLS_ROAM, 10, WORD(5)

static void save_scripts(void)
{
    static const uint8_t open[] = {FRONT, OPEN, OP_DTLS_RECORD, 4, 4, 128, 5, 'h', 'e', 'l', 'l',
                                   'o',   TURN};
    static const uint8_t restart[] = {FRONT, RESTART, OP_DTLS_FLIGHT, 0, TURN};
    static const uint8_t joined[] = {FRONT, RESTART, LATER, HELLO(2), OP_DTLS_JOIN, 1,
                                     OP_DTLS_EXCHANGE, 15 << 2, 5, 0, HELLO(2)};
    static const uint8_t roam[] = {FRONT, HELLO(0x50), HELLO(0x50), OP_DTLS_FLIGHT, 0, TURN, ROAM,
                                   FUZZ_OP_SEND, 0, 9, WORD(6), OP_DTLS_REPEAT, 0, 3, TURN};
    static const uint8_t asked[] = {FRONT, HELLO(0x60), HELLO(0x60), OP_DTLS_FLIGHT, 0, TURN, ROAM,
                                    FUZZ_OP_SEND, 0, 9, LATER, LATER, WORD(4), WORD(5), LATER,
                                    LATER};
    static const uint8_t buffers[] = {
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, HANDSHAKE(0), HANDSHAKE(1), HANDSHAKE(2), HANDSHAKE(3),
        PARTIAL(0), PARTIAL(1), PARTIAL(2), PARTIAL(3), TURN, OP_TLS_END, 2, TURN,
        OP_TLS_DELIVER, 0, ALL, TURN, TURN, OP_TLS_DELIVER, 1, ALL, TURN, OP_TLS_DELIVER, 3, ALL};
    static const uint8_t full[] = {
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, HANDSHAKE(0), HANDSHAKE(1), OP_TLS_RECORD, 4, 4, 1, 'a',
        OP_TLS_RECORD, 4, 4, 1, 'b', OP_TLS_RECORD, 4, 4, 1, 'c', OP_TLS_DELIVER, 0, ALL,
        FUZZ_OP_CLOSE, 0, 1, FUZZ_OP_CLOSE, 1, 0, FUZZ_OP_SQUEEZE, 0, TURN, OP_TLS_DELIVER, 0, ALL};
    static const uint8_t old[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, HANDSHAKE(0), HANDSHAKE(1),
                                  FUZZ_OP_AGE, 0, 1, FUZZ_OP_SEND, 0, 9, FUZZ_OP_SEND, 0, 9,
                                  FUZZ_OP_AGE, 1, 1, OP_TLS_RECORD, 5, 4, 1, 'a', OP_TLS_DELIVER,
                                  1, ALL, OP_TLS_RECORD, 5, 4, 1, 'b', OP_TLS_DELIVER, 1, ALL};
    /* clang-format on */
    static const struct {
        const char *target, *name;
        struct hf_bytes bytes;
    } scripts[] = {
        {"engine_dtls", "script-open", {open, sizeof open}},
        {"engine_dtls", "script-restart", {restart, sizeof restart}},
        {"engine_dtls", "script-roam", {roam, sizeof roam}},
        {"engine_dtls", "script-roam-asked", {asked, sizeof asked}},
        {"engine_dtls", "found-hello-behind-message", {joined, sizeof joined}},
        {"engine_tls", "script-buffers", {buffers, sizeof buffers}},
        {"engine_tls", "script-full", {full, sizeof full}},
        {"engine_tls", "script-old", {old, sizeof old}},
    };
    for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++)
        fuzz_corpus_save(scripts[i].target, scripts[i].name, scripts[i].bytes);
}

void fuzz_corpus_handshakes(void)
{
    save_scripts();
    static const uint8_t plain[FRONT_LEN];
    static const uint8_t hinted[FRONT_LEN] = {4 | 8 | 16 | 128};
    char name[64];
    for (unsigned i = 0; i < 32; i++) {
        struct psk_client_config config = {
            .is_dtls = i & 1,
            .extended_master_secret = !(i & 2),
            .encrypt_then_mac = !(i & 4),
            .suite_count = 1,
            .suites = {suites[i >> 3]},
            .server_name = i & 2 ? "in-cse.example" : NULL,
            .max_fragment_length = i & 4 ? 1 : 0,
            .record_size_limit = i & 8 ? 512 : 0,
            .grease_and_13 = i & 16,
            .fragment_len_max = i & 8 ? 120 : 0,
            .renegotiation =
                i & 4 ? PSK_CLIENT_RENEGOTIATION_EXTENSION : PSK_CLIENT_RENEGOTIATION_SCSV,
            .is_one_record_per_datagram = i & 2,
        };
        snprintf(name, sizeof name, "%s-%04x-%u", config.is_dtls ? "dtls" : "tls", config.suites[0],
                 i);
        play_one(name, &config, i & 4 ? hinted : plain, (i >> 1 & 3) == 3);
    }
}
