/**
 * coap.h - answers CoAP requests for /whoami (RFC 7252, blocks as RFC 7959). Stateless: a repeated
 * request is answered again.
 */
#ifndef HF_COAP_H
#define HF_COAP_H

#include <loop.h>

/** hf_coap_init silences libcoap's own messages. Call once. */
void hf_coap_init(void);

/** hf_coap_receive answers one datagram of application data. `message_id` is the shard's counter
 *  for messages we begin ourselves. */
void hf_coap_receive(struct hf_loop *loop, hf_association_id association, struct hf_bytes data,
                     uint16_t *message_id);

#endif
