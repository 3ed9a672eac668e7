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
#define HF_STATUS_MAP(X)                                                                           \
    X(OK, NONE, 255, "ok", "done")                                                                 \
    X(WAITING, NONE, 255, "waiting", "no room or nothing to do now: call again later")             \
    X(DROPPED, NONE, 255, "dropped", "input was discarded and counted")                            \
    X(E_DECODE, PEER, 50, "decode_error", "a message does not parse")                              \
    X(E_UNEXPECTED_MESSAGE, PEER, 10, "unexpected_message", "a message came out of order")         \
    X(E_ILLEGAL_PARAMETER, PEER, 47, "illegal_parameter", "a field has a forbidden value")         \
    X(E_NO_COMMON_SUITE, PEER, 40, "no_common_suite", "no cipher suite in common")                 \
    X(E_VERSION, PEER, 70, "protocol_version", "the peer does not offer TLS 1.2 or DTLS 1.2")      \
    X(E_NO_COMPRESSION_NULL, PEER, 47, "compression", "null compression is not offered")           \
    X(E_FALLBACK, PEER, 86, "inappropriate_fallback", "TLS_FALLBACK_SCSV below our version")       \
    X(E_RENEGOTIATION, PEER, 40, "renegotiation_info", "non-empty renegotiation_info")             \
    X(E_NO_COMMON_GROUP, PEER, 40, "no_common_group", "no elliptic curve in common")               \
    X(E_NO_COMMON_SIGNATURE, PEER, 40, "no_common_signature", "no signature algorithm in common")  \
    X(E_UNRECOGNIZED_NAME, PEER, 112, "unrecognized_name", "no authority here has that name")      \
    X(E_NO_EXTENDED_MASTER_SECRET, PEER, 71, "no_extended_master_secret",                          \
      "extended master secret is required and was not offered")                                    \
    X(E_RESUMED_WITHOUT, PEER, 40, "resumed_without_extended_master_secret",                       \
      "a session with extended master secret is to be resumed without")                            \
    X(E_UNSUPPORTED_EXTENSION, PEER, 110, "unsupported_extension",                                 \
      "the server answers an extension that was not offered")                                      \
    X(E_RECORD_OVERFLOW, PEER, 22, "record_overflow", "a record is longer than allowed")           \
    X(E_MESSAGE_TOO_LONG, LIMIT, 47, "message_too_long", "a handshake message exceeds the cap")    \
    X(E_PEER_ALERT, PEER, 255, "peer_alert", "the peer sent a fatal alert")                        \
    X(E_WARNING_FLOOD, PEER, 10, "warning_flood", "too many alerts or empty records in a row")     \
    X(E_KEY_UNKNOWN, AUTH, 20, "key_unknown", "no key is known for the identity")                  \
    X(E_KEY_EXPIRED, AUTH, 20, "key_expired", "the key of the identity has expired")               \
    X(E_KEY_MISMATCH, AUTH, 20, "key_mismatch", "the peer's key is not the one we hold")           \
    X(E_NO_CREDENTIAL, AUTH, 80, "no_credential", "we hold no key for what we were to dial as")    \
    X(E_IDENTITY_REFUSED, AUTH, 49, "identity_refused", "the entity is not admitted")              \
    X(E_NO_CERTIFICATE, AUTH, 40, "no_certificate", "the peer has no certificate")                 \
    X(E_FINISHED, AUTH, 51, "finished", "the Finished message does not verify")                    \
    X(E_BAD_CERTIFICATE, PEER, 42, "bad_certificate", "a certificate or raw key does not parse")   \
    X(E_CERTIFICATE_TYPE, PEER, 43, "certificate_type", "a kind of credential not accepted here")  \
    X(E_CERTIFICATE_KEY, PEER, 43, "certificate_key", "a key that is not an elliptic curve's")     \
    X(E_CERTIFICATE_MISSING, PEER, 40, "certificate_missing", "the peer sent no certificate")      \
    X(E_CERTIFICATE_VERSION, PEER, 43, "certificate_version", "a certificate not of version 3")    \
    X(E_CERTIFICATE_SERIAL, PEER, 42, "certificate_serial",                                        \
      "a serial number that is zero, negative or too long")                                        \
    X(E_CERTIFICATE_CURVE, PEER, 43, "certificate_curve", "a key on another curve than P-256")     \
    X(E_CERTIFICATE_POINT_FORMAT, PEER, 43, "certificate_point_format",                            \
      "a key that is not an uncompressed point")                                                   \
    X(E_CERTIFICATE_POINT, PEER, 42, "certificate_point", "a key that is no point of the curve")   \
    X(E_CERTIFICATE_ALGORITHM, PEER, 43, "certificate_algorithm",                                  \
      "a certificate not signed with ECDSA and SHA-256")                                           \
    X(E_CERTIFICATE_DUPLICATE_EXTENSION, PEER, 42, "certificate_duplicate_extension",              \
      "a certificate has an extension twice")                                                      \
    X(E_CERTIFICATE_CRITICAL_EXTENSION, PEER, 43, "certificate_critical_extension",                \
      "a certificate has an extension that must be understood and is not")                         \
    X(E_CERTIFICATE_NOT_YET_VALID, AUTH, 45, "certificate_not_yet_valid",                          \
      "a certificate of the chain is not valid yet")                                               \
    X(E_CERTIFICATE_EXPIRED, AUTH, 45, "certificate_expired",                                      \
      "a certificate of the chain has expired")                                                    \
    X(E_CERTIFICATE_UNKNOWN_CA, AUTH, 48, "unknown_ca", "the chain leads to no trusted CA")        \
    X(E_CERTIFICATE_SELF_SIGNED, AUTH, 48, "self_signed",                                          \
      "the peer's certificate is its own issuer")                                                  \
    X(E_CHAIN_BROKEN, PEER, 42, "chain_broken", "a certificate is not issued by the next one")     \
    X(E_CHAIN_DEPTH, LIMIT, 48, "chain_depth", "the chain has more certificates than allowed")     \
    X(E_CHAIN_LENGTH, LIMIT, 42, "chain_length", "the chain has more bytes than allowed")          \
    X(E_CERTIFICATE_IS_CA, PEER, 43, "certificate_is_ca", "the peer's certificate is a CA's")      \
    X(E_CERTIFICATE_NOT_CA, AUTH, 48, "issuer_not_ca", "an issuer of the chain is not a CA")       \
    X(E_CERTIFICATE_ISSUER_USAGE, AUTH, 48, "issuer_key_usage",                                    \
      "an issuer's key usage does not let it sign certificates or CRLs")                           \
    X(E_CERTIFICATE_PATH_LENGTH, AUTH, 48, "path_length",                                          \
      "an issuer allows no CA so far below it")                                                    \
    X(E_CERTIFICATE_KEY_USAGE, PEER, 43, "key_usage",                                              \
      "the peer's key usage is absent or lacks digitalSignature")                                  \
    X(E_CERTIFICATE_EXTENDED_KEY_USAGE, PEER, 43, "extended_key_usage",                            \
      "an extended key usage does not allow the peer's role")                                      \
    X(E_CERTIFICATE_CONSTRAINT, AUTH, 46, "name_constraint",                                       \
      "a name is outside an issuer's name constraints")                                            \
    X(E_CERTIFICATE_CONSTRAINT_UNKNOWN, AUTH, 43, "name_constraint_unknown",                       \
      "a name constraint cannot be judged")                                                        \
    X(E_CERTIFICATE_CONSTRAINT_MISSING, AUTH, 46, "name_constraint_missing",                       \
      "no issuer of the chain constrains names, as it has to")                                     \
    X(E_CERTIFICATE_IDENTITY, AUTH, 42, "certificate_identity",                                    \
      "the certificate has no name that identifies an entity")                                     \
    X(E_CERTIFICATE_AMBIGUOUS, AUTH, 42, "certificate_ambiguous",                                  \
      "the certificate has several names that could identify the peer")                            \
    X(E_CERTIFICATE_WILDCARD, AUTH, 42, "certificate_wildcard",                                    \
      "the certificate has a wildcard name")                                                       \
    X(E_CERTIFICATE_REVOKED, AUTH, 44, "certificate_revoked",                                      \
      "a certificate of the chain is revoked")                                                     \
    X(E_CRL_MISSING, LIMIT, 46, "crl_missing", "there is no CRL of an issuer, as there has to be") \
    X(E_CRL_NOT_YET_VALID, LIMIT, 46, "crl_not_yet_valid", "an issuer's CRL is not valid yet")     \
    X(E_CRL_EXPIRED, LIMIT, 46, "crl_expired", "an issuer's CRL has expired")                      \
    X(E_RAW_KEY_UNKNOWN, AUTH, 46, "raw_key_unknown", "the peer's raw public key is not pinned")   \
    X(E_PEER_NAME, AUTH, 42, "peer_name", "the peer is not the one that was dialled")              \
    X(E_CHAIN_SIGNATURE, AUTH, 42, "chain_signature", "a certificate's signature is wrong")        \
    X(E_BAD_SIGNATURE, AUTH, 51, "bad_signature", "the peer's signature does not verify")          \
    X(E_SIGNATURE, CRYPTO, 80, "signature", "our own signature did not verify: a fault")           \
    X(E_SIGNER, LIMIT, 80, "signer", "the remote signer did not sign")                             \
    X(E_BAD_RECORD_MAC, CRYPTO, 20, "bad_record_mac", "a record does not authenticate")            \
    X(E_FORGERY_LIMIT, CRYPTO, 255, "forgery_limit", "too many records failed to authenticate")    \
    X(E_SEQUENCE_LIMIT, LIMIT, 255, "sequence_limit", "the record numbers are used up")            \
    X(E_HANDSHAKE_LIMIT, LIMIT, 80, "handshake_limit", "all handshake slots are taken")            \
    X(E_PREFIX_LIMIT, LIMIT, 80, "prefix_limit", "too many half-open handshakes from a prefix")    \
    X(E_ASSOCIATION_LIMIT, LIMIT, 80, "association_limit", "all association slots are taken")      \
    X(E_AUTHORITY_LIMIT, LIMIT, 80, "authority_limit", "the authority has used up its share")      \
    X(E_PROOF_LIMIT, LIMIT, 80, "proof_limit", "all slots for certificate handshakes are taken")   \
    X(E_JOB_TIMEOUT, LIMIT, 80, "job_timeout", "a crypto job did not come back in time")           \
    X(E_SOURCE_UNAVAILABLE, LIMIT, 80, "source_unavailable", "the key source cannot answer")       \
    X(E_SOURCE_TIMEOUT, LIMIT, 80, "source_timeout", "the key source did not answer in time")      \
    X(E_HELLO_TIMEOUT, LIMIT, 255, "hello_timeout", "no complete ClientHello in time")             \
    X(E_HANDSHAKE_TIMEOUT, LIMIT, 255, "handshake_timeout", "the handshake did not end in time")   \
    X(E_RECORD_TIMEOUT, LIMIT, 255, "record_timeout", "a partial record was never completed")      \
    X(E_IDLE_TIMEOUT, LIMIT, 0, "idle_timeout", "nothing was heard for the idle limit")            \
    X(E_AGE_LIMIT, LIMIT, 0, "age_limit", "the association is as old as it may become")            \
    X(E_EVICTED, LIMIT, 0, "evicted", "silent for long, it made room for another")                 \
    X(E_CREDENTIAL_EXPIRED, LIMIT, 0, "credential_expired", "the credential's life is over")       \
    X(E_CREDENTIAL_REVOKED, AUTH, 0, "credential_revoked", "the peer's credential was revoked")    \
    X(E_CONFIG, USAGE, 255, "config", "the configuration is not usable")                           \
    X(E_ARGUMENT, USAGE, 255, "argument", "an argument is out of range")                           \
    X(E_STALE, USAGE, 255, "stale", "the association or ticket is no longer live")                 \
    X(E_STATE, USAGE, 255, "state", "the call does not fit the association's state")               \
    X(E_TOO_LONG, USAGE, 255, "too_long", "the data does not fit one record or datagram")          \
    X(E_MEMORY, USAGE, 255, "memory", "memory could not be mapped")                                \
    X(E_CRYPTO_LIBRARY, USAGE, 255, "crypto_library", "another libcrypto hides BoringSSL")         \
    X(E_CLOSED_BY_PEER, CLOSED, 255, "closed_by_peer", "the peer sent close_notify")               \
    X(E_CLOSED_LOCALLY, CLOSED, 0, "closed_locally", "closed on request")                          \
    X(E_UNREACHABLE, CLOSED, 255, "unreachable", "no connection to the address came about")        \
    X(E_TRUNCATED, CLOSED, 255, "truncated", "the connection ended without close_notify")          \
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
