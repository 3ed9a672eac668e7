/**
 * stage.h - one association, brought to where a target begins.
 */
#ifndef FUZZ_STAGE_H
#define FUZZ_STAGE_H

#include "world.h"

enum fuzz_stage {
    FUZZ_STAGE_HELLO,    /* nothing received; TLS only: on DTLS there is nothing yet */
    FUZZ_STAGE_EXCHANGE, /* ServerHelloDone is out */
    FUZZ_STAGE_CCS,      /* the key is there */
    FUZZ_STAGE_FINISHED, /* from here on records are protected */
    FUZZ_STAGE_OPEN,
    FUZZ_STAGE_COUNT,
};

struct fuzz_session {
    struct fuzz_world world;
    bool is_dtls;
    hf_association_id association;
    uint64_t next_seq[2];
    uint16_t message_seq; /* of the message that is due */
};

/** fuzz_session_open opens a roomy engine and runs the handshake up to `stage`. `extensions` as in
 *  struct fuzz_hello. */
void fuzz_session_open(struct fuzz_session *session, bool is_dtls, uint8_t extensions,
                       enum fuzz_stage stage);

/** fuzz_session_send hands in one record and lets everything happen that follows from it. */
void fuzz_session_send(struct fuzz_session *session, uint8_t type, bool is_protected,
                       struct hf_bytes plaintext);

/** fuzz_session_message sends one handshake message in a record of its own. */
void fuzz_session_message(struct fuzz_session *session, uint8_t type, bool is_protected,
                          struct hf_bytes body);

/** fuzz_session_state gives where the association stands, HF_STATE_FREE if it is gone. */
enum hf_state fuzz_session_state(const struct fuzz_session *session);

/** fuzz_session_close closes everything and checks that nothing is left. */
void fuzz_session_close(struct fuzz_session *session);

#endif
