/**
 * maf_http_test.c - requests and responses, whole and byte by byte, pipelined, and everything that
 * must break them off.
 */
#include "maf_http.h"
#include "maf_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct hf_bytes text(const char *string)
{
    return hf_maf_text_view(string);
}

/* What one reader makes of a text, fed `step` bytes at a time: the last verdict; the first message
 * stays in the reader. */
static enum hf_maf_read feed(struct hf_maf_reader *reader, struct hf_bytes bytes, size_t step)
{
    size_t consumed = 0;
    for (size_t at = 0; at < bytes.len; at += consumed) {
        size_t len = bytes.len - at < step ? bytes.len - at : step;
        enum hf_maf_read verdict =
            hf_maf_reader_take(reader, &consumed, (struct hf_bytes){bytes.data + at, len});
        if (verdict != HF_MAF_READ_MORE)
            return verdict;
        assert_int_equal(consumed, len);
    }
    return HF_MAF_READ_MORE;
}

static struct hf_maf_reader *open_reader(enum hf_maf_side side)
{
    struct hf_maf_reader *reader = NULL;
    assert_int_equal(hf_maf_reader_open(&reader, side), HF_OK);
    return reader;
}

static void test_requests_there_and_back(void **state)
{
    (void)state;
    char out[2000];
    const struct hf_maf_request request = {
        .method = HF_MAF_CREATE,
        .target = text("/MAFBase"),
        .host = text("maf.example.com"),
        .origin = text("//m2msp.example/in-cse"),
        .request_id = text("k7f3a1"),
        .type = 10002,
        .body = text("{\"a\":1}"),
    };
    size_t len = hf_maf_http_write_request(out, sizeof(out), &request);
    assert_true(len > 0);
    for (size_t step = 1; step <= len; step = step * 3 + 1) {
        struct hf_maf_reader *reader = open_reader(HF_MAF_SERVER);
        struct hf_bytes bytes = {(const uint8_t *)out, len};
        assert_int_equal(feed(reader, bytes, step), HF_MAF_READ_MESSAGE);
        const struct hf_maf_message *message = hf_maf_reader_message(reader);
        assert_int_equal(message->method, HF_MAF_CREATE);
        assert_true(hf_maf_text_is(message->target, "/MAFBase"));
        assert_true(hf_maf_text_is(message->origin, "//m2msp.example/in-cse"));
        assert_true(hf_maf_text_is(message->request_id, "k7f3a1"));
        assert_int_equal(message->type, 10002);
        assert_true(message->is_json);
        assert_true(message->is_kept);
        assert_true(hf_maf_text_is(message->body, "{\"a\":1}"));
        hf_maf_reader_close(reader);
    }
    /* It fits exactly, or not at all. */
    assert_int_equal(hf_maf_http_write_request(out, len + 1, &request), len);
    for (size_t max = 1; max <= len; max++)
        assert_int_equal(hf_maf_http_write_request(out, max, &request), 0);
}

static void test_requests_that_are_not_written(void **state)
{
    (void)state;
    char out[2000];
    const struct hf_maf_request good = {.method = HF_MAF_RETRIEVE, .target = text("/a")};
    assert_true(hf_maf_http_write_request(out, sizeof(out), &good) > 0);
    struct hf_maf_request bad = good;
    bad.target = text("a");
    assert_int_equal(hf_maf_http_write_request(out, sizeof(out), &bad), 0);
    bad.target = text("/a b");
    assert_int_equal(hf_maf_http_write_request(out, sizeof(out), &bad), 0);
    bad.target = text("/a\r\nX: y");
    assert_int_equal(hf_maf_http_write_request(out, sizeof(out), &bad), 0);
    bad = good;
    bad.origin = text("x\r\nX-M2M-RI: y");
    assert_int_equal(hf_maf_http_write_request(out, sizeof(out), &bad), 0);
    bad = good;
    bad.method = HF_MAF_OTHER;
    assert_int_equal(hf_maf_http_write_request(out, sizeof(out), &bad), 0);
}

