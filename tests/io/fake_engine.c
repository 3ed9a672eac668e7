/**
 * fake_engine.c - see fake_engine.h. Implements what the loop uses of engine.h, nothing more.
 */
#include "fake_engine.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FAKE_ADD(field, n) __atomic_fetch_add(&fake_seen.field, (n), __ATOMIC_RELAXED)

#define EVENTS_MAX 4096
#define OUTPUTS_MAX 16384
#define ASSOCIATIONS_MAX 4096
#define OUTPUT_MAX (1u << 20)

struct fake_script fake_script;
struct fake_seen fake_seen;

struct fake_association {
    uint64_t user;
    struct hf_path path;
    uint32_t listener_index;
    bool is_used;
    bool is_waiting; /* READABLE is owed */
};

struct hf_engine {
    struct fake_association associations[ASSOCIATIONS_MAX];
    struct hf_event events[EVENTS_MAX];
    size_t event_first, event_count;
    struct hf_output outputs[OUTPUTS_MAX];
    size_t output_first, output_count, output_len;
    uint8_t memory[OUTPUT_MAX];
    size_t job_count; /* waiting to be taken */
    struct hf_job job;
};

static _Thread_local struct hf_job_counters job_counters;

void fake_reset(void)
{
    fake_script = (struct fake_script){.output_max = 0};
    fake_seen = (struct fake_seen){.datagrams = 0};
}

static struct fake_association *fake_find(struct hf_engine *engine, hf_association_id id)
{
    if (id == 0 || id > ASSOCIATIONS_MAX || !engine->associations[id - 1].is_used)
        return NULL;
    return &engine->associations[id - 1];
}

static void fake_event(struct hf_engine *engine, enum hf_event_kind kind, hf_association_id id,
                       struct hf_bytes data)
{
    if (engine->event_count == EVENTS_MAX)
        abort();
    const struct fake_association *association = &engine->associations[id - 1];
    engine->events[engine->event_count++] = (struct hf_event){
        .kind = kind,
        .association = id,
        .user = association->user,
        .listener_index = association->listener_index,
        .data = data,
    };
}

static bool fake_output(struct hf_engine *engine, const struct hf_output *output)
{
    size_t max = fake_script.output_max ? fake_script.output_max : OUTPUT_MAX;
    if (output->data.len > max - engine->output_len || engine->output_count == OUTPUTS_MAX)
        return false;
    struct hf_output *out = &engine->outputs[engine->output_count++];
    *out = *output;
    out->data.data = engine->memory + engine->output_len;
    if (output->data.len > 0)
        memcpy(engine->memory + engine->output_len, output->data.data, output->data.len);
    engine->output_len += output->data.len;
    return true;
}

enum hf_status hf_engine_open(struct hf_engine **out, const struct hf_config *config,
                              const struct hf_key_source *source)
{
    (void)config;
    (void)source;
    *out = calloc(1, sizeof **out);
    return *out ? HF_OK : HF_E_MEMORY;
}

void hf_engine_close(struct hf_engine *engine)
{
    free(engine);
}

void hf_engine_begin_turn(struct hf_engine *engine, uint64_t now_us, int64_t wall_s)
{
    (void)now_us;
    (void)wall_s;
    FAKE_ADD(turns, 1);
    engine->output_first = engine->output_count = engine->output_len = 0;
    if (engine->event_first == engine->event_count)
        engine->event_first = engine->event_count = 0;
    if (__atomic_load_n(&fake_script.is_stalled, __ATOMIC_ACQUIRE))
        return;
    for (size_t i = 0; i < ASSOCIATIONS_MAX; ++i) {
        if (!engine->associations[i].is_waiting || !engine->associations[i].is_used)
            continue;
        engine->associations[i].is_waiting = false;
        fake_event(engine, HF_EVENT_READABLE, i + 1, (struct hf_bytes){NULL, 0});
    }
}

uint32_t hf_engine_datagram_shard(const struct hf_engine *engine, const uint8_t *data, size_t len)
{
    (void)engine;
    return len > 11 ? data[11] : 0;
}

size_t hf_engine_take_jobs(struct hf_engine *engine, struct hf_job **jobs, size_t jobs_max)
{
    size_t count = engine->job_count < jobs_max ? engine->job_count : jobs_max;
    for (size_t i = 0; i < count; ++i)
        jobs[i] = &engine->job; /* nobody looks into it */
    engine->job_count -= count;
    return count;
}

