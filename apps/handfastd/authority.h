/**
 * authority.h - where the keys of one authority come from: a key file, held in memory, or a key
 * store in LMDB, asked through its service, or neither; its certificates; and whose the credentials
 * of peers are.
 */
#ifndef HF_AUTHORITY_H
#define HF_AUTHORITY_H

#include "credentials.h"
#include "entities.h"
#include "keystore.h"
#include "maf.h"
#include "sandbox.h"

struct hf_authority;

/** What an authority needs of its daemon. */
struct hf_authority_embedder {
    /** wake has hf_authority_drain() called on the shard's thread. Thread: any. */
    void (*wake)(uint32_t shard_index, void *arg);
    /** retired names the contexts whose associations are to end, sorted. Thread: any. */
    void (*retired)(const uint64_t *contexts, size_t count, uint32_t authority_index, void *arg);
    /** kept names those of all keys there are, sorted; one that is not above `newest` and not among
     *  them is to end. Thread: any. */
    void (*kept)(const uint64_t *contexts, size_t count, uint64_t newest, uint32_t authority_index,
                 void *arg);
    /** context_key gives what contexts of an authority's keys were made with by a predecessor
     *  whose associations go on; NULL: nothing. May be NULL itself. */
    const uint8_t *(*context_key)(const char *name, void *arg);
    void *arg;
};

/** hf_authority_open reads the key file, or opens the store and checks all of it; its processes are
 *  forked here, before the privilege to do so is given up. On false `error` holds one line. */
HF_MUST_USE bool hf_authority_open(struct hf_authority **out, char error[HF_KEYSTORE_ERROR_MAX],
                                   const struct hf_daemon_authority *config,
                                   uint32_t authority_index, uint32_t shard_count,
                                   const struct hf_sandbox *sandbox,
                                   const struct hf_authority_embedder *embedder);

/** hf_authority_context_key gives the 16 bytes that the contexts of its key file are made with. */
const uint8_t *hf_authority_context_key(const struct hf_authority *authority);

/** hf_authority_contexts gives the contexts of its key file, as hf_keystore_contexts() does. False
 *  for a store, too, which tells by itself what goes. Thread: the one of prepare. */
HF_MUST_USE bool hf_authority_contexts(const struct hf_authority *authority, uint64_t **out,
                                       size_t *out_count);

/** hf_authority_close wipes and frees; NULL is allowed. No shard may still run. */
void hf_authority_close(struct hf_authority *authority);

/** hf_authority_source gives the source of one shard. */
struct hf_key_source hf_authority_source(struct hf_authority *authority, uint32_t shard_index);

/** hf_authority_serve gives what a listener serves of it: a loan until the next commit; an engine
 *  takes references of its own. */
void hf_authority_serve(struct hf_listener_authority *out, const struct hf_authority *authority);

/** hf_authority_expiry tells when its certificates and CRLs end. Thread: any. */
void hf_authority_expiry(struct hf_credentials_expiry *out, struct hf_authority *authority);

/** hf_authority_try answers a request for a key that a MAF may have, too, if there is one of our
 *  own under that identity. A key store is asked, and the MAF later, if it knows none or cannot
 *  tell. False: nobody was asked, and there is no such key. Thread: the shard's. */
HF_MUST_USE bool hf_authority_try(struct hf_authority *authority, uint32_t shard_index,
                                  struct hf_engine *engine, const struct hf_request *request);

/** hf_authority_identify answers whose a certificate or raw key is, or whether its session still
 *  stands: hf_entities_answer(). Thread: the shard's. */
void hf_authority_identify(struct hf_authority *authority, uint32_t shard_index,
                           struct hf_engine *engine, const struct hf_request *request);

/** hf_authority_cancel: nobody waits for an answer any more. Thread: the shard's. */
void hf_authority_cancel(struct hf_authority *authority, uint32_t shard_index,
                         struct hf_ticket ticket);

/** hf_authority_drain hands over the answers that have come, and what goes on to `maf`; NULL: none
 *  is configured. Thread: the shard's. */
void hf_authority_drain(struct hf_authority *authority, uint32_t shard_index,
                        struct hf_engine *engine, struct hf_maf *maf);

/** hf_authority_prepare, _each, _commit and _abandon: as those of keystore.h. A store changes on
 *  its own, key by key: a reload only has it look at once, and tells no difference. */
HF_MUST_USE bool hf_authority_prepare(struct hf_authority *authority,
                                      struct hf_keystore_change *out,
                                      struct hf_entities_change *out_entities,
                                      char error[HF_KEYSTORE_ERROR_MAX],
                                      const struct hf_daemon_authority *config);
void hf_authority_each(const struct hf_authority *authority, hf_keyfile_differ *differ, void *arg);
void hf_authority_commit(struct hf_authority *authority);
void hf_authority_abandon(struct hf_authority *authority);

/** hf_authority_serve_prepared is hf_authority_serve() of what was prepared, to have it judged
 *  before the commit. */
void hf_authority_serve_prepared(struct hf_listener_authority *out,
                                 const struct hf_authority *authority);

/** What is known of an identity. */
enum hf_authority_knows {
    HF_AUTHORITY_HAS_NOT = 0, /**< no key, none of this authority, or not valid yet */
    HF_AUTHORITY_HAS,
    HF_AUTHORITY_HAS_EXPIRED,
    HF_AUTHORITY_CANNOT_TELL, /**< the store does not answer */
};

/** hf_authority_knows looks a key up; a store is given two seconds. Thread: the one of prepare. */
enum hf_authority_knows hf_authority_knows(struct hf_authority *authority,
                                           struct hf_bytes psk_identity);

struct hf_authority_counters {
    uint64_t keys;     /**< gauge */
    uint64_t entities; /**< gauge: credentials in the entity map */
    uint64_t reloads, reloads_failed;
    bool is_store; /**< the rest is of a store */
    bool is_serving;
    uint64_t found, refused, unavailable, damaged;
    uint64_t deaths; /**< of reading processes */
    uint64_t retired;
};

/** hf_authority_counters_get copies them out. Thread: any. */
void hf_authority_counters_get(struct hf_authority_counters *out,
                               const struct hf_authority *authority);

#endif
