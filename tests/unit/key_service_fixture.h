/**
 * key_service_fixture.h - a key service with a virtual clock and connections that only remember:
 * what was dialled, what was sent, what is open. Included by one test each.
 */
#ifndef HF_KEY_SERVICE_FIXTURE_H
#define HF_KEY_SERVICE_FIXTURE_H

#include "key_service.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WALL_S 1790000000
#define EXPIRES "20361231T235959"
#define EXPIRES_S 2114380799
#define MAFS_MAX 2
#define SENT_MAX (1 << 22)

/* A connection as its embedder sees it. */
struct fake {
    bool is_dialled, is_open;
    struct hf_address address;
    size_t sent_len, read_len; /* of requests; those that were answered */
    char *sent;
};

struct world {
    struct hf_key_service *service;
    struct hf_maf_pool_config mafs[MAFS_MAX];
    struct hf_key_service_config config;
    uint64_t now_us;
    int64_t wall_s;
    struct fake fakes[MAFS_MAX][HF_MAF_CONNECTIONS_MAX];
    unsigned dials, closes, requests;
};

static inline struct hf_bytes text(const char *string)
{
    return hf_maf_text_view(string);
}

static inline void world_init(struct world *world)
{
    static const char *const names[] = {"maf.example.com", "other.example.org"};
    memset(world, 0, sizeof(*world));
    world->now_us = 1000000;
    world->wall_s = WALL_S;
    hf_key_service_config_init(&world->config);
    world->config.keys_max = world->config.refusals_max = 64;
    world->config.lookups_max = world->config.askers_max = 20000;
    world->config.lookups_per_second = 0;
    for (int i = 0; i < MAFS_MAX; i++) {
        hf_maf_pool_config_init(&world->mafs[i]);
        world->mafs[i].fqdn = text(names[i]);
        world->mafs[i].origin = text("//m2msp.example/in-cse");
        world->mafs[i].address_count = 1;
        world->mafs[i].addresses[0] = hf_address_v4((const uint8_t[]){127, 0, 0, (uint8_t)i}, 1);
        world->mafs[i].seed = 7;
    }
    world->config.mafs = world->mafs;
    world->config.maf_count = MAFS_MAX;
}

static inline void world_open(struct world *world)
{
    assert_int_equal(hf_key_service_open(&world->service, &world->config), HF_OK);
    hf_key_service_begin(world->service, world->now_us, world->wall_s);
}

static inline void world_close(struct world *world)
{
    hf_key_service_close(world->service);
    for (int m = 0; m < MAFS_MAX; m++)
        for (int c = 0; c < HF_MAF_CONNECTIONS_MAX; c++)
            free(world->fakes[m][c].sent);
}

/* Does what the service wants of its embedder. */
static inline void act(struct world *world)
{
    struct hf_maf_action action;
    uint32_t maf = 0;
    while (hf_key_service_take_action(world->service, &maf, &action)) {
        struct fake *fake = &world->fakes[maf][action.connection];
        switch (action.kind) {
        case HF_MAF_ACTION_CONNECT:
            assert_false(fake->is_dialled);
            free(fake->sent);
            *fake = (struct fake){.is_dialled = true, .address = action.address};
            world->dials++;
            break;
        case HF_MAF_ACTION_SEND:
            assert_true(fake->is_open);
            if (fake->sent == NULL)
                fake->sent = malloc(SENT_MAX);
            assert_true(fake->sent_len + action.bytes.len < SENT_MAX);
            memcpy(fake->sent + fake->sent_len, action.bytes.data, action.bytes.len);
            fake->sent_len += action.bytes.len;
            fake->sent[fake->sent_len] = '\0';
            break;
        case HF_MAF_ACTION_CLOSE:
            assert_true(fake->is_dialled);
            fake->is_dialled = fake->is_open = false;
            world->closes++;
            break;
        default:
            fail();
        }
    }
}

static inline void pass(struct world *world, uint64_t us)
{
    world->now_us += us;
    hf_key_service_begin(world->service, world->now_us, world->wall_s);
    act(world);
}

/* All that is dialled to an address of a MAF is opened, or refused. */
static inline void settle_dials(struct world *world, uint32_t maf, bool is_open)
{
    for (uint32_t c = 0; c < HF_MAF_CONNECTIONS_MAX; c++) {
        struct fake *fake = &world->fakes[maf][c];
        if (!fake->is_dialled || fake->is_open)
            continue;
        if (is_open) {
            fake->is_open = true;
            hf_key_service_opened(world->service, maf, c);
        } else {
            fake->is_dialled = false;
            hf_key_service_ended(world->service, maf, c, HF_MAF_OUTCOME_CONNECT);
        }
        act(world);
    }
}