void hf_engine_give_job(struct hf_engine *engine, struct hf_job *job)
{
    (void)engine;
    (void)job;
}

void hf_job_read_counters(struct hf_job_counters *out)
{
    *out = job_counters;
}

enum hf_status hf_job_complete_signature(struct hf_job *job, struct hf_bytes signature)
{
    (void)job;
    (void)signature;
    return HF_E_STATE;
}

void hf_job_run(struct hf_job *const *jobs, size_t job_count)
{
    (void)jobs;
    job_counters.batches[HF_JOB_KIND_VERIFY][HF_JOB_LANES_MAX - 1] += job_count / HF_JOB_LANES_MAX;
    if (job_count % HF_JOB_LANES_MAX > 0)
        job_counters.batches[HF_JOB_KIND_VERIFY][job_count % HF_JOB_LANES_MAX - 1]++;
}

void hf_engine_end_turn(struct hf_engine *engine)
{
    (void)engine;
}

uint64_t hf_engine_next_us(const struct hf_engine *engine)
{
    if (__atomic_load_n(&fake_script.is_stalled, __ATOMIC_ACQUIRE))
        return UINT64_MAX;
    for (size_t i = 0; i < ASSOCIATIONS_MAX; ++i)
        if (engine->associations[i].is_waiting && engine->associations[i].is_used)
            return 0; /* READABLE is owed */
    return UINT64_MAX;
}

enum hf_status hf_engine_receive_datagram(struct hf_engine *engine, struct hf_datagram *datagram)
{
    struct hf_output output = {
        .path = datagram->path,
        .listener_index = datagram->listener_index,
        .ecn = datagram->ecn,
        .data = {datagram->data, datagram->len},
    };
    if (!fake_output(engine, &output)) {
        FAKE_ADD(waiting_datagrams, 1);
        return HF_WAITING;
    }
    uint32_t us = __atomic_load_n(&fake_script.datagram_us, __ATOMIC_RELAXED);
    if (us != 0)
        usleep(us);
    __atomic_store_n(&fake_seen.datagram_turns[1], fake_seen.datagram_turns[0], __ATOMIC_RELAXED);
    __atomic_store_n(&fake_seen.datagram_turns[0], FAKE_SEEN(turns), __ATOMIC_RELAXED);
    int answer_fd = __atomic_exchange_n(&fake_script.answer_fd, 0, __ATOMIC_ACQ_REL);
    if (answer_fd != 0 && send(answer_fd, datagram->data, datagram->len, 0) < 0)
        abort();
    FAKE_ADD(datagrams, 1);
    engine->job_count += fake_script.is_job_each;
    fake_seen.last_path = datagram->path;
    return HF_OK;
}

enum hf_status hf_engine_connect(hf_association_id *out, struct hf_engine *engine,
                                 const struct hf_connect *connect)
{
    (void)engine;
    (void)connect;
    *out = 0; /* nobody dials here: loop_dial_test has the real one */
    return HF_E_ARGUMENT;
}

enum hf_status hf_engine_accept(hf_association_id *out, struct hf_engine *engine,
                                uint32_t listener_index, const struct hf_path *path, uint64_t user)
{
    if (FAKE_SEEN(waiting_accepts) < fake_script.accepts_refused) {
        FAKE_ADD(waiting_accepts, 1);
        return HF_WAITING;
    }
    uint32_t max = fake_script.associations_max ? fake_script.associations_max : ASSOCIATIONS_MAX;
    for (uint32_t i = 0; i < max; ++i) {
        if (engine->associations[i].is_used)
            continue;
        engine->associations[i] = (struct fake_association){
            .user = user, .path = *path, .listener_index = listener_index, .is_used = true};
        fake_seen.last_path = *path;
        *out = i + 1;
        fake_event(engine, HF_EVENT_ESTABLISHED, i + 1, (struct hf_bytes){NULL, 0});
        return HF_OK;
    }
    return HF_E_ASSOCIATION_LIMIT;
}

