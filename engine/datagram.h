/**
 * datagram.h - DTLS input: from a datagram to events of the machine (RFC 6347 4.1, 4.2).
 */
#ifndef HF_DATAGRAM_H
#define HF_DATAGRAM_H

#include "core.h"
#include "fragment.h"
#include "record.h"

/** One datagram on its way through. */
struct hf_arrival {
    struct hf_engine *engine;
    const struct hf_datagram *datagram;
    struct hf_path_key path;
    bool is_answered; /**< a stateless answer went out: one per datagram is all there is */
};

/** hf_datagram_fragment takes a plain or protected fragment of a half-open handshake. */
enum hf_status hf_datagram_fragment(struct hf_engine *engine, struct hf_association *association,
                                    const struct hf_fragment *fragment);

/** hf_datagram_keep saves what is kept from the handshake slot, which is about to be given back,
 * for the hf_datagram_resume() that follows. */
void hf_datagram_keep(struct hf_engine *engine, struct hf_association *association);

/** hf_datagram_resume looks at kept records again, now that the state has moved. */
void hf_datagram_resume(struct hf_engine *engine, struct hf_association *association);

#endif
