/**
 * core.h - the three structures everything in engine/ works on: the engine (one shard), the
 * association (a cold record, kept for as long as the peer is) and the handshake (a larger slot,
 * kept only while half-open). Plus the few words all modules share.
 *
 * Invariant: an association in state HF_STATE_OPEN has no handshake slot; one in any other live
 * state has exactly one.
 */
#ifndef HF_CORE_H
#define HF_CORE_H

#include "bytes.h"
#include "crypto.h"
#include "outbox.h"
#include "pool.h"
#include "secrets.h"
#include "table.h"
#include "wheel.h"

#include <handfast/engine.h>
#include <handfast/job.h>
#include <stdlib.h>

/** HF_ASSERT guards against our own bugs only: nothing a peer sends may reach it. Always on. */
#define HF_ASSERT(condition)                                                                       \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

/** HF_TRY returns early with any status that is not HF_OK. */
#define HF_TRY(call)                                                                               \
    do {                                                                                           \
        enum hf_status status_ = (call);                                                           \
        if (status_ != HF_OK)                                                                      \
            return status_;                                                                        \
    } while (0)

/* Wire numbers (RFC 5246 6.2.1, 7.4; RFC 6347 4.3.1). */
enum {
    HF_TYPE_CHANGE_CIPHER_SPEC = 20,
    HF_TYPE_ALERT = 21,
    HF_TYPE_HANDSHAKE = 22,
    HF_TYPE_APPLICATION_DATA = 23,
    HF_TYPE_TLS12_CID = 25,          /* RFC 9146 4 */
    HF_TYPE_RETURN_ROUTABILITY = 27, /* RFC 9853 4 */

    HF_MESSAGE_HELLO_REQUEST = 0,
    HF_MESSAGE_CLIENT_HELLO = 1,
    HF_MESSAGE_SERVER_HELLO = 2,
    HF_MESSAGE_HELLO_VERIFY_REQUEST = 3,
    HF_MESSAGE_NEW_SESSION_TICKET = 4,
    HF_MESSAGE_CERTIFICATE = 11,
    HF_MESSAGE_SERVER_KEY_EXCHANGE = 12,
    HF_MESSAGE_CERTIFICATE_REQUEST = 13,
    HF_MESSAGE_SERVER_HELLO_DONE = 14,
    HF_MESSAGE_CERTIFICATE_VERIFY = 15,
    HF_MESSAGE_CLIENT_KEY_EXCHANGE = 16,
    HF_MESSAGE_FINISHED = 20,

    HF_ALERT_CLOSE_NOTIFY = 0,
    HF_ALERT_NO_RENEGOTIATION = 100,
    HF_ALERT_LEVEL_WARNING = 1,
    HF_ALERT_LEVEL_FATAL = 2,

    HF_VERSION_TLS_1_2 = 0x0303,
    HF_VERSION_DTLS_1_0 = 0xFEFF,
    HF_VERSION_DTLS_1_2 = 0xFEFD,

    HF_STREAM_HEADER_LEN = 5,
    HF_DATAGRAM_HEADER_LEN = 13,
    HF_FRAGMENT_HEADER_LEN = 12,
    HF_PLAINTEXT_LEN_MAX = 16384,
    HF_CIPHERTEXT_LEN_MAX = 16384 + 2048,
};

/** One number space of 48 bits; also where AEAD limits end an association, far below a wrap. */
#define HF_DATAGRAM_SEQ_MAX ((UINT64_C(1) << 48) - 1)
#define HF_RECORDS_PER_KEY_MAX (UINT64_C(1) << 36)

/** Warning alerts, empty records or hellos in a row. */
#define HF_WARNINGS_MAX 40 /* what BoringSSL allows: 32 empty records, 4 alerts */

#define HF_NONE UINT32_MAX

/** Ticks are compared across half their range, 248 days. */
#define HF_AGE_US_MAX (UINT64_C(200) * 86400 * 1000000)

