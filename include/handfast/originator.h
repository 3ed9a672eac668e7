/**
 * originator.h - may this peer say `From`? The check against impersonation that a CSE makes on each
 * request (TS-0003 7.2.1, TS-0004 7.3.2.1), from what an association proved. No state, no look-ups
 * of its own: the registrees are the application's.
 */
#ifndef HANDFAST_ORIGINATOR_H
#define HANDFAST_ORIGINATOR_H

#include <handfast/base.h>

HF_BEGIN_DECLS

/** The verdict is the Response Status Code to answer with (TS-0004 6.6), 0 to go on. */
enum hf_originator_verdict {
    HF_ORIGINATOR_OK = 0,
    HF_ORIGINATOR_BAD_REQUEST = 4000,
    HF_ORIGINATOR_NOT_AUTHENTICATED = 4106,
    HF_ORIGINATOR_ASSOCIATION_REQUIRED = 4107,
};

/** What is asked of us, as far as it matters here. */
enum hf_originator_operation {
    HF_ORIGINATOR_OTHER = 0,
    HF_ORIGINATOR_CREATE_AE,         /**< an AE registers */
    HF_ORIGINATOR_CREATE_REMOTE_CSE, /**< a CSE registers */
};

/** One request. */
struct hf_originator {
    struct hf_bytes own_cse_id;      /**< ours, absolute: "//m2msp.example/in-cse" */
    bool has_association;            /**< false: the request came unprotected */
    enum hf_entity_kind entity_kind; /**< of the association: hf_association_info */
    struct hf_bytes entity_id;       /**< likewise; AE-IDs of a list by one space each */
    enum hf_originator_operation operation;
    struct hf_bytes from; /**< as received; empty: absent */

    /** Is it registered with us? In: an absolute CSE-ID or AE-ID, the provider's domain in lower
     *  case, during the call. May be NULL: then nobody is. */
    bool (*is_registree)(struct hf_bytes entity_id, void *arg);
    void *arg;
};

/** hf_originator_check judges `From`. Identifiers are compared in their absolute form: what is
 *  relative is so to `own_cse_id`; a CSE-ID that starts with S is read as an AE-ID, as by
 *  hf_entity_kind_of(), unless it is the peer's own. In: identifiers of at most 512 bytes. Thread:
 * any. Errors: BAD_REQUEST: `From` is absent where it must not be, malformed, or not an AE-ID-Stem
 * from an AE; NOT_AUTHENTICATED: it is somebody else's; ASSOCIATION_REQUIRED: a CSE without an
 * association, or one that registers under another's name. Spec: TS-0003 7.2.1;
 * TS-0004 7.3.2.1, 7.4.4.2.1. */
HF_API enum hf_originator_verdict hf_originator_check(const struct hf_originator *originator);

/** hf_originator_verdict_name gives the standard's name of the code, in lower case. */
HF_API const char *hf_originator_verdict_name(enum hf_originator_verdict verdict);

HF_END_DECLS
#endif
