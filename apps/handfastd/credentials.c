/**
 * credentials.c - see credentials.h. A file's text is wiped once it is parsed: it may be a key.
 */
#include "credentials.h"

#include "file.h"
#include "signers.h"

#include <handfast/credential.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(HF_FILE_ERROR_MAX <= HF_CREDENTIALS_ERROR_MAX, "one error fits the other");

static bool fail(char *error, const char *path, const char *what)
{
    snprintf(error, HF_CREDENTIALS_ERROR_MAX, "%.300s: %.180s", path, what);
    return false;
}

static void warn(const struct hf_daemon_authority *config, const struct hf_credential *credential)
{
    uint32_t warnings = hf_credential_warnings(credential);
    for (uint32_t bit = 1; bit != 0 && bit <= warnings; bit <<= 1)
        if ((warnings & bit) != 0)
            hf_log_message(HF_LOG_WARNING, "certificate_odd", "authority %s: %s: %s", config->name,
                           config->certificate, hf_credential_warning_text(bit));
}

/* A signer that cannot be asked now may come later; its public key is in the certificate. Without
 * one nobody else can tell it. One that can be asked must have the right key. */
static bool find_signer(struct hf_credential_source *source, char *error,
                        uint8_t key[HF_SIGNER_KEY_LEN], const char *text)
{
    char why[HF_SIGNER_ERROR_MAX] = "";
    size_t key_len = 0;
    if (!hf_signers_find(&source->remote, key, &key_len, why, text)) {
        snprintf(error, HF_CREDENTIALS_ERROR_MAX, "key: %s", why);
        return false;
    }
    source->public_key_pem = (struct hf_bytes){key, key_len};
    if (key_len == 0 && source->chain_pem.len == 0) {
        snprintf(error, HF_CREDENTIALS_ERROR_MAX, "%s", why);
        return false;
    }
    if (key_len == 0)
        hf_log_message(HF_LOG_WARNING, "signer_unreachable", "%s", why);
    return true;
}

static bool open_one(struct hf_credential **out, char *error, const char *chain_path,
                     const char *key_path)
{
    struct hf_file chain, key = {0};
    uint8_t signer_key[HF_SIGNER_KEY_LEN];
    const char *why = "";
    bool is_remote = hf_signers_names(key_path);
    if (!hf_file_read(&chain, error, chain_path, false))
        return false;
    struct hf_credential_source source = {.chain_pem = hf_file_view(&chain)};
    bool is_good = is_remote ? find_signer(&source, error, signer_key, key_path)
                             : hf_file_read(&key, error, key_path, true);
    if (is_good) {
        source.key_pem = hf_file_view(&key);
        is_good = hf_credential_open(out, &why, &source) == HF_OK;
        if (!is_good)
            (void)fail(error, chain_path[0] != '\0' ? chain_path : key_path, why);
    }
    hf_file_wipe(&key);
    hf_file_wipe(&chain);
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

/* Of several files the one that `why` is about; NULL: it may be one of two. */
static const char *file_of(const struct hf_daemon_authority *config, const char *why)
{
    if (strncmp(why, "raw_keys: ", 10) == 0)
        return config->client_rpk;
    if (strncmp(why, "names: ", 7) == 0)
        return config->names;
    if (strstr(why, "CRL") != NULL)
        return config->crl;
    if (strstr(why, "anchor") != NULL || config->crl[0] == '\0')
        return config->client_ca;
    return NULL;
}

static void blame(char *error, const struct hf_daemon_authority *config, const char *why)
{
    const char *path = file_of(config, why);
    const char *colon = strstr(why, ": ");
    if (strstr(why, "no anchor") != NULL)
        (void)fail(error, config->client_ca, "no certificate in it");
    else if (path != NULL)
        (void)fail(error, path, colon != NULL ? colon + 2 : why);
    else
        snprintf(error, HF_CREDENTIALS_ERROR_MAX, "authority \"%s\": client-ca or crl: %s",
                 config->name, why);
}

static bool open_trust(struct hf_credentials *out, char *error,
                       const struct hf_daemon_authority *config)
{
    struct hf_file anchors = {0}, crls = {0}, raw_keys = {0}, names = {0};
    const char *why = "";
    bool is_good = hf_file_read(&anchors, error, config->client_ca, false) &&
                   hf_file_read(&crls, error, config->crl, false) &&
                   hf_file_read(&raw_keys, error, config->client_rpk, false) &&
                   hf_file_read(&names, error, config->names, false);
    if (is_good) {
        struct hf_trust_source source;
        hf_trust_source_init(&source);
        source.anchors_pem = hf_file_view(&anchors);
        source.crls_pem = hf_file_view(&crls);
        source.raw_keys = hf_file_view(&raw_keys);
        source.names = hf_file_view(&names);
        source.flavours = (uint8_t)config->flavours;
        source.crl_expired = (enum hf_crl_policy)config->crl_expired;
        source.crl_required = config->is_crl_required;
        source.name_constraints_required = config->is_name_constraint_required;
        source.epoch = next_epoch();
        is_good = hf_trust_open(&out->trust, &why, &source) == HF_OK;
        if (!is_good)
            blame(error, config, why);
    }
    if (is_good)
        is_good = has_all(out, error, config);
    hf_file_wipe(&anchors);
    hf_file_wipe(&crls);
    hf_file_wipe(&raw_keys);
    hf_file_wipe(&names);
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
