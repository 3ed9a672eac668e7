/**
 * fragment.c - fuzz target: reassembly of DTLS handshake messages and the store of early records.
 * The input is handshake fragments as they stand in a record; a byte-wise model of the message
 * says what must come of each.
 */
#include "fragment.h"

#include "association.h"
#include "cid.h"
#include "path.h"
#include "record.h"
#include "world.h"

#define MESSAGE_MAX 65536

struct model {
    bool is_begun;
    uint8_t type;
    uint32_t len;
    uint8_t body[MESSAGE_MAX];
    bool has[MESSAGE_MAX];
};

static bool fits(const struct model *model, const struct hf_fragment *fragment)
{
    if (!model->is_begun)
        return true;
    if (model->type != fragment->type || model->len != fragment->message_len)
        return false;
    for (size_t i = 0; i < fragment->body.len; i++) {
        size_t at = fragment->offset + i;
        if (model->has[at] && model->body[at] != fragment->body.data[i])
            return false;
    }
    return true;
}

static void add(struct model *model, const struct hf_fragment *fragment)
{
    model->is_begun = true;
    model->type = fragment->type;
    model->len = fragment->message_len;
    for (size_t i = 0; i < fragment->body.len; i++) {
        model->has[fragment->offset + i] = true;
        model->body[fragment->offset + i] = fragment->body.data[i];
    }
}

static size_t count_missing(const struct model *model)
{
    size_t missing = 0;
    for (size_t i = 0; i < model->len; i++)
        missing += !model->has[i];
    return missing;
}

/* Stretches that do not touch each other. */
static unsigned count_ranges(const struct model *model)
{
    unsigned ranges = 0;
    for (size_t i = 0; i < model->len; i++)
        ranges += model->has[i] && (i == 0 || !model->has[i - 1]);
    return ranges;
}

static void check_one(struct fuzz_world *world, struct hf_handshake *handshake, struct model *model,
                      const struct hf_fragment *fragment)
{
    struct hf_bytes body = {NULL, 0};
    uint8_t *copy = fuzz_copy(fragment->body);
    struct hf_fragment given = *fragment;
    given.body.data = copy;
    enum hf_status status = hf_fragment_add(&body, world->engine, handshake, &given);
    if (fragment->message_len > world->config.message_len_max) {
        FUZZ_CHECK(status == HF_E_MESSAGE_TOO_LONG);
    } else if (!fits(model, fragment)) {
        FUZZ_CHECK(status == HF_DROPPED);
    } else if (status == HF_DROPPED) { /* too scattered: one more stretch than there is room for */
        struct model scattered = *model;
        add(&scattered, fragment);
        FUZZ_CHECK(count_ranges(&scattered) > HF_RANGES_MAX);
    } else {
        add(model, fragment);
        FUZZ_CHECK((status == HF_OK) == (count_missing(model) == 0));
        FUZZ_CHECK(status == HF_OK || status == HF_WAITING);
    }
    if (status == HF_OK) {
        if (fuzz_is_canary() && body.data != copy)
            model->body[0] ^= 1;
        FUZZ_CHECK(body.len == model->len);
        FUZZ_CHECK(body.len == 0 || memcmp(body.data, model->body, body.len) == 0);
        hf_fragment_clear(handshake);
        memset(model, 0, sizeof *model);
    }
    free(copy);
}

/* Keeps records until none fits; what is kept must be whole records, each once. */
static void check_keep(struct fuzz_world *world, struct hf_handshake *handshake,
                       struct hf_bytes bytes)
{
    uint8_t *copy = fuzz_copy(bytes);
    uint8_t *at = copy;
    size_t left = bytes.len;
    struct hf_record record;
    size_t cid_len = hf_cid_len(world->engine);
    while (hf_record_datagram_read(&record, at, left, cid_len)) {
        size_t len = hf_record_head_len(&record) + record.len;
        hf_fragment_keep(world->engine, handshake, at, len);
        at += len;
        left -= len;
    }
    free(copy);
    uint8_t *kept = hf_handshake_kept(world->engine, handshake);
    FUZZ_CHECK(handshake->kept_len <= world->config.deferred_len_max);
    size_t walked = 0;
    while (walked < handshake->kept_len) {
        size_t len = (size_t)(kept[walked] << 8 | kept[walked + 1]);
        FUZZ_CHECK(walked + 2 + len <= handshake->kept_len);
        FUZZ_CHECK(hf_record_datagram_read(&record, kept + walked + 2, len, cid_len));
        FUZZ_CHECK(record.len + hf_record_head_len(&record) == len);
        walked += 2 + len;
    }
    FUZZ_CHECK(walked == handshake->kept_len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct fuzz_world world;
    static struct model model;
    struct fuzz_input input = {data, len};
    struct hf_association *association;
    struct hf_path path = fuzz_world_path(0);
    struct hf_path_key key;
    fuzz_world_config(&world, &input);
    fuzz_world_open(&world);
    FUZZ_CHECK(hf_path_key(&key, world.engine, &path));
    FUZZ_CHECK(hf_association_open(&association, world.engine, HF_ROLE_SERVER, FUZZ_LISTENER_DTLS,
                                   &key) == HF_OK);
    FUZZ_CHECK(
        hf_table_insert(&world.engine->table, hf_association_index(world.engine, association)));
    struct hf_handshake *handshake = hf_handshake_of(world.engine, association);
    handshake->deadline_us = world.now_us + 1000000;
    hf_association_arm(world.engine, association);
    memset(&model, 0, sizeof model);
    if (fuzz_u8(&input) & 1) {
        check_keep(&world, handshake, (struct hf_bytes){input.data, input.len});
    } else {
        struct hf_reader reader = hf_reader_of((struct hf_bytes){input.data, input.len});
        struct hf_fragment fragment;
        while (reader.len > 0 && hf_fragment_read(&fragment, &reader) == HF_OK) {
            FUZZ_CHECK(fragment.offset + fragment.body.len <= fragment.message_len);
            FUZZ_CHECK(fragment.body.len > 0 || fragment.message_len == 0);
            check_one(&world, handshake, &model, &fragment);
        }
    }
    fuzz_world_close(&world);
    return 0;
}
