/**
 * log.h - one line per event on stderr, for people and for machines; never blocks a shard.
 *
 * Lines go through a bounded queue to one writer thread: when stderr does not take them they are
 * dropped and counted. Events that strangers can cause are limited per reason and second; what was
 * left out is told in a "suppressed" line. One log a process. Keys never come here.
 */
#ifndef HF_LOG_H
#define HF_LOG_H

#include <handfast/status.h>

/** Severities, numbered as syslog does. */
enum hf_log_level {
    HF_LOG_ERROR = 3,
    HF_LOG_WARNING = 4,
    HF_LOG_NOTICE = 5,
    HF_LOG_INFO = 6,
    HF_LOG_DEBUG = 7,
};

enum hf_log_format {
    HF_LOG_AUTO = 0, /**< text on a terminal, logfmt elsewhere */
    HF_LOG_TEXT,
    HF_LOG_LOGFMT,
    HF_LOG_JSON,
};

/** How peers' identities appear. */
enum hf_log_identities {
    HF_LOG_IDENTITIES_PLAIN = 0,
    HF_LOG_IDENTITIES_HASHED, /**< as hf_pseudonym_text() gives them */
};

/** What is limited together. The last three take a status each: add it. */
enum hf_log_slot {
    HF_LOG_SLOT_UNLIMITED = 0,
    HF_LOG_SLOT_ESTABLISHED,
    HF_LOG_SLOT_RESPOND,
    HF_LOG_SLOT_MOVED,
    HF_LOG_SLOT_FLOOD,
    HF_LOG_SLOT_CLOSED,
    HF_LOG_SLOT_FAILED = HF_LOG_SLOT_CLOSED + HF_STATUS_COUNT,
    HF_LOG_SLOT_COUNT = HF_LOG_SLOT_FAILED + HF_STATUS_COUNT,
};

#define HF_LOG_LINE_MAX 1024

/** A line being built, on the caller's stack. */
struct hf_log_line {
    bool is_wanted;
    enum hf_log_format format;
    size_t len;
    char text[HF_LOG_LINE_MAX];
};

/** hf_log_open starts the writer. In: `per_second` lines of one reason; 0 = no limit. */
HF_MUST_USE bool hf_log_open(enum hf_log_level level, enum hf_log_format format,
                             uint32_t per_second);

/** hf_log_tune changes what may change while running. Thread: any. */
void hf_log_tune(enum hf_log_level level, uint32_t per_second, enum hf_log_identities identities);

/** hf_log_level_get gives the level in force. Thread: any. */
enum hf_log_level hf_log_level_get(void);

/** hf_log_close writes what is queued, for at most a second, and stops the writer. */
void hf_log_close(void);

/** hf_log_begin starts a line. In: `event` and `reason` (may be NULL) static text; `slot` an
 *  enum hf_log_slot, with a status added where it says so. */
void hf_log_begin(struct hf_log_line *line, enum hf_log_level level, uint32_t slot,
                  const char *event, const char *reason);

/** hf_log_text, _number, _address and _octets add "name=value"; octets are bounded and escaped. */
void hf_log_text(struct hf_log_line *line, const char *name, const char *value);
void hf_log_number(struct hf_log_line *line, const char *name, uint64_t value);
void hf_log_address(struct hf_log_line *line, const char *name, const struct hf_address *address);
void hf_log_octets(struct hf_log_line *line, const char *name, struct hf_bytes value);

/** hf_log_identity adds what names a peer, hashed if so configured. */
void hf_log_identity(struct hf_log_line *line, const char *name, struct hf_bytes value);

/** hf_log_credential likewise a Credential-ID "12-identity" (TS-0003 10.4): its number stays. */
void hf_log_credential(struct hf_log_line *line, const char *name, struct hf_bytes value);

/** hf_log_end queues the line. Thread: any. */
void hf_log_end(struct hf_log_line *line);

/** hf_log_begin_audit starts a line that is wanted at any level and rate and is no text for people;
 *  hf_log_finish makes it whole, line feed included, and gives its bytes. */
void hf_log_begin_audit(struct hf_log_line *line, const char *event);
struct hf_bytes hf_log_finish(struct hf_log_line *line);

/** hf_log_message logs one sentence as "message". */
void hf_log_message(enum hf_log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** Lines left out since the start. */
struct hf_log_counters {
    uint64_t suppressed; /**< over the limit of their reason */
    uint64_t dropped;    /**< stderr did not take them */
};

/** hf_log_counters_get copies them out. Thread: any. */
void hf_log_counters_get(struct hf_log_counters *out);

#endif
