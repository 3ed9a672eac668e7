/**
 * shared_secrets.c - fuzz target: the text of a shared-secrets file. What is taken is sorted, has
 * one secret for each moment, prints as a text that means the same, and can be rotated; what is
 * refused names a line there is and leaves nothing.
 */
#include "fuzz.h"

#include <handfast/session.h>

#include <string.h>

static size_t line_count(const uint8_t *data, size_t len)
{
    size_t count = len > 0 && data[len - 1] != '\n';
    for (size_t i = 0; i < len; i++)
        count += data[i] == '\n';
    return count;
}

static bool is_same(const struct hf_shared_secrets *a, const struct hf_shared_secrets *b)
{
    bool is = a->count == b->count;
    for (uint32_t i = 0; is && i < a->count; i++)
        is = a->entries[i].from_s == b->entries[i].from_s &&
             memcmp(a->entries[i].secret, b->entries[i].secret, HF_SHARED_SECRET_LEN) == 0;
    return is;
}

static void check_sorted(const struct hf_shared_secrets *secrets)
{
    FUZZ_CHECK(secrets->count > 0 && secrets->count <= HF_SHARED_SECRETS_MAX);
    for (uint32_t i = 1; i < secrets->count; i++)
        FUZZ_CHECK(secrets->entries[i - 1].from_s > secrets->entries[i].from_s);
}

/* One more, at the first entry's time, a second after it, or before all. */
static void check_rotation(const struct hf_shared_secrets *secrets, uint8_t code)
{
    struct hf_shared_secrets rotated = *secrets;
    int64_t from_s = secrets->entries[0].from_s + (code & 3) - 1;
    int64_t keep_s = secrets->entries[(code >> 2) % secrets->count].from_s;
    bool is_there = false;
    for (uint32_t i = 0; i < secrets->count; i++)
        is_there |= secrets->entries[i].from_s == from_s;
    enum hf_status status = hf_shared_secrets_rotate(&rotated, from_s, keep_s);
    FUZZ_CHECK(status == (is_there ? HF_E_ARGUMENT : HF_OK));
    FUZZ_CHECK(status == HF_OK || is_same(&rotated, secrets));
    check_sorted(&rotated);
    bool is_found = false;
    for (uint32_t i = 0; i < rotated.count; i++)
        is_found |= rotated.entries[i].from_s == from_s;
    FUZZ_CHECK(is_found);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct hf_shared_secrets secrets, again;
    char text[HF_SHARED_SECRETS_TEXT_MAX];
    size_t line = 0;
    const char *why = NULL;
    fuzz_random_restart(1);
    uint8_t *copy = fuzz_copy((struct hf_bytes){data, len});
    enum hf_status status =
        hf_shared_secrets_parse(&secrets, &line, &why, (struct hf_bytes){copy, len});
    free(copy);
    FUZZ_CHECK(status == HF_OK || status == HF_E_CONFIG);
    FUZZ_CHECK((status == HF_OK) == (why == NULL));
    if (status != HF_OK) {
        static const struct hf_shared_secrets none;
        FUZZ_CHECK(memcmp(&secrets, &none, sizeof none) == 0);
        FUZZ_CHECK(line <= line_count(data, len));
        return 0;
    }
    check_sorted(&secrets);
    size_t text_len = hf_shared_secrets_print(text, &secrets);
    FUZZ_CHECK(text_len < sizeof text && strlen(text) == text_len);
    if (fuzz_is_canary())
        text[20] = text[20] == '0' ? '1' : '0';
    FUZZ_CHECK(hf_shared_secrets_parse(&again, &line, &why,
                                       (struct hf_bytes){(uint8_t *)text, text_len}) == HF_OK);
    FUZZ_CHECK(is_same(&secrets, &again));
    check_rotation(&secrets, data[len - 1]);
    return 0;
}
