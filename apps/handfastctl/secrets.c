/**
 * secrets.c - `handfastctl secrets`: the file from which cookie, ticket and connection-ID keys are
 * derived, on every node behind a balancer. The daemon is told by a reload; secrets are never
 * printed.
 */
#include "secrets.h"

#include <handfast/session.h>

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILE_DEFAULT "/etc/handfast/shared-secrets"
#define AHEAD_S_DEFAULT 3600       /* time to bring the file to every node */
#define KEEP_S_DEFAULT (2 * 86400) /* longer than any ticket lives */
#define SECONDS_MAX (366 * 86400)

struct request {
    const char *file;
    int64_t ahead_s, keep_s;
    bool is_json;
};

void hf_secrets_usage(FILE *out)
{
    fprintf(out, "usage: handfastctl secrets rotate [--file FILE] [--in SECONDS] [--keep SECONDS]\n"
                 "       handfastctl secrets list [--file FILE] [--json]\n"
                 "Secrets that nodes behind a balancer share. See handfastctl(8).\n");
}

static int fail(const char *file, const char *why)
{
    fprintf(stderr, "handfastctl: %s: %s\n", file, why);
    return 1;
}

/* ---- the file ----------------------------------------------------------------------------- */

/* The text of a file that nobody else may read. Out: -1 with `*why` set; -2: there is none. */
static ssize_t read_text(char out[HF_SHARED_SECRETS_TEXT_MAX * 4], const char **why,
                         const char *file)
{
    struct stat about;
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        *why = strerror(errno);
        return errno == ENOENT ? -2 : -1;
    }
    ssize_t len = -1;
    if (fstat(fd, &about) != 0 || !S_ISREG(about.st_mode))
        *why = "not a file";
    else if (about.st_mode & 077)
        *why = "others may read it: chmod 600";
    else if (about.st_size > HF_SHARED_SECRETS_TEXT_MAX * 4)
        *why = "too long";
    else if ((len = read(fd, out, HF_SHARED_SECRETS_TEXT_MAX * 4)) < 0)
        *why = strerror(errno);
    close(fd);
    return len;
}

/* 0, or what to exit with. A file that is not there holds no secrets. */
static int load(struct hf_shared_secrets *out, const char *file, bool may_be_new)
{
    char text[HF_SHARED_SECRETS_TEXT_MAX * 4];
    char place[64];
    const char *why = NULL;
    size_t line = 0;
    *out = (struct hf_shared_secrets){0};
    ssize_t len = read_text(text, &why, file);
    if (len == -2 && may_be_new)
        return 0;
    if (len < 0)
        return fail(file, why);
    enum hf_status status = hf_shared_secrets_parse(
        out, &line, &why, (struct hf_bytes){(const uint8_t *)text, (size_t)len});
    explicit_bzero(text, sizeof(text));
    if (status == HF_OK)
        return 0;
    snprintf(place, sizeof(place), "line %zu: %s", line, why);
    return fail(file, place);
}

static bool write_all(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t done = write(fd, text, len);
        if (done < 0 && errno != EINTR)
            return false;
        if (done > 0) {
            text += done;
            len -= (size_t)done;
        }
    }
    return fsync(fd) == 0;
}

/* Beside it, then in its place: whoever reads sees the old file or the new one. */
static int store(const char *file, const struct hf_shared_secrets *secrets)
{
    char text[HF_SHARED_SECRETS_TEXT_MAX];
    char beside[4096];
    if (snprintf(beside, sizeof(beside), "%s.new", file) >= (int)sizeof(beside))
        return fail(file, "a longer name than a file can have");
    (void)unlink(beside);
    int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail(beside, strerror(errno));
    size_t len = hf_shared_secrets_print(text, secrets);
    bool is_written = write_all(fd, text, len);
    int code = errno;
    explicit_bzero(text, sizeof(text));
    close(fd);
    if (is_written && rename(beside, file) == 0)
        return 0;
    code = is_written ? errno : code;
    (void)unlink(beside);
    return fail(file, strerror(code));
}

