/**
 * psk_client_parts.h - what the files of the test client share. For psk_client*.c only.
 */
#ifndef HF_TEST_PSK_CLIENT_PARTS_H
#define HF_TEST_PSK_CLIENT_PARTS_H

#include "psk_client.h"

#include <stdlib.h>

/* A test tool that is misused, or broken, stops there. */
#define PSK_CHECK(condition)                                                                       \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

enum {
    PSK_CONTENT_CCS = 20,
    PSK_CONTENT_ALERT = 21,
    PSK_CONTENT_HANDSHAKE = 22,
    PSK_CONTENT_DATA = 23,
    PSK_CONTENT_CID = 25,
    PSK_CONTENT_ROUTABILITY = 27,
};

enum {
    PSK_HELLO_REQUEST = 0,
    PSK_CLIENT_HELLO = 1,
    PSK_SERVER_HELLO = 2,
    PSK_HELLO_VERIFY_REQUEST = 3,
    PSK_NEW_SESSION_TICKET = 4,
    PSK_CERTIFICATE = 11,
    PSK_SERVER_KEY_EXCHANGE = 12,
    PSK_CERTIFICATE_REQUEST = 13,
    PSK_SERVER_HELLO_DONE = 14,
    PSK_CERTIFICATE_VERIFY = 15,
    PSK_CLIENT_KEY_EXCHANGE = 16,
    PSK_FINISHED = 20,
};

enum {
    PSK_ALERT_CLOSE_NOTIFY = 0,
    PSK_ALERT_UNEXPECTED_MESSAGE = 10,
    PSK_ALERT_BAD_RECORD_MAC = 20,
    PSK_ALERT_RECORD_OVERFLOW = 22,
    PSK_ALERT_ILLEGAL_PARAMETER = 47,
    PSK_ALERT_DECODE_ERROR = 50,
    PSK_ALERT_DECRYPT_ERROR = 51,
    PSK_ALERT_PROTOCOL_VERSION = 70,
    PSK_ALERT_INTERNAL_ERROR = 80,
    PSK_ALERT_UNSUPPORTED_EXTENSION = 110,
};

/* The largest message sent: ClientKeyExchange with an identity of 65,535 bytes. */
#define PSK_MESSAGE_OUT_MAX (4 + 2 + 65535 + 64)

/* One call's output: records gather here and leave as datagrams. Lives on the stack. */
struct psk_client_out {
    struct psk_client *client;
    psk_client_emit *emit;
    void *arg;
    size_t len;
    uint8_t data[PSK_CLIENT_RECORD_MAX + 1024];
};

/* Fixed writer; `is_full` sticks. */
struct psk_writer {
    uint8_t *data;
    size_t len, max;
    bool is_full;
};

/* Sticky reader: after one short read everything reads 0. */
struct psk_reader {
    const uint8_t *data;
    size_t len;
    bool is_short;
};

void psk_put(struct psk_writer *writer, const void *data, size_t len);
void psk_put_number(struct psk_writer *writer, uint64_t value, size_t len);
/* psk_open starts a length-prefixed vector and gives its mark for psk_close. */
size_t psk_open(struct psk_writer *writer, size_t prefix_len);
void psk_close(struct psk_writer *writer, size_t mark, size_t prefix_len);

uint64_t psk_get_number(struct psk_reader *reader, size_t len);
struct hf_bytes psk_get(struct psk_reader *reader, size_t len);
uint64_t psk_load(const uint8_t *data, size_t len);
void psk_store(uint8_t *data, uint64_t value, size_t len);

/* psk_client_record.c */
void psk_out_init(struct psk_client_out *out, struct psk_client *client, psk_client_emit *emit,
                  void *arg);
void psk_out_flush(struct psk_client_out *out);
/* psk_out_record appends one record, protected when `epoch` is 1 (TLS too). */
void psk_out_record(struct psk_client_out *out, uint8_t type, uint16_t epoch,
                    const uint8_t *payload, size_t len);
void psk_out_raw(struct psk_client_out *out, const struct psk_client_record *record);
/* psk_out_message fragments one message: 4 header bytes and body, in a buffer of
 * PSK_MESSAGE_OUT_MAX. `is_first` adds it to the transcript. */
