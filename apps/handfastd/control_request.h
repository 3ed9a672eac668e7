/**
 * control_request.h - one line of JSON from the control socket, checked before anything looks at
 * it.
 *
 * Plain parsing, no state: fuzz/control_request.c feeds it anything.
 */
#ifndef HF_CONTROL_REQUEST_H
#define HF_CONTROL_REQUEST_H

#include <handfast/engine.h>

#define HF_CONTROL_LINE_MAX 65536 /**< bytes of a request, its line feed included */
#define HF_CONTROL_TEXT_MAX 1100
#define HF_CONTROL_REASON_MAX 160
#define HF_CONTROL_DRAIN_SECONDS 60 /**< by default */
#define HF_CONTROL_LIST_MAX 200     /**< associations of one answer */

enum hf_control_command {
    HF_CONTROL_STATUS = 0,
    HF_CONTROL_RELOAD,
    HF_CONTROL_LOG_LEVEL,
    HF_CONTROL_ASSOC_LIST,
    HF_CONTROL_ASSOC_SHOW,
    HF_CONTROL_ASSOC_CLOSE,
    HF_CONTROL_WHY,
    HF_CONTROL_HASH,
    HF_CONTROL_REVOKE,
    HF_CONTROL_RESTART,
    HF_CONTROL_DRAIN,
    HF_CONTROL_COMMAND_COUNT,
};

struct hf_control_request {
    enum hf_control_command command;
    bool force;                    /**< reload */
    int level;                     /**< log-level: a severity of syslog; -1: only ask */
    hf_association_id association; /**< assoc-show, assoc-close */
    uint32_t limit;                /**< assoc-list */
    uint32_t seconds;              /**< drain: the longest it may last */
    uint64_t cursor;               /**< assoc-list: where the last answer ended; 0: the beginning */
    char text[HF_CONTROL_TEXT_MAX]; /**< assoc-list: what to look for; why, hash, revoke: an
                                         identity */
    size_t text_len;
};

/** hf_control_request_parse reads one line, without its line feed. On false `reason` holds one. */
HF_MUST_USE bool hf_control_request_parse(struct hf_control_request *out,
                                          char reason[HF_CONTROL_REASON_MAX], const char *line,
                                          size_t len);

/** hf_control_command_name gives its name in a request. */
const char *hf_control_command_name(enum hf_control_command command);

/** hf_control_command_changes tells whether it belongs into the audit log. */
bool hf_control_command_changes(const struct hf_control_request *request);

#endif
