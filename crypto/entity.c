/**
 * entity.c - entity identifiers by their grammar (TS-0001 7.2). Here, and not in the engine,
 * because certificates and pins carry them too.
 */
#include <handfast/base.h>

#include <string.h>

/* TS-0001 7.2.1: the unreserved characters of RFC 3986 2.3. */
static bool is_segment(struct hf_bytes segment)
{
    for (size_t i = 0; i < segment.len; i++) {
        uint8_t byte = segment.data[i];
        bool is_alnum = (byte | 0x20) >= 'a' ? (byte | 0x20) <= 'z' : byte >= '0' && byte <= '9';
        if (!is_alnum && byte != '-' && byte != '.' && byte != '_' && byte != '~')
            return false;
    }
    return segment.len > 0;
}

static bool is_stem(struct hf_bytes segment, const char *firsts)
{
    return segment.len > 0 && strchr(firsts, segment.data[0]) != NULL;
}

/* Splits off what is before the next slash. */
static struct hf_bytes next_segment(struct hf_bytes *rest)
{
    const uint8_t *slash = rest->len ? memchr(rest->data, '/', rest->len) : NULL;
    struct hf_bytes segment = {rest->data, slash ? (size_t)(slash - rest->data) : rest->len};
    size_t skip = segment.len + (slash ? 1 : 0);
    *rest = (struct hf_bytes){rest->data + skip, rest->len - skip};
    return segment;
}

enum hf_entity_kind hf_entity_kind_of(struct hf_bytes entity_id)
{
    struct hf_bytes rest = entity_id;
    if (rest.len == 0 || rest.data[rest.len - 1] == '/')
        return HF_ENTITY_PENDING;
    if (rest.data[0] != '/')
        return is_segment(rest) && is_stem(rest, "CS") ? HF_ENTITY_AE : HF_ENTITY_PENDING;
    rest = (struct hf_bytes){rest.data + 1, rest.len - 1};
    if (rest.data[0] == '/') {
        rest = (struct hf_bytes){rest.data + 1, rest.len - 1};
        if (!is_segment(next_segment(&rest)))
            return HF_ENTITY_PENDING; /* the M2M-SP-ID */
    }
    struct hf_bytes first = next_segment(&rest);
    if (!is_segment(first))
        return HF_ENTITY_PENDING;
    if (rest.len == 0)
        return is_stem(first, "S") ? HF_ENTITY_AE : HF_ENTITY_CSE;
    return is_segment(rest) && is_stem(rest, "C") ? HF_ENTITY_AE : HF_ENTITY_PENDING;
}
