/**
 * engine.h - the sans-I/O handshake and record engine: bytes and time in; bytes, events and
 * requests out. One engine is one shard: one thread at a time, no locks, no sockets, no clock.
 *
 * A turn:
 *     hf_engine_begin_turn(engine, now_us, wall_s);             timers fire
 *     hf_engine_receive_datagram() / _receive_stream() ...      records are opened in place
 *     hf_engine_answer() ...                                    key answers are queued
 *     hf_engine_end_turn(engine);                               answers are taken
 *     hf_engine_run_jobs(engine);                               signatures, key shares, chains
 *     while (hf_engine_take_event(engine, &event)) ...          the embedder may send here
 *     while (hf_engine_take_output(engine, &output)) ...        hand to the network
 * Input buffers must stay valid and unmodified until the turn's events have been taken.
 */
#ifndef HANDFAST_ENGINE_H
#define HANDFAST_ENGINE_H

#include <handfast/config.h>
#include <handfast/job.h>
#include <handfast/keysource.h>

HF_BEGIN_DECLS

/** The most application bytes hf_engine_send() takes at once on TLS (RFC 5246 6.2.1). */
#define HF_STREAM_CHUNK_MAX 16384

/** hf_engine_open maps all memory the engine will ever use and copies `config` and `source`.
 *  Errors: HF_E_CONFIG, HF_E_MEMORY, HF_E_ARGUMENT (no source), HF_E_CRYPTO_LIBRARY (the process
 *  has OpenSSL's libcrypto in front of BoringSSL's: docs/EMBEDDING.md). */
HF_API HF_MUST_USE enum hf_status hf_engine_open(struct hf_engine **out,
                                                 const struct hf_config *config,
                                                 const struct hf_key_source *source);

/** hf_engine_close wipes every secret and unmaps. Sends nothing; NULL is allowed. */
HF_API void hf_engine_close(struct hf_engine *engine);

/** hf_engine_set_secrets takes other shared secrets into use, for cookies and tickets to come;
 *  those made with secrets that are no longer among them are not accepted any more. Copies. */
HF_API void hf_engine_set_secrets(struct hf_engine *engine,
                                  const struct hf_shared_secrets *secrets);

/** hf_engine_begin_turn sets the times and fires timers. `now_us` is monotonic and must not
 *  decrease; `wall_s` is UTC and is used for validity only: a jump fires no timer. */
HF_API void hf_engine_begin_turn(struct hf_engine *engine, uint64_t now_us, int64_t wall_s);

/** hf_engine_end_turn takes the queued answers in order. */
HF_API void hf_engine_end_turn(struct hf_engine *engine);

/** hf_engine_next_us gives the time by which the next turn should begin; UINT64_MAX: none. It may
 *  be early (a turn with nothing to do is harmless), never late by more than 10 ms. */
HF_API uint64_t hf_engine_next_us(const struct hf_engine *engine);

/** One datagram. `data` is decrypted in place. */
struct hf_datagram {
    struct hf_path path;
    uint32_t listener_index; /**< whose socket it came to; `is_client`: a dialer's index */
    bool is_client; /**< the socket is for dialling only: a ClientHello has no business there */
    uint8_t ecn;    /**< the two ECN bits as received; handed through to HF_EVENT_DATA */
    uint8_t *data;
    size_t len;
};

/** hf_engine_receive_datagram takes one UDP payload. Bad input is dropped and counted: there is
 *  nothing for the caller to do about it. Returns HF_OK, or HF_WAITING when the event queue or
 *  the output is full: take them, then call again with the same datagram, or drop it.
 *  Errors: HF_E_ARGUMENT (no DTLS listener, or dialer, of that index). */
HF_API enum hf_status hf_engine_receive_datagram(struct hf_engine *engine,
                                                 struct hf_datagram *datagram);

