/**
 * proxy.h - reading a PROXY protocol header, version 2: who is behind the balancer that connected.
 */
#ifndef HF_PROXY_H
#define HF_PROXY_H

#include <handfast/status.h>

/** The longest header that is read, TLVs included; its own specification allows 65,551. */
#define HF_PROXY_LEN_MAX 2048u

struct hf_proxy_header {
    size_t len;    /**< of the header: what follows is the peer's */
    bool has_peer; /**< false: of the balancer's own doing, or it does not say */
    struct hf_address peer;
};

/** hf_proxy_read reads the header that `data` begins with. Errors: HF_WAITING (it may become one),
 *  HF_E_DECODE (never). Nothing is written then. */
HF_MUST_USE enum hf_status hf_proxy_read(struct hf_proxy_header *out, struct hf_bytes data);

#endif
