/**
 * json_vectors.c - see json_vectors.h. Aborts on anything unexpected: a vector that is skipped by
 * mistake would look like one that passed.
 */
#include "json_vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static unsigned hex_digit(char digit)
{
    const char *digits = "0123456789abcdef";
    const char *at = digit != '\0' ? strchr(digits, digit | 0x20) : NULL;

    if (!at)
        abort();
    return (unsigned)(at - digits);
}

size_t hex_read(uint8_t *out, size_t out_max, const char *hex)
{
    size_t len = strlen(hex) / 2;

    if (strlen(hex) % 2 != 0 || len > out_max)
        abort();
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(hex_digit(hex[2 * i]) << 4 | hex_digit(hex[2 * i + 1]));
    return len;
}

json_t *json_vectors_load(const char *source_dir, const char *file)
{
    const char *directory = getenv("HF_VECTORS");
    char path[4096];
    json_error_t error;
    json_t *root;

    if (directory)
        snprintf(path, sizeof path, "%s/%s", directory, file);
    else
        snprintf(path, sizeof path, "%s/../shared/vectors/%s", source_dir, file);
    if (access(path, R_OK) != 0) {
        printf("SKIPPED: third-party vectors not found (%s; set HF_VECTORS)\n", file);
        return NULL;
    }
    root = json_load_file(path, 0, &error);
    if (!root) {
        fprintf(stderr, "%s:%d: %s\n", path, error.line, error.text);
        abort();
    }
    return root;
}

void json_vector_read(struct json_vector *out, const json_t *test, const char *name)
{
    const char *hex = json_string_value(json_object_get(test, name));

    if (!hex)
        abort();
    out->len = hex_read(out->data, sizeof out->data, hex);
}

int json_vector_int(const json_t *group, const char *name)
{
    const json_t *value = json_object_get(group, name);

    if (!json_is_integer(value))
        abort();
    return (int)json_integer_value(value);
}

bool json_vector_is_valid(const json_t *test)
{
    const char *result = json_string_value(json_object_get(test, "result"));

    if (!result || (strcmp(result, "valid") != 0 && strcmp(result, "invalid") != 0))
        abort();
    return strcmp(result, "valid") == 0;
}
