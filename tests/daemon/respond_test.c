/**
 * respond_test.c - the responders of handfastd, against a loop that remembers what it is given.
 */
#include "http.h"
#include "respond.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- the loop ----------------------------------------------------------------------------- */

#define ASSOCIATION 77

static struct {
    uint8_t sent[1 << 20];
    size_t sent_len;
    unsigned send_count;
    unsigned end_count;
    hf_association_id ended;
    enum hf_status send_status;
    struct hf_association_info info;
    bool is_gone;
} fake;

enum hf_status hf_loop_send(struct hf_loop *loop, hf_association_id association,
                            struct hf_bytes data)
{
    (void)loop;
    (void)association;
    if (fake.send_status != HF_OK)
        return fake.send_status;
    assert_true(fake.sent_len + data.len <= sizeof(fake.sent));
    memcpy(fake.sent + fake.sent_len, data.data, data.len);
    fake.sent_len += data.len;
    fake.send_count++;
    return HF_OK;
}

void hf_loop_end(struct hf_loop *loop, hf_association_id association, enum hf_close how)
{
    (void)loop;
    assert_int_equal(how, HF_CLOSE_NOTIFY);
    fake.ended = association;
    fake.end_count++;
}

struct hf_engine *hf_loop_engine(struct hf_loop *loop)
{
    return (struct hf_engine *)loop;
}

/* Ours, in front of the library's: the responder asks nothing else of the engine. */
enum hf_status hf_engine_association_info(struct hf_association_info *out,
                                          const struct hf_engine *engine,
                                          hf_association_id association)
{
    (void)engine;
    (void)association;
    if (fake.is_gone)
        return HF_E_STALE;
    *out = fake.info;
    return HF_OK;
}

static struct hf_respond *respond;

static int set_up(void **state)
{
    (void)state;
    memset(&fake, 0, sizeof(fake));
    fake.info = (struct hf_association_info){
        .entity_kind = HF_ENTITY_AE,
        .framework = HF_FRAMEWORK_PROVISIONED_SYMMETRIC_KEY,
        .reference_point = HF_REFERENCE_POINT_MCA,
        .transport = HF_TRANSPORT_DTLS,
        .suite = HF_SUITE_PSK_AES_128_CCM_8,
        .extended_master_secret = true,
        .is_resumed = true,
        .plaintext_len_max = 16384,
        .entity_id_len = 8,
        .credential_id_len = 7,
        .entity_id = "/cse/Cae",
        .credential_id = "12-demo",
    };
    hf_respond_init();
    respond = hf_respond_open(HF_RESPOND_WHOAMI);
    return respond == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    hf_respond_close(respond);
    return 0;
}

static void receive(enum hf_transport transport, const void *data, size_t len)
{
    struct hf_event event = {
        .kind = HF_EVENT_DATA, .association = ASSOCIATION, .data = {data, len}};
    hf_respond_data(respond, NULL, &event, transport);
}

static void reset(void)
{
    fake.sent_len = 0;
    fake.send_count = 0;
    fake.end_count = 0;
}

/* ---- HTTP --------------------------------------------------------------------------------- */

static void http(const char *text)
{
    receive(HF_TRANSPORT_TLS, text, strlen(text));
}

/* What was sent, as text; at most one call per test step. */
static const char *sent_text(void)
{
    fake.sent[fake.sent_len] = '\0';
    return (const char *)fake.sent;
}

static unsigned count(const char *needle)
{
    unsigned found = 0;
    for (const char *at = sent_text(); (at = strstr(at, needle)) != NULL; at++)
        found++;
    return found;
}

