/**
 * keydb.c - opens a store, takes snapshots of it, looks keys up.
 *
 * Tables: `keys` (name -> record), `changes` (number, big-endian -> revision that is no more and
 * when), `info` ("revision" -> the last one given). Meta pages and file length are checked with
 * read(2) before LMDB maps the file.
 */
#include "keydb_check.h"
#include "keydb_private.h"
#include "keydb_record.h"

#include "crypto.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAP_LEN_MIN ((size_t)1 << 20)
#define TABLES_MAX 4
#define READERS_MAX 126

bool hf_keydb__fail_lmdb(char error[HF_KEYDB_ERROR_MAX], const char *path, int code)
{
    char text[200];
    switch (code) {
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_PANIC:
    case MDB_CURSOR_FULL:
    case MDB_PAGE_FULL:
    case MDB_INCOMPATIBLE:
    case MDB_NOTFOUND:
    case MDB_BAD_TXN: /* what follows a damaged page within one transaction */
    case MDB_BAD_DBI:
    case MDB_BAD_VALSIZE:
    case MDB_VERSION_MISMATCH:
    case EINVAL:
        return hf_keydb__fail_damaged(error, path, mdb_strerror(code));
    case ENOMEM: /* the size of the mapping is read from the file */
        return hf_keydb__fail(error, path, "the key store is damaged, or memory is short");
    case MDB_READERS_FULL:
        return hf_keydb__fail(error, path, "too many processes read the key store");
    case ENOSPC:
    case EDQUOT:
        return hf_keydb__fail(error, path, "the disk is full; nothing of this batch was written");
    default:
        snprintf(text, sizeof(text), "%.180s", mdb_strerror(code));
        return hf_keydb__fail(error, path, text);
    }
}

MDB_txn *hf_keydb__txn(const struct hf_keydb *db)
{
    return db->writer != NULL ? db->writer : db->reader;
}

/* ---- opening ------------------------------------------------------------------------------ */

