/**
 * exposition_takeover.h - what metrics say of restarts in which one process relieved another.
 */
#ifndef HF_EXPOSITION_TAKEOVER_H
#define HF_EXPOSITION_TAKEOVER_H

#include "daemon.h"

#include <stdio.h>

/** hf_exposition_write_takeovers writes how often, how long the last took, and what it brought.
 *  Thread: any. */
void hf_exposition_write_takeovers(FILE *out, const struct hf_daemon *daemon);

/** hf_exposition_write_checkpoints writes how often, and what the last one was. Thread: any. */
void hf_exposition_write_checkpoints(FILE *out, const struct hf_daemon *daemon);

#endif
