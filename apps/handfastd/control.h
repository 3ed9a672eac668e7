/**
 * control.h - the Unix socket behind handfastctl(8): lines of JSON in, lines of JSON out, on a
 * thread of its own. Who may: root, the daemon's own user, members of the socket's group.
 */
#ifndef HF_CONTROL_H
#define HF_CONTROL_H

#include "daemon.h"
#include "sandbox.h"

struct hf_control;

#define HF_CONTROL_ERROR_MAX 320

/** hf_control_open binds the configured socket, mode 0660, and starts the thread. A socket that a
 *  dead process has left is replaced; one that somebody serves is an error. On false `error` holds
 *  one line. Call before the privilege is dropped. */
HF_MUST_USE bool hf_control_open(struct hf_control **out, char error[HF_CONTROL_ERROR_MAX],
                                 struct hf_daemon *daemon, const struct hf_sandbox *sandbox);

/** hf_control_descriptor gives its socket, for a successor; -1 for NULL. */
int hf_control_descriptor(const struct hf_control *control);

/** hf_control_close ends the thread and removes the socket; NULL is allowed. */
void hf_control_close(struct hf_control *control);

#endif
