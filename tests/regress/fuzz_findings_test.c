/**
 * fuzz_findings_test.c - what the fuzz targets and their seeds found, each told as a test of its
 * own. The inputs are in fuzz/corpus.
 */
#include "engine_fixture.h"

/* A message without a body that met the end of a datagram was left out of the flight for good:
 * ServerHelloDone, with small datagrams, a long hint and the one extension more. */
static void an_empty_message_at_the_end_of_a_datagram_is_sent(void **state)
{
    (void)state;
    for (uint16_t hint_len = 0; hint_len <= HF_PSK_HINT_MAX; hint_len++) {
        struct engine_fixture fixture;
        engine_fixture_init(&fixture);
        struct hf_listener *listener = &fixture.listeners[ENGINE_FIXTURE_DTLS];
        listener->datagram_len_max = 256;
        listener->psk_hint_len = hint_len;
        memset(listener->psk_hint, 'h', hint_len);
        engine_fixture_open(&fixture);
        struct engine_peer *peer = engine_peer_new(&fixture, false);
        peer->config.max_fragment_length = 1;
        engine_peer_open(peer);
        assert_int_equal(peer->client.counters.retransmissions, 0);
        engine_peer_end(peer);
        engine_fixture_close(&fixture);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_message_at_the_end_of_a_datagram_is_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
