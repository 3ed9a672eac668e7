/**
 * signer.h - the client of a remote signer: hands the digests of jobs to a process that has the key
 * (docs/SIGNER.md), and the signatures back to the loops the jobs came from.
 *
 * One thread and one connection for each signer, whatever the number of loops: a hardware module
 * takes milliseconds, and a loop must not wait for it. The thread never looks into a job: it may be
 * gone by the time the answer comes, and only its loop knows.
 */
#ifndef HF_SIGNER_H
#define HF_SIGNER_H

#include "loop.h"
#include "signer_wire.h"

struct hf_signer;

#define HF_SIGNER_PATH_MAX 107 /**< bytes, as Unix sockets have it */
#define HF_SIGNER_ERROR_MAX 256
#define HF_SIGNER_WAITING_MAX 1024 /**< requests that wait at once; more are refused */
#define HF_SIGNER_KEY_LEN 91       /**< SubjectPublicKeyInfo of an uncompressed P-256 point */

struct hf_signer_config {
    const char *path;    /**< of the socket */
    const char *label;   /**< of the key; 1..64 bytes */
    uint32_t timeout_ms; /**< from request to answer, reconnecting included; 2,000 */
};

/** hf_signer_parse splits "signer:/path/socket#label" in place: `config` points into `text`. False:
 *  it is not of that form. */
HF_MUST_USE bool hf_signer_parse(struct hf_signer_config *config, char *text);

/** hf_signer_fetch_key asks for the public key, on a connection of its own. Blocks, at most
 *  timeout_ms: for the start and for reloads. On failure `error` says why. */
HF_MUST_USE enum hf_status hf_signer_fetch_key(uint8_t out[HF_SIGNER_KEY_LEN],
                                               char error[HF_SIGNER_ERROR_MAX],
                                               const struct hf_signer_config *config);

/** hf_signer_open starts the thread. The signer itself need not be there yet. */
HF_MUST_USE enum hf_status hf_signer_open(struct hf_signer **out, char error[HF_SIGNER_ERROR_MAX],
                                          const struct hf_signer_config *config);

/** hf_signer_close ends the thread; no answer comes after it. Close signers before the loops they
 *  answer to. */
void hf_signer_close(struct hf_signer *signer);

/** hf_signer_sign asks for the signature of a job that is HF_WAITING; hf_loop_give_job() follows in
 *  a later turn of `loop`, in any case but one: if the loop ends before. False: too many wait, and
 *  the job is still the caller's. Thread: the loop's. */
HF_MUST_USE bool hf_signer_sign(struct hf_signer *signer, struct hf_loop *loop, struct hf_job *job);

/** What became of requests. Readable from any thread. */
struct hf_signer_counters {
    uint64_t requests;
    uint64_t signatures; /**< answered with one; whether it is good the loops find out */
    uint64_t refusals;   /**< answered with none */
    uint64_t timeouts;
    uint64_t rejected; /**< too many waited */
    uint64_t connects;
    uint64_t disconnects;
    uint64_t waiting; /**< gauge */
};

void hf_signer_counters_get(struct hf_signer_counters *out, struct hf_signer *signer);

#endif
