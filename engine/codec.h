/**
 * codec.h - numbered fields, written and read by one and the same list of calls, so that the two
 * cannot differ and a new field is one line.
 *
 * A field is {number, length, bytes}; numbers ascend. A reader passes over fields it is not asked
 * for and leaves alone what has none. A number with HF_CODEC_NEEDED must not be passed over.
 *
 * Invariant: like reader and writer, sticky; and on failure nothing outside the list was touched.
 */
#ifndef HF_CODEC_H
#define HF_CODEC_H

#include "bytes.h"

#define HF_CODEC_NEEDED 0x8000u
#define HF_CODEC_HEADER_LEN 4u

struct hf_codec {
    struct hf_writer writer; /**< data NULL: it reads */
    struct hf_reader reader;
    bool is_failed;  /**< malformed, or a value too large for its place */
    bool is_unknown; /**< reading: there was a needed field that nobody asked for */
};

static inline struct hf_codec hf_codec_writer(uint8_t *data, size_t max)
{
    return (struct hf_codec){.writer = hf_writer_of(data, max)};
}

static inline struct hf_codec hf_codec_reader(struct hf_bytes bytes)
{
    return (struct hf_codec){.reader = hf_reader_of(bytes)};
}

static inline bool hf_codec_is_writing(const struct hf_codec *codec)
{
    return codec->writer.data != NULL;
}

/** hf_codec_bytes writes `*view`, or sets it to what is there; untouched if nothing is. `number`
 *  may have HF_CODEC_NEEDED. */
void hf_codec_bytes(struct hf_codec *codec, uint32_t number, struct hf_bytes *view);

/** hf_codec_block is for exactly `len` bytes, all of them or, where `is_absent`, none. */
void hf_codec_block(struct hf_codec *codec, uint32_t number, void *block, size_t len,
                    bool is_absent);

/** hf_codec_number is for an unsigned integer of `width` bytes here: 1, 2, 4 or 8. What was written
 *  with another width is read if it fits. */
void hf_codec_number(struct hf_codec *codec, uint32_t number, void *integer, size_t width);

/** hf_codec_end passes over what is left. Tells whether all of it was well. */
HF_MUST_USE bool hf_codec_end(struct hf_codec *codec);

#endif
