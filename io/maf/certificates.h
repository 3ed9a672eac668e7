/**
 * certificates.h - the certificate a program shows to its peers, and the authorities it judges
 * theirs by, read from files.
 */
#ifndef HF_CERTIFICATES_H
#define HF_CERTIFICATES_H

#include <handfast/credential.h>

struct hf_certificates {
    struct hf_credential *x509; /**< NULL: none */
    struct hf_trust *trust;     /**< likewise */
};

/** Names of files, NULL: none. */
struct hf_certificate_files {
    const char *cert, *key; /**< our chain and its key, PEM; the key for its owner alone */
    const char *ca, *crl;   /**< anchors and CRLs */
    uint8_t flavours;       /**< of peers: a set of enum hf_flavour */
};

#define HF_CERTIFICATES_ERROR_MAX 512

/** hf_certificates_open reads what is named. On false `error` holds one line. */
HF_MUST_USE bool hf_certificates_open(struct hf_certificates *out,
                                      char error[HF_CERTIFICATES_ERROR_MAX],
                                      const struct hf_certificate_files *files);

/** hf_certificates_close gives both back. */
void hf_certificates_close(struct hf_certificates *certificates);

#endif
