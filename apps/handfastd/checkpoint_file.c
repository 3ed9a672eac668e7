/**
 * checkpoint_file.c - see checkpoint_file.h.
 */
#include "checkpoint_file.h"

#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define VERSION 1
#define FRAME_HEAD_LEN 7
#define PLACE_LEN (HF_CHECKPOINT_HEAD_LEN + 4 + 3)
#define SERIAL_AT 4
#define FROM_AT 12
#define WALL_AT 20
#define RANDOM_AT 28

static void put(uint8_t *at, uint64_t value, size_t width)
{
    for (size_t i = width; i > 0; i--, value >>= 8)
        at[i - 1] = (uint8_t)value;
}

static uint64_t get(const uint8_t *at, size_t width)
{
    uint64_t value = 0;
    for (size_t i = 0; i < width; i++)
        value = value << 8 | at[i];
    return value;
}

static struct hf_bytes place_of(uint8_t out[PLACE_LEN], const uint8_t *head, uint32_t index,
                                uint8_t kind, uint32_t shard)
{
    memcpy(out, head, HF_CHECKPOINT_HEAD_LEN);
    put(out + HF_CHECKPOINT_HEAD_LEN, index, 4);
    out[HF_CHECKPOINT_HEAD_LEN + 4] = kind;
    put(out + HF_CHECKPOINT_HEAD_LEN + 5, shard, 2);
    return (struct hf_bytes){out, PLACE_LEN};
}

/* ---- the serial --------------------------------------------------------------------------- */

static void beside(char out[HF_PATH_TEXT_MAX + 16], const char *path, const char *suffix)
{
    snprintf(out, HF_PATH_TEXT_MAX + 16, "%.*s%s", HF_PATH_TEXT_MAX, path, suffix);
}

bool hf_checkpoint_file_mark(const char *path, uint64_t serial)
{
    char name[HF_PATH_TEXT_MAX + 16], fresh[HF_PATH_TEXT_MAX + 16], text[24];
    beside(name, path, ".serial");
    beside(fresh, path, ".serial.new");
    int len = snprintf(text, sizeof(text), "%llu\n", (unsigned long long)serial);
    (void)unlink(fresh);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    bool is_good = hf_file_write_all(fd, (struct hf_bytes){(const uint8_t *)text, (size_t)len}) &&
                   fsync(fd) == 0;
    close(fd);
    return is_good && rename(fresh, name) == 0 && hf_file_sync_directory(name);
}

uint64_t hf_checkpoint_file_marked(const char *path)
{
    char name[HF_PATH_TEXT_MAX + 16], text[24] = "";
    beside(name, path, ".serial");
    int fd = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return 0;
    ssize_t got = read(fd, text, sizeof(text) - 1);
    close(fd);
    return got > 0 ? strtoull(text, NULL, 10) : 0;
}

bool hf_checkpoint_file_remove(const char *path)
{
    return unlink(path) == 0 && hf_file_sync_directory(path);
}

/* ---- writing ------------------------------------------------------------------------------ */

bool hf_checkpoint_file_begin(struct hf_checkpoint_writer *writer, const char *path,
                              uint64_t serial, const struct hf_shared_secrets *secrets,
                              int64_t wall_s)
{
    memset(writer, 0, sizeof(*writer));
    writer->secret = *hf_shared_secrets_active(secrets, wall_s);
    snprintf(writer->path, sizeof(writer->path), "%s", path);
    snprintf(writer->beside, sizeof(writer->beside), "%s.new", path);
    memcpy(writer->head, "HFC", 3);
    writer->head[3] = VERSION;
    put(writer->head + SERIAL_AT, serial, 8);
    put(writer->head + FROM_AT, (uint64_t)writer->secret.from_s, 8);
    put(writer->head + WALL_AT, (uint64_t)wall_s, 8);
    size_t random_len = HF_CHECKPOINT_HEAD_LEN - RANDOM_AT;
    if (getrandom(writer->head + RANDOM_AT, random_len, 0) != (ssize_t)random_len)
        return false;
    (void)unlink(writer->beside);
    writer->fd = open(writer->beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (writer->fd < 0)
        return false;
    writer->is_failed =
        !hf_file_write_all(writer->fd, (struct hf_bytes){writer->head, sizeof(writer->head)});
    writer->len = sizeof(writer->head);
    return true;
}

void hf_checkpoint_file_add(struct hf_checkpoint_writer *writer, enum hf_checkpoint_kind kind,
                            uint32_t shard, struct hf_bytes data)
{
    uint8_t place[PLACE_LEN];
    size_t len = data.len + HF_CHECKPOINT_EXPANSION;
    uint8_t *frame = data.len > HF_CHECKPOINT_FRAME_MAX ? NULL : malloc(FRAME_HEAD_LEN + len);
    if (frame == NULL) {
        writer->is_failed = true;
        return;
    }
    frame[0] = (uint8_t)kind;
    put(frame + 1, shard, 2);
    put(frame + 3, len, 4);
    hf_checkpoint_seal(frame + FRAME_HEAD_LEN, &writer->secret,
                       place_of(place, writer->head, writer->index++, frame[0], shard), data);
    writer->is_failed |=
        writer->is_failed ||
        !hf_file_write_all(writer->fd, (struct hf_bytes){frame, FRAME_HEAD_LEN + len});
    writer->len += FRAME_HEAD_LEN + len;
    free(frame);
}

bool hf_checkpoint_file_finish(struct hf_checkpoint_writer *writer)
{
    hf_checkpoint_file_add(writer, HF_CHECKPOINT_END, 0, (struct hf_bytes){NULL, 0});
    if (!writer->is_failed && fsync(writer->fd) == 0)
        return true;
    int code = errno;
    hf_checkpoint_file_abandon(writer);
    errno = code;
    return false;
}

bool hf_checkpoint_file_place(struct hf_checkpoint_writer *writer)
{
    bool is_placed = hf_checkpoint_file_mark(writer->path, get(writer->head + SERIAL_AT, 8)) &&
                     rename(writer->beside, writer->path) == 0 &&
                     hf_file_sync_directory(writer->path);
    int code = errno;
    hf_checkpoint_file_abandon(writer);
    errno = code;
    return is_placed;
}

void hf_checkpoint_file_abandon(struct hf_checkpoint_writer *writer)
{
    (void)unlink(writer->beside);
    close(writer->fd);
    explicit_bzero(writer, sizeof(*writer));
}

/* ---- reading ------------------------------------------------------------------------------ */

static bool fail(char *error, const char *why)
{
    snprintf(error, HF_CHECKPOINT_ERROR_MAX, "%.300s", why);
    return false;
}

/* What is wrong with the file itself; NULL: nothing, and it is mapped. */
static const char *map_file(struct hf_checkpoint_image *out, int fd, size_t len_max)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return strerror(errno);
    if (!S_ISREG(st.st_mode) || (st.st_mode & (S_IRWXO | S_IRWXG)) != 0)
        return "not a regular file, or not its owner's alone: chmod 600";
    if ((size_t)st.st_size < HF_CHECKPOINT_HEAD_LEN || (size_t)st.st_size > len_max)
        return "too short or too long for a checkpoint";
    void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        return strerror(errno);
    out->data = data;
    out->len = (size_t)st.st_size;
    return NULL;
}

