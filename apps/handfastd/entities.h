/**
 * entities.h - the entity map of a running daemon: read from disk, replaced as a whole on a reload,
 * as keystore.h does with keys. Shards read without locks.
 */
#ifndef HF_ENTITIES_H
#define HF_ENTITIES_H

#include <handfast/entitymap.h>

#define HF_ENTITIES_ERROR_MAX 512

struct hf_entities;

/** hf_entities_open reads the file; "": there is no map. In: `scope` as hf_entitymap_open() has
 *  it. On false `error` holds one line that names file and line. */
HF_MUST_USE bool hf_entities_open(struct hf_entities **out, char error[HF_ENTITIES_ERROR_MAX],
                                  const char *path, const char *scope, uint32_t shard_count);

/** hf_entities_close frees; NULL is allowed. No shard may still run. */
void hf_entities_close(struct hf_entities *entities);

/** hf_entities_answer answers an HF_REQUEST_IDENTITY or HF_REQUEST_SESSION for a certificate or raw
 *  key. A credential without an entity is left to the CSE, which settles it at registration.
 *  Thread: the shard's. */
void hf_entities_answer(struct hf_entities *entities, uint32_t shard_index,
                        struct hf_engine *engine, const struct hf_request *request);

/** What a reload would do. */
struct hf_entities_change {
    uint64_t before, after; /**< credentials in the map */
    uint64_t added, removed, changed;
    uint64_t *ended; /**< contexts of answers that no longer hold, sorted; the caller frees it */
    size_t ended_count;
};

/** hf_entities_prepare reads `path` beside what is in use, and counts the difference.
 *  hf_entities_commit or hf_entities_abandon must follow. Thread: one at a time. */
HF_MUST_USE bool hf_entities_prepare(struct hf_entities *entities, struct hf_entities_change *out,
                                     char error[HF_ENTITIES_ERROR_MAX], const char *path);

/** hf_entities_commit puts it into use: when it returns, no answer comes from the former. */
void hf_entities_commit(struct hf_entities *entities);

/** hf_entities_abandon forgets it. */
void hf_entities_abandon(struct hf_entities *entities);

/** hf_entities_count gives the number of credentials in use. Thread: any. */
uint64_t hf_entities_count(const struct hf_entities *entities);

#endif
