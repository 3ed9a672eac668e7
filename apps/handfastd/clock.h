/**
 * clock.h - the time that no administrator changes.
 */
#ifndef HF_CLOCK_H
#define HF_CLOCK_H

#include <stdint.h>
#include <time.h>

/** hf_clock_us gives microseconds since some moment in the past. Thread: any. */
static inline uint64_t hf_clock_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

#endif
