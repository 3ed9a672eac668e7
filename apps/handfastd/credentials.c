/**
 * credentials.c - see credentials.h. A file's text is wiped once it is parsed: it may be a key.
 */
#include "credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <handfast/credential.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_LEN_MAX ((size_t)64 << 20) /* a CRL can be long */

struct file {
    uint8_t *data;
    size_t len, max;
};

static bool fail(char *error, const char *path, const char *what)
{
    snprintf(error, HF_CREDENTIALS_ERROR_MAX, "%.300s: %.180s", path, what);
    return false;
}

static void file_wipe(struct file *file)
{
    if (file->data != NULL)
        explicit_bzero(file->data, file->max);
    free(file->data);
    memset(file, 0, sizeof(*file));
}

static bool read_all(struct file *out, int fd)
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

/* "" gives nothing. A secret must not be for everybody's eyes. */
static bool file_read(struct file *out, char *error, const char *path, bool is_secret)
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
    file_wipe(out);
    return fail(error, path, fault);
}

static struct hf_bytes view(const struct file *file)
{
    return (struct hf_bytes){file->data, file->len};
}

static void warn(const struct hf_daemon_authority *config, const struct hf_credential *credential)
{
    uint32_t warnings = hf_credential_warnings(credential);
    for (uint32_t bit = 1; bit != 0 && bit <= warnings; bit <<= 1)
        if ((warnings & bit) != 0)
            hf_log_message(HF_LOG_WARNING, "certificate_odd", "authority %s: %s: %s", config->name,
                           config->certificate, hf_credential_warning_text(bit));
}

static bool open_one(struct hf_credential **out, char *error, const char *chain_path,
                     const char *key_path)
{
    struct file chain, key = {0};
    const char *why = "";
    if (!file_read(&chain, error, chain_path, false))
        return false;
    bool is_good = file_read(&key, error, key_path, true);
    if (is_good) {
        const struct hf_credential_source source = {.chain_pem = view(&chain),
                                                    .key_pem = view(&key)};
        is_good = hf_credential_open(out, &why, &source) == HF_OK;
        if (!is_good)
            (void)fail(error, chain_path[0] != '\0' ? chain_path : key_path, why);
    }
    file_wipe(&key);
    file_wipe(&chain);
    return is_good;
}

static bool open_own(struct hf_credentials *out, char *error,
                     const struct hf_daemon_authority *config)
{
    if (config->certificate[0] != '\0') {
        if (!open_one(&out->x509, error, config->certificate, config->key))
            return false;
        warn(config, out->x509);
    }
    if (config->rpk_key[0] != '\0')
        return open_one(&out->raw, error, "", config->rpk_key);
    /* RFC 7250: whoever asks for a raw key gets that of the certificate. */
    if (out->x509 != NULL)
        out->raw = hf_credential_share(out->x509);
    return true;
}

/* Tells the trusts of one process apart, whichever authority they are of. */
static uint64_t next_epoch(void)
{
    static _Atomic uint64_t epoch;
    return ++epoch;
}

/* A file of CRLs without one would revoke nothing, and nobody would know. */
static bool has_all(const struct hf_credentials *credentials, char *error,
                    const struct hf_daemon_authority *config)
{
    int64_t anchors_s, crls_s;
    hf_trust_validity(&anchors_s, &crls_s, credentials->trust);
    if (config->client_ca[0] != '\0' && anchors_s == 0)
        return fail(error, config->client_ca, "no certificate in it");
    if (config->crl[0] != '\0' && crls_s == 0)
        return fail(error, config->crl, "no CRL in it");
    return true;
}

static bool open_trust(struct hf_credentials *out, char *error,
                       const struct hf_daemon_authority *config)
{
    struct file anchors = {0}, crls = {0}, raw_keys = {0}, names = {0};
    const char *why = "";
    bool is_good = file_read(&anchors, error, config->client_ca, false) &&
                   file_read(&crls, error, config->crl, false) &&
                   file_read(&raw_keys, error, config->client_rpk, false) &&
                   file_read(&names, error, config->names, false);
    if (is_good) {
        struct hf_trust_source source;
        hf_trust_source_init(&source);
        source.anchors_pem = view(&anchors);
        source.crls_pem = view(&crls);
        source.raw_keys = view(&raw_keys);
        source.names = view(&names);
        source.flavours = (uint8_t)config->flavours;
        source.crl_expired = (enum hf_crl_policy)config->crl_expired;
        source.crl_required = config->is_crl_required;
        source.name_constraints_required = config->is_name_constraint_required;
        source.epoch = next_epoch();
        is_good = hf_trust_open(&out->trust, &why, &source) == HF_OK;
        if (!is_good)
            snprintf(error, HF_CREDENTIALS_ERROR_MAX,
                     "authority \"%s\": client-ca, crl, client-rpk or names: %s", config->name,
                     why);
    }
    if (is_good)
        is_good = has_all(out, error, config);
    file_wipe(&anchors);
    file_wipe(&crls);
    file_wipe(&raw_keys);
    file_wipe(&names);
    return is_good;
}

bool hf_credentials_load(struct hf_credentials *out, char error[HF_CREDENTIALS_ERROR_MAX],
                         const struct hf_daemon_authority *config)
{
    memset(out, 0, sizeof(*out));
    snprintf(out->server_name, sizeof(out->server_name), "%s", config->server_name);
    bool has_own = config->certificate[0] != '\0' || config->rpk_key[0] != '\0';
    if (!has_own)
        return true;
    if (open_own(out, error, config) && open_trust(out, error, config))
        return true;
    hf_credentials_free(out);
    return false;
}

void hf_credentials_free(struct hf_credentials *credentials)
{
    hf_credential_close(credentials->x509);
    hf_credential_close(credentials->raw);
    hf_trust_close(credentials->trust);
    memset(credentials, 0, sizeof(*credentials));
}

void hf_credentials_expiry_get(struct hf_credentials_expiry *out,
                               const struct hf_credentials *credentials)
{
    int64_t not_before_s;
    memset(out, 0, sizeof(*out));
    if (credentials->x509 != NULL)
        hf_credential_validity(&not_before_s, &out->certificate_s, credentials->x509);
    if (credentials->trust != NULL)
        hf_trust_validity(&out->client_ca_s, &out->crl_s, credentials->trust);
}
