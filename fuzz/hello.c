/**
 * hello.c - fuzz target: the ClientHello, read whole and by its front, agreed on and answered.
 */
#include "hello.h"

#include "cookie.h"
#include "fuzz.h"

static void check_views(const struct hf_hello *hello, struct hf_bytes body)
{
    const struct hf_bytes views[] = {
        hello->random,       hello->session_id,         hello->cookie,     hello->suites,
        hello->compressions, hello->renegotiation_info, hello->server_name};
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++) {
        FUZZ_CHECK(fuzz_is_inside(views[i], body));
        fuzz_touch(views[i]);
    }
    FUZZ_CHECK(hello->random.len == HF_RANDOM_LEN && hello->session_id.len <= 32);
    FUZZ_CHECK(hello->suites.len > 0 && hello->suites.len % 2 == 0);
    FUZZ_CHECK(hello->server_name.len <= 255 && hello->max_fragment_code <= 4);
    FUZZ_CHECK(!hello->has_record_size_limit || hello->record_size_limit >= 64);
}

/* What stands in front of the cookie must read the same both ways, or a cookie covers nothing. */
static void check_front(const struct hf_hello *hello, struct hf_bytes body)
{
    struct hf_hello_front front;
    FUZZ_CHECK(hf_cookie_front(&front, body) == HF_OK);
    FUZZ_CHECK(front.version == hello->version && front.random.data == hello->random.data);
    FUZZ_CHECK(front.session_id.data == hello->session_id.data);
    FUZZ_CHECK(front.session_id.len == hello->session_id.len);
    FUZZ_CHECK(front.cookie.data == hello->cookie.data && front.cookie.len == hello->cookie.len);
}

static bool offers(const struct hf_hello *hello, uint16_t suite)
{
    for (size_t i = 0; i < hello->suites.len; i += 2) {
        if (hello->suites.data[i] * 256 + hello->suites.data[i + 1] == suite)
            return true;
    }
    return false;
}

/* Reads our own ServerHello back. */
static void check_answer(const struct hf_terms *terms, uint16_t version)
{
    static const uint8_t server_random[HF_RANDOM_LEN];
    uint8_t *buffer = malloc(HF_FLIGHT_LEN_MAX);
    FUZZ_CHECK(buffer != NULL);
    struct hf_writer writer = hf_writer_of(buffer, HF_FLIGHT_LEN_MAX);
    hf_hello_write(&writer, terms, version, server_random);
    FUZZ_CHECK(!writer.is_failed);
    struct hf_reader reader = hf_reader_of((struct hf_bytes){buffer, writer.len});
    FUZZ_CHECK(hf_reader_u16(&reader) == version);
    (void)hf_reader_take(&reader, HF_RANDOM_LEN);
    FUZZ_CHECK(hf_reader_vector(&reader, 1).len == 0);
    FUZZ_CHECK(hf_reader_u16(&reader) == terms->suite && hf_reader_u8(&reader) == 0);
    if (reader.len > 0) {
        struct hf_reader list = hf_reader_of(hf_reader_vector(&reader, 2));
        FUZZ_CHECK(list.len > 0);
        while (list.len > 0) {
            (void)hf_reader_u16(&list);
            (void)hf_reader_vector(&list, 2);
        }
        FUZZ_CHECK(hf_reader_done(&list));
    }
    FUZZ_CHECK(hf_reader_done(&reader));
    free(buffer);
}

static void check_terms(const struct hf_hello *hello, const struct hf_listener *listener)
{
    struct hf_terms terms;
    enum hf_status status = hf_hello_agree(&terms, listener, hello);
    if (status != HF_OK) {
        FUZZ_CHECK(hf_status_class(status) == HF_CLASS_PEER);
        FUZZ_CHECK(hf_status_alert(status) != HF_ALERT_NONE);
        return;
    }
    bool is_ours = false;
    for (size_t i = 0; i < listener->suite_count; i++)
        is_ours |= listener->suites[i] == terms.suite;
    FUZZ_CHECK(is_ours && offers(hello, terms.suite));
    FUZZ_CHECK(terms.is_ems == hello->has_extended_master_secret);
    FUZZ_CHECK(terms.is_ems || !listener->extended_master_secret_needed);
    FUZZ_CHECK(!terms.is_etm || (hello->has_encrypt_then_mac && terms.suite == 0x00AE));
    FUZZ_CHECK(hello->renegotiation_info.len == 0);
    FUZZ_CHECK(!(terms.max_fragment_code && terms.record_size_limit));
    for (size_t i = 0; i < terms.server_name_len; i++)
        FUZZ_CHECK(terms.server_name[i] < 'A' || terms.server_name[i] > 'Z');
    FUZZ_CHECK(hf_hello_cipher(terms.suite, terms.is_etm) != HF_CIPHER_NONE);
    check_answer(&terms, listener->transport == HF_TRANSPORT_DTLS ? 0xFEFD : 0x0303);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 1)
        return 0;
    struct hf_listener listener;
    bool is_dtls = data[0] & 1;
    hf_listener_init(&listener, is_dtls ? HF_TRANSPORT_DTLS : HF_TRANSPORT_TLS);
    listener.encrypt_then_mac = data[0] & 2;
    listener.extended_master_secret_needed = data[0] & 4;
    if (data[0] & 8)
        listener.suite_count = 1;
    uint8_t *copy = fuzz_copy((struct hf_bytes){data + 1, len - 1});
    struct hf_bytes body = {copy, len - 1};
    struct hf_hello hello;
    enum hf_status status = hf_hello_read(&hello, body, is_dtls);
    FUZZ_CHECK(status == HF_OK || status == HF_E_DECODE || status == HF_E_ILLEGAL_PARAMETER);
    if (status == HF_OK) {
        if (fuzz_is_canary())
            hello.suites.len += body.len;
        check_views(&hello, body);
        if (is_dtls)
            check_front(&hello, body);
        check_terms(&hello, &listener);
    }
    free(copy);
    return 0;
}
