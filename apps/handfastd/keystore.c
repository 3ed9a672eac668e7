/**
 * keystore.c - reads the key file, guards its permissions, and swaps tables under running shards.
 *
 * A reader publishes which table it is about to read in its own slot, then looks whether that is
 * still the current one (a hazard pointer). The writer replaces the table first, then waits until
 * no slot names the old one: microseconds, since a lookup never blocks.
 */
#include "keystore.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct reader {
    _Alignas(64) _Atomic(const struct hf_keyfile *) in_use;
    struct hf_keystore *store;
};

struct hf_keystore {
    uint32_t shard_count;
    uint8_t context_key[16];
    struct hf_keyfile *prepared;
    _Atomic(struct hf_keyfile *) current;
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

bool hf_keystore_load(struct hf_keyfile **out, char error[HF_KEYSTORE_ERROR_MAX],
                      const char *path)
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
    size_t len = sizeof(struct hf_keystore) + shard_count * sizeof(struct reader);
    struct hf_keystore *store = aligned_alloc(_Alignof(struct hf_keystore), len);
    if (store == NULL) {
        hf_keyfile_close(keyfile);
        return fail(error, path, "no memory");
    }
    memset(store, 0, len);
    store->shard_count = shard_count;
    memcpy(store->context_key, context_key, sizeof(store->context_key));
    hf_keyfile_use_context(keyfile, context_key);
    for (uint32_t i = 0; i < shard_count; i++)
        store->readers[i].store = store;
    atomic_store(&store->keys, hf_keyfile_count(keyfile));
    atomic_store(&store->current, keyfile);
    *out = store;
    return true;
}

/* Until no reader names the table any more. */
static void await_readers(const struct hf_keystore *store, const struct hf_keyfile *keyfile)
{
    for (uint32_t i = 0; i < store->shard_count; i++)
        while (atomic_load(&store->readers[i].in_use) == keyfile)
            nanosleep(&(struct timespec){0, 50 * 1000}, NULL);
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

static int compare_contexts(const void *a, const void *b)
{
    const uint64_t *left = a;
    const uint64_t *right = b;
    return (*left > *right) - (*left < *right);
}

bool hf_keystore_prepare(struct hf_keystore *store, struct hf_keystore_change *out,
                         char error[HF_KEYSTORE_ERROR_MAX], const char *path)
{
    const struct hf_keyfile *current = atomic_load(&store->current);
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
    qsort(out->ended, out->ended_count, sizeof(*out->ended), compare_contexts);
    return true;
}

void hf_keystore_each(const struct hf_keystore *store, hf_keyfile_differ *differ, void *arg)
{
    hf_keyfile_compare(atomic_load(&store->current), store->prepared, differ, arg);
}

void hf_keystore_commit(struct hf_keystore *store)
{
    atomic_store(&store->keys, hf_keyfile_count(store->prepared));
    struct hf_keyfile *old = atomic_exchange(&store->current, store->prepared);
    store->prepared = NULL;
    await_readers(store, old);
    hf_keyfile_close(old);
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
    hf_keyfile_answer(&answer, scratch, atomic_load(&store->current), psk_identity);
    return answer.kind == HF_ANSWER_PSK;
}

void hf_keystore_close(struct hf_keystore *store)
{
    if (store == NULL)
        return;
    hf_keyfile_close(store->prepared);
    hf_keyfile_close(atomic_load(&store->current));
    explicit_bzero(store->context_key, sizeof(store->context_key));
    free(store);
}

static const struct hf_keyfile *begin_read(struct reader *reader)
{
    const struct hf_keyfile *keyfile = NULL;
    do {
        keyfile = atomic_load(&reader->store->current);
        atomic_store(&reader->in_use, keyfile);
    } while (keyfile != atomic_load(&reader->store->current));
    return keyfile;
}

static void answer_request(struct hf_engine *engine, const struct hf_request *request, void *arg)
{
    struct reader *reader = arg;
    struct hf_key_source source = hf_keyfile_source(begin_read(reader));
    source.request(engine, request, source.arg);
    atomic_store(&reader->in_use, NULL);
}

bool hf_keystore_try(struct hf_keystore *store, uint32_t shard_index, struct hf_engine *engine,
                     const struct hf_request *request)
{
    struct reader *reader = &store->readers[shard_index];
    struct hf_answer answer;
    uint8_t scratch[HF_CREDENTIAL_ID_MAX];
    hf_keyfile_answer(&answer, scratch, begin_read(reader), request->psk_identity);
    bool is_there = answer.kind != HF_ANSWER_REFUSED;
    if (is_there)
        (void)hf_engine_answer(engine, request->ticket, &answer);
    atomic_store(&reader->in_use, NULL);
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
