/**
 * restore.h - a process that starts after a crash takes up what the checkpoint has; once.
 *
 * In this order: open (before keys are read: contexts of associations are to stay what they are),
 * run (into shards that do not serve yet), close. NULL is allowed: there is nothing.
 */
#ifndef HF_RESTORE_H
#define HF_RESTORE_H

#include "daemon.h"

struct hf_restore;

/** hf_restore_open reads the checkpoint, if that is configured, nobody is to be relieved, and there
 *  is one that may be used. What it cannot use it logs, and gives NULL. */
struct hf_restore *hf_restore_open(const struct hf_daemon_config *config);

/** hf_restore_context_key gives what the contexts of an authority's keys were made with, or NULL.
 */
const uint8_t *hf_restore_context_key(const struct hf_restore *restore, const char *name);

/** hf_restore_run takes the checkpoint away and its associations up; logs what came of it. */
void hf_restore_run(struct hf_restore *restore, struct hf_daemon *daemon);

/** hf_restore_close wipes what was read. */
void hf_restore_close(struct hf_restore *restore);

#endif
