/**
 * ticket.c - fuzz target: sessions that come back, in tickets and by ID. A genuine client has one
 * and offers it again, or something else in its place, under circumstances of the input's choice:
 * what is forged, over, of another name or sealed with a forgotten secret is never resumed, what
 * nobody has touched is, and either way the worst that happens is a full handshake. Also the packed
 * form, and sealing, by themselves.
 *
 * Input: transport and kind, circumstances, how the ticket is changed, bytes.
 */
#include "duel.h"
#include "session.h"

enum {
    CHANGES_NAME = 1,    /* it is offered to another authority */
    CHANGES_SECRETS = 2, /* another secret is active, */
    FORGETS_SECRETS = 4, /* and the one that sealed it is gone */
    REFUSES = 8,         /* the key source says that the credential does not stand any more */
    STRIPS_EMS = 16,     /* it is offered without extended master secret */
    HAS_NAMES = 32,
    CHANGES_SUITE = 64, /* of the server: it has another one only */
    IS_NAMED = 128,
};

#define BINDING_AT 24 /* of listener, authority and name, in a packed session */

struct circumstances {
    uint8_t bits, change, xor;
    uint16_t offset, wait_s;
    struct hf_bytes bytes;
    bool is_changed; /* what is offered is not what was given */
};

/* ---- the packed form, and the seal ----------------------------------------------------------- */

static void check_packed(struct hf_bytes bytes)
{
    struct hf_session session, again;
    uint8_t packed[HF_SESSION_LEN_MAX], twice[HF_SESSION_LEN_MAX];
    size_t len, twice_len;
    uint8_t *copy = fuzz_copy(bytes);
    const struct hf_bytes whole = {copy, bytes.len};
    if (hf_session_unpack(&session, whole) == HF_OK && bytes.len <= HF_SESSION_LEN_MAX) {
        FUZZ_CHECK(fuzz_is_inside(session.entity_id, whole));
        FUZZ_CHECK(fuzz_is_inside(session.credential_id, whole));
        FUZZ_CHECK(fuzz_is_inside(session.revocation, whole));
        FUZZ_CHECK(session.revocation.len <= HF_SESSION_REVOCATION_MAX);
        FUZZ_CHECK(hf_session_pack(packed, &len, &session) == HF_OK && len == bytes.len);
        FUZZ_CHECK(packed[0] == copy[0] && memcmp(packed + 2, copy + 2, len - 2) == 0);
        FUZZ_CHECK(hf_session_unpack(&again, (struct hf_bytes){packed, len}) == HF_OK);
        FUZZ_CHECK(hf_session_pack(twice, &twice_len, &again) == HF_OK);
        FUZZ_CHECK(twice_len == len && memcmp(twice, packed, len) == 0);
        FUZZ_CHECK(!hf_session_is_standing(&session, NULL, session.until_s));
    }
    free(copy);
}

static void check_seal(const struct circumstances *is)
{
    uint8_t sealed[HF_SESSION_LEN_MAX + HF_SEAL_EXPANSION], open[HF_SESSION_LEN_MAX];
    const struct hf_bytes secret = {(const uint8_t *)"secret", 6}, aad = {sealed, 0};
    size_t len = is->bytes.len < HF_SESSION_LEN_MAX ? is->bytes.len : HF_SESSION_LEN_MAX;
    struct hf_seal_key key;
    if (len == 0)
        return;
    hf_seal_key_init(&key, secret, "fuzz");
    hf_seal(sealed, &key, aad, is->bytes.data, len);
    size_t sealed_len = len + HF_SEAL_EXPANSION;
    FUZZ_CHECK(hf_unseal(open, &key, aad, sealed, sealed_len));
    FUZZ_CHECK(memcmp(open, is->bytes.data, len) == 0);
    FUZZ_CHECK(!hf_unseal(open, &key, aad, sealed, sealed_len - 1));
    sealed[is->offset % sealed_len] ^= is->xor ;
    FUZZ_CHECK(hf_unseal(open, &key, aad, sealed, sealed_len) == (is->xor == 0));
}

/* ---- a session that comes back --------------------------------------------------------------- */

