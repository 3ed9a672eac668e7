/**
 * session.h - a session: what a resumed association carries over from the one that was fully
 * authenticated (RFC 5246 7.4.1.2, RFC 5077 4), in a compact form for the cache and for tickets.
 * Nothing in it is decoded a second time; a certificate is not kept.
 */
#ifndef HF_SESSION_H
#define HF_SESSION_H

#include "core.h"
#include "identity.h"

#include <handfast/session.h>

#define HF_SESSION_ID_LEN 32
#define HF_SESSION_BINDING_LEN 16
#define HF_SESSION_REVOCATION_MAX 128
#define HF_SESSION_SECRET_LEN 32
#define HF_SESSION_WAYS 7 /* of a bucket of the cache */

/** The longest packed session; one that would be longer is not resumable. */
#define HF_SESSION_LEN_MAX 512

struct hf_session {
    uint16_t suite;
    uint16_t suid;
    uint8_t framework;
    uint8_t entity_kind;
    bool is_ems;        /**< RFC 7627 5.3: as negotiated then, or no resumption */
    bool is_etm;        /**< RFC 7366 3.1 */
    uint32_t until_s;   /**< the session's own end */
    uint32_t expires_s; /**< the credential's, 0: none */
    uint64_t context;
    uint8_t binding[HF_SESSION_BINDING_LEN]; /**< of listener, authority and server name */
    uint8_t master_secret[HF_MASTER_SECRET_LEN];
    struct hf_bytes entity_id;
    struct hf_bytes credential_id;
    struct hf_bytes revocation; /**< handles a revocation is recognised by */
};

/** hf_session_pack writes the compact form. Errors: HF_E_TOO_LONG. Secret: wipe `out`. */
HF_MUST_USE enum hf_status hf_session_pack(uint8_t out[HF_SESSION_LEN_MAX], size_t *out_len,
                                           const struct hf_session *session);

/** hf_session_unpack reads it; the views in `out` point into `packed`. Errors: HF_E_DECODE. */
HF_MUST_USE enum hf_status hf_session_unpack(struct hf_session *out, struct hf_bytes packed);

/** hf_session_is_standing tells whether its own time and its credential's are not over, and nothing
 *  in its certificate's chain is revoked. `trust` may be NULL: no certificate is believed then. */
HF_MUST_USE bool hf_session_is_standing(const struct hf_session *session,
                                        const struct hf_trust *trust, int64_t wall_s);

/** hf_session_identity gives the names a resumed association has; views into `session`. */
struct hf_identity hf_session_identity(const struct hf_session *session,
                                       const struct hf_terms *terms);

/** hf_session_adopt has an association take over all but names and context. */
void hf_session_adopt(struct hf_association *association, const struct hf_session *session);

/** hf_session_save packs what an association leaves to resume; `info` holds its names. Errors:
 *  HF_E_TOO_LONG. Secret: wipe `out`. */
HF_MUST_USE enum hf_status
hf_session_save(uint8_t out[HF_SESSION_LEN_MAX], size_t *out_len, const struct hf_engine *engine,
                const struct hf_association *association, const struct hf_association_info *info,
                const uint8_t binding[HF_SESSION_BINDING_LEN], uint32_t until_s);

/** hf_session_cache_put stores a packed session under `id`, in place of one with that id. False:
 *  too long, or every place for it is being written to. Thread: any. */
bool hf_session_cache_put(struct hf_session_cache *cache, const uint8_t id[HF_SESSION_ID_LEN],
                          struct hf_bytes packed, uint32_t until_s, uint32_t now_s);

/** hf_session_cache_get copies one out; false when it is not there or over. Thread: any. */
HF_MUST_USE bool hf_session_cache_get(uint8_t out[HF_SESSION_LEN_MAX], size_t *out_len,
                                      struct hf_session_cache *cache,
                                      const uint8_t id[HF_SESSION_ID_LEN], uint32_t now_s);

/** hf_session_cache_name makes the ID of a session from the randoms of its handshake: none can be
 *  guessed, and all shards make the same. Thread: any. */
void hf_session_cache_name(uint8_t id[HF_SESSION_ID_LEN], const struct hf_session_cache *cache,
                           const uint8_t client_random[HF_RANDOM_LEN],
                           const uint8_t server_random[HF_RANDOM_LEN]);

/** hf_session_cache_set_secret has IDs made as in another cache; before any engine uses this one.
 */
void hf_session_cache_set_secret(struct hf_session_cache *cache,
                                 const uint8_t secret[HF_SESSION_SECRET_LEN]);

/** hf_session_cache_secret gives what IDs are made with. Secret: wipe `out`. Thread: any. */
void hf_session_cache_secret(uint8_t out[HF_SESSION_SECRET_LEN],
                             const struct hf_session_cache *cache);

/** What a bucket holds, copied out. */
struct hf_session_bucket {
    uint64_t version; /**< another one after every change */
    struct hf_session_way {
        uint32_t until_s;
        uint32_t len; /**< 0: nothing is here */
        uint8_t id[HF_SESSION_ID_LEN];
        uint8_t packed[HF_SESSION_LEN_MAX];
    } ways[HF_SESSION_WAYS];
};

/** hf_session_cache_buckets gives how many there are. Thread: any. */
size_t hf_session_cache_buckets(const struct hf_session_cache *cache);

/** hf_session_cache_version gives that of a bucket; 0: never used. Thread: any. */
uint64_t hf_session_cache_version(const struct hf_session_cache *cache, size_t bucket);

/** hf_session_cache_look copies a bucket. False: a writer is at it. Secret: wipe. Thread: any. */
HF_MUST_USE bool hf_session_cache_look(struct hf_session_bucket *out,
                                       const struct hf_session_cache *cache, size_t bucket);

/** hf_session_cache_remove forgets one (RFC 5246 7.2.2). Thread: any. */
void hf_session_cache_remove(struct hf_session_cache *cache, const uint8_t id[HF_SESSION_ID_LEN]);

#endif
