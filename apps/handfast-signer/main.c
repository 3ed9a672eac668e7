/**
 * main.c - handfast-signer: signs for handfastd with keys that handfastd never sees. Options, and
 * what a process that holds keys owes them.
 */
#include "pkcs11.h"
#include "server.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct options {
    struct server_config server;
    struct pkcs11_config pkcs11;
    const char *pin_file;
    char *keys[KEYS_MAX]; /* LABEL=WHERE */
    size_t key_count;
};

static const char help[] =
    "usage: handfast-signer --socket PATH --key LABEL=FILE...\n"
    "       handfast-signer --socket PATH --module FILE [--token NAME] [--pin-file FILE]\n"
    "                       --key LABEL[=NAME]...\n"
    "Signs for handfastd (key = signer:PATH#LABEL). See handfast-signer(8).\n"
    "\n"
    "  --socket PATH      where to listen\n"
    "  --socket-mode MODE permissions of the socket, octal (0600)\n"
    "  --allow-uid UID    who may connect besides root and this user; repeatable\n"
    "  --key LABEL=FILE   a private key in PEM, unencrypted; repeatable\n"
    "  --module FILE      a PKCS#11 module: keys are names (CKA_LABEL) in its token\n"
    "  --token NAME       the token, if there is more than one\n"
    "  --pin-file FILE    its first line is the user's PIN\n"
    "  --version, --help\n"
    "\n"
    "exit status: 0 done, 1 failed, 2 wrong usage\n";

static bool read_number(unsigned long *out, const char *text, int base, unsigned long max)
{
    char *end;

    errno = 0;
    *out = strtoul(text, &end, base);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && *out <= max;
}

/* False: wrong usage, and it has been said. */
static bool take_option(struct options *options, int option, char *value)
{
    unsigned long number = 0;

    switch (option) {
    case 's':
        options->server.path = value;
        return true;
    case 'm':
        options->pkcs11.module = value;
        return true;
    case 't':
        options->pkcs11.token = value;
        return true;
    case 'p':
        options->pin_file = value;
        return true;
    case 'k':
        if (options->key_count < KEYS_MAX) {
            options->keys[options->key_count++] = value;
            return true;
        }
        fprintf(stderr, "handfast-signer: more than %d keys\n", KEYS_MAX);
        return false;
    case 'o':
        if (read_number(&number, value, 8, 0777)) {
            options->server.mode = (mode_t)number;
            return true;
        }
        fprintf(stderr, "handfast-signer: --socket-mode %s: not permissions\n", value);
        return false;
    case 'u':
        if (read_number(&number, value, 10, UINT32_MAX - 1) &&
            options->server.uid_count < SERVER_UIDS_MAX) {
            options->server.uids[options->server.uid_count++] = (uid_t)number;
            return true;
        }
        fprintf(stderr, "handfast-signer: --allow-uid %s: not a uid, or too many\n", value);
        return false;
    default:
        return false;
    }
}

static int read_options(struct options *options, int argc, char **argv)
{
    static const struct option names[] = {{"socket", required_argument, NULL, 's'},
                                          {"socket-mode", required_argument, NULL, 'o'},
                                          {"allow-uid", required_argument, NULL, 'u'},
                                          {"key", required_argument, NULL, 'k'},
                                          {"module", required_argument, NULL, 'm'},
                                          {"token", required_argument, NULL, 't'},
                                          {"pin-file", required_argument, NULL, 'p'},
                                          {"version", no_argument, NULL, 'V'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    static char name[] = "handfast-signer";
    int option;

    argv[0] = name; // what getopt(3) begins its complaints with
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (option == 'h' || option == 'V') {
            if (option == 'h')
                fputs(help, stdout);
            else
                printf("handfast-signer %s\n", hf_version());
            return EXIT_DONE;
        }
        if (!take_option(options, option, optarg)) {
            fputs("Try: handfast-signer --help\n", stderr);
            return EXIT_USAGE;
        }
    }
    if (optind == argc && options->server.path && options->key_count > 0)
        return -1;
    fputs(help, stderr);
    return EXIT_USAGE;
}

/* ---- keys ---- */

static bool read_pin(char *out, size_t out_max, char error[KEYS_ERROR_MAX], const char *path)
{
    FILE *file = fopen(path, "re");
    bool is_read = file && fgets(out, (int)out_max, file);

    if (is_read)
        out[strcspn(out, "\r\n")] = '\0';
    else
        snprintf(error, KEYS_ERROR_MAX, "%s: %s", path, file ? "it is empty" : strerror(errno));
    if (file)
        (void)fclose(file);
    return is_read;
}

static bool open_module(struct keys *keys, char error[KEYS_ERROR_MAX], struct options *options)
{
    static char pin[256];
    bool is_open;

    if (!options->pkcs11.module)
        return true;
    if (options->pin_file) {
        if (!read_pin(pin, sizeof pin, error, options->pin_file))
            return false;
        options->pkcs11.pin = pin;
    }
    is_open = pkcs11_open(&keys->module, error, &options->pkcs11);
    explicit_bzero(pin, sizeof pin);
    return is_open;
}

static bool open_keys(struct keys *keys, char error[KEYS_ERROR_MAX], struct options *options)
{
    if (!open_module(keys, error, options))
        return false;
    for (size_t i = 0; i < options->key_count; i++) {
        char *label = options->keys[i];
        char *where = strchr(label, '=');

        if (where)
            *where++ = '\0';
        if (!where && !keys->module) {
            snprintf(error, KEYS_ERROR_MAX, "--key %s: it is LABEL=FILE", label);
            return false;
        }
        if (!(keys->module ? keys_add_object(keys, error, label, where ? where : label)
                           : keys_add_file(keys, error, label, where)))
            return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    static struct keys keys;
    struct options options = {.server.mode = 0600};
    char error[KEYS_ERROR_MAX] = "";
    int status = read_options(&options, argc, argv);

    if (status >= 0)
        return status;
    // No core dump, no ptrace by others of this user.
    (void)prctl(PR_SET_DUMPABLE, 0);
    status = EXIT_DONE;
    if (!open_keys(&keys, error, &options) || !server_run(error, &keys, &options.server)) {
        fprintf(stderr, "handfast-signer: %s\n", error);
        status = EXIT_FAILED;
    }
    keys_close(&keys);
    return status;
}
