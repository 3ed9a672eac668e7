/**
 * outbox.h - what leaves the engine: bytes for the network and events for the embedder, each a
 * bounded queue that is pulled. Nothing here is lost silently: a producer asks for room first.
 *
 * Output bytes live in one arena that begins anew with the turn, once everything was taken.
 */
#ifndef HF_OUTBOX_H
#define HF_OUTBOX_H

#include <handfast/engine.h>

struct hf_outbox {
    uint8_t *data;
    uint32_t data_len, data_max;
    uint32_t secret_begin, secret_end; /**< of `data`: to be wiped with the turn */
    struct hf_output *outputs;
    uint32_t output_head, output_count, output_max;
    struct hf_event *events;
    uint32_t event_head, event_count, event_max;
};

/** Room kept for whatever one record, timer or answer may cause: a flight with certificates, cut
 *  into small datagrams; a few events. */
#define HF_OUTBOX_RESERVE_LEN 16384
#define HF_OUTBOX_RESERVE_COUNT 72
#define HF_OUTBOX_RESERVE_EVENTS 8

/** hf_outbox_turn forgets output that was taken. */
void hf_outbox_turn(struct hf_outbox *outbox);

/** hf_outbox_has_room tells whether one more step of anything may be taken. */
bool hf_outbox_has_room(const struct hf_outbox *outbox);

/** hf_outbox_has_bytes tells whether `len` bytes of output fit beyond the reserve. */
bool hf_outbox_has_bytes(const struct hf_outbox *outbox, size_t len);

/** hf_outbox_room gives a place for at most `len` bytes, NULL when full. Nothing is queued until
 *  hf_outbox_commit(). */
uint8_t *hf_outbox_room(struct hf_outbox *outbox, size_t len);

/** hf_outbox_commit queues the first `len` bytes of the last room as `output`. Stream bytes for the
 *  connection that was last in line are joined to it. */
void hf_outbox_commit(struct hf_outbox *outbox, const struct hf_output *output, size_t len);

/** hf_outbox_again queues the bytes of the last datagram once more, as `output` says otherwise. No
 *  room: forgotten, like a datagram that is lost. */
void hf_outbox_again(struct hf_outbox *outbox, const struct hf_output *output);

/** hf_outbox_hold keeps the first `len` bytes of the last room, which are secret, for an event's
 *  view: to the end of the turn. */
void hf_outbox_hold(struct hf_outbox *outbox, size_t len);

/** hf_outbox_keep keeps the first `len` bytes of the last room for events' views: to the end of the
 *  turn. */
void hf_outbox_keep(struct hf_outbox *outbox, size_t len);

/** hf_outbox_event queues an event and gives it to be filled in (it is zero but for the kind). */
struct hf_event *hf_outbox_event(struct hf_outbox *outbox, enum hf_event_kind kind,
                                 hf_association_id association);

#endif
