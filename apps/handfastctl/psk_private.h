/**
 * psk_private.h - `handfastctl psk`: keys in an LMDB store, while the daemon runs or not.
 *
 * Keys come from standard input or a file, never from the command line, and are never printed. All
 * work on a store happens in a child process: a damaged file may end it, and then costs a line.
 */
#ifndef HF_CTL_PSK_PRIVATE_H
#define HF_CTL_PSK_PRIVATE_H

#include "keydb.h"
#include "psk.h"

#include <stdio.h>

#define HF_PSK_STORE_DEFAULT "/var/lib/handfast/keys"
#define HF_PSK_REMOVE_PERCENT_MAX 10 /* of the keys, by one command without --force */
#define HF_PSK_EXIT_FAILED 1
#define HF_PSK_EXIT_USAGE 2

/** hf_psk_usage prints one line for each subcommand. */
void hf_psk_usage(FILE *out);

/** The command line, understood. */
struct hf_psk_options {
    const char *store, *key_file, *from, *match;
    const char *entity_id, *authority;
    int64_t not_before_s, not_after_s;
    uint64_t limit;
    bool is_json, is_forced, may_replace, is_progress_shown;
    bool is_one;  /* the key was named on the command line: no limit on how many may go */
    char **names; /* what is left: identities, or a file */
    int name_count;
};

/** hf_psk_fail prints "handfastctl: error" and returns HF_PSK_EXIT_FAILED. */
int hf_psk_fail(const char *error);

int hf_psk_add(const struct hf_psk_options *options);
int hf_psk_import(const struct hf_psk_options *options);
int hf_psk_list(const struct hf_psk_options *options);
int hf_psk_remove(const struct hf_psk_options *options);
int hf_psk_check(const struct hf_psk_options *options);
int hf_psk_backup(const struct hf_psk_options *options);
int hf_psk_restore(const struct hf_psk_options *options);

/* ---- who changed what ------------------------------------------------------------------------ */

struct hf_psk_audit;

/** hf_psk_audit_open opens DIR/audit.log for appending; the store must exist. Nothing may be
 *  changed if it cannot. */
HF_MUST_USE bool hf_psk_audit_open(struct hf_psk_audit **out, char error[HF_KEYDB_ERROR_MAX],
                                   const struct hf_psk_options *options);

/** hf_psk_audit_key keeps one line about a key ("key_added" ...), a thousand of a command. */
void hf_psk_audit_key(struct hf_psk_audit *audit, const char *event, struct hf_bytes identity);

/** hf_psk_audit_command keeps the line about the command as a whole: "name=value ...". */
void hf_psk_audit_command(struct hf_psk_audit *audit, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** hf_psk_audit_write writes what was kept: the change is on disk. On false standard error has
 *  it. */
bool hf_psk_audit_write(struct hf_psk_audit *audit);

/** hf_psk_audit_forget forgets it: the change was not made. */
void hf_psk_audit_forget(struct hf_psk_audit *audit);

/** hf_psk_audit_close releases all; NULL is allowed. */
void hf_psk_audit_close(struct hf_psk_audit *audit);

/* ---- text ----------------------------------------------------------------------------------- */

/** Bytes in a mapping of their own, kept out of core dumps. */
struct hf_psk_content {
    uint8_t *data;
    size_t len, mapped_len;
};

/** hf_psk_content_read reads a file with mode 0600, or standard input for "-". */
HF_MUST_USE bool hf_psk_content_read(struct hf_psk_content *out, char error[HF_KEYDB_ERROR_MAX],
                                     const char *file);

/** hf_psk_content_close wipes it. */
void hf_psk_content_close(struct hf_psk_content *content);

/** hf_psk_parse_time reads UTC: seconds since 1970, "2027-01-31" or "2027-01-31T12:00:00Z". */
HF_MUST_USE bool hf_psk_parse_time(int64_t *out, const char *text);

/** hf_psk_parse_identity reads it as a key file writes it: '#' and hexadecimal digits, or plain. */
HF_MUST_USE bool hf_psk_parse_identity(uint8_t out[HF_KEYDB_IDENTITY_MAX], size_t *out_len,
                                       const char *text, size_t len);

/** hf_psk_print_identity writes it as a key file does. */
#define HF_PSK_IDENTITY_TEXT_MAX (2 * HF_KEYDB_IDENTITY_MAX + 2)
const char *hf_psk_print_identity(char out[HF_PSK_IDENTITY_TEXT_MAX], struct hf_bytes identity);

/** hf_psk_print_time writes "2027-01-31T12:00:00Z", or "-" for 0. */
#define HF_PSK_TIME_TEXT_MAX 32
const char *hf_psk_print_time(char out[HF_PSK_TIME_TEXT_MAX], int64_t time_s);

#endif
