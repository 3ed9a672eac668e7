/**
 * certify_message_test.c - certificates in the server's role, message by message: what a peer can
 * send that is wrong, on both transports, and what becomes of it.
 */
#include "credential_world.h"
#include "engine_fixture.h"

enum { CERTIFICATE = 11, KEY_EXCHANGE = 16, CERTIFICATE_VERIFY = 15 };

/* Long enough for a DTLS handshake that was spoiled to run out of time. */
#define TIMEOUT_US 61000000

static void use_certificates(struct engine_fixture *fixture,
                             const struct hf_listener_authority *authorities, uint32_t count)
{
    for (size_t i = 0; i < 2; i++) {
        fixture->listeners[i].authorities = authorities;
        fixture->listeners[i].authority_count = count;
    }
}

static int setup(void **state)
{
    struct engine_fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    engine_fixture_init(fixture);
    use_certificates(fixture, &credential_world()->authority, 1);
    engine_fixture_open(fixture);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct engine_fixture *fixture = *state;
    engine_fixture_close(fixture);
    free(fixture);
    return 0;
}

static struct engine_peer *new_peer(struct engine_fixture *fixture, bool is_tls)
{
    const struct credential_world *world = credential_world();
    struct engine_peer *peer = engine_peer_new(fixture, is_tls);
    peer->config.suites[0] =
        is_tls ? HF_SUITE_ECDHE_ECDSA_AES_128_CBC_SHA256 : HF_SUITE_ECDHE_ECDSA_AES_128_CCM_8;
    peer->config.credential = world->clients[0];
    peer->config.server_key = hf_credential_public_key(world->server);
    return peer;
}

/* ---- what is wrong with a message ------------------------------------------------------------ */

struct wrong {
    const char *what;
    uint8_t type;
    enum psk_client_verdict (*change)(uint8_t *body, size_t *len);
    enum hf_status status;
    bool is_gap; /**< a message is missing: DTLS waits for it to the end */
};

static enum psk_client_verdict leave_out(uint8_t *body, size_t *len)
{
    (void)body;
    (void)len;
    return PSK_CLIENT_SKIP;
}

static enum psk_client_verdict add_byte(uint8_t *body, size_t *len)
{
    body[(*len)++] = 0;
    return PSK_CLIENT_SEND;
}

static enum psk_client_verdict cut_byte(uint8_t *body, size_t *len)
{
    (void)body;
    (*len)--;
    return PSK_CLIENT_SEND;
}

static enum psk_client_verdict empty(uint8_t *body, size_t *len)
{
    (void)body;
    *len = 0;
    return PSK_CLIENT_SEND;
}

static enum psk_client_verdict no_certificate(uint8_t *body, size_t *len)
{
    memset(body, 0, 3);
    *len = 3;
    return PSK_CLIENT_SEND;
}

static enum psk_client_verdict garbage(uint8_t *body, size_t *len)
{
    memset(body + 6, 0xA5, *len - 6);
    return PSK_CLIENT_SEND;
}

static enum psk_client_verdict too_long(uint8_t *body, size_t *len)
{
    *len = 4097;
    memset(body, 0, *len);
    body[1] = (uint8_t)((*len - 3) >> 8);
    body[2] = (uint8_t)(*len - 3);
    return PSK_CLIENT_SEND;
}

/* Somebody else's name in our certificate. */
static enum psk_client_verdict renamed(uint8_t *body, size_t *len)
{
    static const char name[] = "m2m.example/S0";
    for (size_t i = 0; i + sizeof name <= *len; i++) {
        if (memcmp(body + i, name, sizeof name - 1) == 0)
            body[i + sizeof name - 2] = '1';
    }
    return PSK_CLIENT_SEND;
}

static enum psk_client_verdict empty_point(uint8_t *body, size_t *len)
{
    body[0] = 0;
    *len = 1;
    return PSK_CLIENT_SEND;
}

static enum psk_client_verdict infinity(uint8_t *body, size_t *len)
{
    body[0] = 1;
    body[1] = 0;
    *len = 2;
    return PSK_CLIENT_SEND;
}

