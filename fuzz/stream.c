/**
 * stream.c - fuzz target: TLS bytes in any pieces. The same bytes go through two engines, in one
 * piece with room for all that follows, and in many with hardly any; events, data and output must
 * be the same.
 */
#include "craft.h"
#include "world.h"

#define LOG_MAX (1 << 16)

/* What came of it, as bytes to be compared. */
struct journal {
    uint8_t bytes[LOG_MAX];
    size_t len;
    uint8_t output[LOG_MAX];
    size_t output_len;
};

static void note(struct journal *journal, const void *data, size_t len)
{
    if (len > sizeof journal->bytes - journal->len)
        len = sizeof journal->bytes - journal->len;
    if (len > 0)
        memcpy(journal->bytes + journal->len, data, len);
    journal->len += len;
}

static void on_event(struct fuzz_world *world, const struct hf_event *event)
{
    struct journal *journal = world->arg;
    if (event->kind == HF_EVENT_READABLE)
        return; /* when to go on is all that may differ */
    const uint8_t head[4] = {(uint8_t)event->kind, (uint8_t)event->failure.status,
                             event->failure.alert, (uint8_t)event->data.len};
    note(journal, head, sizeof head);
    note(journal, event->data.data, event->data.len);
}

static void on_output(struct fuzz_world *world, const struct hf_output *output)
{
    struct journal *journal = world->arg;
    size_t len = output->data.len;
    if (len > sizeof journal->output - journal->output_len)
        len = sizeof journal->output - journal->output_len;
    memcpy(journal->output + journal->output_len, output->data.data, len);
    journal->output_len += len;
}

/* Feeds the stream in pieces of 1 .. piece_max bytes; piece_max 0: all at once. */
static void feed(struct fuzz_world *world, hf_association_id id, struct hf_bytes stream,
                 uint8_t piece_max, uint32_t seed)
{
    size_t done = 0;
    unsigned idle = 0;
    while (done < stream.len && idle < 4) {
        size_t len = stream.len - done;
        seed = seed * 1664525u + 1013904223u;
        if (piece_max > 0 && len > 1 + (seed >> 24) % piece_max)
            len = 1 + (seed >> 24) % piece_max;
        size_t taken = fuzz_world_stream(world, id, (struct hf_bytes){stream.data + done, len});
        idle = taken == 0 ? idle + 1 : 0;
        done += taken;
        if (piece_max == 0 || taken < len || seed & 1 << 16)
            fuzz_world_turn(world, 0);
        if (piece_max > 0 && seed & 1 << 17)
            fuzz_world_squeeze(world, seed >> 18 & 511);
    }
    fuzz_world_quiesce(world);
}

static void run(struct journal *journal, const struct fuzz_input *front, struct hf_bytes stream,
                uint8_t piece_max, uint32_t seed)
{
    static struct fuzz_world world;
    struct fuzz_input input = *front;
    struct hf_path path = fuzz_world_path(0);
    hf_association_id id;
    journal->len = journal->output_len = 0;
    fuzz_world_config(&world, &input);
    world.config.stream_buffers_max = 2; /* with one, a burst may be refused */
    world.event_max = piece_max > 0 ? HF_OUTBOX_RESERVE_EVENTS + 1 + (seed & 3) : 64;
    world.see_event = on_event;
    world.see_output = on_output;
    world.arg = journal;
    fuzz_world_open(&world);
    FUZZ_CHECK(hf_engine_accept(&id, world.engine, FUZZ_LISTENER_TLS, &path, 9) == HF_OK);
    feed(&world, id, stream, piece_max, seed);
    hf_engine_receive_end(world.engine, id);
    fuzz_world_close(&world);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct journal whole, pieces;
    if (len < 14)
        return 0;
    const struct fuzz_input front = {data, 12};
    struct hf_bytes stream = {data + 14, len - 14};
    run(&whole, &front, stream, 0, 1);
    run(&pieces, &front, stream, (uint8_t)(data[12] | 1), data[13]);
    if (fuzz_is_canary() && pieces.output_len > 100)
        pieces.output[100] ^= 1;
    FUZZ_CHECK(whole.len == pieces.len && memcmp(whole.bytes, pieces.bytes, whole.len) == 0);
    FUZZ_CHECK(whole.output_len == pieces.output_len &&
               memcmp(whole.output, pieces.output, whole.output_len) == 0);
    return 0;
}
