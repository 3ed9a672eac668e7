/**
 * impair.h - what a bad network does to a packet, decided from a seed alone: lost, doubled, late,
 * overtaken. No sockets and no clock here, so the same seed always tells the same story.
 */
#ifndef HF_TEST_IMPAIR_H
#define HF_TEST_IMPAIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IMPAIR_COPIES_MAX 2

enum impair_direction {
    IMPAIR_UP = 0, /* client to server */
    IMPAIR_DOWN = 1,
};

/* The probabilities are parts per million. */
struct impair_plan {
    uint64_t seed;
    uint32_t loss_ppm;
    uint32_t duplicate_ppm;
    uint32_t reorder_ppm;
    uint32_t delay_us_min;
    uint32_t delay_us_max;
};

/* One copy of a packet: how late, and whether later packets may overtake it. */
struct impair_copy {
    uint32_t delay_us;
    bool is_reordered;
};

struct impair_fate {
    size_t copy_count; /* 0: lost */
    struct impair_copy copies[IMPAIR_COPIES_MAX];
};

/* impair_decide depends on its arguments only. `client_index` counts clients in the order in which
 * they appear, `packet_index` the packets of that client in that direction. */
void impair_decide(struct impair_fate *out, const struct impair_plan *plan, uint32_t client_index,
                   enum impair_direction direction, uint64_t packet_index);

/* impair_parse_probability reads "0", "0.25", "1" into parts per million; false if malformed. */
bool impair_parse_probability(uint32_t *out_ppm, const char *text);

#endif
