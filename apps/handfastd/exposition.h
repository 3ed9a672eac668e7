/**
 * exposition.h - everything the daemon counts, as Prometheus reads it.
 */
#ifndef HF_EXPOSITION_H
#define HF_EXPOSITION_H

#include "daemon.h"

#include <stdio.h>

/** hf_exposition_write writes the text format, version 0.0.4. False without memory. */
HF_MUST_USE bool hf_exposition_write(FILE *out, const struct hf_daemon *daemon);

/** hf_exposition_jobs writes what belongs to crypto jobs and remote signers; part of the above. */
void hf_exposition_jobs(FILE *out, const struct hf_daemon *daemon);

#endif
