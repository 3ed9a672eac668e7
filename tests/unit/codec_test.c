/**
 * codec_test.c - numbered fields: what is written is read, whatever else is there; what is cut off
 * or does not fit is a failure.
 */
#include "codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct things {
    uint8_t small;
    uint16_t medium;
    uint32_t large;
    uint64_t huge;
    uint8_t block[5];
    struct hf_bytes view;
};

static void fields(struct hf_codec *codec, struct things *things)
{
    hf_codec_number(codec, 1, &things->small, sizeof things->small);
    hf_codec_number(codec, 3, &things->medium, sizeof things->medium);
    hf_codec_number(codec, 4, &things->large, sizeof things->large);
    hf_codec_number(codec, 6, &things->huge, sizeof things->huge);
    hf_codec_block(codec, 7, things->block, sizeof things->block, false);
    hf_codec_bytes(codec, 9, &things->view);
}

static const struct things whole = {.small = 0xA1,
                                    .medium = 0xB1B2,
                                    .large = 0xC1C2C3C4,
                                    .huge = 0xD1D2D3D4D5D6D7D8,
                                    .block = {1, 2, 3, 4, 5},
                                    .view = {(const uint8_t *)"text", 4}};

static size_t write_all(uint8_t out[256])
{
    struct things things = whole;
    struct hf_codec codec = hf_codec_writer(out, 256);
    fields(&codec, &things);
    assert_true(hf_codec_end(&codec));
    return codec.writer.len;
}

static void check(const struct things *read)
{
    assert_int_equal(read->small, whole.small);
    assert_int_equal(read->medium, whole.medium);
    assert_int_equal(read->large, whole.large);
    assert_true(read->huge == whole.huge);
    assert_memory_equal(read->block, whole.block, sizeof whole.block);
    assert_int_equal(read->view.len, 4);
    assert_memory_equal(read->view.data, "text", 4);
}

static void what_is_written_is_read(void **state)
{
    uint8_t buffer[256];
    struct things read = {0};
    (void)state;
    struct hf_codec codec = hf_codec_reader((struct hf_bytes){buffer, write_all(buffer)});
    fields(&codec, &read);
    assert_true(hf_codec_end(&codec));
    assert_false(codec.is_unknown);
    check(&read);
}

static size_t put(uint8_t *at, uint32_t number, const void *data, size_t len)
{
    at[0] = (uint8_t)(number >> 8);
    at[1] = (uint8_t)number;
    at[2] = (uint8_t)(len >> 8);
    at[3] = (uint8_t)len;
    memcpy(at + 4, data, len);
    return 4 + len;
}

/* Fields of a later version before, between and behind those we know. */
static void later_fields_are_passed_over(void **state)
{
    uint8_t buffer[512], known[256];
    size_t known_len = write_all(known), len = 0;
    struct things read = {0};
    (void)state;
    len += put(buffer, 0, "early", 5);
    memcpy(buffer + len, known, 5); /* the first field: number 1, one byte */
    len += 5;
    len += put(buffer + len, 2, "between", 7);
    memcpy(buffer + len, known + 5, known_len - 5);
    len += known_len - 5;
    len += put(buffer + len, 10, "late", 4);
    struct hf_codec codec = hf_codec_reader((struct hf_bytes){buffer, len});
    fields(&codec, &read);
    assert_true(hf_codec_end(&codec));
    assert_false(codec.is_unknown);
    check(&read);
}

static void needed_ones_are_told(void **state)
{
    (void)state;
    for (uint32_t number = 0; number <= 12; number += 2) {
        uint8_t buffer[32];
        struct things read = {0};
        size_t len = put(buffer, number | HF_CODEC_NEEDED, "\x01\x02\x03\x04", 4);
        struct hf_codec codec = hf_codec_reader((struct hf_bytes){buffer, len});
        fields(&codec, &read);
        assert_true(hf_codec_end(&codec));
        assert_int_equal(codec.is_unknown, number != 4 && number != 6);
    }
}

static void missing_ones_keep_their_default(void **state)
{
    uint8_t buffer[32];
    struct things read = {.small = 7, .huge = 8, .view = {(const uint8_t *)"x", 1}};
    (void)state;
    size_t len = put(buffer, 3, "\x01\x02", 2);
    struct hf_codec codec = hf_codec_reader((struct hf_bytes){buffer, len});
    fields(&codec, &read);
    assert_true(hf_codec_end(&codec));
    assert_int_equal(read.small, 7);
    assert_int_equal(read.medium, 0x0102);
    assert_true(read.huge == 8);
    assert_int_equal(read.view.len, 1);
}

/* A place may become wider or narrower from one version to the next. */
static void widths_may_differ(void **state)
{
    uint8_t buffer[32];
    (void)state;
    for (size_t wide = 1; wide <= 9; wide++) {
        struct things read = {0};
        size_t len = put(buffer, 3, "\0\0\0\0\0\0\0\0\0", wide);
        buffer[len - 1] = 5;
        struct hf_codec codec = hf_codec_reader((struct hf_bytes){buffer, len});
        fields(&codec, &read);
        assert_int_equal(hf_codec_end(&codec), wide <= 8);
        assert_int_equal(read.medium, wide <= 8 ? 5 : 0);
    }
    struct things read = {0};
    size_t len = put(buffer, 3, "\1\0\5", 3);
    struct hf_codec codec = hf_codec_reader((struct hf_bytes){buffer, len});
    fields(&codec, &read);
    assert_false(hf_codec_end(&codec));
}

static void every_cut_is_a_failure_or_a_default(void **state)
{
    uint8_t buffer[256];
    (void)state;
    size_t len = write_all(buffer), ends = 0;
    for (size_t cut = 0; cut < len; cut++) {
        struct things read = {0};
        uint8_t *exact = malloc(cut ? cut : 1);
        assert_non_null(exact);
        memcpy(exact, buffer, cut);
        struct hf_codec codec = hf_codec_reader((struct hf_bytes){exact, cut});
        fields(&codec, &read);
        ends += hf_codec_end(&codec);
        free(exact);
    }
    assert_int_equal(ends, 6); /* between two fields, and at the beginning */
}

static void what_does_not_fit_fails(void **state)
{
    uint8_t buffer[256];
    (void)state;
    size_t len = write_all(buffer);
    for (size_t max = 1; max < len; max++) {
        struct things things = whole;
        struct hf_codec codec = hf_codec_writer(buffer, max);
        fields(&codec, &things);
        assert_false(hf_codec_end(&codec));
        assert_true(codec.writer.len <= max);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(later_fields_are_passed_over),
        cmocka_unit_test(needed_ones_are_told),
        cmocka_unit_test(missing_ones_keep_their_default),
        cmocka_unit_test(widths_may_differ),
        cmocka_unit_test(every_cut_is_a_failure_or_a_default),
        cmocka_unit_test(what_does_not_fit_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
