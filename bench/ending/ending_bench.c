/**
 * ending_bench.c - bench_ending [--associations N] [--check]: how long the loop stands still while
 * associations are ended whose keys are gone.
 *
 * A real engine with N established DTLS associations, each by a whole handshake in memory, and the
 * daemon's own ending.c, on a loop that only counts turns. Prints one JSON line for each case: keys
 * removed, associations ended, turns, and the CPU time of the walk's turns. Fails if the
 * wrong associations end, and with --check if a turn does more than its bound or stalls the loop.
 */
#include "ending.h"
#include "psk_client.h"

#include <getopt.h>
#include <inttypes.h>
#include <loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TURN_ENDS_MAX 128u /* ending.c says so */
#define TURN_MIDDLE_US_MAX 500
#define TURN_STALL_US_MAX 5000 /* page faults and a neighbour's cache misses included */
#define DATAGRAMS_MAX 16
#define DATAGRAM_MAX 2048

struct hf_loop {
    struct hf_engine *engine;
    hf_loop_task *task; /* at most one waits: ending.c posts no more */
    void *task_arg;
};

struct datagrams {
    uint8_t bytes[DATAGRAMS_MAX][DATAGRAM_MAX];
    size_t lens[DATAGRAMS_MAX];
    size_t count;
};

static const uint8_t psk[16] = "0123456789abcdef";
static struct hf_loop loop;
static struct hf_daemon_config config;
static struct psk_client_work work;
static struct datagrams up;
static uint64_t now_us = 1000000;
static uint64_t context_next;
static uint8_t *is_ended; /* by context */

static void must(bool is_good, const char *what)
{
    if (is_good)
        return;
    fprintf(stderr, "bench_ending: failed: %s\n", what);
    exit(1);
}

/* Of our thread: what other programs do meanwhile is not the daemon's stall. */
static double cpu_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

/* ---- what ending.c asks of its surroundings ------------------------------------------------ */

bool hf_loop_post(struct hf_loop *self, hf_loop_task *task, void *arg)
{
    must(self->task == NULL, "one task at a time");
    self->task = task;
    self->task_arg = arg;
    return true;
}

struct hf_engine *hf_loop_engine(struct hf_loop *self)
{
    return self->engine;
}

void hf_loop_end(struct hf_loop *self, hf_association_id association, enum hf_close how)
{
    hf_engine_close_association(self->engine, association, how);
}

/* One listener, one authority. */
uint32_t hf_daemon_config_authority(const struct hf_daemon_config *self, uint32_t listener_index,
                                    bool is_client, struct hf_bytes server_name)
{
    (void)self;
    (void)listener_index;
    (void)is_client;
    (void)server_name;
    return 0;
}

void hf_log_begin(struct hf_log_line *line, enum hf_log_level level, uint32_t slot,
                  const char *event, const char *reason)
{
    (void)level;
    (void)slot;
    (void)event;
    (void)reason;
    line->len = 0;
}

void hf_log_number(struct hf_log_line *line, const char *name, uint64_t value)
{
    (void)name;
    (void)value;
    line->len++;
}

void hf_log_end(struct hf_log_line *line)
{
    (void)line;
}

/* ---- associations -------------------------------------------------------------------------- */

static void request_key(struct hf_engine *engine, const struct hf_request *request, void *arg)
{
    (void)arg;
    const struct hf_answer answer = {
        .kind = HF_ANSWER_PSK,
        .framework = HF_FRAMEWORK_PROVISIONED_SYMMETRIC_KEY,
        .entity_kind = HF_ENTITY_AE,
        .secret = {psk, sizeof psk},
        .context = context_next,
    };
    (void)hf_engine_answer(engine, request->ticket, &answer);
}

static void keep(const uint8_t *data, size_t len, void *arg)
{
    struct datagrams *datagrams = arg;
    must(datagrams->count < DATAGRAMS_MAX && len <= DATAGRAM_MAX, "room for a flight");
    memcpy(datagrams->bytes[datagrams->count], data, len);
    datagrams->lens[datagrams->count++] = len;
}

