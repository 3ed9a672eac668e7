/**
 * pseudonym.h - what stands in logs for an identity that must not be read there: a keyed hash, the
 * same for the same identity as long as the salt is the same.
 */
#ifndef HF_PSEUDONYM_H
#define HF_PSEUDONYM_H

#include <handfast/base.h>

#define HF_PSEUDONYM_TEXT_MAX 24

/** hf_pseudonym_salt sets the salt: `text`, or, if it is empty, a random one for this process. Call
 *  before any thread. False: no randomness. */
HF_MUST_USE bool hf_pseudonym_salt(const char *text);

/** hf_pseudonym_text writes "~" and 16 hexadecimal digits, and returns `out`. Thread: any. */
char *hf_pseudonym_text(char out[HF_PSEUDONYM_TEXT_MAX], struct hf_bytes identity);

#endif
