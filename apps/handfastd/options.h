/**
 * options.h - the command line, and the configuration that follows from it.
 *
 * One table of rows drives parsing, --help and the limits. Keys never come from here.
 */
#ifndef HF_OPTIONS_H
#define HF_OPTIONS_H

#include "log.h"

#include <loop.h>

#define HF_SHARDS_MAX 64
#define HF_OPTIONS_ERROR_MAX 320

enum hf_respond_mode {
    HF_RESPOND_DEFAULT = 0, /**< whoami when every listener is on loopback, otherwise none */
    HF_RESPOND_NONE,
    HF_RESPOND_WHOAMI,
    HF_RESPOND_ECHO,
};

/** What the command line asks for. */
enum hf_options_action {
    HF_OPTIONS_RUN = 0,
    HF_OPTIONS_CHECK,   /**< --check: validate and exit */
    HF_OPTIONS_HELP,    /**< --help */
    HF_OPTIONS_VERSION, /**< --version */
};

/** Not given on the command line: the default stays. */
#define HF_OPTIONS_UNSET UINT64_MAX

struct hf_options {
    enum hf_options_action action;
    uint32_t socket_count;
    struct hf_loop_socket sockets[HF_LISTENERS_MAX]; /**< socket i serves listeners[i] */
    struct hf_listener listeners[HF_LISTENERS_MAX];
    const char *psk_file;
    const char *psk_hint;
    uint16_t suites[HF_SUITES_MAX];
    uint8_t suite_count;
    enum hf_reference_point reference_point;
    enum hf_respond_mode respond;
    bool is_respond_anywhere;
    bool has_metrics;
    struct hf_address metrics;
    const char *keylog_file;
    enum hf_log_level log_level;
    enum hf_log_format log_format;
    uint64_t log_rate;
    uint64_t shard_count;
    uint64_t handshakes_max;        /**< all shards together */
    uint64_t associations_max;      /**< all shards together */
    uint64_t handshakes_per_prefix; /**< per shard */
    uint64_t handshake_us, hello_us, idle_us, retransmit_us;
    uint64_t datagram_len;
    bool is_constrained;
    bool is_extended_master_secret_needed;
    bool is_encrypt_then_mac_off;
    bool is_dtls_notified_on_stop;
};

/** hf_options_parse reads the command line. On false `error` holds one line. Views into `argv`. */
HF_MUST_USE bool hf_options_parse(struct hf_options *out, char error[HF_OPTIONS_ERROR_MAX],
                                  int argc, char **argv);

/** hf_options_help prints what there is to say to stdout. */
void hf_options_help(void);

/** hf_options_engine gives the configuration of one shard's engine; `out` points into `options`. */
void hf_options_engine(struct hf_config *out, const struct hf_options *options,
                       uint32_t shard_index);

/** hf_options_loop gives the configuration of one shard's loop, sockets included. */
void hf_options_loop(struct hf_loop_config *out, const struct hf_options *options);

/** hf_options_respond_name gives "none", "whoami" or "echo". */
const char *hf_options_respond_name(enum hf_respond_mode mode);

#endif
