/**
 * psk_add.c - `psk add` and `psk import`: one key or a file of them, in transactions of at most
 * 10,000. A key counts as added once its transaction is on disk, not before.
 */
#include "psk_private.h"

#include <handfast/keyfile.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct import {
    const struct hf_psk_options *options;
    const struct hf_keyfile *keyfile;
    struct hf_keydb *db;
    struct hf_psk_audit *audit;
    uint64_t total, pending;             /* pending: in the transaction under way */
    uint64_t added, replaced, unchanged; /* committed */
    uint64_t batch[3];                   /* likewise, not yet */
    uint64_t conflicts;
    char first_conflict[HF_PSK_IDENTITY_TEXT_MAX];
    bool has_failed;
    char error[HF_KEYDB_ERROR_MAX];
};

static void fill_key(struct hf_keydb_key *out, const struct import *import,
                     const struct hf_answer *answer, struct hf_bytes identity)
{
    const struct hf_psk_options *options = import->options;
    const char *authority = options->authority == NULL ? "" : options->authority;
    *out = (struct hf_keydb_key){
        .identity = identity,
        .secret = answer->secret,
        .entity_id = answer->entity_id,
        .entity_kind = answer->entity_kind,
        .authority = {(const uint8_t *)authority, strlen(authority)},
        .not_before_s = options->not_before_s,
        .not_after_s = options->not_after_s,
    };
}

/* ---- before anything is written ----------------------------------------------------------- */

/* Another key under an identity: without --replace, that refuses all of it. */
static void look_for_conflict(const struct hf_keyfile_difference *difference, void *arg)
{
    struct import *import = arg;
    struct hf_keydb_key before;
    struct hf_answer answer;
    uint8_t scratch[HF_CREDENTIAL_ID_MAX];
    if (import->has_failed)
        return;
    enum hf_keydb_found found =
        hf_keydb_get(&before, import->error, import->db, difference->psk_identity);
    import->has_failed = found == HF_KEYDB_DAMAGED;
    if (found != HF_KEYDB_FOUND)
        return;
    hf_keyfile_answer(&answer, scratch, import->keyfile, difference->psk_identity);
    if (before.secret.len == answer.secret.len &&
        memcmp(before.secret.data, answer.secret.data, answer.secret.len) == 0 &&
        before.entity_id.len == answer.entity_id.len &&
        (answer.entity_id.len == 0 ||
         memcmp(before.entity_id.data, answer.entity_id.data, answer.entity_id.len) == 0) &&
        before.not_after_s == import->options->not_after_s &&
        before.not_before_s == import->options->not_before_s)
        return;
    if (import->conflicts++ == 0)
        (void)hf_psk_print_identity(import->first_conflict, difference->psk_identity);
}

/* What is replaced ends associations as what is removed does. */
static bool is_replacement_allowed(struct import *import)
{
    uint64_t keys = hf_keydb_count(import->db);
    if (import->options->is_one || import->options->is_forced ||
        import->conflicts * 100 <= keys * HF_PSK_REMOVE_PERCENT_MAX)
        return true;
    snprintf(import->error, sizeof(import->error),
             "%.200s: would replace %llu of %llu keys, more than %d %%: --force does it; nothing "
             "was written",
             import->options->store, (unsigned long long)import->conflicts,
             (unsigned long long)keys, HF_PSK_REMOVE_PERCENT_MAX);
    return false;
}

static bool has_no_conflict(struct import *import, const struct hf_keyfile *empty)
{
    if (!hf_keydb_begin_read(import->db, import->error))
        return false;
    hf_keyfile_compare(empty, import->keyfile, look_for_conflict, import);
    hf_keydb_end_read(import->db);
    if (import->has_failed || import->conflicts == 0)
        return !import->has_failed;
    if (import->options->may_replace)
        return is_replacement_allowed(import);
    snprintf(import->error, sizeof(import->error),
             "%.200s: %llu identities have another key already, the first of them %.150s; "
             "--replace overwrites, nothing was written",
             import->options->store, (unsigned long long)import->conflicts, import->first_conflict);
    return false;
}

