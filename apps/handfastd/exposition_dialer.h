/**
 * exposition_dialer.h - what others are told of dialers: metrics, and the lines of the start.
 */
#ifndef HF_EXPOSITION_DIALER_H
#define HF_EXPOSITION_DIALER_H

#include "daemon.h"

#include <stdio.h>

/** hf_exposition_write_dialers writes their metrics; none without dialers. */
void hf_exposition_write_dialers(FILE *out, const struct hf_daemon *daemon);

#endif
