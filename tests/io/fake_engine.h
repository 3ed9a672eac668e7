/**
 * fake_engine.h - a scripted stand-in for the engine under the loop. It "seals" by copying: what a
 * stream receives comes out as HF_EVENT_DATA, datagrams are echoed along the reversed path. What it
 * is for: being full, slow or half closed exactly when a test wants it.
 *
 * Set the script before the loop runs; the fields marked live may change while it does.
 */
#ifndef FAKE_ENGINE_H
#define FAKE_ENGINE_H

#include <handfast/engine.h>

struct fake_script {
    size_t output_max;         /* bytes per turn; 0: 1 MiB */
    uint32_t associations_max; /* 0: 4096 */
    uint64_t accepts_refused;  /* with HF_WAITING, the first ones */
    size_t take_max;           /* most bytes one receive_stream takes; 0: all */
    int answer_fd;             /* live: the next datagram sends one there; then it is 0 */
    uint32_t datagram_us;      /* live: what a datagram takes, at least */
    bool is_job_each;          /* a crypto job for every receive that is taken */
    bool is_half_close_kept;   /* the end of a stream is HF_EVENT_PEER_CLOSED, not CLOSED */
    bool is_stalled;           /* live: streams take nothing; READABLE follows when it clears */
};

extern struct fake_script fake_script;

/* Seen so far. While the loop runs: FAKE_SEEN(), and last_path not at all. */
struct fake_seen {
    struct hf_path last_path;
    uint64_t datagrams;
    uint64_t turns;
    uint64_t datagram_turns[2]; /* of the last datagram, and of the one before */
    uint64_t waiting_datagrams; /* refused with HF_WAITING */
    uint64_t waiting_accepts;
    uint64_t waiting_sends;
    uint64_t waiting_streams;
    uint64_t ends;       /* hf_engine_receive_end() */
    uint64_t stream_len; /* bytes taken */
};

extern struct fake_seen fake_seen;

#define FAKE_SEEN(field) __atomic_load_n(&fake_seen.field, __ATOMIC_RELAXED)

/* fake_reset clears both. */
void fake_reset(void);

#endif
