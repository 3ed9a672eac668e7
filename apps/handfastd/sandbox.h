/**
 * sandbox.h - giving up what serving does not need: the privileged user, and system calls.
 */
#ifndef HF_SANDBOX_H
#define HF_SANDBOX_H

#include "daemon_config.h"

#include <sys/types.h>

#define HF_SANDBOX_ERROR_MAX 2560

/** Who we are to be, and who may use the control socket. */
struct hf_sandbox {
    bool has_user; /**< and it is not who we are already */
    uid_t uid;
    gid_t gid;
    gid_t control_gid; /**< (gid_t)-1: leave it */
};

/** hf_sandbox_find looks the configured names up. On false `error` holds one line. */
HF_MUST_USE bool hf_sandbox_find(struct hf_sandbox *out, char error[HF_SANDBOX_ERROR_MAX],
                                 const struct hf_daemon_config *config);

/** hf_sandbox_drop becomes the user, for all threads, and makes sure that what a reload has to read
 *  can be read from now on. Call once every address is bound. */
HF_MUST_USE bool hf_sandbox_drop(const struct hf_sandbox *sandbox, char error[HF_SANDBOX_ERROR_MAX],
                                 const struct hf_daemon_config *config);

/** hf_sandbox_seccomp allows, for all threads, only the system calls that serving needs: others
 *  fail with EPERM, those no daemon needs (execve, ptrace ...) end the process. Does nothing unless
 *  configured. Call last: nothing is opened or started after it but what a reload reads. */
HF_MUST_USE bool hf_sandbox_seccomp(char error[HF_SANDBOX_ERROR_MAX],
                                    const struct hf_daemon_config *config);

#endif
