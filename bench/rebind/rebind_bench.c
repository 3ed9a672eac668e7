/**
 * rebind_bench.c - bench_rebind [--associations N]: what becomes of N DTLS associations with
 * connection IDs when a NAT moves all of them at once, and when somebody on the way tries to.
 *
 * Two engines in memory, a clock that the bench moves: no handshake of the first N is repeated, and
 * each phase prints one JSON line with the server's counters and its CPU time for each association.
 * Fails if a phase does not end as it must.
 *
 *     late      the newest record but one, held back, from another address
 *     raced     the newest record, diverted to another address; the device is where it was
 *     replays   the last three records of each, once more, from another address
 *     rebind    each device's records come from another address, the old one is dead
 *     again     and again, with one record lost in ten
 */
#include <handfast/engine.h>

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BATCH 64u /* associations that speak in a turn */
#define RECORD_MAX 128u
#define HISTORY 3u
#define TURN_US 10000u

enum phase { MEET, LATE, RACED, REPLAYS, REBIND, AGAIN, PHASE_COUNT };

static const char *const names[PHASE_COUNT] = {"meet",    "late",   "raced",
                                               "replays", "rebind", "again"};

struct device {
    hf_association_id client, server;
    uint32_t move;    /* which address its records come from */
    uint32_t answers; /* that it has had */
    uint8_t records[HISTORY][RECORD_MAX];
    uint8_t lens[HISTORY];
    uint32_t record_count;
};

static struct {
    struct hf_engine *client, *server;
    struct device *devices;
    uint32_t count;
    uint64_t now_us;
    uint64_t server_ns;
    uint32_t random;
    enum phase phase;
    bool is_diverted; /* up: the records come from where the device is not */
    bool is_held;     /* up: nothing arrives */
    bool is_lossy;
    uint64_t moved;
} world;

static void must(bool is_good, const char *what)
{
    if (is_good)
        return;
    fprintf(stderr, "bench_rebind: failed: %s\n", what);
    exit(1);
}

static uint64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* To an engine many associations share a local address, not a peer: so the clients' is told the
 * device's as `peer`, and the server's as `local`. */

/* A device's address: its number, and the port tells where the NAT has put it. */
static struct hf_address address_of(uint32_t number, uint32_t move)
{
    const uint8_t ip[4] = {(uint8_t)(10 + (number >> 24)), (uint8_t)(number >> 16),
                           (uint8_t)(number >> 8), (uint8_t)number};
    return hf_address_v4(ip, (uint16_t)(1024 + move));
}

static uint32_t number_of(const struct hf_address *address)
{
    const uint8_t *ip = address->ip + 12;
    return (uint32_t)(ip[0] - 10) << 24 | (uint32_t)ip[1] << 16 | (uint32_t)ip[2] << 8 | ip[3];
}

static struct hf_address server_address(void)
{
    static const uint8_t ip[4] = {192, 0, 2, 1};
    return hf_address_v4(ip, 5684);
}

static void take_request(struct hf_engine *engine, const struct hf_request *request, void *arg)
{
    static const uint8_t psk[16] = "0123456789abcdef";
    const struct hf_answer answer = {
        .kind = request->kind == HF_REQUEST_KEY ? HF_ANSWER_PSK : HF_ANSWER_IDENTITY,
        .framework = HF_FRAMEWORK_PROVISIONED_SYMMETRIC_KEY,
        .entity_kind = HF_ENTITY_PENDING,
        .secret = {psk, request->kind == HF_REQUEST_KEY ? sizeof psk : 0},
    };
    (void)arg;
    (void)hf_engine_answer(engine, request->ticket, &answer);
}

/* ---- the wire ----------------------------------------------------------------------------- */

static bool is_lost(void)
{
    world.random = world.random * 1103515245u + 12345u;
    return world.is_lossy && (world.random >> 16) % 10 == 0;
}

static void note(struct device *device, const struct hf_output *output)
{
    if (output->data.data[0] != 25 || output->data.len > RECORD_MAX)
        return;
    uint32_t at = device->record_count++ % HISTORY;
    memcpy(device->records[at], output->data.data, output->data.len);
    device->lens[at] = (uint8_t)output->data.len;
}

static void give_server(const struct hf_address *from, const uint8_t *data, size_t len)
{
    static uint8_t buffers[4096][2048];
    static size_t next;
    struct hf_datagram datagram = {
        .path = {*from, server_address()}, .data = buffers[next++ % 4096], .len = len};
    memcpy(datagram.data, data, len);
    must(hf_engine_receive_datagram(world.server, &datagram) == HF_OK, "the server takes it");
}

static void up(void)
{
    struct hf_output output;
    while (hf_engine_take_output(world.client, &output)) {
        uint32_t number = number_of(&output.path.peer);
        struct device *device = &world.devices[number];
        struct hf_address from = address_of(number, device->move + (world.is_diverted ? 30000 : 0));
        note(device, &output);
        if (!world.is_held && !is_lost())
            give_server(&from, output.data.data, output.data.len);
    }
}

