/**
 * credential.h - who we are and whom we believe: our certificates and keys (`hf_credential`), and
 * the anchors, CRLs and pinned raw keys a peer is judged by (`hf_trust`).
 *
 * Both are opaque, parsed once, immutable and reference-counted: a reload makes new ones, and what
 * is under way keeps the old. Opening allocates and belongs to start and reload, never to the
 * packet path. Whoever puts one into a job holds a reference until the job is back.
 */
#ifndef HANDFAST_CREDENTIAL_H
#define HANDFAST_CREDENTIAL_H

#include <handfast/keysource.h>

HF_BEGIN_DECLS

#define HF_P256_POINT_LEN 65 /**< uncompressed: 04, x, y */
#define HF_P256_SCALAR_LEN 32
#define HF_P256_SIGNATURE_MAX 72 /**< bytes of a DER ECDSA-Sig-Value */
#define HF_CHAIN_DEPTH_MAX 8     /**< certificates of a chain, the peer's own included */
#define HF_REVOCATION_HANDLE_LEN 16
#define HF_TRUST_POLICY_LEN 16

/** What kind of credential a peer holds (TS-0003 8.1.2, 10.1). A bit each: authorities accept
 *  sets, a peer has exactly one. */
enum hf_flavour {
    HF_FLAVOUR_NONE = 0,
    HF_FLAVOUR_RAW = 1,      /**< raw public key, RFC 7250; TS-0003 10.1.2 */
    HF_FLAVOUR_DEVICE = 2,   /**< hardware instance identifier; 10.1.1.4 */
    HF_FLAVOUR_CSE_ID = 4,   /**< public domain name of a CSE-ID; 10.1.1.5 */
    HF_FLAVOUR_AE_ID = 8,    /**< URI of an AE-ID; 10.1.1.6 */
    HF_FLAVOUR_NODE_ID = 16, /**< 10.1.1.8 */
    HF_FLAVOUR_FQDN = 32,    /**< of a MAF or MEF; 10.1.1.7 */
};

/** hf_flavour_name gives "raw", "device", "cse-id", "ae-id", "node-id", "fqdn" or "none". */
HF_API const char *hf_flavour_name(enum hf_flavour flavour);

/* ---- our own ------------------------------------------------------------------------------ */

struct hf_credential;

/** What a credential is made of. Views are needed during hf_credential_open() only; the caller
 *  wipes his copy of the key. */
struct hf_credential_source {
    struct hf_bytes chain_pem; /**< X.509: our certificate first, each followed by its issuer; the
                                    root may be left out. Empty: raw public key only */
    struct hf_bytes key_pem;   /**< EC PRIVATE KEY or PRIVATE KEY, unencrypted. Secret. Empty: the
                                    key is with a remote signer */
    struct hf_bytes public_key_pem; /**< PUBLIC KEY, or its DER; needed only for a remote key
                                       without chain */
    uint64_t remote;                /**< without key_pem: the embedder's name for the remote key */
    bool is_rare; /**< it will sign now and then only: no tables are made to check its signatures by
                       with lanes. They would take 86 KiB and, once, some 100 us */
};

/* X(name, text): what is odd about our own certificate, but was loaded all the same. Peers that
 * hold to TS-0003 10.1.1 may refuse it. */
#define HF_CREDENTIAL_WARNING_MAP(X)                                                               \
    X(VERSION, "the certificate is not of version 3")                                              \
    X(KEY_USAGE_MISSING, "the certificate has no keyUsage (TS-0003 10.1.1.2)")                     \
    X(KEY_USAGE, "the certificate's keyUsage lacks digitalSignature (TS-0003 10.1.1.2)")           \
    X(SERVER_AUTH, "the certificate's extended key usage lacks serverAuth")                        \
    X(CLIENT_AUTH, "the certificate's extended key usage lacks clientAuth")                        \
    X(SIGNATURE, "a certificate is not signed with ECDSA and SHA-256 (TS-0003 10.1.1.1)")          \
    X(ISSUER_KEY, "an issuer's key is not on P-256 (TS-0003 10.1.1.1)")                            \
    X(NO_NAME, "the certificate has no subjectAltName: nobody can identify us by it")              \
    X(WILDCARD, "the certificate has a wildcard name (forbidden by TS-0003 10.1.1)")               \
    X(IS_CA, "the certificate is a CA's")                                                          \
    X(ISSUER_NOT_CA, "an issuer of the chain is not marked as a CA")                               \
    X(ROOT_SENT, "the chain includes the root, which peers have or do not trust")                  \
    X(LONG, "the Certificate message is longer than 4,096 bytes: small peers may refuse it")

