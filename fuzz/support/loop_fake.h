/**
 * loop_fake.h - a loop that remembers what a responder gives it, and an engine that knows one
 * association: for the targets of the daemon's parsers.
 */
#ifndef FUZZ_LOOP_FAKE_H
#define FUZZ_LOOP_FAKE_H

#include <loop.h>

#define FUZZ_SENT_MAX (1 << 20)

struct fuzz_loop {
    struct hf_association_info info;
    bool is_gone;    /* the association has ended meanwhile */
    bool is_ended;   /* the responder has ended it: nothing may be sent any more */
    unsigned refuse; /* so many sends find the queue full, after `accept` that do not */
    unsigned accept;
    unsigned send_count;
    size_t sent_len;
    size_t last_len; /* of the last send */
    uint8_t sent[FUZZ_SENT_MAX];
};

extern struct fuzz_loop fuzz_loop;

/** fuzz_loop_reset forgets what was sent and sets up an association from three bytes of choice. */
void fuzz_loop_reset(enum hf_transport transport, uint8_t names, uint8_t limit, uint8_t room);

#endif