/* Flips, cuts, lengthens or replaces what the server gave: `old` into `out`. */
static size_t change_given(uint8_t *out, struct circumstances *is, struct hf_bytes old,
                           size_t out_max)
{
    size_t len = old.len;
    memcpy(out, old.data, len);
    if (len > 0 && (is->change & 3) == 0)
        out[is->offset % len] ^= is->xor ;
    else if ((is->change & 3) == 1 && len > 0)
        len -= 1 + is->offset % len; /* cut, perhaps to nothing */
    else if ((is->change & 3) == 2)
        for (size_t i = 0; i < is->bytes.len && len < out_max; i++)
            out[len++] = is->bytes.data[i];
    else if ((is->change & 3) == 3) {
        len = is->bytes.len < out_max ? is->bytes.len : out_max;
        if (len > 0)
            memcpy(out, is->bytes.data, len);
    }
    is->is_changed |= len != old.len || (len > 0 && memcmp(out, old.data, len) != 0);
    return len;
}

/* The client's own record of it goes on to fit: it is the server that has to notice. */
static size_t make_offer(uint8_t out[HF_SESSION_MAX], struct circumstances *is,
                         struct hf_bytes given, const uint8_t binding[HF_SESSION_BINDING_LEN])
{
    uint8_t changed[1200];
    struct hf_reader reader = hf_reader_of(given);
    struct hf_writer writer = hf_writer_of(out, HF_SESSION_MAX);
    hf_writer_u8(&writer, hf_reader_u8(&reader));
    struct hf_bytes id = hf_reader_vector(&reader, 1);
    struct hf_bytes ticket = hf_reader_vector(&reader, 2);
    FUZZ_CHECK(!reader.is_failed && ticket.len <= 1000);
    size_t len =
        change_given(changed, is, ticket.len > 0 ? ticket : id, ticket.len > 0 ? 1200 : 32);
    hf_writer_u8(&writer, ticket.len > 0 ? (uint8_t)id.len : (uint8_t)len);
    hf_writer_bytes(&writer, ticket.len > 0 ? id.data : changed, ticket.len > 0 ? id.len : len);
    hf_writer_u16(&writer, ticket.len > 0 ? (uint16_t)len : 0);
    hf_writer_bytes(&writer, changed, ticket.len > 0 ? len : 0);
    size_t packed_at = writer.len;
    hf_writer_bytes(&writer, reader.data, reader.len);
    FUZZ_CHECK(!writer.is_failed && reader.len > BINDING_AT + HF_SESSION_BINDING_LEN);
    memcpy(out + packed_at + BINDING_AT, binding, HF_SESSION_BINDING_LEN);
    return writer.len;
}

static void read_binding(uint8_t out[HF_SESSION_BINDING_LEN], const struct fuzz_duel *duel)
{
    struct hf_reader reader = hf_reader_of((struct hf_bytes){duel->session, duel->session_len});
    (void)hf_reader_u8(&reader);
    (void)hf_reader_vector(&reader, 1);
    (void)hf_reader_vector(&reader, 2);
    (void)hf_reader_take(&reader, BINDING_AT);
    struct hf_bytes binding = hf_reader_take(&reader, HF_SESSION_BINDING_LEN);
    FUZZ_CHECK(!reader.is_failed);
    memcpy(out, binding.data, HF_SESSION_BINDING_LEN);
}

/* A whole handshake that nobody disturbs. */
static void meet(struct fuzz_duel *duel, struct hf_bytes session, bool strips_ems)
{
    size_t at;
    FUZZ_CHECK(fuzz_duel_dial(duel, session));
    while (strips_ems && duel->unit_count > 0 && !duel->is_over) {
        struct fuzz_unit *unit = &duel->units[0];
        if (!fuzz_duel_extensions(&at, duel, unit))
            break;
        fuzz_duel_strip(duel, unit, 23);
        fuzz_duel_deliver(duel, 0);
        fuzz_duel_forget(duel, 0);
        fuzz_duel_turn(duel, 0);
    }
    fuzz_duel_settle(duel);
}

