/**
 * make_cids.c - seeds of the target cid: devices that move, are asked and answer, each way of
 * judging an address, and all that others can do with their records. The numbers are those of
 * cid.c.
 */
#include "make_corpus.h"

enum { SAY, WRONG, PLAIN, RAW, REPEAT, SEND, TIME, CLOSE };
enum { DATA, RESPONSE, DROP, CHALLENGE, ODD, ALERT };
enum { RRC = 1, BASIC = 2, FIXED = 4, FOLLOW = 8, NARROW = 16, CBC = 128 };
enum { DUE = 128, GAP = 131, LATE = 126 };   /* LATE: one of those that GAP has left out */
enum { FORGED = 64, SECOND = 4, THIRD = 8 }; /* devices: 4 paths each */

struct seed {
    const char *name;
    uint8_t script[80];
    uint8_t len;
};

#define SEED(text, ...)                                                                            \
    {                                                                                              \
        .name = (text), .script = {__VA_ARGS__}, .len = sizeof((const uint8_t[]){__VA_ARGS__})     \
    }

/* Three settings, then: SAY device-and-path, number, what, code, how. */
static const struct seed seeds[] = {
    SEED("enhanced", RRC, 0, 0, SAY, 0, DUE, DATA, 20, 0, SAY, 1, DUE, DATA, 20, 5, SEND, 0, 30,
         TIME, 120, SAY, 1, GAP, RESPONSE, 1, 0, SAY, 2, LATE, DATA, 9, 0, SAY, 1, DUE, DATA, 9, 0,
         SEND, 0, 200, SAY, 0, 127, DATA, 7, 0),
    SEED("basic", RRC | BASIC, 64, 0, SAY, 1, DUE, DATA, 20, 0, SAY, 1, GAP, RESPONSE, 0, 0, SAY, 2,
         GAP, DATA, 4, 0, SAY, 0, LATE, RESPONSE, 0, 0, SAY, 2, DUE, RESPONSE, 0, 0, SAY, 1, LATE,
         DATA, 9, 0),
    SEED("kept", RRC, 64, 0, SAY, 1, DUE, DATA, 20, 0, SAY, 0, DUE, RESPONSE, 0, 0, SAY, 3, GAP,
         DATA, 20, 0, SAY, 0, LATE, RESPONSE, 0, 0, TIME, 0, SAY, 0, 127, DATA, 1, 0),
    SEED("dropped", RRC, 128, 0, SAY, 1, GAP, DATA, 20, 0, SAY, 0, LATE, DROP, 0, 0, SAY, 1, DUE,
         RESPONSE, 1, 0, SAY, 1, DUE, CHALLENGE, 7, 0, SAY, 3, GAP, CHALLENGE, 7, 9, SAY, 2, LATE,
         CHALLENGE, 7, 9),
    SEED("relayed", RRC | BASIC, 0, 0, SAY, 1, GAP, DATA, 20, 0, SAY, 0, LATE, RESPONSE, 0, 0, SAY,
         2, 127, RESPONSE, 0, 0, SAY, 1, GAP, RESPONSE, 16, 0, TIME, 0),
    SEED("unanswered", RRC | NARROW, 0, 0, SAY, 1, DUE, DATA, 60, 0, SEND, 0, 200, SEND, 0, 200,
         SEND, 0, 20, TIME, 0, SAY, 1, DUE, ODD, 9, 0, SAY, 1, GAP, ODD, 73, 0, SAY, 1, LATE, DATA,
         1, 0, TIME, 250),
    SEED("bounded", NARROW, 64, 0, SAY, 1, DUE, DATA, 60, 0, SEND, 0, 250, SEND, 0, 250, SAY, 1,
         DUE, DATA, 60, 0, SEND, 0, 100, SAY, 2, GAP, DATA, 60, 0, SAY, 1, LATE, DATA, 2, 0),
    SEED("follow", FOLLOW | CBC, 64, 0, SAY, 1, DUE, DATA, 60, 0, SEND, 0, 250, SAY, 2, GAP, DATA,
         6, 0, SAY, 3, LATE, DATA, 6, 0, SAY, 2, 127, RESPONSE, 0, 0),
    SEED("fixed", FIXED, 64, 0, SAY, 1, DUE, DATA, 60, 0, SEND, 0, 250, SAY, 2, GAP, DATA, 6, 0,
         SAY, 3, LATE, DATA, 6, 0),
    SEED("crowd", FOLLOW, 64, 2, SAY, 3, DUE, DATA, 6, 0, SAY, SECOND | 3, DUE, DATA, 6, 0, SAY,
         THIRD | 3, DUE, DATA, 6, 0, SEND, 1, 9, SAY, 1, DUE, DATA, 3, 0, CLOSE, 2, SAY, SECOND | 3,
         GAP, DATA, 3, 0, SAY, SECOND | 2, LATE, DATA, 3, 0),
    SEED("strangers", RRC, 2, 1, WRONG, 1, DUE, 17, PLAIN, 0, DUE, 3, PLAIN, 2, DUE, 7, RAW, 1, 14,
         25, 0xFE, 0xFD, 0, 1, 0, 0, 0, 0, 0, 1, 1, 2, 3, SAY, 1, GAP, DATA, 9, FORGED, REPEAT, 0,
         2, SAY, 0, LATE, DATA, 9, 0, REPEAT, 1, 3, SAY, 0, 127, DATA, 9, 0, CLOSE, 0, REPEAT, 2,
         1),
    SEED("close", RRC, 64, 1, SAY, 1, GAP, DATA, 9, 0, SAY, 1, DUE, ALERT, 1, 0, SAY, 0, LATE,
         ALERT, 1, 0, SAY, 1, DUE, ALERT, 255, 0, SAY, SECOND | 1, DUE, DATA, 8, 0, SEND, 1, 7),
};

void fuzz_corpus_cids(void)
{
    for (size_t i = 0; i < sizeof seeds / sizeof seeds[0]; i++)
        fuzz_corpus_save("cid", seeds[i].name, (struct hf_bytes){seeds[i].script, seeds[i].len});
}
