/**
 * main.c - handfastctl: the command line, the request that follows from it, and what is printed.
 */
#include "client.h"
#include "print.h"
#include "psk.h"
#include "secrets.h"

#include <handfast/base.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct call {
    const char *socket_path;
    bool is_json;
    int argc; /* what is left behind the command's words */
    char **argv;
};

struct command {
    const char *words[2]; /* the second may be NULL */
    const char *arguments;
    const char *help;
    json_t *(*request)(struct call *call); /* NULL: usage */
    void (*print)(const json_t *result);
};

/* ---- requests ----------------------------------------------------------------------------- */

/* Takes `--name VALUE` off the arguments; NULL if it is not there. */
static const char *take_option(struct call *call, const char *name)
{
    for (int i = 0; i + 1 < call->argc; i++) {
        if (strcmp(call->argv[i], name) != 0)
            continue;
        const char *value = call->argv[i + 1];
        for (int j = i; j + 2 < call->argc; j++)
            call->argv[j] = call->argv[j + 2];
        call->argc -= 2;
        return value;
    }
    return NULL;
}

static json_t *request_plain(struct call *call, const char *command)
{
    return call->argc == 0 ? json_pack("{s:s}", "command", command) : NULL;
}

static json_t *request_status(struct call *call)
{
    return request_plain(call, "status");
}

static json_t *request_reload(struct call *call)
{
    if (call->argc == 1 && strcmp(call->argv[0], "--force") == 0)
        return json_pack("{s:s,s:b}", "command", "reload", "force", 1);
    return request_plain(call, "reload");
}

static json_t *request_log_level(struct call *call)
{
    if (call->argc == 1)
        return json_pack("{s:s,s:s}", "command", "log-level", "level", call->argv[0]);
    return request_plain(call, "log-level");
}

static json_t *request_list(struct call *call)
{
    const char *match = take_option(call, "--match");
    json_t *request = request_plain(call, "assoc-list");
    if (request != NULL && match != NULL)
        json_object_set_new(request, "match", json_string(match));
    return request;
}

static json_t *request_one(struct call *call, const char *command)
{
    if (call->argc != 1)
        return NULL;
    return json_pack("{s:s,s:s}", "command", command, "association", call->argv[0]);
}

static json_t *request_show(struct call *call)
{
    return request_one(call, "assoc-show");
}

static json_t *request_close(struct call *call)
{
    return request_one(call, "assoc-close");
}

/* "#6465763a31" is an identity in hexadecimal, as in key files. */
static json_t *request_named(struct call *call, const char *command)
{
    if (call->argc != 1 || call->argv[0][0] == '\0')
        return NULL;
    bool is_hex = call->argv[0][0] == '#';
    return json_pack("{s:s,s:s}", "command", command, is_hex ? "subject_hex" : "subject",
                     call->argv[0] + is_hex);
}

static json_t *request_why(struct call *call)
{
    return request_named(call, "why");
}

static json_t *request_hash(struct call *call)
{
    return request_named(call, "hash");
}

static json_t *request_revoke(struct call *call)
{
    return request_named(call, "revoke");
}

static json_t *request_restart(struct call *call)
{
    return request_plain(call, "restart");
}

static json_t *request_drain(struct call *call)
{
    char *end = NULL;
    const char *seconds = take_option(call, "--seconds");
    json_t *request = request_plain(call, "drain");
    long long number = seconds == NULL ? 0 : strtoll(seconds, &end, 10);
    if (request == NULL || seconds == NULL)
        return request;
    if (seconds[0] < '0' || seconds[0] > '9' || *end != '\0') {
        json_decref(request);
        return NULL;
    }
    json_object_set_new(request, "seconds", json_integer(number));
    return request;
}

static const struct command commands[] = {
    {{"status", NULL}, "", "what it serves, and how it is", request_status, hf_print_status},
    {{"reload", NULL},
     "[--force]",
     "read configuration and keys again; all or nothing",
     request_reload,
     hf_print_reload},
    {{"log-level", NULL},
     "[LEVEL]",
     "show or, until the next reload, set what is logged",
     request_log_level,
     hf_print_log_level},
    {{"assoc", "list"},
     "[--match TEXT]",
     "associations; TEXT: part of an identity, or an address",
     request_list,
     hf_print_assoc_list},
    {{"assoc", "show"},
     "ASSOCIATION",
     "all that is known of one",
     request_show,
     hf_print_assoc_show},
    {{"assoc", "close"}, "ASSOCIATION", "end one", request_close, hf_print_assoc_close},
    {{"why", NULL}, "IDENTITY|ADDR", "why a device is not connected", request_why, hf_print_why},
    {{"revoke", NULL},
     "IDENTITY",
     "refuse a key of a MAF from now on; end what it has made",
     request_revoke,
     hf_print_revoke},
    {{"restart", NULL},
     "",
     "hand everything over to a new process; no association ends",
     request_restart,
     hf_print_restart},
    {{"drain", NULL},
     "[--seconds N]",
     "no new associations; end when none is left, or after N (60)",
     request_drain,
     hf_print_drain},
    {{"hash", NULL},
     "IDENTITY",
     "what stands for it in logs with hashed identities",
     request_hash,
     hf_print_hash},
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

/* ---- the command line --------------------------------------------------------------------- */

static void print_help(FILE *out)
{
    fprintf(out, "usage: handfastctl [--socket PATH] [--json] COMMAND [ARGUMENT]...\n"
                 "Asks a running handfastd. See handfastctl(8).\n\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        char left[48];
        const char *second = commands[i].words[1];
        snprintf(left, sizeof(left), "%s%s%s %s", commands[i].words[0], second ? " " : "",
                 second ? second : "", commands[i].arguments);
        fprintf(out, "  %-26s %s\n", left, commands[i].help);
    }
#ifdef HF_HAS_PSK
    fprintf(out, "  %-26s %s\n", "psk ...", "manage key stores; psk --help");
#endif
    fprintf(out, "  %-26s %s\n", "secrets rotate|list",
            "secrets shared by the nodes behind a balancer; secrets --help");
    fprintf(out,
            "\n--socket PATH is %s by default, or $HANDFAST_SOCKET; an IDENTITY \"#6465\" is in\n"
            "hexadecimal; --json prints the answer as JSON.\n"
            "exit status: 0 done, 1 the daemon refused, 2 wrong usage, 3 no daemon reached\n",
            HF_CLIENT_SOCKET);
}

static const struct command *find_command(struct call *call)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        int words = commands[i].words[1] == NULL ? 1 : 2;
        if (call->argc < words || strcmp(call->argv[0], commands[i].words[0]) != 0 ||
            (words == 2 && strcmp(call->argv[1], commands[i].words[1]) != 0))
            continue;
        call->argc -= words;
        call->argv += words;
        return &commands[i];
    }
    return NULL;
}

