/**
 * maf_text.c - grammars and encodings. Key text is decoded without tables and without branches on
 * its characters; everything else here is public.
 */
#include "maf_text.h"

#include "calendar.h"
#include "crypto.h"
#include "keytext.h"

#include <string.h>

_Static_assert(HF_MAF_TIMESTAMP_LEN == HF_CALENDAR_LEN, "the same format");

struct hf_bytes hf_maf_text_view(const char *text)
{
    return (struct hf_bytes){(const uint8_t *)text, strlen(text)};
}

bool hf_maf_text_equal(struct hf_bytes a, struct hf_bytes b)
{
    return a.len == b.len && (a.len == 0 || hf_bytes_equal_public(a.data, b.data, a.len));
}

bool hf_maf_text_is(struct hf_bytes bytes, const char *text)
{
    return hf_maf_text_equal(bytes, hf_maf_text_view(text));
}

static uint8_t fold(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

bool hf_maf_text_equal_folded(struct hf_bytes a, struct hf_bytes b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (fold(a.data[i]) != fold(b.data[i]))
            return false;
    return true;
}

void hf_maf_text_fold(uint8_t *out, struct hf_bytes bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        out[i] = fold(bytes.data[i]);
}

/* ---- grammars ----------------------------------------------------------------------------- */

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_alpha(uint8_t c)
{
    return fold(c) >= 'a' && fold(c) <= 'z';
}

static bool is_hex_digit(uint8_t c)
{
    return is_digit(c) || (fold(c) >= 'a' && fold(c) <= 'f');
}

bool hf_maf_text_is_hex_id(struct hf_bytes text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!is_hex_digit(text.data[i]))
            return false;
    return text.len == 32;
}

bool hf_maf_text_is_relative_key_id(struct hf_bytes text, enum hf_maf_relative_syntax syntax)
{
    if (syntax == HF_MAF_RELATIVE_HEX)
        return hf_maf_text_is_hex_id(text);
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (!is_alpha(c) && !is_digit(c) && c != '.' && c != '_' && c != '-')
            return false;
    }
    /* As a path segment "." and ".." would name something else. */
    bool is_dots = hf_maf_text_is(text, ".") || hf_maf_text_is(text, "..");
    return text.len > 0 && text.len <= HF_MAF_RELATIVE_KEY_ID_MAX && !is_dots;
}

bool hf_maf_text_is_fqdn(struct hf_bytes text)
{
    size_t label_len = 0;
    bool has_dot = false;
    if (text.len == 0 || text.len > HF_MAF_FQDN_MAX)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        bool is_end = i + 1 == text.len || text.data[i + 1] == '.';
        if (c == '.') {
            if (label_len == 0)
                return false;
            label_len = 0;
            has_dot = true;
            continue;
        }
        if (!is_alpha(c) && !is_digit(c) && (c != '-' || label_len == 0 || is_end))
            return false;
        if (++label_len > 63)
            return false;
    }
    return has_dot && label_len > 0;
}

bool hf_maf_text_split(struct hf_maf_identity *out, struct hf_bytes identity,
                       enum hf_maf_relative_syntax syntax)
{
    size_t at = 0;
    if (identity.len == 0 || identity.len > HF_MAF_IDENTITY_MAX)
        return false;
    while (at < identity.len && identity.data[at] != '@')
        at++;
    if (at == identity.len)
        return false;
    struct hf_maf_identity split = {
        .relative_key_id = {identity.data, at},
        .fqdn = {identity.data + at + 1, identity.len - at - 1},
    };
    if (!hf_maf_text_is_relative_key_id(split.relative_key_id, syntax) ||
        !hf_maf_text_is_fqdn(split.fqdn))
        return false;
    *out = split;
    return true;
}

