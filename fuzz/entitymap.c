/**
 * entitymap.c - fuzz target: the text file of credentials and their entities. A file that is taken
 * answers for every line as a second, simpler reading of that line says.
 */
#include <handfast/entitymap.h>

#include "fuzz.h"

#include <stdio.h>

static struct hf_bytes word(struct hf_bytes *line)
{
    while (line->len > 0 && (*line->data == ' ' || *line->data == '\t'))
        *line = (struct hf_bytes){line->data + 1, line->len - 1};
    struct hf_bytes taken = {line->data, 0};
    while (line->len > 0 && *line->data != ' ' && *line->data != '\t') {
        *line = (struct hf_bytes){line->data + 1, line->len - 1};
        taken.len++;
    }
    return taken;
}

static bool check_line(const struct hf_entitymap *map, struct hf_bytes line)
{
    struct hf_bytes credential_id = word(&line);
    struct hf_bytes entities = word(&line);
    struct hf_answer answer;
    uint8_t expected[HF_ENTITY_ID_MAX];
    bool is_list = false;
    if (credential_id.len == 0 || credential_id.data[0] == '#')
        return false;
    FUZZ_CHECK(entities.len > 0 && entities.len <= sizeof expected && word(&line).len == 0);
    for (size_t i = 0; i < entities.len; i++) {
        is_list |= entities.data[i] == ',';
        expected[i] = entities.data[i] == ',' ? ' ' : entities.data[i];
    }
    if (fuzz_is_canary())
        expected[0] ^= 1;
    hf_entitymap_answer(&answer, map, credential_id);
    FUZZ_CHECK(answer.kind == HF_ANSWER_IDENTITY && answer.context >> 63);
    FUZZ_CHECK(answer.entity_id.len == entities.len);
    FUZZ_CHECK(memcmp(answer.entity_id.data, expected, entities.len) == 0);
    FUZZ_CHECK(answer.entity_kind == (is_list ? HF_ENTITY_AE_LIST : hf_entity_kind_of(entities)));
    FUZZ_CHECK(hf_entitymap_is_standing(map, credential_id, answer.context));
    return true;
}

static void check_taken(const struct hf_entitymap *map, struct hf_bytes text)
{
    size_t count = 0;
    while (text.len > 0) {
        const uint8_t *end = memchr(text.data, '\n', text.len);
        struct hf_bytes line = {text.data, end ? (size_t)(end - text.data) : text.len};
        size_t skip = line.len + (end != NULL);
        text = (struct hf_bytes){text.data + skip, text.len - skip};
        if (line.len > 0 && line.data[line.len - 1] == '\r')
            line.len--;
        count += check_line(map, line);
    }
    FUZZ_CHECK(hf_entitymap_count(map) == count);
}

static void count_difference(const struct hf_entitymap_difference *difference, void *arg)
{
    FUZZ_CHECK(difference->change == HF_KEYFILE_REMOVED && difference->context != 0);
    ++*(size_t *)arg;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char error[HF_ENTITYMAP_ERROR_MAX];
    struct hf_entitymap *map;
    unsigned long line = 0;
    size_t count = 0;
    uint8_t *copy = fuzz_copy((struct hf_bytes){data, len});
    fuzz_random_restart(4);
    enum hf_status status = hf_entitymap_open(&map, error, (struct hf_bytes){copy, len},
                                              (struct hf_bytes){data, len < 8 ? len : 8});
    free(copy); /* it keeps what it needs */
    FUZZ_CHECK((status == HF_OK) == (map != NULL));
    if (status == HF_OK)
        check_taken(map, (struct hf_bytes){data, len});
    else
        FUZZ_CHECK(sscanf(error, "line %lu: ", &line) == 1 && line >= 1);
    hf_entitymap_compare(map, NULL, count_difference, &count);
    FUZZ_CHECK(count == hf_entitymap_count(map));
    hf_entitymap_close(map);
    return 0;
}