/* A list comes in pages. */
static enum hf_client_exit call_all(json_t **result, char *error, const struct call *call,
                                    json_t *request)
{
    json_t *more = json_deep_copy(request);
    enum hf_client_exit status = hf_client_call(result, error, call->socket_path, request);
    while (status == HF_CLIENT_DONE && json_is_string(json_object_get(*result, "cursor"))) {
        json_t *page = NULL;
        json_object_set(more, "cursor", json_object_get(*result, "cursor"));
        status = hf_client_call(&page, error, call->socket_path, json_deep_copy(more));
        if (status == HF_CLIENT_DONE) {
            json_array_extend(json_object_get(*result, "associations"),
                              json_object_get(page, "associations"));
            json_object_set(*result, "cursor", json_object_get(page, "cursor"));
            json_decref(page);
        } else {
            json_decref(*result);
            *result = NULL;
        }
    }
    if (status == HF_CLIENT_DONE)
        json_object_del(*result, "cursor");
    json_decref(more);
    return status;
}

static int run(const struct call *call, const struct command *command, json_t *request)
{
    char error[HF_CLIENT_ERROR_MAX];
    json_t *result = NULL;
    enum hf_client_exit status = call_all(&result, error, call, request);
    if (status != HF_CLIENT_DONE && call->is_json)
        result = json_pack("{s:s}", "error", error);
    if (call->is_json) {
        json_dumpf(result, stdout, JSON_PRESERVE_ORDER | JSON_INDENT(2));
        putchar('\n');
    } else if (status == HF_CLIENT_DONE) {
        command->print(result);
    }
    if (status != HF_CLIENT_DONE)
        fprintf(stderr, "handfastctl: %s\n", error);
    json_decref(result);
    return fflush(stdout) == 0 ? (int)status : HF_CLIENT_REFUSED;
}

/* Options before the command; --json may stand anywhere. False: `*out` is what to exit with. */
static bool take_options(int *out, struct call *call)
{
    int kept = 0;
    for (int i = 0; i < call->argc; i++) {
        if (strcmp(call->argv[i], "--json") == 0)
            call->is_json = true;
        else
            call->argv[kept++] = call->argv[i];
    }
    call->argc = kept;
    while (call->argc > 0 && call->argv[0][0] == '-') {
        const char *option = call->argv[0];
        *out = HF_CLIENT_DONE;
        if (strcmp(option, "--help") == 0) {
            print_help(stdout);
            return false;
        }
        if (strcmp(option, "--version") == 0) {
            printf("handfastctl %s\n", HF_VERSION_STRING);
            return false;
        }
        if (strcmp(option, "--socket") != 0 || call->argc < 2) {
            fprintf(stderr,
                    "handfastctl: %s: no such option, or its value is missing\n"
                    "Try: handfastctl --help\n",
                    option);
            *out = HF_CLIENT_USAGE;
            return false;
        }
        call->socket_path = call->argv[1];
        call->argc -= 2;
        call->argv += 2;
    }
    return true;
}

/* What was wrong, in a line or two; who says nothing at all sees the help. */
static int complain(const struct call *call, const struct command *command)
{
    const char *second = command == NULL ? NULL : command->words[1];
    if (command == NULL && call->argc == 0) {
        print_help(stderr);
        return HF_CLIENT_USAGE;
    }
    if (command == NULL)
        fprintf(stderr, "handfastctl: %s%s%s: no such command\n", call->argv[0],
                call->argc > 1 ? " " : "", call->argc > 1 ? call->argv[1] : "");
    else
        fprintf(stderr, "usage: handfastctl %s%s%s %s\n", command->words[0],
                second != NULL ? " " : "", second != NULL ? second : "", command->arguments);
    fputs("Try: handfastctl --help\n", stderr);
    return HF_CLIENT_USAGE;
}

int main(int argc, char **argv)
{
    int status = HF_CLIENT_DONE;
    const char *path = getenv("HANDFAST_SOCKET");
    struct call call = {path != NULL && path[0] != '\0' ? path : HF_CLIENT_SOCKET, false, argc - 1,
                        argv + 1};
    if (!take_options(&status, &call))
        return status;
#ifdef HF_HAS_PSK
    if (call.argc > 0 && strcmp(call.argv[0], "psk") == 0)
        return hf_psk_main(call.argc, call.argv, call.socket_path, call.is_json);
#endif
    if (call.argc > 0 && strcmp(call.argv[0], "secrets") == 0)
        return hf_secrets_main(call.argc, call.argv, call.is_json);
    const struct command *command = find_command(&call);
    json_t *request = command == NULL ? NULL : command->request(&call);
    if (request != NULL)
        return run(&call, command, request);
    return complain(&call, command);
}
