/**
 * pki_file.c - PEM, and files: read whole, written whole or not at all.
 */
#include "pki.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/pem.h>

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONTENT_LEN_MAX ((size_t)1 << 20)

bool hf_pki_fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("handfast: pki: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    return false;
}

bool hf_pki_crypto_fail(const char *what)
{
    const char *reason = ERR_reason_error_string(ERR_get_error());
    ERR_clear_error();
    return hf_pki_fail("%s: %s", what, reason == NULL ? "refused" : reason);
}

/* ---- writing ------------------------------------------------------------------------------ */

bool hf_pki_file_path(char out[HF_PKI_PATH_LEN_MAX], const char *prefix, const char *suffix)
{
    int len = snprintf(out, HF_PKI_PATH_LEN_MAX, "%s.%s", prefix, suffix);
    return (len > 0 && len < HF_PKI_PATH_LEN_MAX - 16) || hf_pki_fail("a path is too long");
}

bool hf_pki_file_is_free(const char *path, bool is_forced)
{
    struct stat st;
    if (is_forced || lstat(path, &st) != 0)
        return true;
    return hf_pki_fail("%s exists; --force overwrites it", path);
}

static bool is_synced = true;

void hf_pki_file_hurry(void)
{
    is_synced = false;
}

static bool write_all(int fd, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t count = write(fd, data, len);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return false;
        data += count;
        len -= (size_t)count;
    }
    return !is_synced || fsync(fd) == 0;
}

/* link() refuses where something has come into being since we looked; rename() replaces. */
static bool put_in_place(const char *from, const char *to, bool is_forced)
{
    if (is_forced)
        return rename(from, to) == 0;
    if (link(from, to) != 0)
        return false;
    (void)unlink(from);
    return true;
}

bool hf_pki_file_write(const char *path, BIO *content, bool is_secret, bool is_forced)
{
    char temporary[HF_PKI_PATH_LEN_MAX];
    const uint8_t *data;
    size_t len;
    snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path);
    int fd = BIO_mem_contents(content, &data, &len) ? mkostemp(temporary, O_CLOEXEC) : -1;
    if (fd < 0)
        return hf_pki_fail("%s: %s", path, strerror(errno));
    /* mkostemp() made it for its owner alone. */
    bool is_good = (is_secret || fchmod(fd, 0644) == 0) && write_all(fd, data, len) &&
                   put_in_place(temporary, path, is_forced);
    int code = errno;
    (void)close(fd);
    if (is_good)
        return true;
    (void)unlink(temporary);
    return hf_pki_fail("%s: %s", path, strerror(code));
}

/* ---- reading ------------------------------------------------------------------------------ */

static bool read_all(BIO *out, const char *path, int fd)
{
    uint8_t buffer[4096];
    size_t total = 0;
    bool is_good = true;
    for (;;) {
        ssize_t count = read(fd, buffer, sizeof(buffer));
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            is_good = hf_pki_fail("%s: %s", path, strerror(errno));
        total += count > 0 ? (size_t)count : 0;
        if (total > CONTENT_LEN_MAX)
            is_good = hf_pki_fail("%s: longer than 1 MiB", path);
        if (count <= 0 || !is_good)
            break;
        if (BIO_write(out, buffer, (int)count) != count) {
            is_good = hf_pki_fail("no memory");
            break;
        }
    }
    explicit_bzero(buffer, sizeof(buffer));
    return is_good;
}

BIO *hf_pki_file_read(const char *path, bool is_secret)
{
    struct stat st;
    BIO *content = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) != 0)
        (void)hf_pki_fail("%s: %s", path, strerror(errno));
    else if (is_secret && S_ISREG(st.st_mode) && (st.st_mode & 077) != 0)
        (void)hf_pki_fail("%s: others than its owner may use it: chmod 600 it", path);
    else if ((content = BIO_new(BIO_s_mem())) == NULL)
        (void)hf_pki_fail("no memory");
    else if (!read_all(content, path, fd)) {
        BIO_free(content);
        content = NULL;
    }
    if (fd >= 0)
        (void)close(fd);
    return content;
}

