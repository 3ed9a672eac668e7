/**
 * engine_fixture.h - an engine, a virtual clock, a key source and peers, for tests that do harm.
 *
 * Everything is handed to the engine in a heap block of exactly its length, so that a sanitizer
 * sees every over-read. Two bystanders, one on DTLS and one on TLS, are open all the time:
 * whatever a test does to the engine, they must go on undisturbed, and in the end nothing may be
 * left in use. Not a network: nothing is lost, late or out of order unless the test says so.
 */
#ifndef HF_TEST_ENGINE_FIXTURE_H
#define HF_TEST_ENGINE_FIXTURE_H

#include "psk_client.h"

#include <handfast/engine.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ENGINE_FIXTURE_DTLS 0 /**< index of the DTLS listener */
#define ENGINE_FIXTURE_TLS 1
#define ENGINE_FIXTURE_IDENTITY "device"

/** What went over the wire, oldest first; grows as needed. */
struct engine_wire {
    struct engine_wire_item {
        uint8_t *data;
        size_t len;
    } * items;
    size_t count, max;
    uint64_t total_len;
};

/** How the key source answers. */
enum engine_fixture_answers {
    ENGINE_FIXTURE_AT_ONCE,
    ENGINE_FIXTURE_HELD, /**< when the test calls engine_fixture_answer() */
    ENGINE_FIXTURE_UNAVAILABLE,
};

struct engine_fixture {
    /* May be changed between init and open. */
    struct hf_config config;
    struct hf_listener listeners[2];
    enum engine_fixture_answers answers; /**< at any time */
    struct hf_bytes identity;            /**< the one identity that is known */
    bool is_silent;                      /**< application data is not echoed */
    bool is_identity_following;          /**< the key's answer wants the entity asked for as well */

    bool is_session_refused; /**< offered sessions are not resumed */
    int64_t expires_s;       /**< of the key; 0: never */

    bool are_jobs_held;     /**< crypto jobs are taken and not given back */
    struct hf_job *jobs[8]; /**< those that are held */
    size_t job_count;

    struct hf_engine *engine;
    uint64_t now_us;
    int64_t wall_s;
    struct engine_peer *peers;
    struct engine_peer *bystanders[2];
    uint16_t next_port;
    struct engine_wire spent; /**< input the engine may still look at */
    uint32_t echo_serial;

    /* What the key source heard last. */
    uint32_t request_count, cancel_count, session_count;
    uint8_t asked[1280];
    size_t asked_len;
    uint16_t asked_suite;
    enum hf_request_kind asked_kind;
    uint32_t asked_listener_index;
    struct hf_ticket ticket;

    /* What left for addresses where no peer is, and events of associations without one. */
    uint64_t stray_count, stray_len;
    uint8_t stray[2048]; /**< the last of them */
    size_t stray_last_len;
    uint64_t stray_failed, stray_closed;
};

/** One peer: a client, its address or connection, and what became of it. */
struct engine_peer {
    struct engine_peer *next;
    struct engine_fixture *fixture;
    struct psk_client_config config; /**< may be changed before engine_peer_start() */
    struct psk_client client;
    struct psk_client_work work;
    struct hf_path path;
    hf_association_id id;
    bool is_tls;
    bool is_held;           /**< what the client sends stays in `sent` and is not delivered */
    bool is_deaf;           /**< the engine's output goes to `received` but not to the client */
    bool is_gone;           /**< the client's timers no longer run */
    bool is_over;           /**< TLS: the engine has ended the association */
    size_t delivered_count; /**< of `sent`, while the peer is brought on in stages */
    struct engine_wire outgoing; /**< emitted, not yet delivered */
    struct engine_wire sent, received;
    uint32_t established_count, failed_count, closed_count, readable_count, peer_closed_count;
    struct hf_failure failure; /**< of the last end */
    uint8_t failed_identity[HF_EVENT_IDENTITY_MAX];
    uint16_t failed_identity_len;
    uint64_t data_in_len; /**< delivered by the engine to the application */
    uint8_t echo[64];     /**< the last application data the client received */
    size_t echo_len;
};

/** engine_fixture_key is the 32-byte key of the known identity. */
extern const uint8_t engine_fixture_key[32];

/** engine_fixture_init sets a small configuration and both listeners. */
void engine_fixture_init(struct engine_fixture *fixture);

/** engine_fixture_open opens the engine, and two bystanders in it. */
void engine_fixture_open(struct engine_fixture *fixture);

/** engine_fixture_close checks the bystanders, lets everything half-open time out, closes the rest,
 *  and fails the test unless every gauge is back at 0 and memory is what was promised. */
void engine_fixture_close(struct engine_fixture *fixture);

/** engine_fixture_second opens another engine of the same configuration and key source. */
struct hf_engine *engine_fixture_second(struct engine_fixture *fixture);

/** engine_fixture_setup and _teardown: init, open and close as a cmocka test needs them. */
int engine_fixture_setup(void **state);
int engine_fixture_teardown(void **state);

/** engine_fixture_check_undisturbed fails the test unless both bystanders still echo. */
void engine_fixture_check_undisturbed(struct engine_fixture *fixture);