/** hf_engine_datagram_shard gives the shard_index of the engine that a datagram is for: the one
 *  its connection ID names, `engine`'s own when it has none of this node's. Checks no more than
 *  that. Thread: any. */
HF_API uint32_t hf_engine_datagram_shard(const struct hf_engine *engine, const uint8_t *data,
                                         size_t len);

/** hf_engine_accept begins a TLS association for a connection that was just accepted.
 *  `user` comes back in every event and output; `path` tells prefixes apart and comes back in
 *  events. Errors: HF_WAITING (events or output full: next turn). HF_E_ASSOCIATION_LIMIT,
 *  HF_E_AUTHORITY_LIMIT,
 *  HF_E_HANDSHAKE_LIMIT, HF_E_PREFIX_LIMIT: close the connection. HF_E_ARGUMENT (no TLS listener
 *  of that index). */
HF_API HF_MUST_USE enum hf_status hf_engine_accept(hf_association_id *out, struct hf_engine *engine,
                                                   uint32_t listener_index,
                                                   const struct hf_path *path, uint64_t user);

struct hf_pair;

/** An association to begin as (D)TLS client. Views are copied. */
struct hf_connect {
    uint32_t dialer_index;
    struct hf_path path;          /**< DTLS: `local` as hf_datagram.path.local will say it */
    uint64_t user;                /**< TLS: as for hf_engine_accept(); DTLS: not kept */
    struct hf_bytes server_name;  /**< SNI, sent in lower case; at most 255 bytes; empty: none */
    struct hf_bytes psk_identity; /**< sent as it is; at most identity_len_max. Empty: no suites
                                       with pre-shared keys are offered */
    enum hf_flavour flavour;      /**< of the server's certificate or raw key (TS-0003 8.1.2.3);
                                       NONE: any that the dialer's trust accepts */
    struct hf_bytes entity_id;    /**< who must answer: the CSE-ID of Entity B, or the FQDN of a MAF
                                       (TS-0003 8.2.1, 8.1.2); empty: whom the key source or, with
                                       flavour NONE or RAW, the certificate names */
    /** SA2: the registration this association belongs to (handfast/pair.h). It has to be there, the
     *  credential in date, the dialer of its reference point; the peer must prove the same entity
     *  and credential as by SA1. `entity_id` is the pair's then. NULL: an SA1 of our own. */
    const struct hf_pair *pair;
    /** A session to resume, as HF_EVENT_SESSION gave it for such an order; one that does not fit,
     *  or no longer, is passed over. Empty: none. Secret. */
    struct hf_bytes session;
    /** Shown instead of the dialer's certificate, which there must be: many who dial alike, each as
     *  himself. A reference is taken until the handshake has ended. NULL: the dialer's. */
    const struct hf_credential *x509;
};

/** hf_engine_connect begins a handshake as client: the ClientHello is output at once. TLS: bytes of
 *  the connection come and go as after hf_engine_accept(). The key source is asked for the key of
 *  `psk_identity` when the server's hello is there; its answer's entity must be `entity_id` if both
 *  say one. Errors: HF_WAITING (events or output full: next turn). HF_E_ASSOCIATION_LIMIT,
 *  HF_E_HANDSHAKE_LIMIT. HF_E_STATE (DTLS: there is an association on this path; or the pair is not
 *  registered). HF_E_CREDENTIAL_EXPIRED (the pair's). HF_E_IDENTITY_REFUSED (`entity_id` is not the
 *  pair's). HF_E_ARGUMENT. */
HF_API HF_MUST_USE enum hf_status hf_engine_connect(hf_association_id *out,
                                                    struct hf_engine *engine,
                                                    const struct hf_connect *connect);

/** hf_engine_receive_stream takes bytes of a TLS connection, decrypted in place.
 *  Out: `*consumed`, normally `len`. Less with HF_WAITING: keep the rest, stop reading, and call
 *  again with it after HF_EVENT_READABLE (or, if the events or output were full, which
 *  hf_engine_has_event_room() tells, after taking them). Errors: HF_E_STALE when the association
 *  is gone. */