static bool check_file(struct hf_keydb *db, char *error, const char *file)
{
    struct stat st;
    char reason[HF_KEYDB_REASON_MAX];
    uint64_t transaction = 0;
    db->data_fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (db->data_fd < 0 || fstat(db->data_fd, &st) != 0)
        return hf_keydb__fail(error, file, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return hf_keydb__fail(error, file, "not a regular file");
    if ((st.st_mode & 077) != 0)
        return hf_keydb__fail(error, file, "others than its owner may read it: chmod 600 it");
    uint64_t acknowledged = 0;
    if (db->dir_fd >= 0 && !hf_keydb__acknowledged(&acknowledged, error, db))
        return false;
    if (!hf_keydb_check_meta(&transaction, reason, db->data_fd))
        return hf_keydb__fail_damaged(error, file, reason);
    if (transaction < acknowledged)
        return hf_keydb__fail_damaged(error, file, "transactions that were acknowledged are lost");
    return true;
}

/* A table keeps its handle for the environment's life once the opening transaction has ended. */
static int open_tables(struct hf_keydb *db, bool is_new)
{
    MDB_txn *txn = NULL;
    unsigned flags = is_new ? MDB_CREATE : 0;
    int code = mdb_txn_begin(db->env, NULL, is_new ? 0 : MDB_RDONLY, &txn);
    if (code == 0)
        code = mdb_dbi_open(txn, "keys", flags, &db->keys);
    if (code == 0)
        code = mdb_dbi_open(txn, "changes", flags, &db->changes);
    if (code == 0)
        code = mdb_dbi_open(txn, "info", flags, &db->info);
    if (code == 0)
        code = mdb_txn_commit(txn);
    else if (txn != NULL)
        mdb_txn_abort(txn);
    return code;
}

/* LMDB's own assertions become an error where it can go on, the end of the process otherwise. */
bool hf_keydb__open_file(struct hf_keydb *db, struct hf_keydb_report *report,
                         char error[HF_KEYDB_ERROR_MAX], const char *file, bool is_new)
{
    if (!is_new && !check_file(db, error, file))
        return false;
    unsigned flags = MDB_NOSUBDIR | MDB_NOTLS | MDB_NORDAHEAD;
    if (!db->is_writable)
        flags |= MDB_RDONLY;
    if (db->dir_fd < 0)
        flags |= MDB_NOLOCK; /* a backup: nobody else has it open */
    int code = mdb_env_create(&db->env);
    if (code == 0)
        code = mdb_env_set_maxdbs(db->env, TABLES_MAX);
    if (code == 0)
        code = mdb_env_set_maxreaders(db->env, READERS_MAX);
    if (code == 0 && is_new)
        code = mdb_env_set_mapsize(db->env, MAP_LEN_MIN);
    if (code == 0)
        code = mdb_env_open(db->env, file, flags, 0600);
    int dead = 0;
    if (code == 0 && db->dir_fd >= 0)
        code = mdb_reader_check(db->env, &dead);
    /* Before LMDB looks at any page but the meta pages. */
    if (code == 0 && report != NULL && !hf_keydb_check(report, error, db))
        return false;
    if (code == 0)
        code = open_tables(db, is_new);
    return code == 0 || hf_keydb__fail_lmdb(error, file, code);
}

/* Alone: two that find no store must not both make one. */
static bool create_missing(struct hf_keydb *db, char *error)
{
    bool is_there = hf_keydb__read_current(db->dir_fd) != 0;
    if (is_there)
        return true;
    if (flock(db->lock_fd, LOCK_EX) != 0)
        return hf_keydb__fail(error, db->path, strerror(errno));
    is_there =
        hf_keydb__read_current(db->dir_fd) != 0 || hf_keydb__create(error, db->dir_fd, db->path);
    return is_there &&
           (flock(db->lock_fd, LOCK_SH) == 0 || hf_keydb__fail(error, db->path, strerror(errno)));
}

static bool open_current(struct hf_keydb *db, struct hf_keydb_report *report, char *error,
                         enum hf_keydb_access access)
{
    char name[HF_KEYDB_FILE_NAME_MAX];
    char file[PATH_MAX];
    if (access != HF_KEYDB_READ) {
        db->lock_fd = hf_keydb__lock_writers(error, db->dir_fd, db->path, false);
        if (db->lock_fd < 0)
            return false;
    }
    if (access == HF_KEYDB_CREATE && !create_missing(db, error))
        return false;
    db->generation = hf_keydb__read_current(db->dir_fd);
    if (db->generation == 0)
        return hf_keydb__fail(error, db->path, "holds no key store: 'current' names no file in it");
    hf_keydb__file_name(name, db->generation);
    if (snprintf(file, sizeof(file), "%s/%s", db->path, name) >= (int)sizeof(file))
        return hf_keydb__fail(error, db->path, "the path is too long");
    return hf_keydb__open_file(db, report, error, file, false);
}

bool hf_keydb_open(struct hf_keydb **out, char error[HF_KEYDB_ERROR_MAX], const char *path,
                   enum hf_keydb_access access)
{
    return hf_keydb_open_checked(out, NULL, error, path, access);
}

bool hf_keydb_open_checked(struct hf_keydb **out, struct hf_keydb_report *report,
                           char error[HF_KEYDB_ERROR_MAX], const char *path,
                           enum hf_keydb_access access)
{
    *out = NULL;
    struct hf_keydb *db = calloc(1, sizeof(*db));
    if (db == NULL)
        return hf_keydb__fail(error, path, "no memory");
    db->dir_fd = db->lock_fd = db->data_fd = -1;
    db->is_writable = access != HF_KEYDB_READ;
    bool is_open = snprintf(db->path, sizeof(db->path), "%s", path) < (int)sizeof(db->path) ||
                   hf_keydb__fail(error, path, "the path is too long");
    if (is_open && access == HF_KEYDB_CREATE && mkdir(path, 0700) != 0 && errno != EEXIST)
        is_open = hf_keydb__fail(error, path, strerror(errno));
    if (is_open)
        db->dir_fd = hf_keydb__open_dir(error, path);
    is_open = is_open && db->dir_fd >= 0 && open_current(db, report, error, access);
    if (!is_open) {
        hf_keydb_close(db);
        return false;
    }
    *out = db;
    return true;
}

void hf_keydb_close(struct hf_keydb *db)
{
    if (db == NULL)
        return;
    hf_keydb_abort(db);
    if (db->reader != NULL)
        mdb_txn_abort(db->reader);
    if (db->env != NULL)
        mdb_env_close(db->env);
    if (db->data_fd >= 0)
        close(db->data_fd);
    if (db->lock_fd >= 0)
        close(db->lock_fd);
    if (db->dir_fd >= 0)
        close(db->dir_fd);
    free(db);
}

/* ---- snapshots ---------------------------------------------------------------------------- */

bool hf_keydb_begin_read(struct hf_keydb *db, char error[HF_KEYDB_ERROR_MAX])
{
    int code = 0;
    for (int i = 0; i < 3; i++) {
        code = db->reader == NULL ? mdb_txn_begin(db->env, NULL, MDB_RDONLY, &db->reader)
                                  : mdb_txn_renew(db->reader);
        /* Another process has made the map larger. */
        if (code != MDB_MAP_RESIZED)
            break;
        if (db->reader != NULL)
            mdb_txn_abort(db->reader);
        db->reader = NULL;
        code = mdb_env_set_mapsize(db->env, 0);
        if (code != 0)
            break;
    }
    db->is_reading = code == 0;
    return code == 0 || hf_keydb__fail_lmdb(error, db->path, code);
}

void hf_keydb_end_read(struct hf_keydb *db)
{
    if (db->is_reading)
        mdb_txn_reset(db->reader);
    db->is_reading = false;
}

enum hf_keydb_found hf_keydb_get(struct hf_keydb_key *out, char error[HF_KEYDB_ERROR_MAX],
                                 struct hf_keydb *db, struct hf_bytes identity)
{
    uint8_t name[HF_KEYDB_NAME_MAX];
    memset(out, 0, sizeof(*out));
    size_t name_len = hf_keydb_record_name(name, identity);
    if (name_len == 0)
        return HF_KEYDB_ABSENT;
    MDB_val key = {name_len, name};
    MDB_val value;
    int code = mdb_get(hf_keydb__txn(db), db->keys, &key, &value);
    if (code == MDB_NOTFOUND)
        return HF_KEYDB_ABSENT;
    if (code != 0) {
        (void)hf_keydb__fail_lmdb(error, db->path, code);
        return HF_KEYDB_DAMAGED;
    }
    struct hf_bytes asked = {name, name_len};
    if (!hf_keydb_record_read(out, asked, hf_keydb__bytes(value))) {
        (void)hf_keydb__fail_damaged(error, db->path, "a record's checksum is wrong");
        return HF_KEYDB_DAMAGED;
    }
    if (identity.len < HF_KEYDB_NAME_MAX)
        out->identity = identity; /* not the copy on this stack */
    return HF_KEYDB_FOUND;
}

bool hf_keydb_each(struct hf_keydb *db, char error[HF_KEYDB_ERROR_MAX], hf_keydb_visit *visit,
                   void *arg)
{
    MDB_cursor *cursor = NULL;
    MDB_val name;
    MDB_val value;
    if (!hf_keydb_begin_read(db, error))
        return false;
    int code = mdb_cursor_open(db->reader, db->keys, &cursor);
    bool is_sound = code == 0 || hf_keydb__fail_lmdb(error, db->path, code);
    bool is_wanted = is_sound;
    while (is_wanted && (code = mdb_cursor_get(cursor, &name, &value, MDB_NEXT)) == 0) {
        struct hf_keydb_key key;
        if (!hf_keydb_record_read(&key, hf_keydb__bytes(name), hf_keydb__bytes(value)))
            is_wanted = is_sound =
                hf_keydb__fail_damaged(error, db->path, "a record's checksum is wrong");
        else
            is_wanted = visit(&key, arg);
    }
    if (is_wanted && code != MDB_NOTFOUND)
        is_sound = hf_keydb__fail_lmdb(error, db->path, code);
    if (cursor != NULL)
        mdb_cursor_close(cursor);
    hf_keydb_end_read(db);
    return is_sound;
}

uint64_t hf_keydb_count(struct hf_keydb *db)
{
    MDB_stat stat = {0};
    char error[HF_KEYDB_ERROR_MAX];
    bool is_ours = hf_keydb__txn(db) == NULL || (db->writer == NULL && !db->is_reading);
    if (is_ours && !hf_keydb_begin_read(db, error))
        return 0;
    int code = mdb_stat(hf_keydb__txn(db), db->keys, &stat);
    if (is_ours)
        hf_keydb_end_read(db);
    return code == 0 ? stat.ms_entries : 0;
}

uint64_t hf_keydb_generation(const struct hf_keydb *db)
{
    return db->generation;
}

uint64_t hf_keydb_transaction(struct hf_keydb *db)
{
    MDB_envinfo info = {0};
    return mdb_env_info(db->env, &info) == 0 ? info.me_last_txnid : 0;
}

bool hf_keydb_is_current(const struct hf_keydb *db)
{
    return hf_keydb__read_current(db->dir_fd) == db->generation;
}

/* ---- the whole ---------------------------------------------------------------------------- */

static bool is_named(struct hf_bytes table, const char *name)
{
    return table.len == strlen(name) && hf_bytes_equal_public(table.data, name, table.len);
}

static bool check_record(struct hf_bytes table, struct hf_bytes name, struct hf_bytes value,
                         void *arg)
{
    struct hf_keydb_report *report = arg;
    struct hf_keydb_key key;
    uint64_t first = 0;
    uint64_t second = 0;
    if (is_named(table, "changes") || is_named(table, "info"))
        return hf_keydb_number_read(&first, &second, name, value);
    report->keys++;
    return is_named(table, "keys") && hf_keydb_record_read(&key, name, value);
}

bool hf_keydb_check(struct hf_keydb_report *out, char error[HF_KEYDB_ERROR_MAX],
                    struct hf_keydb *db)
{
    char reason[HF_KEYDB_REASON_MAX] = "writers do not leave a moment to check it";
    enum hf_keydb_verdict verdict = HF_KEYDB_MOVED;
    for (int i = 0; i < 5 && verdict == HF_KEYDB_MOVED; i++) {
        memset(out, 0, sizeof(*out));
        if (!hf_keydb_begin_read(db, error))
            return false;
        verdict = hf_keydb_check_pages(out, reason, db->data_fd, mdb_txn_id(db->reader),
                                       check_record, out);
        hf_keydb_end_read(db);
    }
    if (verdict == HF_KEYDB_MOVED)
        return hf_keydb__fail(error, db->path, reason);
    return verdict == HF_KEYDB_SOUND || hf_keydb__fail_damaged(error, db->path, reason);
}

bool hf_keydb_check_file(struct hf_keydb_report *out, char error[HF_KEYDB_ERROR_MAX],
                         const char *path)
{
    char reason[HF_KEYDB_REASON_MAX];
    struct hf_keydb db = {.dir_fd = -1, .lock_fd = -1, .data_fd = -1};
    memset(out, 0, sizeof(*out));
    bool is_sound = check_file(&db, error, path);
    if (is_sound &&
        hf_keydb_check_pages(out, reason, db.data_fd, 0, check_record, out) != HF_KEYDB_SOUND)
        is_sound = hf_keydb__fail_damaged(error, path, reason);
    if (db.data_fd >= 0)
        close(db.data_fd);
    return is_sound;
}