/* One turn of the engine with what the client has sent; its answers go to the client. */
static void turn(struct psk_client *client, const struct hf_path *path)
{
    struct hf_event event;
    struct hf_output output;
    struct datagrams in = up;
    up.count = 0;
    hf_engine_begin_turn(loop.engine, now_us, 1750000000);
    for (size_t i = 0; i < in.count; i++) {
        struct hf_datagram datagram = {.path = *path, .data = in.bytes[i], .len = in.lens[i]};
        (void)hf_engine_receive_datagram(loop.engine, &datagram);
    }
    hf_engine_end_turn(loop.engine);
    while (hf_engine_take_event(loop.engine, &event))
        continue;
    while (hf_engine_take_output(loop.engine, &output)) {
        uint8_t copy[DATAGRAM_MAX];
        must(output.data.len <= sizeof copy, "a datagram's length");
        memcpy(copy, output.data.data, output.data.len);
        psk_client_receive(client, now_us, copy, output.data.len, keep, NULL, &up);
    }
}

static void open_one(uint64_t number)
{
    static const uint8_t local[4] = {192, 0, 2, 1};
    const uint8_t peer[4] = {10, (uint8_t)(number >> 16), (uint8_t)(number >> 8), (uint8_t)number};
    const struct hf_path path = {hf_address_v4(peer, (uint16_t)(1024 + (number >> 24))),
                                 hf_address_v4(local, 5684)};
    struct psk_client client;
    struct psk_client_config client_config = {
        .is_dtls = true,
        .is_quiet = true,
        .extended_master_secret = true,
        .suite_count = 1,
        .suites = {HF_SUITE_PSK_AES_128_CCM_8},
        .identity = {(const uint8_t *)"dev", 3},
        .psk = {psk, sizeof psk},
        .work = &work,
    };
    up.count = 0;
    context_next = number + 1;
    psk_client_init(&client, &client_config);
    psk_client_start(&client, now_us, keep, &up);
    for (int i = 0; i < 10 && client.state != PSK_CLIENT_OPEN; i++)
        turn(&client, &path);
    must(client.state == PSK_CLIENT_OPEN, "a handshake");
    now_us += 100;
}

static void open_all(uint32_t count)
{
    struct hf_config engine;
    struct hf_listener listener;
    const struct hf_key_source source = {.request = request_key};
    hf_config_init(&engine);
    hf_listener_init(&listener, HF_TRANSPORT_DTLS);
    engine.associations_max = count;
    engine.handshakes_max = engine.handshakes_pressure = 16 < count ? 16 : count;
    engine.listeners = &listener;
    engine.listener_count = 1;
    must(hf_engine_open(&loop.engine, &engine, &source) == HF_OK, "hf_engine_open");
    for (uint32_t i = 0; i < count; i++)
        open_one(i);
}

/* ---- walks --------------------------------------------------------------------------------- */

struct walk_figures {
    uint64_t turns, ended, ended_in_turn_max;
    double longest_us, sum_us;
    double *each_us;
};

static uint64_t take_ended(void)
{
    struct hf_event event;
    struct hf_output output;
    uint64_t count = 0;
    while (hf_engine_take_event(loop.engine, &event)) {
        must(event.kind == HF_EVENT_CLOSED && !is_ended[event.context], "one end for each");
        is_ended[event.context] = 1;
        count++;
    }
    while (hf_engine_take_output(loop.engine, &output))
        continue;
    return count;
}

static int compare_times(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;
    return (left > right) - (left < right);
}

/* What a turn costs a loop that has nothing else to do: the slice, its events and its output. */
static struct walk_figures walk(struct hf_ending *ending, uint32_t turns_max)
{
    struct walk_figures figures = {.each_us = calloc(turns_max, sizeof(double))};
    must(figures.each_us != NULL, "memory");
    while (!hf_ending_is_idle(ending)) {
        double begun_us = cpu_us();
        hf_loop_task *task = loop.task;
        loop.task = NULL;
        hf_engine_begin_turn(loop.engine, now_us += 100, 1750000000);
        if (task != NULL)
            task(&loop, loop.task_arg);
        hf_engine_end_turn(loop.engine);
        uint64_t ended = take_ended();
        double us = cpu_us() - begun_us;
        must(figures.turns < turns_max, "it ends");
        figures.each_us[figures.turns++] = us;
        figures.sum_us += us;
        figures.ended += ended;
        if (ended > figures.ended_in_turn_max)
            figures.ended_in_turn_max = ended;
        if (us > figures.longest_us)
            figures.longest_us = us;
    }
    qsort(figures.each_us, figures.turns, sizeof(double), compare_times);
    return figures;
}