static const char *judge_head(struct hf_checkpoint_image *out,
                              const struct hf_shared_secrets *secrets, uint64_t marked)
{
    if (memcmp(out->data, "HFC", 3) != 0 || out->data[3] != VERSION)
        return "not a checkpoint, or of another version";
    out->serial = get(out->data + SERIAL_AT, 8);
    out->wall_s = (int64_t)get(out->data + WALL_AT, 8);
    if (out->serial != marked)
        return "it was used before, or is not the newest: a record number must not be used twice";
    for (uint32_t i = 0; i < secrets->count; i++)
        if (secrets->entries[i].from_s == (int64_t)get(out->data + FROM_AT, 8))
            out->secret = secrets->entries[i];
    return NULL;
}

static void rewind_to_first(struct hf_checkpoint_image *image)
{
    image->at = HF_CHECKPOINT_HEAD_LEN;
    image->index = 0;
}

bool hf_checkpoint_file_next(struct hf_checkpoint_image *image)
{
    uint8_t place[PLACE_LEN];
    const uint8_t *frame = image->data + image->at;
    if (image->len - image->at < FRAME_HEAD_LEN)
        return false;
    size_t len = (size_t)get(frame + 3, 4);
    image->at += FRAME_HEAD_LEN;
    if (len > image->len - image->at || len < HF_CHECKPOINT_EXPANSION ||
        len > HF_CHECKPOINT_FRAME_MAX + HF_CHECKPOINT_EXPANSION)
        return false;
    image->at += len;
    image->kind = (enum hf_checkpoint_kind)frame[0];
    image->shard = (uint32_t)get(frame + 1, 2);
    image->plain_len = len - HF_CHECKPOINT_EXPANSION;
    return hf_checkpoint_unseal(
        image->plain, &image->secret,
        place_of(place, image->data, image->index++, frame[0], image->shard),
        (struct hf_bytes){frame + FRAME_HEAD_LEN, len});
}

bool hf_checkpoint_file_open(struct hf_checkpoint_image *out, char error[HF_CHECKPOINT_ERROR_MAX],
                             const char *path, const struct hf_shared_secrets *secrets,
                             size_t len_max)
{
    memset(out, 0, sizeof(*out));
    error[0] = '\0';
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? false : fail(error, strerror(errno));
    const char *why = map_file(out, fd, len_max);
    close(fd);
    if (why == NULL)
        why = judge_head(out, secrets, hf_checkpoint_file_marked(path));
    out->plain = why == NULL ? malloc(HF_CHECKPOINT_FRAME_MAX) : NULL;
    if (why == NULL && out->plain == NULL)
        why = "no memory";
    if (why == NULL) {
        bool is_good = true;
        rewind_to_first(out);
        while (is_good && out->kind != HF_CHECKPOINT_END)
            is_good = hf_checkpoint_file_next(out);
        if (!is_good || out->at != out->len)
            why = "damaged, cut short, or sealed with a secret that is gone";
        rewind_to_first(out);
        out->kind = HF_CHECKPOINT_STATE;
    }
    if (why == NULL)
        return true;
    hf_checkpoint_file_close(out);
    return fail(error, why);
}

void hf_checkpoint_file_close(struct hf_checkpoint_image *image)
{
    if (image->data != NULL)
        (void)munmap(image->data, image->len);
    if (image->plain != NULL)
        explicit_bzero(image->plain, HF_CHECKPOINT_FRAME_MAX);
    free(image->plain);
    explicit_bzero(image, sizeof(*image));
}
