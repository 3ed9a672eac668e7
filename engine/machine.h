/**
 * machine.h - the handshake as data: a const table of rows (state, event, step, next, clause). A
 * suspended handshake is one that expects an event that does not come from the wire.
 */
#ifndef HF_MACHINE_H
#define HF_MACHINE_H

#include "core.h"

enum hf_machine_event_kind {
    HF_MACHINE_START = 0, /**< accepted (TLS), cookie verified (DTLS), or to be dialled */
    HF_MACHINE_CLIENT_HELLO,
    HF_MACHINE_HELLO_REQUEST,
    HF_MACHINE_HELLO_VERIFY,
    HF_MACHINE_SERVER_HELLO,
    HF_MACHINE_CERTIFICATE,
    HF_MACHINE_SERVER_KEY_EXCHANGE,
    HF_MACHINE_CERTIFICATE_REQUEST,
    HF_MACHINE_SERVER_HELLO_DONE,
    HF_MACHINE_NEW_SESSION_TICKET,
    HF_MACHINE_CLIENT_KEY_EXCHANGE,
    HF_MACHINE_CERTIFICATE_VERIFY,
    HF_MACHINE_CHANGE_CIPHER_SPEC,
    HF_MACHINE_FINISHED,
    HF_MACHINE_OTHER_MESSAGE, /**< any other handshake message */
    HF_MACHINE_DATA,
    HF_MACHINE_ROUTE, /**< a return_routability_check message */
    HF_MACHINE_JOB,
    HF_MACHINE_ANSWER,
    HF_MACHINE_TIMEOUT,
    HF_MACHINE_CLOSE,
    HF_MACHINE_ALERT,
    HF_MACHINE_EVENT_COUNT,
};

struct hf_machine_event {
    enum hf_machine_event_kind kind;
    struct hf_bytes body;           /**< message, alert or data */
    uint16_t message_seq;           /**< DTLS */
    uint8_t ecn;                    /**< DATA */
    const struct hf_path_key *path; /**< ROUTE: where it came from */
    enum hf_close how;              /**< CLOSE */
    enum hf_status reason;          /**< CLOSE: why */
};

typedef enum hf_status hf_machine_step(struct hf_engine *engine, struct hf_association *association,
                                       const struct hf_machine_event *event);

struct hf_row {
    enum hf_state state;
    enum hf_machine_event_kind event;
    hf_machine_step *step;
    enum hf_state next; /**< HF_STATE_FREE: unchanged, or the step ended the association */
    const char *clause;
    enum hf_way way; /**< only on this way, which the step itself has settled; several rows for one
                          state and event differ in nothing but way and next */
};

/** hf_machine_index notes where each state's rows begin, those of every state last: an event looks
 *  at a handful of rows, however many there are. */
void hf_machine_index(uint8_t first_rows[HF_STATE_COUNT + 1]);

/** hf_machine_run finds the row and takes its step. DTLS input without a row, or that does not
 *  parse, is dropped and counted: whoever can spoof an address must not end a handshake with it.
 *  Returns HF_OK, HF_DROPPED, or the failure with which the association has ended. */
enum hf_status hf_machine_run(struct hf_engine *engine, struct hf_association *association,
                              const struct hf_machine_event *event);

/** hf_machine_fail ends the association: alert, event, wiped. Returns `status`. */
enum hf_status hf_machine_fail(struct hf_engine *engine, struct hf_association *association,
                               enum hf_status status, enum hf_machine_event_kind event,
                               const char *clause);

/** hf_machine_message gives the event of a handshake message type. */
enum hf_machine_event_kind hf_machine_message(uint8_t message_type);

/* For docs and tests: the table itself. */
const struct hf_row *hf_machine_rows(size_t *count);
const char *hf_machine_state_name(enum hf_state state);
const char *hf_machine_event_name(enum hf_machine_event_kind event);

#endif
