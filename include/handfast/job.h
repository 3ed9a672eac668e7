/**
 * job.h - a compound crypto job: everything a suspended handshake needs from P-256 and from its
 * peer's certificates at one point, asked for at once. Plain data and a ticket; no pointer to a
 * session. Jobs of a whole loop turn are run together, so that equal parts share lanes.
 *
 * An embedder with one engine calls hf_engine_run_jobs() and need not look further. One with other
 * threads or accelerators takes jobs, runs them where it likes, and gives them back in any order.
 */
#ifndef HANDFAST_JOB_H
#define HANDFAST_JOB_H

#include <handfast/credential.h>

HF_BEGIN_DECLS

/** What may be asked for, in any combination that makes sense. */
enum hf_job_part {
    HF_JOB_GENERATE = 1, /**< an ephemeral key pair */
    HF_JOB_AGREE = 2,    /**< ECDH with the peer's share; with GENERATE: of the new key */
    HF_JOB_SIGN = 4,     /**< ECDSA with a credential's key, verified before it is handed out */
    HF_JOB_VERIFY = 8,   /**< ECDSA of the peer; with CHAIN: by the key of its leaf */
    HF_JOB_CHAIN = 16,   /**< the peer's certificate chain or raw public key */
};

/** A job. The parts that are not asked for leave their fields alone. */
struct hf_job {
    struct hf_ticket ticket; /**< comes back with the answer */
    uint8_t parts;           /**< a set of enum hf_job_part */

    /** Out: HF_OK; the first failure in the order CHAIN, VERIFY, AGREE, SIGN, GENERATE; or
     *  HF_WAITING, when all but the signature of a remote key is done. On failure secrets and
     *  signature are zero. */
    enum hf_status status;

    uint8_t private_key[HF_P256_SCALAR_LEN];   /**< GENERATE: out. AGREE alone: in. Secret */
    uint8_t public_key[HF_P256_POINT_LEN];     /**< GENERATE: out */
    uint8_t peer_share[HF_P256_POINT_LEN];     /**< AGREE: in, as received; validated here */
    uint8_t shared_secret[HF_P256_SCALAR_LEN]; /**< AGREE: out, the x-coordinate. Secret */

    const struct hf_credential *credential; /**< SIGN: whose key */
    bool sign_is_share;        /**< SIGN: sign_digest is made here, over both randoms and the
                                    ServerECDHParams of public_key (RFC 8422 5.4) */
    uint8_t client_random[32]; /**< in, with sign_is_share */
    uint8_t server_random[32]; /**< in, with sign_is_share */
    uint8_t sign_digest[32];   /**< SIGN: in; with sign_is_share: out */
    uint8_t signature[HF_P256_SIGNATURE_MAX]; /**< SIGN: out, DER */
    uint8_t signature_len;

    uint8_t verify_digest[32];                       /**< VERIFY: in */
    uint8_t verify_signature[HF_P256_SIGNATURE_MAX]; /**< VERIFY: in, DER as received */
    uint8_t verify_signature_len;
    uint8_t verify_key[HF_P256_POINT_LEN]; /**< VERIFY: in; with CHAIN: out */

    const struct hf_trust *trust;            /**< CHAIN: by what it is judged */
    bool peer_is_server;                     /**< CHAIN: which extended key usage is wanted */
    bool chain_is_raw;                       /**< CHAIN: RFC 7250 was negotiated for the peer */
    int64_t wall_s;                          /**< CHAIN: now, UTC */
    const struct hf_expected_peer *expected; /**< CHAIN: NULL: read from the certificate */
    const uint8_t *chain;                    /**< CHAIN: in, the body of the Certificate message */
    uint32_t chain_len;
    struct hf_peer_identity peer; /**< CHAIN: out, all zero unless status is HF_OK or HF_WAITING */
};

/** hf_job_run does what the jobs ask, oldest first: the order of the array. Equal parts of all of
 *  them go through the lanes together. A remote credential's signature is left to the caller:
 *  status HF_WAITING, sign_digest set. Thread: any; jobs of one call are his until it returns.
 *  Cost: does not block; parsing X.509 allocates. */
HF_API void hf_job_run(struct hf_job *const *jobs, size_t job_count);

/** hf_job_complete_signature takes a remote signer's answer to a job that is HF_WAITING: checks
 *  that it is DER and verifies under the credential's key, keeps it, and sets status. Returns
 *  status. In: `signature` empty: the signer has none. Errors: HF_E_SIGNER, HF_E_SIGNATURE; then
 *  the secrets of the job are wiped. HF_E_STATE: the job is not waiting. */
HF_API enum hf_status hf_job_complete_signature(struct hf_job *job, struct hf_bytes signature);

/** hf_job_wipe clears a whole job, secrets included. Not the chain, which it only borrows. */
HF_API void hf_job_wipe(struct hf_job *job);

/** hf_job_cache keeps up to `links_max` verified signatures of CA certificates (at most 65,536; 0,
 *  the default: none) for each thread that runs jobs, so that a CA that comes again is not
 *  verified again. Dates, CRLs and all rules are still applied to every chain. Thread: any; takes
 *  effect at a thread's next hf_job_run(). */
HF_API void hf_job_cache(uint32_t links_max);

/** Kinds of operations that are batched. */
enum hf_job_kind {
    HF_JOB_KIND_GENERATE = 0,
    HF_JOB_KIND_AGREE,
    HF_JOB_KIND_SIGN,
    HF_JOB_KIND_VERIFY,
    HF_JOB_KIND_COUNT,
};

/** hf_job_kind_name gives "generate", "agree", "sign" or "verify": metric labels. */
HF_API const char *hf_job_kind_name(enum hf_job_kind kind);

#define HF_JOB_LANES_MAX 8
#define HF_JOB_RUN_BUCKETS 12

/** What the calling thread's runs have done. How long jobs wait is the embedder's to measure: no
 *  clock here. */
struct hf_job_counters {
    uint64_t runs;
    uint64_t jobs;
    /** Runs by number of jobs: bucket i counts runs of at most 2^i jobs, the last all others. Not
     *  cumulative. */
    uint64_t runs_by_jobs[HF_JOB_RUN_BUCKETS];
    /** Batches by number of operations: [kind][n - 1] counts those of n. */
    uint64_t batches[HF_JOB_KIND_COUNT][HF_JOB_LANES_MAX];
    uint64_t operations[HF_JOB_KIND_COUNT];
    uint64_t links_cached;   /**< signatures of certificates found in the cache */
    uint64_t pairs_ahead;    /**< key pairs taken from those made ahead */
    uint64_t signatures_bad; /**< our own that did not verify: a fault, or an attack */
};

/** hf_job_read_counters copies the calling thread's. */
HF_API void hf_job_read_counters(struct hf_job_counters *out);

HF_END_DECLS
#endif
