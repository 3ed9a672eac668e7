/**
 * maf_session.h - one TLS association with a MAF, as its client: requests and responses one after
 * the other, and the key that the session exports.
 */
#ifndef HF_TOOL_MAF_SESSION_H
#define HF_TOOL_MAF_SESSION_H

#include "connect.h"
#include "maf_dial.h"

#include <maf_http.h>
#include <maf_resource.h>

struct hf_maf_session;

/** hf_maf_session_open connects and authenticates both ways. False: said why. */
bool hf_maf_session_open(struct hf_maf_session **out, const struct hf_maf_dial *dial);
void hf_maf_session_close(struct hf_maf_session *session);

/** hf_maf_session_ask sends one request and waits for its response. False: said why. `message`
 *  holds until the next call. In: `request` without host, origin and request_id. */
bool hf_maf_session_ask(struct hf_maf_session *session, const struct hf_maf_message **message,
                        const struct hf_maf_request *request);

/** hf_maf_session_export gives KcID and Kc of this session (TS-0003 10.3.1). False: said why. */
bool hf_maf_session_export(struct hf_maf_session *session, uint8_t kc_id[16], uint8_t kc[32]);

/** What a key registration asks for and gives. */
struct hf_maf_key_order {
    const char *target, *admin_fqdn;
    int64_t expires_s;            /* 0: the MAF's choice */
    struct hf_maf_resource given; /* what the MAF answered; its key is ours or the session's */
};

/** hf_maf_session_register_key registers a key of the session, or `key` of 32 bytes unless NULL,
 *  and checks what the MAF answers (TS-0003 8.3.9.9.5). False: said why. */
bool hf_maf_session_register_key(struct hf_maf_session *session, struct hf_maf_key_order *order,
                                 const uint8_t *key);

/** hf_maf_session_save_key writes a line of a key file, its owner's alone: what `handfast connect
 *  --psk-file` takes. False: said why. */
bool hf_maf_session_save_key(const char *path, const char *fqdn, const struct hf_maf_resource *key,
                             const char *entity_id);

/** hf_maf_session_read_key reads 32 bytes, in hexadecimal or base64, from a file. False: said
 *  why. */
bool hf_maf_session_read_key(uint8_t key[32], const char *path);

#endif
