/**
 * certificates.c - see certificates.h. What was read is wiped: one of the files is a key.
 */
#include "certificates.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_LEN_MAX (1U << 20)

static bool refuse(char *error, const char *path, const char *reason)
{
    snprintf(error, HF_CERTIFICATES_ERROR_MAX, "%.200s: %.280s", path, reason);
    return false;
}

static bool check_file(char *error, const char *path, int fd, bool is_secret)
{
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0)
        return refuse(error, path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return refuse(error, path, "not a regular file");
    if (is_secret && (st.st_mode & 077) != 0)
        return refuse(error, path, "others than its owner may use it: chmod 600 it");
    return st.st_size < (off_t)FILE_LEN_MAX || refuse(error, path, "longer than 1 MiB");
}

/* To be given back with drop(). */
static bool read_file(struct hf_bytes *out, char *error, const char *path, bool is_secret)
{
    *out = (struct hf_bytes){NULL, 0};
    if (path == NULL)
        return true;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    uint8_t *data = malloc(FILE_LEN_MAX);
    size_t len = 0;
    ssize_t got = 1;
    bool is_good = data != NULL && check_file(error, path, fd, is_secret);
    while (is_good && got > 0 && len < FILE_LEN_MAX) {
        got = read(fd, data + len, FILE_LEN_MAX - len);
        len += got > 0 ? (size_t)got : 0;
    }
    if (is_good && got < 0)
        is_good = refuse(error, path, strerror(errno));
    if (fd >= 0)
        close(fd);
    if (is_good)
        *out = (struct hf_bytes){data, len};
    else
        free(data);
    return is_good;
}

static void drop(struct hf_bytes *bytes)
{
    if (bytes->data != NULL)
        explicit_bzero((void *)(uintptr_t)bytes->data, bytes->len);
    free((void *)(uintptr_t)bytes->data);
}

static bool open_credential(struct hf_certificates *out, char *error,
                            const struct hf_certificate_files *files)
{
    struct hf_credential_source source = {0};
    const char *why = "";
    if (files->cert == NULL)
        return true;
    bool is_good = read_file(&source.chain_pem, error, files->cert, false) &&
                   read_file(&source.key_pem, error, files->key, true);
    if (is_good && hf_credential_open(&out->x509, &why, &source) != HF_OK)
        is_good = refuse(error, files->cert, why);
    drop(&source.chain_pem);
    drop(&source.key_pem);
    return is_good;
}

static bool open_trust(struct hf_certificates *out, char *error,
                       const struct hf_certificate_files *files)
{
    struct hf_trust_source source;
    const char *why = "";
    if (files->ca == NULL)
        return true;
    hf_trust_source_init(&source);
    source.flavours = files->flavours;
    bool is_good = read_file(&source.anchors_pem, error, files->ca, false) &&
                   read_file(&source.crls_pem, error, files->crl, false);
    if (is_good && hf_trust_open(&out->trust, &why, &source) != HF_OK)
        is_good = refuse(error, files->ca, why);
    drop(&source.anchors_pem);
    drop(&source.crls_pem);
    return is_good;
}

bool hf_certificates_open(struct hf_certificates *out, char error[HF_CERTIFICATES_ERROR_MAX],
                          const struct hf_certificate_files *files)
{
    *out = (struct hf_certificates){NULL, NULL};
    if (open_credential(out, error, files) && open_trust(out, error, files))
        return true;
    hf_certificates_close(out);
    return false;
}

void hf_certificates_close(struct hf_certificates *certificates)
{
    hf_credential_close(certificates->x509);
    hf_trust_close(certificates->trust);
    *certificates = (struct hf_certificates){NULL, NULL};
}