enum hf_status hf_engine_receive_stream(struct hf_engine *engine, size_t *consumed,
                                        hf_association_id id, uint8_t *data, size_t len)
{
    struct fake_association *association = fake_find(engine, id);
    *consumed = 0;
    if (!association)
        return HF_E_STALE;
    if (__atomic_load_n(&fake_script.is_stalled, __ATOMIC_ACQUIRE) ||
        engine->event_count > EVENTS_MAX - 64) {
        association->is_waiting = true;
        FAKE_ADD(waiting_streams, 1);
        return HF_WAITING;
    }
    *consumed = fake_script.take_max && len > fake_script.take_max ? fake_script.take_max : len;
    association->is_waiting = *consumed < len;
    fake_event(engine, HF_EVENT_DATA, id, (struct hf_bytes){data, *consumed});
    FAKE_ADD(stream_len, *consumed);
    engine->job_count += fake_script.is_job_each;
    return *consumed < len ? HF_WAITING : HF_OK;
}

static void fake_close(struct hf_engine *engine, hf_association_id id)
{
    fake_event(engine, HF_EVENT_CLOSED, id, (struct hf_bytes){NULL, 0});
    engine->associations[id - 1].is_used = false;
}

void hf_engine_receive_end(struct hf_engine *engine, hf_association_id id)
{
    if (!fake_find(engine, id))
        return;
    FAKE_ADD(ends, 1);
    if (fake_script.is_half_close_kept)
        fake_event(engine, HF_EVENT_PEER_CLOSED, id, (struct hf_bytes){NULL, 0});
    else
        fake_close(engine, id);
}

enum hf_status hf_engine_send(struct hf_engine *engine, hf_association_id id, struct hf_bytes data)
{
    struct fake_association *association = fake_find(engine, id);
    if (!association)
        return HF_E_STALE;
    if (data.len > HF_STREAM_CHUNK_MAX)
        return HF_E_TOO_LONG;
    struct hf_output output = {
        .association = id,
        .user = association->user,
        .is_stream = true,
        .path = association->path,
        .listener_index = association->listener_index,
        .data = data,
    };
    if (fake_output(engine, &output))
        return HF_OK;
    FAKE_ADD(waiting_sends, 1);
    return HF_WAITING;
}

void hf_engine_close_association(struct hf_engine *engine, hf_association_id id, enum hf_close how)
{
    static const uint8_t bye[] = {'b', 'y', 'e'};
    if (!fake_find(engine, id))
        return;
    if (how != HF_CLOSE_SILENT)
        (void)!hf_engine_send(engine, id, (struct hf_bytes){bye, sizeof bye});
    if (how != HF_CLOSE_WRITE)
        fake_close(engine, id);
}

bool hf_engine_take_output(struct hf_engine *engine, struct hf_output *out)
{
    if (engine->output_first == engine->output_count)
        return false;
    *out = engine->outputs[engine->output_first++];
    return true;
}

bool hf_engine_has_event_room(const struct hf_engine *engine)
{
    return engine->event_count <= EVENTS_MAX - 64;
}

bool hf_engine_take_event(struct hf_engine *engine, struct hf_event *out)
{
    if (engine->event_first == engine->event_count)
        return false;
    *out = engine->events[engine->event_first++];
    return true;
}

enum hf_status hf_engine_association_info(struct hf_association_info *out,
                                          const struct hf_engine *engine, hf_association_id id)
{
    (void)out;
    return id != 0 && id <= ASSOCIATIONS_MAX && engine->associations[id - 1].is_used ? HF_OK
                                                                                     : HF_E_STALE;
}

void hf_engine_drain(struct hf_engine *engine, bool is_draining)
{
    (void)engine;
    (void)is_draining;
}

void hf_engine_counters(struct hf_counters *out, const struct hf_engine *engine)
{
    (void)engine;
    memset(out, 0, sizeof *out);
    out->datagrams_in = FAKE_SEEN(datagrams);
}

enum hf_status hf_config_check(const char **why, const struct hf_config *config)
{
    *why = "no listeners";
    return config->listener_count > 0 ? HF_OK : HF_E_CONFIG;
}

size_t hf_config_memory(const struct hf_config *config)
{
    (void)config;
    return sizeof(struct hf_engine);
}

const char *hf_status_text(enum hf_status status)
{
    (void)status;
    return "fake";
}
