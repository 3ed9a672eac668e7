/**
 * engine_fixture_stage.c - a peer stopped half-way through its handshake, for tests that do the
 * same harm in every state.
 */
#include "engine_fixture.h"

/* Records of the client's flights, in `sent`. */
enum { DTLS_EXCHANGE = 2, TLS_EXCHANGE = 1 };

const char *engine_stage_name(enum engine_stage stage)
{
    static const char *const names[ENGINE_STAGE_COUNT] = {"nothing", "hello",    "parked", "keyed",
                                                          "changed", "finished", "open"};
    return names[stage];
}

/* Makes every record an item of its own. */
static void split_records(struct engine_wire *wire, bool is_tls)
{
    struct engine_wire split = {0};
    size_t head = is_tls ? 5 : 13;
    for (size_t i = 0; i < wire->count; i++) {
        const uint8_t *data = wire->items[i].data;
        size_t len = wire->items[i].len;
        while (len > 0) {
            size_t whole = head + (size_t)(data[head - 2] << 8 | data[head - 1]);
            assert_in_range(whole, head, len);
            engine_wire_add(&split, data, whole);
            data += whole;
            len -= whole;
        }
    }
    engine_wire_clear(wire);
    *wire = split;
}

static void deliver_to(struct engine_peer *peer, size_t count)
{
    split_records(&peer->sent, peer->is_tls);
    if (count <= peer->delivered_count)
        return;
    engine_peer_deliver(peer, peer->delivered_count, count);
    peer->delivered_count = count;
    split_records(&peer->sent, peer->is_tls);
}

void engine_peer_to_stage(struct engine_peer *peer, enum engine_stage stage)
{
    struct engine_fixture *fixture = peer->fixture;
    enum engine_fixture_answers answers = fixture->answers;
    size_t exchange = peer->is_tls ? TLS_EXCHANGE : DTLS_EXCHANGE;
    bool is_following = fixture->is_identity_following;
    fixture->is_identity_following = stage == ENGINE_STAGE_FINISHED;
    peer->is_held = true;
    engine_peer_start(peer);
    if (!peer->is_tls)
        deliver_to(peer, 1);
    if (stage >= ENGINE_STAGE_HELLO)
        deliver_to(peer, exchange);
    fixture->answers = stage == ENGINE_STAGE_PARKED ? ENGINE_FIXTURE_HELD : ENGINE_FIXTURE_AT_ONCE;
    if (stage >= ENGINE_STAGE_PARKED)
        deliver_to(peer, exchange + 1);
    if (stage >= ENGINE_STAGE_CHANGED)
        deliver_to(peer, exchange + 2);
    fixture->answers =
        stage == ENGINE_STAGE_FINISHED ? ENGINE_FIXTURE_HELD : ENGINE_FIXTURE_AT_ONCE;
    if (stage >= ENGINE_STAGE_FINISHED)
        deliver_to(peer, exchange + 3);
    fixture->answers = answers;
    fixture->is_identity_following = is_following;
    if (stage == ENGINE_STAGE_OPEN) {
        peer->is_held = false;
        assert_true(engine_peer_is_open(peer));
    }
}

void engine_peer_finish(struct engine_peer *peer)
{
    struct engine_fixture *fixture = peer->fixture;
    if (engine_fixture_counters(fixture).parked > 0)
        assert_int_equal(engine_fixture_answer(fixture, true), HF_OK);
    for (size_t before = SIZE_MAX; before != peer->delivered_count;) {
        before = peer->delivered_count;
        split_records(&peer->sent, peer->is_tls);
        if (before < peer->sent.count)
            deliver_to(peer, before + 1); /* one at a time: nothing need be deferred */
    }
    peer->is_held = false;
    engine_fixture_run(fixture);
    engine_peer_check_open(peer);
    assert_true(engine_peer_echoes(peer));
}
