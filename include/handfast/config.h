/**
 * config.h - every limit of the engine, and the listeners it serves. What is mapped at start
 * follows from this alone: hf_config_memory().
 */
#ifndef HANDFAST_CONFIG_H
#define HANDFAST_CONFIG_H

#include <handfast/session.h>

HF_BEGIN_DECLS

/** Cipher suites, by their IANA numbers. */
enum hf_suite {
    HF_SUITE_NONE = 0,
    HF_SUITE_PSK_AES_128_GCM_SHA256 = 0x00A8, /**< RFC 5487 */
    HF_SUITE_PSK_AES_128_CBC_SHA256 = 0x00AE, /**< RFC 5487; mandatory on TLS (TS-0003 10.2.2) */
    HF_SUITE_PSK_AES_128_CCM = 0xC0A4,        /**< RFC 6655 */
    HF_SUITE_PSK_AES_128_CCM_8 = 0xC0A8,      /**< RFC 6655; mandatory on DTLS (TS-0003 10.2.2) */
    HF_SUITE_ECDHE_ECDSA_AES_128_CBC_SHA256 = 0xC023, /**< RFC 5289; mandatory on TLS (10.2.3) */
    HF_SUITE_ECDHE_ECDSA_AES_128_GCM_SHA256 = 0xC02B, /**< RFC 5289 */
    HF_SUITE_ECDHE_ECDSA_AES_128_CCM = 0xC0AC,        /**< RFC 7251 */
    HF_SUITE_ECDHE_ECDSA_AES_128_CCM_8 = 0xC0AE,      /**< RFC 7251; mandatory on DTLS (10.2.3) */
};

#define HF_SUITES_MAX 16
#define HF_LISTENERS_MAX 64
#define HF_DIALERS_MAX 64
#define HF_PSK_HINT_MAX 128
#define HF_QUOTAS_MAX 16
#define HF_COOKIE_FREE_MAX 16

/** hf_suite_name gives the IANA name, e.g. "TLS_PSK_WITH_AES_128_CCM_8", or NULL. */
HF_API const char *hf_suite_name(uint16_t suite);

/** hf_suite_parse reads an IANA name (with or without TLS_ and _WITH_), or "0xC0A8"; 0 if none. */
HF_API uint16_t hf_suite_parse(const char *text);

/** Connection IDs (RFC 9146), DTLS only. */
enum hf_connection_id {
    HF_CONNECTION_ID_OFF = 0,
    HF_CONNECTION_ID_SEND, /**< put the peer's into what we send; ask for none ourselves */
    HF_CONNECTION_ID_ON,   /**< ask for one of ours, too: its records find us from any address */
};

/** What has to be known of an address a peer's records newly come from, before it is the peer's.
 *  With RFC 9853: how the peer is asked. */
enum hf_path_check {
    HF_PATH_CHECK_ENHANCED = 0, /**< the old address first: 5.2 */
    HF_PATH_CHECK_BASIC,        /**< the new one at once: 5.1 */
};

/** Without RFC 9853 nobody can be asked. */
enum hf_path_policy {
    HF_PATH_BOUNDED = 0, /**< the newest record moves the association, and what is sent to an
                              address it has moved to stays within path_len_max and three times
                              what came from there */
    HF_PATH_FIXED,       /**< data is taken, answers go to the address of the handshake */
    HF_PATH_FOLLOW,      /**< the newest record moves the association */
};

struct hf_credential;
struct hf_trust;

/** Who we are at a listener, and whom we believe there: one for each name we answer to. The text is
 *  copied, and of each object a reference is taken. */
struct hf_listener_authority {
    const char *server_name;          /**< RFC 6066 3, lower case; NULL: no name of its own */
    const struct hf_credential *x509; /**< shown as a certificate; NULL: none */
    const struct hf_credential *raw;  /**< shown as a raw public key (RFC 7250); NULL: none */
    const struct hf_trust *trust;     /**< judges the peer; NULL: pre-shared keys only */
    uint8_t quota_index; /**< of hf_config.quotas: its peers', once their hello has named it */
};

#define HF_LISTENER_AUTHORITIES_MAX 16

