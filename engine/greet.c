/**
 * greet.c - see greet.h.
 */
#include "greet.h"

#include "association.h"
#include "cookie.h"
#include "flight.h"
#include "hello.h"
#include "machine.h"
#include "path.h"
#include "quota.h"

/* What resumption and extensions may add to the answer that answer_len() reckons with. */
#define HF_ANSWER_SLACK 64u
#define HF_RESTART_US_MIN 1000000 /* how often a peer may begin again beside a live association */

/** Answers with a HelloVerifyRequest, shorter than any hello that gets here, and forgets. */
static void send_verify(struct hf_arrival *arrival, const struct hf_record *record,
                        const struct hf_fragment *fragment, const struct hf_hello_front *front)
{
    struct hf_engine *engine = arrival->engine;
    enum { BODY_LEN = 2 + 1 + HF_COOKIE_LEN, LEN = HF_FRAGMENT_HEADER_LEN + BODY_LEN };
    if (arrival->is_answered) {
        hf_drop_count(engine, HF_DROP_RATE);
        return;
    }
    uint8_t *room = hf_outbox_room(&engine->outbox, HF_DATAGRAM_HEADER_LEN + LEN);
    if (!room)
        return;
    struct hf_writer writer = hf_writer_of(room, HF_DATAGRAM_HEADER_LEN + LEN);
    hf_writer_u8(&writer, HF_TYPE_HANDSHAKE);
    hf_writer_u16(&writer, HF_VERSION_DTLS_1_0);
    hf_writer_uint(&writer, record->seq, 8); /* the hello's own number: RFC 6347 4.2.1 */
    hf_writer_u16(&writer, LEN);
    hf_writer_u8(&writer, HF_MESSAGE_HELLO_VERIFY_REQUEST);
    hf_writer_uint(&writer, BODY_LEN, 3);
    hf_writer_u16(&writer, fragment->message_seq);
    hf_writer_uint(&writer, 0, 3);
    hf_writer_uint(&writer, BODY_LEN, 3);
    hf_writer_u16(&writer, HF_VERSION_DTLS_1_0);
    hf_writer_u8(&writer, HF_COOKIE_LEN);
    hf_cookie_make(hf_writer_room(&writer, HF_COOKIE_LEN), engine, &arrival->path, front);
    const struct hf_output output = {
        .path = arrival->datagram->path,
        .listener_index = arrival->datagram->listener_index,
        .ecn = 0,
    };
    hf_outbox_commit(&engine->outbox, &output, writer.len);
    engine->counters.datagrams_out++;
    engine->counters.cookies_sent++;
    arrival->is_answered = true;
}

/* ---- hellos that need no cookie ---------------------------------------------------------- */

static bool is_cookie_free(const struct hf_listener *listener, const struct hf_address *peer)
{
    bool is_free = false;
    for (size_t i = 0; i < listener->cookie_free_count && !is_free; i++)
        is_free = hf_prefix_holds(&listener->cookie_free[i], peer);
    return is_free;
}

/** The longest our first flight can be, on the wire, of a handshake with a pre-shared key. */
static size_t answer_len(const struct hf_listener *listener, const struct hf_terms *terms)
{
    enum { MESSAGE_LEN = HF_DATAGRAM_HEADER_LEN + HF_FRAGMENT_HEADER_LEN };
    static const uint8_t random[HF_RANDOM_LEN];
    uint8_t scratch[256];
    struct hf_writer writer = hf_writer_of(scratch, sizeof scratch);
    hf_hello_write(&writer, terms, HF_VERSION_DTLS_1_2, random);
    size_t hint_len = listener->psk_hint_len ? MESSAGE_LEN + 2u + listener->psk_hint_len : 0;
    return MESSAGE_LEN + writer.len + hint_len + MESSAGE_LEN + HF_ANSWER_SLACK;
}

/** Few handshakes are half-open, and what this hello leads to costs us next to nothing and nobody
 *  else more than the hello itself. */
static bool is_harmless(const struct hf_engine *engine, const struct hf_listener *listener,
                        const struct hf_hello *hello, const struct hf_fragment *fragment)
{
    struct hf_terms terms;
    return engine->handshakes.used < listener->cookies_above && hello->session_id.len == 0 &&
           hello->ticket.len == 0 && hf_hello_agree(&terms, listener, hello) == HF_OK &&
           hf_hello_key_exchange(terms.suite) == HF_KEY_EXCHANGE_PSK &&
           answer_len(listener, &terms) <= fragment->body.len;
}

/** What was made of a hello without a cookie. */
struct waiver {
    bool is_given;
    uint16_t unproven_len; /**< see struct hf_handshake */
};

/** Tells whether a hello may do without a cookie. In: the association at its path, or NULL; the
 *  hello, or NULL when it is not whole. Beside an association nothing may begin without one (RFC
 *  6347 4.2.8): then the hello can only be of that handshake. */
