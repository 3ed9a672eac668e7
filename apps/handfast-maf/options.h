/**
 * options.h - the command line of handfast-maf.
 */
#ifndef HF_OPTIONS_H
#define HF_OPTIONS_H

#include "operate.h"

#include <loop.h>

#define HF_LISTENS_MAX 8
#define HF_OPTIONS_ERROR_MAX 400

struct hf_options {
    bool is_help, is_version;
    struct hf_address listens[HF_LISTENS_MAX];
    uint32_t listen_count;
    const char *psk_file;                            /**< NULL: certificates only */
    const char *cert, *key, *client_ca, *client_crl; /**< NULL: pre-shared keys only */
    const char *store;
    const char *client_config; /**< NULL: none */
    bool is_verbose;
    uint64_t associations_max;
    struct hf_operate_policy policy;
};

/** hf_options_parse reads the command line. On false `error` holds one line. */
HF_MUST_USE bool hf_options_parse(struct hf_options *out, char error[HF_OPTIONS_ERROR_MAX],
                                  int argc, char **argv);

/** hf_options_help prints what there is. */
void hf_options_help(void);

#endif