HF_API enum hf_status hf_engine_receive_stream(struct hf_engine *engine, size_t *consumed,
                                               hf_association_id association, uint8_t *data,
                                               size_t len);

/** hf_engine_receive_end says that the peer will send no more: end of stream, or a reset. */
HF_API void hf_engine_receive_end(struct hf_engine *engine, hf_association_id association);

/** hf_engine_send seals application bytes. TLS: at most HF_STREAM_CHUNK_MAX per call, split into
 *  records as negotiated. DTLS: one record in one datagram. All or nothing.
 *  Errors: HF_WAITING (output full: next turn), HF_E_STALE, HF_E_STATE (not established, or the
 *  sending side is closed), HF_E_TOO_LONG. HF_E_SEQUENCE_LIMIT, HF_E_CREDENTIAL_EXPIRED: it has
 *  ended with this, and HF_EVENT_CLOSED follows. */
HF_API HF_MUST_USE enum hf_status
hf_engine_send(struct hf_engine *engine, hf_association_id association, struct hf_bytes data);

/** How to end an association. */
enum hf_close {
    HF_CLOSE_SILENT = 0, /**< say nothing: a sleeping DTLS device is not woken */
    HF_CLOSE_NOTIFY,     /**< send close_notify, then forget (RFC 5246 7.2.1) */
    HF_CLOSE_WRITE,      /**< send close_notify, go on receiving until the peer's (TLS) */
};

/** hf_engine_close_association ends it, or its sending half. HF_EVENT_CLOSED follows, or for
 *  HF_CLOSE_WRITE once the peer closes too; where the events are full, in a later turn. A stale
 *  handle does nothing. */
HF_API void hf_engine_close_association(struct hf_engine *engine, hf_association_id association,
                                        enum hf_close how);

/** hf_engine_answer answers a request. Returns HF_OK, or HF_E_STALE: nobody waits any more, which
 *  is no error. HF_E_ARGUMENT: a length is out of range; the request still waits. */
HF_API enum hf_status hf_engine_answer(struct hf_engine *engine, struct hf_ticket ticket,
                                       const struct hf_answer *answer);

/** hf_engine_take_jobs gives the crypto jobs that handshakes wait for, oldest first, after taking
 *  the answers that are queued. Each is the caller's until hf_engine_give_job(), which may be in a
 *  later turn and in any order; the engine's own deadline (answer_us_max) ends the wait. Returns
 *  how many: 0 when there is nothing to do. */
HF_API HF_MUST_USE size_t hf_engine_take_jobs(struct hf_engine *engine, struct hf_job **jobs,
                                              size_t jobs_max);

/** hf_engine_give_job gives a job back, done (hf_job_run()) or not: one that is still HF_WAITING
 *  fails with HF_E_SIGNER. It is taken up by the next hf_engine_take_jobs() or
 *  hf_engine_end_turn(). Every job must come back before hf_engine_close(). */
HF_API void hf_engine_give_job(struct hf_engine *engine, struct hf_job *job);

/** hf_engine_run_jobs does both until there are none left: for an embedder whose keys are all
 *  local. Call after hf_engine_end_turn(). */
HF_API void hf_engine_run_jobs(struct hf_engine *engine);

/** Bytes to send. Views are valid until the next hf_engine_begin_turn(). */
struct hf_output {
    hf_association_id association; /**< 0 for a HelloVerifyRequest and other stateless answers */
    uint64_t user;                 /**< TLS: as given to hf_engine_accept() */
    bool is_stream;                /**< TLS bytes, in order; otherwise one datagram on `path` */
    struct hf_path path;           /**< leaves from path.local */
    uint32_t listener_index;       /**< `is_client`: the dialer's index */
    bool is_client;
    uint8_t ecn;
    struct hf_bytes data;
};

