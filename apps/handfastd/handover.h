/**
 * handover.h - the predecessor's side: hands everything over to a process that asks for it on a
 * Unix socket, and serves on until that has all of it: docs/RESTART.md.
 */
#ifndef HF_HANDOVER_H
#define HF_HANDOVER_H

#include "daemon.h"
#include "handover_wire.h"
#include "sandbox.h"
#include "takeover.h"

struct hf_handover;

/** hf_handover_open listens at `config.takeover_socket`, 0600, or goes on with the socket that a
 *  predecessor had. On false `error` holds one line. `control_fd` goes over, too; -1: none. */
HF_MUST_USE bool hf_handover_open(struct hf_handover **out, char error[HF_HANDOVER_ERROR_MAX],
                                  struct hf_daemon *daemon, const struct hf_sandbox *sandbox,
                                  struct hf_takeover *from, int control_fd);

/** hf_handover_stop ends the thread, with whatever is under way, and has hf_handover_restart()
 * return; while shards are still there. hf_handover_close frees; when nobody can be in that any
 * more. NULL is allowed. */
void hf_handover_stop(struct hf_handover *handover);
void hf_handover_close(struct hf_handover *handover);

/** hf_handover_restart has the starter start a successor, and waits until that has taken over, or
 *  will not: then false and `error`. Thread: the control socket's. */
HF_MUST_USE bool hf_handover_restart(struct hf_handover *handover, pid_t *out,
                                     char error[HF_HANDOVER_ERROR_MAX]);

#endif
