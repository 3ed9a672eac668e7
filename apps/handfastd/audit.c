/**
 * audit.c - one write(2) a line, on the thread that did what it tells.
 */
#include "audit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct {
    pthread_mutex_t lock;
    _Atomic int fd;
    char path[4096];
    _Atomic uint64_t errors;
} audit = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1};

/* O_NONBLOCK: a FIFO without a reader is refused, one with a slow reader holds nobody up. */
static int open_file(void)
{
    return open(audit.path,
                O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW,
                0640);
}

bool hf_audit_open(const char *path)
{
    if (path[0] == '\0')
        return true;
    snprintf(audit.path, sizeof(audit.path), "%s", path);
    audit.fd = open_file();
    return audit.fd >= 0;
}

bool hf_audit_reopen(void)
{
    pthread_mutex_lock(&audit.lock);
    int fd = audit.fd < 0 ? -1 : open_file();
    bool is_good = audit.fd < 0 || fd >= 0;
    if (fd >= 0) {
        close(audit.fd);
        audit.fd = fd;
    }
    pthread_mutex_unlock(&audit.lock);
    return is_good;
}

void hf_audit_close(void)
{
    if (audit.fd >= 0)
        close(audit.fd);
    audit.fd = -1;
}

void hf_audit_begin(struct hf_log_line *line, const char *event)
{
    if (audit.fd >= 0)
        hf_log_begin_audit(line, event);
    else
        hf_log_begin(line, HF_LOG_NOTICE, HF_LOG_SLOT_UNLIMITED, event, NULL);
}

void hf_audit_end(struct hf_log_line *line)
{
    if (audit.fd < 0) {
        hf_log_end(line);
        return;
    }
    struct hf_bytes text = hf_log_finish(line);
    pthread_mutex_lock(&audit.lock);
    ssize_t written = write(audit.fd, text.data, text.len);
    int error = errno;
    pthread_mutex_unlock(&audit.lock);
    if (written == (ssize_t)text.len)
        return;
    audit.errors++;
    hf_log_message(HF_LOG_ERROR, "audit_failed", "%s: %s", audit.path,
                   written < 0 ? strerror(error) : "cut short");
}

uint64_t hf_audit_errors(void)
{
    return audit.errors;
}
