/**
 * cid_model.c - see cid_model.h.
 */
#include "cid_model.h"

#include "association.h"
#include "cid.h"
#include "record.h"

enum { WINDOW = 64 };

struct hf_association *fuzz_cid_find(const struct fuzz_cid *run,
                                     const struct fuzz_cid_device *device)
{
    return device->is_over ? NULL : hf_association_find(run->world.engine, device->id);
}

static uint8_t path_index(const struct hf_path *path)
{
    for (uint8_t i = 0; i < FUZZ_PATHS; i++) {
        const struct hf_path known = fuzz_world_path(i);
        if (memcmp(&known, path, sizeof known) == 0)
            return i;
    }
    FUZZ_FAIL("an address nobody has");
}

/* ---- what the engine says ------------------------------------------------------------------ */

/* Bytes to an address that is not known to be the device's: RFC 9853 5, and our own cap. */
static void count_out(const struct fuzz_cid *run, struct fuzz_cid_device *device, uint8_t path,
                      size_t len)
{
    if (device->is_checked[path])
        return;
    device->out_len[path] += (uint32_t)len;
    device->spell_len[path] += (uint32_t)len;
    FUZZ_CHECK(device->out_len[path] <= 3 * device->in_len[path]);
    if (path == device->candidate || path == device->home)
        FUZZ_CHECK(device->spell_len[path] <= run->world.config.path_len_max);
}

/* Remembers a challenge, if the record is one. */
static void read_challenge(const struct fuzz_cid *run, struct fuzz_cid_device *device, uint8_t path,
                           const struct hf_output *output)
{
    const struct hf_association *association = fuzz_cid_find(run, device);
    uint8_t bytes[FUZZ_CID_RECORD_MAX];
    struct hf_record record;
    struct hf_record_key key;
    size_t at, len;
    if (!association || output->data.len > sizeof bytes)
        return;
    memcpy(bytes, output->data.data, output->data.len);
    if (!hf_record_datagram_read(&record, bytes, output->data.len,
                                 hf_cid_peer(run->world.engine, association).len) ||
        record.epoch == 0)
        return;
    const struct hf_record_header header = {.seq = (uint64_t)record.epoch << 48 | record.seq,
                                            .version = record.version,
                                            .type = record.type,
                                            .cid = record.cid};
    hf_record_key_of(&key, run->world.engine, association, true);
    enum hf_status status = fuzz_record_open(&at, &len, &key, &header, record.body, record.len);
    FUZZ_CHECK(status == HF_OK); /* what we seal the peer can open */
    uint8_t *inner = record.body + at;
    if (record.cid.len > 0) {
        FUZZ_CHECK(len > 0);
        record.type = inner[--len];
    }
    if (record.type != HF_TYPE_RETURN_ROUTABILITY)
        return;
    FUZZ_CHECK(run->has_rrc && len == 1 + FUZZ_CID_COOKIE_LEN && inner[0] <= 2);
    if (inner[0] != 0 || device->question_count == FUZZ_CID_QUESTIONS)
        return;
    struct fuzz_cid_question *question = &device->questions[device->question_count++];
    memcpy(question->cookie, inner + 1, FUZZ_CID_COOKIE_LEN);
    question->path = path;
}

static void on_output(struct fuzz_world *world, const struct hf_output *output)
{
    struct fuzz_cid *run = world->arg;
    for (size_t i = 0; i < run->device_count; i++) {
        struct fuzz_cid_device *device = &run->devices[i];
        if (device->id != output->association || device->id == 0)
            continue;
        uint8_t path = path_index(&output->path);
        read_challenge(run, device, path, output);
        count_out(run, device, path, output->data.len);
    }
}

/* Anything that has happened to an association, beside what is asked for here, is wrong. */
static void check_unmoved(struct fuzz_cid *run)
{
    struct hf_association_info info;
    for (size_t i = 0; i < run->device_count; i++) {
        const struct fuzz_cid_device *device = &run->devices[i];
        if (device->is_over)
            continue;
        FUZZ_CHECK(hf_engine_association_info(&info, run->world.engine, device->id) == HF_OK);
        FUZZ_CHECK(path_index(&info.path) == device->home);
        FUZZ_CHECK(info.is_path_checking == (device->candidate != FUZZ_CID_NOWHERE));
    }
}

void fuzz_cid_look(struct fuzz_cid *run)
{
    fuzz_watch_events(&run->world, SIZE_MAX);
    fuzz_watch_outputs(&run->world, SIZE_MAX);
    check_unmoved(run);
}

/* ---- what must hold ------------------------------------------------------------------------ */

static void begin_spell(struct fuzz_cid_device *device, uint8_t path)
{
    device->spell_len[path] = 0;
    device->question_count = 0;
    device->candidate = path;
}

static void settle(struct fuzz_cid_device *device)
{
    device->candidate = FUZZ_CID_NOWHERE;
    device->question_count = 0;
}

