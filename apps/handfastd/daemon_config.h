/**
 * daemon_config.h - everything the daemon can be told, as one plain struct. The command line and
 * the configuration file both end here, and nothing reads either of them afterwards.
 */
#ifndef HF_DAEMON_CONFIG_H
#define HF_DAEMON_CONFIG_H

#include "dialer_config.h"
#include "log.h"
#include "maf_config.h"

#include <loop.h>

#define HF_SHARDS_MAX 64
#define HF_AUTHORITIES_MAX 16
#define HF_NAME_MAX 48              /**< of a listener or an authority, with its NUL */
#define HF_PATH_TEXT_MAX 1024       /**< of a file's name, with its NUL */
#define HF_SOCKET_TEXT_MAX 108      /**< of a Unix socket (unix(7)), with its NUL */
#define HF_SERVER_NAME_TEXT_MAX 256 /**< of a server name, with its NUL */
#define HF_OPTIONS_ERROR_MAX 1536

/** Not given: the default stays. */
#define HF_OPTIONS_UNSET UINT64_MAX

enum hf_respond_mode {
    HF_RESPOND_DEFAULT = 0, /**< whoami when the listener is on loopback and has no upstream */
    HF_RESPOND_NONE,
    HF_RESPOND_WHOAMI,
    HF_RESPOND_ECHO,
};

/** What --check and its like ask for. */
enum hf_options_action {
    HF_OPTIONS_RUN = 0,
    HF_OPTIONS_CHECK, /**< validate and exit */
    HF_OPTIONS_HELP,
    HF_OPTIONS_VERSION,
};

/** What a listener speaks; a bit each. */
enum hf_daemon_framework {
    HF_DAEMON_FRAMEWORK_PSK = 1,
    HF_DAEMON_FRAMEWORK_CERTIFICATE = 2,
};

/** Where plaintext goes. */
enum hf_upstream_kind {
    HF_UPSTREAM_NONE = 0,
    HF_UPSTREAM_UDP, /**< datagrams of a DTLS listener */
    HF_UPSTREAM_TCP, /**< streams of a TLS listener */
};

/** A listener beyond what engine and loop must know of it; same index as theirs. */
struct hf_daemon_listener {
    char name[HF_NAME_MAX];
    bool has_transport, has_address;
    enum hf_transport transport;
    struct hf_address address;
    enum hf_reference_point reference_point;
    uint16_t suites[HF_SUITES_MAX]; /**< none: the transport's defaults */
    uint8_t suite_count;
    char psk_hint[HF_PSK_HINT_MAX + 1];
    uint64_t datagram_len;
    bool is_extended_master_secret_needed;
    bool is_encrypt_then_mac_off;
    enum hf_connection_id connection_id; /**< DTLS only */
    bool is_return_routability_off;
    uint64_t cookies_above; /**< of all shards */
    struct hf_prefix cookie_free[HF_COOKIE_FREE_MAX];
    uint32_t cookie_free_count;
    struct hf_prefix trusted[HF_LOOP_TRUSTED_MAX]; /**< where PROXY headers are believed */
    uint32_t trusted_count;
    uint64_t frameworks; /**< set of enum hf_daemon_framework; 0: all the authority is fit for */
    char authorities[HF_AUTHORITIES_MAX][HF_NAME_MAX]; /**< as named; the first is the default */
    uint32_t authority_count;
    uint32_t authority_indexes[HF_AUTHORITIES_MAX]; /**< settled */
    uint32_t authority_index;                       /**< the first of them */
    enum hf_respond_mode respond;
    bool is_respond_anywhere;
    struct hf_address upstream_udp, upstream_tcp; /**< as given; port 0: not given */
    enum hf_upstream_kind upstream_kind;          /**< what follows for this listener ... */
    struct hf_address upstream;                   /**< ... once settled */
    bool is_proxy_protocol;
    int is_entity_told; /**< in the header's unique ID */
    uint64_t keep_us; /**< an association outlives its connection to the upstream; 0: it does not */
    uint32_t line, authority_line; /**< in the configuration file; 0: from the command line */
};

