/**
 * dialer_config.h - a `dialer` block: another domain's IN-CSE that we dial, over Mcc' above all,
 * and the entrance where the CSE on this machine brings its plaintext for it.
 */
#ifndef HF_DIALER_CONFIG_H
#define HF_DIALER_CONFIG_H

#include <handfast/engine.h>

#define HF_DAEMON_DIALERS_MAX 16
#define HF_DIALER_ADDRESSES_MAX 8
#define HF_DIALER_TEXT_MAX 1025 /**< of a psk_identity, with its NUL */
#define HF_DIALER_NAME_MAX 48   /**< as HF_NAME_MAX */

/** Whose certificate or raw key must answer. */
enum hf_dialer_flavour {
    HF_DIALER_FLAVOUR_DEFAULT = 0, /**< cse-id, or raw where the authority pins raw keys alone */
    HF_DIALER_FLAVOUR_CSE_ID,
    HF_DIALER_FLAVOUR_RAW,
};

struct hf_daemon_dialer {
    char name[HF_DIALER_NAME_MAX];
    bool has_transport;
    enum hf_transport transport;
    struct hf_address addresses[HF_DIALER_ADDRESSES_MAX]; /**< in order of preference */
    uint32_t address_count;
    struct hf_address source;        /**< as hf_connect.path.local; all zero: the kernel's choice */
    char peer[HF_ENTITY_ID_MAX + 1]; /**< who must answer: an absolute CSE-ID, once settled */
    char server_name[256];           /**< SNI; settled: the peer's public domain name by default */
    char authority[HF_DIALER_NAME_MAX];
    uint32_t authority_index;          /**< settled */
    char identity[HF_DIALER_TEXT_MAX]; /**< psk_identity; "": no pre-shared key */
    int flavour;                       /**< enum hf_dialer_flavour */
    int reference_point;
    uint16_t suites[HF_SUITES_MAX]; /**< none: the transport's defaults */
    uint8_t suite_count;
    uint64_t datagram_len; /**< 0: the default */
    bool is_extended_master_secret_needed;
    bool is_encrypt_then_mac_off;
    bool is_resumption_off;
    bool has_listen;
    struct hf_address listen;      /**< the entrance */
    bool is_plain_allowed;         /**< beyond loopback, too */
    bool is_kept;                  /**< an association is there before anybody asks */
    char pair[HF_DIALER_NAME_MAX]; /**< the listener whose SA1 this is the way back of; "": none */
    uint32_t pair_index;           /**< settled: the listener's, or HF_LISTENERS_MAX */
    uint64_t redial_us_min, redial_us_max;
    uint64_t wait_us;    /**< plaintext waits so long for an association */
    uint64_t silence_us; /**< DTLS: one that does not answer for so long ends; 0: it does not */
    uint32_t line;       /**< in the configuration file */
};

struct hf_setting;
struct hf_daemon_config;

/** hf_dialer_config_init sets the defaults of a block. */
void hf_dialer_config_init(struct hf_daemon_dialer *dialer);

/** Takers, as hf_setting_take. */
bool hf_dialer_config_take_address(void *base, char *reason, const struct hf_setting *setting,
                                   const char *value);
bool hf_dialer_config_take_listen(void *base, char *reason, const struct hf_setting *setting,
                                  const char *value);
bool hf_dialer_config_take_source(void *base, char *reason, const struct hf_setting *setting,
                                  const char *value);
bool hf_dialer_config_take_peer(void *base, char *reason, const struct hf_setting *setting,
                                const char *value);

/** hf_dialer_config_settle checks a dialer against the whole, once listeners and authorities are
 *  settled, and fills in what follows. False: `text` says why. */
HF_MUST_USE bool hf_dialer_config_settle(struct hf_daemon_config *config, char text[256],
                                         uint32_t index);

/** hf_dialer_config_name gives the name of a dialer, or with `is_client` false of a listener. */
const char *hf_dialer_config_name(const struct hf_daemon_config *config, uint32_t index,
                                  bool is_client);

/** hf_dialer_config_fixed names what differs and cannot change while running, or gives NULL. */
const char *hf_dialer_config_fixed(const struct hf_daemon_dialer *running,
                                   const struct hf_daemon_dialer *wanted);

#endif
