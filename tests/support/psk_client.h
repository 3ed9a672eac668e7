/**
 * psk_client.h - a lean TLS 1.2 / DTLS 1.2 client with pre-shared keys, certificates or raw public
 * keys, sans-I/O, for tests and load. It is not the engine and shares only crypto/ with it, so that
 * the two check each other; it can also be told to misbehave. One client is one association; no
 * allocation; plain structs that may be copied.
 *
 * Use: fill a psk_client_config (zero is a sensible value for everything but identity, psk, suites
 * and work), init, start; then hand in what arrives and tick when psk_client_next_us() says so.
 */
#ifndef HF_TEST_PSK_CLIENT_H
#define HF_TEST_PSK_CLIENT_H

#include "crypto.h"

#include <handfast/job.h>

#define PSK_CLIENT_INPUT_MAX 18944  /**< one TLS record with room to spare */
#define PSK_CLIENT_MESSAGE_MAX 4608 /**< the longest handshake message taken */
#define PSK_CLIENT_SLOTS 4          /**< messages that may be in reassembly at once */
#define PSK_CLIENT_DEFERRED_MAX 512 /**< bytes of records kept that overtook ChangeCipherSpec */
#define PSK_CLIENT_RECORD_MAX (13 + 16384 + HF_RECORD_EXPANSION_MAX + HF_CID_LEN_MAX + 256)

enum psk_client_state {
    PSK_CLIENT_NEW,
    PSK_CLIENT_AWAIT_HELLO, /**< HelloVerifyRequest or ServerHello .. ServerHelloDone */
    PSK_CLIENT_AWAIT_FINISHED,
    PSK_CLIENT_OPEN,
    PSK_CLIENT_CLOSED, /**< close_notify received, or sent by us */
    PSK_CLIENT_FAILED, /**< `alert` received, or `why` */
};

enum psk_client_renegotiation {
    PSK_CLIENT_RENEGOTIATION_SCSV,
    PSK_CLIENT_RENEGOTIATION_EXTENSION,
    PSK_CLIENT_RENEGOTIATION_NONE,
};

/** What a tamper callback is looking at. */
enum psk_client_tamper_kind {
    PSK_CLIENT_TAMPER_MESSAGE, /**< type (1), length (3), body; before it enters the transcript */
    PSK_CLIENT_TAMPER_RECORD,  /**< whole record as it goes on the wire, after protection */
};

enum psk_client_verdict {
    PSK_CLIENT_SEND,
    PSK_CLIENT_SKIP,
};

/** Called on everything that is about to be sent; may change `data` and `*len` (up to `max`).
 *  `type`: of the handshake message, or the record's content type. Retransmissions come here again;
 *  only the first sending of a message enters the transcript (a skipped one does not). */
typedef enum psk_client_verdict psk_client_tamper(enum psk_client_tamper_kind kind, uint8_t type,
                                                  uint8_t *data, size_t *len, size_t max,
                                                  void *arg);

/** Buffers needed until the handshake is over (TLS: until the end). The caller owns them. An open
 *  DTLS client no longer touches its own, so they may serve the next one. No need to clear. */
struct psk_client_work {
    uint32_t stream_len;
    uint16_t deferred_len;
    uint8_t cookie_len;
    uint8_t cookie[255];
    uint8_t deferred[PSK_CLIENT_DEFERRED_MAX];
    struct psk_client_slot {
        bool is_used;
        uint8_t type;
        uint16_t seq;
        uint16_t epoch;
        uint32_t len;
        uint32_t have_len;
        uint8_t have[PSK_CLIENT_MESSAGE_MAX / 8];
        uint8_t body[PSK_CLIENT_MESSAGE_MAX];
    } slots[PSK_CLIENT_SLOTS];
    uint8_t stream[PSK_CLIENT_INPUT_MAX];
};

#define PSK_CLIENT_TICKET_MAX 1024

/** What a client keeps of an association to resume it: filled by psk_client_keep_session(). */
struct psk_client_session {
    uint16_t suite;
    bool is_etm;
    uint8_t master_secret[HF_MASTER_SECRET_LEN];
    uint8_t id_len;
    uint8_t id[32];
    uint16_t ticket_len; /**< 0: by its ID */
    uint8_t ticket[PSK_CLIENT_TICKET_MAX];
};