/** hf_engine_take_output gives the next output, oldest first; false when there is none. */
HF_API bool hf_engine_take_output(struct hf_engine *engine, struct hf_output *out);

/** The longest session of HF_EVENT_SESSION. */
#define HF_SESSION_MAX 2600

enum hf_event_kind {
    HF_EVENT_ESTABLISHED = 0,  /**< authenticated, identity bound; data may flow both ways */
    HF_EVENT_DATA,             /**< application bytes */
    HF_EVENT_READABLE,         /**< TLS: hf_engine_receive_stream() will take bytes again */
    HF_EVENT_PEER_CLOSED,      /**< TLS: close_notify came; we may still send */
    HF_EVENT_CLOSED,           /**< the association is gone; `failure` says why. TLS: send what
                                    output there is, then close the connection */
    HF_EVENT_HANDSHAKE_FAILED, /**< as HF_EVENT_CLOSED, before it was established */
    HF_EVENT_KEYLOG,           /**< only with hf_config.keylog */
    HF_EVENT_MOVED,            /**< DTLS: the peer's address has changed; `path` is the new one */
    HF_EVENT_SESSION, /**< client, right behind ESTABLISHED: `data` is a session for hf_connect, of
                           at most HF_SESSION_MAX bytes: opaque, secret, good as long as it lasts */
};

/** The first failure of an association, and where the state machine stood. */
struct hf_failure {
    enum hf_status status;
    uint8_t alert;      /**< sent, or for HF_E_PEER_ALERT received; else HF_ALERT_NONE */
    const char *state;  /**< static text: docs/STATE-MACHINE.md */
    const char *event;  /**< static text */
    const char *clause; /**< static text: the clause of the row that refused, or "" */
};

#define HF_EVENT_IDENTITY_MAX 128

struct hf_event {
    enum hf_event_kind kind;
    hf_association_id association;
    uint64_t user;               /**< TLS: as given to hf_engine_accept() */
    uint64_t context;            /**< as given in the key source's answer */
    uint32_t listener_index;     /**< `is_client`: the dialer's index */
    bool is_client;              /**< we dialled: hf_engine_connect() */
    enum hf_framework framework; /**< as far as it has come: HF_FRAMEWORK_NONE before the hello */
    uint8_t ecn;                 /**< HF_EVENT_DATA on DTLS */
    struct hf_bytes data;        /**< HF_EVENT_DATA, _SESSION: valid until the next turn begins */
    struct hf_path path;         /**< of the association */
    struct hf_failure failure;   /**< HF_EVENT_CLOSED, HF_EVENT_HANDSHAKE_FAILED */
    uint8_t psk_identity[HF_EVENT_IDENTITY_MAX]; /**< HANDSHAKE_FAILED: its first octets */
    uint16_t psk_identity_len;                   /**< octets in the field above */
    uint8_t client_random[32];                   /**< HF_EVENT_KEYLOG */
    uint8_t master_secret[48];                   /**< HF_EVENT_KEYLOG; wipe after use */
};

/** hf_engine_take_event gives the next event, oldest first; false when there is none. */
HF_API bool hf_engine_take_event(struct hf_engine *engine, struct hf_event *out);

/** hf_engine_has_event_room tells whether there is room for what input may cause, events and output
 *  alike; without it input is refused with HF_WAITING. */
HF_API bool hf_engine_has_event_room(const struct hf_engine *engine);

#define HF_CONNECTION_ID_MAX 32

