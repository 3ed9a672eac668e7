/**
 * json_vectors.h - reads third-party test vectors (Wycheproof's JSON) for unit tests, and hex.
 *
 * The files are not part of this tree: the environment variable HF_VECTORS names their directory,
 * otherwise ../shared/vectors beside the tree is tried. A test that finds none skips, aloud.
 */
#ifndef HF_JSON_VECTORS_H
#define HF_JSON_VECTORS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_VECTOR_LEN_MAX 70000

/** A byte string of a vector. */
struct json_vector {
    size_t len;
    uint8_t data[JSON_VECTOR_LEN_MAX];
};

/** hex_read turns hex into bytes and returns their count. A malformed or too long text aborts. */
size_t hex_read(uint8_t *out, size_t out_max, const char *hex);

/** json_vectors_load gives the parsed file, or NULL after printing that it was not found. A file
 *  that is there but does not parse aborts. Owns: the caller releases with json_decref(). */
json_t *json_vectors_load(const char *source_dir, const char *file);

/** json_vector_read reads the hex member `name` of a test. */
void json_vector_read(struct json_vector *out, const json_t *test, const char *name);

/** json_vector_int reads the integer member `name` of a group. */
int json_vector_int(const json_t *group, const char *name);

/** json_vector_is_valid tells the verdict of a test: "valid" or "invalid". Others abort. */
bool json_vector_is_valid(const json_t *test);

#endif