static void test_http_get_is_answered_with_the_identity(void **state)
{
    (void)state;
    http("GET /anything HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(strncmp(sent_text(), "HTTP/1.1 200 OK\r\n", 17), 0);
    assert_int_equal(count("\"entity_id\":\"/cse/Cae\""), 1);
    assert_int_equal(count("\"credential_id\":\"12-demo\""), 1);
    assert_int_equal(count("\"entity_kind\":\"ae\""), 1);
    assert_int_equal(count("\"suite\":\"TLS_PSK_WITH_AES_128_CCM_8\""), 1);
    assert_int_equal(count("\"reference_point\":\"Mca\""), 1);
    assert_int_equal(count("\"extended_master_secret\":true"), 1);
    assert_int_equal(count("\"resumed\":true"), 1);
    assert_int_equal(count("Connection: keep-alive\r\n"), 1);
    assert_int_equal(fake.end_count, 0);
    const char *body = strstr(sent_text(), "\r\n\r\n") + 4;
    char expected[64];
    snprintf(expected, sizeof(expected), "Content-Length: %zu\r\n", strlen(body));
    assert_int_equal(count(expected), 1);
}

static void test_http_one_byte_at_a_time(void **state)
{
    (void)state;
    static const char request[] = "GET / HTTP/1.1\r\nA: b\r\n\r\nHEAD / HTTP/1.1\r\n\r\n";
    for (size_t i = 0; i < sizeof(request) - 1; i++)
        receive(HF_TRANSPORT_TLS, request + i, 1);
    assert_int_equal(count("HTTP/1.1 200 OK"), 2);
    assert_int_equal(count("\"entity_id\""), 1); /* HEAD has no body */
    assert_int_equal(fake.end_count, 0);
}

static void test_http_pipelining(void **state)
{
    (void)state;
    http("GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n\r\nGET /3 HTTP/1.1\r\n");
    assert_int_equal(count("HTTP/1.1 200 OK"), 2);
    http("\r\n");
    assert_int_equal(count("HTTP/1.1 200 OK"), 3);
    assert_int_equal(fake.end_count, 0);
}

static void test_http_connections_that_end(void **state)
{
    (void)state;
    static const char *const requests[] = {
        "GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\n\r\n", /* the second is not read */
    };
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        reset();
        http(requests[i]);
        assert_int_equal(count("HTTP/1.1 200 OK"), 1);
        assert_int_equal(count("Connection: close"), 1);
        assert_int_equal(fake.end_count, 1);
        assert_int_equal(fake.ended, ASSOCIATION);
    }
    reset();
    http("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_int_equal(fake.end_count, 0);
}

static void test_http_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        const char *status;
        unsigned end_count;
    } cases[] = {
        {"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", "405 Method Not Allowed", 0},
        {"CONNECT x:1 HTTP/1.1\r\n\r\n", "405 Method Not Allowed", 0},
        {"nonsense\r\n\r\n", "400 Bad Request", 1},
        {"GET / HTTP/9.9\r\n\r\n", "505 HTTP Version Not Supported", 1},
        {"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", "400 Bad Request", 1},
        {"\x16\x03\x01\x02", "400 Bad Request", 1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        reset();
        http(cases[i].request);
        assert_int_equal(count(cases[i].status), 2); /* in the head and in the body */
        assert_int_equal(count("HTTP/1.1"), 1);
        assert_int_equal(fake.end_count, cases[i].end_count);
    }
}

static void test_http_head_is_bounded(void **state)
{
    (void)state;
    http("GET / HTTP/1.1\r\nX: ");
    char filler[1024];
    memset(filler, 'x', sizeof(filler));
    for (int i = 0; i < 7; i++)
        receive(HF_TRANSPORT_TLS, filler, sizeof(filler));
    assert_int_equal(fake.send_count, 0);
    for (int i = 0; i < 2 && fake.send_count == 0; i++)
        receive(HF_TRANSPORT_TLS, filler, sizeof(filler));
    assert_int_equal(count("HTTP/1.1 431 "), 1);
    assert_int_equal(fake.end_count, 1);
}

static void test_http_request_that_does_not_end(void **state)
{
    (void)state;
    http("GET / HT");
    for (int second = 1; second < 30; second++)
        hf_respond_second(respond, NULL);
    assert_int_equal(fake.send_count, 0);
    hf_respond_second(respond, NULL);
    assert_int_equal(count("HTTP/1.1 408 "), 1);
    assert_int_equal(fake.end_count, 1);
    reset();
    hf_respond_second(respond, NULL);
    assert_int_equal(fake.end_count, 0);
}

