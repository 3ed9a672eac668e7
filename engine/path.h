/**
 * path.h - addresses and paths: canonical form, and the short key an association is found by.
 */
#ifndef HF_PATH_H
#define HF_PATH_H

#include "core.h"

/** local_index of a path to an address of ours that no association has been at. */
#define HF_PATH_LOCAL_NONE UINT16_MAX

/** hf_path_seek makes the table key without remembering anything: where our own address is not
 *  known, nobody is found by it. So strangers do not fill the list of addresses. */
void hf_path_seek(struct hf_path_key *out, const struct hf_engine *engine,
                  const struct hf_path *path);

/** hf_path_key makes the table key for an association to be found by; our own address is interned,
 *  for it is one of few. False: more local addresses than configured. */
HF_MUST_USE bool hf_path_key(struct hf_path_key *out, struct hf_engine *engine,
                             const struct hf_path *path);

#endif
