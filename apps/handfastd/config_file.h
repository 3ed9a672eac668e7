/**
 * config_file.h - handfastd.conf(5), read with libConfuse.
 */
#ifndef HF_CONFIG_FILE_H
#define HF_CONFIG_FILE_H

#include "daemon_config.h"

/** hf_config_file_read reads `path` into `config`, which holds the defaults. On false `error` holds
 *  one line that names the file and, where there is one, the line. Unknown settings and settings
 *  given twice are errors. Thread: one at a time. */
HF_MUST_USE bool hf_config_file_read(struct hf_daemon_config *config,
                                     char error[HF_OPTIONS_ERROR_MAX], const char *path);

/** hf_config_file_parse does the same with a text already in memory; `path` is for the error. In:
 *  `len` bytes of `text` and a NUL behind them; they are changed. */
HF_MUST_USE bool hf_config_file_parse(struct hf_daemon_config *config,
                                      char error[HF_OPTIONS_ERROR_MAX], const char *path,
                                      char *text, size_t len);

#endif
