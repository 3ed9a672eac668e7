/**
 * pair.h - SA2, the way back: an association that we, Entity B, open to a peer that has its own
 * point of access (TS-0003 8.2.1). Only to who has been here by SA1 and has registered, and bound
 * to the same identity and credential.
 *
 * The application keeps one of these with a registration, for as long as that lasts; SA1 itself may
 * be gone by then. Plain data, no look-ups.
 */
#ifndef HANDFAST_PAIR_H
#define HANDFAST_PAIR_H

#include <handfast/engine.h>

HF_BEGIN_DECLS

/** What SA1 has proved, and the registration has settled. Read what you like. */
struct hf_pair {
    bool is_registered;
    enum hf_reference_point reference_point;
    enum hf_entity_kind entity_kind;
    enum hf_framework framework;
    int64_t expires_s; /**< of the credential, UTC seconds; 0: no expiry */
    uint16_t entity_id_len;
    uint16_t credential_id_len;
    char entity_id[HF_ENTITY_ID_MAX + 1]; /**< NUL-terminated, as in hf_association_info */
    char credential_id[HF_CREDENTIAL_ID_MAX + 1];
};

/** hf_pair_begin takes down who has come by SA1. Errors: HF_E_STATE (not established, or we are the
 *  client of it: then it is no SA1 of a peer of ours); HF_E_ARGUMENT (neither entity nor credential
 *  is known: there is nothing to bind to). */
HF_API HF_MUST_USE enum hf_status hf_pair_begin(struct hf_pair *out,
                                                const struct hf_association_info *sa1);

/** hf_pair_register says that the registration has succeeded, and as whom. Where SA1 named one
 *  entity it must be that one; where it named a list, one of it; where the AE-ID was still to be
 *  settled, it is settled now. Errors: HF_E_IDENTITY_REFUSED; HF_E_ARGUMENT (empty, or too long).
 */
HF_API HF_MUST_USE enum hf_status hf_pair_register(struct hf_pair *pair, struct hf_bytes entity_id);

/** hf_pair_deregister: from now on there is no SA2. Associations that are there are the caller's to
 *  close. */
HF_API void hf_pair_deregister(struct hf_pair *pair);

HF_END_DECLS
#endif
