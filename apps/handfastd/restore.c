/**
 * restore.c - see restore.h.
 *
 * Invariant: before the first association goes on, the checkpoint's serial is void and its file is
 * gone, both on the disk; of two processes one alone has taken the file away.
 */
#include "restore.h"

#include "checkpoint_file.h"
#include "clock.h"
#include "log.h"
#include "sessions.h"
#include "takeover.h"

#include <errno.h>
#include <handfast/transfer.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEY_LEN 16
#define ASSOCIATION_LEN_MAX 2048u /* in a chunk, names and all */
#define STATE_LEN_MAX ((size_t)4 << 20)

struct restore_key {
    char name[HF_NAME_MAX];
    uint8_t key[KEY_LEN];
};

struct hf_restore {
    struct hf_checkpoint_image image;
    const struct hf_daemon_config *config;
    uint64_t records; /* numbers to leave out */
    struct restore_key keys[HF_AUTHORITIES_MAX];
    size_t key_count;
    uint32_t associations, left_out;
};

static bool read_state(struct hf_restore *restore, json_t *state)
{
    size_t i = 0;
    json_t *item = NULL;
    json_t *here = hf_takeover_describe(restore->config);
    bool is_same = json_equal(here, json_object_get(state, "serves"));
    json_int_t records = json_integer_value(json_object_get(state, "records"));
    json_decref(here);
    if (!is_same || records <= 0)
        return false;
    restore->records = (uint64_t)records;
    json_array_foreach(json_object_get(state, "authorities"), i, item)
    {
        const char *name = json_string_value(json_object_get(item, "name"));
        const char *hex = json_string_value(json_object_get(item, "context_key"));
        if (i == HF_AUTHORITIES_MAX || name == NULL ||
            !hf_takeover_read_hex(restore->keys[i].key, KEY_LEN, hex))
            return false;
        snprintf(restore->keys[i].name, HF_NAME_MAX, "%s", name);
        restore->key_count = i + 1;
    }
    return true;
}

/* NULL, or what is wrong. */
static const char *read_first(struct hf_restore *restore)
{
    json_error_t where;
    struct hf_checkpoint_image *image = &restore->image;
    if (!hf_checkpoint_file_next(image) || image->kind != HF_CHECKPOINT_STATE)
        return "it does not begin as it should";
    json_t *state = json_loadb((const char *)image->plain, image->plain_len, 0, &where);
    bool is_good = state != NULL && read_state(restore, state);
    json_decref(state);
    return is_good ? NULL : "listeners, dialers, shards or associations-max are others here";
}

struct hf_restore *hf_restore_open(const struct hf_daemon_config *config)
{
    char error[HF_SESSIONS_ERROR_MAX] = "";
    struct hf_shared_secrets secrets;
    if (config->is_takeover || config->action != HF_OPTIONS_RUN || config->checkpoint[0] == '\0')
        return NULL;
    struct hf_restore *restore = calloc(1, sizeof(*restore));
    size_t len_max = (size_t)config->associations_max * ASSOCIATION_LEN_MAX + STATE_LEN_MAX;
    if (restore == NULL)
        return NULL;
    restore->config = config;
    bool is_good =
        hf_sessions_read_secrets(&secrets, error, config->shared_secrets) &&
        hf_checkpoint_file_open(&restore->image, error, config->checkpoint, &secrets, len_max);
    explicit_bzero(&secrets, sizeof(secrets));
    const char *why = is_good ? read_first(restore) : error;
    if (why == NULL)
        return restore;
    if (why[0] != '\0')
        hf_log_message(HF_LOG_WARNING, "not_restored", "%.300s: %.400s", config->checkpoint, why);
    hf_restore_close(restore);
    return NULL;
}

const uint8_t *hf_restore_context_key(const struct hf_restore *restore, const char *name)
{
    for (size_t i = 0; restore != NULL && i < restore->key_count; i++)
        if (strcmp(restore->keys[i].name, name) == 0)
            return restore->keys[i].key;
    return NULL;
}

/* What was taken up before the fault goes on. */
static enum hf_status take_all(struct hf_restore *restore, struct hf_daemon *daemon)
{
    struct hf_checkpoint_image *image = &restore->image;
    enum hf_status status = HF_OK;
    while (status == HF_OK && hf_checkpoint_file_next(image) && image->kind != HF_CHECKPOINT_END)
        if (image->kind == HF_CHECKPOINT_CHUNK && image->shard < daemon->shard_count)
            status = hf_engine_import(hf_loop_engine(hf_shard_loop(daemon->shards[image->shard])),
                                      (struct hf_bytes){image->plain, image->plain_len});
    return status;
}

void hf_restore_run(struct hf_restore *restore, struct hf_daemon *daemon)
{
    if (restore == NULL)
        return;
    const char *path = restore->config->checkpoint;
    int64_t age_s = (int64_t)time(NULL) - restore->image.wall_s;
    uint64_t age_us = age_s > 0 ? (uint64_t)age_s * 1000000 : 0;
    if (!hf_checkpoint_file_mark(path, restore->image.serial + 1) ||
        !hf_checkpoint_file_remove(path)) {
        hf_log_message(HF_LOG_WARNING, "not_restored", "%.300s: it cannot be taken away: %s", path,
                       strerror(errno));
        return;
    }
    enum hf_status status = HF_OK;
    for (uint32_t i = 0; status == HF_OK && i < daemon->shard_count; i++) {
        struct hf_engine *engine = hf_loop_engine(hf_shard_loop(daemon->shards[i]));
        status = hf_engine_import_begin(engine, hf_clock_us(), (int64_t)time(NULL));
        if (status == HF_OK)
            hf_engine_import_later(engine, restore->records, age_us);
    }
    if (status == HF_OK)
        status = take_all(restore, daemon);
    for (uint32_t i = 0; i < daemon->shard_count; i++) {
        struct hf_transfer_counts counts;
        hf_engine_import_end(&counts, hf_loop_engine(hf_shard_loop(daemon->shards[i])));
        restore->associations += counts.associations;
        restore->left_out += counts.left_out;
    }
    hf_log_message(
        HF_LOG_WARNING, "restored",
        "%u associations of %lld s ago, %u left out%s%s: replays of what came since "
        "cannot be told",
        restore->associations, (long long)age_s, restore->left_out,
        status == HF_OK ? "" : ", then: ", status == HF_OK ? "" : hf_status_text(status));
}

void hf_restore_close(struct hf_restore *restore)
{
    if (restore == NULL)
        return;
    hf_checkpoint_file_close(&restore->image);
    explicit_bzero(restore, sizeof(*restore));
    free(restore);
}
