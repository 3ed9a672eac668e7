/**
 * keydb_write.c - changes to a store: transactions, revisions, and the memory of what is no more.
 *
 * The map grows before a transaction, so that no transaction ever finds it full. A revision is
 * greater than every one before it and not less than the time in microseconds: so none is given
 * twice even if a backup from before it is restored.
 */
#include "keydb_private.h"
#include "keydb_record.h"

#include "crypto.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define DAY_S 86400
#define FORGOTTEN_MAX (4 * HF_KEYDB_PUTS_MAX) /* per transaction */
/* What a put may at worst take: overflow pages, and its share of a copied path. */
#define PUT_LEN_MAX ((size_t)16384)
#define ROOM_LEN ((size_t)16 << 20)
#define DISK_FULL_BYTES 65536U /* with less free than this it is full */

static struct hf_bytes revision_name(void)
{
    return (struct hf_bytes){(const uint8_t *)"revision", 8};
}

static int64_t now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec;
}

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* ---- a transaction ------------------------------------------------------------------------ */

/* Only while no transaction of this process is open. */
static int make_room(struct hf_keydb *db)
{
    MDB_envinfo info;
    MDB_stat stat;
    if (db->reader != NULL) {
        mdb_txn_abort(db->reader);
        db->reader = NULL;
        db->is_reading = false;
    }
    int code = mdb_env_info(db->env, &info);
    if (code == 0)
        code = mdb_env_stat(db->env, &stat);
    if (code != 0)
        return code;
    size_t used = (info.me_last_pgno + 1) * stat.ms_psize;
    size_t wanted = used + HF_KEYDB_PUTS_MAX * PUT_LEN_MAX + ROOM_LEN;
    if (wanted <= info.me_mapsize)
        return 0;
    return mdb_env_set_mapsize(db->env, wanted + wanted / 2);
}

bool hf_keydb_begin(struct hf_keydb *db, char error[HF_KEYDB_ERROR_MAX])
{
    int code = 0;
    for (int i = 0; i < 3; i++) {
        code = make_room(db);
        if (code == 0)
            code = mdb_txn_begin(db->env, NULL, 0, &db->writer);
        if (code != MDB_MAP_RESIZED)
            break;
        code = mdb_env_set_mapsize(db->env, 0);
        if (code != 0)
            break;
    }
    if (code != 0)
        db->writer = NULL;
    return code == 0 || hf_keydb__fail_lmdb(error, db->path, code);
}

void hf_keydb_abort(struct hf_keydb *db)
{
    if (db->writer != NULL)
        mdb_txn_abort(db->writer);
    db->writer = NULL;
}

/* ---- what is no more ---------------------------------------------------------------------- */

/* The next revision, remembered as given. */
static int next_revision(uint64_t *out, struct hf_keydb *db)
{
    uint8_t number[HF_KEYDB_NUMBER_LEN];
    uint64_t last = 0;
    uint64_t unused = 0;
    MDB_val key = hf_keydb__val(revision_name());
    MDB_val value;
    int code = mdb_get(db->writer, db->info, &key, &value);
    if (code == 0 && !hf_keydb_number_read(&last, &unused, revision_name(), hf_keydb__bytes(value)))
        return MDB_CORRUPTED;
    if (code != 0 && code != MDB_NOTFOUND)
        return code;
    uint64_t now = now_us();
    *out = last + 1 > now ? last + 1 : now;
    hf_keydb_number_write(number, revision_name(), *out, 0);
    value = (MDB_val){sizeof(number), number};
    return mdb_put(db->writer, db->info, &key, &value, 0);
}

static void change_name(uint8_t out[8], uint64_t number)
{
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(number >> (56 - 8 * i));
}

static uint64_t change_number(MDB_val name)
{
    uint64_t number = 0;
    const uint8_t *data = name.mv_data;
    for (size_t i = 0; i < 8 && name.mv_size == 8; i++)
        number = number << 8 | data[i];
    return number;
}