/** States of the machine: docs/STATE-MACHINE.md is generated from machine.c. */
enum hf_state {
    HF_STATE_FREE = 0,
    HF_STATE_SV_START,          /**< created; nothing received */
    HF_STATE_SV_AWAIT_HELLO,    /**< TLS: accepted; DTLS: cookie verified, hello still arriving */
    HF_STATE_SV_AWAIT_SESSION,  /**< parked: may the offered session be resumed? */
    HF_STATE_SV_AWAIT_OFFER,    /**< parked: our key share is being made and signed */
    HF_STATE_SV_AWAIT_EXCHANGE, /**< our flight is out; ClientKeyExchange is due */
    HF_STATE_SV_AWAIT_KEY,      /**< parked: the key source was asked */
    HF_STATE_SV_AWAIT_CERTIFICATE, /**< our flight is out; the peer's Certificate is due */
    HF_STATE_SV_AWAIT_SHARE,       /**< its ClientKeyExchange */
    HF_STATE_SV_AWAIT_VERIFY,      /**< its CertificateVerify */
    HF_STATE_SV_AWAIT_PROOF,       /**< parked: its chain, its signature and the shared secret */
    HF_STATE_SV_RESUMED_AWAIT_CCS, /**< a session is resumed: our Finished is out already */
    HF_STATE_SV_AWAIT_CCS,
    HF_STATE_SV_AWAIT_FINISHED,
    HF_STATE_SV_AWAIT_IDENTITY,    /**< Finished verified; who is it? */
    HF_STATE_CL_START,             /**< created; nothing sent */
    HF_STATE_CL_AWAIT_HELLO,       /**< our hello is out, with or without cookie */
    HF_STATE_CL_AWAIT_EXCHANGE,    /**< the server's hello is here */
    HF_STATE_CL_AWAIT_CERTIFICATE, /**< likewise, and certificates were agreed on */
    HF_STATE_CL_AWAIT_SHARE,       /**< the server's Certificate is here */
    HF_STATE_CL_AWAIT_REQUEST,     /**< its ServerKeyExchange too */
    HF_STATE_CL_AWAIT_DONE,        /**< all of its flight but the last message */
    HF_STATE_CL_AWAIT_KEY,         /**< parked: the key source was asked */
    HF_STATE_CL_AWAIT_PROOF,       /**< parked: the server's chain, signature, our share */
    HF_STATE_CL_AWAIT_SIGN,        /**< parked: our signature over all messages so far */
    HF_STATE_CL_RESUMED_AWAIT_CCS, /**< the server takes up the session we have offered */
    HF_STATE_CL_AWAIT_CCS,         /**< our Finished is out */
    HF_STATE_CL_AWAIT_FINISHED,
    HF_STATE_CL_AWAIT_IDENTITY, /**< the server's Finished verified */
    HF_STATE_OPEN,
    HF_STATE_COUNT,
};

/** Which rows of the machine a handshake takes where there are several for one event. */
enum hf_way {
    HF_WAY_ANY = 0,
    HF_WAY_PSK,
    HF_WAY_CERTIFICATE,
    HF_WAY_SESSION, /**< one is offered */
    HF_WAY_RESUMED, /**< it was accepted */
};

/** hf_state_is_parked tells whether only an event from outside leads out of a state. */
static inline bool hf_state_is_parked(enum hf_state state)
{
    return state == HF_STATE_SV_AWAIT_SESSION || state == HF_STATE_SV_AWAIT_OFFER ||
           state == HF_STATE_SV_AWAIT_KEY || state == HF_STATE_SV_AWAIT_PROOF ||
           state == HF_STATE_SV_AWAIT_IDENTITY || state == HF_STATE_CL_AWAIT_KEY ||
           state == HF_STATE_CL_AWAIT_PROOF || state == HF_STATE_CL_AWAIT_SIGN ||
           state == HF_STATE_CL_AWAIT_IDENTITY;
}

/** hf_state_is_flight_out tells whether our first flight is out and nothing has come back yet. */
static inline bool hf_state_is_flight_out(enum hf_state state)
{
    return state == HF_STATE_SV_AWAIT_EXCHANGE || state == HF_STATE_SV_AWAIT_CERTIFICATE ||
           state == HF_STATE_SV_RESUMED_AWAIT_CCS;
}