/** What the engine hands to the CSE (TS-0003 8.2.1). */
struct hf_association_info {
    enum hf_entity_kind entity_kind;
    enum hf_framework framework;
    enum hf_reference_point reference_point;
    enum hf_transport transport;
    bool established;
    bool is_client; /**< we are the (D)TLS client */
    bool is_sa2;    /**< false: SA1, Entity A is the (D)TLS client (TS-0003 8.2.1) */
    uint16_t suite;
    bool is_resumed; /**< the peer was authenticated in an earlier association */
    bool extended_master_secret;
    bool encrypt_then_mac;
    uint16_t suid;
    int64_t expires_s;
    uint64_t context;
    uint32_t listener_index;    /**< `is_client`: the dialer's index */
    uint16_t plaintext_len_max; /**< most bytes of one record we send (RFC 8449, RFC 6066 4) */
    struct hf_path path;
    bool is_path_checked;        /**< the peer is known to receive there: handshake, or RFC 9853 */
    bool is_path_checking;       /**< records come from another address, which is being checked */
    bool has_return_routability; /**< RFC 9853 was agreed on */
    uint8_t own_cid_len, peer_cid_len;
    uint8_t own_cid[HF_CONNECTION_ID_MAX];  /**< in what the peer sends */
    uint8_t peer_cid[HF_CONNECTION_ID_MAX]; /**< in what we send */
    uint16_t entity_id_len;
    uint16_t credential_id_len;
    uint16_t server_name_len;
    char entity_id[HF_ENTITY_ID_MAX + 1];         /**< NUL-terminated */
    char credential_id[HF_CREDENTIAL_ID_MAX + 1]; /**< NUL-terminated; may hold other NULs */
    char server_name[256];                        /**< SNI, lower case, NUL-terminated */
};

/** hf_engine_association_info copies out what is known. Errors: HF_E_STALE. */
HF_API HF_MUST_USE enum hf_status hf_engine_association_info(struct hf_association_info *out,
                                                             const struct hf_engine *engine,
                                                             hf_association_id association);

/** One live association, in brief: what a walk over all of them needs. */
struct hf_association_entry {
    hf_association_id association;
    uint64_t context;        /**< as given in the key source's answer; 0 before it */
    uint32_t listener_index; /**< `is_client`: the dialer's index */
    bool is_client;
    bool established;
};

/** hf_engine_association_slots gives how many records were ever used: where a walk ends. */
HF_API uint32_t hf_engine_association_slots(const struct hf_engine *engine);

/** hf_engine_next_association goes on with a walk over all live associations, half-open ones too,
 *  in the order of their records. In: `*cursor`, 0 to begin with; looks at records below
 *  `cursor_end` only, so that a walk of many can be cut into turns. Out: `*cursor` is behind what
 *  was found; false when there is none below `cursor_end`. An association that begins during a walk
 *  may be missed; the walk may end the ones it finds. Cost: 5 ns a record, one cache miss. */
HF_API bool hf_engine_next_association(struct hf_association_entry *out, uint32_t *cursor,
                                       const struct hf_engine *engine, uint32_t cursor_end);

/** hf_engine_end_unfit ends established associations whose credential has expired, or is revoked or
 *  no longer pinned by what their listener trusts now (hf_engine_update_listener()). Walks as
 *  hf_engine_next_association() does, records below `cursor_end`, and stops after `ends_max`: so
 *  many a call is as fast as peers come back. Returns how many it has ended; `*cursor` is below
 *  `cursor_end` when there is more to do. Cost: 5 ns a record, 0.2 us one with a certificate. */
HF_API uint32_t hf_engine_end_unfit(struct hf_engine *engine, uint32_t *cursor, uint32_t cursor_end,
                                    uint32_t ends_max);

/** hf_engine_drain, with true, has the engine begin no new association with whoever comes: a
 *  ClientHello with a good cookie is dropped, a rebooted client's too; for TLS the embedder accepts
 *  no more. Handshakes under way go on. False: as before. */
HF_API void hf_engine_drain(struct hf_engine *engine, bool is_draining);

/** hf_engine_update_listener replaces what a listener offers: for handshakes whose ClientHello is
 *  still to come. Errors: HF_E_ARGUMENT (no such listener, or another transport), HF_E_CONFIG. */
HF_API HF_MUST_USE enum hf_status hf_engine_update_listener(struct hf_engine *engine,
                                                            uint32_t listener_index,
                                                            const struct hf_listener *listener);

