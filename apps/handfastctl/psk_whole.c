/**
 * psk_whole.c - `psk check`, `psk backup` and `psk restore`: the store as a whole.
 */
#include "psk_private.h"

#include <inttypes.h>
#include <stdio.h>

static int tell(const struct hf_psk_options *options, const char *verb,
                const struct hf_keydb_report *report)
{
    if (options->is_json)
        printf("{\"%s\":true,\"keys\":%" PRIu64 ",\"pages\":%" PRIu64 ",\"pages_used\":%" PRIu64
               ",\"pages_free\":%" PRIu64 ",\"transaction\":%" PRIu64 "}\n",
               verb, report->keys, report->pages, report->pages_used, report->pages_free,
               report->transaction);
    else
        printf("%s: %" PRIu64 " keys, %" PRIu64 " of %" PRIu64 " pages in use\n", verb,
               report->keys, report->pages_used, report->pages);
    return 0;
}

int hf_psk_check(const struct hf_psk_options *options)
{
    struct hf_keydb *db = NULL;
    struct hf_keydb_report report;
    char error[HF_KEYDB_ERROR_MAX];
    if (options->name_count == 1)
        return hf_keydb_check_file(&report, error, options->names[0])
                   ? tell(options, "sound", &report)
                   : hf_psk_fail(error);
    bool is_sound = hf_keydb_open_checked(&db, &report, error, options->store, HF_KEYDB_READ);
    hf_keydb_close(db);
    return is_sound ? tell(options, "sound", &report) : hf_psk_fail(error);
}

int hf_psk_backup(const struct hf_psk_options *options)
{
    struct hf_keydb *db = NULL;
    struct hf_keydb_report report;
    char error[HF_KEYDB_ERROR_MAX];
    bool is_done = hf_keydb_open_checked(&db, &report, error, options->store, HF_KEYDB_READ) &&
                   hf_keydb_backup(&report, error, db, options->names[0], options->is_forced);
    hf_keydb_close(db);
    return is_done ? tell(options, "backed up", &report) : hf_psk_fail(error);
}

int hf_psk_restore(const struct hf_psk_options *options)
{
    struct hf_keydb_restore restored;
    struct hf_psk_audit *audit = NULL;
    char error[HF_KEYDB_ERROR_MAX];
    if (!hf_keydb_restore(&restored, error, options->store, options->names[0],
                          options->is_forced ? 100 : HF_PSK_REMOVE_PERCENT_MAX))
        return hf_psk_fail(error);
    /* The directory may not have been there before. */
    if (hf_psk_audit_open(&audit, error, options)) {
        hf_psk_audit_command(audit, "keys_restored",
                             "keys=%" PRIu64 " compared=%s removed_or_changed=%" PRIu64
                             " forced=%s",
                             restored.report.keys, restored.is_comparable ? "yes" : "no",
                             restored.keys_retired, options->is_forced ? "yes" : "no");
        (void)hf_psk_audit_write(audit);
    } else {
        fprintf(stderr, "handfastctl: restored, but not audited: %s/audit.log cannot be opened\n",
                options->store);
    }
    hf_psk_audit_close(audit);
    if (options->is_json)
        printf("{\"restored\":true,\"keys\":%" PRIu64 ",\"compared\":%s,\"keys_before\":%" PRIu64
               ",\"retired\":%" PRIu64 "}\n",
               restored.report.keys, restored.is_comparable ? "true" : "false",
               restored.keys_before, restored.keys_retired);
    else if (restored.is_comparable)
        printf("restored: %" PRIu64 " keys; %" PRIu64 " of the %" PRIu64 " before are no more\n",
               restored.report.keys, restored.keys_retired, restored.keys_before);
    else
        printf("restored: %" PRIu64 " keys; there was no sound store to compare with\n",
               restored.report.keys);
    return 0;
}
