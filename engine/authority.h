/**
 * authority.h - who we are, by the name a peer asks for (RFC 6066 3): the engine's own copy of each
 * listener's authorities, with a reference to every credential and trust in it.
 */
#ifndef HF_AUTHORITY_H
#define HF_AUTHORITY_H

#include "core.h"

/** Our Certificate message must fit one flight, however small the datagrams. */
#define HF_AUTHORITY_MESSAGE_LEN_MAX 10000

/** hf_authority_check gives NULL, or what is wrong with a listener's authorities (static text). */
const char *hf_authority_check(const struct hf_listener *listener);

/** hf_authority_adopt makes `listener` the engine's listener of that index; what was there before
 *  is let go. The listener has been checked. */
void hf_authority_adopt(struct hf_engine *engine, uint32_t listener_index,
                        const struct hf_listener *listener);

/** hf_authority_release lets go of a listener's credentials. */
void hf_authority_release(struct hf_engine *engine, uint32_t listener_index);

/** hf_authority_check_dialer gives NULL, or what is wrong with a dialer's credentials. */
const char *hf_authority_check_dialer(const struct hf_dialer *dialer);

/** hf_authority_adopt_dialer makes `dialer` the engine's of that index, as hf_authority_adopt(). */
void hf_authority_adopt_dialer(struct hf_engine *engine, uint32_t dialer_index,
                               const struct hf_dialer *dialer);

/** hf_authority_release_dialer lets go of a dialer's credentials. */
void hf_authority_release_dialer(struct hf_engine *engine, uint32_t dialer_index);

/** hf_authority_is_shown tells whether `x509` may stand in for the dialer's certificate; NULL
 *  may. */
bool hf_authority_is_shown(const struct hf_dialer *dialer, const struct hf_credential *x509);

/** hf_authority_find gives the index of the authority that answers to a name (none: empty), and
 *  whether it is by that name. Errors: HF_E_UNRECOGNIZED_NAME. */
HF_MUST_USE enum hf_status hf_authority_find(uint8_t *out, bool *is_name_known,
                                             const struct hf_listener *listener,
                                             struct hf_bytes server_name);

#endif