static void move(struct fuzz_cid_device *device, uint8_t path, bool is_checked)
{
    uint8_t former = device->home;
    device->is_checked[former] = false; /* somebody else may have it from now on */
    device->in_len[former] = device->out_len[former] = 0;
    device->spell_len[path] = 0;
    device->home = path;
    device->is_checked[path] = is_checked;
    settle(device);
}

/* Is that a cookie of ours? Gives where it was sent, or FUZZ_CID_NOWHERE. */
static uint8_t asked_at(const struct fuzz_cid_device *device,
                        const uint8_t cookie[FUZZ_CID_COOKIE_LEN])
{
    for (size_t i = 0; i < device->question_count; i++) {
        if (memcmp(device->questions[i].cookie, cookie, FUZZ_CID_COOKIE_LEN) == 0)
            return device->questions[i].path;
    }
    return FUZZ_CID_NOWHERE;
}

/* What a record that was taken amounts to. */
static void expect(const struct fuzz_cid *run, struct fuzz_cid_device *device,
                   const struct fuzz_cid_saying *saying, bool is_newest)
{
    const struct hf_config *config = &run->world.config;
    uint8_t path = saying->path;
    bool is_answer = saying->type == HF_TYPE_RETURN_ROUTABILITY &&
                     saying->len == 1 + FUZZ_CID_COOKIE_LEN &&
                     (saying->body[0] == 1 || saying->body[0] == 2);
    if (path == device->home) {
        if (is_newest && device->candidate != FUZZ_CID_NOWHERE)
            settle(device);
    } else if (path != device->candidate && is_newest) {
        if (run->has_rrc)
            begin_spell(device, path);
        else if (config->path_policy != HF_PATH_FIXED)
            move(device, path, config->path_policy == HF_PATH_FOLLOW);
    }
    if (!run->has_rrc || !is_answer || device->candidate == FUZZ_CID_NOWHERE)
        return;
    uint8_t asked = asked_at(device, saying->body + 1);
    if (asked == FUZZ_CID_NOWHERE)
        return;
    if (saying->body[0] == 1 && asked == device->home)
        settle(device);
    else if (saying->body[0] == 1 && asked == device->candidate && asked == path)
        move(device, path, true);
}

/* Delivers a datagram of one record, which is `device`'s if it is anybody's. */
void fuzz_cid_deliver(struct fuzz_cid *run, struct fuzz_cid_device *device,
                      const struct fuzz_cid_saying *saying, struct hf_bytes bytes, bool is_right)
{
    struct hf_counters before, after;
    const struct hf_association *association = fuzz_cid_find(run, device);
    bool is_live = association != NULL;
    uint64_t behind = saying->seq <= device->newest ? device->newest - saying->seq : 0;
    bool is_replay =
        saying->seq <= device->newest && (behind >= WINDOW || (device->window >> behind & 1));
    bool is_good = is_live && is_right && !is_replay && !saying->is_forged;
    bool is_newest = saying->seq > device->newest;
    hf_engine_counters(&before, run->world.engine);
    run->has_forged |= saying->is_forged && is_live && is_right;
    if (saying->is_forged)
        fuzz_forge(UINT32_MAX);
    fuzz_world_datagram(&run->world, saying->path, bytes);
    fuzz_forge(0);
    hf_engine_counters(&after, run->world.engine);
    bool is_taken = after.records_in > before.records_in;
    FUZZ_CHECK(is_good || !is_taken);
    FUZZ_CHECK(!is_good || is_taken || run->has_forged);
    if (!is_taken) {
        FUZZ_CHECK(after.datagrams_out == before.datagrams_out);
        fuzz_cid_look(run);
        return;
    }
    if (!device->is_checked[saying->path])
        device->in_len[saying->path] += (uint32_t)bytes.len;
    if (is_newest) {
        uint64_t ahead = saying->seq - device->newest;
        device->window = (ahead < WINDOW ? device->window << ahead : 0) | 1;
        device->newest = saying->seq;
    } else {
        device->window |= UINT64_C(1) << behind;
    }
    expect(run, device, saying, is_newest);
    device->is_over = !hf_association_find(run->world.engine, device->id);
    if (fuzz_is_canary() && !is_newest && !device->is_over) /* a late one moves it */
        hf_association_find(run->world.engine, device->id)->path.peer_port ^= 1;
    fuzz_cid_look(run);
}

void fuzz_cid_begin(struct fuzz_cid *run)
{
    run->world.arg = run;
    run->world.see_output = on_output;
}

void fuzz_cid_waited(struct fuzz_cid *run, bool is_long)
{
    struct hf_association_info info;
    for (size_t i = 0; i < run->device_count; i++) {
        struct fuzz_cid_device *device = &run->devices[i];
        if (device->is_over)
            continue;
        FUZZ_CHECK(hf_engine_association_info(&info, run->world.engine, device->id) == HF_OK);
        FUZZ_CHECK(path_index(&info.path) == device->home);
        FUZZ_CHECK(device->candidate != FUZZ_CID_NOWHERE || !info.is_path_checking);
        FUZZ_CHECK(!is_long || !info.is_path_checking);
        if (!info.is_path_checking)
            settle(device);
    }
}
