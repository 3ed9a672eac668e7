/**
 * entitymap.h - whose a credential is that does not say so itself (TS-0003 8.2.1): a text file,
 *     CREDENTIAL-ID ENTITY-ID[,ENTITY-ID...]
 * one a line, for raw public keys (30-), certificates of devices (31-) and of nodes (34-), whose
 * Credential-IDs are written as associations have them (TS-0003 10.4, docs/CERTIFICATES.md). A
 * credential belongs to one CSE, to one AE, or, unless it is a raw key, to several AEs. Blank lines
 * and lines that start with '#' are comments. Duplicates are refused, naming both lines.
 *
 * No I/O here: the caller brings the text. The table is immutable once built, so any number of
 * threads may look up in it at once.
 */
#ifndef HANDFAST_ENTITYMAP_H
#define HANDFAST_ENTITYMAP_H

#include <handfast/keyfile.h>

HF_BEGIN_DECLS

struct hf_entitymap;

#define HF_ENTITYMAP_ERROR_MAX 256

/** hf_entitymap_open parses `text`. On failure `*out` is NULL and `error` holds "line N: reason".
 *  In: `scope` tells one map's answers from another's: the same line has the same context in maps
 *  of one scope, on every node. Errors: HF_E_DECODE, HF_E_MEMORY. Owns: a copy of all it needs. */
HF_API HF_MUST_USE enum hf_status hf_entitymap_open(struct hf_entitymap **out,
                                                    char error[HF_ENTITYMAP_ERROR_MAX],
                                                    struct hf_bytes text, struct hf_bytes scope);

/** hf_entitymap_close frees; NULL is allowed. */
HF_API void hf_entitymap_close(struct hf_entitymap *map);

/** hf_entitymap_count gives the number of credentials; 0 for NULL. */
HF_API size_t hf_entitymap_count(const struct hf_entitymap *map);

/** hf_entitymap_answer fills the answer to an HF_REQUEST_IDENTITY for that credential: its entity,
 *  and a `context` that is a hash of the line; HF_ENTITY_PENDING and 0 if there is no such line, or
 *  `map` is NULL. Views point into the map. Thread: any. */
HF_API void hf_entitymap_answer(struct hf_answer *out, const struct hf_entitymap *map,
                                struct hf_bytes credential_id);

/** hf_entitymap_is_standing tells whether that credential's answer is still the one of that context
 *  (HF_REQUEST_SESSION). `map` may be NULL. Thread: any. */
HF_API HF_MUST_USE bool hf_entitymap_is_standing(const struct hf_entitymap *map,
                                                 struct hf_bytes credential_id, uint64_t context);

/** One difference. The view dies with the call it was handed to. */
struct hf_entitymap_difference {
    enum hf_keyfile_change change; /**< CHANGED: another entity for the same credential */
    struct hf_bytes credential_id;
    uint64_t context; /**< of the answers so far; 0 for HF_KEYFILE_ADDED */
};

typedef void hf_entitymap_differ(const struct hf_entitymap_difference *difference, void *arg);

/** hf_entitymap_compare calls `differ` once for each line that is not the same in both. Either may
 *  be NULL: it has no line. */
HF_API void hf_entitymap_compare(const struct hf_entitymap *from, const struct hf_entitymap *to,
                                 hf_entitymap_differ *differ, void *arg);

HF_END_DECLS
#endif