/** hf_engine_update_dialer replaces what a dialer offers: for associations not yet begun. Errors as
 *  hf_engine_update_listener(). */
HF_API HF_MUST_USE enum hf_status hf_engine_update_dialer(struct hf_engine *engine,
                                                          uint32_t dialer_index,
                                                          const struct hf_dialer *dialer);

/** hf_engine_update_limits takes over what needs no memory: hello_us_max, handshake_us_max,
 *  answer_us_max, record_us_max, idle_us_max, age_us_max, evict_us_min, both of retransmit,
 *  handshakes_pressure, handshakes_per_prefix_max, and the quotas, as many as before. Handshakes
 *  under way keep the deadlines they have; limits of idleness and age hold for all associations
 *  within a few turns. Everything else in `config` is judged and ignored. Errors: HF_E_CONFIG;
 *  HF_E_ARGUMENT (another number of quotas). */
HF_API HF_MUST_USE enum hf_status hf_engine_update_limits(struct hf_engine *engine,
                                                          const struct hf_config *config);

/** hf_engine_export derives keying material (RFC 5705; TS-0003 10.3.1). No context is not the same
 *  as an empty one: `context` NULL means none. In: `label` without NUL, at most 64 bytes; `out_len`
 *  at most 256; context at most 256. Errors: HF_E_STALE, HF_E_STATE (not established, or no
 *  extended master secret: RFC 7627 5.4, hf_config.export_without_extended_master_secret),
 *  HF_E_ARGUMENT. */
HF_API HF_MUST_USE enum hf_status hf_engine_export(uint8_t *out, size_t out_len,
                                                   const struct hf_engine *engine,
                                                   hf_association_id association,
                                                   struct hf_bytes label,
                                                   const struct hf_bytes *context);

/* X(name, label, text): why input was discarded. `label` appears in handfast_drops_total{cause};
 * `text` is for people. docs/ERRORS.md comes from this list. */
#define HF_DROP_MAP(X)                                                                             \
    X(EMPTY, "empty", "a datagram without a whole record header")                                  \
    X(TRUNCATED, "truncated", "a record longer than its datagram")                                 \
    X(RECORD_TYPE, "record_type", "unknown content type, or not allowed here")                     \
    X(RECORD_VERSION, "record_version", "not 0xFEFD (or 0xFEFF on a hello)")                       \
    X(RECORD_LENGTH, "record_length", "longer than allowed, or too short for its suite")           \
    X(EPOCH, "epoch", "an epoch that is not the current one")                                      \
    X(REPLAY, "replay", "seen before, or left of the window")                                      \
    X(TRIAL_RATE, "trial_rate", "too many failing decryptions lately")                             \
    X(UNAUTHENTIC, "unauthentic", "the record did not authenticate")                               \
    X(NO_ASSOCIATION, "no_association", "from a stranger, and no ClientHello")                     \
    X(HELLO_MALFORMED, "hello_malformed", "a first ClientHello that does not parse")               \
    X(COOKIE, "cookie", "a wrong or outdated cookie: a new one was sent")                          \
    X(HANDSHAKE_LIMIT, "handshake_limit", "all handshake slots are taken")                         \
    X(PREFIX_LIMIT, "prefix_limit", "too many half-open from this prefix")                         \
    X(ASSOCIATION_LIMIT, "association_limit", "all association slots are taken")                   \
    X(AUTHORITY_LIMIT, "authority_limit", "the authority has used up its share")                   \
    X(RESTART_RATE, "restart_rate", "a peer that begins again too often")                          \
    X(FRAGMENT, "fragment", "malformed, inconsistent or oversize fragment")                        \
    X(MESSAGE_SEQ, "message_seq", "already had, or too far ahead")                                 \
    X(DEFERRED_FULL, "deferred_full", "no room to keep an early record")                           \
    X(ALERT_UNPROTECTED, "alert_unprotected", "an alert in epoch 0")                               \
    X(UNEXPECTED, "unexpected", "no row of the state machine for it")                              \
    X(MALFORMED, "malformed", "an authenticated record with nonsense inside")                      \
    X(RATE, "rate", "a repeat that was already answered")                                          \
    X(CID, "cid", "a connection ID that is not ours, or of nobody who is here")                    \
    X(CID_MISSING, "cid_missing", "without the connection ID that was agreed on")                  \
    X(LOCAL_ADDRESS, "local_address", "more local addresses than configured")                      \
    X(DRAINING, "draining", "a hello while no new associations are begun")                         \
    X(NO_ROOM, "no_room", "events or output full")

