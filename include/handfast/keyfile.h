/**
 * keyfile.h - the local key source: a text file of provisioned keys (Kpsa), one a line,
 *     identity:hexkey[:entity-id]
 * The first colon ends the identity. An identity that holds a colon, starts with '#', or has a
 * byte that does not print is written '#' + hex, as GnuTLS reads it. Blank lines and lines that
 * start with "# " are comments. Duplicates are refused, naming both lines.
 *
 * No I/O here: the caller brings the text. The table is immutable once built, so any number of
 * threads may look up in it at once.
 */
#ifndef HANDFAST_KEYFILE_H
#define HANDFAST_KEYFILE_H

#include <handfast/engine.h>

HF_BEGIN_DECLS

struct hf_keyfile;

#define HF_KEYFILE_ERROR_MAX 256

/** hf_keyfile_open parses `text`. On failure `*out` is NULL and `error` holds "line N: reason",
 *  never key material. Errors: HF_E_DECODE, HF_E_MEMORY. Owns: a copy of all it needs; the caller
 *  should wipe `text`. In: keys of 16..64 bytes (fewer than 16 bytes is refused as guessable). */
HF_API HF_MUST_USE enum hf_status
hf_keyfile_open(struct hf_keyfile **out, char error[HF_KEYFILE_ERROR_MAX], struct hf_bytes text);

/** hf_keyfile_close wipes and frees; NULL is allowed. */
HF_API void hf_keyfile_close(struct hf_keyfile *keyfile);

/** hf_keyfile_count gives the number of keys. */
HF_API size_t hf_keyfile_count(const struct hf_keyfile *keyfile);

/** hf_keyfile_use_context has every answer carry a `context` that is a hash, under the 16 bytes of
 *  `key`, of all there is to a key: identity, key and entity-id. The same key in two files opened
 *  with the same bytes has the same context; a changed one has another. Without this call it is 0.
 *  Call before the first look-up. */
HF_API void hf_keyfile_use_context(struct hf_keyfile *keyfile, const uint8_t key[16]);

/** What becomes of a key from one file to the next. */
enum hf_keyfile_change {
    HF_KEYFILE_ADDED = 0,
    HF_KEYFILE_REMOVED,
    HF_KEYFILE_CHANGED, /**< another key or entity for the same identity */
};

/** One difference. The view dies with the call it was handed to. */
struct hf_keyfile_difference {
    enum hf_keyfile_change change;
    struct hf_bytes psk_identity;
    uint64_t context; /**< of the answers so far; 0 for HF_KEYFILE_ADDED */
};

typedef void hf_keyfile_differ(const struct hf_keyfile_difference *difference, void *arg);

/** hf_keyfile_compare calls `differ` once for each key that is not the same in both. */
HF_API void hf_keyfile_compare(const struct hf_keyfile *from, const struct hf_keyfile *to,
                               hf_keyfile_differ *differ, void *arg);

/** hf_keyfile_answer looks the identity up and fills `out`; its views point into the keyfile and,
 *  for the Credential-ID "12-<identity>" (TS-0003 10.4), into `scratch`. An unknown identity gives
 *  HF_ANSWER_REFUSED. Thread: any. */
HF_API void hf_keyfile_answer(struct hf_answer *out, uint8_t scratch[HF_CREDENTIAL_ID_MAX],
                              const struct hf_keyfile *keyfile, struct hf_bytes psk_identity);

/** hf_keyfile_source gives a key source that answers at once. The keyfile must outlive engines
 *  opened with it. */
HF_API struct hf_key_source hf_keyfile_source(const struct hf_keyfile *keyfile);

HF_END_DECLS
#endif
