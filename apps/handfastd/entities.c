/**
 * entities.c - see entities.h.
 */
#include "entities.h"

#include "contexts.h"
#include "file.h"
#include "swap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(HF_FILE_ERROR_MAX <= HF_ENTITIES_ERROR_MAX, "one error fits the other");

struct hf_entities {
    const char *scope;
    struct hf_swap map; /* struct hf_entitymap; NULL: none is configured */
    struct hf_entitymap *prepared;
    bool is_prepared;
    _Atomic uint64_t count;
};

/* "" gives no map. */
static bool load(struct hf_entitymap **out, char *error, const char *path, const char *scope)
{
    char why[HF_ENTITYMAP_ERROR_MAX];
    struct hf_file file;
    *out = NULL;
    if (path[0] == '\0')
        return true;
    if (!hf_file_read(&file, error, path, false))
        return false;
    struct hf_bytes scope_bytes = {(const uint8_t *)scope, strlen(scope)};
    bool is_good = hf_entitymap_open(out, why, hf_file_view(&file), scope_bytes) == HF_OK;
    if (!is_good)
        snprintf(error, HF_ENTITIES_ERROR_MAX, "%.250s: %.250s", path, why);
    hf_file_wipe(&file);
    return is_good;
}

bool hf_entities_open(struct hf_entities **out, char error[HF_ENTITIES_ERROR_MAX], const char *path,
                      const char *scope, uint32_t shard_count)
{
    struct hf_entitymap *map = NULL;
    if (!load(&map, error, path, scope))
        return false;
    struct hf_entities *entities = calloc(1, sizeof(*entities));
    if (entities == NULL || !hf_swap_open(&entities->map, shard_count, map)) {
        snprintf(error, HF_ENTITIES_ERROR_MAX, "no memory for an entity map");
        free(entities);
        hf_entitymap_close(map);
        return false;
    }
    entities->scope = scope;
    entities->count = hf_entitymap_count(map);
    *out = entities;
    return true;
}

void hf_entities_close(struct hf_entities *entities)
{
    if (entities == NULL)
        return;
    hf_entitymap_close(entities->prepared);
    hf_entitymap_close(hf_swap_close(&entities->map));
    free(entities);
}

void hf_entities_answer(struct hf_entities *entities, uint32_t shard_index,
                        struct hf_engine *engine, const struct hf_request *request)
{
    const struct hf_entitymap *map = hf_swap_begin(&entities->map, shard_index);
    struct hf_answer answer;
    hf_entitymap_answer(&answer, map, request->credential_id);
    if (request->kind == HF_REQUEST_SESSION &&
        !hf_entitymap_is_standing(map, request->credential_id, request->context))
        answer = (struct hf_answer){.kind = HF_ANSWER_REFUSED};
    (void)hf_engine_answer(engine, request->ticket, &answer);
    hf_swap_end(&entities->map, shard_index);
}

/* ---- a reload ----------------------------------------------------------------------------- */

static void count_difference(const struct hf_entitymap_difference *difference, void *arg)
{
    struct hf_entities_change *change = arg;
    change->added += difference->change == HF_KEYFILE_ADDED;
    change->removed += difference->change == HF_KEYFILE_REMOVED;
    change->changed += difference->change == HF_KEYFILE_CHANGED;
    if (difference->change != HF_KEYFILE_ADDED)
        change->ended[change->ended_count++] = difference->context;
}

bool hf_entities_prepare(struct hf_entities *entities, struct hf_entities_change *out,
                         char error[HF_ENTITIES_ERROR_MAX], const char *path)
{
    const struct hf_entitymap *current = hf_swap_current(&entities->map);
    memset(out, 0, sizeof(*out));
    if (!load(&entities->prepared, error, path, entities->scope))
        return false;
    entities->is_prepared = true;
    out->before = hf_entitymap_count(current);
    out->after = hf_entitymap_count(entities->prepared);
    out->ended = malloc((out->before + 1) * sizeof(*out->ended));
    if (out->ended == NULL) {
        hf_entities_abandon(entities);
        snprintf(error, HF_ENTITIES_ERROR_MAX, "%.400s: no memory", path);
        return false;
    }
    hf_entitymap_compare(current, entities->prepared, count_difference, out);
    hf_contexts_sort(out->ended, out->ended_count);
    return true;
}

void hf_entities_commit(struct hf_entities *entities)
{
    if (!entities->is_prepared)
        return;
    atomic_store(&entities->count, hf_entitymap_count(entities->prepared));
    hf_entitymap_close(hf_swap_replace(&entities->map, entities->prepared));
    entities->prepared = NULL;
    entities->is_prepared = false;
}

void hf_entities_abandon(struct hf_entities *entities)
{
    hf_entitymap_close(entities->prepared);
    entities->prepared = NULL;
    entities->is_prepared = false;
}

uint64_t hf_entities_count(const struct hf_entities *entities)
{
    return atomic_load(&entities->count);
}
