/**
 * client.h - one request to the daemon's control socket, one answer.
 */
#ifndef HF_CTL_CLIENT_H
#define HF_CTL_CLIENT_H

#include <stdbool.h>

#include <jansson.h>

#define HF_CLIENT_ERROR_MAX 512
#define HF_CLIENT_SOCKET "/run/handfast/control.sock"

/** What handfastctl exits with. */
enum hf_client_exit {
    HF_CLIENT_DONE = 0,
    HF_CLIENT_REFUSED = 1,     /**< the daemon said no */
    HF_CLIENT_USAGE = 2,       /**< the command line is wrong */
    HF_CLIENT_UNREACHABLE = 3, /**< no daemon there, or it does not let us */
};

/** hf_client_call sends `request`, which it takes, to the daemon at `path`, and gives what is under
 *  "result" in the answer; the caller decrefs it. Otherwise `error` holds one line. */
enum hf_client_exit hf_client_call(json_t **result, char error[HF_CLIENT_ERROR_MAX],
                                   const char *path, json_t *request);

#endif