static bool is_waived(struct waiver *out, const struct hf_arrival *arrival,
                      const struct hf_association *association, const struct hf_hello_front *front,
                      const struct hf_hello *hello, const struct hf_fragment *fragment)
{
    const struct hf_engine *engine = arrival->engine;
    const struct hf_listener *listener = &engine->listeners[arrival->datagram->listener_index];
    const struct hf_handshake *handshake =
        association ? hf_handshake_of(engine, association) : NULL;
    if (front->cookie.len > 0)
        return false;
    if (association)
        return handshake && handshake->is_cookieless &&
               (association->state == HF_STATE_SV_AWAIT_HELLO ||
                hf_bytes_equal_public(association->client_random, front->random.data,
                                      HF_RANDOM_LEN));
    out->is_given = is_cookie_free(listener, &arrival->datagram->path.peer);
    if (!out->is_given && hello && is_harmless(engine, listener, hello, fragment)) {
        out->is_given = true;
        out->unproven_len = (uint16_t)fragment->body.len;
    }
    return out->is_given;
}

static void count_refusal(struct hf_engine *engine, enum hf_status status)
{
    if (status == HF_E_HANDSHAKE_LIMIT)
        hf_drop_count(engine, HF_DROP_HANDSHAKE_LIMIT);
    else if (status == HF_E_PREFIX_LIMIT)
        hf_drop_count(engine, HF_DROP_PREFIX_LIMIT);
    else if (status == HF_E_AUTHORITY_LIMIT)
        hf_drop_count(engine, HF_DROP_AUTHORITY_LIMIT);
    else
        hf_drop_count(engine, HF_DROP_ASSOCIATION_LIMIT);
}

/** Makes room at the path for a new association. False: not now. */
static bool make_way(struct hf_engine *engine, struct hf_association *former)
{
    if (!former)
        return true;
    struct hf_association *half_open = former;
    if (former->state == HF_STATE_OPEN) {
        half_open = hf_association_successor(engine, former);
        if (!half_open)
            return true;
        if (engine->now_us - hf_handshake_of(engine, half_open)->begun_us < HF_RESTART_US_MIN) {
            hf_drop_count(engine, HF_DROP_RESTART_RATE);
            return false;
        }
    }
    hf_machine_fail(engine, half_open, HF_E_SUPERSEDED, HF_MACHINE_CLOSE, "RFC 6347 4.2.8");
    return true;
}

/** A hello with a good cookie, or one that needs none: the peer gets a handshake slot. */
static struct hf_association *admit(struct hf_arrival *arrival, struct hf_association *former,
                                    const struct hf_record *record,
                                    const struct hf_fragment *fragment, const struct waiver *waiver)
{
    struct hf_engine *engine = arrival->engine;
    struct hf_association *association;
    bool is_restart = former && former->state == HF_STATE_OPEN;
    if (engine->is_draining) {
        hf_drop_count(engine, HF_DROP_DRAINING);
        return NULL;
    }
    if (!hf_path_key(&arrival->path, engine, &arrival->datagram->path)) {
        hf_drop_count(engine, HF_DROP_LOCAL_ADDRESS);
        return NULL;
    }
    if (!make_way(engine, former))
        return NULL;
    uint32_t former_index = is_restart ? hf_association_index(engine, former) : HF_NONE;
    uint32_t listener_index = arrival->datagram->listener_index;
    enum hf_status status = hf_quota_admit(engine, listener_index, is_restart);
    if (status == HF_OK)
        status = hf_association_open(&association, engine, HF_ROLE_SERVER, listener_index,
                                     &arrival->path);
    if (status != HF_OK) {
        count_refusal(engine, status);
        return NULL;
    }
    uint32_t index = hf_association_index(engine, association);
    /* Opening may have sacrificed another handshake, never an open association. */
    if (is_restart) {
        hf_handshake_of(engine, association)->predecessor = former_index;
        hf_association_at(engine, former_index)->datagram.successor = index;
    } else if (!hf_table_insert(&engine->table, index)) {
        count_refusal(engine, HF_E_ASSOCIATION_LIMIT);
        hf_machine_fail(engine, association, HF_E_ASSOCIATION_LIMIT, HF_MACHINE_START, "");
        return NULL;
    }
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    handshake->is_cookieless = waiver->is_given;
    handshake->unproven_len = waiver->unproven_len;
    engine->counters.cookies_waived += waiver->is_given;
    handshake->receive_seq = fragment->message_seq;
    handshake->send_seq = fragment->message_seq;
    association->datagram.epoch0_seq = (uint32_t)record->seq;
    const struct hf_machine_event event = {.kind = HF_MACHINE_START};
    return hf_machine_run(engine, association, &event) == HF_OK ? association : NULL;
}

/** The association a hello with this random already led to: it is the same hello, sent again. */
static struct hf_association *same_hello(const struct hf_engine *engine,
                                         struct hf_association *association, struct hf_bytes random)
{
    struct hf_association *candidates[2] = {
        association, association ? hf_association_successor(engine, association) : NULL};
    for (size_t i = 0; i < 2; i++) {
        if (candidates[i] && candidates[i]->state > HF_STATE_SV_AWAIT_HELLO &&
            hf_bytes_equal_public(candidates[i]->client_random, random.data, HF_RANDOM_LEN))
            return candidates[i];
    }
    return NULL;
}