/** One place where peers arrive. */
struct hf_listener {
    enum hf_transport transport;
    enum hf_reference_point reference_point;
    uint16_t suites[HF_SUITES_MAX]; /**< in order of preference: the server's order decides */
    uint8_t suite_count;
    bool encrypt_then_mac;               /**< accept RFC 7366 when offered with a CBC suite */
    bool extended_master_secret_needed;  /**< refuse a peer without RFC 7627 */
    uint16_t datagram_len_max;           /**< UDP payload the handshake fragments to; 256..4096 */
    enum hf_connection_id connection_id; /**< for peers that offer RFC 9146; ON */
    bool return_routability; /**< with connection IDs, for peers that offer RFC 9853; on */
    uint8_t quota_index; /**< of hf_config.quotas: whose share peers use up until their hello has
                              named an authority, and where there are none; 0 without any */
    /** DTLS: a stranger first shows that it receives at its address (RFC 6347 4.2.1). 0: always,
     *  the default. Otherwise only while so many handshakes are half-open; below that, a hello
     *  without a cookie goes on at once if it leads to a pre-shared key and the answer is no longer
     *  than the hello itself; and nothing is sent again but for something received. */
    uint32_t cookies_above;
    /** DTLS: networks where no address can be forged. Their peers need no cookie, unless there is
     *  an association at their address already (RFC 6347 4.2.8). */
    struct hf_prefix cookie_free[HF_COOKIE_FREE_MAX];
    uint8_t cookie_free_count;
    uint16_t psk_hint_len; /**< 0: no ServerKeyExchange (RFC 4279 5.2) */
    uint8_t psk_hint[HF_PSK_HINT_MAX];
    /** By server name. The first is also for peers that send none, and, if no authority here has
     *  a name, for those that do; otherwise an unknown name is refused. None: no certificates. */
    const struct hf_listener_authority *authorities;
    uint32_t authority_count;
};

/** hf_listener_init sets the suites with pre-shared keys, then those with certificates, of each the
 *  mandatory one first: a client that offers both may have no certificate, but has a key. No hint;
 *  1,200 bytes. */
HF_API void hf_listener_init(struct hf_listener *listener, enum hf_transport transport);

/** What many outgoing associations have in common: how we dial, and as whom. */
struct hf_dialer {
    enum hf_transport transport;
    enum hf_reference_point reference_point;
    uint16_t suites[HF_SUITES_MAX]; /**< offered, in order of preference */
    uint8_t suite_count;
    bool encrypt_then_mac;               /**< offer RFC 7366 along with a CBC suite */
    bool extended_master_secret_needed;  /**< offered in any case; refuse a server without it */
    uint16_t max_fragment_len;           /**< RFC 6066 4: 512, 1024, 2048, 4096; 0: not asked for */
    uint16_t datagram_len_max;           /**< UDP payload the handshake fragments to; 256..4096 */
    enum hf_connection_id connection_id; /**< offered; OFF */
    bool return_routability;             /**< RFC 9853, offered with connection IDs; on */
    bool sessions; /**< ask for sessions that can be resumed: HF_EVENT_SESSION, hf_connect; off */
    /** What we show and by what servers are judged; a reference is taken of each. Suites with
     *  certificates are offered if there is one of the first two, and the third. */
    const struct hf_credential *x509; /**< shown as a certificate; NULL: none */
    const struct hf_credential *raw;  /**< shown as a raw public key (RFC 7250); NULL: none */
    const struct hf_trust *trust;
};

/** hf_dialer_init sets the suites with certificates, then those with pre-shared keys, of each the
 *  mandatory one first; 1,200 bytes. Suites there is no credential for are not offered. */
HF_API void hf_dialer_init(struct hf_dialer *dialer, enum hf_transport transport);

/** What the peers of the listeners of one authority may take of an engine together, so that one
 *  authority's flood is not the others'. In every field 0 means: no limit of its own. */
struct hf_quota {
    uint32_t associations_max;      /**< established and half-open; a rebooted client's new
                                         handshake (RFC 6347 4.2.8) is let in beyond it */
    uint32_t handshakes_max;        /**< half-open */
    uint32_t handshakes_per_second; /**< begun: DTLS after the cookie, TLS at accept; bursts of two
                                         seconds' worth */
};

/** Limits of one engine (one shard). hf_config_init() sets the defaults given here. */
struct hf_config {
    uint32_t shard_index; /**< 0..255; part of every hf_association_id */

    /* Pools. Mapped at start, touched as they are used. */
    uint32_t associations_max;    /**< established and half-open; 16,384; at most 2^24 */
    uint32_t handshakes_max;      /**< half-open; 4,096; at most associations_max */
    uint32_t identity_len_max;    /**< psk_identity, bytes; 1,024; 128 (RFC 4279 5.3) to 1,250 */
    uint32_t proofs_max;          /**< of them with certificates; 1,024; 0: none */
    uint32_t message_len_max;     /**< one handshake message, bytes; 4,096; 512..65,536 */
    uint32_t deferred_len_max;    /**< early records kept per handshake, bytes; 2,048 */
    uint32_t stream_buffers_max;  /**< TLS records being received at once, 18.5 KiB each; 256 */
    uint32_t output_len_max;      /**< bytes of output per turn; 1 MiB; at least 64 KiB */
    uint32_t events_max;          /**< events held between two calls of take; 4,096 */
    uint32_t local_addresses_max; /**< distinct local addresses: with their ports where listeners
                                       are or DTLS is dialled from; 64 */

