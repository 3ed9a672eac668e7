/**
 * recall.h - resumption in the client's role (RFC 5246 7.3, RFC 5077): a session that the embedder
 * has kept is offered if it still fits the order, and taken up if the server goes along; otherwise
 * there is a full handshake, and perhaps a new session to keep.
 */
#ifndef HF_RECALL_H
#define HF_RECALL_H

#include "core.h"
#include "session.h"

/** What a slot keeps: the session packed, and a ticket, the one offered or the one received. */
#define HF_RECALL_LEN (HF_SESSION_LEN_MAX + HF_RECALL_TICKET_MAX)
#define HF_RECALL_TICKET_MAX 2048

/** hf_recall_take takes up hf_connect.session, if it fits all else in the order; the names are the
 *  association's already. Secret. */
void hf_recall_take(struct hf_engine *engine, struct hf_association *association,
                    const struct hf_connect *connect);

/** hf_recall_ticket gives the ticket in the slot, offered or received. */
struct hf_bytes hf_recall_ticket(const struct hf_engine *engine, struct hf_handshake *handshake);

/** hf_recall_accept: the server goes along. Names, secrets and keys are those of the session.
 *  Errors: HF_E_ILLEGAL_PARAMETER, HF_E_NO_EXTENDED_MASTER_SECRET (RFC 7627 5.3),
 *  HF_E_ASSOCIATION_LIMIT. */
HF_MUST_USE enum hf_status hf_recall_accept(struct hf_engine *engine,
                                            struct hf_association *association);

/** hf_recall_emit hands a session to keep to the embedder, if there is a new one. */
void hf_recall_emit(struct hf_engine *engine, struct hf_association *association);

#endif
