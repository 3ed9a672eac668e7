/**
 * script.h - the operations that scripts of both transports have: time, answers, sending, closing,
 * and taking less than there is. A script is a list of operations, each a byte and its arguments.
 */
#ifndef FUZZ_SCRIPT_H
#define FUZZ_SCRIPT_H

#include "world.h"

/** The first operations of every script; what is above belongs to the transport. Numbers are part
 *  of the corpus: append only. */
enum fuzz_op {
    FUZZ_OP_TURN = 0, /* u16: how far time goes on, see script.c */
    FUZZ_OP_WALL,     /* u8: the wall clock jumps by -64..63 days, or to the end of time */
    FUZZ_OP_ANSWER,   /* u8 which, u8 kind and flags, u8 lengths */
    FUZZ_OP_SOURCE,   /* u8: answers at once or not, and how */
    FUZZ_OP_SEND,     /* u8 which association, u8 length */
    FUZZ_OP_CLOSE,    /* u8 which association, u8 how */
    FUZZ_OP_TAKE,     /* u8: so many events and outputs, no more */
    FUZZ_OP_FORGE,    /* u8: which of the next records do not authenticate */
    FUZZ_OP_ASK,      /* u8: what is known of an association, and keys exported */
    FUZZ_OP_SQUEEZE,  /* u8: so little room for output is left in this turn */
    FUZZ_OP_AGE,      /* u8 which association, u8: so few record numbers are left */
    FUZZ_OP_OWN,      /* from here on: the transport's own */
};

/** fuzz_script_common runs one of the operations above. */
void fuzz_script_common(struct fuzz_world *world, enum fuzz_op op, struct fuzz_input *input);

/** fuzz_script_association picks an association, alive or not. */
hf_association_id fuzz_script_association(const struct fuzz_world *world, uint8_t which);

#endif