/** Flags of an association. */
enum {
    HF_ASSOCIATION_DATAGRAM = 1 << 0,
    HF_ASSOCIATION_EMS = 1 << 1,
    HF_ASSOCIATION_ETM = 1 << 2,
    HF_ASSOCIATION_READ_PROTECTED = 1 << 3,
    HF_ASSOCIATION_WRITE_PROTECTED = 1 << 4,
    HF_ASSOCIATION_PEER_CLOSED = 1 << 5,
    HF_ASSOCIATION_WRITE_CLOSED = 1 << 6,
    HF_ASSOCIATION_READ_WANTED = 1 << 7, /**< a receive was cut short: READABLE is owed */
    HF_ASSOCIATION_READ_QUEUED = 1 << 8, /**< in line for a stream buffer */
    HF_ASSOCIATION_REST_DUE = 1 << 9,    /**< one of the record's last tenants was established:
                                              survives in a free record, see hf_quota_rest() */
    HF_ASSOCIATION_CLIENT = 1 << 10,     /**< we dialled: listener_index is a dialer's */
    HF_ASSOCIATION_LAST_WORD = 1 << 11,  /**< DTLS: ours was the handshake's last flight */
    HF_ASSOCIATION_RESUMED = 1 << 12,    /**< without a full handshake */
    HF_ASSOCIATION_TICKET = 1 << 13,     /**< our last flight begins with a NewSessionTicket */
    HF_ASSOCIATION_SA2 = 1 << 15,        /**< client: the way back (TS-0003 8.2.1) */
    HF_ASSOCIATION_CACHED = 1 << 14,     /**< the session has an ID, and is in the cache */
    HF_ASSOCIATION_CID = 1 << 16, /**< the peer's protected records carry a CID of ours: RFC 9146 */
    HF_ASSOCIATION_RRC = 1 << 17, /**< return routability checks were agreed on: RFC 9853 */
    HF_ASSOCIATION_CID_KEY = 15 << 24, /**< which key of the ring our CID was made with */
};

/** Of one direction, what every cipher needs: see hf_record_key_of(). */
struct hf_cold_key {
    uint8_t fixed_iv[4];
    uint8_t key[16];
};

/** What CBC suites need besides, in a block of their own, so that the others do not pay for it. */
struct hf_mac_keys {
    uint8_t write[32]; /* the pool's link lies in it while the block is free */
    uint8_t read[32];
};

/**
 * The cold record: all that an idle association costs, besides its identity and one table slot.
 * Raw keys, not expanded contexts: the AES schedule takes 0.04 us to make again.
 */
struct hf_association {
    struct hf_timer timer; /* first: the pool's link lies in it while the record is free */
    uint32_t generation;
    uint8_t state;
    uint8_t listener_index;
    uint16_t suite;
    uint32_t flags;
    uint8_t framework;
    uint8_t entity_kind;
    uint16_t suid;
    uint16_t plaintext_len_max; /**< most we send in a record */
    uint16_t receive_len_max;   /**< most the peer may send in a record */
    uint8_t warnings;           /**< warning alerts and empty records in a row */
    uint8_t quota_index;        /**< whose share it uses up */
    uint16_t session_until;     /**< when the session ends: resume.c */
    uint8_t leaving;            /**< enum hf_leave that waits for room for its event, or 0 */
    uint8_t cipher;             /**< enum hf_cipher: of both directions */
    uint16_t trial_tokens;      /**< DTLS: failing decryptions still allowed */
    uint32_t mac_keys;          /**< block index, or HF_NONE */
    uint32_t handshake;         /**< slot index, or HF_NONE */
    uint32_t identity;          /**< head of a chain of identity blocks, or HF_NONE */
    uint32_t expires_s;
    uint32_t heard_tick;     /**< when the peer was last heard */
    uint32_t opened_tick;    /**< when it was established */
    struct hf_path_key path; /**< DTLS; for TLS too, for logs */
    uint64_t context;
    uint64_t write_seq; /**< DTLS: epoch in the top 16 bits */
    uint64_t read_seq;  /**< TLS: next; DTLS: highest received in epoch 1 */
    union {
        struct {
            uint64_t window;       /**< bit i is read_seq - i */
            uint32_t successor;    /**< a rebooted client's new handshake (RFC 6347 4.2.8) */
            uint32_t cid;          /**< slot of the peer's CID and a change of path, or HF_NONE */
            uint32_t epoch0_seq;   /**< next record number of epoch 0, for CCS sent again */
            uint32_t trial_tick;   /**< when trial_tokens was last topped up */
            uint32_t forgeries;    /**< records that did not authenticate */
            uint16_t finished_seq; /**< message_seq of the peer's Finished */
            uint16_t reply_seq;    /**< message_seq of ours */
        } datagram;
        struct {
            uint64_t user;
            uint32_t buffer;                     /**< holds a partial record, or HF_NONE */
            uint32_t waiting_next, waiting_prev; /**< line of those that wait for a buffer */
            uint16_t local_port; /**< client: one of many, so it is not interned with the address */
        } stream;
    };
    struct hf_cold_key write_key;
    struct hf_cold_key read_key;
    uint8_t master_secret[HF_MASTER_SECRET_LEN];
    uint8_t client_random[HF_RANDOM_LEN];
    uint8_t server_random[HF_RANDOM_LEN];
    uint8_t verify_data[HF_VERIFY_DATA_LEN]; /**< of our Finished, to send it again */
};