/* ---- writing ------------------------------------------------------------------------------ */

static void commit(struct import *import)
{
    import->has_failed = !hf_keydb_commit(import->db, import->error);
    if (import->has_failed) {
        hf_psk_audit_forget(import->audit);
        return;
    }
    (void)hf_psk_audit_write(import->audit);
    import->added += import->batch[HF_KEYDB_ADDED];
    import->replaced += import->batch[HF_KEYDB_REPLACED];
    import->unchanged += import->batch[HF_KEYDB_UNCHANGED];
    memset(import->batch, 0, sizeof(import->batch));
    import->pending = 0;
    if (import->options->is_progress_shown)
        fprintf(stderr, "committed %llu of %llu\n",
                0ULL + import->added + import->replaced + import->unchanged,
                (unsigned long long)import->total);
}

static void put(const struct hf_keyfile_difference *difference, void *arg)
{
    struct import *import = arg;
    struct hf_answer answer;
    struct hf_keydb_key key;
    uint8_t scratch[HF_CREDENTIAL_ID_MAX];
    if (import->has_failed)
        return;
    if (import->pending == 0 && !hf_keydb_begin(import->db, import->error)) {
        import->has_failed = true;
        return;
    }
    hf_keyfile_answer(&answer, scratch, import->keyfile, difference->psk_identity);
    fill_key(&key, import, &answer, difference->psk_identity);
    enum hf_keydb_put result =
        hf_keydb_put(import->db, import->error, &key, import->options->may_replace);
    if (result == HF_KEYDB_EXISTS)
        snprintf(import->error, sizeof(import->error),
                 "%.200s: somebody else wrote the same identities meanwhile",
                 import->options->store);
    import->has_failed = result == HF_KEYDB_EXISTS || result == HF_KEYDB_FAILED;
    if (import->has_failed) {
        hf_keydb_abort(import->db);
        hf_psk_audit_forget(import->audit);
        return;
    }
    import->batch[result]++;
    if (result != HF_KEYDB_UNCHANGED)
        hf_psk_audit_key(import->audit, result == HF_KEYDB_ADDED ? "key_added" : "key_changed",
                         difference->psk_identity);
    if (++import->pending == HF_KEYDB_PUTS_MAX)
        commit(import);
}

static bool write_all(struct import *import, const struct hf_keyfile *empty)
{
    struct hf_keydb_report report;
    if (!hf_keydb_open_checked(&import->db, &report, import->error, import->options->store,
                               HF_KEYDB_CREATE) ||
        !hf_psk_audit_open(&import->audit, import->error, import->options) ||
        !has_no_conflict(import, empty))
        return false;
    hf_keyfile_compare(empty, import->keyfile, put, import);
    if (!import->has_failed && import->pending > 0)
        commit(import);
    hf_psk_audit_command(import->audit, "keys_changed",
                         "added=%llu changed=%llu unchanged=%llu complete=%s",
                         (unsigned long long)import->added, (unsigned long long)import->replaced,
                         (unsigned long long)import->unchanged, import->has_failed ? "no" : "yes");
    (void)hf_psk_audit_write(import->audit);
    return !import->has_failed;
}

static int tell(const struct import *import, bool is_done)
{
    uint64_t written = import->added + import->replaced;
    if (import->options->is_json)
        printf("{\"added\":%llu,\"replaced\":%llu,\"unchanged\":%llu,\"complete\":%s}\n",
               (unsigned long long)import->added, (unsigned long long)import->replaced,
               (unsigned long long)import->unchanged, is_done ? "true" : "false");
    else if (is_done || written > 0)
        printf("%llu added, %llu replaced, %llu unchanged%s\n", (unsigned long long)import->added,
               (unsigned long long)import->replaced, (unsigned long long)import->unchanged,
               is_done ? "" : ": not all of them");
    return is_done ? 0 : hf_psk_fail(import->error);
}

