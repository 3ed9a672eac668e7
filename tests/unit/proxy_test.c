/**
 * proxy_test.c - PROXY headers, right ones and wrong ones, whole and byte by byte.
 */
#include "proxy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HEADER_LEN 16

struct made {
    uint8_t data[4096];
    size_t len;
};

static void put(struct made *made, const void *data, size_t len)
{
    memcpy(made->data + made->len, data, len);
    made->len += len;
}

/* The length is filled in by close(). */
static struct made begin(uint8_t version, uint8_t family)
{
    struct made made = {.len = 0};
    put(&made, "\r\n\r\n\0\r\nQUIT\n", 12);
    put(&made, &version, 1);
    put(&made, &family, 1);
    put(&made, "\0\0", 2);
    return made;
}

static void close_at(struct made *made, size_t len)
{
    made->data[14] = (uint8_t)((len - HEADER_LEN) >> 8);
    made->data[15] = (uint8_t)(len - HEADER_LEN);
}

static struct made v4_header(void)
{
    struct made made = begin(0x21, 0x11);
    put(&made, "\xc0\0\2\7\x7f\0\0\1\x30\x39\x16\x34", 12);
    close_at(&made, made.len);
    return made;
}

/* In a block of its very length. */
static enum hf_status read_len(struct hf_proxy_header *out, const struct made *made, size_t len)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);
    memcpy(copy, made->data, len);
    enum hf_status status = hf_proxy_read(out, (struct hf_bytes){copy, len});
    free(copy);
    return status;
}

static enum hf_status read_all(struct hf_proxy_header *out, const struct made *made)
{
    return read_len(out, made, made->len);
}

static void names_the_peer(void **state)
{
    (void)state;
    struct hf_proxy_header header;
    char text[HF_ADDRESS_TEXT_MAX];
    struct made made = v4_header();
    assert_int_equal(read_all(&header, &made), HF_OK);
    assert_true(header.has_peer);
    assert_string_equal(hf_address_print(text, &header.peer), "192.0.2.7:12345");
    assert_int_equal(header.len, made.len);
    put(&made, "hello", 5); /* the peer's own bytes */
    assert_int_equal(read_all(&header, &made), HF_OK);
    assert_int_equal(header.len, made.len - 5);

    made = begin(0x21, 0x21);
    put(&made, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x42", 16);
    put(&made, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1\x16\x33\x16\x34", 20);
    close_at(&made, made.len);
    assert_int_equal(read_all(&header, &made), HF_OK);
    assert_string_equal(hf_address_print(text, &header.peer), "[2001:db8::42]:5683");
}

static void goes_on_when_it_is_whole(void **state)
{
    (void)state;
    struct made made = v4_header();
    struct hf_proxy_header header = {.len = 77};
    for (size_t len = 0; len < made.len; len++) {
        assert_int_equal(read_len(&header, &made, len), HF_WAITING);
        assert_int_equal(header.len, 77);
    }
    for (size_t at = 0; at < 12; at++) { /* a wrong byte is told at once */
        struct made wrong = made;
        wrong.data[at] ^= 0x40;
        assert_int_equal(read_len(&header, &wrong, at + 1), HF_E_DECODE);
    }
}

static void balancers_own(void **state)
{
    (void)state;
    struct hf_proxy_header header;
    struct made made = begin(0x20, 0x00); /* a health check */
    assert_int_equal(read_all(&header, &made), HF_OK);
    assert_false(header.has_peer);
    made = begin(0x20, 0x77); /* whatever it says of itself */
    put(&made, "anything", 8);
    close_at(&made, made.len);
    assert_int_equal(read_all(&header, &made), HF_OK);
    assert_false(header.has_peer);
    assert_int_equal(header.len, made.len);
    made = begin(0x21, 0x00); /* on behalf of somebody unknown */
    assert_int_equal(read_all(&header, &made), HF_OK);
    assert_false(header.has_peer);
    made = begin(0x21, 0x31); /* of a Unix socket */
    memset(made.data + made.len, 'x', 216);
    made.len += 216;
    close_at(&made, made.len);
    assert_int_equal(read_all(&header, &made), HF_OK);
    assert_false(header.has_peer);
}

static void wrong_ones(void **state)
{
    (void)state;
    struct hf_proxy_header header;
    struct made made = v4_header();
    static const uint8_t versions[] = {0x00, 0x10, 0x11, 0x22, 0x2f, 0x31, 0xff};
    for (size_t i = 0; i < sizeof versions; i++) {
        struct made wrong = made;
        wrong.data[12] = versions[i];
        assert_int_equal(read_all(&header, &wrong), HF_E_DECODE);
    }
    static const uint8_t families[] = {0x01, 0x12, 0x22, 0x32, 0x41, 0xff};
    for (size_t i = 0; i < sizeof families; i++) {
        struct made wrong = made;
        wrong.data[13] = families[i];
        assert_int_equal(read_all(&header, &wrong), HF_E_DECODE);
    }
    for (size_t len = HEADER_LEN; len < made.len; len++) { /* too short for its family */
        struct made wrong = made;
        close_at(&wrong, len);
        assert_int_equal(read_all(&header, &wrong), HF_E_DECODE);
    }
    close_at(&made, HF_PROXY_LEN_MAX + 1);
    assert_int_equal(read_all(&header, &made), HF_E_DECODE);
    close_at(&made, HF_PROXY_LEN_MAX);
    assert_int_equal(read_all(&header, &made), HF_WAITING);
}

static void tlvs(void **state)
{
    (void)state;
    struct hf_proxy_header header;
    struct made made = v4_header();
    put(&made,
        "\x02\0\x0b"
        "example.com",
        14);
    put(&made, "\x04\0\0", 3);
    put(&made, "\x03\0\4\0\0\0\0", 7); /* the checksum of zeros is not zero */
    close_at(&made, made.len);
    assert_int_equal(read_all(&header, &made), HF_E_DECODE);
    /* Another implementation's, by table, which gives E3069283 for "123456789" as it must. */
    memcpy(made.data + made.len - 4, "\xee\x99\x20\x94", 4);
    assert_int_equal(read_all(&header, &made), HF_OK);
    made.data[17] ^= 1; /* the address */
    assert_int_equal(read_all(&header, &made), HF_E_DECODE);

    for (size_t cut = 1; cut < 14; cut++) { /* a TLV that ends beyond the header */
        made = v4_header();
        put(&made,
            "\x02\0\x0b"
            "example.com",
            14);
        close_at(&made, made.len - cut);
        assert_int_equal(read_all(&header, &made), HF_E_DECODE);
    }
    made = v4_header();
    put(&made, "\x03\0\3\0\0\0", 6); /* a checksum of another length */
    close_at(&made, made.len);
    assert_int_equal(read_all(&header, &made), HF_E_DECODE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_the_peer), cmocka_unit_test(goes_on_when_it_is_whole),
        cmocka_unit_test(balancers_own),  cmocka_unit_test(wrong_ones),
        cmocka_unit_test(tlvs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