enum hf_drop {
#define HF_DROP_ENUM(name, label, text) HF_DROP_##name,
    HF_DROP_MAP(HF_DROP_ENUM)
#undef HF_DROP_ENUM
        HF_DROP_COUNT,
};

/** hf_drop_label gives the metric label, never NULL. */
HF_API const char *hf_drop_label(enum hf_drop drop);

/** What a quota was used for. */
struct hf_quota_counters {
    uint64_t refused_associations, refused_handshakes, refused_rate; /**< by which limit */
    uint32_t associations, handshakes; /**< gauges, as the limits of these names count */
};

/** Counters since the engine was opened, and gauges of now. */
struct hf_counters {
    uint64_t drops[HF_DROP_COUNT];
    uint64_t handshakes[HF_STATUS_COUNT]; /**< ended, by status; HF_OK: established */
    uint64_t closes[HF_STATUS_COUNT];     /**< established associations ended, by status */
    uint64_t cookies_sent;                /**< HelloVerifyRequest */
    uint64_t cookies_waived;              /**< handshakes begun without (hf_listener) */
    uint64_t retransmissions;             /**< flights sent again */
    uint64_t final_flights_again;         /**< answered from the cold record (RFC 6347 4.2.4) */
    uint64_t records_in, records_out;     /**< protected records */
    uint64_t data_in_len, data_out_len;   /**< application bytes */
    uint64_t datagrams_in, datagrams_out;
    uint64_t requests, answers, answers_stale;
    uint64_t jobs, jobs_stale;   /**< crypto jobs taken, and given back too late */
    uint64_t cids;               /**< established with connection IDs (RFC 9146) */
    uint64_t paths_seen;         /**< newest records from an address that is not the peer's */
    uint64_t paths_checked;      /**< checks begun (RFC 9853) */
    uint64_t paths_moved;        /**< addresses changed */
    uint64_t paths_kept;         /**< checks that found the peer where it was */
    uint64_t paths_failed;       /**< checks nobody answered: the address stays */
    uint64_t paths_refused;      /**< addresses not taken: not the newest record, or by policy */
    uint64_t paths_displaced;    /**< CID associations whose address another has been found at */
    uint64_t paths_aside;        /**< addresses changed to one where somebody without CID is */
    uint64_t datagrams_withheld; /**< beyond what an unchecked address is sent */
    uint64_t resumed;            /**< of the handshakes that ended with HF_OK */
    uint64_t restarts;           /**< associations replaced by a rebooted client (RFC 6347 4.2.8) */
    struct hf_quota_counters quotas[HF_QUOTAS_MAX];
    /* Gauges */
    uint32_t associations;    /**< established */
    uint32_t handshakes_open; /**< half-open slots in use */
    uint32_t parked;          /**< waiting for a key source */
    uint32_t proofs_open;     /**< slots of certificate handshakes in use */
    uint32_t events_pending;
    uint32_t stream_buffers; /**< in use */
    uint64_t memory_len;     /**< bytes mapped */
};

/** hf_engine_counters copies the counters out. Thread: the engine's own. */
HF_API void hf_engine_counters(struct hf_counters *out, const struct hf_engine *engine);

HF_END_DECLS
#endif
