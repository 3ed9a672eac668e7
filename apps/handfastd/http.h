/**
 * http.h - answers any HTTP/1.x GET or HEAD with the association's identity.
 *
 * A parser is kept for an association only while a request of it is incomplete.
 */
#ifndef HF_HTTP_H
#define HF_HTTP_H

#include <loop.h>

struct hf_http;

/** hf_http_init sets the parser's limit for heads: 8 KiB. Call once, before any thread. */
void hf_http_init(void);

/** hf_http_open makes the state of one shard. NULL without memory. */
struct hf_http *hf_http_open(void);

/** hf_http_close frees it; NULL is allowed. */
void hf_http_close(struct hf_http *http);

/** hf_http_receive takes decrypted bytes and answers every request they complete. A request that
 *  is no HTTP, too long or too slow is answered so and the association ended. */
void hf_http_receive(struct hf_http *http, struct hf_loop *loop, hf_association_id association,
                     struct hf_bytes data);

/** hf_http_forget drops what is kept for an association that is gone. */
void hf_http_forget(struct hf_http *http, hf_association_id association);

/** hf_http_second is called once a second: ends associations whose request does not end. */
void hf_http_second(struct hf_http *http, struct hf_loop *loop);

#endif
