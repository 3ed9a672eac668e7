/**
 * keys.c - keys by label: PEM files through the library, which verifies what it signs, and PKCS#11
 * objects, whose signatures are put into DER and verified here.
 */
#include "keys.h"
#include "pkcs11.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_LEN_MAX 65536

static struct key *keys_new(struct keys *keys, char error[KEYS_ERROR_MAX], const char *label)
{
    size_t len = strlen(label);

    if (len == 0 || len > HF_SIGNER_LABEL_MAX) {
        snprintf(error, KEYS_ERROR_MAX, "key %s: a label has 1 to %d bytes", label,
                 HF_SIGNER_LABEL_MAX);
        return NULL;
    }
    if (keys_find(keys, (const uint8_t *)label, len) || keys->count == KEYS_MAX) {
        snprintf(error, KEYS_ERROR_MAX, "key %s: %s", label,
                 keys->count == KEYS_MAX ? "there are too many" : "given twice");
        return NULL;
    }
    struct key *key = &keys->keys[keys->count];
    *key = (struct key){0};
    memcpy(key->label, label, len);
    return key;
}

static bool keys_open_credential(struct key *key, char error[KEYS_ERROR_MAX],
                                 const struct hf_credential_source *source)
{
    const char *why;

    if (hf_credential_open(&key->credential, &why, source) == HF_OK)
        return true;
    snprintf(error, KEYS_ERROR_MAX, "key %s: %s", key->label, why);
    return false;
}

/* A key that others can read is refused, as ssh does. */
static ssize_t keys_read_file(uint8_t *out, size_t out_max, char error[KEYS_ERROR_MAX],
                              const char *path)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = -1;

    if (fd < 0 || fstat(fd, &info) != 0) {
        snprintf(error, KEYS_ERROR_MAX, "%s: %s", path, strerror(errno));
    } else if ((info.st_mode & (S_IRWXO | S_IWGRP)) != 0) {
        snprintf(error, KEYS_ERROR_MAX, "%s: mode %03o: others can read it, or the group write it",
                 path, (unsigned)info.st_mode & 0777u);
    } else {
        len = read(fd, out, out_max);
        if (len < 0)
            snprintf(error, KEYS_ERROR_MAX, "%s: %s", path, strerror(errno));
    }
    if (fd >= 0)
        (void)close(fd);
    return len;
}

bool keys_add_file(struct keys *keys, char error[KEYS_ERROR_MAX], const char *label,
                   const char *path)
{
    static uint8_t text[FILE_LEN_MAX];
    struct key *key = keys_new(keys, error, label);
    ssize_t len = key ? keys_read_file(text, sizeof text, error, path) : -1;
    bool is_added =
        len >= 0 && keys_open_credential(
                        key, error, &(struct hf_credential_source){.key_pem = {text, (size_t)len}});

    explicit_bzero(text, sizeof text);
    keys->count += is_added;
    return is_added;
}

bool keys_add_object(struct keys *keys, char error[KEYS_ERROR_MAX], const char *label,
                     const char *object)
{
    /* SubjectPublicKeyInfo of an uncompressed P-256 point (RFC 5480 2), up to the point. */
    static const uint8_t prefix[] = {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48,
                                     0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
                                     0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00};
    uint8_t spki[sizeof prefix + HF_P256_POINT_LEN];
    struct key *key = keys_new(keys, error, label);

    if (!key)
        return false;
    if (strlen(object) > HF_SIGNER_LABEL_MAX) {
        snprintf(error, KEYS_ERROR_MAX, "key %s: its name in the token is too long", label);
        return false;
    }
    memcpy(key->object, object, strlen(object));
    memcpy(spki, prefix, sizeof prefix);
    key->is_object = true;
    if (!pkcs11_find(&key->handle, spki + sizeof prefix, error, keys->module, object) ||
        !keys_open_credential(
            key, error, &(struct hf_credential_source){.public_key_pem = {spki, sizeof spki}}))
        return false;
    keys->count++;
    return true;
}

struct key *keys_find(struct keys *keys, const uint8_t *label, size_t label_len)
{
    for (size_t i = 0; i < keys->count; i++) {
        if (strlen(keys->keys[i].label) == label_len &&
            memcmp(keys->keys[i].label, label, label_len) == 0)
            return &keys->keys[i];
    }
    return NULL;
}

/* ---- signing ---- */

/* r || s as ECDSA-Sig-Value. */
static size_t keys_write_number(uint8_t *out, const uint8_t number[32])
{
    size_t skip = 0;

    while (skip < 31 && number[skip] == 0)
        skip++;
    size_t pad = number[skip] >= 0x80;
    out[0] = 0x02;
    out[1] = (uint8_t)(32 - skip + pad);
    out[2] = 0;
    memcpy(out + 2 + pad, number + skip, 32 - skip);
    return 2 + pad + 32 - skip;
}

/* The library judges it as it would a stranger's. */
static void keys_sign_object(struct keys *keys, struct signing *signing)
{
    uint8_t both[64];
    uint8_t der[HF_P256_SIGNATURE_MAX];
    struct hf_job job = {
        .parts = HF_JOB_SIGN, .status = HF_WAITING, .credential = signing->key->credential};
    size_t len = 2;

    signing->signature_len = 0;
    if (!pkcs11_sign(both, keys->module, signing->key, signing->digest))
        return;
    len += keys_write_number(der + len, both);
    len += keys_write_number(der + len, both + 32);
    der[0] = 0x30;
    der[1] = (uint8_t)(len - 2);
    memcpy(job.sign_digest, signing->digest, sizeof job.sign_digest);
    if (hf_job_complete_signature(&job, (struct hf_bytes){der, len}) != HF_OK) {
        fprintf(stderr, "handfast-signer: key %s: the token's signature does not verify\n",
                signing->key->label);
        return;
    }
    memcpy(signing->signature, job.signature, job.signature_len);
    signing->signature_len = job.signature_len;
}

void keys_sign(struct keys *keys, struct signing *signings, size_t count)
{
    static struct hf_job jobs[KEYS_SIGNINGS_MAX];
    struct hf_job *pointers[KEYS_SIGNINGS_MAX] = {NULL};
    struct signing *of[KEYS_SIGNINGS_MAX];
    size_t job_count = 0;

    for (size_t i = 0; i < count; i++) {
        struct hf_job *job = &jobs[job_count];

        if (signings[i].key->is_object) {
            keys_sign_object(keys, &signings[i]);
            continue;
        }
        memset(job, 0, sizeof *job);
        job->parts = HF_JOB_SIGN;
        job->credential = signings[i].key->credential;
        memcpy(job->sign_digest, signings[i].digest, sizeof job->sign_digest);
        pointers[job_count] = job;
        of[job_count++] = &signings[i];
    }
    hf_job_run(pointers, job_count);
    for (size_t i = 0; i < job_count; i++) {
        of[i]->signature_len = jobs[i].signature_len;
        memcpy(of[i]->signature, jobs[i].signature, jobs[i].signature_len);
    }
}

void keys_close(struct keys *keys)
{
    for (size_t i = 0; i < keys->count; i++)
        hf_credential_close(keys->keys[i].credential);
    pkcs11_close(keys->module);
}
