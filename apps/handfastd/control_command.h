/**
 * control_command.h - what the commands of the control socket do.
 */
#ifndef HF_CONTROL_COMMAND_H
#define HF_CONTROL_COMMAND_H

#include "control_request.h"
#include "daemon.h"

#include <jansson.h>

/** hf_control_command_run gives the answer, {"ok": true, "result": ...} or {"ok": false, "error":
 *  TEXT}; NULL without memory. In: `who` for the audit log. Thread: any but a shard's. */
json_t *hf_control_command_run(struct hf_daemon *daemon, const struct hf_control_request *request,
                               const char *who);

/** hf_control_error makes a negative answer. */
json_t *hf_control_error(const char *text);

#endif
