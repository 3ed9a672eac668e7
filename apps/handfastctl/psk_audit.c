/**
 * psk_audit.c - who changed which key: DIR/audit.log in the store's directory, logfmt, one line for
 * each key and one for each command, appended once the change is on disk. No key material.
 *
 * The store changes without the daemon, so the daemon's audit log cannot tell of single keys; it
 * tells how many associations' keys went, and when.
 */
#include "psk_private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILE_NAME "audit.log"
#define LINES_MAX 1000 /* of single keys a command; the line of the command counts the rest */

struct hf_psk_audit {
    int fd;
    char who[96];
    char *text; /* of what is not on disk yet */
    size_t len;
    FILE *lines;
    uint64_t written, pending, left_out;
};

static bool fail(char *error, const struct hf_psk_options *options, const char *reason)
{
    snprintf(error, HF_KEYDB_ERROR_MAX, "%.200s/" FILE_NAME ": %.200s: nothing was changed",
             options->store, reason);
    return false;
}

/* In the directory, whose owner it gets: the daemon's user may have to rotate it. */
static int open_file(const struct hf_psk_options *options)
{
    struct stat st;
    int dir_fd = open(options->store, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0)
        return -1;
    int fd = openat(dir_fd, FILE_NAME,
                    O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW,
                    0600);
    if (fd >= 0 && geteuid() == 0 && fstat(dir_fd, &st) == 0 &&
        fchown(fd, st.st_uid, st.st_gid) != 0) {
        close(fd);
        fd = -1;
    }
    int code = errno;
    close(dir_fd);
    errno = code;
    return fd;
}

bool hf_psk_audit_open(struct hf_psk_audit **out, char error[HF_KEYDB_ERROR_MAX],
                       const struct hf_psk_options *options)
{
    struct hf_psk_audit *audit = calloc(1, sizeof(*audit));
    const struct passwd *user = getpwuid(getuid());
    const char *sudo = getenv("SUDO_UID");
    if (audit == NULL)
        return fail(error, options, "no memory");
    audit->fd = open_file(options);
    audit->lines = audit->fd < 0 ? NULL : open_memstream(&audit->text, &audit->len);
    if (audit->lines == NULL) {
        int code = errno;
        hf_psk_audit_close(audit);
        return fail(error, options, strerror(code));
    }
    snprintf(audit->who, sizeof(audit->who), "uid=%u(%.32s)", (unsigned)getuid(),
             user == NULL ? "?" : user->pw_name);
    if (sudo != NULL && getuid() == 0 && strlen(sudo) <= 10 &&
        strspn(sudo, "0123456789") == strlen(sudo))
        snprintf(audit->who + strlen(audit->who), 24, " sudo=%s", sudo);
    *out = audit;
    return true;
}

/* Quoted, and whatever does not print, or would end the quotes, as \xNN. */
static void put_quoted(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < ' ' || c > '~' || c == '"' || c == '\\')
            fprintf(out, "\\x%02X", c);
        else
            fputc(c, out);
    }
    fputc('"', out);
}

static void put_head(struct hf_psk_audit *audit, const char *event)
{
    char text[HF_PSK_TIME_TEXT_MAX];
    fprintf(audit->lines, "ts=%s event=%s by=", hf_psk_print_time(text, (int64_t)time(NULL)),
            event);
    put_quoted(audit->lines, audit->who);
}

void hf_psk_audit_key(struct hf_psk_audit *audit, const char *event, struct hf_bytes identity)
{
    char text[HF_PSK_IDENTITY_TEXT_MAX];
    if (audit->written + audit->pending >= LINES_MAX) {
        audit->left_out++;
        return;
    }
    audit->pending++;
    put_head(audit, event);
    fputs(" identity=", audit->lines);
    put_quoted(audit->lines, hf_psk_print_identity(text, identity));
    fputc('\n', audit->lines);
}

void hf_psk_audit_command(struct hf_psk_audit *audit, const char *event, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    put_head(audit, event);
    fprintf(audit->lines, " %s", text);
    if (audit->left_out > 0)
        fprintf(audit->lines, " not_listed=%" PRIu64, audit->left_out);
    fputc('\n', audit->lines);
}

void hf_psk_audit_forget(struct hf_psk_audit *audit)
{
    rewind(audit->lines);
    audit->pending = 0;
}

bool hf_psk_audit_write(struct hf_psk_audit *audit)
{
    bool is_good = fflush(audit->lines) == 0;
    size_t len = (size_t)ftell(audit->lines);
    for (size_t at = 0; is_good && at < len;) {
        ssize_t written = write(audit->fd, audit->text + at, len - at);
        if (written < 0 && errno == EINTR)
            continue;
        is_good = written > 0;
        at += is_good ? (size_t)written : 0;
    }
    audit->written += audit->pending;
    hf_psk_audit_forget(audit);
    if (!is_good)
        fprintf(stderr,
                "handfastctl: the change was made, but " FILE_NAME
                " in the store could not be written: %s\n",
                strerror(errno));
    return is_good;
}

void hf_psk_audit_close(struct hf_psk_audit *audit)
{
    if (audit == NULL)
        return;
    if (audit->lines != NULL)
        fclose(audit->lines);
    free(audit->text);
    if (audit->fd >= 0)
        close(audit->fd);
    free(audit);
}