static int forget_old(struct hf_keydb *db)
{
    MDB_cursor *cursor = NULL;
    MDB_val name;
    MDB_val value;
    int64_t limit = now_s() - DAY_S;
    int code = mdb_cursor_open(db->writer, db->changes, &cursor);
    for (int i = 0; i < FORGOTTEN_MAX && code == 0; i++) {
        uint64_t revision = 0;
        uint64_t at_s = 0;
        code = mdb_cursor_get(cursor, &name, &value, MDB_FIRST);
        if (code == 0 && (!hf_keydb_number_read(&revision, &at_s, hf_keydb__bytes(name),
                                                hf_keydb__bytes(value)) ||
                          (int64_t)at_s >= limit))
            break;
        if (code == 0)
            code = mdb_cursor_del(cursor, 0);
    }
    if (cursor != NULL)
        mdb_cursor_close(cursor);
    return code == MDB_NOTFOUND ? 0 : code;
}

/* `number` orders the changes: a revision given for this purpose, or to the replacing key. */
static int retire(struct hf_keydb *db, uint64_t number, uint64_t revision)
{
    uint8_t name[8];
    uint8_t text[HF_KEYDB_NUMBER_LEN];
    change_name(name, number);
    hf_keydb_number_write(text, (struct hf_bytes){name, sizeof(name)}, revision, (uint64_t)now_s());
    MDB_val key = {sizeof(name), name};
    MDB_val value = {sizeof(text), text};
    return mdb_put(db->writer, db->changes, &key, &value, 0);
}

size_t hf_keydb_retired(uint64_t *out, size_t max, uint64_t *cursor, struct hf_keydb *db)
{
    MDB_cursor *changes = NULL;
    MDB_val value;
    uint8_t start[8];
    size_t count = 0;
    change_name(start, *cursor + 1);
    MDB_val name = {sizeof(start), start};
    int code = mdb_cursor_open(hf_keydb__txn(db), db->changes, &changes);
    if (code == 0)
        code = mdb_cursor_get(changes, &name, &value, MDB_SET_RANGE);
    while (code == 0 && count < max) {
        uint64_t revision = 0;
        uint64_t at_s = 0;
        if (hf_keydb_number_read(&revision, &at_s, hf_keydb__bytes(name), hf_keydb__bytes(value)))
            out[count++] = revision;
        *cursor = change_number(name);
        code = mdb_cursor_get(changes, &name, &value, MDB_NEXT);
    }
    if (changes != NULL)
        mdb_cursor_close(changes);
    return count;
}

uint64_t hf_keydb_cursor(struct hf_keydb *db)
{
    MDB_cursor *changes = NULL;
    MDB_val name = {0, NULL};
    MDB_val value;
    int code = mdb_cursor_open(hf_keydb__txn(db), db->changes, &changes);
    if (code == 0)
        code = mdb_cursor_get(changes, &name, &value, MDB_LAST);
    uint64_t number = code == 0 ? change_number(name) : 0;
    if (changes != NULL)
        mdb_cursor_close(changes);
    return number;
}

/* ---- one key ------------------------------------------------------------------------------ */

static bool is_same_public(struct hf_bytes a, struct hf_bytes b)
{
    return a.len == b.len && (a.len == 0 || hf_bytes_equal_public(a.data, b.data, a.len));
}

static bool is_same(const struct hf_keydb_key *a, const struct hf_keydb_key *b)
{
    return a->secret.len == b->secret.len &&
           hf_ct_equal(a->secret.data, b->secret.data, a->secret.len) &&
           is_same_public(a->entity_id, b->entity_id) &&
           is_same_public(a->authority, b->authority) && a->entity_kind == b->entity_kind &&
           a->not_before_s == b->not_before_s && a->not_after_s == b->not_after_s;
}

static bool write_record(struct hf_keydb *db, char *error, const struct hf_keydb_key *key)
{
    uint8_t name[HF_KEYDB_NAME_MAX];
    uint8_t record[HF_KEYDB_RECORD_MAX];
    MDB_val mdb_name = {hf_keydb_record_name(name, key->identity), name};
    MDB_val value = {hf_keydb_record_write(record, key), record};
    bool is_done = value.mv_size > 0 || hf_keydb__fail(error, db->path, "a key breaks a limit");
    if (is_done) {
        int code = mdb_put(db->writer, db->keys, &mdb_name, &value, 0);
        is_done = code == 0 || hf_keydb__fail_lmdb(error, db->path, code);
    }
    hf_wipe(record, sizeof(record));
    return is_done;
}

