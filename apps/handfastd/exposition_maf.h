/**
 * exposition_maf.h - the metrics of keys that come from MAFs.
 */
#ifndef HF_EXPOSITION_MAF_H
#define HF_EXPOSITION_MAF_H

#include "maf.h"

#include <stdio.h>

/** hf_exposition_maf writes them; nothing when no MAF is configured. */
void hf_exposition_maf(FILE *out, struct hf_maf *maf);

#endif
