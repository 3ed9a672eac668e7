/**
 * psk_main.c - the command line of `handfastctl psk`, and the child process its work is done in.
 */
#include "psk_private.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* Which options a subcommand takes, as letters. */
struct subcommand {
    const char *name;
    int (*run)(const struct hf_psk_options *options);
    const char *takes;
    int names_min, names_max;
    const char *usage;
    const char *help;
};

#define NAMES_MAX 1000

static const struct subcommand subcommands[] = {
    {"add", hf_psk_add, "sjrkeabn", 1, 1,
     "add [--key-file FILE] [--entity ID] [--authority NAME] [--not-before TIME]\n"
     "      [--not-after TIME] [--replace] IDENTITY",
     "one key, in hexadecimal from standard input (not shown when typed), or from FILE"},
    {"import", hf_psk_import, "sjrabnpf", 0, 1,
     "import [--authority NAME] [--not-before TIME] [--not-after TIME]\n"
     "      [--replace [--force]] [--progress] [FILE]",
     "all keys of a key file, or of standard input: identity:hexkey[:entity-id]"},
    {"list", hf_psk_list, "sjlm", 0, 0, "list [--match PREFIX] [--limit COUNT]",
     "all there is to each key, except the key"},
    {"rm", hf_psk_remove, "sjFf", 0, NAMES_MAX, "rm [--from FILE] [--force] [IDENTITY...]",
     "remove keys; FILE is a list of identities, or a key file"},
    {"check", hf_psk_check, "sj", 0, 1, "check [BACKUP]",
     "read every page and every record, of the store or of a backup"},
    {"backup", hf_psk_backup, "sjf", 1, 1, "backup [--force] FILE",
     "a checked copy, while others read and write; --force overwrites"},
    {"restore", hf_psk_restore, "sjf", 1, 1, "restore [--force] FILE",
     "put a checked copy in the store's place"},
};

static const struct option long_options[] = {
    {"store", required_argument, NULL, 's'},
    {"json", no_argument, NULL, 'j'},
    {"replace", no_argument, NULL, 'r'},
    {"key-file", required_argument, NULL, 'k'},
    {"entity", required_argument, NULL, 'e'},
    {"authority", required_argument, NULL, 'a'},
    {"not-before", required_argument, NULL, 'b'},
    {"not-after", required_argument, NULL, 'n'},
    {"progress", no_argument, NULL, 'p'},
    {"limit", required_argument, NULL, 'l'},
    {"match", required_argument, NULL, 'm'},
    {"from", required_argument, NULL, 'F'},
    {"force", no_argument, NULL, 'f'},
    {NULL, 0, NULL, 0},
};

int hf_psk_fail(const char *error)
{
    (void)fflush(stdout);
    fprintf(stderr, "handfastctl: %s\n", error);
    return HF_PSK_EXIT_FAILED;
}

void hf_psk_usage(FILE *out)
{
    fputs("usage: handfastctl psk [--store DIR] [--json] COMMAND [ARGUMENT]...\n"
          "Manages a key store. A daemon on it sees the change within a second. See\n"
          "handfastctl(8).\n\n",
          out);
    for (size_t i = 0; i < sizeof(subcommands) / sizeof(subcommands[0]); i++)
        fprintf(out, "  %s\n      %s\n", subcommands[i].usage, subcommands[i].help);
    fputs("\n--store DIR is " HF_PSK_STORE_DEFAULT " by default; TIME is UTC: 2027-01-31,\n"
          "2027-01-31T12:00:00Z or seconds; --json prints the answer as JSON.\n"
          "exit status: 0 done, 1 failed, 2 wrong usage\n",
          out);
}

static bool parse_number(uint64_t *out, const char *text)
{
    char *end = NULL;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && text[0] != '-';
}

