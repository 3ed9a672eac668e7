/**
 * maf_login.c - see maf_login.h.
 */
#include "maf_login.h"

#include "keystore.h"
#include "sessions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool load_km(struct hf_keyfile **out, char *error, const struct hf_daemon_maf *config)
{
    struct hf_answer answer;
    uint8_t scratch[HF_CREDENTIAL_ID_MAX];
    char reason[HF_KEYSTORE_ERROR_MAX];
    if (config->psk_file[0] == '\0')
        return true;
    if (!hf_keystore_load(out, reason, config->psk_file)) {
        snprintf(error, HF_MAF_LOGIN_ERROR_MAX, "maf %.100s: %.500s", config->fqdn, reason);
        return false;
    }
    hf_keyfile_answer(&answer, scratch, *out, hf_maf_text_view(config->identity));
    if (answer.kind == HF_ANSWER_PSK)
        return true;
    snprintf(error, HF_MAF_LOGIN_ERROR_MAX, "maf %.100s: %.200s has no key for \"%.200s\"",
             config->fqdn, config->psk_file, config->identity);
    return false;
}

static const char *name_or_null(const char *text)
{
    return text[0] != '\0' ? text : NULL;
}

static bool load_certificates(struct hf_certificates *out, char *error,
                              const struct hf_daemon_maf *config)
{
    char reason[HF_CERTIFICATES_ERROR_MAX];
    const struct hf_certificate_files files = {
        .cert = name_or_null(config->certificate),
        .key = name_or_null(config->private_key),
        .ca = name_or_null(config->ca),
        .crl = name_or_null(config->crl),
        .flavours = HF_FLAVOUR_FQDN,
    };
    if (hf_certificates_open(out, reason, &files))
        return true;
    snprintf(error, HF_MAF_LOGIN_ERROR_MAX, "maf %.100s: %.500s", config->fqdn, reason);
    return false;
}

static bool load_secrets(struct hf_shared_secrets *out, char *error, const char *path)
{
    char reason[HF_SESSIONS_ERROR_MAX];
    if (hf_sessions_read_secrets(out, reason, path))
        return true;
    snprintf(error, HF_MAF_LOGIN_ERROR_MAX, "maf-cache: %.600s", reason);
    return false;
}

bool hf_maf_login_set_open(struct hf_maf_login_set **out, char error[HF_MAF_LOGIN_ERROR_MAX],
                           const struct hf_daemon_mafs *mafs)
{
    struct hf_maf_login_set *set = calloc(1, sizeof(*set));
    bool is_good = set != NULL;
    if (!is_good)
        snprintf(error, HF_MAF_LOGIN_ERROR_MAX, "no memory for MAFs");
    for (uint32_t i = 0; is_good && i < mafs->count; i++) {
        const struct hf_daemon_maf *config = &mafs->mafs[i];
        memcpy(set->identities[i], config->identity, sizeof(set->identities[i]));
        set->count++;
        is_good = load_km(&set->files[i], error, config) &&
                  load_certificates(&set->certificates[i], error, config);
    }
    if (is_good && mafs->cache[0] != '\0')
        is_good = load_secrets(&set->secrets, error, mafs->cache_key);
    if (is_good)
        *out = set;
    else
        hf_maf_login_set_close(set);
    return is_good;
}

void hf_maf_login_set_close(struct hf_maf_login_set *set)
{
    if (set == NULL)
        return;
    for (uint32_t i = 0; i < set->count; i++) {
        hf_keyfile_close(set->files[i]);
        hf_certificates_close(&set->certificates[i]);
    }
    explicit_bzero(set, sizeof(*set));
    free(set);
}

void hf_maf_login_set_view(struct hf_maf_login *out, const struct hf_maf_login_set *set,
                           uint32_t maf_index, const char *fqdn)
{
    *out = (struct hf_maf_login){
        .fqdn = hf_maf_text_view(fqdn),
        .psk_identity = hf_maf_text_view(set->identities[maf_index]),
        .x509 = set->certificates[maf_index].x509,
        .trust = set->certificates[maf_index].trust,
    };
}

/* By KmID in whichever file has it. */
void hf_maf_login_set_answer(const struct hf_maf_login_set *set, struct hf_engine *engine,
                             const struct hf_request *request)
{
    struct hf_answer answer = {.kind = HF_ANSWER_REFUSED};
    uint8_t scratch[HF_CREDENTIAL_ID_MAX];
    for (uint32_t i = 0; i < set->count; i++) {
        if (set->files[i] == NULL || request->kind != HF_REQUEST_KEY)
            continue;
        hf_keyfile_answer(&answer, scratch, set->files[i], request->psk_identity);
        if (answer.kind != HF_ANSWER_REFUSED)
            break;
    }
    /* A key file names who comes with a key: here that is us, not the MAF. */
    answer.entity_id = (struct hf_bytes){NULL, 0};
    answer.entity_kind = HF_ENTITY_PENDING;
    (void)hf_engine_answer(engine, request->ticket, &answer);
}