struct psk_client_config {
    bool is_dtls;
    bool extended_master_secret; /**< offer */
    bool encrypt_then_mac;       /**< offer */
    bool no_extensions;          /**< no extensions block at all; SCSV unless NONE */
    bool fallback_scsv;
    bool grease_and_13;              /**< GREASE, supported_versions, key_share, tickets ... */
    bool is_one_record_per_datagram; /**< DTLS; otherwise a flight is packed */
    bool connection_id;              /**< offer RFC 9146, with `cid` for the server to use */
    bool return_routability;         /**< offer RFC 9853 */
    bool is_unroutable;              /**< checks are not answered */
    uint8_t cid_padding;             /**< zeros in each record with a connection ID */
    bool is_quiet;                   /**< no alerts of our own accord, no close_notify in answer */
    uint8_t max_fragment_length;     /**< 0: none; RFC 6066 codes 1..4 */
    uint8_t renegotiation;           /**< enum psk_client_renegotiation */
    uint16_t record_size_limit;      /**< 0: none */
    uint16_t fragment_len_max;       /**< largest handshake fragment sent; 0: 1200, TLS 16384 */
    uint16_t datagram_len_max;       /**< DTLS; 0: 1400 */
    uint16_t client_version;         /**< 0: 0x0303 or 0xFEFD */
    uint16_t padding_len;            /**< body of a padding extension; 0: none */
    uint16_t session_id_len;         /**< 0..32 made-up bytes */
    uint16_t suite_count;
    uint16_t suites[8];
    struct hf_bytes identity;   /**< borrowed; 0..65535 bytes */
    struct hf_bytes psk;        /**< borrowed; 1..64 bytes */
    struct hf_bytes cid;        /**< borrowed; 0..255 bytes; above 32 no server of ours agrees */
    struct hf_bytes extensions; /**< borrowed; appended to the block as they are */
    const char *server_name;    /**< borrowed; NULL: no SNI */
    bool tickets;               /**< offer RFC 5077 */
    const struct psk_client_session *session; /**< borrowed; to be resumed if it can be */
    /* Suites with certificates. Offered with secp256r1 and ECDSA with SHA-256 alone. */
    const struct hf_credential *credential; /**< borrowed; NULL: an empty Certificate message */
    bool is_credential_raw;                 /**< what is shown when both sides may choose X.509 */
    struct hf_bytes client_types;           /**< borrowed; RFC 7250 list; none: no extension */
    struct hf_bytes server_types;           /**< borrowed; likewise */
    const uint8_t *server_key;              /**< borrowed; 65 bytes expected; NULL: any */
    const uint8_t *client_random;           /**< borrowed; 32 bytes, NULL: random */
    uint64_t retransmit_us_initial;         /**< 0: 1 s; doubles up to 60 s */
    struct psk_client_work *work;           /**< must be set */
    psk_client_tamper *tamper;              /**< NULL: none */
    void *tamper_arg;
};

struct psk_client_counters {
    uint32_t datagrams_in, datagrams_out; /**< TLS: calls */
    uint32_t records_in, records_out;
    uint32_t hello_verify_requests;
    uint32_t retransmissions;
    uint32_t drops;       /**< records and fragments discarded */
    uint32_t bad_records; /**< DTLS: did not authenticate; also in drops */
    uint32_t challenges;  /**< path_challenge (RFC 9853) */
    uint32_t warnings;    /**< warning alerts other than close_notify */
    uint64_t data_in_len, data_out_len;
};

/** One association. Read what you like; write nothing. */
struct psk_client {
    struct psk_client_config config;
    enum psk_client_state state;
    const char *why;  /**< FAILED by our own judgement: what was wrong */
    uint8_t alert;    /**< FAILED: received (or sent, with `why`); else HF_ALERT_NONE */
    bool is_complete; /**< the server's Finished has verified; stays */
    bool has_sent_close;
    bool has_received_close;

