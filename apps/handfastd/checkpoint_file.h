/**
 * checkpoint_file.h - a checkpoint on the disk: written whole beside its place and renamed into it,
 * sealed frame by frame; and the number beside it that says which one may be used, once.
 *
 *     head    "HFC", version, serial (8), secret's from_s (8), wall_s (8), random (16)
 *     frame   kind, shard (2), length (4), sealed; the seal covers head, place, kind and shard
 *
 * FILE.serial has the serial of the only checkpoint that may be used. It is raised before a new one
 * gets its name, and before one is used: a copy that is put back is older than that.
 */
#ifndef HF_CHECKPOINT_FILE_H
#define HF_CHECKPOINT_FILE_H

#include "daemon_config.h"

#include <handfast/transfer.h>

#define HF_CHECKPOINT_ERROR_MAX 512
#define HF_CHECKPOINT_HEAD_LEN 44
#define HF_CHECKPOINT_FRAME_MAX (1u << 20)

enum hf_checkpoint_kind {
    HF_CHECKPOINT_STATE = 1, /**< JSON: what must be the same, and keys of contexts */
    HF_CHECKPOINT_CHUNK,     /**< associations of a shard */
    HF_CHECKPOINT_END,
};

struct hf_checkpoint_writer {
    int fd;
    bool is_failed; /**< sticky */
    uint32_t index;
    uint64_t len;
    uint8_t head[HF_CHECKPOINT_HEAD_LEN];
    struct hf_shared_secret secret;
    char path[HF_PATH_TEXT_MAX], beside[HF_PATH_TEXT_MAX + 8];
};

/** hf_checkpoint_file_begin opens a new file beside `path`. False: errno. Secret: the writer. */
HF_MUST_USE bool hf_checkpoint_file_begin(struct hf_checkpoint_writer *writer, const char *path,
                                          uint64_t serial, const struct hf_shared_secrets *secrets,
                                          int64_t wall_s);

/** hf_checkpoint_file_add adds a frame of at most HF_CHECKPOINT_FRAME_MAX bytes. */
void hf_checkpoint_file_add(struct hf_checkpoint_writer *writer, enum hf_checkpoint_kind kind,
                            uint32_t shard, struct hf_bytes data);

/** hf_checkpoint_file_finish has all of it on the disk, still beside its place. False: it is not,
 *  and is gone. */
HF_MUST_USE bool hf_checkpoint_file_finish(struct hf_checkpoint_writer *writer);

/** hf_checkpoint_file_place raises the serial and puts it in its place. False: errno. */
HF_MUST_USE bool hf_checkpoint_file_place(struct hf_checkpoint_writer *writer);

/** hf_checkpoint_file_abandon forgets one that was begun. */
void hf_checkpoint_file_abandon(struct hf_checkpoint_writer *writer);

/** hf_checkpoint_file_mark says which serial may be used; on the disk when it returns. */
HF_MUST_USE bool hf_checkpoint_file_mark(const char *path, uint64_t serial);

/** hf_checkpoint_file_marked reads it; 0: never said, or not readable. */
uint64_t hf_checkpoint_file_marked(const char *path);

/** hf_checkpoint_file_remove takes the file away; on the disk when it returns. False: it was not
 *  there, or errno. */
HF_MUST_USE bool hf_checkpoint_file_remove(const char *path);

/** A checkpoint that is read. */
struct hf_checkpoint_image {
    uint8_t *data; /**< mapped */
    size_t len, at;
    uint32_t index;
    uint64_t serial;
    int64_t wall_s;
    struct hf_shared_secret secret;
    enum hf_checkpoint_kind kind; /**< of the last frame */
    uint32_t shard;
    uint8_t *plain;
    size_t plain_len;
};

/** hf_checkpoint_file_open reads and verifies all of it, whose serial must be the one that may be
 *  used. On false `error` holds one line; empty: there is none. */
HF_MUST_USE bool hf_checkpoint_file_open(struct hf_checkpoint_image *out,
                                         char error[HF_CHECKPOINT_ERROR_MAX], const char *path,
                                         const struct hf_shared_secrets *secrets, size_t len_max);

/** hf_checkpoint_file_next gives the next frame, until HF_CHECKPOINT_END. */
HF_MUST_USE bool hf_checkpoint_file_next(struct hf_checkpoint_image *image);

/** hf_checkpoint_file_close wipes it. */
void hf_checkpoint_file_close(struct hf_checkpoint_image *image);

#endif
