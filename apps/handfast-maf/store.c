/**
 * store.c - tables in LMDB: `clients` and `keys` (identifier -> record), `expiry` (time, kind,
 * identifier -> nothing, in order of time), `owners` (kind, client -> how many).
 *
 * A record is a version, a checksum and the fields one after the other. LMDB commits with
 * fdatasync and writes its root last: after a crash the last whole transaction is there.
 */
#include "store.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAP_LEN ((size_t)64 << 30) /* of addresses; the file grows as it is filled */
#define TABLES_MAX 8
#define VERSION 1
#define NAME_MAX_LEN 640
#define ID_MAX_LEN 600
#define RECORD_MAX 8192

struct hf_store {
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi clients, keys, expiry, owners;
    int lock_fd;
    char error[HF_STORE_ERROR_MAX];
};

static bool fail(struct hf_store *store, const char *what, int code)
{
    snprintf(store->error, sizeof(store->error), "%.100s: %.300s", what, mdb_strerror(code));
    return false;
}

const char *hf_store_error(const struct hf_store *store)
{
    return store->error;
}

/* ---- opening ------------------------------------------------------------------------------ */

static bool refuse(char *error, const char *directory, const char *reason)
{
    snprintf(error, HF_STORE_ERROR_MAX, "%.200s: %.250s", directory, reason);
    return false;
}

/* One process at a time: two would each believe that an identifier is free. */
static bool open_directory(struct hf_store *store, char *error, const char *directory)
{
    struct stat st;
    char file[PATH_MAX];
    if (mkdir(directory, 0700) != 0 && errno != EEXIST)
        return refuse(error, directory, strerror(errno));
    if (stat(directory, &st) != 0 || !S_ISDIR(st.st_mode))
        return refuse(error, directory, "no directory");
    if ((st.st_mode & 077) != 0)
        return refuse(error, directory, "others than its owner may use it: chmod 700 it");
    if (snprintf(file, sizeof(file), "%s/lock", directory) >= (int)sizeof(file))
        return refuse(error, directory, "the path is too long");
    store->lock_fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (store->lock_fd < 0 || fcntl(store->lock_fd, F_OFD_SETLK, &lock) != 0)
        return refuse(error, directory,
                      errno == EAGAIN ? "another handfast-maf uses it" : strerror(errno));
    return true;
}

static int open_tables(struct hf_store *store)
{
    MDB_txn *txn = NULL;
    int code = mdb_txn_begin(store->env, NULL, 0, &txn);
    if (code == 0)
        code = mdb_dbi_open(txn, "clients", MDB_CREATE, &store->clients);
    if (code == 0)
        code = mdb_dbi_open(txn, "keys", MDB_CREATE, &store->keys);
    if (code == 0)
        code = mdb_dbi_open(txn, "expiry", MDB_CREATE, &store->expiry);
    if (code == 0)
        code = mdb_dbi_open(txn, "owners", MDB_CREATE, &store->owners);
    if (code == 0)
        code = mdb_txn_commit(txn);
    else if (txn != NULL)
        mdb_txn_abort(txn);
    return code;
}

/* The names of new files must survive, too. */
static bool sync_directory(const char *directory)
{
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool is_done = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    return is_done;
}

static bool open_environment(struct hf_store *store, char *error, const char *directory)
{
    char file[PATH_MAX];
    if (snprintf(file, sizeof(file), "%s/maf.mdb", directory) >= (int)sizeof(file))
        return refuse(error, directory, "the path is too long");
    int code = mdb_env_create(&store->env);
    if (code == 0)
        code = mdb_env_set_maxdbs(store->env, TABLES_MAX);
    if (code == 0)
        code = mdb_env_set_mapsize(store->env, MAP_LEN);
    if (code == 0)
        code = mdb_env_open(store->env, file, MDB_NOSUBDIR | MDB_NOTLS | MDB_NORDAHEAD, 0600);
    if (code == 0)
        code = open_tables(store);
    if (code != 0)
        return refuse(error, directory, mdb_strerror(code));
    return sync_directory(directory) || refuse(error, directory, strerror(errno));
}

bool hf_store_open(struct hf_store **out, char error[HF_STORE_ERROR_MAX], const char *directory)
{
    struct hf_store *store = calloc(1, sizeof(*store));
    if (store == NULL)
        return refuse(error, directory, "no memory");
    store->lock_fd = -1;
    if (!open_directory(store, error, directory) || !open_environment(store, error, directory)) {
        hf_store_close(store);
        return false;
    }
    *out = store;
    return true;
}

