/**
 * psk.h - the subcommands of "handfastctl psk".
 */
#ifndef HF_CTL_PSK_H
#define HF_CTL_PSK_H

#include <stdbool.h>

/** hf_psk_main runs "psk ARGUMENT..."; `argv[0]` is "psk". In: the options before it. Returns what
 *  to exit with, an enum hf_client_exit. */
int hf_psk_main(int argc, char **argv, const char *socket_path, bool is_json);

#endif
