/**
 * options.h - the command line, read into a struct hf_daemon_config; with --config, over the file.
 */
#ifndef HF_OPTIONS_H
#define HF_OPTIONS_H

#include "daemon_config.h"

/** hf_options_parse reads the command line and the file it names. On false `error` holds one line.
 *  `*out` holds no views: a reload calls it again with the same arguments. */
HF_MUST_USE bool hf_options_parse(struct hf_daemon_config *out, char error[HF_OPTIONS_ERROR_MAX],
                                  int argc, char **argv);

/** hf_options_help prints what there is to say to stdout. */
void hf_options_help(void);

#endif
