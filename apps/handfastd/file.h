/**
 * file.h - a file that the configuration names, read whole. Wiped when it is let go: it may hold a
 * key. And what is needed to put one in place for good.
 */
#ifndef HF_DAEMON_FILE_H
#define HF_DAEMON_FILE_H

#include <handfast/base.h>

#define HF_FILE_ERROR_MAX 512

struct hf_file {
    uint8_t *data;
    size_t len, max;
};

/** hf_file_read reads it; "" gives nothing. `is_secret`: it must not be for everybody's eyes. On
 *  false `out` is empty and `error` holds one line. */
HF_MUST_USE bool hf_file_read(struct hf_file *out, char error[HF_FILE_ERROR_MAX], const char *path,
                              bool is_secret);

/** hf_file_view gives its bytes until it is wiped. */
struct hf_bytes hf_file_view(const struct hf_file *file);

/** hf_file_wipe lets it go. */
void hf_file_wipe(struct hf_file *file);

/** hf_file_write_all writes all of `data` to a descriptor; it is not synced. False: errno says why.
 */
HF_MUST_USE bool hf_file_write_all(int fd, struct hf_bytes data);

/** hf_file_sync_directory has the names in the directory of `path` on the disk when it returns.
 *  False: errno says why. */
HF_MUST_USE bool hf_file_sync_directory(const char *path);

#endif