void hf_store_close(struct hf_store *store)
{
    if (store == NULL)
        return;
    hf_store_abort(store);
    if (store->env != NULL)
        mdb_env_close(store->env);
    if (store->lock_fd >= 0)
        close(store->lock_fd);
    free(store);
}

/* ---- transactions ------------------------------------------------------------------------- */

bool hf_store_begin(struct hf_store *store)
{
    int code = mdb_txn_begin(store->env, NULL, 0, &store->txn);
    if (code != 0)
        store->txn = NULL;
    return code == 0 || fail(store, "begin", code);
}

bool hf_store_commit(struct hf_store *store)
{
    int code = mdb_txn_commit(store->txn);
    store->txn = NULL; /* freed in either case */
    return code == 0 || fail(store, "commit", code);
}

void hf_store_abort(struct hf_store *store)
{
    if (store->txn != NULL)
        mdb_txn_abort(store->txn);
    store->txn = NULL;
}

/* ---- records ------------------------------------------------------------------------------ */

/* Fixed room, written or read from one end to the other; `is_bad` sticks. */
struct cursor {
    uint8_t *data;
    size_t len, max;
    bool is_bad;
};

static void put(struct cursor *cursor, const void *data, size_t len)
{
    cursor->is_bad |= len > cursor->max - cursor->len;
    if (cursor->is_bad)
        return;
    memcpy(cursor->data + cursor->len, data, len);
    cursor->len += len;
}

static void take(struct cursor *cursor, void *data, size_t len)
{
    cursor->is_bad |= len > cursor->max - cursor->len;
    if (cursor->is_bad)
        return;
    memcpy(data, cursor->data + cursor->len, len);
    cursor->len += len;
}

static void put_text(struct cursor *cursor, const char *text)
{
    uint16_t len = (uint16_t)strlen(text);
    put(cursor, &len, sizeof(len));
    put(cursor, text, len);
}

static void take_text(struct cursor *cursor, char *text, size_t max)
{
    uint16_t len = 0;
    take(cursor, &len, sizeof(len));
    cursor->is_bad |= len >= max;
    if (cursor->is_bad)
        return;
    take(cursor, text, len);
    text[len] = '\0';
}

static void put_list(struct cursor *cursor, const struct hf_maf_list *list)
{
    put(cursor, &list->count, sizeof(list->count));
    put(cursor, &list->len, sizeof(list->len));
    put(cursor, list->text, list->len);
}

static void take_list(struct cursor *cursor, struct hf_maf_list *list)
{
    take(cursor, &list->count, sizeof(list->count));
    take(cursor, &list->len, sizeof(list->len));
    cursor->is_bad |= list->len > sizeof(list->text);
    if (!cursor->is_bad)
        take(cursor, list->text, list->len);
    cursor->is_bad |= !cursor->is_bad && list->len > 0 && list->text[list->len - 1] != '\0';
}

/* FNV-1a: finds a record that is not as written, not one that somebody forged. */
static uint64_t checksum(const uint8_t *data, size_t len)
{
    uint64_t hash = 0xcbf29ce484222325ULL;
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ data[i]) * 0x100000001b3ULL;
    return hash;
}

static size_t write_record(uint8_t out[RECORD_MAX], const struct hf_maf_resource *resource)
{
    struct cursor cursor = {.data = out, .len = sizeof(uint64_t), .max = RECORD_MAX};
    uint8_t head[2] = {VERSION, (uint8_t)resource->kind};
    put(&cursor, head, sizeof(head));
    put(&cursor, &resource->has, sizeof(resource->has));
    put(&cursor, &resource->suid, sizeof(resource->suid));
    put(&cursor, &resource->expires_s, sizeof(resource->expires_s));
    put_text(&cursor, resource->resource_id);
    put_text(&cursor, resource->client_id);
    put_text(&cursor, resource->admin_fqdn);
    put_text(&cursor, resource->assigned_key_id);
    put_list(&cursor, &resource->labels);
    put_list(&cursor, &resource->target_ids);
    put(&cursor, &resource->key_len, sizeof(resource->key_len));
    put(&cursor, resource->key, resource->key_len);
    uint64_t sum = checksum(out + sizeof(sum), cursor.len - sizeof(sum));
    memcpy(out, &sum, sizeof(sum));
    return cursor.is_bad ? 0 : cursor.len;
}

