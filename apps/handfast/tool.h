/**
 * tool.h - what the subcommands of `handfast` share: their exit codes, and their entries.
 *
 * A subcommand is a file <name>.c (and <name>_*.c) with one entry, and a row in main.c's table.
 */
#ifndef HF_TOOL_H
#define HF_TOOL_H

/** What `handfast` exits with. */
enum hf_tool_exit {
    HF_TOOL_DONE = 0,
    HF_TOOL_FAILED = 1,
    HF_TOOL_USAGE = 2,
};

/** A subcommand's entry; `argv[0]` is what complaints begin with. Returns an enum hf_tool_exit;
 * after HF_TOOL_USAGE main.c says where the help is. */
typedef int hf_tool_main(int argc, char **argv);

hf_tool_main hf_connect_main, hf_load_main, hf_maf_main, hf_pki_main;

#endif
