/**
 * secrets.h - the subcommands of "handfastctl secrets".
 */
#ifndef HF_CTL_SECRETS_H
#define HF_CTL_SECRETS_H

#include <stdbool.h>
#include <stdio.h>

/** hf_secrets_usage prints one line for each subcommand. */
void hf_secrets_usage(FILE *out);

/** hf_secrets_main runs "secrets ARGUMENT..."; `argv[0]` is "secrets". Returns what to exit with:
 *  0, 1 failed, 2 wrong usage. */
int hf_secrets_main(int argc, char **argv, bool is_json);

#endif