static void down(void)
{
    static uint8_t buffer[2048];
    struct hf_output output;
    while (hf_engine_take_output(world.server, &output)) {
        uint32_t number = number_of(&output.path.peer);
        const struct hf_address here = address_of(number, world.devices[number].move);
        struct hf_event event;
        if (memcmp(&here, &output.path.peer, sizeof here) != 0 || is_lost())
            continue; /* nobody is there */
        struct hf_datagram datagram = {.path = {address_of(number, 0), server_address()},
                                       .is_client = true,
                                       .data = buffer,
                                       .len = output.data.len};
        memcpy(buffer, output.data.data, output.data.len);
        must(hf_engine_receive_datagram(world.client, &datagram) == HF_OK, "the client takes it");
        while (hf_engine_take_event(world.client, &event)) {
            world.devices[number].answers += event.kind == HF_EVENT_DATA;
            must(event.kind != HF_EVENT_CLOSED && event.kind != HF_EVENT_HANDSHAKE_FAILED,
                 "no association ends");
        }
    }
}

static void serve(void)
{
    struct hf_event event;
    hf_engine_end_turn(world.server);
    while (hf_engine_take_event(world.server, &event)) {
        uint32_t number = number_of(&event.path.peer);
        if (event.kind == HF_EVENT_ESTABLISHED)
            world.devices[number].server = event.association;
        else if (event.kind == HF_EVENT_MOVED)
            world.moved++;
        else if (event.kind == HF_EVENT_DATA)
            must(hf_engine_send(world.server, event.association, event.data) == HF_OK, "an echo");
        else
            must(false, "nothing else happens");
    }
}

/* One round trip, and then as many as it takes: at most `turns`. */
static void turn(uint32_t turns)
{
    for (uint32_t i = 0; i < turns; i++) {
        hf_engine_begin_turn(world.client, world.now_us, 1760000000);
        hf_engine_end_turn(world.client);
        uint64_t begin_ns = cpu_ns();
        hf_engine_begin_turn(world.server, world.now_us, 1760000000);
        up();
        serve();
        world.server_ns += cpu_ns() - begin_ns;
        down();
        hf_engine_end_turn(world.client);
        world.now_us += TURN_US;
    }
}

/* ---- what happens ------------------------------------------------------------------------- */

static void open_engines(void)
{
    const struct hf_key_source source = {take_request, NULL, NULL};
    struct hf_listener listener;
    struct hf_dialer dialer;
    struct hf_config config;
    hf_config_init(&config);
    hf_listener_init(&listener, HF_TRANSPORT_DTLS);
    hf_dialer_init(&dialer, HF_TRANSPORT_DTLS);
    dialer.connection_id = HF_CONNECTION_ID_SEND;
    config.associations_max = world.count + 64;
    config.handshakes_max = config.handshakes_pressure = 256;
    config.local_addresses_max = 1;
    config.listeners = &listener;
    config.listener_count = 1;
    must(hf_engine_open(&world.server, &config, &source) == HF_OK, "a server");
    config.listener_count = 0;
    config.dialers = &dialer;
    config.dialer_count = 1;
    must(hf_engine_open(&world.client, &config, &source) == HF_OK, "a client");
}

static void meet(uint32_t number)
{
    static const uint8_t identity[] = "device";
    const struct hf_connect connect = {.path = {address_of(number, 0), server_address()},
                                       .psk_identity = {identity, sizeof identity - 1}};
    must(hf_engine_connect(&world.devices[number].client, world.client, &connect) == HF_OK,
         "a handshake begins");
}

static void say(uint32_t number)
{
    static const uint8_t text[] = "a reading of 21.5 degrees";
    must(hf_engine_send(world.client, world.devices[number].client,
                        (struct hf_bytes){text, sizeof text - 1}) == HF_OK,
         "something is said");
}

/* From an address where the device has never been. */
static void replay(const struct device *device, uint32_t number, uint32_t first, uint32_t count)
{
    const struct hf_address from = address_of(number, 40000);
    for (uint32_t i = first; i < first + count; i++)
        give_server(&from, device->records[i % HISTORY], device->lens[i % HISTORY]);
}

static void act(uint32_t number)
{
    struct device *device = &world.devices[number];
    uint32_t kept = device->record_count < HISTORY ? device->record_count : HISTORY;
    switch (world.phase) {
    case MEET:
        meet(number);
        break;
    case REPLAYS:
        replay(device, number, device->record_count - kept, kept);
        break;
    case LATE:
    case RACED:
        say(number);
        break;
    case REBIND:
    case AGAIN:
        device->move++;
        say(number);
        break;
    case PHASE_COUNT:
        break;
    }
}