static void test_http_forgets(void **state)
{
    (void)state;
    http("GET / HT");
    hf_respond_forget(respond, ASSOCIATION);
    for (int second = 0; second < 60; second++)
        hf_respond_second(respond, NULL);
    assert_int_equal(fake.end_count, 0);
    http("GET / HTTP/1.1\r\n\r\n"); /* another association under the same number begins anew */
    assert_int_equal(count("200 OK"), 1);
}

static void test_http_incomplete_requests_are_bounded(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 4096; i++) {
        struct hf_event event = {.association = 1000 + i, .data = {(const uint8_t *)"GET", 3}};
        hf_respond_data(respond, NULL, &event, HF_TRANSPORT_TLS);
    }
    assert_int_equal(fake.send_count, 0);
    http("GET");
    assert_int_equal(count("HTTP/1.1 503 "), 1);
    assert_int_equal(fake.end_count, 1);
    reset();
    hf_respond_forget(respond, 1000);
    http("GET");
    assert_int_equal(fake.send_count, 0);
    http(" / HTTP/1.1\r\n\r\n");
    assert_int_equal(count("200 OK"), 1);
}

static void test_http_peer_that_does_not_read(void **state)
{
    (void)state;
    fake.send_status = HF_WAITING;
    http("GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n");
    assert_int_equal(fake.end_count, 1);
}

static void test_http_association_that_is_gone(void **state)
{
    (void)state;
    fake.is_gone = true;
    http("GET / HTTP/1.1\r\n\r\n");
    assert_int_equal(fake.send_count, 0);
}

static void test_identities_of_any_octets_stay_json(void **state)
{
    (void)state;
    static const char identity[] = "12-\xff\x00\"\\\n";
    memcpy(fake.info.credential_id, identity, sizeof(identity));
    fake.info.credential_id_len = sizeof(identity) - 1;
    fake.info.entity_id_len = 0;
    http("GET / HTTP/1.1\r\n\r\n");
    assert_int_equal(count("\"credential_id\":\"12-\\\\xFF\\\\x00\\\"\\\\\\\\x0A\""), 1);
    assert_int_equal(count("\"entity_id\":null"), 1);
}

/* ---- CoAP --------------------------------------------------------------------------------- */

#define PATH "\xb6whoami"

static void coap(const char *message, size_t len)
{
    reset();
    receive(HF_TRANSPORT_DTLS, message, len);
}

#define COAP(text) coap(text, sizeof(text) - 1)

static void assert_sent(const char *expected, size_t len)
{
    assert_int_equal(fake.send_count, 1);
    assert_true(fake.sent_len >= len);
    assert_memory_equal(fake.sent, expected, len);
}

#define ASSERT_SENT(text) assert_sent(text, sizeof(text) - 1)

static void test_coap_confirmable_get(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) { /* a duplicate is answered again */
        COAP("\x42\x01\x12\x34\xAA\xBB" PATH);
        /* ACK, 2.05, same message id and token, Content-Format 50, payload */
        ASSERT_SENT("\x62\x45\x12\x34\xAA\xBB\xC1\x32\xFF{\"entity_id\":\"/cse/Cae\"");
        assert_int_equal(fake.sent[fake.sent_len - 1], '}');
    }
}

static void test_coap_without_a_token(void **state)
{
    (void)state;
    COAP("\x40\x01\x12\x34" PATH);
    ASSERT_SENT("\x60\x45\x12\x34\xC1\x32\xFF{\"entity_id\"");
}

static void test_coap_non_confirmable_get(void **state)
{
    (void)state;
    COAP("\x51\x01\x12\x34\x07" PATH);
    assert_int_equal(fake.send_count, 1);
    assert_int_equal(fake.sent[0], 0x51);
    assert_int_equal(fake.sent[1], 0x45);
    assert_int_equal(fake.sent[4], 0x07);
    uint8_t first_id = fake.sent[3];
    COAP("\x51\x01\x12\x35\x07" PATH);
    assert_int_equal(fake.sent[3], first_id + 1);
}

