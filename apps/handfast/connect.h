/**
 * connect.h - `handfast connect`: what its parts share. Dials one server and pipes standard input
 * and output through the association.
 */
#ifndef HF_TOOL_CONNECT_H
#define HF_TOOL_CONNECT_H

#include "maf_dial.h"

#include <handfast/handfast.h>

#define HF_CONNECT_DATAGRAM_LEN 1024u /* of standard input in a datagram */

/** What the command line says. Texts are argv's. */
struct hf_connect_options {
    enum hf_transport transport;
    struct hf_address peer, source; /* source: port 0 and all zero: the kernel's choice */
    bool has_source;
    const char *psk_file, *identity;
    const char *cert, *key, *ca, *crl, *rpk_key, *server_rpk, *names;
    const char *expect, *server_name, *keylog, *session_file;
    enum hf_flavour flavour;
    enum hf_reference_point reference_point;
    uint16_t suites[HF_SUITES_MAX];
    uint8_t suite_count;
    uint16_t max_fragment_len, datagram_len_max;
    bool is_ems_needed, is_etm_off;
    enum hf_connection_id connection_id;
    bool is_json, is_probe;
    struct hf_maf_dial maf; /* fqdn NULL: no key is fetched from a MAF */
    const char *maf_admin, *maf_target, *maf_key_file, *maf_save;
    uint16_t maf_days; /* 0: the MAF's choice */
    uint64_t timeout_us, linger_us;
};

/** What is opened for it, and what became of the association. */
struct hf_connect_session {
    const struct hf_connect_options *options;
    struct hf_keyfile *keyfile;
    struct hf_credential *x509, *raw;
    struct hf_trust *trust;
    struct hf_engine *engine;
    struct hf_bytes identity; /* "#6465" of the command line is turned into bytes */
    uint8_t identity_bytes[1250];
    int fd, keylog_fd;
    struct hf_path path;
    hf_association_id association;
    uint64_t now_us, begun_us, established_us, deadline_us, linger_until_us;
    bool is_established, is_over, is_peer_closed, is_input_over, is_closing;
    struct hf_failure failure;
    uint8_t output[65536]; /* TLS: what the socket did not take yet */
    size_t output_len;
    uint8_t input[HF_STREAM_CHUNK_MAX]; /* of standard input: what the engine did not take yet */
    size_t input_len;
    uint64_t datagrams_in, datagrams_out;
    uint8_t session[HF_SESSION_MAX]; /* to resume; secret */
    size_t session_len;
};

/* connect_setup.c */

/** hf_connect_open reads keys and certificates and opens the engine. False: said why. */
bool hf_connect_open(struct hf_connect_session *session, const struct hf_connect_options *options);
void hf_connect_close(struct hf_connect_session *session);

/** hf_connect_keep_session writes a session to the file it is to be kept in, if there is one. */
void hf_connect_keep_session(const struct hf_connect_session *session, struct hf_bytes data);

/** hf_connect_forget_session removes that file: what ended in a fatal alert is not resumed.
 *  Spec: RFC 5246 7.2.2. */
void hf_connect_forget_session(const struct hf_connect_session *session);

/* connect_maf.c */

/** hf_connect_order_key registers a key at the MAF for the server and takes it for the session's
 *  only one. False: said why. */
bool hf_connect_order_key(struct hf_connect_session *session);

/* connect_run.c */

/** hf_connect_run dials and serves until it is over. Returns an enum hf_tool_exit. */
int hf_connect_run(struct hf_connect_session *session);

/* connect_report.c */

/** hf_connect_report_established tells what was agreed on and who the peer proved to be. */
void hf_connect_report_established(const struct hf_connect_session *session);

/** hf_connect_report_failure tells why there is no association, or why it broke. */
void hf_connect_report_failure(const struct hf_connect_session *session);

#endif
