/**
 * threads.h - locks, semaphores and wake-ups as the explorer has them: put in front of the source
 * under test by the compiler's -include. The objects keep their types; their first word is used.
 */
#ifndef HF_TEST_SHADOW_THREADS_H
#define HF_TEST_SHADOW_THREADS_H

#include "explore.h"

#include <pthread.h>
#include <semaphore.h>
#include <time.h>
#include <unistd.h>

/* 1: free, as explore_wait() needs it. */
static inline int shadow_mutex_init(pthread_mutex_t *mutex, const void *attributes)
{
    (void)attributes;
    *(volatile int *)mutex = 1;
    return 0;
}

static inline int shadow_mutex_lock(pthread_mutex_t *mutex)
{
    explore_wait((volatile int *)mutex);
    *(volatile int *)mutex = 0;
    return 0;
}

static inline int shadow_mutex_unlock(pthread_mutex_t *mutex)
{
    *(volatile int *)mutex = 1;
    explore_yield();
    return 0;
}

static inline int shadow_sem_post(sem_t *semaphore)
{
    explore_yield();
    ++*(volatile int *)semaphore;
    return 0;
}

/* Nobody's time runs out: what should have woken it has to. */
static inline int shadow_sem_clockwait(sem_t *semaphore, clockid_t clock,
                                       const struct timespec *until)
{
    (void)clock, (void)until;
    explore_wait((volatile int *)semaphore);
    --*(volatile int *)semaphore;
    return 0;
}

/** The eventfd of the loop under test. */
extern volatile int shadow_wakes;

static inline ssize_t shadow_write(int fd, const void *data, size_t len)
{
    (void)fd, (void)data;
    explore_yield();
    shadow_wakes = 1;
    return (ssize_t)len;
}

#define pthread_mutex_init shadow_mutex_init
#define pthread_mutex_destroy(mutex) ((void)(mutex), 0)
#define pthread_mutex_lock shadow_mutex_lock
#define pthread_mutex_unlock shadow_mutex_unlock
#define sem_post shadow_sem_post
#define sem_clockwait shadow_sem_clockwait
#define write shadow_write

#endif