/** Bits of hf_credential_warnings(). */
enum hf_credential_warning {
#define HF_CREDENTIAL_WARNING_INDEX(name, text) HF__CREDENTIAL_WARNING_##name,
    HF_CREDENTIAL_WARNING_MAP(HF_CREDENTIAL_WARNING_INDEX)
#undef HF_CREDENTIAL_WARNING_INDEX
        HF_CREDENTIAL_WARNING_COUNT,
#define HF_CREDENTIAL_WARNING_BIT(name, text)                                                      \
    HF_CREDENTIAL_WARNING_##name = 1 << HF__CREDENTIAL_WARNING_##name,
    HF_CREDENTIAL_WARNING_MAP(HF_CREDENTIAL_WARNING_BIT)
#undef HF_CREDENTIAL_WARNING_BIT
};

/** hf_credential_open parses and checks: P-256 with an uncompressed point, the key belongs to the
 *  certificate, each certificate is signed by the next. Out: one reference. Errors: HF_E_CONFIG and
 *  HF_E_MEMORY, with `*why` naming what is wrong (static text); where BoringSSL keeps quiet about
 *  missing memory, HF_E_CONFIG. Secret: the private key is copied,
 *  and wiped at the last close. */
HF_API HF_MUST_USE enum hf_status hf_credential_open(struct hf_credential **out, const char **why,
                                                     const struct hf_credential_source *source);

/** hf_credential_share adds a reference and returns `credential`. Thread: any. */
HF_API struct hf_credential *hf_credential_share(const struct hf_credential *credential);

/** hf_credential_close drops a reference; the last one wipes. Thread: any. */
HF_API void hf_credential_close(struct hf_credential *credential);

/** hf_credential_message gives the body of the Certificate message (RFC 5246 7.4.2), or with
 *  `is_raw` that of RFC 7250 3: empty where the credential has no certificate; a raw key it always
 *  has. A loan as long as the reference. Thread: any, like all that only look. */
HF_API struct hf_bytes hf_credential_message(const struct hf_credential *credential, bool is_raw);

/** hf_credential_public_key gives the 65 bytes of the uncompressed point. */
HF_API const uint8_t *hf_credential_public_key(const struct hf_credential *credential);

/** hf_credential_key_digest gives SHA-256 over the SubjectPublicKeyInfo, as RFC 6920 has it. */
HF_API const uint8_t *hf_credential_key_digest(const struct hf_credential *credential);

/** hf_credential_is_remote tells whether a remote signer has the key, and gives its name. */
HF_API bool hf_credential_is_remote(uint64_t *remote, const struct hf_credential *credential);

/** hf_credential_warnings gives a set of enum hf_credential_warning. */
HF_API uint32_t hf_credential_warnings(const struct hf_credential *credential);

/** hf_credential_warning_text gives one line for one bit, never NULL. */
HF_API const char *hf_credential_warning_text(uint32_t warning);

/** hf_credential_validity gives the span in which the whole chain is valid, in UTC seconds, both
 *  inclusive; both 0 for a raw public key. */
HF_API void hf_credential_validity(int64_t *not_before_s, int64_t *not_after_s,
                                   const struct hf_credential *credential);

/* ---- the peers' --------------------------------------------------------------------------- */

struct hf_trust;

/** What is done with a CRL whose nextUpdate has passed. */
enum hf_crl_policy {
    HF_CRL_EXPIRED_WARN = 0, /**< go on using it; the metrics tell */
    HF_CRL_EXPIRED_REFUSE,   /**< refuse what it would have to answer for */
};

/** What an authority believes. Views are needed during hf_trust_open() only. hf_trust_source_init()
 *  sets the defaults given here. */
