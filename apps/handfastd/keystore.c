/**
 * keystore.c - reads the key file, guards its permissions, and swaps tables under running shards.
 */
#include "keystore.h"

#include "contexts.h"
#include "swap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct reader {
    struct hf_keystore *store;
    uint32_t index;
};

struct hf_keystore {
    uint8_t context_key[16];
    struct hf_keyfile *prepared;
    struct hf_swap current; /* struct hf_keyfile */
    _Atomic uint64_t keys, reloads, reloads_failed;
    struct reader readers[];
};

/* ---- the file ----------------------------------------------------------------------------- */

/* The file's bytes: mapped, so that they can be wiped and kept out of core dumps. */
struct content {
    uint8_t *data;
    size_t len, mapped_len;
};

static void content_close(struct content *content)
{
    if (content->data == NULL)
        return;
    explicit_bzero(content->data, content->mapped_len);
    munmap(content->data, content->mapped_len);
    content->data = NULL;
}

static bool fail(char *error, const char *path, const char *reason)
{
    snprintf(error, HF_KEYSTORE_ERROR_MAX, "%.200s: %.250s", path, reason);
    return false;
}

static bool check_file(char *error, struct stat *st, const char *path, int fd)
{
    if (fstat(fd, st) != 0)
        return fail(error, path, strerror(errno));
    if (!S_ISREG(st->st_mode))
        return fail(error, path, "not a regular file");
    if ((st->st_mode & 077) != 0) {
        snprintf(error, HF_KEYSTORE_ERROR_MAX,
                 "%.200s: others than its owner may use it (mode %04o): chmod 600 %.200s", path,
                 st->st_mode & 07777U, path);
        return false;
    }
    return true;
}

static bool read_all(struct content *content, char *error, const char *path, int fd)
{
    for (;;) {
        if (content->len == content->mapped_len)
            return fail(error, path, "it grew while it was read: try again");
        ssize_t got = read(fd, content->data + content->len, content->mapped_len - content->len);
        if (got == 0)
            return true;
        if (got < 0 && errno != EINTR)
            return fail(error, path, strerror(errno));
        if (got > 0)
            content->len += (size_t)got;
    }
}

