/**
 * loop_fixture.c - see loop_fixture.h.
 */
#include "loop_fixture.h"

#include "handover.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void no_key(struct hf_engine *engine, const struct hf_request *request, void *arg)
{
    (void)engine;
    (void)request;
    (void)arg;
}

/* Echoes, and answers the peer's end with ours. */
static void echo(struct hf_loop *loop, const struct hf_event *event, void *arg)
{
    (void)arg;
    if (event->kind == HF_EVENT_DATA &&
        hf_loop_send(loop, event->association, event->data) != HF_OK)
        hf_loop_end(loop, event->association, HF_CLOSE_SILENT);
    if (event->kind == HF_EVENT_PEER_CLOSED)
        hf_loop_end(loop, event->association, HF_CLOSE_NOTIFY);
}

bool fixture_is_epoll(void)
{
    const char *io = getenv("HF_TEST_IO");
    return io != NULL && strcmp(io, "epoll") == 0;
}

void fixture_init(struct loop_fixture *fixture)
{
    memset(fixture, 0, sizeof *fixture);
    hf_loop_config_init(&fixture->config);
    fixture->config.io = fixture_is_epoll() ? HF_LOOP_IO_EPOLL : HF_LOOP_IO_URING;
    fixture->source.request = no_key;
    fixture->engine.listeners = fixture->listeners;
    fixture->engine.associations_max = 4096;
    fixture->config.engine = &fixture->engine;
    fixture->config.source = &fixture->source;
    fixture->config.sockets = fixture->sockets;
    fixture->config.handlers.event = echo;
    sem_init(&fixture->opened, 0, 0);
    sem_init(&fixture->may_run, 0, 0);
    sem_init(&fixture->frozen, 0, 0);
}

void fixture_listen(struct loop_fixture *fixture, enum hf_transport transport, const char *ip,
                    uint16_t port)
{
    uint32_t index = fixture->config.socket_count++;
    struct hf_address address = {.port = port};
    if (inet_pton(AF_INET, ip, address.ip + 12) == 1)
        address.ip[10] = address.ip[11] = 0xff;
    else if (inet_pton(AF_INET6, ip, address.ip) != 1)
        abort();
    fixture->listeners[index].transport = transport;
    fixture->engine.listener_count = index + 1;
    fixture->sockets[index] = (struct hf_loop_socket){
        .address = address, .transport = transport, .listener_index = index};
}

static void *fixture_live(void *arg)
{
    struct loop_fixture *fixture = arg;
    fixture->open_status = hf_loop_open(&fixture->loop, fixture->error, &fixture->config);
    sem_post(&fixture->opened);
    if (fixture->open_status != HF_OK)
        return NULL;
    for (sem_wait(&fixture->may_run); !fixture->is_given_up; sem_wait(&fixture->may_run)) {
        fixture->run_status = hf_loop_run(fixture->loop, fixture->error);
        if (fixture->run_status != HF_WAITING)
            return NULL;
        sem_post(&fixture->frozen);
    }
    return NULL;
}

void fixture_open(struct loop_fixture *fixture)
{
    if (pthread_create(&fixture->thread, NULL, fixture_live, fixture) != 0)
        abort();
    fixture->is_thread = true;
    sem_wait(&fixture->opened);
    if (fixture->open_status != HF_OK) {
        pthread_join(fixture->thread, NULL);
        fixture->is_thread = false;
    }
}

void fixture_run(struct loop_fixture *fixture)
{
    sem_post(&fixture->may_run);
}

void fixture_freeze(struct loop_fixture *fixture)
{
    hf_loop_freeze(fixture->loop);
    sem_wait(&fixture->frozen);
}

void fixture_give_up(struct loop_fixture *fixture)
{
    fixture->is_given_up = true;
    sem_post(&fixture->may_run);
    pthread_join(fixture->thread, NULL);
    hf_loop_close(fixture->loop);
    fixture->is_thread = false;
}

uint64_t fixture_stop(struct loop_fixture *fixture)
{
    if (!fixture->is_thread)
        return 0;
    uint64_t start_us = fixture_now_us();
    hf_loop_stop(fixture->loop);
    sem_post(&fixture->may_run);
    pthread_join(fixture->thread, NULL);
    uint64_t us = fixture_now_us() - start_us;
    hf_loop_close(fixture->loop);
    fixture->is_thread = false;
    return us;
}

uint16_t fixture_port(const struct loop_fixture *fixture, uint32_t socket_index)
{
    return hf_loop_address(fixture->loop, socket_index).port;
}

struct hf_loop_counters fixture_counters(const struct loop_fixture *fixture)
{
    struct hf_loop_counters counters;
    hf_loop_counters_get(&counters, fixture->loop);
    return counters;
}

static uint64_t fixture_counter(const struct loop_fixture *fixture, size_t offset)
{
    struct hf_loop_counters counters = fixture_counters(fixture);
    uint64_t value;
    memcpy(&value, (const uint8_t *)&counters + offset, sizeof value);
    return value;
}

bool fixture_await(const struct loop_fixture *fixture, size_t offset, uint64_t value)
{
    for (int i = 0; i < 5000; ++i) {
        if (fixture_counter(fixture, offset) >= value)
            return true;
        usleep(1000);
    }
    return false;
}

bool fixture_await_zero(const struct loop_fixture *fixture, size_t offset)
{
    for (int i = 0; i < 5000; ++i) {
        if (fixture_counter(fixture, offset) == 0)
            return true;
        usleep(1000);
    }
    return false;
}

uint64_t fixture_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

int fixture_client(int type, const char *ip, uint16_t port)
{
    struct sockaddr_storage storage = {.ss_family = AF_INET};
    socklen_t len = sizeof(struct sockaddr_in);
    struct sockaddr_in *v4 = (struct sockaddr_in *)&storage;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&storage;
    v4->sin_port = htons(port);
    if (inet_pton(AF_INET, ip, &v4->sin_addr) != 1) {
        len = sizeof *v6;
        v6->sin6_family = AF_INET6;
        if (inet_pton(AF_INET6, ip, &v6->sin6_addr) != 1)
            abort();
    }
    int fd = socket(storage.ss_family, type | SOCK_CLOEXEC, 0);
    struct timeval limit = {.tv_sec = 5};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&storage, len) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

bool fixture_read(int fd, void *data, size_t len)
{
    uint8_t *at = data;
    while (len > 0) {
        ssize_t count = recv(fd, at, len, 0);
        if (count <= 0)
            return false;
        at += count;
        len -= (size_t)count;
    }
    return true;
}

bool fixture_write(int fd, const void *data, size_t len)
{
    const uint8_t *at = data;
    while (len > 0) {
        ssize_t count = send(fd, at, len, MSG_NOSIGNAL);
        if (count <= 0)
            return false;
        at += count;
        len -= (size_t)count;
    }
    return true;
}