static void test_coap_refusals(void **state)
{
    (void)state;
    COAP("\x40\x01\x00\x01\xb5other");
    ASSERT_SENT("\x60\x84\x00\x01\xFF");
    COAP("\x40\x01\x00\x01");
    ASSERT_SENT("\x60\x84\x00\x01\xFF");
    COAP("\x40\x01\x00\x01" PATH "\x01x"); /* /whoami/x */
    ASSERT_SENT("\x60\x84\x00\x01\xFF");
    COAP("\x40\x02\x00\x01" PATH);
    ASSERT_SENT("\x60\x85\x00\x01\xFF");
    COAP("\x40\x01\x00\x01" PATH "\x61\x00"); /* Accept: text/plain */
    ASSERT_SENT("\x60\x86\x00\x01\xFF");
    COAP("\x40\x01\x00\x01" PATH "\x61\x32"); /* Accept: application/json */
    ASSERT_SENT("\x60\x45\x00\x01");
    COAP("\x40\x01\x00\x01" PATH "\xd0\x05"); /* option 29: critical and unknown */
    ASSERT_SENT("\x60\x82\x00\x01\xFF");
    COAP("\x40\x01\x00\x01" PATH "\xd0\x06"); /* option 30: elective */
    ASSERT_SENT("\x60\x45\x00\x01");
}

static void test_coap_ping_and_nonsense(void **state)
{
    (void)state;
    COAP("\x40\x00\x12\x34");
    ASSERT_SENT("\x70\x00\x12\x34");
    assert_int_equal(fake.sent_len, 4);
    COAP("\x49\x01\x12\x34"); /* token length 9 */
    ASSERT_SENT("\x70\x00\x12\x34");
    COAP("\x40\x45\x12\x34"); /* an answer nobody asked for */
    ASSERT_SENT("\x70\x00\x12\x34");
    COAP("\x40\x01\x12\x34\xff"); /* a payload marker without a payload */
    ASSERT_SENT("\x70\x00\x12\x34");
    static const char *const silent[] = {
        "\x50\x00\x12\x34", "\x59\x01\x12\x34", "\x60\x00\x12\x34",
        "\x70\x00\x12\x34", "\x00\x01\x12\x34", "\x80\x01\x12\x34",
    };
    for (size_t i = 0; i < sizeof(silent) / sizeof(silent[0]); i++) {
        coap(silent[i], 4);
        assert_int_equal(fake.send_count, 0);
    }
    for (size_t len = 0; len < 4; len++) {
        coap("\x40\x01\x12", len);
        assert_int_equal(fake.send_count, 0);
    }
}

/* Fetches /whoami block by block and puts it together. */
static void fetch_blocks(uint8_t szx, char *body, size_t *body_len)
{
    *body_len = 0;
    for (unsigned number = 0;; number++) {
        assert_true(number < 200);
        uint8_t request[] = {0x40, 0x01, 0x00, (uint8_t)number, 0xb6, 'w', 'h', 'o', 'a', 'm', 'i',
                             0xc2, 0,    0};
        request[12] = (uint8_t)(number >> 4);
        request[13] = (uint8_t)(number << 4 | szx);
        coap((const char *)request, sizeof(request));
        assert_int_equal(fake.send_count, 1);
        assert_int_equal(fake.sent[1], 0x45);
        /* Content-Format 50, Block2 of 0 to 2 bytes, payload marker */
        assert_memory_equal(fake.sent + 4, "\xC1\x32", 2);
        size_t block_len = fake.sent[6] - 0xB0u;
        assert_true(block_len <= 2);
        uint8_t block = block_len == 0 ? 0 : fake.sent[6 + block_len];
        const uint8_t *payload = fake.sent + 7 + block_len;
        assert_int_equal(*payload, 0xFF);
        assert_int_equal(block & 7, szx);
        size_t len = (size_t)(fake.sent + fake.sent_len - payload - 1);
        bool has_more = (block & 8) != 0;
        assert_true(has_more ? len == 16u << szx : len <= 16u << szx);
        memcpy(body + *body_len, payload + 1, len);
        *body_len += len;
        if (!has_more)
            return;
    }
}

