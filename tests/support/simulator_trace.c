/**
 * simulator_trace.c - what the linker puts between the engine and two of its functions: the state
 * machine, so that each row taken is recorded and counted, and randomness, so that a seed is all
 * there is to a run. The shipped library knows nothing of it.
 */
#include "simulator_parts.h"

#include <stdio.h>

#define TRACE_MAX 512

enum hf_status __wrap_hf_machine_run(struct hf_engine *engine, struct hf_association *association,
                                     const struct hf_machine_event *event);
enum hf_status __real_hf_machine_run(struct hf_engine *engine, struct hf_association *association,
                                     const struct hf_machine_event *event);
void __wrap_hf_random(void *out, size_t len);
void __real_hf_random(void *out, size_t len);

struct entry {
    uint64_t at_us;
    size_t association;
    enum hf_state before, after;
    enum hf_machine_event_kind event;
    enum hf_status status;
};

static struct entry entries[TRACE_MAX];
static size_t entry_count;
static uint64_t trace_us;
static uint64_t met[HF_STATE_COUNT][HF_MACHINE_EVENT_COUNT];
static uint64_t taken[HF_STATE_COUNT][HF_MACHINE_EVENT_COUNT][HF_STATE_COUNT];
static uint64_t entropy;

enum hf_status __wrap_hf_machine_run(struct hf_engine *engine, struct hf_association *association,
                                     const struct hf_machine_event *event)
{
    size_t at = entry_count++ % TRACE_MAX;
    enum hf_state before = (enum hf_state)association->state;
    enum hf_machine_event_kind kind = event->kind;
    entries[at] = (struct entry){
        .at_us = trace_us,
        .association = (size_t)((const uint8_t *)association - engine->associations.slots) /
                       engine->associations.stride,
        .before = before,
        .event = kind,
    };
    enum hf_status status = __real_hf_machine_run(engine, association, event);
    entries[at].after = (enum hf_state)association->state;
    entries[at].status = status;
    met[before][kind]++;
    if (status == HF_OK)
        taken[before][kind][association->state]++;
    return status;
}

/** splitmix64: what the engine and the clients draw must not depend on how much the world draws. */
void __wrap_hf_random(void *out, size_t len)
{
    if (entropy == 0) {
        __real_hf_random(out, len);
        return;
    }
    for (uint8_t *at = out; len > 0;) {
        uint64_t z = entropy += UINT64_C(0x9E3779B97F4A7C15);
        size_t part = len < sizeof z ? len : sizeof z;
        z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
        z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
        z ^= z >> 31;
        memcpy(at, &z, part);
        at += part;
        len -= part;
    }
}

void sim_trace_begin(uint64_t seed)
{
    entry_count = 0;
    entropy = seed * 2 + 1;
}

void sim_trace_end(void)
{
    entropy = 0;
}

void sim_trace_time(uint64_t now_us)
{
    trace_us = now_us;
}

uint64_t sim_coverage_taken(size_t index)
{
    size_t count;
    const struct hf_row *rows = hf_machine_rows(&count);
    uint64_t sum = 0;
    for (size_t state = 0; state < HF_STATE_COUNT; state++) {
        const uint64_t *counts = taken[state][rows[index].event];
        if (rows[index].state != (enum hf_state)state && rows[index].state != HF_STATE_COUNT)
            continue;
        for (size_t after = 0; after < HF_STATE_COUNT; after++) {
            if (rows[index].way == HF_WAY_ANY || after == (size_t)rows[index].next)
                sum += counts[after];
        }
    }
    return sum;
}

uint64_t sim_coverage_met(enum hf_state state, enum hf_machine_event_kind event)
{
    return met[state][event];
}

void sim_trace_print(void)
{
    size_t first = entry_count > TRACE_MAX ? entry_count - TRACE_MAX : 0;
    for (size_t i = first; i < entry_count; i++) {
        const struct entry *entry = &entries[i % TRACE_MAX];
        fprintf(stderr, "%14.6f  association %2zu  %-18s %-18s -> %-18s %s\n",
                (double)entry->at_us / 1e6, entry->association,
                hf_machine_state_name(entry->before), hf_machine_event_name(entry->event),
                hf_machine_state_name(entry->after), hf_status_reason(entry->status));
    }
}
