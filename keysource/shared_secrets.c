/**
 * shared_secrets.c - the file of dated secrets that the nodes behind a balancer share (see
 * <handfast/session.h>): read, printed, rotated. Reading files and telling time is the caller's.
 *
 * Invariant: entries are sorted, newest first, no two of one moment.
 */
#include <handfast/session.h>

#include "calendar.h"
#include "crypto.h"
#include "keytext.h"

#include <stdio.h>
#include <string.h>

#define HEX_LEN (2 * HF_SHARED_SECRET_LEN)
#define LINE_LEN (HF_CALENDAR_LEN + 2 + HEX_LEN) /* the Z and a space */

/* Puts an entry where its time belongs. False: there is one of that time. In: room for it. */
static bool insert(struct hf_shared_secrets *secrets, const struct hf_shared_secret *entry)
{
    uint32_t at = 0;
    while (at < secrets->count && secrets->entries[at].from_s > entry->from_s)
        at++;
    if (at < secrets->count && secrets->entries[at].from_s == entry->from_s)
        return false;
    memmove(&secrets->entries[at + 1], &secrets->entries[at],
            (secrets->count - at) * sizeof(secrets->entries[0]));
    secrets->entries[at] = *entry;
    secrets->count++;
    return true;
}

static const char *parse_line(struct hf_shared_secrets *secrets, struct hf_bytes line)
{
    const char *text = (const char *)line.data;
    struct hf_shared_secret entry;
    struct hf_bytes digits = {line.data + LINE_LEN - HEX_LEN, HEX_LEN};
    if (line.len != LINE_LEN || text[HF_CALENDAR_LEN] != 'Z' || text[HF_CALENDAR_LEN + 1] != ' ')
        return "not `YYYYMMDDThhmmssZ` and 64 hexadecimal digits";
    if (!hf_calendar_read(&entry.from_s, text))
        return "no such date";
    if (!hf_keytext_is_hex(digits))
        return "not a hexadecimal secret";
    if (secrets->count == HF_SHARED_SECRETS_MAX)
        return "more than 8 secrets";
    hf_keytext_decode_hex(entry.secret, digits);
    bool is_new = insert(secrets, &entry);
    hf_wipe(&entry, sizeof(entry));
    return is_new ? NULL : "a second secret for the same moment";
}

const struct hf_shared_secret *hf_shared_secrets_active(const struct hf_shared_secrets *secrets,
                                                        int64_t wall_s)
{
    uint32_t i = 0;
    while (i + 1 < secrets->count && secrets->entries[i].from_s > wall_s)
        i++;
    return &secrets->entries[i];
}

enum hf_status hf_shared_secrets_parse(struct hf_shared_secrets *out, size_t *line,
                                       const char **why, struct hf_bytes text)
{
    *out = (struct hf_shared_secrets){0};
    *line = 0;
    *why = NULL;
    for (size_t at = 0; at < text.len && *why == NULL;) {
        const uint8_t *begin = text.data + at;
        const uint8_t *end = memchr(begin, '\n', text.len - at);
        size_t len = end != NULL ? (size_t)(end - begin) : text.len - at;
        at += len + 1;
        ++*line;
        if (len > 0 && begin[0] != '#')
            *why = parse_line(out, (struct hf_bytes){begin, len});
    }
    if (*why == NULL && out->count == 0)
        *why = "no secret in it";
    if (*why == NULL)
        return HF_OK;
    hf_wipe(out, sizeof(*out));
    return HF_E_CONFIG;
}

enum hf_status hf_shared_secrets_rotate(struct hf_shared_secrets *secrets, int64_t from_s,
                                        int64_t keep_s)
{
    struct hf_shared_secret entry = {.from_s = from_s};
    for (uint32_t i = 0; i < secrets->count; i++)
        if (secrets->entries[i].from_s == from_s)
            return HF_E_ARGUMENT;
    /* An entry is out of use from the moment the next newer one became active. */
    while (secrets->count > 1 && secrets->entries[secrets->count - 2].from_s < keep_s)
        hf_wipe(&secrets->entries[--secrets->count], sizeof(entry));
    if (secrets->count == HF_SHARED_SECRETS_MAX)
        hf_wipe(&secrets->entries[--secrets->count], sizeof(entry));
    hf_random(entry.secret, sizeof(entry.secret));
    bool is_new = insert(secrets, &entry);
    hf_wipe(&entry, sizeof(entry));
    return is_new ? HF_OK : HF_E_ARGUMENT;
}

size_t hf_shared_secrets_print(char out[HF_SHARED_SECRETS_TEXT_MAX],
                               const struct hf_shared_secrets *secrets)
{
    static const char digits[] = "0123456789abcdef";
    size_t len = 0;
    for (uint32_t i = 0; i < secrets->count && i < HF_SHARED_SECRETS_MAX; i++) {
        hf_calendar_print(out + len, secrets->entries[i].from_s);
        len += HF_CALENDAR_LEN;
        out[len++] = 'Z';
        out[len++] = ' ';
        for (size_t j = 0; j < HF_SHARED_SECRET_LEN; j++) {
            out[len++] = digits[secrets->entries[i].secret[j] >> 4];
            out[len++] = digits[secrets->entries[i].secret[j] & 15];
        }
        out[len++] = '\n';
    }
    out[len] = '\0';
    return len;
}
