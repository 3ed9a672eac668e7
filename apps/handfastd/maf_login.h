/**
 * maf_login.h - how we authenticate to MAFs: keys and certificates as their files say, read whole
 * and all or nothing; and the secrets that seal what is kept of their keys.
 */
#ifndef HF_MAF_LOGIN_SET_H
#define HF_MAF_LOGIN_SET_H

#include "maf_config.h"

#include <certificates.h>
#include <handfast/keyfile.h>
#include <handfast/session.h>
#include <maf_link.h>

#define HF_MAF_LOGIN_ERROR_MAX 640

struct hf_maf_login_set {
    uint32_t count;
    char identities[HF_MAF_CONFIG_MAX][HF_MAF_CONFIG_TEXT_MAX]; /**< KmID; "": certificates only */
    struct hf_keyfile *files[HF_MAF_CONFIG_MAX];                /**< likewise NULL */
    struct hf_certificates certificates[HF_MAF_CONFIG_MAX];
    struct hf_shared_secrets secrets; /**< of the kept keys; none: they are not kept */
};

/** hf_maf_login_set_open reads all that is configured. On false `error` holds one line. */
HF_MUST_USE bool hf_maf_login_set_open(struct hf_maf_login_set **out,
                                       char error[HF_MAF_LOGIN_ERROR_MAX],
                                       const struct hf_daemon_mafs *mafs);

/** hf_maf_login_set_close wipes and frees; NULL is allowed. */
void hf_maf_login_set_close(struct hf_maf_login_set *set);

/** hf_maf_login_set_view gives what a link wants to know of one MAF; a loan. */
void hf_maf_login_set_view(struct hf_maf_login *out, const struct hf_maf_login_set *set,
                           uint32_t maf_index, const char *fqdn);

/** hf_maf_login_set_answer answers a request for Km. */
void hf_maf_login_set_answer(const struct hf_maf_login_set *set, struct hf_engine *engine,
                             const struct hf_request *request);

#endif
