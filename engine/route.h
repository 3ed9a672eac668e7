/**
 * route.h - a peer whose address changes (RFC 9146 6), and the check that it receives at the new
 * one (RFC 9853): what is asked where, what may be sent meanwhile, and when the address is its own.
 *
 * Invariant: an association's `path` is where its peer was last known to receive, or, by policy
 * and with a bound on what is sent, where its newest record came from. It changes in one function.
 */
#ifndef HF_ROUTE_H
#define HF_ROUTE_H

#include "core.h"
#include "machine.h"

/** hf_route_heard is told where an authentic record of an open association came from. In: whether
 *  it is newer than all before; its length with its header. */
void hf_route_heard(struct hf_engine *engine, struct hf_association *association,
                    const struct hf_path_key *path, bool is_newest, size_t len);

/** hf_route_send tells where a datagram of `len` bytes goes, and where else (NULL: nowhere else),
 *  and counts it. While a new address is checked it goes to the old one, which may still be the
 *  peer's, and to the new one as well, as far as the bound lets it. False: nowhere, what an
 *  unchecked address may be sent is used up. */
HF_MUST_USE bool hf_route_send(const struct hf_path_key **out, const struct hf_path_key **also,
                               struct hf_engine *engine, struct hf_association *association,
                               size_t len);

/** hf_route_due tells when hf_route_time() is to be called; false: there is nothing under way. */
HF_MUST_USE bool hf_route_due(uint32_t *due, const struct hf_engine *engine,
                              const struct hf_association *association);

/** hf_route_time takes the next step of a check that has had no answer in time. */
void hf_route_time(struct hf_engine *engine, struct hf_association *association);

/** hf_route_take is the step for a return_routability_check message. */
hf_machine_step hf_route_take;

/** hf_route_info fills in what `info` says of connection IDs and paths. */
void hf_route_info(struct hf_association_info *info, const struct hf_engine *engine,
                   const struct hf_association *association);

#endif