static enum psk_client_verdict compressed(uint8_t *body, size_t *len)
{
    body[0] = 33;
    body[1] = 2;
    *len = 34;
    return PSK_CLIENT_SEND;
}

static enum psk_client_verdict hybrid(uint8_t *body, size_t *len)
{
    (void)len;
    body[1] = 6;
    return PSK_CLIENT_SEND;
}

static enum psk_client_verdict off_curve(uint8_t *body, size_t *len)
{
    body[*len - 1] ^= 1;
    return PSK_CLIENT_SEND;
}

static enum psk_client_verdict too_big(uint8_t *body, size_t *len)
{
    memset(body + 2, 0xFF, *len - 2); /* no coordinate is above the prime */
    return PSK_CLIENT_SEND;
}

static enum psk_client_verdict another_hash(uint8_t *body, size_t *len)
{
    (void)len;
    body[0] = 5; /* SHA-384 */
    return PSK_CLIENT_SEND;
}

static enum psk_client_verdict rsa(uint8_t *body, size_t *len)
{
    (void)len;
    body[1] = 1;
    return PSK_CLIENT_SEND;
}

static enum psk_client_verdict empty_signature(uint8_t *body, size_t *len)
{
    body[2] = body[3] = 0;
    *len = 4;
    return PSK_CLIENT_SEND;
}

static enum psk_client_verdict long_signature(uint8_t *body, size_t *len)
{
    body[3] = 73;
    *len = 4 + 73;
    return PSK_CLIENT_SEND;
}

static enum psk_client_verdict zero_signature(uint8_t *body, size_t *len)
{
    static const uint8_t zero[] = {0x30, 6, 2, 1, 0, 2, 1, 0}; /* r = s = 0 */
    body[2] = 0;
    body[3] = sizeof zero;
    memcpy(body + 4, zero, sizeof zero);
    *len = 4 + sizeof zero;
    return PSK_CLIENT_SEND;
}

static enum psk_client_verdict wrong_signature(uint8_t *body, size_t *len)
{
    body[*len - 1] ^= 1;
    return PSK_CLIENT_SEND;
}

static const struct wrong wrongs[] = {
    {"no Certificate message", CERTIFICATE, leave_out, HF_E_UNEXPECTED_MESSAGE, true},
    {"Certificate: an empty body", CERTIFICATE, empty, HF_E_DECODE, false},
    {"Certificate: a byte too much", CERTIFICATE, add_byte, HF_E_DECODE, false},
    {"Certificate: cut short", CERTIFICATE, cut_byte, HF_E_DECODE, false},
    {"Certificate: an empty list", CERTIFICATE, no_certificate, HF_E_NO_CERTIFICATE, false},
    {"Certificate: garbage", CERTIFICATE, garbage, HF_E_BAD_CERTIFICATE, false},
    {"Certificate: longer than allowed", CERTIFICATE, too_long, HF_E_MESSAGE_TOO_LONG, false},
    {"Certificate: altered", CERTIFICATE, renamed, HF_E_CHAIN_SIGNATURE, false},
    {"no ClientKeyExchange", KEY_EXCHANGE, leave_out, HF_E_UNEXPECTED_MESSAGE, true},
    {"ClientKeyExchange: an empty body", KEY_EXCHANGE, empty, HF_E_DECODE, false},
    {"ClientKeyExchange: a byte too much", KEY_EXCHANGE, add_byte, HF_E_DECODE, false},
    {"ClientKeyExchange: cut short", KEY_EXCHANGE, cut_byte, HF_E_DECODE, false},
    {"ClientKeyExchange: no point", KEY_EXCHANGE, empty_point, HF_E_DECODE, false},
    {"ClientKeyExchange: infinity", KEY_EXCHANGE, infinity, HF_E_ILLEGAL_PARAMETER, false},
    {"ClientKeyExchange: compressed", KEY_EXCHANGE, compressed, HF_E_ILLEGAL_PARAMETER, false},
    {"ClientKeyExchange: hybrid", KEY_EXCHANGE, hybrid, HF_E_ILLEGAL_PARAMETER, false},
    {"ClientKeyExchange: off the curve", KEY_EXCHANGE, off_curve, HF_E_ILLEGAL_PARAMETER, false},
    {"ClientKeyExchange: above the prime", KEY_EXCHANGE, too_big, HF_E_ILLEGAL_PARAMETER, false},
    {"no CertificateVerify", CERTIFICATE_VERIFY, leave_out, HF_E_UNEXPECTED_MESSAGE, true},
    {"CertificateVerify: an empty body", CERTIFICATE_VERIFY, empty, HF_E_DECODE, false},
    {"CertificateVerify: a byte too much", CERTIFICATE_VERIFY, add_byte, HF_E_DECODE, false},
    {"CertificateVerify: cut short", CERTIFICATE_VERIFY, cut_byte, HF_E_DECODE, false},
    {"CertificateVerify: SHA-384", CERTIFICATE_VERIFY, another_hash, HF_E_ILLEGAL_PARAMETER, false},
    {"CertificateVerify: RSA", CERTIFICATE_VERIFY, rsa, HF_E_ILLEGAL_PARAMETER, false},
    {"CertificateVerify: no signature", CERTIFICATE_VERIFY, empty_signature, HF_E_DECODE, false},
    {"CertificateVerify: too long", CERTIFICATE_VERIFY, long_signature, HF_E_BAD_SIGNATURE, false},
    {"CertificateVerify: zeros", CERTIFICATE_VERIFY, zero_signature, HF_E_BAD_SIGNATURE, false},
    {"CertificateVerify: wrong", CERTIFICATE_VERIFY, wrong_signature, HF_E_BAD_SIGNATURE, false},
};

