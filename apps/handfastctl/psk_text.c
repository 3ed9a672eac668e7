/**
 * psk_text.c - what people write and read: identities, times, files of keys.
 */
#include "psk_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define CHUNK_LEN ((size_t)1 << 20)
#define CONTENT_LEN_MAX ((size_t)UINT32_MAX - 64)

static bool fail(char *error, const char *file, const char *text)
{
    snprintf(error, HF_KEYDB_ERROR_MAX, "%.200s: %.250s", file, text);
    return false;
}

/* ---- files -------------------------------------------------------------------------------- */

/* Growing moves pages, it does not copy them: no second copy of a key is left behind. */
static bool grow(struct hf_psk_content *content)
{
    size_t len = content->mapped_len == 0 ? CHUNK_LEN : 2 * content->mapped_len;
    void *data = content->data == NULL
                     ? mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                     : mremap(content->data, content->mapped_len, len, MREMAP_MAYMOVE);
    if (data == MAP_FAILED)
        return false;
    content->data = data;
    content->mapped_len = len;
    (void)madvise(data, len, MADV_DONTDUMP);
    return true;
}

static bool read_all(struct hf_psk_content *content, char *error, const char *file, int fd)
{
    for (;;) {
        if (content->len == content->mapped_len && !grow(content))
            return fail(error, file, "no memory");
        ssize_t got = read(fd, content->data + content->len, content->mapped_len - content->len);
        if (got == 0)
            return true;
        if (got < 0 && errno != EINTR)
            return fail(error, file, strerror(errno));
        content->len += got > 0 ? (size_t)got : 0;
        if (content->len > CONTENT_LEN_MAX)
            return fail(error, file, "longer than 4 GiB");
    }
}

/* Whoever gives a key where a file's name belongs does not see it again in an error line. */
static const char *name_to_show(const char *file)
{
    size_t len = strlen(file);
    bool is_key = len >= 2 * HF_KEYDB_SECRET_MIN && strspn(file, "0123456789abcdefABCDEF") == len;
    return is_key ? "(the name looks like a key)" : file;
}

static int open_keys(char *error, const char *file)
{
    struct stat st;
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) != 0) {
        (void)fail(error, name_to_show(file), strerror(errno));
        return -1;
    }
    if (!S_ISREG(st.st_mode) || (st.st_mode & 077) == 0)
        return fd;
    (void)fail(error, file, "others than its owner may use it: chmod 600 it");
    close(fd);
    return -1;
}

bool hf_psk_content_read(struct hf_psk_content *out, char error[HF_KEYDB_ERROR_MAX],
                         const char *file)
{
    struct termios before;
    struct termios silent;
    memset(out, 0, sizeof(*out));
    bool is_input = strcmp(file, "-") == 0;
    int fd = is_input ? STDIN_FILENO : open_keys(error, file);
    if (fd < 0)
        return false;
    /* Typed keys do not appear on the terminal. */
    bool is_typed = is_input && tcgetattr(fd, &before) == 0;
    if (is_typed) {
        silent = before;
        silent.c_lflag &= ~(tcflag_t)ECHO;
        (void)tcsetattr(fd, TCSAFLUSH, &silent);
        fprintf(stderr, "key, in hexadecimal, then Enter and Ctrl-D: ");
    }
    bool is_read = read_all(out, error, is_input ? "standard input" : file, fd);
    if (is_typed) {
        (void)tcsetattr(fd, TCSAFLUSH, &before);
        fputc('\n', stderr);
    }
    if (!is_input)
        close(fd);
    if (!is_read)
        hf_psk_content_close(out);
    return is_read;
}

void hf_psk_content_close(struct hf_psk_content *content)
{
    if (content->data == NULL)
        return;
    explicit_bzero(content->data, content->mapped_len);
    munmap(content->data, content->mapped_len);
    memset(content, 0, sizeof(*content));
}

/* ---- times -------------------------------------------------------------------------------- */

bool hf_psk_parse_time(int64_t *out, const char *text)
{
    static const char *const formats[] = {"%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d"};
    char *end = NULL;
    errno = 0;
    long long seconds = strtoll(text, &end, 10);
    bool is_read = errno == 0 && end != text && *end == '\0';
    for (size_t i = 0; i < 2 && !is_read; i++) {
        struct tm parts = {0};
        const char *rest = strptime(text, formats[i], &parts);
        is_read = rest != NULL && *rest == '\0';
        seconds = timegm(&parts);
    }
    *out = seconds;
    return is_read && seconds >= 0 && seconds <= UINT32_MAX;
}

const char *hf_psk_print_time(char out[HF_PSK_TIME_TEXT_MAX], int64_t time_s)
{
    struct tm parts;
    time_t seconds = (time_t)time_s;
    if (time_s == 0 || gmtime_r(&seconds, &parts) == NULL)
        return "-";
    strftime(out, HF_PSK_TIME_TEXT_MAX, "%Y-%m-%dT%H:%M:%SZ", &parts);
    return out;
}

/* ---- identities --------------------------------------------------------------------------- */

static int digit_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

bool hf_psk_parse_identity(uint8_t out[HF_KEYDB_IDENTITY_MAX], size_t *out_len, const char *text,
                           size_t len)
{
    bool is_hex = len > 0 && text[0] == '#';
    *out_len = is_hex ? (len - 1) / 2 : len;
    if (*out_len == 0 || *out_len > HF_KEYDB_IDENTITY_MAX || (is_hex && len % 2 == 0))
        return false;
    if (!is_hex) {
        memcpy(out, text, len);
        return true;
    }
    for (size_t i = 0; i < *out_len; i++) {
        int high = digit_value(text[1 + 2 * i]);
        int low = digit_value(text[2 + 2 * i]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

const char *hf_psk_print_identity(char out[HF_PSK_IDENTITY_TEXT_MAX], struct hf_bytes identity)
{
    bool is_plain = identity.data[0] != '#';
    for (size_t i = 0; i < identity.len; i++)
        is_plain &= identity.data[i] > ' ' && identity.data[i] < 0x7F && identity.data[i] != ':';
    if (is_plain) {
        memcpy(out, identity.data, identity.len);
        out[identity.len] = '\0';
        return out;
    }
    out[0] = '#';
    for (size_t i = 0; i < identity.len; i++)
        snprintf(out + 1 + 2 * i, 3, "%02x", identity.data[i]);
    return out;
}
