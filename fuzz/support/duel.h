/**
 * duel.h - a handshake between two of our engines in one process. One is under judgement: that of a
 * fuzz_world, in either role. The other, its peer, is genuine; but what it says passes through the
 * input's hands, which let go of it, change it, repeat it, or put it in another order.
 *
 * A strict duel has real signatures, MACs and verify_data, and so says what must not open; in one
 * that is not strict all of them are accepted unseen, so that what stands behind them is in reach.
 */
#ifndef FUZZ_DUEL_H
#define FUZZ_DUEL_H

#include "cid.h"
#include "persons.h"
#include "script.h"

enum {
    FUZZ_UNITS = 64,
    FUZZ_JOBS_HELD = 8,
    FUZZ_POST_MAX = 64,
    FUZZ_DUEL_CONFIG_LEN = 2, /* bytes of an input before those of fuzz_world_config() */
};

/** What both ends have. Numbers are part of the corpus: append only. */
enum fuzz_duel_kind {
    FUZZ_DUEL_PSK,
    FUZZ_DUEL_X509,
    FUZZ_DUEL_RAW,
    FUZZ_DUEL_MIXED,    /* the server shows a certificate, the client a raw key */
    FUZZ_DUEL_BOTH,     /* PSK and certificates: the server chooses */
    FUZZ_DUEL_STRANGER, /* the peer's credential is worth nothing */
    FUZZ_DUEL_KINDS,
};

/** One thing the peer has said: a plain handshake message, or any other record as it is. */
struct fuzz_unit {
    uint32_t serial; /* of all units; TLS: the order they must come in */
    bool is_message;
    uint8_t type; /* of the message, or else of the record */
    uint8_t genuine_type;
    uint16_t message_seq;
    uint16_t epoch;
    uint64_t seq;
    uint8_t cid_len; /* DTLS: of a record with a connection ID */
    uint8_t cid[HF_CID_BASE_LEN];
    struct hf_bytes genuine; /* what was said; a block of its own */
    uint8_t *data;           /* what will be delivered; likewise */
    size_t len;
};

struct fuzz_post {
    uint8_t *data;
    size_t len;
};

struct fuzz_duel {
    struct fuzz_world world; /* first: its `arg` points here */
    struct fuzz_input input;
    enum fuzz_duel_kind kind;
    bool is_dtls, is_client, is_strict, is_roomy;
    bool has_names, has_sessions, has_cache, is_named;
    bool has_cid;   /* DTLS: the client asks for connection IDs */
    uint8_t where;  /* the path that datagrams of the peer come from */
    uint16_t suite; /* the only one, or HF_SUITE_NONE */
    hf_association_id id;
    struct hf_connect connect;
    uint32_t meetings;
    bool is_second; /* with names: the next dial is to the other authority */

    /* The peer. */
    struct hf_config peer_config;
    struct hf_listener peer_listeners[2];
    struct hf_dialer peer_dialers[2];
    struct hf_listener_authority authorities[2], peer_authorities[2];
    struct hf_session_cache *cache;
    struct hf_engine *peer;
    hf_association_id peer_id;
    uint64_t peer_random;
    bool is_peer_open, is_peer_over;
    struct fuzz_post post[FUZZ_POST_MAX]; /* on its way to the peer */
    size_t post_count;
    uint8_t plain[65536]; /* TLS: messages of the peer that are not whole */
    size_t plain_len;
    bool is_peer_protected;

    /* On the way from it. */
    struct fuzz_unit units[FUZZ_UNITS];
    size_t unit_count;
    uint32_t unit_serial, next_serial;
    uint64_t next_seq; /* DTLS, epoch 0 */
    uint8_t fragment_len;

    /* Jobs of the engine under judgement. */
    bool holds_jobs;
    struct hf_job *held[FUZZ_JOBS_HELD];
    size_t held_count;
    size_t scarce; /* so many allocations the next jobs have; SIZE_MAX: all they want */

