/**
 * fuzz.h - what every fuzz target shares: taking an input apart, checks, the canary, and the two
 * functions of crypto/ that are replaced at link time so that an input alone decides what happens.
 *
 * Replaced (linker --wrap): hf_random() gives a stream that begins anew with each input;
 * hf_record_open() takes a body that begins with FUZZ_PLAIN_MAGIC as its own plaintext, so that
 * inputs reach what stands behind the protection, and refuses where the target says so.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include "bytes.h"
#include "crypto.h"

#include <stdlib.h>

/** FUZZ_CHECK ends the program, which is how a target tells of a finding. */
#define FUZZ_CHECK(condition)                                                                      \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fuzz_fail(#condition, __FILE__, __LINE__);                                             \
    } while (0)

#define FUZZ_FAIL(reason) fuzz_fail(reason, __FILE__, __LINE__)

_Noreturn void fuzz_fail(const char *condition, const char *file, int line);

/** fuzz_is_canary tells whether HF_FUZZ_CANARY is set: then the target does one wrong thing at a
 *  place that only a good input reaches, and its own checks have to find it. */
bool fuzz_is_canary(void);

/** fuzz_touch reads every byte, so that the sanitizer sees each. */
void fuzz_touch(struct hf_bytes bytes);

/** fuzz_is_inside tells whether `part` lies within `whole`; an empty part is anywhere. */
bool fuzz_is_inside(struct hf_bytes part, struct hf_bytes whole);

/** fuzz_copy gives a heap copy of exactly this length: a byte too far is a finding. Owns: free. */
uint8_t *fuzz_copy(struct hf_bytes bytes);

/* ---- taking an input apart: zero or nothing once it is used up ------------------------------ */

struct fuzz_input {
    const uint8_t *data;
    size_t len;
};

uint8_t fuzz_u8(struct fuzz_input *input);
uint16_t fuzz_u16(struct fuzz_input *input);

/** fuzz_below gives 0 .. count - 1 from one byte. */
uint8_t fuzz_below(struct fuzz_input *input, uint8_t count);

/** fuzz_take gives the next `len` bytes, or what is left. */
struct hf_bytes fuzz_take(struct fuzz_input *input, size_t len);

/* ---- randomness and protection -------------------------------------------------------------- */

/** fuzz_random_restart begins the stream of hf_random() anew; `stream` tells streams apart. */
void fuzz_random_restart(uint64_t stream);

/** fuzz_random_swap goes on with another stream where it stood, and gives where this one stands. */
uint64_t fuzz_random_swap(uint64_t state);

/** fuzz_forge has coming calls of hf_record_open() fail: bit 0 the next, bit 1 the one after ...
 *  Gives what was left of the mask before. */
uint32_t fuzz_forge(uint32_t mask);

#define FUZZ_PLAIN_MAGIC "hfplain:"
#define FUZZ_PLAIN_MAGIC_LEN 8
/** Magic, a byte that says how many follow, and so many: longer than any cipher's expansion. */
#define FUZZ_PLAIN_FRONT_LEN 80

/** fuzz_plain_front writes what makes a body its own plaintext. */
void fuzz_plain_front(uint8_t out[FUZZ_PLAIN_FRONT_LEN]);

/** fuzz_record_open is the real hf_record_open(). */
enum hf_status fuzz_record_open(size_t *plain_offset, size_t *plain_len,
                                const struct hf_record_key *key,
                                const struct hf_record_header *header, uint8_t *data, size_t len);

/** The target itself; declared here because libFuzzer has no header. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#endif
