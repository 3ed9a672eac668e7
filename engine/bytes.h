/**
 * bytes.h - reading and writing wire formats.
 *
 * A reader is sticky: after one short read every read gives 0 or an empty view, so a parser is a
 * straight list of reads ended by one hf_reader_done(). A writer has a fixed capacity and is sticky
 * likewise. Neither ever looks outside its buffer.
 */
#ifndef HF_BYTES_H
#define HF_BYTES_H

#include <handfast/base.h>

#include <string.h>

struct hf_reader {
    const uint8_t *data;
    size_t len;
    bool is_failed;
};

struct hf_writer {
    uint8_t *data;
    size_t len;
    size_t max;
    bool is_failed;
};

static inline struct hf_reader hf_reader_of(struct hf_bytes bytes)
{
    return (struct hf_reader){bytes.data, bytes.len, false};
}

/** hf_reader_take gives the next `len` bytes as a view, empty if there are not so many. */
static inline struct hf_bytes hf_reader_take(struct hf_reader *reader, size_t len)
{
    if (reader->is_failed || reader->len < len) {
        reader->is_failed = true;
        return (struct hf_bytes){NULL, 0};
    }
    struct hf_bytes taken = {reader->data, len};
    reader->data += len;
    reader->len -= len;
    return taken;
}

static inline uint64_t hf_reader_uint(struct hf_reader *reader, size_t width)
{
    struct hf_bytes bytes = hf_reader_take(reader, width);
    uint64_t value = 0;
    for (size_t i = 0; i < bytes.len; i++)
        value = value << 8 | bytes.data[i];
    return value;
}

static inline uint8_t hf_reader_u8(struct hf_reader *reader)
{
    return (uint8_t)hf_reader_uint(reader, 1);
}

static inline uint16_t hf_reader_u16(struct hf_reader *reader)
{
    return (uint16_t)hf_reader_uint(reader, 2);
}

static inline uint32_t hf_reader_u24(struct hf_reader *reader)
{
    return (uint32_t)hf_reader_uint(reader, 3);
}

static inline uint64_t hf_reader_u48(struct hf_reader *reader)
{
    return hf_reader_uint(reader, 6);
}

/** hf_reader_vector reads a length of `width` bytes and gives so many bytes as a view. */
static inline struct hf_bytes hf_reader_vector(struct hf_reader *reader, size_t width)
{
    return hf_reader_take(reader, (size_t)hf_reader_uint(reader, width));
}

/** hf_reader_done tells whether every read was served and nothing is left over. */
static inline bool hf_reader_done(const struct hf_reader *reader)
{
    return !reader->is_failed && reader->len == 0;
}

static inline struct hf_writer hf_writer_of(uint8_t *data, size_t max)
{
    return (struct hf_writer){data, 0, max, false};
}

/** hf_writer_room gives a place for `len` bytes and counts them as written, NULL if too many. */
static inline uint8_t *hf_writer_room(struct hf_writer *writer, size_t len)
{
    if (writer->is_failed || writer->max - writer->len < len) {
        writer->is_failed = true;
        return NULL;
    }
    uint8_t *room = writer->data + writer->len;
    writer->len += len;
    return room;
}

static inline void hf_writer_bytes(struct hf_writer *writer, const void *data, size_t len)
{
    uint8_t *room = hf_writer_room(writer, len);
    if (room && len > 0)
        memcpy(room, data, len);
}

static inline void hf_writer_uint(struct hf_writer *writer, uint64_t value, size_t width)
{
    uint8_t *room = hf_writer_room(writer, width);
    for (size_t i = width; room && i > 0; i--, value >>= 8)
        room[i - 1] = (uint8_t)value;
}

static inline void hf_writer_u8(struct hf_writer *writer, uint8_t value)
{
    hf_writer_uint(writer, value, 1);
}

static inline void hf_writer_u16(struct hf_writer *writer, uint16_t value)
{
    hf_writer_uint(writer, value, 2);
}

/** hf_writer_open leaves room for a length of `width` bytes; give the mark to hf_writer_close. */
static inline size_t hf_writer_open(struct hf_writer *writer, size_t width)
{
    hf_writer_uint(writer, 0, width);
    return writer->len;
}

/** hf_writer_close fills in the length opened at `mark`. */
static inline void hf_writer_close(struct hf_writer *writer, size_t mark, size_t width)
{
    if (writer->is_failed)
        return;
    size_t len = writer->len - mark;
    if (width < sizeof len && len >> (8 * width)) {
        writer->is_failed = true;
        return;
    }
    for (size_t i = 0; i < width; i++, len >>= 8)
        writer->data[mark - 1 - i] = (uint8_t)len;
}

#endif
