/**
 * load_keys.c - the key file, as handfastd reads it, in the order of its lines:
 * identity:hexkey[:entity-id], '#' + hex for an identity that does not print. hf_keyfile answers by
 * identity and knows no order, so it judges the file, and the lines are read again here.
 */
#include "load.h"

#include <errno.h>
#include <handfast/keyfile.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static uint8_t hex_digit(uint8_t c)
{
    return (uint8_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10) & 15;
}

/* Decodes in place: the result is never longer. The file was judged, so these are digits. */
static size_t decode_hex(uint8_t *out, const uint8_t *text, size_t len)
{
    for (size_t i = 0; i + 1 < len; i += 2)
        out[i / 2] = (uint8_t)(hex_digit(text[i]) << 4 | hex_digit(text[i + 1]));
    return len / 2;
}

static bool read_whole(struct hf_load_keys *keys, const char *path)
{
    struct stat status;
    FILE *file = fopen(path, "re");
    bool is_good = file != NULL && fstat(fileno(file), &status) == 0;
    keys->text_len = is_good ? (size_t)status.st_size : 0;
    keys->text = malloc(keys->text_len + 1);
    is_good = is_good && keys->text != NULL &&
              fread(keys->text, 1, keys->text_len, file) == keys->text_len;
    if (!is_good)
        fprintf(stderr, "handfast: load: %s: %s\n", path, errno ? strerror(errno) : "changes");
    if (file != NULL)
        (void)fclose(file);
    return is_good;
}

static bool judge(const struct hf_load_keys *keys, const char *path, size_t *count)
{
    struct hf_keyfile *file;
    char error[HF_KEYFILE_ERROR_MAX];
    const struct hf_bytes text = {keys->text, keys->text_len};
    if (hf_keyfile_open(&file, error, text) != HF_OK) {
        fprintf(stderr, "handfast: load: %s: %s\n", path, error);
        return false;
    }
    *count = hf_keyfile_count(file);
    hf_keyfile_close(file);
    if (*count == 0)
        fprintf(stderr, "handfast: load: %s: no keys\n", path);
    return *count > 0;
}

/* Identity and key, one behind the other where the line was. */
static bool take_line(struct hf_load_key *key, uint8_t *line, size_t len)
{
    const uint8_t *colon = memchr(line, ':', len);
    if (colon == NULL)
        return false;
    size_t identity_len = (size_t)(colon - line);
    const uint8_t *hex = colon + 1;
    const uint8_t *end = memchr(hex, ':', len - identity_len - 1);
    size_t hex_len = end ? (size_t)(end - hex) : len - identity_len - 1;
    key->bytes = line;
    key->identity_len =
        (uint16_t)(line[0] == '#' ? decode_hex(line, line + 1, identity_len - 1) : identity_len);
    key->psk_len = (uint16_t)decode_hex(line + key->identity_len, hex, hex_len);
    return true;
}

static void take_lines(struct hf_load_keys *keys, size_t count)
{
    uint8_t *at = keys->text;
    const uint8_t *end = keys->text + keys->text_len;
    while (at < end && keys->count < count) {
        uint8_t *stop = memchr(at, '\n', (size_t)(end - at));
        size_t len = stop ? (size_t)(stop - at) : (size_t)(end - at);
        uint8_t *line = at;
        at += len + 1;
        while (len > 0 && (line[len - 1] == '\r' || line[len - 1] == ' '))
            len--;
        bool is_comment = len == 0 || (line[0] == '#' && (len == 1 || line[1] == ' '));
        if (!is_comment && take_line(&keys->keys[keys->count], line, len))
            keys->count++;
    }
}

bool hf_load_keys_open(struct hf_load_keys *keys, const char *path)
{
    size_t count = 0;
    if (!read_whole(keys, path) || !judge(keys, path, &count))
        return false;
    keys->keys = calloc(count, sizeof(*keys->keys));
    if (keys->keys == NULL)
        return false;
    take_lines(keys, count);
    return keys->count > 0;
}

void hf_load_keys_close(struct hf_load_keys *keys)
{
    if (keys->text != NULL)
        explicit_bzero(keys->text, keys->text_len);
    free(keys->text);
    free(keys->keys);
}
