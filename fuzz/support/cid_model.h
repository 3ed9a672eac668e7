/**
 * cid_model.h - what must hold for associations with connection IDs, told by the wire alone: see
 * cid.c, which makes devices speak, and this judges what comes of it.
 */
#ifndef FUZZ_CID_MODEL_H
#define FUZZ_CID_MODEL_H

#include "world.h"

enum {
    FUZZ_CID_DEVICES = 3,
    FUZZ_CID_QUESTIONS = 12, /* remembered: more than a check has */
    FUZZ_CID_COOKIE_LEN = 8,
    FUZZ_CID_RECORD_MAX = 1024,
    FUZZ_CID_NOWHERE = FUZZ_PATHS, /* no path */
};

/** A challenge that was seen on the wire, in the check that is under way. */
struct fuzz_cid_question {
    uint8_t cookie[FUZZ_CID_COOKIE_LEN];
    uint8_t path;
};

struct fuzz_cid_device {
    hf_association_id id;
    bool is_over;
    uint8_t cid[HF_CID_LEN_MAX];
    size_t cid_len;
    uint64_t next_seq, newest, window; /* ours to say; the newest it has taken, and which before */
    uint8_t home, candidate;           /* where it is; what is being checked, NOWHERE */
    bool is_checked[FUZZ_PATHS];       /* known to be its own */
    uint32_t in_len[FUZZ_PATHS], out_len[FUZZ_PATHS]; /* while it is not */
    uint32_t spell_len[FUZZ_PATHS];                   /* out, since it was a candidate anew */
    struct fuzz_cid_question questions[FUZZ_CID_QUESTIONS];
    size_t question_count;
};

/** What a record is, as its sender means it. */
struct fuzz_cid_saying {
    uint8_t path;
    uint64_t seq;
    uint8_t type;
    uint8_t body[256];
    size_t len;
    bool is_forged; /* on its way */
};

struct fuzz_cid {
    struct fuzz_world world; /* its `arg` points here */
    struct fuzz_cid_device devices[FUZZ_CID_DEVICES];
    uint8_t device_count;
    bool has_rrc;
    bool has_forged; /* ever: from then on trial decryption may be put off */
};

/** fuzz_cid_begin has outputs be judged. */
void fuzz_cid_begin(struct fuzz_cid *run);

/** fuzz_cid_find gives a device's association, NULL once it has ended. */
struct hf_association *fuzz_cid_find(const struct fuzz_cid *run,
                                     const struct fuzz_cid_device *device);

/** fuzz_cid_deliver delivers a datagram of one record and judges what comes of it. In: whose it is
 *  if it is anybody's; is_right: header and connection ID are what they have to be. */
void fuzz_cid_deliver(struct fuzz_cid *run, struct fuzz_cid_device *device,
                      const struct fuzz_cid_saying *saying, struct hf_bytes bytes, bool is_right);

/** fuzz_cid_look takes what the engine has to say, and checks that nothing else has happened. */
void fuzz_cid_look(struct fuzz_cid *run);

/** fuzz_cid_waited is told that time went on: it moves nothing, but a check comes to its end, by
 *  `is_long` for certain. */
void fuzz_cid_waited(struct fuzz_cid *run, bool is_long);

#endif