bool hf_pki_key_is_p256(const EVP_PKEY *key)
{
    const EC_KEY *ec = key == NULL ? NULL : EVP_PKEY_get0_EC_KEY(key);
    ERR_clear_error();
    return ec != NULL && EC_GROUP_get_curve_name(EC_KEY_get0_group(ec)) == NID_X9_62_prime256v1;
}

/* An encrypted key would have it ask on the terminal. */
static int no_password(char *out, int out_max, int is_writing, void *arg)
{
    (void)out;
    (void)out_max;
    (void)is_writing;
    (void)arg;
    return -1;
}

static EVP_PKEY *checked_key(EVP_PKEY *key, const char *path, const char *what)
{
    if (key == NULL)
        (void)hf_pki_fail("%s: no %s in it, in PEM and unencrypted", path, what);
    else if (!hf_pki_key_is_p256(key))
        (void)hf_pki_fail("%s: its key is not on P-256", path);
    else
        return key;
    ERR_clear_error();
    EVP_PKEY_free(key);
    return NULL;
}

EVP_PKEY *hf_pki_file_read_key(const char *path)
{
    BIO *content = hf_pki_file_read(path, true);
    if (content == NULL)
        return NULL;
    EVP_PKEY *key = PEM_read_bio_PrivateKey(content, NULL, no_password, NULL);
    BIO_free(content);
    return checked_key(key, path, "private key");
}

static EVP_PKEY *public_of_certificate(BIO *content)
{
    X509 *certificate = PEM_read_bio_X509(content, NULL, no_password, NULL);
    EVP_PKEY *key = certificate == NULL ? NULL : X509_get_pubkey(certificate);
    X509_free(certificate);
    return key;
}

EVP_PKEY *hf_pki_file_read_public(const char *path)
{
    EVP_PKEY *key = NULL;
    for (int kind = 0; kind < 3 && key == NULL; kind++) {
        BIO *content = hf_pki_file_read(path, kind == 2);
        if (content == NULL)
            return NULL;
        if (kind == 0)
            key = PEM_read_bio_PUBKEY(content, NULL, no_password, NULL);
        else if (kind == 1)
            key = public_of_certificate(content);
        else
            key = PEM_read_bio_PrivateKey(content, NULL, no_password, NULL);
        BIO_free(content);
    }
    return checked_key(key, path, "key or certificate");
}

bool hf_pki_file_read_chain(X509 *out[HF_PKI_CHAIN_MAX], int *count, const char *path)
{
    BIO *content = hf_pki_file_read(path, false);
    X509 *next;
    *count = 0;
    if (content == NULL)
        return false;
    while (*count < HF_PKI_CHAIN_MAX &&
           (next = PEM_read_bio_X509(content, NULL, no_password, NULL)) != NULL)
        out[(*count)++] = next;
    BIO_free(content);
    ERR_clear_error();
    return *count > 0 || hf_pki_fail("%s: no certificate in it, in PEM", path);
}

X509_CRL *hf_pki_file_read_crl(bool *is_there, const char *path)
{
    struct stat st;
    *is_there = lstat(path, &st) == 0;
    BIO *content = *is_there ? hf_pki_file_read(path, false) : NULL;
    if (content == NULL)
        return NULL;
    X509_CRL *crl = PEM_read_bio_X509_CRL(content, NULL, no_password, NULL);
    BIO_free(content);
    if (crl == NULL)
        (void)hf_pki_fail("%s: no CRL in it, in PEM", path);
    ERR_clear_error();
    return crl;
}

void hf_pki_chain_free(X509 **chain, int count)
{
    for (int i = 0; i < count; i++)
        X509_free(chain[i]);
}