static bool read_record(struct hf_maf_resource *out, MDB_val value)
{
    uint64_t sum = 0;
    uint8_t head[2] = {0};
    struct cursor cursor = {.data = value.mv_data, .max = value.mv_size};
    memset(out, 0, sizeof(*out));
    take(&cursor, &sum, sizeof(sum));
    if (cursor.is_bad || sum != checksum(cursor.data + sizeof(sum), value.mv_size - sizeof(sum)))
        return false;
    take(&cursor, head, sizeof(head));
    out->kind = (enum hf_maf_kind)head[1];
    take(&cursor, &out->has, sizeof(out->has));
    take(&cursor, &out->suid, sizeof(out->suid));
    take(&cursor, &out->expires_s, sizeof(out->expires_s));
    take_text(&cursor, out->resource_id, sizeof(out->resource_id));
    take_text(&cursor, out->client_id, sizeof(out->client_id));
    take_text(&cursor, out->admin_fqdn, sizeof(out->admin_fqdn));
    take_text(&cursor, out->assigned_key_id, sizeof(out->assigned_key_id));
    take_list(&cursor, &out->labels);
    take_list(&cursor, &out->target_ids);
    take(&cursor, &out->key_len, sizeof(out->key_len));
    cursor.is_bad |= out->key_len > sizeof(out->key);
    if (!cursor.is_bad)
        take(&cursor, out->key, out->key_len);
    return !cursor.is_bad && head[0] == VERSION;
}

/* ---- names -------------------------------------------------------------------------------- */

static MDB_dbi table_of(const struct hf_store *store, enum hf_maf_kind kind)
{
    return kind == HF_MAF_KEY_REGISTRATION ? store->keys : store->clients;
}

static MDB_val name_of(char out[ID_MAX_LEN], const char *resource_id)
{
    size_t len = 0;
    for (; resource_id[len] != '\0' && len < ID_MAX_LEN; len++)
        out[len] = (char)tolower((unsigned char)resource_id[len]);
    return (MDB_val){len, out};
}

/* Ordered by time: the number's bytes are big-endian. */
static MDB_val expiry_name(uint8_t out[NAME_MAX_LEN], int64_t expires_s, enum hf_maf_kind kind,
                           const char *resource_id)
{
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)((uint64_t)expires_s >> (56 - 8 * i));
    out[8] = (uint8_t)kind;
    MDB_val name = name_of((char *)out + 9, resource_id);
    return (MDB_val){name.mv_size + 9, out};
}

/* ---- how many a client has ---------------------------------------------------------------- */

/* LMDB's names end at 511 bytes; a client's may be longer: such clients share a count. */
static MDB_val owner_name(char out[NAME_MAX_LEN], enum hf_maf_kind kind, const char *client_id)
{
    int len = snprintf(out, NAME_MAX_LEN, "%d%.500s", (int)kind, client_id);
    return (MDB_val){(size_t)len, out};
}

bool hf_store_owned(uint64_t *out, struct hf_store *store, enum hf_maf_kind kind,
                    const char *client_id)
{
    char name[NAME_MAX_LEN];
    MDB_val key = owner_name(name, kind, client_id);
    MDB_val value;
    *out = 0;
    int code = mdb_get(store->txn, store->owners, &key, &value);
    if (code == 0 && value.mv_size == sizeof(*out))
        memcpy(out, value.mv_data, sizeof(*out));
    return code == 0 || code == MDB_NOTFOUND || fail(store, "owners", code);
}

static int count_owned(struct hf_store *store, const struct hf_maf_resource *resource, int step)
{
    char name[NAME_MAX_LEN];
    uint64_t count = 0;
    MDB_val key = owner_name(name, resource->kind, resource->client_id);
    MDB_val value = {sizeof(count), &count};
    if (!hf_store_owned(&count, store, resource->kind, resource->client_id))
        return MDB_CORRUPTED;
    count = step > 0 ? count + 1 : count > 0 ? count - 1 : 0;
    if (count == 0) {
        int code = mdb_del(store->txn, store->owners, &key, NULL);
        return code == MDB_NOTFOUND ? 0 : code;
    }
    return mdb_put(store->txn, store->owners, &key, &value, 0);
}

/* ---- operations --------------------------------------------------------------------------- */

static enum hf_store_found find(struct hf_maf_resource *out, struct hf_store *store,
                                enum hf_maf_kind kind, const char *resource_id)
{
    char name[NAME_MAX_LEN];
    MDB_val key = name_of(name, resource_id);
    MDB_val value;
    if (key.mv_size == 0 || key.mv_size > HF_MAF_RELATIVE_KEY_ID_MAX)
        return HF_STORE_ABSENT;
    int code = mdb_get(store->txn, table_of(store, kind), &key, &value);
    if (code == MDB_NOTFOUND)
        return HF_STORE_ABSENT;
    if (code == 0 && !read_record(out, value))
        code = MDB_CORRUPTED;
    if (code == 0)
        return HF_STORE_FOUND;
    (void)fail(store, "get", code);
    return HF_STORE_FAILED;
}

