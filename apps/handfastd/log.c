/**
 * log.c - builds lines, limits them per reason, and hands them to the writer thread.
 *
 * Invariant: no lock is held while stderr is written to, so whoever logs waits for a copy of one
 * line at most.
 */
#include "log.h"

#include "pseudonym.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define QUEUE_LINES 512 /* power of two */
#define OCTETS_MAX 160  /* of an identity, before escaping */
#define WRITE_BATCH 16

struct slot {
    const char *event;
    const char *reason;
    uint32_t lines; /* in this second */
    uint32_t suppressed;
};

struct queued_line {
    uint32_t len;
    char text[HF_LOG_LINE_MAX];
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t writer;
    bool is_open;
    bool is_stopping;
    bool is_journal;
    _Atomic enum hf_log_level level;
    _Atomic enum hf_log_identities identities;
    _Atomic uint32_t per_second;
    enum hf_log_format format;
    uint32_t head, tail; /* free-running */
    uint64_t dropped_untold;
    struct hf_log_counters counters;
    struct slot slots[HF_LOG_SLOT_COUNT];
    struct queued_line queue[QUEUE_LINES];
} log_state = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .wake = PTHREAD_COND_INITIALIZER,
    .level = HF_LOG_INFO,
};

/* ---- building a line ---------------------------------------------------------------------- */

/* The line feed, and the brace of JSON, find their place behind it. */
static size_t text_max(const struct hf_log_line *line)
{
    return sizeof(line->text) - (line->format == HF_LOG_JSON ? 2 : 1);
}

static void append(struct hf_log_line *line, const char *text, size_t len)
{
    size_t room = text_max(line) - line->len;
    size_t taken = len < room ? len : room;
    memcpy(line->text + line->len, text, taken);
    line->len += taken;
}

static void append_text(struct hf_log_line *line, const char *text)
{
    append(line, text, strlen(text));
}

static void append_escaped(struct hf_log_line *line, struct hf_bytes value)
{
    for (size_t i = 0; i < value.len; i++) {
        uint8_t c = value.data[i];
        char escaped[8];
        if (c == '"' || c == '\\')
            snprintf(escaped, sizeof(escaped), "\\%c", c);
        else if (c < 0x20 || c >= 0x7F) /* in JSON the backslash is one of the value's own */
            snprintf(escaped, sizeof(escaped), "%s\\x%02X", line->format == HF_LOG_JSON ? "\\" : "",
                     c);
        else
            snprintf(escaped, sizeof(escaped), "%c", c);
        append_text(line, escaped);
    }
}

static bool needs_quotes(struct hf_bytes value)
{
    for (size_t i = 0; i < value.len; i++)
        if (value.data[i] <= ' ' || value.data[i] >= 0x7F || strchr("\"=\\", value.data[i]))
            return true;
    return value.len == 0;
}

/* A field that does not fit whole would break a line of JSON: it is left out. */
static void append_json(struct hf_log_line *line, const char *name, struct hf_bytes value,
                        bool is_number)
{
    size_t len = line->len;
    append_text(line, ",\"");
    append_text(line, name);
    append_text(line, is_number ? "\":" : "\":\"");
    append_escaped(line, value);
    append_text(line, is_number ? "" : "\"");
    if (line->len >= text_max(line))
        line->len = len;
}

static void append_field(struct hf_log_line *line, const char *name, struct hf_bytes value,
                         bool is_number)
{
    if (!line->is_wanted)
        return;
    if (line->format == HF_LOG_JSON) {
        append_json(line, name, value, is_number);
        return;
    }
    bool is_quoted = needs_quotes(value);
    append_text(line, " ");
    append_text(line, name);
    append_text(line, is_quoted ? "=\"" : "=");
    append_escaped(line, value);
    if (is_quoted)
        append_text(line, "\"");
}

static const char *level_name(enum hf_log_level level)
{
    static const char *const names[] = {"error", "warning", "notice", "info", "debug"};
    return names[level - HF_LOG_ERROR];
}

