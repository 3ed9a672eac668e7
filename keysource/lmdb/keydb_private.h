/**
 * keydb_private.h - what the files of the store share. Private to keysource/lmdb/.
 */
#ifndef HF_KEYDB_PRIVATE_H
#define HF_KEYDB_PRIVATE_H

#include "keydb.h"

#include <limits.h>
#include <lmdb.h>

#define HF_KEYDB_GENERATION_FIRST 1

struct hf_keydb {
    MDB_env *env;
    MDB_txn *reader; /* kept reset between snapshots */
    MDB_txn *writer;
    MDB_dbi keys, changes, info;
    int dir_fd;  /* -1: a single file, not a store */
    int lock_fd; /* writers only */
    int data_fd;
    uint64_t generation;
    bool is_reading;
    bool is_writable;
    char path[PATH_MAX]; /* of the directory, for messages */
};

/** hf_keydb__fail writes "STORE: text" and returns false. */
bool hf_keydb__fail(char error[HF_KEYDB_ERROR_MAX], const char *path, const char *text);

/** hf_keydb__fail_lmdb says what LMDB's code means here, and what to do about it. */
bool hf_keydb__fail_lmdb(char error[HF_KEYDB_ERROR_MAX], const char *path, int code);

/** hf_keydb__fail_damaged names the damage and the remedy. */
bool hf_keydb__fail_damaged(char error[HF_KEYDB_ERROR_MAX], const char *path, const char *reason);

/** hf_keydb__open_dir opens the directory and checks that it is its owner's alone. */
int hf_keydb__open_dir(char error[HF_KEYDB_ERROR_MAX], const char *path);

/** hf_keydb__lock_writers opens and locks DIR/writers; -1 with `error` on failure. A restore
 *  (`is_alone`) does not wait for writers, a writer waits for a restore. */
int hf_keydb__lock_writers(char error[HF_KEYDB_ERROR_MAX], int dir_fd, const char *path,
                           bool is_alone);

/** hf_keydb__read_current gives N of what `current` names; 0: there is none. */
uint64_t hf_keydb__read_current(int dir_fd);

/** hf_keydb__greatest gives the greatest generation of which there is a file, in use or not. */
uint64_t hf_keydb__greatest(int dir_fd);

/** hf_keydb__point_current makes `current` name generation N, atomically and durably. */
bool hf_keydb__point_current(char error[HF_KEYDB_ERROR_MAX], int dir_fd, const char *path,
                             uint64_t generation);

/** hf_keydb__file_name writes "keys-N.mdb". */
#define HF_KEYDB_FILE_NAME_MAX 40
void hf_keydb__file_name(char out[HF_KEYDB_FILE_NAME_MAX], uint64_t generation);

/** hf_keydb__own gives a new file to the owner of the directory, where we may. */
void hf_keydb__own(int fd, int dir_fd);

/** hf_keydb__acknowledge writes DIR/committed; hf_keydb__acknowledged reads it: 0 for a generation
 *  of which it knows nothing. */
bool hf_keydb__acknowledge(char error[HF_KEYDB_ERROR_MAX], const struct hf_keydb *db,
                           uint64_t transaction);
bool hf_keydb__acknowledged(uint64_t *transaction, char error[HF_KEYDB_ERROR_MAX],
                            const struct hf_keydb *db);

/** hf_keydb__is_committed_to tells whether anything was ever acknowledged here. */
bool hf_keydb__is_committed_to(int dir_fd);

/** hf_keydb__own_file gives a file and its lock file to the owner of the directory. Only while no
 *  environment of this process has it open: closing a lock file drops the process's locks on it. */
void hf_keydb__own_file(const char *file, int dir_fd);

/** hf_keydb__open_file opens one LMDB file, whose meta pages are checked first, and all its pages
 *  unless `report` is NULL. */
bool hf_keydb__open_file(struct hf_keydb *db, struct hf_keydb_report *report,
                         char error[HF_KEYDB_ERROR_MAX], const char *file, bool is_new);

/** hf_keydb__txn gives the transaction that is open. */
MDB_txn *hf_keydb__txn(const struct hf_keydb *db);

/** hf_keydb__create makes generation 1 of a store. */
bool hf_keydb__create(char error[HF_KEYDB_ERROR_MAX], int dir_fd, const char *path);

static inline MDB_val hf_keydb__val(struct hf_bytes bytes)
{
    return (MDB_val){bytes.len, (void *)bytes.data};
}

static inline struct hf_bytes hf_keydb__bytes(MDB_val value)
{
    return (struct hf_bytes){value.mv_data, value.mv_size};
}

#endif