/** Who vouches for keys and certificates: one key file or one key store, and what credentials.h
 *  reads. */
struct hf_daemon_authority {
    char name[HF_NAME_MAX];
    char psk_file[HF_PATH_TEXT_MAX];
    char key_store[HF_PATH_TEXT_MAX];
    char server_name[HF_SERVER_NAME_TEXT_MAX]; /**< RFC 6066: told apart by it; "": none */
    char certificate[HF_PATH_TEXT_MAX];        /**< PEM: ours, then its issuers */
    char key[HF_PATH_TEXT_MAX];                /**< PEM: the certificate's */
    char rpk_key[HF_PATH_TEXT_MAX];            /**< PEM: shown as raw public key; "": `key` */
    char client_ca[HF_PATH_TEXT_MAX];
    char crl[HF_PATH_TEXT_MAX];
    char client_rpk[HF_PATH_TEXT_MAX];
    char names[HF_PATH_TEXT_MAX];      /**< CSE-IDs and their public domain names */
    char entity_map[HF_PATH_TEXT_MAX]; /**< Credential-IDs and whose they are */
    uint64_t flavours; /**< set of enum hf_flavour; 0: cse-id, ae-id, and raw with pins */
    int crl_expired;   /**< enum hf_crl_policy */
    bool is_crl_required, is_name_constraint_required;
    uint64_t remove_percent_max; /**< a reload that removes more must be forced */
    /* Of all shards; 0: no limit of its own. */
    uint64_t associations_max, handshakes_max, handshakes_per_second;
    char mafs[HF_MAF_CONFIG_MAX][HF_SERVER_NAME_TEXT_MAX]; /**< whose keys count; none: all */
    uint32_t maf_count;
    uint32_t maf_set; /**< settled: a bit for each of the configuration's */
    uint32_t line;
};

struct hf_daemon_config {
    enum hf_options_action action;
    char config_file[HF_PATH_TEXT_MAX]; /**< "": the command line made one implicit authority */
    uint32_t socket_count;
    struct hf_loop_socket sockets[HF_LISTENERS_MAX]; /**< for the loop */
    struct hf_listener listeners[HF_LISTENERS_MAX];  /**< for the engine */
    struct hf_listener_authority served[HF_LISTENERS_MAX][HF_AUTHORITIES_MAX]; /**< likewise */
    struct hf_daemon_listener details[HF_LISTENERS_MAX];
    uint32_t authority_count;
    struct hf_daemon_authority authorities[HF_AUTHORITIES_MAX];
    struct hf_daemon_listener common; /**< the command line's options for all listeners */

    uint32_t dialer_count;
    struct hf_daemon_dialer dialers[HF_DAEMON_DIALERS_MAX];
    struct hf_dialer dialled[HF_DAEMON_DIALERS_MAX]; /**< the same, for the engine */

    struct hf_daemon_mafs mafs; /**< whose keys count beside the authorities' own */

    uint64_t shard_count;
    enum hf_loop_io io;
    char user[HF_NAME_MAX];
    uint8_t cid_node[8]; /**< in connection IDs, for balancers */
    uint8_t cid_node_len, cid_node_offset;
    enum hf_path_check path_check;   /**< of peers' new addresses */
    enum hf_path_policy path_policy; /**< where they cannot be checked */
    uint64_t linger_us;              /**< for fuller batches of crypto jobs; 0: never */
    uint64_t flood_hellos;           /**< a second and shard: hf_loop_config */
    bool is_seccomp;
    char keylog_file[HF_PATH_TEXT_MAX];
    bool is_dtls_notified_on_stop;
    struct hf_address upstream_prefix; /**< /64 of associations' own addresses; port 0: none */
    bool has_metrics;
    struct hf_address metrics;
    char control_socket[HF_SOCKET_TEXT_MAX];
    char control_group[HF_NAME_MAX];
    char checkpoint[HF_PATH_TEXT_MAX];        /**< DTLS associations are kept there; "": nowhere */
    uint64_t checkpoint_us;                   /**< so often */
    char takeover_socket[HF_SOCKET_TEXT_MAX]; /**< where a successor asks; "": none can */
    bool is_takeover;                         /**< command line: be that successor */

