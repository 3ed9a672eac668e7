/**
 * craft.c - see craft.h.
 */
#include "craft.h"

#include "hello.h"

struct fuzz_hello fuzz_hello_take(struct fuzz_input *input, bool is_dtls)
{
    static const uint16_t odd_versions[4] = {0x0301, 0x0304, 0xFEFF, 0xFE00};
    static const uint8_t cid_lens[4] = {0, 8, 32, 33};
    uint8_t odd = fuzz_u8(input);
    struct fuzz_hello hello = {
        .version = is_dtls ? HF_VERSION_DTLS_1_2 : HF_VERSION_TLS_1_2,
        .random = (uint8_t)(odd & 3),
        .suites = 0x1F,
        .extensions = fuzz_u8(input),
    };
    if (odd & 4)
        hello.suites = (uint8_t)(1u << (odd >> 6));
    if (odd & 8)
        hello.session_id_len = 32;
    if ((odd & 0x30) == 0x30) {
        hello.version = odd_versions[odd >> 6];
    } else if (odd & 0x30) {
        hello.has_cid = is_dtls;
        hello.has_rrc = odd & 0x20;
        hello.cid_len = cid_lens[odd >> 6];
    }
    return hello;
}

static void craft_suites(struct hf_writer *writer, uint8_t suites)
{
    static const uint16_t known[8] = {0x00AE, 0xC0A8, 0x00A8, 0xC0A4, 0x00FF, 0x5600, 0x0A0A, 0};
    size_t mark = hf_writer_open(writer, 2);
    for (size_t i = 0; i < 8; i++) {
        if (suites >> i & 1)
            hf_writer_u16(writer, known[i]);
    }
    hf_writer_close(writer, mark, 2);
}

static void craft_cid(struct hf_writer *writer, const struct fuzz_hello *hello)
{
    uint8_t cid[255];
    memset(cid, 0xC1, sizeof cid);
    if (!hello->has_cid)
        return;
    hf_writer_u16(writer, HF_EXTENSION_CONNECTION_ID);
    hf_writer_u16(writer, (uint16_t)(hello->cid_len + 1));
    hf_writer_u8(writer, hello->cid_len);
    hf_writer_bytes(writer, cid, hello->cid_len);
    if (hello->has_rrc)
        hf_writer_uint(writer, (uint64_t)HF_EXTENSION_RETURN_ROUTABILITY << 16, 4);
}

static void craft_extensions(struct hf_writer *writer, const struct fuzz_hello *hello)
{
    uint8_t extensions = hello->extensions;
    static const uint8_t name[] = {0,   0,   0,   14,  0,   12,  0,   0,   9,
                                   'L', 'o', 'c', 'a', 'l', 'h', 'o', 's', 't'};
    size_t mark = hf_writer_open(writer, 2);
    if (extensions & 1)
        hf_writer_uint(writer, 23u << 16, 4); /* extended_master_secret */
    if (extensions & 2)
        hf_writer_uint(writer, 22u << 16, 4); /* encrypt_then_mac */
    if (extensions & 4)
        hf_writer_bytes(writer, name, sizeof name);
    if (extensions & 8) /* max_fragment_length; every fourth is no legal code */
        hf_writer_uint(writer, (UINT64_C(1) << 24) | (1u << 8) | (1 + (extensions >> 6)), 5);
    if (extensions & 16) /* record_size_limit 64, 512, 16385 or 65535 */
        hf_writer_uint(writer,
                       (UINT64_C(28) << 32) | (2u << 16) |
                           (const uint16_t[]){64, 512, 16385, 65535}[extensions >> 6],
                       6);
    if (extensions & 32)
        hf_writer_uint(writer, (UINT64_C(0xFF01) << 24) | (1u << 8), 5);
    craft_cid(writer, hello);
    hf_writer_close(writer, mark, 2);
}

void fuzz_craft_hello(struct hf_writer *writer, const struct fuzz_hello *hello, bool is_dtls)
{
    uint8_t random[HF_RANDOM_LEN];
    memset(random, hello->random, sizeof random);
    hf_writer_u16(writer, hello->version);
    hf_writer_bytes(writer, random, sizeof random);
    hf_writer_u8(writer, hello->session_id_len);
    hf_writer_bytes(writer, random, hello->session_id_len);
    if (is_dtls) {
        hf_writer_u8(writer, (uint8_t)hello->cookie.len);
        hf_writer_bytes(writer, hello->cookie.data, hello->cookie.len);
    }
    craft_suites(writer, hello->suites);
    hf_writer_u16(writer, 0x0100); /* null compression alone */
    if (hello->extensions || hello->has_cid)
        craft_extensions(writer, hello);
}

void fuzz_craft_exchange(struct hf_writer *writer, size_t identity_len)
{
    hf_writer_u16(writer, (uint16_t)identity_len);
    uint8_t *identity = hf_writer_room(writer, identity_len);
    if (identity)
        memset(identity, 'i', identity_len);
}

void fuzz_craft_message(struct hf_writer *writer, bool is_dtls, const struct fuzz_part *part,
                        struct hf_bytes body)
{
    hf_writer_u8(writer, part->type);
    hf_writer_uint(writer, is_dtls ? part->message_len : body.len, 3);
    if (is_dtls) {
        hf_writer_u16(writer, part->message_seq);
        hf_writer_uint(writer, part->offset, 3);
        hf_writer_uint(writer, body.len, 3);
    }
    hf_writer_bytes(writer, body.data, body.len);
}

static void craft_body(struct hf_writer *writer, bool is_protected, struct hf_bytes plaintext)
{
    size_t mark = hf_writer_open(writer, 2);
    uint8_t *front = is_protected ? hf_writer_room(writer, FUZZ_PLAIN_FRONT_LEN) : NULL;
    if (front)
        fuzz_plain_front(front);
    hf_writer_bytes(writer, plaintext.data, plaintext.len);
    hf_writer_close(writer, mark, 2);
}

void fuzz_craft_datagram_record(struct hf_writer *writer, uint8_t type, uint16_t epoch,
                                uint64_t seq, struct hf_bytes plaintext)
{
    hf_writer_u8(writer, type);
    hf_writer_u16(writer, HF_VERSION_DTLS_1_2);
    hf_writer_u16(writer, epoch);
    hf_writer_uint(writer, seq, 6);
    craft_body(writer, epoch > 0, plaintext);
}

void fuzz_craft_named_record(struct hf_writer *writer, const struct fuzz_named *record,
                             struct hf_bytes cid, struct hf_bytes content)
{
    uint8_t inner[2048] = {0};
    HF_ASSERT(content.len + 1 + record->padding_len <= sizeof inner);
    if (content.len > 0)
        memcpy(inner, content.data, content.len);
    inner[content.len] = record->type;
    hf_writer_u8(writer, HF_TYPE_TLS12_CID);
    hf_writer_u16(writer, HF_VERSION_DTLS_1_2);
    hf_writer_u16(writer, record->epoch);
    hf_writer_uint(writer, record->seq, 6);
    hf_writer_bytes(writer, cid.data, cid.len);
    craft_body(writer, true, (struct hf_bytes){inner, content.len + 1 + record->padding_len});
}

void fuzz_craft_stream_record(struct hf_writer *writer, uint8_t type, bool is_protected,
                              struct hf_bytes plaintext)
{
    hf_writer_u8(writer, type);
    hf_writer_u16(writer, HF_VERSION_TLS_1_2);
    craft_body(writer, is_protected, plaintext);
}
