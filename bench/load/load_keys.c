/**
 * load_keys.c - the key file, as handfastd reads it: identity:hexkey[:entity-id], '#' + hex for an
 * identity that does not print.
 */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes in place into fresh memory; NULL if `text` is no hex. */
static uint8_t *decode_hex(uint16_t *len, const char *text, size_t text_len)
{
    uint8_t *bytes = malloc(text_len / 2 + 1);
    if (bytes == NULL || text_len % 2 != 0) {
        free(bytes);
        return NULL;
    }
    for (size_t i = 0; i < text_len / 2; i++) {
        int high = hex_digit(text[2 * i]);
        int low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0) {
            free(bytes);
            return NULL;
        }
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    *len = (uint16_t)(text_len / 2);
    return bytes;
}

static bool parse_line(struct load_key *key, const char *line)
{
    const char *colon = strchr(line, ':');
    if (colon == NULL) {
        return false;
    }
    if (line[0] == '#') {
        key->identity = decode_hex(&key->identity_len, line + 1, (size_t)(colon - line - 1));
    } else {
        key->identity_len = (uint16_t)(colon - line);
        key->identity = (const uint8_t *)strndup(line, key->identity_len);
    }
    size_t hex_len = strcspn(colon + 1, ":\r\n");
    key->psk = decode_hex(&key->psk_len, colon + 1, hex_len);
    return key->identity != NULL && key->psk != NULL && key->psk_len > 0 && key->psk_len <= 64;
}

bool load_keys_open(struct load_keys *keys, const char *path)
{
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t line_max = 0;
    size_t room = 0;
    keys->keys = NULL;
    keys->count = 0;
    if (file == NULL) {
        perror(path);
        return false;
    }
    while (getline(&line, &line_max, file) > 0) {
        line[strcspn(line, "\r\n")] = '\0';
        if (line[0] == '\0' || strncmp(line, "# ", 2) == 0) {
            continue;
        }
        if (keys->count == room) {
            room = room != 0 ? room * 2 : 1024;
            struct load_key *grown = realloc(keys->keys, room * sizeof(*grown));
            if (grown == NULL) {
                break;
            }
            keys->keys = grown;
        }
        if (!parse_line(&keys->keys[keys->count++], line)) {
            fprintf(stderr, "%s: bad line %zu\n", path, keys->count);
            keys->count = 0;
            break;
        }
    }
    free(line);
    fclose(file);
    return keys->count > 0;
}

const struct load_key *load_keys_at(const struct load_keys *keys, uint64_t number)
{
    return &keys->keys[number % keys->count];
}