void psk_out_message(struct psk_client_out *out, uint16_t epoch, uint16_t seq, uint8_t *message,
                     size_t len, bool is_first);
void psk_out_alert(struct psk_client_out *out, uint8_t level, uint8_t description);
size_t psk_client_payload_max(const struct psk_client *client);
void psk_receive_datagram(struct psk_client_out *out, uint64_t now_us, uint8_t *bytes, size_t len,
                          psk_client_emit *data);
void psk_receive_stream(struct psk_client_out *out, uint64_t now_us, uint8_t *bytes, size_t len,
                        psk_client_emit *data);
void psk_receive_deferred(struct psk_client_out *out, uint64_t now_us, psk_client_emit *data);

/* psk_client_message.c */
/* psk_receive_handshake takes the payload of one handshake record. */
void psk_receive_handshake(struct psk_client_out *out, uint64_t now_us, uint16_t epoch,
                           const uint8_t *payload, size_t len);

/* psk_client_hello.c */
size_t psk_hello_build(const struct psk_client *client, uint8_t *message);
/* psk_hello_parse reads a ServerHello body into `client`; false: psk_client_fail was called. */
bool psk_hello_parse(struct psk_client_out *out, const uint8_t *body, size_t len);

/* psk_client_certificate.c */
/* psk_certificate_extensions writes what curves and certificate types need. */
void psk_certificate_extensions(struct psk_writer *writer, const struct psk_client *client);
bool psk_certificate_is_suite(uint16_t suite);
void psk_certificate_receive(struct psk_client_out *out, uint8_t type, const uint8_t *body,
                             size_t len);
/* psk_certificate_send sends Certificate, ClientKeyExchange, CertificateVerify from `seq` on and
 * gives the number of the message that follows. `is_first`: makes key pair, master secret and
 * signature. */
uint16_t psk_certificate_send(struct psk_client_out *out, uint16_t seq, bool is_first);
/* psk_client_master makes the master secret and the keys from the premaster secret. */
void psk_client_master(struct psk_client *client, const struct hf_secret *premaster);

/* psk_client_session.c */
/* psk_session_offer writes the session ID of a ClientHello. */
void psk_session_offer(struct psk_writer *writer, const struct psk_client *client);
/* psk_session_extension writes session_ticket, if it is offered. */
void psk_session_extension(struct psk_writer *writer, const struct psk_client *client);
/* psk_session_judge tells whether the ServerHello resumes, and takes the keys up if so. */
void psk_session_judge(struct psk_client_out *out);
/* psk_session_ticket takes a NewSessionTicket. */
void psk_session_ticket(struct psk_client_out *out, const uint8_t *body, size_t len);

/* psk_client_cid.c */
/* psk_cid_extensions writes connection_id and rrc, as far as they are offered. */
void psk_cid_extensions(struct psk_writer *writer, const struct psk_client *client);
/* psk_cid_take_extension takes the server's; false: neither of them, or it may not be. */
bool psk_cid_take_extension(struct psk_client *client, uint16_t type, struct hf_bytes body);
/* psk_cid_wrap writes a DTLSInnerPlaintext and gives its length. */
size_t psk_cid_wrap(uint8_t *inner, const struct psk_client *client, uint8_t type,
                    struct hf_bytes content);
/* psk_cid_unwrap finds the type, and the length of the content; false: only zeros. */
bool psk_cid_unwrap(uint8_t *type, const uint8_t *inner, size_t *len);
/* psk_cid_own_len gives the length of the CID that stands in a record to us. */
size_t psk_cid_own_len(const struct psk_client *client, const uint8_t *wire);
/* psk_cid_receive takes a return_routability_check message. */
void psk_cid_receive(struct psk_client_out *out, const uint8_t *payload, size_t len);

/* psk_client.c */
/* psk_client_keys makes the keys from the master secret. */
void psk_client_keys(struct psk_client *client);
void psk_client_fail(struct psk_client_out *out, uint8_t alert, const char *why);
/* psk_client_message handles one whole message, in order. */
void psk_client_message(struct psk_client_out *out, uint64_t now_us, uint16_t epoch, uint16_t seq,
                        uint8_t type, const uint8_t *body, size_t len);
void psk_client_resend(struct psk_client_out *out);

#endif
