/**
 * signers.h - the remote signers of the process: one for each `signer:PATH#LABEL` that any
 * authority names, found by number. Opened at the start or by a reload, closed at the end: a key
 * that a reload has replaced may still be needed by handshakes under way.
 */
#ifndef HF_SIGNERS_H
#define HF_SIGNERS_H

#include "daemon_config.h"

#include "signer.h"

#define HF_SIGNERS_MAX 64

/** hf_signers_names tells whether the text of a `key` names a signer. */
bool hf_signers_names(const char *text);

/** hf_signers_used tells whether any authority does. */
bool hf_signers_used(const struct hf_daemon_config *config);

/** hf_signers_find gives the number of a signer, opening it if it is new, and its public key if it
 *  can be asked now; otherwise `key_len` is 0 and `error` says why. False: it cannot be had at all.
 *  Thread: one at a time. */
HF_MUST_USE bool hf_signers_find(uint64_t *remote, uint8_t key[HF_SIGNER_KEY_LEN], size_t *key_len,
                                 char error[HF_SIGNER_ERROR_MAX], const char *text);

/** hf_signers_sign is the loops' handler `sign`. Thread: any loop's. */
bool hf_signers_sign(struct hf_loop *loop, struct hf_job *job, void *arg);

/** hf_signers_counters_get sums up all of them, and gives how many there are. Thread: any. */
uint32_t hf_signers_counters_get(struct hf_signer_counters *out);

/** hf_signers_close closes all. Before the loops. */
void hf_signers_close(void);

#endif