/** The half-open handshake at this path whose hello is still incomplete. */
static struct hf_association *awaiting_hello(const struct hf_engine *engine,
                                             struct hf_association *association)
{
    struct hf_association *successor =
        association ? hf_association_successor(engine, association) : NULL;
    if (successor)
        association = successor;
    return association && association->state == HF_STATE_SV_AWAIT_HELLO ? association : NULL;
}

/** Tells whether a hello has a later number than the one its handshake goes by: the client was
 *  given two cookies, because the period ended between them, and has begun its transcript anew. */
static bool is_begun_anew(const struct hf_engine *engine, const struct hf_association *association,
                          const struct hf_fragment *fragment)
{
    const struct hf_handshake *handshake = hf_handshake_of(engine, association);
    enum hf_state state = (enum hf_state)association->state;
    if (!handshake || (state > HF_STATE_SV_AWAIT_OFFER && !hf_state_is_flight_out(state)))
        return false;
    int had = association->state > HF_STATE_SV_AWAIT_HELLO; /* the hello itself is counted */
    return (int16_t)(fragment->message_seq + had - handshake->receive_seq) > 0;
}

/** Tells whether a fragment begins the very hello that is being put together: no reason to begin
 *  again, or fragments that overtook it would be lost each time it is sent. */
static bool is_known_beginning(const struct hf_engine *engine, struct hf_handshake *handshake,
                               const struct hf_fragment *fragment)
{
    const struct hf_assembly *assembly = &handshake->assembly;
    for (uint8_t i = 0; i < assembly->range_count; i++) {
        size_t len = assembly->ranges[i].end;
        if (len > fragment->body.len)
            len = fragment->body.len;
        if (assembly->ranges[i].begin == 0)
            return assembly->len == fragment->message_len &&
                   hf_bytes_equal_public(hf_handshake_message(engine, handshake),
                                         fragment->body.data, len);
    }
    return false;
}

static void answer_again(struct hf_engine *engine, struct hf_association *association,
                         const struct hf_fragment *fragment)
{
    const struct hf_handshake *handshake = hf_handshake_of(engine, association);
    if (handshake && fragment->body.len < handshake->unproven_len) {
        hf_drop_count(engine, HF_DROP_COOKIE); /* a smaller one, so that the answer is larger */
    } else if (handshake && hf_state_is_flight_out((enum hf_state)association->state) &&
               (uint16_t)(fragment->message_seq + 1) == handshake->receive_seq) {
        hf_flight_again(engine, association, false);
        hf_association_arm(engine, association);
    } else {
        hf_drop_count(engine, HF_DROP_MESSAGE_SEQ);
    }
}

void hf_greet_hello(struct hf_arrival *arrival, struct hf_association *association,
                    const struct hf_record *record, const struct hf_fragment *fragment)
{
    struct hf_engine *engine = arrival->engine;
    struct hf_hello_front front;
    struct hf_hello hello;
    if (arrival->datagram->is_client || (association && hf_is_client(association))) {
        hf_drop_count(engine, HF_DROP_UNEXPECTED);
        return;
    }
    struct hf_association *awaiting = awaiting_hello(engine, association);
    if (fragment->offset > 0) {
        if (awaiting)
            hf_datagram_fragment(engine, awaiting, fragment);
        else
            hf_drop_count(engine, HF_DROP_FRAGMENT);
        return;
    }
    bool is_whole = fragment->body.len == fragment->message_len;
    if (hf_cookie_front(&front, fragment->body) != HF_OK ||
        (is_whole && hf_hello_read(&hello, fragment->body, true) == HF_E_DECODE)) {
        hf_drop_count(engine, HF_DROP_HELLO_MALFORMED);
        return;
    }
    struct waiver waiver = {false, 0};
    if (!hf_cookie_check(engine, &arrival->path, &front) &&
        !is_waived(&waiver, arrival, association, &front, is_whole ? &hello : NULL, fragment)) {
        if (front.cookie.len > 0)
            hf_drop_count(engine, HF_DROP_COOKIE);
        send_verify(arrival, record, fragment, &front);
        return;
    }
    struct hf_association *same = same_hello(engine, association, front.random);
    if (same && !is_begun_anew(engine, same, fragment)) {
        answer_again(engine, same, fragment);
        return;
    }
    if (awaiting && is_begun_anew(engine, awaiting, fragment))
        awaiting = NULL;
    struct hf_handshake *handshake = awaiting ? hf_handshake_of(engine, awaiting) : NULL;
    if (handshake && !is_known_beginning(engine, handshake, fragment))
        hf_fragment_clear(handshake);
    if (!awaiting)
        awaiting = admit(arrival, association, record, fragment, &waiver);
    if (awaiting)
        hf_datagram_fragment(engine, awaiting, fragment);
}