static void test_responses_there_and_back(void **state)
{
    (void)state;
    static const unsigned codes[] = {2000, 2001, 2002, 2004, 4000, 4004, 4103, 4105, 5000};
    char out[2000];
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        const struct hf_maf_response response = {.rsc = codes[i],
                                                 .request_id = text("k"),
                                                 .is_kept = i % 2 == 0,
                                                 .body = text(i % 3 == 0 ? "" : "{}")};
        size_t len = hf_maf_http_write_response(out, sizeof(out), &response);
        struct hf_maf_reader *reader = open_reader(HF_MAF_CLIENT);
        struct hf_bytes bytes = {(const uint8_t *)out, len};
        assert_int_equal(feed(reader, bytes, 7), HF_MAF_READ_MESSAGE);
        const struct hf_maf_message *message = hf_maf_reader_message(reader);
        assert_int_equal(message->rsc, codes[i]);
        assert_int_equal(message->status, hf_maf_http_status(codes[i]));
        assert_int_equal(message->is_kept, i % 2 == 0);
        assert_int_equal(message->body.len, i % 3 == 0 ? 0 : 2);
        hf_maf_reader_close(reader);
    }
}

static void test_pipelined(void **state)
{
    (void)state;
    const char *both = "HTTP/1.1 100 Continue\r\n\r\n"
                       "HTTP/1.1 200 OK\r\nX-M2M-RSC: 2000\r\nContent-Length: 1\r\n\r\nA"
                       "HTTP/1.1 404 \r\nX-M2M-RSC:4004\r\nTransfer-Encoding: chunked\r\n\r\n"
                       "3\r\nabc\r\n0\r\n\r\n"
                       "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    struct hf_maf_reader *reader = open_reader(HF_MAF_CLIENT);
    static const unsigned want[] = {2000, 4004, 0};
    static const char *const bodies[] = {"A", "abc", ""};
    struct hf_bytes rest = text(both);
    for (int i = 0; i < 3; i++) {
        size_t consumed = 0;
        assert_int_equal(hf_maf_reader_take(reader, &consumed, rest), HF_MAF_READ_MESSAGE);
        assert_int_equal(hf_maf_reader_message(reader)->rsc, want[i]);
        assert_true(hf_maf_text_is(hf_maf_reader_message(reader)->body, bodies[i]));
        assert_int_equal(hf_maf_reader_message(reader)->is_kept, i < 2);
        rest.data += consumed;
        rest.len -= consumed;
    }
    assert_int_equal(rest.len, 0);
    assert_false(hf_maf_reader_is_inside(reader));
    hf_maf_reader_close(reader);
}

static void breaks(enum hf_maf_side side, const char *string, unsigned status)
{
    for (size_t step = 1; step < 10000; step = step * 50 + 1) {
        struct hf_maf_reader *reader = open_reader(side);
        enum hf_maf_read verdict = feed(reader, text(string), step);
        if (verdict != HF_MAF_READ_BROKEN || hf_maf_reader_status(reader) != status)
            fail_msg("%.60s: %d, %u", string, (int)verdict, hf_maf_reader_status(reader));
        size_t consumed = 0; /* and stays so */
        assert_int_equal(hf_maf_reader_take(reader, &consumed, text("GET / HTTP/1.1\r\n\r\n")),
                         HF_MAF_READ_BROKEN);
        hf_maf_reader_close(reader);
    }
}

