/**
 * configuration.h - the configurations clients may retrieve (TS-0003 8.8.2.4): a JSON file of one
 * object whose members are MAF Client IDs, or "*" for any other, and hold an object each.
 */
#ifndef HF_CONFIGURATION_H
#define HF_CONFIGURATION_H

#include <handfast/base.h>

struct hf_configuration;

#define HF_CONFIGURATION_ERROR_MAX 512

/** hf_configuration_open reads the file. On false `error` holds one line. */
HF_MUST_USE bool hf_configuration_open(struct hf_configuration **out,
                                       char error[HF_CONFIGURATION_ERROR_MAX], const char *path);

/** hf_configuration_close frees it; NULL is allowed. */
void hf_configuration_close(struct hf_configuration *configuration);

/** hf_configuration_find gives the JSON for a client, NULL if there is none; `configuration` may be
 *  NULL. Thread: any. */
const char *hf_configuration_find(const struct hf_configuration *configuration,
                                  const char *client_id);

#endif