static void append_head(struct hf_log_line *line, enum hf_log_level level, const char *event,
                        bool is_journal)
{
    char stamp[64] = "";
    time_t now = time(NULL);
    struct tm parts;
    bool is_json = line->format == HF_LOG_JSON;
    if (is_journal) {
        snprintf(stamp, sizeof(stamp), "<%d>", (int)level);
        append_text(line, stamp);
        snprintf(stamp, sizeof(stamp),
                 is_json ? "{\"level\":\"%s\"" : "level=%s event=", level_name(level));
    } else if (line->format == HF_LOG_TEXT && localtime_r(&now, &parts) != NULL) {
        size_t len = strftime(stamp, sizeof(stamp), "%H:%M:%S ", &parts);
        snprintf(stamp + len, sizeof(stamp) - len, "%-7s ", level_name(level));
    } else if (gmtime_r(&now, &parts) != NULL) {
        size_t len = strftime(
            stamp, sizeof(stamp),
            is_json ? "{\"ts\":\"%Y-%m-%dT%H:%M:%SZ\"," : "ts=%Y-%m-%dT%H:%M:%SZ ", &parts);
        snprintf(stamp + len, sizeof(stamp) - len,
                 is_json ? "\"level\":\"%s\"" : "level=%s event=", level_name(level));
    }
    append_text(line, stamp);
    if (is_json)
        hf_log_text(line, "event", event);
    else
        append_text(line, event);
}

/* Counts the line against its slot; true when it may be written. */
static bool slot_allows(uint32_t slot_index, const char *event, const char *reason)
{
    if (slot_index == HF_LOG_SLOT_UNLIMITED || slot_index >= HF_LOG_SLOT_COUNT ||
        log_state.per_second == 0)
        return true;
    pthread_mutex_lock(&log_state.lock);
    struct slot *slot = &log_state.slots[slot_index];
    bool is_allowed = slot->lines < log_state.per_second;
    slot->event = event;
    slot->reason = reason;
    if (is_allowed) {
        slot->lines++;
    } else {
        slot->suppressed++;
        log_state.counters.suppressed++;
    }
    pthread_mutex_unlock(&log_state.lock);
    return is_allowed;
}

void hf_log_begin(struct hf_log_line *line, enum hf_log_level level, uint32_t slot,
                  const char *event, const char *reason)
{
    line->len = 0;
    line->format = log_state.format;
    line->is_wanted = level <= log_state.level && slot_allows(slot, event, reason);
    if (!line->is_wanted)
        return;
    append_head(line, level, event, log_state.is_journal);
    if (reason != NULL)
        hf_log_text(line, "reason", reason);
}

void hf_log_begin_audit(struct hf_log_line *line, const char *event)
{
    line->len = 0;
    line->is_wanted = true;
    line->format = log_state.format == HF_LOG_JSON ? HF_LOG_JSON : HF_LOG_LOGFMT;
    append_head(line, HF_LOG_NOTICE, event, false);
}

void hf_log_text(struct hf_log_line *line, const char *name, const char *value)
{
    append_field(line, name, (struct hf_bytes){(const uint8_t *)value, strlen(value)}, false);
}

void hf_log_number(struct hf_log_line *line, const char *name, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof(text), "%" PRIu64, value);
    append_field(line, name, (struct hf_bytes){(const uint8_t *)text, strlen(text)}, true);
}

void hf_log_address(struct hf_log_line *line, const char *name, const struct hf_address *address)
{
    if (!line->is_wanted)
        return;
    char text[HF_ADDRESS_TEXT_MAX];
    hf_log_text(line, name, hf_address_print(text, address));
}

void hf_log_octets(struct hf_log_line *line, const char *name, struct hf_bytes value)
{
    bool is_cut = value.len > OCTETS_MAX;
    if (is_cut)
        value.len = OCTETS_MAX;
    append_field(line, name, value, false);
    if (!is_cut || !line->is_wanted)
        return;
    if (line->format == HF_LOG_JSON && line->text[line->len - 1] == '"') {
        line->len--;
        append_text(line, "...\"");
    } else if (line->format != HF_LOG_JSON) {
        append_text(line, "...");
    }
}