static enum psk_client_verdict tamper(enum psk_client_tamper_kind kind, uint8_t type, uint8_t *data,
                                      size_t *len, size_t max, void *arg)
{
    const struct wrong *wrong = arg;
    (void)max;
    if (kind != PSK_CLIENT_TAMPER_MESSAGE || type != wrong->type)
        return PSK_CLIENT_SEND;
    size_t body_len = *len - 4;
    enum psk_client_verdict verdict = wrong->change(data + 4, &body_len);
    data[1] = 0;
    data[2] = (uint8_t)(body_len >> 8);
    data[3] = (uint8_t)body_len;
    *len = 4 + body_len;
    return verdict;
}

static void every_wrong_message_is_refused(void **state)
{
    struct engine_fixture *fixture = *state;
    for (size_t i = 0; i < 2 * (sizeof wrongs / sizeof wrongs[0]); i++) {
        const struct wrong *wrong = &wrongs[i / 2];
        bool is_tls = i % 2;
        struct engine_peer *peer = new_peer(fixture, is_tls);
        peer->config.tamper = tamper;
        peer->config.tamper_arg = (void *)(uintptr_t)wrong;
        enum hf_status status = wrong->status;
        if (!is_tls && wrong->is_gap)
            status = HF_E_HANDSHAKE_TIMEOUT;
        engine_peer_start(peer);
        engine_fixture_run(fixture);
        peer->is_gone = true; /* repeats would change nothing */
        engine_fixture_advance(fixture, TIMEOUT_US);
        if (peer->failed_count != 1 || peer->failure.status != status)
            print_error("%s on %s: %s in %s\n", wrong->what, is_tls ? "TLS" : "DTLS",
                        hf_status_reason(peer->failure.status), peer->failure.state);
        assert_int_equal(peer->failed_count, 1);
        assert_int_equal(peer->failure.status, status);
        assert_int_equal(peer->established_count, 0);
        if (is_tls) {
            assert_int_equal(peer->client.state, PSK_CLIENT_FAILED);
            assert_int_equal(peer->client.alert, hf_status_alert(status));
        }
        engine_peer_free(peer);
    }
    engine_fixture_check_undisturbed(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_wrong_message_is_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