/* False: the value is wrong. */
static bool take_option(struct hf_psk_options *options, int letter, const char *value)
{
    switch (letter) {
    case 's':
        options->store = value;
        return true;
    case 'j':
        return options->is_json = true;
    case 'r':
        return options->may_replace = true;
    case 'k':
        options->key_file = value;
        return true;
    case 'e':
        options->entity_id = value;
        return true;
    case 'a':
        options->authority = value;
        return strlen(value) <= HF_KEYDB_AUTHORITY_MAX;
    case 'b':
        return hf_psk_parse_time(&options->not_before_s, value);
    case 'n':
        return hf_psk_parse_time(&options->not_after_s, value) && options->not_after_s != 0;
    case 'p':
        return options->is_progress_shown = true;
    case 'l':
        return parse_number(&options->limit, value);
    case 'm':
        options->match = value;
        return true;
    case 'F':
        options->from = value;
        return true;
    default:
        return options->is_forced = true;
    }
}

static bool parse(struct hf_psk_options *options, const struct subcommand *subcommand, int argc,
                  char **argv)
{
    int letter = 0;
    int index = 0;
    *options = (struct hf_psk_options){.store = HF_PSK_STORE_DEFAULT};
    optind = 0;
    while ((letter = getopt_long(argc, argv, "", long_options, &index)) != -1) {
        if (letter == '?')
            return false;
        if (strchr(subcommand->takes, letter) == NULL || !take_option(options, letter, optarg)) {
            fprintf(stderr, "handfastctl: psk %s: --%s does not fit\n", subcommand->name,
                    long_options[index].name);
            return false;
        }
    }
    options->names = argv + optind;
    options->name_count = argc - optind;
    bool is_rm_of_nothing =
        subcommand->run == hf_psk_remove && options->from == NULL && options->name_count == 0;
    return options->name_count >= subcommand->names_min &&
           options->name_count <= subcommand->names_max && !is_rm_of_nothing;
}

struct work {
    const struct subcommand *subcommand;
    struct hf_psk_options options;
};

static int run(void *arg)
{
    const struct work *work = arg;
    return work->subcommand->run(&work->options);
}

/* `--store DIR` may stand before the command, too: the command's word comes first then. */
static void put_command_first(int argc, char **argv)
{
    int at = 1;
    while (at < argc && strncmp(argv[at], "--store", 7) == 0)
        at += argv[at][7] == '=' ? 1 : 2;
    if (at >= argc)
        return;
    char *command = argv[at];
    memmove(argv + 2, argv + 1, (size_t)(at - 1) * sizeof(*argv));
    argv[1] = command;
}

/* Says what is wrong, unless getopt(3) has, and where the help is. */
static int complain(int argc, char **argv, const struct subcommand *subcommand)
{
    if (subcommand == NULL && argc < 2) {
        hf_psk_usage(stderr);
        return HF_PSK_EXIT_USAGE;
    }
    if (subcommand == NULL)
        fprintf(stderr, "handfastctl: psk %s: no such command\n", argv[1]);
    else
        fprintf(stderr, "usage: handfastctl psk [--store DIR] [--json] %s\n", subcommand->usage);
    fputs("Try: handfastctl psk --help\n", stderr);
    return HF_PSK_EXIT_USAGE;
}

/* The daemon needs no telling: it looks for changes itself. */
int hf_psk_main(int argc, char **argv, const char *socket_path, bool is_json)
{
    static char name[] = "handfastctl: psk";
    struct work work = {0};
    (void)socket_path;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            hf_psk_usage(stdout);
            return 0;
        }
    }
    put_command_first(argc, argv);
    for (size_t i = 0; argc >= 2 && i < sizeof(subcommands) / sizeof(subcommands[0]); i++)
        if (strcmp(argv[1], subcommands[i].name) == 0)
            work.subcommand = &subcommands[i];
    if (work.subcommand == NULL)
        return complain(argc, argv, NULL);
    argv[1] = name; /* what getopt(3) begins its complaints with */
    if (!parse(&work.options, work.subcommand, argc - 1, argv + 1))
        return complain(argc, argv, work.subcommand);
    work.options.is_json |= is_json;
    /* Keys pass through: no core files, nothing that others may read. */
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    (void)umask(077);
    return hf_keydb_guard(run, &work);
}
