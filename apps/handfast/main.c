/**
 * main.c - handfast: the tool for everything on the wire. Finds the subcommand and runs it.
 */
#include "tool.h"

#include <handfast/base.h>

#include <stdio.h>
#include <string.h>

struct subcommand {
    const char *name;
    hf_tool_main *run;
    const char *help;
};

/* In the order of the help; ends with an empty row. */
static const struct subcommand subcommands[] = {
    {"connect", hf_connect_main, "dial a server, over TLS or DTLS"},
    {"load", hf_load_main, "a population of devices, to load a server on this machine"},
    {"maf", hf_maf_main, "a client of a MAF: registrations, keys for others and from others"},
    {"pki", hf_pki_main, "authorities, certificates, raw public keys, CRLs"},
    {NULL, NULL, NULL},
};

static void print_help(FILE *out)
{
    fprintf(out, "usage: handfast SUBCOMMAND [ARGUMENT]...\n"
                 "       handfast SUBCOMMAND --help\n"
                 "Everything on the wire; handfastctl administers the daemon. See handfast(1).\n"
                 "\n");
    for (const struct subcommand *at = subcommands; at->name != NULL; at++)
        fprintf(out, "  %-10s %s\n", at->name, at->help);
    fprintf(out, "\nexit status: 0 done, 1 failed, 2 wrong usage\n");
}

/* getopt(3) begins its complaints with argv[0]. */
static int run(const struct subcommand *subcommand, int argc, char **argv)
{
    static char name[32];
    snprintf(name, sizeof(name), "handfast: %s", subcommand->name);
    argv[0] = name;
    int status = subcommand->run(argc, argv);
    if (status == HF_TOOL_USAGE)
        fprintf(stderr, "Try: handfast %s --help\n", subcommand->name);
    return status;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    if (strcmp(name, "--help") == 0) {
        print_help(stdout);
        return fflush(stdout) == 0 ? HF_TOOL_DONE : HF_TOOL_FAILED;
    }
    if (strcmp(name, "--version") == 0) {
        printf("handfast %s\n", hf_version());
        return fflush(stdout) == 0 ? HF_TOOL_DONE : HF_TOOL_FAILED;
    }
    for (const struct subcommand *at = subcommands; at->name != NULL; at++) {
        if (strcmp(name, at->name) == 0)
            return run(at, argc - 1, argv + 1);
    }
    if (name[0] != '\0')
        fprintf(stderr, "handfast: %s: no such subcommand\n", name);
    print_help(stderr);
    return HF_TOOL_USAGE;
}
