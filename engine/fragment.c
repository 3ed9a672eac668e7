/**
 * fragment.c - see fragment.h.
 */
#include "fragment.h"

#include "association.h"

enum hf_status hf_fragment_read(struct hf_fragment *out, struct hf_reader *reader)
{
    struct hf_fragment fragment = {
        .type = hf_reader_u8(reader),
        .message_len = hf_reader_u24(reader),
        .message_seq = hf_reader_u16(reader),
        .offset = hf_reader_u24(reader),
    };
    fragment.body = hf_reader_vector(reader, 3);
    if (reader->is_failed || fragment.offset > fragment.message_len ||
        fragment.body.len > fragment.message_len - fragment.offset)
        return HF_E_DECODE;
    if (fragment.body.len == 0 && fragment.message_len > 0)
        return HF_E_DECODE; /* carries nothing: CVE-2014-3507, CVE-2022-29190 */
    *out = fragment;
    return HF_OK;
}

void hf_fragment_clear(struct hf_handshake *handshake)
{
    memset(&handshake->assembly, 0, sizeof handshake->assembly);
}

/** Tells whether what two ranges share is the same in both. */
static bool is_consistent(const uint8_t *message, const struct hf_range *range,
                          const struct hf_fragment *fragment)
{
    uint32_t begin = fragment->offset;
    uint32_t end = begin + (uint32_t)fragment->body.len;
    begin = begin > range->begin ? begin : range->begin;
    end = end < range->end ? end : range->end;
    return begin >= end ||
           hf_bytes_equal_public(message + begin, fragment->body.data + (begin - fragment->offset),
                                 end - begin);
}

/** Joins [begin, end) to the ranges received. False: they are too scattered. */
static bool join_range(struct hf_assembly *assembly, uint32_t begin, uint32_t end)
{
    uint8_t kept = 0;
    for (uint8_t i = 0; i < assembly->range_count; i++) {
        struct hf_range range = assembly->ranges[i];
        if (range.end < begin || range.begin > end) {
            assembly->ranges[kept++] = range;
        } else {
            begin = begin < range.begin ? begin : range.begin;
            end = end > range.end ? end : range.end;
        }
    }
    if (kept == HF_RANGES_MAX)
        return false;
    assembly->ranges[kept++] = (struct hf_range){begin, end};
    assembly->range_count = kept;
    return true;
}

enum hf_status hf_fragment_add(struct hf_bytes *out, struct hf_engine *engine,
                               struct hf_handshake *handshake, const struct hf_fragment *fragment)
{
    struct hf_assembly *assembly = &handshake->assembly;
    if (fragment->message_len > engine->config.message_len_max)
        return HF_E_MESSAGE_TOO_LONG; /* before any memory is spent: CVE-2014-3506 */
    if (assembly->range_count == 0 && fragment->body.len == fragment->message_len) {
        *out = fragment->body;
        return HF_OK;
    }
    uint8_t *message = hf_handshake_message(engine, handshake);
    bool is_same = assembly->range_count == 0 ||
                   (assembly->type == fragment->type && assembly->len == fragment->message_len);
    for (uint8_t i = 0; is_same && i < assembly->range_count; i++)
        is_same = is_consistent(message, &assembly->ranges[i], fragment);
    uint32_t end = fragment->offset + (uint32_t)fragment->body.len;
    if (!is_same || !join_range(assembly, fragment->offset, end)) {
        hf_drop_count(engine, HF_DROP_FRAGMENT);
        return HF_DROPPED;
    }
    assembly->type = fragment->type;
    assembly->len = fragment->message_len;
    if (fragment->body.len > 0)
        memcpy(message + fragment->offset, fragment->body.data, fragment->body.len);
    if (assembly->ranges[0].begin != 0 || assembly->ranges[0].end != assembly->len)
        return HF_WAITING;
    *out = (struct hf_bytes){message, assembly->len};
    return HF_OK;
}

/** Kept records lie one behind the other, each behind its two-byte length. */
void hf_fragment_keep(struct hf_engine *engine, struct hf_handshake *handshake,
                      const uint8_t *record, size_t len)
{
    uint8_t *kept = hf_handshake_kept(engine, handshake);
    for (size_t at = 0; at + 2 <= handshake->kept_len;) {
        size_t kept_len = (size_t)(kept[at] << 8 | kept[at + 1]);
        /* The header holds epoch and number: equal means sent twice by the network. A CCS is kept
         * once whatever its number. */
        bool is_same = hf_bytes_equal_public(kept + at + 2, record, HF_DATAGRAM_HEADER_LEN) ||
                       (record[0] == HF_TYPE_CHANGE_CIPHER_SPEC && kept[at + 2] == record[0]);
        if (is_same)
            return;
        at += 2 + kept_len;
    }
    if (handshake->kept_len + 2 + len > engine->config.deferred_len_max) {
        hf_drop_count(engine, HF_DROP_DEFERRED_FULL);
        return;
    }
    struct hf_writer writer =
        hf_writer_of(kept + handshake->kept_len, engine->slot.kept_max - handshake->kept_len);
    hf_writer_u16(&writer, (uint16_t)len);
    hf_writer_bytes(&writer, record, len);
    handshake->kept_len += (uint32_t)writer.len;
}