/* The text is wiped as soon as it is parsed. In: `text` holds one key file. */
static int import_text(const struct hf_psk_options *options, struct hf_psk_content *content,
                       const char *name)
{
    struct import *import = calloc(1, sizeof(*import));
    struct hf_keyfile *keyfile = NULL;
    struct hf_keyfile *empty = NULL;
    char reason[HF_KEYFILE_ERROR_MAX];
    if (import == NULL)
        return hf_psk_fail("no memory");
    enum hf_status status =
        hf_keyfile_open(&keyfile, reason, (struct hf_bytes){content->data, content->len});
    hf_psk_content_close(content);
    if (status == HF_OK)
        status = hf_keyfile_open(&empty, reason, (struct hf_bytes){NULL, 0});
    import->options = options;
    import->keyfile = keyfile;
    if (status != HF_OK)
        snprintf(import->error, sizeof(import->error), "%.200s: %.250s", name, reason);
    else
        import->total = hf_keyfile_count(keyfile);
    int result = tell(import, status == HF_OK && write_all(import, empty));
    hf_psk_audit_close(import->audit);
    hf_keydb_close(import->db);
    hf_keyfile_close(empty);
    hf_keyfile_close(keyfile);
    free(import);
    return result;
}

int hf_psk_import(const struct hf_psk_options *options)
{
    struct hf_psk_content content;
    char error[HF_KEYDB_ERROR_MAX];
    const char *file = options->name_count == 0 ? "-" : options->names[0];
    if (!hf_psk_content_read(&content, error, file))
        return hf_psk_fail(error);
    return import_text(options, &content, strcmp(file, "-") == 0 ? "standard input" : file);
}

/* ---- one key ------------------------------------------------------------------------------ */

/* Makes the line a key file would have: its parser judges key and entity-id. */
static bool make_line(struct hf_psk_content *line, char *error,
                      const struct hf_psk_options *options, const struct hf_psk_content *key)
{
    uint8_t identity[HF_KEYDB_IDENTITY_MAX];
    size_t identity_len = 0;
    size_t begin = 0;
    size_t end = key->len;
    const char *name = options->names[0];
    const char *entity_id = options->entity_id;
    while (end > 0 && strchr(" \t\r\n", key->data[end - 1]) != NULL)
        end--;
    while (begin < end && strchr(" \t\r\n", key->data[begin]) != NULL)
        begin++;
    if (!hf_psk_parse_identity(identity, &identity_len, name, strlen(name)) || end - begin > 256 ||
        (entity_id != NULL && strlen(entity_id) > HF_ENTITY_ID_MAX)) {
        snprintf(error, HF_KEYDB_ERROR_MAX,
                 "the identity is 1 to 1024 bytes, or '#' and hexadecimal digits; the key at most "
                 "128 hexadecimal digits; the entity-id at most 512 bytes");
        return false;
    }
    char *out = (char *)line->data;
    size_t len = 0;
    out[len++] = '#';
    for (size_t i = 0; i < identity_len; i++, len += 2)
        snprintf(out + len, 3, "%02x", identity[i]);
    out[len++] = ':';
    memcpy(out + len, key->data + begin, end - begin);
    len += end - begin;
    if (entity_id != NULL)
        len += (size_t)snprintf(out + len, line->mapped_len - len, ":%s", entity_id);
    line->len = len;
    return true;
}

int hf_psk_add(const struct hf_psk_options *options)
{
    struct hf_psk_content key;
    struct hf_psk_content line;
    char error[HF_KEYDB_ERROR_MAX];
    const char *file = options->key_file == NULL ? "-" : options->key_file;
    if (!hf_psk_content_read(&key, error, file))
        return hf_psk_fail(error);
    if (!hf_psk_content_read(&line, error, "/dev/null")) {
        hf_psk_content_close(&key);
        return hf_psk_fail(error);
    }
    bool is_made = make_line(&line, error, options, &key);
    hf_psk_content_close(&key);
    struct hf_psk_options one = *options;
    one.is_one = true;
    if (is_made)
        return import_text(&one, &line, "the key");
    hf_psk_content_close(&line);
    return hf_psk_fail(error);
}
