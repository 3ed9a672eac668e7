/**
 * extensions.c - fuzz target: the input is the extension block of an otherwise good ClientHello.
 * A second, independent reading says what must come of it.
 */
#include "fuzz.h"
#include "hello.h"

/* What the block says, read once more and differently. */
struct expected {
    enum hf_status status;
    bool ems, etm, reneg, size_limit;
    unsigned limit, code;
    size_t name_len;
};

static unsigned u16_at(const uint8_t *data)
{
    return (unsigned)data[0] << 8 | data[1];
}

static enum hf_status expect_name(struct expected *expected, const uint8_t *body, size_t len)
{
    if (len < 2 || u16_at(body) != len - 2 || len == 2)
        return HF_E_DECODE;
    size_t at = 2;
    while (at < len) {
        if (len - at < 3 || u16_at(body + at + 1) == 0 || u16_at(body + at + 1) > len - at - 3)
            return HF_E_DECODE;
        size_t name_len = u16_at(body + at + 1);
        const uint8_t *name = body + at + 3;
        if (body[at] == 0) {
            if (expected->name_len || name_len > 255)
                return HF_E_ILLEGAL_PARAMETER;
            for (size_t i = 0; i < name_len; i++) {
                if (name[i] < 0x21 || name[i] > 0x7E)
                    return HF_E_ILLEGAL_PARAMETER;
            }
            expected->name_len = name_len;
        }
        at += 3 + name_len;
    }
    return HF_OK;
}

static enum hf_status expect_one(struct expected *expected, unsigned type, const uint8_t *body,
                                 size_t len)
{
    switch (type) {
    case 0:
        return expect_name(expected, body, len);
    case 1:
        expected->code = len ? body[0] : 0;
        return len != 1 ? HF_E_DECODE
                        : (body[0] >= 1 && body[0] <= 4 ? HF_OK : HF_E_ILLEGAL_PARAMETER);
    case 22:
        expected->etm = true;
        return len ? HF_E_DECODE : HF_OK;
    case 23:
        expected->ems = true;
        return len ? HF_E_DECODE : HF_OK;
    case 28:
        expected->size_limit = true;
        expected->limit = len >= 2 ? u16_at(body) : 0;
        return len != 2 ? HF_E_DECODE : (expected->limit < 64 ? HF_E_ILLEGAL_PARAMETER : HF_OK);
    case 54: /* RFC 9146 3 */
        return len >= 1 && body[0] == len - 1 ? HF_OK : HF_E_DECODE;
    case 61: /* RFC 9853 3 */
        return len ? HF_E_DECODE : HF_OK;
    case 0xFF01:
        expected->reneg = true;
        return len >= 1 && body[0] == len - 1 ? HF_OK : HF_E_DECODE;
    default:
        return HF_OK;
    }
}

static void expect(struct expected *expected, const uint8_t *data, size_t len)
{
    uint16_t types[64];
    size_t count = 0;
    memset(expected, 0, sizeof *expected);
    for (size_t at = 0; at < len;) {
        if (len - at < 4 || u16_at(data + at + 2) > len - at - 4) {
            expected->status = HF_E_DECODE;
            return;
        }
        unsigned type = u16_at(data + at);
        size_t body_len = u16_at(data + at + 2);
        for (size_t i = 0; i < count; i++) {
            if (types[i] == type)
                expected->status = HF_E_ILLEGAL_PARAMETER;
        }
        if (count == 64)
            expected->status = HF_E_ILLEGAL_PARAMETER;
        if (expected->status == HF_OK) {
            types[count++] = (uint16_t)type;
            expected->status = expect_one(expected, type, data + at + 4, body_len);
        }
        if (expected->status != HF_OK)
            return;
        at += 4 + body_len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct expected expected;
    struct hf_hello hello;
    if (len > 65535)
        return 0;
    expect(&expected, data, len);
    size_t max = 2 + HF_RANDOM_LEN + 1 + 4 + 2 + 2 + len;
    uint8_t *body = calloc(1, max);
    FUZZ_CHECK(body != NULL);
    struct hf_writer writer = hf_writer_of(body, max);
    hf_writer_u16(&writer, HF_VERSION_TLS_1_2);
    (void)hf_writer_room(&writer, HF_RANDOM_LEN + 1);
    hf_writer_uint(&writer, (2u << 16) | 0x00AE, 4);
    hf_writer_u16(&writer, 0x0100);
    hf_writer_u16(&writer, (uint16_t)len);
    hf_writer_bytes(&writer, data, len);
    FUZZ_CHECK(!writer.is_failed && writer.len == max);
    enum hf_status status = hf_hello_read(&hello, (struct hf_bytes){body, max}, false);
    FUZZ_CHECK(status == expected.status);
    if (status == HF_OK) {
        if (fuzz_is_canary() && hello.has_record_size_limit)
            hello.record_size_limit++;
        FUZZ_CHECK(hello.has_extended_master_secret == expected.ems);
        FUZZ_CHECK(hello.has_encrypt_then_mac == expected.etm);
        FUZZ_CHECK(hello.has_renegotiation_info == expected.reneg);
        FUZZ_CHECK(hello.has_record_size_limit == expected.size_limit);
        FUZZ_CHECK(hello.record_size_limit == expected.limit);
        FUZZ_CHECK(hello.max_fragment_code == expected.code);
        FUZZ_CHECK(hello.server_name.len == expected.name_len);
        fuzz_touch(hello.server_name);
        fuzz_touch(hello.renegotiation_info);
    }
    free(body);
    return 0;
}
