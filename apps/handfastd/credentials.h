/**
 * credentials.h - certificates, raw keys, and whom we believe: what an authority has besides its
 * pre-shared keys, read from the files its configuration names.
 */
#ifndef HF_CREDENTIALS_H
#define HF_CREDENTIALS_H

#include "daemon_config.h"

#define HF_CREDENTIALS_ERROR_MAX 512

/** What was read. All NULL: the authority has pre-shared keys alone. */
struct hf_credentials {
    struct hf_credential *x509;
    struct hf_credential *raw;
    struct hf_trust *trust;
    char server_name[HF_SERVER_NAME_TEXT_MAX]; /**< "": none */
};

/** hf_credentials_load reads all files. On false `out` is empty and `error` holds one line. What is
 *  odd, but good enough to serve with, is logged. */
HF_MUST_USE bool hf_credentials_load(struct hf_credentials *out,
                                     char error[HF_CREDENTIALS_ERROR_MAX],
                                     const struct hf_daemon_authority *config);

/** hf_credentials_free lets go of all of it; what engines use they hold themselves. */
void hf_credentials_free(struct hf_credentials *credentials);

/** When things end, UTC seconds; 0: there is no such thing. */
struct hf_credentials_expiry {
    int64_t certificate_s; /**< ours: the first of the chain to expire */
    int64_t client_ca_s;   /**< the first of the anchors */
    int64_t crl_s;         /**< the first nextUpdate */
};

void hf_credentials_expiry_get(struct hf_credentials_expiry *out,
                               const struct hf_credentials *credentials);

#endif
