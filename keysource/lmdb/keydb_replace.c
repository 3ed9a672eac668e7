/**
 * keydb_replace.c - the store as a whole: compared, copied out, exchanged; and the process that may
 * die of it.
 */
#include "keydb_private.h"
#include "keydb_record.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define COPY_CHUNK_LEN ((size_t)1 << 20)

void hf_keydb__own_file(const char *file, int dir_fd)
{
    char lock_file[2 * PATH_MAX];
    snprintf(lock_file, sizeof(lock_file), "%s-lock", file);
    const char *files[2] = {file, lock_file};
    for (int i = 0; i < 2; i++) {
        int fd = open(files[i], O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
            continue;
        hf_keydb__own(fd, dir_fd);
        close(fd);
    }
}

/* ---- difference --------------------------------------------------------------------------- */

struct side {
    MDB_cursor *cursor;
    MDB_val name, value;
    struct hf_keydb_key key;
    bool is_at_end;
};

static bool side_next(struct side *side, char *error, struct hf_keydb *db)
{
    int code = mdb_cursor_get(side->cursor, &side->name, &side->value, MDB_NEXT);
    side->is_at_end = code == MDB_NOTFOUND;
    if (side->is_at_end)
        return true;
    if (code != 0)
        return hf_keydb__fail_lmdb(error, db->path, code);
    return hf_keydb_record_read(&side->key, hf_keydb__bytes(side->name),
                                hf_keydb__bytes(side->value)) ||
           hf_keydb__fail_damaged(error, db->path, "a record's checksum is wrong");
}

static bool side_open(struct side *side, char *error, struct hf_keydb *db)
{
    memset(side, 0, sizeof(*side));
    if (!hf_keydb_begin_read(db, error))
        return false;
    int code = mdb_cursor_open(db->reader, db->keys, &side->cursor);
    return code == 0 ? side_next(side, error, db) : hf_keydb__fail_lmdb(error, db->path, code);
}

static void side_close(struct side *side, struct hf_keydb *db)
{
    if (side->cursor != NULL)
        mdb_cursor_close(side->cursor);
    hf_keydb_end_read(db);
}

/* Both sides are in the same order. */
static bool compare(uint64_t *out, char *error, struct side sides[2], struct hf_keydb *dbs[2],
                    void (*visit)(uint64_t revision, void *arg), void *arg)
{
    while (!sides[0].is_at_end) {
        int order = sides[1].is_at_end
                        ? -1
                        : mdb_cmp(dbs[0]->reader, dbs[0]->keys, &sides[0].name, &sides[1].name);
        if (order < 0 || (order == 0 && sides[0].key.revision != sides[1].key.revision)) {
            (*out)++;
            if (visit != NULL)
                visit(sides[0].key.revision, arg);
        }
        if (order >= 0 && !side_next(&sides[1], error, dbs[1]))
            return false;
        if (order <= 0 && !side_next(&sides[0], error, dbs[0]))
            return false;
    }
    return true;
}

bool hf_keydb_difference(uint64_t *out, char error[HF_KEYDB_ERROR_MAX], struct hf_keydb *before,
                         struct hf_keydb *after, void (*visit)(uint64_t revision, void *arg),
                         void *arg)
{
    struct hf_keydb *dbs[2] = {before, after};
    struct side sides[2] = {0};
    *out = 0;
    bool is_done = side_open(&sides[0], error, before) && side_open(&sides[1], error, after) &&
                   compare(out, error, sides, dbs, visit, arg);
    side_close(&sides[1], after);
    side_close(&sides[0], before);
    return is_done;
}

/* ---- backup ------------------------------------------------------------------------------- */

static bool sync_dir_of(const char *file)
{
    char dir[PATH_MAX];
    snprintf(dir, sizeof(dir), "%s", file);
    char *slash = strrchr(dir, '/');
    if (slash != NULL)
        slash[slash == dir] = '\0';
    int fd = open(slash == NULL ? "." : dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool is_done = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    return is_done;
}

static bool copy_out(struct hf_keydb_report *out, char *error, struct hf_keydb *db,
                     const char *temporary)
{
    int fd = open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return hf_keydb__fail(error, temporary, strerror(errno));
    int code = mdb_env_copyfd2(db->env, fd, MDB_CP_COMPACT);
    bool is_done = code == 0 || hf_keydb__fail_lmdb(error, db->path, code);
    if (is_done && fsync(fd) != 0)
        is_done = hf_keydb__fail(error, temporary, strerror(errno));
    close(fd);
    return is_done && hf_keydb_check_file(out, error, temporary);
}

bool hf_keydb_backup(struct hf_keydb_report *out, char error[HF_KEYDB_ERROR_MAX],
                     struct hf_keydb *db, const char *file, bool may_replace)
{
    char temporary[PATH_MAX];
    struct hf_keydb_report before;
    if (!may_replace && access(file, F_OK) == 0)
        return hf_keydb__fail(error, file, "is there already: --force replaces it");
    if (snprintf(temporary, sizeof(temporary), "%s.%ld.tmp", file, (long)getpid()) >=
        (int)sizeof(temporary))
        return hf_keydb__fail(error, file, "the path is too long");
    if (!hf_keydb_check(&before, error, db))
        return false;
    bool is_done = copy_out(out, error, db, temporary);
    if (is_done && (rename(temporary, file) != 0 || !sync_dir_of(file)))
        is_done = hf_keydb__fail(error, file, strerror(errno));
    if (!is_done)
        (void)unlink(temporary);
    return is_done;
}

/* ---- restore ------------------------------------------------------------------------------ */

static bool copy_bytes(char *error, int out, int in, const char *file)
{
    char *chunk = malloc(COPY_CHUNK_LEN);
    bool is_done = chunk != NULL;
    while (is_done) {
        ssize_t len = read(in, chunk, COPY_CHUNK_LEN);
        if (len == 0)
            break;
        is_done = len > 0 && write(out, chunk, (size_t)len) == len;
    }
    is_done = is_done && fsync(out) == 0;
    if (!is_done)
        (void)hf_keydb__fail(error, file, chunk == NULL ? "no memory" : strerror(errno));
    if (chunk != NULL)
        explicit_bzero(chunk, COPY_CHUNK_LEN);
    free(chunk);
    return is_done;
}

static bool copy_in(char *error, int dir_fd, const char *target, const char *file)
{
    struct stat st;
    int in = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (in < 0 || fstat(in, &st) != 0)
        return hf_keydb__fail(error, file, strerror(errno));
    if (!S_ISREG(st.st_mode) || (st.st_mode & 077) != 0) {
        close(in);
        return hf_keydb__fail(error, file,
                              S_ISREG(st.st_mode)
                                  ? "others than its owner may read it: chmod 600 it"
                                  : "not a regular file");
    }
    int out = open(target, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool is_done = out >= 0 || hf_keydb__fail(error, target, strerror(errno));
    if (is_done) {
        hf_keydb__own(out, dir_fd);
        is_done = copy_bytes(error, out, in, file);
        close(out);
    }
    close(in);
    return is_done;
}

/* What the store's associations would lose. A store that cannot be read has nothing to compare. */
static bool judge(struct hf_keydb_restore *out, char *error, const char *path, const char *target,
                  uint32_t retired_percent_max)
{
    char ignored[HF_KEYDB_ERROR_MAX];
    struct hf_keydb *before = NULL;
    struct hf_keydb_report report;
    struct hf_keydb after = {.dir_fd = -1, .lock_fd = -1, .data_fd = -1};
    snprintf(after.path, sizeof(after.path), "%s", target);
    bool is_sound = hf_keydb__open_file(&after, &out->report, error, target, false);
    out->is_comparable =
        is_sound && hf_keydb_open_checked(&before, &report, ignored, path, HF_KEYDB_READ);
    if (out->is_comparable) {
        out->keys_before = report.keys;
        is_sound = hf_keydb_difference(&out->keys_retired, error, before, &after, NULL, NULL);
    }
    hf_keydb_close(before);
    if (after.reader != NULL)
        mdb_txn_abort(after.reader);
    if (after.env != NULL)
        mdb_env_close(after.env);
    if (after.data_fd >= 0)
        close(after.data_fd);
    if (!is_sound || !out->is_comparable ||
        out->keys_retired * 100 <= (uint64_t)retired_percent_max * out->keys_before)
        return is_sound;
    snprintf(error, HF_KEYDB_ERROR_MAX,
             "%.200s: would end %llu of %llu keys, more than %u %%: --force does it", path,
             (unsigned long long)out->keys_retired, (unsigned long long)out->keys_before,
             retired_percent_max);
    return false;
}

static bool exchange(struct hf_keydb_restore *out, char *error, const char *path, int dir_fd,
                     const char *file, uint32_t retired_percent_max)
{
    char name[HF_KEYDB_FILE_NAME_MAX];
    char before[PATH_MAX + 8];
    char target[PATH_MAX];
    uint64_t generation = hf_keydb__read_current(dir_fd);
    uint64_t next = hf_keydb__greatest(dir_fd) + 1;
    hf_keydb__file_name(name, next);
    if (snprintf(target, sizeof(target), "%s/%s", path, name) >= (int)sizeof(target))
        return hf_keydb__fail(error, path, "the path is too long");
    bool is_done = copy_in(error, dir_fd, target, file) &&
                   judge(out, error, path, target, retired_percent_max);
    if (is_done) {
        /* A lock file that a crash left behind knows of other transactions. */
        snprintf(before, sizeof(before), "%s-lock", target);
        (void)unlink(before);
        is_done = hf_keydb__point_current(error, dir_fd, path, next);
    }
    if (!is_done) {
        if (hf_keydb__read_current(dir_fd) == generation)
            (void)unlink(target);
        return false;
    }
    if (generation == 0)
        return true;
    hf_keydb__file_name(name, generation);
    (void)unlinkat(dir_fd, name, 0);
    snprintf(before, sizeof(before), "%s-lock", name);
    (void)unlinkat(dir_fd, before, 0);
    return true;
}

bool hf_keydb_restore(struct hf_keydb_restore *out, char error[HF_KEYDB_ERROR_MAX],
                      const char *path, const char *file, uint32_t retired_percent_max)
{
    memset(out, 0, sizeof(*out));
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return hf_keydb__fail(error, path, strerror(errno));
    int dir_fd = hf_keydb__open_dir(error, path);
    if (dir_fd < 0)
        return false;
    int lock_fd = hf_keydb__lock_writers(error, dir_fd, path, true);
    bool is_done = lock_fd >= 0 && exchange(out, error, path, dir_fd, file, retired_percent_max);
    if (lock_fd >= 0)
        close(lock_fd);
    close(dir_fd);
    /* Its first reader makes the lock file: let that be us, so that it has the right owner. */
    struct hf_keydb *db = NULL;
    if (is_done && hf_keydb_open(&db, error, path, HF_KEYDB_READ)) {
        char name[HF_KEYDB_FILE_NAME_MAX];
        char target[PATH_MAX + HF_KEYDB_FILE_NAME_MAX];
        hf_keydb__file_name(name, db->generation);
        snprintf(target, sizeof(target), "%s/%s", path, name);
        dir_fd = dup(db->dir_fd);
        hf_keydb_close(db);
        hf_keydb__own_file(target, dir_fd);
        close(dir_fd);
    }
    return is_done;
}

/* ---- the process that may die ------------------------------------------------------------- */

int hf_keydb_guard(int (*work)(void *arg), void *arg)
{
    (void)fflush(NULL);
    pid_t child = fork();
    if (child < 0) {
        fprintf(stderr, "handfastctl: cannot start a process: %s\n", strerror(errno));
        return 1;
    }
    if (child == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)prctl(PR_SET_DUMPABLE, 0);
        (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        (void)signal(SIGSEGV, SIG_DFL);
        (void)signal(SIGBUS, SIG_DFL);
        int result = work(arg);
        (void)fflush(NULL);
        _exit(result);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    int number = WTERMSIG(status);
    bool is_damage = number == SIGSEGV || number == SIGBUS || number == SIGABRT ||
                     number == SIGFPE || number == SIGILL;
    fprintf(stderr,
            is_damage ? "handfastctl: the key store is damaged: reading it ended in %s; "
                        "restore a backup (handfastctl psk restore)\n"
                      : "handfastctl: ended by %s\n",
            strsignal(number));
    return 1;
}