enum hf_keydb_put hf_keydb_put(struct hf_keydb *db, char error[HF_KEYDB_ERROR_MAX],
                               const struct hf_keydb_key *key, bool may_replace)
{
    struct hf_keydb_key before;
    struct hf_keydb_key now = *key;
    enum hf_keydb_found found = hf_keydb_get(&before, error, db, key->identity);
    if (found == HF_KEYDB_DAMAGED)
        return HF_KEYDB_FAILED;
    if (found == HF_KEYDB_FOUND && is_same(&before, key))
        return HF_KEYDB_UNCHANGED;
    if (found == HF_KEYDB_FOUND && !may_replace)
        return HF_KEYDB_EXISTS;
    int code = next_revision(&now.revision, db);
    if (now.created_s == 0)
        now.created_s = now_s();
    if (code == 0 && found == HF_KEYDB_FOUND)
        code = retire(db, now.revision, before.revision);
    if (code != 0) {
        (void)hf_keydb__fail_lmdb(error, db->path, code);
        return HF_KEYDB_FAILED;
    }
    if (!write_record(db, error, &now))
        return HF_KEYDB_FAILED;
    return found == HF_KEYDB_FOUND ? HF_KEYDB_REPLACED : HF_KEYDB_ADDED;
}

enum hf_keydb_found hf_keydb_remove(struct hf_keydb *db, char error[HF_KEYDB_ERROR_MAX],
                                    struct hf_bytes identity)
{
    uint8_t name[HF_KEYDB_NAME_MAX];
    uint64_t number = 0;
    struct hf_keydb_key before;
    enum hf_keydb_found found = hf_keydb_get(&before, error, db, identity);
    if (found != HF_KEYDB_FOUND)
        return found;
    uint64_t revision = before.revision;
    int code = next_revision(&number, db);
    if (code == 0)
        code = retire(db, number, revision);
    MDB_val key = {hf_keydb_record_name(name, identity), name};
    if (code == 0)
        code = mdb_del(db->writer, db->keys, &key, NULL);
    if (code == 0)
        return HF_KEYDB_FOUND;
    (void)hf_keydb__fail_lmdb(error, db->path, code);
    return HF_KEYDB_DAMAGED;
}

/* LMDB calls a write that was cut short an input/output error, also where the disk is just full. */
static int full_or(int code, int dir_fd)
{
    struct statvfs about;
    bool is_full = code == EIO && fstatvfs(dir_fd, &about) == 0 &&
                   (uint64_t)about.f_bavail * about.f_frsize < DISK_FULL_BYTES;
    return is_full ? ENOSPC : code;
}

bool hf_keydb_commit(struct hf_keydb *db, char error[HF_KEYDB_ERROR_MAX])
{
    int code = forget_old(db);
    uint64_t transaction = mdb_txn_id(db->writer);
    if (code == 0) {
        code = mdb_txn_commit(db->writer);
        db->writer = NULL;
    }
    if (code != 0) {
        code = full_or(code, db->dir_fd);
        hf_keydb_abort(db);
        return hf_keydb__fail_lmdb(error, db->path, code);
    }
    /* A transaction that changed nothing has no number of its own. */
    uint64_t last = hf_keydb_transaction(db);
    return hf_keydb__acknowledge(error, db, transaction < last ? transaction : last);
}

/* ---- the first generation ----------------------------------------------------------------- */

bool hf_keydb__create(char error[HF_KEYDB_ERROR_MAX], int dir_fd, const char *path)
{
    char name[HF_KEYDB_FILE_NAME_MAX];
    char file[PATH_MAX];
    struct hf_keydb db = {.dir_fd = dir_fd, .lock_fd = -1, .data_fd = -1, .is_writable = true};
    hf_keydb__file_name(name, HF_KEYDB_GENERATION_FIRST);
    if (snprintf(file, sizeof(file), "%s/%s", path, name) >= (int)sizeof(file))
        return hf_keydb__fail(error, path, "the path is too long");
    snprintf(db.path, sizeof(db.path), "%s", path);
    /* Nothing names this file. Left behind by a crash it is empty, otherwise somebody's keys. */
    if (hf_keydb__is_committed_to(dir_fd))
        return hf_keydb__fail(error, path,
                              "'current' is missing, but keys were stored here: let "
                              "it name the file that holds them");
    (void)unlink(file);
    bool is_done = hf_keydb__open_file(&db, NULL, error, file, true);
    if (db.env != NULL)
        mdb_env_close(db.env);
    hf_keydb__own_file(file, dir_fd);
    return is_done && hf_keydb__point_current(error, dir_fd, path, HF_KEYDB_GENERATION_FIRST);
}
