/**
 * wheel.h - a hierarchical timing wheel: 4 levels of 64 slots, ticks of 10 ms, so 46 hours without
 * a second look; a later time is looked at again when it comes nearer. Timers are links inside
 * pool slots; arming, disarming and firing are O(1).
 */
#ifndef HF_WHEEL_H
#define HF_WHEEL_H

#include <handfast/base.h>

#define HF_TICK_US 10000
#define HF_WHEEL_LEVELS 4
#define HF_WHEEL_SLOTS 64

/** Part of the record that is timed. Zero is not armed. */
struct hf_timer {
    uint32_t next; /**< index + 1 of the next record in the slot, 0: none */
    uint32_t prev; /**< index + 1 of the previous, or HF_WHEEL_HEAD | slot number; 0: not armed */
    uint32_t due;  /**< tick */
};

struct hf_wheel {
    uint8_t *records;
    size_t stride;
    size_t offset; /**< of the struct hf_timer inside a record */
    uint32_t now;  /**< every tick up to this one has fired */
    uint32_t armed;
    uint32_t heads[HF_WHEEL_LEVELS * HF_WHEEL_SLOTS];
};

void hf_wheel_init(struct hf_wheel *wheel, void *records, size_t stride, size_t offset,
                   uint32_t now);

/** hf_wheel_arm sets (or moves) the timer of record `index` to fire at tick `due`, at the earliest
 *  the next tick. */
void hf_wheel_arm(struct hf_wheel *wheel, uint32_t index, uint32_t due);

void hf_wheel_disarm(struct hf_wheel *wheel, uint32_t index);

/** hf_wheel_fire disarms and gives one record that is due at `now`, UINT32_MAX when none is left.
 */
uint32_t hf_wheel_fire(struct hf_wheel *wheel, uint32_t now);

/** hf_wheel_next gives a tick at which to fire next: exact within 64 ticks, early beyond.
 *  False: nothing is armed. */
bool hf_wheel_next(uint32_t *out, const struct hf_wheel *wheel);

#endif