enum hf_store_found hf_store_get(struct hf_maf_resource *out, struct hf_store *store,
                                 enum hf_maf_kind kind, const char *resource_id, int64_t wall_s)
{
    enum hf_store_found found = find(out, store, kind, resource_id);
    if (found == HF_STORE_FOUND && out->expires_s <= wall_s)
        found = HF_STORE_ABSENT;
    if (found != HF_STORE_FOUND)
        explicit_bzero(out, sizeof(*out));
    return found;
}

enum hf_store_found hf_store_remove(struct hf_store *store, enum hf_maf_kind kind,
                                    const char *resource_id)
{
    struct hf_maf_resource before;
    uint8_t expiry[NAME_MAX_LEN];
    char name[NAME_MAX_LEN];
    enum hf_store_found found = find(&before, store, kind, resource_id);
    if (found != HF_STORE_FOUND)
        return found;
    MDB_val key = expiry_name(expiry, before.expires_s, kind, resource_id);
    int code = mdb_del(store->txn, store->expiry, &key, NULL);
    if (code == 0 || code == MDB_NOTFOUND) {
        key = name_of(name, resource_id);
        code = mdb_del(store->txn, table_of(store, kind), &key, NULL);
    }
    if (code == 0)
        code = count_owned(store, &before, -1);
    explicit_bzero(&before, sizeof(before));
    if (code == 0)
        return HF_STORE_FOUND;
    (void)fail(store, "remove", code);
    return HF_STORE_FAILED;
}

bool hf_store_put(struct hf_store *store, const struct hf_maf_resource *resource)
{
    uint8_t record[RECORD_MAX];
    uint8_t expiry[NAME_MAX_LEN];
    char name[NAME_MAX_LEN];
    if (hf_store_remove(store, resource->kind, resource->resource_id) == HF_STORE_FAILED)
        return false;
    MDB_val value = {write_record(record, resource), record};
    MDB_val key = name_of(name, resource->resource_id);
    int code = value.mv_size == 0
                   ? EINVAL
                   : mdb_put(store->txn, table_of(store, resource->kind), &key, &value, 0);
    explicit_bzero(record, sizeof(record));
    if (code == 0) {
        key = expiry_name(expiry, resource->expires_s, resource->kind, resource->resource_id);
        value = (MDB_val){0, NULL};
        code = mdb_put(store->txn, store->expiry, &key, &value, 0);
    }
    if (code == 0)
        code = count_owned(store, resource, +1);
    return code == 0 || fail(store, "put", code);
}

/* The first of `expiry`, if it is due: its kind and identifier. */
static int find_expired(enum hf_maf_kind *kind, char resource_id[NAME_MAX_LEN],
                        struct hf_store *store, int64_t wall_s)
{
    MDB_cursor *cursor = NULL;
    MDB_val name;
    MDB_val value;
    uint64_t at_s = 0;
    int code = mdb_cursor_open(store->txn, store->expiry, &cursor);
    if (code == 0)
        code = mdb_cursor_get(cursor, &name, &value, MDB_FIRST);
    if (code == 0 && (name.mv_size < 10 || name.mv_size >= NAME_MAX_LEN))
        code = MDB_CORRUPTED;
    if (code == 0) {
        const uint8_t *data = name.mv_data;
        for (int i = 0; i < 8; i++)
            at_s = at_s << 8 | data[i];
        *kind = (enum hf_maf_kind)data[8];
        memcpy(resource_id, data + 9, name.mv_size - 9);
        resource_id[name.mv_size - 9] = '\0';
        if ((int64_t)at_s > wall_s)
            code = MDB_NOTFOUND;
    }
    if (cursor != NULL)
        mdb_cursor_close(cursor);
    return code;
}

bool hf_store_expire(size_t *out, struct hf_store *store, int64_t wall_s, size_t max)
{
    char resource_id[NAME_MAX_LEN];
    enum hf_maf_kind kind;
    int code = 0;
    for (*out = 0; *out < max; ++*out) {
        code = find_expired(&kind, resource_id, store, wall_s);
        if (code != 0)
            break;
        if (hf_store_remove(store, kind, resource_id) != HF_STORE_FOUND)
            return fail(store, "expire", MDB_CORRUPTED);
    }
    return code == 0 || code == MDB_NOTFOUND || fail(store, "expire", code);
}

bool hf_store_count(uint64_t *out, struct hf_store *store, enum hf_maf_kind kind)
{
    MDB_stat stat;
    int code = mdb_stat(store->txn, table_of(store, kind), &stat);
    *out = code == 0 ? stat.ms_entries : 0;
    return code == 0 || fail(store, "count", code);
}