struct hf_trust_source {
    struct hf_bytes anchors_pem; /**< CERTIFICATE blocks */
    struct hf_bytes crls_pem;    /**< X509 CRL blocks */
    /** One pinned raw key a line: `digest entity-id [credential-id]`, separated by blanks. The
     *  digest is "ni:///sha-256;b64url" (RFC 6920 3) or "sha-256;b64url"; sha-256, sha-256-128 and
     *  sha-256-120 (TS-0003 10.1.2). "-" as entity-id: to be asked for. '#' begins a comment. */
    struct hf_bytes raw_keys;
    /** One CSE a line: `CSE-ID public-domain-name`, where the rule of TS-0001 7.2 does not hold. */
    struct hf_bytes names;
    uint8_t flavours;       /**< accepted: a set of enum hf_flavour; none */
    uint8_t depth_max;      /**< certificates, the peer's own included, a root not; at most 7; 4 */
    uint32_t chain_len_max; /**< bytes of a peer's Certificate message; 8,192 */
    enum hf_crl_policy crl_expired;
    bool crl_required;              /**< refuse a certificate no CRL answers for */
    bool name_constraints_required; /**< refuse a chain whose issuers constrain no name */
    uint64_t epoch;                 /**< tells reloads apart; any number not used before */
};

/** hf_trust_source_init sets the defaults. */
HF_API void hf_trust_source_init(struct hf_trust_source *source);

/** hf_trust_open parses anchors, CRLs and pins. Errors: HF_E_CONFIG and HF_E_MEMORY, with `*why`
 *  naming what is wrong (static text). */
HF_API HF_MUST_USE enum hf_status hf_trust_open(struct hf_trust **out, const char **why,
                                                const struct hf_trust_source *source);

/** hf_trust_share adds a reference and returns `trust`. Thread: any. */
HF_API struct hf_trust *hf_trust_share(const struct hf_trust *trust);

/** hf_trust_close drops a reference. Thread: any. */
HF_API void hf_trust_close(struct hf_trust *trust);

/** hf_trust_flavours gives the set of accepted flavours. */
HF_API uint8_t hf_trust_flavours(const struct hf_trust *trust);

/** hf_trust_policy gives a digest, of HF_TRUST_POLICY_LEN bytes, of what it asks of certificates
 *  besides who issued them: flavours, names of CSEs, depth, policies on CRLs and name constraints.
 *  Who is good for one trust may be nobody for another of the same anchors. */
HF_API const uint8_t *hf_trust_policy(const struct hf_trust *trust);

/** hf_trust_epoch gives the number it was opened with. */
HF_API uint64_t hf_trust_epoch(const struct hf_trust *trust);

/** hf_trust_chain_len_max gives the most bytes of a Certificate message worth keeping. */
HF_API uint32_t hf_trust_chain_len_max(const struct hf_trust *trust);

/** hf_trust_issuer_names gives the certificate_authorities of a CertificateRequest (RFC 5246
 *  7.4.4): the list with the length of each name, without that of the whole. May be empty. */
HF_API struct hf_bytes hf_trust_issuer_names(const struct hf_trust *trust);

/** hf_trust_validity gives when the first anchor expires, and when the first CRL does; UTC seconds,
 *  0 where there is none. */
HF_API void hf_trust_validity(int64_t *anchors_s, int64_t *crls_s, const struct hf_trust *trust);

/** hf_trust_is_revoked tells whether what a handle of hf_peer_identity stands for is revoked, no
 *  longer pinned, or no longer an anchor. For associations that were established under an earlier
 *  hf_trust. */
HF_API bool hf_trust_is_revoked(const struct hf_trust *trust,
                                const uint8_t handle[HF_REVOCATION_HANDLE_LEN]);

/** Whom a client dials. A loan: as long as the job is away. */
struct hf_expected_peer {
    uint8_t flavour;           /**< exactly one of enum hf_flavour */
    struct hf_bytes entity_id; /**< CSE-ID, AE-ID, Node-ID or FQDN; raw: may be empty */
};

/** Who a peer proved to be, as far as its certificate or raw key tells. */
struct hf_peer_identity {
    int64_t expires_s;   /**< last second the whole chain is valid; 0: no expiry */
    uint8_t flavour;     /**< exactly one of enum hf_flavour */
    uint8_t entity_kind; /**< enum hf_entity_kind */
    uint8_t handle_count;
    uint16_t entity_id_len; /**< 0: to be asked for (HF_REQUEST_IDENTITY) */
    uint16_t credential_id_len;
    uint8_t public_key[HF_P256_POINT_LEN];
    uint8_t handles[HF_CHAIN_DEPTH_MAX][HF_REVOCATION_HANDLE_LEN]; /**< hf_trust_is_revoked() */
    uint8_t entity_id[HF_ENTITY_ID_MAX];
    uint8_t credential_id[HF_CREDENTIAL_ID_MAX]; /**< TS-0003 10.4 */
};

HF_END_DECLS
#endif
