/**
 * keyfile.c - fuzz target: the text file of provisioned keys. A file that is taken answers for
 * every line as a second, simpler reading of that line says; one that is refused gives nothing
 * away of its keys.
 */
#include <handfast/keyfile.h>

#include "fuzz.h"

#include <stdio.h>

static int digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static size_t decode(uint8_t *out, struct hf_bytes digits)
{
    for (size_t i = 0; i + 1 < digits.len; i += 2)
        out[i / 2] = (uint8_t)(digit(digits.data[i]) * 16 + digit(digits.data[i + 1]));
    return digits.len / 2;
}

static bool is_comment(struct hf_bytes line)
{
    size_t blanks = 0;
    while (blanks < line.len && (line.data[blanks] == ' ' || line.data[blanks] == '\t'))
        blanks++;
    if (blanks == line.len)
        return true;
    return line.data[0] == '#' && (line.len == 1 || line.data[1] == ' ' || line.data[1] == '\t');
}

static struct hf_bytes field(struct hf_bytes *line)
{
    const uint8_t *colon = line->len ? memchr(line->data, ':', line->len) : NULL;
    struct hf_bytes taken = {line->data, colon ? (size_t)(colon - line->data) : line->len};
    size_t skip = taken.len + (colon != NULL);
    *line = (struct hf_bytes){line->data + skip, line->len - skip};
    return taken;
}

/* The line must be found under its identity, with its key and its entity. */
static void check_line(const struct hf_keyfile *keyfile, struct hf_bytes line)
{
    uint8_t identity[1024], key[HF_PSK_MAX], scratch[HF_CREDENTIAL_ID_MAX];
    struct hf_bytes text = field(&line);
    struct hf_bytes digits = field(&line);
    struct hf_answer answer;
    FUZZ_CHECK(text.len > 0 && digits.len <= 2 * HF_PSK_MAX);
    bool is_hex = text.data[0] == '#';
    FUZZ_CHECK((is_hex ? text.len / 2 : text.len) <= sizeof identity);
    size_t identity_len = text.len;
    if (is_hex)
        identity_len = decode(identity, (struct hf_bytes){text.data + 1, text.len - 1});
    else
        memcpy(identity, text.data, text.len);
    size_t key_len = decode(key, digits);
    hf_keyfile_answer(&answer, scratch, keyfile, (struct hf_bytes){identity, identity_len});
    if (fuzz_is_canary())
        key[0] ^= 1;
    FUZZ_CHECK(answer.kind == HF_ANSWER_PSK && answer.secret.len == key_len && key_len >= 16);
    FUZZ_CHECK(memcmp(answer.secret.data, key, key_len) == 0);
    FUZZ_CHECK(answer.entity_id.len == line.len && line.len <= HF_ENTITY_ID_MAX);
    FUZZ_CHECK(line.len == 0 || memcmp(answer.entity_id.data, line.data, line.len) == 0);
    FUZZ_CHECK((line.len > 0) == (answer.entity_kind != HF_ENTITY_PENDING));
    FUZZ_CHECK(answer.credential_id.len == identity_len + 3);
    FUZZ_CHECK(memcmp(answer.credential_id.data, "12-", 3) == 0);
}

static void check_taken(const struct hf_keyfile *keyfile, struct hf_bytes text)
{
    size_t count = 0;
    while (text.len > 0) {
        const uint8_t *end = memchr(text.data, '\n', text.len);
        struct hf_bytes line = {text.data, end ? (size_t)(end - text.data) : text.len};
        size_t skip = line.len + (end != NULL);
        text = (struct hf_bytes){text.data + skip, text.len - skip};
        if (line.len > 0 && line.data[line.len - 1] == '\r')
            line.len--;
        if (is_comment(line))
            continue;
        count++;
        check_line(keyfile, line);
    }
    FUZZ_CHECK(hf_keyfile_count(keyfile) == count);
}

/* "line N: " and a reason: printable, with an end, and no run of digits as long as a key. */
static void check_refused(const char *error, size_t line_count)
{
    unsigned long line = 0;
    size_t digits = 0;
    FUZZ_CHECK(memchr(error, '\0', HF_KEYFILE_ERROR_MAX) != NULL);
    FUZZ_CHECK(sscanf(error, "line %lu: ", &line) == 1 && line >= 1 && line <= line_count);
    for (const char *at = error; *at != '\0'; at++) {
        FUZZ_CHECK(*at >= ' ' && *at <= '~');
        digits = digit((uint8_t)*at) >= 0 ? digits + 1 : 0;
        FUZZ_CHECK(digits < 16);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char error[HF_KEYFILE_ERROR_MAX];
    struct hf_keyfile *keyfile;
    size_t line_count = 1;
    uint8_t *copy = fuzz_copy((struct hf_bytes){data, len});
    fuzz_random_restart(3);
    for (size_t i = 0; i < len; i++)
        line_count += data[i] == '\n';
    enum hf_status status = hf_keyfile_open(&keyfile, error, (struct hf_bytes){copy, len});
    free(copy); /* it keeps what it needs */
    FUZZ_CHECK((status == HF_OK) == (keyfile != NULL));
    if (status == HF_OK)
        check_taken(keyfile, (struct hf_bytes){data, len});
    else
        check_refused(error, line_count);
    hf_keyfile_close(keyfile);
    return 0;
}