_Static_assert(sizeof(struct hf_association) <= 312, "an idle association costs too much");

/** What both hellos together amount to. */
struct hf_terms {
    uint16_t suite;
    bool is_ems, is_etm, is_secure_renegotiation;
    uint8_t max_fragment_code;  /**< RFC 6066 4, 0: none */
    uint16_t record_size_limit; /**< RFC 8449, 0: none */
    uint8_t authority_index;
    bool is_ticket_following; /**< RFC 5077: a NewSessionTicket will be sent */
    bool is_name_known;       /**< an authority has it: RFC 6066 3 has us say so */
    bool has_point_formats;   /**< offered with a suite that uses curves (RFC 8422 5.2) */
    bool has_server_type;     /**< RFC 7250: negotiated, and so is what follows */
    bool has_client_type;
    bool is_server_raw;
    bool is_client_raw;
    bool has_cid;        /**< RFC 9146: both hellos have the extension */
    bool has_rrc;        /**< RFC 9853 */
    uint8_t own_cid_len; /**< 0: the peer's records have none */
    uint8_t own_cid[HF_CID_LEN_MAX];
    uint8_t peer_cid_len; /**< 0: ours have none */
    uint8_t peer_cid[HF_CID_LEN_MAX];
    uint8_t session_id_len; /**< 0: a session that cannot be resumed by its ID */
    uint8_t session_id[32];
    uint8_t server_name_len;
    uint8_t server_name[255];
};

#define HF_RANGES_MAX 32
#define HF_FLIGHT_LEN_MAX 768

/** A message being put together (DTLS: from fragments; TLS: from records). */
struct hf_assembly {
    uint32_t len;      /**< of the message's body */
    uint32_t received; /**< TLS: bytes so far, header included */
    uint8_t type;
    uint8_t range_count; /**< DTLS: 0 when nothing is under way */
    struct hf_range {
        uint32_t begin, end;
    } ranges[HF_RANGES_MAX];
};

/** What a handshake waits for from outside. */
enum hf_pending {
    HF_PENDING_NONE = 0,
    HF_PENDING_KEY,
    HF_PENDING_SESSION,
    HF_PENDING_IDENTITY,
    HF_PENDING_JOB,
};

