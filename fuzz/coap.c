/**
 * coap.c - fuzz target: the daemon's CoAP responder. At most one answer to a datagram, well formed,
 * with the token and message id it was asked with, and no longer than the peer takes.
 */
#include "coap.h"

#include "fuzz.h"
#include "loop_fake.h"

#define ASSOCIATION UINT64_C(0x0500000100000001)

/* RFC 7252 3: options up to the payload marker, each within the message. */
static bool is_well_formed(struct hf_bytes message)
{
    struct hf_reader reader = hf_reader_of(message);
    uint8_t first = hf_reader_u8(&reader);
    (void)hf_reader_take(&reader, 3u + (first & 15));
    while (!reader.is_failed && reader.len > 0) {
        uint8_t head = hf_reader_u8(&reader);
        if (head == 0xFF)
            return reader.len > 0;
        unsigned parts[2] = {head >> 4, head & 15};
        for (int i = 0; i < 2; i++) {
            if (parts[i] == 15)
                return false;
            if (parts[i] == 13)
                parts[i] = hf_reader_u8(&reader) + 13u;
            else if (parts[i] == 14)
                parts[i] = hf_reader_u16(&reader) + 269u;
        }
        (void)hf_reader_take(&reader, parts[1]);
    }
    return !reader.is_failed && first >> 6 == 1 && (first & 15) <= 8;
}

static void check_answer(struct hf_bytes request, struct hf_bytes answer)
{
    bool is_confirmable = (request.data[0] >> 4 & 3) == 0;
    uint8_t type = answer.data[0] >> 4 & 3;
    FUZZ_CHECK(answer.len >= 4 && is_well_formed(answer));
    FUZZ_CHECK(answer.len <= 1152 && answer.len <= fuzz_loop.info.plaintext_len_max);
    FUZZ_CHECK(type == (is_confirmable ? (answer.data[1] ? 2 : 3) : 1));
    if (is_confirmable)
        FUZZ_CHECK(answer.data[2] == request.data[2] && answer.data[3] == request.data[3]);
    if (type == 3)
        return; /* a reset says no more */
    size_t token_len = request.data[0] & 15;
    FUZZ_CHECK((size_t)(answer.data[0] & 15) == token_len);
    FUZZ_CHECK(memcmp(answer.data + 4, request.data + 4, token_len) == 0);
    FUZZ_CHECK(answer.data[1] >> 5 == 2 || answer.data[1] >> 5 == 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static bool is_ready;
    uint16_t message_id = 7;
    struct fuzz_input input = {data, len};
    if (!is_ready)
        hf_coap_init();
    is_ready = true;
    uint8_t names = fuzz_u8(&input);
    fuzz_loop_reset(HF_TRANSPORT_DTLS, names & 0xDF, fuzz_u8(&input), 0);
    uint8_t *copy = fuzz_copy((struct hf_bytes){input.data, input.len});
    struct hf_bytes request = {copy, input.len};
    hf_coap_receive((struct hf_loop *)(void *)&fuzz_loop, ASSOCIATION, request, &message_id);
    FUZZ_CHECK(fuzz_loop.send_count <= 1 && !fuzz_loop.is_ended);
    if (fuzz_loop.send_count == 1) {
        if (fuzz_is_canary())
            fuzz_loop.sent[0] ^= 0x10;
        check_answer(request, (struct hf_bytes){fuzz_loop.sent, fuzz_loop.sent_len});
    }
    free(copy);
    return 0;
}