static bool content_open(struct content *content, char *error, const char *path)
{
    struct stat st;
    memset(content, 0, sizeof(*content));
    /* O_NONBLOCK: a FIFO of that name must not hang us before it is refused. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return fail(error, path, strerror(errno));
    bool is_read = check_file(error, &st, path, fd);
    if (is_read) {
        content->mapped_len = (size_t)st.st_size + 1;
        content->data = mmap(NULL, content->mapped_len, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (content->data == MAP_FAILED) {
            content->data = NULL;
            is_read = fail(error, path, strerror(errno));
        }
    }
    if (is_read) {
        (void)madvise(content->data, content->mapped_len, MADV_DONTDUMP);
        is_read = read_all(content, error, path, fd);
    }
    close(fd);
    if (!is_read)
        content_close(content);
    return is_read;
}

bool hf_keystore_load(struct hf_keyfile **out, char error[HF_KEYSTORE_ERROR_MAX], const char *path)
{
    struct content content;
    char reason[HF_KEYFILE_ERROR_MAX];
    if (!content_open(&content, error, path))
        return false;
    struct hf_bytes text = {content.data, content.len};
    enum hf_status status = hf_keyfile_open(out, reason, text);
    content_close(&content);
    return status == HF_OK || fail(error, path, reason);
}

/* ---- the store ---------------------------------------------------------------------------- */

bool hf_keystore_open(struct hf_keystore **out, char error[HF_KEYSTORE_ERROR_MAX], const char *path,
                      uint32_t shard_count, const uint8_t context_key[16])
{
    struct hf_keyfile *keyfile = NULL;
    if (!hf_keystore_load(&keyfile, error, path))
        return false;
    struct hf_keystore *store =
        calloc(1, sizeof(struct hf_keystore) + shard_count * sizeof(struct reader));
    if (store == NULL || !hf_swap_open(&store->current, shard_count, keyfile)) {
        free(store);
        hf_keyfile_close(keyfile);
        return fail(error, path, "no memory");
    }
    memcpy(store->context_key, context_key, sizeof(store->context_key));
    hf_keyfile_use_context(keyfile, context_key);
    for (uint32_t i = 0; i < shard_count; i++)
        store->readers[i] = (struct reader){store, i};
    atomic_store(&store->keys, hf_keyfile_count(keyfile));
    *out = store;
    return true;
}

static void count_difference(const struct hf_keyfile_difference *difference, void *arg)
{
    struct hf_keystore_change *change = arg;
    switch (difference->change) {
    case HF_KEYFILE_ADDED:
        change->added++;
        return;
    case HF_KEYFILE_REMOVED:
        change->removed++;
        break;
    case HF_KEYFILE_CHANGED:
        change->changed++;
        break;
    }
    if (change->ended != NULL)
        change->ended[change->ended_count++] = difference->context;
}

bool hf_keystore_prepare(struct hf_keystore *store, struct hf_keystore_change *out,
                         char error[HF_KEYSTORE_ERROR_MAX], const char *path)
{
    const struct hf_keyfile *current = hf_swap_current(&store->current);
    memset(out, 0, sizeof(*out));
    if (!hf_keystore_load(&store->prepared, error, path)) {
        atomic_fetch_add(&store->reloads_failed, 1);
        return false;
    }
    hf_keyfile_use_context(store->prepared, store->context_key);
    out->keys_before = hf_keyfile_count(current);
    out->keys_after = hf_keyfile_count(store->prepared);
    out->ended = malloc((out->keys_before + 1) * sizeof(*out->ended));
    if (out->ended == NULL) {
        hf_keystore_abandon(store);
        return fail(error, path, "no memory");
    }
    hf_keyfile_compare(current, store->prepared, count_difference, out);
    hf_contexts_sort(out->ended, out->ended_count);
    return true;
}

struct contexts {
    uint64_t *at;
    size_t count;
};

static void add_context(const struct hf_keyfile_difference *difference, void *arg)
{
    struct contexts *contexts = arg;
    contexts->at[contexts->count++] = difference->context;
}

bool hf_keystore_contexts(const struct hf_keystore *store, uint64_t **out, size_t *out_count)
{
    char error[HF_KEYFILE_ERROR_MAX];
    struct hf_keyfile *nothing = NULL;
    const struct hf_keyfile *current = hf_swap_current(&store->current);
    struct contexts contexts = {calloc(hf_keyfile_count(current) + 1, sizeof(uint64_t)), 0};
    if (contexts.at == NULL ||
        hf_keyfile_open(&nothing, error, (struct hf_bytes){(const uint8_t *)"", 0}) != HF_OK) {
        free(contexts.at);
        return false;
    }
    hf_keyfile_compare(current, nothing, add_context, &contexts);
    hf_keyfile_close(nothing);
    hf_contexts_sort(contexts.at, contexts.count);
    *out = contexts.at;
    *out_count = contexts.count;
    return true;
}

void hf_keystore_each(const struct hf_keystore *store, hf_keyfile_differ *differ, void *arg)
{
    hf_keyfile_compare(hf_swap_current(&store->current), store->prepared, differ, arg);
}

void hf_keystore_commit(struct hf_keystore *store)
{
    atomic_store(&store->keys, hf_keyfile_count(store->prepared));
    hf_keyfile_close(hf_swap_replace(&store->current, store->prepared));
    store->prepared = NULL;
    atomic_fetch_add(&store->reloads, 1);
}

void hf_keystore_abandon(struct hf_keystore *store)
{
    if (store->prepared == NULL)
        return;
    hf_keyfile_close(store->prepared);
    store->prepared = NULL;
    atomic_fetch_add(&store->reloads_failed, 1);
}

bool hf_keystore_has(const struct hf_keystore *store, struct hf_bytes psk_identity)
{
    struct hf_answer answer;
    uint8_t scratch[HF_CREDENTIAL_ID_MAX];
    hf_keyfile_answer(&answer, scratch, hf_swap_current(&store->current), psk_identity);
    return answer.kind == HF_ANSWER_PSK;
}

void hf_keystore_close(struct hf_keystore *store)
{
    if (store == NULL)
        return;
    hf_keyfile_close(store->prepared);
    hf_keyfile_close(hf_swap_close(&store->current));
    explicit_bzero(store->context_key, sizeof(store->context_key));
    free(store);
}

static void answer_request(struct hf_engine *engine, const struct hf_request *request, void *arg)
{
    struct reader *reader = arg;
    struct hf_swap *swap = &reader->store->current;
    struct hf_key_source source = hf_keyfile_source(hf_swap_begin(swap, reader->index));
    source.request(engine, request, source.arg);
    hf_swap_end(swap, reader->index);
}

bool hf_keystore_try(struct hf_keystore *store, uint32_t shard_index, struct hf_engine *engine,
                     const struct hf_request *request)
{
    struct hf_answer answer;
    uint8_t scratch[HF_CREDENTIAL_ID_MAX];
    hf_keyfile_answer(&answer, scratch, hf_swap_begin(&store->current, shard_index),
                      request->psk_identity);
    bool is_there = answer.kind != HF_ANSWER_REFUSED;
    if (is_there)
        (void)hf_engine_answer(engine, request->ticket, &answer);
    hf_swap_end(&store->current, shard_index);
    return is_there;
}

struct hf_key_source hf_keystore_source(struct hf_keystore *store, uint32_t shard_index)
{
    return (struct hf_key_source){.request = answer_request, .arg = &store->readers[shard_index]};
}

void hf_keystore_counters_get(struct hf_keystore_counters *out, const struct hf_keystore *store)
{
    out->keys = atomic_load(&store->keys);
    out->reloads = atomic_load(&store->reloads);
    out->reloads_failed = atomic_load(&store->reloads_failed);
}