    enum hf_log_level log_level;
    enum hf_log_format log_format;
    enum hf_log_identities log_identities;
    char log_salt[HF_NAME_MAX]; /**< of hashed identities; "": a random one a process */
    uint64_t log_rate;
    char audit_file[HF_PATH_TEXT_MAX];

    bool is_session_tickets;
    uint64_t session_cache; /**< sessions, all shards together; 0: none */
    uint64_t session_us;
    char shared_secrets[HF_PATH_TEXT_MAX]; /**< "": drawn at random */

    uint64_t handshakes_max;        /**< all shards together */
    uint64_t associations_max;      /**< all shards together */
    uint64_t handshakes_per_prefix; /**< per shard */
    uint64_t handshake_us, hello_us, idle_us, age_us, evict_us, retransmit_us;
    uint64_t quarantine_us; /**< before an association's upstream address is another's */
    bool is_constrained;
    uint64_t chain_cache_max;  /**< signatures of CA certificates remembered by each shard */
    uint64_t proofs_max;       /**< half-open handshakes with certificates, all shards together */
    uint64_t warn_expiry_days; /**< --check: fail if something expires within */
};

/** hf_daemon_config_init sets the defaults: nothing to serve, no keys. */
void hf_daemon_config_init(struct hf_daemon_config *config);

/** hf_daemon_listener_init and hf_daemon_authority_init set the defaults of one block. */
void hf_daemon_listener_init(struct hf_daemon_listener *listener);
void hf_daemon_authority_init(struct hf_daemon_authority *authority);

/** hf_daemon_config_refuse writes `text` as the error, with file and line, and gives false. */
bool hf_daemon_config_refuse(char error[HF_OPTIONS_ERROR_MAX],
                             const struct hf_daemon_config *config, uint32_t line,
                             const char *text);

/** hf_daemon_config_settle checks what only all settings together can tell and fills `sockets` and
 *  `listeners`. On false `error` holds one line that names the place. */
HF_MUST_USE bool hf_daemon_config_settle(struct hf_daemon_config *config,
                                         char error[HF_OPTIONS_ERROR_MAX]);

/** hf_daemon_config_fixed compares with what is running: false, and `error` says which setting
 *  cannot change without a restart. */
HF_MUST_USE bool hf_daemon_config_fixed(char error[HF_OPTIONS_ERROR_MAX],
                                        const struct hf_daemon_config *running,
                                        const struct hf_daemon_config *wanted);

/** hf_daemon_config_authority gives the index of the authority that answers at a listener to a
 *  server name (none: empty), or that a dialer dials for. */
uint32_t hf_daemon_config_authority(const struct hf_daemon_config *config, uint32_t listener_index,
                                    bool is_client, struct hf_bytes server_name);

/** hf_daemon_config_engine gives one shard's engine; `out` points into `config` and `quotas`. */
void hf_daemon_config_engine(struct hf_config *out, struct hf_quota quotas[HF_QUOTAS_MAX],
                             const struct hf_daemon_config *config, uint32_t shard_index);

/** hf_daemon_config_loop gives the configuration of one shard's loop, sockets included. */
void hf_daemon_config_loop(struct hf_loop_config *out, const struct hf_daemon_config *config);

/** hf_respond_mode_name gives "none", "whoami" or "echo". */
const char *hf_respond_mode_name(enum hf_respond_mode mode);

#endif
