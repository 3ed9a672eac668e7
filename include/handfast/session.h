/**
 * session.h - what resumption needs beyond one engine: a cache of sessions that all shards of a
 * process share (RFC 5246 F.1.4), and the secrets that all nodes behind a balancer share, from
 * which cookie, ticket and connection-ID keys are derived.
 */
#ifndef HANDFAST_SESSION_H
#define HANDFAST_SESSION_H

#include <handfast/status.h>

HF_BEGIN_DECLS

/**
 * Sessions by their IDs: fixed in size, set-associative, lock-free. A reader that meets a writer
 * misses, a writer that meets a writer goes elsewhere: nobody waits, and the worst that happens is
 * a full handshake. Thread: any, except for open and close.
 */
struct hf_session_cache;

/** hf_session_cache_open maps room for `count` sessions, rounded up to a power of two of buckets;
 *  1 to 2^24. Touched as it fills. Errors: HF_E_ARGUMENT, HF_E_MEMORY. */
HF_API HF_MUST_USE enum hf_status hf_session_cache_open(struct hf_session_cache **out,
                                                        size_t count);

/** hf_session_cache_close wipes and unmaps. No engine may still use it. NULL is allowed. */
HF_API void hf_session_cache_close(struct hf_session_cache *cache);

/** hf_session_cache_memory gives the bytes that opening one for `count` sessions maps. */
HF_API size_t hf_session_cache_memory(size_t count);

/** Counters since the cache was opened; each is right, together they are of no one moment. */
struct hf_session_cache_counters {
    uint64_t stored, found, missed, busy, evicted, removed;
};

HF_API void hf_session_cache_counters(struct hf_session_cache_counters *out,
                                      const struct hf_session_cache *cache);

#define HF_SHARED_SECRET_LEN 32
#define HF_SHARED_SECRETS_MAX 8

/** One secret and the moment from which it is used to make cookies, tickets and connection IDs. */
struct hf_shared_secret {
    int64_t from_s; /**< UTC seconds */
    uint8_t secret[HF_SHARED_SECRET_LEN];
};

/** The newest whose time has come makes; the others, the coming ones included, are accepted, so
 *  that nodes whose clocks or reloads differ understand each other. Secret: wipe. */
struct hf_shared_secrets {
    uint32_t count;
    struct hf_shared_secret entries[HF_SHARED_SECRETS_MAX]; /**< newest first */
};

/** hf_shared_secrets_active gives the one that makes: the newest whose time has come; if none has,
 *  the oldest. In: at least one. A view. Thread: any. */
HF_API const struct hf_shared_secret *
hf_shared_secrets_active(const struct hf_shared_secrets *secrets, int64_t wall_s);

/** hf_shared_secrets_parse reads lines `YYYYMMDDThhmmssZ <64 hex digits>`; blank lines and `# `
 *  comments are skipped, order does not matter. Out: sorted, newest first; on failure zero, and
 *  `*line` and `*why` (static text, never a byte of the file) say what is wrong.
 *  Errors: HF_E_CONFIG. Thread: any. */
HF_API HF_MUST_USE enum hf_status hf_shared_secrets_parse(struct hf_shared_secrets *out,
                                                          size_t *line, const char **why,
                                                          struct hf_bytes text);

/** The length that holds the text of the fullest hf_shared_secrets, with its NUL. */
#define HF_SHARED_SECRETS_TEXT_MAX 1024

/** hf_shared_secrets_rotate adds a fresh secret that becomes active at `from_s` and drops those
 *  that have been out of use since before `keep_s`, and the oldest if there is no room. Thread:
 *  any. Errors: HF_E_ARGUMENT when an entry of that time exists. */
HF_API HF_MUST_USE enum hf_status hf_shared_secrets_rotate(struct hf_shared_secrets *secrets,
                                                           int64_t from_s, int64_t keep_s);

/** hf_shared_secrets_print writes the file that hf_shared_secrets_parse() reads and returns its
 *  length without the NUL. Secret: wipe `out`. Thread: any. */
HF_API size_t hf_shared_secrets_print(char out[HF_SHARED_SECRETS_TEXT_MAX],
                                      const struct hf_shared_secrets *secrets);

HF_END_DECLS
#endif
