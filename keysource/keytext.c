/**
 * keytext.c - hexadecimal and UTF-8 as a key file needs them. No tables, no branches on digits:
 * they are key material.
 */
#include "keytext.h"

/* 0..15, or 255 for what is no digit. */
static uint8_t digit_value(uint8_t digit)
{
    uint32_t number = (uint32_t)digit - '0';
    uint32_t letter = ((uint32_t)digit | 0x20) - 'a';
    uint32_t number_mask = 0U - ((number - 10) >> 31 & ~number >> 31);
    uint32_t letter_mask = 0U - ((letter - 6) >> 31 & ~letter >> 31);
    uint32_t value = (number & number_mask) | ((letter + 10) & letter_mask);
    return (uint8_t)(value | ~(number_mask | letter_mask));
}

bool hf_keytext_is_hex(struct hf_bytes text)
{
    uint32_t bad = 0;
    for (size_t i = 0; i < text.len; i++)
        bad |= digit_value(text.data[i]) & 0xF0U;
    return bad == 0;
}

void hf_keytext_decode_hex(uint8_t *out, struct hf_bytes digits)
{
    for (size_t i = 0; i + 1 < digits.len; i += 2)
        out[i / 2] = (uint8_t)(digit_value(digits.data[i]) << 4 | digit_value(digits.data[i + 1]));
}

/* The length of the UTF-8 sequence that `first` begins, and its smallest code point; 0 if none. */
static size_t sequence_len(uint32_t *code, uint32_t *code_min, uint8_t first)
{
    if (first < 0x80) {
        *code = first;
        *code_min = 0;
        return 1;
    }
    if ((first & 0xE0) == 0xC0) {
        *code = first & 0x1F;
        *code_min = 0x80;
        return 2;
    }
    if ((first & 0xF0) == 0xE0) {
        *code = first & 0x0F;
        *code_min = 0x800;
        return 3;
    }
    *code = first & 0x07;
    *code_min = 0x10000;
    return (first & 0xF8) == 0xF0 ? 4 : 0;
}

bool hf_keytext_is_printable(struct hf_bytes text)
{
    size_t i = 0;
    while (i < text.len) {
        uint32_t code = 0;
        uint32_t code_min = 0;
        size_t len = sequence_len(&code, &code_min, text.data[i]);
        if (len == 0 || len > text.len - i)
            return false;
        for (size_t j = 1; j < len; j++) {
            if ((text.data[i + j] & 0xC0) != 0x80)
                return false;
            code = code << 6 | (text.data[i + j] & 0x3F);
        }
        bool is_control = code < 0x20 || (code >= 0x7F && code < 0xA0);
        bool is_surrogate = code >= 0xD800 && code < 0xE000;
        if (code < code_min || code > 0x10FFFF || is_control || is_surrogate)
            return false;
        i += len;
    }
    return true;
}
