/**
 * handover_hello.h - the beginning of a handover, on the predecessor's side: can who asks go on
 * with what is here, and what he needs before he opens anything.
 */
#ifndef HF_HANDOVER_HELLO_H
#define HF_HANDOVER_HELLO_H

#include "handover.h"

#include <jansson.h>

/** hf_handover_hello_dialers describes what of dialers must be the same in both: their sockets. */
json_t *hf_handover_hello_dialers(const struct hf_daemon_config *config);

/** hf_handover_hello_authorities gives what the contexts of each one's keys are made with. */
json_t *hf_handover_hello_authorities(const struct hf_daemon *daemon);

/** hf_handover_hello_hear judges what a successor says of itself. Out: `*has_sessions`, whether it
 * takes sessions as we write them. On false `error` says why, and the successor has been told. */
HF_MUST_USE bool hf_handover_hello_hear(bool *has_sessions, char error[HF_HANDOVER_ERROR_MAX],
                                        const struct hf_daemon *daemon, int fd);

/** hf_handover_hello_tell sends the secrets that go on, and all sockets. */
HF_MUST_USE bool hf_handover_hello_tell(const struct hf_daemon *daemon, int fd, int control_fd,
                                        int listen_fd);

#endif
