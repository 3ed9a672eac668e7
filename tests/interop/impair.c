/**
 * impair.c - seeded decisions about packets. Each packet draws from a stream of its own, so that
 * one packet more or less in one direction changes nothing for any other.
 */
#include "impair.h"

#include <stdlib.h>

#define IMPAIR_MILLION 1000000u

/* splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators"). */
static uint64_t impair_next(uint64_t *state)
{
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static uint64_t impair_fold(uint64_t state, uint64_t value)
{
    state ^= value;
    return impair_next(&state);
}

static bool impair_chance(uint64_t *state, uint32_t ppm)
{
    return impair_next(state) % IMPAIR_MILLION < ppm;
}

static uint32_t impair_between(uint64_t *state, uint32_t min, uint32_t max)
{
    uint64_t draw = impair_next(state);

    return max <= min ? min : min + (uint32_t)(draw % ((uint64_t)max - min + 1));
}

/* A reordered copy waits long enough for a few later packets to pass it. */
static void impair_copy_decide(struct impair_copy *out, uint64_t *state,
                               const struct impair_plan *plan)
{
    uint32_t hold_us = plan->delay_us_max + 5000;

    out->delay_us = impair_between(state, plan->delay_us_min, plan->delay_us_max);
    out->is_reordered = impair_chance(state, plan->reorder_ppm);
    if (out->is_reordered) {
        out->delay_us += impair_between(state, hold_us, 4 * hold_us);
    }
}

void impair_decide(struct impair_fate *out, const struct impair_plan *plan, uint32_t client_index,
                   enum impair_direction direction, uint64_t packet_index)
{
    uint64_t state = impair_fold(plan->seed, client_index);

    state = impair_fold(state, (uint64_t)direction);
    state = impair_fold(state, packet_index);
    out->copy_count = 0;
    if (impair_chance(&state, plan->loss_ppm)) {
        return;
    }
    out->copy_count = impair_chance(&state, plan->duplicate_ppm) ? 2 : 1;
    for (size_t i = 0; i < out->copy_count; i++) {
        impair_copy_decide(&out->copies[i], &state, plan);
    }
}

bool impair_parse_probability(uint32_t *out_ppm, const char *text)
{
    char *end = NULL;
    double value = strtod(text, &end);

    if (end == text || *end != '\0' || !(value >= 0.0 && value <= 1.0)) {
        return false;
    }
    *out_ppm = (uint32_t)(value * IMPAIR_MILLION + 0.5);
    return true;
}
