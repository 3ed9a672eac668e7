/**
 * keylog.c - "CLIENT_RANDOM <random> <master secret>", as NSS writes it and Wireshark reads it.
 */
#include "keylog.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int hf_keylog_open(const char *path)
{
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
}

static char *append_hex(char *out, const uint8_t *data, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        *out++ = digits[data[i] >> 4];
        *out++ = digits[data[i] & 15];
    }
    return out;
}

void hf_keylog_write(int fd, const struct hf_event *event)
{
    static const char label[] = "CLIENT_RANDOM ";
    char line[sizeof(label) + 2 * sizeof(event->client_random) + 1 +
              2 * sizeof(event->master_secret) + 1];
    memcpy(line, label, sizeof(label) - 1);
    char *end =
        append_hex(line + sizeof(label) - 1, event->client_random, sizeof(event->client_random));
    *end++ = ' ';
    end = append_hex(end, event->master_secret, sizeof(event->master_secret));
    *end++ = '\n';
    /* A log that cannot be written (full disk) must not disturb the associations. */
    ssize_t written = write(fd, line, (size_t)(end - line));
    (void)written;
    explicit_bzero(line, sizeof(line));
}