    /* Half-open handshakes. */
    uint32_t handshakes_pressure;       /**< from so many on, the next limit bites; 3,072 */
    uint32_t handshakes_per_prefix_max; /**< half-open per source prefix under pressure; 64 */
    uint8_t prefix_bits_v4;             /**< source prefix length, IPv4; 32 */
    uint8_t prefix_bits_v6;             /**< source prefix length, IPv6; 56 */

    /* Times, microseconds. 0 means never where it says so. */
    uint64_t hello_us_max;     /**< TLS: accept to ClientHello; 10 s */
    uint64_t handshake_us_max; /**< ClientHello to established; 60 s */
    uint64_t answer_us_max;    /**< what a key source is given; 30 s */
    uint64_t record_us_max;    /**< TLS: first to last byte of a record; 30 s */
    uint64_t idle_us_max;      /**< nothing received; 0 = never (the default) */
    uint64_t age_us_max;       /**< since established; 0 = never (the default); 200 days */
    /** When there is no room for another, or none in its authority's share, the longest silent of
     *  some hundreds makes room if nothing was heard of it for so long. 0 = never (the default). */
    uint64_t evict_us_min;
    uint64_t retransmit_us_initial; /**< RFC 6347 4.2.4.1; 1 s. RFC 7925 11: 9 s */
    uint64_t retransmit_us_max;     /**< 60 s */
    uint64_t cookie_us_max;         /**< a cookie lives one to two of these; 60 s */
    /** For embedders that tell the tenants of a record apart by the two low bits of the handle
     *  alone: these repeat on a record only so long after the last of four tenants of whom one was
     *  established has ended; at most 2^31 ticks of 10 ms. 0 = at once (the default). */
    uint64_t reuse_us_min;

    /* Trial decryption (DTLS), per association. */
    uint32_t trials_per_second; /**< failing decryptions allowed a second, burst twice this; 32 */
    uint32_t forgeries_max;     /**< failures that end an association; 2^20 */

    /* Connection IDs and peers that change their address (DTLS). */
    uint8_t cid_node_len;    /**< bytes of a node's number in our CIDs, for balancers; 0 to 8; 0 */
    uint8_t cid_node_offset; /**< where in the CID they stand; 0 to 8; 0 */
    uint8_t cid_node[8];
    enum hf_path_check path_check;   /**< ENHANCED */
    enum hf_path_policy path_policy; /**< BOUNDED */
    uint64_t path_us_max;            /**< for an answer to a check (RFC 9853 5.5); 1 s */
    uint32_t path_len_max; /**< bytes to an address not yet checked, and never more than three times
                                what came from there; 16 KiB */

    bool export_without_extended_master_secret; /**< hf_engine_export() without RFC 7627; off */
    bool keylog; /**< emit HF_EVENT_KEYLOG: gives away every secret; off */

    /* Resumption, server's role (RFC 5246 7.4.1.2, RFC 5077). Both off. Only of sessions with
     * extended master secret (RFC 7627 5.3). */
    struct hf_session_cache *sessions; /**< for session IDs; shards share it; outlives the engine */
    bool tickets;                      /**< for peers that understand them: no session ID then */
    uint32_t session_s_max; /**< a session's life, seconds; 3,600; 2,048 to 604,800; never longer
                                 than its credential's */

    /** What cookie and ticket keys are derived from. None: drawn at random. Shards that share
     *  peers share it, and so do the nodes behind a balancer. */
    struct hf_shared_secrets secrets;

    uint32_t quota_count;          /**< at most HF_QUOTAS_MAX; 0: none */
    const struct hf_quota *quotas; /**< copied by hf_engine_open() */

    uint32_t listener_count;
    const struct hf_listener *listeners; /**< copied by hf_engine_open() */
    uint32_t dialer_count;
    const struct hf_dialer *dialers; /**< copied by hf_engine_open() */
};

/** hf_config_init sets every default; no listeners, no dialers. */
HF_API void hf_config_init(struct hf_config *config);

/** hf_config_use_constrained_timers sets the RFC 7925 11 profile: 9 s, doubling, deadline 120 s. */
HF_API void hf_config_use_constrained_timers(struct hf_config *config);

/** hf_config_check returns HF_OK, or HF_E_CONFIG with `*why` naming the field (static text). */
HF_API HF_MUST_USE enum hf_status hf_config_check(const char **why, const struct hf_config *config);

/** hf_config_memory gives the bytes hf_engine_open() will map, all told. 0 if unusable. */
HF_API size_t hf_config_memory(const struct hf_config *config);

HF_END_DECLS
#endif
