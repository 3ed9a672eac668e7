/**
 * status.h - every way a call or a handshake can end. The only place where a status meets an
 * alert (RFC 5246 7.2); strings, classes and docs/ERRORS.md come from this list.
 */
#ifndef HANDFAST_STATUS_H
#define HANDFAST_STATUS_H

#include <handfast/base.h>

HF_BEGIN_DECLS

/** Who has to look at it. */
enum hf_status_class {
    HF_CLASS_NONE = 0, /**< not an error: done, waiting, dropped */
    HF_CLASS_PEER,     /**< the peer broke the protocol */
    HF_CLASS_AUTH,     /**< the peer did not prove who it is */
    HF_CLASS_LIMIT,    /**< a limit of hf_config, a deadline, or a key source that is away */
    HF_CLASS_CRYPTO,   /**< a record or message did not authenticate */
    HF_CLASS_USAGE,    /**< the caller's mistake */
    HF_CLASS_CLOSED,   /**< an orderly or disorderly end */
};

/** No alert is sent for this status. */
#define HF_ALERT_NONE 255

/* X(name, class, alert, reason, text). `reason` is the metric label; `text` is for people. */
#define HF_STATUS_MAP(X)                                                                         \
    X(OK, NONE, 255, "ok", "done")                                                               \
    X(WAITING, NONE, 255, "waiting", "no room or nothing to do now: call again later")           \
    X(DROPPED, NONE, 255, "dropped", "input was discarded and counted")                          \
    X(E_DECODE, PEER, 50, "decode_error", "a message does not parse")                            \
    X(E_UNEXPECTED_MESSAGE, PEER, 10, "unexpected_message", "a message came out of order")       \
    X(E_ILLEGAL_PARAMETER, PEER, 47, "illegal_parameter", "a field has a forbidden value")       \
    X(E_NO_COMMON_SUITE, PEER, 40, "no_common_suite", "no cipher suite in common")               \
    X(E_VERSION, PEER, 70, "protocol_version", "the peer does not offer TLS 1.2 or DTLS 1.2")    \
    X(E_NO_COMPRESSION_NULL, PEER, 47, "compression", "null compression is not offered")         \
    X(E_FALLBACK, PEER, 86, "inappropriate_fallback", "TLS_FALLBACK_SCSV below our version")     \
    X(E_RENEGOTIATION, PEER, 40, "renegotiation_info", "non-empty renegotiation_info")           \
    X(E_NO_COMMON_GROUP, PEER, 40, "no_common_group", "no elliptic curve in common")             \
    X(E_NO_COMMON_SIGNATURE, PEER, 40, "no_common_signature", "no signature algorithm in common") \
    X(E_UNRECOGNIZED_NAME, PEER, 112, "unrecognized_name", "no authority here has that name")    \
    X(E_NO_EXTENDED_MASTER_SECRET, PEER, 71, "no_extended_master_secret",                        \
      "extended master secret is required and was not offered")                                  \
    X(E_RECORD_OVERFLOW, PEER, 22, "record_overflow", "a record is longer than allowed")         \
    X(E_MESSAGE_TOO_LONG, LIMIT, 47, "message_too_long", "a handshake message exceeds the cap")  \
    X(E_PEER_ALERT, PEER, 255, "peer_alert", "the peer sent a fatal alert")                      \
    X(E_WARNING_FLOOD, PEER, 10, "warning_flood", "too many alerts or empty records in a row")   \
    X(E_KEY_UNKNOWN, AUTH, 20, "key_unknown", "no key is known for the identity")                \
    X(E_KEY_EXPIRED, AUTH, 20, "key_expired", "the key of the identity has expired")             \
    X(E_KEY_MISMATCH, AUTH, 20, "key_mismatch", "the peer's key is not the one we hold")         \
    X(E_IDENTITY_REFUSED, AUTH, 49, "identity_refused", "the entity is not admitted")            \
    X(E_NO_CERTIFICATE, AUTH, 40, "no_certificate", "the peer has no certificate")               \
    X(E_FINISHED, AUTH, 51, "finished", "the Finished message does not verify")                  \
    X(E_BAD_CERTIFICATE, PEER, 42, "bad_certificate", "a certificate or raw key does not parse") \
    X(E_CERTIFICATE_TYPE, PEER, 43, "certificate_type", "a kind of credential not accepted here") \
    X(E_CERTIFICATE_KEY, PEER, 43, "certificate_key", "a key that is not an uncompressed P-256") \
    X(E_RAW_KEY_UNKNOWN, AUTH, 46, "raw_key_unknown", "the peer's raw public key is not pinned") \
    X(E_PEER_NAME, AUTH, 42, "peer_name", "the peer is not the one that was dialled")            \
    X(E_CHAIN_SIGNATURE, AUTH, 42, "chain_signature", "a certificate's signature is wrong")      \
    X(E_BAD_SIGNATURE, AUTH, 51, "bad_signature", "the peer's signature does not verify")        \
    X(E_SIGNATURE, CRYPTO, 80, "signature", "our own signature did not verify: a fault")         \
    X(E_SIGNER, LIMIT, 80, "signer", "the remote signer did not sign")                           \
    X(E_BAD_RECORD_MAC, CRYPTO, 20, "bad_record_mac", "a record does not authenticate")          \
    X(E_FORGERY_LIMIT, CRYPTO, 255, "forgery_limit", "too many records failed to authenticate")  \
    X(E_SEQUENCE_LIMIT, LIMIT, 255, "sequence_limit", "the record numbers are used up")          \
    X(E_HANDSHAKE_LIMIT, LIMIT, 80, "handshake_limit", "all handshake slots are taken")          \
    X(E_PREFIX_LIMIT, LIMIT, 80, "prefix_limit", "too many half-open handshakes from a prefix")  \
    X(E_ASSOCIATION_LIMIT, LIMIT, 80, "association_limit", "all association slots are taken")    \
    X(E_PROOF_LIMIT, LIMIT, 80, "proof_limit", "all slots for certificate handshakes are taken") \
    X(E_JOB_TIMEOUT, LIMIT, 80, "job_timeout", "a crypto job did not come back in time")         \
    X(E_SOURCE_UNAVAILABLE, LIMIT, 80, "source_unavailable", "the key source cannot answer")     \
    X(E_SOURCE_TIMEOUT, LIMIT, 80, "source_timeout", "the key source did not answer in time")    \
    X(E_HELLO_TIMEOUT, LIMIT, 255, "hello_timeout", "no complete ClientHello in time")           \
    X(E_HANDSHAKE_TIMEOUT, LIMIT, 255, "handshake_timeout", "the handshake did not end in time") \
    X(E_RECORD_TIMEOUT, LIMIT, 255, "record_timeout", "a partial record was never completed")    \
    X(E_IDLE_TIMEOUT, LIMIT, 0, "idle_timeout", "nothing was heard for the idle limit")          \
    X(E_CREDENTIAL_EXPIRED, LIMIT, 0, "credential_expired", "the credential's life is over")     \
    X(E_CREDENTIAL_REVOKED, AUTH, 0, "credential_revoked", "the peer's credential was revoked")  \
    X(E_CONFIG, USAGE, 255, "config", "the configuration is not usable")                         \
    X(E_ARGUMENT, USAGE, 255, "argument", "an argument is out of range")                         \
    X(E_STALE, USAGE, 255, "stale", "the association or ticket is no longer live")               \
    X(E_STATE, USAGE, 255, "state", "the call does not fit the association's state")             \
    X(E_TOO_LONG, USAGE, 255, "too_long", "the data does not fit one record or datagram")        \
    X(E_MEMORY, USAGE, 255, "memory", "memory could not be mapped")                              \
    X(E_CRYPTO_LIBRARY, USAGE, 255, "crypto_library", "another libcrypto hides BoringSSL")       \
    X(E_CLOSED_BY_PEER, CLOSED, 255, "closed_by_peer", "the peer sent close_notify")             \
    X(E_CLOSED_LOCALLY, CLOSED, 0, "closed_locally", "closed on request")                        \
    X(E_TRUNCATED, CLOSED, 255, "truncated", "the connection ended without close_notify")        \
    X(E_SUPERSEDED, CLOSED, 255, "superseded", "the peer began again from the same address")

/** The outcome of a call. HF_OK is 0. */
enum hf_status {
#define HF_STATUS_ENUM(name, class_, alert, reason, text) HF_##name,
    HF_STATUS_MAP(HF_STATUS_ENUM)
#undef HF_STATUS_ENUM
    HF_STATUS_COUNT,
};

/** hf_status_text gives one line for people, never NULL. */
HF_API const char *hf_status_text(enum hf_status status);

/** hf_status_reason gives a word for metrics and logs, never NULL. */
HF_API const char *hf_status_reason(enum hf_status status);

/** hf_status_class gives the class of the status. */
HF_API enum hf_status_class hf_status_class(enum hf_status status);

/** hf_status_alert gives the alert description to send (RFC 5246 7.2), or HF_ALERT_NONE. */
HF_API uint8_t hf_status_alert(enum hf_status status);

/** hf_alert_name gives the RFC's name of an alert description, or "alert". */
HF_API const char *hf_alert_name(uint8_t alert);

HF_END_DECLS
#endif
