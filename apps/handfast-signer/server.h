/**
 * server.h - the socket of the signer: who may connect, packets in, packets out.
 */
#ifndef HF_SIGNER_SERVER_H
#define HF_SIGNER_SERVER_H

#include "keys.h"

#include <sys/types.h>

#define SERVER_UIDS_MAX 16

struct server_config {
    const char *path;
    mode_t mode;
    uid_t uids[SERVER_UIDS_MAX]; /**< besides root and ourselves */
    size_t uid_count;
};

/** server_run serves until SIGTERM or SIGINT. False: `error` says why it could not begin. */
HF_MUST_USE bool server_run(char error[KEYS_ERROR_MAX], struct keys *keys,
                            const struct server_config *config);

#endif
