/**
 * codec.c - see codec.h.
 */
#include "codec.h"

#define NUMBER_MASK (HF_CODEC_NEEDED - 1)

static uint32_t peek(const struct hf_codec *codec)
{
    struct hf_reader reader = codec->reader;
    return hf_reader_u16(&reader);
}

static struct hf_bytes take(struct hf_codec *codec)
{
    (void)hf_reader_u16(&codec->reader);
    struct hf_bytes value = hf_reader_vector(&codec->reader, 2);
    codec->is_failed |= codec->reader.is_failed;
    return value;
}

/** Passes over what nobody asks for. */
static void skip(struct hf_codec *codec)
{
    codec->is_unknown |= (peek(codec) & HF_CODEC_NEEDED) != 0;
    (void)take(codec);
}

static bool find(struct hf_codec *codec, struct hf_bytes *value, uint32_t number)
{
    while (!codec->is_failed && codec->reader.len > 0 &&
           (peek(codec) & NUMBER_MASK) < (number & NUMBER_MASK))
        skip(codec);
    if (codec->is_failed || codec->reader.len == 0 ||
        (peek(codec) & NUMBER_MASK) != (number & NUMBER_MASK))
        return false;
    *value = take(codec);
    return !codec->is_failed;
}

static void put(struct hf_codec *codec, uint32_t number, const void *data, size_t len)
{
    hf_writer_u16(&codec->writer, (uint16_t)number);
    size_t mark = hf_writer_open(&codec->writer, 2);
    hf_writer_bytes(&codec->writer, data, len);
    hf_writer_close(&codec->writer, mark, 2);
    codec->is_failed |= codec->writer.is_failed;
}

void hf_codec_bytes(struct hf_codec *codec, uint32_t number, struct hf_bytes *view)
{
    if (hf_codec_is_writing(codec))
        put(codec, number, view->data, view->len);
    else
        (void)find(codec, view, number);
}

void hf_codec_block(struct hf_codec *codec, uint32_t number, void *block, size_t len,
                    bool is_absent)
{
    struct hf_bytes value;
    if (hf_codec_is_writing(codec)) {
        if (!is_absent)
            put(codec, number, block, len);
    } else if (find(codec, &value, number)) {
        if (value.len == len && !is_absent)
            memcpy(block, value.data, len);
        else
            codec->is_failed = true;
    }
}

static uint64_t load(const void *integer, size_t width)
{
    uint8_t narrow;
    uint16_t half;
    uint32_t word;
    uint64_t value = 0;
    switch (width) {
    case sizeof narrow:
        memcpy(&narrow, integer, width);
        return narrow;
    case sizeof half:
        memcpy(&half, integer, width);
        return half;
    case sizeof word:
        memcpy(&word, integer, width);
        return word;
    default:
        memcpy(&value, integer, sizeof value);
        return value;
    }
}

static void store(void *integer, size_t width, uint64_t value)
{
    uint8_t narrow = (uint8_t)value;
    uint16_t half = (uint16_t)value;
    uint32_t word = (uint32_t)value;
    const void *from = width == sizeof narrow ? (const void *)&narrow
                       : width == sizeof half ? (const void *)&half
                       : width == sizeof word ? (const void *)&word
                                              : (const void *)&value;
    memcpy(integer, from, width);
}

void hf_codec_number(struct hf_codec *codec, uint32_t number, void *integer, size_t width)
{
    struct hf_bytes value;
    if (hf_codec_is_writing(codec)) {
        uint8_t bytes[8];
        struct hf_writer writer = hf_writer_of(bytes, sizeof bytes);
        hf_writer_uint(&writer, load(integer, width), width);
        put(codec, number, bytes, writer.len);
    } else if (find(codec, &value, number)) {
        struct hf_reader reader = hf_reader_of(value);
        uint64_t read = value.len <= 8 ? hf_reader_uint(&reader, value.len) : 0;
        if (value.len == 0 || value.len > 8 || (width < 8 && read >> (8 * width)))
            codec->is_failed = true;
        else
            store(integer, width, read);
    }
}

bool hf_codec_end(struct hf_codec *codec)
{
    while (!hf_codec_is_writing(codec) && !codec->is_failed && codec->reader.len > 0)
        skip(codec);
    return !codec->is_failed;
}