static void report(const char *name, struct walk_figures *figures, uint64_t keys, uint64_t expected,
                   uint64_t associations, bool is_checked)
{
    double middle_us = figures->turns == 0 ? 0 : figures->each_us[figures->turns / 2];
    double high_us = figures->turns == 0 ? 0 : figures->each_us[figures->turns * 99 / 100];
    free(figures->each_us);
    printf("{\"bench\":\"ending\",\"case\":\"%s\",\"associations\":%" PRIu64 ",\"keys\":%" PRIu64
           ",\"ended\":%" PRIu64 ",\"turns\":%" PRIu64 ",\"ended_in_a_turn_max\":%" PRIu64
           ",\"turn_us_median\":%.0f,\"turn_us_p99\":%.0f,\"turn_us_max\":%.0f"
           ",\"total_ms\":%.1f}\n",
           name, associations, keys, figures->ended, figures->turns, figures->ended_in_turn_max,
           middle_us, high_us, figures->longest_us, figures->sum_us / 1000);
    must(figures->ended == expected, "as many ends as keys");
    must(figures->ended_in_turn_max <= TURN_ENDS_MAX, "a turn ends no more than it may");
    must(!is_checked || middle_us <= TURN_MIDDLE_US_MAX, "the middle turn is short");
    must(!is_checked || figures->longest_us <= TURN_STALL_US_MAX, "no turn stalls the loop");
}

/* Every `step`-th context from `first` on. */
static uint64_t *list_contexts(size_t *out_count, uint32_t count, uint64_t first, uint64_t step)
{
    uint64_t *contexts = calloc(count, sizeof(*contexts));
    must(contexts != NULL, "memory");
    *out_count = 0;
    for (uint64_t context = first; context <= count; context += step)
        contexts[(*out_count)++] = context;
    return contexts;
}

static void run_all(uint32_t count, bool is_checked)
{
    size_t few = 0;
    size_t many = 0;
    uint32_t turns_max = 4 * count / TURN_ENDS_MAX + count / 512 + 64;
    struct hf_ending *ending = hf_ending_open(&config, 0);
    must(ending != NULL, "hf_ending_open");
    uint64_t *one = list_contexts(&few, count, count / 2, count);
    must(hf_ending_gone(ending, &loop, one, few), "hf_ending_gone");
    struct walk_figures figures = walk(ending, turns_max);
    report("one key", &figures, few, 1, count, is_checked);
    must(is_ended[count / 2] == 1, "the right one");
    free(one);
    /* A tenth of all keys, in parts as a store tells them, while walks are under way. */
    uint64_t *tenth = list_contexts(&many, count, 1, 10);
    for (size_t at = 0; at < many; at += 4096)
        must(hf_ending_gone(ending, &loop, tenth + at, many - at < 4096 ? many - at : 4096),
             "hf_ending_gone");
    uint64_t expected = 0;
    for (size_t i = 0; i < many; i++)
        expected += is_ended[tenth[i]] == 0;
    figures = walk(ending, turns_max);
    report("a tenth of the keys", &figures, many, expected, count, is_checked);
    free(tenth);
    /* A store was replaced unseen, and keeps every other key. */
    uint64_t *kept = list_contexts(&many, count, 2, 2);
    must(hf_ending_unkept(ending, &loop, 0, count, kept, many), "hf_ending_unkept");
    expected = 0;
    for (uint64_t context = 1; context <= count; context++)
        expected += context % 2 == 1 && !is_ended[context];
    figures = walk(ending, turns_max);
    report("half of a store kept", &figures, many, expected, count, is_checked);
    for (size_t i = 0; i < many; i++)
        must(kept[i] == count / 2 || !is_ended[kept[i]], "what is kept lives");
    free(kept);
    must(hf_ending_unkept(ending, &loop, 0, count, NULL, 0), "hf_ending_unkept");
    expected = 0;
    for (uint64_t context = 1; context <= count; context++)
        expected += !is_ended[context];
    figures = walk(ending, turns_max);
    report("nothing kept", &figures, 0, expected, count, is_checked);
    hf_ending_close(ending);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"associations", required_argument, NULL, 'a'},
                                            {"check", no_argument, NULL, 'c'},
                                            {NULL, 0, NULL, 0}};
    uint32_t count = 1000000;
    bool is_checked = false;
    int option = 0;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'a')
            count = (uint32_t)strtoul(optarg, NULL, 10);
        else if (option == 'c')
            is_checked = true;
        else
            return 2;
    }
    must(count >= 100 && count <= 1u << 24, "--associations: 100 to 16777216");
    is_ended = calloc(count + 1, 1);
    must(is_ended != NULL, "memory");
    open_all(count);
    run_all(count, is_checked);
    hf_engine_close(loop.engine);
    free(is_ended);
    return 0;
}
