/**
 * shim.h - what the parts of the shim share: a program that BoringSSL's protocol test runner can
 * drive handfast with, on the public API alone.
 */
#ifndef HF_BOGO_SHIM_H
#define HF_BOGO_SHIM_H

#include <handfast/handfast.h>

#define SHIM_UNIMPLEMENTED 89 /* what the runner skips a test for */
#define SHIM_SUITES_MAX 16

/** What the command line asks for. Texts are argv's. */
struct shim_flags {
    uint16_t port;
    bool is_ipv6;
    uint64_t shim_id;
    bool is_server, is_dtls;
    const char *psk, *psk_identity;
    const char *cert_file, *key_file, *trust_cert;
    const char *host_name, *expect_server_name;
    bool is_no_server_name_expected;
    bool is_client_certificate_required, is_peer_verified, is_raw;
    bool writes_first, shuts_down, checks_close_notify;
    bool is_ems_expected;
    uint16_t expect_version, expect_suite, min_version, max_version;
    uint16_t suites[SHIM_SUITES_MAX];
    uint8_t suite_count;
    uint32_t mtu, max_fragment_len, read_len, initial_timeout_ms;
    uint32_t export_len;
    const char *export_label, *export_context;
    bool has_export_context;
    bool is_handshaker_asked, has_no_cookies;
    uint32_t resume_count, resumption_delay_s, chain_len_max;
    bool has_no_ticket, is_session_miss_expected, is_no_session_expected;
    bool is_session_id_expected, is_no_session_id_expected;
    uint16_t expect_signature_algorithm;
};

/** shim_flags_parse reads argv: the flags of the first connection, and those of the ones that
 *  resume it. Returns 0, or what to exit with; the reason is on stderr. */
int shim_flags_parse(struct shim_flags out[2], int argc, char **argv);

/** The runner's TCP connection: bytes for TLS; for DTLS packets and commands, framed. */
struct shim_wire {
    int fd;
    bool is_packeted;
    uint64_t now_us; /* the clock the runner advances; goes on from one connection to the next */
    uint32_t mtu;    /* as last commanded; 0: never */
    uint64_t expected_us; /* as last commanded: from now to the next timeout; UINT64_MAX: none */
    bool is_at_end;
};

enum shim_read {
    SHIM_READ_DATA,   /**< bytes, or one packet */
    SHIM_READ_CLOCK,  /**< the clock was advanced */
    SHIM_READ_MTU,    /**< the MTU changed */
    SHIM_READ_EXPECT, /**< the next timeout ought to be after `expected_us` */
    SHIM_READ_END,
    SHIM_READ_UNKNOWN, /**< a command nobody knows here */
};

/** shim_wire_open connects to the runner and tells which shim this is. `out` holds the time. */
bool shim_wire_open(struct shim_wire *out, const struct shim_flags *flags);
void shim_wire_close(struct shim_wire *wire);
/** shim_wire_read waits for what comes next; `*len` is the room, then what there is. */
enum shim_read shim_wire_read(struct shim_wire *wire, uint8_t *data, size_t *len);
bool shim_wire_write(struct shim_wire *wire, struct hf_bytes data);

#endif
