/**
 * file.c - see file.h.
 */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_LEN_MAX ((size_t)64 << 20) /* a CRL can be long */
#define PATH_LEN_MAX 4096               /* the kernel has no longer ones */

static bool fail(char *error, const char *path, const char *what)
{
    snprintf(error, HF_FILE_ERROR_MAX, "%.300s: %.180s", path, what);
    return false;
}

void hf_file_wipe(struct hf_file *file)
{
    if (file->data != NULL)
        explicit_bzero(file->data, file->max);
    free(file->data);
    memset(file, 0, sizeof(*file));
}

static bool read_all(struct hf_file *out, int fd)
{
    while (out->len < out->max) {
        ssize_t got = read(fd, out->data + out->len, out->max - out->len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got == 0;
        out->len += (size_t)got;
    }
    return true;
}

bool hf_file_read(struct hf_file *out, char error[HF_FILE_ERROR_MAX], const char *path,
                  bool is_secret)
{
    struct stat st;
    memset(out, 0, sizeof(*out));
    if (path[0] == '\0')
        return true;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return fail(error, path, strerror(errno));
    const char *fault = NULL;
    if (fstat(fd, &st) != 0)
        fault = strerror(errno);
    else if (!S_ISREG(st.st_mode))
        fault = "not a regular file";
    else if (is_secret && (st.st_mode & (S_IRWXO | S_IWGRP)) != 0)
        fault = "others may read or write this private key: chmod o=,g-w";
    else if (!is_secret && (st.st_mode & S_IWOTH) != 0)
        fault = "everybody may write it: chmod o-w";
    else if (st.st_size == 0 || (size_t)st.st_size > FILE_LEN_MAX)
        fault = st.st_size == 0 ? "empty" : "longer than 64 MiB";
    if (fault == NULL) {
        out->max = (size_t)st.st_size;
        out->data = malloc(out->max);
        if (out->data == NULL || !read_all(out, fd))
            fault = out->data == NULL ? "no memory" : strerror(errno);
    }
    close(fd);
    if (fault == NULL)
        return true;
    hf_file_wipe(out);
    return fail(error, path, fault);
}

struct hf_bytes hf_file_view(const struct hf_file *file)
{
    return (struct hf_bytes){file->data, file->len};
}

/* ---- writing ------------------------------------------------------------------------------ */

bool hf_file_write_all(int fd, struct hf_bytes data)
{
    while (data.len > 0) {
        ssize_t done = write(fd, data.data, data.len);
        if (done < 0 && errno != EINTR)
            return false;
        if (done > 0) {
            data.data += done;
            data.len -= (size_t)done;
        }
    }
    return true;
}

bool hf_file_sync_directory(const char *path)
{
    char directory[PATH_LEN_MAX];
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    snprintf(directory, sizeof(directory), "%.*s", len > 0 ? (int)len : 1, len > 0 ? path : ".");
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool is_good = fsync(fd) == 0;
    close(fd);
    return is_good;
}