/* Breaks a connection, as a MAF that goes away does. */
static inline void cut(struct world *world, uint32_t maf, uint32_t connection)
{
    world->fakes[maf][connection].is_dialled = world->fakes[maf][connection].is_open = false;
    hf_key_service_ended(world->service, maf, connection, HF_MAF_OUTCOME_BROKEN);
    act(world);
}

/* The RelativeKeyID of the next request nobody has answered; false: there is none. */
static inline bool next_request(struct world *world, uint32_t maf, uint32_t connection,
                                char id[200])
{
    struct fake *fake = &world->fakes[maf][connection];
    if (!fake->is_open || fake->sent == NULL || fake->read_len == fake->sent_len)
        return false;
    const char *start = fake->sent + fake->read_len;
    const char *end = strstr(start, "\r\n\r\n");
    assert_non_null(end);
    assert_int_equal(sscanf(start, "GET /%199s HTTP/1.1", id), 1);
    assert_non_null(strstr(start, "\r\nX-M2M-Origin: //m2msp.example/in-cse\r\n"));
    fake->read_len = (size_t)(end + 4 - fake->sent);
    world->requests++;
    return true;
}

static inline void receive(struct world *world, uint32_t maf, uint32_t connection,
                           const char *bytes)
{
    hf_key_service_received(world->service, maf, connection, text(bytes));
    act(world);
}

static inline void answer(struct world *world, uint32_t maf, uint32_t connection, unsigned rsc,
                          const char *body)
{
    char out[4096];
    snprintf(out, sizeof(out), "HTTP/1.1 200 OK\r\nX-M2M-RSC: %u\r\nContent-Length: %zu\r\n\r\n%s",
             rsc, strlen(body), body);
    receive(world, maf, connection, out);
}

/* A key that its RelativeKeyID tells: its bytes are those of the name, repeated. */
static inline void answer_key(struct world *world, uint32_t maf, uint32_t connection,
                              const char *id, const char *source, const char *expires, int suid)
{
    char body[1024];
    char key[65];
    for (size_t i = 0; i < 32; i++)
        snprintf(key + 2 * i, 3, "%02x", (unsigned)(uint8_t)id[i % strlen(id)]);
    snprintf(body, sizeof(body),
             "{\"sec:symmKeyReg\":{\"resourceID\":\"%s\",\"expirationTime\":\"%s\","
             "\"sourceID\":\"%s\",\"adminFQDN\":\"m2msp.example\",\"SUID\":%d,"
             "\"keyValue\":\"%s\"}}",
             id, expires, source, suid, key);
    answer(world, maf, connection, 2000, body);
}

/* Answers what is asked, until nothing more is: how many. */
static inline unsigned serve(struct world *world, uint32_t maf)
{
    char id[200];
    unsigned count = 0;
    bool is_idle = false;
    while (!is_idle) {
        is_idle = true;
        settle_dials(world, maf, true);
        for (uint32_t c = 0; c < HF_MAF_CONNECTIONS_MAX; c++)
            while (next_request(world, maf, c, id)) {
                answer_key(world, maf, c, id, "//m2msp.example/Sae1", EXPIRES, 32);
                count++;
                is_idle = false;
            }
    }
    return count;
}

static inline enum hf_key_asked ask(struct world *world, uint32_t slot, const char *identity)
{
    const struct hf_key_question question = {
        .tag = 3, .ticket = {slot, 1, 1}, .psk_identity = text(identity)};
    enum hf_key_asked asked = hf_key_service_ask(world->service, &question);
    act(world);
    return asked;
}

/* The next reply must be for `slot`. */
static inline struct hf_key_reply take(struct world *world, uint32_t slot)
{
    struct hf_key_reply reply;
    assert_true(hf_key_service_take_reply(world->service, &reply));
    assert_int_equal(reply.tag, 3);
    assert_int_equal(reply.ticket.slot, slot);
    return reply;
}

static inline void expect_nothing(struct world *world)
{
    struct hf_key_reply reply;
    assert_false(hf_key_service_take_reply(world->service, &reply));
}

static inline void expect(struct world *world, uint32_t slot, enum hf_answer_kind kind,
                          enum hf_maf_outcome outcome)
{
    struct hf_key_reply reply = take(world, slot);
    if (reply.outcome != outcome || reply.answer.kind != kind)
        fail_msg("%u: %d %s", slot, (int)reply.answer.kind, hf_maf_outcome_label(reply.outcome));
}

#endif