    /* What has happened in this meeting. */
    uint32_t delivered, tampered; /* sets of message types */
    unsigned drop_count;
    bool is_disordered; /* TLS: not each once, in order */
    bool is_unsure;     /* something was delivered that was not taken apart */
    bool is_disturbed;  /* anything but loss, repetition and disorder */
    bool is_meddled;    /* of that, anything but what the peer says: for good */
    bool is_open, is_over;
    struct hf_association_info info;
    struct hf_failure failure;
    uint8_t master_secret[2][48]; /* ours, the peer's */
    bool has_master_secret[2];
    uint8_t session[HF_SESSION_MAX]; /* the newest the client has */
    size_t session_len;
};

/** fuzz_duel_open takes the configuration from the input and opens both engines. */
void fuzz_duel_open(struct fuzz_duel *duel, bool is_dtls, bool is_client);

/** fuzz_duel_dial begins the handshake; an association before it is ended, silently, on both sides.
 *  `session`: to be offered, empty: none. False: there was no room. */
bool fuzz_duel_dial(struct fuzz_duel *duel, struct hf_bytes session);

/** fuzz_duel_script runs the input to its end: script operations and those of duel_script.c. */
void fuzz_duel_script(struct fuzz_duel *duel);

/** fuzz_duel_strip takes an extension out of a hello, if it has it. */
void fuzz_duel_strip(const struct fuzz_duel *duel, struct fuzz_unit *unit, uint16_t type);

/** fuzz_duel_turn takes a turn of each engine. */
void fuzz_duel_turn(struct fuzz_duel *duel, uint64_t ahead_us);

/** fuzz_duel_settle lets go of everything, and waits as long as a handshake may take, until both
 *  are open or nothing more comes. */
void fuzz_duel_settle(struct fuzz_duel *duel);

/** fuzz_duel_close ends everything and checks that nothing is left. */
void fuzz_duel_close(struct fuzz_duel *duel);

/** fuzz_duel_give_jobs gives back the jobs that are held. `is_done`: run before; `is_reversed`: the
 *  newest first. */
void fuzz_duel_give_jobs(struct fuzz_duel *duel, bool is_done, bool is_reversed);

/** fuzz_duel_run is a whole input of the targets that are nothing but a duel. */
void fuzz_duel_run(const uint8_t *data, size_t len, bool is_dtls, bool is_client);

/* ---- duel_wire.c: what lies between ---------------------------------------------------------- */

/** fuzz_duel_hear takes what the peer says apart into units. */
void fuzz_duel_hear(struct fuzz_duel *duel, struct hf_bytes bytes);

/** fuzz_duel_deliver hands over a unit, which stays in line. */
void fuzz_duel_deliver(struct fuzz_duel *duel, size_t index);

/** fuzz_duel_forget takes a unit out of the line. */
void fuzz_duel_forget(struct fuzz_duel *duel, size_t index);

/** fuzz_duel_message delivers a message that the peer has not said. */
void fuzz_duel_message(struct fuzz_duel *duel, uint8_t type, bool is_protected, int seq_off,
                       struct hf_bytes body);

/** fuzz_duel_bytes delivers bytes of the wire. */
void fuzz_duel_bytes(struct fuzz_duel *duel, struct hf_bytes bytes);

/** fuzz_duel_record delivers a record, in DTLS of any epoch, in TLS protected if that is not 0. */
void fuzz_duel_record(struct fuzz_duel *duel, uint8_t type, uint16_t epoch, struct hf_bytes body);

/** fuzz_duel_extensions gives where in a hello the length of its extensions stands; false: no
 * hello, or none that can be read. */
bool fuzz_duel_extensions(size_t *at, const struct fuzz_duel *duel, const struct fuzz_unit *unit);

/* ---- duel_judge.c: what must hold ------------------------------------------------------------ */

/** fuzz_duel_judge_open: our end has opened. */
void fuzz_duel_judge_open(struct fuzz_duel *duel);

/** fuzz_duel_judge_failure: it has not. */
void fuzz_duel_judge_failure(struct fuzz_duel *duel);

/** fuzz_duel_judge_end: all was let go, and time enough has passed. */
void fuzz_duel_judge_end(struct fuzz_duel *duel);

#endif
