/**
 * keylog.h - the NSS key log: gives every association's secrets away, for debugging only.
 */
#ifndef HF_KEYLOG_H
#define HF_KEYLOG_H

#include <handfast/engine.h>

/** hf_keylog_open opens `path` for appending, mode 0600. Returns a descriptor, or -1 with errno. */
HF_MUST_USE int hf_keylog_open(const char *path);

/** hf_keylog_write appends the line of a HF_EVENT_KEYLOG. Thread: any; one write(2) a line. */
void hf_keylog_write(int fd, const struct hf_event *event);

#endif