void hf_log_identity(struct hf_log_line *line, const char *name, struct hf_bytes value)
{
    char text[HF_PSEUDONYM_TEXT_MAX];
    if (log_state.identities == HF_LOG_IDENTITIES_HASHED)
        hf_log_text(line, name, hf_pseudonym_text(text, value));
    else
        hf_log_octets(line, name, value);
}

void hf_log_credential(struct hf_log_line *line, const char *name, struct hf_bytes value)
{
    char text[8 + HF_PSEUDONYM_TEXT_MAX];
    const uint8_t *dash = value.len == 0 ? NULL : memchr(value.data, '-', value.len);
    size_t len = dash == NULL ? 0 : (size_t)(dash - value.data) + 1;
    if (log_state.identities != HF_LOG_IDENTITIES_HASHED || len > 8) {
        hf_log_identity(line, name, value);
        return;
    }
    memcpy(text, value.data, len);
    (void)hf_pseudonym_text(text + len, (struct hf_bytes){value.data + len, value.len - len});
    hf_log_text(line, name, text);
}

/* ---- the queue ---------------------------------------------------------------------------- */

static void enqueue(const struct hf_log_line *line)
{
    pthread_mutex_lock(&log_state.lock);
    if (log_state.tail - log_state.head == QUEUE_LINES) {
        log_state.counters.dropped++;
        log_state.dropped_untold++;
    } else {
        struct queued_line *queued = &log_state.queue[log_state.tail % QUEUE_LINES];
        memcpy(queued->text, line->text, line->len);
        queued->len = (uint32_t)line->len;
        log_state.tail++;
        pthread_cond_signal(&log_state.wake);
    }
    pthread_mutex_unlock(&log_state.lock);
}

struct hf_bytes hf_log_finish(struct hf_log_line *line)
{
    if (line->format == HF_LOG_JSON)
        line->text[line->len++] = '}';
    line->text[line->len++] = '\n';
    return (struct hf_bytes){(const uint8_t *)line->text, line->len};
}

void hf_log_end(struct hf_log_line *line)
{
    if (!line->is_wanted)
        return;
    (void)hf_log_finish(line);
    enqueue(line);
}

void hf_log_message(enum hf_log_level level, const char *event, const char *format, ...)
{
    char text[HF_LOG_LINE_MAX / 2];
    struct hf_log_line line;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    hf_log_begin(&line, level, HF_LOG_SLOT_UNLIMITED, event, NULL);
    if (line.is_wanted && log_state.format == HF_LOG_TEXT && !log_state.is_journal) {
        append_text(&line, ": ");
        append_escaped(&line, (struct hf_bytes){(const uint8_t *)text, strlen(text)});
    } else {
        hf_log_text(&line, "message", text);
    }
    hf_log_end(&line);
}

/* ---- the writer --------------------------------------------------------------------------- */

static void write_all(const char *data, size_t len)
{
    while (len > 0) {
        ssize_t written = write(STDERR_FILENO, data, len);
        if (written < 0 && errno != EINTR && errno != EAGAIN)
            return;
        if (written < 0 && errno == EAGAIN) /* somebody made stderr non-blocking */
            nanosleep(&(struct timespec){0, 10 * 1000 * 1000}, NULL);
        if (written > 0) {
            data += written;
            len -= (size_t)written;
        }
    }
}

/* Takes up to WRITE_BATCH lines; gives the bytes taken. Called with the lock held. */
static size_t take_lines(char *out)
{
    size_t len = 0;
    for (int i = 0; i < WRITE_BATCH && log_state.head != log_state.tail; i++) {
        const struct queued_line *queued = &log_state.queue[log_state.head++ % QUEUE_LINES];
        memcpy(out + len, queued->text, queued->len);
        len += queued->len;
    }
    return len;
}