static void change_secrets(const struct fuzz_duel *duel, uint8_t bits)
{
    struct hf_shared_secrets secrets = {.count = bits & FORGETS_SECRETS ? 1 : 2};
    memset(secrets.entries[0].secret, 0x3A, HF_SHARED_SECRET_LEN);
    secrets.entries[0].from_s = duel->world.wall_s - 1000;
    memset(secrets.entries[1].secret, 0x5C, HF_SHARED_SECRET_LEN);
    if (bits & (CHANGES_SECRETS | FORGETS_SECRETS))
        hf_engine_set_secrets(duel->world.engine, &secrets);
}

static void change_suite(const struct fuzz_duel *duel)
{
    uint32_t index = duel->is_dtls ? FUZZ_LISTENER_DTLS : FUZZ_LISTENER_TLS;
    struct hf_listener listener = duel->world.listeners[index];
    for (uint8_t i = 0; i < listener.suite_count; i++) {
        if (listener.suites[i] == duel->info.suite)
            listener.suites[i] = listener.suites[--listener.suite_count];
    }
    FUZZ_CHECK(hf_engine_update_listener(duel->world.engine, index, &listener) == HF_OK);
}

static void run(struct fuzz_duel *duel, struct circumstances *is)
{
    const struct hf_bytes none = {NULL, 0};
    static uint8_t given[HF_SESSION_MAX], offer[HF_SESSION_MAX];
    uint8_t binding[HF_SESSION_BINDING_LEN];
    meet(duel, none, false);
    FUZZ_CHECK(duel->is_open && duel->session_len > 0 && !duel->info.is_resumed);
    size_t given_len = duel->session_len;
    memcpy(given, duel->session, given_len);
    bool is_other = is->bits & CHANGES_NAME && duel->has_names;
    duel->is_second = is_other;
    meet(duel, none, false);
    read_binding(binding, duel);
    change_secrets(duel, is->bits);
    if (is->bits & CHANGES_SUITE)
        change_suite(duel);
    if (is->bits & REFUSES)
        duel->world.is_session_refused = true;
    duel->world.wall_s += is->wait_s;
    size_t len = make_offer(offer, is, (struct hf_bytes){given, given_len}, binding);
    fuzz_duel_turn(duel, 0);
    meet(duel, (struct hf_bytes){offer, len}, is->bits & STRIPS_EMS);
    bool is_sealed_away = is->bits & FORGETS_SECRETS && !duel->has_cache;
    uint32_t life_s = duel->world.config.session_s_max;
    bool is_over = is->wait_s >= life_s, is_fresh = is->wait_s + 1100 < life_s;
    bool is_odd = is->is_changed || is_other || is_sealed_away ||
                  is->bits & (REFUSES | STRIPS_EMS | CHANGES_SUITE);
    bool is_resumed = duel->is_open && duel->info.is_resumed;
    if (fuzz_is_canary())
        is_odd = true;
    FUZZ_CHECK(!is_resumed || (!is_odd && !is_over));
    FUZZ_CHECK(is_resumed || is_odd || !is_fresh);
    /* Never worse than without; but half of extended master secret is refused (RFC 7627 5.3). */
    FUZZ_CHECK(duel->is_open || is->bits & STRIPS_EMS || is->bits & CHANGES_SUITE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct fuzz_input input = {data, len};
    uint8_t code = fuzz_u8(&input);
    struct circumstances is = {.bits = fuzz_u8(&input), .change = fuzz_u8(&input)};
    is.wait_s = fuzz_u16(&input);
    is.offset = fuzz_u16(&input);
    is.xor = fuzz_u8(&input);
    is.bytes = (struct hf_bytes){input.data, input.len};
    hf__fuzz_accept = false;
    check_packed(is.bytes);
    check_seal(&is);
    if (code & 0x80) /* that was all */
        return 0;
    const uint8_t config[FUZZ_DUEL_CONFIG_LEN] = {(code >> 2) % FUZZ_DUEL_STRANGER,
                                                  (uint8_t)(4 | (code & 2 ? 8 : 0) |
                                                            (is.bits & HAS_NAMES ? 2 : 0) |
                                                            (is.bits & IS_NAMED ? 16 : 0))};
    struct fuzz_duel *duel = calloc(1, sizeof *duel);
    FUZZ_CHECK(duel != NULL);
    duel->input = (struct fuzz_input){config, sizeof config};
    fuzz_duel_open(duel, code & 1, false);
    run(duel, &is);
    fuzz_duel_close(duel);
    free(duel);
    return 0;
}