/* ---- the subcommands ---------------------------------------------------------------------- */

static const char *print_time(char out[32], int64_t seconds)
{
    time_t time = (time_t)seconds;
    struct tm parts;
    if (gmtime_r(&time, &parts) == NULL || strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
        snprintf(out, 32, "?");
    return out;
}

static int rotate(const struct request *request)
{
    struct hf_shared_secrets secrets;
    char when[32];
    int64_t now_s = (int64_t)time(NULL);
    int status = load(&secrets, request->file, true);
    if (status != 0)
        return status;
    /* The first one has nothing to wait for. */
    int64_t from_s = secrets.count == 0 ? now_s : now_s + request->ahead_s;
    if (hf_shared_secrets_rotate(&secrets, from_s, now_s - request->keep_s) != HF_OK)
        status = fail(request->file, "it has a secret for that very second");
    else
        status = store(request->file, &secrets);
    if (status == 0)
        printf("a secret was added, active from %s; %u in the file: bring it to every node, then "
               "reload\n",
               print_time(when, from_s), (unsigned)secrets.count);
    explicit_bzero(&secrets, sizeof(secrets));
    return status;
}

static int list(const struct request *request)
{
    struct hf_shared_secrets secrets;
    int64_t now_s = (int64_t)time(NULL);
    json_t *all = json_array();
    bool is_active_seen = false;
    int status = load(&secrets, request->file, false);
    for (uint32_t i = 0; status == 0 && i < secrets.count; i++) {
        char when[32];
        bool is_coming = secrets.entries[i].from_s > now_s;
        const char *state = is_coming ? "coming" : is_active_seen ? "accepted" : "active";
        is_active_seen |= !is_coming;
        print_time(when, secrets.entries[i].from_s);
        json_array_append_new(all, json_pack("{s:s,s:s}", "from", when, "state", state));
        if (!request->is_json)
            printf("%s %s\n", when, state);
    }
    if (status == 0 && request->is_json) {
        json_dumpf(all, stdout, JSON_PRESERVE_ORDER | JSON_INDENT(2));
        putchar('\n');
    }
    json_decref(all);
    explicit_bzero(&secrets, sizeof(secrets));
    return status;
}

/* ---- the command line --------------------------------------------------------------------- */

static bool parse_seconds(int64_t *out, const char *text)
{
    char *end = NULL;
    errno = 0;
    *out = strtoll(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && *out >= 0 && *out <= SECONDS_MAX;
}

static bool parse(struct request *request, int argc, char **argv)
{
    static const struct option options[] = {
        {"file", required_argument, NULL, 'f'},
        {"in", required_argument, NULL, 'i'},
        {"keep", required_argument, NULL, 'k'},
        {"json", no_argument, NULL, 'j'},
        {NULL, 0, NULL, 0},
    };
    int letter = 0;
    optind = 0;
    while ((letter = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (letter == 'f')
            request->file = optarg;
        else if (letter == 'j')
            request->is_json = true;
        else if (letter == '?' ||
                 !parse_seconds(letter == 'i' ? &request->ahead_s : &request->keep_s, optarg))
            return false;
    }
    return optind == argc;
}

int hf_secrets_main(int argc, char **argv, bool is_json)
{
    struct request request = {FILE_DEFAULT, AHEAD_S_DEFAULT, KEEP_S_DEFAULT, is_json};
    bool is_rotate = argc >= 2 && strcmp(argv[1], "rotate") == 0;
    bool is_list = argc >= 2 && strcmp(argv[1], "list") == 0;
    if (argc >= 2 && strcmp(argv[1], "--help") == 0) {
        hf_secrets_usage(stdout);
        return 0;
    }
    if ((!is_rotate && !is_list) || !parse(&request, argc - 1, argv + 1)) {
        hf_secrets_usage(stderr);
        return 2;
    }
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    (void)umask(077);
    return is_rotate ? rotate(&request) : list(&request);
}
