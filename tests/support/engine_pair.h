/**
 * engine_pair.h - two engines, one dialling the other, over a wire the test can look at and cut:
 * for tests of the client's role. No network: what is sent arrives in the same round unless the
 * test's filter says otherwise. One association each; the clock is the test's.
 */
#ifndef HF_TEST_ENGINE_PAIR_H
#define HF_TEST_ENGINE_PAIR_H

#include <handfast/engine.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ENGINE_PAIR_IDENTITY "Kpsa1@in-cse.example.org"
#define ENGINE_PAIR_SERVER_ENTITY "//sp.example.org/in-cse"
#define ENGINE_PAIR_CLIENT_ENTITY "//sp.example.org/S-device"

extern const uint8_t engine_pair_key[32];

/** How a key source answers. */
enum engine_pair_answers {
    ENGINE_PAIR_AT_ONCE = 0,
    ENGINE_PAIR_HELD, /**< when the test calls engine_pair_answer() */
};

/** What an engine said and was asked, and how its key source behaves. */
struct engine_end {
    struct engine_pair *pair;
    struct hf_engine *engine;
    bool is_client;
    bool is_idle; /**< its crypto jobs stay where they are */
    enum engine_pair_answers answers;
    struct hf_answer answer; /**< changed at will before it is given */
    hf_association_id id;
    uint32_t established_count, failed_count, closed_count, peer_closed_count, keylog_count;
    struct hf_failure failure;
    struct hf_event established;
    struct hf_request request; /**< the last; its views are dead */
    uint8_t asked[1300];
    size_t asked_len;
    uint32_t request_count, cancel_count;
    uint8_t data[65536]; /**< application bytes received */
    size_t data_len;
    uint8_t master_secret[48];
    uint8_t session[HF_SESSION_MAX]; /**< the newest to resume */
    size_t session_len;
    uint32_t session_count;
    uint32_t moved_count; /**< HF_EVENT_MOVED */
    struct hf_path path;  /**< of the last of them */
};

/** One datagram, or a piece of stream, on the wire. */
struct engine_pair_item {
    uint8_t *data;
    size_t len;
    bool is_up;          /**< from the client */
    struct hf_path path; /**< as its receiver sees it */
};

/** Decides what becomes of an item, and may change it in place; true: it is lost. */
typedef bool engine_pair_filter(struct engine_pair_item *item, void *arg);

struct engine_pair {
    /* May be changed between init and open. */
    struct hf_config config;
    struct hf_listener listeners[2]; /**< 0: TLS, 1: DTLS */
    struct hf_dialer dialers[2];
    struct hf_connect connect;
    struct hf_session_cache *sessions; /**< the server's */
    bool has_tickets;                  /**< likewise */

    bool is_dtls;
    struct engine_end client, server;
    uint64_t now_us;
    int64_t wall_s;
    struct engine_pair_item *wire; /**< on its way */
    size_t wire_count, wire_max;
    struct engine_pair_item *sent; /**< all that ever was, oldest first */
    size_t sent_count, sent_max;
    engine_pair_filter *filter;
    void *filter_arg;
    uint8_t *lent[4096];
    size_t lent_count;
    struct hf_address nat; /**< DTLS: where the client seems to be; port 0: where it is */
    bool is_old_nat_alive; /**< what is sent to where it seemed to be arrives, too */
    bool is_cut;           /**< TLS: the connection is gone */
    size_t chunk_max;      /**< TLS: handed in by so many bytes; 0: as it was sent */
};

/** engine_pair_init sets a small configuration and an answer that lets both ends open. */
void engine_pair_init(struct engine_pair *pair, bool is_dtls);

/** engine_pair_open opens both engines. */
void engine_pair_open(struct engine_pair *pair);

/** engine_pair_close closes both and fails the test unless nothing was left in use. */
void engine_pair_close(struct engine_pair *pair);

/** engine_pair_dial begins the handshake; TLS: the server has accepted. */
enum hf_status engine_pair_dial(struct engine_pair *pair);

/** engine_pair_part ends both associations, so that the pair can meet again, on another path. */
void engine_pair_part(struct engine_pair *pair);

/** engine_pair_run takes turns until nothing more happens at this time. */
void engine_pair_run(struct engine_pair *pair);

/** engine_pair_advance lets time pass, timers firing when they are due. */
void engine_pair_advance(struct engine_pair *pair, uint64_t us);

/** engine_pair_answer answers the request that an end holds. */
enum hf_status engine_pair_answer(struct engine_end *end);

/** engine_pair_meet dials and runs, and fails the test unless both ends are open and agree. */
void engine_pair_meet(struct engine_pair *pair);

/** engine_pair_check_agreement fails the test unless both open ends think the same. */
void engine_pair_check_agreement(const struct engine_pair *pair);

/** engine_pair_is_open tells whether both ends are open. */
bool engine_pair_is_open(const struct engine_pair *pair);

/** engine_pair_talk sends application data both ways and fails the test unless it arrives. */
void engine_pair_talk(struct engine_pair *pair);

/** engine_pair_inject hands bytes to one end, as if the other had sent them. */
void engine_pair_inject(struct engine_pair *pair, bool is_up, const uint8_t *data, size_t len);

/** engine_pair_inject_from does so from another address. */
void engine_pair_inject_from(struct engine_pair *pair, const struct hf_path *path,
                             const uint8_t *data, size_t len);

/** engine_pair_server_path gives the path as the server sees it. */
struct hf_path engine_pair_server_path(const struct engine_pair *pair);

struct hf_association_info engine_pair_info(const struct engine_end *end);
struct hf_counters engine_pair_counters(const struct engine_end *end);

#endif