/* Once a second: every slot may speak again, and what it swallowed is told. */
static void tell_suppressed(void)
{
    for (uint32_t i = 0; i < HF_LOG_SLOT_COUNT; i++) {
        pthread_mutex_lock(&log_state.lock);
        struct slot slot = log_state.slots[i];
        log_state.slots[i] = (struct slot){0};
        pthread_mutex_unlock(&log_state.lock);
        if (slot.suppressed == 0)
            continue;
        struct hf_log_line line;
        hf_log_begin(&line, HF_LOG_NOTICE, HF_LOG_SLOT_UNLIMITED, "suppressed", slot.reason);
        hf_log_number(&line, "lines", slot.suppressed);
        hf_log_text(&line, "of", slot.event);
        hf_log_end(&line);
    }
    pthread_mutex_lock(&log_state.lock);
    uint64_t dropped = log_state.dropped_untold;
    log_state.dropped_untold = 0;
    pthread_mutex_unlock(&log_state.lock);
    if (dropped > 0) {
        struct hf_log_line line;
        hf_log_begin(&line, HF_LOG_WARNING, HF_LOG_SLOT_UNLIMITED, "log_dropped", NULL);
        hf_log_number(&line, "lines", dropped);
        hf_log_end(&line);
    }
}

static void *write_lines(void *arg)
{
    (void)arg;
    static char batch[WRITE_BATCH * HF_LOG_LINE_MAX];
    struct timespec tick;
    clock_gettime(CLOCK_REALTIME, &tick);
    tick.tv_sec++;
    for (;;) {
        pthread_mutex_lock(&log_state.lock);
        int waited = 0;
        while (log_state.head == log_state.tail && !log_state.is_stopping && waited == 0)
            waited = pthread_cond_timedwait(&log_state.wake, &log_state.lock, &tick);
        bool is_done = log_state.is_stopping && log_state.head == log_state.tail;
        size_t len = take_lines(batch);
        pthread_mutex_unlock(&log_state.lock);
        write_all(batch, len);
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        if (now.tv_sec >= tick.tv_sec || now.tv_sec + 2 < tick.tv_sec || is_done) {
            tell_suppressed();
            tick = (struct timespec){now.tv_sec + 1, now.tv_nsec};
        }
        if (is_done)
            break;
    }
    pthread_mutex_lock(&log_state.lock);
    size_t len = take_lines(batch); /* what the last look at the slots had to tell */
    pthread_mutex_unlock(&log_state.lock);
    write_all(batch, len);
    return NULL;
}

/* systemd says which stream is its journal: JOURNAL_STREAM=device:inode. */
static bool is_stderr_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat st;
    char own[64];
    if (stream == NULL || fstat(STDERR_FILENO, &st) != 0)
        return false;
    snprintf(own, sizeof(own), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    return strcmp(stream, own) == 0;
}

bool hf_log_open(enum hf_log_level level, enum hf_log_format format, uint32_t per_second)
{
    log_state.level = level;
    log_state.is_journal = is_stderr_journal();
    log_state.format = format;
    if (format == HF_LOG_AUTO)
        log_state.format = isatty(STDERR_FILENO) ? HF_LOG_TEXT : HF_LOG_LOGFMT;
    log_state.per_second = per_second;
    log_state.is_stopping = false;
    log_state.is_open = pthread_create(&log_state.writer, NULL, write_lines, NULL) == 0;
    return log_state.is_open;
}

void hf_log_tune(enum hf_log_level level, uint32_t per_second, enum hf_log_identities identities)
{
    log_state.level = level;
    log_state.per_second = per_second;
    log_state.identities = identities;
}

enum hf_log_level hf_log_level_get(void)
{
    return log_state.level;
}

void hf_log_close(void)
{
    if (!log_state.is_open)
        return;
    pthread_mutex_lock(&log_state.lock);
    log_state.is_stopping = true;
    pthread_cond_signal(&log_state.wake);
    pthread_mutex_unlock(&log_state.lock);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec++;
    /* A writer that hangs on a full pipe is left behind: the process ends anyway. */
    if (pthread_timedjoin_np(log_state.writer, NULL, &until) == 0)
        log_state.is_open = false;
}

void hf_log_counters_get(struct hf_log_counters *out)
{
    pthread_mutex_lock(&log_state.lock);
    *out = log_state.counters;
    pthread_mutex_unlock(&log_state.lock);
}