    /* Negotiated. */
    bool is_ems, is_etm, is_renegotiation_info, is_name_acknowledged, is_ticket_promised;
    bool has_cid, has_rrc;  /**< RFC 9146, RFC 9853 */
    uint8_t server_cid_len; /**< of the one that goes into our records; 0: none does */
    uint8_t server_cid[HF_CID_LEN_MAX];
    uint8_t max_fragment_length; /**< code, 0: not agreed */
    uint16_t record_size_limit;  /**< the server's; 0: not agreed */
    uint16_t suite, version;
    enum hf_cipher cipher;
    bool is_certificate;                   /**< the suite has certificates */
    bool has_certificate;                  /**< the server's is here */
    bool has_request;                      /**< CertificateRequest */
    uint8_t server_type, client_type;      /**< RFC 7250, as answered */
    bool has_server_type, has_client_type; /**< were answered */
    uint16_t certificate_len;              /**< of the server's Certificate message */
    uint8_t server_point[HF_P256_POINT_LEN];
    uint8_t own_point[HF_P256_POINT_LEN];
    uint8_t shared_secret[HF_P256_SCALAR_LEN];
    uint8_t signature[HF_P256_SIGNATURE_MAX]; /**< of our CertificateVerify */
    uint8_t signature_len;
    uint16_t hint_len; /**< of ServerKeyExchange */
    uint8_t hint[128]; /**< its first bytes */
    uint8_t session_id_len;
    uint8_t session_id[32];
    bool is_resumed;
    uint32_t ticket_lifetime_s;
    uint16_t ticket_len; /**< received; 0: none */
    uint8_t ticket[PSK_CLIENT_TICKET_MAX];
    uint8_t client_random[HF_RANDOM_LEN];
    uint8_t server_random[HF_RANDOM_LEN];
    uint8_t master_secret[HF_MASTER_SECRET_LEN];
    uint8_t client_verify_data[HF_VERIFY_DATA_LEN];
    uint8_t server_verify_data[HF_VERIFY_DATA_LEN];
    struct hf_record_key write_key, read_key;

    /* Under way. */
    bool has_hello, has_key_exchange, has_keys, is_send_protected, is_receive_protected;
    bool is_flight_waiting;      /**< DTLS: a flight is out that wants an answer */
    uint16_t message_seq;        /**< DTLS: of the first message of the flight that is out */
    uint16_t message_seq_next;   /**< DTLS: expected from the server */
    uint64_t send_seq[2];        /**< DTLS: per epoch; TLS: [1] once protected */
    uint64_t receive_seq;        /**< TLS */
    uint64_t window_top, window; /**< DTLS epoch 1 replay window: bit 0 is window_top */
    uint64_t due_us, retransmit_us;
    struct hf_sha256 transcript;
    struct psk_client_counters counters;
};

/** psk_client_init copies `config`; identity, psk, work and the like stay borrowed. */
void psk_client_init(struct psk_client *client, const struct psk_client_config *config);

/** psk_client_keep_session copies what it takes to resume this association, once it is open. */
void psk_client_keep_session(struct psk_client_session *out, const struct psk_client *client);

/** Output is a list of datagrams (DTLS: each one UDP payload; TLS: stream bytes): called once per
 *  datagram. Must not call back into the client. */
typedef void psk_client_emit(const uint8_t *data, size_t len, void *arg);

/** psk_client_start emits the first ClientHello. */
void psk_client_start(struct psk_client *client, uint64_t now_us, psk_client_emit *emit, void *arg);

/** psk_client_receive takes one datagram, or TLS bytes in any chunking. Application data received
 *  is reported through `data` (may be NULL). Modifies `bytes`. */
void psk_client_receive(struct psk_client *client, uint64_t now_us, uint8_t *bytes, size_t len,
                        psk_client_emit *emit, psk_client_emit *data, void *arg);

/** psk_client_next_us tells when the retransmission timer is due (UINT64_MAX: never). */
uint64_t psk_client_next_us(const struct psk_client *client);

/** psk_client_tick sends the flight again if that is due. */
void psk_client_tick(struct psk_client *client, uint64_t now_us, psk_client_emit *emit, void *arg);

/** psk_client_send sends application data, split into records as agreed; nothing unless OPEN. */
void psk_client_send(struct psk_client *client, const uint8_t *data, size_t len,
                     psk_client_emit *emit, void *arg);

/** psk_client_end sends close_notify, once. */
void psk_client_end(struct psk_client *client, psk_client_emit *emit, void *arg);

/** A record as a test wants it, right or wrong. */
struct psk_client_record {
    uint8_t type;
    uint16_t version;  /**< 0: the usual one */
    uint16_t epoch;    /**< DTLS */
    uint64_t seq;      /**< PSK_CLIENT_SEQ_NEXT: the next of that epoch (and it is used up) */
    bool is_protected; /**< with the current write key (which must exist); TLS: sets explicit seq */
    struct hf_bytes payload; /**< at most 16384 bytes */
};

#define PSK_CLIENT_SEQ_NEXT UINT64_MAX

/** psk_client_send_record sends any record in any state, as a datagram of its own. */
void psk_client_send_record(struct psk_client *client, const struct psk_client_record *record,
                            psk_client_emit *emit, void *arg);

/** psk_client_state_name gives "open" and the like. */
const char *psk_client_state_name(enum psk_client_state state);

#endif
