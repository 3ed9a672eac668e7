/**
 * keys.c - reads the file whole, wipes what it read, answers at once.
 */
#include "keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static bool refuse(char *error, const char *path, const char *reason)
{
    snprintf(error, HF_KEYS_ERROR_MAX, "%.200s: %.280s", path, reason);
    return false;
}

static bool read_whole(uint8_t *data, size_t len, int fd)
{
    size_t got = 0;
    while (got < len) {
        ssize_t step = read(fd, data + got, len - got);
        if (step == 0 || (step < 0 && errno != EINTR))
            return false;
        got += step > 0 ? (size_t)step : 0;
    }
    return true;
}

/* In memory that is no part of the heap, never dumped, wiped. */
static bool parse(struct hf_keyfile **out, char *error, const char *path, int fd, size_t len)
{
    char reason[HF_KEYFILE_ERROR_MAX];
    uint8_t *data = mmap(NULL, len + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED)
        return refuse(error, path, strerror(errno));
    (void)madvise(data, len + 1, MADV_DONTDUMP);
    bool is_good = read_whole(data, len, fd) || refuse(error, path, "cannot be read whole");
    if (is_good && hf_keyfile_open(out, reason, (struct hf_bytes){data, len}) != HF_OK)
        is_good = refuse(error, path, reason);
    explicit_bzero(data, len);
    munmap(data, len + 1);
    return is_good;
}

bool hf_keys_load(struct hf_keyfile **out, char error[HF_KEYS_ERROR_MAX], const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) != 0) {
        int code = errno;
        if (fd >= 0)
            close(fd);
        return refuse(error, path, strerror(code));
    }
    bool is_good;
    if (!S_ISREG(st.st_mode))
        is_good = refuse(error, path, "not a regular file");
    else if ((st.st_mode & 077) != 0)
        is_good = refuse(error, path, "others than its owner may use it: chmod 600 it");
    else
        is_good = parse(out, error, path, fd, (size_t)st.st_size);
    close(fd);
    return is_good;
}

static void request(struct hf_engine *engine, const struct hf_request *asked, void *arg)
{
    const struct hf_keys *keys = arg;
    /* A certificate that names no entity is known by its Credential-ID; nothing is resumed. */
    struct hf_answer answer = {.kind = asked->kind == HF_REQUEST_IDENTITY ? HF_ANSWER_IDENTITY
                                                                          : HF_ANSWER_REFUSED};
    uint8_t scratch[HF_CREDENTIAL_ID_MAX];
    if (asked->kind == HF_REQUEST_KEY && keys->current != NULL)
        hf_keyfile_answer(&answer, scratch, keys->current, asked->psk_identity);
    (void)hf_engine_answer(engine, asked->ticket, &answer);
}

struct hf_key_source hf_keys_source(struct hf_keys *keys)
{
    return (struct hf_key_source){.request = request, .arg = keys};
}
