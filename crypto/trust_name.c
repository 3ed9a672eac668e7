/**
 * trust_name.c - CSE-IDs and public domain names (TS-0001 7.2): the rule, and the configured list
 * of those for whom it does not hold. Also words and lines, which all lists are made of.
 */
#include "trust.h"

#include "private.h"

#include <stdlib.h>
#include <string.h>

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r';
}

struct hf_bytes hf__text_word(struct hf_bytes *line)
{
    while (line->len > 0 && is_blank(*line->data))
        *line = (struct hf_bytes){line->data + 1, line->len - 1};
    struct hf_bytes word = {line->data, 0};
    while (word.len < line->len && !is_blank(word.data[word.len]))
        word.len++;
    *line = (struct hf_bytes){line->data + word.len, line->len - word.len};
    return word;
}

struct hf_bytes hf__text_line(struct hf_bytes *text)
{
    const uint8_t *end = text->len > 0 ? memchr(text->data, '\n', text->len) : NULL;
    struct hf_bytes line = {text->data, end ? (size_t)(end - text->data) : text->len};
    size_t skip = line.len + (end ? 1 : 0);
    *text = (struct hf_bytes){text->data + skip, text->len - skip};
    const uint8_t *comment = line.len > 0 ? memchr(line.data, '#', line.len) : NULL;
    return (struct hf_bytes){line.data, comment ? (size_t)(comment - line.data) : line.len};
}

size_t hf__text_lines(struct hf_bytes text)
{
    size_t count = 0;
    while (text.len > 0) {
        struct hf_bytes line = hf__text_line(&text);
        count += hf__text_word(&line).len > 0;
    }
    return count;
}

static bool is_alnum(uint8_t byte)
{
    uint8_t lower = byte | 0x20;
    return (lower >= 'a' && lower <= 'z') || (byte >= '0' && byte <= '9');
}

bool hf__host_is_valid(struct hf_bytes host)
{
    size_t label_len = 0, label_count = 1;
    bool is_number = true; /* the last label: then it would be an address */
    if (host.len == 0 || host.len > 253)
        return false;
    for (size_t i = 0; i < host.len; i++) {
        uint8_t byte = host.data[i];
        bool is_last = i + 1 == host.len || host.data[i + 1] == '.';
        if (byte == '.') {
            if (label_len == 0)
                return false;
            label_len = 0;
            label_count++;
            is_number = true;
            continue;
        }
        if (!is_alnum(byte) && (byte != '-' || label_len == 0 || is_last))
            return false;
        is_number &= byte >= '0' && byte <= '9';
        if (++label_len > 63)
            return false;
    }
    return label_len > 0 && label_count >= 2 && !is_number;
}

static int cse_order(const void *a, const void *b)
{
    struct hf_bytes left = ((const struct hf__cse *)a)->host;
    struct hf_bytes right = ((const struct hf__cse *)b)->host;
    for (size_t i = 0; i < left.len && i < right.len; i++) {
        if (left.data[i] != right.data[i])
            return left.data[i] < right.data[i] ? -1 : 1;
    }
    return left.len < right.len ? -1 : left.len > right.len;
}

/* "//{M2M-SP-ID}/{CSE-ID}": gives the provider. */
static bool split_cse_id(struct hf_bytes *provider, struct hf_bytes id)
{
    if (id.len < 5 || id.data[0] != '/' || id.data[1] != '/' || id.len > HF_ENTITY_ID_MAX)
        return false;
    struct hf_bytes rest = {id.data + 2, id.len - 2};
    const uint8_t *slash = memchr(rest.data, '/', rest.len);
    if (!slash)
        return false;
    *provider = (struct hf_bytes){rest.data, (size_t)(slash - rest.data)};
    rest = (struct hf_bytes){slash + 1, rest.len - provider->len - 1};
    /* the grammar alone takes a CSE-ID that starts with S for an AE-ID: both are well-formed */
    return hf_entity_kind_of(id) != HF_ENTITY_PENDING && !memchr(rest.data, '/', rest.len);
}

static const char *read_name(struct hf__cse *out, uint8_t *copy, size_t *copied,
                             struct hf_bytes line)
{
    struct hf_bytes id = hf__text_word(&line), host = hf__text_word(&line), provider;
    if (host.len == 0 || hf__text_word(&line).len > 0)
        return "names: a line is not: CSE-ID public-domain-name";
    if (!split_cse_id(&provider, id))
        return "names: a CSE-ID is not absolute, //provider/cse (TS-0001 7.2)";
    if (!hf__host_is_valid(host))
        return "names: a public domain name is not a host name of two labels or more";
    out->id = (struct hf_bytes){copy + *copied, id.len};
    out->host = (struct hf_bytes){copy + *copied + id.len, host.len};
    memcpy(copy + *copied, id.data, id.len);
    for (size_t i = 0; i < host.len; i++) {
        uint8_t byte = host.data[i];
        copy[*copied + id.len + i] = byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte;
    }
    *copied += id.len + host.len;
    return NULL;
}

enum hf_status hf__trust_read_names(struct hf_trust *trust, const char **why, struct hf_bytes text)
{
    size_t count = hf__text_lines(text), copied = 0;
    if (count == 0)
        return HF_OK;
    *why = "out of memory";
    trust->names_text = malloc(text.len);
    trust->cses = calloc(count, sizeof *trust->cses);
    if (!trust->names_text || !trust->cses)
        return HF_E_MEMORY;
    while (text.len > 0) {
        struct hf_bytes line = hf__text_line(&text), first = line;
        if (hf__text_word(&first).len == 0)
            continue;
        *why = read_name(&trust->cses[trust->cse_count++], trust->names_text, &copied, line);
        if (*why)
            return HF_E_CONFIG;
    }
    qsort(trust->cses, trust->cse_count, sizeof *trust->cses, cse_order);
    *why = "names: a public domain name is given twice";
    for (size_t i = 1; i < trust->cse_count; i++) {
        if (cse_order(&trust->cses[i - 1], &trust->cses[i]) == 0)
            return HF_E_CONFIG;
    }
    return HF_OK;
}

static const struct hf__cse *find_cse(const struct hf_trust *trust, struct hf_bytes host)
{
    struct hf__cse wanted = {.host = host};
    return trust->cse_count == 0
               ? NULL
               : bsearch(&wanted, trust->cses, trust->cse_count, sizeof *trust->cses, cse_order);
}

size_t hf__trust_cse_id(uint8_t out[HF_ENTITY_ID_MAX], const struct hf_trust *trust,
                        struct hf_bytes host)
{
    const struct hf__cse *cse = find_cse(trust, host);
    const uint8_t *dot = memchr(host.data, '.', host.len);
    if (cse) {
        memcpy(out, cse->id.data, cse->id.len);
        return cse->id.len;
    }
    if (!dot)
        return 0;
    size_t label_len = (size_t)(dot - host.data);
    struct hf_bytes provider = {dot + 1, host.len - label_len - 1};
    cse = find_cse(trust, provider); /* a node's CSE below the IN-CSE it is registered with */
    if (cse && !split_cse_id(&provider, cse->id))
        return 0;
    size_t len = 2 + provider.len + 1 + label_len;
    if (label_len == 0 || provider.len == 0 || len > HF_ENTITY_ID_MAX)
        return 0;
    out[0] = out[1] = '/';
    memcpy(out + 2, provider.data, provider.len);
    out[2 + provider.len] = '/';
    memcpy(out + 3 + provider.len, host.data, label_len);
    return len;
}