/* RFC 3986 2.3. */
static bool is_unreserved(uint8_t c)
{
    return is_alpha(c) || is_digit(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

/* The next segment, up to a slash or the end; `rest` goes behind the slash. */
static struct hf_bytes take_segment(struct hf_bytes *rest)
{
    size_t len = 0;
    while (len < rest->len && rest->data[len] != '/')
        len++;
    struct hf_bytes segment = {rest->data, len};
    size_t skipped = len < rest->len ? len + 1 : len;
    rest->data += skipped;
    rest->len -= skipped;
    return segment;
}

static bool is_segment(struct hf_bytes segment)
{
    for (size_t i = 0; i < segment.len; i++)
        if (!is_unreserved(segment.data[i]))
            return false;
    return segment.len > 0;
}

/* What stands behind the slash of an SP-relative identifier: one segment or two. */
static bool is_relative_part(struct hf_bytes rest)
{
    bool ends_in_slash = rest.len > 0 && rest.data[rest.len - 1] == '/';
    struct hf_bytes first = take_segment(&rest);
    if (ends_in_slash || !is_segment(first))
        return false;
    if (rest.len == 0)
        return true;
    struct hf_bytes second = take_segment(&rest);
    return is_segment(second) && rest.len == 0;
}

bool hf_maf_text_is_absolute(struct hf_bytes text)
{
    if (text.len < 3 || text.len > HF_ENTITY_ID_MAX || text.data[0] != '/' || text.data[1] != '/')
        return false;
    struct hf_bytes rest = {text.data + 2, text.len - 2};
    struct hf_bytes provider = take_segment(&rest);
    return hf_maf_text_is_fqdn(provider) && is_relative_part(rest);
}

bool hf_maf_text_is_identifier(struct hf_bytes text)
{
    if (hf_maf_text_is_absolute(text))
        return true;
    if (text.len < 2 || text.len > HF_ENTITY_ID_MAX)
        return false;
    if (text.data[0] == '/')
        return is_relative_part((struct hf_bytes){text.data + 1, text.len - 1});
    return (text.data[0] == 'C' || text.data[0] == 'S') && is_segment(text);
}

/* ---- m2m:timestamp ------------------------------------------------------------------------ */

static bool is_fraction(struct hf_bytes text)
{
    if (text.len == HF_MAF_TIMESTAMP_LEN)
        return true;
    size_t digits = text.len - HF_MAF_TIMESTAMP_LEN - 1;
    if (text.data[HF_MAF_TIMESTAMP_LEN] != ',' || digits < 1 || digits > 6)
        return false;
    for (size_t i = HF_MAF_TIMESTAMP_LEN + 1; i < text.len; i++)
        if (!is_digit(text.data[i]))
            return false;
    return true;
}

bool hf_maf_text_read_time(int64_t *out_s, struct hf_bytes text)
{
    return text.len >= HF_MAF_TIMESTAMP_LEN && is_fraction(text) &&
           text.data[HF_MAF_TIMESTAMP_LEN - 2] < '6' && /* TS-0004 6.3.3 knows no leap second */
           hf_calendar_read(out_s, (const char *)text.data);
}

void hf_maf_text_write_time(char out[HF_MAF_TIMESTAMP_LEN + 1], int64_t s)
{
    hf_calendar_print(out, s);
}

/* ---- key values --------------------------------------------------------------------------- */

/* All ones when low <= c <= high. */
static uint32_t between(uint32_t c, uint32_t low, uint32_t high)
{
    return 0U - (((low - 1 - c) & (c - high - 1)) >> 31);
}

/* 0..63, or 255 for what is no digit of either alphabet. */
static uint32_t base64_value(uint8_t digit)
{
    uint32_t c = digit;
    uint32_t upper = between(c, 'A', 'Z');
    uint32_t lower = between(c, 'a', 'z');
    uint32_t number = between(c, '0', '9');
    uint32_t plus = between(c, '+', '+') | between(c, '-', '-');
    uint32_t slash = between(c, '/', '/') | between(c, '_', '_');
    uint32_t value = (upper & (c - 'A')) | (lower & (c - 'a' + 26)) | (number & (c - '0' + 52)) |
                     (plus & 62) | (slash & 63);
    return (value | ~(upper | lower | number | plus | slash)) & 0xFF;
}

static bool read_base64(uint8_t *out, size_t *out_len, size_t out_max, struct hf_bytes text)
{
    uint32_t bad = 0;
    uint32_t bits = 0;
    size_t len = 0;
    size_t padding = 0;
    while (padding < 2 && text.len > 0 && text.data[text.len - 1] == '=') {
        text.len--;
        padding++;
    }
    size_t left = text.len % 4;
    bool is_shaped = left != 1 && (padding == 0 || (left + padding) % 4 == 0);
    if (!is_shaped || text.len / 4 * 3 + (left > 0 ? left - 1 : 0) > out_max)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        uint32_t value = base64_value(text.data[i]);
        bad |= value & 0xC0;
        bits = bits << 6 | (value & 0x3F);
        if (i % 4 != 0)
            out[len++] = (uint8_t)(bits >> (6 - 2 * (i % 4)));
    }
    /* The bits behind the last whole byte must be zero: one key, one text. */
    if (left > 0)
        bad |= bits & (left == 2 ? 0x0FU : 0x03U);
    *out_len = len;
    if (bad != 0)
        hf_wipe(out, len);
    return bad == 0;
}

bool hf_maf_text_read_key(uint8_t *out, size_t *out_len, size_t out_max, struct hf_bytes text)
{
    size_t len = text.len / 2;
    bool is_hex_len = text.len % 2 == 0 &&
                      (len == 16 || len == 24 || len == 32 || len == 48 || len == HF_PSK_MAX);
    *out_len = 0;
    if (text.len == 0)
        return false;
    if (!is_hex_len || !hf_keytext_is_hex(text))
        return read_base64(out, out_len, out_max, text);
    if (len > out_max)
        return false;
    hf_keytext_decode_hex(out, text);
    *out_len = len;
    return true;
}

static char base64_digit(uint32_t value)
{
    uint32_t upper = between(value + 1, 1, 26);
    uint32_t lower = between(value, 26, 51);
    uint32_t number = between(value, 52, 61);
    uint32_t plus = between(value, 62, 62);
    uint32_t slash = between(value, 63, 63);
    return (char)((upper & (value + 'A')) | (lower & (value - 26 + 'a')) |
                  (number & (value - 52 + '0')) | (plus & '+') | (slash & '/'));
}

void hf_maf_text_write_key(char *out, struct hf_bytes key)
{
    for (size_t i = 0; i < key.len; i += 3) {
        size_t left = key.len - i;
        uint32_t bits = (uint32_t)key.data[i] << 16;
        bits |= left > 1 ? (uint32_t)key.data[i + 1] << 8 : 0;
        bits |= left > 2 ? key.data[i + 2] : 0;
        *out++ = base64_digit(bits >> 18);
        *out++ = base64_digit(bits >> 12 & 63);
        *out++ = left > 1 ? base64_digit(bits >> 6 & 63) : '=';
        *out++ = left > 2 ? base64_digit(bits & 63) : '=';
    }
    *out = '\0';
}

void hf_maf_text_write_hex(char *out, struct hf_bytes bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        *out++ = "0123456789abcdef"[bytes.data[i] >> 4];
        *out++ = "0123456789abcdef"[bytes.data[i] & 15];
    }
    *out = '\0';
}