static void test_broken(void **state)
{
    (void)state;
    breaks(HF_MAF_CLIENT, "HTTP/1.1 200 OK\r\n\r\n", 400); /* its length is that of the stream */
    breaks(HF_MAF_CLIENT, "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", 400);
    breaks(HF_MAF_CLIENT, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400);
    breaks(HF_MAF_CLIENT,
           "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
    breaks(HF_MAF_CLIENT, "HTTP/1.1 200 OK\r\nContent-Length: 16385\r\n\r\n", 413);
    breaks(HF_MAF_CLIENT,
           "HTTP/1.1 200 OK\r\nX-M2M-RSC: 2000\r\nX-M2M-RSC: 4004\r\nContent-Length: 0\r\n\r\n",
           400);
    breaks(HF_MAF_CLIENT, "GET / HTTP/1.1\r\n\r\n", 400);
    breaks(HF_MAF_CLIENT, "\x16\x03\x03\x01\x02", 400);
    breaks(HF_MAF_SERVER, "HTTP/1.1 200 OK\r\n\r\n", 400);
    breaks(HF_MAF_SERVER, "GET /\r\n\r\n", 505); /* HTTP/0.9 */
    breaks(HF_MAF_SERVER, "GET / HTTP/2.0\r\n\r\n", 505);
    breaks(HF_MAF_SERVER, "POST / HTTP/1.1\r\nContent-Length: 99999\r\n\r\n", 413);
    breaks(HF_MAF_SERVER, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400);
}

/* "X" of any length as a header, target or chunk. */
static void test_limits(void **state)
{
    (void)state;
    static char long_text[40000];
    static char run[20001];
    memset(run, 'a', sizeof(run) - 1);
    snprintf(long_text, sizeof(long_text), "GET /%.*s HTTP/1.1\r\n\r\n", HF_MAF_TARGET_MAX, run);
    breaks(HF_MAF_SERVER, long_text, 414);
    snprintf(long_text, sizeof(long_text), "GET / HTTP/1.1\r\nX-M2M-Origin: %.*s\r\n\r\n",
             HF_MAF_VALUE_MAX + 1, run);
    breaks(HF_MAF_SERVER, long_text, 431);
    snprintf(long_text, sizeof(long_text), "GET / HTTP/1.1\r\nX: %.*s\r\n\r\n", HF_MAF_HEAD_MAX,
             run);
    breaks(HF_MAF_SERVER, long_text, 431);
    size_t len = (size_t)snprintf(long_text, sizeof(long_text), "GET / HTTP/1.1\r\n");
    for (int i = 0; i <= HF_MAF_HEADERS_MAX; i++)
        len += (size_t)snprintf(long_text + len, sizeof(long_text) - len, "A: b\r\n");
    snprintf(long_text + len, sizeof(long_text) - len, "\r\n");
    breaks(HF_MAF_SERVER, long_text, 431);
    snprintf(long_text, sizeof(long_text),
             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%.*s\r\n",
             HF_MAF_BODY_MAX + 1, HF_MAF_BODY_MAX + 1, run);
    breaks(HF_MAF_CLIENT, long_text, 413);
}

static void test_numbers_and_types(void **state)
{
    (void)state;
    static const struct {
        const char *headers;
        unsigned rsc, type;
        bool is_json;
    } cases[] = {
        {"X-M2M-RSC: 12x\r\n", 0, 0, true},
        {"X-M2M-RSC: 1234567\r\n", 0, 0, true},
        {"x-m2m-rsc: 2000\r\ncontent-type: APPLICATION/JSON; charset=utf-8\r\n", 2000, 0, true},
        {"Content-Type: application/vnd.onem2m-res+json;ty=7\r\n", 0, 7, true},
        {"Content-Type: text/html\r\n", 0, 0, false},
        {"Content-Type: application/vnd.onem2m-res+xml; ty=10002\r\n", 0, 10002, false},
    };
    char out[400];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct hf_maf_reader *reader = open_reader(HF_MAF_CLIENT);
        snprintf(out, sizeof(out), "HTTP/1.1 200 OK\r\n%sContent-Length: 0\r\n\r\n",
                 cases[i].headers);
        assert_int_equal(feed(reader, text(out), 5), HF_MAF_READ_MESSAGE);
        assert_int_equal(hf_maf_reader_message(reader)->rsc, cases[i].rsc);
        assert_int_equal(hf_maf_reader_message(reader)->type, cases[i].type);
        assert_int_equal(hf_maf_reader_message(reader)->is_json, cases[i].is_json);
        hf_maf_reader_close(reader);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_there_and_back),
        cmocka_unit_test(test_requests_that_are_not_written),
        cmocka_unit_test(test_responses_there_and_back),
        cmocka_unit_test(test_pipelined),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_numbers_and_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
