/**
 * greet.h - a ClientHello that comes in the clear over UDP: from a stranger, from a peer in the
 * middle of its handshake, or from one that rebooted (RFC 6347 4.2.1, 4.2.8).
 */
#ifndef HF_GREET_H
#define HF_GREET_H

#include "datagram.h"

/** hf_greet_hello judges one fragment of a ClientHello. `association` is what the path leads to,
 *  NULL for a stranger. Nothing is allocated before the cookie has proved good. */
void hf_greet_hello(struct hf_arrival *arrival, struct hf_association *association,
                    const struct hf_record *record, const struct hf_fragment *fragment);

#endif