/** A half-open handshake. The variable parts follow at offsets of struct hf_engine. */
struct hf_handshake {
    uint32_t next_free;
    uint32_t generation;
    uint32_t association;
    uint32_t predecessor; /**< DTLS: the open association this one is to replace, or HF_NONE */
    uint32_t seq;         /**< counts operations: the third part of a ticket */
    uint64_t begun_us;
    uint64_t deadline_us;
    uint64_t answer_deadline_us;
    uint64_t retransmit_us;    /**< when; UINT64_MAX: not armed */
    uint64_t retransmit_after; /**< the current interval */
    struct hf_sha256 transcript;
    uint8_t session_hash[HF_SHA256_LEN];
    struct hf_hmac_key master; /**< the master secret, pads hashed */
    struct hf_terms terms;
    struct hf_assembly assembly;
    struct hf_failure failure; /**< first thing that went wrong, if it did not end it */
    uint16_t receive_seq;      /**< DTLS: message_seq expected next */
    uint16_t send_seq;         /**< DTLS: message_seq of our next message */
    uint16_t identity_len;
    uint16_t flight_len;
    uint32_t kept_len;    /**< TLS: bytes held back; DTLS: early records */
    uint32_t prefix_cell; /**< which counter of half-open per prefix to give back */
    uint32_t spoiled_next, spoiled_prev;
    uint32_t proof;                 /**< slot of a certificate handshake, or HF_NONE */
    struct hf_credential *own_x509; /**< client: shown instead of the dialer's; or NULL */
    uint8_t way;                    /**< enum hf_way */
    uint8_t pending;                /**< enum hf_pending */
    uint16_t unproven_len; /**< the hello's length if it came without a cookie: nobody has shown yet
                                that it receives what we send; otherwise 0 */
    bool is_cookieless;    /**< the hello came without, and was let in: greet.c */
    bool is_answered;
    bool is_queued;  /**< in the ring of answers to take; outlives the handshake in its slot */
    bool is_spoiled; /**< a protected record did not authenticate */
    uint8_t answer_kind;
    enum hf_status refusal; /**< server: why the key is a decoy; HF_OK: it is not */
    bool is_identity_following;
    uint16_t session_len;    /**< client: of the session offered, packed; 0: none */
    uint16_t ticket_len;     /**< client: of the ticket offered, then of the one received */
    uint32_t ticket_life_s;  /**< client: as the server said; 0: it did not */
    bool is_recalled;        /**< client: the server has taken up the session */
    uint8_t flavour;         /**< client: of the server's credential, or HF_FLAVOUR_NONE */
    bool is_named;           /**< client: it was said who must answer */
    bool is_misnamed;        /**< client: the key is not that entity's */
    uint8_t verify_count;    /**< client: HelloVerifyRequests taken */
    struct hf_secret secret; /**< as answered */
    uint8_t flight[HF_FLIGHT_LEN_MAX];
};

/** Offsets of a slot's variable parts, from the slot's beginning. */
struct hf_slot_layout {
    size_t identity; /**< identity_len_max bytes */
    size_t message;  /**< message_len_max + 4 bytes: assembly */
    size_t kept;     /**< kept_max bytes: struct hf_handshake.kept_len of them in use */
    size_t kept_max;
    size_t session; /**< with dialers only: recall.c */
    size_t stride;
};

#define HF_PREFIX_CELLS 4096
#define HF_SMALL_IDENTITIES 2  /* pools of blocks that hold one identity each */
#define HF_SERVER_NAME_MAX 256 /* with its NUL */

/** What is left of a quota's rate. */
struct hf_quota_bucket {
    uint32_t tokens;
    uint32_t tick; /**< when it was last topped up */
};

struct hf_engine {
    struct hf_config config;
    struct hf_listener listeners[HF_LISTENERS_MAX];
    struct hf_dialer dialers[HF_DIALERS_MAX];
    struct hf_key_source source;
    uint8_t first_rows[HF_STATE_COUNT + 1]; /**< of the machine's table, by state */
    uint64_t now_us;
    int64_t wall_s;
    uint32_t now_tick;
    uint8_t *memory;
    size_t memory_len;
    bool is_draining;  /**< strangers are turned away */
    bool is_importing; /**< between hf_engine_import_begin() and _end() */
    uint32_t import_left_out;
    uint64_t import_records, import_us; /**< sent and passed since what is imported was written */
    uint64_t records_out_max;           /**< of counters.records_out, for datagrams */

    struct hf_pool associations;
    struct hf_pool handshakes;
    struct hf_pool proofs;
    struct hf_pool identities;
    struct hf_pool small_identities[HF_SMALL_IDENTITIES];
    struct hf_pool mac_keys;
    struct hf_pool cids;
    struct hf_pool streams;
    struct hf_slot_layout slot;
    struct hf_table table;
    struct hf_wheel wheel;
    struct hf_outbox outbox;

