/**
 * psk_client.h - a lean TLS 1.2 / DTLS 1.2 PSK client, sans-I/O, for tests and load. It is not the
 * engine and shares only crypto/ with it, so that the two check each other; it can also be told to
 * misbehave. One client is one association; no allocation; plain struct.
 */
#ifndef HF_TEST_PSK_CLIENT_H
#define HF_TEST_PSK_CLIENT_H

#include "crypto.h"

#define PSK_CLIENT_INPUT_MAX 20480  /* one TLS record, or one reassembled message */
#define PSK_CLIENT_IDENTITY_MAX 2048

enum psk_client_state {
    PSK_CLIENT_NEW,
    PSK_CLIENT_AWAIT_HELLO, /* HelloVerifyRequest or ServerHello .. ServerHelloDone */
    PSK_CLIENT_AWAIT_FINISHED,
    PSK_CLIENT_OPEN,
    PSK_CLIENT_CLOSED, /* close_notify received, or closed by us */
    PSK_CLIENT_FAILED, /* `alert` received, or `why` */
};

struct psk_client_config {
    bool is_dtls;
    uint16_t suites[8];
    size_t suite_count;
    struct hf_bytes identity;    /* borrowed */
    struct hf_bytes psk;         /* borrowed */
    const char *server_name;     /* NULL: no SNI */
    bool extended_master_secret; /* offer */
    bool encrypt_then_mac;       /* offer */
    bool no_extensions;          /* no extensions block at all (then no renegotiation_info: SCSV) */
    bool fallback_scsv;
    bool grease_and_13;          /* GREASE suites/extensions, supported_versions, key_share ... */
    uint8_t max_fragment_length; /* 0: none; RFC 6066 codes 1..4 */
    uint16_t record_size_limit;  /* 0: none */
    uint16_t fragment_len_max;   /* DTLS: largest handshake fragment sent; 0: 1200 */
    uint64_t retransmit_us_initial; /* 0: 1 s */
    bool keep_transcript_of_cookieless_hello; /* reserved: must stay false */
};

struct psk_client; /* defined at the end of this header by its author: callers may embed it */

/* The functions below are the contract; struct psk_client itself follows in this header. */
void psk_client_init(struct psk_client *client, const struct psk_client_config *config);

/* Output is a list of datagrams (DTLS: each one UDP payload; TLS: stream bytes): the callback is
 * called once per datagram. */
typedef void psk_client_emit(const uint8_t *data, size_t len, void *arg);

/* Starts: emits the first ClientHello. */
void psk_client_start(struct psk_client *client, uint64_t now_us, psk_client_emit *emit, void *arg);

/* Takes one datagram, or TLS bytes in any chunking. Application data received is reported through
 * `data` (may be NULL). Modifies `bytes`. */
void psk_client_receive(struct psk_client *client, uint64_t now_us, uint8_t *bytes, size_t len,
                        psk_client_emit *emit, psk_client_emit *data, void *arg);

/* When the retransmission timer is due (UINT64_MAX: never), and firing it. */
uint64_t psk_client_next_us(const struct psk_client *client);
void psk_client_tick(struct psk_client *client, uint64_t now_us, psk_client_emit *emit, void *arg);

/* Sends application data (one record) or close_notify. */
void psk_client_send(struct psk_client *client, const uint8_t *data, size_t len,
                     psk_client_emit *emit, void *arg);
void psk_client_end(struct psk_client *client, psk_client_emit *emit, void *arg);
