/**
 * keysource.h - the contract by which keys and identities reach a handshake, asynchronously.
 *
 * The engine calls `request`; some time later - at once, next turn, or never - the embedder calls
 * hf_engine_answer() with the ticket, on the engine's thread. At most one answer counts; the
 * engine's own deadline ends the wait if none comes. Nothing recurses: an answer given inside
 * `request` is queued and taken later in the same turn.
 */
#ifndef HANDFAST_KEYSOURCE_H
#define HANDFAST_KEYSOURCE_H

#include <handfast/status.h>

HF_BEGIN_DECLS

struct hf_engine;

#define HF_PSK_MAX 64     /**< bytes; RFC 4279 5.3 demands 64 */
#define HF_SECRET_MAX 132 /**< the longest premaster built from such a key */
#define HF_ENTITY_ID_MAX 512
#define HF_CREDENTIAL_ID_MAX 1280

/** What is asked. */
enum hf_request_kind {
    HF_REQUEST_KEY = 0,  /**< the secret behind a psk_identity */
    HF_REQUEST_IDENTITY, /**< the entity behind a Credential-ID, key already proven */
    HF_REQUEST_SESSION,  /**< whether a session may be resumed that `credential_id` was proven for:
                              HF_ANSWER_IDENTITY, of which nothing but the kind counts, if that
                              credential still stands; otherwise there is a full handshake */
};

/** A question. Every view is valid during the call only: copy what you keep. */
struct hf_request {
    struct hf_ticket ticket;
    enum hf_request_kind kind;
    uint32_t listener_index;       /**< `is_client`: the dialer's index */
    bool is_client;                /**< we dialled, and the identity is our own choice */
    uint16_t suite;                /**< already selected (RFC 4279: before the identity is seen) */
    struct hf_bytes psk_identity;  /**< 1..identity_len_max octets, any value */
    struct hf_bytes server_name;   /**< SNI host_name in lower case, or empty */
    struct hf_bytes credential_id; /**< HF_REQUEST_IDENTITY: what the key answer carried */
    uint64_t context;              /**< HF_REQUEST_IDENTITY: likewise */
    const struct hf_path *path;
    const uint8_t *client_random; /**< 32 bytes, for a source that makes master secrets */
    const uint8_t *server_random; /**< 32 bytes */
    struct hf_bytes session_hash; /**< RFC 7627 4; empty without extended master secret */
    uint64_t deadline_us;         /**< monotonic: an answer after this is stale */
};

/** What came back. */
enum hf_answer_kind {
    HF_ANSWER_PSK = 0,       /**< `secret` is the pre-shared key */
    HF_ANSWER_PREMASTER,     /**< `secret` is the whole premaster secret (RFC 4279 2) */
    HF_ANSWER_MASTER_SECRET, /**< `secret` is the 48-byte master secret */
    HF_ANSWER_IDENTITY,      /**< answers HF_REQUEST_IDENTITY */
    HF_ANSWER_REFUSED,       /**< no such key: the engine goes on with a decoy key, as client it
                                  gives up; HF_REQUEST_IDENTITY: the entity is not admitted */
    HF_ANSWER_UNAVAILABLE,   /**< cannot tell now: the handshake fails with internal_error */
};

/** An answer. The engine copies all of it before hf_engine_answer() returns. */
struct hf_answer {
    enum hf_answer_kind kind;
    enum hf_framework framework;
    enum hf_entity_kind entity_kind;
    bool identity_follows; /**< ask again with HF_REQUEST_IDENTITY once Finished has verified */
    uint16_t suid;         /**< Security Usage Identifier (TS-0004 6.3.4.2.39), 0 if none */
    struct hf_bytes secret;
    struct hf_bytes entity_id;     /**< at most HF_ENTITY_ID_MAX bytes */
    struct hf_bytes credential_id; /**< TS-0003 10.4; at most HF_CREDENTIAL_ID_MAX bytes */
    int64_t expires_s;             /**< UTC seconds; 0: no expiry */
    uint64_t context;              /**< the application's; comes back in every event */
};

/** A source of keys. Called on the engine's thread only; must not call back into the engine
 *  except hf_engine_answer(). */
struct hf_key_source {
    /** request asks; it must not block. `request` and all it points to die with the call. */
    void (*request)(struct hf_engine *engine, const struct hf_request *request, void *arg);
    /** cancel says that nobody waits any more. May be NULL. */
    void (*cancel)(struct hf_ticket ticket, void *arg);
    void *arg;
};

HF_END_DECLS
#endif