    uint8_t *early; /**< within an answer's step: records kept until the association is open */
    uint32_t early_len;

    uint32_t *answers; /**< ring of handshake slots with an answer to take */
    uint32_t answers_head, answers_count, answers_max;
    uint32_t *jobs; /**< ring of proof slots whose job is to be taken */
    uint32_t jobs_head, jobs_count;
    struct hf_listener_authority *authorities; /**< HF_LISTENER_AUTHORITIES_MAX for each listener */
    char *server_names;                        /**< HF_SERVER_NAME_MAX for each of them */
    uint32_t *streams_spent;                   /**< stream buffers whose views die with the turn */
    uint32_t streams_spent_count;
    uint32_t waiting_head, waiting_tail; /**< associations that wait for a stream buffer */
    uint32_t spoiled_head, spoiled_tail; /**< half-open handshakes to sacrifice first */
    struct hf_address *locals;
    uint32_t local_count;
    uint32_t *prefix_cells;
    struct hf_quota quotas[HF_QUOTAS_MAX];
    struct hf_quota_bucket quota_buckets[HF_QUOTAS_MAX];
    uint32_t resting_head, resting_tail; /**< free records that must not be used yet */
    uint32_t evict_index; /**< where the next search for a long silent association begins */
    uint32_t rearm_index; /**< up to here timers go by the present idle limit; HF_NONE: all do */

    uint64_t siphash_key[2];
    struct hf_secrets secrets;
    struct hf_cid_keys cid_keys;
    struct hf_hmac_key decoy_key;
    struct hf_counters counters;
};

static inline struct hf_association *hf_association_at(const struct hf_engine *engine,
                                                       uint32_t index)
{
    return hf_pool_at(&engine->associations, index);
}

static inline struct hf_handshake *hf_handshake_at(const struct hf_engine *engine, uint32_t index)
{
    return hf_pool_at(&engine->handshakes, index);
}

/** hf_handshake_of gives the association's handshake slot, NULL when it has none. */
static inline struct hf_handshake *hf_handshake_of(const struct hf_engine *engine,
                                                   const struct hf_association *association)
{
    return association->handshake == HF_NONE ? NULL
                                             : hf_handshake_at(engine, association->handshake);
}

static inline bool hf_is_datagram(const struct hf_association *association)
{
    return association->flags & HF_ASSOCIATION_DATAGRAM;
}

static inline bool hf_is_client(const struct hf_association *association)
{
    return association->flags & HF_ASSOCIATION_CLIENT;
}

/** hf_listener_of gives the listener of an association that came to us. */
static inline const struct hf_listener *hf_listener_of(const struct hf_engine *engine,
                                                       const struct hf_association *association)
{
    return &engine->listeners[association->listener_index];
}

/** hf_dialer_of gives the dialer of an association that we began. */
static inline const struct hf_dialer *hf_dialer_of(const struct hf_engine *engine,
                                                   const struct hf_association *association)
{
    return &engine->dialers[association->listener_index];
}

/** hf_shown_x509 gives the certificate a client shows, if it has one. */
static inline const struct hf_credential *hf_shown_x509(const struct hf_handshake *handshake,
                                                        const struct hf_dialer *dialer)
{
    return handshake->own_x509 ? handshake->own_x509 : dialer->x509;
}

/** hf_datagram_len_max gives the UDP payload that handshakes of this association keep to. */
static inline size_t hf_datagram_len_max(const struct hf_engine *engine,
                                         const struct hf_association *association)
{
    return hf_is_client(association) ? hf_dialer_of(engine, association)->datagram_len_max
                                     : hf_listener_of(engine, association)->datagram_len_max;
}

static inline void hf_drop_count(struct hf_engine *engine, enum hf_drop drop)
{
    engine->counters.drops[drop]++;
}

static inline uint16_t hf_wire_version(const struct hf_association *association)
{
    return hf_is_datagram(association) ? HF_VERSION_DTLS_1_2 : HF_VERSION_TLS_1_2;
}

#endif
