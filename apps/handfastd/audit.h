/**
 * audit.h - who changed what, one line each, in a file of its own: never limited, never dropped.
 * Without such a file the lines go to the log. Keys never come here.
 */
#ifndef HF_AUDIT_H
#define HF_AUDIT_H

#include "log.h"

/** hf_audit_open opens `path` for appending, mode 0640; "" is none. False with errno. */
HF_MUST_USE bool hf_audit_open(const char *path);

/** hf_audit_reopen opens the same path anew, after a rotation; if that fails the old file stays. */
bool hf_audit_reopen(void);

/** hf_audit_close closes it. */
void hf_audit_close(void);

/** hf_audit_begin starts a line; add fields as to any line. */
void hf_audit_begin(struct hf_log_line *line, const char *event);

/** hf_audit_end writes the line before it returns. Not on a shard's thread: the disk may be slow.
 */
void hf_audit_end(struct hf_log_line *line);

/** hf_audit_errors gives the lines that could not be written. Thread: any. */
uint64_t hf_audit_errors(void);

#endif