/** engine_fixture_run takes turns until nothing more happens at this time. */
void engine_fixture_run(struct engine_fixture *fixture);

/** engine_fixture_advance lets time pass, timers firing on both sides when they are due. */
void engine_fixture_advance(struct engine_fixture *fixture, uint64_t us);

/** engine_fixture_answer answers the request that is held, with the key or a refusal. */
enum hf_status engine_fixture_answer(struct engine_fixture *fixture, bool is_known);

struct hf_counters engine_fixture_counters(const struct engine_fixture *fixture);

/** engine_fixture_drops gives one counter of drops. */
uint64_t engine_fixture_drops(const struct engine_fixture *fixture, enum hf_drop drop);

/** engine_fixture_rejected sums up everything that counts bad input: drops, and ends that are not
 *  good ones. */
uint64_t engine_fixture_rejected(const struct engine_fixture *fixture);

/** engine_fixture_datagram hands one datagram in from an address where no peer is. Several may go
 *  into one turn: engine_fixture_run() ends it. */
void engine_fixture_datagram(struct engine_fixture *fixture, const struct hf_path *path,
                             const uint8_t *data, size_t len);

/** engine_fixture_path makes a path from 192.0.2.x-like numbers to the DTLS listener. */
struct hf_path engine_fixture_path(uint32_t ip, uint16_t port);

/** engine_peer_new makes a peer with a usable configuration; TLS peers are connected. */
struct engine_peer *engine_peer_new(struct engine_fixture *fixture, bool is_tls);

/** engine_peer_start starts the client; its hello waits to be delivered by the next run. */
void engine_peer_start(struct engine_peer *peer);

/** engine_peer_open starts and runs, and fails the test unless both ends agree they are open. */
void engine_peer_open(struct engine_peer *peer);

/** engine_peer_is_open tells whether both ends are open and nothing has ended. */
bool engine_peer_is_open(const struct engine_peer *peer);

/** engine_peer_check_open fails the test if it is not, and says what is known. */
void engine_peer_check_open(const struct engine_peer *peer);

/** engine_peer_echoes sends application data and tells whether the same came back. */
bool engine_peer_echoes(struct engine_peer *peer);

/** engine_peer_send queues any bytes from the peer's address, and runs. */
void engine_peer_send(struct engine_peer *peer, const uint8_t *data, size_t len);

/** engine_peer_send_record sends any record from the client, and runs. */
void engine_peer_send_record(struct engine_peer *peer, const struct psk_client_record *record);

/** engine_peer_send_plain sends one unprotected record. */
void engine_peer_send_plain(struct engine_peer *peer, uint8_t type, const void *data, size_t len);

/** engine_peer_send_sealed sends one protected record; the client must have keys. */
void engine_peer_send_sealed(struct engine_peer *peer, uint8_t type, const void *data, size_t len);

/** engine_peer_emit is where the client's output goes: a psk_client_emit with the peer as `arg`. */
void engine_peer_emit(const uint8_t *data, size_t len, void *arg);

/** engine_peer_forget clears `sent` and `received`. */
void engine_peer_forget(struct engine_peer *peer);

/** engine_peer_deliver queues items [from, to) of `sent` once more, and runs. */
void engine_peer_deliver(struct engine_peer *peer, size_t from, size_t to);

/** engine_peer_end closes: close_notify on TLS, silence on DTLS; the association is gone after. */
void engine_peer_end(struct engine_peer *peer);

/** engine_peer_free forgets a peer whose association has ended or may be left to time out. */
void engine_peer_free(struct engine_peer *peer);

/** How far a handshake has come: what the engine has had, and where it stands. */
enum engine_stage {
    ENGINE_STAGE_NOTHING,  /**< TLS: connected. DTLS: a cookie was sent, nothing is remembered */
    ENGINE_STAGE_HELLO,    /**< ClientHello taken: SV_AWAIT_EXCHANGE */
    ENGINE_STAGE_PARKED,   /**< ClientKeyExchange taken, the key source is thinking */
    ENGINE_STAGE_KEYED,    /**< SV_AWAIT_CCS */
    ENGINE_STAGE_CHANGED,  /**< ChangeCipherSpec taken: SV_AWAIT_FINISHED */
    ENGINE_STAGE_FINISHED, /**< the key source is asked who it is: SV_AWAIT_IDENTITY */
    ENGINE_STAGE_OPEN,
    ENGINE_STAGE_COUNT,
};

/** engine_peer_to_stage brings a new peer as far as `stage`. What it sends is held: `sent` has one
 *  record an item, `delivered_count` of which the engine has had. */
void engine_peer_to_stage(struct engine_peer *peer, enum engine_stage stage);

/** engine_peer_finish brings the handshake to its end, and fails the test unless it is open. */
void engine_peer_finish(struct engine_peer *peer);

/** engine_stage_name gives a word for messages. */
const char *engine_stage_name(enum engine_stage stage);

void engine_wire_add(struct engine_wire *wire, const uint8_t *data, size_t len);
void engine_wire_clear(struct engine_wire *wire);

#endif
