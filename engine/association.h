/**
 * association.h - the life of an association and of its handshake slot: taken, found, armed,
 * failed, ended. Identity blocks too. Every end of every association goes through
 * hf_association_end().
 */
#ifndef HF_ASSOCIATION_H
#define HF_ASSOCIATION_H

#include "core.h"

enum hf_role {
    HF_ROLE_SERVER = 0,
    HF_ROLE_CLIENT,
};

uint32_t hf_association_index(const struct hf_engine *engine,
                              const struct hf_association *association);

hf_association_id hf_association_handle(const struct hf_engine *engine,
                                        const struct hf_association *association);

/** hf_association_find gives the live association behind a handle, NULL when it is stale. */
struct hf_association *hf_association_find(const struct hf_engine *engine, hf_association_id id);

/** hf_association_path rebuilds the path from the key. */
struct hf_path hf_association_path(const struct hf_engine *engine,
                                   const struct hf_association *association);

/** hf_association_path_to rebuilds one that is not, or not yet, the association's own. */
struct hf_path hf_association_path_to(const struct hf_engine *engine,
                                      const struct hf_association *association,
                                      const struct hf_path_key *key);

/** hf_association_open takes a record and a handshake slot in state HF_STATE_SV_START or _CL_START.
 *  `index` is the listener's, or the dialer's. Errors: HF_E_ASSOCIATION_LIMIT,
 * HF_E_HANDSHAKE_LIMIT, HF_E_PREFIX_LIMIT (server). */
HF_MUST_USE enum hf_status hf_association_open(struct hf_association **out,
                                               struct hf_engine *engine, enum hf_role role,
                                               uint32_t index, const struct hf_path_key *path);

/** hf_association_establish gives the handshake slot back: the record alone stays. */
void hf_association_establish(struct hf_engine *engine, struct hf_association *association);

/** hf_association_end ends it: the event (HANDSHAKE_FAILED or CLOSED) is queued, a pending request
 *  is cancelled, everything secret is wiped. `failure` is copied; NULL: there was no room for a
 *  handshake of our own that nobody has heard of yet, and there is no event. Sends nothing. */
void hf_association_end(struct hf_engine *engine, struct hf_association *association,
                        const struct hf_failure *failure);

/** How an embedder has an association end. */
enum hf_leave {
    HF_LEAVE_SILENT = 1 + HF_CLOSE_SILENT,
    HF_LEAVE_NOTIFY = 1 + HF_CLOSE_NOTIFY,
    HF_LEAVE_WRITE = 1 + HF_CLOSE_WRITE,
    HF_LEAVE_TRUNCATED, /**< its connection ended */
};

/** hf_association_leave ends it on the embedder's word: now, or as soon as a turn begins with room
 *  for the event. */
void hf_association_leave(struct hf_engine *engine, struct hf_association *association,
                          enum hf_leave leave);

/** hf_association_event queues an event about the association, filled in but for its particulars.
 */
struct hf_event *hf_association_event(struct hf_engine *engine,
                                      const struct hf_association *association,
                                      enum hf_event_kind kind);

/** hf_association_successor gives the handshake a rebooted client has under way, or NULL. */
struct hf_association *hf_association_successor(const struct hf_engine *engine,
                                                const struct hf_association *association);

/** hf_association_is_expired tells whether the credential's life is over (TS-0001 11.3.2). Asked at
 *  every use; no timer fires because the wall clock jumped. */
static inline bool hf_association_is_expired(const struct hf_engine *engine,
                                             const struct hf_association *association)
{
    return association->expires_s && engine->wall_s >= (int64_t)association->expires_s;
}

/** hf_association_arm sets the timer to the earliest thing that is due. */
void hf_association_arm(struct hf_engine *engine, struct hf_association *association);

/** hf_handshake_spoil notes the first thing that went wrong without ending the handshake. A spoiled
 *  one is sacrificed first when slots run out. */
void hf_handshake_spoil(struct hf_engine *engine, struct hf_handshake *handshake,
                        const struct hf_failure *failure);

/* Variable parts of a handshake slot. */
static inline uint8_t *hf_handshake_identity(const struct hf_engine *engine,
                                             struct hf_handshake *handshake)
{
    return (uint8_t *)handshake + engine->slot.identity;
}

static inline uint8_t *hf_handshake_message(const struct hf_engine *engine,
                                            struct hf_handshake *handshake)
{
    return (uint8_t *)handshake + engine->slot.message;
}

static inline uint8_t *hf_handshake_kept(const struct hf_engine *engine,
                                         struct hf_handshake *handshake)
{
    return (uint8_t *)handshake + engine->slot.kept;
}

#endif