/* All of them, some at a time. */
static void pass(uint32_t turns)
{
    for (uint32_t first = 0; first < world.count; first += BATCH) {
        uint32_t end = first + BATCH < world.count ? first + BATCH : world.count;
        hf_engine_begin_turn(world.client, world.now_us, 1760000000);
        hf_engine_begin_turn(world.server, world.now_us, 1760000000);
        uint64_t begin_ns = cpu_ns();
        for (uint32_t i = first; i < end; i++)
            act(i);
        if (world.phase == LATE) { /* this one is late ... */
            world.is_held = true;
            up();
            world.is_held = false;
            for (uint32_t i = first; i < end; i++)
                say(i);
            up(); /* ... and this one is not */
            for (uint32_t i = first; i < end; i++)
                replay(&world.devices[i], i, world.devices[i].record_count - 2, 1);
        } else {
            world.is_diverted = world.phase == RACED;
            up();
            world.is_diverted = false;
        }
        serve();
        world.server_ns += cpu_ns() - begin_ns; /* the clients' sealing, too */
        down();
        hf_engine_end_turn(world.client);
        world.now_us += TURN_US;
        turn(turns);
    }
}

static uint64_t at_home(void)
{
    struct hf_association_info info;
    uint64_t count = 0;
    for (uint32_t i = 0; i < world.count; i++) {
        const struct hf_address here = address_of(i, world.devices[i].move);
        must(hf_engine_association_info(&info, world.server, world.devices[i].server) == HF_OK,
             "every association lives");
        count += memcmp(&info.path.peer, &here, sizeof here) == 0 && info.is_path_checked;
    }
    return count;
}

static void report(const struct hf_counters *before, uint64_t answers)
{
    struct hf_counters after;
    hf_engine_counters(&after, world.server);
    printf("{\"bench\":\"rebind\",\"phase\":\"%s\",\"associations\":%u,\"handshakes\":%" PRIu64
           ",\"answered\":%" PRIu64 ",\"checks\":%" PRIu64 ",\"moved\":%" PRIu64
           ",\"kept\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"replays_dropped\":%" PRIu64
           ",\"where_the_device_is\":%" PRIu64 ",\"us_each\":%.2f}\n",
           names[world.phase], after.associations,
           after.handshakes[HF_OK] - before->handshakes[HF_OK], answers,
           after.paths_checked - before->paths_checked, after.paths_moved - before->paths_moved,
           after.paths_kept - before->paths_kept, after.paths_refused - before->paths_refused,
           after.drops[HF_DROP_REPLAY] - before->drops[HF_DROP_REPLAY], at_home(),
           (double)world.server_ns / 1e3 / world.count);
    (void)fflush(stdout);
}

static uint64_t answers(void)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < world.count; i++)
        sum += world.devices[i].answers;
    return sum;
}

static void run(enum phase phase)
{
    struct hf_counters before, after;
    uint64_t answers_before = answers();
    world.phase = phase;
    world.server_ns = 0;
    world.is_lossy = phase == AGAIN;
    hf_engine_counters(&before, world.server);
    pass(phase == MEET ? 12 : 3);
    turn(600); /* six seconds: every check comes to its end */
    world.is_lossy = false;
    if (phase == AGAIN) { /* whose only record was lost says another */
        for (uint32_t first = 0; first < world.count; first += BATCH) {
            for (uint32_t i = first; i < first + BATCH && i < world.count; i++)
                say(i);
            turn(3);
        }
        turn(600);
    }
    report(&before, answers() - answers_before);
    hf_engine_counters(&after, world.server);
    must(after.associations == world.count, "all are there");
    must(after.handshakes[HF_OK] == world.count, "nobody has shaken hands again");
    must(at_home() == world.count, "each is where its device is");
    bool is_moving = phase == REBIND || phase == AGAIN;
    must(phase != REPLAYS ||
             after.drops[HF_DROP_REPLAY] - before.drops[HF_DROP_REPLAY] == HISTORY * world.count,
         "every replay is known");
    must(is_moving || after.paths_moved == before.paths_moved, "nothing has moved");
    must(phase != REBIND || after.paths_moved - before.paths_moved == world.count,
         "all have moved");
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"associations", required_argument, NULL, 'a'},
                                            {NULL, 0, NULL, 0}};
    int letter;
    world.count = 100000;
    world.now_us = 1000000;
    while ((letter = getopt_long(argc, argv, "", options, NULL)) != -1) {
        must(letter == 'a', "usage: bench_rebind [--associations N]");
        world.count = (uint32_t)strtoul(optarg, NULL, 10);
    }
    must(world.count > 0 && world.count <= 1000000, "--associations: 1 to 1,000,000");
    world.devices = calloc(world.count, sizeof *world.devices);
    must(world.devices != NULL, "memory");
    open_engines();
    for (enum phase phase = MEET; phase < PHASE_COUNT; phase++)
        run(phase);
    hf_engine_close(world.client);
    hf_engine_close(world.server);
    free(world.devices);
    return 0;
}
