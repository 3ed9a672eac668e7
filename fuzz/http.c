/**
 * http.c - fuzz target: the daemon's HTTP responder. The same bytes go in at once and in pieces;
 * the answers must be the same, each with the length it says, and none after the end.
 */
#include "http.h"

#include "fuzz.h"
#include "loop_fake.h"

#include <stdio.h>

#define ASSOCIATION UINT64_C(0x0500000100000001)

static struct hf_loop *loop(void)
{
    return (struct hf_loop *)(void *)&fuzz_loop;
}

/* Answers a head may promise a body for; to HEAD it does not come, so both are right. */
static void check_answers(void)
{
    const char *text = (const char *)fuzz_loop.sent;
    const char *end = text + fuzz_loop.sent_len;
    unsigned count = 0;
    while (text < end) {
        size_t len = 0;
        FUZZ_CHECK(end - text > 15 && memcmp(text, "HTTP/1.1 ", 9) == 0);
        const char *body = memmem(text, (size_t)(end - text), "\r\n\r\n", 4);
        FUZZ_CHECK(body != NULL);
        body += 4;
        const char *field = memmem(text, (size_t)(body - text), "Content-Length: ", 16);
        FUZZ_CHECK(field != NULL && sscanf(field, "Content-Length: %zu", &len) == 1);
        bool has_body = body < end && *body == '{';
        FUZZ_CHECK(!has_body || (size_t)(end - body) >= len);
        text = has_body ? body + len : body;
        count++;
    }
    FUZZ_CHECK(count == fuzz_loop.send_count);
}

static void run(struct fuzz_input front, struct hf_bytes bytes, uint8_t piece)
{
    struct hf_http *http = hf_http_open();
    uint8_t names = fuzz_u8(&front);
    FUZZ_CHECK(http != NULL);
    fuzz_loop_reset(HF_TRANSPORT_TLS, names, 0, fuzz_u8(&front));
    size_t done = 0;
    while (done < bytes.len && !fuzz_loop.is_ended && !fuzz_loop.is_gone) {
        size_t len = piece && bytes.len - done > piece ? piece : bytes.len - done;
        uint8_t *copy = fuzz_copy((struct hf_bytes){bytes.data + done, len});
        hf_http_receive(http, loop(), ASSOCIATION, (struct hf_bytes){copy, len});
        free(copy);
        done += len;
    }
    check_answers();
    hf_http_close(http);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static uint8_t whole[FUZZ_SENT_MAX];
    static bool is_ready;
    if (!is_ready)
        hf_http_init();
    is_ready = true;
    if (len < 3)
        return 0;
    struct fuzz_input front = {data, 2};
    struct hf_bytes bytes = {data + 3, len - 3};
    run(front, bytes, 0);
    size_t whole_len = fuzz_loop.sent_len;
    bool is_ended = fuzz_loop.is_ended;
    memcpy(whole, fuzz_loop.sent, whole_len);
    run(front, bytes, (uint8_t)(data[2] | 1));
    if (fuzz_is_canary() && fuzz_loop.sent_len > 9)
        fuzz_loop.sent[9] ^= 1;
    FUZZ_CHECK(whole_len == fuzz_loop.sent_len && is_ended == fuzz_loop.is_ended);
    FUZZ_CHECK(memcmp(whole, fuzz_loop.sent, whole_len) == 0);
    return 0;
}
