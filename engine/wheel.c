/**
 * wheel.c - see wheel.h.
 */
#include "wheel.h"

#define HF_WHEEL_HEAD UINT32_C(0x80000000)

static struct hf_timer *timer_at(const struct hf_wheel *wheel, uint32_t index)
{
    return (struct hf_timer *)(void *)(wheel->records + (size_t)index * wheel->stride +
                                       wheel->offset);
}

void hf_wheel_init(struct hf_wheel *wheel, void *records, size_t stride, size_t offset,
                   uint32_t now)
{
    *wheel = (struct hf_wheel){.records = records, .stride = stride, .offset = offset, .now = now};
}

/** The slot for a time `due` that is later than wheel->now. */
static uint32_t slot_for(const struct hf_wheel *wheel, uint32_t due)
{
    uint32_t ahead = due - wheel->now;
    for (uint32_t level = 0; level < HF_WHEEL_LEVELS; level++) {
        if (ahead < UINT32_C(1) << (6 * (level + 1)))
            return level * HF_WHEEL_SLOTS + (due >> (6 * level) & 63);
    }
    /* Too far: the last slot to be reached on the top level, to be looked at again then. */
    return (HF_WHEEL_LEVELS - 1) * HF_WHEEL_SLOTS +
           (((wheel->now >> (6 * (HF_WHEEL_LEVELS - 1))) + 63) & 63);
}

static void link_into(struct hf_wheel *wheel, uint32_t index, uint32_t slot)
{
    struct hf_timer *timer = timer_at(wheel, index);
    timer->next = wheel->heads[slot];
    timer->prev = HF_WHEEL_HEAD | slot;
    if (timer->next)
        timer_at(wheel, timer->next - 1)->prev = index + 1;
    wheel->heads[slot] = index + 1;
    wheel->armed++;
}

void hf_wheel_arm(struct hf_wheel *wheel, uint32_t index, uint32_t due)
{
    hf_wheel_disarm(wheel, index);
    if ((int32_t)(due - wheel->now) < 1)
        due = wheel->now + 1;
    timer_at(wheel, index)->due = due;
    link_into(wheel, index, slot_for(wheel, due));
}

void hf_wheel_disarm(struct hf_wheel *wheel, uint32_t index)
{
    struct hf_timer *timer = timer_at(wheel, index);
    if (timer->prev == 0)
        return;
    if (timer->prev & HF_WHEEL_HEAD)
        wheel->heads[timer->prev & ~HF_WHEEL_HEAD] = timer->next;
    else
        timer_at(wheel, timer->prev - 1)->next = timer->next;
    if (timer->next)
        timer_at(wheel, timer->next - 1)->prev = timer->prev;
    timer->next = timer->prev = 0;
    wheel->armed--;
}

/** Brings what a higher level holds for the tick just reached down to where it belongs. */
static void cascade(struct hf_wheel *wheel)
{
    for (uint32_t level = 1; level < HF_WHEEL_LEVELS; level++) {
        if (wheel->now & ((UINT32_C(1) << (6 * level)) - 1))
            return;
        uint32_t slot = level * HF_WHEEL_SLOTS + (wheel->now >> (6 * level) & 63);
        uint32_t at = wheel->heads[slot];
        wheel->heads[slot] = 0;
        while (at) {
            struct hf_timer *timer = timer_at(wheel, at - 1);
            uint32_t next = timer->next;
            wheel->armed--;
            /* Due right now goes to the slot that is fired next, without a second cascade. */
            bool is_now = (int32_t)(timer->due - wheel->now) <= 0;
            link_into(wheel, at - 1, is_now ? (wheel->now & 63) : slot_for(wheel, timer->due));
            at = next;
        }
    }
}

static bool is_level_empty(const struct hf_wheel *wheel)
{
    for (uint32_t slot = 0; slot < HF_WHEEL_SLOTS; slot++) {
        if (wheel->heads[slot])
            return false;
    }
    return true;
}

uint32_t hf_wheel_fire(struct hf_wheel *wheel, uint32_t now)
{
    for (;;) {
        uint32_t head = wheel->heads[wheel->now & 63];
        if (head && (int32_t)(timer_at(wheel, head - 1)->due - wheel->now) <= 0) {
            hf_wheel_disarm(wheel, head - 1);
            return head - 1;
        }
        if ((int32_t)(now - wheel->now) <= 0)
            return UINT32_MAX;
        if (wheel->armed == 0) {
            wheel->now = now;
            return UINT32_MAX;
        }
        /* Skip an empty stretch of the lowest level in one stride. */
        uint32_t boundary = (wheel->now | 63) + 1;
        if ((int32_t)(now - boundary) >= 0 && is_level_empty(wheel))
            wheel->now = boundary;
        else
            wheel->now++;
        cascade(wheel);
    }
}

bool hf_wheel_next(uint32_t *out, const struct hf_wheel *wheel)
{
    if (wheel->armed == 0)
        return false;
    for (uint32_t ahead = 0; ahead < HF_WHEEL_SLOTS; ahead++) {
        uint32_t tick = wheel->now + ahead;
        if (ahead && (tick & 63) == 0) {
            /* A higher level may come down here. */
            *out = tick;
            return true;
        }
        if (wheel->heads[tick & 63]) {
            *out = tick;
            return true;
        }
    }
    *out = wheel->now + HF_WHEEL_SLOTS;
    return true;
}
