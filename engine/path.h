/**
 * path.h - addresses and paths: canonical form, and the short key an association is found by.
 */
#ifndef HF_PATH_H
#define HF_PATH_H

#include "core.h"

/** hf_path_key makes the table key; our own address is interned, for it is one of few. False: more
 *  local addresses than configured. */
HF_MUST_USE bool hf_path_key(struct hf_path_key *out, struct hf_engine *engine,
                             const struct hf_path *path);

#endif
