/**
 * keystore.c - the rings between shards and the store thread, and its sleep: every question gets to
 * it, once and in order, and it never sleeps on one.
 */
#include SERVICE
#include THREAD

#define SLOTS 4u
#define QUESTIONS 3u

volatile int shadow_wakes;
static struct hf_keystore_service *service;
static struct hf_keystore_shard shards[2];
static uint32_t rings[2][SLOTS], taken[2];
static bool is_polled;

static void begin(void)
{
    service = calloc(1, sizeof *service);
    service->config.shard_count = 2;
    service->slots_per_shard = SLOTS;
    service->shards = shards;
    service->state = PROCESS_SERVING;
    service->shared =
        calloc(1, sizeof *service->shared + 2 * SLOTS * sizeof *service->shared->slots);
    service->jobs = calloc(2 * SLOTS, sizeof *service->jobs);
    memset(shards, 0, sizeof shards);
    memset(rings, 0xff, sizeof rings);
    memset(taken, 0, sizeof taken);
    is_polled = false;
    for (uint32_t i = 0; i < 2; i++) {
        shards[i].service = service;
        shards[i].asked.slots = rings[i];
        shards[i].free = calloc(SLOTS, sizeof(uint32_t));
        shards[i].free_count = SLOTS;
        for (uint32_t k = 0; k < SLOTS; k++) /* taken from the end: in order */
            shards[i].free[k] = i * SLOTS + SLOTS - 1 - k;
    }
}

static void ask_some(uint32_t shard, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        explore_check(hf_keystore_service_submit(service, shard, (struct hf_ticket){i, 0, 0},
                                                 (struct hf_bytes){NULL, 0}));
}

static void asks_three(void)
{
    ask_some(0, QUESTIONS);
}
static void asks_two_elsewhere(void)
{
    ask_some(1, 2);
}
static void polls(void)
{
    hf_keystore_service_poll(service);
}

static void take_all(void)
{
    uint32_t slot;
    for (uint32_t i = 0; i < 2; i++) {
        while (hf_keystore_ring_pop(&slot, &shards[i].asked, SLOTS - 1)) {
            explore_check(slot == i * SLOTS + taken[i]); /* each once, in order */
            taken[i]++;
        }
    }
}

/* As the store thread: all there is, then sleep, which only a question or a poll ends. */
static void serve_until(uint32_t count, bool is_poll_awaited)
{
    for (;;) {
        take_all();
        if (atomic_exchange(&service->is_poll_wanted, false))
            is_polled = true;
        if (taken[0] + taken[1] == count && is_polled == is_poll_awaited)
            return;
        sleep_until(service, UINT64_MAX / 4);
    }
}

static void serves_three(void)
{
    serve_until(QUESTIONS, false);
}
static void serves_five(void)
{
    serve_until(QUESTIONS + 2, false);
}
static void serves_three_and_a_poll(void)
{
    serve_until(QUESTIONS, true);
}

static void end(void)
{
    explore_check(taken[0] == QUESTIONS);
    for (uint32_t i = 0; i < 2; i++)
        free(shards[i].free);
    free(service->shared);
    free(service->jobs);
    free(service);
}

int main(void)
{
    static const struct explore_scenario scenarios[] = {
        {"a shard asks", begin, {serves_three, asks_three}, end, 4},
        {"two shards ask", begin, {serves_five, asks_three, asks_two_elsewhere}, end, 2},
        {"a shard asks, somebody polls",
         begin,
         {serves_three_and_a_poll, asks_three, polls},
         end,
         2},
    };
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++)
        explore_run(&scenarios[i]);
    return 0;
}
