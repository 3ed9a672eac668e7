/**
 * options.c - the command line: its parser and its help, both from the table of settings.
 */
#include "options.h"

#include "config_file.h"
#include "settings.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#define OPTIONS_MAX 160

void hf_options_help(void)
{
    size_t count = 0;
    const struct hf_setting *table = hf_settings(&count);
    printf("usage: handfastd --config FILE [option]...\n"
           "       handfastd --psk-file FILE [--dtls ADDR:PORT]... [--tls ADDR:PORT]... "
           "[option]...\n"
           "TLS 1.2 / DTLS 1.2 front end for a oneM2M IN-CSE. See handfastd(8).\n\n");
    for (size_t i = 0; i < count; i++) {
        char left[48];
        if (table[i].option == NULL)
            continue;
        snprintf(left, sizeof(left), "--%s%s%s", table[i].option, table[i].argument ? " " : "",
                 table[i].argument ? table[i].argument : "");
        printf("  %-27s %s\n", left, table[i].help);
    }
    printf("\nsuites:\n");
    for (uint32_t suite = 1; suite <= UINT16_MAX; suite++) {
        const char *name = hf_suite_name((uint16_t)suite);
        if (name != NULL)
            printf("  0x%04X  %s\n", suite, name);
    }
    printf("\nSIGHUP reloads configuration and keys; SIGTERM stops, a second one at once.\n"
           "exit status: 0 done, 1 failed while running or starting, 2 wrong options, "
           "configuration or key file\n");
}

/* ---- parsing ------------------------------------------------------------------------------ */

/* What the options of a pass fill. */
static void *base_of(struct hf_daemon_config *config, const struct hf_setting *setting)
{
    if (setting->section == HF_SECTION_LISTENER)
        return &config->common;
    if (setting->section == HF_SECTION_AUTHORITY)
        return &config->authorities[0];
    return config;
}

/* With a file these belong into one of its blocks. */
static bool is_block_setting(const struct hf_setting *setting)
{
    bool is_endpoint = setting->option != NULL && (strcmp(setting->option, "dtls") == 0 ||
                                                   strcmp(setting->option, "tls") == 0);
    return is_endpoint || setting->section == HF_SECTION_AUTHORITY ||
           (setting->section == HF_SECTION_LISTENER && !setting->is_override);
}

static bool take_one(struct hf_daemon_config *config, char *error, const struct hf_setting *setting,
                     const char *value)
{
    char reason[HF_SETTING_REASON_MAX];
    if (config->config_file[0] != '\0' && is_block_setting(setting)) {
        snprintf(error, HF_OPTIONS_ERROR_MAX,
                 "--%s: not together with --config: it belongs into a block of the file",
                 setting->option);
        return false;
    }
    if (setting->is_list && setting->section == HF_SECTION_LISTENER) /* given again, it replaces */
        config->common.suite_count = 0;
    if (setting->take(base_of(config, setting), reason, setting, value))
        return true;
    snprintf(error, HF_OPTIONS_ERROR_MAX, "--%s: %s", setting->option, reason);
    return false;
}

static size_t name_options(struct option names[OPTIONS_MAX], const struct hf_setting **settings)
{
    size_t count = 0;
    size_t used = 0;
    const struct hf_setting *table = hf_settings(&count);
    memset(names, 0, OPTIONS_MAX * sizeof(*names));
    for (size_t i = 0; i < count && used < OPTIONS_MAX - 1; i++) {
        if (table[i].option == NULL)
            continue;
        names[used].name = table[i].option;
        names[used].has_arg = table[i].argument != NULL ? required_argument : no_argument;
        settings[used++] = &table[i];
    }
    return used;
}

/* One pass over the command line. `only`: nothing but this option is taken. */
static bool take_all(struct hf_daemon_config *config, char *error, int argc, char **argv,
                     const char *only)
{
    struct option names[OPTIONS_MAX];
    const struct hf_setting *settings[OPTIONS_MAX];
    (void)name_options(names, settings);
    opterr = 0;
    optind = 0; /* glibc: begin anew */
    for (;;) {
        int index = -1;
        int got = getopt_long(argc, argv, ":", names, &index);
        if (got == -1)
            break;
        if (got == ':' || got == '?') {
            snprintf(error, HF_OPTIONS_ERROR_MAX, "%.100s: %s", argv[optind - 1],
                     got == ':' ? "needs a value" : "no such option");
            return false;
        }
        if (only != NULL && strcmp(only, settings[index]->option) != 0)
            continue;
        if (!take_one(config, error, settings[index], optarg))
            return false;
        if (config->action == HF_OPTIONS_HELP || config->action == HF_OPTIONS_VERSION)
            return true;
    }
    if (optind < argc) {
        snprintf(error, HF_OPTIONS_ERROR_MAX, "\"%.100s\": only options are expected",
                 argv[optind]);
        return false;
    }
    return true;
}

bool hf_options_parse(struct hf_daemon_config *out, char error[HF_OPTIONS_ERROR_MAX], int argc,
                      char **argv)
{
    static const char *const first[] = {"help", "version", "config"};
    hf_daemon_config_init(out);
    for (size_t i = 0; i < sizeof(first) / sizeof(first[0]); i++) {
        if (!take_all(out, error, argc, argv, first[i]))
            return false;
        if (out->action == HF_OPTIONS_HELP || out->action == HF_OPTIONS_VERSION)
            return true;
    }
    if (out->config_file[0] != '\0' && !hf_config_file_read(out, error, out->config_file))
        return false;
    if (out->config_file[0] == '\0') {
        hf_daemon_authority_init(&out->authorities[0]);
        snprintf(out->authorities[0].name, HF_NAME_MAX, "default");
        out->authority_count = 1;
    }
    return take_all(out, error, argc, argv, NULL) && hf_daemon_config_settle(out, error);
}
