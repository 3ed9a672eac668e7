/**
 * resume.h - resumption in the server's role: sessions by ID from the shared cache (RFC 5246
 * 7.4.1.2) and in tickets (RFC 5077), one form for both (session.h). Whoever offers a session is
 * believed only after the key source has said that its credential still stands; otherwise, and for
 * whatever does not open or does not fit, there is a full handshake.
 */
#ifndef HF_RESUME_H
#define HF_RESUME_H

#include "core.h"
#include "hello.h"
#include "session.h"

/** The longest body of a NewSessionTicket: lifetime, length, key name, sealed session. */
#define HF_TICKET_BODY_MAX (6 + HF_TICKET_NAME_LEN + HF_SEAL_EXPANSION + HF_SESSION_LEN_MAX)

/** hf_resume_find looks whether `hello` offers a session that these terms admit; then it is kept in
 *  the handshake, and the names are the association's until the source has answered. Errors:
 *  HF_E_RESUMED_WITHOUT (RFC 7627 5.3: it was negotiated then). */
HF_MUST_USE enum hf_status hf_resume_find(bool *is_found, struct hf_engine *engine,
                                          struct hf_association *association,
                                          const struct hf_hello *hello);

/** hf_resume_prepare has a full handshake make a session: an ID for the cache, or a ticket. */
void hf_resume_prepare(struct hf_engine *engine, struct hf_association *association,
                       const struct hf_hello *hello);

/** hf_resume_name gives the session of a full handshake its ID, if it is for the cache. */
void hf_resume_name(const struct hf_engine *engine, struct hf_association *association);

/** hf_resume_date settles how long the session of a full handshake lives. */
void hf_resume_date(const struct hf_engine *engine, struct hf_association *association);

/** hf_resume_ticket writes the body of the NewSessionTicket from the cold record, the same each
 *  time, and gives its length; a ticket of no length where the session is too long for one. */
size_t hf_resume_ticket(uint8_t out[HF_TICKET_BODY_MAX], const struct hf_engine *engine,
                        const struct hf_association *association);

/** hf_resume_store puts the session of a full handshake into the cache, if it was given an ID. */
void hf_resume_store(struct hf_engine *engine, const struct hf_association *association);

/** hf_resume_forget takes it out again after a fatal alert (RFC 5246 7.2.2). */
void hf_resume_forget(struct hf_engine *engine, const struct hf_association *association);

#endif
