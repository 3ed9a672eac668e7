/**
 * stream.h - TLS input: from bytes of a connection to events of the machine (RFC 5246 6.2, 7.4).
 *
 * Whole records are opened where they lie. What is incomplete or must wait is kept in the handshake
 * slot while there is one; afterwards in a buffer of a bounded pool, held only as long as a record
 * is incomplete: an idle association holds none.
 */
#ifndef HF_STREAM_H
#define HF_STREAM_H

#include "core.h"

/** A buffer that a record is put together in. */
struct hf_stream_buffer {
    uint32_t next_free;
    uint32_t len;
    uint32_t begun_tick;
    uint32_t zero;
    uint8_t data[HF_STREAM_HEADER_LEN + HF_CIPHERTEXT_LEN_MAX + 3];
};

/** hf_stream_resume takes up bytes that were held back while parked. */
void hf_stream_resume(struct hf_engine *engine, struct hf_association *association);

/** hf_stream_keep moves what the handshake slot still holds to where an open association keeps it.
 *  Errors: HF_E_ASSOCIATION_LIMIT when all buffers are in use. */
HF_MUST_USE enum hf_status hf_stream_keep(struct hf_engine *engine,
                                          struct hf_association *association);

/** hf_stream_due gives the tick by which a partial record must be complete; false: none is. */
bool hf_stream_due(uint32_t *out, const struct hf_engine *engine,
                   const struct hf_association *association);

/** hf_stream_abandon gives back what a dying association holds. */
void hf_stream_abandon(struct hf_engine *engine, struct hf_association *association);

/** hf_stream_partial shows the bytes of an open association that wait in a buffer, a record under
 *  way or what has not been looked at; `*begun_tick` is untouched where there are none. */
struct hf_bytes hf_stream_partial(uint32_t *begun_tick, const struct hf_engine *engine,
                                  const struct hf_association *association);

/** hf_stream_restore gives an open association that holds no buffer one with these bytes, and puts
 *  it in line where it was: `is_queued`. Errors: HF_E_ASSOCIATION_LIMIT, HF_E_ARGUMENT: they cannot
 *  be the beginning of a record. */
HF_MUST_USE enum hf_status hf_stream_restore(struct hf_engine *engine,
                                             struct hf_association *association,
                                             struct hf_bytes partial, uint32_t begun_tick,
                                             bool is_queued);

/** hf_stream_forget takes that back. Not in a turn: no view of the buffer is about. */
void hf_stream_forget(struct hf_engine *engine, struct hf_association *association);

/** hf_stream_turn gives back buffers whose views died with the turn. */
void hf_stream_turn(struct hf_engine *engine);

#endif
