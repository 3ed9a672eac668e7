/**
 * maf_answer.h - judges what a MAF answered to a key retrieval (TS-0003 8.8.2.8): a key that may be
 * used for MAF-SAEF, a refusal that stands for a while, or nothing that could be known now.
 */
#ifndef HF_MAF_ANSWER_H
#define HF_MAF_ANSWER_H

#include "maf_http.h"
#include "maf_resource.h"

/* X(name, class, label, text). The label is the metric's. */
#define HF_MAF_OUTCOME_MAP(X)                                                                      \
    X(KEY, KEY, "key", "a key came and is good")                                                   \
    X(NOT_FOUND, REFUSED, "not_found", "the MAF knows no such key")                                \
    X(NOT_AUTHORIZED, REFUSED, "not_authorized", "we are no target of this key")                   \
    X(BAD_REQUEST, REFUSED, "bad_request", "the MAF does not accept the request")                  \
    X(EXPIRED, REFUSED, "expired", "the key has expired")                                          \
    X(SUID, REFUSED, "suid", "the key is not for SAEF")                                            \
    X(KEY_LENGTH, REFUSED, "key_length", "the key is shorter or longer than allowed")              \
    X(SOURCE_ID, REFUSED, "source_id", "there is no usable Source MAF Client ID")                  \
    X(ADMIN_FQDN, REFUSED, "admin_fqdn", "another stakeholder administrates the key")              \
    X(RESOURCE_ID, REFUSED, "resource_id", "the answer is about another key")                      \
    X(REVOKED, REFUSED, "revoked", "revoked by the operator")                                      \
    X(MALFORMED, UNAVAILABLE, "malformed", "the answer does not parse")                            \
    X(TOO_LONG, UNAVAILABLE, "too_long", "the answer is over a limit")                             \
    X(SERVER_ERROR, UNAVAILABLE, "server_error", "the MAF could not answer")                       \
    X(CONNECT, UNAVAILABLE, "connect", "no address of the MAF takes a connection")                 \
    X(AUTHENTICATION, UNAVAILABLE, "authentication", "the handshake with the MAF failed")          \
    X(BROKEN, UNAVAILABLE, "broken", "the connection ended before the answer")                     \
    X(TIMEOUT, UNAVAILABLE, "timeout", "no answer in time")                                        \
    X(CIRCUIT_OPEN, UNAVAILABLE, "circuit_open", "the MAF failed too often lately")                \
    X(LIMIT, UNAVAILABLE, "limit", "over a limit of lookups")                                      \
    X(PREFIX_LIMIT, UNAVAILABLE, "prefix_limit", "over the limit of the peer's prefix")

enum hf_maf_outcome {
#define HF_MAF_OUTCOME_ENUM(name, class_, label, text) HF_MAF_OUTCOME_##name,
    HF_MAF_OUTCOME_MAP(HF_MAF_OUTCOME_ENUM)
#undef HF_MAF_OUTCOME_ENUM
        HF_MAF_OUTCOME_COUNT,
};

enum hf_maf_class {
    HF_MAF_CLASS_KEY = 0,
    HF_MAF_CLASS_REFUSED,     /**< definitive: may be remembered for a short while */
    HF_MAF_CLASS_UNAVAILABLE, /**< transient: this handshake fails, the next one asks again */
};

/** hf_maf_outcome_class, _label and _text tell of an outcome. */
enum hf_maf_class hf_maf_outcome_class(enum hf_maf_outcome outcome);
const char *hf_maf_outcome_label(enum hf_maf_outcome outcome);
const char *hf_maf_outcome_text(enum hf_maf_outcome outcome);

/** What an answer must be like. */
struct hf_maf_expectation {
    struct hf_bytes relative_key_id; /**< what was asked for */
    struct hf_bytes admin_fqdn;      /**< empty: any */
    int64_t wall_s;
    size_t key_len_min; /**< at least HF_MAF_KEY_MIN; HF_MAF_KEY_LEN is what TS-0003 makes */
    size_t key_len_max; /**< at most HF_PSK_MAX */
};

#define HF_MAF_KEY_LEN 32

/** hf_maf_answer_judge reads a complete response. Out: on KEY and EXPIRED `out` holds the key, on
 *  anything else it is wiped; `*why` is static text or NULL. X-M2M-RSC counts, HTTP's status only
 *  where there is none. */
HF_MUST_USE enum hf_maf_outcome hf_maf_answer_judge(struct hf_maf_resource *out, const char **why,
                                                    const struct hf_maf_message *message,
                                                    const struct hf_maf_expectation *expectation);

#endif
