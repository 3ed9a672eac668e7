/**
 * loop_fixture.h - a loop on a thread of its own, and client sockets with a deadline on every
 * operation, so that a loop that hangs fails a test instead of stopping it.
 */
#ifndef LOOP_FIXTURE_H
#define LOOP_FIXTURE_H

#include "loop.h"

#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>

#define FIXTURE_SOCKETS_MAX 4

struct loop_fixture {
    struct hf_loop_config config; /* may be changed before fixture_open() */
    struct hf_config engine;
    struct hf_key_source source;
    struct hf_listener listeners[FIXTURE_SOCKETS_MAX];
    struct hf_loop_socket sockets[FIXTURE_SOCKETS_MAX];
    struct hf_loop *loop;
    pthread_t thread;
    sem_t opened, may_run, frozen;
    bool is_given_up; /* a frozen loop is not run again */
    enum hf_status open_status, run_status;
    char error[HF_LOOP_ERROR_MAX];
    bool is_thread;
};

/* fixture_is_epoll: HF_TEST_IO=epoll in the environment; otherwise io_uring is what is tested. */
bool fixture_is_epoll(void);
/* fixture_init prepares a loop with no socket; fixture_listen adds one ("127.0.0.1", "::" ...). */
void fixture_init(struct loop_fixture *fixture);
void fixture_listen(struct loop_fixture *fixture, enum hf_transport transport, const char *ip,
                    uint16_t port);
/* fixture_open opens the loop on its thread: sockets take traffic, nobody serves it yet. */
void fixture_open(struct loop_fixture *fixture);
void fixture_run(struct loop_fixture *fixture);
/* fixture_freeze returns when the loop has fallen silent; fixture_run() goes on, fixture_give_up()
 * closes it. */
void fixture_freeze(struct loop_fixture *fixture);
void fixture_give_up(struct loop_fixture *fixture);
/* fixture_stop stops, joins and returns how long that took. */
uint64_t fixture_stop(struct loop_fixture *fixture);
uint16_t fixture_port(const struct loop_fixture *fixture, uint32_t socket_index);
struct hf_loop_counters fixture_counters(const struct loop_fixture *fixture);
/* fixture_await waits until the counter at `offset` is at least (at most) `value`: 5 s. */
bool fixture_await(const struct loop_fixture *fixture, size_t offset, uint64_t value);
bool fixture_await_zero(const struct loop_fixture *fixture, size_t offset);
#define FIXTURE_AWAIT(fixture, field, value)                                                       \
    assert_true(fixture_await(fixture, offsetof(struct hf_loop_counters, field), value))
#define FIXTURE_AWAIT_ZERO(fixture, field)                                                         \
    assert_true(fixture_await_zero(fixture, offsetof(struct hf_loop_counters, field)))

uint64_t fixture_now_us(void);
/* fixture_client gives a connected socket; SO_RCVTIMEO and SO_SNDTIMEO are 5 s. */
int fixture_client(int type, const char *ip, uint16_t port);
/* fixture_read reads exactly `len` bytes; false: end, error or time out. */
bool fixture_read(int fd, void *data, size_t len);
bool fixture_write(int fd, const void *data, size_t len);

#endif
