/**
 * keys.h - the clients' keys (Km, KmID) from a file, replaced while a loop serves.
 */
#ifndef HF_KEYS_H
#define HF_KEYS_H

#include <handfast/keyfile.h>

#define HF_KEYS_ERROR_MAX 512

/** hf_keys_load reads a key file that is its owner's alone. On false `error` holds one line. */
HF_MUST_USE bool hf_keys_load(struct hf_keyfile **out, char error[HF_KEYS_ERROR_MAX],
                              const char *path);

/** What a loop's key source answers from; changed on the loop's thread only. */
struct hf_keys {
    struct hf_keyfile *current; /**< NULL: there are none */
};

/** hf_keys_source gives the source; `keys` must outlive the loop. */
struct hf_key_source hf_keys_source(struct hf_keys *keys);

#endif