static void test_coap_blocks(void **state)
{
    (void)state;
    static char whole[8192];
    static char again[8192];
    size_t whole_len = 0;
    size_t again_len = 0;
    fetch_blocks(6, whole, &whole_len);
    assert_int_equal(whole[0], '{');
    assert_int_equal(whole[whole_len - 1], '}');
    for (uint8_t szx = 0; szx < 6; szx++) {
        fetch_blocks(szx, again, &again_len);
        assert_int_equal(again_len, whole_len);
        assert_memory_equal(again, whole, whole_len);
    }
    COAP("\x40\x01\x00\x01" PATH "\xc1\xf6"); /* block 15: behind the end */
    ASSERT_SENT("\x60\x80\x00\x01\xFF");
    COAP("\x40\x01\x00\x01" PATH "\xc1\x07"); /* size exponent 7 */
    ASSERT_SENT("\x60\x80\x00\x01\xFF");
}

/* An identity that fills its limit, and a peer that takes small records only. */
static void test_coap_answers_fit_the_peer(void **state)
{
    (void)state;
    static const uint16_t limits[] = {64, 128, 512, 1024, 16384};
    memset(fake.info.credential_id, 'i', HF_CREDENTIAL_ID_MAX);
    fake.info.credential_id_len = HF_CREDENTIAL_ID_MAX;
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        fake.info.plaintext_len_max = limits[i];
        COAP("\x48\x01\x00\x01"
             "12345678" PATH);
        assert_int_equal(fake.send_count, 1);
        assert_int_equal(fake.sent[1], 0x45);
        assert_true(fake.sent_len <= limits[i]);
        assert_true(fake.sent_len <= 1152);
        static char body[8192];
        size_t body_len = 0;
        fetch_blocks(0, body, &body_len);
        assert_true(body_len > HF_CREDENTIAL_ID_MAX);
    }
}

/* ---- the others --------------------------------------------------------------------------- */

static void test_echo_gives_back(void **state)
{
    (void)state;
    hf_respond_close(respond);
    respond = hf_respond_open(HF_RESPOND_ECHO);
    receive(HF_TRANSPORT_TLS, "abc", 3);
    ASSERT_SENT("abc");
    receive(HF_TRANSPORT_DTLS, "d\0f", 3);
    assert_memory_equal(fake.sent, "abcd\0f", 6);
    assert_int_equal(fake.sent_len, 6);
    assert_int_equal(fake.send_count, 2);
}

static void test_echo_that_cannot_be_sent(void **state)
{
    (void)state;
    hf_respond_close(respond);
    respond = hf_respond_open(HF_RESPOND_ECHO);
    fake.send_status = HF_E_TOO_LONG;
    receive(HF_TRANSPORT_DTLS, "abc", 3);
    assert_int_equal(fake.end_count, 0);
    receive(HF_TRANSPORT_TLS, "abc", 3);
    assert_int_equal(fake.end_count, 1);
}

static void test_none_says_nothing(void **state)
{
    (void)state;
    hf_respond_close(respond);
    respond = hf_respond_open(HF_RESPOND_NONE);
    receive(HF_TRANSPORT_TLS, "GET / HTTP/1.0\r\n\r\n", 18);
    COAP("\x40\x01\x12\x34" PATH);
    assert_int_equal(fake.send_count, 0);
    assert_int_equal(fake.end_count, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_http_get_is_answered_with_the_identity),
        TEST(test_http_one_byte_at_a_time),
        TEST(test_http_pipelining),
        TEST(test_http_connections_that_end),
        TEST(test_http_refusals),
        TEST(test_http_head_is_bounded),
        TEST(test_http_request_that_does_not_end),
        TEST(test_http_forgets),
        TEST(test_http_incomplete_requests_are_bounded),
        TEST(test_http_peer_that_does_not_read),
        TEST(test_http_association_that_is_gone),
        TEST(test_identities_of_any_octets_stay_json),
        TEST(test_coap_confirmable_get),
        TEST(test_coap_without_a_token),
        TEST(test_coap_non_confirmable_get),
        TEST(test_coap_refusals),
        TEST(test_coap_ping_and_nonsense),
        TEST(test_coap_blocks),
        TEST(test_coap_answers_fit_the_peer),
        TEST(test_echo_gives_back),
        TEST(test_echo_that_cannot_be_sent),
        TEST(test_none_says_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
