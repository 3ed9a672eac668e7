/**
 * keydb_dir.c - the store's directory: who may look into it, which generation is in use, what was
 * acknowledged. Nothing of LMDB here.
 */
#include "keydb_private.h"
#include "keydb_record.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define COMMITTED "committed"
#define CURRENT "current"
#define WRITERS "writers"

bool hf_keydb__fail(char error[HF_KEYDB_ERROR_MAX], const char *path, const char *text)
{
    snprintf(error, HF_KEYDB_ERROR_MAX, "%.200s: %.280s", path, text);
    return false;
}

bool hf_keydb__fail_damaged(char error[HF_KEYDB_ERROR_MAX], const char *path, const char *reason)
{
    snprintf(error, HF_KEYDB_ERROR_MAX,
             "%.200s: the key store is damaged: %.160s; restore a backup (handfastctl psk restore)",
             path, reason);
    return false;
}

int hf_keydb__open_dir(char error[HF_KEYDB_ERROR_MAX], const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        (void)hf_keydb__fail(error, path,
                             errno == ENOENT ? "there is no key store here" : strerror(errno));
        return -1;
    }
    if (fstat(fd, &st) == 0 && (st.st_mode & 077) == 0)
        return fd;
    (void)hf_keydb__fail(error, path, "others than its owner may look into it: chmod 700 it");
    close(fd);
    return -1;
}

int hf_keydb__lock_writers(char error[HF_KEYDB_ERROR_MAX], int dir_fd, const char *path,
                           bool is_alone)
{
    int fd = openat(dir_fd, WRITERS, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        (void)hf_keydb__fail(error, path, strerror(errno));
        return -1;
    }
    hf_keydb__own(fd, dir_fd);
    int code = 0;
    do {
        code = flock(fd, is_alone ? LOCK_EX | LOCK_NB : LOCK_SH);
    } while (code != 0 && errno == EINTR);
    if (code == 0)
        return fd;
    (void)hf_keydb__fail(error, path,
                         errno == EWOULDBLOCK ? "somebody writes to the key store: try again later"
                                              : strerror(errno));
    close(fd);
    return -1;
}

uint64_t hf_keydb__read_current(int dir_fd)
{
    char target[HF_KEYDB_FILE_NAME_MAX];
    char expected[HF_KEYDB_FILE_NAME_MAX];
    uint64_t generation = 0;
    ssize_t len = readlinkat(dir_fd, CURRENT, target, sizeof(target) - 1);
    if (len <= 0)
        return 0;
    target[len] = '\0';
    if (sscanf(target, "keys-%" SCNu64 ".mdb", &generation) != 1)
        return 0;
    hf_keydb__file_name(expected, generation);
    return strlen(expected) == (size_t)len ? generation : 0;
}

uint64_t hf_keydb__greatest(int dir_fd)
{
    uint64_t greatest = hf_keydb__read_current(dir_fd);
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry = NULL;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        uint64_t generation = 0;
        if (sscanf(entry->d_name, "keys-%" SCNu64, &generation) == 1 && generation > greatest)
            greatest = generation;
    }
    if (dir != NULL)
        closedir(dir);
    else if (fd >= 0)
        close(fd);
    return greatest;
}

void hf_keydb__file_name(char out[HF_KEYDB_FILE_NAME_MAX], uint64_t generation)
{
    snprintf(out, HF_KEYDB_FILE_NAME_MAX, "keys-%" PRIu64 ".mdb", generation);
}

bool hf_keydb__point_current(char error[HF_KEYDB_ERROR_MAX], int dir_fd, const char *path,
                             uint64_t generation)
{
    char name[HF_KEYDB_FILE_NAME_MAX];
    hf_keydb__file_name(name, generation);
    (void)unlinkat(dir_fd, CURRENT ".new", 0);
    if (symlinkat(name, dir_fd, CURRENT ".new") != 0 ||
        renameat(dir_fd, CURRENT ".new", dir_fd, CURRENT) != 0 || fsync(dir_fd) != 0)
        return hf_keydb__fail(error, path, strerror(errno));
    return true;
}

void hf_keydb__own(int fd, int dir_fd)
{
    struct stat st;
    if (geteuid() == 0 && fstat(dir_fd, &st) == 0 && st.st_uid != 0 &&
        fchown(fd, st.st_uid, st.st_gid) != 0)
        return; /* the daemon will say that it cannot read it */
}

/* ---- what was acknowledged ---------------------------------------------------------------- */

static struct hf_bytes committed_name(void)
{
    return (struct hf_bytes){(const uint8_t *)COMMITTED, sizeof(COMMITTED) - 1};
}

static bool read_committed(uint64_t *transaction, char *error, const struct hf_keydb *db, int fd)
{
    uint8_t data[HF_KEYDB_NUMBER_LEN + 1];
    uint64_t generation = 0;
    uint64_t number = 0;
    ssize_t len = pread(fd, data, sizeof(data), 0);
    struct hf_bytes text = {data, len < 0 ? 0 : (size_t)len};
    *transaction = 0;
    if (len == 0)
        return true; /* made, and not yet written */
    if (!hf_keydb_number_read(&generation, &number, committed_name(), text))
        return hf_keydb__fail_damaged(error, db->path, "the file 'committed' is not as written");
    if (generation == db->generation)
        *transaction = number;
    return true;
}

bool hf_keydb__acknowledged(uint64_t *transaction, char error[HF_KEYDB_ERROR_MAX],
                            const struct hf_keydb *db)
{
    *transaction = 0;
    int fd = openat(db->dir_fd, COMMITTED, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT || hf_keydb__fail(error, db->path, strerror(errno));
    bool is_read = flock(fd, LOCK_SH) == 0 || hf_keydb__fail(error, db->path, strerror(errno));
    is_read = is_read && read_committed(transaction, error, db, fd);
    close(fd);
    return is_read;
}

/* One write of 24 bytes in place: after a crash it is the old text or the new one. */
bool hf_keydb__acknowledge(char error[HF_KEYDB_ERROR_MAX], const struct hf_keydb *db,
                           uint64_t transaction)
{
    uint8_t data[HF_KEYDB_NUMBER_LEN];
    uint64_t before = 0;
    int fd = openat(db->dir_fd, COMMITTED, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return hf_keydb__fail(error, db->path, strerror(errno));
    hf_keydb__own(fd, db->dir_fd);
    bool is_done = flock(fd, LOCK_EX) == 0 || hf_keydb__fail(error, db->path, strerror(errno));
    is_done = is_done && read_committed(&before, error, db, fd);
    /* Another writer may have gone further meanwhile. */
    if (is_done && before < transaction) {
        hf_keydb_number_write(data, committed_name(), db->generation, transaction);
        is_done =
            (pwrite(fd, data, sizeof(data), 0) == (ssize_t)sizeof(data) && fdatasync(fd) == 0) ||
            hf_keydb__fail(error, db->path, strerror(errno));
    }
    close(fd);
    return is_done;
}

bool hf_keydb__is_committed_to(int dir_fd)
{
    return faccessat(dir_fd, COMMITTED, F_OK, 0) == 0;
}
