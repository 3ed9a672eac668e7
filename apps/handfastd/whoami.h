/**
 * whoami.h - what an association is, as the JSON object that the responder gives its peer.
 */
#ifndef HF_WHOAMI_H
#define HF_WHOAMI_H

#include <handfast/engine.h>

/** hf_whoami_json describes the association in one line of JSON. Owns: the caller frees it. NULL
 *  without memory. Octets that are no UTF-8 are written \xNN. */
char *hf_whoami_json(size_t *out_len, const struct hf_association_info *info);

#endif
