/**
 * world.h - a small engine with everything around it: a clock, a key source that answers as it is
 * told to, input buffers of exact length, and an observer that holds every event and every output
 * against the contract of <handfast/engine.h>. Built for inputs that do anything at any time.
 *
 * Not here: what the inputs mean (script.h) and how records are made (craft.h).
 */
#ifndef FUZZ_WORLD_H
#define FUZZ_WORLD_H

#include "core.h"
#include "fuzz.h"

enum {
    FUZZ_LISTENER_DTLS = 0,
    FUZZ_LISTENER_TLS = 1,
    FUZZ_PATHS = 4,
    FUZZ_PEERS = 64,   /* associations remembered: more than can live at once */
    FUZZ_TICKETS = 16, /* questions open at once: likewise */
    FUZZ_STALE = 8,    /* tickets remembered after their end */
    FUZZ_LOANS = 64,   /* input buffers of a turn */
    FUZZ_COOKIE_MAX = 32,
};

/** What the observer knows of an association. */
struct fuzz_peer {
    hf_association_id id;
    enum fuzz_life { FUZZ_NEW, FUZZ_OPEN, FUZZ_HALF_CLOSED, FUZZ_GONE } life;
    bool has_sent;          /* DTLS: a protected record was seen */
    uint64_t sent_seq;      /* its number: never used again */
    uint8_t cid_len;        /* of what it asked for, as far as that is known */
    const uint8_t *last;    /* the last datagram with such a record ... */
    struct hf_path last_to; /* ... and where it went: it may go to another address, too */
};

struct fuzz_question {
    struct hf_ticket ticket;
    enum hf_request_kind kind;
    uint64_t deadline_us;
};

/** How the source answers. */
struct fuzz_reply {
    enum hf_answer_kind kind;
    uint16_t secret_len;
    uint16_t entity_id_len;
    uint16_t credential_id_len;
    bool identity_follows;
    int64_t expires_s;
};

struct fuzz_world;
typedef void fuzz_see_event(struct fuzz_world *world, const struct hf_event *event);
typedef void fuzz_see_output(struct fuzz_world *world, const struct hf_output *output);
typedef void fuzz_see_request(struct fuzz_world *world, const struct hf_request *request);
typedef void fuzz_run_jobs(struct fuzz_world *world);

struct fuzz_world {
    struct hf_config config;
    struct hf_listener listeners[2];
    struct hf_dialer dialers[2]; /* of the listeners' indices; `is_client`: in their place */
    bool is_client;
    struct hf_engine *engine;
    uint64_t now_us;
    int64_t wall_s;
    uint32_t event_max; /* room for events, so few that it is full */
    bool is_patient;    /* in the end, handshakes are left to their timers */

    bool is_prompt;          /* the source answers within the question */
    bool is_session_refused; /* whatever it answers otherwise */
    struct fuzz_reply reply;
    struct fuzz_question questions[FUZZ_TICKETS];
    size_t question_count;
    struct hf_ticket stale[FUZZ_STALE];
    size_t stale_count;

    struct fuzz_peer peers[FUZZ_PEERS];
    size_t peer_next;
    uint8_t *loans[FUZZ_LOANS];
    size_t loan_count;

    uint8_t cookies[FUZZ_PATHS][FUZZ_COOKIE_MAX]; /* of the last HelloVerifyRequest */
    uint8_t cookie_lens[FUZZ_PATHS];
    uint64_t datagrams_in_len, stateless_out_len;
    uint32_t established_count, data_count, failed_count, closed_count;
    hf_association_id last_established;

    fuzz_see_event *see_event; /* for a target that wants more; may be NULL */
    fuzz_see_output *see_output;
    fuzz_see_request *see_request;
    fuzz_run_jobs *run_jobs; /* NULL: all of them, at once */
    void *arg;
};

/** fuzz_world_config sets limits so small that they are met: a few of everything. The variant comes
 *  from `input`; an input that is used up gives the roomiest. */
void fuzz_world_config(struct fuzz_world *world, struct fuzz_input *input);

/** fuzz_world_open opens the engine as configured and begins the first turn. */
void fuzz_world_open(struct fuzz_world *world);

/** fuzz_world_path gives one of FUZZ_PATHS paths; 0 and 1 share a prefix, 2 is IPv6, 3 comes to
 *  another local address. */
struct hf_path fuzz_world_path(uint8_t index);

/** fuzz_world_association gives the newest association at a path, NULL: none. */
struct hf_association *fuzz_world_association(const struct fuzz_world *world, uint8_t path);

/** fuzz_world_datagram hands one in, in a buffer of its own. */
void fuzz_world_datagram(struct fuzz_world *world, uint8_t path, struct hf_bytes bytes);

/** fuzz_world_stream hands bytes of a connection in and gives how many were taken. */
size_t fuzz_world_stream(struct fuzz_world *world, hf_association_id association,
                         struct hf_bytes bytes);

/** fuzz_world_answer answers a question, open or stale: `index` counts through both. */
void fuzz_world_answer(struct fuzz_world *world, size_t index, const struct fuzz_reply *reply);

/** fuzz_world_psk is the key that fuzz_reply stands for: `secret_len` bytes of this. */
const uint8_t *fuzz_world_psk(void);

/** fuzz_world_squeeze takes what output there is and leaves room for `left` bytes beyond the
 *  engine's reserve, as if so much had been put out in this turn already. */
void fuzz_world_squeeze(struct fuzz_world *world, uint32_t left);

/** fuzz_world_turn ends the turn, takes what there is and begins the next one. */
void fuzz_world_turn(struct fuzz_world *world, uint64_t ahead_us);

/** fuzz_world_quiesce turns without time passing until nothing more happens. */
void fuzz_world_quiesce(struct fuzz_world *world);

/** fuzz_world_end_all ends all associations. */
void fuzz_world_end_all(struct fuzz_world *world);

/** fuzz_world_close ends all associations, checks that nothing is left of them, and the engine. */
void fuzz_world_close(struct fuzz_world *world);

/* ---- watch.c: the contract of events, outputs and questions --------------------------------- */

/** fuzz_watch_events takes at most `count` events and judges them; outputs likewise. */
void fuzz_watch_events(struct fuzz_world *world, size_t count);
void fuzz_watch_outputs(struct fuzz_world *world, size_t count);

/** fuzz_watch_peer gives what is known of an association, a new entry if nothing. */
struct fuzz_peer *fuzz_watch_peer(struct fuzz_world *world, hf_association_id id);

/* ---- audit.c: the engine's own books -------------------------------------------------------- */

/** fuzz_audit checks that pools, links, tables, timers and gauges tell one story. */
void fuzz_audit(const struct fuzz_world *world);

/** fuzz_audit_fence marks the gaps between areas and parts of slots as out of bounds. */
void fuzz_audit_fence(const struct fuzz_world *world, bool is_up);

#endif
